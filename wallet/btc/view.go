package btc

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"latchkey/wallet"
	"latchkey/wallet/btc/rpc"
)

const (
	maxWalk    = 200     // blocks that are followed one by one; beyond, all is looked up anew
	startKnown = 20      // blocks before the tip that a new view remembers
	maxKnown   = 2000    // hashes of best blocks that are remembered
	maxWatched = 100_000 // scripts; beyond, all is looked up anew
	maxFetch   = 5000    // transactions of the pool that are read at one look
	pageSize   = 100     // transactions in one answer about an address

	rpcBatch    = 100 // calls in one HTTP request
	lookUpBatch = 10  // the same for histories, whose answers are long
)

// A view is what the node knows about the scripts that were ever asked about:
// the history of each is looked up once, and from then on blocks and pool are
// followed. So a question about hundreds of addresses costs two small requests.
// All scripts are pay-to-witness-public-key-hash (BIP 141).
//
// A view belongs to one goroutine at a time.
type view struct {
	node   *rpc.Client
	params *chaincfg.Params

	rightChain bool             // the node's genesis block was checked
	known      []chainhash.Hash // best blocks, the last is the tip; empty = not started
	base       int64            // height of known[0]

	dirty   bool                       // what follows has changed since save
	scripts map[string][]wire.OutPoint // watched, each with what it received in blocks, in order
	outs    map[wire.OutPoint]*output

	pool      map[chainhash.Hash]*wire.MsgTx // nil = nothing in it is watched
	poolLive  map[chainhash.Hash]bool        // of what is not nil: not doomed
	poolOuts  map[string][]wire.OutPoint
	poolValue map[wire.OutPoint]int64
	poolSpend map[wire.OutPoint]chainhash.Hash
}

// An output is one that a block paid to a watched script.
type output struct {
	value    int64
	height   int64
	coinbase bool
	spent    bool // in a block
	spentBy  chainhash.Hash
	spentAt  int64
}

func newView(n *rpc.Client, params *chaincfg.Params) *view {
	v := &view{node: n, params: params, pool: make(map[chainhash.Hash]*wire.MsgTx)}
	v.reset()
	return v
}

func (v *view) reset() {
	v.known, v.base = nil, 0
	v.scripts, v.outs = make(map[string][]wire.OutPoint), make(map[wire.OutPoint]*output)
	v.pool = make(map[chainhash.Hash]*wire.MsgTx)
	v.overlay()
}

func (v *view) height() int64 { return v.base + int64(len(v.known)) - 1 }

func (v *view) tip() chainhash.Hash { return v.known[len(v.known)-1] }

// sync brings the view up to the node's best block and pool, and watches
// scripts. On an error the view is as old as before, or empty.
func (v *view) sync(ctx context.Context, scripts ...string) error {
	if len(v.scripts)+len(scripts) > maxWatched {
		v.reset()
	}
	// A block may appear between two answers; then what was read is read again.
	for range 10 {
		if err := v.follow(ctx); err != nil {
			return err
		}
		var fresh []string
		for _, s := range scripts {
			if _, ok := v.scripts[s]; !ok {
				fresh = append(fresh, s)
			}
		}
		if len(fresh) == 0 {
			return nil
		}
		found, err := v.lookUp(ctx, fresh)
		if err != nil {
			return err
		}
		best, err := v.best(ctx)
		if err != nil {
			return err
		}
		if best == v.tip() {
			v.learn(fresh, found)
			return nil
		}
	}
	return fmt.Errorf("node %w: its best block changes too fast", wallet.ErrUnreachable)
}

// follow reads pool and blocks until the best block stays.
func (v *view) follow(ctx context.Context) error {
	if err := v.checkChain(ctx); err != nil {
		v.rightChain = false
		return err
	}
	for range 10 {
		// The pool first: what is mined in between is then seen twice, not never.
		var ids []string
		var best string
		calls := []rpc.Call{{Method: "getrawmempool", Result: &ids}, {Method: "getbestblockhash", Result: &best}}
		if err := v.node.Batch(ctx, rpcBatch, calls); err != nil {
			v.rightChain = false // it may come back as another
			return err
		}
		if err := errors.Join(calls[0].Err, calls[1].Err); err != nil {
			return err
		}
		hash, err := chainhash.NewHashFromStr(best)
		if err != nil {
			return fmt.Errorf("best block: %w", err)
		}
		if len(v.known) > 0 && *hash == v.tip() {
			return v.readPool(ctx, ids)
		}
		if err := v.catchUp(ctx, *hash); err != nil {
			return err
		}
	}
	return fmt.Errorf("node %w: its best block changes too fast", wallet.ErrUnreachable)
}

func (v *view) best(ctx context.Context) (chainhash.Hash, error) {
	var s string
	if err := v.node.Call(ctx, &s, "getbestblockhash"); err != nil {
		return chainhash.Hash{}, err
	}
	h, err := chainhash.NewHashFromStr(s)
	if err != nil {
		return chainhash.Hash{}, fmt.Errorf("best block: %w", err)
	}
	return *h, nil
}

func (v *view) checkChain(ctx context.Context) error {
	if v.rightChain {
		return nil
	}
	var genesis string
	if err := v.node.Call(ctx, &genesis, "getblockhash", 0); err != nil {
		return err
	}
	if want := v.params.GenesisHash.String(); genesis != want {
		return fmt.Errorf("node %w: it is of another network: genesis block %.64q, want %s", wallet.ErrUnreachable, genesis, want)
	}
	v.rightChain = true
	return nil
}

// catchUp makes best the tip: from a known block forwards, undoing what a
// reorganisation took away, or, when that is too far, from nothing.
func (v *view) catchUp(ctx context.Context, best chainhash.Hash) error {
	at := make(map[chainhash.Hash]int, len(v.known))
	for i, h := range v.known {
		at[h] = i
	}
	var blocks []*wire.MsgBlock // newest first
	for hash := best; len(v.known) > 0; {
		if i, ok := at[hash]; ok {
			v.rewind(i)
			for j := len(blocks) - 1; j >= 0; j-- {
				v.connect(blocks[j])
			}
			v.forget()
			v.overlay()
			return nil
		}
		if len(blocks) == maxWalk || hash == (chainhash.Hash{}) {
			break
		}
		var raw string
		if err := v.node.Call(ctx, &raw, "getblock", hash.String(), 0); err != nil {
			return err
		}
		block := new(wire.MsgBlock)
		if err := block.Deserialize(hex.NewDecoder(strings.NewReader(raw))); err != nil {
			return fmt.Errorf("block %s: %w", hash, err)
		}
		if block.BlockHash() != hash {
			return fmt.Errorf("block %s: the node answered with another", hash)
		}
		blocks = append(blocks, block)
		hash = block.Header.PrevBlock
	}
	return v.restart(ctx, best)
}

// restart makes best the tip of an empty view. It remembers some blocks before
// it, so that a small reorganisation does not empty the view again.
func (v *view) restart(ctx context.Context, best chainhash.Hash) error {
	var header struct {
		Height int64 `json:"height"`
	}
	if err := v.node.Call(ctx, &header, "getblockheader", best.String(), true); err != nil {
		return err
	}
	base := max(0, header.Height-startKnown)
	hashes := make([]string, header.Height-base+1)
	calls := make([]rpc.Call, len(hashes))
	for i := range hashes {
		calls[i] = rpc.Call{Method: "getblockhash", Params: []any{base + int64(i)}, Result: &hashes[i]}
	}
	if err := v.node.Batch(ctx, len(calls), calls); err != nil {
		return err
	}
	known := make([]chainhash.Hash, len(hashes))
	for i, s := range hashes {
		hash, err := chainhash.NewHashFromStr(s)
		if err = errors.Join(calls[i].Err, err); err != nil {
			return fmt.Errorf("block %d: %w", base+int64(i), err)
		}
		known[i] = *hash
	}
	v.reset()
	if known[len(known)-1] == best { // else it has changed meanwhile: follow comes again
		v.known, v.base = known, base
	}
	return nil
}

// rewind undoes the blocks after known[i].
func (v *view) rewind(i int) {
	if i == len(v.known)-1 {
		return
	}
	v.dirty = true
	v.known = v.known[:i+1]
	top := v.height()
	for script, ops := range v.scripts {
		kept := ops[:0]
		for _, op := range ops {
			o := v.outs[op]
			if o.height > top {
				delete(v.outs, op)
				continue
			}
			if o.spent && o.spentAt > top {
				o.spent, o.spentBy, o.spentAt = false, chainhash.Hash{}, 0
			}
			kept = append(kept, op)
		}
		v.scripts[script] = kept
	}
}

func (v *view) connect(block *wire.MsgBlock) {
	v.dirty = true
	v.known = append(v.known, block.BlockHash())
	for i, tx := range block.Transactions {
		v.apply(tx, v.height(), i == 0)
	}
}

// apply enters one mined transaction.
func (v *view) apply(tx *wire.MsgTx, height int64, coinbase bool) {
	id := tx.TxHash()
	for _, in := range tx.TxIn {
		if o, ok := v.outs[in.PreviousOutPoint]; ok {
			o.spent, o.spentBy, o.spentAt = true, id, height
		}
	}
	for i, out := range tx.TxOut {
		ops, watched := v.scripts[string(out.PkScript)]
		op := wire.OutPoint{Hash: id, Index: uint32(i)}
		if !watched || v.outs[op] != nil {
			continue
		}
		v.scripts[string(out.PkScript)] = append(ops, op)
		v.outs[op] = &output{value: out.Value, height: height, coinbase: coinbase}
	}
}

func (v *view) forget() {
	if extra := len(v.known) - maxKnown; extra > 0 {
		v.known = append([]chainhash.Hash(nil), v.known[extra:]...)
		v.base += int64(extra)
	}
}

// readPool reads what is new in the pool and forgets what has left it.
func (v *view) readPool(ctx context.Context, ids []string) error {
	there := make(map[chainhash.Hash]bool, len(ids))
	var fresh []chainhash.Hash
	for _, s := range ids {
		id, err := chainhash.NewHashFromStr(s)
		if err != nil {
			return fmt.Errorf("pool: %w", err)
		}
		there[*id] = true
		if _, ok := v.pool[*id]; !ok && len(fresh) < maxFetch {
			fresh = append(fresh, *id)
		}
	}
	changed := len(fresh) > 0
	for id := range v.pool {
		if !there[id] {
			delete(v.pool, id)
			changed = true
		}
	}
	raws, calls := make([]string, len(fresh)), make([]rpc.Call, len(fresh))
	for i, id := range fresh {
		calls[i] = rpc.Call{Method: "getrawtransaction", Params: []any{id.String(), 0}, Result: &raws[i]}
	}
	if err := v.node.Batch(ctx, rpcBatch, calls); err != nil {
		return err
	}
	for i, id := range fresh {
		if calls[i].Err != nil {
			continue // it has left the pool meanwhile; the next look says where to
		}
		tx, err := decodeTx(raws[i])
		if err != nil {
			return fmt.Errorf("transaction %s of the pool: %w", id, err)
		}
		v.pool[id] = nil
		if v.concerns(tx) {
			v.pool[id] = tx
		}
	}
	if changed {
		v.overlay()
	}
	return nil
}

func decodeTx(raw string) (*wire.MsgTx, error) {
	tx := new(wire.MsgTx)
	if err := tx.Deserialize(hex.NewDecoder(strings.NewReader(raw))); err != nil {
		return nil, err
	}
	return tx, nil
}

// concerns reports whether tx pays to, or spends from, a watched script. Who
// spends from one shows its key.
func (v *view) concerns(tx *wire.MsgTx) bool {
	for _, out := range tx.TxOut {
		if _, ok := v.scripts[string(out.PkScript)]; ok {
			return true
		}
	}
	for _, in := range tx.TxIn {
		if _, ok := v.scripts[spentScript(in)]; ok {
			return true
		}
	}
	return false
}

// spentScript returns the pay-to-witness-public-key-hash script that an input
// spends from, if it does.
func spentScript(in *wire.TxIn) string {
	if len(in.Witness) != 2 || len(in.Witness[1]) != 33 {
		return ""
	}
	return string(scriptOf(in.Witness[1]))
}

// scriptOf returns the script of a compressed public key (BIP 141).
func scriptOf(key []byte) []byte {
	return append([]byte{txscript.OP_0, txscript.OP_DATA_20}, address.Hash160(key)...)
}

// overlay makes the indexes of the pool anew.
func (v *view) overlay() {
	v.poolOuts, v.poolValue = make(map[string][]wire.OutPoint), make(map[wire.OutPoint]int64)
	v.poolSpend = make(map[wire.OutPoint]chainhash.Hash)
	var ids []chainhash.Hash
	doomed := v.doomed()
	for id, tx := range v.pool {
		if tx != nil && !doomed[id] {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b chainhash.Hash) int { return bytes.Compare(a[:], b[:]) })
	v.poolLive = make(map[chainhash.Hash]bool, len(ids))
	for _, id := range ids {
		tx := v.pool[id]
		v.poolLive[id] = true
		for _, in := range tx.TxIn {
			v.poolSpend[in.PreviousOutPoint] = id
		}
		for i, out := range tx.TxOut {
			if _, ok := v.scripts[string(out.PkScript)]; ok {
				op := wire.OutPoint{Hash: id, Index: uint32(i)}
				v.poolOuts[string(out.PkScript)] = append(v.poolOuts[string(out.PkScript)], op)
				v.poolValue[op] = out.Value
			}
		}
	}
}

// doomed returns the transactions of the pool that cannot be mined: something
// that they spend was spent in a block, or they spend from one that is doomed.
// btcd keeps such ones when it learns of several blocks at once (sync manager,
// NTBlockConnected while not current).
func (v *view) doomed() map[chainhash.Hash]bool {
	doomed := make(map[chainhash.Hash]bool)
	for grown := true; grown; {
		grown = false
		for id, tx := range v.pool {
			if tx == nil || doomed[id] {
				continue
			}
			for _, in := range tx.TxIn {
				o, ok := v.outs[in.PreviousOutPoint]
				if ok && o.spent && o.spentBy != id || doomed[in.PreviousOutPoint.Hash] {
					doomed[id], grown = true, true
				}
			}
		}
	}
	return doomed
}

// waits reports whether tx is in the pool and can be mined.
func (v *view) waits(id chainhash.Hash) bool { return v.poolLive[id] }

// sent enters a transaction that the node has just taken into its pool.
func (v *view) sent(tx *wire.MsgTx) {
	v.pool[tx.TxHash()] = tx
	v.overlay()
}

// found is one transaction of an address's history; height 0 = in the pool.
type found struct {
	tx       *wire.MsgTx
	height   int64
	coinbase bool
}

// lookUp asks for the history of scripts. It changes nothing. One transaction
// may be in the history of a thousand scripts, and comes as often: so it is
// asked for raw, which is the least that can be asked for.
func (v *view) lookUp(ctx context.Context, scripts []string) ([]found, error) {
	var all []found
	seen := make(map[string]bool)
	for some := range slices.Chunk(scripts, lookUpBatch) {
		for skip := 0; len(some) > 0; skip += pageSize {
			pages, err := v.histories(ctx, some, skip)
			if err != nil {
				return nil, err
			}
			var more []string
			for i, page := range pages {
				for _, raw := range page {
					if seen[raw] {
						continue
					}
					seen[raw] = true
					tx, err := decodeTx(raw)
					if err != nil {
						return nil, fmt.Errorf("history of an address: %w", err)
					}
					all = append(all, found{tx: tx, coinbase: isCoinbase(tx)})
				}
				if len(page) == pageSize {
					more = append(more, some[i])
				}
			}
			some = more
		}
	}
	return all, v.locate(ctx, all)
}

// histories returns a page of the raw transactions of each script.
func (v *view) histories(ctx context.Context, scripts []string, skip int) ([][]string, error) {
	pages, calls := make([][]string, len(scripts)), make([]rpc.Call, len(scripts))
	for i, s := range scripts {
		a, err := addressOf([]byte(s), v.params)
		if err != nil {
			return nil, err
		}
		calls[i] = rpc.Call{Method: "searchrawtransactions", Result: &pages[i], Params: []any{a, 0, skip, pageSize}}
	}
	if err := v.node.Batch(ctx, len(calls), calls); err != nil {
		return nil, err
	}
	for _, c := range calls {
		switch {
		case c.Err == nil, rpc.CodeOf(c.Err) == rpc.CodeNoInfo:
		case rpc.CodeOf(c.Err) == rpc.CodeMisc:
			return nil, fmt.Errorf("node %w: %v: start btcd with --txindex --addrindex", wallet.ErrUnreachable, c.Err)
		default:
			return nil, fmt.Errorf("history of an address: %w", c.Err)
		}
	}
	return pages, nil
}

// locate finds out at which height transactions are.
func (v *view) locate(ctx context.Context, all []found) error {
	type place struct {
		Confirmations int64 `json:"confirmations"`
	}
	places, calls := make([]place, len(all)), make([]rpc.Call, len(all))
	for i, f := range all {
		calls[i] = rpc.Call{Method: "getrawtransaction", Params: []any{f.tx.TxHash().String(), 1}, Result: &places[i]}
	}
	if err := v.node.Batch(ctx, lookUpBatch, calls); err != nil {
		return err
	}
	for i, c := range calls {
		if c.Err != nil && rpc.CodeOf(c.Err) != rpc.CodeNoInfo {
			return fmt.Errorf("place of a transaction: %w", c.Err)
		}
		if places[i].Confirmations > 0 {
			all[i].height = v.height() + 1 - places[i].Confirmations
		}
	}
	return nil
}

func isCoinbase(tx *wire.MsgTx) bool {
	return len(tx.TxIn) == 1 && tx.TxIn[0].PreviousOutPoint.Hash == chainhash.Hash{}
}

// learn watches scripts whose whole history is given.
func (v *view) learn(scripts []string, history []found) {
	v.dirty = true
	for _, s := range scripts {
		v.scripts[s] = nil
	}
	// By height, so that what a script received is in order across histories.
	slices.SortStableFunc(history, func(a, b found) int { return cmp.Compare(a.height, b.height) })
	for range 2 { // what is spent in its own block may stand after its spend
		for _, f := range history {
			if f.height > 0 {
				v.apply(f.tx, f.height, f.coinbase)
			} else {
				v.pool[f.tx.TxHash()] = f.tx
			}
		}
	}
	v.overlay()
}

func addressOf(script []byte, params *chaincfg.Params) (string, error) {
	a, err := address.NewAddressWitnessPubKeyHash(script[2:], params)
	if err != nil {
		return "", fmt.Errorf("address: %w", err)
	}
	return a.EncodeAddress(), nil
}

// A holding is one output at a watched script, as blocks and pool show it.
type holding struct {
	op       wire.OutPoint
	value    int64
	depth    uint32 // confirmations; 0 in the pool, and while a coinbase is not mature
	spent    bool
	spentBy  chainhash.Hash
	spentDep uint32
}

// holdings returns all that a watched script ever received: by height, within a
// block by outpoint, so that the order does not depend on how it was learnt.
func (v *view) holdings(script string) []holding {
	var all []holding
	inBlock := make(map[wire.OutPoint]bool)
	slices.SortFunc(v.scripts[script], func(a, b wire.OutPoint) int {
		return cmp.Or(
			cmp.Compare(v.outs[a].height, v.outs[b].height), bytes.Compare(a.Hash[:], b.Hash[:]), cmp.Compare(a.Index, b.Index))
	})
	for _, op := range v.scripts[script] {
		o := v.outs[op]
		inBlock[op] = true
		h := holding{op: op, value: o.value, depth: uint32(v.height() - o.height + 1)}
		if o.coinbase && h.depth < uint32(v.params.CoinbaseMaturity) {
			h.depth = 0
		}
		if o.spent {
			h.spent, h.spentBy, h.spentDep = true, o.spentBy, uint32(v.height()-o.spentAt+1)
		} else if by, ok := v.poolSpend[op]; ok {
			h.spent, h.spentBy = true, by
		}
		all = append(all, h)
	}
	for _, op := range v.poolOuts[script] {
		if inBlock[op] {
			continue
		}
		h := holding{op: op, value: v.poolValue[op]}
		if by, ok := v.poolSpend[op]; ok {
			h.spent, h.spentBy = true, by
		}
		all = append(all, h)
	}
	return all
}
