package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// A rule returns a sentence for each place that breaks it: the file first, then
// what is there, then what is asked for.
type rule func(*tree) []string

var rules = map[string]rule{
	"arrows":    arrows,
	"purity":    purity,
	"budget":    budget,
	"chains":    chains,
	"doc":       docComments,
	"words":     words,
	"vectors":   specVectors,
	"purposes":  purposes,
	"modules":   modules,
	"licences":  licences,
	"testtools": testTools,
}

func TestRules(t *testing.T) {
	repo := load(t, os.DirFS(".."))
	for name, r := range rules {
		t.Run(name, func(t *testing.T) {
			for _, finding := range r(repo) {
				t.Error(finding)
			}
		})
	}
}

// A breach is an archive whose comment names the rule in its first line and,
// after that, has every finding in a line of its own: none for a tree that only
// looks like a breach.
func TestRulesSeeBreaches(t *testing.T) {
	paths, err := filepath.Glob("testdata/breaches/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, p := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(p), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(p)
			if err != nil {
				t.Fatal(err)
			}
			name, rest, _ := strings.Cut(string(unslash(a.Comment)), "\n")
			r, ok := rules[name]
			if !ok {
				t.Fatalf("%s: the first line is %q, want the name of a rule", p, name)
			}
			var want []string
			for line := range strings.Lines(rest) {
				if line = strings.TrimSpace(line); line != "" {
					want = append(want, line)
				}
			}
			seen[name] = seen[name] || len(want) > 0
			files := make(fstest.MapFS)
			for _, f := range a.Files {
				files[f.Name] = &fstest.MapFile{Data: unslash(f.Data)}
			}
			if diff := cmp.Diff(want, r(load(t, files))); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
	for name := range rules {
		if !seen[name] {
			t.Errorf("testdata/breaches has no tree that breaks %q", name)
		}
	}
}

// unslash makes of {slash} a slash and of {nothing} nothing, so that an archive can
// hold words that must stand nowhere in the repository.
func unslash(data []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(data, []byte("{slash}"), []byte("/")), []byte("{nothing}"), nil)
}

// A tree is the files of the repository, or of a small one in a test.
type tree struct {
	fsys  fs.FS
	paths []string // of all files, sorted
	files []*file  // the Go files among them, without those in testdata
}

// A file is one Go file, as it is parsed.
type file struct {
	path      string // from the repository's root
	dir       string // of path: "." for the root
	test      bool
	generated bool
	src       []byte
	ast       *ast.File
	fset      *token.FileSet
}

// imports returns the paths that f imports.
func (f *file) imports() []string {
	var all []string
	for _, i := range f.ast.Imports {
		all = append(all, strings.Trim(i.Path.Value, "`\""))
	}
	return all
}

func (f *file) line(p token.Pos) int { return f.fset.Position(p).Line }

func (f *file) at(p token.Pos) string { return fmt.Sprintf("%s:%d", f.path, f.line(p)) }

func load(t *testing.T, fsys fs.FS) *tree {
	t.Helper()
	tr := &tree{fsys: fsys}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || p == "bin"):
			return fs.SkipDir
		case d.Name() == ".git": // of a worktree
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		tr.paths = append(tr.paths, p)
		if path.Ext(p) != ".go" || strings.Contains("/"+p, "/testdata/") {
			return nil
		}
		src, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		f := &file{path: p, dir: path.Dir(p), test: strings.HasSuffix(p, "_test.go"), src: src, fset: token.NewFileSet()}
		f.ast, err = parser.ParseFile(f.fset, p, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		f.generated = ast.IsGenerated(f.ast)
		tr.files = append(tr.files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(tr.paths)
	return tr
}

// dirs returns the folders with Go files that are not tests, sorted.
func (t *tree) dirs() []string {
	var all []string
	for _, f := range t.files {
		if !f.test {
			all = append(all, f.dir)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// within says whether a path or folder is dir or lies below it.
func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, dir+"/")
}

// matches says whether a path fits one of the words of patterns: "a/b" fits
// itself, "a/..." also all below, "*" everything.
func matches(p, patterns string) bool {
	for _, w := range strings.Fields(patterns) {
		if sub, ok := strings.CutSuffix(w, "/..."); w == p || w == "*" || ok && within(p, sub) {
			return true
		}
	}
	return false
}
