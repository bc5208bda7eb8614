package vault

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"latchkey/coin"
	"latchkey/contract"
	"latchkey/contract/oracle"
	"latchkey/settle"
	"latchkey/wire"
)

// Recipients is "an owner" in every format: the vaults to which an owner's share
// of a chunk is sealed. This version requires exactly one; the list is there so
// that a second vault per owner changes no format.
type Recipients []wire.VaultID

// One returns the only recipient, or an error for any other number.
func (r Recipients) One() (wire.VaultID, error) {
	if len(r) != 1 {
		return wire.VaultID{}, fmt.Errorf("%d recipients for one owner; this version takes exactly 1", len(r))
	}
	return r[0], nil
}

// A Settle says how the gives of a contract are carried out.
type Settle uint8

// The ways. The zero Settle is refused.
const (
	Atomic    Settle = 1 // all gives of a step in one log entry
	TitForTat Settle = 2 // the sides' chunks in turn: settle.go
)

// A Stake is one chunk that a party puts into a pot. Of a later pot only its
// weight is agreed: which chunk it is, a deposit says (deposit.go).
type Stake struct {
	Chunk  wire.ChunkID `cbor:"1,keyasint"`
	Epoch  uint32       `cbor:"2,keyasint"` // the epoch at which it is put in; any other is refused
	Weight uint32       `cbor:"3,keyasint"` // units, as its certificate says
}

// An Agreement is everything the parties of an instance sign: the contract, its
// terms, who they are, and the chunks of each pot in the order in which gives
// take them.
type Agreement struct {
	Source  []byte       `cbor:"1,keyasint"` // the contract's text
	Terms   []int64      `cbor:"2,keyasint"` // in the order declared
	Parties []Recipients `cbor:"3,keyasint"` // in the order declared
	Pots    [][]Stake    `cbor:"4,keyasint"` // in the order declared
	Escrow  wire.VaultID `cbor:"5,keyasint"`
	LockBy  int64        `cbor:"6,keyasint"` // Unix seconds; not open by then is aborted
	Settle  Settle       `cbor:"7,keyasint"`
	Pace    *settle.Pace `cbor:"8,keyasint,omitempty"` // of tit-for-tat, and of nothing else

	Oracles []oracle.Quorum `cbor:"9,keyasint,omitempty"`  // in the order declared
	Assets  []coin.AssetID  `cbor:"10,keyasint,omitempty"` // in the order declared: what the pots that name them hold
	Bounds  *Bounds         `cbor:"11,keyasint,omitempty"` // of the exploration, where the usual ones do not do

	Later []coin.Denomination `cbor:"12,keyasint,omitempty"` // what the chunks of each later pot are of that has any, in the order declared
}

// Bounds are how far the exploration of an agreement's outcomes may go. All
// parties sign them, and every vault bears the work.
type Bounds struct {
	States uint32 `cbor:"1,keyasint"` // 1 to MaxStates
	Moves  uint32 `cbor:"2,keyasint"` // 1 to MaxMoves
}

// Limits of one agreement. They bound what one message can make a vault do.
const (
	maxParties = 16
	maxStakes  = 1024
	// maxLockWait is the longest time between an acceptance and its LockBy.
	maxLockWait = 24 * 3600
	// MaxStates and MaxMoves are what parties may raise the bounds to. The work
	// is the escrow's too, which serves others meanwhile.
	MaxStates = 200_000
	MaxMoves  = 1_000_000
)

func (a Agreement) names(id wire.ChunkID) bool {
	return slices.ContainsFunc(a.Pots, func(pot []Stake) bool {
		return slices.ContainsFunc(pot, func(s Stake) bool { return s.Chunk == id })
	})
}

// ErrAgreement is wrapped by every refusal of an agreement's contents.
var ErrAgreement = errors.New("agreement refused")

// A deal is an agreement whose every part was checked: the contract compiles,
// the terms are in range, each pot holds what the contract wants, and the
// exploration of all outcomes found nothing wrong.
type deal struct {
	*contract.Deal
	agreement Agreement
	hash      wire.Hash
	parties   []wire.VaultID
	weights   [][]int64
	later     map[int]coin.Denomination // of each pot that is filled later and holds chunks
	steps     []step                    // of tit-for-tat; nil: atomic
	loss      [2]int64
}

// check verifies all of an agreement that does not depend on anyone's state.
func (a Agreement) check() (*deal, error) {
	d, err := a.bind()
	if err != nil {
		return nil, err
	}
	_, err = d.admit()
	return d, err
}

// admit explores all outcomes and returns how many moves that took, or the most that
// it could where they are refused. It is the most of the work of a check: whoever asks
// for it has shown first that the agreement is theirs to make.
func (d *deal) admit() (moves int, err error) {
	var lim contract.Limits
	if b := d.agreement.Bounds; b != nil {
		lim = contract.Limits{States: int(b.States), Moves: int(b.Moves)}
	}
	r, err := d.Admit(d.weights, lim)
	if err != nil {
		return MaxMoves, fmt.Errorf("%w: outcomes: %w", ErrAgreement, err)
	}
	return r.Moves, nil
}

// bind is check without the exploration of all outcomes: enough for an agreement
// that a log already holds.
func (a Agreement) bind() (*deal, error) {
	refuse := func(format string, args ...any) (*deal, error) {
		return nil, fmt.Errorf("%w: %w", ErrAgreement, fmt.Errorf(format, args...))
	}
	if a.Settle != Atomic && a.Settle != TitForTat || (a.Settle == TitForTat) != (a.Pace != nil) {
		return refuse("settle %d is unknown, want %d (atomic), or %d (tit-for-tat) with a pace", a.Settle, Atomic, TitForTat)
	}
	p, err := contract.Compile(a.Source)
	if err != nil {
		return refuse("contract: %w", err)
	}
	d := &deal{agreement: a}
	if d.Deal, err = p.Bind(a.Terms); err != nil {
		return refuse("terms: %w", err)
	}
	p = d.Program() // with roles, it has the parties and pots of these terms
	if err := a.CheckNamed(p); err != nil {
		return refuse("%w", err)
	}
	if len(a.Parties) != len(p.Parties()) || len(a.Parties) > maxParties {
		return refuse("%d parties, contract %s has %d, at most %d", len(a.Parties), p.Name(), len(p.Parties()), maxParties)
	}
	seen := map[wire.VaultID]bool{}
	for i, r := range a.Parties {
		v, err := r.One()
		if err != nil {
			return refuse("party %s: %w", p.Parties()[i], err)
		}
		if seen[v] {
			return refuse("vault %s is two parties", v.Short())
		}
		seen[v] = true
		d.parties = append(d.parties, v)
	}
	if len(a.Pots) != len(p.Pots()) {
		return refuse("%d pots, contract %s has %d", len(a.Pots), p.Name(), len(p.Pots()))
	}
	stakes, chunks := 0, map[wire.ChunkID]bool{}
	for i, pot := range a.Pots {
		var sum int64
		w := make([]int64, len(pot))
		later := p.Pots()[i].Later
		if later && len(pot) > 0 {
			if err := d.agreeLater(i); err != nil {
				return refuse("pot %s: %w", p.Pots()[i].Name, err)
			}
		}
		for j, s := range pot {
			switch none := s.Chunk == (wire.ChunkID{}) && s.Epoch == 0; {
			case later && none:
			case later != none:
				return refuse("pot %s names a chunk that comes later, or none", p.Pots()[i].Name)
			case chunks[s.Chunk]:
				return refuse("chunk %s is put in twice", s.Chunk.Short())
			}
			chunks[s.Chunk] = true
			w[j] = int64(s.Weight)
			sum += w[j]
		}
		if stakes += len(pot); stakes > maxStakes {
			return refuse("more than %d chunks", maxStakes)
		}
		if want := d.PotUnits(i); sum != want {
			return refuse("pot %s holds %d units, the contract wants %d", p.Pots()[i].Name, sum, want)
		}
		d.weights = append(d.weights, w)
	}
	if len(a.Later) != len(d.later) {
		return refuse("%d denominations for %d later pots with chunks", len(a.Later), len(d.later))
	}
	if stakes == 0 {
		return refuse("no chunk is at stake")
	}
	if a.Settle == TitForTat {
		if err := d.plan(); err != nil {
			return refuse("%w", err)
		}
	}
	d.hash, err = a.Hash()
	return d, err
}

// CheckNamed returns an error unless an agreement names what contract p wants
// besides parties, terms and chunks, and bounds that a vault bears.
func (a Agreement) CheckNamed(p *contract.Program) error {
	if len(a.Oracles) != len(p.Oracles()) || len(a.Assets) != len(p.Assets()) {
		return fmt.Errorf("%d oracles and %d assets, contract %s has %d and %d", len(a.Oracles), len(a.Assets), p.Name(), len(p.Oracles()), len(p.Assets()))
	}
	for i, o := range p.Oracles() {
		if err := a.Oracles[i].Check(); err != nil {
			return fmt.Errorf("oracle %s: %w", o.Name, err)
		}
		if o.Fixed != "" && a.Oracles[i].Feed != o.Fixed {
			return fmt.Errorf("oracle %s reads feed %s, the contract says %s", o.Name, a.Oracles[i].Feed, o.Fixed)
		}
	}
	for i, x := range p.Assets() {
		if err := a.Assets[i].Check(); err != nil {
			return err
		}
		if x.Fixed != "" && string(a.Assets[i]) != x.Fixed {
			return fmt.Errorf("asset %s, the contract says %s", a.Assets[i], x.Fixed)
		}
	}
	if b := a.Bounds; b != nil && (b.States < 1 || b.States > MaxStates || b.Moves < 1 || b.Moves > MaxMoves) {
		return fmt.Errorf("bounds of %d states and %d moves, want 1 to %d and 1 to %d", b.States, b.Moves, MaxStates, MaxMoves)
	}
	return nil
}

// checkAsset returns an error unless a chunk of this asset may be in a pot.
func (d *deal) checkAsset(pot int, is coin.AssetID) error {
	if i := d.Program().Pots()[pot].Asset; i >= 0 && d.agreement.Assets[i] != is {
		return fmt.Errorf("%w: it is %s, the pot holds %s", ErrAgreement, is, d.agreement.Assets[i])
	}
	return nil
}

// Hash names an agreement: it is what every party's acceptance signs.
func (a Agreement) Hash() (wire.Hash, error) { return wire.HashOf("latchkey/agreement/v1", a) }

// depositor returns the party that fills a pot.
func (d *deal) depositor(pot int) int { return d.Program().Pots()[pot].From }

// receives reports whether party may be given chunks of pot that it did not put
// in, so that the depositor's vault must hand it its share before the instance
// opens; of a later pot, before its deposit counts.
func (d *deal) receives(pot, party int) bool {
	if party == d.depositor(pot) || len(d.agreement.Pots[pot]) == 0 {
		return false
	}
	for _, c := range d.Candidates(pot) {
		if c == party {
			return true
		}
	}
	return false
}

// role returns the index of the party that v is, or −1.
func (d *deal) role(v wire.VaultID) int {
	for i, p := range d.parties {
		if p == v {
			return i
		}
	}
	return -1
}

// An Acceptance is one party's signature under an agreement.
type Acceptance struct {
	Agreement wire.Hash `cbor:"1,keyasint"`
	Role      uint32    `cbor:"2,keyasint"` // index of the party that accepts
	Nonce     [16]byte  `cbor:"3,keyasint"` // its own choice: makes each acceptance, and so each instance, unique
}

// SignedAcceptance is an acceptance with its party's signature.
type SignedAcceptance struct {
	Body Acceptance `cbor:"1,keyasint"`
	Sig  []byte     `cbor:"2,keyasint"`
}

const purposeAccept = "latchkey/accept/v1"

func (a Acceptance) sign(k ed25519.PrivateKey) (SignedAcceptance, error) {
	b, err := wire.Marshal(a)
	if err != nil {
		return SignedAcceptance{}, err
	}
	return SignedAcceptance{a, wire.Sign(k, purposeAccept, b)}, nil
}

// Verify returns an error unless the vault with these keys signed a.
func (a SignedAcceptance) Verify(id wire.Identity) error {
	b, err := wire.Marshal(a.Body)
	if err != nil {
		return err
	}
	return id.Verify(purposeAccept, b, a.Sig)
}

// instanceID names the run that these acceptances, one per party in order,
// agree to.
func instanceID(all []SignedAcceptance) (wire.InstanceID, error) {
	bodies := make([]Acceptance, len(all))
	for i, a := range all {
		bodies[i] = a.Body
	}
	h, err := wire.HashOf("latchkey/instance/v1", bodies)
	return wire.InstanceID(h), err
}

// checkAcceptances verifies that every party of d signed, each in its own role,
// and returns the instance's id. identities holds the parties' keys.
func (d *deal) checkAcceptances(all []SignedAcceptance, identity func(wire.VaultID) (wire.Identity, bool)) (wire.InstanceID, error) {
	var none wire.InstanceID
	if len(all) != len(d.parties) {
		return none, fmt.Errorf("%w: %d acceptances of %d parties", ErrAgreement, len(all), len(d.parties))
	}
	for i, a := range all {
		if int64(a.Body.Role) != int64(i) || a.Body.Agreement != d.hash {
			return none, fmt.Errorf("%w: acceptance %d is of role %d and another agreement or order", ErrAgreement, i, a.Body.Role)
		}
		id, ok := identity(d.parties[i])
		if !ok {
			return none, fmt.Errorf("%w: vault %s is not enrolled", ErrAgreement, d.parties[i].Short())
		}
		if err := a.Verify(id); err != nil {
			return none, fmt.Errorf("%w: party %d: %w", ErrAgreement, i, err)
		}
	}
	return instanceID(all)
}

// A Word is what a party says to an instance.
type Word struct {
	Instance wire.InstanceID `cbor:"1,keyasint"`
	Role     uint32          `cbor:"2,keyasint"`
	Seq      uint64          `cbor:"3,keyasint"` // 1, 2, … per party and instance; a repeated one changes nothing
	Word     string          `cbor:"4,keyasint"`
	Value    int64           `cbor:"5,keyasint"`
	HasValue bool            `cbor:"6,keyasint"`
	Seal     []byte          `cbor:"7,keyasint,omitempty"` // a commitment to a value, 32 bytes
	Salt     []byte          `cbor:"8,keyasint,omitempty"` // of the value committed to, 32 bytes
}

// SignedWord is a word with its party's signature: the log keeps it, so that
// anyone who replays the instance sees who said what.
type SignedWord struct {
	Body Word   `cbor:"1,keyasint"`
	Sig  []byte `cbor:"2,keyasint"`
}

const purposeWord = "latchkey/word/v1"

func (w Word) sign(k ed25519.PrivateKey) (SignedWord, error) {
	b, err := wire.Marshal(w)
	if err != nil {
		return SignedWord{}, err
	}
	return SignedWord{w, wire.Sign(k, purposeWord, b)}, nil
}

// Verify returns an error unless the vault with these keys said w.
func (w SignedWord) Verify(id wire.Identity) error {
	b, err := wire.Marshal(w.Body)
	if err != nil {
		return err
	}
	return id.Verify(purposeWord, b, w.Sig)
}

// Hash names a word for its receipt.
func (w SignedWord) Hash() (wire.Hash, error) { return wire.HashOf("latchkey/signed-word/v1", w) }

// event is what the contract's machine sees of the word, said at a time.
func (w Word) event(at int64) contract.Event {
	ev := contract.Event{
		Kind: contract.Word, Party: int(w.Role), Word: w.Word, Value: w.Value, HasValue: w.HasValue, At: at,
	}
	switch {
	case len(w.Salt) == 32 && len(w.Seal) == 0:
		ev.Hash = contract.Seal(w.Instance, int(w.Role), w.Value, [32]byte(w.Salt))
	case len(w.Seal) == 32 && len(w.Salt) == 0:
		ev.Hash = [32]byte(w.Seal)
	case len(w.Seal) > 0 || len(w.Salt) > 0:
		ev.Kind = 0 // neither a commitment nor what was committed to: no contract takes it
	}
	return ev
}

// A ClaimOrder asks the escrow for its shares of chunks that the signer owns.
type ClaimOrder struct {
	Escrow wire.VaultID `cbor:"1,keyasint"`
	Chunks []ChunkEpoch `cbor:"2,keyasint"`
}

// A SweptOrder tells the escrow that the coins of chunks have left their
// addresses for good, so that it erases its shares.
type SweptOrder struct {
	Escrow wire.VaultID `cbor:"1,keyasint"`
	Chunks []ChunkEpoch `cbor:"2,keyasint"`
}

// ChunkEpoch names a chunk at one count of its refreshes. Every order names its
// chunks so: an order of another epoch changes nothing.
type ChunkEpoch struct {
	Chunk wire.ChunkID `cbor:"1,keyasint"`
	Epoch uint32       `cbor:"2,keyasint"`
}

const (
	purposeAck   = "latchkey/ack/v1"
	purposeClaim = "latchkey/claim/v1"
	purposeSwept = "latchkey/swept/v1"
)

// A Receipt is the escrow's immediate answer to a word: it promises that the
// word is in its log by a stated time. With the log it proves a word left out.
type Receipt struct {
	Word wire.Hash `cbor:"1,keyasint"` // of the signed word, or of the report
	By   int64     `cbor:"2,keyasint"` // Unix seconds
	Sig  []byte    `cbor:"3,keyasint"` // over the same with an empty Sig
}

const (
	purposeReceipt = "latchkey/receipt/v1"
	// receiptTime is how many seconds after a word its entry may be witnessed.
	receiptTime = 60
)

func (r Receipt) sign(k ed25519.PrivateKey) (Receipt, error) {
	r.Sig = nil
	b, err := wire.Marshal(r)
	if err == nil {
		r.Sig = wire.Sign(k, purposeReceipt, b)
	}
	return r, err
}

// Verify returns an error unless the escrow with these keys signed r.
func (r Receipt) Verify(escrow wire.Identity) error {
	sig := r.Sig
	r.Sig = nil
	b, err := wire.Marshal(r)
	if err != nil {
		return err
	}
	return escrow.Verify(purposeReceipt, b, sig)
}
