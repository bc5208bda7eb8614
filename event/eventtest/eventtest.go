// Package eventtest is what every engine of an event.Log must pass.
package eventtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/event"
	"latchkey/head"
)

// Store is a place that keeps one log over many openings.
type Store interface {
	Open() (event.Log, error)
}

// Run runs the suite. Each call of newStore returns an empty store.
func Run(t *testing.T, newStore func() Store) {
	for _, tc := range []struct {
		name string
		run  func(*testing.T, Store)
	}{
		{"an empty log", testEmpty},
		{"append, read, open again", testAppend},
		{"the expected sequence number", testConflict},
		{"blocks in flight", testInFlight},
		{"many writers", testWriters},
		{"rows", testRows},
		{"bad blocks", testBadBlocks},
		{"read from a position", testReadFrom},
		{"callers keep their slices", testAliasing},
		{"snapshot", testSnapshot},
		{"tree", testTree},
		{"two logs at once", testInUse},
		{"a closed log", testClosed},
		{"a context that ended", testContext},
		{"a large block", testLarge},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.run(t, newStore()) })
	}
	t.Run("against a model", func(t *testing.T) { testModel(t, newStore) })
}

func open(t *testing.T, s Store) event.Log {
	t.Helper()
	l, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func reopen(t *testing.T, s Store, l event.Log) event.Log {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, s)
}

func appendOK(t *testing.T, l event.Log, b event.Block) {
	t.Helper()
	if err := l.Append(t.Context(), l.Next(), b); err != nil {
		t.Fatal(err)
	}
}

func events(ss ...string) [][]byte {
	var out [][]byte
	for _, s := range ss {
		out = append(out, []byte(s))
	}
	return out
}

// collect reads a sequence to its end.
func collect[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var out []T
	for v, err := range seq {
		if err != nil {
			return out, err
		}
		out = append(out, v)
	}
	return out, nil
}

// wantEvents compares all events of a log.
func wantEvents(t *testing.T, l event.Log, want ...string) {
	t.Helper()
	got, err := collect(l.Read(t.Context(), 0))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(events(want...), got); diff != "" {
		t.Error(diff)
	}
	if l.Next() != uint64(len(want)) {
		t.Errorf("next is %d, want %d", l.Next(), len(want))
	}
}

// wantRows compares the rows under a prefix, given as key, value, key, value.
func wantRows(t *testing.T, l event.Log, prefix string, want ...string) {
	t.Helper()
	got, err := collect(l.Scan(t.Context(), []byte(prefix)))
	if err != nil {
		t.Fatal(err)
	}
	var flat []string
	for _, r := range got {
		flat = append(flat, string(r.Key), string(r.Value))
	}
	if diff := cmp.Diff(want, flat); diff != "" {
		t.Errorf("rows under %q:\n%s", prefix, diff)
	}
}

func row(key, value string) event.Row { return event.Row{Key: []byte(key), Value: []byte(value)} }

func testEmpty(t *testing.T, s Store) {
	l := open(t, s)
	for range 2 {
		wantEvents(t, l)
		wantRows(t, l, "")
		if v, found, err := l.Get(t.Context(), []byte("k")); v != nil || found || err != nil {
			t.Errorf("Get = %q, %v, %v", v, found, err)
		}
		l = reopen(t, s, l)
	}
}

func testAppend(t *testing.T, s Store) {
	l := open(t, s)
	appendOK(t, l, event.Block{Events: events("a")})
	appendOK(t, l, event.Block{Events: events("b", "", "c")})
	appendOK(t, l, event.Block{})
	wantEvents(t, l, "a", "b", "", "c")
	l = reopen(t, s, l)
	wantEvents(t, l, "a", "b", "", "c")
	appendOK(t, l, event.Block{Events: events("d")})
	wantEvents(t, reopen(t, s, l), "a", "b", "", "c", "d")
}

func testConflict(t *testing.T, s Store) {
	l := open(t, s)
	appendOK(t, l, event.Block{Events: events("a", "b")})
	for _, expect := range []uint64{0, 1, 3, 1<<64 - 1} {
		b := event.Block{Events: events("x"), Puts: []event.Row{row("k", "v")}}
		if err := l.Append(t.Context(), expect, b); !errors.Is(err, event.ErrConflict) {
			t.Errorf("expect %d: error %v, want %v", expect, err, event.ErrConflict)
		}
	}
	wantEvents(t, l, "a", "b")
	wantRows(t, l, "")
	l = reopen(t, s, l)
	wantEvents(t, l, "a", "b")
	wantRows(t, l, "")
}

func testInFlight(t *testing.T, s Store) {
	l := open(t, s)
	var results []<-chan error
	var want []string
	for i := range 100 {
		e := fmt.Sprint("event ", i)
		if got := l.Next(); got != uint64(i) {
			t.Fatalf("next is %d with %d blocks in flight", got, i)
		}
		results = append(results, l.Submit(uint64(i), event.Block{Events: events(e), Puts: []event.Row{row("last", e)}}))
		want = append(want, e)
	}
	conflict := l.Submit(50, event.Block{Events: events("x")})
	if err := <-conflict; !errors.Is(err, event.ErrConflict) {
		t.Errorf("error %v, want %v", err, event.ErrConflict)
	}
	for i, r := range results {
		if err := <-r; err != nil {
			t.Fatalf("block %d: %v", i, err)
		}
	}
	wantEvents(t, l, want...)
	wantRows(t, l, "", "last", "event 99")
	wantEvents(t, reopen(t, s, l), want...)
}

func testWriters(t *testing.T, s Store) {
	l := open(t, s)
	const writers, each = 16, 20
	var group sync.WaitGroup
	var order sync.Mutex
	for w := range writers {
		group.Go(func() {
			for i := range each {
				order.Lock()
				r := l.Submit(l.Next(), event.Block{Events: events(fmt.Sprintf("%d %d", w, i)), Puts: []event.Row{row(fmt.Sprint(w), fmt.Sprint(i))}})
				order.Unlock()
				if err := <-r; err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	group.Wait()
	l = reopen(t, s, l)
	got, err := collect(l.Read(t.Context(), 0))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]int{}
	for _, e := range got {
		var w, i int
		if _, err := fmt.Sscan(string(e), &w, &i); err != nil || i != seen[w] {
			t.Fatalf("event %q out of its writer's order: %v", e, err)
		}
		seen[w]++
	}
	if len(got) != writers*each {
		t.Errorf("%d events, want %d", len(got), writers*each)
	}
	for w := range writers {
		v, found, err := l.Get(t.Context(), []byte(fmt.Sprint(w)))
		if err != nil || !found || string(v) != fmt.Sprint(each-1) {
			t.Errorf("row of writer %d = %q, %v, %v", w, v, found, err)
		}
	}
}

func testRows(t *testing.T, s Store) {
	l := open(t, s)
	appendOK(t, l, event.Block{Puts: []event.Row{row("b", "1"), row("a", "2"), row("a\xff", "3"), row("a\xff\xff", "4"), row("\xff", "5"), row("\xff\xff", ""), row("c/1", "6"), row("c/2", "7"), row("c0", "8")}})
	for range 2 {
		wantRows(t, l, "", "a", "2", "a\xff", "3", "a\xff\xff", "4", "b", "1", "c/1", "6", "c/2", "7", "c0", "8", "\xff", "5", "\xff\xff", "")
		wantRows(t, l, "a", "a", "2", "a\xff", "3", "a\xff\xff", "4")
		wantRows(t, l, "a\xff", "a\xff", "3", "a\xff\xff", "4")
		wantRows(t, l, "\xff", "\xff", "5", "\xff\xff", "")
		wantRows(t, l, "c/", "c/1", "6", "c/2", "7")
		wantRows(t, l, "d")
		l = reopen(t, s, l)
	}
	if v, found, err := l.Get(t.Context(), []byte("\xff\xff")); !found || len(v) != 0 || err != nil {
		t.Errorf("an empty row: %q, %v, %v", v, found, err)
	}
	appendOK(t, l, event.Block{
		Events:  events("e"),
		Deletes: [][]byte{[]byte("a"), []byte("b"), []byte("never there")},
		Puts:    []event.Row{row("b", "put wins"), row("c0", "x"), row("c0", "later wins")},
	})
	for range 2 {
		wantRows(t, l, "a", "a\xff", "3", "a\xff\xff", "4")
		wantRows(t, l, "b", "b", "put wins")
		wantRows(t, l, "c0", "c0", "later wins")
		wantEvents(t, l, "e")
		l = reopen(t, s, l)
	}
	for r, err := range l.Scan(t.Context(), nil) {
		if err != nil || string(r.Key) != "a\xff" {
			t.Fatalf("first row %q, %v", r.Key, err)
		}
		break // an iteration may end early
	}
}

func testBadBlocks(t *testing.T, s Store) {
	l := open(t, s)
	for name, b := range map[string]event.Block{
		"empty key":    {Events: events("x"), Puts: []event.Row{row("", "v")}},
		"long key":     {Events: events("x"), Puts: []event.Row{{Key: make([]byte, event.MaxKey+1)}}},
		"empty delete": {Events: events("x"), Deletes: [][]byte{{}}},
		"long delete":  {Events: events("x"), Deletes: [][]byte{make([]byte, event.MaxKey+1)}},
		"too large":    {Events: [][]byte{make([]byte, event.MaxBlock), []byte("x")}},
	} {
		if err := l.Append(t.Context(), 0, b); err == nil || errors.Is(err, event.ErrFailed) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	appendOK(t, l, event.Block{Events: events("still alive")})
	wantEvents(t, l, "still alive")
}

func testReadFrom(t *testing.T, s Store) {
	l := open(t, s)
	var want [][]byte
	for i := range 300 {
		want = append(want, fmt.Appendf(nil, "event %d", i))
	}
	appendOK(t, l, event.Block{Events: want})
	for _, from := range []int{0, 1, 255, 256, 299, 300} {
		got, err := collect(l.Read(t.Context(), uint64(from)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[from:], append([][]byte{}, got...)); diff != "" {
			t.Errorf("from %d:\n%s", from, diff)
		}
	}
	if got, err := collect(l.Read(t.Context(), 301)); err == nil || len(got) != 0 {
		t.Errorf("read beyond the end: %d events, no error", len(got))
	}
	n := 0
	for e, err := range l.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(e, want[n]) {
			t.Fatalf("event %d is %q", n, e)
		}
		if n++; n == 10 {
			break
		}
	}
	// What is appended while reading is not read.
	n = 0
	for _, err := range l.Read(t.Context(), 290) {
		if err != nil {
			t.Fatal(err)
		}
		appendOK(t, l, event.Block{Events: events("more")})
		n++
	}
	if n != 10 {
		t.Errorf("read %d events, want the 10 there were", n)
	}
}

func testAliasing(t *testing.T, s Store) {
	l := open(t, s)
	e, k, v := []byte("event"), []byte("key"), []byte("value")
	appendOK(t, l, event.Block{Events: [][]byte{e}, Puts: []event.Row{{Key: k, Value: v}}})
	copy(e, "xxxxx")
	copy(k, "xxx")
	copy(v, "xxxxx")
	for range 2 {
		got, err := collect(l.Read(t.Context(), 0))
		if err != nil || len(got) != 1 || string(got[0]) != "event" {
			t.Fatalf("events %q, %v", got, err)
		}
		copy(got[0], "yyyyy")
		value, _, err := l.Get(t.Context(), []byte("key"))
		if err != nil || string(value) != "value" {
			t.Fatalf("row %q, %v", value, err)
		}
		copy(value, "yyyyy")
		rows, err := collect(l.Scan(t.Context(), nil))
		if err != nil || len(rows) != 1 || string(rows[0].Key) != "key" || string(rows[0].Value) != "value" {
			t.Fatalf("rows %q, %v", rows, err)
		}
		copy(rows[0].Key, "yyy")
		copy(rows[0].Value, "yyyyy")
	}
}

func testSnapshot(t *testing.T, s Store) {
	l := open(t, s)
	got, err := event.LoadSnapshot(t.Context(), l)
	if diff := cmp.Diff(event.Snapshot{}, got); diff != "" || err != nil {
		t.Errorf("snapshot of an empty log: %v\n%s", err, diff)
	}
	appendOK(t, l, event.Block{Events: events("a", "b")})
	first := event.Snapshot{Next: 2, State: []byte("state after a, b")}
	appendOK(t, l, event.Block{Puts: []event.Row{first.Row()}})
	second := event.Snapshot{Next: 3, State: []byte{}}
	appendOK(t, l, event.Block{Events: events("c"), Puts: []event.Row{second.Row()}})
	l = reopen(t, s, l)
	got, err = event.LoadSnapshot(t.Context(), l)
	if diff := cmp.Diff(second, got); diff != "" || err != nil {
		t.Errorf("snapshot: %v\n%s", err, diff)
	}
	ahead := event.Snapshot{Next: 4}
	appendOK(t, l, event.Block{Puts: []event.Row{ahead.Row()}})
	if got, err := event.LoadSnapshot(t.Context(), l); err == nil {
		t.Errorf("a snapshot ahead of the log loads: %+v", got)
	}
}

func testTree(t *testing.T, s Store) {
	l := open(t, s)
	tree, err := event.OpenTree(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	var frontier head.Frontier
	var heads []head.Checkpoint
	note := func() {
		heads = append(heads, head.Checkpoint{Origin: "log.example", Size: frontier.Size(), Root: frontier.Root()})
	}
	note()
	for _, n := range []int{1, 2, 0, 1, 5, 8} {
		var block event.Block
		for i := range n {
			e := fmt.Appendf(nil, "%d of %d", i, n)
			block.Events = append(block.Events, e)
			if err := frontier.Append(e); err != nil {
				t.Fatal(err)
			}
		}
		block.Puts = tree.Append(block.Events...)
		appendOK(t, l, block)
		all = append(all, block.Events...)
		note()
		l = reopen(t, s, l)
		if tree, err = event.OpenTree(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		if tree.Size() != frontier.Size() {
			t.Fatalf("opened again at size %d, want %d", tree.Size(), frontier.Size())
		}
	}
	prover := event.NewProver(l)
	for i, c := range heads {
		root, err := prover.Root(t.Context(), c.Size)
		if err != nil || root != c.Root {
			t.Fatalf("root at %d is %s, %v, want %s", c.Size, root, err, c.Root)
		}
		for index := range c.Size {
			proof, err := prover.Inclusion(t.Context(), index, c.Size)
			if err != nil {
				t.Fatal(err)
			}
			if err := head.VerifyInclusion(c, index, all[index], proof); err != nil {
				t.Fatal(err)
			}
		}
		for _, old := range heads[:i+1] {
			proof, err := prover.Consistency(t.Context(), old.Size, c.Size)
			if err != nil {
				t.Fatal(err)
			}
			if err := head.VerifyConsistency(old, c, proof); err != nil {
				t.Fatal(err)
			}
		}
	}
	size := int64(len(all))
	if _, err := prover.Inclusion(t.Context(), size, size); err == nil {
		t.Error("proves an event beyond the tree")
	}
	if _, err := prover.Inclusion(t.Context(), 0, size+1); err == nil {
		t.Error("proves in a tree beyond the log")
	}
	if _, err := prover.Consistency(t.Context(), 3, 2); err == nil {
		t.Error("proves consistency backwards")
	}
	if _, err := prover.Root(t.Context(), -1); err == nil {
		t.Error("has a root at size -1")
	}
	appendOK(t, l, event.Block{Events: events("without its tree row")})
	if _, err := event.OpenTree(t.Context(), l); err == nil {
		t.Error("opens a tree that lacks an event")
	}
}

func testInUse(t *testing.T, s Store) {
	l := open(t, s)
	appendOK(t, l, event.Block{Events: events("a")})
	if second, err := s.Open(); !errors.Is(err, event.ErrInUse) {
		t.Fatalf("a second log opens: %v, error %v", second, err)
	}
	appendOK(t, l, event.Block{Events: events("b")})
	wantEvents(t, reopen(t, s, l), "a", "b")
}

func testClosed(t *testing.T, s Store) {
	l := open(t, s)
	result := l.Submit(0, event.Block{Events: events("a"), Puts: []event.Row{row("k", "v")}})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Errorf("close did not wait for the block in flight: %v", err)
	}
	if err := l.Append(t.Context(), 1, event.Block{Events: events("x")}); !errors.Is(err, event.ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if _, err := collect(l.Read(t.Context(), 0)); !errors.Is(err, event.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if _, err := collect(l.Scan(t.Context(), nil)); !errors.Is(err, event.ErrClosed) {
		t.Errorf("scan: %v", err)
	}
	if _, _, err := l.Get(t.Context(), []byte("k")); !errors.Is(err, event.ErrClosed) {
		t.Errorf("get: %v", err)
	}
	if err := l.Close(); !errors.Is(err, event.ErrClosed) {
		t.Errorf("close: %v", err)
	}
	wantEvents(t, open(t, s), "a")
}

func testContext(t *testing.T, s Store) {
	l := open(t, s)
	appendOK(t, l, event.Block{Events: events("a", "b"), Puts: []event.Row{row("k", "v")}})
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("caller has gone")
	cancel(gone)
	if _, err := collect(l.Read(ctx, 0)); !errors.Is(err, gone) {
		t.Errorf("read: %v", err)
	}
	if _, err := collect(l.Scan(ctx, nil)); !errors.Is(err, gone) {
		t.Errorf("scan: %v", err)
	}
	if err := l.Append(ctx, 2, event.Block{Events: events("c")}); err != nil && !errors.Is(err, gone) {
		t.Errorf("append: %v", err)
	}
	wantEvents(t, reopen(t, s, l), "a", "b", "c") // in flight is not taken back
}

func testLarge(t *testing.T, s Store) {
	l := open(t, s)
	large := bytes.Repeat([]byte("0123456789abcdef"), 9<<16) // 9 MiB, more than engines gather or buffer at once
	appendOK(t, l, event.Block{Events: [][]byte{large, []byte("small")}, Puts: []event.Row{{Key: []byte("k"), Value: large}}})
	for range 2 {
		got, err := collect(l.Read(t.Context(), 0))
		if err != nil || len(got) != 2 || !bytes.Equal(got[0], large) || string(got[1]) != "small" {
			t.Fatalf("%d events, %v", len(got), err)
		}
		v, _, err := l.Get(t.Context(), []byte("k"))
		if err != nil || !bytes.Equal(v, large) {
			t.Fatalf("row of %d bytes, %v", len(v), err)
		}
		l = reopen(t, s, l)
	}
}
