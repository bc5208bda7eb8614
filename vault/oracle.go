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
//
// A contract may take the values of one time again, in a later phase. After tells
// that from the same report on its way twice, or brought by two at once.
type Report struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
	Oracle   uint32          `cbor:"2,keyasint"` // in the order declared
	Signed   []oracle.Signed `cbor:"3,keyasint"` // by enough keys, in the order of the keys
	After    Index           `cbor:"4,keyasint"` // newest entry of the instance that whoever brings it has seen
}

// Hash names a report for its receipt.
func (r Report) Hash() (wire.Hash, error) { return wire.HashOf("latchkey/report/v1", r) }

// time returns when the values of r were observed; -1 if there are none.
func (r Report) time() int64 {
	if len(r.Signed) == 0 {
		return -1
	}
	return r.Signed[0].Value.Time
}

// same reports whether two reports of one instance bring values of one oracle for
// one time.
func (r Report) same(other Report) bool { return r.Oracle == other.Oracle && r.time() == other.time() }

// Brought is a report that waits for the log.
type Brought struct {
	Report  Report  `cbor:"1,keyasint"`
	Receipt Receipt `cbor:"2,keyasint"` // By 0: not yet. With it the escrow is not asked again, so a report that is withheld blocks no other
}

// maxTaken is how many of an instance's newest reports the escrow remembers.
const maxTaken = 1024

// A taken report is in the log.
type taken struct {
	hash   wire.Hash
	at     Index
	time   int64 // of the observation
	oracle uint32
}

// observed verifies a report and returns what the contract's machine sees of it,
// brought at a time: the median, observed when the oracle says.
func (d *deal) observed(r Report, at int64) (contract.Event, error) {
	if int64(r.Oracle) >= int64(len(d.agreement.Oracles)) {
		return contract.Event{}, fmt.Errorf("contract %s reads no oracle number %d", d.Program().Name(), r.Oracle+1)
	}
	value, when, err := d.agreement.Oracles[r.Oracle].Median(r.Signed)
	if err != nil {
		return contract.Event{}, fmt.Errorf("oracle %s: %w", d.Program().Oracles()[r.Oracle].Name, err)
	}
	return contract.Event{Kind: contract.Oracle, Oracle: int(r.Oracle), Value: value, Observed: when, At: at}, nil
}

// report lets an oracle's value move an instance. The receipt leaves at once and
// promises the entry. Values that were taken since whoever brings them looked last
// are not taken again on their word: the contract may wait for them anew, and this
// report was not meant for that.
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
	if q.After > in.last {
		return Answer{}, fmt.Errorf("a report after entry %d, and instance %s stands at %d", int64(q.After)-1, in.id.Short(), int64(in.last)-1)
	}
	if len(in.reports) == maxTaken && in.reports[0].at > q.After { // there may have been others in between
		return Answer{}, fmt.Errorf("a report after entry %d, and %d more were taken since: follow the log, and bring it again", int64(q.After)-1, maxTaken)
	}
	for i := len(in.reports) - 1; i >= 0 && in.reports[i].at > q.After; i-- {
		switch x := in.reports[i]; {
		case x.hash == h:
			return e.say(receipt, 0) // brought before
		case x.oracle == q.Oracle && x.time == q.time():
			return Answer{}, fmt.Errorf("entry %d has oracle %s at %d already, which whoever brought it had not seen", int64(x.at)-1, in.deal.Program().Oracles()[q.Oracle].Name, x.time)
		}
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
		return 0, fmt.Errorf("instance %s: the deadline was %s, and it is %s: %w", in.id.Short(), wire.UTC(deadline), wire.UTC(e.clock), ErrExpired)
	}
	return min(e.clock, deadline-1), nil
}

// Bring prepares a report of an oracle's values in an instance of this vault. It is
// kept until the log shows these values or the escrow refuses them, and repeated
// until the escrow has answered. Values of an oracle and time that wait already are
// returned as they wait.
func (o *Owner) Bring(r Report) (Report, []Row, error) {
	t := o.begin()
	in := t.instance(r.Instance)
	fail := func(err error) (Report, []Row, error) {
		return Report{}, nil, fmt.Errorf("bring a value to instance %s: %w", r.Instance.Short(), err)
	}
	if err := in.runs(); err != nil {
		return fail(err)
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
	if i := slices.IndexFunc(in.Brought, r.waits); i >= 0 {
		return in.Brought[i].Report, nil, nil
	}
	if len(in.Brought) >= 16 {
		if in.Brought[0].Receipt.By == 0 {
			return fail(errors.New("16 values are waiting for the escrow already"))
		}
		in.Brought = in.Brought[1:] // the receipt is with the host
	}
	in.Brought = append(in.Brought, Brought{Report: r})
	rows, err := t.commit()
	if err != nil {
		return fail(err)
	}
	return r, rows, nil
}

// waits reports whether a report that waits brings the same values.
func (r Report) waits(b Brought) bool { return r.same(b.Report) }

// promised keeps the escrow's receipt for a report.
func (t *tx) promised(q Report, r *Receipt) error {
	h, err := q.Hash()
	if err != nil {
		return err
	}
	if r == nil || r.Word != h {
		return errors.New("no receipt for the report that was brought")
	}
	if err := r.Verify(t.o.cfg.Escrow); err != nil {
		return err
	}
	if in := t.instance(q.Instance); in != nil {
		if i := slices.IndexFunc(in.Brought, q.waits); i >= 0 {
			in.Brought[i].Receipt = *r
		}
	}
	return nil
}
