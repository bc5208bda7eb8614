package client

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"latchkey/coin"
	"latchkey/market"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// maxPicked is how many chunks one agreement takes at most.
const maxPicked = 1000

// usable returns the chunks that this client could put into a contract which may
// run until a time: held, free, paid for, and not near their end. Those whose
// certificates end first come first.
func usable(st enclave.Status, self wire.VaultID, taken map[wire.ChunkID]bool, funded func(enclave.ChunkStatus) bool, until int64) (out []enclave.ChunkStatus) {
	for _, c := range st.Chunks {
		free := c.Holds && c.Chunk.Owner == self && c.Chunk.Instance == (wire.InstanceID{}) && c.Pledge == (wire.Hash{}) &&
			!c.Chunk.Claim && !c.Chunk.Claimed && !taken[c.ID]
		if free && funded(c) && max(until, st.Now) < claimBy(c) {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b enclave.ChunkStatus) int { return cmp.Compare(a.Cert.Expiry, b.Cert.Expiry) })
	return out
}

// shelves sorts chunks of an asset by their denomination: one pot holds one.
func shelves(chunks []enclave.ChunkStatus, asset coin.AssetID, like func(coin.Denomination) bool) [][]enclave.ChunkStatus {
	by := map[string][]enclave.ChunkStatus{}
	for _, c := range chunks {
		if d := c.Cert.Denomination; d.Asset.ID == asset && like(d) {
			k := d.Asset.Chain + "/" + d.ID + "/" + d.Unit.String()
			by[k] = append(by[k], c)
		}
	}
	var out [][]enclave.ChunkStatus
	for _, k := range sortedKeys(by) {
		out = append(out, by[k])
	}
	return out
}

func weightsOf(list []enclave.ChunkStatus) []uint32 {
	out := make([]uint32, len(list))
	for i, c := range list {
		out[i] = c.Chunk.Weight
	}
	return out
}

func at(list []enclave.ChunkStatus, indices []int) (out []enclave.ChunkStatus, units uint64) {
	for _, i := range indices {
		out = append(out, list[i])
		units += uint64(list[i].Chunk.Weight)
	}
	return out, units
}

// ErrIndivisible is wrapped where the chunks at hand do not make up an amount
// exactly: a chunk is never divided.
var ErrIndivisible = errors.New("chunks are not divisible")

// pickUnits picks chunks of one denomination that weigh exactly so many units, in
// the fewest chunks. unit, if given, is about what a unit has to be.
func pickUnits(chunks []enclave.ChunkStatus, asset coin.AssetID, unit coin.Amount, units int64) ([]enclave.ChunkStatus, error) {
	var best []enclave.ChunkStatus
	have, nearest := uint64(0), []string{}
	for _, shelf := range shelves(chunks, asset, func(d coin.Denomination) bool { return unit.IsZero() || sameUnit(d.Unit, unit) }) {
		for _, c := range shelf {
			have += uint64(c.Chunk.Weight)
		}
		below, above := market.Choose(weightsOf(shelf), market.Units(units), maxPicked)
		list, sum := at(shelf, below)
		if sum == uint64(units) {
			if best == nil || len(list) < len(best) {
				best = list
			}
			continue
		}
		if below != nil {
			nearest = append(nearest, fmt.Sprint(sum))
		}
		if _, sum := at(shelf, above); above != nil {
			nearest = append(nearest, fmt.Sprint(sum))
		}
	}
	switch {
	case best != nil:
		return best, nil
	case have == 0:
		return nil, fmt.Errorf("%s of %s to be put in, and none are free: deposit some", tally(units, "unit"), asset)
	}
	return nil, fmt.Errorf("%w: %s of %s cannot be made up of what is free, %s in all; nearest are %s", ErrIndivisible, tally(units, "unit"), asset, tally(have, "unit"), strings.Join(nearest, " and "))
}

// A Payable is what chunks make of an amount to be paid.
type Payable struct {
	Chunks []enclave.ChunkStatus
	Units  uint64
	Amount coin.Amount // what they hold
}

// pickAmount picks chunks of one denomination that hold an amount exactly, or
// else come nearest to it: the greatest amount below it and the least above. Of
// equals it takes the fewest chunks. A side without chunks is not there.
func pickAmount(chunks []enclave.ChunkStatus, asset coin.Asset, amount coin.Amount) (below, above Payable, err error) {
	better := func(old, x Payable, sign int) bool {
		c := sign * x.Amount.Cmp(old.Amount)
		return old.Chunks == nil || c < 0 || c == 0 && len(x.Chunks) < len(old.Chunks)
	}
	for _, shelf := range shelves(chunks, asset.ID, func(d coin.Denomination) bool { return d.Asset == asset }) {
		unit := shelf[0].Cert.Denomination.Unit
		units, exact := unitsIn(amount, unit)
		if units >= market.MaxChoice {
			return Payable{}, Payable{}, fmt.Errorf("%s is more than one payment may be", asset.Format(amount))
		}
		weights := weightsOf(shelf)
		low, high := market.Choose(weights, market.Units(units), maxPicked)
		if units == 0 { // less than a unit
			low, high = nil, nil
		}
		if !exact {
			_, high = market.Choose(weights, market.Units(units+1), maxPicked)
		}
		for _, x := range []struct {
			indices []int
			into    *Payable
			sign    int
		}{{low, &below, -1}, {high, &above, 1}} {
			list, sum := at(shelf, x.indices)
			if len(list) == 0 {
				continue
			}
			total, err := unit.Times(sum)
			if err != nil {
				return Payable{}, Payable{}, err
			}
			if p := (Payable{list, sum, total}); better(*x.into, p, x.sign) {
				*x.into = p
			}
		}
	}
	return below, above, nil
}

// unitsIn returns how often a unit goes into an amount, and whether nothing is
// left.
func unitsIn(amount, unit coin.Amount) (n uint64, exact bool) {
	lo, hi := uint64(0), uint64(1)<<40
	for lo < hi { // the greatest n with n·unit ≤ amount
		mid := lo + (hi-lo+1)/2
		if x, err := unit.Times(mid); err == nil && x.Cmp(amount) <= 0 {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	x, err := unit.Times(lo)
	return lo, err == nil && x.Cmp(amount) == 0
}
