package client

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"latchkey/client/clientpb"
	"latchkey/coin"
	"latchkey/market"
	"latchkey/settle"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wallet"
	"latchkey/wire"
)

func TestMannerOf(t *testing.T) {
	for _, x := range []struct {
		name string
		ask  *clientpb.OfferRequest
		want Manner
		err  string
	}{
		{"nothing said", &clientpb.OfferRequest{}, Manner{}, ""},
		{"atomic", &clientpb.OfferRequest{Settle: "atomic", MaxLoss: 7, Pace: &clientpb.Pace{}}, Manner{MaxLoss: 7}, ""},
		{"the usual pace", &clientpb.OfferRequest{Settle: "tit-for-tat"}, Manner{TitForTat: true, Pace: usualPace}, ""},
		{"a pace in part", &clientpb.OfferRequest{Settle: "tit-for-tat", Pace: &clientpb.Pace{First: 1, Wait: 60}}, Manner{TitForTat: true, Pace: settle.Pace{First: 1, Growth: 200, Most: 20, Wait: 60}}, ""},
		{"a first round above the usual greatest", &clientpb.OfferRequest{Settle: "tit-for-tat", Pace: &clientpb.Pace{First: 50}}, Manner{TitForTat: true, Pace: settle.Pace{First: 50, Growth: 200, Most: 50, Wait: 600}}, ""},
		{"another way", &clientpb.OfferRequest{Settle: "somehow"}, Manner{}, "unknown"},
		{"atomic with a pace", &clientpb.OfferRequest{Pace: &clientpb.Pace{First: 1}}, Manner{}, "a pace is for"},
		{"a pace that is none", &clientpb.OfferRequest{Settle: "tit-for-tat", Pace: &clientpb.Pace{Growth: 1}}, Manner{}, "growth of 1 percent"},
	} {
		switch got, err := mannerOf(x.ask); {
		case x.err == "" && (err != nil || got != x.want):
			t.Errorf("%s: %+v, %v; want %+v", x.name, got, err, x.want)
		case x.err != "" && (err == nil || !strings.Contains(err.Error(), x.err)):
			t.Errorf("%s: %v, want %q", x.name, err, x.err)
		}
	}
}

// What can be lost is in the timeline before the vault is asked; by more than the
// user allows, the proposal is declined.
func TestLossIsShownBeforeAcceptance(t *testing.T) {
	for _, x := range []struct {
		name   string
		most   uint64
		inTurn bool
		state  string
		reason string
		risk   int64
	}{
		{"atomic, without a bound", 0, false, "proposed", "", 0},
		{"atomic, and all may be lost", 50, false, "proposed", "", 0},
		{"atomic, and less may be lost", 49, false, "declined", "up to 50 units could be lost", 0},
		{"step by step", 0, true, "proposed", "", 10},
		{"step by step, within the bound", 10, true, "proposed", "", 10},
		{"step by step, beyond the bound", 9, true, "declined", "up to 10 units could be lost, and the offer allows 9", 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := newWorld(t)
			o := w.offer()
			if x.inTurn {
				o.Settle, o.Pace = market.TitForTat, &settle.Pace{First: 5, Growth: 100, Most: 5, Wait: 60}
			}
			raw, err := wire.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.store.put(t.Context(), "offer/09000000000000000000000000000000", Placed{Offer: raw, Want: wanted, Sent: true, MaxLoss: x.most}); err != nil {
				t.Fatal(err)
			}
			var papers []vault.Paper
			p := proposal(o, paper(t, wanted, 7))
			p.Pace = o.Pace
			p.Sides[0].Chunks, p.Sides[1].Chunks = nil, nil
			for n := range byte(10) {
				part := paperOf(t, wanted, n+1, 5)
				papers = append(papers, part)
				p.Sides[0].Chunks = append(p.Sides[0].Chunks, market.Stake{Chunk: wire.ChunkID{n + 1}, Weight: 5})
				p.Sides[1].Chunks = append(p.Sides[1].Chunks, market.Stake{Chunk: part.Chunk.ID(), Weight: 5})
				w.mint(part, 50_000)
			}
			if err := w.notice(t.Context(), notice(p, papers...)); err != nil {
				t.Fatal(err)
			}
			err = w.consider(t.Context(), dealName(p.ID), w.deal(p.ID))
			d := w.deal(p.ID)
			if d.State != x.state || !strings.Contains(d.Reason, x.reason) || d.AtRisk != x.risk {
				t.Errorf("the deal is %s: %s, at risk %d; want %s, %q, %d (%v)", d.State, d.Reason, d.AtRisk, x.state, x.reason, x.risk, err)
			}
			if x.state == "proposed" && !errors.Is(err, errStarting) {
				t.Errorf("the vault was not asked: %v", err)
			}
			events, _ := w.store.after(0)
			shown := slices.ContainsFunc(events, func(e Event) bool {
				return e.Kind == "checked" && strings.Contains(e.Text, "at most 10 units can be lost")
			})
			if shown != (x.risk > 0) {
				t.Errorf("shown before acceptance: %t, want %t", shown, x.risk > 0)
			}
		})
	}
}

// mint puts coins behind a chunk, confirmed.
func (w *world) mint(p vault.Paper, amount uint64) {
	w.t.Helper()
	to, err := w.wallet.Addresses(w.t.Context(), btc, []wallet.PublicKey{p.Chunk.Key.Bytes()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.chain.Mint(to[0], coin.NewAmount(amount))
	w.chain.Mine(2)
}

// statusOf is what a vault says of chunks that an instance gave to it.
func statusOf(in vault.Instance, papers ...vault.Paper) (s enclave.Status) {
	s.Instances = []vault.Instance{in}
	for _, p := range papers {
		c, _ := p.Cert.Unverified()
		s.Chunks = append(s.Chunks, enclave.ChunkStatus{
			ID: p.Chunk.ID(), Cert: c, Holds: true, Chunk: vault.Chunk{Owner: me, P: p.Chunk.Key, Epoch: 1, Weight: c.Weight},
		})
	}
	return s
}

func TestJudge(t *testing.T) {
	w := newWorld(t)
	good, empty, old := paperOf(t, wanted, 1, 5), paperOf(t, wanted, 2, 5), paperOf(t, wanted, 3, 5)
	w.mint(good, 50_000)
	w.mint(old, 50_000)
	in := func(given, open []vault.Paper) vault.Instance {
		var x vault.Instance
		for _, p := range given {
			x.Given = append(x.Given, p.Chunk.ID())
		}
		for _, p := range open {
			x.Open = append(x.Open, p.Chunk.ID())
		}
		return x
	}
	two := in([]vault.Paper{old, good}, []vault.Paper{good})
	judge := func(what string, x vault.Instance, s enclave.Status, ready bool, bad, fails error) {
		t.Helper()
		r, b, err := w.judge(t.Context(), x, s)
		if r != ready || !errors.Is(b, bad) || !errors.Is(err, fails) {
			t.Errorf("%s: ready %t, bad %v, %v; want %t, %v, %v", what, r, b, err, ready, bad, fails)
		}
	}
	judge("good", two, statusOf(two, old, good), true, nil, nil)
	late := statusOf(two, old, good)
	late.Chunks[1].Holds = false
	judge("its share is on its way", two, late, false, nil, nil)
	bad := in([]vault.Paper{good, empty}, []vault.Paper{empty})
	judge("nothing is behind it", bad, statusOf(bad, good, empty), false, wallet.ErrNotFunded, nil)
	other := in([]vault.Paper{good}, []vault.Paper{good})
	judge("an empty one of another instance", other, statusOf(other, good, empty), true, nil, nil)
	w.chain.SetDown(true)
	judge("the node is down", two, statusOf(two, old, good), false, nil, wallet.ErrUnreachable)
	w.chain.SetDown(false)

	// One of an earlier step was claimed, and its sweep found the coins gone.
	swept := Sweeping{ID: "s", Asset: "btc", Chunks: []wire.ChunkID{old.Chunk.ID()}}
	for _, x := range []struct {
		spent []wire.ChunkID
		ready bool
		bad   error
	}{{nil, true, nil}, {swept.Chunks, false, wallet.ErrSpent}} {
		swept.Spent = x.spent
		if err := w.store.put(t.Context(), "sweep/s", swept); err != nil {
			t.Fatal(err)
		}
		judge("an earlier one is swept", two, statusOf(two, old, good), x.ready, x.bad, nil)
	}
	if open := unspoken(statusOf(two, old, good)); !open[good.Chunk.ID()] || open[old.Chunk.ID()] {
		t.Errorf("chunks to be looked at before their claim: %v", open)
	}
}
