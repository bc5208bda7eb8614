package key

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/wire"
)

func testBatch(kt coin.KeyType, n uint32) Batch {
	return Batch{
		ID: wire.HashBytes("test", []byte("batch")), Type: kt, N: n,
		Owner: wire.VaultID(wire.HashBytes("test", []byte("owner"))), Escrow: wire.VaultID(wire.HashBytes("test", []byte("escrow"))),
	}
}

func TestBatchCheck(t *testing.T) {
	for _, test := range []struct {
		want   string
		change func(*Batch)
	}{
		{"without an id", func(b *Batch) { b.ID = wire.Hash{} }},
		{"unknown key type 0", func(b *Batch) { b.Type = 0 }},
		{"unknown key type 9", func(b *Batch) { b.Type = 9 }},
		{"0 keys, want 1 to 4096", func(b *Batch) { b.N = 0 }},
		{"4097 keys, want 1 to 4096", func(b *Batch) { b.N = MaxBatch + 1 }},
		{"no owner", func(b *Batch) { b.Owner = wire.VaultID{} }},
		{"no escrow", func(b *Batch) { b.Escrow = wire.VaultID{} }},
		{"both owner and escrow", func(b *Batch) { b.Owner = b.Escrow }},
	} {
		b := testBatch(coin.Ed25519, 2)
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		test.change(&b)
		_, _, e2 := b.Generate(Owner, newStream("x"))
		_, e3 := b.Prove(Owner, nil, newStream("x"))
		_, e4 := b.CheckHalf(Owner, Half{})
		for i, err := range []error{b.Check(), e2, e3, e4} {
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("case %d: got %v, want an error with %q", i, err, test.want)
			}
		}
	}
}

func TestProveRefuses(t *testing.T) {
	b := testBatch(coin.Ed25519, 2)
	e1, e2, s := mustShare(t, coin.Ed25519, newStream("1")), mustShare(t, coin.Ed25519, newStream("2")), mustShare(t, coin.Secp256k1, newStream("3"))
	for _, test := range []struct {
		want   string
		role   Role
		shares []Share
		rand   string
	}{
		{"1 shares for 2 keys", Owner, []Share{e1}, strings.Repeat("x", 64)},
		{"3 shares for 2 keys", Owner, []Share{e1, e2, e1}, strings.Repeat("x", 96)},
		{"share 1 is none, or not of ed25519", Owner, []Share{e1, s}, strings.Repeat("x", 64)},
		{"share 0 is none, or not of ed25519", Owner, []Share{{}, e2}, strings.Repeat("x", 64)},
		{"unknown role 0", 0, []Share{e1, e2}, strings.Repeat("x", 64)},
		{"unknown role 3", 3, []Share{e1, e2}, strings.Repeat("x", 64)},
		{"read randomness", Owner, []Share{e1, e2}, strings.Repeat("x", 63)},
	} {
		if c, err := b.Prove(test.role, test.shares, strings.NewReader(test.rand)); err == nil || !strings.Contains(err.Error(), test.want) || c.half.Points != nil {
			t.Errorf("got %v, want an error with %q", err, test.want)
		}
	}
	again, err := b.Prove(Escrow, []Share{e1, e2}, newStream("again"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.CheckHalf(Escrow, again.Half()); err != nil {
		t.Errorf("proofs made again: %v", err)
	}
}

// The result does not depend on how many cores there are, and the first error in
// order is the one that is told.
func TestCoresDoNotMatter(t *testing.T) {
	b := testBatch(coin.Ed25519, 200)
	var halves []Half
	for _, cores := range []int{1, 2, 5} {
		before := runtime.GOMAXPROCS(cores)
		_, c, err := b.Generate(Owner, newStream("cores"))
		if err != nil {
			t.Fatal(err)
		}
		h := c.Half()
		halves = append(halves, h)
		bad := Half{h.Points, slices.Clone(h.Proofs)}
		for _, i := range []int{199, 150, 30, 77} {
			bad.Proofs[i] = h.Proofs[0]
		}
		if _, err := b.CheckHalf(Owner, bad); !errors.Is(err, ErrProof) || !strings.Contains(err.Error(), "owner 30 of batch") {
			t.Errorf("%d cores: got %v, want ErrProof for 30", cores, err)
		}
		for n := range 200 {
			called := make([]int, n)
			err := each(n, 16, func(i, j int) error {
				for ; i < j; i++ {
					called[i]++
				}
				return nil
			})
			if err != nil || slices.ContainsFunc(called, func(c int) bool { return c != 1 }) {
				t.Fatalf("%d cores: each(%d) calls %v, %v", cores, n, called, err)
			}
		}
		runtime.GOMAXPROCS(before)
	}
	for _, h := range halves[1:] {
		if !slices.Equal(h.Points, halves[0].Points) || !slices.Equal(h.Proofs, halves[0].Proofs) {
			t.Error("other cores, other half")
		}
	}
}

func TestJoinRefuses(t *testing.T) {
	b := testBatch(coin.Ed25519, 2)
	other := b
	other.ID[0] ^= 1
	make1 := func(b Batch, r Role) CheckedHalf {
		_, c, err := b.Generate(r, newStream(fmt.Sprint(r)))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	own, esc := make1(b, Owner), make1(b, Escrow)
	if _, err := Join(own, esc); err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]CheckedHalf{
		"nothing":        {},
		"no owner":       {{}, esc},
		"no escrow":      {own, {}},
		"owner twice":    {own, own},
		"escrow twice":   {esc, esc},
		"exchanged":      {esc, own},
		"two batches":    {own, make1(other, Escrow)},
		"other batch id": {make1(other, Owner), esc},
	} {
		if keys, err := Join(pair[0], pair[1]); err == nil || keys != nil {
			t.Errorf("%s: got %v, want an error", name, keys)
		}
	}
}

// What CheckHalf verified stays what it was, whatever the sender's slice becomes.
func TestCheckedHalfIsACopy(t *testing.T) {
	b := testBatch(coin.Secp256k1, 1)
	_, c, err := b.Generate(Owner, newStream("copy"))
	if err != nil {
		t.Fatal(err)
	}
	h := Half{slices.Clone(c.half.Points), slices.Clone(c.half.Proofs)}
	checked, err := b.CheckHalf(Owner, h)
	if err != nil {
		t.Fatal(err)
	}
	h.Points[0] = Point{}
	if checked.half.Points[0] != c.half.Points[0] {
		t.Error("a checked half changed")
	}
}

func TestHalfIsBounded(t *testing.T) {
	p, proof := mustShare(t, coin.Secp256k1, newStream("p")), Proof{t: coin.Secp256k1}
	h := Half{slices.Repeat([]Point{p.Public()}, MaxBatch), slices.Repeat([]Proof{proof}, MaxBatch)}
	if n := len(mustMarshal(t, h)); n > maxHalf || n > wire.MaxSize {
		t.Errorf("the largest half has %d bytes, the bound is %d", n, maxHalf)
	}
	h.Proofs = append(h.Proofs, proof)
	var back Half
	if err := wire.Unmarshal(mustMarshal(t, h), &back); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a half that is too large: got %v", err)
	}
}

// Nonces are hedged: with a source that repeats itself, no two proofs share one
// unless they are the same proof; with one that does not, even those differ.
func TestNoncesAreHedged(t *testing.T) {
	for _, kt := range bothTypes {
		s, o := mustShare(t, kt, newStream("s")), mustShare(t, kt, newStream("o"))
		ctx := ProofContext{wire.Hash{1}, 0, Owner, wire.VaultID{1}, wire.VaultID{2}}
		next := ctx
		next.Index++
		stuck := make([]byte, 32)
		seen := map[[33]byte]string{}
		for name, f := range map[string]func() (Proof, error){
			"first":         func() (Proof, error) { return Prove(s, ctx, bytes.NewReader(stuck)) },
			"next index":    func() (Proof, error) { return Prove(s, next, bytes.NewReader(stuck)) },
			"another share": func() (Proof, error) { return Prove(o, ctx, bytes.NewReader(stuck)) },
			"fresh":         func() (Proof, error) { return Prove(s, ctx, newStream("fresh")) },
		} {
			p, err := f()
			if err != nil {
				t.Fatal(err)
			}
			if with, twice := seen[p.r]; twice {
				t.Errorf("%v: %s and %s share a nonce", kt, name, with)
			}
			seen[p.r] = name
		}
	}
}
