package switchboard

import (
	"errors"
	"fmt"
	"net"
	"os"

	"latchkey/attest"
	"latchkey/attest/policyfile"
	"latchkey/coin"
	"latchkey/contract"
	"latchkey/gate"
	"latchkey/head"
	"latchkey/host"
	"latchkey/market"
	"latchkey/rate"
	"latchkey/wire"
)

// File is the configuration of a switchboard, as TOML. Relative paths are
// relative to the file's folder. docs/config-switchboard.md has an example.
type File struct {
	Name      string         `toml:"name" comment:"what the switchboard calls itself"`
	Listen    string         `toml:"listen" comment:"host:port that clients reach"`
	Data      string         `toml:"data" comment:"folder of the log; made if missing; for this process alone"`
	Policy    string         `toml:"policy" comment:"attestation policy: which vaults may enrol"`
	Contracts []string       `toml:"contracts" comment:"source files of the contracts traded"`
	Exempt    []wire.VaultID `toml:"exempt,omitempty" comment:"vaults of the operators' own, to which no limit per client and device applies"`
	Escrow    EscrowEntry    `toml:"escrow" comment:"whose chunks are traded"`
	Assets    []coin.Asset   `toml:"asset" comment:"what is traded, as its wallet connector describes it"`
	Rate      rate.Config    `toml:"rate" comment:"where rates in US dollars come from"`
	Market    market.Policy  `toml:"market" comment:"what is left out has its default"`
	gate.Tables
}

// EscrowEntry says which escrow a switchboard follows, and whose word makes a
// head of its log count.
type EscrowEntry struct {
	URL       string            `toml:"url"`
	LogKey    head.LogKey       `toml:"log_key"`
	Witnesses []head.WitnessKey `toml:"witnesses"`
	Quorum    int               `toml:"quorum" comment:"how many witnesses make a head count"`
	Faulty    int               `toml:"faulty" comment:"how many of them may fail"`
}

// Group is the log with its witnesses.
func (e EscrowEntry) Group() head.Group {
	return head.Group{Log: e.LogKey, Witnesses: e.Witnesses, K: e.Quorum, F: e.Faulty}
}

// Settings are a configuration with all that it names, read and checked.
type Settings struct {
	File
	Trust   attest.Policy
	Sources [][]byte // of the contracts
}

// ReadFile reads and checks a configuration. An error names the field, and the
// line where there is one.
func ReadFile(path string) (Settings, error) {
	s := Settings{File: File{Name: "switchboard", Market: market.DefaultPolicy()}}
	if err := host.ReadConfig(path, &s.File); err != nil {
		return Settings{}, err
	}
	if err := s.check(path); err != nil {
		return Settings{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	return s, nil
}

func (s *Settings) check(path string) error {
	f := &s.File
	for _, x := range []struct {
		name    string
		missing bool
	}{
		{"listen", f.Listen == ""}, {"data", f.Data == ""}, {"policy", f.Policy == ""}, {"contracts", len(f.Contracts) == 0},
		{"asset", len(f.Assets) == 0}, {"escrow.url", f.Escrow.URL == ""}, {"escrow.log_key", f.Escrow.LogKey == head.LogKey{}},
		{"escrow.witnesses", len(f.Escrow.Witnesses) == 0}, {"escrow.quorum", f.Escrow.Quorum == 0},
	} {
		if x.missing {
			return fmt.Errorf("field %q is missing", x.name)
		}
	}
	if _, _, err := net.SplitHostPort(f.Listen); err != nil {
		return fmt.Errorf("listen: %w", errors.New("want host:port"))
	}
	if err := host.CheckURL("escrow.url", f.Escrow.URL); err != nil {
		return err
	}
	if err := f.Tables.Resolve(path); err != nil {
		return err
	}
	if err := gate.CheckListen(f.Listen, f.TLS); err != nil {
		return err
	}
	if err := f.Tables.Trust.CheckURL(f.Escrow.URL); err != nil {
		return fmt.Errorf("escrow.url: %w", err)
	}
	if err := f.Tables.Trust.CheckPins(f.Escrow.URL); err != nil {
		return err
	}
	if err := f.Escrow.Group().Check(); err != nil {
		return fmt.Errorf("escrow: %w", err)
	}
	if err := f.Market.Check(); err != nil {
		return fmt.Errorf("market: %w", err)
	}
	seen := map[coin.AssetID]bool{}
	for _, a := range f.Assets {
		if err := a.Check(); err != nil {
			return err
		}
		if seen[a.ID] {
			return fmt.Errorf("asset %s is there twice", a.ID)
		}
		seen[a.ID] = true
	}
	f.Data = host.Beside(path, f.Data)
	for i := range f.Rate.Sources {
		f.Rate.Sources[i].File = host.Beside(path, f.Rate.Sources[i].File)
	}
	if _, err := rate.NewFeed(f.Rate, func() int64 { return 0 }); err != nil {
		return fmt.Errorf("rate: %w", err)
	}
	raw, err := os.ReadFile(host.Beside(path, f.Policy))
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	if s.Trust, err = policyfile.Parse(raw); err != nil {
		return fmt.Errorf("policy %s: %w", f.Policy, err)
	}
	for _, name := range f.Contracts {
		source, err := os.ReadFile(host.Beside(path, name))
		if err != nil {
			return fmt.Errorf("contracts: %w", err)
		}
		if _, err := contract.Compile(source); err != nil {
			return fmt.Errorf("contract %s: %w", name, err)
		}
		s.Sources = append(s.Sources, source)
	}
	return nil
}
