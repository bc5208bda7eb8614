package btc

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/wire/v2"

	"latchkey/coin"
	"latchkey/wallet"
	"latchkey/wallet/btc/rpc"
)

// sweepTries is how often one call signs anew when a rival is faster.
const sweepTries = 3

// Sweep implements wallet.Wallet, with one transaction for up to maxInputs
// outputs of keys.
func (w *Wallet) Sweep(ctx context.Context, r wallet.SweepRequest) (wallet.Sweep, error) {
	if err := r.Check(); err != nil {
		return wallet.Sweep{}, err
	}
	done, err := w.begin(ctx, r.Asset)
	if err != nil {
		return wallet.Sweep{}, err
	}
	defer done()
	to := []byte(w.script)
	if r.Destination != "" {
		if to, err = scriptTo(r.Destination, w.params); err != nil {
			return wallet.Sweep{}, fmt.Errorf("destination: %w", err)
		}
	}
	request := digestOf(to, r.Keys)
	if have := w.store.sweeps[r.ID]; have != nil && have.Request != request {
		return wallet.Sweep{}, fmt.Errorf("sweep %s: %w", r.ID, wallet.ErrIDReused)
	}
	for range sweepTries {
		p, err := w.plan(ctx, r)
		if err != nil {
			return wallet.Sweep{}, err
		}
		if len(p.fresh) == 0 {
			return p.reply, nil
		}
		again, err := w.sweepFresh(ctx, r, p.fresh, to, request)
		if err != nil {
			return wallet.Sweep{}, fmt.Errorf("sweep %s: %w", r.ID, err)
		}
		if !again {
			break
		}
	}
	p, err := w.plan(ctx, r)
	if err != nil {
		return wallet.Sweep{}, err
	}
	for _, f := range p.fresh { // refused each time, and yet nobody's spend is seen
		p.reply.Keys[f.index] = wallet.Swept{Err: fmt.Errorf("%w: the node refuses to relay a sweep; if it goes on, restart the node: its pool holds a spend that cannot be mined", wallet.ErrUnreachable)}
	}
	return p.reply, nil
}

func digestOf(to []byte, keys []wallet.SweepKey) string {
	h := sha256.New()
	fmt.Fprintf(h, "%x\n", to)
	for _, k := range keys {
		fmt.Fprintf(h, "%x\n", []byte(k.Public))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// A plan is what is known of each key now: its transaction that is in the pool
// or mined, its error, or what is to be swept afresh.
type plan struct {
	reply wallet.Sweep
	fresh []freshKey
}

type freshKey struct {
	index int // in the request
	coins []holding
	sum   int64
}

func (w *Wallet) plan(ctx context.Context, r wallet.SweepRequest) (plan, error) {
	p := plan{reply: wallet.Sweep{Keys: make([]wallet.Swept, len(r.Keys))}}
	scripts := make([]string, len(r.Keys))
	var watch []string
	for i, k := range r.Keys {
		if err := wallet.CheckPair(coin.Secp256k1, k); err != nil {
			p.reply.Keys[i].Err = err
			continue
		}
		scripts[i] = string(scriptOf(k.Public))
		watch = append(watch, scripts[i])
	}
	if err := w.sync(ctx, watch...); err != nil {
		return plan{}, err
	}
	onWay, err := w.onWay(r.ID)
	if err != nil {
		return plan{}, err
	}
	var least rate
	for i, k := range r.Keys { // what is on its way costs nothing more
		if _, ok := onWay[string(k.Public)]; !ok && scripts[i] != "" {
			if least, err = w.rate(ctx); err != nil {
				return plan{}, err
			}
			break
		}
	}
	told := make(map[string]bool)
	for i, k := range r.Keys {
		if scripts[i] == "" {
			continue
		}
		if a, ok := onWay[string(k.Public)]; ok {
			p.reply.Keys[i] = wallet.Swept{Tx: wallet.TxID(a.tx.ID), Amount: amountOf(a.amount)}
			if !told[a.tx.ID] {
				told[a.tx.ID] = true
				p.reply.Txs = append(p.reply.Txs, wallet.Tx{ID: wallet.TxID(a.tx.ID), Fee: amountOf(a.tx.Fee)})
			}
			continue
		}
		coins, sum, err := w.sweepable(scripts[i], least)
		if err != nil {
			p.reply.Keys[i].Err = err
			continue
		}
		p.fresh = append(p.fresh, freshKey{index: i, coins: coins, sum: sum})
	}
	p.dropPoor(least)
	return p, nil
}

// dropPoor refuses all fresh keys if what they hold together would be dust
// after the fee.
func (p *plan) dropPoor(r rate) {
	weight, sum := int64(weightFrame)+weightOutput(make([]byte, scriptLen)), int64(0)
	for _, f := range p.fresh {
		weight, sum = weight+int64(len(f.coins))*weightInput, sum+f.sum
	}
	if fee := r.fee(weight); sum-fee < dustOf(scriptOf(nil)) {
		for _, f := range p.fresh {
			p.reply.Keys[f.index].Err = fmt.Errorf("%w: %d satoshis for %d in all", wallet.ErrFeeTooHigh, fee, sum)
		}
		p.fresh = nil
	}
}

type onWay struct {
	tx     signedTx
	amount int64
}

// onWay returns, by public key, the attempts of an id that are in the pool or
// mined. Of two attempts at one key only one can be.
func (w *Wallet) onWay(id string) (map[string]onWay, error) {
	out := make(map[string]onWay)
	have := w.store.sweeps[id]
	if have == nil {
		return out, nil
	}
	for _, a := range have.Attempts {
		tx, err := parseTx(a.Tx.Raw)
		if err != nil {
			return nil, fmt.Errorf("stored transaction %s: %w", a.Tx.ID, err)
		}
		if at := w.whereIs(tx); at.depth == 0 && !at.inPool {
			continue
		}
		for _, k := range a.Keys {
			out[string(k.Public)] = onWay{tx: a.Tx, amount: k.Amount}
		}
	}
	return out, nil
}

// sweepable returns what is at a script with at least one confirmation and is
// worth more than its own input, at most maxInputs of it.
func (w *Wallet) sweepable(script string, r rate) ([]holding, int64, error) {
	address, err := addressOf([]byte(script), w.params)
	if err != nil {
		return nil, 0, err
	}
	cost := r.fee(weightInput)
	var coins []holding
	var waiting, poor int
	spent := fmt.Errorf("%s: %w", address, wallet.ErrNotFunded)
	for _, h := range w.view.holdings(script) {
		switch {
		case h.spent:
			spent = fmt.Errorf("%s: %w in %s (%d confirmations)", address, wallet.ErrSpent, h.spentBy, h.spentDep)
		case h.depth == 0:
			waiting++
		case h.value <= cost:
			poor++
		default:
			coins = append(coins, h)
		}
	}
	if len(coins) > 0 {
		slices.SortStableFunc(coins, func(a, b holding) int { return cmp.Compare(b.value, a.value) })
		coins = coins[:min(len(coins), maxInputs)]
		sum := int64(0)
		for _, c := range coins {
			sum += c.value
		}
		return coins, sum, nil
	}
	switch {
	case waiting > 0:
		return nil, 0, fmt.Errorf("%s: %w", address, wallet.ErrNotConfirmed)
	case poor > 0:
		return nil, 0, fmt.Errorf("%s: %w: %d satoshis to move what is worth no more", address, wallet.ErrFeeTooHigh, cost)
	}
	return nil, 0, spent
}

// sweepFresh signs, stores and sends. It reports whether something was refused
// and planning again may help.
func (w *Wallet) sweepFresh(ctx context.Context, r wallet.SweepRequest, fresh []freshKey, to []byte, request string) (again bool, err error) {
	rate, err := w.rate(ctx)
	if err != nil {
		return false, err
	}
	rec := sweepRecord{ID: r.ID, Request: request}
	var txs []*wire.MsgTx
	total := int64(0)
	for len(fresh) > 0 {
		var ins []spend
		var keys []sweptKey
		sum, n := int64(0), 0
		for _, f := range fresh {
			if n > 0 && len(ins)+len(f.coins) > maxInputs {
				break
			}
			for _, c := range f.coins {
				ins = append(ins, spend{op: c.op, value: c.value, key: r.Keys[f.index].Private})
			}
			keys = append(keys, sweptKey{Public: r.Keys[f.index].Public, Amount: f.sum})
			sum, n = sum+f.sum, n+1
		}
		fresh = fresh[n:]
		fee := rate.fee(weightFrame + int64(len(ins))*weightInput + weightOutput(to))
		if sum-fee < dustOf(to) {
			return false, fmt.Errorf("%w: %d satoshis for %d", wallet.ErrFeeTooHigh, fee, sum)
		}
		if total += fee; amountOf(total).Cmp(r.MaxFee) > 0 {
			return false, fmt.Errorf("%w: %d satoshis, at most %s", wallet.ErrFeeTooHigh, total, r.MaxFee)
		}
		tx, err := signAll(ins, []*wire.TxOut{wire.NewTxOut(sum-fee, to)})
		if err != nil {
			return false, err
		}
		txs = append(txs, tx)
		rec.Attempts = append(rec.Attempts, attempt{Tx: signedTx{ID: tx.TxHash().String(), Raw: encodeTx(tx), Fee: fee}, Keys: keys})
	}
	for _, tx := range txs {
		if err := w.acceptable(ctx, tx); err != nil {
			if rpc.CodeOf(err) == 0 && errors.Is(err, wallet.ErrUnreachable) {
				return false, err
			}
			return true, nil // a rival was faster: the next look says who
		}
	}
	if err := w.store.append(record{Sweep: &rec}); err != nil {
		return false, err
	}
	for _, tx := range txs {
		switch err := w.send(ctx, tx); {
		case err == nil:
		case rpc.CodeOf(err) != 0:
			again = true
		default:
			return false, fmt.Errorf("it is signed and will be sent: %w", err)
		}
	}
	return again, nil
}
