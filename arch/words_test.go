package arch

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

func fsRead(t *tree, path string) ([]byte, error) { return fs.ReadFile(t.fsys, path) }

// places are the file systems and hosts of whoever builds the project, which
// mean nothing to who reads it. They are put together here from parts, as this
// file is read by the rule too.
var places = regexp.MustCompile(strings.Join([]string{
	`(^|[\s"'` + "`" + `=(,:])/(work` + `|root)/`,
	`(proxy|sum)\.gol` + `ang\.org`, `goproxy\.` + `(io|cn)`, `registry\.npm` + `js`, `(deb|ftp)\.` + `debian\.org`,
}, "|"))

// undone are the words of work that was put off.
var undone = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)

// words holds some words out of every text, and some out of Go.
func words(t *tree) (findings []string) {
	for _, p := range t.paths {
		if within(p, "arch/testdata/breaches") || path.Base(p) == "go.sum" || path.Base(p) == "go.work.sum" {
			continue
		}
		data, err := fsRead(t, p)
		if err != nil {
			findings = append(findings, err.Error())
			continue
		}
		if bytes.IndexByte(data, 0) >= 0 {
			continue // not a text
		}
		n := 0
		for line := range bytes.Lines(data) {
			n++
			if m := places.Find(line); m != nil {
				findings = append(findings, fmt.Sprintf("%s:%d names %q: a place that only one machine or one network has", p, n, strings.Trim(string(m), " \t\"'`=(,:")))
			}
			if path.Ext(p) != ".go" {
				continue
			}
			if m := undone.Find(line); m != nil {
				findings = append(findings, fmt.Sprintf("%s:%d says %s: do it, or file an issue", p, n, m))
			}
			if dir := path.Dir(p); bytes.Contains(line, []byte("//no"+"lint")) && pureOrClosed(dir) {
				findings = append(findings, fmt.Sprintf("%s:%d switches a linter off: not in a trusted package", p, n))
			}
		}
	}
	return findings
}

func pureOrClosed(dir string) bool {
	_, ok := pure[dir]
	return ok || matches(dir, closed)
}
