package client

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/coin"
	"latchkey/wallet"
)

// standing is a wallet whose node has had no new block for some time.
type standing struct {
	wallet.Wallet
	age *atomic.Int64 // seconds
}

func (s standing) Describe(ctx context.Context) (wallet.Description, error) {
	d, err := s.Wallet.Describe(ctx)
	d.Node.TipTime, d.Node.MaxTipAge = time.Now().Unix()-s.age.Load(), 600
	return d, err
}

// Alice's node stands still: she pays no deposit by it, and says so, also while nothing waits for
// it. Bob's stands still when she pays him: he believes nothing of her chunks, and takes them
// when it follows again.
func TestNodeStandsStill(t *testing.T) {
	w := newTown(t)
	ages := map[string]*atomic.Int64{"alice": {}, "bob": {}}
	ages["alice"].Store(3600)
	w.wrap = func(name string, asset coin.AssetID, x wallet.Wallet) wallet.Wallet {
		if asset != "btc" {
			return x
		}
		return standing{x, ages[name]}
	}
	alice, bob := w.citizen("alice"), w.citizen("bob")
	says := func(c *citizen, want string) {
		t.Helper()
		w.until(c.name+" says it", func() string {
			if all := strings.Join(c.status().Problems, "; "); !strings.Contains(all, want) {
				return all
			}
			return ""
		})
	}
	figure := func(c *citizen, name string) float64 {
		for _, f := range c.Figures() {
			if f.Name == name && f.Of == "btc" {
				return f.Value
			}
		}
		return -1
	}
	says(alice, "node of btc: the node does not follow its chain: the node behind latchkey fake wallet")
	if got := strings.Join(alice.Reasons(), "; "); !strings.Contains(got, "stands still") {
		t.Errorf("alice is ready: %s", got)
	}
	if follows, age := figure(alice, "node_follows"), figure(alice, "node_tip_age_seconds"); follows != 0 || age < 3600 {
		t.Errorf("metrics: follows %v, age %v", follows, age)
	}
	for _, b := range alice.status().Balances {
		if (b.Asset == "btc") != strings.Contains(b.Problem, "stands still") {
			t.Errorf("balance of %s: problem %q", b.Asset, b.Problem)
		}
	}
	if _, _, _, err := alice.Deposit(t.Context(), "btc", 5000, 5); err != nil {
		t.Fatal(err)
	}
	says(alice, "deposit ")
	if n := len(alice.have("btc", "available")) + len(alice.have("btc", "funded")); n != 0 || alice.told("funded").Count != 0 {
		t.Errorf("%d chunks are paid by a node that stands still", n)
	}
	ages["alice"].Store(0)
	w.chains["btc"].Mine(1)
	alice.wait(1, "btc", "available")
	w.until("alice's node is well", func() string {
		if all := strings.Join(alice.status().Problems, "; "); all != "" || figure(alice, "node_follows") != 1 {
			return all
		}
		return ""
	})

	if err := bob.SetChoice(t.Context(), "btc", Choice{Keep: true}); err != nil {
		t.Fatal(err)
	}
	ages["bob"].Store(3600)
	says(bob, "stands still")
	if _, _, err := alice.Pay(t.Context(), bob.ask(5), false); err != nil {
		t.Fatal(err)
	}
	says(bob, "draft")
	if len(bob.have("btc", "held")) != 0 || bob.told("accepted").Kind != "" {
		t.Error("bob accepts what a node says that stands still")
	}
	ages["bob"].Store(0)
	bob.wait(1, "btc", "held")
}
