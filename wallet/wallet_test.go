package wallet_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/wallet"
)

func TestPrivateKeyIsNeverPrinted(t *testing.T) {
	k := key(7)
	r := wallet.SweepRequest{Asset: asset, Keys: []wallet.SweepKey{k}}
	var all strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
		fmt.Fprintf(&all, verb+" "+verb+" "+verb+"\n", k.Private, k, r)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	all.Write(text)
	for _, shown := range []string{"0707", "7 7 7", "7, 7, 7", "7,7,7", "0x7,", "\a\a"} {
		if strings.Contains(all.String(), shown) {
			t.Errorf("the key is shown as %q in\n%s", shown, all.String())
		}
	}
	if !strings.Contains(all.String(), "[redacted]") {
		t.Error("nothing says [redacted]")
	}
}

func TestDepositCheck(t *testing.T) {
	n := coin.NewAmount
	for name, c := range map[string]struct {
		d    wallet.Deposit
		want error
	}{
		"nothing":             {wallet.Deposit{}, wallet.ErrNotFunded},
		"too little":          {wallet.Deposit{Confirmed: n(9)}, wallet.ErrNotFunded},
		"too little, pending": {wallet.Deposit{Confirmed: n(4), Pending: n(5)}, wallet.ErrNotFunded},
		"pending":             {wallet.Deposit{Pending: n(10)}, wallet.ErrNotConfirmed},
		"partly pending":      {wallet.Deposit{Confirmed: n(4), Pending: n(6)}, wallet.ErrNotConfirmed},
		"exact":               {wallet.Deposit{Confirmed: n(10)}, nil},
		"more":                {wallet.Deposit{Confirmed: n(11)}, nil},
		"spent":               {wallet.Deposit{Spent: true}, wallet.ErrSpent},
		"spent in part":       {wallet.Deposit{Spent: true, Confirmed: n(10)}, wallet.ErrSpent},
	} {
		if err := c.d.Check(n(10)); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestTally(t *testing.T) {
	n := coin.NewAmount
	all := []wallet.Received{
		{Tx: "a", Amount: n(5), Confirmations: 9},
		{Tx: "b", Amount: n(3), Confirmations: 2},
		{Tx: "c", Amount: n(1)},
	}
	for _, c := range []struct {
		want uint64
		deep uint32
		conf uint64
		pend uint64
		dep  uint32
	}{
		{5, 3, 5, 4, 9}, {6, 3, 5, 4, 2}, {8, 2, 8, 1, 2}, {9, 1, 8, 1, 0}, {10, 1, 8, 1, 0}, {0, 1, 8, 1, 0}, {1, 10, 0, 9, 9}, {1, 0, 8, 1, 9},
	} {
		d, err := wallet.Tally("x", all, n(c.want), c.deep)
		if err != nil || d.Confirmed != n(c.conf) || d.Pending != n(c.pend) || d.Depth != c.dep || d.FundingTx != "a" || d.Spent {
			t.Errorf("want %d at %d: got %+v, %v", c.want, c.deep, d, err)
		}
	}
	spent := append([]wallet.Received(nil), all...)
	spent[1].Spent, spent[1].SpentBy = true, "r"
	spent[0].Spent, spent[0].SpentBy, spent[0].SpentDepth = true, "q", 4
	d, err := wallet.Tally("x", spent, n(1), 1)
	if err != nil || !d.Spent || d.SpendingTx != "q" || d.SpentDepth != 4 || !d.Confirmed.IsZero() || d.Pending != n(1) {
		t.Errorf("spent twice: got %+v, %v, want the deeper spend", d, err)
	}
	most, err := coin.ParseAmount("340282366920938463463374607431768211455")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wallet.Tally("x", []wallet.Received{{Amount: most, Confirmations: 1}, {Amount: n(1), Confirmations: 1}}, n(1), 1); !errors.Is(err, coin.ErrOverflow) {
		t.Errorf("overflow: got %v", err)
	}
}

func TestDescriptionInfo(t *testing.T) {
	d := wallet.Description{Assets: []wallet.AssetInfo{{Asset: asset, Confirmations: 3}}}
	if i, err := d.Info(asset); err != nil || i.Confirmations != 3 {
		t.Errorf("got %+v, %v", i, err)
	}
	main := asset
	main.Chain = "fake:main"
	if _, err := d.Info(main); !errors.Is(err, wallet.ErrUnknownAsset) || !strings.Contains(err.Error(), "fake:main") || !strings.Contains(err.Error(), "fake:1") {
		t.Errorf("another chain: got %v, want both chains named", err)
	}
}

func FuzzCheckID(f *testing.F) {
	for _, s := range []string{"a", "fund-1:2_3.4", "", "a b", "../x", strings.Repeat("a", 65)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if wallet.CheckID(s) == nil && (len(s) > 64 || strings.ContainsAny(s, " /\\\n\x00\"'")) {
			t.Errorf("%q is taken", s)
		}
	})
}

// A private and a public key pair up, and nothing else does.
func TestCheckPair(t *testing.T) {
	for _, kind := range []coin.KeyType{coin.Secp256k1, coin.Ed25519} {
		var one, two wallet.PrivateKey
		one[0], one[31], two[0], two[31] = 1, 1, 2, 2
		p1, err := wallet.PublicOf(kind, one)
		if err != nil {
			t.Fatal(err)
		}
		if err := wallet.CheckPair(kind, wallet.SweepKey{Private: one, Public: p1}); err != nil {
			t.Errorf("%v: %v", kind, err)
		}
		if err := wallet.CheckPoint(kind, p1); err != nil {
			t.Errorf("%v: %v", kind, err)
		}
		if err := wallet.CheckPair(kind, wallet.SweepKey{Private: two, Public: p1}); !errors.Is(err, wallet.ErrWrongKey) {
			t.Errorf("%v: crossed keys: got %v", kind, err)
		}
		if err := wallet.CheckPair(kind, wallet.SweepKey{Public: p1}); !errors.Is(err, wallet.ErrWrongKey) {
			t.Errorf("%v: zero: got %v", kind, err)
		}
	}
	if _, err := wallet.PublicOf(9, wallet.PrivateKey{1}); !errors.Is(err, wallet.ErrInvalid) {
		t.Errorf("unknown key type: got %v", err)
	}
	// The group order of ed25519 itself: not reduced.
	order := wallet.PrivateKey{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 31: 0x10}
	if _, err := wallet.PublicOf(coin.Ed25519, order); !errors.Is(err, wallet.ErrWrongKey) {
		t.Errorf("ed25519 group order: got %v", err)
	}
	// Points of small order (RFC 7748 and the list of known ones) have no address.
	for _, p := range []string{"\x00", "\x01", "\xec\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"} {
		k := append([]byte(p), make([]byte, 32-len(p))...)
		if err := wallet.CheckPoint(coin.Ed25519, k); !errors.Is(err, wallet.ErrWrongKey) {
			t.Errorf("point of small order %x: got %v", k, err)
		}
	}
}
