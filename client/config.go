package client

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"latchkey/coin"
	"latchkey/gate"
	"latchkey/host"
	"latchkey/rate"
	"latchkey/wallet"
)

// File is the configuration of a client's host, as TOML. Relative paths are
// relative to the file's folder.
type File struct {
	Name            string        `toml:"name" comment:"for people"`
	Listen          string        `toml:"listen" comment:"unix:PATH or a loopback host:port, for the user's own programs"`
	Data            string        `toml:"data" comment:"folder of this host; made if missing; for this process alone"`
	Socket          string        `toml:"socket" comment:"Unix socket of the vault"`
	Vault           []string      `toml:"vault,omitempty" comment:"command that runs the vault; without it, somebody else starts it"`
	Escrow          string        `toml:"escrow" comment:"URL of the escrow's host"`
	Switchboard     string        `toml:"switchboard" comment:"URL of the switchboard"`
	PollMs          int           `toml:"poll_ms,omitempty" comment:"how often wallets are asked while something waits on a chain; 0: every 5 s"`
	InsecureVendors []string      `toml:"insecure_vendors,omitempty" comment:"TEE vendors to whose vaults shares may go though the escrow runs on the same; named one by one"`
	RateLimit       uint32        `toml:"rate_limit,omitempty" comment:"basis points that a proposal's values may be off the own rates; 0: 300"`
	Rate            *rate.Config  `toml:"rate,omitempty" comment:"own sources of rates in US dollars; without them the switchboard's count alone"`
	Limits          *Limits       `toml:"tit_for_tat,omitempty" comment:"what a settlement tit for tat may be, whoever proposes it; a draft outside of it is declined"`
	Wallets         []WalletEntry `toml:"wallet" comment:"one for each asset"`
	gate.Tables
}

// WalletEntry is the connector of one asset.
type WalletEntry struct {
	Asset coin.AssetID `toml:"asset"`
	URL   string       `toml:"url" comment:"unix:PATH, http:// and a loopback address, or https:// and any"`
	Token string       `toml:"token_file,omitempty" comment:"what a connector reached by https asks for, if not for a certificate"`
	Tip   string       `toml:"max_tip_age,omitempty" comment:"how old the newest block of its node may be, 30m, if that is less than the connector permits"`
	Keep  bool         `toml:"keep,omitempty" comment:"keep what is received in the vault instead of claiming it at once"`
	Until string       `toml:"keep_until,omitempty" comment:"with keep: claim all of it on this date, 2027-01-31, or at this time, 2027-01-31T12:00:00Z"`
	UpTo  string       `toml:"keep_up_to,omitempty" comment:"with keep: claim what is more than this, in the asset's smallest units"`
}

// ReadFile reads and checks a configuration.
func ReadFile(path string) (File, error) {
	var f File
	if err := host.ReadConfig(path, &f); err != nil {
		return File{}, err
	}
	for _, x := range []struct {
		name    string
		missing bool
	}{
		{"name", f.Name == ""}, {"listen", f.Listen == ""}, {"data", f.Data == ""}, {"socket", f.Socket == ""},
		{"escrow", f.Escrow == ""}, {"switchboard", f.Switchboard == ""}, {"wallet", len(f.Wallets) == 0},
	} {
		if x.missing {
			return File{}, fmt.Errorf("configuration %s: field %q is missing", path, x.name)
		}
	}
	if err := f.check(path); err != nil {
		return File{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	f.Data, f.Socket = host.Beside(path, f.Data), host.Beside(path, f.Socket)
	for i := range f.Wallets {
		f.Wallets[i].Token = host.Beside(path, f.Wallets[i].Token)
	}
	if f.Rate != nil {
		for i := range f.Rate.Sources {
			f.Rate.Sources[i].File = host.Beside(path, f.Rate.Sources[i].File)
		}
	}
	return f, nil
}

func (f *File) check(path string) error {
	if err := f.network(path); err != nil {
		return err
	}
	if f.PollMs < 0 || f.PollMs > 3_600_000 {
		return fmt.Errorf("poll_ms %d: want 0 to 3600000", f.PollMs)
	}
	if f.Rate == nil && f.RateLimit != 0 {
		return errors.New("rate_limit without a table [rate]: there is nothing to hold a proposal against")
	}
	if f.RateLimit > 10_000 {
		return fmt.Errorf("rate_limit %d: want 1 to 10000 basis points", f.RateLimit)
	}
	if f.Rate != nil {
		if _, err := rate.NewFeed(*f.Rate, func() int64 { return 0 }); err != nil {
			return fmt.Errorf("rate: %w", err)
		}
	}
	if f.Limits != nil {
		if err := f.Limits.Check(); err != nil {
			return fmt.Errorf("tit_for_tat: %w", err)
		}
	}
	for i, w := range f.Wallets {
		if w.Asset == "" || w.URL == "" {
			return fmt.Errorf("wallet %d: asset and url are both needed", i+1)
		}
		if _, err := w.choice(); err != nil {
			return fmt.Errorf("wallet %d: %w", i+1, err)
		}
		if _, err := w.TipAge(); err != nil {
			return fmt.Errorf("wallet %d: %w", i+1, err)
		}
	}
	return nil
}

// network looks at what the file says of certificates and peers.
func (f *File) network(path string) error {
	if f.TLS != (gate.TLS{}) {
		return errors.New("tls: a client's listen serves this machine alone, and takes none")
	}
	if err := f.Tables.Resolve(path); err != nil {
		return err
	}
	for _, x := range []struct{ name, url string }{{"escrow", f.Escrow}, {"switchboard", f.Switchboard}} {
		if err := host.CheckURL(x.name, x.url); err != nil {
			return err
		}
		if err := f.Trust.CheckURL(x.url); err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
	}
	urls := []string{f.Escrow, f.Switchboard}
	for _, w := range f.Wallets {
		urls = append(urls, w.URL)
	}
	return f.Trust.CheckPins(urls...)
}

// Host fills in what the file says of the host.
func (f File) Host(logger *slog.Logger) (Config, error) {
	call, err := f.Trust.Client(logger)
	if err != nil {
		return Config{}, err
	}
	c := Config{
		HTTP: call, Logger: logger,
		Name: f.Name, Socket: f.Socket, Escrow: f.Escrow, Switchboard: f.Switchboard, InsecureVendors: f.InsecureVendors,
		Poll: time.Duration(f.PollMs) * time.Millisecond, Wallets: map[coin.AssetID]wallet.Wallet{}, Choices: map[coin.AssetID]Choice{},
		TipAge: map[coin.AssetID]time.Duration{},
	}
	if f.Rate != nil {
		feed, err := rate.NewFeed(*f.Rate, func() int64 { return time.Now().Unix() })
		if err != nil {
			return Config{}, err
		}
		if c.Rates, c.RateLimit = feed, f.RateLimit; c.RateLimit == 0 {
			c.RateLimit = defaultRateLimit
		}
	}
	if f.Limits != nil {
		c.Limits = *f.Limits
	}
	for _, w := range f.Wallets {
		if err := w.Asset.Check(); err != nil {
			return Config{}, fmt.Errorf("wallet: %w", err)
		}
		if c.Wallets[w.Asset] != nil {
			return Config{}, fmt.Errorf("two wallets for %s", w.Asset)
		}
		con, err := w.Dial(call)
		if err != nil {
			return Config{}, fmt.Errorf("wallet %s: %w", w.Asset, err)
		}
		x, err := w.choice()
		if err != nil {
			return Config{}, fmt.Errorf("wallet for %s: %w", w.Asset, err)
		}
		if c.TipAge[w.Asset], err = w.TipAge(); err != nil {
			return Config{}, fmt.Errorf("wallet for %s: %w", w.Asset, err)
		}
		c.Wallets[w.Asset], c.Choices[w.Asset] = con, x
	}
	return c, nil
}

// Dial returns a caller of the connector; it connects with the first call.
func (w WalletEntry) Dial(call *http.Client) (wallet.Wallet, error) {
	if strings.HasPrefix(w.URL, "https://") {
		return wallet.DialRemote(w.URL, call, w.Token)
	}
	if w.Token != "" {
		return nil, errors.New("token_file goes with an https:// url")
	}
	return wallet.Dial(w.URL)
}

// TipAge returns how old the newest block of the node may be; 0 is no bound but the connector's.
func (w WalletEntry) TipAge() (time.Duration, error) {
	if w.Tip == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(w.Tip)
	if err != nil || d < time.Second || d > 7*24*time.Hour {
		return 0, fmt.Errorf("max_tip_age %.40q: want 1s to 168h", w.Tip)
	}
	return d, nil
}

func (w WalletEntry) choice() (c Choice, err error) {
	c.Keep = w.Keep
	if w.Until != "" {
		if c.Until, err = ParseTime(w.Until); err != nil {
			return Choice{}, fmt.Errorf("keep_until: %w", err)
		}
	}
	if w.UpTo != "" {
		if c.UpTo, err = coin.ParseAmount(w.UpTo); err != nil {
			return Choice{}, fmt.Errorf("keep_up_to: %w", err)
		}
	}
	return c, c.Check()
}

// ParseTime reads a moment, in Unix seconds: a date (its beginning, UTC) or an
// RFC 3339 time.
func ParseTime(s string) (int64, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil && t.Unix() > 0 {
			return t.Unix(), nil
		}
	}
	return 0, fmt.Errorf("%.40q is no moment; write 2027-01-31 or 2027-01-31T12:00:00Z", s)
}
