package host_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/attest"
	"latchkey/attest/sim"
	"latchkey/event"
	"latchkey/gate"
	"latchkey/head"
	"latchkey/host"
	"latchkey/vault/enclave"
)

// A link that has ended leaves nothing on its way to the log: the next run would
// read what it had not been told of, or miss it.
func TestLinkEndsWithWhatIsInFlight(t *testing.T) {
	b := newBox(t)
	log, err := event.NewMemory().Open()
	if err != nil {
		t.Fatal(err)
	}
	log.Hold()
	stop := b.run(t)
	ended := make(chan error, 1)
	go func() {
		_, _, err := host.Connect(t.Context(), host.LinkConfig{Log: log, Socket: b.socket})
		ended <- err
	}()
	for log.InFlight() == 0 { // what a new vault decides first
		time.Sleep(time.Millisecond)
	}
	stop()
	select {
	case err := <-ended:
		t.Fatalf("ended with %d blocks in flight: %v", log.InFlight(), err)
	case <-time.After(100 * time.Millisecond):
	}
	log.Flush(1)
	if err := <-ended; !errors.Is(err, host.ErrVaultGone) && !errors.Is(err, enclave.ErrGone) || log.Next() != 1 {
		t.Errorf("the vault has ended: %v, with %d entries", err, log.Next())
	}
}

func TestReadConfig(t *testing.T) {
	type entry struct {
		Key head.WitnessKey `toml:"key"`
	}
	type file struct {
		Name    string  `toml:"name"`
		Quorum  int     `toml:"quorum"`
		Witness []entry `toml:"witness"`
	}
	path := filepath.Join(t.TempDir(), "host.toml")
	for _, c := range []struct{ name, text, want string }{
		{"an unknown field", "name = 'x'\n\ncolour = 1\n", `line 3: unknown field "colour"`},
		{"an unknown field inside", "[[witness]]\nurl = 'x'\n", `line 2: unknown field "witness.url"`},
		{"another type", "name = 'x'\nquorum = 'three'\n", `line 2: field "quorum"`},
		{"a number too large", "quorum = 99999999999999999999\n", "line 1"},
		{"a key that is none", "[[witness]]\nkey = 'garbage'\n", `field "witness.key"`},
		{"a field twice", "name = 'x'\nname = 'y'\n", "line 2"},
		{"no TOML", "{}", "line 1"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var f file
		err := host.ReadConfig(path, &f)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q and the file's name", c.name, err, c.want)
		}
	}
	if err := os.WriteFile(path, []byte("name = 'x'\nquorum = 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var f file
	if err := host.ReadConfig(path, &f); err != nil || f.Name != "x" || f.Quorum != 3 {
		t.Errorf("read as %+v, %v", f, err)
	}
	if err := host.ReadConfig(path+".absent", &f); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "absent") {
		t.Errorf("no file: %v", err)
	}
}

// A box is one vault's platform and configuration: what is left of it between
// two runs of its program.
type box struct {
	cfg    enclave.Config
	socket string
}

func newBox(t *testing.T) *box {
	t.Helper()
	v, err := sim.NewVendor("A", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p, err := v.Issue(sim.Device{NotBefore: 1, NotAfter: 1 << 40}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	prog, err := p.Launch(sim.Launch{Measurement: [32]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	public := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	w, err := head.NewWitnessKey("witness.test/1", public)
	if err != nil {
		t.Fatal(err)
	}
	return &box{
		cfg: enclave.Config{Platform: prog, Verifiers: []attest.Verifier{sim.Verifier{}}, Trust: enclave.Trust{
			Role: "escrow", Origin: "escrow.test/log", Witnesses: []head.WitnessKey{w}, K: 1,
			Policy: sim.InsecurePolicy([]attest.Root{v.Root()}, sim.Build("vault", [32]byte{1})),
		}},
		socket: filepath.Join(t.TempDir(), "vault.sock"),
	}
}

// run starts the vault's program; stop kills it.
func (b *box) run(t *testing.T) (stop func()) {
	t.Helper()
	e, err := enclave.New(b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := enclave.Listen(b.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = e.Serve(ctx, l) }()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

func gone(t *testing.T, l *host.Link) error {
	t.Helper()
	select {
	case <-l.Done():
		return l.Err()
	case <-time.After(10 * time.Second):
		t.Fatal("the link goes on")
		return nil
	}
}

// What a vault decides is in the log before it is told so, and the next run goes
// on from there.
func TestLink(t *testing.T) {
	b, memory := newBox(t), event.NewMemory()
	log, err := memory.Open()
	if err != nil {
		t.Fatal(err)
	}
	var identity enclave.Status
	for run := range 3 {
		stop := b.run(t)
		done := make(chan enclave.Commit, 16)
		l, status, err := host.Connect(t.Context(), host.LinkConfig{
			Log: log, Socket: b.socket,
			Rows: func(c enclave.Commit) []event.Row {
				return []event.Row{{Key: []byte("mine"), Value: fmt.Append(nil, c.Number)}}
			},
			Done: func(c enclave.Commit) { done <- c },
		})
		if err != nil {
			t.Fatal(err)
		}
		c := <-done
		if log.Next() != 1 || status.Size != 1 {
			t.Fatalf("run %d: %d entries, the vault has %d, want the first alone", run, log.Next(), status.Size)
		}
		rows := map[string]string{}
		for r, err := range log.Scan(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			rows[string(r.Key)] = string(r.Value)
		}
		if rows["mine"] != fmt.Sprint(c.Number) || rows["vault/meta"] == "" {
			t.Fatalf("run %d: stored are %d rows, mine %q", run, len(rows), rows["mine"])
		}
		if run == 0 {
			identity = status
		} else if !bytes.Equal(status.Evidence, identity.Evidence) || status.LogKey != identity.LogKey {
			t.Fatalf("run %d is another vault", run)
		}
		if run == 1 {
			stop() // the vault's process ends first
			if err := gone(t, l); !errors.Is(err, host.ErrVaultGone) {
				t.Errorf("the vault has ended: %v", err)
			}
		}
		l.Close()
		stop()
	}

	// A vault that refuses what is stored says why.
	b.cfg.Trust.Policy.InsecureAllowDebug = true
	stop := b.run(t)
	_, _, err = host.Connect(t.Context(), host.LinkConfig{Log: log, Socket: b.socket})
	if err == nil || !strings.Contains(err.Error(), "give it the configuration it had") {
		t.Errorf("another configuration: %v", err)
	}
	stop()

	// No vault at all: the wait ends with its context.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, _, err = host.Connect(ctx, host.LinkConfig{Log: log, Socket: b.socket}); err == nil || !strings.Contains(err.Error(), b.socket) {
		t.Errorf("no vault: %v", err)
	}
}

// What the host has to store of its own goes in blocks of its own, one at a time, while
// no commit is on its way, and until there is no more.
func TestLinkIdle(t *testing.T) {
	b := newBox(t)
	b.run(t)
	log, err := event.NewMemory().Open()
	if err != nil {
		t.Fatal(err)
	}
	var asked, left atomic.Int32
	left.Store(3)
	durable := make(chan struct{}, 16)
	l, _, err := host.Connect(t.Context(), host.LinkConfig{
		Log: log, Socket: b.socket,
		Done: func(enclave.Commit) { durable <- struct{}{} },
		Idle: func() []event.Row {
			asked.Add(1)
			if log.InFlight() > 0 {
				t.Error("asked for more while a block is in flight")
			}
			if left.Load() == 0 {
				return nil
			}
			if left.Add(-1) == 0 {
				log.Hold() // the last of them stays in flight
			}
			return []event.Row{{Key: fmt.Append(nil, "own", asked.Load()), Value: []byte{1}}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	<-durable
	for left.Load() > 0 || log.InFlight() == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	if n := asked.Load(); n != 3 {
		t.Errorf("asked %d times before the third block is durable", n)
	}
	log.Flush(1)
	for asked.Load() < 4 { // and then there is none
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	if n := asked.Load(); n != 4 || log.InFlight() != 0 {
		t.Errorf("asked %d times, %d blocks in flight", n, log.InFlight())
	}
	n := 0
	for _, err := range log.Scan(t.Context(), []byte("own")) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 3 || len(durable) != 0 {
		t.Errorf("%d rows are stored, and the vault heard of %d commits more", n, len(durable))
	}
}

// A log that fails ends the link, and the vault is not told that anything is
// durable: its first answer never comes.
func TestLinkLogFails(t *testing.T) {
	b := newBox(t)
	b.run(t)
	log, err := event.NewMemory().Open()
	if err != nil {
		t.Fatal(err)
	}
	broken := &full{Log: log}
	_, _, err = host.Connect(t.Context(), host.LinkConfig{Log: broken, Socket: b.socket})
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("a full disk: %v", err)
	}
	if log.Next() != 0 {
		t.Error("something was stored")
	}
}

// full is a log on a full disk.
type full struct{ event.Log }

var errFull = errors.New("no space left on device")

func (f *full) Submit(uint64, event.Block) <-chan error {
	c := make(chan error, 1)
	c <- errFull
	return c
}

// A host begins again when its vault ends, and not when it fails for another
// reason; until it is ready it says so.
func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	runs, errLog := 0, errors.New("the log has failed")
	get := func() int {
		r, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			t.Error(err)
			return 0
		}
		r.Body.Close()
		return r.StatusCode
	}
	logger := slog.New(slog.DiscardHandler)
	door, err := gate.New(l, gate.Tables{}, logger)
	if err != nil {
		t.Fatal(err)
	}
	err = host.Program{Name: "test", Listener: door, Logger: logger, Build: func(context.Context) (host.Service, error) {
		runs++
		return host.Service{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }),
			Run: func(_ context.Context, ready func(map[string]any)) error {
				if got := get(); got != http.StatusServiceUnavailable {
					t.Errorf("run %d: status %d before it is ready", runs, got)
				}
				ready(map[string]any{})
				if got := get(); got != http.StatusTeapot {
					t.Errorf("run %d: status %d when it is ready", runs, got)
				}
				if runs < 3 {
					return host.ErrVaultGone
				}
				return errLog
			},
		}, nil
	}}.Serve(t.Context())
	if !errors.Is(err, errLog) || runs != 3 {
		t.Errorf("%d runs, then %v", runs, err)
	}
}

// A run's requests are over before the next run reads the log: what they write it
// would not know of.
func TestServeEndsRequestsFirst(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	runs, written := 0, false
	asked := make(chan struct{})
	errEnd := errors.New("the end")
	logger := slog.New(slog.DiscardHandler)
	door, err := gate.New(l, gate.Tables{}, logger)
	if err != nil {
		t.Fatal(err)
	}
	err = host.Program{Name: "test", Listener: door, Logger: logger, Build: func(context.Context) (host.Service, error) {
		if runs++; runs == 2 && !written {
			t.Error("the next run begins before the request of the last is over")
		}
		return host.Service{
			Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				close(asked)
				<-r.Context().Done() // as a handler that waits for the vault that has gone
				time.Sleep(300 * time.Millisecond)
				written = true
			}),
			Run: func(_ context.Context, ready func(map[string]any)) error {
				if runs == 2 {
					return errEnd
				}
				ready(map[string]any{})
				go func() {
					if r, err := http.Get("http://" + l.Addr().String()); err == nil {
						r.Body.Close()
					}
				}()
				<-asked
				return host.ErrVaultGone
			},
		}, nil
	}}.Serve(t.Context())
	if !errors.Is(err, errEnd) || runs != 2 {
		t.Errorf("%d runs, then %v", runs, err)
	}
}

// At the end a request in flight is answered while the vault is still there; only
// then is the vault left.
func TestServeEndsInOrder(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	door, err := gate.New(l, gate.Tables{}, logger)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	inside, answer := make(chan struct{}), make(chan string, 1)
	var left atomic.Bool
	p := host.Program{Name: "test", Listener: door, Data: t.TempDir(), Logger: logger, Build: func(context.Context) (host.Service, error) {
		return host.Service{
			Reasons: func() []string { return nil }, Figures: func() []gate.Figure { return nil },
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(inside)
				<-gate.Stopping(r.Context())
				if left.Load() || r.Context().Err() != nil {
					w.WriteHeader(http.StatusTeapot)
				}
				_, _ = io.WriteString(w, "answered")
			}),
			Run: func(ctx context.Context, ready func(map[string]any)) error {
				ready(map[string]any{})
				go func() {
					r, err := http.Get("http://" + l.Addr().String())
					if err != nil {
						answer <- err.Error()
						return
					}
					defer r.Body.Close()
					b, _ := io.ReadAll(r.Body)
					answer <- r.Status + " " + string(b)
				}()
				<-inside
				stop() // as a signal does
				<-ctx.Done()
				left.Store(true)
				return ctx.Err()
			},
		}, nil
	}}
	if err := p.Serve(ctx); err != nil {
		t.Error(err)
	}
	if got := <-answer; got != "200 OK answered" {
		t.Errorf("the request in flight: %s", got)
	}
	if !left.Load() {
		t.Error("the vault was not left")
	}
}

// The next start begins where the vault's newest snapshot ends. A row that says
// another place is noticed.
func TestLinkSnapshot(t *testing.T) {
	b := newBox(t)
	b.cfg.SnapshotEvery = 1
	log, err := event.NewMemory().Open()
	if err != nil {
		t.Fatal(err)
	}
	connect := func() (*host.Link, func(), error) {
		stop := b.run(t)
		l, _, err := host.Connect(t.Context(), host.LinkConfig{Log: log, Socket: b.socket})
		return l, stop, err
	}
	l, stop, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	if from, err := host.From(t.Context(), log); err != nil || from != 0 {
		t.Errorf("before a snapshot a start begins at %d: %v", from, err)
	}
	for from := uint64(0); from != 1; {
		if _, err := l.Vault.Call(t.Context(), enclave.Call{Tick: &enclave.Tick{}}); err != nil {
			t.Fatal(err)
		}
		if from, err = host.From(t.Context(), log); err != nil || from > 1 {
			t.Fatalf("a start begins at %d: %v", from, err)
		}
	}
	l.Close()
	stop()
	for _, c := range []struct {
		name string
		row  []byte
		want string
	}{
		{"as it is", nil, ""},
		{"from the beginning", make([]byte, 8), ""},
		{"from after the end", []byte{0, 0, 0, 0, 0, 0, 0, 2}, "read from event 2"},
		{"from nowhere", []byte{1}, "has 1 bytes"},
	} {
		if c.row != nil {
			if err := log.Append(t.Context(), log.Next(), event.Block{Puts: []event.Row{{Key: []byte("from"), Value: c.row}}}); err != nil {
				t.Fatal(err)
			}
		}
		l, stop, err := connect()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if err == nil {
			l.Close()
		}
		stop()
	}
}
