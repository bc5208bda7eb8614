package vault_test

import (
	"testing"
	"time"

	"latchkey/coin"
	"latchkey/vault"
	"latchkey/wire"
)

// benchChunks is how many chunks move at once in the benchmarks of this file; what
// they report is the time of one.
const benchChunks = 64

// laps adds up the time of one part of a loop whose other parts do not count.
type laps struct {
	b     *testing.B
	total time.Duration
}

func (l *laps) time(f func()) {
	began := time.Now()
	f()
	l.total += time.Since(began)
}

func (l *laps) report(unit string) {
	l.b.ReportMetric(0, "ns/op") // of everything around it
	l.b.ReportMetric(float64(l.total.Nanoseconds())/float64(l.b.N*benchChunks), unit)
}

// request returns what a client has to say of one kind.
func (c *client) request(is func(vault.Request) bool) vault.Request {
	c.w.t.Helper()
	qs, err := c.o.Pending(c.w.rnd)
	if err != nil {
		c.w.t.Fatal(err)
	}
	for _, q := range qs {
		if is(q) {
			return q
		}
	}
	c.w.t.Fatalf("%s has nothing of that kind to say", c.name)
	return vault.Request{}
}

// BenchmarkGive gives chunks to another owner: what the escrow does with the last
// acknowledgement (the contract's step, a refresh and a sealed r for each chunk),
// and what the receiver does with what it sees and hears (inclusion, a' = a + r,
// a'G + B' = P).
func BenchmarkGive(b *testing.B) {
	for _, kind := range []coin.KeyType{coin.Secp256k1, coin.Ed25519} {
		b.Run(kind.String(), func(b *testing.B) {
			w := newWorld(b, 2)
			from, to := w.owners[0], w.owners[1]
			ids := from.deposit(denomination("coin", kind), 1, benchChunks)
			escrow, owner := laps{b: b}, laps{b: b}
			for b.Loop() {
				a := vault.Agreement{
					Source: []byte(pay), Terms: []int64{benchChunks}, Parties: []vault.Recipients{{from.id}, {to.id}},
					Pots: [][]vault.Stake{from.stakes(ids)}, Escrow: w.keys.id, LockBy: w.now + 60, Settle: vault.Atomic,
				}
				w.agree(a)
				for _, c := range []*client{from, to} { // hand over, fetch
					w.witness()
					c.sync()
					c.talk()
				}
				q := to.request(func(q vault.Request) bool { return q.Ack != nil })
				var ans vault.Answer
				var err error
				escrow.time(func() { ans, err = w.escrow.Handle(to.id, q, w.rnd) })
				w.persist(ans.Block, err)
				w.witness()
				owner.time(to.sync)
				q = to.request(func(q vault.Request) bool { return q.Fetch != nil })
				if ans, err = to.ask(q); err != nil {
					b.Fatal(err)
				}
				var rows []vault.Row
				owner.time(func() { rows, err = to.o.Hear(q, ans.Reply) })
				to.keep(rows, err)
				w.run()
				if k, _ := to.o.Chunk(ids[0]); k.Owner != to.id || !to.o.Holds(ids[0]) {
					b.Fatal("nothing was given")
				}
				from, to = to, from
			}
			escrow.report("escrow-ns/chunk")
			owner.report("owner-ns/chunk")
		})
	}
}

// BenchmarkClaim takes keys out: what the escrow does with the order, and what the
// owner does with its answer and the log (inclusion, (a + b)G = P).
func BenchmarkClaim(b *testing.B) {
	for _, kind := range []coin.KeyType{coin.Secp256k1, coin.Ed25519} {
		b.Run(kind.String(), func(b *testing.B) {
			w := newWorld(b, 1)
			c := w.owners[0]
			escrow, owner := laps{b: b}, laps{b: b}
			for b.Loop() {
				ids := c.deposit(denomination("coin", kind), 1, benchChunks)
				c.keep(c.o.Claim(ids))
				q := c.request(func(q vault.Request) bool { return q.Claim != nil })
				var ans vault.Answer
				var err error
				escrow.time(func() { ans, err = w.escrow.Handle(c.id, q, w.rnd) })
				w.persist(ans.Block, err)
				w.witness()
				var rows []vault.Row
				owner.time(func() { rows, err = c.o.Hear(q, ans.Reply) })
				c.keep(rows, err)
				owner.time(c.sync)
				c.mustHaveKeys(ids)
				c.keep(c.o.Swept(ids))
				w.run()
			}
			escrow.report("escrow-ns/chunk")
			owner.report("owner-ns/chunk")
		})
	}
}

func (c *client) mustHaveKeys(ids []wire.ChunkID) {
	c.w.t.Helper()
	for _, id := range ids {
		if _, err := c.o.Key(id); err != nil {
			c.w.t.Fatal(err)
		}
	}
}
