package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
)

// liarAt starts the command before a node and returns a caller of it.
func liarAt(t *testing.T, node string, args ...string) *ethclient.Client {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	in, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{"lie", "--rpc", node, "--http", "127.0.0.1:0"}, args...), out, io.Discard)
		out.CloseWithError(err)
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(in).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var says struct{ HTTP string }
	if err := json.Unmarshal(line, &says); err != nil {
		t.Fatal(err)
	}
	c, err := ethclient.DialContext(t.Context(), says.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestLie has a liar and one that stands still before one node.
func TestLie(t *testing.T) {
	p := launch(t, "--data", t.TempDir())
	ctx := t.Context()
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	early, late, nobody := crypto.PubkeyToAddress(key.PublicKey), common.Address{1}, common.Address{2}
	eth := big.NewInt(1_000_000_000_000_000_000)
	fund := func(to common.Address) (hash common.Hash) {
		if err := p.client.Client().CallContext(ctx, &hash, "dev_fund", to, (*hexutil.Big)(eth)); err != nil {
			t.Fatal(err)
		}
		return hash
	}
	first := fund(early)
	liar, still := liarAt(t, p.ready.HTTP), liarAt(t, p.ready.HTTP, "--still")
	tip, err := p.client.BlockNumber(ctx)
	if err != nil {
		t.Fatal(err)
	}
	second := fund(late)

	for _, x := range []struct {
		who     string
		c       *ethclient.Client
		address common.Address
		want    *big.Int
	}{
		{"the node", p.client, nobody, new(big.Int)}, {"the liar", liar, nobody, eth}, {"the liar", liar, early, eth},
		{"who stands still", still, early, eth}, {"who stands still", still, late, new(big.Int)}, {"who stands still", still, nobody, new(big.Int)},
	} {
		for name, ask := range map[string]func() (*big.Int, error){
			"latest":  func() (*big.Int, error) { return x.c.BalanceAt(ctx, x.address, nil) },
			"pending": func() (*big.Int, error) { return x.c.PendingBalanceAt(ctx, x.address) },
		} {
			if got, err := ask(); err != nil || got.Cmp(x.want) != 0 {
				t.Errorf("%s says that %v holds %v (%s), %v, want %v", x.who, x.address, got, name, err, x.want)
			}
		}
	}
	if n, err := still.BlockNumber(ctx); err != nil || n != tip {
		t.Errorf("who stands still is at block %d, %v, want %d", n, err, tip)
	}
	if h, err := still.HeaderByNumber(ctx, nil); err != nil || h.Number.Uint64() != tip {
		t.Errorf("the newest block of who stands still: %v, %v, want %d", h, err, tip)
	}
	if _, err := still.HeaderByNumber(ctx, new(big.Int).SetUint64(tip+1)); !errors.Is(err, ethereum.NotFound) {
		t.Errorf("who stands still has the next block: %v", err)
	}
	if _, err := still.TransactionReceipt(ctx, first); err != nil {
		t.Errorf("who stands still has not what was there before: %v", err)
	}
	if _, err := still.TransactionReceipt(ctx, second); !errors.Is(err, ethereum.NotFound) {
		t.Errorf("who stands still has what came later: %v", err)
	}

	// Neither passes a transaction on, and both say that they have.
	tx, err := types.SignNewTx(key, types.LatestSignerForChainID(new(big.Int).SetUint64(p.ready.ChainID)), &types.LegacyTx{
		To: &nobody, Value: big.NewInt(1), Gas: 21_000, GasPrice: big.NewInt(10_000_000_000),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*ethclient.Client{liar, still} {
		if err := c.SendTransaction(ctx, tx); err != nil {
			t.Errorf("a transaction: %v", err)
		}
	}
	if _, _, err := p.client.TransactionByHash(ctx, tx.Hash()); !errors.Is(err, ethereum.NotFound) {
		t.Errorf("the node has heard of the transaction: %v", err)
	}
}
