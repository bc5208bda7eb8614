// Package hosttest has what the scripts need that take from a vault and its host
// what they need to run: a port, a socket, room on the disk. It writes a vault's
// configuration with all that it names, and drives the real programs.
package hosttest

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"latchkey/attest"
	"latchkey/attest/policyfile"
	"latchkey/attest/sim"
	"latchkey/head"
)

// Origin is the name of the log in the configurations that Params writes.
const Origin = "escrow.test/log"

// Params returns the parameters of scripts in a folder, which find in theirs a
// vault's configuration, vault.toml, of a role, with platform and policy beside
// it, the vault's program as $VAULT, public keys of a log as $LOG and $OTHER,
// and of a witness as $WITNESS. setup may write more.
func Params(t *testing.T, dir, role string, setup func(e *testscript.Env) error) testscript.Params {
	t.Helper()
	program := filepath.Join(t.TempDir(), "vault")
	if out, err := exec.Command("go", "build", "-o", program, "latchkey/cmd/vault").CombinedOutput(); err != nil {
		t.Fatalf("build cmd/vault: %v\n%s", err, out)
	}
	return testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			e.Setenv("VAULT", program)
			e.Values[runningKey{}] = map[string]*process{}
			if err := folder(e, program, role); err != nil {
				return err
			}
			return setup(e)
		},
		Condition: func(cond string) (bool, error) {
			if cond == "mount" { // whether the test may mount file systems
				return os.Geteuid() == 0 && mountable(), nil
			}
			return false, fmt.Errorf("condition %q is unknown", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start": start, "end": end, "refuses": refuses, "replace": replace, "busy": busy,
			"served": served, "stale": stale, "full": full, "readonly": readonly, "unmount": unmount, "damage": damage,
		},
	}
}

func logKey(name string) (head.LogKey, error) {
	seed := sha256.Sum256([]byte(name))
	return head.NewLogKey(Origin, ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))
}

// folder writes a vault's configuration with what it names.
func folder(e *testscript.Env, program, role string) error {
	measured, err := sim.MeasureFile(program)
	if err != nil {
		return err
	}
	vendor, err := sim.NewVendor("SIMULATED Aldine", rand.Reader)
	if err != nil {
		return err
	}
	if err := vendor.Rate(1, attest.TCBUpToDate); err != nil {
		return err
	}
	now := time.Now().Unix()
	platform, err := vendor.Issue(sim.Device{
		Class: attest.IsolatedProgram, Kind: attest.DeviceUnique, SVN: 1, NotBefore: now - 3600, NotAfter: now + 86400,
	}, rand.Reader)
	if err != nil {
		return err
	}
	if err := platform.Create(filepath.Join(e.WorkDir, "platform.json")); err != nil {
		return err
	}
	policy, err := policyfile.Format(sim.InsecurePolicy([]attest.Root{vendor.Root()}, sim.Build("vault", measured)))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(e.WorkDir, "policy.toml"), policy, 0o600); err != nil {
		return err
	}
	key, err := logKey("log")
	if err != nil {
		return err
	}
	other, err := logKey("another log")
	if err != nil {
		return err
	}
	witness, err := head.NewWitnessKey("witness.test/1", other.Public())
	if err != nil {
		return err
	}
	e.Setenv("LOG", key.String())
	e.Setenv("OTHER", other.String())
	e.Setenv("WITNESS", witness.String())
	text := fmt.Sprintf("role = %q\nsocket = \"vault.sock\"\nplatform = \"platform.json\"\npolicy = \"policy.toml\"\norigin = %q\n", role, Origin)
	if role == "owner" {
		text += fmt.Sprintf("log_key = %q\n", key)
	}
	text += fmt.Sprintf("witnesses = [%q]\nquorum = 1\nfaulty = 0\n", witness)
	return os.WriteFile(filepath.Join(e.WorkDir, "vault.toml"), []byte(text), 0o600)
}
