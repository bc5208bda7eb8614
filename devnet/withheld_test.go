package devnet

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/wire"
)

// latchkey builds the user's command, and returns where it is, and what runs it: what
// it prints, and with which status it ends.
func (p *play) latchkey(t *testing.T) (path string, run func(args ...string) (string, int)) {
	t.Helper()
	path = filepath.Join(p.world.cfg.Folder, "bin", "latchkey")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/latchkey")
	build.Dir = p.world.cfg.Root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path, func(args ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), path, args...)
		cmd.Dir = p.world.cfg.Folder
		out, err := cmd.CombinedOutput()
		var status *exec.ExitError
		if err != nil && !errors.As(err, &status) {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
}

// withholdReport has Alice lend to Bob against coins, and bring the price at which they
// are hers. The escrow's operator gives her the receipt, and goes on from a disk
// without the price: she proves it, and anybody with the keys can check that. It moves
// the witnesses' clocks, so nothing comes after it.
func (p *play) withholdReport(t *testing.T) {
	ctx := t.Context()
	path, latchkey := p.latchkey(t)
	do := func(args ...string) string {
		t.Helper()
		out, code := latchkey(args...)
		if code != 0 {
			t.Fatalf("latchkey %s ends with status %d: %s", strings.Join(args, " "), code, out)
		}
		return strings.TrimSpace(out)
	}
	alice, bob := p.world.Socket("alice"), p.world.Socket("bob")
	announced := map[string]int{}
	for who, asset := range map[string]string{"alice": "btc", "bob": "eth"} {
		announced[who] = p.count(ctx, t, who, "announced")
		do("deposit", "--client", p.world.Socket(who), "--asset", asset, "--usd", "50")
	}
	for who, n := range announced {
		p.happened(t, n+1, "announced", who)
	}
	s := p.statuses(ctx, t)
	key := do("oracle", "key", "one.key")
	key = key[len(key)-64:]
	lines := strings.Split(do("propose", "--client", alice, "--contract", filepath.Join(p.world.cfg.Root, "examples", "loan.latchkey"),
		"--party", "lender=me", "--party", "borrower="+s["bob"].Vault, "--term", "debt=5", "--term", "interest=0", "--term", "collateral=5", "--term", "start=600.00",
		"--term", "barrier=400.00", "--term", "penalty=0", "--term", "due=+1h", "--term", "grace=1h", "--pot", "money=btc", "--pot", "coins=eth", "--pot", "repayment=btc@5",
		"--oracle", "price=1:"+key, "--feed", "price=asset/loan"), "\n")
	draft := lines[len(lines)-1]
	p.until(t, "Bob accepts the loan", time.Minute, func(context.Context) string {
		out, code := latchkey("accept", "--client", bob, draft)
		if code == 0 {
			return ""
		}
		return out
	})
	p.until(t, "the loan runs", time.Minute, func(ctx context.Context) string {
		latchkey("accept", "--client", alice, draft) // again, with what the borrower's chunks cannot make up
		for _, d := range p.statuses(ctx, t)["alice"].Deals {
			if d.Id == draft && strings.Contains(d.Wait.WaitsFor, "phase Running") {
				return ""
			}
		}
		return "no loan in phase Running"
	})

	// The operator's copy tells nobody the time, so the price is of one that Alice's vault
	// has heard of before.
	at := time.Unix(p.statuses(ctx, t)["alice"].Now, 0).UTC().Format(time.RFC3339)
	var victim wire.VaultID
	if err := victim.UnmarshalText([]byte(s["alice"].Vault)); err != nil {
		t.Fatal(err)
	}
	x, err := p.world.Withhold(ctx, victim, "escrow-withheld")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.End(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	signed := do("oracle", "sign", "--key", "one.key", "--feed", "asset/loan", "--decimals", "2", "--at", at, "--value", "300.00")
	if err := os.WriteFile(filepath.Join(p.world.cfg.Folder, "price"), []byte(signed+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	receipts := p.count(ctx, t, "alice", "receipt")
	report := exec.CommandContext(ctx, path, "report", "--client", alice, "--instance", draft, "price")
	report.Dir = p.world.cfg.Folder
	report.Stderr = t.Output()
	if err := report.Start(); err != nil {
		t.Fatal(err)
	}
	p.happened(t, receipts+1, "receipt", "alice")
	_ = report.Process.Kill() // it waits until the log shows it, in vain
	_ = report.Wait()
	if err := x.RollBack(ctx); err != nil {
		t.Fatal(err)
	}
	if err := x.Advance(ctx, 75*time.Second); err != nil {
		t.Fatal(err)
	}
	proof := filepath.Join(p.world.cfg.Folder, "proof")
	p.until(t, "the proof", time.Minute, func(context.Context) string {
		out, code := latchkey("withheld", "--client", alice, "--trust", p.world.Trust("alice"), "--out", proof)
		if code != 3 {
			return out
		}
		for _, want := range []string{"BROKEN", "withheld values of feed asset/loan at ", "a report to instance ", "none has the report", "broken its promise"} {
			if !strings.Contains(out, want) {
				t.Errorf("the proof says nothing of %q: %s", want, out)
			}
		}
		return ""
	})
	// Carol was no party. She has the keys, which is enough.
	if out, code := latchkey("withheld", "--proof", proof, "--trust", p.world.Trust("carol")); code != 3 || !strings.Contains(out, "withheld values of feed asset/loan") {
		t.Errorf("Carol checks the proof: status %d, %s", code, out)
	}
	// With a byte of it changed, nothing is proven.
	raw, err := os.ReadFile(proof)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(proof, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := latchkey("withheld", "--proof", proof, "--trust", p.world.Trust("carol")); code != 1 {
		t.Errorf("a proof with a byte changed: status %d, %s", code, out)
	}
	for _, d := range p.statuses(ctx, t)["alice"].Deals {
		if d.Id == draft && d.State == "owned" {
			t.Error("what the log has not has moved coins")
		}
	}
}

// count returns how many events of a kind a client has in its timeline.
func (p *play) count(ctx context.Context, t *testing.T, name, kind string) (n int) {
	t.Helper()
	for _, e := range p.events(ctx, t, name) {
		if e.Kind == kind {
			n++
		}
	}
	return n
}
