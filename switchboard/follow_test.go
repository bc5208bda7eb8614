package switchboard_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/escrow"
	"latchkey/event"
	"latchkey/head"
	"latchkey/market"
	"latchkey/switchboard/switchboardpb"
	"latchkey/vault"
	"latchkey/wire"
)

func (w *world) describe() *switchboardpb.DescribeResponse {
	w.t.Helper()
	d, err := switchboardpb.NewSwitchboardServiceClient(plain(), w.url).Describe(w.t.Context(), &switchboardpb.DescribeRequest{})
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// forge makes a head of any log with the escrow's key and some witnesses, who
// remember nothing.
func (w *world) forge(entries [][]byte, witnesses int) []byte {
	w.t.Helper()
	var f head.Frontier
	for _, e := range entries {
		if err := f.Append(e); err != nil {
			w.t.Fatal(err)
		}
	}
	signed, err := head.SignCheckpoint(head.Checkpoint{Origin: w.group.Log.Name(), Size: f.Size(), Root: f.Root()}, w.keys.sign)
	if err != nil {
		w.t.Fatal(err)
	}
	note := signed
	for _, x := range w.witnesses[:witnesses] {
		c, err := head.Decide(w.group.Log, head.Seen{}, head.Request{Signed: signed}, w.now.Load())
		if err != nil {
			w.t.Fatal(err)
		}
		line, err := c.Cosign(x.name, x.key)
		if err != nil {
			w.t.Fatal(err)
		}
		note = append(note, line...)
	}
	return note
}

// A switchboard that is shown another log, or heads without a quorum, says so and
// follows nothing of it; when the true log comes back, it goes on.
func TestFalseLogs(t *testing.T) {
	w := newWorld(t, 1)
	c := w.clients[0]
	c.enrol()
	c.deposit(btc, 1, 4)
	size := int64(len(w.entries))
	w.eventually(func() error {
		if n := w.describe().Followed; n != size {
			return errors.New("not followed yet")
		}
		return nil
	})
	stranger, err := wire.Marshal(vault.Entry{Drop: &vault.Drop{Batch: wire.Hash{9}}})
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	longer := append(append([][]byte{}, w.entries...), stranger)
	forked := append(append([][]byte{}, w.entries[:size-1]...), stranger, stranger)
	rubbish := append(append([][]byte{}, w.entries...), []byte("rubbish"))
	w.mu.Unlock()
	for _, x := range []struct {
		name string
		show escrow.Page
		err  error
		want string
	}{
		{"host down", escrow.Page{}, errors.New("connection refused"), "connection refused"},
		{"no head", escrow.Page{}, nil, "no witnessed head yet"},
		{"no quorum", escrow.Page{Head: w.forge(longer, 2), Entries: longer[size:]}, nil, "no quorum"},
		{"a fork", escrow.Page{Head: w.forge(forked, 4), Entries: forked[size:]}, nil, "contradicts itself"},
		{"another entry", escrow.Page{Head: w.forge(longer, 4), Entries: [][]byte{w.entries[0]}}, nil, "contradicts itself"},
		{"too many entries", escrow.Page{Head: w.forge(longer, 4), Entries: [][]byte{stranger, stranger}}, nil, "under a head of"},
		{"no proof", escrow.Page{Head: w.forge(append(longer, stranger), 4), Entries: longer[size:]}, nil, "does not continue"},
		{"no entry", escrow.Page{Head: w.forge(rubbish, 4), Entries: rubbish[size:]}, nil, "not a log entry"},
	} {
		w.mu.Lock()
		w.show = func(int64, escrow.Page) (escrow.Page, error) { return x.show, x.err }
		w.mu.Unlock()
		w.eventually(func() error {
			d := w.describe()
			if d.Followed != size {
				t.Fatalf("%s: followed up to %d, want %d", x.name, d.Followed, size)
			}
			if p := strings.Join(d.Problems, "; "); !strings.Contains(p, x.want) {
				return errors.New(x.name + ": problems: " + p)
			}
			return nil
		})
	}
	w.mu.Lock()
	w.show = nil
	w.mu.Unlock()
	c.deposit(btc, 1, 1)
	if d := w.describe(); len(d.Problems) != 0 || d.Followed <= size {
		t.Errorf("afterwards: followed %d, problems %q", d.Followed, d.Problems)
	}
}

// Folding all events gives the state that the newest snapshot and the events
// after it give.
func TestReplayEqualsLive(t *testing.T) {
	w, alice, bob := pair(t)
	propose(t, alice, bob)
	na, nb := alice.next(), bob.next()
	a := alice.accept(na)
	bob.accept(nb)
	w.lock(a, alice.next().Accepted)
	w.run()
	w.eventually(func() error {
		r, err := alice.board.Status(t.Context())
		if err == nil && !strings.Contains(r.Json, `"successes":1`) {
			err = errors.New(r.Json)
		}
		return err
	})
	w.stop()
	log, err := w.disk.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	fold := func(s event.Snapshot) []byte {
		m, err := market.New(w.cfg.Market)
		if err == nil && s.Next > 0 {
			m, err = market.Restore(w.cfg.Market, s.State)
		}
		if err != nil {
			t.Fatal(err)
		}
		for raw, err := range log.Read(t.Context(), s.Next) {
			if err != nil {
				t.Fatal(err)
			}
			e, err := market.ParseEvent(raw)
			if err == nil {
				err = m.Apply(e)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		out, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	s, err := event.LoadSnapshot(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	if s.Next == 0 {
		t.Fatal("no snapshot was made")
	}
	if diff := cmp.Diff(fold(event.Snapshot{}), fold(s)); diff != "" {
		t.Errorf("from the snapshot and from the beginning (-beginning +snapshot):\n%s", diff)
	}
}
