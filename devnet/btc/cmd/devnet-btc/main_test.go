package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// asCommand makes the test binary behave as the command.
const asCommand = "DEVNET_BTC_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// What is wrong is one line that names it; nothing is begun.
func TestCommandErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name string
		args []string
		want string
		code int
	}{
		{"no data", nil, "error: --data is required", 1},
		{"an argument", []string{"--data", data, "--btcd", "x", "--", "y"}, `error: unexpected argument "y"`, 1},
		{"an unknown flag", []string{"--nonsense"}, "flag provided but not defined", 2},
		{"no number", []string{"--initial", "many"}, "invalid value", 2},
		{"a negative time", []string{"--data", data, "--period", "-1s"}, "are not negative", 1},
		{"an absurd number", []string{"--data", data, "--initial", "1000000"}, "--initial is 0 to 10000", 1},
		{"control that others reach", []string{"--data", data, "--control", "0.0.0.0:0"}, `--control "0.0.0.0:0": want a loopback address`, 1},
		{"control in use", []string{"--data", data, "--control", taken.Addr().String()}, "--control: listen tcp " + taken.Addr().String() + ": bind: address already in use", 1},
		{"a file in the folder's place", []string{"--data", file, "--btcd", "/nonexistent"}, "data folder: ", 1},
		{"an unknown command", []string{"dance"}, `unknown command "dance": want fund, mine or reorg`, 1},
		{"no control", []string{"mine"}, "--control is required", 1},
		{"nobody there", []string{"mine", "--control", "http://127.0.0.1:1"}, "error: reach devnet-btc: ", 1},
		{"a control that is no URL", []string{"mine", "--control", "://"}, "error: --control: ", 1},
	} {
		cmd := exec.Command(os.Args[0], x.args...)
		cmd.Env = append(os.Environ(), asCommand+"=1")
		out, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != x.code {
			t.Errorf("%s: status %d (%v), want %d", x.name, got, err, x.code)
		}
		if !strings.Contains(string(out), x.want) || strings.Contains(string(out), "goroutine ") || x.code == 1 && strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s: %q, want one line with %q", x.name, out, x.want)
		}
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("a folder was made")
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("the file is %q, %v", b, err)
	}
}
