package vault_test

import (
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"latchkey/coin"
	"latchkey/escrow"
	"latchkey/head"
	"latchkey/vault"
	"latchkey/vault/session"
	"latchkey/wire"
)

const (
	swap = `contract Swap
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
	diary = `contract Diary
parties alice, bob
term stake : units 1..1000
term silence : duration 1 days .. 100 days
pot money = stake units from alice
counter renewals = 0 in 0..20

phase Alive until now + silence
  when alice says "alive" if renewals < 20:
    set renewals = renewals + 1
    next Alive
  at deadline:
    give all of money to bob
    close
`
	origin = "escrow.test/log"
)

// ids are a vault's identity with its secrets, derived from its name.
type ids struct {
	name     string
	identity wire.Identity
	sign     ed25519.PrivateKey
	kem      hpke.PrivateKey
	id       wire.VaultID
}

func newIDs(t testing.TB, name string) ids {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	kem, err := hpke.MLKEM768X25519().DeriveKeyPair(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	k := ed25519.NewKeyFromSeed(seed[:])
	i := wire.Identity{Sign: k.Public().(ed25519.PublicKey), KEM: kem.PublicKey().Bytes()}
	id, err := i.ID()
	if err != nil {
		t.Fatal(err)
	}
	return ids{name, i, k, kem, id}
}

// A world is an escrow with four witnesses and as many owners as a test wants,
// without processes, disks, networks or faults; package sim has those.
type world struct {
	t         testing.TB
	rnd       *rand.ChaCha8
	now       int64
	keys      ids
	escrow    *vault.Escrow
	cfg       vault.EscrowConfig
	group     head.Group
	witnesses []witness
	entries   [][]byte
	snapshot  *vault.Snapshot // of an earlier time
	hashes    []tlog.Hash
	rows      map[string][]byte
	feed      *escrow.Feed
	note      []byte
	size      int64 // of note
	owners    []*client
	say       func(format string, args ...any)   // for transcripts
	shown     func(c *client, position int64)    // before a client's vault is shown the first of several new entries
	stored    func(vault.Row)                    // a row of the escrow's table
	answered  func(vault.Request, vault.Reply)   // in a session
	showing   func(c *client, positions []int64) // before it is shown any
}

type witness struct {
	key  ed25519.PrivateKey
	name string
	seen head.Seen
}

type client struct {
	ids
	w      *world
	o      *vault.Owner
	cfg    vault.OwnerConfig
	rows   map[string][]byte
	cursor int
}

func newWorld(t testing.TB, owners int) *world {
	w := &world{
		t: t, rnd: rand.NewChaCha8([32]byte{1}), now: 1_800_000_000, keys: newIDs(t, "escrow"), rows: map[string][]byte{},
		feed: escrow.NewFeed(), say: func(string, ...any) {},
	}
	log, err := head.NewLogKey(origin, w.keys.identity.Sign)
	if err != nil {
		t.Fatal(err)
	}
	w.group = head.Group{Log: log, K: 3, F: 1}
	for i := range 4 {
		name := fmt.Sprintf("witness.test/%d", i)
		k := newIDs(t, name).sign
		wk, err := head.NewWitnessKey(name, k.Public().(ed25519.PublicKey))
		if err != nil {
			t.Fatal(err)
		}
		w.group.Witnesses = append(w.group.Witnesses, wk)
		w.witnesses = append(w.witnesses, witness{key: k, name: name})
	}
	w.cfg = vault.EscrowConfig{
		Origin: origin, Identity: w.keys.identity, Sign: w.keys.sign, Group: w.group,
		Evidence: []byte("evidence"), Digest: wire.Hash{1}, Sealer: session.NewMailbox(w.keys.id, w.keys.kem),
	}
	if w.escrow, err = vault.NewEscrow(w.cfg); err != nil {
		t.Fatal(err)
	}
	b, err := w.escrow.Start(0)
	w.persist(b, err)
	w.witness()
	for i := range owners {
		c := &client{ids: newIDs(t, []string{"alice", "bob", "carol"}[i]), w: w, rows: map[string][]byte{}}
		c.cfg = vault.OwnerConfig{
			Identity: c.identity, Sign: c.sign, Digests: []wire.Hash{{2, byte(i)}}, Escrow: w.keys.identity,
			EscrowDigest: wire.Hash{1}, EscrowVendor: "vendor B", Group: w.group, Sealer: session.NewMailbox(c.id, c.kem),
		}
		if c.o, err = vault.NewOwner(c.cfg); err != nil {
			t.Fatal(err)
		}
		b, err := w.escrow.Enrol(c.identity, []byte("evidence"), wire.Hash{2, byte(i)})
		w.persist(b, err)
		w.owners = append(w.owners, c)
	}
	w.witness()
	for _, c := range w.owners {
		c.sync()
	}
	return w
}

func (w *world) persist(b vault.Block, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	for i, raw := range b.Entries {
		if pos := int64(len(w.entries)); pos != b.First+int64(i) {
			w.t.Fatalf("entry at %d, the log has %d", b.First+int64(i), pos)
		}
		e := w.append(raw)
		w.say("log %d: %s", len(w.entries)-1, w.describe(e))
	}
	save(w.rows, b.Rows)
	for _, r := range b.Rows {
		if w.stored != nil && r.Value != nil {
			w.stored(r)
		}
	}
}

// append adds an entry to the log, whoever wrote it.
func (w *world) append(raw []byte) vault.Entry {
	w.t.Helper()
	pos := int64(len(w.entries))
	h, err := tlog.StoredHashes(pos, raw, w.reader())
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := vault.ParseEntry(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	w.hashes, w.entries = append(w.hashes, h...), append(w.entries, raw)
	w.feed.Add(pos, e)
	return e
}

func save(table map[string][]byte, rows []vault.Row) {
	for _, r := range rows {
		if r.Value == nil {
			delete(table, r.Key)
		} else {
			table[r.Key] = r.Value
		}
	}
}

func rowsOf(table map[string][]byte) (out []vault.Row) {
	for k, v := range table {
		out = append(out, vault.Row{Key: k, Value: v})
	}
	return out
}

func (w *world) reader() tlog.HashReaderFunc {
	return func(idx []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(idx))
		for i, x := range idx {
			out[i] = w.hashes[x]
		}
		return out, nil
	}
}

func (w *world) consistency(old, size int64) []head.Hash {
	if old == 0 || old >= size {
		return nil
	}
	p, err := tlog.ProveTree(size, old, w.reader())
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// witness lets all witnesses sign the present head.
func (w *world) witness() {
	w.t.Helper()
	signed, err := w.escrow.Head()
	if err != nil {
		w.t.Fatal(err)
	}
	w.cosign(signed)
	if err := w.escrow.Cosigned(w.note); err != nil {
		w.t.Fatal(err)
	}
	w.say("witnessed: %d entries", w.size)
}

// cosign lets all witnesses sign a head over the log as it is.
func (w *world) cosign(signed []byte) {
	w.t.Helper()
	size := int64(len(w.entries))
	w.note, w.size = signed, size
	for i := range w.witnesses {
		x := &w.witnesses[i]
		c, err := head.Decide(w.group.Log, x.seen, head.Request{Old: x.seen.Size, Proof: w.consistency(x.seen.Size, size), Signed: signed}, w.now)
		if err != nil {
			w.t.Fatal(err)
		}
		line, err := c.Cosign(x.name, x.key)
		if err != nil {
			w.t.Fatal(err)
		}
		x.seen = c.Next
		w.note = append(w.note, line...)
	}
}

// forge appends an entry that no machine decided on, as whoever broke the
// escrow's TEE can, and has it witnessed. The escrow's machine does not know.
func (w *world) forge(e vault.Entry) (position int64) {
	w.t.Helper()
	raw, err := wire.Marshal(e)
	if err != nil {
		w.t.Fatal(err)
	}
	w.append(raw)
	w.seal()
	return int64(len(w.entries)) - 1
}

// seal signs and witnesses the log as it is, past the machine.
func (w *world) seal() {
	w.t.Helper()
	root, err := tlog.TreeHash(int64(len(w.entries)), w.reader())
	if err != nil {
		w.t.Fatal(err)
	}
	signed, err := head.SignCheckpoint(head.Checkpoint{Origin: origin, Size: int64(len(w.entries)), Root: root}, w.keys.sign)
	if err != nil {
		w.t.Fatal(err)
	}
	w.cosign(signed)
}

func (c *client) keep(rows []vault.Row, err error) {
	c.w.t.Helper()
	if err != nil {
		c.w.t.Fatal(err)
	}
	save(c.rows, rows)
}

// advance brings a client's vault to the newest head.
func (c *client) advance() {
	c.w.t.Helper()
	c.keep(c.o.Advance(c.w.note, c.w.consistency(c.o.Size(), c.w.size)))
}

// observe shows it one entry.
func (c *client) observe(p int64) ([]vault.Row, error) {
	c.w.t.Helper()
	proof, err := tlog.ProveRecord(c.o.Size(), p, c.w.reader())
	if err != nil {
		c.w.t.Fatal(err)
	}
	return c.o.Observe(vault.Logged{Position: p, Entry: c.w.entries[p], Proof: proof})
}

// sync shows it all that concerns it.
func (c *client) sync() {
	c.w.t.Helper()
	positions, _ := c.w.feed.From(c.id, c.cursor, 1<<30)
	if c.w.shown != nil && len(positions) > 0 && positions[0] < c.w.size && positions[0] >= c.o.Size() {
		c.w.shown(c, positions[0])
	}
	if c.w.showing != nil && len(positions) > 0 {
		c.w.showing(c, positions)
	}
	c.advance()
	for _, p := range positions {
		if p >= c.w.size {
			return
		}
		c.cursor++
		c.keep(c.observe(p))
	}
}

// ask says something to the escrow in the client's name, through its encoding.
func (c *client) ask(q vault.Request) (vault.Answer, error) {
	c.w.t.Helper()
	raw, err := wire.Marshal(q)
	if err != nil {
		c.w.t.Fatal(err)
	}
	if q, err = vault.ParseRequest(raw); err != nil {
		return vault.Answer{}, err
	}
	return c.w.escrow.Handle(c.id, q, c.w.rnd)
}

// talk says everything pending and hears the answers; it reports whether there
// was anything to say.
func (c *client) talk() bool {
	c.w.t.Helper()
	qs, err := c.o.Pending(c.w.rnd)
	if err != nil {
		c.w.t.Fatal(err)
	}
	for _, q := range qs {
		c.w.say("%s: %s", c.name, describeRequest(q))
		a, err := c.ask(q)
		if err != nil {
			a.Reply = vault.Reply{Refused: &vault.Refused{Reason: err.Error()}}
		} else {
			c.w.persist(a.Block, nil)
		}
		if c.w.escrow.Witnessed() < a.Hold {
			c.w.say("escrow: holds its answer until %d entries are witnessed", a.Hold)
			c.w.witness()
		}
		if c.w.answered != nil {
			c.w.answered(q, a.Reply)
		}
		c.w.say("escrow to %s: %s", c.name, describeReply(a.Reply))
		rows, err := c.o.Hear(q, a.Reply)
		if err != nil {
			c.w.t.Logf("%s: %v", c.name, err)
		}
		save(c.rows, rows)
	}
	return len(qs) > 0
}

// run lets everybody talk until nobody has anything to say.
func (w *world) run() {
	w.t.Helper()
	for range 50 {
		w.witness()
		busy := false
		for _, c := range w.owners {
			c.sync()
			busy = c.talk() || busy
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

// deposit makes n chunks and returns their ids.
func (c *client) deposit(d coin.Denomination, weight, n uint32) []wire.ChunkID {
	c.w.t.Helper()
	before := map[wire.ChunkID]bool{}
	for _, id := range c.o.Chunks() {
		before[id] = true
	}
	_, rows, err := c.o.NewBatch(vault.BatchSpec{Denomination: d, Weight: weight, N: n, Expiry: c.w.now + 90*86400}, c.w.rnd)
	c.keep(rows, err)
	c.w.run()
	var out []wire.ChunkID
	for _, id := range c.o.Chunks() {
		if !before[id] {
			out = append(out, id)
		}
	}
	if len(out) != int(n) {
		c.w.t.Fatalf("made %d chunks, want %d", len(out), n)
	}
	return out
}

func (c *client) stakes(ids []wire.ChunkID) (out []vault.Stake) {
	for _, id := range ids {
		x, _ := c.o.Chunk(id)
		out = append(out, vault.Stake{Chunk: id, Epoch: x.Epoch, Weight: x.Weight})
	}
	return out
}

// swapOf writes down a swap of what alice and bob have.
func (w *world) swapOf(left, right []wire.ChunkID) vault.Agreement {
	alice, bob := w.owners[0], w.owners[1]
	a := vault.Agreement{
		Source: []byte(swap), Parties: []vault.Recipients{{alice.id}, {bob.id}}, Pots: [][]vault.Stake{alice.stakes(left), bob.stakes(right)},
		Escrow: w.keys.id, LockBy: w.now + 60, Settle: vault.Atomic,
	}
	for _, pot := range a.Pots {
		var sum int64
		for _, s := range pot {
			sum += int64(s.Weight)
		}
		a.Terms = append(a.Terms, sum)
	}
	return a
}

func (c *client) proposal(a vault.Agreement) vault.Proposal {
	p := vault.Proposal{Agreement: a}
	for _, r := range a.Parties {
		for _, other := range c.w.owners {
			if other.id == r[0] && other != c {
				p.Peers = append(p.Peers, vault.Peer{Identity: other.identity, Vendor: "vendor A"})
			}
		}
	}
	for _, pot := range a.Pots {
		for _, s := range pot {
			for _, other := range c.w.owners {
				if x, ok := other.o.Chunk(s.Chunk); ok && x.Owner == other.id && other != c {
					paper, err := other.o.Paper(s.Chunk)
					if err != nil {
						c.w.t.Fatal(err)
					}
					p.Papers = append(p.Papers, paper)
				}
			}
		}
	}
	return p
}

// accept has every party accept.
func (w *world) accept(a vault.Agreement) vault.LockAsk {
	w.t.Helper()
	q := vault.LockAsk{Agreement: a}
	for _, r := range a.Parties {
		for _, c := range w.owners {
			if c.id == r[0] {
				s, rows, err := c.o.Accept(c.proposal(a), w.rnd)
				c.keep(rows, err)
				w.say("%s: accepts", c.name)
				q.Acceptances = append(q.Acceptances, s)
			}
		}
	}
	return q
}

// agree has every party accept and brings the lock to the escrow.
func (w *world) agree(a vault.Agreement) wire.InstanceID {
	w.t.Helper()
	q := w.accept(a)
	w.say("alice: lock")
	ans, err := w.owners[0].ask(vault.Request{Lock: &q})
	if err != nil {
		w.t.Fatal(err)
	}
	w.persist(ans.Block, nil)
	return ans.Reply.Locked.Instance
}

// bring has a client's vault bring a report, knowing all that it knows.
func (c *client) bring(r vault.Report) vault.Report {
	c.w.t.Helper()
	r.After = c.instance().Newest
	r, rows, err := c.o.Bring(r)
	c.keep(rows, err)
	return r
}
