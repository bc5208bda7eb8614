package rival

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"latchkey/contract"
)

const (
	noon = 1_800_000_000
	day  = 86_400
)

func load(t testing.TB, name string) *Contract {
	c, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func machines(t testing.TB, c *Contract) []Machine {
	wasm := NewWasm(c)
	t.Cleanup(func() {
		if err := wasm.R.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	evm, err := NewEVM(c)
	if err != nil {
		t.Fatal(err)
	}
	return []Machine{Own{c}, wasm, evm}
}

func compile(t testing.TB, m Machine) Program {
	p, err := m.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// terms draws terms, one in five of them out of range or against a requirement.
func terms(r *rand.Rand, name string) []int64 {
	amount := func(most int64) int64 {
		return []int64{1, most, 1 + r.Int64N(most), 1 + r.Int64N(20), 0, most + 1}[weigh(r, 6, 6, 8, 8, 1, 1)]
	}
	when := func() int64 {
		return noon + []int64{r.Int64N(2 * day), r.Int64N(300), -10, -2 * noon}[weigh(r, 20, 6, 2, 1)]
	}
	if name == "escrow" {
		ship := when()
		return []int64{amount(1000), amount(50) - int64(r.IntN(2)), ship, ship + []int64{1 + r.Int64N(day), 1, 0, -5}[weigh(r, 20, 4, 1, 1)]}
	}
	return []int64{amount(1000), amount(100), []int64{1000, 10_000_000_000, amount(10_000_000_000)}[weigh(r, 3, 1, 2)], when(), []int64{r.Int64N(day), 0, -1}[weigh(r, 20, 2, 1)]}
}

func weigh(r *rand.Rand, weights ...int) int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	n := r.IntN(sum)
	for i, w := range weights {
		if n -= w; n < 0 {
			return i
		}
	}
	panic("unreachable")
}

var words = []string{"release", "refund", "dispute", "award", "settle", "unwind"}

// event draws an event, likely or not, after a play that stands at now.
func event(r *rand.Rand, terms []int64, now int64) Event {
	ends := []int64{terms[2], terms[3], terms[3] + terms[len(terms)-1]}
	at := []int64{now + r.Int64N(50), now, now - 1, ends[r.IntN(3)] + r.Int64N(3) - 1, now + r.Int64N(2*day), 1<<53 + r.Int64N(2)}[weigh(r, 30, 5, 1, 8, 2, 1)]
	ev := contract.Event{Kind: contract.EventKind([]int{1, 2, 3, 4, 0}[weigh(r, 40, 20, 40, 1, 1)]), At: at}
	switch ev.Kind {
	case contract.Word:
		ev.Party, ev.Word = r.IntN(3), words[r.IntN(len(words))]
		if r.IntN(20) == 0 {
			ev.Party = []int{-1, 3, 64}[r.IntN(3)]
		}
		if ev.HasValue = ev.Word == "award" != (r.IntN(10) == 0); ev.HasValue {
			ev.Value = []int64{r.Int64N(101), 0, 100, 101, -1}[weigh(r, 20, 2, 2, 1, 1)]
		}
	case contract.Oracle:
		strike := terms[2]
		ev.Value = []int64{strike + r.Int64N(21) - 10, 1 + r.Int64N(10_000_000_000), strike + strike/max(1, terms[1]) + r.Int64N(3) - 1, strike - strike/max(1, terms[1]) + r.Int64N(3) - 1, 0, 10_000_000_001}[weigh(r, 30, 4, 4, 4, 1, 1)]
		ev.Observed = []int64{at, at - r.Int64N(70), at - 60, at - 61, at + 1, -1, terms[3]}[weigh(r, 10, 8, 2, 1, 1, 1, 12)]
	case contract.Deadline:
		if r.IntN(2) == 0 {
			ev.At = max(at, ends[r.IntN(3)])
		}
	}
	return Say(ev)
}

// play plays the same events on all machines and compares every answer. Now and then
// every instance is put back from its snapshot. It returns what the play came to.
func play(t *testing.T, c *Contract, programs []Program, seed uint64) (outcome string) {
	r := rand.New(rand.NewPCG(seed, 0))
	terms := terms(r, c.Name)
	var instances []Instance
	var refused []bool
	for _, p := range programs {
		i, err := p.Open(terms, noon)
		if err != nil && !errors.Is(err, ErrRefused) {
			t.Fatalf("seed %d: terms %v: %v", seed, terms, err)
		}
		instances, refused = append(instances, i), append(refused, err != nil)
	}
	if slices.Contains(refused, !refused[0]) {
		t.Fatalf("seed %d: terms %v: refused by %v", seed, terms, refused)
	}
	if refused[0] {
		return "terms refused"
	}
	defer func() {
		for _, i := range instances {
			if err := i.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	now, taken := int64(noon), 0
	for range 60 {
		ev := event(r, terms, now)
		var results []Result
		for _, i := range instances {
			var got Result
			err := i.Step(&ev, &got)
			if err != nil && !errors.Is(err, ErrRefused) {
				t.Fatalf("seed %d: %+v: %v", seed, ev, err)
			}
			results, refused = append(results, got), append(refused, err != nil)
		}
		refused = refused[len(instances):]
		for k := range instances {
			if refused[k] != refused[0] || results[k] != results[0] {
				t.Fatalf("seed %d: terms %v, event %d, %+v:\nrefused %v, results %v", seed, terms, taken, ev, refused, results)
			}
		}
		if results[0].Closed {
			// That all three say the same is not all: nothing may be lost.
			held := [2]int64{terms[0], terms[0]}
			if c.Name == "escrow" {
				held[1] = terms[1]
			}
			for pot, paid := range results[0].Paid {
				if got := paid[0] + paid[1] + paid[2]; got != held[pot] {
					t.Fatalf("seed %d: pot %d held %d units and paid %d", seed, pot, held[pot], got)
				}
			}
			if outcome == "" {
				outcome = fmt.Sprint(ev.Kind, ev.Word, paying(results[0]))
			}
		}
		if !refused[0] {
			taken++
			now = min(max(now, ev.At), now+2*day)
		}
		if outcome == "" && r.IntN(4) == 0 {
			for k, p := range programs {
				instances[k] = moved(t, p, instances[k], terms)
			}
		}
	}
	if outcome == "" {
		return "open"
	}
	return outcome
}

// paying tells which party got something of which pot.
func paying(r Result) string {
	var b strings.Builder
	for _, pot := range r.Paid {
		for _, units := range pot {
			b.WriteByte("-+"[min(units, 1)])
		}
	}
	return b.String()
}

// moved opens another instance of the same terms and puts it where the first stands.
func moved(t *testing.T, p Program, i Instance, terms []int64) Instance {
	snapshot, err := i.Snapshot(nil)
	if err != nil {
		t.Fatal(err)
	}
	next, err := p.Open(terms, noon)
	if err == nil {
		err = next.Restore(snapshot)
	}
	if err == nil {
		err = i.Close()
	}
	if err != nil {
		t.Fatalf("restore %x: %v", snapshot, err)
	}
	return next
}

func TestMachinesAgree(t *testing.T) {
	for _, name := range []string{"escrow", "cfd"} {
		t.Run(name, func(t *testing.T) {
			c := load(t, name)
			var programs []Program
			for _, m := range machines(t, c) {
				programs = append(programs, compile(t, m))
			}
			outcomes := make(map[string]int)
			for seed := range uint64(1000) {
				outcomes[play(t, c, programs, seed)]++
			}
			t.Log(outcomes)
			// The plays prove something only if they come to every kind of end.
			for _, want := range map[string][]string{
				"escrow": {"terms refused", "2", "1release", "1refund", "1award", "1settle"},
				"cfd":    {"terms refused", "2+--", "1unwind", "3++--+-", "3-+--+-", "3+--++-", "3+--+--"},
			}[name] {
				n := 0
				for outcome, times := range outcomes {
					if strings.HasPrefix(outcome, want) {
						n += times
					}
				}
				if n == 0 {
					t.Errorf("no play came to %q", want)
				}
			}
		})
	}
}
