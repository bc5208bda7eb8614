package witness_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/event"
	"latchkey/event/disk"
	"latchkey/event/witness"
	"latchkey/head"
)

// site is a witness on a server of its own, with a gate before it.
type site struct {
	*witness.Witness
	server *httptest.Server
	calls  atomic.Int64
	mu     sync.Mutex
	before http.HandlerFunc // nil lets the call pass
}

func (s *site) intercept(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = h
}

func newSite(t testing.TB, w *witness.Witness) *site {
	s := &site{Witness: w}
	h := &witness.Handler{Witness: w, Logger: slog.New(slog.DiscardHandler), Now: func() int64 { return 1000 }, Failed: func(error) {}}
	s.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		s.mu.Lock()
		before := s.before
		s.mu.Unlock()
		if before != nil {
			before(rw, r)
			return
		}
		h.ServeHTTP(rw, r)
	}))
	t.Cleanup(s.server.Close)
	return s
}

// newSites returns n fresh witnesses, and the client's configuration for them.
func newSites(t testing.TB, l *testLog, n, k, f int) ([]*site, witness.ClientConfig) {
	var sites []*site
	c := witness.ClientConfig{
		Group:   head.Group{Log: logKey(t, l.origin), K: k, F: f},
		URLs:    map[string]string{},
		Prove:   l.prover.Consistency,
		Timeout: 10 * time.Second,
	}
	for i := range n {
		name := fmt.Sprintf("w%d.example", i)
		w, _ := open(t, event.NewMemory(), config(t, name, l.origin), true)
		s := newSite(t, w)
		sites = append(sites, s)
		c.Group.Witnesses = append(c.Group.Witnesses, w.Key())
		c.URLs[name] = s.server.URL
	}
	return sites, c
}

func newClient(t testing.TB, c witness.ClientConfig) *witness.Client {
	t.Helper()
	client, err := witness.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// wantCosigned has a head cosigned and checks the note.
func wantCosigned(t *testing.T, client *witness.Client, group head.Group, signed []byte) head.Cosigned {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	note, err := client.Cosign(ctx, signed)
	if err != nil {
		t.Fatal(err)
	}
	got, err := group.Verify(note)
	if err != nil {
		t.Fatalf("%v\n%s", err, note)
	}
	if want, _ := head.OpenCheckpoint(signed, group.Log); got.Size < want.Size {
		t.Fatalf("cosigned at size %d, want at least %d", got.Size, want.Size)
	}
	return got
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// hang keeps a call until its caller gives up, which a server notices only once
// it has read the body.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func TestClientFollowsALog(t *testing.T) {
	l := newLog(t, origin)
	sites, c := newSites(t, l, 4, 3, 1)
	client := newClient(t, c)
	wantCosigned(t, client, c.Group, l.head(t, 0))
	for i := range 5 {
		if got := wantCosigned(t, client, c.Group, l.add(t, fmt.Sprint("event ", i), "and one")); got.Time != 1000 {
			t.Errorf("time %d", got.Time)
		}
	}
	wantCosigned(t, client, c.Group, l.head(t, l.tree.Size())) // the same head anew
	for _, s := range sites {
		eventually(t, "the last witness follows", func() bool {
			seen, _ := s.Seen(origin)
			return seen.Size == l.tree.Size()
		})
	}
}

// A witness that is asked too often is asked again, and is not taken to refuse.
func TestABusyWitnessIsAskedAgain(t *testing.T) {
	l := newLog(t, origin)
	sites, c := newSites(t, l, 4, 3, 1)
	var said atomic.Int64
	for _, s := range sites[:2] {
		s.intercept(func(w http.ResponseWriter, _ *http.Request) {
			if said.Add(1) == 4 {
				sites[0].intercept(nil)
				sites[1].intercept(nil)
			}
			http.Error(w, "asks too often", http.StatusTooManyRequests)
		})
	}
	client := newClient(t, c)
	wantCosigned(t, client, c.Group, l.add(t, "one"))
	if said.Load() < 4 {
		t.Errorf("asked %d times before there was a quorum", said.Load())
	}
}

func TestASlowWitnessDelaysNobodyAndCatchesUp(t *testing.T) {
	l := newLog(t, origin)
	sites, c := newSites(t, l, 4, 3, 1)
	sites[1].intercept(hang)
	c.Timeout = 200 * time.Millisecond
	client := newClient(t, c)
	begin := time.Now()
	for i := range 5 {
		wantCosigned(t, client, c.Group, l.add(t, fmt.Sprint(i)))
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("five heads took %v", took)
	}
	if seen, known := sites[1].Seen(origin); known {
		t.Fatalf("the hanging witness saw %+v", seen)
	}
	eventually(t, "the status tells of it", func() bool { return client.Status()["w1.example"] != nil && client.Status()["w0.example"] == nil })
	sites[1].intercept(nil)
	eventually(t, "it catches up", func() bool {
		seen, _ := sites[1].Seen(origin)
		return seen.Size == 5
	})
	eventually(t, "the status tells so", func() bool { return client.Status()["w1.example"] == nil })
}

func TestWithoutAQuorumItWaitsForOne(t *testing.T) {
	l := newLog(t, origin)
	sites, c := newSites(t, l, 4, 3, 1)
	down := func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "restarting", http.StatusServiceUnavailable)
	}
	sites[0].intercept(down)
	sites[2].intercept(down)
	client := newClient(t, c)
	signed := l.add(t, "a")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := client.Cosign(ctx, signed)
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, head.ErrQuorum) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"2 of 3", "w0.example", "w2.example", "restarting"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not tell %q", err, want)
		}
	}
	result := make(chan error, 1)
	go func() {
		_, err := client.Cosign(t.Context(), signed)
		result <- err
	}()
	sites[2].intercept(nil)
	select {
	case err := <-result:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("no quorum although three answer")
	}
}

// A new client, like that of a restarted host, learns from conflicts where each
// witness is.
func TestANewClientFindsTheWitnessesHeads(t *testing.T) {
	l := newLog(t, origin)
	sites, c := newSites(t, l, 4, 3, 1)
	l.add(t, "a", "b", "c", "d", "e")
	for i, s := range sites {
		if _, err := s.AddCheckpoint(t.Context(), l.request(t, 0, int64(i)+2), 900); err != nil {
			t.Fatal(err)
		}
	}
	wantCosigned(t, newClient(t, c), c.Group, l.head(t, 5))
}

// A host whose disk was rolled back, or a clone of it, gets no second head: it
// is told at once, by each witness's name.
func TestARolledBackHostIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		grow int
		want string
	}{
		"behind":        {0, "rolled back"},
		"the same size": {1, "forked"},
		"ahead":         {4, "forked"},
	} {
		t.Run(name, func(t *testing.T) {
			l, clone := newLog(t, origin), newLog(t, origin)
			_, c := newSites(t, l, 4, 3, 1)
			for range 5 {
				l.add(t, "shared")
				clone.add(t, "shared")
			}
			wantCosigned(t, newClient(t, c), c.Group, l.add(t, "the first"))
			signed := clone.head(t, 5)
			for range tc.grow {
				signed = clone.add(t, "the second")
			}
			c.Prove = clone.prover.Consistency
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			note, err := newClient(t, c).Cosign(ctx, signed)
			if !errors.Is(err, head.ErrQuorum) || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("note %q, error %v", note, err)
			}
		})
	}
}

func TestClientDistrustsAnswers(t *testing.T) {
	l := newLog(t, origin)
	sites, c := newSites(t, l, 4, 3, 1)
	signed := l.add(t, "a")
	other, err := sites[1].AddCheckpoint(t.Context(), l.request(t, 0, 1), 900)
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]http.HandlerFunc{
		"another witness's line": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(other) },
		"nothing":                func(http.ResponseWriter, *http.Request) {},
		"no end": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, io.LimitReader(neverEnding{}, 1<<20))
		},
		"an absurd size": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, "9223372036854775807\n")
		},
		"a negative size": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, "-1\n")
		},
		"no size": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) },
		"refused": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) },
	}
	for name, answer := range answers {
		sites[0].intercept(answer)
		client := newClient(t, c)
		got := wantCosigned(t, client, c.Group, signed)
		if len(got.Stamps) != 3 {
			t.Errorf("%s: %d stamps", name, len(got.Stamps))
		}
		eventually(t, name+" is told", func() bool { return client.Status()["w0.example"] != nil })
		sites[3].intercept(answer)
		if note, err := newClient(t, c).Cosign(t.Context(), signed); !errors.Is(err, head.ErrQuorum) {
			t.Errorf("%s, twice: note %q, error %v", name, note, err)
		}
		sites[3].intercept(nil)
	}
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }

// Heads submitted faster than they are cosigned: each caller gets a note of its
// own head or a later one.
func TestLaterHeadsCoverEarlierOnes(t *testing.T) {
	l := newLog(t, origin)
	_, c := newSites(t, l, 4, 3, 1)
	client := newClient(t, c)
	var heads [][]byte
	for i := range 40 {
		heads = append(heads, l.add(t, fmt.Sprint(i)))
	}
	var group sync.WaitGroup
	for _, signed := range heads {
		want, err := head.OpenCheckpoint(signed, c.Group.Log)
		if err != nil {
			t.Fatal(err)
		}
		wait := client.Submit(want, signed)
		group.Go(func() {
			cosigned, err := wait(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			got, err := c.Group.Verify(cosigned.Note)
			if err != nil || got.Size < want.Size || got.Checkpoint != cosigned.Checkpoint {
				t.Errorf("cosigned at size %d, said to be %d, want at least %d: %v", got.Size, cosigned.Size, want.Size, err)
			}
		})
	}
	group.Wait()
}

// A head does not wait for the answers to the one before it. If it arrives first, it
// covers both, and the one that comes late is no sign of a log that was rolled back.
func TestAHeadOvertakesAnother(t *testing.T) {
	l := newLog(t, origin)
	sites, c := newSites(t, l, 4, 3, 1)
	client := newClient(t, c)
	wantCosigned(t, client, c.Group, l.add(t, "one"))
	release := make(chan struct{})
	var late, first sync.WaitGroup
	for _, s := range sites {
		h := &witness.Handler{Witness: s.Witness, Logger: slog.New(slog.DiscardHandler), Now: func() int64 { return 1000 }, Failed: func(error) {}}
		var asked atomic.Bool
		late.Add(1)
		first.Add(1)
		s.intercept(func(rw http.ResponseWriter, r *http.Request) {
			if !asked.Swap(true) {
				first.Done()
				defer late.Done()
				body, _ := io.ReadAll(r.Body)
				<-release
				r.Body = io.NopCloser(strings.NewReader(string(body)))
			}
			h.ServeHTTP(rw, r)
		})
	}
	two := make(chan head.Cosigned, 1)
	signed := l.add(t, "two")
	go func() { two <- wantCosigned(t, client, c.Group, signed) }()
	first.Wait() // all four have it, and none has answered
	three := wantCosigned(t, client, c.Group, l.add(t, "three"))
	if got := <-two; got.Checkpoint != three.Checkpoint {
		t.Errorf("the head that was overtaken ends at size %d, want %d", got.Size, three.Size)
	}
	close(release)
	late.Wait()
	wantCosigned(t, client, c.Group, l.add(t, "four"))
	eventually(t, "every witness has cosigned", func() bool {
		for _, err := range client.Status() {
			if err != nil {
				return false
			}
		}
		return true
	})
}

func TestNewClientRefuses(t *testing.T) {
	l := newLog(t, origin)
	_, good := newSites(t, l, 4, 3, 1)
	for name, change := range map[string]func(*witness.ClientConfig){
		"a group too small": func(c *witness.ClientConfig) { c.Group.K = 2 },
		"no proofs":         func(c *witness.ClientConfig) { c.Prove = nil },
		"a URL missing":     func(c *witness.ClientConfig) { c.URLs = map[string]string{"w0.example": "http://localhost"} },
		"no URL": func(c *witness.ClientConfig) {
			c.URLs = map[string]string{"w0.example": "localhost:1", "w1.example": "", "w2.example": "", "w3.example": ""}
		},
	} {
		c := good
		change(&c)
		if client, err := witness.NewClient(c); err == nil {
			client.Close()
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := newClient(t, good).Cosign(t.Context(), []byte("no note")); !errors.Is(err, head.ErrMalformed) {
		t.Errorf("submits what is no head: %v", err)
	}
}

func TestHandler(t *testing.T) {
	l, fork, other := newLog(t, origin), newLog(t, origin), newLog(t, "other.example")
	l.add(t, "a", "b", "c")
	fork.add(t, "a", "x", "y")
	other.add(t, "a")
	m := event.NewMemory()
	w, store := open(t, m, config(t, "w.example", origin), true)
	var failed error
	h := &witness.Handler{Witness: w, Logger: slog.New(slog.DiscardHandler), Now: func() int64 { return 1000 }, Failed: func(err error) { failed = err }}
	call := func(method, path, body string) *http.Response {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec.Result()
	}
	body := func(r head.Request) string { return string(witness.FormatRequest(r)) }
	if got := call(http.MethodPost, "/add-checkpoint", body(l.request(t, 0, 2))); got.StatusCode != http.StatusOK {
		t.Fatalf("status %d", got.StatusCode)
	}
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		answer                   string
	}{
		{"not the path", "POST", "/", "", 404, ""},
		{"not a POST", "GET", "/add-checkpoint", "", 405, ""},
		{"no request", "POST", "/add-checkpoint", "hello", 400, ""},
		{"too long", "POST", "/add-checkpoint", strings.Repeat("x", 1<<20), 400, ""},
		{"unknown log", "POST", "/add-checkpoint", body(other.request(t, 0, 1)), 404, ""},
		{"unsigned", "POST", "/add-checkpoint", strings.Replace(body(l.request(t, 2, 2)), "\n2\n", "\n3\n", 1), 403, ""},
		{"old above size", "POST", "/add-checkpoint", strings.Replace(body(l.request(t, 2, 2)), "old 2", "old 3", 1), 400, ""},
		{"another size", "POST", "/add-checkpoint", body(l.request(t, 1, 3)), 409, "2\n"},
		{"a fork", "POST", "/add-checkpoint", body(fork.request(t, 2, 2)), 409, "2\n"},
		{"a fork that grew", "POST", "/add-checkpoint", body(fork.request(t, 2, 3)), 422, ""},
	} {
		got := call(tc.method, tc.path, tc.body)
		answer, _ := io.ReadAll(got.Body)
		if got.StatusCode != tc.status || tc.answer != "" && string(answer) != tc.answer {
			t.Errorf("%s: %d %q, want %d %q", tc.name, got.StatusCode, answer, tc.status, tc.answer)
		}
		if isSize := got.Header.Get("Content-Type") == "text/x.tlog.size"; isSize != (tc.status == 409) {
			t.Errorf("%s: content type %q", tc.name, got.Header.Get("Content-Type"))
		}
	}
	store.Fail(errors.New("disk full"))
	if got := call(http.MethodPost, "/add-checkpoint", body(l.request(t, 2, 3))); got.StatusCode != 500 || !errors.Is(failed, event.ErrFailed) {
		t.Errorf("a failed store: %d, told %v", got.StatusCode, failed)
	}
}

// Who only asks whether a log is served, as the doctor does, is answered like whoever cannot sign for it, and
// leaves no refusal behind; a signature that is wrong otherwise does.
func TestQuestion(t *testing.T) {
	l := newLog(t, origin)
	l.add(t, "a", "b")
	w, _ := open(t, event.NewMemory(), config(t, "w.example", origin), true)
	var said strings.Builder
	h := &witness.Handler{Witness: w, Logger: slog.New(slog.NewTextHandler(&said, nil)), Now: func() int64 { return 1000 }, Failed: func(err error) { t.Error(err) }}
	call := func(body []byte) int {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/add-checkpoint", bytes.NewReader(body)))
		return rec.Result().StatusCode
	}
	refused := func() (n float64) {
		for _, f := range h.Figures() {
			if f.Name == "heads_refused_total" {
				n += f.Value
			}
		}
		return n
	}
	if got := call(witness.Question(origin)); got != http.StatusForbidden || refused() != 0 || said.Len() > 0 {
		t.Errorf("status %d, %v refused, logged %q", got, refused(), said.String())
	}
	forged := strings.Replace(string(witness.FormatRequest(l.request(t, 0, 2))), "\n2\n", "\n3\n", 1)
	if got := call([]byte(forged)); got != http.StatusForbidden || refused() != 1 || !strings.Contains(said.String(), "checkpoint refused") {
		t.Errorf("status %d, %v refused, logged %q", got, refused(), said.String())
	}
	if got := call(witness.Question("other.example/log")); got != http.StatusNotFound || refused() != 2 {
		t.Errorf("of another log: status %d, %v refused", got, refused())
	}
}

// BenchmarkRound has a growing log's head cosigned by three of four witnesses
// over loopback, each with its state on disk.
func BenchmarkRound(b *testing.B) {
	for name, store := range map[string]func(i int) event.Log{
		"memory": func(int) event.Log {
			l, err := event.NewMemory().Open()
			if err != nil {
				b.Fatal(err)
			}
			return l
		},
		"disk": func(i int) event.Log {
			l, err := disk.Open(disk.Config{Folder: filepath.Join(b.TempDir(), fmt.Sprint(i))})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = l.Close() })
			return l
		},
	} {
		b.Run(name, func(b *testing.B) {
			l := newLog(b, origin)
			c := witness.ClientConfig{Group: head.Group{Log: logKey(b, origin), K: 3, F: 1}, URLs: map[string]string{}, Prove: l.prover.Consistency}
			for i := range 4 {
				name := fmt.Sprintf("w%d.example", i)
				s := store(i)
				if err := witness.Create(b.Context(), s, witnessKey(b, name)); err != nil {
					b.Fatal(err)
				}
				w, err := witness.Open(b.Context(), s, config(b, name, origin))
				if err != nil {
					b.Fatal(err)
				}
				c.Group.Witnesses = append(c.Group.Witnesses, w.Key())
				c.URLs[name] = newSite(b, w).server.URL
			}
			client := newClient(b, c)
			for b.Loop() {
				if _, err := client.Cosign(b.Context(), l.add(b, "event")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
