package escrow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// Bounds of what is gathered. What is dropped is brought again, with everything, by
// a party that has heard of all acceptances.
const (
	maxGathered     = 1024
	maxGatheredSize = 64 << 20
)

// A gathering is an agreement of which some parties' acceptances are here.
type gathering struct {
	hash  wire.Hash
	ask   vault.LockAsk // one acceptance for each party; unsigned where it is missing
	size  int           // about, in bytes
	until int64         // its LockBy
}

// gatherings holds acceptances, in memory, until those of all parties are there:
// whoever accepts last has no answer to wait for. What they are worth the vault
// decides, as if one party had brought them all.
type gatherings struct {
	mu   sync.Mutex
	list []*gathering // the oldest first
	size int
}

// add takes one party's acceptance and returns the lock, if it was the last.
func (g *gatherings) add(a vault.Agreement, hash wire.Hash, s vault.SignedAcceptance, size int, now int64) (vault.LockAsk, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := slices.IndexFunc(g.list, func(x *gathering) bool { return x.hash == hash })
	if at < 0 {
		at = len(g.list)
		g.list = append(g.list, &gathering{hash, vault.LockAsk{Agreement: a, Acceptances: make([]vault.SignedAcceptance, len(a.Parties))}, size, a.LockBy})
	}
	x := g.list[at]
	x.ask.Acceptances[s.Body.Role] = s
	all := !slices.ContainsFunc(x.ask.Acceptances, func(s vault.SignedAcceptance) bool { return s.Sig == nil })
	rest := g.list[:0]
	g.size = 0
	for _, o := range g.list {
		if o.until >= now && !(o == x && all) {
			rest = append(rest, o)
			g.size += o.size
		}
	}
	clear(g.list[len(rest):])
	for g.list = rest; len(g.list) > maxGathered || g.size > maxGatheredSize; g.list = g.list[1:] {
		g.size -= g.list[0].size
		g.list[0] = nil
	}
	return x.ask, all
}

// Lock brings an agreement to the vault, with the acceptances of all its parties; or
// with that of one, which waits here for the others. The instance is zero as long as
// they are missing.
func (h *Host) Lock(ctx context.Context, q vault.LockAsk, size int) (wire.InstanceID, error) {
	if len(q.Acceptances) == 1 && len(q.Agreement.Parties) > 1 {
		all := false
		var err error
		if q, all, err = h.gather(q, size); err != nil || !all {
			return wire.InstanceID{}, err
		}
	} else if err := h.signed(q); err != nil {
		return wire.InstanceID{}, err
	}
	out, err := h.ask(ctx, fmt.Sprint("locks of ", q.Agreement.Parties[0]), enclave.Call{Lock: &q})
	if err != nil {
		return wire.InstanceID{}, err
	}
	return out.Locked.Instance, nil
}

// signed checks all acceptances of an agreement, so that the vault does work for a lock,
// and puts it on the accounts of its parties, only if they have signed it.
func (h *Host) signed(q vault.LockAsk) error {
	hash, err := q.Agreement.Hash()
	if err != nil {
		return fmt.Errorf("acceptances: %w", err)
	}
	if n := len(q.Agreement.Parties); n == 0 || len(q.Acceptances) != n {
		return fmt.Errorf("acceptances: there are %d of %d parties", len(q.Acceptances), n)
	}
	for i, s := range q.Acceptances {
		if int(s.Body.Role) != i {
			return fmt.Errorf("acceptance %d is of party %d", i, s.Body.Role)
		}
		if err := h.accepted(q.Agreement, hash, s); err != nil {
			return fmt.Errorf("acceptance: %w", err)
		}
	}
	return nil
}

// accepted checks that a party of an agreement has signed its acceptance.
func (h *Host) accepted(a vault.Agreement, hash wire.Hash, s vault.SignedAcceptance) error {
	if s.Body.Agreement != hash || int64(s.Body.Role) >= int64(len(a.Parties)) {
		return errors.New("it is of another agreement, or of no party of it")
	}
	v, err := a.Parties[s.Body.Role].One()
	if err != nil {
		return err
	}
	h.mu.Lock()
	peer, ok := h.feed.Peer(v)
	h.mu.Unlock()
	if !ok {
		return fmt.Errorf("vault %s is not enrolled here", v.Short())
	}
	if err := s.Verify(peer.Identity); err != nil {
		return fmt.Errorf("of vault %s: %w", v.Short(), err)
	}
	return nil
}

// gather checks one acceptance and keeps it, or returns all when it was the last.
func (h *Host) gather(q vault.LockAsk, size int) (vault.LockAsk, bool, error) {
	fail := func(format string, args ...any) (vault.LockAsk, bool, error) {
		return vault.LockAsk{}, false, fmt.Errorf("acceptance: "+format, args...)
	}
	s := q.Acceptances[0]
	hash, err := q.Agreement.Hash()
	if err != nil {
		return fail("%w", err)
	}
	if err := h.accepted(q.Agreement, hash, s); err != nil {
		return fail("%w", err)
	}
	now := time.Now().Unix()
	if q.Agreement.LockBy < now {
		return fail("it was to be locked by %s, and it is %s", wire.UTC(q.Agreement.LockBy), wire.UTC(now))
	}
	all, last := h.gathered.add(q.Agreement, hash, s, size, now)
	return all, last, nil
}
