package vault_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"latchkey/coin"
	"latchkey/head"
	"latchkey/spec/vectors"
	"latchkey/vault"
	"latchkey/wire"
)

// A moment is a client's vault just before it is shown entries.
type moment struct {
	rows      map[string][]byte
	now       int64
	positions []int64
}

// A history is a played world with every kind of entry in its log, and the
// moments of its clients.
type history struct {
	*world
	moments  map[string][]moment
	receipts []vault.Receipt
	mail     []vault.Mail // all that was ever left for somebody
	said     []exchange   // in sessions
}

// An exchange is a request and what was answered.
type exchange struct {
	request vault.Request
	reply   vault.Reply
}

// newHistory plays it: always the same.
func newHistory(t testing.TB) *history {
	t.Helper()
	h := &history{world: newWorld(t, 2), moments: map[string][]moment{}}
	alice, bob := h.owners[0], h.owners[1]
	h.stored = func(r vault.Row) {
		var m vault.Mail
		if len(r.Key) == 41 || len(r.Key) == 97 { // as in escrow_apply.go: the r of a step, shares handed over
			if err := wire.Unmarshal(r.Value, &m); err != nil {
				t.Fatal(err)
			}
			h.mail = append(h.mail, m)
		}
	}
	h.answered = func(q vault.Request, r vault.Reply) { h.said = append(h.said, exchange{q, r}) }
	h.showing = func(c *client, positions []int64) {
		h.moments[c.name] = append(h.moments[c.name], moment{maps.Clone(c.rows), h.now, slices.Clone(positions)})
	}
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	right := bob.deposit(denomination("xmr", coin.Ed25519), 10, 1)
	h.agree(h.swapOf(left, right))
	h.run()
	mine := alice.deposit(denomination("xmr", coin.Ed25519), 1, 1)
	id := h.agree(h.diary(mine))
	h.run()
	for range 2 {
		w, rows, err := alice.o.Say(id, "alive", 0, false)
		alice.keep(rows, err)
		h.run()
		a, err := alice.ask(vault.Request{Word: &w}) // said again: its receipt again
		if err != nil {
			t.Fatal(err)
		}
		h.receipts = append(h.receipts, *a.Reply.Receipt)
	}
	h.now += 3 * 86400
	h.due()
	h.run()
	h.agree(h.swapOf(right, left)) // back again: alice's is of bob's batch now, and bob's of alice's
	h.witness()
	h.now += 100
	h.due() // nobody handed anything over: abort
	h.run()
	q := vault.Request{Begin: &vault.Begin{
		Batch: wire.Hash{7}, Spec: vault.BatchSpec{Denomination: denomination("btc", coin.Secp256k1), Weight: 1, N: 1, Expiry: h.now + 90*86400},
	}}
	a, err := bob.ask(q)
	if err != nil {
		t.Fatal(err)
	}
	h.persist(a.Block, nil)
	h.now += 3700
	h.due() // dropped
	alice.keep(alice.o.Claim(right))
	h.run()
	alice.keep(alice.o.Swept(right))
	h.run()
	h.inTurns(alice.deposit(denomination("sol", coin.Ed25519), 5, 2))
	h.wager()
	h.lend()
	return h
}

// inTurns plays a settlement tit for tat of alice's chunks against the two that bob
// received: he takes her first, she says nothing of his, he reports her second.
func (h *history) inTurns(mine []wire.ChunkID) {
	h.t.Helper()
	bob := h.owners[1]
	id := h.agree(h.inTurn(mine, bob.newest("btc")))
	h.run()
	bob.keep(bob.o.Took(id, false))
	h.run()
	h.now += 63
	h.due()
	h.run()
	bob.keep(bob.o.Took(id, true))
	h.run()
}

// wager plays a contract that an oracle's price ends.
func (h *history) wager() {
	h.t.Helper()
	alice, bob := h.owners[0], h.owners[1]
	left, right := alice.deposit(denomination("btc", coin.Secp256k1), 5, 1), bob.deposit(denomination("xmr", coin.Ed25519), 5, 1)
	id := h.agree(h.cfdOf(left, right))
	h.run()
	alice.bring(vault.Report{Instance: id, Signed: signed(h.t, h.now, 2000_00, 2100_00, 2200_00)})
	h.run()
}

// lend plays a loan whose repayment comes in two parts: the first counts, the second
// nobody looks at in time.
func (h *history) lend() {
	h.t.Helper()
	l := &lending{world: h.world, lender: h.owners[0], borrower: h.owners[1], wait: 86400}
	l.money, l.coins = l.lender.deposit(denomination("btc", coin.Secp256k1), 5, 2), l.borrower.deposit(denomination("xmr", coin.Ed25519), 10, 1)
	l.back = l.borrower.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	l.id = h.agree(l.agreement())
	h.run()
	l.part(0)
	l.part(1)
	for _, seconds := range []int64{603, 86400} { // what is left of the loan is over then
		h.now += seconds
		h.due()
		h.run()
	}
}

// due lets time act, all that is due.
func (w *world) due() {
	w.t.Helper()
	w.witness()
	for {
		b, err := w.escrow.Due(w.rnd)
		w.persist(b, err)
		if len(b.Entries) == 0 {
			break
		}
	}
	w.witness()
}

// find returns the position of the nth entry, from 0, that is wanted.
func (h *history) find(n int, want func(vault.Entry) bool) int64 {
	h.t.Helper()
	for p, raw := range h.entries {
		e, err := vault.ParseEntry(raw)
		if err != nil {
			h.t.Fatal(err)
		}
		if want(e) {
			if n == 0 {
				return int64(p)
			}
			n--
		}
	}
	h.t.Fatal("the history has no such entry")
	return 0
}

// judge shows a client's vault, as it was before it was shown the entry at a
// position, another entry there.
func (h *history) judge(name string, at int64, raw []byte) error {
	for _, c := range h.owners {
		for _, m := range h.moments[c.name] {
			if c.name == name && slices.Contains(m.positions, at) {
				return h.show(c, m, at, raw)
			}
		}
	}
	return fmt.Errorf("vault %q is never shown entry %d", name, at)
}

func (h *history) show(c *client, m moment, at int64, raw []byte) error {
	w := *h.world
	w.now = m.now
	w.entries = append(h.entries[:at:at], raw)
	w.hashes = h.hashes[:tlog.StoredHashIndex(0, at):tlog.StoredHashIndex(0, at)]
	more, err := tlog.StoredHashes(at, raw, w.reader())
	if err != nil {
		return err
	}
	w.hashes = append(w.hashes, more...)
	w.witnesses = slices.Clone(h.witnesses)
	for i := range w.witnesses {
		w.witnesses[i].seen = head.Seen{}
	}
	w.seal()
	s := *c
	s.w, s.rows = &w, maps.Clone(m.rows)
	if s.o, err = vault.NewOwner(c.cfg); err != nil {
		return err
	}
	if err := s.o.Load(rowsOf(s.rows)); err != nil {
		return err
	}
	s.advance()
	for _, p := range m.positions {
		if p < at {
			if _, err := s.observe(p); err != nil {
				return fmt.Errorf("before the entry in question: %w", err)
			}
		}
	}
	before := s.books()
	if _, err = s.observe(at); err != nil && s.books() != before {
		return errors.New("refused, and changed all the same")
	}
	return err
}

func checkLog[T any](t *testing.T, name, about string, made []T, top func(T) (string, string), run func(T) error) {
	t.Helper()
	vectors.Check(t, *update, "../spec/vectors/log/"+name, vectors.File[T]{About: about, Cases: made}, top, run)
}

type entryVector struct {
	Name   string      `json:"name"`
	Expect string      `json:"expect"`
	At     int64       `json:"at"` // position in the log; -1: in none
	CBOR   vectors.Hex `json:"cbor"`
}

// kindOf names what an entry is, as spec/log.md does.
func kindOf(e vault.Entry) string {
	for name, set := range map[string]bool{
		"genesis": e.Genesis != nil, "enrol": e.Enrol != nil, "generate": e.Generate != nil, "certify": e.Certify != nil, "lock": e.Lock != nil,
		"hand": e.Hand != nil, "ack": e.Ack != nil, "claim": e.Claim != nil, "stored": e.Stored != nil, "swept": e.Swept != nil,
		"clock": e.Clock != nil, "drop": e.Drop != nil, "deposit": e.Deposit != nil,
	} {
		if set {
			return name
		}
	}
	return "run, kind " + fmt.Sprint(e.Run.Kind)
}

func TestLogVectors(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	var made []entryVector
	kinds := map[string]bool{}
	for p, raw := range h.entries {
		e, err := vault.ParseEntry(raw)
		if err != nil {
			t.Fatal(err)
		}
		kinds[kindOf(e)] = true
		made = append(made, entryVector{fmt.Sprintf("%d: %s", p, kindOf(e)), "ok", int64(p), raw})
	}
	if len(kinds) != 13+10 {
		t.Errorf("the history has %d kinds of entries, want all of them: %v", len(kinds), kinds)
	}
	drop := h.entries[h.find(0, func(e vault.Entry) bool { return e.Drop != nil })]
	bad := func(name, want string, b []byte) { made = append(made, entryVector{name, "error: " + want, -1, b}) }
	bad("nothing", "EOF", nil)
	bad("of no kind", "0 kinds", []byte{0xa1, 0x01, 0x00})
	bad("of two kinds", "2 kinds", twoKinds(t, drop))
	bad("of an unknown kind", "unknown field", []byte{0xa2, 0x01, 0x00, 0x18, 0x20, 0xa0})
	bad("without a time", "deterministic", append([]byte{0xa1}, drop[7:]...))
	bad("a byte too many", "extraneous", append(slices.Clone(drop), 0))
	bad("truncated", "EOF", drop[:len(drop)-1])
	bad("an empty kind", "deterministic", []byte{0xa2, 0x01, 0x00, 0x0e, 0xa0})
	bad("null for a kind", "deterministic", []byte{0xa2, 0x01, 0x00, 0x0e, 0xf6})
	bad("a batch id of 31 bytes", "deterministic", bytes.Replace(slices.Clone(drop[:len(drop)-1]), []byte{0x58, 0x20}, []byte{0x58, 0x1f}, 1))
	checkLog(t, "log.json", "A whole log, entry by entry from position 0, each encoded as log.md says; then bytes that are no entry.",
		made, func(v entryVector) (string, string) { return v.Name, v.Expect }, func(v entryVector) error {
			e, err := vault.ParseEntry(v.CBOR)
			if err != nil {
				return err
			}
			again(t, v.CBOR, e)
			return nil
		})
}

// twoKinds adds a Stored part to an entry that is a Drop.
func twoKinds(t *testing.T, drop []byte) []byte {
	e, err := vault.ParseEntry(drop)
	if err != nil {
		t.Fatal(err)
	}
	e.Stored = &vault.Stored{Step: 1, Owner: vault.Recipients{{1}}}
	b, err := wire.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
