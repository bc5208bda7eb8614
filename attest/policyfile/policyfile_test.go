package policyfile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/attest"
	"latchkey/wire"
)

const key = "0100000000000000000000000000000000000000000000000000000000000000"

const good = `insecure_allow_simulated = true

[[rule]]
format = "latchkey-sim/1"
min_class = "isolated program"
devices = ["unique", "none"]
tcb = ["up to date", "unrated"]
max_age = 86400
unchecked = ["config"]
min_svn = { microcode = 9, firmware = 4 }

[[rule.root]]
vendor = "SIMULATED Acme"
key = "` + key + `"

[[rule.build]]
name = "vault 1"
measurements = { program = "0102", boot = "03" }
`

func want() attest.Policy {
	return attest.Policy{InsecureAllowSimulated: true, Rules: []attest.Rule{{
		Format: "latchkey-sim/1", MinClass: attest.IsolatedProgram,
		Devices: []attest.DeviceKind{attest.DeviceUnique, attest.DeviceNone},
		TCB:     []attest.TCBStatus{attest.TCBUpToDate, attest.TCBUnrated}, MaxAge: 86400, Unchecked: []string{"config"},
		MinSVN: []attest.SVN{{Name: "firmware", Value: 4}, {Name: "microcode", Value: 9}},
		Roots:  []attest.Root{{Vendor: "SIMULATED Acme", Key: wire.Hash{1}}},
		Builds: []attest.Build{{Name: "vault 1", Measurements: []attest.Measurement{
			{Name: "boot", Value: []byte{3}}, {Name: "program", Value: []byte{1, 2}}}}},
	}}}
}

func TestParse(t *testing.T) {
	got, err := Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want(), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRoundTrip(t *testing.T) {
	b, err := Format(want())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(b)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, b)
	}
	if diff := cmp.Diff(want(), got); diff != "" {
		t.Errorf("-want +got:\n%s\n%s", diff, b)
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"empty", good, "", "no rule"},
		{"unknown field", "max_age", "maximal_age", `line 8: unknown field "rule.maximal_age"`},
		{"unknown insecure switch", "insecure_allow_simulated", "allow_simulated", "unknown field"},
		{"not TOML", "[[rule]]", "[[rule", "line 3"},
		{"no class", `min_class = "isolated program"`, "", `min_class: "" is not one of ["key only" "measured system" "isolated program"]`},
		{"unknown kind", `"none"]`, `"nothing"]`, `devices: "nothing" is not one of`},
		{"no kind", `devices = ["unique", "none"]`, "", "no kind of device"},
		{"unknown verdict", `"unrated"`, `"fine"`, `tcb: "fine" is not one of`},
		{"revoked", `"unrated"`, `"revoked"`, "a revoked TCB cannot be allowed"},
		{"no age", "max_age = 86400", "", "no maximal age"},
		{"negative age", "max_age = 86400", "max_age = -1", "no maximal age"},
		{"negative version", "firmware = 4", "firmware = -4", "line 10"},
		{"short key", key, key[:62], "62 characters"},
		{"zero key", key, strings.Repeat("0", 64), "root 1 lacks"},
		{"no vendor", `vendor = "SIMULATED Acme"`, "", "root 1 lacks"},
		{"key twice", "[[rule.build]]", fmt.Sprintf("[[rule.root]]\nvendor = \"B\"\nkey = \"%s\"\n[[rule.build]]", key), `the key of "B" is listed twice`},
		{"measurement twice", `boot = "03"`, `program = "03"`, "line"},
		{"measurement not hexadecimal", `"0102"`, `"01x2"`, `measurement "program" is not hexadecimal`},
		{"measurement empty", `"0102"`, `""`, `measurement "program" is not hexadecimal`},
		{"pinned and unchecked", `["config"]`, `["boot"]`, `measurement "boot" is listed as unchecked as well`},
		{"no measurements", `measurements = { program = "0102", boot = "03" }`, "", "build 1 (\"vault 1\"): it lacks"},
		{"format twice", good, good + strings.SplitAfterN(good, "\n\n", 2)[1], "earlier rule for format"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			in := strings.Replace(good, tc.old, tc.new, 1)
			if in == good {
				t.Fatal("the test changes nothing")
			}
			_, err := Parse([]byte(in))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("[[rule]]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		out, err := Format(p)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(out)
		if err != nil {
			t.Fatalf("%v in what Format wrote:\n%s", err, out)
		}
		if diff := cmp.Diff(p, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

func ExampleParse() {
	p, err := Parse([]byte(good))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Rules[0].Format, p.Rules[0].MinClass, p.Rules[0].Devices, p.Rules[0].TCB)
	// Output: latchkey-sim/1 isolated program [unique none] [up to date unrated]
}
