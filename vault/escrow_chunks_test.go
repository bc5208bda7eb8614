package vault

import (
	"strings"
	"testing"

	"latchkey/key"
	"latchkey/wire"
)

// A chunk is found by all of its id, and no two have one beginning.
func TestChunkBook(t *testing.T) {
	t.Parallel()
	book := chunkBook{places: map[uint64]uint64{}}
	certs := []wire.CertID{{1}, {2}}
	for _, id := range certs {
		if err := book.room(id, 3); err != nil {
			t.Fatal(err)
		}
		if err := book.add(&batch{id: id, chunks: make([]escrowed, 3)}); err != nil {
			t.Fatal(err)
		}
	}
	for n, cert := range certs {
		for i := range 3 {
			id := key.ChunkIDOf(cert, uint32(i))
			if book.at(id) != &book.batches[n].chunks[i] {
				t.Errorf("chunk %d of batch %d is another", i, n)
			}
			id[31] ^= 1
			if book.at(id) != nil {
				t.Error("another id with the same beginning is found")
			}
		}
		if book.at(key.ChunkIDOf(cert, 3)) != nil {
			t.Error("a chunk that no batch has is found")
		}
	}
	// The batch's own chunks stand for those of somebody who searched long enough.
	if err := book.room(certs[1], 1); err == nil || !strings.Contains(err.Error(), "another batch") {
		t.Errorf("room for a beginning that is taken: %v", err)
	}
	if err := book.add(&batch{id: certs[0], chunks: make([]escrowed, 1)}); err == nil {
		t.Error("a beginning that is taken is added")
	}
}
