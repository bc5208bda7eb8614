package hosttest

import "syscall"

// mountSmall puts a file system of 32 MiB on a folder.
func mountSmall(path string) error {
	return syscall.Mount("none", path, "tmpfs", 0, "size=32m,mode=700")
}

// mountReadOnly puts a folder on itself, without the right to write.
func mountReadOnly(path string) error {
	if err := syscall.Mount(path, path, "", syscall.MS_BIND, ""); err != nil {
		return err
	}
	return syscall.Mount("none", path, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
}

func unmountAny(path string) error { return syscall.Unmount(path, syscall.MNT_DETACH) }
