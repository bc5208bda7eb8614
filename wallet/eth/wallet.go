// Package eth connects Latchkey to Ethereum: it implements wallet.Wallet over
// the JSON-RPC of an Ethereum node, for ether on addresses that plain keys
// control.
//
// It holds the user's ordinary wallet, one key in its data folder, and a book of
// every transaction that it signed ([book]). A transaction is in the book,
// durably, before a node gets it, and is sent again until it is deep in the
// chain; so a crash at any moment neither loses a payment nor makes it twice.
//
// A chunk's private key is in memory while its sweep is signed, and nowhere else:
// the book keeps the signed transaction.
package eth

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/gofrs/flock"

	"latchkey/coin"
	"latchkey/wallet"
)

// Version of the connector, as it describes itself.
const Version = "0.1.0"

// settledDepth is how many confirmations end this wallet's interest in a
// transaction: two epochs of the beacon chain, after which it is final.
const settledDepth = 64

// Wallet is a wallet.Wallet for ether. Its methods are safe for concurrent use.
type Wallet struct {
	cfg     Config
	log     *slog.Logger
	asset   coin.Asset
	key     *ecdsa.PrivateKey
	address common.Address
	signer  types.Signer
	limit   *big.Int // wei per gas that this wallet offers at most
	node    *node
	book    *book
	lock    *flock.Flock

	// spending is held by whoever chooses nonces and writes orders.
	spending chan struct{}
}

// Open opens or creates the wallet in cfg.Data. The node need not run yet; if it
// does, it must serve the chain of cfg.ChainID. Progress of transactions needs
// [Wallet.Run]. The log gets no secrets.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Wallet, error) {
	url, err := cfg.check()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("create the data folder: %w", err)
	}
	lock := flock.New(filepath.Join(cfg.Data, "lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock data folder %s: %w", cfg.Data, err)
	}
	if !locked {
		return nil, fmt.Errorf("data folder %s is in use by another process", cfg.Data)
	}
	w := &Wallet{
		cfg:      cfg,
		log:      log,
		signer:   types.LatestSignerForChainID(new(big.Int).SetUint64(cfg.ChainID)),
		limit:    new(big.Int).Mul(new(big.Int).SetUint64(cfg.MaxGwei), big.NewInt(1e9)),
		lock:     lock,
		spending: make(chan struct{}, 1),
		asset: coin.Asset{
			ID: "eth", Chain: fmt.Sprintf("eip155:%d", cfg.ChainID),
			Key: coin.Secp256k1, Address: "eoa", Decimals: 18,
		},
	}
	if err := w.open(); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	var genesis common.Hash
	if w.book.chain != nil {
		genesis = w.book.chain.Genesis
	}
	transport, err := cfg.nodeTransport()
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	w.node = newNode(url, cfg.ChainID, genesis, w.pin)
	if transport != nil {
		w.node.client.Transport = transport
	}
	var other otherChain
	switch _, err := w.node.head(ctx); {
	case errors.As(err, &other) || err != nil && !errors.Is(err, wallet.ErrUnreachable):
		return nil, errors.Join(err, w.Close())
	case err != nil:
		log.Warn("start without the node", "error", err)
	}
	return w, nil
}

func (w *Wallet) open() error {
	key, err := openKey(w.cfg.Data)
	if err != nil {
		return err
	}
	w.key, w.address = key, crypto.PubkeyToAddress(key.PublicKey)
	if w.book, err = openBook(w.cfg.Data, w.signer); err != nil {
		return err
	}
	if c := w.book.chain; c != nil && c.ID != w.cfg.ChainID {
		return errors.Join(fmt.Errorf("data folder %s belongs to chain %d, not %d", w.cfg.Data, c.ID, w.cfg.ChainID), w.book.close())
	}
	return nil
}

// Address returns where the own wallet receives.
func (w *Wallet) Address() string { return w.address.Hex() }

// Chain returns the id of the chain, as assets name it (CAIP-2).
func (w *Wallet) Chain() string { return w.asset.Chain }

// pin records the chain that this wallet's transactions are about.
func (w *Wallet) pin(genesis common.Hash) error {
	return w.book.write(entry{Chain: &chainEntry{ID: w.cfg.ChainID, Genesis: genesis}}, w.signer)
}

// Close releases the data folder. No method may be running.
func (w *Wallet) Close() error {
	return errors.Join(w.book.close(), w.lock.Unlock())
}

// Run sends transactions that the chain does not have yet again and again, until
// ctx ends.
func (w *Wallet) Run(ctx context.Context) {
	ticker := time.NewTicker(w.cfg.Resend)
	defer ticker.Stop()
	for {
		if err := w.tend(ctx); err != nil && ctx.Err() == nil {
			w.log.Warn("look after sent transactions", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// tend sends what the node has lost again and settles what is deep in the chain.
func (w *Wallet) tend(ctx context.Context) error {
	open := w.book.unsettled()
	if len(open) == 0 {
		return nil
	}
	head, err := w.node.head(ctx)
	if err != nil {
		return err
	}
	known := make([]*struct{ Hash common.Hash }, len(open))
	mined := make([]hexutil.Uint64, len(open))
	final := make([]hexutil.Uint64, len(open))
	var calls []*call
	for i, tx := range open {
		calls = append(calls,
			&call{method: "eth_getTransactionByHash", params: []any{tx.tx.Hash()}, result: &known[i]},
			&call{method: "eth_getTransactionCount", params: []any{tx.sender, "latest"}, result: &mined[i]})
		if uint64(head.Number) >= settledDepth {
			at := hexutil.Uint64(uint64(head.Number) - settledDepth + 1)
			calls = append(calls, &call{method: "eth_getTransactionCount", params: []any{tx.sender, at}, result: &final[i]})
		}
	}
	if err := w.node.must(ctx, calls...); err != nil {
		return err
	}
	var lost []*written
	var settled []common.Hash
	for i, tx := range open {
		if uint64(final[i]) > tx.tx.Nonce() {
			for _, same := range w.book.sentFrom(tx.sender) {
				if same.tx.Nonce() == tx.tx.Nonce() && !same.settled.Load() {
					settled = append(settled, same.tx.Hash())
				}
			}
		} else if known[i] == nil && uint64(mined[i]) <= tx.tx.Nonce() {
			lost = append(lost, tx)
		}
	}
	if len(settled) > 0 {
		if err := w.book.write(entry{Settled: settled}, w.signer); err != nil {
			return err
		}
	}
	answers, err := w.send(ctx, lost)
	if err != nil {
		return err
	}
	for i, a := range answers {
		if a.is == verdictSent {
			w.log.Info("sent again", "tx", lost[i].tx.Hash())
		} else {
			w.log.Debug("send again", "tx", lost[i].tx.Hash(), "error", a.refused)
		}
	}
	return nil
}

// answer is a node's answer to a raw transaction.
type answer struct {
	is      verdict
	refused *refusal
}

// send gives transactions to the node.
func (w *Wallet) send(ctx context.Context, txs []*written) ([]answer, error) {
	if len(txs) == 0 {
		return nil, nil
	}
	hashes := make([]common.Hash, len(txs))
	calls := make([]*call, len(txs))
	for i, tx := range txs {
		calls[i] = &call{method: "eth_sendRawTransaction", params: []any{tx.raw}, result: &hashes[i]}
	}
	if err := w.node.do(ctx, calls...); err != nil {
		return nil, err
	}
	answers := make([]answer, len(txs))
	for i, c := range calls {
		answers[i] = answer{judge(c.refused), c.refused}
	}
	return answers, nil
}

// spend waits for the right to choose nonces; the caller gives it back by done.
func (w *Wallet) spend(ctx context.Context) (done func(), err error) {
	select {
	case w.spending <- struct{}{}:
		return func() { <-w.spending }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for other payments: %w", ctx.Err())
	}
}

// Describe implements wallet.Wallet.
func (w *Wallet) Describe(ctx context.Context) (wallet.Description, error) {
	d := wallet.Description{
		Name: "latchkey wallet-eth", Version: Version,
		Assets: []wallet.AssetInfo{{
			Asset: w.asset, Confirmations: w.cfg.Confirmations,
			MaxOutputs: 1, MaxKeys: 1, FeeAsset: w.asset.ID, MinAmount: coin.NewAmount(1),
		}},
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var syncing any
	head, err := w.node.head(ctx)
	if err == nil {
		err = w.node.must(ctx, &call{method: "eth_syncing", result: &syncing})
	}
	if err != nil {
		d.Node.Problem = err.Error()
		return d, nil
	}
	d.Node = wallet.Node{
		Reachable: true, Height: uint64(head.Number), Syncing: syncing != false,
		TipTime: int64(head.Time), MaxTipAge: int64(w.cfg.MaxTipAge / time.Second),
	}
	d.Node.Alone = w.cfg.paced() && !w.cfg.InsecureAnyTipAge && w.node.alone(ctx)
	return d, nil
}

// check returns wallet.ErrUnknownAsset unless asset is the one that is served.
func (w *Wallet) check(asset coin.Asset) error {
	_, err := wallet.Description{Assets: []wallet.AssetInfo{{Asset: w.asset}}}.Info(asset)
	return err
}

// Addresses implements wallet.Wallet.
func (w *Wallet) Addresses(_ context.Context, asset coin.Asset, keys []wallet.PublicKey) ([]string, error) {
	if err := wallet.CheckKeys(asset, keys); err != nil {
		return nil, err
	}
	if err := w.check(asset); err != nil {
		return nil, err
	}
	out := make([]string, len(keys))
	for i, k := range keys {
		address, err := addressOf(k)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		out[i] = address.Hex()
	}
	return out, nil
}

// transferGas is what a plain payment costs on today's forks, for estimates.
const transferGas = 21_000

// Fee implements wallet.Wallet.
func (w *Wallet) Fee(ctx context.Context, asset coin.Asset, fund, sweep int) (wallet.Fees, error) {
	if fund < 0 || fund > wallet.MaxItems || sweep < 0 || sweep > wallet.MaxItems {
		return wallet.Fees{}, fmt.Errorf("%w: fee of %d payments and %d keys, want 0 to %d", wallet.ErrInvalid, fund, sweep, wallet.MaxItems)
	}
	if err := w.check(asset); err != nil {
		return wallet.Fees{}, err
	}
	p, err := w.node.price(ctx)
	if err != nil {
		return wallet.Fees{}, err
	}
	each, err := toAmount(new(big.Int).Mul(p.feeCap(), big.NewInt(transferGas)))
	if err != nil {
		return wallet.Fees{}, fmt.Errorf("estimate the fee: %w", err)
	}
	out := wallet.Fees{Asset: w.asset.ID}
	if out.Fund, err = each.Times(uint64(fund)); err != nil {
		return wallet.Fees{}, fmt.Errorf("estimate the fee: %w", err)
	}
	if out.Sweep, err = each.Times(uint64(sweep)); err != nil {
		return wallet.Fees{}, fmt.Errorf("estimate the fee: %w", err)
	}
	return out, nil
}

// Balance implements wallet.Wallet. What own payments on their way may cost is not
// spendable; while there are such payments, what comes in cannot be told from
// what goes out, and Pending is zero.
func (w *Wallet) Balance(ctx context.Context, asset coin.Asset) (wallet.Balance, error) {
	if err := w.check(asset); err != nil {
		return wallet.Balance{}, err
	}
	var nonce hexutil.Uint64
	var now, later hexutil.Big
	if err := w.node.must(ctx,
		&call{method: "eth_getTransactionCount", params: []any{w.address, "latest"}, result: &nonce},
		&call{method: "eth_getBalance", params: []any{w.address, "latest"}, result: &now},
		&call{method: "eth_getBalance", params: []any{w.address, "pending"}, result: &later},
	); err != nil {
		return wallet.Balance{}, err
	}
	_, cost := w.book.reserved(w.address, uint64(nonce))
	out := wallet.Balance{Address: w.address.Hex()}
	var err error
	if out.Confirmed, err = toAmount(atLeastZero(new(big.Int).Sub(now.ToInt(), cost))); err != nil {
		return wallet.Balance{}, fmt.Errorf("balance: %w", err)
	}
	if cost.Sign() > 0 {
		return out, nil
	}
	if out.Pending, err = toAmount(atLeastZero(new(big.Int).Sub(later.ToInt(), now.ToInt()))); err != nil {
		return wallet.Balance{}, fmt.Errorf("balance: %w", err)
	}
	return out, nil
}

func atLeastZero(v *big.Int) *big.Int {
	if v.Sign() < 0 {
		return new(big.Int)
	}
	return v
}
