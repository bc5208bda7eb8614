package gate

import (
	"os"
	"runtime/debug"
)

// heapPercent is how far a server's heap may grow beyond what is in use before it
// is collected, in percent of that.
const heapPercent = 400

// Heap sets heapPercent, unless the environment has a GOGC of its own. GOMEMLIMIT
// goes before both.
func Heap() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapPercent)
	}
}
