package gate

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// ListenUnix opens a Unix socket of mode 0600 at a path. A socket file that nobody
// serves is replaced.
func ListenUnix(path string) (net.Listener, error) {
	if len(path) < 1 || len(path) > 100 {
		return nil, fmt.Errorf("listen on unix:%s: a path of %d bytes, the system allows 1 to 100", path, len(path))
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("listen on unix:%s: another process serves it", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("replace a stale socket: %w", err)
		}
	}
	// The socket appears under its name only when nobody else can open it.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".sock")
	if err != nil {
		return nil, fmt.Errorf("listen on unix:%s: %w", path, err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		return nil, fmt.Errorf("listen on unix:%s: %w", path, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(filepath.Join(dir, "s"), 0o600), os.Rename(filepath.Join(dir, "s"), path)); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("listen on unix:%s: %w", path, err)
	}
	return unixListener{l, path}, nil
}

// unixListener knows the path at which its socket is found, not that at which it
// was made.
type unixListener struct {
	net.Listener
	path string
}

// Addr returns the path.
func (l unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }
