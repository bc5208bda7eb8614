package eth

import (
	"context"
	"fmt"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"latchkey/coin"
	"latchkey/wallet"
)

// sendTimeout bounds the first attempt to send what was written in the book.
const sendTimeout = 10 * time.Second

// Fund implements wallet.Wallet: a transaction for each payment. Once they are in
// the book, Fund returns them whatever the node says to them, since they are sent
// again until one of each nonce is mined.
func (w *Wallet) Fund(ctx context.Context, r wallet.FundRequest) (wallet.Funding, error) {
	sum, err := r.Check()
	if err != nil {
		return wallet.Funding{}, err
	}
	if err := w.check(r.Asset); err != nil {
		return wallet.Funding{}, err
	}
	to := make([]common.Address, len(r.Payments))
	for i, p := range r.Payments {
		if to[i], err = parseAddress(p.Address); err != nil {
			return wallet.Funding{}, fmt.Errorf("payment %d: %w", i, err)
		}
	}
	done, err := w.spend(ctx)
	if err != nil {
		return wallet.Funding{}, err
	}
	defer done()

	txs, err := w.book.fund(r.ID, digestFund(r))
	if err != nil {
		return wallet.Funding{}, err
	}
	if txs == nil {
		if txs, err = w.order(ctx, r, to, sum); err != nil {
			return wallet.Funding{}, err
		}
	}
	w.sendNow(ctx, txs)
	return funding(txs)
}

// order signs the transactions of a new funding and writes them in the book.
func (w *Wallet) order(ctx context.Context, r wallet.FundRequest, to []common.Address, sum coin.Amount) ([]*written, error) {
	p, err := w.node.price(ctx)
	if err != nil {
		return nil, err
	}
	var mined hexutil.Uint64
	var balance hexutil.Big
	if err := w.node.must(ctx,
		&call{method: "eth_getTransactionCount", params: []any{w.address, "latest"}, result: &mined},
		&call{method: "eth_getBalance", params: []any{w.address, "latest"}, result: &balance},
	); err != nil {
		return nil, err
	}
	nonce, reserved := w.book.reserved(w.address, uint64(mined))
	free := new(big.Int).Sub(balance.ToInt(), reserved)
	if free.Cmp(toBig(sum)) < 0 {
		return nil, w.insufficient(free, toBig(sum))
	}
	gas, err := w.gasOf(ctx, r, to)
	if err != nil {
		return nil, err
	}
	var total uint64
	for _, g := range gas {
		total += g
	}
	offer, err := fundCap(p, total, w.limit, r.MaxFee)
	if err != nil {
		return nil, err
	}
	fees := new(big.Int).Mul(offer, new(big.Int).SetUint64(total))
	if need := fees.Add(fees, toBig(sum)); free.Cmp(need) < 0 {
		return nil, w.insufficient(free, need)
	}
	e := &fundEntry{ID: r.ID, Digest: digestFund(r)}
	for i, payment := range r.Payments {
		tx, err := types.SignNewTx(w.key, w.signer, &types.DynamicFeeTx{
			ChainID: w.signer.ChainID(), Nonce: nonce + uint64(i),
			GasTipCap: p.tip, GasFeeCap: offer, Gas: gas[i],
			To: &to[i], Value: toBig(payment.Amount),
		})
		if err != nil {
			return nil, fmt.Errorf("sign payment %d: %w", i, err)
		}
		raw, err := tx.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("encode payment %d: %w", i, err)
		}
		e.Raw = append(e.Raw, raw)
	}
	if err := w.book.write(entry{Fund: e}, w.signer); err != nil {
		return nil, err
	}
	return w.book.fund(r.ID, e.Digest)
}

func (w *Wallet) insufficient(free, need *big.Int) error {
	return fmt.Errorf("%w: the wallet %v has %v wei to spend, %v are needed", wallet.ErrInsufficient, w.address, atLeastZero(free), need)
}

// gasOf asks the node what each payment takes. A recipient with code may take
// more than a plain one, or refuse.
func (w *Wallet) gasOf(ctx context.Context, r wallet.FundRequest, to []common.Address) ([]uint64, error) {
	estimates := make([]hexutil.Uint64, len(to))
	calls := make([]*call, len(to))
	for i, p := range r.Payments {
		calls[i] = estimateGas(w.address, to[i], toBig(p.Amount), &estimates[i])
	}
	if err := w.node.do(ctx, calls...); err != nil {
		return nil, err
	}
	gas := make([]uint64, len(to))
	for i, c := range calls {
		if c.refused != nil {
			return nil, fmt.Errorf("%w: payment %d: %v cannot receive it: %w", wallet.ErrInvalid, i, to[i], c.refused)
		}
		if gas[i] = uint64(estimates[i]); gas[i] < transferGas || gas[i] > maxGas {
			return nil, fmt.Errorf("%w: payment %d: %v needs %d gas, at most %d are paid", wallet.ErrInvalid, i, to[i], gas[i], maxGas)
		}
	}
	return gas, nil
}

// maxGas is the most that a recipient's code may take for receiving.
const maxGas = 200_000

func estimateGas(from, to common.Address, value *big.Int, result *hexutil.Uint64) *call {
	return &call{method: "eth_estimateGas", result: result, params: []any{map[string]any{
		"from": from, "to": to, "value": (*hexutil.Big)(value),
	}}}
}

// sendNow gives transactions of the book to the node for the first time, or once more.
// What fails is tried again by Run.
func (w *Wallet) sendNow(ctx context.Context, txs []*written) {
	var open []*written
	for _, tx := range txs {
		if !tx.settled.Load() {
			open = append(open, tx)
		}
	}
	// They are in the book: a caller that goes away stops nothing any more.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer cancel()
	answers, err := w.send(ctx, open)
	if err != nil {
		w.log.Warn("send", "transactions", len(open), "error", err)
		return
	}
	for i, a := range answers {
		if a.is != verdictSent && a.is != verdictNonceTaken {
			w.log.Warn("send", "tx", open[i].tx.Hash(), "error", a.refused)
		}
	}
}

// funding returns the answer for the transactions of an order, in order of its
// payments.
func funding(txs []*written) (wallet.Funding, error) {
	var out wallet.Funding
	for i, w := range txs {
		tx, err := asTx(w)
		if err != nil {
			return wallet.Funding{}, err
		}
		out.Txs = append(out.Txs, tx)
		out.TxOf = append(out.TxOf, i)
	}
	return out, nil
}

// asTx returns what callers see of a transaction: its most possible fee.
func asTx(w *written) (wallet.Tx, error) {
	fee, err := toAmount(new(big.Int).Mul(w.tx.GasFeeCap(), new(big.Int).SetUint64(w.tx.Gas())))
	if err != nil {
		return wallet.Tx{}, fmt.Errorf("fee of %v: %w", w.tx.Hash(), err)
	}
	return wallet.Tx{ID: wallet.TxID(w.tx.Hash().Hex()), Fee: fee}, nil
}
