// Package contract is the contract language: what it means to agree on who receives a key, and when.
//
// A contract names parties, terms and pots, and says for each phase what the parties may say, what oracles may report
// and what happens when the phase ends. It can do two things with what is in a pot: give chunks to a party, and close,
// which returns what is left to the depositors. It has no loops, no strings, no lists; every phase ends by a deadline
// and every cycle of phases raises a bounded counter, so every instance ends.
//
// The story in order: Compile reads a source and checks it for all terms (Program). Bind fills in the terms (Deal).
// Admit plays everything that can happen with the actual chunks and reports what each party can end up with, before
// anybody signs. Open begins an instance (State), Step applies one event of its log, AppendBinary and DecodeState keep
// it. Deadline and Words say what it waits for.
//
// Everything here is pure. Amounts are units, times are Unix seconds that come from the log, durations are seconds.
// A party, pot, term, oracle or phase is its index in the order of the source. Who said a word, and whether a value is
// an oracle's, the caller has checked. The specification, enough for a second implementation, is spec/contract.md.
package contract
