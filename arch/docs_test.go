package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// documented are the packages in which every exported name has a doc comment:
// what strangers read before they trust the program.
const documented = "coin wire key head attest attest/platform attest/policyfile attest/sim contract contract/oracle settle vault vault/session vault/enclave vault/enclave/config tomlfile market event"

// presented are those that people build tools on.
const presented = "studio/... examples feed actus"

// docComments asks each exported name for a comment that begins with it, and
// each package for one that begins with "Package". Where several things stand
// together, the first one's comment may speak for all: functions without a blank
// line between them, a group in parentheses. A constant of a type, and a type
// made from another, may leave it to that type.
func docComments(t *tree) (findings []string) {
	said := make(map[string]bool)
	for _, f := range t.files {
		if f.test || f.generated {
			continue
		}
		if f.ast.Doc != nil {
			said[f.dir] = true
			if text := f.ast.Doc.Text(); f.ast.Name.Name != "main" && !strings.HasPrefix(text, "Package "+f.ast.Name.Name) {
				findings = append(findings, fmt.Sprintf("%s: the package's comment begins with %q, not with \"Package %s\"", f.path, firstWords(text), f.ast.Name.Name))
			}
		}
		if !matches(f.dir, documented) && !matches(f.dir, presented) {
			continue
		}
		var doc string // of the functions that stand together
		end := 0       // the line of the last one's end
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Doc != nil || f.line(d.Pos()) > end+1 {
					doc = d.Doc.Text()
				}
				end = f.line(d.End())
				if d.Name.IsExported() && (d.Recv == nil || receiver(d).IsExported()) && !(doc == "" && d.Recv != nil && matches(d.Name.Name, conventional)) {
					findings = append(findings, undocumented(f, d.Name, doc, d.Doc == nil)...)
				}
			case *ast.GenDecl:
				doc, end = "", 0
				findings = append(findings, undocumentedIn(f, d)...)
			}
		}
	}
	for _, dir := range t.dirs() {
		if i := slices.IndexFunc(t.files, func(f *file) bool { return f.dir == dir && !f.generated && !f.test }); i >= 0 && !said[dir] {
			findings = append(findings, fmt.Sprintf("%s: package %s has no comment that says what it is for", t.files[i].path, t.files[i].ast.Name.Name))
		}
	}
	return findings
}

func undocumentedIn(f *file, d *ast.GenDecl) (findings []string) {
	group := d.Lparen.IsValid()
	typed := false // a constant without a type has that of the one before it
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			_, renamed := s.Type.(*ast.Ident)
			switch {
			case !s.Name.IsExported(), group && d.Doc != nil && s.Comment != nil, group && renamed && s.Doc == nil:
			case group:
				findings = append(findings, undocumented(f, s.Name, s.Doc.Text(), false)...)
			default:
				findings = append(findings, undocumented(f, s.Name, d.Doc.Text(), false)...)
			}
		case *ast.ValueSpec:
			typed = s.Type != nil || typed && len(s.Values) == 0
			if !s.Names[0].IsExported() || group && (d.Doc != nil || s.Doc != nil || s.Comment != nil || typed && d.Tok == token.CONST) {
				continue
			}
			findings = append(findings, undocumented(f, s.Names[0], d.Doc.Text()+s.Doc.Text(), false)...)
		}
	}
	return findings
}

// undocumented judges one name by its comment, or by that of the first of those
// it stands with, which then has to mention it.
func undocumented(f *file, name *ast.Ident, doc string, shared bool) []string {
	text := doc
	for _, article := range []string{"A ", "An ", "The "} {
		text = strings.TrimPrefix(text, article)
	}
	switch {
	case doc == "":
		return []string{fmt.Sprintf("%s: %s is exported and has no comment", f.at(name.Pos()), name.Name)}
	case strings.HasPrefix(text, name.Name), shared && strings.Contains(text, name.Name):
		return nil
	}
	return []string{fmt.Sprintf("%s: the comment of %s begins with %q", f.at(name.Pos()), name.Name, firstWords(doc))}
}

// conventional are methods whose contract the standard library or a library of
// codecs states: they need no comment.
const conventional = "String GoString Format Error Unwrap Is Len Less Swap Push Pop LogValue MarshalText UnmarshalText MarshalCBOR UnmarshalCBOR MarshalJSON UnmarshalJSON"

func receiver(d *ast.FuncDecl) *ast.Ident {
	x := d.Recv.List[0].Type
	for {
		switch y := x.(type) {
		case *ast.StarExpr:
			x = y.X
		case *ast.IndexExpr:
			x = y.X
		case *ast.IndexListExpr:
			x = y.X
		case *ast.ParenExpr:
			x = y.X
		case *ast.Ident:
			return y
		default:
			return ast.NewIdent("")
		}
	}
}

func firstWords(text string) string {
	w := strings.Fields(text)
	return strings.Join(w[:min(3, len(w))], " ")
}
