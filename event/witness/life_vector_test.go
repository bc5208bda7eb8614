package witness_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"latchkey/event"
	"latchkey/event/witness"
	"latchkey/head"
	"latchkey/spec/vectors"
)

// A lifeStep is one thing that happens to a witness.
type lifeStep struct {
	Do     string `json:"do"` // create, open, crash, lose, break, adopt, post
	Now    int64  `json:"now,omitempty"`
	Method string `json:"method,omitempty"` // POST where it is missing
	Path   string `json:"path,omitempty"`   // /add-checkpoint where it is missing
	Body   string `json:"body,omitempty"`   // of post; the note of adopt
	Status int    `json:"status,omitempty"`
	Type   string `json:"type,omitempty"`   // of the answer's content
	Answer string `json:"answer,omitempty"` // where the protocol says every byte
	Seen   string `json:"seen,omitempty"`   // the state after it: size and stamp
}

type lifeVector struct {
	Name    string      `json:"name"`
	Expect  string      `json:"expect"` // of the last step
	Log     head.LogKey `json:"log"`
	Witness string      `json:"witness"`
	Key     vectors.Hex `json:"key"`
	Steps   []lifeStep  `json:"steps"`
}

// lived is a witness with its disk.
type lived struct {
	vector *lifeVector
	disk   *event.Memory
	store  *event.MemoryLog
	w      *witness.Witness
}

// play makes one step happen and returns it with what came of it.
func (l *lived) play(t *testing.T, s lifeStep) (lifeStep, error) {
	c := config(t, l.vector.Witness, l.vector.Log.Name())
	key := witnessKey(t, l.vector.Witness)
	reopen := func(create bool) (err error) {
		if l.store, err = l.disk.Open(); err != nil {
			return err
		}
		if create {
			if err = witness.Create(t.Context(), l.store, key); err != nil {
				return err
			}
		}
		l.w, err = witness.Open(t.Context(), l.store, c)
		return err
	}
	crash := func() {
		if l.store != nil {
			l.store.Crash(0)
		}
	}
	var err error
	switch s.Do {
	case "create":
		crash()
		err = reopen(true)
	case "open":
		err = reopen(false)
	case "crash":
		crash()
		err = reopen(false)
	case "lose":
		crash()
		l.disk = event.NewMemory()
	case "break":
		l.store.Fail(errors.New("disk full"))
	case "adopt":
		_, err = l.w.Adopt(t.Context(), []byte(s.Body), s.Now)
	case "post":
		s, err = l.post(s)
	default:
		err = fmt.Errorf("nobody does %q", s.Do)
	}
	s.Seen = ""
	if l.w != nil && l.disk != nil && s.Do != "lose" {
		if seen, known := l.w.Seen(l.vector.Log.Name()); known {
			s.Seen = fmt.Sprintf("%d at %d", seen.Size, seen.Stamp)
		}
	}
	return s, err
}

func (l *lived) post(s lifeStep) (lifeStep, error) {
	method, path := s.Method, s.Path
	if method == "" {
		method = http.MethodPost
	}
	if path == "" {
		path = "/add-checkpoint"
	}
	w := httptest.NewRecorder()
	h := &witness.Handler{Witness: l.w, Logger: slog.New(slog.DiscardHandler), Now: func() int64 { return s.Now }, Failed: func(error) {}}
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(s.Body)))
	s.Status, s.Type, s.Answer = w.Code, w.Header().Get("Content-Type"), ""
	if s.Status == http.StatusOK || s.Status == http.StatusConflict {
		s.Answer = w.Body.String()
	}
	if s.Status != http.StatusOK {
		return s, fmt.Errorf("status %d: %s", s.Status, strings.TrimSpace(w.Body.String()))
	}
	return s, nil
}

// check plays a vector and compares every step with what it says.
func (v lifeVector) check(t *testing.T) error {
	l := &lived{vector: &v, disk: event.NewMemory()}
	var last error
	for i, want := range v.Steps {
		var got lifeStep
		if got, last = l.play(t, want); got != want {
			return fmt.Errorf("step %d: got %+v, want %+v", i, got, want)
		}
	}
	return last
}

// TestLifeVectors plays witnesses' lives over the real handler: what they
// answer, what they remember, what they do when they have forgotten.
func TestLifeVectors(t *testing.T) {
	const name = "w0.example"
	log, fork := newLog(t, origin), newLog(t, origin)
	for i := range 9 {
		log.add(t, fmt.Sprint("entry ", i))
		fork.add(t, fmt.Sprint("fork ", i))
	}
	body := func(l *testLog, old, size int64) string {
		return string(witness.FormatRequest(l.request(t, old, size)))
	}
	post := func(now int64, body string) lifeStep { return lifeStep{Do: "post", Now: now, Body: body} }
	create, crash := lifeStep{Do: "create"}, lifeStep{Do: "crash"}
	var made []lifeVector
	add := func(what, expect string, steps ...lifeStep) {
		v := lifeVector{Name: what, Expect: expect, Log: logKey(t, origin), Witness: name, Key: privateKey(name).Seed()}
		l := &lived{vector: &v, disk: event.NewMemory()}
		for _, s := range steps {
			s, _ = l.play(t, s)
			v.Steps = append(v.Steps, s)
		}
		made = append(made, v)
	}
	add("a log grows", "ok", create, post(100, body(log, 0, 3)), post(101, body(log, 3, 7)), post(102, body(log, 7, 9)))
	add("the newest head anew, at a later time", "ok", create, post(100, body(log, 0, 3)), post(160, body(log, 3, 3)))
	add("a clock that goes back: the stamp does not", "ok", create, post(100, body(log, 0, 3)), post(50, body(log, 3, 5)), post(60, body(log, 5, 5)))
	add("what it signed survives a crash", "ok", create, post(100, body(log, 0, 3)), crash, post(50, body(log, 3, 3)))
	add("a conflict tells the size from which to go on", "ok", create, post(100, body(log, 0, 5)), post(101, body(log, 0, 9)), post(101, body(log, 5, 9)))
	add("adopted at a head, by its operator's order", "ok", create, lifeStep{Do: "adopt", Now: 90, Body: string(log.head(t, 5))}, post(100, body(log, 5, 9)))
	add("a fork, after a crash", "error: status 422", create, post(100, body(log, 0, 3)), crash, post(101, body(fork, 3, 7)))
	add("another head of the newest size", "error: status 409", create, post(100, body(log, 0, 3)), post(101, body(fork, 3, 3)))
	add("a log that was rolled back", "error: status 409", create, post(100, body(log, 0, 7)), post(101, body(log, 3, 3)))
	add("a log that begins again", "error: status 409", create, post(100, body(log, 0, 7)), post(101, body(log, 0, 0)))
	add("after a refusal nothing is remembered", "error: status 409", create, post(100, body(log, 0, 3)), post(300, body(fork, 3, 7)), post(101, body(log, 7, 9)))
	add("no state: it does not start", "error: witness has no state", lifeStep{Do: "open"})
	add("its state is lost: it does not start", "error: witness has no state", create, post(100, body(log, 0, 3)), lifeStep{Do: "lose"}, lifeStep{Do: "open"})
	add("its state is lost, and its operator orders a new one: it counts as one of the f", "ok",
		create, post(100, body(log, 0, 3)), lifeStep{Do: "lose"}, create, post(101, body(fork, 0, 3)))
	add("created again over its state", "error: already has the state", create, post(100, body(log, 0, 3)), create)
	add("adopted although it has signed", "error: has already signed", create, post(100, body(log, 0, 3)), lifeStep{Do: "adopt", Now: 90, Body: string(log.head(t, 5))})
	add("its disk is full: no signature", "error: status 500", create, post(100, body(log, 0, 3)), lifeStep{Do: "break"}, post(101, body(log, 3, 5)))
	add("another path", "error: status 404", create, lifeStep{Do: "post", Path: "/", Body: body(log, 0, 3)})
	add("a GET", "error: status 405", create, lifeStep{Do: "post", Method: http.MethodGet})
	add("too long a body", "error: status 400", create, post(100, "old 0\n\n"+strings.Repeat("x", 73729)))
	vectors.Check(t, *update, "../../spec/vectors/witness/life.json", vectors.File[lifeVector]{
		About: "Lives of witnesses with an Ed25519 key of this seed, that serve this one log: what is done to them, what they answer, and what they remember after it.",
		Cases: made,
	}, func(v lifeVector) (string, string) { return v.Name, v.Expect }, func(v lifeVector) error { return v.check(t) })
}
