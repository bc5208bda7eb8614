package actus

import (
	"errors"
	"math/big"
	"slices"
	"sort"
	"time"
)

// Plan is what a contract comes to: payments to the one who keeps its record, or a guarantee.
type Plan struct {
	Name      string
	seen      []observation
	kept      []kept
	payments  []payment
	guarantee *guarantee
}

// observation is a value of a market object at a time.
type observation struct {
	object string
	at     time.Time
	value  *big.Rat // what was observed, for the play
	exact  int      // decimal digits that it has to be reported with
	valueRange
}

// payment is due on a day; less than nothing is paid by the one who keeps the record.
type payment struct {
	at       time.Time
	currency string
	amount   *formula
	kind     string
	called   bool // by an event that was observed: due whenever it is
}

// builder makes a plan of a case.
type builder struct {
	c      Case
	plan   Plan
	status time.Time
	to     time.Time
	trace  []exposure // of the loan that was looked at last
}

// Translate makes a plan of a case, or refuses with ErrLeftOut.
func Translate(c Case) (*Plan, error) {
	b := builder{c: c, plan: Plan{Name: c.Terms.text("contractType")}}
	var err error
	if b.status, err = c.Terms.need("statusDate"); err != nil {
		return nil, err
	}
	b.to = farAway
	if c.To != "" {
		if b.to, err = parseTime(c.To); err != nil {
			return nil, err
		}
	}
	sign, err := c.Terms.sign()
	if err != nil {
		return nil, err
	}
	list, err := b.contract(c.Terms, sign)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		if p.at.After(b.status) && (p.called || !p.at.After(b.to)) && !p.amount.is(0) {
			if p.amount.size > maxSize {
				return nil, leftOut("an amount depends on too many observed values")
			}
			b.due(p)
		}
	}
	for i, p := range b.plan.payments {
		f := b.tidy(p.amount)
		last := b.plan.last(f)
		if last >= 0 && b.plan.seen[last].at.After(p.at) {
			return nil, leftOut("something is paid on %s that depends on a value of %s", p.at.Format(time.DateOnly), b.plan.seen[last].at.Format(time.DateOnly))
		}
		b.plan.payments[i].amount = b.plan.parted(f, last)
	}
	sort.SliceStable(b.plan.payments, func(i, j int) bool { return b.plan.payments[i].at.Before(b.plan.payments[j].at) })
	b.unseen()
	return &b.plan, nil
}

// due adds a payment to the plan. What is due at one moment in one currency is one payment, which is rounded once; but what is known
// from the start stays apart from what is not, since its chunks can be fitted to it.
func (b *builder) due(p payment) {
	for i, q := range b.plan.payments {
		if q.at.Equal(p.at) && q.currency == p.currency && (q.amount.op == opConst) == (p.amount.op == opConst) {
			sum := plus(q.amount, p.amount)
			if s := plus(times(whole(-1), q.amount), times(whole(-1), p.amount)); s.size < sum.size {
				sum = times(whole(-1), s)
			}
			b.plan.payments[i].amount = sum
			return
		}
	}
	b.plan.payments = append(b.plan.payments, p)
}

// tidy decides what the bounds decide.
func (b *builder) tidy(f *formula) *formula {
	switch f.op {
	case opAdd, opMul:
		return apply(f.op, b.tidy(f.a), b.tidy(f.b))
	case opMin:
		return b.lesser(b.tidy(f.a), b.tidy(f.b))
	case opMax:
		return b.greatest(b.tidy(f.a), b.tidy(f.b))
	}
	return f
}

// unseen drops what no payment needs, as observations after the end of a case.
func (b *builder) unseen() {
	if b.plan.guarantee != nil {
		return
	}
	seen, keeps := make(map[int]bool), make(map[int]bool)
	for _, p := range b.plan.payments {
		p.amount.uses(seen, keeps)
	}
	for i := len(b.plan.kept) - 1; i >= 0; i-- { // what a kept value names was kept before it
		if keeps[i] {
			b.plan.kept[i].f.uses(seen, keeps)
		}
	}
	var observations []observation
	index, keptIndex := make(map[int]int), make(map[int]int)
	for i, o := range b.plan.seen {
		if seen[i] {
			index[i] = len(observations)
			observations = append(observations, o)
		}
	}
	var values []kept
	for i, k := range b.plan.kept {
		if keeps[i] {
			keptIndex[i] = len(values)
			k.f, k.last = k.f.renumbered(index, keptIndex), index[k.last]
			values = append(values, k)
		}
	}
	b.plan.seen, b.plan.kept = observations, values
	for i, p := range b.plan.payments {
		b.plan.payments[i].amount = p.amount.renumbered(index, keptIndex)
	}
}

// farAway is when a record ends of which nobody says when.
var farAway = time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)

// see is the value of a market object at a time: the newest that is not later.
func (b *builder) see(object string, at time.Time) (*formula, error) {
	if object == "" {
		return nil, leftOut("no market object is named")
	}
	for i, o := range b.plan.seen {
		if o.object == object && o.at.Equal(at) {
			return observed(i), nil
		}
	}
	o := observation{object: object, at: at}
	var newest time.Time
	limit := new(big.Rat)
	negative := false
	for _, d := range b.c.Data[object].Data {
		t, err := parseTime(d.Timestamp)
		if err != nil {
			return nil, err
		}
		v, err := d.Value.Rat()
		if err != nil {
			return nil, err
		}
		if negative = negative || v.Sign() < 0; new(big.Rat).Abs(v).Cmp(limit) > 0 {
			limit.Abs(v)
		}
		if !t.After(at) && (o.value == nil || !t.Before(newest)) {
			o.value, newest = v, t
		}
	}
	if o.value == nil {
		return nil, leftOut("no value of %s is observed by %s", object, at.Format(time.DateOnly))
	}
	// What an oracle may report is agreed on first, and bounds what is locked. The terms of ACTUS have no such bound: it is the
	// power of ten that is above twice the greatest value of the whole series.
	o.hi = above(limit)
	if o.lo = new(big.Rat); negative {
		o.lo = new(big.Rat).Neg(o.hi)
	}
	b.plan.seen = append(b.plan.seen, o)
	return observed(len(b.plan.seen) - 1), nil
}

// reported is an amount that an oracle has to tell, which has no series: what was paid on a day. It may be up to the power of ten that
// is above twice the amount, and below zero if both may pay.
func (b *builder) reported(object string, at time.Time, value *big.Rat, both bool) (*formula, error) {
	if value.Sign() < 0 && !both {
		return nil, leftOut("less than nothing was paid ahead")
	}
	o := observation{object: object, at: at, value: value}
	o.hi = above(new(big.Rat).Abs(value))
	if o.lo = new(big.Rat); both {
		o.lo = new(big.Rat).Neg(o.hi)
	}
	b.plan.seen = append(b.plan.seen, o)
	return observed(len(b.plan.seen) - 1), nil
}

// above is the power of ten that is above twice an amount.
func above(r *big.Rat) *big.Rat {
	hi := big.NewRat(1, 1_000_000)
	for hi.Cmp(new(big.Rat).Add(r, r)) <= 0 {
		hi = new(big.Rat).Mul(hi, big.NewRat(10, 1))
	}
	return hi
}

// contract returns the payments of a contract, of any type that is known.
func (b *builder) contract(t Terms, sign int64) ([]payment, error) {
	loan := slices.Contains([]string{"PAM", "LAM", "NAM", "ANN", "LAX", "CLM", "UMP"}, t.text("contractType"))
	guarantee := t.text("contractType") == "CEC" || t.text("contractType") == "CEG"
	if fee, err := t.number("feeRate", 0); !loan && !guarantee && (err != nil || fee.Sign() != 0) {
		return nil, errors.Join(leftOut("fees are translated for loans and guarantees alone"), err)
	}
	if c := t.text("settlementCurrency"); c != "" && c != t.text("currency") {
		return nil, leftOut("it is settled in another currency than its own")
	}
	var list []payment
	var err error
	switch typ := t.text("contractType"); typ {
	case "CSH":
	case "STK", "COM":
		list, err = b.holding(t, sign)
	case "FUTUR", "OPTNS":
		list, err = b.derivative(t, sign)
	case "FXOUT":
		list, err = b.exchange(t, sign)
	case "PAM", "LAM", "NAM", "ANN", "LAX", "CLM", "UMP":
		list, err = b.loan(t, sign)
	case "SWAPS":
		list, err = b.swap(t, sign)
	case "SWPPV":
		list, err = b.rates(t, sign)
	case "CAPFL":
		list, err = b.capFloor(t, sign)
	case "BCS":
		list, err = b.boundary(t)
	case "CEC", "CEG":
		list, err = b.guaranteed(t, sign)
	default:
		err = leftOut("the type %q is not translated", typ)
	}
	if err != nil {
		return nil, err
	}
	if !loan {
		return b.traded(t, sign, list)
	}
	return list, nil
}

// traded adds what is paid for the contract itself: at its purchase, before which nothing is due to the buyer, and at its
// termination, after which nothing is.
func (b *builder) traded(t Terms, sign int64, list []payment) ([]payment, error) {
	// A holding is bought and sold by the piece, other contracts as a whole.
	pieces := big.NewRat(1, 1)
	typ := t.text("contractType")
	if typ == "STK" || typ == "COM" {
		n, err := t.number("quantity", 1)
		if err != nil {
			return nil, err
		}
		pieces = n
	}
	bought, ok, err := t.date("purchaseDate")
	if err != nil {
		return nil, err
	}
	if ok {
		price, err := t.number("priceAtPurchaseDate", 0)
		if err != nil {
			return nil, err
		}
		list = slices.DeleteFunc(list, func(p payment) bool { return p.at.Before(bought) })
		paid := -sign
		if typ == "SWAPS" {
			paid = 1 // as the reference has it: so is the price of a swap of two contracts
		}
		list = append(list, payment{at: bought, currency: t.text("currency"), amount: times(whole(paid), constant(price.Mul(price, pieces))), kind: "PRD"})
	}
	sold, ok, err := t.date("terminationDate")
	if err != nil {
		return nil, err
	}
	if ok {
		price, err := t.number("priceAtTerminationDate", 0)
		if err != nil {
			return nil, err
		}
		list = slices.DeleteFunc(list, func(p payment) bool { return p.at.After(sold) })
		if typ == "FXOUT" || typ == "SWAPS" || typ == "SWPPV" {
			sign = 1 // the price of ending an exchange is what the one who keeps the record receives, on either side
		}
		list = append(list, payment{at: sold, currency: t.text("currency"), amount: times(whole(sign), constant(price.Mul(price, pieces))), kind: "TD"})
	}
	return list, nil
}
