package eth

import (
	"fmt"
	"math/big"

	"latchkey/coin"
	"latchkey/wallet"
)

// Prices are wei per gas. A payment is a transaction of type 2 (EIP-1559), which is
// charged the base fee and the tip, whatever more it offers. A sweep is of the old
// type, which is charged all it offers: only so an address is left with exactly
// nothing.

// feeCap returns what a payment offers at most: it holds while the base fee
// at most doubles, which takes six full blocks.
func (p price) feeCap() *big.Int {
	return new(big.Int).Add(new(big.Int).Lsh(p.base, 1), p.tip)
}

// feeFloor returns the least offer that the next block may take.
func (p price) feeFloor() *big.Int { return new(big.Int).Add(p.base, p.tip) }

// sweepPrice returns what a sweep offers: it holds for two full blocks.
func (p price) sweepPrice() *big.Int {
	offer := new(big.Int).Mul(p.base, big.NewInt(5))
	return offer.Div(offer, big.NewInt(4)).Add(offer, p.tip)
}

// fundCap returns the price that payments of the given gas together may offer, as
// much of feeCap as the limits leave: limit per gas is the configuration's, most
// for all is the caller's. It is wallet.ErrFeeTooHigh if the next block
// would not take that.
func fundCap(p price, gas uint64, limit *big.Int, most coin.Amount) (*big.Int, error) {
	offer := p.feeCap()
	if offer.Cmp(limit) > 0 {
		offer.Set(limit)
	}
	if share := new(big.Int).Div(toBig(most), new(big.Int).SetUint64(gas)); offer.Cmp(share) > 0 {
		offer.Set(share)
	}
	if floor := p.feeFloor(); offer.Cmp(floor) < 0 {
		return nil, fmt.Errorf("%w: gas costs %v wei now, %d gas are needed; max_fee is %s, the own limit %v wei per gas",
			wallet.ErrFeeTooHigh, floor, gas, most, limit)
	}
	return offer, nil
}

// toBig returns an amount as a number of wei.
func toBig(a coin.Amount) *big.Int {
	v, ok := new(big.Int).SetString(a.String(), 10)
	if !ok {
		return new(big.Int) // an Amount prints as digits
	}
	return v
}

// toAmount returns a number of wei as an amount, or an error if it is negative or has more
// than 128 bits.
func toAmount(v *big.Int) (coin.Amount, error) {
	if v.Sign() < 0 {
		return coin.Amount{}, coin.ErrUnderflow
	}
	if v.BitLen() > 128 {
		return coin.Amount{}, coin.ErrOverflow
	}
	return coin.ParseAmount(v.String())
}
