// Package examples holds contracts in Latchkey's language, each with scenarios that
// play it. `latchkey contract new` copies them.
package examples

import "embed"

// Files holds NAME.latchkey, and NAME.scenario beside it.
//
//go:embed *.latchkey *.scenario
var Files embed.FS
