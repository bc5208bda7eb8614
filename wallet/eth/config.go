package eth

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// Config says what a connector serves and how. [ReadConfig] reads it from a file.
type Config struct {
	// Listen is where the wallet is served: "unix:PATH", or "HOST:PORT" on loopback.
	// Whoever can connect can spend.
	Listen string
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
}

// Defaults of what a configuration file may leave out.
const (
	DefaultConfirmations = 12
	DefaultMaxGwei       = 200
	DefaultResend        = 3 * time.Second
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
}

// ReadConfig reads a configuration file. An unknown field is an error.
func ReadConfig(path string) (Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	cfg, err := ParseConfig(raw)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration %s: %w", path, err)
	}
	return cfg, nil
}

// ParseConfig reads the text of a configuration file (TOML).
func ParseConfig(raw []byte) (Config, error) {
	f := file{Confirmations: DefaultConfirmations, MaxGwei: DefaultMaxGwei, Resend: DefaultResend.String()}
	decoder := toml.NewDecoder(bytes.NewReader(raw)).DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		var strict *toml.StrictMissingError
		if errors.As(err, &strict) && len(strict.Errors) > 0 {
			row, _ := strict.Errors[0].Position()
			return Config{}, fmt.Errorf("line %d: unknown field %q", row, strings.Join(strict.Errors[0].Key(), "."))
		}
		var at *toml.DecodeError
		if errors.As(err, &at) {
			row, column := at.Position()
			return Config{}, fmt.Errorf("line %d, column %d: %w", row, column, err)
		}
		return Config{}, err
	}
	resend, err := time.ParseDuration(f.Resend)
	if err != nil {
		return Config{}, fmt.Errorf("resend: %w", err)
	}
	cfg := Config{
		Listen: f.Listen, Data: f.Data, Node: f.Node, ChainID: f.ChainID,
		Confirmations: f.Confirmations, MaxGwei: f.MaxGwei, Resend: resend,
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
	}
	u, err := url.Parse(c.Node)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		// The error would quote the URL, which may hold an access key.
		return nil, errors.New("node is not a URL such as http://127.0.0.1:8545")
	}
	return u, nil
}
