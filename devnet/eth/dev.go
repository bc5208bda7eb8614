package eth

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// maxMine bounds the blocks of one [Node.Mine].
const maxMine = 1000

// Fund pays amount wei from the faucet to an address, in a block made at once, and
// returns the transaction's hash. It is not idempotent.
func (n *Node) Fund(ctx context.Context, to common.Address, amount *big.Int) (common.Hash, error) {
	if amount == nil || amount.Sign() <= 0 {
		return common.Hash{}, errors.New("fund: the amount must be positive")
	}
	n.faucetMu.Lock()
	defer n.faucetMu.Unlock()
	chain := n.eth.BlockChain()
	tip := big.NewInt(params.GWei)
	feeCap := new(big.Int).Add(tip, new(big.Int).Mul(chain.CurrentBlock().BaseFee, big.NewInt(4)))
	tx, err := types.SignNewTx(n.faucet, n.signer(), &types.DynamicFeeTx{
		ChainID:   chain.Config().ChainID,
		Nonce:     n.eth.TxPool().PoolNonce(n.Faucet()),
		GasTipCap: tip,
		GasFeeCap: feeCap,
		Gas:       100_000, // enough for a contract's receive function
		To:        &to,
		Value:     amount,
	})
	if err != nil {
		return common.Hash{}, fmt.Errorf("fund: sign: %w", err)
	}
	if err := n.eth.APIBackend.SendTx(ctx, tx); err != nil {
		return common.Hash{}, fmt.Errorf("fund %v: %w", to, err)
	}
	if err := n.do(ctx, n.seal); err != nil {
		return common.Hash{}, fmt.Errorf("fund %v: %w", to, err)
	}
	return tx.Hash(), nil
}

// Mine makes the given number of blocks at once, at most 1,000.
func (n *Node) Mine(ctx context.Context, blocks int) error {
	if blocks < 1 || blocks > maxMine {
		return fmt.Errorf("mine: %d blocks: want 1 to %d", blocks, maxMine)
	}
	return n.do(ctx, func() error {
		for range blocks {
			if err := n.seal(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Reorg replaces the last depth blocks with depth+1 others. The first of these
// contains txs, the rest nothing. The transactions of the blocks that were
// dropped return to the pool and are mined again, except where one of txs has
// taken their nonce.
func (n *Node) Reorg(ctx context.Context, depth int, txs []*types.Transaction) (common.Hash, error) {
	var tip common.Hash
	err := n.do(ctx, func() error {
		chain := n.eth.BlockChain()
		head := chain.CurrentBlock().Number.Uint64()
		if depth < 1 || uint64(depth) > min(head, finalDepth-1) {
			return fmt.Errorf("reorg: depth %d: want 1 to %d", depth, min(head, finalDepth-1))
		}
		parent := chain.GetHeaderByNumber(head - uint64(depth))
		if parent == nil {
			return fmt.Errorf("reorg: block %d is missing", head-uint64(depth))
		}
		var block *types.Block
		for i := range depth + 1 {
			var err error
			if i > 0 {
				txs = nil
			}
			if block, err = n.extend(parent, txs, true); err != nil {
				return fmt.Errorf("reorg: %w", err)
			}
			parent = block.Header()
		}
		tip = block.Hash()
		return n.publish(block)
	})
	return tip, err
}

// devAPI is the dev namespace of the RPC.
type devAPI struct{ node *Node }

// Fund is dev_fund(address, wei): see [Node.Fund].
func (a *devAPI) Fund(ctx context.Context, to common.Address, amount *hexutil.Big) (common.Hash, error) {
	return a.node.Fund(ctx, to, (*big.Int)(amount))
}

// Mine is dev_mine(blocks): see [Node.Mine].
func (a *devAPI) Mine(ctx context.Context, blocks int) error {
	return a.node.Mine(ctx, blocks)
}

// Reorg is dev_reorg(depth, [raw transactions]): see [Node.Reorg].
func (a *devAPI) Reorg(ctx context.Context, depth int, raw *[]hexutil.Bytes) (common.Hash, error) {
	var txs []*types.Transaction
	if raw != nil {
		for i, bytes := range *raw {
			tx := new(types.Transaction)
			if err := tx.UnmarshalBinary(bytes); err != nil {
				return common.Hash{}, fmt.Errorf("reorg: transaction %d: %w", i, err)
			}
			txs = append(txs, tx)
		}
	}
	return a.node.Reorg(ctx, depth, txs)
}
