package vault

import (
	"errors"
	"fmt"
	"io"

	"latchkey/contract"
	"latchkey/key"
	"latchkey/wire"
)

// Say prepares a word of this vault's party in an instance. It is signed once,
// kept, and repeated until the log shows it or the escrow refuses it.
func (o *Owner) Say(id wire.InstanceID, word string, value int64, hasValue bool) (SignedWord, []Row, error) {
	return o.say(id, Word{Word: word, Value: value, HasValue: hasValue}, nil)
}

// SaySealed prepares a word that commits this party to a value, which the vault
// keeps to itself until SayOpened. rnd must be a cryptographic source of
// randomness: who could guess the salt could guess the value.
func (o *Owner) SaySealed(id wire.InstanceID, word string, value int64, rnd io.Reader) (SignedWord, []Row, error) {
	s := secret{Value: value}
	if _, err := io.ReadFull(rnd, s.Salt[:]); err != nil {
		return SignedWord{}, nil, err
	}
	in := o.running[id]
	if in == nil {
		return SignedWord{}, nil, fmt.Errorf("say %q in instance %s: %w", word, id.Short(), ErrUnknown)
	}
	h := contract.Seal(id, int(in.Pledge.Mine.Body.Role), value, s.Salt)
	return o.say(id, Word{Word: word, Seal: h[:]}, &s)
}

// SayOpened prepares a word that shows a value which this party committed to: of
// several the one that the contract takes under this word.
func (o *Owner) SayOpened(id wire.InstanceID, word string) (w SignedWord, rows []Row, err error) {
	err = fmt.Errorf("say %q in instance %s: no value of this vault is sealed", word, id.Short())
	if in := o.running[id]; in != nil {
		for _, s := range in.Secrets {
			if w, rows, err = o.say(id, Word{Word: word, Value: s.Value, HasValue: true, Salt: s.Salt[:]}, nil); err == nil {
				return w, rows, nil
			}
		}
	}
	return SignedWord{}, nil, err
}

// runs returns why nothing can be said in an instance, or put into it, now.
func (in *running) runs() error {
	switch {
	case in == nil:
		return ErrUnknown
	case in.Closed:
		return errors.New("it is closed")
	case !in.Opened:
		return ErrNotReady
	}
	return nil
}

// say signs this vault's next word in an instance, once the contract, as this vault has
// replayed it, would take it. s is the value and salt that a sealed word hides, which are
// kept until it is opened; nil for any other word.
func (o *Owner) say(id wire.InstanceID, body Word, s *secret) (SignedWord, []Row, error) {
	fail := func(err error) (SignedWord, []Row, error) {
		return SignedWord{}, nil, fmt.Errorf("say %q in instance %s: %w", body.Word, id.Short(), err)
	}
	t := o.begin()
	in := t.instance(id)
	if err := in.runs(); err != nil {
		return fail(err)
	}
	if len(in.Said) >= 16 || s != nil && len(in.Secrets) >= contract.MaxSeals {
		return fail(errors.New("too many words are waiting for the escrow already, or values are sealed"))
	}
	in.Seq++
	body.Instance, body.Role, body.Seq = id, in.Pledge.Mine.Body.Role, in.Seq
	w, err := body.sign(o.cfg.Sign)
	if err != nil {
		return fail(err)
	}
	// An impossible word is refused here, before anybody hears of it.
	if _, _, err := in.Pledge.deal.Step(in.state, w.Body.event(max(in.state.Now(), 0))); err != nil {
		return fail(err)
	}
	if in.Said = append(in.Said, w); s != nil {
		in.Secrets = append(in.Secrets, *s)
	}
	rows, err := t.commit()
	if err != nil {
		return fail(err)
	}
	return w, rows, nil
}

// Claim orders that chunks become whole. All of them must be this vault's, free
// of instances and pledges; else none is ordered. Repeated, it changes nothing.
func (o *Owner) Claim(ids []wire.ChunkID) ([]Row, error) {
	t := o.begin()
	for _, id := range ids {
		c := t.chunk(id)
		fail := func(err error) ([]Row, error) { return nil, fmt.Errorf("claim chunk %s: %w", id.Short(), err) }
		switch {
		case c == nil:
			return fail(ErrHeld)
		case c.Swept:
			return fail(errors.New("it is swept"))
		case c.Lost:
			return fail(errors.New("its share is lost: this vault was restored from an old copy"))
		case c.Instance != (wire.InstanceID{}):
			in := o.running[c.Instance]
			if in == nil {
				return fail(fmt.Errorf("%w in instance %s", ErrLocked, c.Instance.Short()))
			}
			return fail(fmt.Errorf("%w in instance %s until %s at the latest", ErrLocked, c.Instance.Short(), wire.UTC(in.Pledge.deal.ends())))
		case c.Owner != o.self:
			return fail(ErrNotYours)
		case c.Step != 0:
			return fail(fmt.Errorf("its new share has not arrived: %w", ErrNotReady))
		case !o.owns(c):
			return fail(ErrHeld)
		}
		if h, until, ok := o.pledged(id); ok && !c.Claim {
			return fail(fmt.Errorf("%w: pledged to agreement %s until %s", ErrLocked, h.Short(), wire.UTC(until)))
		}
		c.Claim = true
	}
	if err := t.stepsClaimed(); err != nil {
		return nil, err
	}
	return t.commit()
}

// claimed takes the escrow's shares. A key becomes whole only when the log has
// shown the claim; what comes before is kept in memory until then.
func (t *tx) claimed(list []Released) error {
	for _, r := range list {
		t.o.released[r.Chunk] = r
		c := t.chunk(r.Chunk)
		if c == nil || !c.Claimed {
			continue
		}
		if err := t.whole(r.Chunk, c); err != nil {
			return err
		}
	}
	return nil
}

// whole puts a claimed chunk's key together, if both shares are here.
func (t *tx) whole(id wire.ChunkID, c *Chunk) error {
	r, ok := t.o.released[id]
	if !ok || c.Owner != t.o.self || !c.Claim || c.Whole != nil || r.Epoch != c.Epoch || c.ShareAt != c.Epoch || len(c.Share) == 0 {
		return nil
	}
	delete(t.o.released, id)
	a, err := key.ParseShare(c.P.Type(), c.Share)
	if err != nil {
		return err
	}
	b, err := key.ParseShare(c.P.Type(), r.B)
	if err != nil {
		return fmt.Errorf("chunk %s: the escrow's share: %w", id.Short(), err)
	}
	d, err := key.Combine(a, b, c.P)
	if err != nil {
		return fmt.Errorf("chunk %s: %w", id.Short(), err)
	}
	c.Whole = d.Expose()
	return nil
}

// Key returns the whole private key of a claimed chunk, for the host to sweep.
func (o *Owner) Key(id wire.ChunkID) (key.Private, error) {
	c := o.chunks[id]
	switch {
	case c == nil:
		return key.Private{}, fmt.Errorf("key of chunk %s: %w", id.Short(), ErrHeld)
	case c.Whole == nil:
		return key.Private{}, fmt.Errorf("key of chunk %s: it is not whole: %w", id.Short(), ErrNotReady)
	}
	return key.ParsePrivate(c.Whole, c.P)
}

// Swept records that the host's wallet calls the sweep of chunks final. The
// escrow is told, and both forget their shares.
func (o *Owner) Swept(ids []wire.ChunkID) ([]Row, error) {
	t := o.begin()
	for _, id := range ids {
		c := t.chunk(id)
		if c == nil {
			return nil, fmt.Errorf("swept chunk %s: %w", id.Short(), ErrHeld)
		}
		if c.Whole == nil && !c.Swept {
			return nil, fmt.Errorf("swept chunk %s: it was never whole", id.Short())
		}
		c.Done = true
	}
	return t.commit()
}
