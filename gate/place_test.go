package gate_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/gate"
)

// place takes places for a vault until it gets no more, and returns how many it got, with
// why it got no more.
func place(g *gate.Guard, name string) (leave []func(), err error) {
	for {
		l, err := g.Place(name)
		if err != nil {
			return leave, err
		}
		leave = append(leave, l)
	}
}

// However much each of many greedy vaults asks, and nothing of it is answered: one that
// comes after them has places.
func TestPlaces(t *testing.T) {
	for _, greedy := range []int{1, 2, 7, 30} {
		g := gate.NewGuard(gate.Limits{VaultWaiting: 8192}, time.Now)
		taken := 0
		for i := range greedy {
			l, err := place(g, fmt.Sprint(i))
			var limit *gate.LimitError
			if !errors.As(err, &limit) || limit.Seconds() < 1 || !strings.Contains(err.Error(), "not answered yet") {
				t.Errorf("of %d, vault %d gets no place, and hears %v", greedy, i, err)
			}
			taken += len(l)
		}
		l, _ := place(g, "honest")
		if len(l) < 8 || taken+len(l) > 8192 {
			t.Errorf("beside %d greedy vaults, with %d places, another gets %d of 8192", greedy, taken, len(l))
		}
	}
}

// What is given back is there for others; the most of one vault, and of all, are what
// the limits say; an operator sees how many are taken, and how many were refused.
func TestPlacesGivenBack(t *testing.T) {
	g := gate.NewGuard(gate.Limits{Waiting: 80, VaultWaiting: 5}, time.Now)
	a, err := place(g, "a")
	if len(a) != 5 || err == nil {
		t.Fatalf("one vault gets %d places, %v, want 5", len(a), err)
	}
	var rest []func()
	for i := range 9 { // 5 each, until an eighth of what is left is less
		l, _ := place(g, fmt.Sprint(i))
		rest = append(rest, l...)
	}
	if len(rest) != 5*7+4+4 {
		t.Fatalf("nine others get %d, want %d", len(rest), 5*7+4+4)
	}
	for _, leave := range a {
		leave()
	}
	last, err := g.Place("a")
	if err != nil {
		t.Fatalf("a place that was given back: %v", err)
	}
	i := slices.IndexFunc(g.Figures(), func(f gate.Figure) bool { return f.Name == "requests_waiting" })
	if i < 0 || g.Figures()[i].Value != 44 {
		t.Errorf("44 places are taken, the operator sees %+v", g.Figures()[max(i, 0)])
	}
	for _, f := range g.Figures() {
		if f.Of == gate.RefusedWaiting && f.Value != 10 {
			t.Errorf("10 were refused, the operator sees %v", f.Value)
		}
	}
	for _, leave := range append(rest, last) {
		leave()
	}
	if i := slices.IndexFunc(g.Figures(), func(f gate.Figure) bool { return f.Name == "requests_waiting" }); g.Figures()[i].Value != 0 {
		t.Errorf("all is given back, and %v places are taken", g.Figures()[i].Value)
	}
	tiny := gate.NewGuard(gate.Limits{Waiting: 1}, time.Now)
	if l, err := place(tiny, "a"); len(l) != 1 || err == nil || !strings.Contains(err.Error(), "the escrow has 1 requests") {
		t.Errorf("of one place %d are taken, and then: %v", len(l), err)
	}
	var none *gate.Guard
	if leave, err := none.Place("a"); err != nil {
		t.Errorf("no guard: %v", err)
	} else {
		leave()
	}
}
