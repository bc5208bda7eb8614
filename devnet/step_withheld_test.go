package devnet

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"latchkey/client/clientpb"
	"latchkey/escrow"
	"latchkey/examples"
	"latchkey/wire"
)

// Alice and Bob, who know each other, exchange step by step without the switchboard's
// market. In the middle the escrow's operator takes Bob's word of a step, gives the
// receipt, and goes on from a disk without the word: Bob's client has kept the receipt
// and proves it, to anybody who has the keys.
func TestStepWithheld(t *testing.T) {
	p := start(t, false)
	ctx := t.Context()
	var bob wire.VaultID
	for _, x := range []struct{ who, asset string }{{"alice", "btc"}, {"bob", "eth"}} {
		for _, asset := range []string{"btc", "eth"} {
			if _, err := p.clients[x.who].Keep(ctx, &clientpb.KeepRequest{Asset: asset, Keep: true}); err != nil {
				t.Fatalf("%s: %v", x.who, err)
			}
		}
		if _, err := p.clients[x.who].Deposit(ctx, &clientpb.DepositRequest{Asset: x.asset, UsdCents: 20_000, Weight: 1}); err != nil {
			t.Fatalf("%s: %v", x.who, err)
		}
	}
	p.happened(t, 1, "announced", "alice", "bob")
	p.rest(t, "available")
	s, err := p.clients["bob"].Status(ctx, &clientpb.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := bob.UnmarshalText([]byte(s.Vault)); err != nil {
		t.Fatal(err)
	}
	source, err := examples.Files.ReadFile("swap.latchkey")
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.clients["alice"].Propose(ctx, &clientpb.ProposeRequest{
		Source: source, Parties: []string{"me", s.Vault}, Terms: []string{"a=20", "b=20"}, Pots: []string{"left_side=btc", "right_side=eth"},
		Settle: "tit-for-tat", Pace: &clientpb.Pace{First: 1, Growth: 100, Most: 1, Wait: 3600}, MaxLoss: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	p.until(t, "bob accepts", time.Minute, func(ctx context.Context) string {
		if _, err := p.clients["bob"].Answer(ctx, &clientpb.AnswerRequest{Id: r.Id, Accept: true, MaxLoss: 1}); err != nil {
			return err.Error()
		}
		return ""
	})
	deal := func(ctx context.Context) (*clientpb.Deal, string) {
		s, err := p.clients["bob"].Status(ctx, &clientpb.StatusRequest{})
		if err != nil {
			return nil, err.Error()
		}
		for _, d := range s.Deals {
			if d.Id == r.Id && d.Steps > 0 {
				return d, ""
			}
		}
		return nil, "bob has no deal"
	}
	p.until(t, "the first step", time.Minute, func(ctx context.Context) string {
		d, missing := deal(ctx)
		if missing == "" && d.Step == 0 {
			missing = "it is not open"
		}
		return missing
	})
	// Bob's wallet is away for a while, so that he cannot look at a step.
	if err := p.world.Process("bob-btc").Kill(); err != nil {
		t.Fatal(err)
	}
	steps := uint32(0)
	p.until(t, "a step waits for bob", time.Minute, func(ctx context.Context) string {
		d, missing := deal(ctx)
		switch {
		case missing != "":
			return missing
		case d.State != "settling" || !d.Closed || d.Settled:
			t.Fatalf("it is %s after step %d of %d: bob's wallet went too late", d.State, d.Step, d.Steps)
		case !strings.Contains(d.Wait.WaitsFor, "this wallet's word of step"):
			return d.Wait.WaitsFor
		}
		steps = d.Step
		return ""
	})
	x, err := p.world.Withhold(ctx, bob, "escrow-withheld")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.End(context.WithoutCancel(ctx)) })
	if err := p.world.Process("bob-btc").Start(ctx, nil); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("step %d taken", steps)
	word := func(ctx context.Context, prove bool) (*clientpb.SaidWord, string) {
		all, err := p.clients["bob"].Words(ctx, &clientpb.WordsRequest{Prove: prove})
		if err != nil {
			return nil, err.Error()
		}
		for _, w := range all.Words {
			if w.Step && w.Text == text {
				return w, ""
			}
		}
		return nil, "bob has not said of " + text
	}
	p.until(t, "bob has the receipt", time.Minute, func(ctx context.Context) string {
		w, missing := word(ctx, false)
		switch {
		case missing != "":
			return missing
		case w.Promised == 0:
			return "no receipt yet"
		}
		return ""
	})
	if err := x.RollBack(ctx); err != nil {
		t.Fatal(err)
	}
	if err := x.Advance(ctx, 75*time.Second); err != nil {
		t.Fatal(err)
	}
	p.until(t, "bob's proof", time.Minute, func(ctx context.Context) string {
		w, missing := word(ctx, true)
		switch {
		case missing != "":
			return missing
		case w.Entry != 0:
			t.Fatalf("the log has the word, as entry %d", w.Entry-1)
		case len(w.Proof) == 0:
			return "no proof: " + w.Problem
		}
		var proof escrow.Withheld
		if err := wire.Unmarshal(w.Proof, &proof); err != nil {
			t.Fatal(err)
		}
		if _, err := proof.Check(p.world.group()); err != nil {
			return err.Error() // not yet: the promised second
		}
		if proof.Step == nil || proof.Step.Body.Step != steps {
			t.Fatalf("it is of another word: %+v", proof.Step)
		}
		return ""
	})
	p.until(t, "bob's status says so", time.Minute, func(ctx context.Context) string {
		s, err := p.clients["bob"].Status(ctx, &clientpb.StatusRequest{})
		if err != nil {
			return err.Error()
		}
		if all := strings.Join(s.Problems, "; "); !strings.Contains(all, fmt.Sprintf("receipt promises %q", text)) {
			return "problems: " + all
		}
		return ""
	})
}
