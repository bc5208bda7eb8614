// Package enclave is the shell of a vault inside its TEE: what turns the pure
// machines of package vault into a program. It holds the identity keys, speaks
// sessions, appraises evidence, and seals whatever leaves for disk.
//
// It has one neighbour: the host, over a Unix socket. The host is not trusted
// with a secret, except that an owner's host is handed whole keys, for its
// wallet to sweep; it stores sealed rows and log entries, carries frames it
// cannot read, and says when something is durable. See Call for all that it may
// ask.
package enclave

import (
	"latchkey/head"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/vault/session"
	"latchkey/wire"
)

// A Call is one request of the host. Exactly one part is set besides N, which
// the host chooses and the Result repeats.
type Call struct {
	N       uint64   `cbor:"1,keyasint"`
	Load    *Load    `cbor:"2,keyasint,omitempty"` // what was stored, in parts, before all else
	Ready   *Nothing `cbor:"3,keyasint,omitempty"` // that was all of it
	Durable *Durable `cbor:"4,keyasint,omitempty"` // a Commit is durable; has no Result
	Status  *Nothing `cbor:"5,keyasint,omitempty"`
	Clock   *Nothing `cbor:"6,keyasint,omitempty"` // of Status, only time and size
	Page    *Page    `cbor:"7,keyasint,omitempty"` // of Status, the page after these; nil: the first

	// To a vault in the owner's role.
	Hello  *Nothing         `cbor:"10,keyasint,omitempty"` // open a session with the escrow
	Finish *Finish          `cbor:"11,keyasint,omitempty"`
	Feed   *Feed            `cbor:"12,keyasint,omitempty"` // what the escrow's log says
	Talk   *Nothing         `cbor:"13,keyasint,omitempty"` // what is there to say to the escrow?
	Heard  *Heard           `cbor:"14,keyasint,omitempty"` // its answer
	Batch  *vault.BatchSpec `cbor:"15,keyasint,omitempty"`
	Accept *Accept          `cbor:"16,keyasint,omitempty"`
	Say    *Say             `cbor:"17,keyasint,omitempty"`
	Claim  *Chunks          `cbor:"18,keyasint,omitempty"`
	Keys   *Chunks          `cbor:"19,keyasint,omitempty"`
	Swept  *Chunks          `cbor:"20,keyasint,omitempty"`
	Papers *Chunks          `cbor:"21,keyasint,omitempty"`
	Sign   *Sign            `cbor:"22,keyasint,omitempty"`
	Took   *Took            `cbor:"23,keyasint,omitempty"`
	Report *vault.Report    `cbor:"24,keyasint,omitempty"` // values of an oracle for an instance

	Deposit *Deposit          `cbor:"25,keyasint,omitempty"` // chunks into a later pot
	Funded  *vault.DepositAck `cbor:"26,keyasint,omitempty"` // the wallet has found the coins of such a deposit

	// To a vault in the escrow's role.
	Greet    *Raw           `cbor:"30,keyasint,omitempty"` // a client vault's Hello
	Frame    *Raw           `cbor:"31,keyasint,omitempty"` // a client vault's request
	Cosigned *Raw           `cbor:"32,keyasint,omitempty"` // a head that the witnesses signed
	Tick     *Tick          `cbor:"33,keyasint,omitempty"` // sign the head anew; do what is due
	Lock     *vault.LockAsk `cbor:"34,keyasint,omitempty"` // an agreement with everyone's acceptance, from anyone
}

// hasty reports whether a call goes before those that wait: answers wait for what
// it says, and it decides nothing.
func (c Call) hasty() bool { return c.Durable != nil || c.Cosigned != nil }

// Nothing is the part of a call that needs no more words.
type Nothing struct{}

// Page names the last chunk and the last instance of a Status that has More.
type Page struct {
	Chunk    wire.ChunkID    `cbor:"1,keyasint"`
	Instance wire.InstanceID `cbor:"2,keyasint"`
}

// Raw carries bytes from elsewhere, unopened.
type Raw struct {
	Bytes []byte `cbor:"1,keyasint"`
}

// Tick also names the vaults that begin no batch until the next one, because vaults of
// their device have begun so many chunks as Most, or more.
type Tick struct {
	Full []wire.VaultID `cbor:"1,keyasint,omitempty"`
	Most int            `cbor:"2,keyasint,omitempty"`
}

// Load brings back log entries, in order, and rows, as Commits had them: all
// entries, or those from the newest Commit's From on.
type Load struct {
	Entries [][]byte    `cbor:"1,keyasint"`
	Rows    []StoredRow `cbor:"2,keyasint"`
}

// StoredRow is a sealed row. An empty Value in a Commit deletes it: what is
// sealed is never empty, and the wire does not tell nil from empty.
type StoredRow struct {
	Key   []byte `cbor:"1,keyasint"`
	Value []byte `cbor:"2,keyasint"`
}

// Durable says that the Commit with this number, and all before it, survive a
// crash of the host's machine.
type Durable struct {
	Commit uint64 `cbor:"1,keyasint"`
}

// Finish brings the escrow's Welcome and its newest witnessed head, from which
// the vault knows what time it is.
type Finish struct {
	Welcome []byte `cbor:"1,keyasint"`
	Head    []byte `cbor:"2,keyasint"`
}

// Feed brings a witnessed head, the proof that it extends the last one, and
// entries under it.
type Feed struct {
	Head        []byte         `cbor:"1,keyasint"`
	Consistency []head.Hash    `cbor:"2,keyasint"`
	Entries     []vault.Logged `cbor:"3,keyasint"`
}

// Heard brings the answer to a frame that Talk returned. An empty Frame says
// that none will come: the request is said again by the next Talk.
type Heard struct {
	N     uint64 `cbor:"1,keyasint"`
	Frame []byte `cbor:"2,keyasint"`
}

// Accept asks the vault to accept an agreement.
type Accept struct {
	Agreement       vault.Agreement `cbor:"1,keyasint"`
	Peers           []Peer          `cbor:"2,keyasint"`
	Papers          []vault.Paper   `cbor:"3,keyasint"`
	InsecureVendors []string        `cbor:"4,keyasint"`
}

// Peer is another party's vault with its evidence, which this vault appraises.
type Peer struct {
	Identity wire.Identity `cbor:"1,keyasint"`
	Evidence []byte        `cbor:"2,keyasint"`
}

// Say speaks a word in an instance.
type Say struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
	Word     string          `cbor:"2,keyasint"`
	Value    int64           `cbor:"3,keyasint"`
	HasValue bool            `cbor:"4,keyasint"`
	Sealed   bool            `cbor:"5,keyasint,omitempty"` // commit to the value; the vault keeps it to itself
	Opened   bool            `cbor:"6,keyasint,omitempty"` // show the value committed to
}

// Took says what became of the step that an instance's settlement stands at, by
// what the host's wallet says of its chunks.
type Took struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
	Failed   bool            `cbor:"2,keyasint"`
}

// Deposit puts chunks into a later pot of an instance.
type Deposit struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
	Pot      uint32          `cbor:"2,keyasint"`
	IDs      []wire.ChunkID  `cbor:"3,keyasint"` // in the agreed order
	By       int64           `cbor:"4,keyasint"` // Unix seconds: it waits so long for those who may receive them
}

// Chunks names chunks.
type Chunks struct {
	IDs []wire.ChunkID `cbor:"1,keyasint"`
}

// Sign asks for the vault's signature under a statement of its host to the
// switchboard: an offer, a report. It is signed for that purpose only.
type Sign struct {
	Body []byte `cbor:"1,keyasint"`
}

// PurposeHost is what statements of a host are signed for.
const PurposeHost = "latchkey/host/v1"

// A Result answers a Call. Error is empty when it was done.
type Result struct {
	N         uint64                  `cbor:"1,keyasint"`
	Error     string                  `cbor:"2,keyasint"`
	NoSession bool                    `cbor:"3,keyasint"`  // the error is that there is no session: say Hello
	Refused   bool                    `cbor:"17,keyasint"` // of a Heard: the error is the escrow's refusal, and the vault has taken it
	Bytes     []byte                  `cbor:"4,keyasint"`  // a Hello, a Welcome, a frame, a batch id, a signature, a head
	Talk      []Spoken                `cbor:"5,keyasint,omitempty"`
	Status    *Status                 `cbor:"6,keyasint,omitempty"`
	Accepted  *vault.SignedAcceptance `cbor:"7,keyasint,omitempty"`
	Word      *vault.SignedWord       `cbor:"8,keyasint,omitempty"`  // of a Say; of a Heard: that the escrow has refused
	Step      *vault.SignedStep       `cbor:"15,keyasint,omitempty"` // of a Heard: that Receipt is for
	Receipt   *vault.Receipt          `cbor:"9,keyasint,omitempty"`
	Keys      []Key                   `cbor:"10,keyasint,omitempty"`
	Papers    []vault.Paper           `cbor:"11,keyasint,omitempty"`
	Locked    *vault.LockedReply      `cbor:"12,keyasint,omitempty"`
	Report    *vault.Report           `cbor:"14,keyasint,omitempty"` // as the vault keeps it
	Stuck     string                  `cbor:"13,keyasint,omitempty"` // of a Tick: why something is not carried out though it is due
	Busy      *Busy                   `cbor:"16,keyasint,omitempty"` // of a Tick
}

// Busy says how much an escrow's vault has to do.
type Busy struct {
	Work      uint64 `cbor:"1,keyasint"` // units done since its start: see vault.Escrow.Work
	Waiting   int    `cbor:"2,keyasint"` // calls that wait for their turn
	Exploring int    `cbor:"3,keyasint"` // agreements whose outcomes are explored, or wait for that
	Held      int    `cbor:"4,keyasint"` // results that wait for the disk or the witnesses
}

// Spoken is a sealed request for the escrow.
type Spoken struct {
	N     uint64 `cbor:"1,keyasint"`
	What  string `cbor:"2,keyasint"` // for logs: begin, hand, claim …
	Frame []byte `cbor:"3,keyasint"`
}

// Key is a whole private key, for the host's wallet to sweep.
type Key struct {
	Chunk wire.ChunkID `cbor:"1,keyasint"`
	P     key.Point    `cbor:"2,keyasint"`
	D     []byte       `cbor:"3,keyasint"`
}

// String hides the key.
func (k Key) String() string { return "key of chunk " + k.Chunk.Short() + " [redacted]" }

// GoString hides the key.
func (k Key) GoString() string { return k.String() }

// Status says what a vault holds and knows.
type Status struct {
	Role      string            `cbor:"1,keyasint"`
	Identity  wire.Identity     `cbor:"2,keyasint"`
	Evidence  []byte            `cbor:"3,keyasint"`
	LogKey    string            `cbor:"4,keyasint"` // the escrow's, for witnesses and clients to pin
	Now       int64             `cbor:"5,keyasint"` // Unix seconds, by the witnesses; 0: none seen
	Size      int64             `cbor:"6,keyasint"` // of the log
	Witnessed int64             `cbor:"7,keyasint"`
	Session   bool              `cbor:"8,keyasint"`
	Chunks    []ChunkStatus     `cbor:"9,keyasint,omitempty"`
	Instances []vault.Instance  `cbor:"10,keyasint,omitempty"`
	Pledges   []vault.Pledge    `cbor:"11,keyasint,omitempty"`
	Batches   []wire.Hash       `cbor:"12,keyasint,omitempty"`
	Certs     []key.Certificate `cbor:"13,keyasint,omitempty"` // of the chunks, each once a page
	More      bool              `cbor:"14,keyasint,omitempty"` // chunks or instances go on in the next page
}

// ChunkStatus is one chunk of an owner's vault, without its secrets.
type ChunkStatus struct {
	ID     wire.ChunkID    `cbor:"1,keyasint"`
	Chunk  vault.Chunk     `cbor:"2,keyasint"` // Share, Whole and Path are empty
	Cert   key.Certificate `cbor:"-"`          // filled in by Client.Status
	Holds  bool            `cbor:"4,keyasint"` // its share of the present epoch is here
	Whole  bool            `cbor:"5,keyasint"` // its key is whole, for Keys to fetch
	Pledge wire.Hash       `cbor:"6,keyasint"` // the agreement that it is pledged to; zero: none
}

// A Commit is what the host makes durable, all or nothing, in order. Only then
// does it say Durable; and only after that may Head go to the witnesses.
type Commit struct {
	Number  uint64      `cbor:"1,keyasint"`
	First   int64       `cbor:"2,keyasint"` // position of the first entry
	Entries [][]byte    `cbor:"3,keyasint"`
	Rows    []StoredRow `cbor:"4,keyasint"`
	Head    []byte      `cbor:"5,keyasint"` // the signed head after it; empty for an owner's vault
	More    bool        `cbor:"6,keyasint"` // the rest of its rows comes in the next message

	// From, when not 0, is the position of the first entry that Load has to bring
	// back from now on: a snapshot among the rows has those before it.
	From int64 `cbor:"7,keyasint,omitempty"`
}

// A Message is what the vault sends to its host.
type Message struct {
	Result *Result `cbor:"1,keyasint,omitempty"`
	Commit *Commit `cbor:"2,keyasint,omitempty"`
}

var _ vault.Sealer = (*session.Mailbox)(nil)
