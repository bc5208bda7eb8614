package wallet

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"

	"latchkey/gate"
)

// A Door is where a connector is reached: a Unix socket or a loopback address by
// whoever is on the machine, or any address over TLS by who has a certificate
// of the right authority, or the token.
type Door struct {
	l     *gate.Listener
	token string // empty: none is asked for
	far   bool   // over TLS
}

// Open opens "unix:PATH" or "HOST:PORT". An address that other machines reach
// needs t.TLS with a certificate, and with client_ca or a token file: whoever is
// let in can spend.
func Open(address string, t gate.Tables, tokenFile string, logger *slog.Logger) (*Door, error) {
	d := &Door{far: t.TLS.Cert != ""}
	if tokenFile != "" {
		var err error
		if d.token, err = readToken(tokenFile); err != nil {
			return nil, err
		}
	}
	path, isUnix := strings.CutPrefix(address, "unix:")
	host, _, err := net.SplitHostPort(address)
	switch {
	case isUnix && d.far:
		return nil, fmt.Errorf("listen on %q: a Unix socket needs no tls.cert", address)
	case isUnix:
	case err != nil:
		return nil, fmt.Errorf("listen on %q: want unix:PATH or HOST:PORT: %w", address, err)
	case gate.Loopback(host) && !d.far:
	case !d.far:
		return nil, fmt.Errorf("listen on %q: a wallet listens on loopback or a unix socket only, unless it has tls.cert, and tls.client_ca or token_file", address)
	case t.TLS.ClientCA == "" && d.token == "":
		return nil, fmt.Errorf("listen on %q: whoever connects can spend: set tls.client_ca or token_file", address)
	}
	var l net.Listener
	if isUnix {
		l, err = gate.ListenUnix(path)
	} else if l, err = net.Listen("tcp", address); err != nil {
		err = fmt.Errorf("listen on %s: %w", address, err)
	}
	if err != nil {
		return nil, err
	}
	if d.l, err = gate.New(l, t, logger); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return d, nil
}

// Addr is where it is open.
func (d *Door) Addr() net.Addr { return d.l.Addr() }

// Close closes a door that is not served.
func (d *Door) Close() error { return d.l.Close() }

// Serve serves w until ctx ends, and lets calls in flight finish.
func (d *Door) Serve(ctx context.Context, w Wallet) error {
	h := Handler(w)
	if d.far {
		h = remoteHandler(w)
	}
	return d.l.Serve(ctx, d.asked(h))
}

// asked lets in who has the token, where there is one.
func (d *Door) asked(h http.Handler) http.Handler {
	if d.token == "" {
		return h
	}
	want := sha256.Sum256([]byte("Bearer " + d.token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := sha256.Sum256([]byte(r.Header.Get("Authorization"))); subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			d.l.Guard.Refuse("token")
			w.Header().Set("WWW-Authenticate", "Bearer")
			gate.Answer(w, http.StatusUnauthorized, "unauthenticated", "this wallet serves who has its token: set token_file in the caller's configuration")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// leastToken is the shortest token, in characters: 128 bits in base64 are 22.
const leastToken = 32

// readToken reads a token that nobody else may read.
func readToken(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("token_file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("token_file %s: its mode is %04o, and others can read it; chmod 600 it", path, info.Mode().Perm())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("token_file: %w", err)
	}
	token := strings.TrimSpace(string(raw))
	if len(token) < leastToken || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", fmt.Errorf("token_file %s: want at least %d visible characters; make them with: openssl rand -hex 32", path, leastToken)
	}
	return token, nil
}

// DialRemote returns a client of a connector at an https URL, which c calls; a
// token file, if named, has what the connector asks for.
func DialRemote(address string, c *http.Client, tokenFile string) (Wallet, error) {
	if !strings.HasPrefix(address, "https://") {
		return nil, errors.New("a wallet on another machine is called by https://")
	}
	if err := (gate.Trust{}).CheckURL(address); err != nil {
		return nil, fmt.Errorf("wallet address: %w", err)
	}
	out := *c
	if tokenFile != "" {
		token, err := readToken(tokenFile)
		if err != nil {
			return nil, err
		}
		next := c.Transport
		out.Transport = bearer(func(r *http.Request) (*http.Response, error) {
			r = r.Clone(r.Context())
			r.Header.Set("Authorization", "Bearer "+token)
			return next.RoundTrip(r)
		})
	}
	return NewClient(strings.TrimSuffix(address, "/"), &out), nil
}

type bearer func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f bearer) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
