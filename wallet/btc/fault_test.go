package btc_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"latchkey/coin"
	"latchkey/wallet"
	"latchkey/wallet/wallettest"
)

// A gate stands between a connector and its node, and breaks one request.
type gate struct {
	mu     sync.Mutex
	node   string
	count  int // requests since arm
	broken int // which of them, from 1; 0 = none
	after  bool
	hit    string // body of the broken one
}

// arm breaks the i-th request from now: before the node sees it, or after, when
// only the answer is lost.
func (g *gate) arm(i int, after bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count, g.broken, g.after, g.hit = 0, i, after, ""
}

// disarm returns what was broken.
func (g *gate) disarm() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.broken = 0
	return g.hit
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	g.mu.Lock()
	g.count++
	breaks, after := g.count == g.broken, g.after
	if breaks {
		g.hit = string(body)
	}
	g.mu.Unlock()
	if breaks && !after {
		panic(http.ErrAbortHandler) // the connection just ends
	}
	forward, err := http.NewRequestWithContext(r.Context(), r.Method, g.node, bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	forward.Header = r.Header.Clone()
	answer, err := http.DefaultClient.Do(forward)
	if err != nil || breaks {
		panic(http.ErrAbortHandler)
	}
	defer answer.Body.Close()
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body)
}

// Every single request of a Fund and of a Sweep is lost once, and once its
// answer, and the connector is killed after every third. Called again, each
// pays once and sweeps once.
func TestEveryRequestLost(t *testing.T) {
	n := newNet(t)
	g := &gate{node: n.node.RPC}
	proxy := httptest.NewServer(g)
	defer proxy.Close()
	quiet := func(path string) { // no looks of its own in between
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.Replace(text, []byte("200ms"), []byte("1h"), 1)
		text = bytes.Replace(text, []byte(n.node.RPC), []byte(proxy.URL), 1)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	alice := &connector{whole: t, config: n.config(t, "alice")}
	quiet(alice.config)
	alice.process = start(t, t, &alice.ready, built.wallet, "--config", alice.config)
	var err error
	if alice.Wallet, err = wallet.Dial(alice.ready.Listen); err != nil {
		t.Fatal(err)
	}
	n.order(t, "fund", map[string]any{"to": alice.ready.Address, "amount": "30"})
	n.mine(t, 1)

	var broken []string
	for i := 1; ; i++ {
		missed := 0
		for _, after := range []bool{false, true} {
			k := wallettest.Key(t, coin.Secp256k1)
			to, err := alice.Addresses(t.Context(), asset, []wallet.PublicKey{k.Public})
			if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("%d-%v", i, after)
			fund := wallet.FundRequest{Asset: asset, ID: "f-" + name, MaxFee: maxFee, Payments: []wallet.Payment{{Address: to[0], Amount: amount}}}
			sweep := wallet.SweepRequest{Asset: asset, ID: "s-" + name, MaxFee: maxFee, Keys: []wallet.SweepKey{k}}
			calls := []func() error{
				func() error { _, err := alice.Fund(t.Context(), fund); return err },
				func() error {
					s, err := alice.Sweep(t.Context(), sweep)
					if err == nil {
						err = s.Keys[0].Err
					}
					if err == nil && s.Keys[0].Amount != amount {
						err = fmt.Errorf("swept %s of %s: it was not funded once", s.Keys[0].Amount, amount)
					}
					return err
				},
			}
			for _, call := range calls {
				g.arm(i, after)
				_ = call() // whatever it says
				hit := g.disarm()
				if hit == "" {
					missed++
				}
				broken = append(broken, hit)
				if i%3 == 0 {
					alice.restart(t)
				}
				if err := call(); err != nil {
					t.Fatalf("again after request %d was lost (answer only: %v; %.100s): %v", i, after, hit, err)
				}
				// After a crash the connector must send what it has stored without being
				// asked for it by its id: any call does.
				if _, err := alice.Balance(t.Context(), asset); err != nil {
					t.Fatal(err)
				}
				n.mine(t, 1)
			}
			d := depositOf(t, alice, k)
			if !d.Spent || d.SpentDepth != 1 || !d.Confirmed.IsZero() || !d.Pending.IsZero() {
				t.Errorf("request %d lost, answer only %v: got %+v, want it swept", i, after, d)
			}
		}
		if missed == 4 {
			break // no call makes that many requests
		}
	}
	for _, method := range []string{"sendrawtransaction", "testmempoolaccept", "getrawmempool"} {
		if !strings.Contains(strings.Join(broken, ""), method) {
			t.Errorf("no request with %s was ever lost", method)
		}
	}
}
