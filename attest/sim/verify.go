package sim

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"latchkey/attest"
	"latchkey/wire"
)

// What the three signatures are for (see wire.Sign).
const (
	purposeQuote = "latchkey-sim quote/v1"
	purposeCert  = "latchkey-sim device/v1"
	purposeList  = "latchkey-sim list/v1"
)

// Limits of a vendor's list, in entries.
const (
	maxLevels  = 64
	maxRevoked = 1024
)

// signed is the quote: a report and the device's signature of it.
type signed struct {
	Body []byte `cbor:"1,keyasint"`
	Sig  []byte `cbor:"2,keyasint"`
}

type report struct {
	Program    [32]byte     `cbor:"1,keyasint"`
	Debug      attest.Debug `cbor:"2,keyasint"`
	SVN        uint64       `cbor:"3,keyasint"`
	ReportData [64]byte     `cbor:"4,keyasint"`
}

// collateral is the root key, the device's certificate and the vendor's list, with the root's
// signatures of both.
type collateral struct {
	Root    []byte `cbor:"1,keyasint"`
	Cert    []byte `cbor:"2,keyasint"`
	CertSig []byte `cbor:"3,keyasint"`
	List    []byte `cbor:"4,keyasint"`
	ListSig []byte `cbor:"5,keyasint"`
}

type certificate struct {
	Vendor    string        `cbor:"1,keyasint"`
	Key       []byte        `cbor:"2,keyasint"`
	Class     attest.Class  `cbor:"3,keyasint"`
	Device    attest.Device `cbor:"4,keyasint"`
	NotBefore int64         `cbor:"5,keyasint"`
	NotAfter  int64         `cbor:"6,keyasint"`
}

// list holds verdicts, ascending by version, and SHA-256 hashes of the keys of revoked devices, ascending.
type list struct {
	Vendor    string      `cbor:"1,keyasint"`
	NotBefore int64       `cbor:"2,keyasint"`
	NotAfter  int64       `cbor:"3,keyasint"`
	Levels    []level     `cbor:"4,keyasint"`
	Revoked   []wire.Hash `cbor:"5,keyasint"`
}

// Reasons for which Verify refuses, for callers that tell them apart.
var (
	ErrRevoked = errors.New("the vendor revoked this device")
	ErrExpired = errors.New("not valid at this time")
)

// Verifier checks simulated evidence. It trusts no root: which ones count is the policy's business.
type Verifier struct{}

var _ attest.Verifier = Verifier{}

// Format returns the name of the format.
func (Verifier) Format() string { return Format }

// Verify checks the chain from the root key in the collateral to the quote, and the dates at now.
func (Verifier) Verify(ev attest.Evidence, now int64) (attest.Facts, error) {
	f, err := verify(ev, now)
	if err != nil {
		return attest.Facts{}, fmt.Errorf("verify simulated evidence: %w", err)
	}
	return f, nil
}

// verify is Verify: the root signs device certificate and list, neither is out of date, the
// device is not revoked, its key signs the report. Facts hold while all of these do.
func verify(ev attest.Evidence, now int64) (attest.Facts, error) {
	if ev.Format != Format {
		return attest.Facts{}, fmt.Errorf("format %.80q, want %q", ev.Format, Format)
	}
	var coll collateral
	if err := wire.Unmarshal(ev.Collateral, &coll); err != nil {
		return attest.Facts{}, fmt.Errorf("collateral: %w", err)
	}
	cert, lst, err := coll.open()
	if err != nil {
		return attest.Facts{}, err
	}
	for _, d := range []struct {
		what     string
		from, to int64
	}{{"device certificate", cert.NotBefore, cert.NotAfter}, {"vendor's list", lst.NotBefore, lst.NotAfter}} {
		if now < d.from || now > d.to {
			return attest.Facts{}, fmt.Errorf("%s, valid from %d to %d: %w (%d)", d.what, d.from, d.to, ErrExpired, now)
		}
	}
	if slices.Contains(lst.Revoked, sha256.Sum256(cert.Key)) {
		return attest.Facts{}, fmt.Errorf("device %x: %w", cert.Device.ID, ErrRevoked)
	}
	var quote signed
	if err := wire.Unmarshal(ev.Quote, &quote); err != nil {
		return attest.Facts{}, fmt.Errorf("quote: %w", err)
	}
	if err := (wire.Identity{Sign: cert.Key}).Verify(purposeQuote, quote.Body, quote.Sig); err != nil {
		return attest.Facts{}, fmt.Errorf("quote: %w", err)
	}
	var rep report
	if err := wire.Unmarshal(quote.Body, &rep); err != nil {
		return attest.Facts{}, fmt.Errorf("report: %w", err)
	}
	status, err := lst.status(rep.SVN)
	if err != nil {
		return attest.Facts{}, err
	}
	root, err := rootHash(coll.Root)
	if err != nil {
		return attest.Facts{}, fmt.Errorf("root key: %w", err)
	}
	f := attest.Facts{
		Format: Format, Class: cert.Class, VendorRoot: root, Platform: cert.platform(), Origin: attest.OriginSimulated,
		Device:       cert.Device,
		Measurements: []attest.Measurement{{Name: Register, Value: rep.Program[:]}},
		TCB:          attest.TCB{Status: status, SVN: []attest.SVN{{Name: Component, Value: rep.SVN}}},
		Debug:        rep.Debug, ReportData: rep.ReportData,
		NotBefore: max(cert.NotBefore, lst.NotBefore), NotAfter: min(cert.NotAfter, lst.NotAfter),
	}
	return f, f.Check()
}

// open checks the root's signatures and returns what it signed.
func (c collateral) open() (certificate, list, error) {
	var cert certificate
	var lst list
	if len(c.Root) != ed25519.PublicKeySize {
		return cert, lst, fmt.Errorf("root key of %d bytes, want %d", len(c.Root), ed25519.PublicKeySize)
	}
	for _, s := range []struct {
		what, purpose string
		body, sig     []byte
		into          any
	}{{"device certificate", purposeCert, c.Cert, c.CertSig, &cert}, {"vendor's list", purposeList, c.List, c.ListSig, &lst}} {
		if err := (wire.Identity{Sign: c.Root}).Verify(s.purpose, s.body, s.sig); err != nil {
			return cert, lst, fmt.Errorf("%s: %w", s.what, err)
		}
		if err := wire.Unmarshal(s.body, s.into); err != nil {
			return cert, lst, fmt.Errorf("%s: %w", s.what, err)
		}
	}
	if err := checkVendorName(cert.Vendor); err != nil {
		return cert, lst, err
	}
	if lst.Vendor != cert.Vendor {
		return cert, lst, fmt.Errorf("the certificate is of vendor %q, the list of %.80q", cert.Vendor, lst.Vendor)
	}
	if len(cert.Key) != ed25519.PublicKeySize {
		return cert, lst, fmt.Errorf("device key of %d bytes, want %d", len(cert.Key), ed25519.PublicKeySize)
	}
	return cert, lst, lst.check()
}

func (l list) check() error {
	if len(l.Levels) == 0 || len(l.Levels) > maxLevels || len(l.Revoked) > maxRevoked {
		return fmt.Errorf("vendor's list of %d verdicts and %d revoked devices", len(l.Levels), len(l.Revoked))
	}
	for i := range l.Levels {
		if i > 0 && l.Levels[i-1].SVN >= l.Levels[i].SVN {
			return errors.New("vendor's list: verdicts are not in ascending order")
		}
		if s := l.Levels[i].Status; s < attest.TCBUpToDate || s > attest.TCBRevoked {
			return fmt.Errorf("vendor's list: unknown verdict %d", s)
		}
	}
	return nil
}

// status returns the verdict on a firmware version. A version below all verdicts has none.
func (l list) status(svn uint64) (attest.TCBStatus, error) {
	for _, v := range slices.Backward(l.Levels) {
		if svn >= v.SVN {
			return v.Status, nil
		}
	}
	return 0, fmt.Errorf("the vendor's list says nothing about firmware %d", svn)
}

// platform describes the device for people.
func (c certificate) platform() string {
	if len(c.Device.ID) == 0 {
		return c.Vendor + " device"
	}
	return fmt.Sprintf("%s device %x", c.Vendor, c.Device.ID[:min(4, len(c.Device.ID))])
}
