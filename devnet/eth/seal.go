package eth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/miner"
)

const (
	// finalDepth is how far behind the head a block is final. No reorganisation
	// reaches it.
	finalDepth = 64
	// leastFree is the disk space in bytes below which no block is written:
	// a database that meets a full disk aborts the process instead of failing.
	leastFree = 64 << 20
)

// ErrClosed means that the node produces no more blocks.
var ErrClosed = errors.New("the node is closed")

// headKey is where the database keeps the hash of the newest published block. It
// lies outside the key space of go-ethereum, whose keys have other first bytes.
func headKey() []byte { return []byte("latchkey-devnet-head") }

// job is work for the producer. It runs between two blocks.
type job struct {
	run  func() error
	done chan error
}

// produce owns the chain: it seals blocks on the clock and runs jobs, one thing at
// a time, until Close or an error of a sealing.
func (n *Node) produce() {
	defer close(n.done)
	ticker := time.NewTicker(n.cfg.Period)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-n.quit:
			return
		case j := <-n.jobs:
			j.done <- j.run()
		case now := <-ticker.C:
			waiting, _ := n.eth.TxPool().Stats()
			if waiting == 0 && now.Sub(last) < n.cfg.Idle {
				continue
			}
			if err := n.seal(); err != nil {
				n.err = err
				return
			}
			last = now
		}
	}
}

// do runs f on the producer.
func (n *Node) do(ctx context.Context, f func() error) error {
	j := job{run: f, done: make(chan error, 1)}
	select {
	case n.jobs <- j:
		return <-j.done
	case <-n.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// seal makes the next block from the pool's transactions and publishes it.
func (n *Node) seal() error {
	// The pool follows the head on a goroutine of its own; a block built before it
	// caught up would try transactions that the last block has already.
	if err := n.eth.TxPool().Sync(); err != nil {
		return fmt.Errorf("wait for the transaction pool: %w", err)
	}
	block, err := n.extend(n.eth.BlockChain().CurrentBlock(), nil, false)
	if err != nil {
		return err
	}
	return n.publish(block)
}

// extend builds a block on parent and writes it, with its state, to the database
// without publishing it. It contains txs; if there are none, nothing if empty is
// set and else what the pool offers.
func (n *Node) extend(parent *types.Header, txs []*types.Transaction, empty bool) (*types.Block, error) {
	if free, err := freeSpace(n.cfg.Data); err != nil {
		return nil, fmt.Errorf("look for free space in data folder %s: %w", n.cfg.Data, err)
	} else if free < leastFree {
		return nil, fmt.Errorf("data folder %s is full: %d bytes free, no block is made below %d", n.cfg.Data, free, leastFree)
	}
	var random common.Hash
	if _, err := rand.Read(random[:]); err != nil {
		return nil, fmt.Errorf("seal block %v: %w", parent.Number.Uint64()+1, err)
	}
	block, _, err := n.eth.Miner().BuildTestingPayload(&miner.BuildPayloadArgs{
		Parent:       parent.Hash(),
		Timestamp:    max(uint64(time.Now().Unix()), parent.Time+1),
		FeeRecipient: n.Faucet(),
		Random:       random,
		Withdrawals:  types.Withdrawals{},
		BeaconRoot:   new(common.Hash),
	}, txs, empty && len(txs) == 0, nil)
	if err != nil {
		return nil, fmt.Errorf("build block %v: %w", parent.Number.Uint64()+1, err)
	}
	if _, err := n.eth.BlockChain().InsertBlockWithoutSetHead(context.Background(), block, false); err != nil {
		return nil, fmt.Errorf("insert block %v: %w", block.Number(), err)
	}
	return block, nil
}

// publish makes block, written before by extend, the head of the chain. The
// database is synced, and knows which block is the head, before anybody can see
// the block. A crash before the sync loses a block that nobody saw; after it,
// recoverHead publishes the block again.
func (n *Node) publish(block *types.Block) error {
	db := n.eth.ChainDb()
	if err := db.Put(headKey(), block.Hash().Bytes()); err != nil {
		return fmt.Errorf("record block %v as the head: %w", block.Number(), err)
	}
	if err := db.SyncKeyValue(); err != nil {
		return fmt.Errorf("sync block %v: %w", block.Number(), err)
	}
	if _, err := n.eth.BlockChain().SetCanonical(block); err != nil {
		return fmt.Errorf("publish block %v: %w", block.Number(), err)
	}
	n.markFinal(block.NumberU64())
	return nil
}

// markFinal moves the safe and the final block to finalDepth behind the head.
func (n *Node) markFinal(head uint64) {
	chain := n.eth.BlockChain()
	if head < finalDepth {
		return
	}
	if header := chain.GetHeaderByNumber(head - finalDepth); header != nil {
		chain.SetFinalized(header)
		chain.SetSafe(header)
	}
}

// recoverHead publishes the block that was the head when the last process ended,
// if the database's own head, which is written lazily, is another.
func (n *Node) recoverHead() error {
	db, chain := n.eth.ChainDb(), n.eth.BlockChain()
	known, err := db.Has(headKey())
	if err != nil {
		return fmt.Errorf("read the recorded head: %w", err)
	}
	if !known {
		if head := chain.CurrentBlock().Number.Uint64(); head != 0 {
			return fmt.Errorf("the chain has %d blocks and no recorded head: it was not made by this program", head)
		}
		return nil
	}
	raw, err := db.Get(headKey())
	if err != nil {
		return fmt.Errorf("read the recorded head: %w", err)
	}
	hash := common.BytesToHash(raw)
	block := chain.GetBlockByHash(hash)
	if block == nil {
		return fmt.Errorf("the recorded head %v is not in the database", hash)
	}
	if chain.CurrentBlock().Hash() != hash {
		if _, err := chain.SetCanonical(block); err != nil {
			return fmt.Errorf("publish the recorded head %v: %w", hash, err)
		}
	}
	n.markFinal(block.NumberU64())
	return nil
}
