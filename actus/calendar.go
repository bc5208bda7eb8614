package actus

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// period is a length on the calendar: so many days or months. A long last stub swallows what does not fill a period.
type period struct {
	days, months int
	long         bool
}

var periodText = regexp.MustCompile(`^P(\d{1,4})([DWMQHY])(?:L([01]))?$`)

// parsePeriod reads a period as ACTUS writes it: P3M, P1ML0; L0 is a long stub, L1 a short one.
func parsePeriod(text string) (p period, err error) {
	m := periodText.FindStringSubmatch(text)
	if m == nil {
		return p, leftOut("the period %q is not understood", text)
	}
	n, _ := strconv.Atoi(m[1])
	switch m[2] {
	case "D":
		p.days = n
	case "W":
		p.days = 7 * n
	case "M":
		p.months = n
	case "Q":
		p.months = 3 * n
	case "H":
		p.months = 6 * n
	case "Y":
		p.months = 12 * n
	}
	p.long = m[3] == "0"
	return p, nil
}

func lastOfMonth(t time.Time) bool { return t.AddDate(0, 0, 1).Day() == 1 }

// plus adds i periods; a day that its month has not is the month's last.
func (p period) plus(t time.Time, i int, endOfMonth bool) time.Time {
	if p.months == 0 {
		return t.AddDate(0, 0, i*p.days)
	}
	first := time.Date(t.Year(), t.Month()+time.Month(i*p.months), 1, t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	if day := t.Day(); day < last && !(endOfMonth && lastOfMonth(t)) {
		last = day
	}
	return first.AddDate(0, 0, last-1)
}

// maxDates bounds a schedule.
const maxDates = 2000

// schedule returns the days from anchor on, a period apart, up to end, which is among them if closing.
func schedule(anchor time.Time, cycle string, end time.Time, t Terms, closing bool) (dates []time.Time, err error) {
	if cycle == "" {
		if !anchor.After(end) {
			dates = append(dates, anchor)
		}
	} else {
		p, err := parsePeriod(cycle)
		if err != nil {
			return nil, err
		}
		if p.days+p.months == 0 {
			return nil, leftOut("the period %q is none", cycle)
		}
		for i := 0; ; i++ {
			at := p.plus(anchor, i, t.text("endOfMonthConvention") == "EOM")
			if !at.Before(end) {
				if p.long && at.After(end) && len(dates) > 1 {
					dates = dates[:len(dates)-1]
				}
				if at.Equal(end) && !closing {
					dates = append(dates, at)
				}
				break
			}
			if dates = append(dates, at); len(dates) > maxDates {
				return nil, leftOut("a schedule has more than %d days", maxDates)
			}
		}
	}
	if n := len(dates); closing && (n == 0 || dates[n-1].Before(end)) {
		dates = append(dates, end)
	}
	return dates, nil
}

// works tells that one works on a day.
func (t Terms) works(at time.Time) (bool, error) {
	switch cal := strings.ToUpper(t.text("calendar")); cal {
	case "", "NC", "NOCALENDAR":
		return true, nil
	case "MF", "MONDAYTOFRIDAY":
		return at.Weekday() != time.Saturday && at.Weekday() != time.Sunday, nil
	default:
		return false, leftOut("the holidays of the calendar %q are not known", cal)
	}
}

// shifted moves a payment to a day on which one works, as the terms say.
func (t Terms) shifted(at time.Time) (time.Time, error) {
	// A Sunday tells whether the calendar has days on which one does not work.
	if always, err := t.works(time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC)); err != nil || always {
		return at, err
	}
	step, within := 0, false
	switch c := t.text("businessDayConvention"); c {
	case "", "NOS", "NULL", "NONE":
		return at, nil
	case "SCF", "CSF":
		step = 1
	case "SCP", "CSP":
		step = -1
	case "SCMF", "CSMF":
		step, within = 1, true
	case "SCMP", "CSMP":
		step, within = -1, true
	default:
		return at, leftOut("the convention %q is not known", c)
	}
	day := at
	for day.Weekday() == time.Saturday || day.Weekday() == time.Sunday {
		day = day.AddDate(0, 0, step)
	}
	if within && day.Month() != at.Month() {
		for day = at; day.Weekday() == time.Saturday || day.Weekday() == time.Sunday; {
			day = day.AddDate(0, 0, -step)
		}
	}
	return day, nil
}

// counted is the day that interest counts to: the day of the payment where shifting comes first.
func (t Terms) counted(at time.Time) (time.Time, error) {
	if c := t.text("businessDayConvention"); len(c) > 1 && c[:2] == "SC" {
		return t.shifted(at)
	}
	return at, nil
}

// settled is the day on which what is due at a time is paid.
func (t Terms) settled(at time.Time) (time.Time, error) {
	if text := t.text("settlementPeriod"); text != "" {
		p, err := parsePeriod(text)
		if err != nil {
			return at, err
		}
		at = p.plus(at, 1, false)
	}
	return t.shifted(at)
}

// years is the fraction of a year between two times, by the terms' day count.
func (t Terms) years(from, to time.Time) (*big.Rat, error) {
	if from, to = dayOf(from), dayOf(to); to.Before(from) {
		y, err := t.years(to, from)
		if err != nil {
			return nil, err
		}
		return y.Neg(y), nil
	}
	days := int64(to.Sub(from).Hours()) / 24
	switch c := t.text("dayCountConvention"); c {
	case "A365":
		return big.NewRat(days, 365), nil
	case "A360":
		return big.NewRat(days, 360), nil
	case "28E336", "28336": // months of 28 days, twelve of them a year
		d1, d2 := min(from.Day(), 28), min(to.Day(), 28)
		return big.NewRat(int64(336*(to.Year()-from.Year())+28*int(to.Month()-from.Month())+d2-d1), 336), nil
	case "30E360", "30E360ISDA":
		d1, d2 := min(from.Day(), 30), min(to.Day(), 30)
		if c == "30E360ISDA" {
			if lastOfMonth(from) {
				d1 = 30
			}
			if end, ok, _ := t.date("maturityDate"); lastOfMonth(to) && !(ok && dayOf(end).Equal(to) && to.Month() == time.February) {
				d2 = 30
			}
		}
		n := 360*(to.Year()-from.Year()) + 30*int(to.Month()-from.Month()) + d2 - d1
		return big.NewRat(int64(n), 360), nil
	case "B252": // days on which one works, the first counted and the last not
		worked := int64(0)
		for at := from; at.Before(to); at = at.AddDate(0, 0, 1) {
			works, err := t.works(at)
			if err != nil {
				return nil, err
			}
			if works {
				worked++
			}
		}
		return big.NewRat(worked, 252), nil
	case "AA", "":
		sum := new(big.Rat)
		for at := from; at.Before(to); {
			next := time.Date(at.Year()+1, 1, 1, 0, 0, 0, 0, time.UTC)
			length := int64(next.Sub(time.Date(at.Year(), 1, 1, 0, 0, 0, 0, time.UTC)).Hours()) / 24
			if next.After(to) {
				next = to
			}
			sum.Add(sum, big.NewRat(int64(next.Sub(at).Hours())/24, length))
			at = next
		}
		return sum, nil
	default:
		return nil, leftOut("the day count %q is not known", c)
	}
}

// dayOf is the day that interest counts a time to: the last second of one is the next.
func dayOf(t time.Time) time.Time {
	t = t.Add(time.Second)
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}
