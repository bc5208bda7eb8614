package sim

import (
	"context"
	"errors"
	"fmt"

	"latchkey/coin"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/wallet"
	"latchkey/wire"
)

var ctx = context.Background()

// Fund pays to the chunks that the vault made and has certificates for. A chunk
// is paid for once, whatever happens in between.
func (c *Client) Fund() {
	if c.m == nil {
		return
	}
	type batch struct {
		d        coin.Denomination
		amount   coin.Amount
		payments []wallet.Payment
	}
	todo := map[wire.CertID]*batch{}
	var order []wire.CertID
	for _, id := range c.m.Chunks() {
		x, _ := c.m.Chunk(id)
		cert, ok := c.m.Certificate(id)
		if !ok || len(x.Share) == 0 || cert.Owner[0] != c.ID || c.funded[x.Cert] || x.Owner != c.ID {
			continue
		}
		b := todo[x.Cert]
		if b == nil {
			amount, err := cert.Denomination.Deposit(cert.Weight)
			if err != nil {
				c.w.fail("%s: %w", c.Name, err)
				return
			}
			b = &batch{d: cert.Denomination, amount: amount}
			todo[x.Cert] = b
			order = append(order, x.Cert)
		}
		to, err := c.wallets[cert.Denomination.Asset.ID].Addresses(ctx, cert.Denomination.Asset, []wallet.PublicKey{x.P.Bytes()})
		if err != nil {
			c.w.fail("%s: %w", c.Name, err)
			return
		}
		b.payments = append(b.payments, wallet.Payment{Address: to[0], Amount: b.amount})
	}
	for _, id := range order {
		b := todo[id]
		r, err := c.wallets[b.d.Asset.ID].Fund(ctx, wallet.FundRequest{
			Asset: b.d.Asset, ID: id.String(), Payments: b.payments, MaxFee: coin.NewAmount(fee * 100),
		})
		if err != nil {
			c.w.say("%s cannot fund: %v", c.Name, err)
			continue
		}
		c.funded[id] = true
		for _, t := range r.Txs {
			c.purse[b.d.Asset.ID] -= number(t.Fee)
		}
		c.purse[b.d.Asset.ID] -= int64(len(b.payments)) * number(b.amount)
	}
}

func number(a coin.Amount) int64 {
	n, _ := a.Uint64()
	return int64(n)
}

// Deposited reports whether a chunk holds its coins, as the chain has it.
func (w *World) Deposited(id wire.ChunkID) error {
	f := w.ledger.chunks[id]
	if f == nil {
		return errors.New("no such chunk")
	}
	want, err := f.Cert.Denomination.Deposit(f.Cert.Weight)
	if err != nil {
		return err
	}
	return w.clients[0].funds(f.Cert.Denomination, f.P.Bytes(), want)
}

// Sweep moves the coins of whole keys to the client's wallet, and tells the
// vault of those that are gone for good.
func (c *Client) Sweep() {
	if c.m == nil {
		return
	}
	var final []wire.ChunkID
	for _, id := range c.m.Chunks() {
		x, _ := c.m.Chunk(id)
		if len(x.Whole) == 0 || x.Swept || x.Done {
			continue
		}
		ok, err := c.sweep(id, x.P)
		if err != nil {
			c.w.say("%s cannot sweep chunk %s: %v", c.Name, id.Short(), err)
		}
		if ok {
			final = append(final, id)
		}
	}
	if len(final) > 0 {
		err := c.do("swept", func(o *vault.Owner) ([]vault.Row, error) { return o.Swept(final) })
		if err != nil && !errors.Is(err, errCrashed) {
			c.w.fail("%s: swept: %w", c.Name, err)
		}
	}
}

func (c *Client) sweep(id wire.ChunkID, p key.Point) (final bool, err error) {
	d, err := c.m.Key(id)
	if err != nil {
		return false, err
	}
	cert, ok := c.m.Certificate(id)
	if !ok {
		return false, errors.New("no certificate")
	}
	asset := cert.Denomination.Asset
	r, err := c.wallets[asset.ID].Sweep(ctx, wallet.SweepRequest{
		Asset: asset, ID: id.String(), MaxFee: coin.NewAmount(fee * 10),
		Keys: []wallet.SweepKey{{Private: wallet.PrivateKey(d.Expose()), Public: p.Bytes()}},
	})
	if err != nil {
		return false, err
	}
	k := r.Keys[0]
	if k.Err != nil {
		return false, k.Err
	}
	if old := c.sweeps[id]; old == nil || old.tx != k.Tx {
		c.sweeps[id] = &sweep{tx: k.Tx, amount: number(k.Amount) - number(r.Txs[0].Fee)}
	}
	s, err := c.wallets[asset.ID].Transaction(ctx, asset, k.Tx)
	if err != nil {
		return false, err
	}
	c.sweeps[id].final = s.State == wallet.TxConfirmed && s.Confirmations >= depth
	return c.sweeps[id].final, nil
}

// Balanced compares what the wallets hold with what they must.
func (c *Client) Balanced() error {
	for _, d := range c.w.cast.Coins {
		want := c.purse[d.Asset.ID]
		for _, f := range c.w.ledger.chunks {
			if s := c.sweeps[f.ID]; s != nil && f.Cert.Denomination == d {
				want += s.amount
			}
		}
		b, err := c.wallets[d.Asset.ID].Balance(ctx, d.Asset)
		if err != nil {
			return err
		}
		if got := number(b.Confirmed); got != want {
			return fmt.Errorf("%s's wallet holds %d of %s, it must be %d", c.Name, got, d.Asset.ID, want)
		}
	}
	return nil
}
