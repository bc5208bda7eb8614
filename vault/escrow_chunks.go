package vault

import (
	"encoding/binary"
	"fmt"

	"latchkey/key"
	"latchkey/wire"
)

// chunkBook has the chunks of an escrow. There are millions: they lie batch by
// batch, and are found by the first eight bytes of their ids. What is found is
// compared with the whole id, which follows from certificate and index.
type chunkBook struct {
	batches []*batch
	places  map[uint64]uint64 // by the beginning of the id: the batch's number and the index in it, 32 bits each
}

// batch is the chunks that one entry made.
type batch struct {
	id     wire.CertID
	cert   *key.Certificate
	born   Index
	chunks []escrowed // by index, as one object
}

func shortID(id wire.ChunkID) uint64 { return binary.BigEndian.Uint64(id[:8]) }

func (b *batch) chunk(i int) wire.ChunkID { return key.ChunkIDOf(b.id, uint32(i)) }

// at returns a chunk, or nil.
func (k *chunkBook) at(id wire.ChunkID) *escrowed {
	at, ok := k.places[shortID(id)]
	if !ok {
		return nil
	}
	b, i := k.batches[at>>32], int(uint32(at))
	if b.chunk(i) != id {
		return nil
	}
	return &b.chunks[i]
}

// room returns an error if one of n chunks of a certificate has the beginning of
// another's id. It never happens to somebody who does not search for it.
func (k *chunkBook) room(cert wire.CertID, n int) error {
	for i := range n {
		if id := key.ChunkIDOf(cert, uint32(i)); k.taken(id) {
			return fmt.Errorf("chunk %s would have the beginning of another's id: make another batch", id.Short())
		}
	}
	return nil
}

func (k *chunkBook) taken(id wire.ChunkID) bool {
	_, ok := k.places[shortID(id)]
	return ok
}

// add takes a batch into the book.
func (k *chunkBook) add(b *batch) error {
	for i := range b.chunks {
		id := b.chunk(i)
		if k.taken(id) {
			return fmt.Errorf("chunk %s is there already", id.Short())
		}
		k.places[shortID(id)] = uint64(len(k.batches))<<32 | uint64(i)
	}
	k.batches = append(k.batches, b)
	return nil
}

// Keys lists the rows of the share table for whoever seals them all anew, in
// parts from 1 on, some of them empty; it returns false for a part after the last.
// What comes to be between two calls may be left out.
func (e *Escrow) Keys(part int) (keys []string, ok bool) {
	if part == 1 {
		for _, id := range sorted(e.pending) {
			keys = append(keys, batchRow(id))
		}
		for k := range e.mail {
			keys = append(keys, k)
		}
	}
	if part > len(e.chunks.batches) {
		return keys, part == 1
	}
	b := e.chunks.batches[part-1]
	for i := range b.chunks {
		if b.chunks[i].state != chunkSwept {
			keys = append(keys, shareRow(b.chunk(i)))
		}
	}
	return keys, true
}
