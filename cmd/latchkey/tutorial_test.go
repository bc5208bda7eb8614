package main

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var updateDocs = flag.Bool("update", false, "write what the commands of docs/contracts print into the pages")

// The pages of docs/contracts are true: every file that they show is written, every
// command that they show is run, one page in one folder, from its first line to its
// last, and prints what stands below it.
//
// A block that begins with ```latchkey NAME or ```text NAME is a file. In a block
// ```console a line "$ COMMAND" is a command, the lines "> …" right below it are
// what is typed, and the rest, up to the next command, is what it prints.
func TestDocs(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/contracts/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, page := range pages {
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			got := runPage(t, string(raw), t.TempDir())
			if *updateDocs {
				if err := os.WriteFile(page, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(raw), got); diff != "" && !*updateDocs {
				t.Errorf("%s shows something else than the commands print (-page +now); go test ./cmd/latchkey -run TestDocs -update\n%s", page, diff)
			}
		})
	}
}

// runPage returns a page with what its commands print.
func runPage(t *testing.T, page, dir string) string {
	var out strings.Builder
	lines := strings.SplitAfter(page, "\n")
	for i := 0; i < len(lines); i++ {
		out.WriteString(lines[i])
		info, ok := strings.CutPrefix(strings.TrimSpace(lines[i]), "```")
		if !ok || info == "" {
			continue
		}
		var block []string
		for i++; i < len(lines) && strings.TrimSpace(lines[i]) != "```"; i++ {
			block = append(block, lines[i])
		}
		kind, name, _ := strings.Cut(info, " ")
		switch {
		case kind == "console":
			out.WriteString(runBlock(t, block, dir))
		case name != "":
			if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(block, "")), 0o644); err != nil {
				t.Fatal(err)
			}
			fallthrough
		default:
			out.WriteString(strings.Join(block, ""))
		}
		if i < len(lines) {
			out.WriteString(lines[i])
		}
	}
	return out.String()
}

// runBlock runs the commands of a block, and returns it with what they print.
func runBlock(t *testing.T, block []string, dir string) string {
	var out strings.Builder
	for i := 0; i < len(block); i++ {
		line, ok := strings.CutPrefix(block[i], "$ ")
		if !ok {
			continue // what was printed the last time
		}
		out.WriteString(block[i])
		var typed strings.Builder
		for i+1 < len(block) && strings.HasPrefix(block[i+1], "> ") {
			i++
			out.WriteString(block[i])
			typed.WriteString(strings.TrimPrefix(block[i], "> "))
		}
		words := shellWords(line)
		if len(words) == 0 || words[0] != "latchkey" {
			t.Fatalf("%q is not a command of latchkey", line)
		}
		cmd := exec.Command(words[0], words[1:]...)
		var printed bytes.Buffer // of both streams, in order, as a terminal shows it
		cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, strings.NewReader(typed.String()), &printed, &printed
		if err := cmd.Run(); err != nil && !strings.Contains(printed.String(), "error: ") {
			t.Fatalf("%q: %v", line, err)
		}
		for text := range strings.Lines(printed.String()) {
			if text = strings.TrimPrefix(text, "> "); strings.HasPrefix(text, "$ ") || strings.HasPrefix(text, "```") {
				t.Fatalf("%q prints %q, which the page cannot show", line, text)
			}
			out.WriteString(strings.TrimRight(text, " \n") + "\n")
		}
	}
	return out.String()
}

// shellWords cuts a line at blanks outside of quotes.
func shellWords(line string) (words []string) {
	word, quote := "", byte(0)
	for i := range len(line) {
		switch c := line[i]; {
		case quote == 0 && (c == ' ' || c == '\n'):
			if word != "" {
				words = append(words, word)
			}
			word = ""
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		default:
			word += string(c)
		}
	}
	return words
}
