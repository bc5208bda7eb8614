// Package sim simulates trusted execution environments, so that everything else can be built, run
// and tested on any machine. IT PROTECTS NOTHING: device keys lie in files, and whoever has such a
// file can claim to run any program. Hence a policy refuses this format unless it allows simulated
// platforms by name and lists the vendor's root, and every name of a vendor, and so everything that
// is shown of it, says SIMULATED.
//
// It is shaped like the real ones. A Vendor has a root key. It issues a Platform: a device with a
// key that the root certifies, an identity, a secret to derive sealing keys from, and a firmware
// version. The vendor publishes a signed list of verdicts on firmware versions and of revoked
// devices. A Program started on a platform quotes its measurement with the device key, and the
// device's certificate and the vendor's list travel along as collateral.
//
// Several vendors are as independent as real ones. Given equal random bytes and arguments, all of
// this is reproducible, as the deterministic simulation needs.
package sim

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"latchkey/attest"
	"latchkey/attest/platform"
	"latchkey/wire"
)

// Format is the name of the evidence format, described in spec/attest.md.
const Format = "latchkey-sim/1"

// Mark begins the name of every simulated vendor.
const Mark = "SIMULATED "

// The names of the one register and the one component of a simulated platform.
const (
	Register  = "program"
	Component = "firmware"
)

const maxVendorName = 40 // bytes, with the mark

// Vendor makes simulated devices. It is not safe for concurrent use.
type Vendor struct {
	name    string
	root    ed25519.PrivateKey
	levels  []level
	revoked []wire.Hash
}

// level is the verdict on firmware of at least this version, up to the next level.
type level struct {
	SVN    uint64           `cbor:"1,keyasint"`
	Status attest.TCBStatus `cbor:"2,keyasint"`
}

// NewVendor makes a vendor with a fresh root key. The mark is put before the name unless it is
// there. Its first verdict is "up to date" for every firmware version from 1.
func NewVendor(name string, rand io.Reader) (*Vendor, error) {
	name = Mark + strings.TrimPrefix(name, Mark)
	if err := checkVendorName(name); err != nil {
		return nil, err
	}
	root, err := newKey(rand)
	if err != nil {
		return nil, fmt.Errorf("new vendor %q: %w", name, err)
	}
	return &Vendor{name: name, root: root, levels: []level{{1, attest.TCBUpToDate}}}, nil
}

func checkVendorName(name string) error {
	rest, marked := strings.CutPrefix(name, Mark)
	printable := func(r rune) bool { return r < ' ' || r > '~' }
	if !marked || rest == "" || len(name) > maxVendorName || strings.ContainsFunc(rest, printable) {
		return fmt.Errorf("vendor name %.80q: want %q and 1 to %d printable ASCII characters", name, Mark, maxVendorName-len(Mark))
	}
	return nil
}

// Format prints the vendor's name for every verb, and nothing secret.
func (v Vendor) Format(s fmt.State, _ rune) { fmt.Fprint(s, v.name) }

// Name returns the vendor's name, which begins with SIMULATED.
func (v *Vendor) Name() string { return v.name }

// Root returns what a policy has to list to trust this vendor.
func (v *Vendor) Root() attest.Root {
	h, err := rootHash(v.root.Public().(ed25519.PublicKey))
	if err != nil {
		panic("sim: a key of our own cannot be encoded: " + err.Error())
	}
	return attest.Root{Vendor: v.name, Key: h}
}

// Rate sets the verdict on firmware from version svn up to the next version that has a verdict of
// its own. Platforms learn of it by Renew.
func (v *Vendor) Rate(svn uint64, s attest.TCBStatus) error {
	if s < attest.TCBUpToDate || s > attest.TCBRevoked {
		return fmt.Errorf("rate firmware %d: unknown verdict %d", svn, s)
	}
	i, found := slices.BinarySearchFunc(v.levels, svn, func(l level, svn uint64) int {
		switch {
		case l.SVN < svn:
			return -1
		case l.SVN > svn:
			return 1
		}
		return 0
	})
	switch {
	case found:
		v.levels[i].Status = s
	case len(v.levels) == maxLevels:
		return fmt.Errorf("rate firmware %d: there are %d verdicts already", svn, maxLevels)
	default:
		v.levels = slices.Insert(v.levels, i, level{svn, s})
	}
	return nil
}

// Revoke puts a device on the vendor's revocation list. Platforms learn of it by Renew.
func (v *Vendor) Revoke(p *Platform) error {
	id := sha256.Sum256(p.public())
	if slices.Contains(v.revoked, id) {
		return nil
	}
	if len(v.revoked) == maxRevoked {
		return fmt.Errorf("revoke device: there are %d revoked devices already", maxRevoked)
	}
	v.revoked = append(v.revoked, id)
	slices.SortFunc(v.revoked, func(a, b wire.Hash) int { return slices.Compare(a[:], b[:]) })
	return nil
}

// Device says what kind of platform to issue. A zero Class means an isolated program, a zero Kind a
// unique device, a zero SVN firmware version 1. NotBefore and NotAfter (Unix seconds, the latter
// the last valid one) bound the certificate and the first list, and are needed.
type Device struct {
	Class     attest.Class
	Kind      attest.DeviceKind
	SVN       uint64
	NotBefore int64
	NotAfter  int64
}

// Issue makes a device: its key, its secret and its certificate.
func (v *Vendor) Issue(d Device, rand io.Reader) (*Platform, error) {
	if d.Class == 0 {
		d.Class = attest.IsolatedProgram
	}
	if d.Kind == 0 {
		d.Kind = attest.DeviceUnique
	}
	if d.SVN == 0 {
		d.SVN = 1
	}
	if d.NotBefore <= 0 || d.NotAfter < d.NotBefore {
		return nil, fmt.Errorf("issue platform: validity from %d to %d", d.NotBefore, d.NotAfter)
	}
	key, err := newKey(rand)
	if err != nil {
		return nil, fmt.Errorf("issue platform: %w", err)
	}
	p := &Platform{key: key, svn: d.SVN}
	chip := make([]byte, 16)
	for _, b := range [][]byte{p.secret[:], chip} {
		if _, err := io.ReadFull(rand, b); err != nil {
			return nil, fmt.Errorf("issue platform: %w", err)
		}
	}
	switch d.Kind {
	case attest.DeviceUnique:
	case attest.DeviceBatch: // one batch per vendor
		h := v.Root().Key
		copy(chip, h[:])
	case attest.DeviceNone:
		chip = nil
	default:
		return nil, fmt.Errorf("issue platform: unknown kind of device %d", d.Kind)
	}
	cert, err := wire.Marshal(certificate{Vendor: v.name, Key: p.public(), Class: d.Class,
		Device: attest.Device{Kind: d.Kind, ID: chip}, NotBefore: d.NotBefore, NotAfter: d.NotAfter})
	if err != nil {
		return nil, fmt.Errorf("issue platform: %w", err)
	}
	p.collateral = collateral{Root: v.root.Public().(ed25519.PublicKey), Cert: cert, CertSig: wire.Sign(v.root, purposeCert, cert)}
	return p, v.Renew(p, d.NotBefore, d.NotAfter)
}

// Renew gives the platform the vendor's present list of verdicts and revoked devices, as valid from
// notBefore to notAfter. The platform must be one of this vendor's.
func (v *Vendor) Renew(p *Platform, notBefore, notAfter int64) error {
	if !v.root.Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(p.collateral.Root)) {
		return fmt.Errorf("renew platform: it is not one of vendor %q", v.name)
	}
	body, err := wire.Marshal(list{Vendor: v.name, NotBefore: notBefore, NotAfter: notAfter, Levels: v.levels, Revoked: v.revoked})
	if err != nil {
		return fmt.Errorf("renew platform: %w", err)
	}
	p.collateral.List, p.collateral.ListSig = body, wire.Sign(v.root, purposeList, body)
	return nil
}

// Platform is one simulated device. Its key and secret are never printed.
type Platform struct {
	key        ed25519.PrivateKey
	secret     [32]byte
	svn        uint64
	collateral collateral
}

// Format prints the device's name for every verb, and nothing secret.
func (p Platform) Format(s fmt.State, _ rune) { fmt.Fprint(s, p.String()) }

// String names the device.
func (p Platform) String() string {
	c, _, err := p.collateral.open()
	if err != nil {
		return Mark + "platform (damaged)"
	}
	return c.platform()
}

// Vendor returns the name of the vendor, which begins with SIMULATED.
func (p *Platform) Vendor() string {
	c, _, err := p.collateral.open()
	if err != nil {
		return Mark + "unknown"
	}
	return c.Vendor
}

// UpdateFirmware installs another firmware version, also an older one.
func (p *Platform) UpdateFirmware(svn uint64) { p.svn = svn }

func (p *Platform) public() ed25519.PublicKey { return p.key.Public().(ed25519.PublicKey) }

// Launch says what runs on a platform. Measurement is the program's: real hardware computes it, here
// whoever launches names it (MeasureSelf reads the executable).
type Launch struct {
	Measurement [32]byte
	Debug       bool
}

// Launch starts a program on the platform as it is now. The zero measurement is refused.
func (p *Platform) Launch(l Launch) (*Program, error) {
	if l.Measurement == [32]byte{} {
		return nil, errors.New("launch on a simulated platform: no measurement")
	}
	return &Program{platform: *p, launch: l}, nil
}

// Program is a program on a simulated platform. It is a platform.Platform.
type Program struct {
	platform Platform
	launch   Launch
}

var _ platform.Platform = (*Program)(nil)

// Format keeps the platform's secrets out of every print.
func (p Program) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "program %x on %s", p.launch.Measurement[:8], p.platform.String())
}

// Quote signs the program's measurement and the report data with the device key.
func (p *Program) Quote(reportData [64]byte) (attest.Evidence, error) {
	debug := attest.DebugOff
	if p.launch.Debug {
		debug = attest.DebugOn
	}
	body, err := wire.Marshal(report{Program: p.launch.Measurement, Debug: debug, SVN: p.platform.svn, ReportData: reportData})
	if err != nil {
		return attest.Evidence{}, fmt.Errorf("quote: %w", err)
	}
	quote, err := wire.Marshal(signed{Body: body, Sig: wire.Sign(p.platform.key, purposeQuote, body)})
	if err != nil {
		return attest.Evidence{}, fmt.Errorf("quote: %w", err)
	}
	coll, err := wire.Marshal(p.platform.collateral)
	if err != nil {
		return attest.Evidence{}, fmt.Errorf("quote: %w", err)
	}
	return attest.Evidence{Format: Format, Quote: quote, Collateral: coll}, nil
}

// SealKey derives the sealing key: HKDF-SHA256 (RFC 5869) of the device's secret, bound to the
// measurement and to whether debug is on, as SGX's MRENCLAVE policy does.
func (p *Program) SealKey() (platform.SealKey, error) {
	info := fmt.Sprintf("latchkey-sim seal/v1 %x debug=%t", p.launch.Measurement, p.launch.Debug)
	k, err := hkdf.Key(sha256.New, p.platform.secret[:], nil, info, 32)
	if err != nil {
		return platform.SealKey{}, fmt.Errorf("derive sealing key: %w", err)
	}
	return platform.SealKey(k), nil
}

// InsecurePolicy returns a policy for tests and demos that accepts simulated platforms of these
// vendors that run one of these builds: isolated programs on unique devices, firmware up to date, debug
// off, for a day.
func InsecurePolicy(roots []attest.Root, builds ...attest.Build) attest.Policy {
	return attest.Policy{InsecureAllowSimulated: true, Rules: []attest.Rule{{
		Format: Format, Roots: roots, MinClass: attest.IsolatedProgram, Devices: []attest.DeviceKind{attest.DeviceUnique},
		TCB: []attest.TCBStatus{attest.TCBUpToDate}, Builds: builds, MaxAge: 86400,
	}}}
}

// Build returns the policy's entry for the program with this measurement.
func Build(name string, measurement [32]byte) attest.Build {
	return attest.Build{Name: name, Measurements: []attest.Measurement{{Name: Register, Value: measurement[:]}}}
}

// newKey reads 32 bytes, so that equal random bytes give equal keys (ed25519.GenerateKey promises
// no such thing).
func newKey(rand io.Reader) (ed25519.PrivateKey, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return nil, fmt.Errorf("read randomness: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

func rootHash(k ed25519.PublicKey) (wire.Hash, error) {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return wire.Hash{}, err
	}
	return sha256.Sum256(der), nil
}
