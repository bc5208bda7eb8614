package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/coin"
	"latchkey/contract"
	"latchkey/contract/oracle"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// A Draft is an agreement that named parties make among themselves, without a
// market, and how far it is. Its proposer sends it to the others; each of them
// answers when its user says so: with chunks, where it has pots to fill, and with
// its vault's acceptance, once all pots are full. The proposer signs last and
// brings it to the escrow. Nothing is binding before that, and after its LockBy
// nothing is.
//
// A Draft of this client's own that others accepted, or one that it accepted, goes
// on as a Deal.
type Draft struct {
	ID       string            `json:"id"` // 32 hexadecimal digits
	From     wire.VaultID      `json:"from"`
	Role     int               `json:"role"` // of this side
	Contract string            `json:"contract"`
	Body     []byte            `json:"offer"`    // draftBody, CBOR, as far as it is filled
	State    string            `json:"state"`    // proposed, agreed, accepted, ended, declined
	Reason   string            `json:"reason"`   // of its end
	Filled   map[string]bool   `json:"filled"`   // proposer: by role, who sent chunks
	Accepted map[string][]byte `json:"accepted"` // by role: vault.SignedAcceptance, CBOR
	Mine     [][]vault.Stake   `json:"mine"`     // by pot: chunks set aside for it
	Known    []bool            `json:"known"`    // by pot: whether this side's user could see its chunks
	Again    bool              `json:"again"`    // waits for the user to look once more: see unseen
	Request  string            `json:"request"`  // the payment request that it answers, 32 hexadecimal digits; or empty
	Began    int64             `json:"began_ms"`
	Risk     int64             `json:"risk"`               // units that this side can lose at most, as its user was shown
	MaxLoss  uint64            `json:"max_loss,omitempty"` // units: of tit-for-tat, by which more can be lost is not signed; 0: see Limits
}

// The states of a draft.
const (
	draftProposed = "proposed" // waits for its parties' users; of the proposer's own: for their answers
	draftAgreed   = "agreed"   // this side's user said yes
	draftAccepted = "accepted" // this side's vault signed it; what follows is in the Deal
	draftEnded    = "ended"
	draftDeclined = "declined"
)

func draftName(id string) string { return "draft/" + id }

func (d Draft) body() (o draftBody, err error) {
	err = wire.Unmarshal(d.Body, &o)
	return o, err
}

func (d Draft) mine(self wire.VaultID) bool { return d.From == self }

// over reports whether nothing more is to be done about a draft.
func (d Draft) over() bool { return d.State == draftEnded || d.State == draftDeclined }

func (d *Draft) set(o draftBody) error {
	raw, err := wire.Marshal(o)
	d.Body = raw
	return err
}

func (d Draft) id() (id draftID, err error) {
	raw, err := hex.DecodeString(d.ID)
	if err != nil || len(raw) != len(id) {
		return id, fmt.Errorf("draft id %.40q: want 32 hexadecimal digits", d.ID)
	}
	return draftID(raw), nil
}

// A sketch is a draft whose parts were looked at, as far as they need no vault
// and no wallet.
type sketch struct {
	body    draftBody
	deal    *contract.Deal
	parties []wire.VaultID
	papers  map[wire.ChunkID]vault.Paper
	role    int // of the client that looks
	from    int // of the proposer
}

func (s *sketch) depositor(pot int) int { return s.deal.Program().Pots()[pot].From }

// missing returns the pots that are not filled yet.
func (s *sketch) missing() (out []int) {
	for i, pot := range s.body.Agreement.Pots {
		if len(pot) == 0 && s.deal.PotUnits(i) > 0 {
			out = append(out, i)
		}
	}
	return out
}

// weights returns what Admit takes.
func (s *sketch) weights() [][]int64 { return stakeWeights(s.body.Agreement) }

func stakeWeights(a vault.Agreement) [][]int64 {
	out := make([][]int64, len(a.Pots))
	for i, pot := range a.Pots {
		for _, x := range pot {
			out[i] = append(out[i], int64(x.Weight))
		}
	}
	return out
}

// limits returns how far outcomes are explored: as the vaults do.
func (s *sketch) limits() contract.Limits {
	if b := s.body.Agreement.Bounds; b != nil {
		return contract.Limits{States: int(b.States), Moves: int(b.Moves)}
	}
	return contract.Limits{}
}

// sketchOf looks at a draft, as self. It decides nothing about who owns what: the
// vault does, of the complete agreement.
func sketchOf(o draftBody, from, self, escrow wire.VaultID, now int64) (*sketch, error) {
	fail := func(format string, args ...any) (*sketch, error) {
		return nil, fmt.Errorf("%w: %w", errDraft, fmt.Errorf(format, args...))
	}
	a := o.Agreement
	p, err := contract.Compile(a.Source)
	if err != nil {
		return fail("contract: %w", err)
	}
	s := &sketch{body: o, role: -1, from: -1, papers: map[wire.ChunkID]vault.Paper{}}
	if s.deal, err = p.Bind(a.Terms); err != nil {
		return fail("%w", err)
	}
	p = s.deal.Program() // with roles, of these numbers of holders
	pots := p.Pots()
	switch {
	case a.Escrow != escrow:
		return fail("its escrow is %s, this client's is %s", a.Escrow.Short(), escrow.Short())
	case len(a.Parties) != len(p.Parties()):
		return fail("%d parties, contract %s has %d", len(a.Parties), p.Name(), len(p.Parties()))
	case len(a.Pots) != len(pots) || len(o.Asks) != len(pots):
		return fail("%d pots and %d asks, contract %s has %d pots", len(a.Pots), len(o.Asks), p.Name(), len(pots))
	case a.LockBy <= now || a.LockBy > now+maxLockWait:
		return fail("lock by %s, and it is %s", wire.UTC(a.LockBy), wire.UTC(now))
	}
	if err := a.CheckNamed(p); err != nil {
		return fail("%w", err)
	}
	for i, r := range a.Parties {
		v, err := r.One()
		if err != nil {
			return fail("party %s: %w", p.Parties()[i], err)
		}
		if slices.Contains(s.parties, v) {
			return fail("vault %s is two parties", v.Short())
		}
		s.parties = append(s.parties, v)
	}
	s.role, s.from = slices.Index(s.parties, self), slices.Index(s.parties, from)
	if s.role < 0 || s.from < 0 {
		return fail("this client, or its proposer %s, is no party", from.Short())
	}
	list, err := o.Papers.unpack()
	if err != nil {
		return fail("%w", err)
	}
	for _, x := range list {
		s.papers[x.Chunk.ID()] = x
	}
	for i := range pots {
		if err := s.checkPot(i); err != nil {
			return fail("pot %s: %w", pots[i].Name, err)
		}
	}
	if err := s.checkSettle(); err != nil {
		return fail("%w", err)
	}
	return s, nil
}

// denomination returns that of a filled pot, or of one that is filled later.
func (s *sketch) denomination(pot int) coin.Denomination {
	if d, ok := laterOf(s.body.Agreement, s.deal.Program())[pot]; ok {
		return d
	}
	for _, x := range s.body.Agreement.Pots[pot] {
		paper := s.papers[x.Chunk]
		if c, err := paper.Cert.Unverified(); err == nil {
			return c.Denomination
		}
	}
	return coin.Denomination{}
}

// maxLockWait is the longest time that a vault accepts until LockBy.
const maxLockWait = 24 * 3600

// checkPot checks that a pot is full, of one denomination and as asked for, or
// else empty and asked for.
func (s *sketch) checkPot(i int) error {
	if s.isLater(i) {
		return s.checkLater(i)
	}
	pot, ask, units := s.body.Agreement.Pots[i], s.body.Asks[i], s.deal.PotUnits(i)
	asked := ask != draftAsk{}
	var named coin.AssetID // that its chunks must be; empty: any
	if x := s.deal.Program().Pots()[i].Asset; x >= 0 {
		named = s.body.Agreement.Assets[x]
	}
	if asked && named != "" && ask.Asset != named {
		return fmt.Errorf("%s is asked for, the contract wants %s", ask.Asset, named)
	}
	if len(pot) == 0 {
		if units > 0 && (!asked || s.depositor(i) == s.from) {
			return errors.New("it is empty, and nobody is asked to fill it")
		}
		return nil
	}
	var sum int64
	var first coin.Denomination
	for j, x := range pot {
		sum += int64(x.Weight)
		paper, ok := s.papers[x.Chunk]
		if !ok {
			return fmt.Errorf("chunk %s comes without its papers", x.Chunk.Short())
		}
		c, err := paper.Cert.Unverified() // the vault verifies it, with everything else
		if err != nil {
			return err
		}
		if j == 0 {
			first = c.Denomination
		}
		if c.Denomination != first || c.Weight != x.Weight {
			return fmt.Errorf("chunk %s is of another denomination or weight than said", x.Chunk.Short())
		}
	}
	if sum != units {
		return fmt.Errorf("it holds %d units, the contract wants %d", sum, units)
	}
	if named != "" && first.Asset.ID != named {
		return fmt.Errorf("it holds %s, the contract wants %s", first.Asset.ID, named)
	}
	if asked && (first.Asset.ID != ask.Asset || first.Asset.Chain != ask.Chain || !sameUnit(first.Unit, ask.Unit)) {
		return fmt.Errorf("it holds %s on %s in units of %s, asked for was %s on %s in units of about %s",
			first.Asset.ID, first.Asset.Chain, first.Asset.Format(first.Unit), ask.Asset, ask.Chain, first.Asset.Format(ask.Unit))
	}
	return nil
}

// sameUnit reports whether one denomination's unit is within a twentieth of
// another's: they follow the rate.
func sameUnit(got, want coin.Amount) bool {
	a, err := got.Times(20)
	least, lerr := want.Times(19)
	most, merr := want.Times(21)
	return err == nil && lerr == nil && merr == nil && a.Cmp(least) >= 0 && a.Cmp(most) <= 0
}

// unseen returns why this side's user has to look at a complete draft again: which
// chunks a pot holds decides what rounding makes of a give, and whoever fills it
// after the user's yes could choose chunks so large that nothing comes of it.
func (s *sketch) unseen(known []bool) (string, error) {
	r, err := s.deal.Admit(s.weights(), s.limits())
	if err != nil {
		return "", err
	}
	for _, x := range r.Rounding {
		if x.Pot >= len(known) || !known[x.Pot] {
			return fmt.Sprintf("with the chunks that were put in since, the give in line %d may ask for %s of pot %s and come out as %d",
				x.Line, tally(x.Asked, "unit"), s.deal.Program().Pots()[x.Pot].Name, x.Given), nil
		}
	}
	return "", nil
}

// continues reports whether a draft is an earlier one with more pots filled, and
// nothing else changed. What self put in is as it put it in.
func (s *sketch) continues(old draftBody, mine [][]vault.Stake) error {
	a, b := s.body.Agreement, old.Agreement
	bare := func(x vault.Agreement) string { // all of it but the pots
		x.Pots = nil
		raw, err := wire.Marshal(x)
		if err != nil {
			return err.Error()
		}
		return string(raw)
	}
	if bare(a) != bare(b) || len(a.Pots) != len(b.Pots) || !slices.Equal(s.body.Asks, old.Asks) || s.body.Request != old.Request {
		return errors.New("it is another agreement than the one first shown under this name")
	}
	for i := range a.Pots {
		if len(b.Pots[i]) > 0 && !slices.Equal(a.Pots[i], b.Pots[i]) {
			return fmt.Errorf("pot %d holds other chunks than first shown", i)
		}
		if i < len(mine) && len(mine[i]) > 0 && len(a.Pots[i]) > 0 && !slices.Equal(a.Pots[i], mine[i]) {
			return fmt.Errorf("pot %d holds other chunks of this side than it put in", i)
		}
	}
	return nil
}

// reserved returns the chunks that are set aside for drafts.
func (h *Host) reserved() map[wire.ChunkID]bool {
	out := map[wire.ChunkID]bool{}
	each(h.store, "draft/", func(_ string, d Draft) {
		if d.over() || d.State == draftAccepted {
			return // free, or the vault's own pledge
		}
		for _, pot := range d.Mine {
			for _, s := range pot {
				out[s.Chunk] = true
			}
		}
	})
	return out
}

// A Proposal is what a user proposes to others.
type Proposal struct {
	Source  []byte
	Terms   []int64
	Parties []wire.VaultID
	Pots    map[string]coin.AssetID  // by the pot's name: which coins it is to hold
	Weights map[string][]uint32      // by the name of a pot that is filled later: of its chunks; nil: chosen here
	LockBy  int64                    // Unix seconds; 0: in ten minutes
	Oracles map[string]oracle.Quorum // by the oracle's name; a feed that the contract fixes may be left out
	Bounds  *vault.Bounds            // of the exploration; nil: the usual ones
	Manner  Manner                   // how it is settled; zero: atomically
}

// Propose drafts an agreement, fills this client's pots, and sends it to the
// others. It returns the draft's id.
func (h *Host) Propose(ctx context.Context, p Proposal) (string, error) {
	id, err := h.propose(ctx, p, nil, draftID{})
	if err != nil {
		return "", fmt.Errorf("propose: %w", err)
	}
	return id, nil
}

// propose drafts an agreement. chosen are the chunks of its only pot; nil: they
// are picked here.
func (h *Host) propose(ctx context.Context, p Proposal, chosen []enclave.ChunkStatus, request draftID) (string, error) {
	g, err := h.beginDraft(ctx, p, request)
	if err != nil {
		return "", err
	}
	h.dealing.Lock()
	defer h.dealing.Unlock()
	g.taken = h.reserved()
	if err := h.fillPots(ctx, g, chosen); err != nil {
		return "", err
	}
	if err := h.agreeLaterPots(ctx, g); err != nil {
		return "", err
	}
	d := &g.draft
	if g.body.Papers, err = h.papersOf(ctx, g.own); err != nil {
		return "", err
	}
	s, err := sketchOf(g.body, h.id, h.id, g.body.Agreement.Escrow, g.st.Now)
	if err != nil {
		return "", err
	}
	if d.Risk, err = h.risky(s, nil, d.MaxLoss); err != nil {
		return "", err
	}
	var id draftID
	rand.Read(id[:])
	d.ID = id.String()
	if request != (draftID{}) {
		d.Request = request.String()
	}
	if err := d.set(g.body); err != nil {
		return "", err
	}
	if err := h.store.put(ctx, draftName(d.ID), *d); err != nil {
		return "", err
	}
	h.store.journal(ctx, Event{Kind: "proposed", Deal: d.ID, With: short(others(p.Parties, h.id)), Text: fmt.Sprintf("proposed %s to %s: draft %.8s%s", d.Contract, named(others(p.Parties, h.id)), d.ID, s.turnsText(d.Risk))})
	wake(h.work)
	return d.ID, nil
}

// A drafting is a proposal in the making.
type drafting struct {
	pots    map[string]coin.AssetID // by the pot's name: which coins it is to hold
	weights map[string][]uint32     // as in Proposal
	st      enclave.Status
	bare    *sketch // of body, before there are chunks in it
	until   int64   // by when it would be settled, Unix seconds: chunks have to last so long
	body    draftBody
	draft   Draft
	taken   map[wire.ChunkID]bool // chunks that are set aside, for other drafts or in this one
	own     []wire.ChunkID        // those that this client puts in
}

// beginDraft checks what needs no chunks: contract and terms, who the parties are, which
// coins each pot is to hold, and that this client's own limits permit it.
func (h *Host) beginDraft(ctx context.Context, p Proposal, request draftID) (*drafting, error) {
	st, err := h.vaultStatus(ctx)
	if err != nil {
		return nil, err
	}
	program, err := contract.Compile(p.Source)
	if err != nil {
		return nil, fmt.Errorf("contract: %w", err)
	}
	deal, err := program.Bind(p.Terms)
	if err != nil {
		return nil, err
	}
	if program = deal.Program(); len(p.Parties) != len(program.Parties()) {
		return nil, fmt.Errorf("%d parties, contract %s has %d: %s", len(p.Parties), program.Name(), len(program.Parties()), strings.Join(program.Parties(), ", "))
	}
	escrow, err := h.escrowID(ctx)
	if err != nil {
		return nil, err
	}
	if p.LockBy == 0 {
		p.LockBy = st.Now + 600
	}
	role := slices.Index(p.Parties, h.id)
	if role < 0 {
		return nil, errors.New("this client is no party of it")
	}
	pots := len(program.Pots())
	g := &drafting{weights: p.Weights, st: st}
	g.body = draftBody{Request: request, Agreement: vault.Agreement{
		Source: p.Source, Terms: p.Terms, Escrow: escrow, LockBy: p.LockBy,
		Pots: make([][]vault.Stake, pots), Bounds: p.Bounds,
	}, Asks: make([]draftAsk, pots)}
	g.body.Agreement.Settle, g.body.Agreement.Pace = p.Manner.settled()
	if g.pots, err = nameIn(&g.body.Agreement, program, p); err != nil {
		return nil, err
	}
	for _, v := range p.Parties {
		g.body.Agreement.Parties = append(g.body.Agreement.Parties, vault.Recipients{v})
		if v == h.id {
			continue
		}
		if _, err := h.peer(ctx, v); err != nil {
			return nil, err
		}
	}
	g.bare = &sketch{body: g.body, deal: deal, parties: p.Parties, role: role, from: role}
	if g.until, err = h.permitted(g.bare); err != nil {
		return nil, err
	}
	g.draft = Draft{
		From: h.id, Role: role, Contract: program.Name(), State: draftProposed, Filled: map[string]bool{}, Accepted: map[string][]byte{},
		Mine: make([][]vault.Stake, pots), Known: make([]bool, pots), Began: time.Now().UnixMilli(), MaxLoss: p.Manner.MaxLoss,
	}
	return g, nil
}

// fillPots puts this client's chunks into the pots that it fills before the contract
// opens, and asks the others for theirs.
func (h *Host) fillPots(ctx context.Context, g *drafting, chosen []enclave.ChunkStatus) error {
	for i, pot := range g.bare.deal.Program().Pots() {
		units := g.bare.deal.PotUnits(i)
		if units == 0 || pot.Later {
			continue
		}
		asset := g.pots[pot.Name]
		if chosen == nil && asset == "" {
			return fmt.Errorf("pot %s: which coins is it to hold?", pot.Name)
		}
		if pot.From != g.draft.Role {
			a, err := h.asset(ctx, asset)
			if err != nil {
				return fmt.Errorf("pot %s: %w", pot.Name, err)
			}
			unit, err := h.unitOf(ctx, a, g.st)
			if err != nil {
				return fmt.Errorf("pot %s: %w", pot.Name, err)
			}
			g.body.Asks[i] = draftAsk{a.ID, a.Chain, unit}
			continue
		}
		list := chosen
		if list == nil {
			var err error
			if list, err = g.bare.pick(g.free(h), asset, coin.Amount{}, units); err != nil {
				return fmt.Errorf("pot %s: %w", pot.Name, err)
			}
		}
		stakes := &g.body.Agreement.Pots[i]
		for _, c := range list {
			*stakes = append(*stakes, vault.Stake{Chunk: c.ID, Epoch: c.Chunk.Epoch, Weight: c.Chunk.Weight})
			g.taken[c.ID] = true
			g.own = append(g.own, c.ID)
		}
		g.draft.Mine[i], g.draft.Known[i] = *stakes, true
	}
	return nil
}

// agreeLaterPots says what the pots are to hold that are filled while the contract runs.
// The others come first: both may be of the same coins.
func (h *Host) agreeLaterPots(ctx context.Context, g *drafting) error {
	for i, pot := range g.bare.deal.Program().Pots() {
		units := g.bare.deal.PotUnits(i)
		if units == 0 || !pot.Later {
			continue
		}
		if g.pots[pot.Name] == "" {
			return fmt.Errorf("pot %s: which coins is it to hold, once it is filled?", pot.Name)
		}
		if err := h.agreeLater(ctx, &g.body.Agreement, i, g.pots[pot.Name], g.weights[pot.Name], units, pot.From == g.draft.Role, g.st, g.free(h)); err != nil {
			return fmt.Errorf("pot %s: %w", pot.Name, err)
		}
		g.draft.Known[i] = true
	}
	return nil
}

// free returns the chunks that can be put in.
func (g *drafting) free(h *Host) []enclave.ChunkStatus {
	return usable(g.st, h.id, g.taken, h.fundedState, g.until)
}

// nameIn sets the oracles and assets of an agreement, and returns which coins each
// pot is to hold: where the contract fixes its asset, nobody has to say.
func nameIn(a *vault.Agreement, program *contract.Program, p Proposal) (map[string]coin.AssetID, error) {
	known := map[string]bool{}
	pots := map[string]coin.AssetID{}
	for _, pot := range program.Pots() { // one of each holder of a role may be said for all
		if said := cmp.Or(p.Pots[pot.Name], p.Pots[ofAll(pot.Name)]); said != "" {
			pots[pot.Name], known[pot.Name], known[ofAll(pot.Name)] = said, true, true
		}
	}
	for _, name := range sortedKeys(p.Pots) {
		if !known[name] {
			return nil, fmt.Errorf("contract %s has no pot %.40q", program.Name(), name)
		}
	}
	clear(known)
	for _, f := range program.Oracles() {
		q, ok := p.Oracles[f.Name]
		if !ok {
			return nil, fmt.Errorf("oracle %s: whose values count? name its keys, and how many of them have to sign", f.Name)
		}
		if q.Feed == "" {
			q.Feed = f.Fixed
		}
		if q.Feed == "" {
			return nil, fmt.Errorf("oracle %s: the contract leaves its feed open: name one, such as gold/usd", f.Name)
		}
		q.Keys = slices.SortedFunc(slices.Values(q.Keys), bytes.Compare)
		a.Oracles, known[f.Name] = append(a.Oracles, q), true
	}
	for _, name := range sortedKeys(p.Oracles) {
		if !known[name] {
			return nil, fmt.Errorf("contract %s reads no oracle %.40q", program.Name(), name)
		}
	}
	for i, x := range program.Assets() {
		is := coin.AssetID(x.Fixed)
		for _, pot := range program.Pots() {
			if said := pots[pot.Name]; pot.Asset == i && is == "" {
				is = said
			} else if pot.Asset == i && said != "" && said != is {
				return nil, fmt.Errorf("pot %s is to hold %s, and by its contract it holds %s", pot.Name, said, is)
			}
		}
		if is == "" {
			return nil, fmt.Errorf("asset %s: no pot that holds it is said to hold any coins", x.Name)
		}
		a.Assets = append(a.Assets, is)
	}
	for _, pot := range program.Pots() {
		if pot.Asset >= 0 {
			pots[pot.Name] = a.Assets[pot.Asset]
		}
	}
	return pots, a.CheckNamed(program)
}

func others(list []wire.VaultID, but wire.VaultID) (out []wire.VaultID) {
	for _, v := range list {
		if v != but {
			out = append(out, v)
		}
	}
	return out
}

func (h *Host) papersOf(ctx context.Context, ids []wire.ChunkID) (papers, error) {
	if len(ids) == 0 {
		return papers{}, nil
	}
	r, err := h.call(ctx, enclave.Call{Papers: &enclave.Chunks{IDs: ids}})
	return packPapers(r.Papers), err
}

// unitOf returns about what a unit of an asset is today: that of the newest chunks
// held, or what the switchboard says.
func (h *Host) unitOf(ctx context.Context, a coin.Asset, st enclave.Status) (coin.Amount, error) {
	d, err := h.board.Denominate(ctx, a)
	if err == nil {
		return d.Unit, nil
	}
	var newest int64
	var unit coin.Amount
	for _, c := range st.Chunks {
		if c.Cert.Denomination.Asset == a && c.Cert.Made > newest {
			newest, unit = c.Cert.Made, c.Cert.Denomination.Unit
		}
	}
	if newest == 0 {
		return coin.Amount{}, err
	}
	return unit, nil
}

// fundedState reports whether a chunk holds coins as far as this side's records
// say: own ones once they are confirmed, others' since they were checked when they
// came.
func (h *Host) fundedState(c enclave.ChunkStatus) bool {
	if c.Chunk.Epoch > 0 {
		return true
	}
	var f Funding
	return h.store.get("fund/"+c.Chunk.Cert.String(), &f) && (f.State == "confirmed" || f.State == "announced")
}
