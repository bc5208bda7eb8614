package attest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"latchkey/wire"
)

// Policy is what a relying party accepts. One with an empty field refuses everything. Its CBOR is what a
// vault is bound to at its first start: the numbers of the fields never change.
type Policy struct {
	Rules []Rule `cbor:"1,keyasint"` // the first of a format counts; a format without a rule is refused

	// InsecureAllowDebug accepts programs that their operator can read: their secrets are not secret.
	InsecureAllowDebug bool `cbor:"2,keyasint"`
	// InsecureAllowSimulated accepts simulated platforms, which protect nothing: for tests and demos.
	// Their roots must be listed all the same.
	InsecureAllowSimulated bool `cbor:"3,keyasint"`
}

// Rule is what is accepted of one format. All fields but MinSVN and Unchecked are needed.
type Rule struct {
	Format   string       `cbor:"1,keyasint"`
	Roots    []Root       `cbor:"2,keyasint"` // vendors, by root key
	MinClass Class        `cbor:"3,keyasint"` // this execution class or a stronger one
	Devices  []DeviceKind `cbor:"4,keyasint"` // acceptable kinds of device identity
	TCB      []TCBStatus  `cbor:"5,keyasint"` // acceptable verdicts; TCBRevoked cannot be listed
	Builds   []Build      `cbor:"6,keyasint"` // acceptable programs
	MaxAge   int64        `cbor:"7,keyasint"` // seconds for which a result holds, at most ten years

	// MinSVN lists the lowest acceptable version numbers. A component listed here that the evidence
	// lacks refuses. If TCB lists TCBUnrated, an unrated platform needs every component listed.
	MinSVN []SVN `cbor:"8,keyasint"`
	// Unchecked names the registers that may hold anything. The build must pin every other one, so a
	// register that a newer verifier reports refuses until it is listed in one place or the other.
	Unchecked []string `cbor:"9,keyasint"`
}

// Root is a vendor's root key, as in Facts.VendorRoot, and the vendor's name. Custody rules that want
// different vendors compare names: give all roots of one vendor the same one.
type Root struct {
	Vendor string    `cbor:"1,keyasint"`
	Key    wire.Hash `cbor:"2,keyasint"`
}

// Build is one acceptable program: all these registers must have these values.
type Build struct {
	Name         string        `cbor:"1,keyasint"`
	Measurements []Measurement `cbor:"2,keyasint"`
}

// Validate reports a field that is empty or cannot be allowed. Appraise begins with it, so a mistake in one
// rule refuses all formats. What makes no sense otherwise (a build without registers) matches no evidence.
func (p Policy) Validate() error {
	if len(p.Rules) == 0 {
		return errors.New("the policy has no rule")
	}
	for _, r := range p.Rules {
		for _, c := range []struct {
			ok   bool
			what string
		}{
			{isName(r.Format), "no format"},
			{len(r.Roots) > 0, "no root"},
			{r.MinClass >= KeyOnly && r.MinClass <= IsolatedProgram, "no lowest class"},
			{len(r.Devices) > 0, "no kind of device"},
			{len(r.TCB) > 0, "no TCB status"},
			{!slices.Contains(r.TCB, TCBRevoked), "a revoked TCB cannot be allowed"},
			{!slices.Contains(r.TCB, TCBUnrated) || len(r.MinSVN) > 0, "an unrated TCB needs lowest version numbers"},
			{len(r.Builds) > 0, "no build"},
			{r.MaxAge > 0 && r.MaxAge <= 3653*86400, "no maximal age between a second and ten years"},
		} {
			if !c.ok {
				return fmt.Errorf("rule for format %q: %s", r.Format, c.what)
			}
		}
	}
	return nil
}

// build returns the name of the first build that pins all registers but the unchecked ones.
func (r Rule) build(have []Measurement) string {
	checked := slices.DeleteFunc(slices.Clone(have), func(m Measurement) bool { return slices.Contains(r.Unchecked, m.Name) })
	for _, b := range r.Builds {
		pins := func(m Measurement) bool {
			return slices.ContainsFunc(b.Measurements, func(w Measurement) bool { return w.Name == m.Name && bytes.Equal(w.Value, m.Value) })
		}
		if len(checked) > 0 && len(checked) == len(b.Measurements) && !slices.ContainsFunc(checked, func(m Measurement) bool { return !pins(m) }) {
			return b.Name
		}
	}
	return ""
}

// minimum returns what the TCB lacks, or "".
func (r Rule) minimum(t TCB) string {
	for _, w := range r.MinSVN {
		if !slices.ContainsFunc(t.SVN, func(s SVN) bool { return s.Name == w.Name && s.Value >= w.Value }) {
			return fmt.Sprintf("%s of at least %d", w.Name, w.Value)
		}
	}
	for _, s := range t.SVN {
		if t.Status == TCBUnrated && !slices.ContainsFunc(r.MinSVN, func(w SVN) bool { return w.Name == s.Name }) {
			return fmt.Sprintf("a lowest version of %s in the policy, as the vendor gives no verdict", s.Name)
		}
	}
	return ""
}
