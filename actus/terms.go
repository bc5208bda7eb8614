package actus

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// ErrLeftOut is wrapped where a case cannot be translated; the text says why.
var ErrLeftOut = errors.New("left out")

func leftOut(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrLeftOut, fmt.Sprintf(format, args...))
}

// Terms are the terms of one ACTUS contract, as they are written.
type Terms map[string]json.RawMessage

// Case is one contract of an ACTUS test file, with what was observed and what came of it.
type Case struct {
	Identifier string            `json:"identifier"`
	Terms      Terms             `json:"terms"`
	To         string            `json:"to"`
	Data       map[string]Series `json:"dataObserved"`
	Events     []Observed        `json:"eventsObserved"`
	Results    []Result          `json:"results"`
}

// Series is what was observed of one market object.
type Series struct {
	Data []struct {
		Timestamp string `json:"timestamp"`
		Value     Scalar `json:"value"`
	} `json:"data"`
}

// Observed is an event of another contract: a credit event has the type CE.
type Observed struct {
	Time       string            `json:"time"`
	Type       string            `json:"type"`
	ContractID string            `json:"contractId"`
	Value      Scalar            `json:"value"`
	States     map[string]Scalar `json:"states"`
}

// Result is one event that the ACTUS tests expect.
type Result struct {
	Date     string `json:"eventDate"`
	Type     string `json:"eventType"`
	Payoff   Scalar `json:"payoff"`
	Currency string `json:"currency"`
}

// Scalar is a figure or a word that JSON writes as a number or as a string.
type Scalar string

// UnmarshalJSON takes a number or a string.
func (s *Scalar) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err == nil {
		*s = Scalar(strings.TrimSpace(text))
		return nil
	}
	var number json.Number
	if err := json.Unmarshal(b, &number); err != nil {
		return fmt.Errorf("%s is neither a number nor a string", b)
	}
	*s = Scalar(number)
	return nil
}

// Rat returns the scalar as an exact number.
func (s Scalar) Rat() (*big.Rat, error) {
	if len(s) > 64 || strings.ContainsAny(string(s), "/xX_pP") {
		return nil, fmt.Errorf("%q is no decimal number", s)
	}
	if i := strings.IndexAny(string(s), "eE"); i >= 0 && len(s)-i > 4 {
		return nil, fmt.Errorf("%q is too large or too small", s)
	}
	r, ok := new(big.Rat).SetString(string(s))
	if !ok {
		return nil, fmt.Errorf("%q is no decimal number", s)
	}
	return r, nil
}

// Read reads a test file: cases by name.
func Read(src []byte) (map[string]Case, error) {
	var cases map[string]Case
	if err := json.Unmarshal(src, &cases); err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	return cases, nil
}

// has tells that a term is there.
func (t Terms) has(name string) bool { return t.text(name) != "" }

// text returns a term as it is written, "" where there is none.
func (t Terms) text(name string) string {
	var s Scalar
	if raw, ok := t[name]; !ok || string(raw) == "null" || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return string(s)
}

// number returns a term as a number, and without one what stands for it.
func (t Terms) number(name string, without int64) (*big.Rat, error) {
	text := t.text(name)
	if text == "" {
		return big.NewRat(without, 1), nil
	}
	r, err := Scalar(text).Rat()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// date returns a term as a time; ok is false where there is none.
func (t Terms) date(name string) (at time.Time, ok bool, err error) {
	text := t.text(name)
	if text == "" {
		return at, false, nil
	}
	if at, err = parseTime(text); err != nil {
		return at, false, fmt.Errorf("%s: %w", name, err)
	}
	return at, true, nil
}

// need is date of a term that has to be there.
func (t Terms) need(name string) (time.Time, error) {
	at, ok, err := t.date(name)
	if err == nil && !ok {
		err = leftOut("there is no %s", name)
	}
	return at, err
}

// list returns a term that has several values: as JSON has them, or in one string between commas.
func (t Terms) list(name string) (list []string) {
	var many []Scalar
	if raw, ok := t[name]; ok && json.Unmarshal(raw, &many) == nil {
		for _, s := range many {
			list = append(list, string(s))
		}
		return list
	}
	if text := strings.Trim(t.text(name), "[] "); text != "" {
		for s := range strings.SplitSeq(text, ",") {
			list = append(list, strings.Trim(s, ` "'`))
		}
	}
	return list
}

// part is an object that a contract refers to.
type part struct {
	Object json.RawMessage `json:"object"`
	Type   string          `json:"referenceType"`
	Role   string          `json:"referenceRole"`
}

// parts returns the objects of the contract's structure in a role.
func (t Terms) parts(role string) (list []Terms, err error) {
	raw, ok := t["contractStructure"]
	if !ok {
		return nil, nil
	}
	var all []part
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("contractStructure: %w", err)
	}
	for _, p := range all {
		if p.Role != role {
			continue
		}
		var o Terms
		if err := json.Unmarshal(p.Object, &o); err != nil {
			return nil, leftOut("a part of the structure is not written out")
		}
		list = append(list, o)
	}
	return list, nil
}

// sign is +1 where the one who keeps the record receives what the contract is about, −1 where it pays.
func (t Terms) sign() (int64, error) {
	switch role := t.text("contractRole"); role {
	case "RPA", "BUY", "LG", "RFL", "RF", "COL", "CNO", "GUA":
		return 1, nil
	case "RPL", "SEL", "ST", "PFL", "PF", "OBL":
		return -1, nil
	default:
		return 0, leftOut("the role %q has no side", role)
	}
}

// refuse leaves a contract out that has one of these terms.
func (t Terms) refuse(why string, names ...string) error {
	if i := slices.IndexFunc(names, t.has); i >= 0 {
		return leftOut("%s (%s)", why, names[i])
	}
	return nil
}

func parseTime(text string) (time.Time, error) {
	next := 0
	if day, ok := strings.CutSuffix(strings.TrimSuffix(text, ":00"), "T24:00"); ok {
		text, next = day, 1
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.AddDate(0, 0, next), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time as 2020-01-02T00:00:00", text)
}
