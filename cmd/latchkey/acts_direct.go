package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"latchkey/client/clientpb"
	"latchkey/devnet"
	"latchkey/examples"
)

// have returns how many events of a kind a client has.
func (d *demoRun) have(name, kind string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events[name] {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// after waits for one more event of a kind than a client had.
func (d *demoRun) after(ctx context.Context, name, kind string, had int) error {
	return d.wait(ctx, kind, had+1, kind, name)
}

// last returns a client's newest event of a kind.
func (d *demoRun) last(name, kind string) *clientpb.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := len(d.events[name]) - 1; i >= 0; i-- {
		if e := d.events[name][i]; e.Kind == kind {
			return e
		}
	}
	return &clientpb.Event{}
}

// stock has Alice deposit what the purchases take: small chunks, so that an award
// comes out to the dollar. Two of the larger ones she has from the second act, or
// deposits them.
func (d *demoRun) stock(ctx context.Context) error {
	had := d.have("alice", "announced")
	s, err := d.clients["alice"].Status(ctx, &clientpb.StatusRequest{})
	if err != nil {
		return fmt.Errorf("status of alice: %w", plain(err))
	}
	large := 0
	for _, c := range s.Chunks {
		if c.Asset == "btc" && c.Weight == 5 && (c.State == "available" || c.State == "held") {
			large++
		}
	}
	list := []*clientpb.DepositRequest{{Asset: "btc", UsdCents: 200_00, Weight: 2}, {Asset: "eth", UsdCents: 50_00, Weight: 5}}
	if large < 2 {
		list = append(list, &clientpb.DepositRequest{Asset: "btc", UsdCents: uint64(2-large) * 50_00, Weight: 5})
	}
	for _, q := range list {
		if _, err := d.clients["alice"].Deposit(ctx, q); err != nil {
			return fmt.Errorf("alice: %w", plain(err))
		}
	}
	return d.wait(ctx, "deposits", had+len(list), "announced", "alice")
}

// purchase has Alice, Bob and Carol agree on an Escrow, and returns its instance.
// It is open: its chunks are locked.
func (d *demoRun) purchase(ctx context.Context, price, fee int, tell bool) (string, error) {
	r, err := d.clients["alice"].Propose(ctx, &clientpb.ProposeRequest{
		Source: examples.Escrow, Parties: []string{"me", d.ids["bob"], d.ids["carol"]},
		Terms: []string{fmt.Sprint("price=", price), fmt.Sprint("fee=", fee), "ship_by=+10d", "judge_by=+20d"}, Pots: []string{"payment=btc", "costs=eth"},
	})
	if err != nil {
		return "", fmt.Errorf("alice: %w", plain(err))
	}
	for _, name := range []string{"bob", "carol"} {
		var v *clientpb.ReviewResponse
		err := d.until(ctx, "the draft comes to "+name, func() (string, error) {
			var err error
			if v, err = d.clients[name].Review(ctx, &clientpb.ReviewRequest{Id: r.Id}); err != nil {
				return plain(err).Error(), nil
			}
			return "", nil
		})
		if err != nil {
			return "", err
		}
		if tell {
			d.tellReview(name, v)
		}
		if _, err := d.clients[name].Answer(ctx, &clientpb.AnswerRequest{Id: r.Id, Accept: true}); err != nil {
			return "", fmt.Errorf("%s: %w", name, plain(err))
		}
	}
	instance := ""
	err = d.until(ctx, "the purchase is open", func() (string, error) {
		for _, name := range []string{"alice", "bob", "carol"} {
			s, err := d.clients[name].Status(ctx, &clientpb.StatusRequest{})
			if err != nil {
				return "", fmt.Errorf("status of %s: %w", name, plain(err))
			}
			open := false
			for _, x := range s.Deals {
				if x.Id == r.Id && x.Instance != "" && strings.Contains(x.Wait.WaitsFor, "phase Open") {
					instance, open = x.Instance, true
				}
			}
			for _, x := range s.Drafts {
				if x.Id == r.Id && x.State != "proposed" && x.State != "agreed" && x.State != "accepted" {
					return "", fmt.Errorf("draft of %s is %s: %s", name, x.State, x.Wait.Then)
				}
			}
			if !open {
				return name + " does not see it open", nil
			}
		}
		return "", nil
	})
	return instance, err
}

// tellReview tells what a party was shown before it said yes.
func (d *demoRun) tellReview(name string, v *clientpb.ReviewResponse) {
	d.tell(name, "review", fmt.Sprintf("is asked to be %s of %s; over by %s at the latest", v.Draft.Role, v.Draft.Contract, time.Unix(v.EndsBy, 0).UTC().Format(time.DateOnly)), nil)
	for _, p := range v.Payouts {
		if p.Party == v.Draft.Role {
			d.tell(name, "review", fmt.Sprintf("  gets of %s at least %s (%s), at most %s (%s)",
				p.Pot, d.worth(p.Asset, p.LeastAmount), p.LeastWay, d.worth(p.Asset, p.MostAmount), p.MostWay), nil)
		}
	}
	for _, w := range v.Warnings {
		if strings.Contains(w, "not divisible") {
			d.tell(name, "review", "  "+w, nil)
		}
	}
}

// dispute is the fifth act.
func (d *demoRun) dispute(ctx context.Context) error {
	for _, x := range []struct{ who, asset string }{{"bob", "btc"}, {"carol", "btc"}, {"carol", "eth"}, {"alice", "btc"}} {
		if _, err := d.clients[x.who].Keep(ctx, &clientpb.KeepRequest{Asset: x.asset, Keep: true}); err != nil {
			return fmt.Errorf("%s: %w", x.who, plain(err))
		}
	}
	if err := d.stock(ctx); err != nil {
		return err
	}
	start, err := d.traffic(ctx)
	if err != nil {
		return err
	}
	instance, err := d.purchase(ctx, 20, 5, true)
	if err != nil {
		return err
	}
	d.tell("", "progress", "nothing is shipped, says Alice; it was, says Bob, and disputes; Carol awards him 60 in a hundred", nil)
	owned := map[string]int{}
	for _, name := range demoClients {
		owned[name] = d.have(name, "owned")
	}
	if _, err := d.clients["bob"].Say(ctx, &clientpb.SayRequest{Instance: instance, Word: "dispute"}); err != nil {
		return fmt.Errorf("bob: %w", plain(err))
	}
	began := time.Now()
	err = d.until(ctx, "Carol may judge", func() (string, error) {
		began = time.Now()
		if _, err := d.clients["carol"].Say(ctx, &clientpb.SayRequest{Instance: instance, Word: "award", Value: 60, HasValue: true}); err != nil {
			return plain(err).Error(), nil
		}
		return "", nil
	})
	if err != nil {
		return err
	}
	for _, name := range demoClients {
		if err := d.after(ctx, name, "owned", owned[name]); err != nil {
			return err
		}
	}
	var last int64
	var parts []string
	for _, name := range []string{"bob", "carol", "alice"} {
		e := d.last(name, "owned")
		last = max(last, e.AtMs)
		parts = append(parts, fmt.Sprintf("%s has %s", name, d.worth(e.Asset, e.Amount)))
	}
	end, err := d.traffic(ctx)
	if err != nil {
		return err
	}
	took, txs := last-began.UnixMilli(), count(end)-count(start)
	d.figures(fmt.Sprintf("%s, %d ms after the award; on chain since the deposits: %s", strings.Join(parts, ", "), took, tally(txs, "transaction")),
		map[string]int64{"ms": took, "transactions": int64(txs)})
	if txs != 0 {
		return fmt.Errorf("the nodes have %s for the contract, want none", tally(txs, "transaction"))
	}
	return nil
}

func count(t devnet.Traffic) int {
	return devnet.Total(t.Funding) + devnet.Total(t.Sweeps) + devnet.Total(t.Other)
}

// hop has one client pay another about so many dollars of btc.
func (d *demoRun) hop(ctx context.Context, from, to string, usd uint64) error {
	r, err := d.clients[to].Receive(ctx, &clientpb.ReceiveRequest{Asset: "btc", UsdCents: usd * 100})
	if err != nil {
		return fmt.Errorf("%s: %w", to, plain(err))
	}
	d.tell(to, "request", fmt.Sprintf("asks %s for %s: %.26s…", from, d.worth("btc", r.Amount), r.Request), nil)
	plan, err := d.clients[from].Pay(ctx, &clientpb.PayRequest{Request: r.Request, PlanOnly: true})
	if err != nil {
		return fmt.Errorf("%s: %w", from, plain(err))
	}
	if !plan.Exact {
		var near []string
		for _, x := range []string{plan.Below, plan.Pays} {
			if x != "" {
				near = append(near, d.worth("btc", x))
			}
		}
		d.tell(from, "refused", "cannot pay that exactly, chunks are not divisible: these make up "+strings.Join(near, " or "), nil)
		return nil
	}
	d.tell(from, "plan", fmt.Sprintf("pays %s exactly, with %s", d.worth("btc", plan.Pays), tally(plan.Chunks, "chunk")), nil)
	received := d.have(to, "received")
	if _, err := d.clients[from].Pay(ctx, &clientpb.PayRequest{Request: r.Request}); err != nil {
		return fmt.Errorf("%s: %w", from, plain(err))
	}
	return d.after(ctx, to, "received", received)
}

// payments is the sixth act.
func (d *demoRun) payments(ctx context.Context) error {
	start, err := d.traffic(ctx)
	if err != nil {
		return err
	}
	for _, x := range []struct {
		from, to string
		usd      uint64
	}{{"bob", "carol", 60}, {"bob", "carol", 70}, {"carol", "alice", 20}} {
		if err := d.hop(ctx, x.from, x.to, x.usd); err != nil {
			return err
		}
	}
	hops, err := d.traffic(ctx)
	if err != nil {
		return err
	}
	txs := count(hops) - count(start)
	d.figures("on chain for both payments: "+tally(txs, "transaction"), map[string]int{"transactions": txs})
	if txs != 0 {
		return fmt.Errorf("the nodes have %s for the payments, want none before a sweep", tally(txs, "transaction"))
	}
	s, err := d.clients["alice"].Status(ctx, &clientpb.StatusRequest{})
	if err != nil {
		return plain(err)
	}
	q := &clientpb.ClaimRequest{}
	for _, c := range s.Chunks {
		if c.State == "held" && c.Asset == "btc" && c.Epoch > 1 {
			q.Chunks = append(q.Chunks, c.Id)
		}
	}
	if _, err := d.clients["alice"].Claim(ctx, q); err != nil {
		return fmt.Errorf("alice: %w", plain(err))
	}
	if err := d.settle(ctx); err != nil {
		return err
	}
	end, err := d.traffic(ctx)
	if err != nil {
		return err
	}
	swept := devnet.Total(end.Sweeps) - devnet.Total(hops.Sweeps)
	rest := count(end) - count(hops) - swept
	d.figures(fmt.Sprintf("on chain for the claim: %s, %s", tally(swept, "sweeping transaction"), tally(rest, "other")), map[string]int{"sweeps": swept, "others": rest})
	if swept != 1 || rest != 0 {
		return fmt.Errorf("the nodes have %s and %s for one claim, want its sweep alone", tally(swept, "sweeping transaction"), tally(rest, "other"))
	}
	return nil
}
