// Package attesttest is the conformance kit for implementations of attest.Verifier: what holds for
// every format, checked on one piece of good evidence by damaging it in all sorts of ways.
package attesttest

import (
	"bytes"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/attest"
)

// Case is good evidence and what its verifier must find in it.
type Case struct {
	Verifier attest.Verifier
	Evidence attest.Evidence
	Now      int64        // a time at which it is valid, Unix seconds
	Want     attest.Facts // in full
	// Flips is the number of places of quote and collateral that are damaged, spread evenly; 0 means
	// every byte.
	Flips int
}

// Run checks that the verifier
//   - finds Want, every time, in several goroutines, without keeping or changing its input;
//   - refuses another format's name, and any time outside the validity that it reports itself;
//   - after any change of the quote, be it a flipped bit, a cut or an addition, refuses it or finds the
//     same digest of facts (some formats have bytes that nobody signs);
//   - after any change of the collateral, refuses it or finds exactly the same facts;
//   - never panics.
func Run(t *testing.T, c Case) {
	t.Helper()
	before := attest.Evidence{Format: c.Evidence.Format, Quote: bytes.Clone(c.Evidence.Quote), Collateral: bytes.Clone(c.Evidence.Collateral)}
	t.Run("good", func(t *testing.T) { c.good(t, before) })
	t.Run("time", c.time)
	t.Run("quote", func(t *testing.T) {
		c.damage(t, c.Evidence.Quote, func(b []byte) attest.Evidence {
			return attest.Evidence{Format: c.Evidence.Format, Quote: b, Collateral: c.Evidence.Collateral}
		}, false)
	})
	t.Run("collateral", func(t *testing.T) {
		c.damage(t, c.Evidence.Collateral, func(b []byte) attest.Evidence {
			return attest.Evidence{Format: c.Evidence.Format, Quote: c.Evidence.Quote, Collateral: b}
		}, true)
	})
	if diff := cmp.Diff(before, c.Evidence); diff != "" {
		t.Errorf("the verifier changed its input:\n%s", diff)
	}
}

func (c Case) good(t *testing.T, before attest.Evidence) {
	if got := c.Verifier.Format(); got != c.Evidence.Format {
		t.Fatalf("Format() = %q, the evidence's is %q", got, c.Evidence.Format)
	}
	if err := c.Want.Check(); err != nil {
		t.Fatalf("Want: %v", err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			got, err := c.Verifier.Verify(c.Evidence, c.Now)
			if err != nil {
				t.Errorf("good evidence: %v", err)
				return
			}
			if diff := cmp.Diff(c.Want, got); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
		})
	}
	wg.Wait()
	kept, err := c.Verifier.Verify(before, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	clear(before.Quote)
	clear(before.Collateral)
	if diff := cmp.Diff(c.Want, kept); diff != "" {
		t.Errorf("the facts share memory with the evidence (-want +got):\n%s", diff)
	}
	copy(before.Quote, c.Evidence.Quote)
	copy(before.Collateral, c.Evidence.Collateral)
	other := c.Evidence
	other.Format += "x"
	if _, err := c.Verifier.Verify(other, c.Now); err == nil {
		t.Error("accepted evidence of another format")
	}
}

func (c Case) time(t *testing.T) {
	for _, at := range []int64{c.Want.NotBefore, c.Want.NotAfter} {
		if _, err := c.Verifier.Verify(c.Evidence, at); err != nil {
			t.Errorf("refused at %d, where it claims to be valid: %v", at, err)
		}
	}
	for _, at := range []int64{c.Want.NotBefore - 1, c.Want.NotAfter + 1, 0, -1 << 63, 1<<63 - 1} {
		if _, err := c.Verifier.Verify(c.Evidence, at); err == nil {
			t.Errorf("accepted at %d, where it claims not to be valid", at)
		}
	}
}

// damage changes part in many ways. Where exact is set, an accepted change must leave the facts equal.
func (c Case) damage(t *testing.T, part []byte, with func([]byte) attest.Evidence, exact bool) {
	want, err := c.Want.Digest()
	if err != nil {
		t.Fatal(err)
	}
	try := func(how string, at int, b []byte) {
		f, err := c.Verifier.Verify(with(b), c.Now)
		if err != nil {
			return
		}
		got, err := f.Digest()
		if err != nil {
			t.Fatalf("%s at %d: accepted with facts that have no digest: %v", how, at, err)
		}
		if got != want {
			t.Errorf("%s at %d: accepted with other facts (-want +got):\n%s", how, at, cmp.Diff(c.Want, f))
		} else if diff := cmp.Diff(c.Want, f); exact && diff != "" {
			t.Errorf("%s at %d: accepted and judged differently (-want +got):\n%s", how, at, diff)
		}
	}
	try("nothing at all", 0, nil)
	step := 1
	if c.Flips > 0 {
		step = max(1, len(part)/c.Flips)
	}
	for i := 0; i < len(part); i += step {
		b := bytes.Clone(part)
		b[i] ^= 1 << (i % 8)
		try("flipped bit", i, b)
		try("cut", i, part[:i:i])
		try("byte left out", i, slices.Delete(bytes.Clone(part), i, i+1))
		try("byte put in", i, slices.Insert(bytes.Clone(part), i, 0))
	}
	try("zero byte added", len(part), append(bytes.Clone(part), 0))
	try("doubled", len(part), append(bytes.Clone(part), part...))
}
