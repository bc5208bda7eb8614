package enclave

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"latchkey/attest"
	"latchkey/attest/platform"
	"latchkey/head"
	"latchkey/vault"
	"latchkey/vault/session"
	"latchkey/wire"
)

// Trust is what a vault is bound to at its first start and never changes:
// whom it believes. The host supplies it once; a vault that finds another later
// refuses to run.
type Trust struct {
	Role      string            // "owner" or "escrow"
	Origin    string            // of the escrow's log
	LogKey    head.LogKey       // pins the escrow's identity; unset in the escrow's own role
	Witnesses []head.WitnessKey // countersign the log
	K, F      int               // quorum, and how many may fail
	Policy    attest.Policy     // decides about every other vault's evidence
}

// Config is what a vault's program is started with.
type Config struct {
	Trust     Trust
	Platform  platform.Platform
	Verifiers []attest.Verifier

	SnapshotEvery int64 // of an escrow: see vault.EscrowConfig; 0: the usual
}

// An Enclave runs one vault. It is a machine without I/O: Handle takes a message
// of the host and returns what to send back. One goroutine owns it.
type Enclave struct {
	cfg      Config
	table    *table
	loaded   []StoredRow
	replay   [][]byte
	cover    []byte            // of the newest snapshot
	parts    map[string][]byte // of snapshots, as stored; until the start is over
	writing  []StoredRow       // parts of a snapshot that are still to be stored
	next     []byte            // its cover, which goes with the last
	idle     []StoredRow       // deletes parts of no use; goes with the next commit
	ready    bool
	failed   error // why the vault did not start; it is not asked twice
	identity wire.Identity
	id       wire.VaultID
	sign     ed25519.PrivateKey
	kem      hpke.PrivateKey
	evidence []byte
	trusted  trusted
	group    head.Group
	mailbox  *session.Mailbox

	owner    *vault.Owner
	rows     []vault.Row // of an owner, until it knows its escrow
	caller   *session.Caller
	session  *session.Session
	asked    map[uint64]vault.Request
	askedRaw map[string]uint64
	left     map[string]bool // shares that the escrow has, in this session

	escrow   *vault.Escrow
	block    vault.Block // of the commit in the making
	sessions map[[16]byte]*session.Session
	byPeer   map[wire.VaultID][][16]byte
	parked   []parked // requests that came too early
	ticked   bool     // since they were asked again last
	turns    turns
	asides   []*aside // in the order in which they came
	worked   uint64   // units, for the commit in the making
	shown    int64    // the time of which the escrow has the digest of its evidence

	durable uint64
	taken   []held // since the last commit
	bytes   int    // of entries and rows in the commit in the making
	held    []held
	out     []Message
	hurry   bool // rotate with the next commit
	stale   int  // secrets superseded since the last rotation
}

// held is a result that waits for durability, and maybe for witnesses.
type held struct {
	result Result
	commit uint64
	size   int64
}

// stored is what the identity row holds.
type stored struct {
	Seed     []byte    `cbor:"1,keyasint"` // Ed25519 (RFC 8032 §5.1.5)
	KEM      []byte    `cbor:"2,keyasint"`
	Evidence []byte    `cbor:"3,keyasint"`
	Trust    wire.Hash `cbor:"4,keyasint"`
}

// trusted is what the trust row holds: the escrow as an owner appraised it, and
// what was shown of itself.
type trusted struct {
	Escrow  wire.Identity `cbor:"1,keyasint"`
	Digest  wire.Hash     `cbor:"2,keyasint"`
	Vendor  string        `cbor:"3,keyasint"`
	Digests []wire.Hash   `cbor:"4,keyasint"`
}

// rotateAfter is how many superseded secrets a table key outlives; resealed is
// how many rows go over to a new key with one commit.
const (
	rotateAfter = 4096
	resealed    = 1024
)

// ahead is how many commits may be on their way to the disk when rows are added
// to one that could as well go with a later.
const ahead = 4

// Calls that wait are decided together and share one commit, one head and one
// round of the witnesses: at most so many calls, more where more than so many go on
// waiting, and about so many bytes.
const (
	commitCalls    = 32
	maxCommitCalls = 256
	commitBytes    = 1 << 20
	commitWork     = 256 // units; a turn that is likely to take more begins the next
)

// digest names a trust, for the identity row: another one in any part is another
// digest.
func (t Trust) digest() (wire.Hash, error) {
	var witnesses []string
	for _, w := range t.Witnesses {
		witnesses = append(witnesses, w.String())
	}
	return wire.HashOf("latchkey/trust/v2", []any{t.Role, t.Origin, t.LogKey.String(), witnesses, t.K, t.F, t.Policy})
}

// New returns a vault that waits for what its host stored.
func New(cfg Config) (*Enclave, error) {
	fail := func(err error) (*Enclave, error) { return nil, fmt.Errorf("vault: %w", err) }
	if cfg.Trust.Role != "owner" && cfg.Trust.Role != "escrow" {
		return fail(fmt.Errorf("role %q, want owner or escrow", cfg.Trust.Role))
	}
	if cfg.Trust.Role == "owner" && cfg.Trust.LogKey.Name() != cfg.Trust.Origin {
		return fail(fmt.Errorf("the log key is of %q, the origin is %q", cfg.Trust.LogKey.Name(), cfg.Trust.Origin))
	}
	if err := cfg.Trust.Policy.Validate(); err != nil {
		return fail(err)
	}
	k, err := cfg.Platform.SealKey()
	if err != nil {
		return fail(err)
	}
	e := &Enclave{
		cfg: cfg, asked: map[uint64]vault.Request{}, askedRaw: map[string]uint64{}, left: map[string]bool{},
		sessions: map[[16]byte]*session.Session{}, byPeer: map[wire.VaultID][][16]byte{}, turns: turns{of: map[wire.VaultID]*account{}},
	}
	if e.table, err = newTable(k); err != nil {
		return fail(err)
	}
	return e, nil
}

// Handle takes one message of the host and returns those for it, in order.
func (e *Enclave) Handle(c Call) []Message {
	for e.come(c); e.turns.n > 0; {
		e.turn()
		if a := e.nextAside(); a != nil {
			a.Run()
			e.explored(a)
		}
	}
	return e.settle()
}

// decide carries out one call, and returns how many bytes were asked and answered.
// What it changed is in the commit in the making, with what other calls changed since
// the last: settle closes it.
func (e *Enclave) decide(x turn) int {
	c := x.call
	if c.Durable != nil {
		e.durable = max(e.durable, c.Durable.Commit)
		return 0
	}
	r, size, err := e.do(x)
	if c.hasty() { // it says nothing that rests on a commit
		e.out = append(e.out, Message{Result: result(c.N, r, err)})
		return 0
	}
	e.took(x, r, size, err)
	return len(x.frame.Text) + len(r.Bytes)
}

func (e *Enclave) took(x turn, r Result, size int64, err error) {
	if early := (*earlyError)(nil); errors.As(err, &early) {
		early.call = x.call.N
		e.parked = append(e.parked, early.parked)
		return
	}
	if later := (*laterError)(nil); errors.As(err, &later) {
		e.explore(x, later.of)
		return
	}
	e.taken = append(e.taken, held{*result(x.call.N, r, err), 0, size})
}

func result(call uint64, r Result, err error) *Result {
	if err != nil {
		r = Result{Error: err.Error(), NoSession: errors.Is(err, errNoSession), Refused: errors.Is(err, vault.ErrRefused), Word: r.Word}
	}
	r.N = call
	return &r
}

// full reports whether a commit in the making should take no more calls, of so
// many that wait: one that takes most of them keeps the first waiting, and lets
// the vault stand idle while it is on its way. Its messages are bounded.
func (e *Enclave) full(waiting int) bool {
	if t := e.turns; len(e.taken) > 0 && t.n > 0 && t.waiting[t.first()].last > commitWork {
		return true
	}
	return len(e.taken) >= min(max(commitCalls, waiting), maxCommitCalls) || e.bytes >= commitBytes || e.worked >= commitWork
}

// settle closes the commit of the calls taken, whose results wait until it is
// durable, and returns the messages for the host, in order.
func (e *Enclave) settle() []Message {
	if e.ticked || len(e.block.Entries) > 0 {
		e.unpark()
	}
	if len(e.taken) > 0 || e.quiet() {
		err := e.commit()
		for _, h := range e.taken {
			if err != nil {
				h.result = Result{N: h.result.N, Error: err.Error()}
			}
			if e.ready { // else nothing was decided: why it does not start is said at once
				h.commit = e.table.number
			}
			e.held = append(e.held, h)
		}
		clear(e.taken)
		e.taken, e.bytes, e.worked = e.taken[:0], 0, 0
	}
	e.release()
	return e.flush()
}

func (e *Enclave) flush() []Message {
	out := e.out
	e.out = nil
	return out
}

// release lets results go whose changes are durable and, where they hold
// something of the escrow's, witnessed.
func (e *Enclave) release() {
	rest := e.held[:0]
	for _, h := range e.held {
		if h.commit > e.durable || h.size > 0 && (e.escrow == nil || h.size > e.escrow.Witnessed()) {
			rest = append(rest, h)
			continue
		}
		e.out = append(e.out, Message{Result: &h.result})
	}
	clear(e.held[len(rest):])
	e.held = rest
}

var (
	errNoSession = errors.New("no session")
	errNotReady  = errors.New("what was stored has not been brought back yet")
)

// do answers a call, and says how many entries must be witnessed before the answer leaves;
// 0: none. Before what was stored is back there is nothing else to ask for.
func (e *Enclave) do(x turn) (Result, int64, error) {
	c := x.call
	if !e.ready {
		switch {
		case e.failed != nil:
			return Result{}, 0, e.failed
		case c.Load != nil:
			e.loaded = append(e.loaded, c.Load.Rows...)
			e.replay = append(e.replay, c.Load.Entries...)
			return Result{}, 0, nil
		case c.Ready != nil:
			// One attempt: what several sets of rows leave behind must not add up
			// to one that opens.
			if e.failed = e.start(); e.failed != nil {
				return Result{}, 0, e.failed
			}
			e.loaded, e.replay, e.parts = nil, nil, nil
			return Result{Status: e.status(Page{})}, 0, nil
		}
		return Result{}, 0, errNotReady
	}
	switch {
	case c.Status != nil && c.Page != nil:
		return Result{Status: e.status(*c.Page)}, 0, nil
	case c.Status != nil:
		return Result{Status: e.status(Page{})}, 0, nil
	case c.Clock != nil:
		s := &Status{Role: e.cfg.Trust.Role}
		if e.escrow != nil {
			s.Now, s.Size, s.Witnessed = e.escrow.Now(), e.escrow.Size(), e.escrow.Witnessed()
		} else if e.owner != nil {
			s.Now, s.Size, s.Witnessed = e.owner.Now(), e.owner.Size(), e.owner.Size()
		}
		return Result{Status: s}, 0, nil
	}
	if e.escrow != nil {
		return e.doEscrow(x)
	}
	r, err := e.doOwner(c)
	return r, 0, err
}

// start opens what was stored, or begins anew where nothing was.
func (e *Enclave) start() error {
	var machine []vault.Row
	var size int64
	var root wire.Hash
	if len(e.loaded) == 0 && len(e.replay) == 0 {
		if err := e.table.start(); err != nil {
			return err
		}
		if err := e.create(); err != nil {
			return err
		}
	} else {
		e.setPartsAside()
		m, rows, err := e.table.open(e.loaded)
		if err != nil {
			return err
		}
		if err := e.recall(rows); err != nil {
			return err
		}
		e.durable, machine = m.Number, make([]vault.Row, 0, len(rows))
		size, root = m.Size, m.Root
		for name, v := range rows {
			if k, ok := strings.CutPrefix(name, rowMachine); ok {
				machine = append(machine, vault.Row{Key: k, Value: v})
			}
		}
		e.hurry = true // what a previous run superseded is forgotten now
	}
	e.mailbox = session.NewMailbox(e.id, e.kem)
	if err := e.bindGroup(); err != nil {
		return err
	}
	var err error
	if e.cfg.Trust.Role == "escrow" {
		err = e.startEscrow(machine, size, root)
	} else if e.rows = machine; e.trusted.Vendor != "" {
		err = e.startOwner()
	}
	e.ready = err == nil
	return err
}

// create makes the identity of a new vault.
func (e *Enclave) create() error {
	var seed [32]byte
	rand.Read(seed[:])
	kem, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		return err
	}
	secret, err := kem.Bytes()
	if err != nil {
		return err
	}
	s := stored{Seed: seed[:], KEM: secret}
	if s.Trust, err = e.cfg.Trust.digest(); err != nil {
		return err
	}
	if err := e.take(s); err != nil {
		return err
	}
	q, err := e.cfg.Platform.Quote(attest.ReportData(attest.PurposeIdentity, e.id, [32]byte{}))
	if err != nil {
		return err
	}
	if s.Evidence, err = q.Marshal(); err != nil {
		return err
	}
	e.evidence = s.Evidence
	return e.putRow(rowIdentity, s)
}

// recall reads the vault's own rows.
func (e *Enclave) recall(rows map[string][]byte) error {
	var s stored
	if err := wire.Unmarshal(rows[rowIdentity], &s); err != nil {
		return fmt.Errorf("%w: identity", errTable)
	}
	want, err := e.cfg.Trust.digest()
	if err != nil {
		return err
	}
	if s.Trust != want {
		return errors.New("this vault is bound to another escrow, other witnesses or another policy since its first start; give it the configuration it had, or begin a new vault in an empty folder and move the coins there")
	}
	if raw, ok := rows[rowTrust]; ok {
		if err := wire.Unmarshal(raw, &e.trusted); err != nil {
			return fmt.Errorf("%w: trust", errTable)
		}
	}
	e.evidence, e.cover = s.Evidence, rows[rowSnapshot]
	return e.take(s)
}

func (e *Enclave) take(s stored) error {
	if len(s.Seed) != ed25519.SeedSize {
		return fmt.Errorf("%w: identity", errTable)
	}
	kem, err := hpke.MLKEM768X25519().NewPrivateKey(s.KEM)
	if err != nil {
		return fmt.Errorf("%w: identity", errTable)
	}
	e.sign, e.kem = ed25519.NewKeyFromSeed(s.Seed), kem
	e.identity = wire.Identity{Sign: e.sign.Public().(ed25519.PublicKey), KEM: kem.PublicKey().Bytes()}
	e.id, err = e.identity.ID()
	return err
}

func (e *Enclave) putRow(name string, v any) error {
	b, err := wire.Marshal(v)
	if err == nil {
		e.table.put(name, b)
	}
	return err
}

func (e *Enclave) bindGroup() error {
	k := e.cfg.Trust.LogKey
	if e.cfg.Trust.Role == "escrow" {
		var err error
		if k, err = head.NewLogKey(e.cfg.Trust.Origin, e.identity.Sign); err != nil {
			return err
		}
	}
	e.group = head.Group{Log: k, Witnesses: e.cfg.Trust.Witnesses, K: e.cfg.Trust.K, F: e.cfg.Trust.F}
	return e.group.Check()
}

// appraise decides about a vault's evidence by this vault's policy, at a time in
// Unix seconds.
func (e *Enclave) appraise(id wire.Identity, raw []byte, now int64) (attest.Result, error) {
	v, err := id.ID()
	if err != nil {
		return attest.Result{}, err
	}
	ev, err := attest.ParseEvidence(raw)
	if err != nil {
		return attest.Result{}, fmt.Errorf("vault %s: %w", v.Short(), err)
	}
	r, err := attest.Appraise(e.cfg.Trust.Policy, e.cfg.Verifiers, ev, attest.ReportData(attest.PurposeIdentity, v, [32]byte{}), now)
	if err != nil {
		return attest.Result{}, fmt.Errorf("evidence of vault %s: %w", v.Short(), err)
	}
	return r, nil
}

// ownDigest is the digest of the facts that this vault's own evidence shows.
func (e *Enclave) ownDigest(now int64) (wire.Hash, error) {
	ev, err := attest.ParseEvidence(e.evidence)
	if err != nil {
		return wire.Hash{}, err
	}
	for _, v := range e.cfg.Verifiers {
		if v.Format() != ev.Format {
			continue
		}
		f, err := v.Verify(ev, now)
		if err != nil {
			return wire.Hash{}, fmt.Errorf("own evidence: %w", err)
		}
		return f.Digest()
	}
	return wire.Hash{}, fmt.Errorf("own evidence: no verifier for %s", ev.Format)
}

// keep puts what a machine changed into the commit in the making.
func (e *Enclave) keep(rows []vault.Row) {
	e.stale += len(rows)
	for _, r := range rows {
		e.bytes += len(r.Value)
	}
	e.table.apply(rows)
}

// commit sends the commit in the making to the host. From time to time it
// rotates the table key with it.
func (e *Enclave) commit() error {
	if !e.ready {
		return nil
	}
	if e.hurry || e.stale > rotateAfter {
		if err := e.table.turn(); err != nil {
			return err
		}
		e.hurry, e.stale = false, 0
	}
	if e.table.number < e.durable+ahead { // else the host is behind: its queue shall not grow by these
		if err := e.table.reseal(resealed, e.names, e.value); err != nil {
			return err
		}
	}
	plain, from, err := e.nextParts()
	if err != nil {
		return err
	}
	pending := e.pendingEntries()
	if !e.table.dirty() && len(pending.Entries) == 0 && len(plain) == 0 {
		return nil
	}
	c := &Commit{First: pending.First, Entries: pending.Entries, From: from}
	var size int64
	var root wire.Hash
	if e.escrow != nil {
		size, root = e.escrow.Size(), wire.Hash(e.escrow.Root())
		if c.Head, err = e.escrow.Head(); err != nil {
			return err
		}
	}
	if c.Number, c.Rows, err = e.table.commit(size, root); err != nil {
		return err
	}
	if len(plain) > 0 {
		e.out = append(e.out, Message{Commit: &Commit{Number: c.Number, Rows: plain, More: true}})
	}
	for n := firstPart(c.Rows); n < len(c.Rows); n = firstPart(c.Rows) { // a large commit travels in parts
		e.out = append(e.out, Message{Commit: &Commit{Number: c.Number, Rows: c.Rows[:n], More: true}})
		c.Rows = c.Rows[n:]
	}
	e.out = append(e.out, Message{Commit: c})
	return nil
}

// What one message has at most, so that it is never longer than maxFrame: so many
// rows of a commit, or chunks of a status; and about so many bytes of rows, of
// instances, of what an owner says at once, or of what one tick moves, to which one
// more is added.
const (
	partRows  = 1024
	partBytes = 1 << 19
)

// firstPart returns how many rows of a commit travel in its first message.
func firstPart(rows []StoredRow) (n int) {
	for size := 0; n < len(rows) && n < partRows && size < partBytes; n++ {
		size += len(rows[n].Value)
	}
	return n
}

// names returns the names of all rows, in parts, to be sealed anew.
func (e *Enclave) names(part int) (out []string, ok bool) {
	keys, ok := []string(nil), part == 1
	switch {
	case e.escrow != nil:
		keys, ok = e.escrow.Keys(part)
	case part > 1:
	case e.owner != nil:
		keys = e.owner.Keys()
	default:
		for _, r := range e.rows {
			keys = append(keys, r.Key)
		}
	}
	if part == 1 {
		out = append(out, rowIdentity, rowTrust, rowSnapshot)
	}
	for _, k := range keys {
		out = append(out, rowMachine+k)
	}
	return out, ok
}

// value returns what a row holds, to be sealed anew.
func (e *Enclave) value(name string) ([]byte, error) {
	k, machine := strings.CutPrefix(name, rowMachine)
	switch {
	case name == rowIdentity:
		secret, err := e.kem.Bytes()
		if err != nil {
			return nil, err
		}
		s := stored{Seed: e.sign.Seed(), KEM: secret, Evidence: e.evidence}
		if s.Trust, err = e.cfg.Trust.digest(); err != nil {
			return nil, err
		}
		return wire.Marshal(s)
	case name == rowTrust:
		return wire.Marshal(e.trusted)
	case name == rowSnapshot:
		return slices.Clone(e.cover), nil
	case machine && e.escrow != nil:
		return e.escrow.Row(k)
	case machine && e.owner != nil:
		return e.owner.Row(k)
	}
	for _, r := range e.rows {
		if r.Key == k {
			return slices.Clone(r.Value), nil
		}
	}
	return nil, errors.New("nobody knows it")
}

// status says what there is, after the end of an earlier page.
func (e *Enclave) status(after Page) *Status {
	s := &Status{Role: e.cfg.Trust.Role, Identity: e.identity, Evidence: e.evidence, Session: e.session != nil}
	if e.group.Check() == nil {
		s.LogKey = e.group.Log.String()
	}
	if e.escrow != nil {
		s.Now, s.Size, s.Witnessed = e.escrow.Now(), e.escrow.Size(), e.escrow.Witnessed()
	}
	if e.owner == nil {
		return s
	}
	o := e.owner
	s.Now, s.Size, s.Witnessed = o.Now(), o.Size(), o.Size()
	seen := map[wire.CertID]bool{}
	if s.Batches = o.Batches(); after == (Page{}) {
		s.Pledges = o.Pledges()
	}
	size := 0
	for _, x := range o.Instances() {
		if bytes.Compare(x.ID[:], after.Instance[:]) <= 0 {
			continue
		}
		if s.More = size > partBytes; s.More {
			break
		}
		s.Instances, size = append(s.Instances, x), size+2048+64*len(x.Given)
	}
	for _, id := range o.Chunks() {
		if bytes.Compare(id[:], after.Chunk[:]) <= 0 {
			continue
		}
		if len(s.Chunks) == partRows {
			s.More = true
			break
		}
		c, _ := o.Chunk(id)
		x := ChunkStatus{ID: id, Holds: o.Holds(id), Whole: len(c.Whole) > 0, Pledge: o.Pledged(id)}
		c.Share, c.Whole, c.Path = nil, nil, nil
		x.Chunk = c
		s.Chunks = append(s.Chunks, x)
		if cert, ok := o.Certificate(id); ok && !seen[c.Cert] {
			seen[c.Cert] = true
			s.Certs = append(s.Certs, cert)
		}
	}
	return s
}

// sameIdentity reports whether two identities are one.
func sameIdentity(a, b wire.Identity) bool {
	return bytes.Equal(a.Sign, b.Sign) && bytes.Equal(a.KEM, b.KEM)
}
