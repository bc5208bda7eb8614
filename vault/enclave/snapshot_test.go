package enclave_test

import (
	"bytes"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// grown returns a world whose escrow has a snapshot behind it and entries after it.
func grown(t *testing.T) *world {
	t.Helper()
	w := newWorldWith(t, 2, 3)
	w.deposit(w.owners[0], denomination("btc", coin.Secp256k1), 2)
	w.deposit(w.owners[1], denomination("xmr", coin.Ed25519), 1)
	q, err := w.accept(w.agreement())
	if err != nil {
		t.Fatal(err)
	}
	w.escrow.must(enclave.Call{Tick: &enclave.Tick{}})
	w.escrow.must(enclave.Call{Lock: &q})
	if n := w.escrow; n.from == 0 || n.from >= int64(len(n.entries)) {
		t.Fatalf("the newest snapshot is of %d entries, the log has %d", n.from, len(n.entries))
	}
	return w
}

func partsOf(rows map[string][]byte) (names []string) {
	for k := range rows {
		if strings.HasPrefix(k, "part/") {
			names = append(names, k)
		}
	}
	return names
}

// A start goes on from the newest snapshot, or from the whole log if that is what
// the host brings, and from nothing else.
func TestSnapshotStart(t *testing.T) {
	w := grown(t)
	old := w.escrow.copy()
	for range 3 { // a later snapshot, and entries after it
		w.more(w.owners[0], denomination("btc", coin.Secp256k1), 1)
		w.run()
		w.escrow.must(enclave.Call{Tick: &enclave.Tick{}})
		w.more(w.owners[1], denomination("xmr", coin.Ed25519), 1)
		w.run()
	}
	if w.escrow.from <= old.from {
		t.Fatal("there is no later snapshot")
	}
	if n := len(partsOf(w.escrow.rows)); n != 1 {
		t.Errorf("%d parts are stored, want those of the newest snapshot", n)
	}
	part, oldPart := partsOf(w.escrow.rows)[0], partsOf(old.rows)[0]
	for _, c := range []struct {
		name   string
		change func(n *node)
		want   string
	}{
		{"as it is", func(*node) {}, ""},
		{"the whole log", func(n *node) { n.from = 0 }, ""},
		{"the whole log, and no part", func(n *node) { n.from = 0; delete(n.rows, part) }, ""},
		{"a part of no snapshot", func(n *node) { n.rows["part/"] = []byte("x"); n.rows[oldPart] = old.rows[oldPart] }, ""},
		{"from an entry too far", func(n *node) { n.from++ }, "no snapshot is of those before"},
		{"from an entry too early", func(n *node) { n.from-- }, "no snapshot is of those before"},
		{"from where the snapshot before was", func(n *node) { n.from = old.from; n.rows[oldPart] = old.rows[oldPart] }, "no snapshot is of those before"},
		{"nothing of the log", func(n *node) { n.from = int64(len(n.entries)) }, "no snapshot is of those before"},
		{"no part", func(n *node) { delete(n.rows, part) }, "not the one that was written"},
		{"the part is damaged", func(n *node) { n.rows[part][len(n.rows[part])/2] ^= 1 }, "not the one that was written"},
		{"the part is cut", func(n *node) { n.rows[part] = n.rows[part][:9] }, "not the one that was written"},
		{"a part of an earlier time", func(n *node) { n.rows[part] = old.rows[oldPart] }, "not the one that was written"},
		{"the cover is of an earlier time", func(n *node) { n.rows["snapshot"] = old.rows["snapshot"] }, "stored rows do not open"},
		{"cover and part are of an earlier time", func(n *node) {
			n.rows["snapshot"], n.rows[oldPart], n.from = old.rows["snapshot"], old.rows[oldPart], old.from
		}, "stored rows do not open"},
		{"no cover", func(n *node) { delete(n.rows, "snapshot") }, "rows are missing"},
		{"an entry after it is another", func(n *node) { n.entries[len(n.entries)-1] = n.entries[len(n.entries)-2] }, ""},
		{"entries after it in another order", func(n *node) {
			last := len(n.entries) - 1
			n.entries[last], n.entries[last-1] = n.entries[last-1], n.entries[last]
		}, ""},
	} {
		n := w.escrow.copy()
		c.change(n)
		err := n.start()
		switch {
		case strings.HasPrefix(c.name, "an entr") || strings.HasPrefix(c.name, "entries"):
			if err == nil {
				t.Errorf("%s: it starts", c.name)
			}
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want == "":
			if n.status.Size != int64(len(n.entries)) {
				t.Errorf("%s: it starts with %d entries of %d", c.name, n.status.Size, len(n.entries))
			}
			for _, k := range partsOf(n.rows) { // what no cover names is let go
				if k != part {
					t.Errorf("%s: part %q is still there", c.name, k)
				}
			}
			again := n.copy()
			if err := again.start(); err != nil && c.name != "the whole log, and no part" {
				t.Errorf("%s: and once more: %v", c.name, err)
			}
		}
	}
	w.restart()
	w.run()
	w.restart()
}

// A crash between a snapshot and the next commit, at any of them, loses nothing.
func TestSnapshotCrash(t *testing.T) {
	w := grown(t)
	for range 4 {
		n := w.escrow
		n.hold = true
		n.send(enclave.Call{Tick: &enclave.Tick{}})
		n.send(enclave.Call{Tick: &enclave.Tick{}})
		waiting := n.waiting
		n.hold = false
		for keep := range len(waiting) + 1 {
			c := n.copy()
			c.e, c.hold = n.e, true
			for _, m := range waiting[:keep] {
				c.entries, c.from = append(c.entries, m.Entries...), max(c.from, m.From)
				for _, r := range m.Rows {
					if r.Value == nil {
						delete(c.rows, string(r.Key))
					} else {
						c.rows[string(r.Key)] = bytes.Clone(r.Value)
					}
				}
				if m.More {
					continue // a commit is whole or not there
				}
			}
			if keep > 0 && waiting[keep-1].More {
				continue
			}
			c.hold = false
			if err := c.start(); err != nil {
				t.Errorf("after %d of %d messages: %v", keep, len(waiting), err)
			}
		}
		n.store()
		w.witness()
		w.more(w.owners[0], denomination("btc", coin.Secp256k1), 1)
		w.run()
	}
	w.run()
	w.restart()
}

// land makes the commit durable that waits first, and returns it with its parts.
func (n *node) land() (c enclave.Commit, parts int) {
	n.t.Helper()
	for i, m := range n.waiting {
		raw, err := wire.Marshal(enclave.Message{Commit: &n.waiting[i]})
		if err != nil || len(raw) > wire.MaxSize {
			n.t.Fatalf("a message of %d bytes: %v", len(raw), err)
		}
		for _, r := range m.Rows {
			if strings.HasPrefix(string(r.Key), "part/") && r.Value != nil {
				parts++
			}
		}
		c.Number, c.Rows, c.Entries, c.From = m.Number, append(c.Rows, m.Rows...), m.Entries, m.From
		if m.More {
			continue
		}
		n.waiting = n.waiting[i+1:]
		for _, r := range c.Rows {
			if r.Value == nil {
				delete(n.rows, string(r.Key))
			} else {
				n.rows[string(r.Key)] = r.Value
			}
		}
		n.entries, n.from = append(n.entries, c.Entries...), max(n.from, c.From)
		n.take(n.e.Handle(enclave.Call{Durable: &enclave.Durable{Commit: c.Number}}))
		return c, parts
	}
	n.t.Fatal("no commit waits")
	return c, parts
}

// A snapshot of many parts is stored by commits of its own, one after the other, as
// long as none other is on its way; with those that answers wait for goes one part.
// Until the last is durable a start goes on from the snapshot before.
func TestSnapshotParts(t *testing.T) {
	const vaults = 1050 // five parts and more
	w := newWorldWith(t, 0, vaults)
	n := w.escrow
	for range vaults {
		if _, err := w.greet(w.owner(w.program("A", goodBuild))); err != nil {
			t.Fatal(err)
		}
	}
	if n.from != 0 {
		t.Fatal("a snapshot was taken before the tick")
	}
	starts := func(from int64) {
		t.Helper()
		c := n.copy()
		if err := c.start(); err != nil || c.status.Size != int64(len(n.entries)) || c.from != from {
			t.Fatalf("from entry %d of %d, want %d: %v", c.from, len(n.entries), from, err)
		}
	}
	stranger := w.owner(w.program("A", goodBuild))
	hello := stranger.must(enclave.Call{Hello: &enclave.Nothing{}})
	n.hold = true
	n.send(enclave.Call{Tick: &enclave.Tick{}})
	if _, parts := n.land(); parts != 1 {
		t.Errorf("the tick's commit has %d parts, want 1", parts)
	}
	starts(0)
	// One of its own is on its way. A call does not wait for more of them than this.
	call := n.send(enclave.Call{Greet: &enclave.Raw{Bytes: hello.Bytes}})
	own, parts := n.land()
	if parts < 2 || len(own.Entries) != 0 || len(own.Head) != 0 {
		t.Errorf("a commit of its own has %d parts and %d entries", parts, len(own.Entries))
	}
	for _, m := range n.waiting {
		if m.Number != own.Number+1 {
			t.Errorf("commit %d of its own is made while that of a call is on its way", m.Number)
		}
	}
	starts(0)
	asked, parts := n.land()
	if _, ok := n.results[call]; !ok || asked.Number != own.Number+1 || len(asked.Entries) != 1 || parts > 1 {
		t.Errorf("a call's commit is number %d with %d entries and %d parts, answered %t", asked.Number, len(asked.Entries), parts, ok)
	}
	for len(n.waiting) > 0 {
		if n.from != 0 {
			t.Fatal("commits go on after the snapshot")
		}
		starts(0)
		if _, parts := n.land(); parts == 0 {
			t.Error("a commit of nothing")
		}
	}
	if n.from != vaults+1 || len(partsOf(n.rows)) < 5 {
		t.Errorf("the snapshot is of %d entries in %d parts", n.from, len(partsOf(n.rows)))
	}
	starts(vaults + 1)
}
