package rate

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const now = 1_800_000_000

func usd(t testing.TB, s string) Price {
	t.Helper()
	p, err := ParsePrice(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCombine(t *testing.T) {
	p := Policy{MinSources: 2, MaxAge: 120, MaxDeviation: 200}
	at := func(name, price string, age int64) Observation {
		return Observation{Source: name, Price: usd(t, price), At: now - age}
	}
	tests := []struct {
		name string
		obs  []Observation
		want Rate // of btc
		err  string
	}{
		{"three agree", []Observation{at("c", "101", 3), at("a", "100", 5), at("b", "100.5", 0)},
			Rate{Price: usd(t, "100.5"), At: now - 5, Sources: []string{"a", "b", "c"}}, ""},
		{"two: the mean, rounded down", []Observation{at("a", "100", 0), at("b", "100.000001", 0)},
			Rate{Price: usd(t, "100"), At: now, Sources: []string{"a", "b"}}, ""},
		{"one deviates", []Observation{at("a", "100", 0), at("b", "101", 1), at("c", "150", 90)},
			Rate{Price: usd(t, "100.5"), At: now - 1, Sources: []string{"a", "b"},
				Aside: []Aside{{"c", Deviates, "says $150.00, 48.52% from the median $101.00, at most 2.00%"}}}, ""},
		{"at the limit of deviation", []Observation{at("a", "98", 0), at("b", "100", 0), at("c", "102", 0)},
			Rate{Price: usd(t, "100"), At: now, Sources: []string{"a", "b", "c"}}, ""},
		{"a millionth beyond it", []Observation{at("a", "98", 0), at("b", "100", 0), at("c", "102.000001", 0)},
			Rate{Price: usd(t, "99"), At: now, Sources: []string{"a", "b"},
				Aside: []Aside{{"c", Deviates, "says $102.000001, 2.01% from the median $100.00, at most 2.00%"}}}, ""},
		{"as old as allowed, and ahead as allowed", []Observation{at("a", "100", 120), at("b", "100", -60)},
			Rate{Price: usd(t, "100"), At: now - 120, Sources: []string{"a", "b"}}, ""},
		{"stale, failed, ahead and absurd", []Observation{at("a", "100", 121), {Source: "b", Problem: "(b.example) answered 404 Not Found"},
			at("c", "100", -61), {Source: "d", At: now}, {Source: "e", At: now, Price: MaxPrice + 1}, at("f", "100", 0)}, Rate{},
			"no fresh USD rate for btc: 1 of 6 sources count, 2 needed: a is 121 s old, at most 120 s; b (b.example) answered 404 Not Found; " +
				"c is dated 61 s ahead of the clock; d says $0.00; e says $1000000000.000001"},
		{"two disagree", []Observation{at("a", "100", 0), at("b", "110", 0)}, Rate{},
			"no fresh USD rate for btc: 0 of 2 sources count, 2 needed: a says $100.00, 4.77% from the median $105.00, at most 2.00%; " +
				"b says $110.00, 4.77% from the median $105.00, at most 2.00%"},
		{"too few", []Observation{at("a", "100", 0)}, Rate{}, "no fresh USD rate for btc: 1 of 1 sources count, 2 needed"},
		{"none", nil, Rate{}, "no fresh USD rate for btc: 0 of 0 sources count, 2 needed"},
		{"undated", []Observation{at("a", "100", 0), {Source: "b", Price: 1}}, Rate{},
			"no fresh USD rate for btc: 1 of 2 sources count, 2 needed: b is 1800000000 s old, at most 120 s"},
		{"price and problem", []Observation{at("a", "100", 0), {Source: "b", Price: usd(t, "100"), At: now, Problem: "is being maintained"}}, Rate{},
			"no fresh USD rate for btc: 1 of 2 sources count, 2 needed: b is being maintained"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if tc.err == "" {
				tc.want.Asset = "btc"
			}
			for range 4 { // in any order
				got, err := Combine("btc", tc.obs, p, now)
				var none *Unavailable
				switch {
				case tc.err != "" && (!errors.As(err, &none) || err.Error() != tc.err):
					t.Errorf("got %v\nwant %s", err, tc.err)
				case tc.err == "" && err != nil:
					t.Error(err)
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				rand.New(rand.NewPCG(1, 2)).Shuffle(len(tc.obs), func(i, j int) { tc.obs[i], tc.obs[j] = tc.obs[j], tc.obs[i] })
			}
		})
	}
}

func TestCombineRefuses(t *testing.T) {
	good := Policy{MinSources: 1, MaxAge: 1}
	obs := []Observation{{Source: "a", Price: 1, At: now}}
	if _, err := Combine("btc", obs, good, now); err != nil {
		t.Fatalf("a single source that agrees with itself: %v", err)
	}
	for name, f := range map[string]func() error{
		"zero policy":       func() error { _, err := Combine("btc", obs, Policy{}, now); return err },
		"no sources needed": func() error { _, err := Combine("btc", obs, Policy{MaxAge: 1}, now); return err },
		"no age":            func() error { _, err := Combine("btc", obs, Policy{MinSources: 1}, now); return err },
		"deviation above all": func() error {
			_, err := Combine("btc", obs, Policy{MinSources: 1, MaxAge: 1, MaxDeviation: 10_001}, now)
			return err
		},
		"no asset":       func() error { _, err := Combine("", obs, good, now); return err },
		"source twice":   func() error { _, err := Combine("btc", append(obs, obs...), good, now); return err },
		"source unnamed": func() error { _, err := Combine("btc", []Observation{{Price: 1, At: now}}, good, now); return err },
	} {
		if f() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestFresh(t *testing.T) {
	r := Rate{Asset: "btc", Price: 1, At: now - 100, Sources: []string{"a", "b"}}
	for _, c := range []struct {
		r    Rate
		now  int64
		want string
	}{
		{r, now, ""},
		{r, now + 20, ""},
		{r, now + 21, "no fresh USD rate for btc: the last one, from a and b, is 121 s old, at most 120 s"},
		{r, now - 161, "no fresh USD rate for btc: the last one, from a and b, is -61 s old, at most 120 s"},
		{Rate{Asset: "eth"}, now, "no fresh USD rate for eth: none has been observed yet"},
		{Rate{Asset: "eth", Price: 1}, 5, "no fresh USD rate for eth: none has been observed yet"},
	} {
		got := ""
		if err := c.r.Fresh(c.now, 120); err != nil {
			got = err.Error()
			var none *Unavailable
			if !errors.As(err, &none) {
				t.Errorf("%v is not an Unavailable", err)
			}
		}
		if got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// TestLiarsCannotMoveTheMedian: of 2f+1 sources, f that say anything at all leave the rate between the
// least and the greatest honest price, or there is none.
func TestLiarsCannotMoveTheMedian(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.IntRange(0, 3).Draw(t, "f")
		var obs []Observation
		honest := rapid.SliceOfN(rapid.Uint64Range(1_000_000, 1_010_000), f+1, f+1).Draw(t, "honest")
		for i, v := range honest {
			obs = append(obs, Observation{Source: "h" + strings.Repeat("x", i), Price: Price(v), At: now})
		}
		for i := range f {
			obs = append(obs, Observation{Source: "l" + strings.Repeat("x", i), Price: Price(rapid.Uint64().Draw(t, "lie")),
				At: rapid.Int64().Draw(t, "time")})
		}
		r, err := Combine("btc", obs, Policy{MinSources: f + 1, MaxAge: 60, MaxDeviation: uint32(rapid.IntRange(0, 10_000).Draw(t, "deviation"))}, now)
		var none *Unavailable
		if errors.As(err, &none) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if lo, hi := slices.Min(honest), slices.Max(honest); r.Price < Price(lo) || r.Price > Price(hi) {
			t.Fatalf("rate %d outside the honest prices %d to %d", r.Price, lo, hi)
		}
		if err := r.Fresh(now, 60); err != nil {
			t.Fatal(err)
		}
	})
}
