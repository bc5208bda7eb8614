// Package wallettest says whether a wallet.Wallet is one. A connector's tests
// call Run with a wallet over a chain that they control; the fake passes the
// same kit as connectors with real nodes.
package wallettest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/coin"
	"latchkey/wallet"
)

// A Harness is a chain under control with two wallets on it. Nobody else uses
// the chain, and no block appears unless Mine says so.
type Harness struct {
	Asset  coin.Asset
	Amount coin.Amount // a comfortable deposit, at least ten times the fee of a payment

	// Wallet is under test. It holds at least 500 times Amount, confirmed, and
	// the fees of it all. Best it is a client of a real process.
	Wallet wallet.Wallet

	// Rival is another wallet, of another holder of a key, on the same chain. It
	// needs what fees its sweeps cost, and nothing else.
	Rival wallet.Wallet

	// Mine adds n blocks; the first takes all that is pending.
	Mine func(t testing.TB, n int)

	// Restart kills the process of Wallet without warning and starts it again on
	// the same data. It may replace Wallet. What it starts outlives t, which is of
	// one part of the kit. Nil skips what needs it.
	Restart func(t testing.TB)

	// NodeDown stops the chain's node without warning, NodeUp starts it again on
	// the same data. Nil skips what needs them.
	NodeDown, NodeUp func(t testing.TB)

	// Reorg replaces the best block by two empty ones; what it held is pending
	// again, if the wallets offer it again. Nil skips what needs it.
	Reorg func(t testing.TB)
}

// Run runs the whole kit, in order, on one harness.
func Run(t *testing.T, h *Harness) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, *Harness)
	}{
		{"Describe", testDescribe},
		{"Addresses", testAddresses},
		{"WrongAsset", testWrongAsset},
		{"Lifecycle", testLifecycle},
		{"Many", testMany},
		{"FundOnce", testFundOnce},
		{"FundRefuses", testFundRefuses},
		{"FundAtOnce", testFundAtOnce},
		{"SweepOnce", testSweepOnce},
		{"SweepRefuses", testSweepRefuses},
		{"SweepElsewhere", testSweepElsewhere},
		{"Limits", testLimits},
		{"DoubleSpend", testDoubleSpend},
		{"Transaction", testTransaction},
		{"Fee", testFee},
		{"Reorg", testReorg},
		{"RestartMidFund", testRestartMidFund},
		{"RestartMidSweep", testRestartMidSweep},
		{"NodeDown", testNodeDown},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, h) })
	}
}

// Key returns a fresh pair of keys.
func Key(t testing.TB, kind coin.KeyType) wallet.SweepKey {
	t.Helper()
	for range 100 {
		var d wallet.PrivateKey
		if _, err := rand.Read(d[:]); err != nil {
			t.Fatal(err)
		}
		if kind == coin.Ed25519 {
			d[31] &= 0x0f // below the group order
		}
		if p, err := wallet.PublicOf(kind, d); err == nil {
			return wallet.SweepKey{Private: d, Public: p}
		}
	}
	t.Fatal("no key in 100 tries")
	return wallet.SweepKey{}
}

func keys(t testing.TB, h *Harness, n int) []wallet.SweepKey {
	t.Helper()
	out := make([]wallet.SweepKey, n)
	for i := range out {
		out[i] = Key(t, h.Asset.Key)
	}
	return out
}

// freshID returns an idempotency key that was never used on this chain, which
// may be kept between runs.
func freshID(t testing.TB) string {
	t.Helper()
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	return "kit-" + hex.EncodeToString(b[:])
}

func ctx(t testing.TB) context.Context {
	c, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return c
}

func info(t testing.TB, h *Harness) wallet.AssetInfo {
	t.Helper()
	d, err := h.Wallet.Describe(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	i, err := d.Info(h.Asset)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func public(ks []wallet.SweepKey) []wallet.PublicKey {
	var out []wallet.PublicKey
	for _, k := range ks {
		out = append(out, k.Public)
	}
	return out
}

func addresses(t testing.TB, h *Harness, ks []wallet.SweepKey) []string {
	t.Helper()
	out, err := h.Wallet.Addresses(ctx(t), h.Asset, public(ks))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// payTo is a request that pays amount to each key.
func payTo(t testing.TB, h *Harness, ks []wallet.SweepKey, amount coin.Amount) wallet.FundRequest {
	t.Helper()
	r := wallet.FundRequest{Asset: h.Asset, ID: freshID(t), MaxFee: maxFee(t, h, len(ks), 0)}
	for _, a := range addresses(t, h, ks) {
		r.Payments = append(r.Payments, wallet.Payment{Address: a, Amount: amount})
	}
	return r
}

// maxFee is twice the estimate.
func maxFee(t testing.TB, h *Harness, fund, sweep int) coin.Amount {
	t.Helper()
	f, err := h.Wallet.Fee(ctx(t), h.Asset, fund, sweep)
	if err != nil {
		t.Fatal(err)
	}
	return times(t, plus(t, f.Fund, f.Sweep), 2)
}

func sweepOf(t testing.TB, h *Harness, ks ...wallet.SweepKey) wallet.SweepRequest {
	t.Helper()
	return wallet.SweepRequest{Asset: h.Asset, ID: freshID(t), Keys: ks, MaxFee: maxFee(t, h, 0, len(ks))}
}

// funded returns keys that hold h.Amount each, confirmed by default.
func funded(t testing.TB, h *Harness, n int) []wallet.SweepKey {
	t.Helper()
	ks := keys(t, h, n)
	if _, err := h.Wallet.Fund(ctx(t), payTo(t, h, ks, h.Amount)); err != nil {
		t.Fatal(err)
	}
	h.Mine(t, int(info(t, h).Confirmations))
	for i, d := range deposits(t, h, ks) {
		if err := d.Check(h.Amount); err != nil {
			t.Fatalf("deposit %d after mining: %v", i, err)
		}
	}
	return ks
}

func deposits(t testing.TB, h *Harness, ks []wallet.SweepKey) []wallet.Deposit {
	t.Helper()
	r := wallet.DepositsRequest{Asset: h.Asset}
	for _, k := range ks {
		r.Queries = append(r.Queries, wallet.DepositQuery{Key: k.Public, Want: h.Amount})
	}
	out, err := h.Wallet.Deposits(ctx(t), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Deposits) != len(ks) {
		t.Fatalf("got %d deposits, want %d", len(out.Deposits), len(ks))
	}
	return out.Deposits
}

func deposit(t testing.TB, h *Harness, k wallet.SweepKey) wallet.Deposit {
	t.Helper()
	return deposits(t, h, []wallet.SweepKey{k})[0]
}

func balance(t testing.TB, w wallet.Wallet, asset coin.Asset) wallet.Balance {
	t.Helper()
	b, err := w.Balance(ctx(t), asset)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func status(t testing.TB, h *Harness, id wallet.TxID) wallet.TxStatus {
	t.Helper()
	s, err := h.Wallet.Transaction(ctx(t), h.Asset, id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantErr fails unless err wraps want and shows none of the private keys.
func wantErr(t testing.TB, what string, err, want error, ks ...wallet.SweepKey) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want one that is %q", what, err, want)
		return
	}
	text := strings.ToLower(fmt.Sprintf("%v %+v", err, err))
	for _, k := range ks {
		if d := [32]byte(k.Private); strings.Contains(text, hex.EncodeToString(d[:])) || strings.Contains(text, string(d[:])) {
			t.Errorf("%s: the error shows a private key", what)
		}
	}
}

// eventually tries until f returns nil, for at most 20 seconds. It is for what
// a connector does by itself after a restart.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b coin.Amount) bool { return a == b })); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func plus(t testing.TB, a, b coin.Amount) coin.Amount {
	t.Helper()
	v, err := a.Plus(b)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func minus(t testing.TB, a, b coin.Amount) coin.Amount {
	t.Helper()
	v, err := a.Minus(b)
	if err != nil {
		t.Fatalf("%s - %s: %v", a, b, err)
	}
	return v
}

func times(t testing.TB, a coin.Amount, n uint64) coin.Amount {
	t.Helper()
	v, err := a.Times(n)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
