package attest

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEvidenceRoundTrip(t *testing.T) {
	for _, e := range []Evidence{
		{Format: "test/1", Quote: []byte{1, 2}, Collateral: []byte{3}},
		{Format: strings.Repeat("f", 64), Quote: make([]byte, MaxQuote), Collateral: make([]byte, MaxCollateral)},
	} {
		b, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseEvidence(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestEvidenceLimits(t *testing.T) {
	for _, e := range []Evidence{
		{},
		{Format: "test/1"},
		{Format: "Test/1", Quote: []byte{1}},
		{Format: "test 1", Quote: []byte{1}},
		{Format: strings.Repeat("f", 65), Quote: []byte{1}},
		{Format: "test/1", Quote: make([]byte, MaxQuote+1)},
		{Format: "test/1", Quote: []byte{1}, Collateral: make([]byte, MaxCollateral+1)},
	} {
		if _, err := e.Marshal(); err == nil {
			t.Errorf("format %.10q, quote %d, collateral %d: accepted", e.Format, len(e.Quote), len(e.Collateral))
		}
	}
}

func TestParseEvidenceRefuses(t *testing.T) {
	good, err := Evidence{Format: "test/1", Quote: []byte{1}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseEvidence(good); err != nil {
		t.Fatalf("%x: %v", good, err)
	}
	for i := range good {
		if _, err := ParseEvidence(good[:i]); err == nil {
			t.Errorf("accepted the first %d bytes", i)
		}
	}
	for name, in := range map[string]string{
		"trailing byte":        hex.EncodeToString(good) + "00",
		"null for a string":    "a30166746573742f31024101" + "03f6",
		"text for bytes":       "a30166746573742f31026101" + "0340",
		"keys out of order":    "a3024101" + "0166746573742f31" + "0340",
		"unknown key":          "a40166746573742f31024101" + "0340" + "0440",
		"repeated key":         "a40166746573742f31024101" + "0340" + "0340",
		"long form of length":  "a30166746573742f3102580101" + "0340",
		"indefinite length":    "bf0166746573742f31024101" + "0340ff",
		"missing key":          "a20166746573742f31024101",
		"no quote":             "a30166746573742f31024003" + "40",
		"upper case format":    "a30166544553542f31024101" + "0340",
		"nested a thousand":    strings.Repeat("81", 1000) + "00",
		"four gigabytes named": "a30166746573742f31025affffffff",
	} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := ParseEvidence(b); err == nil {
			t.Errorf("%s: accepted as %+v", name, e)
		}
	}
}

func FuzzParseEvidence(f *testing.F) {
	good, err := Evidence{Format: "test/1", Quote: []byte{1}, Collateral: []byte{2}}.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEvidence(b)
		if err != nil {
			return
		}
		again, err := e.Marshal()
		if err != nil {
			t.Fatalf("accepted what it cannot write: %v", err)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("re-encoded as %x", again)
		}
	})
}

func TestReportData(t *testing.T) {
	a, b := [32]byte{1}, [32]byte{2}
	seen := map[[64]byte]string{}
	for name, d := range map[string][64]byte{
		"one":             ReportData("identity", a, b),
		"swapped":         ReportData("identity", b, a),
		"other purpose":   ReportData("session", a, b),
		"other challenge": ReportData("identity", a, a),
		"other identity":  ReportData("identity", b, b),
		"purpose that ends as the identity begins": ReportData(Purpose("identity\x01"), [32]byte{}, b),
	} {
		if o, ok := seen[d]; ok {
			t.Errorf("%s and %s have the same report data", name, o)
		}
		seen[d] = name
	}
	// Computed with an independent tool: printf label, length, purpose, identity, challenge | sha512sum.
	got := ReportData(PurposeIdentity, a, b)
	const want = "8f118a1ccf6a6831d9f79b2ba98a45869d86011e72b41b97a0b61742b50847a6237a3d7cfd0828b817b50ba20bba62214cea4dcb137a59f2ec000906c7b516ed"
	if hex.EncodeToString(got[:]) != want {
		t.Errorf("got %x, want %s", got, want)
	}
}
