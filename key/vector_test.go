package key

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"

	"filippo.io/edwards25519"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"latchkey/coin"
	"latchkey/spec/vectors"
	"latchkey/wire"
)

var update = flag.Bool("update", false, "write spec/vectors/key anew")

// checkVectors holds a file of spec/vectors/key to what this package does.
func checkVectors[T any](t *testing.T, name, about string, made []T, head func(T) (name, expect string), run func(T) error) {
	t.Helper()
	vectors.Check(t, *update, "../spec/vectors/key/"+name, vectors.File[T]{About: about, Cases: made}, head, run)
}

type hexBytes = vectors.Hex

// torsion returns the eight points of small order of the Edwards curve,
// multiples 0 to 7 of one of order 8.
func torsion(t testing.TB) (points [8]*edwards25519.Point) {
	t.Helper()
	one := scalar{t: coin.Ed25519, b: [32]byte{1}}
	last := one.negate()
	for y := byte(2); ; y++ {
		q, err := new(edwards25519.Point).SetBytes(append([]byte{y}, make([]byte, 31)...))
		if err != nil {
			continue
		}
		// [l]q = [l−1]q + q has no part of prime order.
		z := new(edwards25519.Point).ScalarMult(last.ed(), q)
		z.Add(z, q)
		four := new(edwards25519.Point).Double(new(edwards25519.Point).Double(z))
		if four.Equal(edwards25519.NewIdentityPoint()) == 1 {
			continue // of order 1, 2 or 4
		}
		points[0] = edwards25519.NewIdentityPoint()
		for i := 1; i < 8; i++ {
			points[i] = new(edwards25519.Point).Add(points[i-1], z)
		}
		return points
	}
}

type pointVector struct {
	Name   string       `json:"name"`
	Expect string       `json:"expect"`
	Type   coin.KeyType `json:"type"`
	Point  hexBytes     `json:"point"`
}

func pointVectors(t *testing.T) (out []pointVector) {
	add := func(kt coin.KeyType, name, expect string, enc []byte) {
		out = append(out, pointVector{fmt.Sprintf("%v: %s", kt, name), expect, kt, enc})
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	k := coin.Secp256k1
	g := unhex("02 79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
	full := unhex("04 79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798 483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8")
	prefix := func(b byte, enc []byte) []byte { return append([]byte{b}, enc[1:]...) }
	add(k, "the base point", "ok", g)
	add(k, "its negative", "ok", prefix(3, g))
	add(k, "a share's point", "ok", mustShare(t, k, newStream("point")).Public().Bytes())
	add(k, "x = 1", "ok", unhex("02"+strings.Repeat("00", 31)+"01"))
	add(k, "empty", "error: 0 bytes, want 33", nil)
	add(k, "truncated", "error: 32 bytes, want 33", g[:32])
	add(k, "a byte too many", "error: 34 bytes, want 33", append(bytes.Clone(g), 0))
	add(k, "x only (BIP 340)", "error: 32 bytes, want 33", g[1:])
	add(k, "uncompressed", "error: 65 bytes, want 33", full)
	add(k, "hybrid", "error: 65 bytes, want 33", prefix(6, full))
	for _, p := range []byte{0, 1, 4, 5, 6, 7, 0x82, 0xff} {
		add(k, fmt.Sprintf("prefix %02x", p), "error: unsupported format", prefix(p, g))
	}
	add(k, "the identity as one zero byte", "error: 1 bytes, want 33", []byte{0})
	add(k, "all zero", "error: unsupported format", make([]byte, 33))
	add(k, "x = p", "error: x >= field prime", unhex("02 fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"))
	add(k, "x = p + 1, where x = 1 is on the curve", "error: x >= field prime", unhex("02 fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30"))
	add(k, "x = 2^256 - 1", "error: x >= field prime", unhex("03"+strings.Repeat("ff", 32)))
	add(k, "x = 0, not on the curve", "error: not on the secp256k1 curve", unhex("02"+strings.Repeat("00", 32)))
	add(k, "x = 5, not on the curve", "error: not on the secp256k1 curve", unhex("02"+strings.Repeat("00", 31)+"05"))

	e := coin.Ed25519
	b := edwards25519.NewGeneratorPoint()
	share := mustShare(t, e, newStream("point")).Public().Bytes()
	add(e, "the base point", "ok", b.Bytes())
	add(e, "its negative", "ok", new(edwards25519.Point).Negate(b).Bytes())
	add(e, "a share's point", "ok", share)
	add(e, "empty", "error: 0 bytes, want 32", nil)
	add(e, "truncated", "error: 31 bytes, want 32", share[:31])
	add(e, "a byte too many", "error: 33 bytes, want 32", append(bytes.Clone(share), 0))
	add(e, "a secp256k1 point", "error: 33 bytes, want 32", g)
	add(e, "y = 7, not on the curve", "error: not on the curve", append([]byte{7}, make([]byte, 31)...))
	add(e, "the sign bit on y = 1, where x = 0", "error: not the canonical encoding", append([]byte{1}, unhex(strings.Repeat("00", 30)+"80")...))
	add(e, "the sign bit on y = -1, where x = 0", "error: not the canonical encoding", append([]byte{0xec}, unhex(strings.Repeat("ff", 31))...))
	for i, q := range torsion(t) {
		if i == 0 {
			add(e, "the identity", "error: the identity", q.Bytes())
			continue
		}
		add(e, fmt.Sprintf("small order, %d times a point of order 8", i), "error: not of prime order", q.Bytes())
		add(e, fmt.Sprintf("mixed order, the base point and %d times a point of order 8", i), "error: not of prime order", new(edwards25519.Point).Add(q, b).Bytes())
	}
	for n := byte(0); n < 19; n++ { // y = p + n, for every n that is on the curve
		for _, sign := range []byte{0x7f, 0xff} {
			enc := append([]byte{0xed + n}, unhex(strings.Repeat("ff", 30))...)
			enc = append(enc, sign)
			if _, err := new(edwards25519.Point).SetBytes(enc); err != nil {
				continue
			}
			add(e, fmt.Sprintf("y = p + %d, sign bit %d", n, sign>>7), "error: not the canonical encoding", enc)
		}
	}
	return out
}

func TestPointVectors(t *testing.T) {
	checkVectors(t, "point.json", "Encodings of points. See spec/key.md, Points.",
		pointVectors(t), func(v pointVector) (string, string) { return v.Name, v.Expect }, func(v pointVector) error {
			p, err := ParsePoint(v.Type, v.Point)
			if err != nil {
				if p != (Point{}) {
					return errors.New("a point beside an error")
				}
				return err
			}
			if p.Type() != v.Type || !bytes.Equal(p.Bytes(), v.Point) || resend(t, p) != p {
				return fmt.Errorf("reads as %v", p)
			}
			return nil
		})
}

type shareVector struct {
	Name   string       `json:"name"`
	Expect string       `json:"expect"`
	Type   coin.KeyType `json:"type"`
	Scalar hexBytes     `json:"scalar"`
	Public hexBytes     `json:"public,omitempty"`
}

func TestShareVectors(t *testing.T) {
	var made []shareVector
	add := func(kt coin.KeyType, name, expect string, x, p []byte) {
		made = append(made, shareVector{fmt.Sprintf("%v: %s", kt, name), expect, kt, x, p})
	}
	reversed := func(b []byte) []byte {
		out := make([]byte, len(b))
		for i, c := range b {
			out[len(b)-1-i] = c
		}
		return out
	}
	orders := map[coin.KeyType]string{ // n and l, big-endian
		coin.Secp256k1: "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
		coin.Ed25519:   "1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed",
	}
	for _, kt := range bothTypes {
		order, err := hex.DecodeString(orders[kt])
		if err != nil {
			t.Fatal(err)
		}
		is := func(b []byte) []byte { // in the type's byte order
			if kt == coin.Ed25519 {
				return reversed(b)
			}
			return b
		}
		below, above, one := bytes.Clone(order), bytes.Clone(order), make([]byte, 32)
		below[31]--
		above[31]++
		one[31] = 1
		g, minusG := secp256k1G(), secp256k1G()
		minusG[0] ^= 1
		if kt == coin.Ed25519 {
			g, minusG = edwards25519.NewGeneratorPoint().Bytes(), edwards25519.NewGeneratorPoint().Bytes()
			minusG[31] ^= 0x80
		}
		s := mustShare(t, kt, newStream("share"))
		add(kt, "one", "ok", is(one), g)
		add(kt, "the order less one", "ok", is(below), minusG)
		add(kt, "a share", "ok", s.Expose(), s.Public().Bytes())
		add(kt, "zero", "error: zero", make([]byte, 32), nil)
		add(kt, "the order", "error: not below the group's order", is(order), nil)
		add(kt, "the order and one", "error: not below the group's order", is(above), nil)
		add(kt, "all ones", "error: not below the group's order", bytes.Repeat([]byte{0xff}, 32), nil)
		add(kt, "empty", "error: 0 bytes", nil, nil)
		add(kt, "truncated", "error: 31 bytes", s.Expose()[:31], nil)
		add(kt, "a byte too many", "error: 33 bytes", append(s.Expose(), 0), nil)
	}
	checkVectors(t, "share.json", "Scalars of shares and private keys (big-endian for secp256k1, little-endian for ed25519) and their points.",
		made, func(v shareVector) (string, string) { return v.Name, v.Expect }, func(v shareVector) error {
			s, err := ParseShare(v.Type, v.Scalar)
			if err != nil {
				if strings.Contains(err.Error(), hex.EncodeToString(v.Scalar)) && len(v.Scalar) > 0 {
					return errors.New("the error tells the secret")
				}
				return err
			}
			if !bytes.Equal(s.Expose(), v.Scalar) || !bytes.Equal(s.Public().Bytes(), v.Public) {
				return fmt.Errorf("point is %v", s.Public())
			}
			return nil
		})
}

func secp256k1G() []byte {
	var one secp256k1.ModNScalar
	return secp256k1.NewPrivateKey(one.SetInt(1)).PubKey().SerializeCompressed()
}

type proofVector struct {
	Name   string       `json:"name"`
	Expect string       `json:"expect"`
	Batch  wire.Hash    `json:"batch"`
	Index  uint32       `json:"index"`
	Role   uint8        `json:"role"`
	Owner  wire.VaultID `json:"owner"`
	Escrow wire.VaultID `json:"escrow"`
	Point  Point        `json:"point"`
	Secret hexBytes     `json:"secret,omitempty"` // with Random, whoever derives nonces as spec/key.md proposes gets Proof
	Random hexBytes     `json:"random,omitempty"`
	Proof  hexBytes     `json:"proof"` // type, R, s
}

func (v proofVector) context() ProofContext {
	return ProofContext{v.Batch, v.Index, Role(v.Role), v.Owner, v.Escrow}
}

func TestProofVectors(t *testing.T) {
	var made []proofVector
	for _, kt := range bothTypes {
		share, other := mustShare(t, kt, newStream("proof")), mustShare(t, kt, newStream("other"))
		random := bytes.Repeat([]byte{0x5a}, 32)
		good := proofVector{
			Name: kt.String() + ": proof", Expect: "ok", Index: 7, Role: uint8(Owner), Point: share.Public(),
			Batch: wire.HashBytes("test", []byte("batch")),
			Owner: wire.VaultID(wire.HashBytes("test", []byte("owner"))), Escrow: wire.VaultID(wire.HashBytes("test", []byte("escrow"))),
			Secret: share.Expose(), Random: random,
		}
		proof, err := Prove(share, good.context(), bytes.NewReader(random))
		if err != nil {
			t.Fatal(err)
		}
		enc, err := proof.MarshalCBOR()
		if err != nil {
			t.Fatal(err)
		}
		good.Proof = enc[2:]
		made = append(made, good)
		n := pointSize(kt)
		for _, c := range []struct {
			name, expect string
			change       func(*proofVector)
		}{
			{"for another batch", "does not verify", func(v *proofVector) { v.Batch[0] ^= 1 }},
			{"for another index", "does not verify", func(v *proofVector) { v.Index++ }},
			{"for the other role", "does not verify", func(v *proofVector) { v.Role = uint8(Escrow) }},
			{"for another owner", "does not verify", func(v *proofVector) { v.Owner[31] ^= 1 }},
			{"for another escrow", "does not verify", func(v *proofVector) { v.Escrow[31] ^= 1 }},
			{"for exchanged holders", "does not verify", func(v *proofVector) { v.Owner, v.Escrow = v.Escrow, v.Owner }},
			{"for another point", "does not verify", func(v *proofVector) { v.Point = other.Public() }},
			{"for no batch", "no batch", func(v *proofVector) { v.Batch = wire.Hash{} }},
			{"for no role", "unknown role 0", func(v *proofVector) { v.Role = 0 }},
			{"for one vault as both holders", "both owner and escrow", func(v *proofVector) { v.Owner = v.Escrow }},
			{"with another R", "does not verify", func(v *proofVector) { v.Proof[1+n/2] ^= 1 }},
			{"with -R", "does not verify", func(v *proofVector) {
				if kt == coin.Secp256k1 {
					v.Proof[1] ^= 1
				} else {
					v.Proof[n] ^= 0x80
				}
			}},
			{"with another s", "does not verify", func(v *proofVector) { v.Proof[1+n+16] ^= 1 }},
			{"with s = 0", "does not verify", func(v *proofVector) { clear(v.Proof[1+n:]) }},
			{"with s not reduced", "not below the group's order", func(v *proofVector) {
				for i := range 32 {
					v.Proof[1+n+i] = 0xff
				}
			}},
			{"truncated", "bytes of", func(v *proofVector) { v.Proof = v.Proof[:len(v.Proof)-1] }},
			{"a byte too long", "bytes of", func(v *proofVector) { v.Proof = append(v.Proof, 0) }},
			{"of no type", "of key type 0", func(v *proofVector) { v.Proof[0] = 0 }},
		} {
			bad := good
			bad.Name, bad.Expect = kt.String()+": "+c.name, "error: "+c.expect
			bad.Secret, bad.Random, bad.Proof = nil, nil, bytes.Clone(good.Proof)
			c.change(&bad)
			made = append(made, bad)
		}
	}
	checkVectors(t, "proof.json", "Proofs of knowledge. proof: key type, R, s. See spec/key.md, Proofs.",
		made, func(v proofVector) (string, string) { return v.Name, v.Expect }, func(v proofVector) error {
			var proof Proof
			if err := proof.UnmarshalCBOR(cborBytes(v.Proof)); err != nil {
				return err
			}
			if err := VerifyProof(v.Point, v.context(), proof); err != nil {
				return err
			}
			share, err := ParseShare(v.Point.Type(), v.Secret)
			if err != nil {
				return err
			}
			again, err := Prove(share, v.context(), bytes.NewReader(v.Random))
			if err == nil && again != proof {
				err = errors.New("Prove makes another proof")
			}
			return err
		})
}

type refreshVector struct {
	Name   string       `json:"name"`
	Expect string       `json:"expect"`
	Type   coin.KeyType `json:"type"`
	// Of epoch e, and after it.
	A        hexBytes `json:"a"`
	B        hexBytes `json:"b"`
	R        hexBytes `json:"r,omitempty"`
	BNew     hexBytes `json:"b_new,omitempty"`
	ANew     hexBytes `json:"a_new,omitempty"`
	Key      Point    `json:"key"`         // P
	BPoint   Point    `json:"B_point"`     // bG
	RPoint   *Point   `json:"R_point"`     // rG, as published
	BNewPt   *Point   `json:"B_new_point"` // (b − r)G, as published
	Check    string   `json:"check"`       // what to do: "refresh", "share", "published" or "combine"
	Combined hexBytes `json:"d,omitempty"`
}

func TestRefreshVectors(t *testing.T) {
	var made []refreshVector
	for _, kt := range bothTypes {
		rand := newStream("refresh")
		a, b, other := mustShare(t, kt, rand), mustShare(t, kt, rand), mustShare(t, kt, rand)
		P, err := a.Public().Plus(b.Public())
		if err != nil {
			t.Fatal(err)
		}
		r, bNew, R, BNew, err := refreshOne(b, rand)
		if err != nil {
			t.Fatal(err)
		}
		aNew, err := a.Plus(r)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Combine(aNew, bNew, P)
		if err != nil {
			t.Fatal(err)
		}
		X := other.Public()
		good := refreshVector{
			Expect: "ok", Type: kt, A: a.Expose(), B: b.Expose(), R: r.Expose(), BNew: bNew.Expose(), ANew: aNew.Expose(),
			Key: P, BPoint: b.Public(), RPoint: &R, BNewPt: &BNew, Combined: d.Expose(),
		}
		add := func(check, name, expect string, change func(*refreshVector)) {
			v := good
			v.Check, v.Name, v.Expect = check, kt.String()+": "+name, expect
			change(&v)
			made = append(made, v)
		}
		add("refresh", "refresh", "ok", func(*refreshVector) {})
		add("refresh", "refresh with r = b", "error: the result is the identity", func(v *refreshVector) { v.R = v.B })
		add("refresh", "refresh with r = -a", "error: the result is the identity", func(v *refreshVector) {
			neg := a.scalar().negate()
			v.R = neg.b[:]
		})
		add("share", "share of the new epoch", "ok", func(*refreshVector) {})
		add("share", "old a against the new B", "error: do not add up", func(v *refreshVector) { v.ANew = v.A })
		add("share", "new a against the old B", "error: do not add up", func(v *refreshVector) { v.BNewPt = &v.BPoint })
		add("share", "share of another key", "error: do not add up", func(v *refreshVector) { v.Key = X })
		add("share", "zero share", "error: zero", func(v *refreshVector) { v.ANew = make([]byte, 32) })
		add("published", "R and B' as published", "ok", func(*refreshVector) {})
		add("published", "another R", "error: do not add up", func(v *refreshVector) { v.RPoint = &X })
		add("published", "another B'", "error: do not add up", func(v *refreshVector) { v.BNewPt = &X })
		add("published", "B' of the old epoch", "error: do not add up", func(v *refreshVector) { v.BNewPt = &v.BPoint })
		add("combine", "new a, new b", "ok", func(*refreshVector) {})
		add("combine", "old a, old b", "ok", func(v *refreshVector) { v.ANew, v.BNew = v.A, v.B })
		add("combine", "old a, new b", "error: do not add up", func(v *refreshVector) { v.ANew = v.A })
		add("combine", "new a, old b", "error: do not add up", func(v *refreshVector) { v.BNew = v.B })
		add("combine", "b = -a", "error: the result is the identity", func(v *refreshVector) {
			neg := aNew.scalar().negate()
			v.BNew = neg.b[:]
		})
	}
	checkVectors(t, "refresh.json", "Refresh and its checks. See spec/key.md, Refresh.",
		made, func(v refreshVector) (string, string) { return v.Name, v.Expect }, func(v refreshVector) error {
			parse := func(b hexBytes) Share {
				s, err := ParseShare(v.Type, b)
				if err != nil {
					t.Fatalf("%s: %v", v.Name, err)
				}
				return s
			}
			switch v.Check {
			case "refresh":
				r, b, a := parse(v.R), parse(v.B), parse(v.A)
				bNew, err := b.Minus(r)
				if err != nil {
					return err
				}
				aNew, err := a.Plus(r)
				if err != nil {
					return err
				}
				if !bytes.Equal(bNew.Expose(), v.BNew) || !bytes.Equal(aNew.Expose(), v.ANew) || r.Public() != *v.RPoint || bNew.Public() != *v.BNewPt {
					return errors.New("other results")
				}
				return nil
			case "share":
				a, err := ParseShare(v.Type, v.ANew)
				if err != nil {
					return err
				}
				return CheckShare(a, *v.BNewPt, v.Key)
			case "published":
				return CheckRefresh(v.BPoint, *v.RPoint, *v.BNewPt)
			case "combine":
				d, err := Combine(parse(v.ANew), parse(v.BNew), v.Key)
				if err == nil && !bytes.Equal(d.Expose(), v.Combined) {
					err = errors.New("another key")
				}
				return err
			}
			return fmt.Errorf("unknown check %q", v.Check)
		})
}
