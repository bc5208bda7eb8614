package vault

import (
	"container/heap"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"latchkey/contract"
	"latchkey/key"
	"latchkey/wire"
)

// An Exploration is that of all outcomes of an agreement which could be locked as
// things stand: the most of the work of a lock. It rests on the agreement alone, so a
// shell may Run it beside the machine.
type Exploration struct {
	Agreement wire.Hash
	Parties   []wire.VaultID // have accepted it
	Work      int            // of Run, in units: see Escrow.Work
	deal      *deal
	ran       bool
	err       error
}

// Run explores.
func (x *Exploration) Run() {
	var moves int
	moves, x.err = x.deal.admit()
	x.Work, x.ran = 1+moves/movesUnit, true
}

// lock binds the chunks of an agreement that all its parties accepted, before
// any share leaves its owner, and refuses a second lock. With x, which has run or
// is still zero, it does not explore: what has to run comes back in the answer.
func (e *Escrow) lock(q LockAsk, x *Exploration, rnd io.Reader) (Answer, error) {
	id, err := instanceID(q.Acceptances)
	if err != nil {
		return Answer{}, err
	}
	if in := e.instances[id]; in != nil {
		return e.say(Reply{Locked: &LockedReply{id}}, 0)
	}
	if _, ok := e.ended[id]; ok {
		return e.say(Reply{Locked: &LockedReply{id}}, 0)
	}
	if q.Agreement.Escrow != e.self {
		return Answer{}, fmt.Errorf("%w: its escrow is %s", ErrAgreement, q.Agreement.Escrow.Short())
	}
	if q.Agreement.LockBy <= e.clock || q.Agreement.LockBy > e.clock+maxLockWait {
		return Answer{}, fmt.Errorf("%w: lock by %s, and it is %s: %w", ErrAgreement, wire.UTC(q.Agreement.LockBy), wire.UTC(e.clock), ErrExpired)
	}
	d, err := q.Agreement.bind() // after what is less work: who has read the log can bring all that is in it
	if err != nil {
		return Answer{}, err
	}
	if _, err := d.checkAcceptances(q.Acceptances, e.identity); err != nil {
		return Answer{}, err
	}
	l := &Lock{Agreement: q.Agreement, Acceptances: q.Acceptances}
	for i, pot := range q.Agreement.Pots {
		prev := make([]Index, len(pot))
		for j, s := range pot {
			if d.isLater(i) {
				break
			}
			if prev[j], err = e.checkStake(d, i, s); err != nil {
				return Answer{}, err
			}
			if e.unitOf(s) != e.unitOf(pot[0]) {
				return Answer{}, fmt.Errorf("%w: pot %d mixes denominations", ErrAgreement, i)
			}
		}
		l.Prev = append(l.Prev, prev)
	}
	aside := x != nil // last: anybody may bring a lock
	if !aside || !x.ran || x.Agreement != d.hash {
		x = &Exploration{Agreement: d.hash, Parties: d.parties, deal: d}
		if aside {
			return Answer{Explore: x}, nil
		}
		x.Run()
		e.work += uint64(x.Work)
	}
	if x.err != nil {
		return Answer{}, x.err
	}
	p := plan{entries: []Entry{{Lock: l}}}
	in := &instance{id: id, deal: d, handed: make([]bool, len(d.parties)), acked: make([]bool, len(d.parties)), given: map[wire.ChunkID]bool{}}
	if in.ready() { // nobody may receive another's chunk: it opens at once
		in.last = Index(e.front.Size() + 1)
		if err := e.run(&p, in, Run{Kind: RunOpen, EventAt: e.clock}, rnd); err != nil {
			return Answer{}, err
		}
	}
	return e.settle(p, Reply{Locked: &LockedReply{id}})
}

// checkStake verifies that a chunk may be locked now, and returns the previous
// entry of the chunk.
func (e *Escrow) checkStake(d *deal, pot int, s Stake) (Index, error) {
	c := e.chunks.at(s.Chunk)
	refuse := func(err error) (Index, error) { return 0, fmt.Errorf("chunk %s: %w", s.Chunk.Short(), err) }
	switch {
	case c == nil:
		return refuse(ErrUnknown)
	case *c.owner != d.parties[d.depositor(pot)]:
		return refuse(ErrNotYours)
	case c.epoch != s.Epoch:
		return refuse(fmt.Errorf("%w: it is at %d, the agreement says %d", ErrEpoch, c.epoch, s.Epoch))
	case c.instance != nil:
		return refuse(fmt.Errorf("%w in instance %s", ErrLocked, c.instance.id.Short()))
	case c.state != chunkLive:
		return refuse(errors.New("it is claimed"))
	case c.cert.Weight != s.Weight:
		return refuse(fmt.Errorf("it weighs %d, the agreement says %d", c.cert.Weight, s.Weight))
	case d.ends() >= c.cert.Expiry:
		return refuse(fmt.Errorf("%w: its certificate ends at %s, the contract may run until %s", ErrExpired, wire.UTC(c.cert.Expiry), wire.UTC(d.ends())))
	}
	if err := d.checkAsset(pot, c.cert.Denomination.Asset.ID); err != nil {
		return refuse(err)
	}
	return c.last, nil
}

func (e *Escrow) unitOf(s Stake) any { return e.chunks.at(s.Chunk).cert.Denomination }

func (e *Escrow) identity(v wire.VaultID) (wire.Identity, bool) {
	if n := e.vaults[v]; n != nil {
		return n.Identity, true
	}
	return wire.Identity{}, false
}

// handsOver reports whether a party must leave shares for others before an
// instance opens; awaits whether others leave shares for it.
func (d *deal) handsOver(role int) bool {
	for to := range d.parties {
		if len(d.handedTo(role, to)) > 0 {
			return true
		}
	}
	return false
}

func (d *deal) awaits(role int) bool {
	for from := range d.parties {
		if len(d.handedTo(from, role)) > 0 {
			return true
		}
	}
	return false
}

// handedTo lists the chunks that from leaves for to, in the order of the pots.
func (d *deal) handedTo(from, to int) []ChunkEpoch {
	var out []ChunkEpoch
	for pot, stakes := range d.agreement.Pots {
		if d.depositor(pot) == from && d.receives(pot, to) && !d.isLater(pot) {
			for _, s := range stakes {
				out = append(out, ChunkEpoch{s.Chunk, s.Epoch})
			}
		}
	}
	return out
}

// ready reports whether every vault has what it needs for any outcome.
func (in *instance) ready() bool {
	for role := range in.deal.parties {
		if in.deal.awaits(role) && !in.acked[role] {
			return false
		}
	}
	return true
}

// instanceOf returns an instance that goes on, or says that it is over or unknown.
func (e *Escrow) instanceOf(id wire.InstanceID) (*instance, error) {
	if in := e.instances[id]; in != nil {
		return in, nil
	}
	if _, ok := e.ended[id]; ok {
		return nil, fmt.Errorf("instance %s is over", id.Short())
	}
	return nil, fmt.Errorf("instance %s: %w", id.Short(), ErrUnknown)
}

// hand stores a depositor's sealed shares for those who may receive them.
func (e *Escrow) hand(from wire.VaultID, q HandAsk) (Answer, error) {
	if _, over := e.ended[q.Instance]; over {
		return e.say(Reply{}, 0)
	}
	in, err := e.instanceOf(q.Instance)
	if err != nil {
		return Answer{}, err
	}
	role := in.deal.role(from)
	if role < 0 || !in.deal.handsOver(role) {
		return Answer{}, fmt.Errorf("vault %s hands nothing over in instance %s", from.Short(), q.Instance.Short())
	}
	if in.handed[role] || in.open {
		return e.say(Reply{}, 0)
	}
	p := plan{entries: []Entry{{Hand: &Hand{Instance: q.Instance, Role: uint32(role), Prev: in.last}}}, mail: map[string]Mail{}}
	rest := q.Mail
	for to, v := range in.deal.parties {
		want := in.deal.handedTo(role, to)
		if len(want) == 0 {
			continue
		}
		if err := checkMail(rest, from, v, want); err != nil {
			return Answer{}, fmt.Errorf("shares for party %d: %w", to, err)
		}
		if p.rows, err = addMail(p.rows, p.mail, handRow(q.Instance, v, from), rest[0]); err != nil {
			return Answer{}, err
		}
		rest = rest[1:]
	}
	if len(rest) != 0 {
		return Answer{}, errors.New("shares for somebody who may not receive them")
	}
	a, err := e.settle(p, Reply{})
	a.Hold = 0 // nothing of the escrow's own leaves
	return a, err
}

// Bounds of one sealed share and of what it is sealed with, in bytes: the escrow
// keeps whatever a depositor leaves until its receiver has it. Sealed as
// spec/session.md says they have 60 and 1,120.
const (
	maxSealed = 64
	maxEnc    = 2048
)

// checkMail verifies that the first of the mail which a depositor leaves is these
// chunks' shares, sealed by it to a vault.
func checkMail(mail []Mail, from, to wire.VaultID, want []ChunkEpoch) error {
	if len(mail) == 0 || mail[0].To != to || mail[0].From != from || len(mail[0].Items) != len(want) || len(mail[0].Enc) > maxEnc {
		return fmt.Errorf("want those of %d chunks, sealed by the sender to vault %s", len(want), to.Short())
	}
	for i, it := range mail[0].Items {
		if (ChunkEpoch{it.Chunk, it.Epoch}) != want[i] || len(it.Text) > maxSealed {
			return fmt.Errorf("share %d is of chunk %s at epoch %d, in %d bytes; want %s at %d, in at most %d",
				i, it.Chunk.Short(), it.Epoch, len(it.Text), want[i].Chunk.Short(), want[i].Epoch, maxSealed)
		}
	}
	return nil
}

// addMail adds a row, and what it says to all that rows say.
func addMail(rows []Row, all map[string]Mail, k string, m Mail) ([]Row, error) {
	v, err := wire.Marshal(m)
	all[k] = m
	return append(rows, Row{Key: k, Value: v}), err
}

// gave answers with the r of a step, held like a fetch of it. That there are none
// leaves at once: nobody gives a chunk up on that word.
func (e *Escrow) gave(to wire.VaultID, step Index) (Answer, error) {
	if m, ok := e.mail[mailRow(to, step)]; ok {
		return e.say(Reply{Mail: []Mail{m}}, int64(step))
	}
	return e.say(Reply{}, 0)
}

// ack records that a party stored what was handed to it; with the last one the
// instance opens. The answer is what the opening gives to that party.
func (e *Escrow) ack(from wire.VaultID, q AckAsk, rnd io.Reader) (Answer, error) {
	if o, over := e.ended[q.Instance]; over {
		return e.gave(from, o.at)
	}
	in, err := e.instanceOf(q.Instance)
	if err != nil {
		return Answer{}, err
	}
	role := in.deal.role(from)
	if role < 0 || !in.deal.awaits(role) {
		return Answer{}, fmt.Errorf("vault %s is handed nothing in instance %s", from.Short(), q.Instance.Short())
	}
	if in.open {
		return e.gave(from, in.opened)
	}
	if in.acked[role] {
		a, err := e.say(Reply{}, 0)
		a.Early = true
		return a, err
	}
	if err := e.vaults[from].Identity.Verify(purposeAck, q.Instance[:], q.Sig); err != nil {
		return Answer{}, err
	}
	for other := range in.deal.parties {
		if len(in.deal.handedTo(other, role)) > 0 && !in.handed[other] {
			return Answer{}, fmt.Errorf("party %d has not handed its shares over: %w", other, ErrNotReady)
		}
	}
	p := plan{entries: []Entry{{Ack: &Ack{Instance: q.Instance, Role: uint32(role), Prev: in.last, Sig: q.Sig}}}}
	in.acked[role] = true
	ready := in.ready()
	in.acked[role] = false // commit applies it
	if ready && e.clock > in.deal.agreement.LockBy {
		return Answer{}, fmt.Errorf("instance %s was to open by %s, and it is %s: %w", in.id.Short(), wire.UTC(in.deal.agreement.LockBy), wire.UTC(e.clock), ErrExpired)
	}
	if ready {
		last := in.last
		in.last = Index(e.front.Size() + 1)
		err := e.run(&p, in, Run{Kind: RunOpen, EventAt: e.clock}, rnd)
		in.last = last
		if err != nil {
			return Answer{}, err
		}
	}
	b, err := e.commit(p)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Early: true} // the others' shares are still to be stored
	if ready {
		if a, err = e.gave(from, Index(e.front.Size())); err != nil {
			return Answer{}, err
		}
	}
	a.Block = b
	return a, nil
}

// run plans one step of an instance, of which why says what moved it and when,
// and the refresh of every chunk it moves.
func (e *Escrow) run(p *plan, in *instance, why Run, rnd io.Reader) error {
	return e.runPrepared(p, in, why, nil, rnd)
}

// runPrepared is run with refreshes that were done beside the machine, if it needs these.
func (e *Escrow) runPrepared(p *plan, in *instance, why Run, x *Prepared, rnd io.Reader) error {
	r := &why
	r.Instance, r.Prev = in.id, in.last
	if r.Kind.timed() {
		r.Clock = Index(e.front.Size() + 1) // Due puts the Clock entry first in its block
	}
	ch, err := in.change(r)
	if err != nil {
		return fmt.Errorf("instance %s: %w", in.id.Short(), err)
	}
	r.Closed = ch.closed
	step := Index(e.front.Size() + int64(len(p.entries)) + 1)
	rows, shares := p.rows, map[wire.ChunkID]key.Share{} // p has all of the step in the end, or nothing
	mail, mails := map[wire.VaultID]*Mail{}, map[string]Mail{}
	given := map[wire.ChunkID]bool{}
	var olds []key.Share
	var points []key.Point
	for _, m := range ch.moves {
		c := e.chunks.at(m.chunk)
		if in.given[m.chunk] || given[m.chunk] {
			return fmt.Errorf("instance %s gives chunk %s twice", in.id.Short(), m.chunk.Short())
		}
		given[m.chunk] = true
		olds, points = append(olds, c.share), append(points, c.b)
	}
	e.work += uint64(len(olds))
	refreshed := x.of(points)
	if refreshed == nil {
		if refreshed, err = key.Refresh(olds, points, rnd); err != nil { // it checks each b against the log
			return fmt.Errorf("instance %s: shares of the table: %w", in.id.Short(), err)
		}
	}
	for i, m := range ch.moves {
		c, n := e.chunks.at(m.chunk), refreshed[i]
		x := Exit{Chunk: m.chunk, To: Recipients{m.to}, Epoch: c.epoch + 1, R: n.R, B: n.B, Prev: c.last}
		if in.last == Index(e.front.Size()+1) && c.instance == nil {
			x.Prev = in.last // locked by the entry before this one
		}
		r.Exits = append(r.Exits, x)
		shares[m.chunk] = n.Share
		rows = append(rows, Row{Key: shareRow(m.chunk), Value: shareValue(x.Epoch, n.Share)})
		enc, text, err := e.cfg.Sealer.Seal(e.vaults[m.to].Identity, label(labelR, wire.InstanceID{}, ChunkEpoch{m.chunk, x.Epoch}), n.Delta)
		if err != nil {
			return err
		}
		if mail[m.to] == nil {
			mail[m.to] = &Mail{To: m.to, From: e.self, Enc: enc}
		}
		mail[m.to].Items = append(mail[m.to].Items, Sealed{m.chunk, x.Epoch, text})
	}
	gone, all := len(in.given)+len(given)-ch.back, in.deal.stakes(ch.late)
	r.Settled = ch.closed && gone == all
	if ch.closed && !r.Settled && in.deal.steps == nil {
		return fmt.Errorf("instance %s ends with %d of %d chunks given", in.id.Short(), gone, all)
	}
	for _, v := range in.deal.parties {
		if mail[v] != nil {
			if rows, err = addMail(rows, mails, mailRow(v, step), *mail[v]); err != nil {
				return err
			}
		}
	}
	if r.Kind == RunOpen || r.Kind == RunAbort { // handed shares have arrived, or will never be used
		for from := range in.deal.parties {
			for to := range in.deal.parties {
				k := handRow(in.id, in.deal.parties[to], in.deal.parties[from])
				if _, ok := e.mail[k]; ok {
					rows = append(rows, Row{Key: k})
				}
			}
		}
	}
	for _, l := range in.late { // shares of a deposit that has arrived, or that will never be used
		if x := lateAt(ch.late, l.Entry); x != nil && x.Taken == l.Taken {
			continue
		}
		for _, v := range in.deal.parties {
			if k := mailRow(v, l.Entry); e.mail[k].Items != nil {
				rows = append(rows, Row{Key: k})
			}
		}
	}
	p.entries, p.rows = append(p.entries, Entry{Run: r}), rows
	if p.shares == nil {
		p.shares, p.mail = shares, mails
	}
	maps.Copy(p.shares, shares)
	maps.Copy(p.mail, mails)
	return nil
}

// move is one chunk's way out of an instance.
type move struct {
	chunk wire.ChunkID
	to    wire.VaultID
}

// change is what one step makes of an instance.
type change struct {
	state  contract.State
	late   []late
	moves  []move // the chunks that leave
	back   int    // how many of them, the last ones, are of deposits that never counted
	closed bool
}

// change runs the contract for one step. An abort or a failure returns every chunk
// still here to its depositor; the contract has no say. Nor has it in a tit-for-tat
// settlement once it is over, nor when a deposit's time is over. A deposit that
// waits when its phase ends goes back in the same step.
func (in *instance) change(r *Run) (c change, err error) {
	d, kind := in.deal, r.Kind
	c.state, c.late, c.closed = in.state, in.late, true
	switch {
	case kind == RunAbort || kind == RunFailed && in.closed:
		for pot, stakes := range d.agreement.Pots {
			for _, s := range stakes {
				if !in.given[s.Chunk] && !d.isLater(pot) {
					c.moves = append(c.moves, move{s.Chunk, d.parties[d.depositor(pot)]})
				}
			}
		}
		return c, nil
	case in.closed && (kind == RunTaken || kind == RunLapsed) && in.steps < len(d.steps):
		c.moves = d.steps[in.steps].moves
		return c, nil
	case kind == RunReturn:
		c.closed = false
		c.giveBack(d, func(l late) bool { return l.Order.By <= r.EventAt })
		if c.back == 0 {
			return c, fmt.Errorf("no deposit waits until %s", wire.UTC(r.EventAt))
		}
		return c, nil
	}
	var o contract.Outcome
	if kind == RunDeposit {
		c.late = slices.Clone(in.late)
		err = markLate(c.late, r.Deposit, func(l *late) { l.Taken = true })
		if err == nil {
			c.state, o, err = d.Step(in.state, lateAt(c.late, r.Deposit).Order.event(r.EventAt))
		}
	} else {
		c.state, o, err = d.step(in.state, r)
	}
	if err != nil {
		return c, err
	}
	if c.closed = o.Closed; d.steps != nil { // over when it opens: what it gives is planned since the agreement
		c.moves = d.steps[0].moves
		return c, nil
	}
	for _, g := range o.Gives {
		chunk := d.agreement.Pots[g.Pot][g.Chunk].Chunk
		if d.isLater(g.Pot) {
			chunk = counted(c.late, g.Pot)[g.Chunk].Chunk
		}
		c.moves = append(c.moves, move{chunk, d.parties[g.To]})
	}
	c.giveBack(d, func(l late) bool { return int64(l.Order.Phase) != int64(o.Phase) })
	return c, nil
}

// stakes returns how many chunks the instance has, those given among them.
func (d *deal) stakes(list []late) (n int) {
	for pot, stakes := range d.agreement.Pots {
		if !d.isLater(pot) {
			n += len(stakes)
		}
	}
	for _, l := range list {
		n += len(l.Order.Chunks)
	}
	return n
}

// Due carries out what time has brought: aborts of instances not opened by
// their LockBy, deadlines of phases and of steps, batches never opened. It returns an empty
// block when there is nothing to do, and at most a bounded piece of work, so it
// is called again until it does.
func (e *Escrow) Due(rnd io.Reader) (Block, error) {
	for _, id := range sorted(e.pending) {
		if e.clock > e.pending[id].at+pendingLife {
			return e.commit(plan{entries: []Entry{{Drop: &Drop{id}}}, rows: []Row{{Key: batchRow(id)}}})
		}
	}
	p := plan{entries: []Entry{{Clock: &Clock{e.note}}}}
	seen := map[wire.InstanceID]bool{}
	var failed []dueItem
	var cause error
	for len(e.due) > 0 && e.due[0].at+grace <= e.noteTime && len(seen) < maxDue && len(p.rows) < maxDueRows {
		item := heap.Pop(&e.due).(dueItem)
		in := e.instances[item.id]
		if in == nil || in.next() != item.at || seen[item.id] {
			continue
		}
		seen[item.id] = true
		r := Run{Kind: RunDeadline, EventAt: item.at}
		switch {
		case !in.open:
			r.Kind = RunAbort
		case in.open && !in.closed && in.lapses(item.at):
			r.Kind = RunReturn
		case in.closed: // the next step's time begins when it is given, however late that is
			r.Kind, r.EventAt = RunLapsed, e.clock
		}
		if err := e.run(&p, in, r, rnd); err != nil {
			failed, cause = append(failed, item), err // one that cannot go on stops no other
		}
	}
	for _, item := range failed {
		heap.Push(&e.due, item)
	}
	if len(p.entries) == 1 {
		return Block{First: e.front.Size()}, cause
	}
	return e.commit(p)
}
