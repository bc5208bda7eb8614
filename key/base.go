package key

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"sync"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// combTable returns, for secp256k1, (j+1)·16^i·G at [i][j]: x and y in 32 bytes
// each, as words. It is made of public values, once, in some 25 ms.
var combTable = sync.OnceValue(func() *[64][16][8]uint64 {
	var t [64][16][8]uint64
	var step, p, sum, last secp256k1.JacobianPoint
	secp256k1.ScalarBaseMultNonConst(new(secp256k1.ModNScalar).SetInt(1), &step)
	for i := range t {
		p.Set(&step)
		for j := range t[i] {
			a := p
			a.ToAffine()
			var b [64]byte
			a.X.PutBytesUnchecked(b[:32])
			a.Y.PutBytesUnchecked(b[32:])
			for w := range t[i][j] {
				t[i][j][w] = binary.BigEndian.Uint64(b[8*w:])
			}
			secp256k1.AddNonConst(&p, &step, &sum)
			p, last = sum, a
		}
		step = last // 16·step
	}
	return &t
})

// secpBase returns kG on secp256k1. Neither its branches nor the addresses that
// it reads depend on k: a host that watches its TEE's cache learns nothing. (The
// library's own multiplication looks up tables at secret places.)
//
// Each of 64 digits d of k − Σ16^i, to base 16, selects (d+1)·16^i·G by reading
// all sixteen. The sum is kept in homogeneous coordinates, whose addition law
// has no exceptions.
func secpBase(k *scalar) (z secp256k1.JacobianPoint) {
	var offset secp256k1.ModNScalar
	offset.SetByteSlice(bytes.Repeat([]byte{0x11}, 32))
	digits := k.secp().Add(offset.Negate()).Bytes()
	defer clear(digits[:])

	z.Y.SetInt(1) // (0 : 1 : 0), the identity
	for i, choices := range combTable() {
		d := digits[31-i/2] >> (4 * (i % 2)) & 15
		var e [8]uint64
		for j := range choices {
			mask := -uint64(subtle.ConstantTimeByteEq(d, byte(j)))
			for w, word := range choices[j] {
				e[w] |= mask & word
			}
		}
		var b [64]byte
		for w := range e {
			binary.BigEndian.PutUint64(b[8*w:], e[w])
		}
		var x, y secp256k1.FieldVal
		x.SetByteSlice(b[:32])
		y.SetByteSlice(b[32:])
		addComplete(&z, &x, &y)
	}
	// From (X : Y : Z) to the library's Jacobian coordinates, (X/Z², Y/Z³).
	z.X.Mul(&z.Z).Normalize()
	z.Y.Mul2(&z.Y, new(secp256k1.FieldVal).SquareVal(&z.Z)).Normalize()
	z.Z.Normalize()
	return z
}

// addComplete adds the affine point (x, y) to z, which is in homogeneous
// coordinates and may be any point: Renes, Costello, Batina, "Complete addition
// formulas for prime order elliptic curves" (2015/1060), algorithm 8, a = 0.
// No magnitude of an operand of Mul exceeds 5; the library allows 8.
func addComplete(z *secp256k1.JacobianPoint, x, y *secp256k1.FieldVal) {
	var t0, t1, t2, t3, t4, b3, neg secp256k1.FieldVal
	b3.SetInt(21) // 3b
	t0.Mul2(&z.X, x)
	t1.Mul2(&z.Y, y)
	t3.Add2(x, y).Mul(t4.Add2(&z.X, &z.Y))
	t3.Add(neg.NegateVal(t4.Add2(&t0, &t1), 2))
	t4.Mul2(y, &z.Z).Add(&z.Y)
	z.Y.Mul2(x, &z.Z).Add(&z.X).Mul(&b3)
	t0.MulInt(3)
	t2.Mul2(&b3, &z.Z)
	z.Z.Add2(&t1, &t2)
	t1.Add(neg.NegateVal(&t2, 1))
	z.X.Mul2(&t4, &z.Y)
	z.X.NegateVal(&z.X, 1).Add(t2.Mul2(&t3, &t1))
	z.Y.Mul(&t0).Add(t1.Mul(&z.Z))
	z.Z.Mul(&t4).Add(t0.Mul(&t3))
}
