package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"latchkey/client/clientpb"
	"latchkey/coin"
	"latchkey/devnet"
)

// An act is one part of the demo's story.
type act struct {
	title string
	needs []int // acts that have to be played before
	play  func(*demoRun, context.Context) error
}

var acts = []act{
	{"Enrolment: evidence is made and verified both ways (SIMULATED TEEs of two simulated vendors)", nil, (*demoRun).enrol},
	{fmt.Sprintf("Deposits: keys made by vault and escrow together, funded on chain in chunks of about $50 (rates: 1 btc = $%s, 1 eth = $%s)", demoUSD["btc"], demoUSD["eth"]), []int{1}, (*demoRun).deposits},
	{"Alice asks for $500 of eth against btc, bound by the contract Swap; Bob and Carol fill it", []int{1, 2}, (*demoRun).exchange},
	{"Everyone sweeps what they received into their ordinary wallet, on chain", []int{1, 2, 3}, (*demoRun).sweeps},
	{"A purchase under the contract Escrow, the price in btc and the arbiter's fee in eth, ends in a dispute that Carol divides", []int{1}, (*demoRun).dispute},
	{"Bob keeps what he got and pays Carol with it, Carol pays Alice, Alice claims: no transaction before the last sweep", []int{1, 5}, (*demoRun).payments},
	{"Cheats, each by a modified host or operator over the real sockets, each refused or proven", []int{1}, (*demoRun).cheats},
}

// play plays all acts, or one with what it needs.
func (d *demoRun) play(ctx context.Context, only int) error {
	for i, a := range acts {
		n := i + 1
		if only != 0 && n != only && !slices.Contains(acts[only-1].needs, n) {
			continue
		}
		title := fmt.Sprintf("%d. %s", n, a.title)
		if only != 0 && n != only {
			title = fmt.Sprintf("Set-up for act %d: %s", only, a.title)
		}
		d.chapter(title)
		if err := a.play(d, ctx); err != nil {
			return fmt.Errorf("act %d: %w", n, err)
		}
		if n == 4 {
			took := time.Since(d.started).Seconds()
			d.figures(fmt.Sprintf("the first exchange is done, %.1f s after the start", took), map[string]float64{"seconds": took})
		}
	}
	return d.account(ctx)
}

func (d *demoRun) enrol(ctx context.Context) (err error) {
	if err := d.wait(ctx, "enrolment", 2, "enrolled", demoClients...); err != nil {
		return err
	}
	for _, name := range demoClients {
		s, err := d.clients[name].Status(ctx, &clientpb.StatusRequest{})
		if err != nil {
			return fmt.Errorf("status of %s: %w", name, plain(err))
		}
		d.ids[name] = s.Vault
	}
	d.before, err = d.waitFunded(ctx)
	return err
}

// each does something for every client at once.
func (d *demoRun) each(f func(name string) error) error {
	var doing sync.WaitGroup
	failed := make(chan error, len(demoClients))
	for _, name := range demoClients {
		doing.Go(func() {
			if err := f(name); err != nil {
				failed <- fmt.Errorf("%s: %w", name, plain(err))
			}
		})
	}
	doing.Wait()
	close(failed)
	var all error
	for err := range failed {
		all = errors.Join(all, err)
	}
	return all
}

func (d *demoRun) deposits(ctx context.Context) error {
	err := d.each(func(name string) error {
		q := map[string]*clientpb.DepositRequest{
			"alice": {Asset: "btc", UsdCents: 600_00}, "bob": {Asset: "eth", UsdCents: 300_00}, "carol": {Asset: "eth", UsdCents: 300_00},
		}[name]
		_, err := d.clients[name].Deposit(ctx, q)
		return err
	})
	if err != nil {
		return err
	}
	return d.wait(ctx, "deposits", 1, "announced", demoClients...)
}

func (d *demoRun) exchange(ctx context.Context) error {
	for _, x := range []struct {
		who, give, want string
		usd             uint64
		role            uint32
	}{{"bob", "eth", "btc", 300, 1}, {"carol", "eth", "btc", 300, 1}, {"alice", "btc", "eth", 500, 0}} {
		if _, err := d.clients[x.who].Offer(ctx, &clientpb.OfferRequest{
			Give: x.give, Want: x.want, UsdCents: x.usd * 100, Role: x.role, PremiumBps: 200,
		}); err != nil {
			return fmt.Errorf("%s: %w", x.who, plain(err))
		}
	}
	if err := d.wait(ctx, "the exchange", 2, "owned", "alice"); err != nil {
		return err
	}
	return d.wait(ctx, "the exchange", 1, "owned", "bob", "carol")
}

func (d *demoRun) sweeps(ctx context.Context) error {
	if err := d.settle(ctx); err != nil {
		return err
	}
	after, err := d.balances(ctx)
	if err != nil {
		return err
	}
	if err := d.compare(ctx, after); err != nil {
		return err
	}
	t, err := d.traffic(ctx)
	if err != nil {
		return err
	}
	d.figures(fmt.Sprintf("on chain: %s: none for the exchange itself", onChain(t)), t)
	if n := devnet.Total(t.Other); n != 0 {
		return fmt.Errorf("the nodes have %s that neither funds nor sweeps, want none", tally(n, "transaction"))
	}
	return nil
}

// onChain writes what the nodes have counted.
func onChain(t devnet.Traffic) string {
	return fmt.Sprintf("%s, %s, %s", tally(devnet.Total(t.Funding), "funding transaction"),
		tally(devnet.Total(t.Sweeps), "sweeping transaction"), tally(devnet.Total(t.Other), "other"))
}

// traffic reads the chains.
func (d *demoRun) traffic(ctx context.Context) (devnet.Traffic, error) {
	var wallets []string
	for _, name := range demoClients {
		s, err := d.clients[name].Status(ctx, &clientpb.StatusRequest{})
		if err != nil {
			return devnet.Traffic{}, fmt.Errorf("status of %s: %w", name, plain(err))
		}
		for _, b := range s.Balances {
			wallets = append(wallets, b.Address)
		}
	}
	return d.world.Traffic(ctx, wallets)
}

// settle waits until nobody has anything under way.
func (d *demoRun) settle(ctx context.Context) error {
	rest := []string{"available", "swept", "held"}
	return d.until(ctx, "everything is swept", func() (string, error) {
		for _, name := range demoClients {
			s, err := d.clients[name].Status(ctx, &clientpb.StatusRequest{})
			if err != nil {
				return "", fmt.Errorf("status of %s: %w", name, plain(err))
			}
			for _, c := range s.Chunks {
				if !slices.Contains(rest, c.State) {
					return fmt.Sprintf("%s: a chunk is %s, waits for %s", name, c.State, c.Wait.WaitsFor), nil
				}
			}
		}
		return "", nil
	})
}

// until waits until f returns nothing any more, a minute at most.
func (d *demoRun) until(ctx context.Context, what string, f func() (missing string, err error)) error {
	for end := time.Now().Add(60 * time.Second); ; {
		missing, err := f()
		switch {
		case err != nil:
			return err
		case missing == "":
			return nil
		case time.Now().After(end):
			return fmt.Errorf("not within a minute: %s: %s", what, missing)
		}
		select {
		case <-time.After(30 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// compare prints what every client has, against the beginning.
func (d *demoRun) compare(ctx context.Context, after map[string]string) error {
	for _, name := range demoClients {
		s, err := d.clients[name].Status(ctx, &clientpb.StatusRequest{})
		if err != nil {
			return plain(err)
		}
		chunks := map[string]coin.Amount{}
		for _, c := range s.Chunks {
			if a, err := coin.ParseAmount(c.Amount); err == nil && (c.State == "available" || c.State == "held") {
				chunks[c.Asset], _ = chunks[c.Asset].Plus(a)
			}
		}
		for _, asset := range []string{"btc", "eth"} {
			text := fmt.Sprintf("%-3s wallet before %s, now %s", asset, d.worth(asset, d.before[name+" "+asset]), d.worth(asset, after[name+" "+asset]))
			if x := chunks[asset]; !x.IsZero() {
				text += ", and in chunks " + d.worth(asset, x.String())
			}
			d.tell(name, "balance", text, nil)
		}
	}
	return nil
}

// account prints what has changed, at the end.
func (d *demoRun) account(ctx context.Context) error {
	d.chapter("What has happened")
	after, err := d.balances(ctx)
	if err != nil {
		return err
	}
	if err := d.compare(ctx, after); err != nil {
		return err
	}
	t, err := d.traffic(ctx)
	if err != nil {
		return err
	}
	d.figures("on chain, as the nodes have it: "+onChain(t), t)
	d.mu.Lock()
	var took []string
	for _, name := range demoClients {
		for _, e := range d.events[name] {
			if e.Kind == "owned" || e.Kind == "paid" {
				took = append(took, fmt.Sprintf("%s %s", name, e.Text))
			}
		}
	}
	d.mu.Unlock()
	for _, o := range took {
		d.tell("", "summary", o, nil)
	}
	d.tell("", "summary", fmt.Sprintf("done in %.1f s; nobody wrote a script, a contract or a transaction for either chain", time.Since(d.started).Seconds()), nil)
	return nil
}
