package enclave

// HandleAll is Handle of calls that waited together, as Serve takes those of one vault:
// in the order in which they came.
func (e *Enclave) HandleAll(calls ...Call) []Message {
	var out []Message
	for i, c := range calls {
		if e.decide(e.read(c)); e.full(len(calls)-1-i) || i == len(calls)-1 {
			out = append(out, e.settle()...)
		}
	}
	return out
}

// Come has calls wait for their turns; Turn decides the one that is due, and says
// which it was and how many more wait. Beside runs the exploration that is due, as Serve
// does beside the turns, and reports whether one was.
func (e *Enclave) Come(calls ...Call) {
	for _, c := range calls {
		e.come(c)
	}
}

func (e *Enclave) Turn() (n uint64, waiting int, out []Message) {
	n = e.turns.waiting[e.turns.first()].turns[0].call.N
	if e.turn(); e.turns.n == 0 || e.full(e.turns.n) {
		out = e.settle()
	}
	return n, e.turns.n, out
}

func (e *Enclave) Beside() bool {
	a := e.nextAside()
	if a != nil {
		a.Run()
		e.explored(a)
	}
	return a != nil
}

// Opened counts the calls that wait and whose frames were opened, and those of them whose
// words are prepared.
func (e *Enclave) Opened() (frames, words int) {
	for _, a := range e.turns.waiting {
		for _, x := range a.turns {
			if x.opened != nil {
				frames++
			}
			if x.word != nil {
				words++
			}
		}
	}
	return frames, words
}

// AheadTurns is how many calls of each vault are opened before they are due.
const AheadTurns = aheadTurns

// Work returns how much was done by the escrow's machine.
func (e *Enclave) Work() uint64 { return e.escrow.Work() }

// CommitCalls is how many calls share a commit at least, if they wait;
// MaxCommitCalls is how many do at most.
const (
	CommitCalls    = commitCalls
	MaxCommitCalls = maxCommitCalls
)
