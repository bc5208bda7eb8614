package rate

import (
	"errors"
	"fmt"
	"math/big"

	"latchkey/coin"
)

// Errors of conversions, for callers that tell a mistake from an absurd input.
var (
	ErrNoPrice  = errors.New("the price is zero")
	ErrTooSmall = errors.New("worth less than the smallest unit")
)

// Amount returns the coins that c buys at price p, in smallest units, rounded down.
func (p Price) Amount(c Cents, decimals uint8) (coin.Amount, error) {
	q, err := p.quotient(c, decimals)
	if err != nil {
		return coin.Amount{}, fmt.Errorf("%s in coins at $%s: %w", c, p, err)
	}
	return amount(new(big.Int).Quo(q.Num(), q.Denom()))
}

// Value returns what a is worth at price p, rounded down to the cent.
func (p Price) Value(a coin.Amount, decimals uint8) (Cents, error) {
	if p == 0 {
		return 0, fmt.Errorf("value in USD: %w", ErrNoPrice)
	}
	coinUnits, err := pow10(decimals)
	if err != nil {
		return 0, fmt.Errorf("value in USD: %w", err)
	}
	v := new(big.Int).Mul(bigAmount(a), new(big.Int).SetUint64(uint64(p)))
	v.Quo(v, coinUnits.Mul(coinUnits, big.NewInt(10_000))) // a cent is 10,000 millionths
	if !v.IsUint64() {
		return 0, fmt.Errorf("value of %s in USD: %w", a.Decimal(int(decimals)), coin.ErrOverflow)
	}
	return Cents(v.Uint64()), nil
}

// Unit returns a quantity of coin worth about target that looks human: rounded to the nearest number of
// so many significant digits, 1 to 6, halves up. With 2 digits it is off by at most 5 percent, with 3 by half a
// percent; a denomination keeps it from then on, whatever the rate does. It is never zero.
func (p Price) Unit(target Cents, decimals uint8, digits int) (coin.Amount, error) {
	if digits < 1 || digits > 6 {
		return coin.Amount{}, fmt.Errorf("unit of %d significant digits, want 1 to 6", digits)
	}
	q, err := p.quotient(target, decimals)
	if err != nil {
		return coin.Amount{}, fmt.Errorf("unit worth %s at $%s: %w", target, p, err)
	}
	// One step is the place value of the last digit to keep, at least one smallest unit.
	whole := new(big.Int).Quo(q.Num(), q.Denom()).String()
	step := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(0, len(whole)-digits))), nil)
	n := round(q.Quo(q, new(big.Rat).SetInt(step)))
	if n.Sign() == 0 {
		return coin.Amount{}, fmt.Errorf("unit worth %s at $%s: %w", target, p, ErrTooSmall)
	}
	return amount(n.Mul(n, step))
}

// Units returns how many units of d are worth c at price p: the nearest whole number, halves up, and at
// least one. More than 2^32 − 1 is an error.
func (p Price) Units(c Cents, d coin.Denomination) (uint32, error) {
	if err := d.Check(); err != nil {
		return 0, fmt.Errorf("units worth %s: %w", c, err)
	}
	q, err := p.quotient(c, d.Asset.Decimals)
	if err != nil {
		return 0, fmt.Errorf("units of %s worth %s at $%s: %w", d.ID, c, p, err)
	}
	n := round(q.Quo(q, new(big.Rat).SetInt(bigAmount(d.Unit))))
	switch {
	case n.Sign() == 0:
		return 0, fmt.Errorf("units of %s worth %s at $%s: %w", d.ID, c, p, ErrTooSmall)
	case n.BitLen() > 32:
		return 0, fmt.Errorf("units of %s worth %s at $%s: more than %d", d.ID, c, p, uint32(1<<32-1))
	}
	return uint32(n.Uint64()), nil
}

// quotient returns the exact number of smallest units that c buys.
func (p Price) quotient(c Cents, decimals uint8) (*big.Rat, error) {
	if p == 0 {
		return nil, ErrNoPrice
	}
	n, err := pow10(decimals)
	if err != nil {
		return nil, err
	}
	n.Mul(n, new(big.Int).SetUint64(uint64(c)))
	n.Mul(n, big.NewInt(10_000)) // a cent is 10,000 millionths
	return new(big.Rat).SetFrac(n, new(big.Int).SetUint64(uint64(p))), nil
}

func pow10(decimals uint8) (*big.Int, error) {
	if decimals > coin.MaxDecimals {
		return nil, fmt.Errorf("%d decimals, at most %d", decimals, coin.MaxDecimals)
	}
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(decimals)), nil), nil
}

// round returns the integer nearest to q, which is not negative; halves go up.
func round(q *big.Rat) *big.Int {
	n := new(big.Int).Lsh(q.Num(), 1)
	n.Add(n, q.Denom())
	return n.Quo(n, new(big.Int).Lsh(q.Denom(), 1))
}

func bigAmount(a coin.Amount) *big.Int {
	n, _ := new(big.Int).SetString(a.String(), 10) // an Amount prints decimal digits
	return n
}

func amount(n *big.Int) (coin.Amount, error) { return coin.ParseAmount(n.String()) }
