package session_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/coin"
	"latchkey/key"
	"latchkey/vault/session"
	"latchkey/wire"
)

// A party is a vault's identity with its keys.
type party struct {
	identity wire.Identity
	id       wire.VaultID
	sign     ed25519.PrivateKey
	kem      hpke.PrivateKey
}

func newParty(t testing.TB) party {
	t.Helper()
	pub, sign, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	kem, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	p := party{identity: wire.Identity{Sign: pub, KEM: kem.PublicKey().Bytes()}, sign: sign, kem: kem}
	if p.id, err = p.identity.ID(); err != nil {
		t.Fatal(err)
	}
	return p
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// pair is both sides of one handshake, and what went over the wire.
type pair struct {
	up, down       *session.Session
	hello, welcome []byte
}

func handshake(t testing.TB, caller, answerer party) pair {
	t.Helper()
	c, hello, err := session.Call(caller.identity, []byte("evidence of the caller"), caller.sign)
	if err != nil {
		t.Fatal(err)
	}
	h := must[session.Hello](t)(session.ParseHello(hello))
	down, welcome, err := session.Answer(h, answerer.identity, []byte("evidence of the answerer"), answerer.sign)
	if err != nil {
		t.Fatal(err)
	}
	return pair{must[*session.Session](t)(c.Finish(welcome)), down, hello, welcome}
}

// say sends one request up and returns its frame.
func say(t testing.TB, s *session.Session, text string) (uint64, session.Frame) {
	t.Helper()
	n, raw, err := s.Request([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return n, must[session.Frame](t)(session.ParseFrame(raw))
}

func open(t testing.TB, s *session.Session, f session.Frame, want string) {
	t.Helper()
	got, err := s.Open(f)
	if err != nil || string(got) != want {
		t.Fatalf("request %d opens to %q, %v, want %q", f.N, got, err, want)
	}
}

func TestRoundTrip(t *testing.T) {
	alice, escrow := newParty(t), newParty(t)
	p := handshake(t, alice, escrow)
	if p.up.Peer != escrow.id || p.down.Peer != alice.id || p.up.ID != p.down.ID {
		t.Fatalf("the sides see peers %s and %s", p.up.Peer.Short(), p.down.Peer.Short())
	}
	if p.down.Live() {
		t.Fatal("the session is live before the caller has shown its keys")
	}
	if _, err := p.down.Answer(1, []byte("too early")); !errors.Is(err, session.ErrFrame) {
		t.Fatalf("an answer before the keys are known: %v", err)
	}
	// The first two requests are under way at once; both carry the caller's half.
	n1, f1 := say(t, p.up, "first")
	n2, f2 := say(t, p.up, "second")
	open(t, p.down, f2, "second")
	open(t, p.down, f1, "first")
	if !p.down.Live() {
		t.Fatal("the session is not live after a request")
	}
	for n, text := range map[uint64]string{n1: "to the first", n2: "to the second"} {
		f := must[session.Frame](t)(session.ParseFrame(must[[]byte](t)(p.down.Answer(n, []byte(text)))))
		if _, err := p.up.Reply(n+1, f); !errors.Is(err, session.ErrFrame) {
			t.Errorf("the answer to %d passes for one to %d: %v", n, n+1, err)
		}
		if got, err := p.up.Reply(n, f); err != nil || string(got) != text {
			t.Errorf("answer %d: %q, %v", n, got, err)
		}
	}
	if _, f := say(t, p.up, "third"); len(f.Enc) != 0 {
		t.Error("the encapsulation is sent along although it was answered")
	}
}

// Each request opens once, in any order, as long as it is not too late.
func TestWindow(t *testing.T) {
	const window = 1024
	p := handshake(t, newParty(t), newParty(t))
	frames := []session.Frame{{}}
	for n := 1; n <= 3*window; n++ {
		_, f := say(t, p.up, fmt.Sprint(n))
		frames = append(frames, f)
	}
	type step struct {
		n    int
		want error
	}
	for _, s := range []step{
		{5, nil}, {3, nil}, {5, session.ErrReplay}, {3, session.ErrReplay}, {4, nil},
		{window, nil}, {1, nil}, {1, session.ErrReplay}, // the oldest one still in the window
		{window + 2, nil}, {2, session.ErrReplay}, // just out of it, though never seen
		{window + 1, nil}, {window + 1, session.ErrReplay},
		{3 * window, nil}, // a jump over more than the window
		{2*window + 1, nil}, {2 * window, session.ErrReplay}, {window + 2, session.ErrReplay},
		{3*window - 1, nil}, {3 * window, session.ErrReplay},
	} {
		got, err := p.down.Open(frames[s.n])
		if !errors.Is(err, s.want) || err == nil && string(got) != fmt.Sprint(s.n) {
			t.Errorf("request %d: %q, %v, want %v", s.n, got, err, s.want)
		}
	}
}

func TestTampered(t *testing.T) {
	p, other := handshake(t, newParty(t), newParty(t)), handshake(t, newParty(t), newParty(t))
	_, f := say(t, p.up, "text")
	for name, change := range map[string]func(*session.Frame){
		"text":        func(f *session.Frame) { f.Text[0] ^= 1 },
		"tag":         func(f *session.Frame) { f.Text[len(f.Text)-1] ^= 1 },
		"cut":         func(f *session.Frame) { f.Text = f.Text[:3] },
		"empty":       func(f *session.Frame) { f.Text = nil },
		"number":      func(f *session.Frame) { f.N++ },
		"number zero": func(f *session.Frame) { f.N = 0 },
		"session":     func(f *session.Frame) { f.Session[0] ^= 1 },
		"half":        func(f *session.Frame) { f.Enc[0] ^= 1 },
		"no half":     func(f *session.Frame) { f.Enc = nil },
		"other's half": func(f *session.Frame) {
			_, o := say(t, other.up, "text")
			f.Enc = o.Enc
		},
	} {
		g := f
		g.Text, g.Enc = bytes.Clone(f.Text), bytes.Clone(f.Enc)
		change(&g)
		if got, err := p.down.Open(g); !errors.Is(err, session.ErrFrame) {
			t.Errorf("%s: opens to %q, %v", name, got, err)
		}
		if p.down.Live() {
			t.Fatalf("%s: the session went live", name)
		}
	}
	open(t, p.down, f, "text") // nothing of that was in the way of the true one

	raw := must[[]byte](t)(p.down.Answer(f.N, []byte("answer")))
	a := must[session.Frame](t)(session.ParseFrame(raw))
	if _, err := p.down.Open(a); err == nil {
		t.Error("an answer passes for a request")
	}
	if _, err := p.up.Reply(f.N, f); !errors.Is(err, session.ErrFrame) {
		t.Errorf("a request passes for its own answer: %v", err)
	}
	a.Text[0] ^= 1
	if _, err := p.up.Reply(f.N, a); !errors.Is(err, session.ErrFrame) {
		t.Errorf("a changed answer: %v", err)
	}
}

// Whoever repeats an old Hello gets a Welcome and nothing else: without the
// secret of its KEM it never brings the session to life.
func TestReplayedHello(t *testing.T) {
	alice, escrow, mallory := newParty(t), newParty(t), newParty(t)
	live := handshake(t, alice, escrow)
	_, first := say(t, live.up, "first")
	open(t, live.down, first, "first")

	h := must[session.Hello](t)(session.ParseHello(live.hello))
	again, welcome, err := session.Answer(h, escrow.identity, nil, escrow.sign)
	if err != nil {
		t.Fatal(err)
	}
	if again.ID == live.down.ID {
		t.Fatal("two answers to one hello make the same session")
	}
	own, _, err := session.Call(mallory.identity, nil, mallory.sign)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own.Finish(welcome); err == nil || !strings.Contains(err.Error(), "another hello") {
		t.Errorf("a welcome for another hello: %v", err)
	}
	stolen := first
	stolen.Session = again.ID
	for _, f := range []session.Frame{first, stolen} {
		if _, err := again.Open(f); !errors.Is(err, session.ErrFrame) || again.Live() {
			t.Errorf("a frame of the live session brings the repeated one to life: %v", err)
		}
	}
	_, second := say(t, live.up, "second")
	open(t, live.down, second, "second") // the live one goes on
}

// Hello and Welcome are refused when anything of them was changed or somebody
// else signed them.
func TestHandshakeRefuses(t *testing.T) {
	alice, escrow, mallory := newParty(t), newParty(t), newParty(t)
	p := handshake(t, alice, escrow)
	for name, change := range map[string]func(*session.Hello){
		"evidence":  func(h *session.Hello) { h.Evidence[0] ^= 1 },
		"KEM":       func(h *session.Hello) { h.KEM = mallory.identity.KEM },
		"nonce":     func(h *session.Hello) { h.Nonce[0] ^= 1 },
		"signature": func(h *session.Hello) { h.Sig[0] ^= 1 },
		"unsigned":  func(h *session.Hello) { h.Sig = nil },
		"caller":    func(h *session.Hello) { h.From = mallory.identity },
		"half of the caller": func(h *session.Hello) {
			h.From.KEM = mallory.identity.KEM
		},
	} {
		h := must[session.Hello](t)(session.ParseHello(p.hello))
		change(&h)
		if _, err := session.ParseHello(must[[]byte](t)(wire.Marshal(h))); err == nil {
			t.Errorf("hello with another %s is taken", name)
		}
	}
	c, hello, err := session.Call(alice.identity, nil, alice.sign)
	if err != nil {
		t.Fatal(err)
	}
	h := must[session.Hello](t)(session.ParseHello(hello))
	_, welcome, err := session.Answer(h, escrow.identity, []byte("evidence"), escrow.sign)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*session.Welcome){
		"evidence": func(w *session.Welcome) { w.Evidence[0] ^= 1 },
		"KEM":      func(w *session.Welcome) { w.KEM = mallory.identity.KEM },
		"Enc":      func(w *session.Welcome) { w.Enc[0] ^= 1 },
		"hello":    func(w *session.Welcome) { w.Hello[0] ^= 1 },
		"sender":   func(w *session.Welcome) { w.From = mallory.identity },
	} {
		w := must[session.Welcome](t)(session.ParseWelcome(welcome))
		change(&w)
		if _, err := c.Finish(must[[]byte](t)(wire.Marshal(w))); err == nil {
			t.Errorf("welcome with another %s is taken", name)
		}
	}
	if _, err := session.ParseWelcome(hello); err == nil {
		t.Error("a hello passes for a welcome")
	}
	h.KEM = h.KEM[1:]
	if _, _, err := session.Answer(h, escrow.identity, nil, escrow.sign); err == nil {
		t.Error("a KEM key that is cut is encapsulated to")
	}
	if _, err := c.Finish(welcome); err != nil {
		t.Errorf("the true welcome, after all that: %v", err)
	}
}

// A share sealed for one chunk, epoch, sender and recipient opens as nothing
// else, and errors do not tell it.
func TestMailbox(t *testing.T) {
	alice, bob, carol := newParty(t), newParty(t), newParty(t)
	out, in := session.NewMailbox(alice.id, alice.kem), session.NewMailbox(bob.id, bob.kem)
	share := must[key.Share](t)(key.NewShare(coin.Secp256k1, rand.Reader))
	p := share.Public()
	label := []byte("hand\x00chunk 1 epoch 4")
	enc, text, err := out.Seal(bob.identity, label, share)
	if err != nil {
		t.Fatal(err)
	}
	got, err := in.Open(alice.id, enc, label, text, p)
	if err != nil || !got.Equal(share) {
		t.Fatalf("the share does not come back: %v", err)
	}
	enc2, text2, err := out.Seal(bob.identity, label, share)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(enc, enc2) || bytes.Equal(text, text2) {
		t.Error("one encapsulation per recipient and boot, a fresh nonce per share: not so")
	}
	otherEnc, _, err := session.NewMailbox(alice.id, alice.kem).Seal(bob.identity, label, share) // another boot
	if err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte, i int) []byte { b = bytes.Clone(b); b[i] ^= 1; return b }
	for _, c := range []struct {
		name             string
		in               *session.Mailbox
		from             wire.VaultID
		enc, label, text []byte
	}{
		{"another chunk", in, alice.id, enc, []byte("hand\x00chunk 2 epoch 4"), text},
		{"another epoch", in, alice.id, enc, []byte("hand\x00chunk 1 epoch 5"), text},
		{"no label", in, alice.id, enc, nil, text},
		{"another recipient", session.NewMailbox(carol.id, carol.kem), alice.id, enc, label, text},
		{"another sender", in, carol.id, enc, label, text},
		{"another boot", in, alice.id, otherEnc, label, text},
		{"changed nonce", in, alice.id, enc, label, flip(text, 0)},
		{"changed text", in, alice.id, enc, label, flip(text, len(text)-1)},
		{"cut text", in, alice.id, enc, label, text[:11]},
		{"empty text", in, alice.id, enc, label, nil},
		{"cut encapsulation", in, alice.id, enc[1:], label, text},
	} {
		_, err := c.in.Open(c.from, c.enc, c.label, c.text, p)
		if err == nil {
			t.Errorf("%s: it opens", c.name)
			continue
		}
		tellsNothing(t, c.name, err.Error(), share.Expose())
	}
	if _, err := in.Open(alice.id, enc, label, text, p); err != nil {
		t.Errorf("the true mail, after all that: %v", err)
	}
	if _, _, err := out.Seal(wire.Identity{Sign: bob.identity.Sign}, label, share); err == nil {
		t.Error("sealed to an identity without an HPKE key")
	}
}

// tellsNothing fails if text has the secret, in hexadecimal or as Go prints bytes.
func tellsNothing(t *testing.T, what, text string, secret []byte) {
	t.Helper()
	for _, s := range []string{string(secret), hex.EncodeToString(secret), strings.Trim(fmt.Sprint(secret), "[]"), fmt.Sprintf("%#v", secret)} {
		if strings.Contains(text, s) {
			t.Errorf("%s tells a secret", what)
		}
	}
}

// Printing any of it, in whatever way, tells no identity key and no plain text.
func TestPrints(t *testing.T) {
	alice, escrow := newParty(t), newParty(t)
	p := handshake(t, alice, escrow)
	secret := make([]byte, 32)
	rand.Read(secret)
	_, raw, err := p.up.Request(secret)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := session.Call(alice.identity, nil, alice.sign)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := alice.kem.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"session": *p.up, "answerer": *p.down, "caller": *c, "frame": raw, "mailbox": *session.NewMailbox(alice.id, alice.kem),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s"} {
			text := fmt.Sprintf(verb, v)
			for _, s := range [][]byte{secret, alice.sign.Seed(), seed} {
				tellsNothing(t, name+" as "+verb, text, s)
			}
		}
	}
}

func fuzz[T any](f *testing.F, parse func([]byte) (T, error), seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s)
		f.Add(s[:len(s)/2])
		f.Add(append(bytes.Clone(s), 0))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parse(b)
		if err != nil {
			return
		}
		again, err := wire.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, again); diff != "" {
			t.Errorf("accepted, but encodes to something else:\n%s", diff)
		}
	})
}

func FuzzHello(f *testing.F) {
	fuzz(f, session.ParseHello, handshake(f, newParty(f), newParty(f)).hello)
}

func FuzzWelcome(f *testing.F) {
	fuzz(f, session.ParseWelcome, handshake(f, newParty(f), newParty(f)).welcome)
}

func FuzzFrame(f *testing.F) {
	_, first, err := handshake(f, newParty(f), newParty(f)).up.Request([]byte("request"))
	if err != nil {
		f.Fatal(err)
	}
	later, err := wire.Marshal(session.Frame{N: 7, Text: []byte("sealed")})
	if err != nil {
		f.Fatal(err)
	}
	fuzz(f, session.ParseFrame, first, later)
}
