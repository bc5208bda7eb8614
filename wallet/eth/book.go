package eth

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"latchkey/wallet"
)

// bookFile is the book in the data folder: one JSON object a line.
const bookFile = "transactions.jsonl"

// A book is the durable record of every transaction that this wallet signed. A
// transaction is in the book before any node has it, so a crash never leads to
// a second one for the same purpose. It holds no private key.
type book struct {
	mu     sync.Mutex
	file   *os.File
	size   int64 // of what is whole in the file
	broken error // why nothing can be written any more

	chain  *chainEntry
	funds  map[string]*fundEntry
	sweeps map[string]*sweepOrder
	txs    map[common.Hash]*written
	open   []*written                    // not settled, oldest first
	from   map[common.Address][]*written // by sender, oldest first
	to     map[common.Address][]*written // by recipient, oldest first
}

// entry is one line of the book: exactly one field is set.
type entry struct {
	Chain   *chainEntry   `json:"chain,omitempty"`
	Fund    *fundEntry    `json:"fund,omitempty"`
	Sweep   *sweepEntry   `json:"sweep,omitempty"`
	Settled []common.Hash `json:"settled,omitempty"`
}

// chainEntry pins the chain that all other entries are about.
type chainEntry struct {
	ID      uint64      `json:"id"`
	Genesis common.Hash `json:"genesis"`
}

// fundEntry is a funding order: one transaction per payment, in order.
type fundEntry struct {
	ID     string          `json:"id"`
	Digest hexutil.Bytes   `json:"digest"` // of the request, without its fee
	Raw    []hexutil.Bytes `json:"txs"`

	txs []*written
}

// sweepEntry adds transactions to a sweep order, which its first entry makes.
type sweepEntry struct {
	ID     string          `json:"id"`
	Digest hexutil.Bytes   `json:"digest"` // of the request, without its fee
	Raw    []hexutil.Bytes `json:"txs"`
}

// sweepOrder is all entries of one sweep.
type sweepOrder struct {
	digest []byte
	txs    []*written // oldest first
}

// written is a transaction in the book.
type written struct {
	tx      *types.Transaction
	raw     hexutil.Bytes
	sender  common.Address
	settled atomic.Bool // so deep in the chain, itself or a rival, that nobody looks at it again
}

// openBook reads the book in folder, or begins one. A torn last line, as a crash
// leaves it, was never acted upon and is cut off; anything else that cannot be
// read is an error that names the line.
func openBook(folder string, signer types.Signer) (*book, error) {
	path := filepath.Join(folder, bookFile)
	_, statErr := os.Stat(path)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the book of transactions: %w", err)
	}
	b := &book{
		file:   file,
		funds:  make(map[string]*fundEntry),
		sweeps: make(map[string]*sweepOrder),
		txs:    make(map[common.Hash]*written),
		from:   make(map[common.Address][]*written),
		to:     make(map[common.Address][]*written),
	}
	if err := b.load(signer); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", path, err), file.Close())
	}
	if errors.Is(statErr, os.ErrNotExist) {
		if err := syncFolder(folder); err != nil {
			return nil, errors.Join(fmt.Errorf("open the book of transactions: %w", err), file.Close())
		}
	}
	return b, nil
}

func (b *book) load(signer types.Signer) error {
	reader := bufio.NewReader(b.file)
	for number := 1; ; number++ {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(line) > 0 {
				if err := b.file.Truncate(b.size); err != nil {
					return fmt.Errorf("cut off the torn line %d: %w", number, err)
				}
			}
			return nil
		}
		if err != nil {
			return err
		}
		e, err := decodeEntry(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if err := b.apply(e, signer); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		b.size += int64(len(line))
	}
}

// decodeEntry reads one line of the book.
func decodeEntry(line []byte) (entry, error) {
	var e entry
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&e); err != nil {
		return entry{}, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return entry{}, errors.New("more than one value")
	}
	kinds := 0
	for _, is := range []bool{e.Chain != nil, e.Fund != nil, e.Sweep != nil, e.Settled != nil} {
		if is {
			kinds++
		}
	}
	if kinds != 1 || e.Settled != nil && len(e.Settled) == 0 {
		return entry{}, fmt.Errorf("an entry of %d kinds, want one", kinds)
	}
	return e, nil
}

// apply makes e part of the state. It changes nothing if it returns an error.
func (b *book) apply(e entry, signer types.Signer) error {
	switch {
	case e.Chain != nil:
		if b.chain != nil {
			return errors.New("the chain is pinned twice")
		}
		b.chain = e.Chain
	case e.Fund != nil:
		if b.funds[e.Fund.ID] != nil {
			return fmt.Errorf("funding %q stands twice", e.Fund.ID)
		}
		txs, err := readTxs(e.Fund.Raw, signer)
		if err != nil {
			return err
		}
		order := *e.Fund
		order.txs = txs
		b.funds[order.ID] = &order
		b.add(txs)
	case e.Sweep != nil:
		order := b.sweeps[e.Sweep.ID]
		if order != nil && !bytes.Equal(order.digest, e.Sweep.Digest) {
			return fmt.Errorf("sweep %q changes", e.Sweep.ID)
		}
		txs, err := readTxs(e.Sweep.Raw, signer)
		if err != nil {
			return err
		}
		if order == nil {
			order = &sweepOrder{digest: e.Sweep.Digest}
			b.sweeps[e.Sweep.ID] = order
		}
		b.add(txs)
		for _, w := range txs {
			order.txs = append(order.txs, b.txs[w.tx.Hash()])
		}
	default:
		for _, hash := range e.Settled {
			if b.txs[hash] == nil {
				return fmt.Errorf("transaction %v is settled and was never written", hash)
			}
		}
		for _, hash := range e.Settled {
			b.txs[hash].settled.Store(true)
		}
		var open []*written
		for _, w := range b.open {
			if !w.settled.Load() {
				open = append(open, w)
			}
		}
		b.open = open
	}
	return nil
}

func readTxs(raw []hexutil.Bytes, signer types.Signer) ([]*written, error) {
	var txs []*written
	for i, r := range raw {
		tx := new(types.Transaction)
		if err := tx.UnmarshalBinary(r); err != nil {
			return nil, fmt.Errorf("transaction %d: %w", i, err)
		}
		sender, err := types.Sender(signer, tx)
		if err != nil {
			return nil, fmt.Errorf("transaction %d: %w", i, err)
		}
		if tx.To() == nil {
			return nil, fmt.Errorf("transaction %d: no recipient", i)
		}
		txs = append(txs, &written{tx: tx, raw: r, sender: sender})
	}
	return txs, nil
}

func (b *book) add(txs []*written) {
	for _, w := range txs {
		if b.txs[w.tx.Hash()] != nil {
			continue // one that two orders share
		}
		b.txs[w.tx.Hash()] = w
		b.open = append(b.open, w)
		b.from[w.sender] = append(b.from[w.sender], w)
		b.to[*w.tx.To()] = append(b.to[*w.tx.To()], w)
	}
}

// write makes e durable, then part of the state. After an error the book is as
// before, or refuses everything that follows.
func (b *book) write(e entry, signer types.Signer) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken != nil {
		return b.broken
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write the book of transactions: %w", err)
	}
	line = append(line, '\n')
	if _, err = b.file.WriteAt(line, b.size); err == nil {
		err = b.file.Sync()
	}
	if err != nil {
		err = fmt.Errorf("write the book of transactions: %w", err)
		if cut := b.file.Truncate(b.size); cut != nil {
			b.broken = fmt.Errorf("the book of transactions cannot be written until a restart: %w", errors.Join(err, cut))
		}
		return err
	}
	b.size += int64(len(line))
	if err := b.apply(e, signer); err != nil {
		b.broken = fmt.Errorf("the book of transactions is at odds with itself: %w", err)
		return b.broken
	}
	return nil
}

// fund returns the transactions of a funding order, nil if there is none, or
// wallet.ErrIDReused if there is one for another request.
func (b *book) fund(id string, digest []byte) ([]*written, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	order := b.funds[id]
	if order == nil {
		return nil, nil
	}
	if !bytes.Equal(order.Digest, digest) {
		return nil, fmt.Errorf("%w: funding %s", wallet.ErrIDReused, id)
	}
	return order.txs, nil
}

// sweep returns the transactions of a sweep, oldest first, none if there is no such
// sweep, or wallet.ErrIDReused if there is one for another request.
func (b *book) sweep(id string, digest []byte) ([]*written, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	order := b.sweeps[id]
	if order == nil {
		return nil, nil
	}
	if !bytes.Equal(order.digest, digest) {
		return nil, fmt.Errorf("%w: sweep %s", wallet.ErrIDReused, id)
	}
	return append([]*written(nil), order.txs...), nil
}

// sentFrom returns the transactions of a sender, oldest first.
func (b *book) sentFrom(sender common.Address) []*written {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*written(nil), b.from[sender]...)
}

// paidTo returns the transactions to a recipient, oldest first.
func (b *book) paidTo(recipient common.Address) []*written {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*written(nil), b.to[recipient]...)
}

// transaction returns the transaction with a hash, or nil.
func (b *book) transaction(hash common.Hash) *written {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.txs[hash]
}

// unsettled returns what may still have to be sent again, oldest first. Of
// transactions with one sender and nonce it is only the newest, which
// replaces the others.
func (b *book) unsettled() []*written {
	b.mu.Lock()
	defer b.mu.Unlock()
	type slot struct {
		sender common.Address
		nonce  uint64
	}
	newest := make(map[slot]int)
	var out []*written
	for _, w := range b.open {
		s := slot{w.sender, w.tx.Nonce()}
		if i, ok := newest[s]; ok {
			out[i] = w
			continue
		}
		newest[s] = len(out)
		out = append(out, w)
	}
	return out
}

// reserved returns the next free nonce of sender, given that the chain's next is
// mined, and what its transactions that are not mined can cost at most, in wei.
func (b *book) reserved(sender common.Address, mined uint64) (uint64, *big.Int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next, cost := mined, new(big.Int)
	for _, w := range b.from[sender] {
		if w.tx.Nonce() >= mined {
			cost.Add(cost, w.tx.Cost())
		}
		next = max(next, w.tx.Nonce()+1)
	}
	return next, cost
}

func (b *book) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = errors.New("the book of transactions is closed")
	return b.file.Close()
}

// digestFund identifies what a funding order asks for, apart from its fee.
func digestFund(r wallet.FundRequest) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "fund\n%s\n%s\n", r.Asset.ID, r.Asset.Chain)
	for _, p := range r.Payments {
		fmt.Fprintf(h, "%s %s\n", p.Address, p.Amount)
	}
	return h.Sum(nil)
}

// digestSweep identifies what a sweep asks for, apart from its fee: the public
// keys, in whatever order, and where to.
func digestSweep(r wallet.SweepRequest, destination common.Address) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "sweep\n%s\n%s\n%s\n", r.Asset.ID, r.Asset.Chain, destination.Hex())
	var keys []string
	for _, k := range r.Keys {
		keys = append(keys, hex.EncodeToString(k.Public))
	}
	slices.Sort(keys)
	for _, k := range keys {
		fmt.Fprintf(h, "%s\n", k)
	}
	return h.Sum(nil)
}
