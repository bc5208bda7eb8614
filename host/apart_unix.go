//go:build unix

package host

import "syscall"

// apart keeps a terminal's interrupt from the vault: its host ends it, after the
// requests in flight.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
