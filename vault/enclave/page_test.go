package enclave_test

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/vault"
	"latchkey/vault/enclave"
)

// proxy serves a node's vault over a socket, as its program does.
func proxy(t *testing.T, n *node) *enclave.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		for {
			var c enclave.Call
			if enclave.ReadFrame(conn, &c) != nil {
				return
			}
			for _, m := range n.e.Handle(c) {
				if enclave.WriteFrame(conn, m) != nil {
					return
				}
			}
		}
	}()
	c, err := enclave.Dial(t.Context(), path, func(enclave.Commit) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A vault that has followed many chunks tells of them page by page: a status of all
// in one message, from some thousand on, would end the vault at each of its starts.
func TestStatusPages(t *testing.T) {
	w := newWorld(t, 1)
	o := w.owners[0]
	d := denomination("xmr", coin.Ed25519)
	w.more(o, d, 2000)
	w.more(o, d, 7)
	w.more(o, d, 500)
	first := o.must(enclave.Call{Status: &enclave.Nothing{}}).Status
	if len(first.Chunks) != 1024 || !first.More || len(first.Certs) == 0 {
		t.Errorf("the first page has %d chunks and %d certificates, and more: %t", len(first.Chunks), len(first.Certs), first.More)
	}
	s, err := proxy(t, o).Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Chunks) != 2507 || s.More || !slices.IsSortedFunc(s.Chunks, func(a, b enclave.ChunkStatus) int { return slices.Compare(a.ID[:], b.ID[:]) }) {
		t.Errorf("all pages have %d chunks, more: %t; want 2507, in order", len(s.Chunks), s.More)
	}
	for _, c := range s.Chunks {
		if id, err := c.Cert.ID(); err != nil || id != c.Chunk.Cert {
			t.Fatalf("chunk %s came without its certificate", c.ID.Short())
		}
	}
}

// What an owner has to say at once fits into a message; the rest follows.
func TestTalkIsBounded(t *testing.T) {
	w := newWorld(t, 1)
	o := w.owners[0]
	const batches, n = 8, 800
	for range batches {
		o.must(enclave.Call{Batch: &vault.BatchSpec{Denomination: denomination("xmr", coin.Ed25519), Weight: 5, N: n, Expiry: w.now + 80*86400}})
	}
	w.talk(o) // begins all
	said := o.must(enclave.Call{Talk: &enclave.Nothing{}}).Talk
	size := 0
	for _, s := range said {
		size += len(s.Frame)
	}
	if len(said) == 0 || len(said) == batches || size > 2<<20 {
		t.Errorf("%d of %d openings are said at once, in %d bytes", len(said), batches, size)
	}
	for _, s := range said { // lost on the way: said again
		o.must(enclave.Call{Heard: &enclave.Heard{N: s.N}})
	}
	w.run()
	s, err := proxy(t, o).Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Chunks) != batches*n {
		t.Errorf("%d chunks are made, want %d", len(s.Chunks), batches*n)
	}
}

// All that comes due at one moment goes out in commits that messages hold, and a
// tick that leaves some of it lets the next go on.
func TestTickIsBounded(t *testing.T) {
	const n, instances = 700, 4
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	d := denomination("xmr", coin.Ed25519)
	w.more(alice, d, n*instances)
	w.more(bob, d, instances)
	left, right := alice.chunks(), bob.chunks()
	stakes := func(cs []enclave.ChunkStatus) (pot []vault.Stake, sum int64) {
		for _, c := range cs {
			pot, sum = append(pot, vault.Stake{Chunk: c.ID, Weight: c.Chunk.Weight}), sum+int64(c.Chunk.Weight)
		}
		return pot, sum
	}
	for i := range instances {
		a := w.agreement()
		a.Source = []byte(strings.ReplaceAll(swap, "1..1000", "1..10000"))
		a.Pots[0], a.Terms[0] = stakes(left[i*n : (i+1)*n])
		a.Pots[1], a.Terms[1] = stakes(right[i : i+1])
		q, err := w.accept(a)
		if err != nil {
			t.Fatal(err)
		}
		w.escrow.must(enclave.Call{Lock: &q})
	}
	w.now += 3600
	w.witness() // the clock goes on with the head that this tick signs
	back, ticks := 0, 0
	for seen := len(w.escrow.entries); back < instances*(n+1) && ticks < 10; ticks++ {
		w.witness()
		for ; seen < len(w.escrow.entries); seen++ {
			e, err := vault.ParseOwn(w.escrow.entries[seen])
			if err != nil {
				t.Fatal(err)
			}
			if e.Run != nil {
				back += len(e.Run.Exits)
			}
		}
	}
	if back != instances*(n+1) || ticks != 2 {
		t.Errorf("%d of %d chunks went back in %d ticks, want all in 2", back, instances*(n+1), ticks)
	}
}
