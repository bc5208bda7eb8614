// Package fake is a chain in memory and wallets on it: for tests, and for the
// simulation. It has no clock, no randomness and no goroutine: blocks,
// reorganisations and outages happen when the caller says so, and equal calls
// give equal transaction ids.
//
// Underneath is one model, outputs that transactions spend. An account-like
// chain differs in what a caller can see of it: a transaction makes one payment,
// or sweeps one key.
package fake

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"latchkey/coin"
	"latchkey/wallet"
)

// Config describes a chain. All fields but Accounts are required.
type Config struct {
	Asset         coin.Asset
	Confirmations uint32      // the default that wallets announce
	Accounts      bool        // one payment or one key in a transaction
	Fee           coin.Amount // of a transaction, per payment or key in it
	Dust          coin.Amount // smallest payment
}

// A Chain is one chain's blocks and the pool of what is not mined yet. Its
// methods may be called at the same time.
type Chain struct {
	cfg Config

	mu     sync.Mutex
	down   bool
	blocks [][]*tx
	pool   []*tx
	minted uint64

	// What follows is rebuilt from blocks and pool after a reorganisation.
	outs   map[outpoint]*output
	byAddr map[string][]outpoint // in the order in which they appeared
	where  map[wallet.TxID]place
	seen   map[wallet.TxID]*tx // all that ever was on the chain or in the pool
}

type outpoint struct {
	tx wallet.TxID
	n  int
}

type output struct {
	amount coin.Amount
	height uint64 // 0 = in the pool
	spent  wallet.TxID
	spentH uint64 // 0 = in the pool, if spent at all
}

type place struct {
	height uint64 // 0 = in the pool
}

type tx struct {
	id   wallet.TxID
	ins  []outpoint
	outs []wallet.Payment
}

func newTx(ins []outpoint, outs []wallet.Payment, nonce uint64) *tx {
	h := sha256.New()
	field := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	field(fmt.Sprint(nonce, len(ins), len(outs)))
	for _, in := range ins {
		field(string(in.tx))
		field(fmt.Sprint(in.n))
	}
	for _, out := range outs {
		field(out.Address)
		field(out.Amount.String())
	}
	return &tx{id: wallet.TxID(hex.EncodeToString(h.Sum(nil))), ins: ins, outs: outs}
}

// New returns a chain without blocks.
func New(cfg Config) (*Chain, error) {
	if err := cfg.Asset.Check(); err != nil {
		return nil, fmt.Errorf("fake chain: %w", err)
	}
	if cfg.Confirmations == 0 || cfg.Dust.IsZero() || cfg.Fee.IsZero() {
		return nil, errors.New("fake chain: want confirmations, dust and fee of at least 1")
	}
	c := &Chain{cfg: cfg, seen: make(map[wallet.TxID]*tx)}
	c.rebuild(nil)
	return c, nil
}

// Height returns the number of blocks.
func (c *Chain) Height() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return uint64(len(c.blocks))
}

// SetDown makes the node behind all wallets unreachable, or reachable again.
func (c *Chain) SetDown(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// Mine adds n blocks. The first takes all of the pool.
func (c *Chain) Mine(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range n {
		block := c.pool
		c.pool = nil
		c.blocks = append(c.blocks, block)
		height := uint64(len(c.blocks))
		for _, t := range block {
			c.where[t.id] = place{height: height}
			for i := range t.outs {
				c.outs[outpoint{t.id, i}].height = height
			}
			for _, in := range t.ins {
				c.outs[in].spentH = height
			}
		}
	}
}

// Reorg takes the last depth blocks away (all, if there are fewer). What was in
// them is in the pool again, except the transactions that are dropped and
// what spends from those. Mine depth+1 blocks to complete it.
func (c *Chain) Reorg(depth int, drop ...wallet.TxID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keep := max(0, len(c.blocks)-depth)
	var again []*tx
	for _, b := range c.blocks[keep:] {
		again = append(again, b...)
	}
	again = append(again, c.pool...)
	c.blocks = c.blocks[:keep]
	dropped := make(map[wallet.TxID]bool)
	for _, id := range drop {
		dropped[id] = true
	}
	var pool []*tx
	for _, t := range again {
		if !dropped[t.id] {
			pool = append(pool, t)
		}
	}
	c.rebuild(pool)
}

// Drop forgets transactions of the pool, as a node does that is full or was
// restarted.
func (c *Chain) Drop(ids ...wallet.TxID) { c.Reorg(0, ids...) }

// Mint makes a transaction out of nothing that pays amount to an address. It
// waits in the pool like any other.
func (c *Chain) Mint(address string, amount coin.Amount) wallet.TxID {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.minted++
	t := newTx(nil, []wallet.Payment{{Address: address, Amount: amount}}, c.minted)
	_ = c.add(t) // without inputs there is nothing to conflict with
	return t.id
}

// rebuild makes the indexes anew from the blocks and offers pool's transactions
// again in order, leaving out what no longer fits.
func (c *Chain) rebuild(pool []*tx) {
	c.outs, c.byAddr, c.where = make(map[outpoint]*output), make(map[string][]outpoint), make(map[wallet.TxID]place)
	c.pool = nil
	for i, b := range c.blocks {
		for _, t := range b {
			c.index(t, uint64(i+1))
		}
	}
	for _, t := range pool {
		_ = c.add(t)
	}
}

func (c *Chain) index(t *tx, height uint64) {
	for _, in := range t.ins {
		c.outs[in].spent, c.outs[in].spentH = t.id, height
	}
	for i, out := range t.outs {
		p := outpoint{t.id, i}
		c.outs[p] = &output{amount: out.Amount, height: height}
		c.byAddr[out.Address] = append(c.byAddr[out.Address], p)
	}
	c.where[t.id] = place{height: height}
	c.seen[t.id] = t
}

// add puts t into the pool, unless it is known already. It refuses what spends
// something absent or spent: the first one seen stays.
func (c *Chain) add(t *tx) error {
	if _, known := c.where[t.id]; known {
		return nil
	}
	for _, in := range t.ins {
		switch o, ok := c.outs[in]; {
		case !ok:
			return fmt.Errorf("%w: output %d of %s is not there", wallet.ErrNotFunded, in.n, in.tx)
		case o.spent != "":
			return fmt.Errorf("%w: by %s", wallet.ErrSpent, o.spent)
		}
	}
	c.index(t, 0)
	c.pool = append(c.pool, t)
	return nil
}

// confirmations of something at a height; 0 in the pool.
func (c *Chain) confirmations(height uint64) uint32 {
	if height == 0 {
		return 0
	}
	return uint32(uint64(len(c.blocks)) - height + 1)
}

// conflict returns the mined transaction that spends an input of t, if one does.
func (c *Chain) conflict(t *tx) (wallet.TxID, bool) {
	for _, in := range t.ins {
		if o, ok := c.outs[in]; ok && o.spent != "" && o.spent != t.id && o.spentH > 0 {
			return o.spent, true
		}
	}
	return "", false
}

// Total returns the sum of all unspent outputs: what was minted less fees.
func (c *Chain) Total() coin.Amount {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sum coin.Amount
	for _, o := range c.outs {
		if o.spent == "" {
			sum, _ = sum.Plus(o.amount) // cannot overflow: bounded by what was minted
		}
	}
	return sum
}

// MineEmpty adds n blocks that leave the pool alone.
func (c *Chain) MineEmpty(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range n {
		c.blocks = append(c.blocks, nil)
	}
}
