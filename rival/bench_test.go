package rival

import (
	"runtime"
	"testing"

	"latchkey/contract"
)

// A row is one measurement, the same for every machine.
type row struct {
	name  string
	title string
	goal  string
	unit  string // of what it reports; empty: time
	slow  bool   // takes seconds: measured less often
	// others says that this project's language has nothing to measure here.
	others bool
	run    func(b *testing.B, c *Contract, m Machine)
}

var rows = []row{
	{name: "compile", title: "compile", goal: "< 50 µs", run: measureCompile},
	{name: "load", title: "load given code", others: true, run: measureLoad},
	{name: "first", title: "first instance, from what is handed around", run: measureFirst},
	{name: "open", title: "instantiate", run: measureOpen},
	{name: "event", title: "event", goal: "< 0.15 µs", run: measureEvent},
	{name: "live", title: "bytes per live instance", goal: "< 350", unit: "bytes/instance", slow: true, run: measureLive},
	{name: "snapshot", title: "snapshot, bytes", goal: "< 32", unit: "bytes/snapshot", run: measureSnapshot},
}

// benchTerms are terms that no play of a benchmark reaches the end of.
var benchTerms = map[string][]int64{
	"escrow": {20, 2, 200_000_000_000, 200_000_000_000 + day},
	"cfd":    {10, 5, 1000, 200_000_000_000, day},
}

// benchEvent is the event of a contract: somebody disputes, or a price comes that ends
// nothing.
func benchEvent(name string) Event {
	if name == "escrow" {
		return Say(contract.Event{Kind: contract.Word, At: noon + 1, Word: "dispute"})
	}
	return Say(contract.Event{Kind: contract.Oracle, At: noon + 1, Observed: noon + 1, Value: 1001})
}

func BenchmarkMachines(b *testing.B) {
	for _, name := range []string{"escrow", "cfd"} {
		c := load(b, name)
		for _, r := range rows {
			for _, m := range r.machines(machines(b, c)) {
				b.Run(name+"/"+r.name+"/"+m.Name(), func(b *testing.B) { r.run(b, c, m) })
			}
		}
	}
}

// machines leaves out this project's, the first, where it has nothing to measure.
func (r row) machines(all []Machine) []Machine {
	if r.others {
		return all[1:]
	}
	return all
}

func measureCompile(b *testing.B, _ *Contract, m Machine) { measureProgram(b, m.Compile) }

func measureLoad(b *testing.B, _ *Contract, m Machine) { measureProgram(b, m.Load) }

// measureProgram makes a program and gives it back.
func measureProgram(b *testing.B, program func() (Program, error)) {
	b.ReportAllocs()
	for b.Loop() {
		p, err := program()
		if err == nil {
			err = p.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func open(b *testing.B, c *Contract, p Program) Instance {
	i, err := p.Open(benchTerms[c.Name], noon)
	if err != nil {
		b.Fatal(err)
	}
	return i
}

// measureFirst goes from what a stranger hands over, here the text and there the code, to
// an instance that is open. The machine is there.
func measureFirst(b *testing.B, c *Contract, m Machine) {
	b.ReportAllocs()
	for b.Loop() {
		p, err := m.Load()
		if err != nil {
			b.Fatal(err)
		}
		discard(b, p, []Instance{open(b, c, p)})
	}
}

func measureOpen(b *testing.B, c *Contract, m Machine) {
	p := compile(b, m)
	b.ReportAllocs()
	for b.Loop() {
		if err := open(b, c, p).Close(); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
}

// measureEvent goes round many instances, so that none has its memory at hand. Those of
// an escrow can be disputed once: outside of the time they are put back.
func measureEvent(b *testing.B, c *Contract, m Machine) {
	p := compile(b, m)
	pool := make([]Instance, 1024)
	for j := range pool {
		pool[j] = open(b, c, p)
	}
	begin, err := pool[0].Snapshot(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	k, ev, r := int64(0), benchEvent(c.Name), Result{}
	for b.Loop() {
		j := k % int64(len(pool))
		if j == 0 && k > 0 && c.Name == "escrow" {
			b.StopTimer()
			for _, i := range pool {
				if err := i.Restore(begin); err != nil {
					b.Fatal(err)
				}
			}
			b.StartTimer()
		}
		if ev.Kind == contract.Oracle {
			ev.At, ev.Observed = ev.At+1, ev.Observed+1
		}
		if err := pool[j].Step(&ev, &r); err != nil {
			b.Fatal(err)
		}
		k++
	}
	discard(b, p, pool)
}

const liveInstances = 100_000

// measureLive counts what the heap holds more after a collection, with so many instances
// open that are all reachable.
func measureLive(b *testing.B, c *Contract, m Machine) {
	p := compile(b, m)
	open(b, c, p) // what is made once for all
	for b.Loop() {
		pool := make([]Instance, liveInstances)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for j := range pool {
			pool[j] = open(b, c, p)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/liveInstances, "bytes/instance")
		b.StopTimer()
		for _, i := range pool {
			if err := i.Close(); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
	}
	runtime.KeepAlive(m)
}

// measureSnapshot reads where an instance stands after an event.
func measureSnapshot(b *testing.B, c *Contract, m Machine) {
	p := compile(b, m)
	i := open(b, c, p)
	ev := benchEvent(c.Name)
	var r Result
	if err := i.Step(&ev, &r); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 64)
	var err error
	for b.Loop() {
		if buf, err = i.Snapshot(buf[:0]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(buf)), "bytes/snapshot")
	discard(b, p, []Instance{i})
}

func discard(b *testing.B, p Program, pool []Instance) {
	for _, i := range pool {
		if err := i.Close(); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
}
