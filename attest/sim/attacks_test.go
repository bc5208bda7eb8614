package sim

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"latchkey/attest"
	"latchkey/wire"
)

// attack changes good evidence, or the policy, such that check refuses and says text.
type attack struct {
	name  string
	edit  func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence)
	check attest.Check
	text  string
}

// attacks lists what a policy for tests refuses all the same. Each is a vector for other implementers too.
func attacks() []attack {
	return []attack{
		{name: "good", edit: func(*testing.T, *world, *attest.Policy, *attest.Evidence) {}},
		{name: "debug allowed", edit: func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			p.InsecureAllowDebug, w.launch.Debug = true, true
			*ev = w.quote(t)
		}},
		{"simulated platforms not allowed", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			p.InsecureAllowSimulated = false
		}, attest.CheckSimulated, "SIMULATED Acme device"},
		{"vendor not listed", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			other, err := NewVendor("Other", seeded(9))
			if err != nil {
				t.Fatal(err)
			}
			p.Rules[0].Roots = []attest.Root{other.Root()}
		}, attest.CheckRoot, "SIMULATED Acme"},
		{"vendor listed without the word", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			p.Rules[0].Roots[0].Vendor = "Acme"
		}, attest.CheckRoot, "a vendor's name that says SIMULATED"},
		{"vendor of the same name with its own root", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			v, err := NewVendor("Acme", seeded(9))
			if err != nil {
				t.Fatal(err)
			}
			if w.platform, err = v.Issue(Device{NotBefore: now, NotAfter: now}, seeded(8)); err != nil {
				t.Fatal(err)
			}
			*ev = w.quote(t)
		}, attest.CheckRoot, "SIMULATED Acme"},
		{"debug", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			w.launch.Debug = true
			*ev = w.quote(t)
		}, attest.CheckDebug, "debug on"},
		{"other program", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			w.launch.Measurement[0] ^= 1
			*ev = w.quote(t)
		}, attest.CheckMeasurement, "vault 1"},
		{"other report data", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			w.data[0] ^= 1
			*ev = w.quote(t)
		}, attest.CheckReportData, ""},
		{"old firmware", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			if err := errors.Join(w.vendor.Rate(1, attest.TCBOutOfDate), w.vendor.Rate(2, attest.TCBUpToDate),
				w.vendor.Renew(w.platform, now, now)); err != nil {
				t.Fatal(err)
			}
			*ev = w.quote(t)
		}, attest.CheckTCB, "out of date"},
		{"revoked firmware", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			if err := errors.Join(w.vendor.Rate(1, attest.TCBRevoked), w.vendor.Renew(w.platform, now, now)); err != nil {
				t.Fatal(err)
			}
			*ev = w.quote(t)
		}, attest.CheckTCB, "revoked"},
		{"firmware of which nothing is known", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			w.platform.UpdateFirmware(0)
			*ev = w.quote(t)
		}, attest.CheckCryptography, "says nothing about firmware 0"},
		{"firmware below the policy's minimum", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			p.Rules[0].MinSVN = []attest.SVN{{Name: Component, Value: 2}}
		}, attest.CheckSVN, "firmware of at least 2"},
		{"revoked device", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			if err := errors.Join(w.vendor.Revoke(w.platform), w.vendor.Renew(w.platform, now, now)); err != nil {
				t.Fatal(err)
			}
			*ev = w.quote(t)
		}, attest.CheckCryptography, "the vendor revoked this device"},
		{"expired list", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			if err := w.vendor.Renew(w.platform, now-10, now-1); err != nil {
				t.Fatal(err)
			}
			*ev = w.quote(t)
		}, attest.CheckCryptography, "vendor's list, valid from"},
		{"expired device certificate", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			var err error
			if w.platform, err = w.vendor.Issue(Device{NotBefore: now - 10, NotAfter: now - 1}, seeded(3)); err != nil {
				t.Fatal(err)
			}
			if err := w.vendor.Renew(w.platform, now, now); err != nil {
				t.Fatal(err)
			}
			*ev = w.quote(t)
		}, attest.CheckCryptography, "device certificate, valid from"},
		{"device certificate of the future", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			var err error
			if w.platform, err = w.vendor.Issue(Device{NotBefore: now + 1, NotAfter: now + 2}, seeded(3)); err != nil {
				t.Fatal(err)
			}
			if err := w.vendor.Renew(w.platform, now, now); err != nil {
				t.Fatal(err)
			}
			*ev = w.quote(t)
		}, attest.CheckCryptography, "device certificate, valid from"},
		{"too weak a class", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			var err error
			if w.platform, err = w.vendor.Issue(Device{Class: attest.KeyOnly, NotBefore: now, NotAfter: now}, seeded(3)); err != nil {
				t.Fatal(err)
			}
			*ev = w.quote(t)
		}, attest.CheckClass, "key only"},
		{"device of a batch", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			var err error
			if w.platform, err = w.vendor.Issue(Device{Kind: attest.DeviceBatch, NotBefore: now, NotAfter: now}, seeded(3)); err != nil {
				t.Fatal(err)
			}
			*ev = w.quote(t)
		}, attest.CheckDevice, "batch"},
		{"device without identity", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			var err error
			if w.platform, err = w.vendor.Issue(Device{Kind: attest.DeviceNone, NotBefore: now, NotAfter: now}, seeded(3)); err != nil {
				t.Fatal(err)
			}
			*ev = w.quote(t)
		}, attest.CheckDevice, "none"},
		{"report changed after signing", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			w.launch.Debug = true
			q := decode[signed](t, w.quote(t).Quote)
			rep := decode[report](t, q.Body)
			rep.Debug = attest.DebugOff
			q.Body = encode(t, rep)
			ev.Quote = encode(t, q)
		}, attest.CheckCryptography, "signature does not verify"},
		{"certificate changed after signing", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			c := decode[collateral](t, ev.Collateral)
			cert := decode[certificate](t, c.Cert)
			cert.NotAfter++
			c.Cert = encode(t, cert)
			ev.Collateral = encode(t, c)
		}, attest.CheckCryptography, "device certificate: latchkey-sim device/v1: signature"},
		{"list changed after signing", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			c := decode[collateral](t, ev.Collateral)
			l := decode[list](t, c.List)
			l.NotAfter++
			c.List = encode(t, l)
			ev.Collateral = encode(t, c)
		}, attest.CheckCryptography, "vendor's list: latchkey-sim list/v1: signature"},
		{"certificate used as list", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			c := decode[collateral](t, ev.Collateral)
			c.List, c.ListSig = c.Cert, c.CertSig
			ev.Collateral = encode(t, c)
		}, attest.CheckCryptography, "vendor's list: latchkey-sim list/v1: signature"},
		{"another vendor's list", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			other, err := NewVendor("Other", seeded(9))
			if err != nil {
				t.Fatal(err)
			}
			b := encode(t, list{Vendor: other.name, NotBefore: now, NotAfter: now, Levels: other.levels})
			c := decode[collateral](t, ev.Collateral)
			c.List, c.ListSig = b, wire.Sign(w.vendor.root, purposeList, b)
			ev.Collateral = encode(t, c)
		}, attest.CheckCryptography, `the certificate is of vendor "SIMULATED Acme", the list of "SIMULATED Other"`},
		{"root swapped for a listed one", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			mine, err := NewVendor("Acme", seeded(9))
			if err != nil {
				t.Fatal(err)
			}
			w.platform, err = mine.Issue(Device{NotBefore: now, NotAfter: now}, seeded(8))
			if err != nil {
				t.Fatal(err)
			}
			w.platform.collateral.Root = w.vendor.root.Public().(ed25519.PublicKey)
			*ev = w.quote(t)
		}, attest.CheckCryptography, "signature does not verify"},
		{"another device's certificate", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			other, err := w.vendor.Issue(Device{NotBefore: now, NotAfter: now}, seeded(3))
			if err != nil {
				t.Fatal(err)
			}
			ev.Collateral = encode(t, other.collateral)
		}, attest.CheckCryptography, "quote: latchkey-sim quote/v1: signature"},
		{"vendor without the mark", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			w.vendor.name = "Acme"
			var err error
			if w.platform, err = w.vendor.Issue(Device{NotBefore: now, NotAfter: now}, seeded(3)); err != nil {
				t.Fatal(err)
			}
			*ev = w.quote(t)
		}, attest.CheckCryptography, `vendor name "Acme"`},
		{"trailing byte", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			ev.Quote = append(ev.Quote, 0)
		}, attest.CheckCryptography, "quote: decode"},
		{"truncated", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			ev.Quote = ev.Quote[:len(ev.Quote)-1]
		}, attest.CheckCryptography, "quote: decode"},
		{"trailing byte inside the signature", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			rep := decode[report](t, decode[signed](t, ev.Quote).Body)
			body := append(encode(t, rep), 0)
			ev.Quote = encode(t, signed{Body: body, Sig: wire.Sign(w.platform.key, purposeQuote, body)})
		}, attest.CheckCryptography, "report: decode"},
		{"no collateral", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			ev.Collateral = nil
		}, attest.CheckCryptography, "collateral: decode"},
		{"verdicts out of order", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			w.vendor.levels = []level{{2, attest.TCBUpToDate}, {1, attest.TCBUpToDate}}
			if err := w.vendor.Renew(w.platform, now, now); err != nil {
				t.Fatal(err)
			}
			*ev = w.quote(t)
		}, attest.CheckCryptography, "not in ascending order"},
		{"unknown verdict", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			w.vendor.levels = []level{{1, 99}}
			if err := w.vendor.Renew(w.platform, now, now); err != nil {
				t.Fatal(err)
			}
			*ev = w.quote(t)
		}, attest.CheckCryptography, "unknown verdict 99"},
		{"no verdicts", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			w.vendor.levels = nil
			if err := w.vendor.Renew(w.platform, now, now); err != nil {
				t.Fatal(err)
			}
			*ev = w.quote(t)
		}, attest.CheckCryptography, "vendor's list of 0 verdicts"},
		{"debug state of neither kind", func(t *testing.T, w *world, p *attest.Policy, ev *attest.Evidence) {
			rep := decode[report](t, decode[signed](t, ev.Quote).Body)
			rep.Debug = 0
			body := encode(t, rep)
			ev.Quote = encode(t, signed{Body: body, Sig: wire.Sign(w.platform.key, purposeQuote, body)})
		}, attest.CheckCryptography, "no usable debug state"},
	}
}

func TestAttacks(t *testing.T) {
	for _, tc := range attacks() {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			p, ev, want := w.policy(), w.quote(t), w.data
			tc.edit(t, w, &p, &ev)
			_, err := attest.Appraise(p, []attest.Verifier{Verifier{}}, ev, want, now)
			var r *attest.Refusal
			switch {
			case tc.check == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.check == "":
			case !errors.As(err, &r):
				t.Errorf("got %v, want a refusal by %q", err, tc.check)
			case r.Check != tc.check || !strings.Contains(err.Error(), tc.text):
				t.Errorf("got %v\nwant %q in a refusal by %q", err, tc.text, tc.check)
			}
		})
	}
}
