package switchboard_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/market"
	"latchkey/switchboard"
	"latchkey/switchboard/switchboardpb"
	"latchkey/vault"
	"latchkey/wire"
)

// pair is a world with two clients whose chunks are with the switchboard.
func pair(t *testing.T) (w *world, alice, bob *client) {
	w = newWorld(t, 2)
	alice, bob = w.clients[0], w.clients[1]
	for _, c := range w.clients {
		c.enrol()
	}
	alice.deposit(btc, 5, 2)
	bob.deposit(xmr, 5, 2)
	return w, alice, bob
}

// propose has both place offers that meet.
func propose(t *testing.T, alice, bob *client) {
	t.Helper()
	for _, x := range []struct {
		c *client
		o market.Offer
	}{{alice, alice.offer(0, btc, xmr, 10)}, {bob, bob.offer(1, xmr, btc, 10)}} {
		if err := x.c.board.Place(t.Context(), x.o); err != nil {
			t.Fatal(err)
		}
		if err := x.c.board.Place(t.Context(), x.o); err != nil {
			t.Fatalf("the same offer again: %v", err)
		}
	}
}

func TestExchange(t *testing.T) {
	for _, x := range []struct {
		name    string
		between func(*world) // what happens between any two steps
	}{
		{"undisturbed", func(*world) {}},
		{"restarted at every step", func(w *world) { w.restart(false) }},
		{"killed at every step", func(w *world) { w.restart(true) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			w, alice, bob := pair(t)
			x.between(w)
			propose(t, alice, bob)
			x.between(w)
			na, nb := alice.next(), bob.next() // they were not waiting: notices are kept
			if na.Proposal == nil || nb.Proposal == nil {
				t.Fatalf("no proposal: %+v, %+v", na, nb)
			}
			if len(na.Papers) != 2 || len(nb.Papers) != 2 || len(na.Peers) != 1 || len(nb.Peers) != 1 {
				t.Fatalf("%d and %d papers, %d and %d peers", len(na.Papers), len(nb.Papers), len(na.Peers), len(nb.Peers))
			}
			if !bytes.Equal(na.Peers[0].Evidence, bob.evidence) || !bytes.Equal(nb.Peers[0].Evidence, alice.evidence) {
				t.Error("a peer's evidence is not what it showed")
			}
			a := alice.accept(na)
			x.between(w)
			if b := bob.accept(nb); !cmp.Equal(a, b) {
				t.Fatalf("they sign different agreements:\n%s", cmp.Diff(a, b))
			}
			x.between(w)
			ga, gb := alice.next(), bob.next()
			if ga.Accepted == nil || !cmp.Equal(ga.Accepted, gb.Accepted) || len(ga.Accepted.Acceptances) != 2 {
				t.Fatalf("acceptances: %+v and %+v", ga.Accepted, gb.Accepted)
			}
			w.lock(a, ga.Accepted)
			x.between(w)
			w.run()
			x.between(w)
			for _, c := range w.clients {
				for ended, closed := false, false; !ended || !closed; {
					for _, n := range c.poll() {
						switch {
						case n.Ended != nil && n.Ended.Outcome == market.Done:
							ended = true
						case n.Closed != nil && n.Closed.Why == market.Filled:
							closed = true
						default:
							t.Fatalf("notice %+v", n.Delivery)
						}
					}
				}
			}
			x.between(w)
			var s switchboard.ClientStatus
			r, err := alice.board.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(r.Json), &s); err != nil {
				t.Fatal(err)
			}
			if s.Client.Reputation.Successes != 1 || len(s.Chunks) != 2 {
				t.Fatalf("alice's reputation %+v, chunks %+v", s.Client.Reputation, s.Chunks)
			}
			for _, c := range s.Chunks {
				if c.Owner != alice.id || c.Epoch != 1 || len(c.Held) != 2 || !strings.HasPrefix(c.Denomination, "xmr-") {
					t.Errorf("chunk %+v", c)
				}
			}
		})
	}
}

// What was received can be offered again; its lineage comes from the log.
func TestReceivedChunksAreDepositedAgain(t *testing.T) {
	w, alice, bob := pair(t)
	propose(t, alice, bob)
	na, nb := alice.next(), bob.next()
	a := alice.accept(na)
	bob.accept(nb)
	w.lock(a, alice.next().Accepted)
	w.run()
	var ids []wire.ChunkID
	for _, s := range na.Proposal.Sides[1].Chunks {
		ids = append(ids, s.Chunk)
	}
	w.eventually(func() error { return alice.board.Deposit(t.Context(), alice.announcement(ids)) })
	r, err := alice.board.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.Json, `"place":"available"`) {
		t.Errorf("status: %s", r.Json)
	}
	stale := alice.announcement(ids)
	stale.Epochs[0] = 0
	if err := alice.board.Deposit(t.Context(), stale); err == nil || !strings.Contains(err.Error(), "at epoch 1") {
		t.Errorf("deposit at an old epoch: %v", err)
	}
}

func TestNeverLocked(t *testing.T) {
	w, alice, bob := pair(t)
	propose(t, alice, bob)
	na, nb := alice.next(), bob.next()
	alice.accept(na)
	bob.accept(nb)
	alice.next()
	for range 8 { // nobody brings it to the escrow
		w.now.Add(10)
		w.run()
	}
	n := alice.next()
	if n.Ended == nil || n.Ended.Why != market.NeverLocked || len(n.Ended.Fault) != 0 {
		t.Fatalf("notice %+v", n.Delivery)
	}
}

// What Alice's vault has signed away when Bob declines is pledged in her vault, so nobody is offered it until the escrow's
// log has passed the time; then it is free, in both. That outlives a restart.
func TestDeclinedRestsUntilTheLogSaysSo(t *testing.T) {
	w, alice, bob := pair(t)
	propose(t, alice, bob)
	na, nb := alice.next(), bob.next()
	alice.accept(na)
	if err := bob.board.Decline(t.Context(), nb.Proposal.ID, market.Unfunded, 0); err != nil {
		t.Fatal(err)
	}
	if n := alice.next(); n.Ended == nil || n.Ended.Why != market.Declined {
		t.Fatalf("notice %+v", n.Delivery)
	}
	places := func() (out []string) {
		r, err := alice.board.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var s switchboard.ClientStatus
		if err := json.Unmarshal([]byte(r.Json), &s); err != nil {
			t.Fatal(err)
		}
		for _, c := range s.Chunks {
			out = append(out, c.Place)
		}
		return out
	}
	pledged := func() (n int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, x := range na.Proposal.Sides[0].Chunks {
			if alice.o.Pledged(x.Chunk) != (wire.Hash{}) {
				n++
			}
		}
		return n
	}
	for restarted := range 2 {
		if got := places(); !cmp.Equal(got, []string{"pledged", "pledged"}) || pledged() != 2 {
			t.Fatalf("restarted %d times: the market has them as %q; %d are pledged in the vault", restarted, got, pledged())
		}
		if restarted == 0 {
			w.restart(true)
		}
	}
	for w.now.Load() <= na.Proposal.LockBy {
		if got := places(); !cmp.Equal(got, []string{"pledged", "pledged"}) {
			t.Fatalf("%d s too early: %q", na.Proposal.LockBy-w.now.Load(), got)
		}
		w.now.Add(10)
		w.run()
	}
	w.eventually(func() error {
		w.now.Add(1)
		w.run()
		if got := places(); !cmp.Equal(got, []string{"available", "available"}) {
			return fmt.Errorf("the market has them as %q", got)
		}
		return nil
	})
	if pledged() != 0 {
		t.Error("free in the market, and not in the vault")
	}
}

func TestAbortBlamesWhoDidNotHandOver(t *testing.T) {
	w, alice, bob := pair(t)
	propose(t, alice, bob)
	na, nb := alice.next(), bob.next()
	a := alice.accept(na)
	bob.accept(nb)
	got := alice.next()
	w.lock(a, got.Accepted)
	w.clients = []*client{alice} // bob is gone
	for range 5 {
		w.now.Add(20)
		w.round()
	}
	n := alice.next()
	if n.Ended == nil || n.Ended.Why != market.InstanceBroken {
		t.Fatalf("notice %+v", n.Delivery)
	}
	if diff := cmp.Diff([]uint8{1}, n.Ended.Fault); diff != "" {
		t.Errorf("fault (-want +got):\n%s", diff)
	}
}

func TestClaimEndsAProposal(t *testing.T) {
	w, alice, bob := pair(t)
	propose(t, alice, bob)
	na := alice.next()
	bob.next()
	id := na.Proposal.Sides[0].Chunks[0].Chunk
	w.mu.Lock()
	rows, err := alice.o.Claim([]wire.ChunkID{id})
	alice.keep(rows, err)
	w.mu.Unlock()
	w.run()
	n := alice.next()
	if n.Ended == nil || n.Ended.Why != market.ChunkClaimed || !cmp.Equal(n.Ended.Fault, []uint8{0}) {
		t.Fatalf("notice %+v", n.Delivery)
	}
	if err := alice.board.Deposit(t.Context(), alice.announcement([]wire.ChunkID{id})); err == nil || !strings.Contains(err.Error(), "claimed") {
		t.Errorf("deposit of a claimed chunk: %v", err)
	}
}

func TestDepositsThatAreRefused(t *testing.T) {
	w, alice, bob := pair(t)
	mine, theirs := alice.chunks(btc, 1, 2), bob.chunks(xmr, 1, 1)
	good := func() switchboard.Announcement { return alice.announcement(mine) }
	// Refusals are about what the switchboard knows: let it have followed the log.
	w.eventually(func() error {
		err := alice.board.Deposit(t.Context(), bob.announcement(theirs))
		if err == nil || strings.Contains(err.Error(), "followed up to") {
			return fmt.Errorf("another's chunk: %v", err)
		}
		return nil
	})
	for _, x := range []struct {
		name string
		make func() switchboard.Announcement
		want string
	}{
		{"nothing", func() switchboard.Announcement { return switchboard.Announcement{} }, "0 papers"},
		{"without epochs", func() switchboard.Announcement { a := good(); a.Epochs = nil; return a }, "0 epochs"},
		{"of another epoch", func() switchboard.Announcement { a := good(); a.Epochs[1] = 7; return a }, "at epoch 0"},
		{"another's chunk", func() switchboard.Announcement { return bob.announcement(theirs) }, "belongs to vault " + bob.id.Short()},
		{"of two certificates", func() switchboard.Announcement {
			a := good()
			b := bob.announcement(theirs)
			a.Papers[1] = b.Papers[0]
			return a
		}, "several certificates"},
		{"twice the same", func() switchboard.Announcement { a := good(); a.Papers[1] = a.Papers[0]; return a }, "twice"},
		{"forged", func() switchboard.Announcement {
			a := good()
			for i := range a.Papers {
				a.Papers[i].Cert.EscrowSig = bytes.Repeat([]byte{1}, 64)
			}
			return a
		}, "certificate"},
		{"another's key", func() switchboard.Announcement { a := good(); a.Papers[0].Chunk.Index ^= 1; return a }, "chunk"},
	} {
		err := alice.board.Deposit(t.Context(), x.make())
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: error %v, want %q", x.name, err, x.want)
		}
	}
	w.eventually(func() error { return alice.board.Deposit(t.Context(), good()) })
}

func TestAcceptancesThatAreRefused(t *testing.T) {
	_, alice, bob := pair(t)
	propose(t, alice, bob)
	na, nb := alice.next(), bob.next()
	_, mine := alice.agree(na)
	_, theirs := bob.agree(nb)
	other := mine
	other.Body.Agreement[0] ^= 1
	role := mine
	role.Body.Role = 9
	for _, x := range []struct {
		name string
		s    vault.SignedAcceptance
	}{{"of another agreement", other}, {"of no party", role}, {"another's", theirs}, {"without a signature", vault.SignedAcceptance{Body: mine.Body}}} {
		if err := alice.board.Accept(t.Context(), na.Proposal.ID, x.s); err == nil {
			t.Errorf("an acceptance %s is taken", x.name)
		}
	}
	for range 2 { // again changes nothing
		if err := alice.board.Accept(t.Context(), na.Proposal.ID, mine); err != nil {
			t.Fatal(err)
		}
	}
	if err := bob.board.Decline(t.Context(), nb.Proposal.ID, market.Unfunded, 0); err != nil {
		t.Fatal(err)
	}
	if n := alice.next(); n.Ended == nil || n.Ended.Why != market.Declined {
		t.Errorf("notice %+v", n.Delivery)
	}
}

func TestCancelAndBook(t *testing.T) {
	w, alice, _ := pair(t)
	o := alice.offer(0, btc, xmr, 10)
	if err := alice.board.Place(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	public := switchboardpb.NewSwitchboardServiceClient(plain(), w.url)
	book := func() []string {
		r, err := public.Book(t.Context(), &switchboardpb.BookRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return r.Lines
	}
	if b := book(); len(b) != 1 || !strings.Contains(b[0], "Swap: wants 10 units of xmr-") {
		t.Errorf("book: %q", b)
	}
	r, err := alice.board.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Lines) != 2 || r.Lines[0].WaitsFor != "an offer of the other side" || r.Lines[0].Until != o.Until {
		t.Errorf("status: %v", r.Lines)
	}
	if err := alice.board.Cancel(t.Context(), o.ID); err != nil {
		t.Fatal(err)
	}
	if n := alice.next(); n.Closed == nil || n.Closed.Why != market.Cancelled {
		t.Errorf("notice %+v", n.Delivery)
	}
	if b := book(); len(b) != 0 {
		t.Errorf("book: %q", b)
	}
	foreign := o
	foreign.ID[0] ^= 1
	foreign.Escrow[0] ^= 1
	if err := alice.board.Place(t.Context(), foreign); err == nil || !strings.Contains(err.Error(), "its escrow is") {
		t.Errorf("an offer of another escrow's chunks: %v", err)
	}
}

// What its owner uses in an agreement that did not come from here leaves the
// market: nobody is offered it any more, and the next owner may offer it.
func TestChunksUsedElsewhereLeaveTheMarket(t *testing.T) {
	w, alice, bob := pair(t)
	ids := alice.o.Chunks()
	if len(ids) != 2 {
		t.Fatalf("alice has %d chunks, want 2", len(ids))
	}
	a := vault.Agreement{
		Source: []byte("contract Pay\nparties payer, payee\npot money = 5 units from payer\nat open:\n  give all of money to payee\n  close\n"),
		Terms:  []int64{}, Parties: []vault.Recipients{{alice.id}, {bob.id}}, Pots: [][]vault.Stake{{{Chunk: ids[0], Weight: 5}}},
		Escrow: w.keys.id, LockBy: w.now.Load() + 60, Settle: vault.Atomic,
	}
	w.mu.Lock()
	paper, err := alice.o.Paper(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	q := vault.LockAsk{Agreement: a}
	for i, c := range []*client{alice, bob} {
		peer := []*client{bob, alice}[i]
		p := vault.Proposal{Agreement: a, Peers: []vault.Peer{{Identity: peer.identity, Vendor: "vendor A"}}}
		if c == bob {
			p.Papers = []vault.Paper{paper}
		}
		s, rows, err := c.o.Accept(p, rand.Reader)
		c.keep(rows, err)
		q.Acceptances = append(q.Acceptances, s)
	}
	ans, err := w.escrow.Handle(alice.id, vault.Request{Lock: &q}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.persist(ans.Block, nil)
	w.mu.Unlock()
	w.run()
	w.mu.Lock()
	size := int64(len(w.entries))
	w.mu.Unlock()
	w.eventually(func() error {
		d, err := alice.board.Describe(t.Context())
		if err == nil && d.Followed < size {
			err = fmt.Errorf("%d of %d entries are followed", d.Followed, size)
		}
		return err
	})

	// Alice offers ten units, and has five left; Bob's xmr would do for all of it.
	propose(t, alice, bob)
	n := alice.next()
	if n.Proposal == nil {
		t.Fatalf("notice %+v", n.Delivery)
	}
	side := n.Proposal.Sides[0]
	if side.Client != alice.id {
		side = n.Proposal.Sides[1]
	}
	if len(side.Chunks) != 1 || side.Chunks[0].Chunk != ids[1] {
		t.Errorf("proposed of alice's are %+v, want the one that she still has, %s", side.Chunks, ids[1].Short())
	}
	if err := bob.board.Deposit(t.Context(), bob.announcement(ids[:1])); err != nil {
		t.Errorf("bob offers what he was paid: %v", err)
	}
}
