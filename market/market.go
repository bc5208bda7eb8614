// Package market is what the switchboard decides with: offers, price-time matching, fills from several clients, the
// choice of chunks, limits on what may be at stake, and notices for clients that are offline.
//
// It proposes and never commits: a proposal names chunks that their owners' vaults may put into an instance, and what
// becomes of it are facts from the escrow's log. It holds no key and performs nothing.
//
// The story in order: Decide looks at one Input and returns the Events that follow from it, reading only. Apply folds
// one event into the state; folding a log again gives the same state, so a replay never decides anything. Follow names
// the offers that may be matched because of events, as further inputs. Effects says what the shell does once an event
// is durable. Step is all of these in order. Time is an argument in Unix seconds; there are no floats, no randomness
// and no iteration in an unstated order.
//
// Amounts are units of a denomination; money is Micros; prices are basis points over the rate. The rules, enough for
// a second implementation, are in spec/market.md.
package market

import (
	"encoding/hex"
	"errors"
	"fmt"

	"latchkey/coin"
	"latchkey/contract"
	"latchkey/wire"
)

// What a caller may have to tell apart. Every refusal of Decide wraps one of them and has changed nothing.
var (
	ErrInvalid  = errors.New("invalid")             // malformed or absurd, whatever the state is
	ErrNotFound = errors.New("not known here")      // a client, offer, chunk, contract … that the market does not know
	ErrConflict = errors.New("conflicts")           // the id names something else already
	ErrLimit    = errors.New("limit reached")       // the text names the limit and its value
	ErrState    = errors.New("not in this state")   // too late, too early, or not the sender's to do
	ErrEvent    = errors.New("event does not fit")  // from Apply: a log of another market, or a broken one
	ErrSnapshot = errors.New("snapshot is refused") // from Restore
)

type (
	// OfferID is a client's own choice, unique among its offers. A second offer under the same id changes nothing.
	OfferID [16]byte
	// ProposalID is the position in the market's log of the event that made the proposal.
	ProposalID uint64
	// Micros is money: millionths of a US dollar.
	Micros int64
	// Bps is a premium over the rate in hundredths of a percent. Below zero it is a discount.
	Bps int32
	// Units counts units of a denomination.
	Units uint32
	// Settle says how the gives of a contract are carried out, with the numbers of the vaults' agreements.
	Settle uint8
)

// The ways to settle.
const (
	Atomic    Settle = 1 // all gives of a step at once
	TitForTat Settle = 2 // the sides' chunks in turn, at a pace: package settle
)

// Bounds that belong to the format rather than to a policy.
const (
	MaxUnits      Units  = 1 << 20          // of an offer
	MaxSlice      Units  = 1 << 14          // of one side of a proposal
	maxBatch             = 4096             // chunks in one deposit or withdrawal
	maxLineage           = 64               // earlier holders of a chunk
	maxReach             = 1 << 10          // bytes of reach information
	maxSource            = 64 << 10         // bytes of a contract
	maxOpaque            = 16 << 10         // bytes of an acceptance or a receipt
	maxText              = 256              // bytes of a reason or a label
	maxAvoid             = 64               // pairings that an offer remembers to have failed, and pauses of a client
	firstPause           = 60               // seconds for which two clients are not matched after a complaint
	longestPause         = 24 * 3600        // and after many, each twice as long as the one before
	maxDue               = 256              // events that one Tick decides
	maxTime       int64  = 253_402_300_799  // the last second of the year 9999
	maxMicros     Micros = 1 << 61          // above any limit and any exposure
	minUnitValue  Micros = 10_000           // a unit below a cent cannot be priced to a basis point
	maxUnitValue  Micros = 1_000_000_000_00 // and one above $100,000 is a mistake
	maxBps        Bps    = 5_000            // of a premium, whatever a policy says
	wholeBps             = 10_000
	rateLead             = 30 // seconds that an observation may be ahead of the market's clock
	partiesSource        = 16 // parties of a contract that the market takes
)

func (id OfferID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes 32 hexadecimal digits.
func (id OfferID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads 32 hexadecimal digits.
func (id *OfferID) UnmarshalText(b []byte) error {
	var v OfferID
	if len(b) != 2*len(v) {
		return fmt.Errorf("offer id of %d characters, want %d hexadecimal digits", len(b), 2*len(v))
	}
	if _, err := hex.Decode(v[:], b); err != nil {
		return fmt.Errorf("offer id %q: %w", b, err)
	}
	*id = v
	return nil
}

// String prints the id as people see it: "p123".
func (id ProposalID) String() string { return fmt.Sprintf("p%d", uint64(id)) }

// String prints dollars and cents, rounded towards zero: "$499.50".
func (v Micros) String() string {
	sign := ""
	if v < 0 {
		sign, v = "-", -v
	}
	return fmt.Sprintf("%s$%d.%02d", sign, v/1_000_000, v/10_000%100)
}

// Market is the whole state of one switchboard's market. It belongs to one goroutine. Make it with New or Restore.
type Market struct {
	policy Policy

	pos      uint64 // events folded
	now      int64  // of the newest event
	outage   bool
	outageAt int64  // when the newest outage began; 0: there was none
	outageTo int64  // when the newest ended outage ended
	chunkSeq uint64 // chunks seen

	clients   map[wire.VaultID]*client
	profiles  []*profile
	domains   map[Domain]*domain
	denoms    map[string]*denom
	rates     map[coin.AssetID]*rate
	certs     map[wire.CertID]*cert
	chunks    map[wire.ChunkID]*chunk
	contracts map[wire.Hash]*form
	books     map[wire.Hash]*book
	open      []*offer // open offers in the order of their arrival
	proposals map[ProposalID]*proposal
	timers    timers
}

// New returns an empty market under a policy, or says what is wrong with the policy.
func New(p Policy) (*Market, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	return &Market{
		policy:    p,
		clients:   map[wire.VaultID]*client{},
		domains:   map[Domain]*domain{},
		denoms:    map[string]*denom{},
		rates:     map[coin.AssetID]*rate{},
		certs:     map[wire.CertID]*cert{},
		chunks:    map[wire.ChunkID]*chunk{},
		contracts: map[wire.Hash]*form{},
		books:     map[wire.Hash]*book{},
		proposals: map[ProposalID]*proposal{},
	}, nil
}

// Position returns how many events the state holds: the sequence number of the next one, counted from 0.
func (m *Market) Position() uint64 { return m.pos }

// Step takes one input: it decides, applies, and goes on with the matching that follows, until nothing follows. It
// returns the events in order, one block for the log, and the effects to perform once the block is durable. Equal
// states and arguments give equal results. On error nothing has changed.
//
// The state is changed in place and before the block is durable, because books hold millions of chunks: a shell whose
// log fails to take the block has to stop and start again from the log.
func (m *Market) Step(now int64, in Input) ([]Event, []Effect, error) {
	events, err := m.Decide(now, in)
	if err != nil {
		return nil, nil, err
	}
	effects := m.fold(events)
	for _, next := range m.Follow(events) {
		for {
			more, err := m.Decide(now, next)
			if err != nil || len(more) == 0 {
				break // an offer that an earlier match completed has nothing more to do
			}
			effects = append(effects, m.fold(more)...)
			events = append(events, more...)
		}
	}
	return events, effects, nil
}

// fold applies events that Decide has just returned.
func (m *Market) fold(events []Event) []Effect {
	var effects []Effect
	for _, e := range events {
		if err := m.Apply(e); err != nil {
			panic(fmt.Sprintf("market: decided on what does not apply: %v", err)) // Decide and Apply disagree: our own fault
		}
		effects = append(effects, m.Effects(e)...)
	}
	return effects
}

// rate is what is known of an asset's price.
type rate struct {
	perCoin  uint64 // µUSD for one whole coin
	observed int64
	lost     string // why there is none, in the words of whoever watches the sources
	lostAt   int64
}

// denom is a denomination in use.
type denom struct {
	coin.Denomination
	asset *domain
}

// form is a contract in use.
type form struct {
	hash   wire.Hash
	source []byte
	prog   *contract.Program
	terms  []contract.Term
	pots   []contract.Pot
	atOnce bool      // it has no phases: it is over when it has opened
	takers [][]uint8 // of each pot, the parties to whom it may give; nil until some terms were bound
	pos    uint64
	refs   int // offers that name it, open or not yet forgotten
}

// formOf compiles a contract.
func formOf(source []byte, pos uint64) (*form, error) {
	prog, err := contract.Compile(source)
	if err != nil {
		return nil, err
	}
	return &form{
		hash: prog.Hash(), source: source, prog: prog, terms: prog.Terms(), pots: prog.Pots(), atOnce: len(prog.Phases()) == 0, pos: pos,
	}, nil
}
