//go:build !linux

package devnet

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
