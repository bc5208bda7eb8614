// Package attest decides whether a piece of hardware evidence is good enough to be trusted.
//
// The words are those of RFC 9334 (RATS): an attester produces Evidence, a Verifier turns it into
// Facts by cryptography alone, and Appraise compares the facts with the relying party's Policy. Its
// Result is the proof, in the type system, that this happened: no other package can make one.
//
// Everything fails closed: the zero Policy refuses everything, an empty field of a policy refuses
// instead of being skipped, a fact that a verifier left unset is refused, and switching a check off
// is a field whose name begins with Insecure.
//
// The package does no I/O: collateral (certificates, revocation lists, TCB verdicts) travels with
// the evidence and time is an argument, in Unix seconds. Whoever keeps evidence keeps (evidence,
// report data, time of appraisal) and can appraise again at that time with the same result.
package attest

import (
	"crypto/sha512"
	"encoding/binary"
	"fmt"

	"latchkey/wire"
)

// Limits in bytes, entries and seconds. The largest real evidence known (Intel TDX with its
// certificate revocation lists) stays below a quarter of MaxQuote and MaxCollateral.
const (
	MaxQuote      = 64 << 10
	MaxCollateral = 256 << 10
	maxName       = 64           // a format's, register's or component's name, a label
	maxValue      = 64           // a register, a device identity
	maxEntries    = 64           // registers, components
	maxTime       = 253402300799 // the end of the year 9999
	maxSkew       = 300          // what a device's clock may be ahead of ours
)

// Evidence is what an attester hands over: unverified bytes of one format. Quote is what the
// device signed; Collateral is what a verifier needs besides, so that it never has to ask a
// network: certificates, revocation lists, verdicts on TCB levels.
type Evidence struct {
	Format     string `cbor:"1,keyasint"`
	Quote      []byte `cbor:"2,keyasint"`
	Collateral []byte `cbor:"3,keyasint"`
}

// Marshal returns the evidence as deterministic CBOR, or an error when a part exceeds its limit.
func (e Evidence) Marshal() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("encode evidence: %w", err)
	}
	return wire.Marshal(e)
}

// ParseEvidence reads what Marshal wrote and nothing else. It says nothing about the contents.
func ParseEvidence(b []byte) (e Evidence, err error) {
	if err = wire.Unmarshal(b, &e); err == nil {
		err = e.check()
	}
	if err != nil {
		return Evidence{}, fmt.Errorf("decode evidence: %w", err)
	}
	return e, nil
}

func (e Evidence) check() error {
	switch {
	case !isName(e.Format):
		return fmt.Errorf("format %.80q, want 1 to %d of a-z 0-9 . / _ -", e.Format, maxName)
	case len(e.Quote) == 0 || len(e.Quote) > MaxQuote:
		return fmt.Errorf("quote of %d bytes, want 1 to %d", len(e.Quote), MaxQuote)
	case len(e.Collateral) > MaxCollateral:
		return fmt.Errorf("collateral of %d bytes, at most %d", len(e.Collateral), MaxCollateral)
	}
	return nil
}

// Quoter makes evidence that binds reportData to the program that calls it, with the collateral
// that belongs to it.
type Quoter interface {
	Quote(reportData [64]byte) (Evidence, error)
}

// Verifier checks evidence of one format. Verify does cryptography only: that the chain leads from
// the quote to a root key, that every signature and date holds at now (Unix seconds), and what the
// quote says. Which roots, programs and levels are acceptable is Policy's business; Verify reports
// them. It keeps and changes nothing, is safe for concurrent use, and reads no clock or network.
// Package attesttest has the conformance kit that every implementation passes.
type Verifier interface {
	Format() string
	Verify(ev Evidence, now int64) (Facts, error)
}

// Purpose says what a quote is for, so that a quote made for one use serves no other.
type Purpose string

// PurposeIdentity is for the long-lived keys of a vault or an escrow.
const PurposeIdentity Purpose = "identity"

// ReportData returns the 64 bytes that a quote carries: a commitment to the purpose, to the digest
// of the keys that the program speaks for, and to a challenge chosen by whoever asks (that is the
// only freshness which all platforms have). It is SHA-512 of the label, the purpose preceded by its
// length as 4 bytes big-endian, identity and challenge.
func ReportData(p Purpose, identity, challenge [32]byte) [64]byte {
	b := binary.BigEndian.AppendUint32([]byte("latchkey/report-data/v1"), uint32(len(p)))
	b = append(append(b, p...), identity[:]...)
	return sha512.Sum512(append(b, challenge[:]...))
}
