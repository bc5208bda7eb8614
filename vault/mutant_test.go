package vault_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"latchkey/coin"
	"latchkey/head"
	"latchkey/vault"
	"latchkey/wire"
)

// A broken escrow changes one thing in one entry: a number, a byte, an element.
// A vault that is shown it does what the right entry would have made it do, or
// nothing; never a third thing.
func TestMutatedEntries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	tried, refused := 0, 0
	w.shown = func(c *client, p int64) {
		before := c.books()
		right := c.shadow(p, w.entries[p])
		rightly, err := right.observe(p)
		if err != nil {
			t.Fatalf("entry %d as it is: %v", p, err)
		}
		save(right.rows, rightly)
		after := right.books()
		for _, m := range mutants(t, w.entries[p]) {
			if e, err := vault.ParseEntry(m); err != nil || e.Hand != nil {
				continue // that somebody left shares is the escrow's word; what counts are the shares
			}
			tried++
			s := c.shadow(p, m)
			if _, err := s.observe(p); err != nil {
				refused++
				if got := s.books(); got != before {
					t.Errorf("entry %d, mutated: %s refused it and changed: %v", p, c.name, err)
				}
			} else if got := s.books(); got != before && got != after {
				t.Errorf("entry %d, mutated: %s took it for something else:\n%s", p, c.name, diffOf(w.entries[p], m))
			}
		}
	}
	left := alice.deposit(denomination("sol", coin.Ed25519), 5, 2)
	right := bob.deposit(denomination("xmr", coin.Ed25519), 10, 1)
	w.agree(w.swapOf(left, right))
	w.run()
	mine := alice.deposit(denomination("xmr", coin.Ed25519), 1, 1)
	id := w.agree(w.diary(mine))
	w.run()
	_, rows, err := alice.o.Say(id, "alive", 0, false)
	alice.keep(rows, err)
	w.run()
	w.now += 3 * 86400
	w.witness()
	for range 2 {
		b, err := w.escrow.Due(w.rnd)
		w.persist(b, err)
	}
	w.run()
	alice.keep(alice.o.Claim(right))
	w.run()
	alice.keep(alice.o.Swept(right))
	w.run()
	last, next := alice.deposit(denomination("sol", coin.Ed25519), 5, 2), bob.deposit(denomination("xmr", coin.Ed25519), 5, 2)
	id = w.agree(w.inTurn(last, next)) // step by step: one taken, one lapsed, one failed
	w.run()
	bob.keep(bob.o.Took(id, false))
	w.run()
	w.later(63)
	bob.keep(bob.o.Took(id, true))
	w.run()
	l := &lending{world: w, lender: alice, borrower: bob, wait: 86400} // one deposit that counts, and one that goes back
	l.money, l.coins = alice.deposit(denomination("btc", coin.Secp256k1), 5, 2), bob.deposit(denomination("sol", coin.Ed25519), 10, 1)
	l.back = bob.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	l.id = w.agree(l.agreement())
	w.run()
	l.part(0)
	l.part(1)
	w.later(603)
	if tried < 500 || refused < tried/2 {
		t.Errorf("%d mutants tried, %d refused: too few to mean anything", tried, refused)
	}
}

// shadow returns a copy of the client whose escrow's log ends with another entry
// at position p, witnessed.
func (c *client) shadow(p int64, raw []byte) *client {
	t := c.w.t
	w := *c.w
	w.entries = append(c.w.entries[:p:p], raw)
	w.hashes = c.w.hashes[:tlog.StoredHashIndex(0, p):tlog.StoredHashIndex(0, p)]
	h, err := tlog.StoredHashes(p, raw, w.reader())
	if err != nil {
		t.Fatal(err)
	}
	w.hashes = append(w.hashes, h...)
	w.witnesses = append([]witness(nil), c.w.witnesses[:3]...)
	for i := range w.witnesses {
		w.witnesses[i].seen = head.Seen{}
	}
	s := *c
	s.w, s.rows = &w, maps.Clone(c.rows)
	if s.o, err = vault.NewOwner(c.cfg); err != nil {
		t.Fatal(err)
	}
	if err := s.o.Load(rowsOf(s.rows)); err != nil {
		t.Fatal(err)
	}
	w.seal()
	s.advance()
	return &s
}

// books says what a vault believes of chunks and instances.
func (c *client) books() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%v %x\n", c.o.Pledges(), encoded(c.w.t, c.o.Instances())) // not printed: an instance has a pointer
	for _, id := range c.o.Chunks() {
		x, _ := c.o.Chunk(id)
		raw, err := wire.Marshal(x)
		if err != nil {
			c.w.t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %x\n", id, raw)
	}
	return b.String()
}

// mutants returns an entry with each of its parts changed in turn.
func mutants(t *testing.T, raw []byte) (out [][]byte) {
	var tree any
	if err := wire.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	emit := func() {
		if b, err := wire.Marshal(tree); err == nil && !bytes.Equal(b, raw) {
			out = append(out, b)
		}
	}
	var walk func(v any, set func(any))
	walk = func(v any, set func(any)) {
		try := func(x any) { set(x); emit(); set(v) }
		switch v := v.(type) {
		case uint64:
			try(v + 1)
			try(v - 1)
			try(uint64(0))
			try(uint64(1 << 62))
		case int64:
			try(int64(0))
		case bool:
			try(!v)
		case string:
			try(v + "x")
		case []byte:
			for _, i := range []int{0, len(v) / 2, len(v) - 1} {
				if len(v) > 0 {
					x := bytes.Clone(v)
					x[i] ^= 1
					try(x)
				}
			}
			try([]byte{})
		case []any:
			try([]any{})
			if len(v) > 1 {
				try(v[1:])
				try(v[:len(v)-1])
				x := append([]any(nil), v...)
				x[0], x[len(x)-1] = x[len(x)-1], x[0]
				try(x)
			}
			if len(v) > 0 {
				try(append(append([]any(nil), v...), v[0]))
			}
			for i := range v {
				walk(v[i], func(x any) { v[i] = x })
			}
		case map[any]any:
			keys := slices.SortedFunc(maps.Keys(v), func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			for _, k := range keys {
				old := v[k]
				delete(v, k)
				emit()
				v[k] = old
				walk(old, func(x any) { v[k] = x })
			}
		}
	}
	walk(tree, func(x any) { tree = x })
	return out
}

func diffOf(a, b []byte) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	return fmt.Sprintf("from byte %d: %x…, was %x…", i, b[i:min(len(b), i+40)], a[i:min(len(a), i+40)])
}

func encoded(t testing.TB, v any) []byte {
	t.Helper()
	b, err := wire.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
