package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"latchkey/coin"
	"latchkey/event"
	"latchkey/event/witness"
	"latchkey/head"
	"latchkey/key"
	"latchkey/wire"
)

// A limit is what an assign cannot do without, each part measured by itself.
type limit struct {
	check   float64         // seconds to check an order's signature
	refresh float64         // seconds for r, b', R and B'
	commit  map[int]float64 // seconds until n writers' entries are durable, by n
	witness float64         // seconds for one head to be cosigned, each witness with a commit of its own

	*arithmetic
}

// atMost returns how many assigns a second are possible, n at a time, if each
// carries so many chunks: one core does nothing but check and refresh, in order,
// and each waits for its check, its refreshes, a commit that it shares with the others, and a round of
// the witnesses.
func (l limit) atMost(n, chunks int) float64 {
	cpu := l.check + float64(chunks)*l.refresh
	return min(1/cpu, float64(n)/(cpu+l.commit[n]+l.witness))
}

func (l limit) String() string {
	return fmt.Sprintf("limit: commit of 1 %.0f µs, of 64 %.0f µs, of 1,024 %.0f µs, witness round %.0f µs",
		1e6*l.commit[1], 1e6*l.commit[64], 1e6*l.commit[1024], 1e6*l.witness)
}

// entryBytes is about what one assign writes: its entry, two rows, the meta row
// and the hashes of the tree.
const entryBytes = 1500

func (w *world) measureLimit(o options, t coin.KeyType) (l limit, err error) {
	if l.arithmetic, err = newArithmetic(t); err != nil {
		return l, err
	}
	if err := l.again(o); err != nil {
		return l, err
	}
	if l.commit, err = bareCommits(filepath.Join(w.dir, "bare"), o); err != nil {
		return l, err
	}
	l.witness, err = w.witnessRound(o)
	return l, err
}

// An arithmetic is what the limit's core works with.
type arithmetic struct {
	id         wire.Identity
	order, sig []byte
	b          key.Share
	checks     []float64
	refreshes  []float64
}

func newArithmetic(t coin.KeyType) (*arithmetic, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	b, err := key.NewShare(t, rand.Reader)
	if err != nil {
		return nil, err
	}
	order := make([]byte, 120)
	return &arithmetic{id: wire.Identity{Sign: public}, order: order, sig: wire.Sign(private, "bench", order), b: b}, nil
}

// again measures check and refresh once more. A processor that others share, too, is now
// faster and now slower, so it is done beside each round of what is compared with the
// limit, which has the median of all.
func (l *limit) again(o options) error {
	check, err := cost(3, o.few(200), func() error { return l.id.Verify("bench", l.order, l.sig) })
	if err != nil {
		return err
	}
	// The bare operations, one after the other on one core; the check of b against
	// its point, which the vault does as well, is not among them.
	refresh, err := cost(3, o.few(200), func() error {
		r, err := key.NewShare(l.b.Type(), rand.Reader)
		if err != nil {
			return err
		}
		left, err := l.b.Minus(r)
		if err != nil {
			return err
		}
		r.Public()
		left.Public()
		return nil
	})
	if err != nil {
		return err
	}
	l.checks, l.refreshes = append(l.checks, check), append(l.refreshes, refresh)
	l.check, _, _ = quantiles(l.checks)
	l.refresh, _, _ = quantiles(l.refreshes)
	return nil
}

type quiet struct{}

func (quiet) Infof(string, ...any)              {}
func (quiet) Errorf(string, ...any)             {}
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// bareCommits measures Pebble's group commit: n writers, each with one synced
// batch at a time.
func bareCommits(folder string, o options) (map[int]float64, error) {
	db, err := pebble.Open(folder, &pebble.Options{MemTableSize: 16 << 20, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	out := map[int]float64{}
	var next atomic.Uint64
	value := make([]byte, entryBytes)
	for _, n := range []int{1, 64, 1024} {
		var took []float64
		for range 5 {
			each := max(o.few(8192)/n, 4)
			if n == 1 {
				each = o.few(512)
			}
			var failed atomic.Pointer[error]
			var writing sync.WaitGroup
			start := time.Now()
			for range n {
				writing.Go(func() {
					for range each {
						batch := db.NewBatch()
						err := batch.Set(binary.BigEndian.AppendUint64(nil, next.Add(1)), value, nil)
						if err == nil {
							err = batch.Commit(pebble.Sync)
						}
						if err != nil {
							failed.Store(&err)
							return
						}
					}
				})
			}
			writing.Wait()
			if err := failed.Load(); err != nil {
				return nil, *err
			}
			took = append(took, time.Since(start).Seconds()/float64(each))
		}
		out[n], _, _ = quantiles(took)
	}
	return out, nil
}

// witnessRound measures how long the world's witnesses take for the heads of a
// log that does nothing but grow.
func (w *world) witnessRound(o options) (float64, error) {
	log, err := event.NewMemory().Open()
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }()
	tree, err := event.OpenTree(w.ctx, log)
	if err != nil {
		return 0, err
	}
	vkey, err := head.NewLogKey(bareOrigin, w.bare.Public().(ed25519.PublicKey))
	if err != nil {
		return 0, err
	}
	prover := event.NewProver(log)
	c, err := witness.NewClient(witness.ClientConfig{
		Group: head.Group{Log: vkey, Witnesses: w.trust.Witnesses, K: w.trust.K, F: w.trust.F}, URLs: w.urls, Prove: prover.Consistency,
	})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return cost(5, o.few(100), func() error {
		block := event.Block{Events: [][]byte{{1}}}
		block.Puts = tree.Append(block.Events...)
		if err := log.Append(w.ctx, log.Next(), block); err != nil {
			return err
		}
		root, err := prover.Root(w.ctx, tree.Size())
		if err != nil {
			return err
		}
		signed, err := head.SignCheckpoint(head.Checkpoint{Origin: bareOrigin, Size: tree.Size(), Root: root}, w.bare)
		if err != nil {
			return err
		}
		_, err = c.Cosign(w.ctx, signed)
		return err
	})
}
