// Package session carries secrets between two vaults: in sessions, while both
// run, and in mailboxes, for a vault that reads later.
//
// Both rest on HPKE (RFC 9180) with the hybrid KEM MLKEM768-X25519
// (draft-ietf-hpke-pq), HKDF-SHA256 and AES-256-GCM. The costly encapsulation
// happens once per session, or once per recipient and boot; each message then
// costs one AEAD. Nothing here is ever stored: a new boot makes new secrets.
package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"latchkey/key"
	"latchkey/wire"
)

func suite() (hpke.KDF, hpke.AEAD) { return hpke.HKDFSHA256(), hpke.AES256GCM() }

// maxOpened bounds how many senders' encapsulations a Mailbox remembers; what is
// forgotten costs one decapsulation more.
const maxOpened = 4096

// A Mailbox seals shares to other vaults' identity keys and opens those sealed
// to this one. It implements vault.Sealer.
//
// Each share is sealed with AES-256-GCM under a key of its own, exported from
// the HPKE context of sender and recipient (RFC 9180 §5.3) for the label that
// says what the share is; so a share cannot pass for another. HPKE's base mode
// does not prove the sender: the receiver checks the share against points that
// the log holds.
//
// One goroutine owns a Mailbox.
type Mailbox struct {
	self   wire.VaultID
	secret hpke.PrivateKey
	sent   map[string]*sent // by the recipient's keys
	opened map[[32]byte]*hpke.Recipient
}

type sent struct {
	id  wire.VaultID
	enc []byte
	ctx *hpke.Sender
}

// NewMailbox returns the mailbox of the vault with this id and HPKE key.
func NewMailbox(self wire.VaultID, secret hpke.PrivateKey) *Mailbox {
	return &Mailbox{self: self, secret: secret, sent: map[string]*sent{}, opened: map[[32]byte]*hpke.Recipient{}}
}

// Format hides the mailbox's secrets from every verb.
func (m Mailbox) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "mailbox of vault %s [redacted]", m.self.Short())
}

func mailInfo(from, to wire.VaultID) []byte {
	return append(append([]byte("latchkey/mailbox/v1\x00"), from[:]...), to[:]...)
}

// Seal seals a share to a vault. enc is the same for all mail of this boot to
// that vault.
func (m *Mailbox) Seal(to wire.Identity, label []byte, share key.Share) (enc, text []byte, err error) {
	keys := string(to.Sign) + string(to.KEM) // cheaper than its ID, which reads the KEM's key
	s := m.sent[keys]
	if s == nil {
		id, err := to.ID()
		if err != nil {
			return nil, nil, fmt.Errorf("seal: %w", err)
		}
		pub, err := to.HPKE()
		if err != nil {
			return nil, nil, fmt.Errorf("seal: %w", err)
		}
		kdf, aead := suite()
		s = &sent{id: id}
		if s.enc, s.ctx, err = hpke.NewSender(pub, kdf, aead, mailInfo(m.self, id)); err != nil {
			return nil, nil, fmt.Errorf("seal to vault %s: %w", id.Short(), err)
		}
		m.sent[keys] = s
	}
	k, err := s.ctx.Export(string(label), 32)
	if err != nil {
		return nil, nil, fmt.Errorf("seal to vault %s: %w", s.id.Short(), err)
	}
	gcm, err := newGCM(k)
	if err != nil {
		return nil, nil, err
	}
	nonce := make([]byte, gcm.NonceSize())
	rand.Read(nonce)
	return s.enc, gcm.Seal(nonce, nonce, share.Expose(), label), nil
}

// Open opens a share that from sealed to this vault under label. p tells the
// share's key type; whether it is the right share is for the caller to check.
func (m *Mailbox) Open(from wire.VaultID, enc, label, text []byte, p key.Point) (key.Share, error) {
	at := sha256.Sum256(append(append([]byte(nil), from[:]...), enc...))
	r := m.opened[at]
	if r == nil {
		kdf, aead := suite()
		var err error
		if r, err = hpke.NewRecipient(enc, m.secret, kdf, aead, mailInfo(from, m.self)); err != nil {
			return key.Share{}, fmt.Errorf("open mail of vault %s: %w", from.Short(), err)
		}
		if len(m.opened) >= maxOpened {
			clear(m.opened)
		}
		m.opened[at] = r
	}
	k, err := r.Export(string(label), 32)
	if err != nil {
		return key.Share{}, fmt.Errorf("open mail of vault %s: %w", from.Short(), err)
	}
	gcm, err := newGCM(k)
	if err != nil {
		return key.Share{}, err
	}
	if len(text) < gcm.NonceSize() {
		return key.Share{}, fmt.Errorf("open mail of vault %s: %d bytes", from.Short(), len(text))
	}
	plain, err := gcm.Open(nil, text[:gcm.NonceSize()], text[gcm.NonceSize():], label)
	if err != nil {
		return key.Share{}, fmt.Errorf("open mail of vault %s: it is sealed to another vault, for another chunk or epoch, or damaged", from.Short())
	}
	return key.ParseShare(p.Type(), plain)
}

func newGCM(k []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
