package vault_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/coin"
	"latchkey/settle"
	"latchkey/spec/vectors"
	"latchkey/vault"
	"latchkey/wire"
)

// runVector is one settlement: what is said of its steps and when, and what the
// log then says. Chunks are named by side and index, times are seconds after the
// opening. expect is of the last event.
type runVector struct {
	Name    string      `json:"name"`
	Expect  string      `json:"expect"`
	Pace    settle.Pace `json:"pace"`
	Sides   [2][]int64  `json:"sides"`
	Ends    int64       `json:"ends"` // after lock_by
	Events  []runEvent  `json:"events"`
	Entries []runEntry  `json:"entries"`
}

type runEvent struct {
	At     int64  `json:"at"`
	Word   bool   `json:"word"` // else time passes, no more
	By     int    `json:"by"`   // party that signs
	Step   uint32 `json:"step"`
	Failed bool   `json:"failed"`
}

type runEntry struct {
	Kind    vault.RunKind `json:"kind"`
	At      int64         `json:"at"`
	Gives   [][3]int      `json:"gives"` // side, chunk, receiving party
	Closed  bool          `json:"closed"`
	Settled bool          `json:"settled"`
}

// play runs the events of a case on an escrow with two owners, who follow.
func (v runVector) play(t *testing.T) (ends int64, entries []runEntry, err error) {
	w := newWorld(t, 2)
	var ids [2][]wire.ChunkID
	names := map[wire.ChunkID][2]int{}
	for s, d := range []coin.Denomination{denomination("sol", coin.Ed25519), denomination("xmr", coin.Ed25519)} {
		for i, weight := range v.Sides[s] {
			id := w.owners[s].deposit(d, uint32(weight), 1)[0]
			ids[s], names[id] = append(ids[s], id), [2]int{s, i}
		}
	}
	a := w.swapOf(ids[0], ids[1])
	a.Settle, a.Pace = vault.TitForTat, &v.Pace
	id := w.agree(a)
	w.run()
	ends = w.owners[0].instance().Ends - a.LockBy
	opened := w.now
	for _, e := range v.Events {
		w.now = opened + e.At
		w.witness()
		if e.Word {
			b := vault.StepWord{Instance: id, Step: e.Step, Failed: e.Failed}
			q := vault.Request{Step: &vault.SignedStep{Body: b, Sig: wire.Sign(w.owners[e.By].sign, "latchkey/step/v1", must(t, b))}}
			var ans vault.Answer
			if ans, err = w.owners[e.By].ask(q); err == nil {
				w.persist(ans.Block, nil)
			}
		} else {
			b, derr := w.escrow.Due(w.rnd)
			w.persist(b, derr)
		}
		w.run()
	}
	for _, raw := range w.entries {
		e, perr := vault.ParseEntry(raw)
		if perr != nil {
			t.Fatal(perr)
		}
		if e.Run == nil {
			continue
		}
		x := runEntry{Kind: e.Run.Kind, At: e.At - opened, Closed: e.Run.Closed, Settled: e.Run.Settled, Gives: [][3]int{}}
		for _, g := range e.Run.Exits {
			n, to := names[g.Chunk], 0
			if g.To[0] == w.owners[1].id {
				to = 1
			}
			x.Gives = append(x.Gives, [3]int{n[0], n[1], to})
		}
		entries = append(entries, x)
	}
	return ends, entries, err
}

func TestSettlementVectors(t *testing.T) {
	t.Parallel()
	word := func(at int64, by int, step uint32, failed bool) runEvent { return runEvent{at, true, by, step, failed} }
	time := func(at int64) runEvent { return runEvent{At: at} }
	two := [2][]int64{{5, 5}, {5, 5}}
	uneven := [2][]int64{{10, 5, 2}, {5}}
	pace := settle.Pace{First: 5, Growth: 100, Most: 5, Wait: 60}
	made := vectors.File[runVector]{About: "Settlements step by step: spec/settle.md. kind: 1 open, 5 taken, 6 lapsed, 7 failed. gives: side, index in the side, receiving party."}
	for _, v := range []runVector{
		{Name: "every step taken", Sides: two, Events: []runEvent{word(1, 1, 1, false), word(2, 0, 2, false), word(3, 1, 3, false)}},
		{Name: "uneven sides, every step taken", Sides: uneven, Events: []runEvent{word(1, 1, 1, false), word(2, 0, 2, false), word(3, 1, 3, false)}},
		{Name: "the last step is over when it is given", Sides: two, Events: []runEvent{word(1, 1, 1, false), word(2, 0, 2, false), word(3, 1, 3, false), word(4, 0, 4, true)}},
		{Name: "silence", Sides: two, Events: []runEvent{time(61), time(62), time(123), time(124), time(200)}},
		{Name: "a word in the grace", Sides: two, Events: []runEvent{word(61, 1, 1, true)}},
		{Name: "the first step failed", Sides: two, Events: []runEvent{word(1, 1, 1, true)}},
		{Name: "a later step failed", Sides: two, Events: []runEvent{word(1, 1, 1, false), word(2, 0, 2, true)}},
		{Name: "a word said again", Sides: two, Events: []runEvent{word(1, 1, 1, false), word(2, 1, 1, false)}},
		{Name: "after the grace", Sides: two, Events: []runEvent{word(62, 1, 1, true)}, Expect: "error: step 1 is over"},
		{Name: "a report of a step that was taken", Sides: two, Events: []runEvent{word(1, 1, 1, false), word(2, 1, 1, true)}, Expect: "error: step 1 is over"},
		{Name: "a step to come", Sides: two, Events: []runEvent{word(1, 0, 2, false)}, Expect: "error: has not come to step 2"},
		{Name: "of the giver", Sides: two, Events: []runEvent{word(1, 0, 1, false)}, Expect: "error: signature"},
	} {
		v.Pace = pace
		if v.Expect == "" {
			v.Expect = "ok"
		}
		var err error
		v.Ends, v.Entries, err = v.play(t)
		if (err == nil) != (v.Expect == "ok") {
			t.Errorf("%s: %v, want %s", v.Name, err, v.Expect)
		}
		made.Cases = append(made.Cases, v)
	}
	vectors.Check(t, *update, "../spec/vectors/settle/run.json", made,
		func(v runVector) (string, string) { return v.Name, v.Expect },
		func(v runVector) error {
			ends, entries, err := v.play(t)
			if diff := cmp.Diff(v.Entries, entries); diff != "" || ends != v.Ends {
				return fmt.Errorf("ends %d after lock_by; entries (-want +got):\n%s", ends, diff)
			}
			return err
		})
}
