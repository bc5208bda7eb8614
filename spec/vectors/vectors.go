// Package vectors reads and writes the test vectors in this folder, for the
// tests of the packages that they are about. Nothing else imports it.
package vectors

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// A File is one file of vectors.
type File[T any] struct {
	About string `json:"about"`
	Cases []T    `json:"cases"`
}

// Read returns a file's content.
func Read[T any](t testing.TB, path string) File[T] {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var f File[T]
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return f
}

// Check holds a file to what the code does. Its bytes must be those of made,
// which the caller generates from nothing; with update they are written first.
// Then run judges every case as it is in the file. head returns a case's name
// and what it expects: "ok", or "error: " and a part of the error's text.
func Check[T any](t *testing.T, update bool, path string, made File[T], head func(T) (name, expect string), run func(T) error) {
	t.Helper()
	want, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if raw, err := os.ReadFile(path); err != nil || !bytes.Equal(raw, want) {
		t.Errorf("%s is not what the generator makes (%v); run this test with -update and look at the difference", path, err)
	}
	seen := map[string]bool{}
	for _, c := range Read[T](t, path).Cases {
		name, expect := head(c)
		if seen[name] {
			t.Errorf("%s: two cases are called %q", path, name)
		}
		seen[name] = true
		err := run(c)
		if expect == "ok" {
			if err != nil {
				t.Errorf("%s: %s: %v", path, name, err)
			}
			continue
		}
		if text, ok := strings.CutPrefix(expect, "error: "); !ok || err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %s: got error %v, want %q", path, name, err, expect)
		}
	}
}

// Hex is a byte string that vectors write in hexadecimal digits.
type Hex []byte

// MarshalText writes hexadecimal digits.
func (h Hex) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// UnmarshalText reads hexadecimal digits.
func (h *Hex) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}
