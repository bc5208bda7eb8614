package fake

import (
	"context"
	"fmt"

	"latchkey/coin"
	"latchkey/wallet"
)

// Fund implements wallet.Wallet.
func (w *Wallet) Fund(_ context.Context, r wallet.FundRequest) (wallet.Funding, error) {
	if _, err := r.Check(); err != nil {
		return wallet.Funding{}, err
	}
	unlock, err := w.begin(r.Asset)
	if err != nil {
		return wallet.Funding{}, err
	}
	defer unlock()
	parts := []string{}
	for i, p := range r.Payments {
		if err := w.chain.checkAddress(p.Address); err != nil {
			return wallet.Funding{}, fmt.Errorf("payment %d: %w", i, err)
		}
		if p.Amount.Cmp(w.chain.cfg.Dust) < 0 {
			return wallet.Funding{}, fmt.Errorf("%w: payment %d: %s is below the smallest payment, %s", wallet.ErrInvalid, i, p.Amount, w.chain.cfg.Dust)
		}
		parts = append(parts, p.Address, p.Amount.String())
	}
	request := digestOf(parts...)
	if done, ok := w.disk.funds[r.ID]; ok {
		if done.request != request {
			return wallet.Funding{}, fmt.Errorf("fund %s: %w", r.ID, wallet.ErrIDReused)
		}
		return done.reply, nil
	}
	if err := w.reachable(); err != nil {
		return wallet.Funding{}, err
	}
	fee, err := w.chain.cfg.Fee.Times(uint64(len(r.Payments)))
	if err != nil {
		return wallet.Funding{}, err
	}
	if fee.Cmp(r.MaxFee) > 0 {
		return wallet.Funding{}, fmt.Errorf("%w: %s, at most %s", wallet.ErrFeeTooHigh, fee, r.MaxFee)
	}
	txs, reply, err := w.sign(r.Payments)
	if err != nil {
		return wallet.Funding{}, err
	}
	w.disk.funds[r.ID] = &fund{request: request, reply: reply}
	w.disk.signed = append(w.disk.signed, txs...)
	if err := w.failing(); err != nil {
		return wallet.Funding{}, err
	}
	w.broadcast()
	return reply, nil
}

// sign makes the transactions of payments: one in all, or one each. It changes
// nothing.
func (w *Wallet) sign(payments []wallet.Payment) ([]*tx, wallet.Funding, error) {
	size := len(payments)
	if w.chain.cfg.Accounts {
		size = 1
	}
	type coinOf struct {
		at     outpoint
		amount coin.Amount
	}
	var purse []coinOf
	for _, p := range w.spendable() {
		purse = append(purse, coinOf{p, w.chain.outs[p].amount})
	}
	var txs []*tx
	var reply wallet.Funding
	for start := 0; start < len(payments); start += size {
		batch := payments[start : start+size]
		fee, err := w.chain.cfg.Fee.Times(uint64(len(batch)))
		if err != nil {
			return nil, reply, err
		}
		need := fee
		for _, p := range batch {
			if need, err = need.Plus(p.Amount); err != nil {
				return nil, reply, fmt.Errorf("%w: %w", wallet.ErrInsufficient, err)
			}
		}
		var have coin.Amount
		var ins []outpoint
		for have.Cmp(need) < 0 {
			if len(purse) == 0 {
				return nil, reply, fmt.Errorf("%w: %s of %s", wallet.ErrInsufficient, have, need)
			}
			if have, err = have.Plus(purse[0].amount); err != nil {
				return nil, reply, err
			}
			ins, purse = append(ins, purse[0].at), purse[1:]
		}
		outs := append([]wallet.Payment(nil), batch...)
		change, err := have.Minus(need)
		if err != nil {
			return nil, reply, err
		}
		if change.Cmp(w.chain.cfg.Dust) >= 0 {
			outs = append(outs, wallet.Payment{Address: w.own, Amount: change})
		} else if fee, err = fee.Plus(change); err != nil {
			return nil, reply, err
		}
		t := newTx(ins, outs, 0)
		if len(outs) > len(batch) {
			purse = append([]coinOf{{outpoint{t.id, len(batch)}, change}}, purse...)
		}
		for range batch {
			reply.TxOf = append(reply.TxOf, len(txs))
		}
		txs = append(txs, t)
		reply.Txs = append(reply.Txs, wallet.Tx{ID: t.id, Fee: fee})
	}
	return txs, reply, nil
}

// Sweep implements wallet.Wallet.
func (w *Wallet) Sweep(_ context.Context, r wallet.SweepRequest) (wallet.Sweep, error) {
	if err := r.Check(); err != nil {
		return wallet.Sweep{}, err
	}
	unlock, err := w.begin(r.Asset)
	if err != nil {
		return wallet.Sweep{}, err
	}
	defer unlock()
	to := w.own
	if r.Destination != "" {
		if err := w.chain.checkAddress(r.Destination); err != nil {
			return wallet.Sweep{}, fmt.Errorf("destination: %w", err)
		}
		to = r.Destination
	}
	if err := w.reachable(); err != nil {
		return wallet.Sweep{}, err
	}
	parts := []string{to}
	for _, k := range r.Keys {
		parts = append(parts, string(k.Public))
	}
	record := w.disk.sweeps[r.ID]
	if record == nil {
		record = &sweep{request: digestOf(parts...), txOf: make(map[string]swept)}
	} else if record.request != digestOf(parts...) {
		return wallet.Sweep{}, fmt.Errorf("sweep %s: %w", r.ID, wallet.ErrIDReused)
	}
	plan := w.plan(r, record)
	fresh, err := w.signSweeps(plan, to, r.MaxFee)
	if err != nil {
		return wallet.Sweep{}, err
	}
	for key, s := range fresh {
		record.txOf[key] = s
	}
	if len(plan.fresh) > 0 {
		w.disk.sweeps[r.ID] = record
		for _, key := range plan.order {
			if t := fresh[key].tx; len(w.disk.signed) == 0 || w.disk.signed[len(w.disk.signed)-1] != t {
				w.disk.signed = append(w.disk.signed, t)
			}
		}
		if err := w.failing(); err != nil {
			return wallet.Sweep{}, err
		}
		w.broadcast()
	}
	return plan.reply(r, record), nil
}

// A plan says of each key what is to be done: nothing, because its transaction
// is on its way or it cannot be swept, or a fresh transaction.
type plan struct {
	errs  map[string]error
	order []string // keys of fresh, in the order of the request
	fresh map[string]purse
}

type purse struct {
	ins []outpoint
	sum coin.Amount
}

func (w *Wallet) plan(r wallet.SweepRequest, record *sweep) plan {
	p := plan{errs: make(map[string]error), fresh: make(map[string]purse)}
	for _, k := range r.Keys {
		key := string(k.Public)
		if err := wallet.CheckPair(r.Asset.Key, k); err != nil {
			p.errs[key] = err
			continue
		}
		if s, ok := record.txOf[key]; ok {
			if _, there := w.chain.where[s.tx.id]; there {
				continue
			}
		}
		found, err := w.sweepable(w.chain.address("key", k.Public))
		if err != nil {
			p.errs[key] = err
			continue
		}
		p.fresh[key] = found
		p.order = append(p.order, key)
	}
	return p
}

// sweepable returns what an address holds with at least one confirmation.
func (w *Wallet) sweepable(address string) (purse, error) {
	var found purse
	err := fmt.Errorf("%s: %w", address, wallet.ErrNotFunded)
	waiting := false
	for _, at := range w.chain.byAddr[address] {
		switch o := w.chain.outs[at]; {
		case o.spent != "":
			err = fmt.Errorf("%s: %w by %s (%d confirmations)", address, wallet.ErrSpent, o.spent, w.chain.confirmations(o.spentH))
		case o.height == 0:
			waiting = true
		default:
			found.ins = append(found.ins, at)
			sum, e := found.sum.Plus(o.amount)
			if e != nil {
				return purse{}, fmt.Errorf("%s: %w", address, e)
			}
			found.sum = sum
		}
	}
	if len(found.ins) > 0 {
		if fee := w.chain.cfg.Fee; found.sum.Cmp(fee) <= 0 {
			return purse{}, fmt.Errorf("%s: %w: %s for %s", address, wallet.ErrFeeTooHigh, fee, found.sum)
		}
		return found, nil
	}
	if waiting {
		err = fmt.Errorf("%s: %w", address, wallet.ErrNotConfirmed)
	}
	return purse{}, err
}

// signSweeps makes one transaction of all fresh keys, or one each. It changes
// nothing.
func (w *Wallet) signSweeps(p plan, to string, maxFee coin.Amount) (map[string]swept, error) {
	total, err := w.chain.cfg.Fee.Times(uint64(len(p.order)))
	if err != nil {
		return nil, err
	}
	if total.Cmp(maxFee) > 0 {
		return nil, fmt.Errorf("%w: %s, at most %s", wallet.ErrFeeTooHigh, total, maxFee)
	}
	size := max(1, len(p.order))
	if w.chain.cfg.Accounts {
		size = 1
	}
	out := make(map[string]swept)
	for start := 0; start < len(p.order); start += size {
		batch := p.order[start : start+size]
		var ins []outpoint
		var sum coin.Amount
		for _, key := range batch {
			ins = append(ins, p.fresh[key].ins...)
			if sum, err = sum.Plus(p.fresh[key].sum); err != nil {
				return nil, err
			}
		}
		fee, err := w.chain.cfg.Fee.Times(uint64(len(batch)))
		if err != nil {
			return nil, err
		}
		rest, err := sum.Minus(fee)
		if err != nil {
			return nil, fmt.Errorf("%w: %s for %s", wallet.ErrFeeTooHigh, fee, sum)
		}
		t := newTx(ins, []wallet.Payment{{Address: to, Amount: rest}}, 0)
		for _, key := range batch {
			out[key] = swept{tx: t, amount: p.fresh[key].sum, fee: fee}
		}
	}
	return out, nil
}

func (p plan) reply(r wallet.SweepRequest, record *sweep) wallet.Sweep {
	var out wallet.Sweep
	told := make(map[wallet.TxID]bool)
	for _, k := range r.Keys {
		if err := p.errs[string(k.Public)]; err != nil {
			out.Keys = append(out.Keys, wallet.Swept{Err: err})
			continue
		}
		s := record.txOf[string(k.Public)]
		out.Keys = append(out.Keys, wallet.Swept{Tx: s.tx.id, Amount: s.amount})
		if !told[s.tx.id] {
			told[s.tx.id] = true
			out.Txs = append(out.Txs, wallet.Tx{ID: s.tx.id, Fee: s.fee})
		}
	}
	return out
}
