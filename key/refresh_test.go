package key

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

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
			r, bNew, R, BNew, err := Refresh(b, bytes.NewReader(seed))
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
	if _, _, _, _, err := Refresh(Share{}, newStream("r")); err == nil || err.Error() != "refresh: no share" {
		t.Errorf("no share: got %v", err)
	}
	for _, kt := range bothTypes {
		b := mustShare(t, kt, newStream("b"))
		before := b.Expose()
		for name, rand := range map[string][]byte{"r = b": wideOf(b), "r = 0": make([]byte, 64), "no randomness": nil} {
			r, bNew, R, BNew, err := Refresh(b, bytes.NewReader(rand))
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
