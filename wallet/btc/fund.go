package btc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/btcsuite/btcd/wire/v2"

	"latchkey/wallet"
	"latchkey/wallet/btc/rpc"
)

// Fund implements wallet.Wallet, with one transaction for all payments.
func (w *Wallet) Fund(ctx context.Context, r wallet.FundRequest) (wallet.Funding, error) {
	if _, err := r.Check(); err != nil {
		return wallet.Funding{}, err
	}
	done, err := w.begin(ctx, r.Asset)
	if err != nil {
		return wallet.Funding{}, err
	}
	defer done()
	outs, request, err := w.outputs(r.Payments)
	if err != nil {
		return wallet.Funding{}, err
	}
	if have, ok := w.store.funds[r.ID]; ok {
		if have.Request != request {
			return wallet.Funding{}, fmt.Errorf("fund %s: %w", r.ID, wallet.ErrIDReused)
		}
		// It is stored, so it will be paid; offered now, if a crash came between. A
		// node that is down does not change the answer.
		_ = w.sync(ctx)
		return have.reply(len(r.Payments)), nil
	}
	if err := w.sync(ctx); err != nil {
		return wallet.Funding{}, err
	}
	rate, err := w.rate(ctx)
	if err != nil {
		return wallet.Funding{}, err
	}
	picked, change, fee, err := pick(w.spendable(), outs, []byte(w.script), rate)
	if err != nil {
		return wallet.Funding{}, err
	}
	if amountOf(fee).Cmp(r.MaxFee) > 0 {
		return wallet.Funding{}, fmt.Errorf("%w: %d satoshis, at most %s", wallet.ErrFeeTooHigh, fee, r.MaxFee)
	}
	var ins []spend
	for _, p := range picked {
		ins = append(ins, spend{op: p.op, value: p.value, key: w.key})
	}
	if change > 0 {
		outs = append(outs, wire.NewTxOut(change, []byte(w.script)))
	}
	tx, err := signAll(ins, outs)
	if err != nil {
		return wallet.Funding{}, fmt.Errorf("fund %s: %w", r.ID, err)
	}
	if err := w.acceptable(ctx, tx); err != nil {
		return wallet.Funding{}, fmt.Errorf("fund %s: %w", r.ID, err)
	}
	rec := fundRecord{ID: r.ID, Request: request, Tx: signedTx{ID: tx.TxHash().String(), Raw: encodeTx(tx), Fee: fee}}
	if err := w.store.append(record{Fund: &rec}); err != nil {
		return wallet.Funding{}, fmt.Errorf("fund %s: %w", r.ID, err)
	}
	// From here on it is paid, sooner or later. A refusal now is a race with
	// another wallet of the same key: its status will say so.
	if err := w.send(ctx, tx); err != nil && rpc.CodeOf(err) == 0 {
		return wallet.Funding{}, fmt.Errorf("fund %s is signed and will be sent: %w", r.ID, err)
	}
	return rec.reply(len(r.Payments)), nil
}

// outputs returns what payments are on the chain, and their digest.
func (w *Wallet) outputs(payments []wallet.Payment) ([]*wire.TxOut, string, error) {
	var outs []*wire.TxOut
	digest := sha256.New()
	total := int64(0)
	for i, p := range payments {
		script, err := scriptTo(p.Address, w.params)
		if err != nil {
			return nil, "", fmt.Errorf("payment %d: %w", i, err)
		}
		value, ok := satoshis(p.Amount)
		if total += value; !ok || total > maxSatoshi {
			return nil, "", fmt.Errorf("%w: payment %d of %s: there are %d satoshis in all", wallet.ErrInsufficient, i, p.Amount, int64(maxSatoshi))
		}
		if dust := dustOf(script); value < dust {
			return nil, "", fmt.Errorf("%w: payment %d of %d satoshis is dust, at least %d", wallet.ErrInvalid, i, value, dust)
		}
		outs = append(outs, wire.NewTxOut(value, script))
		fmt.Fprintf(digest, "%s %d\n", p.Address, value)
	}
	return outs, hex.EncodeToString(digest.Sum(nil)), nil
}

func (r fundRecord) reply(payments int) wallet.Funding {
	return wallet.Funding{
		Txs:  []wallet.Tx{{ID: wallet.TxID(r.Tx.ID), Fee: amountOf(r.Tx.Fee)}},
		TxOf: make([]int, payments),
	}
}

// spendable returns own coins that nothing signed spends: mined ones, and the
// change of own transactions.
func (w *Wallet) spendable() []holding {
	taken := make(map[wire.OutPoint]bool)
	for _, s := range w.store.signed {
		tx, err := parseTx(s.Raw)
		if err != nil {
			continue // sync has said so
		}
		if w.whereIs(tx).rival != nil {
			continue
		}
		for _, in := range tx.TxIn {
			taken[in.PreviousOutPoint] = true
		}
	}
	var out []holding
	for _, h := range w.view.holdings(w.script) {
		_, own := w.store.own[h.op.Hash.String()]
		if !h.spent && !taken[h.op] && (h.depth > 0 || own && w.view.waits(h.op.Hash)) {
			out = append(out, h)
		}
	}
	return out
}

// acceptable asks the node whether it would take tx.
func (w *Wallet) acceptable(ctx context.Context, tx *wire.MsgTx) error {
	var verdicts []struct {
		Allowed bool   `json:"allowed"`
		Reason  string `json:"reject-reason"`
	}
	if err := w.node.Call(ctx, &verdicts, "testmempoolaccept", []string{hex.EncodeToString(encodeTx(tx))}, 0); err != nil {
		return err
	}
	if len(verdicts) != 1 || !verdicts[0].Allowed {
		reason := "no answer"
		if len(verdicts) == 1 {
			reason = verdicts[0].Reason
		}
		return fmt.Errorf("the node would refuse it: %.200s", reason)
	}
	return nil
}
