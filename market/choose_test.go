package market

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// bestSums finds by trying everything what Choose is to find.
func bestSums(have []uint32, want Units, most int) (below, above Units, n map[Units]int) {
	n = map[Units]int{}
	for set := range 1 << len(have) {
		sum, k := Units(0), 0
		for i, w := range have {
			if set>>i&1 == 1 {
				sum, k = sum+Units(w), k+1
			}
		}
		if k == 0 || k > most {
			continue
		}
		if old, ok := n[sum]; !ok || k < old {
			n[sum] = k
		}
		if sum <= want {
			below = max(below, sum)
		}
		if sum >= want && (above == 0 || sum < above) {
			above = sum
		}
	}
	return below, above, n
}

func TestChoose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have := rapid.SliceOfN(rapid.SampledFrom(weights[:]), 0, 11).Draw(t, "have")
		want := Units(rapid.OneOf(rapid.Uint32Range(1, 60), rapid.Uint32Range(1, 4000)).Draw(t, "want"))
		most := rapid.IntRange(1, 11).Draw(t, "most")
		below, above, fewest := bestSums(have, want, most)
		gotBelow, gotAbove := Choose(have, want, most)
		for _, x := range []struct {
			name string
			got  []int
			want Units
		}{{"below", gotBelow, below}, {"above", gotAbove, above}} {
			var sum Units
			seen := map[int]bool{}
			for _, i := range x.got {
				if seen[i] {
					t.Fatalf("%s takes chunk %d twice", x.name, i)
				}
				seen[i] = true
				sum += Units(have[i])
				for j := range i { // the earlier of equals first
					if have[j] == have[i] && !seen[j] {
						t.Fatalf("%s takes chunk %d and not the earlier %d", x.name, i, j)
					}
				}
			}
			if sum != x.want || x.want > 0 && len(x.got) != fewest[x.want] {
				t.Fatalf("%s %d of %v with at most %d: takes %v, %d units; want %d units in %d chunks", x.name, want, have, most, x.got, sum, x.want, fewest[x.want])
			}
		}
	})
}

func TestChooseExamples(t *testing.T) {
	for _, c := range []struct {
		name         string
		have         []uint32
		want         Units
		most         int
		below, above []int
	}{
		{"exactly", []uint32{5, 5, 5}, 10, 99, []int{0, 1}, []int{0, 1}},
		{"not divisible", []uint32{5, 5, 5}, 7, 99, []int{0}, []int{0, 1}},
		{"all is too little", []uint32{5, 2}, 9, 99, []int{0, 1}, nil},
		{"all is too much", []uint32{10}, 9, 99, nil, []int{0}},
		{"a heavy one before two light ones", []uint32{5, 5, 10}, 10, 99, []int{2}, []int{2}},
		{"too many", []uint32{1, 1, 1, 5}, 3, 2, []int{0, 1}, []int{3}},
		{"nothing", nil, 9, 99, nil, nil},
		{"nothing wanted", []uint32{1}, 0, 99, nil, nil},
		{"no rung", []uint32{3}, 3, 99, nil, nil},
	} {
		below, above := Choose(c.have, c.want, c.most)
		if !slices.Equal(below, c.below) || !slices.Equal(above, c.above) {
			t.Errorf("%s: %v and %v, want %v and %v", c.name, below, above, c.below, c.above)
		}
	}
}
