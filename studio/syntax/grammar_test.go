package syntax

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"latchkey/contract"
)

// grammar is a TextMate grammar of the simplest kind: patterns that are tried at
// each place, the first that matches earliest wins.
type grammar struct {
	ScopeName string
	FileTypes []string
	Patterns  []struct {
		Name     string
		Match    string
		Captures map[string]struct{ Name string }
		re       *regexp.Regexp
	}
}

func readGrammar(t *testing.T) *grammar {
	t.Helper()
	raw, err := os.ReadFile("../../editors/latchkey.tmLanguage.json")
	if err != nil {
		t.Fatal(err)
	}
	var g grammar
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	for i := range g.Patterns {
		if g.Patterns[i].re, err = regexp.Compile(g.Patterns[i].Match); err != nil {
			t.Fatalf("pattern %d: %v", i, err)
		}
	}
	return &g
}

// paint returns the scope of each byte of a line, as an editor would.
func (g *grammar) paint(line string) []string {
	scopes := make([]string, len(line))
	for at := 0; at < len(line); {
		best, first := []int(nil), -1
		for i := range g.Patterns {
			m := g.Patterns[i].re.FindStringSubmatchIndex(line[at:])
			// \b looks at what stands before, which is cut off here: a match at once
			// in the middle of a word is none.
			if m != nil && (m[0] > 0 || at == 0 || !isWord(line[at-1]) || !isWord(line[at])) && (best == nil || m[0] < best[0]) {
				best, first = m, i
			}
		}
		if best == nil {
			break
		}
		p := g.Patterns[first]
		for j := at + best[0]; j < at+best[1]; j++ {
			scopes[j] = p.Name
		}
		for k, c := range p.Captures {
			n := int(k[0] - '0')
			for j := at + best[2*n]; j < at+best[2*n+1]; j++ {
				scopes[j] = c.Name
			}
		}
		at += max(best[1], 1)
	}
	return scopes
}

func isWord(c byte) bool { return letter(c) || digit(c) }

// The colours of an editor agree with the language: a word of it has a scope of
// its own, numbers, strings and comments have theirs, and names have none or that
// of a declaration.
func TestGrammar(t *testing.T) {
	g := readGrammar(t)
	if g.ScopeName != "source.latchkey" || len(g.FileTypes) != 1 || g.FileTypes[0] != "latchkey" {
		t.Errorf("scope %q, file types %q", g.ScopeName, g.FileTypes)
	}
	for name, src := range sources(t) {
		if _, err := contract.Compile(src); err != nil {
			continue
		}
		tokens, err := Scan(src)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(src), "\n")
		painted := make([][]string, len(lines))
		for i, l := range lines {
			painted[i] = g.paint(l)
			if at := strings.IndexByte(l, '#'); at >= 0 && !strings.Contains(l[:at], `"`) && painted[i][len(strings.TrimRight(l, "\r"))-1] != "comment.line.number-sign.latchkey" {
				t.Errorf("%s: the comment of %q is not painted as one", name, l)
			}
		}
		for _, tok := range tokens {
			if tok.Kind == EOF {
				continue
			}
			scopes := painted[tok.Line-1][tok.Col-1 : tok.Col-1+len(tok.Text)]
			for _, s := range scopes {
				if s != scopes[0] {
					t.Errorf("%s: %q is painted %q", name, tok.Text, scopes)
					break
				}
			}
			got, want := scopes[0], ""
			switch {
			case tok.Kind == Number:
				want = "constant.numeric.latchkey"
			case tok.Kind == String:
				want = "string.quoted.double.latchkey"
			case tok.Kind == Name && Reserved(tok.Text):
				if got == "" || strings.HasPrefix(got, "variable") || strings.HasPrefix(got, "entity") {
					t.Errorf("%s: the word %q is painted %q", name, tok.Text, got)
				}
				continue
			case tok.Kind == Name:
				switch got {
				case "", "variable.other.declaration.latchkey", "entity.name.type.latchkey":
				default:
					if !strings.HasPrefix(got, "support.type.unit") { // number, time and the like are names, and types in a term
						t.Errorf("%s: the name %q is painted %q", name, tok.Text, got)
					}
				}
				continue
			default:
				if got == "" {
					t.Errorf("%s: the sign %q is not painted", name, tok.Text)
				}
				continue
			}
			if got != want {
				t.Errorf("%s: %q is painted %q, want %q", name, tok.Text, got, want)
			}
		}
	}
}

func TestEditorsHaveOneGrammar(t *testing.T) {
	a, err := os.ReadFile("../../editors/latchkey.tmLanguage.json")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("../../editors/vscode/latchkey.tmLanguage.json")
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("editors/vscode has another grammar than editors (%v)", err)
	}
	for _, name := range []string{"package.json", "language-configuration.json"} {
		raw, err := os.ReadFile("../../editors/vscode/" + name)
		if err != nil || !json.Valid(raw) {
			t.Errorf("editors/vscode/%s is no JSON (%v)", name, err)
		}
	}
}
