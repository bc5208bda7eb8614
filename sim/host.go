package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"

	"latchkey/escrow"
	"latchkey/head"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/wire"
)

// A Host is one process of the escrow: the vault's machine, the disk under it,
// and the untrusted host around both. A world has one to begin with; an evil
// host clones it, and then two serve clients under one name.
type Host struct {
	w       *World
	Name    string
	Disk    *Disk
	m       *vault.Escrow // nil: down
	boot    int           // counts starts, over all hosts of the world
	flight  []decided     // blocks on their way to the disk
	held    []held        // answers that may not leave yet
	note    []byte        // the newest witnessed head, its size and its time
	noted   int64
	time    int64
	feed    *escrow.Feed
	digests map[int64]uint64 // of the machine, by the size of its log
	digest  uint64           // now
	clock   int64            // its clock when it last spoke; never runs backwards
	acked   int64            // answers that left rest on so many entries
	forged  bool             // its TEE is broken: entries come from elsewhere
}

// decided is a block that is not durable yet.
type decided struct {
	block    vault.Block
	entries  []vault.Entry
	snapshot *vault.Snapshot // goes with it
}

// held is an answer that waits for the disk and for the witnesses.
type held struct {
	to   *Client
	boot int // of the client: its session dies with it
	q    vault.Request
	r    vault.Reply
	end  int64 // entries that must be durable
	hold int64 // entries that must be witnessed
}

func (w *World) newHost(name string, d *Disk) *Host {
	return &Host{w: w, Name: name, Disk: d, feed: escrow.NewFeed(), digests: map[int64]uint64{}}
}

// Clone starts nothing: it copies the disk, and what the host knows.
func (h *Host) Clone(name string, d *Disk) *Host {
	n := h.w.newHost(name, d)
	n.digests = maps.Clone(h.digests)
	for i, raw := range d.entries {
		if e, err := n.w.parse(raw); err == nil {
			n.feed.Add(int64(i), e)
		}
	}
	if h.noted <= d.size() {
		n.note, n.noted, n.time = h.note, h.noted, h.time
	}
	return n
}

// Up reports whether the process runs.
func (h *Host) Up() bool { return h.m != nil || h.forged }

// Start starts the process from what is durable, and compares what it became
// with what it was when its log had the same size.
func (h *Host) Start() {
	w := h.w
	if h.m != nil {
		return
	}
	w.boots++
	h.boot = w.boots
	m, err := vault.NewEscrow(vault.EscrowConfig{
		Origin: origin, Identity: w.cast.Escrow.Identity, Sign: w.cast.Escrow.Sign, Group: w.group,
		Evidence: []byte("evidence of the escrow"), Digest: w.cast.Escrow.Digest, Sealer: w.sealer(&w.cast.Escrow, h.boot),
	})
	if err != nil {
		w.fail("start %s: %w", h.Name, err)
		return
	}
	if h.Disk.size() == 0 {
		b, err := m.Start(0)
		if err != nil {
			w.fail("start %s: %w", h.Name, err)
			return
		}
		h.m = m
		h.decide(b)
		return
	}
	first := int64(0)
	if s := h.Disk.snapshot; s != nil && h.boot%4 > 0 { // and at times from the whole log
		if err := m.Restore(s.Cover, s.Parts); err != nil {
			w.fail("%s does not start again: %w", h.Name, err)
			return
		}
		first, w.restored = s.Size, w.restored+1
	}
	for _, raw := range h.Disk.entries[first:] {
		if err := m.Replay(raw); err != nil {
			w.fail("%s does not start again: %w", h.Name, err)
			return
		}
	}
	if err := m.Load(rowsOf(h.Disk.rows)); err != nil {
		w.fail("%s does not start again: %w", h.Name, err)
		return
	}
	if h.acked > m.Size() {
		w.fail("%s acknowledged %d entries and has %d after a restart", h.Name, h.acked, m.Size())
	}
	h.m = m
	h.digest = w.escrowDigest.sum(m)
	if want, ok := h.digests[m.Size()]; ok && want != h.digest {
		w.fail("%s replayed to %d entries differs from what it was live", h.Name, m.Size())
	}
	h.clock = min(h.clock, m.Now()) // the log knows less than the last head did
}

// Crash ends the process. Of the blocks in flight, the first keep had reached
// the disk; nobody hears an answer.
func (h *Host) Crash(keep int) {
	if h.m == nil {
		return
	}
	h.m = nil
	h.flush(keep)
	h.flight, h.held = nil, nil
}

// decide takes a block that the machine decided on.
func (h *Host) decide(b vault.Block) {
	h.digest = h.w.escrowDigest.sum(h.m)
	h.digests[h.m.Size()] = h.digest
	if now := h.m.Now(); now < h.clock {
		h.w.fail("the clock of %s runs back from %d to %d", h.Name, h.clock, now)
	} else {
		h.clock = now
	}
	if len(b.Entries) == 0 && len(b.Rows) == 0 {
		return
	}
	d := decided{block: b}
	for _, raw := range b.Entries {
		e, err := h.w.parse(raw)
		if err != nil {
			h.w.fail("%s decided on an entry that does not parse: %w", h.Name, err)
			return
		}
		d.entries = append(d.entries, e)
		if e.Certify != nil {
			h.w.certified(e.Certify)
		}
	}
	h.flight = append(h.flight, d)
	h.w.appends += len(b.Entries)
	for _, r := range b.Rows {
		h.share(r)
	}
}

// Snapshot lets the machine write down its state. It goes to the disk as blocks do.
func (h *Host) Snapshot() {
	if h.m == nil {
		return
	}
	s, err := h.m.Snapshot()
	if err != nil {
		h.w.fail("snapshot of %s: %w", h.Name, err)
		return
	}
	if now := h.w.escrowDigest.sum(h.m); now != h.digest {
		h.w.fail("%s changed with its snapshot", h.Name)
	}
	for _, p := range s.Parts {
		h.w.check(h.w.secrets.leaks(string(p)))
	}
	h.flight = append(h.flight, decided{block: vault.Block{First: s.Size}, snapshot: &s})
}

// share learns the escrow's share from a row of its table.
func (h *Host) share(r vault.Row) {
	if len(r.Key) != 33 || r.Key[0] != 'b' || len(r.Value) != 36 {
		return
	}
	id := wire.ChunkID([]byte(r.Key[1:]))
	p, ok := h.w.points[id]
	if !ok {
		return
	}
	b, err := key.ParseShare(p.Type(), r.Value[4:])
	if err != nil {
		h.w.fail("a share row of %s: %w", h.Name, err)
		return
	}
	if binary.BigEndian.Uint32([]byte(r.Value)) == 0 {
		h.w.secrets.born(id, p, b)
	}
	h.w.check(h.w.secrets.learn("escrow", id, b))
}

// flush makes up to n blocks in flight durable.
func (h *Host) flush(n int) {
	for ; n > 0 && len(h.flight) > 0; n-- {
		d := h.flight[0]
		h.flight = h.flight[1:]
		first := h.Disk.size()
		if err := h.Disk.write(d.block); err != nil {
			h.w.fail("disk of %s: %w", h.Name, err)
			return
		}
		if d.snapshot != nil {
			h.Disk.snapshot = d.snapshot
		}
		for i, e := range d.entries {
			h.feed.Add(first+int64(i), e)
		}
	}
}

// Flush makes up to n blocks durable and lets go what waited for that.
func (h *Host) Flush(n int) {
	h.flush(n)
	h.release()
}

// release sends the answers that rest on nothing that could still be lost.
func (h *Host) release() {
	if h.m == nil {
		return
	}
	var rest []held
	for _, x := range h.held {
		if x.end > h.Disk.size() || x.hold > h.m.Witnessed() && !h.w.cfg.InsecureHold {
			rest = append(rest, x)
			continue
		}
		h.acked = max(h.acked, x.end)
		x.to.arrive(x, h)
	}
	h.held = rest
}

// Enrol makes a client's vault known, as a handshake does.
func (h *Host) Enrol(m *Member) {
	if h.m == nil {
		return
	}
	b, err := h.m.Enrol(m.Identity, []byte("evidence of "+m.Name), m.Digest)
	if err != nil {
		h.w.fail("enrol %s: %w", m.Name, err)
		return
	}
	h.decide(b)
}

// Receive takes a request in the name of a client: what its vault said in a
// session, or what somebody says who has its keys. It returns the reason of a
// refusal.
func (h *Host) Receive(from *Client, raw []byte) error {
	if h.m == nil {
		return nil
	}
	w := h.w
	q, err := vault.ParseRequest(raw)
	var a vault.Answer
	if err == nil {
		a, err = h.m.Handle(from.ID, q, w.rnd)
	}
	if err != nil {
		w.refusals++
		if now := w.escrowDigest.sum(h.m); now != h.digest {
			w.fail("%s refused and changed: %w", h.Name, err)
		}
		w.check(w.secrets.leaks(err.Error()))
		a = vault.Answer{Reply: vault.Reply{Refused: &vault.Refused{Reason: err.Error()}}}
	} else {
		h.decide(a.Block)
	}
	h.held = append(h.held, held{from, from.boot, q, a.Reply, h.m.Size(), a.Hold})
	return err
}

// Due does what time has brought.
func (h *Host) Due() {
	for range 20 {
		if h.m == nil {
			return
		}
		b, err := h.m.Due(h.w.rnd)
		if err != nil {
			h.w.fail("due: %w", err)
			return
		}
		if len(b.Entries) == 0 {
			return
		}
		h.decide(b)
	}
}

// Forge writes entries that no machine decided on, as whoever broke the escrow's
// TEE can, and has them witnessed: the witnesses see nothing wrong with them. The
// ledger does not learn of it.
func (h *Host) Forge(entries ...vault.Entry) error {
	h.Crash(1 << 30)
	h.forged = true
	for _, e := range entries {
		raw, err := wire.Marshal(e)
		if err != nil {
			return err
		}
		if err := h.Disk.write(vault.Block{First: h.Disk.size(), Entries: [][]byte{raw}}); err != nil {
			return err
		}
		h.feed.Add(h.Disk.size()-1, e)
	}
	root, err := h.Disk.root(h.Disk.size())
	if err != nil {
		return err
	}
	signed, err := head.SignCheckpoint(head.Checkpoint{Origin: origin, Size: h.Disk.size(), Root: root}, h.w.cast.Escrow.Sign)
	if err != nil {
		return err
	}
	note, lines := h.cosigned(signed, h.Disk.size(), 15, 0)
	if lines < h.w.group.K {
		return errors.New("the witnesses do not follow")
	}
	c, err := h.w.group.Verify(note)
	if err == nil {
		h.note, h.noted, h.time = note, c.Size, c.Time
	}
	return err
}

// Round asks witnesses to cosign the head, all of whose entries are durable by
// then. reach and lose have a bit for each witness: whether it is asked, and
// whether it dies between its memory and its signature.
func (h *Host) Round(reach, lose uint) {
	if h.m == nil {
		return
	}
	h.flush(len(h.flight))
	h.release()
	signed, err := h.m.Head()
	if err != nil {
		h.w.fail("head of %s: %w", h.Name, err)
		return
	}
	size := h.m.Size()
	note, lines := h.cosigned(signed, size, reach, lose)
	if lines < h.w.group.K {
		return
	}
	h.w.check(h.Present(note, size))
}

// cosigned collects cosignatures under a signed head.
func (h *Host) cosigned(signed []byte, size int64, reach, lose uint) (note []byte, lines int) {
	note = signed
	for i := range h.w.witnesses {
		x := &h.w.witnesses[i]
		if reach>>i&1 == 0 || x.seen.Size > size && !x.liar { // it would say so
			continue
		}
		line, err := x.cosign(h.w.group, head.Request{Old: x.seen.Size, Proof: h.Disk.consistency(x.seen.Size, size), Signed: signed}, h.w.now, lose>>i&1 == 1)
		if err == nil && line != nil {
			note = append(note, line...)
			lines++
		}
	}
	return note, lines
}

// Present shows the machine a head with cosignatures, and lets go what they set
// free. An evil host may present what no quorum signed.
func (h *Host) Present(note []byte, size int64) error {
	if err := h.m.Cosigned(note); err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	h.clock = max(h.clock, h.m.Now())
	if ahead := h.clock - h.w.now; ahead > maxSkew && h.w.cfg.Liars <= h.w.group.F {
		h.w.fail("the clock of %s is %d seconds ahead", h.Name, ahead)
	}
	h.note, h.noted, h.time = note, size, h.m.Now()
	h.w.truth(h, size)
	h.w.ledger.seen = max(h.w.ledger.seen, h.time)
	h.release()
	return nil
}

// String names the host and its log.
func (h *Host) String() string { return fmt.Sprintf("%s (%d entries)", h.Name, h.Disk.size()) }
