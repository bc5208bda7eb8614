package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wallet"
	"latchkey/wire"
)

// draftDealName is the record of the deal that a draft became.
func draftDealName(id string) string { return "deal/draft-" + id }

// maxDrafts bounds what strangers can make this client keep.
const maxDrafts = 200

// drafted takes a draft from its proposer, or the draft again with more pots
// filled.
func (h *Host) drafted(ctx context.Context, from wire.VaultID, id draftID, o draftBody) error {
	var d Draft
	known := h.store.get(draftName(id.String()), &d)
	switch {
	case known && d.From != from:
		return fmt.Errorf("%w: it is another's draft", errDraft)
	case known && d.over():
		return h.post(ctx, from, letter{Draft: id, Decline: &draftDecline{d.Reason}})
	case known && d.State == draftAccepted:
		return h.answer(ctx, d)
	}
	st, err := h.vaultStatus(ctx)
	if err != nil {
		return err
	}
	self, err := h.escrowID(ctx)
	if err != nil {
		return err
	}
	s, err := sketchOf(o, from, h.id, self, st.Now)
	if err != nil {
		return err
	}
	if !known {
		return h.firstSeen(ctx, from, id, s)
	}
	old, err := d.body()
	if err != nil {
		return err
	}
	if err := s.continues(old, d.Mine); err != nil {
		return h.endDraft(ctx, d, draftDeclined, err.Error())
	}
	if err := d.set(o); err != nil {
		return err
	}
	if err := h.store.put(ctx, draftName(d.ID), d); err != nil {
		return err
	}
	return h.answer(ctx, d)
}

// firstSeen stores a draft for the user to look at; a payment that this client
// asked for needs no further word.
func (h *Host) firstSeen(ctx context.Context, from wire.VaultID, id draftID, s *sketch) error {
	n, past, oldest := 0, 0, Draft{}
	each(h.store, "draft/", func(_ string, d Draft) {
		switch {
		case d.From == h.id:
		case d.State == draftProposed:
			n++
		case d.over():
			if past++; oldest.ID == "" || d.Began < oldest.Began {
				oldest = d
			}
		}
	})
	if past >= maxDrafts {
		if err := h.store.remove(ctx, draftName(oldest.ID)); err != nil {
			return err
		}
	}
	if n >= maxDrafts {
		return fmt.Errorf("%w: %d drafts wait for the user already", errDraft, n)
	}
	if err := h.cfg.Limits.allow(s.body.Agreement.Pace); err != nil {
		return errors.Join(err, h.post(ctx, from, letter{Draft: id, Decline: &draftDecline{err.Error()}})) // not kept: anybody can send such
	}
	p := s.deal.Program()
	d := Draft{
		ID: id.String(), From: from, Role: s.role, Contract: p.Name(), State: draftProposed, Accepted: map[string][]byte{},
		Mine: make([][]vault.Stake, len(p.Pots())), Known: make([]bool, len(p.Pots())), Began: time.Now().UnixMilli(),
	}
	if err := d.set(s.body); err != nil {
		return err
	}
	text := fmt.Sprintf("vault %s proposes %s with this side as %s%s: draft %.8s; see latchkey review", from.Short(), d.Contract, p.Parties()[d.Role], s.paceText(), d.ID)
	if s.body.Request != (draftID{}) {
		d.Request = s.body.Request.String()
		if err := h.asRequested(ctx, d.ID, s); err != nil {
			return errors.Join(err, h.post(ctx, from, letter{Draft: id, Decline: &draftDecline{err.Error()}})) // not kept: anybody can send such
		}
		d.State = draftAgreed
		for i := range d.Known { // it is asked for in full, and all of it comes here
			d.Known[i] = true
		}
		text = fmt.Sprintf("vault %s answers payment request %.8s with all that it asks for", from.Short(), d.Request)
	}
	if err := h.store.put(ctx, draftName(d.ID), d); err != nil {
		return err
	}
	h.store.journal(ctx, Event{Kind: "asked", Deal: d.ID, With: from.Short(), Text: text})
	return nil
}

// answer tells the proposer how far this side is. It is said again whenever the
// draft is heard again.
func (h *Host) answer(ctx context.Context, d Draft) error {
	id, err := d.id()
	if err != nil {
		return err
	}
	if raw := d.Accepted[strconv.Itoa(d.Role)]; d.State == draftAccepted && raw != nil {
		var s vault.SignedAcceptance
		if err := wire.Unmarshal(raw, &s); err != nil {
			return err
		}
		return h.post(ctx, d.From, letter{Draft: id, Accept: &s})
	}
	var own []wire.ChunkID
	for _, pot := range d.Mine {
		for _, s := range pot {
			own = append(own, s.Chunk)
		}
	}
	if len(own) == 0 || d.State != draftAgreed {
		return nil
	}
	p, err := h.papersOf(ctx, own)
	if err != nil {
		return err
	}
	return h.post(ctx, d.From, letter{Draft: id, Fill: &draftFill{d.Mine, p}})
}

// answered takes what a party says of a draft: the proposer hears fills,
// acceptances and refusals, the others that the proposer took it back.
func (h *Host) answered(ctx context.Context, from wire.VaultID, l letter) error {
	var d Draft
	if !h.store.get(draftName(l.Draft.String()), &d) {
		return fmt.Errorf("%w: it is unknown here", errDraft)
	}
	o, err := d.body()
	if err != nil {
		return err
	}
	role := slices.IndexFunc(o.Agreement.Parties, func(r vault.Recipients) bool { return r[0] == from })
	switch {
	case role < 0 || !d.mine(h.id) && from != d.From:
		return fmt.Errorf("%w: the sender has no say in it", errDraft)
	case d.State != draftProposed && d.State != draftAgreed:
		return nil // over, or signed: too late
	case l.Decline != nil:
		return h.endDraft(ctx, d, draftEnded, fmt.Sprintf("vault %s declined: %.200s", from.Short(), l.Decline.Reason))
	case !d.mine(h.id):
		return fmt.Errorf("%w: it is not for its proposer to answer", errDraft)
	case l.Accept != nil:
		return h.takeAcceptance(ctx, d, o, from, role, *l.Accept)
	}
	if d.Filled[strconv.Itoa(role)] {
		return nil
	}
	return h.takeFill(ctx, d, o, role, *l.Fill)
}

// takeFill puts a party's chunks into its pots.
func (h *Host) takeFill(ctx context.Context, d Draft, o draftBody, role int, f draftFill) error {
	st, err := h.vaultStatus(ctx)
	if err != nil {
		return err
	}
	deal, err := bound(o.Agreement)
	if err != nil {
		return err
	}
	p := deal.Program()
	if len(f.Pots) != len(o.Agreement.Pots) {
		return fmt.Errorf("%w: a fill of %d pots, it has %d", errDraft, len(f.Pots), len(o.Agreement.Pots))
	}
	for i, pot := range p.Pots() {
		if pot.From == role && !pot.Later {
			o.Agreement.Pots[i] = f.Pots[i]
		} else if len(f.Pots[i]) > 0 {
			return fmt.Errorf("%w: a fill of pot %s, which is another's", errDraft, pot.Name)
		}
	}
	o.Papers.Certs = append(o.Papers.Certs, f.Papers.Certs...)
	o.Papers.Chunks = append(o.Papers.Chunks, f.Papers.Chunks...)
	s, err := sketchOf(o, h.id, h.id, o.Agreement.Escrow, st.Now)
	if err != nil {
		return h.endDraft(ctx, d, draftEnded, fmt.Sprintf("what party %s put in is not what was asked for: %v", p.Parties()[role], err))
	}
	if _, err := h.risky(s, nil, d.MaxLoss); err != nil { // before that party signs it
		return h.endDraft(ctx, d, draftEnded, fmt.Sprintf("with what party %s put in, %v", p.Parties()[role], err))
	}
	d.Filled[strconv.Itoa(role)] = true
	if err := d.set(o); err != nil {
		return err
	}
	h.hurry(d.ID)
	return h.store.put(ctx, draftName(d.ID), d)
}

// takeAcceptance keeps a party's acceptance, if it is one of the agreement.
func (h *Host) takeAcceptance(ctx context.Context, d Draft, o draftBody, from wire.VaultID, role int, s vault.SignedAcceptance) error {
	hash, err := o.Agreement.Hash()
	if err != nil {
		return err
	}
	if s.Body.Agreement != hash || int(s.Body.Role) != role {
		return fmt.Errorf("%w: an acceptance of another agreement or role", errDraft)
	}
	peer, err := h.peer(ctx, from)
	if err != nil {
		return err
	}
	if err := s.Verify(peer.Identity); err != nil {
		return err
	}
	if d.Accepted[strconv.Itoa(role)], err = wire.Marshal(s); err != nil {
		return err
	}
	return h.store.put(ctx, draftName(d.ID), d)
}

// endDraft ends a draft and tells the other side, or, as its proposer, all.
func (h *Host) endDraft(ctx context.Context, d Draft, state, why string) error {
	d.State, d.Reason = state, why
	h.hurry(d.ID) // it is not sent any more
	o, err := d.body()
	if err != nil {
		return err
	}
	if d.Request != "" && !d.mine(h.id) {
		h.reopen(ctx, d)
	}
	if err := h.store.put(ctx, draftName(d.ID), d); err != nil {
		return err
	}
	h.store.journal(ctx, Event{Kind: state, Deal: d.ID, Text: fmt.Sprintf("draft %.8s of %s: %s", d.ID, d.Contract, why)})
	id, err := d.id()
	if err != nil {
		return err
	}
	for _, r := range o.Agreement.Parties {
		if v := r[0]; v != h.id && (d.mine(h.id) || v == d.From) {
			err = errors.Join(err, h.post(ctx, v, letter{Draft: id, Decline: &draftDecline{why}}))
		}
	}
	h.problem(fmt.Sprintf("draft %.8s", d.ID), err) // who does not hear it learns it with the next letter
	return nil
}

// AnswerDraft is the user's word about a draft of somebody else's: yes or no; or
// about an own one: no.
func (h *Host) AnswerDraft(ctx context.Context, id string, yes bool, why string) error {
	_, err := h.answerDraft(ctx, id, yes, why, 0)
	return err
}

// answerDraft is AnswerDraft with a bound, in units, of what may be lost by a draft
// that is settled tit for tat; 0: see Limits. It returns what can be lost, as far as
// the draft is filled.
func (h *Host) answerDraft(ctx context.Context, id string, yes bool, why string, maxLoss uint64) (int64, error) {
	fail := func(err error) (int64, error) { return 0, fmt.Errorf("draft %.40s: %w", id, err) }
	h.dealing.Lock()
	defer h.dealing.Unlock()
	d, err := h.findDraft(id)
	if err != nil {
		return 0, err
	}
	switch {
	case d.over():
		return fail(fmt.Errorf("it is over: %s", d.Reason))
	case d.State == draftAccepted:
		return fail(errors.New("it is signed already; its deal goes on"))
	case !yes:
		return 0, h.endDraft(ctx, d, map[bool]string{true: draftEnded, false: draftDeclined}[d.mine(h.id)], why)
	case d.Again:
	case d.mine(h.id):
		return fail(errors.New("it is this client's own; the others accept it"))
	case d.State == draftAgreed:
		return d.Risk, nil
	}
	st, err := h.vaultStatus(ctx)
	if err != nil {
		return fail(err)
	}
	s, err := d.sketch(h.id, st.Now)
	if err != nil {
		return fail(err)
	}
	if !d.Again {
		if err := h.setAside(ctx, &d, s, st); err != nil {
			return fail(err)
		}
	}
	if maxLoss > 0 || !d.Again {
		d.MaxLoss = maxLoss
	}
	if d.Risk, err = h.risky(s, d.Mine, d.MaxLoss); err != nil {
		return fail(err)
	}
	if d.Again {
		d.Again = false
		for i := range d.Known {
			d.Known[i] = true
		}
		wake(h.work)
		return d.Risk, h.store.put(ctx, draftName(d.ID), d)
	}
	d.State = draftAgreed
	if err := h.store.put(ctx, draftName(d.ID), d); err != nil {
		return fail(err)
	}
	h.store.journal(ctx, Event{Kind: "agreed", Deal: d.ID, With: d.From.Short(), Text: fmt.Sprintf("agreed to %s: draft %.8s%s", d.Contract, d.ID, s.turnsText(d.Risk))})
	wake(h.work)
	return d.Risk, nil
}

// sketch looks at a draft as self.
func (d Draft) sketch(self wire.VaultID, now int64) (*sketch, error) {
	o, err := d.body()
	if err != nil {
		return nil, err
	}
	return sketchOf(o, d.From, self, o.Agreement.Escrow, now)
}

// setAside picks this side's chunks for its pots.
func (h *Host) setAside(ctx context.Context, d *Draft, s *sketch, st enclave.Status) error {
	o := s.body
	until, err := s.ends()
	if err != nil {
		return err
	}
	taken := h.reserved()
	for i, pot := range s.deal.Program().Pots() {
		units := s.deal.PotUnits(i)
		d.Known[i] = pot.From == s.role || len(o.Agreement.Pots[i]) > 0
		if pot.From != s.role || units == 0 || len(o.Agreement.Pots[i]) > 0 {
			continue
		}
		ask := o.Asks[i]
		a, err := h.asset(ctx, ask.Asset)
		if err != nil {
			return fmt.Errorf("pot %s: %w", pot.Name, err)
		}
		if a.Chain != ask.Chain {
			return fmt.Errorf("pot %s is to hold %s on %s; the wallet here is on %s", pot.Name, ask.Asset, ask.Chain, a.Chain)
		}
		list, err := s.pick(usable(st, h.id, taken, h.fundedState, until), ask.Asset, ask.Unit, units)
		if err != nil {
			return fmt.Errorf("pot %s: %w", pot.Name, err)
		}
		d.Mine[i] = nil
		for _, c := range list {
			d.Mine[i] = append(d.Mine[i], vault.Stake{Chunk: c.ID, Epoch: c.Chunk.Epoch, Weight: c.Chunk.Weight})
			taken[c.ID] = true
		}
	}
	return nil
}

// findDraft returns the one draft whose id begins with some digits.
func (h *Host) findDraft(id string) (Draft, error) {
	var found []Draft
	each(h.store, "draft/", func(_ string, d Draft) {
		if len(id) >= 4 && len(id) <= len(d.ID) && d.ID[:len(id)] == id {
			found = append(found, d)
		}
	})
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Draft{}, fmt.Errorf("no draft %.40q; latchkey status lists those that there are", id)
	}
	return Draft{}, fmt.Errorf("%d drafts begin with %q: give more digits", len(found), id)
}

// again is how often a draft is sent to those who have not answered.
const again = 2 * time.Second

// hurry lets the next round send a draft at once.
func (h *Host) hurry(id string) {
	h.mu.Lock()
	delete(h.sent, id)
	h.mu.Unlock()
}

func (h *Host) sendNow(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.sent[id]) < again {
		return false
	}
	h.sent[id] = time.Now()
	return true
}

// drafts moves every draft on.
func (h *Host) drafts(ctx context.Context, st enclave.Status) {
	each(h.store, "draft/", func(name string, d Draft) {
		if d.over() || d.State == draftAccepted {
			return
		}
		h.dealing.Lock()
		defer h.dealing.Unlock()
		if !h.store.get(name, &d) || d.over() || d.State == draftAccepted { // a letter may have come meanwhile
			return
		}
		o, err := d.body()
		switch {
		case err != nil:
		case st.Now >= o.Agreement.LockBy:
			err = h.endDraft(ctx, d, draftEnded, "not everybody accepted it in time")
		case d.Again: // the user's turn
		case d.mine(h.id):
			err = h.lead(ctx, d, o, st)
		case d.State == draftAgreed:
			err = h.join(ctx, d, o, st)
		}
		h.problem(fmt.Sprintf("draft %.8s", d.ID), err)
	})
}

// lead is the proposer's part: send the draft to whoever has not answered; when
// all others have accepted the complete agreement, sign and lock it.
func (h *Host) lead(ctx context.Context, d Draft, o draftBody, st enclave.Status) error {
	s, err := sketchOf(o, h.id, h.id, o.Agreement.Escrow, st.Now)
	if err != nil {
		return err
	}
	missing := s.missing()
	waiting := false
	send := h.sendNow(d.ID)
	for role, v := range s.parties {
		answered := d.Accepted[strconv.Itoa(role)] != nil
		if len(missing) > 0 {
			answered = answered || !slices.ContainsFunc(missing, func(pot int) bool { return s.depositor(pot) == role }) && d.Filled[strconv.Itoa(role)]
		}
		if role == s.role || answered {
			continue
		}
		waiting = true
		if send {
			id, err := d.id()
			if err == nil {
				err = h.post(ctx, v, letter{Draft: id, Propose: &o})
			}
			if err != nil {
				return err
			}
		}
	}
	if waiting || len(missing) > 0 {
		return nil
	}
	return h.sign(ctx, d, s)
}

// join is the part of a party that agreed: give chunks for its pots, and accept
// the agreement once it is complete.
func (h *Host) join(ctx context.Context, d Draft, o draftBody, st enclave.Status) error {
	s, err := sketchOf(o, d.From, h.id, o.Agreement.Escrow, st.Now)
	if err != nil {
		return err
	}
	if len(s.missing()) > 0 {
		if h.sendNow(d.ID) {
			return h.answer(ctx, d)
		}
		return nil
	}
	return h.sign(ctx, d, s)
}

// sign checks a complete agreement, has the vault accept it, and makes it a deal.
// A follower answers its proposer; the proposer, who has all other acceptances,
// brings it to the escrow.
func (h *Host) sign(ctx context.Context, d Draft, s *sketch) error {
	others, peers, err := h.ofOthers(ctx, s)
	if err != nil {
		return err
	}
	if err := h.receivableFunded(ctx, s); err != nil {
		if certain(err) {
			return h.endDraft(ctx, d, map[bool]string{true: draftEnded, false: draftDeclined}[d.mine(h.id)], "the coins are not there: "+err.Error())
		}
		return err // try again: it is this side's wallet that does not answer
	}
	why, err := s.unseen(d.Known)
	loss, lerr := h.risky(s, nil, d.MaxLoss)
	if err = errors.Join(err, lerr); why == "" && s.inTurn() && d.MaxLoss == 0 && loss > d.Risk {
		why = fmt.Sprintf("with the chunks that were put in since, up to %s can be lost at any moment, and not %d", tally(loss, "unit"), d.Risk)
	}
	switch {
	case err != nil:
		return h.endDraft(ctx, d, map[bool]string{true: draftEnded, false: draftDeclined}[d.mine(h.id)], err.Error())
	case why != "":
		d.Again = true
		h.store.journal(ctx, Event{Kind: "review again", Deal: d.ID, Text: fmt.Sprintf("draft %.8s of %s is complete, and %s: review it, and accept it again", d.ID, d.Contract, why)})
		return h.store.put(ctx, draftName(d.ID), d)
	}
	if s.inTurn() {
		h.store.journal(ctx, Event{Kind: "checked", Deal: d.ID, Text: fmt.Sprintf("draft %.8s of %s is complete%s", d.ID, d.Contract, s.turnsText(loss))})
	}
	started := time.Now().UnixMilli()
	a := s.body.Agreement
	r, err := h.call(ctx, enclave.Call{Accept: &enclave.Accept{Agreement: a, Peers: peers, Papers: others, InsecureVendors: h.cfg.InsecureVendors}})
	switch {
	case undecided(ctx, err):
		return err
	case err != nil:
		return h.endDraft(ctx, d, map[bool]string{true: draftEnded, false: draftDeclined}[d.mine(h.id)], err.Error())
	}
	deal := Deal{Draft: d.ID, State: "accepted", Accepted: started, Contract: d.Contract, Role: s.role, AtRisk: loss}
	if d.mine(h.id) {
		deal.Accepted = d.Began
	}
	if deal.Agreement, err = wire.Marshal(a); err != nil {
		return err
	}
	if deal.Hash, err = a.Hash(); err != nil {
		return err
	}
	for i, v := range s.parties {
		if i != s.role {
			deal.With = append(deal.With, v)
		}
	}
	for i, pot := range a.Pots {
		if s.depositor(i) == s.role && len(pot) > 0 && !s.isLater(i) {
			deal.Gives = append(deal.Gives, fmt.Sprintf("%s, %s, of %s", tally(len(pot), "chunk"), tally(weigh(pot), "unit"), s.denomination(i).ID))
		}
	}
	own, err := wire.Marshal(*r.Accepted)
	if err != nil {
		return err
	}
	d.Accepted[strconv.Itoa(s.role)], d.State = own, draftAccepted
	if d.mine(h.id) {
		q := vault.LockAsk{Agreement: a}
		for i := range s.parties {
			var x vault.SignedAcceptance
			if err := wire.Unmarshal(d.Accepted[strconv.Itoa(i)], &x); err != nil {
				return fmt.Errorf("acceptance of party %d: %w", i, err)
			}
			q.Acceptances = append(q.Acceptances, x)
		}
		deal.State = "locking"
		if deal.Lock, err = wire.Marshal(q); err != nil {
			return err
		}
	}
	if err := h.store.put(ctx, draftDealName(d.ID), deal); err != nil {
		return err
	}
	if err := h.store.put(ctx, draftName(d.ID), d); err != nil {
		return err
	}
	h.store.journal(ctx, Event{
		Kind: "accepted", At: started, Deal: d.ID, With: short(deal.With),
		Text: fmt.Sprintf("checked balances and evidence, accepted %s with %s", d.Contract, named(deal.With)),
	})
	wake(h.work)
	if d.mine(h.id) {
		return nil
	}
	return h.answer(ctx, d)
}

// undecided reports whether a failed call leaves open what the vault thinks.
func undecided(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, enclave.ErrGone) || errors.Is(err, enclave.ErrNoSession) || errors.Is(err, errStarting)
}

// certain reports whether a wallet has said that coins are not there, rather than
// that it does not know.
func certain(err error) bool {
	return slices.ContainsFunc([]error{
		wallet.ErrNotFunded, wallet.ErrNotConfirmed, wallet.ErrSpent, wallet.ErrUnknownAsset, wallet.ErrWrongKey, wallet.ErrInvalid,
	}, func(x error) bool { return errors.Is(err, x) })
}

// ofOthers returns what the vault needs to judge the other parties: papers of the
// chunks that are not this side's, and evidence.
func (h *Host) ofOthers(ctx context.Context, s *sketch) (list []vault.Paper, peers []enclave.Peer, err error) {
	for i, pot := range s.body.Agreement.Pots {
		for _, x := range pot {
			if s.depositor(i) != s.role && !s.isLater(i) {
				list = append(list, s.papers[x.Chunk])
			}
		}
	}
	for i, v := range s.parties {
		if i == s.role {
			continue
		}
		p, err := h.peer(ctx, v)
		if err != nil {
			return nil, nil, err
		}
		peers = append(peers, p)
	}
	return list, peers, nil
}

// receivableFunded checks with the own wallets that the chunks which this side may
// be given hold what their certificates say. What can only come to others is
// theirs to check.
func (h *Host) receivableFunded(ctx context.Context, s *sketch) error {
	var papers []vault.Paper
	for i, pot := range s.body.Agreement.Pots {
		if s.depositor(i) == s.role || s.isLater(i) || !slices.Contains(s.deal.Candidates(i), s.role) {
			continue
		}
		for _, x := range pot {
			papers = append(papers, s.papers[x.Chunk])
		}
	}
	asked, err := askedOf(papers)
	if err != nil {
		return err
	}
	return h.lookAt(ctx, asked)
}
