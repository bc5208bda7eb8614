package hosttest

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// within is how long a program may take to start, or to refuse to.
const within = 10 * time.Second

// process is one that a script has started.
type process struct {
	cmd  *exec.Cmd
	errs strings.Builder
	done chan error
}

type runningKey struct{} // of the script's processes, by name

// command is a program as a script runs it: in the script's folder.
func command(ts *testscript.TestScript, args []string) *exec.Cmd {
	c := exec.Command(args[0], args[1:]...)
	c.Dir = ts.MkAbs(".")
	return c
}

// start NAME PROGRAM ARGUMENT... starts a program, waits until it says that it is
// ready, and writes what it said to NAME.ready.
func start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM ARGUMENT...")
	}
	p := &process{cmd: command(ts, args[1:]), done: make(chan error, 1)}
	p.cmd.Stderr = &p.errs
	out, err := p.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(p.cmd.Start())
	ended := make(chan struct{})
	ts.Defer(func() {
		_ = p.cmd.Process.Kill()
		<-ended
	})
	line := make(chan string, 1)
	go func() {
		defer close(ended)
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- text
		p.done <- p.cmd.Wait()
	}()
	select {
	case text := <-line:
		if !strings.Contains(text, `"ready":true`) {
			<-ended
			ts.Fatalf("%s is not ready, it says %q\n%s", args[0], text, p.errs.String())
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[0]+".ready"), []byte(text), 0o600))
	case <-time.After(within):
		ts.Fatalf("%s has not become ready", args[0])
	}
	ts.Value(runningKey{}).(map[string]*process)[args[0]] = p
}

// end NAME [kill] ends a process that start started: in an orderly way, which has
// to succeed, or by killing it.
func end(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: end NAME [kill]")
	}
	p := ts.Value(runningKey{}).(map[string]*process)[args[0]]
	if p == nil {
		ts.Fatalf("no process %s was started", args[0])
	}
	how := syscall.SIGTERM
	if len(args) > 1 {
		how = syscall.SIGKILL
	}
	ts.Check(p.cmd.Process.Signal(how))
	select {
	case err := <-p.done:
		if err != nil && how == syscall.SIGTERM {
			ts.Fatalf("%s, ended: %v\n%s", args[0], err, p.errs.String())
		}
	case <-time.After(within):
		ts.Fatalf("%s does not end", args[0])
	}
	clean(ts, p.errs.String())
}

// refuses PATTERN PROGRAM ARGUMENT... runs a program that has to end with status 1,
// nothing on stdout, and an error that fits the pattern as the last line of stderr.
func refuses(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: refuses PATTERN PROGRAM ARGUMENT...")
	}
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	var out, errs strings.Builder
	c := command(ts, args[1:])
	c.Stdout, c.Stderr = &out, &errs
	ts.Check(c.Start())
	late := time.AfterFunc(within, func() { _ = c.Process.Signal(syscall.SIGQUIT) })
	err = c.Wait()
	late.Stop()
	_, _ = ts.Stderr().Write([]byte(errs.String()))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		ts.Fatalf("it ends with %v, want exit status 1; on stdout: %s", err, out.String())
	}
	if out.Len() > 0 {
		ts.Fatalf("it says on stdout: %s", out.String())
	}
	lines := strings.Split(strings.TrimSuffix(errs.String(), "\n"), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "error: ") || !want.MatchString(last) {
		ts.Fatalf("the last line on stderr is %q, want an error that fits %q", last, args[0])
	}
	clean(ts, errs.String())
}

var long = regexp.MustCompile(`"[0-9A-Za-z+/=]{30,}"`)

// clean checks that what a program said is no stack trace and tells no secret of
// its platform.
func clean(ts *testscript.TestScript, said string) {
	for _, bad := range []string{"goroutine ", "panic:", "runtime error"} {
		if strings.Contains(said, bad) {
			ts.Fatalf("it says %q:\n%s", bad, said)
		}
	}
	raw, err := os.ReadFile(ts.MkAbs("platform.json"))
	if err != nil {
		return // the script took it away
	}
	for _, s := range long.FindAllString(string(raw), -1) {
		if strings.Contains(said, strings.Trim(s, `"`)) {
			ts.Fatalf("it tells a secret of the platform:\n%s", said)
		}
	}
}
