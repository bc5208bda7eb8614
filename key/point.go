package key

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"latchkey/coin"
)

// A Point is a public key, or the public half of a share: a point of prime order
// on the curve of its key type, never the identity. Points are values: equal
// points compare equal with ==. The zero Point is none; every operation refuses
// it.
type Point struct {
	t   coin.KeyType
	enc [33]byte // SEC 1 v2 §2.3.3 compressed; or RFC 8032 §5.1.2 and a zero byte
}

// ParsePoint reads the canonical encoding of a point: for secp256k1 the 33 bytes
// of the compressed form (SEC 1 v2 §2.3.3), for ed25519 the 32 bytes of RFC 8032
// §5.1.2. It refuses other lengths and forms, coordinates that are not below the
// field's prime, the sign bit on x = 0, points off the curve, the identity, and
// on ed25519 every point whose order is not the prime l, mixed order included.
func ParsePoint(t coin.KeyType, b []byte) (Point, error) {
	x, err := parseElement(t, b)
	if err != nil {
		return Point{}, fmt.Errorf("parse %v point: %w", t, err)
	}
	if !x.isPrimeOrder() {
		return Point{}, fmt.Errorf("parse %v point: not of prime order", t)
	}
	p := Point{t: t}
	copy(p.enc[:], b)
	return p, nil
}

// TrustPoint is the point whose type's number and encoding b holds, as MarshalCBOR
// writes them, without the checks of ParsePoint but those of type and length. It
// is for bytes that this program checked before it wrote them, and which its
// caller has authenticated since: a large log is read in a tenth of the time.
func TrustPoint(b []byte) (Point, error) {
	if len(b) == 0 || len(b)-1 != pointSize(coin.KeyType(b[0])) || len(b) == 1 {
		return Point{}, fmt.Errorf("read point: %d bytes", len(b))
	}
	p := Point{t: coin.KeyType(b[0])}
	copy(p.enc[:], b[1:])
	return p, nil
}

// Type returns the key type, zero for the zero Point.
func (p Point) Type() coin.KeyType { return p.t }

// Bytes returns the encoding that ParsePoint reads: 33 bytes for secp256k1, 32
// for ed25519, none for the zero Point.
func (p Point) Bytes() []byte { return append([]byte(nil), p.enc[:pointSize(p.t)]...) }

func pointSize(t coin.KeyType) int {
	switch t {
	case coin.Secp256k1:
		return 33
	case coin.Ed25519:
		return 32
	}
	return 0
}

// Plus returns p + q. It refuses points of different types and a sum that is
// the identity.
func (p Point) Plus(q Point) (Point, error) { return p.with(q, "add", (*element).plus) }

// Minus returns p − q. It refuses points of different types and p = q.
func (p Point) Minus(q Point) (Point, error) { return p.with(q, "subtract", (*element).minus) }

func (p Point) with(q Point, verb string, op func(x, y *element) *element) (Point, error) {
	x, err := elements(p, q)
	if err != nil {
		return Point{}, fmt.Errorf("%s points: %w", verb, err)
	}
	z, err := points(op(x[0], x[1]))
	if err != nil {
		return Point{}, fmt.Errorf("%s points: %w", verb, err)
	}
	return z[0], nil
}

// element returns p for computing. A Point that is not zero was checked in full
// when it was made, so only the zero Point fails.
func (p Point) element() (*element, error) {
	if p.t == 0 {
		return nil, errors.New("no point")
	}
	return parseElement(p.t, p.enc[:pointSize(p.t)])
}

// elements returns points, which must have one type, for computing.
func elements(points ...Point) ([]*element, error) {
	out := make([]*element, len(points))
	for i, p := range points {
		if p.t != points[0].t {
			return nil, fmt.Errorf("points of %v and %v", points[0].t, p.t)
		}
		x, err := p.element()
		if err != nil {
			return nil, err
		}
		out[i] = x
	}
	return out, nil
}

// String prints the type and the encoding: "secp256k1:02…".
func (p Point) String() string { return p.t.String() + ":" + hex.EncodeToString(p.Bytes()) }

// MarshalText writes what String prints. It refuses the zero Point.
func (p Point) MarshalText() ([]byte, error) {
	if p.t == 0 {
		return nil, errors.New("encode point: no point")
	}
	return []byte(p.String()), nil
}

// UnmarshalText reads what MarshalText wrote, with the checks of ParsePoint.
func (p *Point) UnmarshalText(b []byte) error {
	name, digits, _ := strings.Cut(string(b), ":")
	t, err := coin.ParseKeyType(name)
	if err != nil {
		return fmt.Errorf("read point: %w", err)
	}
	enc, err := hex.DecodeString(digits)
	if err != nil || hex.EncodeToString(enc) != digits {
		return fmt.Errorf("read %v point: want %d lower case hexadecimal digits", t, 2*pointSize(t))
	}
	v, err := ParsePoint(t, enc)
	if err == nil {
		*p = v
	}
	return err
}

// MarshalCBOR writes one byte string: the key type's number, then the encoding.
// It refuses the zero Point.
func (p Point) MarshalCBOR() ([]byte, error) {
	if p.t == 0 {
		return nil, errors.New("encode point: no point")
	}
	return cborBytes(append([]byte{byte(p.t)}, p.enc[:pointSize(p.t)]...)), nil
}

// UnmarshalCBOR reads what MarshalCBOR wrote, with the checks of ParsePoint.
func (p *Point) UnmarshalCBOR(b []byte) error {
	t, enc, err := typedBytes(b)
	if err != nil {
		return fmt.Errorf("read point: %w", err)
	}
	v, err := ParsePoint(t, enc)
	if err == nil {
		*p = v
	}
	return err
}

// cborBytes encodes a byte string of 24 to 255 bytes (RFC 8949 §3.1).
func cborBytes(b []byte) []byte { return append([]byte{0x58, byte(len(b))}, b...) }

// typedBytes decodes what cborBytes wrote and splits off the key type.
func typedBytes(b []byte) (coin.KeyType, []byte, error) {
	if len(b) < 26 || b[0] != 0x58 || int(b[1]) != len(b)-2 || b[1] < 24 {
		return 0, nil, fmt.Errorf("%d encoded bytes are not a byte string of a type and its value", len(b))
	}
	return coin.KeyType(b[2]), b[3:], nil
}
