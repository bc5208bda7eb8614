package vault

import (
	"testing"

	"latchkey/coin"
	"latchkey/key"
	"latchkey/wire"
)

// crowded returns an escrow with so many batches of the greatest size, all of whose
// chunks have one share.
func crowded(t testing.TB, batches int) *Escrow {
	t.Helper()
	e := emptyEscrow()
	if err := e.front.Append([]byte("entry")); err != nil {
		t.Fatal(err)
	}
	shares := map[coin.KeyType]key.Share{}
	points := map[coin.KeyType]key.Point{}
	for typ, i := range map[coin.KeyType]int{coin.Ed25519: 0, coin.Secp256k1: 31} {
		raw := make([]byte, 32)
		raw[i] = 7
		s, err := key.ParseShare(typ, raw)
		if err != nil {
			t.Fatal(err)
		}
		shares[typ], points[typ] = s, s.Public()
	}
	id := wire.Identity{Sign: make([]byte, 32), KEM: make([]byte, 1216)}
	v, err := id.ID()
	if err != nil {
		t.Fatal(err)
	}
	e.vaults[v] = &Enrol{Identity: id}
	for n := range batches {
		typ := []coin.KeyType{coin.Secp256k1, coin.Ed25519}[n%2]
		c := key.Certificate{
			Version: key.CertificateVersion, Weight: 5, N: MaxBatch, Batch: wire.Hash{byte(n), byte(n >> 8), 1}, Root: wire.Hash{1},
			Denomination: coin.Denomination{
				ID: "left-1", Unit: coin.NewAmount(10_000),
				Asset: coin.Asset{ID: "left", Chain: "test:left", Key: typ, Address: "plain", Decimals: 8},
			},
			Owner: []wire.VaultID{v}, Escrow: wire.VaultID{9}, Custody: key.AdditiveCustody(v, wire.VaultID{9}),
			Made: 1, Expiry: 2, OwnerEvidence: wire.Hash{1}, EscrowEvidence: wire.Hash{2}, Log: "escrow.test/log",
		}
		b := &batch{cert: &c, born: Index(n + 1), chunks: make([]escrowed, MaxBatch)}
		if b.id, err = c.ID(); err != nil {
			t.Fatal(err)
		}
		for i := range b.chunks {
			b.chunks[i] = escrowed{b: points[typ], share: shares[typ], owner: e.owner(v), cert: &c, epoch: uint32(i), last: Index(n + 1)}
		}
		e.certified[c.Batch] = b
		if err := e.chunks.add(b); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// A large state is in several parts, none too long, and comes back from them in
// their order alone.
func TestSnapshotParts(t *testing.T) {
	t.Parallel()
	e := crowded(t, 5)
	for i := range 3 * MaxBatch {
		e.ended[wire.InstanceID{byte(i), byte(i >> 8), byte(i >> 16)}] = over{Index(i), int64(i)}
	}
	s, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Parts) < 3 {
		t.Errorf("%d parts", len(s.Parts))
	}
	for i, p := range s.Parts {
		if len(p) >= 1<<20 {
			t.Errorf("part %d has %d bytes", i, len(p))
		}
	}
	back := emptyEscrow()
	if err := back.Restore(s.Cover, s.Parts); err != nil {
		t.Fatal(err)
	}
	for n, b := range back.chunks.batches { // as the rows would
		for i := range b.chunks {
			b.chunks[i].share = e.chunks.batches[n].chunks[i].share
		}
	}
	if err := back.checkShares(); err != nil {
		t.Fatal(err)
	}
	again, err := back.Snapshot()
	if err != nil || string(again.Cover) != string(s.Cover) || len(back.ended) != len(e.ended) {
		t.Errorf("what came back is another state: %v", err)
	}
	s.Parts[0], s.Parts[1] = s.Parts[1], s.Parts[0]
	if err := emptyEscrow().Restore(s.Cover, s.Parts); err == nil {
		t.Error("parts in another order are taken")
	}
	// A chunk of nobody, or in an instance that is not there, is in no snapshot.
	c := &e.chunks.batches[0].chunks[9]
	c.instance = &instance{}
	if _, err := e.Snapshot(); err == nil {
		t.Error("a chunk in an instance that is not there")
	}
	c.instance, c.owner = nil, &wire.VaultID{1}
	if _, err := e.Snapshot(); err == nil {
		t.Error("a chunk of nobody")
	}
}

// BenchmarkSnapshot is what a snapshot and its way back cost for each chunk.
func BenchmarkSnapshot(b *testing.B) {
	e := crowded(b, 24)
	n := float64(24 * MaxBatch)
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.Snapshot(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/chunk")
	})
	b.Run("restore", func(b *testing.B) {
		s, err := e.Snapshot()
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := emptyEscrow().Restore(s.Cover, s.Parts); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/chunk")
	})
}
