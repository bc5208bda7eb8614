//go:build linux || darwin || freebsd

package eth

import "golang.org/x/sys/unix"

// freeSpace returns how many bytes an ordinary user can still write under path.
func freeSpace(path string) (uint64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return 0, err
	}
	if int64(stat.Bavail) < 0 { // FreeBSD counts the reserve as negative
		return 0, nil
	}
	return uint64(stat.Bavail) * uint64(stat.Bsize), nil
}
