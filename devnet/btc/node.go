// Package btc runs btcd as a Bitcoin node for development, on a regtest chain of
// its own that restarts and crashes keep.
//
// btcd is a process of its own, a child. It writes its chain to disk every five
// minutes only (database/ffldb, defaultFlushSecs), so a killed btcd forgets
// blocks that wallets have already seen. Therefore a Node keeps a journal of
// blocks and gives them back to a btcd that has lost them. What is in the
// pool is not kept: that wallets offer again what was not mined is their duty.
package btc

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
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

	"github.com/gofrs/flock"

	"latchkey/coin"
	"latchkey/wallet"
	walletbtc "latchkey/wallet/btc"
	"latchkey/wallet/btc/rpc"
)

// Config says how a node runs.
type Config struct {
	Btcd    string        // path of the program btcd
	Data    string        // folder of chain, journal, faucet key and password
	RPC     string        // loopback address of btcd's RPC; empty = a free port, kept from then on
	P2P     string        // loopback address for other nodes; likewise
	Period  time.Duration // between blocks while nothing waits; 0 = none
	Quick   time.Duration // from a transaction to its block; 0 = none
	Initial int           // blocks of a new chain; the first 100 are never spendable
}

// Defaults of the command.
const (
	DefaultInitial = 110
	DefaultQuick   = 200 * time.Millisecond
)

const (
	startTime = 20 * time.Second       // until btcd's RPC must answer
	lookEvery = 100 * time.Millisecond // at the pool, and whether btcd lives
)

// A Node is a running btcd, its journal and its faucet. Its methods may be
// called at the same time; they take turns.
type Node struct {
	cfg    Config
	rpc    *rpc.Client
	user   string
	pass   string
	lock   *flock.Flock
	faucet *walletbtc.Wallet

	mu      sync.Mutex // owns what follows
	journal *journal
	child   *child
}

// Start starts btcd, restores its chain from the journal, and mines the first
// blocks of a new chain. It returns when the node is ready.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	data, err := filepath.Abs(cfg.Data) // btcd is told it, and so are programs elsewhere
	if err == nil {
		cfg.Data = data
		err = os.MkdirAll(data, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	lock := flock.New(filepath.Join(cfg.Data, "lock"))
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock the data folder %s: %w", cfg.Data, err)
	case !ok:
		return nil, fmt.Errorf("data folder %s: another process has it", cfg.Data)
	}
	n := &Node{cfg: cfg, lock: lock, user: "devnet"}
	if err := n.start(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) start(ctx context.Context) error {
	if err := n.keepSettings(); err != nil {
		return err
	}
	n.rpc = rpc.New("http://"+n.cfg.RPC, n.user, n.pass)
	faucet, err := walletbtc.Open(walletbtc.Config{
		Data: filepath.Join(n.cfg.Data, "faucet"), Node: "http://" + n.cfg.RPC, User: n.user, Password: n.pass,
		Network: "regtest", Confirmations: 1, MaxRate: walletbtc.DefaultMaxRate, Resend: walletbtc.DefaultResend,
	})
	if err != nil {
		return fmt.Errorf("faucet: %w", err)
	}
	n.faucet = faucet
	if n.journal, err = openJournal(filepath.Join(n.cfg.Data, "blocks.log")); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.launch(ctx); err != nil {
		return err
	}
	height, err := n.height(ctx)
	if err != nil {
		return err
	}
	if missing := n.cfg.Initial - int(height); missing > 0 {
		return n.mine(ctx, missing)
	}
	return nil
}

// settings are what a node keeps across restarts.
type settings struct {
	RPC string `json:"rpc"`
	P2P string `json:"p2p"`
}

// keepSettings chooses ports and password at the first start, and finds them
// again at the others.
func (n *Node) keepSettings() error {
	path := filepath.Join(n.cfg.Data, "settings.json")
	var have settings
	if raw, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(raw, &have); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("settings: %w", err)
	}
	for _, a := range []struct {
		want *string
		kept string
	}{{&n.cfg.RPC, have.RPC}, {&n.cfg.P2P, have.P2P}} {
		if *a.want == "" {
			*a.want = a.kept
		}
		if *a.want == "" {
			free, err := freeAddress()
			if err != nil {
				return err
			}
			*a.want = free
		}
		host, _, err := net.SplitHostPort(*a.want)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			return fmt.Errorf("address %q: want a loopback address with a port, such as 127.0.0.1:18334", *a.want)
		}
	}
	raw, err := json.Marshal(settings{RPC: n.cfg.RPC, P2P: n.cfg.P2P})
	if err != nil {
		return err
	}
	if err := replaceFile(path, raw); err != nil {
		return err
	}
	password, err := os.ReadFile(n.PasswordFile())
	if errors.Is(err, os.ErrNotExist) {
		var b [16]byte
		if _, err := rand.Read(b[:]); err != nil {
			return fmt.Errorf("make a password: %w", err)
		}
		password = hex.AppendEncode(nil, b[:])
		err = replaceFile(n.PasswordFile(), password)
	}
	if err != nil {
		return fmt.Errorf("password: %w", err)
	}
	n.pass = strings.TrimSpace(string(password))
	if n.pass == "" {
		return fmt.Errorf("password file %s is empty", n.PasswordFile())
	}
	return nil
}

// freeAddress chooses a port below those that systems give to outgoing
// connections: one of those could be taken whenever the node is down.
func freeAddress() (string, error) {
	var err error
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 18_500+mathrand.IntN(13_000))
		var l net.Listener
		if l, err = net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}

// waitFree returns nil when nobody listens at an address. The btcd of a killed
// predecessor may take a moment to die.
func waitFree(address string) error {
	for wait := 10 * time.Millisecond; ; wait *= 2 {
		l, err := net.Listen("tcp", address)
		if err == nil {
			return l.Close()
		}
		if wait > time.Second {
			return fmt.Errorf("btcd: %w", err)
		}
		time.Sleep(wait)
	}
}

func replaceFile(path string, content []byte) error {
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// RPC returns the URL of btcd's RPC.
func (n *Node) RPC() string { return "http://" + n.cfg.RPC }

// P2P returns the address at which other nodes connect.
func (n *Node) P2P() string { return n.cfg.P2P }

// User returns the user of btcd's RPC.
func (n *Node) User() string { return n.user }

// PasswordFile returns the path of the file that holds the password of btcd's
// RPC.
func (n *Node) PasswordFile() string { return filepath.Join(n.cfg.Data, "rpc.password") }

// Faucet returns the address that blocks are mined to.
func (n *Node) Faucet() string { return n.faucet.Address() }

// launch starts btcd and restores the blocks that it has lost.
func (n *Node) launch(ctx context.Context) error {
	c, err := startBtcd(n.cfg, n.user, n.pass, n.faucet.Address())
	if err != nil {
		return err
	}
	n.child = c
	limit, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		_, err := n.height(limit)
		if err == nil {
			break
		}
		select {
		case <-c.gone:
			return fmt.Errorf("btcd ended at its start: %s", c.why())
		case <-limit.Done():
			return fmt.Errorf("btcd does not answer within %v: %w", startTime, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	// Another process may hold the port and answer: ours must live.
	select {
	case <-c.gone:
		return fmt.Errorf("btcd ended at its start: %s", c.why())
	default:
	}
	return n.journal.restore(ctx, n.rpc)
}

// Height returns the number of the best block. When it returns, that block
// outlives a crash.
func (n *Node) Height(ctx context.Context) (int64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.journal.follow(ctx, n.rpc); err != nil {
		return 0, err
	}
	return n.height(ctx)
}

func (n *Node) height(ctx context.Context) (int64, error) {
	var h int64
	err := n.rpc.Call(ctx, &h, "getblockcount")
	return h, err
}

// mine mines blocks of what is in the pool and journals them.
func (n *Node) mine(ctx context.Context, blocks int) error {
	for blocks > 0 {
		some := min(blocks, 50)
		if err := n.rpc.Call(ctx, nil, "generate", some); err != nil {
			return fmt.Errorf("mine: %w", err)
		}
		blocks -= some
	}
	return n.journal.follow(ctx, n.rpc)
}

// Mine mines n blocks; the first takes what is in the pool. When it returns,
// they outlive a crash.
func (n *Node) Mine(ctx context.Context, blocks int) (height int64, err error) {
	if blocks < 1 || blocks > 1000 {
		return 0, fmt.Errorf("mine %d blocks: want 1 to 1000", blocks)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.mine(ctx, blocks); err != nil {
		return 0, err
	}
	return n.height(ctx)
}

// Fund pays from the faucet. The payment waits in the pool for a block.
func (n *Node) Fund(ctx context.Context, to string, amount coin.Amount) (wallet.TxID, error) {
	d, err := n.faucet.Describe(ctx)
	if err != nil {
		return "", err
	}
	asset := d.Assets[0].Asset
	fee, err := n.faucet.Fee(ctx, asset, 1, 0)
	if err != nil {
		return "", err
	}
	most, err := fee.Fund.Times(100) // of regtest coins in however many pieces
	if err != nil {
		return "", err
	}
	var id [12]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", err
	}
	f, err := n.faucet.Fund(ctx, wallet.FundRequest{
		Asset: asset, ID: "faucet-" + hex.EncodeToString(id[:]), MaxFee: most,
		Payments: []wallet.Payment{{Address: to, Amount: amount}},
	})
	if err != nil {
		return "", fmt.Errorf("faucet: %w", err)
	}
	return f.Txs[0].ID, nil
}

// Run mines as configured and starts btcd again when it has died, until ctx
// ends. Trouble that may pass is told, and tried again.
func (n *Node) Run(ctx context.Context, tell func(error)) {
	offered := make(chan struct{})
	go func() {
		defer close(offered)
		n.faucet.Run(ctx) // what a killed btcd forgot of the faucet's payments
	}()
	defer func() { <-offered }()
	var waiting, last time.Time // since when something is in the pool; of the last block
	last = time.Now()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := n.look(ctx, &waiting, &last)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			said = ""
		case err.Error() != said:
			said = err.Error()
			tell(err)
		}
	}
}

func (n *Node) look(ctx context.Context, waiting, last *time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.child.gone:
		if err := n.launch(ctx); err != nil {
			return fmt.Errorf("start btcd again: %w", err)
		}
	default:
	}
	if err := n.journal.follow(ctx, n.rpc); err != nil {
		return err
	}
	if n.cfg.Quick > 0 {
		var pool struct {
			Size int `json:"size"`
		}
		if err := n.rpc.Call(ctx, &pool, "getmempoolinfo"); err != nil {
			return err
		}
		switch {
		case pool.Size == 0:
			*waiting = time.Time{}
		case waiting.IsZero():
			*waiting = time.Now()
		}
	}
	due := !waiting.IsZero() && time.Since(*waiting) >= n.cfg.Quick
	if due || n.cfg.Period > 0 && time.Since(*last) >= n.cfg.Period {
		*waiting, *last = time.Time{}, time.Now()
		return n.mine(ctx, 1)
	}
	return nil
}

// Close stops btcd and gives the data folder free.
func (n *Node) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var err error
	if n.child != nil {
		err = n.child.stop(n.rpc)
	}
	if n.journal != nil {
		err = errors.Join(err, n.journal.close())
	}
	if n.faucet != nil {
		err = errors.Join(err, n.faucet.Close())
	}
	return errors.Join(err, n.lock.Unlock())
}

// A child is a btcd process.
type child struct {
	cmd  *exec.Cmd
	gone chan struct{} // closed when the process has ended
	said *tail
}

// startBtcd starts the program. Password and addresses are in a file: command
// lines can be read by every user of a machine.
func startBtcd(cfg Config, user, pass, miningAddress string) (*child, error) {
	conf := filepath.Join(cfg.Data, "btcd.conf")
	text := fmt.Sprintf(`; written by devnet-btc at each start
regtest=1
datadir=%s
logdir=%s
listen=%s
rpclisten=%s
rpcuser=%s
rpcpass=%s
miningaddr=%s
notls=1
txindex=1
addrindex=1
nodnsseed=1
nobanning=1
nostalldetect=1
rejectnonstd=1
`, filepath.Join(cfg.Data, "chain"), filepath.Join(cfg.Data, "logs"), cfg.P2P, cfg.RPC, user, pass, miningAddress)
	if err := replaceFile(conf, []byte(text)); err != nil {
		return nil, err
	}
	for _, address := range []string{cfg.RPC, cfg.P2P} { // btcd itself would say it in its log only
		if err := waitFree(address); err != nil {
			return nil, err
		}
	}
	c := &child{cmd: exec.Command(cfg.Btcd, "--configfile="+conf), gone: make(chan struct{}), said: new(tail)}
	c.cmd.Stdout, c.cmd.Stderr = c.said, c.said
	bindLife(c.cmd)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start btcd: %w", err)
	}
	go func() {
		_ = c.cmd.Wait() // how it ended does not matter: nothing but its end does
		close(c.gone)
	}()
	return c, nil
}

// stop asks btcd to stop, which takes it about a second, and kills it if that
// does not help.
func (c *child) stop(r *rpc.Client) error {
	select {
	case <-c.gone:
		return nil
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = r.Call(ctx, nil, "stop")
	select {
	case <-c.gone:
		return nil
	case <-time.After(5 * time.Second):
	}
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill btcd: %w", err)
	}
	<-c.gone
	return nil
}

func (c *child) why() string {
	if line := c.said.lastError(); line != "" {
		return line
	}
	return c.cmd.ProcessState.String()
}

// A tail keeps the last lines that a process said.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if extra := len(t.text) - 8192; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(p), nil
}

// lastError returns the last line that btcd logged as an error, or else its
// last line.
func (t *tail) lastError() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, lastErr := "", ""
	for s := bufio.NewScanner(bytes.NewReader(t.text)); s.Scan(); {
		if line := strings.TrimSpace(s.Text()); line != "" {
			last = line
			if strings.Contains(line, "[ERR]") {
				lastErr = line
			}
		}
	}
	if lastErr != "" {
		return lastErr
	}
	return last
}
