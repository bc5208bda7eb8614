package vault

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"

	"latchkey/key"
	"latchkey/wire"
)

// Rows of an escrow's share table, by the first byte of their key.
const (
	rowBatch = 'g' // + batch: the escrow's shares of a batch not yet certified
	rowShare = 'b' // + chunk: epoch (4 bytes) and b
	rowHand  = 'h' // + instance, recipient, sender: Mail with handed shares
	rowMail  = 'r' // + recipient, step (8 bytes): Mail with the r of each exit, or the shares of a deposit
)

func batchRow(b wire.Hash) string    { return string(rowBatch) + string(b[:]) }
func shareRow(c wire.ChunkID) string { return string(rowShare) + string(c[:]) }
func handRow(i wire.InstanceID, to, from wire.VaultID) string {
	return string(rowHand) + string(i[:]) + string(to[:]) + string(from[:])
}

func mailRow(to wire.VaultID, step Index) string {
	return string(rowMail) + string(to[:]) + string(binary.BigEndian.AppendUint64(nil, step))
}

func shareValue(epoch uint32, s key.Share) []byte {
	return append(binary.BigEndian.AppendUint32(nil, epoch), s.Expose()...)
}

// apply folds one entry, at position at−1, into the state. It is the only code
// that changes what the log says, live and in replay alike.
func (e *Escrow) apply(n Entry, at Index) error {
	if n.At < e.clock {
		return fmt.Errorf("entry %d: its time %d is before %d", at-1, n.At, e.clock)
	}
	e.clock, e.at = n.At, n.At
	if at%forgetEvery == 0 {
		maps.DeleteFunc(e.ended, func(_ wire.InstanceID, o over) bool { return o.until < n.At })
	}
	switch {
	case n.Genesis != nil:
		if at != 1 || n.Genesis.Origin != e.cfg.Origin || n.Genesis.Format != LogFormat {
			return fmt.Errorf("entry %d: genesis of %q in format %d; this program reads a log of %q in format %d, and its first entry",
				at-1, n.Genesis.Origin, n.Genesis.Format, e.cfg.Origin, LogFormat)
		}
	case n.Enrol != nil:
		v, err := n.Enrol.Identity.ID()
		if err != nil {
			return err
		}
		e.vaults[v] = &Enrol{Identity: n.Enrol.Identity, Digest: n.Enrol.Digest} // the evidence is in the log
	case n.Generate != nil:
		if e.pending[n.Generate.Batch] == nil {
			e.pending[n.Generate.Batch] = &pendingBatch{Generate: *n.Generate, at: n.At}
		}
	case n.Drop != nil:
		delete(e.pending, n.Drop.Batch)
	case n.Certify != nil:
		return e.applyCertify(n.Certify, at)
	case n.Lock != nil:
		return e.applyLock(n.Lock, at)
	case n.Deposit != nil:
		return e.applyDeposit(n.Deposit, at)
	case n.Hand != nil:
		return e.applyRole(n.Hand.Instance, n.Hand.Role, at, func(in *instance) error {
			if n.Hand.Deposit != 0 {
				return markLate(in.late, n.Hand.Deposit, func(l *late) { l.Handed = true })
			}
			in.handed[n.Hand.Role] = true
			return nil
		})
	case n.Ack != nil:
		return e.applyRole(n.Ack.Instance, n.Ack.Role, at, func(in *instance) error {
			if n.Ack.Deposit != 0 {
				return markLate(in.late, n.Ack.Deposit, func(l *late) { l.Acked[n.Ack.Role] = true })
			}
			in.acked[n.Ack.Role] = true
			return nil
		})
	case n.Run != nil:
		return e.applyRun(n.Run, at)
	case n.Claim != nil:
		return e.applyOrder(n.Claim.Order.Chunks, at, chunkClaimed)
	case n.Swept != nil:
		return e.applyOrder(n.Swept.Order.Chunks, at, chunkSwept)
	}
	return nil
}

// applyCertify takes the chunks of a batch whose certificate both sides have signed.
func (e *Escrow) applyCertify(c *Certify, at Index) error {
	id, err := c.Certificate.ID()
	if err != nil {
		return err
	}
	owner, err := Recipients(c.Certificate.Owner).One()
	if err != nil {
		return err
	}
	if len(c.B) != len(c.Points) {
		return errors.New("certify: as many B as P are needed")
	}
	cert := c.Certificate // a copy: a pointer into c would keep all its points
	b := &batch{id: id, cert: &cert, born: at, chunks: make([]escrowed, len(c.Points))}
	if e.since != nil {
		e.since.plus = append(e.since.plus, c.B...)
	}
	for i := range b.chunks {
		b.chunks[i] = escrowed{b: c.B[i], owner: e.owner(owner), cert: b.cert, last: at}
	}
	e.certified[cert.Batch] = b
	delete(e.pending, cert.Batch)
	return e.chunks.add(b)
}

// owner returns the one copy of a vault's id to which all its chunks point.
func (e *Escrow) owner(v wire.VaultID) *wire.VaultID {
	if e.owners[v] == nil {
		e.owners[v] = &v
	}
	return e.owners[v]
}

// applyLock begins an instance and binds its chunks to it.
func (e *Escrow) applyLock(l *Lock, at Index) error {
	d, err := l.Agreement.bind()
	if err != nil {
		return err
	}
	id, err := instanceID(l.Acceptances)
	if err != nil {
		return err
	}
	n := len(d.parties)
	in := &instance{
		id: id, deal: d, last: at, handed: make([]bool, n), acked: make([]bool, n), seq: make([]uint64, n),
		said: make([]wire.Hash, n), given: map[wire.ChunkID]bool{},
	}
	for _, pot := range l.Agreement.Pots {
		for _, s := range pot {
			c := e.chunks.at(s.Chunk)
			if s.Chunk == (wire.ChunkID{}) {
				continue // it comes later
			}
			if c == nil {
				return fmt.Errorf("lock: chunk %s: %w", s.Chunk.Short(), ErrUnknown)
			}
			c.instance, c.last = in, at
		}
	}
	e.instances[id] = in
	e.plan(in)
	return nil
}

// applyRole takes what one party of an instance has done, which set notes.
func (e *Escrow) applyRole(id wire.InstanceID, role uint32, at Index, set func(*instance) error) error {
	in := e.instances[id]
	if in == nil || int64(role) >= int64(len(in.handed)) {
		return fmt.Errorf("instance %s: %w", id.Short(), ErrUnknown)
	}
	in.last = at
	return set(in)
}

// applyRun takes a step of an instance: what was said, what the contract makes of it, which
// change computes again, and each chunk that leaves, with its new owner, epoch and b·G.
func (e *Escrow) applyRun(r *Run, at Index) error {
	in := e.instances[r.Instance]
	if in == nil {
		return fmt.Errorf("instance %s: %w", r.Instance.Short(), ErrUnknown)
	}
	in.last = at
	if r.Kind == RunOpen {
		in.opened = at
	}
	ch, err := in.change(r)
	if err != nil {
		return fmt.Errorf("instance %s: %w", r.Instance.Short(), err)
	}
	in.state, in.late, in.open = ch.state, ch.late, in.open || r.Kind.contract()
	if r.Word != nil {
		h, err := r.Word.Hash()
		if err != nil {
			return err
		}
		in.seq[r.Word.Body.Role], in.said[r.Word.Body.Role] = r.Word.Body.Seq, h
	}
	if r.Report != nil {
		h, err := r.Report.Hash()
		if err != nil {
			return err
		}
		in.reports = append(in.reports, taken{h, at, r.Report.time(), r.Report.Oracle})
		in.reports = in.reports[max(0, len(in.reports)-maxTaken):]
	}
	in.spoke = wire.Hash{}
	if r.Step != nil {
		h, err := r.Step.Hash()
		if err != nil {
			return err
		}
		in.spoke = h
	}
	for i, x := range r.Exits {
		c := e.chunks.at(x.Chunk)
		if c == nil || in.given[x.Chunk] {
			return fmt.Errorf("chunk %s leaves instance %s twice", x.Chunk.Short(), r.Instance.Short())
		}
		to, err := x.To.One()
		if err != nil {
			return err
		}
		if i < len(r.Exits)-ch.back {
			in.given[x.Chunk] = true
		}
		if e.since != nil {
			e.since.minus = append(e.since.minus, x.R)
		}
		c.owner, c.epoch, c.b, c.instance, c.last = e.owner(to), x.Epoch, x.B, nil, at
	}
	if in.closed = r.Closed; in.closed {
		in.steps, in.stepAt = in.steps+1, e.clock
	}
	if r.Settled {
		delete(e.instances, r.Instance)
		e.ended[r.Instance] = over{at, max(in.deal.agreement.LockBy, e.at) + receiptTime}
		return nil
	}
	e.plan(in)
	return nil
}

// applyOrder takes a claim or a sweep of chunks. Of one that is swept no share is kept.
func (e *Escrow) applyOrder(list []ChunkEpoch, at Index, to chunkState) error {
	for _, o := range list {
		c := e.chunks.at(o.Chunk)
		if c == nil {
			return fmt.Errorf("chunk %s: %w", o.Chunk.Short(), ErrUnknown)
		}
		if to == chunkSwept && c.state != chunkSwept && e.since != nil {
			e.since.minus = append(e.since.minus, c.b)
		}
		c.state, c.last = to, at
		if to == chunkSwept {
			c.share = key.Share{}
		}
	}
	return nil
}

// Replay folds an entry that an earlier run of this escrow made durable. The
// shell compares Size and Root with what it sealed before it goes on to Load.
func (e *Escrow) Replay(entry []byte) error {
	n, err := ParseOwn(entry)
	if err == nil {
		err = e.front.Append(entry)
	}
	if err == nil {
		err = e.apply(n, Index(e.front.Size()))
	}
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	return nil
}

// Load takes back the rows of the share table after the whole log was replayed,
// and refuses to go on unless every chunk and every batch has exactly the share
// that the log says.
func (e *Escrow) Load(rows []Row) error {
	for _, r := range rows {
		if len(r.Key) != 33 && len(r.Key) != 41 && len(r.Key) != 97 {
			return errors.New("load: a row with an unknown key")
		}
		switch r.Key[0] {
		case rowShare:
			c := e.chunks.at(wire.ChunkID([]byte(r.Key[1:])))
			if c == nil || len(r.Value) != 36 || binary.BigEndian.Uint32(r.Value) != c.epoch {
				return fmt.Errorf("load: share row %x is of no chunk, or of another epoch", r.Key[1:5])
			}
			s, err := key.ParseShare(c.b.Type(), r.Value[4:])
			if err != nil {
				return fmt.Errorf("load: share row %x: %w", r.Key[1:5], err)
			}
			c.share = s
		case rowBatch:
			b := e.pending[wire.Hash([]byte(r.Key[1:]))]
			if b == nil {
				return fmt.Errorf("load: batch row %x is of no batch", r.Key[1:5])
			}
			s, err := b.Spec.splitShares(r.Value)
			if err != nil {
				return fmt.Errorf("load: batch row %x: %w", r.Key[1:5], err)
			}
			b.shares = s
		case rowHand, rowMail:
			var m Mail
			if err := wire.Unmarshal(r.Value, &m); err != nil {
				return fmt.Errorf("load: %w", err)
			}
			e.mail[r.Key] = m
		default:
			return fmt.Errorf("load: row kind %q is unknown", r.Key[0])
		}
	}
	return e.checkShares()
}

// sumSince is what the sum of all points was at a snapshot, and what came to it
// and went since.
type sumSince struct{ plus, minus []key.Point }

// liveShares returns the shares that there must be, with their points.
func (e *Escrow) liveShares() (shares []key.Share, points []key.Point, err error) {
	n := len(e.chunks.places)
	shares, points = make([]key.Share, 0, n), make([]key.Point, 0, n)
	for _, b := range e.chunks.batches {
		for i := range b.chunks {
			c := &b.chunks[i]
			if c.state == chunkSwept {
				continue
			}
			if c.share.IsZero() {
				return nil, nil, fmt.Errorf("the share of chunk %s is missing", b.chunk(i).Short())
			}
			shares, points = append(shares, c.share), append(points, c.b)
		}
	}
	return shares, points, nil
}

// checkShares compares the sum of all shares with the sum of all points, by key
// type: one wrong or missing share is found, at a fraction of the cost of checking
// each. After a snapshot the points are those summed in it, which were the live
// shares' own, and what the log says since. Each share is checked by itself when
// it is used.
func (e *Escrow) checkShares() error {
	shares, points, err := e.liveShares()
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	var less []key.Point
	if e.since != nil {
		points, less, e.since = e.since.plus, e.since.minus, nil
	}
	for id, b := range e.pending {
		if len(b.shares) != int(b.Spec.N) {
			return fmt.Errorf("load: the shares of batch %s are missing", id.Short())
		}
	}
	if err := key.CheckSum(shares, points, less); err != nil {
		return fmt.Errorf("load: share table: %w", err)
	}
	return nil
}

// dueHeap orders instances by the next moment at which the escrow itself acts.
// A stale item is skipped when it comes up.
type dueHeap []dueItem

type dueItem struct {
	at int64
	id wire.InstanceID
}

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return string(h[i].id[:]) < string(h[j].id[:])
}
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push is for container/heap.
func (h *dueHeap) Push(x any) { *h = append(*h, x.(dueItem)) }

// Pop is for container/heap.
func (h *dueHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// next returns the moment at which the escrow acts on in by itself: LockBy
// before it is open, its phase's deadline or a deposit's afterwards, its step's
// once it is closed.
func (in *instance) next() int64 {
	switch {
	case !in.open:
		return in.deal.agreement.LockBy
	case in.closed:
		return in.deal.wait(in.stepAt)
	}
	at, ok := in.deal.Deadline(in.state)
	if !ok {
		return 1 << 62
	}
	for _, l := range in.late {
		if !l.Taken {
			at = min(at, l.Order.By)
		}
	}
	return at
}

func (e *Escrow) plan(in *instance) { heap.Push(&e.due, dueItem{in.next(), in.id}) }
