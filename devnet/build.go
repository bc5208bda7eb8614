package devnet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A Program is one executable of the world, and the module that it is built in.
type Program struct {
	Name    string // of the file
	Module  string // folder of the module, below the project's
	Package string
	Note    string // what takes long, if it does
}

// Programs are all that a world needs.
var Programs = []Program{
	{"vault", ".", "./cmd/vault", ""},
	{"escrow", ".", "./cmd/escrow", ""},
	{"witness", ".", "./cmd/witness", ""},
	{"switchboard", ".", "./cmd/switchboard", ""},
	{"client", ".", "./cmd/client", ""},
	{"wallet-btc", "wallet/btc", "./cmd/wallet-btc", ""},
	{"wallet-eth", "wallet/eth", "./cmd/wallet-eth", ""},
	{"devnet-btc", "devnet/btc", "./cmd/devnet-btc", ""},
	{"btcd", "devnet/btc", "github.com/btcsuite/btcd", "about half a minute the first time"},
	{"devnet-eth", "devnet/eth", "./cmd/devnet-eth", "go-ethereum: two or three minutes the first time"},
}

// Root finds the project's folder from the working folder.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if b, err := os.ReadFile(filepath.Join(d, "go.mod")); err == nil && strings.HasPrefix(string(b), "module latchkey\n") {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%s is not inside the project: run this from a clone of it", dir)
		}
	}
}

// Build builds all programs into folder, each in its own module so that what is
// measured does not depend on the workspace, and tells say what it is doing.
// What is built already takes a moment.
func Build(ctx context.Context, root, folder string, say func(string)) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if _, err := exec.LookPath("go"); err != nil {
		return fmt.Errorf("the Go toolchain is needed to build the programs: %w", err)
	}
	for _, p := range Programs {
		path := filepath.Join(folder, p.Name)
		if _, err := os.Stat(path); err != nil {
			note := ""
			if p.Note != "" {
				note = " (" + p.Note + ")"
			}
			say("building " + p.Name + note)
		}
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", path, p.Package)
		cmd.Dir = filepath.Join(root, p.Module)
		cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=")
		cmd.WaitDelay = 5 * time.Second
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", p.Name, err, out)
		}
	}
	return nil
}
