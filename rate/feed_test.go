package rate

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"latchkey/coin"
)

func clock() int64 { return now }

// serve answers each path with its handler.
func serve(t *testing.T, handlers map[string]http.HandlerFunc) string {
	t.Helper()
	mux := http.NewServeMux()
	for path, h := range handlers {
		mux.HandleFunc(path, h)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
}

// silence answers nothing until the client gives up.
func silence(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func newFeed(t *testing.T, c Config) *Feed {
	t.Helper()
	if c.Policy == (Policy{}) {
		c.Policy = Policy{MinSources: 1, MaxAge: 120, MaxDeviation: 100}
	}
	f, err := NewFeed(c, clock)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFetch(t *testing.T) {
	tests := []struct {
		name    string
		source  Source // price is /usd unless set
		handler http.HandlerFunc
		price   string
		at      int64
		problem string // with HOST for the server's
	}{
		{name: "number", handler: says(`{"usd": 67123.5}`), price: "67123.50"},
		{name: "string", handler: says(`{"usd": "67123.5"}`), price: "67123.50"},
		{name: "exact where a float is not", handler: says(`{"usd": 999999999.000001}`), price: "999999999.000001"},
		{name: "list", source: Source{Price: "/r/XXBTZUSD/c/0"}, handler: says(`{"r": {"XXBTZUSD": {"c": ["1.5", "2"]}}}`), price: "1.50"},
		{name: "escaped names", source: Source{Price: "/a~1b/~01"}, handler: says(`{"a/b": {"~1": 3}}`), price: "3.00"},
		{name: "seconds", source: Source{Time: "/t"}, handler: says(`{"usd": 1, "t": 1799999999.9}`), price: "1.00", at: now - 1},
		{name: "milliseconds", source: Source{Time: "/t", TimeForm: "ms"}, handler: says(`{"usd": 1, "t": "1799999998123"}`), price: "1.00", at: now - 2},
		{name: "microseconds", source: Source{Time: "/t", TimeForm: "us"}, handler: says(`{"usd": 1, "t": 1799999997123456}`), price: "1.00", at: now - 3},
		{name: "date", source: Source{Time: "/t", TimeForm: "rfc3339"}, handler: says(`{"usd": 1, "t": "2027-01-15T08:00:00.5+01:00"}`), price: "1.00", at: now - 3600},

		{name: "no time", source: Source{Time: "/t"}, handler: says(`{"usd": 1}`), problem: `gives no time at /t: there is no "t"`},
		{name: "bad time", source: Source{Time: "/t"}, handler: says(`{"usd": 1, "t": "soon"}`), problem: `gives no usable time: "soon" is not a number of seconds since 1970`},
		{name: "negative time", source: Source{Time: "/t"}, handler: says(`{"usd": 1, "t": -5}`), problem: `gives no usable time: "-5" is not a number of seconds since 1970`},
		{name: "bad date", source: Source{Time: "/t", TimeForm: "rfc3339"}, handler: says(`{"usd": 1, "t": "2027-13-15"}`), problem: `gives no usable time: "2027-13-15" is not of the form 2006-01-02T15:04:05Z`},
		{name: "not JSON", handler: says(`<html>`), problem: "answered something that is not JSON"},
		{name: "cut JSON", handler: says(`{"usd": 1`), problem: "answered something that is not JSON"},
		{name: "empty", handler: says(``), problem: "answered something that is not JSON"},
		{name: "two values", handler: says(`{"usd": 1}{"usd": 2}`), problem: "answered more than one JSON value"},
		{name: "NaN", handler: says(`{"usd": NaN}`), problem: "answered something that is not JSON"},
		{name: "NaN as a string", handler: says(`{"usd": "NaN"}`), problem: `gives no usable price: price "NaN": not a decimal number`},
		{name: "negative", handler: says(`{"usd": -1}`), problem: `gives no usable price: price "-1": negative`},
		{name: "zero", handler: says(`{"usd": 0}`), problem: `gives no usable price: price "0" is less than a millionth of a dollar`},
		{name: "huge", handler: says(`{"usd": 1e300}`), problem: `gives no usable price: price "1e300": too large`},
		{name: "huge exponent", handler: says(`{"usd": 1e3000000000}`), problem: `gives no usable price: price "1e3000000000": not a decimal number`},
		{name: "a million digits", handler: says(`{"usd": ` + strings.Repeat("9", 1_000_000) + `}`), problem: `gives no usable price: price "` + strings.Repeat("9", 40) + `": longer than 64 characters`},
		{name: "null", handler: says(`{"usd": null}`), problem: "gives no price at /usd: it is neither a number nor a string"},
		{name: "object", handler: says(`{"usd": {}}`), problem: "gives no price at /usd: it is neither a number nor a string"},
		{name: "missing", handler: says(`{"eur": 1}`), problem: `gives no price at /usd: there is no "usd"`},
		{name: "beyond a list", source: Source{Price: "/1"}, handler: says(`[1]`), problem: `gives no price at /1: there is no element "1" in a list of 1`},
		{name: "index with zeros", source: Source{Price: "/00"}, handler: says(`[1]`), problem: `gives no price at /00: there is no element "00" in a list of 1`},
		{name: "inside a number", source: Source{Price: "/usd/x"}, handler: says(`{"usd": 1}`), problem: `gives no price at /usd/x: there is nothing to find "x" in`},
		{name: "deeply nested", handler: says(strings.Repeat("[", 500_000)), problem: "answered something that is not JSON"},
		{name: "too large", handler: says(`{"usd": 1}` + strings.Repeat(" ", 1<<20)), problem: "(HOST) answered more than 1048576 bytes"},
		{name: "too large when unpacked", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			fmt.Fprint(z, `{"usd": 1}`, strings.Repeat(" ", 1<<24))
			z.Close()
		}, problem: "(HOST) answered more than 1048576 bytes"},
		{name: "not found", handler: http.NotFound, problem: "(HOST) answered 404 Not Found"},
		{name: "redirect", handler: http.RedirectHandler("/good", http.StatusFound).ServeHTTP, problem: "(HOST) answered 302; redirects are not followed"},
		{name: "redirect without a place", handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(301) }, problem: "(HOST) answered 301; redirects are not followed"},
		{name: "no answer", handler: silence, problem: "(HOST) gave no answer within 1 s"},
		{name: "half an answer", handler: func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"usd"`)
			w.(http.Flusher).Flush()
			silence(w, r)
		}, problem: "(HOST) gave no answer within 1 s"},
		{name: "broken off", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, `{"usd"`)
		}, problem: "(HOST) cannot be reached: unexpected EOF"},
		{name: "endless header", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<17))
		}, problem: "(HOST) cannot be reached: net/http: "},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, map[string]http.HandlerFunc{"/price": tc.handler, "/good": says(`{"usd": 1}`)})
			s := tc.source
			s.Name, s.Asset, s.URL = "src", "btc", url+"/price?key=secret"
			if s.Price == "" {
				s.Price = "/usd"
			}
			timeout := int64(60) // never reached, on however slow a machine
			if strings.Contains(tc.problem, "within 1 s") {
				timeout = 1
			}
			f := newFeed(t, Config{Timeout: timeout, Sources: []Source{s}})
			got := f.Observe(t.Context(), "btc")
			if len(got) != 1 || got[0].Source != "src" {
				t.Fatalf("got %+v", got)
			}
			want := strings.ReplaceAll(tc.problem, "HOST", strings.TrimPrefix(url, "http://"))
			if want == "" {
				w := Observation{Source: "src", Price: usd(t, tc.price), At: tc.at}
				if w.At == 0 {
					w.At = now
				}
				if diff := cmp.Diff(w, got[0]); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				return
			}
			if p := got[0].Problem; !strings.HasPrefix(p, want) || strings.Contains(p, "secret") || len(p) > 160 {
				t.Errorf("got  %s\nwant %s", p, want)
			}
		})
	}
}

func TestFetchWithoutServer(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	url := s.URL
	s.Close()
	f := newFeed(t, Config{Sources: []Source{{Name: "gone", Asset: "btc", URL: url, Price: "/usd"}}})
	_, err := f.Rate(t.Context(), "btc")
	var none *Unavailable
	if !errors.As(err, &none) || !strings.Contains(err.Error(), "gone ("+strings.TrimPrefix(url, "http://")+") cannot be reached: dial tcp") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := f.Observe(ctx, "btc"); !strings.HasSuffix(got[0].Problem, "was not waited for") {
		t.Errorf("cancelled: %+v", got)
	}
}

// TestRate is the whole way: three sources, one of which lies, one slow.
func TestRate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "prices.toml")
	if err := os.WriteFile(path, []byte("always_fresh = true\n[usd]\nbtc = \"100.00\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := serve(t, map[string]http.HandlerFunc{
		"/a": says(`{"usd": "100.40"}`), "/liar": says(`{"usd": "1"}`), "/eth": says(`{"usd": 7}`),
		"/slow": silence,
	})
	f := newFeed(t, Config{Timeout: 2, Policy: Policy{MinSources: 2, MaxAge: 60, MaxDeviation: 100}, Sources: []Source{
		{Name: "file", File: path},
		{Name: "a", Asset: "btc", URL: url + "/a", Price: "/usd"},
		{Name: "a", Asset: "eth", URL: url + "/eth", Price: "/usd"},
		{Name: "liar", Asset: "btc", URL: url + "/liar", Price: "/usd"},
		{Name: "slow", Asset: "btc", URL: url + "/slow", Price: "/usd"},
	}})
	began := time.Now()
	got, err := f.Rate(t.Context(), "btc")
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v with a timeout of 2 s", took)
	}
	want := Rate{Asset: "btc", Price: usd(t, "100.20"), At: now, Sources: []string{"a", "file"}, Aside: []Aside{
		{"slow", Failed, "(" + strings.TrimPrefix(url, "http://") + ") gave no answer within 2 s"},
		{"liar", Deviates, "says $1.00, 99.00% from the median $100.00, at most 1.00%"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	_, err = f.Rate(t.Context(), "eth")
	wantErr := "no fresh USD rate for eth: 1 of 2 sources count, 2 needed: file (" + path + ") has no price for eth"
	if err == nil || err.Error() != wantErr {
		t.Errorf("got  %v\nwant %s", err, wantErr)
	}
	if _, err = f.Rate(t.Context(), "xmr"); err == nil {
		t.Error("a rate for an asset that nobody knows")
	}
}

func TestReadFile(t *testing.T) {
	tests := []struct {
		name, ext, content string
		want               Observation
		err                string
	}{
		{"dated", ".toml", "at = 5\n[usd]\nbtc = \"2\"\n", Observation{Price: 2_000000, At: 5}, ""},
		{"undated: when it was written", ".toml", "[usd]\nbtc = \"2\"\n", Observation{Price: 2_000000, At: 1_000_000_000}, ""},
		{"always fresh", ".json", `{"always_fresh": true, "usd": {"btc": "2", "eth:usdc": "1"}}`, Observation{Price: 2_000000, At: now}, ""},
		{"a float", ".toml", "[usd]\nbtc = 2.5\n", Observation{}, "is not a file of prices: line 2: "},
		{"a number in JSON", ".json", `{"usd": {"btc": 2}}`, Observation{}, "is not a file of prices"},
		{"no price", ".toml", "[usd]\neth = \"2\"\n", Observation{}, "has no price for btc"},
		{"empty", ".toml", "", Observation{}, "has no price for btc"},
		{"bad price", ".toml", "[usd]\nbtc = \"-2\"\n", Observation{}, "has no usable price for btc: price \"-2\": negative"},
		{"unknown field", ".toml", "when = 5\n", Observation{}, `unknown field "when"`},
		{"unknown field in JSON", ".json", `{"when": 5}`, Observation{}, `unknown field "when"`},
		{"two values", ".json", `{} {}`, Observation{}, "something follows"},
		{"both times", ".toml", "at = 5\nalways_fresh = true\n[usd]\nbtc = \"2\"\n", Observation{}, "a time and always_fresh"},
		{"negative time", ".toml", "at = -5\n[usd]\nbtc = \"2\"\n", Observation{}, "a negative time"},
		{"other ending", ".yaml", "usd: {btc: 2}", Observation{}, `ends in ".yaml"`},
		{"too large", ".toml", strings.Repeat("#\n", 1<<20), Observation{}, "is larger than 1048576 bytes"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "prices"+tc.ext)
			if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, time.Time{}, time.Unix(1_000_000_000, 0)); err != nil {
				t.Fatal(err)
			}
			got, err := ReadFile(path, "btc", now)
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), path)) {
				t.Fatalf("error %v, want %q", err, tc.err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	path := filepath.Join(t.TempDir(), "none.toml")
	if _, err := ReadFile(path, "btc", now); err == nil || err.Error() != "("+path+") cannot be read: no such file or directory" {
		t.Errorf("missing file: %v", err)
	}
}

const goodConfig = `
min_sources = 2
max_age = 120
max_deviation = 200
timeout = 3

[[source]]
name = "local"
file = "prices.toml"

[[source]]
name = "exchange"
asset = "btc"
url = "https://api.example/ticker?pair=XBTUSD"
price = "/result/XXBTZUSD/c/0"
time = "/time"
time_form = "ms"
`

func parseConfig(text string) (Config, error) {
	d := toml.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	var c Config
	err := d.Decode(&c)
	return c, err
}

func TestConfig(t *testing.T) {
	c, err := parseConfig(goodConfig)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{Policy: Policy{MinSources: 2, MaxAge: 120, MaxDeviation: 200}, Timeout: 3, Sources: []Source{
		{Name: "local", File: "prices.toml"},
		{Name: "exchange", Asset: "btc", URL: "https://api.example/ticker?pair=XBTUSD", Price: "/result/XXBTZUSD/c/0", Time: "/time", TimeForm: "ms"},
	}}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if f := newFeed(t, c); f.Policy() != want.Policy {
		t.Errorf("policy %+v", f.Policy())
	}
	tests := []struct{ name, old, new, want string }{
		{"no sources needed", "min_sources = 2", "", "min_sources is 0"},
		{"no age", "max_age = 120", "", "max_age is 0"},
		{"long timeout", "timeout = 3", "timeout = 61", "timeout of 61 seconds"},
		{"no name", `name = "local"`, "", `source 1 (""): the name`},
		{"name of two words", `"local"`, `"lo cal"`, "the name"},
		{"name taken", `"local"`, `"exchange"`, "source 2 (\"exchange\"): the name is taken"},
		{"file and url", `file = "prices.toml"`, "file = \"prices.toml\"\nurl = \"https://a\"", "it is a file"},
		{"other file", `"prices.toml"`, `"prices"`, "ends neither in .toml nor in .json"},
		{"neither", `file = "prices.toml"`, "", "neither file nor url"},
		{"no asset", `asset = "btc"`, "", "asset name is empty"},
		{"bad asset", `"btc"`, `"BTC"`, `asset name "BTC"`},
		{"plain http", "https://", "http://", "neither https nor http on this machine"},
		{"plain http to a name like localhost", "https://api.example", "http://localhost.example", "neither https nor http on this machine"},
		{"file url", "https://api.example", "file://", "the url is malformed"},
		{"password in the url", "https://api", "https://me:hunter2@api", "has a password in it"},
		{"malformed url", "https://api.example", "https://[api", "the url is malformed"},
		{"no pointer", `price = "/result/XXBTZUSD/c/0"`, "", `price "" is not a JSON pointer`},
		{"no slash", `"/result/`, `"result/`, "is not a JSON pointer"},
		{"bad escape", `"/time"`, `"/time~2"`, `time "/time~2" is not a JSON pointer`},
		{"bad form of time", `"ms"`, `"hours"`, `time_form "hours"`},
		{"no sources", goodConfig[strings.Index(goodConfig, "[[source]]"):], "", "there is no source"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			text := strings.Replace(goodConfig, tc.old, tc.new, 1)
			if text == goodConfig {
				t.Fatal("the test changes nothing")
			}
			c, err := parseConfig(text)
			if err != nil {
				t.Fatal(err)
			}
			_, err = NewFeed(c, clock)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	for _, url := range []string{"http://localhost:1/", "http://127.0.0.9:1/", "http://[::1]:1/"} {
		if _, err := NewFeed(Config{Policy: Policy{1, 1, 0}, Sources: []Source{{Name: "a", Asset: "btc", URL: url, Price: "/a"}}}, clock); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := parseConfig("minimal_sources = 2"); err == nil {
		t.Error("unknown field accepted")
	}
}

func FuzzParseReply(f *testing.F) {
	f.Add([]byte(`{"usd": [1.5, "2"]}`), "/usd/0", "/usd/1", "ms")
	f.Add([]byte(`[[]]`), "/0/0", "", "")
	f.Fuzz(func(t *testing.T, body []byte, price, at, form string) {
		o, err := parseReply(body, Source{Price: price, Time: at, TimeForm: form}, now)
		if err == nil && (o.Price == 0 || o.Price > MaxPrice || o.At < 0) {
			t.Fatalf("accepted %+v", o)
		}
		if err != nil && len(err.Error()) > 400+2*len(price)+2*len(at) {
			t.Fatalf("error of %d bytes", len(err.Error()))
		}
	})
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("at = 5\n[usd]\nbtc = \"2\"\n"), true)
	f.Add([]byte(`{"usd": {"btc": "2"}}`), false)
	f.Fuzz(func(t *testing.T, b []byte, isTOML bool) {
		ext := map[bool]string{true: ".toml", false: ".json"}[isTOML]
		if p, err := parseFile(b, ext); err == nil && p.At < 0 {
			t.Fatalf("accepted %+v", p)
		}
	})
}

func BenchmarkCombine(b *testing.B) {
	var obs []Observation
	for i := range 7 {
		obs = append(obs, Observation{Source: string(rune('a' + i)), Price: Price(1_000_000 + i), At: now})
	}
	for b.Loop() {
		if _, err := Combine("btc", obs, Policy{MinSources: 4, MaxAge: 60, MaxDeviation: 100}, now); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleCombine() {
	observed := []Observation{
		{Source: "one", Price: 67_120_000000, At: now - 4},
		{Source: "two", Price: 67_131_500000, At: now - 2},
		{Source: "three", Price: 71_000_000000, At: now},
	}
	policy := Policy{MinSources: 2, MaxAge: 60, MaxDeviation: 100}
	r, err := Combine(coin.AssetID("btc"), observed, policy, now)
	fmt.Println(r.Price, r.Sources, r.Aside, err)
	_, err = Combine(coin.AssetID("btc"), observed, policy, now+58)
	fmt.Println(err)
	// Output:
	// 67125.75 [one two] [three says $71000.00, 5.77% from the median $67131.50, at most 1.00%] <nil>
	// no fresh USD rate for btc: 0 of 3 sources count, 2 needed: one is 62 s old, at most 60 s; three says $71000.00, 2.81% from the median $69065.75, at most 1.00%; two says $67131.50, 2.81% from the median $69065.75, at most 1.00%
}
