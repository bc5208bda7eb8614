package rate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"latchkey/coin"
)

// Config says where rates come from. In a role's configuration file it is the table [rate].
type Config struct {
	Policy
	Timeout int64    `toml:"timeout"` // seconds for one source, 1 to 60; 0 means 5
	Sources []Source `toml:"source"`
}

// Source is one place that knows prices: a file of several assets, or a URL for one asset. A name may
// serve several assets, each with a URL of its own.
type Source struct {
	Name string `toml:"name"` // as it appears in messages

	// File is a path that ends in .toml or .json; see ReadFile for what is in it. A relative one is
	// relative to the working folder.
	File string `toml:"file"`

	Asset coin.AssetID `toml:"asset"`
	URL   string       `toml:"url"`   // https, or http on this machine only; redirects are not followed
	Price string       `toml:"price"` // where the price is in the reply: a JSON pointer (RFC 6901)
	Time  string       `toml:"time"`  // where the time of the price is; empty: the time of the reply counts
	// TimeForm is how the time is written: "s" (the default), "ms" or "us" since 1970, or "rfc3339".
	TimeForm string `toml:"time_form"`
}

// Feed observes the sources of a configuration. It is safe for concurrent use.
type Feed struct {
	config Config
	client *http.Client
	clock  func() int64
}

// NewFeed checks the configuration. clock returns Unix seconds.
func NewFeed(c Config, clock func() int64) (*Feed, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("rate configuration: %w", err)
	}
	if c.Timeout == 0 {
		c.Timeout = 5
	}
	c.Sources = slices.Clone(c.Sources)
	tr := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute}
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Feed{config: c, clock: clock, client: &http.Client{Transport: tr, CheckRedirect: noRedirect}}, nil
}

func (c Config) check() error {
	if err := c.Policy.Check(); err != nil {
		return err
	}
	if c.Timeout < 0 || c.Timeout > 60 {
		return fmt.Errorf("timeout of %d seconds, want 1 to 60", c.Timeout)
	}
	if len(c.Sources) == 0 {
		return errors.New("there is no source")
	}
	for i, s := range c.Sources {
		if err := s.check(); err != nil {
			return fmt.Errorf("source %d (%q): %w", i+1, s.Name, err)
		}
		if slices.ContainsFunc(c.Sources[:i], func(o Source) bool {
			return o.Name == s.Name && (o.Asset == s.Asset || o.File != "" || s.File != "")
		}) {
			return fmt.Errorf("source %d (%q): the name is taken", i+1, s.Name)
		}
	}
	return nil
}

func (s Source) check() error {
	if s.Name == "" || len(s.Name) > 40 || slices.ContainsFunc([]byte(s.Name), func(c byte) bool { return c <= ' ' || c > '~' }) {
		return errors.New("the name is not 1 to 40 printable characters without spaces")
	}
	if s.File != "" {
		if s.URL != "" || s.Asset != "" || s.Price != "" || s.Time != "" || s.TimeForm != "" {
			return errors.New("it is a file: url, asset, price, time and time_form do not apply")
		}
		if ext := filepath.Ext(s.File); ext != ".toml" && ext != ".json" {
			return fmt.Errorf("file %q ends neither in .toml nor in .json", s.File)
		}
		return nil
	}
	if s.URL == "" {
		return errors.New("it has neither file nor url")
	}
	if err := s.Asset.Check(); err != nil {
		return err
	}
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.User != nil {
		return errors.New("the url is malformed, has no host or has a password in it")
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && !ip.IsLoopback()) {
		return errors.New("the url is neither https nor http on this machine")
	}
	if _, err := parsePointer(s.Price); err != nil || s.Price == "" {
		return fmt.Errorf("price %q is not a JSON pointer such as /data/amount", s.Price)
	}
	if _, err := parsePointer(s.Time); err != nil {
		return fmt.Errorf("time %q is not a JSON pointer such as /data/time", s.Time)
	}
	switch s.TimeForm {
	case "", "s", "ms", "us", "rfc3339":
		return nil
	}
	return fmt.Errorf("time_form %q is not s, ms, us or rfc3339", s.TimeForm)
}

// Policy returns the policy in force.
func (f *Feed) Policy() Policy { return f.config.Policy }

// Observe asks all sources of the asset at once and returns what each said, in the order of the
// configuration. It takes at most the timeout, or as long as ctx allows.
func (f *Feed) Observe(ctx context.Context, asset coin.AssetID) []Observation {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(f.config.Timeout)*time.Second)
	defer cancel()
	var sources []Source
	for _, s := range f.config.Sources {
		if s.File != "" || s.Asset == asset {
			sources = append(sources, s)
		}
	}
	out := make([]Observation, len(sources))
	var wg sync.WaitGroup
	for i, s := range sources {
		wg.Go(func() {
			o, err := f.observe(ctx, s, asset)
			if err != nil {
				o = Observation{Problem: err.Error()}
			}
			o.Source = s.Name
			out[i] = o
		})
	}
	wg.Wait()
	return out
}

func (f *Feed) observe(ctx context.Context, s Source, asset coin.AssetID) (Observation, error) {
	if s.File != "" {
		return ReadFile(s.File, asset, f.clock())
	}
	return f.fetch(ctx, s)
}

// Rate observes the asset and combines what the sources say now. The error is an *Unavailable
// unless the asset has no proper name.
func (f *Feed) Rate(ctx context.Context, asset coin.AssetID) (Rate, error) {
	return Combine(asset, f.Observe(ctx, asset), f.config.Policy, f.clock())
}
