package contract

import (
	"math/bits"
	"strconv"
)

// Limits of one contract.
const (
	MaxParties  = 64
	MaxTerms    = 64
	MaxPots     = 16
	MaxCounters = 32
	MaxOracles  = 16
	MaxPhases   = 256
	MaxClauses  = 128  // of one phase
	MaxChunks   = 4096 // over all pots of one instance
)

// Type is what a number means. The types keep a price from being given away and a time from being multiplied.
type Type uint8

// The types. Literal is that of a plain number, which serves as a Number or as Units.
const (
	Literal  Type = iota
	Number        // a plain count or rate
	Units         // an amount of a pot
	Time          // Unix seconds
	Duration      // seconds
	truth         // of a condition
)

// String returns the word for t that a contract uses.
func (t Type) String() string {
	return [...]string{"literal", "number", "units", "time", "duration", "condition"}[t]
}

// Times and durations stay within these. The bounds leave room so that no sum of them leaves int64.
const (
	MaxTime     = 253_402_300_799           // the last second of the year 9999
	MaxDuration = 1000 * 366 * 24 * 60 * 60 // a thousand years
	farAway     = 1 << 53                   // an event may not claim a later time
)

// Term is one parameter that the parties fill in. Lo and Hi are included in its range.
type Term struct {
	Name   string
	Type   Type
	Lo, Hi int64
}

// Pot is one party's stake.
type Pot struct {
	Name  string
	From  int    // the party that deposits it and gets back what is not given away
	Units string // how much it holds, as the source says it
	expr  int32
	cands uint64 // parties that a give may name, as bits
}

// Feed is one value that an oracle observes outside the contract.
type Feed struct {
	Name   string
	Type   Type
	Lo, Hi int64
}

// Program is a compiled contract: it passed every check that needs no terms. It is immutable.
type Program struct {
	name     string
	parties  []string
	terms    []Term
	requires []int32
	pots     []Pot
	counters []counter
	oracles  []Feed
	nodes    []node
	opening  clause
	phases   []phase
	jumps    []int32 // a `next` holds an index into jumps, which holds the phase
	texts    []string
	warnings []Finding
	hash     [32]byte
	graph    graph
}

type counter struct {
	name          string
	typ           Type
	start, lo, hi int64
}

type op uint8

const (
	opConst op = iota
	opTerm
	opPot  // units that the pot was filled with
	opLeft // units that it still holds
	opCounter
	opInput // the value that came with the word, or the oracle's
	opAdd
	opSub
	opMul
	opDiv
	opMin
	opMax
	opShare
	opEq
	opNe
	opLt
	opLe
	opAnd
	opOr
	opNot
)

// node is one operation of an expression; a, b and c are indexes of the nodes that it works on.
type node struct {
	op      op
	typ     Type
	height  uint8
	a, b, c int32
	v       int64 // a constant's value, a variable's index
	pos     pos
}

const none = -1

type stmtKind uint8

const (
	stGive stmtKind = iota
	stSet
	stIf
	stNext
	stClose
)

type stmt struct {
	kind      stmtKind
	index     int   // pot, counter, or jump
	to        int   // receiving party
	expr      int32 // amount, value or condition; none for "all"
	then, els []stmt
	pos       pos
}

type clauseKind uint8

const (
	onOpen clauseKind = iota
	onWord
	onEach
	onFor
	onDeadline
)

// clause is "when this happens, do that".
type clause struct {
	kind     clauseKind
	word     string
	members  uint64 // parties that may say the word
	need     int    // how many of them must
	hasValue bool
	name     string // of the value
	typ      Type
	lo, hi   int64
	oracle   int
	time     int32 // of an oracle clause: its age limit or its observation time
	guard    int32
	body     []stmt
	bit      uint8 // first of the clause's bits in State.said
	bits     uint8
	pos      pos
}

// mask returns the clause's bits in State.said.
func (c *clause) mask() uint64 { return (1<<c.bits - 1) << c.bit }

// seat returns the bit that party's word sets.
func (c *clause) seat(party int) uint64 {
	return 1 << (int(c.bit) + bits.OnesCount64(c.members&(1<<party-1)))
}

type phase struct {
	name     string
	relative bool // the deadline is the moment of entry plus until
	until    int32
	clauses  []clause
	pos      pos
}

// Name returns the contract's name.
func (p *Program) Name() string { return p.name }

// Parties returns the names of the parties in the order of the source. Everywhere else a party is its index here.
func (p *Program) Parties() []string { return append([]string(nil), p.parties...) }

// Terms returns the terms in the order in which Bind takes their values.
func (p *Program) Terms() []Term { return append([]Term(nil), p.terms...) }

// Pots returns the pots in the order of the source.
func (p *Program) Pots() []Pot { return append([]Pot(nil), p.pots...) }

// Oracles returns the oracles in the order of the source.
func (p *Program) Oracles() []Feed { return append([]Feed(nil), p.oracles...) }

// Phases returns the names of the phases in the order of the source. The first is entered when `at open` is done.
func (p *Program) Phases() []string {
	names := make([]string, len(p.phases))
	for i := range p.phases {
		names[i] = p.phases[i].name
	}
	return names
}

// Hash identifies the contract: SHA-256 over its tokens. Layout, comments and the way numbers are grouped do not
// change it, anything else does. What the parties sign covers more: terms, chunks, parties and oracle keys.
func (p *Program) Hash() [32]byte { return p.hash }

// Warnings returns what the author should know and the checks did not refuse.
func (p *Program) Warnings() []Finding { return append([]Finding(nil), p.warnings...) }

// same tells that two expressions are the same formula.
func (p *Program) same(a, b int32) bool {
	if a == b {
		return true
	}
	if a == none || b == none {
		return false
	}
	x, y := &p.nodes[a], &p.nodes[b]
	return x.op == y.op && x.v == y.v && p.same(x.a, y.a) && p.same(x.b, y.b) && p.same(x.c, y.c)
}

// mentions tells that expression n reads variable v of kind o.
func (p *Program) mentions(n int32, o op, v int64) bool {
	if n == none {
		return false
	}
	x := &p.nodes[n]
	return x.op == o && x.v == v || p.mentions(x.a, o, v) || p.mentions(x.b, o, v) || p.mentions(x.c, o, v)
}

// names lists the parties of a set, joined by the word between them.
func (p *Program) names(set uint64, between string) string {
	s := ""
	for i, name := range p.parties {
		if set>>i&1 == 1 {
			if s != "" {
				s += between
			}
			s += name
		}
	}
	return s
}

// Describe says an event in a line of plain words, for paths and logs.
func (p *Program) Describe(ev Event) string {
	switch ev.Kind {
	case Word:
		s := "somebody"
		if ev.Party >= 0 && ev.Party < len(p.parties) {
			s = p.parties[ev.Party]
		}
		s += " says " + strconv.Quote(ev.Word)
		if ev.HasValue {
			s += " with " + strconv.FormatInt(ev.Value, 10)
		}
		return s
	case Oracle:
		s := "oracle"
		if ev.Oracle >= 0 && ev.Oracle < len(p.oracles) {
			s += " " + p.oracles[ev.Oracle].Name
		}
		return s + " is " + strconv.FormatInt(ev.Value, 10)
	case Deadline:
		return "the deadline passes"
	}
	return "an unknown event"
}
