package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/pelletier/go-toml/v2"

	"latchkey/head"
)

// config is the configuration file; example.toml documents it.
type config struct {
	Name    string        `toml:"name"`
	Listen  string        `toml:"listen"`
	Data    string        `toml:"data"`
	KeyFile string        `toml:"key_file"`
	Logs    []head.LogKey `toml:"logs"`
}

// readConfig reads and checks a configuration file. Its errors name the file,
// and the line where there is one.
func readConfig(path string) (config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return config{}, &hintError{fmt.Errorf("configuration: %w", err), "witness example > " + path}
	}
	var c config
	decoder := toml.NewDecoder(bytes.NewReader(raw)).DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return config{}, tomlError(path, err)
	}
	for _, field := range []struct{ name, value string }{{"name", c.Name}, {"listen", c.Listen}, {"data", c.Data}} {
		if field.value == "" {
			return config{}, fmt.Errorf("%s: field %s is missing", path, field.name)
		}
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return config{}, fmt.Errorf("%s: listen: %w", path, err)
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

// tomlError puts the place in the file in front of a decoder's error.
func tomlError(path string, err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		first := unknown.Errors[0]
		row, column := first.Position()
		return &hintError{fmt.Errorf("%s:%d:%d: unknown field %v", path, row, column, first.Key()), `"witness example" prints all fields`}
	}
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		row, column := wrong.Position()
		return fmt.Errorf("%s:%d:%d: %w", path, row, column, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}
