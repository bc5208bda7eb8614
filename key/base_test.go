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
	for i := range 64 { // one digit at each place, with all its values
		for d := range byte(16) {
			b := [32]byte{}
			b[31-i/2] = d << (4 * (i % 2))
			k := new(secp256k1.ModNScalar)
			k.SetBytes(&b)
			check(t, k)
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
