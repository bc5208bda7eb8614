// Package config reads the configuration file of a vault's program.
package config

import (
	"fmt"
	"os"
	"path/filepath"

	"latchkey/attest/policyfile"
	"latchkey/head"
	"latchkey/tomlfile"
	"latchkey/vault/enclave"
)

// File is the configuration of a vault. All fields are needed, except LogKey in
// the escrow's role, and SnapshotEvery. Relative paths are relative to the file's own folder.
type File struct {
	Role      string            `toml:"role" comment:"owner: a client's vault; escrow: an operator's"`
	Socket    string            `toml:"socket" comment:"Unix socket for the host of this vault, and nobody else"`
	Platform  string            `toml:"platform" comment:"SIMULATED platform, in the place of hardware"`
	Policy    string            `toml:"policy" comment:"attestation policy: which programs on which platforms this vault trusts"`
	Origin    string            `toml:"origin" comment:"name of the escrow's log"`
	LogKey    *head.LogKey      `toml:"log_key,omitempty" comment:"the escrow's key, as its operator publishes it"`
	Witnesses []head.WitnessKey `toml:"witnesses" comment:"those who countersign the log, as they publish their keys"`
	Quorum    int               `toml:"quorum" comment:"how many of them make a head count"`
	Faulty    int               `toml:"faulty" comment:"how many of them may fail; 2*quorum > witnesses+faulty, quorum > 2*faulty"`

	SnapshotEvery int64 `toml:"snapshot_every,omitempty" comment:"entries of an escrow's log from one snapshot to the next"`
}

// Config is a configuration that was read and checked.
type Config struct {
	Socket   string
	Platform string
	Trust    enclave.Trust

	SnapshotEvery int64 // see enclave.Config
}

// Read reads a vault's configuration file and the policy that it names. Unknown
// and missing fields are errors that name the field.
func Read(path string) (Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	c, err := parse(b, filepath.Dir(path))
	if err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

// parse reads a configuration whose relative paths start in dir, and the policy it names.
func parse(b []byte, dir string) (Config, error) {
	var f File
	if err := tomlfile.Decode(b, &f); err != nil {
		return Config{}, err
	}
	for _, x := range []struct {
		name    string
		missing bool
	}{
		{"role", f.Role == ""}, {"socket", f.Socket == ""}, {"platform", f.Platform == ""}, {"policy", f.Policy == ""},
		{"origin", f.Origin == ""}, {"log_key", f.Role == "owner" && f.LogKey == nil}, {"witnesses", len(f.Witnesses) == 0},
		{"quorum", f.Quorum == 0},
	} {
		if x.missing {
			return Config{}, fmt.Errorf("field %q is missing", x.name)
		}
	}
	at := func(p string) string {
		if filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(dir, p)
	}
	if f.SnapshotEvery < 0 {
		return Config{}, fmt.Errorf("field %q is %d, want 1 or more, or nothing for the usual", "snapshot_every", f.SnapshotEvery)
	}
	raw, err := os.ReadFile(at(f.Policy))
	if err != nil {
		return Config{}, err
	}
	policy, err := policyfile.Parse(raw)
	if err != nil {
		return Config{}, err
	}
	c := Config{Socket: at(f.Socket), Platform: at(f.Platform), Trust: enclave.Trust{
		Role: f.Role, Origin: f.Origin, Witnesses: f.Witnesses, K: f.Quorum, F: f.Faulty, Policy: policy,
	}, SnapshotEvery: f.SnapshotEvery}
	if f.LogKey != nil {
		c.Trust.LogKey = *f.LogKey
	}
	return c, nil
}
