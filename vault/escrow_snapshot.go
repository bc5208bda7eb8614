package vault

import (
	"encoding/binary"
	"errors"
	"fmt"

	"latchkey/key"
	"latchkey/wire"
)

// A Snapshot is what an escrow has made of the first entries of its log. With it,
// a start replays only the entries after those. It holds nothing that the log does
// not say: shares and mail are rows of the table. So the parts are stored as they
// are, and the cover, which says which parts they must be, is sealed.
type Snapshot struct {
	Cover []byte   // encoded snapshotCover
	Size  int64    // how many entries it is of
	Parts [][]byte // each below 1 MiB
}

// snapshotCover names the one set of parts that belongs to it. Only the program
// that wrote a snapshot reads it: another version begins with the log instead.
type snapshotCover struct {
	Version uint32      `cbor:"1,keyasint"`
	Size    int64       `cbor:"2,keyasint"`
	Parts   []wire.Hash `cbor:"3,keyasint"`
}

const (
	snapshotVersion = 2
	purposePart     = "latchkey/snapshot-part/v1"
	// partSize is how long a part may be before an item is added to it. An item
	// has a batch of 4096 chunks, or an agreement, at most.
	partSize = 1 << 18
	// A snapshot is due after so many entries, and one more for so many chunks:
	// writing it and replaying what came after it are both a matter of seconds.
	snapshotEvery = 1 << 14
	snapshotShare = 32
)

// ErrSnapshot is wrapped where a snapshot is not one that this escrow wrote, or
// not of this moment.
var ErrSnapshot = errors.New("snapshot refused")

// snapshotItem is a piece of a snapshot. Exactly one of the pointers is set.
type snapshotItem struct {
	Log      *snapshotLog      `cbor:"1,keyasint,omitempty"` // the first
	Vault    *snapshotVault    `cbor:"2,keyasint,omitempty"` // in the order of ids
	Pending  *snapshotPending  `cbor:"3,keyasint,omitempty"`
	Instance *snapshotInstance `cbor:"4,keyasint,omitempty"` // in the order of ids
	Batch    *snapshotBatch    `cbor:"5,keyasint,omitempty"` // after vaults and instances, which its chunks name
	Ended    *snapshotEnded    `cbor:"6,keyasint,omitempty"`
}

type snapshotLog struct {
	Frontier []byte   `cbor:"1,keyasint"`
	At       int64    `cbor:"2,keyasint"` // of the newest entry
	Sums     [][]byte `cbor:"3,keyasint"` // of all B, by key type: the number of the type, and the encoding
}

type snapshotVault struct {
	Identity wire.Identity `cbor:"1,keyasint"`
	Digest   wire.Hash     `cbor:"2,keyasint"`
}

type snapshotPending struct {
	Generate Generate `cbor:"1,keyasint"`
	At       int64    `cbor:"2,keyasint"`
}

type snapshotInstance struct {
	ID        wire.InstanceID `cbor:"1,keyasint"`
	Agreement Agreement       `cbor:"2,keyasint"`
	State     []byte          `cbor:"3,keyasint"` // the contract's snapshot, once open
	Open      bool            `cbor:"4,keyasint"`
	Last      Index           `cbor:"5,keyasint"`
	Handed    []bool          `cbor:"6,keyasint"`
	Acked     []bool          `cbor:"7,keyasint"`
	Seq       []uint64        `cbor:"8,keyasint"`
	Said      []wire.Hash     `cbor:"9,keyasint"`
	Reports   []snapshotTaken `cbor:"10,keyasint"`
	Given     []wire.ChunkID  `cbor:"11,keyasint"`
	Closed    bool            `cbor:"12,keyasint"`
	Steps     int             `cbor:"13,keyasint"`
	StepAt    int64           `cbor:"14,keyasint"`
	Spoke     wire.Hash       `cbor:"15,keyasint"`
	Opened    Index           `cbor:"16,keyasint"`
	Late      []late          `cbor:"17,keyasint,omitempty"` // deposits into later pots
}

type snapshotTaken struct {
	Hash   wire.Hash `cbor:"1,keyasint"`
	At     Index     `cbor:"2,keyasint"`
	Time   int64     `cbor:"3,keyasint"`
	Oracle uint32    `cbor:"4,keyasint"`
}

type snapshotBatch struct {
	Certificate key.Certificate `cbor:"1,keyasint"`
	Born        Index           `cbor:"2,keyasint"`
	Chunks      []byte          `cbor:"3,keyasint"` // by index, all of one length
}

// A chunk of a snapshot: state (1 byte), epoch (4), owner (4: which of the vaults),
// newest entry (8), instance (4: which of them, from 1; 0: free), all big-endian,
// and then B: the number of its type (1), and its encoding.
const (
	snapshotHead  = 1 + 4 + 4 + 8 + 4
	snapshotChunk = snapshotHead + 1 + 33 // at most
)

type snapshotEnded struct {
	IDs   []wire.InstanceID `cbor:"1,keyasint"`
	At    []Index           `cbor:"2,keyasint"`
	Until []int64           `cbor:"3,keyasint"`
}

// SnapshotDue reports whether the log has grown enough since the last snapshot.
func (e *Escrow) SnapshotDue() bool {
	every := e.cfg.SnapshotEvery
	if every == 0 {
		every = snapshotEvery + int64(len(e.chunks.places))/snapshotShare
	}
	return e.front.Size()-e.covered >= every
}

// Snapshot returns the state as it is now.
func (e *Escrow) Snapshot() (Snapshot, error) {
	frontier, err := e.front.MarshalBinary()
	if err != nil {
		return Snapshot{}, err
	}
	s := snapshotWriter{cover: snapshotCover{Version: snapshotVersion, Size: e.front.Size()}}
	shares, _, err := e.liveShares()
	if err != nil {
		return Snapshot{}, fmt.Errorf("snapshot: %w", err)
	}
	sums, err := key.SumPoints(shares)
	if err != nil {
		return Snapshot{}, fmt.Errorf("snapshot: %w", err)
	}
	first := &snapshotLog{Frontier: frontier, At: e.at}
	for _, p := range sums {
		first.Sums = append(first.Sums, typed(p))
	}
	s.item(snapshotItem{Log: first})
	vaults := map[wire.VaultID]uint32{}
	for i, id := range sorted(e.vaults) {
		vaults[id] = uint32(i)
		s.item(snapshotItem{Vault: &snapshotVault{e.vaults[id].Identity, e.vaults[id].Digest}})
	}
	for _, id := range sorted(e.pending) {
		s.item(snapshotItem{Pending: &snapshotPending{e.pending[id].Generate, e.pending[id].at}})
	}
	instances := map[*instance]uint32{}
	for i, id := range sorted(e.instances) {
		in := e.instances[id]
		instances[in] = uint32(i) + 1
		s.instance(in)
	}
	for _, b := range e.chunks.batches {
		x := &snapshotBatch{Certificate: *b.cert, Born: b.born, Chunks: make([]byte, 0, len(b.chunks)*snapshotChunk)}
		for i := range b.chunks {
			c := &b.chunks[i]
			owner, known := vaults[*c.owner]
			if in := instances[c.instance]; !known || (in == 0) != (c.instance == nil) {
				s.err = fmt.Errorf("chunk %s is of nobody, or in no instance", b.chunk(i).Short())
			}
			x.Chunks = binary.BigEndian.AppendUint32(append(x.Chunks, byte(c.state)), c.epoch)
			x.Chunks = binary.BigEndian.AppendUint32(x.Chunks, owner)
			x.Chunks = binary.BigEndian.AppendUint64(x.Chunks, c.last)
			x.Chunks = binary.BigEndian.AppendUint32(x.Chunks, instances[c.instance])
			x.Chunks = append(append(x.Chunks, byte(c.b.Type())), c.b.Bytes()...)
		}
		s.item(snapshotItem{Batch: x})
	}
	for ids := sorted(e.ended); len(ids) > 0; ids = ids[min(len(ids), MaxBatch):] {
		x := &snapshotEnded{IDs: ids[:min(len(ids), MaxBatch)]}
		for _, id := range x.IDs {
			x.At, x.Until = append(x.At, e.ended[id].at), append(x.Until, e.ended[id].until)
		}
		s.item(snapshotItem{Ended: x})
	}
	s.end()
	cover, err := wire.Marshal(s.cover)
	if s.err = errors.Join(s.err, err); s.err != nil {
		return Snapshot{}, fmt.Errorf("snapshot: %w", s.err)
	}
	e.covered = s.cover.Size
	return Snapshot{cover, s.cover.Size, s.parts}, nil
}

// typed encodes a point as key.TrustPoint reads it.
func typed(p key.Point) []byte { return append([]byte{byte(p.Type())}, p.Bytes()...) }

type snapshotWriter struct {
	cover snapshotCover
	parts [][]byte
	part  []byte
	err   error
}

func (s *snapshotWriter) item(x snapshotItem) {
	if s.err != nil {
		return
	}
	var b []byte
	b, s.err = wire.Marshal(x)
	s.part = append(binary.BigEndian.AppendUint32(s.part, uint32(len(b))), b...)
	if len(s.part) > partSize {
		s.end()
	}
}

func (s *snapshotWriter) end() {
	if len(s.part) > 0 {
		s.parts = append(s.parts, s.part)
		s.cover.Parts = append(s.cover.Parts, wire.HashBytes(purposePart, s.part))
		s.part = nil
	}
}

func (s *snapshotWriter) instance(in *instance) {
	x := &snapshotInstance{
		ID: in.id, Agreement: in.deal.agreement, Open: in.open, Last: in.last, Handed: in.handed, Acked: in.acked, Seq: in.seq,
		Said: in.said, Given: sorted(in.given), Closed: in.closed, Steps: in.steps, StepAt: in.stepAt, Spoke: in.spoke, Opened: in.opened, Late: in.late,
	}
	for _, r := range in.reports {
		x.Reports = append(x.Reports, snapshotTaken{r.hash, r.at, r.time, r.oracle})
	}
	if in.open {
		var err error
		if x.State, err = in.state.AppendBinary(nil); err != nil {
			s.err = errors.Join(s.err, err)
		}
	}
	s.item(snapshotItem{Instance: x})
}

// Cover reads the cover of a snapshot: how many entries it is of, and of how many
// parts.
func Cover(b []byte) (size int64, parts int, err error) {
	c, err := parseCover(b)
	return c.Size, len(c.Parts), err
}

func parseCover(b []byte) (c snapshotCover, err error) {
	if err = wire.Unmarshal(b, &c); err == nil && c.Version != snapshotVersion {
		err = fmt.Errorf("version %d, this program reads %d", c.Version, snapshotVersion)
	}
	if err != nil {
		return c, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return c, nil
}

// Restore makes a snapshot the state of an escrow that has no log yet. Replay goes
// on with the entry after those that it is of. After an error the escrow is of no
// use.
func (e *Escrow) Restore(cover []byte, parts [][]byte) error {
	c, err := parseCover(cover)
	if err != nil {
		return err
	}
	refuse := func(err error) error { return fmt.Errorf("%w: %w", ErrSnapshot, err) }
	if e.front.Size() != 0 || len(parts) != len(c.Parts) {
		return refuse(fmt.Errorf("%d parts, it has %d", len(parts), len(c.Parts)))
	}
	for i, p := range parts {
		if wire.HashBytes(purposePart, p) != c.Parts[i] {
			return refuse(fmt.Errorf("part %d is not the one that was written", i))
		}
	}
	e.since = &sumSince{}
	r := snapshotReader{e: e}
	for _, p := range parts {
		for len(p) > 0 {
			if p, err = r.next(p); err != nil {
				return refuse(err)
			}
		}
	}
	if e.front.Size() != c.Size {
		return refuse(fmt.Errorf("a log of %d entries, it is of %d", e.front.Size(), c.Size))
	}
	e.covered = c.Size
	return nil
}

type snapshotReader struct {
	e         *Escrow
	vaults    []*wire.VaultID
	instances []*instance
}

// next takes the first item of a part, and returns the rest.
func (r *snapshotReader) next(p []byte) (rest []byte, err error) {
	if len(p) < 4 || uint64(len(p)-4) < uint64(binary.BigEndian.Uint32(p)) {
		return nil, errors.New("an item is cut")
	}
	n := 4 + int(binary.BigEndian.Uint32(p))
	var x snapshotItem
	if err := wire.Unmarshal(p[4:n], &x); err != nil {
		return nil, err
	}
	e := r.e
	switch {
	case x.Log != nil:
		e.clock, e.at = x.Log.At, x.Log.At
		if e.since.plus, err = trustPoints(x.Log.Sums); err != nil {
			return nil, err
		}
		err = e.front.UnmarshalBinary(x.Log.Frontier)
	case x.Vault != nil:
		var id wire.VaultID
		id, err = x.Vault.Identity.ID()
		e.vaults[id] = &Enrol{Identity: x.Vault.Identity, Digest: x.Vault.Digest}
		r.vaults = append(r.vaults, e.owner(id))
	case x.Pending != nil:
		e.pending[x.Pending.Generate.Batch] = &pendingBatch{Generate: x.Pending.Generate, at: x.Pending.At}
	case x.Instance != nil:
		err = r.instance(x.Instance)
	case x.Batch != nil:
		err = r.batch(x.Batch)
	case x.Ended != nil && len(x.Ended.IDs) == len(x.Ended.At) && len(x.Ended.IDs) == len(x.Ended.Until):
		for i, id := range x.Ended.IDs {
			e.ended[id] = over{x.Ended.At[i], x.Ended.Until[i]}
		}
	default:
		err = errors.New("an item is of no kind")
	}
	return p[n:], err
}

// instance restores an instance that goes on. Its agreement is bound again, and lengths and
// numbers must fit it.
func (r *snapshotReader) instance(x *snapshotInstance) error {
	d, err := x.Agreement.bind()
	if err != nil {
		return err
	}
	in := &instance{
		id: x.ID, deal: d, open: x.Open, last: x.Last, handed: x.Handed, acked: x.Acked, seq: x.Seq, said: x.Said,
		given: map[wire.ChunkID]bool{}, closed: x.Closed, steps: x.Steps, stepAt: x.StepAt, spoke: x.Spoke, opened: x.Opened, late: x.Late,
	}
	if n := len(d.parties); len(in.handed) != n || len(in.acked) != n || len(in.seq) != n || len(in.said) != n {
		return fmt.Errorf("instance %s is not of %d parties", x.ID.Short(), n)
	}
	if in.steps < 0 || in.steps > len(d.steps) || in.closed && in.steps == 0 {
		return fmt.Errorf("instance %s stands at step %d of %d", x.ID.Short(), in.steps, len(d.steps))
	}
	for _, r := range x.Reports {
		in.reports = append(in.reports, taken{r.Hash, r.At, r.Time, r.Oracle})
	}
	for _, c := range x.Given {
		in.given[c] = true
	}
	for _, l := range in.late {
		if _, ok := d.later[int(min(l.Order.Pot, maxStakes))]; !ok || len(l.Acked) != len(d.parties) {
			return fmt.Errorf("instance %s has a deposit into pot %d, of %d parties", x.ID.Short(), l.Order.Pot, len(l.Acked))
		}
	}
	if in.open {
		if in.state, err = d.DecodeState(d.weights, x.State); err != nil {
			return fmt.Errorf("instance %s: %w", x.ID.Short(), err)
		}
	}
	r.e.instances[in.id] = in
	r.instances = append(r.instances, in)
	r.e.plan(in)
	return nil
}

// batch restores the chunks of a certificate, each written in equally many bytes.
func (r *snapshotReader) batch(x *snapshotBatch) error {
	id, err := x.Certificate.ID()
	if err != nil {
		return err
	}
	n := len(x.Chunks) / max(1, int(x.Certificate.N))
	if n <= snapshotHead || len(x.Chunks) != n*int(x.Certificate.N) {
		return fmt.Errorf("certificate %s has not %d chunks", id.Short(), x.Certificate.N)
	}
	cert := x.Certificate // a copy: a pointer into x would keep all its bytes
	b := &batch{id: id, cert: &cert, born: x.Born, chunks: make([]escrowed, x.Certificate.N)}
	for i := range b.chunks {
		raw := x.Chunks[n*i : n*i+n]
		owner, in := binary.BigEndian.Uint32(raw[5:]), binary.BigEndian.Uint32(raw[17:])
		if raw[0] > byte(chunkSwept) || int(owner) >= len(r.vaults) || int(in) > len(r.instances) {
			return fmt.Errorf("chunk %d of certificate %s is in no state, or of nobody", i, id.Short())
		}
		c := &b.chunks[i]
		*c = escrowed{
			state: chunkState(raw[0]), epoch: binary.BigEndian.Uint32(raw[1:]), owner: r.vaults[owner], last: binary.BigEndian.Uint64(raw[9:]), cert: b.cert,
		}
		if in > 0 {
			c.instance = r.instances[in-1]
		}
		if c.b, err = key.TrustPoint(raw[snapshotHead:]); err != nil {
			return err
		}
	}
	r.e.certified[x.Certificate.Batch] = b
	return r.e.chunks.add(b)
}
