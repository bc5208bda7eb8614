package devnet

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/client/clientpb"
	"latchkey/vault"
)

// Alice and Bob exchange $150 step by step, over real processes and chains: the
// contract is closed long before its last chunk is given, each side's wallet looks
// at every step, and what can be lost is said before anybody accepts.
func TestTitForTat(t *testing.T) {
	p := start(t, false)
	for _, x := range []struct{ who, asset string }{{"alice", "btc"}, {"bob", "eth"}} {
		if _, err := p.clients[x.who].Deposit(t.Context(), &clientpb.DepositRequest{Asset: x.asset, UsdCents: 20_000}); err != nil {
			t.Fatalf("%s: %v", x.who, err)
		}
	}
	p.happened(t, 1, "announced", "alice", "bob")
	p.rest(t, "available")
	for _, x := range []struct {
		who, give, want string
		role            uint32
	}{{"bob", "eth", "btc", 1}, {"alice", "btc", "eth", 0}} {
		if _, err := p.clients[x.who].Offer(t.Context(), &clientpb.OfferRequest{
			Give: x.give, Want: x.want, UsdCents: 15_000, Role: x.role, PremiumBps: 200, Settle: "tit-for-tat",
			Pace: &clientpb.Pace{First: 5, Growth: 100, Most: 5}, MaxLoss: 12,
		}); err != nil {
			t.Fatalf("%s: %v", x.who, err)
		}
	}
	settling := false
	p.until(t, "the exchange is settled", time.Minute, func(ctx context.Context) string {
		waits := ""
		for _, name := range []string{"alice", "bob"} {
			s, err := p.clients[name].Status(ctx, &clientpb.StatusRequest{})
			if err != nil {
				return err.Error()
			}
			if len(s.Deals) != 1 {
				return name + " has no deal"
			}
			d := s.Deals[0]
			settling = settling || d.Closed && !d.Settled && d.State == "settling"
			if d.State != "owned" || !d.Settled {
				waits = fmt.Sprintf("%s: %s, step %d of %d, waits for %s", name, d.State, d.Step, d.Steps, d.Wait.WaitsFor)
			}
		}
		return waits
	})
	if !settling {
		t.Error("nobody ever saw it closed and not settled")
	}
	l, err := readLedger(t.Context(), p.world)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range l.deals {
		if d.agreement.Settle != vault.TitForTat || d.steps != 6 || d.lapsed != 0 || !d.settled {
			t.Errorf("%d steps, %d lapsed, settled %t, way %d; want 6 steps of one chunk, none lapsed, tit for tat", d.steps, d.lapsed, d.settled, d.agreement.Settle)
		}
	}
	if len(l.deals) != 1 {
		t.Errorf("%d instances, want 1", len(l.deals))
	}
	for _, name := range []string{"alice", "bob"} {
		kinds := map[string]int{}
		order := ""
		for _, e := range p.events(t.Context(), t, name) {
			kinds[e.Kind]++
			if e.Kind == "checked" || e.Kind == "accepted" {
				order += e.Kind + " "
			}
			if e.Kind == "checked" && !strings.Contains(e.Text, "units can be lost") {
				t.Errorf("%s is told %q", name, e.Text)
			}
		}
		want := 3
		if name == "alice" { // of the last step nobody has to speak
			want = 2
		}
		if d := cmp.Diff([]any{"checked accepted ", want, 0}, []any{order, kinds["kept"], kinds["failed"]}); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	p.rest(t, "available", "swept")
	p.claimAll(t)
	audit(t.Context(), t, p.world, p)
}
