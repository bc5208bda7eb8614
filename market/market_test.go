package market

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/settle"
	"latchkey/wire"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// trio is a world with three clients of two vendors: alice with btc, bob and carol with eth, $1,000 each.
func trio(t tester) *world {
	w := newWorld(t, testPolicy())
	w.enrol("alice", "red")
	w.enrol("bob", "blue")
	w.enrol("carol", "blue")
	for _, x := range []struct{ name, asset string }{{"alice", "btc"}, {"bob", "eth"}, {"carol", "eth"}} {
		w.deposit(x.name, x.asset, 20, 8)
		w.deposit(x.name, x.asset, 5, 6)
		w.deposit(x.name, x.asset, 2, 3)
		w.deposit(x.name, x.asset, 1, 4)
	}
	return w
}

// Alice wants $500 of eth; Bob offers better, so his offer goes first, up to his share; Carol fills the rest. Both
// instances are settled, and everything is free again but for the exposure to chunks that are still kept.
func TestExchange(t *testing.T) {
	w := trio(t)
	w.do(Place{vault("carol"), w.swapOffer(1, "eth", 100, 20)})
	w.do(Place{vault("bob"), w.swapOffer(1, "eth", 100, 50)})
	events := w.do(Place{vault("alice"), w.swapOffer(1, "btc", 100, 100)})
	if diff := cmp.Diff([]string{"placed", "proposed", "proposed"}, names(events)); diff != "" {
		t.Fatal(diff)
	}
	type side struct {
		Client  wire.VaultID
		Units   Units
		Weights []uint32
	}
	var got [][2]side
	for _, p := range proposalsIn(events) {
		var s [2]side
		for i, x := range p.Sides {
			s[i] = side{x.Client, x.Units, nil}
			for _, c := range x.Chunks {
				s[i].Weights = append(s[i].Weights, c.Weight)
			}
		}
		got = append(got, s)
	}
	want := [][2]side{
		{{vault("alice"), 60, []uint32{20, 20, 20}}, {vault("bob"), 60, []uint32{20, 20, 20}}},
		{{vault("alice"), 40, []uint32{20, 20}}, {vault("carol"), 40, []uint32{20, 20}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	for _, p := range proposalsIn(events) {
		if !p.Exchange || p.Maker != 1 || p.Proof != (Proof{p.Sides[1].Units, p.Sides[1].Units, p.Sides[1].Units, true}) ||
			!slices.Equal(p.Terms, []int64{int64(p.Sides[0].Units), int64(p.Sides[1].Units)}) {
			t.Errorf("proposal %+v", p)
		}
		w.accept(p)
		w.do(Locked{p.ID, instance(p.ID), 1, nil})
		events := w.do(settled(p, false))
		w.compare()
		if e := events[0].Fact.(*Ended); e.Outcome != Done || e.Avoid || len(e.Fault) != 0 {
			t.Errorf("ended with %+v", e)
		}
	}
	s, err := w.m.OfferStatus(w.now, vault("alice"), offerID(1))
	if err != nil || s.Closed != Filled || s.Got != 100 || s.Gave != 100 {
		t.Errorf("alice's offer: %+v, %v", s, err)
	}
	s, err = w.m.OfferStatus(w.now, vault("bob"), offerID(1))
	if err != nil || s.Closed != 0 || s.Got != 60 || s.Wait.For != "an offer of the other side" {
		t.Errorf("bob's offer: %+v, %v", s, err)
	}
	c, err := w.m.ClientStatus(vault("alice"))
	if err != nil || c.Reputation != (Reputation{Successes: 2, Volume: 500 * usd, Since: w.now}) {
		t.Errorf("alice: %+v, %v", c, err)
	}
	// What Bob and Carol got was Alice's until now, and the other way round: it counts until it is claimed.
	if got, want := exposure(w, OfClient, "alice"), 500*usd; got != want {
		t.Errorf("at stake with alice: %v, want %v", got, want)
	}
	for _, p := range proposalsIn(events) {
		for _, s := range p.Sides {
			for _, c := range s.Chunks {
				if st, err := w.m.ChunkStatus(c.Chunk); err != nil || st.Place != "kept" || st.Owner == s.Client || st.Epoch != 2 {
					t.Errorf("chunk: %+v, %v", st, err)
				}
				w.do(Claimed{c.Chunk})
			}
		}
	}
	if list := w.m.Exposures(); len(list) != 0 {
		t.Errorf("still at stake: %v", list)
	}
	w.compare()
}

func exposure(w *world, kind DomainKind, client string) Micros {
	for _, d := range w.m.clients[vault(client)].profile.domains {
		if d.Kind == kind {
			return d.at
		}
	}
	return -1
}

// The notices of one exchange, as its clients see them.
func TestNotices(t *testing.T) {
	w := trio(t)
	w.do(Place{vault("bob"), w.swapOffer(1, "eth", 40, 0)})
	p := proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 40, 0)}))[0]
	w.accept(p)
	w.do(settled(p, false))
	for _, name := range []string{"alice", "bob"} {
		var got []string
		for i, d := range w.m.Deliveries(vault(name), 0, 100) {
			if d.Seq != uint64(i)+1 {
				t.Errorf("%s: notice %d has number %d", name, i, d.Seq)
			}
			switch {
			case d.Proposal != nil:
				got = append(got, "proposal "+d.Proposal.ID.String())
			case d.Accepted != nil:
				got = append(got, fmt.Sprintf("accepted %v %s", d.Accepted.Proposal, d.Accepted.Acceptances))
			case d.Ended != nil:
				got = append(got, fmt.Sprintf("ended %v %v", d.Ended.Proposal, d.Ended.Outcome))
			case d.Closed != nil:
				got = append(got, fmt.Sprintf("offer %v", d.Closed.Why))
			}
		}
		want := []string{
			"proposal " + p.ID.String(), fmt.Sprintf("accepted %v [acceptance 0 acceptance 1]", p.ID), fmt.Sprintf("ended %v done", p.ID), "offer filled",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	delivered := 0
	for i, e := range w.effects {
		if e.Kind == Deliver {
			delivered++
		}
		if i > 0 && e.Position == w.effects[i-1].Position && e.Number != w.effects[i-1].Number+1 {
			t.Errorf("effect %+v after %+v", e, w.effects[i-1])
		}
	}
	if delivered != 8 {
		t.Errorf("%d deliveries, want 8", delivered)
	}
	if got := len(w.m.Outstanding()); got != 8 {
		t.Errorf("%d outstanding, want 8", got)
	}
	w.do(Ack{vault("bob"), 3})
	if got := w.m.Deliveries(vault("bob"), 0, 100); len(got) != 1 || got[0].Seq != 4 {
		t.Errorf("after the acknowledgement: %v", got)
	}
	if got := w.m.Deliveries(vault("alice"), 2, 1); len(got) != 1 || got[0].Seq != 3 {
		t.Errorf("after 2, one: %v", got)
	}
	w.compare()
}

// waits returns what alice's offer 1 waits for.
func waits(w *world) string {
	w.t.Helper()
	s, err := w.m.OfferStatus(w.now, vault("alice"), offerID(1))
	if err != nil {
		w.t.Fatal(err)
	}
	return s.Wait.For
}

// Each obstacle keeps an offer from being filled, says so, and no longer does when it is gone.
func TestObstacles(t *testing.T) {
	for _, test := range []struct {
		name  string
		first func(w *world)       // before bob's offer
		bob   func(w *world) Offer // nil: 40 units at no premium
		want  string               // what alice then waits for
		then  func(w *world) []Event
	}{
		{
			name: "nobody there", bob: func(w *world) Offer {
				o := w.swapOffer(1, "eth", 40, 0)
				o.Settle = Atomic
				o.Escrow = vault("other")
				return o
			},
			want: "an offer of the other side",
			then: func(w *world) []Event { return w.do(Place{vault("carol"), w.swapOffer(1, "eth", 40, 0)}) },
		}, {
			name: "stale rate", first: func(w *world) { w.now += 61 },
			want: "a fresh rate of btc: the last one is 61 s old, at most 60",
			then: func(w *world) []Event {
				w.do(Rate{"btc", perCoin["btc"], w.now})
				if got, want := waits(w), "a fresh rate of eth: the last one is 61 s old, at most 60"; got != want {
					w.t.Errorf("got %q, want %q", got, want)
				}
				return w.do(Rate{"eth", perCoin["eth"], w.now})
			},
		}, {
			name: "lost rate", first: func(w *world) { w.do(RateLost{"eth", "two of three sources do not answer"}) },
			want: "a fresh rate of eth: two of three sources do not answer",
			then: func(w *world) []Event { return w.do(Rate{"eth", perCoin["eth"], w.now}) },
		}, {
			name: "rate out of range", first: func(w *world) { w.do(Rate{"eth", 1, w.now}) },
			want: "a fresh rate of eth: value of a unit of eth-5: invalid: below $0.01, too little to price it to a basis point",
			then: func(w *world) []Event { return w.do(Rate{"eth", perCoin["eth"], w.now}) },
		}, {
			name: "outage", first: func(w *world) { w.do(Outage{true}) },
			want: "the end of the operators' outage, which began at 1970-01-12T13:46:40Z",
			then: func(w *world) []Event { return w.do(Outage{false}) },
		}, {
			name: "price", bob: func(w *world) Offer { return w.swapOffer(1, "eth", 40, -1) },
			want: "an offer of the other side that meets its price",
			then: func(w *world) []Event { return w.do(Place{vault("bob"), w.swapOffer(2, "eth", 40, 0)}) },
		}, {
			name: "the counterparty's chunks", first: func(w *world) { w.do(Withdraw{vault("bob"), available8(w, "bob")}) },
			want: "available chunks of client " + vault("bob").Short(),
			then: func(w *world) []Event { w.deposit("bob", "eth", 20, 1); return w.do(depositOf(w, "bob", "eth", 20, 1)) },
		}, {
			name: "sizes", first: func(w *world) { w.do(Withdraw{vault("bob"), available8(w, "bob")}); w.deposit("bob", "eth", 50, 9) },
			want: "chunks of other weights: none make a slice within the prices and sizes of both sides",
			then: func(w *world) []Event { return w.do(depositOf(w, "bob", "eth", 10, 9)) },
		}, {
			name: "share", bob: func(w *world) Offer {
				o := w.swapOffer(1, "eth", 40, 0)
				o.Sole, o.Share = false, 1_000
				o.MinFill = 0
				return o
			},
			first: func(w *world) { // alice's other offer takes bob's share of her
				o := w.swapOffer(1, "eth", 40, 0)
				o.Sole, o.Share = false, 1_000
				w.do(Place{vault("bob"), o})
				o = w.swapOffer(9, "btc", 4, 0)
				if n := len(proposalsIn(w.do(Place{vault("alice"), o}))); n != 1 {
					w.t.Fatalf("%d proposals", n)
				}
			},
			want: "another counterparty: the share of one is used up",
			then: func(w *world) []Event { return w.do(Place{vault("carol"), w.swapOffer(1, "eth", 40, 0)}) },
		}, {
			name: "exposure", first: func(w *world) {
				o := w.swapOffer(7, "eth", 170, 0)
				w.do(Place{vault("bob"), o})
				w.do(Enrol{Client: vault("dora"), Device: Device{DeviceUnique, []byte("d")}, Vendor: wire.Hash(sum("red")), TCB: "1"})
				w.deposit("dora", "btc", 10, 17)
				if n := len(proposalsIn(w.do(Place{vault("dora"), w.swapOffer(1, "btc", 170, 0)}))); n != 1 {
					w.t.Fatalf("%d proposals", n)
				}
			},
			bob:  func(w *world) Offer { o := w.swapOffer(1, "eth", 40, 0); o.MinFill = 20; return o },
			want: "less at stake in client " + vault("bob").Short() + ": it is $850.00, at most $900.00",
			then: func(w *world) []Event { return w.do(Bond{vault("bob"), 200 * usd}) },
		}, {
			name: "a full mailbox", first: func(w *world) { w.m.policy.MaxQueue = 2; w.replica.policy.MaxQueue = 2 },
			want: "client " + vault("alice").Short() + " to acknowledge its notices: 1 are waiting or due, at most 2",
			then: func(w *world) []Event {
				w.m.policy.MaxQueue, w.replica.policy.MaxQueue = 9, 9
				w.now++
				return w.do(Rate{"eth", perCoin["eth"], w.now})
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := trio(t)
			if test.first != nil {
				test.first(w)
			}
			o := w.swapOffer(1, "eth", 40, 0)
			if test.bob != nil {
				o = test.bob(w)
			}
			w.try(Place{vault("bob"), o}) // where it is not there already
			if events := w.do(Place{vault("alice"), w.swapOffer(1, "btc", 40, 0)}); len(proposalsIn(events)) != 0 {
				t.Fatalf("there are proposals: %v", names(events))
			}
			if got := waits(w); got != test.want {
				t.Errorf("alice waits for %q, want %q", got, test.want)
			}
			if events := test.then(w); len(proposalsIn(events)) != 1 {
				t.Errorf("no proposal when the obstacle is gone: %v; alice waits for %q", names(events), waits(w))
			}
			w.compare()
		})
	}
}

// available8 returns all available chunks of a client.
func available8(w *world, name string) (list []wire.ChunkID) {
	for id, c := range w.m.chunks {
		if c.owner.id == vault(name) && c.place == available {
			list = append(list, id)
		}
	}
	slices.SortFunc(list, func(a, b wire.ChunkID) int { return slices.Compare(a[:], b[:]) })
	return list
}

// depositOf returns a deposit of new chunks.
func depositOf(w *world, name, asset string, weight uint32, n int) Deposit {
	w.serial++
	d := Deposit{
		Client: vault(name), Cert: wire.CertID(sum(fmt.Sprint("cert ", w.serial))), Escrow: w.escrow,
		Denomination: denomination(asset).ID, Weight: weight, Expiry: w.now + 1_000_000,
	}
	for i := range n {
		d.Chunks = append(d.Chunks, DepositChunk{Chunk: chunkID(fmt.Sprint(name, asset, w.serial, i)), Epoch: 1})
	}
	return d
}

// A proposal that is not accepted in time gives everything back; it counts against who did not accept, whose offer is
// closed; the other one's offer goes on with others. An outage excuses.
func TestNotAccepted(t *testing.T) {
	for _, outage := range []bool{false, true} {
		w := trio(t)
		w.do(Place{vault("bob"), w.swapOffer(1, "eth", 40, 50)})
		p := proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 40, 0)}))[0]
		w.do(Accept{vault("alice"), p.ID, []byte("yes")})
		if outage {
			w.do(Outage{true})
			w.now++
			w.do(Outage{false})
		}
		if at, ok := w.m.Wake(); !ok || at != p.AcceptBy+1 {
			t.Fatalf("wakes at %d, want %d", at, p.AcceptBy+1)
		}
		w.now = p.AcceptBy
		if events := w.do(Tick{}); len(events) != 0 {
			t.Fatalf("too early: %v", names(events))
		}
		w.now++
		_, err := w.try(Accept{vault("bob"), p.ID, []byte("late")})
		if !errors.Is(err, ErrState) {
			t.Errorf("late acceptance: %v", err)
		}
		events := w.do(Tick{})
		want := []string{"ended", "closed"}
		if outage {
			want = []string{"ended", "proposed"} // the two offers meet again
		}
		if diff := cmp.Diff(want, names(events)); diff != "" {
			t.Fatal(diff)
		}
		failures := uint32(1)
		if outage {
			failures = 0
		}
		for name, want := range map[string]uint32{"alice": 0, "bob": failures} {
			if c, _ := w.m.ClientStatus(vault(name)); c.Reputation.Failures != want {
				t.Errorf("outage %v: %d failures of %s, want %d", outage, c.Reputation.Failures, name, want)
			}
		}
		if !outage {
			if list := w.m.Exposures(); len(list) != 0 {
				t.Errorf("still at stake: %v", list)
			}
			if _, err := w.try(Place{vault("bob"), w.swapOffer(2, "eth", 40, 50)}); err != nil {
				t.Errorf("bob's next offer: %v", err)
			}
		}
		w.compare()
	}
}

// A complaint counts against nobody as a failure, and keeps the two offers apart; a refusal closes the offer.
func TestDecline(t *testing.T) {
	for _, test := range []struct {
		why                  DeclineReason
		failures, complaints uint32 // of bob, about alice
		closed               CloseReason
	}{
		{Unfunded, 0, 1, 0}, {Untrusted, 0, 1, 0}, {Undesired, 1, 0, Refused},
	} {
		w := trio(t)
		w.do(Place{vault("bob"), w.swapOffer(1, "eth", 40, 50)})
		p := proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 40, 0)}))[0]
		w.do(Accept{vault("alice"), p.ID, []byte("yes")})
		if _, err := w.try(Decline{vault("alice"), p.ID, Undesired, 0}); !errors.Is(err, ErrState) {
			t.Errorf("alice takes her acceptance back: %v", err)
		}
		if n := len(proposalsIn(w.do(Decline{vault("bob"), p.ID, test.why, 0}))); n != 0 {
			t.Error("the two offers meet again")
		}
		bob, _ := w.m.ClientStatus(vault("bob"))
		alice, _ := w.m.ClientStatus(vault("alice"))
		offer, _ := w.m.OfferStatus(w.now, vault("bob"), offerID(1))
		if bob.Reputation.Failures != test.failures || alice.Reputation.Complaints != test.complaints || offer.Closed != test.closed || alice.Reputation.Failures != 0 {
			t.Errorf("reason %d: bob %+v, alice %+v, bob's offer closed %d", test.why, bob.Reputation, alice.Reputation, offer.Closed)
		}
		if n := len(proposalsIn(w.do(Place{vault("carol"), w.swapOffer(1, "eth", 40, 0)}))); n != 1 {
			t.Error("alice's offer does not go on with others")
		}
		w.compare()
	}
}

// What a party has signed away in a proposal that ended is not offered again while whoever has its acceptance may have it
// locked: others get other chunks. The escrow's log, not the market's clock, makes it free.
func TestAcceptedRests(t *testing.T) {
	for _, end := range []string{"declined", "lapsed", "claimed"} {
		w := trio(t)
		w.do(Place{vault("bob"), w.swapOffer(1, "eth", 200, 50)})
		p := proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 200, 0)}))[0]
		side := p.Sides[p.role(vault("alice"))]
		w.do(Accept{vault("alice"), p.ID, []byte("yes")})
		switch end {
		case "declined":
			w.do(Decline{vault("bob"), p.ID, Unfunded, 0})
		case "lapsed":
			w.now = p.AcceptBy + 1
			w.do(Tick{})
		case "claimed":
			w.do(Claimed{p.Sides[p.role(vault("bob"))].Chunks[0].Chunk})
		}
		for _, x := range side.Chunks {
			if c, err := w.m.ChunkStatus(x.Chunk); err != nil || c.Place != "pledged" || c.Proposal != p.ID || c.Wait.Until != p.LockBy {
				t.Fatalf("%s: chunk of alice: %+v, %v", end, c, err)
			}
		}
		for _, q := range proposalsIn(w.do(Place{vault("carol"), w.swapOffer(1, "eth", 200, 50)})) {
			for _, x := range q.Sides[q.role(vault("alice"))].Chunks {
				if slices.Contains(side.Chunks, x) {
					t.Fatalf("%s: a pledged chunk is proposed", end)
				}
			}
			w.do(Decline{vault("carol"), q.ID, Undesired, 0})
		}
		for _, early := range []int64{p.LockBy, p.LockBy - 5} {
			w.now = max(w.now, early)
			if _, err := w.try(NotLocked{p.ID}); w.now <= p.LockBy && !errors.Is(err, ErrState) {
				t.Fatalf("%s: free while it can be locked: %v", end, err)
			}
		}
		w.now = p.LockBy + 1
		asked := 0
		for range 3 {
			_, effects, err := w.m.Step(w.now, Tick{})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range effects {
				if e.Kind == AskEscrow && e.Proposal == p.ID {
					asked++
				}
			}
			w.now += w.m.policy.AskEvery
		}
		if c, _ := w.m.ChunkStatus(side.Chunks[0].Chunk); asked != 3 || c.Place != "pledged" {
			t.Fatalf("%s: the escrow was asked %d times, and the chunk is %s", end, asked, c.Place)
		}
		if list := w.m.Outstanding(); !slices.ContainsFunc(list, func(e Effect) bool { return e.Kind == AskEscrow && e.Proposal == p.ID }) {
			t.Fatalf("%s: a shell that starts again does not ask", end)
		}
		events, _, err := w.m.Step(w.now, NotLocked{p.ID})
		if err != nil || len(events) == 0 || events[0].Name() != "freed" {
			t.Fatalf("%s: %v, %v", end, names(events), err)
		}
		for _, x := range side.Chunks {
			if c, _ := w.m.ChunkStatus(x.Chunk); c.Place != "available" && c.Place != "reserved" {
				t.Fatalf("%s: chunk of alice is %s once nothing comes of it", end, c.Place)
			}
		}
		checkInvariants(t, w.m)
	}
}

// A lock that comes all the same takes what rested off the market.
func TestRestIsLocked(t *testing.T) {
	w := trio(t)
	w.do(Place{vault("bob"), w.swapOffer(1, "eth", 40, 50)})
	p := proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 40, 0)}))[0]
	w.do(Accept{vault("alice"), p.ID, []byte("yes")})
	w.do(Decline{vault("bob"), p.ID, Unfunded, 0})
	w.do(Locked{p.ID, instance(p.ID), 1, nil})
	for _, s := range p.Sides {
		for _, x := range s.Chunks {
			if c, _ := w.m.ChunkStatus(x.Chunk); c.Place != "kept" {
				t.Errorf("chunk of %s is %s", s.Client.Short(), c.Place)
			}
		}
	}
	w.now = p.LockBy + 1
	if events := w.do(NotLocked{p.ID}); len(events) != 0 {
		t.Errorf("it was locked, and %v", names(events))
	}
	w.compare()
}

// Who says that its chunks are pledged elsewhere has them rest that long, and no longer than a day; the other side's
// are free at once, and both offers go on with others. The two clients meet again after a pause.
func TestDeclinePledged(t *testing.T) {
	w := trio(t)
	w.do(Place{vault("bob"), w.swapOffer(1, "eth", 40, 50)})
	p := proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 40, 0)}))[0]
	for _, bad := range []Decline{{vault("bob"), p.ID, Pledged, 0}, {vault("bob"), p.ID, Pledged, -1}, {vault("bob"), p.ID, Unfunded, 5}} {
		if _, err := w.try(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	end := w.do(Decline{vault("bob"), p.ID, Pledged, w.now + 1_000_000_000})[0].Fact.(*Ended)
	bob := uint8(p.role(vault("bob")))
	want := &Ended{Proposal: p.ID, Outcome: Aborted, Why: Declined, Forget: p.LockBy + w.m.policy.KeepEnded, Pause: 60, Rests: []Rest{{bob, w.now + 86_400}}}
	if diff := cmp.Diff(want, end); diff != "" {
		t.Error(diff)
	}
	for i, s := range p.Sides {
		if c, _ := w.m.ChunkStatus(s.Chunks[0].Chunk); c.Place != map[bool]string{true: "pledged", false: "available"}[s.Role == bob] {
			t.Errorf("chunk of side %d is %s", i, c.Place)
		}
	}
	w.now += 59
	if n := len(proposalsIn(w.do(Rate{"btc", perCoin["btc"], w.now}))) + len(proposalsIn(w.do(Rate{"eth", perCoin["eth"], w.now}))); n != 0 {
		t.Error("they meet again at once")
	}
	w.now++
	list := append(proposalsIn(w.do(Rate{"btc", perCoin["btc"], w.now})), proposalsIn(w.do(Rate{"eth", perCoin["eth"], w.now}))...)
	if len(list) != 1 {
		t.Fatalf("%d proposals after the pause", len(list))
	}
	w.compare()
}

// Who cannot check a proposal says so at once: that counts against nobody and closes no offer, as its silence would. Its own
// chunks rest until the lock could have come, so saying it falsely gains nothing, and the two pause, however often it is said.
func TestDeclineUnable(t *testing.T) {
	w := trio(t)
	w.do(Place{vault("bob"), w.swapOffer(1, "eth", 40, 50)})
	p := proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 40, 0)}))[0]
	if _, err := w.try(Decline{vault("bob"), p.ID, Unable, 5}); !errors.Is(err, ErrInvalid) {
		t.Errorf("with a time: %v", err)
	}
	events := w.do(Decline{vault("bob"), p.ID, Unable, 0})
	bob := uint8(p.role(vault("bob")))
	want := &Ended{Proposal: p.ID, Outcome: Aborted, Why: Declined, Forget: p.LockBy + w.m.policy.KeepEnded, Pause: 60, Rests: []Rest{{bob, p.LockBy}}}
	if diff := cmp.Diff(want, events[0].Fact); diff != "" || len(events) != 1 {
		t.Errorf("%v: %s", names(events), diff)
	}
	for i, s := range p.Sides {
		if c, _ := w.m.ChunkStatus(s.Chunks[0].Chunk); c.Place != map[bool]string{true: "pledged", false: "available"}[s.Role == bob] {
			t.Errorf("chunk of side %d is %s", i, c.Place)
		}
	}
	begun, met := w.now, 0
	for ; w.now < begun+600; w.now++ {
		var list []*Proposal
		if w.now > p.LockBy {
			list = proposalsIn(w.do(NotLocked{p.ID})) // the escrow's word: what rested is free
		}
		list = append(list, proposalsIn(w.do(Rate{"btc", perCoin["btc"], w.now}))...)
		list = append(list, proposalsIn(w.do(Rate{"eth", perCoin["eth"], w.now}))...)
		for _, p = range list {
			met++
			w.do(Decline{vault("bob"), p.ID, Unable, 0})
		}
	}
	for _, name := range []string{"alice", "bob"} {
		if c, _ := w.m.ClientStatus(vault(name)); c.Reputation.Failures != 0 || c.Reputation.Complaints != 0 {
			t.Errorf("%s: %+v", name, c.Reputation)
		}
	}
	if met != 9 {
		t.Errorf("%d more proposals in ten minutes, want one a minute", met)
	}
	w.compare()
}

// An outage excuses a decline, and the two meet again: but not at once, however often it is repeated.
func TestExcusedDeclinePauses(t *testing.T) {
	for _, why := range []DeclineReason{Unfunded, Undesired} {
		w := trio(t)
		w.do(Place{vault("bob"), w.swapOffer(1, "eth", 40, 50)})
		list := proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 40, 0)}))
		begun, met := w.now, 0
		for ; w.now < begun+600; w.now++ { // an escrow that comes and goes each second
			list = append(list, proposalsIn(w.do(Rate{"btc", perCoin["btc"], w.now}))...)
			list = append(list, proposalsIn(w.do(Rate{"eth", perCoin["eth"], w.now}))...)
			w.do(Outage{true})
			list = append(list, proposalsIn(w.do(Outage{false}))...)
			for _, p := range list {
				met++
				list = proposalsIn(w.do(Decline{vault("bob"), p.ID, why, 0}))
			}
		}
		c, _ := w.m.ClientStatus(vault("bob"))
		if met != 10 || c.Reputation.Failures != 0 {
			t.Errorf("reason %d: %d proposals in ten minutes, want one a minute; %d failures", why, met, c.Reputation.Failures)
		}
	}
}

// A client that complained about another is not matched with it for a time that
// doubles, whatever new offers the two bring; others are not held up, the pause comes to
// an end, and an exchange that comes to its own forgets what was before.
func TestPause(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := trio(t)
		w.deposit("alice", "btc", 5, 20)
		w.deposit("bob", "eth", 5, 20)
		w.deposit("carol", "eth", 5, 20)
		w.every = 64
		alice, bob, carol := vault("alice"), vault("bob"), vault("carol")
		offers, until, length, fills := 0, int64(0), int64(0), 0
		place := func(name, give string) []*Proposal {
			offers++
			return proposalsIn(w.do(Place{vault(name), w.swapOffer(offers, give, 5, 100)}))
		}
		settle := func(p *Proposal) []*Proposal {
			var after []*Proposal
			for _, id := range p.Parties {
				after = append(after, proposalsIn(w.do(Accept{id, p.ID, []byte("yes")}))...)
			}
			return append(after, proposalsIn(w.do(settled(p, false)))...)
		}
		for range rapid.IntRange(2, 10).Draw(t, "steps") {
			w.now += rapid.SampledFrom([]int64{0, 1, 58, 59, 60, 61, 120, 500, 4000}).Draw(t, "seconds")
			paused, met, before := w.now < until, 0, until-w.now
			var list []*Proposal
			for at, ok := w.m.Wake(); ok && at <= w.now; at, ok = w.m.Wake() {
				list = append(list, proposalsIn(w.do(Tick{}))...)
			}
			for _, a := range []coin.AssetID{"btc", "eth"} {
				list = append(list, proposalsIn(w.do(Rate{a, perCoin[a], w.now}))...)
			}
			list = append(append(list, place("bob", "eth")...), place("alice", "btc")...)
			for len(list) > 0 {
				p := list[0]
				list = list[1:]
				if p.role(carol) >= 0 {
					list = append(list, settle(p)...)
					continue
				}
				if met++; paused {
					t.Fatalf("met again %d s before the end of a pause of %d s", before, length)
				}
				if rapid.IntRange(0, 3).Draw(t, "honest") == 0 {
					list, length, until = append(list, settle(p)...), 0, 0
					continue
				}
				why := rapid.SampledFrom([]DeclineReason{Unfunded, Untrusted}).Draw(t, "why")
				who := rapid.SampledFrom([]wire.VaultID{alice, bob}).Draw(t, "who")
				list = append(list, proposalsIn(w.do(Decline{who, p.ID, why, 0}))...)
				length = min(max(60, 2*length), 86_400)
				until = w.now + length
			}
			if met == 0 && before <= 0 {
				t.Fatal("the pause is over, and they do not meet")
			}
			if w.now < until { // Alice's newest offer stands; another takes it
				taken := place("carol", "eth")
				if len(taken) != 1 || taken[0].role(carol) < 0 {
					t.Fatalf("carol is held up: %d proposals", len(taken))
				}
				settle(taken[0])
				fills++
			}
			w.compare()
		}
		for _, name := range []string{"alice", "bob"} {
			if c, _ := w.m.ClientStatus(vault(name)); c.Reputation.Failures != 0 {
				t.Errorf("%d failures of %s: a complaint is nobody's", c.Reputation.Failures, name)
			}
		}
		if c, _ := w.m.ClientStatus(carol); int(c.Reputation.Successes) < fills {
			t.Errorf("carol has %d successes, want %d", c.Reputation.Successes, fills)
		}
	})
}

// While two clients pause, each says so of its offers, and the one that stays counts as
// the only counterparty of an offer that may be filled by one alone.
func TestPauseShown(t *testing.T) {
	w := trio(t)
	w.do(Place{vault("bob"), w.swapOffer(1, "eth", 40, 50)})
	p := proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 40, 50)}))[0]
	w.do(Decline{vault("bob"), p.ID, Unfunded, 0})
	w.do(Cancel{vault("alice"), offerID(1)})
	if n := len(proposalsIn(w.do(Place{vault("alice"), w.swapOffer(2, "btc", 40, 50)}))); n != 0 {
		t.Fatal("a new offer meets at once")
	}
	s, err := w.m.OfferStatus(w.now, vault("alice"), offerID(2))
	want := fmt.Sprintf("another counterparty, or the end of a pause at %s: a proposal with client %s was declined", wire.UTC(w.now+60), vault("bob").Short())
	if err != nil || s.Wait.For != want {
		t.Errorf("it waits for %q, want %q: %v", s.Wait.For, want, err)
	}
	list := proposalsIn(w.do(Place{vault("carol"), w.swapOffer(1, "eth", 40, 50)}))
	if len(list) != 1 || list[0].Sides[0].Units+list[0].Sides[1].Units != 80 {
		t.Fatalf("carol is alone and fills not all: %v", list)
	}
	w.do(Decline{vault("carol"), list[0].ID, Untrusted, 0})
	w.now += 60
	if n := len(proposalsIn(w.do(Rate{"btc", perCoin["btc"], w.now}))); n != 1 {
		t.Fatal("the pause is over, and they do not meet")
	}
}

// What a third party of the contract complains of is about both sides: it tells nothing
// of the one about the other, and their clients meet again with new offers.
func TestNoPauseForAThirdParty(t *testing.T) {
	w := newWorld(t, testPolicy())
	for _, name := range []string{"alice", "bob", "judge"} {
		w.enrol(name, name)
	}
	w.deposit("alice", "btc", 10, 4)
	w.deposit("bob", "btc", 10, 4)
	offer := func(n int, role uint8) Offer {
		return Offer{
			ID: offerID(n), Contract: w.bet, Settle: Atomic, Escrow: w.escrow,
			Parties: []wire.VaultID{{}, {}, vault("judge")}, Role: role, Counter: 1 - role, Terms: []int64{0, w.now + 5000},
			Give: Quantity{"btc-5", 20}, Want: Quantity{"btc-5", 20}, Sole: true, Until: w.now + 1000,
		}
	}
	w.do(Place{vault("alice"), offer(1, 0)})
	p := proposalsIn(w.do(Place{vault("bob"), offer(1, 1)}))[0]
	e := w.do(Decline{vault("judge"), p.ID, Untrusted, 0})[0].Fact.(*Ended)
	if len(e.Accused) != 2 || e.Pause != 0 || !e.Avoid {
		t.Errorf("ended as %+v", e)
	}
	if n := len(proposalsIn(w.do(Place{vault("alice"), offer(2, 0)}))); n != 1 {
		t.Errorf("%d proposals with a new offer, want 1", n)
	}
}

// When all have accepted, only the escrow's word ends a proposal. It is asked again and again.
func TestEscrowHasTheLastWord(t *testing.T) {
	for _, word := range []string{"never", "locked", "aborted"} {
		w := trio(t)
		w.do(Place{vault("bob"), w.swapOffer(1, "eth", 40, 50)})
		p := proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 40, 0)}))[0]
		w.accept(p)
		w.now = p.AcceptBy + 1
		if events := w.do(Tick{}); len(events) != 0 {
			t.Fatalf("ended though all accepted: %v", names(events))
		}
		if _, err := w.try(NotLocked{p.ID}); !errors.Is(err, ErrState) {
			t.Errorf("not locked before it is too late: %v", err)
		}
		for range 3 {
			w.now, _ = w.m.Wake()
			w.effects = nil
			if diff := cmp.Diff([]string{"asked"}, names(w.do(Tick{}))); diff != "" {
				t.Fatal(diff)
			}
			if len(w.effects) != 1 || w.effects[0].Kind != AskEscrow || w.effects[0].Proposal != p.ID {
				t.Fatalf("effects %+v", w.effects)
			}
			w.compare()
		}
		want := Place{vault("alice"), w.swapOffer(2, "btc", 40, 0)}
		switch word {
		case "never":
			w.do(NotLocked{p.ID})
			w.do(NotLocked{p.ID})
		case "locked":
			w.do(Locked{p.ID, instance(p.ID), 5, nil})
			w.do(Locked{p.ID, instance(p.ID), 5, nil})
			if _, err := w.try(Locked{p.ID, instance(0), 5, nil}); !errors.Is(err, ErrConflict) {
				t.Errorf("another instance: %v", err)
			}
			if _, err := w.try(NotLocked{p.ID}); !errors.Is(err, ErrConflict) {
				t.Errorf("not locked after all: %v", err)
			}
			w.do(settled(p, false))
			if _, err := w.try(settled(p, true)); !errors.Is(err, ErrConflict) {
				t.Errorf("aborted after all: %v", err)
			}
		case "aborted":
			s := settled(p, true)
			s.Fault = []wire.VaultID{vault("bob")}
			if got := names(w.do(s)); got[0] != "waslocked" || got[1] != "ended" {
				t.Errorf("events %v", got)
			}
			bob, _ := w.m.ClientStatus(vault("bob"))
			if bob.Reputation.Failures != 1 {
				t.Errorf("bob's reputation %+v", bob.Reputation)
			}
			// Everything is on the market again, and each has held what was the other's.
			if got := exposure(w, OfClient, "bob"); got != 200*usd {
				t.Errorf("at stake with bob: %v", got)
			}
		}
		w.now = p.LockBy
		w.rates()
		w.do(want)
		w.compare()
	}
}

// The escrow's word on a settlement is checked against the contract and the chunks.
func TestSettlementMustFit(t *testing.T) {
	w := trio(t)
	w.do(Place{vault("bob"), w.swapOffer(1, "eth", 40, 50)})
	p := proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 40, 0)}))[0]
	w.accept(p)
	for name, spoil := range map[string]func(s *Settled){
		"a chunk too few":         func(s *Settled) { s.Gives = s.Gives[1:] },
		"a chunk twice":           func(s *Settled) { s.Gives = append(s.Gives, s.Gives[0]) },
		"a foreign chunk":         func(s *Settled) { s.Gives = append(s.Gives, Give{chunkID("?"), vault("bob"), 9}) },
		"to a stranger":           func(s *Settled) { s.Gives[0].To = vault("carol") },
		"at the same epoch":       func(s *Settled) { s.Gives[0].Epoch = 1 },
		"both sides to one":       func(s *Settled) { s.Gives[0].To = vault("alice") },
		"fault without an abort":  func(s *Settled) { s.Fault = []wire.VaultID{vault("bob")} },
		"aborted and not back":    func(s *Settled) { s.Aborted = true },
		"without an instance":     func(s *Settled) { s.Instance = wire.InstanceID{} },
		"a receipt beyond limits": func(s *Settled) { s.Receipt = make([]byte, maxOpaque+1) },
	} {
		s := settled(p, false)
		spoil(&s)
		if events, err := w.try(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, %v", name, names(events), err)
		}
	}
	w.do(settled(p, false))
}

// Parties who lock a proposal behind the market's back take their chunks off it.
func TestStrayLock(t *testing.T) {
	w := trio(t)
	w.do(Place{vault("bob"), w.swapOffer(1, "eth", 40, 50)})
	p := proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 40, 0)}))[0]
	w.now = p.AcceptBy + 1
	w.do(Tick{})
	if diff := cmp.Diff([]string{"strayed"}, names(w.do(Locked{p.ID, instance(p.ID), 1, nil}))); diff != "" {
		t.Fatal(diff)
	}
	w.do(Locked{p.ID, instance(p.ID), 1, nil})
	for _, s := range p.Sides {
		for _, c := range s.Chunks {
			if st, _ := w.m.ChunkStatus(c.Chunk); st.Place != "kept" {
				t.Errorf("chunk: %+v", st)
			}
		}
	}
	w.compare()
}

// A claim of a reserved chunk ends the proposal, against its owner; a claim of a locked one cannot be.
func TestClaimOfReservedChunk(t *testing.T) {
	w := trio(t)
	w.do(Place{vault("bob"), w.swapOffer(1, "eth", 40, 50)})
	p := proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 40, 0)}))[0]
	events := w.do(Claimed{p.Sides[1].Chunks[0].Chunk})
	if diff := cmp.Diff([]string{"ended", "gone"}, names(events)); diff != "" {
		t.Fatal(diff)
	}
	if bob, _ := w.m.ClientStatus(vault("bob")); bob.Reputation.Failures != 1 {
		t.Errorf("bob's reputation %+v", bob.Reputation)
	}
	w.do(Place{vault("bob"), w.swapOffer(2, "eth", 40, 50)})
	var q *Proposal
	for _, e := range w.log {
		if f, ok := e.Fact.(*Proposed); ok {
			q = &f.Proposal
		}
	}
	w.do(Locked{q.ID, instance(q.ID), 1, nil})
	if _, err := w.try(Claimed{q.Sides[0].Chunks[0].Chunk}); !errors.Is(err, ErrState) {
		t.Errorf("claim of a locked chunk: %v", err)
	}
	w.compare()
}

// Exposure is counted by lineage: a chunk that changed hands counts for its earlier holders, wherever it is offered
// next, and their limit keeps it off the market.
func TestLineage(t *testing.T) {
	w := trio(t)
	w.do(Place{vault("bob"), w.swapOffer(1, "eth", 100, 0)})
	p := proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 100, 0)}))[0]
	w.do(settled(p, false))
	got := p.Sides[1].Chunks // now alice's, formerly bob's
	again := Deposit{Client: vault("alice"), Cert: got[0].Cert, Escrow: w.escrow, Denomination: "eth-5", Weight: 20, Expiry: w.now + 1_000_000}
	for _, c := range got {
		again.Chunks = append(again.Chunks, DepositChunk{c.Chunk, 2, []wire.VaultID{vault("bob")}})
	}
	w.do(again)
	w.do(again)
	if got := exposure(w, OfClient, "bob"); got != 500*usd {
		t.Errorf("at stake with bob: %v, want $500", got)
	}
	// Dora buys them from alice: bob is still counted, though he has no part in it.
	w.enrol("dora", "red")
	w.deposit("dora", "btc", 20, 5)
	o := w.swapOffer(2, "eth", 40, 0)
	w.do(Place{vault("alice"), o})
	q := proposalsIn(w.do(Place{vault("dora"), w.swapOffer(1, "btc", 40, 0)}))[0]
	w.do(settled(q, false))
	st, _ := w.m.ChunkStatus(q.Sides[1].Chunks[0].Chunk)
	for _, name := range []string{"alice", "bob", "dora"} {
		if !slices.Contains(st.Held, vault(name)) {
			t.Errorf("%s held it, and it says %v", name, st.Held)
		}
	}
	if got := exposure(w, OfClient, "bob"); got != 500*usd {
		t.Errorf("at stake with bob: %v, want $500", got)
	}
	if got := exposure(w, OfClient, "alice"); got != 700*usd {
		t.Errorf("at stake with alice: %v, want $700", got)
	}
	old := again
	old.Chunks = []DepositChunk{{got[0].Chunk, 1, nil}}
	if _, err := w.try(old); !errors.Is(err, ErrState) {
		t.Errorf("deposit of a sold chunk: %v", err)
	}
	old.Client, old.Chunks = vault("alice"), []DepositChunk{{got[3].Chunk, 1, nil}}
	w.do(Withdraw{vault("alice"), []wire.ChunkID{got[3].Chunk}})
	if _, err := w.try(old); !errors.Is(err, ErrState) || !strings.Contains(err.Error(), "it is at epoch 2, not 1") {
		t.Errorf("deposit at an old epoch: %v", err)
	}
	old.Client, old.Chunks[0].Epoch = vault("carol"), 2
	if _, err := w.try(old); !errors.Is(err, ErrConflict) {
		t.Errorf("deposit of alice's chunk: %v", err)
	}
	// A deposit that bob once held would exceed his limit.
	d := depositOf(w, "carol", "eth", 100, 1)
	d.Chunks[0].Lineage = []wire.VaultID{vault("bob")}
	if _, err := w.try(d); !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "client "+vault("bob").Short()) {
		t.Errorf("deposit over bob's limit: %v", err)
	}
	d = depositOf(w, "carol", "eth", 10, 1)
	d.Chunks[0].Lineage = []wire.VaultID{vault("nobody")}
	if _, err := w.try(d); !errors.Is(err, ErrNotFound) {
		t.Errorf("deposit of a stranger's chunk: %v", err)
	}
	w.now += 100
	d.Chunks[0].Lineage = []wire.VaultID{vault("bob")}
	if _, err := w.try(d); !errors.Is(err, ErrState) || !strings.Contains(err.Error(), "a fresh rate of eth") {
		t.Errorf("deposit without a rate: %v", err)
	}
	w.compare()
}

// Where chunks that others have held would exceed a limit, the search goes on without them and says what it cost.
func TestForeignChunksAreLeftOut(t *testing.T) {
	w := newWorld(t, testPolicy())
	for _, x := range []struct{ name, vendor string }{{"alice", "red"}, {"bob", "blue"}, {"mallory", "green"}} {
		w.enrol(x.name, x.vendor)
	}
	w.deposit("alice", "btc", 10, 20)
	w.deposit("bob", "eth", 20, 2)
	d := depositOf(w, "bob", "eth", 50, 3) // $750 that mallory once held
	for i := range d.Chunks {
		d.Chunks[i].Lineage = []wire.VaultID{vault("mallory")}
	}
	w.do(d)
	w.do(Rate{"eth", perCoin["eth"] * 3 / 2, w.now}) // in a new proposal they count $375 each: with two, mallory's limit is exceeded
	w.do(Rate{"btc", perCoin["btc"] * 3 / 2, w.now})
	o := w.swapOffer(1, "eth", 100, 0)
	o.Give.Units = 100
	w.do(Place{vault("bob"), o})
	events := w.do(Place{vault("alice"), w.swapOffer(1, "btc", 100, 0)})
	list := proposalsIn(events)
	if len(list) == 0 {
		t.Fatalf("no proposal; alice waits for %q", waits(w))
	}
	want := Proof{Target: 100, Units: 40, Best: 100}
	if p := list[0]; p.Proof != want || p.Proof.Gap() != 60 {
		t.Errorf("proof %+v, want %+v", p.Proof, want)
	}
	w.compare()
}

// One term for both sides, a third party, and an outcome in which one party gets everything: each party's domains
// count both sides.
func TestBet(t *testing.T) {
	w := newWorld(t, testPolicy())
	for _, name := range []string{"alice", "bob", "judge"} {
		w.enrol(name, name)
	}
	w.deposit("alice", "btc", 20, 5)
	w.deposit("bob", "btc", 10, 8)
	offer := func(role uint8) Offer {
		return Offer{
			ID: offerID(1), Contract: w.bet, Settle: Atomic, Escrow: w.escrow,
			Parties: []wire.VaultID{{}, {}, vault("judge")}, Role: role, Counter: 1 - role, Terms: []int64{0, w.now + 5000},
			Give: Quantity{"btc-5", 80}, Want: Quantity{"btc-5", 80}, Sole: true, Until: w.now + 1000,
		}
	}
	w.do(Place{vault("alice"), offer(0)})
	p := proposalsIn(w.do(Place{vault("bob"), offer(1)}))[0]
	if p.Sides[0].Units != 80 || p.Sides[1].Units != 80 || p.Exchange || p.Parties[2] != vault("judge") || p.EndBy != w.now+5000 {
		t.Errorf("proposal %+v", p)
	}
	for name, want := range map[string]Micros{"alice": 800 * usd, "bob": 800 * usd, "judge": 0} {
		if got := exposure(w, OfClient, name); got != want {
			t.Errorf("at stake with %s: %v, want %v", name, got, want)
		}
	}
	w.do(Accept{vault("alice"), p.ID, []byte("yes")})
	w.do(Accept{vault("bob"), p.ID, []byte("yes")})
	if s, _ := w.m.ProposalStatus(p.ID); s.Stage != "proposed" || s.Wait.For != "acceptance by "+vault("judge").Short() {
		t.Errorf("status %+v", s)
	}
	w.do(Accept{vault("judge"), p.ID, []byte("yes")})
	s := settled(p, false)
	s.Gives[0].To = vault("judge")
	if _, err := w.try(s); !errors.Is(err, ErrInvalid) {
		t.Errorf("the judge is given what is not his to get: %v", err)
	}
	for i := range s.Gives {
		s.Gives[i].To = vault("alice")
	}
	w.do(s)
	for name, want := range map[string]Micros{"alice": 0, "bob": 800 * usd, "judge": 0} {
		if got := exposure(w, OfClient, name); got != want {
			t.Errorf("at stake with %s: %v, want %v", name, got, want)
		}
	}
	w.compare()
}

// A limit makes a slice smaller, to the unit, and a bond that carries what is at stake cannot be taken away.
func TestLimitsCutSlices(t *testing.T) {
	for _, test := range []struct {
		name   string
		limits func(l *Limits)
		bob    func(w *world) // before the deposits
		want   Units
	}{
		{"client", func(l *Limits) { l.Client = 234 * usd }, nil, 46},
		{"device", func(l *Limits) { l.Device = 234 * usd }, nil, 46},
		{"vendor of one", func(l *Limits) { l.Vendor = 234 * usd }, nil, 46},
		{"tcb level of one", func(l *Limits) { l.TCB = 239 * usd }, nil, 47},
		{"asset", func(l *Limits) { l.Asset = 100 * usd }, nil, 20},
		{"vendor of both", func(l *Limits) { l.Vendor = 234 * usd }, func(w *world) {
			w.do(Enrol{Client: vault("bob"), Vendor: wire.Hash(sum("red")), TCB: "2", Device: Device{DeviceUnique, []byte("device of bob")}})
		}, 23},
		{"two devices without identity", func(l *Limits) { l.Device = 100 * usd }, func(w *world) {
			for _, name := range []string{"alice", "bob"} {
				w.do(Enrol{Client: vault(name), Vendor: wire.Hash(sum("red")), TCB: "1", Device: Device{Kind: DeviceNone}})
			}
		}, 10},
		{"exempt", func(l *Limits) { l.Client, l.Device = 50*usd, 50*usd }, func(w *world) {
			for _, name := range []string{"alice", "bob"} {
				w.do(Enrol{Client: vault(name), Vendor: wire.Hash(sum(name)), TCB: "1", Device: Device{DeviceUnique, []byte(name)}, Exempt: true})
			}
		}, 100},
		{"exempt client", func(l *Limits) { l.Client = 50 * usd }, func(w *world) {
			for _, name := range []string{"alice", "bob"} {
				w.do(Enrol{Client: vault(name), Vendor: wire.Hash(sum(name)), TCB: "1", Device: Device{DeviceUnique, []byte(name)}, Exempt: true})
			}
		}, 100},
		{"bonds", func(l *Limits) { l.Client, l.Device = 50*usd, 50*usd }, func(w *world) {
			w.do(Bond{vault("alice"), 100 * usd})
			w.do(Bond{vault("bob"), 60 * usd})
		}, 22},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := testPolicy()
			test.limits(&p.Limits)
			w := newWorld(t, p)
			w.enrol("alice", "red")
			w.enrol("bob", "blue")
			if test.bob != nil {
				test.bob(w)
			}
			w.deposit("alice", "btc", 1, 100)
			w.deposit("bob", "eth", 1, 100)
			w.do(Place{vault("bob"), w.swapOffer(1, "eth", 100, 0)})
			list := proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 100, 0)}))
			if len(list) != 1 || list[0].Sides[0].Units != test.want || !list[0].Proof.Proven {
				t.Fatalf("proposals %+v, want one of %d units; alice waits for %q", list, test.want, waits(w))
			}
			switch test.name {
			case "bonds":
				for _, less := range []Micros{0, 59 * usd} {
					if _, err := w.try(Bond{vault("bob"), less}); !errors.Is(err, ErrLimit) {
						t.Errorf("bond of %v: %v", less, err)
					}
				}
				_, err := w.try(Enrol{Client: vault("bob"), Vendor: wire.Hash(sum("blue")), TCB: "1", Device: Device{DeviceUnique, []byte("another")}})
				if !errors.Is(err, ErrLimit) {
					t.Errorf("bob leaves the device that his bond carries: %v", err)
				}
				w.do(Bond{vault("bob"), 65 * usd})
			case "exempt", "exempt client":
				_, err := w.try(Enrol{Client: vault("bob"), Vendor: wire.Hash(sum("bob")), TCB: "1", Device: Device{DeviceUnique, []byte("bob")}})
				if !errors.Is(err, ErrLimit) {
					t.Errorf("limits apply to bob again: %v", err)
				}
			}
			w.compare()
		})
	}
}

// A contract that is over when it opens, and exchanges nothing: both sides count for both parties. One that exchanges
// only what it can when the chunks are large is not taken for an exchange either.
func TestNotAnExchange(t *testing.T) {
	for _, test := range []struct{ name, open string }{
		{"a gift", "give all of left_side to bob"},
		{"all but a unit", "give left_side - 1 of left_side to bob\n  give all of right_side to alice"},
		{"a unit back first", "give 1 of left_side to alice\n  give all of left_side to bob\n  give all of right_side to alice"},
	} {
		w := newWorld(t, testPolicy())
		w.do(Publish{[]byte("contract Odd\nparties alice, bob\nterm a : units 1..1000\nterm b : units 1..1000\n" +
			"pot left_side = a units from alice\npot right_side = b units from bob\nat open:\n  " + test.open + "\n  close\n")})
		var odd wire.Hash
		for h, f := range w.m.contracts {
			if f.prog.Name() == "Odd" {
				odd = h
			}
		}
		w.enrol("alice", "red")
		w.enrol("bob", "blue")
		w.deposit("alice", "btc", 1, 10)
		w.deposit("bob", "eth", 1, 10)
		a, b := w.swapOffer(1, "btc", 10, 0), w.swapOffer(1, "eth", 10, 0)
		a.Contract, b.Contract = odd, odd
		w.do(Place{vault("bob"), b})
		list := proposalsIn(w.do(Place{vault("alice"), a}))
		if len(list) != 1 || list[0].Exchange {
			t.Errorf("%s: proposals %+v", test.name, list)
		}
		if got := exposure(w, OfClient, "bob"); got <= 50*usd {
			t.Errorf("%s: at stake with bob: %v", test.name, got)
		}
		w.compare()
	}
}

// Whoever may be given chunks counts, though it puts nothing in, and its limit cuts the slice; also where the contract
// does not say so before it knows the sizes.
func TestThirdPartyTakes(t *testing.T) {
	for _, require := range []string{"", "require stake >= 2\n"} {
		p := testPolicy()
		p.Limits.Client = 10_000 * usd
		p.Limits.Device = 10_000 * usd
		p.Limits.Vendor = 117 * usd
		w := newWorld(t, p)
		w.do(Publish{[]byte("contract Pledge\nparties high, low, keeper\nterm stake : units 1..1000\nterm by : time\n" + require +
			"pot up = stake units from high\npot down = stake units from low\nphase Live until by\n" +
			"  when keeper says \"mine\":\n    give all of down to keeper\n    close\n  at deadline: close\n")})
		for i, name := range []string{"alice", "bob", "keeper"} {
			w.do(Enrol{
				Client: vault(name), Vendor: wire.Hash(sum([]string{"red", "blue", "green"}[i])), TCB: "1",
				Device: Device{DeviceUnique, []byte(name)}, Exempt: true,
			})
		}
		w.deposit("alice", "btc", 1, 60)
		w.deposit("bob", "btc", 1, 60)
		o := Offer{
			ID: offerID(1), Settle: Atomic, Escrow: w.escrow, Parties: []wire.VaultID{{}, {}, vault("keeper")}, Role: 0, Counter: 1,
			Terms: []int64{0, w.now + 5000}, Give: Quantity{"btc-5", 50}, Want: Quantity{"btc-5", 50}, Sole: true, Until: w.now + 1000,
		}
		for h, f := range w.m.contracts {
			if f.prog.Name() == "Pledge" {
				o.Contract = h
			}
		}
		w.do(Place{vault("alice"), o})
		o.Role, o.Counter = 1, 0
		list := proposalsIn(w.do(Place{vault("bob"), o}))
		if len(list) == 0 {
			t.Fatalf("no proposal; alice waits for %q", waits(w))
		}
		if s := list[0].Sides; len(s[0].Takers) != 0 || !slices.Equal(s[1].Takers, []uint8{2}) || s[0].Units != 23 {
			t.Errorf("sides of %d units, for %v and %v, want 23, for nobody and the keeper", s[0].Units, s[0].Takers, s[1].Takers)
		}
		for name, want := range map[string]Micros{"alice": 115 * usd, "bob": 115 * usd, "keeper": 115 * usd} {
			if got := exposure(w, OfVendor, name); got != want {
				t.Errorf("at stake with %s's vendor: %v, want %v", name, got, want)
			}
		}
		w.compare()
	}
}

// Chunks whose certificate would end before the contract can are not proposed; at its time a certificate retires.
func TestExpiry(t *testing.T) {
	w := newWorld(t, testPolicy())
	for _, name := range []string{"alice", "bob", "judge"} {
		w.enrol(name, name)
	}
	w.deposit("alice", "btc", 20, 5)
	d := depositOf(w, "bob", "btc", 10, 8)
	d.Expiry = w.now + 5000 + 99
	w.do(d)
	offer := func(role uint8) Offer {
		return Offer{
			ID: offerID(1), Contract: w.bet, Settle: Atomic, Escrow: w.escrow,
			Parties: []wire.VaultID{{}, {}, vault("judge")}, Role: role, Counter: 1 - role, Terms: []int64{0, w.now + 5000},
			Give: Quantity{"btc-5", 40}, Want: Quantity{"btc-5", 40}, Sole: true, Until: w.now + 1000,
		}
	}
	w.do(Place{vault("bob"), offer(1)})
	if n := len(proposalsIn(w.do(Place{vault("alice"), offer(0)}))); n != 0 {
		t.Error("chunks that expire too soon were proposed")
	}
	if got, want := waits(w), "chunks that live long enough: certificates expire too soon for the contract"; got != want {
		t.Errorf("waits for %q, want %q", got, want)
	}
	w.now = d.Expiry - 100 - 30
	for {
		at, ok := w.m.Wake()
		if !ok || at > w.now {
			break
		}
		w.do(Tick{})
	}
	for _, c := range d.Chunks {
		if st, err := w.m.ChunkStatus(c.Chunk); err != nil || st.Place != "kept" {
			t.Errorf("retired chunk: %+v, %v", st, err)
		}
		w.do(Claimed{c.Chunk})
	}
	if _, err := w.m.ChunkStatus(d.Chunks[0].Chunk); !errors.Is(err, ErrNotFound) {
		t.Errorf("a certificate whose chunks are all claimed is not forgotten: %v", err)
	}
	if _, err := w.try(d); !errors.Is(err, ErrState) {
		t.Errorf("deposit under an expired certificate: %v", err)
	}
	w.compare()
}

// Offers of one client, or of one device, do not meet.
func TestNoTradeWithOneself(t *testing.T) {
	w := trio(t)
	w.deposit("alice", "eth", 20, 5)
	w.do(Place{vault("alice"), w.swapOffer(2, "eth", 40, 100)})
	w.do(Enrol{Client: vault("alias"), Vendor: wire.Hash(sum("red")), TCB: "2", Device: Device{DeviceUnique, []byte("device of alice")}})
	w.deposit("alias", "eth", 20, 5)
	w.do(Place{vault("alias"), w.swapOffer(1, "eth", 40, 100)})
	if n := len(proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 40, 100)}))); n != 0 {
		t.Errorf("%d proposals", n)
	}
	if got := waits(w); !strings.HasPrefix(got, "another counterparty: those that there are share its client or its device") {
		t.Errorf("waits for %q", got)
	}
}

// Without Sole, one counterparty fills no more than its share even when it is alone; with it, no more once there is a
// second one.
func TestShare(t *testing.T) {
	for _, test := range []struct {
		sole, carol bool
		share       Bps
		want        []Units
	}{
		{true, false, 0, []Units{100}}, {false, false, 0, []Units{60}}, {true, true, 0, []Units{60, 40}},
		{false, true, 5_000, []Units{50, 50}}, {true, true, 2_500, []Units{25, 25}}, {false, true, 10_000, []Units{100}},
	} {
		w := trio(t)
		w.do(Place{vault("bob"), w.swapOffer(1, "eth", 150, 50)})
		if test.carol {
			w.do(Place{vault("carol"), w.swapOffer(1, "eth", 150, 50)})
		}
		o := w.swapOffer(1, "btc", 100, 0)
		o.Sole, o.Share = test.sole, test.share
		var got []Units
		for _, p := range proposalsIn(w.do(Place{vault("alice"), o})) {
			got = append(got, p.Sides[1].Units)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%+v: %s", test, diff)
		}
	}
}

// Offers that are settled step by step meet none that are settled at once, nor at
// another pace. Such an instance can end anywhere between all and nothing, and
// counts as one that can.
func TestTitForTatOffers(t *testing.T) {
	w := trio(t)
	pace := settle.Pace{First: 5, Growth: 200, Most: 20, Wait: 600}
	inTurn := func(o Offer, p settle.Pace) Offer {
		o.Settle, o.Pace = TitForTat, &p
		return o
	}
	w.do(Place{vault("carol"), w.swapOffer(1, "eth", 50, 100)})
	other := pace
	other.Most++
	w.do(Place{vault("carol"), inTurn(w.swapOffer(2, "eth", 50, 100), other)})
	if n := len(proposalsIn(w.do(Place{vault("alice"), inTurn(w.swapOffer(1, "btc", 50, 100), pace)}))); n != 0 {
		t.Fatalf("%d proposals between ways to settle that differ", n)
	}
	list := proposalsIn(w.do(Place{vault("bob"), inTurn(w.swapOffer(1, "eth", 50, 100), pace)}))
	if len(list) != 1 {
		t.Fatalf("%d proposals, want 1", len(list))
	}
	p := list[0]
	chunks := len(p.Sides[0].Chunks) + len(p.Sides[1].Chunks)
	if p.Settle != TitForTat || p.Pace == nil || *p.Pace != pace || p.Exchange || p.EndBy != p.LockBy+int64(chunks)*602 {
		t.Errorf("proposal %+v", p)
	}
	w.accept(p)
	w.do(Locked{p.ID, instance(p.ID), 1, nil})
	s := settled(p, false)
	s.Reporter = p.Sides[0].Client
	for i, c := range s.Gives[1:] { // one chunk was given before it was reported
		s.Gives[1+i].To = w.m.chunks[c.Chunk].owner.id
	}
	bad := s
	bad.Reporter = vault("carol")
	if _, err := w.try(bad); !errors.Is(err, ErrInvalid) {
		t.Errorf("a report of a stranger: %v", err)
	}
	events := w.do(s)
	e := events[0].Fact.(*Ended)
	if e.Outcome != Done || e.Why != StepFailed || !e.Avoid || len(e.Fault) != 0 || !slices.Equal(e.Accused, []uint8{p.Sides[1].Role}) {
		t.Errorf("ended with %+v", e)
	}
	w.compare()
	for name, want := range map[string]Reputation{"alice": {Since: w.now}, "bob": {Complaints: 1, Since: w.now}} {
		if c, err := w.m.ClientStatus(vault(name)); err != nil || c.Reputation != want {
			t.Errorf("%s: %+v, %v; want %+v", name, c.Reputation, err, want)
		}
	}
}
