package sim

import (
	"errors"
	"fmt"

	"latchkey/key"
	"latchkey/vault"
	"latchkey/wire"
)

// A Ledger is the simulation's own book of the witnessed log. It knows what may
// follow what from DESIGN.md, not from the vault's code, and takes no entry that
// breaks a rule: then an invariant is broken.
type Ledger struct {
	cast      *Cast
	size      int64
	time      int64 // of the newest entry
	seen      int64 // of the newest head
	chunks    map[wire.ChunkID]*Fate
	order     []wire.ChunkID // in order of birth
	keys      map[key.Point]wire.ChunkID
	instances map[wire.InstanceID]*Course
	courses   []*Course // in order of their locks
	words     map[wire.Hash]int64
	claims    int
	kinds     map[string]int // entries, by kind
}

// A Fate is what the log says of one chunk.
type Fate struct {
	ID     wire.ChunkID
	P      key.Point
	Cert   key.Certificate
	Moment          // now
	Past   []Moment // at every entry that touched it, the present one last
}

// A Moment is where a chunk stood after one entry.
type Moment struct {
	At       vault.Index
	Owner    wire.VaultID
	Epoch    uint32
	B        key.Point
	Instance wire.InstanceID
	Claimed  bool
	Swept    bool
}

// A Course is what the log says of one instance.
type Course struct {
	ID        wire.InstanceID
	Agreement vault.Agreement
	hash      wire.Hash // of the agreement
	Parties   []wire.VaultID
	Locked    vault.Index
	Last      vault.Index
	Opened    bool
	Closed    bool // the contract is over
	Ended     bool // it is settled: every chunk is given
	Aborted   bool
	Broken    bool // a step was reported as failed
	handed    []bool
	acked     []bool
	seq       []uint64
	given     map[wire.ChunkID]wire.VaultID
	outcome   outcome
	turns     *turns // nil: atomic
	waiting   []*pending
	values    []heard
}

func newLedger(c *Cast) *Ledger {
	return &Ledger{
		cast: c, chunks: map[wire.ChunkID]*Fate{}, keys: map[key.Point]wire.ChunkID{},
		instances: map[wire.InstanceID]*Course{}, words: map[wire.Hash]int64{}, kinds: map[string]int{},
	}
}

// errRule is wrapped by whatever an entry breaks.
var errRule = errors.New("the witnessed log breaks a rule")

func rule(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errRule, fmt.Errorf(format, args...))
}

// take folds the next entry of the witnessed log.
func (l *Ledger) take(e vault.Entry) error {
	l.size++
	at := vault.Index(l.size)
	if e.At < l.time {
		return rule("entry %d: time runs back from %d to %d", l.size-1, l.time, e.At)
	}
	l.time = e.At
	what, err := l.fold(e, at)
	l.kinds[what]++
	if err != nil {
		return fmt.Errorf("entry %d, %s: %w", l.size-1, what, err)
	}
	return nil
}

func (l *Ledger) fold(e vault.Entry, at vault.Index) (string, error) {
	switch {
	case e.Genesis != nil:
		if at != 1 || e.Genesis.Format != vault.LogFormat {
			return "genesis", rule("a beginning at %d, in format %d", at-1, e.Genesis.Format)
		}
		return "genesis", nil
	case e.Enrol != nil:
		return "enrol", nil
	case e.Generate != nil:
		return "generate", nil
	case e.Drop != nil:
		return "drop", nil
	case e.Stored != nil:
		return "stored", nil
	case e.Clock != nil:
		_, err := l.clock(e.Clock)
		return "clock", err
	case e.Certify != nil:
		return "certify", l.certify(e.Certify, at)
	case e.Lock != nil:
		return "lock", l.lock(e, at)
	case e.Deposit != nil:
		return "deposit", l.deposit(e, at)
	case e.Hand != nil && e.Hand.Deposit != 0:
		return "hand of a deposit", l.shares(e.Hand.Instance, e.Hand.Role, e.Hand.Prev, e.Hand.Deposit, at, nil)
	case e.Ack != nil && e.Ack.Deposit != 0:
		return "ack of a deposit", l.shares(e.Ack.Instance, e.Ack.Role, e.Ack.Prev, e.Ack.Deposit, at, e.Ack.Sig)
	case e.Hand != nil:
		c, err := l.course(e.Hand.Instance, e.Hand.Role, e.Hand.Prev)
		if err == nil {
			c.handed[e.Hand.Role], c.Last = true, at
		}
		return "hand", err
	case e.Ack != nil:
		c, err := l.course(e.Ack.Instance, e.Ack.Role, e.Ack.Prev)
		if err == nil && l.cast.member(c.Parties[e.Ack.Role]).Identity.Verify("latchkey/ack/v1", c.ID[:], e.Ack.Sig) != nil {
			err = rule("instance %s: party %d did not acknowledge", c.ID.Short(), e.Ack.Role)
		}
		if err == nil {
			c.acked[e.Ack.Role], c.Last = true, at
		}
		return "ack", err
	case e.Run != nil:
		return "run", l.run(e, at)
	case e.Claim != nil:
		return "claim", l.claim(e.Claim, at)
	case e.Swept != nil:
		return "swept", l.swept(e.Swept, at)
	}
	return "nothing", rule("an entry of no kind")
}

func (l *Ledger) clock(c *vault.Clock) (int64, error) {
	h, err := l.cast.Group.Verify(c.Head)
	if err != nil {
		return 0, rule("clock: %w", err)
	}
	return h.Time, nil
}

// set moves a chunk on.
func (f *Fate) set(at vault.Index, change func(*Moment)) {
	change(&f.Moment)
	f.At = at
	f.Past = append(f.Past, f.Moment)
}

// after returns where the chunk stood after the entry before index at+1.
func (f *Fate) after(at vault.Index) (Moment, bool) {
	for _, m := range f.Past {
		if m.At == at {
			return m, true
		}
	}
	return Moment{}, false
}

func (l *Ledger) certify(c *vault.Certify, at vault.Index) error {
	id, err := c.Certificate.ID()
	if err != nil {
		return rule("%w", err)
	}
	if len(c.Points) != int(c.Certificate.N) || len(c.B) != len(c.Points) || len(c.Certificate.Owner) != 1 {
		return rule("certificate %s of %d chunks with %d points", id.Short(), c.Certificate.N, len(c.Points))
	}
	for i, p := range c.Points {
		chunk := key.ChunkIDOf(id, uint32(i))
		if l.chunks[chunk] != nil {
			return rule("chunk %s is born twice", chunk.Short())
		}
		if old, twice := l.keys[p]; twice {
			return rule("chunks %s and %s have one key", old.Short(), chunk.Short())
		}
		l.keys[p] = chunk
		f := &Fate{ID: chunk, P: p, Cert: c.Certificate}
		f.set(at, func(m *Moment) { m.Owner, m.B = c.Certificate.Owner[0], c.B[i] })
		l.chunks[chunk] = f
		l.order = append(l.order, chunk)
	}
	return nil
}

func (l *Ledger) lock(e vault.Entry, at vault.Index) error {
	a := e.Lock.Agreement
	var nonces []vault.Acceptance
	c := &Course{Agreement: a, Locked: at, Last: at, given: map[wire.ChunkID]wire.VaultID{}}
	hash, err := wire.HashOf("latchkey/agreement/v1", a)
	if err != nil {
		return rule("%w", err)
	}
	c.hash = hash
	if a.Escrow != l.cast.Escrow.ID {
		return rule("an agreement that names another escrow is locked")
	}
	if len(e.Lock.Acceptances) != len(a.Parties) || e.At > a.LockBy {
		return rule("%d acceptances of %d parties at %d, to be locked by %d", len(e.Lock.Acceptances), len(a.Parties), e.At, a.LockBy)
	}
	for i, s := range e.Lock.Acceptances {
		party := l.cast.member(a.Parties[i][0])
		if party == nil || s.Body.Agreement != hash || int(s.Body.Role) != i {
			return rule("acceptance %d is of another party or agreement", i)
		}
		body, err := wire.Marshal(s.Body)
		if err != nil {
			return rule("%w", err)
		}
		if party.Identity.Verify("latchkey/accept/v1", body, s.Sig) != nil {
			return rule("%s did not accept", party.Name)
		}
		c.Parties = append(c.Parties, party.ID)
		nonces = append(nonces, s.Body)
	}
	id, err := wire.HashOf("latchkey/instance/v1", nonces)
	if err != nil {
		return rule("%w", err)
	}
	c.ID = wire.InstanceID(id)
	if l.instances[c.ID] != nil {
		return rule("instance %s is locked twice", c.ID.Short())
	}
	if c.outcome, err = outcomeOf(a); err != nil {
		return rule("%w", err)
	}
	if (a.Settle == vault.TitForTat) != (a.Pace != nil) || a.Settle != vault.TitForTat && a.Settle != vault.Atomic {
		return rule("instance %s is settled in a way that is none", c.ID.Short())
	}
	last := a.LockBy
	if x, ok := c.outcome.(*ordering); ok {
		last = x.payBy + 3600
	}
	if a.Pace != nil {
		if _, over := c.outcome.open(); !over {
			return rule("instance %s is settled tit for tat and is not over when it opens", c.ID.Short())
		}
		c.turns = newTurns(c)
		for t := newTurns(c); len(t.next()) > 0; {
			last += t.pace[3] + graceSeconds
		}
	}
	n := len(c.Parties)
	c.handed, c.acked, c.seq = make([]bool, n), make([]bool, n), make([]uint64, n)
	for i, pot := range a.Pots {
		for j, s := range pot {
			f := l.chunks[s.Chunk]
			if _, ok := c.outcome.(*ordering); ok && i == 1 {
				if s.Chunk != (wire.ChunkID{}) || s.Epoch != 0 || e.Lock.Prev[i][j] != 0 {
					return rule("instance %s names a chunk that comes later", c.ID.Short())
				}
				continue
			}
			switch {
			case f == nil:
				return rule("chunk %s is locked and was never certified", s.Chunk.Short())
			case f.Owner != c.Parties[c.outcome.from(i)]:
				return rule("chunk %s is locked by another than its owner", s.Chunk.Short())
			case f.Instance != (wire.InstanceID{}):
				return rule("chunk %s has a second lock", s.Chunk.Short())
			case f.Epoch != s.Epoch:
				return rule("chunk %s is locked at epoch %d by an agreement of epoch %d", s.Chunk.Short(), f.Epoch, s.Epoch)
			case f.Claimed || f.Swept:
				return rule("chunk %s is locked after its claim", s.Chunk.Short())
			case f.Cert.Weight != s.Weight:
				return rule("chunk %s weighs %d, the agreement says %d", s.Chunk.Short(), f.Cert.Weight, s.Weight)
			case f.Cert.Expiry <= last:
				return rule("chunk %s is locked beyond its expiry", s.Chunk.Short())
			case e.Lock.Prev[i][j] != f.At:
				return rule("chunk %s: the entry before is %d, not %d", s.Chunk.Short(), f.At, e.Lock.Prev[i][j])
			}
			f.set(at, func(m *Moment) { m.Instance = c.ID })
		}
	}
	l.instances[c.ID] = c
	l.courses = append(l.courses, c)
	return nil
}

func (l *Ledger) course(id wire.InstanceID, role uint32, prev vault.Index) (*Course, error) {
	c := l.instances[id]
	if c == nil || c.Ended || c.Opened || int(role) >= len(c.Parties) {
		return nil, rule("instance %s is not being prepared, or has no party %d", id.Short(), role)
	}
	if c.Last != prev {
		return nil, rule("instance %s: the entry before is %d, not %d", id.Short(), c.Last, prev)
	}
	return c, nil
}

// awaits reports whether party may be given chunks that another deposits.
func (c *Course) awaits(party int) bool {
	for pot, stakes := range c.Agreement.Pots {
		if _, later := c.outcome.(*ordering); later && pot == 1 {
			continue
		}
		if len(stakes) > 0 && c.outcome.from(pot) != party && c.outcome.mayReceive(pot, party) {
			return true
		}
	}
	return false
}

func (l *Ledger) run(e vault.Entry, at vault.Index) error {
	r := e.Run
	c := l.instances[r.Instance]
	if c == nil || c.Ended {
		return rule("instance %s moves and is not running", r.Instance.Short())
	}
	if c.Last != r.Prev {
		return rule("instance %s: the entry before is %d, not %d", c.ID.Short(), c.Last, r.Prev)
	}
	c.Last = at
	var want []payout
	var over bool
	var err error
	if c.Closed != (r.Kind >= vault.RunTaken && r.Kind <= vault.RunFailed) {
		return rule("instance %s: kind %d, closed %t", c.ID.Short(), r.Kind, c.Closed)
	}
	switch r.Kind {
	case vault.RunTaken, vault.RunLapsed, vault.RunFailed:
		due, err := l.turn(c, e, at)
		if err != nil {
			return err
		}
		return l.exits(c, r, at, due, nil, true)
	case vault.RunOpen:
		for i := range c.Parties {
			if c.awaits(i) && !c.acked[i] {
				return rule("instance %s opens before party %d has its shares", c.ID.Short(), i)
			}
		}
		if c.Opened || e.At > c.Agreement.LockBy {
			return rule("instance %s opens at %d, opened %t, lock by %d", c.ID.Short(), e.At, c.Opened, c.Agreement.LockBy)
		}
		c.Opened = true
		want, over = c.outcome.open()
	case vault.RunAbort:
		if c.Opened || l.time < c.Agreement.LockBy {
			return rule("instance %s is aborted at %d, opened %t, lock by %d", c.ID.Short(), l.time, c.Opened, c.Agreement.LockBy)
		}
		c.Aborted, over = true, true
	case vault.RunDeadline:
		if want, over, err = c.outcome.deadline(l.time); err != nil {
			return rule("instance %s: %w", c.ID.Short(), err)
		}
	case vault.RunDeposit:
		if want, over, err = l.counts(c, e); err != nil {
			return err
		}
		l.kinds["a deposit counts"]++
	case vault.RunReturn:
		if len(c.waiting) == 0 || r.EventAt != c.waiting[0].order.By || l.time < r.EventAt {
			return rule("instance %s: a deposit goes back early, or none does", c.ID.Short())
		}
		l.kinds["a deposit goes back"]++
	case vault.RunReport:
		value, observed, err := l.reported(c, r.Report)
		if err != nil {
			return err
		}
		if r.EventAt > e.At || r.EventAt < e.At-graceSeconds {
			return rule("instance %s hears a value of %d at %d", c.ID.Short(), r.EventAt, e.At)
		}
		h, err := wire.HashOf("latchkey/report/v1", *r.Report)
		if err != nil {
			return rule("%w", err)
		}
		l.words[h] = e.At
		c.values = append(c.values, heard{at, r.Report.Oracle, observed})
		x, ok := c.outcome.(*wager)
		if !ok {
			return rule("instance %s hears a value that its contract does not wait for", c.ID.Short())
		}
		if want, over, err = x.report(value, observed, r.EventAt); err != nil {
			return rule("instance %s: value %d of %d at %d: %w", c.ID.Short(), value, observed, r.EventAt, err)
		}
	case vault.RunWord:
		w := r.Word
		if w == nil || w.Body.Instance != c.ID || int(w.Body.Role) >= len(c.Parties) {
			return rule("instance %s hears a word of nobody", c.ID.Short())
		}
		body, err := wire.Marshal(w.Body)
		if err != nil {
			return rule("%w", err)
		}
		if l.cast.member(c.Parties[w.Body.Role]).Identity.Verify("latchkey/word/v1", body, w.Sig) != nil {
			return rule("instance %s hears %q, which party %d did not say", c.ID.Short(), w.Body.Word, w.Body.Role)
		}
		if w.Body.Seq <= c.seq[w.Body.Role] {
			return rule("instance %s hears word %d of party %d after word %d", c.ID.Short(), w.Body.Seq, w.Body.Role, c.seq[w.Body.Role])
		}
		if r.EventAt > e.At || r.EventAt < e.At-graceSeconds {
			return rule("instance %s hears a word of %d at %d", c.ID.Short(), r.EventAt, e.At)
		}
		c.seq[w.Body.Role] = w.Body.Seq
		h, err := wire.HashOf("latchkey/signed-word/v1", *w)
		if err != nil {
			return rule("%w", err)
		}
		l.words[h] = e.At
		if want, over, err = c.outcome.word(int(w.Body.Role), w.Body.Word, w.Body.Value, r.EventAt); err != nil {
			return rule("instance %s: %w", c.ID.Short(), err)
		}
	default:
		return rule("run of kind %d", r.Kind)
	}
	due := c.payouts(want, over)
	if c.turns != nil && c.Opened { // of what the contract gives, only the first step
		first := c.turns.give(at, e.At)
		for _, list := range c.turns.queue {
			for _, s := range list {
				delete(due, s.Chunk)
			}
		}
		for _, id := range first {
			if due[id] != c.Parties[1-c.turns.side] {
				return rule("instance %s: the books of its steps are wrong", c.ID.Short())
			}
		}
	}
	back := c.over(r, over)
	for id, to := range back {
		due[id] = to
	}
	return l.exits(c, r, at, due, back, over)
}

// payouts says who gets what by a step of the contract.
func (c *Course) payouts(want []payout, over bool) map[wire.ChunkID]wire.VaultID {
	due := map[wire.ChunkID]wire.VaultID{}
	for _, p := range want {
		for _, s := range c.outcome.pick(p, c.given, due) {
			due[s] = c.Parties[p.to]
		}
	}
	if over {
		for pot, stakes := range c.outcome.held() {
			for _, s := range stakes {
				_, gone := c.given[s.Chunk]
				if _, now := due[s.Chunk]; !gone && !now {
					due[s.Chunk] = c.Parties[c.outcome.from(pot)]
				}
			}
		}
	}
	return due
}

// exits compares what leaves an instance with what must, and moves it.
func (l *Ledger) exits(c *Course, r *vault.Run, at vault.Index, due, back map[wire.ChunkID]wire.VaultID, over bool) error {
	if r.Closed != over || len(r.Exits) != len(due) {
		return rule("instance %s: %d chunks leave, closed %t, want %d, %t", c.ID.Short(), len(r.Exits), r.Closed, len(due), over)
	}
	for _, x := range r.Exits {
		f := l.chunks[x.Chunk]
		if f == nil || len(x.To) != 1 || due[x.Chunk] != x.To[0] {
			return rule("instance %s gives chunk %s to another than the contract does", c.ID.Short(), x.Chunk.Short())
		}
		if _, twice := c.given[x.Chunk]; twice {
			return rule("instance %s gives chunk %s twice", c.ID.Short(), x.Chunk.Short())
		}
		if f.Instance != c.ID || f.Epoch+1 != x.Epoch || f.At != x.Prev || f.Claimed {
			return rule("chunk %s leaves instance %s as of entry %d and epoch %d, it is in %s, at %d and %d",
				x.Chunk.Short(), c.ID.Short(), x.Prev, x.Epoch, f.Instance.Short(), f.At, f.Epoch)
		}
		if sum, err := x.R.Plus(x.B); err != nil || sum != f.B {
			return rule("chunk %s: R + B' is not B", x.Chunk.Short())
		}
		if _, ok := back[x.Chunk]; !ok { // what never counted may come again
			c.given[x.Chunk] = x.To[0]
		}
		f.set(at, func(m *Moment) { m.Owner, m.Epoch, m.B, m.Instance = x.To[0], x.Epoch, x.B, wire.InstanceID{} })
	}
	c.Closed, c.Ended = over, over && len(c.given) == c.stakes()
	if over && !c.Ended && c.turns == nil {
		return rule("instance %s is over with %d of %d chunks given", c.ID.Short(), len(c.given), c.stakes())
	}
	if r.Settled != c.Ended {
		return rule("instance %s: settled %t, with %d of %d chunks given", c.ID.Short(), r.Settled, len(c.given), c.stakes())
	}
	return nil
}

func (c *Course) stakes() (n int) {
	for _, pot := range c.outcome.held() {
		n += len(pot)
	}
	return n
}

// graceSeconds is how long after a deadline a word still counts.
const graceSeconds = 2

// ordered verifies who ordered a claim or a sweep.
func (l *Ledger) ordered(owner vault.Recipients, purpose string, order any, escrow wire.VaultID, sig []byte) (wire.VaultID, error) {
	if escrow != l.cast.Escrow.ID {
		return wire.VaultID{}, rule("an order to another escrow")
	}
	who, err := owner.One()
	if err != nil {
		return who, rule("%w", err)
	}
	m := l.cast.member(who)
	b, err := wire.Marshal(order)
	if err != nil || m == nil || m.Identity.Verify(purpose, b, sig) != nil {
		return who, rule("an order that vault %s did not sign", who.Short())
	}
	return who, nil
}

func (l *Ledger) claim(c *vault.Claim, at vault.Index) error {
	who, err := l.ordered(c.Owner, "latchkey/claim/v1", c.Order, c.Order.Escrow, c.Sig)
	if err != nil {
		return err
	}
	for i, o := range c.Order.Chunks {
		f := l.chunks[o.Chunk]
		if f == nil || f.Owner != who || f.Epoch != o.Epoch || f.Instance != (wire.InstanceID{}) || f.Swept || f.At != c.Prev[i] {
			return rule("chunk %s is claimed by another than its owner, at another epoch, or locked", o.Chunk.Short())
		}
		f.set(at, func(m *Moment) { m.Claimed = true })
	}
	l.claims++
	return nil
}

func (l *Ledger) swept(s *vault.Swept, at vault.Index) error {
	who, err := l.ordered(s.Owner, "latchkey/swept/v1", s.Order, s.Order.Escrow, s.Sig)
	if err != nil {
		return err
	}
	for i, o := range s.Order.Chunks {
		f := l.chunks[o.Chunk]
		if f == nil || f.Owner != who || f.Epoch != o.Epoch || !f.Claimed || f.At != s.Prev[i] {
			return rule("chunk %s is swept by another than its owner, or unclaimed", o.Chunk.Short())
		}
		f.set(at, func(m *Moment) { m.Swept = true })
	}
	return nil
}
