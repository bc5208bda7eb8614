package coin

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func (a Amount) big() *big.Int {
	v := new(big.Int).SetUint64(a.hi)
	return v.Lsh(v, 64).Or(v, new(big.Int).SetUint64(a.lo))
}

func drawAmount(t *rapid.T, label string) Amount {
	hi := rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64()).Draw(t, label+" hi")
	return Amount{hi: hi, lo: rapid.Uint64().Draw(t, label+" lo")}
}

var limit = new(big.Int).Lsh(big.NewInt(1), 128)

// Every operation agrees with math/big, or refuses exactly where the true
// result does not fit.
func TestArithmeticAgreesWithBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, n := drawAmount(t, "a"), drawAmount(t, "b"), rapid.Uint64Min(1).Draw(t, "n")
		check := func(op string, got Amount, err error, want *big.Int, wantErr error) {
			fits := want.Sign() >= 0 && want.Cmp(limit) < 0
			if fits && (err != nil || got.big().Cmp(want) != 0) {
				t.Fatalf("%v %s %v: got %v, %v, want %v", a, op, b, got, err, want)
			}
			if !fits && !errors.Is(err, wantErr) {
				t.Fatalf("%v %s %v: got %v, %v, want %v", a, op, b, got, err, wantErr)
			}
		}
		got, err := a.Plus(b)
		check("+", got, err, new(big.Int).Add(a.big(), b.big()), ErrOverflow)
		got, err = a.Minus(b)
		check("-", got, err, new(big.Int).Sub(a.big(), b.big()), ErrUnderflow)
		got, err = a.Times(n)
		check("*", got, err, new(big.Int).Mul(a.big(), new(big.Int).SetUint64(n)), ErrOverflow)
		q, r := a.Over(n)
		wantQ, wantR := new(big.Int).QuoRem(a.big(), new(big.Int).SetUint64(n), new(big.Int))
		if q.big().Cmp(wantQ) != 0 || wantR.Uint64() != r {
			t.Fatalf("%v / %d: got %v rest %d, want %v rest %v", a, n, q, r, wantQ, wantR)
		}
		if a.Cmp(b) != a.big().Cmp(b.big()) {
			t.Fatalf("cmp %v %v: got %d", a, b, a.Cmp(b))
		}
		if a.String() != a.big().String() {
			t.Fatalf("got %s, want %s", a, a.big())
		}
	})
}

func TestTextAndCBORRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawAmount(t, "a")
		if back, err := ParseAmount(a.String()); err != nil || back != a {
			t.Fatalf("%s: got %v, %v", a, back, err)
		}
		d := rapid.IntRange(0, MaxDecimals).Draw(t, "decimals")
		if back, err := ParseDecimal(a.Decimal(d), d); err != nil || back != a {
			t.Fatalf("%s with %d decimals as %s: got %v, %v", a, d, a.Decimal(d), back, err)
		}
		enc, _ := a.MarshalCBOR()
		var back Amount
		if err := back.UnmarshalCBOR(enc); err != nil || back != a {
			t.Fatalf("cbor %x: got %v, %v", enc, back, err)
		}
	})
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{
		"", "-1", "+1", " 1", "1 ", "01", "1.0", "1e3", "0x1", "٣",
		"340282366920938463463374607431768211456", strings.Repeat("9", 39), strings.Repeat("9", 4000),
	} {
		if a, err := ParseAmount(s); err == nil {
			t.Errorf("ParseAmount(%.50q) = %v, want an error", s, a)
		}
	}
	for _, s := range []string{"", ".", "1.", ".5", "0.123456789", "-1", "00.1", "1..2", "1,5", "NaN"} {
		if a, err := ParseDecimal(s, 8); err == nil {
			t.Errorf("ParseDecimal(%q, 8) = %v, want an error", s, a)
		} else if !strings.Contains(err.Error(), fmt.Sprintf("%q", s)) {
			t.Errorf("of %q it says %q, which its user has not written", s, err)
		}
	}
	if got, err := ParseDecimal("21000000.00000001", 8); err != nil || got.String() != "2100000000000001" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestDenomination(t *testing.T) {
	btc := Asset{ID: "btc", Chain: "bip122:regtest", Key: Secp256k1, Address: "p2wpkh", Decimals: 8}
	d := Denomination{ID: "btc-2026-11-a", Asset: btc, Unit: NewAmount(10_000)}
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Deposit(5); err != nil || btc.Format(got) != "0.0005 btc" {
		t.Errorf("got %v, %v", got, err)
	}
	for _, w := range []uint32{0, 3, 1001, 1 << 31} {
		if _, err := d.Deposit(w); !errors.Is(err, ErrWeight) {
			t.Errorf("weight %d: got %v, want ErrWeight", w, err)
		}
	}
	for want, change := range map[string]func(*Denomination){
		"denomination name":      func(d *Denomination) { d.ID = "" },
		"unit of nothing":        func(d *Denomination) { d.Unit = Amount{} },
		"overflows":              func(d *Denomination) { d.Unit = Amount{hi: 1 << 60} },
		"asset name":             func(d *Denomination) { d.Asset.ID = "BTC" },
		"chain name":             func(d *Denomination) { d.Asset.Chain = "" },
		"address form":           func(d *Denomination) { d.Asset.Address = "p2 wpkh" },
		"unknown key type 9":     func(d *Denomination) { d.Asset.Key = 9 },
		"99 decimals, at most":   func(d *Denomination) { d.Asset.Decimals = 99 },
		"name of 33 bytes":       func(d *Denomination) { d.Asset.ID = AssetID(strings.Repeat("a", 33)) },
		"want lower case letter": func(d *Denomination) { d.Asset.ID = ":a" },
	} {
		bad := d
		change(&bad)
		if err := bad.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one with %q", err, want)
		}
	}
}

func FuzzParseAmount(f *testing.F) {
	f.Add("0")
	f.Add("340282366920938463463374607431768211455")
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := ParseAmount(s); err == nil && a.String() != s {
			t.Errorf("%q reads as %s", s, a)
		}
	})
}
