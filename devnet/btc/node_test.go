package btc_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/coin"
	"latchkey/devnet/btc"
	"latchkey/wallet/btc/rpc"
)

// buildBtcd builds the node once per test run.
func buildBtcd(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "btcd")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/btcsuite/btcd").CombinedOutput(); err != nil {
		t.Fatalf("build btcd: %v\n%s", err, out)
	}
	return path
}

func client(t *testing.T, n *btc.Node) *rpc.Client {
	t.Helper()
	password, err := os.ReadFile(n.PasswordFile())
	if err != nil {
		t.Fatal(err)
	}
	return rpc.New(n.RPC(), n.User(), strings.TrimSpace(string(password)))
}

func best(t *testing.T, n *btc.Node) string {
	t.Helper()
	var hash string
	if err := client(t, n).Call(t.Context(), &hash, "getbestblockhash"); err != nil {
		t.Fatal(err)
	}
	return hash
}

// pidOf returns the process of the btcd that serves a data folder.
func pidOf(t *testing.T, data string) int {
	t.Helper()
	out, err := exec.Command("pgrep", "-f", "--", "--configfile="+filepath.Join(data, "btcd.conf")).Output()
	var pid int
	if _, e := fmt.Sscan(string(out), &pid); err != nil || e != nil {
		t.Skipf("cannot find the process of btcd: %v", errors.Join(err, e))
	}
	return pid
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// One node through its life: mining, faucet, reorganisation, a btcd that is
// killed, a stop and a start. No acknowledged block is ever lost.
func TestNode(t *testing.T) {
	cfg := btc.Config{Btcd: buildBtcd(t), Data: filepath.Join(t.TempDir(), "node"), Initial: btc.DefaultInitial, Quick: 50 * time.Millisecond}
	n, err := btc.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		n.Run(ctx, func(err error) { t.Logf("told: %v", err) })
	}()
	if _, err := btc.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "another process has it") {
		t.Errorf("started twice: got %v", err)
	}
	taken := cfg
	taken.Data, taken.RPC = filepath.Join(t.TempDir(), "other"), strings.TrimPrefix(n.RPC(), "http://")
	if _, err := btc.Start(t.Context(), taken); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("port in use: got %v", err)
	}

	height, err := n.Mine(t.Context(), 5)
	if err != nil || height != btc.DefaultInitial+5 {
		t.Fatalf("mine: got height %d, %v", height, err)
	}
	before := best(t, n)
	if height, err = n.Reorg(t.Context(), 3); err != nil || height != btc.DefaultInitial+6 {
		t.Fatalf("reorganise: got height %d, %v", height, err)
	}
	if best(t, n) == before {
		t.Error("reorganise: the best block is the same")
	}
	amount, err := coin.ParseDecimal("0.5", 8)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := n.Fund(t.Context(), n.Faucet(), amount)
	if err != nil {
		t.Fatal(err)
	}
	mined := func() error {
		var info struct {
			Confirmations int `json:"confirmations"`
		}
		if err := client(t, n).Call(t.Context(), &info, "getrawtransaction", string(tx), 1); err != nil {
			return err
		}
		if info.Confirmations == 0 {
			return errors.New("not mined")
		}
		return nil
	}
	eventually(t, "a payment is mined by itself", mined)
	for _, bad := range []string{"", "x", "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH"} {
		if _, err := n.Fund(t.Context(), bad, amount); err == nil {
			t.Errorf("fund %q: got no error", bad)
		}
	}
	if _, err := n.Mine(t.Context(), 0); err == nil {
		t.Error("mine no blocks: got no error")
	}
	if _, err := n.Reorg(t.Context(), 99999); err == nil {
		t.Error("reorganise too much: got no error")
	}

	kept := best(t, n)
	same := func() error {
		var hash string
		if err := client(t, n).Call(t.Context(), &hash, "getbestblockhash"); err != nil {
			return err
		}
		if hash != kept {
			return fmt.Errorf("best block is %s, want %s", hash, kept)
		}
		return mined()
	}
	for range 2 {
		if err := syscall.Kill(pidOf(t, cfg.Data), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the chain is back after a kill", same)
	}
	stop()
	<-ran
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	// A line torn by a crash is cut off; what it held was not acknowledged.
	journal := filepath.Join(cfg.Data, "blocks.log")
	file, err := os.OpenFile(journal, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("00000020abcd"); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	url := n.RPC()
	// Even without btcd's own data, the journal is the chain.
	if err := os.RemoveAll(filepath.Join(cfg.Data, "chain")); err != nil {
		t.Fatal(err)
	}
	if n, err = btc.Start(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := same(); err != nil {
		t.Errorf("from the journal alone: %v", err)
	}
	if n.RPC() != url {
		t.Errorf("address of the RPC changed from %s to %s", url, n.RPC())
	}
}

func TestStartRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("#!/bin/sh\necho no such thing >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg  btc.Config
		want string
	}{
		"no btcd":         {btc.Config{Btcd: "/nonexistent/btcd", Data: t.TempDir()}, "/nonexistent/btcd"},
		"btcd that fails": {btc.Config{Btcd: file, Data: t.TempDir()}, "no such thing"},
		"data is a file":  {btc.Config{Btcd: file, Data: file}, "data folder"},
		"not loopback":    {btc.Config{Btcd: file, Data: t.TempDir(), RPC: "0.0.0.0:18334"}, "loopback"},
	} {
		if n, err := btc.Start(t.Context(), c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
			if err == nil {
				_ = n.Close()
			}
		}
	}
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, "blocks.log"), []byte("zz\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := btc.Start(t.Context(), btc.Config{Btcd: file, Data: damaged}); err == nil || !strings.Contains(err.Error(), "blocks.log: line 1") {
		t.Errorf("damaged journal: got %v, want its line", err)
	}
}
