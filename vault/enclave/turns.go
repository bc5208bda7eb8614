package enclave

import (
	"crypto/rand"
	"slices"

	"latchkey/vault"
	"latchkey/vault/session"
	"latchkey/wire"
)

// A turn is a call that waits to be decided.
type turn struct {
	call  Call
	frame session.Frame      // of a call with one
	bad   error              // why that does not read
	ran   *vault.Exploration // of a lock: that of its outcomes, which is over

	opened *opened         // of a frame: what it holds, once that was looked at
	word   *vault.Prepared // of a word that was opened before its turn
}

// opened is what a frame holds.
type opened struct {
	s     *session.Session
	first bool // that opens in its session
	q     vault.Request
	err   error // why it does not open
	bad   error // why it holds no request
}

// An account is that of one vault: what it waits for, in the order in which it came,
// and how much was done for it, in units of work: those of vault.Escrow.Work, one for
// each call and for each unitBytes that it asks or is answered.
type account struct {
	turns []turn
	done  uint64
	last  uint64 // of it, by its last turn
}

const (
	unitBytes   = 2048
	sourceBytes = 256 // of a contract's text: it is compiled
	greetWork   = 16  // evidence is appraised
)

// aheadTurns is how many turns of each vault are opened before they are due.
const aheadTurns = 4

// Accounts that are no vault's: what the host asks for itself goes first, always; who
// greets, or sends frames of no session, shares one with all who do.
var (
	own       = wire.VaultID{}
	strangers = wire.VaultID{1}
)

// turns are the calls that wait to be decided. The next is of the vault for which the
// least was done: who asks for much waits longer, and nobody else does. A vault that
// comes anew begins with what was done for the one that had the last turn, so none
// saves turns up; what kept nobody waiting is forgotten.
type turns struct {
	of      map[wire.VaultID]*account
	waiting []*account // those with turns
	n       int        // turns of all
	least   uint64     // done, before its last turn, for the account that had it
}

func (t *turns) account(v wire.VaultID) *account {
	a := t.of[v]
	if a == nil {
		a = &account{}
		t.of[v] = a
	}
	if v != own && len(a.turns) == 0 {
		a.done = max(a.done, t.least, 1)
	}
	return a
}

// most is the account, of some vaults, for which the most was done.
func (t *turns) most(of []wire.VaultID) *account {
	a := t.account(of[0])
	for _, v := range of[1:] {
		if b := t.account(v); b.done > a.done {
			a = b
		}
	}
	return a
}

// add puts a turn behind those of its vault; one of several belongs to that for which
// the most was done, whose account is returned.
func (t *turns) add(x turn, of ...wire.VaultID) *account {
	a := t.most(of)
	if len(a.turns) == 0 {
		t.waiting = append(t.waiting, a)
	}
	a.turns = append(a.turns, x)
	t.n++
	return a
}

// first is where in waiting the account is whose turn it is.
func (t *turns) first() (at int) {
	for i, a := range t.waiting {
		if a.done < t.waiting[at].done {
			at = i
		}
	}
	return at
}

// next takes the turn that is due, and its account.
func (t *turns) next() (turn, *account) {
	at := t.first()
	a := t.waiting[at]
	x := a.turns[0]
	a.turns[0] = turn{}
	a.turns = a.turns[1:]
	t.waiting = slices.Delete(t.waiting, at, at+1)
	if len(a.turns) > 0 { // behind those for which as much was done
		t.waiting = append(t.waiting, a)
	}
	t.n--
	t.least = max(t.least, a.done)
	return x, a
}

// whose says to whom a call belongs.
func (e *Enclave) whose(x turn) []wire.VaultID {
	switch c := x.call; {
	case c.Lock != nil: // the host has checked that they signed it, or keeps them waiting for nothing
		var of []wire.VaultID
		for _, p := range c.Lock.Agreement.Parties {
			if v, err := p.One(); err == nil && v != own {
				of = append(of, v)
			}
		}
		if len(of) > 0 {
			return of
		}
	case c.Frame != nil:
		if s := e.sessions[x.frame.Session]; s != nil {
			return []wire.VaultID{s.Peer}
		}
	case c.Greet == nil:
		return []wire.VaultID{own}
	}
	return []wire.VaultID{strangers}
}

// read makes a turn of a call.
func (e *Enclave) read(c Call) turn {
	x := turn{call: c}
	if c.Frame != nil {
		x.frame, x.bad = session.ParseFrame(c.Frame.Bytes)
	}
	return x
}

// come takes a call: what is hasty is decided at once, all else waits for its turn.
func (e *Enclave) come(c Call) {
	x := e.read(c)
	if c.hasty() {
		e.decide(x)
		return
	}
	if e.turns.n == 0 && len(e.asides) == 0 {
		clear(e.turns.of)
		e.turns.least = 0
	}
	if a := e.turns.add(x, e.whose(x)...); e.turns.n > 1 { // one alone is decided now
		e.ahead(a)
	}
}

// ahead opens the next turns of a vault and has the work of their words done beside the
// machine, which decides others meanwhile. It is bounded by the vault's turns: who asks
// for much has no more done ahead than anyone.
func (e *Enclave) ahead(a *account) {
	for i := range min(len(a.turns), aheadTurns) {
		x := &a.turns[i]
		if x.opened != nil || !e.open(x) || x.opened.q.Word == nil {
			continue
		}
		if w, err := e.escrow.Prepare(*x.opened.q.Word, rand.Reader); err == nil { // else its turn will say why
			x.word = w
			go w.Do()
		}
	}
}

// turn decides the call whose turn it is, and puts what it cost on its account.
func (e *Enclave) turn() {
	x, a := e.turns.next()
	e.ahead(a)
	var before uint64
	if e.escrow != nil {
		before = e.escrow.Work()
	}
	size := e.decide(x)
	if e.escrow == nil || a == e.turns.of[own] {
		return
	}
	a.last = 1 + e.escrow.Work() - before + uint64(size)/unitBytes
	switch {
	case x.call.Greet != nil:
		a.last += greetWork
	case x.call.Lock != nil:
		a.last += uint64(len(x.call.Lock.Agreement.Source)) / sourceBytes
	}
	a.done += a.last
	e.worked += a.last
}

// An aside is an exploration beside the machine, with the locks that wait for it.
type aside struct {
	*vault.Exploration
	turns   []turn
	running bool
}

// explore has a lock wait for the exploration of its agreement.
func (e *Enclave) explore(x turn, of *vault.Exploration) {
	i := slices.IndexFunc(e.asides, func(a *aside) bool { return a.Agreement == of.Agreement })
	if i < 0 {
		i, e.asides = len(e.asides), append(e.asides, &aside{Exploration: of})
	}
	e.asides[i].turns = append(e.asides[i].turns, x)
}

// nextAside returns the exploration that is to run next; nil: none, or one runs. They
// take turns as calls do.
func (e *Enclave) nextAside() *aside {
	var next *aside
	var done uint64
	for _, a := range e.asides {
		if a.running {
			return nil
		}
		if d := e.turns.most(a.Parties).done; next == nil || d < done {
			next, done = a, d
		}
	}
	if next != nil {
		next.running = true
	}
	return next
}

// explored takes an exploration that has run: the locks that waited for it are due, and
// its work is on the accounts of all who agreed.
func (e *Enclave) explored(a *aside) {
	e.asides = slices.DeleteFunc(e.asides, func(b *aside) bool { return a == b })
	for _, x := range a.turns {
		x.ran = a.Exploration
		e.turns.add(x, own) // what is left to do is little
	}
	for _, v := range a.Parties {
		e.turns.account(v).done += uint64(a.Work)
	}
}
