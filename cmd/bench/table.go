package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A figure is one row: what was measured n times, and what it is held against.
type figure struct {
	name    string
	unit    string
	samples []float64 // one for each round
	n       int       // of single operations in all rounds
	limit   float64   // in the same unit, measured in the same run; 0: none
	goal    string    // as a person reads it
	note    string
}

// median returns the middle of the samples, and the middle of each half.
func (f figure) median() (mid, low, high float64) { return quantiles(f.samples) }

func quantiles(samples []float64) (mid, low, high float64) {
	s := slices.Sorted(slices.Values(samples))
	if len(s) == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	return s[len(s)/2], s[len(s)/4], s[3*len(s)/4]
}

// percentile returns the smallest sample that p of all do not exceed.
func percentile(samples []float64, p float64) float64 {
	s := slices.Sorted(slices.Values(samples))
	return s[min(len(s)-1, int(math.Ceil(p*float64(len(s))))-1)]
}

type table struct {
	quick   bool
	started time.Time
	before  string // load
	rows    []figure
}

func newTable(quick bool) *table { return &table{quick: quick, started: time.Now(), before: load()} }

func (t *table) add(f ...figure) { t.rows = append(t.rows, f...) }

// short writes a number with three digits that count.
func short(x float64) string {
	switch a := math.Abs(x); {
	case math.IsNaN(x):
		return "–"
	case a >= 1000:
		s := fmt.Sprintf("%.0f", x)
		for i := len(s) - 3; i > 0; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		return s
	case a >= 100:
		return fmt.Sprintf("%.0f", x)
	case a >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

func (t *table) markdown() string {
	var b strings.Builder
	b.WriteString("# Figures\n\nWritten by `go run ./cmd/bench`; each limit was measured in the same run. What is measured, and how, is said in\n`cmd/bench`; what was done about it, in RATIONALE.md.\n\n")
	if t.quick {
		b.WriteString("**Quick: numbers too small to mean anything.**\n\n")
	}
	fmt.Fprintf(&b, "Machine: %s, %d cores, %s memory, %s, %s/%s. %s.\nLoad (1, 5, 15 minutes): %s before, %s after.\n\n",
		cpuinfo("/proc/cpuinfo", "model name"), runtime.NumCPU(), cpuinfo("/proc/meminfo", "MemTotal"), runtime.Version(), runtime.GOOS, runtime.GOARCH,
		t.started.UTC().Format(time.DateOnly), t.before, load())
	b.WriteString("The spread is the middle half of the rounds.\n\n| what | n | median | spread | unit | limit | of it | goal | |\n| --- | ---: | ---: | ---: | --- | ---: | ---: | --- | --- |\n")
	for _, f := range t.rows {
		mid, low, high := f.median()
		limit, of := "", ""
		if f.limit > 0 {
			limit, of = short(f.limit), fmt.Sprintf("%.0f%%", 100*mid/f.limit)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s – %s | %s | %s | %s | %s | %s |\n", f.name, short(float64(f.n)), short(mid), short(low), short(high), f.unit, limit, of, f.goal, f.note)
	}
	return b.String()
}

// load is the machine's load average.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(b))
	if err != nil || len(f) < 3 {
		return "unknown"
	}
	return strings.Join(f[:3], " ")
}

// cpuinfo returns a field of a file of the kernel's, or "unknown".
func cpuinfo(file, field string) string {
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		if name, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == field {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

// often runs one n times in each of some rounds and returns how often a second.
func often(rounds, n int, one func() error) ([]float64, error) {
	var out []float64
	for range rounds {
		start := time.Now()
		for range n {
			if err := one(); err != nil {
				return nil, err
			}
		}
		out = append(out, float64(n)/time.Since(start).Seconds())
	}
	return out, nil
}

// cost is the median seconds that one takes.
func cost(rounds, n int, one func() error) (float64, error) {
	r, err := often(rounds, n, one)
	mid, _, _ := quantiles(r)
	return 1 / mid, err
}
