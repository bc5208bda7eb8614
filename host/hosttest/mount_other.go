//go:build !linux

package hosttest

import "errors"

var errMount = errors.New("file systems are mounted on Linux only")

func mountSmall(string) error    { return errMount }
func mountReadOnly(string) error { return errMount }
func unmountAny(string) error    { return errMount }
