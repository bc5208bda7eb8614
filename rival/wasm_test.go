package rival

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Wasm is WebAssembly in wazero's interpreter.
type Wasm struct {
	C *Contract
	R wazero.Runtime
}

// NewWasm returns a machine with a runtime of its own.
func NewWasm(c *Contract) Wasm {
	return Wasm{c, wazero.NewRuntimeWithConfig(context.Background(), wazero.NewRuntimeConfigInterpreter())}
}

// stepFuel is how many instructions one call may take. The longest way through either
// contract takes less than 200.
const stepFuel = 1000

type wasmProgram struct {
	m Wasm
	c wazero.CompiledModule
}

type wasmInstance struct {
	module  api.Module
	step    api.Function
	fuel    api.MutableGlobal
	state   []api.MutableGlobal
	stack   [7]uint64
	parties int
}

// Name returns what the pages call the machine.
func (m Wasm) Name() string { return "wazero" }

// Compile assembles the text and loads the module.
func (m Wasm) Compile() (Program, error) {
	module, _, err := assembleModule(m.C.Wat)
	if err != nil {
		return nil, err
	}
	return m.load(module)
}

// Load checks the module and makes the interpreter's form of it.
func (m Wasm) Load() (Program, error) { return m.load(m.C.Module) }

func (m Wasm) load(module []byte) (Program, error) {
	c, err := m.R.CompileModule(context.Background(), module)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", m.C.Name, err)
	}
	return &wasmProgram{m, c}, nil
}

func (p *wasmProgram) Close() error { return p.c.Close(context.Background()) }

func (p *wasmProgram) Open(terms []int64, now int64) (Instance, error) {
	module, err := p.m.R.InstantiateModule(context.Background(), p.c, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		return nil, fmt.Errorf("instantiate %s: %w", p.m.C.Name, err)
	}
	i := &wasmInstance{module: module, step: module.ExportedFunction("step"), parties: p.m.C.Parties}
	for _, name := range p.m.C.State {
		i.state = append(i.state, module.ExportedGlobal(name).(api.MutableGlobal))
	}
	i.fuel = module.ExportedGlobal("fuel").(api.MutableGlobal)
	i.fuel.Set(stepFuel)
	for j, v := range append(terms[:len(terms):len(terms)], now) {
		i.stack[j] = uint64(v)
	}
	if err := module.ExportedFunction("open").CallWithStack(context.Background(), i.stack[:]); err != nil {
		return nil, fmt.Errorf("open %s: %w", p.m.C.Name, err)
	}
	if i.stack[0] == 0 {
		return nil, fmt.Errorf("open %s: %w", p.m.C.Name, ErrRefused)
	}
	return i, nil
}

func (i *wasmInstance) Close() error { return i.module.Close(context.Background()) }

func (i *wasmInstance) Step(ev *Event, r *Result) error {
	i.fuel.Set(stepFuel)
	i.stack = [7]uint64{uint64(ev.Kind), uint64(ev.At), uint64(ev.Party), uint64(ev.Number), 0, uint64(ev.Value), uint64(ev.Observed)}
	if ev.HasValue {
		i.stack[4] = 1
	}
	if err := i.step.CallWithStack(context.Background(), i.stack[:]); err != nil {
		return fmt.Errorf("step: %w", err)
	}
	if i.stack[0] == 0 {
		return ErrRefused
	}
	if r.Closed = i.stack[0] == 2; r.Closed {
		for party := range i.parties {
			r.Paid[0][party] = int64(i.stack[1] >> (20 * party) & (1<<20 - 1))
			r.Paid[1][party] = int64(i.stack[2] >> (20 * party) & (1<<20 - 1))
		}
	}
	return nil
}

// Snapshot reads the globals of the state: the engine itself has no snapshots.
func (i *wasmInstance) Snapshot(b []byte) ([]byte, error) {
	for _, g := range i.state {
		b = binary.BigEndian.AppendUint64(b, g.Get())
	}
	return b, nil
}

func (i *wasmInstance) Restore(b []byte) error {
	if len(b) != 8*len(i.state) {
		return fmt.Errorf("restore: %d bytes for %d globals", len(b), len(i.state))
	}
	for j, g := range i.state {
		g.Set(binary.BigEndian.Uint64(b[8*j:]))
	}
	return nil
}
