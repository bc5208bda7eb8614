// Package vault has the machines that keep private keys in two shares and let
// contracts decide who receives the other one.
//
// An Owner is a client's vault: its shares, and its own replay of what the
// escrow's log says of them. An Escrow is the vault that an operator runs: the
// other share of each chunk, and the one order of all events. Both are pure:
// time, randomness and messages are arguments, and what has to become durable is
// a result. Package enclave, below this one, makes programs of them.
//
// The story in files:
//
//   - agreement.go: what the parties of an instance sign
//   - entry.go: what the escrow's log holds
//   - message.go: what vaults ask the escrow, and what it answers
//   - escrow.go, escrow_apply.go: the escrow's state, and the only code that
//     changes it, live and in replay alike
//   - escrow_batch.go, escrow_instance.go, escrow_claim.go: its decisions
//   - settle.go: settlements step by step, of either role; deposit.go: pots that
//     are filled later, of the escrow's role and both; owner_deposit.go: of the owner's
//   - owner.go: an owner's state, which is its rows
//   - owner_accept.go: what it signs; owner_replay.go: what it believes;
//     owner_talk.go: what it says and hears; owner_claim.go: how a key becomes
//     whole
//
// Where a key lives: a chunk's private key is d = a + b. The escrow's b lies in
// escrowed.share, the owner's a in Chunk.Share. They meet in one place,
// (*tx).whole, in the owner's vault, after its claim was witnessed. Before that b
// leaves an escrow only in (*Escrow).claim; a leaves an owner only in
// (*Owner).sealAll, sealed to those who may receive the chunk under a contract
// that the owner accepted and that is locked.
package vault
