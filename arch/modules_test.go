package arch

import (
	"bytes"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// modules holds the workspace together: each module is named after its folder
// and is in go.work, so that the pattern "work" leaves nothing out. The tools
// have versions of their own and stay outside.
func modules(t *tree) (findings []string) {
	data, err := fsRead(t, "go.work")
	if err != nil {
		return []string{err.Error()}
	}
	work, err := modfile.ParseWork("go.work", data, nil)
	if err != nil {
		return []string{err.Error()}
	}
	var used []string
	for _, u := range work.Use {
		used = append(used, path.Clean(u.Path))
	}
	for _, p := range t.paths {
		if path.Base(p) != "go.mod" || strings.Contains("/"+p, "/testdata/") {
			continue
		}
		mod, err := readMod(t, p)
		if err != nil {
			findings = append(findings, err.Error())
			continue
		}
		dir := path.Dir(p)
		if want := path.Join("latchkey", dir); mod.Module == nil || mod.Module.Mod.Path != want {
			findings = append(findings, fmt.Sprintf("%s is not of module %s, as its folder says", p, want))
		}
		if mod.Go == nil || work.Go == nil || mod.Go.Version != work.Go.Version {
			findings = append(findings, fmt.Sprintf("%s and go.work name different versions of Go", p))
		}
		if i := slices.Index(used, dir); i >= 0 {
			used = slices.Delete(used, i, i+1)
		} else if dir != "tools" {
			findings = append(findings, fmt.Sprintf("%s is not in go.work: its tests would not be run", p))
		}
		for _, r := range mod.Replace {
			// A version elsewhere, or a folder that only one machine has, would
			// make of what is built something else than what is written.
			if want := path.Join("latchkey", path.Join(dir, r.New.Path)); r.New.Version != "" || filepath.IsAbs(r.New.Path) || r.Old.Path != strings.TrimSuffix(want, "/.") {
				findings = append(findings, fmt.Sprintf("%s replaces %s by %s: only modules of this repository are replaced, by their folders", p, r.Old.Path, r.New.Path))
			}
		}
	}
	for _, dir := range used {
		findings = append(findings, fmt.Sprintf("go.work uses %s, which is no module", dir))
	}
	return findings
}

// reciprocal are libraries under a licence that asks something of who passes a
// binary on: the README.md of a module that requires one says so, in these words.
var reciprocal = map[string]string{
	"github.com/ethereum/go-ethereum": "Lesser General Public License",
}

// licences asks for the project's own licence, and for a word on each library
// whose licence asks for one.
func licences(t *tree) (findings []string) {
	if own, err := fsRead(t, "LICENSE"); err != nil || !bytes.Contains(own, []byte("Apache License")) {
		findings = append(findings, "LICENSE is not the Apache License, version 2.0")
	}
	for _, p := range t.paths {
		if path.Base(p) != "go.mod" || within(p, "tools") || strings.Contains("/"+p, "/testdata/") {
			continue
		}
		mod, err := readMod(t, p)
		if err != nil {
			continue // modules reports it
		}
		readme := path.Join(path.Dir(p), "README.md")
		text, err := fsRead(t, readme)
		for _, r := range mod.Require {
			if say := reciprocal[r.Mod.Path]; say != "" && !r.Indirect && (err != nil || !bytes.Contains(text, []byte(say))) {
				findings = append(findings, fmt.Sprintf("%s requires %s, and %s does not name its licence, the %q", p, r.Mod.Path, readme, say))
			}
		}
	}
	return findings
}
