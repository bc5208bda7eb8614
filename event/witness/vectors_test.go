package witness_test

import (
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"latchkey/event/witness"
	"latchkey/head"
	"latchkey/spec/vectors"
)

var update = flag.Bool("update", false, "write spec/vectors/head/witness.json anew")

// seenVector is a witness's state of a log.
type seenVector struct {
	Size  int64       `json:"size"`
	Root  vectors.Hex `json:"root,omitempty"`
	Stamp int64       `json:"stamp"`
}

func (s seenVector) seen() (head.Seen, error) {
	out := head.Seen{Size: s.Size, Stamp: s.Stamp}
	if len(s.Root) != 0 && len(s.Root) != len(out.Root) {
		return out, errors.New("not a root")
	}
	copy(out.Root[:], s.Root)
	return out, nil
}

func toVector(s head.Seen) seenVector {
	return seenVector{Size: s.Size, Root: vectors.Hex(slices.Clone(s.Root[:])), Stamp: s.Stamp}
}

// decisionVector is a request to a witness, and its answer.
type decisionVector struct {
	Name    string      `json:"name"`
	Expect  string      `json:"expect"`
	Log     head.LogKey `json:"log"`
	Witness string      `json:"witness"`
	Key     vectors.Hex `json:"key"`
	Seen    seenVector  `json:"seen"`
	Now     int64       `json:"now"`
	Body    string      `json:"body"`
	Status  int         `json:"status"`
	Next    *seenVector `json:"next,omitempty"`
	Answer  string      `json:"answer,omitempty"`
}

func TestDecisionVectors(t *testing.T) {
	l, fork := newLog(t, origin), newLog(t, origin)
	for i := range 9 {
		l.add(t, fmt.Sprint("entry ", i))
		fork.add(t, fmt.Sprint("fork ", i))
	}
	at := func(l *testLog, size, stamp int64) head.Seen {
		root, err := l.prover.Root(t.Context(), size)
		if err != nil {
			t.Fatal(err)
		}
		return head.Seen{Size: size, Root: root, Stamp: stamp}
	}
	const name, now = "w0.example", 1790000000
	at5 := at(l, 5, now-1)
	var cases []decisionVector
	add := func(what, expect string, status int, seen head.Seen, now int64, body string) {
		v := decisionVector{Name: what, Expect: expect, Log: logKey(t, origin), Witness: name, Key: vectors.Hex(privateKey(name).Seed()), Seen: toVector(seen), Now: now, Body: body, Status: status}
		r, err := witness.ParseRequest([]byte(body))
		if err == nil {
			if consent, err := head.Decide(logKey(t, origin), seen, r, now); err == nil {
				line, err := consent.Cosign(name, privateKey(name))
				if err != nil {
					t.Fatal(err)
				}
				next := toVector(consent.Next)
				v.Next, v.Answer = &next, string(line)
			}
		}
		cases = append(cases, v)
	}
	body := func(l *testLog, old, size int64) string {
		return string(witness.FormatRequest(l.request(t, old, size)))
	}
	add("a new log", "ok", 200, head.Seen{}, now, body(l, 0, 5))
	add("a new log, empty", "ok", 200, head.Seen{}, now, body(l, 0, 0))
	add("growth", "ok", 200, at5, now, body(l, 5, 9))
	add("the same head anew", "ok", 200, at5, now, body(l, 5, 5))
	add("a clock that went back", "ok", 200, at5, 17, body(l, 5, 9))
	add("a rolled-back log", "error: witness is at size 5", 409, at5, now, body(l, 3, 3))
	add("old too low", "error: witness is at size 5", 409, at5, now, body(l, 3, 9))
	add("old too high", "error: witness is at size 5", 409, at5, now, body(l, 7, 9))
	add("a different head of the same size", "error: different head of size 5", 409, at5, now, body(fork, 5, 5))
	add("a fork that grew", "error: proof does not hold", 422, at5, now, body(fork, 5, 9))
	add("a proof from size 0", "error: proof does not hold", 422, head.Seen{}, now, strings.Replace(body(l, 0, 5), "old 0\n", "old 0\n"+at5.Root.String()+"\n", 1))
	add("no proof", "error: proof does not hold", 422, at5, now, "old 5\n\n"+string(l.head(t, 9)))
	add("another size under the signature", "error: bad signature", 403, at5, now, strings.Replace(body(l, 5, 9), "\n9\n", "\n8\n", 1))
	other := newLog(t, "other.example/log")
	other.add(t, "entry")
	add("another log", "error: unknown log", 404, at5, now, body(other, 0, 1))
	add("old above the size", "error: malformed request", 400, at5, now, "old 6\n\n"+string(l.head(t, 5)))
	add("no old line", "error: malformed request", 400, at5, now, strings.TrimPrefix(body(l, 5, 9), "old 5\n"))
	add("old with a leading zero", "error: malformed request", 400, at5, now, strings.Replace(body(l, 5, 9), "old 5", "old 05", 1))
	add("no empty line", "error: malformed request", 400, at5, now, "old 5\n")
	add("64 proof lines", "error: malformed request", 400, at5, now, "old 5\n"+strings.Repeat(at5.Root.String()+"\n", 64)+"\n"+string(l.head(t, 9)))
	vectors.Check(t, *update, "../../spec/vectors/head/witness.json", vectors.File[decisionVector]{
		About: "add-checkpoint calls (C2SP tlog-witness) to a witness with an Ed25519 key of this seed, that remembers seen of this one log; the answer's status, and where it is 200 the state stored before it and the answer.",
		Cases: cases,
	}, func(c decisionVector) (string, string) { return c.Name, c.Expect }, runDecision)
}

func runDecision(c decisionVector) error {
	seen, err := c.Seen.seen()
	if err != nil {
		return err
	}
	r, err := witness.ParseRequest([]byte(c.Body))
	if err != nil {
		return status(c, err)
	}
	if o, _ := r.Origin(); o != c.Log.Name() {
		return status(c, witness.ErrUnknownLog)
	}
	consent, err := head.Decide(c.Log, seen, r, c.Now)
	if err != nil {
		return status(c, err)
	}
	line, err := consent.Cosign(c.Witness, ed25519.NewKeyFromSeed(c.Key))
	if err != nil {
		return err
	}
	want, err := c.Next.seen()
	if err != nil || c.Status != 200 || consent.Next != want || string(line) != c.Answer {
		return fmt.Errorf("answers %q, next %+v, %v", line, consent.Next, err)
	}
	return nil
}

// status returns err, if it has the status of the case.
func status(c decisionVector, err error) error {
	conflict := new(head.ConflictError)
	want := map[int]bool{
		400: errors.Is(err, head.ErrMalformed),
		403: errors.Is(err, head.ErrSignature),
		404: errors.Is(err, witness.ErrUnknownLog),
		409: errors.As(err, &conflict),
		422: errors.Is(err, head.ErrProof),
	}
	if !want[c.Status] {
		return fmt.Errorf("not status %d", c.Status)
	}
	return err
}
