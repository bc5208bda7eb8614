package coin

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
)

// Errors of amount arithmetic and parsing. Callers branch on them to tell a
// caller's mistake (a shortfall) from an absurd input.
var (
	ErrOverflow  = errors.New("amount overflows 128 bits")
	ErrUnderflow = errors.New("amount would be negative")
)

// An Amount is a count of an asset's smallest units (satoshi, wei, …): an
// unsigned integer of 128 bits, which holds 3.4·10²⁰ whole tokens of 18
// decimals. The zero Amount is nothing. Amounts are values: comparable with
// ==, and never changed in place. There is no unchecked arithmetic.
type Amount struct{ hi, lo uint64 }

// NewAmount returns n smallest units.
func NewAmount(n uint64) Amount { return Amount{lo: n} }

// ParseAmount reads a decimal integer of smallest units, such as "15000".
// Signs, spaces, leading zeros, fractions and values of 2¹²⁸ or more are
// errors.
func ParseAmount(s string) (Amount, error) {
	if s == "" {
		return Amount{}, errors.New(`parse amount "": want decimal digits`)
	}
	if len(s) > 39 {
		return Amount{}, fmt.Errorf("parse amount of %d digits: %w", len(s), ErrOverflow)
	}
	if s[0] == '0' && len(s) > 1 {
		return Amount{}, fmt.Errorf("parse amount %q: leading zero", s)
	}
	var a Amount
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return Amount{}, fmt.Errorf("parse amount %q: want decimal digits only", s)
		}
		var err error
		if a, err = a.Times(10); err == nil {
			a, err = a.Plus(NewAmount(uint64(s[i] - '0')))
		}
		if err != nil {
			return Amount{}, fmt.Errorf("parse amount %q: %w", s, err)
		}
	}
	return a, nil
}

// ParseDecimal reads a quantity of whole coins, such as "0.0005", of an asset
// with the given number of decimals. More decimals than the asset has are an
// error, never rounded.
func ParseDecimal(s string, decimals int) (Amount, error) {
	if decimals < 0 || decimals > MaxDecimals {
		return Amount{}, fmt.Errorf("parse %q: %d decimals, want 0 to %d", s, decimals, MaxDecimals)
	}
	whole, frac, found := strings.Cut(s, ".")
	if strings.Trim(whole+frac, "0123456789") != "" {
		return Amount{}, fmt.Errorf("parse %.80q: want digits, and a point at most", s)
	}
	if whole == "" || found && frac == "" {
		return Amount{}, fmt.Errorf("parse %q: want digits on both sides of the point", s)
	}
	if len(frac) > decimals {
		return Amount{}, fmt.Errorf("parse %q: more than %d decimals", s, decimals)
	}
	if len(whole) > 1 && whole[0] == '0' {
		return Amount{}, fmt.Errorf("parse %q: leading zero", s)
	}
	digits := strings.TrimLeft(whole+frac+strings.Repeat("0", decimals-len(frac)), "0")
	if digits == "" {
		return Amount{}, nil
	}
	return ParseAmount(digits)
}

// Plus returns a + b, or ErrOverflow.
func (a Amount) Plus(b Amount) (Amount, error) {
	lo, c := bits.Add64(a.lo, b.lo, 0)
	hi, c := bits.Add64(a.hi, b.hi, c)
	if c != 0 {
		return Amount{}, ErrOverflow
	}
	return Amount{hi, lo}, nil
}

// Minus returns a − b, or ErrUnderflow.
func (a Amount) Minus(b Amount) (Amount, error) {
	lo, c := bits.Sub64(a.lo, b.lo, 0)
	hi, c := bits.Sub64(a.hi, b.hi, c)
	if c != 0 {
		return Amount{}, ErrUnderflow
	}
	return Amount{hi, lo}, nil
}

// Times returns a·n, or ErrOverflow.
func (a Amount) Times(n uint64) (Amount, error) {
	c, lo := bits.Mul64(a.lo, n)
	over, hi := bits.Mul64(a.hi, n)
	hi, c = bits.Add64(hi, c, 0)
	if over != 0 || c != 0 {
		return Amount{}, ErrOverflow
	}
	return Amount{hi, lo}, nil
}

// Over returns a÷n rounded down, and the remainder. It panics when n is 0, as
// integer division does.
func (a Amount) Over(n uint64) (Amount, uint64) {
	hi, r := a.hi/n, a.hi%n
	lo, r := bits.Div64(r, a.lo, n)
	return Amount{hi, lo}, r
}

// Cmp returns −1, 0 or 1 as a is less than, equal to or greater than b.
func (a Amount) Cmp(b Amount) int {
	switch {
	case a == b:
		return 0
	case a.hi < b.hi || a.hi == b.hi && a.lo < b.lo:
		return -1
	}
	return 1
}

// IsZero reports whether a is nothing.
func (a Amount) IsZero() bool { return a == Amount{} }

// Uint64 returns a if it fits into 64 bits.
func (a Amount) Uint64() (uint64, bool) { return a.lo, a.hi == 0 }

// String prints a as decimal digits of smallest units; ParseAmount reads it.
func (a Amount) String() string {
	if a.hi == 0 {
		return fmt.Sprint(a.lo)
	}
	q, r := a.Over(1e19)
	return fmt.Sprintf("%s%019d", q, r)
}

// Decimal prints a as whole coins of an asset with the given decimals, without
// trailing zeros: "0.0005". ParseDecimal reads it.
func (a Amount) Decimal(decimals int) string {
	s := a.String()
	if decimals <= 0 {
		return s
	}
	if len(s) <= decimals {
		s = strings.Repeat("0", decimals-len(s)+1) + s
	}
	whole, frac := s[:len(s)-decimals], strings.TrimRight(s[len(s)-decimals:], "0")
	if frac == "" {
		return whole
	}
	return whole + "." + frac
}

// MarshalText makes amounts decimal strings in JSON and TOML, where numbers
// would lose digits.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *Amount) UnmarshalText(b []byte) error {
	v, err := ParseAmount(string(b))
	if err == nil {
		*a = v
	}
	return err
}

// MarshalCBOR writes a as a byte string of 16 bytes, big-endian, whatever its
// value: one amount has one encoding.
func (a Amount) MarshalCBOR() ([]byte, error) {
	out := make([]byte, 17)
	out[0] = 0x50 // major type 2, length 16
	for i := range 8 {
		out[1+i] = byte(a.hi >> (56 - 8*i))
		out[9+i] = byte(a.lo >> (56 - 8*i))
	}
	return out, nil
}

// UnmarshalCBOR reads what MarshalCBOR wrote and refuses all else.
func (a *Amount) UnmarshalCBOR(b []byte) error {
	if len(b) != 17 || b[0] != 0x50 {
		return fmt.Errorf("amount: want a byte string of 16 bytes, have %d encoded bytes", len(b))
	}
	var v Amount
	for i := range 8 {
		v.hi = v.hi<<8 | uint64(b[1+i])
		v.lo = v.lo<<8 | uint64(b[9+i])
	}
	*a = v
	return nil
}
