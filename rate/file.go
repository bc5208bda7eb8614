package rate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"latchkey/coin"
	"latchkey/tomlfile"
)

// pricesFile is the content of a source that is a file.
type pricesFile struct {
	// At is the time of the prices in Unix seconds; without it, the file's modification time counts.
	At int64 `toml:"at" json:"at"`
	// AlwaysFresh makes the prices those of this moment, whenever they are read: for tests and demos.
	AlwaysFresh bool `toml:"always_fresh" json:"always_fresh"`
	// USD holds dollars per coin, as strings: a float would not be exact.
	USD map[coin.AssetID]string `toml:"usd" json:"usd"`
}

// ReadFile reads one asset's price from a file whose name ends in .toml or .json:
//
//	at = 1800000000        # Unix seconds; without it, the time the file was written
//	always_fresh = false   # true for tests and demos: the prices of this moment, always
//	[usd]
//	btc = "67123.50"       # dollars per coin, as strings
//	"eth:usdc" = "1"
//
// Unknown fields are an error. now is in Unix seconds.
func ReadFile(path string, asset coin.AssetID, now int64) (Observation, error) {
	b, written, err := readFile(path)
	if err != nil {
		return Observation{}, err
	}
	f, err := parseFile(b, filepath.Ext(path))
	if err != nil {
		return Observation{}, fmt.Errorf("(%s) %w", path, err)
	}
	s, ok := f.USD[asset]
	if !ok {
		return Observation{}, fmt.Errorf("(%s) has no price for %s", path, asset)
	}
	o := Observation{At: written}
	if o.Price, err = ParsePrice(s); err != nil {
		return Observation{}, fmt.Errorf("(%s) has no usable price for %s: %w", path, asset, err)
	}
	switch {
	case f.AlwaysFresh:
		o.At = now
	case f.At != 0:
		o.At = f.At
	}
	return o, nil
}

func parseFile(b []byte, ext string) (pricesFile, error) {
	var f pricesFile
	switch ext {
	case ".json":
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&f); err != nil {
			return pricesFile{}, fmt.Errorf("is not a file of prices: %w", err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return pricesFile{}, errors.New("is not a file of prices: something follows the JSON value")
		}
	case ".toml":
		if err := tomlfile.Decode(b, &f); err != nil {
			return pricesFile{}, fmt.Errorf("is not a file of prices: %w", err)
		}
	default:
		return pricesFile{}, fmt.Errorf("ends in %q, neither .toml nor .json", ext)
	}
	if f.At < 0 || f.AlwaysFresh && f.At != 0 {
		return pricesFile{}, errors.New("has a negative time, or a time and always_fresh")
	}
	return f, nil
}

func readFile(path string) ([]byte, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, 0, fmt.Errorf("(%s) cannot be read: %w", path, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("(%s) cannot be read: %w", path, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxBody+1))
	if err != nil {
		return nil, 0, fmt.Errorf("(%s) cannot be read: %w", path, err)
	}
	if len(b) > maxBody {
		return nil, 0, fmt.Errorf("(%s) is larger than %d bytes", path, maxBody)
	}
	return b, st.ModTime().Unix(), nil
}
