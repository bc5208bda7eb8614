package head_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/head"
)

// What a group that remembers says of a note is what one says that does not: of a
// good note, of one with any byte changed, of one under other keys, before and after
// it has seen the others, and of one it has seen.
func TestRememberingSaysTheSame(t *testing.T) {
	r := newTree(t, "entry", 3)
	g := newGroup(t, 4, 3, 1)
	known := g.Remembering()
	if known.Witnesses[0] == g.Witnesses[0] || g.Log != logKey(t, origin) {
		t.Fatal("the group itself was changed, or its copy was not")
	}
	signed := sign(t, r.at(3))
	note := slices.Clone(signed)
	for i := range 3 {
		note = append(note, cosign(t, witnessName(i), signed, 1000+int64(i))...)
	}
	notes := [][]byte{note, note, signed}
	for i := range note {
		other := bytes.Clone(note)
		other[i] ^= 1
		notes = append(notes, other)
	}
	notes = append(notes, note)
	accepted := 0
	for i, n := range notes {
		want, wantErr := g.Verify(n)
		got, gotErr := known.Verify(n)
		if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Fatalf("note %d: %v, want %v", i, gotErr, wantErr)
		}
		if wantErr == nil {
			accepted++
		}
		if diff := cmp.Diff(want.Checkpoint, got.Checkpoint); diff != "" || want.Time != got.Time || len(want.Stamps) != len(got.Stamps) {
			t.Fatalf("note %d: %+v, want %+v", i, got, want)
		}
		_, wantErr = head.OpenCheckpoint(n, g.Log)
		_, gotErr = head.OpenCheckpoint(n, known.Log)
		if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Fatalf("checkpoint of note %d: %v, want %v", i, gotErr, wantErr)
		}
	}
	if accepted < 3 || accepted == len(notes) {
		t.Fatalf("%d of %d notes were accepted", accepted, len(notes))
	}
}
