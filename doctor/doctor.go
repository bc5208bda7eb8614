// Package doctor finds what is wrong with a set-up: it reads the configuration of
// a role as its program does, looks at the files that it names, and asks those
// whom it would call. It changes nothing and holds no secret.
package doctor

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"time"

	"latchkey/tomlfile"
)

// A Result is how one check ended.
type Result string

// Results of a check.
const (
	OK      Result = "ok"
	Warning Result = "warning" // it works, and will not always
	Problem Result = "error"   // it does not work
)

// A Finding is one thing that was looked at.
type Finding struct {
	Check  string `json:"check"`
	Result Result `json:"result"`
	What   string `json:"what"`
	Mend   string `json:"mend,omitempty"`
}

// A Report is what an examination found.
type Report struct {
	File     string    `json:"file"`
	Role     string    `json:"role"`
	Findings []Finding `json:"findings"`
}

// Worst returns the worst result of a report.
func (r Report) Worst() Result {
	worst := OK
	for _, f := range r.Findings {
		if f.Result == Problem || f.Result == Warning && worst == OK {
			worst = f.Result
		}
	}
	return worst
}

// marks are fields that only one role's file has.
var marks = []struct{ field, role string }{
	{"switchboard", "client"}, {"wallet", "client"}, {"witness", "escrow"}, {"contracts", "switchboard"}, {"market", "switchboard"},
	{"logs", "witness"}, {"key_file", "witness"}, {"platform", "vault"},
}

// An exam is one examination.
type exam struct {
	ctx    context.Context
	report Report
	now    func() time.Time
	skews  []skew // of clocks met on the way
	client *http.Client
}

func (e *exam) add(r Result, check, mend, format string, args ...any) {
	e.report.Findings = append(e.report.Findings, Finding{check, r, fmt.Sprintf(format, args...), mend})
}

func (e *exam) ok(check, format string, args ...any) { e.add(OK, check, "", format, args...) }

func (e *exam) warn(check, mend, format string, args ...any) {
	e.add(Warning, check, mend, format, args...)
}

func (e *exam) fail(check, mend, format string, args ...any) {
	e.add(Problem, check, mend, format, args...)
}

// patience bounds each question to another process.
const patience = 8 * time.Second

// Examine examines the configuration file at a path. role is client,
// escrow, switchboard, witness or vault, or empty: then the file says which. It takes as long as the slowest of those asked,
// some seconds each at most.
func Examine(ctx context.Context, path, role string, now func() time.Time) Report {
	e := &exam{ctx: ctx, now: now, report: Report{File: path, Role: role, Findings: []Finding{}}}
	if !e.file(path) {
		return e.report
	}
	if e.report.Role == "" && !e.recognise(path) {
		return e.report
	}
	switch e.report.Role {
	case "client":
		e.clientRole(path)
	case "escrow":
		e.escrowRole(path)
	case "switchboard":
		e.switchboardRole(path)
	case "witness":
		e.witnessRole(path)
	case "vault":
		e.vaultRole(path, "")
	default:
		e.fail("role", "client, escrow, switchboard, witness or vault", "%q is no role", role)
	}
	e.clocks()
	return e.report
}

// file looks at the configuration file itself.
func (e *exam) file(path string) bool {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		e.fail("file", "name the file with --config; docs/run.md shows how to write one", "%v", err)
		return false
	case info.IsDir():
		e.fail("file", "name the file with --config", "%s is a folder", path)
		return false
	case info.Mode().Perm()&0o022 != 0:
		e.fail("file", "chmod go-w "+path, "others can change %s (mode %04o), and with it whom this process believes", path, info.Mode().Perm())
	}
	return true
}

// recognise finds the role by fields that only one has.
func (e *exam) recognise(path string) bool {
	raw, err := os.ReadFile(path)
	var fields map[string]any
	if err == nil {
		err = tomlfile.Decode(raw, &fields)
	}
	if err != nil {
		e.fail("file", "mend the line; docs/config.md lists all fields", "%s: %v", path, err)
		return false
	}
	i := slices.IndexFunc(marks, func(m struct{ field, role string }) bool { _, has := fields[m.field]; return has })
	if i < 0 {
		e.fail("role", "say --role client, escrow, switchboard, witness or vault; a connector is examined with the client that names it", "%s does not show whose configuration it is", path)
		return false
	}
	e.report.Role = marks[i].role
	return true
}

// read notes how reading the configuration as the program does it ended.
func (e *exam) read(path string, err error) bool {
	if err != nil {
		e.fail("file", "the program would end with this error; docs/config.md lists all fields", "%v", err)
		return false
	}
	e.ok("file", "%s is a configuration for the role %s, and every field is known", path, e.report.Role)
	return true
}

var discard = slog.New(slog.DiscardHandler)

// expiry looks at the dates of a certificate.
func (e *exam) expiry(check, path string, c *x509.Certificate) {
	left := c.NotAfter.Sub(e.now())
	switch {
	case e.now().Before(c.NotBefore):
		e.fail(check, "set this machine's clock, or wait", "certificate %s is not valid before %s", path, c.NotBefore.UTC().Format(time.RFC3339))
	case left < 0:
		e.fail(check, "put a new certificate in its place; no restart is needed", "certificate %s has expired at %s", path, c.NotAfter.UTC().Format(time.RFC3339))
	case left < 14*24*time.Hour && left < c.NotAfter.Sub(c.NotBefore)/3:
		e.warn(check, "put a new certificate in its place; no restart is needed", "certificate %s expires in %d hours", path, int(left.Hours()))
	default:
		e.ok(check, "certificate %s is good until %s", path, c.NotAfter.UTC().Format(time.RFC3339))
	}
}
