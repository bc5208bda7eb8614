package enclave_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/attest"
	"latchkey/coin"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/vault/session"
	"latchkey/wire"
)

// dear is a swap with so many outcomes that exploring them takes a good part of a second.
const dear = `contract Dear
parties alice, bob
term a : units 1..1000
term b : units 1..1000
pot left_side  = a units from alice
pot right_side = b units from bob
counter x = 0 in 0..40
counter y = 0 in 0..40
counter z = 0 in 0..8

phase Play until now + 1 hours
  when alice says "x" if x < 40:
    set x = x + 1
    next Play
  when bob says "y" if y < 40:
    set y = y + 1
    next Play
  when bob says "z" if z < 8:
    set z = z + 1
    next Play
  at deadline:
    give all of left_side to bob
    give all of right_side to alice
    close
`

// dearLock is an agreement with many outcomes, accepted by two owners, and how long it takes
// to explore it.
func dearLock(t *testing.T, w *world) (q vault.LockAsk, takes time.Duration) {
	t.Helper()
	pair := w.pair(0, 1)
	for i, o := range pair.owners {
		w.more(o, denomination([]coin.AssetID{"btc", "xmr"}[i], []coin.KeyType{coin.Secp256k1, coin.Ed25519}[i]), 1)
	}
	a := pair.agreement()
	a.Source, a.LockBy = []byte(dear), w.now+600
	began := time.Now()
	q, err := pair.accept(a)
	if err != nil {
		t.Fatal(err)
	}
	return q, time.Since(began) / 2 // each of the two owners' vaults explores it
}

// serveEscrow has the escrow's vault serve a socket, for a host that stores all at once.
func serveEscrow(t *testing.T, w *world) (host *enclave.Client, served <-chan error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vault.sock")
	l, err := enclave.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.escrow.e.Serve(t.Context(), l) }()
	commits := make(chan enclave.Commit, 1000)
	host, err = enclave.Dial(t.Context(), path, func(m enclave.Commit) { commits <- m })
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			select {
			case m := <-commits:
				_ = host.Durable(m.Number) // a vault that is gone hears nothing
			case <-t.Context().Done():
				return
			}
		}
	}()
	return host, ended
}

// While the outcomes of an agreement are explored, the vault goes on serving: requests are
// decided, made durable and answered, and the lock is, when the exploration is over.
func TestServesBeside(t *testing.T) {
	w := newWorld(t, 3)
	q, _ := dearLock(t, w)
	frames := w.frames(w.owners[2], 3, 1)
	host, _ := serveEscrow(t, w)
	defer host.Close()
	locked := make(chan enclave.Result, 1)
	go func() {
		r, err := host.Call(t.Context(), enclave.Call{Lock: &q})
		if err != nil {
			r.Error = err.Error()
		}
		locked <- r
	}()
	exploring := func() bool {
		t.Helper()
		r, err := host.Call(t.Context(), enclave.Call{Tick: &enclave.Tick{}})
		if err != nil || r.Busy == nil || len(r.Bytes) == 0 {
			t.Fatalf("a tick: %+v, %v", r, err)
		}
		return r.Busy.Exploring == 1
	}
	for end := time.Now().Add(10 * time.Second); !exploring(); {
		if time.Now().After(end) {
			t.Fatal("the lock's outcomes are never explored beside")
		}
	}
	beside := 0
	for _, c := range frames {
		r, err := host.Call(t.Context(), enclave.Call{Frame: c.Frame})
		if err != nil || len(r.Bytes) == 0 {
			t.Fatalf("a request: %+v, %v", r, err)
		}
		if exploring() {
			beside++
		}
	}
	if beside == 0 {
		t.Error("no request was answered before the exploration was over")
	}
	if r := <-locked; r.Locked == nil {
		t.Errorf("the lock, in the end: %s", r.Error)
	}
	if exploring() {
		t.Error("something is explored when all is locked")
	}
}

// A vault whose host leaves while outcomes are explored ends at once.
func TestServeEndsBeside(t *testing.T) {
	w := newWorld(t, 2)
	q, takes := dearLock(t, w)
	host, served := serveEscrow(t, w)
	go func() { _, _ = host.Call(t.Context(), enclave.Call{Lock: &q}) }() // it is never answered
	for end := time.Now().Add(10 * time.Second); ; {
		r, err := host.Call(t.Context(), enclave.Call{Tick: &enclave.Tick{}})
		if err != nil || time.Now().After(end) {
			t.Fatalf("a tick: %+v, %v", r, err)
		}
		if r.Busy.Exploring == 1 {
			break
		}
	}
	began := time.Now()
	host.Close()
	if err := wait(t, served); err != nil {
		t.Errorf("the host has left, and the vault says %v", err)
	}
	if took := time.Since(began); took > takes/2 {
		t.Errorf("it ends after %v, where an exploration takes %v", took, takes)
	}
}

// A lock inside a session would be explored where all wait for it. It is refused with what
// to do instead, costs nothing, and the session goes on; brought to the host it is taken.
func TestSealedLockIsRefused(t *testing.T) {
	w := newWorld(t, 2)
	for i, o := range w.owners {
		w.more(o, denomination([]coin.AssetID{"btc", "xmr"}[i], []coin.KeyType{coin.Secp256k1, coin.Ed25519}[i]), 1)
	}
	q := w.swaps(1)[0].Lock
	m, p := newIdentity(t), w.program("A", goodBuild)
	id, err := m.identity.ID()
	if err != nil {
		t.Fatal(err)
	}
	ev, err := p.Quote(attest.ReportData(attest.PurposeIdentity, id, [32]byte{}))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ev.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	caller, hello, err := session.Call(m.identity, raw, m.sign)
	if err != nil {
		t.Fatal(err)
	}
	s, err := caller.Finish(w.escrow.must(enclave.Call{Greet: &enclave.Raw{Bytes: hello}}).Bytes)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(r vault.Request) string {
		t.Helper()
		plain, err := wire.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		n, frame, err := s.Request(plain)
		if err != nil {
			t.Fatal(err)
		}
		f, err := session.ParseFrame(w.escrow.must(enclave.Call{Frame: &enclave.Raw{Bytes: frame}}).Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err = s.Reply(n, f); err != nil {
			t.Fatal(err)
		}
		var a vault.Reply
		if err := wire.Unmarshal(plain, &a); err != nil {
			t.Fatal(err)
		}
		if a.Refused == nil {
			return ""
		}
		return a.Refused.Reason
	}
	size, work := len(w.escrow.entries), w.escrow.e.Work()
	if why := ask(vault.Request{Lock: q}); !strings.Contains(why, "a lock is brought to the escrow's host, not in a session") {
		t.Errorf("a lock in a session: refused with %q", why)
	}
	if len(w.escrow.entries) != size || w.escrow.e.Work() != work || w.escrow.e.Beside() {
		t.Errorf("it makes %d entries and %d units of work", len(w.escrow.entries)-size, w.escrow.e.Work()-work)
	}
	if why := ask(vault.Request{Stored: &vault.StoredAsk{Step: 1 << 40}}); strings.Contains(why, "not in a session") {
		t.Errorf("the next request is refused with %q", why)
	}
	w.escrow.n++
	w.escrow.e.Come(enclave.Call{N: w.escrow.n, Lock: q})
	w.escrow.e.Turn()
	if !w.escrow.e.Beside() {
		t.Fatal("the lock is not explored")
	}
	_, _, out := w.escrow.e.Turn()
	w.escrow.take(out)
	if r := w.escrow.results[w.escrow.n]; r.Locked == nil {
		t.Errorf("brought to the host, it says %q", r.Error)
	}
}
