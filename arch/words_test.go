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
		for _, at := range places.FindAllSubmatchIndex(data, -1) {
			findings = append(findings, fmt.Sprintf("%s:%d names %q: a place that only one machine or one network has", p, lineOf(data, at[1]), strings.Trim(string(data[at[0]:at[1]]), " \t\n\"'`=(,:")))
		}
		if path.Ext(p) != ".go" {
			continue
		}
		for _, at := range undone.FindAllIndex(data, -1) {
			findings = append(findings, fmt.Sprintf("%s:%d says %s: do it, or file an issue", p, lineOf(data, at[0]), data[at[0]:at[1]]))
		}
		if at := bytes.Index(data, []byte("//no"+"lint")); at >= 0 && pureOrClosed(path.Dir(p)) {
			findings = append(findings, fmt.Sprintf("%s:%d switches a linter off: not in a trusted package", p, lineOf(data, at)))
		}
	}
	return findings
}

func lineOf(data []byte, at int) int { return bytes.Count(data[:at], []byte("\n")) + 1 }

func pureOrClosed(dir string) bool {
	_, ok := pure[dir]
	return ok || matches(dir, closed)
}
