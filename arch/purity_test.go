package arch

import (
	"fmt"
	"go/ast"
	"strings"
)

// pureStd is what every core may import of the standard library: nothing that
// reads a clock, makes randomness, waits, or reaches a file or a network.
const pureStd = `bytes cmp container/heap crypto/ed25519 crypto/sha256 crypto/sha512 crypto/subtle
	encoding/base64 encoding/binary encoding/hex errors fmt hash io iter maps math math/bits
	reflect slices sort strconv strings unicode unicode/utf8`

// pure are the packages that decide, with what they may import beyond pureStd.
// Equal inputs give equal results there; time, randomness and messages are
// arguments.
var pure = map[string]string{
	"coin":     "",
	"wire":     "crypto/hpke time",      // reads public keys; how people are told an instant
	"key":      "log/slog runtime sync", // a secret's LogValue; a batch is checked on all cores
	"head":     "",
	"attest":   "",
	"contract": "",
	"settle":   "",
	"vault":    "sync", // signatures are checked while a step is planned, and words prepared before their turn
	"market":   "",

	"contract/oracle": "",
	"tomlfile":        "",
}

// closedStd is what no other trusted package imports: protocols that parse what
// strangers send, and ways out of the process.
const closedStd = "net/http net/http/... net/rpc net/rpc/... net/smtp net/textproto os/exec os/user plugin unsafe C database/sql encoding/gob html/template text/template expvar debug/..."

// closed are the trusted packages that do I/O.
const closed = "attest/platform attest/policyfile attest/sim vault/session vault/enclave vault/enclave/config cmd/vault"

// purity holds the cores to computing, and the trusted shells to few means.
func purity(t *tree) (findings []string) {
	for _, f := range t.files {
		if !f.test && f.dir != "sim" {
			findings = append(findings, remembering(f)...)
		}
		extra, isPure := pure[f.dir]
		if f.test || !isPure && !matches(f.dir, closed) {
			continue
		}
		for _, path := range f.imports() {
			first, _, _ := strings.Cut(path, "/")
			switch std := !strings.Contains(first, ".") && first != "latchkey"; {
			case isPure && std && !matches(path, pureStd) && !matches(path, extra):
				findings = append(findings, fmt.Sprintf("%s imports %s: %s decides and does no I/O; what it needs from outside is an argument", f.path, path, f.dir))
			case !isPure && matches(path, closedStd):
				findings = append(findings, fmt.Sprintf("%s imports %s: the trusted binary has no use for it", f.path, path))
			}
		}
		if isPure {
			findings = append(findings, impure(f)...)
		}
	}
	return findings
}

// remembering finds who lets a group's keys remember signatures.
func remembering(f *file) (findings []string) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Remembering" {
			findings = append(findings, f.at(s.Sel.Pos())+" lets keys remember signatures: only the simulation plays so many parties that it needs to")
		}
		return true
	})
	return findings
}

// impure finds what an import does not show.
func impure(f *file) (findings []string) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			findings = append(findings, f.at(n.Pos())+" starts a goroutine: one that owns the state calls a core, and a core starts none")
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				findings = append(findings, f.at(n.Pos())+" has an init: nothing happens in a core before it is called")
			}
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			switch name := x.Name + "." + n.Sel.Name; name {
			case "time.Now", "time.Since", "time.Until", "time.After", "time.AfterFunc", "time.Sleep", "time.Tick", "time.NewTimer", "time.NewTicker":
				findings = append(findings, fmt.Sprintf("%s calls %s: time is an argument of a core", f.at(n.Pos()), name))
			case "fmt.Print", "fmt.Printf", "fmt.Println":
				findings = append(findings, fmt.Sprintf("%s calls %s: a core returns what there is to say", f.at(n.Pos()), name))
			}
		}
		return true
	})
	return findings
}
