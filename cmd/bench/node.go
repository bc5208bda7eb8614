package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"latchkey/attest"
	"latchkey/attest/sim"
	"latchkey/escrow"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// A node is an owner's vault with a host that has no disk: what it does before
// and after the part that is measured costs as little as it can.
type node struct {
	e       *enclave.Enclave
	escrow  *escrow.Client
	status  enclave.Status
	id      wire.VaultID
	n       uint64
	results map[uint64]enclave.Result
	cursor  uint64
}

// newNode starts a vault and lets it meet the escrow.
func (w *world) newNode(ctx context.Context) (*node, error) {
	p, err := w.program(0)
	if err != nil {
		return nil, err
	}
	e, err := enclave.New(enclave.Config{Trust: w.trust, Platform: p, Verifiers: []attest.Verifier{sim.Verifier{}}})
	if err != nil {
		return nil, err
	}
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2048}}
	n := &node{e: e, escrow: escrow.NewClient(w.url, c), results: map[uint64]enclave.Result{}}
	r, err := n.call(enclave.Call{Ready: &enclave.Nothing{}})
	if err != nil {
		return nil, err
	}
	n.status = *r.Status
	if n.id, err = n.status.Identity.ID(); err != nil {
		return nil, err
	}
	return n, n.greet(ctx)
}

// call asks the vault, whose commits are durable at once.
func (n *node) call(c enclave.Call) (enclave.Result, error) {
	n.n++
	c.N = n.n
	for messages := n.e.Handle(c); len(messages) > 0; {
		var next []enclave.Message
		for _, m := range messages {
			if m.Commit != nil && !m.Commit.More {
				next = append(next, n.e.Handle(enclave.Call{Durable: &enclave.Durable{Commit: m.Commit.Number}})...)
			}
			if m.Result != nil {
				n.results[m.Result.N] = *m.Result
			}
		}
		messages = next
	}
	r, ok := n.results[c.N]
	delete(n.results, c.N)
	switch {
	case !ok:
		return r, errors.New("the vault gave no result")
	case r.Error != "":
		return r, errors.New(r.Error)
	}
	return r, nil
}

func (n *node) greet(ctx context.Context) error {
	hello, err := n.call(enclave.Call{Hello: &enclave.Nothing{}})
	if err != nil {
		return err
	}
	welcome, note, err := n.escrow.Greet(ctx, hello.Bytes)
	if err != nil {
		return err
	}
	_, err = n.call(enclave.Call{Finish: &enclave.Finish{Welcome: welcome, Head: note}})
	return err
}

// follow brings the vault what the log says of it, and waits a little if that is
// nothing new.
func (n *node) follow(ctx context.Context) error {
	for {
		s, err := n.call(enclave.Call{Clock: &enclave.Nothing{}})
		if err != nil {
			return err
		}
		u, err := n.escrow.Feed(ctx, n.id, n.cursor, s.Status.Size, 20*time.Millisecond)
		if err != nil {
			return err
		}
		if _, err := n.call(enclave.Call{Feed: &enclave.Feed{Head: u.Head, Consistency: u.Consistency, Entries: u.Entries}}); err != nil {
			return err
		}
		if n.cursor = u.Cursor; !u.More {
			return nil
		}
	}
}

// talk says all that there is to say, many things at a time, and hears the
// answers. It reports how many they were.
func (n *node) talk(ctx context.Context) (int, error) {
	r, err := n.call(enclave.Call{Talk: &enclave.Nothing{}})
	if err != nil {
		return 0, err
	}
	answers := make([][]byte, len(r.Talk))
	if err := parallel(32, len(r.Talk), func(i int) (err error) {
		answers[i], err = n.escrow.Send(ctx, r.Talk[i].Frame)
		return err
	}); err != nil {
		return 0, err
	}
	for i, s := range r.Talk {
		if _, err := n.call(enclave.Call{Heard: &enclave.Heard{N: s.N, Frame: answers[i]}}); err != nil {
			return 0, fmt.Errorf("%s: %w", s.What, err)
		}
	}
	return len(r.Talk), nil
}

// rest lets vaults follow and talk until none has anything to say.
func rest(ctx context.Context, nodes ...*node) error {
	for quiet := 0; quiet < 2; quiet++ {
		for _, n := range nodes {
			if err := n.follow(ctx); err != nil {
				return err
			}
			said, err := n.talk(ctx)
			if err != nil {
				return err
			}
			if said > 0 {
				quiet = 0
			}
		}
	}
	return nil
}

// deposit has the vault make n chunks, of d, in batches, and returns their ids.
func (n *node) deposit(ctx context.Context, spec vault.BatchSpec, count int) ([]wire.ChunkID, error) {
	for left := count; left > 0; left -= int(spec.N) {
		spec.N = uint32(min(left, vault.MaxBatch))
		if err := n.batch(ctx, spec); err != nil {
			return nil, err
		}
	}
	if err := rest(ctx, n); err != nil {
		return nil, err
	}
	var ids []wire.ChunkID
	for page, more := (*enclave.Page)(nil), true; more && len(ids) < count; {
		r, err := n.call(enclave.Call{Status: &enclave.Nothing{}, Page: page})
		if err != nil {
			return nil, err
		}
		page, more = &enclave.Page{}, r.Status.More
		for _, c := range r.Status.Chunks {
			page.Chunk = c.ID
			if c.Chunk.Owner == n.id && c.Chunk.Instance == (wire.InstanceID{}) && c.Pledge == (wire.Hash{}) && !c.Chunk.Claim {
				ids = append(ids, c.ID)
			}
		}
		for _, in := range r.Status.Instances {
			page.Instance = in.ID
		}
	}
	if len(ids) < count {
		return nil, fmt.Errorf("made %d chunks, want %d", len(ids), count)
	}
	return ids[:count], nil
}

// batch has the vault make chunks of one batch, until they are certified.
func (n *node) batch(ctx context.Context, spec vault.BatchSpec) error {
	if _, err := n.call(enclave.Call{Batch: &spec}); err != nil {
		return err
	}
	for said := 1; said > 0; {
		var err error
		if said, err = n.talk(ctx); err != nil {
			return err
		}
	}
	return nil
}

// parallel calls f(0) to f(n−1), so many at a time, and returns the first error.
func parallel(workers, n int, f func(int) error) error {
	next := make(chan int)
	failed := make(chan error, workers)
	var running sync.WaitGroup
	for range min(workers, n) {
		running.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					failed <- err
					for range next { // let the sender end
					}
					return
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	running.Wait()
	close(failed)
	return <-failed
}
