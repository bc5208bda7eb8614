package syntax

import (
	"slices"
	"strings"
)

// width is how long a line may be before it is broken.
const width = 120

// Format lays a contract out: one declaration, clause or statement a line, two
// blanks for each level, a blank line before each phase. It keeps comments and
// single blank lines, and changes no token, so that the contract's hash stays
// what it was. Formatting what is formatted changes nothing.
func Format(src []byte) ([]byte, error) {
	f, err := Parse(src)
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	lines := f.joined()
	for i, l := range lines {
		end := len(f.Tokens) - 1
		if i+1 < len(lines) {
			end = lines[i+1].first
		}
		opens := i == 0 || l.indent > lines[i-1].indent // nothing stands between a head and its body
		f.line(&out, l, end, opens)
	}
	last := f.Tokens[len(f.Tokens)-1]
	for _, c := range last.Lead {
		if c.Blank {
			out.WriteByte('\n')
		}
		out.WriteString(c.Text + "\n")
	}
	return []byte(out.String()), nil
}

// joined returns the lines, with a short statement on the line of its clause
// where both fit and no comment stands between them.
func (f *File) joined() []line {
	var list []line
	for i, l := range f.lines {
		end := len(f.Tokens) - 1
		if i+1 < len(f.lines) {
			end = f.lines[i+1].first
		}
		if l.short && len(f.Tokens[l.first].Lead) == 0 && f.Tokens[l.first-1].Trail == "" {
			if head := list[len(list)-1]; 2*head.indent+len(f.Text(Span{head.first, end})) <= width {
				continue
			}
		}
		list = append(list, l)
	}
	return list
}

// line writes the tokens of one line, with the comments between them before it
// and those at ends of lines behind it.
func (f *File) line(out *strings.Builder, l line, end int, opens bool) {
	indent := strings.Repeat("  ", l.indent)
	first := f.Tokens[l.first]
	lead := slices.Clone(first.Lead)
	gap := l.gap || first.Blank && len(lead) == 0
	for _, t := range f.Tokens[l.first+1 : end] {
		for _, c := range t.Lead {
			lead = append(lead, Comment{c.Text, false})
		}
	}
	for i, c := range lead {
		if (c.Blank || i == 0 && gap) && !(i == 0 && opens) {
			out.WriteByte('\n')
		}
		out.WriteString(indent + c.Text + "\n")
	}
	if len(lead) == 0 && gap && !opens || len(first.Lead) > 0 && len(lead) == len(first.Lead) && first.Blank {
		out.WriteByte('\n')
	}
	out.WriteString(indent)
	f.broken(out, l, end, len(indent))
	var trail []string
	for _, t := range f.Tokens[l.first:end] {
		if t.Trail != "" {
			trail = append(trail, t.Trail)
		}
	}
	if len(trail) > 0 {
		out.WriteString("  " + strings.Join(trail, " "))
	}
	out.WriteByte('\n')
}

// broken writes tokens, in several lines if they are too long for one: a line is
// broken before an operator that joins conditions or sums, before `if`, behind a comma.
func (f *File) broken(out *strings.Builder, l line, end, col int) {
	depth, from := 0, l.first
	for from < end {
		stop, used, best := from, col, -1
		d := depth
		for ; stop < end; stop++ {
			n := len(f.Tokens[stop].Text)
			if stop > from && f.spaced(stop, d) {
				n++
			}
			if stop > from && f.breaks(stop) {
				best = stop
			}
			if used += n; used > width && best > from {
				break
			}
			d = nesting(d, f.Tokens[stop])
		}
		if stop < end {
			stop = best
		}
		for i := from; i < stop; i++ {
			if i > from && f.spaced(i, depth) {
				out.WriteByte(' ')
			}
			depth = nesting(depth, f.Tokens[i])
			out.WriteString(f.Tokens[i].Text)
		}
		if from = stop; from < end {
			col = 2*l.indent + 6
			out.WriteString("\n" + strings.Repeat(" ", col))
		}
	}
}

func (f *File) breaks(i int) bool {
	t := f.Tokens[i]
	return t.Is("and") || t.Is("or") || t.Is("if") || t.Is("of") || t.Is("to") || t.Is("until") || t.Is("from") || f.Tokens[i-1].Is(",") || (t.Is("+") || t.Is("-")) && !f.unary(i)
}

var functions = []string{"share", "min", "max", "left", "filled", "sealed", "sum", "most", "least", "count"}

// nesting returns the depth of parentheses behind a token.
func nesting(depth int, t Token) int {
	switch {
	case t.Is("("):
		return depth + 1
	case t.Is(")"):
		return depth - 1
	}
	return depth
}

// unary tells that the sign at i has nothing on its left.
func (f *File) unary(i int) bool {
	if !f.Tokens[i].Is("-") || i == 0 {
		return false
	}
	p := f.Tokens[i-1]
	return p.Kind == Sign && !p.Is(")") || p.Kind == Name && Reserved(p.Text) && !f.unit(i-1)
}

// unit tells that the token at i is the unit of a number.
func (f *File) unit(i int) bool {
	return i > 0 && f.Tokens[i-1].Kind == Number && slices.Contains(units, f.Tokens[i].Text)
}

// spaced tells whether a blank stands before token i, at this depth of
// parentheses. Within them sums and products are written close, as `a*b`.
func (f *File) spaced(i, depth int) bool {
	before, t := f.Tokens[i-1], f.Tokens[i]
	operator := func(i int) bool {
		return strings.Contains("+-*/", f.Tokens[i].Text) && f.Tokens[i].Kind == Sign && !f.unary(i)
	}
	close := func(i int) bool { return depth > 0 && operator(i) && !f.unit(i-1) && !f.unit(i+2) }
	switch {
	case t.Is(","), t.Is(")"), before.Is("("), f.unary(i - 1):
		return false
	case t.Is(":"):
		return f.declares(i)
	case t.Is("("):
		return before.Kind != Name || Reserved(before.Text) && !slices.Contains(functions, before.Text)
	case t.Is(".."):
		return f.wide(i)
	case before.Is(".."):
		return f.wide(i - 1)
	case close(i), close(i - 1):
		return false
	}
	return true
}

// declares tells that the colon at i stands behind a declared name.
func (f *File) declares(i int) bool {
	return i >= 2 && (f.Tokens[i-2].Is("term") || f.Tokens[i-2].Is("curve"))
}

// wide tells that an end of the range around the sign at i has a unit.
func (f *File) wide(i int) bool {
	n := i + 2
	if f.Tokens[i+1].Is("-") {
		n++
	}
	return f.unit(i-1) || n < len(f.Tokens) && f.unit(n)
}
