package escrow

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"

	"latchkey/gate"
	"latchkey/head"
	"latchkey/host"
)

// File is the configuration of an escrow's host, as TOML. Relative paths are
// relative to the file's folder.
type File struct {
	Listen    string         `toml:"listen" comment:"host:port that clients reach"`
	Data      string         `toml:"data" comment:"folder of the log; made if missing; for this process alone"`
	Socket    string         `toml:"socket" comment:"Unix socket of the escrow's vault"`
	Vault     []string       `toml:"vault,omitempty" comment:"command that runs the vault; without it, somebody else starts it"`
	Origin    string         `toml:"origin" comment:"name of the log, as in the vault's configuration"`
	Quorum    int            `toml:"quorum" comment:"as in the vault's configuration"`
	Faulty    int            `toml:"faulty" comment:"as in the vault's configuration"`
	Witnesses []WitnessEntry `toml:"witness" comment:"as in the vault's configuration, and where each is"`
	gate.Tables
}

// WitnessEntry is one witness.
type WitnessEntry struct {
	Key head.WitnessKey `toml:"key"`
	URL string          `toml:"url"`
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
		{"listen", f.Listen == ""}, {"data", f.Data == ""}, {"socket", f.Socket == ""}, {"origin", f.Origin == ""},
		{"witness", len(f.Witnesses) == 0}, {"quorum", f.Quorum == 0},
	} {
		if x.missing {
			return File{}, fmt.Errorf("configuration %s: field %q is missing", path, x.name)
		}
	}
	if err := f.check(path); err != nil {
		return File{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	f.Data, f.Socket = host.Beside(path, f.Data), host.Beside(path, f.Socket)
	return f, nil
}

// check looks at the witnesses as the vault will. The log's key, which the vault
// makes, has no part in that.
func (f *File) check(path string) error {
	if _, _, err := net.SplitHostPort(f.Listen); err != nil {
		return fmt.Errorf("listen: %w", errors.New("want host:port"))
	}
	if err := f.Tables.Resolve(path); err != nil {
		return err
	}
	if err := gate.CheckListen(f.Listen, f.TLS); err != nil {
		return err
	}
	log, err := head.NewLogKey(f.Origin, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey))
	if err != nil {
		return err
	}
	c := f.Host()
	if err := (head.Group{Log: log, Witnesses: c.Witnesses, K: c.K, F: c.F}).Check(); err != nil {
		return fmt.Errorf("witness, quorum, faulty: %w", err)
	}
	var urls []string
	for _, w := range f.Witnesses {
		field := fmt.Sprintf("witness %s: url", w.Key.Name())
		if err := host.CheckURL(field, w.URL); err != nil {
			return err
		}
		if err := f.Trust.CheckURL(w.URL); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		urls = append(urls, w.URL)
	}
	return f.Trust.CheckPins(urls...)
}

// Host fills in what the file says of the host.
func (f File) Host() HostConfig {
	c := HostConfig{Socket: f.Socket, Origin: f.Origin, K: f.Quorum, F: f.Faulty, URLs: map[string]string{}}
	for _, w := range f.Witnesses {
		c.Witnesses = append(c.Witnesses, w.Key)
		c.URLs[w.Key.Name()] = w.URL
	}
	return c
}
