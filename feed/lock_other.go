//go:build !unix

package feed

import (
	"fmt"
	"os"
)

// lock keeps other processes out of a journal by a file beside it, which a crash
// leaves behind.
func lock(f *os.File) (unlock func(), err error) {
	name := f.Name() + ".lock"
	l, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal %s is in use by another process, or one has crashed and left %s behind: %w", f.Name(), name, err)
	}
	return func() { os.Remove(name) }, l.Close()
}
