package picture

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/examples"
)

var update = flag.Bool("update", false, "write testdata/sums.txt anew")

// TestPortable holds the SVG of every picture of the library to the bytes that are the same on every processor. Those of the phases
// are also what docs/contracts/library has. .ci/run runs this on processors of other word sizes and byte orders, some of which
// add and multiply in one operation and round once.
func TestPortable(t *testing.T) {
	paths, err := fs.Glob(examples.Files, "*.latchkey")
	if err != nil {
		t.Fatal(err)
	}
	var sums strings.Builder
	for _, path := range paths {
		name := strings.TrimSuffix(path, ".latchkey")
		s, src := session(t, name)
		d, err := Phases(src)
		if err != nil {
			t.Fatal(err)
		}
		shown, err := os.ReadFile("../../docs/contracts/library/" + name + ".phases.svg")
		if err != nil {
			t.Fatal(err)
		}
		if string(shown) != string(d.SVG()) {
			t.Errorf("the phases of %s are drawn otherwise than in docs/contracts/library", name)
		}
		fmt.Fprintf(&sums, "%x %s.phases\n", sha256.Sum256(d.SVG()), name)
		p, err := NewPayoff(s, "", nil, 0, 0, nil)
		if errors.Is(err, ErrNothing) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&sums, "%x %s.payoff\n", sha256.Sum256(p.Drawing().SVG()), name)
	}
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("testdata/sums.txt", []byte(sums.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/sums.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), sums.String()); diff != "" {
		t.Errorf("other pictures than testdata/sums.txt has (-sums +now); go test ./studio/picture -run Portable -update, if they are meant:\n%s", diff)
	}
}
