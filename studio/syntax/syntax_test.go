package syntax

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"

	"latchkey/contract"
)

// sources returns the contracts of the examples and of the compiler's own tests.
func sources(t *testing.T) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	paths, err := filepath.Glob("../../examples/*.latchkey")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d examples, %v", len(paths), err)
	}
	tests, err := filepath.Glob("../../contract/testdata/*.latchkey")
	if err != nil || len(tests) == 0 {
		t.Fatalf("%d files of the compiler's tests, %v", len(tests), err)
	}
	for _, p := range append(paths, tests...) {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range bytes.Split(b, []byte("\n---\n")) {
			all[fmt.Sprintf("%s %d", filepath.Base(p), i)] = part
		}
	}
	return all
}

func TestFormat(t *testing.T) {
	a, err := txtar.ParseFile("testdata/format.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(a.Files); i += 2 {
		in, want := a.Files[i], a.Files[i+1]
		if want.Name != in.Name+", formatted" {
			t.Fatalf("%q is followed by %q", in.Name, want.Name)
		}
		got, err := Format(in.Data)
		if err != nil {
			t.Errorf("%s: %v", in.Name, err)
		}
		if diff := cmp.Diff(string(want.Data), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in.Name, diff)
		}
		steady(t, in.Name, in.Data)
	}
}

// steady checks that formatting keeps what counts and that a second time changes nothing.
func steady(t interface{ Errorf(string, ...any) }, name string, src []byte) {
	once, err := Format(src)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	twice, err := Format(once)
	if err != nil || !bytes.Equal(once, twice) {
		t.Errorf("%s: formatted twice it differs (%v):\n%s", name, err, cmp.Diff(string(once), string(twice)))
	}
	before, _ := Scan(src)
	after, _ := Scan(once)
	if Sum(before) != Sum(after) {
		t.Errorf("%s: formatting has changed the contract:\n%s", name, once)
	}
	if got, want := said(after), said(before); got != want {
		t.Errorf("%s: of the comments\n%s\n there is left\n%s", name, want, got)
	}
}

// said returns all letters of all comments, in alphabetical order: comments may move.
func said(tokens []Token) string {
	var all []byte
	for _, t := range tokens {
		for _, c := range t.Lead {
			all = append(all, c.Text...)
		}
		all = append(all, t.Trail...)
	}
	all = bytes.ReplaceAll(bytes.ReplaceAll(all, []byte(" "), nil), []byte("\t"), nil)
	slices.Sort(all)
	return string(all)
}

// What the compiler takes this package understands, sees as the same contract, and
// lays out without changing it.
func TestAgreesWithTheCompiler(t *testing.T) {
	compiled := 0
	for name, src := range sources(t) {
		p, err := contract.Compile(src)
		if err != nil {
			if _, err := Parse(src); err == nil {
				steady(t, name, src)
			}
			continue
		}
		compiled++
		tokens, err := Scan(src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, want := Sum(tokens), p.Hash(); got != want {
			t.Errorf("%s: sum %x, want the compiler's %x", name, got, want)
		}
		steady(t, name, src)
		f, err := Parse(src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out, _ := Format(src)
		q, err := contract.Compile(out)
		if err != nil {
			t.Errorf("%s: formatted it does not compile: %v", name, err)
		} else if q.Hash() != p.Hash() {
			t.Errorf("%s: formatted it has another hash", name)
		}
		var phases []string
		for _, ph := range f.Phases {
			phases = append(phases, ph.Name.Text)
		}
		if diff := cmp.Diff(p.Phases(), phases); diff != "" {
			t.Errorf("%s: phases (-compiler +here):\n%s", name, diff)
		}
		holders := 0
		for _, role := range p.Roles() {
			holders += role.Hi
		}
		if len(f.Parties)+holders != len(p.Parties()) || len(f.Roles) != len(p.Roles()) {
			t.Errorf("%s: %d parties and %d roles, want %q", name, len(f.Parties), len(f.Roles), p.Parties())
		}
	}
	if compiled < 5 {
		t.Errorf("only %d sources compile", compiled)
	}
}

func TestExamplesAreFormatted(t *testing.T) {
	paths, _ := filepath.Glob("../../examples/*.latchkey")
	for _, p := range paths {
		src, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := Format(src); err != nil || !bytes.Equal(src, out) {
			t.Errorf("%s: %v: run `latchkey contract fmt` on it:\n%s", p, err, cmp.Diff(string(src), string(out)))
		}
	}
}

// However it is laid out and commented, it is formatted without a loss.
func TestFormatKeepsWhatCounts(t *testing.T) {
	all := sources(t)
	names := make([]string, 0, len(all))
	for name, src := range all {
		if _, err := Parse(src); err == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(names).Draw(t, "source")
		tokens, err := Scan(all[name])
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		gaps := rapid.SliceOfN(rapid.SampledFrom([]string{" ", "\n", "\n\n\n", "\t", " # tail\n", "\n# own line\n", "\r\n", "\n\n  # a\n\n# b\n\n"}), len(tokens), len(tokens)).Draw(t, "gaps")
		for i, tok := range tokens {
			b.WriteString(tok.Text + gaps[i])
		}
		steady(t, name, []byte(b.String()))
	})
}

func TestReserved(t *testing.T) {
	for _, w := range Words() {
		if _, err := contract.Compile([]byte("contract " + w + "\nparties a, b\nat open: close\n")); err == nil {
			t.Errorf("the compiler takes %q for a name, so it is not a word of the language", w)
		}
	}
	spec, err := os.ReadFile("../../spec/contract.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(spec), "These names are reserved:\n`")
	list, _, _ = strings.Cut(list, "`")
	want, got := strings.Fields(list), Words()
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the words of the language (-specification +here):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for src, want := range map[string]string{
		"":                                   "line 1, column 1: the text ends where `contract` is expected",
		"contract A\nparties":                "line 2, column 8: the text ends where the name of a party is expected",
		"contract A\nparties a\nat open:\n":  "line 3, column 9: the text ends where something to do is expected",
		"contract A\nparties a\nfoo":         "line 3, column 1: `foo` stands where a declaration or a phase is expected",
		"contract A\nparties a\n§":           "line 3, column 1: the character '§' has no meaning here",
		"contract A\nparties a\nrequire 1 +": "line 3, column 12: the text ends where the name of a value is expected",
		"contract A\nparties a\nrequire " + strings.Repeat("(", 1<<20): "nested",
	} {
		_, err := Parse([]byte(src))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Error(), want) {
			t.Errorf("Parse(%.40q): %v, want %s", src, err, want)
		}
	}
}

func FuzzFormat(f *testing.F) {
	f.Add([]byte("contract A\nparties a\nat open: close # x\n"))
	paths, err := filepath.Glob("../../examples/*.latchkey")
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range paths {
		src, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if _, err := Format(src); err == nil {
			steady(t, "fuzzed", src)
		}
	})
}

func ExampleFormat() {
	out, err := Format([]byte(`contract Pay parties payer,payee term amount:units 1..100
pot money=amount from payer at open:give all of money to payee close # done`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(out))
	// Output:
	// contract Pay
	// parties payer, payee
	// term amount : units 1..100
	// pot money = amount from payer
	// at open:
	//   give all of money to payee
	//   close  # done
}

func ExampleSum() {
	short, _ := Scan([]byte("contract A"))
	long, _ := Scan([]byte("contract # a comment\n\tA"))
	fmt.Println(Sum(short) == Sum(long), Sum(short) == sha256.Sum256(nil))
	// Output: true false
}
