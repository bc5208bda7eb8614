package contract

import (
	"fmt"
	"strconv"
	"strings"
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
	tSign
	tBad // text says what is wrong, mend how to mend it
)

// token is one word of the source. A string's text is without its quotes.
type token struct {
	kind       tokenKind
	text, mend string
	val        int64
	money      bool // of a number: it is written with two decimals, and val counts hundredths
	pos        pos
}

func (t token) String() string {
	if t.kind == tEOF {
		return "the end of the text"
	}
	return "`" + strings.TrimSuffix(string(t.appendCanon(nil)), "\n") + "`"
}

// appendCanon appends the token as Program.Hash takes it: its text and a line feed, numbers in plain decimal.
func (t token) appendCanon(b []byte) []byte {
	switch t.kind {
	case tNumber:
		if t.money {
			b = fmt.Appendf(b, "%d.%02d", t.val/100, t.val%100)
		} else {
			b = strconv.AppendInt(b, t.val, 10)
		}
	case tString:
		b = append(append(append(b, '"'), t.text...), '"')
	default:
		b = append(b, t.text...)
	}
	return append(b, '\n')
}

// lexer cuts a source into tokens. It looks one character ahead and allocates nothing.
type lexer struct {
	src       string
	off       int
	line      int32
	lineStart int
}

// here is where the lexer stands.
func (l *lexer) here() pos { return pos{l.line + 1, int32(l.off-l.lineStart) + 1} }

// scan returns the next token; after the last one it returns tEOF for ever.
func (l *lexer) scan() token {
	if at, ok := l.space(); !ok {
		return token{kind: tBad, pos: at, text: "this comment holds an invisible or broken character", mend: "remove it"}
	}
	t, start := token{pos: l.here()}, l.off
	if start == len(l.src) {
		return t
	}
	rest := l.src[start:]
	switch c := rest[0]; {
	case isLetter(c):
		n := 1
		for n < len(rest) && (isLetter(rest[n]) || isDigit(rest[n])) {
			n++
		}
		l.off += n
		t.kind, t.text = tName, rest[:n]
		if n > MaxName {
			t.kind, t.text, t.mend = tBad, "this name is too long", fmt.Sprintf("a name has at most %d characters", MaxName)
		}
	case isDigit(c):
		l.number(&t, rest)
	case c == '"':
		n := strings.IndexByte(rest[1:], '"')
		l.off++
		if n < 1 || n > MaxName || strings.ContainsFunc(rest[1:n+1], func(r rune) bool { return r < ' ' || r > '~' || r == '\\' }) || rest[1] == ' ' || rest[n] == ' ' {
			t.kind, t.text = tBad, "this word does not end on its line, is empty or too long, or holds what a word may not hold"
			t.mend = fmt.Sprintf("a word is 1 to %d letters, digits, signs and blanks between two \", and has no blank at an end", MaxName)
			return t
		}
		l.off += n + 1
		t.kind, t.text = tString, rest[1:n+1]
	default:
		for n := min(2, len(rest)); n > 0; n-- {
			switch sign := rest[:n]; sign {
			case "..", "->", "<=", ">=", "!=", "==", ":", ",", "=", "(", ")", "+", "-", "*", "/", "<", ">":
				l.off += n
				t.kind, t.text = tSign, sign
				return t
			}
		}
		r, n := utf8.DecodeRuneInString(rest)
		l.off += n
		t.kind, t.text = tBad, fmt.Sprintf("the character %q has no meaning here", r)
		t.mend = "names are letters, digits and _; words stand in \"quotes\"; a comment begins with #"
		if mend := map[rune]string{'\'': "words stand in \"quotes\"", ';': "leave it out: nothing stands between two statements", '%': "write share(amount, 50, 100)", '&': "write `and`", '|': "write `or`", '!': "write `not`, or `!=`", '{': "what is done follows a colon", 0xfeff: "save the file without a byte order mark", utf8.RuneError: "save the file as plain text"}[r]; mend != "" {
			t.mend = mend
		}
	}
	return t
}

// number reads digits, which may be grouped by _.
func (l *lexer) number(t *token, rest string) {
	n := 0
	for n < len(rest) && (isDigit(rest[n]) || rest[n] == '_') {
		n++
	}
	digits := strings.ReplaceAll(rest[:n], "_", "")
	if n+1 < len(rest) && rest[n] == '.' && isDigit(rest[n+1]) {
		end := n + 1
		for end < len(rest) && isDigit(rest[end]) {
			end++
		}
		t.money, digits = true, digits+rest[n+1:end]
		if end-n != 3 {
			l.off += end
			t.kind, t.text, t.mend = tBad, "this amount of money has not two decimals", "write `12.50`; other fractions are counted in whole numbers, as basis points"
			return
		}
		n = end
	}
	l.off += n
	v, err := strconv.ParseInt(digits, 10, 64)
	switch t.kind, t.val = tNumber, v; {
	case err != nil:
		t.kind, t.text, t.mend = tBad, "this number is too great", "the greatest number is 9_223_372_036_854_775_807"
	case n < len(rest) && isLetter(rest[n]):
		t.kind, t.text, t.mend = tBad, "a number and a letter stand together", "put a blank between them, or begin the name with a letter"
	}
}

// space skips blanks and comments. A comment may hold any text that looks like what it is: control characters and
// those that turn the direction of writing are refused, so that nobody signs something other than what he sees.
func (l *lexer) space() (at pos, ok bool) {
	for ; l.off < len(l.src); l.off++ {
		switch l.src[l.off] {
		case ' ', '\t', '\r':
		case '\n':
			l.line, l.lineStart = l.line+1, l.off+1
		case '#':
			text, _, _ := strings.Cut(l.src[l.off:], "\n")
			n := 0 // nearly every comment is ASCII, and to look at runes takes its time
			for n < len(text) && (text[n] >= ' ' && text[n] < 0x7f || text[n] == '\t') {
				n++
			}
			l.off += len(text) - 1
			if bad := strings.IndexFunc(text[n:], invisible); bad >= 0 {
				at = pos{l.line + 1, int32(l.off-l.lineStart-len(text)+n+bad) + 2}
				l.off++
				return at, false
			}
		default:
			return at, true
		}
	}
	return at, true
}

func invisible(r rune) bool {
	return r != '\t' && r != '\r' && (r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp))
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// isReserved tells that a word belongs to the language.
func isReserved(name string) bool {
	switch name {
	case "all", "and", "any", "at", "close", "contract", "count", "counter", "curve", "deadline", "deposit", "each", "else",
		"end", "filled", "for", "from", "give", "if", "in", "later", "least", "left", "max", "min", "most", "next", "not",
		"now", "of", "open", "opened", "or", "oracle", "parties", "phase", "pot", "require", "role", "say", "says", "sealed",
		"set", "share", "stay", "sum", "term", "then", "to", "until", "when", "with", "units", "seconds", "minutes", "hours",
		"days", "weeks":
		return true
	}
	return false
}
