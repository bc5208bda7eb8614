package btc_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/coin"
	"latchkey/wallet"
	"latchkey/wallet/btc/rpc"
	"latchkey/wallet/wallettest"
)

var amount, maxFee = coin.NewAmount(100_000), coin.NewAmount(1_000_000)

func (n *net) rpc(t testing.TB) *rpc.Client {
	t.Helper()
	password, err := os.ReadFile(n.node.PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	return rpc.New(n.node.RPC, n.node.User, strings.TrimSpace(string(password)))
}

func (n *net) tip(t testing.TB) string {
	t.Helper()
	var hash string
	if err := n.rpc(t).Call(t.Context(), &hash, "getbestblockhash"); err != nil {
		t.Fatal(err)
	}
	return hash
}

func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// join connects two nodes until they agree.
func join(t testing.TB, a, b *net) {
	t.Helper()
	eventually(t, "nodes agree", func() error {
		if a.tip(t) == b.tip(t) {
			return nil
		}
		_ = b.rpc(t).Call(t.Context(), nil, "node", "connect", a.node.P2P, "temp")
		return errors.New("best blocks differ")
	})
}

func part(t testing.TB, a, b *net) {
	t.Helper()
	eventually(t, "nodes are apart", func() error {
		var n int
		if err := b.rpc(t).Call(t.Context(), &n, "getconnectioncount"); err != nil || n == 0 {
			return err
		}
		_ = b.rpc(t).Call(t.Context(), nil, "node", "disconnect", a.node.P2P)
		return fmt.Errorf("%d connections", n)
	})
}

func (n *net) funded(t testing.TB, w wallet.Wallet, k ...wallet.SweepKey) {
	t.Helper()
	var keys []wallet.PublicKey
	for _, k := range k {
		keys = append(keys, k.Public)
	}
	to, err := w.Addresses(t.Context(), asset, keys)
	if err != nil {
		t.Fatal(err)
	}
	r := wallet.FundRequest{Asset: asset, ID: fmt.Sprint("f", rand.Uint64()), MaxFee: maxFee}
	for _, a := range to {
		r.Payments = append(r.Payments, wallet.Payment{Address: a, Amount: amount})
	}
	if _, err := w.Fund(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	n.mine(t, 1)
}

func depositOf(t testing.TB, w wallet.Wallet, k wallet.SweepKey) wallet.Deposit {
	t.Helper()
	d, err := w.Deposits(t.Context(), wallet.DepositsRequest{Asset: asset, Queries: []wallet.DepositQuery{{Key: k.Public, Want: amount}}})
	if err != nil {
		t.Fatal(err)
	}
	return d.Deposits[0]
}

// Two holders of a key sweep it on two sides of a network that is split. When
// the sides meet, the one on the shorter chain has lost, and knows it.
func TestSplitNetwork(t *testing.T) {
	one, two := newNet(t), newNet(t, "--initial", "0")
	join(t, one, two)
	alice := one.connect(t, "alice")
	rival := two.connect(t, "rival")
	one.order(t, "fund", map[string]any{"to": alice.ready.Address, "amount": "1"})
	one.mine(t, 1)
	k, other := wallettest.Key(t, coin.Secp256k1), wallettest.Key(t, coin.Secp256k1)
	one.funded(t, alice, k, other)
	join(t, one, two)
	if err := depositOf(t, rival, k).Check(amount); !errors.Is(err, wallet.ErrNotConfirmed) {
		t.Fatalf("deposit seen on the other side: got %v, want not yet confirmed", err)
	}
	part(t, one, two)

	ours := wallet.SweepRequest{Asset: asset, ID: "ours", Keys: []wallet.SweepKey{k, other}, MaxFee: maxFee}
	s, err := alice.Sweep(t.Context(), ours)
	if err != nil || s.Keys[0].Err != nil || s.Keys[1].Err != nil {
		t.Fatalf("our sweep: %v, %+v", err, s.Keys)
	}
	one.mine(t, 1)
	theirs := wallet.SweepRequest{Asset: asset, ID: "theirs", Keys: []wallet.SweepKey{k}, MaxFee: maxFee}
	r, err := rival.Sweep(t.Context(), theirs)
	if err != nil || r.Keys[0].Err != nil {
		t.Fatalf("rival's sweep: %v, %+v", err, r.Keys)
	}
	two.mine(t, 3)
	join(t, one, two)

	got, err := alice.Transaction(t.Context(), asset, s.Keys[0].Tx)
	want := wallet.TxStatus{State: wallet.TxConflicted, Conflict: r.Keys[0].Tx}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("our sweep after the sides met: %v (-want +got):\n%s", err, d)
	}
	if d := depositOf(t, alice, k); !d.Spent || d.SpentDepth != 3 || d.SpendingTx != r.Keys[0].Tx {
		t.Errorf("deposit after the sides met: got %+v, want spent by %s at depth 3", d, r.Keys[0].Tx)
	}
	if d := depositOf(t, alice, other); d.Spent {
		t.Errorf("the other key of that sweep: got %+v, want unspent again", d)
	}
	// The same request again: one key is lost, the other swept anew. The node may
	// have kept our lost sweep in its pool; a node that starts has an empty one.
	if answer, err := http.Get(one.node.Control + "/status"); err != nil { // which is said of durable blocks only
		t.Fatal(err)
	} else if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	one.down(t)
	one.up(t)
	again, err := alice.Sweep(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(again.Keys[0].Err, wallet.ErrSpent) || again.Keys[1].Err != nil || again.Keys[1].Tx == s.Keys[1].Tx {
		t.Errorf("sweep again: got %+v, want the first spent and the second in a new transaction", again.Keys)
	}
	one.mine(t, 1)
	if st, err := alice.Transaction(t.Context(), asset, again.Keys[1].Tx); err != nil || st.State != wallet.TxConfirmed {
		t.Errorf("new sweep: got %+v, %v, want confirmed", st, err)
	}
}

// Whatever happened, a connector that followed it, one that was killed on the
// way, and one that looks everything up anew tell the same.
func TestFollowingEqualsLookingUp(t *testing.T) {
	n := newNet(t)
	alice, killed := n.connect(t, "alice"), n.connect(t, "killed")
	n.order(t, "fund", map[string]any{"to": alice.ready.Address, "amount": "20"})
	n.mine(t, 10) // deeper than any reorganisation below
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var keys []wallet.SweepKey
	ask := func(w wallet.Wallet) wallet.Deposits {
		t.Helper()
		q := wallet.DepositsRequest{Asset: asset}
		for _, k := range keys {
			q.Queries = append(q.Queries, wallet.DepositQuery{Key: k.Public})
		}
		d, err := w.Deposits(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for step := range 30 {
		switch r.IntN(6) {
		case 0, 1:
			for range 1 + r.IntN(4) {
				keys = append(keys, wallettest.Key(t, coin.Secp256k1))
			}
			n.funded(t, alice, keys[len(keys)-1])
		case 2:
			if len(keys) == 0 {
				continue
			}
			// Several keys to one of them: outputs of one address spent into another.
			pick := keys[r.IntN(len(keys))]
			to, err := alice.Addresses(t.Context(), asset, []wallet.PublicKey{keys[r.IntN(len(keys))].Public})
			if err != nil {
				t.Fatal(err)
			}
			_, err = alice.Sweep(t.Context(), wallet.SweepRequest{
				Asset: asset, ID: fmt.Sprint("s", step), Keys: []wallet.SweepKey{pick}, Destination: to[0], MaxFee: maxFee,
			})
			if err != nil {
				t.Fatal(err)
			}
		case 3:
			n.mine(t, 1+r.IntN(2))
		case 4:
			n.order(t, "reorg", map[string]any{"blocks": 1 + r.IntN(3)})
		case 5:
			killed.restart(t)
		}
		if len(keys) == 0 || r.IntN(3) > 0 {
			continue
		}
		followed, some := ask(alice), ask(killed)
		if d := cmp.Diff(followed, some, amounts); d != "" {
			t.Fatalf("step %d: one was killed on the way (-followed +killed):\n%s", step, d)
		}
	}
	if len(keys) == 0 {
		t.Fatal("no keys in 30 steps")
	}
	n.mine(t, 1)
	followed := ask(alice)
	fresh := n.connect(t, "fresh")
	if d := cmp.Diff(ask(fresh), followed, amounts); d != "" {
		t.Errorf("looked up anew differs (-fresh +followed):\n%s", d)
	}
}

var amounts = cmp.Comparer(func(a, b coin.Amount) bool { return a == b })

// What a user gets wrong is one line that names it.
func TestStartRefuses(t *testing.T) {
	n := newNet(t)
	n.connect(t, "alice")
	good, err := os.ReadFile(n.config(t, "bob"))
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) string { return strings.Replace(string(good), old, new, 1) }
	full := filepath.Join(n.dir, "file")
	if err := os.WriteFile(full, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"unknown field":     {edit("network", "nettwork"), `unknown field "nettwork"`},
		"another's data":    {edit("bob\"\n", "alice\"\n"), "another process has it"},
		"another's socket":  {edit("bob.sock", "alice.sock"), "another process serves it"},
		"not loopback":      {edit("unix:"+filepath.Join(n.dir, "bob.sock"), "0.0.0.0:8701"), "loopback"},
		"port in use":       {edit("unix:"+filepath.Join(n.dir, "bob.sock"), strings.TrimPrefix(n.node.RPC, "http://")), "address already in use"},
		"data is a file":    {edit(filepath.Join(n.dir, "bob")+"\"\nnode", full+"\"\nnode"), "file"},
		"unknown network":   {edit("regtest", "regtset"), `network "regtset"`},
		"no password file":  {edit("rpc.password", "rpc.passwort"), "rpc.passwort"},
		"not a number":      {edit("confirmations = 3", "confirmations = -3"), "line 7"},
		"no confirmations":  {edit("confirmations = 3", "confirmations = 0"), "confirmations 0"},
		"not TOML":          {edit("=", ":"), "line 1"},
		"no node":           {edit(n.node.RPC, ""), "node"},
		"resend of nothing": {edit("200ms", "0s"), "resend"},
	} {
		path := filepath.Join(n.dir, "bad.toml")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		out, err := exec.CommandContext(ctx, built.wallet, "--config", path).CombinedOutput()
		cancel()
		text := string(out)
		if err == nil || !strings.HasPrefix(text, "error: ") || !strings.Contains(text, c.want) || strings.Count(text, "\n") != 1 {
			t.Errorf("%s: got %v and %q, want one line of error with %q", name, err, text, c.want)
		}
	}
}

// A node that refuses our password, or is of another network, is unreachable,
// and the reason is told.
func TestWrongNode(t *testing.T) {
	n := newNet(t)
	password := filepath.Join(n.dir, "wrong.password")
	if err := os.WriteFile(password, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(n.config(t, "bob"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ old, new, want string }{
		"password": {n.node.PasswordFile, password, "refuses our user or password"},
		"network":  {"regtest", "testnet4", "another network"},
	} {
		path := filepath.Join(n.dir, name+".toml")
		if err := os.WriteFile(path, []byte(strings.Replace(string(good), c.old, c.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		w := &connector{whole: t, config: path}
		w.process = start(t, t, &w.ready, built.wallet, "--config", path)
		if w.Wallet, err = wallet.Dial(w.ready.Listen); err != nil {
			t.Fatal(err)
		}
		d, err := w.Describe(t.Context())
		if err != nil || d.Node.Reachable || !strings.Contains(d.Node.Problem, c.want) {
			t.Errorf("%s: got %+v, %v, want unreachable with %q", name, d.Node, err, c.want)
		}
		if _, err := w.Balance(t.Context(), d.Assets[0].Asset); !errors.Is(err, wallet.ErrUnreachable) {
			t.Errorf("%s: balance: got %v, want unreachable", name, err)
		}
		w.kill()
	}
}
