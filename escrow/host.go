package escrow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"latchkey/attest"
	"latchkey/event"
	"latchkey/event/witness"
	"latchkey/gate"
	"latchkey/head"
	"latchkey/host"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// HostConfig is what an escrow's host is built from.
type HostConfig struct {
	Log       event.Log         // belongs to the host alone
	Socket    string            // of the escrow's vault
	Origin    string            // of the log
	Witnesses []head.WitnessKey // as the vault's own configuration has them
	K, F      int
	URLs      map[string]string // of the witnesses, by name
	HTTP      *http.Client      // calls the witnesses; nil: a client that believes the system's authorities
	Guard     *gate.Guard       // holds vaults to their limits; nil: no limits
	Verifiers []attest.Verifier // say which device evidence is of, for its limit; what none of them reads is not counted
	Logger    *slog.Logger
}

// A Host runs an escrow: it makes durable what the vault decides, has heads
// countersigned, and answers clients. Persist, witness, then answer: the vault
// keeps that order, the host only follows.
type Host struct {
	cfg    HostConfig
	prover *event.Prover
	tree   *event.Tree
	post   *post

	gathered   gatherings
	publishing sync.Mutex // one head at a time, in the order of their sizes

	mu      sync.Mutex
	feed    *Feed
	added   int64         // entries in feed
	quiet   []int64       // those of the newest that no vault waits for
	stored  feedHead      // of what is written down of it
	note    []byte        // newest witnessed head
	seen    int64         // its size
	changed chan struct{} // closed, and replaced, when note changes
	vault   *enclave.Client
	status  enclave.Status
	asked   *witness.Client   // of the present run
	busy    enclave.Busy      // the vault, at its last tick
	coming  map[wire.Hash]int // vaults that are about to enrol, by the key of their device
	entered time.Time         // when the newest head was witnessed
	cosign  gate.Timing
}

// tick is how often a head is countersigned anew, idle or not, and deadlines are
// looked at.
const tick = time.Second

// NewHost returns a host over a log, whose entries it indexes.
func NewHost(ctx context.Context, cfg HostConfig) (*Host, error) {
	if cfg.HTTP == nil {
		var err error
		if cfg.HTTP, err = (gate.Trust{}).Client(cfg.Logger); err != nil {
			return nil, err
		}
	}
	h := &Host{cfg: cfg, prover: event.NewProver(cfg.Log), post: newPost(time.Now()), changed: make(chan struct{}), coming: map[wire.Hash]int{}}
	var err error
	if h.tree, err = event.OpenTree(ctx, cfg.Log); err != nil {
		return nil, err
	}
	h.feed, h.stored, err = loadFeed(ctx, cfg.Log)
	if errors.Is(err, errFeed) { // the log has all of it
		if cfg.Logger != nil {
			cfg.Logger.Warn("read the whole log for the index of feeds", "err", err)
		}
		err = nil
	}
	if err != nil {
		return nil, err
	}
	h.feed.device = h.device
	h.added = h.stored.Size
	for raw, err := range cfg.Log.Read(ctx, uint64(h.added)) {
		if err != nil {
			return nil, err
		}
		e, err := vault.ParseOwn(raw)
		if err != nil {
			return nil, fmt.Errorf("entry %d of the log: %w", h.added, err)
		}
		h.learn(e)
		h.added++
	}
	return h, nil
}

var errStarting = errors.New("the escrow's vault is starting; try again in a second")

// Run brings the vault what is stored, and serves until ctx ends, the vault ends
// or the log fails. ready is called once, when clients may be let in.
func (h *Host) Run(ctx context.Context, ready func(enclave.Status)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	heads := make(chan []byte, 1)
	var writing []event.Row // what is still to be written down of the index
	next := func(most int) []event.Row {
		rows := writing[:min(len(writing), most)]
		writing = writing[len(rows):]
		return rows
	}
	link, status, err := host.Connect(ctx, host.LinkConfig{
		Log: h.cfg.Log, Socket: h.cfg.Socket,
		Rows: func(c enclave.Commit) []event.Row {
			if c.From > 0 && len(writing) == 0 { // as often as the vault takes a snapshot
				writing = h.feedRows()
			}
			return append(h.tree.Append(c.Entries...), next(1)...)
		},
		Idle: func() []event.Row { return next(feedPartsAtOnce) },
		Done: func(c enclave.Commit) {
			if h.index(c) {
				replace(heads, c.Head)
			}
		},
	})
	if err != nil {
		return err
	}
	defer link.Close()
	v := link.Vault
	h.mu.Lock()
	h.status = status
	h.mu.Unlock()
	var running sync.WaitGroup
	log, err := head.ParseLogKey(h.status.LogKey)
	if err != nil {
		return err
	}
	wc, err := witness.NewClient(witness.ClientConfig{
		Group: head.Group{Log: log, Witnesses: h.cfg.Witnesses, K: h.cfg.K, F: h.cfg.F}, URLs: h.cfg.URLs,
		Prove: h.prover.Consistency, Transport: h.cfg.HTTP.Transport, Logger: h.cfg.Logger,
	})
	if err != nil {
		return err
	}
	defer wc.Close()
	running.Go(func() { cancel(h.witness(ctx, v, log, wc, heads)) })
	running.Go(func() { cancel(h.tick(ctx, v, heads)) })
	h.mu.Lock()
	h.vault, h.asked = v, wc
	h.mu.Unlock()
	ready(h.status)
	select {
	case <-ctx.Done():
	case <-link.Done():
		cancel(link.Err())
	}
	h.mu.Lock()
	h.vault, h.asked = nil, nil
	h.mu.Unlock()
	cause := context.Cause(ctx)
	running.Wait()
	if errors.Is(cause, context.Canceled) {
		return nil
	}
	return cause
}

// replace puts the newest head into a channel that holds one.
func replace(heads chan []byte, newest []byte) {
	for {
		select {
		case heads <- newest:
			return
		default:
		}
		select {
		case <-heads:
		default:
		}
	}
}

// feedPartsAtOnce is how many rows of the index go with one block of their own; one
// goes with that of a commit.
const feedPartsAtOnce = 4

// feedRows returns the rows of the index as it is now.
func (h *Host) feedRows() []event.Row {
	h.mu.Lock()
	defer h.mu.Unlock()
	rows, err := h.feed.rows(h.added, 1-h.stored.Set)
	if err != nil {
		h.cfg.Logger.Error("write down the index of feeds", "err", err)
		return nil
	}
	h.stored = feedHead{feedVersion, h.added, 1 - h.stored.Set, uint32(len(rows) - 1)}
	return rows
}

// index takes a commit that is durable, and reports whether somebody waits for its
// head to be witnessed. What was handed over and stored is in the log so that
// everybody sees why an instance opened; it goes with the opening, or with the next
// tick, and does not keep the witnesses from what is waited for.
func (h *Host) index(c enclave.Commit) (waited bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, raw := range c.Entries {
		e, err := vault.ParseOwn(raw)
		if err == nil {
			h.learn(e)
		}
		waited = waited || e.Hand == nil && e.Ack == nil && e.Stored == nil
		h.added++
	}
	return waited
}

// learn takes the entry that comes next into the index. h.mu is held.
func (h *Host) learn(e vault.Entry) {
	h.feed.Add(h.added, e)
	if e.Hand != nil && e.Hand.Deposit == 0 || e.Ack != nil && e.Ack.Deposit == 0 {
		h.quiet = append(h.quiet, h.added)
		h.quiet = h.quiet[max(0, len(h.quiet)-maxQuiet):]
	}
}

// maxQuiet bounds how many of the newest entries that a vault can wait for are kept in mind: of older
// ones, vaults are told at once.
const maxQuiet = 1 << 14

// An order lets heads pass that are not behind one before. One that a tick brings
// may have been overtaken by that of a commit: to the witnesses, it would look
// like a log that was rolled back.
type order struct {
	log  head.LogKey
	last int64
}

// take opens a head, and reports whether it may pass.
func (o *order) take(signed []byte) (c head.Checkpoint, ok bool, err error) {
	if c, err = head.OpenCheckpoint(signed, o.log); err != nil || c.Size < o.last {
		return c, false, err
	}
	o.last = c.Size
	return c, true, nil
}

// witness has heads countersigned, the newest each time, and does not wait for one
// until it brings the next.
func (h *Host) witness(ctx context.Context, v *enclave.Client, log head.LogKey, wc *witness.Client, heads <-chan []byte) error {
	order := order{log: log}
	var flying sync.WaitGroup
	defer flying.Wait()
	ctx, end := context.WithCancel(ctx)
	defer end()
	flights, failed := make(chan struct{}, witness.Flights), make(chan error, witness.Flights)
	for {
		var signed []byte
		select {
		case flights <- struct{}{}:
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
		select {
		case signed = <-heads:
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
		c, ok, err := order.take(signed)
		if err != nil {
			return fmt.Errorf("a head of the vault's: %w", err)
		}
		if !ok {
			<-flights
			continue
		}
		began := time.Now()
		wait := wc.Submit(c, signed)
		flying.Go(func() {
			defer func() { <-flights }()
			cosigned, err := wait(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				failed <- fmt.Errorf("the witnesses refuse this escrow's log: %w", err)
				return
			}
			h.cosign.Observe(time.Since(began))
			h.publish(ctx, v, cosigned)
		})
	}
}

// publish brings a cosigned head to the vault, and to all who wait for it: what these
// ask next comes to the vault after the head. Nobody relies on what the vault thinks of
// it: who is shown a head checks the quorum. One that was overtaken, or that two rounds
// ended with, says nothing new.
func (h *Host) publish(ctx context.Context, v *enclave.Client, c witness.Cosigned) {
	h.publishing.Lock()
	defer h.publishing.Unlock()
	h.mu.Lock()
	old := c.Size < h.seen || bytes.Equal(c.Note, h.note)
	h.mu.Unlock()
	if old {
		return
	}
	answer := v.Ask(enclave.Call{Cosigned: &enclave.Raw{Bytes: c.Note}})
	h.mu.Lock()
	h.note, h.seen, h.entered = c.Note, c.Size, time.Now()
	close(h.changed)
	h.changed = make(chan struct{})
	h.mu.Unlock()
	if _, err := answer(ctx); err != nil {
		h.cfg.Logger.Warn("the vault takes no notice of a cosigned head", "err", err)
	}
}

func (h *Host) tick(ctx context.Context, v *enclave.Client, heads chan []byte) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	for stuck := ""; ; {
		full := h.full()
		r, err := v.Call(ctx, enclave.Call{Tick: &full})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("tick: %w", err)
		case r.Stuck != stuck:
			if stuck = r.Stuck; stuck != "" {
				h.cfg.Logger.Error("the vault cannot carry out what is due; all else goes on", "err", stuck)
			}
		}
		if r.Busy != nil {
			h.mu.Lock()
			h.busy = *r.Busy
			h.mu.Unlock()
		}
		select {
		case heads <- r.Bytes:
		default: // a newer one is on its way
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Sizes returns how many entries are durable and how many of them are witnessed,
// and a channel that is closed when more are.
func (h *Host) Sizes() (durable, witnessed int64, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.added, h.seen, h.changed
}

// call passes a call on to the vault.
func (h *Host) call(ctx context.Context, c enclave.Call) (enclave.Result, error) {
	h.mu.Lock()
	v := h.vault
	h.mu.Unlock()
	if v == nil {
		return enclave.Result{}, errStarting
	}
	return v.Call(ctx, c)
}

// maxFeed bounds the entries of one answer.
const maxFeed = 256

// maxFeedBytes bounds their size.
const maxFeedBytes = 2 << 20

// Update is what a vault needs to go on with its replay.
type Update struct {
	Head        []byte
	Consistency []head.Hash
	Entries     []vault.Logged
	Cursor      uint64
	More        bool
}

// Feed returns what is new for a vault since cursor, or waits for it. What would only have the vault ask again
// waits for what comes next, until the time is over.
func (h *Host) Feed(ctx context.Context, v wire.VaultID, cursor uint64, known int64, wait time.Duration) (Update, error) {
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	for {
		h.mu.Lock()
		note, size, changed := h.note, h.seen, h.changed
		positions, _ := h.feed.From(v, int(min(cursor, 1<<40)), maxFeed+1)
		more := len(positions) > maxFeed
		positions = positions[:min(len(positions), maxFeed)]
		late := slices.IndexFunc(positions, func(p int64) bool { return p >= size }) // not witnessed yet
		if late >= 0 {
			positions, more = positions[:late], false
		}
		worth := note != nil && h.worth(positions, late >= 0, known)
		h.mu.Unlock()
		if worth {
			return h.update(ctx, note, size, known, cursor, positions, more)
		}
		select {
		case <-changed:
			if wait <= 0 {
				return h.update(ctx, note, size, known, cursor, positions, more)
			}
		case <-deadline.C:
			return h.update(ctx, note, size, known, cursor, positions, more)
		case <-gate.Stopping(ctx):
			return h.update(ctx, note, size, known, cursor, positions, more)
		case <-ctx.Done():
			return Update{}, ctx.Err()
		}
	}
}

// worth reports whether a vault that knows a head of a size has a use for entries at once. What other people's
// chunks went through long ago has none before the entry for which it is told, if that is still
// with the witnesses; and what was handed over and stored has none before its instance opens.
func (h *Host) worth(positions []int64, incomplete bool, known int64) bool {
	return slices.ContainsFunc(positions, func(p int64) bool {
		if p < known {
			return !incomplete
		}
		_, quiet := slices.BinarySearch(h.quiet, p)
		return !quiet
	})
}

func (h *Host) update(ctx context.Context, note []byte, size, known int64, cursor uint64, positions []int64, more bool) (Update, error) {
	u := Update{Head: note, Cursor: cursor, More: more}
	if note == nil {
		return u, nil
	}
	var err error
	if known > 0 && known < size {
		if u.Consistency, err = h.prover.Consistency(ctx, known, size); err != nil {
			return Update{}, err
		}
	}
	bytes := 0
	for _, p := range positions {
		l := vault.Logged{Position: p}
		for raw, err := range h.cfg.Log.Read(ctx, uint64(p)) {
			if err != nil {
				return Update{}, err
			}
			l.Entry = raw
			break
		}
		if bytes += len(l.Entry); bytes > maxFeedBytes && len(u.Entries) > 0 {
			u.More = true
			break
		}
		if l.Proof, err = h.prover.Inclusion(ctx, p, size); err != nil {
			return Update{}, err
		}
		u.Entries = append(u.Entries, l)
		u.Cursor++
	}
	return u, nil
}

// maxEntries bounds the entries of one page.
const maxEntries = 1024

// Page is a part of the log for those who follow all of it.
type Page struct {
	Head        []byte      // newest witnessed head; empty before the first
	Entries     [][]byte    // from the position asked for on, all under Head
	Consistency []head.Hash // from the size after Entries to that of Head
}

// Entries returns up to limit entries from a position on, or waits for some.
func (h *Host) Entries(ctx context.Context, from int64, limit int, wait time.Duration) (Page, error) {
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	for waiting := true; ; {
		h.mu.Lock()
		note, size, changed := h.note, h.seen, h.changed
		h.mu.Unlock()
		if note != nil && size > from || !waiting {
			return h.page(ctx, note, size, from, limit)
		}
		select {
		case <-changed:
		case <-deadline.C:
			waiting = false
		case <-gate.Stopping(ctx):
			waiting = false
		case <-ctx.Done():
			return Page{}, ctx.Err()
		}
	}
}

func (h *Host) page(ctx context.Context, note []byte, size, from int64, limit int) (Page, error) {
	p := Page{Head: note}
	if note == nil || from >= size {
		return p, nil
	}
	bytes := 0
	for raw, err := range h.cfg.Log.Read(ctx, uint64(from)) {
		if err != nil {
			return Page{}, err
		}
		if bytes += len(raw); len(p.Entries) > 0 && bytes > maxFeedBytes {
			break
		}
		p.Entries = append(p.Entries, raw)
		if len(p.Entries) == limit || from+int64(len(p.Entries)) == size {
			break
		}
	}
	var err error
	p.Consistency, err = h.prover.Consistency(ctx, from+int64(len(p.Entries)), size)
	return p, err
}
