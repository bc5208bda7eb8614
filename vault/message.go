package vault

import (
	"errors"
	"fmt"

	"latchkey/key"
	"latchkey/wire"
)

// A Request is what a vault, or anyone with signed papers, asks an escrow.
// Exactly one of the pointers is set. Every request may be repeated: the second
// answer says the same and moves nothing.
type Request struct {
	Begin  *Begin      `cbor:"1,keyasint,omitempty"`
	Open   *OpenBatch  `cbor:"2,keyasint,omitempty"`
	Lock   *LockAsk    `cbor:"3,keyasint,omitempty"`
	Hand   *HandAsk    `cbor:"4,keyasint,omitempty"`
	Ack    *AckAsk     `cbor:"5,keyasint,omitempty"`
	Word   *SignedWord `cbor:"6,keyasint,omitempty"`
	Fetch  *Fetch      `cbor:"7,keyasint,omitempty"`
	Stored *StoredAsk  `cbor:"8,keyasint,omitempty"`
	Claim  *ClaimAsk   `cbor:"9,keyasint,omitempty"`
	Swept  *SweptAsk   `cbor:"10,keyasint,omitempty"`
	Step   *SignedStep `cbor:"11,keyasint,omitempty"`
	Report *Report     `cbor:"12,keyasint,omitempty"`

	Deposit *DepositAsk `cbor:"13,keyasint,omitempty"`
}

// Begin asks for the escrow's points of a new batch. Owner commits to its own.
type Begin struct {
	Batch  wire.Hash `cbor:"1,keyasint"`
	Spec   BatchSpec `cbor:"2,keyasint"`
	Commit wire.Hash `cbor:"3,keyasint"`
}

// OpenBatch opens the commitment of a batch and proves knowledge of its shares.
type OpenBatch struct {
	Batch wire.Hash `cbor:"1,keyasint"`
	Salt  [32]byte  `cbor:"2,keyasint"`
	Half  key.Half  `cbor:"3,keyasint"`
}

// LockAsk brings an agreement with everyone's acceptance. Any session may bring it.
type LockAsk struct {
	Agreement   Agreement          `cbor:"1,keyasint"`
	Acceptances []SignedAcceptance `cbor:"2,keyasint"`
}

// Sealed is one share, sealed to a vault's identity key by a sender's mailbox
// secret. Its label is not sent: both sides know what it must be.
type Sealed struct {
	Chunk wire.ChunkID `cbor:"1,keyasint"`
	Epoch uint32       `cbor:"2,keyasint"`
	Text  []byte       `cbor:"3,keyasint"` // AEAD ciphertext
}

// Mail is what one sender sealed to one vault at one step.
type Mail struct {
	To    wire.VaultID `cbor:"1,keyasint"`
	From  wire.VaultID `cbor:"2,keyasint"`
	Enc   []byte       `cbor:"3,keyasint"` // HPKE encapsulation, kept for the sender's boot
	Items []Sealed     `cbor:"4,keyasint"`
}

// HandAsk leaves a depositor's shares for everyone who may receive them.
type HandAsk struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
	Mail     []Mail          `cbor:"2,keyasint"`
	Deposit  Index           `cbor:"3,keyasint,omitempty"` // the deposit whose shares these are; 0: those of the lock
}

// AckAsk says that the sender checked and stored all shares handed to it. It is
// signed, for the other parties open nothing on the escrow's word alone. It asks for
// the r of the step that opens the instance, too: the answer is held for them.
type AckAsk struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
	Sig      []byte          `cbor:"2,keyasint"`           // over Instance, or over a DepositAck
	Deposit  Index           `cbor:"3,keyasint,omitempty"` // 0: of the lock
}

// Fetch asks for the mail of the sender that has not been acknowledged: of one
// instance (shares handed over before it opens), of one of its deposits, or, with
// no instance, of one step (the r of each exit).
type Fetch struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
	Step     Index           `cbor:"2,keyasint"` // the entry of a step or deposit; 0: neither
}

// StoredAsk says that the sender stored the refreshed shares of a step.
type StoredAsk struct {
	Step Index `cbor:"1,keyasint"`
}

// ClaimAsk asks for the escrow's shares.
type ClaimAsk struct {
	Order ClaimOrder `cbor:"1,keyasint"`
	Sig   []byte     `cbor:"2,keyasint"`
}

// SweptAsk lets the escrow erase its shares.
type SweptAsk struct {
	Order SweptOrder `cbor:"1,keyasint"`
	Sig   []byte     `cbor:"2,keyasint"`
}

// A Reply answers a Request. At most one of the pointers is set; none means
// "done, or done before".
type Reply struct {
	Offered   *Offered               `cbor:"1,keyasint,omitempty"` // to Begin
	Certified *key.SignedCertificate `cbor:"2,keyasint,omitempty"` // to OpenBatch; the owner's signature is still missing
	Locked    *LockedReply           `cbor:"3,keyasint,omitempty"` // to LockAsk
	Mail      []Mail                 `cbor:"4,keyasint,omitempty"` // to Fetch, and to Ack: what the opening gives to its sender
	Receipt   *Receipt               `cbor:"5,keyasint,omitempty"` // to Word, Step and Report
	Released  []Released             `cbor:"6,keyasint,omitempty"` // to Claim
	Refused   *Refused               `cbor:"7,keyasint,omitempty"`
}

// Offered carries the escrow's points of a batch, each with its proof.
type Offered struct {
	Batch wire.Hash `cbor:"1,keyasint"`
	Half  key.Half  `cbor:"2,keyasint"`
}

// LockedReply names the instance that a lock made.
type LockedReply struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
}

// Released is the escrow's share of a claimed chunk. It is as secret as the key:
// it travels only inside a session, to the owner's vault.
type Released struct {
	Chunk wire.ChunkID `cbor:"1,keyasint"`
	Epoch uint32       `cbor:"2,keyasint"`
	B     []byte       `cbor:"3,keyasint"`
}

// String hides the share.
func (r Released) String() string { return "share of " + r.Chunk.Short() + " [redacted]" }

// GoString hides the share.
func (r Released) GoString() string { return r.String() }

// Refused says why a request changed nothing.
type Refused struct {
	Reason string `cbor:"1,keyasint"`
}

// ErrRefused wraps the reason an escrow gave.
var ErrRefused = errors.New("the escrow refused")

// ParseRequest reads one request and checks that it asks exactly one thing.
func ParseRequest(b []byte) (Request, error) {
	var r Request
	if err := wire.Unmarshal(b, &r); err != nil {
		return Request{}, err
	}
	n := 0
	for _, set := range []bool{
		r.Begin != nil, r.Open != nil, r.Lock != nil, r.Hand != nil, r.Ack != nil,
		r.Word != nil, r.Fetch != nil, r.Stored != nil, r.Claim != nil, r.Swept != nil, r.Step != nil, r.Report != nil, r.Deposit != nil,
	} {
		if set {
			n++
		}
	}
	if n != 1 {
		return Request{}, fmt.Errorf("request asks %d things, want 1", n)
	}
	return r, nil
}

// A Row is one line of a vault's share table: what a restart needs besides the
// log. Values are secret; the shell seals them, bound to their key, before they
// leave the TEE. A nil Value deletes the row.
type Row struct {
	Key   string
	Value []byte
}

// String hides the value.
func (r Row) String() string { return fmt.Sprintf("row %x [redacted]", r.Key) }

// GoString hides the value.
func (r Row) GoString() string { return r.String() }

// A Sealer seals shares to other vaults' identity keys under mailbox secrets
// (one HPKE encapsulation per recipient and boot of the sender, RFC 9180 §5.3),
// and opens those sealed to this vault. label binds purpose, chunk and epoch.
type Sealer interface {
	Seal(to wire.Identity, label []byte, share key.Share) (enc, text []byte, err error)
	Open(from wire.VaultID, enc, label, text []byte, p key.Point) (key.Share, error)
}

// label is what a sealed share is bound to, besides its sender and recipient.
func label(purpose string, instance wire.InstanceID, c ChunkEpoch) []byte {
	b := append([]byte(purpose), 0)
	b = append(b, instance[:]...)
	b = append(b, c.Chunk[:]...)
	return append(b, byte(c.Epoch>>24), byte(c.Epoch>>16), byte(c.Epoch>>8), byte(c.Epoch))
}
