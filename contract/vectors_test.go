package contract

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"latchkey/spec/vectors"
)

const vectorDir = "../spec/vectors/contract/"

// sourceCase is a contract and whether it compiles.
type sourceCase struct {
	Name    string      `json:"name"`
	Expect  string      `json:"expect"`
	Source  string      `json:"source"`
	Hash    vectors.Hex `json:"hash,omitempty"`
	Parties []string    `json:"parties,omitempty"`
	Terms   []string    `json:"terms,omitempty"`
}

// playCase is an instance from its opening to where the play ends.
type playCase struct {
	Name   string     `json:"name"`
	Expect string     `json:"expect"`
	Source string     `json:"source"`
	Terms  []int64    `json:"terms"`
	Chunks [][]int64  `json:"chunks"`
	Steps  []playStep `json:"steps"`
}

// playStep is one event, the opening first, and what comes of it: a refusal, or gives and the snapshot after it.
type playStep struct {
	Kind     string      `json:"kind"` // open, word, deadline, oracle, deposit
	At       int64       `json:"at"`
	Party    int         `json:"party,omitempty"`
	Word     string      `json:"word,omitempty"`
	Value    *int64      `json:"value,omitempty"`
	Hash     vectors.Hex `json:"hash,omitempty"`
	Oracle   int         `json:"oracle,omitempty"`
	Observed int64       `json:"observed,omitempty"`
	Pot      int         `json:"pot,omitempty"`
	Refused  bool        `json:"refused,omitempty"`
	Gives    [][3]int    `json:"gives,omitempty"` // pot, chunk, party
	Snapshot vectors.Hex `json:"snapshot,omitempty"`
}

// sealCase is a commitment.
type sealCase struct {
	Name     string      `json:"name"`
	Expect   string      `json:"expect"`
	Instance vectors.Hex `json:"instance"`
	Party    int         `json:"party"`
	Value    int64       `json:"value"`
	Salt     vectors.Hex `json:"salt"`
	Hash     vectors.Hex `json:"hash"`
}

// admitCase is a deal and what its exploration says: for each pot and party the least and the most, or a refusal.
type admitCase struct {
	Name    string     `json:"name"`
	Expect  string     `json:"expect"`
	Source  string     `json:"source"`
	Terms   []int64    `json:"terms"`
	Chunks  [][]int64  `json:"chunks"`
	Payouts [][4]int64 `json:"payouts,omitempty"` // pot, party, least, most
}

// snapshotCase is a snapshot, and whether a state of the instance encodes to it.
type snapshotCase struct {
	Name     string      `json:"name"`
	Expect   string      `json:"expect"`
	Source   string      `json:"source"`
	Terms    []int64     `json:"terms"`
	Chunks   [][]int64   `json:"chunks"`
	Snapshot vectors.Hex `json:"snapshot"`
}

// snapshotSource has all that a snapshot holds: voices of a word and of a value, a counter, an oracle, a later pot and a
// sealed value.
const snapshotSource = `contract Snapshot
parties a, b, c
term t : time
pot p = 9 units from a
later pot q = 3 units from b
counter k = -1 in -2..5
oracle o in 0..9
sealed z in 0..9
phase A until t
  when 2 of a, b, c say "x": close
  when oracle o for t - 1 hours: set k = o / 2
  when oracle o each 60 seconds: stay
  when each deposit q: give all of q to a
  when b says "seal" with sealed z if k = 5: stay
  when b says "show" with opened z: give all of p to b
  at deadline: next B
phase B until t + 1 days
  at deadline: close
`

// event is the step as the machine takes it.
func (s playStep) event() Event {
	ev := Event{At: s.At, Party: s.Party, Word: s.Word, Oracle: s.Oracle, Observed: s.Observed, Pot: s.Pot}
	ev.Kind = EventKind(1 + slices.Index([]string{"word", "deadline", "oracle", "deposit"}, s.Kind))
	if s.Value != nil {
		ev.Value, ev.HasValue = *s.Value, s.Kind == "word"
	}
	copy(ev.Hash[:], s.Hash)
	return ev
}

// stepOf writes an event down, and what came of it.
func stepOf(t testing.TB, ev Event, s State, o Outcome, err error) playStep {
	out := playStep{Kind: "open", At: ev.At, Party: ev.Party, Word: ev.Word, Oracle: ev.Oracle, Observed: ev.Observed, Pot: ev.Pot, Refused: err != nil}
	if ev.Kind > 0 {
		out.Kind = []string{"word", "deadline", "oracle", "deposit"}[ev.Kind-1]
	}
	if ev.HasValue || ev.Kind == Oracle || ev.Kind == Deposit {
		out.Value = &ev.Value
	}
	if ev.Hash != [32]byte{} {
		out.Hash = ev.Hash[:]
	}
	for _, g := range o.Gives {
		out.Gives = append(out.Gives, [3]int{g.Pot, g.Chunk, g.To})
	}
	if err == nil {
		out.Snapshot = encode(t, s)
	}
	return out
}

// run plays a case and compares every step.
func (c playCase) run(t testing.TB) error {
	p, err := Compile([]byte(c.Source))
	if err != nil {
		return err
	}
	d, err := p.Bind(c.Terms)
	if err != nil {
		return err
	}
	var s State
	for i, step := range c.Steps {
		ev, next := step.event(), s
		var o Outcome
		if step.Kind == "open" {
			ev = Event{At: step.At}
			next, o, err = d.Open(c.Chunks, step.At)
		} else {
			next, o, err = d.Step(s, ev)
		}
		got := stepOf(t, ev, next, o, err)
		if fmt.Sprintf("%+v", plain(got)) != fmt.Sprintf("%+v", plain(step)) {
			return fmt.Errorf("step %d: got %+v, want %+v", i, plain(got), plain(step))
		}
		if s = next; err == nil {
			if back, err := d.DecodeState(c.Chunks, step.Snapshot); err != nil || string(encode(t, back)) != string(step.Snapshot) {
				return fmt.Errorf("step %d: its snapshot is read as something else: %v", i, err)
			}
		}
	}
	return nil
}

// plain is a step without pointers, to be compared as text.
func plain(s playStep) playStep {
	if s.Value != nil {
		s.Word += fmt.Sprint(" with ", *s.Value)
	}
	s.Value = nil
	return s
}

// TestVectors writes the test data of this package down for other implementers, and holds the code to what is written.
// It is the test that must give the same on every machine.
func TestVectors(t *testing.T) {
	sources := vectors.File[sourceCase]{About: "contracts, the hash of those that compile, and the first error of the others; spec/contract.md sections 1 to 3 and 6"}
	files, err := filepath.Glob("testdata/*.latchkey")
	whole, err2 := filepath.Glob("testdata/contracts/*.latchkey")
	if err = errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, whole...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, source := range strings.Split(string(text), "---\n") {
			c := sourceCase{Name: fmt.Sprintf("%s %d", strings.TrimSuffix(filepath.Base(file), ".latchkey"), i), Expect: "ok", Source: source}
			var refused *Error
			if p, err := Compile([]byte(source)); errors.As(err, &refused) {
				i := slices.IndexFunc(refused.Findings, func(f Finding) bool { return f.Severity == SeverityError })
				c.Expect = "error: " + refused.Findings[i].String()
			} else {
				h := p.Hash()
				c.Hash, c.Parties = h[:], p.Parties()
				for _, term := range p.Terms() {
					c.Terms = append(c.Terms, fmt.Sprintf("%s : %s %d..%d", term.Name, term.Type, term.Lo, term.Hi))
				}
			}
			sources.Cases = append(sources.Cases, c)
		}
	}
	vectors.Check(t, *update, vectorDir+"source.json", sources, func(c sourceCase) (string, string) { return c.Name, c.Expect }, func(c sourceCase) error {
		p, err := Compile([]byte(c.Source))
		if err != nil {
			return err
		}
		if h := p.Hash(); string(h[:]) != string(c.Hash) || !slices.Equal(p.Parties(), c.Parties) {
			return fmt.Errorf("another hash or other parties: %x, %v", h, p.Parties())
		}
		return nil
	})

	plays := vectors.File[playCase]{About: "instances, event by event, with gives and snapshots; spec/contract.md sections 4 and 7"}
	files, err = filepath.Glob("testdata/plays/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		script(t, string(text), func(p *Program, source string, terms []int64, weights [][]int64, ev Event, s State, o Outcome, err error) {
			step := stepOf(t, ev, s, o, err)
			for i := range weights {
				weights[i] = append([]int64{}, weights[i]...) // an empty list, not null
			}
			if step.Kind == "open" {
				plays.Cases = append(plays.Cases, playCase{fmt.Sprintf("%s %d", name, len(plays.Cases)), "ok", source, terms, weights, nil})
			}
			last := &plays.Cases[len(plays.Cases)-1]
			last.Steps = append(last.Steps, step)
		})
	}
	vectors.Check(t, *update, vectorDir+"play.json", plays, func(c playCase) (string, string) { return c.Name, c.Expect }, func(c playCase) error { return c.run(t) })

	instance, salt := [32]byte{1, 2, 3}, [32]byte{31: 9}
	seals := vectors.File[sealCase]{About: "commitments to sealed values; spec/contract.md section 4"}
	for i, v := range []int64{0, 7, -7, 1 << 62} {
		h := Seal(instance, i, v, salt)
		seals.Cases = append(seals.Cases, sealCase{fmt.Sprintf("%d by party %d", v, i), "ok", instance[:], i, v, salt[:], h[:]})
	}
	wrong := Seal(instance, 1, 7, salt)
	seals.Cases = append(seals.Cases, sealCase{"of another party", "error: another commitment", instance[:], 2, 7, salt[:], wrong[:]})
	vectors.Check(t, *update, vectorDir+"seal.json", seals, func(c sealCase) (string, string) { return c.Name, c.Expect }, func(c sealCase) error {
		if h := Seal([32]byte(c.Instance), c.Party, c.Value, [32]byte(c.Salt)); string(h[:]) != string(c.Hash) {
			return fmt.Errorf("another commitment: %x", h)
		}
		return nil
	})

	admits := vectors.File[admitCase]{About: "what the exploration says of deals; spec/contract.md section 5"}
	admit := func(name, source string, terms []int64, chunks [][]int64) {
		for i := range chunks {
			chunks[i] = append([]int64{}, chunks[i]...)
		}
		c := admitCase{Name: name, Expect: "ok", Source: source, Terms: terms, Chunks: chunks}
		report, err := mustBind(source, terms...).Admit(chunks, Limits{})
		if err != nil {
			c.Expect = "error: " + err.Error()
		}
		for _, pay := range report.Payouts {
			c.Payouts = append(c.Payouts, [4]int64{int64(pay.Pot), int64(pay.Party), pay.Least, pay.Most})
		}
		admits.Cases = append(admits.Cases, c)
	}
	for _, name := range slices.Concat(exampleNames, featureNames) {
		if name == "inheritance" {
			continue // it has ten thousand states
		}
		d, weights := played(t, name)
		admit(name, sourceOf(t, name), d.values[:len(d.p.terms)], weights)
	}
	over := "contract X\nparties a, b\nterm n : units 1..9\npot p = 6 units from a\nat open: give n of p to b close\n"
	admit("a give asks for more than its pot holds", over, []int64{7}, [][]int64{{6}})
	admit("a value too old for one clause fits another", twoAges, []int64{noon}, [][]int64{{10}})
	for _, c := range counterexamples {
		admit(c.name+", counterexample", counterHead+c.clause+counterTail, []int64{30, noon}, [][]int64{{7, 7, 7, 7, 2}})
	}
	admit("a give asks for all", over, []int64{6}, [][]int64{{5, 1}})
	vectors.Check(t, *update, vectorDir+"admit.json", admits, func(c admitCase) (string, string) { return c.Name, c.Expect }, func(c admitCase) error {
		report, err := mustBind(c.Source, c.Terms...).Admit(c.Chunks, Limits{})
		var got [][4]int64
		for _, pay := range report.Payouts {
			got = append(got, [4]int64{int64(pay.Pot), int64(pay.Party), pay.Least, pay.Most})
		}
		if err == nil && !slices.Equal(got, c.Payouts) {
			return fmt.Errorf("got %v", got)
		}
		reproduces(t, mustBind(c.Source, c.Terms...), c.Chunks, Limits{})
		return err
	})
}

// TestSnapshotVectors does so for snapshots, among them such as no state encodes to.
func TestSnapshotVectors(t *testing.T) {
	snapshots := vectors.File[snapshotCase]{About: "snapshots, and what no state encodes to; spec/contract.md section 7"}
	const now, until, voices, counter, newest, later, sealed, gone = "80a4a7da06", "64", "01", "01", "00", "02", "00", "18"
	far, over, zeros, seal := "80808080808080"+"10", "81808080808080"+"10", strings.Repeat("00", 32), strings.Repeat("00", 31)+"07"
	far2 := "8080808080808020" // far, as a varint
	for _, c := range []struct{ name, expect, snapshot string }{
		{"as it is", "ok", "0101" + now + until + voices + counter + newest + later + sealed + gone},
		{"a value was taken for its time, all is deposited and sealed", "ok", "0101" + now + until + "09" + "0a" + far2 + "06" + "01" + seal + "00"},
		{"all chunks are given", "ok", "0101" + now + until + voices + counter + newest + "06" + sealed + "1f"},
		{"another phase", "ok", "0102" + now + until + "00" + counter + newest + later + sealed + gone},
		{"the latest time there is", "ok", "0101" + far + far + voices + counter + newest + later + sealed + gone},
		{"closed", "ok", "0100" + now},
		{"empty", "error", ""},
		{"another version", "error", "0201" + now + until + voices + counter + newest + later + sealed + gone},
		{"a phase that is not there", "error", "0103" + now + until + "00" + counter + newest + later + sealed + gone},
		{"now is too late", "error", "0101" + over + until + voices + counter + newest + later + sealed + gone},
		{"closed too late", "error", "0100" + over},
		{"the deadline is too far", "error", "0101" + now + over + voices + counter + newest + later + sealed + gone},
		{"a uvarint is not minimal", "error", "0101" + now + "e400" + voices + counter + newest + later + sealed + gone},
		{"a version is not minimal", "error", "810001" + now + until + voices + counter + newest + later + sealed + gone},
		{"a voice that is not there", "error", "0101" + now + until + "10" + counter + newest + later + sealed + gone},
		{"a voice in another phase", "error", "0102" + now + until + "01" + counter + newest + later + sealed + gone},
		{"a clause has all its voices", "error", "0101" + now + until + "03" + counter + newest + later + sealed + gone},
		{"a counter is above its range", "error", "0101" + now + until + voices + "0c" + newest + later + sealed + gone},
		{"a counter is below its range", "error", "0101" + now + until + voices + "05" + newest + later + sealed + gone},
		{"a value of before time", "error", "0101" + now + until + voices + counter + "01" + later + sealed + gone},
		{"more chunks than the pot has", "error", "0101" + now + until + voices + counter + newest + "08" + sealed + "00"},
		{"less chunks than none", "error", "0101" + now + until + voices + counter + newest + "01" + sealed + "1c"},
		{"a commitment of zeros", "error", "0101" + now + until + voices + counter + newest + later + "01" + zeros + gone},
		{"a commitment that is cut", "error", "0101" + now + until + voices + counter + newest + later + "01" + seal[2:]},
		{"neither a commitment nor none", "error", "0101" + now + until + voices + counter + newest + later + "02" + seal + gone},
		{"a chunk that is not there is held", "error", "0101" + now + until + voices + counter + newest + later + sealed + "08"},
		{"a chunk too many", "error", "0101" + now + until + voices + counter + newest + later + sealed + "38"},
		{"cut", "error", "0101" + now + until + voices + counter + newest + later + sealed},
		{"a byte left over", "error", "0101" + now + until + voices + counter + newest + later + sealed + gone + "00"},
		{"a byte left over after the end", "error", "0100" + now + "00"},
	} {
		b, err := hex.DecodeString(c.snapshot)
		if err != nil {
			t.Fatal(err)
		}
		if c.expect != "ok" {
			c.expect = "error: " + ErrSnapshot.Error()
		}
		snapshots.Cases = append(snapshots.Cases, snapshotCase{c.name, c.expect, snapshotSource, []int64{noon}, [][]int64{{4, 5}, {1, 1, 1}}, b})
	}
	vectors.Check(t, *update, vectorDir+"snapshot.json", snapshots, func(c snapshotCase) (string, string) { return c.Name, c.Expect }, func(c snapshotCase) error {
		s, err := mustBind(c.Source, c.Terms...).DecodeState(c.Chunks, c.Snapshot)
		if err == nil && string(encode(t, s)) != string(c.Snapshot) {
			return fmt.Errorf("encoded again it is %x", encode(t, s))
		}
		return err
	})
}
