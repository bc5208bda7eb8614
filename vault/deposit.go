package vault

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"latchkey/coin"
	"latchkey/contract"
	"latchkey/key"
	"latchkey/wire"
)

// A DepositOrder puts chunks into a later pot: the next ones of those whose weights
// the agreement has. Its authority is the signature of the party that fills the
// pot. It counts once everybody who may receive the chunks has acknowledged their
// shares; if that is not so by By, or its phase ends before, they go back. Epochs
// keep it from counting twice: every exit from an instance is a refresh.
type DepositOrder struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
	Pot      uint32          `cbor:"2,keyasint"` // index of the pot
	Chunks   []ChunkEpoch    `cbor:"3,keyasint"` // in the agreed order
	Phase    uint32          `cbor:"4,keyasint"` // index of the phase that it is for
	By       int64           `cbor:"5,keyasint"` // Unix seconds, before the phase's deadline
}

// Papers are what proves that the chunks of a deposit exist.
type Papers struct {
	Certs  []Made      `cbor:"1,keyasint"` // each once
	Chunks []key.Chunk `cbor:"2,keyasint"`
}

// Made is a certificate with who made its chunks.
type Made struct {
	Cert  key.SignedCertificate `cbor:"1,keyasint"`
	Owner wire.Identity         `cbor:"2,keyasint"`
}

// DepositAsk brings an order, and papers of its chunks.
type DepositAsk struct {
	Order  DepositOrder `cbor:"1,keyasint"`
	Sig    []byte       `cbor:"2,keyasint"` // over Order
	Papers Papers       `cbor:"3,keyasint"`
}

// Deposit records an order, and binds its chunks to the instance, before any share
// leaves its owner.
type Deposit struct {
	Order  DepositOrder `cbor:"1,keyasint"`
	Sig    []byte       `cbor:"2,keyasint"`
	Papers Papers       `cbor:"3,keyasint"`
	Chunks []Index      `cbor:"4,keyasint"` // previous entry of each chunk
	Prev   Index        `cbor:"5,keyasint"` // previous entry of the instance
}

// DepositAck is what a party signs that checked and stored the shares of a deposit.
type DepositAck struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
	Deposit  Index           `cbor:"2,keyasint"` // its entry
}

const (
	purposeDeposit    = "latchkey/deposit/v1"
	purposeDepositAck = "latchkey/deposit-ack/v1"
	// MaxDeposit is the greatest number of chunks in one deposit. A pot with more is
	// filled by several.
	MaxDeposit = 256
)

// late is a deposit that is in the log and has not gone back.
type late struct {
	Order  DepositOrder `cbor:"1,keyasint"`
	Entry  Index        `cbor:"2,keyasint"`
	Handed bool         `cbor:"3,keyasint"` // its shares are left for those who may receive them
	Acked  []bool       `cbor:"4,keyasint"` // by party: stored what was handed to it
	Taken  bool         `cbor:"5,keyasint"` // the contract has it
	Funded bool         `cbor:"6,keyasint"` // an owner's: its host has found the coins of the chunks
}

// isLater reports whether a pot is filled while the contract runs.
func (d *deal) isLater(pot int) bool { return d.Program().Pots()[pot].Later }

// agreeLater takes what the agreement says the chunks of a later pot are of.
func (d *deal) agreeLater(pot int) error {
	if len(d.later) >= len(d.agreement.Later) {
		return errors.New("it is filled later, and the agreement does not say of what denomination")
	}
	x := d.agreement.Later[len(d.later)]
	if err := x.Check(); err != nil {
		return err
	}
	if d.later == nil {
		d.later = map[int]coin.Denomination{}
	}
	d.later[pot] = x
	return d.checkAsset(pot, x.Asset.ID)
}

func lateAt(list []late, entry Index) *late {
	if i := slices.IndexFunc(list, func(l late) bool { return l.Entry == entry }); i >= 0 {
		return &list[i]
	}
	return nil
}

// markLate changes a deposit that waits.
func markLate(list []late, entry Index, set func(*late)) error {
	l := lateAt(list, entry)
	if l == nil || l.Taken {
		return fmt.Errorf("deposit of entry %d: %w", int64(entry)-1, ErrUnknown)
	}
	set(l)
	return nil
}

// counted lists the chunks of a later pot that the contract has had, in order.
func counted(list []late, pot int) (out []ChunkEpoch) {
	for _, l := range list {
		if l.Taken && int(l.Order.Pot) == pot {
			out = append(out, l.Order.Chunks...)
		}
	}
	return out
}

// lapses reports whether a deposit waits until a time and no longer.
func (in *instance) lapses(at int64) bool {
	return slices.ContainsFunc(in.late, func(l late) bool { return !l.Taken && l.Order.By <= at })
}

// giveBack returns the deposits that wait and are over.
func (c *change) giveBack(d *deal, over func(late) bool) {
	c.late = slices.DeleteFunc(slices.Clone(c.late), func(l late) bool {
		if l.Taken || !over(l) {
			return false
		}
		for _, ce := range l.Order.Chunks {
			c.moves = append(c.moves, move{ce.Chunk, d.parties[d.depositor(int(l.Order.Pot))]})
		}
		c.back += len(l.Order.Chunks)
		return true
	})
}

// event is what the contract's machine sees of a deposit.
func (o DepositOrder) event(at int64) contract.Event {
	return contract.Event{Kind: contract.Deposit, Pot: int(o.Pot), Value: int64(len(o.Chunks)), At: at}
}

func (o DepositOrder) same(other DepositOrder) bool {
	a, err1 := wire.Marshal(o)
	b, err2 := wire.Marshal(other)
	return err1 == nil && err2 == nil && string(a) == string(b)
}

func (o DepositOrder) verify(id wire.Identity, sig []byte) error {
	b, err := wire.Marshal(o)
	if err != nil {
		return err
	}
	return id.Verify(purposeDeposit, b, sig)
}

// checkDeposit verifies that an order fits the agreement and where the instance
// stands at a time.
func (in *instance) checkDeposit(o DepositOrder, at int64) error {
	d := in.deal
	until, runs := d.Deadline(in.state)
	pot := int(min(o.Pot, maxStakes))
	_, known := d.later[pot]
	switch {
	case !runs || in.closed:
		return errors.New("the contract is not open")
	case !known:
		return fmt.Errorf("pot %d is not one that is filled later", o.Pot)
	case int64(o.Phase) != int64(in.state.Phase()):
		return fmt.Errorf("it is for phase %d, and this is phase %d", o.Phase, in.state.Phase())
	case at >= o.By || o.By >= until:
		return fmt.Errorf("it waits until %s: not after %s, or not before the phase's deadline, %s: %w", wire.UTC(o.By), wire.UTC(at), wire.UTC(until), ErrExpired)
	case len(o.Chunks) == 0 || len(o.Chunks) > MaxDeposit || len(counted(in.late, pot))+len(o.Chunks) > len(d.weights[pot]):
		return fmt.Errorf("%d chunks, want 1 to %d, of %d that pot %s misses", len(o.Chunks), MaxDeposit, len(d.weights[pot])-len(counted(in.late, pot)), d.Program().Pots()[pot].Name)
	}
	seen := map[wire.ChunkID]bool{}
	for _, l := range in.late {
		if !l.Taken && l.Order.Pot == o.Pot {
			return fmt.Errorf("a deposit of this pot waits until %s: %w", wire.UTC(l.Order.By), ErrNotReady)
		}
	}
	for _, ce := range o.Chunks {
		if seen[ce.Chunk] || in.given[ce.Chunk] {
			return fmt.Errorf("chunk %s is named twice, or has been in this instance", ce.Chunk.Short())
		}
		seen[ce.Chunk] = true
	}
	_, _, err := d.Step(in.state, o.event(max(at, in.state.Now())))
	return err
}

// checkPapers verifies the papers of an order's chunks at a time: that there are
// such chunks, of the agreed denomination and weights, and good for long enough.
// They are the chunks of a pot from first on. It returns each chunk's certificate.
func (d *deal) checkPapers(o DepositOrder, p Papers, first int, escrow wire.Identity, at int64) (list []*ownCert, err error) {
	if len(p.Chunks) != len(o.Chunks) || len(p.Certs) > len(o.Chunks) {
		return nil, fmt.Errorf("%d papers with %d certificates of %d chunks", len(p.Chunks), len(p.Certs), len(o.Chunks))
	}
	certs := map[wire.CertID]*ownCert{}
	for _, m := range p.Certs {
		v, err := m.Cert.Verify(m.Owner, escrow, at)
		if err != nil {
			return nil, err
		}
		certs[v.ID()] = &ownCert{Signed: m.Cert, Owner: m.Owner, cert: v}
	}
	for i, paper := range p.Chunks {
		refuse := func(err error) error { return fmt.Errorf("chunk %s: %w", o.Chunks[i].Chunk.Short(), err) }
		oc := certs[paper.Cert]
		if oc == nil || paper.ID() != o.Chunks[i].Chunk {
			return nil, refuse(errors.New("the paper is of another chunk, or its certificate was not shown"))
		}
		if _, err := oc.cert.VerifyChunk(paper); err != nil {
			return nil, refuse(err)
		}
		switch c, want := oc.cert.Certificate(), d.weights[int(o.Pot)][first+i]; {
		case c.Denomination != d.later[int(o.Pot)]:
			return nil, refuse(fmt.Errorf("it is of denomination %s, the agreement says %s", c.Denomination.ID, d.later[int(o.Pot)].ID))
		case int64(c.Weight) != want:
			return nil, refuse(fmt.Errorf("it weighs %d, the agreement says %d", c.Weight, want))
		case d.ends() >= c.Expiry:
			return nil, refuse(fmt.Errorf("%w: its certificate ends at %s, the contract may run until %s", ErrExpired, wire.UTC(c.Expiry), wire.UTC(d.ends())))
		}
		list = append(list, oc)
	}
	return list, nil
}

// deposit binds the chunks of an order to its instance, before any share leaves
// their owner. The signature is the authority: any session may bring it.
func (e *Escrow) deposit(q DepositAsk, rnd io.Reader) (Answer, error) {
	in, err := e.instanceOf(q.Order.Instance)
	if err != nil {
		return Answer{}, err
	}
	if slices.ContainsFunc(in.late, func(l late) bool { return l.Order.same(q.Order) }) {
		return e.say(Reply{}, 0)
	}
	refuse := func(err error) (Answer, error) {
		return Answer{}, fmt.Errorf("deposit into instance %s: %w", in.id.Short(), err)
	}
	if !in.open {
		return refuse(ErrNotReady)
	}
	if err := in.checkDeposit(q.Order, e.clock); err != nil {
		return refuse(err)
	}
	d, pot := in.deal, int(q.Order.Pot)
	from := d.parties[d.depositor(pot)]
	if err := q.Order.verify(e.vaults[from].Identity, q.Sig); err != nil {
		return refuse(err)
	}
	first := len(counted(in.late, pot))
	if _, err := d.checkPapers(q.Order, q.Papers, first, e.cfg.Identity, e.clock); err != nil {
		return refuse(err)
	}
	n := &Deposit{Order: q.Order, Sig: q.Sig, Papers: q.Papers, Prev: in.last}
	for i, ce := range q.Order.Chunks {
		prev, err := e.checkStake(d, pot, Stake{ce.Chunk, ce.Epoch, uint32(d.weights[pot][first+i])})
		if err != nil {
			return refuse(err)
		}
		n.Chunks = append(n.Chunks, prev)
	}
	p := plan{entries: []Entry{{Deposit: n}}}
	after := in.with(n, Index(e.front.Size()+1))
	if l := after.late[len(after.late)-1]; d.acknowledged(l) { // nobody may receive another's chunk
		if err := e.run(&p, after, Run{Kind: RunDeposit, Deposit: l.Entry, EventAt: e.clock}, rnd); err != nil {
			return refuse(err)
		}
	}
	a, err := e.settle(p, Reply{})
	a.Hold = 0
	return a, err
}

// with returns the instance as it is with one more deposit.
func (in *instance) with(n *Deposit, at Index) *instance {
	next := *in
	next.last = at
	next.late = append(slices.Clone(in.late), late{Order: n.Order, Entry: at, Acked: make([]bool, len(in.deal.parties))})
	return &next
}

// acknowledged reports whether everybody who may receive a deposit's chunks has
// their shares.
func (d *deal) acknowledged(l late) bool {
	for role := range d.parties {
		if d.receives(int(l.Order.Pot), role) && !l.Acked[role] {
			return false
		}
	}
	return true
}

func (e *Escrow) applyDeposit(n *Deposit, at Index) error {
	in := e.instances[n.Order.Instance]
	if in == nil {
		return fmt.Errorf("instance %s: %w", n.Order.Instance.Short(), ErrUnknown)
	}
	for _, ce := range n.Order.Chunks {
		c := e.chunks.at(ce.Chunk)
		if c == nil {
			return fmt.Errorf("deposit: chunk %s: %w", ce.Chunk.Short(), ErrUnknown)
		}
		c.instance, c.last = in, at
	}
	*in = *in.with(n, at)
	e.plan(in)
	return nil
}

// depositOf returns a deposit, nil if it does not wait any more, and the party that
// a vault is.
func (e *Escrow) depositOf(from wire.VaultID, id wire.InstanceID, entry Index) (in *instance, l *late, role int, err error) {
	if _, over := e.ended[id]; over {
		return nil, nil, 0, nil
	}
	if in, err = e.instanceOf(id); err != nil {
		return nil, nil, 0, err
	}
	if role = in.deal.role(from); role < 0 {
		return nil, nil, 0, fmt.Errorf("vault %s is no party of instance %s", from.Short(), id.Short())
	}
	if l = lateAt(in.late, entry); l != nil && l.Taken {
		l = nil
	}
	return in, l, role, nil
}

// handDeposit stores a depositor's sealed shares for those who may receive them.
func (e *Escrow) handDeposit(from wire.VaultID, q HandAsk) (Answer, error) {
	in, l, role, err := e.depositOf(from, q.Instance, q.Deposit)
	if err != nil {
		return Answer{}, err
	}
	if l == nil || l.Handed {
		return e.say(Reply{}, 0)
	}
	d, pot := in.deal, int(l.Order.Pot)
	if d.depositor(pot) != role {
		return Answer{}, fmt.Errorf("vault %s hands nothing over for the deposit of entry %d", from.Short(), int64(l.Entry)-1)
	}
	p := plan{entries: []Entry{{Hand: &Hand{Instance: q.Instance, Role: uint32(role), Prev: in.last, Deposit: l.Entry}}}, mail: map[string]Mail{}}
	rest := q.Mail
	for to, v := range d.parties {
		if !d.receives(pot, to) {
			continue
		}
		if err := checkMail(rest, from, v, l.Order.Chunks); err != nil {
			return Answer{}, fmt.Errorf("shares for party %d: %w", to, err)
		}
		if p.rows, err = addMail(p.rows, p.mail, mailRow(v, l.Entry), rest[0]); err != nil {
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

// fetchDeposit returns the shares of a deposit that were left for a party.
func (e *Escrow) fetchDeposit(from wire.VaultID, q Fetch) (Answer, error) {
	_, l, _, err := e.depositOf(from, q.Instance, q.Step)
	if err != nil {
		return Answer{}, err
	}
	var r Reply
	if m, ok := e.mail[mailRow(from, q.Step)]; ok && l != nil {
		r.Mail = []Mail{m}
	}
	a, err := e.say(r, 0) // its owner let it go
	a.Early = l != nil && !l.Handed
	return a, err
}

// ackDeposit records that a party stored the shares of a deposit; with the last one
// the contract takes it.
func (e *Escrow) ackDeposit(from wire.VaultID, q AckAsk, rnd io.Reader) (Answer, error) {
	in, l, role, err := e.depositOf(from, q.Instance, q.Deposit)
	if err != nil {
		return Answer{}, err
	}
	if l == nil || l.Acked[role] {
		return e.say(Reply{}, 0)
	}
	b, err := wire.Marshal(DepositAck{q.Instance, l.Entry})
	if err == nil {
		err = e.vaults[from].Identity.Verify(purposeDepositAck, b, q.Sig)
	}
	switch {
	case err != nil:
		return Answer{}, err
	case !in.deal.receives(int(l.Order.Pot), role):
		return Answer{}, fmt.Errorf("vault %s is handed nothing of the deposit of entry %d", from.Short(), int64(l.Entry)-1)
	case !l.Handed:
		return Answer{}, fmt.Errorf("the shares of the deposit of entry %d have not been handed over: %w", int64(l.Entry)-1, ErrNotReady)
	case e.clock > l.Order.By:
		return Answer{}, fmt.Errorf("the deposit of entry %d waited until %s, and it is %s: %w", int64(l.Entry)-1, wire.UTC(l.Order.By), wire.UTC(e.clock), ErrExpired)
	}
	p := plan{entries: []Entry{{Ack: &Ack{Instance: q.Instance, Role: uint32(role), Prev: in.last, Sig: q.Sig, Deposit: l.Entry}}}}
	after := *in
	after.last, after.late = Index(e.front.Size()+1), slices.Clone(in.late)
	x := lateAt(after.late, l.Entry)
	x.Acked = slices.Clone(x.Acked)
	if x.Acked[role] = true; in.deal.acknowledged(*x) {
		if err := e.run(&p, &after, Run{Kind: RunDeposit, Deposit: l.Entry, EventAt: e.clock}, rnd); err != nil {
			return Answer{}, err
		}
	}
	a, err := e.settle(p, Reply{})
	a.Hold = 0
	return a, err
}
