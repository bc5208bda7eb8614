// Package gate stands between a process and those who reach it over a network,
// and between it and those whom it calls: TLS, limits, an orderly end, logs, and
// the figures by which it is watched. All programs but the vault use it; the
// vault has no network.
//
// What is left out of a configuration is the safe choice: an address that other
// machines reach needs a certificate, and a call to another machine needs https.
//
// Custody does not rest on it: what passes through, vaults verify or seal. It is no
// part of the trusted binary.
package gate

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
)

// Tables are what the configuration files of all programs have in common. They
// are embedded there; each may be left out.
type Tables struct {
	TLS    TLS    `toml:"tls,omitempty" comment:"the certificate with which this process answers"`
	Trust  Trust  `toml:"trust,omitempty" comment:"whom this process believes when it calls"`
	Limits Limits `toml:"limits,omitempty" comment:"what one caller may ask for; what is left out has its default"`
	Admin  Admin  `toml:"admin,omitempty" comment:"health and metrics, for the operator alone"`
	Log    Log    `toml:"log,omitempty" comment:"what is written to standard error"`
}

// Admin says where health and metrics are served.
type Admin struct {
	Listen         string `toml:"listen,omitempty" comment:"unix:PATH or a loopback host:port; without it there is none"`
	InsecureListen bool   `toml:"insecure_listen,omitempty" comment:"allows an address that other machines reach: no password, no TLS"`
}

// Log says how a process writes its log.
type Log struct {
	Format string `toml:"format,omitempty" comment:"text or json; default: text"`
	Level  string `toml:"level,omitempty" comment:"debug, info, warn or error; default: info"`
}

// Resolve makes the paths in t relative to the folder of the configuration file
// at path, and checks all that can be checked without opening a file. Its errors
// name the field.
func (t *Tables) Resolve(path string) error {
	for _, p := range []*string{&t.TLS.Cert, &t.TLS.Key, &t.TLS.ClientCA, &t.Trust.CA, &t.Trust.Cert, &t.Trust.Key} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(path), *p)
		}
	}
	for _, err := range []error{t.TLS.check(), t.Trust.check(), t.Limits.check(), t.Admin.check(), t.Log.check()} {
		if err != nil {
			return err
		}
	}
	return nil
}

func (a Admin) check() error {
	if a.Listen == "" || strings.HasPrefix(a.Listen, "unix:") {
		return nil
	}
	host, _, err := net.SplitHostPort(a.Listen)
	switch {
	case err != nil:
		return fmt.Errorf("admin.listen %q: want unix:PATH or a loopback host:port", a.Listen)
	case !Loopback(host) && !a.InsecureListen:
		return fmt.Errorf("admin.listen %q: other machines reach it, and it asks nobody who they are; use loopback, or set admin.insecure_listen", a.Listen)
	}
	return nil
}

func (l Log) check() error {
	_, err := l.New(io.Discard)
	return err
}

// New returns the logger that l asks for.
func (l Log) New(w io.Writer) (*slog.Logger, error) {
	o := &slog.HandlerOptions{}
	if l.Level != "" {
		var level slog.Level
		if err := level.UnmarshalText([]byte(l.Level)); err != nil {
			return nil, fmt.Errorf("log.level %q: want debug, info, warn or error", l.Level)
		}
		o.Level = level
	}
	switch l.Format {
	case "", "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("log.format %q: want text or json", l.Format)
}

// Loopback reports whether a host, as a URL or an address has it, is this machine
// whatever the network does. An empty host is every address, and so is not.
func Loopback(host string) bool {
	host = strings.Trim(host, "[]")
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

var errNotURL = errors.New("want https://host:port, or http:// and a loopback address")

// parseURL reads the URL of a peer. Its error does not quote the URL, which may
// have a password in it.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errNotURL
	}
	return u, nil
}
