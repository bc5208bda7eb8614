package host

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"latchkey/tomlfile"
)

// ReadConfig reads a TOML file into v. A field that v does not have is an error
// that names line and field.
func ReadConfig(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if err := tomlfile.Decode(b, v); err != nil {
		return fmt.Errorf("configuration %s, %w", path, err)
	}
	return nil
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
