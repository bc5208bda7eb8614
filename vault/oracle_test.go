package vault_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/contract/oracle"
	"latchkey/vault"
	"latchkey/wire"
)

const cfd = `contract Cfd
parties long, short
term stake : units 1..1000
term strike : money 1.00..1_000_000.00
term settle_at : time
term coin : asset
oracle price "btc/usd" in 0.01..10_000_000.00
pot bull = stake units of coin from long
pot bear = stake units of "xmr" from short
phase Live until settle_at
  when oracle price each 60 seconds if price >= 2 * strike:
    give all of bear to long
    close
  at deadline: next Settle
phase Settle until settle_at + 1 days
  when oracle price for settle_at:
    if price >= strike then
      give min(stake, share(stake, price - strike, strike)) of bear to long
    else
      give min(stake, share(stake, strike - price, strike)) of bull to short
    end
    close
  at deadline: close
`

// feedKeys are an oracle's keys, in rising order.
func feedKeys() (list []ed25519.PrivateKey) {
	for i := range 3 {
		list = append(list, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(40 + i)}, 32)))
	}
	slices.SortFunc(list, func(a, b ed25519.PrivateKey) int { return bytes.Compare(a[32:], b[32:]) })
	return list
}

func feed() oracle.Quorum {
	q := oracle.Quorum{Feed: "btc/usd", Need: 2}
	for _, k := range feedKeys() {
		q.Keys = append(q.Keys, k[32:])
	}
	return q
}

// signed are values of the first keys for one time.
func signed(t testing.TB, at int64, values ...int64) (list []oracle.Signed) {
	for i, v := range values {
		s, err := oracle.Value{Feed: "btc/usd", Time: at, Value: v}.Sign(feedKeys()[i])
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

// cfdOf writes down a contract for difference between alice, who is long, and bob.
func (w *world) cfdOf(left, right []wire.ChunkID) vault.Agreement {
	a := w.swapOf(left, right)
	a.Source, a.Terms = []byte(cfd), []int64{a.Terms[0], 1000_00, w.now + 3600}
	a.Oracles, a.Assets = []oracle.Quorum{feed()}, []coin.AssetID{"btc", "xmr"}
	return a
}

func openedCfd(t *testing.T) (w *world, alice, bob *client, id wire.InstanceID, left, right []wire.ChunkID) {
	w = newWorld(t, 2)
	alice, bob = w.owners[0], w.owners[1]
	left = alice.deposit(denomination("btc", coin.Secp256k1), 5, 4)
	right = bob.deposit(denomination("xmr", coin.Ed25519), 5, 4)
	id = w.agree(w.cfdOf(left, right))
	w.run()
	return w, alice, bob, id, left, right
}

// TestCfdSettlesOnAPrice plays a contract for difference from deposit to payout: the median of an oracle's values counts,
// and every vault verifies them itself.
func TestCfdSettlesOnAPrice(t *testing.T) {
	t.Parallel()
	w, alice, bob, id, left, right := openedCfd(t)
	settle := w.now + 3600
	alice.bring(vault.Report{Instance: id, Signed: signed(t, w.now, 1500_00, 1600_00, 9999_00)})
	w.run() // noted, no more: nothing is given
	if alice.holds(right) != 0 {
		t.Fatal("a price below the limit gives")
	}
	w.later(3602)
	alice.bring(vault.Report{Instance: id, Signed: signed(t, settle, 1500_00, 1600_00)})
	w.run()
	if in := bob.instance(); !in.Closed || !in.Settled {
		t.Fatalf("bob's vault sees %+v, want it closed", in)
	}
	// The price of 1500 is half above 1000: ten of twenty units, two chunks of five.
	if got := alice.holds(right); got != 2 {
		t.Errorf("alice has %d of bob's chunks, want 2", got)
	}
	if bob.holds(right) != 2 || alice.holds(left) != 4 {
		t.Errorf("bob keeps %d, alice %d", bob.holds(right), alice.holds(left))
	}
}

// TestLiquidationAfterARestart brings a value, restarts everything, and sees it act once.
func TestLiquidationAfterARestart(t *testing.T) {
	t.Parallel()
	w, alice, bob, id, _, right := openedCfd(t)
	r := vault.Report{Instance: id, Signed: signed(t, w.now, 2000_00, 2100_00, 2200_00)}
	bob.bring(r)
	bob.bring(r) // again: kept once
	bob.restart(t)
	if qs, err := bob.o.Pending(w.rnd); err != nil || len(qs) != 1 || qs[0].Report == nil {
		t.Fatalf("after a restart bob's vault has %d things to say, %v; want the value", len(qs), err)
	}
	a, err := alice.ask(vault.Request{Report: &r}) // whoever brings it
	w.persist(a.Block, err)
	if a.Reply.Receipt == nil || a.Reply.Receipt.Verify(w.keys.identity) != nil {
		t.Error("a value has no receipt of the escrow's")
	}
	w.run()
	if alice.holds(right) != 4 {
		t.Errorf("alice has %d chunks, want all 4", alice.holds(right))
	}
	if qs, err := bob.o.Pending(w.rnd); err != nil || len(qs) != 0 {
		t.Errorf("bob's vault goes on saying %d things, %v", len(qs), err)
	}
	again := w.restarted(t)
	if a, err := again.escrow.Handle(alice.id, vault.Request{Report: &r}, w.rnd); err == nil {
		t.Errorf("the value acts a second time after a restart: %+v", a)
	}
}

// TestReportsRefused lists what the escrow takes for no value, and writes nothing down for.
func TestReportsRefused(t *testing.T) {
	t.Parallel()
	w, alice, _, id, _, _ := openedCfd(t)
	now := w.now
	good := vault.Report{Instance: id, Signed: signed(t, now, 1500_00, 1600_00)}
	stranger := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{99}, 32))
	foreign, err := oracle.Value{Feed: "btc/usd", Time: now, Value: 1}.Sign(stranger)
	if err != nil {
		t.Fatal(err)
	}
	forged := vault.Report{Instance: id, Signed: slices.Clone(good.Signed)}
	forged.Signed[0].Value.Value = 5000_00
	with := []oracle.Signed{good.Signed[0], foreign}
	slices.SortFunc(with, func(a, b oracle.Signed) int { return bytes.Compare(a.Key, b.Key) })
	for name, r := range map[string]vault.Report{
		"of one key":              {Instance: id, Signed: signed(t, now, 2000_00)},
		"of no key":               {Instance: id},
		"of a stranger's key":     {Instance: id, Signed: with},
		"that was changed":        forged,
		"of one key twice":        {Instance: id, Signed: []oracle.Signed{good.Signed[0], good.Signed[0]}},
		"too old":                 {Instance: id, Signed: signed(t, now-61, 2000_00, 2000_00)},
		"of the future":           {Instance: id, Signed: signed(t, now+1, 2000_00, 2000_00)},
		"out of range":            {Instance: id, Signed: signed(t, now, 0, 0)},
		"of an oracle not there":  {Instance: id, Oracle: 1, Signed: good.Signed},
		"for an unknown instance": {Instance: wire.InstanceID{1}, Signed: good.Signed},
	} {
		if a, err := alice.ask(vault.Request{Report: &r}); err == nil || len(a.Block.Entries) > 0 {
			t.Errorf("a value %s: %v, %d entries", name, err, len(a.Block.Entries))
		}
		if _, _, err := alice.o.Bring(r); err == nil && name != "of the future" {
			t.Errorf("alice's vault would bring a value %s", name)
		}
	}
	a, err := alice.ask(vault.Request{Report: &good})
	w.persist(a.Block, err)
	if again, err := alice.ask(vault.Request{Report: &good}); err != nil || len(again.Block.Entries) != 0 || again.Reply.Receipt == nil {
		t.Errorf("the same value again: %+v, %v; want the receipt and nothing else", again, err)
	}
	w.now += 3600 + 3 // past the deadline and the grace; Due has not come to it
	w.witness()
	late := vault.Report{Instance: id, Signed: signed(t, w.now, 2000_00, 2000_00)}
	if _, err := alice.ask(vault.Request{Report: &late}); !errors.Is(err, vault.ErrExpired) {
		t.Errorf("a value after the phase: %v, want %v", err, vault.ErrExpired)
	}
}

// TestForgedReports has whoever broke the escrow's TEE write values into the log that no quorum signed. The owners' own
// replay refuses them.
func TestForgedReports(t *testing.T) {
	t.Parallel()
	changed := func(t *testing.T, now int64) []oracle.Signed {
		list := signed(t, now, 1999_00, 1999_00)
		list[0].Value.Value, list[1].Value.Value = 2000_00, 2000_00
		return list
	}
	for name, forge := range map[string]func(w *world, r *vault.Run){
		"of one key": func(w *world, r *vault.Run) { r.Report.Signed = r.Report.Signed[:1] },
		"changed":    func(w *world, r *vault.Run) { r.Report.Signed = changed(t, w.now) },
		"none":       func(w *world, r *vault.Run) { r.Report = nil },
		"of another instance": func(w *world, r *vault.Run) {
			other := *r.Report
			other.Instance = wire.InstanceID{1}
			r.Report = &other
		},
		"at another time": func(w *world, r *vault.Run) { r.EventAt += 30 },
		"without gives":   func(w *world, r *vault.Run) { r.Exits, r.Closed, r.Settled = nil, false, false },
		"beside a word":   func(w *world, r *vault.Run) { r.Kind = vault.RunWord },
	} {
		t.Run(name, func(t *testing.T) {
			w, alice, bob, id, _, _ := openedCfd(t)
			a, err := alice.ask(vault.Request{Report: &vault.Report{Instance: id, Signed: signed(t, w.now, 2000_00, 2000_00)}})
			if err != nil {
				t.Fatal(err)
			}
			n, err := vault.ParseEntry(a.Block.Entries[0])
			if err != nil || n.Run == nil || n.Run.Kind != vault.RunReport || !n.Run.Closed {
				t.Fatalf("the value makes %+v, %v", n, err)
			}
			forge(w, n.Run)
			p := w.forge(n)
			bob.advance()
			if _, err := bob.observe(p); !errors.Is(err, vault.ErrDeviate) {
				t.Errorf("bob's vault believes it: %v", err)
			}
		})
	}
}

// TestAgreementsThatNameWrongly lists agreements that name oracles, assets, bounds or holders as the contract does not.
func TestAgreementsThatNameWrongly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	right := bob.deposit(denomination("xmr", coin.Ed25519), 5, 2)
	for name, test := range map[string]struct {
		change func(a *vault.Agreement)
		want   string
	}{
		"no oracle":         {func(a *vault.Agreement) { a.Oracles = nil }, "0 oracles and 2 assets, contract Cfd has 1 and 2"},
		"an oracle more":    {func(a *vault.Agreement) { a.Oracles = append(a.Oracles, feed()) }, "2 oracles"},
		"half of the keys":  {func(a *vault.Agreement) { a.Oracles[0].Need = 1 }, "more than half"},
		"another feed":      {func(a *vault.Agreement) { a.Oracles[0].Feed = "eth/usd" }, "reads feed eth/usd, the contract says btc/usd"},
		"no asset":          {func(a *vault.Agreement) { a.Assets = nil }, "1 oracles and 0 assets"},
		"another asset":     {func(a *vault.Agreement) { a.Assets[0] = "eth" }, "it is btc, the pot holds eth"},
		"another fixed one": {func(a *vault.Agreement) { a.Assets[1] = "btc" }, "asset btc, the contract says xmr"},
		"bounds of nothing": {func(a *vault.Agreement) { a.Bounds = &vault.Bounds{} }, "bounds of 0 states"},
		"bounds too far":    {func(a *vault.Agreement) { a.Bounds = &vault.Bounds{States: 1_000_001, Moves: 1} }, "bounds of 1000001 states"},
		"bounds too near":   {func(a *vault.Agreement) { a.Bounds = &vault.Bounds{States: 1, Moves: 1} }, "more than 1 states or 1 moves"},
		"a later pot": {func(a *vault.Agreement) {
			a.Source = []byte(strings.Replace(strings.Replace(cfd, "pot bear", "later pot bear", 1), "  at deadline: next", "  when deposit bear: stay at deadline: next", 1))
		}, "does not say of what denomination"},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.cfdOf(left, right)
			test.change(&a)
			_, _, err := alice.o.Accept(alice.proposal(a), w.rnd)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	wide := w.cfdOf(left, right)
	wide.Bounds = &vault.Bounds{States: 100_000, Moves: 1_000_000}
	if _, _, err := alice.o.Accept(alice.proposal(wide), w.rnd); err != nil {
		t.Errorf("raised bounds: %v", err)
	}
}

// TestLockOfAnotherAsset brings the escrow an agreement that both signed, whose chunks are not what the contract says: a
// vault that forgot to look is not the only one that does.
func TestLockOfAnotherAsset(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	right := bob.deposit(denomination("xmr", coin.Ed25519), 5, 2)
	a := w.cfdOf(left, right)
	a.Assets[0] = "eth"
	q := vault.LockAsk{Agreement: a}
	h, err := a.Hash()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []*client{alice, bob} {
		body := vault.Acceptance{Agreement: h, Role: uint32(i)}
		q.Acceptances = append(q.Acceptances, vault.SignedAcceptance{Body: body, Sig: wire.Sign(c.sign, "latchkey/accept/v1", must(t, body))})
	}
	if _, err := alice.ask(vault.Request{Lock: &q}); err == nil || !strings.Contains(err.Error(), "it is btc, the pot holds eth") {
		t.Errorf("got %v", err)
	}
}

// TestRoleOfSeveralVaults runs a contract whose role the agreement gives to as many vaults as its terms say.
func TestRoleOfSeveralVaults(t *testing.T) {
	t.Parallel()
	const club = `contract Club
parties owner
role member 1..5
term d : duration
pot prize = 10 units from owner
for each member:
  counter wants = 0 in 0..1
end
phase Open until now + d
  when any member says "mine" if wants = 0:
    give 5 of prize to member
    set wants = 1
  at deadline: close
`
	w := newWorld(t, 3)
	owner := w.owners[0]
	prize := owner.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	a := vault.Agreement{
		Source: []byte(club), Terms: []int64{2, 3600}, Pots: [][]vault.Stake{owner.stakes(prize)}, Escrow: w.keys.id, LockBy: w.now + 60, Settle: vault.Atomic,
		Parties: []vault.Recipients{{owner.id}, {w.owners[1].id}, {w.owners[2].id}},
	}
	three := a
	three.Terms = []int64{3, 3600}
	if _, _, err := owner.o.Accept(owner.proposal(three), w.rnd); err == nil || !strings.Contains(err.Error(), "3 parties, contract Club has 4") {
		t.Errorf("a role with a holder missing: %v", err)
	}
	id := w.agree(a)
	w.run()
	for i, c := range w.owners[1:] {
		_, rows, err := c.o.Say(id, "mine", 0, false)
		c.keep(rows, err)
		w.run()
		if got := c.holds(prize); got != 1 {
			t.Errorf("member %d has %d chunks, want 1", i+1, got)
		}
		if _, _, err := c.o.Say(id, "mine", 0, false); err == nil {
			t.Errorf("member %d may say it twice", i+1)
		}
	}
	w.later(3602)
	if in := owner.instance(); !in.Settled {
		t.Errorf("%+v, want it settled", in)
	}
}

// TestSealedBids commits to bids and shows them: nobody learns a bid from the log before, and nobody shows another.
func TestSealedBids(t *testing.T) {
	t.Parallel()
	const auction = `contract Auction
parties seller
role bidder 2..4
term d : duration
pot lot = 5 units from seller
for each bidder:
  sealed bid in 1..100
  counter shown = 0 in 0..100
end
phase Commit until now + d
  when any bidder says "commit" with sealed bid: stay
  at deadline: next Reveal
phase Reveal until now + d
  when any bidder says "reveal" with opened bid: set shown = bid
  at deadline:
    for each bidder:
      if shown = most(bidder: shown) and count(bidder: shown = most(bidder: shown)) = 1 then
        give all of lot to bidder
      end
    end
    close
`
	w := newWorld(t, 3)
	seller, ann, ben := w.owners[0], w.owners[1], w.owners[2]
	lot := seller.deposit(denomination("btc", coin.Secp256k1), 5, 1)
	id := w.agree(vault.Agreement{
		Source: []byte(auction), Terms: []int64{2, 3600}, Pots: [][]vault.Stake{seller.stakes(lot)}, Escrow: w.keys.id, LockBy: w.now + 60,
		Settle: vault.Atomic, Parties: []vault.Recipients{{seller.id}, {ann.id}, {ben.id}},
	})
	w.run()
	if _, _, err := ann.o.SayOpened(id, "reveal"); err == nil {
		t.Error("ann shows what she never sealed")
	}
	first, rows, err := ann.o.SaySealed(id, "commit", 42, w.rnd)
	ann.keep(rows, err)
	w.run()
	if _, _, err := ann.o.SaySealed(id, "commit", 99, w.rnd); err == nil {
		t.Error("ann commits twice")
	}
	// Ben repeats ann's commitment as his own, and cannot show it: it names its party.
	stolen := vault.Word{Instance: id, Role: 2, Seq: 1, Word: "commit", Seal: first.Body.Seal}
	a, err := ben.ask(vault.Request{Word: &vault.SignedWord{Body: stolen, Sig: wire.Sign(ben.sign, "latchkey/word/v1", must(t, stolen))}})
	w.persist(a.Block, err)
	w.later(3602)
	ann.restart(t)
	shown, rows, err := ann.o.SayOpened(id, "reveal")
	ann.keep(rows, err)
	w.run()
	copied := vault.Word{Instance: id, Role: 2, Seq: 2, Word: "reveal", Value: 42, HasValue: true, Salt: shown.Body.Salt}
	if _, err := ben.ask(vault.Request{Word: &vault.SignedWord{Body: copied, Sig: wire.Sign(ben.sign, "latchkey/word/v1", must(t, copied))}}); err == nil {
		t.Error("ben shows ann's bid as his own")
	}
	short := copied
	short.Salt = short.Salt[:31]
	if _, err := ben.ask(vault.Request{Word: &vault.SignedWord{Body: short, Sig: wire.Sign(ben.sign, "latchkey/word/v1", must(t, short))}}); err == nil {
		t.Error("a salt of 31 bytes counts")
	}
	w.later(3602)
	if ann.holds(lot) != 1 {
		t.Error("the lot is not ann's")
	}
	if first.Body.Value != 0 || first.Body.HasValue || first.Body.Salt != nil {
		t.Error("the commitment tells the bid")
	}
}
