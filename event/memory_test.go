package event_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/event"
	"latchkey/event/eventtest"
)

type memoryStore struct{ *event.Memory }

func (s memoryStore) Open() (event.Log, error) { return s.Memory.Open() }

func TestMemory(t *testing.T) {
	eventtest.Run(t, func() eventtest.Store { return memoryStore{event.NewMemory()} })
}

// read returns all events of a Memory, as a process would that starts on a copy
// of the disk.
func read(t *testing.T, m *event.Memory) []string {
	t.Helper()
	l, err := m.Clone().Open()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for e, err := range l.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(e))
	}
	return out
}

func block(event1 string) event.Block { return event.Block{Events: [][]byte{[]byte(event1)}} }

func TestCrashLosesWhatWasInFlight(t *testing.T) {
	for keep, want := range [][]string{{"a"}, {"a", "b"}, {"a", "b", "c"}, {"a", "b", "c"}} {
		m := event.NewMemory()
		l, err := m.Open()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Append(t.Context(), 0, block("a")); err != nil {
			t.Fatal(err)
		}
		l.Hold()
		b, c := l.Submit(1, block("b")), l.Submit(2, block("c"))
		if got := read(t, m); len(got) != 1 || l.InFlight() != 2 {
			t.Fatalf("durable before the flush: %q, %d in flight", got, l.InFlight())
		}
		l.Crash(keep)
		for _, result := range []<-chan error{b, c, l.Submit(3, block("d"))} {
			if err := <-result; !errors.Is(err, event.ErrFailed) {
				t.Errorf("after the crash: %v, want %v", err, event.ErrFailed)
			}
		}
		if diff := cmp.Diff(want, read(t, m)); diff != "" {
			t.Errorf("keep %d:\n%s", keep, diff)
		}
		again, err := m.Open()
		if err != nil {
			t.Fatal(err)
		}
		if again.Next() != uint64(len(want)) {
			t.Errorf("next is %d, want %d", again.Next(), len(want))
		}
	}
}

func TestFlushKeepsTheOrder(t *testing.T) {
	m := event.NewMemory()
	l, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	l.Hold()
	a, b := l.Submit(0, block("a")), l.Submit(1, block("b"))
	l.Flush(1)
	if err := <-a; err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-b:
		t.Fatalf("the second block has its result before its flush: %v", err)
	default:
	}
	if diff := cmp.Diff([]string{"a"}, read(t, m)); diff != "" {
		t.Error(diff)
	}
}

func TestAFailedWriteIsTheLast(t *testing.T) {
	m := event.NewMemory()
	l, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	l.Fail(full)
	if err := l.Append(t.Context(), 0, block("a")); !errors.Is(err, event.ErrFailed) || !errors.Is(err, full) {
		t.Errorf("error %v, want %v: %v", err, event.ErrFailed, full)
	}
	if _, err := m.Open(); !errors.Is(err, event.ErrInUse) {
		t.Errorf("the failed log gave its data free: %v", err)
	}
	if err := l.Close(); !errors.Is(err, full) {
		t.Errorf("close: %v", err)
	}
	if got := read(t, m); got != nil {
		t.Errorf("events %q", got)
	}
}

func TestACloneGoesItsOwnWay(t *testing.T) {
	m := event.NewMemory()
	l, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), 0, block("a")); err != nil {
		t.Fatal(err)
	}
	clone := m.Clone()
	if err := l.Append(t.Context(), 1, block("b")); err != nil {
		t.Fatal(err)
	}
	other, err := clone.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Append(t.Context(), 1, block("c")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, read(t, m)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "c"}, read(t, clone)); diff != "" {
		t.Error(diff)
	}
}
