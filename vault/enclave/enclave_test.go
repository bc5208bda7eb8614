package enclave_test

import (
	"crypto/rand"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"latchkey/attest"
	"latchkey/attest/sim"
	"latchkey/coin"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/vault/session"
	"latchkey/wire"
)

// restart starts every vault again on what its host stored, and checks that each
// knows just what it knew. Sessions end.
func (w *world) restart() {
	w.t.Helper()
	for _, n := range append([]*node{w.escrow}, w.owners...) {
		before := n.must(enclave.Call{Status: &enclave.Nothing{}}).Status
		old, oldKeys := n.rows, tableKeys(n.rows)
		if err := n.start(); err != nil {
			w.t.Fatal(err)
		}
		after := n.must(enclave.Call{Status: &enclave.Nothing{}}).Status
		before.Session = false
		if before.Role == "escrow" {
			before.Witnessed = after.Witnessed // it asks its witnesses anew
		}
		if diff := cmp.Diff(before, after, cmp.Exporter(func(reflect.Type) bool { return true }), cmpopts.EquateEmpty()); diff != "" {
			w.t.Fatalf("the %s's state after a restart (- before, + after):\n%s", before.Role, diff)
		}
		for k := range oldKeys {
			if old[k] != nil {
				w.t.Errorf("a restart of the %s does not forget the old table key", before.Role)
			}
		}
	}
	w.witness()
	for _, o := range w.owners {
		w.meet(o)
	}
}

func tableKeys(rows map[string][]byte) map[string]bool {
	out := map[string]bool{}
	for k := range rows {
		if strings.HasPrefix(k, "key/") {
			out[k] = true
		}
	}
	return out
}

// An exchange from deposit to sweep, where every vault is killed after each
// step. What anyone may see tells no key.
func TestSwap(t *testing.T) {
	for every, name := range map[int64]string{0: "from the log", 3: "from snapshots"} {
		t.Run(name, func(t *testing.T) { testSwap(t, newWorldWith(t, 2, every)) })
	}
}

func testSwap(t *testing.T, w *world) {
	alice, bob := w.owners[0], w.owners[1]
	w.restart()
	left := w.deposit(alice, denomination("btc", coin.Secp256k1), 2)
	right := w.deposit(bob, denomination("xmr", coin.Ed25519), 2)
	w.restart()
	q, err := w.accept(w.agreement())
	if err != nil {
		t.Fatal(err)
	}
	w.restart()
	if _, err := alice.call(enclave.Call{Claim: &enclave.Chunks{IDs: left}}); err == nil {
		t.Error("alice claims what she has pledged")
	}
	first := w.escrow.must(enclave.Call{Lock: &q}).Locked
	if again := w.escrow.must(enclave.Call{Lock: &q}).Locked; *again != *first {
		t.Errorf("the same lock makes %v and then %v", first, again)
	}
	w.restart()
	w.run()
	w.restart()
	if diff := cmp.Diff([][]wire.ChunkID{right, left}, [][]wire.ChunkID{idsOf(alice.chunks()), idsOf(bob.chunks())}); diff != "" {
		t.Fatalf("who has what after the swap:\n%s", diff)
	}
	var secrets [][]byte
	for _, o := range w.owners {
		ids := idsOf(o.chunks())
		if r := o.must(enclave.Call{Keys: &enclave.Chunks{IDs: ids}}); len(r.Keys) != 0 {
			t.Fatal("keys are whole before they were claimed")
		}
		o.must(enclave.Call{Claim: &enclave.Chunks{IDs: ids}})
		w.restart()
		w.run()
		w.restart()
		keys := o.must(enclave.Call{Keys: &enclave.Chunks{IDs: ids}}).Keys
		if len(keys) != len(ids) {
			t.Fatalf("%d keys of %d chunks", len(keys), len(ids))
		}
		for _, k := range keys {
			if _, err := key.ParsePrivate(k.D, k.P); err != nil {
				t.Errorf("chunk %s: %v", k.Chunk.Short(), err)
			}
			secrets = append(secrets, k.D)
		}
		r := o.results[o.n]
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s"} {
			tellsNothing(t, "a result as "+verb, format(verb, r), keys[0].D)
		}
		o.must(enclave.Call{Swept: &enclave.Chunks{IDs: ids}})
		w.run()
		if r := o.must(enclave.Call{Keys: &enclave.Chunks{IDs: ids}}); len(r.Keys) != 0 {
			t.Error("a key is still there after its sweep is final")
		}
	}
	for _, n := range append([]*node{w.escrow}, w.owners...) {
		for _, d := range secrets {
			tellsNothing(t, "an error", strings.Join(n.errors, "\n"), d)
			for _, v := range n.rows {
				tellsNothing(t, "a stored row", string(v), d)
			}
			for _, e := range n.entries {
				tellsNothing(t, "the log", string(e), d)
			}
		}
	}
}

// Evidence of a wrong program, platform or vendor is refused on either side, and
// the refusal says why.
func TestEvidence(t *testing.T) {
	w := newWorld(t, 1)
	revoked := func() *sim.Program {
		v := w.vendors["A"]
		p, err := v.Issue(sim.Device{NotBefore: w.now - 1000, NotAfter: w.now + 90*86400}, rand.Reader)
		if err == nil {
			if err = v.Revoke(p); err == nil {
				err = v.Renew(p, w.now-10, w.now+86400)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		prog, err := p.Launch(sim.Launch{Measurement: goodBuild})
		if err != nil {
			t.Fatal(err)
		}
		return prog
	}
	debug := func() *sim.Program {
		p, err := w.vendors["A"].Issue(sim.Device{NotBefore: w.now - 1000, NotAfter: w.now + 90*86400}, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		prog, err := p.Launch(sim.Launch{Measurement: goodBuild, Debug: true})
		if err != nil {
			t.Fatal(err)
		}
		return prog
	}
	size := len(w.escrow.entries)
	for _, c := range []struct {
		name, want string
		program    *sim.Program
	}{
		{"another build", "build", w.program("A", badBuild)},
		{"an unlisted vendor", "root", w.program("stranger", goodBuild)},
		{"a revoked device", "revoked", revoked()},
		{"debug on", "debug", debug()},
	} {
		_, err := w.greet(w.owner(c.program))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
	}
	if len(w.escrow.entries) != size {
		t.Error("a vault whose evidence was refused is in the log")
	}

	// The owner decides by its own policy about its escrow.
	for _, c := range []struct {
		name, want string
		policy     attest.Policy
	}{
		{"another build", "build", sim.InsecurePolicy([]attest.Root{w.vendors["A"].Root(), w.vendors["B"].Root()}, sim.Build("other", badBuild))},
		{"another vendor", "root", sim.InsecurePolicy([]attest.Root{w.vendors["A"].Root()}, sim.Build("vault", goodBuild))},
	} {
		trust := w.trust
		trust.Policy = c.policy
		o := newNode(t, w.config(trust, w.program("A", goodBuild)))
		if err := o.start(); err != nil {
			t.Fatal(err)
		}
		f, err := w.greet(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.call(enclave.Call{Finish: &f}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("an escrow of %s: %v, want an error with %q", c.name, err, c.want)
		}
		if r, err := o.call(enclave.Call{Talk: &enclave.Nothing{}}); err == nil || !r.NoSession {
			t.Errorf("it talks with an escrow of %s: %v", c.name, err)
		}
	}

	// Whoever is not the escrow of the pinned log is none, its evidence as good as
	// can be. The head that it brings is the true one.
	trust := w.trust
	trust.Role = "escrow"
	escrow, impostor := w.escrow, newNode(t, w.config(trust, w.program("B", goodBuild)))
	if err := impostor.start(); err != nil {
		t.Fatal(err)
	}
	o := w.owners[0]
	w.escrow = impostor
	if _, err := w.greet(o); err == nil || !strings.Contains(err.Error(), "does not know the time") {
		t.Errorf("an escrow without a witnessed head greets: %v", err)
	}
	w.escrow = escrow
	hello, err := session.ParseHello(o.must(enclave.Call{Hello: &enclave.Nothing{}}).Bytes)
	if err != nil {
		t.Fatal(err)
	}
	m := newIdentity(t)
	_, welcome, err := session.Answer(hello, m.identity, w.escrow.status.Evidence, m.sign)
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.call(enclave.Call{Finish: &enclave.Finish{Welcome: welcome, Head: w.note}})
	if err == nil || !strings.Contains(err.Error(), "not the escrow of log") {
		t.Errorf("a welcome from somebody else: %v", err)
	}
}

// A replayed Hello, or a fresh one that its sender never follows up, does not
// displace the session of the vault that it names.
func TestLiveSessionStays(t *testing.T) {
	w := newWorld(t, 1)
	alice := w.owners[0]
	hello := alice.must(enclave.Call{Hello: &enclave.Nothing{}}).Bytes
	r := w.escrow.must(enclave.Call{Greet: &enclave.Raw{Bytes: hello}})
	alice.must(enclave.Call{Finish: &enclave.Finish{Welcome: r.Bytes, Head: w.note}})
	batch := func() {
		alice.must(enclave.Call{Batch: &vault.BatchSpec{Denomination: denomination("btc", coin.Secp256k1), Weight: 5, N: 1, Expiry: w.now + 80*86400}})
	}
	batch()
	w.run() // the session is live
	for range 3 {
		w.escrow.must(enclave.Call{Greet: &enclave.Raw{Bytes: hello}})
	}
	batch()
	w.run()
	if n := len(alice.chunks()); n != 2 {
		t.Errorf("%d chunks: the live session did not go on", n)
	}
	// A repeated frame is not answered twice.
	batch()
	said := alice.must(enclave.Call{Talk: &enclave.Nothing{}}).Talk
	frame := enclave.Call{Frame: &enclave.Raw{Bytes: said[0].Frame}}
	w.escrow.must(frame)
	if _, err := w.escrow.call(frame); err == nil || !strings.Contains(err.Error(), "seen before") {
		t.Errorf("a replayed frame: %v", err)
	}
}

// Nothing leaves before it is durable, and what promises the escrow's word not
// before it is witnessed.
func TestHeld(t *testing.T) {
	w := newWorld(t, 1)
	alice := w.owners[0]
	answered := func(n *node, call uint64) bool { _, ok := n.results[call]; return ok }

	// A host that never says Durable gets nothing of what was changed.
	alice.hold = true
	spec := vault.BatchSpec{Denomination: denomination("btc", coin.Secp256k1), Weight: 5, N: 2, Expiry: w.now + 80*86400}
	made := alice.send(enclave.Call{Batch: &spec})
	said := alice.send(enclave.Call{Talk: &enclave.Nothing{}})
	if len(alice.waiting) == 0 || answered(alice, made) || answered(alice, said) {
		t.Fatalf("%d commits wait, yet the batch was answered %t and talked of %t", len(alice.waiting), answered(alice, made), answered(alice, said))
	}
	alice.take(alice.e.Handle(enclave.Call{Durable: &enclave.Durable{Commit: alice.waiting[0].Number - 1}}))
	if answered(alice, made) {
		t.Fatal("answered when only the commit before was durable")
	}
	alice.hold = false
	alice.store()
	if !answered(alice, made) || !answered(alice, said) {
		t.Fatal("durable, and not answered")
	}

	talk := alice.results[said].Talk
	for _, waitsForWitnesses := range []bool{false, true} { // begin, then open: the certificate
		w.escrow.hold = true
		n := w.escrow.send(enclave.Call{Frame: &enclave.Raw{Bytes: talk[0].Frame}})
		if answered(w.escrow, n) {
			t.Fatalf("%s: answered before it was durable", talk[0].What)
		}
		w.escrow.hold = false
		w.escrow.store()
		if answered(w.escrow, n) == waitsForWitnesses {
			t.Fatalf("%s: answered %t when durable and not witnessed", talk[0].What, !waitsForWitnesses)
		}
		w.witness()
		if !answered(w.escrow, n) {
			t.Fatalf("%s: witnessed, and not answered", talk[0].What)
		}
		alice.must(enclave.Call{Heard: &enclave.Heard{N: talk[0].N, Frame: w.escrow.results[n].Bytes}})
		talk = alice.must(enclave.Call{Talk: &enclave.Nothing{}}).Talk
		if !waitsForWitnesses && len(talk) != 1 {
			t.Fatalf("%d things to say after begin, want open", len(talk))
		}
	}
	w.run()

	// The escrow's share of a claimed chunk is the secret of them all.
	alice.must(enclave.Call{Claim: &enclave.Chunks{IDs: idsOf(alice.chunks())}})
	talk = alice.must(enclave.Call{Talk: &enclave.Nothing{}}).Talk
	if len(talk) != 1 || talk[0].What != "claim" {
		t.Fatalf("to say: %v", talk)
	}
	n := w.escrow.send(enclave.Call{Frame: &enclave.Raw{Bytes: talk[0].Frame}})
	h := w.escrow.must(enclave.Call{Tick: &enclave.Tick{}}).Bytes
	if answered(w.escrow, n) {
		t.Fatal("the escrow gives a share away before the claim is witnessed")
	}
	for _, bad := range [][]byte{h, w.note, nil, []byte("x")} { // its own signature, an older head, none
		_, _ = w.escrow.call(enclave.Call{Cosigned: &enclave.Raw{Bytes: bad}})
		if answered(w.escrow, n) {
			t.Fatal("the escrow gives a share away without a quorum under the claim")
		}
	}
	w.witness()
	if !answered(w.escrow, n) {
		t.Fatal("witnessed, and not answered")
	}
}

// A vault that is given anything but the folder it had refuses to start and says
// what mends it; nothing of it changed, the true folder still starts.
func TestStartRefuses(t *testing.T) {
	w := newWorld(t, 1)
	alice := w.owners[0]
	w.deposit(alice, denomination("btc", coin.Secp256k1), 2)
	old := w.escrow.copy()
	w.more(alice, denomination("ltc", coin.Secp256k1), 2)
	forged, err := wire.Marshal(vault.Entry{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		of     *node
		change func(n *node)
		want   string
	}{
		{"log cut", w.escrow, func(n *node) { n.entries = n.entries[:len(n.entries)-1] }, "bring back the whole data folder"},
		{"log gone", w.escrow, func(n *node) { n.entries = nil }, "bring back the whole data folder"},
		{"rows gone", w.escrow, func(n *node) { n.rows = nil }, "meta row"},
		{"log extended by an entry it had", w.escrow, func(n *node) { n.entries = append(n.entries, n.entries[len(n.entries)-1]) }, ""},
		{"log extended by an entry of none", w.escrow, func(n *node) { n.entries = append(n.entries, forged) }, ""},
		{"log extended by noise", w.escrow, func(n *node) { n.entries = append(n.entries, []byte("noise")) }, ""},
		{"an entry changed", w.escrow, func(n *node) {
			last := slices.Clone(n.entries[len(n.entries)-1])
			last[len(last)-1] ^= 1
			n.entries[len(n.entries)-1] = last
		}, ""},
		{"two entries swapped", w.escrow, func(n *node) {
			k := len(n.entries)
			n.entries[k-1], n.entries[k-2] = n.entries[k-2], n.entries[k-1]
		}, ""},
		{"old log, new rows", w.escrow, func(n *node) { n.entries = old.entries }, "bring back the whole data folder"},
		{"new log, old rows", w.escrow, func(n *node) { n.rows = old.rows }, "bring back the whole data folder"},
		{"other witnesses", alice, func(n *node) {
			n.cfg.Trust.Witnesses = slices.Clone(n.cfg.Trust.Witnesses)
			slices.Reverse(n.cfg.Trust.Witnesses)
		}, "give it the configuration it had"},
		{"a smaller quorum", alice, func(n *node) { n.cfg.Trust.K, n.cfg.Trust.F = 1, 0 }, "give it the configuration it had"},
		{"another policy", alice, func(n *node) {
			n.cfg.Trust.Policy = sim.InsecurePolicy([]attest.Root{w.vendors["A"].Root(), w.vendors["B"].Root()}, sim.Build("vault", badBuild))
		}, "give it the configuration it had"},
		{"a policy that allows debug", alice, func(n *node) { n.cfg.Trust.Policy.InsecureAllowDebug = true }, "give it the configuration it had"},
		{"another escrow", alice, func(n *node) { n.cfg.Trust.LogKey = otherLog(t) }, "give it the configuration it had"},
		{"the escrow's folder", alice, func(n *node) { n.rows = w.escrow.rows }, "another platform"},
		{"another device", alice, func(n *node) { n.cfg.Platform = w.program("A", goodBuild) }, "another platform"},
		{"a policy that refuses all", alice, func(n *node) { n.cfg.Trust.Policy = attest.Policy{} }, "no rule"},
		{"no role", alice, func(n *node) { n.cfg.Trust.Role = "" }, "role"},
		{"another name of the log", alice, func(n *node) { n.cfg.Trust.Origin = "other.test/log" }, "other.test/log"},
	} {
		n := c.of.copy()
		c.change(n)
		err := n.start()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
			continue
		}
		if n.e == nil {
			continue
		}
		if r, err := n.call(enclave.Call{Status: &enclave.Nothing{}}); err == nil || r.Status != nil {
			t.Errorf("%s: the vault that did not start answers: %v", c.name, err)
		}
	}
	for _, n := range []*node{alice, w.escrow, old} { // a whole old set opens: SECURITY.md says what that is worth
		if err := n.copy().start(); err != nil {
			t.Error(err)
		}
	}
}

// A host may not try one set of rows after another until what they leave behind
// adds up to a mixture of moments.
func TestOneStart(t *testing.T) {
	w := newWorld(t, 1)
	alice := w.owners[0]
	w.deposit(alice, denomination("btc", coin.Secp256k1), 1)
	good := alice.copy()
	bad := alice.copy()
	for k := range bad.rows {
		if strings.HasPrefix(k, "v/") {
			delete(bad.rows, k)
			break
		}
	}
	if err := bad.start(); err == nil {
		t.Fatal("a set without one of its rows opens")
	}
	for range 3 {
		if _, err := bad.call(enclave.Call{Load: &enclave.Load{Rows: stored(good.rows)}}); err == nil {
			t.Fatal("a vault that did not start takes more rows")
		}
		if _, err := bad.call(enclave.Call{Ready: &enclave.Nothing{}}); err == nil {
			t.Fatal("a vault that did not start starts")
		}
	}
	if err := good.start(); err != nil {
		t.Error(err)
	}
}

// Calls of the other role, calls out of turn and garbage are errors that change
// nothing.
func TestCallsRefused(t *testing.T) {
	w := newWorld(t, 1)
	alice := w.owners[0]
	raw := &enclave.Raw{Bytes: []byte("garbage")}
	for _, c := range []struct {
		name string
		to   *node
		call enclave.Call
	}{
		{"nothing", alice, enclave.Call{}}, {"nothing", w.escrow, enclave.Call{}},
		{"Load after the start", alice, enclave.Call{Load: &enclave.Load{}}},
		{"Ready twice", w.escrow, enclave.Call{Ready: &enclave.Nothing{}}},
		{"Greet to an owner", alice, enclave.Call{Greet: raw}}, {"Tick to an owner", alice, enclave.Call{Tick: &enclave.Tick{}}},
		{"Keys to an escrow", w.escrow, enclave.Call{Keys: &enclave.Chunks{IDs: []wire.ChunkID{{}}}}},
		{"Claim to an escrow", w.escrow, enclave.Call{Claim: &enclave.Chunks{}}},
		{"Sign to an escrow", w.escrow, enclave.Call{Sign: &enclave.Sign{Body: []byte("x")}}},
		{"garbage as a hello", w.escrow, enclave.Call{Greet: raw}}, {"garbage as a frame", w.escrow, enclave.Call{Frame: raw}},
		{"garbage as a head", w.escrow, enclave.Call{Cosigned: raw}},
		{"Finish without a hello", alice, enclave.Call{Finish: &enclave.Finish{}}},
		{"garbage as a head", alice, enclave.Call{Feed: &enclave.Feed{Head: raw.Bytes}}},
		{"a batch of nothing", alice, enclave.Call{Batch: &vault.BatchSpec{}}},
		{"a batch of too many", alice, enclave.Call{Batch: &vault.BatchSpec{
			Denomination: denomination("btc", coin.Secp256k1), Weight: 5, N: vault.MaxBatch + 1, Expiry: w.now + 80*86400}}},
		{"an expired batch", alice, enclave.Call{Batch: &vault.BatchSpec{Denomination: denomination("btc", coin.Secp256k1), Weight: 5, N: 1, Expiry: w.now - 1}}},
		{"an agreement on nothing", alice, enclave.Call{Accept: &enclave.Accept{}}},
		{"a lock of nothing", w.escrow, enclave.Call{Lock: &vault.LockAsk{}}},
		{"a word in no instance", alice, enclave.Call{Say: &enclave.Say{Word: "award"}}},
		{"a claim of an unknown chunk", alice, enclave.Call{Claim: &enclave.Chunks{IDs: []wire.ChunkID{{1}}}}},
		{"the sweep of an unknown chunk", alice, enclave.Call{Swept: &enclave.Chunks{IDs: []wire.ChunkID{{1}}}}},
		{"a step of no instance", alice, enclave.Call{Took: &enclave.Took{Instance: wire.InstanceID{1}}}},
		{"the key of an unknown chunk", alice, enclave.Call{Keys: &enclave.Chunks{IDs: []wire.ChunkID{{1}}}}},
		{"the papers of an unknown chunk", alice, enclave.Call{Papers: &enclave.Chunks{IDs: []wire.ChunkID{{1}}}}},
	} {
		entries, rows := len(c.to.entries), stored(c.to.rows)
		if _, err := c.to.call(c.call); err == nil {
			t.Errorf("%s: no error", c.name)
		}
		if len(c.to.entries) != entries || len(stored(c.to.rows)) != len(rows) {
			t.Errorf("%s: something was stored", c.name)
		}
	}
}
