package contract

import (
	"fmt"
	"slices"
	"strings"
)

// Severity says whether a finding refuses a contract. The zero value is none.
type Severity uint8

// The severities.
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
	s := fmt.Sprintf("%s: %s; %s", f.Severity, f.What, f.Mend)
	if f.Line > 0 {
		s = fmt.Sprintf("line %d, column %d: %s", f.Line, f.Col, s)
	}
	return s
}

// Error is the refusal of a contract by Compile or Admit: at least one finding of severity error, warnings beside it,
// in the order of the source.
type Error struct{ Findings []Finding }

// Error lists the findings, one a line.
func (e *Error) Error() string {
	var lines []string
	for _, f := range e.Findings {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// maxFindings bounds what one run reports: after so many errors the rest is noise.
const maxFindings = 20

// findings collects what a stage finds, each once.
type findings struct {
	list   []Finding
	errors int
}

func (f *findings) add(at pos, sev Severity, what, mend string) {
	one := Finding{int(at.line), int(at.col), sev, what, mend}
	if len(f.list) >= 4*maxFindings || f.errors >= maxFindings || slices.Contains(f.list, one) {
		return
	}
	if sev == SeverityError {
		f.errors++
	}
	f.list = append(f.list, one)
}
