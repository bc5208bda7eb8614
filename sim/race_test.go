//go:build race

package sim

// slow is by how much the race detector slows this package down, roughly.
const slow = 20
