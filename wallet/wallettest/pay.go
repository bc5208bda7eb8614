package wallettest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"latchkey/coin"
	"latchkey/wallet"
)

func testFundOnce(t *testing.T, h *Harness) {
	ks := keys(t, h, 3)
	r := payTo(t, h, ks, h.Amount)
	first, err := h.Wallet.Fund(ctx(t), r)
	if err != nil {
		t.Fatal(err)
	}
	again := func(when string) {
		t.Helper()
		got, err := h.Wallet.Fund(ctx(t), r)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		same(t, when, got, first)
	}
	again("the same again")
	if h.Restart != nil {
		h.Restart(t)
		again("after a restart")
	}
	other := r
	other.Payments = append([]wallet.Payment(nil), r.Payments...)
	other.Payments[0].Amount = plus(t, h.Amount, coin.NewAmount(1))
	_, err = h.Wallet.Fund(ctx(t), other)
	wantErr(t, "another amount under the same id", err, wallet.ErrIDReused)
	other.Payments = r.Payments[:2]
	_, err = h.Wallet.Fund(ctx(t), other)
	wantErr(t, "fewer payments under the same id", err, wallet.ErrIDReused)

	h.Mine(t, int(info(t, h).Confirmations))
	again("after blocks")
	if h.Restart != nil {
		h.Restart(t)
		again("after blocks and a restart")
	}
	h.Mine(t, int(info(t, h).Confirmations))
	checkPaidOnce(t, h, ks)
}

// checkPaidOnce fails unless each key holds exactly one deposit.
func checkPaidOnce(t testing.TB, h *Harness, ks []wallet.SweepKey) {
	t.Helper()
	for i, d := range deposits(t, h, ks) {
		if d.Confirmed != h.Amount || !d.Pending.IsZero() || d.Spent {
			t.Errorf("key %d: got %s and %s pending, spent %v, want exactly %s", i, d.Confirmed, d.Pending, d.Spent, h.Amount)
		}
	}
}

func testFundRefuses(t *testing.T, h *Harness) {
	k := keys(t, h, 2)
	good := payTo(t, h, k, h.Amount)
	before := balance(t, h.Wallet, h.Asset)
	least := info(t, h).MinAmount
	most, err := coin.ParseAmount("340282366920938463463374607431768211455") // 2¹²⁸ − 1
	if err != nil {
		t.Fatal(err)
	}
	manyToo := make([]wallet.Payment, wallet.MaxItems+1)
	for i := range manyToo {
		manyToo[i] = good.Payments[0]
	}
	type change = func(r *wallet.FundRequest)
	amount := func(a coin.Amount) change { return func(r *wallet.FundRequest) { r.Payments[1].Amount = a } }
	address := func(a string) change { return func(r *wallet.FundRequest) { r.Payments[1].Address = a } }
	to := good.Payments[1].Address
	cases := map[string]struct {
		change
		want error
	}{
		"no id":               {func(r *wallet.FundRequest) { r.ID = "" }, wallet.ErrInvalid},
		"long id":             {func(r *wallet.FundRequest) { r.ID = strings.Repeat("a", 65) }, wallet.ErrInvalid},
		"id with a path":      {func(r *wallet.FundRequest) { r.ID = "../x" }, wallet.ErrInvalid},
		"no payments":         {func(r *wallet.FundRequest) { r.Payments = nil }, wallet.ErrInvalid},
		"too many payments":   {func(r *wallet.FundRequest) { r.Payments = manyToo }, wallet.ErrInvalid},
		"nothing":             {amount(coin.Amount{}), wallet.ErrInvalid},
		"more than there is":  {amount(before.Confirmed), wallet.ErrInsufficient},
		"2^64 times as much":  {amount(times(t, times(t, h.Amount, 1<<32), 1<<16)), wallet.ErrInsufficient},
		"sum overflows":       {amount(most), wallet.ErrInvalid},
		"no address":          {address(""), wallet.ErrInvalid},
		"garbage address":     {address("garbage"), wallet.ErrInvalid},
		"truncated address":   {address(to[:len(to)-1]), wallet.ErrInvalid},
		"long address":        {address(strings.Repeat(to, 20)), wallet.ErrInvalid},
		"address and newline": {address(to + "\n"), wallet.ErrInvalid},
		"no fee allowed":      {func(r *wallet.FundRequest) { r.MaxFee = coin.Amount{} }, wallet.ErrFeeTooHigh},
		"fee of 1 allowed":    {func(r *wallet.FundRequest) { r.MaxFee = coin.NewAmount(1) }, wallet.ErrFeeTooHigh},
	}
	if least.Cmp(coin.NewAmount(1)) > 0 {
		cases["dust"] = struct {
			change
			want error
		}{amount(minus(t, least, coin.NewAmount(1))), wallet.ErrInvalid}
	}
	for name, c := range cases {
		r := good
		r.Payments = append([]wallet.Payment(nil), good.Payments...)
		c.change(&r)
		_, err := h.Wallet.Fund(ctx(t), r)
		wantErr(t, name, err, c.want)
	}
	same(t, "balance after refusals", balance(t, h.Wallet, h.Asset), before)

	// A refused request leaves its id free.
	if _, err := h.Wallet.Fund(ctx(t), good); err != nil {
		t.Errorf("fund after refusals under the same id: %v", err)
	}
	h.Mine(t, int(info(t, h).Confirmations))
	checkPaidOnce(t, h, k)
}

func testFundAtOnce(t *testing.T, h *Harness) {
	const n = 6
	ks := keys(t, h, n)
	var requests []wallet.FundRequest
	for i := range ks {
		requests = append(requests, payTo(t, h, ks[i:i+1], h.Amount))
	}
	c := ctx(t)
	txs := make([][3]wallet.TxID, n)
	errs := make([]error, 3*n)
	var wg sync.WaitGroup
	for i := range requests {
		for j := range 3 { // the same request three times at once
			wg.Go(func() {
				f, err := h.Wallet.Fund(c, requests[i])
				errs[3*i+j] = err
				if err == nil {
					txs[i][j] = f.Txs[0].ID
				}
			})
		}
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i, ids := range txs {
		if ids[0] != ids[1] || ids[1] != ids[2] {
			t.Errorf("request %d, three times at once: got transactions %v, want one", i, ids)
		}
	}
	h.Mine(t, int(info(t, h).Confirmations))
	checkPaidOnce(t, h, ks)
}

func testSweepOnce(t *testing.T, h *Harness) {
	ks := funded(t, h, 3)
	before := balance(t, h.Wallet, h.Asset)
	r := sweepOf(t, h, ks...)
	first, err := h.Wallet.Sweep(ctx(t), r)
	if err != nil {
		t.Fatal(err)
	}
	again := func(when string) {
		t.Helper()
		got, err := h.Wallet.Sweep(ctx(t), r)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		same(t, when, got, first)
	}
	again("the same again")
	if h.Restart != nil {
		h.Restart(t)
		again("after a restart")
	}
	other := r
	other.Keys = r.Keys[:2]
	_, err = h.Wallet.Sweep(ctx(t), other)
	wantErr(t, "fewer keys under the same id", err, wallet.ErrIDReused, ks...)
	other = r
	other.Destination = addresses(t, h, keys(t, h, 1))[0]
	_, err = h.Wallet.Sweep(ctx(t), other)
	wantErr(t, "another destination under the same id", err, wallet.ErrIDReused, ks...)

	h.Mine(t, 1)
	again("after a block")
	if h.Restart != nil {
		h.Restart(t)
		again("after a block and a restart")
	}
	h.Mine(t, 1)
	after := balance(t, h.Wallet, h.Asset)
	gain := times(t, h.Amount, 3)
	if info(t, h).FeeAsset == h.Asset.ID {
		gain = minus(t, gain, fees(t, first.Txs))
	}
	if want := plus(t, before.Confirmed, gain); after.Confirmed.Cmp(want) < 0 || after.Confirmed.Cmp(plus(t, before.Confirmed, times(t, h.Amount, 3))) > 0 {
		t.Errorf("balance %s before, %s after three sweeps of %s, want at least %s", before.Confirmed, after.Confirmed, h.Amount, want)
	}
	// Under another id it is somebody's spend like any other.
	s, err := h.Wallet.Sweep(ctx(t), sweepOf(t, h, ks[0]))
	if err != nil {
		t.Fatal(err)
	}
	if !info(t, h).HidesSpends {
		wantErr(t, "swept before under another id", s.Keys[0].Err, wallet.ErrSpent, ks...)
	}
}

func testSweepRefuses(t *testing.T, h *Harness) {
	ks := funded(t, h, 2)
	pending, empty := Key(t, h.Asset.Key), Key(t, h.Asset.Key)
	if _, err := h.Wallet.Fund(ctx(t), payTo(t, h, []wallet.SweepKey{pending}, h.Amount)); err != nil {
		t.Fatal(err)
	}
	crossed := wallet.SweepKey{Private: ks[1].Private, Public: Key(t, h.Asset.Key).Public}
	zero := wallet.SweepKey{Public: Key(t, h.Asset.Key).Public}
	over := wallet.SweepKey{Private: wallet.PrivateKey(bytes.Repeat([]byte{0xff}, 32)), Public: Key(t, h.Asset.Key).Public}
	bad := wallet.SweepKey{Private: ks[1].Private, Public: offCurve(h.Asset.Key)}

	all := []wallet.SweepKey{ks[0], pending, empty, crossed, zero, over, bad}
	r := sweepOf(t, h, all...)
	for name, c := range map[string]struct {
		change func(r *wallet.SweepRequest)
		want   error
	}{
		"no id":         {func(r *wallet.SweepRequest) { r.ID = "" }, wallet.ErrInvalid},
		"malformed id":  {func(r *wallet.SweepRequest) { r.ID = "a/b" }, wallet.ErrInvalid},
		"no keys":       {func(r *wallet.SweepRequest) { r.Keys = nil }, wallet.ErrInvalid},
		"too many keys": {func(r *wallet.SweepRequest) { r.Keys = make([]wallet.SweepKey, wallet.MaxItems+1) }, wallet.ErrInvalid},
		"one key twice": {func(r *wallet.SweepRequest) { r.Keys = []wallet.SweepKey{ks[0], ks[0]} }, wallet.ErrInvalid},
		"short public key": {func(r *wallet.SweepRequest) {
			r.Keys = []wallet.SweepKey{{Private: ks[0].Private, Public: ks[0].Public[1:]}}
		}, wallet.ErrInvalid},
		"garbage destination": {func(r *wallet.SweepRequest) { r.Destination = "garbage" }, wallet.ErrInvalid},
		"no fee allowed":      {func(r *wallet.SweepRequest) { r.MaxFee = coin.Amount{} }, wallet.ErrFeeTooHigh},
	} {
		q := r
		c.change(&q)
		_, err := h.Wallet.Sweep(ctx(t), q)
		wantErr(t, name, err, c.want, all...)
	}
	// One bad key does not stop a good one.
	s, err := h.Wallet.Sweep(ctx(t), r)
	if err != nil {
		t.Fatal(err)
	}
	if s.Keys[0].Err != nil || s.Keys[0].Amount != h.Amount {
		t.Errorf("good key among bad ones: got %+v, want it swept", s.Keys[0])
	}
	for i, want := range []error{
		1: wallet.ErrNotConfirmed, 2: wallet.ErrNotFunded, 3: wallet.ErrWrongKey, 4: wallet.ErrWrongKey, 5: wallet.ErrWrongKey, 6: wallet.ErrWrongKey,
	} {
		if i > 0 {
			wantErr(t, fmt.Sprintf("key %d", i), s.Keys[i].Err, want, all...)
		}
	}
	// The same request later: what could not be swept then, can be now.
	h.Mine(t, int(info(t, h).Confirmations))
	later, err := h.Wallet.Sweep(ctx(t), r)
	if err != nil {
		t.Fatal(err)
	}
	if later.Keys[0].Err != nil || later.Keys[0].Tx != s.Keys[0].Tx {
		t.Errorf("key swept before: got %+v, want transaction %s still", later.Keys[0], s.Keys[0].Tx)
	}
	if later.Keys[1].Err != nil || later.Keys[1].Amount != h.Amount {
		t.Errorf("key confirmed since: got %+v, want it swept", later.Keys[1])
	}
	wantErr(t, "key still not funded", later.Keys[2].Err, wallet.ErrNotFunded, all...)
	h.Mine(t, 1)
	if !deposit(t, h, ks[0]).Spent && !info(t, h).HidesSpends {
		t.Errorf("deposit swept: got unspent")
	}
	if err := deposit(t, h, ks[1]).Check(h.Amount); err != nil {
		t.Errorf("deposit whose private key stood with another public key: %v", err)
	}
}

func testSweepElsewhere(t *testing.T, h *Harness) {
	from, to := funded(t, h, 1)[0], Key(t, h.Asset.Key)
	r := sweepOf(t, h, from)
	r.Destination = addresses(t, h, []wallet.SweepKey{to})[0]
	s, err := h.Wallet.Sweep(ctx(t), r)
	if err != nil || s.Keys[0].Err != nil {
		t.Fatalf("sweep: %v, %+v", err, s.Keys)
	}
	h.Mine(t, int(info(t, h).Confirmations))
	want := h.Amount
	if info(t, h).FeeAsset == h.Asset.ID {
		want = minus(t, want, fees(t, s.Txs))
	}
	if got := deposit(t, h, to).Confirmed; got.Cmp(want) < 0 || got.Cmp(h.Amount) > 0 {
		t.Errorf("destination got %s of %s, want at least %s", got, h.Amount, want)
	}
}

// testDoubleSpend lets two holders of one key race.
func testDoubleSpend(t *testing.T, h *Harness) {
	ks := funded(t, h, 3) // the rival takes the first
	rs, err := h.Rival.Sweep(ctx(t), sweepOf(t, h, ks[0]))
	if err != nil || rs.Keys[0].Err != nil {
		t.Fatalf("rival's sweep: %v, %+v", err, rs.Keys)
	}
	hides := info(t, h).HidesSpends
	if d := deposit(t, h, ks[0]); !hides && (!d.Spent || d.SpentDepth != 0) {
		t.Errorf("rival's spend before a block: got %+v, want spent at depth 0", d)
	}
	r := sweepOf(t, h, ks...)
	s, err := h.Wallet.Sweep(ctx(t), r)
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "key that a rival spent before a block", s.Keys[0].Err, wallet.ErrSpent, ks...)
	for i, k := range s.Keys[1:] {
		if k.Err != nil {
			t.Errorf("key %d beside the spent one: %v", i+1, k.Err)
		}
	}
	h.Mine(t, 1)
	if d := deposit(t, h, ks[0]); !hides && (!d.Spent || d.SpentDepth != 1 || d.SpendingTx != "" && d.SpendingTx != rs.Keys[0].Tx) {
		t.Errorf("rival's spend after a block: got %+v, want spent by %s at depth 1", d, rs.Keys[0].Tx)
	}
	s, err = h.Wallet.Sweep(ctx(t), r)
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "key that a rival spent after a block", s.Keys[0].Err, wallet.ErrSpent, ks...)
	same(t, "rival's transaction", status(t, h, rs.Keys[0].Tx), wallet.TxStatus{State: wallet.TxConfirmed, Confirmations: 1})

	// The other way round.
	rs, err = h.Rival.Sweep(ctx(t), sweepOf(t, h, ks[1]))
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "rival who came late", rs.Keys[0].Err, wallet.ErrSpent, ks...)

	// Both at once: exactly one of the two gets it.
	for range 3 {
		k := funded(t, h, 1)[0]
		a, b := sweepOf(t, h, k), sweepOf(t, h, k)
		c := ctx(t)
		var sa, sb wallet.Sweep
		var ea, eb error
		var wg sync.WaitGroup
		wg.Go(func() { sa, ea = h.Wallet.Sweep(c, a) })
		wg.Go(func() { sb, eb = h.Rival.Sweep(c, b) })
		wg.Wait()
		if ea != nil || eb != nil {
			t.Fatalf("race: %v, %v", ea, eb)
		}
		h.Mine(t, 1)
		won := func(s wallet.Sweep) bool {
			return s.Keys[0].Err == nil && status(t, h, s.Keys[0].Tx).State == wallet.TxConfirmed
		}
		if won(sa) == won(sb) {
			t.Errorf("race: got %+v and %+v, want one of them confirmed", sa.Keys[0], sb.Keys[0])
		}
	}
}
