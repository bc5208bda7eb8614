package market

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/wire"

	"pgregory.net/rapid"
)

// Bad input is refused with an error of the right kind that names the thing, and changes nothing (which try checks).
func TestRefusals(t *testing.T) {
	w := trio(t)
	w.do(Place{vault("carol"), w.swapOffer(1, "eth", 40, -100)})
	spoil := func(f func(o *Offer)) Place {
		o := w.swapOffer(2, "btc", 40, 0)
		f(&o)
		return Place{vault("alice"), o}
	}
	deposit := func(f func(d *Deposit)) Deposit {
		d := depositOf(w, "alice", "btc", 10, 2)
		f(&d)
		return d
	}
	enrol := func(f func(e *Enrol)) Enrol {
		e := Enrol{Client: vault("eve"), Vendor: wire.Hash{1}, TCB: "1", Device: Device{DeviceUnique, []byte("x")}}
		f(&e)
		return e
	}
	denominate := func(f func(d *coin.Denomination)) Denominate {
		d := denomination("btc")
		f(&d)
		return Denominate{d}
	}
	for _, test := range []struct {
		name string
		in   Input
		kind error
		text string
	}{
		{"no client", enrol(func(e *Enrol) { e.Client = wire.VaultID{} }), ErrInvalid, "no client"},
		{"long reach", enrol(func(e *Enrol) { e.Reach = make([]byte, 1025) }), ErrInvalid, "1025 bytes, at most 1024"},
		{"no device kind", enrol(func(e *Enrol) { e.Device.Kind = 0 }), ErrInvalid, "device kind 0"},
		{"a device without id", enrol(func(e *Enrol) { e.Device.ID = nil }), ErrInvalid, "identity of 0 bytes"},
		{"no device with an id", enrol(func(e *Enrol) { e.Device.Kind = DeviceNone }), ErrInvalid, "identity of 1 bytes"},
		{"no vendor", enrol(func(e *Enrol) { e.Vendor = wire.Hash{} }), ErrInvalid, "no TEE vendor"},
		{"no tcb", enrol(func(e *Enrol) { e.TCB = "" }), ErrInvalid, "TCB level"},
		{"an exempt batch", enrol(func(e *Enrol) { e.Device.Kind, e.Exempt = DeviceBatch, true }), ErrInvalid, "exempt"},

		{"bond of a stranger", Bond{vault("eve"), 1}, ErrNotFound, "client " + vault("eve").Short()},
		{"a negative bond", Bond{vault("bob"), -1}, ErrInvalid, "bond"},
		{"another denomination of the name", denominate(func(d *coin.Denomination) { d.Unit = coin.NewAmount(7) }), ErrConflict, "btc-5"},
		{"another asset of the name", denominate(func(d *coin.Denomination) { d.ID, d.Asset.Decimals = "btc-6", 9 }), ErrConflict, "asset btc"},
		{"a unit of nothing", denominate(func(d *coin.Denomination) { d.ID, d.Unit = "btc-6", coin.Amount{} }), ErrInvalid, "unit of nothing"},

		{"rate of an unknown asset", Rate{"doge", 1, w.now}, ErrNotFound, `asset "doge"`},
		{"a rate of nothing", Rate{"btc", 0, w.now}, ErrInvalid, "0 µUSD"},
		{"an absurd rate", Rate{"btc", math.MaxUint64, w.now}, ErrInvalid, "18446744073709551615"},
		{"a rate from the future", Rate{"btc", 1e9, w.now + 31}, ErrInvalid, "observed at"},
		{"a stale rate", Rate{"btc", 1e9, w.now - 61}, ErrState, "61 s old, at most 60"},
		{"an older rate", Rate{"btc", 1e9, w.now - 1}, ErrState, "there is one of"},
		{"a lost rate without reason", RateLost{"btc", ""}, ErrInvalid, "reason"},
		{"no contract", Publish{[]byte("hello")}, ErrInvalid, ""},
		{"a long contract", Publish{bytes.Repeat([]byte(" "), 65537)}, ErrInvalid, "65537 bytes, at most 65536"},

		{"deposit of a stranger", deposit(func(d *Deposit) { d.Client = vault("eve") }), ErrNotFound, "enrol first"},
		{"unknown denomination", deposit(func(d *Deposit) { d.Denomination = "btc-9" }), ErrNotFound, `"btc-9"`},
		{"no certificate", deposit(func(d *Deposit) { d.Cert = wire.CertID{} }), ErrInvalid, "no certificate"},
		{"weight off the ladder", deposit(func(d *Deposit) { d.Weight = 3 }), ErrInvalid, "weight 3"},
		{"expired", deposit(func(d *Deposit) { d.Expiry = w.now + 130 }), ErrState, "expires at"},
		{"expires never", deposit(func(d *Deposit) { d.Expiry = math.MaxInt64 }), ErrInvalid, "expires at"},
		{"no chunks", deposit(func(d *Deposit) { d.Chunks = nil }), ErrInvalid, "0 chunks"},
		{"a chunk twice", deposit(func(d *Deposit) { d.Chunks[1] = d.Chunks[0] }), ErrInvalid, "twice"},
		{"a chunk without id", deposit(func(d *Deposit) { d.Chunks[1].Chunk = wire.ChunkID{} }), ErrInvalid, "without id"},
		{"a chunk of another certificate", deposit(func(d *Deposit) { d.Chunks[0].Chunk = available8(w, "bob")[0] }), ErrConflict, "certificate"},
		{"another story of the certificate", deposit(func(d *Deposit) { d.Cert, d.Expiry = wire.CertID(sum("cert 1")), w.now+5000 }), ErrConflict, "said of it before"},
		{"too many holders", deposit(func(d *Deposit) { d.Chunks[0].Lineage = make([]wire.VaultID, 65) }), ErrLimit, "65 earlier holders, at most 64"},
		{"withdraw another's", Withdraw{vault("bob"), available8(w, "alice")[:1]}, ErrNotFound, "chunk"},
		{"withdraw nothing", Withdraw{vault("bob"), nil}, ErrInvalid, "0 chunks"},
		{"claim of an unknown chunk", Claimed{chunkID("?")}, ErrNotFound, "chunk"},

		{"offer of a stranger", Place{vault("eve"), w.swapOffer(1, "btc", 1, 0)}, ErrNotFound, "enrol first"},
		{"no id", spoil(func(o *Offer) { o.ID = OfferID{} }), ErrInvalid, "no id"},
		{"unknown contract", spoil(func(o *Offer) { o.Contract = wire.Hash{9} }), ErrNotFound, "published first"},
		{"unknown settle", spoil(func(o *Offer) { o.Settle = 2 }), ErrInvalid, "settle 2"},
		{"no escrow", spoil(func(o *Offer) { o.Escrow = wire.VaultID{} }), ErrInvalid, "no escrow"},
		{"too few parties", spoil(func(o *Offer) { o.Parties = o.Parties[:1] }), ErrInvalid, "1 parties"},
		{"too many parties", spoil(func(o *Offer) { o.Parties = []wire.VaultID{{}, {}, vault("bob")} }), ErrInvalid, "3 parties, it has 2"},
		{"against itself", spoil(func(o *Offer) { o.Counter = 0 }), ErrInvalid, "role 0 and counterparty 0"},
		{"a party given that the market finds", spoil(func(o *Offer) { o.Parties[1] = vault("bob") }), ErrInvalid, "for the market to fill in"},
		{"no such term", spoil(func(o *Offer) { o.WantTerm = 2 }), ErrInvalid, "terms 0 and 2"},
		{"a size given", spoil(func(o *Offer) { o.Terms[0] = 5 }), ErrInvalid, "have to be 0"},
		{"terms too many", spoil(func(o *Offer) { o.Terms = append(o.Terms, 1) }), ErrInvalid, "3 terms, it has 2"},
		{"the other's pot", spoil(func(o *Offer) {
			o.Contract, o.Parties, o.Terms, o.WantTerm = w.bet, []wire.VaultID{{}, vault("carol"), {}}, []int64{0, 5}, 0
			o.Counter = 2
		}), ErrInvalid, "pot down"},
		{"a term out of range", spoil(func(o *Offer) {
			o.Contract, o.Parties, o.Terms, o.WantTerm = w.bet, []wire.VaultID{{}, {}, vault("carol")}, []int64{0, -5}, 0
		}), ErrInvalid, "term by is -5"},
		{"a time for a size", spoil(func(o *Offer) {
			o.Contract, o.Parties, o.Terms, o.WantTerm = w.bet, []wire.VaultID{{}, {}, vault("carol")}, []int64{0, 0}, 1
		}), ErrInvalid, "term by is a time"},
		{"a party that is not enrolled", spoil(func(o *Offer) {
			o.Contract, o.Parties, o.Terms, o.WantTerm = w.bet, []wire.VaultID{{}, {}, vault("eve")}, []int64{0, 5}, 0
		}), ErrNotFound, "not enrolled"},
		{"the client as a third party", spoil(func(o *Offer) {
			o.Contract, o.Parties, o.Terms, o.WantTerm = w.bet, []wire.VaultID{{}, {}, vault("alice")}, []int64{0, 5}, 0
		}), ErrInvalid, "client itself"},
		{"unknown asset", spoil(func(o *Offer) { o.Want.Denomination = "doge-1" }), ErrNotFound, `"doge-1"`},
		{"wants nothing", spoil(func(o *Offer) { o.Want.Units = 0 }), ErrInvalid, "wants 0 units"},
		{"wants too much", spoil(func(o *Offer) { o.Want.Units = 1<<20 + 1 }), ErrInvalid, "wants 1048577 units"},
		{"gives nothing", spoil(func(o *Offer) { o.Give.Units = 0 }), ErrInvalid, "gives 0 units"},
		{"over by more than it wants", spoil(func(o *Offer) { o.Over = 41 }), ErrInvalid, "41 units above"},
		{"absurd premium", spoil(func(o *Offer) { o.Premium = 5001 }), ErrInvalid, "premium of 5001"},
		{"premium beyond the policy", spoil(func(o *Offer) { o.Premium = -2001 }), ErrLimit, "premium of -2001 basis points, at most 2000"},
		{"smallest fill above the want", spoil(func(o *Offer) { o.MinFill = 41 }), ErrInvalid, "smallest fill of 41"},
		{"smallest fill above the share", spoil(func(o *Offer) { o.MinFill, o.Sole = 25, false }), ErrInvalid, "smallest fill of 25"},
		{"a share of more than all", spoil(func(o *Offer) { o.Share = 10_001 }), ErrInvalid, "share of 10001"},
		{"expired already", spoil(func(o *Offer) { o.Until = w.now }), ErrState, "good till"},
		{"good for too long", spoil(func(o *Offer) { o.Until = w.now + 31*24*3600 }), ErrLimit, "good for 2678400 s, at most 2592000"},
		{"another offer of the id", func() Input { o := w.swapOffer(1, "eth", 41, -100); return Place{vault("carol"), o} }(), ErrConflict, "another offer of that id"},

		{"cancel of a stranger", Cancel{vault("eve"), offerID(1)}, ErrNotFound, "enrol first"},
		{"cancel of nothing", Cancel{vault("bob"), offerID(1)}, ErrNotFound, offerID(1).String()},
		{"accept nothing", Accept{vault("bob"), 999, []byte("yes")}, ErrNotFound, "proposal p999"},
		{"decline nothing", Decline{vault("bob"), 999, Undesired, 0}, ErrNotFound, "proposal p999"},
		{"lock of nothing", Locked{Proposal: 999}, ErrNotFound, "proposal p999"},
		{"no lock of nothing", NotLocked{999}, ErrNotFound, "proposal p999"},
		{"settlement of nothing", Settled{Proposal: 999}, ErrNotFound, "proposal p999"},
		{"acknowledged before it was sent", Ack{vault("bob"), 1}, ErrInvalid, "notice 1, the newest is 0"},
		{"acknowledged by a stranger", Ack{vault("eve"), 1}, ErrNotFound, "enrol first"},
	} {
		_, err := w.try(test.in)
		if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.text) || !strings.HasPrefix(err.Error(), test.in.doing()+": ") {
			t.Errorf("%s: got %v, want %v with %q", test.name, err, test.kind, test.text)
		}
	}
	for _, now := range []int64{0, -1, maxTime + 1, math.MaxInt64, math.MinInt64} {
		if _, _, err := w.m.Step(now, Tick{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("time %d: %v", now, err)
		}
	}
	if _, _, err := w.m.Step(w.now, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("no input: %v", err)
	}
	// A clock that was set back does not turn the market's back.
	events, _, err := w.m.Step(5, RateLost{"btc", "clock"})
	if err != nil || events[0].At != w.now {
		t.Errorf("at time 5: %v, %v", events, err)
	}
}

// The limits per client name themselves.
func TestBounds(t *testing.T) {
	p := testPolicy()
	p.MaxOffers, p.MaxClosed, p.MaxQueue, p.MaxStock, p.MaxContracts = 2, 1, 4, 5, 2
	w := newWorld(t, p)
	w.enrol("alice", "red")
	w.deposit("alice", "btc", 1, 4)
	check := func(in Input, text string) {
		t.Helper()
		if _, err := w.try(in); !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %v, want %q", in.doing(), err, text)
		}
	}
	check(depositOf(w, "alice", "btc", 1, 2), "6 chunks, at most 5")
	w.do(Place{vault("alice"), w.swapOffer(1, "btc", 5, 0)})
	w.do(Place{vault("alice"), w.swapOffer(2, "btc", 5, 0)})
	check(Place{vault("alice"), w.swapOffer(3, "btc", 5, 0)}, "2 open offers, at most 2")
	w.do(Cancel{vault("alice"), offerID(1)})
	w.do(Cancel{vault("alice"), offerID(1)})
	check(Place{vault("alice"), w.swapOffer(3, "btc", 5, 0)}, "1 closed offers whose good-till has not passed, at most 1")
	w.now += 10_001
	for {
		if at, ok := w.m.Wake(); !ok || at > w.now {
			break
		}
		w.do(Tick{})
	}
	if got := w.m.OffersOf(vault("alice")); len(got) != 0 {
		t.Errorf("offers that have passed are still there: %v", got)
	}
	w.do(Place{vault("alice"), w.swapOffer(1, "btc", 5, 0)}) // the id is free again
	w.do(Place{vault("alice"), w.swapOffer(2, "btc", 5, 0)})
	w.do(Cancel{vault("alice"), offerID(1)})
	w.now += 10_001
	for {
		if at, ok := w.m.Wake(); !ok || at > w.now {
			break
		}
		w.do(Tick{})
	}
	check(Place{vault("alice"), w.swapOffer(3, "btc", 5, 0)}, "4 notices wait to be acknowledged, and more are due; at most 4")
	w.do(Ack{vault("alice"), 4})
	w.do(Place{vault("alice"), w.swapOffer(3, "btc", 5, 0)})

	third := strings.Replace(swapSource, "Swap", "Trade", 1)
	events := w.do(Publish{[]byte(third)}) // Bet has no offer: it goes
	if f := events[0].Fact.(*Published); len(f.Evict) != 1 || f.Evict[0] != w.bet {
		t.Errorf("evicted %v, want %v", f.Evict, w.bet)
	}
	o := w.swapOffer(4, "btc", 5, 0)
	for h := range w.m.contracts {
		if h != w.swap {
			o.Contract = h
		}
	}
	w.do(Place{vault("alice"), o})
	check(Publish{[]byte(betSource)}, "2 contracts in use, at most 2")
	if src, err := w.m.Source(o.Contract); err != nil || string(src) != third {
		t.Errorf("source %q, %v", src, err)
	}
}

// The zero policy is refused, and so is every field at zero or out of range.
func TestPolicy(t *testing.T) {
	if _, err := New(Policy{}); err == nil {
		t.Error("the zero policy is taken")
	}
	if err := DefaultPolicy().Check(); err != nil {
		t.Error(err)
	}
	var walk func(v reflect.Value, at func(*Policy) reflect.Value)
	fields := 0
	walk = func(v reflect.Value, at func(*Policy) reflect.Value) {
		for i := range v.NumField() {
			field := func(p *Policy) reflect.Value { return at(p).Field(i) }
			if v.Field(i).Kind() == reflect.Struct {
				walk(v.Field(i), field)
				continue
			}
			fields++
			for _, bad := range []int64{0, -1, math.MaxInt32} {
				p := DefaultPolicy()
				if field(&p).SetInt(bad); bad == math.MaxInt32 && field(&p).Type() == reflect.TypeOf(Micros(0)) {
					field(&p).SetInt(math.MaxInt64)
				}
				name := v.Type().Field(i).Tag.Get("toml")
				if err := p.Check(); err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("%s = %d: %v", name, bad, err)
				}
			}
		}
	}
	walk(reflect.ValueOf(Policy{}), func(p *Policy) reflect.Value { return reflect.ValueOf(p).Elem() })
	if fields < 20 {
		t.Errorf("looked at %d fields only", fields)
	}
}

// history plays a small market and returns its log.
func history(t tester) *world {
	w := trio(t)
	w.do(Bond{vault("bob"), 100 * usd})
	w.do(Place{vault("carol"), w.swapOffer(1, "eth", 30, 20)})
	w.do(Place{vault("bob"), w.swapOffer(1, "eth", 30, 50)})
	list := proposalsIn(w.do(Place{vault("alice"), w.swapOffer(1, "btc", 60, 100)}))
	w.accept(list[0])
	w.do(Locked{list[0].ID, instance(list[0].ID), 3, []byte("receipt")})
	w.do(settled(list[0], false))
	w.do(Accept{vault("alice"), list[1].ID, []byte("yes")})
	w.do(RateLost{"eth", "why not"})
	w.do(Outage{true})
	w.do(Ack{vault("alice"), 2})
	w.do(Withdraw{vault("bob"), available8(w, "bob")[:1]})
	w.do(Claimed{available8(w, "bob")[0]})
	return w
}

// What ParseEvent accepts it writes again; whatever it is, Apply takes it or changes nothing, and the state that comes
// of it can be saved and restored.
func FuzzEvent(f *testing.F) {
	w := history(f)
	for _, e := range w.log {
		b, err := e.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, fact := range []Fact{
		&Retired{w.log[12].Fact.(*Deposited).Deposit.Cert}, &Dropped{vault("bob"), offerID(1)}, &Forgotten{5}, &Strayed{5}, &Asked{5, 9}, &Closed{vault("bob"), offerID(1), Expired},
	} {
		b, err := Event{w.now, fact}.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	state := snapshotOf(f, w.m)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEvent(b)
		if err != nil {
			return
		}
		again, err := e.Marshal()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x is written again as %x, %v", b, again, err)
		}
		m, err := Restore(testPolicy(), state)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Apply(e); err != nil {
			if !errors.Is(err, ErrEvent) {
				t.Fatalf("an error of another kind: %v", err)
			}
			if !bytes.Equal(snapshotOf(t, m), state) {
				t.Fatalf("%s was refused and changed the state", e.Name())
			}
			return
		}
		if _, err := Restore(testPolicy(), snapshotOf(t, m)); err != nil {
			t.Fatalf("after %s: %v", e.Name(), err)
		}
	})
}

// Restore never panics, and what it accepts it writes again.
func FuzzRestore(f *testing.F) {
	w := newWorld(f, testPolicy())
	w.enrol("alice", "red")
	f.Add(snapshotOf(f, w.m))
	w.deposit("alice", "btc", 5, 1)
	w.do(Place{vault("alice"), w.swapOffer(1, "btc", 5, 0)})
	f.Add(snapshotOf(f, w.m))
	w.enrol("bob", "blue")
	w.deposit("bob", "eth", 5, 1)
	w.do(Place{vault("bob"), w.swapOffer(1, "eth", 5, 0)})
	f.Add(snapshotOf(f, w.m))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Restore(testPolicy(), b)
		if err != nil {
			if !errors.Is(err, ErrSnapshot) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		if !bytes.Equal(snapshotOf(t, m), b) {
			t.Fatal("it is written again as something else")
		}
		m.Step(2_000_000, Tick{})
		m.Step(2_000_000, Rate{"btc", 1e11, 2_000_000})
	})
}

// FuzzOffer: what ParseOffer accepts it writes again.
func FuzzOffer(f *testing.F) {
	w := &world{t: f, swap: wire.Hash{1}, escrow: vault("e"), now: 1_000_000}
	b, err := w.swapOffer(1, "btc", 5, 0).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseOffer(b)
		if err != nil {
			return
		}
		if again, err := o.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is written again as %x, %v", b, again, err)
		}
		if _, _, err := o.key(); err != nil {
			t.Error(err)
		}
	})
}

// Every way of damaging a snapshot in one place is refused, or gives a market that writes the same damage.
func TestRestoreRefusesDamage(t *testing.T) {
	good := snapshotOf(t, history(t).m)
	for n := range len(good) {
		if n == 0 {
			continue
		}
		if _, err := Restore(testPolicy(), good[:n]); err == nil && n != len(good) {
			// Cut between records, it may still be a whole market: one without its newest parts.
			m, _ := Restore(testPolicy(), good[:n])
			if !bytes.Equal(snapshotOf(t, m), good[:n]) {
				t.Errorf("cut at %d it is taken", n)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		bad := bytes.Clone(good)
		i := rapid.IntRange(0, len(bad)-1).Draw(t, "at")
		bad[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		m, err := Restore(testPolicy(), bad)
		if err != nil {
			if !errors.Is(err, ErrSnapshot) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		if !bytes.Equal(snapshotOf(t, m), bad) {
			t.Fatal("the damage is lost")
		}
		m.Step(2_000_000, Tick{})
	})
}

// A log of another market, or one that lacks an event, does not fit.
func TestApplyRefusesForeignLogs(t *testing.T) {
	w := history(t)
	for skip := range w.log {
		m, err := New(testPolicy())
		if err != nil {
			t.Fatal(err)
		}
		var failed error
		for i, e := range w.log {
			if i == skip {
				continue
			}
			if failed = m.Apply(e); failed != nil {
				break
			}
		}
		switch w.log[skip].Fact.(type) {
		case *Enrolled, *Denominated, *Published, *Deposited, *Placed, *Proposed:
			if !errors.Is(failed, ErrEvent) && needed(w.log, skip) {
				t.Errorf("without event %d (%s): %v", skip, w.log[skip].Name(), failed)
			}
		}
	}
	m, _ := New(testPolicy())
	for _, e := range []Event{{}, {At: 1}, {At: -1, Fact: &OutageSet{true}}, {At: maxTime + 1, Fact: &OutageSet{true}}} {
		if err := m.Apply(e); !errors.Is(err, ErrEvent) {
			t.Errorf("%+v: %v", e, err)
		}
		if _, err := e.Marshal(); e.Fact == nil && err == nil {
			t.Errorf("%+v can be written", e)
		}
	}
}

// needed reports whether a later proposal refers to what an event brought: proposals carry their position, so that a
// log that lacks any event before one does not fit.
func needed(log []Event, i int) bool {
	for _, e := range log[i+1:] {
		if _, ok := e.Fact.(*Proposed); ok {
			return true
		}
	}
	return false
}

func TestText(t *testing.T) {
	id := offerID(41)
	b, _ := id.MarshalText()
	var back OfferID
	if err := back.UnmarshalText(b); err != nil || back != id {
		t.Errorf("%s: %v, %v", b, back, err)
	}
	for _, s := range []string{"", "00", strings.Repeat("g", 32)} {
		if err := back.UnmarshalText([]byte(s)); err == nil || back != id {
			t.Errorf("%q: %v, %v", s, back, err)
		}
	}
	for v, want := range map[Micros]string{0: "$0.00", 499_500_000: "$499.50", -1_000_000: "-$1.00", 9_999: "$0.00", 10_000: "$0.01"} {
		if got := v.String(); got != want {
			t.Errorf("%d µUSD: got %s, want %s", int64(v), got, want)
		}
	}
	if got := fmt.Sprint(ProposalID(7), Filled, Done, CloseReason(99)); got != "p7 filled done unknown (99)" {
		t.Errorf("got %s", got)
	}
}
