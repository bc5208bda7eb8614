package key

import (
	"crypto/subtle"
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// comb returns what secpBase needs, for secp256k1: at [i][j] of its table
// (j + ½)·32^i·G, x and y in 32 bytes each, as words; and as its offset the sum of all
// 15½·32^i. It is made of public values, once, in some 25 ms.
var comb = sync.OnceValues(func() (*[52][16][8]uint64, *secp256k1.ModNScalar) {
	var t [52][16][8]uint64
	var step, twice, p, sum secp256k1.JacobianPoint
	half, offset := new(secp256k1.ModNScalar).SetInt(2).InverseNonConst(), new(secp256k1.ModNScalar)
	secp256k1.ScalarBaseMultNonConst(half, &step)
	for i := range t {
		offset.Mul(new(secp256k1.ModNScalar).SetInt(32)).Add(new(secp256k1.ModNScalar).SetInt(31))
		secp256k1.AddNonConst(&step, &step, &twice)
		p.Set(&step)
		for j := range t[i] {
			if j > 0 {
				secp256k1.AddNonConst(&p, &twice, &sum)
				p.Set(&sum)
			}
			a := p
			a.ToAffine()
			var b [64]byte
			a.X.PutBytesUnchecked(b[:32])
			a.Y.PutBytesUnchecked(b[32:])
			for w := range t[i][j] {
				t[i][j][w] = binary.BigEndian.Uint64(b[8*w:])
			}
		}
		secp256k1.AddNonConst(&p, &step, &sum)
		step.Set(&sum) // 31 and 1 are 32
	}
	return &t, offset.Mul(half)
})

// secpPrime is that of secp256k1's field, in words, the lowest last.
var secpPrime = [4]uint64{1<<64 - 1, 1<<64 - 1, 1<<64 - 1, 0xfffffffefffffc2f}

// secpBase returns kG on secp256k1. Neither its branches nor the addresses that
// it reads depend on k: a host that watches its TEE's cache learns nothing. (The
// library's own multiplication looks up tables at secret places.)
//
// Of k + Σ15½·32^i, each of 52 digits d to base 32 stands for d − 15½ times 32^i·G:
// never nothing, and either sign as often. It selects by reading all sixteen, and
// then the sign. The sum is kept in homogeneous coordinates, whose addition law has
// no exceptions.
func secpBase(k *scalar) (z secp256k1.JacobianPoint) {
	table, offset := comb()
	digits := k.secp().Add(offset).Bytes()
	slices.Reverse(digits[:])
	padded := append(digits[:], 0)
	defer clear(digits[:])
	defer clear(padded)

	z.Y.SetInt(1) // (0 : 1 : 0), the identity
	for i, choices := range table {
		d := byte(binary.LittleEndian.Uint16(padded[5*i/8:])>>(5*i%8)) & 31
		minus := d>>4 - 1 // all ones where d < 15½
		place := (d ^ minus) & 15
		var e [8]uint64
		for j := range choices {
			mask := -uint64(subtle.ConstantTimeByteEq(place, byte(j)))
			for w, word := range choices[j] {
				e[w] |= mask & word
			}
		}
		for w, borrow := 3, uint64(0); w >= 0; w-- { // y, or p − y
			var n uint64
			n, borrow = bits.Sub64(secpPrime[w], e[4+w], borrow)
			e[4+w] ^= (n ^ e[4+w]) & -uint64(minus&1)
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
