// Package platform is what a program asks of the trusted execution environment that it runs in.
// Each kind of platform has a package of its own that implements Platform; latchkey/attest/sim is
// the simulated one. Checking what another program's platform says is latchkey/attest.
package platform

import (
	"fmt"

	"latchkey/attest"
)

// Platform is a program's view of its own environment: it makes evidence about the program that
// calls it, and gives it the key to seal its storage with. Both are safe for concurrent use.
type Platform interface {
	attest.Quoter
	Sealer
}

// Sealer gives the key under which a program seals its own storage: the same key to the same
// program on the same device, and to nobody else. It fails where the device refuses, for example
// because the machine booted something else (TPM, PolicyPCR). Another build of the program gets
// another key: what an older build sealed has to be handed over before the old one is gone.
type Sealer interface {
	SealKey() (SealKey, error)
}

// SealKey is secret and never printed. Convert it with [32]byte(k) to use it.
type SealKey [32]byte

// Format prints "[redacted]" for every verb.
func (SealKey) Format(s fmt.State, _ rune) { fmt.Fprint(s, "[redacted]") }

// MarshalText keeps the key out of text encodings.
func (SealKey) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
