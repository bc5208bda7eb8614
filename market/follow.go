package market

import (
	"slices"

	"latchkey/coin"
)

// Follow returns the offers for which events have made a proposal possible that was not before, in the order of their
// arrival, as inputs for Decide. Each is to be repeated until it has no events: one Match makes one proposal.
//
// What a smaller exposure frees for the offers of others is not among it; they are looked at again with the next rate.
func (m *Market) Follow(events []Event) []Match {
	var list []*offer
	ofClient := func(c *client) {
		list = append(list, c.offersInOrder()...)
	}
	for _, e := range events {
		switch f := e.Fact.(type) {
		case *Placed:
			if o, err := m.offer(f.Client, f.Offer.ID); err == nil {
				list = append(list, o)
			}
		case *Deposited:
			if c := m.clients[f.Deposit.Client]; c != nil {
				for _, o := range c.offersInOrder() {
					if o.Give.Denomination == f.Deposit.Denomination {
						list = append(list, o)
					}
				}
			}
		case *Ended:
			if p := m.proposals[f.Proposal]; p != nil {
				for i := range p.Sides {
					ofClient(m.clients[p.Sides[i].Client])
				}
			}
		case *Freed:
			if p := m.proposals[f.Proposal]; p != nil {
				ofClient(m.clients[p.Parties[f.Role]])
			}
		case *Bonded:
			ofClient(m.clients[f.Client])
		case *Enrolled:
			ofClient(m.clients[f.Client])
		case *Acked:
			ofClient(m.clients[f.Client])
		case *Rated:
			list = append(list, m.openIn(f.Asset)...)
		case *OutageSet:
			if !f.On {
				list = append(list, m.open...)
			}
		}
	}
	slices.SortFunc(list, byPos)
	list = slices.Compact(list)
	var out []Match
	for _, o := range list {
		if o.closed == 0 && o.wants() > 0 {
			out = append(out, Match{o.client.id, o.ID})
		}
	}
	return out
}

// openIn returns the open offers that give or want an asset.
func (m *Market) openIn(id coin.AssetID) []*offer {
	var list []*offer
	for _, o := range m.open {
		if o.give.Asset.ID == id || o.want.Asset.ID == id {
			list = append(list, o)
		}
	}
	return list
}
