package attest

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/wire"
)

const now = 1_800_000_000

// states is a verifier that reports fixed facts: appraisal is tested apart from cryptography.
type states struct {
	facts Facts
	err   error
}

func (s states) Format() string                        { return "test/1" }
func (s states) Verify(Evidence, int64) (Facts, error) { return s.facts, s.err }

func goodFacts() Facts {
	return Facts{
		Format: "test/1", Class: IsolatedProgram, VendorRoot: wire.Hash{1}, Platform: "Test One", Origin: OriginHardware,
		Device:       Device{Kind: DeviceUnique, ID: []byte{7, 7}},
		Measurements: []Measurement{{"config", []byte{3}}, {"program", []byte{1, 2}}},
		TCB:          TCB{Status: TCBUpToDate, SVN: []SVN{{"firmware", 4}, {"microcode", 9}}},
		Debug:        DebugOff, ReportData: goodData(), NotBefore: now - 100, NotAfter: now + 100_000,
	}
}

func goodPolicy() Policy {
	return Policy{Rules: []Rule{{
		Format: "test/1", Roots: []Root{{"Acme", wire.Hash{1}}, {"SIMULATED Acme", wire.Hash{2}}}, MinClass: MeasuredSystem,
		Devices: []DeviceKind{DeviceUnique}, TCB: []TCBStatus{TCBUpToDate, TCBUnrated},
		Builds: []Build{{"vault 1", []Measurement{{"program", []byte{1, 2}}}}}, MaxAge: 3600,
		MinSVN: []SVN{{"firmware", 4}, {"microcode", 1}}, Unchecked: []string{"config"},
	}}}
}

func goodData() [64]byte { return ReportData(PurposeIdentity, [32]byte{1}, [32]byte{2}) }

func appraiseFacts(p Policy, f Facts) (Result, error) {
	return Appraise(p, []Verifier{states{facts: f}}, Evidence{Format: "test/1", Quote: []byte{1}}, goodData(), now)
}

// refusedBy returns the check that refused, or "" for success.
func refusedBy(t *testing.T, res Result, err error) Check {
	t.Helper()
	if err == nil {
		return ""
	}
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("error %v is not a Refusal", err)
	}
	if r.Seen == "" || r.Wanted == "" || r.Mend == "" {
		t.Errorf("refusal lacks what was seen, wanted or how to mend: %+v", r)
	}
	if res.Valid(now) || res.Expires() != 0 {
		t.Errorf("a refusal came with a result: %v", res)
	}
	return r.Check
}

func TestZeroPolicyRefuses(t *testing.T) {
	res, err := appraiseFacts(Policy{}, goodFacts())
	if got := refusedBy(t, res, err); got != CheckPolicy {
		t.Errorf("refused by %q, want %q", got, CheckPolicy)
	}
	res, err = appraiseFacts(Policy{Rules: []Rule{{}}, InsecureAllowDebug: true, InsecureAllowSimulated: true}, goodFacts())
	if got := refusedBy(t, res, err); got != CheckPolicy {
		t.Errorf("empty rule refused by %q, want %q", got, CheckPolicy)
	}
}

// TestEmptyFieldRefuses empties each field of the policy, by reflection so that a new one cannot be
// forgotten. Only the two documented ones may be left empty, and these must not widen anything.
func TestEmptyFieldRefuses(t *testing.T) {
	try := func(name string, p Policy, f Facts) {
		if _, err := appraiseFacts(p, f); err == nil {
			t.Errorf("policy with empty %s accepts", name)
		}
	}
	for i := range reflect.TypeFor[Rule]().NumField() {
		p := goodPolicy()
		reflect.ValueOf(&p.Rules[0]).Elem().Field(i).SetZero()
		try("Rule."+reflect.TypeFor[Rule]().Field(i).Name, p, goodFacts())
	}
	for i := range reflect.TypeFor[Root]().NumField() {
		p := goodPolicy()
		p.Rules[0].Roots = p.Rules[0].Roots[:1]
		reflect.ValueOf(&p.Rules[0].Roots[0]).Elem().Field(i).SetZero()
		try("Root."+reflect.TypeFor[Root]().Field(i).Name, p, goodFacts())
	}
	for i := range reflect.TypeFor[Build]().NumField() {
		p := goodPolicy()
		reflect.ValueOf(&p.Rules[0].Builds[0]).Elem().Field(i).SetZero()
		f := goodFacts()
		try("Build."+reflect.TypeFor[Build]().Field(i).Name, p, f)
		p.Rules[0].Unchecked = []string{"config", "program"}
		try("Build."+reflect.TypeFor[Build]().Field(i).Name+" and nothing checked", p, f)
	}
	p := goodPolicy()
	p.Rules[0].TCB, p.Rules[0].MinSVN = []TCBStatus{TCBUpToDate}, nil
	if _, err := appraiseFacts(p, goodFacts()); err != nil {
		t.Errorf("MinSVN is optional where the vendor gives a verdict: %v", err)
	}
	p = goodPolicy()
	p.Rules[0].Unchecked = nil
	p.Rules[0].Builds[0].Measurements = goodFacts().Measurements
	if _, err := appraiseFacts(p, goodFacts()); err != nil {
		t.Errorf("Unchecked is optional where all registers are pinned: %v", err)
	}
}

// TestUnsetFactRefuses does the same with the verifier's facts.
func TestUnsetFactRefuses(t *testing.T) {
	for i := range reflect.TypeFor[Facts]().NumField() {
		name := reflect.TypeFor[Facts]().Field(i).Name
		if name == "IssuedAt" {
			continue // documented: not every format has it
		}
		f := goodFacts()
		reflect.ValueOf(&f).Elem().Field(i).SetZero()
		res, err := appraiseFacts(goodPolicy(), f)
		if got := refusedBy(t, res, err); got != CheckFacts {
			t.Errorf("unset %s: refused by %q, want %q", name, got, CheckFacts)
		}
	}
}

func TestAppraise(t *testing.T) {
	simulate := func(f *Facts) {
		f.Origin, f.VendorRoot, f.Platform = OriginSimulated, wire.Hash{2}, "SIMULATED Acme chip"
	}
	tests := []struct {
		name string
		edit func(*Policy, *Facts)
		want Check
	}{
		{"good", func(*Policy, *Facts) {}, ""},
		{"second build", func(p *Policy, f *Facts) {
			p.Rules[0].Builds = append([]Build{{"vault 0", []Measurement{{"program", []byte{9}}}}}, p.Rules[0].Builds...)
		}, ""},
		{"other report data", func(_ *Policy, f *Facts) { f.ReportData[63] ^= 1 }, CheckReportData},
		{"first second", func(_ *Policy, f *Facts) { f.NotBefore = now }, ""},
		{"not yet valid", func(_ *Policy, f *Facts) { f.NotBefore = now + 1 }, CheckTime},
		{"last second", func(_ *Policy, f *Facts) { f.NotAfter = now }, ""},
		{"expired", func(_ *Policy, f *Facts) { f.NotAfter = now - 1 }, CheckTime},
		{"validity turned round", func(_ *Policy, f *Facts) { f.NotBefore, f.NotAfter = f.NotAfter, f.NotBefore }, CheckFacts},
		{"simulated", func(_ *Policy, f *Facts) { simulate(f) }, CheckSimulated},
		{"simulated and allowed", func(p *Policy, f *Facts) { simulate(f); p.InsecureAllowSimulated = true }, ""},
		{"simulated and allowed, root not listed", func(p *Policy, f *Facts) {
			simulate(f)
			p.InsecureAllowSimulated = true
			p.Rules[0].Roots = p.Rules[0].Roots[:1]
		}, CheckRoot},
		{"simulated under a vendor's name without the word", func(p *Policy, f *Facts) {
			simulate(f)
			f.VendorRoot = wire.Hash{1}
			p.InsecureAllowSimulated = true
		}, CheckRoot},
		{"simulated without the word", func(p *Policy, f *Facts) {
			simulate(f)
			f.Platform = "Acme chip"
			p.InsecureAllowSimulated = true
		}, CheckFacts},
		{"unknown origin", func(p *Policy, f *Facts) { f.Origin = 3; p.InsecureAllowSimulated = true }, CheckFacts},
		{"debug", func(_ *Policy, f *Facts) { f.Debug = DebugOn }, CheckDebug},
		{"debug and allowed", func(p *Policy, f *Facts) { f.Debug = DebugOn; p.InsecureAllowDebug = true }, ""},
		{"unknown debug state", func(p *Policy, f *Facts) { f.Debug = 3; p.InsecureAllowDebug = true }, CheckFacts},
		{"other root", func(_ *Policy, f *Facts) { f.VendorRoot[31] ^= 1 }, CheckRoot},
		{"class as low as allowed", func(_ *Policy, f *Facts) { f.Class = MeasuredSystem }, ""},
		{"class too low", func(_ *Policy, f *Facts) { f.Class = KeyOnly }, CheckClass},
		{"unknown class", func(_ *Policy, f *Facts) { f.Class = IsolatedProgram + 1 }, CheckFacts},
		{"batch device", func(_ *Policy, f *Facts) { f.Device.Kind = DeviceBatch }, CheckDevice},
		{"no device", func(_ *Policy, f *Facts) { f.Device = Device{Kind: DeviceNone} }, CheckDevice},
		{"no device and allowed", func(p *Policy, f *Facts) {
			f.Device = Device{Kind: DeviceNone}
			p.Rules[0].Devices = append(p.Rules[0].Devices, DeviceNone)
		}, ""},
		{"no device, with an identity", func(_ *Policy, f *Facts) { f.Device.Kind = DeviceNone }, CheckFacts},
		{"masked device identity", func(_ *Policy, f *Facts) { f.Device.ID = make([]byte, 64) }, CheckFacts},
		{"long device identity", func(_ *Policy, f *Facts) { f.Device.ID = append(make([]byte, 64), 1) }, CheckFacts},
		{"out of date", func(_ *Policy, f *Facts) { f.TCB.Status = TCBOutOfDate }, CheckTCB},
		{"revoked", func(_ *Policy, f *Facts) { f.TCB.Status = TCBRevoked }, CheckTCB},
		{"revoked and listed", func(p *Policy, f *Facts) { p.Rules[0].TCB = append(p.Rules[0].TCB, TCBRevoked) }, CheckPolicy},
		{"old component", func(_ *Policy, f *Facts) { f.TCB.SVN[0].Value = 3 }, CheckSVN},
		{"component missing", func(_ *Policy, f *Facts) { f.TCB.SVN = f.TCB.SVN[1:] }, CheckSVN},
		{"another component, rated", func(_ *Policy, f *Facts) { f.TCB.SVN = append(f.TCB.SVN, SVN{"snp", 1}) }, ""},
		{"another component, unrated", func(_ *Policy, f *Facts) {
			f.TCB.SVN = append(f.TCB.SVN, SVN{"snp", 1})
			f.TCB.Status = TCBUnrated
		}, CheckSVN},
		{"unrated", func(_ *Policy, f *Facts) { f.TCB.Status = TCBUnrated }, ""},
		{"unrated and unversioned", func(_ *Policy, f *Facts) { f.TCB = TCB{Status: TCBUnrated} }, CheckSVN},
		{"other program", func(_ *Policy, f *Facts) { f.Measurements[1].Value = []byte{1, 3} }, CheckMeasurement},
		{"program cut short", func(_ *Policy, f *Facts) { f.Measurements[1].Value = []byte{1} }, CheckMeasurement},
		{"program missing", func(_ *Policy, f *Facts) { f.Measurements = f.Measurements[:1] }, CheckMeasurement},
		{"register nobody listed", func(_ *Policy, f *Facts) {
			f.Measurements = append(f.Measurements, Measurement{"rtmr3", []byte{0}})
		}, CheckMeasurement},
		{"unchecked register differs", func(_ *Policy, f *Facts) { f.Measurements[0].Value = []byte{99} }, ""},
		{"pinned and unchecked", func(p *Policy, f *Facts) { p.Rules[0].Unchecked = []string{"config", "program"} }, CheckMeasurement},
		{"register reported twice", func(_ *Policy, f *Facts) { f.Measurements[0].Name = "program" }, CheckFacts},
		{"registers out of order", func(_ *Policy, f *Facts) {
			f.Measurements[0], f.Measurements[1] = f.Measurements[1], f.Measurements[0]
		}, CheckFacts},
		{"registers of two builds", func(p *Policy, f *Facts) {
			p.Rules[0].Unchecked = nil
			p.Rules[0].Builds = []Build{{"a", []Measurement{{"config", []byte{3}}, {"program", []byte{0}}}},
				{"b", []Measurement{{"config", []byte{0}}, {"program", []byte{1, 2}}}}}
		}, CheckMeasurement},
		{"build that lists a register twice", func(p *Policy, f *Facts) {
			p.Rules[0].Unchecked = nil
			p.Rules[0].Builds[0].Measurements = []Measurement{{"program", []byte{1, 2}}, {"program", []byte{1, 2}}}
		}, CheckMeasurement},
		{"too many registers", func(_ *Policy, f *Facts) {
			f.Measurements = nil
			for i := range 65 {
				f.Measurements = append(f.Measurements, Measurement{fmt.Sprintf("pcr%02d", i), []byte{1}})
			}
		}, CheckFacts},
		{"issued within max age", func(_ *Policy, f *Facts) { f.IssuedAt = now - 3600 }, ""},
		{"issued before max age", func(_ *Policy, f *Facts) { f.IssuedAt = now - 3601 }, CheckAge},
		{"issued a little ahead", func(_ *Policy, f *Facts) { f.IssuedAt = now + 300 }, ""},
		{"issued in the future", func(_ *Policy, f *Facts) { f.IssuedAt = now + 301 }, CheckAge},
		{"issued before 1970", func(_ *Policy, f *Facts) { f.IssuedAt = -1 }, CheckFacts},
		{"issued after the year 9999", func(_ *Policy, f *Facts) { f.IssuedAt = 1<<63 - 1 }, CheckFacts},
		{"components out of order", func(_ *Policy, f *Facts) {
			f.TCB.SVN[0], f.TCB.SVN[1] = f.TCB.SVN[1], f.TCB.SVN[0]
		}, CheckFacts},
		{"max age absurd", func(p *Policy, _ *Facts) { p.Rules[0].MaxAge = 1 << 62 }, CheckPolicy},
		{"description of two lines", func(_ *Policy, f *Facts) { f.Platform = "a\nb" }, CheckFacts},
		{"mistake in another rule", func(p *Policy, _ *Facts) { p.Rules = append(p.Rules, Rule{Format: "other/1"}) }, CheckPolicy},
		{"no rule for the format", func(p *Policy, _ *Facts) { p.Rules[0].Format = "other/1" }, CheckFormat},
		{"facts of another format", func(_ *Policy, f *Facts) { f.Format = "other/1" }, CheckFacts},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			p, f := goodPolicy(), goodFacts()
			tc.edit(&p, &f)
			res, err := appraiseFacts(p, f)
			if got := refusedBy(t, res, err); got != tc.want {
				t.Errorf("refused by %q, want %q (error %v)", got, tc.want, err)
			}
			if err == nil && !res.Valid(now) {
				t.Errorf("result is not valid at the time of its appraisal: %v", res)
			}
		})
	}
}

func TestAppraiseArguments(t *testing.T) {
	fault := errors.New("bad signature")
	good := Evidence{Format: "test/1", Quote: []byte{1}}
	one := []Verifier{states{facts: goodFacts()}}
	tests := []struct {
		name string
		vs   []Verifier
		ev   Evidence
		data [64]byte
		now  int64
		want Check
	}{
		{"good", one, good, goodData(), now, ""},
		{"no report data wanted", one, good, [64]byte{}, now, CheckArguments},
		{"no time", one, good, goodData(), 0, CheckArguments},
		{"absurd time", one, good, goodData(), 1 << 60, CheckArguments},
		{"no verifier", nil, good, goodData(), now, CheckVerifier},
		{"two verifiers", append(one, one...), good, goodData(), now, CheckVerifier},
		{"verifier refuses", []Verifier{states{facts: goodFacts(), err: fault}}, good, goodData(), now, CheckCryptography},
		{"no quote", one, Evidence{Format: "test/1"}, goodData(), now, CheckEvidence},
		{"no format", one, Evidence{Quote: []byte{1}}, goodData(), now, CheckEvidence},
		{"long quote", one, Evidence{Format: "test/1", Quote: make([]byte, MaxQuote+1)}, goodData(), now, CheckEvidence},
		{"unknown format", one, Evidence{Format: "test/2", Quote: []byte{1}}, goodData(), now, CheckFormat},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			res, err := Appraise(goodPolicy(), tc.vs, tc.ev, tc.data, tc.now)
			if got := refusedBy(t, res, err); got != tc.want {
				t.Errorf("refused by %q, want %q (error %v)", got, tc.want, err)
			}
			if tc.want == CheckCryptography && !errors.Is(err, fault) {
				t.Errorf("the verifier's error is lost in %v", err)
			}
		})
	}
}

func TestResult(t *testing.T) {
	facts := goodFacts()
	res, err := appraiseFacts(goodPolicy(), facts)
	if err != nil {
		t.Fatal(err)
	}
	if res.Vendor() != "Acme" || res.Build() != "vault 1" || res.AppraisedAt() != now || res.Expires() != now+3600 {
		t.Errorf("got %q %q %d %d", res.Vendor(), res.Build(), res.AppraisedAt(), res.Expires())
	}
	for _, c := range []struct {
		at   int64
		want bool
	}{{now - 1, false}, {now, true}, {now + 3600, true}, {now + 3601, false}} {
		if got := res.Valid(c.at); got != c.want {
			t.Errorf("Valid(now%+d) = %v, want %v", c.at-now, got, c.want)
		}
	}
	if (Result{}).Valid(0) || (Result{}).String() != "no result" {
		t.Error("the zero result passes for one")
	}
	// Nobody can change a result through the memory it shares.
	facts.Measurements[1].Value[0], facts.Device.ID[0], facts.TCB.SVN[0].Value = 99, 99, 99
	got := res.Facts()
	got.Measurements[0].Name, got.Measurements[1].Value[0], got.Device.ID[0], got.TCB.SVN[1].Value = "x", 98, 98, 98
	if diff := cmp.Diff(goodFacts(), res.Facts()); diff != "" {
		t.Errorf("result changed (-want +got):\n%s", diff)
	}
	if strings.Contains(res.String(), "SIMULATED") || strings.Contains(res.String(), "DEBUG") {
		t.Errorf("hardware result says %q", res)
	}
}

func TestSimulatedIsShown(t *testing.T) {
	p, f := goodPolicy(), goodFacts()
	p.InsecureAllowSimulated, p.InsecureAllowDebug = true, true
	f.Origin, f.VendorRoot, f.Platform, f.Debug = OriginSimulated, wire.Hash{2}, "SIMULATED Acme chip", DebugOn
	res, err := appraiseFacts(p, f)
	if err != nil {
		t.Fatal(err)
	}
	want := "SIMULATED Acme (SIMULATED Acme chip), isolated program, build vault 1, TCB up to date, DEBUG ON: nothing is secret, SIMULATED: protects nothing"
	if diff := cmp.Diff(want, res.String()); diff != "" {
		t.Error(diff)
	}
	if !res.Simulated() || !strings.Contains(res.Vendor(), "SIMULATED") {
		t.Errorf("Simulated() = %v, Vendor() = %q", res.Simulated(), res.Vendor())
	}
}

func TestDeviceKey(t *testing.T) {
	key := func(edit func(*Facts)) wire.Hash {
		p, f := goodPolicy(), goodFacts()
		p.Rules[0].Devices = []DeviceKind{DeviceUnique, DeviceBatch, DeviceNone}
		p.Rules[0].Roots = append(p.Rules[0].Roots, Root{"Other", wire.Hash{3}})
		edit(&f)
		res, err := appraiseFacts(p, f)
		if err != nil {
			t.Fatal(err)
		}
		k, ok := res.DeviceKey()
		if ok != (f.Device.Kind == DeviceUnique) || ok == (k == wire.Hash{}) {
			t.Errorf("kind %v: key %v, ok %v", f.Device.Kind, k, ok)
		}
		return k
	}
	one := key(func(*Facts) {})
	if key(func(f *Facts) { f.TCB.SVN[0].Value++; f.Measurements[0].Value = []byte{5} }) != one {
		t.Error("the key changes with firmware or configuration")
	}
	if key(func(f *Facts) { f.Device.ID = []byte{7, 8} }) == one || key(func(f *Facts) { f.VendorRoot = wire.Hash{3} }) == one {
		t.Error("two devices have one key")
	}
	if key(func(f *Facts) { f.Device.Kind = DeviceBatch }) != key(func(f *Facts) { f.Device = Device{Kind: DeviceNone} }) {
		t.Error("devices without a unique identity do not share a limit")
	}
}

// TestDigest: newer collateral leaves the digest, anything the device vouched for changes it.
func TestDigest(t *testing.T) {
	digest := func(edit func(*Facts)) wire.Hash {
		f := goodFacts()
		edit(&f)
		d, err := f.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	one := digest(func(*Facts) {})
	if digest(func(f *Facts) {
		f.NotBefore, f.NotAfter, f.IssuedAt, f.TCB.Status, f.Platform = 1, 2, 3, TCBOutOfDate, "other words"
	}) != one {
		t.Error("the digest depends on collateral")
	}
	for name, edit := range map[string]func(*Facts){
		"format":      func(f *Facts) { f.Format = "test/2" },
		"class":       func(f *Facts) { f.Class = KeyOnly },
		"root":        func(f *Facts) { f.VendorRoot[0]++ },
		"origin":      func(f *Facts) { f.Origin = OriginSimulated },
		"device":      func(f *Facts) { f.Device.ID = []byte{7, 8} },
		"register":    func(f *Facts) { f.Measurements[0].Name = "x" },
		"value":       func(f *Facts) { f.Measurements[0].Value = []byte{4} },
		"svn":         func(f *Facts) { f.TCB.SVN[1].Value++ },
		"debug":       func(f *Facts) { f.Debug = DebugOn },
		"report data": func(f *Facts) { f.ReportData[0]++ },
	} {
		if digest(edit) == one {
			t.Errorf("the digest does not cover the %s", name)
		}
	}
}

func TestRefusalText(t *testing.T) {
	f := goodFacts()
	f.Debug = DebugOn
	_, err := appraiseFacts(goodPolicy(), f)
	want := "evidence refused by the debug check: saw debug on, wanted debug off; start the program without debug"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	f = goodFacts()
	f.Measurements[1].Value = []byte{9}
	_, err = appraiseFacts(goodPolicy(), f)
	want = "evidence refused by the measurements check: saw [config=03 program=09], wanted [{vault 1 [program=0102]}]; run one of these builds, or list the new one"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Class(0).String(), "unknown (0)"}, {Class(4).String(), "unknown (4)"}, {KeyOnly.String(), "key only"},
		{IsolatedProgram.String(), "isolated program"}, {TCBRevoked.String(), "revoked"}, {DeviceNone.String(), "none"},
		{goodFacts().TCB.Level(), "up to date [firmware=4 microcode=9]"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func BenchmarkAppraise(b *testing.B) {
	p, f := goodPolicy(), goodFacts()
	for b.Loop() {
		if _, err := appraiseFacts(p, f); err != nil {
			b.Fatal(err)
		}
	}
}
