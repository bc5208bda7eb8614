package vault_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"latchkey/key"
	"latchkey/vault"
	"latchkey/wire"
)

// A model is an independent reading of an escrow's log: who has which chunk, at
// which epoch, bound to what. It knows the few contracts of the machine's world by
// what they say, not by running them. It shares no code with the vault but the
// decoder of entries and the arithmetic of points.
type model struct {
	t         testing.TB
	at        int64 // of the newest entry
	read      int   // entries
	chunks    map[wire.ChunkID]*modelChunk
	instances map[wire.InstanceID]*modelInstance
	counts    map[string]int // what has happened, by kind
}

type modelChunk struct {
	owner   wire.VaultID
	epoch   uint32
	p, b    key.Point
	weight  uint32
	in      *modelInstance // nil: free
	claimed int64          // how many entries the log had with its claim; 0: none
	swept   bool
}

type modelInstance struct {
	contract      string
	parties       []wire.VaultID
	depositor     map[wire.ChunkID]wire.VaultID
	left          map[wire.ChunkID]bool // not given yet
	handed, acked map[uint32]bool
	open, over    bool
	until         int64 // LockBy, then the deadline of its phase
	wait          int64 // how long a phase lasts
	heard         map[uint32]uint64
	missing       []uint32 // weights that the later pot misses
	waiting       *modelDeposit
}

// modelDeposit is one that waits.
type modelDeposit struct {
	entry  vault.Index
	chunks []wire.ChunkID
	by     int64
	acked  bool
}

func newModel(t testing.TB, counts map[string]int) *model {
	return &model{t: t, chunks: map[wire.ChunkID]*modelChunk{}, instances: map[wire.InstanceID]*modelInstance{}, counts: counts}
}

// must stops the test unless what the log says is allowed.
func (m *model) must(ok bool, format string, args ...any) {
	m.t.Helper()
	if !ok {
		m.t.Fatalf("entry %d: "+format, append([]any{m.read}, args...)...)
	}
}

// catchUp reads what is new in the log.
func (m *model) catchUp(entries [][]byte) {
	m.t.Helper()
	for ; m.read < len(entries); m.read++ {
		e, err := vault.ParseEntry(entries[m.read])
		m.must(err == nil, "%v", err)
		m.must(e.At >= m.at, "its time %d is before %d", e.At, m.at)
		m.at = e.At
		m.entry(e)
	}
}

func (m *model) entry(e vault.Entry) {
	m.t.Helper()
	switch {
	case e.Certify != nil:
		m.counts["certify"]++
		id, err := e.Certify.Certificate.ID()
		m.must(err == nil, "%v", err)
		for i, p := range e.Certify.Points {
			c := key.ChunkIDOf(id, uint32(i))
			m.must(m.chunks[c] == nil, "chunk %s is made twice", c.Short())
			m.chunks[c] = &modelChunk{owner: e.Certify.Certificate.Owner[0], p: p, b: e.Certify.B[i], weight: e.Certify.Certificate.Weight}
		}
	case e.Lock != nil:
		m.lock(e.Lock)
	case e.Deposit != nil:
		m.deposit(e.Deposit)
	case e.Hand != nil && e.Hand.Deposit != 0:
		m.late(e.Hand.Instance, e.Hand.Deposit)
		m.must(e.Hand.Role == 1, "party %d hands a deposit over", e.Hand.Role)
	case e.Ack != nil && e.Ack.Deposit != 0:
		d := m.late(e.Ack.Instance, e.Ack.Deposit)
		m.must(e.Ack.Role == 0 && !d.acked, "party %d acknowledges a deposit, or twice", e.Ack.Role)
		d.acked = true
	case e.Hand != nil:
		in := m.waiting(e.Hand.Instance)
		m.must(!in.handed[e.Hand.Role], "party %d hands over twice", e.Hand.Role)
		in.handed[e.Hand.Role] = true
	case e.Ack != nil:
		in := m.waiting(e.Ack.Instance)
		m.must(!in.acked[e.Ack.Role], "party %d acknowledges twice", e.Ack.Role)
		in.acked[e.Ack.Role] = true
	case e.Run != nil:
		m.run(e.Run)
	case e.Claim != nil:
		m.counts["claim"]++
		for _, o := range e.Claim.Order.Chunks {
			c := m.ordered(o, e.Claim.Owner)
			m.must(!c.swept, "chunk %s is claimed and swept", o.Chunk.Short())
			if c.claimed == 0 { // in an order with one that is not
				c.claimed = int64(m.read) + 1
			}
		}
	case e.Swept != nil:
		m.counts["swept"]++
		for _, o := range e.Swept.Order.Chunks {
			c := m.ordered(o, e.Swept.Owner)
			m.must(c.claimed > 0, "chunk %s is swept and was never claimed", o.Chunk.Short())
			c.swept = true
		}
	}
}

func (m *model) ordered(o vault.ChunkEpoch, owner vault.Recipients) *modelChunk {
	m.t.Helper()
	c := m.chunks[o.Chunk]
	m.must(c != nil && len(owner) == 1 && c.owner == owner[0], "an order for chunk %s of somebody else", o.Chunk.Short())
	m.must(c.epoch == o.Epoch, "an order for chunk %s at %d, it is at %d", o.Chunk.Short(), o.Epoch, c.epoch)
	m.must(c.in == nil, "an order for chunk %s, which is locked", o.Chunk.Short())
	return c
}

func (m *model) lock(l *vault.Lock) {
	m.t.Helper()
	m.counts["lock"]++
	a := l.Agreement
	in := &modelInstance{
		contract: string(bytes.Fields(a.Source)[1]), depositor: map[wire.ChunkID]wire.VaultID{}, left: map[wire.ChunkID]bool{},
		handed: map[uint32]bool{}, acked: map[uint32]bool{}, heard: map[uint32]uint64{}, until: a.LockBy,
	}
	for _, p := range a.Parties {
		in.parties = append(in.parties, p[0])
	}
	if len(a.Terms) > len(a.Pots) {
		in.wait = a.Terms[len(a.Pots)]
	}
	id := instanceOf(m.t, l.Acceptances)
	m.must(m.instances[id] == nil, "instance %s is locked twice", id.Short())
	m.must(m.at < a.LockBy, "locked at %d, to be locked by %d", m.at, a.LockBy)
	for i, pot := range a.Pots {
		from := in.parties[i] // in all contracts of this world pot i is party i's
		for _, s := range pot {
			c := m.chunks[s.Chunk]
			if in.contract == "Later" && i == 1 {
				m.must(s.Chunk == wire.ChunkID{}, "chunk %s is there already", s.Chunk.Short())
				in.missing = append(in.missing, s.Weight)
				continue
			}
			m.must(c != nil && c.owner == from, "chunk %s is staked by somebody who does not own it", s.Chunk.Short())
			m.must(c.in == nil, "chunk %s is locked twice", s.Chunk.Short())
			m.must(c.claimed == 0 && !c.swept, "chunk %s is locked and claimed", s.Chunk.Short())
			m.must(c.epoch == s.Epoch, "chunk %s is locked at %d and is at %d", s.Chunk.Short(), s.Epoch, c.epoch)
			c.in = in
			in.depositor[s.Chunk], in.left[s.Chunk] = from, true
		}
	}
	m.instances[id] = in
}

// deposit takes chunks that are put in later: of the party that fills the pot, free,
// and of the weights that are missing, in order.
func (m *model) deposit(d *vault.Deposit) {
	m.t.Helper()
	m.counts["deposit"]++
	in := m.instances[d.Order.Instance]
	m.must(in != nil && in.contract == "Later" && in.open && !in.over && in.waiting == nil && d.Order.Pot == 1, "a deposit into what does not wait for one")
	m.must(m.at < d.Order.By && d.Order.By < in.until, "a deposit at %d waits until %d, its phase ends at %d", m.at, d.Order.By, in.until)
	w := &modelDeposit{entry: vault.Index(m.read + 1), by: d.Order.By}
	m.must(len(d.Order.Chunks) > 0 && len(d.Order.Chunks) <= len(in.missing), "%d chunks where %d are missing", len(d.Order.Chunks), len(in.missing))
	for i, ce := range d.Order.Chunks {
		c := m.chunks[ce.Chunk]
		m.must(c != nil && c.owner == in.parties[1], "chunk %s is deposited by somebody who does not own it", ce.Chunk.Short())
		m.must(c.in == nil && c.claimed == 0 && !c.swept, "chunk %s is deposited and not free", ce.Chunk.Short())
		m.must(c.epoch == ce.Epoch && c.weight == in.missing[i], "chunk %s of %d units is deposited at %d, it is at %d and %d are missing", ce.Chunk.Short(), c.weight, ce.Epoch, c.epoch, in.missing[i])
		c.in = in
		in.depositor[ce.Chunk], in.left[ce.Chunk] = in.parties[1], true
		w.chunks = append(w.chunks, ce.Chunk)
	}
	in.waiting = w
}

// late returns a deposit that waits.
func (m *model) late(id wire.InstanceID, entry vault.Index) *modelDeposit {
	m.t.Helper()
	in := m.instances[id]
	m.must(in != nil && in.open && !in.over && in.waiting != nil && in.waiting.entry == entry, "shares of a deposit that does not wait")
	return in.waiting
}

func instanceOf(t testing.TB, all []vault.SignedAcceptance) wire.InstanceID {
	t.Helper()
	var bodies []vault.Acceptance
	for _, a := range all {
		bodies = append(bodies, a.Body)
	}
	h, err := wire.HashOf("latchkey/instance/v1", bodies)
	if err != nil {
		t.Fatal(err)
	}
	return wire.InstanceID(h)
}

// waiting returns an instance that is locked and not open.
func (m *model) waiting(id wire.InstanceID) *modelInstance {
	m.t.Helper()
	in := m.instances[id]
	m.must(in != nil && !in.open && !in.over, "instance %s is not waiting to open", id.Short())
	return in
}

// receiver returns who gets a chunk, the zero id for nobody yet, and whether the
// instance is over with this step.
func (in *modelInstance) receiver(r *vault.Run) (to func(from wire.VaultID) wire.VaultID, over bool) {
	other := func(from wire.VaultID) wire.VaultID {
		if from == in.parties[0] {
			return in.parties[1]
		}
		return in.parties[0]
	}
	back := func(from wire.VaultID) wire.VaultID { return from }
	switch {
	case r.Kind == vault.RunAbort:
		return back, true
	case in.contract == "Swap" || in.contract == "Pay":
		return other, true
	case r.Kind == vault.RunReturn:
		return back, false
	case r.Kind == vault.RunDeposit && len(in.missing) > 0:
		return nil, false
	case r.Kind == vault.RunDeposit:
		return other, true
	case r.Kind == vault.RunOpen:
		return nil, false
	case in.contract == "Diary" && r.Kind == vault.RunDeadline:
		return other, true
	case in.contract == "Diary":
		return nil, false
	case in.contract == "Hold" && r.Kind == vault.RunWord && r.Word.Body.Word == "release":
		return other, true
	}
	return back, true // Hold: refund, or silence
}

func (m *model) run(r *vault.Run) {
	m.t.Helper()
	m.counts[[...]string{1: "open", 2: "word", 3: "deadline", 4: "abort", 9: "a deposit counts", 10: "a deposit goes back"}[r.Kind]]++
	in := m.instances[r.Instance]
	m.must(in != nil && !in.over, "a step of an instance that is unknown or over")
	switch r.Kind {
	case vault.RunOpen:
		m.must(!in.open && m.at <= in.until, "opened twice, or at %d after %d", m.at, in.until)
		m.must(in.acked[1] && (in.contract != "Swap" || in.acked[0]), "opened before everybody has what it needs")
		in.open, in.until = true, r.EventAt+in.wait
	case vault.RunWord:
		b := r.Word.Body
		m.must(in.open && r.EventAt < in.until, "a word at %d, until %d", r.EventAt, in.until)
		m.must(b.Instance == r.Instance && b.Seq > in.heard[b.Role], "word %d of party %d after word %d", b.Seq, b.Role, in.heard[b.Role])
		m.must((b.Word == "refund") == (b.Role == 1), "party %d says %q", b.Role, b.Word)
		in.heard[b.Role] = b.Seq
		in.until = r.EventAt + in.wait
	case vault.RunDeadline:
		m.must(in.open && m.at >= in.until, "a deadline at %d, it is %d", in.until, m.at)
	case vault.RunAbort:
		m.must(!in.open && m.at >= in.until, "aborted at %d, to be locked by %d", m.at, in.until)
	}
	late := len(in.left) // in a step that moves no more than some of them
	switch w := in.waiting; r.Kind {
	case vault.RunDeposit:
		m.must(w != nil && w.entry == r.Deposit && w.acked && r.EventAt == m.at && m.at <= w.by, "a deposit counts that is not acknowledged, or too late")
		in.missing, in.waiting = in.missing[len(w.chunks):], nil
	case vault.RunReturn:
		m.must(w != nil && w.by == r.EventAt && m.at >= w.by, "a deposit goes back at %d", m.at)
		late, in.waiting = len(w.chunks), nil
	}
	to, over := in.receiver(r)
	m.must(r.Closed == over && (over || r.Kind == vault.RunReturn && len(r.Exits) == late || len(r.Exits) == 0), "closed: %t, want %t, with %d exits", r.Closed, over, len(r.Exits))
	for _, x := range r.Exits {
		c := m.chunks[x.Chunk]
		m.must(c != nil && c.in == in && in.left[x.Chunk], "chunk %s leaves an instance that does not have it", x.Chunk.Short())
		want := to(in.depositor[x.Chunk])
		m.must(len(x.To) == 1 && x.To[0] == want, "chunk %s goes to %s, want %s", x.Chunk.Short(), x.To[0].Short(), want.Short())
		m.must(x.Epoch == c.epoch+1, "chunk %s leaves at %d after %d", x.Chunk.Short(), x.Epoch, c.epoch)
		sum, err := x.R.Plus(x.B)
		m.must(err == nil && sum == c.b, "chunk %s: R + B is not the B before", x.Chunk.Short())
		c.owner, c.epoch, c.b, c.in = want, x.Epoch, x.B, nil
		delete(in.left, x.Chunk)
	}
	in.over = over
	m.must(!over || len(in.left) == 0, "the instance is over, and %d chunks are in it", len(in.left))
}

// secrets compares all shares that there are with what the log says: the owner's
// and the escrow's make the key, nobody else's do, and a key is whole only where
// its claim was witnessed.
func (m *model) secrets(w *world) {
	m.t.Helper()
	for id, c := range m.chunks {
		row := w.rows["b"+string(id[:])]
		if c.swept {
			m.must(row == nil, "chunk %s is swept, and the escrow keeps its share", id.Short())
		} else {
			m.must(len(row) > 4 && binary.BigEndian.Uint32(row) == c.epoch, "chunk %s: the escrow's share is not of epoch %d", id.Short(), c.epoch)
		}
		var b key.Share
		if !c.swept {
			var err error
			b, err = key.ParseShare(c.p.Type(), row[4:])
			m.must(err == nil && b.Public() == c.b, "chunk %s: the escrow's share is not that of B", id.Short())
		}
		for _, o := range w.owners {
			k, ok := o.o.Chunk(id)
			if !ok {
				continue
			}
			if k.Whole != nil {
				m.must(c.owner == o.id && c.claimed > 0 && c.claimed <= w.size, "%s has the key of chunk %s, which is not claimed, or not witnessed", o.name, id.Short())
			}
			if len(k.Share) == 0 || c.swept {
				continue
			}
			a, err := key.ParseShare(c.p.Type(), k.Share)
			m.must(err == nil, "%v", err)
			_, err = key.Combine(a, b, c.p)
			mine := c.owner == o.id
			if mine && k.ShareAt == c.epoch {
				m.must(err == nil, "%s's share of chunk %s does not make its key: %v", o.name, id.Short(), err)
			}
			if err == nil && !mine {
				m.must(c.in != nil && (o.id == c.in.parties[0] || o.id == c.in.parties[1]), "%s could make the key of chunk %s, which is not its own", o.name, id.Short())
			}
		}
	}
}
