package market

import (
	"fmt"
	"slices"

	"latchkey/wire"
)

func (m *Market) decideDeposit(now int64, in Deposit) ([]Fact, error) {
	c, err := m.client(in.Client)
	if err != nil {
		return nil, err
	}
	d, k := m.denoms[in.Denomination], m.certs[in.Cert]
	r, onLadder := rung(in.Weight)
	retire := in.Expiry - m.policy.ChunkMargin - m.policy.LockWithin
	switch {
	case d == nil:
		return nil, fmt.Errorf("denomination %q: %w", in.Denomination, ErrNotFound)
	case in.Cert == wire.CertID{} || in.Escrow == wire.VaultID{}:
		return nil, fmt.Errorf("%w: no certificate or no escrow", ErrInvalid)
	case !onLadder:
		return nil, fmt.Errorf("%w: weight %d is not on the ladder", ErrInvalid, in.Weight)
	case in.Expiry < 1 || in.Expiry > maxTime:
		return nil, fmt.Errorf("%w: certificate expires at %d", ErrInvalid, in.Expiry)
	case len(in.Chunks) < 1 || len(in.Chunks) > maxBatch:
		return nil, fmt.Errorf("%w: %d chunks, want 1 to %d", ErrInvalid, len(in.Chunks), maxBatch)
	case k != nil && (k.escrow != in.Escrow || k.denom != d || k.rung != r || k.expiry != in.Expiry):
		return nil, fmt.Errorf("certificate %s %w with what was said of it before", in.Cert.Short(), ErrConflict)
	case retire <= now || k != nil && k.retired:
		return nil, fmt.Errorf("certificate %s: %w: it expires at %s, too soon for a contract", in.Cert.Short(), ErrState, wire.UTC(in.Expiry))
	}
	at := k
	if at == nil {
		at = &cert{id: in.Cert, escrow: in.Escrow, denom: d, rung: r}
	}
	value, why := m.fresh(now, d)
	out := &Deposited{Deposit: in, Retire: retire}
	out.Deposit.Chunks = nil
	stake := map[*domain]Micros{}
	seen := map[wire.ChunkID]bool{}
	fresh := 0
	for _, x := range in.Chunks {
		if x.Chunk == (wire.ChunkID{}) || seen[x.Chunk] {
			return nil, fmt.Errorf("chunk %s: %w: without id, or twice", x.Chunk.Short(), ErrInvalid)
		}
		seen[x.Chunk] = true
		if len(x.Lineage) > maxLineage {
			return nil, fmt.Errorf("chunk %s: %w: %d earlier holders, at most %d", x.Chunk.Short(), ErrLimit, len(x.Lineage), maxLineage)
		}
		for _, id := range x.Lineage {
			if _, err := m.client(id); err != nil {
				return nil, fmt.Errorf("chunk %s: earlier holder: %w", x.Chunk.Short(), err)
			}
		}
		old := m.chunks[x.Chunk]
		if old != nil {
			if old.cert != k {
				return nil, fmt.Errorf("chunk %s %w with certificate %s", x.Chunk.Short(), ErrConflict, old.cert.id.Short())
			}
			if same, err := old.again(c, x.Epoch); err != nil {
				return nil, err
			} else if same {
				continue
			}
		}
		if old == nil || old.owner != c {
			fresh++
		}
		after := chunk{id: x.Chunk, cert: at, rung: r, owner: c, line: m.lineOf(old, c, x.Lineage), value: value}
		if len(after.line) > 2*maxLineage {
			return nil, fmt.Errorf("chunk %s: %w: %d earlier holders, at most %d: claim it", x.Chunk.Short(), ErrLimit, len(after.line), 2*maxLineage)
		}
		if m.foreign(&after) {
			if why.obstacle != noObstacle {
				return nil, fmt.Errorf("chunk %s was held by others: %w: %s", x.Chunk.Short(), ErrState, m.text(now, why))
			}
			out.Value = value
		}
		for _, b := range m.holding(&after, nil) {
			stake[b.domain] += b.add
		}
		if old != nil && old.place != gone {
			for _, b := range m.holding(old, nil) {
				stake[b.domain] -= b.add
			}
		}
		x.Lineage = slices.Clone(x.Lineage)
		out.Deposit.Chunks = append(out.Deposit.Chunks, x)
	}
	if c.chunks+fresh > m.policy.MaxStock {
		return nil, fmt.Errorf("%w: %d chunks, at most %d", ErrLimit, c.chunks+fresh, m.policy.MaxStock)
	}
	var over *domain
	for d, add := range stake {
		if add > 0 && d.at+add > m.limit(d) && (over == nil || d.compare(over.Domain) < 0) {
			over = d
		}
	}
	if over != nil {
		return nil, fmt.Errorf("%w; these chunks add %v: claim them instead", m.full(over), stake[over])
	}
	if len(out.Deposit.Chunks) == 0 {
		return nil, nil
	}
	return []Fact{out}, nil
}

// again reports whether a deposit of a known chunk says what is known, or why it cannot be true.
func (c *chunk) again(owner *client, epoch uint32) (same bool, err error) {
	switch {
	case c.place == gone:
		return false, fmt.Errorf("chunk %s: %w: it was claimed", c.id.Short(), ErrState)
	case c.owner == owner && c.epoch == epoch && c.place != kept:
		return true, nil
	case c.place == reserved:
		return false, fmt.Errorf("chunk %s: %w: it is in proposal %v", c.id.Short(), ErrState, c.proposal.ID)
	case epoch < c.epoch:
		return false, fmt.Errorf("chunk %s: %w: it is at epoch %d, not %d", c.id.Short(), ErrState, c.epoch, epoch)
	case c.owner != owner && epoch == c.epoch:
		return false, fmt.Errorf("chunk %s at epoch %d %w: it belongs to client %s", c.id.Short(), epoch, ErrConflict, c.owner.id.Short())
	}
	return false, nil
}

// lineOf returns the profiles that ever held a share of a chunk, once owner has it: those known before, those of the
// earlier holders that are named, and the owner's present one.
func (m *Market) lineOf(old *chunk, owner *client, holders []wire.VaultID) []uint32 {
	if old == nil && len(holders) == 0 {
		return owner.profile.self
	}
	var line []uint32
	if old != nil {
		line = slices.Clone(old.line)
	}
	for _, id := range holders {
		line = append(line, m.clients[id].profile.number())
	}
	return m.tidy(append(line, owner.profile.number()))
}

// tidy sorts a line and drops repetitions. It may change line.
func (m *Market) tidy(line []uint32) []uint32 {
	slices.Sort(line)
	line = slices.Compact(line)
	if len(line) == 1 {
		return m.profiles[line[0]].self
	}
	return line
}

func (m *Market) decideWithdraw(in Withdraw) ([]Fact, error) {
	c, err := m.client(in.Client)
	if err != nil {
		return nil, err
	}
	if len(in.Chunks) < 1 || len(in.Chunks) > maxBatch {
		return nil, fmt.Errorf("%w: %d chunks, want 1 to %d", ErrInvalid, len(in.Chunks), maxBatch)
	}
	out := &Withdrawn{Client: in.Client}
	for _, id := range in.Chunks {
		x := m.chunks[id]
		switch {
		case x == nil || x.owner != c:
			return nil, fmt.Errorf("chunk %s of client %s: %w", id.Short(), c.id.Short(), ErrNotFound)
		case x.place == reserved:
			return nil, fmt.Errorf("chunk %s: %w: it is in proposal %v", id.Short(), ErrState, x.proposal.ID)
		case (x.place == available || x.place == pledged) && !slices.Contains(out.Chunks, id):
			out.Chunks = append(out.Chunks, id)
		}
	}
	if len(out.Chunks) == 0 {
		return nil, nil
	}
	return []Fact{out}, nil
}

// decideClaimed notes a claim. A chunk in a proposal that is no instance yet ends the proposal, and it counts against
// the chunk's owner.
func (m *Market) decideClaimed(now int64, in Claimed) ([]Fact, error) {
	c := m.chunks[in.Chunk]
	if c == nil {
		return nil, fmt.Errorf("chunk %s: %w", in.Chunk.Short(), ErrNotFound)
	}
	switch {
	case c.place == gone:
		return nil, nil
	case c.place != reserved:
		return []Fact{(*Gone)(&in)}, nil
	case c.proposal.stage == locked:
		return nil, fmt.Errorf("chunk %s: %w: it is in instance %s", in.Chunk.Short(), ErrState, c.proposal.instance.Short())
	}
	p := c.proposal
	fault := []uint8{uint8(p.role(c.owner.id))}
	return append(m.end(now, p, ending{outcome: Aborted, why: ChunkClaimed, fault: fault}), (*Gone)(&in)), nil
}
