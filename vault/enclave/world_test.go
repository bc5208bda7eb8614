package enclave_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"latchkey/attest"
	"latchkey/attest/sim"
	"latchkey/coin"
	"latchkey/escrow"
	"latchkey/head"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

const (
	origin = "escrow.test/log"
	swap   = `contract Swap
parties alice, bob
term a : units 1..1000
term b : units 1..1000
pot left_side  = a units from alice
pot right_side = b units from bob
at open:
  give all of left_side to bob
  give all of right_side to alice
  close
`
)

// A node is one vault with its host's disk. Its host does as it is told by the
// test: it may keep commits back (hold), or lie about what is durable.
type node struct {
	t       testing.TB
	cfg     enclave.Config
	e       *enclave.Enclave
	entries [][]byte
	from    int64 // the first entry that a start brings back
	rows    map[string][]byte
	waiting []enclave.Commit // decided and not yet durable, while hold is set
	hold    bool
	n       uint64
	results map[uint64]enclave.Result
	status  enclave.Status // as of the start
	cursor  int            // of an owner, in its feed
	note    []byte         // newest head that the owner has seen
	size    int64
	errors  []string // whatever an error said
}

func newNode(t testing.TB, cfg enclave.Config) *node {
	return &node{t: t, cfg: cfg, rows: map[string][]byte{}, results: map[uint64]enclave.Result{}}
}

// send hands one message over and takes what comes back; the call's number.
func (n *node) send(c enclave.Call) uint64 {
	n.n++
	c.N = n.n
	n.take(n.e.Handle(c))
	return c.N
}

func (n *node) take(ms []enclave.Message) {
	for _, m := range ms {
		if err := enclave.WriteFrame(io.Discard, m); err != nil { // the vault's program would end
			n.t.Fatal(err)
		}
		if m.Commit != nil {
			n.waiting = append(n.waiting, *m.Commit)
		}
		if r := m.Result; r != nil {
			if _, twice := n.results[r.N]; twice {
				n.t.Fatalf("two results for call %d", r.N)
			}
			n.results[r.N] = *r
			if r.Error != "" {
				n.errors = append(n.errors, r.Error)
			}
		}
	}
	if !n.hold {
		n.store()
	}
}

// store makes everything durable that waits.
func (n *node) store() {
	for len(n.waiting) > 0 {
		c := n.waiting[0]
		n.waiting = n.waiting[1:]
		if len(c.Entries) > 0 && c.First != int64(len(n.entries)) {
			n.t.Fatalf("commit %d begins at entry %d, the log has %d", c.Number, c.First, len(n.entries))
		}
		n.entries, n.from = append(n.entries, c.Entries...), max(n.from, c.From)
		for _, r := range c.Rows { // as event.Block says: deletions first
			if r.Value == nil {
				delete(n.rows, string(r.Key))
			}
		}
		for _, r := range c.Rows {
			if r.Value != nil {
				n.rows[string(r.Key)] = r.Value
			}
		}
		n.take(n.e.Handle(enclave.Call{Durable: &enclave.Durable{Commit: c.Number}}))
	}
}

// call is send for a call whose result comes at once.
func (n *node) call(c enclave.Call) (enclave.Result, error) {
	n.t.Helper()
	r, ok := n.results[n.send(c)]
	switch {
	case !ok:
		n.t.Fatalf("no result for call %d", n.n)
	case r.Error != "":
		return r, fmt.Errorf("%s", r.Error)
	}
	return r, nil
}

func (n *node) must(c enclave.Call) enclave.Result {
	n.t.Helper()
	r, err := n.call(c)
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

func stored(rows map[string][]byte) (out []enclave.StoredRow) {
	for k, v := range rows {
		out = append(out, enclave.StoredRow{Key: []byte(k), Value: v})
	}
	return out
}

// start runs the vault's program anew, on what is stored.
func (n *node) start() error {
	n.t.Helper()
	var err error
	if n.e, err = enclave.New(n.cfg); err != nil {
		return err
	}
	n.waiting = nil
	for i := n.from; i < int64(len(n.entries)); i++ {
		n.must(enclave.Call{Load: &enclave.Load{Entries: n.entries[i : i+1]}})
	}
	n.must(enclave.Call{Load: &enclave.Load{Rows: stored(n.rows)}})
	r, err := n.call(enclave.Call{Ready: &enclave.Nothing{}})
	if err == nil {
		n.status = *r.Status
	}
	return err
}

func (n *node) id() wire.VaultID {
	n.t.Helper()
	id, err := n.status.Identity.ID()
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

// copy is a host's copy of the disk, with a program of its own to start on it.
func (n *node) copy() *node {
	c := newNode(n.t, n.cfg)
	c.entries, c.from = slices.Clone(n.entries), n.from
	for k, v := range n.rows {
		c.rows[k] = bytes.Clone(v)
	}
	return c
}

type witness struct {
	name string
	key  ed25519.PrivateKey
	seen head.Seen
}

// A world is an escrow with four witnesses and some owners, each a whole enclave
// on a simulated platform, without processes, disks or networks.
type world struct {
	t         testing.TB
	now       int64
	vendors   map[string]*sim.Vendor
	trust     enclave.Trust // of an owner
	witnesses []witness
	escrow    *node
	owners    []*node
	note      []byte
}

var (
	goodBuild = [32]byte{1, 2, 3}
	badBuild  = [32]byte{6, 6, 6}
)

// platform returns the program of this measurement on a new device.
func (w *world) program(vendor string, measurement [32]byte) *sim.Program {
	w.t.Helper()
	p, err := w.vendors[vendor].Issue(sim.Device{NotBefore: w.now - 1000, NotAfter: w.now + 90*86400}, rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	prog, err := p.Launch(sim.Launch{Measurement: measurement})
	if err != nil {
		w.t.Fatal(err)
	}
	return prog
}

func (w *world) config(trust enclave.Trust, p *sim.Program) enclave.Config {
	return enclave.Config{Trust: trust, Platform: p, Verifiers: []attest.Verifier{sim.Verifier{}}}
}

func newWorld(t testing.TB, owners int) *world {
	t.Helper()
	return newWorldWith(t, owners, 0)
}

// newWorldWith is newWorld with an escrow that takes snapshots after so many entries.
func newWorldWith(t testing.TB, owners int, every int64) *world {
	t.Helper()
	w := &world{t: t, now: 1_800_000_000, vendors: map[string]*sim.Vendor{}}
	for _, name := range []string{"A", "B", "stranger"} {
		v, err := sim.NewVendor(name, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		w.vendors[name] = v
	}
	w.trust = enclave.Trust{
		Role: "escrow", Origin: origin, K: 3, F: 1,
		Policy: sim.InsecurePolicy([]attest.Root{w.vendors["A"].Root(), w.vendors["B"].Root()}, sim.Build("vault", goodBuild)),
	}
	for i := range 4 {
		pub, priv, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		x := witness{name: fmt.Sprintf("witness.test/%d", i), key: priv}
		k, err := head.NewWitnessKey(x.name, pub)
		if err != nil {
			t.Fatal(err)
		}
		w.trust.Witnesses, w.witnesses = append(w.trust.Witnesses, k), append(w.witnesses, x)
	}
	cfg := w.config(w.trust, w.program("B", goodBuild))
	cfg.SnapshotEvery = every
	w.escrow = newNode(t, cfg)
	if err := w.escrow.start(); err != nil {
		t.Fatal(err)
	}
	w.trust.Role = "owner"
	var err error
	if w.trust.LogKey, err = head.ParseLogKey(w.escrow.status.LogKey); err != nil {
		t.Fatal(err)
	}
	w.witness()
	for range owners {
		w.owners = append(w.owners, w.owner(w.program("A", goodBuild)))
	}
	for _, o := range w.owners {
		w.meet(o)
	}
	return w
}

// owner starts a vault in the owner's role.
func (w *world) owner(p *sim.Program) *node {
	w.t.Helper()
	o := newNode(w.t, w.config(w.trust, p))
	if err := o.start(); err != nil {
		w.t.Fatal(err)
	}
	return o
}

func (w *world) reader() tlog.HashReaderFunc {
	var all []tlog.Hash
	r := tlog.HashReaderFunc(func(idx []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(idx))
		for i, x := range idx {
			out[i] = all[x]
		}
		return out, nil
	})
	for i, e := range w.escrow.entries {
		h, err := tlog.StoredHashes(int64(i), e, r)
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, h...)
	}
	return r
}

func (w *world) consistency(old, size int64) []head.Hash {
	w.t.Helper()
	if old == 0 || old >= size {
		return nil
	}
	p, err := tlog.ProveTree(size, old, w.reader())
	if err != nil {
		w.t.Fatal(err)
	}
	return []head.Hash(p)
}

// countersign has all witnesses sign a head.
func (w *world) countersign(signed []byte) []byte {
	w.t.Helper()
	c, err := head.OpenCheckpoint(signed, w.trust.LogKey)
	if err != nil {
		w.t.Fatal(err)
	}
	note := bytes.Clone(signed)
	for i := range w.witnesses {
		x := &w.witnesses[i]
		ok, err := head.Decide(w.trust.LogKey, x.seen, head.Request{Old: x.seen.Size, Proof: w.consistency(x.seen.Size, c.Size), Signed: signed}, w.now)
		if err != nil {
			w.t.Fatal(err)
		}
		line, err := ok.Cosign(x.name, x.key)
		if err != nil {
			w.t.Fatal(err)
		}
		x.seen, note = ok.Next, append(note, line...)
	}
	return note
}

// witness has the escrow's present head countersigned, and tells it.
func (w *world) witness() {
	w.t.Helper()
	note := w.countersign(w.escrow.must(enclave.Call{Tick: &enclave.Tick{}}).Bytes)
	w.escrow.must(enclave.Call{Cosigned: &enclave.Raw{Bytes: note}})
	w.note = note
}

// greet takes the handshake as far as the owner's Finish.
func (w *world) greet(o *node) (enclave.Finish, error) {
	hello := o.must(enclave.Call{Hello: &enclave.Nothing{}})
	r, err := w.escrow.call(enclave.Call{Greet: &enclave.Raw{Bytes: hello.Bytes}})
	return enclave.Finish{Welcome: r.Bytes, Head: w.note}, err
}

func (w *world) meet(o *node) {
	w.t.Helper()
	f, err := w.greet(o)
	if err != nil {
		w.t.Fatal(err)
	}
	o.must(enclave.Call{Finish: &f})
}

// sync brings an owner what the log says.
func (w *world) sync(o *node) {
	w.t.Helper()
	feed := escrow.NewFeed()
	for i, raw := range w.escrow.entries {
		e, err := vault.ParseEntry(raw)
		if err != nil {
			w.t.Fatal(err)
		}
		feed.Add(int64(i), e)
	}
	c, err := head.OpenCheckpoint(w.note, w.trust.LogKey)
	if err != nil {
		w.t.Fatal(err)
	}
	size := o.must(enclave.Call{Status: &enclave.Nothing{}}).Status.Size
	f := enclave.Feed{Head: w.note, Consistency: w.consistency(size, c.Size)}
	positions, _ := feed.From(o.id(), o.cursor, 1<<30)
	for _, p := range positions {
		if p >= c.Size {
			break
		}
		proof, err := tlog.ProveRecord(c.Size, p, w.reader())
		if err != nil {
			w.t.Fatal(err)
		}
		f.Entries = append(f.Entries, vault.Logged{Position: p, Entry: w.escrow.entries[p], Proof: []head.Hash(proof)})
	}
	o.must(enclave.Call{Feed: &f})
	o.cursor += len(f.Entries)
}

// talk says everything an owner has to say; it reports whether that was anything.
func (w *world) talk(o *node) bool {
	w.t.Helper()
	said := o.must(enclave.Call{Talk: &enclave.Nothing{}}).Talk
	for _, s := range said {
		n := w.escrow.send(enclave.Call{Frame: &enclave.Raw{Bytes: s.Frame}})
		if _, ok := w.escrow.results[n]; !ok {
			w.witness()
		}
		r, ok := w.escrow.results[n]
		if !ok || r.Error != "" {
			w.t.Fatalf("%s: answered %t, %s", s.What, ok, r.Error)
		}
		if _, err := o.call(enclave.Call{Heard: &enclave.Heard{N: s.N, Frame: r.Bytes}}); err != nil {
			w.t.Logf("%s: %v", s.What, err)
		}
	}
	return len(said) > 0
}

// run lets all talk until nobody has anything to say.
func (w *world) run() {
	w.t.Helper()
	for range 40 {
		w.witness()
		busy := false
		for _, o := range w.owners {
			w.sync(o)
			busy = w.talk(o) || busy
		}
		if !busy {
			return
		}
	}
	w.t.Fatal("the world does not come to rest")
}

func denomination(id coin.AssetID, t coin.KeyType) coin.Denomination {
	return coin.Denomination{
		ID: string(id) + "-test", Unit: coin.NewAmount(10_000),
		Asset: coin.Asset{ID: id, Chain: "test:" + string(id), Key: t, Address: "plain", Decimals: 8},
	}
}

// chunks returns what a vault says of its own chunks, in a fixed order.
func (n *node) chunks() []enclave.ChunkStatus {
	n.t.Helper()
	var own []enclave.ChunkStatus
	for page, more := (enclave.Page{}), true; more; {
		s := n.must(enclave.Call{Status: &enclave.Nothing{}, Page: &page}).Status
		for more = s.More; len(s.Chunks) > 0; s.Chunks = s.Chunks[1:] {
			if page.Chunk = s.Chunks[0].ID; s.Chunks[0].Chunk.Owner == n.id() {
				own = append(own, s.Chunks[0])
			}
		}
	}
	slices.SortFunc(own, func(a, b enclave.ChunkStatus) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return own
}

func idsOf(cs []enclave.ChunkStatus) (out []wire.ChunkID) {
	for _, c := range cs {
		out = append(out, c.ID)
	}
	return out
}

// more has an owner make n chunks.
func (w *world) more(o *node, d coin.Denomination, n uint32) {
	w.t.Helper()
	o.must(enclave.Call{Batch: &vault.BatchSpec{Denomination: d, Weight: 5, N: n, Expiry: w.now + 80*86400}})
	w.run()
}

// deposit has an owner make its first n chunks and returns their ids.
func (w *world) deposit(o *node, d coin.Denomination, n uint32) []wire.ChunkID {
	w.t.Helper()
	w.more(o, d, n)
	ids := idsOf(o.chunks())
	if len(ids) != int(n) {
		w.t.Fatalf("made %d chunks, want %d", len(ids), n)
	}
	return ids
}

// accept has every owner accept a swap of chunks that the first two have.
func (w *world) accept(a vault.Agreement) (vault.LockAsk, error) {
	w.t.Helper()
	q := vault.LockAsk{Agreement: a}
	for i, o := range w.owners {
		peer := w.owners[1-i]
		var staked enclave.Chunks
		for _, s := range a.Pots[1-i] {
			staked.IDs = append(staked.IDs, s.Chunk)
		}
		papers := peer.must(enclave.Call{Papers: &staked}).Papers
		r, err := o.call(enclave.Call{Accept: &enclave.Accept{
			Agreement: a, Papers: papers, Peers: []enclave.Peer{{Identity: peer.status.Identity, Evidence: peer.status.Evidence}},
		}})
		if err != nil {
			return q, err
		}
		q.Acceptances = append(q.Acceptances, *r.Accepted)
	}
	return q, nil
}

func (w *world) agreement() vault.Agreement {
	w.t.Helper()
	a := vault.Agreement{Source: []byte(swap), Escrow: w.escrow.id(), LockBy: w.now + 60, Settle: vault.Atomic}
	for _, o := range w.owners {
		a.Parties = append(a.Parties, vault.Recipients{o.id()})
		var pot []vault.Stake
		var sum int64
		for _, c := range o.chunks() {
			pot = append(pot, vault.Stake{Chunk: c.ID, Epoch: c.Chunk.Epoch, Weight: c.Chunk.Weight})
			sum += int64(c.Chunk.Weight)
		}
		a.Pots, a.Terms = append(a.Pots, pot), append(a.Terms, sum)
	}
	return a
}

// outsider is a vault's identity with its keys, as an attacker may make them.
type outsider struct {
	identity wire.Identity
	sign     ed25519.PrivateKey
}

func newIdentity(t testing.TB) outsider {
	t.Helper()
	pub, sign, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	kem, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return outsider{wire.Identity{Sign: pub, KEM: kem.PublicKey().Bytes()}, sign}
}

func otherLog(t testing.TB) head.LogKey {
	t.Helper()
	k, err := head.NewLogKey(origin, newIdentity(t).identity.Sign)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func format(verb string, v any) string { return fmt.Sprintf(verb, v) }

// tellsNothing fails if text has the secret, in hexadecimal or as Go prints bytes.
func tellsNothing(t testing.TB, what, text string, secret []byte) {
	t.Helper()
	for _, s := range []string{string(secret), hex.EncodeToString(secret), strings.Trim(fmt.Sprint(secret), "[]")} {
		if strings.Contains(text, s) {
			t.Errorf("%s tells a secret", what)
		}
	}
}
