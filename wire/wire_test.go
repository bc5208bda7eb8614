package wire

import (
	"crypto/ed25519"
	"crypto/hpke"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

type sample struct {
	N    uint64   `cbor:"1,keyasint"`
	B    []byte   `cbor:"2,keyasint"`
	List []uint32 `cbor:"3,keyasint,omitempty"`
}

func TestUnmarshalRefuses(t *testing.T) {
	for _, test := range []struct{ name, hex, want string }{
		{"empty", "", "EOF"},
		{"truncated", "a20107024101"[:10], "EOF"},
		{"trailing byte", "a201070241ff00", "extraneous"},
		{"keys out of order", "a20241ff0107", "deterministic"},
		{"long form of a small number", "a20118070241ff", "deterministic"},
		{"repeated key", "a301070107" + "0241ff", "duplicate"},
		{"unknown key", "a301070241ff0901", "unknown field"},
		{"indefinite map", "bf01070241ffff", "indefinite"},
		{"indefinite string", "a20107025f41ffff", "indefinite"},
		{"tag", "a201c1070241ff", "tag"},
		{"float for a number", "a201f93c000241ff", "cannot unmarshal"},
		{"negative for unsigned", "a201200241ff", "cannot unmarshal"},
		{"missing field", "a10107", "deterministic"},
		{"array for the map", "8101", "cannot unmarshal"},
		{"depth", strings.Repeat("81", 100) + "00", "max nested level"},
		{"absurd length", "9bffffffffffffffff", "too large"},
	} {
		raw, err := hex.DecodeString(test.hex)
		if err != nil {
			t.Fatal(err)
		}
		v := sample{N: 42}
		err = Unmarshal(raw, &v)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want one with %q", test.name, err, test.want)
		}
		if v.N != 42 || v.B != nil {
			t.Errorf("%s: changed the value to %v", test.name, v)
		}
		// Who trusts the bytes takes another encoding of a value, and nothing else.
		if err := Trust(raw, &v); (err == nil) != (test.want == "deterministic") {
			t.Errorf("%s: trusted, got error %v", test.name, err)
		} else if err != nil && v.N != 42 {
			t.Errorf("%s: trusted, changed the value to %v", test.name, v)
		}
	}
	if err := Unmarshal(make([]byte, MaxSize+1), &sample{}); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("oversized: got %v", err)
	}
	if err := Trust(make([]byte, MaxSize+1), &sample{}); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("oversized, trusted: got %v", err)
	}
}

func TestPurposesDiffer(t *testing.T) {
	if HashBytes("a", []byte("bc")) == HashBytes("ab", []byte("c")) {
		t.Error("two purposes, one hash")
	}
	k := ed25519.NewKeyFromSeed(make([]byte, 32))
	id := Identity{Sign: k.Public().(ed25519.PublicKey)}
	sig := Sign(k, "latchkey/one", []byte("body"))
	if err := id.Verify("latchkey/one", []byte("body"), sig); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"other purpose":  id.Verify("latchkey/two", []byte("body"), sig),
		"other body":     id.Verify("latchkey/one", []byte("bodY"), sig),
		"no signature":   id.Verify("latchkey/one", []byte("body"), nil),
		"empty identity": Identity{}.Verify("latchkey/one", []byte("body"), sig),
		"cut signature":  id.Verify("latchkey/one", []byte("body"), sig[:63]),
	} {
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: got %v, want ErrSignature", name, err)
		}
	}
}

func TestIdentity(t *testing.T) {
	kem, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	id := Identity{Sign: make([]byte, 32), KEM: kem.PublicKey().Bytes()}
	a, err := id.ID()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := a.MarshalText()
	var b VaultID
	if err := b.UnmarshalText(text); err != nil || a != b {
		t.Errorf("got %v, %v, want %v", b, err, a)
	}
	for _, bad := range []Identity{{}, {Sign: id.Sign}, {Sign: id.Sign, KEM: id.KEM[1:]}, {Sign: id.Sign[1:], KEM: id.KEM}} {
		if _, err := bad.ID(); err == nil {
			t.Errorf("identity with keys of %d and %d bytes: want an error", len(bad.Sign), len(bad.KEM))
		}
	}
	for _, s := range []string{"", "00", strings.Repeat("g", 64), strings.Repeat("0", 66)} {
		if err := b.UnmarshalText([]byte(s)); err == nil || b != a {
			t.Errorf("%q: got %v, %v", s, b, err)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	good, _ := Marshal(sample{N: 1 << 40, B: []byte{1}, List: []uint32{3, 4}})
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		var v sample
		if Unmarshal(b, &v) != nil {
			return
		}
		if again, err := Marshal(v); err != nil || string(again) != string(b) {
			t.Errorf("%x re-encodes to %x, %v", b, again, err)
		}
	})
}

func TestUTC(t *testing.T) {
	for at, want := range map[int64]string{0: "1970-01-01T00:00:00Z", 1_800_000_000: "2027-01-15T08:00:00Z", -1: "1969-12-31T23:59:59Z"} {
		if got := UTC(at); got != want {
			t.Errorf("UTC(%d) is %s, want %s", at, got, want)
		}
	}
}
