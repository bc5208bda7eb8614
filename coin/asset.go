// Package coin names what a private key can control: assets, amounts of them,
// and the denominations in which deposits are made.
//
// It knows no chain. An asset is described by whoever connects to its chain
// (a wallet connector) and pinned, field by field, in the certificate of each
// chunk. Everything here is a value without I/O.
package coin

import (
	"errors"
	"fmt"
	"strings"
)

// MaxDecimals is the greatest number of decimals an asset may have; common
// tokens have 18.
const MaxDecimals = 36

// An AssetID is the short name of an asset in contracts, offers and commands:
// "btc", "eth", "eth:usdc". Lower case letters, digits, and inner ':', '-',
// '.', at most 32 bytes. The zero AssetID names nothing and is refused.
type AssetID string

// Check returns an error that says what is wrong with the name.
func (id AssetID) Check() error { return checkName("asset", string(id), 32) }

func checkName(what, s string, most int) error {
	if s == "" {
		return fmt.Errorf("%s name is empty", what)
	}
	if len(s) > most {
		return fmt.Errorf("%s name of %d bytes, at most %d", what, len(s), most)
	}
	for i := range len(s) {
		c := s[i]
		inner := i > 0 && i < len(s)-1 && strings.IndexByte(":-.", c) >= 0
		if !inner && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return fmt.Errorf("%s name %q: want lower case letters, digits and : - . inside", what, s)
		}
	}
	return nil
}

// A KeyType says on which curve the private key of an asset's address lies.
// The zero KeyType is none and is refused everywhere.
type KeyType uint8

// The key types. Their numbers are part of every format.
const (
	Secp256k1 KeyType = 1 // SEC 2 v2, §2.4.1
	Ed25519   KeyType = 2 // RFC 8032 §5.1; keys are raw scalars, not seeds
)

// String returns the name used in formats, commands and pages.
func (t KeyType) String() string {
	switch t {
	case Secp256k1:
		return "secp256k1"
	case Ed25519:
		return "ed25519"
	}
	return fmt.Sprintf("key type %d", uint8(t))
}

// ParseKeyType reads what String prints for a known key type.
func ParseKeyType(s string) (KeyType, error) {
	switch s {
	case "secp256k1":
		return Secp256k1, nil
	case "ed25519":
		return Ed25519, nil
	}
	return 0, fmt.Errorf("unknown key type %q, want secp256k1 or ed25519", s)
}

// MarshalText writes the name of a known key type.
func (t KeyType) MarshalText() ([]byte, error) {
	if t != Secp256k1 && t != Ed25519 {
		return nil, fmt.Errorf("unknown %v", t)
	}
	return []byte(t.String()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (t *KeyType) UnmarshalText(b []byte) error {
	v, err := ParseKeyType(string(b))
	if err == nil {
		*t = v
	}
	return err
}

// An Asset is something a private key controls, on one chain, at one form of
// address. Two assets are the same only if all fields are.
type Asset struct {
	ID       AssetID `cbor:"1,keyasint" json:"id" toml:"id"`
	Chain    string  `cbor:"2,keyasint" json:"chain" toml:"chain"`       // chain id, as its connector names it: "bip122:regtest", "eip155:1337"
	Key      KeyType `cbor:"3,keyasint" json:"key" toml:"key"`           // curve of the private key
	Address  string  `cbor:"4,keyasint" json:"address" toml:"address"`   // address form, as its connector names it: "p2wpkh", "eoa"
	Decimals uint8   `cbor:"5,keyasint" json:"decimals" toml:"decimals"` // smallest units in a whole coin = 10^Decimals
}

// Check returns an error that names the first field that is missing or absurd.
func (a Asset) Check() error {
	if err := a.ID.Check(); err != nil {
		return err
	}
	if err := checkName("chain", a.Chain, 64); err != nil {
		return fmt.Errorf("asset %s: %w", a.ID, err)
	}
	if err := checkName("address form", a.Address, 32); err != nil {
		return fmt.Errorf("asset %s: %w", a.ID, err)
	}
	if _, err := a.Key.MarshalText(); err != nil {
		return fmt.Errorf("asset %s: %w", a.ID, err)
	}
	if a.Decimals > MaxDecimals {
		return fmt.Errorf("asset %s: %d decimals, at most %d", a.ID, a.Decimals, MaxDecimals)
	}
	return nil
}

// Format prints an amount of the asset for people: "0.0005 btc".
func (a Asset) Format(v Amount) string {
	return v.Decimal(int(a.Decimals)) + " " + string(a.ID)
}

// MaxWeight bounds the weight of one chunk, and so what one key can hold.
const MaxWeight = 1000

// weights is the ladder of chunk weights, in units.
var weights = [...]uint32{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}

// A Denomination fixes how much coin one unit is. Contracts count in units,
// chunks weigh a whole number of them, so nothing is ever divided. A
// denomination never changes: when the rate has moved, a new one is made.
type Denomination struct {
	ID    string `cbor:"1,keyasint" json:"id" toml:"id"` // like "eth-2026-11-a"
	Asset Asset  `cbor:"2,keyasint" json:"asset" toml:"asset"`
	Unit  Amount `cbor:"3,keyasint" json:"unit" toml:"unit"` // smallest units of coin in one unit
}

// Check returns an error that names the first field that is missing or absurd.
func (d Denomination) Check() error {
	if err := checkName("denomination", d.ID, 48); err != nil {
		return err
	}
	if err := d.Asset.Check(); err != nil {
		return fmt.Errorf("denomination %s: %w", d.ID, err)
	}
	if d.Unit.IsZero() {
		return fmt.Errorf("denomination %s: a unit of nothing", d.ID)
	}
	if _, err := d.Unit.Times(MaxWeight); err != nil {
		return fmt.Errorf("denomination %s: unit %s: %w", d.ID, d.Unit, err)
	}
	return nil
}

// ErrWeight is returned for a chunk weight that is not on the 1-2-5 ladder.
var ErrWeight = errors.New("chunk weight is not on the ladder 1, 2, 5, 10 … 1000")

// CheckWeight returns ErrWeight, with the value, unless w is on the ladder.
func CheckWeight(w uint32) error {
	for _, l := range weights {
		if w == l {
			return nil
		}
	}
	return fmt.Errorf("weight %d: %w", w, ErrWeight)
}

// Deposit returns the coins that a chunk of weight w holds: exactly w units.
func (d Denomination) Deposit(w uint32) (Amount, error) {
	if err := CheckWeight(w); err != nil {
		return Amount{}, err
	}
	v, err := d.Unit.Times(uint64(w))
	if err != nil {
		return Amount{}, fmt.Errorf("deposit of weight %d in %s: %w", w, d.ID, err)
	}
	return v, nil
}
