package gate

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// Trust says whom a process believes when it calls.
type Trust struct {
	CA           string            `toml:"ca,omitempty" comment:"certificates of the authorities that are believed, PEM, in the place of the system's; read again when the file changes"`
	Pins         map[string]string `toml:"pins,omitempty" comment:"by host:port, the one public key that is believed there, and no authority: sha256/BASE64"`
	Cert         string            `toml:"cert,omitempty" comment:"certificate that is shown to who asks for one, PEM"`
	Key          string            `toml:"key,omitempty" comment:"its private key, PEM, mode 0600"`
	InsecureHTTP bool              `toml:"insecure_http,omitempty" comment:"calls other machines without TLS where the URL says http"`
}

func (t Trust) check() error {
	if (t.Cert == "") != (t.Key == "") {
		return errors.New("trust: cert and key go together, and one is missing")
	}
	for at, pin := range t.Pins {
		if _, port, err := net.SplitHostPort(at); err != nil || port == "" {
			return fmt.Errorf("trust.pins: %q: want host:port", at)
		}
		if _, err := parsePin(pin); err != nil {
			return fmt.Errorf("trust.pins: %s: %w", at, err)
		}
	}
	return nil
}

// CheckURL refuses a URL that t has no way to call safely. The error does not
// quote the URL.
func (t Trust) CheckURL(raw string) error {
	u, err := parseURL(raw)
	if err != nil {
		return err
	}
	if u.Scheme == "http" && !Loopback(u.Hostname()) && !t.InsecureHTTP {
		return fmt.Errorf("http to %s would be readable, and writable, on the way: use https, or set trust.insecure_http", u.Hostname())
	}
	return nil
}

// CheckPins refuses a pin that none of the URLs that a process calls would use: a
// slip in its name must not leave an authority's word in its place.
func (t Trust) CheckPins(urls ...string) error {
	used := map[string]bool{}
	for _, raw := range urls {
		if u, err := parseURL(raw); err == nil && u.Scheme == "https" {
			port := u.Port()
			if port == "" {
				port = "443"
			}
			used[canonical(net.JoinHostPort(u.Hostname(), port))] = true
		}
	}
	for at := range t.Pins {
		if !used[canonical(at)] {
			return fmt.Errorf("trust.pins: nothing is called by https at %q: write host and port as the URL has them", at)
		}
	}
	return nil
}

// canonical is how host:port is compared: a host has no case.
func canonical(at string) string { return strings.ToLower(at) }

// Pin returns what trust.pins says of a certificate's key: the SHA-256 of its
// SubjectPublicKeyInfo, as in RFC 7469.
func Pin(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
}

func parsePin(text string) ([]byte, error) {
	b64, ok := strings.CutPrefix(text, "sha256/")
	sum, err := base64.StdEncoding.DecodeString(b64)
	if !ok || err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("%q is no pin: want sha256/ and 44 characters of base64", text)
	}
	return sum, nil
}

// How long a caller waits: for a connection, and for the first byte of an answer,
// which at a long poll is half a minute away.
const (
	dialWithin   = 10 * time.Second
	answerWithin = 75 * time.Second
)

// A caller is an http.RoundTripper that believes whom a Trust says.
type caller struct {
	trust Trust
	pins  map[string]string        // of trust, by canonical host:port
	roots *files[*x509.CertPool]   // nil: the system's
	pair  *files[*tls.Certificate] // nil: none
	http  *http.Transport
}

// Client returns a client that calls as t says: TLS 1.3, no proxy, no redirect.
func (t Trust) Client(logger *slog.Logger) (*http.Client, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	c := &caller{trust: t, pins: map[string]string{}}
	for at, pin := range t.Pins {
		c.pins[canonical(at)] = pin
	}
	var err error
	if t.CA != "" {
		if c.roots, err = openFiles(t.CA, "", logger, readRoots); err != nil {
			return nil, fmt.Errorf("trust.ca: %w", err)
		}
	}
	if t.Cert != "" {
		if c.pair, err = openFiles(t.Cert, t.Key, logger, readPair); err != nil {
			return nil, fmt.Errorf("trust: %w", err)
		}
	}
	c.http = &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialWithin, KeepAlive: 30 * time.Second}).DialContext,
		DialTLSContext:      c.dialTLS,
		MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute,
		ResponseHeaderTimeout: answerWithin,
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
	return &http.Client{Transport: c, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("the other side redirects: its URL in the configuration is out of date")
	}}, nil
}

// RoundTrip implements http.RoundTripper.
func (c *caller) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "http" && !Loopback(r.URL.Hostname()) && !c.trust.InsecureHTTP {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, fmt.Errorf("http to %s is refused: use https, or set trust.insecure_http", r.URL.Hostname())
	}
	return c.http.RoundTrip(r)
}

// CloseIdleConnections lets http.Client.CloseIdleConnections work.
func (c *caller) CloseIdleConnections() { c.http.CloseIdleConnections() }

func (c *caller) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	raw, err := (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, c.config(host, address))
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("TLS with %s: %w", address, err)
	}
	return conn, nil
}

// config is made anew for each connection, so that changed files count.
func (c *caller) config(host, address string) *tls.Config {
	t := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: host, NextProtos: []string{"h2", "http/1.1"}}
	if c.roots != nil {
		t.RootCAs = c.roots.get()
	}
	if c.pair != nil {
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.pair.get(), nil }
	}
	if pin, ok := c.pins[canonical(address)]; ok {
		t.InsecureSkipVerify = true // the key decides, and neither names, dates nor authorities
		t.VerifyConnection = func(s tls.ConnectionState) error { return checkPin(s, pin) }
	}
	return t
}

func checkPin(s tls.ConnectionState, pin string) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("no certificate")
	}
	if got := Pin(s.PeerCertificates[0]); subtle.ConstantTimeCompare([]byte(got), []byte(pin)) != 1 {
		return fmt.Errorf("its key is %s, and trust.pins says %s: another server answers, or its key was changed", got, pin)
	}
	return nil
}
