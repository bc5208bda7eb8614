package vault

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"

	"latchkey/settle"
	"latchkey/wire"
)

// A step is what a tit-for-tat settlement gives at once.
type step struct {
	to    int // the party that it is for, and that says what became of it
	moves []move
}

// plan lays out the steps of a tit-for-tat settlement, which follow from the
// agreement alone. What the contract returns to its depositor goes with the first.
func (d *deal) plan() error {
	if p := d.Program(); len(p.Parties()) != 2 || len(p.Phases()) != 0 {
		return fmt.Errorf("contract %s cannot be settled tit for tat: it is not an exchange of two parties that is over when it opens", p.Name())
	}
	if len(d.later) > 0 {
		return errors.New("a later pot cannot be settled tit for tat: its chunks are not there when the exchange begins")
	}
	_, o, err := d.Open(d.weights, 0)
	if err != nil {
		return err
	}
	var back []move
	var sides [2][]int64
	var gives [2][]move
	for _, g := range o.Gives {
		m, from := move{d.agreement.Pots[g.Pot][g.Chunk].Chunk, d.parties[g.To]}, d.depositor(g.Pot)
		if g.To == from {
			back = append(back, m)
			continue
		}
		sides[from], gives[from] = append(sides[from], d.weights[g.Pot][g.Chunk]), append(gives[from], m)
	}
	steps, err := d.agreement.Pace.Plan(sides)
	if err != nil {
		return err
	}
	for _, s := range steps {
		next := step{to: 1 - s.Side, moves: back}
		for _, i := range s.Chunks {
			next.moves = append(next.moves, gives[s.Side][i])
		}
		d.steps, back = append(d.steps, next), nil
	}
	d.loss, err = settle.Loss(steps, sides)
	return err
}

// ends returns the time by which an instance is settled, if what is due happens
// when it is due.
func (d *deal) ends() int64 {
	if d.steps == nil {
		return d.LastDeadline(d.agreement.LockBy)
	}
	return d.agreement.LockBy + d.agreement.Pace.Span(len(d.steps))
}

// wait returns when a step given at a time lapses.
func (d *deal) wait(at int64) int64 { return at + int64(d.agreement.Pace.Wait) }

// An Outlook is what follows from an agreement before anybody signs it.
type Outlook struct {
	// Loss is, for each party, the most that it can lose if what it gets is worth
	// nothing or the others stop half-way, in units of what it puts in: everything
	// that others may be given, or, tit for tat, what settle.Loss says.
	Loss  []int64
	Turns []int // of tit-for-tat: for each step the party that it is for, and whose word it waits for
	Ends  int64 // by when it is settled, if what is due happens when it is due
}

// Outlook returns what follows from an agreement.
func (a Agreement) Outlook() (Outlook, error) {
	d, err := a.bind()
	if err != nil {
		return Outlook{}, err
	}
	out := Outlook{Loss: d.loss[:], Ends: d.ends()}
	for _, s := range d.steps {
		out.Turns = append(out.Turns, s.to)
	}
	if d.steps != nil {
		return out, nil
	}
	out.Loss = make([]int64, len(d.parties))
	for pot := range a.Pots {
		for to := range d.parties {
			if d.receives(pot, to) {
				out.Loss[d.depositor(pot)] += d.PotUnits(pot)
				break
			}
		}
	}
	return out, nil
}

// A StepWord is what the receiver of a step says of it: that it has claimed or
// keeps its chunks, or that they failed.
type StepWord struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
	Step     uint32          `cbor:"2,keyasint"` // from 1
	Failed   bool            `cbor:"3,keyasint"`
}

// SignedStep is a step word with its party's signature.
type SignedStep struct {
	Body StepWord `cbor:"1,keyasint"`
	Sig  []byte   `cbor:"2,keyasint"`
}

const purposeStep = "latchkey/step/v1"

func (w StepWord) sign(k ed25519.PrivateKey) (*SignedStep, error) {
	b, err := wire.Marshal(w)
	if err != nil {
		return nil, err
	}
	return &SignedStep{w, wire.Sign(k, purposeStep, b)}, nil
}

// Verify returns an error unless the vault with these keys said w.
func (w SignedStep) Verify(id wire.Identity) error {
	b, err := wire.Marshal(w.Body)
	if err != nil {
		return err
	}
	return id.Verify(purposeStep, b, w.Sig)
}

// Hash names a step word for its receipt.
func (w SignedStep) Hash() (wire.Hash, error) { return wire.HashOf("latchkey/signed-step/v1", w) }

// timed reports whether time brings a run of this kind.
func (k RunKind) timed() bool {
	return k == RunDeadline || k == RunAbort || k == RunLapsed || k == RunReturn
}

// contract reports whether a run of this kind is a step of the contract.
func (k RunKind) contract() bool {
	return k == RunOpen || k == RunWord || k == RunDeadline || k == RunReport || k == RunDeposit
}

// settles reports whether a run of this kind is a step of a settlement.
func (k RunKind) settles() bool { return k == RunTaken || k == RunLapsed || k == RunFailed }

// step lets the receiver of the open step say what became of it. The signature is
// the authority. The receipt leaves at once and promises the entry.
func (e *Escrow) step(w SignedStep, rnd io.Reader) (Answer, error) {
	if _, over := e.ended[w.Body.Instance]; over {
		return e.say(Reply{}, 0)
	}
	in, err := e.instanceOf(w.Body.Instance)
	if err != nil {
		return Answer{}, err
	}
	h, err := w.Hash()
	if err != nil {
		return Answer{}, err
	}
	receipt, err := e.receipt(h)
	if err != nil {
		return Answer{}, err
	}
	switch {
	case !in.closed || int64(w.Body.Step) > int64(in.steps):
		return Answer{}, fmt.Errorf("instance %s has not come to step %d: %w", in.id.Short(), w.Body.Step, ErrNotReady)
	case h == in.spoke:
		return e.say(receipt, 0) // said before
	case int64(w.Body.Step) < int64(in.steps) || e.clock >= in.next()+grace: // whether or not Due has come to it
		return Answer{}, fmt.Errorf("instance %s: step %d is over: %w", in.id.Short(), w.Body.Step, ErrExpired)
	}
	id, _ := e.identity(in.deal.parties[in.deal.steps[in.steps-1].to])
	if err := w.Verify(id); err != nil {
		return Answer{}, err
	}
	r := Run{Kind: RunTaken, Step: &w, EventAt: e.clock}
	if w.Body.Failed {
		r.Kind = RunFailed
	}
	var p plan
	if err := e.run(&p, in, r, rnd); err != nil {
		return Answer{}, err
	}
	a, err := e.settle(p, receipt)
	a.Hold = 0
	return a, err
}

// checkStep verifies that what became of the open step is its receiver's own
// word, said in time.
func (in *running) checkStep(n Entry) error {
	r, d := n.Run, in.Pledge.deal
	if r.Step == nil || r.Step.Body != (StepWord{r.Instance, in.Steps, r.Kind == RunFailed}) {
		return fmt.Errorf("%w: no word about step %d", ErrDeviate, in.Steps)
	}
	if err := r.Step.Verify(in.Pledge.Parties[d.steps[in.Steps-1].to]); err != nil {
		return fmt.Errorf("%w: step %d: %w", ErrDeviate, in.Steps, err)
	}
	if n.At >= d.wait(in.StepAt)+grace {
		return fmt.Errorf("%w: a word about step %d at %d, the deadline is %d", ErrDeviate, in.Steps, n.At, d.wait(in.StepAt))
	}
	return nil
}

// open returns the chunks of the newest step, if it is for v and v has not said
// what became of it.
func (in *running) open(v wire.VaultID) (out []wire.ChunkID) {
	d := in.Pledge.deal
	if !in.Closed || in.Settled || in.Step != nil || d.parties[d.steps[in.Steps-1].to] != v {
		return nil
	}
	for _, m := range d.steps[in.Steps-1].moves {
		if m.to == v {
			out = append(out, m.chunk)
		}
	}
	return out
}

// Took says what became of the open step of an instance: its chunks are here and
// kept, or one of those that this vault was given so far failed. It is said once,
// and repeated until the log goes on.
func (o *Owner) Took(id wire.InstanceID, failed bool) ([]Row, error) {
	fail := func(err error) ([]Row, error) { return nil, fmt.Errorf("step of instance %s: %w", id.Short(), err) }
	t := o.begin()
	in := t.instance(id)
	if in == nil {
		return fail(ErrUnknown)
	}
	chunks := in.open(o.self)
	if len(chunks) == 0 {
		return fail(errors.New("no step waits for this vault's word"))
	}
	for _, c := range chunks {
		if x := o.chunks[c]; !failed && !(x != nil && (o.owns(x) || x.Swept)) {
			return fail(fmt.Errorf("chunk %s: its share has not arrived: %w", c.Short(), ErrNotReady))
		}
	}
	if err := t.took(in, id, failed); err != nil {
		return fail(err)
	}
	return t.commit()
}

func (t *tx) took(in *running, id wire.InstanceID, failed bool) (err error) {
	in.Step, err = StepWord{id, in.Steps, failed}.sign(t.o.cfg.Sign)
	return err
}

// stepsClaimed takes a claim of all chunks of a step for the word that they are
// kept.
func (t *tx) stepsClaimed() error {
	for _, id := range sorted(t.o.running) {
		chunks := t.o.running[id].open(t.o.self)
		all := len(chunks) > 0
		for _, c := range chunks {
			x := t.peek(c)
			all = all && x != nil && x.Claim
		}
		if !all {
			continue
		}
		if err := t.took(t.instance(id), id, false); err != nil {
			return err
		}
	}
	return nil
}
