package market

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"latchkey/coin"
	"latchkey/wire"
)

// tester is a *testing.T, a *testing.B or a *rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

const swapSource = `contract Swap
parties alice, bob
term a : units 1..1_000_000
term b : units 1..1_000_000
pot left_side  = a units from alice
pot right_side = b units from bob
at open:
  give all of left_side to bob
  give all of right_side to alice
  close
`

// A bet: one term says both sides, and one party ends up with everything.
const betSource = `contract Bet
parties high, low, judge
term stake : units 1..1000
term by : time
pot up = stake units from high
pot down = stake units from low
phase Live until by
  when judge says "high":
    give all of down to high
    close
  when judge says "low":
    give all of up to low
    close
  at deadline: close
`

// Ids of the test world, derived from names.
func sum(s string) [32]byte            { return sha256.Sum256([]byte(s)) }
func vault(name string) wire.VaultID   { return wire.VaultID(sum("vault " + name)) }
func chunkID(name string) wire.ChunkID { return wire.ChunkID(sum("chunk " + name)) }

func offerID(n int) (id OfferID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n)+1)
	return id
}

const usd = Micros(1_000_000)

// testPolicy has room for $1,000 per client in small steps.
func testPolicy() Policy {
	p := DefaultPolicy()
	p.ChunkMargin = 100
	return p
}

// denomination is a unit worth $5 at $100,000 for a btc and $4,000 for an eth.
func denomination(asset string) coin.Denomination {
	d := coin.Denomination{ID: asset + "-5", Asset: coin.Asset{ID: coin.AssetID(asset), Chain: "test", Key: coin.Secp256k1, Address: "test"}}
	switch asset {
	case "btc":
		d.Asset.Decimals, d.Unit = 8, coin.NewAmount(5_000)
	case "eth":
		d.Asset.Decimals, d.Unit = 18, coin.NewAmount(1_250_000_000_000_000)
	}
	return d
}

var perCoin = map[coin.AssetID]uint64{"btc": 100_000_000_000, "eth": 4_000_000_000}

// world is a market under test. Everything that goes in goes into a second market as well, by its log alone, and all
// invariants are checked after every step.
type world struct {
	t       tester
	m       *Market
	replica *Market
	now     int64
	log     []Event
	effects []Effect
	swap    wire.Hash
	bet     wire.Hash
	escrow  wire.VaultID
	serial  int
	model   model
	steps   int
	every   int // how often try checks that a refusal changes nothing: costs a snapshot
}

// model is what the events say, kept apart from the market: all proposals by id, what of each offer was settled, who
// owns which chunk at which epoch, and how many notices each client was due.
type model struct {
	proposals map[ProposalID]*Proposal
	accepted  map[ProposalID]int
	locked    map[ProposalID]bool
	got, gave map[pairing]Units
	owner     map[wire.ChunkID]Give
	notices   map[wire.VaultID]uint64
	pauses    map[[2]wire.VaultID]modelPause // of two clients, the lower id first
	said      map[ProposalID][]uint8         // roles that accepted
	pledged   map[wire.ChunkID]int64         // until when an acceptance of an ended proposal, or a word of its owner, stands
	done      int
}

type modelPause struct{ until, length int64 }

// pair names the clients of a proposal's sides.
func (p *Proposal) pair() [2]wire.VaultID {
	a, b := p.Sides[0].Client, p.Sides[1].Client
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	return [2]wire.VaultID{a, b}
}

func newModel() model {
	return model{
		map[ProposalID]*Proposal{}, map[ProposalID]int{}, map[ProposalID]bool{},
		map[pairing]Units{}, map[pairing]Units{}, map[wire.ChunkID]Give{}, map[wire.VaultID]uint64{},
		map[[2]wire.VaultID]modelPause{}, map[ProposalID][]uint8{}, map[wire.ChunkID]int64{}, 0,
	}
}

// note takes in an event that the market m has just decided on and applied.
func (x *model) note(t tester, m *Market, e Event) {
	t.Helper()
	tell := func(p *Proposal) {
		for _, id := range p.Parties {
			x.notices[id]++
		}
	}
	switch f := e.Fact.(type) {
	case *Deposited:
		for _, c := range f.Deposit.Chunks {
			x.owner[c.Chunk] = Give{c.Chunk, f.Deposit.Client, c.Epoch}
			delete(x.pledged, c.Chunk) // its owner took it off the market, and says that it is free
		}
	case *Gone:
		delete(x.owner, f.Chunk)
	case *Dropped: // its id may serve again
		delete(x.got, pairing{f.Client, f.Offer})
		delete(x.gave, pairing{f.Client, f.Offer})
	case *Closed:
		x.notices[f.Client]++
	case *Proposed:
		p := &f.Proposal
		x.proposals[p.ID] = p
		tell(p)
		if m.outage {
			t.Fatal("a proposal in an outage")
		}
		if until := x.pauses[p.pair()].until; e.At < until {
			t.Fatalf("two clients are matched %d s before their pause is over", until-e.At)
		}
		for _, s := range p.Sides {
			for _, c := range s.Chunks {
				if until := x.pledged[c.Chunk]; e.At <= until {
					t.Fatalf("chunk %s is proposed, and pledged for %d s yet", c.Chunk.Short(), until-e.At)
				}
			}
			d := m.denoms[s.Denomination]
			if r := m.rates[d.Asset.ID]; r == nil || r.lost != "" || e.At-r.observed > m.policy.RateMaxAge {
				t.Fatalf("a proposal without a fresh rate of %s", d.Asset.ID)
			}
		}
	case *Accepted:
		p := x.proposals[f.Proposal]
		x.said[p.ID] = append(x.said[p.ID], f.Role)
		if x.accepted[p.ID]++; x.accepted[p.ID] == len(p.Parties) {
			tell(p)
		}
	case *WasLocked:
		x.locked[f.Proposal] = true
	case *Ended:
		p := x.proposals[f.Proposal]
		tell(p)
		for _, g := range f.Gives {
			x.owner[g.Chunk] = g
		}
		elsewhere := false
		for _, r := range f.Rests {
			elsewhere = elsewhere || !slices.Contains(x.said[p.ID], r.Role)
			for _, s := range p.Sides {
				for _, c := range s.Chunks {
					if s.Role == r.Role {
						x.pledged[c.Chunk] = r.Until
					}
				}
			}
		}
		for _, s := range p.Sides {
			for _, c := range s.Chunks {
				if slices.Contains(x.said[p.ID], s.Role) && !x.locked[p.ID] && f.Why != NeverLocked && x.pledged[c.Chunk] != p.LockBy {
					t.Fatalf("proposal %v ended, and chunk %s that party %d signed away is not pledged until %d", p.ID, c.Chunk.Short(), s.Role, p.LockBy)
				}
			}
		}
		old, length := x.pauses[p.pair()], int64(0)
		switch {
		case f.Why == Declined && (elsewhere || m.outage || m.outageTo >= p.Made):
			length = max(60, old.length)
			x.pauses[p.pair()] = modelPause{e.At + length, length}
		case f.Why == Declined && len(f.Accused) == 1:
			length = min(max(60, 2*old.length), 86_400)
			x.pauses[p.pair()] = modelPause{e.At + length, length}
		case f.Why == ContractClosed:
			delete(x.pauses, p.pair())
		}
		if f.Pause != length {
			t.Fatalf("a pause of %d s, want %d", f.Pause, length)
		}
		if f.Outcome == Done {
			x.done++
			for i, s := range p.Sides {
				x.gave[pairing{s.Client, s.Offer}] += s.Units
				x.got[pairing{s.Client, s.Offer}] += p.Sides[1-i].Units
			}
		}
	}
}

// check compares the market with the model.
func (x *model) check(t tester, m *Market) {
	t.Helper()
	for id, g := range x.owner {
		c := m.chunks[id]
		if c == nil || c.owner.id != g.To || c.epoch != g.Epoch || c.place == gone {
			t.Fatalf("chunk %s belongs to %s at epoch %d; the market says %+v", id.Short(), g.To.Short(), g.Epoch, c)
		}
	}
	for id, c := range m.chunks {
		if _, ok := x.owner[id]; !ok && c.place != gone {
			t.Fatalf("chunk %s came from nowhere", id.Short())
		}
	}
	got, gave := map[*offer]Units{}, map[*offer]Units{}
	for _, p := range m.proposals {
		if p.stage != ended {
			for i, o := range p.offers {
				gave[o] += p.Sides[i].Units
				got[o] += p.Sides[1-i].Units
			}
		}
	}
	for _, c := range m.clients {
		if c.mail.last != x.notices[c.id] {
			t.Fatalf("client %s has had %d notices, was due %d", c.id.Short(), c.mail.last, x.notices[c.id])
		}
		for _, o := range c.offers {
			if o.got != got[o]+x.got[o.pairing()] || o.gave != gave[o]+x.gave[o.pairing()] {
				t.Fatalf("offer %s: got %d, gave %d; %d and %d in live proposals, %d and %d settled",
					o.ID, o.got, o.gave, got[o], gave[o], x.got[o.pairing()], x.gave[o.pairing()])
			}
		}
	}
}

func newWorld(t tester, p Policy) *world {
	t.Helper()
	w := &world{t: t, now: 1_000_000, escrow: vault("escrow"), model: newModel(), every: 1}
	var err error
	if w.m, err = New(p); err != nil {
		t.Fatal(err)
	}
	if w.replica, err = New(p); err != nil {
		t.Fatal(err)
	}
	w.do(Denominate{denomination("btc")})
	w.do(Denominate{denomination("eth")})
	w.do(Publish{[]byte(swapSource)})
	w.do(Publish{[]byte(betSource)})
	for h, f := range w.m.contracts {
		if f.prog.Name() == "Swap" {
			w.swap = h
		} else {
			w.bet = h
		}
	}
	w.rates()
	return w
}

// try takes an input and checks everything that has to hold afterwards.
func (w *world) try(in Input) ([]Event, error) {
	w.t.Helper()
	var before []byte
	if w.steps++; w.steps%w.every == 0 {
		before = snapshotOf(w.t, w.m)
	}
	events, effects, err := w.m.Step(w.now, in)
	if err != nil || len(events) == 0 {
		if before != nil && !bytes.Equal(before, snapshotOf(w.t, w.m)) {
			w.t.Fatalf("%s: no events, error %v, and another state", in.doing(), err)
		}
		return nil, err
	}
	w.log = append(w.log, events...)
	w.effects = append(w.effects, effects...)
	for _, e := range events {
		b, err := e.Marshal()
		if err != nil {
			w.t.Fatal(err)
		}
		back, err := ParseEvent(b)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := w.replica.Apply(back); err != nil {
			w.t.Fatalf("replay: %v", err)
		}
		w.model.note(w.t, w.replica, back)
	}
	w.model.check(w.t, w.m)
	checkInvariants(w.t, w.m)
	return events, nil
}

// do takes an input that has to be accepted.
func (w *world) do(in Input) []Event {
	w.t.Helper()
	events, err := w.try(in)
	if err != nil {
		w.t.Fatal(err)
	}
	return events
}

// compare checks that replay equals live, and that a restored snapshot equals both and goes on like them.
func (w *world) compare() {
	w.t.Helper()
	live := snapshotOf(w.t, w.m)
	if !bytes.Equal(live, snapshotOf(w.t, w.replica)) {
		w.t.Fatal("replay and live differ")
	}
	back, err := Restore(w.m.policy, live)
	if err != nil {
		w.t.Fatal(err)
	}
	checkInvariants(w.t, back)
	if got, want := fmt.Sprint(back.Exposures()), fmt.Sprint(w.m.Exposures()); got != want {
		w.t.Fatalf("restored exposures %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(back.Outstanding()), fmt.Sprint(w.m.Outstanding()); got != want {
		w.t.Fatalf("restored outstanding effects %s, want %s", got, want)
	}
	gotAt, gotOK := back.Wake()
	if at, ok := w.m.Wake(); gotAt != at || gotOK != ok {
		w.t.Fatalf("restored market wakes at %d, want %d", gotAt, at)
	}
	w.replica = back // and from here on it follows the tail
}

func snapshotOf(t tester, m *Market) []byte {
	t.Helper()
	b, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w *world) rates() {
	w.t.Helper()
	for _, a := range []coin.AssetID{"btc", "eth"} {
		w.do(Rate{a, perCoin[a], w.now})
	}
}

// enrol makes a client on a device of its own.
func (w *world) enrol(name, vendor string) wire.VaultID {
	w.t.Helper()
	w.do(Enrol{
		Client: vault(name), Reach: []byte(name + ".example"), Vendor: wire.Hash(sum(vendor)), TCB: "1",
		Device: Device{DeviceUnique, []byte("device of " + name)},
	})
	return vault(name)
}

// deposit gives a client n chunks of one weight, under a certificate of their own.
func (w *world) deposit(name, asset string, weight uint32, n int) []wire.ChunkID {
	w.t.Helper()
	w.serial++
	d := Deposit{
		Client: vault(name), Cert: wire.CertID(sum(fmt.Sprint("cert ", w.serial))), Escrow: w.escrow,
		Denomination: denomination(asset).ID, Weight: weight, Expiry: w.now + 1_000_000,
	}
	var ids []wire.ChunkID
	for i := range n {
		id := chunkID(fmt.Sprint(name, asset, w.serial, i))
		ids = append(ids, id)
		d.Chunks = append(d.Chunks, DepositChunk{Chunk: id, Epoch: 1})
	}
	w.do(d)
	return ids
}

// swapOffer offers btc for eth as alice, or eth for btc as bob.
func (w *world) swapOffer(n int, give string, units Units, premium Bps) Offer {
	o := Offer{
		ID: offerID(n), Contract: w.swap, Settle: Atomic, Escrow: w.escrow, Parties: make([]wire.VaultID, 2),
		Role: 0, Counter: 1, Terms: []int64{0, 0}, GiveTerm: 0, WantTerm: 1,
		Give: Quantity{"btc-5", units + units/10}, Want: Quantity{"eth-5", units},
		Premium: premium, Sole: true, Until: w.now + 10_000,
	}
	if give == "eth" {
		o.Role, o.Counter, o.GiveTerm, o.WantTerm = 1, 0, 1, 0
		o.Give, o.Want = Quantity{"eth-5", units + units/10}, Quantity{"btc-5", units}
	}
	return o
}

// proposals returns what events propose.
func proposalsIn(events []Event) (list []*Proposal) {
	for _, e := range events {
		if f, ok := e.Fact.(*Proposed); ok {
			list = append(list, &f.Proposal)
		}
	}
	return list
}

// names returns the kinds of events.
func names(events []Event) (list []string) {
	for _, e := range events {
		list = append(list, e.Name())
	}
	return list
}

// accept lets all parties of a proposal accept.
func (w *world) accept(p *Proposal) {
	w.t.Helper()
	for i, id := range p.Parties {
		w.do(Accept{id, p.ID, fmt.Appendf(nil, "acceptance %d", i)})
	}
}

// instance names the instance of a proposal.
func instance(id ProposalID) wire.InstanceID { return wire.InstanceID(sum(id.String())) }

// settled reports that the sides were exchanged, or that everything went back.
func settled(p *Proposal, aborted bool) Settled {
	s := Settled{Proposal: p.ID, Instance: instance(p.ID), Entry: 7, Receipt: []byte("receipt"), Aborted: aborted}
	for i, side := range p.Sides {
		to := p.Sides[1-i].Client
		if aborted {
			to = side.Client
		}
		for _, c := range side.Chunks {
			s.Gives = append(s.Gives, Give{c.Chunk, to, c.Epoch + 1})
		}
	}
	return s
}

// checkInvariants checks what must hold in every state, from nothing but the primary facts.
func checkInvariants(t tester, m *Market) {
	t.Helper()
	stake := map[*domain]Micros{}
	inProposals := map[*chunk]*proposal{}
	live := map[*offer]int{}
	got, gave := map[*offer]Units{}, map[*offer]Units{}
	shares := map[*offer]map[*client]Units{}
	owes := map[*client]int{}
	for id, p := range m.proposals {
		if p.ID != id {
			t.Fatalf("proposal %v is filed as %v", p.ID, id)
		}
		for _, q := range p.members {
			owes[q.client] += p.owes()
		}
		if p.stage == ended {
			continue
		}
		for i, s := range p.Sides {
			o := p.offers[i]
			var units Units
			for j, c := range p.stakes[i] {
				units += c.units()
				if inProposals[c] != nil || c.place != reserved || c.proposal != p || c.owner != o.client || c.id != s.Chunks[j].Chunk {
					t.Fatalf("chunk %s is not in exactly one live proposal of its owner", c.id.Short())
				}
				inProposals[c] = p
			}
			if units != s.Units {
				t.Fatalf("proposal %v: chunks of %d units for %d", p.ID, units, s.Units)
			}
			live[o]++
			gave[o] += s.Units
			got[o] += p.Sides[1-i].Units
			if shares[o] == nil {
				shares[o] = map[*client]Units{}
			}
			shares[o][p.offers[1-i].client] += p.Sides[1-i].Units
			// Neither party pays more than its premium.
			mine, theirs := int64(s.Worth()), int64(p.Sides[1-i].Worth())
			if mine*wholeBps > theirs*int64(wholeBps+o.Premium) {
				t.Fatalf("proposal %v: %v for %v, at most %d basis points over", p.ID, s.Worth(), p.Sides[1-i].Worth(), o.Premium)
			}
		}
		for _, b := range m.book(p) {
			stake[b.domain] += b.add
		}
		checkOutcomes(t, m, p)
	}
	owned := map[*client]int{}
	stocked := map[*stock]*counts{}
	for _, c := range m.chunks {
		if c.place != gone {
			owned[c.owner]++
		}
		if (c.place == reserved) != (inProposals[c] != nil) {
			t.Fatalf("chunk %s is %v, in a live proposal: %v", c.id.Short(), c.place, inProposals[c] != nil)
		}
		if c.place == pledged {
			p := c.proposal
			if p == nil || m.proposals[p.ID] != p || p.stage != ended || !slices.ContainsFunc(p.rests, func(r Rest) bool { return p.Parties[r.Role] == c.owner.id }) {
				t.Fatalf("chunk %s is pledged by no acceptance", c.id.Short())
			}
		}
		if c.place == available || c.place == kept || c.place == pledged {
			for _, b := range m.holding(c, nil) {
				stake[b.domain] += b.add
			}
		}
		if c.place == available {
			s := c.owner.stocks[stockKey{c.cert.denom, c.cert.escrow}]
			if _, ok := s.shelf(c).find(c); !ok || c.cert.retired || c.cert.expiry < s.soonest {
				t.Fatalf("chunk %s is available and not in stock, or retired", c.id.Short())
			}
			if stocked[s] == nil {
				stocked[s] = &counts{}
			}
			stocked[s][c.cert.rung]++
		}
	}
	for _, d := range m.domains {
		if d.at != stake[d] {
			t.Fatalf("%v: %v at stake, booked %v", d.Domain, stake[d], d.at)
		}
		if d.at > m.limit(d) {
			t.Fatalf("%v: %v at stake, at most %v", d.Domain, d.at, m.limit(d))
		}
	}
	open := 0
	for _, c := range m.clients {
		n := 0
		for _, o := range c.offers {
			if o.closed == 0 {
				n++
			}
			checkOffer(t, o, live[o], got[o], gave[o], shares[o])
		}
		open += n
		if n != c.open || owned[c] != c.chunks || owes[c] != c.owes {
			t.Fatalf("client %s: %d open offers, %d chunks, owes %d; kept %d, %d, %d", c.id.Short(), n, owned[c], owes[c], c.open, c.chunks, c.owes)
		}
		if m.mailRoom(c) < 0 {
			t.Fatalf("client %s: queue of %d and more to come, at most %d", c.id.Short(), len(c.mail.queue), m.policy.MaxQueue)
		}
		for i, d := range c.mail.queue {
			if d.Seq != c.mail.acked+uint64(i)+1 {
				t.Fatalf("client %s: notice %d at place %d after %d", c.id.Short(), d.Seq, i, c.mail.acked)
			}
		}
		for _, s := range c.stocks {
			var want counts
			if stocked[s] != nil {
				want = *stocked[s]
			}
			if s.have != want {
				t.Fatalf("client %s: stock of %v, counted %v", c.id.Short(), want, s.have)
			}
		}
	}
	if open != len(m.open) {
		t.Fatalf("%d open offers, listed %d", open, len(m.open))
	}
}

// checkOutcomes checks that no outcome of p leaves more at stake than p has booked: every side goes back or to one of
// its takers; of an exchange both or neither.
func checkOutcomes(t tester, m *Market, p *proposal) {
	t.Helper()
	booked := map[*domain]Micros{}
	for _, b := range p.bookings {
		booked[b.domain] += b.add
	}
	ends := func(side int) []uint8 { return append([]uint8{p.Sides[side].Role}, p.Sides[side].Takers...) }
	for i, x := range ends(0) {
		for j, y := range ends(1) {
			if p.Exchange && i != j {
				continue
			}
			after := map[*domain]Micros{}
			for side, to := range [2]uint8{x, y} {
				for _, c := range p.stakes[side] {
					d := *c
					d.line = slices.Clone(c.line)
					for _, role := range ends(side) {
						d.line = append(d.line, p.members[role].number())
					}
					d.line = m.tidy(d.line)
					d.owner = p.members[to].client
					for _, b := range m.holding(&d, nil) {
						after[b.domain] += b.add
					}
				}
			}
			for d, v := range after {
				if v > booked[d] {
					t.Fatalf("proposal %v: if its sides go to %d and %d, %v is at stake in %v, booked %v", p.ID, x, y, v, d.Domain, booked[d])
				}
			}
		}
	}
}

// checkOffer checks an offer against the live proposals that it is in. What was settled before is got and gave less
// these.
func checkOffer(t tester, o *offer, live int, got, gave Units, shares map[*client]Units) {
	t.Helper()
	if o.live != live || o.got < got || o.gave < gave || o.gave > o.Give.Units || o.got > o.Want.Units+o.Over {
		t.Fatalf("offer %s: %d live proposals with %d and %d units, kept %d with %d of %d and %d of %d",
			o.ID, live, got, gave, o.live, o.got, o.Want.Units, o.gave, o.Give.Units)
	}
	listed := false
	for i, x := range o.book.sides[o.side] {
		listed = listed || x == o
		if i > 0 && rank(o.book.sides[o.side][i-1], x) >= 0 {
			t.Fatal("a book is out of order")
		}
	}
	if listed != (o.closed == 0 && o.wants() > 0) {
		t.Fatalf("offer %s: listed %v, closed %d, wants %d", o.ID, listed, o.closed, o.wants())
	}
	var all Units
	for _, s := range o.shares {
		all += s.units
		if s.units < shares[s.client] {
			t.Fatalf("offer %s: share of %d units, %d are in live proposals", o.ID, s.units, shares[s.client])
		}
	}
	if all != o.got {
		t.Fatalf("offer %s: shares of %d units, got %d", o.ID, all, o.got)
	}
}
