// Package examples holds the example contracts that programs use by name, as
// text.
package examples

import _ "embed" // for the texts

// Pay is the contract of a plain payment.
//
//go:embed pay.latchkey
var Pay []byte

// Escrow is the contract of a purchase with an arbiter.
//
//go:embed escrow.latchkey
var Escrow []byte
