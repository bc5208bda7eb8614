package key

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/spec/vectors"
	"latchkey/wire"
)

// A generationVector is a batch from start to end, as both sides see it. The
// halves are in deterministic CBOR.
type generationVector struct {
	Name       string     `json:"name"`
	Expect     string     `json:"expect"`
	Batch      Batch      `json:"batch"`
	Salt       wire.Hash  `json:"salt"`
	Commitment wire.Hash  `json:"commitment"`
	Owner      hexBytes   `json:"owner_half"`
	Escrow     hexBytes   `json:"escrow_half"`
	Keys       []Point    `json:"keys"`
	Root       wire.Hash  `json:"root"`
	A          []hexBytes `json:"a,omitempty"`
	B          []hexBytes `json:"b,omitempty"`
}

func exposeAll(shares []Share) (out []hexBytes) {
	for _, s := range shares {
		out = append(out, s.Expose())
	}
	return out
}

func mustMarshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := wire.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGenerationVectors(t *testing.T) {
	var made []generationVector
	for _, kt := range bothTypes {
		rand := newStream("generation")
		b := Batch{
			ID: wire.HashBytes("test", []byte("batch")), Type: kt, N: 3,
			Owner: wire.VaultID(wire.HashBytes("test", []byte("owner"))), Escrow: wire.VaultID(wire.HashBytes("test", []byte("escrow"))),
		}
		as, own, err := b.Generate(Owner, rand)
		if err != nil {
			t.Fatal(err)
		}
		bs, esc, err := b.Generate(Escrow, rand)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := Join(own, esc)
		if err != nil {
			t.Fatal(err)
		}
		root, err := MerkleRoot(keys)
		if err != nil {
			t.Fatal(err)
		}
		salt := wire.HashBytes("test", []byte("salt"))
		good := generationVector{
			Name: kt.String() + ": batch of three", Expect: "ok", Batch: b, Salt: salt, Commitment: b.Commit(own.half.Points, salt),
			Owner: mustMarshal(t, own.half), Escrow: mustMarshal(t, esc.half), Keys: keys, Root: root, A: exposeAll(as), B: exposeAll(bs),
		}
		made = append(made, good)
		add := func(name, expect string, change func(*generationVector)) {
			v := good
			v.Name, v.Expect, v.A, v.B = kt.String()+": "+name, "error: "+expect, nil, nil
			change(&v)
			made = append(made, v)
		}
		half := func(h Half, change func(*Half)) []byte {
			h = Half{slices.Clone(h.Points), slices.Clone(h.Proofs)}
			change(&h)
			return mustMarshal(t, h)
		}
		add("another salt", "not those committed to", func(v *generationVector) { v.Salt[0] ^= 1 })
		add("another commitment", "not those committed to", func(v *generationVector) { v.Commitment[0] ^= 1 })
		add("opened points exchanged", "not those committed to", func(v *generationVector) {
			v.Owner = half(own.half, func(h *Half) { h.Points[0], h.Points[1] = h.Points[1], h.Points[0] })
		})
		add("opened for a batch of another id", "not those committed to", func(v *generationVector) { v.Batch.ID[0] ^= 1 })
		add("opened for another escrow", "not those committed to", func(v *generationVector) { v.Batch.Escrow[0] ^= 1 })
		add("the owner's proofs exchanged", "owner 1 of batch", func(v *generationVector) {
			v.Owner = half(own.half, func(h *Half) { h.Proofs[1], h.Proofs[2] = h.Proofs[2], h.Proofs[1] })
		})
		add("the escrow's proofs exchanged", "escrow 0 of batch", func(v *generationVector) {
			v.Escrow = half(esc.half, func(h *Half) { h.Proofs[0], h.Proofs[1] = h.Proofs[1], h.Proofs[0] })
		})
		add("the escrow's points and proofs exchanged", "escrow 0 of batch", func(v *generationVector) {
			v.Escrow = half(esc.half, func(h *Half) { slices.Reverse(h.Points); slices.Reverse(h.Proofs) })
		})
		add("the escrow sends the owner's half back", "does not verify", func(v *generationVector) { v.Escrow = v.Owner })
		add("a point too few", "2 points and 3 proofs", func(v *generationVector) {
			v.Escrow = half(esc.half, func(h *Half) { h.Points = h.Points[:2] })
		})
		add("a proof too few", "3 points and 2 proofs", func(v *generationVector) {
			v.Escrow = half(esc.half, func(h *Half) { h.Proofs = h.Proofs[:2] })
		})
		add("a point and a proof too few", "2 points and 2 proofs", func(v *generationVector) {
			v.Escrow = half(esc.half, func(h *Half) { h.Points, h.Proofs = h.Points[:2], h.Proofs[:2] })
		})
		add("a point of the other key type, proved", "the batch of "+kt.String(), func(v *generationVector) {
			s := mustShare(t, bothTypes[2-kt], newStream("other type"))
			proof, err := Prove(s, b.contexts(Escrow, 2)(0), newStream("other type"))
			if err != nil {
				t.Fatal(err)
			}
			v.Escrow = half(esc.half, func(h *Half) { h.Points[2], h.Proofs[2] = s.Public(), proof })
		})
		add("truncated half", "EOF", func(v *generationVector) { v.Escrow = v.Escrow[:len(v.Escrow)-1] })
		add("batch of none", "0 keys", func(v *generationVector) { v.Batch.N = 0 })
		add("batch of too many", "4097 keys", func(v *generationVector) { v.Batch.N = 4097 })
		add("another root", "root", func(v *generationVector) { v.Root[0] ^= 1 })
		add("another key", "keys", func(v *generationVector) { v.Keys = []Point{keys[1], keys[0], keys[2]} })

		// Rogue keys. The owner wants P = X for an X whose key it has, and chooses
		// A = X − B when it has seen B.
		x := mustShare(t, kt, newStream("rogue"))
		rogue, err := x.Public().Minus(esc.half.Points[0])
		if err != nil {
			t.Fatal(err)
		}
		proofOfX, err := Prove(x, b.contexts(Owner, 0)(0), newStream("rogue"))
		if err != nil {
			t.Fatal(err)
		}
		add("rogue key, chosen after the commitment", "not those committed to", func(v *generationVector) {
			v.Owner = half(own.half, func(h *Half) { h.Points[0], h.Proofs[0] = rogue, proofOfX })
		})
		add("rogue key with a matching commitment", "owner 0 of batch", func(v *generationVector) {
			v.Owner = half(own.half, func(h *Half) { h.Points[0], h.Proofs[0] = rogue, proofOfX })
			v.Commitment = b.Commit([]Point{rogue, own.half.Points[1], own.half.Points[2]}, salt)
		})
		// The escrow, which sees nothing but the commitment, cannot answer −A; if
		// it could, the proof would not help it either. Here it knows a.
		neg := as[0].scalar().negate()
		minus := newShare(neg)
		proofOfMinus, err := Prove(minus, b.contexts(Escrow, 0)(0), newStream("minus"))
		if err != nil {
			t.Fatal(err)
		}
		add("B = -A, so that P is the identity", "the result is the identity", func(v *generationVector) {
			v.Escrow = half(esc.half, func(h *Half) { h.Points[0], h.Proofs[0] = minus.Public(), proofOfMinus })
		})
		// B1 = A0 + B0 − A1, so that one address would back two chunks.
		sum, err := as[0].Plus(bs[0])
		if err != nil {
			t.Fatal(err)
		}
		twice, err := sum.Minus(as[1])
		if err != nil {
			t.Fatal(err)
		}
		proofOfTwice, err := Prove(twice, b.contexts(Escrow, 1)(0), newStream("twice"))
		if err != nil {
			t.Fatal(err)
		}
		add("one key twice", "keys 0 and 1 are the same", func(v *generationVector) {
			v.Escrow = half(esc.half, func(h *Half) { h.Points[1], h.Proofs[1] = twice.Public(), proofOfTwice })
		})
	}
	checkVectors(t, "generation.json", "Batches: a commitment, its opening, both halves in CBOR, the keys and their root. See spec/key.md, Generation.",
		made, func(v generationVector) (string, string) { return v.Name, v.Expect }, func(v generationVector) error {
			var own, esc Half
			if err := errors.Join(wire.Unmarshal(v.Owner, &own), wire.Unmarshal(v.Escrow, &esc)); err != nil {
				return err
			}
			if err := v.Batch.Check(); err != nil {
				return err
			}
			o, err := v.Batch.CheckOpen(v.Commitment, v.Salt, own)
			if err != nil {
				return err
			}
			e, err := v.Batch.CheckHalf(Escrow, esc)
			if err != nil {
				return err
			}
			keys, err := Join(o, e)
			if err != nil {
				return err
			}
			if !slices.Equal(keys, v.Keys) {
				return errors.New("other keys")
			}
			if root, err := MerkleRoot(keys); err != nil || root != v.Root {
				return fmt.Errorf("root is %s, %v", root, err)
			}
			for i := range v.A {
				a, errA := ParseShare(v.Batch.Type, v.A[i])
				b, errB := ParseShare(v.Batch.Type, v.B[i])
				if errA != nil || errB != nil || a.Public() != own.Points[i] || b.Public() != esc.Points[i] {
					return fmt.Errorf("shares %d are not those of the points", i)
				}
				if _, err := Combine(a, b, v.Keys[i]); err != nil {
					return err
				}
			}
			return nil
		})
}

type treeVector struct {
	Name   string      `json:"name"`
	Expect string      `json:"expect"`
	Root   wire.Hash   `json:"root"`
	N      uint32      `json:"n"`
	Index  uint32      `json:"index"`
	Key    Point       `json:"key"`
	Path   []wire.Hash `json:"path"`
}

func TestTreeVectors(t *testing.T) {
	var made []treeVector
	rand := newStream("tree")
	var keys []Point
	for range 9 {
		keys = append(keys, mustShare(t, coin.Ed25519, rand).Public())
	}
	other := mustShare(t, coin.Secp256k1, rand).Public()
	for _, n := range []int{1, 2, 3, 5, 7, 8, 9} {
		tree, err := NewTree(keys[:n])
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			path, err := tree.Path(uint32(i))
			if err != nil {
				t.Fatal(err)
			}
			good := treeVector{fmt.Sprintf("key %d of %d", i, n), "ok", tree.Root(), uint32(n), uint32(i), keys[i], path}
			made = append(made, good)
			if n != 7 || i != 6 && i != 2 {
				continue
			}
			add := func(name, expect string, change func(*treeVector)) {
				v := good
				v.Path = slices.Clone(path)
				v.Name, v.Expect = good.Name+": "+name, "error: "+expect
				change(&v)
				made = append(made, v)
			}
			add("another index", map[int]string{2: "is not key", 6: "too few"}[i], func(v *treeVector) { v.Index-- })
			add("an index beyond the tree", "key 7 of 7", func(v *treeVector) { v.Index = 7 })
			add("another key", "is not key", func(v *treeVector) { v.Key = keys[0] })
			add("a key of another type", "is not key", func(v *treeVector) { v.Key = other })
			add("another root", "is not key", func(v *treeVector) { v.Root[31] ^= 1 })
			add("a changed path", "is not key", func(v *treeVector) { v.Path[0][0] ^= 1 })
			add("a path exchanged", "is not key", func(v *treeVector) { slices.Reverse(v.Path) })
			add("a hash too few", "too few", func(v *treeVector) { v.Path = v.Path[:len(v.Path)-1] })
			add("a hash too many", "too many", func(v *treeVector) { v.Path = append(v.Path, v.Root) })
			add("no path", "too few", func(v *treeVector) { v.Path = nil })
			add("a tree of none", "verify path: key", func(v *treeVector) { v.N = 0 })
			add("a tree of too many", "verify path: key", func(v *treeVector) { v.N = 4097 })
		}
	}
	checkVectors(t, "tree.json", "Paths of keys under a root. See spec/key.md, Tree.",
		made, func(v treeVector) (string, string) { return v.Name, v.Expect }, func(v treeVector) error {
			return VerifyPath(v.Root, v.N, v.Index, v.Key, v.Path)
		})
}

type certificateVector struct {
	Name      string       `json:"name"`
	Expect    string       `json:"expect"`
	Owner     string       `json:"owner"` // names of the identities given to Verify, in wire/identity.json
	Escrow    string       `json:"escrow"`
	Now       int64        `json:"now"`
	Body      hexBytes     `json:"body"`
	OwnerSig  hexBytes     `json:"owner_sig"`
	EscrowSig hexBytes     `json:"escrow_sig"`
	ID        *wire.CertID `json:"id,omitempty"`      // of a valid certificate
	Deposit   string       `json:"deposit,omitempty"` // of each of its chunks, in smallest units
	Content   any          `json:"content,omitempty"` // of the body, for reading
}

func TestCertificateVectors(t *testing.T) {
	owner, escrow, stranger := newParty(t, "owner"), newParty(t, "escrow"), newParty(t, "stranger")
	type identity struct {
		Name   string       `json:"name"`
		Expect string       `json:"expect"`
		Sign   hexBytes     `json:"sign"`
		KEM    hexBytes     `json:"kem"`
		ID     wire.VaultID `json:"id"`
	}
	identities := map[string]wire.Identity{}
	for _, c := range vectors.Read[identity](t, "../spec/vectors/wire/identity.json").Cases {
		identities[c.Name] = wire.Identity{Sign: c.Sign, KEM: c.KEM}
	}
	var made []certificateVector
	vector := func(name, expect string, c Certificate, o, e party) certificateVector {
		s := SignedCertificate{Body: mustMarshal(t, c)}
		s.OwnerSig = wire.Sign(owner.sign, Owner.certificatePurpose(), s.Body)
		s.EscrowSig = wire.Sign(escrow.sign, Escrow.certificatePurpose(), s.Body)
		v := certificateVector{Name: name, Expect: expect, Owner: o.name, Escrow: e.name, Now: c.Made, Body: s.Body, OwnerSig: s.OwnerSig, EscrowSig: s.EscrowSig}
		return v
	}
	for _, kt := range bothTypes {
		c := testCertificate(kt, owner.vid, escrow.vid)
		good := vector(kt.String()+": certificate", "ok", c, owner, escrow)
		_, id, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		deposit, err := c.Denomination.Deposit(c.Weight)
		if err != nil {
			t.Fatal(err)
		}
		good.ID, good.Deposit, good.Content = &id, deposit.String(), viaJSON(t, c)
		made = append(made, good)
		if kt == coin.Ed25519 {
			continue
		}
		change := func(name, expect string, f func(*certificateVector)) {
			v := good
			v.Name, v.Expect = name, expect
			v.ID, v.Deposit, v.Content = nil, "", nil
			v.Body, v.OwnerSig, v.EscrowSig = bytes.Clone(good.Body), bytes.Clone(good.OwnerSig), bytes.Clone(good.EscrowSig)
			f(&v)
			made = append(made, v)
		}
		change("in its last second", "ok", func(v *certificateVector) { v.Now = c.Expiry - 1 })
		change("expired", "error: certificate has expired", func(v *certificateVector) { v.Now = c.Expiry })
		change("made a little ahead", "ok", func(v *certificateVector) { v.Now = c.Made - ClockSkew })
		change("made in the future", "error: after now", func(v *certificateVector) { v.Now = c.Made - ClockSkew - 1 })
		change("at a negative time", "error: absurd time", func(v *certificateVector) { v.Now = -1 })
		change("at the end of time", "error: absurd time", func(v *certificateVector) { v.Now = 1<<63 - 1 })
		change("of another owner", "error: owner: names vault", func(v *certificateVector) { v.Owner = stranger.name })
		change("of another escrow", "error: escrow: names vault", func(v *certificateVector) { v.Escrow = stranger.name })
		change("signatures exchanged", "error: owner: latchkey/certificate/v1/owner: signature does not verify", func(v *certificateVector) {
			v.OwnerSig, v.EscrowSig = v.EscrowSig, v.OwnerSig
		})
		change("the owner's signature missing", "error: owner: latchkey/certificate/v1/owner: signature does not verify", func(v *certificateVector) { v.OwnerSig = nil })
		change("the escrow's signature missing", "error: escrow: latchkey/certificate/v1/escrow: signature does not verify", func(v *certificateVector) { v.EscrowSig = nil })
		change("the escrow's signature under the owner's purpose", "error: escrow: latchkey/certificate/v1/escrow: signature does not verify", func(v *certificateVector) {
			v.EscrowSig = wire.Sign(escrow.sign, Owner.certificatePurpose(), v.Body)
		})
		change("signed by a stranger", "error: owner: latchkey/certificate/v1/owner: signature does not verify", func(v *certificateVector) {
			v.OwnerSig = wire.Sign(stranger.sign, Owner.certificatePurpose(), v.Body)
		})
		change("body truncated", "error: EOF", func(v *certificateVector) { v.Body = v.Body[:len(v.Body)-1] })
		change("body with a byte too many", "error: extraneous", func(v *certificateVector) { v.Body = append(v.Body, 0) })
		change("body not in deterministic form", "error: deterministic", func(v *certificateVector) {
			// Version 1 in two bytes instead of one.
			v.Body = append([]byte{v.Body[0], 0x01, 0x18, 0x01}, v.Body[3:]...)
		})
		change("body with a changed weight", "error: signature does not verify", func(v *certificateVector) {
			d := c
			d.Weight = 100
			v.Body = mustMarshal(t, d)
		})
	}
	for _, test := range badCertificates {
		c := testCertificate(coin.Secp256k1, owner.vid, escrow.vid)
		test.change(&c)
		made = append(made, vector("signed, but "+test.name, "error: "+test.want, c, owner, escrow))
	}
	checkVectors(t, "certificate.json", "Certificates with both signatures, to be verified at now. The identities, by name, are those of wire/identity.json.",
		made, func(v certificateVector) (string, string) { return v.Name, v.Expect }, func(v certificateVector) error {
			s := SignedCertificate{v.Body, v.OwnerSig, v.EscrowSig}
			got, err := s.Verify(identities[v.Owner], identities[v.Escrow], v.Now)
			if err != nil {
				if got.id != (wire.CertID{}) {
					return errors.New("a certificate beside an error")
				}
				return err
			}
			if v.ID != nil && (got.ID() != *v.ID || s.ID() != *v.ID || got.Deposit().String() != v.Deposit) {
				return fmt.Errorf("id %s, deposit %s", got.ID(), got.Deposit())
			}
			return nil
		})
}

// viaJSON returns v as JSON makes it, so that what is written compares with what
// is read.
func viaJSON(t *testing.T, v any) (out any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// badCertificates are those that Check refuses, by what it says.
var badCertificates = []struct {
	name, want string
	change     func(*Certificate)
}{
	{"of version 0", "version 0", func(c *Certificate) { c.Version = 0 }},
	{"of version 2", "version 2", func(c *Certificate) { c.Version = 2 }},
	{"for no asset", "asset name is empty", func(c *Certificate) { c.Denomination.Asset.ID = "" }},
	{"for no chain", "chain name is empty", func(c *Certificate) { c.Denomination.Asset.Chain = "" }},
	{"for no key type", "unknown key type 0", func(c *Certificate) { c.Denomination.Asset.Key = 0 }},
	{"for a unit of nothing", "a unit of nothing", func(c *Certificate) { c.Denomination.Unit = coin.Amount{} }},
	{"of an overflowing unit", "overflows", func(c *Certificate) {
		c.Denomination.Unit, _ = coin.ParseAmount("340282366920938463463374607431768211455")
	}},
	{"of no weight", "weight 0", func(c *Certificate) { c.Weight = 0 }},
	{"of a weight off the ladder", "weight 3", func(c *Certificate) { c.Weight = 3 }},
	{"of an absurd weight", "weight 4294967295", func(c *Certificate) { c.Weight = 1<<32 - 1 }},
	{"of no keys", "0 keys", func(c *Certificate) { c.N = 0 }},
	{"of too many keys", "4097 keys", func(c *Certificate) { c.N = MaxBatch + 1 }},
	{"without a root", "no root", func(c *Certificate) { c.Root = wire.Hash{} }},
	{"without a batch", "no batch", func(c *Certificate) { c.Batch = wire.Hash{} }},
	{"without the owner's evidence", "no digest of the owner's evidence", func(c *Certificate) { c.OwnerEvidence = wire.Hash{} }},
	{"without the escrow's evidence", "no digest of the escrow's evidence", func(c *Certificate) { c.EscrowEvidence = wire.Hash{} }},
	{"without an owner", "0 owner's vaults", func(c *Certificate) { c.Owner = nil }},
	{"with two owner's vaults", "2 owner's vaults", func(c *Certificate) { c.Owner = append(c.Owner, wire.VaultID{9}) }},
	{"with a zero owner", "no owner", func(c *Certificate) { c.Owner = []wire.VaultID{{}} }},
	{"without an escrow", "no escrow", func(c *Certificate) { c.Escrow = wire.VaultID{} }},
	{"with one vault as both holders", "both owner and escrow", func(c *Certificate) { c.Escrow = c.Owner[0] }},
	{"with a threshold of one", "custody", func(c *Certificate) { c.Custody.Threshold = 1 }},
	{"with no custody", "custody", func(c *Certificate) { c.Custody = Custody{} }},
	{"in another vault's custody", "custody", func(c *Certificate) {
		c.Custody = AdditiveCustody(wire.VaultID{9}, c.Escrow)
	}},
	{"with a third holder", "custody", func(c *Certificate) {
		c.Custody.Holders = append(c.Custody.Holders, Holder{Escrow, []wire.VaultID{{9}}})
	}},
	{"with the holders' roles exchanged", "custody", func(c *Certificate) {
		c.Custody.Holders[0].Role, c.Custody.Holders[1].Role = Escrow, Owner
	}},
	{"made before 1970", "made at -1", func(c *Certificate) { c.Made = -1 }},
	{"with an expiry before it was made", "want 0 ≤ made < expiry", func(c *Certificate) { c.Expiry = c.Made }},
	{"with an expiry beyond the year 9999", "expiry 253402300800", func(c *Certificate) { c.Expiry = maxTime + 1 }},
	{"without a log", "log origin \"\" is not", func(c *Certificate) { c.Log = "" }},
	{"with a log of 256 characters", "log origin \"aaaa", func(c *Certificate) { c.Log = strings.Repeat("a", 256) }},
	{"with a log's name of two lines", "visible ASCII characters", func(c *Certificate) { c.Log = "a\nb" }},
	{"with an accent in the log's name", "visible ASCII characters", func(c *Certificate) { c.Log = "é" }},
	{"with a plus in the log's name", "visible ASCII characters", func(c *Certificate) { c.Log = "a+b" }},
}
