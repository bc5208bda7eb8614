package enclave

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"

	"latchkey/vault"
	"latchkey/vault/session"
	"latchkey/wire"
)

// maxDueRounds bounds the work of one Tick; what is left waits for the next.
// maxParked bounds the requests that wait for what they ask for.
const (
	maxDueRounds = 16
	maxParked    = 1024
)

// startEscrow begins a new log, or replays the one that the host brought back
// and compares it with what was sealed.
func (e *Enclave) startEscrow(rows []vault.Row, size int64, root wire.Hash) error {
	m, err := vault.NewEscrow(vault.EscrowConfig{
		Origin: e.cfg.Trust.Origin, Identity: e.identity, Sign: e.sign, Group: e.group, Evidence: e.evidence, Sealer: e.mailbox,
		SnapshotEvery: e.cfg.SnapshotEvery,
	})
	if err != nil {
		return err
	}
	e.escrow = m
	if e.durable == 0 { // the very first start; time begins with the first witnessed head
		return e.add(m.Start(0))
	}
	if first := size - int64(len(e.replay)); first != 0 { // else the whole log is here
		if err := e.restore(m, first); err != nil {
			return err
		}
	}
	for _, entry := range e.replay {
		if err := m.Replay(entry); err != nil {
			return err
		}
	}
	if m.Size() != size || wire.Hash(m.Root()) != root {
		return fmt.Errorf("%w: the log has %d entries with root %s, sealed were %d with root %s; bring back the whole data folder, of one moment",
			errTable, m.Size(), wire.Hash(m.Root()).Short(), size, root.Short())
	}
	e.dropParts()
	return m.Load(rows)
}

// add takes a block into the commit in the making.
func (e *Enclave) add(b vault.Block, err error) error {
	if err != nil {
		return err
	}
	if len(b.Entries) > 0 {
		if len(e.block.Entries) == 0 {
			e.block.First = b.First
		}
		e.block.Entries = append(e.block.Entries, b.Entries...)
		for _, entry := range b.Entries {
			e.bytes += len(entry)
		}
	}
	e.keep(b.Rows)
	return nil
}

// pendingEntries takes the block out of the commit in the making.
func (e *Enclave) pendingEntries() vault.Block {
	b := e.block
	e.block = vault.Block{}
	return b
}

// doEscrow answers a call to the escrow's vault; its number is that of do.
func (e *Enclave) doEscrow(x turn) (Result, int64, error) {
	switch c := x.call; {
	case c.Greet != nil:
		b, err := e.greet(c.Greet.Bytes)
		return Result{Bytes: b}, 0, err
	case c.Frame != nil:
		return e.frame(x)
	case c.Lock != nil:
		a, err := e.escrow.LockAside(*c.Lock, x.ran, rand.Reader)
		if err := e.add(a.Block, err); err != nil {
			return Result{}, 0, err
		}
		if a.Explore != nil {
			return Result{}, 0, &laterError{a.Explore}
		}
		return Result{Locked: a.Reply.Locked}, 0, nil // durable; that it is witnessed, the log says
	case c.Cosigned != nil:
		return Result{}, 0, e.cosigned(c.Cosigned.Bytes)
	case c.Tick != nil:
		e.ticked = true
		full, err := map[wire.VaultID]error{}, fmt.Errorf("vaults of this device have begun %d chunks here, which are all that they may (limits.device_chunks); use those, or ask the operator", c.Tick.Most)
		for _, v := range c.Tick.Full {
			full[v] = err
		}
		e.escrow.SetFull(full)
		var r Result
		for range maxDueRounds {
			b, err := e.escrow.Due(rand.Reader)
			if err := e.add(b, err); err != nil { // what cannot go on stops neither the log nor the clock
				r.Stuck = err.Error()
			}
			if len(b.Entries) == 0 || e.bytes >= partBytes { // the rest waits for the next
				break
			}
		}
		if err := e.snapshot(); err != nil {
			r.Stuck = err.Error()
		}
		h, err := e.escrow.Head()
		r.Bytes, r.Busy = h, &Busy{Work: e.escrow.Work(), Waiting: e.turns.n, Exploring: len(e.asides), Held: len(e.held)}
		return r, 0, err
	}
	return Result{}, 0, errors.New("not a call to a vault in the escrow's role")
}

func (e *Enclave) cosigned(note []byte) error {
	if err := e.escrow.Cosigned(note); err != nil {
		return err
	}
	now := e.escrow.Now()
	if now == e.shown { // of one second the facts are one
		return nil
	}
	d, err := e.ownDigest(now)
	if err == nil {
		e.escrow.SetDigest(d)
		e.shown = now
	}
	return err
}

// greet appraises a client vault and opens a session with it. It replaces an
// older session only when the caller has shown that it holds the new keys.
func (e *Enclave) greet(raw []byte) ([]byte, error) {
	h, err := session.ParseHello(raw)
	if err != nil {
		return nil, err
	}
	if e.escrow.Now() == 0 {
		return nil, errors.New("no head of this escrow was witnessed yet, so it does not know the time; try again in a second")
	}
	r, err := e.appraise(h.From, h.Evidence, e.escrow.Now())
	if err != nil {
		return nil, err
	}
	if err := e.add(e.escrow.Enrol(h.From, h.Evidence, r.EvidenceDigest())); err != nil {
		return nil, err
	}
	s, w, err := session.Answer(h, e.identity, e.evidence, e.sign)
	if err != nil {
		return nil, err
	}
	var keep [][16]byte
	for _, id := range e.byPeer[s.Peer] {
		if old := e.sessions[id]; old != nil && old.Live() {
			keep = append(keep, id)
		} else {
			delete(e.sessions, id)
		}
	}
	e.sessions[s.ID] = s
	e.byPeer[s.Peer] = append(keep, s.ID)
	return w, nil
}

// open opens the frame of a call, and reports whether there is one and a session for it.
func (e *Enclave) open(x *turn) bool {
	if x.call.Frame == nil || x.bad != nil {
		return false
	}
	s := e.sessions[x.frame.Session]
	if s == nil {
		return false
	}
	o := &opened{s: s, first: !s.Live()}
	x.opened = o
	var plain []byte
	if plain, o.err = s.Open(x.frame); o.err == nil {
		o.q, o.bad = vault.ParseRequest(plain)
	}
	return true
}

// frame decides a request of a session. The first that opens shows that its vault holds
// this session's keys, which ends its older sessions, with what they still had to ask.
func (e *Enclave) frame(x turn) (Result, int64, error) {
	switch {
	case x.bad != nil:
		return Result{}, 0, x.bad
	case e.sessions[x.frame.Session] == nil, x.opened == nil && !e.open(&x):
		return Result{}, 0, errNoSession
	case x.opened.err != nil:
		return Result{}, 0, x.opened.err
	}
	s, q, err := x.opened.s, x.opened.q, x.opened.bad
	if x.opened.first {
		for _, id := range e.byPeer[s.Peer] {
			if id != s.ID {
				delete(e.sessions, id)
			}
		}
		e.byPeer[s.Peer] = [][16]byte{s.ID}
	}
	if err == nil && q.Lock != nil {
		err = errors.New("a lock is brought to the escrow's host, not in a session: its outcomes are explored beside all else")
	}
	if err != nil {
		return refuse(s, x.frame.N, err)
	}
	if x.word != nil {
		a, err := e.escrow.Word(x.word, rand.Reader)
		return e.reply(s, x.frame.N, a, err)
	}
	return e.request(s, x.frame.N, q, len(e.parked) < maxParked)
}

// request decides a request of a session. One that comes too early waits, if it
// may, for the entries that bring what it asks for, or for the next tick.
func (e *Enclave) request(s *session.Session, n uint64, q vault.Request, wait bool) (Result, int64, error) {
	a, err := e.escrow.Handle(s.Peer, q, rand.Reader)
	if err == nil && a.Early && wait {
		if err = e.add(a.Block, nil); err == nil {
			return Result{}, 0, &earlyError{parked{s: s, n: n, q: q}}
		}
	}
	return e.reply(s, n, a, err)
}

// reply takes what a request changed, and answers it.
func (e *Enclave) reply(s *session.Session, n uint64, a vault.Answer, err error) (Result, int64, error) {
	if err == nil {
		err = e.add(a.Block, nil)
	}
	if err != nil {
		return refuse(s, n, err)
	}
	return answer(s, n, a.Reply, a.Hold)
}

func refuse(s *session.Session, n uint64, err error) (Result, int64, error) {
	return answer(s, n, vault.Reply{Refused: &vault.Refused{Reason: err.Error()}}, 0)
}

func answer(s *session.Session, n uint64, r vault.Reply, hold int64) (Result, int64, error) {
	reply, err := wire.Marshal(r)
	if err != nil {
		return Result{}, 0, err
	}
	out, err := s.Answer(n, reply)
	clear(reply)
	return Result{Bytes: out}, hold, err
}

// parked is a request that came too early.
type parked struct {
	call uint64 // of the host
	s    *session.Session
	n    uint64 // of the session
	q    vault.Request
}

type earlyError struct{ parked }

func (*earlyError) Error() string { return "too early" }

type laterError struct{ of *vault.Exploration }

func (*laterError) Error() string { return "to be explored first" }

// unpark asks the requests again that came too early. After a tick none waits on.
func (e *Enclave) unpark() {
	again, tick := e.parked, e.ticked
	e.parked, e.ticked = nil, false
	for _, p := range again {
		r, size, err := e.request(p.s, p.n, p.q, !tick)
		e.took(turn{call: Call{N: p.call}}, r, size, err)
	}
}

// sameLog reports whether an escrow's identity is the one that a log key pins.
func (t Trust) sameLog(id wire.Identity) bool { return bytes.Equal(id.Sign, t.LogKey.Public()) }
