package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"

	"latchkey/event/witness/config"
	"latchkey/head"
	"latchkey/keyfile"
)

// readKey reads the witness's key, and says how a key that others may open is
// mended. It wraps fs.ErrNotExist where there is none.
func readKey(path string) (ed25519.PrivateKey, error) {
	key, err := keyfile.Read(path)
	if errors.Is(err, keyfile.ErrMode) {
		return nil, &hintError{err, "chmod 600 " + path}
	}
	return key, err
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
