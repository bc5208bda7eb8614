package client

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/market"
	"latchkey/rate"
	"latchkey/switchboard"
	"latchkey/vault"
)

// A proposal's values are held against the client's own rates: too far off either
// way, on either side, it is declined, once; while there is no fresh rate, it waits.
func TestOwnRates(t *testing.T) {
	w := newWorld(t)
	o := w.offer() // units of 10,000 of the smallest: at $100,000 a coin, $10
	var placed Placed
	name := ""
	each(w.store, "offer/", func(n string, p Placed) { name, placed = n, p })
	placed.Give = &coin.Denomination{ID: "btc-test", Asset: btc, Unit: coin.NewAmount(10_000)}
	if err := w.store.put(t.Context(), name, placed); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rates.toml")
	prices := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	feed, err := rate.NewFeed(rate.Config{
		Policy: rate.Policy{MinSources: 1, MaxAge: 60, MaxDeviation: 100}, Sources: []rate.Source{{Name: "own", File: file}},
	}, func() int64 { return 1_800_000_000 })
	if err != nil {
		t.Fatal(err)
	}
	good := paper(t, wanted, 7)
	for _, c := range []struct {
		name  string
		usd   string // of a coin, by the own source; empty: none
		value market.Micros
		side  int
		want  string // empty: as rated
	}{
		{"just so", "100000", 10_000_000, 0, ""},
		{"at the limit above", "100000", 10_200_000, 0, ""},
		{"at the limit below", "100000", 9_800_000, 1, ""},
		{"above it, what is given", "100000", 10_200_001, 0, "more than 200 basis points apart"},
		{"below it, what is given", "100000", 9_799_999, 0, "more than 200 basis points apart"},
		{"above it, what comes", "100000", 10_200_001, 1, "more than 200 basis points apart"},
		{"nothing", "100000", 0, 1, "more than 200 basis points apart"},
		{"negative", "100000", -10_000_000, 1, "more than 200 basis points apart"},
		{"absurd", "100000", 1 << 62, 1, "more than 200 basis points apart"},
		{"the market has halved", "50000", 10_000_000, 0, "more than 200 basis points apart"},
		{"no own rate", "", 10_000_000, 0, "btc"},
	} {
		w.cfg.Rates, w.cfg.RateLimit = feed, 200
		if prices("always_fresh = true\n[usd]\nbtc = \"" + c.usd + "\"\n"); c.usd == "" {
			prices("always_fresh = true\n[usd]\nxyz = \"1\"\n")
		}
		q := proposal(o, good)
		q.Sides[c.side].Value = c.value
		err := w.asRated(t.Context(), q)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
		if unavailable(err) != (c.usd == "") {
			t.Errorf("%s: no fresh rate: %t", c.name, unavailable(err))
		}
		if w.cfg.Rates = nil; w.asRated(t.Context(), q) != nil {
			t.Errorf("%s: refused without own sources", c.name)
		}
	}

	// What is not rated well is declined with the reason; what cannot be rated waits.
	w.cfg.Rates = feed
	q := proposal(o, good)
	if err := w.notice(t.Context(), switchboard.Notice{Delivery: market.Delivery{Seq: 1, Proposal: &q}, Source: []byte(swap), Papers: []vault.Paper{good}}); err != nil {
		t.Fatal(err)
	}
	if err := w.consider(t.Context(), dealName(q.ID), w.deal(q.ID)); !unavailable(err) || w.deal(q.ID).State != "proposed" {
		t.Errorf("without a fresh rate: %v, the deal is %s", err, w.deal(q.ID).State)
	}
	prices("always_fresh = true\n[usd]\nbtc = \"90000\"\n")
	if err := w.consider(t.Context(), dealName(q.ID), w.deal(q.ID)); err != nil {
		t.Fatal(err)
	}
	if d := w.deal(q.ID); d.State != "declined" || !strings.Contains(d.Reason, "the own sources say 9000000") || len(w.board.declined) != 1 || w.board.declined[0] != market.Undesired {
		t.Errorf("off the own rates: the deal is %s: %s, declined %v", d.State, d.Reason, w.board.declined)
	}
}

func TestRateConfiguration(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "client.toml")
	const head = "name = \"a\"\nlisten = \"unix:l\"\ndata = \"d\"\nsocket = \"s\"\nescrow = \"http://127.0.0.1:1\"\nswitchboard = \"http://127.0.0.1:1\"\n"
	const tail = "[[wallet]]\nasset = \"btc\"\nurl = \"unix:w\"\n"
	const table = "[rate]\nmin_sources = 1\nmax_age = 60\nmax_deviation = 100\n[[rate.source]]\nname = \"own\"\nfile = \"rates.toml\"\n"
	for _, c := range []struct{ name, text, want string }{
		{"none", head + tail, ""},
		{"own sources", head + "rate_limit = 50\n" + table + tail, ""},
		{"a limit for nothing", head + "rate_limit = 50\n" + tail, "rate_limit without a table [rate]"},
		{"an absurd limit", head + "rate_limit = 10001\n" + table + tail, "rate_limit 10001"},
		{"a negative limit", head + "rate_limit = -1\n" + table + tail, "line 7"},
		{"no source", head + "[rate]\nmin_sources = 1\nmax_age = 60\n" + tail, "rate: "},
		{"an unknown field", head + table + "fiel = \"x\"\n" + tail, `unknown field "rate.source.fiel"`},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := ReadFile(path)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
		if c.name == "own sources" {
			cfg, err := f.Host(slog.New(slog.DiscardHandler))
			if err != nil || cfg.Rates == nil || cfg.RateLimit != 50 || f.Rate.Sources[0].File != filepath.Join(dir, "rates.toml") {
				t.Errorf("%s: %+v, %v", c.name, cfg, err)
			}
		}
	}
}
