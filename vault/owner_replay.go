package vault

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"latchkey/head"
	"latchkey/key"
	"latchkey/wire"
)

// Logged is one entry of the escrow's log with its proof under a head.
type Logged struct {
	Position int64       `cbor:"1,keyasint"`
	Entry    []byte      `cbor:"2,keyasint"`
	Proof    []head.Hash `cbor:"3,keyasint"`
}

// tx collects what one input changes. Until commit, nothing has changed.
type tx struct {
	o       *Owner
	chunks  map[wire.ChunkID]*Chunk // nil: forget it
	running map[wire.InstanceID]*running
	rows    []Row
	certs   []key.VerifiedCertificate // shown in this change
	then    []func()
}

func (o *Owner) begin() *tx {
	return &tx{o: o, chunks: map[wire.ChunkID]*Chunk{}, running: map[wire.InstanceID]*running{}}
}

// chunk returns a copy to change, or nil for a chunk that is not followed.
func (t *tx) chunk(id wire.ChunkID) *Chunk {
	if c, ok := t.chunks[id]; ok {
		return c
	}
	old := t.o.chunks[id]
	if old == nil {
		return nil
	}
	c := *old
	t.chunks[id] = &c
	return &c
}

// instance returns a copy to change, or nil for an instance of others.
func (t *tx) instance(id wire.InstanceID) *running {
	if in, ok := t.running[id]; ok {
		return in
	}
	old := t.o.running[id]
	if old == nil {
		return nil
	}
	in := *old
	in.Handed, in.Acked, in.Heard = slices.Clone(old.Handed), slices.Clone(old.Acked), slices.Clone(old.Heard)
	in.Said, in.Given, in.Brought = slices.Clone(old.Said), slices.Clone(old.Given), slices.Clone(old.Brought)
	in.Secrets, in.Orders, in.Late = slices.Clone(old.Secrets), slices.Clone(old.Orders), slices.Clone(old.Late)
	for i := range in.Late {
		in.Late[i].Acked = slices.Clone(in.Late[i].Acked)
	}
	t.running[id] = &in
	return &in
}

func (t *tx) put(kind byte, id []byte, v any) error {
	r, err := row(kind, id, v)
	t.rows = append(t.rows, r)
	return err
}

func (t *tx) del(kind byte, id []byte) { t.rows = append(t.rows, Row{Key: string(kind) + string(id)}) }

// commit makes the change the state and returns its rows.
func (t *tx) commit() ([]Row, error) {
	for _, id := range sorted(t.chunks) {
		if c := t.chunks[id]; c == nil {
			t.del(rowOwnChunk, id[:])
		} else if err := t.put(rowOwnChunk, id[:], c); err != nil {
			return nil, err
		}
	}
	for _, id := range sorted(t.running) {
		if err := t.put(rowRunning, id[:], t.running[id]); err != nil {
			return nil, err
		}
	}
	for id, c := range t.chunks {
		if c == nil {
			delete(t.o.chunks, id)
		} else {
			t.o.chunks[id] = c
		}
	}
	maps.Copy(t.o.running, t.running)
	for _, f := range t.then {
		f()
	}
	return t.rows, nil
}

// Advance moves to a newer head, which a quorum has cosigned and which extends
// the one seen before. A head that is not newer changes nothing.
func (o *Owner) Advance(note []byte, proof []head.Hash) ([]Row, error) {
	c, err := o.cfg.Group.Verify(note)
	if err != nil {
		return nil, fmt.Errorf("advance: %w", err)
	}
	if c.Size < o.head.Size || c.Size == o.head.Size && c.Time <= o.head.Time {
		return nil, nil
	}
	if o.head.Size > 0 {
		if err := head.VerifyConsistency(o.head.Checkpoint, c.Checkpoint, proof); err != nil {
			return nil, fmt.Errorf("advance from %d to %d: %w", o.head.Size, c.Size, err)
		}
	}
	c.Time = max(c.Time, o.head.Time)
	r, err := row(rowHead, nil, headRow{note, o.clock, c.Time})
	if err != nil {
		return nil, err
	}
	o.head, o.note = c, note
	t := o.begin()
	for _, h := range sorted(o.pledges) {
		if o.pledges[h].Agreement.LockBy+maxLockWait < c.Time {
			t.forget(h, o.pledges[h])
		}
	}
	rows, err := t.commit()
	return append(rows, r), err
}

// forget drops a pledge that was not locked in time, and what was followed for it.
func (t *tx) forget(h wire.Hash, p *pledge) {
	t.del(rowPledge, h[:])
	t.then = append(t.then, func() { delete(t.o.pledges, h) })
	for _, pot := range p.Agreement.Pots {
		for _, s := range pot {
			c := t.chunk(s.Chunk)
			if c == nil || len(c.Share) > 0 || c.Instance != (wire.InstanceID{}) || c.Last != 0 && c.Owner == t.o.self {
				continue
			}
			if _, other := t.o.named(s.Chunk, func(x wire.Hash, _ *pledge) bool { return x != h }); !other && !t.o.awaited(s.Chunk) {
				t.chunks[s.Chunk] = nil
			}
		}
	}
}

// Observe replays one entry. It must be proven under the highest head seen, and
// follow, for each chunk and instance that it concerns, the newest entry seen of
// them: ErrGap names the one that is missing. Seen before, it changes nothing.
func (o *Owner) Observe(l Logged) ([]Row, error) {
	fail := func(err error) ([]Row, error) { return nil, fmt.Errorf("entry %d: %w", l.Position, err) }
	if o.head.Size == 0 {
		return fail(errors.New("no head seen yet"))
	}
	if err := head.VerifyInclusion(o.head.Checkpoint, l.Position, l.Entry, l.Proof); err != nil {
		return fail(err)
	}
	n, err := ParseEntry(l.Entry)
	if err != nil {
		return fail(err)
	}
	t := o.begin()
	if err := t.apply(n, Index(l.Position+1)); err != nil {
		return fail(err)
	}
	return t.commit()
}

// apply replays an entry at position at−1: what of it concerns this vault is verified and
// becomes its state, all else is passed over.
func (t *tx) apply(n Entry, at Index) error {
	switch {
	case n.Certify != nil:
		return t.certify(n.Certify, at)
	case n.Lock != nil:
		return t.lock(n, at)
	case n.Deposit != nil:
		return t.deposit(n, at)
	case n.Hand != nil:
		return t.role(n, n.Hand.Instance, n.Hand.Role, n.Hand.Prev, at, func(in *running, r uint32) error {
			if n.Hand.Deposit != 0 {
				return deviates(markLate(in.Late, n.Hand.Deposit, func(l *late) { l.Handed = true }))
			}
			in.Handed[r] = true
			return nil
		})
	case n.Ack != nil:
		return t.ack(n, at)
	case n.Run != nil:
		return t.run(n, at)
	case n.Claim != nil:
		return t.order(n.Claim.Owner, purposeClaim, n.Claim.Order, n.Claim.Sig, n.Claim.Order.Chunks, n.Claim.Prev, at, func(id wire.ChunkID, c *Chunk) error {
			c.Claimed, c.Claim = true, c.Claim || c.Owner == t.o.self // also if it forgot its order, or took a refusal for the last word
			return t.whole(id, c)
		})
	case n.Swept != nil:
		return t.order(n.Swept.Owner, purposeSwept, n.Swept.Order, n.Swept.Sig, n.Swept.Order.Chunks, n.Swept.Prev, at, func(id wire.ChunkID, c *Chunk) error {
			if !c.Claimed {
				return fmt.Errorf("%w: chunk %s is swept and was not claimed", ErrDeviate, id.Short())
			}
			c.Swept, c.Share, c.Whole = true, nil, nil
			return nil
		})
	case n.Clock != nil:
		return t.clock(n.Clock, at)
	}
	return nil // of no concern to an owner
}

// concerned reports whether this vault replays a chunk: it has seen an entry of it,
// or made it itself. Of the latter it may have been shown the birth before it heard
// of the certificate; the next entry is then a gap, and is never passed over.
func (o *Owner) concerned(c *Chunk) bool { return c.Last != 0 || c.Owner == o.self }

// follows checks that an entry at position at comes right after the newest seen.
// It returns false for one seen before.
func follows(what string, last, prev, at Index) (bool, error) {
	switch {
	case at <= last:
		return false, nil
	case prev != last:
		return false, fmt.Errorf("%w: %s stands at entry %d, this one follows %d", ErrGap, what, int64(last)-1, int64(prev)-1)
	}
	return true, nil
}

// certify takes the birth of chunks. Of those that this vault follows, P and the escrow's
// point must be what it knows already: from its own part in the batch, or from papers.
func (t *tx) certify(n *Certify, at Index) error {
	id, err := n.Certificate.ID()
	if err != nil {
		return err
	}
	owner, err := Recipients(n.Certificate.Owner).One()
	if err != nil {
		return err
	}
	if len(n.B) != len(n.Points) {
		return fmt.Errorf("%w: certificate %s with %d points of %d chunks", ErrDeviate, id.Short(), len(n.B), len(n.Points))
	}
	for i, p := range n.Points {
		c := t.chunk(key.ChunkIDOf(id, uint32(i)))
		if c == nil || c.Last != 0 {
			continue
		}
		if c.P != p {
			return fmt.Errorf("%w: chunk %d of certificate %s has another key", ErrDeviate, i, id.Short())
		}
		if c.ShareAt == 0 && len(c.Share) > 0 && !bytes.Equal(c.B, n.B[i].Bytes()) {
			return fmt.Errorf("%w: chunk %d of certificate %s has another escrow's point", ErrDeviate, i, id.Short())
		}
		c.Last, c.Owner, c.Epoch, c.B = at, owner, 0, n.B[i].Bytes()
	}
	return nil
}

// lock replays the lock of an agreement. If this vault accepted it, every chunk must be
// free, of the agreed epoch and of the party that stakes it, and the instance begins.
// Of others' agreements it follows the chunks; one of its own must not be among them.
func (t *tx) lock(n Entry, at Index) error {
	id, err := instanceID(n.Lock.Acceptances)
	if err != nil {
		return err
	}
	a := n.Lock.Agreement
	if len(n.Lock.Prev) != len(a.Pots) {
		return fmt.Errorf("%w: lock names the past of %d of %d pots", ErrDeviate, len(n.Lock.Prev), len(a.Pots))
	}
	h, err := wire.HashOf("latchkey/agreement/v1", a)
	if err != nil {
		return err
	}
	mine := t.o.pledges[h]
	if mine != nil && t.o.running[id] == nil {
		if err := mine.check(n); err != nil {
			return err
		}
	}
	seen := t.o.running[id] != nil && t.o.running[id].Lock >= at
	for i, pot := range a.Pots {
		if len(n.Lock.Prev[i]) != len(pot) {
			return fmt.Errorf("%w: lock names the past of %d of %d chunks", ErrDeviate, len(n.Lock.Prev[i]), len(pot))
		}
		for j, s := range pot {
			c := t.chunk(s.Chunk)
			if c == nil || mine == nil && !t.o.concerned(c) {
				continue
			}
			ok, err := follows("chunk "+s.Chunk.Short(), c.Last, n.Lock.Prev[i][j], at)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if mine != nil && c.Owner != mine.deal.parties[mine.deal.depositor(i)] {
				return fmt.Errorf("%w: chunk %s is locked for a party that does not own it", ErrDeviate, s.Chunk.Short())
			}
			if c.Owner == t.o.self && mine == nil && !t.o.accepted(n.Lock, h) {
				return fmt.Errorf("%w: chunk %s is locked without this vault's acceptance", ErrDeviate, s.Chunk.Short())
			}
			if c.Epoch != s.Epoch || c.Instance != (wire.InstanceID{}) || c.Claimed {
				return fmt.Errorf("%w: chunk %s is locked at epoch %d, in instance %s, claimed %t", ErrDeviate, s.Chunk.Short(), c.Epoch, c.Instance.Short(), c.Claimed)
			}
			c.Last, c.Instance = at, id
		}
	}
	if mine == nil || seen || t.o.running[id] != nil {
		return nil
	}
	parties := len(mine.deal.parties)
	in := &running{Pledge: *mine, Prev: at, At: n.At, Lock: at, Handed: make([]bool, parties), Acked: make([]bool, parties), Heard: make([]uint64, parties)}
	in.Pledge.Mine = n.Lock.Acceptances[mine.Mine.Body.Role] // of an earlier life of this vault, if its host brought back an old copy
	t.running[id] = in
	t.del(rowPledge, h[:])
	t.then = append(t.then, func() { delete(t.o.pledges, h) })
	return nil
}

// accepted reports whether this vault signed an acceptance that it no longer
// knows of: its host brought back an old copy. Such an instance is not run; its
// chunks are followed all the same.
func (o *Owner) accepted(l *Lock, agreement wire.Hash) bool {
	for _, a := range l.Acceptances {
		b, err := wire.Marshal(a.Body)
		if err == nil && a.Body.Agreement == agreement && o.cfg.Identity.Verify(purposeAccept, b, a.Sig) == nil {
			return true
		}
	}
	return false
}

// check verifies that a lock entry is of what this vault accepted, signed by all
// parties, this vault among them, and in time.
func (p *pledge) check(n Entry) error {
	identity := func(v wire.VaultID) (wire.Identity, bool) {
		i := p.deal.role(v)
		if i < 0 {
			return wire.Identity{}, false
		}
		return p.Parties[i], true
	}
	if _, err := p.deal.checkAcceptances(n.Lock.Acceptances, identity); err != nil {
		return fmt.Errorf("%w: %w", ErrDeviate, err)
	}
	if n.At > p.Agreement.LockBy {
		return fmt.Errorf("%w: locked at %s, to be locked by %s", ErrDeviate, wire.UTC(n.At), wire.UTC(p.Agreement.LockBy))
	}
	return nil
}

// role replays an entry by which one party of an instance has done something, which set
// notes.
func (t *tx) role(n Entry, id wire.InstanceID, role uint32, prev, at Index, set func(*running, uint32) error) error {
	in := t.instance(id)
	if in == nil {
		return nil
	}
	ok, err := follows("instance "+id.Short(), in.Prev, prev, at)
	if err != nil || !ok {
		return err
	}
	if int64(role) >= int64(len(in.Handed)) {
		return fmt.Errorf("%w: instance %s has no party %d", ErrDeviate, id.Short(), role)
	}
	if err := in.moves(n, at); err != nil {
		return err
	}
	return set(in, role)
}

// moves notes the newest entry of an instance. Times of entries never run backwards.
func (in *running) moves(n Entry, at Index) error {
	if n.At < in.At {
		return fmt.Errorf("%w: an entry of %d after one of %d", ErrDeviate, n.At, in.At)
	}
	in.Prev, in.At = at, n.At
	return nil
}

// ack takes a party's own word that it has what was handed to it, and nobody
// else's: on it the others let an instance open.
func (t *tx) ack(n Entry, at Index) error {
	a := n.Ack
	return t.role(n, a.Instance, a.Role, a.Prev, at, func(in *running, r uint32) error {
		if a.Deposit != 0 {
			b, err := wire.Marshal(DepositAck{a.Instance, a.Deposit})
			if err == nil {
				err = in.Pledge.Parties[r].Verify(purposeDepositAck, b, a.Sig)
			}
			if err == nil {
				err = markLate(in.Late, a.Deposit, func(l *late) { l.Acked[r] = true })
			}
			return deviates(err)
		}
		in.Acked[r] = true
		if err := in.Pledge.Parties[r].Verify(purposeAck, a.Instance[:], a.Sig); err != nil {
			return fmt.Errorf("%w: %w", ErrDeviate, err)
		}
		return nil
	})
}

// run replays one step. Of its own instances a vault runs the contract itself
// and compares; of others it follows the chunks that it may be given later.
func (t *tx) run(n Entry, at Index) error {
	r := n.Run
	if in := t.instance(r.Instance); in != nil {
		ok, err := follows("instance "+r.Instance.Short(), in.Prev, r.Prev, at)
		if err != nil {
			return err
		}
		if ok {
			if err := t.runOwn(in, n, at); err != nil {
				return fmt.Errorf("instance %s: %w", r.Instance.Short(), err)
			}
		}
	}
	var given []wire.ChunkID
	for _, x := range r.Exits {
		if err := t.exit(x, r.Instance, at); err != nil {
			return err
		}
		given = append(given, x.Chunk)
	}
	if mail := t.o.ahead[r.Instance]; mail != nil {
		t.early(at, given, mail)
		t.then = append(t.then, func() { delete(t.o.ahead, r.Instance) })
	}
	return nil
}

// runOwn replays a step of an instance of this vault. Its time must have come; a word must
// be its party's, and newer than the one before; and the contract, run here, must give what
// the log gives: the same chunks, to the same parties, in the same order, none a second time.
func (t *tx) runOwn(in *running, n Entry, at Index) error {
	r, d := n.Run, in.Pledge.deal
	own := in.machine(r.Instance)
	if err := t.o.checkTime(in, n); err != nil {
		return err
	}
	if r.Kind == RunWord {
		if r.Word == nil || int64(r.Word.Body.Role) >= int64(len(d.parties)) || r.Word.Body.Instance != r.Instance {
			return fmt.Errorf("%w: a word of no party", ErrDeviate)
		}
		if err := r.Word.Verify(in.Pledge.Parties[r.Word.Body.Role]); err != nil {
			return fmt.Errorf("%w: %w", ErrDeviate, err)
		}
		if r.Word.Body.Seq <= in.Heard[r.Word.Body.Role] {
			return fmt.Errorf("%w: word %d of party %d a second time", ErrDeviate, r.Word.Body.Seq, r.Word.Body.Role)
		}
		in.Heard[r.Word.Body.Role] = r.Word.Body.Seq
	}
	if (r.Kind == RunReport) != (r.Report != nil) || r.Report != nil && r.Report.Instance != r.Instance {
		return fmt.Errorf("%w: a report of another instance, or none", ErrDeviate)
	}
	ch, err := own.change(r)
	want, closed := ch.moves, ch.closed
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDeviate, err)
	}
	if closed != r.Closed || len(want) != len(r.Exits) {
		return fmt.Errorf("%w: the contract moves %d chunks, the log %d", ErrDeviate, len(want), len(r.Exits))
	}
	for i, m := range want {
		x := r.Exits[i]
		to, err := x.To.One()
		if err != nil || x.Chunk != m.chunk || to != m.to {
			return fmt.Errorf("%w: the contract gives chunk %s to %s, the log gives %s to %s", ErrDeviate, m.chunk.Short(), m.to.Short(), x.Chunk.Short(), to.Short())
		}
		if slices.Contains(in.Given, x.Chunk) {
			return fmt.Errorf("%w: chunk %s was given before", ErrDeviate, x.Chunk.Short())
		}
		if i < len(want)-ch.back {
			in.Given = append(in.Given, x.Chunk)
		}
	}
	stakes := d.stakes(ch.late)
	if closed && len(in.Given) != stakes && d.steps == nil {
		return fmt.Errorf("%w: closed with %d of %d chunks given", ErrDeviate, len(in.Given), stakes)
	}
	if r.Settled != (closed && len(in.Given) == stakes) {
		return fmt.Errorf("%w: %d of %d chunks are given, the log says settled: %t", ErrDeviate, len(in.Given), stakes, r.Settled)
	}
	in.Late = ch.late
	if err := in.moves(n, at); err != nil {
		return err
	}
	in.Closed, in.Settled, in.Step = closed, r.Settled, nil
	if closed {
		in.Steps, in.StepAt = in.Steps+1, n.At
	}
	in.Aborted, in.Broken = r.Kind == RunAbort, r.Kind == RunFailed
	if !r.Kind.contract() {
		return nil
	}
	in.Opened, in.state, in.State = true, ch.state, nil
	if !closed {
		if in.State, err = in.state.AppendBinary(nil); err != nil {
			return err
		}
	}
	if r.Word != nil {
		in.Said = slices.DeleteFunc(in.Said, func(w SignedWord) bool {
			return w.Body.Role == r.Word.Body.Role && w.Body.Seq <= r.Word.Body.Seq
		})
	}
	if r.Report != nil {
		in.Brought = slices.DeleteFunc(in.Brought, r.Report.waits)
	}
	return nil
}

// checkTime verifies that a step happens when the contract lets it: what time
// brings needs a Clock entry before it, whose stamps have reached that time.
func (o *Owner) checkTime(in *running, n Entry) error {
	r := n.Run
	if r.Kind.settles() && r.EventAt != n.At {
		return fmt.Errorf("%w: a step of %d in an entry of %d", ErrDeviate, r.EventAt, n.At)
	}
	if in.Opened == (r.Kind == RunOpen || r.Kind == RunAbort) || in.Closed != r.Kind.settles() || in.Settled {
		return fmt.Errorf("%w: kind %d, open %t, closed %t, settled %t", ErrDeviate, r.Kind, in.Opened, in.Closed, in.Settled)
	}
	switch r.Kind {
	case RunOpen:
		if r.EventAt != n.At || n.At > in.Pledge.Agreement.LockBy+grace {
			return fmt.Errorf("%w: opened at %s, entry of %s, to be locked by %s", ErrDeviate, wire.UTC(r.EventAt), wire.UTC(n.At), wire.UTC(in.Pledge.Agreement.LockBy))
		}
		for role := range in.Acked {
			if in.Pledge.deal.awaits(role) && !in.Acked[role] {
				return fmt.Errorf("%w: opened before party %d had its shares", ErrDeviate, role)
			}
		}
	case RunWord, RunReport:
		if r.EventAt > n.At || r.EventAt < n.At-grace {
			return fmt.Errorf("%w: a word or report of %d in an entry of %d", ErrDeviate, r.EventAt, n.At)
		}
	case RunTaken, RunFailed:
		return in.checkStep(n)
	case RunDeposit:
		return in.checkTaken(n)
	case RunDeadline, RunAbort, RunLapsed, RunReturn:
		due := in.Pledge.Agreement.LockBy
		switch r.Kind {
		case RunDeadline:
			due, _ = in.Pledge.deal.Deadline(in.state)
		case RunReturn:
			due = in.lapsing()
		case RunLapsed:
			due = in.Pledge.deal.wait(in.StepAt)
		}
		if r.EventAt != due && r.Kind != RunLapsed {
			return fmt.Errorf("%w: the deadline is %s, the log says %s", ErrDeviate, wire.UTC(due), wire.UTC(r.EventAt))
		}
		if o.clock.At != r.Clock {
			return fmt.Errorf("%w: the clock of this deadline is entry %d", ErrGap, int64(r.Clock)-1)
		}
		if o.clock.Time < due {
			return fmt.Errorf("%w: a deadline of %s fires at %s", ErrDeviate, wire.UTC(due), wire.UTC(o.clock.Time))
		}
	default:
		return fmt.Errorf("%w: run kind %d is unknown", ErrDeviate, r.Kind)
	}
	return nil
}

// clock takes the time that a quorum stamped. What deadlines bring has to name the newest
// such entry (checkTime).
func (t *tx) clock(n *Clock, at Index) error {
	c, err := t.o.cfg.Group.Verify(n.Head)
	if err != nil {
		return fmt.Errorf("%w: clock: %w", ErrDeviate, err)
	}
	if at <= t.o.clock.At {
		return nil
	}
	k := Clocked{at, c.Time}
	if err := t.put(rowHead, nil, headRow{t.o.note, k, t.o.head.Time}); err != nil {
		return err
	}
	t.then = append(t.then, func() { t.o.clock = k })
	return nil
}

// exit follows one chunk out of an instance.
func (t *tx) exit(x Exit, instance wire.InstanceID, at Index) error {
	c := t.chunk(x.Chunk)
	if c == nil || !t.o.concerned(c) {
		return nil
	}
	ok, err := follows("chunk "+x.Chunk.Short(), c.Last, x.Prev, at)
	if err != nil || !ok {
		return err
	}
	to, err := x.To.One()
	if err != nil {
		return err
	}
	old, err := key.ParsePoint(c.P.Type(), c.B)
	if err != nil {
		return err
	}
	if x.Epoch != c.Epoch+1 || c.Instance != instance || c.Claimed {
		return fmt.Errorf("%w: chunk %s leaves instance %s at epoch %d, it is in %s at %d", ErrDeviate, x.Chunk.Short(), instance.Short(), x.Epoch, c.Instance.Short(), c.Epoch)
	}
	if err := key.CheckRefresh(old, x.R, x.B); err != nil {
		return fmt.Errorf("%w: chunk %s: %w", ErrDeviate, x.Chunk.Short(), err)
	}
	c.Last, c.Owner, c.Epoch, c.B, c.Instance = at, to, x.Epoch, x.B.Bytes(), wire.InstanceID{}
	if to == t.o.self {
		c.Step = at
		return nil
	}
	t.chunks[x.Chunk] = nil // another's now: this share is stale, and forgotten
	if _, ok := t.o.named(x.Chunk, func(wire.Hash, *pledge) bool { return true }); ok || t.awaited(x.Chunk) {
		t.chunks[x.Chunk] = &Chunk{Cert: c.Cert, Index: c.Index, P: c.P, Path: c.Path, Weight: c.Weight, Last: at, Owner: to, Epoch: x.Epoch, B: c.B}
	}
	return nil
}

// order follows chunks through a claim or a sweep.
func (t *tx) order(owner Recipients, purpose string, order any, sig []byte, list []ChunkEpoch, prev []Index, at Index, set func(wire.ChunkID, *Chunk) error) error {
	who, err := owner.One()
	if err != nil {
		return err
	}
	if who == t.o.self {
		b, err := wire.Marshal(order)
		if err == nil {
			err = t.o.cfg.Identity.Verify(purpose, b, sig)
		}
		if err != nil {
			return fmt.Errorf("%w: an order of this vault that it did not sign: %w", ErrDeviate, err)
		}
	}
	if len(prev) != len(list) {
		return fmt.Errorf("%w: an order of %d chunks with the past of %d", ErrDeviate, len(list), len(prev))
	}
	for i, x := range list {
		c := t.chunk(x.Chunk)
		if c == nil || !t.o.concerned(c) {
			continue
		}
		ok, err := follows("chunk "+x.Chunk.Short(), c.Last, prev[i], at)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if c.Owner != who || c.Epoch != x.Epoch || c.Instance != (wire.InstanceID{}) {
			return fmt.Errorf("%w: chunk %s is claimed or swept by %s at epoch %d", ErrDeviate, x.Chunk.Short(), who.Short(), x.Epoch)
		}
		c.Last = at
		if err := set(x.Chunk, c); err != nil {
			return err
		}
	}
	return nil
}
