package rival

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// assembleModule makes the binary of a module in WebAssembly's text format (sections
// 5 and 6 of its specification). It knows what contracts/*.wat use: i32 and i64,
// functions, globals, and instructions in folded form. It adds a meter, see block,
// and returns beside the binary the names of the exported globals: the state of an
// instance.
func assembleModule(text string) (binary []byte, state []string, err error) {
	forms, err := parseForms(text)
	if err != nil {
		return nil, nil, err
	}
	if len(forms) != 1 || !forms[0].is("module") {
		return nil, nil, fmt.Errorf("no module")
	}
	m := module{funcs: make(map[string]int), globals: make(map[string]int)}
	for _, f := range forms[0].list[1:] {
		if err := m.declare(f); err != nil {
			return nil, nil, err
		}
	}
	m.fuel = len(m.globals)
	m.global("$fuel", "fuel")
	for i := range m.bodies {
		if err := m.assemble(&m.bodies[i]); err != nil {
			return nil, nil, err
		}
	}
	return m.binary(), m.state, nil
}

type module struct {
	funcs, globals        map[string]int
	fuel                  int
	state                 []string
	types, globs, exports [][]byte
	bodies                []function
}

type function struct {
	form    form
	rest    []form // instructions
	params  int
	locals  map[string]int
	results int
	code    []byte
}

var valtypes = map[string]byte{"i32": 0x7f, "i64": 0x7e}

// opcodes of the instructions without immediate arguments.
var opcodes = map[string]byte{
	"unreachable": 0x00, "return": 0x0f, "select": 0x1b,
	"i32.eqz": 0x45, "i32.and": 0x71, "i32.or": 0x72,
	"i64.eqz": 0x50, "i64.eq": 0x51, "i64.ne": 0x52, "i64.lt_s": 0x53, "i64.lt_u": 0x54, "i64.gt_s": 0x55, "i64.gt_u": 0x56,
	"i64.le_s": 0x57, "i64.le_u": 0x58, "i64.ge_s": 0x59, "i64.ge_u": 0x5a,
	"i64.add": 0x7c, "i64.sub": 0x7d, "i64.mul": 0x7e, "i64.div_s": 0x7f, "i64.or": 0x84, "i64.shl": 0x86,
}

const (
	opIf, opEnd, opCall, opLocalGet, opLocalSet, opGlobalGet, opGlobalSet, opI64Const = 0x04, 0x0b, 0x10, 0x20, 0x21, 0x23, 0x24, 0x42
	noResult                                                                          = 0x40
)

func u(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)) }

// s appends a signed LEB128, which is not encoding/binary's zigzag.
func s(b []byte, n int64) []byte {
	for {
		low := byte(n & 0x7f)
		if n >>= 7; n == 0 && low < 0x40 || n == -1 && low >= 0x40 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}

func sized(b, content []byte) []byte { return append(u(b, len(content)), content...) }

func vector(items [][]byte) []byte {
	b := u(nil, len(items))
	for _, item := range items {
		b = append(b, item...)
	}
	return b
}

func (m *module) export(quoted string, kind byte, index int) {
	m.exports = append(m.exports, u(append(sized(nil, []byte(strings.Trim(quoted, `"`))), kind), index))
}

// global adds a mutable i64 that begins at 0.
func (m *module) global(name, export string) {
	if export != "" {
		m.export(export, 3, len(m.globals))
	}
	m.globals[name] = len(m.globals)
	m.globs = append(m.globs, []byte{valtypes["i64"], 1, opI64Const, 0, opEnd})
}

func (m *module) declare(f form) error {
	head, rest := f.head()
	name, export := "", ""
	if len(rest) > 0 && rest[0].atom != "" {
		name, rest = rest[0].atom, rest[1:]
	}
	if len(rest) > 0 && rest[0].is("export") {
		export, rest = strings.Trim(rest[0].list[1].atom, `"`), rest[1:]
	}
	switch head {
	case "global":
		if len(rest) != 2 || !rest[0].is("mut") || rest[0].list[1].atom != "i64" || rest[1].list[1].atom != "0" {
			return fmt.Errorf("line %d: only (mut i64) globals of 0 are known", f.line)
		}
		m.global(name, export)
		if export != "" {
			m.state = append(m.state, export)
		}
		return nil
	case "func":
	default:
		return fmt.Errorf("line %d: %q is unknown", f.line, head)
	}
	fn := function{form: f, locals: make(map[string]int)}
	var params, results []byte
	for ; len(rest) > 0; rest = rest[1:] {
		kind, list := rest[0].head()
		switch kind {
		case "param", "local":
			if fn.locals[list[0].atom] = len(fn.locals); kind == "param" {
				params = append(params, valtypes[list[1].atom])
				fn.params++
			} else if list[1].atom != "i64" {
				return fmt.Errorf("line %d: only i64 locals are known", rest[0].line)
			}
			continue
		case "result":
			for _, t := range list {
				results = append(results, valtypes[t.atom])
			}
			continue
		}
		break
	}
	fn.rest, fn.results = rest, len(results)
	if m.funcs[name] = len(m.bodies); export != "" {
		m.export(export, 0, len(m.bodies))
	}
	m.types = append(m.types, sized(sized([]byte{0x60}, params), results))
	m.bodies = append(m.bodies, fn)
	return nil
}

// block is a stretch of code that has one way in. The meter takes its instructions
// from the fuel before the first of them runs, and traps if there is not so much:
// wazero itself counts nothing.
type block struct {
	code []byte
	cost int64
}

func (m *module) flush(out []byte, b *block) []byte {
	if b.cost > 0 {
		out = u(append(out, opGlobalGet), m.fuel)
		out = append(s(append(out, opI64Const), b.cost), opcodes["i64.lt_u"], opIf, noResult, opcodes["unreachable"], opEnd)
		out = u(append(out, opGlobalGet), m.fuel)
		out = append(s(append(out, opI64Const), b.cost), opcodes["i64.sub"])
		out = u(append(out, opGlobalSet), m.fuel)
	}
	out = append(out, b.code...)
	*b = block{}
	return out
}

func (m *module) assemble(fn *function) error {
	locals := u(nil, 0)
	if n := len(fn.locals) - fn.params; n > 0 {
		locals = append(u(u(nil, 1), n), valtypes["i64"])
	}
	code, err := m.body(fn, fn.rest)
	fn.code = sized(nil, append(append(locals, code...), opEnd))
	return err
}

func (m *module) body(fn *function, forms []form) (out []byte, err error) {
	var b block
	for _, f := range forms {
		if out, err = m.instruction(out, &b, fn, f); err != nil {
			return nil, err
		}
	}
	return m.flush(out, &b), nil
}

// instruction appends an instruction, after those that make its operands, to b; where
// b ends it goes to out.
func (m *module) instruction(out []byte, b *block, fn *function, f form) ([]byte, error) {
	head, rest := f.head()
	find := func(in map[string]int) (i int, err error) {
		i, ok := in[rest[0].atom]
		if !ok {
			err = fmt.Errorf("line %d: %q is not declared", f.line, rest[0].atom)
		}
		rest = rest[1:]
		return i, err
	}
	var code []byte
	var i int
	var n int64
	var err error
	op, plain := opcodes[head]
	switch {
	case plain:
		code = []byte{op}
	case head == "i64.const":
		n, err = rest[0].number()
		code, rest = s([]byte{opI64Const}, n), nil
	case head == "local.get":
		i, err = find(fn.locals)
		code = u([]byte{opLocalGet}, i)
	case head == "local.set":
		i, err = find(fn.locals)
		code = u([]byte{opLocalSet}, i)
	case head == "global.get":
		i, err = find(m.globals)
		code = u([]byte{opGlobalGet}, i)
	case head == "global.set":
		i, err = find(m.globals)
		code = u([]byte{opGlobalSet}, i)
	case head == "call":
		i, err = find(m.funcs)
		code = u([]byte{opCall}, i)
	case head == "if" && len(rest) == 2 && rest[1].is("then"):
		if out, err = m.instruction(out, b, fn, rest[0]); err != nil {
			return nil, err
		}
		b.code, b.cost = append(b.code, opIf, noResult), b.cost+1
		then, err := m.body(fn, rest[1].list[1:])
		return append(append(m.flush(out, b), then...), opEnd), err
	default:
		err = fmt.Errorf("line %d: %q is unknown", f.line, head)
	}
	for _, operand := range rest {
		if err == nil {
			out, err = m.instruction(out, b, fn, operand)
		}
	}
	b.code, b.cost = append(b.code, code...), b.cost+1
	return out, err
}

func (m *module) binary() []byte {
	var indices, codes [][]byte
	for i := range m.bodies {
		indices, codes = append(indices, u(nil, i)), append(codes, m.bodies[i].code)
	}
	b := []byte("\x00asm\x01\x00\x00\x00")
	for _, section := range []struct {
		id    byte
		items [][]byte
	}{{1, m.types}, {3, indices}, {6, m.globs}, {7, m.exports}, {10, codes}} {
		b = sized(append(b, section.id), vector(section.items))
	}
	return b
}
