package sim

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"latchkey/key"
	"latchkey/vault"
	"latchkey/wire"
)

// sealer is a vault.Sealer that costs two hashes and draws no randomness. It
// seals under a secret that its recipient is assumed to keep; a world's parties
// do, or say so by being broken.
type sealer struct {
	cast *Cast
	self *Member
	boot uint64 // of the sender: a new boot seals under another secret
}

var _ vault.Sealer = (*sealer)(nil)

// errSealed is what Open answers to what was not sealed for this very purpose.
var errSealed = errors.New("sealed to another vault, for another chunk or epoch, or damaged")

func sealKey(to, from *Member, enc, label []byte) [32]byte {
	b := append([]byte("secret of "+to.Name+"\x00"), from.ID[:]...)
	b = append(b, enc...)
	return sha256.Sum256(append(b, label...))
}

func pad(k [32]byte, use string) [32]byte { return sha256.Sum256(append([]byte(use), k[:]...)) }

// Seal implements vault.Sealer.
func (s *sealer) Seal(to wire.Identity, label []byte, share key.Share) (enc, text []byte, err error) {
	m := s.cast.bySign[string(to.Sign)]
	if m == nil {
		return nil, nil, errors.New("seal: to nobody of this cast")
	}
	enc = binary.BigEndian.AppendUint64(nil, s.boot)
	k := sealKey(m, s.self, enc, label)
	mask, plain := pad(k, "pad"), share.Expose()
	text = make([]byte, 32)
	subtle.XORBytes(text, plain, mask[:])
	clear(plain)
	tag := pad(k, "tag"+string(text))
	return enc, append(text, tag[:16]...), nil
}

// Open implements vault.Sealer.
func (s *sealer) Open(from wire.VaultID, enc, label, text []byte, p key.Point) (key.Share, error) {
	sender := s.cast.member(from)
	if sender == nil || len(text) != 48 {
		return key.Share{}, fmt.Errorf("open mail of vault %s: %w", from.Short(), errSealed)
	}
	k := sealKey(s.self, sender, enc, label)
	tag := pad(k, "tag"+string(text[:32]))
	if subtle.ConstantTimeCompare(tag[:16], text[32:]) != 1 {
		return key.Share{}, fmt.Errorf("open mail of vault %s: %w", from.Short(), errSealed)
	}
	mask := pad(k, "pad")
	plain := make([]byte, 32)
	subtle.XORBytes(plain, text[:32], mask[:])
	defer clear(plain)
	return key.ParseShare(p.Type(), plain)
}

func (c *Cast) member(id wire.VaultID) *Member {
	if c.Escrow.ID == id {
		return &c.Escrow
	}
	for i := range c.Clients {
		if c.Clients[i].ID == id {
			return &c.Clients[i]
		}
	}
	return nil
}
