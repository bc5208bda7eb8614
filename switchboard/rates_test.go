package switchboard_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"latchkey/coin"
)

func TestDenominations(t *testing.T) {
	w := newWorld(t, 1)
	c := w.clients[0]
	c.enrol()
	first := c.denominate(btc)
	day := time.Unix(w.now.Load(), 0).UTC().Format("2006-01-02")
	want := coin.Denomination{ID: "btc-" + day + "-a", Asset: btc, Unit: coin.NewAmount(20_000)}
	if first != want {
		t.Fatalf("got %+v, want %+v", first, want)
	}
	// price sets a price and waits until the switchboard has it.
	price := func(p string) {
		t.Helper()
		w.rates("btc = \"" + p + "\"\nxmr = \"200\"\n")
		w.eventually(func() error {
			for _, r := range w.describe().Rates {
				if r.Asset == "btc" && r.MicroUsd == p+"000000" {
					return nil
				}
			}
			return errors.New("not this price yet")
		})
	}
	price("52000")
	if d := c.denominate(btc); d != first {
		t.Errorf("4%% later: %+v, want %+v", d, first)
	}
	price("60000")
	second := c.denominate(btc)
	if second.ID != "btc-"+day+"-b" || second.Unit != coin.NewAmount(16_700) {
		t.Errorf("20%% later: %+v, want 16700 in btc-%s-b", second, day)
	}
	w.restart(true)
	if d := c.denominate(btc); d != second {
		t.Errorf("after a restart: %+v, want %+v", d, second)
	}
	other := btc
	other.Chain = "test:other"
	if _, err := c.board.Denominate(t.Context(), other); err == nil || !strings.Contains(err.Error(), "not traded here") {
		t.Errorf("of another chain: %v", err)
	}
}

// Without a fresh rate there is no new deposit and no fill, and everybody sees
// why.
func TestNoRate(t *testing.T) {
	w, alice, bob := pair(t)
	ids := alice.chunks(btc, 1, 1)
	oa, ob := alice.offer(0, btc, xmr, 10), bob.offer(1, xmr, btc, 10)
	w.rates("xmr = \"200\"\n")
	w.eventually(func() error {
		for _, r := range w.describe().Rates {
			if r.Asset == "btc" && strings.HasPrefix(r.Problem, "no fresh USD rate for btc") && r.MicroUsd == "" {
				return nil
			}
		}
		return errors.New("the rate is still there")
	})
	w.eventually(func() error { // the market hears of it a moment later
		err := alice.board.Deposit(t.Context(), alice.announcement(ids))
		if err == nil || !strings.Contains(err.Error(), "no deposit without a rate: a fresh rate of btc:") {
			t.Logf("deposit without a rate: %v", err)
			return errors.New("still")
		}
		return nil
	})
	if _, err := alice.board.Denominate(t.Context(), btc); err == nil || !strings.Contains(err.Error(), "no deposit without a rate") {
		t.Errorf("denomination without a rate: %v", err)
	}
	if err := alice.board.Place(t.Context(), oa); err != nil {
		t.Fatal(err)
	}
	if err := bob.board.Place(t.Context(), ob); err != nil {
		t.Fatal(err)
	}
	r, err := alice.board.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Lines) == 0 || !strings.HasPrefix(r.Lines[0].WaitsFor, "a fresh rate of btc: ") {
		t.Errorf("status: %v", r.Lines)
	}
	w.rates("btc = \"50000\"\nxmr = \"200\"\n")
	if n := alice.next(); n.Proposal == nil {
		t.Errorf("once there is a rate: %+v", n.Delivery)
	}
}
