package keyfile_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/keyfile"
)

func TestKeyFile(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	path := filepath.Join(t.TempDir(), "key.pem")
	if _, err := keyfile.Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := keyfile.Write(path, key); err != nil {
		t.Fatal(err)
	}
	if got, err := keyfile.Read(path); err != nil || !got.Equal(key) {
		t.Errorf("what was written is not what is read: %v", err)
	}
	other := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	if err := keyfile.Write(path, other); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	if got, err := keyfile.Read(path); err != nil || !got.Equal(key) {
		t.Errorf("a refused write changed the file: %v", err)
	}
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) != 1 {
		t.Errorf("%d files are left, %v, want the key alone", len(list), err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := keyfile.Read(path); !errors.Is(err, keyfile.ErrMode) {
		t.Errorf("mode 0640: %v", err)
	}
}

// Whatever a file holds, its content is in no error.
func TestReadRefuses(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	good := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"nothing":          {nil, "is not one PEM block"},
		"text":             {[]byte("hunter2"), "is not one PEM block"},
		"two blocks":       {append(bytes.Clone(good), good...), "is not one PEM block"},
		"another type":     {pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), "is not one PEM block"},
		"half of a key":    {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der[:20]}), "is no PKCS #8 key"},
		"a secret instead": {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("hunter2")}), "is no PKCS #8 key"},
	} {
		path := filepath.Join(t.TempDir(), "key.pem")
		if err := os.WriteFile(path, c.raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := keyfile.Read(path); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := keyfile.Read(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
}
