package fake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"latchkey/coin"
	"latchkey/wallet"
)

// A Wallet is an own wallet on a Chain. It behaves as a real connector does: it
// stores what it signed before it broadcasts, offers it again at every call
// until it is mined, and never stores a key.
type Wallet struct {
	chain *Chain
	own   string // address
	disk  *disk
}

var _ wallet.Wallet = (*Wallet)(nil)

// disk is what outlives a crash. Chain.mu guards it.
type disk struct {
	signed []*tx // in order
	funds  map[string]*fund
	sweeps map[string]*sweep
	// failBroadcasts is how many of the next Funds and Sweeps die between
	// storing and broadcasting.
	failBroadcasts int
}

type fund struct {
	request string // digest
	reply   wallet.Funding
}

type sweep struct {
	request string // digest
	txOf    map[string]swept
}

type swept struct {
	tx     *tx
	amount coin.Amount
	fee    coin.Amount
}

// Wallet returns a wallet with nothing in it. Wallets of one chain have
// different names.
func (c *Chain) Wallet(name string) *Wallet {
	return &Wallet{chain: c, own: c.address("own", []byte(name)), disk: &disk{
		funds: make(map[string]*fund), sweeps: make(map[string]*sweep),
	}}
}

// Restart returns the wallet as a new process would find it.
func (w *Wallet) Restart() *Wallet {
	return &Wallet{chain: w.chain, own: w.own, disk: w.disk}
}

// Own returns the address at which the wallet receives.
func (w *Wallet) Own() string { return w.own }

// FailBroadcasts makes the next n calls of Fund and Sweep that sign something
// fail with ErrUnreachable after it is stored and before it is broadcast: a
// crash between persist and perform.
func (w *Wallet) FailBroadcasts(n int) {
	w.chain.mu.Lock()
	defer w.chain.mu.Unlock()
	w.disk.failBroadcasts = n
}

// address is a hash with a tag, so that one of another chain is refused.
func (c *Chain) address(kind string, data []byte) string {
	tag := sha256.Sum256([]byte(c.cfg.Asset.Chain))
	sum := sha256.Sum256(append([]byte(kind+":"+c.cfg.Asset.Chain+":"), data...))
	return "fake" + hex.EncodeToString(tag[:4]) + hex.EncodeToString(sum[:16])
}

func (c *Chain) checkAddress(a string) error {
	prefix := c.address("", nil)[:12]
	if len(a) != 44 || !strings.HasPrefix(a, prefix) {
		return fmt.Errorf("%w: %.64q is no address of %s", wallet.ErrInvalid, a, c.cfg.Asset.Chain)
	}
	return nil
}

// begin locks the chain, checks the asset, and offers again what is not mined.
func (w *Wallet) begin(asset coin.Asset) (unlock func(), err error) {
	w.chain.mu.Lock()
	if _, err := w.describe().Info(asset); err != nil {
		w.chain.mu.Unlock()
		return nil, err
	}
	if !w.chain.down {
		w.broadcast()
	}
	return w.chain.mu.Unlock, nil
}

func (w *Wallet) broadcast() {
	for _, t := range w.disk.signed {
		_ = w.chain.add(t) // known, or refused: its status says so
	}
}

func (w *Wallet) reachable() error {
	if w.chain.down {
		return fmt.Errorf("node of %s: %w", w.chain.cfg.Asset.Chain, wallet.ErrUnreachable)
	}
	return nil
}

func (w *Wallet) describe() wallet.Description {
	cfg := w.chain.cfg
	info := wallet.AssetInfo{
		Asset: cfg.Asset, Confirmations: cfg.Confirmations, MaxOutputs: wallet.MaxItems, MaxKeys: wallet.MaxItems,
		FeeAsset: cfg.Asset.ID, MinAmount: cfg.Dust,
	}
	if cfg.Accounts {
		info.MaxOutputs, info.MaxKeys = 1, 1
	}
	d := wallet.Description{Name: "latchkey fake wallet", Version: "1", Assets: []wallet.AssetInfo{info}}
	if err := w.reachable(); err != nil {
		d.Node.Problem = err.Error()
	} else {
		d.Node = wallet.Node{Reachable: true, Height: uint64(len(w.chain.blocks))}
	}
	return d
}

// Describe implements wallet.Wallet.
func (w *Wallet) Describe(context.Context) (wallet.Description, error) {
	w.chain.mu.Lock()
	defer w.chain.mu.Unlock()
	return w.describe(), nil
}

// Addresses implements wallet.Wallet.
func (w *Wallet) Addresses(_ context.Context, asset coin.Asset, keys []wallet.PublicKey) ([]string, error) {
	unlock, err := w.begin(asset)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := wallet.CheckKeys(asset, keys); err != nil {
		return nil, err
	}
	out := make([]string, len(keys))
	for i, k := range keys {
		if err := wallet.CheckPoint(asset.Key, k); err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		out[i] = w.chain.address("key", k)
	}
	return out, nil
}

// Deposits implements wallet.Wallet.
func (w *Wallet) Deposits(_ context.Context, r wallet.DepositsRequest) (wallet.Deposits, error) {
	if err := r.Check(); err != nil {
		return wallet.Deposits{}, err
	}
	unlock, err := w.begin(r.Asset)
	if err != nil {
		return wallet.Deposits{}, err
	}
	defer unlock()
	if err := w.reachable(); err != nil {
		return wallet.Deposits{}, err
	}
	deep := r.Confirmations
	if deep == 0 {
		deep = w.chain.cfg.Confirmations
	}
	out := wallet.Deposits{Height: uint64(len(w.chain.blocks))}
	for i, q := range r.Queries {
		if err := wallet.CheckPoint(r.Asset.Key, q.Key); err != nil {
			return wallet.Deposits{}, fmt.Errorf("query %d: %w", i, err)
		}
		address := w.chain.address("key", q.Key)
		d, err := wallet.Tally(address, w.chain.received(address), q.Want, deep)
		if err != nil {
			return wallet.Deposits{}, err
		}
		out.Deposits = append(out.Deposits, d)
	}
	return out, nil
}

func (c *Chain) received(address string) []wallet.Received {
	var all []wallet.Received
	for _, p := range c.byAddr[address] {
		o := c.outs[p]
		all = append(all, wallet.Received{
			Tx: p.tx, Amount: o.amount, Confirmations: c.confirmations(o.height),
			Spent: o.spent != "", SpentBy: o.spent, SpentDepth: c.confirmations(o.spentH),
		})
	}
	return all
}

// Transaction implements wallet.Wallet.
func (w *Wallet) Transaction(_ context.Context, asset coin.Asset, id wallet.TxID) (wallet.TxStatus, error) {
	if err := wallet.CheckTxID(id); err != nil {
		return wallet.TxStatus{}, err
	}
	unlock, err := w.begin(asset)
	if err != nil {
		return wallet.TxStatus{}, err
	}
	defer unlock()
	if err := w.reachable(); err != nil {
		return wallet.TxStatus{}, err
	}
	c := w.chain
	if at, ok := c.where[id]; ok {
		if at.height == 0 {
			return wallet.TxStatus{State: wallet.TxPending}, nil
		}
		return wallet.TxStatus{State: wallet.TxConfirmed, Confirmations: c.confirmations(at.height)}, nil
	}
	for _, t := range w.disk.signed {
		if t.id != id {
			continue
		}
		if rival, ok := c.conflict(t); ok {
			return wallet.TxStatus{State: wallet.TxConflicted, Conflict: rival}, nil
		}
		return wallet.TxStatus{State: wallet.TxPending}, nil // will be offered again
	}
	if t, ok := c.seen[id]; ok {
		if rival, ok := c.conflict(t); ok {
			return wallet.TxStatus{State: wallet.TxConflicted, Conflict: rival}, nil
		}
	}
	return wallet.TxStatus{State: wallet.TxUnknown}, nil
}

// Fee implements wallet.Wallet.
func (w *Wallet) Fee(_ context.Context, asset coin.Asset, fund, sweep int) (wallet.Fees, error) {
	unlock, err := w.begin(asset)
	if err != nil {
		return wallet.Fees{}, err
	}
	defer unlock()
	if err := w.reachable(); err != nil {
		return wallet.Fees{}, err
	}
	if fund < 0 || sweep < 0 || fund > wallet.MaxItems || sweep > wallet.MaxItems {
		return wallet.Fees{}, fmt.Errorf("%w: fee of %d payments and %d keys", wallet.ErrInvalid, fund, sweep)
	}
	f := wallet.Fees{Asset: asset.ID}
	if f.Fund, err = w.chain.cfg.Fee.Times(uint64(fund)); err != nil {
		return wallet.Fees{}, err
	}
	f.Sweep, err = w.chain.cfg.Fee.Times(uint64(sweep))
	return f, err
}

// Balance implements wallet.Wallet.
func (w *Wallet) Balance(_ context.Context, asset coin.Asset) (wallet.Balance, error) {
	unlock, err := w.begin(asset)
	if err != nil {
		return wallet.Balance{}, err
	}
	defer unlock()
	if err := w.reachable(); err != nil {
		return wallet.Balance{}, err
	}
	d, err := wallet.Tally(w.own, w.chain.received(w.own), coin.Amount{}, 1)
	return wallet.Balance{Confirmed: d.Confirmed, Pending: d.Pending, Address: w.own}, err
}

// spendable returns own outputs that no signed transaction spends, largest
// first, mined ones or own change.
func (w *Wallet) spendable() []outpoint {
	taken := make(map[outpoint]bool)
	mine := make(map[wallet.TxID]bool)
	for _, t := range w.disk.signed {
		mine[t.id] = true
		if _, lost := w.chain.conflict(t); lost {
			continue
		}
		for _, in := range t.ins {
			taken[in] = true
		}
	}
	var out []outpoint
	for _, p := range w.chain.byAddr[w.own] {
		o := w.chain.outs[p]
		if o.spent == "" && !taken[p] && (o.height > 0 || mine[p.tx]) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b outpoint) int { return w.chain.outs[b].amount.Cmp(w.chain.outs[a].amount) })
	return out
}

// failing takes one off the broadcasts that are to fail.
func (w *Wallet) failing() error {
	if w.disk.failBroadcasts == 0 {
		return nil
	}
	w.disk.failBroadcasts--
	return fmt.Errorf("node of %s: %w: broadcast failed", w.chain.cfg.Asset.Chain, wallet.ErrUnreachable)
}

// digestOf makes one string of what an idempotency key stands for.
func digestOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return string(h.Sum(nil))
}
