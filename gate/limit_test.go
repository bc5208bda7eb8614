package gate_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"latchkey/gate"
)

// A bucket gives its burst, then its rate, to each caller apart.
func TestBuckets(t *testing.T) {
	now := time.Unix(1000, 0)
	b := gate.NewBuckets(2, 3, func() time.Time { return now })
	for i := range 3 {
		if wait := b.Take("a"); wait != 0 {
			t.Errorf("request %d waits %v", i, wait)
		}
	}
	if wait := b.Take("a"); wait != 500*time.Millisecond {
		t.Errorf("the fourth waits %v, want 0.5 s", wait)
	}
	if wait := b.Take("b"); wait != 0 {
		t.Errorf("another caller waits %v", wait)
	}
	now = now.Add(500 * time.Millisecond)
	if wait := b.Take("a"); wait != 0 {
		t.Errorf("after the wait it waits %v", wait)
	}
	now = now.Add(-time.Hour) // a clock that was set back gives and takes nothing
	if wait := b.Take("a"); wait <= 0 || wait > time.Second {
		t.Errorf("after the clock was set back it waits %v", wait)
	}
}

// A flood of addresses is remembered within bounds, and locks nobody out.
func TestBucketsFlood(t *testing.T) {
	now := time.Unix(1000, 0)
	b := gate.NewBuckets(1, 1, func() time.Time { return now })
	for i := range 200_000 {
		if wait := b.Take(fmt.Sprint(i)); wait != 0 {
			t.Fatalf("caller %d waits %v", i, wait)
		}
	}
}

// Requests over a limit are refused with 429 and Retry-After, in a form that both
// people and callers by Connect read; refusals are counted by the limit.
func TestGuard(t *testing.T) {
	now := time.Unix(1000, 0)
	g := gate.NewGuard(gate.Limits{AddressRate: 1, AddressBurst: 3, StrangerRate: 0.1, StrangerBurst: 1, VaultRate: 1, VaultBurst: 1, Body: 10}, func() time.Time { return now })
	h := g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}), func(r *http.Request) bool { return r.URL.Path == "/enrol" })
	do := func(from, path string, body string, hidden bool) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.RemoteAddr = from
		if hidden {
			r.ContentLength = -1
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for _, x := range []struct {
		name, from, path, body string
		hidden                 bool
		status                 int
		retry, says            string
	}{
		{"the first to enrol", "192.0.2.1:1", "/enrol", "", false, 200, "", ""},
		{"again", "192.0.2.1:2", "/enrol", "", false, 429, "10", `{"code":"resource_exhausted","message":"this address, before it has enrolled, asks too often; ask again in 10 s"}`},
		{"something else", "192.0.2.1:3", "/", "", false, 200, "", ""},
		{"too much", "192.0.2.1:4", "/", "", false, 429, "1", "this address asks too often; ask again in 1 s"},
		{"another address", "192.0.2.2:1", "/", "", false, 200, "", ""},
		{"a large body", "192.0.2.2:1", "/", "12345678901", false, 413, "", "a request of 11 bytes, at most 10 are taken"},
		{"a large body that does not say so", "192.0.2.2:1", "/", "12345678901", true, 400, "", "too large"},
		{"IPv6", "[2001:db8::1]:1", "/enrol", "", false, 200, "", ""},
		{"its neighbour, the same customer", "[2001:db8::2]:1", "/enrol", "", false, 429, "10", "asks too often"},
		{"another customer", "[2001:db8:0:1::1]:1", "/enrol", "", false, 200, "", ""},
		{"IPv4 in the form of IPv6", "[::ffff:192.0.2.1]:9", "/", "", false, 429, "1", "asks too often"},
	} {
		w := do(x.from, x.path, x.body, x.hidden)
		if w.Code != x.status || w.Header().Get("Retry-After") != x.retry || !strings.Contains(w.Body.String(), x.says) {
			t.Errorf("%s: %d, Retry-After %q, %q", x.name, w.Code, w.Header().Get("Retry-After"), w.Body)
		}
	}
	if err := g.Vault("a"); err != nil {
		t.Error(err)
	}
	var limit *gate.LimitError
	if err := g.Vault("a"); !errors.As(err, &limit) || limit.Seconds() != 1 {
		t.Errorf("a vault's second request: %v", err)
	}
	if err := g.Vault("b"); err != nil {
		t.Error(err)
	}
	if err := (*gate.Guard)(nil).Vault("a"); err != nil {
		t.Error(err)
	}
	got := map[string]float64{}
	for _, f := range g.Figures() {
		got[f.Name+" "+f.Of] = f.Value
	}
	for name, want := range map[string]float64{"refused_total address": 2, "refused_total stranger": 2, "refused_total vault": 1, "refused_total body": 1, "requests_total ": 6} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

// A connection over the limit is closed at once, and there is room again when
// another one ends.
func TestConnections(t *testing.T) {
	l := serve(t, "127.0.0.1:0", gate.Tables{Limits: gate.Limits{AddressConnections: 2}}, hello)
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ask := func(c net.Conn) error {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return err
		}
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			_, err = io.ReadAll(r.Body)
		}
		return err
	}
	first, second := dial(), dial()
	defer second.Close()
	if err := errors.Join(ask(first), ask(second)); err != nil {
		t.Fatal(err)
	}
	third := dial()
	if err := ask(third); err == nil {
		t.Error("a third connection is served")
	}
	third.Close()
	first.Close()
	for { // the server notices in its own time
		c := dial()
		err := ask(c)
		c.Close()
		if err == nil {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// Who sends a header without ever ending it is left.
func TestSlowHeader(t *testing.T) {
	l := serve(t, "127.0.0.1:0", gate.Tables{Limits: gate.Limits{HeaderSeconds: 1}}, hello)
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil { // ends when the server closes
		t.Error(err)
	}
}

// At the end a request in flight is answered, a wait for news ends at once, and
// nothing new is let in.
func TestGracefulStop(t *testing.T) {
	l, err := gate.Listen("127.0.0.1:0", gate.Tables{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	inside, finish := make(chan string, 2), make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	silent, err := net.Dial("tcp", l.Addr().String()) // and asks nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	done := make(chan error, 1)
	go func() {
		done <- l.Serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inside <- r.URL.Path
			if r.URL.Path == "/news" {
				<-gate.Stopping(r.Context())
				_, _ = io.WriteString(w, "no news")
				return
			}
			<-finish
			_, _ = io.WriteString(w, "done")
		}))
	}()
	answers := make(chan string, 2)
	for _, path := range []string{"/news", "/work"} {
		go func() { answers <- get(t, gate.Trust{}, l.URL()+path) }()
		<-inside
	}
	stop()
	if got := <-answers; got != "no news" {
		t.Errorf("the wait for news: %q", got)
	}
	began := time.Now()
	close(finish)
	if got := <-answers; got != "done" {
		t.Errorf("the work: %q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > 4*time.Second {
		t.Errorf("it ends %v after the last answer: a connection without a request was waited for", d)
	}
	if got := get(t, gate.Trust{}, l.URL()); !strings.Contains(got, "refused") {
		t.Errorf("after the end: %q", got)
	}
}
