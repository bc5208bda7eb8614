package devnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pelletier/go-toml/v2"

	"latchkey/client"
	"latchkey/coin"
	"latchkey/escrow"
	"latchkey/gate"
	"latchkey/head"
	"latchkey/vault/enclave/config"
)

// The two simulated TEE vendors: clients run on the first, the escrow on the
// second, so that one vendor's failure does not open both shares of a key.
const (
	clientVendor = "SIMULATED Aldine"
	escrowVendor = "SIMULATED Borealis"
	origin       = "escrow.devnet/log"
)

// Config says what world to start.
type Config struct {
	Folder  string            // empty and new, or that of an earlier world, which then goes on
	Bin     string            // where Build put the programs
	Root    string            // the project's folder, for the example contracts
	Clients []string          // names
	Funds   map[string]Amount // what each client's ordinary wallet is given, by asset
	USD     map[string]string // price of a whole coin, by asset
	Say     func(string)      // told what happens

	SnapshotEvery int64 // of the escrow's vault; 0: the usual
}

// Amount is an amount of coin as a person writes it: "0.05".
type Amount string

// A World is a running one.
type World struct {
	cfg         Config
	Clients     []string
	mu          sync.Mutex // guards Processes and byName while parts of the world start side by side
	Processes   []*Process // in the order of their start
	byName      map[string]*Process
	btcRPC      struct{ RPC, Control, User, PasswordFile string }
	ethRPC      string
	logKey      head.LogKey
	urls        map[string]string
	witnesses   []head.WitnessKey
	witnessURLs map[string]string // by the witness's name
}

// Process returns a process by its name, such as "escrow" or "alice".
func (w *World) Process(name string) *Process { return w.byName[name] }

// Socket returns where a client's host listens for its user's commands.
func (w *World) Socket(name string) string {
	return "unix:" + filepath.Join(w.cfg.Folder, name, "client.sock")
}

func (w *World) dir(name string) string { return filepath.Join(w.cfg.Folder, name) }

// process makes the entry of a program that is started with these arguments.
func (w *World) process(name, program string, args ...string) *Process {
	if err := os.MkdirAll(w.dir(name), 0o700); err != nil {
		w.cfg.Say(err.Error())
	}
	p := &Process{Name: name, Argv: append([]string{filepath.Join(w.cfg.Bin, program)}, args...), Log: filepath.Join(w.cfg.Folder, "log", name+".log")}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Processes = append(w.Processes, p)
	w.byName[name] = p
	return p
}

// crowd are the limits where everybody has the same address.
var crowd = gate.Limits{AddressRate: 20_000, AddressBurst: 20_000, StrangerRate: 100, StrangerBurst: 1000, AddressConnections: 1024}

// freePort returns a loopback address that nobody uses at the moment. It is not one
// that the system gives to outgoing connections: those would take it while the
// process that listens there is dead.
func freePort() (string, error) {
	var last error
	for range 100 {
		var l net.Listener
		if l, last = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+mathrand.IntN(20_000))); last == nil {
			defer l.Close()
			return l.Addr().String(), nil
		}
	}
	return "", last
}

// Start starts a new world. On error, what was started is stopped.
func Start(ctx context.Context, cfg Config) (w *World, err error) {
	w = &World{cfg: cfg, Clients: cfg.Clients, byName: map[string]*Process{}, urls: map[string]string{}, witnessURLs: map[string]string{}}
	defer func() {
		if err != nil {
			w.Stop()
			w = nil
		}
	}()
	for _, d := range []string{"log", "run"} {
		if err := os.MkdirAll(filepath.Join(cfg.Folder, d), 0o700); err != nil {
			return w, err
		}
	}
	if err := w.makeTrust(); err != nil {
		return w, err
	}
	// Chains and custody start side by side.
	chains := make(chan error, 1)
	custody := make(chan error, 1)
	go func() { chains <- w.startChains(ctx) }()
	go func() { custody <- w.startCustody(ctx) }()
	if err := errors.Join(<-chains, <-custody); err != nil {
		return w, err
	}
	if err := w.startSwitchboard(ctx); err != nil {
		return w, err
	}
	if err := w.startClients(ctx); err != nil {
		return w, err
	}
	for _, p := range w.Processes {
		if _, err := p.script(filepath.Join(cfg.Folder, "run")); err != nil {
			return w, err
		}
	}
	return w, nil
}

// Stop ends all processes, the last started first.
func (w *World) Stop() {
	var stopping sync.WaitGroup
	for i := len(w.Processes) - 1; i >= 0; i-- {
		stopping.Go(func() { _ = w.Processes[i].Stop(3 * time.Second) })
	}
	stopping.Wait()
}

func write(path string, v any) error {
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(v); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// makeTrust makes the simulated vendors and platforms, and the one policy that
// all parties pin.
func (w *World) makeTrust() error {
	trust := w.dir("trust")
	err := Simulate(trust, filepath.Join(w.cfg.Bin, "vault"), []Vendor{{clientVendor, w.cfg.Clients}, {escrowVendor, []string{"escrow"}}})
	for _, home := range append([]string{"escrow"}, w.cfg.Clients...) {
		if err == nil {
			err = os.MkdirAll(w.dir(home), 0o700)
		}
		if err == nil {
			err = os.Rename(filepath.Join(trust, home+".json"), filepath.Join(w.dir(home), "platform.json"))
		}
	}
	return err
}

func (w *World) vaultFile(name, role string) config.File {
	f := config.File{
		Role: role, Socket: filepath.Join(w.dir(name), "vault.sock"), Platform: filepath.Join(w.dir(name), "platform.json"),
		Policy: filepath.Join(w.dir("trust"), "policy.toml"), Origin: origin, Witnesses: w.witnesses, Quorum: 3, Faulty: 1,
	}
	if role == "owner" {
		f.LogKey = &w.logKey
	} else {
		f.SnapshotEvery = w.cfg.SnapshotEvery
	}
	return f
}

// startCustody starts four witnesses, of whom three are a quorum, and the escrow.
func (w *World) startCustody(ctx context.Context) error {
	type entry struct {
		Name   string   `toml:"name"`
		Listen string   `toml:"listen"`
		Data   string   `toml:"data"`
		Logs   []string `toml:"logs"`
	}
	var entries []entry
	var ours []escrow.WitnessEntry
	for i := range 4 {
		listen, err := freePort()
		if err != nil {
			return err
		}
		name := fmt.Sprintf("witness%d", i+1)
		if err := os.MkdirAll(w.dir(name), 0o700); err != nil {
			return err
		}
		e := entry{Name: name + ".devnet", Listen: listen, Data: "data", Logs: []string{}}
		if err := write(filepath.Join(w.dir(name), "witness.toml"), e); err != nil {
			return err
		}
		out, err := exec.CommandContext(ctx, filepath.Join(w.cfg.Bin, "witness"), "init", "--config", filepath.Join(w.dir(name), "witness.toml")).Output()
		if err != nil {
			return fmt.Errorf("witness init: %w", err)
		}
		k, err := head.ParseWitnessKey(strings.TrimSpace(string(out)))
		if err != nil {
			return fmt.Errorf("witness init printed %.100q: %w", out, err)
		}
		w.witnesses = append(w.witnesses, k)
		w.witnessURLs[k.Name()] = "http://" + listen
		ours = append(ours, escrow.WitnessEntry{Key: k, URL: "http://" + listen})
		entries = append(entries, e)
	}
	listen, err := freePort()
	if err != nil {
		return err
	}
	if err := write(filepath.Join(w.dir("escrow"), "vault.toml"), w.vaultFile("escrow", "escrow")); err != nil {
		return err
	}
	if err := write(filepath.Join(w.dir("escrow"), "escrow.toml"), escrow.File{
		Listen: listen, Data: "data", Socket: "vault.sock", Origin: origin, Quorum: 3, Faulty: 1, Witnesses: ours,
		Vault:  []string{filepath.Join(w.cfg.Bin, "vault"), "--config", filepath.Join(w.dir("escrow"), "vault.toml")},
		Tables: gate.Tables{Limits: crowd},
	}); err != nil {
		return err
	}
	var ready struct {
		LogKey head.LogKey `json:"log_key"`
	}
	if err := w.process("escrow", "escrow", "--config", filepath.Join(w.dir("escrow"), "escrow.toml")).Start(ctx, &ready); err != nil {
		return err
	}
	w.logKey, w.urls["escrow"] = ready.LogKey, "http://"+listen
	for i, e := range entries {
		name := fmt.Sprintf("witness%d", i+1)
		e.Logs = []string{w.logKey.String()}
		path := filepath.Join(w.dir(name), "witness.toml")
		if err := write(path, e); err != nil {
			return err
		}
		if err := w.process(name, "witness", "run", "--config", path).Start(ctx, nil); err != nil {
			return err
		}
	}
	w.cfg.Say("escrow and four witnesses are up")
	return nil
}

// startChains starts a Bitcoin and an Ethereum node.
func (w *World) startChains(ctx context.Context) error {
	var btc struct {
		RPC          string `json:"rpc"`
		Control      string `json:"control"`
		User         string `json:"user"`
		PasswordFile string `json:"password_file"`
	}
	control, err := freePort()
	if err != nil {
		return err
	}
	p := w.process("btc-node", "devnet-btc", "--data", filepath.Join(w.dir("btc-node"), "data"), "--btcd", filepath.Join(w.cfg.Bin, "btcd"), "--control", control)
	if err := p.Start(ctx, &btc); err != nil {
		return err
	}
	w.btcRPC.RPC, w.btcRPC.Control, w.btcRPC.User, w.btcRPC.PasswordFile = btc.RPC, btc.Control, btc.User, btc.PasswordFile
	w.cfg.Say("Bitcoin node is up (btcd, regtest)")
	listen, err := freePort()
	if err != nil {
		return err
	}
	var eth struct {
		HTTP string `json:"http"`
	}
	p = w.process("eth-node", "devnet-eth", "--data", filepath.Join(w.dir("eth-node"), "data"), "--http", listen)
	if err := p.Start(ctx, &eth); err != nil {
		return err
	}
	w.ethRPC = eth.HTTP
	w.cfg.Say("Ethereum node is up (go-ethereum, simulated beacon)")
	return nil
}

// Fund pays from a node's faucet.
func (w *World) Fund(ctx context.Context, asset, address string, amount Amount) error {
	var cmd *exec.Cmd
	switch asset {
	case "btc":
		cmd = exec.CommandContext(ctx, filepath.Join(w.cfg.Bin, "devnet-btc"), "fund", "--control", w.btcRPC.Control, "--to", address, "--amount", string(amount))
	case "eth":
		cmd = exec.CommandContext(ctx, filepath.Join(w.cfg.Bin, "devnet-eth"), "fund", "--rpc", w.ethRPC, "--to", address, "--amount", string(amount)+"eth")
	default:
		return fmt.Errorf("no faucet for %s", asset)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fund %s with %s %s: %w: %s", address, amount, asset, err, bytes.TrimSpace(out))
	}
	return nil
}

// startSwitchboard starts the market.
func (w *World) startSwitchboard(ctx context.Context) error {
	if err := os.MkdirAll(w.dir("switchboard"), 0o700); err != nil {
		return err
	}
	listen, err := freePort()
	if err != nil {
		return err
	}
	w.urls["switchboard"] = "http://" + listen
	prices := filepath.Join(w.dir("switchboard"), "rates.toml")
	if err := write(prices, map[string]any{"always_fresh": true, "usd": w.cfg.USD}); err != nil {
		return err
	}
	path := filepath.Join(w.dir("switchboard"), "switchboard.toml")
	if err := write(path, w.switchboardFile(listen, prices)); err != nil {
		return err
	}
	if err := w.process("switchboard", "switchboard", "--config", path).Start(ctx, nil); err != nil {
		return err
	}
	w.cfg.Say("switchboard is up")
	return nil
}

// startClients starts each client's connectors and host, side by side.
func (w *World) startClients(ctx context.Context) error {
	type job struct {
		name    string
		btc     *Process
		eth     *Process
		host    *Process
		file    client.File
		btcDone struct{ Address string }
		ethDone struct{ Address string }
	}
	var jobs []*job
	for _, name := range w.cfg.Clients {
		j := &job{name: name}
		dir := w.dir(name)
		btcSock, ethSock := "unix:"+filepath.Join(dir, "btc.sock"), "unix:"+filepath.Join(dir, "eth.sock")
		if err := write(filepath.Join(dir, "wallet-btc.toml"), map[string]any{
			"listen": btcSock, "data": filepath.Join(dir, "btc"), "node": w.btcRPC.RPC, "node_user": w.btcRPC.User,
			"node_password_file": w.btcRPC.PasswordFile, "network": "regtest", "confirmations": 1, "resend": "300ms",
		}); err != nil {
			return err
		}
		if err := write(filepath.Join(dir, "wallet-eth.toml"), map[string]any{
			"listen": ethSock, "data": filepath.Join(dir, "eth"), "node": w.ethRPC, "chain_id": 1337, "confirmations": 1, "resend": "300ms",
		}); err != nil {
			return err
		}
		if err := write(filepath.Join(dir, "vault.toml"), w.vaultFile(name, "owner")); err != nil {
			return err
		}
		j.file = client.File{
			Name: name, Listen: w.Socket(name), Data: "data", Socket: "vault.sock",
			Vault:  []string{filepath.Join(w.cfg.Bin, "vault"), "--config", filepath.Join(dir, "vault.toml")},
			Escrow: w.urls["escrow"], Switchboard: w.urls["switchboard"], PollMs: 100,
			Wallets: []client.WalletEntry{{Asset: coin.AssetID("btc"), URL: btcSock}, {Asset: coin.AssetID("eth"), URL: ethSock}},
		}
		if err := write(filepath.Join(dir, "client.toml"), j.file); err != nil {
			return err
		}
		j.btc = w.process(name+"-btc", "wallet-btc", "--config", filepath.Join(dir, "wallet-btc.toml"))
		j.eth = w.process(name+"-eth", "wallet-eth", "--config", filepath.Join(dir, "wallet-eth.toml"))
		j.host = w.process(name, "client", "--config", filepath.Join(dir, "client.toml"))
		jobs = append(jobs, j)
	}
	results := make(chan error, len(jobs))
	for _, j := range jobs {
		go func() {
			err := j.btc.Start(ctx, &j.btcDone)
			if err == nil {
				err = j.eth.Start(ctx, &j.ethDone)
			}
			if err == nil {
				err = j.host.Start(ctx, nil)
			}
			results <- err
		}()
	}
	var failed error
	for range jobs {
		failed = errors.Join(failed, <-results)
	}
	if failed != nil {
		return failed
	}
	w.cfg.Say(fmt.Sprintf("%d clients are up, each with a vault and two wallets", len(jobs)))
	for _, j := range jobs {
		for asset, address := range map[string]string{"btc": j.btcDone.Address, "eth": j.ethDone.Address} {
			if amount, ok := w.cfg.Funds[asset]; ok {
				if err := w.Fund(ctx, asset, address, amount); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Faucets returns the commands that pay from the nodes' faucets.
func (w *World) Faucets() []string {
	bin := func(name string) string { return filepath.Join(w.cfg.Bin, name) }
	return []string{
		fmt.Sprintf("%s fund --control %s --to ADDRESS --amount 0.01", bin("devnet-btc"), w.btcRPC.Control),
		fmt.Sprintf("%s fund --rpc %s --to ADDRESS --amount 1eth", bin("devnet-eth"), w.ethRPC),
	}
}
