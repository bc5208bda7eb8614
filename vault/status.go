package vault

import (
	"fmt"
	"reflect"

	"latchkey/key"
	"latchkey/wire"
)

// An Instance is what an owner's vault can say about one of its instances.
type Instance struct {
	ID        wire.InstanceID `cbor:"1,keyasint"`
	Agreement wire.Hash       `cbor:"2,keyasint"`
	Contract  string          `cbor:"3,keyasint"`
	Role      uint32          `cbor:"4,keyasint"`
	Party     string          `cbor:"5,keyasint"` // the role's name in the contract
	Opened    bool            `cbor:"6,keyasint"`
	Closed    bool            `cbor:"7,keyasint"` // the contract is over: see Settled
	Aborted   bool            `cbor:"8,keyasint"`
	Phase     string          `cbor:"9,keyasint"`  // of an open instance
	Until     int64           `cbor:"10,keyasint"` // when time acts next: LockBy before it opens, then the phase's deadline, then the step's
	Ends      int64           `cbor:"11,keyasint"` // by when it is settled at the latest
	Handed    []bool          `cbor:"12,keyasint"` // by party: shares left for others, as far as it must
	Acked     []bool          `cbor:"13,keyasint"` // by party: shares received, as far as it must
	Lock      Index           `cbor:"14,keyasint"`
	Newest    Index           `cbor:"15,keyasint"`
	Given     []wire.ChunkID  `cbor:"16,keyasint"`
	Settled   bool            `cbor:"17,keyasint"` // every chunk is given: nothing is left
	Broken    bool            `cbor:"18,keyasint"` // a step was reported as failed, and what was left went back
	Step      uint32          `cbor:"19,keyasint"` // of a tit-for-tat settlement: how many were given
	Steps     uint32          `cbor:"20,keyasint"` // and are planned; 0: it is atomic
	Open      []wire.ChunkID  `cbor:"21,keyasint"` // chunks of the newest step that wait for this vault's word
	State     []byte          `cbor:"22,keyasint"` // the contract's snapshot, of an open instance
	Brought   []Brought       `cbor:"23,keyasint"` // values of oracles that wait for the log
	Said      *SignedStep     `cbor:"25,keyasint"` // this vault's word about the newest step, until the log goes on
	Deposits  []Filling       `cbor:"24,keyasint"` // into its later pots, without those that went back
}

// A Filling is one deposit into a later pot, as an owner's vault knows it.
type Filling struct {
	Order  DepositOrder `cbor:"1,keyasint"`
	Entry  Index        `cbor:"2,keyasint"` // in the log; 0: it has not been seen there
	Handed bool         `cbor:"3,keyasint"` // shares left for others, as far as they must be
	Acked  []bool       `cbor:"4,keyasint"` // by party: shares received, as far as it must
	Taken  bool         `cbor:"5,keyasint"` // it counts: the contract has it
	Asked  bool         `cbor:"6,keyasint"` // this vault waits for its host's word that the chunks are funded
}

// A Pledge is an agreement that a vault accepted and that is not locked yet.
type Pledge struct {
	Agreement wire.Hash      `cbor:"1,keyasint"`
	LockBy    int64          `cbor:"2,keyasint"`
	Chunks    []wire.ChunkID `cbor:"3,keyasint"`
}

// Instances returns what the vault knows of its instances, in order of their ids.
func (o *Owner) Instances() []Instance {
	var out []Instance
	for _, id := range sorted(o.running) {
		in := o.running[id]
		d := in.Pledge.deal
		x := Instance{
			ID: id, Agreement: d.hash, Contract: d.Program().Name(), Role: in.Pledge.Mine.Body.Role,
			Party: d.Program().Parties()[in.Pledge.Mine.Body.Role], Opened: in.Opened, Closed: in.Closed, Aborted: in.Aborted,
			Until: in.Pledge.Agreement.LockBy, Ends: d.ends(), Lock: in.Lock, Newest: in.Prev, Given: in.Given,
			Settled: in.Settled, Broken: in.Broken, Step: in.Steps, Steps: uint32(len(d.steps)),
			Brought: in.Brought, Said: in.Step,
		}
		if in.Closed && !in.Settled {
			x.Until = d.wait(in.StepAt)
			x.Open = in.open(o.self)
		}
		if in.Opened && !in.Closed {
			x.Until, _ = d.Deadline(in.state)
			x.State = in.State
			x.Phase = d.Program().Phases()[in.state.Phase()]
		}
		for _, l := range in.Late {
			f := Filling{Order: l.Order, Entry: l.Entry, Taken: l.Taken}
			f.Asked = !l.Taken && !l.Funded && d.receives(int(l.Order.Pot), int(x.Role)) && !l.Acked[x.Role]
			f.Handed = true
			for role := range d.parties {
				must := d.receives(int(l.Order.Pot), role)
				f.Handed = f.Handed && (l.Handed || !must)
				f.Acked = append(f.Acked, l.Acked[role] || !must)
			}
			x.Deposits = append(x.Deposits, f)
		}
		for _, q := range in.Orders {
			if q.Order.By >= o.head.Time {
				x.Deposits = append(x.Deposits, Filling{Order: q.Order})
			}
		}
		for role := range d.parties {
			x.Handed = append(x.Handed, in.Handed[role] || !d.handsOver(role))
			x.Acked = append(x.Acked, in.Acked[role] || !d.awaits(role))
		}
		out = append(out, x)
	}
	return out
}

// Pledges returns the agreements accepted and not locked, in order.
func (o *Owner) Pledges() []Pledge {
	var out []Pledge
	for _, h := range sorted(o.pledges) {
		p := Pledge{Agreement: h, LockBy: o.pledges[h].Agreement.LockBy}
		for _, pot := range o.pledges[h].Agreement.Pots {
			for _, s := range pot {
				if s.Chunk != (wire.ChunkID{}) {
					p.Chunks = append(p.Chunks, s.Chunk)
				}
			}
		}
		out = append(out, p)
	}
	return out
}

// Pledged returns the agreement that a chunk is pledged to, or zero.
func (o *Owner) Pledged(id wire.ChunkID) wire.Hash {
	h, _, _ := o.pledged(id)
	return h
}

// Batches returns the batches that are being made.
func (o *Owner) Batches() []wire.Hash { return sorted(o.batches) }

// Certificate returns the certificate of a chunk that the vault follows.
func (o *Owner) Certificate(id wire.ChunkID) (key.Certificate, bool) {
	c := o.chunks[id]
	if c == nil || o.certs[c.Cert] == nil {
		return key.Certificate{}, false
	}
	return o.certs[c.Cert].cert.Certificate(), true
}

// Holds reports whether the vault owns a chunk by the log and has its share of
// the present epoch.
func (o *Owner) Holds(id wire.ChunkID) bool {
	c := o.chunks[id]
	return c != nil && o.owns(c)
}

// Row returns the value of one of the owner's rows, to be sealed anew.
func (o *Owner) Row(k string) ([]byte, error) {
	var v any
	id := []byte(k[min(1, len(k)):])
	if len(id) == 8 && k[0] == rowStep && o.stored[indexOf(id)] {
		return []byte{1}, nil
	}
	if k == string(rowHead) {
		v = headRow{o.note, o.clock, o.head.Time}
	} else if len(id) == 32 {
		switch k[0] {
		case rowOwnBatch:
			v = o.batches[wire.Hash(id)]
		case rowOwnCert:
			v = o.certs[wire.CertID(id)]
		case rowOwnChunk:
			v = o.chunks[wire.ChunkID(id)]
		case rowPledge:
			v = o.pledges[wire.Hash(id)]
		case rowRunning:
			v = o.running[wire.InstanceID(id)]
		}
	}
	if v == nil || reflect.ValueOf(v).Kind() == reflect.Pointer && reflect.ValueOf(v).IsNil() {
		return nil, fmt.Errorf("row %.5x: %w", k, ErrUnknown)
	}
	return wire.Marshal(v)
}

// Keys lists the owner's rows.
func (o *Owner) Keys() (keys []string) {
	add := func(kind byte, id []byte) { keys = append(keys, string(kind)+string(id)) }
	for id := range o.batches {
		add(rowOwnBatch, id[:])
	}
	for id := range o.certs {
		add(rowOwnCert, id[:])
	}
	for id := range o.chunks {
		add(rowOwnChunk, id[:])
	}
	for h := range o.pledges {
		add(rowPledge, h[:])
	}
	for id := range o.running {
		add(rowRunning, id[:])
	}
	for step := range o.stored {
		keys = append(keys, stepKey(step))
	}
	return append(keys, string(rowHead))
}

// Row returns the value of one row of the share table, to be sealed anew.
func (e *Escrow) Row(k string) ([]byte, error) {
	switch {
	case len(k) == 33 && k[0] == rowShare:
		if c := e.chunks.at(wire.ChunkID([]byte(k[1:]))); c != nil && !c.share.IsZero() {
			return shareValue(c.epoch, c.share), nil
		}
	case len(k) == 33 && k[0] == rowBatch:
		if b := e.pending[wire.Hash([]byte(k[1:]))]; b != nil {
			return joinShares(b.shares), nil
		}
	default:
		if m, ok := e.mail[k]; ok {
			return wire.Marshal(m)
		}
	}
	return nil, fmt.Errorf("row %.5x: %w", k, ErrUnknown)
}

// SetDigest tells the escrow the digest of the facts that its evidence shows,
// which goes into certificates made from now on.
func (e *Escrow) SetDigest(d wire.Hash) { e.cfg.Digest = d }

// SetFull tells the escrow which vaults may begin no batch from now on, and why. It counts no
// chunks itself: refusing is what its host can do anyway.
func (e *Escrow) SetFull(full map[wire.VaultID]error) { e.full = full }

// SetDigests tells the owner the digests of every evidence that it has shown,
// and of the escrow's as appraised last.
func (o *Owner) SetDigests(own []wire.Hash, escrow wire.Hash) {
	o.cfg.Digests, o.cfg.EscrowDigest = own, escrow
}
