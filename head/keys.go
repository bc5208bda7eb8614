// Package head says which state of a log counts: signed checkpoints, the
// witnesses' timestamped cosignatures, a quorum of them, and proofs that an
// entry or an older head lies under a head. It also holds the witness's own
// decision. It is trusted code: pure, without I/O, clock or randomness.
//
// Formats: C2SP signed-note, tlog-checkpoint, tlog-cosignature (cosignature/v1)
// and tlog-witness; trees and proofs as in RFC 6962 section 2.1. Where Latchkey
// is stricter than those texts, spec/head.md says so.
package head

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// Signature types of C2SP signed-note, the first byte of a vkey's key material.
const (
	algLog     = 0x01 // Ed25519 over the note's text
	algWitness = 0x04 // cosignature/v1: a timestamp, then Ed25519
)

// LogKey is a log's name, which is also its origin line, and its Ed25519 key.
// The zero LogKey verifies nothing. LogKeys compare with ==.
type LogKey struct{ identity }

// WitnessKey is a witness's name and its Ed25519 cosignature key. The zero
// WitnessKey verifies nothing. WitnessKeys compare with ==.
type WitnessKey struct{ identity }

// NewLogKey names a log's public key. It refuses a name other than 1 to 255
// visible ASCII characters without '+', and a key that is of the wrong length,
// not canonical or of small order.
func NewLogKey(origin string, public ed25519.PublicKey) (LogKey, error) {
	id, err := newIdentity(algLog, origin, public)
	return LogKey{id}, err
}

// NewWitnessKey names a witness's public key, under the rules of NewLogKey.
func NewWitnessKey(name string, public ed25519.PublicKey) (WitnessKey, error) {
	id, err := newIdentity(algWitness, name, public)
	return WitnessKey{id}, err
}

// ParseLogKey reads a vkey, name+id+key, of signature type 0x01.
func ParseLogKey(vkey string) (LogKey, error) {
	id, err := parseIdentity(algLog, vkey)
	return LogKey{id}, err
}

// ParseWitnessKey reads a vkey, name+id+key, of signature type 0x04.
func ParseWitnessKey(vkey string) (WitnessKey, error) {
	id, err := parseIdentity(algWitness, vkey)
	return WitnessKey{id}, err
}

// UnmarshalText is ParseLogKey for configuration files.
func (k *LogKey) UnmarshalText(text []byte) (err error) {
	*k, err = ParseLogKey(string(text))
	return err
}

// UnmarshalText is ParseWitnessKey for configuration files.
func (k *WitnessKey) UnmarshalText(text []byte) (err error) {
	*k, err = ParseWitnessKey(string(text))
	return err
}

// identity is a named public key of one signature type. It implements
// note.Verifier.
type identity struct {
	alg    byte
	name   string
	public [ed25519.PublicKeySize]byte
	known  *known // nil, but see Remembering
}

func newIdentity(alg byte, name string, public ed25519.PublicKey) (identity, error) {
	if !validName(name) {
		return identity{}, fmt.Errorf("key name %q is not 1 to 255 visible ASCII characters without '+'", name)
	}
	if len(public) != ed25519.PublicKeySize {
		return identity{}, fmt.Errorf("key of %s has %d bytes, want %d", name, len(public), ed25519.PublicKeySize)
	}
	if weakPoint(public) {
		return identity{}, fmt.Errorf("key of %s is not canonical or of small order", name)
	}
	return identity{alg: alg, name: name, public: [ed25519.PublicKeySize]byte(public)}, nil
}

func parseIdentity(alg byte, vkey string) (identity, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	_, b64, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.DecodeString(b64)
	if err != nil || len(raw) == 0 {
		return identity{}, errors.New("vkey is not name+id+base64 key")
	}
	if raw[0] != alg {
		return identity{}, fmt.Errorf("vkey of %q has signature type 0x%02x, want 0x%02x", name, raw[0], alg)
	}
	id, err := newIdentity(alg, name, raw[1:])
	if err != nil {
		return identity{}, err
	}
	if id.String() != vkey {
		return identity{}, fmt.Errorf("vkey of %q has a wrong id or is not in its one canonical form", name)
	}
	return id, nil
}

// Name returns the key's name; for a log, its origin line.
func (id identity) Name() string { return id.name }

// Public returns a copy of the Ed25519 public key.
func (id identity) Public() ed25519.PublicKey { return bytes.Clone(id.public[:]) }

// KeyHash returns the four-byte key id of C2SP signed-note.
func (id identity) KeyHash() uint32 {
	sum := sha256.Sum256(append([]byte(id.name+"\n"), id.material()...))
	return binary.BigEndian.Uint32(sum[:])
}

// String returns the vkey.
func (id identity) String() string {
	return fmt.Sprintf("%s+%08x+%s", id.name, id.KeyHash(), base64.StdEncoding.EncodeToString(id.material()))
}

// MarshalText returns the vkey.
func (id identity) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// Verify reports whether sig, without its key id, is this key's signature, or
// for a witness its cosignature, of a note's text.
func (id identity) Verify(text, sig []byte) bool {
	switch {
	case id.known != nil:
		return id.known.verify(id, text, sig)
	case id.alg == algLog && len(sig) == ed25519.SignatureSize:
		return ed25519.Verify(id.public[:], text, sig)
	case id.alg == algWitness && len(sig) == 8+ed25519.SignatureSize:
		stamp := binary.BigEndian.Uint64(sig)
		return stamp <= math.MaxInt64 && ed25519.Verify(id.public[:], cosignedMessage(text, int64(stamp)), sig[8:])
	}
	return false
}

func (id identity) material() []byte { return append([]byte{id.alg}, id.public[:]...) }

// cosignedMessage is what a witness signs (C2SP tlog-cosignature, "Ed25519
// signed message").
func cosignedMessage(text []byte, stamp int64) []byte {
	return append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", stamp), text...)
}

func validName(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '+' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 255
}

// weakPoint reports an encoding whose y is p or more, or one of the five y of
// the eight points of small order: 0, 1, -1 and two of order 8. Under such a
// key anybody can sign. p = 2^255 - 19 (RFC 8032 section 5.1).
func weakPoint(public []byte) bool {
	y := bytes.Clone(public)
	y[31] &= 0x7f
	high := bytes.Equal(y[1:31], bytes.Repeat([]byte{0xff}, 30)) && y[31] == 0x7f
	if high && y[0] >= 0xec || bytes.Equal(y[1:], make([]byte, 31)) && y[0] <= 1 {
		return true
	}
	return string(y) == "\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05" ||
		string(y) == "\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a"
}
