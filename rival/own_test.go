package rival

import (
	"fmt"

	"latchkey/contract"
)

// Own is the machine of this project's language.
type Own struct{ C *Contract }

type ownProgram struct {
	p      *contract.Program
	chunks *[2][]int64 // what instances with the same pots share
	units  [2]int64
}

type ownInstance struct {
	d      *contract.Deal
	s      contract.State
	chunks *[2][]int64
}

// Name returns what the pages call the machine.
func (m Own) Name() string { return "latchkey" }

// Compile reads the source and makes every check that needs no terms.
func (m Own) Compile() (Program, error) {
	p, err := contract.Compile(m.C.Source)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", m.C.Name, err)
	}
	return &ownProgram{p: p}, nil
}

// Load is Compile: the text is what there is.
func (m Own) Load() (Program, error) { return m.Compile() }

// Open binds the terms and opens over chunks that can make every amount. How pots are
// divided comes with an agreement and is no part of opening: it is done once for
// instances with the same pots.
func (p *ownProgram) Open(terms []int64, now int64) (Instance, error) {
	d, err := p.p.Bind(terms)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if units := [2]int64{d.PotUnits(0), d.PotUnits(1)}; p.chunks == nil || p.units != units {
		p.chunks, p.units = &[2][]int64{Denominate(units[0]), Denominate(units[1])}, units
	}
	s, _, err := d.Open(p.chunks[:], now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return &ownInstance{d, s, p.chunks}, nil
}

func (p *ownProgram) Close() error { return nil }

func (i *ownInstance) Step(ev *Event, r *Result) error {
	var o contract.Outcome
	var err error
	if i.s, o, err = i.d.Step(i.s, ev.Event); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	r.Closed = o.Closed
	for _, g := range o.Gives {
		r.Paid[g.Pot][g.To] += i.chunks[g.Pot][g.Chunk]
	}
	return nil
}

func (i *ownInstance) Snapshot(b []byte) ([]byte, error) { return i.s.AppendBinary(b) }

func (i *ownInstance) Restore(b []byte) error {
	s, err := i.d.DecodeState(i.chunks[:], b)
	if err == nil {
		i.s = s
	}
	return err
}

func (i *ownInstance) Close() error { return nil }
