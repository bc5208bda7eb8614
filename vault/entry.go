package vault

import (
	"errors"
	"fmt"

	"latchkey/coin"
	"latchkey/contract"
	"latchkey/key"
	"latchkey/wire"
)

// An Entry is one event of an escrow's log. Exactly one of the pointers is set.
// Entries hold no secret: they are hashed into the transparency log and shown
// to every vault that they concern.
type Entry struct {
	At       int64     `cbor:"1,keyasint"` // the escrow's clock, Unix seconds, from witness stamps; never runs backwards
	Genesis  *Genesis  `cbor:"2,keyasint,omitempty"`
	Enrol    *Enrol    `cbor:"3,keyasint,omitempty"`
	Generate *Generate `cbor:"4,keyasint,omitempty"`
	Certify  *Certify  `cbor:"5,keyasint,omitempty"`
	Lock     *Lock     `cbor:"6,keyasint,omitempty"`
	Hand     *Hand     `cbor:"7,keyasint,omitempty"`
	Ack      *Ack      `cbor:"8,keyasint,omitempty"`
	Run      *Run      `cbor:"9,keyasint,omitempty"`
	Claim    *Claim    `cbor:"10,keyasint,omitempty"`
	Stored   *Stored   `cbor:"11,keyasint,omitempty"`
	Swept    *Swept    `cbor:"12,keyasint,omitempty"`
	Clock    *Clock    `cbor:"13,keyasint,omitempty"`
	Drop     *Drop     `cbor:"14,keyasint,omitempty"`
	Deposit  *Deposit  `cbor:"15,keyasint,omitempty"`
}

// An Index is a position in the log plus one, so that the zero Index is "none".
type Index = uint64

// LogFormat is the one format of a log's entries that this program writes and reads.
const LogFormat = 1

// Genesis is entry 0: whose log this is.
type Genesis struct {
	Format   uint32        `cbor:"1,keyasint"` // of all entries: LogFormat
	Origin   string        `cbor:"2,keyasint"`
	Escrow   wire.Identity `cbor:"3,keyasint"`
	Evidence []byte        `cbor:"4,keyasint"` // the escrow's, as it showed it at its first start
}

// Enrol records that the escrow appraised a vault's evidence and knows its keys.
type Enrol struct {
	Identity wire.Identity `cbor:"1,keyasint"`
	Evidence []byte        `cbor:"2,keyasint"` // encoded attest.Evidence, so that others can appraise it themselves
	Digest   wire.Hash     `cbor:"3,keyasint"` // of the appraised facts: goes into certificates
}

// BatchSpec says which chunks an owner wants to make.
type BatchSpec struct {
	Denomination coin.Denomination `cbor:"1,keyasint"`
	Weight       uint32            `cbor:"2,keyasint"`
	N            uint32            `cbor:"3,keyasint"`
	Expiry       int64             `cbor:"4,keyasint"` // Unix seconds
}

// MaxBatch is the greatest number of chunks made at once.
const MaxBatch = 4096

func (s BatchSpec) check() error {
	if err := s.Denomination.Check(); err != nil {
		return err
	}
	if _, err := s.Denomination.Deposit(s.Weight); err != nil {
		return err
	}
	if s.N == 0 || s.N > MaxBatch {
		return fmt.Errorf("batch of %d chunks, want 1 to %d", s.N, MaxBatch)
	}
	return nil
}

// Generate records the first step of a batch: the owner is committed to its
// points, the escrow's shares are stored.
type Generate struct {
	Owner  Recipients `cbor:"1,keyasint"`
	Batch  wire.Hash  `cbor:"2,keyasint"` // the owner's choice; names the batch
	Spec   BatchSpec  `cbor:"3,keyasint"`
	Commit wire.Hash  `cbor:"4,keyasint"` // to the owner's points
}

// Drop records that a batch which was never opened is forgotten.
type Drop struct {
	Batch wire.Hash `cbor:"1,keyasint"`
}

// Certify records the birth of a batch's chunks, at epoch 0.
type Certify struct {
	Certificate key.Certificate `cbor:"1,keyasint"`
	Points      []key.Point     `cbor:"2,keyasint"` // P of each chunk
	B           []key.Point     `cbor:"3,keyasint"` // the escrow's point of each chunk at epoch 0
}

// Lock records an agreement that all parties accepted, and binds its chunks.
type Lock struct {
	Agreement   Agreement          `cbor:"1,keyasint"`
	Acceptances []SignedAcceptance `cbor:"2,keyasint"`
	Prev        [][]Index          `cbor:"3,keyasint"` // previous entry of each chunk, pot by pot; 0 for one that comes later
}

// Hand records that a depositor's vault left its shares, sealed, for those who
// may receive them.
type Hand struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
	Role     uint32          `cbor:"2,keyasint"`
	Prev     Index           `cbor:"3,keyasint"`           // previous entry of the instance
	Deposit  Index           `cbor:"4,keyasint,omitempty"` // the deposit whose shares these are; 0: those of the lock
}

// Ack records that a party's vault checked and stored every share handed to it.
type Ack struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
	Role     uint32          `cbor:"2,keyasint"`
	Prev     Index           `cbor:"3,keyasint"`
	Sig      []byte          `cbor:"4,keyasint"`           // the party's, over Instance, or over a DepositAck
	Deposit  Index           `cbor:"5,keyasint,omitempty"` // 0: of the lock
}

// RunKind says what moved an instance.
type RunKind uint8

// The kinds of Run entries. Their numbers are part of the format.
const (
	RunOpen     RunKind = 1 // every party has what it needs: the contract begins
	RunWord     RunKind = 2
	RunDeadline RunKind = 3
	RunAbort    RunKind = 4  // not open by LockBy: all chunks go back
	RunTaken    RunKind = 5  // tit-for-tat: the open step's receiver has claimed or kept it; the next one goes out
	RunLapsed   RunKind = 6  // the open step's deadline passed in silence; the next one goes out
	RunFailed   RunKind = 7  // the open step's receiver reports a failure: all chunks not yet given go back
	RunReport   RunKind = 8  // an oracle's value
	RunDeposit  RunKind = 9  // every party has what it needs of a deposit: the contract takes it
	RunReturn   RunKind = 10 // a deposit's time is over: its chunks go back
)

// Run records one step of an instance and all that it moves.
type Run struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
	Prev     Index           `cbor:"2,keyasint"`
	Kind     RunKind         `cbor:"3,keyasint"`
	Word     *SignedWord     `cbor:"4,keyasint,omitempty"`
	EventAt  int64           `cbor:"5,keyasint"` // the contract's "now" of this step, Unix seconds
	Clock    Index           `cbor:"6,keyasint"` // for what time brings: the Clock entry that proves it
	Exits    []Exit          `cbor:"7,keyasint"`
	Closed   bool            `cbor:"8,keyasint"`            // the contract is over
	Settled  bool            `cbor:"9,keyasint"`            // every chunk of the instance is given
	Step     *SignedStep     `cbor:"10,keyasint,omitempty"` // of RunTaken and RunFailed
	Report   *Report         `cbor:"11,keyasint,omitempty"` // of RunReport
	Deposit  Index           `cbor:"12,keyasint,omitempty"` // of RunDeposit: the entry of the deposit
}

// An Exit moves one chunk out of an instance: a refresh, whoever receives it.
type Exit struct {
	Chunk wire.ChunkID `cbor:"1,keyasint"`
	To    Recipients   `cbor:"2,keyasint"`
	Epoch uint32       `cbor:"3,keyasint"` // the new epoch
	R     key.Point    `cbor:"4,keyasint"` // rG
	B     key.Point    `cbor:"5,keyasint"` // the escrow's new point, B_old − R
	Prev  Index        `cbor:"6,keyasint"` // previous entry of the chunk
}

// Claim records that owners' keys become whole; witnessed, it lets b go out.
type Claim struct {
	Owner Recipients `cbor:"1,keyasint"`
	Order ClaimOrder `cbor:"2,keyasint"`
	Sig   []byte     `cbor:"3,keyasint"`
	Prev  []Index    `cbor:"4,keyasint"`
}

// Stored records that an owner's vault has the refreshed shares of one step, so
// that the sealed r may be forgotten.
type Stored struct {
	Owner Recipients `cbor:"1,keyasint"`
	Step  Index      `cbor:"2,keyasint"` // the Run entry whose exits are stored
}

// Swept records that coins have left their addresses: the escrow's shares are
// erased.
type Swept struct {
	Owner Recipients `cbor:"1,keyasint"`
	Order SweptOrder `cbor:"2,keyasint"`
	Sig   []byte     `cbor:"3,keyasint"`
	Prev  []Index    `cbor:"4,keyasint"`
}

// Clock records a witnessed head with its stamps: proof that its time has come.
type Clock struct {
	Head []byte `cbor:"1,keyasint"` // signed note with a quorum of timestamped cosignatures
}

// ErrEntry is returned for log bytes that are no entry of this format.
var ErrEntry = errors.New("not a log entry")

// ParseEntry reads one entry and checks that it is of exactly one kind.
func ParseEntry(b []byte) (Entry, error) {
	var e Entry
	if err := wire.Unmarshal(b, &e); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	return e.one()
}

// ownEntry is an Entry whose certificates' and exits' points are read as bytes.
type ownEntry struct {
	Entry
	Certify *ownCertify `cbor:"5,keyasint,omitempty"`
	Run     *ownRun     `cbor:"9,keyasint,omitempty"`
}

type ownCertify struct {
	Certificate key.Certificate `cbor:"1,keyasint"`
	Points      [][]byte        `cbor:"2,keyasint"`
	B           [][]byte        `cbor:"3,keyasint"`
}

type ownRun struct {
	Run
	Exits []ownExit `cbor:"7,keyasint"`
}

type ownExit struct {
	Exit
	R []byte `cbor:"4,keyasint"`
	B []byte `cbor:"5,keyasint"`
}

// ParseOwn is ParseEntry without the check of certificates' and exits' points, and of
// the encoding. It is for a log that the reader wrote itself, as its root says at the
// end of a replay: who reads another's checks them.
func ParseOwn(b []byte) (Entry, error) {
	var own ownEntry
	if err := wire.Trust(b, &own); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	e := own.Entry
	var err1, err2 error
	if c := own.Certify; c != nil {
		e.Certify = &Certify{Certificate: c.Certificate}
		e.Certify.Points, err1 = trustPoints(c.Points)
		e.Certify.B, err2 = trustPoints(c.B)
	}
	if r := own.Run; r != nil {
		e.Run = &r.Run
		for _, x := range r.Exits {
			p, err := trustPoints([][]byte{x.R, x.B})
			if err1 = errors.Join(err1, err); err == nil {
				x.Exit.R, x.Exit.B = p[0], p[1]
				e.Run.Exits = append(e.Run.Exits, x.Exit)
			}
		}
	}
	if err := errors.Join(err1, err2); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	return e.one()
}

func trustPoints(in [][]byte) ([]key.Point, error) {
	out := make([]key.Point, len(in))
	for i, b := range in {
		var err error
		if out[i], err = key.TrustPoint(b); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// one returns e, or ErrEntry unless it is of exactly one kind.
func (e Entry) one() (Entry, error) {
	n := 0
	for _, set := range []bool{
		e.Genesis != nil, e.Enrol != nil, e.Generate != nil, e.Certify != nil, e.Lock != nil, e.Hand != nil, e.Ack != nil,
		e.Run != nil, e.Claim != nil, e.Stored != nil, e.Swept != nil, e.Clock != nil, e.Drop != nil, e.Deposit != nil,
	} {
		if set {
			n++
		}
	}
	if n != 1 {
		return Entry{}, fmt.Errorf("%w: it is of %d kinds", ErrEntry, n)
	}
	return e, nil
}

// Touches returns the chunks and the instance that an entry changes, for
// whoever keeps an index of the log.
func (e Entry) Touches() (chunks []wire.ChunkID, instance wire.InstanceID) {
	switch {
	case e.Certify != nil:
		id, err := e.Certify.Certificate.ID()
		if err != nil {
			return nil, instance
		}
		for i := range e.Certify.Points {
			chunks = append(chunks, key.ChunkIDOf(id, uint32(i)))
		}
	case e.Lock != nil:
		instance, _ = instanceID(e.Lock.Acceptances)
		for _, pot := range e.Lock.Agreement.Pots {
			for _, s := range pot {
				if s.Chunk != (wire.ChunkID{}) {
					chunks = append(chunks, s.Chunk)
				}
			}
		}
	case e.Deposit != nil:
		instance, chunks = e.Deposit.Order.Instance, chunksOf(e.Deposit.Order.Chunks)
	case e.Hand != nil:
		instance = e.Hand.Instance
	case e.Ack != nil:
		instance = e.Ack.Instance
	case e.Run != nil:
		instance = e.Run.Instance
		for _, x := range e.Run.Exits {
			chunks = append(chunks, x.Chunk)
		}
	case e.Claim != nil:
		chunks = chunksOf(e.Claim.Order.Chunks)
	case e.Swept != nil:
		chunks = chunksOf(e.Swept.Order.Chunks)
	}
	return chunks, instance
}

func chunksOf(list []ChunkEpoch) []wire.ChunkID {
	out := make([]wire.ChunkID, len(list))
	for i, c := range list {
		out[i] = c.Chunk
	}
	return out
}

// step runs the contract for one Run entry, from s; the caller compares or
// fills the exits.
func (d *deal) step(s contract.State, r *Run) (contract.State, contract.Outcome, error) {
	switch r.Kind {
	case RunOpen:
		return d.Open(d.weights, r.EventAt)
	case RunWord:
		if r.Word == nil {
			return s, contract.Outcome{}, errors.New("a word entry without a word")
		}
		return d.Step(s, r.Word.Body.event(r.EventAt))
	case RunReport:
		if r.Report == nil {
			return s, contract.Outcome{}, errors.New("a report entry without a report")
		}
		ev, err := d.observed(*r.Report, r.EventAt)
		if err != nil {
			return s, contract.Outcome{}, err
		}
		return d.Step(s, ev)
	case RunDeadline:
		return d.Step(s, contract.Event{Kind: contract.Deadline, At: r.EventAt})
	}
	return s, contract.Outcome{}, fmt.Errorf("run kind %d is unknown", r.Kind)
}
