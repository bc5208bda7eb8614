package eth

import (
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"latchkey/gate"
	"latchkey/tomlfile"
)

// Config says what a connector serves and how. [ReadConfig] reads it from a file.
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
	// Data is the folder of key and transactions. It belongs to one process at a time.
	Data string
	// Node is the URL of an Ethereum node's JSON-RPC. It may hold an access key.
	Node string
	// ChainID is the chain's id (EIP-155). A node of another chain is refused.
	ChainID uint64
	// Confirmations make a deposit count, unless a request says otherwise: 1 to 96.
	Confirmations uint32
	// MaxGwei is the most, in gwei, that a transaction offers per gas.
	MaxGwei uint64
	// Resend is the time between two looks after transactions on their way.
	Resend time.Duration
	// MaxTipAge is how old the newest block may be before the node counts as standing
	// still: 30 seconds to a week; on the chains of development, 1337 and 31337, 0 is no
	// bound. InsecureAnyTipAge has none anywhere.
	MaxTipAge         time.Duration
	InsecureAnyTipAge bool
}

// paced reports whether the chain makes blocks by itself.
func (c Config) paced() bool { return c.ChainID != 1337 && c.ChainID != 31337 }

// Defaults of what a configuration file may leave out.
const (
	DefaultConfirmations = 12
	DefaultMaxGwei       = 200
	DefaultResend        = 3 * time.Second
	DefaultMaxTipAge     = 5 * time.Minute // but on chains of development: 25 slots of mainnet
)

// maxDepth is how far back the state of addresses is looked up. Nodes that are
// no archive keep 128 blocks.
const maxDepth = 96

// file is a configuration file as it is written.
type file struct {
	Listen        string `toml:"listen"`
	Data          string `toml:"data"`
	Node          string `toml:"node"`
	ChainID       uint64 `toml:"chain_id"`
	Confirmations uint32 `toml:"confirmations"`
	MaxGwei       uint64 `toml:"max_gwei"`
	Resend        string `toml:"resend"`
	TokenFile     string `toml:"token_file"`
	NodeCA        string `toml:"node_ca"`
	PlainNode     bool   `toml:"insecure_node_http"`
	MaxTipAge     string `toml:"max_tip_age"`
	AnyTipAge     bool   `toml:"insecure_any_tip_age"`

	TLS    gate.TLS    `toml:"tls"`
	Limits gate.Limits `toml:"limits"`
}

// ReadConfig reads a configuration file. An unknown field is an error.
func ReadConfig(path string) (Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	cfg, err := ParseConfig(raw, path)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration %s: %w", path, err)
	}
	return cfg, nil
}

// ParseConfig reads the text of the configuration file (TOML) at a path, to which
// the paths in it are relative.
func ParseConfig(raw []byte, path string) (Config, error) {
	f := file{Confirmations: DefaultConfirmations, MaxGwei: DefaultMaxGwei, Resend: DefaultResend.String()}
	if err := tomlfile.Decode(raw, &f); err != nil {
		return Config{}, err
	}
	tables := gate.Tables{TLS: f.TLS, Limits: f.Limits}
	if err := tables.Resolve(path); err != nil {
		return Config{}, err
	}
	for _, p := range []*string{&f.Data, &f.TokenFile, &f.NodeCA} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(path), *p)
		}
	}
	resend, err := time.ParseDuration(f.Resend)
	if err != nil {
		return Config{}, fmt.Errorf("resend: %w", err)
	}
	cfg := Config{
		Listen: f.Listen, TLS: tables.TLS, Limits: f.Limits, TokenFile: f.TokenFile,
		NodeCA: f.NodeCA, InsecureNodeHTTP: f.PlainNode, Data: f.Data, Node: f.Node, ChainID: f.ChainID,
		Confirmations: f.Confirmations, MaxGwei: f.MaxGwei, Resend: resend, InsecureAnyTipAge: f.AnyTipAge,
	}
	switch {
	case f.MaxTipAge != "" && f.AnyTipAge:
		return Config{}, errors.New("max_tip_age and insecure_any_tip_age say two things")
	case f.MaxTipAge != "":
		if cfg.MaxTipAge, err = time.ParseDuration(f.MaxTipAge); err != nil {
			return Config{}, fmt.Errorf("max_tip_age: %w", err)
		}
	case cfg.paced() && !f.AnyTipAge:
		cfg.MaxTipAge = DefaultMaxTipAge
	}
	if cfg.Listen == "" {
		return Config{}, errors.New("listen is missing")
	}
	_, err = cfg.check()
	return cfg, err
}

// check returns the node's URL, or the first thing that is wrong.
func (c Config) check() (*url.URL, error) {
	switch {
	case c.Data == "":
		return nil, errors.New("data is missing: the folder for key and transactions")
	case c.Node == "":
		return nil, errors.New("node is missing: the URL of an Ethereum node's JSON-RPC")
	case c.ChainID == 0:
		return nil, errors.New("chain_id is missing")
	case !new(big.Int).SetUint64(c.ChainID).IsInt64():
		return nil, fmt.Errorf("chain_id %d is too large", c.ChainID)
	case c.Confirmations < 1 || c.Confirmations > maxDepth:
		return nil, fmt.Errorf("confirmations is %d, want 1 to %d", c.Confirmations, maxDepth)
	case c.MaxGwei < 1 || c.MaxGwei > 1_000_000:
		return nil, fmt.Errorf("max_gwei is %d, want 1 to 1000000", c.MaxGwei)
	case c.Resend < 10*time.Millisecond || c.Resend > time.Hour:
		return nil, fmt.Errorf("resend is %v, want 10ms to 1h", c.Resend)
	case c.MaxTipAge == 0 && (!c.paced() || c.InsecureAnyTipAge):
	case c.MaxTipAge < 30*time.Second || c.MaxTipAge > 7*24*time.Hour:
		return nil, fmt.Errorf("max_tip_age is %v, want 30s to 168h; insecure_any_tip_age has no bound", c.MaxTipAge)
	}
	u, err := url.Parse(c.Node)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		// The error would quote the URL, which may hold an access key.
		return nil, errors.New("node is not a URL such as http://127.0.0.1:8545")
	}
	if u.Scheme == "http" && !gate.Loopback(u.Hostname()) && !c.InsecureNodeHTTP {
		return nil, fmt.Errorf("node: http to %s could be read and changed on the way: use https, or set insecure_node_http", u.Hostname())
	}
	return u, nil
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
