package fake_test

import (
	"context"
	"fmt"

	"latchkey/coin"
	"latchkey/wallet"
	"latchkey/wallet/fake"
)

// A key is funded by one wallet and swept, with the private key, by another.
func Example() {
	asset := coin.Asset{ID: "btc", Chain: "fake:1", Key: coin.Secp256k1, Address: "fake", Decimals: 8}
	chain, err := fake.New(fake.Config{Asset: asset, Confirmations: 2, Fee: coin.NewAmount(100), Dust: coin.NewAmount(50)})
	if err != nil {
		panic(err)
	}
	alice, bob := chain.Wallet("alice"), chain.Wallet("bob")
	chain.Mint(alice.Own(), coin.NewAmount(1_000_000))
	chain.Mine(1)

	ctx, private := context.Background(), wallet.PrivateKey{31: 7}
	public, err := wallet.PublicOf(asset.Key, private)
	if err != nil {
		panic(err)
	}
	to, err := alice.Addresses(ctx, asset, []wallet.PublicKey{public})
	if err != nil {
		panic(err)
	}
	amount, fee := coin.NewAmount(50_000), coin.NewAmount(100)
	_, err = alice.Fund(ctx, wallet.FundRequest{
		Asset: asset, ID: "deposit-1", MaxFee: fee, Payments: []wallet.Payment{{Address: to[0], Amount: amount}},
	})
	if err != nil {
		panic(err)
	}
	for range 3 {
		d, err := bob.Deposits(ctx, wallet.DepositsRequest{Asset: asset, Queries: []wallet.DepositQuery{{Key: public, Want: amount}}})
		if err != nil {
			panic(err)
		}
		fmt.Println(d.Deposits[0].Depth, d.Deposits[0].Check(amount) == nil)
		chain.Mine(1)
	}
	swept, err := bob.Sweep(ctx, wallet.SweepRequest{Asset: asset, ID: "claim-1", MaxFee: fee, Keys: []wallet.SweepKey{{Private: private, Public: public}}})
	if err != nil {
		panic(err)
	}
	chain.Mine(1)
	b, err := bob.Balance(ctx, asset)
	if err != nil {
		panic(err)
	}
	fmt.Println(asset.Format(swept.Keys[0].Amount), "swept,", asset.Format(b.Confirmed), "arrived")
	// Output:
	// 0 false
	// 1 false
	// 2 true
	// 0.0005 btc swept, 0.000499 btc arrived
}
