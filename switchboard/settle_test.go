package switchboard_test

import (
	"encoding/json"
	"errors"
	"testing"

	"latchkey/market"
	"latchkey/settle"
	"latchkey/switchboard"
	"latchkey/vault"
	"latchkey/wire"
)

// inTurn brings a swap of two chunks a side, settled step by step, to its first
// step.
func inTurn(t *testing.T) (w *world, alice, bob *client) {
	t.Helper()
	w, alice, bob = pair(t)
	for _, x := range []struct {
		c *client
		o market.Offer
	}{{alice, alice.offer(0, btc, xmr, 10)}, {bob, bob.offer(1, xmr, btc, 10)}} {
		x.o.Settle, x.o.Pace = market.TitForTat, &settle.Pace{First: 5, Growth: 100, Most: 5, Wait: 600}
		if err := x.c.board.Place(t.Context(), x.o); err != nil {
			t.Fatal(err)
		}
	}
	na, nb := alice.next(), bob.next()
	a := alice.accept(na)
	bob.accept(nb)
	if a.Settle != vault.TitForTat || a.Pace == nil || *a.Pace != *na.Proposal.Pace {
		t.Fatalf("they sign %d at pace %v", a.Settle, a.Pace)
	}
	ga := alice.next()
	bob.next()
	w.lock(a, ga.Accepted)
	w.run()
	return w, alice, bob
}

// took has a client's vault speak of the step that waits for it.
func (c *client) took(t *testing.T, failed bool) {
	t.Helper()
	c.w.mu.Lock()
	rows, err := c.o.Took(c.o.Instances()[0].ID, failed)
	c.keep(rows, err)
	c.w.mu.Unlock()
	c.w.run()
}

// ended waits for the end of a proposal.
func (c *client) ended() market.EndedNotice {
	c.w.t.Helper()
	for {
		for _, n := range c.poll() {
			if n.Ended != nil {
				return *n.Ended
			}
		}
	}
}

func (c *client) status(t *testing.T) (s switchboard.ClientStatus) {
	t.Helper()
	r, err := c.board.Status(t.Context())
	if err == nil {
		err = json.Unmarshal([]byte(r.Json), &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The market hears of the end when the instance is settled, not when it is
// closed; what was claimed in between is gone by then.
func TestSettledNotClosed(t *testing.T) {
	w, alice, bob := inTurn(t)
	w.mu.Lock()
	in := bob.o.Instances()[0]
	rows, err := bob.o.Claim(in.Open)
	bob.keep(rows, err)
	w.mu.Unlock()
	w.run() // the claim counts as his word: the second step goes to alice
	w.eventually(func() error {
		if int(w.describe().Followed) != len(w.entries) {
			return errors.New("not followed yet")
		}
		return nil
	})
	s := alice.status(t)
	if len(s.Proposals) != 1 || s.Proposals[0].Stage != "locked" {
		t.Fatalf("closed and not settled, the market has %+v", s.Proposals)
	}
	alice.took(t, false)
	bob.took(t, false)
	for _, c := range []*client{alice, bob} {
		if e := c.ended(); e.Outcome != market.Done || e.Why != market.ContractClosed {
			t.Fatalf("ended with %+v", e)
		}
	}
	claimed := map[wire.ChunkID]bool{}
	for _, id := range in.Open {
		claimed[id] = true
	}
	for _, c := range bob.status(t).Chunks {
		if claimed[c.Chunk] && c.Place != "claimed" {
			t.Errorf("bob's claimed chunk is %s at the market", c.Place)
		}
	}
}

func TestFailedStepIsNoSuccess(t *testing.T) {
	_, alice, bob := inTurn(t)
	bob.took(t, true)
	for _, c := range []*client{alice, bob} {
		if e := c.ended(); e.Why != market.StepFailed || len(e.Fault) != 0 {
			t.Fatalf("ended with %+v", e)
		}
	}
	if r := alice.status(t).Client.Reputation; r.Successes != 0 || r.Complaints != 1 {
		t.Errorf("alice, whose chunk was reported: %+v", r)
	}
	if r := bob.status(t).Client.Reputation; r.Successes != 0 || r.Complaints != 0 {
		t.Errorf("bob, who reported it: %+v", r)
	}
}
