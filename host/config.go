package host

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// ReadConfig reads a TOML file into v. A field that v does not have is an error
// that names line and field.
func ReadConfig(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	d := toml.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err = d.Decode(v)
	var strict *toml.StrictMissingError
	var syntax *toml.DecodeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &strict) && len(strict.Errors) > 0:
		line, _ := strict.Errors[0].Position()
		return fmt.Errorf("configuration %s, line %d: unknown field %q", path, line, strings.Join(strict.Errors[0].Key(), "."))
	case errors.As(err, &syntax):
		line, _ := syntax.Position()
		if k := syntax.Key(); len(k) > 0 {
			return fmt.Errorf("configuration %s, line %d: field %q: %w", path, line, strings.Join(k, "."), err)
		}
		return fmt.Errorf("configuration %s, line %d: %w", path, line, err)
	}
	return fmt.Errorf("configuration %s: %w", path, err)
}

// CheckURL returns an error that names field unless text is the URL of a server.
func CheckURL(field, text string) error {
	if u, err := url.Parse(text); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%s %q: want http://host:port or https://host", field, text)
	}
	return nil
}

// Beside returns p as it is if it is absolute or empty, and otherwise relative
// to the folder of the configuration file at path.
func Beside(path, p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(filepath.Dir(path), p)
}
