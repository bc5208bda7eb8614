package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/examples"
)

// shelves are the groups of the library, in the order of the page.
var shelves = []struct{ title, names string }{
	{"Payments and exchange", "pay swap swap-premium escrow"},
	{"Payments over time", "subscription salary inheritance"},
	{"Options", "call put call-cash put-cash collar"},
	{"Futures and differences", "future cfd perpetual"},
	{"Credit and savings", "loan repo note"},
	{"Auctions and bets", "auction-english auction-sealed bet prediction"},
	{"Pools", "insurance weather crowdfunding treasury"},
}

// payoffs say over which value the payoff of a contract is drawn, where the first one is not what it is about. "-": over none.
var payoffs = map[string][]string{
	"escrow":          {"--after", `seller says "dispute"`},
	"cfd":             {"--from", "60", "--to", "140"},
	"future":          {"--from", "400.00", "--to", "800.00"},
	"perpetual":       {"--after", `at 2026-06-01 oracle funding is 5`, "--after", `at 2026-06-01T08:00 oracle funding is 5`, "--after", `at 2026-06-01T16:00 oracle funding is 5`, "--after", `at 2026-06-02 oracle funding is 5`, "--of", "price", "--from", "400.00", "--to", "800.00"},
	"loan":            {"--after", "at 2026-09-01", "--from", "100.00", "--to", "1_200.00"},
	"note":            {"--after", "at 2026-06-01 oracle price is 500.00", "--after", "at 2026-08-31 oracle price is 500.00", "--after", "at 2026-11-30 oracle price is 500.00", "--from", "0.00", "--to", "900.00"},
	"insurance":       {"--after", "deadline", "--after", `holder says "damage" with 100`, "--after", `insurer 1 says "object"`},
	"auction-english": {"--of", "bid", "--from", "1", "--to", "12"},
	"repo":            {"-"},
	"treasury":        {"-"},
	"auction-sealed":  {"-"},
}

// TestLibrary holds docs/contracts/library.md and what it shows to the examples: one section for each, with the comment of
// its source, what `explain` says of it and what `plot` draws. go test ./cmd/latchkey -run TestLibrary -update writes them.
func TestLibrary(t *testing.T) {
	if !*updateDocs { // TestDocs reads the page as well
		t.Parallel()
	}
	var page strings.Builder
	page.WriteString(libraryHead)
	files := make(map[string][]byte)
	dir := t.TempDir()
	var shelved []string
	for _, shelf := range shelves {
		fmt.Fprintf(&page, "\n## %s\n", shelf.title)
		for _, name := range strings.Fields(shelf.names) {
			shelved = append(shelved, name+".latchkey")
			page.WriteString(section(t, name, dir, files))
		}
	}
	paths, err := fs.Glob(examples.Files, "*.latchkey")
	if err != nil {
		t.Fatal(err)
	}
	if slices.Sort(shelved); !slices.Equal(shelved, paths) {
		t.Errorf("on the shelves are\n%q, in examples/\n%q", shelved, paths)
	}
	files["../library.md"] = []byte(page.String())

	folder := "../../docs/contracts/library"
	if *updateDocs {
		replaceFiles(t, folder, files)
	}
	for name, want := range files {
		path := filepath.Join(folder, name)
		got, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("%v; go test ./cmd/latchkey -run TestLibrary -update", err)
			continue
		}
		if strings.HasSuffix(name, ".svg") {
			if !bytes.Equal(got, want) {
				t.Errorf("%s is another picture than is drawn now; go test ./cmd/latchkey -run TestLibrary -update", path)
			}
			continue
		}
		if diff := cmp.Diff(string(got), string(want)); diff != "" {
			t.Errorf("%s is not up to date (-page +now); go test ./cmd/latchkey -run TestLibrary -update\n%s", path, diff)
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if files[e.Name()] == nil {
			t.Errorf("%s/%s belongs to no example", folder, e.Name())
		}
	}
}

// replaceFiles makes a folder hold these files. Each is there, old or new, all the time: tests of other packages, which run beside
// this one, read them too.
func replaceFiles(t *testing.T, folder string, files map[string][]byte) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		path := filepath.Join(folder, name)
		if got, err := os.ReadFile(path); err == nil && bytes.Equal(got, want) {
			continue
		}
		if err := os.WriteFile(path+".new", want, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if files[e.Name()] == nil {
			if err := os.RemoveAll(filepath.Join(folder, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
}

const libraryHead = `# The library

Contracts to take as they are, or to begin with: ` + "`latchkey contract new NAME --template call`" + `. Each is checked for all terms, explored for
those of its scenarios, and played in them. What stands here is made from ` + "`examples/`" + ` by a test: the paragraphs are the comments of
the sources, the rest is what ` + "`latchkey contract explain` and `plot`" + ` say and draw. Read "who would cheat" before you sign: it also says what a
contract cannot protect from. For all of them: units count what chunks were worth when they were deposited, and what a contract cannot make of its
chunks it does not give; look at ` + "`latchkey contract explore`" + ` with your own terms and chunks.

All of them can be written, tested and played, and vaults run them.
`

var contractLine = regexp.MustCompile(`(?m)^contract (\w+)`)

// section is what the page says of one contract. It puts the files that it refers to into files.
func section(t *testing.T, name, dir string, files map[string][]byte) string {
	t.Helper()
	for _, ext := range []string{".latchkey", ".scenario"} {
		text, err := examples.Files.ReadFile(name + ext)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+ext), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	src, err := examples.Files.ReadFile(name + ".latchkey")
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(dir, name+".latchkey")
	var explained, talk bytes.Buffer
	if status := run(context.Background(), []string{"contract", "explain", source}, &explained, &talk); status != 0 {
		t.Fatalf("explain %s: %s", name, &talk)
	}
	files[name+".txt"] = explained.Bytes()
	over := payoffs[name]
	plot := []string{"contract", "plot", source, "--out", dir}
	if len(over) > 1 {
		plot = append(plot, over...)
	}
	if status := run(context.Background(), plot, &talk, &talk); status != 0 {
		t.Fatalf("plot %s: %s", name, &talk)
	}
	at := contractLine.FindSubmatchIndex(src)
	var b strings.Builder
	fmt.Fprintf(&b, "\n### %s\n\n", src[at[2]:at[3]])
	cheat := false
	for line := range strings.Lines(string(src[:at[0]])) {
		line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), "#"), " ")
		if rest, ok := strings.CutPrefix(line, "Who would cheat: "); ok {
			line, cheat = "*Who would cheat:* "+rest, true
		}
		b.WriteString(line + "\n")
	}
	if !cheat {
		t.Errorf("%s does not say who would cheat", name)
	}
	fmt.Fprintf(&b, "\n[source](../../examples/%s.latchkey) · [scenarios](../../examples/%s.scenario) · [explained](library/%s.txt)\n", name, name, name)
	for _, kind := range []string{"phases", "payoff"} {
		drawn, err := os.ReadFile(filepath.Join(dir, name+"."+kind+".svg"))
		if err != nil || kind == "payoff" && slices.Equal(over, []string{"-"}) {
			if len(over) > 1 {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		files[name+"."+kind+".svg"] = drawn
		fmt.Fprintf(&b, "\n![%s of %s](library/%s.%s.svg)\n", kind, name, name, kind)
	}
	return b.String()
}
