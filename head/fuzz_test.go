package head_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"latchkey/head"
)

// What ParseCheckpoint accepts, it writes back to the same bytes.
func FuzzParseCheckpoint(f *testing.F) {
	f.Add(newTree(f, "entry", 3).at(3).Text())
	f.Add(newTree(f, "entry", 0).at(0).Text())
	f.Add([]byte("a\n1\nAAAA\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := head.ParseCheckpoint(text)
		if err != nil {
			if !errors.Is(err, head.ErrMalformed) {
				t.Errorf("error %v", err)
			}
			return
		}
		if !bytes.Equal(c.Text(), text) {
			t.Errorf("%q becomes %q", text, c.Text())
		}
	})
}

// No bytes but the log's own checkpoint pass, whatever stands around it.
func FuzzVerify(f *testing.F) {
	c := newTree(f, "entry", 3).at(3)
	signed := sign(f, c)
	full := signed
	for i := range 3 {
		full = slices.Concat(full, cosign(f, witnessName(i), signed, int64(100+i)))
	}
	f.Add(full)
	f.Add(signed)
	f.Add(slices.Concat(full, full[len(signed):]))
	g := newGroup(f, 4, 3, 1)
	f.Fuzz(func(t *testing.T, note []byte) {
		if got, err := head.OpenCheckpoint(note, g.Log); err == nil && got != c {
			t.Errorf("the log never signed %+v", got)
		}
		got, err := g.Verify(note)
		if err != nil {
			return
		}
		if got.Checkpoint != c || got.Time != 101 || len(got.Stamps) != 3 {
			t.Errorf("nobody cosigned %+v", got)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(logKey(f, origin).String())
	f.Add(witnessKey(f, "w0.example").String())
	f.Add("a+00000000+AQ==")
	f.Fuzz(func(t *testing.T, vkey string) {
		l, errLog := head.ParseLogKey(vkey)
		w, errWitness := head.ParseWitnessKey(vkey)
		if errLog == nil && (l.String() != vkey || errWitness == nil) || errWitness == nil && w.String() != vkey {
			t.Errorf("%q becomes %s or %s", vkey, l, w)
		}
	})
}

func FuzzFrontier(f *testing.F) {
	var seed head.Frontier
	for range 5 {
		raw, err := seed.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		if err := seed.Append([]byte("entry")); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var got head.Frontier
		if err := got.UnmarshalBinary(raw); err != nil {
			if (got != head.Frontier{}) {
				t.Error("a refusal changed the frontier")
			}
			return
		}
		back, err := got.MarshalBinary()
		if err != nil || !bytes.Equal(back, raw) {
			t.Errorf("%x becomes %x, %v", raw, back, err)
		}
		_ = got.Root()
	})
}
