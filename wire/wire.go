// Package wire fixes how everything that is signed, hashed or stored is
// written: deterministic CBOR (RFC 8949 §4.2), one encoding for one value, and
// hashes and signatures that are bound to a purpose.
//
// Structures are Go structs with integer keys (`cbor:"1,keyasint"`). A decoder
// accepts exactly the bytes that the encoder would write: no unknown or
// repeated keys, no indefinite lengths, no floats, no tags, no trailing bytes.
package wire

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// MaxSize is the longest message that Unmarshal looks at, in bytes. A batch of
// a few thousand keys with its proofs fits.
const MaxSize = 4 << 20

// ErrNotCanonical is returned for bytes that decode but are not the one
// encoding of their value.
var ErrNotCanonical = errors.New("not the deterministic encoding (RFC 8949 §4.2)")

// modes holds the codec's settings. They are fixed: an error here is a mistake
// in this file, which every test would show.
var modes = func() (m struct {
	enc cbor.EncMode
	dec cbor.DecMode
}) {
	e := cbor.CoreDetEncOptions()
	e.TagsMd, e.IndefLength = cbor.TagsForbidden, cbor.IndefLengthForbidden
	e.NilContainers = cbor.NilContainerAsEmpty
	d := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden,
		TagsMd: cbor.TagsForbidden, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels: 16, MaxArrayElements: 1 << 17, MaxMapPairs: 64,
	}
	var err error
	if m.enc, err = e.EncMode(); err != nil {
		panic(err)
	}
	if m.dec, err = d.DecMode(); err != nil {
		panic(err)
	}
	return m
}()

// Marshal returns the deterministic encoding of v, a struct of this project. It
// fails only for a value that a type's own encoder refuses.
func Marshal(v any) ([]byte, error) {
	b, err := modes.enc.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return b, nil
}

// Unmarshal reads b, which must be the deterministic encoding of a value of
// v's type, into v, a non-nil pointer. On error *v is unchanged. The value
// shares no memory with b.
func Unmarshal(b []byte, v any) error {
	fresh, err := decode(b, v)
	if err != nil {
		return err
	}
	again, err := modes.enc.Marshal(fresh.Interface())
	if err != nil {
		return fmt.Errorf("decode %T: %w", v, err)
	}
	if !bytes.Equal(again, b) {
		return fmt.Errorf("decode %T: %w", v, ErrNotCanonical)
	}
	reflect.ValueOf(v).Elem().Set(fresh.Elem())
	return nil
}

// Trust is Unmarshal without the check that b is the one encoding of its value, which is
// half of the work: for what the reader, or the vault beside it, has written itself.
// Whoever reads another's uses Unmarshal.
func Trust(b []byte, v any) error {
	fresh, err := decode(b, v)
	if err == nil {
		reflect.ValueOf(v).Elem().Set(fresh.Elem())
	}
	return err
}

func decode(b []byte, v any) (fresh reflect.Value, err error) {
	if len(b) > MaxSize {
		return fresh, fmt.Errorf("decode %T: %d bytes, at most %d", v, len(b), MaxSize)
	}
	fresh = reflect.New(reflect.TypeOf(v).Elem())
	if err = modes.dec.Unmarshal(b, fresh.Interface()); err != nil {
		err = fmt.Errorf("decode %T: %w", v, err)
	}
	return fresh, err
}

// A Hash is a SHA-256 digest with a purpose mixed in.
type Hash [32]byte

// HashBytes returns SHA-256(len(purpose) ‖ purpose ‖ b). The length of the
// purpose is one byte, so no two purposes can yield the same input.
func HashBytes(purpose string, b []byte) Hash {
	h := sha256.New()
	h.Write([]byte{byte(len(purpose))})
	h.Write([]byte(purpose))
	h.Write(b)
	return Hash(h.Sum(nil))
}

// HashOf returns HashBytes of v's deterministic encoding.
func HashOf(purpose string, v any) (Hash, error) {
	b, err := Marshal(v)
	if err != nil {
		return Hash{}, err
	}
	return HashBytes(purpose, b), nil
}
