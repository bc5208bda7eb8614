package wallet

import (
	"bytes"
	"fmt"

	"filippo.io/edwards25519"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"latchkey/coin"
)

// PublicOf returns the public key of a private key. A zero or overflowing
// scalar is ErrWrongKey. Time does not depend on the key.
func PublicOf(t coin.KeyType, d PrivateKey) (PublicKey, error) {
	switch t {
	case coin.Secp256k1:
		var s secp256k1.ModNScalar
		defer s.Zero()
		if overflow := s.SetBytes((*[32]byte)(&d)); overflow != 0 || s.IsZero() {
			return nil, fmt.Errorf("%w: private scalar is zero or not below the group order", ErrWrongKey)
		}
		return secp256k1.NewPrivateKey(&s).PubKey().SerializeCompressed(), nil
	case coin.Ed25519:
		s, err := new(edwards25519.Scalar).SetCanonicalBytes(d[:])
		if err != nil || s.Equal(edwards25519.NewScalar()) == 1 {
			return nil, fmt.Errorf("%w: private scalar is zero or not below the group order", ErrWrongKey)
		}
		return new(edwards25519.Point).ScalarBaseMult(s).Bytes(), nil
	}
	return nil, fmt.Errorf("%w: %v", ErrInvalid, t)
}

// CheckPair returns ErrWrongKey unless d·G = P. Every connector calls it before
// it signs: some nodes accept a wrong key without complaint.
func CheckPair(t coin.KeyType, k SweepKey) error {
	if err := CheckKey(t, k.Public); err != nil {
		return err
	}
	p, err := PublicOf(t, k.Private)
	if err != nil {
		return err
	}
	if !bytes.Equal(p, k.Public) {
		return fmt.Errorf("%w: the private key is not that of %x", ErrWrongKey, []byte(k.Public))
	}
	return nil
}

// CheckPoint returns ErrWrongKey unless key is the canonical encoding of a
// point of the curve, and, for ed25519, of a point of prime order.
func CheckPoint(t coin.KeyType, key PublicKey) error {
	if err := CheckKey(t, key); err != nil {
		return err
	}
	ok := false
	switch t {
	case coin.Secp256k1:
		_, err := secp256k1.ParsePubKey(key)
		ok = err == nil
	case coin.Ed25519:
		// Prime order: not the identity, and [l−1]P = −P.
		p, err := new(edwards25519.Point).SetBytes(key)
		if err != nil || !bytes.Equal(p.Bytes(), key) || p.Equal(edwards25519.NewIdentityPoint()) == 1 {
			break
		}
		minusOne := new(edwards25519.Scalar).Negate(scalarOne())
		q := new(edwards25519.Point).ScalarMult(minusOne, p)
		ok = q.Equal(new(edwards25519.Point).Negate(p)) == 1
	}
	if !ok {
		return fmt.Errorf("%w: %x is not a public key on %v", ErrWrongKey, []byte(key), t)
	}
	return nil
}

func scalarOne() *edwards25519.Scalar {
	one := [32]byte{1}
	s, _ := new(edwards25519.Scalar).SetCanonicalBytes(one[:]) // 1 is canonical
	return s
}
