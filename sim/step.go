package sim

import (
	"errors"
	"fmt"
	"slices"

	"latchkey/coin"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/wallet"
	"latchkey/wire"
)

// A manner is what a client's host makes of the steps that it is given.
type manner uint8

const (
	honest manner = iota // it looks, and says what it sees
	silent
	slanders // it says of every step that it failed
)

// Judge has the client's host look, with its own wallet, at what it was given by
// settlements that go step by step, and has the vault say so.
func (c *Client) Judge() {
	if c.m == nil || c.manner == silent {
		return
	}
	if c.find(); c.m == nil {
		return
	}
	for _, in := range c.m.Instances() {
		if len(in.Open) == 0 {
			continue
		}
		failed, ready := c.judge(in)
		if ready || c.manner == slanders {
			c.took(in.ID, failed || c.manner == slanders)
		}
	}
}

func (c *Client) took(id wire.InstanceID, failed bool) {
	err := c.do("step", func(o *vault.Owner) ([]vault.Row, error) { return o.Took(id, failed) })
	if err != nil && !errors.Is(err, errCrashed) && !errors.Is(err, vault.ErrNotReady) {
		c.w.fail("%s's vault does not take its host's word of a step: %w", c.Name, err)
	}
}

// judge looks at all chunks of an instance that the client was given and has not
// swept or passed on.
func (c *Client) judge(in vault.Instance) (failed, ready bool) {
	for _, id := range in.Given {
		x, ok := c.m.Chunk(id)
		cert, known := c.m.Certificate(id)
		if !ok || !known || x.Owner != c.ID || cert.Owner[0] == c.ID || c.sweeps[id] != nil {
			continue
		}
		want, err := cert.Denomination.Deposit(cert.Weight)
		if err != nil {
			c.w.fail("%s: %w", c.Name, err)
			return false, false
		}
		switch err := c.funds(cert.Denomination, x.P.Bytes(), want); {
		case err == nil:
		case errors.Is(err, wallet.ErrNotConfirmed):
			return false, false
		default:
			return true, true
		}
	}
	for _, id := range in.Open {
		if !c.m.Holds(id) {
			return false, false
		}
	}
	return false, true
}

// drain has a client who broke the TEEs of both sides spend the coins of a chunk
// that it put into a settlement which is not over. How it came by the key does
// not matter here: what does is what the other side loses.
func (w *World) drain(c *Client, arg int) {
	var list []*Fate
	for _, in := range w.ledger.courses {
		if in.turns == nil || in.Ended {
			continue
		}
		for pot, stakes := range in.Agreement.Pots {
			for _, s := range stakes {
				if f := w.ledger.chunks[s.Chunk]; in.Parties[in.outcome.from(pot)] == c.ID && !w.hasDrained(f.ID) && w.Deposited(f.ID) == nil {
					list = append(list, f)
				}
			}
		}
	}
	if len(list) == 0 {
		return
	}
	f := list[arg%len(list)]
	d, err := key.ParsePrivate(w.secrets.whole[f.ID].Expose(), f.P)
	if err != nil {
		w.fail("%w", err)
		return
	}
	asset := f.Cert.Denomination.Asset
	r, err := c.wallets[asset.ID].Sweep(ctx, wallet.SweepRequest{
		Asset: asset, ID: "drain-" + f.ID.String()[:32], MaxFee: coin.NewAmount(fee * 10),
		Keys: []wallet.SweepKey{{Private: wallet.PrivateKey(d.Expose()), Public: d.Public().Bytes()}},
	})
	if err != nil || r.Keys[0].Err != nil {
		w.say("%s cannot drain chunk %s: %v, %v", c.Name, f.ID.Short(), err, r.Keys)
		return
	}
	w.say("%s drains chunk %s", c.Name, f.ID.Short())
	w.drained[f.ID] = w.ledger.size
	c.purse[asset.ID] += number(r.Keys[0].Amount) - number(r.Txs[0].Fee)
}

func (w *World) hasDrained(id wire.ChunkID) bool { _, ok := w.drained[id]; return ok }

// bounded checks that no party of a settlement that went step by step lost more
// than it was told before it accepted. It was told so for the case that it looks
// at what it is given and says what it sees; then it is safe from all that the
// other one may do.
func (w *World) bounded(c *Course) error {
	look, err := c.Agreement.Outlook()
	if err != nil {
		return err
	}
	for me, v := range c.Parties {
		client := w.byID(v)
		if !c.Opened || client.rolled || client.lost || w.cfg.LyingWallets[client.Name] || w.cfg.Broken[client.Name] {
			continue
		}
		gave, got, spoke := c.balance(me, w.drained)
		if mine, theirs := c.turns.sum[me], c.turns.sum[1-me]; spoke && (gave-look.Loss[me])*theirs > mine*got {
			return fmt.Errorf("%s gave %d of %d units in instance %s and got %d good ones of %d: it was told that it can lose %d",
				client.Name, gave, mine, c.ID.Short(), got, theirs, look.Loss[me])
		}
	}
	return nil
}

// balance returns what a party gave, what it got that was good, and whether it
// spoke of every step that it was given. What was drained after the next step had
// come was the party's own already, to sweep or to keep at its risk.
func (c *Course) balance(me int, drained map[wire.ChunkID]int64) (gave, got int64, spoke bool) {
	spoke = true
	for n, t := range c.turns.steps {
		last := n == len(c.turns.steps)-1
		next := int64(1) << 62
		for _, later := range c.turns.steps[n+1:] {
			if later.side == t.side {
				next = int64(later.at)
				break
			}
		}
		if t.side != me && !t.spoken && !last {
			spoke = false
		}
		for _, id := range t.chunks {
			w := c.weight(id)
			at, bad := drained[id]
			switch {
			case t.side == me:
				gave += w
			case !bad || at >= next:
				got += w
			}
		}
	}
	return gave, got, spoke
}

func (c *Course) weight(id wire.ChunkID) int64 {
	for _, pot := range c.Agreement.Pots {
		if i := slices.IndexFunc(pot, func(s vault.Stake) bool { return s.Chunk == id }); i >= 0 {
			return int64(pot[i].Weight)
		}
	}
	return 0
}
