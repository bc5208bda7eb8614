// Package btc connects Bitcoin by way of a btcd node: a wallet.Wallet with
// pay-to-witness-public-key-hash addresses.
//
// The own wallet is one key in the data folder. What is signed is stored before
// it is broadcast, and offered to the node again until it is buried; the keys
// of chunks are never stored. What the node knows about addresses is looked up
// once and then followed block by block (see view).
package btc

import (
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"latchkey/coin"
	"latchkey/wallet"
	"latchkey/wallet/btc/rpc"
)

// Version of the connector.
const Version = "1"

// keepEvery is the least time between two saves of the view.
const keepEvery = 5 * time.Second

// buried is how deep a transaction of ours is when it is no longer offered.
const buried = 100

// A Wallet is the connector. Its methods may be called at the same time; they
// take turns.
type Wallet struct {
	cfg    Config
	params *chaincfg.Params
	node   *rpc.Client

	turn   chan struct{} // holds one token; who has it owns what follows
	store  *store
	view   *view
	key    wallet.PrivateKey
	script string // of the own key
	tried  map[string]time.Time
	kept   time.Time // when the view was saved
}

var _ wallet.Wallet = (*Wallet)(nil)

// Open opens the data folder, and makes the own key at the first start. The
// node may be down.
func Open(cfg Config) (*Wallet, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	params, err := paramsOf(cfg.Network)
	if err != nil {
		return nil, err
	}
	s, err := openStore(cfg.Data)
	if err != nil {
		return nil, err
	}
	key, err := loadKey(cfg.Data)
	if err != nil {
		_ = s.close()
		return nil, err
	}
	public, err := wallet.PublicOf(coin.Secp256k1, key)
	if err != nil {
		_ = s.close()
		return nil, err
	}
	transport, err := cfg.nodeTransport()
	if err != nil {
		_ = s.close()
		return nil, err
	}
	n := rpc.NewOver(transport, cfg.Node, cfg.User, cfg.Password)
	w := &Wallet{
		cfg: cfg, params: params, node: n, turn: make(chan struct{}, 1), store: s,
		view: newView(n, params), key: key, script: string(scriptOf(public)), tried: make(map[string]time.Time),
	}
	_ = w.view.restore(filepath.Join(cfg.Data, cacheName)) // or all is looked up anew
	w.turn <- struct{}{}
	return w, nil
}

// Address returns where the own wallet receives.
func (w *Wallet) Address() string {
	a, err := addressOf([]byte(w.script), w.params)
	if err != nil {
		return "" // a script of ours has an address
	}
	return a
}

// Close waits for calls in flight and gives the data folder free.
func (w *Wallet) Close() error {
	<-w.turn
	_ = w.view.save(filepath.Join(w.cfg.Data, cacheName)) // it is a cache
	return w.store.close()
}

// Run offers what is on its way to the node, every Config.Resend, until ctx
// ends. Wallets work without, but then only while they are asked something.
func (w *Wallet) Run(ctx context.Context) {
	ticker := time.NewTicker(w.cfg.Resend)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if done, err := w.begin(ctx, w.cfg.asset()); err == nil {
			_ = w.sync(ctx) // a node that is down is tried again
			w.keep()
			done()
		}
	}
}

// keep saves the view now and then: what it costs to lose it is time.
func (w *Wallet) keep() {
	if !w.view.dirty || len(w.view.known) == 0 || time.Since(w.kept) < keepEvery {
		return
	}
	_ = w.view.save(filepath.Join(w.cfg.Data, cacheName))
	w.kept = time.Now()
}

// begin checks the asset and waits for this call's turn.
func (w *Wallet) begin(ctx context.Context, asset coin.Asset) (done func(), err error) {
	if _, err := w.describe().Info(asset); err != nil {
		return nil, err
	}
	select {
	case <-w.turn:
		return func() { w.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for other calls: %w", ctx.Err())
	}
}

func (w *Wallet) describe() wallet.Description {
	return wallet.Description{Name: "latchkey wallet-btc", Version: Version, Assets: []wallet.AssetInfo{{
		Asset: w.cfg.asset(), Confirmations: w.cfg.Confirmations, MaxOutputs: wallet.MaxItems, MaxKeys: maxInputs,
		FeeAsset: "btc", MinAmount: amountOf(dustOf([]byte(w.script))),
	}}}
}

// Describe implements wallet.Wallet.
func (w *Wallet) Describe(ctx context.Context) (wallet.Description, error) {
	d := w.describe()
	done, err := w.begin(ctx, w.cfg.asset())
	if err != nil {
		return d, err
	}
	defer done()
	var chain struct {
		Blocks  uint64 `json:"blocks"`
		Headers uint64 `json:"headers"`
		Best    string `json:"bestblockhash"`
	}
	var tip struct {
		Time int64 `json:"time"`
	}
	peers := 0
	err = w.view.checkChain(ctx)
	if err == nil {
		err = w.node.Call(ctx, &chain, "getblockchaininfo")
	}
	if err == nil {
		err = w.node.Call(ctx, &tip, "getblockheader", chain.Best, true)
	}
	if err == nil {
		err = w.node.Call(ctx, &peers, "getconnectioncount")
	}
	if ctx.Err() != nil {
		return d, fmt.Errorf("ask the node: %w", ctx.Err())
	}
	if err != nil {
		w.view.rightChain = false
		d.Node.Problem = err.Error()
		return d, nil
	}
	d.Node = wallet.Node{Reachable: true, Height: chain.Blocks, Syncing: chain.Headers > chain.Blocks+1, TipTime: tip.Time}
	d.Node.MaxTipAge = int64(w.cfg.MaxTipAge / time.Second)
	d.Node.Alone = peers == 0 && w.cfg.Network != "regtest" && !w.cfg.InsecureAnyTipAge
	return d, nil
}

// Addresses implements wallet.Wallet.
func (w *Wallet) Addresses(_ context.Context, asset coin.Asset, keys []wallet.PublicKey) ([]string, error) {
	if _, err := w.describe().Info(asset); err != nil {
		return nil, err
	}
	if err := wallet.CheckKeys(asset, keys); err != nil {
		return nil, err
	}
	out := make([]string, len(keys))
	for i, k := range keys {
		script, err := w.scriptOf(k)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		if out[i], err = addressOf([]byte(script), w.params); err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
	}
	return out, nil
}

func (w *Wallet) scriptOf(k wallet.PublicKey) (string, error) {
	if err := wallet.CheckPoint(coin.Secp256k1, k); err != nil {
		return "", err
	}
	return string(scriptOf(k)), nil
}

// Deposits implements wallet.Wallet.
func (w *Wallet) Deposits(ctx context.Context, r wallet.DepositsRequest) (wallet.Deposits, error) {
	if err := r.Check(); err != nil {
		return wallet.Deposits{}, err
	}
	done, err := w.begin(ctx, r.Asset)
	if err != nil {
		return wallet.Deposits{}, err
	}
	defer done()
	scripts := make([]string, len(r.Queries))
	for i, q := range r.Queries {
		if scripts[i], err = w.scriptOf(q.Key); err != nil {
			return wallet.Deposits{}, fmt.Errorf("query %d: %w", i, err)
		}
	}
	if err := w.sync(ctx, scripts...); err != nil {
		return wallet.Deposits{}, err
	}
	deep := r.Confirmations
	if deep == 0 {
		deep = w.cfg.Confirmations
	}
	out := wallet.Deposits{Height: uint64(w.view.height())}
	for i, q := range r.Queries {
		d, err := w.tally(scripts[i], q.Want, deep)
		if err != nil {
			return wallet.Deposits{}, err
		}
		out.Deposits = append(out.Deposits, d)
	}
	return out, nil
}

func (w *Wallet) tally(script string, want coin.Amount, deep uint32) (wallet.Deposit, error) {
	address, err := addressOf([]byte(script), w.params)
	if err != nil {
		return wallet.Deposit{}, err
	}
	var all []wallet.Received
	for _, h := range w.view.holdings(script) {
		r := wallet.Received{Tx: txID(h.op.Hash), Amount: amountOf(h.value), Confirmations: h.depth, Spent: h.spent, SpentDepth: h.spentDep}
		if h.spent {
			r.SpentBy = txID(h.spentBy)
		}
		all = append(all, r)
	}
	return wallet.Tally(address, all, want, deep)
}

func txID(h chainhash.Hash) wallet.TxID { return wallet.TxID(h.String()) }

// sync brings the view up to date, watches scripts and all that transactions
// on their way spend from, and offers the node what it has lost.
func (w *Wallet) sync(ctx context.Context, scripts ...string) error {
	all := append([]string{w.script}, scripts...)
	txs := make([]*wire.MsgTx, len(w.store.signed))
	for i, s := range w.store.signed {
		tx, err := parseTx(s.Raw)
		if err != nil {
			return fmt.Errorf("stored transaction %s: %w", s.ID, err)
		}
		txs[i] = tx
		for _, in := range tx.TxIn {
			all = append(all, spentScript(in))
		}
	}
	if err := w.view.sync(ctx, all...); err != nil {
		return err
	}
	var finals []record
	for i, tx := range txs {
		switch at := w.whereIs(tx); {
		case at.depth >= buried:
			finals = append(finals, record{Final: w.store.signed[i].ID})
		case at.depth > 0, at.inPool, at.rival != nil:
		default:
			if err := w.offer(ctx, tx); err != nil && rpc.CodeOf(err) == 0 {
				return err
			}
		}
	}
	if len(finals) > 0 {
		if err := w.store.append(finals...); err != nil {
			return err
		}
	}
	return nil
}

// offer gives the node a transaction that it has lost, or refused before; what
// it refused it is asked again at most once in a Resend.
func (w *Wallet) offer(ctx context.Context, tx *wire.MsgTx) error {
	id := tx.TxHash().String()
	if time.Since(w.tried[id]) < w.cfg.Resend {
		return nil
	}
	err := w.send(ctx, tx)
	if err != nil && rpc.CodeOf(err) != 0 {
		w.tried[id] = time.Now()
	} else {
		delete(w.tried, id)
	}
	return err
}

// send gives the node a transaction. That it knows it already is success.
func (w *Wallet) send(ctx context.Context, tx *wire.MsgTx) error {
	err := w.node.Call(ctx, nil, "sendrawtransaction", hex.EncodeToString(encodeTx(tx)))
	if code := rpc.CodeOf(err); code == rpc.CodeMined || code == rpc.CodeRejected {
		var known any
		if e := w.node.Call(ctx, &known, "getrawtransaction", tx.TxHash().String(), 0); e == nil {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("broadcast %s: %w", tx.TxHash(), err)
	}
	w.view.sent(tx)
	return nil
}

// A whereabouts says where a transaction of ours is: in a block (depth > 0), in
// the pool, lost to a mined rival, or nowhere.
type whereabouts struct {
	depth  uint32
	inPool bool
	rival  *chainhash.Hash
}

// whereIs needs the scripts that tx spends from to be watched.
func (w *Wallet) whereIs(tx *wire.MsgTx) whereabouts {
	id := tx.TxHash()
	at := whereabouts{inPool: w.view.waits(id)}
	for _, in := range tx.TxIn {
		o, ok := w.view.outs[in.PreviousOutPoint]
		if !ok || !o.spent {
			continue
		}
		if o.spentBy == id {
			return whereabouts{depth: uint32(w.view.height() - o.spentAt + 1)}
		}
		rival := o.spentBy
		at.rival = &rival
	}
	return at
}

// Transaction implements wallet.Wallet.
func (w *Wallet) Transaction(ctx context.Context, asset coin.Asset, id wallet.TxID) (wallet.TxStatus, error) {
	if err := wallet.CheckTxID(id); err != nil {
		return wallet.TxStatus{}, err
	}
	if _, err := chainhash.NewHashFromStr(string(id)); err != nil || len(id) != 2*chainhash.HashSize {
		return wallet.TxStatus{}, fmt.Errorf("%w: transaction id %q: want 64 hex digits", wallet.ErrInvalid, string(id))
	}
	done, err := w.begin(ctx, asset)
	if err != nil {
		return wallet.TxStatus{}, err
	}
	defer done()
	own, isOwn := w.store.own[string(id)]
	var tx *wire.MsgTx
	var scripts []string
	if isOwn {
		if tx, err = parseTx([]byte(own)); err != nil {
			return wallet.TxStatus{}, fmt.Errorf("stored transaction %s: %w", id, err)
		}
		for _, in := range tx.TxIn {
			scripts = append(scripts, spentScript(in))
		}
	}
	if err := w.sync(ctx, scripts...); err != nil {
		return wallet.TxStatus{}, err
	}
	if isOwn {
		switch at := w.whereIs(tx); {
		case at.depth > 0:
			return wallet.TxStatus{State: wallet.TxConfirmed, Confirmations: at.depth}, nil
		case at.rival != nil:
			return wallet.TxStatus{State: wallet.TxConflicted, Conflict: txID(*at.rival)}, nil
		}
		return wallet.TxStatus{State: wallet.TxPending}, nil // in the pool, or offered again
	}
	var info struct {
		Confirmations uint32 `json:"confirmations"`
	}
	switch err := w.node.Call(ctx, &info, "getrawtransaction", string(id), 1); {
	case rpc.CodeOf(err) == rpc.CodeNoInfo:
		return wallet.TxStatus{State: wallet.TxUnknown}, nil
	case err != nil:
		return wallet.TxStatus{}, err
	case info.Confirmations > 0:
		return wallet.TxStatus{State: wallet.TxConfirmed, Confirmations: info.Confirmations}, nil
	}
	return wallet.TxStatus{State: wallet.TxPending}, nil
}

// Balance implements wallet.Wallet.
func (w *Wallet) Balance(ctx context.Context, asset coin.Asset) (wallet.Balance, error) {
	done, err := w.begin(ctx, asset)
	if err != nil {
		return wallet.Balance{}, err
	}
	defer done()
	if err := w.sync(ctx); err != nil {
		return wallet.Balance{}, err
	}
	d, err := w.tally(w.script, coin.Amount{}, 1)
	return wallet.Balance{Confirmed: d.Confirmed, Pending: d.Pending, Address: d.Address}, err
}

// Fee implements wallet.Wallet.
func (w *Wallet) Fee(ctx context.Context, asset coin.Asset, fund, sweep int) (wallet.Fees, error) {
	if fund < 0 || sweep < 0 || fund > wallet.MaxItems || sweep > wallet.MaxItems {
		return wallet.Fees{}, fmt.Errorf("%w: fee of %d payments and %d keys, want 0 to %d", wallet.ErrInvalid, fund, sweep, wallet.MaxItems)
	}
	done, err := w.begin(ctx, asset)
	if err != nil {
		return wallet.Fees{}, err
	}
	defer done()
	r, err := w.rate(ctx)
	if err != nil {
		return wallet.Fees{}, err
	}
	f := wallet.Fees{Asset: asset.ID}
	// Outputs as large as a pay-to-taproot one, and change.
	output := weightOutput(make([]byte, scriptLen+12))
	if fund > 0 {
		f.Fund = amountOf(r.fee(weightFrame + assumedInputs*weightInput + int64(fund+1)*output))
	}
	if sweep > 0 {
		txs := int64(sweep+maxInputs-1) / maxInputs
		f.Sweep = amountOf(r.fee(txs*(weightFrame+output)+int64(sweep)*weightInput) + txs)
	}
	return f, nil
}

// rate returns what a transaction should pay now: the node's estimate for six
// blocks, but at least twice what it relays; more than the own limit is
// ErrFeeTooHigh.
func (w *Wallet) rate(ctx context.Context) (rate, error) {
	if err := w.view.checkChain(ctx); err != nil {
		return 0, err
	}
	var estimate float64 // bitcoins per kilobyte; absent on a chain without traffic
	var info struct {
		RelayFee float64 `json:"relayfee"`
	}
	calls := []rpc.Call{{Method: "estimatefee", Params: []any{6}, Result: &estimate}, {Method: "getinfo", Result: &info}}
	if err := w.node.Batch(ctx, 2, calls); err != nil {
		return 0, err
	}
	if calls[1].Err != nil {
		return 0, fmt.Errorf("relay fee: %w", calls[1].Err)
	}
	least, most := 2*info.RelayFee*1e8, float64(w.cfg.MaxRate)*1000
	want := least
	if calls[0].Err == nil && estimate*1e8 > want {
		want = estimate * 1e8
	}
	if !(want >= 0 && want <= most) {
		return 0, fmt.Errorf("%w: %.1f satoshis per virtual byte, max_sat_per_vbyte is %d", wallet.ErrFeeTooHigh, want/1000, w.cfg.MaxRate)
	}
	return max(rate(want), 1000), nil
}
