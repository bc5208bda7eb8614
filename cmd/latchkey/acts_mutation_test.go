package main

import (
	"context"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var mutations = flag.Bool("mutations", false, "play act 7 without each of the defences that it shows, half a minute each and more, and see it fail")

// An edit takes a defence out of a file of the project: old, which occurs there once,
// becomes new.
type edit struct{ file, old, new string }

// A mutation is the project without one defence that act 7 shows, and what the act
// then ends with.
type mutation struct {
	name  string
	want  []string
	edits []edit
}

const (
	wentThrough = "the cheat went through"
	fOrders     = "vault/escrow_claim.go"
	fEscrow     = "vault/escrow.go"
	fWords      = "vault/escrow_word.go"
	fWitness    = "head/witness.go"
)

var allMutations = []mutation{
	{"her own vault: claim of a locked chunk", []string{"Alice's host claims a chunk that is locked in the purchase", wentThrough}, []edit{
		{"vault/owner_claim.go", "case c.Instance != (wire.InstanceID{}):", "case false && c.Instance != (wire.InstanceID{}):"},
		{"vault/owner_claim.go", "; ok && !c.Claim {\n\t\t\treturn fail(fmt.Errorf(\"%w: pledged", "; false && ok {\n\t\t\treturn fail(fmt.Errorf(\"%w: pledged"},
	}},
	{"escrow: claim of a locked chunk", []string{"the old copy of her vault claim it", wentThrough, "the escrow answered a claim"}, []edit{
		{fOrders, "case c.instance != nil:", "case false && c.instance != nil:"},
	}},
	{"escrow: epoch of an order", []string{"an order of an old epoch is replayed", wentThrough, "the escrow answered a claim"}, []edit{
		{fOrders, "case c.epoch != o.Epoch:", "case false && c.epoch != o.Epoch:"},
	}},
	{"escrow: owner of a chunk", []string{"claims a chunk that it has passed on to Carol", "it is not refused because", "not the owner of this chunk", "another epoch"}, []edit{
		{fOrders, "case *c.owner != from:", "case false && *c.owner != from:"}, // the epoch stands behind it
	}},
	{"escrow: a claim waits for witnesses", []string{"a second escrow, started from a copy", wentThrough, "the escrow answered a claim"}, []edit{
		{fOrders, "return e.settle(plan{entries: []Entry{{Claim: n}}}, reply)", "a, err := e.settle(plan{entries: []Entry{{Claim: n}}}, reply)\n\ta.Hold = 0\n\treturn a, err"},
	}},
	{"escrow: a quorum under a head", []string{"its operator says that this head is witnessed", wentThrough}, []edit{
		{fEscrow, "c, err := e.cfg.Group.Verify(note)\n", "c, err := e.cfg.Group.Verify(note)\n\tif errors.Is(err, head.ErrQuorum) {\n\t\tc.Checkpoint, err = head.OpenCheckpoint(note, e.cfg.Group.Log)\n\t}\n"},
	}},
	{"escrow: a head of its own", []string{"the first escrow's newest head", wentThrough}, []edit{
		{fEscrow, "; !ok || root != c.Root {", "; false && (!ok || root != c.Root) {"},
	}},
	{"witnesses: one head follows the other", []string{"its operator asks the witnesses to sign", wentThrough, "the witnesses signed a second head"}, []edit{
		{fWitness, "case r.Old != seen.Size:", "case false && r.Old != seen.Size:"},
		{fWitness, "if err := VerifyConsistency(old, c, r.Proof); err != nil {", "if err := VerifyConsistency(old, c, r.Proof); false && err != nil {"},
	}},
	{"escrow: what a receipt promises", []string{"not within a minute: the proof", "no promise is broken yet"}, []edit{
		{fWords, "By: e.clock + receiptTime}", "By: e.clock + 60*receiptTime}"},
	}},
}

// TestMutations plays act 7 without each defence. Without the flag it looks whether
// they are where they were.
func TestMutations(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range allMutations {
		t.Run(m.name, func(t *testing.T) {
			texts := map[string]string{}
			for _, e := range m.edits {
				if texts[e.file] == "" {
					raw, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.file)))
					if err != nil {
						t.Fatal(err)
					}
					texts[e.file] = string(raw)
				}
				if n := strings.Count(texts[e.file], e.old); n != 1 {
					t.Fatalf("%q is %d times in %s, want once: the defence has moved", e.old, n, e.file)
				}
				texts[e.file] = strings.Replace(texts[e.file], e.old, e.new, 1)
			}
			if !*mutations {
				return
			}
			dir := t.TempDir()
			if err := copyTree(dir, root); err != nil {
				t.Fatal(err)
			}
			for file, text := range texts {
				if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(file)), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "go", "run", "-trimpath", "./cmd/latchkey", "demo", "--act", "7")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=") // as the demo builds its programs: each package once
			cmd.WaitDelay = 20 * time.Second
			out, err := cmd.CombinedOutput()
			text := string(out)
			_, end, _ := strings.Cut(text, "\nerror: act 7: ")
			if err == nil || end == "" {
				t.Fatalf("without the defence act 7 does not fail: %v\n%s", err, text)
			}
			for _, want := range m.want {
				if !strings.Contains(end, want) {
					t.Errorf("without the defence act 7 does not end with %q:\n%s", want, end)
				}
			}
		})
	}
}

// copyTree copies the project, with what it has built, without its history.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case d.Name() == ".git":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), raw, info.Mode().Perm())
	})
}
