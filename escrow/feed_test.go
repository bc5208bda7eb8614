package escrow

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/vault"
	"latchkey/wire"
)

var (
	alice, bob, carol = wire.VaultID{1}, wire.VaultID{2}, wire.VaultID{3}
)

func to(v wire.VaultID) vault.Recipients { return vault.Recipients{v} }

// give is the step of an instance that gives one chunk to a vault.
func give(i wire.InstanceID, c wire.ChunkID, v wire.VaultID, closed bool) vault.Entry {
	return vault.Entry{Run: &vault.Run{Instance: i, Exits: []vault.Exit{{Chunk: c, To: to(v)}}, Closed: closed, Settled: closed}}
}

func stake(cs ...wire.ChunkID) (out []vault.Stake) {
	for _, c := range cs {
		out = append(out, vault.Stake{Chunk: c})
	}
	return out
}

// A vault hears what concerns it, once and in order; the past of a chunk when it
// meets the chunk in a lock, and nothing of strangers.
func TestFeed(t *testing.T) {
	f := NewFeed()
	position := int64(0)
	add := func(e vault.Entry) {
		f.Add(position, e)
		position++
	}
	x, y := wire.ChunkID{7}, wire.ChunkID{8}
	lock := func(nonce byte, parties []vault.Recipients, pots ...[]vault.Stake) wire.InstanceID {
		e := vault.Entry{Lock: &vault.Lock{
			Agreement:   vault.Agreement{Parties: parties, Pots: pots},
			Acceptances: []vault.SignedAcceptance{{Body: vault.Acceptance{Nonce: [16]byte{nonce}}}},
		}}
		add(e)
		_, i := e.Touches()
		return i
	}
	check := func(when string, want map[wire.VaultID][]int64) {
		t.Helper()
		for v, w := range want {
			got, next := f.From(v, 0, 100)
			if diff := cmp.Diff(w, got); diff != "" || next != len(w) {
				t.Errorf("%s, vault %s (- want, + got):\n%s", when, v.Short(), diff)
			}
		}
	}
	add(vault.Entry{Genesis: &vault.Genesis{}})                                                                 // 0
	first := lock(1, []vault.Recipients{to(carol), to(alice)}, stake(x))                                        // 1
	add(give(first, x, alice, true))                                                                            // 2: alice has x
	second := lock(2, []vault.Recipients{to(carol), to(bob)}, stake(y))                                         // 3
	add(vault.Entry{Run: &vault.Run{Instance: second, Clock: 2, Exits: []vault.Exit{{Chunk: y, To: to(bob)}}}}) // 4, with the clock of 1
	check("before they meet", map[wire.VaultID][]int64{alice: {1, 2}, bob: {3, 1, 4}, {9}: nil})

	third := lock(3, []vault.Recipients{to(alice), to(bob)}, stake(x), stake(y)) // 5
	// Each hears the past of what is the other's, and not of its own again.
	check("at their lock", map[wire.VaultID][]int64{alice: {1, 2, 3, 4, 5}, bob: {3, 1, 4, 1, 2, 5}})
	add(vault.Entry{Hand: &vault.Hand{Instance: third}})               // 6
	add(vault.Entry{Ack: &vault.Ack{Instance: third}})                 // 7
	add(vault.Entry{Hand: &vault.Hand{Instance: wire.InstanceID{99}}}) // 8: of nobody
	add(give(third, x, bob, true))                                     // 9
	add(give(third, y, alice, true))                                   // 10: closed already; cannot be
	add(vault.Entry{Claim: &vault.Claim{Owner: to(bob), Order: vault.ClaimOrder{}}})
	add(vault.Entry{Swept: &vault.Swept{Owner: to(bob), Order: vault.SweptOrder{}}})
	check("at the end", map[wire.VaultID][]int64{alice: {1, 2, 3, 4, 5, 6, 7, 9}, bob: {3, 1, 4, 1, 2, 5, 6, 7, 9, 11, 12}})

	for _, c := range []struct {
		cursor, n int
		want      []int64
		next      int
	}{{0, 3, []int64{3, 1, 4}, 3}, {9, 100, []int64{11, 12}, 11}, {11, 5, nil, 11}, {12, 5, nil, 11}, {-1, 5, nil, 11}, {1 << 40, 5, nil, 11}} {
		got, next := f.From(bob, c.cursor, c.n)
		if diff := cmp.Diff(c.want, got); diff != "" || next != c.next {
			t.Errorf("from %d: next %d, want %d (- want, + got):\n%s", c.cursor, next, c.next, diff)
		}
	}
}

// Peer knows the newest evidence of each vault.
func TestPeer(t *testing.T) {
	f := NewFeed()
	id := wire.Identity{Sign: make([]byte, 32), KEM: make([]byte, 1216)}
	v, err := id.ID()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Peer(v); ok {
		t.Error("a vault is known before it was enrolled")
	}
	for i, ev := range []string{"old", "new"} {
		f.Add(int64(i), vault.Entry{Enrol: &vault.Enrol{Identity: id, Evidence: []byte(ev)}})
	}
	if e, ok := f.Peer(v); !ok || string(e.Evidence) != "new" {
		t.Errorf("evidence %q, known %t", e.Evidence, ok)
	}
}

// Entries that no vault writes, of a log that somebody has damaged, are no reason
// to fall over.
func TestFeedDamaged(t *testing.T) {
	f := NewFeed()
	for i, e := range []vault.Entry{
		{},
		{Certify: &vault.Certify{}},
		{Lock: &vault.Lock{Agreement: vault.Agreement{Parties: []vault.Recipients{{}, nil, {alice, bob}}, Pots: [][]vault.Stake{stake(wire.ChunkID{1})}}}},
		{Run: &vault.Run{Exits: []vault.Exit{{Chunk: wire.ChunkID{1}}, {To: vault.Recipients{alice, bob}}}, Closed: true, Settled: true}},
		{Claim: &vault.Claim{}}, {Swept: &vault.Swept{}}, {Enrol: &vault.Enrol{}}, {Hand: &vault.Hand{}}, {Ack: &vault.Ack{}},
	} {
		f.Add(int64(i), e)
	}
	if got, _ := f.From(alice, 0, 100); len(got) != 0 {
		t.Errorf("alice hears of entries %v", got)
	}
}
