package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/vault-deps.txt anew")

// listed is what "go list -json" says of a package, as far as it is asked here.
type listed struct {
	ImportPath string
	Standard   bool
	CgoFiles   []string
	Module     *struct {
		Path, Version, Sum string
		Main               bool
		Replace            *struct{ Path string }
	}
}

// goRun runs the go command as the trusted binary is built: outside the
// workspace, whose versions those of other modules raise, without cgo, and for
// one platform, so that the answer is the same on every machine.
func goRun(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=-mod=readonly")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s", err, exit.Stderr)
		}
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func list(t *testing.T, pattern string) []listed {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(goRun(t, "..", "list", "-deps", "-json=ImportPath,Standard,CgoFiles,Module", pattern)))
	var all []listed
	for {
		var p listed
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// The golden file is what somebody has to trust who trusts the binary. If it
// grows, the reason belongs into RATIONALE.md; then run this test with -update.
func TestTrustedBinaryDependencies(t *testing.T) {
	const golden = "testdata/vault-deps.txt"
	packages := make(map[string][]string) // by module with its version
	for _, p := range list(t, "./cmd/vault") {
		if p.Standard {
			if matches(p.ImportPath, closedStd) && p.ImportPath != "unsafe" {
				t.Errorf("cmd/vault depends on %s: the trusted binary has no use for it", p.ImportPath)
			}
			continue
		}
		if len(p.CgoFiles) > 0 {
			t.Errorf("%s uses cgo: a build with it is not reproducible", p.ImportPath)
		}
		m := p.Module
		if m == nil || m.Replace != nil {
			t.Errorf("%s is of no module with a version", p.ImportPath)
			continue
		}
		name := m.Path
		if !m.Main {
			name += " " + m.Version
		} else if dir := strings.TrimPrefix(p.ImportPath, "latchkey/"); budgets[dir] == 0 {
			t.Errorf("%s is in the trusted binary and has no budget of lines: give it one", dir)
		}
		packages[name] = append(packages[name], p.ImportPath)
	}
	var got strings.Builder
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		paths := slices.Sorted(slices.Values(packages[name]))
		fmt.Fprintf(&got, "%s: %d packages\n", name, len(paths))
		for _, p := range paths {
			fmt.Fprintf(&got, "\t%s\n", p)
		}
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("the trusted binary is built from other packages than %s says (-want +got):\n%s", golden, diff)
	}
}

// What an import hides behind another is seen here: whatever the cores pull in
// is theirs, a trusted package or a library of the table of imports.
func TestCoresDependOnlyOnCores(t *testing.T) {
	for core := range pure {
		allowed := core
		for _, below := range strings.Fields(rows[core].own) {
			allowed += " " + below
		}
		for _, p := range list(t, "./"+core) {
			if dir, ok := strings.CutPrefix(p.ImportPath, "latchkey/"); ok && !matches(dir, allowed) {
				t.Errorf("%s depends on %s: %s", core, dir, rows[core].why)
			}
			if p.Standard && (p.ImportPath == "net/http" || p.ImportPath == "os/exec") {
				t.Errorf("%s depends on %s by way of a library", core, p.ImportPath)
			}
		}
	}
}

// Each .proto has its Go code beside it, in a folder with "pb" after its name,
// as the pinned generators write it.
func TestGeneratedCodeIsUpToDate(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the generators")
	}
	n := 0
	err := fs.WalkDir(os.DirFS(".."), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || path.Ext(p) != ".proto" {
			return err
		}
		n++
		t.Run(p, func(t *testing.T) {
			cmd := exec.Command("go", "run", "./protogen", "-check", filepath.Join("..", p), filepath.Join("..", strings.TrimSuffix(p, ".proto")+"pb"))
			cmd.Dir, cmd.Env = filepath.Join("..", "tools"), append(os.Environ(), "GOWORK=off")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		t.Error("there is no .proto")
	}
}
