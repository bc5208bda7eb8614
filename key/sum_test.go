package key

import (
	"crypto/rand"
	"testing"

	"latchkey/coin"
)

func TestCheckSum(t *testing.T) {
	var shares []Share
	var points []Point
	for i := range 20 {
		typ := coin.Secp256k1
		if i%3 == 0 {
			typ = coin.Ed25519
		}
		s, err := NewShare(typ, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		shares, points = append(shares, s), append(points, s.Public())
		if err := CheckSum(shares, points, nil); err != nil {
			t.Fatalf("%d shares: %v", i+1, err)
		}
	}
	if err := CheckSum(nil, nil, nil); err != nil {
		t.Error(err)
	}
	if err := CheckSum(shares[1:], points, nil); err == nil {
		t.Error("a missing share: want an error")
	}
	if err := CheckSum(shares, points[:len(points)-1], nil); err == nil {
		t.Error("a missing point: want an error")
	}
	for i := range shares {
		other, err := NewShare(shares[i].Type(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		good := shares[i]
		for name, bad := range map[string]Share{"another": other, "none": {}} {
			shares[i] = bad
			if err := CheckSum(shares, points, nil); err == nil {
				t.Errorf("share %d is %s: want an error", i, name)
			}
		}
		shares[i] = good
	}
	// A share and its negative leave nothing on both sides.
	a := shares[1]
	neg := a.scalar().negate()
	b := newShare(neg)
	if err := CheckSum([]Share{a, b}, []Point{a.Public(), b.Public()}, nil); err != nil {
		t.Errorf("a sum of nothing: %v", err)
	}
	if err := CheckSum([]Share{a, b}, []Point{a.Public(), a.Public()}, nil); err == nil {
		t.Error("a sum of nothing for points that are something: want an error")
	}
	// Points may be summed before, and others taken out.
	sums, err := SumPoints(shares)
	if err != nil || len(sums) != 2 {
		t.Fatalf("%d sums: %v", len(sums), err)
	}
	for name, c := range map[string]struct {
		shares      []Share
		plus, minus []Point
		good        bool
	}{
		"the sums":                      {shares, sums, nil, true},
		"a share less":                  {shares[1:], sums, points[:1], true},
		"a share less than there is":    {shares[1:], sums, nil, false},
		"another share less":            {shares[1:], sums, points[3:4], false},
		"of another type":               {shares[1:], sums, points[1:2], false},
		"a share more":                  {append([]Share{a}, shares...), append(sums[:2:2], a.Public()), nil, true},
		"one sum":                       {shares, sums[:1], nil, false},
		"no point":                      {shares, append(sums[:2:2], Point{}), nil, false},
		"no point less":                 {shares, sums, []Point{{}}, false},
		"a sum of shares that is empty": {nil, sums, sums, true},
	} {
		if err := CheckSum(c.shares, c.plus, c.minus); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	if out, err := SumPoints([]Share{a, b}); err != nil || len(out) != 0 {
		t.Errorf("a sum of nothing: %d points, %v", len(out), err)
	}
	if _, err := SumPoints([]Share{a, {}}); err == nil {
		t.Error("a sum with no share: want an error")
	}
}
