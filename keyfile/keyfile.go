// Package keyfile keeps an Ed25519 private key in a file of its own: PEM, PKCS #8 (RFC 8410), mode 0600. Witnesses and
// oracles sign with such keys. Whoever can read the file signs in their name; no error quotes its content.
package keyfile

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const pemType = "PRIVATE KEY"

// ErrMode is wrapped by Read where others than its owner may open the file.
var ErrMode = errors.New("others may read or change it")

// Read reads a key. It refuses a file that others than its owner may open, and wraps fs.ErrNotExist where there is
// none.
func Read(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("key file %s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("key file %s has mode %04o: %w", path, mode, ErrMode)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	// The errors below do not wrap their causes, which may quote the content.
	block, rest := pem.Decode(raw)
	if block == nil || block.Type != pemType || len(rest) != 0 {
		return nil, fmt.Errorf("key file %s is not one PEM block of type %q", path, pemType)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key file %s is no PKCS #8 key", path)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("key file %s has a key of type %T, want Ed25519", path, parsed)
	}
	return key, nil
}

// Write stores a key, whole and synced with its folder, or not at all. The folder exists. It replaces no file.
func Write(path string, key ed25519.PrivateKey) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write key file %s: %w", path, err)
		}
	}()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // fails where there is a file
		return err
	}
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
