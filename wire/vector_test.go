package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/spec/vectors"
	"latchkey/wire"
)

var update = flag.Bool("update", false, "write spec/vectors/wire anew")

func check[T any](t *testing.T, name, about string, made []T, head func(T) (string, string), run func(T) error) {
	t.Helper()
	vectors.Check(t, *update, "../spec/vectors/wire/"+name, vectors.File[T]{About: about, Cases: made}, head, run)
}

type amountVector struct {
	Name   string      `json:"name"`
	Expect string      `json:"expect"`
	Text   string      `json:"text,omitempty"` // smallest units
	CBOR   vectors.Hex `json:"cbor,omitempty"`
}

func TestAmountVectors(t *testing.T) {
	most := "340282366920938463463374607431768211455"
	made := []amountVector{
		{"zero", "ok", "0", unhex(t, "50 0000000000000000 0000000000000000")},
		{"one", "ok", "1", unhex(t, "50 0000000000000000 0000000000000001")},
		{"twenty-one million bitcoins", "ok", "2100000000000000", unhex(t, "50 0000000000000000 000775f05a074000")},
		{"2^64 - 1", "ok", "18446744073709551615", unhex(t, "50 0000000000000000 ffffffffffffffff")},
		{"2^64", "ok", "18446744073709551616", unhex(t, "50 0000000000000001 0000000000000000")},
		{"2^128 - 1", "ok", most, unhex(t, "50 ffffffffffffffff ffffffffffffffff")},
		{"2^128", "error: overflows", "340282366920938463463374607431768211456", nil},
		{"too many digits", "error: overflows", strings.Repeat("1", 40), nil},
		{"negative", "error: decimal digits", "-1", nil},
		{"a sign", "error: decimal digits", "+1", nil},
		{"a leading zero", "error: leading zero", "01", nil},
		{"a fraction", "error: decimal digits", "1.5", nil},
		{"an exponent", "error: decimal digits", "1e3", nil},
		{"a space", "error: decimal digits", " 1", nil},
		{"cbor: a plain integer", "error: byte string of 16 bytes", "", unhex(t, "01")},
		{"cbor: 15 bytes", "error: byte string of 16 bytes", "", unhex(t, "4f"+strings.Repeat("00", 15))},
		{"cbor: 17 bytes", "error: byte string of 16 bytes", "", unhex(t, "51"+strings.Repeat("00", 17))},
		{"cbor: a long form of the length", "error: byte string of 16 bytes", "", unhex(t, "5810"+strings.Repeat("00", 16))},
		{"cbor: a text string", "error: byte string of 16 bytes", "", unhex(t, "70"+strings.Repeat("30", 16))},
		{"cbor: truncated", "error: EOF", "", unhex(t, "50"+strings.Repeat("00", 15))},
		{"cbor: a bignum", "error: tag", "", unhex(t, "c24101")},
	}
	check(t, "amount.json", "Amounts of smallest units, as text and as CBOR: a byte string of 16 bytes, big-endian.",
		made, func(v amountVector) (string, string) { return v.Name, v.Expect }, func(v amountVector) error {
			var a, b coin.Amount
			if v.Text != "" {
				if err := a.UnmarshalText([]byte(v.Text)); err != nil {
					return err
				}
			}
			if err := wire.Unmarshal(v.CBOR, &b); err != nil {
				return err
			}
			if a != b || a.String() != v.Text {
				return fmt.Errorf("text reads as %s, CBOR as %s", a, b)
			}
			return nil
		})
}

type denominationVector struct {
	Name    string             `json:"name"`
	Expect  string             `json:"expect"`
	CBOR    vectors.Hex        `json:"cbor"`
	Content *coin.Denomination `json:"content,omitempty"`
}

// TestDenominationVectors shows the rules of wire.Unmarshal on one structure.
func TestDenominationVectors(t *testing.T) {
	usdc := coin.Denomination{
		ID:    "usdc-2026-11-a",
		Asset: coin.Asset{ID: "eth:usdc", Chain: "eip155:1337", Key: coin.Secp256k1, Address: "eoa", Decimals: 6},
		Unit:  coin.NewAmount(50_000_000),
	}
	xmr := coin.Denomination{
		ID:    "xmr-2026-11-a",
		Asset: coin.Asset{ID: "xmr", Chain: "monero:regtest", Key: coin.Ed25519, Address: "standard", Decimals: 12},
		Unit:  coin.NewAmount(300_000_000_000),
	}
	enc := func(d coin.Denomination) []byte {
		b, err := wire.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	made := []denominationVector{{"a token", "ok", enc(usdc), &usdc}, {"a coin on ed25519", "ok", enc(xmr), &xmr}}
	good := enc(xmr)
	bytesAs := func(name, want string, b []byte) {
		made = append(made, denominationVector{name, "error: " + want, b, nil})
	}
	replace := func(old, new string) []byte {
		a, b := unhex(t, old), unhex(t, new)
		if !bytes.Contains(good, a) {
			t.Fatalf("%x is not in %x", a, good)
		}
		return bytes.Replace(good, a, b, 1)
	}
	bytesAs("empty", "EOF", nil)
	bytesAs("truncated", "EOF", good[:len(good)-1])
	bytesAs("a byte too many", "extraneous", append(slices.Clone(good), 0))
	bytesAs("an indefinite map", "indefinite", append(append([]byte{0xbf}, good[1:]...), 0xff))
	bytesAs("a tag", "tag", append([]byte{0xd9, 0xd9, 0xf7}, good...))
	bytesAs("an array around it", "cannot unmarshal", append([]byte{0x81}, good...))
	bytesAs("a number in its long form", "deterministic", replace("03 02 04 68", "03 18 02 04 68"))
	bytesAs("a number as a float", "cannot unmarshal", replace("03 02 04 68", "03 f9 4000 04 68"))
	bytesAs("a negative number", "cannot unmarshal", replace("03 02 04 68", "03 21 04 68"))
	bytesAs("a number beyond its range", "cannot unmarshal", replace("03 02 04 68", "03 19 0102 04 68"))
	bytesAs("null for a number", "deterministic", replace("03 02 04 68", "03 f6 04 68"))
	bytesAs("a missing field", "deterministic", append([]byte{0xa2}, good[1:len(good)-18]...))
	bytesAs("an unknown field", "unknown field", append(append([]byte{0xa4}, good[1:]...), 0x18, 0x63, 0x00))
	bytesAs("a repeated field", "duplicate", append(append([]byte{0xa4}, good[1:]...), good[len(good)-18:]...))
	bytesAs("fields out of order", "deterministic", append(append([]byte{0xa3}, good[len(good)-18:]...), good[1:len(good)-18]...))
	bytesAs("text that is not UTF-8", "UTF-8", replace("63 786d72", "63 78ffff"))
	for _, test := range []struct {
		name, want string
		change     func(*coin.Denomination)
	}{
		{"no name", "denomination name is empty", func(d *coin.Denomination) { d.ID = "" }},
		{"upper case in the asset's name", "want lower case", func(d *coin.Denomination) { d.Asset.ID = "XMR" }},
		{"no chain", "chain name is empty", func(d *coin.Denomination) { d.Asset.Chain = "" }},
		{"no address form", "address form name is empty", func(d *coin.Denomination) { d.Asset.Address = "" }},
		{"no key type", "unknown key type 0", func(d *coin.Denomination) { d.Asset.Key = 0 }},
		{"an unknown key type", "unknown key type 3", func(d *coin.Denomination) { d.Asset.Key = 3 }},
		{"absurd decimals", "37 decimals", func(d *coin.Denomination) { d.Asset.Decimals = 37 }},
		{"a unit of nothing", "unit of nothing", func(d *coin.Denomination) { d.Unit = coin.Amount{} }},
	} {
		d := xmr
		test.change(&d)
		bytesAs(test.name, test.want, enc(d))
	}
	check(t, "denomination.json", "A denomination in deterministic CBOR, decoded and then checked.",
		made, func(v denominationVector) (string, string) { return v.Name, v.Expect }, func(v denominationVector) error {
			var d coin.Denomination
			if err := wire.Unmarshal(v.CBOR, &d); err != nil {
				return err
			}
			if err := d.Check(); err != nil {
				return err
			}
			if v.Content == nil || d != *v.Content || !bytes.Equal(enc(d), v.CBOR) {
				return fmt.Errorf("reads as %+v", d)
			}
			return nil
		})
}

type hashVector struct {
	Name    string      `json:"name"`
	Expect  string      `json:"expect"`
	Purpose string      `json:"purpose"`
	Bytes   vectors.Hex `json:"bytes"`
	Hash    wire.Hash   `json:"hash"`
}

func TestHashVectors(t *testing.T) {
	var made []hashVector
	for _, v := range []hashVector{
		{Name: "nothing"}, {Name: "no purpose", Bytes: []byte("abc")},
		{Name: "a purpose", Purpose: "latchkey/test/v1", Bytes: []byte("abc")},
		{Name: "purpose and bytes cut elsewhere", Purpose: "latchkey/test/v1a", Bytes: []byte("bc")},
	} {
		v.Expect = "ok"
		v.Hash = sha256.Sum256(append(append([]byte{byte(len(v.Purpose))}, v.Purpose...), v.Bytes...))
		made = append(made, v)
	}
	check(t, "hash.json", "SHA-256 of the purpose's length in one byte, the purpose, and the bytes.",
		made, func(v hashVector) (string, string) { return v.Name, v.Expect }, func(v hashVector) error {
			if got := wire.HashBytes(v.Purpose, v.Bytes); got != v.Hash {
				return fmt.Errorf("got %s", got)
			}
			return nil
		})
}

// identity makes a vault's keys from a name: the Ed25519 seed and the input to
// HPKE's DeriveKeyPair are both its SHA-256.
func identity(t *testing.T, name string) (wire.Identity, ed25519.PrivateKey) {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	k := ed25519.NewKeyFromSeed(seed[:])
	kem, err := hpke.MLKEM768X25519().DeriveKeyPair(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return wire.Identity{Sign: k.Public().(ed25519.PublicKey), KEM: kem.PublicKey().Bytes()}, k
}

type identityVector struct {
	Name   string       `json:"name"`
	Expect string       `json:"expect"`
	Sign   vectors.Hex  `json:"sign"`
	KEM    vectors.Hex  `json:"kem"`
	ID     wire.VaultID `json:"id"`
}

func TestIdentityVectors(t *testing.T) {
	var made []identityVector
	for _, name := range []string{"owner", "escrow", "stranger"} {
		v, _ := identity(t, name)
		id, err := v.ID()
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, identityVector{name, "ok", vectors.Hex(v.Sign), v.KEM, id})
	}
	sign, kem := made[0].Sign, made[0].KEM
	made = append(made,
		identityVector{Name: "no keys", Expect: "error: signing key of 0 bytes"},
		identityVector{Name: "a short signing key", Expect: "error: signing key of 31 bytes", Sign: sign[:31], KEM: kem},
		identityVector{Name: "no KEM key", Expect: "error: HPKE key of 0 bytes", Sign: sign},
		identityVector{Name: "a short KEM key", Expect: "error: HPKE key of 1215 bytes", Sign: sign, KEM: kem[:1215]},
		identityVector{Name: "a long KEM key", Expect: "error: HPKE key of 1217 bytes", Sign: sign, KEM: append(slices.Clone(kem), 0)},
		identityVector{Name: "a KEM key that is not reduced", Expect: "error: HPKE key of 1216 bytes", Sign: sign, KEM: bytes.Repeat([]byte{0xff}, 1216)},
	)
	check(t, "identity.json", "Identities and their ids. The first three are used by other files, by their names.",
		made, func(v identityVector) (string, string) { return v.Name, v.Expect }, func(v identityVector) error {
			id, err := wire.Identity{Sign: v.Sign, KEM: v.KEM}.ID()
			if err == nil && id != v.ID {
				err = fmt.Errorf("got %s", id)
			}
			return err
		})
}

type signatureVector struct {
	Name     string      `json:"name"`
	Expect   string      `json:"expect"`
	Identity string      `json:"identity"` // by its name in identity.json
	Purpose  string      `json:"purpose"`
	Body     vectors.Hex `json:"body"`
	Sig      vectors.Hex `json:"sig"`
}

func TestSignatureVectors(t *testing.T) {
	ids := map[string]wire.Identity{}
	for _, name := range []string{"owner", "escrow"} {
		ids[name], _ = identity(t, name)
	}
	_, k := identity(t, "owner")
	body := []byte("body")
	good := signatureVector{"signature", "ok", "owner", "latchkey/test/v1", body, wire.Sign(k, "latchkey/test/v1", body)}
	made := []signatureVector{good}
	for _, test := range []struct {
		name   string
		change func(*signatureVector)
	}{
		{"for another purpose", func(v *signatureVector) { v.Purpose = "latchkey/test/v2" }},
		{"for another body", func(v *signatureVector) { v.Body = []byte("bodY") }},
		{"by another", func(v *signatureVector) { v.Identity = "escrow" }},
		{"of the bare body", func(v *signatureVector) { v.Sig = ed25519.Sign(k, body) }},
		{"changed", func(v *signatureVector) { v.Sig = append([]byte{v.Sig[0] ^ 1}, v.Sig[1:]...) }},
		{"truncated", func(v *signatureVector) { v.Sig = v.Sig[:63] }},
		{"missing", func(v *signatureVector) { v.Sig = nil }},
	} {
		v := good
		test.change(&v)
		v.Name, v.Expect = test.name, "error: signature does not verify"
		made = append(made, v)
	}
	check(t, "signature.json", "Ed25519 signatures (RFC 8032) of a zero byte, \"latchkey\" and the hash of a body for a purpose.",
		made, func(v signatureVector) (string, string) { return v.Name, v.Expect }, func(v signatureVector) error {
			err := ids[v.Identity].Verify(v.Purpose, v.Body, v.Sig)
			if err != nil && !errors.Is(err, wire.ErrSignature) {
				t.Errorf("%s: %v is not ErrSignature", v.Name, err)
			}
			return err
		})
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
