// Package devnet starts a whole world on one machine: real nodes of real chains,
// wallets' connectors, witnesses, an escrow, a switchboard and clients with
// their vaults, each an operating system process of its own with its own folder.
// It is for the demo and for tests; its TEEs are SIMULATED and its coins worth
// nothing.
package devnet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Process is one program of the world. It can be killed and started again.
type Process struct {
	Name string
	Argv []string
	Log  string // what it prints on stderr, appended

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

// readyWithin is how long a process may take until it says that it is ready.
const readyWithin = 60 * time.Second

// Start runs the process and waits until it prints its line of JSON, which it
// decodes into ready (nil: not looked at).
func (p *Process) Start(ctx context.Context, ready any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runs() {
		return fmt.Errorf("%s runs already", p.Name)
	}
	logFile, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	cmd := exec.Command(p.Argv[0], p.Argv[1:]...)
	cmd.Stderr = logFile
	cmd.SysProcAttr = attributes()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	line := make(chan []byte, 1)
	go func() {
		s := bufio.NewScanner(out)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			select {
			case line <- append([]byte(nil), s.Bytes()...):
			default:
			}
		}
		_ = cmd.Wait()
		close(done)
	}()
	p.cmd, p.done = cmd, done
	select {
	case b := <-line:
		if ready != nil {
			if err := json.Unmarshal(b, ready); err != nil {
				return fmt.Errorf("%s says %.100q: %w", p.Name, b, err)
			}
		}
		return nil
	case <-done:
		return fmt.Errorf("%s did not start: %s", p.Name, p.lastWords())
	case <-time.After(readyWithin):
		_ = cmd.Process.Kill()
		return fmt.Errorf("%s is not ready after %v: %s", p.Name, readyWithin, p.lastWords())
	case <-ctx.Done():
		_ = cmd.Process.Kill()
		return context.Cause(ctx)
	}
}

// lastWords returns the last line of the process's log.
func (p *Process) lastWords() string {
	b, err := os.ReadFile(p.Log)
	if err != nil || len(b) == 0 {
		return "it said nothing"
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

// Running reports whether the process runs, and its process id.
func (p *Process) Running() (pid int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.runs() {
		return 0, false
	}
	return p.cmd.Process.Pid, true
}

// runs reports whether the process was started and has not ended.
func (p *Process) runs() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Kill ends the process as a power cut would, and waits until it is gone.
func (p *Process) Kill() error { return p.signal(syscall.SIGKILL, time.Minute) }

// Stop asks the process to end, and kills it if it takes longer than wait.
func (p *Process) Stop(wait time.Duration) error { return p.signal(syscall.SIGTERM, wait) }

func (p *Process) signal(sig os.Signal, wait time.Duration) error {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	select {
	case <-done:
	case <-time.After(wait):
		_ = cmd.Process.Kill()
		<-done
	}
	return nil
}

// script writes a shell script that starts the process by hand.
func (p *Process) script(folder string) (string, error) {
	path := filepath.Join(folder, p.Name+".sh")
	quoted := make([]string, len(p.Argv))
	for i, a := range p.Argv {
		quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	text := "#!/bin/sh\n# starts " + p.Name + " again after it was killed\nexec " + strings.Join(quoted, " ") + " 2>>'" + p.Log + "'\n"
	return path, os.WriteFile(path, []byte(text), 0o700)
}
