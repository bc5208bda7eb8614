package market

import (
	"cmp"
	"slices"
)

// MaxChoice bounds what Choose is asked for.
const MaxChoice = 1 << 20

// Choose says which of some chunks come nearest to want: those of the greatest sum
// that is not above it, and those of the least that is not below it, by their
// indices in have, which holds weights of the ladder. Each choice takes the fewest
// chunks that make up its sum, at most most of them; of one weight it takes the
// earlier ones. A choice that is not there is nil; both are one where want can be
// made up exactly.
func Choose(have []uint32, want Units, most int) (below, above []int) {
	var n counts
	byRung := [ladder][]int{}
	heaviest := uint32(0)
	for i, w := range have {
		if r, ok := rung(w); ok {
			n[r]++
			byRung[r] = append(byRung[r], i)
			heaviest = max(heaviest, w)
		}
	}
	most = min(most, n.chunks())
	if want == 0 || want > MaxChoice || most < 1 {
		return nil, nil
	}
	// A least sum that is not below want is less than one chunk above it.
	limit := Units(min(n.units(), uint64(want)+uint64(heaviest)))
	fewest := fewestOf(&n, limit)
	take := func(sum Units) []int {
		c, ok := pick(&n, sum, most)
		if !ok {
			return nil
		}
		var out []int
		for r, k := range c {
			out = append(out, byRung[r][:k]...)
		}
		slices.SortFunc(out, cmp.Compare[int])
		return out
	}
	for sum := min(want, limit); sum > 0; sum-- {
		if int(fewest[sum]) <= most {
			below = take(sum)
			break
		}
	}
	for sum := want; sum <= limit; sum++ {
		if int(fewest[sum]) <= most {
			above = take(sum)
			break
		}
	}
	return below, above
}
