// Package examples holds contracts in Latchkey's language, each with scenarios that
// play it. `latchkey contract new` copies them, and programs use some by name.
package examples

import "embed"

// Files holds NAME.latchkey, and NAME.scenario beside it.
//
//go:embed *.latchkey *.scenario
var Files embed.FS

// Pay is the contract of a plain payment.
//
//go:embed pay.latchkey
var Pay []byte

// Escrow is the contract of a purchase with an arbiter.
//
//go:embed escrow.latchkey
var Escrow []byte
