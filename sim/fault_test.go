package sim

import (
	"errors"
	"fmt"
	"testing"

	"latchkey/settle"
	"latchkey/wire"
)

// One fault, at one place, at each kind of request in turn: everything goes on
// from what was acknowledged, and nothing is done twice.
func TestCrashBetweenPersistAndPerform(t *testing.T) {
	h := func(w *World) *Host { return w.hosts[0] }
	faults := map[string]struct {
		at point
		do func(w *World, c *Client) (lose bool)
	}{
		"the request is lost":                           {arriving, func(*World, *Client) bool { return true }},
		"the escrow dies and its disk has nothing":      {decidedOn, func(w *World, _ *Client) bool { h(w).Crash(0); h(w).Start(); return false }},
		"the escrow dies and its disk has it":           {decidedOn, func(w *World, _ *Client) bool { h(w).Crash(99); h(w).Start(); return false }},
		"the escrow dies before its head is witnessed":  {decidedOn, func(w *World, _ *Client) bool { h(w).Flush(99); h(w).Crash(0); h(w).Start(); return false }},
		"the answer is lost":                            {answered, func(*World, *Client) bool { return true }},
		"the client dies and its disk has nothing":      {answered, func(_ *World, c *Client) bool { c.crash = crashBeforePersist; return false }},
		"the client dies and its disk has it":           {answered, func(_ *World, c *Client) bool { c.crash = crashAfterPersist; return false }},
		"the client dies before it hears the answer":    {answered, func(_ *World, c *Client) bool { c.Crash(); return true }},
		"the client dies when it has said what it said": {arriving, func(_ *World, c *Client) bool { c.Crash(); return false }},
	}
	for _, kind := range []string{"begin", "open", "lock", "hand", "fetch", "ack", "stored", "word", "claim", "swept", "step"} {
		for name, f := range faults {
			t.Run(kind+"/"+name, func(t *testing.T) {
				w := world(t, Config{Seed: 1})
				hit := 0
				w.hook = func(at point, c *Client, what string) bool {
					if at != f.at || what != kind || hit > 0 {
						return false
					}
					hit++
					return f.do(w, c)
				}
				w.story(t)
				if hit != 1 {
					t.Errorf("%s was never said", kind)
				}
			})
		}
	}
}

// insist does something again when the client died over it.
func insist(t *testing.T, c *Client, do func() error) {
	t.Helper()
	err := do()
	if errors.Is(err, errCrashed) {
		if err = c.Start(); err == nil {
			err = do()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// story is a swap and a sale from deposits to sweeps, with everybody started
// again whenever somebody is down.
func (w *World) story(t *testing.T) {
	t.Helper()
	alice, bob, carol := w.Client("alice"), w.Client("bob"), w.Client("carol")
	go1 := func(what string, done func() bool) {
		t.Helper()
		for range 60 {
			if done() {
				return
			}
			w.Tick(1)
			w.Pump()
			w.Mine(1)
			for _, c := range w.clients {
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
			}
			ok(t, w)
		}
		t.Fatalf("it never comes to this: %s", what)
	}
	for c, n := range map[*Client]uint32{alice: 5, bob: 3} {
		if err := c.Deposit(w.cast.Coins[0], 5, n); err != nil {
			t.Fatal(err)
		}
	}
	go1("deposits", func() bool { return len(sameCoin(alice, 5)) == 5 && len(sameCoin(bob, 3)) == 3 })
	a, b := sameCoin(alice, 5), sameCoin(bob, 3)
	p, err := w.Propose(Stakes{Contract: Swap, Parties: []*Client{alice, bob}, Pots: [][]wire.ChunkID{a[:1], b[:1]}, LockIn: 60})
	if err != nil {
		t.Fatal(err)
	}
	go1("the swap is over", func() bool { c := p.course(w); return c != nil && c.Ended && alice.m.Holds(b[0]) && bob.m.Holds(a[0]) })
	if p.course(w).Aborted {
		t.Error("the swap was aborted")
	}
	pace := &settle.Pace{First: 5, Growth: 100, Most: 5, Wait: 600}
	if p, err = w.Propose(Stakes{Contract: Swap, Parties: []*Client{alice, bob}, Pots: [][]wire.ChunkID{a[3:], b[1:]}, LockIn: 60, Pace: pace}); err != nil {
		t.Fatal(err)
	}
	go1("the exchange step by step is settled", func() bool { c := p.course(w); return c != nil && c.Ended })
	if c := p.course(w); c.Broken || len(c.turns.steps) != 4 || !c.turns.steps[2].spoken {
		t.Errorf("broken off: %t, %d steps", c.Broken, len(c.turns.steps))
	}
	if p, err = w.Propose(Stakes{Contract: Escrow, Parties: []*Client{alice, bob, carol}, Pots: [][]wire.ChunkID{a[1:2], a[2:3]}, LockIn: 60}); err != nil {
		t.Fatal(err)
	}
	go1("the sale is open", func() bool {
		in := alice.m.Instances()
		return len(in) == 3 && in[0].Opened && in[1].Opened && in[2].Opened
	})
	insist(t, alice, func() error { return alice.Say(p.course(w).ID, "release", 0, false) })
	go1("the sale is over", func() bool { return p.course(w).Ended })
	if got := p.course(w).given[a[1]]; got != bob.ID {
		t.Errorf("the payment went to %s", got.Short())
	}
	insist(t, alice, func() error { return alice.Claim(b[0]) })
	go1("alice swept what she was given", func() bool { return w.ledger.chunks[b[0]].Swept })
	if n := w.ledger.claims; n != 1 {
		t.Errorf("one claim made %d entries", n)
	}
	w.Settle()
	ok(t, w)
}

// The claim's answer is lost again and again; asked again, the escrow releases
// again, to the same owner, and logs the claim once.
func TestLostClaimReply(t *testing.T) {
	w := world(t, Config{Seed: 1})
	x := w.stock(t, 0, "alice")["alice"]
	alice := w.Client("alice")
	if err := alice.Claim(x); err != nil {
		t.Fatal(err)
	}
	lost := 0
	w.hook = func(at point, _ *Client, what string) bool {
		if at != answered || what != "claim" || lost == 5 {
			return false
		}
		lost++
		return true
	}
	for range 10 {
		w.Tick(1)
		w.Pump()
		if lost == 3 {
			w.hosts[0].Crash(9)
			w.hosts[0].Start()
			alice.Crash()
			if err := alice.Start(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if k, err := alice.m.Key(x); err != nil || k.Public() != w.points[x] || lost != 5 {
		t.Errorf("after %d lost answers: %v", lost, err)
	}
	if w.ledger.claims != 1 {
		t.Errorf("%d claims in the log, want 1", w.ledger.claims)
	}
	w.Settle()
	ok(t, w)
}

// A device is lost for good, at any moment of a swap: what was not open returns
// to whom it belongs, what was open is given, and the others lose nothing.
func TestLostDevice(t *testing.T) {
	for _, kind := range []string{"lock", "hand", "fetch", "ack", "stored"} {
		t.Run(kind, func(t *testing.T) {
			w := world(t, Config{Seed: 1})
			bob := w.Client("bob")
			_, x, y := w.swapOf(t, "alice", "bob")
			w.hook = func(at point, c *Client, what string) bool {
				if bob.lost || at != arriving || what != kind {
					return false
				}
				bob.Crash()
				bob.lost = true
				return false
			}
			w.Rest(20)
			w.Settle()
			ok(t, w)
			if !bob.lost {
				t.Fatal("nothing was lost")
			}
			alice, got := w.Client("alice"), 0
			for _, id := range []wire.ChunkID{x, y} {
				if s := alice.sweeps[id]; s != nil && s.final {
					got++
				}
			}
			if got != 1 {
				t.Errorf("alice ends with %d chunks of a swap of one for one", got)
			}
		})
	}
}

// Time jumps, on every clock at once, at each moment of a swap: nothing is lost
// and nothing hangs.
func TestTimePasses(t *testing.T) {
	for _, seconds := range []int64{59, 61, 3600, 86400 * 3} {
		for _, kind := range []string{"lock", "hand", "ack", "stored"} {
			t.Run(fmt.Sprint(kind, seconds), func(t *testing.T) {
				w := world(t, Config{Seed: 1})
				w.swapOf(t, "alice", "bob")
				once := false
				w.hook = func(at point, _ *Client, what string) bool {
					if !once && at == arriving && what == kind {
						once = true
						w.Tick(seconds)
						w.hosts[0].Round(15, 0)
					}
					return false
				}
				w.Rest(20)
				w.Settle()
				ok(t, w)
			})
		}
	}
}

// Without the rule that answers wait for witnesses, a clone gives the key away.
// The rule is the shell's: no test of the machine alone would notice.
func TestAnswersWaitForWitnesses(t *testing.T) {
	w := world(t, Config{Seed: 1, Clients: 4, Broken: map[string]bool{"mallory": true}})
	x := w.stock(t, 0, "mallory")["mallory"]
	w.cfg.InsecureHold = true
	if err := w.cloneClaims(t, x, 1); err == nil || w.secrets.holds(x, "mallory") == "" {
		t.Error("answers do not wait, and the simulation sees nothing wrong")
	}
}
