package session

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"
	"testing/cryptotest"

	"latchkey/spec/vectors"
	"latchkey/wire"
)

var update = flag.Bool("update", false, "write spec/vectors/session anew")

func check[T any](t *testing.T, name, about string, made []T, top func(T) (string, string), run func(T) error) {
	t.Helper()
	vectors.Check(t, *update, "../../spec/vectors/session/"+name, vectors.File[T]{About: about, Cases: made}, top, run)
}

// named is a vault with the keys that spec/vectors/wire/identity.json has of it.
type named struct {
	identity wire.Identity
	id       wire.VaultID
	sign     ed25519.PrivateKey
}

func vaultNamed(t *testing.T, name string) named {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	kem, err := hpke.MLKEM768X25519().DeriveKeyPair(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	k := ed25519.NewKeyFromSeed(seed[:])
	v := named{identity: wire.Identity{Sign: k.Public().(ed25519.PublicKey), KEM: kem.PublicKey().Bytes()}, sign: k}
	if v.id, err = v.identity.ID(); err != nil {
		t.Fatal(err)
	}
	return v
}

type handshakeVector struct {
	Name     string      `json:"name"`
	Expect   string      `json:"expect"`
	Caller   string      `json:"caller"`
	Answerer string      `json:"answerer"`
	CallKEM  vectors.Hex `json:"caller_kem"`   // private key of hello's field 3
	AnsKEM   vectors.Hex `json:"answerer_kem"` // of welcome's field 4
	Hello    vectors.Hex `json:"hello"`
	Welcome  vectors.Hex `json:"welcome"`
	Session  vectors.Hex `json:"session"`
	Halves   vectors.Hex `json:"halves"` // the caller's, then the answerer's
	Request  vectors.Hex `json:"request"`
	Plain    vectors.Hex `json:"plain"`
	Reply    vectors.Hex `json:"reply"`
	Answer   vectors.Hex `json:"answer"` // what reply says
}

func secretBytes(t *testing.T, k hpke.PrivateKey) []byte {
	t.Helper()
	b, err := k.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func madeHandshake(t *testing.T) handshakeVector {
	t.Helper()
	caller, answerer := vaultNamed(t, "owner"), vaultNamed(t, "escrow")
	v := handshakeVector{Name: "handshake, request and reply", Expect: "ok", Caller: "owner", Answerer: "escrow", Plain: []byte("request"), Answer: []byte("reply")}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c, hello, err := Call(caller.identity, []byte("evidence of the caller"), caller.sign)
	must(err)
	h, err := ParseHello(hello)
	must(err)
	down, welcome, err := Answer(h, answerer.identity, []byte("evidence of the answerer"), answerer.sign)
	must(err)
	v.Hello, v.Welcome, v.CallKEM, v.AnsKEM = hello, welcome, secretBytes(t, c.secret), secretBytes(t, down.kem)
	half := slices.Clone(down.half)
	up, err := c.Finish(welcome)
	must(err)
	v.Session = up.ID[:]
	n, request, err := up.Request(v.Plain)
	must(err)
	f, err := ParseFrame(request)
	must(err)
	mine, err := v.half(v.AnsKEM, f.Enc, info(caller.id, answerer.id, down.bind))
	must(err)
	v.Halves = append(mine, half...)
	_, err = down.Open(f)
	must(err)
	reply, err := down.Answer(n, v.Answer)
	must(err)
	v.Request, v.Reply = request, reply
	return v
}

// half opens one side's contribution.
func (handshakeVector) half(secret, enc, info []byte) ([]byte, error) {
	k, err := hpke.MLKEM768X25519().NewPrivateKey(secret)
	if err != nil {
		return nil, err
	}
	kdf, aead := suite()
	r, err := hpke.NewRecipient(enc, k, kdf, aead, info)
	if err != nil {
		return nil, err
	}
	return r.Export("latchkey/half", 32)
}

// check takes both sides' parts in turn, with the code of each.
func (v handshakeVector) check(t *testing.T) error {
	caller, answerer := vaultNamed(t, v.Caller), vaultNamed(t, v.Answerer)
	h, err := ParseHello(v.Hello)
	if err != nil {
		return err
	}
	from, err := h.From.ID()
	if err != nil {
		return err
	}
	if from != caller.id {
		return errors.New("another caller")
	}
	secret, err := hpke.MLKEM768X25519().NewPrivateKey(v.CallKEM)
	if err != nil {
		return err
	}
	c := &Caller{hello: h, secret: secret}
	if _, err := c.Finish(v.Welcome); err != nil {
		return err
	}
	w, err := ParseWelcome(v.Welcome)
	if err != nil {
		return err
	}
	if peer, err := w.From.ID(); err != nil || peer != answerer.id {
		return fmt.Errorf("another answerer: %w", err)
	}
	theirs, err := v.half(v.CallKEM, w.Enc, info(answerer.id, caller.id, w.Hello))
	if err != nil {
		return err
	}
	down := &Session{Peer: caller.id, self: answerer.id, half: theirs}
	if down.kem, err = hpke.MLKEM768X25519().NewPrivateKey(v.AnsKEM); err != nil {
		return err
	}
	if !bytes.Equal(down.kem.PublicKey().Bytes(), w.KEM) {
		return errors.New("another key than the welcome's")
	}
	down.bind, down.ID = bindOf(v.Welcome)
	f, err := ParseFrame(v.Request)
	if err != nil {
		return err
	}
	plain, err := down.Open(f)
	if err != nil {
		return err
	}
	mine, err := v.half(v.AnsKEM, f.Enc, info(caller.id, answerer.id, down.bind))
	if err != nil {
		return err
	}
	up := &Session{ID: down.ID, Peer: answerer.id, self: caller.id, bind: down.bind}
	if err := up.derive(mine, theirs, true); err != nil {
		return err
	}
	r, err := ParseFrame(v.Reply)
	if err != nil {
		return err
	}
	answer, err := up.Reply(f.N, r)
	if err != nil {
		return err
	}
	if !bytes.Equal(plain, v.Plain) || !bytes.Equal(answer, v.Answer) || !bytes.Equal(v.Session, up.ID[:]) || !bytes.Equal(v.Halves, append(mine, theirs...)) {
		return errors.New("other contents than the vector says")
	}
	return nil
}

func TestHandshakeVectors(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	good := madeHandshake(t)
	other := madeHandshake(t)
	made := []handshakeVector{good}
	bad := func(name, want string, change func(*handshakeVector)) {
		v := good
		for _, b := range []*vectors.Hex{&v.Hello, &v.Welcome, &v.Request, &v.Reply} {
			*b = slices.Clone(*b)
		}
		change(&v)
		v.Name, v.Expect = name, "error: "+want
		made = append(made, v)
	}
	last := func(b vectors.Hex) { b[len(b)-1] ^= 1 }
	bad("hello: another signature", "hello: latchkey/hello/v1: signature", func(v *handshakeVector) { last(v.Hello) })
	bad("hello: other evidence", "hello: latchkey/hello/v1: signature", func(v *handshakeVector) {
		copy(v.Hello[bytes.Index(v.Hello, []byte("evidence")):], "Evidence")
	})
	bad("hello: a byte too many", "extraneous", func(v *handshakeVector) { v.Hello = append(v.Hello, 0) })
	bad("hello: in another's name", "another caller", func(v *handshakeVector) { v.Caller = "stranger" })
	bad("welcome: another signature", "latchkey/welcome/v1: signature", func(v *handshakeVector) { last(v.Welcome) })
	bad("welcome: to another hello", "answers another hello", func(v *handshakeVector) { v.Welcome = other.Welcome })
	bad("welcome: a hello sent back", "decode", func(v *handshakeVector) { v.Welcome = v.Hello })
	bad("request: of another session", "frame of no session", func(v *handshakeVector) { v.Request = other.Request })
	bad("request: damaged", "frame of no session", func(v *handshakeVector) { last(v.Request) })
	bad("request: without the caller's half", "frame of no session", func(v *handshakeVector) {
		f, err := ParseFrame(v.Request)
		if err != nil {
			t.Fatal(err)
		}
		f.Enc = nil
		if v.Request, err = wire.Marshal(f); err != nil {
			t.Fatal(err)
		}
	})
	bad("reply: damaged", "frame of no session", func(v *handshakeVector) { last(v.Reply) })
	bad("reply: the request sent back", "frame of no session", func(v *handshakeVector) { v.Reply = v.Request })
	check(t, "handshake.json", "Handshakes, each with its first request and the reply. The secrets are those of the two fresh keys; identities are named in wire/identity.json.",
		made, func(v handshakeVector) (string, string) { return v.Name, v.Expect }, func(v handshakeVector) error { return v.check(t) })
}

type frameVector struct {
	Name    string        `json:"name"`
	Expect  string        `json:"expect"`
	Session vectors.Hex   `json:"session"`
	Up      vectors.Hex   `json:"up"`   // key of requests
	Down    vectors.Hex   `json:"down"` // key of replies
	Before  []vectors.Hex `json:"before"`
	Frame   vectors.Hex   `json:"frame"`
	Plain   vectors.Hex   `json:"plain,omitempty"`
}

func (v frameVector) answerer() (*Session, error) {
	s := &Session{ID: [16]byte(v.Session)}
	var err error
	if s.at, err = newGCM(v.Up); err != nil {
		return nil, err
	}
	s.to, err = newGCM(v.Down)
	return s, err
}

func (v frameVector) check() error {
	s, err := v.answerer()
	if err != nil {
		return err
	}
	for _, raw := range v.Before {
		f, err := ParseFrame(raw)
		if err == nil {
			_, err = s.Open(f)
		}
		if err != nil {
			return fmt.Errorf("a frame before: %w", err)
		}
	}
	f, err := ParseFrame(v.Frame)
	if err != nil {
		return err
	}
	plain, err := s.Open(f)
	if err == nil && !bytes.Equal(plain, v.Plain) {
		err = fmt.Errorf("it opens to %x", plain)
	}
	return err
}

func TestFrameVectors(t *testing.T) {
	up, down := sha256.Sum256([]byte("up")), sha256.Sum256([]byte("down"))
	base := frameVector{Session: []byte("0123456789abcdef"), Up: up[:], Down: down[:], Before: []vectors.Hex{}}
	request := func(n uint64, change func(*Frame)) vectors.Hex {
		s, err := base.answerer()
		if err != nil {
			t.Fatal(err)
		}
		f := Frame{Session: s.ID, N: n, Text: s.at.Seal(nil, nonce(n), fmt.Appendf(nil, "request %d", n), s.ID[:])}
		if change != nil {
			change(&f)
		}
		raw, err := wire.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	var made []frameVector
	add := func(name, want string, n uint64, change func(*Frame), before ...uint64) {
		v := base
		v.Name, v.Expect, v.Frame = name, "ok", request(n, change)
		if want != "" {
			v.Expect = "error: " + want
		} else {
			v.Plain = fmt.Appendf(nil, "request %d", n)
		}
		for _, m := range before {
			v.Before = append(v.Before, request(m, nil))
		}
		made = append(made, v)
	}
	const damaged, replay = "no session, or damaged", "seen before"
	add("the first", "", 1, nil)
	add("the second", "", 2, nil, 1)
	add("before one that came first", "", 1, nil, 2)
	add("the oldest in the window", "", 2, nil, 1025)
	add("far ahead", "", 1<<40, nil, 1)
	add("seen before", replay, 1, nil, 1)
	add("seen before, others in between", replay, 3, nil, 1, 3, 2, 5)
	add("older than the window", replay, 1, nil, 1025)
	add("older than the window after a jump", replay, 5, nil, 1, 1<<40)
	add("number 0", damaged, 0, nil)
	add("another number than it was sealed for", damaged, 1, func(f *Frame) { f.N = 2 })
	add("of another session", damaged, 1, func(f *Frame) { f.Session[0] ^= 1 })
	add("damaged", damaged, 1, func(f *Frame) { f.Text[0] ^= 1 })
	add("cut", damaged, 1, func(f *Frame) { f.Text = f.Text[:10] })
	add("empty", damaged, 1, func(f *Frame) { f.Text = nil })
	add("a reply", damaged, 1, func(f *Frame) {
		s, err := base.answerer()
		if err != nil {
			t.Fatal(err)
		}
		f.Text = s.to.Seal(nil, nonce(1), []byte("request 1"), s.ID[:])
	})
	add("bound to another session", damaged, 1, func(f *Frame) {
		s, err := base.answerer()
		if err != nil {
			t.Fatal(err)
		}
		f.Text = s.at.Seal(nil, nonce(1), []byte("request 1"), []byte("another session!"))
	})
	v := base
	v.Name, v.Expect, v.Frame = "a byte too many", "error: extraneous", append(request(1, nil), 0)
	made = append(made, v)
	check(t, "frame.json", "Requests to the answerer of a session of given keys that has opened the frames in before.",
		made, func(v frameVector) (string, string) { return v.Name, v.Expect }, frameVector.check)
}

// TestSuiteIsThatOfThePage holds the numbers of spec/session.md.
func TestSuiteIsThatOfThePage(t *testing.T) {
	kdf, aead := suite()
	k, err := ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	enc, _, err := hpke.NewSender(k.PublicKey(), kdf, aead, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%04x %04x %04x %d %d %s", hpke.MLKEM768X25519().ID(), kdf.ID(), aead.ID(), len(k.PublicKey().Bytes()), len(enc), hex.EncodeToString(nonce(1)))
	if want := "647a 0001 0002 1216 1120 000000000000000000000001"; got != want {
		t.Errorf("suite %s, want %s", got, want)
	}
}
