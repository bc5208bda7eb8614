// Package settle plans a tit-for-tat settlement: how the two sides of an
// exchange hand their chunks over in turn, in steps that grow, and what either
// side can lose by it at most. It is arithmetic on agreed numbers: whoever has
// the agreement has the whole plan, before anybody signs. The format is
// spec/settle.md.
//
// It is in the trusted binary: the escrow, both owners' vaults and the switchboard
// compute the plan, and none believes another's. It is pure and imports nothing of
// the project.
package settle

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// A Pace says how large the steps are, and how long one waits.
type Pace struct {
	First  uint32 `cbor:"1,keyasint" json:"first"`  // units of the first round
	Growth uint32 `cbor:"2,keyasint" json:"growth"` // a round has so many percent of the one before, rounded up
	Most   uint32 `cbor:"3,keyasint" json:"most"`   // units of the greatest round
	Wait   uint32 `cbor:"4,keyasint" json:"wait"`   // seconds that a step waits for its receiver's word
}

// Limits of a pace and of what is planned.
const (
	maxGrowth = 1_000     // percent
	minWait   = 10        // seconds: a receiver has to fetch its shares and ask its wallet
	maxWait   = 7 * 86400 // seconds
	maxUnits  = 1 << 20   // on a side: more than 1,024 chunks of the greatest weight
)

// Grace is how many seconds after a step's deadline it is passed over, for words
// on their way.
const Grace = 2

// ErrPace is wrapped by every refusal.
var ErrPace = errors.New("tit-for-tat refused")

// Check returns an error unless p is one that steps can follow.
func (p Pace) Check() error {
	switch {
	case p.First < 1 || p.First > p.Most || p.Most > maxUnits:
		return fmt.Errorf("%w: rounds of %d to %d units, want 1 to %d, the first not above the greatest", ErrPace, p.First, p.Most, maxUnits)
	case p.Growth < 100 || p.Growth > maxGrowth:
		return fmt.Errorf("%w: growth of %d percent, want 100 to %d", ErrPace, p.Growth, maxGrowth)
	case p.Wait < minWait || p.Wait > maxWait:
		return fmt.Errorf("%w: a step waits %d seconds, want %d to %d", ErrPace, p.Wait, minWait, maxWait)
	}
	return nil
}

// A Step is what one side hands over at once.
type Step struct {
	Side   int   `json:"side"`
	Chunks []int `json:"chunks"` // indices into the side's chunks, in the order in which they go
}

// Plan returns all steps. sides are the weights in units of the chunks that each
// side gives to the other. A side hands its chunks over by rising weight, equal
// ones as they stand. In each round first side 0 and then side 1 hands over as
// many as bring what it has handed over to its part of the round's target; where
// sides are uneven, to the same part of what each gives in all. A side that is
// there already is passed over. So a step has at least one chunk, and goes beyond
// its target by less than one chunk.
func (p Pace) Plan(sides [2][]int64) ([]Step, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	sum, err := sums(sides)
	if err != nil {
		return nil, err
	}
	var order [2][]int
	for s, list := range sides {
		for i := range list {
			order[s] = append(order[s], i)
		}
		slices.SortStableFunc(order[s], func(a, b int) int { return cmp.Compare(list[a], list[b]) })
	}
	var steps []Step
	var done [2]int64
	whole := max(sum[0], sum[1])
	for target, size := int64(0), int64(p.First); target < whole; {
		target = min(whole, target+size)
		size = min(int64(p.Most), (size*int64(p.Growth)+99)/100)
		for s, list := range sides {
			n := 0
			for ; done[s] < sum[s]*target/whole; n++ {
				done[s] += list[order[s][n]]
			}
			if n > 0 {
				steps = append(steps, Step{Side: s, Chunks: order[s][:n:n]})
				order[s] = order[s][n:]
			}
		}
	}
	return steps, nil
}

func sums(sides [2][]int64) (sum [2]int64, err error) {
	for s, list := range sides {
		for _, w := range list {
			if w < 1 || w > maxUnits || sum[s]+w > maxUnits {
				return sum, fmt.Errorf("%w: side %d gives a chunk of %d units, or more than %d in all", ErrPace, s, w, maxUnits)
			}
			sum[s] += w
		}
		if sum[s] == 0 {
			return sum, fmt.Errorf("%w: side %d gives nothing", ErrPace, s)
		}
	}
	return sum, nil
}

// Loss returns the most that each side can lose, in units of what it gives: at
// the worst moment, what it has handed over, less the part of its own that what
// it has received is the price of. What it received last counts for nothing: it
// may turn out to be spent. A side that is silent about its own steps is not
// covered; one that looks and reports is, whatever the other one does.
func Loss(steps []Step, sides [2][]int64) (most [2]int64, err error) {
	sum, err := sums(sides)
	if err != nil {
		return most, err
	}
	var handed, last [2]int64
	for _, st := range steps {
		last[st.Side] = 0
		for _, i := range st.Chunks {
			last[st.Side] += sides[st.Side][i]
		}
		handed[st.Side] += last[st.Side]
		for s := range most {
			sure := handed[1-s] - last[1-s]
			most[s] = max(most[s], handed[s]-sum[s]*sure/sum[1-s])
		}
	}
	return most, nil
}

// Span returns how many seconds steps take at the most, while the escrow and its
// witnesses run.
func (p Pace) Span(steps int) int64 { return int64(steps) * (int64(p.Wait) + Grace) }
