package market

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"latchkey/wire"
)

// million returns a market with 1,000,000 chunks of 10,000 clients on 10,000 devices of five vendors, 100 chunks of
// mixed weights each. The clients with an even number have resting offers of eth at 50 premiums in one book; the others
// have btc. It is built once.
var million = sync.OnceValue(func() *Market {
	m, err := build(1_000_000)
	if err != nil {
		panic(err)
	}
	return m
})

func benchID(kind byte, n int) (id [32]byte) {
	id[0] = kind
	binary.BigEndian.PutUint64(id[8:], uint64(n)+1)
	return id
}

func build(chunks int) (*Market, error) {
	const each = 100
	p := DefaultPolicy()
	big := Micros(1) << 50
	p.Limits = Limits{Client: 100_000 * usd, Device: 100_000 * usd, Vendor: big, TCB: big, Asset: big}
	m, err := New(p)
	if err != nil {
		return nil, err
	}
	do := func(in Input) {
		if _, _, e := m.Step(1_000_000, in); e != nil && err == nil {
			err = e
		}
	}
	do(Denominate{denomination("btc")})
	do(Denominate{denomination("eth")})
	do(Publish{[]byte(swapSource)})
	w := &world{now: 1_000_000, escrow: vault("escrow")}
	for h := range m.contracts {
		w.swap = h
	}
	r := rand.New(rand.NewPCG(1, 2))
	for c := range chunks / each {
		id := wire.VaultID(benchID('v', c))
		do(Enrol{
			Client: id, Vendor: wire.Hash(benchID('t', c%5)), TCB: fmt.Sprint(c % 3),
			Device: Device{DeviceUnique, binary.BigEndian.AppendUint64(nil, uint64(c))},
		})
		asset := [2]string{"eth", "btc"}[c%2]
		for rung := range 5 { // 20 chunks of each of 1, 2, 5, 10 and 20 units: $7,600
			d := Deposit{
				Client: id, Cert: wire.CertID(benchID('k', c*8+rung)), Escrow: w.escrow, Denomination: denomination(asset).ID,
				Weight: weights[rung], Expiry: 10_000_000,
			}
			for i := range each / 5 {
				d.Chunks = append(d.Chunks, DepositChunk{Chunk: wire.ChunkID(benchID('c', (c*8+rung)*32+i)), Epoch: 1})
			}
			do(d)
		}
		if c%2 == 0 {
			do(Place{id, w.swapOffer(0, "eth", Units(200+r.IntN(500)), Bps(r.IntN(50)))})
		}
	}
	do(Rate{"btc", perCoin["btc"], 1_000_000})
	do(Rate{"eth", perCoin["eth"] * 1002 / 1000, 1_000_000})
	return m, err
}

// requests returns offers of btc that are not in the market yet, for 20 to 200 units: about ten chunks from two or
// three counterparties.
func requests(m *Market, n int) []Place {
	w := &world{now: 1_000_000, escrow: vault("escrow")}
	for h := range m.contracts {
		w.swap = h
	}
	r := rand.New(rand.NewPCG(3, 4))
	list := make([]Place, n)
	for i := range list {
		o := w.swapOffer(i+1, "btc", Units(20+r.IntN(180)), 300)
		list[i] = Place{wire.VaultID(benchID('v', 2*r.IntN(5_000)+1)), o}
	}
	return list
}

// report reports the median and the 99th percentile beside the mean.
func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
}

// BenchmarkAllocate chooses sizes, counterparty and chunks of one slice among a million chunks, under all limits: what
// Match does but for writing the event.
func BenchmarkAllocate(b *testing.B) {
	m := million()
	offers := make([]*offer, 0, 1000)
	for _, p := range requests(m, cap(offers)) {
		o := &offer{Offer: p.Offer, client: m.clients[p.Client], pos: m.pos + 1}
		o.Share = m.policy.Share
		if err := m.enter(o); err != nil {
			b.Fatal(err)
		}
		offers = append(offers, o)
	}
	took := make([]time.Duration, 0, b.N)
	chunks := 0
	b.ReportAllocs()
	for b.Loop() {
		o := offers[len(took)%len(offers)]
		start := time.Now()
		p, why := m.seek(1_000_000, o, true)
		took = append(took, time.Since(start))
		if p == nil {
			b.Fatal(m.text(1_000_000, why))
		}
		if !p.cut.proof.Proven {
			b.Fatal("not proven")
		}
		chunks += len(p.chunksX) + len(p.chunksY)
	}
	report(b, took)
	b.ReportMetric(float64(chunks)/float64(b.N), "chunks/op")
	for _, o := range offers {
		delete(o.client.offers, o.ID)
	}
}

// BenchmarkRequest places an offer and makes all its proposals, events and effects included, and takes everything back.
func BenchmarkRequest(b *testing.B) {
	m := million()
	list := requests(m, 100_000)
	took := make([]time.Duration, 0, b.N)
	proposals := 0
	b.ReportAllocs()
	for b.Loop() {
		in := list[len(took)%len(list)]
		start := time.Now()
		events, _, err := m.Step(1_000_000, in)
		took = append(took, time.Since(start))
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if _, _, err := m.Step(1_000_000, Cancel{in.Client, in.Offer.ID}); err != nil {
			b.Fatal(err)
		}
		parties := []wire.VaultID{in.Client}
		for _, p := range proposalsIn(events) {
			proposals++
			parties = append(parties, p.Parties...)
			// The end of the proposal, without the search for the next ones that follows it.
			end := Event{1_000_000, &Ended{Proposal: p.ID, Outcome: Aborted, Why: Declined, Forget: 2_000_000}}
			if err := m.Apply(end); err != nil {
				b.Fatal(err)
			}
			if err := m.Apply(Event{1_000_000, &Forgotten{p.ID}}); err != nil {
				b.Fatal(err)
			}
		}
		if err := m.Apply(Event{1_000_000, &Dropped{in.Client, in.Offer.ID}}); err != nil {
			b.Fatal(err)
		}
		for _, id := range parties {
			m.Step(1_000_000, Ack{id, m.clients[id].mail.last})
		}
		b.StartTimer()
	}
	report(b, took)
	b.ReportMetric(float64(proposals)/float64(b.N), "proposals/op")
}

// BenchmarkPick chooses the chunks of one sum from one inventory.
func BenchmarkPick(b *testing.B) {
	have := counts{20, 20, 20, 20, 20}
	sum := Units(1)
	for b.Loop() {
		if _, ok := pick(&have, sum, 128); !ok {
			b.Fatal(sum)
		}
		sum = sum%700 + 1
	}
}

// BenchmarkMemory tells what a chunk costs in memory and in a snapshot, and how long a snapshot takes to write and read.
func BenchmarkMemory(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		m, err := build(200_000)
		if err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		start := time.Now()
		s, err := m.Snapshot()
		if err != nil {
			b.Fatal(err)
		}
		wrote := time.Since(start)
		start = time.Now()
		if _, err := Restore(m.policy, s); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/200_000, "heap-B/chunk")
		b.ReportMetric(float64(len(s))/200_000, "snapshot-B/chunk")
		b.ReportMetric(float64(wrote.Milliseconds())*5, "write-ms/1M")
		b.ReportMetric(float64(time.Since(start).Milliseconds())*5, "restore-ms/1M")
		runtime.KeepAlive(m)
	}
}
