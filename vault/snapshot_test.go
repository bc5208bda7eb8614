package vault_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/coin"
	"latchkey/vault"
	"latchkey/wire"
)

// snapshotOf takes a snapshot of the escrow, which does not change it.
func (w *world) snapshotOf(t testing.TB) vault.Snapshot {
	t.Helper()
	s, err := w.escrow.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.escrow.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, again); diff != "" {
		t.Errorf("a second snapshot of one moment (-first +second):\n%s", diff)
	}
	return s
}

// A snapshot of any moment and the entries since make the escrow that replayed all
// of them. Here every field that a snapshot has is set.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	w, _, _ := played(t)
	for _, size := range []int64{1, 2, 9, int64(len(w.entries))} {
		early, err := vault.NewEscrow(w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range w.entries[:size] {
			if err := early.Replay(raw); err != nil {
				t.Fatal(err)
			}
		}
		s, err := early.Snapshot()
		if size > 2 && int(size) < len(w.entries) { // the shares of then are gone
			if err == nil {
				t.Errorf("a snapshot of %d entries without shares", size)
			}
			continue
		}
		if int(size) == len(w.entries) {
			s = w.snapshotOf(t)
		} else if err != nil {
			t.Fatal(err)
		}
		if n, parts, err := vault.Cover(s.Cover); err != nil || n != size || s.Size != size || parts != len(s.Parts) {
			t.Errorf("the cover says %d entries in %d parts: %v", n, parts, err)
		}
		w.snapshot = &s
		w.restarted(t)
	}
	// A snapshot of what was restored is the same snapshot.
	x, err := w.restored(*w.snapshot)
	if err != nil {
		t.Fatal(err)
	}
	s, err := x.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*w.snapshot, s); diff != "" {
		t.Errorf("a snapshot of what was restored (-before +after):\n%s", diff)
	}
}

// A snapshot is due after enough entries, and not again right after it.
func TestSnapshotDue(t *testing.T) {
	t.Parallel()
	w, _, _ := played(t)
	if w.escrow.SnapshotDue() {
		t.Errorf("a snapshot is due after %d entries", w.escrow.Size())
	}
	w.cfg.SnapshotEvery = w.escrow.Size()
	e := w.restarted(t).escrow
	if !e.SnapshotDue() {
		t.Errorf("no snapshot is due after %d entries", e.Size())
	}
	s, err := e.Snapshot()
	if err != nil || e.SnapshotDue() {
		t.Errorf("a snapshot is due right after one: %v", err)
	}
	if e, err = w.restored(s); err != nil || e.SnapshotDue() {
		t.Errorf("a snapshot is due right after a start with one: %v", err)
	}
}

func TestSnapshotRefused(t *testing.T) {
	t.Parallel()
	w, _, _ := played(t)
	old := w.snapshotOf(t)
	for range 6 { // things go on
		w.witness()
		for _, c := range w.owners {
			c.sync()
			c.talk()
		}
	}
	w.enrolAnother(t)
	s := w.snapshotOf(t)
	if w.snapshot = &s; s.Size == old.Size {
		t.Fatal("nothing has happened")
	}
	w.restarted(t)
	other := newWorld(t, 1).snapshotOf(t)
	cover := func(change func(c *coverOf)) []byte {
		var c coverOf
		if err := wire.Unmarshal(s.Cover, &c); err != nil {
			t.Fatal(err)
		}
		change(&c)
		raw, err := wire.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for _, c := range []struct {
		name  string
		cover []byte
		parts [][]byte
		want  string
	}{
		{"no cover", nil, s.Parts, "decode"},
		{"a cover that is cut", s.Cover[:len(s.Cover)-1], s.Parts, "decode"},
		{"another version", cover(func(c *coverOf) { c.Version++ }), s.Parts, "version 3"},
		{"another size", cover(func(c *coverOf) { c.Size++ }), s.Parts, "it is of"},
		{"no parts", s.Cover, nil, "0 parts"},
		{"no parts at all", cover(func(c *coverOf) { c.Parts = nil }), nil, "a log of 0 entries"},
		{"a part too many", s.Cover, append(slices.Clone(s.Parts), s.Parts[0]), "2 parts"},
		{"a part that is cut", s.Cover, [][]byte{s.Parts[0][:len(s.Parts[0])-1]}, "not the one"},
		{"a part that is empty", s.Cover, [][]byte{nil}, "not the one"},
		{"a part that is damaged", s.Cover, [][]byte{flipped(s.Parts[0], len(s.Parts[0])/2)}, "not the one"},
		{"a part of an earlier time", s.Cover, old.Parts, "not the one"},
		{"a cover of an earlier time", old.Cover, s.Parts, "not the one"},
		{"a part of another escrow", s.Cover, other.Parts, "not the one"},
	} {
		e, err := vault.NewEscrow(w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Restore(c.cover, c.parts); !errors.Is(err, vault.ErrSnapshot) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if err := w.escrow.Restore(s.Cover, s.Parts); !errors.Is(err, vault.ErrSnapshot) {
		t.Errorf("a snapshot over a log that has begun: %v", err)
	}
	// An old snapshot with the entries since is as good as the newest. With shares
	// that are not of this moment, nothing starts.
	if _, err := w.restored(old); err != nil {
		t.Error(err)
	}
	whole := w.rows
	for k, v := range whole {
		if k[0] != 'b' {
			continue
		}
		w.rows = cloneRows(whole)
		w.rows[k] = flipped(v, len(v)-5)
		if _, err := w.restored(s); err == nil {
			t.Errorf("share row %x is another, and it starts", k[:5])
		}
		if _, err := w.restored(old); err == nil {
			t.Errorf("share row %x is another, and it starts with the old snapshot", k[:5])
		}
		delete(w.rows, k)
		if _, err := w.restored(s); err == nil || !strings.Contains(err.Error(), "missing") {
			t.Errorf("share row %x is missing: %v", k[:5], err)
		}
	}
	w.rows = whole
}

// coverOf is a cover, as it is encoded.
type coverOf struct {
	Version uint32      `cbor:"1,keyasint"`
	Size    int64       `cbor:"2,keyasint"`
	Parts   []wire.Hash `cbor:"3,keyasint"`
}

func flipped(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

func cloneRows(rows map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	for k, v := range rows {
		out[k] = v
	}
	return out
}

// enrolAnother lets one more vault in, so that the log has grown.
func (w *world) enrolAnother(t testing.TB) {
	t.Helper()
	b, err := w.escrow.Enrol(newIDs(t, "dave").identity, []byte("evidence"), wire.Hash{9})
	w.persist(b, err)
}

// No part makes the reader panic, whatever its cover says; and what it takes is
// written again as the same items.
func FuzzSnapshot(f *testing.F) {
	w, _, _ := played(f)
	s := w.snapshotOf(f)
	for _, p := range s.Parts {
		f.Add(p)
	}
	x := newWorld(f, 2)
	f.Add(x.snapshotOf(f).Parts[0])
	f.Fuzz(func(t *testing.T, part []byte) {
		for _, size := range []int64{s.Size, 0} {
			raw, err := wire.Marshal(coverOf{2, size, []wire.Hash{wire.HashBytes("latchkey/snapshot-part/v1", part)}})
			if err != nil {
				t.Fatal(err)
			}
			e, err := vault.NewEscrow(w.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Restore(raw, [][]byte{part}); err != nil && !errors.Is(err, vault.ErrSnapshot) {
				t.Errorf("refused without a reason: %v", err)
			}
			if err := e.Load(rowsOf(w.rows)); err != nil {
				continue
			}
			again, err := e.Snapshot()
			if err != nil {
				continue
			}
			back, err := vault.NewEscrow(w.cfg)
			if err == nil {
				err = back.Restore(again.Cover, again.Parts)
			}
			if err != nil {
				t.Fatalf("what was taken is not taken again: %v", err)
			}
			if err := back.Load(rowsOf(w.rows)); err != nil {
				t.Fatal(err)
			}
			if third, err := back.Snapshot(); err != nil || !bytes.Equal(again.Cover, third.Cover) {
				t.Errorf("what was taken again is another state: %v", err)
			}
		}
	})
}

// The name of an instance that is over is kept until its agreement cannot be locked
// any more and what was on its way has come; then the escrow forgets it. At no moment
// does the agreement make a second instance.
func TestOverIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	a := w.swapOf(alice.deposit(denomination("btc", coin.Secp256k1), 5, 1), bob.deposit(denomination("xmr", coin.Ed25519), 5, 1))
	short := w.accept(a)
	mine := alice.deposit(denomination("sol", coin.Ed25519), 1, 1)
	d := w.diary(mine)
	long := w.accept(d)
	ids := map[wire.InstanceID]vault.LockAsk{}
	for _, q := range []vault.LockAsk{short, long} {
		ans, err := w.escrow.Lock(q, w.rnd)
		if err != nil {
			t.Fatal(err)
		}
		w.persist(ans.Block, nil)
		ids[ans.Reply.Locked.Instance] = q
	}
	w.run()
	over := func(size int64, names ...string) {
		t.Helper()
		for id, q := range ids {
			want := names[0]
			if bytes.Equal(q.Agreement.Source, d.Source) {
				want = names[1]
			}
			if got := w.escrow.InstanceState(id); got != want {
				t.Errorf("at %d, instance of %d: %s, want %s", w.escrow.Now(), q.Agreement.LockBy, got, want)
			}
			ans, err := w.escrow.Lock(q, w.rnd)
			switch known := want != "none"; {
			case known && (err != nil || ans.Reply.Locked.Instance != id), !known && !errors.Is(err, vault.ErrExpired), len(ans.Block.Entries) > 0:
				t.Errorf("at %d, %s: locked again with %d entries: %v", w.escrow.Now(), want, len(ans.Block.Entries), err)
			}
		}
		if w.escrow.Size() != size {
			t.Errorf("%d entries, want %d", w.escrow.Size(), size)
		}
		s := w.snapshotOf(t)
		back, err := w.restored(s)
		if err != nil {
			t.Fatal(err)
		}
		if diff := vault.Differs(w.escrow, back); diff != "" {
			t.Errorf("at %d a snapshot is of another state (-was +is):\n%s", w.escrow.Now(), diff)
		}
	}
	pass := func(at int64, index vault.Index) {
		t.Helper()
		if err := w.escrow.Pass(at, index); err != nil {
			t.Fatal(err)
		}
	}
	const every = vault.ForgetEvery
	size := w.escrow.Size()
	over(size, "settled", "open")
	pass(a.LockBy-1, every)
	over(size, "settled", "open")
	pass(a.LockBy+60, 2*every)
	over(size, "settled", "open")
	pass(a.LockBy+61, 2*every+1)
	over(size, "settled", "open")
	pass(a.LockBy+61, 3*every)
	over(size, "none", "open")

	// What ends long after its lock is kept as long from its end.
	w.now += 3 * 86400
	w.witness()
	b, err := w.escrow.Due(w.rnd)
	w.persist(b, err)
	ended := w.escrow.Now()
	size = w.escrow.Size()
	over(size, "none", "settled")
	pass(ended+60, 4*every)
	over(size, "none", "settled")
	pass(ended+61, 5*every)
	over(size, "none", "none")
}
