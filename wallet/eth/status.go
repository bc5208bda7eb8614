package eth

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"latchkey/coin"
	"latchkey/wallet"
)

// receipt is what this package reads of a mined transaction.
type receipt struct {
	BlockNumber hexutil.Uint64 `json:"blockNumber"`
	Status      hexutil.Uint64 `json:"status"` // 0 = it was undone while it ran
}

// receiptOf returns the receipt of a mined transaction, or nil.
func (w *Wallet) receiptOf(ctx context.Context, hash common.Hash) (*receipt, error) {
	var r *receipt
	err := w.node.must(ctx, &call{method: "eth_getTransactionReceipt", params: []any{hash}, result: &r})
	return r, err
}

// Transaction implements wallet.Wallet. One that was mined but undone, as a
// recipient with code can do, is conflicted: it moved nothing and never will.
func (w *Wallet) Transaction(ctx context.Context, asset coin.Asset, id wallet.TxID) (wallet.TxStatus, error) {
	if err := w.check(asset); err != nil {
		return wallet.TxStatus{}, err
	}
	hash, err := parseHash(id)
	if err != nil {
		return wallet.TxStatus{}, err
	}
	own := w.book.transaction(hash)
	var known *struct{ Hash common.Hash }
	var mined hexutil.Uint64
	calls := []*call{{method: "eth_getTransactionByHash", params: []any{hash}, result: &known}}
	if own != nil {
		calls = append(calls, &call{method: "eth_getTransactionCount", params: []any{own.sender, "latest"}, result: &mined})
	}
	// The receipt comes last: a transaction that took its nonce just now has one.
	var r *receipt
	calls = append(calls, &call{method: "eth_getTransactionReceipt", params: []any{hash}, result: &r})
	if err := w.node.must(ctx, calls...); err != nil {
		return wallet.TxStatus{}, err
	}
	switch {
	case r != nil && r.Status != 1:
		return wallet.TxStatus{State: wallet.TxConflicted}, nil
	case r != nil:
		head, err := w.node.head(ctx)
		if err != nil {
			return wallet.TxStatus{}, err
		}
		if head.Number < r.BlockNumber { // the chain was reorganised in between
			return wallet.TxStatus{State: wallet.TxPending}, nil
		}
		return wallet.TxStatus{State: wallet.TxConfirmed, Confirmations: uint32(min(uint64(head.Number-r.BlockNumber)+1, 1<<31))}, nil
	case own != nil && uint64(mined) > own.tx.Nonce():
		rival, err := w.rivalOf(ctx, own)
		return wallet.TxStatus{State: wallet.TxConflicted, Conflict: rival}, err
	case own != nil || known != nil:
		return wallet.TxStatus{State: wallet.TxPending}, nil
	}
	return wallet.TxStatus{State: wallet.TxUnknown}, nil
}

// parseHash reads a transaction's id: 0x and 64 hexadecimal digits.
func parseHash(id wallet.TxID) (common.Hash, error) {
	digits, ok := strings.CutPrefix(string(id), "0x")
	raw, err := hex.DecodeString(digits)
	if !ok || err != nil || len(raw) != common.HashLength {
		return common.Hash{}, fmt.Errorf("%w: %.80q is not a transaction id of 0x and 64 hexadecimal digits", wallet.ErrInvalid, string(id))
	}
	return common.Hash(raw), nil
}

// rivalOf returns the mined transaction that has the sender and nonce of own, or
// nothing if it is not known. Other transactions of this wallet are looked at
// first, then the block in which the nonce was taken.
func (w *Wallet) rivalOf(ctx context.Context, own *written) (wallet.TxID, error) {
	for _, other := range w.book.sentFrom(own.sender) {
		if other.tx.Nonce() != own.tx.Nonce() || other.tx.Hash() == own.tx.Hash() {
			continue
		}
		r, err := w.receiptOf(ctx, other.tx.Hash())
		if err != nil {
			return "", err
		}
		if r != nil {
			return wallet.TxID(other.tx.Hash().Hex()), nil
		}
	}
	head, err := w.node.head(ctx)
	if err != nil {
		return "", err
	}
	// The greatest depth at which more than own.nonce transactions were mined.
	height := uint64(head.Number)
	depth, beyond := uint64(1), min(height+1, maxDepth)+1
	for beyond > depth+1 {
		middle := depth + (beyond-depth)/2
		var nonce hexutil.Uint64
		if err := w.node.must(ctx, &call{
			method: "eth_getTransactionCount", params: []any{own.sender, hexutil.Uint64(height + 1 - middle)}, result: &nonce,
		}); err != nil {
			return "", err
		}
		if uint64(nonce) > own.tx.Nonce() {
			depth = middle
		} else {
			beyond = middle
		}
	}
	var b block
	if err := w.node.must(ctx, &call{method: "eth_getBlockByNumber", params: []any{hexutil.Uint64(height + 1 - depth), true}, result: &b}); err != nil {
		return "", err
	}
	for _, tx := range b.Transactions {
		if tx.From == own.sender && uint64(tx.Nonce) == own.tx.Nonce() {
			return wallet.TxID(tx.Hash.Hex()), nil
		}
	}
	return "", nil
}
