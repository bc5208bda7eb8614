package devnet

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/client/clientpb"
)

// happened waits until each of who has n events of a kind.
func (p *play) happened(t *testing.T, n int, kind string, who ...string) {
	t.Helper()
	p.until(t, kind, time.Minute, func(ctx context.Context) string {
		for _, name := range who {
			have := 0
			for _, e := range p.events(ctx, t, name) {
				if e.Kind == kind {
					have++
				}
			}
			if have < n {
				return fmt.Sprintf("%s has %d of %d events %q", name, have, n, kind)
			}
		}
		return ""
	})
}

// Alice has BTC, Bob and Carol have ETH. They deposit, exchange and sweep. What
// comes to the chains is one funding transaction for all BTC deposits, one for
// each ETH deposit, and the sweeps: none for the exchange itself. What comes to
// the escrow's log for an exchange does not depend on the number of chunks.
func TestStory(t *testing.T) {
	p := start(t, false)
	for _, x := range []struct {
		who, asset string
		usd        uint64
	}{{"alice", "btc", 600}, {"bob", "eth", 300}, {"carol", "eth", 300}} {
		if _, err := p.clients[x.who].Deposit(t.Context(), &clientpb.DepositRequest{Asset: x.asset, UsdCents: x.usd * 100}); err != nil {
			t.Fatalf("%s: %v", x.who, err)
		}
	}
	p.happened(t, 1, "announced", p.world.Clients...)
	p.rest(t, "available")
	before, err := readLedger(t.Context(), p.world)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		who, give, want string
		usd             uint64
		role            uint32
	}{{"bob", "eth", "btc", 300, 1}, {"carol", "eth", "btc", 300, 1}, {"alice", "btc", "eth", 500, 0}} {
		if _, err := p.clients[x.who].Offer(t.Context(), &clientpb.OfferRequest{
			Give: x.give, Want: x.want, UsdCents: x.usd * 100, Role: x.role, PremiumBps: 200,
		}); err != nil {
			t.Fatalf("%s: %v", x.who, err)
		}
	}
	p.happened(t, 2, "owned", "alice")
	p.happened(t, 1, "owned", "bob", "carol")
	p.rest(t, "available", "swept")
	after, err := readLedger(t.Context(), p.world)
	if err != nil {
		t.Fatal(err)
	}
	exchange := map[string]int{}
	for kind, n := range after.kinds {
		switch d := n - before.kinds[kind]; kind {
		case "Lock", "Hand", "Ack", "Run", "Stored":
			exchange[kind] = d
		}
	}
	// Two exchanges: each is locked once, handed over and acknowledged once by
	// either side, opened, and what came of it stored once by either side.
	if d := cmp.Diff(map[string]int{"Lock": 2, "Hand": 4, "Ack": 4, "Run": 2, "Stored": 4}, exchange); d != "" {
		t.Errorf("entries of two exchanges (-want +got):\n%s", d)
	}
	t.Logf("entries of the log, all together: %d before, %d after: %v", before.size, after.size, after.kinds)
	txs := map[string]map[string]bool{}
	for _, name := range p.world.Clients {
		for _, e := range p.events(t.Context(), t, name) {
			k := e.Kind + " " + e.Asset
			if txs[k] == nil {
				txs[k] = map[string]bool{}
			}
			for _, tx := range e.Txs {
				txs[k][tx] = true
			}
			if e.Kind == "owned" {
				t.Logf("%s %s", name, e.Text)
			}
		}
	}
	received := map[string]int{}
	for _, c := range after.chunks {
		if c.swept > 0 {
			received[string(c.asset.ID)]++
		}
	}
	got := map[string]int{}
	for _, k := range []string{"funded btc", "funded eth", "swept eth"} {
		got[k] = len(txs[k])
	}
	if d := cmp.Diff(map[string]int{"funded btc": 1, "funded eth": 12, "swept eth": received["eth"]}, got); d != "" {
		t.Errorf("transactions (-want +got):\n%s", d)
	}
	sweeps := len(txs["swept btc"])
	if sweeps < 2 || sweeps > received["btc"] {
		t.Errorf("%d transactions swept %d btc chunks of two clients", sweeps, received["btc"])
	}
	p.claimAll(t)
	final := audit(t.Context(), t, p.world, p)
	t.Logf("transactions of all clients, with everything swept: %v", final.txs)
	if want := 12 + 12; final.txs["eth"] != want {
		t.Errorf("%d eth transactions, want %d: one in and one out for each chunk", final.txs["eth"], want)
	}
}
