package devnet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/client/clientpb"
)

// Alice's btc are locked for Bob's eth, for which he puts up a premium first; he brings
// them later, in two parts, over real processes and chains: the sides change hands, and
// he has his premium back. Then the escrow's operator withholds a report.
func TestSwapWithPremiumIsFilled(t *testing.T) {
	p := start(t, false)
	ctx := t.Context()
	for _, x := range []struct {
		who, asset string
		usd        uint64
	}{{"alice", "btc", 10_000}, {"bob", "eth", 15_000}} {
		if _, err := p.clients[x.who].Deposit(ctx, &clientpb.DepositRequest{Asset: x.asset, UsdCents: x.usd}); err != nil {
			t.Fatalf("%s: %v", x.who, err)
		}
	}
	p.happened(t, 1, "announced", "alice", "bob")
	p.rest(t, "available")
	for _, name := range []string{"alice", "bob"} {
		for _, asset := range []string{"btc", "eth"} {
			if _, err := p.clients[name].Keep(ctx, &clientpb.KeepRequest{Asset: asset, Keep: true}); err != nil {
				t.Fatal(err)
			}
		}
	}
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(root, "examples", "swap-premium.latchkey"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.clients["bob"].Status(ctx, &clientpb.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.clients["alice"].Propose(ctx, &clientpb.ProposeRequest{
		Source: source, Parties: []string{"me", s.Vault}, Pots: []string{"left_side=btc", "earnest=eth", "right_side=eth"},
		Terms: []string{"a=10", "b=10", "premium=5", "bring_by=+1h"},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.until(t, "bob sees the draft", time.Minute, func(ctx context.Context) string {
		v, err := p.clients["bob"].Review(ctx, &clientpb.ReviewRequest{Id: r.Id})
		if err != nil {
			return err.Error()
		}
		if x := v.Pots[2]; x.Later == "" || x.Units != 10 || x.From != "bob" || x.To != "alice" {
			t.Errorf("bob is shown the later pot as %v", x)
		}
		return ""
	})
	if _, err := p.clients["bob"].Answer(ctx, &clientpb.AnswerRequest{Id: r.Id, Accept: true}); err != nil {
		t.Fatal(err)
	}
	deal := func(ctx context.Context, name string) *clientpb.Deal {
		s, err := p.clients[name].Status(ctx, &clientpb.StatusRequest{})
		if err != nil || len(s.Deals) != 1 {
			return &clientpb.Deal{Wait: &clientpb.Wait{WaitsFor: fmt.Sprint("no deal: ", err)}}
		}
		return s.Deals[0]
	}
	waits := func(what string) {
		t.Helper()
		p.until(t, what, time.Minute, func(ctx context.Context) string {
			if d := deal(ctx, "bob"); !strings.Contains(d.Wait.WaitsFor, what) {
				return d.Wait.WaitsFor
			}
			return ""
		})
	}
	waits("it takes 2 chunks into pot right_side")
	for i, n := range []uint32{1, 0} {
		var f *clientpb.FundResponse
		p.until(t, "bob can bring his side", time.Minute, func(ctx context.Context) string {
			var err error
			if f, err = p.clients["bob"].Fund(ctx, &clientpb.FundRequest{Instance: deal(ctx, "bob").Instance, Pot: "right_side", Chunks: n}); err != nil {
				return err.Error()
			}
			return ""
		})
		if want := []uint32{1, 0}[i]; f.Missing != want || f.Asset != "eth" || strings.Join(f.WaitsFor, "") != "alice" {
			t.Errorf("deposit %d: %v, want it to miss %d", i, f, want)
		}
		if i == 0 {
			waits("it takes 1 chunk into pot right_side")
		}
	}
	p.until(t, "the swap is over", time.Minute, func(ctx context.Context) string {
		for _, name := range []string{"alice", "bob"} {
			if d := deal(ctx, name); d.State != "owned" || !d.Settled {
				return fmt.Sprintf("%s: %s, waits for %s", name, d.State, d.Wait.WaitsFor)
			}
		}
		return ""
	})
	for name, want := range map[string]map[string]int{"alice": {"btc": 0, "eth": 2}, "bob": {"btc": 2, "eth": 1}} {
		s, err := p.clients[name].Status(ctx, &clientpb.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]int{}
		for _, c := range s.Chunks {
			have[c.Asset]++
		}
		for asset, n := range want {
			if have[asset] != n {
				t.Errorf("%s has %d chunks of %s, want %d", name, have[asset], asset, n)
			}
		}
	}
	l, err := readLedger(ctx, p.world)
	if err != nil {
		t.Fatal(err)
	}
	if l.kinds["Deposit"] != 2 {
		t.Errorf("%d deposits in the log, want 2", l.kinds["Deposit"])
	}
	p.claimAll(t)
	audit(ctx, t, p.world, p)
	p.withholdReport(t)
}
