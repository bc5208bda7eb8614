package rival

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/holiman/uint256"

	"latchkey/contract"
)

// The meter is what makes the comparison honest: it has to count every instruction on
// the way, and to stop a call that takes more than it was given.
func TestMeterOfWasm(t *testing.T) {
	c := load(t, "cfd")
	p := compile(t, machines(t, c)[1])
	i, err := p.Open(benchTerms["cfd"], noon)
	if err != nil {
		t.Fatal(err)
	}
	w := i.(*wasmInstance)
	ev := benchEvent("cfd")
	var r Result
	if err := i.Step(&ev, &r); err != nil {
		t.Fatal(err)
	}
	used := stepFuel - int64(w.fuel.Get())
	if used < 50 || used > 200 {
		t.Errorf("a price took %d instructions", used)
	}
	call := func(fuel int64) error {
		ev.At, ev.Observed = ev.At+1, ev.Observed+1
		w.fuel.Set(uint64(fuel))
		w.stack = [7]uint64{uint64(ev.Kind), uint64(ev.At), 0, 0, 0, uint64(ev.Value), uint64(ev.Observed)}
		return w.step.CallWithStack(context.Background(), w.stack[:])
	}
	if err := call(used); err != nil || w.stack[0] != 1 || w.fuel.Get() != 0 {
		t.Errorf("with all the fuel it takes: %v, status %d, %d left", err, w.stack[0], w.fuel.Get())
	}
	if err := call(used - 1); err == nil {
		t.Error("a price was taken with less fuel than it takes")
	}
}

// On each way through a body the meter takes as many as there are instructions on it.
func TestMeterCountsInstructions(t *testing.T) {
	tests := []struct {
		name, body string
		want       int64
	}{
		{"straight", "(i64.add (i64.const 1) (i64.const 2))", 3},
		{"branch taken", "(if (i64.eqz (i64.const 0)) (then (return (i64.const 7)))) (i64.const 8)", 5},
		{"branch left out", "(if (i64.eqz (i64.const 1)) (then (return (i64.const 7)))) (i64.const 8)", 4},
		{"call", "(call $one)", 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			binary, _, err := assembleModule(`(module (func $one (result i64) (i64.const 1)) (func (export "f") (result i64) ` + test.body + "))")
			if err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			r := NewWasm(nil).R
			defer func() {
				if err := r.Close(ctx); err != nil {
					t.Error(err)
				}
			}()
			m, err := r.Instantiate(ctx, binary)
			if err != nil {
				t.Fatal(err)
			}
			fuel, f := m.ExportedGlobal("fuel").(interface{ Set(uint64) }), m.ExportedFunction("f")
			fuel.Set(uint64(test.want))
			if _, err := f.Call(ctx); err != nil {
				t.Errorf("with fuel for %d instructions: %v", test.want, err)
			}
			if left := m.ExportedGlobal("fuel").Get(); left != 0 {
				t.Errorf("%d of %d left", left, test.want)
			}
			fuel.Set(uint64(test.want - 1))
			if _, err := f.Call(ctx); err == nil || !strings.Contains(err.Error(), "unreachable") {
				t.Errorf("with fuel for %d instructions: %v", test.want-1, err)
			}
		})
	}
}

func TestMeterOfEVM(t *testing.T) {
	m, err := NewEVM(load(t, "escrow"))
	if err != nil {
		t.Fatal(err)
	}
	i, err := m.Open(benchTerms["escrow"], noon)
	if err != nil {
		t.Fatal(err)
	}
	ev := benchEvent("escrow")
	input := appendWords(nil, int64(contract.Word), ev.At, 0, ev.Number, 0, 0, 0)
	at := i.(*evmInstance).at
	m.db.Prepare(m.rules, evmCaller, evmProducer, &at, m.holders, nil)
	if _, _, err := m.vm.Call(evmCaller, at, input, vm.NewGasBudget(2000, 0), new(uint256.Int)); !errors.Is(err, vm.ErrOutOfGas) {
		t.Errorf("with 2000 gas: %v", err)
	}
	var r Result
	if err := i.Step(&ev, &r); err != nil {
		t.Errorf("after a call without gas enough: %v", err)
	}
}

func TestAssembliesRefuse(t *testing.T) {
	module := func(text string) error { _, _, err := assembleModule(text); return err }
	code := func(text string) error { _, _, err := assembleCode(text); return err }
	tests := []struct {
		assemble   func(string) error
		text, want string
	}{
		{module, "(module", "a parenthesis is missing"},
		{module, "(module))", "a parenthesis too many"},
		{module, "(func)", "no module"},
		{module, "(module (memory 1))", `"memory" is unknown`},
		{module, "(module (func (i64.rotl (i64.const 1) (i64.const 2))))", `"i64.rotl" is unknown`},
		{module, "(module\n(func (local.get $x)))", `line 2: "$x" is not declared`},
		{module, "(module (func (call $f)))", `"$f" is not declared`},
		{module, "(module (func (i64.const x)))", `"x" is no number`},
		{module, "(module (global $g (mut i32) (i32.const 0)))", "only (mut i64) globals"},
		{code, "(step (STOP))(stop)", `"stop" is unknown`},
		{code, "(step (ADDD 1 2))", `"ADDD" is unknown`},
		{code, "(define (two a b) (ADD a b))(step (two 1))", "two takes 2 operands"},
	}
	for _, test := range tests {
		if err := test.assemble(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.text, err, test.want)
		}
	}
}

func TestDenominateMakesEveryAmount(t *testing.T) {
	for units := range int64(1001) {
		chunks := Denominate(units)
		for amount := range units + 1 {
			owed := amount
			for _, w := range chunks { // the rule: the greatest that fits
				if w <= owed {
					owed -= w
				}
			}
			if owed != 0 {
				t.Fatalf("of %d units in %v, %d cannot be given: %d are missing", units, chunks, amount, owed)
			}
		}
	}
}
