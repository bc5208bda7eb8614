package escrow

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"latchkey/event"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/wire"
)

var compareFeeds = []cmp.Option{
	cmp.AllowUnexported(Feed{}, birth{}, trail{}, peer{}), cmpopts.EquateEmpty(),
	cmpopts.IgnoreFields(vault.Enrol{}, "Evidence"),
}

// store writes down a feed and reads it again.
func store(t *testing.T, log event.Log, f *Feed, size int64, set uint32) (*Feed, feedHead) {
	t.Helper()
	rows, err := f.rows(size, set)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows[:len(rows)-1] {
		if len(r.Value) >= 1<<20 {
			t.Errorf("a part of %d bytes", len(r.Value))
		}
	}
	if err := log.Append(t.Context(), log.Next(), event.Block{Puts: rows}); err != nil {
		t.Fatal(err)
	}
	back, head, err := loadFeed(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	return back, head
}

// An index that was written down is the index, at any moment; with the entries
// since it is the one that all entries make.
func TestFeedStored(t *testing.T) {
	log, err := event.NewMemory().Open()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	vaults := []wire.VaultID{}
	f := NewFeed()
	var entries [][]byte
	add := func(e vault.Entry) {
		t.Helper()
		raw, err := wire.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Append(t.Context(), log.Next(), event.Block{Events: [][]byte{raw}}); err != nil {
			t.Fatal(err)
		}
		f.Add(int64(len(entries)), e)
		entries = append(entries, raw)
	}
	for i := range 3 {
		id := wire.Identity{Sign: bytes.Repeat([]byte{byte(i)}, 32), KEM: make([]byte, 1216)}
		v, err := id.ID()
		if err != nil {
			t.Fatal(err)
		}
		vaults = append(vaults, v)
		add(vault.Entry{Enrol: &vault.Enrol{Identity: id, Evidence: []byte("evidence")}})
	}
	cert := wire.CertID{1}
	f.birth(birth{position: 0, owner: vaults[0], cert: cert, n: 40}) // as a Certify entry does
	chunk := func() wire.ChunkID { return key.ChunkIDOf(cert, uint32(r.IntN(40))) }
	instance := wire.InstanceID{}
	for i := range 400 {
		a, b := vaults[r.IntN(3)], vaults[r.IntN(3)]
		switch r.IntN(4) {
		case 0:
			n := vault.Entry{Lock: &vault.Lock{
				Agreement:   vault.Agreement{Parties: []vault.Recipients{to(a), to(b)}, Pots: [][]vault.Stake{stake(chunk(), chunk())}},
				Acceptances: []vault.SignedAcceptance{{Body: vault.Acceptance{Nonce: [16]byte{byte(i), byte(i >> 8)}}}},
			}}
			_, instance = n.Touches()
			add(n)
		case 1:
			add(vault.Entry{Hand: &vault.Hand{Instance: instance}})
		case 2:
			add(vault.Entry{Claim: &vault.Claim{Owner: to(a), Order: vault.ClaimOrder{Chunks: []vault.ChunkEpoch{{Chunk: chunk()}}}}})
		case 3:
			id := chunk()
			f.trail(id).owner = b
			add(vault.Entry{Swept: &vault.Swept{Owner: to(b), Order: vault.SweptOrder{Chunks: []vault.ChunkEpoch{{Chunk: id}}}}})
		}
		if i%20 != 0 {
			continue
		}
		back, head := store(t, log, f, int64(len(entries)), uint32(i/20%2))
		if diff := cmp.Diff(f, back, compareFeeds...); diff != "" || head.Size != int64(len(entries)) {
			t.Fatalf("after %d entries it is of %d (-was +is):\n%s", len(entries), head.Size, diff)
		}
	}
}

// A large index is in several parts. One that is not whole, or of more than the log
// has, is not used.
func TestFeedStoredInParts(t *testing.T) {
	log, err := event.NewMemory().Open()
	if err != nil {
		t.Fatal(err)
	}
	if f, head, err := loadFeed(t.Context(), log); err != nil || head.Size != 0 || len(f.feeds) != 0 {
		t.Fatalf("nothing was written: %v", err)
	}
	f := NewFeed()
	for i := range 1 << 18 {
		f.push(alice, int64(i)*1000)
	}
	f.births = append(f.births, birth{position: 1, owner: bob, cert: wire.CertID{4}})
	if err := log.Append(t.Context(), 0, event.Block{Events: [][]byte{{1}}}); err != nil {
		t.Fatal(err)
	}
	back, head := store(t, log, f, 1, 1)
	if diff := cmp.Diff(f, back, compareFeeds...); diff != "" || head.Parts < 2 {
		t.Errorf("%d parts (-was +is):\n%s", head.Parts, diff)
	}
	whole, _, err := log.Get(t.Context(), feedPartRow(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]event.Block{
		"a part is missing": {Deletes: [][]byte{feedPartRow(1, 1)}},
		"a part is cut":     {Puts: []event.Row{{Key: feedPartRow(1, 1), Value: whole[:len(whole)-1]}}},
		"a part is damaged": {Puts: []event.Row{{Key: feedPartRow(1, 1), Value: append([]byte{255}, whole[1:]...)}}},
		"a head is damaged": {Puts: []event.Row{{Key: []byte(feedHeadRow), Value: []byte{1}}}},
	} {
		if _, _, err := f.stored(t, log, b); !errors.Is(err, errFeed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	rows, err := f.rows(2, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.stored(t, log, event.Block{Puts: rows}); !errors.Is(err, errFeed) {
		t.Errorf("an index of more than the log has: %v", err)
	}
}

// stored puts f whole, changes rows, and reads.
func (f *Feed) stored(t *testing.T, log event.Log, b event.Block) (*Feed, feedHead, error) {
	t.Helper()
	store(t, log, f, 1, 1)
	if err := log.Append(t.Context(), log.Next(), b); err != nil {
		t.Fatal(err)
	}
	return loadFeed(t.Context(), log)
}
