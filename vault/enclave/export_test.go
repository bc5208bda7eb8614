package enclave

// HandleAll is Handle of calls that waited together, as Serve takes them.
func (e *Enclave) HandleAll(calls ...Call) []Message {
	var out []Message
	for i, c := range calls {
		if e.decide(c); e.full() || i == len(calls)-1 {
			out = append(out, e.settle()...)
		}
	}
	return out
}

// CommitCalls is how many calls share a commit at most.
const CommitCalls = commitCalls
