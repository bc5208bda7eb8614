package key

import (
	"crypto/rand"
	"fmt"
	"testing"

	"filippo.io/edwards25519"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"latchkey/coin"
	"latchkey/wire"
)

// BenchmarkBare is what the libraries cost without anything of ours, to compare
// with in the same run.
func BenchmarkBare(b *testing.B) {
	s := mustShare(b, coin.Secp256k1, rand.Reader)
	e := mustShare(b, coin.Ed25519, rand.Reader)
	k, x := s.scalar().secp(), e.scalar().ed()
	var j, j2 secp256k1.JacobianPoint
	secp256k1.ScalarBaseMultNonConst(k, &j)
	j.ToAffine()
	var p edwards25519.Point
	p.ScalarBaseMult(x)
	enc, encEd := s.Public().Bytes(), p.Bytes()
	b.Run("secp256k1/base", func(b *testing.B) {
		for b.Loop() {
			secp256k1.ScalarBaseMultNonConst(k, &j2)
		}
	})
	b.Run("secp256k1/mult", func(b *testing.B) {
		for b.Loop() {
			secp256k1.ScalarMultNonConst(k, &j, &j2)
		}
	})
	b.Run("secp256k1/affine", func(b *testing.B) {
		for b.Loop() {
			q := j2
			q.ToAffine()
		}
	})
	b.Run("secp256k1/parse", func(b *testing.B) {
		for b.Loop() {
			secp256k1.ParsePubKey(enc)
		}
	})
	b.Run("ed25519/base", func(b *testing.B) {
		for b.Loop() {
			p.ScalarBaseMult(x)
		}
	})
	b.Run("ed25519/double-mult", func(b *testing.B) {
		var q edwards25519.Point
		for b.Loop() {
			q.VarTimeDoubleScalarBaseMult(x, &p, x)
		}
	})
	b.Run("ed25519/parse", func(b *testing.B) {
		var q edwards25519.Point
		for b.Loop() {
			q.SetBytes(encEd)
		}
	})
}

func forTypes(b *testing.B, f func(b *testing.B, t coin.KeyType)) {
	for _, t := range bothTypes {
		b.Run(t.String(), func(b *testing.B) { f(b, t) })
	}
}

func BenchmarkParsePoint(b *testing.B) {
	forTypes(b, func(b *testing.B, t coin.KeyType) {
		enc := mustShare(b, t, rand.Reader).Public().Bytes()
		for b.Loop() {
			if _, err := ParsePoint(t, enc); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkGenerate is a whole batch of 1,024 keys: both sides' shares and
// proofs, the check of both halves, the join and the tree.
func BenchmarkGenerate(b *testing.B) {
	forTypes(b, func(b *testing.B, t coin.KeyType) {
		batch := Batch{ID: wire.Hash{1}, Type: t, N: 1024, Owner: wire.VaultID{1}, Escrow: wire.VaultID{2}}
		for b.Loop() {
			_, own, err := batch.Generate(Owner, rand.Reader)
			if err != nil {
				b.Fatal(err)
			}
			c := batch.Commit(own.Half().Points, [32]byte{})
			_, esc, err := batch.Generate(Escrow, rand.Reader)
			if err != nil {
				b.Fatal(err)
			}
			atOwner, err := batch.CheckHalf(Escrow, esc.Half())
			if err != nil {
				b.Fatal(err)
			}
			if _, err := batch.CheckOpen(c, [32]byte{}, own.Half()); err != nil {
				b.Fatal(err)
			}
			keys, err := Join(own, atOwner)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := NewTree(keys); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1024, "µs/key")
	})
}

func BenchmarkShare(b *testing.B) {
	forTypes(b, func(b *testing.B, t coin.KeyType) {
		for b.Loop() {
			mustShare(b, t, rand.Reader).Public()
		}
	})
}

func BenchmarkProve(b *testing.B) {
	forTypes(b, func(b *testing.B, t coin.KeyType) {
		s, ctx := mustShare(b, t, rand.Reader), ProofContext{wire.Hash{1}, 0, Owner, wire.VaultID{1}, wire.VaultID{2}}
		p := s.Public()
		for b.Loop() {
			if _, err := prove([]Share{s}, []Point{p}, func(int) ProofContext { return ctx }, make([]byte, 32)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerifyProof(b *testing.B) {
	forTypes(b, func(b *testing.B, t coin.KeyType) {
		s, ctx := mustShare(b, t, rand.Reader), ProofContext{wire.Hash{1}, 0, Owner, wire.VaultID{1}, wire.VaultID{2}}
		p := s.Public()
		proof, err := Prove(s, ctx, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := VerifyProof(p, ctx, proof); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRefresh is what the escrow does for chunks that one entry moves; what it
// reports is the time of one.
func BenchmarkRefresh(b *testing.B) {
	forTypes(b, func(b *testing.B, t coin.KeyType) {
		for _, n := range []int{1, 100} {
			b.Run(fmt.Sprint(n), func(b *testing.B) {
				var shares []Share
				var points []Point
				for i := range n {
					shares = append(shares, mustShare(b, t, rand.Reader))
					points = append(points, shares[i].Public())
				}
				for b.Loop() {
					if _, err := Refresh(shares, points, rand.Reader); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/share")
			})
		}
	})
}

func BenchmarkCheckShare(b *testing.B) {
	forTypes(b, func(b *testing.B, t coin.KeyType) {
		s, o := mustShare(b, t, rand.Reader), mustShare(b, t, rand.Reader).Public()
		P, err := s.Public().Plus(o)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := CheckShare(s, o, P); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCheckRefresh(b *testing.B) {
	forTypes(b, func(b *testing.B, t coin.KeyType) {
		s := mustShare(b, t, rand.Reader)
		_, _, R, BNew, err := refreshOne(s, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		B := s.Public()
		for b.Loop() {
			if err := CheckRefresh(B, R, BNew); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCombine(b *testing.B) {
	forTypes(b, func(b *testing.B, t coin.KeyType) {
		s, o := mustShare(b, t, rand.Reader), mustShare(b, t, rand.Reader)
		P, err := s.Public().Plus(o.Public())
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := Combine(s, o, P); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerifyPath(b *testing.B) {
	keys := make([]Point, 1024)
	for i := range keys {
		keys[i] = mustShare(b, coin.Ed25519, rand.Reader).Public()
	}
	tree, err := NewTree(keys)
	if err != nil {
		b.Fatal(err)
	}
	path, err := tree.Path(777)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := VerifyPath(tree.Root(), 1024, 777, keys[777], path); err != nil {
			b.Fatal(err)
		}
	}
}
