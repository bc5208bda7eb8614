package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
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
	bare    *bareLog
	commits map[int][]float64
	rounds  []float64
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
	return fmt.Sprintf("limit: check %.0f µs, refresh %.0f µs, commit of 1 %.0f µs, of 64 %.0f µs, of 1,024 %.0f µs, witness round %.0f µs",
		1e6*l.check, 1e6*l.refresh, 1e6*l.commit[1], 1e6*l.commit[64], 1e6*l.commit[1024], 1e6*l.witness)
}

// entryBytes is about what one assign writes: its entry, two rows, the meta row
// and the hashes of the tree.
const entryBytes = 1500

// measureLimit begins to measure: what there is after one time is looked at again beside
// each round of what is compared.
func (w *world) measureLimit(o options, t coin.KeyType) (l limit, err error) {
	l.commit, l.commits = map[int]float64{}, map[int][]float64{}
	if l.arithmetic, err = newArithmetic(t); err != nil {
		return l, err
	}
	if l.bare, err = w.newBareLog(); err != nil {
		return l, err
	}
	for _, n := range []int{1, 64, 1024} {
		if err := l.beside(w, o, n); err != nil {
			return l, errors.Join(err, l.close())
		}
	}
	return l, nil
}

func (l *limit) close() error { return l.bare.close() }

// forget begins anew with what belongs to one row of the table.
func (l *limit) forget() {
	l.checks, l.refreshes, l.rounds = nil, nil, nil
	clear(l.commits)
}

// beside measures all parts once more, the commit with n writers. A processor and a disk that others share,
// too, are now faster and now slower, so it is done beside each round of what is compared with the
// limit, which has the median of all.
func (l *limit) beside(w *world, o options, n int) error {
	if err := l.again(o); err != nil {
		return err
	}
	took, err := bareCommits(filepath.Join(w.dir, "bare"), o, n)
	if err != nil {
		return err
	}
	l.commits[n] = append(l.commits[n], took...)
	l.commit[n], _, _ = quantiles(l.commits[n])
	round, err := l.bare.round(w.ctx, o)
	if err != nil {
		return err
	}
	l.rounds = append(l.rounds, round)
	l.witness, _, _ = quantiles(l.rounds)
	return nil
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

// again measures check and refresh once more.
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

// bareCommits measures Pebble's group commit five times: n writers, each with one synced
// batch at a time.
func bareCommits(folder string, o options, n int) (took []float64, err error) {
	db, err := pebble.Open(folder, &pebble.Options{MemTableSize: 16 << 20, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var next atomic.Uint64
	value := make([]byte, entryBytes)
	each := max(o.few(8192)/n, 4)
	if n == 1 {
		each = o.few(512)
	}
	for range 5 {
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
	return took, nil
}

// A bareLog does nothing but grow, and has its heads cosigned by the world's witnesses.
type bareLog struct {
	log     event.Log
	tree    *event.Tree
	prover  *event.Prover
	witness *witness.Client
	sign    ed25519.PrivateKey
}

func (w *world) newBareLog() (*bareLog, error) {
	log, err := event.NewMemory().Open()
	if err != nil {
		return nil, err
	}
	b := &bareLog{log: log, prover: event.NewProver(log), sign: w.bare}
	if b.tree, err = event.OpenTree(w.ctx, log); err != nil {
		return nil, err
	}
	vkey, err := head.NewLogKey(bareOrigin, w.bare.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	b.witness, err = witness.NewClient(witness.ClientConfig{
		Group: head.Group{Log: vkey, Witnesses: w.trust.Witnesses, K: w.trust.K, F: w.trust.F}, URLs: w.urls, Prove: b.prover.Consistency,
	})
	return b, err
}

func (b *bareLog) close() error {
	b.witness.Close()
	return b.log.Close()
}

// round measures how long the witnesses take for one head.
func (b *bareLog) round(ctx context.Context, o options) (float64, error) {
	return cost(5, o.few(100), func() error {
		block := event.Block{Events: [][]byte{{1}}}
		block.Puts = b.tree.Append(block.Events...)
		if err := b.log.Append(ctx, b.log.Next(), block); err != nil {
			return err
		}
		root, err := b.prover.Root(ctx, b.tree.Size())
		if err != nil {
			return err
		}
		signed, err := head.SignCheckpoint(head.Checkpoint{Origin: bareOrigin, Size: b.tree.Size(), Root: root}, b.sign)
		if err != nil {
			return err
		}
		_, err = b.witness.Cosign(ctx, signed)
		return err
	})
}
