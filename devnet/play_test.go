package devnet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/client"
	"latchkey/client/clientpb"
)

// A play is a world with callers of its clients.
type play struct {
	world   *World
	clients map[string]clientpb.ClientServiceClient
}

// start starts a world of three clients with coins on both chains.
func start(t *testing.T, keep bool) *play {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a whole world of processes: not with -short")
	}
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(root, "bin")
	built := time.Now()
	if err := Build(t.Context(), root, bin, func(s string) { t.Log(s) }); err != nil {
		t.Fatal(err)
	}
	t.Logf("the programs are built after %.1f s", time.Since(built).Seconds())
	folder, err := os.MkdirTemp("", "latchkey-") // short: paths of sockets are bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() || keep {
			t.Logf("the world's folder is left: %s", folder)
			return
		}
		os.RemoveAll(folder)
	})
	// What runs is a copy: a vault opens what it has sealed only as the same
	// program, and the folder may be built anew while this test runs.
	own := filepath.Join(folder, "bin")
	if err := os.CopyFS(own, os.DirFS(bin)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w, err := Start(t.Context(), Config{
		Folder: folder, Bin: own, Root: root, Clients: []string{"alice", "bob", "carol"},
		Funds: map[string]Amount{"btc": "0.05", "eth": "2"}, USD: map[string]string{"btc": "96400", "eth": "3120"}, Say: func(string) {},
		SnapshotEvery: 16, // so that many starts go on from one
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	t.Logf("the world of %d processes is up after %.1f s", len(w.Processes), time.Since(began).Seconds())
	p := &play{world: w, clients: map[string]clientpb.ClientServiceClient{}}
	for _, name := range w.Clients {
		if p.clients[name], err = client.Dial(w.Socket(name)); err != nil {
			t.Fatal(err)
		}
	}
	p.until(t, "the faucets' payments", time.Minute, func(ctx context.Context) string {
		for name, c := range p.clients {
			s, err := c.Status(ctx, &clientpb.StatusRequest{})
			if err != nil {
				return err.Error()
			}
			for _, b := range s.Balances {
				if b.Confirmed == "0" || b.Problem != "" {
					return name + " has no " + b.Asset + " " + b.Problem
				}
			}
		}
		return ""
	})
	return p
}

// until waits until missing returns nothing, or fails with what it says last.
func (p *play) until(t *testing.T, what string, within time.Duration, missing func(context.Context) string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	began := time.Now()
	last := ""
	for {
		one, done := context.WithTimeout(ctx, 20*time.Second)
		last = missing(one)
		done()
		if last == "" {
			if d := time.Since(began); d > time.Second {
				t.Logf("%s: after %.1f s", what, d.Seconds())
			}
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %s\n%s", what, within, last, p.describe(t.Context()))
		}
	}
}

// describe prints what every client says, for a failed test.
func (p *play) describe(ctx context.Context) string {
	var b strings.Builder
	for _, name := range p.world.Clients {
		s, err := p.clients[name].Status(ctx, &clientpb.StatusRequest{})
		if err != nil {
			fmt.Fprintf(&b, "%s: %v\n", name, err)
			continue
		}
		fmt.Fprintf(&b, "%s (%.8s) at %d: %s\n", name, s.Vault, s.Now, strings.Join(s.Problems, "; "))
		for _, c := range s.Chunks {
			if c.State != "swept" && c.State != "available" {
				fmt.Fprintf(&b, "  chunk %.8s %s epoch %d: %s, waits for %s until %d\n", c.Id, c.Asset, c.Epoch, c.State, c.Wait.WaitsFor, c.Wait.Until)
			}
		}
		for _, d := range s.Deals {
			if d.State != "owned" && d.State != "paid" && d.State != "ended" && d.State != "declined" {
				fmt.Fprintf(&b, "  deal %s %.8s: %s, waits for %s until %d\n", d.Id, d.Instance, d.State, d.Wait.WaitsFor, d.Wait.Until)
			}
		}
	}
	return b.String()
}

// statuses asks every client, all of whom must answer.
func (p *play) statuses(ctx context.Context, t *testing.T) map[string]*clientpb.StatusResponse {
	t.Helper()
	out := map[string]*clientpb.StatusResponse{}
	for name, c := range p.clients {
		s, err := c.Status(ctx, &clientpb.StatusRequest{})
		if err != nil {
			t.Fatalf("status of %s: %v", name, err)
		}
		out[name] = s
	}
	return out
}

// rest waits until no chunk and no deal is on its way anywhere.
func (p *play) rest(t *testing.T, states ...string) {
	t.Helper()
	p.until(t, "rest, all "+strings.Join(states, " or "), restWithin, func(ctx context.Context) string {
		for name, c := range p.clients {
			s, err := c.Status(ctx, &clientpb.StatusRequest{})
			if err != nil {
				return name + ": " + err.Error()
			}
			for _, c := range s.Chunks {
				if !strings.Contains(strings.Join(states, " "), c.State) {
					return fmt.Sprintf("%s: a chunk is %s, waits for %s", name, c.State, c.Wait.WaitsFor)
				}
			}
			for _, d := range s.Deals {
				if d.State != "owned" && d.State != "paid" && d.State != "ended" && d.State != "declined" {
					return fmt.Sprintf("%s: deal %s is %s, waits for %s", name, d.Id, d.State, d.Wait.WaitsFor)
				}
			}
		}
		return ""
	})
}

// cancelAll closes every offer that is open, so that nothing more is matched. Offers
// are known from what each client says, also those whose placing nobody heard of.
func (p *play) cancelAll(t *testing.T) {
	t.Helper()
	p.until(t, "no offer is open", time.Minute, func(ctx context.Context) (open string) {
		for name, c := range p.clients {
			s, err := c.Status(ctx, &clientpb.StatusRequest{})
			if err != nil {
				return name + ": " + err.Error()
			}
			for _, o := range s.Offers {
				if o.Then == "" { // it is over
					continue
				}
				open = fmt.Sprintf("%s: offer %s is open", name, o.What)
				id := o.What[strings.LastIndex(o.What, "(")+1 : len(o.What)-1]
				if _, err := c.Cancel(ctx, &clientpb.CancelRequest{Id: id}); err != nil {
					open += ": " + err.Error()
				}
			}
		}
		return open
	})
}

// claimAll takes everything back to the ordinary wallets.
func (p *play) claimAll(t *testing.T) {
	t.Helper()
	p.until(t, "claims", 30*time.Second, func(ctx context.Context) string {
		for name, c := range p.clients {
			s, err := c.Status(ctx, &clientpb.StatusRequest{})
			if err != nil {
				return name + ": " + err.Error()
			}
			q := &clientpb.ClaimRequest{}
			for _, c := range s.Chunks {
				if c.State == "available" || c.State == "held" {
					q.Chunks = append(q.Chunks, c.Id)
				}
			}
			if len(q.Chunks) == 0 {
				continue
			}
			if _, err := c.Claim(ctx, q); err != nil {
				return name + ": " + err.Error()
			}
		}
		return ""
	})
	p.rest(t, "swept")
}

// events returns a client's whole timeline.
func (p *play) events(ctx context.Context, t *testing.T, name string) (out []*clientpb.Event) {
	t.Helper()
	for {
		q := &clientpb.TimelineRequest{}
		if len(out) > 0 {
			q.After = out[len(out)-1].Seq
		}
		r, err := p.clients[name].Timeline(ctx, q)
		if err != nil {
			t.Fatalf("timeline of %s: %v", name, err)
		}
		if len(r.Events) == 0 {
			return out
		}
		out = append(out, r.Events...)
	}
}
