package attest

import (
	"fmt"
	"slices"
	"strings"

	"latchkey/wire"
)

// Check names the question that evidence failed.
type Check string

// The checks of Appraise, in their order.
const (
	CheckPolicy       Check = "policy"       // the policy itself is incomplete
	CheckArguments    Check = "arguments"    // no report data to compare with, an absurd time
	CheckEvidence     Check = "evidence"     // sizes and names
	CheckFormat       Check = "format"       // the policy has no rule for it
	CheckVerifier     Check = "verifier"     // there is not exactly one verifier for it
	CheckCryptography Check = "cryptography" // the verifier found a fault
	CheckFacts        Check = "facts"        // the verifier left something out
	CheckReportData   Check = "report data"  // made for another challenge, identity or purpose
	CheckTime         Check = "time"         // not yet or no longer valid
	CheckSimulated    Check = "simulated"    // simulated, and not allowed by name
	CheckDebug        Check = "debug"        // debug is on, and not allowed by name
	CheckRoot         Check = "vendor root"  // of a root that is not listed
	CheckClass        Check = "class"        // too weak a kind of platform
	CheckDevice       Check = "device"       // a kind of device identity that is not listed
	CheckTCB          Check = "TCB status"   // a verdict that is not listed
	CheckSVN          Check = "TCB version"  // a component is too old or has no minimum
	CheckMeasurement  Check = "measurements" // no listed build has these
	CheckAge          Check = "age"          // the quote is older than max_age
)

// Refusal is the error of Appraise. It contains nothing secret.
type Refusal struct {
	Check  Check
	Seen   string
	Wanted string
	Mend   string // what the reader can do about it
	Err    error  // the verifier's error, if it was one
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("evidence refused by the %s check: saw %s, wanted %s; %s", r.Check, r.Seen, r.Wanted, r.Mend)
}

// Unwrap returns the verifier's error, or nil.
func (r *Refusal) Unwrap() error { return r.Err }

// Appraise verifies the evidence with the verifier of its format and compares what it finds
// with the policy. want is the report data that the evidence must carry (see ReportData) and now
// the time in Unix seconds. Equal arguments give equal results. The error is always a *Refusal.
func Appraise(p Policy, verifiers []Verifier, ev Evidence, want [64]byte, now int64) (Result, error) {
	if err := p.Validate(); err != nil {
		return refuse(CheckPolicy, err.Error(), "a complete policy", "complete the policy")
	}
	if want == ([64]byte{}) || now <= 0 || now > maxTime {
		return refuse(CheckArguments, fmt.Sprintf("time %d and report data %s", now, short(want[:])),
			"a time in Unix seconds and the expected report data", "this is a fault of the program that asks")
	}
	if err := ev.check(); err != nil {
		return refuse(CheckEvidence, err.Error(), "well-formed evidence", "ask for it again")
	}
	i := slices.IndexFunc(p.Rules, func(r Rule) bool { return r.Format == ev.Format })
	if i < 0 {
		return refuse(CheckFormat, ev.Format, "a format that the policy has a rule for",
			"add a rule for the format if you trust it")
	}
	with := slices.DeleteFunc(slices.Clone(verifiers), func(v Verifier) bool { return v.Format() != ev.Format })
	if len(with) != 1 {
		return refuse(CheckVerifier, fmt.Sprintf("%d verifiers for %s", len(with), ev.Format), "exactly one",
			"use a build of this program that contains it")
	}
	f, err := with[0].Verify(ev, now)
	if err != nil {
		return Result{}, &Refusal{CheckCryptography, err.Error(), "a quote that verifies", "ask for new evidence with fresh collateral", err}
	}
	if err := f.Check(); err != nil || f.Format != ev.Format {
		return refuse(CheckFacts, fmt.Sprintf("facts of format %q: %v", f.Format, err), "complete facts of "+ev.Format,
			"this is a fault of the verifier")
	}
	return p.decide(p.Rules[i], f.clone(), want, now)
}

// decide is the part of Appraise after cryptography.
func (p Policy) decide(r Rule, f Facts, want [64]byte, now int64) (Result, error) {
	res := Result{facts: f, build: r.build(f.Measurements), at: now, expires: min(f.NotAfter, now+r.MaxAge)}
	if f.IssuedAt != 0 {
		res.expires = min(res.expires, f.IssuedAt+r.MaxAge)
	}
	if i := slices.IndexFunc(r.Roots, func(v Root) bool { return v.Key == f.VendorRoot }); i >= 0 {
		res.vendor = r.Roots[i].Vendor
	}
	var no *Refusal
	must := func(c Check, ok bool, seen, wanted any, mend string) {
		if !ok && no == nil {
			no = &Refusal{c, fmt.Sprint(seen), fmt.Sprint(wanted), mend, nil}
		}
	}
	hardware, lacks := f.Origin == OriginHardware, r.minimum(f.TCB)
	must(CheckReportData, f.ReportData == want, short(f.ReportData[:]), short(want[:]), "ask for evidence over the present keys and challenge")
	must(CheckTime, f.NotBefore <= now && now <= f.NotAfter, wire.UTC(f.NotBefore)+" to "+wire.UTC(f.NotAfter),
		"validity at "+wire.UTC(now), "ask for new evidence with fresh collateral, or set the clock")
	must(CheckSimulated, hardware || p.InsecureAllowSimulated, f.Platform+", which protects nothing",
		OriginHardware, "for a test or a demo only, allow simulated platforms by name")
	must(CheckDebug, f.Debug == DebugOff || p.InsecureAllowDebug, f.Debug, DebugOff, "start the program without debug")
	must(CheckRoot, res.vendor != "", fmt.Sprint(f.VendorRoot, " of ", f.Platform), r.Roots, "list the root key if you trust its vendor")
	must(CheckRoot, hardware || strings.Contains(res.vendor, "SIMULATED"), "a simulated platform of "+res.vendor,
		"a vendor's name that says SIMULATED", "name this root's vendor so in the policy that nobody overlooks it")
	must(CheckClass, f.Class >= r.MinClass, f.Class, fmt.Sprint(r.MinClass, " or stronger"), "use a stronger platform")
	must(CheckDevice, slices.Contains(r.Devices, f.Device.Kind), f.Device.Kind, r.Devices, "list this kind if a limit shared with others will do")
	must(CheckTCB, slices.Contains(r.TCB, f.TCB.Status), f.TCB.Status, r.TCB, "update the platform's firmware")
	must(CheckSVN, lacks == "", f.TCB.Level(), lacks, "update the platform's firmware")
	must(CheckMeasurement, res.build != "", f.Measurements, r.Builds, "run one of these builds, or list the new one")
	must(CheckAge, now <= res.expires && f.IssuedAt <= now+maxSkew, "a quote of "+wire.UTC(f.IssuedAt),
		fmt.Sprintf("one made within %d seconds before %s", r.MaxAge, wire.UTC(now)), "ask for new evidence")
	var err error
	if res.digest, err = f.Digest(); err != nil {
		must(CheckFacts, false, err, "facts that can be encoded", "this is a fault of the verifier")
	}
	if no != nil {
		return Result{}, no
	}
	return res, nil
}

func refuse(c Check, seen, wanted, mend string) (Result, error) {
	return Result{}, &Refusal{c, seen, wanted, mend, nil}
}

// Result is a positive appraisal. Only Appraise makes one; the zero Result is never valid.
type Result struct {
	facts         Facts
	vendor, build string
	digest        wire.Hash
	at, expires   int64
}

// Valid says whether the result holds at now: from its appraisal to the second Expires, inclusive.
func (r Result) Valid(now int64) bool { return r.at != 0 && r.at <= now && now <= r.expires }

// AppraisedAt returns the time that Appraise was given, Expires the last second at which the result holds.
func (r Result) AppraisedAt() int64 { return r.at }
func (r Result) Expires() int64     { return r.expires }

// Vendor returns the policy's name for the vendor; for a simulated one it says SIMULATED.
func (r Result) Vendor() string { return r.vendor }

// Build returns the policy's name for the program that the measurements match.
func (r Result) Build() string { return r.build }

// Facts returns a copy of the facts that were appraised.
func (r Result) Facts() Facts { return r.facts.clone() }

// Simulated says whether the platform is a simulation.
func (r Result) Simulated() bool { return r.facts.Origin != OriginHardware }

// DeviceKey returns that of the facts which were appraised.
func (r Result) DeviceKey() (key wire.Hash, ok bool) { return r.facts.DeviceKey() }

// DeviceKey returns the key under which limits per device are counted: a hash of vendor root and
// device identity. It does not depend on the format, as one machine may speak several. All devices
// without a unique identity share one limit: for them ok is false and the key zero.
func (f Facts) DeviceKey() (key wire.Hash, ok bool) {
	if f.Device.Kind != DeviceUnique {
		return wire.Hash{}, false
	}
	return wire.HashBytes("latchkey/device/v1", append(f.VendorRoot[:], f.Device.ID...)), true
}

// EvidenceDigest identifies the evidence, in certificates for example: see Facts.Digest.
func (r Result) EvidenceDigest() wire.Hash { return r.digest }

// String describes the result on one line for people.
func (r Result) String() string {
	if r.at == 0 {
		return "no result"
	}
	s := fmt.Sprintf("%s (%s), %s, build %s, TCB %s", r.vendor, r.facts.Platform, r.facts.Class, r.build, r.facts.TCB.Status)
	if r.facts.Debug != DebugOff {
		s += ", DEBUG ON: nothing is secret"
	}
	if r.Simulated() {
		s += ", SIMULATED: protects nothing"
	}
	return s
}

// short is for messages: the first eight bytes.
func short(b []byte) string { return fmt.Sprintf("%.16x", b[:min(len(b), 8)]) }
