package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"latchkey/attest"
	"latchkey/attest/sim"
	"latchkey/client"
	"latchkey/client/clientpb"
	"latchkey/coin"
	"latchkey/escrow"
	"latchkey/event/disk"
	"latchkey/market"
	"latchkey/rate"
	"latchkey/switchboard"
	"latchkey/vault/enclave"
	"latchkey/wallet"
	"latchkey/wallet/fake"
)

const swap = `contract Swap
parties alice, bob
term a : units 1..1000000
term b : units 1..1000000
pot left_side  = a units from alice
pot right_side = b units from bob
at open:
  give all of left_side to bob
  give all of right_side to alice
  close
`

// The round trips of two slow networks. How much longer an exchange takes in
// the second is how many of them it waits for, whatever the work beside is.
const (
	roundTrip = 50 * time.Millisecond
	longTrip  = 4 * roundTrip
)

// exchanges has two clients, with their hosts, vaults and wallets on fake
// chains, exchange a chunk each by way of a switchboard, again and again: on
// loopback, and where every message between two parties takes 25 and 100 ms.
func exchanges(ctx context.Context, o options) (out []figure, err error) {
	var short float64
	for _, x := range []struct {
		trip time.Duration
		n    int
	}{{0, 48}, {roundTrip, 24}, {longTrip, 24}} {
		name := "loopback"
		if x.trip > 0 {
			name = fmt.Sprintf("%d ms round trip", x.trip.Milliseconds())
		}
		w, err := newWorld(ctx, o, fmt.Sprint("exchange", len(out)), x.trip/2)
		if err != nil {
			return nil, err
		}
		took, err := w.exchange(max(2, o.few(x.n)))
		if err = errors.Join(err, w.close()); err != nil {
			return nil, err
		}
		f := figure{
			name: "acceptance to ownership, " + name, unit: "ms", n: len(took), samples: took,
			note: fmt.Sprintf("p99 %.0f ms; from the last acceptance to the last share stored, over the switchboard", percentile(took, .99)),
		}
		switch mid, _, _ := f.median(); x.trip {
		case roundTrip:
			short = mid
			f.note += fmt.Sprintf("; %.1f times the round trip, all work included", mid/float64(roundTrip.Milliseconds()))
		case longTrip:
			f.goal = "at most 5 round trips"
			f.note += fmt.Sprintf("; %.2f round trips: so many times the %v by which one is longer than above", (mid-short)/float64((longTrip-roundTrip).Milliseconds()), longTrip-roundTrip)
		}
		out = append(out, f)
	}
	return out, nil
}

// dollars is a feed in which every coin has one price.
type dollars struct{}

func (dollars) Rate(_ context.Context, a coin.AssetID) (rate.Rate, error) {
	p, err := rate.ParsePrice("50000")
	return rate.Rate{Asset: a, Price: p, At: time.Now().Unix()}, err
}

func (dollars) Policy() rate.Policy { return rate.Policy{MinSources: 1, MaxAge: 60} }

// exchange lets n exchanges happen, one after the other, and returns the
// milliseconds of each.
func (w *world) exchange(n int) ([]float64, error) {
	chains := map[coin.AssetID]*fake.Chain{}
	var assets []coin.Asset
	for _, id := range []coin.AssetID{"left", "right"} {
		a := coin.Asset{ID: id, Chain: "fake:" + string(id), Key: coin.Secp256k1, Address: "fake", Decimals: 8}
		c, err := fake.New(fake.Config{Asset: a, Confirmations: 1, Fee: coin.NewAmount(100), Dust: coin.NewAmount(50)})
		if err != nil {
			return nil, err
		}
		chains[id], assets = c, append(assets, a)
	}
	board, err := w.startBoard(assets)
	if err != nil {
		return nil, err
	}
	var users [2]clientpb.ClientServiceClient
	for i, name := range []string{"alice", "bob"} {
		wallets, choices := map[coin.AssetID]wallet.Wallet{}, map[coin.AssetID]client.Choice{}
		for id, c := range chains {
			x := c.Wallet(name)
			c.Mint(x.Own(), coin.NewAmount(1_000_000_000))
			c.Mine(2)
			wallets[id], choices[id] = x, client.Choice{Keep: true}
		}
		if users[i], err = w.startClient(name, client.Config{
			Name: name, Escrow: w.url, Switchboard: board, Wallets: wallets, Choices: choices, Poll: 50 * time.Millisecond,
			HTTP: w.trace.client(name), Logger: slog.New(slog.DiscardHandler),
		}); err != nil {
			return nil, err
		}
	}
	give := []string{"left", "right"}
	for i, u := range users {
		q := &clientpb.DepositRequest{Asset: give[i], UsdCents: uint64(5000 * n), Weight: 5}
		if err := w.eventually(func() error { _, err := u.Deposit(w.ctx, q); return err }); err != nil {
			return nil, err
		}
		if err := w.eventually(func() error {
			for _, c := range chains {
				c.Mine(1)
			}
			s, err := u.Status(w.ctx, &clientpb.StatusRequest{})
			if err != nil {
				return err
			}
			if ready := countState(s, "available"); ready < n {
				return fmt.Errorf("%d of %d chunks are available: %v", ready, n, s.Problems)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	var out []float64
	for i := range n {
		for j, u := range users {
			q := &clientpb.OfferRequest{Contract: "Swap", Give: give[j], Want: give[1-j], UsdCents: 5000, PremiumBps: 500, Role: uint32(j)}
			if err := w.eventually(func() error { _, err := u.Offer(w.ctx, q); return err }); err != nil {
				return nil, err
			}
		}
		var accepted, owned int64
		for _, u := range users {
			if err := w.eventually(func() error {
				s, err := u.Status(w.ctx, &clientpb.StatusRequest{})
				if err != nil {
					return err
				}
				done := 0
				for _, d := range s.Deals {
					if d.State == "owned" {
						done++
						accepted, owned = max(accepted, d.AcceptedMs), max(owned, d.OwnedMs)
					}
				}
				if done <= i {
					return fmt.Errorf("%d of %d exchanges are done: %v", done, i+1, s.Problems)
				}
				return nil
			}); err != nil {
				return nil, err
			}
		}
		if w.trace != nil {
			w.trace.print(os.Stderr, time.UnixMilli(accepted), time.UnixMilli(owned))
		}
		out = append(out, math.Max(1, float64(owned-accepted)))
	}
	return out, nil
}

func countState(s *clientpb.StatusResponse, state string) (n int) {
	for _, c := range s.Chunks {
		if c.State == state {
			n++
		}
	}
	return n
}

// eventually tries until it succeeds, or a minute is over.
func (w *world) eventually(try func() error) error {
	for end := time.Now().Add(time.Minute); ; {
		err := try()
		if err == nil || w.ctx.Err() != nil || time.Now().After(end) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// startBoard starts a switchboard and returns its URL.
func (w *world) startBoard(assets []coin.Asset) (string, error) {
	log, err := disk.Open(disk.Config{Folder: filepath.Join(w.dir, "switchboard")})
	if err != nil {
		return "", err
	}
	policy := market.DefaultPolicy()
	policy.Limits.Client, policy.Limits.Device = 100_000_000_000, 100_000_000_000 // both play all day
	b, err := switchboard.Open(w.ctx, switchboard.Config{
		Settings: switchboard.Settings{
			File:  switchboard.File{Name: "bench", Assets: assets, Market: policy},
			Trust: w.trust.Policy, Sources: [][]byte{[]byte(swap)},
		},
		Log: log, Verifiers: []attest.Verifier{sim.Verifier{}}, Group: w.group(), Escrow: escrow.NewClient(w.url, w.trace.client("board")),
		Feed: dollars{}, Clock: func() int64 { return time.Now().Unix() }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return "", err
	}
	ready, ended := make(chan struct{}), make(chan error, 1)
	w.running.Go(func() {
		ended <- b.Run(w.ctx, func() { close(ready) })
		_ = log.Close()
	})
	select {
	case <-ready:
	case err := <-ended:
		return "", fmt.Errorf("the switchboard does not start: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	w.serve(l, switchboard.Handler(b))
	return w.reach(l)
}

// startClient starts a client's vault and host, and returns its user's end.
func (w *world) startClient(name string, cfg client.Config) (clientpb.ClientServiceClient, error) {
	p, err := w.program(0)
	if err != nil {
		return nil, err
	}
	cfg.Socket = filepath.Join(w.dir, name+".sock")
	vault, err := startVault(w.ctx, enclave.Config{Trust: w.trust, Platform: p, Verifiers: []attest.Verifier{sim.Verifier{}}}, cfg.Socket)
	if err != nil {
		return nil, err
	}
	if cfg.Log, err = disk.Open(disk.Config{Folder: filepath.Join(w.dir, name)}); err != nil {
		return nil, err
	}
	h, err := client.New(w.ctx, cfg)
	if err != nil {
		return nil, err
	}
	ready, ended := make(chan struct{}), make(chan error, 1)
	w.running.Go(func() {
		ended <- h.Run(w.ctx, func(enclave.Status) { close(ready) })
		_ = errors.Join(<-vault, cfg.Log.Close()) // they end with this world; why is of no interest
	})
	select {
	case <-ready:
	case err := <-ended:
		return nil, fmt.Errorf("%s does not start: %w", name, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w.serve(l, client.Handler(h)) // the user sits beside it: no delay
	return clientpb.NewClientServiceClient(&http.Client{}, "http://"+l.Addr().String()), nil
}
