package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"latchkey/event/witness/config"
	"latchkey/head"
)

const pemType = "PRIVATE KEY"

// readKey reads an Ed25519 key (PEM, PKCS #8: RFC 8410). It refuses a file that
// others than its owner may open. It wraps fs.ErrNotExist where there is none.
func readKey(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("key file %s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, &hintError{fmt.Errorf("key file %s has mode %04o: others may read or change it", path, mode), "chmod 600 " + path}
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

// writeKey stores a key with mode 0600, whole and synced, or not at all. It
// replaces no file.
func writeKey(path string, key ed25519.PrivateKey) (err error) {
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
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// printKey prints the vkey of the configured key. It needs no data folder, which
// a running witness has locked.
func printKey(w io.Writer, c config.File) error {
	key, err := readKey(c.KeyFile)
	if err != nil {
		return err
	}
	public, err := head.NewWitnessKey(c.Name, key.Public().(ed25519.PublicKey))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, public)
	return err
}
