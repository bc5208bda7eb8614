package enclave

// HandleAll is Handle of calls that waited together, as Serve takes them.
func (e *Enclave) HandleAll(calls ...Call) []Message {
	var out []Message
	for i, c := range calls {
		if e.decide(c); e.full(len(calls)-1-i) || i == len(calls)-1 {
			out = append(out, e.settle()...)
		}
	}
	return out
}

// CommitCalls is how many calls share a commit at least, if they wait;
// MaxCommitCalls is how many do at most.
const (
	CommitCalls    = commitCalls
	MaxCommitCalls = maxCommitCalls
)
