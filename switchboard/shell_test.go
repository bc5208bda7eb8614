package switchboard

import (
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"latchkey/coin"
	"latchkey/escrow"
	"latchkey/event"
	"latchkey/head"
	"latchkey/market"
	"latchkey/switchboard/switchboardpb"
	"latchkey/vault"
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

// A log in a format that this program does not read is followed no further than its
// first entry, which says so.
func TestLogOfAnotherFormat(t *testing.T) {
	pub, sign, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	log, err := head.NewLogKey("escrow.test/log", pub)
	if err != nil {
		t.Fatal(err)
	}
	wpub, wsign, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	witness, err := head.NewWitnessKey("witness.test/0", wpub)
	if err != nil {
		t.Fatal(err)
	}
	g := head.Group{Log: log, Witnesses: []head.WitnessKey{witness}, K: 1}
	for format, want := range map[uint32]string{0: "has format 0, this program reads format 1", 1: "", 2: "has format 2, this program reads format 1"} {
		raw, err := wire.Marshal(vault.Entry{Genesis: &vault.Genesis{
			Format: format, Origin: log.Name(), Escrow: wire.Identity{Sign: pub, KEM: make([]byte, 1216)}, Evidence: []byte("evidence"),
		}})
		if err != nil {
			t.Fatal(err)
		}
		var f head.Frontier
		if err := f.Append(raw); err != nil {
			t.Fatal(err)
		}
		signed, err := head.SignCheckpoint(head.Checkpoint{Origin: log.Name(), Size: 1, Root: f.Root()}, sign)
		if err != nil {
			t.Fatal(err)
		}
		c, err := head.Decide(log, head.Seen{}, head.Request{Signed: signed}, 1_800_000_000)
		if err != nil {
			t.Fatal(err)
		}
		line, err := c.Cosign("witness.test/0", wsign)
		if err != nil {
			t.Fatal(err)
		}
		v, err := verify(g, head.Frontier{}, escrow.Page{Head: append(signed, line...), Entries: [][]byte{raw}})
		switch {
		case want == "" && (err != nil || len(v.entries) != 1):
			t.Errorf("format %d: %v", format, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("format %d: %v, want %q", format, err, want)
		}
	}
}
