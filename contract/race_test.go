//go:build race

package contract

// slow is by how much the race detector slows this package down, roughly.
const slow = 20
