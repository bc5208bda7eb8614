package gate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// TLS is the certificate with which a process answers.
type TLS struct {
	Cert              string `toml:"cert,omitempty" comment:"certificate chain, PEM; read again when the file changes"`
	Key               string `toml:"key,omitempty" comment:"its private key, PEM, mode 0600"`
	ClientCA          string `toml:"client_ca,omitempty" comment:"only callers with a certificate of these authorities are let in"`
	InsecurePlaintext bool   `toml:"insecure_plaintext,omitempty" comment:"answers without TLS on an address that other machines reach"`
}

func (t TLS) check() error {
	switch {
	case (t.Cert == "") != (t.Key == ""):
		return errors.New("tls: cert and key go together, and one is missing")
	case t.ClientCA != "" && t.Cert == "":
		return errors.New("tls.client_ca needs tls.cert and tls.key")
	case t.InsecurePlaintext && t.Cert != "":
		return errors.New("tls: cert and insecure_plaintext contradict each other")
	}
	return nil
}

// stamp is what tells a file from a changed one.
type stamp struct {
	at   time.Time
	size int64
}

func stampOf(path string) (stamp, error) {
	if path == "" {
		return stamp{}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.ModTime(), info.Size()}, nil
}

// files is something made from one or two files, and made again when they change.
// While what is there cannot be read, as in the midst of a change, what was read
// last stays in force.
type files[T any] struct {
	paths  [2]string // the second may be empty
	read   func(a, b string) (T, error)
	logger *slog.Logger

	mu     sync.Mutex
	seen   [2]stamp
	young  bool // when it was read it had changed a moment before, and may change again without another stamp
	value  T
	failed string // what was said last
}

func openFiles[T any](a, b string, logger *slog.Logger, read func(a, b string) (T, error)) (*files[T], error) {
	f := &files[T]{paths: [2]string{a, b}, read: read, logger: logger}
	var err error
	if f.seen, err = f.stamps(); err == nil {
		f.young = isYoung(f.seen)
		f.value, err = read(a, b)
	}
	return f, err
}

// tick is longer than that of any file system's clock.
const tick = 2 * time.Second

func isYoung(s [2]stamp) bool {
	return time.Since(s[0].at) < tick || time.Since(s[1].at) < tick
}

func (f *files[T]) stamps() (s [2]stamp, err error) {
	for i, p := range f.paths {
		if s[i], err = stampOf(p); err != nil {
			return s, err
		}
	}
	return s, nil
}

// get returns the newest value that could be read.
func (f *files[T]) get() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := f.stamps()
	if err == nil && now == f.seen && !f.young {
		return f.value
	}
	young := isYoung(now)
	var v T
	if err == nil {
		v, err = f.read(f.paths[0], f.paths[1])
	}
	if err != nil {
		if said := err.Error(); said != f.failed {
			f.failed = said
			f.logger.Warn("a changed file cannot be read; the one before stays in force", "file", f.paths[0], "err", err)
		}
		return f.value
	}
	if now != f.seen {
		f.logger.Info("read a changed file", "file", f.paths[0])
	}
	f.seen, f.young, f.value, f.failed = now, young, v, ""
	return v
}

// readPair reads a certificate chain and its key.
func readPair(cert, key string) (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", cert, key, err)
	}
	return &c, nil
}

// readRoots reads certificates of authorities.
func readRoots(path, _ string) (*x509.CertPool, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s has no certificate in PEM form", path)
	}
	return pool, nil
}

// server returns how to answer; nil: without TLS.
func (t TLS) server(logger *slog.Logger) (*tls.Config, error) {
	if t.Cert == "" {
		return nil, nil
	}
	pair, err := openFiles(t.Cert, t.Key, logger, readPair)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	base := &tls.Config{
		MinVersion:     tls.VersionTLS13,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.get(), nil },
	}
	if t.ClientCA == "" {
		return base, nil
	}
	roots, err := openFiles(t.ClientCA, "", logger, readRoots)
	if err != nil {
		return nil, fmt.Errorf("tls.client_ca: %w", err)
	}
	base.ClientAuth = tls.RequireAndVerifyClientCert
	base.ClientCAs = roots.get()
	base.SessionTicketsDisabled = true // a resumed session would not look at the authorities of now
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := base.Clone()
		c.ClientCAs, c.GetConfigForClient = roots.get(), nil
		return c, nil
	}
	return base, nil
}
