package client

import (
	"strings"
	"testing"

	"latchkey/client/clientpb"
	"latchkey/coin"
	"latchkey/examples"
	"latchkey/vault"
	"latchkey/wallet"
)

// premium has alice propose a swap whose other side bob brings later, and bob accept
// it, and returns its instance.
func (w *town) premium(bringBy string) (in string) {
	w.t.Helper()
	ctx := w.t.Context()
	alice, bob := w.clients["alice"], w.clients["bob"]
	p, err := (server{h: alice.Host}).Propose(ctx, &clientpb.ProposeRequest{
		Source: must(examples.Files.ReadFile("swap-premium.latchkey")), Parties: []string{"me", bob.id.String()},
		Terms: []string{"a=5", "b=10", "premium=1", "bring_by=" + bringBy}, Pots: []string{"left_side=btc", "earnest=eth", "right_side=eth@5,5"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	v := bob.comes(p.Id)
	if !v.Indivisible && len(v.Pots[2].Weights) != 2 || v.Pots[2].Later != "while the contract runs, in phase Waiting (until bring_by)" || v.Pots[2].Chunks != 2 {
		w.t.Errorf("bob is shown the later pot as %v", v.Pots[2])
	}
	if all := strings.Join(v.Warnings, "; "); !strings.Contains(all, "pot right_side is filled later, and counts only when alice has acknowledged its chunks: by silence they can keep bob from filling it") {
		w.t.Errorf("bob is warned of %q", all)
	}
	if err := bob.AnswerDraft(ctx, p.Id, true, ""); err != nil {
		w.t.Fatal(err)
	}
	in = bob.opened(p.Id)
	alice.opened(p.Id)
	return in
}

func (c *citizen) fund(in, pot string, n uint32) (*clientpb.FundResponse, error) {
	return server{h: c.Host}.Fund(c.town.t.Context(), &clientpb.FundRequest{Instance: in, Pot: pot, Chunks: n})
}

func (c *citizen) waitsFor(in, what string) {
	c.town.t.Helper()
	c.town.until(c.name+" waits for "+what, func() string {
		for _, d := range c.status().Deals {
			if d.Instance == in && strings.Contains(d.Wait.WaitsFor, what) {
				return ""
			} else if d.Instance == in {
				return d.Wait.WaitsFor + "; " + strings.Join(c.status().Problems, "; ")
			}
		}
		return "it is not there"
	})
}

// Alice's side is locked, Bob brings his in two parts: the contract takes both, and
// the sides change hands.
func TestLaterPotIsFilled(t *testing.T) {
	w := newTown(t, "alice", "bob")
	ctx := t.Context()
	alice, bob := w.clients["alice"], w.clients["bob"]
	alice.deposit("btc", 5, 1)
	alice.deposit("eth", 5, 1)
	bob.deposit("eth", 1, 1)
	bob.deposit("eth", 5, 2)
	for _, c := range []*citizen{alice, bob} {
		for _, a := range []coin.AssetID{"btc", "eth"} {
			if err := c.SetChoice(ctx, a, Choice{Keep: true}); err != nil {
				t.Fatal(err)
			}
		}
	}
	in := w.premium("+1h")
	bob.waitsFor(in, "it takes 2 chunks into pot right_side: latchkey fund ")
	for name, x := range map[string]struct {
		by        *citizen
		pot, want string
	}{
		"another's pot":    {alice, "right_side", "party bob fills it, this side is alice"},
		"a full pot":       {bob, "left_side", "no such pot that is filled later; it has right_side"},
		"a pot of no name": {bob, "wrong", "no such pot"},
	} {
		if _, err := x.by.fund(in, x.pot, 0); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
	plan, err := server{h: bob.Host}.Fund(ctx, &clientpb.FundRequest{Instance: in, Pot: "right_side", PlanOnly: true})
	if err != nil || plan.Units != 10 || plan.Chunks != 2 || plan.Missing != 0 || strings.Join(plan.WaitsFor, ",") != "alice" {
		t.Fatalf("the plan: %v, %v", plan, err)
	}
	alice.stop() // nobody acknowledges while she is away
	r, err := bob.fund(in, "right_side", 1)
	if err != nil || r.Units != 5 || r.Missing != 1 {
		t.Fatalf("half of it: %v, %v", r, err)
	}
	bob.waitsFor(in, "alice to acknowledge the deposit of 1 chunk into pot right_side")
	if _, err := bob.fund(in, "right_side", 1); err == nil || !strings.Contains(err.Error(), "waits already") {
		t.Errorf("a second deposit: %v", err)
	}
	alice.start()
	bob.waitsFor(in, "it takes 1 chunk into pot right_side")
	if got := len(bob.have("eth", "available")); got != 1 {
		t.Errorf("bob has %d chunks free, want 1", got)
	}
	own := *must(bob.denominationOf(ctx, in, "right_side"))
	if r, err := (server{h: bob.Host}).Deposit(ctx, &clientpb.DepositRequest{Asset: "eth", UsdCents: 5 * unitCents, Instance: in, Pot: "right_side"}); err != nil || r.Denomination != own.ID {
		t.Errorf("chunks for the pot: %v, %v; want %s", r, err, own.ID)
	}
	for name, q := range map[string]*clientpb.DepositRequest{
		"of another asset": {Asset: "btc", UsdCents: 5000, Instance: in, Pot: "right_side"}, "for a full pot": {Asset: "btc", UsdCents: 5000, Instance: in, Pot: "left_side"},
		"for no deal": {Asset: "eth", UsdCents: 5000, Pot: "right_side"},
	} {
		if _, err := (server{h: bob.Host}).Deposit(ctx, q); err == nil {
			t.Errorf("a deposit %s is made", name)
		}
	}
	if _, err := bob.fund(in, "right_side", 0); err != nil {
		t.Fatal(err)
	}
	w.until("alice has his side, bob hers", func() string {
		if a, b := len(alice.have("eth", "held")), len(bob.have("btc", "held")); a != 2 || b != 1 {
			return strings.Join(append(alice.status().Problems, bob.status().Problems...), "; ") + " not yet"
		}
		return ""
	})
	if _, err := bob.fund(in, "right_side", 0); err == nil || !strings.Contains(err.Error(), "over") {
		t.Errorf("a deposit when all is over: %v", err)
	}
	if alice.told("found").Count != 1 || bob.told("funding").Count != 1 {
		t.Errorf("told: %+v, %+v", alice.told("found"), bob.told("funding"))
	}
}

// A deposit whose coins are not there is not acknowledged, and comes back when its
// time is over.
func TestLaterPotWithoutCoins(t *testing.T) {
	w := newTown(t, "alice", "bob")
	ctx := t.Context()
	alice, bob := w.clients["alice"], w.clients["bob"]
	alice.deposit("btc", 5, 1)
	bob.deposit("eth", 1, 1)
	bob.deposit("eth", 5, 2)
	in := w.premium("+1h")
	txs := bob.told("funded").Txs
	if len(txs) == 0 {
		t.Fatal("no funding transaction is known")
	}
	for _, tx := range txs {
		w.chains["eth"].Reorg(1<<20, wallet.TxID(tx))
	}
	w.chains["eth"].MineEmpty(3)
	r, err := server{h: bob.Host}.Fund(ctx, &clientpb.FundRequest{Instance: in, Pot: "right_side", Within: 60})
	if err != nil {
		t.Fatal(err)
	}
	alice.waitsFor(in, "this wallet to find the coins of the deposit of 2 chunks")
	w.until("alice says what is wrong", func() string {
		for _, p := range alice.status().Problems {
			if strings.Contains(p, "a deposit into instance") {
				return ""
			}
		}
		return "no problem yet"
	})
	if alice.told("found").Count != 0 {
		t.Error("alice found coins that are not there")
	}
	alice.stop() // before the transaction is mined again
	w.ahead.Add(r.By - must(bob.vaultStatus(ctx)).Now + 3)
	bob.waitsFor(in, "it takes 2 chunks into pot right_side")
	bob.wait(2, "eth", "held")
}

// What is agreed of a later pot is looked at like the rest of a draft.
func TestLaterPotsInDrafts(t *testing.T) {
	for text, want := range map[string]string{"btc@5,x": "want the weights", "btc@3": "weight", "btc@5,05": "want the weights"} {
		if _, _, err := potAsset(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if id, weights, err := potAsset("eth:usdc@5,2"); err != nil || id != "eth:usdc" || len(weights) != 2 || weights[1] != 2 {
		t.Errorf("eth:usdc@5,2 is %s in %v: %v", id, weights, err)
	}
	for units, want := range map[int64]int{1: 1, 8: 3, 10: 2, 47: 10, 1000: 20} {
		sum := int64(0)
		for _, w := range ladder(units) {
			if err := coin.CheckWeight(w); err != nil {
				t.Error(err)
			}
			sum += int64(w)
		}
		if sum != units || len(ladder(units)) != want {
			t.Errorf("%d units in %v, want %d chunks", units, ladder(units), want)
		}
	}
	if _, err := waitsUntil(0, 1000, 1002); err == nil {
		t.Error("a deposit that nobody could acknowledge in time")
	}
	if by, err := waitsUntil(0, 1000, 1100); err != nil || by != 1099 {
		t.Errorf("it waits until %d, %v; want a second before the phase ends", by, err)
	}
	d := coin.Denomination{ID: "btc-test"}
	if _, err := pickNext(nil, d, []vault.Stake{{Weight: 5}, {Weight: 1}}); err == nil || !strings.Contains(err.Error(), "agreed are chunks of 5; 1 units of btc-test") {
		t.Errorf("nothing to put in: %v", err)
	}
}
