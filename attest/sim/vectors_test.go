package sim

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"latchkey/attest"
	"latchkey/attest/policyfile"
)

var update = flag.Bool("update", false, "write the vectors anew")

const vectorDir = "../../spec/vectors/attest"

// TestVectors reads every vector file as another implementation would (spec/attest.md), and makes
// sure that each attack has one. With -update it writes them.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	files, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if want := len(attacks()) + len(damages()); len(files) != want {
		t.Errorf("%d vectors, want %d: run go test ./attest/sim -run TestVectors -update", len(files), want)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) { runVector(t, path) })
	}
}

func runVector(t *testing.T, path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, policyText, ok := strings.Cut(string(b), "\npolicy:\n")
	if !ok {
		t.Fatal("no policy")
	}
	fields := map[string]string{}
	for sc := bufio.NewScanner(strings.NewReader(head)); sc.Scan(); {
		if k, v, ok := strings.Cut(sc.Text(), ": "); ok && !strings.HasPrefix(k, "#") {
			fields[k] = v
		}
	}
	unhex := func(name string) []byte {
		v, err := hex.DecodeString(fields[name])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return v
	}
	now, err := strconv.ParseInt(fields["now"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := policyfile.Parse([]byte(policyText))
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	ev, err := attest.ParseEvidence(unhex("evidence"))
	if err != nil {
		got = "undecodable"
	} else if res, err := attest.Appraise(policy, []attest.Verifier{Verifier{}}, ev, [64]byte(unhex("report-data")), now); err != nil {
		var r *attest.Refusal
		if !errors.As(err, &r) {
			t.Fatal(err)
		}
		got = "refused by " + string(r.Check)
	} else {
		got = "accepted"
		key, _ := res.DeviceKey()
		for name, v := range map[string]string{
			"vendor": res.Vendor(), "build": res.Build(), "digest": res.EvidenceDigest().String(),
			"device-key": key.String(), "expires": fmt.Sprint(res.Expires()),
		} {
			if v != fields[name] {
				t.Errorf("%s: got %s, want %s", name, v, fields[name])
			}
		}
	}
	if got != fields["expect"] {
		t.Errorf("got %q, want %q (%s)", got, fields["expect"], fields["because"])
	}
}

// damages are changes of the encoded evidence, before anything can be verified.
func damages() map[string]func([]byte) []byte {
	return map[string]func([]byte) []byte{
		"evidence cut":           func(b []byte) []byte { return b[:len(b)-1] },
		"evidence trailing byte": func(b []byte) []byte { return append(b, 0) },
		"evidence empty":         func([]byte) []byte { return nil },
		"evidence long length":   func(b []byte) []byte { return bytes.Replace(b, []byte("\xa3\x01\x6e"), []byte("\xa3\x01\x78\x0e"), 1) },
		"evidence unknown key":   func(b []byte) []byte { return append(append([]byte{0xa4}, b[1:]...), 0x04, 0x00) },
		"evidence format of capitals": func(b []byte) []byte {
			return bytes.Replace(b, []byte("latchkey-sim/1"), []byte("LATCHKEY-SIM/1"), 1)
		},
	}
}

func writeVectors(t *testing.T) {
	if err := os.MkdirAll(vectorDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, a := range attacks() {
		w := newWorld(t)
		p, ev, want := w.policy(), w.quote(t), w.data
		a.edit(t, w, &p, &ev)
		expect := "accepted\n"
		if res, err := attest.Appraise(p, []attest.Verifier{Verifier{}}, ev, want, now); err == nil {
			key, _ := res.DeviceKey()
			expect += fmt.Sprintf("vendor: %s\nbuild: %s\ndigest: %s\ndevice-key: %s\nexpires: %d",
				res.Vendor(), res.Build(), res.EvidenceDigest(), key, res.Expires())
		} else {
			expect = fmt.Sprintf("refused by %s\nbecause: %s", a.check, err)
		}
		b, err := ev.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		writeVector(t, a.name, expect, p, b, want)
	}
	for name, damage := range damages() {
		w := newWorld(t)
		b, err := w.quote(t).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		b = damage(b)
		_, err = attest.ParseEvidence(b)
		writeVector(t, name, fmt.Sprintf("undecodable\nbecause: %v", err), w.policy(), b, w.data)
	}
}

func writeVector(t *testing.T, name, expect string, p attest.Policy, evidence []byte, want [64]byte) {
	t.Helper()
	policy, err := policyfile.Format(p)
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("# %s\nexpect: %s\nnow: %d\nreport-data: %x\nevidence: %x\npolicy:\n%s", name, expect, int64(now), want, evidence, policy)
	path := filepath.Join(vectorDir, strings.NewReplacer(" ", "-", "'", "").Replace(name)+".txt")
	if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
}
