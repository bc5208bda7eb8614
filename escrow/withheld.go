package escrow

import (
	"errors"
	"fmt"

	"latchkey/head"
	"latchkey/vault"
	"latchkey/wire"
)

// Withheld proves that an escrow gave its receipt for a word of a contract, for one
// about a step of a settlement tit for tat, or for a report of an oracle's values, and
// left it out of its log: whoever trusts the log's key and its witnesses can check it,
// without asking anybody.
type Withheld struct {
	Word    *vault.SignedWord `cbor:"1,keyasint,omitempty"` // or Step, or Report
	Party   *wire.Identity    `cbor:"2,keyasint,omitempty"` // who said the word, or that of the step
	Escrow  wire.Identity     `cbor:"3,keyasint"`
	Receipt vault.Receipt     `cbor:"4,keyasint"`
	Before  []byte            `cbor:"5,keyasint"` // head.Frontier of the log before the instance was locked
	Entries [][]byte          `cbor:"6,keyasint"` // from its Lock on, all of them
	Head    []byte            `cbor:"7,keyasint"` // witnessed after the promised time, of the log that ends with Entries
	Report  *vault.Report     `cbor:"8,keyasint,omitempty"`
	Step    *vault.SignedStep `cbor:"9,keyasint,omitempty"`
}

var (
	// ErrKept is wrapped where the log has the word after all, or the promised time
	// has not come.
	ErrKept = errors.New("the promise is not broken")
	// ErrProof is wrapped by every refusal of a proof that does not hold together.
	ErrProof = errors.New("no proof")
)

// Check returns nil if w proves what it claims under the keys of g, and the head
// that shows it.
//
// That nothing is left out of Entries rests on the head: with what came before
// them they make up its root. That the word or report could stand nowhere else
// rests on their beginning with the lock of its instance.
func (w Withheld) Check(g head.Group) (head.Cosigned, error) {
	fail := func(format string, args ...any) (head.Cosigned, error) {
		return head.Cosigned{}, fmt.Errorf("%w: %w", ErrProof, fmt.Errorf(format, args...))
	}
	if string(w.Escrow.Sign) != string(g.Log.Public()) {
		return fail("the escrow shown is not the one of log %s", g.Log.Name())
	}
	hash, instance, err := w.Promised()
	if err != nil {
		return fail("%w", err)
	}
	if err := w.Receipt.Verify(w.Escrow); err != nil {
		return fail("the receipt: %w", err)
	}
	if w.Receipt.Word != hash {
		return fail("the receipt is for something else")
	}
	c, err := g.Verify(w.Head)
	if err != nil {
		return fail("the head: %w", err)
	}
	var f head.Frontier
	if err := f.UnmarshalBinary(w.Before); err != nil {
		return fail("%w", err)
	}
	for i, raw := range w.Entries {
		if err := f.Append(raw); err != nil {
			return fail("%w", err)
		}
		e, err := vault.ParseEntry(raw)
		if err != nil {
			return fail("entry %d: %w", i, err)
		}
		if i == 0 {
			if err := w.locks(e, instance); err != nil {
				return fail("%w", err)
			}
		}
		if Has(e, hash) {
			return head.Cosigned{}, fmt.Errorf("%w: entry %d has it", ErrKept, f.Size()-1)
		}
	}
	switch {
	case len(w.Entries) == 0 || f.Size() != c.Size || f.Root() != c.Root:
		return fail("these entries are not the log under the head")
	case c.Time <= w.Receipt.By:
		return head.Cosigned{}, fmt.Errorf("%w: it was to be logged by %s, and the head is of %s", ErrKept, wire.UTC(w.Receipt.By), wire.UTC(c.Time))
	}
	return c, nil
}

// Promised returns the hash that a receipt names, and the instance that the word
// or report is for.
func (w Withheld) Promised() (hash wire.Hash, instance wire.InstanceID, err error) {
	switch {
	case w.Word != nil && w.Party != nil && w.Report == nil && w.Step == nil:
		hash, err = w.Word.Hash()
		return hash, w.Word.Body.Instance, err
	case w.Step != nil && w.Party != nil && w.Report == nil && w.Word == nil:
		hash, err = w.Step.Hash()
		return hash, w.Step.Body.Instance, err
	case w.Report != nil && w.Word == nil && w.Party == nil && w.Step == nil:
		hash, err = w.Report.Hash()
		return hash, w.Report.Instance, err
	}
	return hash, instance, errors.New("want a word or that of a step, with its party, or a report")
}

// Has reports whether an entry is a run with the word, that of a step, or report of this
// hash.
func Has(e vault.Entry, hash wire.Hash) bool {
	h, err := wire.Hash{}, errors.ErrUnsupported
	switch {
	case e.Run == nil:
	case e.Run.Word != nil:
		h, err = e.Run.Word.Hash()
	case e.Run.Report != nil:
		h, err = e.Run.Report.Hash()
	case e.Run.Step != nil:
		h, err = e.Run.Step.Hash()
	}
	return err == nil && h == hash
}

// locks checks that an entry is the lock of the instance: of the word's, among whose
// parties is the one that signed it; of the step's, whose receiver did; of the
// report's, whose oracle's keys signed it.
func (w Withheld) locks(e vault.Entry, instance wire.InstanceID) error {
	_, id := e.Touches()
	if e.Lock == nil || id != instance {
		return fmt.Errorf("the entries do not begin with the lock of instance %s", instance.Short())
	}
	a := e.Lock.Agreement
	if r := w.Report; r != nil {
		if int64(r.Oracle) >= int64(len(a.Oracles)) {
			return fmt.Errorf("the instance reads no oracle number %d", r.Oracle+1)
		}
		_, _, err := a.Oracles[r.Oracle].Median(r.Signed)
		return err
	}
	var role int64
	if w.Step == nil {
		role = int64(w.Word.Body.Role)
	} else {
		look, err := a.Outlook()
		if err != nil {
			return err
		}
		n := int64(w.Step.Body.Step)
		if n < 1 || n > int64(len(look.Turns)) {
			return fmt.Errorf("the instance has no step %d", n)
		}
		role = int64(look.Turns[n-1])
	}
	if role >= int64(len(a.Parties)) {
		return fmt.Errorf("the instance has no party %d", role)
	}
	party, err := w.Party.ID()
	if err != nil {
		return err
	}
	if v, err := a.Parties[role].One(); err != nil || v != party {
		return fmt.Errorf("party %d is another vault than %s", role, party.Short())
	}
	if w.Step != nil {
		return w.Step.Verify(*w.Party)
	}
	return w.Word.Verify(*w.Party)
}
