package key

import (
	"errors"
	"fmt"
	"io"

	"latchkey/coin"
)

// ErrMismatch is returned when shares and points do not add up: the sender, or
// what was stored, is wrong.
var ErrMismatch = errors.New("shares do not add up to the public key")

// A Refreshed is the escrow's half of a chunk's exit from an epoch.
type Refreshed struct {
	Delta Share // r, for the owner
	Share Share // b' = b − r
	R, B  Point // rG and b'G, which are published
}

// Refresh is the escrow's half of exits from an epoch: for each share b it draws r,
// 64 bytes of rand, in order, and returns what to give away, keep and publish. It
// refuses, naming its place, a b that does not belong to the point old of the same place,
// with ErrMismatch, and r = b, which would hand over the whole key. Every b itself is
// unchanged; the caller erases it once b' is durable.
func Refresh(b []Share, old []Point, rand io.Reader) ([]Refreshed, error) {
	if len(b) != len(old) {
		return nil, fmt.Errorf("refresh: %d shares of %d points", len(b), len(old))
	}
	secrets := make([]Share, 2*len(b)) // r, and b' after it
	for i, s := range b {
		err := errors.New("no share")
		if !s.IsZero() {
			secrets[2*i], err = NewShare(s.Type(), rand)
		}
		if err == nil {
			secrets[2*i+1], err = s.Minus(secrets[2*i])
		}
		if err != nil {
			return nil, fmt.Errorf("refresh share %d: %w", i, err)
		}
	}
	bases := make([]*element, len(secrets)) // also those of a single b are work for two cores
	_ = each(len(bases), 1, func(i, j int) error {
		for k := i; k < j; k++ {
			bases[k] = secrets[k].scalar().base()
		}
		return nil
	})
	out := make([]Refreshed, len(b))
	err := each(len(b), 1, func(i, j int) error {
		var xs []*element
		for k := i; k < j; k++ {
			xs = append(xs, bases[2*k], bases[2*k+1], bases[2*k].plus(bases[2*k+1])) // r + b' is b
		}
		ps, err := points(xs...)
		for k := i; k < j && err == nil; k++ {
			p := ps[3*(k-i):]
			if out[k] = (Refreshed{secrets[2*k], secrets[2*k+1], p[0], p[1]}); p[2] != old[k] {
				err = fmt.Errorf("refresh share %d: %w", k, ErrMismatch)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// CheckShare returns ErrMismatch unless aG + B = P: the check of whoever
// receives a share, before relying on it. Neither side can be the identity,
// since no Share is zero and no Point the identity.
func CheckShare(a Share, B, P Point) error {
	if a.Type() != P.t {
		return fmt.Errorf("check share: share of %v, key of %v", a.Type(), P.t)
	}
	x, err := elements(B, P)
	if err != nil {
		return fmt.Errorf("check share: %w", err)
	}
	if !a.scalar().base().plus(x[0]).equal(x[1]) {
		return fmt.Errorf("check share: %w", ErrMismatch)
	}
	return nil
}

// CheckRefresh returns ErrMismatch unless B = B' + R: the check of everybody
// who follows a chunk's log, without any secret.
func CheckRefresh(B, R, BNew Point) error {
	x, err := elements(B, R, BNew)
	if err != nil {
		return fmt.Errorf("check refresh: %w", err)
	}
	if !x[2].plus(x[1]).equal(x[0]) {
		return fmt.Errorf("check refresh: %w", ErrMismatch)
	}
	return nil
}

// Combine returns the whole key d = a + b, or ErrMismatch unless dG = P, as for
// shares of two epochs.
func Combine(a, b Share, P Point) (Private, error) {
	d, err := a.Plus(b)
	if err != nil {
		return Private{}, fmt.Errorf("combine: %w", err)
	}
	return d.private(P)
}

// CheckSum returns ErrMismatch unless the sum of all shares, times G, is the sum
// of all points, without those of less, for each key type by itself. It finds a
// wrong or missing share among many at the cost of one multiplication, but neither
// two exchanged shares nor errors that cancel out: check each share again when it
// is used.
func CheckSum(shares []Share, points, less []Point) error {
	for _, t := range []coin.KeyType{coin.Secp256k1, coin.Ed25519} {
		const parts = 64 // for several cores
		var xs [parts]scalar
		var sums [parts]*element
		err := each(parts, 1, func(k, end int) error {
			var err error
			if xs[k], err = sum(t, shares[k*len(shares)/parts:end*len(shares)/parts]); err != nil {
				return err
			}
			zero := scalar{t: t}
			if sums[k], err = zero.base().with(points[k*len(points)/parts:end*len(points)/parts], (*element).plus); err == nil {
				sums[k], err = sums[k].with(less[k*len(less)/parts:end*len(less)/parts], (*element).minus)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("check sum: %w", err)
		}
		for k := 1; k < parts; k++ {
			if sums[k] != nil {
				xs[0], sums[0] = xs[0].plus(&xs[k]), sums[0].plus(sums[k])
			}
		}
		if got := xs[0].base(); !got.equal(sums[0]) {
			return fmt.Errorf("check sum: %w", ErrMismatch)
		}
	}
	return nil
}

// SumPoints returns the sum of all shares, times G, of each key type that there
// is: what CheckSum can take in place of all their points.
func SumPoints(shares []Share) (out []Point, err error) {
	for _, t := range []coin.KeyType{coin.Secp256k1, coin.Ed25519} {
		x, err := sum(t, shares)
		if err != nil {
			return nil, fmt.Errorf("sum of shares: %w", err)
		}
		if !x.isZero() {
			out = append(out, newShare(x).Public())
		}
	}
	return out, nil
}

// sum returns the sum of those shares that are of one type.
func sum(t coin.KeyType, shares []Share) (scalar, error) {
	x := scalar{t: t}
	for _, s := range shares {
		if s.IsZero() {
			return scalar{}, errors.New("no share")
		}
		if s.scalar().t == t {
			x = x.plus(s.scalar())
		}
	}
	return x, nil
}

// with adds or subtracts those points that are of x's type.
func (x *element) with(points []Point, op func(x, y *element) *element) (*element, error) {
	for _, p := range points {
		if p.t != 0 && p.t != x.t {
			continue
		}
		y, err := p.element()
		if err != nil {
			return nil, err
		}
		x = op(x, y)
	}
	return x, nil
}
