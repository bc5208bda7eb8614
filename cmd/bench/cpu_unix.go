//go:build unix

package main

import (
	"syscall"
	"time"
)

// cpu is the CPU time that this process has taken: unlike time, it does not grow
// when others use the machine.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
