package vault_test

import (
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"latchkey/coin"
	"latchkey/escrow"
	"latchkey/head"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/vault/session"
	"latchkey/wire"
)

const swap = `contract Swap
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

type ids struct {
	identity wire.Identity
	sign     ed25519.PrivateKey
	kem      hpke.PrivateKey
	id       wire.VaultID
}

func newIDs(t testing.TB) ids {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	kem, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	i := wire.Identity{Sign: pub, KEM: kem.PublicKey().Bytes()}
	id, err := i.ID()
	if err != nil {
		t.Fatal(err)
	}
	return ids{i, priv, kem, id}
}

// A world is an escrow with four witnesses and as many owners as a test wants,
// without processes, disks or networks.
type world struct {
	t         testing.TB
	now       int64
	keys      ids
	escrow    *vault.Escrow
	cfg       vault.EscrowConfig
	group     head.Group
	witnesses []struct {
		key  ed25519.PrivateKey
		name string
		seen head.Seen
	}
	entries [][]byte
	hashes  []tlog.Hash
	rows    map[string][]byte
	feed    *escrow.Feed
	note    []byte
	owners  []*client
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
	w := &world{t: t, now: 1_800_000_000, keys: newIDs(t), rows: map[string][]byte{}, feed: escrow.NewFeed()}
	const origin = "escrow.test/log"
	log, err := head.NewLogKey(origin, w.keys.identity.Sign)
	if err != nil {
		t.Fatal(err)
	}
	w.group = head.Group{Log: log, K: 3, F: 1}
	for i := range 4 {
		pub, priv, _ := ed25519.GenerateKey(rand.Reader)
		name := fmt.Sprintf("witness.test/%d", i)
		k, err := head.NewWitnessKey(name, pub)
		if err != nil {
			t.Fatal(err)
		}
		w.group.Witnesses = append(w.group.Witnesses, k)
		w.witnesses = append(w.witnesses, struct {
			key  ed25519.PrivateKey
			name string
			seen head.Seen
		}{priv, name, head.Seen{}})
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
		c := &client{ids: newIDs(t), w: w, rows: map[string][]byte{}}
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
	return w
}

func (w *world) persist(b vault.Block, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	for i, e := range b.Entries {
		pos := int64(len(w.entries))
		if pos != b.First+int64(i) {
			w.t.Fatalf("entry at %d, the log has %d", b.First+int64(i), pos)
		}
		h, err := tlog.StoredHashes(pos, e, w.reader())
		if err != nil {
			w.t.Fatal(err)
		}
		w.hashes = append(w.hashes, h...)
		w.entries = append(w.entries, e)
		parsed, err := vault.ParseEntry(e)
		if err != nil {
			w.t.Fatal(err)
		}
		w.feed.Add(pos, parsed)
	}
	save(w.rows, b.Rows)
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
	if old == 0 {
		return nil
	}
	p, err := tlog.ProveTree(size, old, w.reader())
	if err != nil {
		w.t.Fatal(err)
	}
	return []head.Hash(p)
}

// witness lets all witnesses sign the present head.
func (w *world) witness() {
	w.t.Helper()
	signed, err := w.escrow.Head()
	if err != nil {
		w.t.Fatal(err)
	}
	note := signed
	for i := range w.witnesses {
		x := &w.witnesses[i]
		c, err := head.Decide(w.group.Log, x.seen, head.Request{Old: x.seen.Size, Proof: w.consistency(x.seen.Size, w.escrow.Size()), Signed: signed}, w.now)
		if err != nil {
			w.t.Fatal(err)
		}
		line, err := c.Cosign(x.name, x.key)
		if err != nil {
			w.t.Fatal(err)
		}
		x.seen = c.Next
		note = append(note, line...)
	}
	if err := w.escrow.Cosigned(note); err != nil {
		w.t.Fatal(err)
	}
	w.note = note
}

func (c *client) keep(rows []vault.Row, err error) {
	c.w.t.Helper()
	if err != nil {
		c.w.t.Fatal(err)
	}
	save(c.rows, rows)
}

// sync brings a client's vault to the newest head.
func (c *client) sync() {
	c.w.t.Helper()
	w := c.w
	cp, err := w.group.Verify(w.note)
	if err != nil {
		w.t.Fatal(err)
	}
	c.keep(c.o.Advance(w.note, w.consistency(c.o.Size(), cp.Size)))
	positions, _ := w.feed.From(c.id, c.cursor, 1<<30)
	for _, p := range positions {
		if p >= cp.Size {
			return
		}
		c.cursor++
		proof, err := tlog.ProveRecord(cp.Size, p, w.reader())
		if err != nil {
			w.t.Fatal(err)
		}
		c.keep(c.o.Observe(vault.Logged{Position: p, Entry: w.entries[p], Proof: []head.Hash(proof)}))
	}
}

// talk says everything pending and hears the answers; it reports whether there
// was anything to say.
func (c *client) talk() bool {
	c.w.t.Helper()
	qs, err := c.o.Pending(rand.Reader)
	if err != nil {
		c.w.t.Fatal(err)
	}
	for _, q := range qs {
		raw, err := wire.Marshal(q)
		if err != nil {
			c.w.t.Fatal(err)
		}
		if q, err = vault.ParseRequest(raw); err != nil {
			c.w.t.Fatal(err)
		}
		a, err := c.w.escrow.Handle(c.id, q, rand.Reader)
		if err != nil {
			a.Reply = vault.Reply{Refused: &vault.Refused{Reason: err.Error()}}
			c.w.t.Logf("%s: refused: %v", c.id.Short(), err)
		} else {
			c.w.persist(a.Block, nil)
		}
		if c.w.escrow.Witnessed() < a.Hold {
			c.w.witness()
		}
		rows, err := c.o.Hear(q, a.Reply)
		if err != nil {
			c.w.t.Logf("%s: %v", c.id.Short(), err)
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
	_, rows, err := c.o.NewBatch(vault.BatchSpec{Denomination: d, Weight: weight, N: n, Expiry: c.w.now + 90*86400}, rand.Reader)
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

// agree has every party accept and brings the lock to the escrow.
func (w *world) agree(a vault.Agreement) wire.InstanceID {
	w.t.Helper()
	q := vault.LockAsk{Agreement: a}
	for _, r := range a.Parties {
		for _, c := range w.owners {
			if c.id == r[0] {
				s, rows, err := c.o.Accept(c.proposal(a), rand.Reader)
				c.keep(rows, err)
				q.Acceptances = append(q.Acceptances, s)
			}
		}
	}
	ans, err := w.escrow.Handle(w.owners[0].id, vault.Request{Lock: &q}, rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	w.persist(ans.Block, nil)
	return ans.Reply.Locked.Instance
}

func TestSwapFromDepositToSweep(t *testing.T) {
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	right := bob.deposit(denomination("xmr", coin.Ed25519), 5, 2)
	a := vault.Agreement{
		Source: []byte(swap), Terms: []int64{10, 10}, Parties: []vault.Recipients{{alice.id}, {bob.id}},
		Pots: [][]vault.Stake{alice.stakes(left), bob.stakes(right)}, Escrow: w.keys.id, LockBy: w.now + 60, Settle: vault.Atomic,
	}
	w.agree(a)
	if _, err := alice.o.Claim(left); err == nil {
		t.Error("alice claims what she has pledged: want an error")
	}
	w.run()
	for _, x := range []struct {
		c   *client
		ids []wire.ChunkID
	}{{alice, right}, {bob, left}} {
		for _, id := range x.ids {
			k, ok := x.c.o.Chunk(id)
			if !ok || k.Owner != x.c.id || k.Epoch != 1 || k.ShareAt != 1 {
				t.Fatalf("chunk %s after the swap: %+v, known %t", id.Short(), k, ok)
			}
		}
		x.c.keep(x.c.o.Claim(x.ids))
		w.run()
		for _, id := range x.ids {
			d, err := x.c.o.Key(id)
			if err != nil {
				t.Fatal(err)
			}
			k, _ := x.c.o.Chunk(id)
			if d.Public() != k.P {
				t.Errorf("chunk %s: the key is not that of its address", id.Short())
			}
		}
		x.c.keep(x.c.o.Swept(x.ids))
		w.run()
		for _, id := range x.ids {
			if k, _ := x.c.o.Chunk(id); !k.Swept || k.Whole != nil || k.Share != nil {
				t.Errorf("chunk %s is not forgotten after its sweep", id.Short())
			}
		}
	}
	if _, ok := alice.o.Chunk(left[0]); ok {
		t.Error("alice still follows what she gave")
	}
	var _ key.Point
}
