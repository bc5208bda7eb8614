package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"latchkey/settle"
	"latchkey/wire"
)

// An Event is one thing that happens in a world. Who and Arg are read modulo
// what there is, and an event for which there is nothing does nothing: so any
// part of a list of events is a list of events, and lists can be shrunk.
type Event struct {
	Op       Op
	Who, Arg int
}

// An Op says what happens.
type Op uint8

// The operations. Their order is no format; their names are.
const (
	OpPump        Op = iota // everybody does what there is to do, without faults
	OpStep                  // client Who follows the log and talks
	OpDeliver               // request Arg of client Who arrives
	OpRepeat                // request Arg of client Who arrives, and stays on its way
	OpDrop                  // request Arg of client Who is lost
	OpHear                  // answer Arg to client Who arrives
	OpHearAgain             // an answer heard before arrives again
	OpLose                  // answer Arg to client Who is lost
	OpFlush                 // Arg blocks of host Who become durable
	OpRound                 // host Who asks witnesses: reach and loss in Arg
	OpDue                   // host Who does what time has brought
	OpTick                  // Arg seconds pass
	OpDeposit               // client Who makes a batch
	OpPropose               // a deal is proposed, client Who first
	OpSay                   // client Who says a word in an instance
	OpClaim                 // client Who claims a chunk
	OpMine                  // blocks on all chains
	OpCrash                 // client Who dies: now, or when it next stores something
	OpStart                 // client Who starts again
	OpCrashEscrow           // host Who dies, Arg of its blocks in flight were durable
	OpStartEscrow           // host Who starts again
	OpKeep                  // somebody keeps a copy of host Who's disk
	OpClone                 // a second host starts from such a copy, or from host Who's disk as it is
	OpRoute                 // client Who takes host Arg for the escrow
	OpBackup                // client Who's host keeps a copy of its vault's disk
	OpRollback              // and brings it back
	OpClock                 // the one witness that may fail has its clock set
	OpReorg                 // the last block of a chain is replaced
	OpAttack                // client Who, its TEE broken, tries something
	OpLie                   // client Who's host lies to its vault
	OpJudge                 // client Who's host looks at what settlements have given it
	OpDrain                 // client Who, who broke TEEs, spends the coins of a chunk that it is exchanging step by step
	OpManner                // client Who, a cheat, says from now on what is so of steps, nothing, or that they failed
	OpSnapshot              // host Who's machine writes down its state
	OpOrder                 // an order of goods, to be paid later, is proposed, client Who the buyer
	OpFund                  // client Who deposits into a pot that is filled later
	ops
)

var opNames = [ops]string{
	"pump", "step", "deliver", "repeat", "drop", "hear", "hear-again", "lose", "flush", "round", "due", "tick", "deposit", "propose", "say",
	"claim", "mine", "crash", "start", "crash-escrow", "start-escrow", "keep", "clone", "route", "backup", "rollback", "clock", "reorg",
	"attack", "lie", "judge", "drain", "manner", "snapshot", "order", "fund",
}

// String writes the event as ParseEvent reads it.
func (e Event) String() string { return fmt.Sprintf("%s %d %d", opNames[e.Op], e.Who, e.Arg) }

// ParseEvent reads a line of a regression file; what follows # is a remark.
func ParseEvent(line string) (Event, error) {
	line, _, _ = strings.Cut(line, "#")
	f := strings.Fields(line)
	if len(f) != 3 {
		return Event{}, fmt.Errorf("event %q: want an operation and two numbers", line)
	}
	for i, n := range opNames {
		if n != f[0] {
			continue
		}
		who, err1 := strconv.Atoi(f[1])
		arg, err2 := strconv.Atoi(f[2])
		if err := errors.Join(err1, err2); err != nil || who < 0 || arg < 0 {
			return Event{}, fmt.Errorf("event %q: want two numbers from 0", line)
		}
		return Event{Op(i), who, arg}, nil
	}
	return Event{}, fmt.Errorf("event %q: unknown operation", line)
}

// A profile says how often each operation happens. Each seed has its own, in
// which some faults do not happen at all: what always happens hides what needs
// calm (swarm testing; Groce and others, ISSTA 2012).
type profile [ops]int

var usual = profile{
	OpPump: 14, OpStep: 20, OpDeliver: 26, OpHear: 22, OpFlush: 8, OpRound: 8, OpDue: 3, OpTick: 4, OpDeposit: 2, OpPropose: 6, OpSay: 5, OpClaim: 2, OpMine: 2, OpJudge: 8,
	OpSnapshot: 2, OpOrder: 2, OpFund: 4,
}

var faults = profile{
	OpRepeat: 5, OpDrop: 4, OpHearAgain: 4, OpLose: 4, OpCrash: 4, OpCrashEscrow: 3, OpClone: 2, OpRoute: 5, OpBackup: 3, OpRollback: 1,
	OpClock: 2, OpReorg: 2, OpAttack: 8, OpLie: 8, OpKeep: 2, OpDrain: 5, OpManner: 3,
}

// needs says which operations come with a fault.
var needs = map[Op]Op{OpCrash: OpStart, OpCrashEscrow: OpStartEscrow}

func newProfile(r *rand.Rand) profile {
	p := usual
	for op, weight := range faults {
		if weight > 0 && r.IntN(5) < 2 {
			p[op] = weight
			if with, ok := needs[Op(op)]; ok {
				p[with] = weight
			}
		}
	}
	if p[OpClone] > 0 {
		p[OpRoute] = 5
	}
	if p[OpRollback] > 0 {
		p[OpBackup] = 3
	}
	return p
}

// draw picks the next event. It looks at the world only to waste fewer events.
func (p profile) draw(r *rand.Rand, w *World) Event {
	total := 0
	for _, n := range p {
		total += n
	}
	n := r.IntN(total)
	e := Event{Who: r.IntN(len(w.clients)), Arg: r.IntN(1 << 12)}
	for op, weight := range p {
		if n -= weight; n < 0 {
			e.Op = Op(op)
			break
		}
	}
	switch e.Op {
	case OpDeliver, OpRepeat, OpDrop:
		e.Who = busiest(w, e.Who, func(c *Client) int { return len(c.up) })
		e.Arg %= 3
	case OpHear, OpLose:
		e.Who = busiest(w, e.Who, func(c *Client) int { return len(c.down) })
		e.Arg %= 3
	case OpHearAgain:
		e.Arg %= 8
	case OpFlush:
		e.Who, e.Arg = r.IntN(len(w.hosts)), r.IntN(4)
	case OpDue, OpStartEscrow, OpKeep, OpSnapshot:
		e.Who, e.Arg = r.IntN(len(w.hosts)), 0
	case OpCrashEscrow:
		e.Who, e.Arg = r.IntN(len(w.hosts)), r.IntN(4)
	case OpRound:
		e.Who = r.IntN(len(w.hosts))
		e.Arg = []int{15, 7, 14, 11, 13, 3 | 8, 15 | 16<<r.IntN(4), r.IntN(256)}[r.IntN(8)]
	case OpTick:
		e.Who, e.Arg = 0, []int{1, 1, 2, 5, 30, 90, 600}[r.IntN(7)]
	case OpStart, OpStep, OpPump, OpBackup, OpMine, OpReorg:
		e.Arg = 0
	case OpCrash:
		e.Arg = r.IntN(3)
	case OpClone:
		e.Who, e.Arg = r.IntN(len(w.hosts)), r.IntN(8)
	case OpRoute, OpRollback:
		e.Arg = r.IntN(4)
	case OpAttack, OpDrain, OpManner:
		e.Who = len(w.clients) - 1
	case OpJudge:
		e.Arg = 0
	}
	return e
}

// busiest returns the first client, from one on, whose queue is not empty.
func busiest(w *World, from int, queue func(*Client) int) int {
	for i := range w.clients {
		if n := (from + i) % len(w.clients); queue(w.clients[n]) > 0 {
			return n
		}
	}
	return from
}

const (
	maxHosts   = 3
	maxBatches = 6 // of one client, in one world
)

// Play makes an event happen.
func (w *World) Play(e Event) {
	c := w.clients[e.Who%len(w.clients)]
	h := w.hosts[e.Who%len(w.hosts)]
	switch e.Op {
	case OpPump:
		w.Tick(1)
		w.Pump()
	case OpStep:
		c.Sync()
		c.Talk()
	case OpDeliver:
		c.Deliver(e.Arg, false)
	case OpRepeat:
		c.Deliver(e.Arg, true)
	case OpDrop:
		take(&c.up, e.Arg, false)
	case OpHear:
		c.Hear(e.Arg, false)
	case OpHearAgain:
		if len(c.heard) > 0 && c.m != nil {
			c.hear(c.heard[e.Arg%len(c.heard)])
		}
	case OpLose:
		take(&c.down, e.Arg, false)
	case OpFlush:
		h.Flush(e.Arg)
	case OpRound:
		h.Round(uint(e.Arg)&15, uint(e.Arg)>>4&15)
	case OpDue:
		h.Due()
	case OpTick:
		w.Tick(int64(e.Arg))
	case OpDeposit:
		if c.m != nil && c.batches < maxBatches {
			c.batches++
			d := w.cast.Coins[[]int{0, 1, 0, 1, 2}[e.Arg%5]]
			_ = c.Deposit(d, []uint32{1, 2, 5}[e.Arg/5%3], 1+uint32(e.Arg/15%2))
		}
	case OpPropose:
		w.propose(e.Who, e.Arg)
	case OpSay:
		c.sayAny(e.Arg)
	case OpClaim:
		if ids := c.Owned(); len(ids) > 0 {
			_ = c.Claim(ids[e.Arg%len(ids)])
		}
	case OpMine:
		w.Mine(1)
	case OpCrash:
		if c.m != nil {
			if c.crash = crashPoint(e.Arg % 3); c.crash == crashNever {
				c.Crash()
			}
		}
	case OpStart:
		w.check(c.Start())
	case OpCrashEscrow:
		h.Crash(e.Arg)
	case OpStartEscrow:
		h.Start()
	case OpKeep:
		if len(w.kept) < 3 {
			w.kept = append(w.kept, h.Clone("kept", h.Disk.Clone()))
		}
	case OpClone:
		w.clone(h, e.Arg)
	case OpRoute:
		c.Route(w.hosts[e.Arg%len(w.hosts)])
	case OpBackup:
		c.Backup()
	case OpRollback:
		c.Rollback(e.Arg)
		w.check(c.Start())
	case OpClock:
		w.witnesses[len(w.witnesses)-1].offset = []int64{0, -3600, 3600, -86400 * 400, 86400 * 400, 40, -40}[e.Arg%7]
	case OpReorg:
		for _, d := range w.cast.Coins {
			w.chains[d.Asset.ID].Reorg(depth - 1)
			w.chains[d.Asset.ID].Mine(depth)
		}
	case OpAttack:
		if w.cfg.Broken[c.Name] {
			w.attack(c, e.Arg)
		}
	case OpLie:
		w.lie(c, e.Arg)
	case OpJudge:
		c.Judge()
	case OpDrain:
		if w.cfg.Broken[c.Name] {
			w.drain(c, e.Arg)
		}
	case OpSnapshot:
		h.Snapshot()
	case OpOrder:
		w.order(e.Who, e.Arg)
	case OpFund:
		if w.cfg.Broken[c.Name] && e.Arg%3 == 0 {
			w.forgeDeposit(c, e.Arg/3)
		} else {
			c.fund(e.Arg / 3)
		}
	case OpManner:
		if w.cfg.Broken[c.Name] {
			c.manner = manner(e.Arg % 3)
		}
	}
}

// clone starts a second host for the escrow, from a disk as it is or was.
func (w *World) clone(h *Host, arg int) {
	if len(w.hosts) >= maxHosts {
		return
	}
	if arg > 0 && len(w.kept) > 0 {
		h = w.kept[arg%len(w.kept)]
	}
	w.cloned = true
	n := h.Clone(fmt.Sprintf("escrow%d", len(w.hosts)+1), h.Disk.Clone())
	w.hosts = append(w.hosts, n)
	n.Start()
}

// propose makes a deal out of what its parties have free.
func (w *World) propose(who, arg int) {
	n := len(w.clients)
	kind := []contractID{Swap, Swap, Pay, Escrow}[arg%4]
	a, b := w.clients[who%n], w.clients[(who+1+arg/4%(n-1))%n]
	var third *Client
	for _, c := range w.clients {
		if c != a && c != b {
			third = c
		}
	}
	s := Stakes{Contract: kind, Parties: []*Client{a, b}, LockIn: []int64{5, 60, 600}[arg/16%3]}
	most := [2]int{1 + arg/48%2, 1 + arg/96%2}
	if arg/192%2 == 0 && kind == Swap { // step by step, with more to it
		most = [2]int{1 + arg/48%4, 1 + arg/384%4}
		s.Pace = &settle.Pace{First: 1 + uint32(arg/768%3), Growth: []uint32{100, 150, 200}[arg/1536%3], Most: 5, Wait: []uint32{10, 60}[arg/16%2]}
	}
	x, y := sameCoin(a, most[0]), sameCoin(b, most[1])
	switch {
	case len(x) == 0 || kind == Swap && len(y) == 0:
		return
	case kind == Swap:
		s.Pots = [][]wire.ChunkID{x, y}
	case kind == Pay:
		s.Pots = [][]wire.ChunkID{x}
	case third == nil:
		return
	default:
		s.Parties = append(s.Parties, third)
		if len(x) == 1 {
			s.Pots = [][]wire.ChunkID{x, nil}
		} else {
			s.Pots = [][]wire.ChunkID{x[1:], x[:1]}
		}
	}
	if p, err := w.Propose(s); err != nil {
		w.say("no deal: %v", err)
	} else {
		w.say("deal: %s between %s and %s over %v", kind, a.Name, b.Name, p.a.Pots)
	}
}

// sameCoin returns up to n free, funded chunks of one denomination.
func sameCoin(c *Client, n int) (out []wire.ChunkID) {
	for _, id := range c.Owned() {
		f := c.w.ledger.chunks[id]
		if f == nil || len(out) == n || c.w.Deposited(id) != nil {
			continue
		}
		if len(out) == 0 || f.Cert.Denomination == c.w.ledger.chunks[out[0]].Cert.Denomination {
			out = append(out, id)
		}
	}
	return out
}

// sayAny says a word in one of the client's open instances; most words are ones
// that the contract knows.
func (c *Client) sayAny(arg int) {
	if c.m == nil {
		return
	}
	for _, in := range c.m.Instances() {
		if !in.Opened || in.Closed {
			continue
		}
		word := []string{"release", "refund", "dispute", "settle", "award", "award", "hurry", "nonsense"}[arg%8]
		_ = c.Say(in.ID, word, int64(arg/8%120), word == "award")
		return
	}
}
