package switchboard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/attest"
	"latchkey/coin"
	"latchkey/contract"
	"latchkey/event"
	"latchkey/gate"
	"latchkey/head"
	"latchkey/market"
	"latchkey/rate"
	"latchkey/wire"
)

// Rates says what assets are worth: rate.Feed.
type Rates interface {
	Rate(ctx context.Context, asset coin.AssetID) (rate.Rate, error)
	Policy() rate.Policy
}

// Config is what a switchboard is built from. All fields are needed but Exempt,
// Guard, SnapshotEvery and Retry.
type Config struct {
	Settings
	Log       event.Log // belongs to the switchboard alone
	Verifiers []attest.Verifier
	Group     head.Group // whose word makes a head of the escrow's log count
	Escrow    EscrowLog
	Feed      Rates
	Clock     func() int64 // Unix seconds
	Logger    *slog.Logger
	Guard     *gate.Guard // holds vaults to their limits; nil: no limits

	SnapshotEvery uint64        // events between snapshots; 0: 8192
	Retry         time.Duration // between attempts of what failed; 0: a second
}

// A Board is a running switchboard. One goroutine owns the market and all that is
// folded from the escrow's log; whatever it decides is durable before anybody
// hears of it.
type Board struct {
	cfg    Config
	jobs   chan *job
	flying chan flight
	ctx    context.Context // ends when the board does
	cancel context.CancelCauseFunc
	escrow atomic.Pointer[wire.Identity] // of the escrow, once its log was seen

	// Of the owning goroutine.
	market    *market.Market
	ledger    *ledger
	proposals map[wire.Hash]market.ProposalID // by the hash of their agreement
	hashes    map[market.ProposalID]wire.Hash
	asked     map[market.ProposalID]bool
	numbers   map[wire.VaultID]*numbers
	pots      map[wire.Hash]int // of a contract
	snapped   uint64            // position of the newest snapshot

	mu       sync.Mutex // leaf: the maps below
	members  map[wire.VaultID]*member
	waiting  map[wire.VaultID]chan struct{}
	problems map[string]string
	rates    map[coin.AssetID]rated
	events   map[string]uint64 // of the market since the start, by name
}

// A job is something for the owning goroutine to do.
type job struct {
	do   func(*turn) error
	err  error
	done chan struct{} // closed when what it did, and all before it, is durable
}

// A flight is a block on its way to disk; result is nil for a job that only
// looked.
type flight struct {
	result <-chan error
	wake   []wire.VaultID
	job    *job
}

// A turn is one job's block in the making.
type turn struct {
	b     *Board
	now   int64
	block event.Block
	wake  []wire.VaultID
	fatal error
}

// Rows beside those of the ledger, by prefix.
const (
	rowProposal = "proposal/" // + agreement: the proposal's id
	rowNumber   = "number/"   // + vault: numbers up to this one are taken
)

// Open returns the switchboard that a log is of, after its replay.
func Open(ctx context.Context, cfg Config) (*Board, error) {
	if cfg.SnapshotEvery == 0 {
		cfg.SnapshotEvery = 8192
	}
	if cfg.Retry == 0 {
		cfg.Retry = time.Second
	}
	b := &Board{
		cfg: cfg, jobs: make(chan *job), flying: make(chan flight, 1024), ledger: newLedger(),
		proposals: map[wire.Hash]market.ProposalID{}, hashes: map[market.ProposalID]wire.Hash{},
		asked: map[market.ProposalID]bool{}, numbers: map[wire.VaultID]*numbers{}, pots: map[wire.Hash]int{},
		members: map[wire.VaultID]*member{}, waiting: map[wire.VaultID]chan struct{}{},
		problems: map[string]string{}, rates: map[coin.AssetID]rated{}, events: map[string]uint64{},
	}
	b.ctx, b.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	if err := b.replay(ctx); err != nil {
		return nil, fmt.Errorf("the switchboard's log: %w", err)
	}
	return b, nil
}

// replay folds what is durable.
func (b *Board) replay(ctx context.Context) error {
	s, err := event.LoadSnapshot(ctx, b.cfg.Log)
	if err == nil {
		if b.market, err = market.New(b.cfg.Market); err == nil && s.Next > 0 {
			b.market, err = market.Restore(b.cfg.Market, s.State)
		}
	}
	if err != nil {
		return err
	}
	if b.market.Position() != s.Next {
		return fmt.Errorf("its snapshot is of %d events and says %d", b.market.Position(), s.Next)
	}
	b.snapped = s.Next
	for raw, err := range b.cfg.Log.Read(ctx, s.Next) {
		if err != nil {
			return err
		}
		e, err := market.ParseEvent(raw)
		if err == nil {
			err = b.market.Apply(e)
		}
		if err != nil {
			return err
		}
	}
	if err := b.ledger.load(ctx, b.cfg.Log); err != nil {
		return err
	}
	if b.ledger.escrow.Sign != nil {
		b.escrow.Store(&b.ledger.escrow)
	}
	if err := scan(ctx, b.cfg.Log, rowProposal, func(h wire.Hash, id *market.ProposalID) {
		b.proposals[h], b.hashes[*id] = *id, h
	}); err != nil {
		return err
	}
	if err := scan(ctx, b.cfg.Log, rowNumber, func(v wire.Hash, n *uint64) {
		b.numbers[wire.VaultID(v)] = &numbers{floor: *n}
	}); err != nil {
		return err
	}
	if err := b.loadMembers(ctx); err != nil {
		return err
	}
	for _, e := range b.market.Outstanding() {
		if e.Kind == market.AskEscrow {
			b.asked[e.Proposal] = true
		}
	}
	return nil
}

// Run serves until ctx ends or the log fails. ready is called once, when clients
// may be let in.
func (b *Board) Run(ctx context.Context, ready func()) error {
	stop := context.AfterFunc(ctx, func() { b.cancel(nil) })
	defer stop()
	var settling, running sync.WaitGroup
	settling.Go(b.settle)
	running.Go(func() { b.own(); close(b.flying) })
	running.Go(func() {
		err := b.do(b.ctx, func(t *turn) error {
			for _, source := range b.cfg.Sources {
				if err := t.step(market.Publish{Source: source}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.cancel(err)
			return
		}
		for _, a := range b.cfg.Assets {
			running.Go(func() { b.watchRate(b.ctx, a.ID) })
		}
		running.Go(func() { b.cancel(b.followLog(b.ctx)) })
		ready()
	})
	running.Wait()
	settling.Wait()
	if err := context.Cause(b.ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// errStopping is what a caller hears when the board ends before it was answered.
var errStopping = errors.New("the switchboard is stopping")

// do has the owning goroutine run f, and returns f's error once what f did, and
// all that it may have seen, is durable. When ctx ends first, f may still run:
// after an error the caller leaves alone what f writes to.
func (b *Board) do(ctx context.Context, f func(*turn) error) error {
	j := &job{do: f, done: make(chan struct{})}
	select {
	case b.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-b.ctx.Done():
		return errStopping
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		return ctx.Err()
	case <-b.ctx.Done():
		select {
		case <-j.done:
			return j.err
		default:
			return errStopping
		}
	}
}

// beat is how often time alone is looked at.
const beat = 200 * time.Millisecond

// own is the goroutine that owns the market.
func (b *Board) own() {
	t := time.NewTicker(beat)
	defer t.Stop()
	for {
		select {
		case j := <-b.jobs:
			b.turn(j)
		case <-t.C:
			for range 64 { // of a few hundred events each; then others have their turn
				at, ok := b.market.Wake()
				if !ok || at > b.cfg.Clock() {
					break
				}
				b.turn(&job{do: func(t *turn) error { return t.step(market.Tick{}) }, done: make(chan struct{})})
			}
		case <-b.ctx.Done():
			if b.market.Position() > b.snapped && errors.Is(context.Cause(b.ctx), context.Canceled) {
				b.turn(&job{do: func(t *turn) error { return t.snapshot() }, done: make(chan struct{})})
			}
			return
		}
	}
}

// turn runs one job and sends its block off.
func (b *Board) turn(j *job) {
	t := &turn{b: b, now: b.cfg.Clock()}
	j.err = j.do(t)
	if t.fatal == nil && b.market.Position() >= b.snapped+b.cfg.SnapshotEvery {
		_ = t.snapshot() // it sets t.fatal where the board cannot go on
	}
	if t.fatal != nil {
		b.cancel(t.fatal)
		return
	}
	f := flight{wake: t.wake, job: j}
	if x := t.block; len(x.Events)+len(x.Puts)+len(x.Deletes) > 0 {
		f.result = b.cfg.Log.Submit(b.cfg.Log.Next(), x)
	}
	b.flying <- f
}

// settle waits for blocks in their order, and lets those know who wait for them.
// After a failure nobody is told anything.
func (b *Board) settle() {
	var failed error
	for f := range b.flying {
		if f.result != nil && failed == nil {
			if failed = <-f.result; failed != nil {
				b.cancel(fmt.Errorf("make events durable: %w", failed))
			}
		}
		if failed != nil {
			continue
		}
		for _, v := range f.wake {
			b.wake(v)
		}
		close(f.job.done)
	}
}

// fail ends the board: its state and its log have parted.
func (t *turn) fail(err error) error {
	t.fatal = err
	return err
}

// step passes an input to the market; what it decides goes into the block. On a
// refusal nothing has changed.
func (t *turn) step(in market.Input) error {
	if t.fatal != nil {
		return t.fatal
	}
	events, effects, err := t.b.market.Step(t.now, in)
	if err != nil {
		return err
	}
	for _, e := range events {
		raw, err := e.Marshal()
		if err != nil {
			return t.fail(err)
		}
		t.block.Events = append(t.block.Events, raw)
		switch f := e.Fact.(type) {
		case *market.Proposed:
			if err := t.propose(&f.Proposal); err != nil {
				return t.fail(err)
			}
		case *market.Forgotten:
			h := t.b.hashes[f.Proposal]
			delete(t.b.hashes, f.Proposal)
			if t.b.proposals[h] == f.Proposal {
				delete(t.b.proposals, h)
				t.block.Deletes = append(t.block.Deletes, []byte(rowProposal+string(h[:])))
			}
		}
		t.b.count(e.Name())
		t.b.cfg.Logger.Debug("event", "name", e.Name(), "position", t.b.market.Position())
	}
	for _, e := range effects {
		switch e.Kind {
		case market.Deliver:
			t.wake = append(t.wake, e.Client)
		case market.AskEscrow:
			t.b.asked[e.Proposal] = true
		}
	}
	return nil
}

// propose notes the agreement that a proposal is about, by which the escrow's log
// will speak of it.
func (t *turn) propose(p *market.Proposal) error {
	source, err := t.b.market.Source(p.Contract)
	if err != nil {
		return err
	}
	pots, ok := t.b.pots[p.Contract]
	if !ok {
		program, err := contract.Compile(source)
		if err != nil {
			return err
		}
		pots = len(program.Pots())
		t.b.pots[p.Contract] = pots
	}
	a, err := Agreement(*p, source, pots)
	if err != nil {
		return err
	}
	h, err := a.Hash()
	if err != nil {
		return err
	}
	t.b.proposals[h], t.b.hashes[p.ID] = p.ID, h
	return t.put(rowProposal+string(h[:]), p.ID)
}

func (t *turn) put(key string, v any) error {
	raw, err := wire.Marshal(v)
	if err != nil {
		return err
	}
	t.block.Puts = append(t.block.Puts, event.Row{Key: []byte(key), Value: raw})
	return nil
}

// snapshot puts the market's state into the block. One that is too large for a
// block is left out: the replay then takes longer.
func (t *turn) snapshot() error {
	t.b.snapped = t.b.market.Position()
	state, err := t.b.market.Snapshot()
	if err != nil {
		return t.fail(err)
	}
	if len(state) > event.MaxBlock/2 {
		t.b.cfg.Logger.Warn("the market is too large for a snapshot; a start takes longer", "bytes", len(state))
		return nil
	}
	t.block.Puts = append(t.block.Puts, event.Snapshot{Next: t.b.snapped, State: state}.Row())
	return nil
}

// numbers are those of the statements taken from one vault: the last few, and
// all up to floor. Statements may overtake each other on their way.
type numbers struct {
	floor  uint64
	recent []uint64 // rising, above floor
}

// overtaken is by how many later statements one may be overtaken.
const overtaken = 256

// take takes a number once.
func (n *numbers) take(x uint64) bool {
	i, seen := slices.BinarySearch(n.recent, x)
	if x <= n.floor || seen {
		return false
	}
	n.recent = slices.Insert(n.recent, i, x)
	if len(n.recent) > overtaken {
		n.floor = n.recent[0]
		n.recent = slices.Delete(n.recent, 0, 1)
	}
	return true
}

// take takes a statement once. If keep is set that outlives a restart, from which
// on all earlier statements count as taken; a statement that changed nothing may
// be heard again then, and changes nothing.
func (t *turn) take(s *Statement, keep bool) error {
	n := t.b.numbers[s.Client]
	if n == nil {
		n = &numbers{}
		t.b.numbers[s.Client] = n
	}
	if !n.take(s.Number) {
		return fmt.Errorf("%w: number %d was taken before", ErrStatement, s.Number)
	}
	if !keep {
		return nil
	}
	top := n.recent[len(n.recent)-1]
	return t.put(rowNumber+string(s.Client[:]), top)
}

// wake wakes whoever waits for notices of a client.
func (b *Board) wake(v wire.VaultID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.waiting[v]; c != nil {
		close(c)
		delete(b.waiting, v)
	}
}

// news returns a channel that is closed with the next notice for a client.
func (b *Board) news(v wire.VaultID) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.waiting[v]
	if c == nil {
		c = make(chan struct{})
		b.waiting[v] = c
	}
	return c
}

// problem notes what does not work, or that it works again, and says so once.
func (b *Board) problem(subject string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, had := b.problems[subject]
	switch {
	case err == nil && had:
		delete(b.problems, subject)
		b.cfg.Logger.Info("works again", "what", subject)
	case err != nil && err.Error() != was:
		b.problems[subject] = err.Error()
		b.cfg.Logger.Warn("does not work", "what", subject, "err", err)
	}
}

// troubles lists what does not work now.
func (b *Board) troubles() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, s := range slices.Sorted(maps.Keys(b.problems)) {
		out = append(out, s+": "+b.problems[s])
	}
	return out
}
