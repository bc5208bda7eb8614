package devnet

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/client/clientpb"
	"latchkey/coin"
	"latchkey/event/disk"
	"latchkey/event/witness"
	"latchkey/event/witness/config"
	"latchkey/keyfile"
)

// hurry puts witnesses whose clocks run ahead, by seconds that the test sets, in the places of
// those of the world: with their keys, states and addresses. A certificate lives an hour at the
// least, and the time of escrow and vaults is what a quorum of witnesses says.
func hurry(t *testing.T, w *World) (ahead *atomic.Int64) {
	t.Helper()
	ahead = &atomic.Int64{}
	for i := range w.witnesses {
		name := fmt.Sprintf("witness%d", i+1)
		if err := w.Process(name).Stop(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		c, err := config.Read(filepath.Join(w.dir(name), "witness.toml"))
		if err != nil {
			t.Fatal(err)
		}
		key, err := keyfile.Read(c.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		quiet := slog.New(slog.DiscardHandler)
		store, err := disk.Open(disk.Config{Folder: filepath.Join(c.Data, "state"), Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		x, err := witness.Open(t.Context(), store, witness.Config{Name: c.Name, Key: key, Logs: c.Logs})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", c.Listen)
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: &witness.Handler{
			Witness: x, Logger: quiet, Failed: func(err error) { t.Error(err) }, Now: func() int64 { return time.Now().Unix() + ahead.Load() },
		}}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		t.Cleanup(func() {
			s.Close()
			<-served
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return ahead
}

// Chunks near the end of their certificate are claimed and swept by themselves, over real
// processes and chains, though their owners chose to keep them: what was received, and what
// was deposited and never used. A day earlier nothing is.
func TestClaimsNearExpiry(t *testing.T) {
	p := start(t, false)
	ctx := t.Context()
	for _, name := range []string{"alice", "bob"} {
		if _, err := p.clients[name].Keep(ctx, &clientpb.KeepRequest{Asset: "btc", Keep: true}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.clients["alice"].Deposit(ctx, &clientpb.DepositRequest{Asset: "btc", UsdCents: 10_000}); err != nil {
		t.Fatal(err)
	}
	p.happened(t, 1, "announced", "alice")
	r, err := p.clients["bob"].Receive(ctx, &clientpb.ReceiveRequest{Asset: "btc", UsdCents: 5_000})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.clients["alice"].Pay(ctx, &clientpb.PayRequest{Request: r.Request}); err != nil {
		t.Fatal(err)
	}
	p.happened(t, 1, "received", "bob")
	p.rest(t, "available held")
	before := p.statuses(ctx, t)
	for name, want := range map[string]string{"alice": "available", "bob": "held"} {
		if c := before[name].Chunks; len(c) != 1 || c[0].State != want {
			t.Fatalf("%s has %+v, want one chunk, %s", name, c, want)
		}
	}

	ahead := hurry(t, p.world)
	const day = 86400
	reach := func(days int64) {
		t.Helper()
		ahead.Store(days * day)
		from := time.Now().Unix() + days*day
		p.until(t, fmt.Sprintf("the clocks are %d days ahead", days), time.Minute, func(ctx context.Context) string {
			for _, name := range []string{"alice", "bob"} {
				s, err := p.clients[name].Status(ctx, &clientpb.StatusRequest{})
				if err != nil {
					return err.Error()
				}
				if s.Now < from {
					return fmt.Sprintf("%s is at %d, %d s behind", name, s.Now, from-s.Now)
				}
			}
			return ""
		})
	}
	reach(82) // of 90: a week before the end is a day later
	time.Sleep(2 * time.Second)
	for name, s := range p.statuses(ctx, t) {
		for i, c := range s.Chunks {
			if was := before[name].Chunks[i].State; c.State != was {
				t.Errorf("eight days before its certificate ends a chunk of %s is %s, not %s", name, c.State, was)
			}
		}
	}
	reach(84)
	p.happened(t, 1, "swept", "alice", "bob")
	p.rest(t, "swept")
	for name, s := range p.statuses(ctx, t) {
		if len(s.Problems) != 0 {
			t.Errorf("%s: %s", name, strings.Join(s.Problems, "; "))
		}
		had, has := confirmed(t, before[name], "btc"), confirmed(t, s, "btc")
		if gained := name != "carol"; gained != (has.Cmp(had) > 0) {
			t.Errorf("%s's wallet had %s and has %s", name, had, has)
		}
	}
}

// confirmed returns what a client's ordinary wallet has of an asset.
func confirmed(t *testing.T, s *clientpb.StatusResponse, asset string) coin.Amount {
	t.Helper()
	for _, b := range s.Balances {
		if b.Asset == asset {
			a, err := coin.ParseAmount(b.Confirmed)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
	}
	t.Fatalf("no balance of %s", asset)
	return coin.Amount{}
}
