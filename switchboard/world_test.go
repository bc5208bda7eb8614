package switchboard_test

import (
	"context"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"latchkey/attest"
	"latchkey/attest/sim"
	"latchkey/coin"
	"latchkey/contract"
	"latchkey/escrow"
	"latchkey/event"
	"latchkey/gate"
	"latchkey/head"
	"latchkey/market"
	"latchkey/rate"
	"latchkey/switchboard"
	"latchkey/vault"
	"latchkey/vault/enclave"
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

var (
	btc = coin.Asset{ID: "btc", Chain: "test:btc", Key: coin.Secp256k1, Address: "plain", Decimals: 8}
	xmr = coin.Asset{ID: "xmr", Chain: "test:xmr", Key: coin.Ed25519, Address: "plain", Decimals: 12}
)

type keys struct {
	identity wire.Identity
	sign     ed25519.PrivateKey
	kem      hpke.PrivateKey
	id       wire.VaultID
}

func newKeys(t testing.TB) keys {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	kem, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	k := keys{identity: wire.Identity{Sign: pub, KEM: kem.PublicKey().Bytes()}, sign: priv, kem: kem}
	if k.id, err = k.identity.ID(); err != nil {
		t.Fatal(err)
	}
	return k
}

// A world is an escrow's vault with four witnesses, its log, clients' vaults, and
// a switchboard with its network and its log. There are no other processes and no
// disks.
type world struct {
	guard *gate.Guard // nil: no limits
	t     testing.TB
	now   atomic.Int64

	mu        sync.Mutex // the escrow with its log
	keys      keys
	escrow    *vault.Escrow
	group     head.Group
	witnesses []*witness
	entries   [][]byte
	hashes    []tlog.Hash
	rows      map[string][]byte
	feed      *escrow.Feed
	note      []byte
	show      func(from int64, p escrow.Page) (escrow.Page, error) // what the escrow's host makes of a page; nil: nothing

	vendor   *sim.Vendor
	policy   attest.Policy
	folder   string
	disk     *event.Memory
	log      *event.MemoryLog
	ended    chan error // what Run returned
	cfg      switchboard.Config
	url      string
	board    *switchboard.Board
	stop     func()
	crash    func()
	handler  atomic.Pointer[http.Handler]
	clients  []*client
	contract wire.Hash
}

type witness struct {
	key  ed25519.PrivateKey
	name string
	seen head.Seen
}

// A client is a client's vault, and its link to the switchboard.
type client struct {
	keys
	w        *world
	o        *vault.Owner
	rows     map[string][]byte
	cursor   int
	evidence []byte
	board    *switchboard.Client
	acked    uint64
}

func (c *client) ID() wire.VaultID { return c.id }

func (c *client) Sign(_ context.Context, body []byte) ([]byte, error) {
	return wire.Sign(c.sign, enclave.PurposeHost, body), nil
}

func newWorld(t testing.TB, clients int) *world {
	w := &world{t: t, keys: newKeys(t), rows: map[string][]byte{}, feed: escrow.NewFeed(), folder: t.TempDir(), disk: event.NewMemory()}
	w.now.Store(time.Now().Unix()) // clients go by the real clock
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
		w.witnesses = append(w.witnesses, &witness{key: priv, name: name})
	}
	w.escrow, err = vault.NewEscrow(vault.EscrowConfig{
		Origin: origin, Identity: w.keys.identity, Sign: w.keys.sign, Group: w.group,
		Evidence: []byte("evidence"), Digest: wire.Hash{1}, Sealer: session.NewMailbox(w.keys.id, w.keys.kem),
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.escrow.Start(0)
	w.persist(b, err)
	if w.vendor, err = sim.NewVendor("Acme", rand.Reader); err != nil {
		t.Fatal(err)
	}
	w.policy = sim.InsecurePolicy([]attest.Root{w.vendor.Root()}, sim.Build("vault", [32]byte{7}))
	program, err := contract.Compile([]byte(swap))
	if err != nil {
		t.Fatal(err)
	}
	w.contract = program.Hash()
	w.rates("btc = \"50000\"\nxmr = \"200\"\n")
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h := w.handler.Load()
		if h == nil {
			http.Error(rw, "down", http.StatusServiceUnavailable)
			return
		}
		(*h).ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	w.open()
	for i := range clients {
		c := &client{keys: newKeys(t), w: w, rows: map[string][]byte{}}
		c.o, err = vault.NewOwner(vault.OwnerConfig{
			Identity: c.identity, Sign: c.sign, Digests: []wire.Hash{{2, byte(i)}}, Escrow: w.keys.identity,
			EscrowDigest: wire.Hash{1}, EscrowVendor: "vendor B", Group: w.group, Sealer: session.NewMailbox(c.id, c.kem),
		})
		if err != nil {
			t.Fatal(err)
		}
		c.evidence = w.evidence(c.id, [32]byte{7})
		w.mu.Lock()
		b, err := w.escrow.Enrol(c.identity, c.evidence, wire.Hash{2, byte(i)})
		w.persist(b, err)
		w.mu.Unlock()
		c.board = switchboard.NewClient(w.url, server.Client(), c)
		w.clients = append(w.clients, c)
	}
	w.run()
	return w
}

// evidence makes a vault's evidence on a device of its own.
func (w *world) evidence(v wire.VaultID, measurement [32]byte) []byte {
	w.t.Helper()
	now := w.now.Load()
	p, err := w.vendor.Issue(sim.Device{NotBefore: now - 1000, NotAfter: now + 365*86400}, rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.evidenceOn(p, v, measurement)
}

// evidenceOn makes a vault's evidence on a device.
func (w *world) evidenceOn(p *sim.Platform, v wire.VaultID, measurement [32]byte) []byte {
	w.t.Helper()
	program, err := p.Launch(sim.Launch{Measurement: measurement})
	if err != nil {
		w.t.Fatal(err)
	}
	ev, err := program.Quote(attest.ReportData(attest.PurposeIdentity, v, [32]byte{}))
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := ev.Marshal()
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// rates writes the file of rates.
func (w *world) rates(lines string) {
	w.t.Helper()
	text := "always_fresh = true\n[usd]\n" + lines
	path := filepath.Join(w.folder, "rates.toml")
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		w.t.Fatal(err)
	}
}

// open starts the switchboard over its disk.
func (w *world) open() {
	w.t.Helper()
	log, err := w.disk.Open()
	if err != nil {
		w.t.Fatal(err)
	}
	clock := w.now.Load
	rates := rate.Config{
		Policy:  rate.Policy{MinSources: 1, MaxAge: 4},
		Sources: []rate.Source{{Name: "file", File: filepath.Join(w.folder, "rates.toml")}},
	}
	feed, err := rate.NewFeed(rates, clock)
	if err != nil {
		w.t.Fatal(err)
	}
	policy := market.DefaultPolicy()
	policy.Share = 10_000
	w.cfg = switchboard.Config{
		Settings: switchboard.Settings{
			File:    switchboard.File{Name: "test", Assets: []coin.Asset{btc, xmr}, Rate: rates, Market: policy},
			Trust:   w.policy,
			Sources: [][]byte{[]byte(swap)},
		},
		Log: log, Verifiers: []attest.Verifier{sim.Verifier{}}, Group: w.group, Escrow: w, Feed: feed,
		Clock: clock, Guard: w.guard, Logger: slog.New(slog.NewTextHandler(testWriter{w.t}, nil)), SnapshotEvery: 16, Retry: 20 * time.Millisecond,
	}
	w.start(log)
}

func (w *world) start(log *event.MemoryLog) {
	w.t.Helper()
	b, err := switchboard.Open(w.t.Context(), w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	w.log, w.ended = log, ended
	go func() { ended <- b.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		w.t.Fatal(err)
	}
	h := switchboard.Handler(b)
	w.handler.Store(&h)
	w.board = b
	var once sync.Once
	end := func(f func()) func() {
		return func() {
			once.Do(func() {
				w.handler.Store(nil)
				f()
			})
		}
	}
	w.stop = end(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
		log.Close()
	})
	w.crash = end(func() {
		log.Crash(0)
		cancel()
		<-ended
	})
	w.t.Cleanup(w.stop)
}

// restart stops the switchboard in an orderly way, or kills it, and starts it
// again.
func (w *world) restart(kill bool) {
	w.t.Helper()
	if kill {
		w.crash()
	} else {
		w.stop()
	}
	w.open()
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	if testing.Verbose() {
		fmt.Fprintf(os.Stderr, "%s", b)
	}
	return len(b), nil
}

var _ io.Writer = testWriter{}

// Entries makes w the host of the escrow that the switchboard follows.
func (w *world) Entries(ctx context.Context, from int64, limit int, wait time.Duration) (escrow.Page, error) {
	deadline := time.After(min(wait, 50*time.Millisecond))
	for {
		w.mu.Lock()
		p, err := w.page(from, limit)
		if w.show != nil && err == nil {
			p, err = w.show(from, p)
		}
		w.mu.Unlock()
		if err != nil || len(p.Entries) > 0 {
			return p, err
		}
		select {
		case <-deadline:
			return p, nil
		case <-ctx.Done():
			return p, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func (w *world) page(from int64, limit int) (escrow.Page, error) {
	p := escrow.Page{Head: w.note}
	if w.note == nil {
		return p, nil
	}
	c, err := w.group.Verify(w.note)
	if err != nil {
		return p, err
	}
	if from >= c.Size {
		return p, nil
	}
	end := min(c.Size, from+int64(min(limit, 3))) // small pages
	p.Entries = w.entries[from:end]
	if end < c.Size {
		proof, err := tlog.ProveTree(c.Size, end, w.reader())
		if err != nil {
			return p, err
		}
		p.Consistency = []head.Hash(proof)
	}
	return p, nil
}

func (w *world) persist(b vault.Block, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range b.Entries {
		pos := int64(len(w.entries))
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
	for _, x := range w.witnesses {
		c, err := head.Decide(w.group.Log, x.seen, head.Request{Old: x.seen.Size, Proof: w.consistency(x.seen.Size, w.escrow.Size()), Signed: signed}, w.now.Load())
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

// run lets all vaults talk until nobody has anything to say.
func (w *world) run() {
	w.t.Helper()
	for range 50 {
		if !w.round() {
			return
		}
	}
	w.t.Fatal("the vaults do not come to rest")
}

// round lets every vault hear and say what there is, once.
func (w *world) round() (busy bool) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.witness()
	b, err := w.escrow.Due(rand.Reader)
	w.persist(b, err)
	w.witness()
	for _, c := range w.clients {
		c.sync()
		busy = c.talk() || busy
	}
	return busy
}

func (c *client) keep(rows []vault.Row, err error) {
	c.w.t.Helper()
	if err != nil {
		c.w.t.Fatal(err)
	}
	save(c.rows, rows)
}

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

func (c *client) talk() bool {
	c.w.t.Helper()
	qs, err := c.o.Pending(rand.Reader)
	if err != nil {
		c.w.t.Fatal(err)
	}
	for _, q := range qs {
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

// enrol shows the vault's evidence to the switchboard.
func (c *client) enrol() {
	c.w.t.Helper()
	if _, err := c.board.Enrol(c.w.t.Context(), c.identity, c.evidence); err != nil {
		c.w.t.Fatal(err)
	}
}

// denominate asks until there is a rate: the switchboard has just begun to ask
// for it.
func (c *client) denominate(a coin.Asset) coin.Denomination {
	c.w.t.Helper()
	var d coin.Denomination
	c.w.eventually(func() (err error) { d, err = c.board.Denominate(c.w.t.Context(), a); return err })
	return d
}

// chunks makes n chunks with the escrow and returns their ids.
func (c *client) chunks(a coin.Asset, weight, n uint32) []wire.ChunkID {
	c.w.t.Helper()
	d := c.denominate(a)
	before := map[wire.ChunkID]bool{}
	for _, id := range c.o.Chunks() {
		before[id] = true
	}
	_, rows, err := c.o.NewBatch(vault.BatchSpec{Denomination: d, Weight: weight, N: n, Expiry: c.w.now.Load() + 90*86400}, rand.Reader)
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

// announcement is what the client says of its chunks.
func (c *client) announcement(ids []wire.ChunkID) (a switchboard.Announcement) {
	c.w.t.Helper()
	for _, id := range ids {
		p, err := c.o.Paper(id)
		if err != nil {
			c.w.t.Fatal(err)
		}
		x, _ := c.o.Chunk(id)
		a.Papers, a.Epochs = append(a.Papers, p), append(a.Epochs, x.Epoch)
	}
	return a
}

// deposit makes n chunks and offers them to the market.
func (c *client) deposit(a coin.Asset, weight, n uint32) []wire.ChunkID {
	c.w.t.Helper()
	ids := c.chunks(a, weight, n)
	x := c.announcement(ids)
	c.w.eventually(func() error { return c.board.Deposit(c.w.t.Context(), x) }) // once the switchboard has followed the log so far
	return ids
}

// offer is to give up to units+1 of one asset for units of the other.
func (c *client) offer(role uint8, give, want coin.Asset, units market.Units) market.Offer {
	c.w.t.Helper()
	o := market.Offer{
		Contract: c.w.contract, Settle: market.Atomic, Escrow: c.w.keys.id, Parties: make([]wire.VaultID, 2), Role: role, Counter: 1 - role,
		Terms: make([]int64, 2), GiveTerm: role, WantTerm: 1 - role,
		Give: market.Quantity{Denomination: c.denominate(give).ID, Units: units}, Want: market.Quantity{Denomination: c.denominate(want).ID, Units: units},
		MinFill: 1, Until: c.w.now.Load() + 3600,
	}
	rand.Read(o.ID[:])
	return o
}

// poll returns the next notices, and acknowledges them with the next poll.
func (c *client) poll() []switchboard.Notice {
	c.w.t.Helper()
	list, err := c.board.Poll(c.w.t.Context(), c.acked, 5*time.Second)
	if err != nil {
		c.w.t.Fatal(err)
	}
	if len(list) > 0 {
		c.acked = list[len(list)-1].Seq
	}
	return list
}

// next polls for exactly one notice.
func (c *client) next() switchboard.Notice {
	c.w.t.Helper()
	list := c.poll()
	if len(list) != 1 {
		c.w.t.Fatalf("%d notices, want 1: %+v", len(list), list)
	}
	return list[0]
}

// agree checks a proposal with the vault, as a host does, and returns what it
// signs, and its signature.
func (c *client) agree(n switchboard.Notice) (vault.Agreement, vault.SignedAcceptance) {
	c.w.t.Helper()
	a, err := switchboard.Agreement(*n.Proposal, n.Source, 2)
	if err != nil {
		c.w.t.Fatal(err)
	}
	p := vault.Proposal{Agreement: a, Papers: n.Papers}
	for _, x := range n.Peers {
		p.Peers = append(p.Peers, vault.Peer{Identity: x.Identity, Vendor: "vendor A"})
	}
	s, rows, err := c.o.Accept(p, rand.Reader)
	c.keep(rows, err)
	return a, s
}

// accept agrees and tells the switchboard.
func (c *client) accept(n switchboard.Notice) vault.Agreement {
	c.w.t.Helper()
	a, s := c.agree(n)
	if err := c.board.Accept(c.w.t.Context(), n.Proposal.ID, s); err != nil {
		c.w.t.Fatal(err)
	}
	return a
}

// lock brings an agreement to the escrow.
func (w *world) lock(a vault.Agreement, n *market.AcceptedNotice) {
	w.t.Helper()
	q := vault.LockAsk{Agreement: a}
	for _, raw := range n.Acceptances {
		var s vault.SignedAcceptance
		if err := wire.Unmarshal(raw, &s); err != nil {
			w.t.Fatal(err)
		}
		q.Acceptances = append(q.Acceptances, s)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	ans, err := w.escrow.Handle(w.clients[0].id, vault.Request{Lock: &q}, rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	w.persist(ans.Block, nil)
}

// eventually repeats f until it succeeds.
func (w *world) eventually(f func() error) {
	w.t.Helper()
	var err error
	for range 500 {
		if err = f(); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatal(err)
}
