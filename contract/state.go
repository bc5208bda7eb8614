package contract

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// chunks is what an instance holds. It is immutable and shared by all states of an instance, and small, for there are
// many instances. A chunk is counted over all pots.
type chunks struct {
	pots, plain, vars int16    // of State.words, plain come before the sealed values, and vars before the bits of the chunks
	all               []uint32 // the first chunk of each pot, and their number; weights; each pot's chunks by falling weight, equal ones in the agreed order
}

func (c *chunks) start(pot int) int32  { return int32(c.all[pot]) }
func (c *chunks) end(pot int) int32    { return int32(c.all[pot+1]) }
func (c *chunks) count() int           { return int(c.all[c.pots]) }
func (c *chunks) weight(i int32) int64 { return int64(c.all[int32(c.pots)+1+i]) }

// order returns the chunks of a pot in the order in which a give looks at them.
func (c *chunks) order(pot int) []uint32 {
	by := c.all[int(c.pots)+1+c.count():]
	return by[c.start(pot):c.end(pot)]
}

// newChunks checks weights against the deal.
func (d *Deal) newChunks(weights [][]int64) (*chunks, error) {
	if len(weights) != len(d.units()) {
		return nil, fmt.Errorf("chunks for %d pots, the contract has %d", len(weights), len(d.units()))
	}
	n := 0
	for _, pot := range weights {
		n += len(pot)
	}
	if n > MaxChunks {
		return nil, fmt.Errorf("%d chunks, more than %d", n, MaxChunks)
	}
	c := &chunks{pots: int16(len(weights)), plain: int16(d.p.varSeals()), vars: int16(d.p.varSeals() + 4*len(d.p.seals)), all: make([]uint32, len(weights)+1+2*n)}
	next := 0
	for i, pot := range weights {
		missing := d.units()[i]
		for _, w := range pot {
			if w < 1 || w > missing {
				return nil, fmt.Errorf("pot %s: a chunk weighs %d units where %d of %d are missing", d.p.pots[i].Name, w, missing, d.units()[i])
			}
			if w > math.MaxUint32 {
				return nil, fmt.Errorf("pot %s: a chunk weighs %d units, more than %d", d.p.pots[i].Name, w, uint32(math.MaxUint32))
			}
			missing -= w
			c.all[len(weights)+1+next] = uint32(w)
			next++
		}
		if missing != 0 {
			return nil, fmt.Errorf("pot %s: %d of %d units are missing", d.p.pots[i].Name, missing, d.units()[i])
		}
		c.all[i+1] = uint32(next)
	}
	for i := range weights {
		order := c.all[len(weights)+1+n:][c.all[i]:c.all[i+1]]
		for j := range order {
			order[j] = c.all[i] + uint32(j)
		}
		slices.SortStableFunc(order, func(a, b uint32) int { return cmp.Compare(c.weight(int32(b)), c.weight(int32(a))) })
	}
	return c, nil
}

// State is where an instance stands. It is a value: Step returns a new one and leaves the old one as it was. The zero
// State is of no instance and counts as closed.
type State struct {
	c     *chunks
	phase int32    // none when closed
	now   int64    // logical time of the last step
	until int64    // when the phase's deadline is due
	said  uint64   // voices heard and values taken in this phase, at the bits of its clauses
	few   [2]int64 // the words, where there are no more
	many  []int64  // the words, where there are more; never written after it is made
}

// words returns the words of s itself: counters; of each oracle the time of its newest value; of each later pot how many of its
// chunks are there; of each sealed value 4 words; chunks given or not there, by bit.
func (s *State) words() []int64 {
	if s.many != nil {
		return s.many
	}
	return s.few[:]
}

// Closed tells that the contract is over: nothing is left to give.
func (s State) Closed() bool { return s.c == nil || s.phase == none }

// Phase returns the index of the present phase, -1 when closed.
func (s State) Phase() int {
	if s.Closed() {
		return none
	}
	return int(s.phase)
}

// Now returns the logical time of the last step, in Unix seconds: a deadline's step counts as done at the deadline.
func (s State) Now() int64 { return s.now }

// Holds tells that a chunk, by its index in the pot's agreed order, is there and not given away yet.
func (s State) Holds(pot, chunk int) bool {
	if s.Closed() || pot < 0 || pot >= int(s.c.pots) || chunk < 0 {
		return false
	}
	i := int(s.c.start(pot)) + chunk
	return i < int(s.c.end(pot)) && !s.has(int32(i))
}

// Where the parts of State.words begin, counters apart.
func (p *Program) varNewest() int { return len(p.counters) }
func (p *Program) varLater() int  { return p.varNewest() + len(p.oracles) }
func (p *Program) varSeals() int  { return p.varLater() + p.later }

// missing returns how many chunks of a pot are still to be deposited.
func (s *State) missing(p *Program, pot int) int64 {
	if !p.pots[pot].Later {
		return 0
	}
	return int64(s.c.end(pot)-s.c.start(pot)) - s.words()[p.varLater()+int(p.pots[pot].slot)]
}

// filled returns the units that were put into a pot.
func (d *Deal) filled(s *State, pot int) (sum int64) {
	if !d.p.pots[pot].Later {
		return d.units()[pot]
	}
	for i := s.c.start(pot); i < s.c.end(pot)-int32(s.missing(d.p, pot)); i++ {
		sum += s.c.weight(i)
	}
	return sum
}

// seal returns the commitment to a sealed value, zero if there is none.
func (s *State) seal(p *Program, i int) (h [32]byte) {
	for j := range 4 {
		binary.BigEndian.PutUint64(h[8*j:], uint64(s.words()[p.varSeals()+4*i+j]))
	}
	return h
}

// has tells that a chunk is gone, or not there yet.
func (s *State) has(i int32) bool { return s.words()[int32(s.c.vars)+i/64]>>(i%64)&1 == 1 }

// left returns the units of a pot that are not given.
func (s *State) left(pot int) (sum int64) {
	gone := s.words()[s.c.vars:]
	for i := s.c.start(pot); i < s.c.end(pot); i++ {
		if gone[i/64]>>(i%64)&1 == 0 {
			sum += s.c.weight(i)
		}
	}
	return sum
}

// start returns the state before `at open`.
func (d *Deal) start(c *chunks, now int64) State {
	s := State{c: c, now: now}
	if n := int(c.vars) + (c.count()+63)/64; n > len(s.few) {
		s.many = make([]int64, n)
	}
	words := s.words()
	for i, k := range d.p.counters {
		words[i] = k.start
	}
	for pot := range d.p.pots {
		s.absent(d.p, pot)
	}
	return s
}

// absent marks the chunks of a later pot that are not there yet.
func (s *State) absent(p *Program, pot int) {
	gone := s.words()[s.c.vars:]
	for i := s.c.end(pot) - int32(s.missing(p, pot)); i < s.c.end(pot); i++ {
		gone[i/64] |= 1 << (i % 64)
	}
}

// ErrSnapshot is wrapped by every refusal of DecodeState.
var ErrSnapshot = errors.New("snapshot refused")

const snapshotVersion = 1

// AppendBinary appends the snapshot of s, as spec/contract.md lays it out: 11 to 20 bytes for an escrow. It holds
// neither contract, terms nor weights; whoever stores it says beside it which instance it belongs to.
func (s State) AppendBinary(b []byte) ([]byte, error) {
	if s.c == nil {
		return b, fmt.Errorf("encode state: %w: no instance", ErrSnapshot)
	}
	b = append(b, snapshotVersion)
	if s.phase == none {
		return binary.AppendUvarint(append(b, 0), uint64(s.now)), nil
	}
	b = binary.AppendUvarint(b, uint64(s.phase)+1)
	b = binary.AppendUvarint(b, uint64(s.now))
	b = binary.AppendUvarint(b, uint64(s.until-s.now))
	return s.appendRest(b), nil
}

// appendRest appends what a state is besides phase and time.
func (s *State) appendRest(b []byte) []byte {
	b = binary.AppendUvarint(b, s.said)
	words := s.words()
	for _, v := range words[:s.c.plain] {
		b = binary.AppendVarint(b, v)
	}
	for i := s.c.plain; i < s.c.vars; i += 4 {
		h := words[i : i+4]
		if b = append(b, byte(truthOf(h[0]|h[1]|h[2]|h[3] != 0))); b[len(b)-1] == 1 {
			for _, w := range h {
				b = binary.BigEndian.AppendUint64(b, uint64(w))
			}
		}
	}
	for i := range (s.c.count() + 7) / 8 {
		b = append(b, byte(words[int(s.c.vars)+i/8]>>(i%8*8)))
	}
	return b
}

// DecodeState reads a snapshot of an instance of d over these weights. It accepts only what AppendBinary of some state
// writes, so that what it accepts has one encoding, and allocates no more than Open does.
func (d *Deal) DecodeState(weights [][]int64, b []byte) (State, error) {
	c, err := d.newChunks(weights)
	if err != nil {
		return State{}, fmt.Errorf("decode state: %w: %w", ErrSnapshot, err)
	}
	s := d.start(c, 0)
	ok := s.decode(d.p, b)
	if again, err := s.AppendBinary(nil); !ok || err != nil || !bytes.Equal(again, b) {
		return State{}, fmt.Errorf("decode state: %w: no snapshot of contract %s", ErrSnapshot, d.p.name)
	}
	return s, nil
}

// decode fills s from b and reports whether what it holds can be. Whether b is what s encodes to, the caller looks.
func (s *State) decode(p *Program, b []byte) bool {
	ok := true
	uvarint := func(most uint64) uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > most {
			b, ok = nil, false
			return 0
		}
		b = b[n:]
		return v
	}
	version, at := uvarint(snapshotVersion), uvarint(uint64(len(p.phases)))
	s.now = int64(uvarint(farAway))
	if at == 0 {
		*s = State{c: s.c, phase: none, now: s.now}
		return ok && version == snapshotVersion
	}
	s.phase = int32(at - 1)
	s.until = s.now + int64(uvarint(farAway))
	s.said = uvarint(1<<MaxVoices - 1)
	words := s.words()
	for i := range words[:s.c.plain] {
		u, lo, hi := uvarint(1<<64-1), int64(0), int64(farAway)
		if i < len(p.counters) {
			lo, hi = p.counters[i].Lo, p.counters[i].Hi
		} else if i >= p.varLater() {
			hi = MaxChunks
		}
		words[i] = int64(u>>1) ^ -int64(u&1)
		ok = ok && words[i] >= lo && words[i] <= hi
	}
	for i := int(s.c.plain); i < int(s.c.vars); i += 4 {
		if uvarint(1) == 1 && len(b) >= 32 {
			for j := range 4 {
				words[i+j] = int64(binary.BigEndian.Uint64(b[8*j:]))
			}
			b = b[32:]
		}
	}
	if !ok {
		return false
	}
	gone := words[s.c.vars:]
	clear(gone)
	for i := range min(s.c.count(), 8*len(b)) {
		gone[i/64] |= int64(b[i/8]>>(i%8)&1) << (i % 64)
	}
	for pot := range p.pots {
		if s.missing(p, pot) < 0 {
			return false
		}
		s.absent(p, pot) // a snapshot that says otherwise is not what s encodes to
	}
	return p.phases[s.phase].waits(s.said)
}
