//go:build !(linux || darwin || freebsd)

package eth

import "math"

// freeSpace does not know about free space on this system.
func freeSpace(string) (uint64, error) { return math.MaxUint64, nil }
