package market

import (
	"latchkey/coin"
	"latchkey/wire"
)

// Input is something that happened to the market. Who sent it, and every fact that it states about certificates,
// evidence, deposits and the escrow's log, the shell has verified. An input that was seen before changes nothing.
type Input interface{ doing() string }

// DeviceKind says what a device's identity stands for, with the numbers of package attest.
type DeviceKind uint8

// The kinds.
const (
	DeviceUnique DeviceKind = 1 // one piece of hardware
	DeviceBatch  DeviceKind = 2 // a production batch
	DeviceNone   DeviceKind = 3 // the platform names no device
)

// Device is what the platform of a vault says about which device it is. ID is empty for DeviceNone.
type Device struct {
	Kind DeviceKind `cbor:"1,keyasint" json:"kind"`
	ID   []byte     `cbor:"2,keyasint" json:"id"` // at most 64 bytes
}

// Enrol makes a client known, or brings what is known of it up to date. Earlier holdings stay counted where they were.
type Enrol struct {
	Client wire.VaultID `cbor:"1,keyasint"`
	Reach  []byte       `cbor:"2,keyasint"` // how to reach it: the shell's business, at most 1 KiB
	Device Device       `cbor:"3,keyasint"`
	Vendor wire.Hash    `cbor:"4,keyasint"` // the TEE vendor's root key
	TCB    string       `cbor:"5,keyasint"` // the level, as evidence says it
	Exempt bool         `cbor:"6,keyasint"` // the operators' own device: no limit per client and device, and said to be
}

// Bond states how much of a client's bond lifts its limits. Less than what rests on it is refused.
type Bond struct {
	Client wire.VaultID `cbor:"1,keyasint"`
	Amount Micros       `cbor:"2,keyasint"`
}

// Denominate makes a denomination known. It never changes afterwards.
type Denominate struct {
	Denomination coin.Denomination `cbor:"1,keyasint"`
}

// Rate is a fresh price of an asset, agreed by whatever sources the operator uses.
type Rate struct {
	Asset    coin.AssetID `cbor:"1,keyasint"`
	PerCoin  uint64       `cbor:"2,keyasint"` // µUSD for one whole coin
	Observed int64        `cbor:"3,keyasint"` // Unix seconds
}

// RateLost says that there is no rate to rely on, and why. The next Rate ends it.
type RateLost struct {
	Asset coin.AssetID `cbor:"1,keyasint"`
	Why   string       `cbor:"2,keyasint"`
}

// Outage begins or ends an outage of the operators' own. Meanwhile nothing is proposed, and no failure that it touches
// counts against anyone.
type Outage struct {
	On bool `cbor:"1,keyasint"`
}

// Publish makes a contract known by its source. Offers name it by its hash. Two layouts of the same contract have one
// hash; the first one published is the text for all.
type Publish struct {
	Source []byte `cbor:"1,keyasint"`
}

// Deposit makes chunks of one certificate available that are funded and belong to the client; or makes chunks
// available again that it kept, or received from somebody else. All of it is verified: certificate, confirmations, the
// chunk's owner and epoch, and who held it before.
type Deposit struct {
	Client       wire.VaultID   `cbor:"1,keyasint"`
	Cert         wire.CertID    `cbor:"2,keyasint"`
	Escrow       wire.VaultID   `cbor:"3,keyasint"`
	Denomination string         `cbor:"4,keyasint"`
	Weight       uint32         `cbor:"5,keyasint"`
	Expiry       int64          `cbor:"6,keyasint"` // the certificate's
	Chunks       []DepositChunk `cbor:"7,keyasint"`
}

// DepositChunk is one chunk of a deposit.
type DepositChunk struct {
	Chunk   wire.ChunkID   `cbor:"1,keyasint"`
	Epoch   uint32         `cbor:"2,keyasint"`
	Lineage []wire.VaultID `cbor:"3,keyasint"` // everybody else who ever held a share of the owner's side
}

// Withdraw takes chunks off the market that are in no proposal. Their owner keeps them.
type Withdraw struct {
	Client wire.VaultID   `cbor:"1,keyasint"`
	Chunks []wire.ChunkID `cbor:"2,keyasint"`
}

// Claimed is the escrow's word that a chunk was claimed: it is nobody's risk any more.
type Claimed struct {
	Chunk wire.ChunkID `cbor:"1,keyasint"`
}

// Place puts an offer into its market.
type Place struct {
	Client wire.VaultID `cbor:"1,keyasint"`
	Offer  Offer        `cbor:"2,keyasint"`
}

// Cancel closes an offer. What was proposed already goes on.
type Cancel struct {
	Client wire.VaultID
	Offer  OfferID
}

// Match looks for the next proposal for an offer. Follow names the offers for which that may help.
type Match struct {
	Client wire.VaultID
	Offer  OfferID
}

// Accept is a party's acceptance of a proposal, as its vault signed it. When all parties have accepted, each of them
// gets all acceptances, not before.
type Accept struct {
	Client     wire.VaultID
	Proposal   ProposalID
	Acceptance []byte
}

// DeclineReason says why a party declines.
type DeclineReason uint8

// The reasons. The first two are complaints about the counterparty, which nobody has checked: they end the proposal,
// count against nobody as a failure, and keep the two offers apart. Pledged and Unable are words about the client itself:
// they count against nobody, the two offers may meet again after a pause, and the client's chunks rest meanwhile.
const (
	Unfunded   DeclineReason = 1 // the counterparty's chunks are not funded
	Untrusted  DeclineReason = 2 // its evidence or certificates do not satisfy me
	Undesired  DeclineReason = 3 // I do not want to: counts as a failure to accept
	Pledged    DeclineReason = 4 // my vault has signed chunks of mine in it away, in another agreement that may yet be locked
	Unable     DeclineReason = 5 // I cannot check it: my wallet's node does not follow its chain, or I have no rate of my own
	maxDecline DeclineReason = Unable
)

// Decline refuses a proposal that the client has not accepted yet.
type Decline struct {
	Client   wire.VaultID
	Proposal ProposalID
	Why      DeclineReason
	Until    int64 // of Pledged: until when, Unix seconds
}

// Locked is the escrow's word that a proposal became an instance.
type Locked struct {
	Proposal ProposalID      `cbor:"1,keyasint"`
	Instance wire.InstanceID `cbor:"2,keyasint"`
	Entry    uint64          `cbor:"3,keyasint"` // of the escrow's log
	Receipt  []byte          `cbor:"4,keyasint"` // kept in the market's log, not looked at
}

// NotLocked is the escrow's word that a proposal was not locked and never will be: its LockBy has passed in the log; or,
// of an ended one, that the time has passed until which a side of it rests.
type NotLocked struct {
	Proposal ProposalID
}

// Give says to whom a chunk went and at which epoch.
type Give struct {
	Chunk wire.ChunkID `cbor:"1,keyasint"`
	To    wire.VaultID `cbor:"2,keyasint"`
	Epoch uint32       `cbor:"3,keyasint"`
}

// Settled is the escrow's word that an instance is settled: every chunk of it went to exactly one party.
type Settled struct {
	Proposal ProposalID
	Instance wire.InstanceID
	Entry    uint64
	Receipt  []byte
	Aborted  bool           // it was aborted after the lock: everything went back
	Gives    []Give         // one for each chunk
	Fault    []wire.VaultID // of an abort: the parties that failed to do what they had accepted
	Reporter wire.VaultID   // the party that reported a step as failed, upon which the rest went back; zero: none
}

// Ack says that a client has stored all notices up to a sequence number.
type Ack struct {
	Client wire.VaultID `cbor:"1,keyasint"`
	Cursor uint64       `cbor:"2,keyasint"`
}

// Tick lets time pass. Market.Wake says when the next one is due. One tick decides at most a few hundred events: while
// Wake is not in the future, another one is due at once.
type Tick struct{}

func (Enrol) doing() string      { return "enrol client" }
func (Bond) doing() string       { return "set bond" }
func (Denominate) doing() string { return "add denomination" }
func (Rate) doing() string       { return "take rate" }
func (RateLost) doing() string   { return "drop rate" }
func (Outage) doing() string     { return "set outage" }
func (Publish) doing() string    { return "publish contract" }
func (Deposit) doing() string    { return "take deposit" }
func (Withdraw) doing() string   { return "withdraw chunks" }
func (Claimed) doing() string    { return "note claim" }
func (Place) doing() string      { return "place offer" }
func (Cancel) doing() string     { return "cancel offer" }
func (Match) doing() string      { return "match offer" }
func (Accept) doing() string     { return "accept proposal" }
func (Decline) doing() string    { return "decline proposal" }
func (Locked) doing() string     { return "note lock" }
func (NotLocked) doing() string  { return "note missing lock" }
func (Settled) doing() string    { return "note settlement" }
func (Ack) doing() string        { return "acknowledge" }
func (Tick) doing() string       { return "pass time" }
