package btc

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"

	"latchkey/coin"
	"latchkey/gate"
	"latchkey/tomlfile"
)

// Config says what a connector serves and how. [ReadConfig] reads it from a
// file.
type Config struct {
	// Listen is where the wallet is served: "unix:PATH", "HOST:PORT" on loopback, or
	// any "HOST:PORT" with TLS. Whoever is let in can spend.
	Listen string
	// TLS, Limits and TokenFile open it to other machines: see wallet.Open.
	TLS       gate.TLS
	Limits    gate.Limits
	TokenFile string
	// NodeCA has the authorities that are believed about the node, in the place of
	// the system's. InsecureNodeHTTP lets Node be http on another machine.
	NodeCA           string
	InsecureNodeHTTP bool
	// Data is the folder of the own key and of what was signed. It belongs to
	// one process at a time.
	Data string
	// Node is the URL of btcd's JSON-RPC; btcd runs with --txindex --addrindex.
	Node string
	// User and Password are those of the node's RPC.
	User, Password string
	// Network is main, testnet3, testnet4, signet or regtest. A node of another
	// network is refused.
	Network string
	// Confirmations make a deposit count, unless a request says otherwise: 1 to 1000.
	Confirmations uint32
	// MaxRate is the most, in satoshis per virtual byte, that is ever paid.
	MaxRate uint64
	// Resend is the time between two looks after transactions on their way.
	Resend time.Duration
	// MaxTipAge is how old the newest block may be before the node counts as standing
	// still: 10 minutes to a week; on regtest 0 is no bound. InsecureAnyTipAge has none
	// anywhere.
	MaxTipAge         time.Duration
	InsecureAnyTipAge bool
}

// Defaults of what a configuration file may leave out.
const (
	DefaultConfirmations = 6
	DefaultMaxRate       = 200
	DefaultResend        = 2 * time.Second
	DefaultMaxTipAge     = 2 * time.Hour // but on regtest; a gap of 12 intervals comes once in some 160,000 blocks
)

// file is a configuration file as it is written.
type file struct {
	Listen        string `toml:"listen"`
	Data          string `toml:"data"`
	Node          string `toml:"node"`
	User          string `toml:"node_user"`
	PasswordFile  string `toml:"node_password_file"`
	Network       string `toml:"network"`
	Confirmations uint32 `toml:"confirmations"`
	MaxRate       uint64 `toml:"max_sat_per_vbyte"`
	Resend        string `toml:"resend"`
	TokenFile     string `toml:"token_file"`
	NodeCA        string `toml:"node_ca"`
	PlainNode     bool   `toml:"insecure_node_http"`
	MaxTipAge     string `toml:"max_tip_age"`
	AnyTipAge     bool   `toml:"insecure_any_tip_age"`

	TLS    gate.TLS    `toml:"tls"`
	Limits gate.Limits `toml:"limits"`
}

// ReadConfig reads a configuration file, and the password file that it names.
// An unknown field is an error.
func ReadConfig(path string) (Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	cfg, err := parseConfig(raw, path)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration %s: %w", path, err)
	}
	return cfg, nil
}

// parseConfig reads the text of the configuration file at a path, to which the
// paths in it are relative.
func parseConfig(raw []byte, path string) (Config, error) {
	f := file{Confirmations: DefaultConfirmations, MaxRate: DefaultMaxRate, Resend: DefaultResend.String()}
	if err := tomlfile.Decode(raw, &f); err != nil {
		return Config{}, err
	}
	tables := gate.Tables{TLS: f.TLS, Limits: f.Limits}
	if err := tables.Resolve(path); err != nil {
		return Config{}, err
	}
	for _, p := range []*string{&f.Data, &f.PasswordFile, &f.TokenFile, &f.NodeCA} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(path), *p)
		}
	}
	resend, err := time.ParseDuration(f.Resend)
	if err != nil {
		return Config{}, fmt.Errorf("resend: %w", err)
	}
	age := time.Duration(0)
	switch {
	case f.MaxTipAge != "" && f.AnyTipAge:
		return Config{}, errors.New("max_tip_age and insecure_any_tip_age say two things")
	case f.MaxTipAge != "":
		if age, err = time.ParseDuration(f.MaxTipAge); err != nil {
			return Config{}, fmt.Errorf("max_tip_age: %w", err)
		}
	case f.Network != "regtest" && !f.AnyTipAge:
		age = DefaultMaxTipAge
	}
	cfg := Config{
		Listen: f.Listen, TLS: tables.TLS, Limits: f.Limits, TokenFile: f.TokenFile,
		NodeCA: f.NodeCA, InsecureNodeHTTP: f.PlainNode, Data: f.Data, Node: f.Node, User: f.User, Network: f.Network,
		Confirmations: f.Confirmations, MaxRate: f.MaxRate, Resend: resend,
		MaxTipAge: age, InsecureAnyTipAge: f.AnyTipAge,
	}
	if f.PasswordFile == "" {
		return Config{}, errors.New("node_password_file is missing")
	}
	password, err := os.ReadFile(f.PasswordFile)
	if err != nil {
		return Config{}, fmt.Errorf("node_password_file: %w", err)
	}
	cfg.Password = strings.TrimSpace(string(password))
	if f.Listen == "" {
		return Config{}, errors.New("listen is missing")
	}
	return cfg, cfg.check()
}

func (c Config) check() error {
	u, err := url.Parse(c.Node)
	switch {
	case c.Data == "":
		return errors.New("data is missing: the folder of the own key")
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return fmt.Errorf("node %q: want a URL such as http://127.0.0.1:8334", c.Node)
	case u.Scheme == "http" && !gate.Loopback(u.Hostname()) && !c.InsecureNodeHTTP:
		return fmt.Errorf("node: http to %s would show the password, and what it says could be changed on the way: use https, or set insecure_node_http", u.Hostname())
	case c.User == "", c.Password == "":
		return errors.New("node_user or the node's password is empty")
	case c.Confirmations < 1, c.Confirmations > 1000:
		return fmt.Errorf("confirmations %d: want 1 to 1000", c.Confirmations)
	case c.MaxRate < 1, c.MaxRate > 10_000:
		return fmt.Errorf("max_sat_per_vbyte %d: want 1 to 10000", c.MaxRate)
	case c.Resend < 10*time.Millisecond, c.Resend > time.Hour:
		return fmt.Errorf("resend %v: want 10ms to 1h", c.Resend)
	case c.MaxTipAge == 0 && (c.Network == "regtest" || c.InsecureAnyTipAge):
	case c.MaxTipAge < 10*time.Minute, c.MaxTipAge > 7*24*time.Hour:
		return fmt.Errorf("max_tip_age %v: want 10m to 168h; insecure_any_tip_age has no bound", c.MaxTipAge)
	}
	_, err = paramsOf(c.Network)
	return err
}

func paramsOf(network string) (*chaincfg.Params, error) {
	switch network {
	case "main":
		return &chaincfg.MainNetParams, nil
	case "testnet3":
		return &chaincfg.TestNet3Params, nil
	case "testnet4":
		return &chaincfg.TestNet4Params, nil
	case "signet":
		return &chaincfg.SigNetParams, nil
	case "regtest":
		return &chaincfg.RegressionNetParams, nil
	}
	return nil, fmt.Errorf("network %q: want main, testnet3, testnet4, signet or regtest", network)
}

// asset is what the connector serves.
func (c Config) asset() coin.Asset {
	return coin.Asset{ID: "btc", Chain: "bip122:" + c.Network, Key: coin.Secp256k1, Address: "p2wpkh", Decimals: 8}
}

// nodeTransport calls the node and believes NodeCA; nil where the system's
// authorities are believed.
func (c Config) nodeTransport() (http.RoundTripper, error) {
	if c.NodeCA == "" {
		return nil, nil
	}
	h, err := gate.Trust{CA: c.NodeCA, InsecureHTTP: c.InsecureNodeHTTP}.Client(slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("node_ca: %w", err)
	}
	return h.Transport, nil
}
