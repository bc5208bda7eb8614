package market

// Choosing chunks is a bounded subset sum over the ladder 1, 2, 5, 10 … 1000. What makes it fast is an exchange
// argument: of chunks lighter than w that together weigh at least 2w, some weigh exactly w or exactly 2w, and there
// are more than one, or more than two, of them. So a choice with the fewest chunks that leaves two chunks of weight w
// unused, while what the lighter ones make up is 2w or more, could replace those by one or two of weight w. Going down
// the ladder, the fewest chunks therefore take of each weight as many as fit, or one less: at most 2⁹ branches, nearly
// always one. The tests compare with a search that assumes nothing.

// pick chooses, of the chunks in have, those that weigh exactly sum: the fewest; of equally few, those that deplete
// the inventory least (see scarcity); of equals, the heaviest first. It reports false if none do, or only more than
// most chunks.
func pick(have *counts, sum Units, most int) (counts, bool) {
	s := picking{have: have, fewest: most}
	var total uint64
	for i, n := range have {
		total += uint64(n) * uint64(weights[i])
		s.below[i] = total
	}
	if sum == 0 || uint64(sum) > total {
		return counts{}, false
	}
	s.from(ladder-1, uint32(sum), 0, 0)
	return s.best, s.found
}

type picking struct {
	have   *counts
	below  [ladder]uint64 // units in chunks of this weight and lighter ones
	take   counts
	best   counts
	found  bool
	fewest int
	cost   uint64 // of best
}

// scarcity is what it costs to take one of n chunks: the scarcer, the more. The sum over what is taken is compared
// between choices of equally many chunks, so that no weight runs out while another could serve.
func scarcity(n uint32) uint64 { return (1 << 32) / uint64(n) }

// from continues with weight i and lighter ones, to make up rest.
func (s *picking) from(i int, rest uint32, n int, cost uint64) {
	if rest == 0 {
		if !s.found || n < s.fewest || cost < s.cost {
			s.best, s.found, s.fewest, s.cost = s.take, true, n, cost
		}
		return
	}
	for i >= 0 && (s.have[i] == 0 || weights[i] > rest) {
		i--
	}
	if i < 0 || uint64(rest) > s.below[i] {
		return
	}
	w := weights[i]
	if least := n + int((rest+w-1)/w); least > s.fewest || s.found && least == s.fewest && cost >= s.cost {
		return
	}
	k := min(s.have[i], rest/w)
	price := scarcity(s.have[i])
	for range min(k, 1) + 1 {
		s.take[i] = k
		s.from(i-1, rest-k*w, n+int(k), cost+uint64(k)*price)
		k--
	}
	s.take[i] = 0
}

// sums is the set of what chunks can weigh together, as bits, up to a limit.
type sums []uint64

// sumsOf returns every sum up to limit that chunks of have weigh exactly.
func sumsOf(have *counts, limit Units) sums {
	s := make(sums, limit/64+1)
	s[0] = 1
	for i, w := range weights {
		left := min(have[i], uint32(limit)/w)
		for k := uint32(1); left > 0; k *= 2 {
			k = min(k, left)
			s.shift(k * w)
			left -= k
		}
	}
	return s
}

// shift adds d to every member, keeping the old ones.
func (s sums) shift(d uint32) {
	words, bits := int(d/64), d%64
	for i := len(s) - 1; i >= words; i-- {
		v := s[i-words] << bits
		if bits > 0 && i > words {
			v |= s[i-words-1] >> (64 - bits)
		}
		s[i] |= v
	}
}

func (s sums) has(v Units) bool { return int(v/64) < len(s) && s[v/64]>>(v%64)&1 == 1 }

// keep drops the members that need more than most chunks.
func (s sums) keep(fewest []uint16, most int) {
	for v, n := range fewest {
		if int(n) > most {
			s[v/64] &^= 1 << (v % 64)
		}
	}
}

// fewestOf returns, for every sum up to limit, the fewest chunks that weigh it, or 2¹⁶−1.
func fewestOf(have *counts, limit Units) []uint16 {
	const never = 1<<16 - 1
	fewest := make([]uint16, limit+1)
	for i := range fewest {
		fewest[i] = never
	}
	fewest[0] = 0
	for i, w := range weights {
		left := min(have[i], uint32(limit)/w)
		for k := uint32(1); left > 0; k *= 2 {
			k = min(k, left)
			left -= k
			for v, d := len(fewest)-1, int(k*w); v >= d; v-- {
				if n := fewest[v-d]; n < never {
					fewest[v] = min(fewest[v], n+uint16(k))
				}
			}
		}
	}
	return fewest
}
