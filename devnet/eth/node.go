// Package eth runs a real Ethereum node for development: go-ethereum's own node,
// state machine, transaction pool and HTTP RPC over a chain of its own in a data
// folder, with a block producer in place of a consensus client.
//
// It is for demonstrations and tests on one machine. It has no peers, it listens
// on loopback only, and everybody who reaches its RPC may take coins from its
// faucet and reorganise its chain.
//
// # What a restart keeps
//
// A block is on disk before anybody can see it: see [Node.seal]. So whatever the
// RPC once reported as mined is still mined after kill -9, and transactions that
// were accepted but not mined come back from a journal. go-ethereum's
// simulated backend goes back to genesis at every start, and its simulated beacon
// publishes a block before the database has been synced; that is why this package
// has its own producer, built on the same block building and fork choice.
package eth

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	geth "github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/eth/filters"
	"github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rpc"
)

// Defaults of [Config].
const (
	DefaultChainID = 1337
	DefaultPeriod  = 200 * time.Millisecond
	DefaultIdle    = time.Second
)

// Config says how a node runs. Data and HTTP are required; the zero value of any
// other field stands for its default.
type Config struct {
	// Data is the folder of chain and faucet key. It is created if absent and
	// belongs to one process at a time.
	Data string
	// HTTP is the loopback address of the RPC, such as 127.0.0.1:8545. Port 0
	// lets the system choose; [Node.HTTP] tells.
	HTTP string
	// ChainID is fixed by the first start; a later start with another is refused.
	ChainID uint64
	// Period is the time between blocks while transactions wait.
	Period time.Duration
	// Idle is the time between blocks while none waits, so that confirmations
	// go on. Below a second the chain's clock runs ahead of the real one, since
	// a block's time stamp counts whole seconds and must rise.
	Idle time.Duration
	// Fund lists genesis balances in wei. Like ChainID it is fixed by the first
	// start; a later start may repeat it, not change it.
	Fund map[common.Address]*big.Int
}

func (c Config) withDefaults() (Config, error) {
	if c.Data == "" {
		return Config{}, errors.New("the data folder is not set")
	}
	if err := checkLoopback(c.HTTP); err != nil {
		return Config{}, err
	}
	if c.ChainID == 0 {
		c.ChainID = DefaultChainID
	}
	if c.Period == 0 {
		c.Period = DefaultPeriod
	}
	if c.Idle == 0 {
		c.Idle = DefaultIdle
	}
	if c.Period < time.Millisecond || c.Idle < c.Period {
		return Config{}, fmt.Errorf("period %v and idle %v: want 1ms <= period <= idle", c.Period, c.Idle)
	}
	return c, nil
}

// checkLoopback refuses an address that other machines could reach.
func checkLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("http address %q: %w", addr, err)
	}
	ip := net.ParseIP(host)
	if ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("http address %q: only a loopback address such as 127.0.0.1:8545 is served", addr)
	}
	return nil
}

// Node is a running development node. Its methods are safe for concurrent use.
type Node struct {
	cfg    Config
	stack  *node.Node
	eth    *geth.Ethereum
	http   string
	faucet *ecdsa.PrivateKey

	jobs chan job      // to the producer, which alone extends the chain
	quit chan struct{} // closed by Close
	done chan struct{} // closed when the producer has ended; err is set before
	err  error
	once sync.Once

	faucetMu sync.Mutex // one faucet nonce at a time
}

// Start opens or creates the chain in cfg.Data, serves its RPC and produces
// blocks until [Node.Close] or an error of the disk, for which see [Node.Done].
// The context bounds the start only.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("start the node: %w", err)
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("create the data folder: %w", err)
	}
	stack, err := newStack(cfg)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg:   cfg,
		stack: stack,
		jobs:  make(chan job),
		quit:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	if err := n.open(ctx); err != nil {
		// After a failed start of its own the stack is closed already, and says so.
		if closed := stack.Close(); closed != nil && !errors.Is(closed, node.ErrNodeStopped) {
			err = errors.Join(err, closed)
		}
		return nil, err
	}
	go n.produce()
	return n, nil
}

// newStack locks the data folder and prepares the RPC, without opening it.
func newStack(cfg Config) (*node.Node, error) {
	host, port, err := net.SplitHostPort(cfg.HTTP)
	if err != nil {
		return nil, fmt.Errorf("http address %q: %w", cfg.HTTP, err)
	}
	portNumber, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("http address %q: %w", cfg.HTTP, err)
	}
	conf := node.DefaultConfig
	conf.Name = "devnet-eth"
	conf.DataDir = cfg.Data
	conf.P2P = p2p.Config{NoDiscovery: true, NoDial: true}
	conf.HTTPHost, conf.HTTPPort = host, int(portNumber)
	conf.HTTPModules = []string{"eth", "net", "web3", "txpool", "dev"}
	stack, err := node.New(&conf)
	if errors.Is(err, node.ErrDatadirUsed) {
		return nil, fmt.Errorf("data folder %s is in use by another process", cfg.Data)
	}
	if err != nil {
		return nil, fmt.Errorf("open data folder %s: %w", cfg.Data, err)
	}
	return stack, nil
}

// open brings the chain to the head that was last published, then opens the RPC.
func (n *Node) open(ctx context.Context) error {
	key, err := openFaucetKey(n.cfg.Data)
	if err != nil {
		return err
	}
	n.faucet = key
	genesis, err := openGenesis(n.cfg, n.Faucet())
	if err != nil {
		return err
	}
	conf := ethconfig.Defaults
	conf.Genesis = genesis
	conf.SyncMode = ethconfig.FullSync
	conf.LogNoHistory = true
	// Every block's state is written with the block. The path scheme, and
	// pruning, keep recent states in memory, so that kill -9 loses them.
	conf.StateScheme = "hash"
	conf.NoPruning = true
	conf.SnapshotCache = 0
	conf.DatabaseCache, conf.TrieCleanCache, conf.TrieDirtyCache = 32, 16, 16
	conf.DatabaseHandles = 128
	conf.TxPool.NoLocals = false
	conf.TxPool.Journal = journalFile
	conf.TxPool.AccountSlots, conf.TxPool.AccountQueue = 4096, 4096
	conf.TxPool.GlobalSlots, conf.TxPool.GlobalQueue = 16384, 16384
	backend, err := geth.New(n.stack, &conf)
	if err != nil {
		return fmt.Errorf("open the chain in %s: %w", n.cfg.Data, err)
	}
	n.eth = backend
	if got := backend.BlockChain().Config().ChainID; got.Cmp(genesis.Config.ChainID) != 0 {
		return fmt.Errorf("open the chain in %s: its id is %v, its genesis file says %v", n.cfg.Data, got, genesis.Config.ChainID)
	}
	if err := n.recoverHead(); err != nil {
		return err
	}
	backend.SetSynced()
	filterSystem := filters.NewFilterSystem(backend.APIBackend, filters.Config{})
	n.stack.RegisterAPIs([]rpc.API{
		{Namespace: "eth", Service: filters.NewFilterAPI(filterSystem)},
		{Namespace: "dev", Service: &devAPI{node: n}},
	})
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("start the node: %w", err)
	}
	waiting, err := readJournal(n.stack.ResolvePath(journalFile))
	if err != nil {
		return err
	}
	if err := n.stack.Start(); err != nil {
		return fmt.Errorf("serve the RPC at %s: %w", n.cfg.HTTP, err)
	}
	n.http = n.stack.HTTPEndpoint()
	for _, tx := range waiting {
		// What is mined already, or replaced, is refused here and so dropped.
		_ = backend.APIBackend.SendTx(ctx, tx)
	}
	return nil
}

// HTTP returns the URL of the JSON-RPC, such as http://127.0.0.1:8545.
func (n *Node) HTTP() string { return n.http }

// ChainID returns the chain's id (EIP-155).
func (n *Node) ChainID() uint64 { return n.cfg.ChainID }

// Faucet returns the address of the account that [Node.Fund] pays from.
func (n *Node) Faucet() common.Address { return crypto.PubkeyToAddress(n.faucet.PublicKey) }

// Head returns number and hash of the newest block.
func (n *Node) Head() (uint64, common.Hash) {
	head := n.eth.BlockChain().CurrentBlock()
	return head.Number.Uint64(), head.Hash()
}

// Done is closed when the node produces no more blocks: after [Node.Close], or
// because the chain could not be written, which [Node.Close] then reports.
func (n *Node) Done() <-chan struct{} { return n.done }

// Close ends block production, closes RPC and database and releases the folder.
// It returns the error that ended production, if there was one.
func (n *Node) Close() error {
	var err error
	n.once.Do(func() {
		close(n.quit)
		<-n.done
		err = errors.Join(n.err, n.stack.Close())
	})
	return err
}

// signer returns the signer for transactions of this chain.
func (n *Node) signer() types.Signer {
	return types.LatestSigner(n.eth.BlockChain().Config())
}
