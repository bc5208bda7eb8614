package gate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// Grace is how long requests in flight may take to finish when a process ends.
const Grace = 10 * time.Second

// A Listener is an open address with its certificate and its guard.
type Listener struct {
	Guard *Guard
	l     net.Listener
	tls   *tls.Config // nil: without TLS
	note  *slog.Logger
}

// Listen opens host:port as t says. Without a certificate it opens loopback
// only, unless t.InsecurePlaintext.
func Listen(address string, t Tables, logger *slog.Logger) (*Listener, error) {
	if err := CheckListen(address, t.TLS); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	out, err := New(l, t, logger)
	if err != nil {
		_ = l.Close()
	}
	return out, err
}

// CheckListen refuses an address that strangers could reach without TLS.
func CheckListen(address string, t TLS) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("listen %q: want host:port", address)
	}
	if t.Cert == "" && !Loopback(host) && !t.InsecurePlaintext {
		return fmt.Errorf("listen %q: other machines reach it, and there is no certificate; set tls.cert and tls.key, or tls.insecure_plaintext", address)
	}
	return nil
}

// New returns a listener over one that is open already: a Unix socket, or what a
// test made.
func New(l net.Listener, t Tables, logger *slog.Logger) (*Listener, error) {
	c, err := t.TLS.server(logger)
	if err != nil {
		return nil, err
	}
	return &Listener{Guard: NewGuard(t.Limits, time.Now), l: l, tls: c, note: logger}, nil
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.l.Addr() }

// URL is how it is called on this machine.
func (l *Listener) URL() string {
	if l.tls != nil {
		return "https://" + l.l.Addr().String()
	}
	return "http://" + l.l.Addr().String()
}

// Close closes a listener that is not served.
func (l *Listener) Close() error { return l.l.Close() }

// Serve serves h until ctx ends; then it takes no new request, lets those in
// flight finish for as long as Grace, and returns nil. Waits for news end at once:
// see Stopping.
func (l *Listener) Serve(ctx context.Context, h http.Handler) error {
	g := l.Guard
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC on this machine
	s := &http.Server{
		Handler:           h,
		Protocols:         protocols,
		TLSConfig:         l.tls,
		ReadHeaderTimeout: time.Duration(g.HeaderSeconds) * time.Second,
		ReadTimeout:       time.Duration(g.RequestSeconds) * time.Second,
		WriteTimeout:      2 * time.Duration(g.RequestSeconds) * time.Second,
		IdleTimeout:       time.Duration(g.IdleSeconds) * time.Second,
		MaxHeaderBytes:    16 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 128},
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), stoppingKey{}, ctx.Done())
		},
		ErrorLog: slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelError), // connection noise
	}
	unused := unused{open: map[net.Conn]bool{}}
	s.ConnState = unused.note
	served := make(chan error, 1)
	go func() {
		counted := &counting{Listener: l.l, guard: g}
		if l.tls != nil {
			served <- s.ServeTLS(counted, "", "")
		} else {
			served <- s.Serve(counted)
		}
	}()
	select {
	case err := <-served:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	unused.end()
	grace, cancel := context.WithTimeout(context.Background(), Grace)
	defer cancel()
	if err := s.Shutdown(grace); err != nil {
		l.note.Warn("some requests did not finish in time", "grace", Grace)
	}
	_ = s.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	}
	return nil
}

// unused are the connections on which nothing was asked yet. A server that is shut down
// waits five seconds for a first request on each; there is nothing to wait for.
type unused struct {
	mu    sync.Mutex
	open  map[net.Conn]bool
	ended bool
}

func (u *unused) note(c net.Conn, state http.ConnState) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(u.open, c)
	case u.ended:
		_ = c.Close()
	default:
		u.open[c] = true
	}
}

// end closes them, and those that are still to come.
func (u *unused) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
	for c := range u.open {
		_ = c.Close()
	}
}

type stoppingKey struct{}

// Stopping returns a channel that is closed when the process that serves a
// request is to end: who waits for news answers then that there are none. It is nil
// where nobody said.
func Stopping(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(stoppingKey{}).(<-chan struct{})
	return c
}

// counting is a listener that holds addresses to their number of connections.
type counting struct {
	net.Listener
	guard *Guard
}

// Accept returns the next connection within the limits; others are closed.
func (c *counting) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if who := addressOf(conn.RemoteAddr().String()); c.guard.enter(who) {
			return &counted{Conn: conn, leave: sync.OnceFunc(func() { c.guard.leave(who) })}, nil
		}
		_ = conn.Close()
	}
}

type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}

func (g *Guard) enter(who string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= g.Connections || g.open[who] >= g.AddressConnections {
		g.refused[RefusedConnection]++
		return false
	}
	g.all++
	g.open[who]++
	return true
}

func (g *Guard) leave(who string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.open[who]--; g.open[who] == 0 {
		delete(g.open, who)
	}
}

// together is how close two signals are that somebody sent once: to the process
// and to its group.
const together = 300 * time.Millisecond

// Signals returns a context that ends with the first SIGTERM or interrupt. A
// second one, a little later, ends the process at once, whatever it is doing:
// everything durable is durable already.
func Signals(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-c:
			cancel()
		case <-parent.Done():
			return
		}
		first := time.Now()
		for range c {
			if time.Since(first) > together {
				break
			}
		}
		fmt.Fprintln(os.Stderr, "error: ended at once by a second signal")
		os.Exit(130)
	}()
	return ctx, func() { cancel(); signal.Stop(c) }
}

// ErrInUse tells an address that is taken from other failures to listen.
func ErrInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
