package enclave

import (
	"crypto/ed25519"
	"fmt"
	"reflect"
	"testing"

	"latchkey/attest"
	"latchkey/head"
	"latchkey/wire"
)

// fill sets everything in v, each part to another value; lists have two elements.
func fill(v reflect.Value, n *uint64) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Array:
		fill(v.Index(0), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.String:
		v.SetString(fmt.Sprint("name ", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(*n)
	case reflect.Int64:
		v.SetInt(int64(*n))
	default:
		panic("a policy holds a " + v.Kind().String() + ": teach this test")
	}
}

// vary changes every part of v in turn, says which, and puts it back.
func vary(v reflect.Value, name string, changed func(name string)) {
	old := reflect.New(v.Type()).Elem()
	old.Set(v)
	to := func(what string, x reflect.Value) {
		v.Set(x.Convert(v.Type()))
		changed(name + what)
		v.Set(old)
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			vary(v.Field(i), name+"."+v.Type().Field(i).Name, changed)
		}
	case reflect.Array:
		vary(v.Index(0), name+"[0]", changed)
	case reflect.Slice:
		to(", none", reflect.Zero(v.Type()))
		to(", cut", v.Slice(0, 1))
		to(", turned round", reflect.Append(reflect.Append(reflect.Zero(v.Type()), v.Index(1)), v.Index(0)))
		to(", longer", reflect.AppendSlice(v.Slice3(0, 2, 2), v.Slice(0, 1)))
		for i := range v.Len() {
			vary(v.Index(i), fmt.Sprintf("%s[%d]", name, i), changed)
		}
	case reflect.String:
		to("", reflect.ValueOf(v.String()+"x"))
	case reflect.Bool:
		to("", reflect.ValueOf(!v.Bool()))
	case reflect.Uint8, reflect.Uint64:
		to("", reflect.ValueOf(v.Uint()+1))
	case reflect.Int64:
		to("", reflect.ValueOf(v.Int()+1))
	}
}

// What a vault is bound to has one digest, which stays, and whatever is changed
// in it gives another.
func TestTrustDigest(t *testing.T) {
	keyOf := func(seed byte) ed25519.PublicKey {
		s := make([]byte, ed25519.SeedSize)
		s[0] = seed
		return ed25519.NewKeyFromSeed(s).Public().(ed25519.PublicKey)
	}
	log := func(seed byte) head.LogKey {
		k, err := head.NewLogKey("escrow.test/log", keyOf(seed))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	witness := func(seed byte) head.WitnessKey {
		k, err := head.NewWitnessKey("witness.test/1", keyOf(seed))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	trust := Trust{Role: "owner", Origin: "escrow.test/log", LogKey: log(1), Witnesses: []head.WitnessKey{witness(2), witness(3)}, K: 3, F: 1}
	var n uint64
	fill(reflect.ValueOf(&trust.Policy).Elem(), &n)
	seen := map[wire.Hash]string{}
	note := func(name string, x Trust) wire.Hash {
		t.Helper()
		d, err := x.digest()
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := seen[d]; twice {
			t.Errorf("%q and %q have one digest", name, other)
		}
		seen[d] = name
		return d
	}
	const want = "20d00bcd9826560635430edf6fd28c193a37ae42b0220a9c245cdae419718129"
	if got := note("as it is", trust).String(); got != want {
		t.Errorf("digest %s, want %s: vaults that have started would find another trust and refuse to run", got, want)
	}
	for name, change := range map[string]func(*Trust){
		"role":            func(x *Trust) { x.Role = "escrow" },
		"origin":          func(x *Trust) { x.Origin = "other.test/log" },
		"log key":         func(x *Trust) { x.LogKey = log(9) },
		"no log key":      func(x *Trust) { x.LogKey = head.LogKey{} },
		"a witness":       func(x *Trust) { x.Witnesses = []head.WitnessKey{witness(2), witness(9)} },
		"fewer":           func(x *Trust) { x.Witnesses = x.Witnesses[:1] },
		"none":            func(x *Trust) { x.Witnesses = nil },
		"their order":     func(x *Trust) { x.Witnesses = []head.WitnessKey{witness(3), witness(2)} },
		"quorum":          func(x *Trust) { x.K = 2 },
		"faulty":          func(x *Trust) { x.F = 0 },
		"both, swapped":   func(x *Trust) { x.K, x.F = x.F, x.K },
		"an empty policy": func(x *Trust) { x.Policy = attest.Policy{} },
	} {
		x := trust
		change(&x)
		note(name, x)
	}
	parts := 0
	vary(reflect.ValueOf(&trust.Policy).Elem(), "policy", func(name string) { parts++; note(name, trust) })
	if parts < 60 {
		t.Errorf("only %d parts of a policy were changed", parts)
	}
}
