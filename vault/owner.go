package vault

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"latchkey/contract"
	"latchkey/head"
	"latchkey/key"
	"latchkey/wire"
)

// OwnerConfig is what the machine of a client's vault is built from. Nothing has
// a default.
type OwnerConfig struct {
	Identity     wire.Identity
	Sign         ed25519.PrivateKey // belongs to Identity
	Digests      []wire.Hash        // of the facts of every evidence that this vault has shown
	Escrow       wire.Identity
	EscrowDigest wire.Hash // of the facts of the escrow's evidence, as this vault appraised it
	EscrowVendor string    // whose TEE the escrow runs in
	Group        head.Group
	Sealer       Sealer
}

// An Owner is the machine of the owner role: a client's shares, and its own
// replay of the part of the escrow's log that concerns them. Nothing that the
// host or the escrow says is believed without that replay. It does no I/O; each
// method returns the rows to make durable before anything else happens, and
// changes nothing on error.
//
// What has to be said to the escrow is never queued: Pending derives it from the
// state, so a restart resumes by itself.
//
// One goroutine owns an Owner.
type Owner struct {
	cfg      OwnerConfig
	self     wire.VaultID
	escrow   wire.VaultID
	head     head.Cosigned // highest seen
	note     []byte
	clock    Clocked
	batches  map[wire.Hash]*ownBatch
	certs    map[wire.CertID]*ownCert
	chunks   map[wire.ChunkID]*Chunk
	pledges  map[wire.Hash]*pledge // by agreement
	running  map[wire.InstanceID]*running
	stored   map[Index]bool             // steps whose r are stored and not yet acknowledged
	released map[wire.ChunkID]Released  // came before the claim was seen in the log
	ahead    map[wire.InstanceID][]Mail // the r of an opening that was not seen in the log yet
	apart    bool                       // an order of several claims was refused: each is asked for by itself
}

// Clocked is the newest Clock entry seen: the time that it proves.
type Clocked struct {
	At   Index `cbor:"1,keyasint"`
	Time int64 `cbor:"2,keyasint"`
}

type ownBatch struct {
	Spec   BatchSpec       `cbor:"1,keyasint"`
	Salt   [32]byte        `cbor:"2,keyasint"`
	Commit wire.Hash       `cbor:"3,keyasint"`
	Shares []byte          `cbor:"4,keyasint"`
	Escrow *key.Half       `cbor:"5,keyasint,omitempty"` // once offered
	half   key.CheckedHalf // the escrow's
	mine   key.CheckedHalf // made once a run
	shares []key.Share
}

type ownCert struct {
	Signed key.SignedCertificate `cbor:"1,keyasint"`
	Owner  wire.Identity         `cbor:"2,keyasint"` // who made the chunks
	cert   key.VerifiedCertificate
}

// A Chunk is what a vault knows of one chunk: what the log says, as far as this
// vault has replayed it, and the share that it holds.
type Chunk struct {
	Cert     wire.CertID     `cbor:"1,keyasint"`
	Index    uint32          `cbor:"2,keyasint"`
	P        key.Point       `cbor:"3,keyasint"`
	Path     []wire.Hash     `cbor:"4,keyasint"`
	Weight   uint32          `cbor:"5,keyasint"`
	Last     Index           `cbor:"6,keyasint"`            // newest entry seen; 0: none, and the next three fields mean nothing
	Owner    wire.VaultID    `cbor:"7,keyasint"`            // by the log
	Epoch    uint32          `cbor:"8,keyasint"`            // by the log
	B        []byte          `cbor:"9,keyasint"`            // the escrow's point at Epoch, encoded
	Instance wire.InstanceID `cbor:"10,keyasint"`           // that has it locked; zero: none
	Claimed  bool            `cbor:"11,keyasint"`           // by the log
	Swept    bool            `cbor:"12,keyasint"`           // by the log
	Share    []byte          `cbor:"13,keyasint,omitempty"` // a of ShareAt
	ShareAt  uint32          `cbor:"14,keyasint"`
	Step     Index           `cbor:"15,keyasint"`           // the entry that gave it to this vault, while its r is missing
	Lost     bool            `cbor:"16,keyasint"`           // the escrow has no r for it any more: this vault was rolled back
	Claim    bool            `cbor:"17,keyasint"`           // the host wants it whole
	Whole    []byte          `cbor:"18,keyasint,omitempty"` // d
	Done     bool            `cbor:"19,keyasint"`           // the host says that the sweep is final
}

// String hides the share and the key.
func (c Chunk) String() string { return "chunk of " + c.Cert.Short() + " [redacted]" }

// GoString hides the share and the key.
func (c Chunk) GoString() string { return c.String() }

type pledge struct {
	Agreement Agreement        `cbor:"1,keyasint"`
	Mine      SignedAcceptance `cbor:"2,keyasint"`
	Parties   []wire.Identity  `cbor:"3,keyasint"`
	deal      *deal
}

type running struct {
	Pledge  pledge         `cbor:"1,keyasint"`
	Prev    Index          `cbor:"2,keyasint"` // newest entry seen
	Lock    Index          `cbor:"3,keyasint"`
	Opened  bool           `cbor:"4,keyasint"`
	Handed  []bool         `cbor:"5,keyasint"` // by party, as the log says
	Acked   []bool         `cbor:"6,keyasint"`
	State   []byte         `cbor:"7,keyasint"`  // the contract's snapshot, once open
	Seq     uint64         `cbor:"8,keyasint"`  // of this party's last word
	Said    []SignedWord   `cbor:"9,keyasint"`  // words not yet seen in the log
	Given   []wire.ChunkID `cbor:"10,keyasint"` // the write-once ledger of this vault
	Closed  bool           `cbor:"11,keyasint"`
	Aborted bool           `cbor:"12,keyasint"`
	Heard   []uint64       `cbor:"13,keyasint"` // by party: its last word in the log
	Settled bool           `cbor:"14,keyasint"`
	Broken  bool           `cbor:"15,keyasint"`           // a step was reported as failed
	Steps   uint32         `cbor:"16,keyasint"`           // of a tit-for-tat settlement: how many were given
	StepAt  int64          `cbor:"17,keyasint"`           // when the newest one was given
	Step    *SignedStep    `cbor:"18,keyasint,omitempty"` // what this vault says of it, not yet seen in the log
	Brought []Brought      `cbor:"19,keyasint,omitempty"` // values of oracles, not yet seen in the log
	Secrets []secret       `cbor:"20,keyasint,omitempty"` // values that this party has committed to
	At      int64          `cbor:"21,keyasint"`           // time of the newest entry seen
	Late    []late         `cbor:"23,keyasint,omitempty"` // deposits into later pots, without those that went back
	Orders  []signedOrder  `cbor:"24,keyasint,omitempty"` // deposits of this party, not yet seen in the log
	state   contract.State
}

// secret is a value that is sealed and will be shown.
type secret struct {
	Value int64    `cbor:"1,keyasint"`
	Salt  [32]byte `cbor:"2,keyasint"`
}

// String hides the value.
func (s secret) String() string { return "sealed value [redacted]" }

// GoString hides the value.
func (s secret) GoString() string { return s.String() }

// Rows of an owner's table, by the first byte of their key.
const (
	rowOwnBatch = 'B' // + batch
	rowOwnCert  = 'C' // + certificate
	rowOwnChunk = 'K' // + chunk
	rowPledge   = 'P' // + agreement
	rowRunning  = 'I' // + instance
	rowStep     = 'S' // + step, 8 bytes
	rowHead     = 'H' // the highest head seen, and the newest clock
)

type headRow struct {
	Note  []byte  `cbor:"1,keyasint"`
	Clock Clocked `cbor:"2,keyasint"`
	Time  int64   `cbor:"3,keyasint"` // the latest that any head showed: not always the last
}

// maxFollowed bounds the chunks of one owner's vault that are not swept: it holds
// all in memory.
const maxFollowed = 10_000

// Errors of an owner's vault.
var (
	ErrGap     = errors.New("an entry between is missing")
	ErrDeviate = errors.New("the escrow's log deviates from what was agreed")
	ErrVendor  = errors.New("one TEE vendor on both sides")
	ErrHeld    = errors.New("not held")
)

// NewOwner returns the machine of a vault that holds nothing yet. Load brings
// back what an earlier run stored.
func NewOwner(cfg OwnerConfig) (*Owner, error) {
	self, err := cfg.Identity.ID()
	if err != nil {
		return nil, fmt.Errorf("new owner: %w", err)
	}
	escrow, err := cfg.Escrow.ID()
	if err != nil {
		return nil, fmt.Errorf("new owner: escrow: %w", err)
	}
	if err := cfg.Group.Check(); err != nil {
		return nil, fmt.Errorf("new owner: %w", err)
	}
	if !cfg.Group.Log.Public().Equal(ed25519.PublicKey(cfg.Escrow.Sign)) {
		return nil, errors.New("new owner: the witness group is of a log with another key than the escrow's")
	}
	if !cfg.Sign.Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(cfg.Identity.Sign)) {
		return nil, errors.New("new owner: signing key is not the identity's")
	}
	if cfg.Sealer == nil || cfg.EscrowVendor == "" || len(cfg.Digests) == 0 {
		return nil, errors.New("new owner: sealer, escrow's vendor and own evidence are needed")
	}
	return &Owner{
		cfg: cfg, self: self, escrow: escrow,
		batches: map[wire.Hash]*ownBatch{}, certs: map[wire.CertID]*ownCert{}, chunks: map[wire.ChunkID]*Chunk{},
		pledges: map[wire.Hash]*pledge{}, running: map[wire.InstanceID]*running{},
		stored: map[Index]bool{}, released: map[wire.ChunkID]Released{}, ahead: map[wire.InstanceID][]Mail{},
	}, nil
}

// ID returns this vault's id.
func (o *Owner) ID() wire.VaultID { return o.self }

// Now returns the time that this vault believes, Unix seconds: the median stamp
// of the highest head that it has seen.
func (o *Owner) Now() int64 { return o.head.Time }

// Size returns the size of the highest head seen.
func (o *Owner) Size() int64 { return o.head.Size }

// Chunk returns what the vault knows of a chunk.
func (o *Owner) Chunk(id wire.ChunkID) (Chunk, bool) {
	if c := o.chunks[id]; c != nil {
		return *c, true
	}
	return Chunk{}, false
}

// Chunks returns the ids of all chunks known, in order.
func (o *Owner) Chunks() []wire.ChunkID { return sorted(o.chunks) }

func sorted[K ~[32]byte, V any](m map[K]V) []K {
	ids := make([]K, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b K) int { return slices.Compare(a[:], b[:]) })
	return ids
}

// owns reports whether the log says that c is this vault's and its share is here.
func (o *Owner) owns(c *Chunk) bool {
	return c.Owner == o.self && len(c.Share) > 0 && c.ShareAt == c.Epoch && !c.Swept
}

// pledged returns the agreement that a chunk is promised to, and until when: one
// that can still be locked and names it, or one that a deposit of it is ordered for.
func (o *Owner) pledged(id wire.ChunkID) (h wire.Hash, until int64, ok bool) {
	if h, ok = o.named(id, func(_ wire.Hash, p *pledge) bool { return p.Agreement.LockBy >= o.head.Time }); ok {
		return h, o.pledges[h].Agreement.LockBy, true
	}
	for _, in := range o.running {
		for _, x := range in.Orders {
			if x.Order.By >= o.head.Time && x.Order.names(id) { // no other does: what is pledged is not ordered
				return in.Pledge.deal.hash, x.Order.By, true
			}
		}
	}
	return h, 0, false
}

// named returns the pledge that counts and names a chunk, of several the least.
func (o *Owner) named(id wire.ChunkID, counts func(wire.Hash, *pledge) bool) (least wire.Hash, ok bool) {
	for h, p := range o.pledges {
		if (!ok || slices.Compare(h[:], least[:]) < 0) && counts(h, p) && p.Agreement.names(id) {
			least, ok = h, true
		}
	}
	return least, ok
}

// row returns the row of one part of the state.
func row(kind byte, id []byte, v any) (Row, error) {
	b, err := wire.Marshal(v)
	return Row{Key: string(kind) + string(id), Value: b}, err
}

// Load takes back the rows of an earlier run. It refuses a row that does not
// hold together.
func (o *Owner) Load(rows []Row) error {
	slices.SortFunc(rows, func(a, b Row) int { return strings.Compare(a.Key, b.Key) })
	for _, r := range rows {
		if err := o.load(r); err != nil {
			return fmt.Errorf("load row %.5x: %w", r.Key, err)
		}
	}
	for id, c := range o.chunks {
		cert := o.certs[c.Cert]
		if cert == nil || key.ChunkIDOf(c.Cert, c.Index) != id {
			return fmt.Errorf("load chunk %s: its certificate is missing", id.Short())
		}
	}
	return nil
}

// load takes one row into the state. Whether the rows that it refers to are there, Load
// sees when it has all of them.
func (o *Owner) load(r Row) error {
	if r.Key == "" {
		return errors.New("no key")
	}
	id := []byte(r.Key[1:])
	if kind := r.Key[0]; kind != rowHead && kind != rowStep && len(id) != 32 {
		return errors.New("key of a wrong length")
	}
	switch r.Key[0] {
	case rowOwnBatch:
		b := new(ownBatch)
		if err := wire.Unmarshal(r.Value, b); err != nil {
			return err
		}
		o.batches[wire.Hash(id)] = b
		return b.restore(o.keyBatch(wire.Hash(id), b.Spec))
	case rowOwnCert:
		c := new(ownCert)
		err := wire.Unmarshal(r.Value, c)
		if err == nil {
			c.cert, err = c.Signed.VerifyForClaim(c.Owner, o.cfg.Escrow)
		}
		o.certs[wire.CertID(id)] = c
		return err
	case rowOwnChunk:
		c := new(Chunk)
		o.chunks[wire.ChunkID(id)] = c
		return wire.Unmarshal(r.Value, c)
	case rowPledge:
		p := new(pledge)
		err := wire.Unmarshal(r.Value, p)
		if err == nil {
			p.deal, err = p.Agreement.bind()
		}
		o.pledges[wire.Hash(id)] = p
		return err
	case rowRunning:
		return o.loadRunning(wire.InstanceID(id), r.Value)
	case rowStep:
		if len(id) != 8 {
			return errors.New("key of a wrong length")
		}
		o.stored[indexOf(id)] = true
		return nil
	case rowHead:
		var h headRow
		err := wire.Unmarshal(r.Value, &h)
		if err == nil {
			o.head, err = o.cfg.Group.Verify(h.Note)
		}
		o.note, o.clock, o.head.Time = h.Note, h.Clock, max(o.head.Time, h.Time)
		return err
	}
	return fmt.Errorf("kind %q is unknown", r.Key[0])
}

func (o *Owner) loadRunning(id wire.InstanceID, value []byte) error {
	in := new(running)
	err := wire.Unmarshal(value, in)
	if err == nil {
		in.Pledge.deal, err = in.Pledge.Agreement.bind()
	}
	if err == nil && in.Opened && !in.Closed {
		in.state, err = in.Pledge.deal.DecodeState(in.Pledge.deal.weights, in.State)
	}
	o.running[id] = in
	return err
}

func indexOf(b []byte) (i Index) {
	for _, x := range b {
		i = i<<8 | Index(x)
	}
	return i
}

func stepKey(i Index) string {
	b := make([]byte, 8)
	for j := range b {
		b[j] = byte(i >> (56 - 8*j))
	}
	return string(rowStep) + string(b)
}

func (o *Owner) keyBatch(id wire.Hash, s BatchSpec) key.Batch {
	return s.keyBatch(id, o.self, o.escrow)
}

// restore brings the parts of b that are not stored back from those that are.
func (b *ownBatch) restore(kb key.Batch) (err error) {
	if b.shares, err = b.Spec.splitShares(b.Shares); err == nil && b.Escrow != nil {
		b.half, err = kb.CheckHalf(key.Escrow, *b.Escrow)
	}
	return err
}

// NewBatch draws shares for new chunks. They are durable before the escrow hears
// of the batch.
func (o *Owner) NewBatch(spec BatchSpec, rnd io.Reader) (wire.Hash, []Row, error) {
	fail := func(err error) (wire.Hash, []Row, error) { return wire.Hash{}, nil, fmt.Errorf("new batch: %w", err) }
	if err := spec.check(); err != nil {
		return fail(err)
	}
	if spec.Expiry < o.head.Time+minCertLife {
		return fail(fmt.Errorf("expiry %d is less than an hour after %d: %w", spec.Expiry, o.head.Time, ErrExpired))
	}
	n := int(spec.N)
	for _, c := range o.chunks {
		if !c.Swept {
			n++
		}
	}
	if n > maxFollowed {
		return fail(fmt.Errorf("this vault would follow %d chunks, at most %d; sweep some, or use a second vault", n, maxFollowed))
	}
	if len(o.batches) >= maxPendingBatches {
		return fail(fmt.Errorf("%d batches are being made; wait for one", len(o.batches)))
	}
	var id wire.Hash
	b := &ownBatch{Spec: spec}
	if _, err := io.ReadFull(rnd, id[:]); err != nil {
		return fail(err)
	}
	if _, err := io.ReadFull(rnd, b.Salt[:]); err != nil {
		return fail(err)
	}
	kb := o.keyBatch(id, spec)
	shares, half, err := kb.Generate(key.Owner, rnd)
	if err != nil {
		return fail(err)
	}
	b.mine, b.shares, b.Shares, b.Commit = half, shares, joinShares(shares), kb.Commit(half.Half().Points, b.Salt)
	r, err := row(rowOwnBatch, id[:], b)
	if err != nil {
		return fail(err)
	}
	o.batches[id] = b
	return id, []Row{r}, nil
}
