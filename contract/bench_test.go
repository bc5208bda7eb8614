package contract

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func BenchmarkCompile(b *testing.B) {
	for _, name := range exampleNames {
		source, err := os.ReadFile(filepath.Join("..", "examples", name+".latchkey"))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Compile(source); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAdmit(b *testing.B) {
	for _, name := range exampleNames {
		b.Run(name, func(b *testing.B) {
			d, weights := played(b, name)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Admit(weights, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, name := range exampleNames {
		b.Run(name, func(b *testing.B) {
			d, weights := played(b, name)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := d.Open(weights, noon); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStep measures one event each: a word that moves on, one that is counted, one that gives and closes, a
// deadline, an oracle's value.
func BenchmarkStep(b *testing.B) {
	escrow, escrowChunks := played(b, "escrow")
	cfd, cfdChunks := played(b, "cfd")
	open := func(d *Deal, weights [][]int64, events ...Event) State {
		s, _, err := d.Open(weights, noon)
		for _, ev := range events {
			if err == nil {
				s, _, err = d.Step(s, ev)
			}
		}
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	dispute := Event{Kind: Word, At: noon + 5, Party: 0, Word: "dispute"}
	tests := []struct {
		name string
		d    *Deal
		s    State
		ev   Event
	}{
		{"word", escrow, open(escrow, escrowChunks), dispute},
		{"voice", escrow, open(escrow, escrowChunks, dispute), Event{Kind: Word, At: noon + 6, Party: 1, Word: "settle"}},
		{"award", escrow, open(escrow, escrowChunks, dispute), Event{Kind: Word, At: noon + 6, Party: 2, Word: "award", HasValue: true, Value: 60}},
		{"deadline", escrow, open(escrow, escrowChunks), Event{Kind: Deadline, At: noon + 2*day}},
		{"price", cfd, open(cfd, cfdChunks), Event{Kind: Oracle, At: noon + 5, Observed: noon + 5, Value: 1000}},
	}
	for _, test := range tests {
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := test.d.Step(test.s, test.ev); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	d, weights := played(b, "escrow")
	s, _, err := d.Open(weights, noon)
	if err != nil {
		b.Fatal(err)
	}
	snapshot := encode(b, s)
	b.Run("encode", func(b *testing.B) {
		buf := make([]byte, 0, 64)
		b.ReportAllocs()
		for b.Loop() {
			if buf, err = s.AppendBinary(buf[:0]); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(snapshot)), "bytes")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.DecodeState(weights, snapshot); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkLive measures what an instance takes in memory while it is open: deal, chunks and state of an escrow.
func BenchmarkLive(b *testing.B) {
	p := example(b, "escrow")
	_, weights := played(b, "escrow")
	type instance struct {
		d *Deal
		s State
	}
	const n = 10_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		live := make([]instance, n)
		for i := range live {
			d, err := p.Bind([]int64{20, 2, noon + day, noon + 2*day})
			if err != nil {
				b.Fatal(err)
			}
			s, _, err := d.Open(weights, noon)
			if err != nil {
				b.Fatal(err)
			}
			live[i] = instance{d, s}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "bytes/instance")
		runtime.KeepAlive(live)
	}
}
