package rate

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"latchkey/coin"
)

func TestParsePrice(t *testing.T) {
	tests := []struct {
		in   string
		want Price
		err  string
	}{
		{"67123.5", 67123_500000, ""},
		{"67123.500000", 67123_500000, ""},
		{"1", 1_000000, ""},
		{"0.000001", 1, ""},
		{"0.0000005", 1, ""},
		{"0.00000049999", 0, "less than a millionth"},
		{"1.2345674", 1_234567, ""},
		{"1.2345675", 1_234568, ""},
		{"0.9999999", 1_000000, ""},
		{"6.71235e4", 67123_500000, ""},
		{"6.71235E+4", 67123_500000, ""},
		{"671235e-1", 67123_500000, ""},
		{"1e-7", 0, "less than a millionth"},
		{"5e-7", 1, ""},
		{"1e-9999", 0, "less than a millionth"},
		{"1000000000", MaxPrice, ""},
		{"1000000000.000001", 0, "more than $1000000000"},
		{"1e9999", 0, "too large"},
		{"1e99999999999", 0, "not a decimal number"},
		{"99999999999999999999999", 0, "too large"},
		{"184467440737095516.15", 0, "too large"},
		{"18446744073709551615.0000001", 0, "too large"},
		{strings.Repeat("9", 65), 0, "longer than 64"},
		{"0", 0, "less than a millionth"},
		{"0.0", 0, "less than a millionth"},
		{"-1", 0, "negative"},
		{"-0", 0, "negative"},
		{"+1", 0, "not a decimal number"},
		{"", 0, "not a decimal number"},
		{".5", 0, "not a decimal number"},
		{"5.", 0, "not a decimal number"},
		{"1.2.3", 0, "not a decimal number"},
		{"1e", 0, "not a decimal number"},
		{"1e+-2", 0, "not a decimal number"},
		{"1e1.5", 0, "not a decimal number"},
		{"NaN", 0, "not a decimal number"},
		{"Infinity", 0, "not a decimal number"},
		{"1,000", 0, "not a decimal number"},
		{"0x10", 0, "not a decimal number"},
		{" 1", 0, "not a decimal number"},
		{"1_000", 0, "not a decimal number"},
		{"\u0661", 0, "not a decimal number"},
	}
	for _, tc := range tests {
		got, err := ParsePrice(tc.in)
		if tc.err == "" && (err != nil || got != tc.want) {
			t.Errorf("ParsePrice(%q) = %d, %v; want %d", tc.in, got, err, tc.want)
		}
		if tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err) || len(err.Error()) > 120) {
			t.Errorf("ParsePrice(%q) = %d, %v; want an error with %q", tc.in, got, err, tc.err)
		}
	}
}

func TestPriceAndCentsText(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{Price(67123_500000).String(), "67123.50"}, {Price(1_000000).String(), "1.00"}, {Price(12).String(), "0.000012"},
		{Price(1_234500).String(), "1.2345"}, {Price(0).String(), "0.00"}, {Cents(50000).String(), "$500.00"}, {Cents(7).String(), "$0.07"},
	} {
		if tc.got != tc.want {
			t.Errorf("got %s, want %s", tc.got, tc.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		p := Price(rapid.Uint64Range(1, uint64(MaxPrice)).Draw(t, "price"))
		if got, err := ParsePrice(p.String()); err != nil || got != p {
			t.Fatalf("%d printed as %s reads as %d, %v", p, p, got, err)
		}
		c := Cents(rapid.Uint64().Draw(t, "cents"))
		if got, err := ParseCents(c.String()); err != nil || got != c {
			t.Fatalf("%d printed as %s reads as %d, %v", c, c, got, err)
		}
	})
	for _, in := range []string{"12.345", "-1", "", "$", "$$1", "1e99", "184467440737095516.16"} {
		if c, err := ParseCents(in); err == nil {
			t.Errorf("ParseCents(%q) = %s", in, c)
		}
	}
	for in, want := range map[string]Cents{"500": 50000, "$12.5": 1250, "12.500": 1250, "1e2": 10000, "0": 0} {
		if c, err := ParseCents(in); err != nil || c != want {
			t.Errorf("ParseCents(%q) = %s, %v; want %s", in, c, err, want)
		}
	}
}

func TestTextForms(t *testing.T) {
	type doc struct {
		Price Price `json:"price"`
		Cents Cents `json:"cents"`
	}
	const text = `{"price":"67123.50","cents":"12.50"}`
	var d doc
	if err := json.Unmarshal([]byte(text), &d); err != nil || d != (doc{67123_500000, 1250}) {
		t.Errorf("got %+v, %v", d, err)
	}
	if out, err := json.Marshal(d); err != nil || string(out) != text {
		t.Errorf("got %s, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`{"price": 67123.5}`), &d); err == nil {
		t.Error("a JSON number, which other readers take for a float, was accepted")
	}
}

// TestParseAgreesWithRat compares with exact rational arithmetic.
func TestParseAgreesWithRat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[0-9]{1,9}(\.[0-9]{1,12})?(e[+-]?[0-9])?`).Draw(t, "number")
		q, ok := new(big.Rat).SetString(s)
		if !ok {
			t.Skip("not a number to math/big")
		}
		want := round(q.Mul(q, big.NewRat(1_000_000, 1)))
		got, err := parseDecimal(s, 6, false)
		if err != nil {
			if want.BitLen() < 62 {
				t.Fatalf("%s: %v", s, err)
			}
			return
		}
		if want.Cmp(new(big.Int).SetUint64(got)) != 0 {
			t.Fatalf("%s: got %d, want %s", s, got, want)
		}
	})
}

func FuzzParsePrice(f *testing.F) {
	f.Add("67123.5")
	f.Add("1e-7")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePrice(s)
		if err == nil && (p == 0 || p > MaxPrice) {
			t.Fatalf("accepted %q as %d", s, p)
		}
	})
}

func mustAmount(t *testing.T, s string, decimals int) coin.Amount {
	t.Helper()
	a, err := coin.ParseDecimal(s, decimals)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestConversions(t *testing.T) {
	tests := []struct {
		price    Price
		cents    Cents
		decimals uint8
		coins    string // Amount: rounded down
		back     Cents  // Value of that: rounded down
	}{
		{100_000_000000, 50000, 8, "0.005", 50000},
		{67123_500000, 50000, 8, "0.00744895", 49999},
		{3_500_000000, 50000, 18, "0.142857142857142857", 49999},
		{1, 1, 18, "10000", 1},
		{MaxPrice, 1, 8, "0", 0},
		{MaxPrice, 1, 18, "0.00000000001", 1},
		{1_000000, 1234, 6, "12.34", 1234},
		{300_000000, 100000, 0, "3", 90000},
	}
	for _, tc := range tests {
		a, err := tc.price.Amount(tc.cents, tc.decimals)
		if err != nil || a.Decimal(int(tc.decimals)) != tc.coins {
			t.Errorf("%s at $%s: %s, %v; want %s", tc.cents, tc.price, a.Decimal(int(tc.decimals)), err, tc.coins)
		}
		if v, err := tc.price.Value(a, tc.decimals); err != nil || v != tc.back {
			t.Errorf("%s coins at $%s: %s, %v; want %s", tc.coins, tc.price, v, err, tc.back)
		}
	}
	if _, err := Price(0).Amount(1, 8); !errors.Is(err, ErrNoPrice) {
		t.Errorf("no price: %v", err)
	}
	if _, err := Price(0).Value(coin.NewAmount(1), 8); !errors.Is(err, ErrNoPrice) {
		t.Errorf("no price: %v", err)
	}
	if _, err := Price(1).Amount(1<<63, 36); !errors.Is(err, coin.ErrOverflow) {
		t.Errorf("more than 128 bits: %v", err)
	}
	if _, err := MaxPrice.Value(mustAmount(t, "340282366920938463463374607431768211455", 0), 0); !errors.Is(err, coin.ErrOverflow) {
		t.Errorf("more than 64 bits of cents: %v", err)
	}
	if _, err := Price(1).Amount(1, 37); err == nil {
		t.Error("37 decimals accepted")
	}
	if _, err := Price(1).Value(coin.NewAmount(1), 37); err == nil {
		t.Error("37 decimals accepted")
	}
}

// TestNothingIsGained: converting to coins and back never yields more than there was, and loses less than
// the value of one smallest unit and one cent.
func TestNothingIsGained(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Price(rapid.Uint64Range(1, uint64(MaxPrice)).Draw(t, "price"))
		c := Cents(rapid.Uint64Range(0, 1e12).Draw(t, "cents"))
		decimals := uint8(rapid.IntRange(0, 18).Draw(t, "decimals"))
		a, err := p.Amount(c, decimals)
		if err != nil {
			t.Fatal(err)
		}
		v, err := p.Value(a, decimals)
		if err != nil {
			t.Fatal(err)
		}
		more, err := a.Plus(coin.NewAmount(1))
		if err != nil {
			t.Fatal(err)
		}
		above, err := p.Value(more, decimals)
		if err != nil {
			t.Fatal(err)
		}
		if v > c || above+1 <= c {
			t.Fatalf("%s at $%s is %s, worth %s; one unit more is worth %s", c, p, a, v, above)
		}
	})
}

func TestUnit(t *testing.T) {
	tests := []struct {
		price    string
		target   Cents
		decimals uint8
		digits   int
		want     string
	}{
		{"67123.5", 1000, 8, 2, "0.00015"},     // 0.000148979…
		{"67123.5", 1000, 8, 3, "0.000149"},    //
		{"3512.7", 1000, 18, 2, "0.0028"},      // 0.002846…
		{"3512.7", 1000, 18, 3, "0.00285"},     //
		{"100000", 1000, 8, 2, "0.0001"},       //
		{"1", 1000, 6, 2, "10"},                //
		{"0.000012", 1000, 18, 2, "830000"},    // 833333.3…
		{"1.0005", 999, 6, 2, "10"},            // 9.985…: rounding may carry
		{"66666666", 1000, 8, 3, "0.00000015"}, // 15 satoshi: fewer digits than asked for
		{"1000000000", 1000, 8, 2, "0.00000001"},
		{"999999999", 500, 8, 2, "0.00000001"}, // half a satoshi goes up
	}
	for _, tc := range tests {
		p, err := ParsePrice(tc.price)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Unit(tc.target, tc.decimals, tc.digits)
		if err != nil || got != mustAmount(t, tc.want, int(tc.decimals)) {
			t.Errorf("%s at $%s with %d digits: %s, %v; want %s", tc.target, tc.price, tc.digits, got.Decimal(int(tc.decimals)), err, tc.want)
		}
	}
	if _, err := MaxPrice.Unit(400, 8, 2); !errors.Is(err, ErrTooSmall) {
		t.Errorf("less than half a smallest unit: %v", err)
	}
	if _, err := MaxPrice.Unit(0, 8, 2); !errors.Is(err, ErrTooSmall) {
		t.Errorf("a unit of $0: %v", err)
	}
	if _, err := Price(0).Unit(1000, 8, 2); !errors.Is(err, ErrNoPrice) {
		t.Errorf("no price: %v", err)
	}
	for _, digits := range []int{0, 7, -1} {
		if _, err := MaxPrice.Unit(1000, 8, digits); err == nil {
			t.Errorf("%d digits accepted", digits)
		}
	}
}

// TestUnitIsCloseAndShort: few digits, and off by no more than half of the last.
func TestUnitIsCloseAndShort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Price(rapid.Uint64Range(1, 1e12).Draw(t, "price"))
		c := Cents(rapid.Uint64Range(100, 1e7).Draw(t, "target"))
		digits := rapid.IntRange(1, 6).Draw(t, "digits")
		a, err := p.Unit(c, 18, digits)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(strings.TrimRight(a.String(), "0")); n > digits {
			t.Fatalf("%s has %d digits, want at most %d", a, n, digits)
		}
		exact, err := p.quotient(c, 18)
		if err != nil {
			t.Fatal(err)
		}
		off := new(big.Rat).Sub(new(big.Rat).SetInt(bigAmount(a)), exact)
		off.Quo(off.Abs(off), exact)
		limit := new(big.Rat).SetFrac64(5, 1)
		for range digits {
			limit.Quo(limit, big.NewRat(10, 1))
		}
		if off.Cmp(limit) > 0 && len(a.String()) >= digits {
			t.Fatalf("%s for %s at $%s is off by %s, limit %s", a, c, p, off.FloatString(6), limit.FloatString(6))
		}
	})
}

func TestUnits(t *testing.T) {
	asset := coin.Asset{ID: "btc", Chain: "bip122:regtest", Key: coin.Secp256k1, Address: "p2wpkh", Decimals: 8}
	d := coin.Denomination{ID: "btc-2026-11-a", Asset: asset, Unit: mustAmount(t, "0.00015", 8)} // $10.07 at $67,123.50
	for c, want := range map[Cents]uint32{50000: 50, 1000: 1, 504: 1, 1510: 1, 1511: 2, 100: 0, 0: 0} {
		got, err := Price(67123_500000).Units(c, d)
		if got != want || (want == 0) != errors.Is(err, ErrTooSmall) {
			t.Errorf("%s: %d units, %v; want %d", c, got, err, want)
		}
	}
	d.Unit = coin.NewAmount(1)
	if n, err := Price(1).Units(1<<62, d); err == nil {
		t.Errorf("%d units accepted", n)
	}
	if _, err := Price(1).Units(1, coin.Denomination{}); err == nil {
		t.Error("the zero denomination has units")
	}
	if _, err := Price(0).Units(1, d); !errors.Is(err, ErrNoPrice) {
		t.Errorf("no price: %v", err)
	}
}

func ExamplePrice_Unit() {
	p, err := ParsePrice("67123.50")
	if err != nil {
		fmt.Println(err)
		return
	}
	unit, err := p.Unit(1000, 8, 2) // about $10 of a coin with 8 decimals, in 2 significant digits
	if err != nil {
		fmt.Println(err)
		return
	}
	worth, err := p.Value(unit, 8)
	fmt.Println(unit.Decimal(8), worth, err)
	// Output: 0.00015 $10.06 <nil>
}
