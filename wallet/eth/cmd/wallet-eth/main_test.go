package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"latchkey/coin"
	devnet "latchkey/devnet/eth"
	"latchkey/wallet"
)

// role makes the test binary behave as one of the two processes, so that tests can
// kill them: "wallet" is this command, "node" a development node.
const role = "WALLET_ETH_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "wallet":
		main()
	case "node":
		if err := serveNode(os.Args[1], os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

// serveNode is devnet-eth: it runs until a signal and says when it is ready.
func serveNode(data, http, period string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	every, err := time.ParseDuration(period)
	if err != nil {
		return err
	}
	node, err := devnet.Start(ctx, devnet.Config{Data: data, HTTP: http, Period: every, Idle: every})
	if err != nil {
		return err
	}
	fmt.Printf("{\"ready\":true,\"listen\":%q}\n", strings.TrimPrefix(node.HTTP(), "http://"))
	select {
	case <-ctx.Done():
	case <-node.Done():
	}
	return node.Close()
}

// process is a node or a wallet under test. It keeps its address over restarts.
type process struct {
	t     *testing.T
	role  string
	args  []string
	cmd   *exec.Cmd
	log   bytes.Buffer // standard error of all lives, complete after kill
	ready ready
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0], p.args...)
	p.cmd.Env = append(os.Environ(), role+"="+p.role)
	p.cmd.Stderr = &p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		p.cmd.Wait()
		p.t.Fatalf("%s ended before it was ready: %s", p.role, p.log.String())
	}
	if err := json.Unmarshal(line, &p.ready); err != nil || !p.ready.Ready {
		p.t.Fatalf("%s: ready line %q: %v", p.role, line, err)
	}
}

// kill ends the process as a crash would.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
	for _, bad := range []string{"DATA RACE", "panic:"} {
		if text := p.log.String(); strings.Contains(text, bad) {
			p.t.Errorf("%s: %s", p.role, text)
			p.log.Reset()
		}
	}
}

// world is a chain and two wallets, each in a process of its own.
type world struct {
	t     *testing.T
	node  *process
	a, b  *holder
	asset coin.Asset
}

// holder is a wallet's process and a client of it.
type holder struct {
	*process
	wallet.Wallet
	data string
}

// newWorld starts a chain with a block every period while there is something to
// put in it, and its wallets.
func newWorld(t *testing.T, period string) *world {
	t.Helper()
	folder := t.TempDir()
	x := &world{t: t}
	x.node = &process{t: t, role: "node", args: []string{filepath.Join(folder, "chain"), "127.0.0.1:0", period}}
	x.node.start()
	x.node.args[1] = x.node.ready.Listen
	t.Cleanup(x.node.kill)
	x.a = newHolder(t, filepath.Join(folder, "a"), x.node.ready.Listen)
	x.b = newHolder(t, filepath.Join(folder, "b"), x.node.ready.Listen)
	d, err := x.a.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !d.Node.Reachable {
		t.Fatalf("the wallet does not reach its node: %s", d.Node.Problem)
	}
	x.asset = d.Assets[0].Asset
	return x
}

func newHolder(t *testing.T, data, node string) *holder {
	t.Helper()
	config := data + ".toml"
	text := fmt.Sprintf("listen = %q\ndata = %q\nnode = \"http://%s\"\nchain_id = %d\nconfirmations = 2\nresend = \"50ms\"\n",
		"unix:"+data+".sock", data, node, devnet.DefaultChainID)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h := &holder{process: &process{t: t, role: "wallet", args: []string{"--config", config}}, data: data}
	h.start()
	t.Cleanup(h.kill)
	w, err := wallet.Dial(h.ready.Listen)
	if err != nil {
		t.Fatal(err)
	}
	h.Wallet = w
	return h
}

// rpc calls a method of the node.
func (x *world) rpc(result any, method string, params ...any) {
	x.t.Helper()
	if err := callNode(x.node.ready.Listen, result, method, params...); err != nil {
		x.t.Fatal(err)
	}
}

// give pays from the node's faucet.
func (x *world) give(to string, gwei int64) {
	x.t.Helper()
	var hash common.Hash
	x.rpc(&hash, "dev_fund", to, fmt.Sprintf("0x%x", new(big.Int).Mul(big.NewInt(gwei), big.NewInt(1e9))))
}

// wei returns what an address has at the best block.
func (x *world) wei(address string) *big.Int {
	x.t.Helper()
	var text string
	x.rpc(&text, "eth_getBalance", address, "latest")
	v, ok := new(big.Int).SetString(text, 0)
	if !ok {
		x.t.Fatalf("balance %q", text)
	}
	return v
}

type testKey struct {
	wallet.SweepKey
	address string
}

func newKeys(t *testing.T, n int) []testKey {
	t.Helper()
	keys := make([]testKey, n)
	for i := range keys {
		k, err := crypto.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = testKey{
			wallet.SweepKey{Private: wallet.PrivateKey(crypto.FromECDSA(k)), Public: crypto.CompressPubkey(&k.PublicKey)},
			crypto.PubkeyToAddress(k.PublicKey).Hex(),
		}
	}
	return keys
}

func gwei(n uint64) coin.Amount {
	v, err := coin.NewAmount(n).Times(1e9)
	if err != nil {
		panic(err)
	}
	return v
}

// eventually tries f until it returns nil.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for start := time.Now(); time.Since(start) < 20*time.Second; time.Sleep(20 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// confirmed waits until all transactions are mined.
func (x *world) confirmed(txs []wallet.Tx) {
	x.t.Helper()
	for _, tx := range txs {
		eventually(x.t, "transaction "+string(tx.ID), func() error {
			s, err := x.a.Transaction(x.t.Context(), x.asset, tx.ID)
			if err == nil && s.State != wallet.TxConfirmed {
				err = errors.New(s.State.String())
			}
			return err
		})
	}
}

// TestKills pays and sweeps while both processes are killed again and again, as often as
// it takes to have been killed before and after a broadcast. In the end every
// payment was made exactly once and every swept address is empty.
func TestKills(t *testing.T) {
	x := newWorld(t, "30ms")
	x.give(x.a.ready.Address, 1e9)
	const rounds = 8
	var keys []testKey
	for round := range rounds {
		batch := newKeys(t, 5)
		keys = append(keys, batch...)
		fund := wallet.FundRequest{Asset: x.asset, ID: fmt.Sprintf("fund-%d", round), MaxFee: gwei(1e7)}
		for _, k := range batch {
			fund.Payments = append(fund.Payments, wallet.Payment{Address: k.address, Amount: gwei(1e6)})
		}
		victim := x.a.process
		if round%2 == 1 {
			victim = x.node
		}
		go func() {
			time.Sleep(time.Duration(round*round) * 2 * time.Millisecond)
			victim.cmd.Process.Kill()
		}()
		var first wallet.Funding
		if f, err := x.a.Fund(t.Context(), fund); err == nil {
			first = f
		} else if !open(err) {
			t.Fatalf("round %d: fund: %v", round, err)
		}
		victim.cmd.Wait()
		victim.start()
		var again wallet.Funding
		eventually(t, "fund again", func() (err error) {
			again, err = x.a.Fund(t.Context(), fund)
			return err
		})
		for i := range first.Txs {
			if first.Txs[i] != again.Txs[i] {
				t.Errorf("round %d: transaction %d was %v, is %v after the crash", round, i, first.Txs[i], again.Txs[i])
			}
		}
		x.confirmed(again.Txs)
	}
	for _, k := range keys {
		if got := x.wei(k.address); got.Cmp(big.NewInt(1e15)) != 0 {
			t.Errorf("%s has %v wei, want 10^15: paid once", k.address, got)
		}
	}

	for round := range rounds {
		sweep := wallet.SweepRequest{Asset: x.asset, ID: fmt.Sprintf("sweep-%d", round), MaxFee: gwei(1e7)}
		for _, k := range keys[5*round : 5*round+5] {
			sweep.Keys = append(sweep.Keys, k.SweepKey)
		}
		victim := x.a.process
		if round%2 == 1 {
			victim = x.node
		}
		go func() {
			time.Sleep(time.Duration(round*round) * 2 * time.Millisecond)
			victim.cmd.Process.Kill()
		}()
		if _, err := x.a.Sweep(t.Context(), sweep); err != nil && !open(err) {
			t.Fatalf("round %d: sweep: %v", round, err)
		}
		victim.cmd.Wait()
		victim.start()
		var swept wallet.Sweep
		eventually(t, "sweep again", func() (err error) {
			swept, err = x.a.Sweep(t.Context(), sweep)
			return err
		})
		for i, k := range swept.Keys {
			if k.Err != nil {
				t.Errorf("round %d: key %d: %v", round, i, k.Err)
			}
		}
		x.confirmed(swept.Txs)
	}
	for _, k := range keys {
		if got := x.wei(k.address); got.Sign() != 0 {
			t.Errorf("%s still has %v wei", k.address, got)
		}
	}
	x.noSecrets(keys)
}

// open reports that an error leaves open what happened: the other end went away.
func open(err error) bool {
	return errors.Is(err, wallet.ErrUnreachable) || errors.Is(err, context.Canceled)
}

// noSecrets looks for private keys in everything that the wallet wrote.
func (x *world) noSecrets(keys []testKey) {
	x.t.Helper()
	x.a.kill()
	own, err := os.ReadFile(filepath.Join(x.a.data, "wallet.key"))
	if err != nil {
		x.t.Fatal(err)
	}
	written := map[string][]byte{"the log": x.a.log.Bytes()}
	entries, err := os.ReadDir(x.a.data)
	if err != nil {
		x.t.Fatal(err)
	}
	for _, e := range entries {
		if written[e.Name()], err = os.ReadFile(filepath.Join(x.a.data, e.Name())); err != nil {
			x.t.Fatal(err)
		}
	}
	for name, content := range written {
		if name != "wallet.key" && bytes.Contains(content, bytes.TrimSpace(own)) {
			x.t.Errorf("%s shows the wallet's key", name)
		}
		for _, k := range keys {
			if bytes.Contains(content, []byte(fmt.Sprintf("%x", k.Private[:]))) || bytes.Contains(content, k.Private[:]) {
				x.t.Errorf("%s shows a swept key", name)
			}
		}
	}
}
