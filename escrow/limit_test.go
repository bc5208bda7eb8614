package escrow

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/attest"
	"latchkey/attest/sim"
	"latchkey/event"
	"latchkey/gate"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/vault/session"
	"latchkey/wire"
)

func newTestHost(t *testing.T, l gate.Limits) *Host {
	t.Helper()
	log, err := event.NewMemory().Open()
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHost(t.Context(), HostConfig{
		Log: log, Origin: "escrow.test/log", Guard: gate.NewGuard(l, time.Now), Verifiers: []attest.Verifier{sim.Verifier{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// silent is a vault that takes calls and answers the ones that answer lets go.
func silent(t *testing.T, h *Host) (came <-chan enclave.Call, answer func(enclave.Result)) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "v.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	calls, conns := make(chan enclave.Call, 1000), make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		conns <- conn
		for {
			var c enclave.Call
			if enclave.ReadFrame(conn, &c) != nil {
				return
			}
			calls <- c
		}
	}()
	v, err := enclave.Dial(t.Context(), l.Addr().String(), func(enclave.Commit) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	h.mu.Lock()
	h.vault = v
	h.mu.Unlock()
	conn := <-conns
	return calls, func(r enclave.Result) {
		if err := enclave.WriteFrame(conn, enclave.Message{Result: &r}); err != nil {
			t.Error(err)
		}
	}
}

// While witnesses are down, results wait in the vault. As many do as there are places,
// also when nobody waits for them any more: what comes then is refused by name, before
// it comes to the vault, and taken when an answer has left. Nothing that was taken is
// lost.
func TestResultsHeldAreBounded(t *testing.T) {
	h := newTestHost(t, gate.Limits{Waiting: 40, VaultWaiting: 3})
	came, answer := silent(t, h)
	ask := func(ctx context.Context, session byte) error {
		_, err := h.ask(ctx, string(session), enclave.Call{Frame: &enclave.Raw{Bytes: []byte("frame")}})
		return err
	}
	gone, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	var calls []enclave.Call
	for range 3 {
		go func() { ended <- ask(gone, 'a') }()
		calls = append(calls, <-came)
	}
	cancel()
	for range 3 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatalf("who does not wait any more hears %v", err)
		}
	}
	var limit *gate.LimitError
	if err := ask(t.Context(), 'a'); !errors.As(err, &limit) || !strings.Contains(err.Error(), "this vault has 3 requests that are not answered yet") {
		t.Errorf("a fourth request of one vault: %v", err)
	}
	other := make(chan error, 1)
	go func() { other <- ask(t.Context(), 'b') }()
	c := <-came
	answer(enclave.Result{N: c.N})
	if err := <-other; err != nil {
		t.Errorf("another vault: %v", err)
	}
	for _, c := range calls {
		answer(enclave.Result{N: c.N})
	}
	for deadline := time.Now().Add(10 * time.Second); ; { // the answers are on their way through the socket
		ctx, cancel := context.WithCancel(t.Context())
		go func() { other <- ask(ctx, 'a') }()
		var err error
		select {
		case c := <-came:
			answer(enclave.Result{N: c.N})
			err = <-other
		case err = <-other:
		}
		cancel()
		if err == nil {
			return
		}
		if !errors.As(err, &limit) || time.Now().After(deadline) {
			t.Fatalf("after all was answered: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// hello makes a vault on a device: its identity, its evidence, and how it greets.
func hello(t *testing.T, p *sim.Program) (wire.Identity, []byte, []byte) {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := wire.Identity{Sign: pub, KEM: make([]byte, 1216)}
	v, err := id.ID()
	if err != nil {
		t.Fatal(err)
	}
	ev, err := p.Quote(attest.ReportData(attest.PurposeIdentity, v, [32]byte{}))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ev.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	_, h, err := session.Call(id, raw, private)
	if err != nil {
		t.Fatal(err)
	}
	return id, raw, h
}

// devices returns what starts a program on a new device of one vendor.
func devices(t *testing.T) func() *sim.Program {
	t.Helper()
	vendor, err := sim.NewVendor("Aldine", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return func() *sim.Program {
		p, err := vendor.Issue(sim.Device{NotBefore: 1, NotAfter: 4e9}, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		prog, err := p.Launch(sim.Launch{Measurement: [32]byte{1}})
		if err != nil {
			t.Fatal(err)
		}
		return prog
	}
}

// One device enrols so many vaults and no more; those that it has go on, and other
// devices do. What is enrolled counts after a restart, from the index and from the log.
func TestVaultsOfOneDevice(t *testing.T) {
	h := newTestHost(t, gate.Limits{DeviceVaults: 2})
	device := devices(t)
	one, other := device(), device()
	enrol := func(p *sim.Program) (hi []byte, err error) {
		id, raw, hi := hello(t, p)
		done, err := h.enrols(hi)
		if err != nil {
			return hi, err
		}
		e := vault.Entry{At: time.Now().Unix(), Enrol: &vault.Enrol{Identity: id, Evidence: raw}}
		entry, err := wire.Marshal(e)
		if err != nil {
			return hi, err
		}
		if err := h.cfg.Log.Append(t.Context(), uint64(h.added), event.Block{Events: [][]byte{entry}, Puts: h.tree.Append(entry)}); err != nil {
			return hi, err
		}
		h.feed.Add(h.added, e)
		h.added++
		done()
		return hi, nil
	}
	var first []byte
	var err error
	for i := range 2 {
		if first, err = enrol(one); err != nil {
			t.Fatalf("vault %d of a device: %v", i, err)
		}
	}
	if _, err := enrol(one); err == nil || !strings.Contains(err.Error(), "2 vaults of this device are enrolled here") || !strings.Contains(err.Error(), "limits.device_vaults") {
		t.Errorf("a third vault of a device: %v", err)
	}
	for _, from := range []string{"the log", "the index"} {
		if from == "the index" {
			if err := h.cfg.Log.Append(t.Context(), uint64(h.added), event.Block{Puts: h.feedRows()}); err != nil {
				t.Fatal(err)
			}
		}
		again, err := NewHost(t.Context(), h.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := again.stored.Size > 0; got != (from == "the index") {
			t.Fatalf("read from the index: %t", got)
		}
		_, _, hi := hello(t, one)
		if _, err := again.enrols(hi); err == nil {
			t.Errorf("a third vault after a restart from %s", from)
		}
	}
	if done, err := h.enrols(first); err != nil {
		t.Errorf("a vault that is enrolled greets again: %v", err)
	} else {
		done()
	}
	_, _, hi := hello(t, other)
	done, err := h.enrols(hi)
	if err != nil {
		t.Fatalf("another device: %v", err)
	}
	_, _, again := hello(t, other)
	if _, err := h.enrols(again); err != nil {
		t.Fatalf("a second vault of it: %v", err)
	}
	_, _, third := hello(t, other) // two are on their way, none is enrolled yet
	if _, err := h.enrols(third); err == nil {
		t.Error("three vaults of a device enrol at once")
	}
	done()
	if _, err := h.enrols(third); err != nil {
		t.Errorf("after one was refused by the vault: %v", err)
	}
	for _, f := range h.Figures() {
		if f.Name == "device_vaults_most" && f.Value != 2 {
			t.Errorf("the operator sees %v vaults of one device", f.Value)
		}
	}
	for _, noise := range [][]byte{nil, []byte("noise")} {
		if done, err := h.enrols(noise); err != nil { // the vault says what it is
			t.Error(err)
		} else {
			done()
		}
	}
}

// Chunks are counted for the device whose vaults begin them, and where no device is known for
// the vault: also after a restart, from the log and from the index. Who has begun as many as it
// may is named to the vault, every vault of a device.
func TestChunksOfOneDevice(t *testing.T) {
	h := newTestHost(t, gate.Limits{DeviceChunks: 10})
	add := func(e vault.Entry) {
		t.Helper()
		e.At = time.Now().Unix()
		entry, err := wire.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.cfg.Log.Append(t.Context(), uint64(h.added), event.Block{Events: [][]byte{entry}, Puts: h.tree.Append(entry)}); err != nil {
			t.Fatal(err)
		}
		h.feed.Add(h.added, e)
		h.added++
	}
	enrol := func(p *sim.Program) wire.VaultID {
		id, raw, _ := hello(t, p)
		v, err := id.ID()
		if err != nil {
			t.Fatal(err)
		}
		add(vault.Entry{Enrol: &vault.Enrol{Identity: id, Evidence: raw}})
		return v
	}
	begin := func(v wire.VaultID, n uint32) {
		add(vault.Entry{Generate: &vault.Generate{Owner: vault.Recipients{v}, Spec: vault.BatchSpec{N: n}}})
	}
	device := devices(t)
	one, other := device(), device()
	a, b, c := enrol(one), enrol(one), enrol(other)
	idle := enrol(one)
	begin(a, 4)
	begin(b, 5)
	begin(c, 9)
	if got := h.full(); len(got.Full) != 0 || got.Most != 10 {
		t.Errorf("before anybody has ten: %+v", got)
	}
	begin(b, 1)
	for _, from := range []string{"live", "the log", "the index"} {
		if from == "the index" {
			if err := h.cfg.Log.Append(t.Context(), uint64(h.added), event.Block{Puts: h.feedRows()}); err != nil {
				t.Fatal(err)
			}
		}
		x := h
		if from != "live" {
			var err error
			if x, err = NewHost(t.Context(), h.cfg); err != nil {
				t.Fatal(err)
			}
			if got := x.stored.Size > 0; got != (from == "the index") {
				t.Fatalf("read from the index: %t", got)
			}
		}
		got := map[wire.VaultID]bool{}
		for _, v := range x.full().Full {
			got[v] = true
		}
		if len(got) != 3 || !got[a] || !got[b] || !got[idle] {
			t.Errorf("from %s: %d vaults may make no more", from, len(got))
		}
		for _, f := range x.Figures() {
			if f.Name == "device_chunks_most" && f.Value != 10 {
				t.Errorf("from %s: the operator sees %v chunks of one device", from, f.Value)
			}
		}
	}
	h.feed.device = nil // a platform that names no device
	d, e := enrol(one), enrol(one)
	begin(d, 10)
	if got := h.full().Full; len(got) != 4 || !slices.Contains(got, d) || slices.Contains(got, e) {
		t.Errorf("without a device: %d vaults may make no more", len(got))
	}
}

// A lock comes to the vault only if all its parties have signed it: what it costs is on
// their accounts.
func TestLockOfNobody(t *testing.T) {
	h := newTestHost(t, gate.Limits{})
	came, _ := silent(t, h)
	for name, q := range map[string]vault.LockAsk{
		"no parties": {}, "a party, and no acceptance": {Agreement: vault.Agreement{Parties: []vault.Recipients{{{1}}}}},
		"a vault that is not enrolled": {Agreement: vault.Agreement{Parties: []vault.Recipients{{{1}}}}, Acceptances: make([]vault.SignedAcceptance, 1)},
	} {
		if _, err := h.Lock(t.Context(), q, 0); err == nil || !strings.Contains(err.Error(), "acceptance") {
			t.Errorf("%s: %v", name, err)
		}
	}
	id, raw, _ := hello(t, devices(t)())
	h.feed.Add(0, vault.Entry{Enrol: &vault.Enrol{Identity: id, Evidence: raw}})
	v, err := id.ID()
	if err != nil {
		t.Fatal(err)
	}
	a := vault.Agreement{Parties: []vault.Recipients{{v}}}
	hash, err := a.Hash()
	if err != nil {
		t.Fatal(err)
	}
	forged := vault.SignedAcceptance{Body: vault.Acceptance{Agreement: hash}, Sig: make([]byte, ed25519.SignatureSize)}
	if _, err := h.Lock(t.Context(), vault.LockAsk{Agreement: a, Acceptances: []vault.SignedAcceptance{forged}}, 0); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("a forged acceptance: %v", err)
	}
	select {
	case c := <-came:
		t.Errorf("the vault was asked: %v", fmt.Sprint(c.N))
	default:
	}
}
