package sim

import (
	"fmt"
	"math/rand/v2"

	"latchkey/coin"
	"latchkey/head"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/vault/session"
	"latchkey/wallet/fake"
	"latchkey/wire"
)

// Config is what a world is made of. Nothing has a default but what says so.
type Config struct {
	Seed    uint64
	Clients int  // the first so many of the cast
	Mailbox bool // real HPKE mailboxes, at a hundred times the cost

	// Liars is how many witnesses sign whatever they are asked to. Above f,
	// anything may happen; the ledger then follows the host of the first head.
	Liars int
	// Broken names clients whose TEE is broken: their secrets are everybody's.
	Broken map[string]bool
	// BrokenEscrow says that the escrow's TEE is broken: vaults may be told what
	// is not in the ledger.
	BrokenEscrow bool
	// LyingWallets names clients whose wallet says that every deposit is there.
	LyingWallets map[string]bool

	// What follows takes a check of the escrow's shell away, which the machine
	// cannot make itself, so that a test sees that it is needed.
	InsecureHold bool // answers leave when durable, witnessed or not
}

// A World is everything, at one moment.
type World struct {
	cfg       Config
	cast      *Cast
	group     head.Group // of the cast; a head that many are shown is computed once
	rnd       *rand.ChaCha8
	now       int64 // true time, Unix seconds
	boots     int
	restored  int     // starts with a snapshot
	hosts     []*Host // the first is the honest one
	clients   []*Client
	witnesses []Witness
	chains    map[coin.AssetID]*fake.Chain
	deals     []*proposal
	hook      func(point, *Client, string) bool
	allowed   []string // vendors that users let their shares go to all the same
	ledger    *Ledger
	trueLog   *Disk // has what is witnessed
	secrets   *Secrets
	points    map[wire.ChunkID]key.Point
	entries   map[string]vault.Entry // that were read, by their bytes
	receipts  []receipt
	err       error // the first broken invariant
	log       func(string)
	refusals  int
	appends   int
	pumps     int
	reach     uint                   // witnesses that the first host reaches, a bit each; 0: any three
	kept      []*Host                // copies of disks, for later
	cloned    bool                   // some host of the escrow was cloned or rolled back
	drained   map[wire.ChunkID]int64 // chunks whose coins a cheat has spent, with the size of the witnessed log then
	halted    bool                   // no log can be witnessed further

	escrowDigest, ownerDigest *digester
}

// begin is the first moment of every world.
const begin = 1_800_000_000

// skew is what honest witnesses' clocks are wrong by, in seconds.
var skew = [...]int64{0, 3, -3, 2}

// maxSkew is the greatest error of an honest witness's clock, in seconds.
const maxSkew = 3

// minted is what each client's wallet of each asset has at the beginning.
const minted = 100_000_000

// New makes a world in which every client is enrolled.
func New(cast *Cast, cfg Config) (*World, error) {
	var seed [32]byte
	for i := range 8 {
		seed[i] = byte(cfg.Seed >> (8 * i))
	}
	w := &World{
		cfg: cfg, cast: cast, group: cast.Group.Remembering(), rnd: rand.NewChaCha8(seed), now: begin, chains: map[coin.AssetID]*fake.Chain{},
		ledger: newLedger(cast), points: map[wire.ChunkID]key.Point{}, entries: map[string]vault.Entry{}, drained: map[wire.ChunkID]int64{}, escrowDigest: escrowDigester(), ownerDigest: ownerDigester(),
	}
	w.secrets = newSecrets(cast, w.mayHave)
	for i := range cast.Witnesses {
		w.witnesses = append(w.witnesses, Witness{
			WitnessMember: &cast.Witnesses[i], liar: i >= len(cast.Witnesses)-cfg.Liars, offset: skew[i],
		})
	}
	for _, d := range cast.Coins {
		c, err := fake.New(fake.Config{Asset: d.Asset, Confirmations: depth, Fee: coin.NewAmount(fee), Dust: coin.NewAmount(1), Accounts: d.Asset.ID == "sol"})
		if err != nil {
			return nil, err
		}
		w.chains[d.Asset.ID] = c
	}
	h := w.newHost("escrow", newDisk())
	w.hosts = []*Host{h}
	h.Start()
	h.Round(15, 0)
	for i := range cfg.Clients {
		if err := w.addClient(&cast.Clients[i]); err != nil {
			return nil, err
		}
	}
	for _, c := range w.chains {
		c.Mine(depth)
	}
	h.Round(15, 0)
	for _, c := range w.clients {
		c.Sync()
	}
	return w, w.err
}

// sealer returns a fresh mailbox for a boot of a member's vault.
func (w *World) sealer(m *Member, boot int) vault.Sealer {
	if w.cfg.Mailbox {
		return session.NewMailbox(m.ID, m.KEM)
	}
	return &sealer{cast: w.cast, self: m, boot: uint64(boot)}
}

// fail records the first broken invariant.
func (w *World) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

func (w *World) check(err error) {
	if err != nil {
		w.fail("%w", err)
	}
}

func (w *World) say(format string, args ...any) {
	if w.log != nil {
		w.log(fmt.Sprintf(format, args...))
	}
}

// Err returns the first invariant that broke, or nil.
func (w *World) Err() error { return w.err }

// truth says that a host has a witnessed head of size entries: they are the
// truth from now on, and must follow what was the truth before.
func (w *World) truth(h *Host, size int64) {
	l := w.ledger
	if w.trueLog == nil {
		w.trueLog = h.Disk
	}
	shared := min(size, l.size)
	was, err1 := w.trueLog.root(shared)
	is, err2 := h.Disk.root(shared)
	if err1 != nil || err2 != nil || was != is {
		w.fail("two witnessed heads disagree: the log of %s, at size %d, has other entries than were witnessed", h.Name, size)
		return
	}
	if size < l.size {
		return
	}
	w.trueLog = h.Disk
	for l.size < size {
		e, err := w.parse(h.Disk.entries[l.size])
		if err != nil {
			err = rule("%w", err)
		} else {
			err = l.take(e)
		}
		if err != nil {
			w.check(err)
			return
		}
	}
}

// parse reads an entry for the world's own books and the hosts' feeds, which only
// look at it, so that the same bytes are read once. The machines read for
// themselves.
func (w *World) parse(raw []byte) (vault.Entry, error) {
	e, ok := w.entries[string(raw)]
	if ok {
		return e, nil
	}
	e, err := vault.ParseEntry(raw)
	if err == nil {
		w.entries[string(raw)] = e
	}
	return e, err
}

// mayHave is invariant 2: a key is whole only with its owner, after a witnessed
// claim.
func (w *World) mayHave(who string, id wire.ChunkID) bool {
	f := w.ledger.chunks[id]
	return f != nil && f.Claimed && w.cast.member(f.Owner).Name == who
}

// certified learns the public keys of new chunks.
func (w *World) certified(c *vault.Certify) {
	id, err := c.Certificate.ID()
	if err != nil {
		w.fail("%w", err)
		return
	}
	for i, p := range c.Points {
		w.points[key.ChunkIDOf(id, uint32(i))] = p
	}
}

// Client returns a client by name.
func (w *World) Client(name string) *Client {
	for _, c := range w.clients {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func (w *World) byID(id wire.VaultID) *Client {
	for _, c := range w.clients {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// Tick moves true time.
func (w *World) Tick(seconds int64) { w.now += seconds }
