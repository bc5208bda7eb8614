package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"latchkey/coin"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// A Choice is a user's standing choice of cost against risk for what is received
// of one asset: a sweep costs a fee, and what stays in the vault rests on the
// escrow. The zero Choice claims at once.
type Choice struct {
	Keep  bool        `json:"keep"`            // keep what is received
	Until int64       `json:"until,omitempty"` // Unix seconds: claim all of it when this time comes; 0: no such time
	UpTo  coin.Amount `json:"up_to,omitzero"`  // smallest units: claim what is more than this; 0: no bound
}

// Check refuses a choice that says two things.
func (c Choice) Check() error {
	if !c.Keep && (c.Until != 0 || !c.UpTo.IsZero()) {
		return errors.New("a standing choice that does not keep has no date and no bound")
	}
	if c.Until < 0 {
		return errors.New("a standing choice until a time before 1970")
	}
	return nil
}

// describe says a choice in words.
func (c Choice) describe(a coin.Asset) string {
	if !c.Keep {
		return "claimed at once"
	}
	s := "kept"
	if !c.UpTo.IsZero() {
		s += " up to " + a.Format(c.UpTo) + ", more is claimed"
	}
	if c.Until != 0 {
		s += " until " + wire.UTC(c.Until) + ", then claimed"
	}
	return s
}

// claimMargin is how long before the end of its certificate a chunk is claimed
// whatever the choice: long enough for an escrow that is down for days. Of a
// short-lived certificate it is a tenth of its life.
const claimMargin = 7 * 24 * 3600

// claimBy returns when a chunk is claimed by itself, Unix seconds.
func claimBy(c enclave.ChunkStatus) int64 {
	return c.Cert.Expiry - min(claimMargin, (c.Cert.Expiry-c.Cert.Made)/10)
}

// A due claim is what the standing choices and the calendar ask for.
type dueClaim struct {
	chosen   []wire.ChunkID // received, and not to be kept
	expiring []wire.ChunkID // near the end of their certificates
}

// dueOf says which chunks are to be claimed at a time. A chunk that is locked,
// pledged, claimed or busy waits. Own deposits that are here yet, or that an instance
// gave back, are claimed only near their end, and only if they were ever paid to. One
// that somebody else had meanwhile is received like any other.
func dueOf(chunks []enclave.ChunkStatus, self wire.VaultID, choice func(coin.AssetID) Choice, busy, unpaid, received func(enclave.ChunkStatus) bool, now int64) dueClaim {
	var d dueClaim
	kept := map[coin.AssetID][]enclave.ChunkStatus{}
	for _, c := range chunks {
		free := c.Holds && c.Chunk.Owner == self && c.Chunk.Instance == (wire.InstanceID{}) && c.Pledge == (wire.Hash{}) &&
			!c.Chunk.Claim && !c.Chunk.Claimed && !busy(c)
		if !free {
			continue
		}
		asset := c.Cert.Denomination.Asset.ID
		x := choice(asset)
		switch {
		case now >= claimBy(c) && !unpaid(c):
			d.expiring = append(d.expiring, c.ID)
		case !received(c):
		case !x.Keep || x.Until != 0 && now >= x.Until:
			d.chosen = append(d.chosen, c.ID)
		default:
			kept[asset] = append(kept[asset], c)
		}
	}
	for _, id := range sortedKeys(kept) {
		if most := choice(id).UpTo; !most.IsZero() {
			d.chosen = append(d.chosen, surplus(kept[id], most)...)
		}
	}
	return d
}

// surplus returns the chunks to claim so that the others are worth at most a
// bound: those whose certificates end first.
func surplus(chunks []enclave.ChunkStatus, most coin.Amount) (out []wire.ChunkID) {
	slices.SortFunc(chunks, func(a, b enclave.ChunkStatus) int {
		return cmp.Or(-cmp.Compare(a.Cert.Expiry, b.Cert.Expiry), bytes.Compare(a.ID[:], b.ID[:]))
	})
	var total coin.Amount
	for _, c := range chunks {
		each, err := c.Cert.Denomination.Deposit(c.Cert.Weight)
		if err == nil {
			if sum, perr := total.Plus(each); perr == nil && sum.Cmp(most) <= 0 {
				total = sum
				continue
			}
		}
		out = append(out, c.ID)
	}
	return out
}

// choice returns the standing choice for an asset: the one set by command, or that
// of the configuration.
func (h *Host) choice(id coin.AssetID) Choice {
	c := h.cfg.Choices[id]
	h.store.get("choice/"+string(id), &c)
	return c
}

// SetChoice changes the standing choice for an asset, durably. What is due by it
// is claimed.
func (h *Host) SetChoice(ctx context.Context, id coin.AssetID, c Choice) error {
	a, err := h.asset(ctx, id)
	if err == nil {
		err = c.Check()
	}
	if err == nil {
		err = h.store.put(ctx, "choice/"+string(id), c)
	}
	if err != nil {
		return fmt.Errorf("standing choice for %s: %w", id, err)
	}
	h.store.journal(ctx, Event{Kind: "choice", Asset: string(id), Text: fmt.Sprintf("what is received of %s is %s", id, c.describe(a))})
	wake(h.work)
	return nil
}

// claim takes out what the standing choices do not keep, and in good time what
// nears the end of its certificate: after that a chunk is of use for nothing but
// a claim.
func (h *Host) claim(ctx context.Context, s enclave.Status) {
	reserved, unspoken := h.reserved(), unspoken(s)
	d := dueOf(s.Chunks, h.id, h.choice,
		func(c enclave.ChunkStatus) bool { return reserved[c.ID] || unspoken[c.ID] },
		func(c enclave.ChunkStatus) bool {
			var f Funding
			return c.Chunk.Epoch == 0 && (!h.store.get("fund/"+c.Chunk.Cert.String(), &f) || f.State == "funding")
		}, h.received, s.Now)
	var err error
	if len(d.chosen) > 0 {
		err = h.order(ctx, d.chosen, "")
	}
	if len(d.expiring) > 0 {
		err = errors.Join(err, h.order(ctx, d.expiring, ", whose certificates end soon"))
	}
	h.problem("claim", err)
}

// order has the vault order a claim.
func (h *Host) order(ctx context.Context, ids []wire.ChunkID, why string) error {
	if _, err := h.call(ctx, enclave.Call{Claim: &enclave.Chunks{IDs: ids}}); err != nil {
		return err
	}
	h.store.journal(ctx, Event{Kind: "claimed", Count: len(ids), Text: fmt.Sprintf("ordered the keys of %s%s", tally(len(ids), "chunk"), why)})
	wake(h.talk)
	return nil
}

// received reports whether a chunk came from somebody else: of another's deposit, or of
// this client's own that it had given away.
func (h *Host) received(c enclave.ChunkStatus) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return c.Chunk.Epoch > 0 && (!h.returned(c) || h.away[c.ID])
}

// awayPrefix is of the records of what was given away: lists of chunks.
const awayPrefix = "away/"

// givenAway returns the chunks that a step gave to others, and that were not noted yet.
func (h *Host) givenAway(r vault.Run) (given []wire.ChunkID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range r.Exits {
		if to, err := x.To.One(); (err != nil || to != h.id) && !h.away[x.Chunk] {
			h.away[x.Chunk] = true
			given = append(given, x.Chunk)
		}
	}
	return given
}

// returned reports whether a chunk was made by this client.
func (h *Host) returned(c enclave.ChunkStatus) bool {
	return len(c.Cert.Owner) == 1 && c.Cert.Owner[0] == h.id
}
