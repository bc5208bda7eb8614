package wire

import (
	"crypto/ed25519"
	"crypto/hpke"
	"encoding/hex"
	"errors"
	"fmt"
)

// The ids of the things that messages speak of. Each is a Hash of what it
// names, so nobody chooses one freely; they print as 64 hexadecimal digits.
type (
	VaultID    Hash // a vault, of a client or an escrow: the hash of its Identity
	CertID     Hash // a certificate: the hash of its body
	ChunkID    Hash // a chunk: the hash of its certificate's id and its index
	InstanceID Hash // an instance: the hash of all its acceptances
)

func (h Hash) String() string        { return hex.EncodeToString(h[:]) }
func (id VaultID) String() string    { return hex.EncodeToString(id[:]) }
func (id CertID) String() string     { return hex.EncodeToString(id[:]) }
func (id ChunkID) String() string    { return hex.EncodeToString(id[:]) }
func (id InstanceID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first eight digits, for people to tell ids apart.
func (h Hash) Short() string        { return hex.EncodeToString(h[:4]) }
func (id VaultID) Short() string    { return hex.EncodeToString(id[:4]) }
func (id CertID) Short() string     { return hex.EncodeToString(id[:4]) }
func (id ChunkID) Short() string    { return hex.EncodeToString(id[:4]) }
func (id InstanceID) Short() string { return hex.EncodeToString(id[:4]) }

// MarshalText writes 64 hexadecimal digits.
func (h Hash) MarshalText() ([]byte, error)        { return []byte(h.String()), nil }
func (id VaultID) MarshalText() ([]byte, error)    { return []byte(id.String()), nil }
func (id CertID) MarshalText() ([]byte, error)     { return []byte(id.String()), nil }
func (id ChunkID) MarshalText() ([]byte, error)    { return []byte(id.String()), nil }
func (id InstanceID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads 64 hexadecimal digits.
func (h *Hash) UnmarshalText(b []byte) error     { return parseHex((*[32]byte)(h), "hash", b) }
func (id *VaultID) UnmarshalText(b []byte) error { return parseHex((*[32]byte)(id), "vault id", b) }
func (id *CertID) UnmarshalText(b []byte) error {
	return parseHex((*[32]byte)(id), "certificate id", b)
}
func (id *ChunkID) UnmarshalText(b []byte) error { return parseHex((*[32]byte)(id), "chunk id", b) }
func (id *InstanceID) UnmarshalText(b []byte) error {
	return parseHex((*[32]byte)(id), "instance id", b)
}

func parseHex(dst *[32]byte, what string, b []byte) error {
	var v [32]byte
	if len(b) != 64 {
		return fmt.Errorf("%s of %d characters, want 64 hexadecimal digits", what, len(b))
	}
	if _, err := hex.Decode(v[:], b); err != nil {
		return fmt.Errorf("%s %q: %w", what, b, err)
	}
	*dst = v
	return nil
}

// An Identity is a vault's long-term public keys, made inside its TEE. Evidence
// binds them to a measured program. They never change: a vault that lost its
// keys is another vault.
type Identity struct {
	Sign []byte `cbor:"1,keyasint"` // Ed25519 public key, 32 bytes (RFC 8032)
	KEM  []byte `cbor:"2,keyasint"` // MLKEM768-X25519 public key for HPKE (RFC 9180, draft-ietf-hpke-pq), 1216 bytes
}

// ErrSignature is returned for a signature that does not verify.
var ErrSignature = errors.New("signature does not verify")

// ID checks both keys and returns the hash that names this identity.
func (id Identity) ID() (VaultID, error) {
	if len(id.Sign) != ed25519.PublicKeySize {
		return VaultID{}, fmt.Errorf("identity: signing key of %d bytes, want %d", len(id.Sign), ed25519.PublicKeySize)
	}
	if _, err := id.HPKE(); err != nil {
		return VaultID{}, err
	}
	h, err := HashOf("latchkey/identity/v1", id)
	return VaultID(h), err
}

// HPKE returns the key to which this vault's mail is sealed.
func (id Identity) HPKE() (hpke.PublicKey, error) {
	k, err := hpke.MLKEM768X25519().NewPublicKey(id.KEM)
	if err != nil {
		return nil, fmt.Errorf("identity: HPKE key of %d bytes: %w", len(id.KEM), err)
	}
	return k, nil
}

// signed returns what a signature of this project covers. It begins with a zero
// byte, which no signed note (a transparency log's head) can contain: the same
// key may sign both without one ever passing for the other.
func signed(purpose string, body []byte) []byte {
	h := HashBytes(purpose, body)
	return append([]byte("\x00latchkey"), h[:]...)
}

// Sign signs body for one purpose with an Ed25519 private key.
func Sign(k ed25519.PrivateKey, purpose string, body []byte) []byte {
	return ed25519.Sign(k, signed(purpose, body))
}

// Verify returns ErrSignature unless sig is id's signature of body for this
// purpose.
func (id Identity) Verify(purpose string, body, sig []byte) error {
	if len(id.Sign) != ed25519.PublicKeySize || !ed25519.Verify(id.Sign, signed(purpose, body), sig) {
		return fmt.Errorf("%s: %w", purpose, ErrSignature)
	}
	return nil
}
