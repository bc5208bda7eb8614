package market

import (
	"slices"

	"latchkey/wire"
)

// ladder is how many weights a chunk can have.
const ladder = 10

// weights are the chunk weights of package coin, rising.
var weights = [ladder]uint32{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}

// rung returns the index of a weight in weights, or −1.
func rung(weight uint32) int { return slices.Index(weights[:], weight) }

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
	rung    int
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
)

func (p place) String() string { return word(p, "available", "reserved", "kept", "claimed") }

// chunk is what the market keeps of a chunk.
type chunk struct {
	id       wire.ChunkID
	seq      uint64 // order of first appearance: the oldest is used first
	cert     *cert
	owner    *client
	proposal *proposal // while reserved
	line     []uint32  // profiles that ever held a share of the owner's side, rising; shared, never written
	value    Micros    // of a unit, for what the chunk adds to exposures while foreign
	epoch    uint32
	place    place
}

func (c *chunk) units() Units { return Units(weights[c.cert.rung]) }

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

// stock holds a client's available chunks of one denomination at one escrow. Those that nobody else has held lie apart:
// choosing them touches no limit but those of the two parties.
type stock struct {
	own, foreign [ladder]shelf
	have         counts
	alien        int // chunks in foreign
}

// shelfOf returns the shelf on which c belongs.
func (s *stock) shelfOf(c *chunk, foreign bool) *shelf {
	if foreign {
		return &s.foreign[c.cert.rung]
	}
	return &s.own[c.cert.rung]
}

func (s *stock) put(c *chunk, foreign bool) {
	s.shelfOf(c, foreign).put(c)
	s.have[c.cert.rung]++
	if foreign {
		s.alien++
	}
}

func (s *stock) take(c *chunk, foreign bool) {
	s.shelfOf(c, foreign).take(c)
	s.have[c.cert.rung]--
	if foreign {
		s.alien--
	}
}

// count returns how many chunks of each weight there are that usable accepts.
func (s *stock) count(usable func(*chunk) bool) (have counts) {
	for i := range weights {
		for _, list := range [][]*chunk{s.own[i].all(), s.foreign[i].all()} {
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
// those that nobody else has held before the others, the oldest first. It returns nil if there are not enough.
func (s *stock) choose(take counts, usable func(*chunk) bool) []*chunk {
	picked := make([]*chunk, 0, take.chunks())
	for i := ladder - 1; i >= 0; i-- {
		need := int(take[i])
		for _, list := range [][]*chunk{s.own[i].all(), s.foreign[i].all()} {
			for j := 0; j < len(list) && need > 0; j++ {
				if usable == nil || usable(list[j]) {
					picked = append(picked, list[j])
					need--
				}
			}
		}
		if need > 0 {
			return nil
		}
	}
	return picked
}

// stockKey names a stock of a client.
type stockKey struct {
	denom  *denom
	escrow wire.VaultID
}
