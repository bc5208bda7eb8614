package eth_test

import (
	"context"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"

	"latchkey/devnet/eth"
)

// start runs a node that makes blocks only when told, and closes it after the test.
func start(t *testing.T, cfg eth.Config) (*eth.Node, *ethclient.Client) {
	t.Helper()
	if cfg.HTTP == "" {
		cfg.HTTP = "127.0.0.1:0"
	}
	cfg.Period, cfg.Idle = time.Hour, time.Hour
	node, err := eth.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := ethclient.DialContext(t.Context(), node.HTTP())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return node, client
}

func balance(t *testing.T, client *ethclient.Client, address common.Address) *big.Int {
	t.Helper()
	wei, err := client.BalanceAt(t.Context(), address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return wei
}

func TestRestartKeepsTheChain(t *testing.T) {
	rich, poor := common.Address{0xaa}, common.Address{0xbb}
	cfg := eth.Config{
		Data:    t.TempDir(),
		ChainID: 4242,
		Fund:    map[common.Address]*big.Int{rich: big.NewInt(77)},
	}
	node, client := start(t, cfg)
	if got := balance(t, client, rich); got.Int64() != 77 {
		t.Errorf("genesis balance = %v, want 77", got)
	}
	hash, err := node.Fund(t.Context(), poor, big.NewInt(5))
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Mine(t.Context(), 70); err != nil {
		t.Fatal(err)
	}
	faucet := node.Faucet()
	number, head := node.Head()
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}

	node, client = start(t, cfg)
	if n, h := node.Head(); n != number || h != head {
		t.Errorf("head after the restart = %d %v, want %d %v", n, h, number, head)
	}
	if node.Faucet() != faucet {
		t.Errorf("faucet after the restart = %v, want %v", node.Faucet(), faucet)
	}
	if got := balance(t, client, poor); got.Int64() != 5 {
		t.Errorf("balance after the restart = %v, want 5", got)
	}
	receipt, err := client.TransactionReceipt(t.Context(), hash)
	if err != nil {
		t.Fatal(err)
	}
	if got := receipt.BlockNumber.Uint64(); got != 1 {
		t.Errorf("transaction mined in block %d, want 1", got)
	}
	if id, err := client.ChainID(t.Context()); err != nil || id.Uint64() != 4242 {
		t.Errorf("chain id = %v, %v, want 4242", id, err)
	}
	if err := node.Mine(t.Context(), 1); err != nil {
		t.Errorf("mine after the restart: %v", err)
	}
}

func TestTransferCostsWhatReleasedForksSay(t *testing.T) {
	node, client := start(t, eth.Config{Data: t.TempDir()})
	hash, err := node.Fund(t.Context(), common.Address{0xcc}, big.NewInt(1))
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := client.TransactionReceipt(t.Context(), hash)
	if err != nil {
		t.Fatal(err)
	}
	if receipt.GasUsed != 21000 {
		t.Errorf("gas of a transfer = %d, want 21000", receipt.GasUsed)
	}
}

func TestReorgReturnsTransactionsUnlessReplaced(t *testing.T) {
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	sender := crypto.PubkeyToAddress(key.PublicKey)
	eth1 := new(big.Int).Exp(big.NewInt(10), big.NewInt(18), nil)
	node, client := start(t, eth.Config{Data: t.TempDir(), Fund: map[common.Address]*big.Int{sender: eth1}})
	transfer := func(to common.Address) *types.Transaction {
		tx, err := types.SignNewTx(key, types.LatestSignerForChainID(big.NewInt(eth.DefaultChainID)), &types.LegacyTx{
			GasPrice: big.NewInt(2e9), Gas: 21000, To: &to, Value: big.NewInt(9),
		})
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	first, second := common.Address{1}, common.Address{2}
	if err := client.SendTransaction(t.Context(), transfer(first)); err != nil {
		t.Fatal(err)
	}
	if err := node.Mine(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if got := balance(t, client, first); got.Int64() != 9 {
		t.Fatalf("balance = %v, want 9", got)
	}

	if _, err := node.Reorg(t.Context(), 2, nil); err != nil {
		t.Fatal(err)
	}
	if got := balance(t, client, first); got.Sign() != 0 {
		t.Errorf("balance after the reorganisation = %v, want 0", got)
	}
	if err := node.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if got := balance(t, client, first); got.Int64() != 9 {
		t.Errorf("balance once mined again = %v, want 9", got)
	}

	if _, err := node.Reorg(t.Context(), 1, []*types.Transaction{transfer(second)}); err != nil {
		t.Fatal(err)
	}
	if err := node.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if a, b := balance(t, client, first), balance(t, client, second); a.Sign() != 0 || b.Int64() != 9 {
		t.Errorf("balances after the replacement = %v and %v, want 0 and 9", a, b)
	}
	if _, err := node.Reorg(t.Context(), 1000, nil); err == nil {
		t.Error("a reorganisation deeper than the chain was accepted")
	}
}

func TestStartRefuses(t *testing.T) {
	data := t.TempDir()
	node, _ := start(t, eth.Config{Data: data, ChainID: 5})
	file := filepath.Join(data, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stopped := t.TempDir()
	other, err := eth.Start(t.Context(), eth.Config{Data: stopped, HTTP: "127.0.0.1:0", ChainID: 5})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	badKey := t.TempDir()
	if err := os.WriteFile(filepath.Join(badKey, "faucet.key"), []byte("5e6f secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()

	for _, test := range []struct {
		name string
		ctx  context.Context
		cfg  eth.Config
		want string
	}{
		{"no folder", t.Context(), eth.Config{}, "data folder is not set"},
		{"folder in use", t.Context(), eth.Config{Data: data}, "in use by another process"},
		{"folder is a file", t.Context(), eth.Config{Data: file}, "create the data folder"},
		{"port in use", t.Context(), eth.Config{Data: t.TempDir(), HTTP: strings.TrimPrefix(node.HTTP(), "http://")}, "address already in use"},
		{"not loopback", t.Context(), eth.Config{Data: t.TempDir(), HTTP: "0.0.0.0:0"}, "only a loopback address"},
		{"another chain", t.Context(), eth.Config{Data: stopped, ChainID: 6}, "holds chain 5, not chain 6"},
		{"another genesis", t.Context(), eth.Config{Data: stopped, ChainID: 5, Fund: map[common.Address]*big.Int{{1}: big.NewInt(1)}}, "does not give 1 wei"},
		{"bad faucet key", t.Context(), eth.Config{Data: badKey}, "faucet.key: it is not hexadecimal"},
		{"period above idle", t.Context(), eth.Config{Data: t.TempDir(), Period: time.Minute, Idle: time.Second}, "period <= idle"},
		{"cancelled", cancelled, eth.Config{Data: t.TempDir()}, "context canceled"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.cfg.HTTP == "" {
				test.cfg.HTTP = "127.0.0.1:0"
			}
			got, err := eth.Start(test.ctx, test.cfg)
			if err == nil {
				t.Fatal(got.Close(), "started")
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "5e6f") {
				t.Errorf("error = %q, want one line with %q", err, test.want)
			}
		})
	}
}

func TestParseAmount(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"1", "1"},
		{"2.5eth", "2500000000000000000"},
		{"3gwei", "3000000000"},
		{"0.000000000000000001eth", "1"},
		{"1000000000000eth", "1000000000000000000000000000000"},
		{"", ""},
		{"0", ""},
		{"-1", ""},
		{"1.5", ""},
		{"0.0000000001gwei", ""},
		{"1.eth", ""},
		{".5eth", ""},
		{"1e18", ""},
		{"+1", ""},
		{" 1", ""},
		{"1 eth", ""},
		{"2000000000000eth", ""},
		{strings.Repeat("9", 40), ""},
	} {
		got, err := eth.ParseAmount(test.text)
		if err != nil {
			if test.want != "" {
				t.Errorf("ParseAmount(%q): %v, want %s", test.text, err, test.want)
			}
			continue
		}
		if got.String() != test.want {
			t.Errorf("ParseAmount(%q) = %v, want %q", test.text, got, test.want)
		}
	}
}

func TestParseAddress(t *testing.T) {
	for text, ok := range map[string]bool{
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed":   true, // from ERC-55
		"0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed":   true,
		"0x5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED":   true,
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD":   false,
		"5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed":     false,
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed00": false,
		"0x":  false,
		"bc1": false,
	} {
		if _, err := eth.ParseAddress(text); (err == nil) != ok {
			t.Errorf("ParseAddress(%q) error = %v, want accepted: %v", text, err, ok)
		}
	}
}

func FuzzParseAmount(f *testing.F) {
	for _, text := range []string{"1", "2.5eth", "3gwei", "0.0eth", "1e9", "-1", "00001.10gwei", "eth", "."} {
		f.Add(text)
	}
	most := new(big.Int).Lsh(big.NewInt(1), 100)
	f.Fuzz(func(t *testing.T, text string) {
		wei, err := eth.ParseAmount(text)
		if err != nil {
			return
		}
		if wei.Sign() <= 0 || wei.Cmp(most) >= 0 {
			t.Errorf("ParseAmount(%q) = %v, out of range", text, wei)
		}
		again, err := eth.ParseAmount(wei.String())
		if err != nil || again.Cmp(wei) != 0 {
			t.Errorf("%v came back as %v, %v", wei, again, err)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	f.Add("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")
	f.Add("0X5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")
	f.Fuzz(func(t *testing.T, text string) {
		address, err := eth.ParseAddress(text)
		if err == nil && !strings.EqualFold(address.Hex(), text) {
			t.Errorf("ParseAddress(%q) = %v", text, address)
		}
	})
}
