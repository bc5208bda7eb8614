package vault_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/coin"
	"latchkey/key"
	"latchkey/settle"
	"latchkey/vault"
	"latchkey/wire"
)

// loan is a contract with a pot that is filled later, in one part or several.
const loan = `contract Loan
parties lender, borrower
term debt : units 1..1000
term wait : duration 1 hours .. 100 days
pot money = debt units from lender
pot coins = debt units from borrower
later pot repayment = debt units from borrower
at open:
  give all of money to borrower
phase Running until now + wait
  when deposit repayment:
    give all of repayment to lender
    close
  when lender says "hurry": next Hurry
  at deadline:
    give all of coins to lender
    close
phase Hurry until now + wait
  when deposit repayment:
    give all of repayment to lender
    close
  when lender says "thanks": close
  at deadline:
    give all of coins to lender
    close
`

// A lending is a loan that is open: the borrower has the money, and chunks to repay.
type lending struct {
	*world
	lender, borrower *client
	id               wire.InstanceID
	money, coins     []wire.ChunkID
	back             []wire.ChunkID // what the borrower repays with
	wait             int64
}

func lend(t testing.TB) *lending {
	w := newWorld(t, 3)
	l := &lending{world: w, lender: w.owners[0], borrower: w.owners[1], wait: 86400}
	btc := denomination("btc", coin.Secp256k1)
	l.money, l.coins = l.lender.deposit(btc, 5, 2), l.borrower.deposit(denomination("xmr", coin.Ed25519), 10, 1)
	l.back = l.borrower.deposit(btc, 5, 2)
	l.id = w.agree(l.agreement())
	w.run()
	if got := l.borrower.holds(l.money); got != 2 {
		t.Fatalf("the borrower has %d chunks of the money, want 2", got)
	}
	return l
}

func (l *lending) agreement() vault.Agreement {
	return vault.Agreement{
		Source: []byte(loan), Terms: []int64{10, l.wait}, Parties: []vault.Recipients{{l.lender.id}, {l.borrower.id}}, Escrow: l.keys.id,
		Pots:   [][]vault.Stake{l.lender.stakes(l.money), l.borrower.stakes(l.coins), {{Weight: 5}, {Weight: 5}}},
		LockBy: l.now + 60, Settle: vault.Atomic, Later: []coin.Denomination{denomination("btc", coin.Secp256k1)},
	}
}

// order has the borrower deposit chunks, which wait ten minutes.
func (l *lending) order(chunks ...wire.ChunkID) {
	l.t.Helper()
	l.borrower.keep(l.borrower.o.Deposit(l.id, 2, chunks, l.now+600))
	l.run()
}

// part has the borrower deposit one chunk; the first one the lender's host finds.
func (l *lending) part(i int) {
	l.t.Helper()
	l.borrower.keep(l.borrower.o.Deposit(l.id, 2, l.back[i:i+1], l.now+600))
	l.run()
	for _, in := range l.lender.o.Instances() {
		if in.ID == l.id && i == 0 {
			l.lender.keep(l.lender.o.Funded(l.id, in.Deposits[0].Entry))
		}
	}
	l.run()
}

// entry returns the newest deposit that waits, as a party's vault has it.
func (l *lending) entry(c *client) vault.Filling {
	l.t.Helper()
	all := c.instance().Deposits
	if len(all) == 0 {
		l.t.Fatalf("%s knows of no deposit", c.name)
	}
	return all[len(all)-1]
}

// found has the lender's host find the coins.
func (l *lending) found() {
	l.t.Helper()
	l.lender.keep(l.lender.o.Funded(l.id, l.entry(l.lender).Entry))
	l.run()
}

func (l *lending) free(c *client, ids []wire.ChunkID) (n int) {
	for _, id := range ids {
		if x, ok := c.o.Chunk(id); ok && c.o.Holds(id) && x.Instance == (wire.InstanceID{}) {
			n++
		}
	}
	return n
}

func (l *lending) settled(what string, lender, borrower int) {
	l.t.Helper()
	for _, c := range []*client{l.lender, l.borrower} {
		if in := c.instance(); !in.Settled || len(in.Deposits) != 0 && !in.Deposits[0].Taken {
			l.t.Errorf("%s: %s: %+v, want it settled", what, c.name, in)
		}
	}
	all := slices.Concat(l.coins, l.back)
	if a, b := l.free(l.lender, all), l.free(l.borrower, all); a != lender || b != borrower {
		l.t.Errorf("%s: the lender has %d chunks of coins and repayment, the borrower %d; want %d and %d", what, a, b, lender, borrower)
	}
	for k := range l.rows {
		if k[0] == 'r' {
			l.t.Errorf("%s: mail %.5x is left", what, k)
		}
	}
}

func TestTranscriptOfALaterPot(t *testing.T) {
	t.Parallel()
	l := lend(t)
	var b strings.Builder
	l.say = func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	chapter := func(name string) { fmt.Fprintf(&b, "\n# %s\n", name) }
	chapter("Bob repays what Alice lent him")
	l.order(l.back...)
	chapter("Alice's host has found the coins")
	l.found()
	golden(t, "testdata/later-pot.txt", strings.TrimLeft(b.String(), "\n"))
	l.settled("repaid", 2, 1)
}

func TestDepositInParts(t *testing.T) {
	t.Parallel()
	l := lend(t)
	l.order(l.back[0])
	if _, err := l.borrower.o.Deposit(l.id, 2, l.back[1:], l.now+600); !errors.Is(err, vault.ErrNotReady) {
		t.Errorf("a second deposit while the first waits: %v", err)
	}
	if _, err := l.borrower.o.Claim(l.back[:1]); !errors.Is(err, vault.ErrLocked) {
		t.Errorf("a claim of a chunk that is deposited: %v", err)
	}
	l.found()
	if f := l.entry(l.borrower); !f.Taken || l.lender.instance().Closed {
		t.Fatalf("half of the repayment: %+v", f)
	}
	l.order(l.back[1])
	l.found()
	l.settled("repaid in parts", 2, 1)
}

// A deposit that nobody acknowledges goes back, and may be made again.
func TestDepositGoesBack(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]struct {
		do               func(l *lending)
		open             bool
		lender, borrower int
	}{
		"in time":                {func(l *lending) { l.later(603) }, true, 0, 3},
		"the phase ends":         {func(l *lending) { l.hurry() }, true, 0, 3},
		"the contract is closed": {func(l *lending) { l.hurry(); l.order(l.back...); l.says("thanks") }, false, 0, 3},
		"the deadline":           {func(l *lending) { l.later(86400 + 3); l.later(3) }, false, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			l := lend(t)
			l.order(l.back...)
			if l.lender.holds(l.back) != 0 || l.free(l.borrower, l.back) != 0 {
				t.Fatal("a deposit that waits is not locked")
			}
			how.do(l)
			if how.open {
				if n := len(l.lender.instance().Deposits) + len(l.borrower.instance().Deposits); n != 0 || l.free(l.borrower, l.back) != 2 {
					t.Fatalf("%d deposits wait, the borrower has %d chunks back", n, l.free(l.borrower, l.back))
				}
				if x, _ := l.borrower.o.Chunk(l.back[0]); x.Epoch != 1 {
					t.Errorf("it came back at epoch %d, want 1", x.Epoch)
				}
				l.order(l.back...)
				l.found()
				how.lender, how.borrower = 2, 1
			}
			l.settled(name, how.lender, how.borrower)
		})
	}
}

func (l *lending) says(word string) {
	l.t.Helper()
	_, rows, err := l.lender.o.Say(l.id, word, 0, false)
	l.lender.keep(rows, err)
	l.run()
}

func (l *lending) hurry() { l.says("hurry") }

// Whatever starts again, in whatever state, goes on.
func TestDepositGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	for stop := range 9 {
		l := lend(t)
		restart := func() {
			before := [][]vault.Instance{l.lender.o.Instances(), l.borrower.o.Instances()}
			s := l.snapshotOf(t) // the escrow goes on from it as from its whole log
			l.world.snapshot = &s
			l.world = l.restarted(t)
			l.lender, l.borrower = l.owners[0], l.owners[1]
			if diff := cmp.Diff(before, [][]vault.Instance{l.lender.o.Instances(), l.borrower.o.Instances()}); diff != "" {
				t.Errorf("after a restart in state %d (-before +after):\n%s", stop, diff)
			}
			l.witness()
		}
		l.borrower.keep(l.borrower.o.Deposit(l.id, 2, l.back, l.now+600))
		for i := range 9 {
			if i == stop {
				restart()
			}
			if i == 4 {
				l.lender.keep(l.lender.o.Funded(l.id, l.entry(l.lender).Entry))
			}
			l.witness()
			for _, c := range []*client{l.borrower, l.lender} {
				c.sync()
				c.talk()
			}
		}
		l.run()
		l.settled(fmt.Sprint("restarted in state ", stop), 2, 1)
	}
}

// What an owner's vault does not sign.
func TestDepositRefusedByItsVault(t *testing.T) {
	t.Parallel()
	l := lend(t)
	other := l.borrower.deposit(denomination("xmr", coin.Ed25519), 5, 1)
	heavy := l.borrower.deposit(denomination("btc", coin.Secp256k1), 10, 1)
	mine := l.lender.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	for name, x := range map[string]struct {
		by     *client
		pot    uint32
		chunks []wire.ChunkID
		wait   int64
		want   string
	}{
		"another asset":         {l.borrower, 2, other, 600, "denomination xmr-test"},
		"another weight":        {l.borrower, 2, heavy, 600, "it weighs 10"},
		"too many":              {l.borrower, 2, append(slices.Clone(l.back), l.money[0]), 600, "3 chunks"},
		"none":                  {l.borrower, 2, nil, 600, "0 chunks"},
		"twice the same":        {l.borrower, 2, []wire.ChunkID{l.back[0], l.back[0]}, 600, "named twice"},
		"what is locked":        {l.borrower, 2, l.coins, 600, "locked"},
		"what was given here":   {l.borrower, 2, l.money[:1], 600, "has been in this instance"},
		"another's chunk":       {l.borrower, 2, mine, 600, "not held"},
		"another's pot":         {l.lender, 2, mine, 600, "another party fills"},
		"a pot that is full":    {l.borrower, 1, l.back, 600, "not one that is filled later"},
		"no pot":                {l.borrower, 1 << 31, l.back, 600, "not one that is filled later"},
		"until it is too late":  {l.borrower, 2, l.back, l.wait, "not before the phase's deadline"},
		"until it was too late": {l.borrower, 2, l.back, 0, "not after"},
	} {
		before := x.by.state()
		if _, err := x.by.o.Deposit(l.id, x.pot, x.chunks, l.now+x.wait); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
		if x.by.state() != before {
			t.Errorf("%s: refused, and changed", name)
		}
	}
	if _, err := l.lender.o.Funded(l.id, 7); !errors.Is(err, vault.ErrUnknown) {
		t.Errorf("the coins of no deposit are found: %v", err)
	}
	l.borrower.keep(l.borrower.o.Deposit(l.id, 2, l.back, l.now+600))
	if _, err := l.borrower.o.Claim(l.back); !errors.Is(err, vault.ErrLocked) {
		t.Errorf("a claim of chunks whose deposit is on its way: %v", err)
	}
	l.now += 601
	l.witness()
	l.borrower.sync()
	l.borrower.keep(l.borrower.o.Claim(l.back)) // nobody logged it in time
	if _, err := l.borrower.o.Deposit(l.id, 2, l.back, l.now+600); err == nil {
		t.Error("a deposit of chunks that are being claimed")
	}
}

// asked returns a deposit as the borrower's vault asks for it, which the escrow has
// not heard.
func (l *lending) asked() vault.DepositAsk {
	l.t.Helper()
	l.borrower.keep(l.borrower.o.Deposit(l.id, 2, l.back, l.now+600))
	qs, err := l.borrower.o.Pending(l.rnd)
	if err != nil || len(qs) != 1 || qs[0].Deposit == nil {
		l.t.Fatalf("the borrower's vault has %d things to say, %v; want a deposit", len(qs), err)
	}
	return *qs[0].Deposit
}

// resign signs an order in a party's name.
func (l *lending) resign(c *client, q *vault.DepositAsk) {
	q.Sig = wire.Sign(c.sign, "latchkey/deposit/v1", must(l.t.(*testing.T), q.Order))
}

// wrongDeposits are orders that are wrong in one thing, signed as they are.
var wrongDeposits = map[string]struct {
	change func(l *lending, q *vault.DepositAsk)
	want   string
}{
	"a signature of another party": {func(l *lending, q *vault.DepositAsk) { l.resign(l.lender, q) }, "signature"},
	"chunks in another order": {func(l *lending, q *vault.DepositAsk) {
		q.Order.Chunks[0], q.Order.Chunks[1] = q.Order.Chunks[1], q.Order.Chunks[0]
		l.resign(l.borrower, q)
	}, "the paper is of another chunk"},
	"another epoch": {func(l *lending, q *vault.DepositAsk) {
		q.Order.Chunks[0].Epoch++
		l.resign(l.borrower, q)
	}, "epoch"},
	"another phase":        {func(l *lending, q *vault.DepositAsk) { q.Order.Phase = 1; l.resign(l.borrower, q) }, "it is for phase 1"},
	"after the deadline":   {func(l *lending, q *vault.DepositAsk) { q.Order.By = l.now + 86400; l.resign(l.borrower, q) }, "not before the phase's deadline"},
	"after its own time":   {func(l *lending, q *vault.DepositAsk) { q.Order.By = l.now; l.resign(l.borrower, q) }, "not after"},
	"another pot":          {func(l *lending, q *vault.DepositAsk) { q.Order.Pot = 0; l.resign(l.borrower, q) }, "not one that is filled later"},
	"without papers":       {func(l *lending, q *vault.DepositAsk) { q.Papers = vault.Papers{} }, "0 papers"},
	"no certificate":       {func(l *lending, q *vault.DepositAsk) { q.Papers.Certs = nil }, "its certificate was not shown"},
	"a key of its own":     {func(l *lending, q *vault.DepositAsk) { q.Papers.Chunks[0].Key = q.Papers.Chunks[1].Key }, "chunk"},
	"papers nobody signed": {func(l *lending, q *vault.DepositAsk) { q.Papers.Certs[0].Cert.OwnerSig[3] ^= 1 }, "signature"},
	"a chunk of another": {func(l *lending, q *vault.DepositAsk) {
		theirs := l.lender.deposit(denomination("btc", coin.Secp256k1), 5, 1)
		p, err := l.lender.o.Paper(theirs[0])
		if err != nil {
			l.t.Fatal(err)
		}
		q.Order.Chunks[0], q.Papers.Chunks[0] = vault.ChunkEpoch{Chunk: theirs[0]}, p.Chunk
		q.Papers.Certs = append(q.Papers.Certs, vault.Made{Cert: p.Cert, Owner: p.Owner})
		l.resign(l.borrower, q)
	}, "not the owner"},
	"a weight that is another": {func(l *lending, q *vault.DepositAsk) {
		l.swapIn(q, l.borrower.deposit(denomination("btc", coin.Secp256k1), 10, 1)[0])
	}, "it weighs 10"},
	"an asset that is another": {func(l *lending, q *vault.DepositAsk) {
		l.swapIn(q, l.borrower.deposit(denomination("xmr", coin.Ed25519), 5, 1)[0])
	}, "denomination xmr-test"},
	"a chunk that is locked": {func(l *lending, q *vault.DepositAsk) {
		x := l.borrower.deposit(denomination("btc", coin.Secp256k1), 5, 1)
		l.agree(l.diaryBy(l.borrower, x))
		l.run()
		l.swapIn(q, x[0])
	}, "locked"},
	"a chunk that was here": {func(l *lending, q *vault.DepositAsk) { l.swapIn(q, l.money[0]) }, "has been in this instance"},
	"a chunk that is claimed": {func(l *lending, q *vault.DepositAsk) {
		x := l.borrower.deposit(denomination("btc", coin.Secp256k1), 5, 1)
		l.borrower.keep(l.borrower.o.Claim(x))
		l.run()
		l.swapIn(q, x[0])
	}, "it is claimed"},
	"a chunk that expires": {func(l *lending, q *vault.DepositAsk) {
		_, rows, err := l.borrower.o.NewBatch(vault.BatchSpec{Denomination: denomination("btc", coin.Secp256k1), Weight: 5, N: 1, Expiry: l.now + 7200}, l.rnd)
		l.borrower.keep(rows, err)
		before := l.borrower.o.Chunks()
		l.run()
		for _, id := range l.borrower.o.Chunks() {
			if !slices.Contains(before, id) {
				l.swapIn(q, id)
			}
		}
	}, "its certificate ends at"},
}

// swapIn puts another chunk of the borrower's into an order, and signs it.
func (l *lending) swapIn(q *vault.DepositAsk, id wire.ChunkID) {
	l.t.Helper()
	p, err := l.borrower.o.Paper(id)
	if err != nil {
		l.t.Fatal(err)
	}
	c, _ := l.borrower.o.Chunk(id)
	q.Papers.Certs = append(q.Papers.Certs, vault.Made{Cert: p.Cert, Owner: p.Owner})
	q.Papers.Chunks[0], q.Order.Chunks[0] = p.Chunk, vault.ChunkEpoch{Chunk: id, Epoch: c.Epoch}
	l.resign(l.borrower, q)
}

func (w *world) diaryBy(c *client, ids []wire.ChunkID) vault.Agreement {
	a := w.diary(nil)
	a.Terms[0] = 5
	a.Pots = [][]vault.Stake{c.stakes(ids)}
	a.Parties = []vault.Recipients{{c.id}, {w.owners[2].id}}
	return a
}

// clone copies an order so that it can be changed.
func cloneAsk(t *testing.T, q vault.DepositAsk) (out vault.DepositAsk) {
	t.Helper()
	if err := wire.Unmarshal(must(t, q), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDepositRefusedByTheEscrow(t *testing.T) {
	t.Parallel()
	for name, x := range wrongDeposits {
		t.Run(name, func(t *testing.T) {
			l := lend(t)
			q := cloneAsk(t, l.asked())
			l.drop()
			x.change(l, &q)
			size := l.escrow.Size()
			if _, err := l.lender.ask(vault.Request{Deposit: &q}); err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("got %v, want %q", err, x.want)
			}
			if l.escrow.Size() != size {
				t.Error("refused, and changed")
			}
		})
	}
}

// drop has the borrower's vault forget the order that it made.
func (l *lending) drop() {
	l.t.Helper()
	qs, err := l.borrower.o.Pending(l.rnd)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, q := range qs {
		if q.Deposit != nil {
			rows, _ := l.borrower.o.Hear(q, vault.Reply{Refused: &vault.Refused{Reason: "a test"}})
			save(l.borrower.rows, rows)
		}
	}
}

// What the escrow must refuse, a broken escrow logs: the owners' vaults see it, those
// of its kind at least that their own books can show.
func TestDepositForgedByTheEscrow(t *testing.T) {
	t.Parallel()
	for name, x := range wrongDeposits {
		t.Run(name, func(t *testing.T) {
			l := lend(t)
			q := cloneAsk(t, l.asked())
			l.drop()
			x.change(l, &q)
			n := &vault.Deposit{Order: q.Order, Sig: q.Sig, Papers: q.Papers, Prev: l.lender.instance().Newest}
			for _, ce := range q.Order.Chunks {
				c, _ := l.borrower.o.Chunk(ce.Chunk)
				if c.Last == 0 {
					c, _ = l.lender.o.Chunk(ce.Chunk)
				}
				n.Chunks = append(n.Chunks, c.Last)
			}
			p := l.forge(vault.Entry{At: l.now, Deposit: n})
			refused := 0
			for _, c := range []*client{l.lender, l.borrower} {
				c.advance()
				before := c.state()
				if _, err := c.observe(p); err == nil {
					continue
				} else if !errors.Is(err, vault.ErrDeviate) && !errors.Is(err, vault.ErrGap) {
					t.Errorf("%s: %v, want a deviation", c.name, err)
				}
				if refused++; c.state() != before {
					t.Errorf("%s refused it and changed", c.name)
				}
			}
			if refused == 0 {
				t.Error("both vaults took it")
			}
		})
	}
}

// An order that nobody signed locks nothing in its owner's books, nor does a step
// without acknowledgements.
func TestDepositStepsForgedByTheEscrow(t *testing.T) {
	t.Parallel()
	l := lend(t)
	l.order(l.back...)
	f := l.entry(l.lender)
	exits := l.exitsOf(t, l.lender.id, l.back...)
	exits = append(exits, l.exitsOf(t, l.borrower.id, l.coins...)...)
	at := l.lender.instance().Newest
	p := l.forge(vault.Entry{At: l.now, Run: &vault.Run{
		Instance: l.id, Prev: at, Kind: vault.RunDeposit, EventAt: l.now, Deposit: f.Entry, Exits: exits, Closed: true, Settled: true,
	}})
	for _, c := range []*client{l.lender, l.borrower} {
		c.advance()
		if _, err := c.observe(p); !errors.Is(err, vault.ErrDeviate) || !strings.Contains(err.Error(), "before everybody had its shares") {
			t.Errorf("%s: a step without acknowledgements: %v", c.name, err)
		}
	}
}

// What is said of deposits and is not so.
func TestDepositWordsRefused(t *testing.T) {
	t.Parallel()
	l := lend(t)
	q := l.asked()
	l.run()
	a, err := l.borrower.ask(vault.Request{Deposit: &q})
	if err != nil || len(a.Block.Entries) != 0 {
		t.Errorf("the same deposit again: %d entries, %v; want none", len(a.Block.Entries), err)
	}
	e := l.entry(l.lender).Entry
	ack := func(c *client, entry vault.Index) vault.Request {
		return vault.Request{Ack: &vault.AckAsk{Instance: l.id, Deposit: entry, Sig: wire.Sign(c.sign, "latchkey/deposit-ack/v1", must(t, vault.DepositAck{Instance: l.id, Deposit: entry}))}}
	}
	carol := l.owners[2]
	for name, x := range map[string]struct {
		by   *client
		q    vault.Request
		want string
	}{
		"an ack of the depositor":   {l.borrower, ack(l.borrower, e), "is handed nothing"},
		"an ack of a stranger":      {carol, ack(carol, e), "is no party"},
		"an ack of another's name":  {l.lender, ack(l.borrower, e), "signature"},
		"an ack of the lock's kind": {l.lender, vault.Request{Ack: &vault.AckAsk{Instance: l.id, Deposit: e, Sig: wire.Sign(l.lender.sign, "latchkey/ack/v1", l.id[:])}}, "signature"},
	} {
		if _, err := x.by.ask(x.q); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
	a, err = carol.ask(vault.Request{Fetch: &vault.Fetch{Instance: l.id, Step: e}})
	if err == nil {
		t.Errorf("a stranger fetches: %+v", a.Reply)
	}
	a, err = l.borrower.ask(vault.Request{Fetch: &vault.Fetch{Instance: l.id, Step: e}})
	if err != nil || len(a.Reply.Mail) != 0 {
		t.Errorf("the depositor fetches %d letters, %v; want none", len(a.Reply.Mail), err)
	}
	l.now += 601
	l.witness()
	if _, err := l.lender.ask(ack(l.lender, e)); !errors.Is(err, vault.ErrExpired) {
		t.Errorf("an ack after its time: %v", err)
	}
	l.later(3)
	if a, err := l.lender.ask(ack(l.lender, e)); err != nil || len(a.Block.Entries) != 0 {
		t.Errorf("an ack of what went back: %d entries, %v; want none", len(a.Block.Entries), err)
	}
	if _, err := l.borrower.ask(vault.Request{Deposit: &q}); !errors.Is(err, vault.ErrExpired) && !errors.Is(err, vault.ErrEpoch) {
		t.Errorf("an old deposit once more: %v", err)
	}
}

// What agreements with later pots must say.
func TestLaterPotsAgreed(t *testing.T) {
	t.Parallel()
	l := lend(t)
	more := l.lender.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	coins := l.borrower.deposit(denomination("xmr", coin.Ed25519), 10, 1)
	good := l.agreement()
	good.Pots[0], good.Pots[1] = l.lender.stakes(more), l.borrower.stakes(coins)
	for name, x := range map[string]struct {
		change func(a *vault.Agreement)
		want   string
	}{
		"no denomination":        {func(a *vault.Agreement) { a.Later = nil }, "does not say of what denomination"},
		"a denomination of none": {func(a *vault.Agreement) { a.Later = []coin.Denomination{{}} }, "denomination"},
		"one too many":           {func(a *vault.Agreement) { a.Later = append(a.Later, a.Later[0]) }, "2 denominations for 1"},
		"a chunk that is there":  {func(a *vault.Agreement) { a.Pots[2] = l.borrower.stakes(l.back) }, "names a chunk that comes later"},
		"one that is not":        {func(a *vault.Agreement) { a.Pots[0] = []vault.Stake{{Weight: 10}} }, "names a chunk that comes later"},
		"too little":             {func(a *vault.Agreement) { a.Pots[2] = a.Pots[2][:1] }, "pot repayment holds 5 units"},
		"tit for tat": {func(a *vault.Agreement) {
			a.Settle, a.Pace = vault.TitForTat, &settle.Pace{First: 5, Growth: 200, Most: 10, Wait: 60}
		}, "settled tit for tat"},
	} {
		a := good
		a.Pots = slices.Clone(good.Pots)
		x.change(&a)
		if _, _, err := l.lender.o.Accept(l.lender.proposal(a), l.rnd); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
	p := l.borrower.proposal(good)
	p.Peers[0].Vendor = "vendor B" // the escrow's; he hands nothing over at the lock that she may receive but later
	if _, _, err := l.borrower.o.Accept(p, l.rnd); !errors.Is(err, vault.ErrVendor) {
		t.Errorf("a vendor on both sides of a later pot: %v", err)
	}
}

// An owner's vault follows the chunks of a deposit from their birth, whatever they
// have been through, and forgets them when they went back.
func TestDepositOfAChunkWithAPast(t *testing.T) {
	t.Parallel()
	l := lend(t)
	carol := l.owners[2]
	x := carol.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	past := l.diary(x[:1])
	past.Source, past.Terms = []byte(pay), []int64{10}
	past.Parties, past.Pots = []vault.Recipients{{carol.id}, {l.borrower.id}}, [][]vault.Stake{carol.stakes(x)}
	l.agree(past)
	l.run()
	if l.borrower.holds(x) != 2 {
		t.Fatal("carol's chunks are not the borrower's")
	}
	if _, known := l.lender.o.Chunk(x[0]); known {
		t.Fatal("the lender follows them already")
	}
	l.order(x...)
	if c, known := l.lender.o.Chunk(x[0]); !known || c.Instance != l.id || c.Epoch != 1 {
		t.Fatalf("the lender's books of a deposited chunk: %+v", c)
	}
	l.later(603)
	if _, known := l.lender.o.Chunk(x[0]); known {
		t.Error("the lender follows a chunk that went back")
	}
	l.order(x...)
	l.found()
	if l.lender.holds(x) != 2 {
		t.Error("the lender does not have the chunks")
	}
	l.lender.keep(l.lender.o.Claim(x))
	l.run()
	for _, id := range x {
		if _, err := l.lender.o.Key(id); err != nil {
			t.Error(err)
		}
	}
}

// A chunk of this vault that the escrow says is deposited, in an instance that the
// vault knows nothing of.
func TestDepositOfAnotherInstance(t *testing.T) {
	t.Parallel()
	l := lend(t)
	carol := l.owners[2]
	x := carol.deposit(denomination("btc", coin.Secp256k1), 5, 1)
	c, _ := carol.o.Chunk(x[0])
	q := l.asked()
	n := &vault.Deposit{Order: q.Order, Sig: q.Sig, Papers: q.Papers, Prev: 7, Chunks: []vault.Index{c.Last}}
	n.Order.Chunks = []vault.ChunkEpoch{{Chunk: x[0]}}
	p := l.forge(vault.Entry{At: l.now, Deposit: n})
	carol.advance()
	if _, err := carol.observe(p); !errors.Is(err, vault.ErrDeviate) || !strings.Contains(err.Error(), "without this vault's order") {
		t.Errorf("%v, want a deviation", err)
	}
}

// An entry behind those seen of its instance is compared with nothing in the
// instance's books: a pot that is none comes through to the chunk's.
func TestDepositOfNoPot(t *testing.T) {
	t.Parallel()
	l := lend(t)
	q := l.asked()
	l.drop()
	q.Order.Pot = 99
	q.Sig = wire.Sign(l.borrower.sign, "latchkey/deposit/v1", must(t, q.Order))
	newest := l.borrower.instance().Newest
	n := &vault.Deposit{Order: q.Order, Sig: q.Sig, Papers: q.Papers, Prev: newest}
	for _, ce := range q.Order.Chunks {
		c, _ := l.borrower.o.Chunk(ce.Chunk)
		n.Chunks = append(n.Chunks, c.Last)
	}
	p := l.forge(vault.Entry{At: l.now, Deposit: n})
	later := l.forge(vault.Entry{At: l.now, Hand: &vault.Hand{Instance: l.id, Prev: newest}})
	l.borrower.advance()
	l.borrower.keep(l.borrower.observe(later))
	if _, err := l.borrower.observe(p); !errors.Is(err, vault.ErrDeviate) {
		t.Errorf("%v, want a deviation", err)
	}
}

// exitsOf writes down how chunks leave, with shares refreshed as they should be.
func (w *world) exitsOf(t *testing.T, to wire.VaultID, ids ...wire.ChunkID) (out []vault.Exit) {
	t.Helper()
	for _, id := range ids {
		var c vault.Chunk
		for _, o := range w.owners {
			if x, ok := o.o.Chunk(id); ok && x.Last > c.Last {
				c = x
			}
		}
		b, err := key.ParseShare(c.P.Type(), w.rows["b"+string(id[:])][4:])
		if err != nil {
			t.Fatal(err)
		}
		n, err := key.Refresh([]key.Share{b}, []key.Point{b.Public()}, w.rnd)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, vault.Exit{Chunk: id, To: vault.Recipients{to}, Epoch: c.Epoch + 1, R: n[0].R, B: n[0].B, Prev: c.Last})
	}
	return out
}
