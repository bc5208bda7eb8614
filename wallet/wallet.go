// Package wallet is the one interface between Latchkey and a chain.
//
// A [Wallet] is a user's ordinary wallet together with its view of one chain:
// it derives addresses, watches deposits, funds them and sweeps private keys.
// Whoever connects a chain implements it and runs [Serve]; everybody else
// talks to it with [Dial]. The protocol between the two is wallet.proto.
// Package wallettest is the conformance kit for implementations, package fake
// an implementation over a chain in memory.
//
// A wallet is not trusted with custody, only with the truth about its chain
// and with its owner's own coins. Three kinds of chain fit: outputs (many
// payments in one transaction), accounts (a transaction each, a nonce), and
// chains that hide amounts (a view key, which the connector derives from the
// public key).
package wallet

import (
	"context"
	"errors"
	"fmt"

	"latchkey/coin"
)

// Wallet is implemented once per chain. Methods may be called at the same
// time. Every error wraps one of the errors of this package or of package
// context, or is the wallet's own trouble (a disk, a bug). An error never
// contains a private key.
type Wallet interface {
	// Describe says what is served and how the node is. A node that is down is
	// no error, but Description.Node says so.
	Describe(ctx context.Context) (Description, error)

	// Addresses returns the address of each public key. It needs no node.
	Addresses(ctx context.Context, asset coin.Asset, keys []PublicKey) ([]string, error)

	// Deposits says what the address of each key holds.
	Deposits(ctx context.Context, r DepositsRequest) (Deposits, error)

	// Fund pays to addresses from the own wallet. The same ID with the same
	// request pays once, however often it is called, also across a crash, and
	// answers with the same transactions. When it returns without error, a node
	// that can be reached has been given them. After ErrUnreachable, ErrNotFollowing, or
	// an error that is none of this package's, the outcome is open: call again with the same
	// ID. After any other error nothing has been nor will be paid.
	Fund(ctx context.Context, r FundRequest) (Funding, error)

	// Sweep moves all that keys control to one address. It takes what has at
	// least one confirmation. A key that is on its way keeps its transaction
	// when Sweep is called again with the same ID; the others are tried again.
	// Keys are never stored: what a rival or a reorganisation undid, only the
	// caller can do again, so it calls until each transaction is final. The
	// error is about the whole request, Swept.Err about one key.
	Sweep(ctx context.Context, r SweepRequest) (Sweep, error)

	// Transaction says how a transaction is. One that nobody knows is no error.
	Transaction(ctx context.Context, asset coin.Asset, id TxID) (TxStatus, error)

	// Fee estimates what funding and sweeping would cost now. The estimate is
	// meant as MaxFee: it holds unless the market moves, or the own wallet's
	// coins are in very many pieces.
	Fee(ctx context.Context, asset coin.Asset, fund, sweep int) (Fees, error)

	// Balance says what the own wallet holds and where it receives.
	Balance(ctx context.Context, asset coin.Asset) (Balance, error)
}

// MaxItems bounds the keys, queries and payments of one request.
const MaxItems = 1000

// The errors that callers branch on.
var (
	ErrInvalid      = errors.New("invalid request")
	ErrUnknownAsset = errors.New("unknown asset")
	ErrNotFunded    = errors.New("not funded")
	ErrNotConfirmed = errors.New("not yet confirmed")
	ErrSpent        = errors.New("already spent")
	ErrFeeTooHigh   = errors.New("fee too high")
	ErrInsufficient = errors.New("insufficient funds")
	ErrWrongKey     = errors.New("wrong key")
	ErrUnreachable  = errors.New("unreachable")
	ErrIDReused     = errors.New("id was used for another request")
	ErrNotFollowing = errors.New("the node does not follow its chain")
)

// A PublicKey is the encoding of a public key that its asset's key type asks
// for. secp256k1: 33 bytes, compressed (SEC 1 v2, §2.3.3). ed25519: 32 bytes
// (RFC 8032, §5.1.2).
type PublicKey []byte

// A PrivateKey is a scalar. secp256k1: 32 bytes big-endian. ed25519: 32 bytes
// little-endian, reduced, not a seed. It prints as [redacted].
type PrivateKey [32]byte

// Format prints [redacted] for every verb.
func (PrivateKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// MarshalText writes [redacted], so that no encoder shows a key by accident.
func (PrivateKey) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// A TxID names a transaction as its chain does.
type TxID string

// Description is what a connector serves.
type Description struct {
	Name    string // of the connector: "latchkey wallet-btc"
	Version string // of the connector
	Assets  []AssetInfo
	Node    Node
}

// Info returns what the connector says about an asset, or ErrUnknownAsset if
// it does not serve exactly that one.
func (d Description) Info(asset coin.Asset) (AssetInfo, error) {
	for _, a := range d.Assets {
		if a.Asset == asset {
			return a, nil
		}
		if a.Asset.ID == asset.ID {
			return AssetInfo{}, fmt.Errorf("%w: %s on %s (%s), this wallet has it on %s (%s)", ErrUnknownAsset,
				asset.ID, asset.Chain, asset.Address, a.Asset.Chain, a.Asset.Address)
		}
	}
	return AssetInfo{}, fmt.Errorf("%w: %.40q", ErrUnknownAsset, string(asset.ID))
}

// AssetInfo is what a client has to know about an asset besides its identity.
type AssetInfo struct {
	Asset         coin.Asset
	Confirmations uint32       // wanted by default before a deposit counts; at least 1
	MaxOutputs    uint32       // payments in one funding transaction; 1 = a transaction each
	MaxKeys       uint32       // keys in one sweep transaction
	FeeAsset      coin.AssetID // that fees are paid in: "eth" for "eth:usdc"
	MinAmount     coin.Amount  // smallest payment that the chain relays
	HidesSpends   bool         // nobody but the key's owner sees a spend: Deposit.Spent stays false
}

// Node is the health of the chain node behind a connector.
type Node struct {
	Reachable bool
	Height    uint64 // of the best block; 0 while not reachable
	Syncing   bool   // the node says that it lags behind its network
	Problem   string // why it is not reachable, for people
	TipTime   int64  // the best block's own time, Unix seconds; 0: not known
	MaxTipAge int64  // seconds that it may be old; 0: the chain has no pace, its blocks are made as they are needed
	Alone     bool   // it says that it has no peers, without which it can see nothing, or send nothing
}

// DepositsRequest asks about many addresses at once.
type DepositsRequest struct {
	Asset         coin.Asset
	Confirmations uint32 // that make a deposit confirmed; 0 = the asset's default
	Queries       []DepositQuery
}

// A DepositQuery names a key, not an address: on a chain that hides amounts
// only a view key shows a deposit, and it is derived from the public key.
type DepositQuery struct {
	Key  PublicKey
	Want coin.Amount // that should be there, for Deposit.Depth; zero = all that is
}

// Deposits is the answer at one height of the chain, one Deposit per query.
type Deposits struct {
	Height   uint64
	Deposits []Deposit
}

// A Deposit is what one address holds, has held and is about to hold.
type Deposit struct {
	Address   string
	Confirmed coin.Amount // unspent, and at least as deep as asked for
	Pending   coin.Amount // unspent, not that deep yet, down to zero confirmations

	// Depth is the confirmations of the youngest transaction that is needed to
	// reach Want, counting the deepest first; 0 while Want is not reached or
	// not mined.
	Depth      uint32
	FundingTx  TxID   // first that paid here; empty if none, or the chain does not tell
	Spent      bool   // something that was here is spent, be it by an unconfirmed transaction
	SpentDepth uint32 // confirmations of that spend; 0 = not mined
	SpendingTx TxID   // empty if not known
}

// Check returns nil if the deposit holds at least want, confirmed and never
// touched, and otherwise ErrSpent, ErrNotConfirmed or ErrNotFunded, in that
// order, with the amounts.
func (d Deposit) Check(want coin.Amount) error {
	if d.Spent {
		return fmt.Errorf("%s: %w in %s (%d confirmations)", d.Address, ErrSpent, orUnknown(d.SpendingTx), d.SpentDepth)
	}
	if d.Confirmed.Cmp(want) >= 0 {
		return nil
	}
	if all, err := d.Confirmed.Plus(d.Pending); err == nil && all.Cmp(want) >= 0 {
		return fmt.Errorf("%s: %w: %s of %s, %d confirmations", d.Address, ErrNotConfirmed, d.Confirmed, want, d.Depth)
	}
	return fmt.Errorf("%s: %w: %s of %s", d.Address, ErrNotFunded, d.Confirmed, want)
}

func orUnknown(id TxID) string {
	if id == "" {
		return "an unknown transaction"
	}
	return string(id)
}

// A Payment is an amount to an address.
type Payment struct {
	Address string
	Amount  coin.Amount
}

// FundRequest asks the own wallet to pay.
type FundRequest struct {
	Asset    coin.Asset
	ID       string // idempotency key, see CheckID
	Payments []Payment
	MaxFee   coin.Amount // for all transactions together, in the fee asset; zero refuses
}

// Funding says which transaction makes which payment.
type Funding struct {
	Txs  []Tx
	TxOf []int // one per payment: its index in Txs
}

// A Tx is a transaction of this wallet and what it costs at most.
type Tx struct {
	ID  TxID
	Fee coin.Amount // in the fee asset
}

// SweepRequest asks to move all that keys control.
type SweepRequest struct {
	Asset       coin.Asset
	ID          string // idempotency key, see CheckID; the keys of one ID never change
	Keys        []SweepKey
	Destination string      // empty = the own wallet
	MaxFee      coin.Amount // for all transactions together, in the fee asset; zero refuses
}

// A SweepKey is a private key and the public key that it must have.
type SweepKey struct {
	Private PrivateKey
	Public  PublicKey
}

// Sweep says what became of each key.
type Sweep struct {
	Txs  []Tx
	Keys []Swept // one per key
}

// Swept is what became of one key: a transaction or an error.
type Swept struct {
	Tx     TxID        // that moves what was there
	Amount coin.Amount // that leaves the address, fee included
	Err    error       // nil, or wraps an error of this package
}

// A TxState says how a transaction is. The zero TxState is none.
type TxState uint8

// The states of a transaction.
const (
	TxUnknown    TxState = 1 // neither the chain nor this wallet knows it
	TxPending    TxState = 2 // known, not mined; it may still be replaced
	TxConfirmed  TxState = 3 // mined
	TxConflicted TxState = 4 // cannot be mined any more: a rival was
)

// String returns the word used in commands and pages.
func (s TxState) String() string {
	switch s {
	case TxUnknown:
		return "unknown"
	case TxPending:
		return "pending"
	case TxConfirmed:
		return "confirmed"
	case TxConflicted:
		return "conflicted"
	}
	return fmt.Sprintf("transaction state %d", uint8(s))
}

// TxStatus is how a transaction is, at the best block.
type TxStatus struct {
	State         TxState
	Confirmations uint32 // 1 = in the best block; 0 unless confirmed
	Conflict      TxID   // the rival, if conflicted and known
}

// Fees are estimates in the fee asset.
type Fees struct {
	Fund, Sweep coin.Amount
	Asset       coin.AssetID
}

// Balance is what the own wallet holds.
type Balance struct {
	Confirmed coin.Amount // spendable now
	Pending   coin.Amount // incoming, not mined yet
	Address   string      // where it receives
}
