package main

import (
	"bufio"
	"context"
	"encoding/json"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
)

// asCommand makes the test binary behave as the command, so that tests can kill it.
const asCommand = "DEVNET_ETH_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) == "" {
		os.Exit(m.Run())
	}
	main()
}

type process struct {
	cmd    *exec.Cmd
	ready  ready
	client *ethclient.Client
}

// launch starts the command and waits until it says that it is ready.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"--http", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("the node ended before it was ready: %v", err)
	}
	p := &process{cmd: cmd}
	if err := json.Unmarshal(line, &p.ready); err != nil || !p.ready.Ready {
		t.Fatalf("ready line %q: %v", line, err)
	}
	if p.client, err = ethclient.DialContext(t.Context(), p.ready.HTTP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.client.Close)
	return p
}

// end sends a signal and waits for the process.
func (p *process) end(t *testing.T, signal syscall.Signal) error {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	return p.cmd.Wait()
}

// TestKillLosesNothingReported kills the node at random moments while one client pays
// from the faucet and another watches the head. Every block and every payment that
// was ever reported must be there after the next start.
func TestKillLosesNothingReported(t *testing.T) {
	data := t.TempDir()
	to := common.Address{0x77}
	seen := make(map[uint64]common.Hash)
	var paid []common.Hash
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		p := launch(t, "--data", data, "--period", "3ms", "--idle", "3ms")
		ctx, cancel := context.WithCancel(t.Context())
		var both sync.WaitGroup
		both.Go(func() { // pays until the node dies
			for ctx.Err() == nil {
				var hash common.Hash
				if err := p.client.Client().CallContext(ctx, &hash, "dev_fund", to, (*hexutil.Big)(big.NewInt(1))); err != nil {
					return
				}
				paid = append(paid, hash)
			}
		})
		both.Go(func() { // notes every head until the node dies
			for ctx.Err() == nil {
				header, err := p.client.HeaderByNumber(ctx, nil)
				if err != nil {
					return
				}
				seen[header.Number.Uint64()] = header.Hash()
			}
		})
		time.Sleep(time.Duration(100+rand.IntN(400)) * time.Millisecond)
		p.end(t, syscall.SIGKILL)
		both.Wait()
		cancel()
		check(t, data, round, to, seen, paid)
	}
	if len(paid) < rounds || len(seen) < rounds {
		t.Errorf("only %d payments and %d heads were seen: the test saw too little", len(paid), len(seen))
	}
	t.Logf("%d heads and %d payments over %d kills", len(seen), len(paid), rounds)
}

func check(t *testing.T, data string, round int, to common.Address, seen map[uint64]common.Hash, paid []common.Hash) {
	t.Helper()
	p := launch(t, "--data", data, "--period", "1h", "--idle", "1h")
	for number, want := range seen {
		header, err := p.client.HeaderByNumber(t.Context(), new(big.Int).SetUint64(number))
		if err != nil {
			t.Fatalf("round %d: block %d was seen, and now: %v", round, number, err)
		}
		if header.Hash() != want {
			t.Fatalf("round %d: block %d is %v, was seen as %v", round, number, header.Hash(), want)
		}
	}
	for _, hash := range paid {
		if _, err := p.client.TransactionReceipt(t.Context(), hash); err != nil {
			t.Fatalf("round %d: payment %v was reported, and now: %v", round, hash, err)
		}
	}
	wei, err := p.client.BalanceAt(t.Context(), to, nil)
	if err != nil {
		t.Fatal(err)
	}
	if wei.Cmp(big.NewInt(int64(len(paid)))) < 0 {
		t.Fatalf("round %d: balance %v after %d payments", round, wei, len(paid))
	}
	if err := p.end(t, syscall.SIGTERM); err != nil {
		t.Fatalf("round %d: SIGTERM: %v", round, err)
	}
}

func TestKillKeepsAcceptedTransactions(t *testing.T) {
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	data, fund := t.TempDir(), crypto.PubkeyToAddress(key.PublicKey).Hex()+"=1eth"
	to := common.Address{0x78}
	p := launch(t, "--data", data, "--fund", fund, "--period", "1h", "--idle", "1h")
	var last common.Hash
	for nonce := range uint64(3) {
		tx, err := types.SignNewTx(key, types.LatestSignerForChainID(big.NewInt(1337)), &types.LegacyTx{
			Nonce: nonce, GasPrice: big.NewInt(2e9), Gas: 21000, To: &to, Value: big.NewInt(1),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.client.SendTransaction(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
		last = tx.Hash()
	}
	p.end(t, syscall.SIGKILL)

	p = launch(t, "--data", data, "--fund", fund, "--period", "10ms")
	for range 100 {
		if _, err = p.client.TransactionReceipt(t.Context(), last); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("a transaction accepted before kill -9 was not mined after it: %v", err)
}

func TestCommandErrors(t *testing.T) {
	p := launch(t, "--data", t.TempDir())
	for _, test := range []struct {
		name string
		args []string
		want string
		code int
	}{
		{"no data", nil, "error: --data is required", 1},
		{"argument", []string{"--data", "x", "y"}, `error: unexpected argument "y"`, 1},
		{"flag", []string{"--nonsense"}, "flag provided but not defined", 2},
		{"fund flag", []string{"--fund", "0x12"}, "want ADDRESS=AMOUNT", 2},
		{"port in use", []string{"--data", t.TempDir(), "--http", strings.TrimPrefix(p.ready.HTTP, "http://")}, "address already in use", 1},
		{"fund: no node", []string{"fund", "--rpc", "http://127.0.0.1:1", "--to", "0x0000000000000000000000000000000000000001", "--amount", "1"}, "error: ask the node at http://127.0.0.1:1", 1},
		{"fund: amount", []string{"fund", "--to", "0x0000000000000000000000000000000000000001", "--amount", "-1"}, "error: --amount:", 1},
		{"fund", []string{"fund", "--rpc", p.ready.HTTP, "--to", "0x0000000000000000000000000000000000000001", "--amount", "1eth"}, "0x", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], test.args...)
			cmd.Env = append(os.Environ(), asCommand+"=1")
			out, err := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != test.code {
				t.Errorf("exit code = %d (%v), want %d", got, err, test.code)
			}
			if !strings.Contains(string(out), test.want) {
				t.Errorf("output = %q, want %q in it", out, test.want)
			}
			if test.code == 1 && strings.Count(string(out), "\n") != 1 {
				t.Errorf("output = %q, want one line", out)
			}
		})
	}
}
