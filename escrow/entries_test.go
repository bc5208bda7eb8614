package escrow

import (
	"crypto/ed25519"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"latchkey/event"
	"latchkey/head"
)

// numbered returns a log of n entries that say which they are, with the rows of its tree.
func numbered(t *testing.T, n int) event.Log {
	t.Helper()
	l, err := event.NewMemory().Open()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := event.OpenTree(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		e := fmt.Append(nil, "entry ", i)
		if err := l.Append(t.Context(), l.Next(), event.Block{Events: [][]byte{e}, Puts: tree.Append(e)}); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// Whoever follows the whole log page by page sees, after each page, that the
// newest head continues what it has.
func TestEntries(t *testing.T) {
	const size, unwitnessed = 40, 2
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	log, err := head.NewLogKey("escrow.test/log", key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	l := numbered(t, size+unwitnessed)
	h := &Host{cfg: HostConfig{Log: l}, prover: event.NewProver(l), changed: make(chan struct{})}
	s := httptest.NewServer(Handler(h))
	defer s.Close()
	c := NewClient(s.URL, s.Client())
	if p, err := c.Entries(t.Context(), 0, 0, 0); err != nil || len(p.Head) != 0 || len(p.Entries) != 0 {
		t.Fatalf("before the first head: %+v, %v", p, err)
	}
	root, err := h.prover.Root(t.Context(), size)
	if err != nil {
		t.Fatal(err)
	}
	note, err := head.SignCheckpoint(head.Checkpoint{Origin: log.Name(), Size: size, Root: root}, key)
	if err != nil {
		t.Fatal(err)
	}
	go func() { // Entries waits for it
		h.mu.Lock()
		defer h.mu.Unlock()
		h.note, h.seen = note, size
		close(h.changed)
		h.changed = make(chan struct{})
	}()
	for _, limit := range []int{1, 7, size, 0} {
		var have head.Frontier
		for have.Size() < size {
			p, err := c.Entries(t.Context(), have.Size(), limit, 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Entries) == 0 || limit > 0 && len(p.Entries) > limit {
				t.Fatalf("%d entries, at most %d were asked for", len(p.Entries), limit)
			}
			for _, e := range p.Entries {
				if err := have.Append(e); err != nil {
					t.Fatal(err)
				}
			}
			newest, err := head.OpenCheckpoint(p.Head, log)
			if err != nil {
				t.Fatal(err)
			}
			mine := head.Checkpoint{Origin: log.Name(), Size: have.Size(), Root: have.Root()}
			if err := head.VerifyConsistency(mine, newest, p.Consistency); err != nil {
				t.Fatalf("limit %d, at %d: %v", limit, have.Size(), err)
			}
		}
		if p, err := c.Entries(t.Context(), size, limit, time.Millisecond); err != nil || len(p.Entries) != 0 || len(p.Head) == 0 {
			t.Errorf("at the end: %d entries, head of %d bytes, %v", len(p.Entries), len(p.Head), err)
		}
	}
}
