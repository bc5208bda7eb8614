// Package config reads the configuration file of a witness's program.
package config

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"latchkey/gate"
	"latchkey/head"
	"latchkey/tomlfile"
)

// File is the configuration file; "witness example" documents it.
type File struct {
	Name    string        `toml:"name"`
	Listen  string        `toml:"listen"`
	Data    string        `toml:"data"`
	KeyFile string        `toml:"key_file"`
	Logs    []head.LogKey `toml:"logs"`
	gate.Tables
}

// defaultRate is how many requests a second a witness takes from one address.
const defaultRate = 2000

// A HintError is an error with the way out.
type HintError struct {
	Err  error
	Hint string
}

func (e *HintError) Error() string { return e.Err.Error() }
func (e *HintError) Unwrap() error { return e.Err }

// Read reads and checks a configuration file. Its errors name the file,
// and the line where there is one.
func Read(path string) (File, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return File{}, &HintError{Err: fmt.Errorf("configuration: %w", err), Hint: "witness example > " + path}
	}
	var c File
	if err := tomlfile.Decode(raw, &c); err != nil {
		err = fmt.Errorf("%s: %w", path, err)
		if errors.Is(err, tomlfile.ErrUnknownField) {
			err = &HintError{Err: err, Hint: `"witness example" prints all fields`}
		}
		return File{}, err
	}
	for _, field := range []struct{ name, value string }{{"name", c.Name}, {"listen", c.Listen}, {"data", c.Data}} {
		if field.value == "" {
			return File{}, fmt.Errorf("%s: field %s is missing", path, field.name)
		}
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return File{}, fmt.Errorf("%s: listen: %w", path, err)
	}
	if err := c.Tables.Resolve(path); err != nil {
		return File{}, fmt.Errorf("%s: %w", path, err)
	}
	// One host brings the heads of a log, one after the other, as fast as it has them.
	if c.Limits.AddressRate == 0 {
		c.Limits.AddressRate = defaultRate
	}
	if c.Limits.AddressBurst == 0 {
		c.Limits.AddressBurst = 2 * defaultRate
	}
	if err := gate.CheckListen(c.Listen, c.TLS); err != nil {
		return File{}, fmt.Errorf("%s: %w", path, err)
	}
	if c.KeyFile == "" {
		c.KeyFile = filepath.Join(c.Data, "key.pem")
	}
	for _, p := range []*string{&c.Data, &c.KeyFile} {
		if !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(path), *p)
		}
	}
	return c, nil
}
