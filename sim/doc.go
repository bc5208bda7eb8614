// Package sim runs the whole of Latchkey's custody in one process, on one
// thread, from one seed: clients with their vaults and wallets, the escrow with
// its disk, witnesses, chains and time, and whatever goes wrong among them.
//
// A World is that process. Its machines are the real ones, of packages vault,
// head and wallet/fake; what is simulated is everything around them: disks that
// lose what was not synced, networks that lose, repeat and reorder, hosts that
// clone and roll back, clients whose TEE is broken, witnesses that lie.
//
// Three books are kept beside the machines, by other code than theirs:
//
//   - the Ledger replays the witnessed log and knows what may follow what;
//   - the Secrets know which share and which key each party has ever seen;
//   - the purse of each client says what its wallet must hold in the end.
//
// After every step each machine's view is compared with them, so that the
// invariants of DESIGN.md section 8 hold at every moment and not only at the end.
//
// Run draws a list of Events from a seed, plays it, and then heals the world and
// plays on until it rests: every instance over, every coin with whom the log
// says. A failure is shrunk to a short list of events and printed with the seed.
// Scenarios are worlds that a test plays by hand.
package sim
