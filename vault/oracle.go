package vault

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"latchkey/contract"
	"latchkey/contract/oracle"
	"latchkey/wire"
)

// A Report brings values of an oracle, observed at one time, to an instance. Its
// authority is the signatures of the oracle's keys, which the agreement names:
// who brings it does not matter, nor when, for the contract says which time of
// observation it takes.
type Report struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
	Oracle   uint32          `cbor:"2,keyasint"` // in the order declared
	Signed   []oracle.Signed `cbor:"3,keyasint"` // by enough keys, in the order of the keys
}

// Hash names a report for its receipt.
func (r Report) Hash() (wire.Hash, error) { return wire.HashOf("latchkey/report/v1", r) }

// same reports whether two reports are one.
func (r Report) same(other Report) bool {
	a, err1 := r.Hash()
	b, err2 := other.Hash()
	return err1 == nil && err2 == nil && a == b
}

// observed verifies a report and returns what the contract's machine sees of it,
// brought at a time: the median, observed when the oracle says.
func (d *deal) observed(r Report, at int64) (contract.Event, error) {
	if int64(r.Oracle) >= int64(len(d.agreement.Oracles)) {
		return contract.Event{}, fmt.Errorf("the agreement names no oracle %d", r.Oracle)
	}
	value, when, err := d.agreement.Oracles[r.Oracle].Median(r.Signed)
	if err != nil {
		return contract.Event{}, err
	}
	return contract.Event{Kind: contract.Oracle, Oracle: int(r.Oracle), Value: value, Observed: when, At: at}, nil
}

// report lets an oracle's value move an instance. The receipt leaves at once and
// promises the entry.
func (e *Escrow) report(q Report, rnd io.Reader) (Answer, error) {
	in, err := e.instanceOf(q.Instance)
	if err != nil {
		return Answer{}, err
	}
	if _, err := in.deal.observed(q, e.clock); err != nil {
		return Answer{}, err
	}
	h, err := q.Hash()
	if err != nil {
		return Answer{}, err
	}
	receipt, err := e.receipt(h)
	if err != nil {
		return Answer{}, err
	}
	if slices.Contains(in.reports, h) {
		return e.say(receipt, 0) // brought before
	}
	if !in.open {
		return Answer{}, fmt.Errorf("instance %s is not open: %w", in.id.Short(), ErrNotReady)
	}
	at, err := e.within(in)
	if err != nil {
		return Answer{}, err
	}
	var p plan
	if err := e.run(&p, in, Run{Kind: RunReport, Report: &q, EventAt: at}, rnd); err != nil {
		return Answer{}, err
	}
	a, err := e.settle(p, receipt)
	a.Hold = 0
	return a, err
}

// within returns the time at which what a party says or brings now counts, or
// an error when the phase is over. What was on its way when the deadline passed
// counts in the last second before it.
func (e *Escrow) within(in *instance) (int64, error) {
	deadline, ok := in.deal.Deadline(in.state)
	switch {
	case !ok:
		return e.clock, nil
	case e.clock >= deadline+grace: // whether or not Due has come to it
		return 0, fmt.Errorf("instance %s: the deadline was %d, and it is %d: %w", in.id.Short(), deadline, e.clock, ErrExpired)
	}
	return min(e.clock, deadline-1), nil
}

// Bring prepares a report of an oracle's values in an instance of this vault. It
// is kept, and repeated until the log shows it or the escrow refuses it.
func (o *Owner) Bring(r Report) ([]Row, error) {
	fail := func(err error) ([]Row, error) {
		return nil, fmt.Errorf("bring a value of oracle %d to instance %s: %w", r.Oracle, r.Instance.Short(), err)
	}
	t := o.begin()
	in := t.instance(r.Instance)
	switch {
	case in == nil:
		return fail(ErrUnknown)
	case in.Closed:
		return fail(errors.New("it is closed"))
	case !in.Opened:
		return fail(ErrNotReady)
	case len(in.Brought) >= 16:
		return fail(errors.New("16 values are waiting for the escrow already"))
	}
	ev, err := in.Pledge.deal.observed(r, 0)
	if err != nil {
		return fail(err)
	}
	// A value that nobody waits for is refused here, before anybody hears of it.
	ev.At = max(in.state.Now(), ev.Observed)
	if _, _, err := in.Pledge.deal.Step(in.state, ev); err != nil {
		return fail(err)
	}
	if slices.ContainsFunc(in.Brought, r.same) {
		return nil, nil
	}
	in.Brought = append(in.Brought, r)
	rows, err := t.commit()
	if err != nil {
		return fail(err)
	}
	return rows, nil
}
