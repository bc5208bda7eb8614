package contract

import (
	"testing"
	"unicode"
)

// TestInvisible holds the short way for ASCII to the tables that decide for all other characters.
func TestInvisible(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		want := r == unicode.ReplacementChar || r != '\t' && r != '\r' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
		if got := invisible(r); got != want {
			t.Errorf("%U: got %v, want %v", r, got, want)
		}
	}
}
