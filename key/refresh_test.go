package key

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// refreshOne refreshes a single share.
func refreshOne(b Share, rand io.Reader) (r, bNew Share, R, BNew Point, err error) {
	x, err := Refresh([]Share{b}, []Point{b.Public()}, rand)
	if err != nil {
		return r, bNew, R, BNew, err
	}
	return x[0].Delta, x[0].Share, x[0].R, x[0].B, nil
}

// Many shares are refreshed as each would be alone, on any number of cores; one that
// does not belong to its point is named, and then nothing is.
func TestRefreshMany(t *testing.T) {
	for _, cores := range []int{1, 2, 3} {
		before := runtime.GOMAXPROCS(cores)
		for _, n := range []int{0, 1, 2, 31, 100} {
			var b []Share
			var old []Point
			for i := range n {
				b = append(b, mustShare(t, bothTypes[i%2], newStream(fmt.Sprint(i))))
				old = append(old, b[i].Public())
			}
			got, err := Refresh(b, old, newStream("many"))
			if err != nil || len(got) != n {
				t.Fatalf("%d cores, %d shares: %d, %v", cores, n, len(got), err)
			}
			rand := newStream("many")
			for i, x := range got {
				r, bNew, R, BNew, err := refreshOne(b[i], rand)
				if err != nil || !r.Equal(x.Delta) || !bNew.Equal(x.Share) || R != x.R || BNew != x.B {
					t.Errorf("%d cores: share %d of %d is refreshed in another way", cores, i, n)
				}
			}
			if n < 31 {
				continue
			}
			old[7], old[20] = old[9], old[22]
			got, err = Refresh(b, old, newStream("many"))
			if !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "share 7:") || got != nil {
				t.Errorf("%d cores: another's point: %v", cores, err)
			}
			old[7] = old[8] // of the other type
			if got, err = Refresh(b, old, newStream("many")); !errors.Is(err, ErrMismatch) || got != nil {
				t.Errorf("%d cores: a point of the other type: %v", cores, err)
			}
			if _, err = Refresh(b, old[1:], newStream("many")); err == nil {
				t.Errorf("%d cores: a point too few", cores)
			}
		}
		runtime.GOMAXPROCS(before)
	}
}

// One inversion for many points, the identity among them, gives what one for each
// does.
func TestPoints(t *testing.T) {
	var xs []*element
	var want []Point
	for i := range 12 {
		typ := bothTypes[i%3/2]
		s := mustShare(t, typ, newStream(fmt.Sprint(i)))
		x := s.scalar().base()
		want = append(want, s.Public())
		if i%5 == 1 {
			x, want[i] = x.minus(x), Point{}
		}
		xs = append(xs, x)
	}
	for range 2 { // the second time they are affine
		got, err := points(xs...)
		if !slices.Equal(got, want) || err != errIdentity {
			t.Errorf("points are %v, %v, want %v", got, err, want)
		}
	}
	if got, err := points(); len(got) != 0 || err != nil {
		t.Errorf("no points are %v, %v", got, err)
	}
}

// Along any chain of refreshes P stays; every pair of one epoch, however old, is
// the key; no pair of two epochs is, and no check lets one pass.
func TestEpochs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kt := drawType(t)
		a, b := drawShare(t, kt, "a"), drawShare(t, kt, "b")
		P, err := a.Public().Plus(b.Public())
		if err != nil {
			return // a + b = 0
		}
		as, bs := []Share{a}, []Share{b}
		for range rapid.IntRange(1, 4).Draw(t, "refreshes") {
			seed := rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, "seed")
			r, bNew, R, BNew, err := refreshOne(b, bytes.NewReader(seed))
			if err != nil {
				return // a drawn r of zero, or r = b
			}
			aNew, err := a.Plus(r)
			if err != nil {
				return // r = −a
			}
			if R != r.Public() || BNew != bNew.Public() || CheckRefresh(b.Public(), R, BNew) != nil {
				t.Fatal("refresh does not pass its own check")
			}
			a, b = aNew, bNew
			as, bs = append(as, a), append(bs, b)
		}
		d, err := Combine(as[0], bs[0], P)
		if err != nil {
			t.Fatal(err)
		}
		for i := range as {
			for j := range bs {
				got, err := Combine(as[i], bs[j], P)
				check := CheckShare(as[i], bs[j].Public(), P)
				if i == j && (err != nil || check != nil || got.Public() != P || !bytes.Equal(got.Expose(), d.Expose())) {
					t.Fatalf("epoch %d: %v, %v", i, err, check)
				}
				if i != j && (err == nil || check == nil) {
					t.Fatalf("a of epoch %d and b of %d pass", i, j)
				}
			}
		}
	})
}

func TestRefreshRefuses(t *testing.T) {
	if _, _, _, _, err := refreshOne(Share{}, newStream("r")); err == nil || err.Error() != "refresh share 0: no share" {
		t.Errorf("no share: got %v", err)
	}
	for _, kt := range bothTypes {
		b := mustShare(t, kt, newStream("b"))
		before := b.Expose()
		for name, rand := range map[string][]byte{"r = b": wideOf(b), "r = 0": make([]byte, 64), "no randomness": nil} {
			r, bNew, R, BNew, err := refreshOne(b, bytes.NewReader(rand))
			if err == nil || !r.IsZero() || !bNew.IsZero() || R != (Point{}) || BNew != (Point{}) {
				t.Errorf("%v, %s: got %v and results, want only an error", kt, name, err)
			}
		}
		if !bytes.Equal(b.Expose(), before) {
			t.Errorf("%v: refresh changed b", kt)
		}
		// Whoever got the whole key as "its" share is told that B would be nothing.
		if err := CheckShare(b, Point{}, b.Public()); err == nil {
			t.Errorf("%v: a whole key passes as a share", kt)
		}
		if err := CheckShare(b, b.Public(), b.Public()); !errors.Is(err, ErrMismatch) {
			t.Errorf("%v: got %v, want ErrMismatch", kt, err)
		}
		other := mustShare(t, kt, newStream("other")).Public()
		minusB := newShare(b.scalar().negate()).Public()
		if err := CheckShare(b, minusB, other); !errors.Is(err, ErrMismatch) {
			t.Errorf("%v: the identity passes as a key: %v", kt, err)
		}
		if err := CheckRefresh(other, b.Public(), minusB); !errors.Is(err, ErrMismatch) {
			t.Errorf("%v: the identity passes as B: %v", kt, err)
		}
		if _, err := ParsePrivate(b.Expose(), other); !errors.Is(err, ErrMismatch) {
			t.Errorf("%v: got %v, want ErrMismatch", kt, err)
		}
		if _, err := Combine(b, b, other); !errors.Is(err, ErrMismatch) {
			t.Errorf("%v: got %v, want ErrMismatch", kt, err)
		}
		if _, err := ParsePrivate(b.Expose(), Point{}); err == nil {
			t.Errorf("%v: a private key of no point", kt)
		}
	}
}
