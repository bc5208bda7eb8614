package key

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"latchkey/coin"
	"latchkey/wire"
)

// traces are the forms in which a scalar could show up in a text.
func traces(secret []byte) []string {
	back := slices.Clone(secret)
	slices.Reverse(back)
	return []string{
		string(secret), hex.EncodeToString(secret), hex.EncodeToString(back),
		strings.ToUpper(hex.EncodeToString(secret)), strings.Trim(fmt.Sprint(secret), "[]"),
		new(big.Int).SetBytes(secret).String(), new(big.Int).SetBytes(back).String(),
		strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", secret), "[]byte{"), "}"),
	}
}

func tells(text string, secret []byte) bool {
	return slices.ContainsFunc(traces(secret), func(s string) bool { return strings.Contains(text, s) })
}

// No verb, no encoder and no logger tells a secret, wherever in a value it is.
func TestSecretsStaySecret(t *testing.T) {
	s := mustShare(t, coin.Secp256k1, newStream("secret"))
	secret := s.Expose()
	d, err := ParsePrivate(secret, s.Public())
	if err != nil {
		t.Fatal(err)
	}
	type outer struct {
		Share   Share
		hidden  Share
		Private Private
		private Private
		Map     map[string]Share
		list    []Share
		pointer *Share
		any     any
	}
	o := outer{s, s, d, d, map[string]Share{"a": s}, []Share{s}, &s, s}
	values := map[string]any{"share": s, "private": d, "pointer": &s, "pointer to private": &d, "struct": o, "pointer to struct": &o, "list": []Share{s}, "array": [1]Private{d}}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%b", "%o", "%c", "%U", "%e", "%t", "%p", "%w", "%T", "%z", "%100v", "%.3v"} {
			if text := fmt.Sprintf(verb, v); tells(text, secret) {
				t.Errorf("%s with %s tells the secret", name, verb)
			}
		}
		var logs bytes.Buffer
		slog.New(slog.NewTextHandler(&logs, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&logs, nil)).Info("x", "v", v)
		if tells(logs.String(), secret) {
			t.Errorf("%s: the log tells the secret", name)
		}
		for encoder, encode := range map[string]func() ([]byte, error){
			"json": func() ([]byte, error) { return json.Marshal(v) },
			"cbor": func() ([]byte, error) { return wire.Marshal(v) },
			"xml":  func() ([]byte, error) { return xml.Marshal(v) },
			"gob": func() ([]byte, error) {
				var b bytes.Buffer
				err := gob.NewEncoder(&b).Encode(v)
				return b.Bytes(), err
			},
		} {
			if out, err := encode(); err == nil || tells(string(out), secret) {
				t.Errorf("%s: %s wrote %q, %v; want an error", name, encoder, out, err)
			}
		}
	}
	for _, v := range []any{s, d, &s, Share{}, Private{}} {
		if got := fmt.Sprintf("%v %+v %#v %s %x", v, v, v, v, v); got != strings.TrimSpace(strings.Repeat("[redacted] ", 5)) {
			t.Errorf("%T prints as %s", v, got)
		}
	}
}

// Errors do not tell the secrets that they are about.
func TestErrorsTellNothing(t *testing.T) {
	for _, kt := range bothTypes {
		a, b, other := mustShare(t, kt, newStream("a")), mustShare(t, kt, newStream("b")), mustShare(t, kt, newStream("c"))
		over := bytes.Repeat([]byte{0xff}, 32)
		neg := a.scalar().negate()
		_, e1 := ParseShare(kt, over)
		_, e2 := ParseShare(kt, a.Expose()[:31])
		_, e3 := Combine(a, b, other.Public())
		_, e4 := ParsePrivate(a.Expose(), other.Public())
		_, e5 := a.Minus(a)
		_, e6 := a.Plus(newShare(neg))
		e7 := CheckShare(a, b.Public(), other.Public())
		_, _, _, _, e8 := refreshOne(a, bytes.NewReader(wideOf(a)))
		_, _, _, _, e9 := refreshOne(a, bytes.NewReader(nil))
		for i, err := range []error{e1, e2, e3, e4, e5, e6, e7, e8, e9} {
			if err == nil {
				t.Fatalf("case %d: want an error", i+1)
			}
			for _, secret := range [][]byte{a.Expose(), b.Expose(), over, a.Expose()[:31]} {
				if tells(err.Error(), secret) {
					t.Errorf("%v tells a secret", err)
				}
			}
		}
	}
}

// wideOf returns the 64 random bytes from which NewShare draws s.
func wideOf(s Share) []byte {
	wide := make([]byte, 64)
	if s.Type() == coin.Ed25519 {
		copy(wide, s.Expose())
	} else {
		copy(wide[32:], s.Expose())
	}
	return wide
}

func TestNewShareRefuses(t *testing.T) {
	for _, test := range []struct {
		name, want string
		kt         coin.KeyType
		rand       io.Reader
	}{
		{"zero", "gave zero", coin.Secp256k1, bytes.NewReader(make([]byte, 64))},
		{"zero", "gave zero", coin.Ed25519, bytes.NewReader(make([]byte, 64))},
		{"a short source", "unexpected EOF", coin.Secp256k1, bytes.NewReader(make([]byte, 63))},
		{"no type", "unknown key type 0", 0, newStream("")},
		{"an unknown type", "unknown key type 3", 3, newStream("")},
	} {
		if s, err := NewShare(test.kt, test.rand); err == nil || !strings.Contains(err.Error(), test.want) || !s.IsZero() {
			t.Errorf("%s: got %v, %v, want an error with %q", test.name, s, err, test.want)
		}
	}
	for _, kt := range []coin.KeyType{0, 3, 255} {
		if _, err := ParseShare(kt, bytes.Repeat([]byte{1}, 32)); err == nil || !strings.Contains(err.Error(), "unknown key type") {
			t.Errorf("%v: got %v", kt, err)
		}
		if _, err := ParsePoint(kt, bytes.Repeat([]byte{2}, 33)); err == nil || !strings.Contains(err.Error(), "unknown key type") {
			t.Errorf("%v: got %v", kt, err)
		}
	}
}

// A Share that holds nothing is refused by everything, and types do not mix.
func TestNothingAndMixedTypes(t *testing.T) {
	s, e := mustShare(t, coin.Secp256k1, newStream("s")), mustShare(t, coin.Ed25519, newStream("e"))
	erased := mustShare(t, coin.Secp256k1, newStream("x"))
	copied := erased
	secret := erased.scalar().b[:]
	erased.Erase()
	if !bytes.Equal(secret, make([]byte, 32)) || !copied.IsZero() {
		t.Error("Erase left the secret, or a copy of it")
	}
	ctx := ProofContext{wire.Hash{1}, 0, Owner, wire.VaultID{1}, wire.VaultID{2}}
	P := s.Public()
	for name, o := range map[string]Share{"zero": {}, "erased": erased, "copy of erased": copied, "other type": e} {
		_, e1 := s.Plus(o)
		_, e2 := o.Plus(s)
		_, e3 := s.Minus(o)
		_, e4 := o.Minus(s)
		_, e5 := Combine(s, o, P)
		e6 := CheckShare(o, P, P)
		e7 := CheckSum([]Share{s, o}, []Point{P, P}, nil)
		for i, err := range []error{e1, e2, e3, e4, e5, e6, e7} {
			if err == nil {
				t.Errorf("%s, case %d: want an error", name, i+1)
			}
		}
		if s.Equal(o) || o.Equal(s) {
			t.Errorf("%s: equals a share", name)
		}
		if name == "other type" {
			continue
		}
		_, e1 = Prove(o, ctx, newStream("p"))
		_, _, _, _, e2 = refreshOne(o, newStream("p"))
		if e1 == nil || e2 == nil || o.Equal(o) || o.Public() != (Point{}) || o.Expose() != nil || o.Type() != 0 {
			t.Errorf("%s: it works as a share", name)
		}
		o.Erase() // once more does nothing
	}
	p, q := s.Public(), e.Public()
	for name, o := range map[string]Point{"zero": {}, "other type": q} {
		_, e1 := p.Plus(o)
		_, e2 := o.Plus(p)
		_, e3 := p.Minus(o)
		_, e4 := o.Minus(p)
		for i, err := range []error{e1, e2, e3, e4, CheckShare(s, o, p), CheckShare(s, p, o), CheckRefresh(o, p, p), CheckRefresh(p, o, p), CheckRefresh(p, p, o), VerifyProof(o, ctx, Proof{})} {
			if err == nil {
				t.Errorf("%s, case %d: want an error", name, i+1)
			}
		}
	}
	if err := CheckRefresh(Point{}, Point{}, Point{}); err == nil {
		t.Error("nothing = nothing + nothing")
	}
	if _, err := (Point{}).MarshalCBOR(); err == nil {
		t.Error("the zero point has an encoding")
	}
	if _, err := (Point{}).MarshalText(); err == nil {
		t.Error("the zero point has a text")
	}
	if _, err := (Proof{}).MarshalCBOR(); err == nil {
		t.Error("the zero proof has an encoding")
	}
}

var orders = map[coin.KeyType]*big.Int{
	coin.Secp256k1: bigHex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"),
	coin.Ed25519:   bigHex("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed"),
}

func bigHex(s string) *big.Int {
	v, ok := new(big.Int).SetString(s, 16)
	if !ok {
		panic(s)
	}
	return v
}

// bigOf reads bytes in a type's byte order, and bytesOf writes them.
func bigOf(kt coin.KeyType, b []byte) *big.Int {
	b = slices.Clone(b)
	if kt == coin.Ed25519 {
		slices.Reverse(b)
	}
	return new(big.Int).SetBytes(b)
}

func bytesOf(kt coin.KeyType, v *big.Int) []byte {
	b := v.FillBytes(make([]byte, 32))
	if kt == coin.Ed25519 {
		slices.Reverse(b)
	}
	return b
}

func drawType(t *rapid.T) coin.KeyType { return rapid.SampledFrom(bothTypes).Draw(t, "type") }

// drawShare draws any share, and often one near the ends of its range.
func drawShare(t *rapid.T, kt coin.KeyType, label string) Share {
	n := orders[kt]
	v := bigOf(coin.Secp256k1, rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, label))
	if small := rapid.Int64Range(-3, 3).Draw(t, label+" edge"); small != 0 {
		v = big.NewInt(small)
	}
	if v.Mod(v, n).Sign() == 0 {
		v.SetInt64(1)
	}
	s, err := ParseShare(kt, bytesOf(kt, v))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Scalars agree with math/big; their points add up as they do.
func TestArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kt := drawType(t)
		n := orders[kt]
		x, y := drawShare(t, kt, "x"), drawShare(t, kt, "y")
		X, Y := bigOf(kt, x.Expose()), bigOf(kt, y.Expose())

		check := func(op string, got Share, err error, p Point, pErr error, want *big.Int) {
			want.Mod(want, n)
			if want.Sign() == 0 {
				if !errors.Is(err, errIdentity) || !errors.Is(pErr, errIdentity) {
					t.Fatalf("%s to zero: got %v and %v, want errIdentity", op, err, pErr)
				}
				return
			}
			if err != nil || bigOf(kt, got.Expose()).Cmp(want) != 0 {
				t.Fatalf("%s: got another scalar, %v", op, err)
			}
			if pErr != nil || p != got.Public() {
				t.Fatalf("%s: got point %v, %v, want %v", op, p, pErr, got.Public())
			}
		}
		got, err := x.Plus(y)
		p, pErr := x.Public().Plus(y.Public())
		check("plus", got, err, p, pErr, new(big.Int).Add(X, Y))
		got, err = x.Minus(y)
		p, pErr = x.Public().Minus(y.Public())
		check("minus", got, err, p, pErr, new(big.Int).Sub(X, Y))

		if z := x.scalar().timesPlus(y.scalar(), y.scalar()); bigOf(kt, z.b[:]).Cmp(new(big.Int).Mod(new(big.Int).Add(new(big.Int).Mul(X, Y), Y), n)) != 0 {
			t.Fatal("x·y + y is wrong")
		}
		if x.Equal(y) != (X.Cmp(Y) == 0) {
			t.Fatalf("equal: got %v", x.Equal(y))
		}
		q, err := ParsePoint(kt, x.Public().Bytes())
		if err != nil || q != x.Public() {
			t.Fatalf("got %v, %v", q, err)
		}
		text, err := q.MarshalText()
		var back Point
		if err != nil || back.UnmarshalText(text) != nil || back != q {
			t.Fatalf("%s: got %v", text, back)
		}
	})
}

func TestWideScalar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kt := drawType(t)
		b := [64]byte(rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, "wide"))
		if rapid.Bool().Draw(t, "ones") {
			b = [64]byte(bytes.Repeat([]byte{0xff}, 64))
		}
		got := wideScalar(kt, &b)
		if want := new(big.Int).Mod(bigOf(kt, b[:]), orders[kt]); bigOf(kt, got.b[:]).Cmp(want) != 0 {
			t.Fatalf("%x: got %x, want %x", b, got.b, want)
		}
	})
}

func TestPointTextRefuses(t *testing.T) {
	good := mustShare(t, coin.Ed25519, newStream("text")).Public()
	text := good.String()
	for _, s := range []string{"", ":", "ed25519", "ed25519:", text[:len(text)-1], text + "00", strings.ToUpper(text), "secp256k1" + text[7:], "x" + text, strings.Replace(text, ":", "::", 1), text[:len(text)-1] + "g", "ed25519:01" + strings.Repeat("00", 31)} {
		p := good
		if err := p.UnmarshalText([]byte(s)); err == nil || p != good {
			t.Errorf("%q: got %v, %v, want an error and no change", s, p, err)
		}
	}
	for _, h := range []string{"", "5821", "582002", "5820" + strings.Repeat("02", 32), "40", "f6", "590021" + strings.Repeat("02", 33), "5821" + strings.Repeat("02", 32)} {
		b, err := hex.DecodeString(h)
		if err != nil {
			t.Fatal(err)
		}
		p := good
		if err := p.UnmarshalCBOR(b); err == nil || p != good {
			t.Errorf("cbor %s: got %v, %v, want an error and no change", h, p, err)
		}
	}
}
