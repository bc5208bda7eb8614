package client

import (
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"strings"
	"testing"

	"latchkey/client/clientpb"
	"latchkey/contract/oracle"
	"latchkey/examples"
	"latchkey/wire"
)

const feed = "asset/test"

// signers are the keys of an oracle.
func signers(n int) (list []ed25519.PrivateKey) {
	for range n {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		list = append(list, must(k, err))
	}
	return list
}

func publics(list []ed25519.PrivateKey) (out [][]byte) {
	for _, k := range list {
		out = append(out, k.Public().(ed25519.PublicKey))
	}
	return out
}

// signed has keys sign a value each, in order, for one time.
func signed(keys []ed25519.PrivateKey, at int64, values ...int64) (list []oracle.Signed) {
	for i, v := range values {
		list = append(list, must(oracle.Value{Feed: feed, Time: at, Value: v}.Sign(keys[i])))
	}
	return list
}

// report brings values as the command does.
func (c *citizen) report(instance string, list []oracle.Signed) (*clientpb.ReportResponse, error) {
	q := &clientpb.ReportRequest{Instance: instance}
	for _, s := range list {
		q.Signed = append(q.Signed, must(s.Encode()))
	}
	return server{h: c.Host}.Report(c.town.t.Context(), q)
}

// opened waits until a draft's instance runs, and returns it.
func (c *citizen) opened(draft string) (instance string) {
	c.town.t.Helper()
	c.town.until(c.name+" sees it open", func() string {
		for _, d := range c.status().Deals {
			if strings.HasSuffix(d.Id, draft) && strings.Contains(d.Wait.WaitsFor, "phase") {
				instance = d.Instance
				return ""
			}
		}
		return "not yet; " + strings.Join(c.status().Problems, "; ")
	})
	return instance
}

// phase waits until an instance is in a phase.
func (c *citizen) phase(instance, want string) {
	c.town.t.Helper()
	c.town.until("phase "+want, func() string {
		for _, d := range c.status().Deals {
			if d.Instance == instance && strings.HasSuffix(d.Wait.WaitsFor, "phase "+want) {
				return ""
			}
		}
		return "not yet; " + strings.Join(c.status().Problems, "; ")
	})
}

// refuses checks that a report is refused for a reason.
func (c *citizen) refuses(instance, why string, list []oracle.Signed) {
	c.town.t.Helper()
	if _, err := c.report(instance, list); err == nil || !strings.Contains(err.Error(), why) {
		c.town.t.Errorf("report of %s: %v, want an error with %q", c.name, err, why)
	}
}

// A contract for difference from the deposit to the payout: four oracles of which
// three have to sign, one of them lies, and one signs two values.
func TestDifferenceIsPaid(t *testing.T) {
	w := newTown(t, "alice", "bob")
	ctx := t.Context()
	alice, bob := w.clients["alice"], w.clients["bob"]
	alice.deposit("btc", 1, 5)
	bob.deposit("eth", 1, 5)
	if err := alice.SetChoice(ctx, "eth", Choice{Keep: true}); err != nil {
		t.Fatal(err)
	}
	source := must(examples.Files.ReadFile("cfd.latchkey"))
	keys := signers(4)
	q := func() *clientpb.ProposeRequest {
		return &clientpb.ProposeRequest{
			Source: source, Parties: []string{"me", bob.id.String()},
			Terms: []string{"stake=5", "leverage=3", "strike=100", "settle_at=+1h", "grace=1h"}, Pots: []string{"bull=btc", "bear=eth"},
			Oracles: []*clientpb.OracleChoice{{Name: "price", Feed: feed, Keys: publics(keys), Need: 3}}, States: 60_000,
		}
	}
	for _, x := range []struct {
		want   string
		change func(*clientpb.ProposeRequest)
	}{
		{"oracle price: whose values count", func(q *clientpb.ProposeRequest) { q.Oracles = nil }},
		{"the contract leaves its feed open", func(q *clientpb.ProposeRequest) { q.Oracles[0].Feed = "" }},
		{"ask for more than half", func(q *clientpb.ProposeRequest) { q.Oracles[0].Need = 2 }},
		{"reads no oracle \"rate\"", func(q *clientpb.ProposeRequest) {
			q.Oracles = append(q.Oracles, &clientpb.OracleChoice{Name: "rate", Feed: feed, Keys: publics(keys), Need: 3})
		}},
		{"named twice", func(q *clientpb.ProposeRequest) { q.Oracles = append(q.Oracles, q.Oracles[0]) }},
		{"or one is there twice", func(q *clientpb.ProposeRequest) { q.Oracles[0].Keys[1] = q.Oracles[0].Keys[0] }},
		{"want 1 to 200000", func(q *clientpb.ProposeRequest) { q.States = 200_001 }},
	} {
		r := q()
		x.change(r)
		if _, err := (server{h: alice.Host}).Propose(ctx, r); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("propose: %v, want an error with %q", err, x.want)
		}
	}
	p, err := (server{h: alice.Host}).Propose(ctx, q())
	if err != nil {
		t.Fatal(err)
	}
	v := bob.comes(p.Id)
	if len(v.Oracles) != 1 || v.Oracles[0].Feed != feed || len(v.Oracles[0].Keys) != 4 || v.Oracles[0].Need != 3 || v.Oracles[0].Liars != 1 || v.States != 60_000 || v.Moves != usualMoves {
		t.Errorf("bob is shown oracles %v, bounds %d and %d", v.Oracles, v.States, v.Moves)
	}
	if err := bob.AnswerDraft(ctx, p.Id, true, ""); err != nil {
		t.Fatal(err)
	}
	in := bob.opened(p.Id)
	alice.opened(p.Id)

	now := bob.status().Now
	bob.refuses(in, "signed by 2 keys, and 3 of 4 have to", signed(keys, now, 101, 101))
	bob.refuses(in, "is none of the agreement's", signed(signers(3), now, 101, 101, 101))
	bob.refuses(in, "10m0s ago: phase Live waits for a value newer than the last and at most 1m0s old", signed(keys, now-600, 101, 101, 101))
	bob.refuses(in, "too early", signed(keys, now+600, 101, 101, 101))
	bob.refuses(in, ", 10m0s ago", slices.Concat(signed(keys, now-900, 101, 101, 101), signed(keys, now-600, 101, 101, 101), signed(keys, now-700, 101, 101, 101)))
	bob.refuses(in, "outside what the contract takes: 1 to", signed(keys, now, 0, 0, 0))
	bob.refuses(strings.Repeat("0", 64), "no party of it", signed(keys, now, 1, 1, 1))
	if _, err := (server{h: bob.Host}).Report(ctx, &clientpb.ReportRequest{Instance: in, Signed: [][]byte{{1}}}); err == nil || !strings.Contains(err.Error(), "value 0: oracle refused") {
		t.Errorf("a value that is none: %v", err)
	}
	other := must(oracle.Value{Feed: "gold/usd", Time: now, Value: 5}.Sign(keys[0]))
	bob.refuses(in, "what is given is gold/usd at", []oracle.Signed{other})

	// A value in between is noted, once, whoever brings it again.
	live := signed(keys, now-30, 101, 102, 101)
	r, err := bob.report(in, slices.Concat(signed(keys, now-50, 99, 99, 99), live, signed(keys, now-600, 98, 98, 98)))
	if err != nil || r.State != "logged" || r.Value != 101 || r.Again || !strings.Contains(strings.Join(r.Did, " "), "it is noted") {
		t.Fatalf("bob brings a value: %v: %v", r, err)
	}
	w.until("alice hears of it", func() string {
		return map[bool]string{false: "not yet"}[strings.Contains(alice.told("observed").Text, "oracle price of Cfd is 101, observed at ")]
	})
	for _, c := range []*citizen{bob, alice} {
		if again, err := c.report(in, live); err != nil || !again.Again || again.Entry != r.Entry {
			t.Errorf("%s brings it again: %v: %v", c.name, again, err)
		}
	}

	// Two reports for one time are one: what the vault keeps is repeated.
	s := must(bob.stage(ctx, must(instanceID(in))))
	chosenOf := func(at int64, values ...int64) chosen {
		list, _, err := rounds(s.agreement, s.deal.Program(), ReportAsk{Instance: s.id, Signed: signed(keys, at, values...)})
		if err != nil {
			t.Fatal(err)
		}
		return must(bob.choose(s, list))
	}
	three, four := chosenOf(now, 101, 101, 101), chosenOf(now, 101, 101, 101, 101)
	for _, c := range []chosen{three, four} { // the second perhaps when the log has the first
		name, err := bob.bring(ctx, s, c)
		if err == nil {
			err = bob.logged(ctx, name, &clientpb.ReportResponse{})
		}
		if err != nil && !strings.Contains(err.Error(), "no clause takes the value 101") {
			t.Errorf("two reports for one time: %v", err)
		}
	}

	// What only the escrow can refuse is told to who brought it.
	list, _, err := rounds(s.agreement, s.deal.Program(), ReportAsk{Instance: s.id, Signed: signed(keys, now+1, 101, 101, 101)})
	if err != nil {
		t.Fatal(err)
	}
	w.later(100)
	late := chosen{round: list[0]}
	late.report.After = s.newest
	name, err := bob.bring(ctx, s, late)
	if err == nil {
		err = bob.logged(ctx, name, &clientpb.ReportResponse{})
	}
	if err == nil || !strings.Contains(err.Error(), "the escrow did not take it") || !strings.Contains(err.Error(), "oracle price: ") {
		t.Errorf("a report that comes too late: %v", err)
	}
	words := must(server{h: bob.Host}.Words(ctx, &clientpb.WordsRequest{Prove: true})).Words
	kept := slices.IndexFunc(words, func(w *clientpb.SaidWord) bool { return w.Report && w.Entry == r.Entry })
	if kept < 0 || words[kept].Promised == 0 || !strings.HasPrefix(words[kept].Text, "101 of oracle price at ") {
		t.Errorf("the receipt of what bob brought is not kept: %v", words)
	}

	// The price at the end: one oracle lies, and one signs two values.
	settle := s.agreement.Terms[3]
	w.ahead.Add(settle - bob.status().Now + 5)
	bob.phase(in, "Settle")
	bob.refuses(in, "phase Settle waits for the value for exactly", signed(keys, settle+1, 120, 119, 120))
	given := append(signed(keys, settle, 120, 119, 1_000_000, 120), must(oracle.Value{Feed: feed, Time: settle, Value: 121}.Sign(keys[3])))
	if err := oracle.NewFraud(given[3], given[4]).Verify(); err != nil {
		t.Errorf("two values of one key for one time prove no fraud: %v", err)
	}
	plan, err := (server{h: bob.Host}).Report(ctx, &clientpb.ReportRequest{Instance: in, PlanOnly: true, Signed: encoded(given)})
	if err != nil || plan.State != "planned" || len(plan.Did) == 0 {
		t.Errorf("a plan: %v: %v", plan, err)
	}
	r, err = bob.report(in, given)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(r.Notes, "; "); r.Value != 120 || len(r.Values) != 3 || !strings.Contains(notes, "FRAUD: key") {
		t.Errorf("what counts is %d of %d values, want 120 of 3; %s", r.Value, len(r.Values), notes)
	}
	want := "3 units of pot bear go to long; 2 units of pot bear go back to short; the contract is over"
	if got := strings.Join(r.Did, "; "); r.State != "logged" || got != "5 units of pot bull go back to long; "+want {
		t.Errorf("it is %s, and did: %s", r.State, got)
	}
	alice.wait(3, "eth", "held")
	if again, err := bob.report(in, given); err != nil || !again.Again || strings.Join(again.Did, "; ") != strings.Join(r.Did, "; ") {
		t.Errorf("once more: %v: %v", again, err)
	}
	bob.refuses(in, "it is closed", signed(keys, settle, 130, 130, 130))
}

func encoded(list []oracle.Signed) (out [][]byte) {
	for _, s := range list {
		out = append(out, must(s.Encode()))
	}
	return out
}

func instanceID(text string) (id wire.InstanceID, err error) {
	err = id.UnmarshalText([]byte(text))
	return id, err
}
