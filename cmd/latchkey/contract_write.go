package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"latchkey/contract"
	"latchkey/examples"
	"latchkey/studio/syntax"
)

// templates returns the names of the contracts that one can begin with.
func templates() []string {
	paths, err := fs.Glob(examples.Files, "*.latchkey")
	if err != nil {
		return nil
	}
	for i, p := range paths {
		paths[i] = strings.TrimSuffix(p, ".latchkey")
	}
	return paths
}

func contractNew(_ context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("contract new", "latchkey contract new NAME writes NAME.latchkey and NAME.scenario, from a template. It overwrites nothing.", out)
	name := f.String("template", "escrow", "which one: "+strings.Join(templates(), ", "))
	rest, err := parseMixed(f, args, 1, 1)
	if err != nil {
		return err
	}
	path := strings.TrimSuffix(rest[0], ".latchkey") + ".latchkey"
	src, err := examples.Files.ReadFile(*name + ".latchkey")
	if err != nil {
		return &hinted{fmt.Errorf("%w: there is no template %q", errUsage, *name), "the templates are " + strings.Join(templates(), ", ")}
	}
	title, err := contractName(strings.TrimSuffix(filepath.Base(path), ".latchkey"))
	if err != nil {
		return err
	}
	parsed, err := syntax.Parse(src)
	if err != nil {
		return err
	}
	src = append(append(bytes.Clone(src[:parsed.Name.Off]), title...), src[parsed.Name.End():]...)
	tests, err := examples.Files.ReadFile(*name + ".scenario")
	if err != nil {
		return err
	}
	beside := strings.TrimSuffix(path, ".latchkey") + ".scenario"
	for _, file := range []struct {
		path string
		data []byte
	}{{path, src}, {beside, tests}} {
		if err := writeNew(file.path, file.data); err != nil {
			return err
		}
		fmt.Fprintln(out, file.path)
	}
	if strings.Contains(path, " ") {
		path = strconv.Quote(path)
	}
	fmt.Fprintf(talk, "next: latchkey contract explain %s\n", path)
	return nil
}

// contractName makes a name of the language from that of a file: "my-sale" is MySale.
func contractName(file string) (string, error) {
	var name strings.Builder
	up := true
	for _, r := range file {
		switch {
		case r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r):
			up = true
			continue
		case up:
			r = unicode.ToUpper(r)
		}
		up = false
		name.WriteRune(r)
	}
	s := name.String()
	if s == "" || unicode.IsDigit(rune(s[0])) || len(s) > contract.MaxName {
		return "", &hinted{fmt.Errorf("%w: %q is no name for a contract", errUsage, file), "a name begins with a letter and has letters and digits, as sale.latchkey"}
	}
	return s, nil
}

// writeNew writes a file that was not there.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &hinted{fmt.Errorf("%s is there already", path), "choose another name; nothing is overwritten"}
	}
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func contractFormat(_ context.Context, args []string, out, _ io.Writer) error {
	f := newFlags("contract fmt", "latchkey contract fmt FILE... lays contracts out: one thing a line, two blanks a level. It keeps comments and\nthe contract's hash. With - it reads stdin and writes stdout.", out)
	check := f.Bool("check", false, "change nothing; list what is laid out otherwise and end with status 1")
	rest, err := parseMixed(f, args, 1, 10_000)
	if err != nil {
		return err
	}
	paths := rest
	if len(rest) != 1 || rest[0] != "-" {
		if paths, err = contractPaths(rest); err != nil {
			return err
		}
	}
	other := 0
	for _, path := range paths {
		src, err := readContract(path)
		if err != nil {
			return err
		}
		laid, err := formatted(src)
		if err != nil {
			return &hinted{fmt.Errorf("%s: %w", path, err), "latchkey contract check says more; the file is as it was"}
		}
		switch {
		case path == "-" && !*check:
			if _, err := out.Write(laid); err != nil {
				return err
			}
		case bytes.Equal(src, laid):
		case *check:
			fmt.Fprintln(out, path)
			other++
		default:
			if err := replaceFile(path, laid); err != nil {
				return err
			}
			fmt.Fprintln(out, path)
		}
	}
	if other > 0 {
		return &hinted{fmt.Errorf("%d of %d contracts are laid out otherwise", other, len(paths)), "latchkey contract fmt lays them out"}
	}
	return nil
}

// formatted lays a source out and makes sure that it is the same contract as before.
func formatted(src []byte) ([]byte, error) {
	laid, err := syntax.Format(src)
	if err != nil {
		return nil, err
	}
	before, err := syntax.Scan(src)
	if err != nil {
		return nil, err
	}
	after, err := syntax.Scan(laid)
	if err != nil || syntax.Sum(before) != syntax.Sum(after) {
		return nil, fmt.Errorf("laid out it would be another contract: a bug of the formatter (%v)", err)
	}
	return laid, nil
}

// replaceFile puts new content in a file's place at once, so that a crash leaves the old or the new one.
func replaceFile(path string, data []byte) error {
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".latchkey-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = os.Chmod(f.Name(), mode)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func contractHash(_ context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("contract hash", "latchkey contract hash FILE... prints the hash of contracts. Layout and comments do not change it.", out)
	asJSON := f.Bool("json", false, "print JSON")
	rest, err := parseMixed(f, args, 1, 10_000)
	if err != nil {
		return err
	}
	type hashed struct {
		File     string `json:"file"`
		Contract string `json:"contract"`
		Hash     string `json:"hash"`
	}
	list := []hashed{}
	for _, path := range rest {
		p, _, err := compile(path, talk)
		if err != nil {
			return err
		}
		h := p.Hash()
		list = append(list, hashed{path, p.Name(), hex.EncodeToString(h[:])})
	}
	if *asJSON {
		return printIndented(out, list)
	}
	for _, h := range list {
		fmt.Fprintf(out, "%s  %s\n", h.Hash, h.File)
	}
	return nil
}
