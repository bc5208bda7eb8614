package wallettest

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"latchkey/coin"
	"latchkey/wallet"
)

func testDescribe(t *testing.T, h *Harness) {
	d, err := h.Wallet.Describe(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	if d.Name == "" || d.Version == "" {
		t.Errorf("got name %q version %q, want both", d.Name, d.Version)
	}
	i := info(t, h)
	if err := i.Asset.Check(); err != nil {
		t.Error(err)
	}
	if i.Confirmations == 0 || i.MaxOutputs == 0 || i.MaxKeys == 0 || i.MinAmount.IsZero() {
		t.Errorf("got %+v, want confirmations, outputs, keys and smallest amount of at least 1", i)
	}
	if err := i.FeeAsset.Check(); err != nil {
		t.Errorf("fee asset: %v", err)
	}
	if !d.Node.Reachable || d.Node.Syncing || d.Node.Problem != "" {
		t.Errorf("got node %+v, want a healthy one", d.Node)
	}
	if err := d.Follows(time.Now(), 0); err != nil {
		t.Errorf("a client would believe nothing of it: %v", err)
	}
	h.Mine(t, 1)
	after, err := h.Wallet.Describe(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := after.Node.Height, d.Node.Height+1; got != want {
		t.Errorf("height after a block: got %d, want %d", got, want)
	}
}

func testAddresses(t *testing.T, h *Harness) {
	ks := keys(t, h, 50)
	got := addresses(t, h, ks)
	seen := make(map[string]bool)
	for i, a := range got {
		if a == "" || seen[a] {
			t.Fatalf("address %d: got %q, want a new one", i, a)
		}
		seen[a] = true
	}
	same(t, "the same keys again", addresses(t, h, ks), got)
	rival, err := h.Rival.Addresses(ctx(t), h.Asset, public(ks))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the same keys at another wallet", rival, got)

	good := ks[0].Public
	for name, c := range map[string]struct {
		key  wallet.PublicKey
		want error
	}{
		"empty":          {nil, wallet.ErrInvalid},
		"truncated":      {good[:len(good)-1], wallet.ErrInvalid},
		"too long":       {append(bytes.Clone(good), 0), wallet.ErrInvalid},
		"off the curve":  {offCurve(h.Asset.Key), wallet.ErrWrongKey},
		"all ones":       {bytes.Repeat([]byte{0xff}, len(good)), wallet.ErrWrongKey},
		"small order":    {smallOrder(h.Asset.Key), wallet.ErrWrongKey},
		"wrong encoding": {append([]byte{5}, bytes.Repeat([]byte{0}, len(good)-1)...), wallet.ErrWrongKey},
	} {
		_, err := h.Wallet.Addresses(ctx(t), h.Asset, []wallet.PublicKey{good, c.key})
		wantErr(t, "address of a key that is "+name, err, c.want)
		_, err = h.Wallet.Deposits(ctx(t), wallet.DepositsRequest{Asset: h.Asset, Queries: []wallet.DepositQuery{{Key: c.key}}})
		wantErr(t, "deposit of a key that is "+name, err, c.want)
	}
	_, err = h.Wallet.Addresses(ctx(t), h.Asset, nil)
	wantErr(t, "no keys", err, wallet.ErrInvalid)
	_, err = h.Wallet.Addresses(ctx(t), h.Asset, make([]wallet.PublicKey, wallet.MaxItems+1))
	wantErr(t, "too many keys", err, wallet.ErrInvalid)
}

// offCurve is a key of the right length whose x (or y) is of no point.
func offCurve(t coin.KeyType) wallet.PublicKey {
	if t == coin.Secp256k1 {
		return append([]byte{2}, append(bytes.Repeat([]byte{0}, 31), 5)...) // 5³ + 7 is no square
	}
	k := make([]byte, 32)
	k[0] = 2 // (y² − 1)/(dy² + 1) is no square
	return k
}

// smallOrder is the identity of ed25519; secp256k1 has no such point, so there
// it is a point at x = 0, which does not exist either.
func smallOrder(t coin.KeyType) wallet.PublicKey {
	if t == coin.Secp256k1 {
		return append([]byte{2}, bytes.Repeat([]byte{0}, 32)...)
	}
	return append([]byte{1}, bytes.Repeat([]byte{0}, 31)...)
}

func testWrongAsset(t *testing.T, h *Harness) {
	k := Key(t, h.Asset.Key)
	to := addresses(t, h, []wallet.SweepKey{k})[0]
	for name, change := range map[string]func(*coin.Asset){
		"unknown id":     func(a *coin.Asset) { a.ID = "doge" },
		"another chain":  func(a *coin.Asset) { a.Chain = "other:1" },
		"another form":   func(a *coin.Asset) { a.Address = "p2other" },
		"other decimals": func(a *coin.Asset) { a.Decimals++ },
	} {
		a := h.Asset
		change(&a)
		everyMethod(t, name, h.Wallet, a, k, to, wallet.ErrUnknownAsset)
	}
	for name, change := range map[string]func(*coin.Asset){
		"no id":         func(a *coin.Asset) { a.ID = "" },
		"malformed id":  func(a *coin.Asset) { a.ID = "BTC\n" },
		"no key type":   func(a *coin.Asset) { a.Key = 0 },
		"decimals 99":   func(a *coin.Asset) { a.Decimals = 99 },
		"no chain":      func(a *coin.Asset) { a.Chain = "" },
		"malformed for": func(a *coin.Asset) { a.Address = " " },
	} {
		a := h.Asset
		change(&a)
		// Malformed in itself, or simply not served: either may be said.
		_, err := h.Wallet.Balance(ctx(t), a)
		if !errors.Is(err, wallet.ErrInvalid) && !errors.Is(err, wallet.ErrUnknownAsset) {
			t.Errorf("%s: got %v, want ErrInvalid or ErrUnknownAsset", name, err)
		}
	}
}

// everyMethod calls all that take an asset and wants the same error of each.
func everyMethod(t testing.TB, what string, w wallet.Wallet, a coin.Asset, k wallet.SweepKey, to string, want error) {
	t.Helper()
	if want != wallet.ErrUnreachable { // addresses need no node
		_, err := w.Addresses(ctx(t), a, []wallet.PublicKey{k.Public})
		wantErr(t, what+": addresses", err, want)
	}
	_, err := w.Deposits(ctx(t), wallet.DepositsRequest{Asset: a, Queries: []wallet.DepositQuery{{Key: k.Public}}})
	wantErr(t, what+": deposits", err, want)
	one := coin.NewAmount(1_000_000)
	_, err = w.Fund(ctx(t), wallet.FundRequest{Asset: a, ID: freshID(t), Payments: []wallet.Payment{{Address: to, Amount: one}}, MaxFee: one})
	wantErr(t, what+": fund", err, want)
	_, err = w.Sweep(ctx(t), wallet.SweepRequest{Asset: a, ID: freshID(t), Keys: []wallet.SweepKey{k}, MaxFee: one})
	wantErr(t, what+": sweep", err, want, k)
	_, err = w.Fee(ctx(t), a, 1, 1)
	wantErr(t, what+": fee", err, want)
	_, err = w.Balance(ctx(t), a)
	wantErr(t, what+": balance", err, want)
}

// testLifecycle follows one deposit from nothing to swept.
func testLifecycle(t *testing.T, h *Harness) {
	conf := info(t, h).Confirmations
	k := Key(t, h.Asset.Key)
	before := balance(t, h.Wallet, h.Asset)

	d := deposit(t, h, k)
	same(t, "untouched", d, wallet.Deposit{Address: addresses(t, h, []wallet.SweepKey{k})[0]})
	wantErr(t, "untouched", d.Check(h.Amount), wallet.ErrNotFunded)

	f, err := h.Wallet.Fund(ctx(t), payTo(t, h, []wallet.SweepKey{k}, h.Amount))
	if err != nil {
		t.Fatal(err)
	}
	d = deposit(t, h, k)
	wantErr(t, "before a block", d.Check(h.Amount), wallet.ErrNotConfirmed)
	if d.Pending != h.Amount || !d.Confirmed.IsZero() || d.Depth != 0 {
		t.Errorf("before a block: got %+v, want %s pending", d, h.Amount)
	}
	if d.FundingTx != "" && d.FundingTx != f.Txs[0].ID {
		t.Errorf("got funding transaction %s, want %s", d.FundingTx, f.Txs[0].ID)
	}
	same(t, "status before a block", status(t, h, f.Txs[0].ID), wallet.TxStatus{State: wallet.TxPending})

	for n := uint32(1); n <= conf; n++ {
		h.Mine(t, 1)
		d = deposit(t, h, k)
		if d.Depth != n {
			t.Errorf("after %d blocks: got depth %d", n, d.Depth)
		}
		if n < conf {
			wantErr(t, "too few blocks", d.Check(h.Amount), wallet.ErrNotConfirmed)
		}
	}
	if err := d.Check(h.Amount); err != nil {
		t.Errorf("after %d blocks: %v", conf, err)
	}
	wantErr(t, "want more than there is", d.Check(plus(t, h.Amount, coin.NewAmount(1))), wallet.ErrNotFunded)
	deeper := wallet.DepositsRequest{Asset: h.Asset, Confirmations: conf + 1, Queries: []wallet.DepositQuery{{Key: k.Public}}}
	deep, err := h.Wallet.Deposits(ctx(t), deeper)
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "asked for more confirmations", deep.Deposits[0].Check(h.Amount), wallet.ErrNotConfirmed)

	r := sweepOf(t, h, k)
	s, err := h.Wallet.Sweep(ctx(t), r)
	if err != nil {
		t.Fatal(err)
	}
	if s.Keys[0].Err != nil || s.Keys[0].Amount != h.Amount {
		t.Fatalf("sweep: got %+v, want %s", s.Keys[0], h.Amount)
	}
	i := info(t, h)
	d = deposit(t, h, k)
	if !i.HidesSpends && (!d.Spent || d.SpentDepth != 0) {
		t.Errorf("after a sweep, before a block: got %+v, want spent at depth 0", d)
	}
	h.Mine(t, 1)
	d = deposit(t, h, k)
	if !i.HidesSpends {
		wantErr(t, "after a sweep", d.Check(h.Amount), wallet.ErrSpent)
		if d.SpentDepth != 1 || d.SpendingTx != "" && d.SpendingTx != s.Keys[0].Tx {
			t.Errorf("after a sweep: got %+v, want spent by %s at depth 1", d, s.Keys[0].Tx)
		}
	}
	same(t, "status after a block", status(t, h, s.Keys[0].Tx), wallet.TxStatus{State: wallet.TxConfirmed, Confirmations: 1})
	checkSpentOnFees(t, h, before, plus(t, fees(t, f.Txs), fees(t, s.Txs)))
}

func fees(t testing.TB, txs []wallet.Tx) coin.Amount {
	t.Helper()
	var sum coin.Amount
	for _, x := range txs {
		sum = plus(t, sum, x.Fee)
	}
	return sum
}

// checkSpentOnFees fails unless the own balance fell by at most fee since
// before, or not at all if fees are paid in another asset.
func checkSpentOnFees(t testing.TB, h *Harness, before wallet.Balance, fee coin.Amount) {
	t.Helper()
	after := balance(t, h.Wallet, h.Asset)
	if !after.Pending.IsZero() {
		t.Errorf("got %s pending, want nothing", after.Pending)
	}
	if info(t, h).FeeAsset != h.Asset.ID {
		fee = coin.Amount{}
	}
	least := minus(t, before.Confirmed, fee)
	if after.Confirmed.Cmp(least) < 0 || after.Confirmed.Cmp(before.Confirmed) > 0 {
		t.Errorf("balance %s before, %s after, fees of at most %s: want %s to %s", before.Confirmed, after.Confirmed, fee, least, before.Confirmed)
	}
	if after.Address != before.Address {
		t.Errorf("own address changed from %s to %s", before.Address, after.Address)
	}
}

func testMany(t *testing.T, h *Harness) {
	const n = 120
	i := info(t, h)
	before := balance(t, h.Wallet, h.Asset)
	ks := keys(t, h, n)
	r := payTo(t, h, ks, h.Amount)
	f, err := h.Wallet.Fund(ctx(t), r)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(f.Txs), (n+int(i.MaxOutputs)-1)/int(i.MaxOutputs); got != want || len(f.TxOf) != n {
		t.Errorf("%d payments: got %d transactions, want %d; %d of them said", n, got, want, len(f.TxOf))
	}
	h.Mine(t, int(i.Confirmations))
	for j, d := range deposits(t, h, ks) {
		if err := d.Check(h.Amount); err != nil {
			t.Errorf("deposit %d: %v", j, err)
		}
		if d.FundingTx != "" && d.FundingTx != f.Txs[f.TxOf[j]].ID {
			t.Errorf("deposit %d: got transaction %s, want %s", j, d.FundingTx, f.Txs[f.TxOf[j]].ID)
		}
	}
	s, err := h.Wallet.Sweep(ctx(t), sweepOf(t, h, ks...))
	if err != nil {
		t.Fatal(err)
	}
	for j, k := range s.Keys {
		if k.Err != nil || k.Amount != h.Amount {
			t.Errorf("key %d: got %s, %v, want %s", j, k.Amount, k.Err, h.Amount)
		}
	}
	if got, least := len(s.Txs), (n+int(i.MaxKeys)-1)/int(i.MaxKeys); got < least {
		t.Errorf("%d keys: got %d transactions, want at least %d", n, got, least)
	}
	h.Mine(t, 1)
	for j, x := range s.Txs {
		if got := status(t, h, x.ID); got.State != wallet.TxConfirmed {
			t.Errorf("transaction %d: got %v, want confirmed", j, got.State)
		}
	}
	checkSpentOnFees(t, h, before, plus(t, fees(t, f.Txs), fees(t, s.Txs)))
}

func testLimits(t *testing.T, h *Harness) {
	k := Key(t, h.Asset.Key)
	_, err := h.Wallet.Deposits(ctx(t), wallet.DepositsRequest{Asset: h.Asset, Queries: make([]wallet.DepositQuery, wallet.MaxItems+1)})
	wantErr(t, "too many queries", err, wallet.ErrInvalid)
	_, err = h.Wallet.Deposits(ctx(t), wallet.DepositsRequest{Asset: h.Asset})
	wantErr(t, "no queries", err, wallet.ErrInvalid)
	_, err = h.Wallet.Fee(ctx(t), h.Asset, -1, 0)
	wantErr(t, "fee of −1 payments", err, wallet.ErrInvalid)
	_, err = h.Wallet.Fee(ctx(t), h.Asset, 0, wallet.MaxItems+1)
	wantErr(t, "fee of too many keys", err, wallet.ErrInvalid)

	full := wallet.DepositsRequest{Asset: h.Asset}
	for range wallet.MaxItems {
		full.Queries = append(full.Queries, wallet.DepositQuery{Key: k.Public, Want: h.Amount})
	}
	d, err := h.Wallet.Deposits(ctx(t), full)
	if err != nil || len(d.Deposits) != wallet.MaxItems {
		t.Errorf("%d queries: got %d answers, %v", wallet.MaxItems, len(d.Deposits), err)
	}
}

func testTransaction(t *testing.T, h *Harness) {
	f, err := h.Wallet.Fund(ctx(t), payTo(t, h, keys(t, h, 1), h.Amount))
	if err != nil {
		t.Fatal(err)
	}
	id := f.Txs[0].ID
	same(t, "pending", status(t, h, id), wallet.TxStatus{State: wallet.TxPending})
	rival, err := h.Rival.Transaction(ctx(t), h.Asset, id)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "pending, seen by another wallet", rival, wallet.TxStatus{State: wallet.TxPending})
	h.Mine(t, 3)
	same(t, "mined", status(t, h, id), wallet.TxStatus{State: wallet.TxConfirmed, Confirmations: 3})

	last := id[len(id)-1]
	other := byte('0')
	if last == '0' {
		other = '1'
	}
	same(t, "unknown", status(t, h, id[:len(id)-1]+wallet.TxID(other)), wallet.TxStatus{State: wallet.TxUnknown})
	for _, bad := range []wallet.TxID{"", "no id", "zz\n"} {
		_, err := h.Wallet.Transaction(ctx(t), h.Asset, bad)
		wantErr(t, "malformed id", err, wallet.ErrInvalid)
	}
}

func testFee(t *testing.T, h *Harness) {
	none, err := h.Wallet.Fee(ctx(t), h.Asset, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !none.Fund.IsZero() || !none.Sweep.IsZero() || none.Asset != info(t, h).FeeAsset {
		t.Errorf("fee of nothing: got %+v", none)
	}
	var last wallet.Fees
	for _, n := range []int{1, 10, 100, wallet.MaxItems} {
		f, err := h.Wallet.Fee(ctx(t), h.Asset, n, n)
		if err != nil {
			t.Fatal(err)
		}
		if f.Fund.Cmp(last.Fund) <= 0 || f.Sweep.Cmp(last.Sweep) <= 0 {
			t.Errorf("fee of %d: got %+v, want more than %+v", n, f, last)
		}
		last = f
	}
	// An estimate is enough for what it is an estimate of.
	ks := keys(t, h, 3)
	r := payTo(t, h, ks, h.Amount)
	est, err := h.Wallet.Fee(ctx(t), h.Asset, 3, 3)
	if err != nil {
		t.Fatal(err)
	}
	r.MaxFee = est.Fund
	if _, err := h.Wallet.Fund(ctx(t), r); err != nil {
		t.Errorf("fund with the estimate as limit: %v", err)
	}
	h.Mine(t, 1)
	s, err := h.Wallet.Sweep(ctx(t), wallet.SweepRequest{Asset: h.Asset, ID: freshID(t), Keys: ks, MaxFee: est.Sweep})
	if err != nil {
		t.Fatalf("sweep with the estimate as limit: %v", err)
	}
	for i, k := range s.Keys {
		if k.Err != nil {
			t.Errorf("sweep of key %d with the estimate as limit: %v", i, k.Err)
		}
	}
	h.Mine(t, 1)
}
