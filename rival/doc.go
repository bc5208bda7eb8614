// Package rival, which is nothing but tests, plays two contracts, the escrow and the contract for difference of
// examples/, on three machines: this project's language, WebAssembly in wazero's
// interpreter, and go-ethereum's EVM. Tests hold the three to the same answers;
// benchmarks measure them beside each other.
//
// The contracts for the other two machines are written by hand, in contracts/, as a
// compiler of today would hardly write them: no memory, packed storage, no strings.
// They are given what makes them fast: parties and words come as numbers, nobody is
// authenticated, and a pot is a number of units, while the language hands over the
// single chunks of a pot.
package rival
