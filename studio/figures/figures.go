// Package figures writes and reads the numbers of contracts as people do: a time
// as a date, a duration in days, an amount in units. Times are in UTC.
package figures

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/contract"
)

// ErrFigure is wrapped by whatever is no figure of its type.
var ErrFigure = errors.New("not understood")

var layouts = []string{"2006-01-02", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02 15:04:05", time.RFC3339}

var spans = []struct {
	name    string
	seconds int64
}{{"week", 7 * 86400}, {"day", 86400}, {"hour", 3600}, {"minute", 60}, {"second", 1}}

// Parse reads a figure of a type.
func Parse(typ contract.Type, text string) (int64, error) {
	text = strings.TrimSpace(text)
	if v, err := whole(text); err == nil && typ != contract.Money {
		return v, nil
	}
	switch typ {
	case contract.Time:
		return ParseTime(text)
	case contract.Duration:
		return ParseDuration(text)
	case contract.Money:
		if v, ok := money(text); ok {
			return v, nil
		}
	case contract.Units:
		if n, ok := strings.CutSuffix(strings.TrimSuffix(text, "s"), " unit"); ok {
			if v, err := whole(n); err == nil {
				return v, nil
			}
		}
	}
	return 0, fmt.Errorf("%q: %w: %s", text, ErrFigure, How(typ))
}

// How says how a figure of a type is written.
func How(typ contract.Type) string {
	switch typ {
	case contract.Time:
		return "a time is written 2026-03-01, 2026-03-01T17:30 (UTC), or in Unix seconds"
	case contract.Duration:
		return `a duration is written "30 days", "1 day 12 hours", or in seconds`
	case contract.Money:
		return "an amount of money is written 12.50"
	case contract.Units:
		return `an amount is a whole number of units, as 20 or "20 units"`
	}
	return "a number is whole and may be grouped, as 1_000"
}

// money reads an amount with two decimals, or none, as hundredths.
func money(text string) (int64, bool) {
	before, after, cents := strings.Cut(text, ".")
	if !cents {
		after = "00"
	}
	v, err := whole(before + after)
	return v, err == nil && len(after) == 2 && before != "" && before != "-" && after[0] != '_' && after[1] != '_'
}

func whole(text string) (int64, error) {
	if strings.HasPrefix(text, "_") || strings.HasSuffix(text, "_") || strings.HasPrefix(text, "+") {
		return 0, ErrFigure
	}
	return strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
}

// ParseTime reads a date, with or without the time of the day, as Unix seconds.
func ParseTime(text string) (int64, error) {
	if v, err := whole(text); err == nil {
		return v, nil
	}
	plain := strings.TrimSuffix(strings.TrimSuffix(text, " UTC"), "Z")
	for _, l := range layouts {
		for _, s := range []string{plain, text} {
			if t, err := time.Parse(l, s); err == nil {
				if t.Unix() < 0 || t.Unix() > contract.MaxTime {
					return 0, fmt.Errorf("%q: %w: times are from 1970 to 9999", text, ErrFigure)
				}
				return t.Unix(), nil
			}
		}
	}
	return 0, fmt.Errorf("%q: %w: %s", text, ErrFigure, How(contract.Time))
}

// ParseDuration reads a sum of weeks, days, hours, minutes and seconds, as seconds.
func ParseDuration(text string) (int64, error) {
	if v, err := whole(text); err == nil {
		return v, nil
	}
	words := strings.Fields(text)
	total := int64(0)
	for i := 0; i+1 < len(words); i += 2 {
		n, err := whole(words[i])
		j := slices.IndexFunc(spans, func(s struct {
			name    string
			seconds int64
		}) bool {
			return s.name == strings.TrimSuffix(words[i+1], "s")
		})
		if err != nil || j < 0 || n < 0 || n > contract.MaxDuration/spans[j].seconds {
			return 0, fmt.Errorf("%q: %w: %s", text, ErrFigure, How(contract.Duration))
		}
		total += n * spans[j].seconds
	}
	if len(words) == 0 || len(words)%2 != 0 || total > contract.MaxDuration {
		return 0, fmt.Errorf("%q: %w: %s", text, ErrFigure, How(contract.Duration))
	}
	return total, nil
}

// Show writes a figure of a type, as Parse reads it.
func Show(typ contract.Type, v int64) string {
	switch typ {
	case contract.Time:
		return Time(v)
	case contract.Duration:
		return Duration(v)
	case contract.Units:
		return Units(v)
	case contract.Money:
		text := contract.Format(typ, v)
		if v < 0 {
			return "-" + Show(typ, -v)
		}
		return Number(v/100) + text[len(text)-3:]
	}
	return Number(v)
}

// Units writes an amount.
func Units(v int64) string {
	if v == 1 {
		return "1 unit"
	}
	return Number(v) + " units"
}

// Number groups the digits of a number of five and more.
func Number(v int64) string {
	s := strconv.FormatInt(v, 10)
	digits := strings.TrimPrefix(s, "-")
	if len(digits) < 5 {
		return s
	}
	sign := s[:len(s)-len(digits)]
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "_" + digits[i:]
	}
	return sign + digits
}

// Time writes Unix seconds as a date, with the time of the day unless it is
// midnight. What is off the calendar stays a number.
func Time(v int64) string {
	if v < 0 || v > contract.MaxTime {
		return strconv.FormatInt(v, 10)
	}
	t := time.Unix(v, 0).UTC()
	switch {
	case v%86400 == 0:
		return t.Format("2006-01-02")
	case v%60 == 0:
		return t.Format("2006-01-02 15:04") + " UTC"
	}
	return t.Format("2006-01-02 15:04:05") + " UTC"
}

// Duration writes seconds in the greatest units that they make, weeks apart: those
// that are read are days.
func Duration(v int64) string {
	if v <= 0 {
		return fmt.Sprintf("%d seconds", v)
	}
	var parts []string
	for _, s := range spans[1:] {
		if n := v / s.seconds; n > 0 {
			parts = append(parts, Number(n)+" "+s.name+plural(n))
			v %= s.seconds
		}
	}
	return strings.Join(parts, " ")
}

func plural(n int64) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// Range writes what a term may be.
func Range(t contract.Term) string {
	switch {
	case t.Type == contract.Time && t.Lo == 0 && t.Hi == contract.MaxTime:
		return "any time"
	case t.Type == contract.Duration && t.Lo == 0 && t.Hi == contract.MaxDuration:
		return "any duration"
	case t.Type == contract.Units:
		return Number(t.Lo) + " to " + Units(t.Hi)
	}
	return Show(t.Type, t.Lo) + " to " + Show(t.Type, t.Hi)
}

// Ladder splits an amount into chunks of which every lesser amount can be made:
// 1, 2, 2, 5, 10, 20, 20, 50 and so on, the greatest first.
func Ladder(units int64) []int64 {
	var list []int64
	steps := []int64{1, 2, 2, 5}
	for i := 0; units > 0; i++ {
		w := steps[i%4]
		for range i / 4 {
			if w > units {
				break
			}
			w *= 10
		}
		if w > units {
			break
		}
		list, units = append(list, w), units-w
	}
	for i := len(list) - 1; i >= 0 && units > 0; i-- {
		for list[i] <= units {
			units -= list[i]
			list = append(list, list[i])
		}
	}
	slices.SortFunc(list, func(a, b int64) int { return int(max(-1, min(1, b-a))) })
	return list
}

// List joins words: "a", "a and b", "a, b and c".
func List(words []string, last string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " " + last + " " + words[n-1]
	}
	return strings.Join(words, "")
}
