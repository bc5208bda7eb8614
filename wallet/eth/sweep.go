package eth

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"latchkey/wallet"
)

// sight is how an address looks to the node.
type sight struct {
	nonce   hexutil.Uint64 // transactions that are mined
	balance hexutil.Big    // wei, at the best block
	pending hexutil.Big    // wei, with what is not mined
}

// candidate is a key of a sweep that can be signed with.
type candidate struct {
	key     *ecdsa.PrivateKey
	address common.Address
	sight   sight
	past    []*written // this sweep's own transactions from the address, oldest first
	others  []*written // all from the address, also of other sweeps, oldest first
	mined   map[common.Hash]bool
}

// step is what a sweep does about a key: keep a transaction that was signed
// before, or sign another.
type step struct {
	keep  *written
	fresh *types.LegacyTx
}

// sweepAnswer is the answer to a sweep while it is made.
type sweepAnswer struct{ wallet.Sweep }

// Sweep implements wallet.Wallet: a transaction for each key, which leaves its
// address with exactly nothing.
func (w *Wallet) Sweep(ctx context.Context, r wallet.SweepRequest) (wallet.Sweep, error) {
	if err := r.Check(); err != nil {
		return wallet.Sweep{}, err
	}
	if err := w.check(r.Asset); err != nil {
		return wallet.Sweep{}, err
	}
	destination := w.address
	if r.Destination != "" {
		var err error
		if destination, err = parseAddress(r.Destination); err != nil {
			return wallet.Sweep{}, fmt.Errorf("destination: %w", err)
		}
	}
	done, err := w.spend(ctx)
	if err != nil {
		return wallet.Sweep{}, err
	}
	defer done()

	digest := digestSweep(r, destination)
	past, err := w.book.sweep(r.ID, digest)
	if err != nil {
		return wallet.Sweep{}, err
	}
	out := sweepAnswer{wallet.Sweep{Keys: make([]wallet.Swept, len(r.Keys))}}
	keys, err := w.candidates(ctx, r, past, out.Keys)
	if err != nil {
		return wallet.Sweep{}, err
	}
	steps, err := w.plan(ctx, r, keys, destination, out.Keys)
	if err != nil {
		return wallet.Sweep{}, err
	}
	txs, err := w.sign(r.ID, digest, keys, steps)
	if err != nil {
		return wallet.Sweep{}, err
	}
	if err := w.sendSweep(ctx, keys, txs, &out); err != nil {
		return wallet.Sweep{}, err
	}
	return out.Sweep, nil
}

// candidates looks at the address of every key. A key that is not the one of its
// public key gets its error and no candidate.
func (w *Wallet) candidates(ctx context.Context, r wallet.SweepRequest, past []*written, out []wallet.Swept) ([]*candidate, error) {
	keys := make([]*candidate, len(r.Keys))
	var own hexutil.Uint64
	calls := []*call{{method: "eth_getTransactionCount", params: []any{w.address, "latest"}, result: &own}}
	type look struct {
		of      *candidate
		tx      *written
		receipt *receipt
	}
	var looks []*look
	for i, k := range r.Keys {
		key, err := signingKey(k)
		if err != nil {
			out[i].Err = err
			continue
		}
		address, err := addressOf(k.Public)
		if err != nil {
			out[i].Err = err
			continue
		}
		c := &candidate{key: key, address: address, others: w.book.sentFrom(address), mined: make(map[common.Hash]bool)}
		keys[i] = c
		calls = append(calls,
			&call{method: "eth_getTransactionCount", params: []any{address, "latest"}, result: &c.sight.nonce},
			&call{method: "eth_getBalance", params: []any{address, "latest"}, result: &c.sight.balance},
			&call{method: "eth_getBalance", params: []any{address, "pending"}, result: &c.sight.pending})
		for _, tx := range past {
			if tx.sender == address {
				c.past = append(c.past, tx)
				l := &look{of: c, tx: tx}
				looks = append(looks, l)
				// After the nonce: whatever took it has a receipt by now.
				calls = append(calls, &call{method: "eth_getTransactionReceipt", params: []any{tx.tx.Hash()}, result: &l.receipt})
			}
		}
	}
	if err := w.node.must(ctx, calls...); err != nil {
		return nil, err
	}
	for _, c := range keys {
		if c != nil {
			c.sight.pending = hexutil.Big(*w.withOwn(c.address, c.sight.balance.ToInt(), c.sight.pending.ToInt(), uint64(own)))
		}
	}
	for _, l := range looks {
		l.of.mined[l.tx.tx.Hash()] = l.receipt != nil && l.receipt.Status == 1
	}
	return keys, nil
}

// plan decides what to do about each key, and that it is not too dear. It signs
// nothing.
func (w *Wallet) plan(ctx context.Context, r wallet.SweepRequest, keys []*candidate, destination common.Address, out []wallet.Swept) ([]step, error) {
	p, err := w.node.price(ctx)
	if err != nil {
		return nil, err
	}
	gas, err := w.sweepGas(ctx, keys, destination)
	if err != nil {
		return nil, err
	}
	steps := make([]step, len(keys))
	total, signing := new(big.Int), false
	for i, c := range keys {
		if c == nil {
			continue
		}
		s, err := decide(c, destination, p, gas)
		if err != nil {
			out[i].Err = fmt.Errorf("%v: %w", c.address, err)
			continue
		}
		steps[i] = s
		switch {
		case s.keep != nil:
			total.Add(total, feeOf(s.keep.tx))
		case s.fresh.GasPrice.Cmp(w.limit) > 0:
			return nil, fmt.Errorf("%w: gas costs %v wei now, the own limit is %v", wallet.ErrFeeTooHigh, s.fresh.GasPrice, w.limit)
		default:
			signing = true
			total.Add(total, feeOf(types.NewTx(s.fresh)))
		}
	}
	if signing && total.Cmp(toBig(r.MaxFee)) > 0 {
		return nil, fmt.Errorf("%w: the sweep costs %v wei, max_fee is %s", wallet.ErrFeeTooHigh, total, r.MaxFee)
	}
	return steps, nil
}

// feeOf returns the most that a transaction costs its sender beside its value.
func feeOf(tx *types.Transaction) *big.Int {
	return new(big.Int).Sub(tx.Cost(), tx.Value())
}

// sweepGas asks the node what a payment to destination takes.
func (w *Wallet) sweepGas(ctx context.Context, keys []*candidate, destination common.Address) (uint64, error) {
	for _, c := range keys {
		if c == nil || c.sight.balance.ToInt().Sign() == 0 {
			continue
		}
		var gas hexutil.Uint64
		estimate := estimateGas(c.address, destination, big.NewInt(1), &gas)
		if err := w.node.do(ctx, estimate); err != nil {
			return 0, err
		}
		if estimate.refused != nil {
			return 0, fmt.Errorf("%w: destination %v cannot receive: %w", wallet.ErrInvalid, destination, estimate.refused)
		}
		if gas < transferGas || gas > maxGas {
			return 0, fmt.Errorf("%w: destination %v needs %d gas, at most %d are paid", wallet.ErrInvalid, destination, uint64(gas), maxGas)
		}
		return uint64(gas), nil
	}
	return transferGas, nil // no address has anything: no transaction comes of it
}

// decide says what a sweep does about a key, or why nothing can be done.
func decide(c *candidate, destination common.Address, p price, gas uint64) (step, error) {
	for i := len(c.past) - 1; i >= 0; i-- {
		if c.mined[c.past[i].tx.Hash()] {
			return step{keep: c.past[i]}, nil
		}
	}
	balance := c.sight.balance.ToInt()
	offer := p.sweepPrice()
	for i := len(c.others) - 1; i >= 0; i-- {
		tx := c.others[i].tx
		if tx.Nonce() != uint64(c.sight.nonce) || *tx.To() != destination {
			continue
		}
		// On its way already. It stays, unless the next block cannot take it or what
		// it sends is not there.
		if tx.GasPrice().Cmp(p.base) >= 0 && balance.Cmp(tx.Cost()) >= 0 {
			return step{keep: c.others[i]}, nil
		}
		if least := raised(tx.GasPrice()); offer.Cmp(least) < 0 {
			offer = least
		}
		break
	}
	if balance.Sign() == 0 {
		switch {
		case c.sight.nonce > 0:
			return step{}, fmt.Errorf("%w: nothing is left", wallet.ErrSpent)
		case c.sight.pending.ToInt().Sign() > 0:
			return step{}, fmt.Errorf("%w: %v wei are not mined yet", wallet.ErrNotConfirmed, c.sight.pending.ToInt())
		}
		return step{}, wallet.ErrNotFunded
	}
	fee := new(big.Int).Mul(offer, new(big.Int).SetUint64(gas))
	if fee.Cmp(balance) >= 0 {
		return step{}, fmt.Errorf("%w: moving %v wei costs %v", wallet.ErrFeeTooHigh, balance, fee)
	}
	return step{fresh: &types.LegacyTx{
		Nonce: uint64(c.sight.nonce), GasPrice: offer, Gas: gas,
		To: &destination, Value: new(big.Int).Sub(balance, fee),
	}}, nil
}

// raised returns the price at which nodes let a transaction replace one of the
// given price: a tenth more (geth core/txpool/legacypool, PriceBump), rounded up.
func raised(price *big.Int) *big.Int {
	v := new(big.Int).Mul(price, big.NewInt(11))
	return v.Div(v.Add(v, big.NewInt(9)), big.NewInt(10))
}

// sign signs the fresh steps and writes the sweep in the book. It returns a
// transaction for each key that has a step.
func (w *Wallet) sign(id string, digest []byte, keys []*candidate, steps []step) ([]*written, error) {
	txs := make([]*written, len(keys))
	e := &sweepEntry{ID: id, Digest: digest}
	hashes := make([]common.Hash, len(keys))
	for i, s := range steps {
		if s.keep != nil {
			txs[i] = s.keep
			if !has(keys[i].past, s.keep) { // another sweep's: this one shares it
				e.Raw = append(e.Raw, s.keep.raw)
			}
		}
		if s.fresh == nil {
			continue
		}
		tx, err := types.SignNewTx(keys[i].key, w.signer, s.fresh)
		if err != nil {
			return nil, fmt.Errorf("sign the sweep of %v: %w", keys[i].address, err)
		}
		raw, err := tx.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("encode the sweep of %v: %w", keys[i].address, err)
		}
		e.Raw = append(e.Raw, raw)
		hashes[i] = tx.Hash()
	}
	if len(e.Raw) == 0 {
		return txs, nil
	}
	if err := w.book.write(entry{Sweep: e}, w.signer); err != nil {
		return nil, err
	}
	for i, s := range steps {
		if s.fresh != nil {
			txs[i] = w.book.transaction(hashes[i])
		}
	}
	return txs, nil
}

func has(list []*written, w *written) bool {
	for _, v := range list {
		if v.tx.Hash() == w.tx.Hash() {
			return true
		}
	}
	return false
}

// sendSweep gives the transactions to the node and says in out what became of each.
func (w *Wallet) sendSweep(ctx context.Context, keys []*candidate, txs []*written, out *sweepAnswer) error {
	var sending []*written
	var of []int
	for i, tx := range txs {
		if tx == nil {
			continue
		}
		if keys[i].mined[tx.tx.Hash()] {
			if err := out.swept(i, tx); err != nil {
				return err
			}
			continue
		}
		sending, of = append(sending, tx), append(of, i)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer cancel()
	answers, err := w.send(ctx, sending)
	if err != nil {
		return err
	}
	for j, a := range answers {
		i, tx := of[j], sending[j]
		if a.is == verdictNonceTaken {
			mined, err := w.receiptOf(ctx, tx.tx.Hash())
			if err != nil {
				return err
			}
			if mined != nil {
				a.is = verdictSent // by itself
			}
		}
		switch a.is {
		case verdictNonceTaken:
			out.Keys[i].Err = fmt.Errorf("%v: %w", keys[i].address, wallet.ErrSpent)
		case verdictRival:
			out.Keys[i].Err = fmt.Errorf("%v: %w in a transaction that is not mined yet", keys[i].address, wallet.ErrSpent)
		case verdictPoor:
			out.Keys[i].Err = fmt.Errorf("%v: %w: the deposit is not there any more", keys[i].address, wallet.ErrNotConfirmed)
		default:
			if a.is != verdictSent { // for a while, for all this wallet knows: Run sends it again
				w.log.Warn("send", "tx", tx.tx.Hash(), "error", a.refused)
			}
			if err := out.swept(i, tx); err != nil {
				return err
			}
		}
	}
	return nil
}

// swept enters the transaction that moves key i.
func (s *sweepAnswer) swept(i int, w *written) error {
	tx, err := asTx(w)
	if err != nil {
		return err
	}
	amount, err := toAmount(w.tx.Cost())
	if err != nil {
		return fmt.Errorf("amount of %v: %w", w.tx.Hash(), err)
	}
	s.Txs = append(s.Txs, tx)
	s.Keys[i] = wallet.Swept{Tx: tx.ID, Amount: amount}
	return nil
}
