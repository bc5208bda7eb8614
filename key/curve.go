package key

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"

	"filippo.io/edwards25519"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"latchkey/coin"
)

// errIdentity says that a sum of points is the identity, or one of scalars zero:
// then one side would hold the whole key, or nobody a key.
var errIdentity = errors.New("the result is the identity")

// A scalar is an integer modulo the order of type t's group, as its canonical
// 32 bytes: big-endian for secp256k1 (SEC 1 v2 §2.3.7), little-endian for
// ed25519 (RFC 8032 §5.1). Both operands of an operation have one type; callers
// see to it. Scalar operations run in constant time.
type scalar struct {
	t coin.KeyType
	b [32]byte
}

// parseScalar reads a canonical scalar, which may be zero.
func parseScalar(t coin.KeyType, b []byte) (scalar, error) {
	if len(b) != 32 {
		return scalar{}, fmt.Errorf("%v scalar of %d bytes, want 32", t, len(b))
	}
	ok := false
	switch t {
	case coin.Secp256k1:
		ok = !new(secp256k1.ModNScalar).SetByteSlice(b)
	case coin.Ed25519:
		_, err := new(edwards25519.Scalar).SetCanonicalBytes(b)
		ok = err == nil
	default:
		return scalar{}, fmt.Errorf("scalar of unknown %v", t)
	}
	if !ok {
		return scalar{}, fmt.Errorf("%v scalar is not below the group's order", t)
	}
	return scalar{t, [32]byte(b)}, nil
}

// wideScalar reduces 512 bits, an integer in t's byte order, modulo the group's
// order; of uniform bits it makes a scalar with a bias below 2⁻²⁵⁰.
func wideScalar(t coin.KeyType, b *[64]byte) scalar {
	if t == coin.Ed25519 {
		s, err := new(edwards25519.Scalar).SetUniformBytes(b[:])
		if err != nil {
			panic(err) // only for another length
		}
		return edScalar(s)
	}
	var hi, lo, shift secp256k1.ModNScalar
	shift.SetByteSlice(bytes.Repeat([]byte{0xff}, 32))
	shift.Add(new(secp256k1.ModNScalar).SetInt(1)) // 2²⁵⁶ mod n
	hi.SetByteSlice(b[:32])
	lo.SetByteSlice(b[32:])
	return secpScalar(hi.Mul(&shift).Add(&lo))
}

func secpScalar(s *secp256k1.ModNScalar) scalar { return scalar{coin.Secp256k1, s.Bytes()} }
func edScalar(s *edwards25519.Scalar) scalar    { return scalar{coin.Ed25519, [32]byte(s.Bytes())} }

func (x *scalar) secp() *secp256k1.ModNScalar {
	s := new(secp256k1.ModNScalar)
	s.SetBytes(&x.b)
	return s
}

func (x *scalar) ed() *edwards25519.Scalar {
	s, err := new(edwards25519.Scalar).SetCanonicalBytes(x.b[:])
	if err != nil {
		panic(err) // every scalar is canonical
	}
	return s
}

func (x *scalar) isZero() bool {
	return subtle.ConstantTimeCompare(x.b[:], make([]byte, 32)) == 1
}

// plus returns x + y.
func (x *scalar) plus(y *scalar) scalar {
	if x.t == coin.Ed25519 {
		return edScalar(x.ed().Add(x.ed(), y.ed()))
	}
	return secpScalar(x.secp().Add(y.secp()))
}

// negate returns −x.
func (x *scalar) negate() scalar {
	if x.t == coin.Ed25519 {
		return edScalar(new(edwards25519.Scalar).Negate(x.ed()))
	}
	return secpScalar(x.secp().Negate())
}

// minus returns x − y.
func (x *scalar) minus(y *scalar) scalar {
	neg := y.negate()
	return x.plus(&neg)
}

// timesPlus returns x·y + z.
func (x *scalar) timesPlus(y, z *scalar) scalar {
	if x.t == coin.Ed25519 {
		return edScalar(new(edwards25519.Scalar).MultiplyAdd(x.ed(), y.ed(), z.ed()))
	}
	return secpScalar(x.secp().Mul(y.secp()).Add(z.secp()))
}

// An element is a point in the middle of a computation, of either curve; unlike
// a Point it may be the identity. Operands of one operation have one type.
type element struct {
	t coin.KeyType
	k secp256k1.JacobianPoint
	e edwards25519.Point
}

// base returns xG, in constant time.
func (x *scalar) base() *element {
	z := &element{t: x.t}
	if x.t == coin.Ed25519 {
		z.e.ScalarBaseMult(x.ed())
	} else {
		z.k = secpBase(x)
	}
	return z
}

// parseElement reads a point that ParsePoint would accept; for ed25519 all but
// the check of its order.
func parseElement(t coin.KeyType, b []byte) (*element, error) {
	switch n := pointSize(t); {
	case n == 0:
		return nil, fmt.Errorf("unknown %v", t)
	case len(b) != n:
		return nil, fmt.Errorf("%d bytes, want %d", len(b), n)
	}
	z := &element{t: t}
	if t == coin.Secp256k1 {
		p, err := secp256k1.ParsePubKey(b)
		if err != nil {
			return nil, err
		}
		p.AsJacobian(&z.k)
		return z, nil
	}
	if _, err := z.e.SetBytes(b); err != nil {
		return nil, errors.New("not on the curve")
	}
	if !bytes.Equal(z.e.Bytes(), b) {
		return nil, errors.New("not the canonical encoding (RFC 8032 §5.1.3)")
	}
	if z.isIdentity() {
		return nil, errors.New("the identity")
	}
	return z, nil
}

// isPrimeOrder reports whether x lies in the subgroup of prime order l.
// It computes [l−1]x and compares with −x: a scalar l would be reduced to 0, and
// [0]x is the identity for every x.
func (x *element) isPrimeOrder() bool {
	if x.t != coin.Ed25519 {
		return true // secp256k1 has cofactor 1
	}
	one := scalar{t: coin.Ed25519, b: [32]byte{1}}
	last := one.negate()
	y := new(edwards25519.Point).VarTimeDoubleScalarBaseMult(last.ed(), &x.e, edwards25519.NewScalar())
	return y.Equal(new(edwards25519.Point).Negate(&x.e)) == 1
}

func (x *element) isIdentity() bool {
	if x.t == coin.Ed25519 {
		return x.e.Equal(edwards25519.NewIdentityPoint()) == 1
	}
	return x.k.Z.IsZero() || x.k.X.IsZero() && x.k.Y.IsZero()
}

// plus returns x + y.
func (x *element) plus(y *element) *element {
	z := &element{t: x.t}
	if x.t == coin.Ed25519 {
		z.e.Add(&x.e, &y.e)
	} else {
		secp256k1.AddNonConst(&x.k, &y.k, &z.k)
	}
	return z
}

// minus returns x − y.
func (x *element) minus(y *element) *element {
	z := &element{t: x.t}
	if x.t == coin.Ed25519 {
		z.e.Subtract(&x.e, &y.e)
		return z
	}
	neg := y.k
	neg.Y.Normalize().Negate(1).Normalize()
	secp256k1.AddNonConst(&x.k, &neg, &z.k)
	return z
}

// equal reports whether x and y are one point.
func (x *element) equal(y *element) bool {
	if x.t == coin.Ed25519 {
		return x.e.Equal(&y.e) == 1
	}
	return x.k.EquivalentNonConst(&y.k)
}

// baseMinus returns sG − eX, for public values only: its time varies.
func baseMinus(s, e *scalar, x *element) *element {
	z, neg := &element{t: x.t}, e.negate()
	if x.t == coin.Ed25519 {
		z.e.VarTimeDoubleScalarBaseMult(neg.ed(), &x.e, s.ed())
		return z
	}
	var sg, ex secp256k1.JacobianPoint
	secp256k1.ScalarBaseMultNonConst(s.secp(), &sg)
	secp256k1.ScalarMultNonConst(neg.secp(), &x.k, &ex)
	secp256k1.AddNonConst(&sg, &ex, &z.k)
	return z
}

// points returns elements as Points, and brings those of secp256k1 to affine
// coordinates, with one inversion for all (Montgomery, "Speeding the Pollard and
// elliptic curve methods", 1987, §10.3.1). The identity becomes the zero Point, and
// errIdentity is returned besides. Its time depends on nothing else. Elements of
// ed25519 must be known to be of prime order.
func points(xs ...*element) (out []Point, err error) {
	out = make([]Point, len(xs))
	before := make([]secp256k1.FieldVal, len(xs)) // the product of all Z before
	var inv, square secp256k1.FieldVal
	inv.SetInt(1)
	for i, x := range xs {
		if before[i] = inv; x.isIdentity() {
			err = errIdentity
		} else if x.t == coin.Secp256k1 {
			inv.Mul(&x.k.Z)
		}
	}
	if !inv.Normalize().IsOne() { // there is one of secp256k1
		inv.Inverse()
	}
	for i, x := range slices.Backward(xs) {
		switch {
		case x.isIdentity():
		case x.t == coin.Ed25519:
			out[i].t = x.t
			copy(out[i].enc[:], x.e.Bytes())
		default:
			z := before[i]
			z.Mul(&inv)
			inv.Mul(&x.k.Z)
			square.SquareVal(&z)
			x.k.X.Mul(&square).Normalize()
			x.k.Y.Mul(square.Mul(&z)).Normalize()
			x.k.Z.SetInt(1)
			out[i].t = x.t
			copy(out[i].enc[:], secp256k1.NewPublicKey(&x.k.X, &x.k.Y).SerializeCompressed())
		}
	}
	return out, err
}
