package key

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"io"
	"testing"

	"latchkey/coin"
	"latchkey/wire"
)

var bothTypes = []coin.KeyType{coin.Secp256k1, coin.Ed25519}

// stream is a deterministic source of bytes that look random: SHA-256 of a seed
// and a counter.
type stream struct {
	seed string
	n    byte
	m    byte
	rest []byte
}

func newStream(seed string) io.Reader { return &stream{seed: seed} }

func (s *stream) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		h := sha256.Sum256(append([]byte(s.seed), s.m, s.n))
		s.rest = h[:]
		if s.n++; s.n == 0 {
			s.m++
		}
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// A party is a vault with its identity keys, made from a name.
type party struct {
	name string
	id   wire.Identity
	vid  wire.VaultID
	sign ed25519.PrivateKey
}

func newParty(t testing.TB, name string) party {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	k := ed25519.NewKeyFromSeed(seed[:])
	kem, err := hpke.MLKEM768X25519().DeriveKeyPair(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	p := party{name: name, id: wire.Identity{Sign: k.Public().(ed25519.PublicKey), KEM: kem.PublicKey().Bytes()}, sign: k}
	if p.vid, err = p.id.ID(); err != nil {
		t.Fatal(err)
	}
	return p
}

func mustShare(t testing.TB, kt coin.KeyType, rand io.Reader) Share {
	t.Helper()
	s, err := NewShare(kt, rand)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// One batch from start to end, through the bytes that go over the wire: made,
// certified, one chunk verified, refreshed and combined.
func TestWholeLife(t *testing.T) {
	owner, escrow := newParty(t, "owner"), newParty(t, "escrow")
	for _, kt := range bothTypes {
		t.Run(kt.String(), func(t *testing.T) {
			rand := newStream("whole life")
			b := Batch{ID: wire.HashBytes("test", []byte("batch")), Type: kt, N: 37, Owner: owner.vid, Escrow: escrow.vid}

			as, ownHalf, err := b.Generate(Owner, rand)
			if err != nil {
				t.Fatal(err)
			}
			salt := [32]byte{1, 2, 3}
			commitment := b.Commit(ownHalf.Half().Points, salt)

			bs, escHalf, err := b.Generate(Escrow, rand)
			if err != nil {
				t.Fatal(err)
			}
			atOwner, err := b.CheckHalf(Escrow, resend(t, escHalf.Half()))
			if err != nil {
				t.Fatal(err)
			}
			atEscrow, err := b.CheckOpen(commitment, salt, resend(t, ownHalf.Half()))
			if err != nil {
				t.Fatal(err)
			}
			keys, err := Join(ownHalf, atOwner)
			if err != nil {
				t.Fatal(err)
			}
			keys2, err := Join(atEscrow, escHalf)
			if err != nil {
				t.Fatal(err)
			}
			tree, err := NewTree(keys2)
			if err != nil {
				t.Fatal(err)
			}

			cert := testCertificate(kt, owner.vid, escrow.vid)
			cert.N, cert.Batch, cert.Root = b.N, b.ID, tree.Root()
			if err := cert.CheckBatch(b, keys); err != nil {
				t.Fatal(err)
			}
			signed := mustSign(t, cert, owner, escrow)
			v, err := resend(t, signed).Verify(owner.id, escrow.id, cert.Made)
			if err != nil {
				t.Fatal(err)
			}
			path, err := tree.Path(30)
			if err != nil {
				t.Fatal(err)
			}
			chunk, err := v.VerifyChunk(resend(t, Chunk{Cert: v.ID(), Index: 30, Key: keys[30], Path: path}))
			if err != nil {
				t.Fatal(err)
			}

			a, bb, P := as[30], bs[30], chunk.Key()
			for range 3 {
				r, bNew, R, BNew, err := refreshOne(bb, rand)
				if err != nil {
					t.Fatal(err)
				}
				if err := CheckRefresh(bb.Public(), R, BNew); err != nil {
					t.Fatal(err)
				}
				aNew, err := a.Plus(r)
				if err != nil {
					t.Fatal(err)
				}
				if err := CheckShare(aNew, BNew, P); err != nil {
					t.Fatal(err)
				}
				if err := CheckShare(a, BNew, P); err == nil {
					t.Fatal("a share of an old epoch passes")
				}
				a, bb = aNew, bNew
			}
			d, err := Combine(a, bb, P)
			if err != nil {
				t.Fatal(err)
			}
			if d.Public() != P {
				t.Fatalf("got key of %v, want %v", d.Public(), P)
			}
			again, err := ParsePrivate(d.Expose(), P)
			if err != nil || !bytes.Equal(again.Expose(), d.Expose()) {
				t.Fatalf("parse what Expose returned: %v", err)
			}
		})
	}
}

// resend passes v through its encoding.
func resend[T any](t testing.TB, v T) T {
	t.Helper()
	b, err := wire.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out T
	if err := wire.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func testCertificate(kt coin.KeyType, owner, escrow wire.VaultID) Certificate {
	asset := coin.Asset{ID: "btc", Chain: "bip122:regtest", Key: kt, Address: "p2wpkh", Decimals: 8}
	if kt == coin.Ed25519 {
		asset = coin.Asset{ID: "xmr", Chain: "monero:regtest", Key: kt, Address: "standard", Decimals: 12}
	}
	return Certificate{
		Version:      CertificateVersion,
		Denomination: coin.Denomination{ID: string(asset.ID) + "-2026-11-a", Asset: asset, Unit: coin.NewAmount(10_000)},
		Weight:       50, N: 1,
		Root:  wire.HashBytes("test", []byte("root")),
		Batch: wire.HashBytes("test", []byte("batch")),
		Owner: []wire.VaultID{owner}, Escrow: escrow, Custody: AdditiveCustody(owner, escrow),
		Made: 1_790_000_000, Expiry: 1_790_000_000 + 90*86400,
		OwnerEvidence:  wire.HashBytes("test", []byte("evidence of the owner")),
		EscrowEvidence: wire.HashBytes("test", []byte("evidence of the escrow")),
		Log:            "escrow.example/log",
	}
}

func mustSign(t testing.TB, c Certificate, owner, escrow party) SignedCertificate {
	t.Helper()
	body, _, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s := SignedCertificate{Body: body}
	if s.OwnerSig, err = c.Sign(Owner, owner.sign); err != nil {
		t.Fatal(err)
	}
	if s.EscrowSig, err = c.Sign(Escrow, escrow.sign); err != nil {
		t.Fatal(err)
	}
	return s
}
