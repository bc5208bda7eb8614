package client

import (
	"strings"
	"testing"

	"latchkey/client/clientpb"
	"latchkey/examples"
)

// says has a client say a word as the command does.
func (c *citizen) says(instance, word, figure string) (string, error) {
	r, err := server{h: c.Host}.Say(c.town.t.Context(), &clientpb.SayRequest{Instance: instance, Word: word, Figure: figure})
	if err != nil {
		return "", err
	}
	return r.Note, nil
}

// heardAll waits until the log has all that a client said.
func (c *citizen) heardAll() {
	c.town.t.Helper()
	c.town.until(c.name+" is heard", func() string {
		for _, s := range c.said() {
			if s.Entry == 0 {
				return "not yet; " + strings.Join(c.status().Problems, "; ")
			}
		}
		return ""
	})
}

// A seller and three bidders, who hold one role: bids are sealed and shown, over a
// restart, and who keeps its bid closed loses its pledge.
func TestSealedAuction(t *testing.T) {
	w := newTown(t, "seller", "ann", "ben", "cid")
	ctx := t.Context()
	seller := w.clients["seller"]
	seller.deposit("btc", 5, 1)
	bidders := []*citizen{w.clients["ann"], w.clients["ben"], w.clients["cid"]}
	parties := []string{"me"}
	for _, c := range bidders {
		c.deposit("eth", 1, 3)
		parties = append(parties, c.id.String())
		if err := c.SetChoice(ctx, "btc", Choice{Keep: true}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range w.clients {
		if err := c.SetChoice(ctx, "eth", Choice{Keep: true}); err != nil {
			t.Fatal(err)
		}
	}
	propose := func(change func(*clientpb.ProposeRequest)) (string, error) {
		q := &clientpb.ProposeRequest{
			Source: must(examples.Files.ReadFile("auction-sealed.latchkey")), Parties: parties,
			Terms: []string{"lot_units=5", "reserve=1", "pledge=1", "commit_by=+1h", "show_by=+2h", "limit=2"},
			Pots:  []string{"lot=btc", "purse=eth", "earnest=eth"},
		}
		change(q)
		r, err := server{h: seller.Host}.Propose(ctx, q)
		if err != nil {
			return "", err
		}
		return r.Id, nil
	}
	for _, x := range []struct {
		want   string
		change func(*clientpb.ProposeRequest)
	}{
		{"1 is outside its range, 2 to 6", func(q *clientpb.ProposeRequest) { q.Terms = append(q.Terms, "bidder=1") }},
		{"4 parties, contract SealedAuction has 3", func(q *clientpb.ProposeRequest) { q.Terms = append(q.Terms, "bidder=2") }},
		{"1 holders of role bidder", func(q *clientpb.ProposeRequest) { q.Parties = parties[:2] }},
		{"term limit 1 is missing: units, 1 to 100 units", func(q *clientpb.ProposeRequest) { q.Terms = q.Terms[:5] }},
		{"term \"limit 4\"", func(q *clientpb.ProposeRequest) { q.Terms = append(q.Terms, "limit 4=2") }},
		{"has no pot \"pursue\"", func(q *clientpb.ProposeRequest) { q.Pots = append(q.Pots, "pursue=eth") }},
		{"is to hold btc, and by its contract it holds eth", func(q *clientpb.ProposeRequest) { q.Pots = append(q.Pots, "purse 2=btc") }},
	} {
		if _, err := propose(x.change); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("propose: %v, want an error with %q", err, x.want)
		}
	}
	id, err := propose(func(*clientpb.ProposeRequest) {})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range bidders {
		v := c.comes(id)
		if want := []string{"bidder 1", "bidder 2", "bidder 3"}[i]; v.Draft.Role != want || len(v.Parties) != 4 || len(v.Pots) != 7 || len(v.Payouts) == 0 {
			t.Errorf("%s is shown itself as %q of %d parties, %d pots, %d payouts, %v", c.name, v.Draft.Role, len(v.Parties), len(v.Pots), len(v.Payouts), v.Warnings)
		}
		if err := c.AnswerDraft(ctx, id, true, ""); err != nil {
			t.Fatal(err)
		}
	}
	in := bidders[0].opened(id)
	ann, ben, cid := bidders[0], bidders[1], bidders[2]
	for _, c := range bidders {
		c.opened(id)
	}
	if _, err := ann.says(in, "bid", ""); err == nil || !strings.Contains(err.Error(), "the contract wants a value sealed") {
		t.Errorf("a sealed word without a value: %v", err)
	}
	if _, err := ann.says(in, "bid", "200"); err == nil || !strings.Contains(err.Error(), "200 units can never be opened: the contract takes 1 to 100 units") {
		t.Errorf("a bid outside its range is sealed: %v", err)
	}
	if _, err := (server{h: ann.Host}).Say(ctx, &clientpb.SayRequest{Instance: in, Word: "show", Figure: "2", Sealed: true}); err == nil || !strings.Contains(err.Error(), "nothing is said") {
		t.Errorf("a value that nothing seals: %v", err)
	}
	for c, bid := range map[*citizen]string{ann: "1", ben: "2 units", cid: "2"} {
		note, err := c.says(in, "bid", bid)
		if err != nil || !strings.Contains(note, `"show" in phase Show`) {
			t.Fatalf("%s bids: %q, %v", c.name, note, err)
		}
		c.heardAll()
		for _, x := range c.said() {
			if x.Word.Body.HasValue || x.Word.Body.Value != 0 || len(x.Word.Body.Seal) != 32 {
				t.Errorf("%s gave its bid away: %+v", c.name, x.Word.Body)
			}
		}
	}
	waits := func(c *citizen) *clientpb.Wait {
		for _, d := range c.status().Deals {
			if d.Instance == in {
				return d.Wait
			}
		}
		return &clientpb.Wait{}
	}
	if got := waits(ben).WaitsFor; !strings.Contains(got, `your sealed value is opened in phase Show, with "show"`) {
		t.Errorf("ben waits for %q", got)
	}
	w.ahead.Add(3600 + 5)
	w.until("phase Show", func() string {
		return map[bool]string{false: "not yet"}[strings.Contains(waits(ben).WaitsFor, "the contract, phase Show")]
	})
	if got := waits(ben); !strings.Contains(got.WaitsFor, `open your sealed value with latchkey say --instance `) || !strings.HasSuffix(got.Then, ": as things stand, 2 units of pot purse 2 go back to bidder 2, 1 unit of pot earnest 2 goes to seller, the contract is over") || got.Until == 0 {
		t.Errorf("ben waits for %q until %d, then %q", got.WaitsFor, got.Until, got.Then)
	}
	ben.stop()
	ben.start()
	ann.sees(in)
	if _, err := ann.says(in, "show", "2"); err == nil || !strings.Contains(err.Error(), "leave the number out") {
		t.Errorf("a value beside the one that was sealed: %v", err)
	}
	for _, c := range []*citizen{ann, ben} {
		w.until(c.name+" shows", func() string {
			if _, err := c.says(in, "show", ""); err != nil {
				return err.Error()
			}
			return ""
		})
		c.heardAll()
	}
	if got := waits(ben).WaitsFor; !strings.HasSuffix(got, "phase Show") {
		t.Errorf("with its bid open ben waits for %q", got)
	}
	w.ahead.Add(3600 + 5)
	ben.wait(1, "btc", "held")
	seller.wait(3, "eth", "held") // two that ben pays, and cid's pledge
	ann.wait(3, "eth", "held")
}

// sees waits until a client's vault sees the second phase.
func (c *citizen) sees(instance string) {
	c.town.t.Helper()
	c.town.until(c.name+" sees phase Show", func() string {
		for _, d := range c.status().Deals {
			if d.Instance == instance && strings.Contains(d.Wait.WaitsFor, "the contract, phase Show") {
				return ""
			}
		}
		return "not yet"
	})
}
