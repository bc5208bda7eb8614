package main

import (
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	devnet "latchkey/devnet/eth"
	"latchkey/wallet"
)

func (x *world) mine(n int) {
	x.t.Helper()
	x.rpc(new(any), "dev_mine", n)
}

func (x *world) fund(id string, keys []testKey, w wallet.Wallet) (wallet.Funding, error) {
	r := wallet.FundRequest{Asset: x.asset, ID: id, MaxFee: gwei(1e7)}
	for _, k := range keys {
		r.Payments = append(r.Payments, wallet.Payment{Address: k.address, Amount: gwei(1e6)})
	}
	return w.Fund(x.t.Context(), r)
}

func (x *world) sweep(id string, keys []testKey) (wallet.Sweep, error) {
	r := wallet.SweepRequest{Asset: x.asset, ID: id, MaxFee: gwei(1e7)}
	for _, k := range keys {
		r.Keys = append(r.Keys, k.SweepKey)
	}
	return x.a.Sweep(x.t.Context(), r)
}

// TestRivalInReorg lets a reorganisation bring another transaction with the nonce
// of a payment, and takes a deposit away that is being swept.
func TestRivalInReorg(t *testing.T) {
	x := newWorld(t, "1h")
	x.give(x.a.ready.Address, 10e9)
	x.mine(70) // what came before is final
	keys := newKeys(t, 1)
	f, err := x.fund("f", keys, x.a)
	if err != nil {
		t.Fatal(err)
	}
	x.mine(1)
	text, err := os.ReadFile(filepath.Join(x.a.data, "wallet.key"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := crypto.HexToECDSA(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	to := common.Address{0x99}
	rival, err := types.SignNewTx(own, types.LatestSignerForChainID(big.NewInt(devnet.DefaultChainID)), &types.LegacyTx{
		GasPrice: big.NewInt(5e9), Gas: 21000, To: &to, Value: big.NewInt(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := rival.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	// The sweep of the deposit is on its way when the deposit vanishes.
	if s, err := x.sweep("s", keys); err != nil || s.Keys[0].Err != nil {
		t.Fatalf("sweep: %v, %+v", err, s.Keys)
	}
	x.rpc(new(common.Hash), "dev_reorg", 1, []hexutil.Bytes{raw})

	want := wallet.TxStatus{State: wallet.TxConflicted, Conflict: wallet.TxID(rival.Hash().Hex())}
	for when := range 2 {
		got, err := x.a.Transaction(t.Context(), x.asset, f.Txs[0].ID)
		if err != nil || got != want {
			t.Errorf("payment whose nonce was taken: %+v, %v, want %+v", got, err, want)
		}
		if when == 0 {
			x.mine(70) // so deep that the wallet settles it
		}
	}
	again, err := x.fund("f", keys, x.a)
	if err != nil || len(again.Txs) != 1 || again.Txs[0] != f.Txs[0] {
		t.Errorf("the same funding again: %+v, %v, want its lost transaction", again, err)
	}
	s, err := x.sweep("s", keys)
	if err != nil || !errors.Is(s.Keys[0].Err, wallet.ErrNotFunded) {
		t.Errorf("sweep of a deposit that vanished: %v, %+v, want not funded", err, s.Keys)
	}
	// The wallet goes on with the next nonce, and the sweep with another deposit.
	if _, err := x.fund("f2", keys, x.a); err != nil {
		t.Fatal(err)
	}
	x.mine(1)
	if s, err = x.sweep("s", keys); err != nil || s.Keys[0].Err != nil {
		t.Fatalf("sweep of the new deposit: %v, %+v", err, s.Keys)
	}
	x.mine(1)
	if got := x.wei(keys[0].address); got.Sign() != 0 {
		t.Errorf("%v wei are left, want none", got)
	}
}

// TestCheapSweepIsReplaced raises the base fee over what a sweep on its way offers. The
// same sweep again replaces it.
func TestCheapSweepIsReplaced(t *testing.T) {
	x := newWorld(t, "1h")
	x.give(x.a.ready.Address, 1000e9)
	keys := newKeys(t, 1)
	if _, err := x.fund("f", keys, x.a); err != nil {
		t.Fatal(err)
	}
	burner := newKeys(t, 1)[0]
	x.give(burner.address, 1000e9)
	x.mine(2)
	first, err := x.sweep("s", keys)
	if err != nil || first.Keys[0].Err != nil {
		t.Fatalf("sweep: %v, %+v", err, first.Keys)
	}
	fee, ok := new(big.Int).SetString(first.Txs[0].Fee.String(), 10)
	if !ok {
		t.Fatal(first.Txs[0].Fee)
	}
	// What the sweep offers per gas, and a quarter more: an empty block follows the
	// last full one, and takes an eighth off again.
	x.fullBlocks(burner, fee.Div(fee, big.NewInt(21000*4/5)))
	second, err := x.sweep("s", keys)
	if err != nil || second.Keys[0].Err != nil {
		t.Fatalf("sweep again: %v, %+v", err, second.Keys)
	}
	if second.Keys[0].Tx == first.Keys[0].Tx {
		t.Fatalf("the sweep was not replaced though it offers too little")
	}
	x.mine(1)
	got, err := x.a.Transaction(t.Context(), x.asset, second.Keys[0].Tx)
	if err != nil || got.State != wallet.TxConfirmed {
		t.Errorf("the new sweep: %+v, %v, want it confirmed", got, err)
	}
	got, err = x.a.Transaction(t.Context(), x.asset, first.Keys[0].Tx)
	if want := (wallet.TxStatus{State: wallet.TxConflicted, Conflict: second.Keys[0].Tx}); err != nil || got != want {
		t.Errorf("the old sweep: %+v, %v, want %+v", got, err, want)
	}
	third, err := x.sweep("s", keys)
	if err != nil || third.Keys[0] != second.Keys[0] {
		t.Errorf("the same sweep later: %+v, %v, want %+v", third.Keys, err, second.Keys[0])
	}
}

// fullBlocks replaces the best block by full ones, which leave out what waits, until
// the base fee is above price. The burner pays, for the first time.
func (x *world) fullBlocks(burner testKey, price *big.Int) {
	x.t.Helper()
	key, err := crypto.ToECDSA(burner.Private[:])
	if err != nil {
		x.t.Fatal(err)
	}
	signer := types.LatestSignerForChainID(big.NewInt(devnet.DefaultChainID))
	for nonce := uint64(0); ; {
		var block struct{ BaseFeePerGas hexutil.Big }
		x.rpc(&block, "eth_getBlockByNumber", "latest", false)
		if block.BaseFeePerGas.ToInt().Cmp(price) > 0 {
			return
		}
		var full []hexutil.Bytes
		for range 4 { // of 60 million gas
			tx, err := types.SignNewTx(key, signer, &types.DynamicFeeTx{
				Nonce: nonce, Gas: 14_500_000, GasFeeCap: big.NewInt(100e9), GasTipCap: new(big.Int),
				Data: []byte{0xfe}, // invalid: uses all gas
			})
			if err != nil {
				x.t.Fatal(err)
			}
			raw, err := tx.MarshalBinary()
			if err != nil {
				x.t.Fatal(err)
			}
			full = append(full, raw)
			nonce++
		}
		x.rpc(new(common.Hash), "dev_reorg", 1, full)
	}
}

func TestCommandErrors(t *testing.T) {
	x := newWorld(t, "1h")
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()
	folder := t.TempDir()
	good := func(name string) map[string]string {
		return map[string]string{
			"listen": "127.0.0.1:0", "data": filepath.Join(folder, name),
			"node": "http://" + x.node.ready.Listen + "/?key=SECRET", "chain_id": "1337",
		}
	}
	pinned := `{"chain":{"id":1337,"genesis":"0x` + strings.Repeat("ab", 32) + `"}}` + "\n"
	for _, test := range []struct {
		name   string
		change func(c map[string]string)
		files  map[string]string // in the data folder
		want   string
	}{
		{name: "unknown field", change: func(c map[string]string) { c["nod"] = "x" }, want: `unknown field "nod"`},
		{name: "not loopback", change: func(c map[string]string) { c["listen"] = "0.0.0.0:0" }, want: "loopback"},
		{name: "port in use", change: func(c map[string]string) { c["listen"] = occupied.Addr().String() }, want: "address already in use"},
		{name: "folder in use", change: func(c map[string]string) { c["data"] = x.a.data }, want: "in use by another process"},
		{name: "folder is a file", change: func(c map[string]string) { c["data"] = os.Args[0] }, want: "create the data folder"},
		{name: "chain id", change: func(c map[string]string) { c["chain_id"] = "5" }, want: "serves chain 1337, not 5"},
		{name: "another chain's folder", files: map[string]string{"transactions.jsonl": strings.Replace(pinned, "1337", "6", 1)}, want: "belongs to chain 6, not 1337"},
		{name: "another chain of the same id", files: map[string]string{"transactions.jsonl": pinned}, want: "this wallet's records are about 0xabab"},
		{name: "damaged book", files: map[string]string{"transactions.jsonl": "x\n"}, want: "transactions.jsonl: line 1"},
		{name: "damaged key", files: map[string]string{"wallet.key": "c0ffee\n"}, want: "wallet.key is not a secp256k1 private key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := good(strings.ReplaceAll(test.name, " ", "-"))
			if test.change != nil {
				test.change(c)
			}
			for name, content := range test.files {
				if err := os.MkdirAll(c["data"], 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(c["data"], name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var text strings.Builder
			for k, v := range c {
				if k == "chain_id" {
					fmt.Fprintf(&text, "%s = %s\n", k, v)
				} else {
					fmt.Fprintf(&text, "%s = %q\n", k, v)
				}
			}
			config := filepath.Join(t.TempDir(), "c.toml")
			if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "--config", config)
			cmd.Env = append(os.Environ(), role+"=wallet")
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("exit: %v, want code 1", err)
			}
			if got := string(out); !strings.Contains(got, "error: ") || !strings.Contains(got, test.want) ||
				strings.Count(got, "\n") != 1 || strings.Contains(got, "SECRET") || strings.Contains(got, "c0ffee") {
				t.Errorf("output %q, want one line with %q and no secret", got, test.want)
			}
		})
	}
}

// TestUnixSocketIsPrivate: whoever can connect can spend.
func TestUnixSocketIsPrivate(t *testing.T) {
	x := newWorld(t, "1h")
	info, err := os.Stat(strings.TrimPrefix(x.a.ready.Listen, "unix:"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode of the socket = %04o, want 0600", got)
	}
}
