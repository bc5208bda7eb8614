package devnet

import (
	"path/filepath"

	"latchkey/coin"
	"latchkey/gate"
	"latchkey/market"
	"latchkey/rate"
	"latchkey/switchboard"
)

// assets are those of the two chains, as their connectors describe them.
var assets = []coin.Asset{
	{ID: "btc", Chain: "bip122:regtest", Key: coin.Secp256k1, Address: "p2wpkh", Decimals: 8},
	{ID: "eth", Chain: "eip155:1337", Key: coin.Secp256k1, Address: "eoa", Decimals: 18},
}

// switchboardFile is the switchboard's configuration.
func (w *World) switchboardFile(listen, prices string) switchboard.File {
	return switchboard.File{
		Name: "devnet", Listen: listen, Data: "data", Policy: filepath.Join(w.dir("trust"), "policy.toml"),
		Contracts: []string{filepath.Join(w.cfg.Root, "examples", "swap.latchkey")},
		Escrow:    switchboard.EscrowEntry{URL: w.urls["escrow"], LogKey: w.logKey, Witnesses: w.witnesses, Quorum: 3, Faulty: 1},
		Assets:    assets,
		Rate: rate.Config{
			Policy:  rate.Policy{MinSources: 1, MaxAge: 60, MaxDeviation: 100},
			Sources: []rate.Source{{Name: "demo-file", File: prices}},
		},
		Market: market.DefaultPolicy(), Tables: gate.Tables{Limits: crowd},
	}
}
