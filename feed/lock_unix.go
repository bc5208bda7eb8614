//go:build unix

package feed

import (
	"fmt"
	"os"
	"syscall"
)

// lock keeps other processes out of a journal until the file is closed, by whatever means.
func lock(f *os.File) (unlock func(), err error) {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("journal %s is in use by another process: %w", f.Name(), err)
	}
	return func() {}, nil
}
