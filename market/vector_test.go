package market

import (
	"flag"
	"fmt"
	"testing"

	"latchkey/coin"
	"latchkey/settle"
	"latchkey/spec/vectors"
	"latchkey/wire"
)

var update = flag.Bool("update", false, "write the vectors of spec/vectors/market anew")

const vectorsIn = "../spec/vectors/market/"

// pickVector is a choice of chunks. Have and Take count chunks of the weights 1, 2, 5, 10 … 1000.
type pickVector struct {
	Name   string `json:"name"`
	Expect string `json:"expect"`
	Have   counts `json:"have"`
	Units  Units  `json:"units"`
	Most   int    `json:"most"` // chunks
	Take   counts `json:"take"`
}

func (v *pickVector) run() error {
	got, ok := pick(&v.Have, v.Units, v.Most)
	if !ok {
		return fmt.Errorf("no such chunks")
	}
	if got != v.Take {
		return fmt.Errorf("takes %v", got)
	}
	return nil
}

func TestPickVectors(t *testing.T) {
	made := vectors.File[pickVector]{About: "Choices of whole chunks for a sum: spec/market.md, Chunks. have and take count chunks of the weights 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000."}
	for _, v := range []pickVector{
		{Name: "as many heavy ones as fit", Have: counts{9, 9, 9, 9}, Units: 38, Most: 128},
		{Name: "one heavy one less", Have: counts{0, 3, 1}, Units: 6, Most: 128},
		{Name: "two levels one less", Have: counts{0, 4, 1, 0, 3, 1}, Units: 68, Most: 128},
		{Name: "greed would take eleven", Have: counts{10, 0, 0, 0, 3, 1}, Units: 60, Most: 128},
		{Name: "equally few, tens plenty", Have: counts{20, 0, 2, 9}, Units: 12, Most: 128},
		{Name: "equally few, tens scarce", Have: counts{20, 1, 20, 0, 1}, Units: 12, Most: 128},
		{Name: "equally few of three kinds", Have: counts{3, 1, 8, 1}, Units: 17, Most: 128},
		{Name: "every weight", Have: counts{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, Units: 1888, Most: 128},
		{Name: "exactly as many as allowed", Have: counts{5}, Units: 5, Most: 5},
		{Name: "one more than allowed", Have: counts{5}, Units: 5, Most: 4, Expect: "error: no such chunks"},
		{Name: "no small change", Have: counts{0, 0, 0, 9}, Units: 25, Most: 128, Expect: "error: no such chunks"},
		{Name: "more than there is", Have: counts{1, 1, 1}, Units: 9, Most: 128, Expect: "error: no such chunks"},
		{Name: "nothing", Have: counts{1}, Units: 0, Most: 128, Expect: "error: no such chunks"},
	} {
		if v.Expect == "" {
			v.Expect = "ok"
			v.Take, _ = pick(&v.Have, v.Units, v.Most)
			if n, _ := fewest(&v.Have, uint32(v.Units)); n[v.Units] != v.Take.chunks() || v.Take.units() != uint64(v.Units) {
				t.Errorf("%s: took %v", v.Name, v.Take)
			}
		}
		made.Cases = append(made.Cases, v)
	}
	vectors.Check(t, *update, vectorsIn+"pick.json", made,
		func(v pickVector) (string, string) { return v.Name, v.Expect }, func(v pickVector) error { return v.run() })
}

// sliceVector is a search for sizes. X is what the maker gives, Y what the taker gives.
type sliceVector struct {
	Name   string `json:"name"`
	Expect string `json:"expect"`
	Target Units  `json:"target"` // of x
	Least  Units  `json:"least"`
	Most   Units  `json:"most"`
	LeastY Units  `json:"least_y"`
	MostY  Units  `json:"most_y"`
	ValueX Micros `json:"value_x"` // of a unit
	ValueY Micros `json:"value_y"`
	Maker  Bps    `json:"maker"` // premium
	Taker  Bps    `json:"taker"`
	Tied   bool   `json:"tied"`
	Room   Micros `json:"room"` // for both sides together; 0: no limit
	Picks  int    `json:"picks"`
	HaveX  counts `json:"have_x"`
	HaveY  counts `json:"have_y"`
	X      Units  `json:"x"`
	Y      Units  `json:"y"`
}

func (v *sliceVector) window() *window {
	w := &window{
		target: v.Target, least: v.Least, most: v.Most, yleast: v.LeastY, ymost: v.MostY, vx: v.ValueX, vy: v.ValueY,
		maker: v.Maker, taker: v.Taker, tied: v.Tied, x: v.HaveX, y: v.HaveY, picks: v.Picks, sum: maxMicros,
	}
	if v.Room > 0 {
		w.sum = v.Room
	}
	return w
}

func (v *sliceVector) run() error {
	c, ok := v.window().best()
	if !ok {
		return fmt.Errorf("no slice")
	}
	if c.x != v.X || c.y != v.Y {
		return fmt.Errorf("%d against %d units", c.x, c.y)
	}
	return nil
}

func TestSliceVectors(t *testing.T) {
	many := counts{50, 50, 50, 50, 50}
	base := sliceVector{
		Target: 100, Least: 1, Most: 100, LeastY: 1, MostY: 110, ValueX: 5_000_000, ValueY: 5_000_000, Picks: 128, HaveX: many, HaveY: many,
	}
	made := vectors.File[sliceVector]{About: "Sizes of a slice: spec/market.md, Slices."}
	add := func(name, expect string, change func(v *sliceVector)) {
		v := base
		v.Name, v.Expect = name, expect
		change(&v)
		x, y, ok := v.window().exhaustive()
		if ok != (expect == "ok") {
			t.Errorf("%s: a slice: %v", name, ok)
		}
		v.X, v.Y = x, y
		made.Cases = append(made.Cases, v)
	}
	add("at par", "ok", func(*sliceVector) {})
	add("the maker pays its premium", "ok", func(v *sliceVector) { v.Maker = 200 })
	add("the maker is paid a premium", "ok", func(v *sliceVector) { v.Maker, v.Taker = -150, 200 })
	add("premiums that do not meet", "error: no slice", func(v *sliceVector) { v.Maker, v.Taker = -100, 100 })
	add("a rate that only finer sizes can follow", "ok", func(v *sliceVector) { v.ValueY, v.Maker, v.Taker = 5_037_000, 30, 30 })
	add("too coarse for the rate", "error: no slice", func(v *sliceVector) { v.ValueY, v.Target, v.Most = 5_037_000, 20, 20 })
	add("the least overshoot", "ok", func(v *sliceVector) { v.Target, v.HaveX, v.HaveY = 93, counts{0, 0, 0, 20}, many })
	add("the least shortfall", "ok", func(v *sliceVector) { v.Target, v.Most, v.HaveX = 93, 95, counts{0, 0, 0, 20} })
	add("sizes that must be equal", "ok", func(v *sliceVector) { v.Tied, v.Maker, v.Taker, v.HaveY = true, 500, 500, counts{0, 0, 0, 0, 3, 1} })
	add("room for less", "ok", func(v *sliceVector) { v.Room = 333_000_000 })
	add("few chunks allowed", "ok", func(v *sliceVector) { v.Picks, v.HaveX, v.HaveY = 3, counts{9, 9, 9, 1, 1}, counts{9, 9, 9, 1, 1} })
	add("no room for the smallest fill", "error: no slice", func(v *sliceVector) { v.Least, v.Room = 50, 333_000_000 })
	vectors.Check(t, *update, vectorsIn+"slice.json", made,
		func(v sliceVector) (string, string) { return v.Name, v.Expect }, func(v sliceVector) error { return v.run() })
}

// offerVector is an offer in its one encoding, with its market.
type offerVector struct {
	Name   string      `json:"name"`
	Expect string      `json:"expect"`
	CBOR   vectors.Hex `json:"cbor"`
	Market wire.Hash   `json:"market"`
	Side   int         `json:"side"`
}

func (v *offerVector) run() error {
	o, err := ParseOffer(v.CBOR)
	if err != nil {
		return err
	}
	key, side, err := o.key()
	if err == nil && (key != v.Market || side != v.Side) {
		err = fmt.Errorf("market %s, side %d", key, side)
	}
	return err
}

func TestOfferVectors(t *testing.T) {
	w := &world{t: t, swap: wire.Hash(sum("swap")), escrow: vault("escrow"), now: 1_000_000}
	made := vectors.File[offerVector]{About: "Offers in deterministic CBOR, and the market and side that they belong to: spec/market.md, Offers."}
	add := func(name, expect string, o Offer, change func(b []byte) []byte) {
		b, err := wire.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		v := offerVector{Name: name, Expect: expect, CBOR: change(b)}
		if v.Market, v.Side, err = o.key(); err != nil {
			t.Fatal(err)
		}
		made.Cases = append(made.Cases, v)
	}
	same := func(b []byte) []byte { return b }
	alice, bob := w.swapOffer(1, "btc", 100, -50), w.swapOffer(1, "eth", 100, 200)
	add("btc for eth", "ok", alice, same)
	add("eth for btc", "ok", bob, same)
	if made.Cases[0].Market != made.Cases[1].Market || made.Cases[0].Side == made.Cases[1].Side {
		t.Error("the two do not meet")
	}
	other := alice
	other.Escrow = vault("another")
	add("at another escrow", "ok", other, same)
	other = alice
	other.Settle = 3
	add("unknown settlement", "error: settle 3", other, same)
	other.Settle = TitForTat
	add("tit-for-tat without a pace", "error: settle 2", other, same)
	other.Pace = &settle.Pace{First: 5, Growth: 200, Most: 20, Wait: 600}
	add("tit-for-tat", "ok", other, same)
	if made.Cases[len(made.Cases)-1].Market == made.Cases[0].Market {
		t.Error("an atomic offer meets one that goes step by step")
	}
	other.Pace = &settle.Pace{First: 5, Growth: 200, Most: 10, Wait: 600}
	add("tit-for-tat at another pace", "ok", other, same)
	if made.Cases[len(made.Cases)-1].Market == made.Cases[len(made.Cases)-2].Market {
		t.Error("offers of two paces meet")
	}
	other.Pace = &settle.Pace{First: 50, Growth: 200, Most: 10, Wait: 600}
	add("a pace that is none", "error: rounds of 50 to 10 units", other, same)
	other = alice
	other.Pace = &settle.Pace{First: 5, Growth: 200, Most: 10, Wait: 600}
	add("an atomic one with a pace", "error: settle 1", other, same)
	other = alice
	other.Premium = 5001
	add("absurd premium", "error: premium of 5001", other, same)
	add("a byte too many", "error: extraneous data", alice, func(b []byte) []byte { return append(b, 0) })
	add("cut", "error: unexpected EOF", alice, func(b []byte) []byte { return b[:len(b)-1] })
	vectors.Check(t, *update, vectorsIn+"offer.json", made,
		func(v offerVector) (string, string) { return v.Name, v.Expect }, func(v offerVector) error { return v.run() })
}

// valueVector is what a unit is worth, in µUSD.
type valueVector struct {
	Name     string      `json:"name"`
	Expect   string      `json:"expect"`
	Unit     coin.Amount `json:"unit"`
	Decimals uint8       `json:"decimals"`
	PerCoin  uint64      `json:"per_coin"` // µUSD
	Value    Micros      `json:"value"`
}

func (v *valueVector) run() error {
	d := coin.Denomination{ID: "d", Asset: coin.Asset{ID: "x", Chain: "c", Key: coin.Secp256k1, Address: "a", Decimals: v.Decimals}, Unit: v.Unit}
	got, err := unitValue(d, v.PerCoin)
	if err == nil && got != v.Value {
		err = fmt.Errorf("%d µUSD", got)
	}
	return err
}

func TestUnitValueVectors(t *testing.T) {
	made := vectors.File[valueVector]{About: "What a unit is worth: spec/market.md, Prices."}
	for _, v := range []struct {
		name, unit string
		decimals   uint8
		perCoin    uint64
		value      Micros
		expect     string
	}{
		{"0.0005 btc at $100,000", "50000", 8, 100_000_000_000, 50_000_000, "ok"},
		{"0.0125 eth at $4,000.01", "12500000000000000", 18, 4_000_010_000, 50_000_125, "ok"},
		{"a part of a µUSD is dropped", "100003", 8, 99_999_999_999, 100_002_999, "ok"},
		{"a dollar of 36 decimals", "1000000000000000000000000000000000000", 36, 1_000_000, 1_000_000, "ok"},
		{"decimals beyond the 18th are dropped first", "1999999999999999999999", 36, 9_000_000_000_000_000_000, 17_991, "ok"},
		{"a cent", "10000", 6, 1_000_000, 10_000, "ok"},
		{"below a cent", "9999", 6, 1_000_000, 0, "error: below $0.01"},
		{"$100,000", "100000000000", 6, 1_000_000, 100_000_000_000, "ok"},
		{"above $100,000", "100000000001", 6, 1_000_000, 0, "error: above $100000.00"},
		{"beyond 128 bits", "340282366920938463463374607431768211455", 18, 2, 0, "error: above $100000.00"},
	} {
		u, err := coin.ParseAmount(v.unit)
		if err != nil {
			t.Fatal(err)
		}
		made.Cases = append(made.Cases, valueVector{v.name, v.expect, u, v.decimals, v.perCoin, v.value})
	}
	vectors.Check(t, *update, vectorsIn+"value.json", made,
		func(v valueVector) (string, string) { return v.Name, v.Expect }, func(v valueVector) error { return v.run() })
}
