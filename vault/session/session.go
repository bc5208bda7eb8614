package session

import (
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"latchkey/wire"
)

// A Hello opens a handshake: who calls, with what evidence, and a fresh key to
// which the other side encapsulates its half of the session's secret.
type Hello struct {
	From     wire.Identity `cbor:"1,keyasint"`
	Evidence []byte        `cbor:"2,keyasint"` // encoded attest.Evidence over From
	KEM      []byte        `cbor:"3,keyasint"` // fresh, for this handshake only
	Nonce    [32]byte      `cbor:"4,keyasint"`
	Sig      []byte        `cbor:"5,keyasint"` // From's, over the same with an empty Sig
}

// A Welcome answers a Hello and binds to it.
type Welcome struct {
	From     wire.Identity `cbor:"1,keyasint"`
	Evidence []byte        `cbor:"2,keyasint"`
	Hello    wire.Hash     `cbor:"3,keyasint"` // of the Hello that it answers
	KEM      []byte        `cbor:"4,keyasint"` // fresh
	Enc      []byte        `cbor:"5,keyasint"` // to the Hello's KEM
	Sig      []byte        `cbor:"6,keyasint"`
}

// A Frame is one message of a session, or the answer to one.
type Frame struct {
	Session [16]byte `cbor:"1,keyasint"`
	N       uint64   `cbor:"2,keyasint"`           // of the request; its answer has the same
	Enc     []byte   `cbor:"3,keyasint,omitempty"` // the caller's half of the secret, until it was answered once
	Text    []byte   `cbor:"4,keyasint"`
}

const (
	purposeHello   = "latchkey/hello/v1"
	purposeWelcome = "latchkey/welcome/v1"
	// window is how far back a request may come late and still be answered.
	window = 1024
)

// Errors of sessions.
var (
	ErrFrame  = errors.New("frame of no session, or damaged")
	ErrReplay = errors.New("frame seen before")
)

// ephemeral is a KEM key for one handshake.
func ephemeral() (hpke.PrivateKey, error) { return hpke.MLKEM768X25519().GenerateKey() }

// A Caller is the side that opened a handshake. One goroutine owns it.
type Caller struct {
	hello  Hello
	secret hpke.PrivateKey
}

// Format hides the caller's secrets from every verb.
func (Caller) Format(f fmt.State, _ rune) { fmt.Fprint(f, "session caller [redacted]") }

// Call opens a handshake as the vault with this identity.
func Call(id wire.Identity, evidence []byte, k ed25519.PrivateKey) (*Caller, []byte, error) {
	secret, err := ephemeral()
	if err != nil {
		return nil, nil, fmt.Errorf("hello: %w", err)
	}
	c := &Caller{hello: Hello{From: id, Evidence: evidence, KEM: secret.PublicKey().Bytes()}, secret: secret}
	rand.Read(c.hello.Nonce[:])
	body, err := wire.Marshal(c.hello)
	if err != nil {
		return nil, nil, fmt.Errorf("hello: %w", err)
	}
	c.hello.Sig = wire.Sign(k, purposeHello, body)
	b, err := wire.Marshal(c.hello)
	return c, b, err
}

// ParseHello reads a Hello and checks its signature. Whether its evidence is
// good is for the caller to appraise.
func ParseHello(b []byte) (Hello, error) {
	var h Hello
	if err := wire.Unmarshal(b, &h); err != nil {
		return Hello{}, fmt.Errorf("hello: %w", err)
	}
	body := h
	body.Sig = nil
	signed, err := wire.Marshal(body)
	if err == nil {
		err = h.From.Verify(purposeHello, signed, h.Sig)
	}
	if err != nil {
		return Hello{}, fmt.Errorf("hello: %w", err)
	}
	return h, nil
}

// ParseWelcome reads a Welcome and checks its signature.
func ParseWelcome(b []byte) (Welcome, error) {
	var w Welcome
	if err := wire.Unmarshal(b, &w); err != nil {
		return Welcome{}, fmt.Errorf("welcome: %w", err)
	}
	body := w
	body.Sig = nil
	signed, err := wire.Marshal(body)
	if err == nil {
		err = w.From.Verify(purposeWelcome, signed, w.Sig)
	}
	if err != nil {
		return Welcome{}, fmt.Errorf("welcome: %w", err)
	}
	return w, nil
}

// A Session is an established channel, of either side. Each direction has a key
// of its own; a request's number is the nonce in both. One goroutine owns it.
type Session struct {
	ID     [16]byte
	Peer   wire.VaultID
	self   wire.VaultID
	enc    []byte // caller: sent along until answered
	next   uint64 // caller: the next request's number
	to, at cipher.AEAD
	high   uint64 // answerer: the highest number seen
	seen   [window / 64]uint64
	kem    hpke.PrivateKey // answerer: until the caller's half came
	half   []byte          // answerer: its own half of the secret
	bind   wire.Hash
}

// Format hides the session's secrets from every verb.
func (s Session) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "session with vault %s [redacted]", s.Peer.Short())
}

func info(from, to wire.VaultID, bind wire.Hash) []byte {
	b := append([]byte("latchkey/session/v1\x00"), from[:]...)
	b = append(b, to[:]...)
	return append(b, bind[:]...)
}

// derive mixes both sides' halves into one key for each direction.
func (s *Session) derive(caller, answerer []byte, calls bool) error {
	ikm := append(append([]byte(nil), caller...), answerer...)
	okm, err := hkdf.Key(sha256.New, ikm, s.bind[:], "latchkey/session/v1", 64)
	if err != nil {
		return err
	}
	up, err := newGCM(okm[:32])
	if err != nil {
		return err
	}
	down, err := newGCM(okm[32:])
	if err != nil {
		return err
	}
	if s.to, s.at = down, up; calls {
		s.to, s.at = up, down
	}
	return nil
}

// Answer accepts a Hello whose evidence was appraised.
func Answer(h Hello, id wire.Identity, evidence []byte, k ed25519.PrivateKey) (*Session, []byte, error) {
	fail := func(err error) (*Session, []byte, error) { return nil, nil, fmt.Errorf("welcome: %w", err) }
	from, err := h.From.ID()
	if err != nil {
		return fail(err)
	}
	self, err := id.ID()
	if err != nil {
		return fail(err)
	}
	hello, err := wire.HashOf(purposeHello, h)
	if err != nil {
		return fail(err)
	}
	pub, err := hpke.MLKEM768X25519().NewPublicKey(h.KEM)
	if err != nil {
		return fail(err)
	}
	kdf, aead := suite()
	enc, ctx, err := hpke.NewSender(pub, kdf, aead, info(self, from, hello))
	if err != nil {
		return fail(err)
	}
	half, err := ctx.Export("latchkey/half", 32)
	if err != nil {
		return fail(err)
	}
	secret, err := ephemeral()
	if err != nil {
		return fail(err)
	}
	w := Welcome{From: id, Evidence: evidence, Hello: hello, KEM: secret.PublicKey().Bytes(), Enc: enc}
	body, err := wire.Marshal(w)
	if err != nil {
		return fail(err)
	}
	w.Sig = wire.Sign(k, purposeWelcome, body)
	b, err := wire.Marshal(w)
	if err != nil {
		return fail(err)
	}
	s := &Session{Peer: from, self: self, kem: secret, half: half}
	s.bind, s.ID = bindOf(b)
	return s, b, nil
}

func bindOf(welcome []byte) (wire.Hash, [16]byte) {
	bind := wire.HashBytes("latchkey/session/bind/v1", welcome)
	id := wire.HashBytes("latchkey/session/id/v1", bind[:])
	return bind, [16]byte(id[:16])
}

// Finish takes the Welcome, whose evidence was appraised, and returns the
// session.
func (c *Caller) Finish(raw []byte) (*Session, error) {
	fail := func(err error) (*Session, error) { return nil, fmt.Errorf("finish handshake: %w", err) }
	w, err := ParseWelcome(raw)
	if err != nil {
		return fail(err)
	}
	hello, err := wire.HashOf(purposeHello, c.hello)
	if err != nil {
		return fail(err)
	}
	if w.Hello != hello {
		return fail(errors.New("the welcome answers another hello"))
	}
	self, err := c.hello.From.ID()
	if err != nil {
		return fail(err)
	}
	peer, err := w.From.ID()
	if err != nil {
		return fail(err)
	}
	kdf, aead := suite()
	r, err := hpke.NewRecipient(w.Enc, c.secret, kdf, aead, info(peer, self, hello))
	if err != nil {
		return fail(err)
	}
	theirs, err := r.Export("latchkey/half", 32)
	if err != nil {
		return fail(err)
	}
	pub, err := hpke.MLKEM768X25519().NewPublicKey(w.KEM)
	if err != nil {
		return fail(err)
	}
	s := &Session{Peer: peer, self: self, next: 1}
	s.bind, s.ID = bindOf(raw)
	enc, ctx, err := hpke.NewSender(pub, kdf, aead, info(self, peer, s.bind))
	if err != nil {
		return fail(err)
	}
	mine, err := ctx.Export("latchkey/half", 32)
	if err != nil {
		return fail(err)
	}
	s.enc = enc
	return s, s.derive(mine, theirs, true)
}

func nonce(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 4), n) }

// Request seals the caller's next message and returns its number.
func (s *Session) Request(plain []byte) (n uint64, frame []byte, err error) {
	n = s.next
	s.next++
	f := Frame{Session: s.ID, N: n, Enc: s.enc, Text: s.to.Seal(nil, nonce(n), plain, s.ID[:])}
	frame, err = wire.Marshal(f)
	return n, frame, err
}

// Reply opens the answer to request n.
func (s *Session) Reply(n uint64, f Frame) ([]byte, error) {
	if f.Session != s.ID || f.N != n {
		return nil, ErrFrame
	}
	plain, err := s.at.Open(nil, nonce(n), f.Text, s.ID[:])
	if err != nil {
		return nil, ErrFrame
	}
	s.enc = nil
	return plain, nil
}

// Open opens a caller's request, each number once, in any order within a window.
func (s *Session) Open(f Frame) ([]byte, error) {
	if f.Session != s.ID || f.N == 0 {
		return nil, ErrFrame
	}
	if s.at == nil {
		if err := s.complete(f.Enc); err != nil {
			return nil, err
		}
	}
	plain, err := s.at.Open(nil, nonce(f.N), f.Text, s.ID[:])
	if err != nil {
		if s.kem != nil {
			s.to, s.at = nil, nil // not the caller: wait for the one who has the secret
		}
		return nil, ErrFrame
	}
	s.kem, s.half = nil, nil
	if !s.fresh(f.N) {
		return nil, ErrReplay
	}
	return plain, nil
}

// Live reports whether the caller has shown that it holds the session's keys.
func (s *Session) Live() bool { return s.kem == nil }

// complete takes the caller's half of the secret.
func (s *Session) complete(enc []byte) error {
	if s.kem == nil || len(enc) == 0 {
		return ErrFrame
	}
	kdf, aead := suite()
	r, err := hpke.NewRecipient(enc, s.kem, kdf, aead, info(s.Peer, s.self, s.bind))
	if err != nil {
		return ErrFrame
	}
	theirs, err := r.Export("latchkey/half", 32)
	if err != nil {
		return ErrFrame
	}
	return s.derive(theirs, s.half, false)
}

// fresh marks request n as seen, once.
func (s *Session) fresh(n uint64) bool {
	if n+window <= s.high {
		return false
	}
	for s.high < n {
		if n-s.high > window {
			s.high, s.seen = n-window, [window / 64]uint64{}
			continue
		}
		s.high++
		s.seen[s.high%window/64] &^= 1 << (s.high % 64)
	}
	word, bit := &s.seen[n%window/64], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

// Answer seals the reply to request n.
func (s *Session) Answer(n uint64, plain []byte) ([]byte, error) {
	if s.to == nil {
		return nil, ErrFrame
	}
	return wire.Marshal(Frame{Session: s.ID, N: n, Text: s.to.Seal(nil, nonce(n), plain, s.ID[:])})
}

// ParseFrame reads a frame.
func ParseFrame(b []byte) (Frame, error) {
	var f Frame
	if err := wire.Unmarshal(b, &f); err != nil {
		return Frame{}, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	return f, nil
}
