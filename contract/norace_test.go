//go:build !race

package contract

const slow = 1
