package sim

import (
	"fmt"
	"strings"

	"latchkey/head"
	"latchkey/wire"
)

// Pump lets everybody do what there is to do, without faults: vaults follow and
// talk, messages arrive, blocks become durable, witnesses sign.
func (w *World) Pump() {
	for _, c := range w.clients {
		c.Sync()
		c.Fund()
		c.Sweep()
		c.Judge()
		c.Talk()
		for len(c.up) > 0 {
			c.Deliver(0, false)
		}
	}
	for _, h := range w.hosts {
		h.Due()
	}
	reach := w.reach
	if reach == 0 { // any three will do
		reach = 15 &^ (1 << (w.pumps % len(w.witnesses)))
	}
	w.hosts[0].Round(reach, 0)
	w.pumps++
	for _, c := range w.clients {
		for len(c.down) > 0 {
			c.Hear(0, false)
		}
	}
}

// Rest pumps until nothing moves any more, at most n times, a second each.
func (w *World) Rest(n int) {
	for range n {
		before := w.mark()
		w.Tick(1)
		w.Pump()
		if w.err != nil || w.mark() == before && !w.busy() {
			return
		}
	}
}

// mark changes when anything of weight happens.
func (w *World) mark() string {
	var b strings.Builder
	fmt.Fprint(&b, w.ledger.size, w.hosts[0].Disk.size())
	for _, c := range w.clients {
		fmt.Fprint(&b, " ", c.digestWithoutClock())
	}
	return b.String()
}

func (c *Client) digestWithoutClock() string {
	if c.m == nil {
		return c.Name
	}
	var b strings.Builder
	fmt.Fprint(&b, c.m.Size(), len(c.m.Batches()), len(c.sweeps))
	for _, id := range c.m.Chunks() {
		x, _ := c.m.Chunk(id)
		fmt.Fprint(&b, " ", x.Last, len(x.Share), x.Step, x.Lost, len(x.Whole), x.Done)
	}
	return b.String()
}

// busy reports whether a vault has something to say still.
func (w *World) busy() bool {
	for _, c := range w.clients {
		if c.m == nil {
			continue
		}
		if q, err := c.m.Pending(w.rnd); err == nil && len(q) > 0 {
			return true
		}
	}
	return false
}

// Mine adds blocks to all chains.
func (w *World) Mine(n int) {
	for _, d := range w.cast.Coins {
		w.chains[d.Asset.ID].Mine(n)
	}
}

// Heal ends all faults: one escrow, one whose log continues the witnessed one
// and can be witnessed further, and everybody up and in touch with it. There may
// be none: a host that lets two copies each win over some of the witnesses has
// halted its log for good. That is in its power, as it is to switch the machine
// off.
func (w *World) Heal() {
	var best *Host
	for _, h := range w.hosts {
		h.Crash(1 << 30)
		if best == nil && h.continues() {
			best = h
		}
	}
	if best == nil {
		w.halted = true
		if !w.cloned {
			w.fail("no disk has the witnessed log of %d entries", w.ledger.size)
		}
		return
	}
	w.hosts = []*Host{best}
	best.Start()
	for i := range w.witnesses {
		if !w.witnesses[i].liar {
			w.witnesses[i].offset = skew[i]
		}
	}
	for _, c := range w.clients {
		c.crash, c.up, c.down = crashNever, nil, nil
		c.peer = best
		if !c.lost {
			w.check(c.Start())
		}
	}
}

// continues reports whether a host's log has all that is witnessed, and enough
// witnesses have seen nothing else.
func (h *Host) continues() bool {
	has := func(size int64, want head.Hash) bool {
		got, err := h.Disk.root(size)
		return size == 0 || size <= h.Disk.size() && err == nil && got == want
	}
	willing := 0
	for _, x := range h.w.witnesses {
		if x.liar || has(x.seen.Size, x.seen.Root) {
			willing++
		}
	}
	truth, err := h.w.trueLog.root(h.w.ledger.size)
	return err == nil && willing >= h.w.group.K && has(h.w.ledger.size, truth)
}

// Settle heals the world and plays on until everything is over: every instance
// has ended, every chunk is claimed and swept by whom the log names, and every
// coin is where it must be.
func (w *World) Settle() {
	w.hook = nil
	w.Heal()
	if w.halted {
		return
	}
	for i := range 120 {
		if w.err != nil {
			return
		}
		before := w.mark()
		w.Pump()
		w.Mine(1)
		for _, c := range w.clients {
			if ids := c.Owned(); len(ids) > 0 {
				if err := c.Claim(ids...); err != nil {
					w.fail("%s cannot claim what is free and its own: %w", c.Name, err)
				}
			}
		}
		switch {
		case w.mark() != before || i < 3:
			w.Tick(1)
		case w.over():
			w.finish()
			return
		default: // only time can help
			w.Tick(w.wait())
		}
	}
	w.fail("the world does not come to rest: %s", w.open())
}

// wait returns the seconds until something is due.
func (w *World) wait() int64 {
	next := w.now + 7200
	for _, c := range w.ledger.courses {
		switch o := c.outcome.(type) {
		case *ordering:
			if !c.Ended && c.Opened {
				for _, at := range []int64{o.payBy, o.payBy + 3600} {
					if at+3 > w.now {
						next = min(next, at+3)
					}
				}
			}
			for _, p := range c.waiting {
				next = min(next, max(w.now, p.order.By)+3)
			}
		case *sale:
			if !c.Ended && c.Opened {
				for _, at := range o.ends {
					if at+3 > w.now {
						next = min(next, at+3)
					}
				}
			}
		}
		if c.Closed && !c.Ended {
			next = min(next, max(w.now, c.turns.lapses())+3)
		}
		if !c.Ended && !c.Opened {
			next = min(next, max(w.now, c.Agreement.LockBy)+3)
		}
	}
	for _, c := range w.clients {
		if c.lost {
			continue
		}
		for _, in := range c.m.Instances() {
			for _, d := range in.Deposits {
				if d.Entry == 0 && d.Order.By+3 > w.now {
					next = min(next, d.Order.By+3)
				}
			}
		}
		for _, p := range c.m.Pledges() {
			if p.LockBy+3 > w.now {
				next = min(next, p.LockBy+3)
			}
		}
	}
	return max(1, next-w.now)
}

// over reports whether there is nothing left to wait for.
func (w *World) over() bool { return w.open() == "" }

// open says what is not over.
func (w *World) open() string {
	for _, c := range w.ledger.courses {
		if !c.Ended {
			return fmt.Sprintf("instance %s has not ended", c.ID.Short())
		}
	}
	for _, c := range w.clients {
		if c.lost {
			continue
		}
		if c.stuck != nil {
			return fmt.Sprintf("%s stands still: %v", c.Name, c.stuck)
		}
		for _, id := range c.m.Chunks() {
			x, _ := c.m.Chunk(id)
			if x.Owner == c.ID && x.Epoch == 0 && len(x.Share) == 0 {
				continue // given away, and seen again at its birth only, for an agreement that was never locked
			}
			if x.Owner == c.ID && !x.Swept && !c.burnt(id) && !w.hasDrained(id) {
				return fmt.Sprintf("%s still has chunk %s: newest entry %d, epoch %d, share at %d, step %d, lost %t, claim %t, claimed %t, whole %t, done %t, pledged %s, funded %v",
					c.Name, id.Short(), int64(x.Last)-1, x.Epoch, x.ShareAt, x.Step, x.Lost, x.Claim, x.Claimed, len(x.Whole) > 0, x.Done, c.m.Pledged(id).Short(), w.Deposited(id))
			}
		}
		if n := len(c.m.Batches()); n > 0 && !c.rolled {
			return fmt.Sprintf("%s is making %d batches", c.Name, n)
		}
	}
	return ""
}

// burnt reports whether a client's host has burnt a chunk itself, by bringing an
// old copy of its vault back, or by saying in the name of a broken vault that it
// had a share before it had.
func (c *Client) burnt(id wire.ChunkID) bool {
	x, ok := c.m.Chunk(id)
	return c.rolled && !ok || (c.rolled || c.w.cfg.Broken[c.Name]) && ok && x.Lost
}

// finish checks that nothing is left and nothing is lost.
func (w *World) finish() {
	for _, id := range w.ledger.order {
		f := w.ledger.chunks[id]
		c := w.byID(f.Owner)
		s := c.sweeps[id]
		switch {
		case f.Swept && (s == nil || !s.final) && !w.cfg.Broken[c.Name]:
			w.fail("chunk %s is swept by %s, whose wallet knows nothing of it", id.Short(), c.Name)
		case !f.Swept && !c.lost && !c.burnt(id) && w.Deposited(id) == nil:
			w.fail("chunk %s of %s is funded and was not swept", id.Short(), c.Name)
		}
	}
	for _, c := range w.clients {
		w.check(c.Balanced())
	}
	for _, c := range w.ledger.courses {
		if c.turns != nil {
			w.check(w.bounded(c))
		}
	}
	for _, r := range w.receipts {
		if out, err := w.Omitted(r.receipt); err != nil || out && !w.cloned {
			w.fail("a receipt of an honest escrow proves that it left %q out: %v", r.what, err)
		}
	}
}
