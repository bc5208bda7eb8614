package independent_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
)

// generation follows a batch from its commitment to the root of its keys: key.md.
func generation(c testCase) error {
	var b struct {
		ID, Type, Owner, Escrow string
		N                       int64
	}
	c.into("batch", &b)
	t, id, owner, escrow := keyTypes[b.Type], unhex(b.ID), unhex(b.Owner), unhex(b.Escrow)
	if b.N < 1 || b.N > 4096 {
		return fmt.Errorf("a batch of %d", b.N)
	}
	var points [2][]xy
	committed := binary.BigEndian.AppendUint32(append(slices.Clone(id), t), uint32(b.N))
	committed = append(append(append(committed, owner...), escrow...), c.hex("salt")...)
	for side, field := range []string{"owner_half", "escrow_half"} {
		raw := c.hex(field)
		if len(raw) > 425_994 {
			return errors.New("a half that is too long")
		}
		m, err := read(raw, half)
		if err != nil {
			return err
		}
		list, proofs := m[1].([]any), m[2].([]any)
		if int64(len(list)) != b.N || len(proofs) != len(list) {
			return fmt.Errorf("%d points and %d proofs", len(list), len(proofs))
		}
		for i, x := range list {
			kind, p, err := typed(x)
			if err != nil || kind != t {
				return fmt.Errorf("point %d: %w", i, err)
			}
			enc := x.([]byte)[1:]
			err = proof(testCase{
				"point": b.Type + ":" + hex.EncodeToString(enc), "batch": b.ID, "index": json.Number(fmt.Sprint(i)), "role": json.Number(fmt.Sprint(side + 1)),
				"owner": b.Owner, "escrow": b.Escrow, "proof": hex.EncodeToString(proofs[i].([]byte)),
			})
			if err != nil {
				return fmt.Errorf("role %d, point %d: %w", side+1, i, err)
			}
			if points[side] = append(points[side], p); side == 0 {
				committed = append(committed, enc...)
			}
		}
	}
	if err := same(hash("latchkey/key/commit/v1", committed), c.hex("commitment")); err != nil {
		return err
	}
	var keys []any
	var wrote []string
	for i := range points[0] {
		p := add(t, points[0][i], points[1][i])
		if equal(p, identityOf(t)) {
			return errors.New("a key that is the identity")
		}
		enc := compressed(t, p)
		if written := b.Type + ":" + hex.EncodeToString(enc); !slices.Contains(wrote, written) {
			wrote = append(wrote, written)
		}
		keys = append(keys, append([]byte{t}, enc...))
	}
	if !slices.Equal(wrote, c.strs("keys")) { // shorter, where two are equal
		return errors.New("other keys, or one twice")
	}
	for side, field := range []string{"a", "b"} { // where the vector tells the shares
		for i, k := range c.hexes(field) {
			if d, err := parseScalar(t, k); err != nil || !equal(times(t, d, base(t)), points[side][i]) {
				panic(c.str("name") + ": a share that is not of its point")
			}
		}
	}
	return same(rootOfKeys(keys), c.hex("root"))
}

var (
	ladder    = []uint64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}
	logOrigin = regexp.MustCompile(`^[!-*,-~]{1,255}$`)
)

// signedCertificate verifies a certificate for new use at a time: key.md.
func signedCertificate(c testCase) error {
	body := c.hex("body")
	m, err := read(body, certificate)
	if err != nil {
		return err
	}
	d := m[2].(map[uint64]any)
	if err := checkDenomination(d); err != nil {
		return err
	}
	unit, zero := new(big.Int).SetBytes(d[3].([]byte)), make([]byte, 32)
	if unit.Mul(unit, big.NewInt(1000)).BitLen() > 128 {
		return errors.New("a unit of which 1,000 overflow")
	}
	if n := m[4].(uint64); m[1] != uint64(1) || !slices.Contains(ladder, m[3].(uint64)) || n < 1 || n > 4096 {
		return errors.New("version, weight or number of keys")
	}
	for _, k := range []uint64{5, 6, 8, 12, 13} {
		if bytes.Equal(m[k].([]byte), zero) {
			return fmt.Errorf("field %d is zero", k)
		}
	}
	owner, err := one(m[7])
	if err != nil || owner == string(zero) || owner == str(m[8]) {
		return fmt.Errorf("the owner: %w", err)
	}
	custody := map[uint64]any{1: []any{map[uint64]any{1: uint64(1), 2: []any{[]byte(owner)}}, map[uint64]any{1: uint64(2), 2: []any{m[8]}}}, 2: uint64(2)}
	if !bytes.Equal(encode(custody), encode(m[9])) {
		return errors.New("custody")
	}
	made, expiry, now := number(m[10]), number(m[11]), c.int("now")
	if made < 0 || expiry <= made || expiry > 253402300799 || !logOrigin.MatchString(m[14].(string)) {
		return errors.New("made, expiry or log")
	}
	for _, x := range []struct {
		field, sig, vault string
	}{{"owner", "owner_sig", owner}, {"escrow", "escrow_sig", str(m[8])}} {
		id, vault, _ := named(c.str(x.field))
		if string(vault) != x.vault {
			return fmt.Errorf("another %s", x.field)
		}
		if err := verify(id[1].([]byte), "latchkey/certificate/v1/"+x.field, body, c.hex(x.sig)); err != nil {
			return err
		}
	}
	if now >= expiry || made-600 > now {
		return errors.New("not at this time")
	}
	each := new(big.Int).Mul(new(big.Int).SetBytes(d[3].([]byte)), new(big.Int).SetUint64(m[3].(uint64)))
	if want, told := c["deposit"]; told && each.String() != want {
		return errors.New("another deposit")
	}
	if _, told := c["id"]; !told {
		return nil
	}
	return same(hash("latchkey/certificate/v1", body), c.hex("id"))
}
