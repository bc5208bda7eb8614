package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"latchkey/client/clientpb"
	"latchkey/coin"
	"latchkey/escrow"
	"latchkey/examples"
	"latchkey/settle"
	"latchkey/vault"
	"latchkey/wallet"
)

// inTurns has alice propose a swap of so many units that is settled tit for tat, and
// returns the draft and what she is told of it.
func (w *town) inTurns(units int, pace *clientpb.Pace, maxLoss uint64) *clientpb.ProposeResponse {
	w.t.Helper()
	r, err := server{h: w.clients["alice"].Host}.Propose(w.t.Context(), &clientpb.ProposeRequest{
		Source: []byte(swap), Parties: []string{"me", w.clients["bob"].id.String()}, Terms: []string{fmt.Sprint("a=", units), fmt.Sprint("b=", units)},
		Pots: []string{"left_side=btc", "right_side=eth"}, Settle: "tit-for-tat", Pace: pace, MaxLoss: maxLoss,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// keepAll has all clients keep what they receive.
func (w *town) keepAll() {
	w.t.Helper()
	for _, c := range w.clients {
		for _, asset := range []coin.AssetID{"btc", "eth"} {
			if err := c.SetChoice(w.t.Context(), asset, Choice{Keep: true}); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// deal returns what a client's status says of the deal that a draft became.
func (c *citizen) deal(id string) *clientpb.Deal {
	c.town.t.Helper()
	for _, d := range c.status().Deals {
		if d.Id == id {
			return d
		}
	}
	return &clientpb.Deal{Wait: &clientpb.Wait{}}
}

func losses(s *clientpb.Settlement) (out []string) {
	for _, x := range s.GetLosses() {
		out = append(out, fmt.Sprintf("%s %d units %s %s", x.Party, x.Units, x.Amount, x.Asset))
	}
	return out
}

// ascending are deposits of one chunk each: the lightest goes first.
func (w *town) ascending() {
	for _, weight := range []uint32{1, 2, 5} {
		w.clients["alice"].deposit("btc", weight, 1)
		w.clients["bob"].deposit("eth", weight, 1)
	}
}

// Two people who know each other exchange step by step, without a switchboard: what
// each can lose is said at the proposal, in the review and before the vault is asked,
// and while it goes on it is closed and not settled.
func TestDirectTitForTat(t *testing.T) {
	w := newTown(t, "alice", "bob")
	ctx := t.Context()
	alice, bob := w.clients["alice"], w.clients["bob"]
	w.ascending()
	w.keepAll()
	r := w.inTurns(8, &clientpb.Pace{First: 1, Growth: 200, Most: 20, Wait: 60}, 0)
	want := []string{"alice 7 units 70000 btc", "bob 5 units 50000 eth"}
	if s := r.Settlement; s.GetExact() || s.GetSettle() != "tit-for-tat" || !slices.Equal(losses(s), want) || s.GetSteps() != 7 {
		t.Errorf("alice is told %v of what she proposes, want losses %q and at most 7 steps", s, want)
	}
	if e := alice.told("proposed"); !strings.Contains(e.Text, "settled tit for tat, in rounds of 1 to 20 units, each step waiting 1m0s for its receiver's word: at most 7 units can be lost at any moment") {
		t.Errorf("alice's timeline: %s", e.Text)
	}
	v := bob.comes(r.Id)
	if !slices.Equal(losses(v.Settlement), want) || v.Settlement.Exact || v.EndsBy != v.LockBy+7*62 {
		t.Errorf("bob is shown %v, over by %d after %d", v.Settlement, v.EndsBy, v.LockBy)
	}
	if slices.ContainsFunc(v.Warnings, func(s string) bool { return strings.Contains(s, "a step waits only") }) {
		t.Errorf("bob is warned of a minute: %v", v.Warnings)
	}
	a, err := server{h: bob.Host}.Answer(ctx, &clientpb.AnswerRequest{Id: r.Id, Accept: true, MaxLoss: 4})
	if err == nil || !strings.Contains(err.Error(), "up to 5 units could be lost, and --max-loss allows 4") {
		t.Fatalf("bob accepts what may lose more than he says: %v, %v", a, err)
	}
	if n := len(bob.have("eth", "available")); n != 3 {
		t.Errorf("after a refusal %d of bob's chunks are free, want 3", n)
	}
	if a, err = (server{h: bob.Host}).Answer(ctx, &clientpb.AnswerRequest{Id: r.Id, Accept: true, MaxLoss: 5}); err != nil || a.AtRisk != 5 {
		t.Fatalf("bob accepts: %v, %v; want 5 units at risk", a, err)
	}
	settling := false
	w.until("it is settled", func() string {
		for _, c := range []*citizen{alice, bob} {
			d := c.deal(r.Id)
			settling = settling || d.State == "settling" && d.Closed && !d.Settled && d.Steps == 6
			if d.State != "owned" || !d.Closed || !d.Settled || d.Step != 6 {
				return fmt.Sprintf("%s: %s, closed %t, settled %t, step %d of %d, waits for %s; %s", c.name, d.State, d.Closed, d.Settled, d.Step, d.Steps, d.Wait.WaitsFor, strings.Join(c.status().Problems, "; "))
			}
		}
		return ""
	})
	if !settling {
		t.Error("nobody ever saw it closed and not settled")
	}
	alice.wait(3, "eth", "held")
	bob.wait(3, "btc", "held")
	bob.heardAll()
	// What was said of the steps has its receipts, and where the log has it.
	words, err := server{h: bob.Host}.Words(ctx, &clientpb.WordsRequest{Prove: true})
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	for _, x := range words.Words {
		if said += x.Text + ", "; !x.Step || x.Promised == 0 || x.Entry == 0 || x.Refused != "" || len(x.Proof) > 0 {
			t.Errorf("bob's word %v", x)
		}
	}
	if said != "step 1 taken, step 3 taken, step 5 taken, " {
		t.Errorf("bob has said %q", said)
	}
	for _, x := range bob.said() {
		if _, err := bob.prove(ctx, x.claim(&bob.Host.status.Identity)); !errors.Is(err, escrow.ErrKept) {
			t.Errorf("%s is logged, and proven withheld: %v", x.text(), err)
		}
	}
	for _, x := range []struct {
		who  *citizen
		risk int64
		text string
	}{{alice, 7, "at most 7 units can be lost"}, {bob, 5, "at most 5 units can be lost"}} {
		if d := x.who.deal(r.Id); d.AtRisk != x.risk {
			t.Errorf("%s has %d units at risk, want %d", x.who.name, d.AtRisk, x.risk)
		}
		order := ""
		events, _ := x.who.store.after(0)
		for _, e := range events {
			if e.Deal == r.Id && (e.Kind == "checked" || e.Kind == "accepted") {
				order += e.Kind + " "
			}
			if e.Kind == "checked" && !strings.Contains(e.Text, x.text) {
				t.Errorf("%s is told %q", x.who.name, e.Text)
			}
		}
		if order != "checked accepted " {
			t.Errorf("%s: %s", x.who.name, order)
		}
	}
}

// tampered is a wallet that does something before it looks at deposits.
type tampered struct {
	wallet.Wallet
	before func()
}

func (w tampered) Deposits(ctx context.Context, r wallet.DepositsRequest) (wallet.Deposits, error) {
	w.before()
	return w.Wallet.Deposits(ctx, r)
}

// Half-way the coins of the next step are gone, by a reorganisation: the receiver's
// wallet sees it, its report ends the exchange, and nobody has lost more than was said.
func TestDirectTitForTatFailsHalfway(t *testing.T) {
	w := newTown(t)
	var bob *citizen
	var rob func() // before bob looks, once he has taken two steps
	w.wrap = func(name string, asset coin.AssetID, x wallet.Wallet) wallet.Wallet {
		if name != "bob" || asset != "btc" {
			return x
		}
		return tampered{x, func() {
			if bob == nil || rob == nil {
				return
			}
			n := 0
			events, _ := bob.store.after(0)
			for _, e := range events {
				if e.Kind == "kept" {
					n++
				}
			}
			if n == 2 {
				rob()
			}
		}}
	}
	alice := w.citizen("alice")
	bob = w.citizen("bob")
	w.ascending()
	w.keepAll()
	var tx string
	for _, c := range alice.have("btc", "available") {
		if c.Weight == 5 {
			tx = c.Txs[0]
		}
	}
	var robbed atomic.Int32
	rob = func() {
		if robbed.Add(1) == 1 {
			w.chains["btc"].Reorg(1<<20, wallet.TxID(tx))
			w.chains["btc"].Mine(3)
		}
	}
	r := w.inTurns(8, &clientpb.Pace{First: 1, Growth: 200, Most: 20, Wait: 600}, 0)
	bob.comes(r.Id)
	if err := bob.AnswerDraft(t.Context(), r.Id, true, ""); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*citizen{alice, bob} {
		w.until("it ends for "+c.name, func() string {
			d := c.deal(r.Id)
			if d.State != "owned" || !d.Settled || !strings.Contains(d.Wait.Then, "a step failed: what was not given by then went back") {
				return fmt.Sprintf("%s, step %d of %d, %s; %s", d.State, d.Step, d.Steps, d.Wait.Then, strings.Join(c.status().Problems, "; "))
			}
			return ""
		})
	}
	if e := bob.told("failed"); robbed.Load() == 0 || !strings.Contains(e.Text, "step 5 of 6") || !strings.Contains(e.Text, "is reported") {
		t.Errorf("bob says %q", e.Text)
	}
	bob.heardAll()
	if x := bob.said(); len(x) != 3 || x[2].text() != "step 5 failed" || x[2].Receipt == nil {
		t.Errorf("bob keeps of what he said: %+v", x)
	}
	// The log may show a word of his vault's before the escrow's answer brings it to his host; others' are none of his.
	own, others := bob.said(), alice.said()
	name, err := own[0].Step.Hash()
	if err == nil {
		err = bob.store.remove(t.Context(), saidName(name))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []Said{own[0], others[0]} {
		bob.inLog(t.Context(), vault.Run{Step: x.Step}, own[0].Entry)
	}
	bob.keepStep(t.Context(), *own[0].Step)
	bob.receipt(t.Context(), *own[0].Receipt)
	again := bob.said()
	if i := slices.IndexFunc(again, func(x Said) bool { return x.text() == own[0].text() }); len(again) != len(own) || i < 0 ||
		again[i].Entry != own[0].Entry || again[i].Receipt == nil {
		t.Errorf("bob keeps of what the log was quicker with: %+v", again)
	}
	// Bob has given 1 and 2 and got 1 and 2 that are good; the third of each side: his came back, hers is worth nothing.
	if got := len(alice.have("eth", "held")); got != 2 {
		t.Errorf("alice got %d chunks, want 2", got)
	}
	bob.wait(1, "eth", "held")
	if got := len(bob.have("btc", "held")); got != 3 {
		t.Errorf("bob was given %d chunks, want 3", got)
	}
}

// Chunks that are put in after the proposer's word can make it lose more: it is asked
// again, or ends by itself where the user had said a bound.
func TestDirectLossIsLookedAtAgain(t *testing.T) {
	for _, x := range []struct {
		name string
		most uint64
	}{{"no bound", 0}, {"a bound", 4}} {
		t.Run(x.name, func(t *testing.T) {
			w := newTown(t, "alice", "bob")
			ctx := t.Context()
			alice, bob := w.clients["alice"], w.clients["bob"]
			alice.deposit("btc", 1, 5)
			bob.deposit("eth", 5, 1)
			w.keepAll()
			r := w.inTurns(5, &clientpb.Pace{First: 1, Growth: 100, Most: 1, Wait: 30}, x.most)
			if got := losses(r.Settlement); !slices.Equal(got, []string{"alice 2 units 20000 btc", "bob 1 units 10000 eth"}) {
				t.Errorf("alice is told %q", got)
			}
			if v := bob.comes(r.Id); !slices.ContainsFunc(v.Warnings, func(s string) bool { return strings.Contains(s, "a step waits only 30s") }) {
				t.Errorf("bob is warned of %v", v.Warnings)
			}
			if err := bob.AnswerDraft(ctx, r.Id, true, ""); err != nil {
				t.Fatal(err)
			}
			if x.most != 0 {
				w.until("it ends", func() string {
					if state, reason := alice.draft(r.Id); state != draftEnded || !strings.Contains(reason, "up to 5 units could be lost, and --max-loss allows 4") {
						return state + ": " + reason
					}
					return ""
				})
				alice.wait(5, "btc", "available")
				bob.wait(1, "eth", "available")
				return
			}
			w.until("alice is asked again", func() string { return map[bool]string{false: "not yet"}[alice.told("review again").Deal == r.Id] })
			if e := alice.told("review again"); !strings.Contains(e.Text, "up to 5 units can be lost at any moment, and not 2") {
				t.Errorf("alice is told: %s", e.Text)
			}
			if v, err := alice.Review(ctx, r.Id); err != nil || !v.Settlement.Exact || v.Settlement.Losses[0].Units != 5 {
				t.Errorf("alice is shown %v: %v", v, err)
			}
			if got := len(alice.have("btc", "set aside")); got != 5 {
				t.Errorf("%d of alice's chunks are only set aside, want 5", got)
			}
			a, err := server{h: alice.Host}.Answer(ctx, &clientpb.AnswerRequest{Id: r.Id, Accept: true})
			if err != nil || a.AtRisk != 5 {
				t.Fatalf("alice accepts: %v, %v", a, err)
			}
			alice.wait(1, "eth", "held")
			bob.wait(5, "btc", "held")
		})
	}
}

// What cannot go in turns is refused by its name, with what to do, before anybody hears
// of it; so is a pace that the user does not allow, also of somebody else's draft.
func TestDirectTitForTatRefused(t *testing.T) {
	w := newTown(t)
	w.limits = map[string]Limits{"bob": {MaxLoss: 4, MaxRound: 10, MinWait: 60, MaxWait: 3600}}
	alice, bob := w.citizen("alice"), w.citizen("bob")
	carol := w.citizen("carol")
	alice.deposit("btc", 5, 2)
	bob.deposit("eth", 5, 2)
	ask := func(c *citizen, q *clientpb.ProposeRequest) error {
		q.Settle = "tit-for-tat"
		_, err := server{h: c.Host}.Propose(t.Context(), q)
		return err
	}
	a, b, c := alice.id.String(), bob.id.String(), carol.id.String()
	two := func(parties ...string) *clientpb.ProposeRequest {
		return &clientpb.ProposeRequest{Source: []byte(swap), Parties: parties, Terms: []string{"a=10", "b=10"}, Pots: []string{"left_side=btc", "right_side=eth"}}
	}
	paced := func(p *clientpb.Pace, parties ...string) *clientpb.ProposeRequest {
		q := two(parties...)
		q.Pace = p
		return q
	}
	for _, x := range []struct {
		name, want string
		who        *citizen
		ask        *clientpb.ProposeRequest
	}{
		{"three parties", "contract Escrow cannot be settled tit for tat: it has 3 parties, and only two can take turns; settle it atomically", alice, &clientpb.ProposeRequest{
			Source: examples.Escrow, Parties: []string{a, b, c}, Terms: []string{"ship_by=+10d", "judge_by=+20d", "price=5", "fee=0"}, Pots: []string{"payment=btc", "costs=eth"},
		}},
		{"one side", "contract Pay cannot be settled tit for tat: payee gives nothing to payer; settle it atomically", alice, &clientpb.ProposeRequest{
			Source: examples.Pay, Parties: []string{a, b}, Terms: []string{"amount=5"}, Pots: []string{"money=btc"},
		}},
		{"phases", "contract Bet cannot be settled tit for tat: it goes on in phase Open after it opens", alice, &clientpb.ProposeRequest{
			Source: []byte(bet), Parties: []string{a, b}, Terms: []string{"n=5", "by=+1d"}, Pots: []string{"stake=btc", "other=eth"},
		}},
		{"a later pot", "contract Lend cannot be settled tit for tat: pot back is filled later", alice, &clientpb.ProposeRequest{
			Source: []byte(lend), Parties: []string{a, b}, Terms: []string{"n=5", "by=+1d"}, Pots: []string{"loan=btc", "back=btc"},
		}},
		{"a pace that is none", "growth of 50 percent", alice, paced(&clientpb.Pace{Growth: 50}, a, b)},
		{"rounds beyond the own limit", "its rounds grow to 11 units, at most 10 are allowed (max_round)", bob, paced(&clientpb.Pace{First: 1, Most: 11}, a, b)},
		{"too short a wait", "its steps wait 59s, at least 1m0s are asked for (min_wait)", bob, paced(&clientpb.Pace{First: 1, Most: 5, Wait: 59}, a, b)},
		{"too long a wait", "its steps wait 1h0m1s, at most 1h0m0s are allowed (max_wait)", bob, paced(&clientpb.Pace{First: 1, Most: 5, Wait: 3601}, a, b)},
		{"more than the own bound", "up to 5 units could be lost, and max_loss allows 4", bob, paced(&clientpb.Pace{First: 1, Growth: 100, Most: 1, Wait: 60}, a, b)},
	} {
		if err := ask(x.who, x.ask); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.name, err, x.want)
		}
	}
	if n := len(alice.have("btc", "available")) + len(bob.have("eth", "available")); n != 4 {
		t.Errorf("%d chunks are free after refusals, want 4", n)
	}

	// Of others: a pace outside of bob's limits is declined by itself, and alice is told why.
	alice.wait(2, "btc", "available")
	r := w.inTurns(5, &clientpb.Pace{First: 1, Growth: 100, Most: 5, Wait: 10}, 0)
	w.until("bob's client declines", func() string {
		if state, reason := alice.draft(r.Id); state != draftEnded || !strings.Contains(reason, "declined: outside of the limits of this client: its steps wait 10s, at least 1m0s are asked for (min_wait)") {
			return state + ": " + reason
		}
		return ""
	})
	if state, _ := bob.draft(r.Id); state != "unknown" {
		t.Errorf("bob keeps it as %s", state)
	}
	// What he can lose shows with his chunks: he is refused, unless he says more himself.
	r = w.inTurns(5, &clientpb.Pace{First: 1, Growth: 100, Most: 5, Wait: 60}, 0)
	bob.comes(r.Id)
	if err := bob.AnswerDraft(t.Context(), r.Id, true, ""); !errors.Is(err, errLimits) || !strings.Contains(err.Error(), "max_loss allows 4") {
		t.Errorf("bob accepts more than his limit: %v", err)
	}
	if x, err := (server{h: bob.Host}).Answer(t.Context(), &clientpb.AnswerRequest{Id: r.Id, Accept: true, MaxLoss: 5}); err != nil || x.AtRisk != 5 {
		t.Errorf("bob accepts more, and says so: %v, %v", x, err)
	}
}

func TestLimits(t *testing.T) {
	pace := settle.Pace{First: 1, Growth: 100, Most: 5, Wait: 60}
	for _, x := range []struct {
		l   Limits
		err bool
	}{
		{Limits{}, false},
		{Limits{MaxRound: 5, MinWait: 60, MaxWait: 60}, false},
		{Limits{MaxRound: 4}, true},
		{Limits{MinWait: 61}, true},
		{Limits{MaxWait: 59}, true},
	} {
		if err := x.l.allow(&pace); (err != nil) != x.err || err != nil && !errors.Is(err, errLimits) {
			t.Errorf("%+v: %v", x.l, err)
		}
		if err := x.l.allow(nil); err != nil {
			t.Errorf("%+v, atomic: %v", x.l, err)
		}
	}
	if err := (Limits{MinWait: 61, MaxWait: 60}).Check(); err == nil {
		t.Error("no wait is within these limits")
	}
	for _, x := range []struct {
		most, said uint64
		loss       int64
		err        bool
	}{{0, 0, 1 << 40, false}, {5, 0, 5, false}, {5, 0, 6, true}, {5, 6, 6, false}, {5, 4, 5, true}, {0, 4, 5, true}} {
		if err := (Limits{MaxLoss: x.most}).bounded(x.loss, x.said); (err != nil) != x.err {
			t.Errorf("%+v: %v", x, err)
		}
	}
}

const lend = `contract Lend
parties lender, borrower
term n  : units 1..100
term by : time
pot loan = n units from lender
later pot back = n units from borrower
at open:
  give all of loan to borrower
phase Repay until by
  when deposit back:
    give all of back to lender
    close
  at deadline: close
`

func TestLimitsInTheConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "client.toml")
	const head = "name = \"a\"\nlisten = \"unix:l\"\ndata = \"d\"\nsocket = \"s\"\nescrow = \"http://127.0.0.1:1\"\nswitchboard = \"http://127.0.0.1:1\"\n"
	const tail = "[[wallet]]\nasset = \"btc\"\nurl = \"unix:w\"\n"
	for _, x := range []struct {
		text, err string
		want      Limits
	}{
		{head + tail, "", Limits{}},
		{head + "[tit_for_tat]\nmax_loss = 10\nmax_round = 20\nmin_wait = 60\nmax_wait = 3600\n" + tail, "", Limits{10, 20, 60, 3600}},
		{head + "[tit_for_tat]\nmin_wait = 61\nmax_wait = 60\n" + tail, "tit_for_tat: min_wait 61 is more than max_wait 60", Limits{}},
		{head + "[tit_for_tat]\nmax_lose = 1\n" + tail, "max_lose", Limits{}},
	} {
		if err := os.WriteFile(path, []byte(x.text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := ReadFile(path)
		if x.err != "" {
			if err == nil || !strings.Contains(err.Error(), x.err) {
				t.Errorf("%v, want %q", err, x.err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if cfg, err := f.Host(slog.New(slog.DiscardHandler)); err != nil || cfg.Limits != x.want {
			t.Errorf("%+v, %v; want %+v", cfg.Limits, err, x.want)
		}
	}
}
