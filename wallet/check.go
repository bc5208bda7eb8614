package wallet

import (
	"fmt"

	"latchkey/coin"
)

// keyBytes is the length of a public key of each type.
var keyBytes = map[coin.KeyType]int{coin.Secp256k1: 33, coin.Ed25519: 32}

// CheckID returns ErrInvalid unless id can be an idempotency key: 1 to 64
// letters, digits and - _ . : in ASCII, so that it can stand in logs.
func CheckID(id string) error {
	if id == "" || len(id) > 64 {
		return fmt.Errorf("%w: id of %d bytes, want 1 to 64", ErrInvalid, len(id))
	}
	for i := range len(id) {
		c := id[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '-' && c != '_' && c != '.' && c != ':' {
			return fmt.Errorf("%w: id %q: a character is not one of letters, digits, and -_.: in ASCII", ErrInvalid, id)
		}
	}
	return nil
}

// CheckTxID returns ErrInvalid unless id has 1 to 128 printable ASCII bytes.
func CheckTxID(id TxID) error {
	if id == "" || len(id) > 128 {
		return fmt.Errorf("%w: transaction id of %d bytes, want 1 to 128", ErrInvalid, len(id))
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return fmt.Errorf("%w: transaction id %q", ErrInvalid, string(id))
		}
	}
	return nil
}

func checkCount(what string, n int) error {
	if n < 1 || n > MaxItems {
		return fmt.Errorf("%w: %d %s, want 1 to %d", ErrInvalid, n, what, MaxItems)
	}
	return nil
}

// CheckKey returns ErrInvalid unless key has the length of its type. That it
// is a point of the curve, the connector checks.
func CheckKey(t coin.KeyType, key PublicKey) error {
	if want := keyBytes[t]; len(key) != want || want == 0 {
		return fmt.Errorf("%w: %v public key of %d bytes, want %d", ErrInvalid, t, len(key), want)
	}
	return nil
}

func checkAsset(a coin.Asset) error {
	if err := a.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// CheckKeys returns ErrInvalid, and which one, unless asset is well formed and
// there are 1 to MaxItems keys of the right length.
func CheckKeys(asset coin.Asset, keys []PublicKey) error {
	if err := checkAsset(asset); err != nil {
		return err
	}
	if err := checkCount("keys", len(keys)); err != nil {
		return err
	}
	for i, k := range keys {
		if err := CheckKey(asset.Key, k); err != nil {
			return fmt.Errorf("key %d: %w", i, err)
		}
	}
	return nil
}

// Check returns ErrInvalid with the first thing that is wrong in itself.
func (r DepositsRequest) Check() error {
	if err := checkAsset(r.Asset); err != nil {
		return err
	}
	if err := checkCount("queries", len(r.Queries)); err != nil {
		return err
	}
	for i, q := range r.Queries {
		if err := CheckKey(r.Asset.Key, q.Key); err != nil {
			return fmt.Errorf("query %d: %w", i, err)
		}
	}
	return nil
}

// Check returns ErrInvalid with the first thing that is wrong in itself, and
// returns the sum of the payments.
func (r FundRequest) Check() (coin.Amount, error) {
	var sum coin.Amount
	if err := checkAsset(r.Asset); err != nil {
		return sum, err
	}
	if err := CheckID(r.ID); err != nil {
		return sum, err
	}
	if err := checkCount("payments", len(r.Payments)); err != nil {
		return sum, err
	}
	for i, p := range r.Payments {
		if p.Address == "" || len(p.Address) > 256 {
			return sum, fmt.Errorf("%w: payment %d: address of %d bytes", ErrInvalid, i, len(p.Address))
		}
		if p.Amount.IsZero() {
			return sum, fmt.Errorf("%w: payment %d: an amount of nothing", ErrInvalid, i)
		}
		var err error
		if sum, err = sum.Plus(p.Amount); err != nil {
			return sum, fmt.Errorf("%w: payment %d: %w", ErrInvalid, i, err)
		}
	}
	return sum, nil
}

// Check returns ErrInvalid with the first thing that is wrong in itself. The
// same public key twice is wrong: the second could only fail.
func (r SweepRequest) Check() error {
	if err := checkAsset(r.Asset); err != nil {
		return err
	}
	if err := CheckID(r.ID); err != nil {
		return err
	}
	if err := checkCount("keys", len(r.Keys)); err != nil {
		return err
	}
	if len(r.Destination) > 256 {
		return fmt.Errorf("%w: destination of %d bytes", ErrInvalid, len(r.Destination))
	}
	seen := make(map[string]int, len(r.Keys))
	for i, k := range r.Keys {
		if err := CheckKey(r.Asset.Key, k.Public); err != nil {
			return fmt.Errorf("key %d: %w", i, err)
		}
		if j, twice := seen[string(k.Public)]; twice {
			return fmt.Errorf("%w: keys %d and %d are the same", ErrInvalid, j, i)
		}
		seen[string(k.Public)] = i
	}
	return nil
}
