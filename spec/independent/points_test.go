package independent_test

import (
	"bytes"
	"errors"
	"math/big"
	"slices"
)

// Points of key.md on both curves, in affine coordinates and without any care
// for time: nothing here is secret.

func num(s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 16)
	if !ok {
		panic(s)
	}
	return n
}

var (
	secpP = num("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f")
	secpN = num("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
	secpG = xy{
		num("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
		num("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"),
	}
	edP = num("7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed")
	edL = num("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed")
	edD = mod(new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), edP)), edP)
	edG = xy{
		num("216936d3cd6e53fec0a4e231fdd6dc5c692cc7609525a7b2c9562d608f25d51a"),
		num("6666666666666666666666666666666666666666666666666666666666666658"),
	}
)

// xy is a point; of secp256k1 the identity has no x.
type xy struct{ x, y *big.Int }

func mod(n, p *big.Int) *big.Int { return n.Mod(n, p) }

func mul(p *big.Int, a ...*big.Int) *big.Int {
	out := big.NewInt(1)
	for _, x := range a {
		mod(out.Mul(out, x), p)
	}
	return out
}

func plus(p *big.Int, a ...*big.Int) *big.Int {
	out := new(big.Int)
	for _, x := range a {
		out.Add(out, x)
	}
	return mod(out, p)
}

func minus(p, a *big.Int) *big.Int { return mod(new(big.Int).Neg(a), p) }

func inverse(p, a *big.Int) *big.Int {
	if a.Sign() == 0 {
		return new(big.Int)
	}
	return new(big.Int).ModInverse(a, p)
}

// add adds two points of one curve, key type 1 or 2.
func add(t byte, a, b xy) xy {
	if t == 2 {
		p := edP
		k := mul(p, edD, a.x, b.x, a.y, b.y)
		one := big.NewInt(1)
		return xy{
			mul(p, plus(p, mul(p, a.x, b.y), mul(p, b.x, a.y)), inverse(p, plus(p, one, k))),
			mul(p, plus(p, mul(p, a.y, b.y), mul(p, a.x, b.x)), inverse(p, plus(p, one, minus(p, k)))),
		}
	}
	p := secpP
	switch {
	case a.x == nil:
		return b
	case b.x == nil:
		return a
	}
	var slope *big.Int
	switch {
	case a.x.Cmp(b.x) != 0:
		slope = mul(p, plus(p, b.y, minus(p, a.y)), inverse(p, plus(p, b.x, minus(p, a.x))))
	case a.y.Cmp(b.y) == 0:
		slope = mul(p, big.NewInt(3), a.x, a.x, inverse(p, plus(p, a.y, a.y)))
	default:
		return xy{}
	}
	x := plus(p, mul(p, slope, slope), minus(p, a.x), minus(p, b.x))
	return xy{x, plus(p, mul(p, slope, plus(p, a.x, minus(p, x))), minus(p, a.y))}
}

func identityOf(t byte) xy {
	if t == 2 {
		return xy{new(big.Int), big.NewInt(1)}
	}
	return xy{}
}

func times(t byte, k *big.Int, a xy) xy {
	out := identityOf(t)
	for i := k.BitLen() - 1; i >= 0; i-- {
		if out = add(t, out, out); k.Bit(i) == 1 {
			out = add(t, out, a)
		}
	}
	return out
}

var errPoint = errors.New("no point")

// parsePoint reads a point's encoding under the rules of key.md.
func parsePoint(t byte, b []byte) (xy, error) {
	switch {
	case t == 1 && len(b) == 33 && (b[0] == 2 || b[0] == 3):
		x := new(big.Int).SetBytes(b[1:])
		y := new(big.Int).ModSqrt(plus(secpP, mul(secpP, x, x, x), big.NewInt(7)), secpP)
		if x.Cmp(secpP) >= 0 || y == nil {
			return xy{}, errPoint
		}
		if y.Bit(0) != uint(b[0]&1) {
			y = minus(secpP, y)
		}
		return xy{x, y}, nil
	case t == 2 && len(b) == 32:
		le := bytes.Clone(b)
		sign := le[31] >> 7
		le[31] &= 127
		slices.Reverse(le)
		y := new(big.Int).SetBytes(le)
		if y.Cmp(edP) >= 0 {
			return xy{}, errPoint
		}
		yy, one := mul(edP, y, y), big.NewInt(1)
		x := new(big.Int).ModSqrt(mul(edP, plus(edP, yy, minus(edP, one)), inverse(edP, plus(edP, mul(edP, edD, yy), one))), edP)
		if x == nil || x.Sign() == 0 && sign == 1 {
			return xy{}, errPoint
		}
		if x.Bit(0) != uint(sign) {
			x = minus(edP, x)
		}
		a := xy{x, y}
		if id := identityOf(2); equal(a, id) || !equal(times(2, edL, a), id) { // edL is not reduced here: [l]A is worth something
			return xy{}, errPoint
		}
		return a, nil
	}
	return xy{}, errPoint
}

func equal(a, b xy) bool {
	if a.x == nil || b.x == nil {
		return a.x == b.x
	}
	return a.x.Cmp(b.x) == 0 && a.y.Cmp(b.y) == 0
}

// point is a point inside a structure: its key type, then its encoding.
func point(v value) error {
	_, _, err := typed(v)
	return err
}

func typed(v value) (t byte, p xy, err error) {
	b, ok := v.([]byte)
	if !ok || len(b) == 0 {
		return 0, xy{}, errPoint
	}
	if p, ok := known[string(b)]; ok {
		return b[0], p, nil
	}
	if p, err = parsePoint(b[0], b[1:]); err == nil {
		known[string(b)] = p
	}
	return b[0], p, err
}

// known has the points that were found good: finding that out is slow.
var known = map[string]xy{}

// refreshes reports whether old B = R + new B.
func refreshes(old, r, next value) bool {
	t1, b, err1 := typed(old)
	t2, x, err2 := typed(r)
	t3, y, err3 := typed(next)
	return err1 == nil && err2 == nil && err3 == nil && t1 == t2 && t2 == t3 && equal(b, add(t1, x, y))
}

// parseScalar reads a share: a scalar below the order and not zero.
func parseScalar(t byte, b []byte) (*big.Int, error) {
	be, n := bytes.Clone(b), secpN
	if t == 2 {
		slices.Reverse(be)
		n = edL
	}
	k := new(big.Int).SetBytes(be)
	if len(b) != 32 || k.Sign() == 0 || k.Cmp(n) >= 0 || t != 1 && t != 2 {
		return nil, errors.New("no share")
	}
	return k, nil
}

func base(t byte) xy {
	if t == 2 {
		return edG
	}
	return secpG
}
