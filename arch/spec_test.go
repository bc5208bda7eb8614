package arch

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"strconv"
	"strings"
)

var expectLine = regexp.MustCompile(`(?m)^expect: (.+)$`)

// refusal is what a vector expects that must not be accepted: an error and a
// part of its text, or of evidence the check that refuses it.
var refusal = regexp.MustCompile(`^(error: .+|refused by .+|undecodable)$`)

// specVectors asks every test vector for what a reader of the specification has
// to expect, and every folder of them for one that is accepted and one that is
// not: a decoder that accepts everything must not pass.
func specVectors(t *tree) (findings []string) {
	kinds := make(map[string]map[string]bool) // folder, then "valid" or "invalid"
	var folders []string
	for _, p := range t.paths {
		if !within(p, "spec/vectors") || path.Ext(p) == ".go" || path.Ext(p) == ".md" {
			continue
		}
		data, err := fsRead(t, p)
		if err != nil {
			findings = append(findings, err.Error())
			continue
		}
		expects, err := expectations(p, data)
		if err != nil {
			findings = append(findings, fmt.Sprintf("%s: %v", p, err))
			continue
		}
		dir := path.Dir(p)
		if kinds[dir] == nil {
			kinds[dir] = make(map[string]bool)
			folders = append(folders, dir)
		}
		for _, e := range expects {
			switch {
			case e == "ok", e == "accepted":
				kinds[dir]["valid"] = true
			case refusal.MatchString(e):
				kinds[dir]["invalid"] = true
			default:
				findings = append(findings, fmt.Sprintf("%s expects %q: neither \"ok\" nor \"error: \" and a part of it", p, e))
			}
		}
	}
	for _, dir := range folders {
		for _, kind := range []string{"valid", "invalid"} {
			if !kinds[dir][kind] {
				findings = append(findings, fmt.Sprintf("%s has no vector that is %s", dir, kind))
			}
		}
	}
	return findings
}

// expectations returns what a file of vectors expects, one for each case.
func expectations(p string, data []byte) ([]string, error) {
	if path.Ext(p) == ".json" {
		var f struct {
			About string
			Cases []struct{ Name, Expect string }
		}
		if err := json.Unmarshal(data, &f); err != nil {
			return nil, err
		}
		var all []string
		for _, c := range f.Cases {
			if c.Name == "" {
				return nil, fmt.Errorf("a case has no name")
			}
			all = append(all, c.Expect)
		}
		if f.About == "" || len(all) == 0 {
			return nil, fmt.Errorf("there is no \"about\", or no case")
		}
		return all, nil
	}
	m := expectLine.FindSubmatch(data)
	if m == nil {
		return nil, fmt.Errorf("there is no line that begins with \"expect: \"")
	}
	return []string{string(m[1])}, nil
}

// purpose is a string that separates domains: of a hash, a signature, a label.
var purpose = regexp.MustCompile("^latchkey/[a-z-]+(/[a-z-]+)*/v[0-9]+")

// purposes asks spec/wire.md for every purpose that Go outside of tests uses:
// whoever reads the pages must know all of them, to use none for something else.
func purposes(t *tree) (findings []string) {
	page, err := fsRead(t, "spec/wire.md")
	if err != nil {
		return []string{err.Error()}
	}
	for _, f := range t.files {
		if f.test || f.generated {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			l, ok := n.(*ast.BasicLit)
			if !ok {
				return true
			}
			if s, err := strconv.Unquote(l.Value); err == nil {
				if p := purpose.FindString(s); p != "" && !strings.Contains(string(page), "`"+p+"`") {
					findings = append(findings, fmt.Sprintf("%s: purpose %s is not in spec/wire.md", f.at(l.Pos()), p))
				}
			}
			return true
		})
	}
	return findings
}
