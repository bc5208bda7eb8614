package contract

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// chunks is what an instance holds: the weights in the agreed order, and the order in which a give tries them. It is
// immutable and shared by all states of an instance.
type chunks struct {
	start  []int32 // of each pot, where its chunks begin; one more at the end
	weight []int64
	order  []int32 // of each pot, its chunks by falling weight, equal ones in the agreed order
}

// newChunks checks weights against the deal.
func (d *Deal) newChunks(weights [][]int64) (*chunks, error) {
	if len(weights) != len(d.units) {
		return nil, fmt.Errorf("chunks for %d pots, the contract has %d", len(weights), len(d.units))
	}
	total := 0
	for _, w := range weights {
		if total += len(w); total > MaxChunks {
			return nil, fmt.Errorf("more than %d chunks", MaxChunks)
		}
	}
	c := &chunks{start: make([]int32, 1, len(weights)+1), weight: make([]int64, 0, total), order: make([]int32, total)}
	for i, pot := range weights {
		missing := d.units[i]
		for _, w := range pot {
			if w < 1 {
				return nil, fmt.Errorf("pot %s: a chunk weighs %d units", d.p.pots[i].Name, w)
			}
			if w > missing {
				return nil, fmt.Errorf("pot %s: the chunks weigh more than %d units", d.p.pots[i].Name, d.units[i])
			}
			missing -= w
		}
		if missing != 0 {
			return nil, fmt.Errorf("pot %s: %d of %d units are missing", d.p.pots[i].Name, missing, d.units[i])
		}
		c.weight = append(c.weight, pot...)
		c.start = append(c.start, int32(len(c.weight)))
	}
	for i := range c.order {
		c.order[i] = int32(i)
	}
	for i := range weights {
		slices.SortStableFunc(c.order[c.start[i]:c.start[i+1]], func(a, b int32) int {
			switch {
			case c.weight[a] > c.weight[b]:
				return -1
			case c.weight[a] < c.weight[b]:
				return 1
			}
			return 0
		})
	}
	return c, nil
}

// State is where an instance stands. It is a value: Step returns a new one and leaves the old one as it was. The zero
// State is of no instance, and every method refuses it or answers for an instance that is closed.
type State struct {
	c      *chunks
	closed bool
	phase  int32
	now    int64    // logical time of the last step
	until  int64    // when the phase's deadline is due
	said   uint64   // voices heard and values taken in this phase, at the bits of its clauses
	vars   []int64  // counters, then of each oracle the time of the newest value; never written after it is made
	gone   []uint64 // chunks given, by bit; never written after it is made
}

// Closed tells that the contract is over: nothing is left to give.
func (s State) Closed() bool { return s.closed || s.c == nil }

// Phase returns the index of the present phase, -1 when closed.
func (s State) Phase() int {
	if s.Closed() {
		return none
	}
	return int(s.phase)
}

// Now returns the logical time of the last step, in Unix seconds: a deadline's step counts as done at the deadline.
func (s State) Now() int64 { return s.now }

// Holds tells that a chunk, by its index in the pot's agreed order, is not given away yet.
func (s State) Holds(pot, chunk int) bool {
	if s.Closed() || pot < 0 || pot >= len(s.c.start)-1 {
		return false
	}
	i := int(s.c.start[pot]) + chunk
	return chunk >= 0 && i < int(s.c.start[pot+1]) && !s.has(int32(i))
}

// has tells that chunk i, counted over all pots, is gone.
func (s *State) has(i int32) bool { return s.gone[i/64]>>(i%64)&1 == 1 }

// ErrSnapshot is wrapped by every refusal of DecodeState.
var ErrSnapshot = errors.New("snapshot refused")

const snapshotVersion = 1

// AppendBinary appends the snapshot of s, as spec/contract.md lays it out: 14 to 20 bytes for an escrow. It holds
// neither contract, terms nor weights; whoever stores it says beside it which instance it belongs to.
func (s State) AppendBinary(b []byte) ([]byte, error) {
	if s.c == nil {
		return b, fmt.Errorf("encode state: %w: no instance", ErrSnapshot)
	}
	b = append(b, snapshotVersion)
	if s.closed {
		return binary.AppendUvarint(append(b, 0), uint64(s.now)), nil
	}
	b = binary.AppendUvarint(b, uint64(s.phase)+1)
	b = binary.AppendUvarint(b, uint64(s.now))
	b = binary.AppendUvarint(b, uint64(s.until-s.now))
	return s.appendChanging(b), nil
}

// appendChanging appends what a state is besides phase and time.
func (s *State) appendChanging(b []byte) []byte {
	b = binary.AppendUvarint(b, s.said)
	for _, v := range s.vars {
		b = binary.AppendVarint(b, v)
	}
	for i := range (len(s.c.weight) + 7) / 8 {
		b = append(b, byte(s.gone[i/8]>>(i%8*8)))
	}
	return b
}

// DecodeState reads a snapshot of an instance of d over these weights. It accepts only what AppendBinary of a possible
// state writes, so that what it accepts has one encoding. It allocates no more than Open does.
func (d *Deal) DecodeState(weights [][]int64, b []byte) (State, error) {
	c, err := d.newChunks(weights)
	if err != nil {
		return State{}, fmt.Errorf("decode state: %w: %w", ErrSnapshot, err)
	}
	s := State{c: c}
	if what := s.decode(d.p, b); what != "" {
		return State{}, fmt.Errorf("decode state: %w: %s", ErrSnapshot, what)
	}
	return s, nil
}

// decode fills s from b and returns what is wrong with b.
func (s *State) decode(p *Program, b []byte) (wrong string) {
	short := false
	uvarint := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || n > 1 && b[n-1] == 0 {
			short = true
			return 0
		}
		b = b[n:]
		return v
	}
	if len(b) == 0 || b[0] != snapshotVersion {
		return "unknown version"
	}
	b = b[1:]
	at, now := uvarint(), uvarint()
	if short || at > uint64(len(p.phases)) || now > farAway {
		return "no such phase or time"
	}
	s.now = int64(now)
	if at == 0 {
		s.closed = true
		if len(b) != 0 {
			return "bytes are left over"
		}
		return ""
	}
	s.phase = int32(at - 1)
	wait := uvarint()
	if wait > farAway {
		return "no such deadline"
	}
	s.until = s.now + int64(wait)
	s.said = uvarint()
	if !p.phases[s.phase].voices(s.said) {
		return "voices that no clause waits for"
	}
	s.vars = make([]int64, p.vars())
	for i := range s.vars {
		u := uvarint()
		v := int64(u>>1) ^ -int64(u&1)
		lo, hi := int64(0), int64(farAway)
		if i < len(p.counters) {
			lo, hi = p.counters[i].lo, p.counters[i].hi
		}
		if v < lo || v > hi {
			return "a counter or a time is out of range"
		}
		s.vars[i] = v
	}
	n := len(s.c.weight)
	if short || len(b) != (n+7)/8 {
		return "truncated, or not minimal"
	}
	s.gone = make([]uint64, (n+63)/64)
	for i, x := range b {
		s.gone[i/8] |= uint64(x) << (i % 8 * 8)
	}
	if n%64 != 0 && s.gone[len(s.gone)-1]>>(n%64) != 0 {
		return "a chunk that does not exist"
	}
	return ""
}

// vars returns how many variables a state has.
func (p *Program) vars() int { return len(p.counters) + len(p.oracles) }

// voices tells that a phase can be waiting with these bits set.
func (ph *phase) voices(said uint64) bool {
	for i := range ph.clauses {
		c := &ph.clauses[i]
		if c.kind == onWord && popcount(said&c.mask()) >= max(c.need, 1) {
			return false
		}
		said &^= c.mask()
	}
	return said == 0
}
