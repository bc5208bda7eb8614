package witness_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/event"
	"latchkey/event/witness"
	"latchkey/head"
)

const origin = "escrow.example/log"

func privateKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("latchkey test key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func logKey(t testing.TB, origin string) head.LogKey {
	t.Helper()
	k, err := head.NewLogKey(origin, privateKey(origin).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func witnessKey(t testing.TB, name string) head.WitnessKey {
	t.Helper()
	k, err := head.NewWitnessKey(name, privateKey(name).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// testLog is a log in memory with its tree, as an escrow's host keeps it.
type testLog struct {
	origin string
	log    event.Log
	tree   *event.Tree
	prover *event.Prover
}

func newLog(t testing.TB, origin string) *testLog {
	t.Helper()
	l, err := event.NewMemory().Open()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := event.OpenTree(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return &testLog{origin, l, tree, event.NewProver(l)}
}

// add appends events and returns the new head, signed.
func (l *testLog) add(t testing.TB, events ...string) []byte {
	t.Helper()
	var b event.Block
	for _, e := range events {
		b.Events = append(b.Events, []byte(e))
	}
	b.Puts = l.tree.Append(b.Events...)
	if err := l.log.Append(t.Context(), l.log.Next(), b); err != nil {
		t.Fatal(err)
	}
	return l.head(t, l.tree.Size())
}

// head returns the signed head of a size.
func (l *testLog) head(t testing.TB, size int64) []byte {
	t.Helper()
	root, err := l.prover.Root(t.Context(), size)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := head.SignCheckpoint(head.Checkpoint{Origin: l.origin, Size: size, Root: root}, privateKey(l.origin))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// request continues a witness at old with the head of size.
func (l *testLog) request(t testing.TB, old, size int64) head.Request {
	t.Helper()
	proof, err := l.prover.Consistency(t.Context(), old, size)
	if err != nil {
		t.Fatal(err)
	}
	return head.Request{Old: old, Proof: proof, Signed: l.head(t, size)}
}

func config(t testing.TB, name string, origins ...string) witness.Config {
	c := witness.Config{Name: name, Key: privateKey(name)}
	for _, o := range origins {
		c.Logs = append(c.Logs, logKey(t, o))
	}
	return c
}

// open opens a witness over a Memory, creating it where create is set.
func open(t testing.TB, m *event.Memory, c witness.Config, create bool) (*witness.Witness, *event.MemoryLog) {
	t.Helper()
	store, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	if create {
		if err := witness.Create(t.Context(), store, witnessKey(t, c.Name)); err != nil {
			t.Fatal(err)
		}
	}
	w, err := witness.Open(t.Context(), store, c)
	if err != nil {
		t.Fatal(err)
	}
	return w, store
}

func TestCosignaturesMakeAQuorum(t *testing.T) {
	l := newLog(t, origin)
	signed := l.add(t, "a", "b")
	c, err := head.OpenCheckpoint(signed, logKey(t, origin))
	if err != nil {
		t.Fatal(err)
	}
	group := head.Group{Log: logKey(t, origin), K: 3, F: 1}
	var cosignatures []witness.Cosignature
	for i := range 4 {
		name := fmt.Sprintf("w%d.example", i)
		group.Witnesses = append(group.Witnesses, witnessKey(t, name))
		w, _ := open(t, event.NewMemory(), config(t, name, origin), true)
		line, err := w.AddCheckpoint(t.Context(), l.request(t, 0, 2), int64(100+i))
		if err != nil {
			t.Fatal(err)
		}
		co, err := witness.OpenCosignature(c, w.Key(), line)
		if err != nil {
			t.Fatal(err)
		}
		if co.Unix != int64(100+i) || co.Witness != w.Key() {
			t.Errorf("stamp %+v", co.Stamp)
		}
		cosignatures = append(cosignatures, co)
	}
	got, err := group.Verify(witness.Merge(signed, cosignatures...))
	if err != nil || got.Checkpoint != c || got.Time != 101 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := group.Verify(witness.Merge(signed, cosignatures[:2]...)); !errors.Is(err, head.ErrQuorum) {
		t.Errorf("two are a quorum: %v", err)
	}
}

func TestOpenCosignatureRefuses(t *testing.T) {
	l := newLog(t, origin)
	signed := l.add(t, "a")
	c, _ := head.OpenCheckpoint(signed, logKey(t, origin))
	w, _ := open(t, event.NewMemory(), config(t, "w.example", origin), true)
	line, err := w.AddCheckpoint(t.Context(), l.request(t, 0, 1), 100)
	if err != nil {
		t.Fatal(err)
	}
	other := c
	other.Root[0] ^= 1
	for name, tc := range map[string]struct {
		c     head.Checkpoint
		key   head.WitnessKey
		lines []byte
	}{
		"another head":     {other, w.Key(), line},
		"another witness":  {c, witnessKey(t, "w2.example"), line},
		"nothing":          {c, w.Key(), nil},
		"a torn line":      {c, w.Key(), line[:len(line)-2]},
		"another note":     {c, w.Key(), slices.Concat(line, []byte("\n"), line)},
		"too long":         {c, w.Key(), slices.Repeat(line, 2000)},
		"the zero witness": {c, head.WitnessKey{}, line},
	} {
		if co, err := witness.OpenCosignature(tc.c, tc.key, tc.lines); err == nil {
			t.Errorf("%s: accepted: %+v", name, co)
		}
	}
	if _, err := witness.OpenCosignature(c, w.Key(), slices.Concat([]byte("— other AAAAAAAA\n"), line)); err != nil {
		t.Errorf("a stranger's line beside it: %v", err)
	}
}

// The state is durable before the line is given: whatever moment the witness
// dies at, what it signed it knows afterwards.
func TestStateIsDurableBeforeTheLine(t *testing.T) {
	l := newLog(t, origin)
	l.add(t, "a", "b", "c")
	m := event.NewMemory()
	w, store := open(t, m, config(t, "w.example", origin), true)
	if _, err := w.AddCheckpoint(t.Context(), l.request(t, 0, 1), 100); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, m.Clone(), config(t, "w.example", origin), false)
	if seen, known := again.Seen(origin); !known || seen.Size != 1 || seen.Stamp != 100 {
		t.Errorf("after the line: %+v, %v", seen, known)
	}
	store.Fail(errors.New("disk full"))
	line, err := w.AddCheckpoint(t.Context(), l.request(t, 1, 3), 101)
	if line != nil || !errors.Is(err, event.ErrFailed) {
		t.Errorf("signs what it cannot store: %q, %v", line, err)
	}
	if seen, _ := w.Seen(origin); seen.Size != 1 {
		t.Errorf("remembers what it could not store: %+v", seen)
	}
}

func TestARestartedWitnessRefusesAFork(t *testing.T) {
	l, fork := newLog(t, origin), newLog(t, origin)
	l.add(t, "a", "b")
	fork.add(t, "a", "x", "y")
	m := event.NewMemory()
	w, store := open(t, m, config(t, "w.example", origin), true)
	if _, err := w.AddCheckpoint(t.Context(), l.request(t, 0, 2), 100); err != nil {
		t.Fatal(err)
	}
	store.Crash(0)
	w, _ = open(t, m, config(t, "w.example", origin), false)
	conflict := new(head.ConflictError)
	if _, err := w.AddCheckpoint(t.Context(), fork.request(t, 0, 3), 101); !errors.As(err, &conflict) || conflict.Size != 2 {
		t.Errorf("from 0: %v", err)
	}
	if _, err := w.AddCheckpoint(t.Context(), fork.request(t, 2, 2), 101); !errors.As(err, &conflict) || !conflict.Fork {
		t.Errorf("the same size: %v", err)
	}
	if _, err := w.AddCheckpoint(t.Context(), fork.request(t, 2, 3), 101); !errors.Is(err, head.ErrProof) {
		t.Errorf("grown: %v", err)
	}
	line, err := w.AddCheckpoint(t.Context(), l.request(t, 2, 2), 99)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := head.OpenCheckpoint(l.head(t, 2), logKey(t, origin))
	if co, err := witness.OpenCosignature(c, w.Key(), line); err != nil || co.Unix != 100 {
		t.Errorf("the stamp ran back over the restart: %+v, %v", co, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	m := event.NewMemory()
	store, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	good := config(t, "w.example", origin)
	if _, err := witness.Open(t.Context(), store, good); !errors.Is(err, witness.ErrLostState) {
		t.Errorf("without state: %v", err)
	}
	if err := witness.Create(t.Context(), store, witnessKey(t, "w.example")); err != nil {
		t.Fatal(err)
	}
	two := config(t, "w.example", origin, origin)
	for name, c := range map[string]witness.Config{
		"another key":   {Name: "w.example", Key: privateKey("other"), Logs: good.Logs},
		"another name":  {Name: "v.example", Key: good.Key, Logs: good.Logs},
		"no key":        {Name: "w.example", Logs: good.Logs},
		"no name":       {Key: good.Key, Logs: good.Logs},
		"a log twice":   two,
		"a log unkeyed": {Name: "w.example", Key: good.Key, Logs: make([]head.LogKey, 1)},
	} {
		if _, err := witness.Open(t.Context(), store, c); err == nil {
			t.Errorf("%s: opens", name)
		}
	}
	w, err := witness.Open(t.Context(), store, good)
	if err != nil {
		t.Fatal(err)
	}
	l := newLog(t, origin)
	l.add(t, "a")
	if _, err := w.AddCheckpoint(t.Context(), l.request(t, 0, 1), 100); err != nil {
		t.Fatal(err)
	}
	if err := witness.Create(t.Context(), store, witnessKey(t, "w.example")); err == nil {
		t.Error("is created anew over the state of a log")
	}
	torn := event.Block{Puts: []event.Row{{Key: []byte("log/" + origin), Value: []byte("torn")}}}
	if err := store.Append(t.Context(), 0, torn); err != nil {
		t.Fatal(err)
	}
	if _, err := witness.Open(t.Context(), store, good); err == nil || !strings.Contains(err.Error(), origin) {
		t.Errorf("torn state: %v", err)
	}
}

func TestUnknownLog(t *testing.T) {
	l := newLog(t, "other.example/log")
	l.add(t, "a")
	w, _ := open(t, event.NewMemory(), config(t, "w.example", origin), true)
	if _, err := w.AddCheckpoint(t.Context(), l.request(t, 0, 1), 100); !errors.Is(err, witness.ErrUnknownLog) {
		t.Errorf("error %v, want %v", err, witness.ErrUnknownLog)
	}
}

func TestAdopt(t *testing.T) {
	l := newLog(t, origin)
	l.add(t, "a", "b", "c")
	m := event.NewMemory()
	w, store := open(t, m, config(t, "w.example", origin), true)
	if _, err := w.Adopt(t.Context(), []byte("no note"), 100); !errors.Is(err, head.ErrMalformed) {
		t.Errorf("not a checkpoint: %v", err)
	}
	unsigned := []byte(strings.Replace(string(l.head(t, 2)), "\n2\n", "\n3\n", 1))
	if _, err := w.Adopt(t.Context(), unsigned, 100); !errors.Is(err, head.ErrSignature) {
		t.Errorf("unsigned: %v", err)
	}
	if _, err := w.Adopt(t.Context(), l.head(t, 2), 100); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Adopt(t.Context(), l.head(t, 3), 101); err == nil {
		t.Error("adopts twice")
	}
	store.Crash(0)
	w, _ = open(t, m, config(t, "w.example", origin), false)
	conflict := new(head.ConflictError)
	if _, err := w.AddCheckpoint(t.Context(), l.request(t, 0, 1), 102); !errors.As(err, &conflict) || conflict.Size != 2 {
		t.Errorf("below the adopted head: %v", err)
	}
	if _, err := w.AddCheckpoint(t.Context(), l.request(t, 2, 3), 102); err != nil {
		t.Errorf("from the adopted head: %v", err)
	}
	if _, err := w.Adopt(t.Context(), l.head(t, 3), 103); err == nil {
		t.Error("adopts after it signed")
	}
}

// Requests for several logs at once, each log by several clones of its host:
// each witness state is one line of growth.
func TestManyAtOnce(t *testing.T) {
	const logs, hosts = 4, 3
	var origins []string
	for i := range logs {
		origins = append(origins, fmt.Sprintf("log%d.example", i))
	}
	w, _ := open(t, event.NewMemory(), config(t, "w.example", origins...), true)
	var group sync.WaitGroup
	var mu sync.Mutex
	signed := map[string]string{} // origin and size -> root
	for _, o := range origins {
		for h := range hosts {
			l := newLog(t, o)
			l.add(t, "same")
			for i := range 8 {
				l.add(t, fmt.Sprint(h, i))
			}
			group.Go(func() {
				for size := int64(1); size <= 9; size++ {
					for old := range size {
						r := l.request(t, old, size)
						if _, err := w.AddCheckpoint(t.Context(), r, size); err != nil {
							continue
						}
						c, _ := head.OpenCheckpoint(r.Signed, logKey(t, o))
						id := fmt.Sprint(o, size)
						mu.Lock()
						if root, found := signed[id]; found && root != c.Root.String() {
							t.Errorf("two heads of %s at %d", o, size)
						}
						signed[id] = c.Root.String()
						mu.Unlock()
					}
				}
			})
		}
	}
	group.Wait()
	if len(signed) < logs {
		t.Errorf("only %d heads signed", len(signed))
	}
}

// gatedStore holds its first row back until another one comes, or for a moment.
type gatedStore struct {
	event.Log
	mu     sync.Mutex
	count  int
	second chan struct{}
}

func (s *gatedStore) Append(ctx context.Context, expect uint64, b event.Block) error {
	s.mu.Lock()
	s.count++
	count := s.count
	s.mu.Unlock()
	switch count {
	case 1:
		select {
		case <-s.second:
		case <-time.After(100 * time.Millisecond):
		}
	case 2:
		close(s.second)
	}
	return s.Log.Append(ctx, expect, b)
}

// The race that C2SP tlog-witness warns of: two heads that disagree are decided
// at once, both from the same state.
func TestTwoHeadsAtOnce(t *testing.T) {
	l, fork := newLog(t, origin), newLog(t, origin)
	l.add(t, "a")
	fork.add(t, "b")
	memory, err := event.NewMemory().Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := witness.Create(t.Context(), memory, witnessKey(t, "w.example")); err != nil {
		t.Fatal(err)
	}
	w, err := witness.Open(t.Context(), &gatedStore{Log: memory, second: make(chan struct{})}, config(t, "w.example", origin))
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	lines := make(chan []byte, 2)
	for _, r := range []head.Request{l.request(t, 0, 1), fork.request(t, 0, 1)} {
		group.Go(func() {
			if line, err := w.AddCheckpoint(t.Context(), r, 100); err == nil {
				lines <- line
			}
		})
	}
	group.Wait()
	if len(lines) != 1 {
		t.Errorf("%d of two heads that disagree are signed", len(lines))
	}
}

func TestParseRequest(t *testing.T) {
	l := newLog(t, origin)
	l.add(t, "a", "b", "c", "d", "e")
	r := l.request(t, 3, 5)
	body := witness.FormatRequest(r)
	got, err := witness.ParseRequest(body)
	if diff := cmp.Diff(r, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	text := string(body)
	long := slices.Repeat([]string{r.Proof[0].String() + "\n"}, 64)
	for name, body := range map[string]string{
		"empty":                "",
		"no checkpoint":        "old 3\n\n",
		"no old line":          strings.TrimPrefix(text, "old 3\n"),
		"old with zero":        strings.Replace(text, "old 3", "old 03", 1),
		"old with plus":        strings.Replace(text, "old 3", "old +3", 1),
		"old negative":         strings.Replace(text, "old 3", "old -3", 1),
		"old absurd":           strings.Replace(text, "old 3", "old 9223372036854775807", 1),
		"two spaces":           strings.Replace(text, "old 3", "old  3", 1),
		"old without word":     strings.Replace(text, "old 3", "3", 1),
		"short hash":           strings.Replace(text, r.Proof[0].String(), "AAAA", 1),
		"carriage return":      strings.Replace(text, "old 3\n", "old 3\r\n", 1),
		"64 proof lines":       strings.Replace(text, "old 3\n", "old 3\n"+strings.Join(long, ""), 1),
		"too long":             text + strings.Repeat("— a AAAAAAAA\n", 10000),
		"space before proof":   strings.Replace(text, "old 3\n", "old 3\n ", 1),
		"hash not canonical":   strings.Replace(text, r.Proof[0].String(), r.Proof[0].String()[:42]+"/=", 1),
		"checkpoint malformed": strings.Replace(text, "\n5\n", "\n05\n", 1),
	} {
		if body == text {
			t.Fatalf("%s: the case changes nothing", name)
		}
		if r, err := witness.ParseRequest([]byte(body)); !errors.Is(err, head.ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	l := newLog(f, origin)
	l.add(f, "a", "b", "c", "d", "e")
	f.Add(witness.FormatRequest(l.request(f, 0, 5)))
	f.Add(witness.FormatRequest(l.request(f, 3, 5)))
	f.Add([]byte("old 0\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := witness.ParseRequest(body)
		if err != nil {
			if !errors.Is(err, head.ErrMalformed) {
				t.Errorf("error %v", err)
			}
			return
		}
		if diff := cmp.Diff(string(body), string(witness.FormatRequest(r))); diff != "" {
			t.Error(diff)
		}
	})
}

// Whatever a witness answers, the client takes nothing but a cosignature of the
// head that it asked for.
func FuzzOpenCosignature(f *testing.F) {
	l := newLog(f, origin)
	c, _ := head.OpenCheckpoint(l.add(f, "a"), logKey(f, origin))
	w, _ := open(f, event.NewMemory(), config(f, "w.example", origin), true)
	line, err := w.AddCheckpoint(f.Context(), l.request(f, 0, 1), 100)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(slices.Concat(line, line))
	f.Add(line[:50])
	group := head.Group{Log: logKey(f, origin), Witnesses: []head.WitnessKey{w.Key()}, K: 1}
	signed := l.head(f, 1)
	f.Fuzz(func(t *testing.T, lines []byte) {
		co, err := witness.OpenCosignature(c, w.Key(), lines)
		if err != nil {
			return
		}
		got, err := group.Verify(witness.Merge(signed, co))
		if err != nil || got.Time != co.Unix {
			t.Errorf("%q: %+v, %v", lines, got, err)
		}
	})
}
