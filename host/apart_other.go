//go:build !unix

package host

import "syscall"

// apart does nothing on this system.
func apart() *syscall.SysProcAttr { return nil }
