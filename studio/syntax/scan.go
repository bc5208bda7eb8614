// Package syntax reads a contract for those who show it: the formatter, the
// explanations, the editor. It keeps what the compiler throws away (comments, the
// way a number is grouped, where each thing stands) and decides nothing: whether
// a contract is one, contract.Compile says.
//
// Scan cuts a source into tokens, Parse finds the structure in them, Format lays
// them out. What cannot be understood is an *Error with its place.
package syntax

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind says what a token is.
type Kind uint8

// The kinds. A word of the language is a Name too: see Reserved.
const (
	EOF Kind = iota
	Name
	Number
	String
	Sign
)

// Token is one word of a source, with the comments around it.
type Token struct {
	Kind      Kind
	Text      string    // as it is written; a string with its quotes
	Line, Col int       // from 1, columns in bytes
	Off       int       // bytes before it
	Lead      []Comment // on lines of their own before it
	Trail     string    // behind it on its line, with its #
	Blank     bool      // a blank line stands before it, after the comments
}

// Comment is a comment on a line of its own.
type Comment struct {
	Text  string // with its #
	Blank bool   // a blank line stands before it
}

// End returns the offset behind the token.
func (t Token) End() int { return t.Off + len(t.Text) }

// Is tells that the token is this word of the language, or this sign.
func (t Token) Is(s string) bool { return (t.Kind == Name || t.Kind == Sign) && t.Text == s }

// Unquoted returns a string without its quotes, any other token as it is.
func (t Token) Unquoted() string {
	if t.Kind == String {
		return t.Text[1 : len(t.Text)-1]
	}
	return t.Text
}

// Error says what cannot be understood, and where.
type Error struct {
	Line, Col int
	What      string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Col, e.What) }

var signs = []string{"..", "<=", ">=", "!=", "==", "->", ":", ",", "=", "(", ")", "+", "-", "*", "/", "<", ">"}

// reserved are the words of the language, of spec/contract.md.
var reserved = strings.Fields(`all and any at close contract count counter curve days deadline deposit each else end filled
	for from give hours if in later least left max min minutes most next not now of open opened or oracle parties phase pot
	require role say says sealed seconds set share stay sum term then to units until weeks when with`)

// units are the words that may stand behind a number.
var units = []string{"units", "seconds", "minutes", "hours", "days", "weeks"}

// Reserved tells that a name belongs to the language.
func Reserved(name string) bool { return slices.Contains(reserved, name) }

// Words returns the words of the language, sorted.
func Words() []string { return slices.Clone(reserved) }

// Scan cuts a source into tokens; the last one is EOF and has the comments at the end.
func Scan(src []byte) ([]Token, error) {
	s := string(src)
	var list []Token
	var t Token // the next one, while its comments are read
	line, start, newlines := 1, 0, 1
	for off := 0; ; {
		if off == len(s) {
			t.Line, t.Col, t.Off, t.Blank = line, off-start+1, off, newlines > 1
			return append(list, t), nil
		}
		switch c := s[off]; {
		case c == ' ' || c == '\t' || c == '\r':
			off++
		case c == '\n':
			off++
			line, start, newlines = line+1, off, newlines+1
		case c == '#':
			text, _, _ := strings.Cut(s[off:], "\n")
			off += len(text)
			if text = strings.TrimRight(text, " \t\r"); newlines == 0 && len(list) > 0 {
				list[len(list)-1].Trail = text
			} else {
				t.Lead = append(t.Lead, Comment{text, newlines > 1 && (len(list) > 0 || len(t.Lead) > 0)})
				newlines = 0
			}
		default:
			t.Line, t.Col, t.Off, t.Blank = line, off-start+1, off, newlines > 1
			if t.Kind, t.Text = word(s[off:]); t.Text == "" {
				r, _ := utf8.DecodeRuneInString(s[off:])
				return nil, &Error{t.Line, t.Col, fmt.Sprintf("the character %q has no meaning here", r)}
			}
			off += len(t.Text)
			list, t, newlines = append(list, t), Token{}, 0
		}
	}
}

// word returns the token with which s begins, an empty text if there is none.
func word(s string) (Kind, string) {
	n := 0
	switch c := s[0]; {
	case letter(c):
		for n < len(s) && (letter(s[n]) || digit(s[n])) {
			n++
		}
		return Name, s[:n]
	case digit(c):
		for n < len(s) && (digit(s[n]) || s[n] == '_') {
			n++
		}
		if n+1 < len(s) && s[n] == '.' && digit(s[n+1]) { // an amount of money
			for n++; n < len(s) && digit(s[n]); {
				n++
			}
		}
		return Number, s[:n]
	case c == '"':
		if n = strings.IndexAny(s[1:], "\"\n"); n < 0 || s[n+1] == '\n' {
			return String, ""
		}
		return String, s[:n+2]
	}
	for _, sign := range signs {
		if strings.HasPrefix(s, sign) {
			return Sign, sign
		}
	}
	return Sign, ""
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }

// Value returns the number that a token writes, of money the hundredths, 0 for any other token.
func (t Token) Value() int64 {
	v, err := strconv.ParseInt(strings.NewReplacer("_", "", ".", "").Replace(t.Text), 10, 64)
	if t.Kind != Number || err != nil {
		return 0
	}
	return v
}

// Sum is over what counts in a source, as section 6 of spec/contract.md lays it
// out: two sources with one sum are one contract. It is there for those that do
// not compile as well.
func Sum(tokens []Token) [32]byte {
	b := []byte("latchkey contract v1\n")
	for _, t := range tokens {
		switch {
		case t.Kind == EOF:
			continue
		case t.Kind == Number:
			text := strings.TrimLeft(strings.ReplaceAll(t.Text, "_", ""), "0")
			if text == "" || text[0] == '.' {
				text = "0" + text
			}
			b = append(b, text...)
		default:
			b = append(b, t.Text...)
		}
		b = append(b, '\n')
	}
	return sha256.Sum256(b)
}
