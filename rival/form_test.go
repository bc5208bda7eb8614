package rival

import (
	"fmt"
	"strconv"
	"strings"
)

// A form is an atom or a list in parentheses: both assembly languages are written in
// them.
type form struct {
	atom string
	list []form
	line int
}

func (f form) is(head string) bool { return len(f.list) > 0 && f.list[0].atom == head }

// head returns the atom that a list begins with, and what follows it.
func (f form) head() (string, []form) {
	if len(f.list) == 0 {
		return f.atom, nil
	}
	return f.list[0].atom, f.list[1:]
}

func (f form) number() (int64, error) {
	n, err := strconv.ParseInt(f.atom, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("line %d: %q is no number", f.line, f.atom)
	}
	return n, nil
}

// parseForms reads a text; ;; begins a comment.
func parseForms(text string) ([]form, error) {
	stack := [][]form{nil}
	apart := strings.NewReplacer("(", " ( ", ")", " ) ")
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, ";;")
		for _, word := range strings.Fields(apart.Replace(line)) {
			top := len(stack) - 1
			switch {
			case word == "(":
				stack = append(stack, nil)
			case word == ")" && top == 0:
				return nil, fmt.Errorf("line %d: a parenthesis too many", n+1)
			case word == ")":
				stack[top-1] = append(stack[top-1], form{list: stack[top], line: n + 1})
				stack = stack[:top]
			default:
				stack[top] = append(stack[top], form{atom: word, line: n + 1})
			}
		}
	}
	if len(stack) > 1 {
		return nil, fmt.Errorf("a parenthesis is missing")
	}
	return stack[0], nil
}
