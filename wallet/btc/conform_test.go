package btc_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/coin"
	"latchkey/wallet"
	"latchkey/wallet/wallettest"
)

var asset = coin.Asset{ID: "btc", Chain: "bip122:regtest", Key: coin.Secp256k1, Address: "p2wpkh", Decimals: 8}

// binaries are built once for all tests; TestMain removes them.
type binaries struct {
	once         sync.Once
	dir          string
	devnet, btcd string
	wallet       string
	err          error
	builtIn      time.Duration
}

func (b *binaries) build(t testing.TB) {
	t.Helper()
	b.once.Do(func() {
		start := time.Now()
		if b.dir, b.err = os.MkdirTemp("", "latchkey-btc"); b.err != nil {
			return
		}
		for _, p := range [][3]string{
			{"../../devnet/btc", "github.com/btcsuite/btcd", "btcd"},
			{"../../devnet/btc", "./cmd/devnet-btc", "devnet-btc"},
			{".", "./cmd/wallet-btc", "wallet-btc"},
		} {
			cmd := exec.Command("go", "build", "-o", filepath.Join(b.dir, p[2]), p[1])
			cmd.Dir = p[0]
			if out, err := cmd.CombinedOutput(); err != nil {
				b.err = fmt.Errorf("build %s: %w\n%s", p[1], err, out)
				return
			}
		}
		b.btcd, b.devnet, b.wallet = filepath.Join(b.dir, "btcd"), filepath.Join(b.dir, "devnet-btc"), filepath.Join(b.dir, "wallet-btc")
		b.builtIn = time.Since(start)
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
}

var built binaries

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// A process is a program that prints one line of JSON when it is ready.
type process struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	gone   chan struct{}
}

// start kills the program at the end of the whole test, not of a part of it.
func start(whole, t testing.TB, ready any, program string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program, args...), gone: make(chan struct{})}
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	go func() {
		_, _ = io.Copy(io.Discard, out)
		_ = p.cmd.Wait()
		close(p.gone)
	}()
	if err != nil {
		<-p.gone
		t.Fatalf("%s: %v: %s", filepath.Base(program), err, p.stderr.String())
	}
	if err := json.Unmarshal(line, ready); err != nil {
		t.Fatalf("%s: %v: %s", filepath.Base(program), err, line)
	}
	whole.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.gone
}

// A net is a devnet with two wallets.
type net struct {
	whole  testing.TB
	dir    string
	args   []string
	devnet *process
	node   struct {
		RPC          string
		User         string
		PasswordFile string `json:"password_file"`
		P2P          string
		Control      string
		Faucet       string
	}
}

func newNet(t testing.TB, args ...string) *net {
	t.Helper()
	built.build(t)
	n := &net{whole: t, dir: t.TempDir()}
	n.args = append([]string{"--data", filepath.Join(n.dir, "node"), "--btcd", built.btcd, "--quick", "0"}, args...)
	n.up(t)
	return n
}

func (n *net) up(t testing.TB)   { n.devnet = start(n.whole, t, &n.node, built.devnet, n.args...) }
func (n *net) down(_ testing.TB) { n.devnet.kill() }

// order sends the devnet a command.
func (n *net) order(t testing.TB, what string, command map[string]any) {
	t.Helper()
	body, err := json.Marshal(command)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Post(n.node.Control+"/"+what, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", what, text)
	}
}

func (n *net) mine(t testing.TB, blocks int) {
	t.Helper()
	n.order(t, "mine", map[string]any{"blocks": blocks})
}

// A connector is a wallet-btc process and a client of it.
type connector struct {
	whole testing.TB
	wallet.Wallet
	config string
	*process
	ready struct{ Listen, Address string }
}

func (n *net) config(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(n.dir, name+".toml")
	text := fmt.Sprintf(`listen = "unix:%s.sock"
data = %q
node = %q
node_user = %q
node_password_file = %q
network = "regtest"
confirmations = 3
resend = "200ms"
`, filepath.Join(n.dir, name), filepath.Join(n.dir, name), n.node.RPC, n.node.User, n.node.PasswordFile)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (n *net) connect(t testing.TB, name string) *connector {
	t.Helper()
	c := &connector{whole: n.whole, config: n.config(t, name)}
	c.process = start(c.whole, t, &c.ready, built.wallet, "--config", c.config)
	var err error
	if c.Wallet, err = wallet.Dial(c.ready.Listen); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *connector) restart(t testing.TB) {
	t.Helper()
	c.kill()
	c.process = start(c.whole, t, &c.ready, built.wallet, "--config", c.config)
}

// The kit, with a btcd and connectors that are processes of their own and are
// killed without warning.
func TestConformance(t *testing.T) {
	began := time.Now()
	n := newNet(t)
	t.Logf("built in %v, node ready in %v", built.builtIn.Round(time.Millisecond), (time.Since(began) - built.builtIn).Round(time.Millisecond))
	alice, rival := n.connect(t, "alice"), n.connect(t, "rival")
	for range 4 {
		n.order(t, "fund", map[string]any{"to": alice.ready.Address, "amount": "10"})
	}
	n.mine(t, 1)
	wallettest.Run(t, &wallettest.Harness{
		Asset: asset, Amount: coin.NewAmount(100_000), Wallet: alice, Rival: rival,
		Mine: n.mine, Restart: alice.restart, NodeDown: n.down, NodeUp: n.up,
		Reorg: func(t testing.TB) { n.order(t, "reorg", map[string]any{"blocks": 1}) },
	})
	secretsStayOut(t, n)
}

// secretsStayOut fails if a connector wrote anything but its own key and what
// was signed.
func secretsStayOut(t *testing.T, n *net) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(n.dir, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if name := e.Name(); !strings.Contains("own.key signed.log view.cache lock", name) || info.Mode().Perm()&0o077 != 0 && name != "lock" {
			t.Errorf("data folder has %s with mode %v", name, info.Mode())
		}
	}
}
