// Package switchboard is the shell of the market: it enrols clients whose
// evidence it appraises, follows the escrow's log, keeps the market's events
// durable, and delivers proposals to clients, also to those that were offline.
//
// It proposes. Custody is between the clients' vaults and the escrow; what comes
// from here is checked by them.
package switchboard

import (
	"errors"
	"fmt"

	"latchkey/coin"
	"latchkey/market"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// A Statement is what a client's host asks, signed by its vault for
// enclave.PurposeHost. A statement is taken once: its time is within MaxSkew of
// the switchboard's, its number was not taken before, and it was overtaken on its
// way by at most 256 later ones. After a restart of the switchboard all numbers
// up to that of the last statement that changed something count as taken.
type Statement struct {
	Client  wire.VaultID `cbor:"1,keyasint"`
	Method  string       `cbor:"2,keyasint"` // "Place": the RPC's name
	At      int64        `cbor:"3,keyasint"` // Unix seconds
	Number  uint64       `cbor:"4,keyasint"`
	Payload []byte       `cbor:"5,keyasint"` // deterministic CBOR of the method's payload
}

// MaxSkew is how far, in seconds, a statement's time may be from now.
const MaxSkew = 120

// Errors of statements.
var (
	ErrStatement = errors.New("statement refused")
	ErrUnknown   = errors.New("this vault is not enrolled here")
)

// Announcement is the payload of Deposit: chunks of one certificate that are
// funded, and free.
type Announcement struct {
	Papers []vault.Paper `cbor:"1,keyasint"` // all of one certificate
	Epochs []uint32      `cbor:"2,keyasint"` // of each chunk, now
}

// AcceptPayload is the payload of Accept.
type AcceptPayload struct {
	Proposal   market.ProposalID      `cbor:"1,keyasint"`
	Acceptance vault.SignedAcceptance `cbor:"2,keyasint"`
}

// DeclinePayload is the payload of Decline.
type DeclinePayload struct {
	Proposal market.ProposalID    `cbor:"1,keyasint"`
	Why      market.DeclineReason `cbor:"2,keyasint"`
	Until    int64                `cbor:"3,keyasint,omitempty"` // of market.Pledged: until when own chunks are, Unix seconds
}

// PollPayload is the payload of Poll.
type PollPayload struct {
	Acked  uint64 `cbor:"1,keyasint"` // all notices up to this one are stored
	WaitMs uint32 `cbor:"2,keyasint"` // at most 30,000
}

// DenominatePayload is the payload of Denominate.
type DenominatePayload struct {
	Asset coin.Asset `cbor:"1,keyasint"`
}

// A Notice is a delivery with what the client's vault needs to check it.
type Notice struct {
	market.Delivery
	Source []byte // of a proposal's contract
	Papers []vault.Paper
	Peers  []enclave.Peer
}

// Agreement is what every party of a proposal signs: the same bytes for all.
func Agreement(p market.Proposal, source []byte, pots int) (vault.Agreement, error) {
	a := vault.Agreement{Source: source, Terms: p.Terms, Pots: make([][]vault.Stake, pots), Escrow: p.Escrow, LockBy: p.LockBy, Pace: p.Pace}
	switch p.Settle {
	case market.Atomic:
		a.Settle = vault.Atomic
	case market.TitForTat:
		a.Settle = vault.TitForTat
	default:
		return vault.Agreement{}, fmt.Errorf("proposal settles by way %d, this version knows atomic and tit-for-tat", p.Settle)
	}
	for _, v := range p.Parties {
		a.Parties = append(a.Parties, vault.Recipients{v})
	}
	for _, s := range p.Sides {
		if int(s.Pot) >= pots {
			return vault.Agreement{}, fmt.Errorf("proposal fills pot %d, the contract has %d", s.Pot, pots)
		}
		for _, c := range s.Chunks {
			a.Pots[s.Pot] = append(a.Pots[s.Pot], vault.Stake{Chunk: c.Chunk, Epoch: c.Epoch, Weight: c.Weight})
		}
	}
	return a, nil
}
