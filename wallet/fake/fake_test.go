package fake_test

import (
	"context"
	"net/http/httptest"
	"testing"

	"latchkey/coin"
	"latchkey/wallet"
	"latchkey/wallet/fake"
	"latchkey/wallet/wallettest"
)

func configs() map[string]fake.Config {
	asset := coin.Asset{ID: "fbtc", Chain: "fake:1", Key: coin.Secp256k1, Address: "fake", Decimals: 8}
	outputs := fake.Config{Asset: asset, Confirmations: 3, Fee: coin.NewAmount(100), Dust: coin.NewAmount(50)}
	accounts := outputs
	accounts.Accounts, accounts.Asset.ID, accounts.Confirmations = true, "feth", 1
	edwards := outputs
	edwards.Asset.Key, edwards.Asset.ID = coin.Ed25519, "fxmr"
	return map[string]fake.Config{"outputs": outputs, "accounts": accounts, "ed25519": edwards}
}

// harness is the kit's, on a fake chain; remote puts the RPC in between.
func harness(t *testing.T, cfg fake.Config, remote bool) *wallettest.Harness {
	chain, err := fake.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, rival := chain.Wallet("alice"), chain.Wallet("rival")
	for range 20 {
		chain.Mint(w.Own(), coin.NewAmount(100_000_000))
	}
	chain.Mine(5)
	h := &wallettest.Harness{
		Asset: cfg.Asset, Amount: coin.NewAmount(50_000),
		Mine:     func(_ testing.TB, n int) { chain.Mine(n) },
		NodeDown: func(testing.TB) { chain.SetDown(true) },
		NodeUp:   func(testing.TB) { chain.SetDown(false) },
		Reorg:    func(testing.TB) { chain.Reorg(1); chain.MineEmpty(2) },
		Rival:    rival,
	}
	serve := func() {
		h.Wallet = w
		if remote {
			s := httptest.NewServer(wallet.Handler(w))
			t.Cleanup(s.Close)
			h.Wallet = wallet.NewClient(s.URL, s.Client())
		}
	}
	h.Restart = func(testing.TB) { w = w.Restart(); serve() }
	serve()
	return h
}

func TestConformance(t *testing.T) {
	for name, cfg := range configs() {
		t.Run(name, func(t *testing.T) { wallettest.Run(t, harness(t, cfg, false)) })
		t.Run(name+" over RPC", func(t *testing.T) { wallettest.Run(t, harness(t, cfg, true)) })
	}
}

// deal is one chunk on a fresh chain, of which two wallets have the key.
type deal struct {
	chain      *fake.Chain
	asset      coin.Asset
	alice, bob *fake.Wallet
	key        wallet.SweepKey
	fund       wallet.FundRequest
}

var fee, amount = coin.NewAmount(1000), coin.NewAmount(50_000)

func newDeal(t *testing.T) deal {
	t.Helper()
	cfg := configs()["outputs"]
	chain, err := fake.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d := deal{chain: chain, asset: cfg.Asset, alice: chain.Wallet("alice"), bob: chain.Wallet("bob"), key: wallettest.Key(t, coin.Secp256k1)}
	chain.Mint(d.alice.Own(), coin.NewAmount(1_000_000))
	chain.Mine(1)
	to, err := d.alice.Addresses(t.Context(), d.asset, []wallet.PublicKey{d.key.Public})
	if err != nil {
		t.Fatal(err)
	}
	d.fund = wallet.FundRequest{Asset: d.asset, ID: "f", Payments: []wallet.Payment{{Address: to[0], Amount: amount}}, MaxFee: fee}
	return d
}

func (d deal) deposit(t *testing.T, w wallet.Wallet) wallet.Deposit {
	t.Helper()
	got, err := w.Deposits(t.Context(), wallet.DepositsRequest{Asset: d.asset, Queries: []wallet.DepositQuery{{Key: d.key.Public, Want: amount}}})
	if err != nil {
		t.Fatal(err)
	}
	return got.Deposits[0]
}

func (d deal) sweep(id string) wallet.SweepRequest {
	return wallet.SweepRequest{Asset: d.asset, ID: id, Keys: []wallet.SweepKey{d.key}, MaxFee: fee}
}

// A crash between storing and broadcasting: the next process offers it again.
func TestCrashBeforeBroadcast(t *testing.T) {
	d := newDeal(t)
	d.alice.FailBroadcasts(1)
	if _, err := d.alice.Fund(t.Context(), d.fund); err == nil {
		t.Fatal("got no error of the failing broadcast")
	}
	if got := d.deposit(t, d.bob); got.FundingTx != "" {
		t.Fatalf("got %+v on chain before the restart", got)
	}
	w := d.alice.Restart()
	if _, err := w.Balance(t.Context(), d.asset); err != nil {
		t.Fatal(err)
	}
	if got := d.deposit(t, d.bob); got.Pending != amount {
		t.Errorf("got %+v after the restart, want %s pending", got, amount)
	}
}

// A sweep that a reorganisation undid can lose to a rival's; both wallets and
// the loser's transaction tell the same.
func TestReorganisationLetsRivalWin(t *testing.T) {
	d := newDeal(t)
	if _, err := d.alice.Fund(t.Context(), d.fund); err != nil {
		t.Fatal(err)
	}
	d.chain.Mine(3)
	a, err := d.alice.Sweep(t.Context(), d.sweep("s"))
	if err != nil || a.Keys[0].Err != nil {
		t.Fatalf("%v, %+v", err, a)
	}
	d.chain.Mine(1)
	d.chain.Reorg(1, a.Keys[0].Tx)
	b, err := d.bob.Sweep(t.Context(), d.sweep("s"))
	if err != nil || b.Keys[0].Err != nil {
		t.Fatalf("%v, %+v", err, b)
	}
	d.chain.Mine(2)
	got, err := d.alice.Transaction(t.Context(), d.asset, a.Keys[0].Tx)
	if want := (wallet.TxStatus{State: wallet.TxConflicted, Conflict: b.Keys[0].Tx}); err != nil || got != want {
		t.Errorf("loser's sweep: got %+v, %v, want %+v", got, err, want)
	}
	if got := d.deposit(t, d.alice); !got.Spent || got.SpendingTx != b.Keys[0].Tx || got.SpentDepth != 2 {
		t.Errorf("deposit: got %+v, want spent by %s", got, b.Keys[0].Tx)
	}
}

func TestLying(t *testing.T) {
	d := newDeal(t)
	if err := d.deposit(t, d.alice).Check(amount); err == nil {
		t.Error("honest wallet: got no error for a deposit that was never made")
	}
	if err := d.deposit(t, d.alice.Lying()).Check(amount); err != nil {
		t.Errorf("lying wallet: %v", err)
	}
}

// Equal calls give equal chains: the simulation depends on it.
func TestDeterministic(t *testing.T) {
	run := func() wallet.TxID {
		chain, err := fake.New(configs()["outputs"])
		if err != nil {
			t.Fatal(err)
		}
		w := chain.Wallet("alice")
		chain.Mint(w.Own(), coin.NewAmount(1_000_000))
		chain.Mine(1)
		f, err := w.Fund(context.Background(), wallet.FundRequest{
			Asset: configs()["outputs"].Asset, ID: "x", MaxFee: fee,
			Payments: []wallet.Payment{{Address: chain.Wallet("bob").Own(), Amount: amount}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return f.Txs[0].ID
	}
	if a, b := run(), run(); a != b {
		t.Errorf("got transactions %s and %s of equal runs", a, b)
	}
}
