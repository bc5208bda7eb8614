package key

import (
	"crypto/rand"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"pgregory.net/rapid"

	"latchkey/coin"
)

// The multiplication in constant time agrees with the library's, for zero, the
// ends of the range, scalars with long runs of one digit, and any others.
func TestSecpBase(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, k *secp256k1.ModNScalar) {
		var want secp256k1.JacobianPoint
		secp256k1.ScalarBaseMultNonConst(k, &want)
		x := secpScalar(k)
		got := secpBase(&x)
		if !got.EquivalentNonConst(&want) || !want.EquivalentNonConst(&got) {
			t.Fatalf("%v·G is wrong", k)
		}
	}
	var ones secp256k1.ModNScalar
	b := [32]byte{}
	for i := range b {
		b[i] = 0x11
	}
	ones.SetBytes(&b)
	for n := range uint32(40) {
		k := new(secp256k1.ModNScalar).SetInt(n)
		check(t, k)
		check(t, new(secp256k1.ModNScalar).NegateVal(k))
		check(t, new(secp256k1.ModNScalar).Add2(k, &ones)) // every digit zero, but the last ones
		check(t, new(secp256k1.ModNScalar).NegateVal(k).Add(&ones))
	}
	_, offset := comb()
	for i := range 52 { // one digit at each place, with all its values
		for d := range byte(32) {
			var b [33]byte
			b[32-5*i/8] = d << (5 * i % 8)
			b[31-5*i/8] = byte(uint16(d) << (5 * i % 8) >> 8)
			k := new(secp256k1.ModNScalar)
			if b[0] != 0 || k.SetByteSlice(b[1:]) {
				continue // beyond the group's order
			}
			check(t, k)
			check(t, k.Add(new(secp256k1.ModNScalar).NegateVal(offset)))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, drawShare(t, coin.Secp256k1, "k").scalar().secp())
	})
}

func BenchmarkSecpBase(b *testing.B) {
	s := mustShare(b, coin.Secp256k1, rand.Reader)
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			secpBase(s.scalar())
		}
	})
	b.Run("library", func(b *testing.B) {
		k := s.scalar().secp()
		var z secp256k1.JacobianPoint
		for b.Loop() {
			secp256k1.ScalarBaseMultNonConst(k, &z)
		}
	})
}
