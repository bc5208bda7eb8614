package btc_test

import (
	"fmt"
	"testing"
	"time"

	"latchkey/coin"
	"latchkey/wallet"
	"latchkey/wallet/wallettest"
)

// BenchmarkThousand funds, watches and sweeps a thousand chunks over real
// processes.
//
//	go test -run '^$' -bench Thousand -benchtime 1x ./wallet/btc
func BenchmarkThousand(b *testing.B) {
	n := newNet(b)
	alice := n.connect(b, "alice")
	n.order(b, "fund", map[string]any{"to": alice.ready.Address, "amount": "50"})
	n.mine(b, 1)
	timed := func(what string, f func() error) {
		b.Helper()
		start := time.Now()
		if err := f(); err != nil {
			b.Fatalf("%s: %v", what, err)
		}
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000/float64(b.N), "ms/"+what)
	}
	for range b.N {
		fund := wallet.FundRequest{Asset: asset, ID: fmt.Sprintf("f-%d", time.Now().UnixNano()), MaxFee: coin.NewAmount(10_000_000)}
		watch := wallet.DepositsRequest{Asset: asset}
		sweep := wallet.SweepRequest{Asset: asset, ID: fund.ID, MaxFee: fund.MaxFee}
		var keys []wallet.PublicKey
		for range wallet.MaxItems {
			k := wallettest.Key(b, coin.Secp256k1)
			keys = append(keys, k.Public)
			watch.Queries = append(watch.Queries, wallet.DepositQuery{Key: k.Public})
			sweep.Keys = append(sweep.Keys, k)
		}
		addresses, err := alice.Addresses(b.Context(), asset, keys)
		if err != nil {
			b.Fatal(err)
		}
		for _, a := range addresses {
			fund.Payments = append(fund.Payments, wallet.Payment{Address: a, Amount: coin.NewAmount(100_000)})
		}
		look := func() error { _, err := alice.Deposits(b.Context(), watch); return err }
		timed("look-new", look)
		timed("fund", func() error { _, err := alice.Fund(b.Context(), fund); return err })
		n.mine(b, 3)
		timed("look-mined", look)
		timed("look-again", look)
		time.Sleep(6 * time.Second) // it saves what it knows now and then
		alice.restart(b)
		timed("look-restarted", look)
		timed("sweep", func() error { _, err := alice.Sweep(b.Context(), sweep); return err })
		n.mine(b, 1)
		timed("look-swept", look)
		time.Sleep(6 * time.Second) // it saves what it knows now and then
		alice.restart(b)
		timed("look-swept-restarted", look)
	}
}
