package sim

import (
	"errors"
	"fmt"
	"slices"

	"latchkey/vault"
	"latchkey/wire"
)

// A payout is what a contract gives: at most so many units of a pot to a party.
type payout struct {
	pot, to int
	units   int64
}

// An outcome plays one of the example contracts, written by hand from their
// meaning: a second opinion on the contract machine.
type outcome interface {
	from(pot int) int // the party that deposits it
	mayReceive(pot, party int) bool
	open() (give []payout, over bool)
	word(party int, word string, value, at int64) ([]payout, bool, error)
	deadline(now int64) ([]payout, bool, error)
	pick(p payout, given, due map[wire.ChunkID]wire.VaultID) []wire.ChunkID
	held() [][]vault.Stake
}

var errOutcome = errors.New("the contract does not do that")

// The sources of the contracts that worlds use, as in folder examples.
type contractID string

const (
	Swap   contractID = "Swap"
	Pay    contractID = "Pay"
	Escrow contractID = "Escrow"
	Wager  contractID = "Wager"

	Ordering contractID = "Order"
	Twice    contractID = "Twice"
)

// outcomeOf finds the contract of an agreement by its text.
func outcomeOf(a vault.Agreement) (outcome, error) {
	a.Pots = slices.Clone(a.Pots) // those that are filled later are filled in
	for i := range a.Pots {
		a.Pots[i] = slices.Clone(a.Pots[i])
	}
	switch string(a.Source) {
	case orderSource:
		if len(a.Later) != 1 || len(a.Pots) != 2 {
			return nil, errors.New("an order that does not say what is paid with")
		}
		return &ordering{pots: pots{a}, payBy: a.Terms[2]}, nil
	case sourceOf(Swap):
		return &exchange{pots: pots{a}, deposits: []int{0, 1}, gives: []payout{{0, 1, all}, {1, 0, all}}}, nil
	case sourceOf(Pay):
		return &exchange{pots: pots{a}, deposits: []int{0}, gives: []payout{{0, 1, all}}}, nil
	case sourceOf(Escrow):
		return &sale{pots: pots{a}, price: a.Terms[0], ends: [2]int64{a.Terms[2], a.Terms[3]}, agreed: map[int]bool{}}, nil
	}
	switch string(a.Source) {
	case wagerSource:
		return &wager{pots{a}, a.Terms[2], a.Terms[2] + 3600, 0}, nil
	case twiceSource:
		return &wager{pots{a}, a.Terms[2], a.Terms[2] + 3600, 1}, nil
	}
	return nil, fmt.Errorf("a contract that no world uses: %.40q", a.Source)
}

const all = 1 << 40

// pots picks chunks as CONTRACTS.md says: the greatest weight not above what is
// still owed, the first in the agreed order among equals.
type pots struct{ a vault.Agreement }

// held returns the chunks of each pot, without those that are to come.
func (p pots) held() (out [][]vault.Stake) {
	for _, pot := range p.a.Pots {
		out = append(out, slices.DeleteFunc(slices.Clone(pot), func(s vault.Stake) bool { return s.Chunk == wire.ChunkID{} }))
	}
	return out
}

// next returns what a pot misses, missing how many chunks that are, and put fills in
// the first of them.
func (p pots) next(pot int) []vault.Stake { return p.a.Pots[pot][len(p.held()[pot]):] }
func (p pots) missing(pot int) int        { return len(p.next(pot)) }
func (p pots) put(pot int, chunks []vault.ChunkEpoch) {
	for i, s := range p.next(pot)[:len(chunks)] {
		p.next(pot)[0] = vault.Stake{Chunk: chunks[i].Chunk, Epoch: chunks[i].Epoch, Weight: s.Weight}
	}
}

func (p pots) pick(want payout, given, due map[wire.ChunkID]wire.VaultID) []wire.ChunkID {
	left := p.held()[want.pot]
	left = slices.DeleteFunc(left, func(s vault.Stake) bool {
		_, gone := given[s.Chunk]
		_, now := due[s.Chunk]
		return gone || now
	})
	var out []wire.ChunkID
	for owed := want.units; ; {
		best := -1
		for i, s := range left {
			if int64(s.Weight) <= owed && (best < 0 || s.Weight > left[best].Weight) {
				best = i
			}
		}
		if best < 0 {
			return out
		}
		owed -= int64(left[best].Weight)
		out = append(out, left[best].Chunk)
		left = slices.Delete(left, best, best+1)
	}
}

// exchange is Swap and Pay: all at open, and over.
type exchange struct {
	pots
	deposits []int
	gives    []payout
}

func (x *exchange) from(pot int) int { return x.deposits[pot] }

func (x *exchange) mayReceive(pot, party int) bool {
	return slices.ContainsFunc(x.gives, func(p payout) bool { return p.pot == pot && p.to == party })
}

func (x *exchange) open() ([]payout, bool) { return x.gives, true }

func (x *exchange) word(int, string, int64, int64) ([]payout, bool, error) {
	return nil, false, errOutcome
}

func (x *exchange) deadline(int64) ([]payout, bool, error) { return nil, false, errOutcome }

// sale is Escrow: buyer 0, seller 1, arbiter 2; pots payment 0 and costs 1.
type sale struct {
	pots
	price    int64
	ends     [2]int64 // of its phases
	disputed bool
	agreed   map[int]bool
}

func (s *sale) from(int) int { return 0 }

func (s *sale) mayReceive(pot, party int) bool {
	return pot == 0 && party == 1 || pot == 1 && party == 2
}

func (s *sale) open() ([]payout, bool) { return nil, false }

func (s *sale) word(party int, word string, value, at int64) ([]payout, bool, error) {
	i := 0
	if s.disputed {
		i = 1
	}
	if at >= s.ends[i] {
		return nil, false, fmt.Errorf("%q is said at %d, after %d: %w", word, at, s.ends[i], errOutcome)
	}
	switch {
	case !s.disputed && word == "release" && party == 0:
		return []payout{{0, 1, all}}, true, nil
	case !s.disputed && word == "refund" && party == 1:
		return nil, true, nil
	case !s.disputed && word == "dispute" && party != 2:
		s.disputed = true
		return nil, false, nil
	case s.disputed && word == "award" && party == 2 && value >= 0 && value <= 100:
		return []payout{{0, 1, s.price * value / 100}, {1, 2, all}}, true, nil
	case s.disputed && word == "settle" && party != 2:
		s.agreed[party] = true
		if len(s.agreed) < 2 {
			return nil, false, nil
		}
		return []payout{{0, 1, s.price / 2}}, true, nil
	}
	return nil, false, fmt.Errorf("%q by party %d: %w", word, party, errOutcome)
}

func (s *sale) deadline(now int64) ([]payout, bool, error) {
	if !s.disputed {
		if now < s.ends[0] {
			return nil, false, fmt.Errorf("deadline %d fires at %d: %w", s.ends[0], now, errOutcome)
		}
		s.disputed = true
		return nil, false, nil
	}
	if now < s.ends[1] {
		return nil, false, fmt.Errorf("deadline %d fires at %d: %w", s.ends[1], now, errOutcome)
	}
	return []payout{{0, 1, s.price / 2}}, true, nil
}
