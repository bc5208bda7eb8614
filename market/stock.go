package market

import (
	"slices"

	"latchkey/wire"
)

// ladder is how many weights a chunk can have.
const ladder = 10

// weights are the chunk weights of package coin, rising.
var weights = [ladder]uint32{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}

// rung returns the index of a weight in weights; false if it is not there.
func rung(weight uint32) (uint8, bool) {
	i := slices.Index(weights[:], weight)
	return uint8(max(i, 0)), i >= 0
}

// counts says how many chunks there are, or are taken, of each weight.
type counts [ladder]uint32

func (c *counts) units() (sum uint64) {
	for i, n := range c {
		sum += uint64(n) * uint64(weights[i])
	}
	return sum
}

func (c *counts) chunks() (n int) {
	for _, k := range c {
		n += int(k)
	}
	return n
}

// cert is what the market keeps of a certificate.
type cert struct {
	id      wire.CertID
	pos     uint64 // of the first deposit
	escrow  wire.VaultID
	denom   *denom
	rung    uint8
	expiry  int64
	retire  int64
	retired bool
	chunks  []*chunk // in the order of their sequence numbers
}

// place is where a chunk stands.
type place uint8

const (
	available place = 1 // in its owner's stock
	reserved  place = 2 // in one live proposal
	kept      place = 3 // its owner's, not on the market
	gone      place = 4 // claimed; remembered while its certificate is
	pledged   place = 5 // its owner's, whose vault has signed it away in an agreement that may yet be locked
)

func (p place) String() string { return word(p, "available", "reserved", "kept", "claimed", "pledged") }

// chunk is what the market keeps of a chunk.
type chunk struct {
	id       wire.ChunkID
	seq      uint64 // order of first appearance: the oldest is used first
	cert     *cert
	owner    *client
	proposal *proposal // while reserved or pledged
	line     []uint32  // profiles that ever held a share of the owner's side, rising; shared, never written
	value    Micros    // of a unit, for what the chunk adds to exposures when others have held it
	epoch    uint32
	place    place
	rung     uint8 // of its weight
}

func (c *chunk) units() Units { return Units(weights[c.rung]) }

// worth is what the chunk counts for in exposures.
func (c *chunk) worth() Micros { return Micros(c.units()) * c.value }

// shelf holds available chunks of one weight, the oldest first.
type shelf struct {
	list []*chunk // list[head:] is in use, by rising seq
	head int
}

func (s *shelf) all() []*chunk { return s.list[s.head:] }
func (s *shelf) len() int      { return len(s.list) - s.head }

func bySeq(c *chunk, seq uint64) int {
	switch {
	case c.seq < seq:
		return -1
	case c.seq > seq:
		return 1
	}
	return 0
}

// find returns where c is, or would be, among all().
func (s *shelf) find(c *chunk) (int, bool) { return slices.BinarySearchFunc(s.all(), c.seq, bySeq) }

// put adds c in its place. What comes back is mostly old and goes to the front, where there is room from its leaving.
func (s *shelf) put(c *chunk) {
	use := s.all()
	i, _ := s.find(c)
	if s.head > 0 && i < len(use)/2 {
		s.head--
		use = s.list[s.head:]
		copy(use[:i], use[1:i+1])
		use[i] = c
		return
	}
	if len(s.list) == cap(s.list) && s.head > len(s.list)/2 {
		n := copy(s.list, use)
		clear(s.list[n:])
		s.list, s.head = s.list[:n], 0
	}
	s.list = slices.Insert(s.list, s.head+i, c)
}

// take removes c, which is there.
func (s *shelf) take(c *chunk) {
	use := s.all()
	i, ok := s.find(c)
	switch {
	case !ok:
		return
	case i < len(use)/2:
		copy(use[1:i+1], use[:i])
		use[0] = nil
		s.head++
	default:
		s.list = slices.Delete(s.list, s.head+i, s.head+i+1)
	}
	if s.len() == 0 {
		s.list, s.head = nil, 0
	}
}

// stock holds a client's available chunks of one denomination at one escrow. Those that nobody but the client, as it is
// now, has ever held are plain and lie apart: choosing them touches no limit but those of the two parties, and they need
// not be looked at one by one.
type stock struct {
	plain, other [ladder]shelf
	have         counts
	soonest      int64 // no certificate of a chunk here expires earlier; 0 for an empty stock
}

// plain reports whether nobody but its owner, as it is now, ever held a share of c.
func (c *chunk) plain() bool {
	return len(c.line) == 1 && c.line[0] == c.owner.profile.number()
}

// shelf returns the shelf on which c belongs.
func (s *stock) shelf(c *chunk) *shelf {
	if c.plain() {
		return &s.plain[c.rung]
	}
	return &s.other[c.rung]
}

func (s *stock) put(c *chunk) {
	if s.shelf(c).put(c); s.have == (counts{}) || c.cert.expiry < s.soonest {
		s.soonest = c.cert.expiry
	}
	s.have[c.rung]++
}

func (s *stock) take(c *chunk) {
	s.shelf(c).take(c)
	s.have[c.rung]--
}

// count returns how many chunks of each weight there are that usable accepts.
func (s *stock) count(usable func(*chunk) bool) (have counts) {
	for i := range weights {
		for _, list := range [2][]*chunk{s.plain[i].all(), s.other[i].all()} {
			for _, c := range list {
				if usable(c) {
					have[i]++
				}
			}
		}
	}
	return have
}

// choose returns chunks of the given counts that usable accepts (nil accepts all): heavy ones first, of each weight
// plain ones before the others, the oldest first. It appends to picked, and to other those that are not plain; it
// returns nil if there are not enough.
func (s *stock) choose(take *counts, usable func(*chunk) bool, picked, other []*chunk) (all, notPlain []*chunk) {
	for i := ladder - 1; i >= 0; i-- {
		need := int(take[i])
		for side, list := range [2][]*chunk{s.plain[i].all(), s.other[i].all()} {
			from := len(picked)
			if usable == nil {
				n := min(need, len(list))
				picked = append(picked, list[:n]...)
				need -= n
			}
			for j := 0; j < len(list) && need > 0 && usable != nil; j++ {
				if usable(list[j]) {
					picked = append(picked, list[j])
					need--
				}
			}
			if side == 1 {
				other = append(other, picked[from:]...)
			}
		}
		if need > 0 {
			return nil, nil
		}
	}
	return picked, other
}

// stockKey names a stock of a client.
type stockKey struct {
	denom  *denom
	escrow wire.VaultID
}
