package attest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"latchkey/wire"
)

// Facts are what a Verifier found, without an opinion. A field left at its zero value is a fault
// of the verifier and is refused, except where a comment says otherwise.
type Facts struct {
	Format       string        // as in the evidence
	Class        Class         // what the platform keeps apart
	VendorRoot   wire.Hash     // SHA-256 of the SubjectPublicKeyInfo (DER) of the key in which the chain ends
	Platform     string        // for people: product and generation; says SIMULATED where Origin does
	Origin       Origin        // hardware or simulated
	Device       Device        // which device, as far as the platform says
	Measurements []Measurement // every register the platform reports, by name in ascending order
	TCB          TCB           // the state of everything below the program
	Debug        Debug         // whether an operator can look inside
	ReportData   [64]byte      // what the program bound
	IssuedAt     int64         // when the quote was made, by the device's clock; 0 where the format does not say
	NotBefore    int64         // first and last second at which certificates and collateral all hold
	NotAfter     int64
}

// The kinds of facts. Their numbers are part of Facts.Digest; zero is always "not set".
type (
	Class      uint8 // Class is what a platform protects, in ascending order of strength
	Origin     uint8 // Origin separates hardware from simulation
	Debug      uint8 // Debug says whether the platform lets an operator read or steer the program
	DeviceKind uint8 // DeviceKind says what a Device identifies: limits per device need DeviceUnique
	TCBStatus  uint8 // TCBStatus is the vendor's verdict on the firmware, in the words of Intel's PCS
)

const (
	KeyOnly         Class = 1 // a key in hardware, used by unmeasured software (Android Keystore, PSA)
	MeasuredSystem  Class = 2 // all that booted is measured, the host's owner can still look inside (TPM)
	IsolatedProgram Class = 3 // a measured program or machine that its host cannot read (SGX, TDX, SEV-SNP, Nitro, CCA)

	OriginHardware  Origin = 1
	OriginSimulated Origin = 2

	DebugOff Debug = 1
	DebugOn  Debug = 2

	DeviceUnique DeviceKind = 1 // one piece of hardware (VCEK CHIP_ID, PCK PPID, EK, CCA instance)
	DeviceBatch  DeviceKind = 2 // a production batch (Android attestation keys)
	DeviceNone   DeviceKind = 3 // the platform names no device (VLEK, Nitro)

	TCBUpToDate                        TCBStatus = 1
	TCBUnrated                         TCBStatus = 2 // version numbers and no verdict (AMD, Android): a policy needs minimums
	TCBHardeningNeeded                 TCBStatus = 3
	TCBConfigurationNeeded             TCBStatus = 4
	TCBConfigurationAndHardeningNeeded TCBStatus = 5
	TCBOutOfDate                       TCBStatus = 6
	TCBOutOfDateConfigurationNeeded    TCBStatus = 7
	TCBRevoked                         TCBStatus = 8 // no policy can allow it
)

// Device is the identity that the platform vouches for. ID is empty for DeviceNone.
type Device struct {
	Kind DeviceKind `cbor:"1,keyasint"`
	ID   []byte     `cbor:"2,keyasint"`
}

// Measurement is one named register. The verifier chooses the names, lower case, one per meaning:
// "program" for the simulated platform, "mrenclave", "pcr4".
type Measurement struct {
	Name  string `cbor:"1,keyasint"`
	Value []byte `cbor:"2,keyasint"`
}

// TCB is the vendor's verdict and the components' versions by name in ascending order (maybe none).
type TCB struct {
	Status TCBStatus
	SVN    []SVN
}

// SVN is a component's security version number or patch level (20250305). Higher is newer.
type SVN struct {
	Name  string `cbor:"1,keyasint"`
	Value uint64 `cbor:"2,keyasint"`
}

// The words below are those of messages, policy files and vectors.

func (c Class) String() string      { return word(c, "key only", "measured system", "isolated program") }
func (o Origin) String() string     { return word(o, "hardware", "SIMULATED") }
func (d Debug) String() string      { return word(d, "debug off", "debug on") }
func (k DeviceKind) String() string { return word(k, "unique", "batch", "none") }
func (s TCBStatus) String() string {
	return word(s, "up to date", "unrated", "hardening needed", "configuration needed",
		"configuration and hardening needed", "out of date", "out of date, configuration needed", "revoked")
}

func word[T ~uint8](v T, words ...string) string {
	if v == 0 || int(v) > len(words) {
		return fmt.Sprintf("unknown (%d)", uint8(v))
	}
	return words[v-1]
}

func (m Measurement) String() string { return m.Name + "=" + short(m.Value) }
func (s SVN) String() string         { return fmt.Sprintf("%s=%d", s.Name, s.Value) }

// Level names the TCB for limits per level: the status and the version numbers.
func (t TCB) Level() string { return fmt.Sprint(t.Status, " ", t.SVN) }

// Digest identifies what the device vouched for: wire.HashOf, for the purpose "latchkey/facts/v1", of
// the array [format, class, vendor root, origin, device, measurements, SVNs, debug, report data].
// It is not the hash of the quote, whose bytes anybody can vary without breaking its signature,
// and it leaves out what newer collateral changes (dates, the vendor's verdict), so that whoever
// verifies the same quote later finds the same digest.
func (f Facts) Digest() (wire.Hash, error) {
	return wire.HashOf("latchkey/facts/v1", struct {
		_            struct{} `cbor:",toarray"`
		Format       string
		Class        Class
		VendorRoot   wire.Hash
		Origin       Origin
		Device       Device
		Measurements []Measurement
		SVN          []SVN
		Debug        Debug
		ReportData   [64]byte
	}{struct{}{}, f.Format, f.Class, f.VendorRoot, f.Origin, f.Device, f.Measurements, f.TCB.SVN, f.Debug, f.ReportData})
}

// Check reports the first fact that is unset, out of bounds or contradicts another one.
func (f Facts) Check() error {
	id := f.Device.ID // an all-zero identity is a masked one (SNP's MASK_CHIP_ID)
	named := len(id) > 0 && len(id) <= maxValue && !bytes.Equal(id, make([]byte, len(id)))
	for _, c := range []struct {
		ok   bool
		what string
	}{
		{isName(f.Format), "format"},
		{f.Class >= KeyOnly && f.Class <= IsolatedProgram, "execution class"},
		{f.VendorRoot != wire.Hash{}, "vendor root"},
		{f.Platform != "" && len(f.Platform) <= maxName && !strings.ContainsFunc(f.Platform, func(r rune) bool { return !unicode.IsPrint(r) }),
			"platform description"},
		{f.Origin == OriginHardware || f.Origin == OriginSimulated && strings.Contains(f.Platform, "SIMULATED"),
			"origin (a simulated platform has to say SIMULATED in its description)"},
		{f.Device.Kind == DeviceNone && len(id) == 0 || f.Device.Kind == DeviceBatch && named || f.Device.Kind == DeviceUnique && named, "device"},
		{len(f.Measurements) > 0 && ascending(f.Measurements, func(m Measurement) string { return m.Name }) &&
			!slices.ContainsFunc(f.Measurements, func(m Measurement) bool { return len(m.Value) == 0 || len(m.Value) > maxValue }), "measurements"},
		{f.TCB.Status >= TCBUpToDate && f.TCB.Status <= TCBRevoked, "TCB status"},
		{ascending(f.TCB.SVN, func(s SVN) string { return s.Name }), "TCB version numbers"},
		{f.Debug == DebugOff || f.Debug == DebugOn, "debug state"},
		{f.ReportData != [64]byte{}, "report data"},
		{f.IssuedAt >= 0 && f.IssuedAt <= maxTime, "time of issue"},
		{f.NotBefore > 0 && f.NotBefore <= f.NotAfter && f.NotAfter <= maxTime, "validity"},
	} {
		if !c.ok {
			return fmt.Errorf("the verifier reports no usable %s", c.what)
		}
	}
	return nil
}

// clone returns a copy that shares no memory with f.
func (f Facts) clone() Facts {
	f.Device.ID = bytes.Clone(f.Device.ID)
	f.TCB.SVN = slices.Clone(f.TCB.SVN)
	f.Measurements = slices.Clone(f.Measurements)
	for i := range f.Measurements {
		f.Measurements[i].Value = bytes.Clone(f.Measurements[i].Value)
	}
	return f
}

// ascending says whether the names are valid, strictly ascending and not too many.
func ascending[T any](list []T, name func(T) string) bool {
	for i, v := range list {
		if i >= maxEntries || !isName(name(v)) || i > 0 && name(list[i-1]) >= name(v) {
			return false
		}
	}
	return true
}

// isName says whether s can name a format, a register or a component.
func isName(s string) bool {
	return s != "" && len(s) <= maxName && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789./_-") == ""
}
