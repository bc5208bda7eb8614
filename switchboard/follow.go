package switchboard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"latchkey/contract"
	"latchkey/escrow"
	"latchkey/event"
	"latchkey/head"
	"latchkey/key"
	"latchkey/market"
	"latchkey/vault"
	"latchkey/wire"
)

// An EscrowLog shows the log of an escrow: escrow.Client.
type EscrowLog interface {
	Entries(ctx context.Context, from int64, limit int, wait time.Duration) (escrow.Page, error)
}

// A ledger is what the escrow's log says of chunks and instances, in the words
// that the market needs. It is folded from all entries, in order, and kept as
// rows beside the market's events.
type ledger struct {
	front     head.Frontier
	escrow    wire.Identity
	escrowID  wire.VaultID // zero before the first entry
	time      int64        // of the newest witnessed head that was followed to its end, Unix seconds
	chunks    map[wire.ChunkID]*held
	instances map[wire.InstanceID]*running
	owned     map[wire.VaultID]map[wire.ChunkID]bool
}

// held is one chunk that was not swept.
type held struct {
	Cert     wire.CertID     `cbor:"1,keyasint"`
	Owner    wire.VaultID    `cbor:"2,keyasint"`
	Epoch    uint32          `cbor:"3,keyasint"`
	Instance wire.InstanceID `cbor:"4,keyasint"` // zero: free
	Claimed  bool            `cbor:"5,keyasint"`
	Line     []wire.VaultID  `cbor:"6,keyasint"` // everybody who ever held a share of the owner's side, or was a candidate for one
}

// running is one instance that is not settled.
type running struct {
	Agreement wire.Hash     `cbor:"1,keyasint"`
	Handed    []uint32      `cbor:"2,keyasint"` // roles that left their shares for the others
	Acked     []uint32      `cbor:"3,keyasint"` // roles that have what was left for them
	Gives     []market.Give `cbor:"4,keyasint"`
}

// logRow is the head of what was followed.
type logRow struct {
	Frontier []byte        `cbor:"1,keyasint"`
	Escrow   wire.Identity `cbor:"2,keyasint"`
}

// Rows of the ledger, by prefix.
const (
	rowFollowed = "followed"
	rowChunk    = "chunk/"    // + chunk: held
	rowInstance = "instance/" // + instance: running
)

func newLedger() *ledger {
	return &ledger{
		chunks: map[wire.ChunkID]*held{}, instances: map[wire.InstanceID]*running{},
		owned: map[wire.VaultID]map[wire.ChunkID]bool{},
	}
}

// load reads the ledger's rows.
func (l *ledger) load(ctx context.Context, log event.Log) error {
	raw, found, err := log.Get(ctx, []byte(rowFollowed))
	if err != nil || !found {
		return err
	}
	var r logRow
	if err = wire.Unmarshal(raw, &r); err == nil {
		if err = l.front.UnmarshalBinary(r.Frontier); err == nil && r.Escrow.Sign != nil {
			l.escrow = r.Escrow
			l.escrowID, err = r.Escrow.ID()
		}
	}
	if err != nil {
		return fmt.Errorf("what was followed of the escrow's log: %w", err)
	}
	err = scan(ctx, log, rowChunk, func(id wire.Hash, h *held) {
		l.chunks[wire.ChunkID(id)] = h
		l.own(h.Owner, wire.ChunkID(id))
	})
	if err != nil {
		return err
	}
	return scan(ctx, log, rowInstance, func(id wire.Hash, r *running) { l.instances[wire.InstanceID(id)] = r })
}

// scan decodes the rows under a prefix whose keys end with a hash.
func scan[T any](ctx context.Context, log event.Log, prefix string, f func(wire.Hash, *T)) error {
	for r, err := range log.Scan(ctx, []byte(prefix)) {
		if err != nil {
			return err
		}
		v := new(T)
		if len(r.Key) != len(prefix)+32 {
			return fmt.Errorf("row %q: its key has %d bytes", r.Key, len(r.Key))
		}
		if err := wire.Unmarshal(r.Value, v); err != nil {
			return fmt.Errorf("row %q: %w", r.Key, err)
		}
		f(wire.Hash(r.Key[len(prefix):]), v)
	}
	return nil
}

func (l *ledger) own(v wire.VaultID, c wire.ChunkID) {
	if l.owned[v] == nil {
		l.owned[v] = map[wire.ChunkID]bool{}
	}
	l.owned[v][c] = true
}

func (l *ledger) disown(v wire.VaultID, c wire.ChunkID) {
	if delete(l.owned[v], c); len(l.owned[v]) == 0 {
		delete(l.owned, v)
	}
}

// A followed is an entry under a witnessed head, with what the follower made of
// it.
type followed struct {
	position int64
	vault.Entry
	chunks    []wire.ChunkID
	instance  wire.InstanceID
	agreement wire.Hash        // of a lock
	takers    [][]wire.VaultID // of a lock: who gets a share of each pot
}

// parse reads an entry. It decides nothing: that the escrow's vault did.
func parse(position int64, raw []byte) (followed, error) {
	e, err := vault.ParseEntry(raw)
	if err != nil {
		return followed{}, fmt.Errorf("entry %d of the escrow's log: %w", position, err)
	}
	f := followed{position: position, Entry: e}
	f.chunks, f.instance = e.Touches()
	if e.Lock != nil {
		if f.agreement, err = e.Lock.Agreement.Hash(); err != nil {
			return followed{}, fmt.Errorf("entry %d of the escrow's log: %w", position, err)
		}
		f.takers = takers(e.Lock.Agreement)
	}
	return f, nil
}

// takers returns, for each pot, the vaults that may be given of it; where the
// contract cannot be read, all parties.
func takers(a vault.Agreement) [][]wire.VaultID {
	out := make([][]wire.VaultID, len(a.Pots))
	var all []wire.VaultID
	for _, p := range a.Parties {
		all = append(all, p...)
	}
	program, err := contract.Compile(a.Source)
	var deal *contract.Deal
	if err == nil {
		deal, err = program.Bind(a.Terms)
	}
	for i := range out {
		if err != nil || i >= len(program.Pots()) || len(all) != len(program.Parties()) {
			out[i] = all
			continue
		}
		for _, c := range deal.Candidates(i) {
			out[i] = append(out[i], all[c])
		}
	}
	return out
}

// news is what an entry means to the market.
type news struct {
	instance  wire.InstanceID
	agreement wire.Hash
	position  int64
	locked    bool
	moved     map[wire.VaultID][]wire.ChunkID // of a lock, or of exits: by their owner before
	settled   *running
	aborted   bool
	reporter  wire.VaultID // who reported a step as failed, upon which the rest went back; zero: nobody
	claimed   []wire.ChunkID
}

// changes are the chunks and instances that entries touched.
type changes struct {
	chunks    map[wire.ChunkID]bool
	instances map[wire.InstanceID]bool
}

// apply folds one entry. What an entry says of things that are not known changes
// nothing: every vault replays what concerns its own coins.
func (l *ledger) apply(f followed, ch *changes) []news {
	for _, id := range f.chunks {
		ch.chunks[id] = true
	}
	if f.instance != (wire.InstanceID{}) {
		ch.instances[f.instance] = true
	}
	switch {
	case f.Genesis != nil && f.position == 0:
		l.escrow = f.Genesis.Escrow
		l.escrowID, _ = l.escrow.ID()
	case f.Certify != nil:
		owner, err := vault.Recipients(f.Certify.Certificate.Owner).One()
		id, err2 := f.Certify.Certificate.ID()
		if err != nil || err2 != nil {
			return nil
		}
		for i := range f.Certify.Points {
			c := key.ChunkIDOf(id, uint32(i))
			l.chunks[c] = &held{Cert: id, Owner: owner, Line: []wire.VaultID{owner}}
			l.own(owner, c)
		}
	case f.Lock != nil:
		moved := map[wire.VaultID][]wire.ChunkID{}
		for i, pot := range f.Lock.Agreement.Pots {
			for _, s := range pot {
				if c := l.chunks[s.Chunk]; c != nil {
					moved[c.Owner] = append(moved[c.Owner], s.Chunk)
					c.Instance = f.instance
					c.Line = join(c.Line, f.takers[i])
				}
			}
		}
		l.instances[f.instance] = &running{Agreement: f.agreement}
		return []news{{instance: f.instance, agreement: f.agreement, position: f.position, locked: true, moved: moved}}
	case f.Hand != nil:
		if in := l.instances[f.instance]; in != nil {
			in.Handed = append(in.Handed, f.Hand.Role)
		}
	case f.Ack != nil:
		if in := l.instances[f.instance]; in != nil {
			in.Acked = append(in.Acked, f.Ack.Role)
		}
	case f.Run != nil:
		return l.run(f)
	case f.Claim != nil:
		for _, id := range f.chunks {
			if c := l.chunks[id]; c != nil {
				c.Claimed = true
			}
		}
		return []news{{position: f.position, claimed: f.chunks}}
	case f.Swept != nil:
		for _, id := range f.chunks {
			if c := l.chunks[id]; c != nil {
				l.disown(c.Owner, id)
				delete(l.chunks, id)
			}
		}
	}
	return nil
}

func (l *ledger) run(f followed) []news {
	in := l.instances[f.instance]
	moved := map[wire.VaultID][]wire.ChunkID{}
	var reporter wire.VaultID
	if in != nil && f.Run.Kind == vault.RunFailed && len(in.Gives) > 0 {
		reporter = in.Gives[len(in.Gives)-1].To // whoever a step is for speaks of it
	}
	for _, x := range f.Run.Exits {
		to, err := x.To.One()
		c := l.chunks[x.Chunk]
		if err != nil || c == nil {
			continue
		}
		moved[c.Owner] = append(moved[c.Owner], x.Chunk)
		l.disown(c.Owner, x.Chunk)
		c.Owner, c.Epoch, c.Instance = to, x.Epoch, wire.InstanceID{}
		c.Line = join(c.Line, []wire.VaultID{to})
		l.own(to, x.Chunk)
		if in != nil {
			in.Gives = append(in.Gives, market.Give{Chunk: x.Chunk, To: to, Epoch: x.Epoch})
		}
	}
	if in == nil {
		return nil
	}
	if !f.Run.Settled { // closed at most: chunks of it are still to be given
		return []news{{instance: f.instance, agreement: in.Agreement, position: f.position, moved: moved}}
	}
	delete(l.instances, f.instance)
	return []news{{
		instance: f.instance, agreement: in.Agreement, position: f.position, moved: moved,
		settled: in, aborted: f.Run.Kind == vault.RunAbort, reporter: reporter,
	}}
}

// join returns a list with those of more that it lacks; it does not change list.
func join(list, more []wire.VaultID) []wire.VaultID {
	list = slices.Clip(list)
	for _, v := range more {
		if !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}

// rows writes what entries have changed.
func (l *ledger) rows(ch changes, b *event.Block) error {
	put := func(key string, v any) error {
		raw, err := wire.Marshal(v)
		b.Puts = append(b.Puts, event.Row{Key: []byte(key), Value: raw})
		return err
	}
	front, err := l.front.MarshalBinary()
	if err == nil {
		err = put(rowFollowed, logRow{front, l.escrow})
	}
	for id := range ch.chunks {
		if c := l.chunks[id]; c == nil {
			b.Deletes = append(b.Deletes, []byte(rowChunk+string(id[:])))
		} else if err == nil {
			err = put(rowChunk+string(id[:]), c)
		}
	}
	for id := range ch.instances {
		if in := l.instances[id]; in == nil {
			b.Deletes = append(b.Deletes, []byte(rowInstance+string(id[:])))
		} else if err == nil {
			err = put(rowInstance+string(id[:]), in)
		}
	}
	return err
}

// verified is a page of the log under a head that a quorum has cosigned.
type verified struct {
	front   head.Frontier
	entries []followed
	time    int64 // of the head, if the page goes up to its end; else 0
}

// verify checks a page against what was followed before.
func verify(g head.Group, front head.Frontier, p escrow.Page) (verified, error) {
	if len(p.Head) == 0 {
		return verified{front: front}, errors.New("the escrow has no witnessed head yet")
	}
	c, err := g.Verify(p.Head)
	if err != nil {
		return verified{}, fmt.Errorf("the escrow's head: %w", err)
	}
	v := verified{front: front}
	at := front.Size()
	for _, raw := range p.Entries {
		if err := v.front.Append(raw); err != nil {
			return verified{}, err
		}
		f, err := parse(at, raw)
		if err != nil {
			return verified{}, err
		}
		if f.Genesis != nil && at == 0 && !bytes.Equal(f.Genesis.Escrow.Sign, g.Log.Public()) {
			return verified{}, errors.New("the escrow's identity is not that of its log's key")
		}
		if f.Genesis != nil && f.Genesis.Format != vault.LogFormat {
			return verified{}, fmt.Errorf("the escrow's log has format %d, this program reads format %d; follow it with a program of the escrow's build", f.Genesis.Format, vault.LogFormat)
		}
		v.entries = append(v.entries, f)
		at++
	}
	if c.Size < at {
		if len(p.Entries) == 0 {
			return v, nil // an older head than the one seen says nothing new
		}
		return verified{}, fmt.Errorf("the escrow shows %d entries under a head of %d", at, c.Size)
	}
	if c.Size == at {
		if v.front.Root() != c.Root {
			return verified{}, fmt.Errorf("the escrow's log contradicts itself: its entries up to %d are not those under its head", at)
		}
		v.time = c.Time
		return v, nil
	}
	have := head.Checkpoint{Origin: c.Origin, Size: at, Root: v.front.Root()}
	if err := head.VerifyConsistency(have, c.Checkpoint, p.Consistency); err != nil {
		return verified{}, fmt.Errorf("the escrow's log does not continue with these entries: %w", err)
	}
	return v, nil
}

// pageSize is how many entries are asked for at once.
const pageSize = 512

// followLog follows the escrow's log until ctx ends.
func (b *Board) followLog(ctx context.Context) error {
	front := b.ledger.front
	for ctx.Err() == nil {
		p, err := b.cfg.Escrow.Entries(ctx, front.Size(), pageSize, 2*time.Second)
		var v verified
		if err == nil {
			v, err = verify(b.cfg.Group, front, p)
		}
		if ctx.Err() != nil {
			return nil
		}
		b.problem("escrow", err)
		if err != nil {
			pause(ctx, b.cfg.Retry)
			continue
		}
		if err := b.do(ctx, func(t *turn) error { return t.follow(v) }); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		front = v.front
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// follow takes a verified page: the ledger changes with the market, in one block.
func (t *turn) follow(v verified) error {
	l := t.b.ledger
	if len(v.entries) > 0 {
		ch := changes{map[wire.ChunkID]bool{}, map[wire.InstanceID]bool{}}
		for _, f := range v.entries {
			for _, n := range l.apply(f, &ch) {
				t.tell(n)
			}
		}
		l.front = v.front
		if err := l.rows(ch, &t.block); err != nil {
			return t.fail(err)
		}
		id := l.escrow
		t.b.escrow.Store(&id)
	}
	if l.time = max(l.time, v.time); v.time > 0 {
		t.answer()
	}
	return nil
}

// tell passes on to the market what an entry means to it. A refusal is the
// market's to make and changes nothing.
func (t *turn) tell(n news) {
	id, known := t.b.proposals[n.agreement]
	var err error
	switch {
	case n.locked && known:
		err = t.step(market.Locked{Proposal: id, Instance: n.instance, Entry: uint64(n.position)})
	case n.settled != nil && known:
		s := market.Settled{
			Proposal: id, Instance: n.instance, Entry: uint64(n.position), Aborted: n.aborted, Gives: n.settled.Gives, Reporter: n.reporter,
		}
		if n.aborted {
			s.Fault = t.fault(id, n.settled)
		}
		err = t.step(s)
		for _, g := range n.settled.Gives { // the market had them in the instance still when their owner claimed them
			if c := t.b.ledger.chunks[g.Chunk]; c == nil || c.Claimed {
				n.claimed = append(n.claimed, g.Chunk)
			}
		}
	}
	if !known {
		t.moved(n.moved)
	}
	for _, c := range n.claimed {
		if e := t.step(market.Claimed{Chunk: c}); e != nil && !errors.Is(e, market.ErrNotFound) {
			err = e
		}
	}
	if err != nil && !errors.Is(err, market.ErrNotFound) {
		t.b.cfg.Logger.Warn("the market has no use for what the escrow's log says", "entry", n.position, "err", err)
	}
}

// moved takes chunks off the market that their owners use in an agreement which
// did not come from here: what is in it, and what comes out of it at another epoch,
// nobody else can be offered. Whoever has them then may offer them again. A chunk
// that is in a proposal meanwhile stays: no vault pledges it twice, so one of the
// two comes to nothing.
func (t *turn) moved(by map[wire.VaultID][]wire.ChunkID) {
	for _, owner := range slices.SortedFunc(maps.Keys(by), func(a, b wire.VaultID) int { return bytes.Compare(a[:], b[:]) }) {
		for _, id := range by[owner] {
			err := t.step(market.Withdraw{Client: owner, Chunks: []wire.ChunkID{id}})
			if err != nil && !errors.Is(err, market.ErrNotFound) && !errors.Is(err, market.ErrState) {
				t.b.cfg.Logger.Warn("the market does not let go of a chunk", "chunk", id.Short(), "err", err)
			}
		}
	}
}

// fault returns who kept an instance from opening: those who did not leave their
// shares, or, if all did, those who did not say that they stored them.
func (t *turn) fault(id market.ProposalID, in *running) []wire.VaultID {
	s, err := t.b.market.ProposalStatus(id)
	if err != nil {
		return nil
	}
	var silent, deaf []wire.VaultID
	for _, side := range s.Proposal.Sides {
		others := 0
		for _, r := range side.Takers {
			if r == side.Role || int(r) >= len(s.Proposal.Parties) {
				continue
			}
			others++
			if !slices.Contains(in.Acked, uint32(r)) {
				deaf = append(deaf, s.Proposal.Parties[r])
			}
		}
		if others > 0 && !slices.Contains(in.Handed, uint32(side.Role)) {
			silent = append(silent, side.Client)
		}
	}
	if len(silent) > 0 {
		return silent
	}
	return deaf
}

// sure is for how many seconds after a proposal's LockBy the escrow's log is
// followed before it counts as never locked: a head may be countersigned a moment
// before the vault behind it learns the time.
const sure = 5

// answer tells the market which of the proposals that it asks about were never
// locked, and of which no chunk is pledged any more by a party's acceptance. Those that
// were locked, it was told when the log said so.
func (t *turn) answer() {
	for _, id := range slices.Sorted(maps.Keys(t.b.asked)) {
		s, err := t.b.market.ProposalStatus(id)
		if err != nil || s.Stage != "accepted" && len(s.Rests) == 0 {
			delete(t.b.asked, id)
			continue
		}
		until := s.Proposal.LockBy
		if len(s.Rests) > 0 {
			until = s.Rests[0].Until
		}
		if t.b.ledger.time <= until+sure {
			continue
		}
		delete(t.b.asked, id)
		if err := t.step(market.NotLocked{Proposal: id}); err != nil {
			t.b.cfg.Logger.Warn("the market does not believe that a proposal was never locked", "proposal", id, "err", err)
		}
	}
}
