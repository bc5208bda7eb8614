package key

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"latchkey/coin"
)

// errRedacted is the answer to every encoder that meets a secret.
var errRedacted = errors.New("a secret is encoded by Expose only")

// redacted, embedded in a secret type, keeps it out of every kind of print and
// encoder.
type redacted struct{}

// Format prints [redacted] for every verb.
func (redacted) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// LogValue logs [redacted].
func (redacted) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalText fails: JSON, XML and TOML get nothing.
func (redacted) MarshalText() ([]byte, error) { return nil, errRedacted }

// MarshalBinary fails: CBOR and gob get nothing.
func (redacted) MarshalBinary() ([]byte, error) { return nil, errRedacted }

// A Share is one of the two secret scalars of a key, never zero; or the r that
// moves between them. The zero Share is none; every operation refuses it.
//
// Copies of a Share are the same secret in memory: Erase erases them all. It
// prints as [redacted] and no encoder takes it; Expose is the only way out. It
// cannot be compared with ==, use Equal.
type Share struct {
	redacted
	_ [0]func() // makes == a compile error
	// Two pointers deep: package fmt calls no methods on unexported fields, and
	// there it may follow one pointer but never two.
	x **scalar
}

// NewShare draws a share: 64 bytes of rand, reduced modulo the group's order.
// It fails when rand does, and in the case, impossible for a true random source,
// that the result is zero.
func NewShare(t coin.KeyType, rand io.Reader) (Share, error) {
	var b [64]byte
	defer clear(b[:])
	if pointSize(t) == 0 {
		return Share{}, fmt.Errorf("draw share: unknown %v", t)
	}
	if err := readRandom(rand, b[:]); err != nil {
		return Share{}, fmt.Errorf("draw share: %w", err)
	}
	x := wideScalar(t, &b)
	if x.isZero() {
		return Share{}, errors.New("draw share: the random source gave zero")
	}
	return newShare(x), nil
}

// ParseShare reads the 32 bytes that Expose returned. It refuses other lengths,
// zero, and values that are not below the group's order. b is not kept.
func ParseShare(t coin.KeyType, b []byte) (Share, error) {
	x, err := parseScalar(t, b)
	if err != nil {
		return Share{}, fmt.Errorf("parse share: %w", err)
	}
	if x.isZero() {
		return Share{}, errors.New("parse share: zero")
	}
	return newShare(x), nil
}

func newShare(x scalar) Share {
	m := &struct { // as one object: there are millions
		p *scalar
		x scalar
	}{x: x}
	m.p = &m.x
	return Share{x: &m.p}
}

// scalar returns the secret in place, or one without a type when s holds nothing.
func (s Share) scalar() *scalar {
	if s.x == nil {
		return new(scalar)
	}
	return *s.x
}

// IsZero reports whether s holds nothing: it is the zero Share, or was erased.
func (s Share) IsZero() bool { return s.Type() == 0 }

// Type returns the key type, zero when s holds nothing.
func (s Share) Type() coin.KeyType { return s.scalar().t }

// Public returns sG, or the zero Point when s holds nothing.
func (s Share) Public() Point {
	if s.IsZero() {
		return Point{}
	}
	return public(s)[0]
}

// public returns the points of shares, all of which hold something.
func public(shares ...Share) []Point {
	xs := make([]*element, len(shares))
	for i, s := range shares {
		xs[i] = s.scalar().base()
	}
	p, err := points(xs...)
	if err != nil {
		panic(err) // a share is not zero, so sG is not the identity
	}
	return p
}

// Plus returns s + o. It refuses shares of different types and a zero sum.
func (s Share) Plus(o Share) (Share, error) { return s.with(o, "add", (*scalar).plus) }

// Minus returns s − o. It refuses shares of different types and equal ones.
func (s Share) Minus(o Share) (Share, error) { return s.with(o, "subtract", (*scalar).minus) }

func (s Share) with(o Share, verb string, op func(x, y *scalar) scalar) (Share, error) {
	err := sameType(s, o)
	if err == nil {
		if z := op(s.scalar(), o.scalar()); !z.isZero() {
			return newShare(z), nil
		}
		err = errIdentity
	}
	return Share{}, fmt.Errorf("%s shares: %w", verb, err)
}

func sameType(s, o Share) error {
	if s.IsZero() || o.IsZero() {
		return errors.New("no share")
	}
	if s.scalar().t != o.scalar().t {
		return fmt.Errorf("shares of %v and %v", s.scalar().t, o.scalar().t)
	}
	return nil
}

// Equal reports, in constant time, whether both hold the same secret of the same
// type. Shares that hold nothing equal none.
func (s Share) Equal(o Share) bool {
	return sameType(s, o) == nil && subtle.ConstantTimeCompare(s.scalar().b[:], o.scalar().b[:]) == 1
}

// Expose returns the secret scalar in 32 bytes: big-endian for secp256k1 (SEC 1
// v2 §2.3.7), little-endian for ed25519 (as RFC 8032 §5.1 writes s). The caller
// owns them and clears them. It returns nil when s holds nothing.
func (s Share) Expose() []byte {
	if s.IsZero() {
		return nil
	}
	return append(make([]byte, 0, 32), s.scalar().b[:]...)
}

// Erase overwrites the secret in this Share and all its copies, which hold
// nothing from then on. It reaches this package's memory only: not what Expose
// returned, registers, the stack, or pages that were swapped out.
func (s Share) Erase() { *s.scalar() = scalar{} }

// A Private is a whole private key d = a + b: what a claim hands to its owner's
// host. It is guarded as a Share is. For ed25519 it is a raw scalar, not an RFC
// 8032 seed.
type Private struct {
	redacted
	d Share
}

// ParsePrivate reads the 32 bytes that Expose returned and checks that they are
// the private key of p. b is not kept.
func ParsePrivate(b []byte, p Point) (Private, error) {
	d, err := ParseShare(p.t, b)
	if err != nil {
		return Private{}, fmt.Errorf("private key: %w", err)
	}
	return d.private(p)
}

// private returns s as the whole private key of p, or erases it.
func (s Share) private(p Point) (Private, error) {
	if s.Public() != p {
		s.Erase()
		return Private{}, fmt.Errorf("private key: %w", ErrMismatch)
	}
	return Private{d: s}, nil
}

// Public returns P, or the zero Point when p holds nothing.
func (p Private) Public() Point { return p.d.Public() }

// Expose returns the private key in 32 bytes, in the form of Share.Expose.
func (p Private) Expose() []byte { return p.d.Expose() }

// Erase overwrites the key, as Share.Erase does.
func (p Private) Erase() { p.d.Erase() }

// readRandom fills b from a random source.
func readRandom(rand io.Reader, b []byte) error {
	if _, err := io.ReadFull(rand, b); err != nil {
		return fmt.Errorf("read randomness: %w", err)
	}
	return nil
}
