package key

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"latchkey/coin"
	"latchkey/wire"
)

// The tree is that of RFC 6962 as the Go checksum database's code has it.
func TestTreeAgreesWithTlog(t *testing.T) {
	rand := newStream("tlog")
	var keys []Point
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range at {
			out = append(out, stored[i])
		}
		return out, nil
	})
	for n := range 70 {
		p := mustShare(t, coin.Ed25519, rand).Public()
		keys = append(keys, p)
		leaf := append([]byte("latchkey/key/leaf/v1"), 2, 0, 0, 0, byte(n))
		hashes, err := tlog.StoredHashes(int64(n), append(leaf, p.Bytes()...), reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		size := int64(n + 1)
		want, err := tlog.TreeHash(size, reader)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := NewTree(keys)
		if err != nil {
			t.Fatal(err)
		}
		if tree.Root() != wire.Hash(want) {
			t.Fatalf("%d keys: root %s, want %v", size, tree.Root(), want)
		}
		for i := range size {
			want, err := tlog.ProveRecord(size, i, reader)
			if err != nil {
				t.Fatal(err)
			}
			path, err := tree.Path(uint32(i))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(path, want, func(a wire.Hash, b tlog.Hash) bool { return a == wire.Hash(b) }) {
				t.Fatalf("path of %d in %d: got %v, want %v", i, size, path, want)
			}
			if err := VerifyPath(tree.Root(), uint32(size), uint32(i), keys[i], path); err != nil {
				t.Fatal(err)
			}
			// It is at no other place.
			for j := range uint32(size) {
				if j != uint32(i) && VerifyPath(tree.Root(), uint32(size), j, keys[i], path) == nil {
					t.Fatalf("key %d of %d verifies as %d", i, size, j)
				}
			}
		}
	}
}

func TestTreeRefuses(t *testing.T) {
	e, s := mustShare(t, coin.Ed25519, newStream("e")).Public(), mustShare(t, coin.Secp256k1, newStream("s")).Public()
	for name, keys := range map[string][]Point{
		"want 1 to 4096":         nil,
		"4097 keys":              make([]Point, MaxBatch+1),
		"key 0 is of key type 0": {{}},
		"key 1 is of key type 0": {e, {}},
		"key 1 is of secp256k1":  {e, s},
		"keys 0 and 1 are":       {e, e},
	} {
		if root, err := MerkleRoot(keys); err == nil || !strings.Contains(err.Error(), name) || root != (wire.Hash{}) {
			t.Errorf("got %v, %v, want an error with %q", root, err, name)
		}
		if _, err := MerklePath(keys, 0); err == nil {
			t.Errorf("%s: a path", name)
		}
	}
	if _, err := MerklePath([]Point{e}, 1); err == nil {
		t.Error("a path of a key that is not there")
	}
	if _, err := (Tree{}).Path(0); err == nil {
		t.Error("a path in no tree")
	}
	if err := VerifyPath(leafHash(Point{}, 0), 1, 0, Point{}, nil); err == nil {
		t.Error("no point is a key")
	}
}

// Check, Encode, ID and Sign refuse every bad certificate; the vectors show that
// Verify does, signed or not.
func TestBadCertificates(t *testing.T) {
	owner, escrow := newParty(t, "owner"), newParty(t, "escrow")
	for _, test := range badCertificates {
		c := testCertificate(coin.Secp256k1, owner.vid, escrow.vid)
		test.change(&c)
		_, _, e2 := c.Encode()
		_, e3 := c.ID()
		_, e4 := c.Sign(Owner, owner.sign)
		for i, err := range []error{c.Check(), e2, e3, e4} {
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s, case %d: got %v, want an error with %q", test.name, i, err, test.want)
			}
		}
	}
	c := testCertificate(coin.Secp256k1, owner.vid, escrow.vid)
	if _, err := c.Sign(0, owner.sign); err == nil {
		t.Error("signed in no role")
	}
}

// Expiry bars new use and never a claim.
func TestExpiry(t *testing.T) {
	owner, escrow := newParty(t, "owner"), newParty(t, "escrow")
	c := testCertificate(coin.Ed25519, owner.vid, escrow.vid)
	s := mustSign(t, c, owner, escrow)
	if _, err := s.Verify(owner.id, escrow.id, c.Expiry); !errors.Is(err, ErrExpired) {
		t.Errorf("got %v, want ErrExpired", err)
	}
	v, err := s.VerifyForClaim(owner.id, escrow.id)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.CheckTime(c.Expiry + 1); !errors.Is(err, ErrExpired) {
		t.Errorf("got %v, want ErrExpired", err)
	}
	s.OwnerSig[0] ^= 1
	if _, err := s.VerifyForClaim(owner.id, escrow.id); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("got %v, want ErrSignature", err)
	}
	if err := (VerifiedCertificate{}).CheckTime(0); err == nil {
		t.Error("no certificate is in time")
	}
}

func TestCheckBatch(t *testing.T) {
	owner, escrow := newParty(t, "owner"), newParty(t, "escrow")
	b := Batch{ID: wire.Hash{7}, Type: coin.Secp256k1, N: 2, Owner: owner.vid, Escrow: escrow.vid}
	rand := newStream("check batch")
	keys := []Point{mustShare(t, b.Type, rand).Public(), mustShare(t, b.Type, rand).Public()}
	other := []Point{mustShare(t, coin.Ed25519, rand).Public(), mustShare(t, coin.Ed25519, rand).Public()}
	for _, test := range []struct {
		want   string
		change func(*Certificate, *Batch, *[]Point)
	}{
		{"", func(*Certificate, *Batch, *[]Point) {}},
		{"another batch", func(c *Certificate, _ *Batch, _ *[]Point) { c.Batch[0]++ }},
		{"asset with keys of ed25519", func(c *Certificate, _ *Batch, _ *[]Point) { c.Denomination.Asset.Key = coin.Ed25519 }},
		{"batch of ed25519", func(_ *Certificate, b *Batch, _ *[]Point) { b.Type = coin.Ed25519 }},
		{"points of ed25519", func(_ *Certificate, _ *Batch, k *[]Point) { *k = other }},
		{"3 keys, batch of 2", func(c *Certificate, _ *Batch, _ *[]Point) { c.N = 3 }},
		{"2 keys, batch of 3", func(_ *Certificate, b *Batch, _ *[]Point) { b.N = 3 }},
		{"2 points", func(c *Certificate, b *Batch, _ *[]Point) { c.N, b.N = 1, 1 }},
		{"other holders", func(c *Certificate, _ *Batch, _ *[]Point) { c.Owner = []wire.VaultID{{1}} }},
		{"other holders", func(c *Certificate, _ *Batch, _ *[]Point) { c.Owner = append(c.Owner, wire.VaultID{1}) }},
		{"other holders", func(c *Certificate, _ *Batch, _ *[]Point) { c.Escrow = wire.VaultID{1} }},
		{"over other keys", func(c *Certificate, _ *Batch, _ *[]Point) { c.Root[0]++ }},
		{"over other keys", func(_ *Certificate, _ *Batch, k *[]Point) { *k = []Point{(*k)[1], (*k)[0]} }},
		{"are the same", func(_ *Certificate, _ *Batch, k *[]Point) { *k = []Point{(*k)[1], (*k)[1]} }},
		{"tree of 0 keys", func(_ *Certificate, _ *Batch, k *[]Point) { *k = nil }},
	} {
		c, batch, points := testCertificate(b.Type, owner.vid, escrow.vid), b, slices.Clone(keys)
		root, err := MerkleRoot(keys)
		if err != nil {
			t.Fatal(err)
		}
		c.Batch, c.N, c.Root = b.ID, b.N, root
		test.change(&c, &batch, &points)
		if err := c.CheckBatch(batch, points); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %q", err, test.want)
		}
	}
}

func TestVerifyChunk(t *testing.T) {
	owner, escrow := newParty(t, "owner"), newParty(t, "escrow")
	rand := newStream("chunk")
	var keys []Point
	for range 5 {
		keys = append(keys, mustShare(t, coin.Ed25519, rand).Public())
	}
	tree, err := NewTree(keys)
	if err != nil {
		t.Fatal(err)
	}
	c := testCertificate(coin.Ed25519, owner.vid, escrow.vid)
	c.N, c.Root = 5, tree.Root()
	v, err := mustSign(t, c, owner, escrow).Verify(owner.id, escrow.id, c.Made)
	if err != nil {
		t.Fatal(err)
	}
	path, err := tree.Path(3)
	if err != nil {
		t.Fatal(err)
	}
	good := Chunk{Cert: v.ID(), Index: 3, Key: keys[3], Path: path}
	got, err := v.VerifyChunk(good)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID() != ChunkIDOf(v.ID(), 3) || got.Key() != keys[3] || got.Index() != 3 || got.Certificate().ID() != v.ID() {
		t.Errorf("got another chunk: %v", got.ID())
	}
	if got.ID() == ChunkIDOf(v.ID(), 4) || got.ID() == ChunkIDOf(wire.CertID{}, 3) {
		t.Error("two chunks, one id")
	}
	for want, change := range map[string]func(*Chunk){
		"chunk of certificate": func(c *Chunk) { c.Cert[0] ^= 1 },
		"is not key 2":         func(c *Chunk) { c.Index = 2 },
		"key 5 of 5":           func(c *Chunk) { c.Index = 5 },
		"key of secp256k1, certificate for ed255": func(c *Chunk) { c.Key = mustShare(t, coin.Secp256k1, rand).Public() },
		"key of key type 0":                       func(c *Chunk) { c.Key = Point{} },
		"is not key 3":                            func(c *Chunk) { c.Key = keys[2] },
		"too few":                                 func(c *Chunk) { c.Path = nil },
	} {
		bad := good
		change(&bad)
		if got, err := v.VerifyChunk(bad); err == nil || !strings.Contains(err.Error(), want) || got.id != (wire.ChunkID{}) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	none := good
	none.Cert = wire.CertID{}
	if _, err := (VerifiedCertificate{}).VerifyChunk(none); err == nil {
		t.Error("no certificate covers a chunk")
	}

	d := c.Denomination
	if err := v.CheckDenomination(d); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*coin.Denomination){
		"want {ID:xmr-2026-11-b ": func(d *coin.Denomination) { d.ID = "xmr-2026-11-b" },
		"{ID:btc Chain":           func(d *coin.Denomination) { d.Asset.ID = "btc" },
		"Chain:other ":            func(d *coin.Denomination) { d.Asset.Chain = "other" },
		"Key:secp256k1 ":          func(d *coin.Denomination) { d.Asset.Key = coin.Secp256k1 },
		"Address:subaddress ":     func(d *coin.Denomination) { d.Asset.Address = "subaddress" },
		"Decimals:8}":             func(d *coin.Denomination) { d.Asset.Decimals = 8 },
		"Unit:5}":                 func(d *coin.Denomination) { d.Unit = coin.NewAmount(5) },
	} {
		bad := d
		change(&bad)
		if err := v.CheckDenomination(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
