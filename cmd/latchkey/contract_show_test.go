package main

import (
	"strings"
	"testing"

	"latchkey/contract"
)

// TestShowFindings checks that a stranger's source cannot steer the terminal on which its mistakes are shown, nor fill it.
func TestShowFindings(t *testing.T) {
	var b strings.Builder
	src := "contract \x1b[31mX\n" + strings.Repeat("x", maxShown+1) + "\n"
	showFindings(&b, "x.latchkey", []byte(src), []contract.Finding{{Line: 1, Col: 10, What: "one", Mend: "so"}, {Line: 2, Col: 5, What: "two", Mend: "so"}})
	want := "x.latchkey:1:10: error: one\n    contract ?[31mX\n             ^\n    to mend it: so\nx.latchkey:2:5: error: two\n    to mend it: so\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
