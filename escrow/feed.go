// Package escrow is the host of an escrow's vault: log, network, witnesses.
//
// Nothing here is trusted with a secret. Rows are sealed before they arrive,
// frames pass unread, and what the host tells clients of the log they verify
// against heads that witnesses signed.
package escrow

import (
	"latchkey/key"
	"latchkey/vault"
	"latchkey/wire"
)

// A Feed knows which entries of the log each vault needs, in which order, to
// replay what concerns it. It is an index over entries. A start reads what was
// written down of it, and the entries since.
// A vault that is told too little notices: entries name the one before.
type Feed struct {
	feeds   map[wire.VaultID][]int64
	births  []birth
	born    map[wire.ChunkID]int32 // index into births: there are millions of chunks, most of them only born
	trails  map[wire.ChunkID]*trail
	parties map[wire.InstanceID][]wire.VaultID
	peers   map[wire.VaultID]peer
	devices map[wire.Hash]int                         // how many of the vaults a device has, by its key
	device  func(evidence []byte, at int64) wire.Hash // which one evidence is of, at a time; nil, or zero: none that is counted
}

// A birth is the entry that certified chunks.
type birth struct {
	position int64
	owner    wire.VaultID
	cert     wire.CertID
	n        uint32
}

// A peer is the newest enrolment of a vault.
type peer struct {
	position int64
	enrol    vault.Enrol
	device   wire.Hash // its key; zero: none that is counted
	begun    uint64    // chunks of all the batches that it has begun
}

// A trail is what happened to a chunk after its birth.
type trail struct {
	positions []int64
	owner     wire.VaultID // zero: nobody but the first
}

// NewFeed returns the feed of an empty log.
func NewFeed() *Feed {
	return &Feed{
		feeds: map[wire.VaultID][]int64{}, born: map[wire.ChunkID]int32{}, trails: map[wire.ChunkID]*trail{},
		parties: map[wire.InstanceID][]wire.VaultID{}, peers: map[wire.VaultID]peer{},
		devices: map[wire.Hash]int{},
	}
}

// Add takes the entry at a position; positions come in order.
func (f *Feed) Add(position int64, e vault.Entry) {
	chunks, instance := e.Touches()
	switch {
	case e.Enrol != nil:
		if v, err := e.Enrol.Identity.ID(); err == nil {
			p := peer{position: position, enrol: *e.Enrol}
			if f.device != nil {
				p.device = f.device(e.Enrol.Evidence, e.At)
			}
			f.enrol(v, p)
		}
	case e.Generate != nil:
		if v, err := e.Generate.Owner.One(); err == nil {
			p := f.peers[v]
			p.begun += uint64(e.Generate.Spec.N)
			f.peers[v] = p
		}
	case e.Certify != nil && len(e.Certify.Certificate.Owner) == 1:
		b := birth{position: position, owner: e.Certify.Certificate.Owner[0], n: uint32(len(chunks))}
		b.cert, _ = e.Certify.Certificate.ID() // else it touches no chunks
		f.birth(b)
		f.push(b.owner, position)
		return
	case e.Lock != nil:
		f.lock(position, e.Lock, instance)
	case e.Run != nil:
		for _, v := range f.parties[instance] {
			if e.Run.Clock > 0 {
				f.push(v, int64(e.Run.Clock)-1)
			}
			f.push(v, position)
		}
		for _, x := range e.Run.Exits {
			if to, err := x.To.One(); err == nil {
				f.trail(x.Chunk).owner = to
			}
		}
		if e.Run.Settled {
			delete(f.parties, instance)
		}
	case e.Claim != nil:
		f.tell(e.Claim.Owner, position)
	case e.Swept != nil:
		f.tell(e.Swept.Owner, position)
	case e.Deposit != nil:
		f.deposit(position, instance, chunks)
	case e.Hand != nil, e.Ack != nil:
		for _, v := range f.parties[instance] {
			f.push(v, position)
		}
	}
	for _, c := range chunks {
		t := f.trail(c)
		t.positions = append(t.positions, position)
	}
}

// enrol takes a vault's enrolment in the place of an earlier one.
func (f *Feed) enrol(v wire.VaultID, p peer) {
	p.begun += f.peers[v].begun
	if old := f.peers[v].device; old != (wire.Hash{}) {
		if f.devices[old]--; f.devices[old] == 0 {
			delete(f.devices, old)
		}
	}
	if f.peers[v] = p; p.device != (wire.Hash{}) {
		f.devices[p.device]++
	}
}

func (f *Feed) birth(b birth) {
	for i := range b.n {
		f.born[key.ChunkIDOf(b.cert, i)] = int32(len(f.births))
	}
	f.births = append(f.births, b)
}

func (f *Feed) trail(c wire.ChunkID) *trail {
	t := f.trails[c]
	if t == nil {
		t = &trail{}
		f.trails[c] = t
	}
	return t
}

// past returns a chunk's owner and all that happened to it.
func (f *Feed) past(c wire.ChunkID) (owner wire.VaultID, positions []int64) {
	if i, ok := f.born[c]; ok {
		owner, positions = f.births[i].owner, append(positions, f.births[i].position)
	}
	if t := f.trails[c]; t != nil {
		positions = append(positions, t.positions...)
		if t.owner != (wire.VaultID{}) {
			owner = t.owner
		}
	}
	return owner, positions
}

// lock tells every party of a new instance the past of the chunks that are not
// its own, from their birth on, and then the lock.
func (f *Feed) lock(position int64, l *vault.Lock, instance wire.InstanceID) {
	for _, r := range l.Agreement.Parties {
		v, err := r.One()
		if err != nil {
			continue // no vault signs such an entry
		}
		f.parties[instance] = append(f.parties[instance], v)
		for _, pot := range l.Agreement.Pots {
			for _, s := range pot {
				if owner, positions := f.past(s.Chunk); owner != v {
					f.push(v, positions...)
				}
			}
		}
		f.push(v, position)
	}
}

// deposit tells every party of a deposit into a later pot. Who may receive its
// chunks follows them from the entry on, and is told their past then, and the entry
// again; and the past before it too, for who follows them already.
func (f *Feed) deposit(position int64, instance wire.InstanceID, chunks []wire.ChunkID) {
	for _, v := range f.parties[instance] {
		for range 2 {
			for _, c := range chunks {
				if owner, positions := f.past(c); owner != v {
					f.push(v, positions...)
				}
			}
			f.push(v, position)
		}
	}
}

func (f *Feed) tell(r vault.Recipients, position int64) {
	if v, err := r.One(); err == nil {
		f.push(v, position)
	}
}

func (f *Feed) push(v wire.VaultID, positions ...int64) {
	for _, p := range positions {
		if n := len(f.feeds[v]); n == 0 || f.feeds[v][n-1] != p {
			f.feeds[v] = append(f.feeds[v], p)
		}
	}
}

// From returns at most n positions of a vault's feed, from a cursor on, and the
// cursor after them.
func (f *Feed) From(v wire.VaultID, cursor, n int) (positions []int64, next int) {
	all := f.feeds[v]
	if cursor < 0 || cursor >= len(all) {
		return nil, len(all)
	}
	end := min(len(all), cursor+n)
	return all[cursor:end], end
}

// Peer returns the newest evidence that a vault has enrolled with.
func (f *Feed) Peer(v wire.VaultID) (vault.Enrol, bool) {
	p, ok := f.peers[v]
	return p.enrol, ok
}
