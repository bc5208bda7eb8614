// Package witness is the shell around the witness's decision in package head:
// durable state, the HTTP protocol of C2SP tlog-witness, and the client with
// which a log's host collects a quorum of cosignatures.
//
// A Witness works without a network too, over any event.Log; so the simulation
// runs it in memory.
package witness

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"latchkey/event"
	"latchkey/head"
)

var (
	// ErrLostState is wrapped where the store does not know this witness: it was
	// never created, or it is gone. A witness that goes on without it may cosign a
	// head that disagrees with one it cosigned, and counts towards its group's F;
	// so only an operator orders that, by Create.
	ErrLostState = errors.New("witness has no state")
	// ErrUnknownLog is wrapped where a request is of a log that the witness does
	// not serve.
	ErrUnknownLog = errors.New("unknown log")
)

// Rows of the store.
const (
	identityRow = "witness" // -> the witness's vkey
	logRows     = "log/"    // origin -> head.Seen
)

// Config is a witness's identity and the logs it serves.
type Config struct {
	Name string
	Key  ed25519.PrivateKey
	Logs []head.LogKey
}

// Check refuses a configuration without a name, a key or a log, or with two
// logs of one origin.
func (c Config) Check() error {
	if _, err := c.key(); err != nil {
		return err
	}
	origins := map[string]bool{}
	for _, l := range c.Logs {
		if (l == head.LogKey{}) {
			return fmt.Errorf("witness %s: a log without a key", c.Name)
		}
		if origins[l.Name()] {
			return fmt.Errorf("witness %s serves log %s twice", c.Name, l.Name())
		}
		origins[l.Name()] = true
	}
	return nil
}

func (c Config) key() (head.WitnessKey, error) {
	if len(c.Key) != ed25519.PrivateKeySize {
		return head.WitnessKey{}, fmt.Errorf("witness %s has no private key", c.Name)
	}
	key, err := head.NewWitnessKey(c.Name, c.Key.Public().(ed25519.PublicKey))
	if err != nil {
		return head.WitnessKey{}, fmt.Errorf("witness: %w", err)
	}
	return key, nil
}

// Witness cosigns heads of its logs. Any goroutine may use it; requests for one
// log are decided one after the other, those for several share their syncs.
type Witness struct {
	config Config
	key    head.WitnessKey
	store  event.Log
	logs   map[string]*log
}

// log is the state of one log. Its mutex is held from the decision until the
// state is durable.
type log struct {
	key   head.LogKey
	mu    sync.Mutex
	seen  head.Seen
	known bool // the store has its row
}

// Create writes the identity of a witness into a store that has no log's state
// yet. It is the order of an operator: see ErrLostState.
func Create(ctx context.Context, store event.Log, key head.WitnessKey) error {
	for row, err := range store.Scan(ctx, []byte(logRows)) {
		if err != nil {
			return fmt.Errorf("create witness %s: %w", key.Name(), err)
		}
		return fmt.Errorf("create witness %s: the store already has the state of log %s", key.Name(), row.Key[len(logRows):])
	}
	identity := event.Row{Key: []byte(identityRow), Value: []byte(key.String())}
	if err := store.Append(ctx, store.Next(), event.Block{Puts: []event.Row{identity}}); err != nil {
		return fmt.Errorf("create witness %s: %w", key.Name(), err)
	}
	return nil
}

// Open returns a witness over a store that Create made for its key.
func Open(ctx context.Context, store event.Log, c Config) (*Witness, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	identity, found, err := store.Get(ctx, []byte(identityRow))
	switch {
	case err != nil:
		return nil, fmt.Errorf("open witness %s: %w", c.Name, err)
	case !found:
		return nil, fmt.Errorf("open witness %s: %w", c.Name, ErrLostState)
	case string(identity) != key.String():
		return nil, fmt.Errorf("open witness: the state is that of %s, the key that of %s", identity, key)
	}
	w := &Witness{config: c, key: key, store: store, logs: map[string]*log{}}
	for _, k := range c.Logs {
		raw, found, err := store.Get(ctx, logRow(k.Name()))
		if err != nil {
			return nil, fmt.Errorf("open witness %s: state of log %s: %w", c.Name, k.Name(), err)
		}
		l := &log{key: k, known: found}
		if found {
			if l.seen, err = parseSeen(raw); err != nil {
				return nil, fmt.Errorf("open witness %s: state of log %s: %w", c.Name, k.Name(), err)
			}
		}
		w.logs[k.Name()] = l
	}
	return w, nil
}

// Key returns the witness's name and public key.
func (w *Witness) Key() head.WitnessKey { return w.key }

// AddCheckpoint decides a request at now, in Unix seconds, and returns the line
// of the cosignature. The witness's new state is durable by then. The error
// wraps ErrUnknownLog, is one of head.Decide's, or is the store's, which wraps
// event.ErrFailed once the witness can do no more.
func (w *Witness) AddCheckpoint(ctx context.Context, r head.Request, now int64) ([]byte, error) {
	l, err := w.log(r)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	consent, err := head.Decide(l.key, l.seen, r, now)
	if err != nil {
		return nil, err
	}
	if err := w.remember(ctx, l, consent.Next); err != nil {
		return nil, err
	}
	return consent.Cosign(w.config.Name, w.config.Key)
}

// Adopt starts a log at a head signed by it, by an operator's order, with the
// stamp now. It refuses a log that the witness already has a state of.
func (w *Witness) Adopt(ctx context.Context, signed []byte, now int64) (head.Checkpoint, error) {
	l, err := w.log(head.Request{Signed: signed})
	if err != nil {
		return head.Checkpoint{}, fmt.Errorf("adopt: %w", err)
	}
	c, err := head.OpenCheckpoint(signed, l.key)
	if err != nil {
		return head.Checkpoint{}, fmt.Errorf("adopt: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known {
		return head.Checkpoint{}, fmt.Errorf("adopt: the witness has already signed for log %s, up to size %d", c.Origin, l.seen.Size)
	}
	return c, w.remember(ctx, l, head.Seen{Size: c.Size, Root: c.Root, Stamp: max(now, 0)})
}

// Seen returns what the witness remembers of a log, and whether it does.
func (w *Witness) Seen(origin string) (head.Seen, bool) {
	l, found := w.logs[origin]
	if !found {
		return head.Seen{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen, l.known
}

func (w *Witness) log(r head.Request) (*log, error) {
	origin, err := r.Origin()
	if err != nil {
		return nil, err
	}
	l, found := w.logs[origin]
	if !found {
		return nil, fmt.Errorf("%w %s", ErrUnknownLog, origin)
	}
	return l, nil
}

// remember makes a log's new state durable. l.mu is held. It does not end with
// ctx: whether the state was stored must be known before the next decision.
func (w *Witness) remember(ctx context.Context, l *log, seen head.Seen) error {
	row := event.Row{Key: logRow(l.key.Name()), Value: formatSeen(seen)}
	err := w.store.Append(context.WithoutCancel(ctx), w.store.Next(), event.Block{Puts: []event.Row{row}})
	if err != nil {
		return fmt.Errorf("store the head of log %s: %w", l.key.Name(), err)
	}
	l.seen, l.known = seen, true
	return nil
}

func logRow(origin string) []byte { return append([]byte(logRows), origin...) }

// formatSeen encodes a log's state: size and stamp, big-endian, and the root.
func formatSeen(s head.Seen) []byte {
	out := binary.BigEndian.AppendUint64(nil, uint64(s.Size))
	out = binary.BigEndian.AppendUint64(out, uint64(s.Stamp))
	return append(out, s.Root[:]...)
}

func parseSeen(raw []byte) (head.Seen, error) {
	if len(raw) != 16+len(head.Hash{}) {
		return head.Seen{}, fmt.Errorf("%d bytes", len(raw))
	}
	s := head.Seen{
		Size:  int64(binary.BigEndian.Uint64(raw)),
		Stamp: int64(binary.BigEndian.Uint64(raw[8:])),
		Root:  head.Hash(raw[16:]),
	}
	if s.Size < 0 || s.Size > head.MaxSize || s.Stamp < 0 {
		return head.Seen{}, fmt.Errorf("size %d, stamp %d", s.Size, s.Stamp)
	}
	return s, nil
}
