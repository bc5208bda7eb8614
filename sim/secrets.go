package sim

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"latchkey/key"
	"latchkey/wire"
)

// Secrets knows which scalars each party has ever had in its hands, and notices
// the moment at which two of them make a whole key, or one is a whole key.
type Secrets struct {
	cast  *Cast
	whole map[wire.ChunkID]key.Share            // d, once both first shares were seen
	first map[wire.ChunkID][]key.Share          // a and b of epoch 0, until d is known
	known map[string]map[wire.ChunkID][]scalar  // by party
	texts map[string]string                     // prints of scalars → what it is
	own   func(who string, c wire.ChunkID) bool // may this party have this key whole now?
}

type scalar struct {
	share key.Share
	bytes [32]byte
}

func newSecrets(c *Cast, own func(string, wire.ChunkID) bool) *Secrets {
	return &Secrets{
		cast: c, whole: map[wire.ChunkID]key.Share{}, first: map[wire.ChunkID][]key.Share{},
		known: map[string]map[wire.ChunkID][]scalar{}, texts: map[string]string{}, own: own,
	}
}

var (
	errWhole = errors.New("a key is whole where it must not be")
	errPrint = errors.New("a secret was printed")
)

// born learns a first share of a chunk; of the owner's and the escrow's the
// whole key follows.
func (s *Secrets) born(c wire.ChunkID, p key.Point, share key.Share) {
	if _, done := s.whole[c]; done {
		return
	}
	s.first[c] = append(s.first[c], share)
	for _, other := range s.first[c] {
		if d, err := key.Combine(share, other, p); err == nil {
			if s.whole[c], err = key.ParseShare(p.Type(), d.Expose()); err == nil {
				s.note(d.Expose(), "the key of chunk "+c.Short())
				delete(s.first, c)
			}
			return
		}
	}
}

// learn says that a party has seen a scalar that belongs to a chunk: a share of
// either side, of any epoch, or the whole key.
func (s *Secrets) learn(who string, c wire.ChunkID, share key.Share) error {
	if share.IsZero() {
		return nil
	}
	raw := [32]byte(share.Expose())
	if s.known[who] == nil {
		s.known[who] = map[wire.ChunkID][]scalar{}
	}
	for _, x := range s.known[who][c] {
		if x.bytes == raw {
			return nil
		}
	}
	s.note(raw[:], "a share of chunk "+c.Short())
	s.known[who][c] = append(s.known[who][c], scalar{share, raw})
	if how := s.holds(c, who); how != "" && !s.own(who, c) {
		return fmt.Errorf("%w: chunk %s, by %s: %s", errWhole, c.Short(), who, how)
	}
	return nil
}

// holds says how parties, their knowledge put together, have a chunk's whole
// key; "" if they do not.
func (s *Secrets) holds(c wire.ChunkID, parties ...string) string {
	d, ok := s.whole[c]
	if !ok {
		return ""
	}
	var all []scalar
	for _, p := range parties {
		all = append(all, s.known[p][c]...)
	}
	for i, x := range all {
		if x.share.Equal(d) {
			return "the key itself"
		}
		for _, y := range all[:i] {
			if sum, err := x.share.Plus(y.share); err == nil && sum.Equal(d) {
				return "both shares of one epoch"
			}
		}
	}
	return ""
}

// fits reports whether a share and one of the escrow's make the key, as far as
// that is known.
func (s *Secrets) fits(c wire.ChunkID, raw []byte) bool {
	d, ok := s.whole[c]
	if !ok {
		return true
	}
	a, err := key.ParseShare(d.Type(), raw)
	if err != nil {
		return false
	}
	for _, b := range s.known["escrow"][c] {
		if sum, err := a.Plus(b.share); err == nil && sum.Equal(d) {
			return true
		}
	}
	return false
}

// note remembers how a secret would look in a text.
func (s *Secrets) note(b []byte, what string) {
	for _, t := range []string{
		hex.EncodeToString(b)[:24], strings.ToUpper(hex.EncodeToString(b)[:24]), base64.StdEncoding.EncodeToString(b)[:20],
		strings.Trim(fmt.Sprint(b[:8]), "[]"), string(b[:12]),
	} {
		s.texts[t] = what
	}
}

// leaks reports a text that shows a part of a secret.
func (s *Secrets) leaks(text string) error {
	for t, what := range s.texts {
		if strings.Contains(text, t) {
			return fmt.Errorf("%w: %s", errPrint, what)
		}
	}
	return nil
}
