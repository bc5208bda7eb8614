package settle_test

import (
	"flag"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"latchkey/settle"
	"latchkey/spec/vectors"
)

var update = flag.Bool("update", false, "write the vectors of spec/vectors/settle anew")

// planVector is a plan of one settlement.
type planVector struct {
	Name   string        `json:"name"`
	Expect string        `json:"expect"`
	Pace   settle.Pace   `json:"pace"`
	Sides  [2][]int64    `json:"sides"`
	Steps  []settle.Step `json:"steps"`
	Loss   [2]int64      `json:"loss"`
}

func (v planVector) run() error {
	steps, err := v.Pace.Plan(v.Sides)
	if err != nil {
		return err
	}
	loss, err := settle.Loss(steps, v.Sides)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(v.Steps, steps); diff != "" || loss != v.Loss {
		return fmt.Errorf("loss %v; steps (-want +got):\n%s", loss, diff)
	}
	return nil
}

func repeat(w int64, n int) (out []int64) {
	for range n {
		out = append(out, w)
	}
	return out
}

func TestPlanVectors(t *testing.T) {
	made := vectors.File[planVector]{About: "Steps of a tit-for-tat settlement: spec/settle.md. A step names chunks by their index in its side. loss is in units of what each side gives."}
	usual := settle.Pace{First: 5, Growth: 200, Most: 20, Wait: 600}
	for _, v := range []planVector{
		{Name: "equal sides of equal chunks", Pace: usual, Sides: [2][]int64{repeat(5, 10), repeat(5, 10)}},
		{Name: "one chunk against one", Pace: usual, Sides: [2][]int64{{10}, {10}}},
		{Name: "the light ones go first", Pace: usual, Sides: [2][]int64{{20, 10, 5, 5, 2, 1}, {20, 20, 2, 1}}},
		{Name: "uneven sides", Pace: usual, Sides: [2][]int64{repeat(5, 12), repeat(5, 4)}},
		{Name: "the second side gives more", Pace: usual, Sides: [2][]int64{repeat(1, 5), repeat(10, 5)}},
		{Name: "a coarse side is ahead and is passed over", Pace: usual, Sides: [2][]int64{repeat(5, 10), {50}}},
		{Name: "steps that do not grow", Pace: settle.Pace{First: 3, Growth: 100, Most: 3, Wait: 10}, Sides: [2][]int64{repeat(1, 9), repeat(1, 9)}},
		{Name: "growth is rounded up", Pace: settle.Pace{First: 1, Growth: 101, Most: 1000, Wait: 10}, Sides: [2][]int64{repeat(1, 10), repeat(1, 10)}},
		{Name: "the greatest that there is", Pace: settle.Pace{First: 1 << 20, Growth: 1000, Most: 1 << 20, Wait: 7 * 86400}, Sides: [2][]int64{{1 << 20}, {1 << 20}}},
		{Name: "no first round", Pace: settle.Pace{Growth: 100, Most: 5, Wait: 60}, Sides: [2][]int64{{5}, {5}}, Expect: "error: rounds of 0 to 5 units"},
		{Name: "a first round above the greatest", Pace: settle.Pace{First: 6, Growth: 100, Most: 5, Wait: 60}, Sides: [2][]int64{{5}, {5}}, Expect: "error: rounds of 6 to 5 units"},
		{Name: "rounds that shrink", Pace: settle.Pace{First: 5, Growth: 99, Most: 5, Wait: 60}, Sides: [2][]int64{{5}, {5}}, Expect: "error: growth of 99 percent"},
		{Name: "growth without bound", Pace: settle.Pace{First: 5, Growth: 1001, Most: 5, Wait: 60}, Sides: [2][]int64{{5}, {5}}, Expect: "error: growth of 1001 percent"},
		{Name: "no time to look", Pace: settle.Pace{First: 5, Growth: 100, Most: 5, Wait: 9}, Sides: [2][]int64{{5}, {5}}, Expect: "error: waits 9 seconds"},
		{Name: "a step that waits too long", Pace: settle.Pace{First: 5, Growth: 100, Most: 5, Wait: 7*86400 + 1}, Sides: [2][]int64{{5}, {5}}, Expect: "error: waits 604801 seconds"},
		{Name: "one side gives nothing", Pace: usual, Sides: [2][]int64{{5}, {}}, Expect: "error: side 1 gives nothing"},
		{Name: "a chunk without weight", Pace: usual, Sides: [2][]int64{{5, 0}, {5}}, Expect: "error: a chunk of 0 units"},
		{Name: "more than can be planned", Pace: usual, Sides: [2][]int64{{5}, {1 << 20, 1}}, Expect: "error: more than 1048576 in all"},
	} {
		if v.Expect == "" {
			v.Expect = "ok"
			var err error
			if v.Steps, err = v.Pace.Plan(v.Sides); err != nil {
				t.Fatal(err)
			}
			if v.Loss, err = settle.Loss(v.Steps, v.Sides); err != nil {
				t.Fatal(err)
			}
		}
		made.Cases = append(made.Cases, v)
	}
	vectors.Check(t, *update, "../spec/vectors/settle/plan.json", made,
		func(v planVector) (string, string) { return v.Name, v.Expect }, planVector.run)
}

func drawn(t *rapid.T) (settle.Pace, [2][]int64) {
	first := rapid.Uint32Range(1, 50).Draw(t, "first")
	p := settle.Pace{
		First: first, Growth: rapid.Uint32Range(100, 1000).Draw(t, "growth"),
		Most: rapid.Uint32Range(first, 400).Draw(t, "most"), Wait: 60,
	}
	w := rapid.SliceOfN(rapid.SampledFrom([]int64{1, 2, 5, 10, 20, 50, 100}), 1, 40)
	return p, [2][]int64{w.Draw(t, "x"), w.Draw(t, "y")}
}

func total(list []int64) (sum int64) {
	for _, w := range list {
		sum += w
	}
	return sum
}

// Every chunk is handed over once, by rising weight; no side runs ahead.
func TestPlanGivesAllOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, sides := drawn(t)
		steps, err := p.Plan(sides)
		if err != nil {
			t.Fatal(err)
		}
		seen := [2]map[int]bool{{}, {}}
		last := [2]int64{}
		for n, st := range steps {
			if len(st.Chunks) == 0 {
				t.Fatalf("step %d hands nothing over", n)
			}
			for _, i := range st.Chunks {
				if w := sides[st.Side][i]; seen[st.Side][i] || w < last[st.Side] {
					t.Fatalf("step %d: chunk %d of side %d goes twice, or after a heavier one", n, i, st.Side)
				} else {
					seen[st.Side][i], last[st.Side] = true, w
				}
			}
		}
		if len(seen[0]) != len(sides[0]) || len(seen[1]) != len(sides[1]) {
			t.Fatalf("%d and %d chunks of %d and %d are handed over", len(seen[0]), len(seen[1]), len(sides[0]), len(sides[1]))
		}
	})
}

// Whatever step is the last one and whichever step came empty, a side that
// reported what it was given next loses no more than Loss says.
func TestLossIsTheMost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, sides := drawn(t)
		steps, err := p.Plan(sides)
		if err != nil {
			t.Fatal(err)
		}
		most, err := settle.Loss(steps, sides)
		if err != nil {
			t.Fatal(err)
		}
		me := rapid.IntRange(0, 1).Draw(t, "me")
		end := rapid.IntRange(1, len(steps)).Draw(t, "end")
		bad := -1 // the newest step that I received may be worth nothing
		for n, st := range steps[:end] {
			if st.Side != me {
				bad = n
			}
		}
		var gave, got int64
		for n, st := range steps[:end] {
			for _, i := range st.Chunks {
				switch {
				case st.Side == me:
					gave += sides[me][i]
				case n != bad || rapid.Bool().Draw(t, "good after all"):
					got += sides[1-me][i]
				}
			}
		}
		mine, theirs := total(sides[me]), total(sides[1-me])
		if (gave-most[me])*theirs > mine*got { // gave − mine·got/theirs > most
			t.Fatalf("side %d gave %d of %d and got %d of %d: more than %d lost", me, gave, mine, got, theirs, most[me])
		}
		if most[me] > mine {
			t.Fatalf("side %d can lose %d of %d", me, most[me], mine)
		}
	})
}

// Sides of equal size whose chunks are light beside the rounds: what can be lost
// is a round and a step, not the whole.
func TestLossIsBoundedByTheRounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, _ := drawn(t)
		n := rapid.IntRange(1, 600).Draw(t, "n")
		sides := [2][]int64{repeat(1, n), repeat(1, n)}
		steps, err := p.Plan(sides)
		if err != nil {
			t.Fatal(err)
		}
		most, err := settle.Loss(steps, sides)
		if err != nil {
			t.Fatal(err)
		}
		if most[0] > 2*int64(p.Most) || most[1] > int64(p.Most) {
			t.Fatalf("can lose %v, with rounds of at most %d", most, p.Most)
		}
	})
}
