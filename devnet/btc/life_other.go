//go:build !linux

package btc

import "os/exec"

// bindLife does nothing here: after a kill of this process btcd lives on, and
// its port says so at the next start.
func bindLife(*exec.Cmd) {}
