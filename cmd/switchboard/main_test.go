package main

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"latchkey/market"
	"latchkey/switchboard"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"switchboard": main})
}

const policy = `insecure_allow_simulated = true
[[rule]]
format = 'latchkey-sim/1'
min_class = 'isolated program'
devices = ['unique']
tcb = ['up to date']
max_age = 86400
[[rule.root]]
vendor = 'SIMULATED Acme'
key = '29da35137269cee5f53af60e7a5de56b517c6de581c5a5291ba97a3dce7bfd29'
[[rule.build]]
name = 'vault'
[rule.build.measurements]
program = '0700000000000000000000000000000000000000000000000000000000000000'
`

const swap = `contract Swap
parties alice, bob
term a : units 1..1000
term b : units 1..1000
pot left_side  = a units from alice
pot right_side = b units from bob
at open:
  give all of left_side to bob
  give all of right_side to alice
  close
`

// example returns the configuration in the documentation.
func example(t testing.TB) string {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "config-switchboard.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "```toml\n")
	text, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the documentation has no example")
	}
	return text
}

// folder writes the example, for any free port, with all that it names.
func folder(t testing.TB, dir string) {
	t.Helper()
	for name, text := range map[string]string{
		"switchboard.toml": strings.Replace(example(t), "127.0.0.1:7301", "127.0.0.1:0", 1),
		"policy.toml":      policy,
		"swap.latchkey":    swap,
		"rates.toml":       "always_fresh = true\n[usd]\nbtc = \"50000\"\neth = \"2000\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestExampleIsValid(t *testing.T) {
	dir := t.TempDir()
	folder(t, dir)
	s, err := switchboard.ReadFile(filepath.Join(dir, "switchboard.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(market.DefaultPolicy(), s.Market); diff != "" {
		t.Errorf("the documented market is not the default (-default +documented):\n%s", diff)
	}
	if s.Data != filepath.Join(dir, "data") || len(s.Assets) != 2 || len(s.Sources) != 1 || s.Rate.Sources[0].File != filepath.Join(dir, "rates.toml") {
		t.Errorf("%+v", s)
	}
}

// Scripts find the documentation's example, with all that it names, in their
// folder.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error { folder(t, e.WorkDir); return nil },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// replace OLD NEW changes the configuration.
			"replace": func(ts *testscript.TestScript, _ bool, args []string) {
				path := ts.MkAbs("switchboard.toml")
				text := ts.ReadFile(path)
				if !strings.Contains(text, args[0]) {
					ts.Fatalf("the configuration has no %q", args[0])
				}
				ts.Check(os.WriteFile(path, []byte(strings.Replace(text, args[0], args[1], 1)), 0o600))
			},
			// busy listens on a port and puts it into the configuration.
			"busy": func(ts *testscript.TestScript, _ bool, _ []string) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				ts.Check(err)
				ts.Defer(func() { l.Close() })
				path := ts.MkAbs("switchboard.toml")
				ts.Check(os.WriteFile(path, []byte(strings.Replace(ts.ReadFile(path), "127.0.0.1:0", l.Addr().String(), 1)), 0o600))
			},
		},
	})
}

// A switchboard says when it serves, keeps its folder to itself, and ends in an
// orderly way; killed, it starts again.
func TestProcess(t *testing.T) {
	dir := t.TempDir()
	folder(t, dir)
	command, err := exec.LookPath("switchboard") // testscript.Main put it there
	if err != nil {
		t.Fatal(err)
	}
	start := func() *exec.Cmd {
		t.Helper()
		cmd := exec.Command(command, "--config", filepath.Join(dir, "switchboard.toml"))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		line, err := bufio.NewReader(out).ReadBytes('\n')
		var ready struct {
			Ready  bool
			Listen string
		}
		if err == nil {
			err = json.Unmarshal(line, &ready)
		}
		if err != nil || !ready.Ready {
			t.Fatalf("ready line %q: %v", line, err)
		}
		c, err := net.Dial("tcp", strings.TrimPrefix(ready.Listen, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		return cmd
	}
	first := start()
	out, err := exec.Command(command, "--config", filepath.Join(dir, "switchboard.toml")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "is another switchboard running?") {
		t.Errorf("a second one in the same folder: %v\n%s", err, out)
	}
	first.Process.Kill()
	first.Wait()
	second := start()
	second.Process.Signal(syscall.SIGTERM)
	if err := second.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}
