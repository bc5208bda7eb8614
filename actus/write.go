package actus

import (
	"cmp"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"latchkey/contract"
	"latchkey/studio/figures"
)

// Written is a plan as a contract, with all that it takes to open an instance.
type Written struct {
	Source  string
	Deal    *contract.Deal
	Weights [][]int64
	Scale   Scale
	Off     float64 // by how many units a payment may be off before it is rounded, a bound; 0 of a guarantee, where it is not computed
	Start   time.Time
	plan    *Plan
	pots    []string // currencies
	objects []string // what each oracle reports
}

// tooLarge bounds what a formula may come to: a contract counts in 64 bits.
var tooLarge = new(big.Rat).SetInt64(1 << 61)

// Write makes a contract of a plan, with at most so many digits of money, and at most units units in all pots that depend on
// observed values: fewer units are fewer endings, which is what an exploration takes. Figures have as many digits as keep each payment
// within an eighth of a unit of what it is exactly; what is rounded when it is kept may add up to a unit.
func (p *Plan) Write(digits int, units int64) (*Written, error) {
	if len(p.payments) == 0 && p.guarantee == nil {
		return nil, leftOut("nothing is ever paid")
	}
	var refused error
	for money := digits; money >= -12; money-- {
		if p.largest(money).Cmp(big.NewInt(units)) > 0 {
			continue
		}
		for _, scale := range p.scales(money, units) {
			w := &writer{plan: p, scale: scale, limit: units, now: -1}
			out, err := w.write()
			if errors.Is(err, errScale) {
				refused = err
				continue
			}
			return out, err
		}
	}
	return nil, leftOut("its amounts have no scale at which they fit (%v)", refused)
}

// errScale is wrapped where other digits may serve.
var errScale = errors.New("does not fit at this scale")

type writer struct {
	plan      *Plan
	scale     Scale
	limit     int64
	head      strings.Builder
	body      strings.Builder
	terms     []int64
	pots      []string
	weights   [][]int64
	objects   []string
	start     time.Time
	now       int // the observation that is written: its value is at hand
	fixedPots []fixedPot
	slots     []slot
}

// power is 10^n.
func power(n int) *big.Rat {
	p := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(n, -n))), nil))
	if n < 0 {
		p.Inv(p)
	}
	return p
}

// toward0 scales by 10^digits and rounds toward zero.
func toward0(r *big.Rat, digits int) *big.Int {
	r = new(big.Rat).Mul(r, power(digits))
	return new(big.Int).Quo(r.Num(), r.Denom())
}

// nearest scales by 10^digits and rounds to the nearest.
func nearest(r *big.Rat, digits int) *big.Int {
	half := big.NewRat(int64(r.Sign()), 2)
	r = new(big.Rat).Add(new(big.Rat).Mul(r, power(digits)), half)
	return new(big.Int).Quo(r.Num(), r.Denom())
}

func (w *writer) write() (*Written, error) {
	p := w.plan
	w.start = w.first().AddDate(0, 0, -1)
	w.terms = append(w.terms, w.start.Unix())
	fmt.Fprintf(&w.head, "contract Actus%s\nparties keeper, other\nterm start : time\n", p.Name)
	var err error
	if p.guarantee != nil {
		err = w.guaranteed(p.guarantee)
	} else {
		err = w.paid()
	}
	if err != nil {
		return nil, err
	}
	w.counters()
	source := w.head.String() + w.body.String()
	program, err := contract.Compile([]byte(source))
	if err != nil {
		if strings.Contains(err.Error(), "64 bits") || strings.Contains(err.Error(), "overflow") || strings.Contains(err.Error(), "too large") {
			return nil, fmt.Errorf("%w: %w", errScale, err)
		}
		return nil, leftOut("the language refuses it: %v", err)
	}
	deal, err := program.Bind(w.terms)
	if err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	off := 0.0
	if p.guarantee == nil {
		off = p.off(w.scale)
	}
	return &Written{source, deal, w.weights, w.scale, off, w.start, p, w.pots, w.objects}, nil
}

// first is the first moment at which something happens.
func (w *writer) first() time.Time {
	var all []time.Time
	for _, o := range w.plan.seen {
		all = append(all, o.at)
	}
	for _, p := range w.plan.payments {
		all = append(all, p.at)
	}
	if g := w.plan.guarantee; g != nil {
		all = []time.Time{g.stretches[0].from}
		for _, p := range w.plan.payments {
			all = append(all, p.at)
		}
	}
	return slices.MinFunc(all, time.Time.Compare)
}

// when is a time as a formula over the start.
func (w *writer) when(at time.Time) string {
	s := at.Unix() - w.start.Unix()
	if s%86400 == 0 {
		return fmt.Sprintf("start + %d days", s/86400)
	}
	return fmt.Sprintf("start + %d seconds", s)
}

// oracle declares the oracle of a market object, if it is not there, and returns its number.
func (w *writer) oracle(object string, r valueRange) (int, error) {
	if i := slices.Index(w.objects, object); i >= 0 {
		return i, nil
	}
	lo, hi := nearest(r.lo, w.scale.Figures), nearest(r.hi, w.scale.Figures)
	if new(big.Rat).SetInt(hi).Cmp(tooLarge) > 0 {
		return 0, errScale
	}
	w.objects = append(w.objects, object)
	fmt.Fprintf(&w.head, "oracle o%d in %s..%s # %s\n", len(w.objects), lo, hi, printable(object))
	return len(w.objects) - 1, nil
}

// printable keeps what a comment may have.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// pot declares a pot of so many units and returns its name.
func (w *writer) pot(from, currency string, weights []int64) (string, error) {
	var sum int64
	for _, u := range weights {
		sum += u
	}
	w.pots = append(w.pots, currency)
	w.weights = append(w.weights, weights)
	name := fmt.Sprintf("p%d", len(w.pots))
	// Each currency is an asset that the agreement names.
	n := slices.Index(w.pots, currency) + 1
	if n == len(w.pots) {
		fmt.Fprintf(&w.head, "term currency%d : asset # %s\n", n, printable(currency))
	}
	fmt.Fprintf(&w.head, "pot %s = %d units of currency%d from %s\n", name, sum, n, from)
	return name, nil
}

// maxWeight is the most that one chunk weighs here.
const maxWeight = 2_000_000_000

// ladder is chunks of which every amount up to units can be made.
func ladder(units int64) []int64 {
	full := max(0, units/maxWeight-1)
	list := slices.Repeat([]int64{maxWeight}, int(full))
	return append(list, figures.Ladder(units-full*maxWeight)...)
}

// exactly is chunks of one amount, that is given as a whole.
func exactly(units int64) []int64 {
	list := slices.Repeat([]int64{maxWeight}, int(units/maxWeight))
	if rest := units % maxWeight; rest > 0 {
		list = append(list, rest)
	}
	return list
}

// formula writes a formula that counts 10^-Figures.
func (w *writer) formula(f *formula) (string, error) {
	switch f.op {
	case opConst:
		n := nearest(f.value, w.scale.Figures)
		if new(big.Rat).Abs(new(big.Rat).SetInt(n)).Cmp(tooLarge) > 0 {
			return "", errScale
		}
		return n.String(), nil
	case opSeen:
		if f.index == w.now {
			return fmt.Sprintf("o%d", slices.Index(w.objects, w.plan.seen[f.index].object)+1), nil
		}
		return w.held("v", f.index), nil
	case opKept:
		k := w.plan.kept[f.index]
		if part := w.scale.part(k); part > 1 {
			return fmt.Sprintf("(%d * %s)", part, w.held(k.kind(), f.index)), nil
		}
		return w.held(k.kind(), f.index), nil
	}
	if tooLarge.Cmp(new(big.Rat).Mul(w.plan.bounds(f).abs(), power(w.scale.Figures))) < 0 {
		return "", errScale
	}
	a, err := w.formula(f.a)
	if err != nil {
		return "", err
	}
	if f.op == opStep {
		return fmt.Sprintf("(%s * max(0, min(1, %s + 1)))", power(w.scale.Figures).Num(), a), nil
	}
	b, err := w.formula(f.b)
	if err != nil {
		return "", err
	}
	switch f.op {
	case opAdd:
		if less, ok := strings.CutPrefix(b, "-"); ok && f.b.op == opConst {
			return "(" + a + " - " + less + ")", nil
		}
		return "(" + a + " + " + b + ")", nil
	case opMin:
		return "min(" + a + ", " + b + ")", nil
	case opMax:
		return "max(" + a + ", " + b + ")", nil
	case opDiv:
		return fmt.Sprintf("share(%s, %s, %s)", a, power(w.scale.Figures).Num(), b), nil
	}
	if f.whole() {
		return "(" + f.a.value.Num().String() + " * " + b + ")", nil
	}
	return fmt.Sprintf("share(%s, %s, %s)", a, b, power(w.scale.Figures).Num()), nil
}

// units writes a formula as units, rounded toward zero.
func (w *writer) units(f string) string {
	return fmt.Sprintf("share(1 units, %s, %s)", f, power(w.scale.Figures-w.scale.Money).Num())
}

// item is something that happens at a time: a value is seen, or payments are due.
type item struct {
	at   time.Time
	seen int   // which value, −1: payments
	due  []int // which payments
	rank int   // of what happens at one time: payments, values, payments that need these
}

// paid writes payments: a phase until each moment at which something happens, in their order. An amount is computed when the last
// value that it needs is seen, and kept until its day: of values that many payments need, an instance would have as many
// states as there are prices. What is left of a payment's pot goes back with it, and what is known is paid before the next value
// is seen: so an instance forgets what was paid, and the states of one payment are not those of the next times its own.
func (w *writer) paid() error {
	p := w.plan
	var items []item
	for i, o := range p.seen {
		items = append(items, item{at: o.at, seen: i, rank: 1})
	}
	known := make(map[int][]int) // by observation: the payments that are known with it
	for i, d := range p.payments {
		last := p.last(d.amount)
		known[last] = append(known[last], i)
		due := item{at: d.at, seen: -1}
		if last >= 0 && !p.seen[last].at.Before(d.at) {
			due.rank = 2
		}
		k := slices.IndexFunc(items, func(it item) bool { return it.seen < 0 && it.at.Equal(due.at) && it.rank == due.rank })
		if k < 0 {
			k = len(items)
			items = append(items, due)
		}
		items[k].due = append(items[k].due, i)
	}
	slices.SortStableFunc(items, func(a, b item) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.rank, b.rank)) })
	order := make(map[int]int) // of observations
	for k, it := range items {
		if it.seen >= 0 {
			order[it.seen] = k
		}
	}
	seenUntil, keptUntil := p.needed(order)
	if err := w.fixed(); err != nil {
		return err
	}
	for k, it := range items {
		next := fmt.Sprintf("    next Step%d\n", k+2)
		if k+1 == len(items) {
			next = "    close\n"
		}
		if it.seen < 0 {
			fmt.Fprintf(&w.body, "phase Step%d until %s\n  at deadline:\n", k+1, w.when(it.at))
			for _, i := range it.due {
				if err := w.payment(i, k+1 == len(items)); err != nil {
					return err
				}
			}
			w.body.WriteString(next)
			continue
		}
		o := p.seen[it.seen]
		n, err := w.oracle(o.object, o.valueRange)
		if err != nil {
			return err
		}
		w.now = it.seen
		fmt.Fprintf(&w.body, "phase Step%d until %s + 1 days\n  when oracle o%d for %s:\n", k+1, w.when(it.at), n+1, w.when(o.at))
		if seenUntil[it.seen] > k {
			name := w.hold("v", it.seen, nearest(o.lo, w.scale.Figures), nearest(o.hi, w.scale.Figures))
			fmt.Fprintf(&w.body, "    set %s = o%d\n", name, n+1)
		}
		if err := w.known(known[it.seen]); err != nil {
			return err
		}
		for i := range p.kept {
			if keptUntil[i] == k {
				w.forget(p.kept[i].kind(), i)
			}
		}
		for i := range p.seen {
			if i != it.seen && seenUntil[i] == k {
				w.forget("v", i)
			}
		}
		w.body.WriteString(next + "  at deadline: close\n")
	}
	return nil
}

// known writes what the value that is at hand makes known: what is kept, and what these payments come to.
func (w *writer) known(payments []int) error {
	for i, v := range w.plan.kept {
		if v.last == w.now {
			if err := w.keep(i); err != nil {
				return err
			}
		}
	}
	for _, i := range payments {
		if err := w.amount(i); err != nil {
			return err
		}
	}
	return nil
}

// amount writes that a payment is known now.
func (w *writer) amount(i int) error {
	p := w.plan.payments[i]
	text, err := w.formula(p.amount)
	if err != nil {
		return err
	}
	r := w.plan.bounds(p.amount)
	least, most := toward0(r.lo, w.scale.Money), toward0(r.hi, w.scale.Money)
	if !least.IsInt64() || !most.IsInt64() || most.Int64() > w.limit || least.Int64() < -w.limit {
		return errScale
	}
	least, most = new(big.Int).SetInt64(min(0, least.Int64())), new(big.Int).SetInt64(max(0, most.Int64()))
	fmt.Fprintf(&w.body, "    set %s = max(%s units, min(%s units, %s))\n", w.hold("d", i, least, most), least, most, w.units(text))
	return nil
}

// fixed declares the pots of payments that depend on nothing: chunks are the payments.
func (w *writer) fixed() error {
	type side struct{ currency, from string }
	var order []side
	chunks := make(map[side][]int64)
	for _, p := range w.plan.payments {
		if p.amount.op != opConst {
			continue
		}
		n := toward0(p.amount.value, w.scale.Money)
		s := side{p.currency, "other"}
		if n.Sign() < 0 {
			s.from = "keeper"
		}
		if n.Abs(n); n.Cmp(big.NewInt(maxWeight*1000)) > 0 {
			return errScale
		}
		if n.Sign() == 0 {
			continue
		}
		if chunks[s] == nil {
			order = append(order, s)
		}
		chunks[s] = append(chunks[s], exactly(n.Int64())...)
	}
	for _, s := range order {
		if len(chunks[s]) > contract.MaxChunks/4 {
			return errScale
		}
		slices.SortFunc(chunks[s], func(a, b int64) int { return int(b - a) })
		name, err := w.pot(s.from, s.currency, chunks[s])
		if err != nil {
			return err
		}
		w.fixedPots = append(w.fixedPots, fixedPot{s.currency, s.from, name})
	}
	return nil
}

type fixedPot struct{ currency, from, name string }

// payment writes what one payment gives, and unless the contract closes then, that it is forgotten.
func (w *writer) payment(i int, last bool) error {
	p := w.plan.payments[i]
	if p.amount.op == opConst {
		n := toward0(p.amount.value, w.scale.Money)
		from, to := "other", "keeper"
		if n.Sign() < 0 {
			from, to = to, from
		}
		for _, f := range w.fixedPots {
			if n.Sign() != 0 && f.currency == p.currency && f.from == from {
				fmt.Fprintf(&w.body, "    give %s units of %s to %s\n", n.Abs(n), f.name, to)
			}
		}
		return nil
	}
	r, name := w.plan.bounds(p.amount), w.held("d", i)
	for _, side := range []struct {
		most           *big.Rat
		from, to, text string
	}{{r.hi, "other", "keeper", name}, {new(big.Rat).Neg(r.lo), "keeper", "other", "0 - " + name}} {
		most := toward0(side.most, w.scale.Money)
		if most.Sign() <= 0 {
			continue
		}
		pot, err := w.pot(side.from, p.currency, ladder(most.Int64()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&w.body, "    give min(left(%s), max(0 units, %s)) of %s to %s\n", pot, side.text, pot, side.to)
		if !last {
			fmt.Fprintf(&w.body, "    give all of %s to %s\n", pot, side.from)
		}
	}
	if !last {
		w.forget("d", i)
	}
	return nil
}
