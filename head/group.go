package head

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"
)

// MaxWitnesses bounds a Group.
const MaxWitnesses = 32

// ErrQuorum is wrapped where a checkpoint has fewer cosignatures than its group
// asks for.
var ErrQuorum = errors.New("no quorum of witnesses")

// Group says whose word makes a head count: the log's, and that of K of the
// witnesses, of whom at most F lie, lose their state or have wrong clocks.
// The zero Group refuses everything.
type Group struct {
	Log       LogKey
	Witnesses []WitnessKey
	K, F      int
}

// Check refuses a group under which two heads that disagree could both count
// (that takes 2K > N+F), the median stamp could be a liar's (K >= 2F+1), or one
// witness could count twice.
func (g Group) Check() error {
	n := len(g.Witnesses)
	switch {
	case g.Log == LogKey{}:
		return errors.New("witness group without a log key")
	case n > MaxWitnesses:
		return fmt.Errorf("witness group of %d, at most %d", n, MaxWitnesses)
	case g.F < 0 || g.K > n || 2*g.K <= n+g.F || g.K < 2*g.F+1:
		return fmt.Errorf("witness group n=%d k=%d f=%d does not hold 2k > n+f, k >= 2f+1, k <= n, f >= 0", n, g.K, g.F)
	}
	for i, w := range g.Witnesses {
		if (w == WitnessKey{}) || w.name == g.Log.name || w.public == g.Log.public {
			return fmt.Errorf("witness %d of the group has no key, or the log's name or key", i)
		}
		for _, v := range g.Witnesses[:i] {
			if v.name == w.name || v.public == w.public {
				return fmt.Errorf("witnesses %s and %s share a name or a key", v.name, w.name)
			}
		}
	}
	return nil
}

// Stamp is the time of one witness's cosignature, in Unix seconds.
type Stamp struct {
	Witness WitnessKey
	Unix    int64
}

// Cosigned is a checkpoint that a quorum has cosigned.
type Cosigned struct {
	Checkpoint
	// Stamps has one entry for each witness that signed, the earliest first, and
	// by name where stamps are equal.
	Stamps []Stamp
	// Time is the median of the stamps, in Unix seconds; of an even number the
	// lower of the two in the middle. While at most F witnesses are wrong, one
	// honest witness's clock showed at most Time, and another's at least Time.
	Time int64
}

// Verify checks that the log signed a checkpoint and that at least K different
// witnesses of the group cosigned exactly it. A wrong signature by any key of
// the group refuses the whole note; other keys' signatures are ignored. A head
// that counts may be an old one: freshness is the caller's to judge.
func (g Group) Verify(signed []byte) (Cosigned, error) {
	if err := g.Check(); err != nil {
		return Cosigned{}, err
	}
	c, sigs, err := open(signed, g.Log, g.Witnesses...)
	if err != nil {
		return Cosigned{}, err
	}
	var stamps []Stamp
	for _, w := range g.Witnesses {
		if stamp, ok := stampOf(sigs, w); ok {
			stamps = append(stamps, stamp)
		}
	}
	if len(stamps) < g.K {
		return Cosigned{}, fmt.Errorf("%s at size %d: %w: %d of %d cosignatures", c.Origin, c.Size, ErrQuorum, len(stamps), g.K)
	}
	slices.SortFunc(stamps, compareStamps)
	return Cosigned{Checkpoint: c, Stamps: stamps, Time: stamps[(len(stamps)-1)/2].Unix}, nil
}

// stampOf picks w's cosignature from a note's verified signatures.
func stampOf(sigs []note.Signature, w WitnessKey) (Stamp, bool) {
	for _, s := range sigs {
		if s.Name != w.name || s.Hash != w.KeyHash() {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(s.Base64)
		if err != nil || len(raw) < 12 {
			return Stamp{}, false
		}
		return Stamp{Witness: w, Unix: int64(binary.BigEndian.Uint64(raw[4:]))}, true
	}
	return Stamp{}, false
}

func compareStamps(a, b Stamp) int {
	return cmp.Or(cmp.Compare(a.Unix, b.Unix), cmp.Compare(a.Witness.name, b.Witness.name))
}
