package sim

import (
	"math/rand/v2"
	"testing"

	"latchkey/wire"
)

// Entries that were read once for several books are what was read still when all
// have used them.
func TestEntriesAreOnlyLookedAt(t *testing.T) {
	c, err := cast()
	if err != nil {
		t.Fatal(err)
	}
	for seed := uint64(1); seed <= 4; seed++ {
		w, err := New(c, configOf(seed))
		if err != nil {
			t.Fatal(err)
		}
		w.prelude(seed)
		r := rand.New(rand.NewPCG(seed, 2))
		p := newProfile(r)
		for range 120 {
			w.Play(p.draw(r, w))
		}
		w.Settle()
		ok(t, w)
		if len(w.entries) < 20 {
			t.Errorf("seed %d: %d entries were read", seed, len(w.entries))
		}
		for raw, e := range w.entries {
			if now, err := wire.Marshal(e); err != nil || string(now) != raw {
				t.Fatalf("seed %d: somebody changed an entry: %+v (%v)", seed, e, err)
			}
		}
	}
}
