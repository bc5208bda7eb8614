package rival

import (
	"fmt"
	"maps"
	"math/big"

	"github.com/ethereum/go-ethereum/core/vm"
)

// assembleCode makes EVM code of a text in which (OP a b) stands for b, a, OP. Beside
// opcodes and numbers it knows
//
//	(define name form), (define (name parameters…) forms…)   written out where the name stands
//	(refuse-if condition)                                    REVERT without data if it is not 0
//	(when condition forms…)                                  skips the forms if it is 0
//	(arg n)                                                  in create: the n-th word behind the code
//	(create forms…)                                          runs once; what it makes is the code of step
//	(step forms…)                                            runs at each call
//
// It returns the code that opens an instance, which takes its arguments behind it, and
// the code of an instance.
func assembleCode(text string) (create, run []byte, err error) {
	forms, err := parseForms(text)
	if err != nil {
		return nil, nil, err
	}
	var a, b assembly
	defines := make(map[string]macro)
	for _, f := range forms {
		switch head, rest := f.head(); head {
		case "define":
			define(defines, rest)
		case "create":
			a = assembly{defines: maps.Clone(defines)}
			a.args()
			err = a.all(rest)
		case "step":
			b = assembly{defines: maps.Clone(defines)}
			err = b.all(rest)
		default:
			err = fmt.Errorf("line %d: %q is unknown", f.line, head)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	b.end()
	a.instance(len(b.code))
	a.end()
	a.labels["code"], a.labels["args"] = len(a.code), len(a.code)+len(b.code)
	a.fix()
	b.fix()
	return append(a.code, b.code...), b.code, nil
}

type macro struct {
	parameters, body []form
}

// define takes what follows the word define.
func define(defines map[string]macro, rest []form) {
	if name := rest[0]; name.atom != "" {
		defines[name.atom] = macro{body: rest[1:]}
	} else {
		defines[name.list[0].atom] = macro{name.list[1:], rest[1:]}
	}
}

type assembly struct {
	code    []byte
	defines map[string]macro
	labels  map[string]int
	uses    map[int]string // places of two bytes that a label comes to
	whens   int
}

func (a *assembly) op(ops ...vm.OpCode) {
	for _, op := range ops {
		a.code = append(a.code, byte(op))
	}
}

func (a *assembly) push(n *big.Int) {
	b := n.Bytes()
	a.op(vm.PUSH0 + vm.OpCode(len(b)))
	a.code = append(a.code, b...)
}

func (a *assembly) pushLabel(name string) {
	if a.uses == nil {
		a.uses = make(map[int]string)
	}
	a.op(vm.PUSH2)
	a.uses[len(a.code)] = name
	a.code = append(a.code, 0, 0)
}

func (a *assembly) label(name string) {
	if a.labels == nil {
		a.labels = make(map[string]int)
	}
	a.labels[name] = len(a.code)
	a.op(vm.JUMPDEST)
}

// args copies the words behind the code to where (arg n) reads them.
func (a *assembly) args() {
	a.pushLabel("args")
	a.op(vm.CODESIZE, vm.SUB)
	a.pushLabel("args")
	a.op(vm.PUSH0, vm.CODECOPY)
}

// instance returns the code of an instance.
func (a *assembly) instance(size int) {
	a.push(big.NewInt(int64(size)))
	a.op(vm.DUP1)
	a.pushLabel("code")
	a.op(vm.PUSH0, vm.CODECOPY, vm.PUSH0, vm.RETURN)
}

func (a *assembly) end() {
	a.label("refuse")
	a.op(vm.PUSH0, vm.PUSH0, vm.REVERT)
}

func (a *assembly) fix() {
	for at, name := range a.uses {
		a.code[at], a.code[at+1] = byte(a.labels[name]>>8), byte(a.labels[name])
	}
}

func (a *assembly) all(forms []form) error {
	for _, f := range forms {
		if err := a.emit(f); err != nil {
			return err
		}
	}
	return nil
}

func (a *assembly) emit(f form) error {
	head, rest := f.head()
	if m, ok := a.defines[head]; ok {
		if len(rest) != len(m.parameters) {
			return fmt.Errorf("line %d: %s takes %d operands", f.line, head, len(m.parameters))
		}
		with := make(map[string]form)
		for i, p := range m.parameters {
			with[p.atom] = rest[i]
		}
		return a.all(substitute(m.body, with))
	}
	switch head {
	case "define":
		define(a.defines, rest)
		return nil
	case "arg":
		n, err := rest[0].number()
		a.push(big.NewInt(32 * n))
		a.op(vm.MLOAD)
		return err
	case "refuse-if":
		err := a.emit(rest[0])
		a.pushLabel("refuse")
		a.op(vm.JUMPI)
		return err
	case "when":
		a.whens++
		after := fmt.Sprint("when ", a.whens)
		if err := a.emit(rest[0]); err != nil {
			return err
		}
		a.op(vm.ISZERO)
		a.pushLabel(after)
		a.op(vm.JUMPI)
		err := a.all(rest[1:])
		a.label(after)
		return err
	}
	if n, ok := new(big.Int).SetString(head, 0); ok && len(rest) == 0 {
		a.push(n)
		return nil
	}
	op := vm.StringToOp(head)
	if op.String() != head {
		return fmt.Errorf("line %d: %q is unknown", f.line, head)
	}
	for i := len(rest) - 1; i >= 0; i-- {
		if err := a.emit(rest[i]); err != nil {
			return err
		}
	}
	a.op(op)
	return nil
}

func substitute(forms []form, with map[string]form) []form {
	if len(with) == 0 {
		return forms
	}
	out := make([]form, len(forms))
	for i, f := range forms {
		if g, ok := with[f.atom]; ok {
			out[i] = g
		} else {
			out[i] = form{f.atom, substitute(f.list, with), f.line}
		}
	}
	return out
}
