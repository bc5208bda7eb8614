package switchboard

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"latchkey/coin"
	"latchkey/event"
	"latchkey/head"
	"latchkey/market"
	"latchkey/switchboard/switchboardpb"
	"latchkey/wire"
)

// Whatever the order in which numbers arrive, none is taken twice, and one that
// was overtaken by no more than a window of others is taken.
func TestNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var n numbers
		taken := map[uint64]bool{}
		var above []uint64
		for range rapid.IntRange(0, 3*overtaken).Draw(t, "count") {
			x := rapid.Uint64Range(0, 4*overtaken).Draw(t, "number")
			got := n.take(x)
			if got && taken[x] {
				t.Fatalf("%d is taken twice", x)
			}
			greater := 0
			for _, y := range above {
				if y > x {
					greater++
				}
			}
			if !got && !taken[x] && greater < overtaken && x > 0 {
				t.Fatalf("%d is refused, %d greater ones were taken", x, greater)
			}
			if got {
				taken[x] = true
				above = append(above, x)
			}
			if len(n.recent) > overtaken || !slices.IsSorted(n.recent) {
				t.Fatalf("%d numbers are remembered", len(n.recent))
			}
		}
	})
}

func TestLettersSort(t *testing.T) {
	last := ""
	for i := range 200 {
		l := letters(i)
		if l <= last {
			t.Fatalf("%q does not sort after %q", l, last)
		}
		last = l
	}
}

func TestNear(t *testing.T) {
	for _, x := range []struct {
		a, b uint64
		want bool
	}{{100, 100, true}, {105, 100, true}, {106, 100, false}, {95, 100, true}, {94, 100, false}, {0, 100, false}} {
		if got := near(coin.NewAmount(x.a), coin.NewAmount(x.b)); got != x.want {
			t.Errorf("near(%d, %d) = %t", x.a, x.b, got)
		}
	}
}

// Statements of anything are refused without a panic, and nobody who is not
// enrolled is heard.
func FuzzStatement(f *testing.F) {
	good, err := wire.Marshal(Statement{Client: wire.VaultID{1}, Method: "Place", At: 5, Number: 6, Payload: []byte{0xa0}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, []byte{1})
	f.Add([]byte{}, []byte{})
	f.Add(good[:len(good)-1], make([]byte, 64))
	log, err := event.NewMemory().Open()
	if err != nil {
		f.Fatal(err)
	}
	b, err := Open(f.Context(), Config{
		Settings: Settings{File: File{Market: market.DefaultPolicy()}}, Log: log, Group: head.Group{}, Clock: func() int64 { return 5 },
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, statement, signature []byte) {
		var o market.Offer
		if _, _, err := (server{b}).open(&switchboardpb.Signed{Statement: statement, Signature: signature}, "Place", &o); err == nil {
			t.Error("a statement of nobody is taken")
		}
		var s Statement
		if err := wire.Unmarshal(statement, &s); err == nil {
			again, err := wire.Marshal(s)
			if err != nil || string(again) != string(statement) {
				t.Errorf("it is written as % x again: %v", again, err)
			}
		}
	})
}
