// Package rate says what a coin is worth in US dollars, exactly and only while it knows.
//
// Several sources (a file, JSON over HTTP) are observed; Combine, which is pure, sets aside what failed,
// is stale or lies too far from the median, by name and with the reason, and returns the median of
// the rest, or an *Unavailable error that tells a person why there is no rate. Without a fresh rate
// nobody makes a new deposit or fills an offer.
//
// Prices are integers of millionths of a dollar per whole coin and values are integers of cents; no
// float is involved anywhere. Nothing here is trusted by a vault.
package rate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Price is a number of millionths of a US dollar for one whole coin (10^decimals smallest units).
// Zero is no price.
type Price uint64

// MaxPrice bounds what is believed: a billion dollars for a coin.
const MaxPrice Price = 1e15

// ParsePrice reads dollars per coin as JSON writes numbers: "67123.5", "6.71235e4". Digits beyond the
// sixth decimal are rounded to the nearest millionth, halves up. Zero, what rounds to zero, signs,
// and more than MaxPrice are errors.
func ParsePrice(s string) (Price, error) {
	v, err := parseDecimal(s, 6, false)
	if err != nil {
		return 0, fmt.Errorf("price %.40q: %w", s, err)
	}
	if v == 0 {
		return 0, fmt.Errorf("price %.40q is less than a millionth of a dollar", s)
	}
	if Price(v) > MaxPrice {
		return 0, fmt.Errorf("price %.40q is more than $%d", s, MaxPrice/1e6)
	}
	return Price(v), nil
}

// String writes dollars with at least two decimals: "67123.50", "0.000012".
func (p Price) String() string {
	s := fmt.Sprintf("%d.%06d", p/1e6, p%1e6)
	for s[len(s)-1] == '0' && s[len(s)-3] != '.' {
		s = s[:len(s)-1]
	}
	return s
}

// MarshalText writes a price as String does, so that JSON and TOML hold no float.
func (p Price) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what ParsePrice reads.
func (p *Price) UnmarshalText(b []byte) error {
	v, err := ParsePrice(string(b))
	if err == nil {
		*p = v
	}
	return err
}

// Cents is an amount of US dollars in hundredths.
type Cents uint64

// ParseCents reads dollars with at most two decimals, with or without the sign: "500", "$12.50".
func ParseCents(s string) (Cents, error) {
	v, err := parseDecimal(strings.TrimPrefix(s, "$"), 2, true)
	if err != nil {
		return 0, fmt.Errorf("US dollars %.40q: %w", s, err)
	}
	return Cents(v), nil
}

// String writes "$12.50".
func (c Cents) String() string { return fmt.Sprintf("$%d.%02d", c/100, c%100) }

// MarshalText writes "12.50", without the sign.
func (c Cents) MarshalText() ([]byte, error) { return []byte(c.String()[1:]), nil }

// UnmarshalText reads what ParseCents reads.
func (c *Cents) UnmarshalText(b []byte) error {
	v, err := ParseCents(string(b))
	if err == nil {
		*c = v
	}
	return err
}

var (
	errNotNumber = errors.New("not a decimal number")
	errTooLarge  = errors.New("too large")
)

// parseDecimal reads digits, a fraction and an exponent, and returns the number times 10^places:
// rounded to the nearest, halves up, or, if exact is set, an error where digits would be lost.
func parseDecimal(s string, places int, exact bool) (uint64, error) {
	if strings.HasPrefix(s, "-") {
		return 0, errors.New("negative")
	}
	if len(s) > 64 {
		return 0, errors.New("longer than 64 characters")
	}
	exp := 0
	mantissa := s
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e := s[i+1:]
		mantissa = s[:i]
		if digits := strings.TrimLeft(e, "+-"); len(e)-len(digits) > 1 || !isDigits(digits) || len(digits) > 4 {
			return 0, errNotNumber
		}
		var err error
		if exp, err = strconv.Atoi(e); err != nil {
			return 0, errNotNumber
		}
	}
	whole, frac, point := strings.Cut(mantissa, ".")
	if !isDigits(whole) || point && !isDigits(frac) {
		return 0, errNotNumber
	}
	digits := strings.TrimLeft(whole+frac, "0")
	if digits == "" {
		return 0, nil
	}
	switch shift := exp + places - len(frac); {
	case shift > 20:
		return 0, errTooLarge
	case shift >= 0:
		digits += strings.Repeat("0", shift)
	default:
		cut := max(0, len(digits)+shift)
		rest := digits[cut:]
		up := len(rest) == -shift && rest[0] >= '5'
		if exact && strings.Trim(rest, "0") != "" {
			return 0, fmt.Errorf("more than %d decimals", places)
		}
		digits = "0" + digits[:cut]
		v, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || v == 1<<64-1 {
			return 0, errTooLarge
		}
		if up {
			v++
		}
		return v, nil
	}
	v, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, errTooLarge
	}
	return v, nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
