package independent_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"strings"
)

// Proofs, refresh and paths of key.md.

var keyTypes = map[string]byte{"secp256k1": 1, "ed25519": 2}

// written reads a point as vectors write it.
func written(s string) (t byte, enc []byte, p xy, err error) {
	name, digits, _ := strings.Cut(s, ":")
	t = keyTypes[name]
	if enc, err = hex.DecodeString(digits); err == nil {
		p, err = parsePoint(t, enc)
	}
	return t, enc, p, err
}

func orderOf(t byte) *big.Int {
	if t == 2 {
		return edL
	}
	return secpN
}

// compressed writes a point as key.md says.
func compressed(t byte, p xy) []byte {
	if t == 1 {
		return append([]byte{2 + byte(p.y.Bit(0))}, p.x.FillBytes(make([]byte, 32))...)
	}
	b := p.y.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	b[31] |= byte(p.x.Bit(0)) << 7
	return b
}

// proof verifies a proof of knowledge: R' = sG − eA is compared as bytes.
func proof(c testCase) error {
	t, enc, a, err := written(c.str("point"))
	if err != nil {
		return err
	}
	batch, owner, escrow, raw := c.hex("batch"), c.hex("owner"), c.hex("escrow"), c.hex("proof")
	zero, role := make([]byte, 32), c.int("role")
	if bytes.Equal(batch, zero) || bytes.Equal(owner, zero) || bytes.Equal(escrow, zero) || bytes.Equal(owner, escrow) || role != 1 && role != 2 {
		return errors.New("no context")
	}
	n := 1 + len(enc)
	if len(raw) != n+32 || raw[0] != t {
		return errors.New("no proof for this point")
	}
	s := slices.Clone(raw[n:])
	if t == 2 {
		slices.Reverse(s)
	}
	if new(big.Int).SetBytes(s).Cmp(orderOf(t)) >= 0 {
		return errors.New("s is not below the order")
	}
	const purpose = "latchkey/key/proof/v1"
	m := append([]byte{byte(len(purpose))}, purpose...)
	m = binary.BigEndian.AppendUint32(append(m, batch...), uint32(c.int("index")))
	m = append(append(append(m, byte(role)), owner...), escrow...)
	m = append(append(append(m, t), enc...), raw[1:n]...)
	sum := sha512.Sum512(m)
	if t == 2 {
		slices.Reverse(sum[:])
	}
	e := new(big.Int).Mod(new(big.Int).SetBytes(sum[:]), orderOf(t))
	got := add(t, times(t, new(big.Int).SetBytes(s), base(t)), times(t, e.Sub(orderOf(t), e), a))
	if equal(got, identityOf(t)) {
		return errors.New("R is the identity")
	}
	return same(compressed(t, got), raw[1:n])
}

// refresh does what a case of refresh.json says.
func refresh(c testCase) error {
	t := keyTypes[c.str("type")]
	scalar := func(field string) *big.Int {
		k, err := parseScalar(t, c.hex(field))
		if err != nil {
			return new(big.Int) // which no check below takes
		}
		return k
	}
	point := func(field string) (p xy, ok bool) {
		kind, _, p, err := written(c.str(field))
		return p, err == nil && kind == t
	}
	sum := func(x, y *big.Int) *big.Int { return mod(new(big.Int).Add(x, y), orderOf(t)) }
	is := func(k *big.Int, field string) bool { return k.Sign() > 0 && k.Cmp(scalar(field)) == 0 }
	at := func(k *big.Int, field string) bool {
		p, ok := point(field)
		return ok && equal(times(t, k, base(t)), p)
	}
	ok := false
	switch c.str("check") {
	case "refresh":
		b, r := scalar("b"), scalar("r")
		next := sum(b, new(big.Int).Neg(r))
		ok = b.Sign() > 0 && r.Sign() > 0 && is(next, "b_new") && at(b, "B_point") && at(r, "R_point") && at(next, "B_new_point")
		if a := scalar("a"); ok && a.Sign() > 0 {
			ok = is(sum(a, r), "a_new")
		}
	case "share":
		a := scalar("a_new")
		b, ok1 := point("B_new_point")
		p, ok2 := point("key")
		ok = a.Sign() > 0 && ok1 && ok2 && equal(add(t, times(t, a, base(t)), b), p)
	case "published":
		b, ok1 := point("B_point")
		r, ok2 := point("R_point")
		next, ok3 := point("B_new_point")
		ok = ok1 && ok2 && ok3 && equal(add(t, next, r), b)
	case "combine":
		a, b := scalar("a_new"), scalar("b_new")
		d := sum(a, b)
		ok = a.Sign() > 0 && b.Sign() > 0 && at(d, "key") && is(d, "d")
	}
	if !ok {
		return errors.New("it does not add up")
	}
	return nil
}

// path verifies the path of a key under the root of its batch.
func path(c testCase) error {
	t, enc, _, err := written(c.str("key"))
	n, i, rest := c.int("n"), c.int("index"), c.hexes("path")
	if err != nil || n < 1 || n > 4096 || i < 0 || i >= n {
		return errors.New("no such key")
	}
	leaf := binary.BigEndian.AppendUint32(append([]byte("\x00latchkey/key/leaf/v1"), t), uint32(i))
	h := sha256.Sum256(append(leaf, enc...))
	for ; n > 1; i, n = i/2, (n+1)/2 {
		if i%2 == 0 && i+1 == n {
			continue // it has no sibling
		}
		if len(rest) == 0 || len(rest[0]) != 32 {
			return errors.New("the path is too short")
		}
		left, right := h[:], rest[0]
		if i%2 == 1 {
			left, right = right, left
		}
		h, rest = sha256.Sum256(append(append([]byte{1}, left...), right...)), rest[1:]
	}
	if len(rest) > 0 {
		return errors.New("the path is too long")
	}
	return same(h[:], c.hex("root"))
}
