package escrow

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/event"
	"latchkey/gate"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// A writer is an enrolled vault's host.
type writer struct {
	id       wire.VaultID
	identity wire.Identity
	sign     ed25519.PrivateKey
}

func newWriter(t testing.TB) writer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return writerOf(t, private)
}

func writerOf(t testing.TB, private ed25519.PrivateKey) writer {
	t.Helper()
	w := writer{identity: wire.Identity{Sign: private.Public().(ed25519.PublicKey), KEM: make([]byte, 1216)}, sign: private}
	var err error
	if w.id, err = w.identity.ID(); err != nil {
		t.Fatal(err)
	}
	return w
}

// letterbox is an escrow's host without its vault, at which some vaults are
// enrolled, and a caller of it.
func letterbox(t *testing.T, enrolled ...writer) (*Host, *Client, wire.VaultID) {
	t.Helper()
	log, err := event.NewMemory().Open()
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHost(t.Context(), HostConfig{Log: log, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	self := newWriter(t)
	h.status.Identity = self.identity
	for i, w := range enrolled {
		h.feed.Add(int64(i), vault.Entry{Enrol: &vault.Enrol{Identity: w.identity}})
	}
	s := httptest.NewServer(Handler(h))
	t.Cleanup(s.Close)
	return h, NewClient(s.URL, s.Client()), self.id
}

func (w writer) signed(t *testing.T, v any) Signed {
	t.Helper()
	b, err := wire.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return Signed{b, wire.Sign(w.sign, enclave.PurposeHost, b)}
}

func (w writer) letter(escrow, to wire.VaultID, body string) Letter {
	return Letter{Purpose: PurposeLetter, Escrow: escrow, From: w.id, To: to, At: time.Now().Unix(), Body: []byte(body)}
}

func (w writer) collect(escrow wire.VaultID, after uint64) Collect {
	return Collect{Purpose: PurposeCollect, Escrow: escrow, Vault: w.id, At: time.Now().Unix(), After: after}
}

func TestLetters(t *testing.T) {
	alice, bob := newWriter(t), newWriter(t)
	_, c, self := letterbox(t, alice, bob)
	ctx := t.Context()
	for _, body := range []string{"one", "two", "one"} { // the same again replaces the one that waits
		if err := c.Post(ctx, alice.signed(t, alice.letter(self, bob.id, body))); err != nil {
			t.Fatal(err)
		}
	}
	read := func(after uint64) (bodies []string, last uint64) {
		t.Helper()
		list, err := c.Collect(ctx, bob.signed(t, bob.collect(self, after)), 50*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			l, err := r.Open(bob.id, func(v wire.VaultID) (wire.Identity, error) { return alice.identity, nil })
			if err != nil {
				t.Fatal(err)
			}
			bodies, last = append(bodies, string(l.Body)), r.Number
		}
		return bodies, last
	}
	first, last := read(0)
	again, _ := read(0) // nothing is let go before it is said to be stored
	if diff := cmp.Diff([][]string{{"two", "one"}, {"two", "one"}}, [][]string{first, again}); diff != "" {
		t.Errorf("letters (-want +got):\n%s", diff)
	}
	if rest, _ := read(last); len(rest) != 0 {
		t.Errorf("after acknowledging: %v", rest)
	}
	if old, _ := read(0); len(old) != 0 {
		t.Errorf("what was acknowledged comes again: %v", old)
	}

	// Who waits hears at once.
	heard := make(chan error, 1)
	go func() {
		list, err := c.Collect(ctx, bob.signed(t, bob.collect(self, last)), 20*time.Second)
		if err == nil && len(list) != 1 {
			err = fmt.Errorf("%d letters", len(list))
		}
		heard <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := c.Post(ctx, alice.signed(t, alice.letter(self, bob.id, "three"))); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-heard:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("who waits does not hear")
	}
}

// Who waits for letters does not keep the escrow from ending.
func TestLettersEndWithTheProcess(t *testing.T) {
	bob := newWriter(t)
	h, _, self := letterbox(t, bob)
	l, err := gate.Listen("127.0.0.1:0", gate.Tables{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	asked := make(chan struct{})
	go func() {
		ended <- l.Serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(asked)
			Handler(h).ServeHTTP(w, r)
		}))
	}()
	heard := make(chan error, 1)
	go func() {
		list, err := NewClient(l.URL(), http.DefaultClient).Collect(t.Context(), bob.signed(t, bob.collect(self, 0)), 20*time.Second)
		if err == nil && len(list) != 0 {
			err = fmt.Errorf("%d letters", len(list))
		}
		heard <- err
	}()
	<-asked
	began := time.Now()
	stop()
	if err := <-heard; err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("it ended after %v", d)
	}
}

func TestLettersThatAreRefused(t *testing.T) {
	alice, bob, stranger := newWriter(t), newWriter(t), newWriter(t)
	_, c, self := letterbox(t, alice, bob)
	for _, x := range []struct {
		name, want string
		s          func() Signed
	}{
		{"of a stranger", "not enrolled", func() Signed { return stranger.signed(t, stranger.letter(self, bob.id, "x")) }},
		{"to a stranger", "not enrolled", func() Signed { return alice.signed(t, alice.letter(self, stranger.id, "x")) }},
		{"in another's name", "signature", func() Signed { return stranger.signed(t, alice.letter(self, bob.id, "x")) }},
		{"for another escrow", "is for escrow", func() Signed { return alice.signed(t, alice.letter(bob.id, bob.id, "x")) }},
		{"of yesterday", "s apart", func() Signed { l := alice.letter(self, bob.id, "x"); l.At -= 86400; return alice.signed(t, l) }},
		{"of tomorrow", "s apart", func() Signed { l := alice.letter(self, bob.id, "x"); l.At += 86400; return alice.signed(t, l) }},
		{"signed as something else", "signed as", func() Signed {
			l := alice.letter(self, bob.id, "x")
			l.Purpose = PurposeCollect
			return alice.signed(t, l)
		}},
		{"that is a collection", "letter refused", func() Signed { return alice.signed(t, alice.collect(self, 0)) }},
		{"that is too long", "at most", func() Signed { return alice.signed(t, alice.letter(self, bob.id, strings.Repeat("x", MaxLetter))) }},
		{"that is garbage", "letter refused", func() Signed { return Signed{[]byte("garbage"), nil} }},
	} {
		if err := c.Post(t.Context(), x.s()); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("a letter %s: %v, want %q", x.name, err, x.want)
		}
	}
	for _, x := range []struct {
		name, want string
		s          Signed
	}{
		{"another's", "signature", alice.signed(t, bob.collect(self, 0))},
		{"a stranger's", "not enrolled", stranger.signed(t, stranger.collect(self, 0))},
		{"by a letter", "letter refused", alice.signed(t, alice.letter(self, bob.id, "x"))},
	} {
		if _, err := c.Collect(t.Context(), x.s, 0); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("collecting %s letters: %v, want %q", x.name, err, x.want)
		}
	}

	// The escrow's host is not believed either.
	s := alice.signed(t, alice.letter(self, bob.id, "x"))
	keysOf := func(w writer) func(wire.VaultID) (wire.Identity, error) {
		return func(wire.VaultID) (wire.Identity, error) { return w.identity, nil }
	}
	if _, err := s.Open(alice.id, keysOf(alice)); err == nil {
		t.Error("a letter to another is taken")
	}
	if _, err := s.Open(bob.id, keysOf(stranger)); err == nil {
		t.Error("a letter with another vault's keys is taken")
	}
	s.Sig = make([]byte, 64)
	if _, err := s.Open(bob.id, keysOf(alice)); err == nil {
		t.Error("a letter without a signature is taken")
	}
}

// One sender cannot fill a box for the others, nor all of them the host's memory;
// what nobody collects is forgotten.
func TestPostIsBounded(t *testing.T) {
	now := time.Now()
	p := newPost(now)
	to := wire.VaultID{9}
	put := func(from byte, n, size int, at time.Time) error {
		body := append([]byte(fmt.Sprint(from, n)), make([]byte, size)...)
		return p.put(Letter{From: wire.VaultID{from}, To: to, Body: body}, Signed{Body: body}, at)
	}
	n := 0
	for ; ; n++ {
		if err := put(1, n, 10, now); errors.Is(err, errFull) {
			break
		} else if err != nil || n > maxFrom {
			t.Fatalf("letter %d of one sender: %v", n, err)
		}
	}
	if n != maxFrom {
		t.Errorf("one sender leaves %d letters, want %d", n, maxFrom)
	}
	if err := put(2, 0, 10, now); err != nil {
		t.Errorf("another sender: %v", err)
	}
	for from := byte(3); ; from++ {
		if err := put(from, 0, 1<<19, now); errors.Is(err, errFull) {
			break
		} else if err != nil || from > 20 {
			t.Fatalf("sender %d: %v", from, err)
		}
	}
	if p.boxes[to].size > maxBoxSize || p.size != p.boxes[to].size {
		t.Errorf("the box holds %d bytes, all together %d", p.boxes[to].size, p.size)
	}
	later := now.Add(letterLife + time.Second)
	if err := put(1, 999, 10, later); err != nil {
		t.Errorf("when the old ones are too old: %v", err)
	}
	if list, _ := p.take(to, 0, later); len(list) != 1 {
		t.Errorf("%d letters are left, want the new one", len(list))
	}
	if list, _ := p.take(to, 0, later.Add(letterLife+time.Second)); len(list) != 0 || p.size != 0 {
		t.Errorf("%d letters of %d bytes are left, want none", len(list), p.size)
	}
}
