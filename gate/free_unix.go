//go:build linux || darwin

package gate

import "syscall"

// Free returns how many bytes an ordinary user can still write under a path.
func Free(path string) (bytes uint64, known bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return 0, false
	}
	return uint64(s.Bavail) * uint64(s.Bsize), true
}
