package escrow

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/event"
	"latchkey/vault"
	"latchkey/wire"
)

// A vault is told at once what it can go on with. What would only make it ask again, for which it would wait a
// round trip more, is told with what comes next, or when the time is over.
func TestFeedWaits(t *testing.T) {
	const wait = 10 * time.Second
	x, y := wire.ChunkID{7}, wire.ChunkID{8}
	lock := vault.Entry{Lock: &vault.Lock{
		Agreement:   vault.Agreement{Parties: []vault.Recipients{to(alice), to(bob)}, Pots: [][]vault.Stake{stake(x), stake(y)}},
		Acceptances: []vault.SignedAcceptance{{Body: vault.Acceptance{Nonce: [16]byte{9}}}},
	}}
	_, instance := lock.Touches()
	earlier := vault.Entry{Lock: &vault.Lock{
		Agreement:   vault.Agreement{Parties: []vault.Recipients{to(carol), to(alice)}, Pots: [][]vault.Stake{stake(x)}},
		Acceptances: []vault.SignedAcceptance{{Body: vault.Acceptance{Nonce: [16]byte{1}}}},
	}}
	_, first := earlier.Touches()
	// Of these bob hears 2, the past of alice's chunk, and 3, in which he meets it: 0, 1, 2, 3, …
	log := []vault.Entry{
		earlier,                                 // 0
		give(first, x, alice, true),             // 1
		{Genesis: &vault.Genesis{}},             // 2
		lock,                                    // 3: bob hears 0, 1, 3
		{Hand: &vault.Hand{Instance: instance}}, // 4
		{Ack: &vault.Ack{Instance: instance}},   // 5
		{Hand: &vault.Hand{Instance: instance, Deposit: 1}}, // 6: of a later pot, which others wait for
		give(instance, x, bob, true),                        // 7
	}
	for _, c := range []struct {
		name   string
		seen   int64 // how much is witnessed
		cursor uint64
		known  int64
		want   []int64
		after  time.Duration
	}{
		{"nothing new", 3, 3, 3, nil, wait},
		{"the past of a chunk, before its lock is witnessed", 3, 0, 3, []int64{0, 1}, wait},
		{"the past of a chunk that is new to the vault, too", 3, 0, 1, []int64{0, 1}, 0},
		{"the past of a chunk, and its lock", 4, 0, 3, []int64{0, 1, 3}, 0},
		{"the past of a chunk from its middle", 4, 1, 3, []int64{1, 3}, 0},
		{"handed over", 5, 3, 4, []int64{4}, wait},
		{"handed over and stored", 6, 3, 4, []int64{4, 5}, wait},
		{"of old, before the next is witnessed", 6, 3, 6, []int64{4, 5}, wait},
		{"of old", 8, 3, 8, []int64{4, 5, 6, 7}, 0},
		{"handed over into a later pot", 7, 3, 4, []int64{4, 5, 6}, 0},
		{"opened", 8, 3, 4, []int64{4, 5, 6, 7}, 0},
		{"all from the beginning", 8, 0, 8, []int64{0, 1, 3, 4, 5, 6, 7}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := numbered(t, len(log)) // the host does not look into what it sends
				h := &Host{cfg: HostConfig{Log: l}, feed: NewFeed(), prover: event.NewProver(l), changed: make(chan struct{})}
				for _, e := range log {
					h.learn(e)
					h.added++
				}
				h.note, h.seen = []byte("a head"), c.seen
				began := time.Now()
				u, err := h.Feed(t.Context(), bob, c.cursor, c.known, wait)
				if err != nil {
					t.Fatal(err)
				}
				var got []int64
				for _, e := range u.Entries {
					got = append(got, e.Position)
				}
				if diff := cmp.Diff(c.want, got); diff != "" || time.Since(began) != c.after || u.Cursor != c.cursor+uint64(len(c.want)) {
					t.Errorf("after %v, want %v; cursor %d (- want, + got):\n%s", time.Since(began), c.after, u.Cursor, diff)
				}
			})
		})
	}
}
