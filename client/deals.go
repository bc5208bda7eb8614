package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"latchkey/coin"
	"latchkey/contract"
	"latchkey/key"
	"latchkey/market"
	"latchkey/switchboard"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wallet"
	"latchkey/wire"
)

// maxGoodFor bounds how long an offer stands, in seconds; switchboards have less.
const maxGoodFor = 366 * 86400

func dealName(p market.ProposalID) string { return fmt.Sprintf("deal/%016x", uint64(p)) }

// notice stores what the switchboard says. Nothing is done yet: the work loop
// does, from the record.
func (h *Host) notice(ctx context.Context, n switchboard.Notice) error {
	h.dealing.Lock()
	defer h.dealing.Unlock()
	switch {
	case n.Proposal != nil:
		var d Deal
		if !h.store.get(dealName(n.Proposal.ID), &d) {
			raw, err := encodeNotice(n)
			if err != nil {
				return err
			}
			d = Deal{Proposal: uint64(n.Proposal.ID), State: "proposed", Notice: raw}
			if err := h.store.put(ctx, dealName(n.Proposal.ID), d); err != nil {
				return err
			}
		}
	case n.Accepted != nil:
		var d Deal
		if h.store.get(dealName(n.Accepted.Proposal), &d) && d.State == "accepted" {
			a, err := d.agreement()
			if err != nil {
				return err
			}
			q := vault.LockAsk{Agreement: a}
			for _, raw := range n.Accepted.Acceptances {
				var s vault.SignedAcceptance
				if err := wire.Unmarshal(raw, &s); err != nil {
					return h.end(ctx, d, "the switchboard passed on an acceptance that is none")
				}
				q.Acceptances = append(q.Acceptances, s)
			}
			if d.Lock, err = wire.Marshal(q); err != nil {
				return err
			}
			d.State, d.Signed = "locking", nil
			if err := h.store.put(ctx, dealName(n.Accepted.Proposal), d); err != nil {
				return err
			}
		}
	case n.Ended != nil:
		var d Deal
		if h.store.get(dealName(n.Ended.Proposal), &d) && (d.State == "proposed" || d.State == "accepted") {
			if err := h.end(ctx, d, n.Ended.Why.String()); err != nil {
				return err
			}
		}
	case n.Closed != nil:
		id := hex.EncodeToString(n.Closed.Offer[:])
		var p Placed
		if h.store.get("offer/"+id, &p) {
			p.Ended = n.Closed.Why.String()
			if err := h.store.put(ctx, "offer/"+id, p); err != nil {
				return err
			}
			h.store.journal(ctx, Event{Kind: "offer closed", Text: p.Text + ": " + p.Ended})
		}
	}
	h.store.setNumber(ctx, "notices", n.Seq)
	return nil
}

func (h *Host) end(ctx context.Context, d Deal, why string) error {
	d.State, d.Reason, d.Notice, d.Lock, d.Signed = "ended", why, nil, nil, nil
	h.draftEnds(ctx, d)
	h.store.journal(ctx, Event{Kind: "ended", Deal: d.id(), Text: "proposal ended: " + why})
	return h.store.put(ctx, d.name(), d)
}

// noticeRecord is how a notice is kept until it is dealt with.
type noticeRecord struct {
	Delivery []byte         `cbor:"1,keyasint"`
	Source   []byte         `cbor:"2,keyasint"`
	Papers   []vault.Paper  `cbor:"3,keyasint"`
	Peers    []enclave.Peer `cbor:"4,keyasint"`
}

func encodeNotice(n switchboard.Notice) ([]byte, error) {
	d, err := wire.Marshal(n.Delivery)
	if err != nil {
		return nil, err
	}
	return wire.Marshal(noticeRecord{d, n.Source, n.Papers, n.Peers})
}

func decodeNotice(b []byte) (n switchboard.Notice, err error) {
	var r noticeRecord
	if err = wire.Unmarshal(b, &r); err == nil {
		err = wire.Unmarshal(r.Delivery, &n.Delivery)
	}
	n.Source, n.Papers, n.Peers = r.Source, r.Papers, r.Peers
	return n, err
}

// deals moves every deal on.
func (h *Host) deals(ctx context.Context, s enclave.Status) {
	unplaced := false
	each(h.store, "offer/", func(name string, p Placed) {
		if !p.Sent && p.Ended == "" {
			unplaced = true
			h.problem("offer", h.place(ctx, name))
		}
	})
	if !unplaced {
		h.problem("offer", nil) // what could not be placed was given up, and says so itself
	}
	each(h.store, "deal/", func(name string, d Deal) {
		h.dealing.Lock()
		defer h.dealing.Unlock()
		if !h.store.get(name, &d) { // a notice may have come meanwhile
			return
		}
		err := h.seenLocked(ctx, name, &d, s)
		switch d.State {
		case "proposed":
			err = h.consider(ctx, name, d)
		case "locking":
			err = h.lock(ctx, name, d)
		case "accepted", "locked":
			if len(d.Signed) > 0 {
				err = h.accept(ctx, name, &d)
			}
			err = errors.Join(err, h.owned(ctx, name, d, s))
		case "ended":
			err = h.revive(ctx, name, d, s)
		default:
			return
		}
		h.problem("deal "+d.id(), err)
	})
}

// unableLead is how long before a proposal ends its client gives up waiting for what it
// checks it by, and says so: its silence would count as its failure.
const unableLead = 2 * time.Second

// consider checks a proposal, with the own wallet and against the own offer, and
// has the vault accept it, or declines.
func (h *Host) consider(ctx context.Context, name string, d Deal) error {
	n, err := decodeNotice(d.Notice)
	if err != nil {
		return err
	}
	until := int64(0)
	decline := func(why market.DeclineReason, reason error) error {
		if err := h.board.Decline(ctx, n.Proposal.ID, why, until); err != nil {
			return err
		}
		d.State, d.Reason, d.Notice = "declined", reason.Error(), nil
		h.store.journal(ctx, Event{Kind: "declined", Deal: d.id(), Text: "declined a proposal: " + d.Reason})
		return h.store.put(ctx, name, d)
	}
	last := time.Unix(n.Proposal.AcceptBy, 0).Add(-unableLead)
	asking, cancel := context.WithTimeout(ctx, max(time.Until(last), time.Second))
	defer cancel()
	unable := func(err error) error {
		if left := time.Until(last); ctx.Err() != nil || left > 0 && !errors.Is(err, wallet.ErrNotFollowing) {
			time.AfterFunc(left, func() { wake(h.work) })
			return err // try again: it may answer before the proposal ends
		}
		return decline(market.Unable, fmt.Errorf("it cannot be checked: %w", err))
	}
	program, err := contract.Compile(n.Source)
	if err != nil {
		return decline(market.Untrusted, err)
	}
	a, err := switchboard.Agreement(*n.Proposal, n.Source, len(program.Pots()))
	if err != nil {
		return decline(market.Undesired, err)
	}
	if err := h.asOffered(n, program); err != nil {
		return decline(market.Undesired, err)
	}
	if err := h.asRated(asking, *n.Proposal); unavailable(err) {
		return unable(err)
	} else if err != nil {
		return decline(market.Undesired, err)
	}
	asked, err := askedOf(n.Papers)
	if err != nil {
		return decline(market.Untrusted, err)
	}
	if err := h.lookAt(asking, asked); certain(err) {
		return decline(market.Unfunded, err)
	} else if err != nil {
		return unable(err)
	}
	if err := h.atRisk(ctx, name, &d, a, mySide(*n.Proposal, h.id).Offer); err != nil {
		return decline(market.Undesired, err)
	}
	started := time.Now().UnixMilli()
	r, err := h.call(ctx, enclave.Call{Accept: &enclave.Accept{
		Agreement: a, Peers: n.Peers, Papers: n.Papers, InsecureVendors: h.cfg.InsecureVendors,
	}})
	switch {
	case undecided(ctx, err):
		return err
	case err != nil:
		s, serr := h.vaultStatus(ctx)
		if serr != nil {
			return serr
		}
		if until = pledgedTo(s, mySide(*n.Proposal, h.id)); until > 0 { // nothing that the other side has to do with
			return decline(market.Pledged, err)
		}
		return decline(market.Untrusted, err)
	}
	if d.Agreement, err = wire.Marshal(a); err != nil {
		return err
	}
	if d.Hash, err = wire.HashOf("latchkey/agreement/v1", a); err != nil {
		return err
	}
	d.State, d.Notice, d.Accepted, d.Contract = "accepted", nil, started, program.Name()
	for i, p := range a.Parties {
		if p[0] == h.id {
			d.Role = i
		} else {
			d.With = append(d.With, p[0])
		}
	}
	for i, pot := range a.Pots {
		if program.Pots()[i].From == d.Role {
			d.Gives = append(d.Gives, fmt.Sprintf("%s, %s, of %s", tally(len(pot), "chunk"), tally(weigh(pot), "unit"), sideOf(*n.Proposal, i).Denomination))
		}
	}
	if d.Signed, err = wire.Marshal(*r.Accepted); err != nil {
		return err
	}
	if err := h.store.put(ctx, name, d); err != nil {
		return err
	}
	h.store.journal(ctx, Event{
		Kind: "accepted", At: started, Deal: d.id(), With: short(d.With),
		Text: fmt.Sprintf("checked balances and evidence, accepted %s with %s: gives %s", d.Contract, named(d.With), strings.Join(d.Gives, ", ")),
	})
	return h.accept(ctx, name, &d)
}

// pledgedTo returns until when the vault has chunks of a side promised to another agreement, 0
// if none is. A switchboard that ended one proposal before the acceptance came cannot know it,
// nor what was accepted without it.
func pledgedTo(s enclave.Status, side market.Side) (until int64) {
	by := map[wire.Hash]int64{}
	for _, p := range s.Pledges {
		by[p.Agreement] = p.LockBy
	}
	for _, in := range s.Instances {
		for _, d := range in.Deposits {
			by[in.Agreement] = max(by[in.Agreement], d.Order.By)
		}
	}
	pledge := map[wire.ChunkID]wire.Hash{}
	for _, c := range s.Chunks {
		pledge[c.ID] = c.Pledge
	}
	for _, x := range side.Chunks {
		until = max(until, by[pledge[x.Chunk]])
	}
	return until
}

// accept brings the vault's acceptance to the switchboard, and to the escrow, which
// locks when it has all; the same one again changes nothing. It is stored first: from
// its arrival on the other side may lock. That the escrow does not answer is no
// failure: who hears from the switchboard that all have accepted brings the lock.
func (h *Host) accept(ctx context.Context, name string, d *Deal) error {
	var s vault.SignedAcceptance
	if err := wire.Unmarshal(d.Signed, &s); err != nil {
		return err
	}
	a, err := d.agreement()
	if err != nil {
		return err
	}
	var id wire.InstanceID
	var bringing sync.WaitGroup
	bringing.Go(func() {
		short, cancel := context.WithTimeout(ctx, lockPatience)
		defer cancel()
		id, _ = h.escrow.Lock(short, vault.LockAsk{Agreement: a, Acceptances: []vault.SignedAcceptance{s}})
	})
	err = h.board.Accept(ctx, market.ProposalID(d.Proposal), s)
	bringing.Wait()
	if id != (wire.InstanceID{}) {
		h.isLocked(ctx, d, id)
	} else if err != nil {
		return err
	}
	d.Signed = nil
	return h.store.put(ctx, name, *d)
}

// lockPatience is how long a client waits for a lock that the escrow makes of what
// each party brought, before it brings the lock itself.
const lockPatience = 2 * time.Second

// seenLocked notes that the log has shown the lock of a deal.
func (h *Host) seenLocked(ctx context.Context, name string, d *Deal, s enclave.Status) error {
	if d.State != "accepted" && d.State != "locking" {
		return nil
	}
	for _, in := range s.Instances {
		if in.Agreement == d.Hash {
			h.isLocked(ctx, d, in.ID)
			return h.store.put(ctx, name, *d)
		}
	}
	return nil
}

func (h *Host) isLocked(ctx context.Context, d *Deal, id wire.InstanceID) {
	d.State, d.Instance, d.Lock, d.Signed = "locked", id, nil, nil
	h.mu.Lock()
	delete(h.locking, d.name())
	h.mu.Unlock()
	h.store.journal(ctx, Event{Kind: "locked", Deal: d.id(), With: short(d.With), Text: "the escrow has locked instance " + id.Short()})
}

// patient reports whether a lock may still come by itself.
func (h *Host) patient(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok := h.locking[name]
	if !ok {
		at = time.Now()
		h.locking[name] = at
		time.AfterFunc(lockPatience, func() { wake(h.work) })
	}
	return time.Since(at) < lockPatience
}

func short(ids []wire.VaultID) string {
	var out []string
	for _, v := range ids {
		out = append(out, v.Short())
	}
	return strings.Join(out, ", ")
}

func weigh(pot []vault.Stake) (n uint64) {
	for _, s := range pot {
		n += uint64(s.Weight)
	}
	return n
}

// mySide returns what a client puts into a proposal.
func mySide(p market.Proposal, id wire.VaultID) market.Side {
	if p.Sides[1].Client == id {
		return p.Sides[1]
	}
	return p.Sides[0]
}

func sideOf(p market.Proposal, pot int) market.Side {
	for _, s := range p.Sides {
		if int(s.Pot) == pot {
			return s
		}
	}
	return market.Side{}
}

// asOffered checks that a proposal, and the contract, terms and chunks that its
// agreement is made of, are within what this client offered. The switchboard is
// not believed.
func (h *Host) asOffered(n switchboard.Notice, program *contract.Program) error {
	p := *n.Proposal
	mine, theirs := p.Sides[0], p.Sides[1]
	if theirs.Client == h.id {
		mine, theirs = theirs, mine
	}
	if mine.Client != h.id {
		return errors.New("this client is on no side of it")
	}
	var placed Placed
	if !h.store.get("offer/"+hex.EncodeToString(mine.Offer[:]), &placed) {
		return errors.New("it fills an offer that this client did not place")
	}
	var o market.Offer
	if err := wire.Unmarshal(placed.Offer, &o); err != nil {
		return err
	}
	switch {
	case p.Contract != o.Contract || program.Hash() != o.Contract || p.Escrow != o.Escrow || p.Settle != o.Settle || !samePace(p.Pace, o.Pace):
		return errors.New("another contract, escrow or way to settle than offered")
	case mine.Role != o.Role || theirs.Role != o.Counter:
		return errors.New("other roles than offered")
	case mine.Denomination != o.Give.Denomination || theirs.Denomination != o.Want.Denomination:
		return errors.New("other denominations than offered")
	case mine.Units > o.Give.Units || theirs.Units > o.Want.Units+o.Over:
		return fmt.Errorf("%d units for %d, offered were at most %d for %d", mine.Units, theirs.Units, o.Give.Units, o.Want.Units)
	}
	gives, gets := uint64(mine.Worth()), uint64(theirs.Worth())
	if gives > gets+gets*uint64(max(o.Premium, 0))/10_000+1 {
		return fmt.Errorf("what is given is worth %d millionths of a dollar, what comes %d: more than the premium of %d basis points", gives, gets, o.Premium)
	}
	if err := sameTerms(p, o, mine, theirs); err != nil {
		return err
	}
	for _, s := range []market.Side{mine, theirs} {
		if pots := program.Pots(); int(s.Pot) >= len(pots) || pots[s.Pot].From != int(s.Role) {
			return fmt.Errorf("party %d does not fill pot %d", s.Role, s.Pot)
		}
		var units uint64
		for _, c := range s.Chunks {
			units += uint64(c.Weight)
		}
		if units != uint64(s.Units) {
			return fmt.Errorf("the chunks of party %d have %d units, not %d", s.Role, units, s.Units)
		}
	}
	return sameCoins(n.Papers, theirs.Chunks, placed.Want)
}

// sameTerms checks that the terms and parties of a proposal are those of the
// offer, filled in with what its sides put in.
func sameTerms(p market.Proposal, o market.Offer, mine, theirs market.Side) error {
	if len(p.Terms) != len(o.Terms) || len(p.Parties) != len(o.Parties) {
		return errors.New("another number of terms or parties than offered")
	}
	for i, t := range p.Terms {
		want := o.Terms[i]
		if i == int(o.GiveTerm) {
			want = int64(mine.Units)
		}
		if i == int(o.WantTerm) {
			want = int64(theirs.Units)
		}
		if t != want {
			return fmt.Errorf("term %d is %d, not %d as offered", i, t, want)
		}
	}
	for i, v := range p.Parties {
		want := o.Parties[i]
		switch i {
		case int(mine.Role):
			want = mine.Client
		case int(theirs.Role):
			want = theirs.Client
		}
		if v != want {
			return fmt.Errorf("party %d is another than offered", i)
		}
	}
	return nil
}

// sameCoins checks that there are papers of all the chunks, of the very
// denomination that was offered for.
func sameCoins(papers []vault.Paper, chunks []market.Stake, want coin.Denomination) error {
	bare := map[wire.ChunkID]bool{}
	for _, c := range chunks {
		bare[c.Chunk] = true
	}
	for _, p := range papers {
		id := p.Chunk.ID()
		if !bare[id] {
			continue
		}
		c, err := p.Cert.Unverified() // the vault verifies it, with everything else
		if err != nil {
			return err
		}
		if p.Chunk.Cert != p.Cert.ID() || c.Denomination != want {
			return fmt.Errorf("chunk %s is of another denomination than offered", id.Short())
		}
		delete(bare, id)
	}
	if len(bare) > 0 {
		return fmt.Errorf("%d chunks come without their papers", len(bare))
	}
	return nil
}

// askedOf returns what the own wallet is asked: whether the other side's chunks hold
// what their certificates say.
func askedOf(papers []vault.Paper) (deposits, error) {
	asked := deposits{}
	for _, p := range papers {
		c, err := p.Cert.Unverified() // the vault verifies it, with everything else
		if err == nil {
			err = asked.add(c, p.Chunk.Key)
		}
		if err != nil {
			return nil, err
		}
	}
	return asked, nil
}

// deposits are what the own wallet is asked about, by asset.
type deposits map[coin.Asset]*wallet.DepositsRequest

// add asks about the deposit of a chunk of certificate c, at its key.
func (d deposits) add(c key.Certificate, at key.Point) error {
	want, err := c.Denomination.Deposit(c.Weight)
	if err != nil {
		return err
	}
	a := c.Denomination.Asset
	if d[a] == nil {
		d[a] = &wallet.DepositsRequest{Asset: a}
	}
	d[a].Queries = append(d[a].Queries, wallet.DepositQuery{Key: at.Bytes(), Want: want})
	return nil
}

// lookAt returns an error, which names the asset, unless all deposits are as they
// have to be.
func (h *Host) lookAt(ctx context.Context, d deposits) error {
	for a, q := range d {
		w, _, err := h.info(ctx, a)
		if err == nil {
			err = checkDeposits(ctx, w, *q)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", a.ID, err)
		}
	}
	return nil
}

// lock brings the agreement with all acceptances to the escrow, if need be.
func (h *Host) lock(ctx context.Context, name string, d Deal) error {
	if d.Draft == "" && h.patient(name) {
		return nil
	}
	var q vault.LockAsk
	if err := wire.Unmarshal(d.Lock, &q); err != nil {
		return err
	}
	id, err := h.escrow.Lock(ctx, q)
	if err != nil {
		if q.Agreement.LockBy < time.Now().Unix() { // too late, or the answer was lost: the escrow's log says which
			d.State, d.Lock = "accepted", nil
			return errors.Join(err, h.store.put(ctx, name, d))
		}
		return err
	}
	h.isLocked(ctx, &d, id)
	return h.store.put(ctx, name, d)
}

// unlocked is for how many seconds after its LockBy, by the witnesses' time, the
// escrow may still be heard to have locked a deal in time.
const unlocked = 10

// owned notices that an instance is over and that all which came from it is this
// client's own.
func (h *Host) owned(ctx context.Context, name string, d Deal, s enclave.Status) error {
	for _, in := range s.Instances {
		if in.Agreement != d.Hash {
			continue
		}
		if !in.Settled { // closed it may be: chunks are still to be given
			return nil
		}
		given := map[wire.ChunkID]bool{}
		for _, id := range in.Given {
			given[id] = true
		}
		var own []enclave.ChunkStatus
		for _, c := range s.Chunks {
			if !given[c.ID] || c.Chunk.Owner != h.id {
				continue
			}
			if !c.Holds && !c.Chunk.Swept && !c.Chunk.Lost {
				return nil // its new share is on its way
			}
			own = append(own, c)
		}
		switch d.State, d.Owned = "owned", time.Now().UnixMilli(); {
		case in.Aborted:
			d.State, d.Reason = "ended", "aborted: it was not open in time; all went back"
			h.draftEnds(ctx, d)
		case d.Role == payer && h.payment(d).Request != "":
			d.State = "paid"
		}
		if in.Broken {
			d.Reason = "a step failed: what was not given by then went back"
		}
		h.tellOwned(ctx, d, own)
		return h.store.put(ctx, name, d)
	}
	if d.State == "accepted" {
		a, err := d.agreement()
		if err == nil && s.Now > a.LockBy+unlocked {
			return h.end(ctx, d, "it was not locked in time")
		}
	}
	return nil
}

// tellOwned says what came of a deal that is over.
func (h *Host) tellOwned(ctx context.Context, d Deal, own []enclave.ChunkStatus) {
	e := Event{Kind: "owned", Deal: d.id(), At: d.Owned, Count: len(own), With: short(d.With)}
	took := d.Owned - d.Accepted
	e.Text = fmt.Sprintf("owns %s, %d ms after it accepted", tally(len(own), "chunk"), took)
	draft := h.payment(d)
	paid := d.State != "ended" && draft.Request != ""
	switch {
	case paid && d.Role == payer:
		e.Kind, e.Text = "paid", fmt.Sprintf("paid %s: %s, without a transaction, %d ms after it was asked to", named(d.With), strings.Join(d.Gives, ", "), took)
	case paid:
		e.Kind, e.Text = "received", fmt.Sprintf("received a payment of vault %s: %s, %d ms after it accepted", short(d.With), tally(len(own), "chunk"), took)
	case len(own) == 0:
		e.Text = fmt.Sprintf("%s is over, %d ms after it accepted; nothing came to this side", d.Contract, took)
	}
	var total coin.Amount
	for i, c := range own {
		each, err := c.Cert.Denomination.Deposit(c.Cert.Weight)
		if sum, serr := total.Plus(each); err == nil && serr == nil && c.Cert.Denomination.Asset == own[0].Cert.Denomination.Asset {
			if total = sum; i == len(own)-1 && d.Draft != "" {
				e.Asset, e.Amount = string(own[0].Cert.Denomination.Asset.ID), total.String()
			}
		}
	}
	var q Requested
	if paid && h.store.get(requestName(draft.Request), &q) {
		q.State = "paid"
		_ = h.store.put(ctx, requestName(draft.Request), q) // the store keeps its failure
	}
	h.store.journal(ctx, e)
}

// payment returns the draft that a deal came from, if it answers a payment request.
func (h *Host) payment(d Deal) (draft Draft) {
	if d.Draft == "" || !h.store.get(draftName(d.Draft), &draft) || draft.Request == "" {
		return Draft{}
	}
	return draft
}

// draftEnds notes that the deal which a draft became came to nothing, so that
// what it was to pay can be paid again.
func (h *Host) draftEnds(ctx context.Context, d Deal) {
	var draft Draft
	if d.Draft == "" || !h.store.get(draftName(d.Draft), &draft) {
		return
	}
	draft.State, draft.Reason = draftEnded, d.Reason
	if draft.Request != "" && !draft.mine(h.id) {
		h.reopen(ctx, draft)
	}
	_ = h.store.put(ctx, draftName(d.Draft), draft) // the store keeps its failure
}

// draftRevives takes that back: the escrow's log, heard late, has the deal.
func (h *Host) draftRevives(ctx context.Context, d Deal) {
	var draft Draft
	if d.Draft == "" || !h.store.get(draftName(d.Draft), &draft) {
		return
	}
	draft.State, draft.Reason = draftAccepted, ""
	_ = h.store.put(ctx, draftName(d.Draft), draft) // the store keeps its failure
	var q Requested
	if draft.Request != "" && h.store.get(requestName(draft.Request), &q) && q.State == "open" {
		q.State, q.Draft = "paying", draft.ID
		_ = h.store.put(ctx, requestName(draft.Request), q) // the store keeps its failure
	}
}

// revive takes up again a deal that counted as ended, if the escrow's log, heard
// late, says that it was locked.
func (h *Host) revive(ctx context.Context, name string, d Deal, s enclave.Status) error {
	if d.Instance != (wire.InstanceID{}) || d.Hash == (wire.Hash{}) {
		return nil
	}
	for _, in := range s.Instances {
		if in.Agreement == d.Hash {
			d.State, d.Reason, d.Instance = "locked", "", in.ID
			h.draftRevives(ctx, d)
			return h.store.put(ctx, name, d)
		}
	}
	return nil
}

// Offer places an offer to exchange about cents worth of want against give.
func (h *Host) Offer(ctx context.Context, name string, give, want coin.AssetID, cents uint64, premium int32, role uint8, goodFor int64, manner Manner) (string, error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("offer: %w", err) }
	if name == "" {
		name = "Swap"
	}
	if give == want {
		return fail(errors.New("the same asset on both sides"))
	}
	if cents < unitCents || cents > 100_000_000 {
		return fail(fmt.Errorf("%d.%02d USD is not between 10 and 1,000,000", cents/100, cents%100))
	}
	if goodFor == 0 {
		goodFor = 3600
	}
	if goodFor < 0 || goodFor > maxGoodFor {
		return fail(fmt.Errorf("an offer that stands for %d s, want 1 to %d", goodFor, maxGoodFor))
	}
	d, err := h.board.Describe(ctx)
	if err != nil {
		return fail(err)
	}
	var o market.Offer
	found := false
	for _, c := range d.Contracts {
		if c.Name == name && len(c.Hash) == 32 {
			o.Contract, found = wire.Hash(c.Hash), true
			p, err := contract.Compile(c.Source)
			if err != nil {
				return fail(err)
			}
			if p.Hash() != o.Contract {
				return fail(fmt.Errorf("the switchboard shows another text for contract %s than its hash says", name))
			}
			if len(p.Parties()) != 2 || len(p.Pots()) != 2 || len(p.Terms()) != 2 {
				return fail(fmt.Errorf("contract %s is not an exchange between two", name))
			}
		}
	}
	if !found {
		return fail(fmt.Errorf("the switchboard does not trade contract %q", name))
	}
	if role > 1 {
		return fail(fmt.Errorf("contract %s has no party %d", name, role))
	}
	giveA, err := h.asset(ctx, give)
	if err != nil {
		return fail(err)
	}
	wantA, err := h.asset(ctx, want)
	if err != nil {
		return fail(err)
	}
	gd, err := h.board.Denominate(ctx, giveA)
	if err != nil {
		return fail(err)
	}
	wd, err := h.board.Denominate(ctx, wantA)
	if err != nil {
		return fail(err)
	}
	if gd.Asset != giveA || wd.Asset != wantA {
		return fail(errors.New("the switchboard denominates another asset than asked"))
	}
	peer, err := h.escrow.Describe(ctx)
	if err != nil {
		return fail(err)
	}
	if o.Escrow, err = peer.Identity.ID(); err != nil {
		return fail(err)
	}
	if manner.TitForTat {
		if err := h.cfg.Limits.allow(&manner.Pace); err != nil {
			return fail(err)
		}
	}
	units := market.Units(cents / unitCents)
	rand.Read(o.ID[:])
	manner.settles(&o)
	o.Role, o.Counter = role, 1-role
	o.Parties, o.Terms = make([]wire.VaultID, 2), make([]int64, 2)
	o.GiveTerm, o.WantTerm = role, 1-role
	o.Want = market.Quantity{Denomination: wd.ID, Units: units}
	o.Give = market.Quantity{Denomination: gd.ID, Units: units + units/10 + 1} // a ceiling; the price decides
	o.Premium, o.Until, o.MinFill, o.Sole = market.Bps(premium), time.Now().Unix()+goodFor, 1, true
	raw, err := wire.Marshal(o)
	if err != nil {
		return fail(err)
	}
	p := Placed{ID: hex.EncodeToString(o.ID[:]), Offer: raw, Give: &gd, Want: wd, MaxLoss: manner.MaxLoss, Text: fmt.Sprintf("%s: about $%d of %s for %s", name, cents/100, want, give)}
	if err := h.store.put(ctx, "offer/"+p.ID, p); err != nil {
		return fail(err)
	}
	err = h.place(ctx, "offer/"+p.ID)
	if switchboard.Refused(err) || h.store.err() != nil {
		return fail(err)
	}
	if err != nil { // it may have been placed: it is brought there again until that is known
		h.problem("offer", err)
		wake(h.work)
	}
	h.store.journal(ctx, Event{Kind: "offered", Text: p.Text})
	return p.ID, nil
}

// place brings an offer to the switchboard; the same one again changes nothing. One
// that the switchboard refuses has ended. One without an answer has not: it may
// stand there.
func (h *Host) place(ctx context.Context, name string) error {
	var p Placed
	var o market.Offer
	if !h.store.get(name, &p) || p.Sent || p.Ended != "" {
		return nil
	}
	if err := wire.Unmarshal(p.Offer, &o); err != nil {
		return err
	}
	err := h.board.Place(ctx, o)
	if err != nil && !switchboard.Refused(err) {
		return err
	}
	h.dealing.Lock()
	defer h.dealing.Unlock()
	if !h.store.get(name, &p) { // a notice may have closed it meanwhile
		return nil
	}
	if p.Sent = err == nil; err != nil && p.Ended == "" {
		p.Ended = err.Error()
	}
	return errors.Join(err, h.store.put(ctx, name, p))
}

// Cancel closes an offer. One that the switchboard has not answered for yet is
// brought there first: it must not turn up there afterwards.
func (h *Host) Cancel(ctx context.Context, id string) error {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != 16 {
		return fmt.Errorf("cancel: offer id %.40q: want 32 hexadecimal digits", id)
	}
	if err := h.place(ctx, "offer/"+id); err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	return h.board.Cancel(ctx, market.OfferID(raw))
}
