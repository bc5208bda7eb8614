package vault

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"maps"

	"latchkey/contract"
	"latchkey/head"
	"latchkey/key"
	"latchkey/settle"
	"latchkey/wire"
)

// EscrowConfig is what an escrow's machine is built from. Nothing has a default.
type EscrowConfig struct {
	Origin   string // name of the log, as witnesses know it
	Identity wire.Identity
	Sign     ed25519.PrivateKey // belongs to Identity; signs heads, certificates and receipts
	Group    head.Group         // whose cosignatures let anything leave
	Evidence []byte             // encoded attest.Evidence over Identity
	Digest   wire.Hash          // of the facts that this evidence shows: goes into certificates
	Sealer   Sealer

	SnapshotEvery int64 // how many entries until a snapshot is due; 0: 16,384, and one more for 32 chunks
}

// An Escrow is the machine of the escrow role: the other share of each chunk,
// and the one order of all events. It does no I/O. Each method decides on the
// present state, changes it, and returns the Block that the shell makes durable
// before it lets any Answer go; on error nothing has changed.
//
// One goroutine owns an Escrow.
type Escrow struct {
	cfg       EscrowConfig
	self      wire.VaultID
	front     head.Frontier
	clock     int64               // Unix seconds
	at        int64               // of the newest entry
	roots     map[int64]head.Hash // of heads signed and not yet witnessed, by size
	witnessed int64               // entries under the highest witnessed head
	note      []byte              // the witnessed head with the latest time, signed and cosigned
	noteTime  int64               // its median stamp
	vaults    map[wire.VaultID]*Enrol
	owners    map[wire.VaultID]*wire.VaultID // itself, for chunks to point to
	pending   map[wire.Hash]*pendingBatch
	certified map[wire.Hash]*batch
	chunks    chunkBook
	instances map[wire.InstanceID]*instance
	ended     map[wire.InstanceID]over // settled or aborted
	mail      map[string]Mail          // by row key
	due       dueHeap
	covered   int64 // entries that the newest snapshot has
	work      uint64
	full      map[wire.VaultID]error // vaults that may begin no batch: see SetFull
	since     *sumSince
}

// escrowed is a chunk as the escrow knows it. There are millions: it is small.
type escrowed struct {
	b        key.Point
	state    chunkState
	epoch    uint32
	share    key.Share     // b; zero after a restart until loaded, and once swept
	owner    *wire.VaultID // shared by all that it owns
	cert     *key.Certificate
	last     Index
	instance *instance // nil when free
}

type chunkState uint8

const (
	chunkLive    chunkState = iota // in two shares
	chunkClaimed                   // its owner may have the whole key
	chunkSwept                     // its coins have left; no share is kept
)

type pendingBatch struct {
	Generate
	at     int64
	shares []key.Share
	half   key.CheckedHalf
}

type instance struct {
	id      wire.InstanceID
	deal    *deal
	state   contract.State
	open    bool
	opened  Index // the step that did
	last    Index
	handed  []bool                // by party: left its shares
	acked   []bool                // by party: stored what was handed to it
	seq     []uint64              // by party: its last word
	said    []wire.Hash           // by party: what that was
	reports []taken               // values of oracles, in the order of the log
	given   map[wire.ChunkID]bool // write-once ledger, kept apart from the contract's own books
	closed  bool                  // the contract is over; chunks may still be here
	steps   int                   // of a tit-for-tat settlement: how many were given
	stepAt  int64                 // when the newest one was given
	spoke   wire.Hash             // the word about the one before; zero: none
	late    []late                // deposits into later pots, as logged, without those that went back
}

// over is an instance that was settled or aborted. Its name is kept until nobody can
// lock its agreement again, and requests that were on their way are answered.
type over struct {
	at    Index // of the entry that ended it
	until int64
}

// Block is what one decision makes durable: entries at the end of the log and
// rows of the share table, all or nothing.
type Block struct {
	First   int64    // position of the first entry
	Entries [][]byte // encoded Entry
	Rows    []Row
}

// An Answer is what a decision says, and when it may be said.
type Answer struct {
	Block Block
	Reply Reply
	Hold  int64 // how many entries must be witnessed before Reply leaves; 0: none
	Early bool  // what was asked for is not there yet: asked again after the next entries, there may be more

	Explore *Exploration // of LockAside: run it, then ask again with it
}

// plan collects one decision. Nothing in it has happened yet.
type plan struct {
	entries []Entry
	rows    []Row
	shares  map[wire.ChunkID]key.Share // new b of chunks
	mail    map[string]Mail            // what new mail rows say
	batch   *pendingBatch
}

// Errors of requests to an escrow. Every refusal leaves the state as it was.
var (
	ErrNotYours  = errors.New("not the owner of this chunk")
	ErrEpoch     = errors.New("another epoch")
	ErrLocked    = errors.New("chunk is locked")
	ErrUnknown   = errors.New("unknown")
	ErrNotReady  = errors.New("not yet")
	ErrExpired   = errors.New("expired")
	ErrWitnessed = errors.New("head refused")
)

const (
	maxPendingBatches = 8
	pendingLife       = 3600 // seconds until a batch that was not opened is dropped
	minCertLife       = 3600 // seconds a new certificate must live
	maxCertLife       = 5 * 366 * 24 * 3600
	grace             = settle.Grace // seconds between a deadline and its firing, for words on their way
	maxDue            = 128          // instances moved by one call of Due
	maxDueRows        = 512          // rows after which it moves no more
	maxOrder          = 1024         // chunks in one order
	forgetEvery       = 1 << 14      // entries from one look at what is over to the next
	movesUnit         = 8            // moves of an exploration in one unit of work
)

// NewEscrow returns an escrow with an empty log. Start writes its first entry;
// Replay and Load bring back an earlier one.
func NewEscrow(cfg EscrowConfig) (*Escrow, error) {
	self, err := cfg.Identity.ID()
	if err != nil {
		return nil, fmt.Errorf("new escrow: %w", err)
	}
	if err := cfg.Group.Check(); err != nil {
		return nil, fmt.Errorf("new escrow: %w", err)
	}
	if !cfg.Sign.Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(cfg.Identity.Sign)) {
		return nil, errors.New("new escrow: signing key is not the identity's")
	}
	if cfg.Origin != cfg.Group.Log.Name() || !cfg.Group.Log.Public().Equal(ed25519.PublicKey(cfg.Identity.Sign)) {
		return nil, fmt.Errorf("new escrow: the witness group is of log %q, not of %q with this identity's key", cfg.Group.Log.Name(), cfg.Origin)
	}
	if cfg.Sealer == nil {
		return nil, errors.New("new escrow: no sealer")
	}
	e := emptyEscrow()
	e.cfg, e.self = cfg, self
	return e, nil
}

func emptyEscrow() *Escrow {
	return &Escrow{
		roots: map[int64]head.Hash{}, vaults: map[wire.VaultID]*Enrol{}, owners: map[wire.VaultID]*wire.VaultID{},
		pending: map[wire.Hash]*pendingBatch{}, certified: map[wire.Hash]*batch{}, chunks: chunkBook{places: map[uint64]uint64{}},
		instances: map[wire.InstanceID]*instance{}, ended: map[wire.InstanceID]over{},
		mail: map[string]Mail{},
	}
}

// Start writes the genesis entry of a new log at a time in Unix seconds. It is
// an error on a log that has begun.
func (e *Escrow) Start(now int64) (Block, error) {
	if e.front.Size() != 0 {
		return Block{}, errors.New("start escrow: its log has begun")
	}
	e.clock = now
	p := plan{entries: []Entry{{Genesis: &Genesis{LogFormat, e.cfg.Origin, e.cfg.Identity, e.cfg.Evidence}}}}
	return e.commit(p)
}

// ID returns the escrow's vault id.
func (e *Escrow) ID() wire.VaultID { return e.self }

// Size returns the number of entries decided so far.
func (e *Escrow) Size() int64 { return e.front.Size() }

// Root returns the root hash of the log decided so far.
func (e *Escrow) Root() head.Hash { return e.front.Root() }

// Witnessed returns the number of entries under the highest witnessed head.
func (e *Escrow) Witnessed() int64 { return e.witnessed }

// Now returns the escrow's clock, Unix seconds: the median stamp of the newest
// witnessed head.
func (e *Escrow) Now() int64 { return e.clock }

// Head signs the log as it is now. The shell asks witnesses to cosign it only
// when all its entries are durable.
func (e *Escrow) Head() ([]byte, error) {
	c := head.Checkpoint{Origin: e.cfg.Origin, Size: e.front.Size(), Root: e.front.Root()}
	signed, err := head.SignCheckpoint(c, e.cfg.Sign)
	if err != nil {
		return nil, fmt.Errorf("sign head: %w", err)
	}
	e.roots[c.Size] = c.Root
	return signed, nil
}

// Cosigned takes a head that a quorum of witnesses has countersigned. It moves
// the clock and what may leave; neither runs backwards.
func (e *Escrow) Cosigned(note []byte) error {
	c, err := e.cfg.Group.Verify(note)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrWitnessed, err)
	}
	if root, ok := e.roots[c.Size]; !ok || root != c.Root {
		return fmt.Errorf("%w: size %d is not a head that this escrow signed since it started", ErrWitnessed, c.Size)
	}
	e.witnessed = max(e.witnessed, c.Size)
	if c.Time > e.noteTime { // other witnesses under a newer head may show an earlier time
		e.note, e.noteTime = note, c.Time
	}
	e.clock = max(e.clock, c.Time)
	for size := range e.roots {
		if size < c.Size {
			delete(e.roots, size)
		}
	}
	return nil
}

// Enrol records a vault whose evidence the shell has appraised. Enrolled again
// with the same facts, it changes nothing.
func (e *Escrow) Enrol(id wire.Identity, evidence []byte, digest wire.Hash) (Block, error) {
	v, err := id.ID()
	if err != nil {
		return Block{}, fmt.Errorf("enrol: %w", err)
	}
	if v == e.self {
		return Block{}, errors.New("enrol: that is this escrow")
	}
	if known := e.vaults[v]; known != nil && known.Digest == digest {
		return Block{First: e.front.Size()}, nil
	}
	return e.commit(plan{entries: []Entry{{Enrol: &Enrol{id, evidence, digest}}}})
}

// Handle decides one request of an enrolled vault. rnd must be a
// cryptographic source of randomness.
func (e *Escrow) Handle(from wire.VaultID, q Request, rnd io.Reader) (Answer, error) {
	if e.vaults[from] == nil {
		return Answer{}, fmt.Errorf("vault %s is not enrolled: %w", from.Short(), ErrUnknown)
	}
	switch {
	case q.Begin != nil:
		return e.begin(from, *q.Begin, rnd)
	case q.Open != nil:
		return e.openBatch(from, *q.Open)
	case q.Lock != nil:
		return e.lock(*q.Lock, nil, rnd)
	case q.Deposit != nil:
		return e.deposit(*q.Deposit, rnd)
	case q.Hand != nil && q.Hand.Deposit != 0:
		return e.handDeposit(from, *q.Hand)
	case q.Hand != nil:
		return e.hand(from, *q.Hand)
	case q.Ack != nil && q.Ack.Deposit != 0:
		return e.ackDeposit(from, *q.Ack, rnd)
	case q.Ack != nil:
		return e.ack(from, *q.Ack, rnd)
	case q.Word != nil:
		return e.word(*q.Word, rnd)
	case q.Report != nil:
		return e.report(*q.Report, rnd)
	case q.Fetch != nil:
		return e.fetch(from, *q.Fetch)
	case q.Stored != nil:
		return e.stored(from, *q.Stored)
	case q.Claim != nil:
		return e.claim(from, *q.Claim)
	case q.Swept != nil:
		return e.swept(from, *q.Swept)
	case q.Step != nil:
		return e.step(*q.Step, rnd)
	}
	return Answer{}, errors.New("an empty request")
}

// Lock decides a lock that anyone brings: its authority is the acceptances.
func (e *Escrow) Lock(q LockAsk, rnd io.Reader) (Answer, error) { return e.lock(q, nil, rnd) }

// LockAside is Lock without its longest work: where outcomes are to be explored, it
// changes nothing and says which. x, if not nil, is what such an answer had, after Run.
func (e *Escrow) LockAside(q LockAsk, x *Exploration, rnd io.Reader) (Answer, error) {
	if x == nil {
		x = &Exploration{}
	}
	return e.lock(q, x, rnd)
}

// Work returns how much work this machine has done since it began, refused requests
// included, in units of about a tenth of a millisecond: one for each key of a batch
// that it makes and two for each that it checks, one for each chunk that a step
// refreshes, and one for movesUnit moves explored. Equal requests on equal states count
// the same.
func (e *Escrow) Work() uint64 { return e.work }

// say answers from what is known already, held until all of it is witnessed.
func (e *Escrow) say(r Reply, hold int64) (Answer, error) {
	return Answer{Block: Block{First: e.front.Size()}, Reply: r, Hold: hold}, nil
}

// settle commits a plan and answers r once it is witnessed.
func (e *Escrow) settle(p plan, r Reply) (Answer, error) {
	b, err := e.commit(p)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Block: b, Reply: r, Hold: e.front.Size()}, nil
}

// commit makes a plan the state. It encodes everything before it changes
// anything, so an error leaves the state as it was.
func (e *Escrow) commit(p plan) (Block, error) {
	b := Block{First: e.front.Size(), Rows: p.rows}
	for i := range p.entries {
		p.entries[i].At = e.clock
		enc, err := wire.Marshal(p.entries[i])
		if err != nil {
			return Block{}, err
		}
		b.Entries = append(b.Entries, enc)
	}
	for i, enc := range b.Entries {
		if err := e.front.Append(enc); err != nil {
			panic(fmt.Sprintf("escrow log: %v", err)) // 2⁶² entries
		}
		if p.batch != nil && p.entries[i].Generate != nil {
			e.pending[p.batch.Batch] = p.batch
		}
		if err := e.apply(p.entries[i], Index(e.front.Size())); err != nil {
			panic(fmt.Sprintf("escrow applies its own entry: %v", err)) // decided on this very state
		}
	}
	for id, s := range p.shares {
		e.chunks.at(id).share = s
	}
	for _, r := range p.rows {
		if r.Value == nil {
			delete(e.mail, r.Key)
		}
	}
	maps.Copy(e.mail, p.mail)
	return b, nil
}
