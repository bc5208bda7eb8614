package independent_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// What session.md says, from the side of whoever has the secrets.

var (
	hello   = structure(fields{1: identity, 2: octets(-1), 3: octets(1216), 4: octets(32), 5: signature}, nil)
	welcome = structure(fields{1: identity, 2: octets(-1), 3: id32, 4: octets(1216), 5: octets(1120), 6: signature}, nil)
	frame   = structure(fields{1: octets(16), 2: u64, 4: octets(-1)}, fields{3: octets(-1)})
)

// Requests and replies.
var (
	half       = structure(fields{1: list(point), 2: list(octets(-1))}, nil)
	mailItem   = structure(fields{1: id32, 2: u32, 3: octets(-1)}, nil)
	mails      = list(structure(fields{1: id32, 2: id32, 3: octets(-1), 4: list(mailItem)}, nil))
	orderAsked = structure(fields{1: order, 2: signature}, nil)
	request    = structure(nil, fields{
		1: structure(fields{1: id32, 2: spec, 3: id32}, nil),
		2: structure(fields{1: id32, 2: octets(32), 3: half}, nil),
		3: structure(fields{1: agreement, 2: list(acceptance)}, nil),
		4: structure(fields{1: id32, 2: mails}, fields{3: u64}),
		5: structure(fields{1: id32, 2: signature}, fields{3: u64}),
		6: word,
		7: structure(fields{1: id32, 2: u64}, nil),
		8: structure(fields{1: u64}, nil),
		9: orderAsked, 10: orderAsked, 11: stepWord, 12: report,
		13: structure(fields{1: depositOrder, 2: signature, 3: papers}, nil),
	})
	reply = structure(nil, fields{
		1: structure(fields{1: id32, 2: half}, nil),
		2: structure(fields{1: octets(-1), 2: signature, 3: signature}, nil),
		3: structure(fields{1: id32}, nil),
		4: notEmpty(mails),
		5: structure(fields{1: id32, 2: signed, 3: signature}, nil),
		6: notEmpty(list(structure(fields{1: id32, 2: u32, 3: octets(32)}, nil))),
		7: structure(fields{1: text}, nil),
	})
)

// notEmpty is a list that is left out when it is empty.
func notEmpty(s shape) shape {
	return func(v value) error {
		if l, ok := v.([]any); ok && len(l) == 0 {
			return errSession
		}
		return s(v)
	}
}

// message reads a request, which asks one thing, or a reply.
func message(c testCase) error {
	if c.str("kind") == "reply" {
		m, err := read(c.hex("cbor"), reply)
		if err == nil && len(m) > 1 {
			err = errSession
		}
		return err
	}
	m, err := read(c.hex("cbor"), request)
	if err == nil && len(m) != 1 {
		err = errSession
	}
	return err
}

var errSession = errors.New("refused by session.md")

// named derives the keys of a vault's name.
func named(name string) (id map[uint64]any, vault []byte, kem hpke.PrivateKey) {
	seed := sha256.Sum256([]byte(name))
	kem, err := hpke.MLKEM768X25519().DeriveKeyPair(seed[:])
	if err != nil {
		panic(err)
	}
	public := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	id = map[uint64]any{1: []byte(public), 2: kem.PublicKey().Bytes()}
	return id, hash("latchkey/identity/v1", encode(id)), kem
}

func export(secret, enc, info, label []byte) ([]byte, error) {
	k, err := hpke.MLKEM768X25519().NewPrivateKey(secret)
	if err != nil {
		return nil, err
	}
	r, err := hpke.NewRecipient(enc, k, hpke.HKDFSHA256(), hpke.AES256GCM(), info)
	if err != nil {
		return nil, err
	}
	return r.Export(string(label), 32)
}

func open(key, nonce, text, bound []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return gcm.Open(nil, nonce, text, bound)
}

// checkSigned verifies a hello or welcome: over the same with an empty signature.
func checkSigned(m map[uint64]any, field uint64, purpose string) error {
	sig := m[field].([]byte)
	m[field] = []byte{}
	defer func() { m[field] = sig }()
	return verify(m[1].(map[uint64]any)[1].([]byte), purpose, encode(m), sig)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// A session is what a handshake makes.
type session struct {
	id, up, down []byte
	high         uint64
	seen         map[uint64]bool
}

// request opens a frame as the answerer does.
func (s *session) request(raw []byte) ([]byte, error) {
	f, err := read(raw, frame)
	if err != nil {
		return nil, err
	}
	n := f[2].(uint64)
	if !bytes.Equal(f[1].([]byte), s.id) || n == 0 {
		return nil, errSession
	}
	plain, err := open(s.up, join(make([]byte, 4), binary.BigEndian.AppendUint64(nil, n)), f[4].([]byte), s.id)
	if err != nil {
		return nil, err
	}
	if s.seen[n] || s.high >= 1024 && n <= s.high-1024 {
		return nil, errSession
	}
	if s.seen == nil {
		s.seen = map[uint64]bool{}
	}
	s.seen[n], s.high = true, max(s.high, n)
	return plain, nil
}

// reply opens the answer to request n, as the caller does.
func (s *session) reply(n uint64, raw []byte) ([]byte, error) {
	f, err := read(raw, frame)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(f[1].([]byte), s.id) || f[2].(uint64) != n {
		return nil, errSession
	}
	return open(s.down, join(make([]byte, 4), binary.BigEndian.AppendUint64(nil, n)), f[4].([]byte), s.id)
}

// handshake follows one from both sides, with both sides' fresh secrets.
func handshake(c testCase) error {
	_, caller, _ := named(c.str("caller"))
	_, answerer, _ := named(c.str("answerer"))
	h, err := read(c.hex("hello"), hello)
	if err != nil {
		return err
	}
	if err := checkSigned(h, 5, "latchkey/hello/v1"); err != nil {
		return err
	}
	w, err := read(c.hex("welcome"), welcome)
	if err != nil {
		return err
	}
	if err := checkSigned(w, 6, "latchkey/welcome/v1"); err != nil {
		return err
	}
	said := hash("latchkey/hello/v1", encode(h))
	if !bytes.Equal(hash("latchkey/identity/v1", encode(h[1])), caller) || !bytes.Equal(hash("latchkey/identity/v1", encode(w[1])), answerer) || !bytes.Equal(w[3].([]byte), said) {
		return errSession
	}
	info := func(x, y, h []byte) []byte { return join([]byte("latchkey/session/v1\x00"), x, y, h) }
	theirs, err := export(c.hex("caller_kem"), w[5].([]byte), info(answerer, caller, said), []byte("latchkey/half"))
	if err != nil {
		return err
	}
	bind := hash("latchkey/session/bind/v1", c.hex("welcome"))
	f, err := read(c.hex("request"), frame)
	if err != nil {
		return err
	}
	enc, ok := f[3].([]byte)
	if !ok {
		return errSession
	}
	mine, err := export(c.hex("answerer_kem"), enc, info(caller, answerer, bind), []byte("latchkey/half"))
	if err != nil {
		return err
	}
	keys, err := hkdf.Key(sha256.New, join(mine, theirs), bind, "latchkey/session/v1", 64)
	if err != nil {
		return err
	}
	s := &session{id: hash("latchkey/session/id/v1", bind)[:16], up: keys[:32], down: keys[32:]}
	plain, err := s.request(c.hex("request"))
	if err != nil {
		return err
	}
	answer, err := s.reply(f[2].(uint64), c.hex("reply"))
	if err != nil {
		return err
	}
	if !bytes.Equal(s.id, c.hex("session")) || !bytes.Equal(plain, c.hex("plain")) || !bytes.Equal(answer, c.hex("answer")) || !bytes.Equal(join(mine, theirs), c.hex("halves")) {
		return fmt.Errorf("%w: other contents", errSession)
	}
	return nil
}

func frames(c testCase) error {
	s := &session{id: c.hex("session"), up: c.hex("up"), down: c.hex("down")}
	for _, b := range c.hexes("before") {
		if _, err := s.request(b); err != nil {
			panic("a frame before: " + err.Error())
		}
	}
	plain, err := s.request(c.hex("frame"))
	if err == nil && !bytes.Equal(plain, c.hex("plain")) {
		err = errSession
	}
	return err
}

func mail(c testCase) error {
	_, from, _ := named(c.str("from"))
	_, to, kem := named(c.str("to"))
	secret, err := kem.Bytes()
	if err != nil {
		return err
	}
	label := join([]byte(c.str("purpose")), []byte{0}, c.hex("instance"), c.hex("chunk"), binary.BigEndian.AppendUint32(nil, uint32(c.int("epoch"))))
	key, err := export(secret, c.hex("enc"), join([]byte("latchkey/mailbox/v1\x00"), from, to), label)
	if err != nil {
		return err
	}
	t := c.hex("text")
	if len(t) != 60 {
		return errSession
	}
	share, err := open(key, t[:12], t[12:], label)
	if err != nil {
		return err
	}
	if _, err := parseScalar(byte(c.int("type")), share); err != nil || !bytes.Equal(share, c.hex("share")) {
		return fmt.Errorf("%w: another share", errSession)
	}
	return nil
}
