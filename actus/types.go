package actus

import (
	"maps"
	"math/big"
	"time"
)

// holding is a share or a good: it may pay dividends, that are observed themselves or as a rate of the value in the terms.
func (b *builder) holding(t Terms, sign int64) (list []payment, err error) {
	object, rate := t.text("marketObjectCodeOfDividends"), t.text("marketObjectCodeOfDividendRate")
	if object == "" && rate == "" {
		return nil, nil
	}
	cycle := t.text("cycleOfDividends") + t.text("cycleOfDividendPayment")
	anchor, err := t.need("cycleAnchorDateOfDividends")
	if at, ok, _ := t.date("cycleAnchorDateOfDividendPayment"); ok {
		anchor, err = at, nil
	}
	if err != nil {
		return nil, err
	}
	each, err := t.number("quantity", 1)
	if err != nil {
		return nil, err
	}
	each.Mul(each, big.NewRat(sign, 1))
	dates, err := schedule(anchor, cycle, b.to, t, false)
	if err != nil {
		return nil, err
	}
	for _, at := range dates {
		if !at.After(b.status) {
			continue
		}
		v, err := b.see(object+rate, at)
		if err != nil {
			return nil, err
		}
		part := each
		if rate != "" {
			value, err := t.number("marketValueObserved", 0)
			if err != nil {
				return nil, err
			}
			p, err := parsePeriod(cycle)
			if err != nil {
				return nil, err
			}
			y, err := t.with(map[string]string{"dayCountConvention": "30E360"}).years(p.plus(at, -1, false), at)
			if err != nil {
				return nil, err
			}
			part = new(big.Rat).Mul(new(big.Rat).Mul(each, value), y)
		}
		day, err := t.shifted(at)
		if err != nil {
			return nil, err
		}
		list = append(list, payment{at: day, currency: t.text("currency"), amount: times(constant(part), v), kind: "DV"})
	}
	return list, nil
}

// derivative is a future or an option: what one price says is paid once, some time after it.
func (b *builder) derivative(t Terms, sign int64) ([]payment, error) {
	quantity, err := t.number("quantity", 1)
	if err != nil {
		return nil, err
	}
	pays := func(at time.Time, amount *formula) ([]payment, error) {
		day, err := t.settled(at)
		if err != nil {
			return nil, err
		}
		return []payment{{at: day, currency: t.text("currency"), amount: times(constant(new(big.Rat).Mul(quantity, big.NewRat(sign, 1))), amount), kind: "STD"}}, nil
	}
	// Exercised before the record was made: the amount is a term.
	if at, ok, err := t.date("exerciseDate"); err != nil {
		return nil, err
	} else if ok {
		amount, err := t.number("exerciseAmount", 0)
		if err != nil {
			return nil, err
		}
		return pays(at, constant(amount))
	}
	at, err := t.need("maturityDate")
	if err != nil {
		return nil, err
	}
	if t.text("contractType") == "OPTNS" {
		if e := t.text("optionExerciseType"); e != "E" {
			exercise, ok, err := b.event("XD", t.text("contractID"))
			if err != nil {
				return nil, err
			}
			if !ok {
				return nil, leftOut("when it is exercised (type %q) nobody says", e)
			}
			at = exercise
		}
	}
	under, err := t.parts("UDL")
	if err != nil {
		return nil, err
	}
	if len(under) != 1 {
		return nil, leftOut("it has %d underlyings, not one", len(under))
	}
	price, err := b.see(under[0].text("marketObjectCode"), at)
	if err != nil {
		return nil, err
	}
	if t.text("contractType") == "FUTUR" {
		agreed, err := t.number("futuresPrice", 0)
		if err != nil {
			return nil, err
		}
		return pays(at, minus(price, constant(agreed)))
	}
	strike, err := t.number("optionStrike1", 0)
	if err != nil {
		return nil, err
	}
	second, err := t.number("optionStrike2", 0)
	if err != nil {
		return nil, err
	}
	call := greatest(whole(0), minus(price, constant(strike)))
	switch o := t.text("optionType"); o {
	case "C":
		return pays(at, call)
	case "P":
		return pays(at, greatest(whole(0), minus(constant(strike), price)))
	case "CP":
		return pays(at, plus(call, greatest(whole(0), minus(constant(second), price))))
	default:
		return nil, leftOut("the option type %q is not known", o)
	}
}

// event returns when an event of a contract was observed.
func (b *builder) event(typ, id string) (time.Time, bool, error) {
	for _, e := range b.c.Events {
		if e.Type == typ && (id == "" || e.ContractID == id) {
			at, err := parseTime(e.Time)
			return at, err == nil, err
		}
	}
	return time.Time{}, false, nil
}

// exchange is one currency for another on a day, both, or the difference at the rate of that day.
func (b *builder) exchange(t Terms, sign int64) ([]payment, error) {
	at, err := t.need("maturityDate")
	if err != nil {
		return nil, err
	}
	first, err := t.number("notionalPrincipal", 0)
	if err != nil {
		return nil, err
	}
	second, err := t.number("notionalPrincipal2", 0)
	if err != nil {
		return nil, err
	}
	a, c := t.text("currency"), t.text("currency2")
	if t.text("deliverySettlement") != "S" {
		day, err := t.shifted(at)
		if err != nil {
			return nil, err
		}
		return []payment{{at: day, currency: a, amount: times(whole(sign), constant(first)), kind: "MD"}, {at: day, currency: c, amount: times(whole(-sign), constant(second)), kind: "MD"}}, nil
	}
	if sold, ok, err := t.date("terminationDate"); err != nil {
		return nil, err
	} else if ok && sold.Before(at) {
		return nil, nil
	}
	rate, err := b.see(c+"/"+a, at)
	if err != nil {
		return nil, err
	}
	day, err := t.settled(at)
	if err != nil {
		return nil, err
	}
	return []payment{{at: day, currency: a, amount: times(whole(sign), minus(constant(first), times(constant(second), rate))), kind: "STD"}}, nil
}

// swap is two contracts, of which one is received and the other paid.
func (b *builder) swap(t Terms, sign int64) (list []payment, err error) {
	for _, leg := range []struct {
		role string
		sign int64
	}{{"FIL", sign}, {"SEL", -sign}} {
		legs, err := t.parts(leg.role)
		if err != nil {
			return nil, err
		}
		if len(legs) != 1 {
			return nil, leftOut("it has %d legs %s, not one", len(legs), leg.role)
		}
		payments, err := b.contract(legs[0], leg.sign)
		if err != nil {
			return nil, err
		}
		list = append(list, payments...)
	}
	return list, nil
}

// with returns the terms with some more.
func (t Terms) with(more map[string]string) Terms {
	u := maps.Clone(t)
	for name, text := range more {
		if u[name] = []byte(`"` + text + `"`); text == "" {
			delete(u, name)
		}
	}
	return u
}

// rates exchanges a fixed rate on a notional against a floating one: interest alone.
func (b *builder) rates(t Terms, sign int64) ([]payment, error) {
	fixed, err := b.loan(t.with(map[string]string{"contractType": "PAM", "cycleOfRateReset": "", "cycleAnchorDateOfRateReset": "", "purchaseDate": "", "terminationDate": ""}), sign)
	if err != nil {
		return nil, err
	}
	floating, err := b.loan(t.with(map[string]string{"contractType": "PAM", "nominalInterestRate": t.text("nominalInterestRate2"), "purchaseDate": "", "terminationDate": ""}), -sign)
	if err != nil {
		return nil, err
	}
	return interestOf(append(fixed, floating...)), nil
}

func interestOf(list []payment) (interest []payment) {
	for _, p := range list {
		if p.kind == "IP" {
			interest = append(interest, p)
		}
	}
	return interest
}

// capFloor pays by how much a cap or a floor would change the interest of a contract.
func (b *builder) capFloor(t Terms, sign int64) (list []payment, err error) {
	under, err := t.parts("UDL")
	if err != nil {
		return nil, err
	}
	if len(under) != 1 || under[0].text("contractType") != "PAM" {
		return nil, leftOut("its underlying is not one PAM")
	}
	free := under[0].with(map[string]string{"lifeCap": "", "lifeFloor": ""})
	bound := under[0].with(map[string]string{"lifeCap": t.text("lifeCap"), "lifeFloor": t.text("lifeFloor")})
	with, err := b.loan(bound, 1)
	if err != nil {
		return nil, err
	}
	without, err := b.loan(free, 1)
	if err != nil {
		return nil, err
	}
	with, without = interestOf(with), interestOf(without)
	for i, p := range with {
		d := minus(p.amount, without[i].amount)
		list = append(list, payment{at: p.at, currency: p.currency, amount: times(whole(sign), greatest(d, times(whole(-1), d))), kind: "IP"})
	}
	return list, nil
}
