// Package policyfile reads an attestation policy from TOML, the form in which people write it.
//
// It is stricter than attest.Policy.Validate, which only makes sure that a mistake refuses: here
// anything unknown, missing or listed twice is an error that names it. See the example.
package policyfile

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pelletier/go-toml/v2"

	"latchkey/attest"
	"latchkey/tomlfile"
	"latchkey/wire"
)

type file struct {
	InsecureAllowDebug     bool   `toml:"insecure_allow_debug,omitempty" comment:"true accepts programs that their operator can read"`
	InsecureAllowSimulated bool   `toml:"insecure_allow_simulated,omitempty" comment:"true accepts platforms that protect nothing"`
	Rules                  []rule `toml:"rule"`
}

type rule struct {
	Format    string            `toml:"format"`
	MinClass  string            `toml:"min_class"`
	Devices   []string          `toml:"devices"`
	TCB       []string          `toml:"tcb"`
	MaxAge    int64             `toml:"max_age" comment:"seconds for which a result holds"`
	Unchecked []string          `toml:"unchecked,omitempty"`
	MinSVN    map[string]uint64 `toml:"min_svn,omitempty"`
	Roots     []root            `toml:"root"`
	Builds    []build           `toml:"build"`
}

type root struct {
	Vendor string    `toml:"vendor"`
	Key    wire.Hash `toml:"key"`
}

type build struct {
	Name         string            `toml:"name"`
	Measurements map[string]string `toml:"measurements"`
}

// Parse reads a policy and checks it. The error names the rule and the field.
func Parse(b []byte) (attest.Policy, error) {
	var f file
	if err := tomlfile.Decode(b, &f); err != nil {
		return attest.Policy{}, fmt.Errorf("attestation policy: %w", err)
	}
	p := attest.Policy{InsecureAllowDebug: f.InsecureAllowDebug, InsecureAllowSimulated: f.InsecureAllowSimulated}
	for i, r := range f.Rules {
		out, err := r.policy()
		if err != nil {
			return attest.Policy{}, fmt.Errorf("attestation policy: rule %d (%q): %w", i+1, r.Format, err)
		}
		if slices.ContainsFunc(p.Rules, func(o attest.Rule) bool { return o.Format == r.Format }) {
			return attest.Policy{}, fmt.Errorf("attestation policy: rule %d: there is an earlier rule for format %q", i+1, r.Format)
		}
		p.Rules = append(p.Rules, out)
	}
	if err := p.Validate(); err != nil {
		return attest.Policy{}, fmt.Errorf("attestation policy: %w", err)
	}
	return p, nil
}

// policy makes the words of a rule values of attest; no root is listed twice. What is
// left empty Validate finds.
func (r rule) policy() (attest.Rule, error) {
	out := attest.Rule{Format: r.Format, MaxAge: r.MaxAge, Unchecked: r.Unchecked}
	var err error
	if out.MinClass, err = value[attest.Class]("min_class", r.MinClass, attest.IsolatedProgram); err != nil {
		return out, err
	}
	for _, s := range r.Devices {
		k, err := value[attest.DeviceKind]("devices", s, attest.DeviceNone)
		if err != nil {
			return out, err
		}
		out.Devices = append(out.Devices, k)
	}
	for _, s := range r.TCB {
		t, err := value[attest.TCBStatus]("tcb", s, attest.TCBRevoked)
		if err != nil {
			return out, err
		}
		out.TCB = append(out.TCB, t)
	}
	for _, name := range slices.Sorted(maps.Keys(r.MinSVN)) {
		out.MinSVN = append(out.MinSVN, attest.SVN{Name: name, Value: r.MinSVN[name]})
	}
	for i, v := range r.Roots {
		if v.Vendor == "" || v.Key == (wire.Hash{}) {
			return out, fmt.Errorf("root %d lacks its vendor or key", i+1)
		}
		if slices.ContainsFunc(out.Roots, func(o attest.Root) bool { return o.Key == v.Key }) {
			return out, fmt.Errorf("root %d: the key of %q is listed twice", i+1, v.Vendor)
		}
		out.Roots = append(out.Roots, attest.Root(v))
	}
	for i, b := range r.Builds {
		m, err := b.measurements(r.Unchecked)
		if err != nil {
			return out, fmt.Errorf("build %d (%q): %w", i+1, b.Name, err)
		}
		out.Builds = append(out.Builds, attest.Build{Name: b.Name, Measurements: m})
	}
	return out, nil
}

func (b build) measurements(unchecked []string) ([]attest.Measurement, error) {
	if b.Name == "" || len(b.Measurements) == 0 {
		return nil, errors.New("it lacks its name or measurements")
	}
	var out []attest.Measurement
	for _, name := range slices.Sorted(maps.Keys(b.Measurements)) {
		v, err := hex.DecodeString(b.Measurements[name])
		if err != nil || len(v) == 0 {
			return nil, fmt.Errorf("measurement %q is not hexadecimal", name)
		}
		if slices.Contains(unchecked, name) {
			return nil, fmt.Errorf("measurement %q is listed as unchecked as well", name)
		}
		out = append(out, attest.Measurement{Name: name, Value: v})
	}
	return out, nil
}

// value returns the value between 1 and last that prints as s.
func value[T interface {
	~uint8
	fmt.Stringer
}](field, s string, last T) (T, error) {
	var known []string
	for v := T(1); v <= last; v++ {
		if v.String() == s {
			return v, nil
		}
		known = append(known, v.String())
	}
	return 0, fmt.Errorf("%s: %q is not one of %q", field, s, known)
}

// Format writes a policy such that Parse reads the same one, up to the order of named entries.
func Format(p attest.Policy) ([]byte, error) {
	f := file{InsecureAllowDebug: p.InsecureAllowDebug, InsecureAllowSimulated: p.InsecureAllowSimulated}
	for _, r := range p.Rules {
		out := rule{Format: r.Format, MinClass: r.MinClass.String(), MaxAge: r.MaxAge, Unchecked: r.Unchecked}
		for _, d := range r.Devices {
			out.Devices = append(out.Devices, d.String())
		}
		for _, s := range r.TCB {
			out.TCB = append(out.TCB, s.String())
		}
		for _, s := range r.MinSVN {
			if out.MinSVN == nil {
				out.MinSVN = map[string]uint64{}
			}
			out.MinSVN[s.Name] = s.Value
		}
		for _, v := range r.Roots {
			out.Roots = append(out.Roots, root(v))
		}
		for _, b := range r.Builds {
			ms := map[string]string{}
			for _, m := range b.Measurements {
				ms[m.Name] = hex.EncodeToString(m.Value)
			}
			out.Builds = append(out.Builds, build{Name: b.Name, Measurements: ms})
		}
		f.Rules = append(f.Rules, out)
	}
	b, err := toml.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("write attestation policy: %w", err)
	}
	return b, nil
}
