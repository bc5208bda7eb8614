//go:build !linux && !darwin

package gate

// Free does not know about free space on this system.
func Free(string) (bytes uint64, known bool) { return 0, false }
