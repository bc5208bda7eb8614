package vault_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/vault"
	"latchkey/wire"
)

// What a depositor leaves for others is as long as sealed shares are: the escrow
// keeps it, and a client that may leave anything fills the escrow's memory, or a
// commit that no message holds.
func TestMailIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	right := bob.deposit(denomination("xmr", coin.Ed25519), 5, 2)
	id := w.agree(w.swapOf(left, right))
	hand := func(enc, text int) vault.Request {
		m := vault.Mail{To: bob.id, From: alice.id, Enc: bytes.Repeat([]byte{1}, enc)}
		for _, c := range left {
			m.Items = append(m.Items, vault.Sealed{Chunk: c, Text: bytes.Repeat([]byte{1}, text)})
		}
		return vault.Request{Hand: &vault.HandAsk{Instance: id, Mail: []vault.Mail{m}}}
	}
	for _, x := range []struct{ enc, text int }{{1 << 20, 60}, {1120, 1 << 20}, {1120, 65}, {2049, 60}} {
		size, rows := w.escrow.Size(), len(w.rows)
		if _, err := alice.ask(hand(x.enc, x.text)); err == nil || !strings.Contains(err.Error(), "shares for party 1") {
			t.Errorf("mail of %d bytes and items of %d: %v", x.enc, x.text, err)
		}
		if w.escrow.Size() != size || len(w.rows) != rows {
			t.Errorf("mail of %d bytes and items of %d: refused, and changed", x.enc, x.text)
		}
	}
	if _, err := alice.ask(hand(1120, 60)); err != nil {
		t.Errorf("mail as long as it is: %v", err)
	}
}

// However many chunks go back at one moment, the escrow moves a bounded number at
// a time, and all of them in the end.
func TestDueIsBounded(t *testing.T) {
	t.Parallel()
	const n, instances = 300, 5
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	left := alice.deposit(denomination("xmr", coin.Ed25519), 2, n*instances)
	right := bob.deposit(denomination("btc", coin.Secp256k1), 5, instances)
	for i := range instances {
		w.agree(w.swapOf(left[i*n:(i+1)*n], right[i:i+1]))
	}
	w.now += 3600
	w.witness()
	var moved, calls int
	for {
		b, err := w.escrow.Due(w.rnd)
		w.persist(b, err)
		if len(b.Entries) == 0 {
			break
		}
		calls++
		now := 0
		for _, raw := range b.Entries {
			e, err := vault.ParseEntry(raw)
			if err != nil {
				t.Fatal(err)
			}
			if e.Run != nil {
				now += len(e.Run.Exits)
			}
		}
		if now > 2*(n+1) { // 512 rows are not reached by one instance, and are by two
			t.Errorf("call %d moves %d chunks", calls, now)
		}
		moved += now
	}
	if want := instances * (n + 1); moved != want || calls != 3 {
		t.Errorf("%d chunks went back in %d calls, want %d in 3", moved, calls, want)
	}
}

// Anybody may bring a lock: the outcomes of an agreement are explored only after its
// parties have signed it, which is much less work to find out.
func TestLockExploresLast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	right := bob.deposit(denomination("xmr", coin.Ed25519), 5, 2)
	a := w.swapOf(left, right)
	a.Bounds = &vault.Bounds{States: 1, Moves: 1} // no exploration ends within these
	h, err := a.Hash()
	if err != nil {
		t.Fatal(err)
	}
	q := vault.LockAsk{Agreement: a}
	for role, c := range []*client{alice, bob} {
		body := vault.Acceptance{Agreement: h, Role: uint32(role)}
		raw, err := wire.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		q.Acceptances = append(q.Acceptances, vault.SignedAcceptance{Body: body, Sig: wire.Sign(c.sign, "latchkey/accept/v1", raw)})
	}
	good := q.Acceptances[1]
	q.Acceptances[1].Sig = bytes.Clone(good.Sig)
	q.Acceptances[1].Sig[0] ^= 1
	if _, err := alice.ask(vault.Request{Lock: &q}); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("a lock that bob did not sign: %v", err)
	}
	q.Acceptances[1] = good
	if _, err := alice.ask(vault.Request{Lock: &q}); err == nil || !strings.Contains(err.Error(), "outcomes") {
		t.Errorf("a lock whose outcomes are not explored: %v", err)
	}
}
