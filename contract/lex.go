package contract

import (
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Limits of a source. They bound the cost of Compile on hostile input.
const (
	MaxSource = 64 << 10 // bytes of a source
	MaxDepth  = 32       // nesting of expressions and of if
	MaxName   = 64       // bytes of a name or of a word
)

// pos is a place in the source, from 1. Columns count bytes: whatever may stand before a token is ASCII.
type pos struct{ line, col int32 }

type tokenKind uint8

const (
	tEOF tokenKind = iota
	tName
	tNumber
	tString
	tPunct
	tBad // text holds what is wrong, mend how to mend it
)

// token is one word of the source. The text of a string is without its quotes.
type token struct {
	kind tokenKind
	text string
	mend string
	val  int64
	pos  pos
}

func (t token) String() string {
	switch t.kind {
	case tEOF:
		return "the end of the text"
	case tString:
		return strconv.Quote(t.text)
	case tNumber:
		return strconv.FormatInt(t.val, 10)
	}
	return "`" + t.text + "`"
}

// appendCanon appends the token as the canonical hash takes it: its text and a line feed, numbers in plain decimal.
func (t token) appendCanon(b []byte) []byte {
	switch t.kind {
	case tNumber:
		b = strconv.AppendInt(b, t.val, 10)
	case tString:
		b = append(append(append(b, '"'), t.text...), '"')
	default:
		b = append(b, t.text...)
	}
	return append(b, '\n')
}

// lexer cuts a source into tokens. It never looks further ahead than one token and allocates nothing.
type lexer struct {
	src       string
	off       int
	line      int32
	lineStart int
}

func (l *lexer) here() pos { return pos{l.line + 1, int32(l.off-l.lineStart) + 1} }

func (l *lexer) bad(at pos, what, mend string) token {
	return token{kind: tBad, text: what, mend: mend, pos: at}
}

// scan returns the next token; after the last one it returns tEOF for ever.
func (l *lexer) scan() token {
	if t := l.space(); t.kind == tBad {
		return t
	}
	at, start := l.here(), l.off
	if start == len(l.src) {
		return token{kind: tEOF, pos: at}
	}
	switch c := l.src[start]; {
	case isLetter(c):
		for l.off < len(l.src) && (isLetter(l.src[l.off]) || isDigit(l.src[l.off])) {
			l.off++
		}
		if l.off-start > MaxName {
			return l.bad(at, "this name is too long", fmt.Sprintf("a name has at most %d characters", MaxName))
		}
		return token{kind: tName, text: l.src[start:l.off], pos: at}
	case isDigit(c):
		return l.number(at)
	case c == '"':
		return l.text(at)
	}
	if n := punct(l.src[start:]); n > 0 {
		l.off += n
		return token{kind: tPunct, text: l.src[start:l.off], pos: at}
	}
	r, n := utf8.DecodeRuneInString(l.src[start:])
	l.off += n
	return l.bad(at, fmt.Sprintf("the character %q has no meaning here", r), "names are letters, digits and _; words stand in \"quotes\"; a comment begins with #")
}

// space skips blanks and comments. A comment may hold any text that looks like what it is: control characters and
// those that turn the direction of writing are refused, so that nobody signs something other than what he sees.
func (l *lexer) space() token {
	for l.off < len(l.src) {
		switch c := l.src[l.off]; c {
		case ' ', '\t', '\r':
			l.off++
		case '\n':
			l.off++
			l.line, l.lineStart = l.line+1, l.off
		case '#':
			for l.off < len(l.src) && l.src[l.off] != '\n' {
				r, n := utf8.DecodeRuneInString(l.src[l.off:])
				at := l.here()
				l.off += n
				if r == utf8.RuneError && n == 1 || r != '\t' && r != '\r' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
					return l.bad(at, "this comment holds an invisible or broken character", "remove it")
				}
			}
		default:
			return token{}
		}
	}
	return token{}
}

func (l *lexer) number(at pos) token {
	v, over := int64(0), false
	for ; l.off < len(l.src); l.off++ {
		c := l.src[l.off]
		if c == '_' && l.off+1 < len(l.src) && isDigit(l.src[l.off+1]) {
			continue
		}
		if !isDigit(c) {
			break
		}
		m, ok1 := muldiv(v, 10, 1)
		s, ok2 := add(m, int64(c-'0'))
		v, over = s, over || !ok1 || !ok2
	}
	if over {
		return l.bad(at, "this number is too great", "the greatest number is 9_223_372_036_854_775_807")
	}
	if l.off < len(l.src) && isLetter(l.src[l.off]) {
		return l.bad(at, "a number and a letter stand together", "put a space between them, or begin the name with a letter")
	}
	return token{kind: tNumber, val: v, pos: at}
}

func (l *lexer) text(at pos) token {
	l.off++
	start := l.off
	for l.off < len(l.src) && l.src[l.off] != '"' {
		if c := l.src[l.off]; c < ' ' || c > '~' || c == '\\' {
			return l.bad(at, "this word does not end on its line, or holds a character that a word may not hold", "a word is plain letters, digits, blanks and signs between two \"")
		}
		l.off++
	}
	if l.off == len(l.src) {
		return l.bad(at, "this word does not end", "close it with \"")
	}
	s := l.src[start:l.off]
	l.off++
	if s == "" || len(s) > MaxName || s[0] == ' ' || s[len(s)-1] == ' ' {
		return l.bad(at, "this word is empty, too long, or has a blank at an end", fmt.Sprintf("a word has 1 to %d characters", MaxName))
	}
	return token{kind: tString, text: s, pos: at}
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// punct returns the length of the sign that s begins with, or 0.
func punct(s string) int {
	if len(s) > 1 {
		switch s[:2] {
		case "..", "<=", ">=", "!=", "==", "->":
			return 2
		}
	}
	switch s[0] {
	case ':', ',', '=', '(', ')', '+', '-', '*', '/', '<', '>':
		return 1
	}
	return 0
}

// reserved tells that a name belongs to the language.
func reserved(s string) bool {
	switch s {
	case "contract", "parties", "term", "pot", "later", "counter", "oracle", "curve", "require", "phase", "until",
		"now", "when", "says", "say", "with", "in", "if", "then", "else", "end", "at", "open", "deadline", "deposit",
		"give", "all", "of", "to", "set", "next", "close", "and", "or", "not", "min", "max", "share", "left", "from",
		"each", "for", "units", "seconds", "minutes", "hours", "days", "weeks", "role":
		return true
	}
	return false
}
