package contract

import (
	"math/bits"
	"slices"
	"strconv"
)

// Limits of one contract.
const (
	MaxParties  = 64
	MaxTerms    = 64
	MaxPots     = 64
	MaxCounters = 64
	MaxOracles  = 16
	MaxSeals    = 64
	MaxRoles    = 4
	MaxHolders  = 16 // of one role
	MaxCurves   = 16
	MaxPoints   = 64 // of one curve
	MaxPhases   = 256
	MaxClauses  = 256  // of one phase, those of a role counted for each holder
	MaxVoices   = 63   // of one phase: over its clauses that wait for several parties, or for a value at one time
	MaxChunks   = 4096 // over all pots of one instance
)

// Terms that are times or durations stay within these. The end of a phase may be a formula of them and of now, up to
// half of farAway: no sum with a moment leaves int64.
const (
	MaxTime     = 253_402_300_799           // the last second of the year 9999
	MaxDuration = 1000 * 366 * 24 * 60 * 60 // a thousand years
	farAway     = 1 << 53                   // no event may claim a later time
)

// Type is what a number means. The types keep a price from being given away and a time from being multiplied.
type Type uint8

// The types. Literal is that of a plain number in a source, which serves as a Number or as Units.
const (
	Literal  Type = iota
	Number        // a plain count or rate
	Units         // an amount of a pot
	Time          // Unix seconds
	Duration      // seconds
	Money         // hundredths: 12.50 is 1250
	truth         // of a condition, 0 or 1
)

// String returns the word for t that a contract uses.
func (t Type) String() string {
	return [...]string{"plain number", "number", "units", "time", "duration", "money", "condition"}[t]
}

// Term is one parameter that the parties fill in. Its range includes Lo and Hi.
type Term struct {
	Name   string
	Type   Type
	Lo, Hi int64
}

// Feed is one value that an oracle observes outside the contract. Its range includes Lo and Hi. What the oracle signs
// it under is Fixed, or the agreement's choice where Fixed is empty; its keys are always the agreement's.
type Feed struct {
	Name   string
	Type   Type
	Lo, Hi int64
	Fixed  string
}

// Asset is what the chunks of a pot must be: the asset that the contract fixes, or the agreement's choice where Fixed is
// empty.
type Asset struct{ Name, Fixed string }

// Pot is one party's stake.
type Pot struct {
	Name  string
	From  int    // the party that deposits it and gets back what is not given away
	Units string // how much it holds, as the source says it
	Asset int    // index of what its chunks must be, -1 where the contract does not say
	Later bool   // filled while the contract runs, chunk by chunk in the agreed order
	expr  int32
	slot  int32  // of a later pot: where State.words counts the chunks that are there
	cands uint64 // parties that a give may name, by bit
}

// Role is a part that several parties play, each for itself. How many, the first terms say, one for each role in order.
type Role struct {
	Name   string
	Lo, Hi int // of the number of holders
	First  int // party; the others follow it
}

type counter struct {
	Term
	start int64
}

// curve is a line through points, level before the first and after the last.
type curve struct {
	name   string
	xt, yt Type
	xs, ys []int64 // xs rise
}

// at returns the curve's value at x, rounded toward the value at the point before x.
func (c *curve) at(x int64) int64 {
	i, found := slices.BinarySearch(c.xs, x)
	switch {
	case found:
		return c.ys[i]
	case i == 0:
		return c.ys[0]
	case i == len(c.xs):
		return c.ys[i-1]
	}
	rise, _ := muldiv(x-c.xs[i-1], c.ys[i]-c.ys[i-1], c.xs[i]-c.xs[i-1])
	return c.ys[i-1] + rise
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
	assets   []Asset
	seals    []Term // values that are committed to before they are shown
	curves   []curve
	roles    []Role
	counts   []int64 // holders of each role that this program is written out for
	source   string  // kept where there are roles, to be written out for other counts
	later    int     // number of later pots
	taken    int     // tokens, written out for the holders of roles
	timed    bool    // what happens, not only when a phase ends, can depend on now
	nodes    []node
	opening  clause
	phases   []phase
	jumps    []int32 // a `next` holds an index of jumps, which holds the phase
	warnings []Finding
	hash     [32]byte
}

// none stands for an expression, a phase or a name that is not there.
const none = -1

// node is one operation of an expression; a, b and c are the nodes that it works on.
type node struct {
	op      op
	typ     Type
	height  uint8
	a, b, c int32
	v       int64 // a constant's value, a variable's index
	pos     pos
}

type stmtKind uint8

const (
	stGive stmtKind = iota
	stSet
	stIf
	stNext
	stClose
	stStay
)

type stmt struct {
	kind      stmtKind
	index     int   // pot, counter, or jump
	to        int   // receiving party
	expr      int32 // amount, value or condition
	old       int32 // of a set: the counter as it was
	then, els []stmt
	pos       pos
}

type clauseKind uint8

const (
	onOpen clauseKind = iota
	onWord
	onEach
	onFor
	onDeposit
	onDeadline
)

// carries says what comes with a word.
type carries uint8

const (
	nothing carries = iota
	aValue
	aSeal // a commitment to a value
	aKey  // the value committed to
)

// clause is "when this happens, do that".
type clause struct {
	kind      clauseKind
	word      string
	members   uint64 // parties that may say the word, by bit
	need      int    // how many of them must
	carries   carries
	seal      int    // index of what is committed to or shown
	input     string // name of the value
	typ       Type   // of the value
	lo, hi    int64  // of the value
	oracle    int    // of a deposit, the pot
	partial   bool   // of a deposit: the pot need not be full
	time      int32  // of an oracle clause: its age limit or its observation time
	guard     int32
	body      []stmt
	bit, bits uint8 // first and number of the clause's bits in State.said
	size      int   // of the opening: its tokens, written out for its holders
	pos       pos
}

// mask returns the clause's bits in State.said.
func (c *clause) mask() uint64 { return (1<<c.bits - 1) << c.bit }

// seat returns the bit that party's word sets.
func (c *clause) seat(party int) uint64 {
	return 1 << (int(c.bit) + bits.OnesCount64(c.members&(1<<party-1)))
}

// hears tells that the word of a party may count towards the clause.
func (c *clause) hears(party int, word string) bool {
	return c.kind == onWord && c.members>>party&1 == 1 && c.word == word
}

type phase struct {
	name    string
	until   int32
	rounds  int64 // how often an instance can enter it
	clauses []clause
	size    int // tokens, written out for the holders of roles
	pos     pos
}

// Name returns the contract's name.
func (p *Program) Name() string { return p.name }

// Parties returns the names of the parties in the order of the source. Everywhere else a party is its index here.
func (p *Program) Parties() []string { return slices.Clone(p.parties) }

// Terms returns the terms in the order in which Bind takes their values.
func (p *Program) Terms() []Term { return slices.Clone(p.terms) }

// Pots returns the pots in the order of the source.
func (p *Program) Pots() []Pot { return slices.Clone(p.pots) }

// Oracles returns the values that the contract observes, in the order of the source.
func (p *Program) Oracles() []Feed { return slices.Clone(p.oracles) }

// Assets returns what the pots' chunks must be, in the order of the source.
func (p *Program) Assets() []Asset { return slices.Clone(p.assets) }

// Roles returns the roles in the order of the source. Their numbers of holders are the first terms. Parties, pots and
// terms of a program with roles are written out for the greatest numbers, those of a deal for its own.
func (p *Program) Roles() []Role { return slices.Clone(p.roles) }

// Phases returns the names of the phases in the order of the source. The first is entered when `at open` is done.
func (p *Program) Phases() []string {
	var names []string
	for i := range p.phases {
		names = append(names, p.phases[i].name)
	}
	return names
}

// Hash identifies the contract: SHA-256 over its tokens. Layout, comments and the way numbers are grouped do not
// change it, anything else does. What the parties sign covers more: terms, chunks, parties and oracle keys.
func (p *Program) Hash() [32]byte { return p.hash }

// Warnings returns what the author should know and the checks did not refuse.
func (p *Program) Warnings() []Finding { return slices.Clone(p.warnings) }

// Describe says an event of this contract in plain words, for paths and logs.
func (p *Program) Describe(ev Event) string {
	switch value := strconv.FormatInt(ev.Value, 10); {
	case ev.Kind == Deadline:
		return "the deadline passes"
	case ev.Kind == Oracle && ev.Oracle >= 0 && ev.Oracle < len(p.oracles):
		old := "" // said of what an exploration plays as too old for a clause
		if age := ev.At - ev.Observed; age > 0 && age < farAway/2 {
			old = ", " + strconv.FormatInt(age, 10) + " seconds old,"
		}
		return "oracle " + p.oracles[ev.Oracle].Name + old + " is " + Format(p.oracles[ev.Oracle].Type, ev.Value)
	case ev.Kind == Word && ev.Party >= 0 && ev.Party < len(p.parties):
		s := p.parties[ev.Party] + " says " + strconv.Quote(ev.Word)
		if ev.HasValue {
			s += " with " + Format(p.carried(ev.Party, ev.Word), ev.Value)
		} else if ev.Hash != [32]byte{} {
			s += " with a sealed value"
		}
		return s
	case ev.Kind == Deposit && ev.Pot >= 0 && ev.Pot < len(p.pots):
		return p.parties[p.pots[ev.Pot].From] + " deposits the next " + value + " chunks of " + p.pots[ev.Pot].Name
	}
	return "an event that this contract does not know"
}

// carried returns the type of the value that comes with a word; Number where phases differ.
func (p *Program) carried(party int, word string) Type {
	t, found := Number, false
	for i := range p.phases {
		for j := range p.phases[i].clauses {
			if c := &p.phases[i].clauses[j]; c.kind == onWord && c.hears(party, word) && (c.carries == aValue || c.carries == aKey) {
				if found && c.typ != t {
					return Number
				}
				t, found = c.typ, true
			}
		}
	}
	return t
}
