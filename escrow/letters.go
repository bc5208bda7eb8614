package escrow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"latchkey/gate"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// A Letter is what one client's host tells another's: a draft of an agreement, or
// the answer to one. The escrow's host passes letters on between vaults that are
// enrolled, for both meet there anyway, and a switchboard is not needed for what
// people agree on themselves. It does not look into them, keeps them in memory for
// a while, and may lose them: who wants an answer sends again.
type Letter struct {
	Purpose string       `cbor:"1,keyasint"` // PurposeLetter
	Escrow  wire.VaultID `cbor:"2,keyasint"` // whose host carries it
	From    wire.VaultID `cbor:"3,keyasint"`
	To      wire.VaultID `cbor:"4,keyasint"`
	At      int64        `cbor:"5,keyasint"` // Unix seconds, by the sender's clock
	Body    []byte       `cbor:"6,keyasint"`
}

// A Collect asks for the letters to a vault after a number, and lets those up to
// it be forgotten.
type Collect struct {
	Purpose string       `cbor:"1,keyasint"` // PurposeCollect
	Escrow  wire.VaultID `cbor:"2,keyasint"`
	Vault   wire.VaultID `cbor:"3,keyasint"`
	At      int64        `cbor:"4,keyasint"` // Unix seconds, by the sender's clock
	After   uint64       `cbor:"5,keyasint"`
}

// What letters and their collection are signed as, by the vault for
// enclave.PurposeHost.
const (
	PurposeLetter  = "latchkey/letter/v1"
	PurposeCollect = "latchkey/collect/v1"
)

// Signed is a Letter or a Collect, as it travels.
type Signed struct {
	Body []byte // deterministic CBOR
	Sig  []byte
}

// A Received letter is one with its number; the letters to one vault are numbered
// in the order of their arrival.
type Received struct {
	Number uint64
	Signed
}

// Bounds of the post.
const (
	MaxLetter  = 1 << 20 // bytes of one letter
	maxBox     = 256     // letters to one vault
	maxBoxSize = 4 << 20 // their bytes
	maxFrom    = 32      // letters of one vault in one box
	maxPost    = 64 << 20
	letterLife = 10 * time.Minute
	maxSkew    = 120 // seconds between the sender's clock and this one
)

var (
	errPost = errors.New("letter refused")
	errFull = errors.New("the recipient's box is full; try again when it was emptied")
)

// post holds the letters that nobody has collected yet.
type post struct {
	mu    sync.Mutex
	boxes map[wire.VaultID]*box
	size  int
	last  uint64
}

type box struct {
	letters []kept
	size    int
	changed chan struct{} // closed, and replaced, with each letter
}

type kept struct {
	Received
	from wire.VaultID
	body wire.Hash
	at   time.Time
}

// newPost begins to number where no earlier run of this host can have been.
func newPost(now time.Time) *post {
	return &post{boxes: map[wire.VaultID]*box{}, last: uint64(now.UnixMicro())}
}

func (p *post) box(v wire.VaultID) *box {
	b := p.boxes[v]
	if b == nil {
		b = &box{changed: make(chan struct{})}
		p.boxes[v] = b
	}
	return b
}

// drop forgets the letters of a box for which is holds.
func (p *post) drop(b *box, is func(kept) bool) {
	b.letters = slices.DeleteFunc(b.letters, func(k kept) bool {
		if !is(k) {
			return false
		}
		b.size -= len(k.Body)
		p.size -= len(k.Body)
		return true
	})
}

// put takes a letter. The same body from the same vault replaces the one that
// still waits.
func (p *post) put(l Letter, s Signed, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	body := wire.HashBytes(PurposeLetter, l.Body)
	b := p.box(l.To)
	p.drop(b, func(k kept) bool { return now.Sub(k.at) > letterLife || k.from == l.From && k.body == body })
	from := 0
	for _, k := range b.letters {
		if k.from == l.From {
			from++
		}
	}
	if p.size+len(s.Body) > maxPost {
		for _, other := range p.boxes {
			p.drop(other, func(k kept) bool { return now.Sub(k.at) > letterLife })
		}
	}
	if len(b.letters) >= maxBox || from >= maxFrom || b.size+len(s.Body) > maxBoxSize || p.size+len(s.Body) > maxPost {
		return errFull
	}
	p.last++
	b.letters = append(b.letters, kept{Received{p.last, s}, l.From, body, now})
	b.size += len(s.Body)
	p.size += len(s.Body)
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

// take forgets what was collected and returns what came after, and a channel that
// is closed when there is more.
func (p *post) take(v wire.VaultID, after uint64, now time.Time) ([]Received, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.box(v)
	p.drop(b, func(k kept) bool { return k.Number <= after || now.Sub(k.at) > letterLife })
	var out []Received
	size := 0
	for _, k := range b.letters {
		if size += len(k.Body); size > maxFeedBytes && len(out) > 0 {
			break
		}
		out = append(out, k.Received)
	}
	return out, b.changed
}

// signedBy verifies what a host says in the name of its vault.
func (h *Host) signedBy(v wire.VaultID, s Signed) error {
	h.mu.Lock()
	e, ok := h.feed.Peer(v)
	h.mu.Unlock()
	if !ok {
		return fmt.Errorf("vault %s: %w: it is not enrolled here", v.Short(), vault.ErrUnknown)
	}
	return e.Identity.Verify(enclave.PurposeHost, s.Body, s.Sig)
}

// checkStatement holds what letters and collections have in common.
func (h *Host) checkStatement(purpose, want string, escrow wire.VaultID, at int64, now time.Time) error {
	h.mu.Lock()
	self, err := h.status.Identity.ID()
	h.mu.Unlock()
	switch {
	case err != nil:
		return errStarting
	case purpose != want:
		return fmt.Errorf("%w: it is signed as %.40q", errPost, purpose)
	case escrow != self:
		return fmt.Errorf("%w: it is for escrow %s, this is %s", errPost, escrow.Short(), self.Short())
	case at < now.Unix()-maxSkew || at > now.Unix()+maxSkew:
		return fmt.Errorf("%w: made at %s by its clock, it is %s here, more than %d s apart", errPost, wire.UTC(at), wire.UTC(now.Unix()), maxSkew)
	}
	return nil
}

// Post leaves a letter for a vault.
func (h *Host) Post(s Signed) error {
	var l Letter
	if len(s.Body) > MaxLetter {
		return fmt.Errorf("%w: %d bytes, at most %d", errPost, len(s.Body), MaxLetter)
	}
	if err := wire.Unmarshal(s.Body, &l); err != nil {
		return fmt.Errorf("%w: %w", errPost, err)
	}
	now := time.Now()
	if err := h.checkStatement(l.Purpose, PurposeLetter, l.Escrow, l.At, now); err != nil {
		return err
	}
	h.mu.Lock()
	_, known := h.feed.Peer(l.To)
	h.mu.Unlock()
	if !known {
		return fmt.Errorf("%w: vault %s is not enrolled here", errPost, l.To.Short())
	}
	if err := h.signedBy(l.From, s); err != nil {
		return fmt.Errorf("%w: %w", errPost, err)
	}
	return h.post.put(l, s, now)
}

// Collect returns the letters to a vault, or waits for one.
func (h *Host) Collect(ctx context.Context, s Signed, wait time.Duration) ([]Received, error) {
	var c Collect
	if err := wire.Unmarshal(s.Body, &c); err != nil {
		return nil, fmt.Errorf("%w: %w", errPost, err)
	}
	if err := h.checkStatement(c.Purpose, PurposeCollect, c.Escrow, c.At, time.Now()); err != nil {
		return nil, err
	}
	if err := h.signedBy(c.Vault, s); err != nil {
		return nil, fmt.Errorf("%w: %w", errPost, err)
	}
	end := time.NewTimer(wait)
	defer end.Stop()
	for {
		list, changed := h.post.take(c.Vault, c.After, time.Now())
		if len(list) > 0 {
			return list, nil
		}
		select {
		case <-changed:
		case <-end.C:
			return nil, nil
		case <-gate.Stopping(ctx):
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Open checks that a letter was written by the vault that it names, whose keys
// are given, to another, and returns it.
func (s Signed) Open(to wire.VaultID, identity func(wire.VaultID) (wire.Identity, error)) (Letter, error) {
	var l Letter
	if err := wire.Unmarshal(s.Body, &l); err != nil {
		return Letter{}, fmt.Errorf("letter: %w", err)
	}
	if l.Purpose != PurposeLetter || l.To != to {
		return Letter{}, fmt.Errorf("letter: signed as %.40q, to vault %s", l.Purpose, l.To.Short())
	}
	id, err := identity(l.From)
	if err != nil {
		return Letter{}, fmt.Errorf("letter: %w", err)
	}
	if v, err := id.ID(); err != nil || v != l.From {
		return Letter{}, fmt.Errorf("letter: the keys shown for vault %s are of another", l.From.Short())
	}
	if err := id.Verify(enclave.PurposeHost, s.Body, s.Sig); err != nil {
		return Letter{}, fmt.Errorf("letter of vault %s: %w", l.From.Short(), err)
	}
	return l, nil
}
