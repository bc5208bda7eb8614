package enclave_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/coin"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// serve runs an owner's vault on a socket; what Serve returned comes over the
// channel.
func serve(t *testing.T) (path string, served <-chan error) {
	t.Helper()
	w := newWorld(t, 0)
	e, err := enclave.New(w.config(w.trust, w.program("A", goodBuild)))
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "vault.sock")
	l, err := enclave.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.Serve(t.Context(), l) }()
	return path, ended
}

func wait(t *testing.T, served <-chan error) error {
	t.Helper()
	select {
	case err := <-served:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the vault goes on serving")
		return nil
	}
}

func TestSocket(t *testing.T) {
	path, served := serve(t)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("the socket's mode is %v, %v, want 0600", st.Mode().Perm(), err)
	}
	var c *enclave.Client
	c, err := enclave.Dial(t.Context(), path, func(m enclave.Commit) { go c.Durable(m.Number) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Call(t.Context(), enclave.Call{Status: &enclave.Nothing{}}); err == nil || !strings.Contains(err.Error(), "brought back") {
		t.Errorf("a call before Ready: %v", err)
	}
	r, err := c.Call(t.Context(), enclave.Call{Ready: &enclave.Nothing{}})
	if err != nil || r.Status == nil || r.Status.Role != "owner" {
		t.Fatalf("ready: %+v, %v", r, err)
	}
	if _, err := c.Call(t.Context(), enclave.Call{Talk: &enclave.Nothing{}}); !errors.Is(err, enclave.ErrNoSession) {
		t.Errorf("a call that needs a session: %v", err)
	}
	if _, err := net.Dial("unix", path); err == nil {
		t.Error("a second host is let in")
	}
	c.Close()
	if err := wait(t, served); err != nil {
		t.Errorf("the host has left, and the vault says %v", err)
	}
	if _, err := c.Call(t.Context(), enclave.Call{Status: &enclave.Nothing{}}); !errors.Is(err, enclave.ErrGone) {
		t.Errorf("a call to a vault that is gone: %v", err)
	}
}

// A host that never says Durable waits, and gets nothing.
func TestSocketHeld(t *testing.T) {
	path, _ := serve(t)
	committed := make(chan enclave.Commit, 16)
	c, err := enclave.Dial(t.Context(), path, func(m enclave.Commit) { committed <- m })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := c.Call(ctx, enclave.Call{Ready: &enclave.Nothing{}})
		answered <- err
	}()
	m := <-committed
	select {
	case err := <-answered:
		t.Fatalf("answered (%v) though nothing is durable", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := c.Durable(m.Number); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	cancel()
}

// Bytes that are no message end the vault with an error that says what they
// were; it allocates nothing for a length that is absurd.
func TestSocketGarbage(t *testing.T) {
	frame := func(b []byte) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(b)))) + string(b) }
	valid, err := wire.Marshal(enclave.Call{N: 1, Ready: &enclave.Nothing{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, bytes, want string }{
		{"an absurd length", "\xff\xff\xff\xff", "want 1 to"},
		{"a length above the limit", string(binary.BigEndian.AppendUint32(nil, wire.MaxSize+1)), "want 1 to"},
		{"an empty message", frame(nil), "want 1 to"},
		{"no CBOR", frame([]byte("GET / HTTP/1.1")), "decode"},
		{"another type", frame([]byte{0x83, 1, 2, 3}), "decode"},
		{"bytes after the message", frame(append(valid, 0)), "decode"},
		{"an unknown field", frame([]byte{0xa2, 0x01, 0x01, 0x18, 0x63, 0x00}), "decode"},
		{"a field twice", frame([]byte{0xa2, 0x01, 0x01, 0x01, 0x01}), "decode"},
		{"a number that is not shortest", frame([]byte{0xa1, 0x01, 0x18, 0x01}), "decode"},
		{"a cut length", "\x00\x00", "unexpected EOF"},
		{"a cut message", frame(valid)[:5], "unexpected EOF"},
	} {
		path, served := serve(t)
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, c.bytes); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := wait(t, served); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
		conn.Close()
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "vault.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close() // as a killed vault leaves it
	again, err := enclave.Listen(path)
	if err != nil {
		t.Fatalf("a socket that was left behind: %v", err)
	}
	defer again.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := enclave.Listen(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("on a file: %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("the file is gone: %v", err)
	}
	if _, err := enclave.Listen(filepath.Join(dir, "none", "vault.sock")); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("in a folder that is not there: %v", err)
	}
	if os.Geteuid() != 0 { // root writes everywhere
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		if _, err := enclave.Listen(filepath.Join(dir, "new.sock")); err == nil {
			t.Error("in a folder that is read-only: no error")
		}
	}
}

// Whatever a host asks, in whichever state, the vault does not panic, and each
// call has one result.
func FuzzHandle(f *testing.F) {
	for _, c := range []enclave.Call{
		{}, {Ready: &enclave.Nothing{}}, {Status: &enclave.Nothing{}}, {Hello: &enclave.Nothing{}}, {Talk: &enclave.Nothing{}}, {Tick: &enclave.Tick{}},
		{Load: &enclave.Load{Entries: [][]byte{{1}}, Rows: []enclave.StoredRow{{Key: []byte("meta")}}}}, {Durable: &enclave.Durable{Commit: 1 << 63}},
		{Finish: &enclave.Finish{}}, {Feed: &enclave.Feed{Entries: []vault.Logged{{Position: -1}}}}, {Heard: &enclave.Heard{N: 7}},
		{Batch: &vault.BatchSpec{Denomination: denomination("btc", coin.Secp256k1), Weight: 5, N: 1, Expiry: 1_800_100_000}},
		{Accept: &enclave.Accept{Agreement: vault.Agreement{Parties: []vault.Recipients{{}, {{1}}}, Pots: [][]vault.Stake{{{}}}}, Peers: []enclave.Peer{{}}}},
		{Say: &enclave.Say{Word: "x"}}, {Claim: &enclave.Chunks{IDs: []wire.ChunkID{{}, {}}}}, {Keys: &enclave.Chunks{}}, {Swept: &enclave.Chunks{IDs: []wire.ChunkID{{}}}},
		{Took: &enclave.Took{}},
		{Papers: &enclave.Chunks{IDs: []wire.ChunkID{{}}}}, {Sign: &enclave.Sign{}}, {Greet: &enclave.Raw{}}, {Frame: &enclave.Raw{Bytes: []byte{0xa0}}},
		{Cosigned: &enclave.Raw{Bytes: []byte("— x y\n")}},
		{Lock: &vault.LockAsk{Agreement: vault.Agreement{Source: []byte(swap), Terms: []int64{1, 1}, Parties: []vault.Recipients{{}, {}}, Pots: [][]vault.Stake{{}, {}}, Settle: 1}}},
	} {
		b, err := wire.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c enclave.Call
		if wire.Unmarshal(b, &c) != nil {
			return
		}
		w := newWorld(t, 1)
		fresh := newNode(t, w.config(w.trust, w.program("A", goodBuild)))
		var err error
		if fresh.e, err = enclave.New(fresh.cfg); err != nil {
			t.Fatal(err)
		}
		for name, n := range map[string]*node{"a fresh vault": fresh, "an owner": w.owners[0], "an escrow": w.escrow} {
			call := n.send(c)
			if _, ok := n.results[call]; ok == (c.Durable != nil) {
				t.Errorf("%s: answered %t", name, ok)
			}
		}
	})
}

// A vault that cannot write reads nothing. Its host takes results while calls of
// its own wait to be written, or both would stand still for ever.
func TestClientReadsWhileItWrites(t *testing.T) {
	const calls, ahead = 400, 50
	path := filepath.Join(t.TempDir(), "vault.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	load := make([]byte, 64<<10) // more than a socket holds, of a few
	vaults := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			vaults <- err
			return
		}
		defer conn.Close()
		for answered := 0; answered < calls; answered += ahead { // reads some, then writes as many, and reads nothing meanwhile
			var taken []uint64
			for range ahead {
				var c enclave.Call
				if err := enclave.ReadFrame(conn, &c); err != nil {
					vaults <- err
					return
				}
				taken = append(taken, c.N)
			}
			for _, n := range taken {
				if err := enclave.WriteFrame(conn, enclave.Message{Result: &enclave.Result{N: n, Bytes: load}}); err != nil {
					vaults <- err
					return
				}
			}
		}
		vaults <- nil
	}()
	c, err := enclave.Dial(t.Context(), path, func(enclave.Commit) {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	errs := make(chan error, calls)
	for range calls {
		go func() {
			r, err := c.Call(ctx, enclave.Call{Greet: &enclave.Raw{Bytes: load}})
			if err == nil && len(r.Bytes) != len(load) {
				err = errors.New("another result")
			}
			errs <- err
		}()
	}
	for range calls {
		select {
		case err := <-errs:
			if err != nil {
				t.Fatalf("a call: %v", err)
			}
		case <-ctx.Done(): // one that waits to be written does not look at its context
			t.Fatal("host and vault both write, and neither reads")
		}
	}
	if err := <-vaults; err != nil {
		t.Error(err)
	}
}
