package switchboard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"latchkey/market"
	"latchkey/switchboard/switchboardpb"
	"latchkey/wire"
)

// A ClientStatus is all that the market knows of a client and of what it has
// here. It is the JSON of StatusResponse.
type ClientStatus struct {
	Client    market.ClientStatus     `json:"client"`
	Offers    []market.OfferStatus    `json:"offers"`
	Proposals []market.ProposalStatus `json:"proposals"`
	Chunks    []market.ChunkStatus    `json:"chunks"` // at most 1,000
}

// maxChunks bounds the chunks of one status.
const maxChunks = 1000

func (s server) Status(ctx context.Context, r *switchboardpb.Signed) (*switchboardpb.StatusResponse, error) {
	st, _, err := s.open(r, "Status", &struct{}{})
	if err != nil {
		return nil, refuse(err)
	}
	out := &switchboardpb.StatusResponse{}
	err = s.b.do(ctx, func(t *turn) error {
		if err := t.take(st, false); err != nil {
			return err
		}
		c, err := t.status(st.Client)
		if err != nil {
			return err
		}
		raw, err := json.Marshal(c)
		out.Json, out.Lines = string(raw), c.lines()
		return err
	})
	if err != nil {
		return nil, refuse(fmt.Errorf("status: %w", err))
	}
	return out, nil
}

func (t *turn) status(client wire.VaultID) (c ClientStatus, err error) {
	m := t.b.market
	if c.Client, err = m.ClientStatus(client); err != nil {
		return c, err
	}
	seen := map[market.ProposalID]bool{}
	for _, id := range m.OffersOf(client) {
		o, err := m.OfferStatus(t.now, client, id)
		if err != nil {
			return c, err
		}
		c.Offers = append(c.Offers, o)
		for _, p := range o.Proposals {
			if seen[p] {
				continue
			}
			seen[p] = true
			s, err := m.ProposalStatus(p)
			if err != nil {
				return c, err
			}
			c.Proposals = append(c.Proposals, s)
		}
	}
	var ids []wire.ChunkID
	for id := range t.b.ledger.owned[client] {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b wire.ChunkID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range ids {
		if x, err := m.ChunkStatus(id); err == nil && x.Owner == client {
			if c.Chunks = append(c.Chunks, x); len(c.Chunks) == maxChunks {
				break
			}
		}
	}
	return c, nil
}

// lines says the same to people: chunks that wait for the same thing are one
// line.
func (c ClientStatus) lines() (out []*switchboardpb.Line) {
	add := func(w market.Wait, format string, args ...any) {
		out = append(out, &switchboardpb.Line{What: fmt.Sprintf(format, args...), WaitsFor: w.For, Until: w.Until, Then: w.Then})
	}
	for _, o := range c.Offers {
		state := "open"
		if o.Closed != 0 {
			state = o.Closed.String()
		}
		add(o.Wait, "offer %s (%s): wants %s, has %d; gives at most %s", o.Offer.ID, state, quantity(o.Offer.Want), o.Got, quantity(o.Offer.Give))
	}
	for _, p := range c.Proposals {
		add(p.Wait, "proposal %v (%s): %s for %s", p.Proposal.ID, p.Stage,
			quantity(market.Quantity{Denomination: p.Proposal.Sides[0].Denomination, Units: p.Proposal.Sides[0].Units}),
			quantity(market.Quantity{Denomination: p.Proposal.Sides[1].Denomination, Units: p.Proposal.Sides[1].Units}))
	}
	type kind struct {
		denomination, place string
		wait                market.Wait
	}
	counts, order := map[kind]int{}, []kind{}
	for _, x := range c.Chunks {
		k := kind{x.Denomination, x.Place, x.Wait}
		if counts[k] == 0 {
			order = append(order, k)
		}
		counts[k]++
	}
	for _, k := range order {
		add(k.wait, "%d chunks of %s (%s)", counts[k], k.denomination, k.place)
	}
	return out
}

func quantity(q market.Quantity) string {
	return fmt.Sprintf("%d units of %s", q.Units, q.Denomination)
}

// maxBook bounds the lines of the book.
const maxBook = 200

func (s server) Book(ctx context.Context, _ *switchboardpb.BookRequest) (*switchboardpb.BookResponse, error) {
	out := &switchboardpb.BookResponse{}
	err := s.b.do(ctx, func(t *turn) error {
		m := t.b.market
		names := map[wire.Hash]string{}
		for _, source := range t.b.cfg.Sources {
			if name, h, err := nameOf(source); err == nil {
				names[h] = name
			}
		}
		open := m.OpenOffers()
		for i, x := range open {
			if i == maxBook {
				out.Lines = append(out.Lines, fmt.Sprintf("and %d more", len(open)-maxBook))
				break
			}
			o, err := m.OfferStatus(t.now, x.Client, x.Offer)
			if err != nil {
				return err
			}
			name := names[o.Offer.Contract]
			if name == "" {
				name = "contract " + o.Offer.Contract.Short()
			}
			out.Lines = append(out.Lines, fmt.Sprintf("%s: wants %s for at most %s, premium %d bps, %d units filled, until %s; waits for %s",
				name, quantity(o.Offer.Want), quantity(o.Offer.Give), o.Offer.Premium, o.Got, wire.UTC(o.Offer.Until), o.Wait.For))
		}
		return nil
	})
	if err != nil {
		return nil, refuse(fmt.Errorf("book: %w", err))
	}
	return out, nil
}
