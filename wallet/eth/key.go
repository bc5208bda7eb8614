package eth

import (
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"latchkey/coin"
	"latchkey/wallet"
)

// keyFile is the own wallet's private key in the data folder: 64 hexadecimal digits.
const keyFile = "wallet.key"

// openKey returns the own wallet's key, made on the first start with mode 0600.
func openKey(folder string) (*ecdsa.PrivateKey, error) {
	path := filepath.Join(folder, keyFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := crypto.GenerateKey()
		if err != nil {
			return nil, fmt.Errorf("make the wallet's key: %w", err)
		}
		if err := writeNew(path, []byte(hex.EncodeToString(crypto.FromECDSA(key))+"\n")); err != nil {
			return nil, fmt.Errorf("write the wallet's key: %w", err)
		}
		return key, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the wallet's key: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the wallet's key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read the wallet's key: %s has mode %04o, others can read it: want 0600", path, info.Mode().Perm())
	}
	// The texts of the errors below would quote the key.
	scalar, err := hex.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil {
		return nil, fmt.Errorf("read the wallet's key: %s is not 64 hexadecimal digits", path)
	}
	key, err := crypto.ToECDSA(scalar)
	if err != nil {
		return nil, fmt.Errorf("read the wallet's key: %s is not a secp256k1 private key", path)
	}
	return key, nil
}

// writeNew makes path durable with content and mode 0600. After a crash path is
// absent or whole.
func writeNew(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(content); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// addressOf returns the address that a compressed public key controls, or
// wallet.ErrWrongKey if it is not a point of the curve.
func addressOf(key wallet.PublicKey) (common.Address, error) {
	point, err := crypto.DecompressPubkey(key)
	if err != nil {
		return common.Address{}, fmt.Errorf("%w: %x is not a compressed point of secp256k1", wallet.ErrWrongKey, []byte(key))
	}
	return crypto.PubkeyToAddress(*point), nil
}

// signingKey returns the private key of k, or wallet.ErrWrongKey if it is not a
// scalar of the curve or not that of k.Public.
func signingKey(k wallet.SweepKey) (*ecdsa.PrivateKey, error) {
	if err := wallet.CheckPair(coin.Secp256k1, k); err != nil {
		return nil, err
	}
	key, err := crypto.ToECDSA(k.Private[:])
	if err != nil {
		return nil, fmt.Errorf("%w: not a secp256k1 private key", wallet.ErrWrongKey)
	}
	return key, nil
}

// parseAddress reads an address of 0x and 40 hexadecimal digits, or returns
// wallet.ErrInvalid. If its letters are of both cases they must be its checksum
// (ERC-55). The zero address is refused: whatever it gets is lost.
func parseAddress(text string) (common.Address, error) {
	if !strings.HasPrefix(text, "0x") || !common.IsHexAddress(text) {
		return common.Address{}, fmt.Errorf("%w: %.60q is not an address of 0x and 40 hexadecimal digits", wallet.ErrInvalid, text)
	}
	address := common.HexToAddress(text)
	digits := text[2:]
	if digits != strings.ToLower(digits) && digits != strings.ToUpper(digits) && text != address.Hex() {
		return common.Address{}, fmt.Errorf("%w: address %s has a wrong checksum", wallet.ErrInvalid, text)
	}
	if address == (common.Address{}) {
		return common.Address{}, fmt.Errorf("%w: the zero address", wallet.ErrInvalid)
	}
	return address, nil
}
