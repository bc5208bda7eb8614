package contract

import (
	"fmt"
	"strings"
)

// Severity says whether a finding refuses a contract.
type Severity uint8

// The severities. The zero value is not one.
const (
	SeverityError   Severity = 1 + iota // the contract is refused
	SeverityWarning                     // worth reading before signing, refuses nothing
)

// String returns "error" or "warning".
func (s Severity) String() string {
	if s == SeverityWarning {
		return "warning"
	}
	return "error"
}

// Finding is one thing wrong, or worth knowing, at one place of a source. Line and column count from 1; a finding
// that belongs to no place has line 0.
type Finding struct {
	Line, Col int
	Severity  Severity
	What      string // what is wrong
	Mend      string // how to mend it
}

// String is one line of text: place, severity, what, mend.
func (f Finding) String() string {
	var b strings.Builder
	if f.Line > 0 {
		fmt.Fprintf(&b, "line %d, column %d: ", f.Line, f.Col)
	}
	fmt.Fprintf(&b, "%s: %s", f.Severity, f.What)
	if f.Mend != "" {
		b.WriteString("; " + f.Mend)
	}
	return b.String()
}

// Error is the refusal of a contract by Compile, Bind or Admit: at least one finding of severity error, warnings
// beside it, in the order of the source.
type Error struct{ Findings []Finding }

// Error lists the findings, one a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// maxFindings bounds what one run reports: after so many, the rest is noise.
const maxFindings = 20

// findings collects what a stage finds, each once.
type findings struct {
	list   []Finding
	errors int
}

// full tells that reading on is of no use to anybody.
func (f *findings) full() bool { return f.errors >= maxFindings }

func (f *findings) add(at pos, sev Severity, what, mend string) {
	one := Finding{Line: int(at.line), Col: int(at.col), Severity: sev, What: what, Mend: mend}
	if len(f.list) >= 4*maxFindings || sev == SeverityError && f.full() {
		return
	}
	for _, g := range f.list {
		if g == one {
			return
		}
	}
	if sev == SeverityError {
		f.errors++
	}
	f.list = append(f.list, one)
}
