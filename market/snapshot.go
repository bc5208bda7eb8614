package market

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"latchkey/coin"
	"latchkey/wire"
)

// A snapshot is a sequence of records, each a uvarint length and deterministic CBOR, in a fixed order: what the market
// is at, then denominations, rates, contracts, clients, profiles, certificates, chunks, offers, proposals, notices.
// Everything else (stocks, books, exposures, timers) is derived from these. Records refer to clients and certificates by
// their number in the snapshot.

const (
	snapshotVersion = 1
	chunksPerRecord = 4096
)

type (
	headRec struct {
		Version  uint8  `cbor:"1,keyasint"`
		Position uint64 `cbor:"2,keyasint"`
		Now      int64  `cbor:"3,keyasint"`
		Outage   bool   `cbor:"4,keyasint"`
		OutageAt int64  `cbor:"5,keyasint"`
		OutageTo int64  `cbor:"6,keyasint"`
		ChunkSeq uint64 `cbor:"7,keyasint"`
	}
	rateRec struct {
		Asset    coin.AssetID `cbor:"1,keyasint"`
		PerCoin  uint64       `cbor:"2,keyasint"`
		Observed int64        `cbor:"3,keyasint"`
		Lost     string       `cbor:"4,keyasint"`
		LostAt   int64        `cbor:"5,keyasint"`
	}
	contractRec struct {
		Pos    uint64 `cbor:"1,keyasint"`
		Source []byte `cbor:"2,keyasint"`
	}
	clientRec struct {
		ID      wire.VaultID `cbor:"1,keyasint"`
		Pos     uint64       `cbor:"2,keyasint"`
		Reach   []byte       `cbor:"3,keyasint"`
		Exempt  bool         `cbor:"4,keyasint"`
		Bond    Micros       `cbor:"5,keyasint"`
		Rep     Reputation   `cbor:"6,keyasint"`
		Profile uint32       `cbor:"7,keyasint"` // present one
		Last    uint64       `cbor:"8,keyasint"`
		Acked   uint64       `cbor:"9,keyasint"`
		Pauses  []pause      `cbor:"10,keyasint,omitempty"`
	}
	profileRec struct {
		Client uint32    `cbor:"1,keyasint"`
		Device Device    `cbor:"2,keyasint"`
		Vendor wire.Hash `cbor:"3,keyasint"`
		TCB    string    `cbor:"4,keyasint"`
	}
	certRec struct {
		ID      wire.CertID  `cbor:"1,keyasint"`
		Pos     uint64       `cbor:"2,keyasint"`
		Escrow  wire.VaultID `cbor:"3,keyasint"`
		Denom   string       `cbor:"4,keyasint"`
		Weight  uint32       `cbor:"5,keyasint"`
		Expiry  int64        `cbor:"6,keyasint"`
		Retire  int64        `cbor:"7,keyasint"`
		Retired bool         `cbor:"8,keyasint"`
	}
	chunkRec struct {
		_     struct{} `cbor:",toarray"`
		ID    wire.ChunkID
		Seq   uint64
		Cert  uint32
		Owner uint32
		Epoch uint32
		Place place
		Value Micros
		Line  []uint32
	}
	shareRec struct {
		_      struct{} `cbor:",toarray"`
		Client uint32
		Units  Units
	}
	offerRec struct {
		Client uint32      `cbor:"1,keyasint"`
		Pos    uint64      `cbor:"2,keyasint"`
		Offer  Offer       `cbor:"3,keyasint"`
		Got    Units       `cbor:"4,keyasint"`
		Gave   Units       `cbor:"5,keyasint"`
		Shares []shareRec  `cbor:"6,keyasint"`
		Avoid  []pairing   `cbor:"7,keyasint"`
		Closed CloseReason `cbor:"8,keyasint"`
	}
	proposalRec struct {
		Proposal    Proposal        `cbor:"1,keyasint"`
		Stage       stage           `cbor:"2,keyasint"`
		Acceptances [][]byte        `cbor:"3,keyasint"` // empty: none
		Members     []uint32        `cbor:"4,keyasint"` // profiles
		Instance    wire.InstanceID `cbor:"5,keyasint"`
		Entry       uint64          `cbor:"6,keyasint"`
		Ask         int64           `cbor:"7,keyasint"`
		Outcome     Outcome         `cbor:"8,keyasint"`
		Why         EndReason       `cbor:"9,keyasint"`
		Forget      int64           `cbor:"10,keyasint"`
		Rests       []Rest          `cbor:"11,keyasint,omitempty"`
	}
	mailRec struct {
		Client   uint32   `cbor:"1,keyasint"`
		Delivery Delivery `cbor:"2,keyasint"`
	}
	record struct {
		Head     *headRec           `cbor:"1,keyasint,omitempty"`
		Denom    *coin.Denomination `cbor:"2,keyasint,omitempty"`
		Rate     *rateRec           `cbor:"3,keyasint,omitempty"`
		Contract *contractRec       `cbor:"4,keyasint,omitempty"`
		Client   *clientRec         `cbor:"5,keyasint,omitempty"`
		Profile  *profileRec        `cbor:"6,keyasint,omitempty"`
		Cert     *certRec           `cbor:"7,keyasint,omitempty"`
		Chunks   []chunkRec         `cbor:"8,keyasint,omitempty"`
		Offer    *offerRec          `cbor:"9,keyasint,omitempty"`
		Proposal *proposalRec       `cbor:"10,keyasint,omitempty"`
		Mail     *mailRec           `cbor:"11,keyasint,omitempty"`
	}
)

// Snapshot returns the state. Equal states have equal snapshots, however they came about.
func (m *Market) Snapshot() ([]byte, error) {
	var out []byte
	var failed error
	put := func(r record) {
		b, err := wire.Marshal(r)
		if err != nil && failed == nil {
			failed = fmt.Errorf("snapshot: %w", err)
		}
		out = append(binary.AppendUvarint(out, uint64(len(b))), b...)
	}
	put(record{Head: &headRec{snapshotVersion, m.pos, m.now, m.outage, m.outageAt, m.outageTo, m.chunkSeq}})
	for _, d := range m.denomsInOrder() {
		put(record{Denom: &d.Denomination})
	}
	assets := make([]coin.AssetID, 0, len(m.rates))
	for id := range m.rates {
		assets = append(assets, id)
	}
	slices.Sort(assets)
	for _, id := range assets {
		r := m.rates[id]
		put(record{Rate: &rateRec{id, r.perCoin, r.observed, r.lost, r.lostAt}})
	}
	forms := make([]*form, 0, len(m.contracts))
	for _, f := range m.contracts {
		forms = append(forms, f)
	}
	slices.SortFunc(forms, func(a, b *form) int { return cmpUint(a.pos, b.pos) })
	for _, f := range forms {
		put(record{Contract: &contractRec{f.pos, f.source}})
	}
	clients := m.clientsInOrder()
	number := make(map[*client]uint32, len(clients))
	for i, c := range clients {
		number[c] = uint32(i)
		put(record{Client: &clientRec{c.id, c.pos, c.reach, c.exempt, c.bond, c.rep, c.profile.number(), c.mail.last, c.mail.acked, c.pauses}})
	}
	for _, p := range m.profiles {
		put(record{Profile: &profileRec{number[p.client], p.device, p.vendor, p.tcb}})
	}
	m.putChunks(put, number)
	var offers []*offer
	for _, c := range clients {
		for _, o := range c.offers {
			offers = append(offers, o)
		}
	}
	slices.SortFunc(offers, byPos)
	for _, o := range offers {
		r := &offerRec{Client: number[o.client], Pos: o.pos, Offer: o.Offer, Got: o.got, Gave: o.gave, Avoid: o.avoid, Closed: o.closed}
		for _, s := range o.shares {
			r.Shares = append(r.Shares, shareRec{Client: number[s.client], Units: s.units})
		}
		put(record{Offer: r})
	}
	for _, p := range m.proposalsInOrder() {
		r := &proposalRec{
			Proposal: *p.Proposal, Stage: p.stage, Acceptances: p.acceptances, Instance: p.instance, Entry: p.entry,
			Ask: p.ask, Outcome: p.outcome, Why: p.why, Forget: p.forget, Rests: p.rests,
		}
		for _, q := range p.members {
			r.Members = append(r.Members, q.number())
		}
		put(record{Proposal: r})
	}
	for i, c := range clients {
		for _, d := range c.mail.queue {
			put(record{Mail: &mailRec{uint32(i), d}})
		}
	}
	return out, failed
}

// putChunks writes certificates and chunks.
func (m *Market) putChunks(put func(record), number map[*client]uint32) {
	certs := make([]*cert, 0, len(m.certs))
	for _, k := range m.certs {
		certs = append(certs, k)
	}
	slices.SortFunc(certs, func(a, b *cert) int { return cmpUint(a.pos, b.pos) })
	for _, k := range certs {
		put(record{Cert: &certRec{k.id, k.pos, k.escrow, k.denom.ID, weights[k.rung], k.expiry, k.retire, k.retired}})
	}
	var list []chunkRec
	for i, k := range certs {
		for _, c := range k.chunks {
			list = append(list, chunkRec{
				ID: c.id, Seq: c.seq, Cert: uint32(i), Owner: number[c.owner], Epoch: c.epoch, Place: c.place, Value: c.value, Line: c.line,
			})
			if len(list) == chunksPerRecord {
				put(record{Chunks: list})
				list = list[:0]
			}
		}
	}
	if len(list) > 0 {
		put(record{Chunks: list})
	}
}

// Restore returns the market that a snapshot is of, under a policy. It takes exactly what Snapshot writes; every refusal
// wraps ErrSnapshot.
func Restore(p Policy, snapshot []byte) (*Market, error) {
	m, err := New(p)
	if err != nil {
		return nil, err
	}
	r := restoring{m: m}
	for rest := snapshot; len(rest) > 0; {
		n, k := binary.Uvarint(rest)
		if k <= 0 || n > uint64(len(rest)-k) {
			return nil, fmt.Errorf("restore: %w: a record of %d bytes, %d are left", ErrSnapshot, n, len(rest))
		}
		var rec record
		if err := wire.Unmarshal(rest[k:k+int(n)], &rec); err != nil {
			return nil, fmt.Errorf("restore: %w: %w", ErrSnapshot, err)
		}
		if err := r.take(&rec); err != nil {
			return nil, fmt.Errorf("restore: %w: %w", ErrSnapshot, err)
		}
		rest = rest[k+int(n):]
	}
	if err := r.finish(); err != nil {
		return nil, fmt.Errorf("restore: %w: %w", ErrSnapshot, err)
	}
	if again, err := m.Snapshot(); err != nil || !bytes.Equal(again, snapshot) {
		return nil, fmt.Errorf("restore: %w: it is not in order", ErrSnapshot)
	}
	return m, nil
}

// profileKind is the kind of a record of a profile: clients are whole after the last of these.
const profileKind = 6

// kind returns which one of the record's fields is set, counted from 1; 0 when it is none or several.
func (rec *record) kind() (kind int) {
	for i, set := range []bool{
		rec.Head != nil, rec.Denom != nil, rec.Rate != nil, rec.Contract != nil, rec.Client != nil, rec.Profile != nil,
		rec.Cert != nil, len(rec.Chunks) > 0, rec.Offer != nil, rec.Proposal != nil, rec.Mail != nil,
	} {
		if set && kind > 0 {
			return 0
		} else if set {
			kind = i + 1
		}
	}
	return kind
}

// pos returns the position by which records of a kind are in order, if they are.
func (rec *record) pos() (uint64, bool) {
	switch {
	case rec.Contract != nil:
		return rec.Contract.Pos, true
	case rec.Client != nil:
		return rec.Client.Pos, true
	case rec.Cert != nil:
		return rec.Cert.Pos, true
	case rec.Offer != nil:
		return rec.Offer.Pos, true
	case rec.Proposal != nil:
		return uint64(rec.Proposal.Proposal.ID), true
	}
	return 0, false
}

// restoring is a market that is being read.
type restoring struct {
	m       *Market
	kind    int    // of the newest record: their order is fixed
	next    uint64 // the least position of the next record of this kind
	clients []*client
	present []uint32 // profile of each client
	certs   []*cert
	lines   map[string][]uint32 // shares equal lines
}

// take adds one record. What it does not check the comparison at the end of Restore does.
func (r *restoring) take(rec *record) error {
	m := r.m
	kind := rec.kind()
	if kind < r.kind || kind == 0 || (kind == 1) != (r.kind == 0) {
		return fmt.Errorf("a record of kind %d after one of kind %d", kind, r.kind)
	}
	if kind != r.kind {
		r.kind, r.next = kind, 0
	}
	if pos, ok := rec.pos(); ok {
		if pos < r.next || pos >= m.pos {
			return fmt.Errorf("a record of kind %d of position %d after %d, in a log of %d events", kind, pos, r.next, m.pos)
		}
		r.next = pos + 1
	}
	if kind > profileKind {
		if err := r.settle(); err != nil {
			return err
		}
	}
	switch {
	case rec.Head != nil:
		h := rec.Head
		if h.Version != snapshotVersion {
			return fmt.Errorf("version %d, want %d", h.Version, snapshotVersion)
		}
		for _, at := range []int64{h.Now, h.OutageAt, h.OutageTo} {
			if at < 0 || at > maxTime {
				return fmt.Errorf("time %d", at)
			}
		}
		r.lines = map[string][]uint32{}
		m.pos, m.now, m.outage, m.outageAt, m.outageTo, m.chunkSeq = h.Position, h.Now, h.Outage, h.OutageAt, h.OutageTo, h.ChunkSeq
	case rec.Denom != nil:
		return m.applyDenominated(&Denominated{*rec.Denom})
	case rec.Rate != nil:
		x := rec.Rate
		m.rates[x.Asset] = &rate{x.PerCoin, x.Observed, x.Lost, x.LostAt}
	case rec.Contract != nil:
		x, err := formOf(rec.Contract.Source, rec.Contract.Pos)
		if err != nil {
			return err
		}
		m.contracts[x.hash] = x
	case rec.Client != nil:
		x := rec.Client
		if m.clients[x.ID] != nil || x.Bond < 0 || x.Bond > maxMicros || len(x.Pauses) > maxAvoid {
			return fmt.Errorf("client %s", x.ID.Short())
		}
		for i, p := range x.Pauses {
			if p.Length < firstPause || p.Length > longestPause || slices.ContainsFunc(x.Pauses[:i], func(q pause) bool { return q.Client == p.Client }) {
				return fmt.Errorf("client %s pauses for %d s with client %s", x.ID.Short(), p.Length, p.Client.Short())
			}
		}
		c := &client{
			id: x.ID, pos: x.Pos, reach: x.Reach, exempt: x.Exempt, bond: x.Bond, rep: x.Rep,
			offers: map[OfferID]*offer{}, stocks: map[stockKey]*stock{}, mail: mailbox{last: x.Last, acked: x.Acked}, pauses: x.Pauses,
		}
		m.clients[x.ID] = c
		r.clients, r.present = append(r.clients, c), append(r.present, x.Profile)
	case rec.Profile != nil:
		x := rec.Profile
		if int64(x.Client) >= int64(len(r.clients)) || x.Device.Kind < DeviceUnique || x.Device.Kind > DeviceNone {
			return fmt.Errorf("profile of client %d", x.Client)
		}
		m.profileOf(r.clients[x.Client], x.Device, x.Vendor, x.TCB)
	case rec.Cert != nil:
		x := rec.Cert
		rung, ok := rung(x.Weight)
		k := &cert{
			id: x.ID, pos: x.Pos, escrow: x.Escrow, denom: m.denoms[x.Denom], rung: rung,
			expiry: x.Expiry, retire: x.Retire, retired: x.Retired,
		}
		if k.denom == nil || !ok {
			return fmt.Errorf("certificate %s", x.ID.Short())
		}
		m.certs[x.ID] = k
		r.certs = append(r.certs, k)
		if !k.retired {
			m.timers.add(timer{at: k.retire, pos: k.pos, cert: k})
		}
	case rec.Chunks != nil:
		for i := range rec.Chunks {
			if err := r.chunk(&rec.Chunks[i]); err != nil {
				return err
			}
		}
	case rec.Offer != nil:
		return r.offer(rec.Offer)
	case rec.Proposal != nil:
		return r.proposal(rec.Proposal)
	case rec.Mail != nil:
		x := rec.Mail
		if int64(x.Client) >= int64(len(r.clients)) {
			return fmt.Errorf("notice for client %d", x.Client)
		}
		d := &x.Delivery
		n := 0
		for _, set := range []bool{d.Proposal != nil, d.Accepted != nil, d.Ended != nil, d.Closed != nil} {
			if set {
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("a notice that says %d things", n)
		}
		c := r.clients[x.Client]
		c.mail.queue = append(c.mail.queue, *d)
	}
	return nil
}

// settle connects clients with their present profiles, once these are known.
func (r *restoring) settle() error {
	for i, n := range r.present {
		if int64(n) >= int64(len(r.m.profiles)) || r.m.profiles[n].client != r.clients[i] {
			return fmt.Errorf("client %s has profile %d", r.clients[i].id.Short(), n)
		}
		r.clients[i].profile = r.m.profiles[n]
		r.clients[i].count(1)
	}
	r.present = nil
	return nil
}

func (r *restoring) chunk(x *chunkRec) error {
	m := r.m
	if int64(x.Cert) >= int64(len(r.certs)) || int64(x.Owner) >= int64(len(r.clients)) || m.chunks[x.ID] != nil ||
		x.Place < available || x.Place > pledged || x.Value < 0 || x.Value > maxUnitValue || len(x.Line) == 0 {
		return fmt.Errorf("chunk %s", x.ID.Short())
	}
	for i, n := range x.Line {
		if int64(n) >= int64(len(m.profiles)) || i > 0 && x.Line[i-1] >= n {
			return fmt.Errorf("chunk %s: line %v", x.ID.Short(), x.Line)
		}
	}
	c := &chunk{
		id: x.ID, seq: x.Seq, cert: r.certs[x.Cert], rung: r.certs[x.Cert].rung, owner: r.clients[x.Owner], epoch: x.Epoch, value: x.Value, line: r.line(x.Line), place: x.Place,
	}
	if c.place == available {
		c.place = kept
		m.move(c, available)
	}
	if c.place == available || c.place == kept || c.place == pledged {
		post(m.holding(c, nil), 1)
	}
	if c.place != gone {
		c.owner.chunks++
	}
	m.chunks[x.ID] = c
	c.cert.chunks = append(c.cert.chunks, c)
	return nil
}

// line returns one slice for all equal lines.
func (r *restoring) line(line []uint32) []uint32 {
	if len(line) == 1 {
		return r.m.profiles[line[0]].self
	}
	var b strings.Builder
	for _, n := range line {
		b.Write(binary.LittleEndian.AppendUint32(nil, n))
	}
	if old := r.lines[b.String()]; old != nil {
		return old
	}
	r.lines[b.String()] = line
	return line
}

func (r *restoring) offer(x *offerRec) error {
	if int64(x.Client) >= int64(len(r.clients)) || x.Closed > Refused {
		return fmt.Errorf("offer %s", x.Offer.ID)
	}
	o := &offer{Offer: x.Offer, client: r.clients[x.Client], pos: x.Pos, got: x.Got, gave: x.Gave, avoid: x.Avoid, closed: x.Closed}
	if o.gave > o.Give.Units || uint64(o.got) > uint64(o.Want.Units)+uint64(o.Over) || len(o.avoid) > maxAvoid {
		return fmt.Errorf("offer %s gave %d and got %d units", o.ID, o.gave, o.got)
	}
	for _, s := range x.Shares {
		if int64(s.Client) >= int64(len(r.clients)) || s.Units == 0 || o.fills(r.clients[s.Client]) > 0 {
			return fmt.Errorf("offer %s: share of client %d", o.ID, s.Client)
		}
		o.shares = append(o.shares, share{r.clients[s.Client], s.Units})
	}
	if err := r.m.enter(o); err != nil {
		return err
	}
	if o.closed == 0 {
		o.client.open++
		r.m.open = append(r.m.open, o)
		r.m.relist(o)
	}
	return nil
}

func (r *restoring) proposal(x *proposalRec) error {
	m := r.m
	p := &proposal{
		Proposal: &x.Proposal, stage: x.Stage, instance: x.Instance, entry: x.Entry, ask: x.Ask,
		outcome: x.Outcome, why: x.Why, forget: x.Forget, rests: x.Rests, acceptances: make([][]byte, len(x.Proposal.Parties)),
	}
	if p.stage < proposed || p.stage > ended || len(x.Acceptances) != len(p.Parties) || len(x.Members) != len(p.Parties) || m.proposals[p.ID] != nil {
		return fmt.Errorf("proposal %v", p.ID)
	}
	for i, a := range x.Acceptances {
		if len(a) > 0 {
			p.acceptances[i] = a
		}
	}
	if p.stage != ended {
		if err := m.refer(p); err != nil {
			return fmt.Errorf("proposal %v: %w", p.ID, err)
		}
	}
	p.members = nil
	for i, n := range x.Members {
		if int64(n) >= int64(len(m.profiles)) || m.profiles[n].client.id != p.Parties[i] {
			return fmt.Errorf("proposal %v: party %d has profile %d", p.ID, i, n)
		}
		p.members = append(p.members, m.profiles[n])
	}
	m.proposals[p.ID] = p
	for _, q := range p.members {
		q.client.owes += p.owes()
	}
	m.timers.add(timer{at: p.deadline(), pos: uint64(p.ID), proposal: p})
	if p.stage == ended {
		return m.rest(p)
	}
	for i, list := range p.stakes {
		for _, c := range list {
			if c.place != reserved || c.proposal != nil || c.value != p.Sides[i].Value {
				return fmt.Errorf("proposal %v: chunk %s is not reserved for it", p.ID, c.id.Short())
			}
			c.proposal = p
		}
		p.offers[i].live++
	}
	p.bookings = m.book(p)
	post(p.bookings, 1)
	return nil
}

// rest connects an ended proposal with the chunks of it that are pledged.
func (m *Market) rest(p *proposal) error {
	if err := p.checkRests(&Ended{Rests: p.rests}); err != nil {
		return fmt.Errorf("proposal %v: %w", p.ID, err)
	}
	for _, s := range p.Sides {
		for _, x := range s.Chunks {
			rests := slices.ContainsFunc(p.rests, func(r Rest) bool { return r.Role == s.Role })
			if c := m.chunks[x.Chunk]; rests && c != nil && c.place == pledged && c.owner.id == s.Client && c.epoch == x.Epoch {
				c.proposal = p // the newest that says so
			}
		}
	}
	return nil
}

// finish checks what only the whole can show.
func (r *restoring) finish() error {
	if r.kind == 0 {
		return fmt.Errorf("no head")
	}
	if err := r.settle(); err != nil {
		return err
	}
	for _, k := range r.certs {
		for _, c := range k.chunks {
			if (c.place == reserved || c.place == pledged) && c.proposal == nil {
				return fmt.Errorf("chunk %s is %v for nothing", c.id.Short(), c.place)
			}
			if c.seq >= r.m.chunkSeq {
				return fmt.Errorf("chunk %s has number %d of %d", c.id.Short(), c.seq, r.m.chunkSeq)
			}
		}
	}
	// Offers whose proposals became known after them.
	for _, c := range r.clients {
		for _, o := range c.offers {
			r.m.timers.add(timer{at: o.deadline(), pos: o.pos, offer: o})
		}
	}
	r.m.timers.clean()
	return nil
}
