package market

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"

	"latchkey/coin"
	"latchkey/settle"
	"latchkey/wire"

	"pgregory.net/rapid"
)

// machine drives a market with random inputs, true and false ones. All invariants are checked by world.try after every
// step; here it only has to think of what may happen.
type machine struct {
	*world
	clients []string
	devices map[string]Enrol
	offers  int
	inTurn  int // of four offers, about so many are to be settled tit for tat
	certs   []Deposit
	facts   map[string]int // events by kind, to see that all of them happen
}

// refused checks that an error is one of those that Decide promises.
func refused(t tester, in Input, err error) {
	t.Helper()
	for _, kind := range []error{ErrInvalid, ErrNotFound, ErrConflict, ErrLimit, ErrState} {
		if errors.Is(err, kind) {
			return
		}
	}
	if err != nil {
		t.Fatalf("%s: an error of no kind: %v", in.doing(), err)
	}
}

func (x *machine) input(in Input) {
	events, err := x.try(in)
	refused(x.t, in, err)
	for _, e := range events {
		x.facts[e.Name()]++
		if f, ok := e.Fact.(*Ended); ok {
			x.facts[f.Why.String()]++
		}
	}
	// Seen again it changes nothing: no event but what time does.
	switch in.(type) {
	case Tick, Decline, Accept, Settled, Locked, NotLocked, Place, Cancel, Deposit, Withdraw, Claimed, Ack, Rate, Enrol, Publish, Bond, Denominate, Outage:
		if _, tick := in.(Tick); !tick && err == nil {
			again, err := x.try(in)
			refused(x.t, in, err)
			if len(again) != 0 {
				x.t.Fatalf("%s a second time: %v", in.doing(), names(again))
			}
		}
	}
}

// pickClient draws the id of a client, rarely of a stranger.
func (x *machine) pickClient(t *rapid.T) wire.VaultID {
	if rapid.IntRange(0, 99).Draw(t, "stranger") == 99 {
		return vault("stranger")
	}
	return vault(rapid.SampledFrom(x.clients).Draw(t, "client"))
}

// pickProposal draws a proposal, mostly a live one, or nil.
func (x *machine) pickProposal(t *rapid.T) *Proposal {
	var live, all []*Proposal
	for id, p := range x.model.proposals {
		all = append(all, p)
		if q := x.m.proposals[id]; q != nil && q.stage != ended {
			live = append(live, p)
		}
	}
	if len(live) > 0 && rapid.IntRange(0, 9).Draw(t, "live") < 9 {
		all = live
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortFunc(all, func(a, b *Proposal) int { return cmp.Compare(a.ID, b.ID) })
	return all[rapid.IntRange(0, len(all)-1).Draw(t, "proposal")]
}

// pickChunk draws a chunk that was ever deposited.
func (x *machine) pickChunk(t *rapid.T) (Deposit, DepositChunk, bool) {
	if len(x.certs) == 0 {
		return Deposit{}, DepositChunk{}, false
	}
	d := x.certs[rapid.IntRange(0, len(x.certs)-1).Draw(t, "cert")]
	return d, d.Chunks[rapid.IntRange(0, len(d.Chunks)-1).Draw(t, "chunk")], true
}

func (x *machine) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"deposit": func(t *rapid.T) {
			name := rapid.SampledFrom(x.clients).Draw(t, "client")
			d := depositOf(x.world, name, rapid.SampledFrom([]string{"btc", "eth"}).Draw(t, "asset"),
				weights[rapid.IntRange(0, 5).Draw(t, "weight")], rapid.IntRange(1, 5).Draw(t, "n"))
			d.Expiry = x.now + rapid.Int64Range(100, 4000).Draw(t, "life")
			if rapid.IntRange(0, 3).Draw(t, "foreign") == 0 {
				for i := range d.Chunks {
					d.Chunks[i].Lineage = []wire.VaultID{x.pickClient(t)}
				}
			}
			x.certs = append(x.certs, d)
			x.input(d)
		},
		"deposit again": func(t *rapid.T) {
			d, c, ok := x.pickChunk(t)
			if !ok {
				return
			}
			c.Epoch = rapid.Uint32Range(0, 3).Draw(t, "epoch")
			if g, ok := x.model.owner[c.Chunk]; ok && rapid.IntRange(0, 4).Draw(t, "true") > 0 {
				d.Client, c.Epoch = g.To, g.Epoch // what is known
				if rapid.IntRange(0, 4).Draw(t, "passed on") == 0 {
					c.Lineage, c.Epoch, d.Client = []wire.VaultID{g.To}, g.Epoch+1, x.pickClient(t)
				}
			}
			d.Chunks = []DepositChunk{c}
			x.input(d)
		},
		"withdraw": func(t *rapid.T) {
			d, c, ok := x.pickChunk(t)
			if !ok {
				return
			}
			x.input(Withdraw{d.Client, []wire.ChunkID{c.Chunk}})
		},
		"claim": func(t *rapid.T) {
			if _, c, ok := x.pickChunk(t); ok {
				x.input(Claimed{c.Chunk})
			}
		},
		"place":        func(t *rapid.T) { x.place(t) },
		"place second": func(t *rapid.T) { x.place(t) },
		"place third": func(t *rapid.T) {
			x.input(Rate{"btc", perCoin["btc"], x.now})
			x.input(Rate{"eth", perCoin["eth"], x.now})
			x.place(t)
			x.place(t)
		},
		"cancel": func(t *rapid.T) {
			x.input(Cancel{x.pickClient(t), offerID(rapid.IntRange(0, max(x.offers-1, 0)).Draw(t, "offer"))})
		},
		"accept": func(t *rapid.T) {
			if p := x.pickProposal(t); p != nil {
				x.input(Accept{rapid.SampledFrom(p.Parties).Draw(t, "party"), p.ID, []byte("yes")})
			}
		},
		"accept all": func(t *rapid.T) {
			if p := x.pickProposal(t); p != nil {
				for _, id := range p.Parties {
					x.input(Accept{id, p.ID, []byte("yes")})
				}
			}
		},
		"decline": func(t *rapid.T) {
			if p := x.pickProposal(t); p != nil {
				d := Decline{Client: rapid.SampledFrom(p.Parties).Draw(t, "party"), Proposal: p.ID, Why: DeclineReason(rapid.IntRange(0, 6).Draw(t, "why"))}
				if d.Why == Pledged {
					d.Until = x.now + rapid.Int64Range(1, 60).Draw(t, "until")
				}
				x.input(d)
			}
		},
		"rest": func(t *rapid.T) { // one accepts, another declines, and the escrow's log goes on
			for _, p := range x.m.proposalsInOrder() {
				if p.stage == proposed {
					x.input(Accept{p.Sides[0].Client, p.ID, []byte("yes")})
					x.input(Decline{p.Sides[1].Client, p.ID, Unfunded, 0})
					x.now = max(x.now, p.LockBy+1)
					x.input(NotLocked{p.ID})
					x.ticks()
					return
				}
			}
		},
		"locked": func(t *rapid.T) {
			if p := x.pickProposal(t); p != nil {
				x.input(Locked{p.ID, instance(p.ID), 1, nil})
			}
		},
		"not locked": func(t *rapid.T) {
			if p := x.pickProposal(t); p != nil && !x.model.locked[p.ID] {
				x.input(NotLocked{p.ID})
			}
		},
		"settled":       func(t *rapid.T) { x.settled(t) },
		"settled again": func(t *rapid.T) { x.settled(t) },
		"rate": func(t *rapid.T) {
			a := rapid.SampledFrom([]coin.AssetID{"btc", "eth"}).Draw(t, "asset")
			x.input(Rate{a, perCoin[a] / 1000 * uint64(rapid.SampledFrom([]int{1000, 1000, 1000, 985, 1020, 1300}).Draw(t, "drift")), x.now - rapid.Int64Range(-1, 3).Draw(t, "age")})
		},
		"rates": func(t *rapid.T) {
			x.input(Rate{"btc", perCoin["btc"], x.now})
			x.input(Rate{"eth", perCoin["eth"], x.now})
		},
		"lose a rate": func(t *rapid.T) {
			if rapid.Bool().Draw(t, "lost") {
				x.input(RateLost{"eth", "the sources disagree"})
			}
		},
		"outage": func(t *rapid.T) { x.input(Outage{rapid.IntRange(0, 9).Draw(t, "on") == 9}) },
		"acknowledge": func(t *rapid.T) {
			id := x.pickClient(t)
			var last uint64
			if c := x.m.clients[id]; c != nil {
				last = c.mail.last
			}
			x.input(Ack{id, rapid.Uint64Range(0, last+1).Draw(t, "cursor")})
		},
		"bond": func(t *rapid.T) {
			x.input(Bond{x.pickClient(t), Micros(rapid.Int64Range(-1, 300).Draw(t, "bond")) * usd})
		},
		"enrol": func(t *rapid.T) {
			name := rapid.SampledFrom(x.clients).Draw(t, "client")
			e := x.devices[name]
			e.TCB = rapid.SampledFrom([]string{"1", "2"}).Draw(t, "tcb")
			if rapid.IntRange(0, 5).Draw(t, "move") == 0 {
				e.Device = Device{DeviceUnique, []byte(rapid.SampledFrom(x.clients).Draw(t, "device"))}
			}
			e.Exempt = e.Device.Kind == DeviceUnique && rapid.IntRange(0, 9).Draw(t, "exempt") == 0
			x.input(e)
		},
		"time": func(t *rapid.T) {
			x.now += rapid.SampledFrom([]int64{0, 1, 1, 5, 11, 31, 40, 500}).Draw(t, "seconds")
			x.ticks()
			for _, p := range x.m.proposalsInOrder() {
				if p.stage == ended && rapid.Bool().Draw(t, "the escrow answers") {
					x.input(NotLocked{p.ID})
				}
			}
		},
		"compare": func(t *rapid.T) { x.compare() },
	}
}

// ticks lets everything happen that is due.
func (x *machine) ticks() {
	for range 10_000 {
		x.input(Tick{})
		if at, ok := x.m.Wake(); !ok || at > x.now {
			return
		}
	}
	x.t.Fatal("time goes in circles")
}

func (x *machine) place(t *rapid.T) {
	n := rapid.IntRange(0, x.offers).Draw(t, "offer")
	x.offers = max(x.offers, n+1)
	units := Units(rapid.SampledFrom([]int{1, 3, 5, 10, 12, 25, 40, 60}).Draw(t, "units"))
	o := x.swapOffer(n, rapid.SampledFrom([]string{"btc", "eth"}).Draw(t, "give"), units, Bps(rapid.SampledFrom([]int{-100, 0, 50, 200, 500, 2000}).Draw(t, "premium")))
	o.Over = Units(rapid.IntRange(0, 5).Draw(t, "over"))
	o.Over = min(o.Over, o.Want.Units)
	o.MinFill = min(Units(rapid.SampledFrom([]int{0, 0, 1, 10}).Draw(t, "min fill")), units)
	o.Share = Bps(rapid.SampledFrom([]int{0, 0, 5_000, 10_000}).Draw(t, "share"))
	o.Sole = rapid.Bool().Draw(t, "sole")
	o.Until = x.now + rapid.Int64Range(0, 3000).Draw(t, "till")
	if rapid.IntRange(0, 3).Draw(t, "bet") == 0 {
		o.Contract, o.Parties = x.bet, []wire.VaultID{{}, {}, vault("judge")}
		o.Give.Denomination, o.Want.Denomination = "btc-5", "btc-5"
		o.GiveTerm, o.WantTerm, o.Terms[1] = 0, 0, 1_000_000+2_000
	}
	if o.Contract == x.swap && rapid.IntRange(1, 4).Draw(t, "in turn") <= x.inTurn {
		o.Settle, o.Pace = TitForTat, &settle.Pace{First: 5, Growth: 200, Most: 20, Wait: 60}
	}
	x.input(Place{x.pickClient(t), o})
}

func (x *machine) settled(t *rapid.T) {
	p := x.pickProposal(t)
	if p == nil {
		return
	}
	s := settled(p, rapid.IntRange(0, 3).Draw(t, "aborted") == 0)
	if !s.Aborted && !p.Exchange {
		winner := p.Sides[rapid.IntRange(0, 1).Draw(t, "winner")].Client
		for i := range s.Gives {
			s.Gives[i].To = winner
		}
	}
	if !s.Aborted && p.Settle == TitForTat && rapid.Bool().Draw(t, "broken off") {
		s.Reporter = p.Parties[rapid.IntRange(0, 1).Draw(t, "reporter")]
		for i := range s.Gives {
			s.Gives[i].To = p.Sides[rapid.IntRange(0, 1).Draw(t, "to")].Client
		}
	}
	if s.Aborted && rapid.Bool().Draw(t, "fault") {
		s.Fault = []wire.VaultID{p.Parties[0]}
	}
	x.input(s)
}

// Whatever happens, in whatever order: no limit is exceeded, every chunk is in one place and belongs to one client, what
// is reserved comes back, no notice is lost, a replay of the log is the live state, and so is a restored snapshot with
// the tail of the log.
func TestMachine(t *testing.T) {
	facts := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		p := testPolicy()
		limit := func(kind string) Micros { return rapid.SampledFrom([]Micros{100, 300, 1000}).Draw(t, kind) * usd }
		p.Limits = Limits{limit("client"), limit("device"), limit("vendor"), limit("tcb"), limit("asset")}
		p.MaxOffers, p.MaxClosed, p.MaxQueue, p.MaxStock, p.MaxPicks, p.KeepEnded = 3, 4, 14, 40, 6, 50
		x := &machine{world: newWorld(t, p), devices: map[string]Enrol{}, facts: facts}
		x.every = 16
		x.inTurn = rapid.SampledFrom([]int{0, 1, 4}).Draw(t, "offers in turn") // only offers that settle alike meet
		for i, name := range []string{"alice", "bob", "carol", "dora", "judge"} {
			e := Enrol{Client: vault(name), Vendor: wire.Hash(sum(fmt.Sprint("vendor", i%2))), TCB: "1", Device: Device{DeviceUnique, []byte(name)}}
			if i > 2 {
				e.Device = Device{Kind: DeviceNone}
			}
			x.do(e)
			x.clients, x.devices[name] = append(x.clients, name), e
		}
		x.t = t
		for _, name := range x.clients {
			for _, asset := range []string{"btc", "eth"} {
				for _, weight := range []uint32{1, 5, 10} {
					d := depositOf(x.world, name, asset, weight, 3)
					x.certs = append(x.certs, d)
					x.input(d)
				}
			}
		}
		actions := x.actions()
		var kinds []string
		for kind := range actions {
			kinds = append(kinds, kind)
		}
		slices.Sort(kinds)
		for range rapid.SampledFrom([]int{10, 50, 100, 200, 200}).Draw(t, "steps") {
			actions[rapid.SampledFrom(kinds).Draw(t, "action")](t)
		}
		x.now += 100_000 // everything that time can end has ended
		x.ticks()
		for _, p := range x.m.proposals {
			if p.stage == proposed {
				t.Fatalf("proposal %v still waits for acceptances", p.ID)
			}
		}
		if len(x.m.open) != 0 {
			t.Fatalf("%d offers are still open", len(x.m.open))
		}
		x.compare()
	})
	// What random play meets too rarely to be asked for has tests of its own.
	for _, name := range []string{
		"enrolled", "bonded", "rated", "unrated", "deposited", "withdrawn", "gone", "retired", "freed", "placed", "closed", "proposed",
		"accepted", "waslocked", "ended", "forgotten", "dropped", "acked", ContractClosed.String(), StepFailed.String(),
	} {
		if facts[name] == 0 && !testing.Short() {
			t.Errorf("it never happened: %s", name)
		}
	}
	t.Logf("%v", facts)
}
