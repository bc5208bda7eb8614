package market

import (
	"container/heap"
	"slices"
)

// timers is a heap of the moments at which time alone does something. It is derived from the rest of the state. An
// entry whose moment has changed is stale; there is another one for the new moment.
type timers []timer

type timer struct {
	at       int64
	pos      uint64 // of what it belongs to; orders equal moments
	offer    *offer
	proposal *proposal
	cert     *cert
}

// stale reports whether nothing happens at t any more.
func (t *timer) stale() bool {
	switch {
	case t.offer != nil:
		return t.offer.deadline() != t.at
	case t.proposal != nil:
		return t.proposal.deadline() != t.at
	}
	return t.cert.retired
}

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].before(&t[j]) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	old := *t
	x := old[len(old)-1]
	old[len(old)-1] = timer{}
	*t = old[:len(old)-1]
	return x
}

func (t *timer) before(u *timer) bool { return t.at < u.at || t.at == u.at && t.pos < u.pos }

// add notes a moment; 0 is none.
func (t *timers) add(x timer) {
	if x.at > 0 {
		heap.Push(t, x)
	}
}

// clean drops stale entries from the top.
func (t *timers) clean() {
	for len(*t) > 0 && (*t)[0].stale() {
		heap.Pop(t)
	}
}

// due returns what is due at now, in order.
func (t timers) due(now int64) []timer {
	var list []timer
	var walk func(i int)
	walk = func(i int) {
		if i < len(t) && t[i].at <= now {
			if !t[i].stale() {
				list = append(list, t[i])
			}
			walk(2*i + 1)
			walk(2*i + 2)
		}
	}
	walk(0)
	slices.SortFunc(list, func(a, b timer) int {
		switch {
		case a.before(&b):
			return -1
		case b.before(&a):
			return 1
		}
		return 0
	})
	return slices.CompactFunc(list, func(a, b timer) bool { return a == b })
}

// Wake returns the next moment, in Unix seconds, at which time alone does something, for a Tick; false if there is
// none. A moment that is not in the future is due now.
func (m *Market) Wake() (int64, bool) {
	if len(m.timers) == 0 {
		return 0, false
	}
	return m.timers[0].at, true
}
