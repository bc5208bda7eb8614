//go:build unix

package contract

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	pagePath   = flag.String("page", "", "measure, and write the table of hostile sources to this file")
	pageRounds = flag.Int("rounds", 5, "of -page: how often each source is measured")
)

// TestHostilePage writes docs/contracts/hostile.md. It asserts what does not depend on
// the machine's load: the memory of each source.
func TestHostilePage(t *testing.T) {
	if *pagePath == "" {
		t.Skip("no -page")
	}
	var b strings.Builder
	b.WriteString(hostileHead)
	fmt.Fprintf(&b, "%s/%s, %d processors, %s.\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	b.WriteString("## Reading and checking\n\n| source | bytes | outcome | ms | KiB |\n| --- | --- | --- | --- | --- |\n")
	sources := hostile()
	var worst time.Duration
	var most uint64
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		source := []byte(sources[name])
		var err error
		took, memory := cost(*pageRounds, func() { _, err = Compile(source) })
		worst, most = max(worst, took), max(most, memory)
		if memory > 16<<20 {
			t.Errorf("%s takes %d bytes", name, memory)
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %.1f | %d |\n", name, len(source), outcome(err), milliseconds(took), memory>>10)
	}
	fmt.Fprintf(&b, "\nThe worst: %.1f ms, %d KiB.\n", milliseconds(worst), most>>10)
	b.WriteString(hostileMiddle)
	b.WriteString("| contract | outcome | ms | MB | outcome at the most | ms | MB |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	deals := hostileDeals(t)
	var usual, atMost time.Duration
	for _, name := range slices.Sorted(maps.Keys(deals)) {
		d := deals[name]
		fmt.Fprintf(&b, "| %s |", name)
		for _, lim := range []Limits{{}, {States: 200_000, Moves: 1_000_000}} {
			var err error
			took, _ := cost(1, func() { _, err = d.Admit(d.weights, lim) })
			x, _ := d.explore(d.weights, lim)
			if lim.States == 0 {
				usual = max(usual, took)
			} else {
				atMost = max(atMost, took)
			}
			fmt.Fprintf(&b, " %s | %.0f | %.1f |", outcome(err), milliseconds(took), float64(x.bytes)/1e6)
		}
		b.WriteString("\n")
		t.Log(name)
	}
	fmt.Fprintf(&b, "\nThe worst: %.1f s at the usual bounds, %.1f s at the most.\n", usual.Seconds(), atMost.Seconds())
	if err := os.WriteFile(*pagePath, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestAgesAreComputedOnce holds what a state costs in which many clauses wait for values of many ages to what it costs with as many
// that wait for a time each: it was the square of their number.
func TestAgesAreComputedOnce(t *testing.T) {
	took := func(when string) time.Duration {
		const n = 60
		d := mustBind("contract X\nparties a\nterm t : time\npot p = 64 units from a\noracle o in 0..9\ncounter c = 0 in 0..99\nphase A until t\nat deadline: close\nwhen a says \"x\" if c < 99: set c = c + 1\n"+
			strings.Repeat("when oracle o "+when+"share(1 days, left(p) + left(p) + left(p) + left(p), 9) if c = 99: stay\n", n), noon)
		least, _ := cost(3, func() {
			if _, err := d.Admit([][]int64{repeat(64, 1)}, Limits{}); err != nil {
				t.Fatal(err)
			}
		})
		return least
	}
	if ages, times := took("each "), took("for t - 1 days - "); ages > 10*times {
		t.Error(ages, times)
	}
}

// cost returns the least time of a processor that f takes, and what it allocates.
func cost(rounds int, f func()) (least time.Duration, memory uint64) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			panic(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	for i := range rounds {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		start := used()
		f()
		took := used() - start
		runtime.ReadMemStats(&after)
		if memory = after.TotalAlloc - before.TotalAlloc; i == 0 || took < least {
			least = took
		}
	}
	return least, memory
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// outcome is the first finding, cut off.
func outcome(err error) string {
	var refused *Error
	if err == nil {
		return "passes"
	} else if !errors.As(err, &refused) {
		return err.Error()
	}
	what := []rune(strings.ReplaceAll(strings.ReplaceAll(refused.Findings[0].What, "|", "/"), "\n", " "))
	if len(what) > 60 {
		what = append(what[:60], '…')
	}
	return "refused: " + string(what)
}

const hostileHead = `# Hostile sources

What a stranger can make the compiler and a vault do with a contract. The sources are those of ` + "`contract/hostile_test.go`" + `; tests hold each to counts from
which its cost follows. Goal: each is refused or done in under 100 ms and 16 MiB. This page is written by

    go test ./contract -run HostilePage -page ../docs/contracts/hostile.md -timeout 30m

and ` + "`go test ./contract -run '^$' -bench Hostile`" + ` measures the same as benchmarks. Times are those of a processor, which other work on the machine makes longer
but does not count in; memory is all that is allocated, of which the collector frees a part on the way.

`

const hostileMiddle = `
## Exploring

A vault explores before it signs. It stops at the bounds of the agreement: 50,000 states, 200,000 plays and 51.2 MB where it says nothing, 200,000, 1,000,000 and 204.8 MB
at the most (spec/contract.md, section 5). These contracts pass the checks and make as much work as we could find. MB is what the stored states,
moves and ways weigh, by the formula of the specification; the heap holds less at the end, and up to twice as much while it is collected.

`
