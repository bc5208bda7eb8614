package escrow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"latchkey/event"
	"latchkey/vault"
	"latchkey/wire"
)

// The index is written down from time to time, part by part, each with a block of
// the log, and the head of it with the last: whatever of it is not whole is not
// found. It is the host's own, and worth no more than reading the log again.

// A feedHead is the row that says where the parts are. Two sets of names take turns.
type feedHead struct {
	Version uint32 `cbor:"1,keyasint"`
	Size    int64  `cbor:"2,keyasint"` // how many entries the index is of
	Set     uint32 `cbor:"3,keyasint"` // 0 or 1
	Parts   uint32 `cbor:"4,keyasint"`
}

const (
	feedVersion  = 3
	feedHeadRow  = "feed"
	feedPartSize = 1 << 18
)

func feedPartRow(set uint32, i int) []byte {
	b := binary.BigEndian.AppendUint32([]byte("feed/"), set)
	return binary.BigEndian.AppendUint32(b, uint32(i))
}

// A feedItem is a piece of the index. Exactly one of the pointers is set.
type feedItem struct {
	Feed    *feedOf    `cbor:"1,keyasint,omitempty"`
	Birth   *feedBirth `cbor:"2,keyasint,omitempty"`
	Trail   *feedTrail `cbor:"3,keyasint,omitempty"`
	Parties *feedDeal  `cbor:"4,keyasint,omitempty"`
	Peer    *feedPeer  `cbor:"5,keyasint,omitempty"`
}

// feedOf is a part of a vault's feed: parts come in order.
type feedOf struct {
	Vault     wire.VaultID `cbor:"1,keyasint"`
	Positions []byte       `cbor:"2,keyasint"` // differences, as varints
}

type feedBirth struct {
	Position int64        `cbor:"1,keyasint"`
	Owner    wire.VaultID `cbor:"2,keyasint"`
	Cert     wire.CertID  `cbor:"3,keyasint"`
	N        uint32       `cbor:"4,keyasint"`
}

type feedTrail struct {
	Chunk     wire.ChunkID `cbor:"1,keyasint"`
	Owner     wire.VaultID `cbor:"2,keyasint"`
	Positions []byte       `cbor:"3,keyasint"`
}

type feedDeal struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
	Parties  []wire.VaultID  `cbor:"2,keyasint"`
}

type feedPeer struct {
	Position int64     `cbor:"1,keyasint"` // of the entry, which is read again
	Device   wire.Hash `cbor:"2,keyasint"` // not found again: that takes longer
	Begun    uint64    `cbor:"3,keyasint"`
}

var errFeed = errors.New("what was written down of the index does not read")

func pack(positions []int64) (out []byte) {
	last := int64(0)
	for _, p := range positions {
		out, last = binary.AppendVarint(out, p-last), p
	}
	return out
}

func unpack(b []byte) (out []int64, err error) {
	for last := int64(0); len(b) > 0; {
		d, n := binary.Varint(b)
		if n <= 0 {
			return nil, errFeed
		}
		b, last = b[n:], last+d
		out = append(out, last)
	}
	return out, nil
}

// rows returns the index, which is of so many entries, as the rows of a set, the
// head last.
func (f *Feed) rows(size int64, set uint32) (out []event.Row, err error) {
	var part []byte
	end := func() {
		if len(part) > 0 {
			out = append(out, event.Row{Key: feedPartRow(set, len(out)), Value: part})
			part = nil
		}
	}
	item := func(x feedItem) {
		b, e := wire.Marshal(x)
		err = errors.Join(err, e)
		if part = append(binary.BigEndian.AppendUint32(part, uint32(len(b))), b...); len(part) > feedPartSize {
			end()
		}
	}
	for v, all := range f.feeds {
		for len(all) > 0 {
			n := min(len(all), 1<<14)
			item(feedItem{Feed: &feedOf{v, pack(all[:n])}})
			all = all[n:]
		}
	}
	for _, b := range f.births {
		item(feedItem{Birth: &feedBirth{b.position, b.owner, b.cert, b.n}})
	}
	for c, t := range f.trails {
		item(feedItem{Trail: &feedTrail{c, t.owner, pack(t.positions)}})
	}
	for i, vaults := range f.parties {
		item(feedItem{Parties: &feedDeal{i, vaults}})
	}
	for _, p := range f.peers {
		item(feedItem{Peer: &feedPeer{p.position, p.device, p.begun}})
	}
	end()
	head, e := wire.Marshal(feedHead{feedVersion, size, set, uint32(len(out))})
	return append(out, event.Row{Key: []byte(feedHeadRow), Value: head}), errors.Join(err, e)
}

// loadFeed reads what was written down of the index, and of how many entries it is.
func loadFeed(ctx context.Context, log event.Log) (*Feed, feedHead, error) {
	f := NewFeed()
	var head feedHead
	raw, found, err := log.Get(ctx, []byte(feedHeadRow))
	if err != nil || !found {
		return f, head, err
	}
	if err := wire.Unmarshal(raw, &head); err != nil || head.Version != feedVersion || head.Size < 0 || uint64(head.Size) > log.Next() {
		return NewFeed(), feedHead{}, errFeed
	}
	for i := range head.Parts {
		part, found, err := log.Get(ctx, feedPartRow(head.Set, int(i)))
		if err == nil && !found {
			err = errFeed
		}
		for err == nil && len(part) > 0 {
			part, err = f.load(ctx, log, part)
		}
		if err != nil {
			return NewFeed(), feedHead{}, err
		}
	}
	return f, head, nil
}

// load takes the first item of a part and returns the rest.
func (f *Feed) load(ctx context.Context, log event.Log, part []byte) (rest []byte, err error) {
	if len(part) < 4 || uint64(len(part)-4) < uint64(binary.BigEndian.Uint32(part)) {
		return nil, errFeed
	}
	n := 4 + int(binary.BigEndian.Uint32(part))
	var x feedItem
	if err := wire.Unmarshal(part[4:n], &x); err != nil {
		return nil, fmt.Errorf("%w: %w", errFeed, err)
	}
	switch {
	case x.Feed != nil:
		var all []int64
		all, err = unpack(x.Feed.Positions)
		f.feeds[x.Feed.Vault] = append(f.feeds[x.Feed.Vault], all...)
	case x.Birth != nil:
		f.birth(birth{x.Birth.Position, x.Birth.Owner, x.Birth.Cert, min(x.Birth.N, vault.MaxBatch)})
	case x.Trail != nil:
		t := f.trail(x.Trail.Chunk)
		t.owner = x.Trail.Owner
		t.positions, err = unpack(x.Trail.Positions)
	case x.Parties != nil:
		f.parties[x.Parties.Instance] = x.Parties.Parties
	case x.Peer != nil:
		err = f.loadPeer(ctx, log, *x.Peer)
	default:
		err = errFeed
	}
	return part[n:], err
}

func (f *Feed) loadPeer(ctx context.Context, log event.Log, p feedPeer) error {
	if p.Position < 0 {
		return errFeed
	}
	for raw, err := range log.Read(ctx, uint64(p.Position)) {
		if err != nil {
			return err
		}
		e, err := vault.ParseOwn(raw)
		if err != nil || e.Enrol == nil {
			return errFeed
		}
		v, err := e.Enrol.Identity.ID()
		f.enrol(v, peer{p.Position, *e.Enrol, p.Device, p.Begun})
		return err
	}
	return errFeed
}
