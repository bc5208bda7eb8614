package btc

import (
	"os/exec"
	"syscall"
)

// bindLife makes the kernel kill btcd when this process dies without warning, so
// that its ports and folder are free at once. The thread that starts btcd must
// live as long as the process: see the command's main.
func bindLife(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
