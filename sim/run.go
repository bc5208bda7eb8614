package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A Failure is a broken invariant with what led to it.
type Failure struct {
	Seed   uint64
	Err    error
	Events []Event
	Drawn  int // events before shrinking
}

// Error prints the seed, the events and how to play them again.
func (f *Failure) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %v\n%d events of %d:\n", f.Seed, f.Err, len(f.Events), f.Drawn)
	b.WriteString(f.File())
	fmt.Fprintf(&b, "again: go test ./sim -run 'TestSeeds' -seed %d -v\n", f.Seed)
	return b.String()
}

// Unwrap returns the broken invariant.
func (f *Failure) Unwrap() error { return f.Err }

// File returns the text of a regression file: the seed, then an event a line.
func (f *Failure) File() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d\n", f.Seed)
	for _, e := range f.Events {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}

// ParseFile reads a regression file. Lines that begin with # are remarks.
func ParseFile(text string) (seed uint64, events []Event, err error) {
	first := true
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case first:
			if _, err := fmt.Sscanf(line, "seed %d", &seed); err != nil {
				return 0, nil, fmt.Errorf("line %q: want seed and a number", line)
			}
			first = false
		default:
			e, err := ParseEvent(line)
			if err != nil {
				return 0, nil, err
			}
			events = append(events, e)
		}
	}
	if first {
		return 0, nil, fmt.Errorf("no seed")
	}
	return seed, events, nil
}

// Stats say what worlds were made of.
type Stats struct {
	Worlds, Events, Appends, Refusals, Instances, Opened, Claims, Halted, Stepwise, Steps, Broken, Restored int
	Kinds                                                                                                   map[string]int
}

// Add sums up.
func (s *Stats) Add(t Stats) {
	s.Worlds += t.Worlds
	s.Events += t.Events
	s.Appends += t.Appends
	s.Refusals += t.Refusals
	s.Instances += t.Instances
	s.Opened += t.Opened
	s.Claims += t.Claims
	s.Halted += t.Halted
	s.Stepwise += t.Stepwise
	s.Steps += t.Steps
	s.Broken += t.Broken
	s.Restored += t.Restored
	if s.Kinds == nil {
		s.Kinds = map[string]int{}
	}
	for k, n := range t.Kinds {
		s.Kinds[k] += n
	}
}

// configOf derives a world from a seed.
func configOf(seed uint64) Config {
	r := rand.New(rand.NewPCG(seed, 1))
	cfg := Config{Seed: seed, Clients: 2 + r.IntN(3), Broken: map[string]bool{}}
	if r.IntN(3) == 0 {
		cfg.Liars = 1
	}
	if cfg.Clients == 4 {
		cfg.Broken["mallory"] = true
	}
	return cfg
}

// Run plays the world of a seed: steps events drawn at random, then peace. log,
// if not nil, is told what happens. A broken invariant comes back shrunk.
func Run(cast *Cast, seed uint64, steps int, log func(string)) (Stats, *Failure) {
	r := rand.New(rand.NewPCG(seed, 2))
	p := newProfile(r)
	var events []Event
	st, err := play(cast, seed, log, func(w *World) (Event, bool) {
		if len(events) == steps {
			return Event{}, false
		}
		e := p.draw(r, w)
		events = append(events, e)
		return e, true
	})
	if err == nil {
		return st, nil
	}
	f := &Failure{Seed: seed, Err: err, Events: events, Drawn: len(events)}
	f.shrink(cast, 300)
	return st, f
}

// Replay plays given events in the world of a seed.
func Replay(cast *Cast, seed uint64, events []Event, log func(string)) (Stats, error) {
	i := 0
	return play(cast, seed, log, func(*World) (Event, bool) {
		if i == len(events) {
			return Event{}, false
		}
		i++
		return events[i-1], true
	})
}

func play(cast *Cast, seed uint64, log func(string), next func(*World) (Event, bool)) (Stats, error) {
	w, err := New(cast, configOf(seed))
	if err != nil {
		return Stats{}, err
	}
	w.log = log
	w.prelude(seed)
	n := 0
	for w.err == nil {
		e, ok := next(w)
		if !ok {
			break
		}
		w.say("— %s", e)
		w.Play(e)
		n++
	}
	if w.err == nil {
		w.say("— peace")
		w.Settle()
	}
	st := Stats{
		Worlds: 1, Events: n, Appends: w.appends, Refusals: w.refusals, Instances: len(w.ledger.courses), Claims: w.ledger.claims, Kinds: w.ledger.kinds,
		Restored: w.restored,
	}
	if w.halted {
		st.Halted = 1
	}
	for _, c := range w.ledger.courses {
		if c.Opened {
			st.Opened++
		}
		if c.Opened && c.turns != nil {
			st.Stepwise++
			st.Steps += len(c.turns.steps)
		}
		if c.Broken {
			st.Broken++
		}
	}
	return st, w.err
}

// prelude gives most worlds some chunks to begin with, for there is more to see
// once there are.
func (w *World) prelude(seed uint64) {
	if seed%8 == 0 {
		return
	}
	for i, c := range w.clients {
		d := w.cast.Coins[(int(seed)+i)%2]
		if seed%8 == 1 {
			d = w.cast.Coins[2]
		}
		if err := c.Deposit(d, 2, 3); err != nil {
			w.fail("%w", err)
		}
	}
	for range 4 {
		w.Tick(1)
		w.Pump()
	}
	for _, c := range w.clients {
		c.Sync()
		c.Fund()
	}
	w.Mine(depth)
}

// shrink looks for a shorter list of events that breaks the same kind of
// invariant, by leaving out runs of them, halving the length of the runs
// (delta debugging; Zeller and Hildebrandt, TSE 28, 2002). plays bounds the work.
func (f *Failure) shrink(cast *Cast, plays int) {
	fails := func(events []Event) error {
		_, err := Replay(cast, f.Seed, events, nil)
		return err
	}
	for n := (len(f.Events) + 1) / 2; n > 0; {
		shorter := false
		for at := 0; at < len(f.Events); {
			if plays--; plays < 0 {
				return
			}
			rest := append(append([]Event(nil), f.Events[:at]...), f.Events[min(len(f.Events), at+n):]...)
			if err := fails(rest); err != nil {
				f.Events, f.Err, shorter = rest, err, true
			} else {
				at += n
			}
		}
		if n == 1 && !shorter {
			return
		}
		n = max(1, n/2)
	}
}
