package enclave

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"latchkey/vault"
	"latchkey/vault/session"
	"latchkey/wire"
)

// startOwner builds the machine, once the vault knows its escrow.
func (e *Enclave) startOwner() error {
	o, err := vault.NewOwner(vault.OwnerConfig{
		Identity: e.identity, Sign: e.sign, Digests: e.trusted.Digests, Escrow: e.trusted.Escrow,
		EscrowDigest: e.trusted.Digest, EscrowVendor: e.trusted.Vendor, Group: e.group, Sealer: e.mailbox,
	})
	if err == nil {
		err = o.Load(e.rows)
	}
	if err != nil {
		return err
	}
	e.owner, e.rows = o, nil
	return nil
}

// doOwner answers a call to a vault in the owner's role. Until it has met its escrow there
// is no machine: it can only meet it, and sign for its host.
func (e *Enclave) doOwner(c Call) (Result, error) {
	switch {
	case c.Hello != nil:
		caller, b, err := session.Call(e.identity, e.evidence, e.sign)
		if err != nil {
			return Result{}, err
		}
		e.caller = caller
		return Result{Bytes: b}, nil
	case c.Finish != nil:
		return Result{}, e.finish(*c.Finish)
	case c.Sign != nil:
		return Result{Bytes: wire.Sign(e.sign, PurposeHost, c.Sign.Body)}, nil
	}
	if e.owner == nil {
		return Result{NoSession: true}, fmt.Errorf("this vault has not met its escrow yet: %w", errNoSession)
	}
	switch {
	case c.Feed != nil:
		return Result{}, e.feed(*c.Feed)
	case c.Talk != nil:
		return e.talk()
	case c.Heard != nil:
		return e.heard(*c.Heard)
	case c.Batch != nil:
		id, rows, err := e.owner.NewBatch(*c.Batch, rand.Reader)
		e.keep(rows)
		return Result{Bytes: id[:]}, err
	case c.Accept != nil:
		return e.accept(*c.Accept)
	case c.Say != nil:
		return e.say(*c.Say)
	case c.Report != nil:
		r, rows, err := e.owner.Bring(*c.Report)
		e.keep(rows)
		return Result{Report: &r}, err
	case c.Deposit != nil:
		d := *c.Deposit
		rows, err := e.owner.Deposit(d.Instance, d.Pot, d.IDs, d.By)
		e.keep(rows)
		return Result{}, err
	case c.Funded != nil:
		rows, err := e.owner.Funded(c.Funded.Instance, c.Funded.Deposit)
		e.keep(rows)
		return Result{}, err
	case c.Claim != nil:
		rows, err := e.owner.Claim(c.Claim.IDs)
		e.keep(rows)
		return Result{}, err
	case c.Swept != nil:
		rows, err := e.owner.Swept(c.Swept.IDs)
		e.keep(rows)
		return Result{}, err
	case c.Took != nil:
		rows, err := e.owner.Took(c.Took.Instance, c.Took.Failed)
		e.keep(rows)
		return Result{}, err
	case c.Keys != nil:
		return e.keys(c.Keys.IDs)
	case c.Papers != nil:
		var r Result
		for _, id := range c.Papers.IDs {
			p, err := e.owner.Paper(id)
			if err != nil {
				return Result{}, err
			}
			r.Papers = append(r.Papers, p)
		}
		return r, nil
	}
	return Result{}, errors.New("not a call to a vault in the owner's role")
}

// finish meets the escrow: its identity is the one that the log key pins, its
// evidence passes this vault's policy at the time that its witnesses state.
func (e *Enclave) finish(f Finish) error {
	if e.caller == nil {
		return errors.New("finish: no hello was said")
	}
	w, err := session.ParseWelcome(f.Welcome)
	if err != nil {
		return err
	}
	if !e.cfg.Trust.sameLog(w.From) {
		return fmt.Errorf("welcome from a vault that is not the escrow of log %s", e.cfg.Trust.Origin)
	}
	c, err := e.group.Verify(f.Head)
	if err != nil {
		return err
	}
	now := c.Time
	if e.owner != nil { // an old head makes no old evidence good
		now = max(now, e.owner.Now())
	}
	r, err := e.appraise(w.From, w.Evidence, now)
	if err != nil {
		return err
	}
	t := trusted{Escrow: w.From, Digest: r.EvidenceDigest(), Vendor: r.Vendor(), Digests: e.trusted.Digests}
	if e.owner != nil && !sameIdentity(e.trusted.Escrow, w.From) {
		return errors.New("the escrow shows another HPKE key than before")
	}
	own, err := e.ownDigest(now)
	if err != nil {
		return err
	}
	if !slices.Contains(t.Digests, own) {
		t.Digests = append(slices.Clone(t.Digests), own)
	}
	s, err := e.caller.Finish(f.Welcome)
	if err != nil {
		return err
	}
	before := e.trusted
	e.trusted = t
	if e.owner == nil {
		if err := e.startOwner(); err != nil {
			e.trusted = before
			return err
		}
	} else {
		e.owner.SetDigests(t.Digests, t.Digest)
	}
	if e.owner.Size() == 0 { // the vault's clock begins
		rows, err := e.owner.Advance(f.Head, nil)
		if err != nil {
			return err
		}
		e.keep(rows)
	}
	e.session, e.caller = s, nil
	clear(e.asked)
	clear(e.askedRaw)
	clear(e.left)
	if t.Digest == before.Digest && len(t.Digests) == len(before.Digests) {
		return nil
	}
	return e.putRow(rowTrust, t)
}

func (e *Enclave) feed(f Feed) error {
	rows, err := e.owner.Advance(f.Head, f.Consistency)
	if err != nil {
		return err
	}
	e.keep(rows)
	for _, l := range f.Entries {
		rows, err := e.owner.Observe(l)
		if err != nil {
			return err
		}
		e.keep(rows)
	}
	return nil
}

// talk seals what is pending and not yet on its way.
func (e *Enclave) talk() (Result, error) {
	if e.session == nil {
		return Result{}, errNoSession
	}
	qs, err := e.owner.Pending(rand.Reader)
	if err != nil {
		return Result{}, err
	}
	var r Result
	size, left := 0, map[string]bool{}
	for _, q := range qs {
		what, id, err := nameOf(q)
		if err != nil {
			return Result{}, err
		}
		if e.left[what+id] {
			left[what+id] = true
			continue
		}
		if _, under := e.askedRaw[what+id]; under || size > partBytes { // the rest is said when some of it was heard
			continue
		}
		plain, err := wire.Marshal(q)
		if err != nil {
			return Result{}, err
		}
		n, frame, err := e.session.Request(plain)
		clear(plain)
		if err != nil {
			return Result{}, err
		}
		e.asked[n], e.askedRaw[what+id] = q, n
		r.Talk, size = append(r.Talk, Spoken{n, what, frame}), size+len(frame)
	}
	e.left = left
	return r, nil
}

func (e *Enclave) say(s Say) (Result, error) {
	w, rows, err := vault.SignedWord{}, []vault.Row(nil), error(nil)
	switch {
	case s.Sealed:
		w, rows, err = e.owner.SaySealed(s.Instance, s.Word, s.Value, rand.Reader)
	case s.Opened:
		w, rows, err = e.owner.SayOpened(s.Instance, s.Word)
	default:
		w, rows, err = e.owner.Say(s.Instance, s.Word, s.Value, s.HasValue)
	}
	e.keep(rows)
	return Result{Word: &w}, err
}

// nameOf returns what a request asks, and of what, so that the same is not asked
// twice at once.
func nameOf(q vault.Request) (what, id string, err error) {
	switch {
	case q.Begin != nil:
		return "begin", string(q.Begin.Batch[:]), nil
	case q.Open != nil:
		return "open", string(q.Open.Batch[:]), nil
	case q.Hand != nil:
		return "hand", fmt.Sprintf("%s%d", q.Hand.Instance[:], q.Hand.Deposit), nil
	case q.Ack != nil:
		return "ack", fmt.Sprintf("%s%d", q.Ack.Instance[:], q.Ack.Deposit), nil
	case q.Deposit != nil:
		what = "deposit"
	case q.Word != nil:
		what = "word"
	case q.Fetch != nil:
		what = "fetch"
	case q.Stored != nil:
		what = "stored"
	case q.Claim != nil:
		what = "claim"
	case q.Swept != nil:
		what = "swept"
	case q.Step != nil:
		what = "step"
	case q.Report != nil:
		what = "report"
	}
	b, err := wire.Marshal(q)
	return what, string(b), err
}

// heard takes the escrow's answer to what talk said. Without a frame there was none, and
// the next talk says it again.
func (e *Enclave) heard(h Heard) (Result, error) {
	q, ok := e.asked[h.N]
	if !ok {
		return Result{}, nil // of an earlier session; it is asked again
	}
	what, id, err := nameOf(q)
	if err != nil {
		return Result{}, err
	}
	delete(e.asked, h.N)
	delete(e.askedRaw, what+id)
	if len(h.Frame) == 0 || e.session == nil {
		return Result{}, nil
	}
	f, err := session.ParseFrame(h.Frame)
	if err != nil {
		return Result{}, err
	}
	plain, err := e.session.Reply(h.N, f)
	if err != nil {
		return Result{}, err
	}
	var r vault.Reply
	err = wire.Unmarshal(plain, &r)
	clear(plain)
	if err != nil {
		return Result{}, err
	}
	if q.Hand != nil && r.Refused == nil { // durable there: not said again until the log shows it
		e.left[what+id] = true
	}
	rows, err := e.owner.Hear(q, r)
	e.keep(rows)
	out := Result{Receipt: r.Receipt, Step: q.Step}
	if r.Refused != nil {
		out.Word = q.Word
	}
	return out, err
}

// accept appraises the other parties' evidence by this vault's own policy, at the time of
// its newest head; all else the machine checks.
func (e *Enclave) accept(a Accept) (Result, error) {
	p := vault.Proposal{Agreement: a.Agreement, Papers: a.Papers, InsecureVendors: a.InsecureVendors}
	for _, peer := range a.Peers {
		r, err := e.appraise(peer.Identity, peer.Evidence, e.owner.Now())
		if err != nil {
			return Result{}, err
		}
		p.Peers = append(p.Peers, vault.Peer{Identity: peer.Identity, Vendor: r.Vendor()})
	}
	s, rows, err := e.owner.Accept(p, rand.Reader)
	e.keep(rows)
	return Result{Accepted: &s}, err
}

// keys returns those of the chunks' keys that are whole.
func (e *Enclave) keys(ids []wire.ChunkID) (Result, error) {
	var r Result
	for _, id := range ids {
		d, err := e.owner.Key(id)
		if errors.Is(err, vault.ErrNotReady) {
			continue
		}
		if err != nil {
			return Result{}, err
		}
		r.Keys = append(r.Keys, Key{Chunk: id, P: d.Public(), D: d.Expose()})
	}
	return r, nil
}
