package btc

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// Reorg replaces the best depth blocks by depth + 1 blocks with nothing in them
// but their coinbase. What the old ones held is in the pool again, as far as
// it still fits.
func (n *Node) Reorg(ctx context.Context, depth int) (height int64, err error) {
	if depth < 1 || depth > 100 {
		return 0, fmt.Errorf("reorganise %d blocks: want 1 to 100", depth)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if height, err = n.height(ctx); err != nil {
		return 0, err
	}
	from := height - int64(depth)
	if from < 0 {
		return 0, fmt.Errorf("reorganise %d blocks of a chain of %d", depth, height)
	}
	var parent string
	if err := n.rpc.Call(ctx, &parent, "getblockhash", from); err != nil {
		return 0, err
	}
	var text string
	if err := n.rpc.Call(ctx, &text, "getblock", parent, 0); err != nil {
		return 0, err
	}
	last, err := decodeBlock(text)
	if err != nil {
		return 0, err
	}
	script, err := n.faucetScript(ctx)
	if err != nil {
		return 0, err
	}
	for i := range depth + 1 {
		block, err := emptyBlock(&last.Header, from+1+int64(i), script)
		if err != nil {
			return 0, err
		}
		var raw bytes.Buffer
		if err := block.Serialize(&raw); err != nil {
			return 0, err
		}
		var verdict any
		if err := n.rpc.Call(ctx, &verdict, "submitblock", hex.EncodeToString(raw.Bytes())); err != nil {
			return 0, fmt.Errorf("submit a block: %w", err)
		}
		if s, _ := verdict.(string); s != "" {
			return 0, fmt.Errorf("submit a block: %s", s)
		}
		last = block
	}
	if err := n.journal.follow(ctx, n.rpc); err != nil {
		return 0, err
	}
	return n.height(ctx)
}

func (n *Node) faucetScript(ctx context.Context) ([]byte, error) {
	var info struct {
		ScriptPubKey string `json:"scriptPubKey"`
		WitnessProg  string `json:"witness_program"`
	}
	if err := n.rpc.Call(ctx, &info, "validateaddress", n.faucet.Address()); err != nil {
		return nil, err
	}
	program, err := hex.DecodeString(info.WitnessProg)
	if err != nil || len(program) != 20 {
		return nil, fmt.Errorf("script of the faucet: witness program %q", info.WitnessProg)
	}
	return append([]byte{txscript.OP_0, txscript.OP_DATA_20}, program...), nil
}

// emptyBlock makes a regtest block with only a coinbase, whose height is in its
// script (BIP 34), and finds its nonce.
func emptyBlock(parent *wire.BlockHeader, height int64, script []byte) (*wire.MsgBlock, error) {
	params := &chaincfg.RegressionNetParams
	sig, err := txscript.NewScriptBuilder().AddInt64(height).AddInt64(time.Now().UnixNano()).Script()
	if err != nil {
		return nil, fmt.Errorf("coinbase: %w", err)
	}
	coinbase := wire.NewMsgTx(1)
	coinbase.AddTxIn(&wire.TxIn{
		PreviousOutPoint: wire.OutPoint{Index: wire.MaxPrevOutIndex}, SignatureScript: sig, Sequence: wire.MaxTxInSequenceNum,
	})
	subsidy := int64(50_0000_0000) >> (height / int64(params.SubsidyReductionInterval))
	coinbase.AddTxOut(wire.NewTxOut(subsidy, script))
	block := wire.NewMsgBlock(&wire.BlockHeader{
		Version: 0x20000000, PrevBlock: parent.BlockHash(), MerkleRoot: coinbase.TxHash(),
		Timestamp: parent.Timestamp.Add(time.Second), Bits: params.PowLimitBits,
	})
	if err := block.AddTransaction(coinbase); err != nil {
		return nil, err
	}
	// The limit is 7fffff… : about every second hash is below.
	for hash := (chainhash.Hash{31: 0xff}); hash[31] >= 0x7f; block.Header.Nonce++ {
		h := block.Header
		hash = h.BlockHash()
		if hash[31] < 0x7f {
			break
		}
	}
	return block, nil
}
