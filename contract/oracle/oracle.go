// Package oracle is what an oracle signs, when enough of its keys have signed, and how a lie of one is proven.
//
// An oracle is a feed's name and several keys, of which a number has to sign. Each key signs a value of the feed at one
// time of observation, once: two values for one time are a fraud that anybody can prove to anybody (Fraud). What counts
// for a contract is the median of what was signed for one time. Who signs, who serves the values and who brings them to
// an instance is decided elsewhere; everything here is pure.
package oracle

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/edwards25519"

	"latchkey/wire"
)

// Limits of a quorum and of a feed's name.
const (
	MaxKeys = 16
	MaxFeed = 64
	MaxTime = 1 << 53
)

// Value is what a feed was at one time.
type Value struct {
	Feed  string `cbor:"1,keyasint"` // 1 to MaxFeed visible ASCII characters, as "gold/usd"
	Time  int64  `cbor:"2,keyasint"` // of the observation, Unix seconds
	Value int64  `cbor:"3,keyasint"` // in the contract's unit: whole numbers, money in hundredths
}

// Signed is a value with the signature of one key.
type Signed struct {
	Value Value  `cbor:"1,keyasint"`
	Key   []byte `cbor:"2,keyasint"` // Ed25519 public key, 32 bytes
	Sig   []byte `cbor:"3,keyasint"`
}

const purposeValue = "latchkey/oracle/v1"

// ErrValue is wrapped by every refusal of a value, a quorum or a proof of fraud.
var ErrValue = errors.New("oracle refused")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrValue, fmt.Errorf(format, args...))
}

// CheckFeed returns an error unless name can be a feed's.
func CheckFeed(name string) error {
	if len(name) < 1 || len(name) > MaxFeed || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
		return refuse("a feed is named by 1 to %d visible ASCII characters without \" and \\, not by %.80q", MaxFeed, name)
	}
	return nil
}

func (v Value) check() error {
	if v.Time < 0 || v.Time > MaxTime {
		return refuse("the time %d of a value is outside 0..%d", v.Time, int64(MaxTime))
	}
	return CheckFeed(v.Feed)
}

// Sign signs a value. Whoever signs remembers what it signed for each feed and time, and never signs another.
func (v Value) Sign(k ed25519.PrivateKey) (Signed, error) {
	if err := v.check(); err != nil {
		return Signed{}, err
	}
	b, err := wire.Marshal(v)
	if err != nil {
		return Signed{}, err
	}
	return Signed{v, k.Public().(ed25519.PublicKey), wire.Sign(k, purposeValue, b)}, nil
}

// Verify returns an error unless s.Key signed the value.
func (s Signed) Verify() error {
	if err := s.Value.check(); err != nil {
		return err
	}
	b, err := wire.Marshal(s.Value)
	if err != nil {
		return err
	}
	if err := (wire.Identity{Sign: s.Key}).Verify(purposeValue, b, s.Sig); err != nil {
		return refuse("%s at %d by key %x: %w", s.Value.Feed, s.Value.Time, s.Key, err)
	}
	return nil
}

// Quorum is an oracle as an agreement names it: of these keys, Need have to sign a value of the feed. With Need ≥ 2f + 1
// the median lies between values of honest keys while at most f lie, whichever of the signed values are brought.
type Quorum struct {
	Feed string   `cbor:"1,keyasint"`
	Keys [][]byte `cbor:"2,keyasint"` // Ed25519 public keys, rising
	Need uint32   `cbor:"3,keyasint"`
}

// Check returns an error unless q can be met: 1 to MaxKeys different keys in rising order, and more than half of them,
// at most all, needed. With half or fewer, two groups of keys could each report a value for one time. A key is a point
// of ed25519 in its one encoding, and not of small order: under such a key anybody can sign (Chalkias, Garillot and
// Nikolaenko, "Taming the many EdDSAs", 2020, section 2).
func (q Quorum) Check() error {
	if err := CheckFeed(q.Feed); err != nil {
		return err
	}
	n := len(q.Keys)
	if n < 1 || n > MaxKeys || 2*int64(q.Need) <= int64(n) || int64(q.Need) > int64(n) {
		return refuse("%d of %d keys of feed %s: ask for more than half of 1 to %d", q.Need, n, q.Feed, MaxKeys)
	}
	for i, k := range q.Keys {
		if len(k) != ed25519.PublicKeySize {
			return refuse("key %d of feed %s has %d bytes, want %d", i, q.Feed, len(k), ed25519.PublicKeySize)
		}
		p, err := new(edwards25519.Point).SetBytes(k)
		if err != nil || !bytes.Equal(p.Bytes(), k) || p.MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1 {
			return refuse("key %x of feed %s is no public key under which only its owner can sign", k, q.Feed)
		}
		if i > 0 && bytes.Compare(q.Keys[i-1], k) >= 0 {
			return refuse("the keys of feed %s are not in rising order, or one is there twice", q.Feed)
		}
	}
	return nil
}

// Median verifies values of one feed and time, each by another key of the quorum in rising order, and enough of them. It
// returns their median, the lower of the two in the middle of an even number, and the time.
func (q Quorum) Median(signed []Signed) (value, at int64, err error) {
	if err := q.Check(); err != nil {
		return 0, 0, err
	}
	if len(signed) > len(q.Keys) || int64(len(signed)) < int64(q.Need) {
		return 0, 0, refuse("%d values of feed %s, want %d to %d", len(signed), q.Feed, q.Need, len(q.Keys))
	}
	var values []int64
	for i, s := range signed {
		if s.Value.Feed != q.Feed || s.Value.Time != signed[0].Value.Time {
			return 0, 0, refuse("value %d is of feed %.80q at %d, want %s at %d", i, s.Value.Feed, s.Value.Time, q.Feed, signed[0].Value.Time)
		}
		if i > 0 && bytes.Compare(signed[i-1].Key, s.Key) >= 0 {
			return 0, 0, refuse("the values of feed %s are not in the order of their keys, or one key signed twice", q.Feed)
		}
		if !slices.ContainsFunc(q.Keys, func(k []byte) bool { return bytes.Equal(k, s.Key) }) {
			return 0, 0, refuse("key %x is none of feed %s", s.Key, q.Feed)
		}
		if err := s.Verify(); err != nil {
			return 0, 0, err
		}
		values = append(values, s.Value.Value)
	}
	slices.Sort(values)
	return values[(len(values)-1)/2], signed[0].Value.Time, nil
}

// Fraud is the proof that a key signed two values of one feed for one time.
type Fraud struct {
	A Signed `cbor:"1,keyasint"` // the lesser value
	B Signed `cbor:"2,keyasint"`
}

// NewFraud puts two signed values into the order of a proof. Whether they are one, Verify says.
func NewFraud(a, b Signed) Fraud {
	if a.Value.Value > b.Value.Value {
		a, b = b, a
	}
	return Fraud{a, b}
}

// Verify returns an error unless f is a proof. There is one encoding of it for each pair of signatures.
func (f Fraud) Verify() error {
	if f.A.Value.Feed != f.B.Value.Feed || f.A.Value.Time != f.B.Value.Time || !bytes.Equal(f.A.Key, f.B.Key) {
		return refuse("no fraud: the two values are of different feeds, times or keys")
	}
	if f.A.Value.Value >= f.B.Value.Value {
		return refuse("no fraud: the values are the same, or not the lesser first")
	}
	if err := f.A.Verify(); err != nil {
		return err
	}
	return f.B.Verify()
}

// maxSigned bounds the bytes of one encoded value.
const maxSigned = 512

// Encode returns the bytes of a signed value as they are stored and served: deterministic CBOR.
func (s Signed) Encode() ([]byte, error) {
	if err := s.Verify(); err != nil {
		return nil, err
	}
	return wire.Marshal(s)
}

// Parse reads a signed value and verifies it. What it accepts has one encoding.
func Parse(b []byte) (Signed, error) {
	var s Signed
	if len(b) > maxSigned {
		return Signed{}, refuse("a signed value of %d bytes, at most %d", len(b), maxSigned)
	}
	if err := wire.Unmarshal(b, &s); err != nil {
		return Signed{}, refuse("%w", err)
	}
	if err := s.Verify(); err != nil {
		return Signed{}, err
	}
	return s, nil
}
