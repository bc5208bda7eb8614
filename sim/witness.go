package sim

import (
	"latchkey/head"
)

// A Witness countersigns heads, by head.Decide and a memory that is durable
// before it signs.
type Witness struct {
	*WitnessMember
	seen   head.Seen
	offset int64 // its clock's error, seconds
	liar   bool  // it has lost its memory and its conscience: it signs every head
}

// cosign answers a request at a true time. lost says that the witness stored its
// decision and died before its signature left.
func (x *Witness) cosign(g head.Group, r head.Request, now int64, lost bool) ([]byte, error) {
	seen := x.seen
	if x.liar {
		seen, r.Old, r.Proof = head.Seen{}, 0, nil
	}
	c, err := head.Decide(g.Log, seen, r, max(0, now+x.offset))
	if err != nil {
		return nil, err
	}
	x.seen = c.Next
	if lost {
		return nil, nil
	}
	return c.Cosign(x.Name, x.Sign)
}
