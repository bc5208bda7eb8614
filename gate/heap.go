package gate

import (
	"os"
	"runtime/debug"
)

// HeapPercent is how far a server's heap may grow beyond what is in use before it
// is collected, in percent of that.
const HeapPercent = 400

// Heap sets HeapPercent, unless the environment has a GOGC of its own. GOMEMLIMIT
// goes before both.
func Heap() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(HeapPercent)
	}
}
