package client

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"latchkey/client/clientpb"
	"latchkey/coin"
	"latchkey/escrow"
	"latchkey/examples"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// ask has a client make a payment request of so many units of btc.
func (c *citizen) ask(units uint64) string {
	c.town.t.Helper()
	r, err := c.Receive(c.town.t.Context(), "btc", coin.NewAmount(units*10_000), 0)
	if err != nil {
		c.town.t.Fatal(err)
	}
	return r.String()
}

// What no payment can come to is not asked for; while the switchboard does not say what a unit
// is, any amount is.
func TestReceiveBounds(t *testing.T) {
	w := newTown(t, "bob")
	bob := w.clients["bob"]
	most := coin.NewAmount(payMost * 10_000)
	for _, x := range []struct {
		amount coin.Amount
		want   string // of the error; empty: taken
	}{
		{coin.Amount{}, "nothing is asked for"},
		{coin.NewAmount(1), ""},
		{most, ""},
		{must(most.Plus(coin.NewAmount(1))), "100.00000001 btc is more than one payment can be: 1000000 units, which are 100 btc now"},
		{must(coin.ParseDecimal("1000000000000", 8)), "1000000000000 btc is more than one payment can be"},
		{must(coin.NewAmount(1 << 63).Times(1 << 63)), "is more than one payment can be"},
	} {
		switch _, err := bob.Receive(t.Context(), "btc", x.amount, 0); {
		case x.want == "" && err != nil, x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)):
			t.Errorf("%s: %v, want an error with %q", x.amount, err, x.want)
		}
	}
	silent := newWorld(t)
	silent.board.rate = errors.New("no rate")
	if err := silent.payable(t.Context(), btc, must(most.Plus(most))); err != nil {
		t.Errorf("while no unit is known: %v", err)
	}
}

// Bob pays Carol, and Carol pays Alice with a part of it: no transaction on any
// chain, until Alice claims.
func TestPaymentsHop(t *testing.T) {
	w := newTown(t, "alice", "bob", "carol")
	ctx := t.Context()
	alice, bob, carol := w.clients["alice"], w.clients["bob"], w.clients["carol"]
	bob.deposit("btc", 5, 2)
	bob.deposit("btc", 2, 2)
	if err := carol.SetChoice(ctx, "btc", Choice{Keep: true}); err != nil {
		t.Fatal(err)
	}
	total := w.chains["btc"].Total()

	q := carol.ask(7)
	p, id, err := bob.Pay(ctx, q, false)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Exact || p.Pays.Units != 7 || len(p.Pays.Chunks) != 2 {
		t.Errorf("bob pays %d units in %d chunks, exactly: %v", p.Pays.Units, len(p.Pays.Chunks), p.Exact)
	}
	if _, _, err := bob.Pay(ctx, q, false); err == nil || !strings.Contains(err.Error(), "paid already") {
		t.Errorf("the same request again: %v", err)
	}
	carol.wait(2, "btc", "held")
	w.until("both know", func() string {
		if e := carol.told("received"); e.Amount != "70000" || bob.told("paid").Deal != id {
			return fmt.Sprintf("carol received %q, bob paid %q", e.Amount, bob.told("paid").Deal)
		}
		return ""
	})
	if b, c := bob.deal(id), carol.deal(id); b.State != "paid" || c.State != "owned" || !b.Settled || b.Wait.Then != "it is settled" {
		t.Errorf("the deal is %s for bob, then %s, and %s for carol", b.State, b.Wait.Then, c.State)
	}
	if _, _, err := alice.Pay(ctx, q, false); err == nil {
		t.Error("alice, who has nothing, pays")
	}

	if _, _, err := carol.Pay(ctx, alice.ask(2), false); err != nil {
		t.Fatal(err)
	}
	w.until("alice claims at once", func() string {
		if alice.told("swept").Count != 1 {
			return "not yet; " + strings.Join(alice.status().Problems, "; ")
		}
		return ""
	})
	if got := len(carol.have("btc", "held")); got != 1 {
		t.Errorf("carol has %d chunks left, want 1", got)
	}
	if e := alice.told("swept"); len(e.Txs) != 1 || e.Amount != "20000" {
		t.Errorf("alice swept %s in %d transactions", e.Amount, len(e.Txs))
	}
	fee := coin.NewAmount(10)
	if left, err := total.Minus(fee); err != nil || w.chains["btc"].Total() != left {
		t.Errorf("on the chain there is %v, was %v: want one fee of 10 less, for one transaction", w.chains["btc"].Total(), total)
	}
}

// What chunks cannot make up is paid only over, and only if the user says so.
func TestPayInexactly(t *testing.T) {
	w := newTown(t, "bob", "carol")
	ctx := t.Context()
	bob, carol := w.clients["bob"], w.clients["carol"]
	bob.deposit("btc", 5, 2)
	q := carol.ask(7)
	if _, _, err := bob.Pay(ctx, q, false); !errors.Is(err, ErrIndivisible) || !strings.Contains(err.Error(), "0.0005 btc or 0.001 btc, not 0.0007 btc") {
		t.Fatalf("pay 7 units with chunks of 5: %v", err)
	}
	if len(bob.have("btc", "available")) != 2 {
		t.Error("a payment that was refused sets chunks aside")
	}
	plan, err := bob.Plan(ctx, q)
	if err != nil || plan.Exact || plan.Over() != coin.NewAmount(30_000) || plan.Below.Amount != coin.NewAmount(50_000) {
		t.Errorf("plan: over %v, below %v, exact %v: %v", plan.Over(), plan.Below.Amount, plan.Exact, err)
	}
	if _, _, err := bob.Pay(ctx, carol.ask(11), true); err == nil || !strings.Contains(err.Error(), "is free") {
		t.Errorf("more than there is: %v", err)
	}
	if _, _, err := bob.Pay(ctx, q, true); err != nil {
		t.Fatal(err)
	}
	w.until("carol has it", func() string { return map[bool]string{false: "not yet"}[carol.told("received").Amount == "100000"] })

	// Requests that this client cannot pay are refused before anything is said.
	for _, x := range []struct {
		name, want string
		change     func(*Request)
	}{
		{"of another escrow", "escrow", func(r *Request) { r.Escrow[0]++ }},
		{"on another chain", "fake:other", func(r *Request) { r.Chain = "fake:other" }},
		{"expired", "expired", func(r *Request) { r.Expiry = 1 }},
		{"its own", "own request", func(r *Request) { r.Vault = bob.id }},
		{"of an unknown asset", "no wallet", func(r *Request) { r.Asset = "doge" }},
	} {
		r, err := ParseRequest(carol.ask(5))
		if err != nil {
			t.Fatal(err)
		}
		x.change(&r)
		if _, _, err := bob.Pay(ctx, r.String(), true); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("a request %s: %v, want %q", x.name, err, x.want)
		}
	}
}

// A payee takes what it asked for and nothing else, whoever sends it.
func TestPayeeTakesOnlyWhatItAskedFor(t *testing.T) {
	w := newTown(t, "bob", "carol")
	ctx := t.Context()
	bob, carol := w.clients["bob"], w.clients["carol"]
	bob.deposit("btc", 5, 2)
	bob.deposit("eth", 5, 1)
	r, err := ParseRequest(carol.ask(10))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name, want string
		pots       map[string]coin.AssetID
		units      int64
		request    draftID
	}{
		{"too little", "it pays 50000, asked for was 100000", map[string]coin.AssetID{"money": "btc"}, 5, r.id()},
		{"other coins", "it pays eth", map[string]coin.AssetID{"money": "eth"}, 5, r.id()},
		{"an unknown request", "did not make", map[string]coin.AssetID{"money": "btc"}, 10, draftID{9}},
	} {
		id, err := bob.propose(ctx, Proposal{Source: examples.Pay, Terms: []int64{x.units}, Parties: []wire.VaultID{bob.id, carol.id}, Pots: x.pots}, nil, x.request)
		if err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
		w.until(x.name+" is declined", func() string {
			if state, reason := bob.draft(id); state != draftEnded || !strings.Contains(reason, x.want) {
				return state + ": " + reason
			}
			return ""
		})
		if state, _ := carol.draft(id); state != "unknown" {
			t.Errorf("%s: carol keeps it as %s", x.name, state)
		}
	}
	if len(bob.have("btc", "available")) != 2 {
		t.Error("chunks of refused payments are not free again")
	}
	if _, _, err := bob.Pay(ctx, r.String(), false); err != nil {
		t.Fatalf("the request can still be paid: %v", err)
	}
	w.until("carol is paid", func() string { return map[bool]string{false: "not yet"}[carol.told("received").Amount == "100000"] })
}

// escrowOf proposes a purchase of alice's, the price in btc and the fee in eth.
func escrowOf(t *testing.T, w *town, price, fee int) string {
	t.Helper()
	alice, bob, carol := w.clients["alice"], w.clients["bob"], w.clients["carol"]
	r, err := server{h: alice.Host}.Propose(t.Context(), &clientpb.ProposeRequest{
		Source: examples.Escrow, Parties: []string{"me", bob.id.String(), carol.id.String()},
		Terms: []string{"ship_by=+10d", "judge_by=+20d", fmt.Sprint("price=", price), fmt.Sprint("fee=", fee)}, Pots: []string{"payment=btc", "costs=eth"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r.Id
}

func (c *citizen) comes(id string) *clientpb.ReviewResponse {
	c.town.t.Helper()
	var v *clientpb.ReviewResponse
	c.town.until("draft "+id[:8]+" comes to "+c.name, func() string {
		var err error
		if v, err = c.Review(c.town.t.Context(), id[:8]); err != nil {
			return err.Error()
		}
		return ""
	})
	return v
}

// Three parties, one of them without a stake, agree on a contract over two
// chains; nothing is bound before each user has said yes; a dispute is divided.
func TestAgreementOfThree(t *testing.T) {
	w := newTown(t, "alice", "bob", "carol")
	ctx := t.Context()
	alice, bob, carol := w.clients["alice"], w.clients["bob"], w.clients["carol"]
	alice.deposit("btc", 2, 10)
	alice.deposit("eth", 5, 1)
	for _, c := range w.clients {
		for _, asset := range []coin.AssetID{"btc", "eth"} {
			if err := c.SetChoice(ctx, asset, Choice{Keep: true}); err != nil {
				t.Fatal(err)
			}
		}
	}
	id := escrowOf(t, w, 20, 5)
	v := bob.comes(id)
	most := map[string]string{}
	for _, x := range v.Payouts {
		most[x.Party+" "+x.Pot] = x.LeastAmount + " to " + x.MostAmount
	}
	if most["seller payment"] != "0 to 200000" || most["arbiter costs"] != "0 to 50000" || len(v.Parties) != 3 || v.Draft.Role != "seller" || !v.Indivisible {
		t.Errorf("bob is shown %v, as %s of %d parties", most, v.Draft.Role, len(v.Parties))
	}
	if v.EndsBy < w.clients["bob"].status().Now+19*24*3600 || v.LockBy >= v.EndsBy {
		t.Errorf("bob is shown lock by %d, over by %d", v.LockBy, v.EndsBy)
	}
	if got := len(alice.have("btc", "set aside")); got != 10 {
		t.Errorf("%d of alice's chunks are set aside, want 10", got)
	}
	if err := bob.AnswerDraft(ctx, id, true, ""); err != nil {
		t.Fatal(err)
	}
	w.until("bob's vault signs", func() string { s, _ := bob.draft(id); return map[bool]string{false: s}[s == draftAccepted] })
	if s, _ := alice.draft(id); s != draftProposed {
		t.Errorf("with one answer missing alice's draft is %s", s)
	}
	carol.comes(id)
	carol.stop() // and comes back
	carol.start()
	if err := carol.AnswerDraft(ctx, id, true, ""); err != nil {
		t.Fatal(err)
	}
	var instance wire.InstanceID
	w.until("it is open", func() string {
		for _, d := range bob.status().Deals {
			if d.Id == id && strings.Contains(d.Wait.WaitsFor, "phase Open") {
				return map[bool]string{false: "no instance"}[instance.UnmarshalText([]byte(d.Instance)) == nil]
			}
		}
		return fmt.Sprint(bob.status().Deals)
	})
	if _, err := bob.Say(ctx, enclave.Say{Instance: instance, Word: "dispute"}); err != nil {
		t.Fatal(err)
	}
	w.until("carol judges", func() string {
		if _, err := carol.Say(ctx, enclave.Say{Instance: instance, Word: "award", Value: 60, HasValue: true}); err != nil {
			return err.Error()
		}
		return ""
	})
	bob.wait(6, "btc", "held")
	alice.wait(4, "btc", "held")
	carol.wait(1, "eth", "held")
	for _, x := range bob.said() {
		if x.Receipt == nil || x.Entry == 0 {
			t.Errorf("bob's word %q: receipt %v, entry %d", x.Word.Body.Word, x.Receipt, x.Entry)
		}
		if _, err := bob.prove(ctx, escrow.Withheld{Word: &x.Word, Party: &bob.Host.status.Identity}); !errors.Is(err, escrow.ErrKept) {
			t.Error("a word that is logged is proven withheld")
		}
	}
}

// A party that says no ends a draft for all; so does its proposer, and time. The
// chunks are free again.
func TestDraftsEnd(t *testing.T) {
	w := newTown(t, "alice", "bob", "carol")
	ctx := t.Context()
	alice, bob, carol := w.clients["alice"], w.clients["bob"], w.clients["carol"]
	alice.deposit("btc", 2, 5)
	for _, x := range []struct {
		name, want string
		end        func(id string)
	}{
		{"carol declines", "the price is unfair", func(id string) {
			carol.comes(id)
			if err := carol.AnswerDraft(ctx, id, false, "the price is unfair"); err != nil {
				t.Error(err)
			}
		}},
		{"alice takes it back", "changed her mind", func(id string) {
			bob.comes(id)
			carol.comes(id)
			if err := alice.AnswerDraft(ctx, id, false, "changed her mind"); err != nil {
				t.Error(err)
			}
		}},
		{"nobody answers", "in time", func(id string) {
			bob.comes(id)
			carol.comes(id)
			w.ahead.Add(700)
		}},
	} {
		id := escrowOf(t, w, 10, 0)
		x.end(id)
		for _, c := range []*citizen{alice, bob, carol} {
			w.until(x.name+": it ends for "+c.name, func() string {
				state, reason := c.draft(id)
				if state == "unknown" { // it ended before it came here
					return ""
				}
				if state != draftEnded && state != draftDeclined || !strings.Contains(reason, x.want) {
					return state + ": " + reason
				}
				return ""
			})
			if err := c.AnswerDraft(ctx, id, true, ""); err == nil {
				t.Errorf("%s: %s accepts what is over", x.name, c.name)
			}
		}
		alice.wait(5, "btc", "available")
	}
}

// A pot of another party is filled by that party, from its own chunks, when its
// user says yes.
func TestEachFillsItsOwnPot(t *testing.T) {
	w := newTown(t, "alice", "bob")
	ctx := t.Context()
	alice, bob := w.clients["alice"], w.clients["bob"]
	alice.deposit("btc", 5, 1)
	bob.deposit("eth", 5, 1)
	if err := alice.SetChoice(ctx, "eth", Choice{Keep: true}); err != nil {
		t.Fatal(err)
	}
	if err := bob.SetChoice(ctx, "btc", Choice{Keep: true}); err != nil {
		t.Fatal(err)
	}
	id, err := alice.Propose(ctx, Proposal{
		Source: []byte(swap), Terms: []int64{5, 5}, Parties: []wire.VaultID{alice.id, bob.id}, Pots: map[string]coin.AssetID{"left_side": "btc", "right_side": "eth"},
	})
	if err != nil {
		t.Fatal(err)
	}
	v := bob.comes(id)
	if v.Indivisible || v.Pots[1].Chunks != 0 || v.Pots[1].Amount != "50000" || v.Pots[1].Asset != "eth" {
		t.Errorf("bob is asked for %v", v.Pots[1])
	}
	if err := bob.AnswerDraft(ctx, id, true, ""); err != nil {
		t.Fatal(err)
	}
	bob.wait(1, "btc", "held")
	alice.wait(1, "eth", "held")

	// What is not there cannot be promised.
	id, err = alice.Propose(ctx, Proposal{
		Source: []byte(swap), Terms: []int64{5, 5}, Parties: []wire.VaultID{bob.id, alice.id}, Pots: map[string]coin.AssetID{"left_side": "eth", "right_side": "eth"},
	})
	if err != nil {
		t.Fatal(err)
	}
	bob.comes(id)
	if err := bob.AnswerDraft(ctx, id, true, ""); err == nil || !strings.Contains(err.Error(), "none are free") {
		t.Errorf("bob, without eth, accepts to give some: %v", err)
	}
}

const bet = `contract Bet
parties alice, bob
term n  : units 1..100
term by : time
pot stake = n units from alice
pot other = n units from bob
phase Open until by
  when bob says "pay" with percent in 0..100:
    give share(other, percent, 100) of other to alice
    close
  when alice says "pay":
    give all of stake to bob
    close
  at deadline: close
`

// Whoever fills a pot after another's yes could choose chunks so large that a give
// comes out as nothing: the other's user is asked once more, and nothing is signed
// before.
func TestLateChunksAreLookedAtAgain(t *testing.T) {
	w := newTown(t, "alice", "bob")
	ctx := t.Context()
	alice, bob := w.clients["alice"], w.clients["bob"]
	alice.deposit("btc", 1, 5)
	bob.deposit("eth", 5, 1)
	id, err := alice.Propose(ctx, Proposal{
		Source: []byte(bet), Terms: []int64{5, alice.status().Now + 3600}, Parties: []wire.VaultID{alice.id, bob.id}, Pots: map[string]coin.AssetID{"stake": "btc", "other": "eth"},
	})
	if err != nil {
		t.Fatal(err)
	}
	bob.comes(id)
	if err := bob.AnswerDraft(ctx, id, true, ""); err != nil {
		t.Fatal(err)
	}
	w.until("alice is asked again", func() string { return map[bool]string{false: "not yet"}[alice.told("review again").Deal == id] })
	if e := alice.told("review again"); !strings.Contains(e.Text, "of pot other and come out as 0") {
		t.Errorf("alice is told: %s", e.Text)
	}
	time.Sleep(100 * time.Millisecond)
	if got := len(alice.have("btc", "set aside")); got != 5 {
		t.Fatalf("%d of alice's chunks are still only set aside, want 5", got)
	}
	v, err := alice.Review(ctx, id)
	if err != nil || !v.Indivisible || !strings.Contains(v.Draft.Wait.WaitsFor, "second look") || len(v.Warnings) == 0 {
		t.Errorf("alice is shown %v: %v", v, err)
	}
	if err := alice.AnswerDraft(ctx, id, true, ""); err != nil {
		t.Fatal(err)
	}
	alice.wait(5, "btc", "locked")
	bob.wait(1, "eth", "locked")
}

// Whatever the standing choice: what nears the end of its certificate is claimed
// in good time, by the witnesses' clock.
func TestExpiringChunksAreClaimed(t *testing.T) {
	w := newTown(t, "alice", "bob")
	ctx := t.Context()
	alice, bob := w.clients["alice"], w.clients["bob"]
	alice.deposit("btc", 5, 2)
	if err := bob.SetChoice(ctx, "btc", Choice{Keep: true}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := alice.Pay(ctx, bob.ask(5), false); err != nil {
		t.Fatal(err)
	}
	bob.wait(1, "btc", "held")
	c := bob.have("btc", "held")[0]
	if now := bob.status().Now; c.Wait.Until < now+82*24*3600 || c.Wait.Until > now+83*24*3600 {
		t.Fatalf("it is claimed by itself at %d, and it is %d: want a week before its 90 days are over", c.Wait.Until, now)
	}
	ahead := c.Wait.Until - bob.status().Now - 3600
	w.ahead.Add(ahead)
	w.until("time passes", func() string {
		return map[bool]string{false: "not yet"}[bob.status().Now >= c.Wait.Until-3700]
	})
	time.Sleep(200 * time.Millisecond)
	if len(bob.have("btc", "held")) != 1 || len(alice.have("btc", "available")) != 1 {
		t.Fatal("something is claimed an hour early")
	}
	w.ahead.Add(2 * 3600)
	bob.wait(1, "btc", "swept")
	alice.wait(1, "btc", "swept")
	if e := bob.told("claimed"); !strings.Contains(e.Text, "certificates end soon") {
		t.Errorf("bob is told: %s", e.Text)
	}
}

// Bob's own deposit that Carol paid him back is received, and his standing choice claims it at
// once; those that nobody else had stay. What was given away is known after a restart.
func TestPaidBackIsClaimed(t *testing.T) {
	w := newTown(t, "bob", "carol")
	bob, carol := w.clients["bob"], w.clients["carol"]
	bob.deposit("btc", 5, 2)
	if err := carol.SetChoice(t.Context(), "btc", Choice{Keep: true}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := bob.Pay(t.Context(), carol.ask(5), false); err != nil {
		t.Fatal(err)
	}
	carol.wait(1, "btc", "held")
	bob.stop()
	bob.start()
	if _, _, err := carol.Pay(t.Context(), bob.ask(5), false); err != nil {
		t.Fatal(err)
	}
	w.until("bob claims what came back", func() string {
		if bob.told("swept").Count != 1 {
			return "not yet; " + strings.Join(bob.status().Problems, "; ")
		}
		return ""
	})
	if n := len(bob.have("btc", "available")); n != 1 {
		t.Errorf("%d of bob's own chunks are left, want 1", n)
	}
}
