package sim

import (
	"slices"

	"latchkey/vault"
	"latchkey/wire"
)

// turns is the ledger's own book of a tit-for-tat settlement, kept from the
// meaning of spec/settle.md, not from the code that plans it: it looks at who has
// handed over how much, and says who is next.
type turns struct {
	queue  [2][]vault.Stake // what each party has still to hand over, in order
	sum    [2]int64         // of all that it hands over
	handed [2]int64
	pace   [4]int64 // first, growth, most, wait
	target int64    // of this round, in units of the side that gives more
	size   int64    // of the next round
	side   int      // whose turn it is
	steps  []turn
}

// turn is one step that was given.
type turn struct {
	side   int // that gave it
	at     vault.Index
	time   int64
	chunks []wire.ChunkID
	spoken bool // its receiver said what became of it
}

// newTurns lists what two parties give each other: all that the contract gives,
// without what it returns.
func newTurns(c *Course) *turns {
	t := &turns{pace: [4]int64{int64(c.Agreement.Pace.First), int64(c.Agreement.Pace.Growth), int64(c.Agreement.Pace.Most), int64(c.Agreement.Pace.Wait)}}
	gives, _ := c.outcome.open()
	weight := map[wire.ChunkID]vault.Stake{}
	for _, pot := range c.Agreement.Pots {
		for _, s := range pot {
			weight[s.Chunk] = s
		}
	}
	due := map[wire.ChunkID]wire.VaultID{}
	for _, p := range gives {
		from := c.outcome.from(p.pot)
		for _, id := range c.outcome.pick(p, nil, due) {
			due[id] = c.Parties[p.to]
			at := len(t.queue[from]) // behind all that are not heavier
			for at > 0 && t.queue[from][at-1].Weight > weight[id].Weight {
				at--
			}
			t.queue[from] = slices.Insert(t.queue[from], at, weight[id])
			t.sum[from] += int64(weight[id].Weight)
		}
	}
	t.size, t.side = t.pace[0], 1
	return t
}

// next takes the next step from the queues.
func (t *turns) next() (chunks []wire.ChunkID) {
	whole := max(t.sum[0], t.sum[1])
	for len(chunks) == 0 && len(t.queue[0])+len(t.queue[1]) > 0 {
		if t.side = 1 - t.side; t.side == 0 {
			t.target = min(whole, t.target+t.size)
			t.size = min(t.pace[2], (t.size*t.pace[1]+99)/100)
		}
		for s := t.side; len(t.queue[s]) > 0 && (t.handed[s]+1)*whole <= t.target*t.sum[s]; {
			chunks = append(chunks, t.queue[s][0].Chunk)
			t.handed[s] += int64(t.queue[s][0].Weight)
			t.queue[s] = t.queue[s][1:]
		}
	}
	return chunks
}

// give notes the next step as given.
func (t *turns) give(at vault.Index, time int64) []wire.ChunkID {
	chunks := t.next()
	t.steps = append(t.steps, turn{side: t.side, at: at, time: time, chunks: chunks})
	return chunks
}

func (t *turns) open() *turn { return &t.steps[len(t.steps)-1] }

// lapses returns when the open step may be passed over.
func (t *turns) lapses() int64 { return t.open().time + t.pace[3] }

// turn folds an entry by which a settlement goes on or breaks off, and says what
// must leave by it.
func (l *Ledger) turn(c *Course, e vault.Entry, at vault.Index) (map[wire.ChunkID]wire.VaultID, error) {
	r, t := e.Run, c.turns
	if !c.Closed || t == nil {
		return nil, rule("instance %s goes on to another step and is not closed, or is atomic", c.ID.Short())
	}
	open := t.open()
	if r.EventAt != e.At {
		return nil, rule("instance %s: a step of %d in an entry of %d", c.ID.Short(), r.EventAt, e.At)
	}
	switch r.Kind {
	case vault.RunLapsed:
		if e.At < t.lapses() {
			return nil, rule("instance %s: step %d lapses at %d, and waits until %d", c.ID.Short(), len(t.steps), e.At, t.lapses())
		}
	default:
		w := r.Step
		if w == nil || w.Body.Instance != c.ID || int(w.Body.Step) != len(t.steps) || w.Body.Failed != (r.Kind == vault.RunFailed) {
			return nil, rule("instance %s goes on from step %d with no word about it", c.ID.Short(), len(t.steps))
		}
		body, err := wire.Marshal(w.Body)
		if err != nil {
			return nil, rule("%w", err)
		}
		if l.cast.member(c.Parties[1-open.side]).Identity.Verify("latchkey/step/v1", body, w.Sig) != nil {
			return nil, rule("instance %s: whoever was given step %d did not speak of it", c.ID.Short(), len(t.steps))
		}
		if e.At >= t.lapses()+graceSeconds {
			return nil, rule("instance %s: a word at %d about a step that waited until %d", c.ID.Short(), e.At, t.lapses())
		}
		h, err := wire.HashOf("latchkey/signed-step/v1", *w)
		if err != nil {
			return nil, rule("%w", err)
		}
		l.words[h] = e.At
		open.spoken = true
	}
	due := map[wire.ChunkID]wire.VaultID{}
	if r.Kind == vault.RunFailed {
		for side, list := range t.queue {
			for _, s := range list {
				due[s.Chunk] = c.Parties[side]
			}
			t.queue[side] = nil
		}
		c.Broken = true
		return due, nil
	}
	for _, id := range t.give(at, e.At) {
		due[id] = c.Parties[1-t.side]
	}
	return due, nil
}
