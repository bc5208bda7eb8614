package sim

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/attest"
)

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t)
	if err := errors.Join(w.vendor.Rate(2, attest.TCBOutOfDate), w.vendor.Revoke(w.platform)); err != nil {
		t.Fatal(err)
	}
	vpath, ppath := filepath.Join(dir, "vendor.json"), filepath.Join(dir, "platform.json")
	if err := errors.Join(w.vendor.Create(vpath), w.platform.Create(ppath)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{vpath, ppath} {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 || !strings.HasPrefix(string(b), "{\n  \"warning\": \"SIMULATED") {
			t.Errorf("%s has mode %v and begins %.40q", path, st.Mode(), b)
		}
	}
	v, err := OpenVendor(vpath)
	if err != nil {
		t.Fatal(err)
	}
	p, err := OpenPlatform(ppath)
	if err != nil {
		t.Fatal(err)
	}
	exported := cmp.AllowUnexported(Vendor{}, Platform{}, level{}, collateral{})
	if diff := cmp.Diff(w.vendor, v, exported); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(w.platform, p, exported); diff != "" {
		t.Error(diff)
	}

	// A new file never replaces one; Save does.
	p.UpdateFirmware(3)
	if err := p.Create(ppath); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over an existing file: %v", err)
	}
	if q, err := OpenPlatform(ppath); err != nil || q.svn != 1 {
		t.Errorf("after a refused Create: %v, %v", q, err)
	}
	if err := p.Save(ppath); err != nil {
		t.Fatal(err)
	}
	if q, err := OpenPlatform(ppath); err != nil || q.svn != 3 {
		t.Errorf("after Save: %v, %v", q, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".sim-*")); err != nil || len(left) != 0 {
		t.Errorf("temporary files left: %v, %v", left, err)
	}
	if err := v.Save(filepath.Join(dir, "missing", "vendor.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Save into a folder that does not exist: %v", err)
	}

	if err := os.Chmod(ppath, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPlatform(ppath); err == nil || !strings.Contains(err.Error(), "chmod 600 "+ppath) {
		t.Errorf("opened a platform that others can read: %v", err)
	}
	if _, err := OpenPlatform(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := OpenVendor(dir); err == nil {
		t.Error("opened a folder as a vendor")
	}
}

// TestDamagedFiles edits one field of a good file each. No message may quote a value.
func TestDamagedFiles(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	vpath, ppath := filepath.Join(dir, "vendor.json"), filepath.Join(dir, "platform.json")
	if err := errors.Join(w.vendor.Create(vpath), w.platform.Create(ppath)); err != nil {
		t.Fatal(err)
	}
	key := strings.Repeat("ab", 32)
	tests := []struct {
		name, path, field string
		value             any // nil leaves the field out
		want              string
	}{
		{"other key", ppath, "device_key", key, "not the one in the certificate"},
		{"no key", ppath, "device_key", nil, "the device key or the sealing secret is missing"},
		{"no secret", ppath, "seal_secret", nil, "the device key or the sealing secret is missing"},
		{"long secret", ppath, "seal_secret", key + "cd", "wrong form"},
		{"secret not hexadecimal", ppath, "seal_secret", "zz" + key[2:], "wrong form"},
		{"negative version", ppath, "svn", -1, "wrong form"},
		{"other format", ppath, "format", "x", `format "x", want "latchkey-sim-platform/1"`},
		{"vendor's file", vpath, "format", platformFormat, "unknown"},
		{"no collateral", ppath, "collateral", nil, "collateral: decode"},
		{"unknown field", ppath, "colour", "red", "unknown"},
		{"no root key", vpath, "root_key", nil, "the root key is missing"},
		{"no mark", vpath, "name", "Acme", `vendor name "Acme"`},
		{"no verdicts", vpath, "levels", nil, "0 verdicts"},
		{"other format", vpath, "format", "x", `format "x", want "latchkey-sim-vendor/1"`},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			b, err := os.ReadFile(tc.path)
			if err != nil {
				t.Fatal(err)
			}
			var m map[string]any
			if err := json.Unmarshal(b, &m); err != nil {
				t.Fatal(err)
			}
			if m[tc.field] = tc.value; tc.value == nil {
				delete(m, tc.field)
			}
			if b, err = json.Marshal(m); err != nil {
				t.Fatal(err)
			}
			if tc.path == vpath && tc.name != "vendor's file" {
				_, err = parseVendor(b)
			} else {
				_, err = parsePlatform(b)
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), key[2:]) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	b, err := os.ReadFile(ppath)
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string][]byte{
		"empty": nil, "cut": b[:len(b)/2], "followed by something": append(b[:len(b):len(b)], "{}"...), "not JSON": []byte("platform"),
	} {
		if _, err := parsePlatform(in); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestMeasure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("code"), 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := MeasureFile(path)
	if err != nil || got != sha256.Sum256([]byte("code")) {
		t.Errorf("got %x, %v", got, err)
	}
	if _, err := MeasureFile(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing program: %v", err)
	}
	self, err := MeasureSelf()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := MeasureFile(exe); err != nil || again != self || self == [32]byte{} {
		t.Errorf("MeasureSelf %x, its file %x, %v", self, again, err)
	}
}

func FuzzParsePlatform(f *testing.F) {
	w := newWorld(f)
	path := filepath.Join(f.TempDir(), "platform.json")
	if err := w.platform.Create(path); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":"latchkey-sim-vendor/1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parsePlatform(b); err == nil && !strings.Contains(p.String(), Mark) {
			t.Fatalf("%q does not say SIMULATED", p)
		}
		if v, err := parseVendor(b); err == nil && !strings.Contains(v.Name(), Mark) {
			t.Fatalf("%q does not say SIMULATED", v)
		}
	})
}
