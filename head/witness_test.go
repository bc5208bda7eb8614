package head_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"latchkey/head"
)

func TestDecide(t *testing.T) {
	r, fork := newTree(t, "entry", 9), newTree(t, "fork", 9)
	at5 := head.Seen{Size: 5, Root: r.at(5).Root, Stamp: 1000}
	request := func(r *tree, old, size int) head.Request {
		return head.Request{Old: int64(old), Proof: r.consistency(t, old, size), Signed: sign(t, r.at(size))}
	}
	with := func(q head.Request, change func(*head.Request)) head.Request { change(&q); return q }
	for _, tc := range []struct {
		name  string
		seen  head.Seen
		q     head.Request
		now   int64
		stamp int64 // where there is consent
		want  error
		size  int64 // where there is a conflict
		fork  bool
	}{
		{name: "a new log", q: request(r, 0, 3), now: 7, stamp: 7},
		{name: "a new log, empty", q: request(r, 0, 0), now: 7, stamp: 7},
		{name: "growth", seen: at5, q: request(r, 5, 9), now: 1001, stamp: 1001},
		{name: "the same head anew", seen: at5, q: request(r, 5, 5), now: 1002, stamp: 1002},
		{name: "the clock went back", seen: at5, q: request(r, 5, 9), now: 3, stamp: 1000},
		{name: "old too low", seen: at5, q: request(r, 3, 9), now: 1001, want: &head.ConflictError{}, size: 5},
		{name: "old too high", seen: at5, q: request(r, 6, 9), now: 1001, want: &head.ConflictError{}, size: 5},
		{name: "a rolled-back log", seen: at5, q: request(r, 3, 3), now: 1001, want: &head.ConflictError{}, size: 5},
		{name: "a new log that is not at 0", q: request(r, 1, 3), now: 7, want: &head.ConflictError{}, size: 0},
		{name: "another head of that size", seen: at5, q: request(fork, 5, 5), now: 1001, want: &head.ConflictError{}, size: 5, fork: true},
		{name: "a fork that grew", seen: at5, q: request(fork, 5, 9), now: 1001, want: head.ErrProof},
		{name: "no proof", seen: at5, q: with(request(r, 5, 9), func(q *head.Request) { q.Proof = nil }), now: 1001, want: head.ErrProof},
		{name: "a proof too long", seen: at5, q: with(request(r, 5, 9), func(q *head.Request) { q.Proof = append(q.Proof, head.Hash{}) }), now: 1001, want: head.ErrProof},
		{name: "a proof from 0", q: with(request(r, 0, 3), func(q *head.Request) { q.Proof = []head.Hash{{}} }), now: 7, want: head.ErrProof},
		{name: "a proof for the same head", seen: at5, q: with(request(r, 5, 5), func(q *head.Request) { q.Proof = []head.Hash{{}} }), now: 1001, want: head.ErrProof},
		{name: "64 proof lines", seen: at5, q: with(request(r, 5, 9), func(q *head.Request) { q.Proof = make([]head.Hash, 64) }), now: 1001, want: head.ErrMalformed},
		{name: "old above the checkpoint", seen: at5, q: with(request(r, 5, 5), func(q *head.Request) { q.Old = 6 }), now: 1001, want: head.ErrMalformed},
		{name: "negative old", seen: at5, q: with(request(r, 5, 5), func(q *head.Request) { q.Old = -1 }), now: 1001, want: head.ErrMalformed},
		{name: "unsigned", q: with(request(r, 0, 3), func(q *head.Request) {
			q.Signed = []byte(strings.Replace(string(q.Signed), "\n3\n", "\n4\n", 1))
		}), now: 7, want: head.ErrSignature},
		{name: "no note", q: head.Request{}, now: 7, want: head.ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := head.Decide(logKey(t, origin), tc.seen, tc.q, tc.now)
			var conflict, wantConflict *head.ConflictError
			switch {
			case tc.want == nil && err == nil:
				c, err := head.OpenCheckpoint(tc.q.Signed, logKey(t, origin))
				if err != nil {
					t.Fatal(err)
				}
				if want := (head.Seen{Size: c.Size, Root: c.Root, Stamp: tc.stamp}); got.Next != want {
					t.Errorf("next %+v, want %+v", got.Next, want)
				}
			case errors.As(tc.want, &wantConflict):
				if !errors.As(err, &conflict) || conflict.Size != tc.size || conflict.Fork != tc.fork {
					t.Errorf("error %v, want a conflict at size %d, fork %v", err, tc.size, tc.fork)
				}
			case !errors.Is(err, tc.want):
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if err != nil && (got != head.Consent{}) {
				t.Errorf("refused, but consents to %+v", got)
			}
		})
	}
}

func TestConsentSignsNothingByItself(t *testing.T) {
	if line, err := (head.Consent{}).Cosign("w0.example", privateKey("w0.example")); err == nil {
		t.Errorf("the zero Consent signs %q", line)
	}
	q := head.Request{Signed: sign(t, newTree(t, "entry", 3).at(3))}
	consent, err := head.Decide(logKey(t, origin), head.Seen{}, q, 5)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := consent.Cosign("w0.example", nil); err == nil {
		t.Errorf("signs %q without a key", line)
	}
	if line, err := consent.Cosign("w 0", privateKey("w0.example")); err == nil {
		t.Errorf("signs %q under a bad name", line)
	}
	if _, err := head.Decide(logKey(t, origin), head.Seen{}, q, -1); err == nil {
		t.Error("consents before 1970")
	}
}

// Four witnesses, of whom one signs anything and all take requests in any order
// from two clones of a log that diverge: no two heads that disagree ever get
// three cosignatures, and no honest witness's stamp runs backwards.
func TestNoTwoHeadsThatDisagree(t *testing.T) {
	group := newGroup(t, 4, 3, 1)
	rapid.Check(t, func(t *rapid.T) {
		shared := rapid.IntRange(0, 3).Draw(t, "shared")
		var clones [2]*tree
		for c := range clones {
			clones[c] = newTree(t, "entry", shared)
			clones[c].add(t, []byte{byte(c)})
			clones[c].add(t, []byte{byte(c)})
			clones[c].add(t, []byte("same"))
		}
		var seen [4]head.Seen
		type key struct{ clone, size int }
		cosigned := map[key][]byte{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			w := rapid.IntRange(0, 3).Draw(t, "witness")
			k := key{rapid.IntRange(0, 1).Draw(t, "clone"), rapid.IntRange(0, shared+3).Draw(t, "size")}
			r := clones[k.clone]
			now := rapid.Int64Range(0, 100).Draw(t, "now")
			signed := sign(t, r.at(k.size))
			q, state := head.Request{Signed: signed}, head.Seen{}
			if w != 3 { // the fourth forgets everything, each time
				state = seen[w]
				q.Old = min(seen[w].Size, int64(k.size))
				q.Proof = r.consistency(t, int(q.Old), k.size)
			}
			consent, err := head.Decide(group.Log, state, q, now)
			if err != nil {
				continue
			}
			if consent.Next.Stamp < state.Stamp {
				t.Fatalf("stamp runs back from %d to %d", state.Stamp, consent.Next.Stamp)
			}
			seen[w] = consent.Next
			line, err := consent.Cosign(witnessName(w), privateKey(witnessName(w)))
			if err != nil {
				t.Fatal(err)
			}
			if cosigned[k] == nil {
				cosigned[k] = signed
			}
			cosigned[k] = slices.Concat(cosigned[k], line)
		}
		for size := shared + 1; size <= shared+3; size++ {
			for size2 := shared + 1; size2 <= shared+3; size2++ {
				_, err0 := group.Verify(cosigned[key{0, size}])
				_, err1 := group.Verify(cosigned[key{1, size2}])
				if err0 == nil && err1 == nil {
					t.Fatalf("both clones have a quorum, at %d and %d", size, size2)
				}
			}
		}
	})
}
