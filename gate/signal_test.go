package gate_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/gate"
)

// TestMain is also the program that TestSignals sends signals to.
func TestMain(m *testing.M) {
	if os.Getenv("GATE_TEST_SIGNALS") != "" {
		ctx, stop := gate.Signals(context.Background())
		defer stop()
		fmt.Println("up")
		<-ctx.Done()
		fmt.Println("ending")
		select {} // as one that never finishes
	}
	os.Exit(m.Run())
}

// The first signal asks for the end, the second is the end.
func TestSignals(t *testing.T) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "GATE_TEST_SIGNALS=1")
	var talk strings.Builder
	c.Stderr = &talk
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "up" {
		t.Fatalf("it says %q: %v", lines.Text(), lines.Err())
	}
	for range 2 { // sent once, to the process and to its group
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	if !lines.Scan() || lines.Text() != "ending" {
		t.Fatalf("it says %q: %v", lines.Text(), lines.Err())
	}
	go func() { // again and again, until it is gone
		for c.Process.Signal(syscall.SIGTERM) == nil {
			time.Sleep(10 * time.Millisecond)
		}
	}()
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 || !strings.Contains(talk.String(), "second signal") {
		t.Errorf("%v, %q", err, talk.String())
	}
}

// The form and the level of a log are the operator's choice.
func TestLog(t *testing.T) {
	for _, x := range []struct {
		log  gate.Log
		want string
	}{
		{gate.Log{}, "level=INFO msg=hello who=world\n"},
		{gate.Log{Format: "json"}, `"level":"INFO","msg":"hello","who":"world"}` + "\n"},
		{gate.Log{Level: "warn"}, ""},
		{gate.Log{Level: "debug"}, "level=DEBUG msg=more\n"},
	} {
		var out strings.Builder
		l, err := x.log.New(&out)
		if err != nil {
			t.Fatal(err)
		}
		l.Info("hello", "who", "world")
		l.Debug("more")
		if got := out.String(); !strings.HasSuffix(got, x.want) || x.want == "" && got != "" {
			t.Errorf("%+v: %q, want %q", x.log, got, x.want)
		}
	}
}
