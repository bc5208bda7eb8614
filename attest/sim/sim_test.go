package sim

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/attest"
	"latchkey/attest/attesttest"
	"latchkey/attest/platform"
	"latchkey/wire"
)

const now = 1_800_000_000

// seeded returns reproducible random bytes.
func seeded(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

// world is one vendor, one platform of it, and one program on that.
type world struct {
	vendor   *Vendor
	platform *Platform
	launch   Launch
	data     [64]byte
}

func newWorld(t testing.TB) *world {
	t.Helper()
	v, err := NewVendor("Acme", seeded(1))
	if err != nil {
		t.Fatal(err)
	}
	p, err := v.Issue(Device{NotBefore: now - 1000, NotAfter: now + 1000}, seeded(2))
	if err != nil {
		t.Fatal(err)
	}
	return &world{vendor: v, platform: p, launch: Launch{Measurement: sha256.Sum256([]byte("vault 1"))},
		data: attest.ReportData(attest.PurposeIdentity, [32]byte{1}, [32]byte{2})}
}

func (w *world) quote(t testing.TB) attest.Evidence {
	t.Helper()
	p, err := w.platform.Launch(w.launch)
	if err != nil {
		t.Fatal(err)
	}
	ev, err := p.Quote(w.data)
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func (w *world) policy() attest.Policy {
	return InsecurePolicy([]attest.Root{w.vendor.Root()}, Build("vault 1", w.launch.Measurement))
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := wire.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode[T any](t testing.TB, b []byte) (v T) {
	t.Helper()
	if err := wire.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestConformance(t *testing.T) {
	w := newWorld(t)
	attesttest.Run(t, attesttest.Case{Verifier: Verifier{}, Evidence: w.quote(t), Now: now, Want: attest.Facts{
		Format: Format, Class: attest.IsolatedProgram, VendorRoot: w.vendor.Root().Key, Platform: w.platform.String(),
		Origin:       attest.OriginSimulated,
		Device:       attest.Device{Kind: attest.DeviceUnique, ID: decode[certificate](t, w.platform.collateral.Cert).Device.ID},
		Measurements: []attest.Measurement{{Name: "program", Value: w.launch.Measurement[:]}},
		TCB:          attest.TCB{Status: attest.TCBUpToDate, SVN: []attest.SVN{{Name: "firmware", Value: 1}}},
		Debug:        attest.DebugOff, ReportData: w.data, NotBefore: now - 1000, NotAfter: now + 1000,
	}})
}

func TestTwoVendors(t *testing.T) {
	var roots []attest.Root
	var results []attest.Result
	program := sha256.Sum256([]byte("vault"))
	var evs []attest.Evidence
	data := attest.ReportData(attest.PurposeIdentity, [32]byte{1}, [32]byte{2})
	for i, name := range []string{"Acme", "SIMULATED Zenith"} {
		v, err := NewVendor(name, seeded(byte(i)))
		if err != nil {
			t.Fatal(err)
		}
		p, err := v.Issue(Device{NotBefore: now, NotAfter: now + 10}, seeded(byte(i+10)))
		if err != nil {
			t.Fatal(err)
		}
		prog, err := p.Launch(Launch{Measurement: program})
		if err != nil {
			t.Fatal(err)
		}
		ev, err := prog.Quote(data)
		if err != nil {
			t.Fatal(err)
		}
		roots, evs = append(roots, v.Root()), append(evs, ev)
	}
	for _, ev := range evs {
		res, err := attest.Appraise(InsecurePolicy(roots, Build("vault", program)), []attest.Verifier{Verifier{}}, ev, data, now)
		if err != nil {
			t.Fatal(err)
		}
		if !res.Simulated() || !strings.Contains(res.String(), "SIMULATED: protects nothing") {
			t.Errorf("%v does not say that it is simulated", res)
		}
		results = append(results, res)
	}
	if a, b := results[0].Vendor(), results[1].Vendor(); a != "SIMULATED Acme" || b != "SIMULATED Zenith" {
		t.Errorf("vendors %q and %q", a, b)
	}
	a, _ := results[0].DeviceKey()
	b, _ := results[1].DeviceKey()
	if a == b || results[0].EvidenceDigest() == results[1].EvidenceDigest() {
		t.Error("two platforms share a device key or an evidence digest")
	}
	_, err := attest.Appraise(InsecurePolicy(roots[:1], Build("vault", program)), []attest.Verifier{Verifier{}}, evs[1], data, now)
	if err == nil {
		t.Error("accepted a vendor that is not listed")
	}
}

// TestRate: a verdict holds from its version up to the next one, whatever the order they came in.
func TestRate(t *testing.T) {
	v := newWorld(t).vendor
	for _, l := range []level{{9, attest.TCBUpToDate}, {5, attest.TCBOutOfDate}, {7, attest.TCBHardeningNeeded}, {5, attest.TCBRevoked}} {
		if err := v.Rate(l.SVN, l.Status); err != nil {
			t.Fatal(err)
		}
	}
	for svn, want := range map[uint64]attest.TCBStatus{
		1: attest.TCBUpToDate, 4: attest.TCBUpToDate, 5: attest.TCBRevoked, 6: attest.TCBRevoked, 8: attest.TCBHardeningNeeded, 1 << 63: attest.TCBUpToDate,
	} {
		if got, err := (list{Levels: v.levels}).status(svn); err != nil || got != want {
			t.Errorf("firmware %d: %v, %v; want %v", svn, got, err, want)
		}
	}
	for svn := range uint64(maxLevels - 4) {
		if err := v.Rate(100+svn, attest.TCBUpToDate); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Rate(1000, attest.TCBUpToDate); err == nil {
		t.Error("more verdicts than a verifier accepts")
	}
}

// TestFreshCollateral: renewing the list moves the validity and leaves the digest.
func TestFreshCollateral(t *testing.T) {
	w := newWorld(t)
	appraise := func(at int64) attest.Result {
		t.Helper()
		res, err := attest.Appraise(w.policy(), []attest.Verifier{Verifier{}}, w.quote(t), w.data, at)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	old := appraise(now)
	if err := w.vendor.Renew(w.platform, now-5, now+500); err != nil {
		t.Fatal(err)
	}
	fresh := appraise(now)
	if old.EvidenceDigest() != fresh.EvidenceDigest() {
		t.Error("the digest changed with the collateral")
	}
	if got := fresh.Expires(); got != now+500 {
		t.Errorf("expires at %d, want %d", got, now+500)
	}
}

func TestSealKey(t *testing.T) {
	w := newWorld(t)
	key := func(p *Platform, l Launch) platform.SealKey {
		t.Helper()
		prog, err := p.Launch(l)
		if err != nil {
			t.Fatal(err)
		}
		k, err := prog.SealKey()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	one := key(w.platform, w.launch)
	w.platform.UpdateFirmware(7)
	if key(w.platform, w.launch) != one {
		t.Error("a firmware update lost the sealing key")
	}
	other, debug := w.launch, w.launch
	other.Measurement[31] ^= 1
	debug.Debug = true
	second, err := w.vendor.Issue(Device{NotBefore: now, NotAfter: now}, seeded(3))
	if err != nil {
		t.Fatal(err)
	}
	for what, k := range map[string]platform.SealKey{
		"another program": key(w.platform, other), "debug": key(w.platform, debug), "another device": key(second, w.launch),
	} {
		if k == one {
			t.Errorf("%s gets the same sealing key", what)
		}
	}
	if _, err := w.platform.Launch(Launch{}); err == nil {
		t.Error("launched a program without a measurement")
	}
}

func TestReproducible(t *testing.T) {
	a, b := newWorld(t), newWorld(t)
	if diff := cmp.Diff(a.quote(t), b.quote(t)); diff != "" {
		t.Errorf("equal random bytes, different evidence:\n%s", diff)
	}
	if _, err := NewVendor("Acme", strings.NewReader("too few")); err == nil {
		t.Error("made a key from too few random bytes")
	}
	if _, err := a.vendor.Issue(Device{NotBefore: now, NotAfter: now}, strings.NewReader(strings.Repeat("x", 70))); err == nil {
		t.Error("made a device from too few random bytes")
	}
}

func TestNothingSecretIsPrinted(t *testing.T) {
	w := newWorld(t)
	prog, err := w.platform.Launch(w.launch)
	if err != nil {
		t.Fatal(err)
	}
	k, err := prog.SealKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		out := fmt.Sprintf(strings.Repeat(verb+"\n", 8), w.vendor, *w.vendor, w.platform, *w.platform, prog, *prog, k, []any{k})
		for what, secret := range map[string][]byte{
			"root key": w.vendor.root.Seed(), "device key": w.platform.key.Seed(), "sealing secret": w.platform.secret[:], "sealing key": k[:],
		} {
			if strings.Contains(out, fmt.Sprintf("%x", secret[:4])) || strings.Contains(out, string(secret)) ||
				strings.Contains(out, strings.Trim(fmt.Sprint(secret[:4]), "[]")) {
				t.Errorf("%s prints the %s: %s", verb, what, out)
			}
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	w := newWorld(t)
	for name, d := range map[string]Device{
		"no validity":    {},
		"backwards":      {NotBefore: now, NotAfter: now - 1},
		"unknown device": {NotBefore: now, NotAfter: now, Kind: 9},
	} {
		if _, err := w.vendor.Issue(d, seeded(3)); err == nil {
			t.Errorf("%s: issued", name)
		}
	}
	for _, name := range []string{"", "SIMULATED ", "two\nlines", strings.Repeat("x", 31), "Ac\u00e9me"} {
		if _, err := NewVendor(name, seeded(3)); err == nil {
			t.Errorf("made a vendor called %q", name)
		}
	}
	other, err := NewVendor("Other", seeded(9))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Renew(w.platform, now, now); err == nil {
		t.Error("a vendor renewed another's platform")
	}
	if err := w.vendor.Rate(1, 0); err == nil {
		t.Error("rated with no verdict")
	}
}

func FuzzVerify(f *testing.F) {
	w := newWorld(f)
	ev := w.quote(f)
	f.Add(ev.Quote, ev.Collateral)
	f.Add([]byte{0xa0}, []byte{0xa0})
	f.Fuzz(func(t *testing.T, quote, coll []byte) {
		facts, err := Verifier{}.Verify(attest.Evidence{Format: Format, Quote: quote, Collateral: coll}, now)
		if err != nil {
			return
		}
		if err := facts.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzReport fuzzes what lies behind the signatures, which FuzzVerify can hardly reach.
func FuzzReport(f *testing.F) {
	w := newWorld(f)
	ev := w.quote(f)
	f.Add(decode[signed](f, ev.Quote).Body, w.platform.collateral.Cert, w.platform.collateral.List)
	f.Fuzz(func(t *testing.T, body, cert, lst []byte) {
		coll := collateral{Root: w.vendor.root.Public().(ed25519.PublicKey), Cert: cert, CertSig: wire.Sign(w.vendor.root, purposeCert, cert),
			List: lst, ListSig: wire.Sign(w.vendor.root, purposeList, lst)}
		ev := attest.Evidence{Format: Format, Collateral: encode(t, coll),
			Quote: encode(t, signed{Body: body, Sig: wire.Sign(w.platform.key, purposeQuote, body)})}
		facts, err := Verifier{}.Verify(ev, now)
		if err != nil {
			return
		}
		if err := facts.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	ev := newWorld(b).quote(b)
	for b.Loop() {
		if _, err := (Verifier{}).Verify(ev, now); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleProgram() {
	random := rand.NewChaCha8([32]byte{1})
	vendor, err := NewVendor("Acme", random)
	if err != nil {
		fmt.Println(err)
		return
	}
	device, err := vendor.Issue(Device{NotBefore: now, NotAfter: now + 86400}, random)
	if err != nil {
		fmt.Println(err)
		return
	}
	vault := sha256.Sum256([]byte("the vault's executable file"))
	program, err := device.Launch(Launch{Measurement: vault})
	if err != nil {
		fmt.Println(err)
		return
	}
	want := attest.ReportData(attest.PurposeIdentity, [32]byte{1}, [32]byte{2})
	evidence, err := program.Quote(want)
	if err != nil {
		fmt.Println(err)
		return
	}
	policy := InsecurePolicy([]attest.Root{vendor.Root()}, Build("vault 1", vault))
	fmt.Println(attest.Appraise(policy, []attest.Verifier{Verifier{}}, evidence, want, now))
	policy.InsecureAllowSimulated = false
	_, err = attest.Appraise(policy, []attest.Verifier{Verifier{}}, evidence, want, now)
	fmt.Println(err)
	// Output:
	// SIMULATED Acme (SIMULATED Acme device 3a311de8), isolated program, build vault 1, TCB up to date, SIMULATED: protects nothing <nil>
	// evidence refused by the simulated check: saw SIMULATED Acme device 3a311de8, which protects nothing, wanted hardware; for a test or a demo only, allow simulated platforms by name
}
