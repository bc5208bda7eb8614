package sim

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"

	"latchkey/coin"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/wallet"
	"latchkey/wallet/fake"
	"latchkey/wire"
)

// A Client is a client's host with its vault, its wallets and its disk.
type Client struct {
	*Member
	w       *World
	m       *vault.Owner // nil: down
	boot    int
	met     int               // boot of the host that knows this client
	rows    map[string][]byte // the vault's, durable
	digest  uint64
	backups []map[string][]byte
	peer    *Host // whom it takes for the escrow
	up      []message
	down    []message
	heard   []message // answers heard, for a host that repeats them
	cursor  map[*Host]int
	crash   crashPoint
	wallets map[coin.AssetID]*fake.Wallet
	funded  map[wire.CertID]bool
	purse   map[coin.AssetID]int64 // what the wallet must hold
	sweeps  map[wire.ChunkID]*sweep
	lost    bool  // its device is gone for good
	rolled  bool  // its host brought an old copy back
	clock   int64 // the vault's, never runs backwards
	manner  manner
	stuck   error // why its vault follows the log no further
	batches int   // begun
	counts  map[string]int
}

// message is a request on its way up, or an answer on its way down.
type message struct {
	from, to int // boots of the two ends: sessions die with either
	raw      []byte
	what     string
	q        vault.Request
}

type sweep struct {
	tx     wallet.TxID
	amount int64 // that came into the wallet
	final  bool
}

// A crashPoint says where a client dies when it next stores something.
type crashPoint uint8

const (
	crashNever         crashPoint = iota
	crashBeforePersist            // the machine decided, the disk has nothing of it
	crashAfterPersist             // the disk has it, nobody else heard of it
)

var errCrashed = errors.New("crashed")

// depth and fee of every chain, in blocks and smallest units.
const (
	depth = 2
	fee   = 10
)

func (w *World) addClient(m *Member) error {
	c := &Client{
		Member: m, w: w, rows: map[string][]byte{}, peer: w.hosts[0], cursor: map[*Host]int{}, wallets: map[coin.AssetID]*fake.Wallet{},
		funded: map[wire.CertID]bool{}, purse: map[coin.AssetID]int64{}, sweeps: map[wire.ChunkID]*sweep{}, counts: map[string]int{},
	}
	for id, chain := range w.chains {
		c.wallets[id] = chain.Wallet(m.Name)
		chain.Mint(c.wallets[id].Own(), coin.NewAmount(minted))
		c.purse[id] = minted
	}
	w.clients = append(w.clients, c)
	w.hosts[0].Enrol(m)
	return c.Start()
}

// Start starts the client from its disk and compares what its vault became with
// what it was.
func (c *Client) Start() error {
	if c.m != nil {
		return nil
	}
	c.w.boots++
	c.boot = c.w.boots
	m, err := vault.NewOwner(vault.OwnerConfig{
		Identity: c.Identity, Sign: c.Sign, Digests: []wire.Hash{c.Digest}, Escrow: c.w.cast.Escrow.Identity,
		EscrowDigest: c.w.cast.Escrow.Digest, EscrowVendor: c.w.cast.Escrow.Vendor, Group: c.w.group,
		Sealer: c.w.sealer(c.Member, c.boot),
	})
	if err != nil {
		return err
	}
	if err := m.Load(rowsOf(c.rows)); err != nil {
		c.w.fail("%s does not start again: %w", c.Name, err)
		return nil
	}
	now := c.w.ownerDigest.sum(m)
	if c.digest != 0 && now != c.digest {
		c.w.fail("%s's vault loaded from its disk differs from what it was", c.Name)
	}
	if m.Now() < c.clock {
		c.w.fail("%s's clock runs back from %d to %d over a restart", c.Name, c.clock, m.Now())
	}
	c.m, c.digest = m, now
	return nil
}

// Crash ends the client's processes.
func (c *Client) Crash() {
	c.m, c.down, c.heard, c.crash = nil, nil, nil, crashNever
}

// Backup keeps a copy of the vault's disk, as a host may.
func (c *Client) Backup() {
	if len(c.backups) < 4 {
		c.backups = append(c.backups, maps.Clone(c.rows))
	}
}

// Rollback brings the copy back.
func (c *Client) Rollback(i int) {
	if len(c.backups) == 0 {
		return
	}
	c.Crash()
	c.rows = maps.Clone(c.backups[i%len(c.backups)])
	c.rolled, c.digest, c.clock, c.stuck = true, 0, 0, nil
	clear(c.cursor)
}

// do lets the vault take one input: decide, persist, and only then return. An
// error is a refusal, which must have changed nothing.
func (c *Client) do(what string, f func(*vault.Owner) ([]vault.Row, error)) error {
	if c.m == nil {
		return errCrashed
	}
	rows, err := f(c.m)
	now := c.w.ownerDigest.sum(c.m)
	if err != nil {
		c.w.check(c.w.secrets.leaks(err.Error()))
		if !errors.Is(err, vault.ErrRefused) {
			if now != c.digest {
				c.w.fail("%s's vault refused (%s) and changed: %w", c.Name, what, err)
			}
			return err
		}
	}
	if c.m.Now() < c.clock {
		c.w.fail("%s's clock runs back from %d to %d", c.Name, c.clock, c.m.Now())
	}
	c.clock = c.m.Now()
	c.look(rows)
	switch crash := c.crash; {
	case len(rows) == 0:
	case crash == crashBeforePersist:
		c.Crash()
		c.clock = 0
		return errCrashed
	case crash == crashAfterPersist:
		save(c.rows, rows)
		c.digest = now
		c.Crash()
		return errCrashed
	}
	save(c.rows, rows)
	c.digest = now
	return err
}

// look compares what the vault now says of chunks with the ledger, and learns
// the secrets that it holds.
func (c *Client) look(rows []vault.Row) {
	w := c.w
	for _, r := range rows {
		if len(r.Key) != 33 || r.Key[0] != 'K' {
			continue
		}
		id := wire.ChunkID([]byte(r.Key[1:]))
		x, ok := c.m.Chunk(id)
		if !ok {
			continue
		}
		c.learn(id, x)
		if x.Last == 0 || w.cfg.BrokenEscrow {
			continue
		}
		if len(x.Share) > 0 && x.ShareAt == x.Epoch && !w.secrets.fits(id, x.Share) {
			w.fail("%s's vault took a share of chunk %s that is none", c.Name, id.Short())
		}
		f := w.ledger.chunks[id]
		if f == nil {
			w.fail("%s follows chunk %s, which is not in the witnessed log", c.Name, id.Short())
			continue
		}
		at, ok := f.after(x.Last)
		if !ok || at.Owner != x.Owner || at.Epoch != x.Epoch || !bytes.Equal(at.B.Bytes(), x.B) || at.Instance != x.Instance || at.Claimed != x.Claimed || at.Swept != x.Swept {
			w.fail("%s's vault and the witnessed log differ about chunk %s at entry %d (%t): %v, want %v", c.Name, id.Short(), int64(x.Last)-1, ok, x, at)
		}
	}
}

func (c *Client) learn(id wire.ChunkID, x vault.Chunk) {
	w := c.w
	for _, raw := range [][]byte{x.Share, x.Whole} {
		if len(raw) == 0 {
			continue
		}
		s, err := key.ParseShare(x.P.Type(), raw)
		if err != nil {
			w.fail("%s holds a share of chunk %s that is none: %w", c.Name, id.Short(), err)
			return
		}
		if len(x.Whole) == 0 && x.ShareAt == 0 {
			w.secrets.born(id, x.P, s)
		}
		w.check(w.secrets.learn(c.Name, id, s))
	}
	if len(x.Whole) > 0 && !x.Claimed {
		w.fail("%s's vault made chunk %s whole before the log showed a claim", c.Name, id.Short())
	}
}

// Sync brings the vault to the newest witnessed head that its escrow shows. Upon a
// gap its host shows it the log from the beginning again, as a real one does: the
// birth of a chunk may have passed before its vault heard of its certificate.
func (c *Client) Sync() {
	c.follow()
	if errors.Is(c.stuck, vault.ErrGap) {
		c.cursor[c.peer] = 0
		c.follow()
	}
}

func (c *Client) follow() {
	h := c.peer
	if c.m == nil || !h.Up() || h.note == nil {
		return
	}
	positions, _ := h.feed.From(c.ID, c.cursor[h], 1<<30)
	// A head that says nothing new about what concerns the client, and little about
	// the time, is not worth its signatures; a feed keeps it back as well.
	news := len(positions) > 0 && positions[0] < h.noted && h.noted > c.m.Size()
	if news || h.noted >= c.m.Size() && h.time >= c.m.Now()+15 {
		err := c.do("advance", func(o *vault.Owner) ([]vault.Row, error) {
			return o.Advance(h.note, h.Disk.consistency(o.Size(), h.noted))
		})
		if err != nil {
			return
		}
	}
	c.stuck = nil
	for _, p := range positions {
		if p >= h.noted {
			return
		}
		if err := c.observe(h, p); err != nil {
			if !errors.Is(err, errCrashed) {
				c.stuck = err
				c.w.say("%s stands at entry %d: %v", c.Name, p, err)
			}
			return
		}
		c.cursor[h]++
	}
}

func (c *Client) observe(h *Host, p int64) error {
	return c.do("observe", func(o *vault.Owner) ([]vault.Row, error) {
		return o.Observe(vault.Logged{Position: p, Entry: h.Disk.entries[p], Proof: h.Disk.inclusion(p, o.Size())})
	})
}

// maxQueue bounds the requests of one client on their way.
const maxQueue = 10

// Talk puts on the wire what the vault has to say, and the locks that its host
// has papers for.
func (c *Client) Talk() {
	if c.m == nil || !c.peer.Up() || len(c.up) >= maxQueue {
		return
	}
	if c.met != c.peer.boot {
		c.met = c.peer.boot
		c.peer.Enrol(c.Member)
	}
	qs, err := c.m.Pending(c.w.rnd)
	if err != nil {
		c.w.fail("%s has nothing to say: %w", c.Name, err)
		return
	}
	for _, p := range c.w.deals {
		if q, ok := p.lock(c); ok {
			qs = append(qs, q)
		}
	}
	for _, q := range qs {
		c.send(q)
	}
}

func (c *Client) send(q vault.Request) {
	raw, err := wire.Marshal(q)
	if err != nil {
		c.w.fail("%s: %w", c.Name, err)
		return
	}
	c.up = append(c.up, message{c.boot, c.peer.boot, raw, kindOf(q), q})
}

// kindOf names a request.
func kindOf(q vault.Request) string {
	switch {
	case q.Begin != nil:
		return "begin"
	case q.Open != nil:
		return "open"
	case q.Lock != nil:
		return "lock"
	case q.Hand != nil:
		return "hand"
	case q.Ack != nil:
		return "ack"
	case q.Word != nil:
		return "word"
	case q.Fetch != nil:
		return "fetch"
	case q.Stored != nil:
		return "stored"
	case q.Claim != nil:
		return "claim"
	case q.Swept != nil:
		return "swept"
	case q.Step != nil:
		return "step"
	case q.Deposit != nil:
		return "fund"
	}
	return "nothing"
}

// take removes message i of a queue, or copies it.
func take(queue *[]message, i int, keep bool) (message, bool) {
	if len(*queue) == 0 {
		return message{}, false
	}
	i %= len(*queue)
	m := (*queue)[i]
	if !keep {
		*queue = append((*queue)[:i:i], (*queue)[i+1:]...)
	}
	return m, true
}

// A point is where a hook is asked, for tests that put a fault at one place. At
// arriving and answered, true loses the message.
type point uint8

const (
	arriving  point = iota // a request comes to the escrow
	decidedOn              // the escrow has decided, and nothing is durable or said
	answered               // an answer comes to the client
)

// Deliver brings request i to the escrow. What was said in a session that has
// ended is lost.
func (c *Client) Deliver(i int, again bool) {
	m, ok := take(&c.up, i, again)
	if !ok || c.peer.m == nil || m.to != c.peer.boot || c.w.hook != nil && c.w.hook(arriving, c, m.what) {
		return
	}
	c.counts[m.what]++
	err := c.peer.Receive(c, m.raw)
	c.w.say("%s → %s: %s%s", c.Name, c.peer.Name, m.what, reason(err))
	if c.w.hook != nil {
		c.w.hook(decidedOn, c, m.what)
	}
	c.peer.release()
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return ", refused: " + err.Error()
}

// arrive puts an answer on the way down. It is the moment at which the escrow
// has let it go: what it says must be covered by the witnessed log.
func (c *Client) arrive(x held, h *Host) {
	raw, err := wire.Marshal(x.r)
	if err != nil {
		c.w.fail("answer to %s: %w", c.Name, err)
		return
	}
	c.w.covered(c, x.q, x.r)
	for _, b := range x.r.Released {
		share, err := key.ParseShare(c.w.points[b.Chunk].Type(), b.B)
		if err != nil {
			c.w.fail("released to %s: %w", c.Name, err)
			return
		}
		c.w.check(c.w.secrets.learn(c.Name, b.Chunk, share))
	}
	c.down = append(c.down, message{h.boot, x.boot, raw, kindOf(x.q), x.q})
}

// Hear brings answer i to the vault.
func (c *Client) Hear(i int, again bool) {
	m, ok := take(&c.down, i, again)
	if !ok || c.m == nil || m.to != c.boot || c.w.hook != nil && c.w.hook(answered, c, m.what) {
		return
	}
	if len(c.heard) < 8 {
		c.heard = append(c.heard, m)
	}
	c.hear(m)
}

func (c *Client) hear(m message) {
	var r vault.Reply
	if err := wire.Unmarshal(m.raw, &r); err != nil {
		c.w.fail("answer to %s: %w", c.Name, err)
		return
	}
	if r.Receipt != nil && m.q.Word != nil {
		c.w.receipts = append(c.w.receipts, receipt{m.q.Word.Body.Word, *r.Receipt})
	}
	if r.Receipt != nil && m.q.Step != nil {
		c.w.receipts = append(c.w.receipts, receipt{"a word about a step", *r.Receipt})
	}
	if r.Receipt != nil && m.q.Report != nil {
		c.w.receipts = append(c.w.receipts, receipt{"a report", *r.Receipt})
	}
	err := c.do("hear "+m.what, func(o *vault.Owner) ([]vault.Row, error) { return o.Hear(m.q, r) })
	if err != nil {
		c.w.say("%s heard its %s: %v", c.Name, m.what, err)
	}
}

// Route makes the client take another process for the escrow.
func (c *Client) Route(h *Host) {
	if c.peer != h {
		c.peer, c.up, c.down = h, nil, nil
	}
}

// Deposit begins a batch of chunks.
func (c *Client) Deposit(d coin.Denomination, weight, n uint32) error {
	return c.do("new batch", func(o *vault.Owner) ([]vault.Row, error) {
		_, rows, err := o.NewBatch(vault.BatchSpec{Denomination: d, Weight: weight, N: n, Expiry: o.Now() + 90*86400}, c.w.rnd)
		return rows, err
	})
}

// Claim asks the vault to make chunks whole. What is not settled yet is looked at
// first: a claim says that it is good.
func (c *Client) Claim(ids ...wire.ChunkID) error {
	c.Judge()
	return c.do("claim", func(o *vault.Owner) ([]vault.Row, error) { return o.Claim(ids) })
}

// Say speaks a word in an instance.
func (c *Client) Say(id wire.InstanceID, word string, value int64, has bool) error {
	return c.do("say", func(o *vault.Owner) ([]vault.Row, error) {
		_, rows, err := o.Say(id, word, value, has)
		return rows, err
	})
}

// Bring brings an oracle's values to an instance, knowing all that the vault knows.
func (c *Client) Bring(r vault.Report) error {
	return c.do("bring", func(o *vault.Owner) ([]vault.Row, error) {
		for _, in := range o.Instances() {
			if in.ID == r.Instance {
				r.After = in.Newest
			}
		}
		_, rows, err := o.Bring(r)
		return rows, err
	})
}

// Owned returns the chunks that the vault holds and that are free, in order.
func (c *Client) Owned() (out []wire.ChunkID) {
	if c.m == nil {
		return nil
	}
	for _, id := range c.m.Chunks() {
		x, _ := c.m.Chunk(id)
		if c.m.Holds(id) && x.Instance == (wire.InstanceID{}) && !x.Claim && !x.Claimed && c.m.Pledged(id) == (wire.Hash{}) {
			out = append(out, id)
		}
	}
	return out
}

// String names the client and what its vault is at.
func (c *Client) String() string {
	if c.m == nil {
		return c.Name + " (down)"
	}
	return fmt.Sprintf("%s (%d entries, %s)", c.Name, c.m.Size(), strings.Join(strings.Fields(fmt.Sprint(c.stuck)), " "))
}
