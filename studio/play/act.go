package play

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"latchkey/contract"
	"latchkey/studio/figures"
)

// ErrAct is wrapped by lines that say nothing that one can do.
var ErrAct = errors.New("not understood")

// Act is one thing to do in a play.
type Act struct {
	Open     bool // the contract opens
	Nobody   bool // nobody does anything more: every deadline passes
	Deadline bool // the next deadline passes
	Timed    bool // Time is said
	Relative bool // Time counts from the last step
	Time     int64
	Event    contract.Event // its Kind is 0 where time passes and nothing else
	Observed bool           // Event.Observed is said
	Sealed   bool           // Event.Value is committed to, not shown
	All      bool           // of a deposit: all chunks that are missing
}

// Grammar says how acts are written.
const Grammar = `open                                   the contract opens
buyer says "release"                   a party says a word
arbiter says "award" with 60           a word with a value
bidder 2 says "bid" with sealed 7      a word with a commitment to a value
borrower deposits repayment            all that is missing; or: deposits 2 chunks of repayment
oracle price is 250                    an oracle's value, observed when the contract waits for it
oracle price is 250 observed 2026-03-01
deadline                               time passes until the next deadline
nobody does anything                   time passes until it is over
at 2026-03-01 …   after 5 days …       when; also alone: time passes`

// ParseAct reads one act. What it names must be in the contract.
func ParseAct(p *contract.Program, line string) (Act, error) {
	words, err := fields(line)
	if err != nil {
		return Act{}, err
	}
	var a Act
	if len(words) > 0 && (words[0] == "at" || words[0] == "after") {
		n, v, err := leadingTime(words)
		if err != nil {
			return Act{}, err
		}
		a.Timed, a.Time, a.Relative = true, v, words[0] == "after"
		if words = words[n:]; len(words) == 0 {
			return a, nil
		}
	}
	party, rest := leadingParty(p, words)
	switch {
	case len(words) == 0:
		return Act{}, fmt.Errorf("an empty line: %w", ErrAct)
	case slices.Equal(words, []string{"open"}), slices.Equal(words, []string{"opens"}):
		a.Open = true
	case slices.Equal(words, []string{"deadline"}):
		a.Deadline = true
	case slices.Equal(words, []string{"nobody", "does", "anything"}):
		a.Nobody = true
	case words[0] == "oracle" && len(words) >= 4 && words[2] == "is":
		err = a.oracle(p, words[1], words[3:])
	case party >= 0 && len(rest) >= 2 && (rest[0] == "says" || rest[0] == "say"):
		err = a.word(p, party, rest[1], rest[2:])
	case party >= 0 && len(rest) >= 2 && (rest[0] == "deposits" || rest[0] == "deposit"):
		err = a.deposit(p, party, rest[1:])
	case party < 0 && len(words) >= 3 && slices.ContainsFunc(words, func(w string) bool { return w == "says" || w == "deposits" }):
		err = fmt.Errorf("%q is no party of this contract: %w: its parties are %s", words[0], ErrAct, figures.List(p.Parties(), "and"))
	default:
		err = fmt.Errorf("%q: %w: one says `buyer says \"word\"`, `oracle price is 5`, `buyer deposits pot`, `deadline`, `nobody does anything`, `at TIME …` or `after DURATION …`", line, ErrAct)
	}
	if err == nil && (a.Nobody || a.Deadline) && a.Timed {
		err = fmt.Errorf("%q: %w: a deadline has its time of its own", line, ErrAct)
	}
	return a, err
}

// leadingParty returns the party that words begin with, -1 if there is none, and
// the words behind it. The name of a role's holder has two words.
func leadingParty(p *contract.Program, words []string) (party int, rest []string) {
	party = -1
	for i, name := range p.Parties() {
		n := strings.Count(name, " ") + 1
		if len(words) >= n && strings.Join(words[:n], " ") == name && (party < 0 || n > len(words)-len(rest)) {
			party, rest = i, words[n:]
		}
	}
	return party, rest
}

func (a *Act) word(p *contract.Program, party int, word string, rest []string) error {
	if !strings.HasPrefix(word, `"`) {
		return fmt.Errorf("%s: %w: the word stands in \"quotes\"", word, ErrAct)
	}
	a.Event = contract.Event{Kind: contract.Word, Party: party, Word: strings.Trim(word, `"`)}
	if len(rest) == 0 {
		return nil
	}
	if len(rest) > 1 && rest[0] == "with" && (rest[1] == "sealed" || rest[1] == "opened") {
		a.Sealed = rest[1] == "sealed"
		rest = append([]string{"with"}, rest[2:]...)
	}
	if rest[0] != "with" || len(rest) < 2 {
		return fmt.Errorf("%q: %w: a value is said `with 60`", strings.Join(rest, " "), ErrAct)
	}
	v, err := figures.Parse(wordType(p, a.Event.Word), strings.Join(rest[1:], " "))
	if err != nil {
		return err
	}
	a.Event.HasValue, a.Event.Value = true, v
	return nil
}

// wordType returns the type of the value that comes with a word. Of a sealed one it
// is that of the values that are sealed, where they have one type, as in any
// contract that we know of.
func wordType(p *contract.Program, word string) contract.Type {
	o := p.Outline()
	sealed := contract.Number
	if len(o.Sealed) > 0 {
		sealed = o.Sealed[0].Type
	}
	for _, s := range o.Sealed {
		if s.Type != sealed {
			sealed = contract.Number
		}
	}
	for _, ph := range o.Phases {
		for _, c := range ph.Clauses {
			if c.Kind == contract.Word && c.Word == word && c.Value.Name != "" {
				return c.Value.Type
			}
			if c.Kind == contract.Word && c.Word == word && c.Sealed {
				return sealed
			}
		}
	}
	return contract.Number
}

func (a *Act) deposit(p *contract.Program, party int, words []string) error {
	a.Event = contract.Event{Kind: contract.Deposit, Party: party}
	if a.All = true; len(words) > 3 && (words[1] == "chunks" || words[1] == "chunk") && words[2] == "of" {
		n, err := figures.Parse(contract.Number, words[0])
		if err != nil || n < 1 {
			return fmt.Errorf("%q: %w: say how many chunks, as `2 chunks of repayment`", words[0], ErrAct)
		}
		a.All, a.Event.Value, words = false, n, words[3:]
	}
	name := strings.Join(words, " ")
	var later []string
	for i, pot := range p.Pots() {
		if pot.Later {
			later = append(later, pot.Name)
		}
		if pot.Name == name && pot.From != party {
			return fmt.Errorf("%w: %s is deposited by %s", ErrAct, name, p.Parties()[pot.From])
		}
		if pot.Name == name && pot.Later {
			a.Event.Pot = i
			return nil
		}
	}
	if len(later) == 0 {
		return fmt.Errorf("%q: %w: this contract has no pot that is filled later", name, ErrAct)
	}
	return fmt.Errorf("%q is no pot that is filled later: %w: those are %s", name, ErrAct, figures.List(later, "and"))
}

func (a *Act) oracle(p *contract.Program, name string, rest []string) error {
	var names []string
	i := -1
	for j, o := range p.Oracles() {
		names = append(names, o.Name)
		if o.Name == name {
			i = j
		}
	}
	switch {
	case len(names) == 0:
		return fmt.Errorf("%q: %w: this contract has no oracle", name, ErrAct)
	case i < 0:
		return fmt.Errorf("%q is no oracle of this contract: %w: it has %s", name, ErrAct, figures.List(names, "and"))
	}
	a.Event = contract.Event{Kind: contract.Oracle, Oracle: i, HasValue: true}
	value, observed, said := rest, []string(nil), slices.Index(rest, "observed")
	if said >= 0 {
		value, observed = rest[:said], rest[said+1:]
	}
	v, err := figures.Parse(p.Oracles()[i].Type, strings.Join(value, " "))
	if err != nil {
		return err
	}
	if a.Event.Value = v; said >= 0 {
		a.Observed = true
		a.Event.Observed, err = figures.ParseTime(strings.Join(observed, " "))
	}
	return err
}

// leadingTime reads the longest time or duration behind the first word, and says how many words it took.
func leadingTime(words []string) (int, int64, error) {
	typ := contract.Time
	if words[0] == "after" {
		typ = contract.Duration
	}
	for n := min(len(words), 9); n > 1; n-- {
		if v, err := figures.Parse(typ, strings.Join(words[1:n], " ")); err == nil && v >= 0 {
			return n, v, nil
		}
	}
	return 0, 0, fmt.Errorf("%q: %w: %s", strings.Join(words, " "), ErrAct, figures.How(typ))
}

// fields cuts a line into words; what stands in quotes is one, with its quotes.
func fields(line string) (words []string, err error) {
	for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimSpace(rest) {
		n := strings.IndexAny(rest, " \t")
		if rest[0] == '"' {
			if n = strings.IndexByte(rest[1:], '"') + 2; n == 1 {
				return nil, fmt.Errorf("%s: %w: a word ends with another \"", rest, ErrAct)
			}
		}
		if n < 0 {
			n = len(rest)
		}
		words, rest = append(words, rest[:n]), rest[n:]
	}
	return words, nil
}

// String writes the act as ParseAct reads it, against the program that it is of.
func (a Act) String(p *contract.Program) string {
	var s []string
	if a.Timed && a.Relative {
		s = append(s, "after "+figures.Duration(a.Time))
	} else if a.Timed {
		s = append(s, "at "+figures.Time(a.Time))
	}
	ev := a.Event
	switch {
	case a.Open:
		s = append(s, "open")
	case a.Nobody:
		s = append(s, "nobody does anything")
	case a.Deadline:
		s = append(s, "deadline")
	case ev.Kind == contract.Word:
		s = append(s, p.Parties()[ev.Party], "says", `"`+ev.Word+`"`)
		if a.Sealed {
			s = append(s, "with sealed", figures.Show(wordType(p, ev.Word), ev.Value))
		} else if ev.HasValue {
			s = append(s, "with", figures.Show(wordType(p, ev.Word), ev.Value))
		}
	case ev.Kind == contract.Deposit && a.All:
		s = append(s, p.Parties()[ev.Party], "deposits", p.Pots()[ev.Pot].Name)
	case ev.Kind == contract.Deposit:
		s = append(s, p.Parties()[ev.Party], "deposits", fmt.Sprintf("%d chunks of %s", ev.Value, p.Pots()[ev.Pot].Name))
	case ev.Kind == contract.Oracle:
		s = append(s, "oracle", p.Oracles()[ev.Oracle].Name, "is", figures.Show(p.Oracles()[ev.Oracle].Type, ev.Value))
		if a.Observed {
			s = append(s, "observed", figures.Time(ev.Observed))
		}
	}
	return strings.Join(s, " ")
}
