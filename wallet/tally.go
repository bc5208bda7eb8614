package wallet

import (
	"cmp"
	"fmt"
	"slices"

	"latchkey/coin"
)

// A Received is one payment to an address, as a chain with outputs shows it.
type Received struct {
	Tx            TxID
	Amount        coin.Amount
	Confirmations uint32 // of Tx; 0 = not mined
	Spent         bool
	SpentBy       TxID   // empty if not known
	SpentDepth    uint32 // confirmations of that spend; 0 = not mined
}

// Tally makes a Deposit of all payments to an address, given in the order in
// which they appeared. Connectors of chains with outputs share it.
func Tally(address string, all []Received, want coin.Amount, confirmations uint32) (Deposit, error) {
	d := Deposit{Address: address}
	var unspent []Received
	for i, r := range all {
		if i == 0 {
			d.FundingTx = r.Tx
		}
		if r.Spent {
			// Of several spends the deepest is told: it is the hardest to deny.
			if !d.Spent || r.SpentDepth > d.SpentDepth {
				d.Spent, d.SpentDepth, d.SpendingTx = true, r.SpentDepth, r.SpentBy
			}
			continue
		}
		unspent = append(unspent, r)
		sum := &d.Pending
		if r.Confirmations >= confirmations && r.Confirmations > 0 {
			sum = &d.Confirmed
		}
		var err error
		if *sum, err = sum.Plus(r.Amount); err != nil {
			return Deposit{}, fmt.Errorf("add up %s: %w", address, err)
		}
	}
	d.Depth = depthOf(unspent, want)
	return d, nil
}

// depthOf counts the deepest first until want is reached, or all if want is
// nothing.
func depthOf(unspent []Received, want coin.Amount) uint32 {
	slices.SortStableFunc(unspent, func(a, b Received) int { return cmp.Compare(b.Confirmations, a.Confirmations) })
	var sum coin.Amount
	for i, r := range unspent {
		var err error
		if sum, err = sum.Plus(r.Amount); err != nil {
			return 0
		}
		if want.IsZero() && i == len(unspent)-1 || !want.IsZero() && sum.Cmp(want) >= 0 {
			return r.Confirmations
		}
	}
	return 0
}
