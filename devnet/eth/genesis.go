package eth

import (
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/params"
)

// Files of the data folder, beside go-ethereum's own.
const (
	genesisFile = "genesis.json"
	faucetFile  = "faucet.key"
)

// openGenesis returns the genesis in the data folder and checks that cfg agrees
// with it. On the first start it makes one from cfg and writes it.
func openGenesis(cfg Config, faucet common.Address) (*core.Genesis, error) {
	path := filepath.Join(cfg.Data, genesisFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		genesis := newGenesis(cfg, faucet)
		raw, err := json.MarshalIndent(genesis, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("encode the genesis: %w", err)
		}
		if err := writeFile(path, raw); err != nil {
			return nil, fmt.Errorf("write the genesis: %w", err)
		}
		return genesis, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the genesis: %w", err)
	}
	genesis := new(core.Genesis)
	if err := json.Unmarshal(raw, genesis); err != nil {
		return nil, fmt.Errorf("read the genesis %s: %w", path, err)
	}
	if genesis.Config == nil || genesis.Config.ChainID == nil {
		return nil, fmt.Errorf("read the genesis %s: it names no chain id", path)
	}
	if want := new(big.Int).SetUint64(cfg.ChainID); genesis.Config.ChainID.Cmp(want) != 0 {
		return nil, fmt.Errorf("data folder %s holds chain %v, not chain %v", cfg.Data, genesis.Config.ChainID, want)
	}
	for address, amount := range cfg.Fund {
		if have, ok := genesis.Alloc[address]; !ok || have.Balance.Cmp(amount) != 0 {
			return nil, fmt.Errorf("data folder %s holds a chain whose genesis does not give %v wei to %v; fund it from the faucet instead", cfg.Data, amount, address)
		}
	}
	return genesis, nil
}

// newGenesis returns the first block of a chain on which every released fork is
// active. The configuration that go-ethereum 1.17.10 means for development also
// switches on forks that are not released, which change gas costs.
func newGenesis(cfg Config, faucet common.Address) *core.Genesis {
	config := *params.AllDevChainProtocolChanges
	config.ChainID = new(big.Int).SetUint64(cfg.ChainID)
	config.AmsterdamTime, config.BogotaTime = nil, nil
	alloc := core.SystemContractAllocs()
	// 2^100 wei: about 1.27e12 ETH, below the 2^128 that amounts can hold.
	alloc[faucet] = types.Account{Balance: new(big.Int).Lsh(big.NewInt(1), 100)}
	for address, amount := range cfg.Fund {
		alloc[address] = types.Account{Balance: new(big.Int).Set(amount)}
	}
	return &core.Genesis{
		Config:     &config,
		GasLimit:   ethconfig.Defaults.Miner.GasCeil,
		BaseFee:    big.NewInt(params.InitialBaseFee),
		Difficulty: new(big.Int),
		Alloc:      alloc,
	}
}

// openFaucetKey returns the faucet's key, made on the first start.
func openFaucetKey(data string) (*ecdsa.PrivateKey, error) {
	path := filepath.Join(data, faucetFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := crypto.GenerateKey()
		if err != nil {
			return nil, fmt.Errorf("make the faucet key: %w", err)
		}
		if err := writeFile(path, []byte(hex.EncodeToString(crypto.FromECDSA(key)))); err != nil {
			return nil, fmt.Errorf("write the faucet key: %w", err)
		}
		return key, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the faucet key: %w", err)
	}
	scalar, err := hex.DecodeString(string(raw))
	if err != nil {
		// The text of the error would quote the key.
		return nil, fmt.Errorf("read the faucet key %s: it is not hexadecimal", path)
	}
	key, err := crypto.ToECDSA(scalar)
	if err != nil {
		return nil, fmt.Errorf("read the faucet key %s: it is not a secp256k1 private key", path)
	}
	return key, nil
}

// writeFile makes path durable with content, readable by its owner only. After a
// crash path is absent or whole.
func writeFile(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(content); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Sync(); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
