package eventtest

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"latchkey/event"
)

// testModel runs random blocks, some in flight together, some conflicting, with
// closings between, and compares with a slice and a map.
func testModel(t *testing.T, newStore func() Store) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newStore()
		l, err := s.Open()
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		var model [][]byte
		rows := map[string]string{}
		key := rapid.SampledFrom([]string{"a", "ab", "b", "\xff", "\xff\xff", "c/d"})
		compare := func() {
			got, err := collect(l.Read(t.Context(), 0))
			if err != nil {
				rt.Fatal(err)
			}
			if diff := cmp.Diff(append([][]byte{}, model...), append([][]byte{}, got...)); diff != "" {
				rt.Fatal(diff)
			}
			prefix := rapid.SampledFrom([]string{"", "a", "\xff", "c"}).Draw(rt, "prefix")
			scanned, err := collect(l.Scan(t.Context(), []byte(prefix)))
			if err != nil {
				rt.Fatal(err)
			}
			var want []event.Row
			for _, k := range slices.Sorted(maps.Keys(rows)) {
				if bytes.HasPrefix([]byte(k), []byte(prefix)) {
					want = append(want, row(k, rows[k]))
				}
			}
			if diff := cmp.Diff(want, scanned); diff != "" {
				rt.Fatal(diff)
			}
		}
		for range rapid.IntRange(1, 8).Draw(rt, "rounds") {
			var results []<-chan error
			var conflicts []bool
			for range rapid.IntRange(0, 5).Draw(rt, "blocks") {
				var b event.Block
				for range rapid.IntRange(0, 3).Draw(rt, "events") {
					b.Events = append(b.Events, rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(rt, "event"))
				}
				for range rapid.IntRange(0, 2).Draw(rt, "deletes") {
					b.Deletes = append(b.Deletes, []byte(key.Draw(rt, "delete")))
				}
				for range rapid.IntRange(0, 2).Draw(rt, "puts") {
					b.Puts = append(b.Puts, row(key.Draw(rt, "key"), rapid.StringN(0, 4, -1).Draw(rt, "value")))
				}
				expect := uint64(len(model))
				conflict := rapid.IntRange(0, 5).Draw(rt, "conflict") == 0
				if conflict {
					expect += uint64(rapid.SampledFrom([]int{-1, 1, 2}).Draw(rt, "off"))
				}
				results, conflicts = append(results, l.Submit(expect, b)), append(conflicts, conflict)
				if conflict {
					continue
				}
				model = append(model, b.Events...)
				for _, k := range b.Deletes {
					delete(rows, string(k))
				}
				for _, r := range b.Puts {
					rows[string(r.Key)] = string(r.Value)
				}
			}
			for i, r := range results {
				if err := <-r; conflicts[i] != errors.Is(err, event.ErrConflict) || !conflicts[i] && err != nil {
					rt.Fatalf("block %d: %v, want a conflict: %v", i, err, conflicts[i])
				}
			}
			compare()
			if rapid.IntRange(0, 3).Draw(rt, "open again") == 0 {
				if err := l.Close(); err != nil {
					rt.Fatal(err)
				}
				if l, err = s.Open(); err != nil {
					rt.Fatal(err)
				}
				compare()
			}
		}
	})
}
