// Package independent_test is a second reading of the pages of spec/: it
// decodes, hashes, verifies and follows what the vectors hold, with the standard
// library and nothing of this project. A test of package arch keeps it so.
package independent_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// A value is what wire.md's encoding can say: uint64, negative (an int64 below
// zero), []byte, string, bool, []any, or map[uint64]any.
type value = any

var errEncoding = errors.New("not the one encoding")

const maxSize, maxDepth, maxList, maxFields = 4 << 20, 16, 1 << 17, 64

// decode reads one value and nothing after it.
func decode(b []byte) (value, error) {
	if len(b) > maxSize {
		return nil, errEncoding
	}
	v, rest, err := decodeOne(b, 0)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%w: bytes after the end", errEncoding)
	}
	return v, err
}

// header reads a major type and its number, in its shortest form.
func header(b []byte) (major byte, n uint64, rest []byte, err error) {
	if len(b) == 0 {
		return 0, 0, nil, fmt.Errorf("%w: cut", errEncoding)
	}
	major, n, rest = b[0]>>5, uint64(b[0]&31), b[1:]
	if n < 24 {
		return major, n, rest, nil
	}
	if n > 27 {
		return 0, 0, nil, fmt.Errorf("%w: byte %02x", errEncoding, b[0])
	}
	size := 1 << (n - 24)
	if len(rest) < size {
		return 0, 0, nil, fmt.Errorf("%w: cut", errEncoding)
	}
	var full [8]byte
	copy(full[8-size:], rest)
	n, rest = binary.BigEndian.Uint64(full[:]), rest[size:]
	if least := map[int]uint64{1: 24, 2: 1 << 8, 4: 1 << 16, 8: 1 << 32}[size]; n < least {
		return 0, 0, nil, fmt.Errorf("%w: a long form", errEncoding)
	}
	return major, n, rest, nil
}

func decodeOne(b []byte, depth int) (value, []byte, error) {
	if depth > maxDepth {
		return nil, nil, fmt.Errorf("%w: too deep", errEncoding)
	}
	if len(b) > 0 && (b[0] == 0xf4 || b[0] == 0xf5) {
		return b[0] == 0xf5, b[1:], nil
	}
	major, n, rest, err := header(b)
	if err != nil {
		return nil, nil, err
	}
	switch major {
	case 0:
		return n, rest, nil
	case 1:
		if n > 1<<63-1 {
			return nil, nil, errEncoding
		}
		return -1 - int64(n), rest, nil
	case 2, 3:
		if n > uint64(len(rest)) {
			return nil, nil, fmt.Errorf("%w: cut", errEncoding)
		}
		if major == 2 {
			return bytes.Clone(rest[:n]), rest[n:], nil
		}
		if !utf8.Valid(rest[:n]) {
			return nil, nil, fmt.Errorf("%w: text", errEncoding)
		}
		return string(rest[:n]), rest[n:], nil
	case 4:
		if n > maxList {
			return nil, nil, errEncoding
		}
		list := []any{}
		for range n {
			var v value
			if v, rest, err = decodeOne(rest, depth+1); err != nil {
				return nil, nil, err
			}
			list = append(list, v)
		}
		return list, rest, nil
	case 5:
		if n > maxFields {
			return nil, nil, errEncoding
		}
		m, last := map[uint64]any{}, int64(-1)
		for range n {
			var k, v value
			if k, rest, err = decodeOne(rest, depth+1); err == nil {
				v, rest, err = decodeOne(rest, depth+1)
			}
			if err != nil {
				return nil, nil, err
			}
			number, ok := k.(uint64)
			if !ok || int64(number) <= last {
				return nil, nil, fmt.Errorf("%w: fields out of order, or no numbers", errEncoding)
			}
			m[number], last = v, int64(number)
		}
		return m, rest, nil
	}
	return nil, nil, fmt.Errorf("%w: byte %02x", errEncoding, b[0])
}

// encode writes a value.
func encode(v value) []byte {
	head := func(major byte, n uint64) []byte {
		switch {
		case n < 24:
			return []byte{major<<5 | byte(n)}
		case n < 1<<8:
			return []byte{major<<5 | 24, byte(n)}
		case n < 1<<16:
			return binary.BigEndian.AppendUint16([]byte{major<<5 | 25}, uint16(n))
		case n < 1<<32:
			return binary.BigEndian.AppendUint32([]byte{major<<5 | 26}, uint32(n))
		}
		return binary.BigEndian.AppendUint64([]byte{major<<5 | 27}, n)
	}
	switch v := v.(type) {
	case uint64:
		return head(0, v)
	case int64:
		return head(1, uint64(-1-v))
	case []byte:
		return append(head(2, uint64(len(v))), v...)
	case string:
		return append(head(3, uint64(len(v))), v...)
	case bool:
		if v {
			return []byte{0xf5}
		}
		return []byte{0xf4}
	case []any:
		b := head(4, uint64(len(v)))
		for _, x := range v {
			b = append(b, encode(x)...)
		}
		return b
	case map[uint64]any:
		b := head(5, uint64(len(v)))
		for _, k := range sortedKeys(v) {
			b = append(append(b, head(0, k)...), encode(v[k])...)
		}
		return b
	}
	panic(fmt.Sprintf("no value: %T", v))
}

func sortedKeys(m map[uint64]any) (keys []uint64) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// A shape says what a value must be.
type shape func(value) error

func unsigned(bits int) shape {
	return func(v value) error {
		if n, ok := v.(uint64); !ok || bits < 64 && n >= 1<<bits {
			return fmt.Errorf("%v is no number of %d bits", v, bits)
		}
		return nil
	}
}

func signed(v value) error {
	if n, ok := v.(uint64); ok && n < 1<<63 {
		return nil
	}
	if _, ok := v.(int64); !ok {
		return fmt.Errorf("%v is no signed number", v)
	}
	return nil
}

// octets takes bytes of a length, or of any where it is negative.
func octets(n int) shape {
	return func(v value) error {
		if b, ok := v.([]byte); !ok || n >= 0 && len(b) != n {
			return fmt.Errorf("%v is not %d bytes", v, n)
		}
		return nil
	}
}

func text(v value) error {
	if _, ok := v.(string); !ok {
		return fmt.Errorf("%v is no text", v)
	}
	return nil
}

func yesNo(v value) error {
	if _, ok := v.(bool); !ok {
		return fmt.Errorf("%v is neither yes nor no", v)
	}
	return nil
}

func list(s shape) shape {
	return func(v value) error {
		l, ok := v.([]any)
		if !ok {
			return fmt.Errorf("%v is no list", v)
		}
		for i, x := range l {
			if err := s(x); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
		return nil
	}
}

type fields map[uint64]shape

// structure takes all fields of must, and of may what is there.
func structure(must, may fields) shape {
	return func(v value) error {
		m, ok := v.(map[uint64]any)
		if !ok {
			return fmt.Errorf("%v is no structure", v)
		}
		for k := range must {
			if _, ok := m[k]; !ok {
				return fmt.Errorf("field %d is missing", k)
			}
		}
		for k, x := range m {
			s := must[k]
			if s == nil {
				s = may[k]
			}
			if s == nil {
				return fmt.Errorf("field %d is unknown", k)
			}
			if err := s(x); err != nil {
				return fmt.Errorf("field %d: %w", k, err)
			}
		}
		return nil
	}
}

// read decodes bytes of a shape.
func read(b []byte, s shape) (map[uint64]any, error) {
	v, err := decode(b)
	if err == nil {
		err = s(v)
	}
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(encode(v), b) {
		return nil, errEncoding
	}
	m, _ := v.(map[uint64]any)
	return m, nil
}

// hash and the check of a signature are those of wire.md.
func hash(purpose string, m []byte) []byte {
	h := sha256.Sum256(append(append([]byte{byte(len(purpose))}, purpose...), m...))
	return h[:]
}

func verify(public []byte, purpose string, m, sig []byte) error {
	if len(public) != ed25519.PublicKeySize || !ed25519.Verify(public, append([]byte("\x00latchkey"), hash(purpose, m)...), sig) {
		return fmt.Errorf("the signature for %s does not verify", purpose)
	}
	return nil
}
