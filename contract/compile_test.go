package contract

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// compiled returns every finding of a source, errors and warnings.
func compiled(source string) []Finding {
	p, err := Compile([]byte(source))
	if err != nil {
		var refused *Error
		if !errors.As(err, &refused) {
			panic(err)
		}
		return refused.Findings
	}
	return p.Warnings()
}

// TestFindings runs the contracts of testdata/*.latchkey, which `---` separates. A comment `# want: text` expects a
// finding on its line whose text holds that; several are separated by `|`. A finding that belongs to no line counts as
// on the first. No other finding may come.
func TestFindings(t *testing.T) {
	files, err := filepath.Glob("testdata/*.latchkey")
	if err != nil || len(files) == 0 {
		t.Fatalf("no contracts to test: %v", err)
	}
	want := regexp.MustCompile(`# want: (.*)$`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, source := range strings.Split(string(text), "---\n") {
			t.Run(fmt.Sprintf("%s/%d", strings.TrimSuffix(filepath.Base(file), ".latchkey"), i), func(t *testing.T) {
				var wanted []string
				for n, line := range strings.Split(source, "\n") {
					if m := want.FindStringSubmatch(line); m != nil {
						for _, text := range strings.Split(m[1], " | ") {
							wanted = append(wanted, fmt.Sprintf("%d: %s", n+1, text))
						}
					}
				}
				for _, f := range compiled(source) {
					got := fmt.Sprintf("%d: %s: %s; %s", max(f.Line, 1), f.Severity, f.What, f.Mend)
					found := false
					for j, w := range wanted {
						line, text, _ := strings.Cut(w, ": ")
						if strings.HasPrefix(got, line+": ") && strings.Contains(got, text) {
							wanted, found = append(wanted[:j], wanted[j+1:]...), true
							break
						}
					}
					if !found {
						t.Errorf("unexpected finding:\n%s", got)
					}
					if f.What == "" || f.Mend == "" || f.Line > 0 && f.Col < 1 {
						t.Errorf("a finding lacks its place, what is wrong, or how to mend it: %+v", f)
					}
				}
				for _, w := range wanted {
					t.Errorf("missing finding:\n%s", w)
				}
			})
		}
	}
}

func TestFindingSaysWhereAndHow(t *testing.T) {
	_, err := Compile([]byte("contract X\nparties a, b\npot p = 5 units from c\nat open: close\n"))
	want := "line 3, column 22: error: `c` is not the name of a party; declare it above, or use a name that is declared"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestHashIgnoresLayoutOnly(t *testing.T) {
	base := "contract X\nparties a, b\nterm t : units 1..1000\npot p = t units from a\nat open:\n  give all of p to b\n  close\n"
	p, err := Compile([]byte(base))
	if err != nil {
		t.Fatal(err)
	}
	for _, same := range []string{
		strings.ReplaceAll(base, "\n", "\r\n"),
		strings.Join(strings.Fields(base), " "),
		strings.Replace(base, "1000", "1_000 # a thousand — in words", 1),
	} {
		if q, err := Compile([]byte(same)); err != nil || q.Hash() != p.Hash() {
			t.Errorf("another layout has another hash: %v\n%s", err, same)
		}
	}
	for _, other := range []string{
		strings.Replace(base, "1000", "1001", 1),
		strings.Replace(base, "contract X", "contract Y", 1),
		strings.Replace(base, "give all of p", "give t of p", 1),
	} {
		if q, err := Compile([]byte(other)); err != nil || q.Hash() == p.Hash() {
			t.Errorf("another contract has the same hash: %v\n%s", err, other)
		}
	}
	want := "c24e888d86f6abae" // pinned: the canonical text is part of the format
	if got := fmt.Sprintf("%x", p.Hash())[:16]; got != want {
		t.Errorf("hash begins with %s, want %s", got, want)
	}
}

func TestSourceLimit(t *testing.T) {
	ok := "contract X\nparties a, b\npot p = 5 units from a\nat open:\n give all of p to b\n close\n"
	for _, pad := range []int{0, MaxSource - len(ok)} {
		if _, err := Compile([]byte(ok + strings.Repeat("\n", pad))); err != nil {
			t.Errorf("refused with %d bytes of padding: %v", pad, err)
		}
	}
	if _, err := Compile([]byte(ok + strings.Repeat("\n", MaxSource-len(ok)+1))); err == nil {
		t.Error("accepted a source above the limit")
	}
}

func TestMuldivAgainstBig(t *testing.T) {
	edge := rapid.SampledFrom([]int64{0, 1, -1, 2, math.MaxInt64, math.MinInt64, math.MaxInt64 - 1, 1 << 32})
	number := rapid.OneOf(edge, rapid.Int64(), rapid.Int64Range(-1000, 1000))
	rapid.Check(t, func(t *rapid.T) {
		x, num, den := number.Draw(t, "x"), number.Draw(t, "num"), number.Draw(t, "den")
		got, ok := muldiv(x, num, den)
		if den == 0 {
			if ok {
				t.Fatal("divided by zero")
			}
			return
		}
		want := new(big.Int).Mul(big.NewInt(x), big.NewInt(num))
		want.Quo(want, big.NewInt(den))
		if ok != want.IsInt64() || ok && got != want.Int64() {
			t.Fatalf("%d*%d/%d = %d, %t, want %v", x, num, den, got, ok, want)
		}
		if !ok && got != limit(want.Sign() < 0) {
			t.Fatalf("%d*%d/%d is cut off to %d, want %v", x, num, den, got, want)
		}
	})
}

func FuzzCompile(f *testing.F) {
	for _, pattern := range []string{"../examples/*.latchkey", "testdata/*.latchkey"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			for _, source := range strings.Split(string(text), "---\n") {
				f.Add([]byte(source))
			}
		}
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		p, err := Compile(source)
		q, err2 := Compile(source)
		if fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("two answers: %v, %v", err, err2)
		}
		if err != nil {
			var refused *Error
			if !errors.As(err, &refused) || len(refused.Findings) == 0 {
				t.Fatalf("a refusal without findings: %v", err)
			}
			return
		}
		if diff := cmp.Diff(p.Hash(), q.Hash()); diff != "" {
			t.Fatal(diff)
		}
		// What the checks pass must open and end for the least and the greatest terms.
		for _, lowest := range []bool{true, false} {
			var terms []int64
			for _, term := range p.Terms() {
				if lowest {
					terms = append(terms, term.Lo)
				} else {
					terms = append(terms, term.Hi)
				}
			}
			if d, err := p.Bind(terms); err == nil {
				silence(t, d)
			} else if !errors.Is(err, ErrTerms) {
				t.Fatalf("bind: %v", err)
			}
		}
	})
}

// silence opens an instance with one chunk in each pot and lets every deadline pass.
func silence(t *testing.T, d *Deal) {
	weights := make([][]int64, len(d.units()))
	for i, u := range d.units() {
		if u > 0 {
			weights[i] = []int64{u}
		}
	}
	s, _, err := d.Open(weights, noon)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	last := d.LastDeadline(noon)
	for step := 0; !s.Closed() && step < 10_000; step++ {
		at, _ := d.Deadline(s)
		if at > last {
			t.Fatalf("a deadline at %d, the last should be %d", at, last)
		}
		if at > farAway {
			return
		}
		if s, _, err = d.Step(s, Event{Kind: Deadline, At: at}); err != nil {
			t.Fatalf("deadline: %v", err)
		}
	}
}
