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
		if err := CheckSum(shares, points); err != nil {
			t.Fatalf("%d shares: %v", i+1, err)
		}
	}
	if err := CheckSum(nil, nil); err != nil {
		t.Error(err)
	}
	if err := CheckSum(shares[1:], points); err == nil {
		t.Error("a missing share: want an error")
	}
	if err := CheckSum(shares, points[:len(points)-1]); err == nil {
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
			if err := CheckSum(shares, points); err == nil {
				t.Errorf("share %d is %s: want an error", i, name)
			}
		}
		shares[i] = good
	}
	// A share and its negative leave nothing on both sides.
	a := shares[1]
	neg := a.scalar().negate()
	b := newShare(neg)
	if err := CheckSum([]Share{a, b}, []Point{a.Public(), b.Public()}); err != nil {
		t.Errorf("a sum of nothing: %v", err)
	}
	if err := CheckSum([]Share{a, b}, []Point{a.Public(), a.Public()}); err == nil {
		t.Error("a sum of nothing for points that are something: want an error")
	}
}
