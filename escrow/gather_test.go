package escrow

import (
	"testing"

	"latchkey/vault"
	"latchkey/wire"
)

// Acceptances are put together in the order of the parties, whoever comes first and
// however often; what is too old or too much is dropped, the oldest first.
func TestGatherings(t *testing.T) {
	a := vault.Agreement{Parties: make([]vault.Recipients, 3), LockBy: 100}
	of := func(role uint32, nonce byte) vault.SignedAcceptance {
		return vault.SignedAcceptance{Body: vault.Acceptance{Role: role, Nonce: [16]byte{nonce}}, Sig: []byte{1}}
	}
	var g gatherings
	for i, s := range []vault.SignedAcceptance{of(2, 1), of(0, 1), of(2, 2)} {
		if _, all := g.add(a, wire.Hash{1}, s, 10, 50); all {
			t.Fatalf("all are there after acceptance %d", i)
		}
	}
	q, all := g.add(a, wire.Hash{1}, of(1, 1), 10, 50)
	if !all || len(q.Acceptances) != 3 || len(g.list) != 0 || g.size != 0 {
		t.Fatalf("all there: %t, %d acceptances; kept are %d of %d bytes", all, len(q.Acceptances), len(g.list), g.size)
	}
	for i, s := range q.Acceptances {
		if int(s.Body.Role) != i {
			t.Errorf("acceptance %d is of party %d", i, s.Body.Role)
		}
	}
	if q.Acceptances[2].Body.Nonce[0] != 2 {
		t.Error("an acceptance that was signed anew is not the newest")
	}

	g.add(a, wire.Hash{1}, of(0, 1), 10, 50)
	g.add(vault.Agreement{Parties: a.Parties, LockBy: 200}, wire.Hash{2}, of(0, 1), 10, 101) // the first is over
	if len(g.list) != 1 || g.list[0].hash != (wire.Hash{2}) || g.size != 10 {
		t.Errorf("kept are %d of %d bytes, want the one that is not over", len(g.list), g.size)
	}
	g.add(a, wire.Hash{3}, of(0, 1), maxGatheredSize, 50)
	if len(g.list) != 1 || g.list[0].hash != (wire.Hash{3}) || g.size != maxGatheredSize {
		t.Errorf("kept are %d of %d bytes, want the newest", len(g.list), g.size)
	}
	for i := range maxGathered + 10 {
		g.add(a, wire.Hash{4, byte(i >> 8), byte(i)}, of(0, 1), 10, 50)
	}
	if len(g.list) != maxGathered || g.size != 10*maxGathered {
		t.Errorf("kept are %d of %d bytes, want %d", len(g.list), g.size, maxGathered)
	}
}
