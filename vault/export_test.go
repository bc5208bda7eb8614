package vault

import (
	"bytes"
	"reflect"
	"slices"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"latchkey/key"
	"latchkey/wire"
)

// unlike are the fields in which two escrows may differ.
var unlike = map[reflect.Type][]string{
	reflect.TypeFor[Escrow](): {
		"cfg",                                    // is given to both
		"roots", "witnessed", "note", "noteTime", // what the witnesses say, and say anew
		"clock",   // may be ahead of the last entry
		"owners",  // for chunks to point to; compared where they do
		"due",     // follows from the instances
		"covered", // when the next snapshot is due
		"work",    // counts from the start of the program
		"since",   // nil once the start is over
	},
	reflect.TypeFor[pendingBatch](): {"half"}, // made anew
	reflect.TypeFor[deal]():         {"Deal"}, // compiled from the agreement
}

// Differs says where two escrows are not the same: in every field of all that an
// escrow is made of, but for those of unlike. Of two that look alike it does not ask
// cmp, which took most of the time of the tests that compare at every step.
func Differs(a, b *Escrow) string {
	if alike(reflect.ValueOf(a), reflect.ValueOf(b), map[pair]bool{}) {
		return ""
	}
	options := cmp.Options{
		cmp.Exporter(func(reflect.Type) bool { return true }), cmpopts.EquateEmpty(),
		cmp.Comparer(func(a, b key.Share) bool { return a.IsZero() && b.IsZero() || a.Equal(b) }),
		cmp.Comparer(func(a, b key.Point) bool { return a == b }), // these for speed
		cmp.Comparer(func(a, b wire.Hash) bool { return a == b }),
		cmp.Comparer(func(a, b wire.ChunkID) bool { return a == b }),
		cmp.Comparer(func(a, b wire.VaultID) bool { return a == b }),
		cmp.Comparer(func(a, b wire.CertID) bool { return a == b }),
		cmp.Comparer(func(a, b wire.InstanceID) bool { return a == b }),
	}
	for of, names := range unlike {
		options = append(options, cmpopts.IgnoreFields(reflect.Zero(of).Interface(), names...))
	}
	return cmp.Diff(a, b, options)
}

// A pair is two pointers of a type.
type pair struct {
	to   reflect.Type
	a, b uintptr
}

// alike reports whether two values are the same in every part of them, without a
// method of theirs being asked. It may say no where cmp sees no difference, and
// never yes where cmp sees one. asked are the pointers that are being compared.
func alike(a, b reflect.Value, asked map[pair]bool) bool {
	if a.IsValid() != b.IsValid() || a.IsValid() && a.Type() != b.Type() {
		return false
	} else if !a.IsValid() {
		return true
	}
	switch a.Kind() {
	case reflect.Pointer:
		at := pair{a.Type(), a.Pointer(), b.Pointer()}
		if a.IsNil() || b.IsNil() || asked[at] {
			return a.IsNil() == b.IsNil()
		}
		asked[at] = true
		return alike(a.Elem(), b.Elem(), asked)
	case reflect.Interface:
		return alike(a.Elem(), b.Elem(), asked)
	case reflect.Struct:
		for i := range a.NumField() {
			if !slices.Contains(unlike[a.Type()], a.Type().Field(i).Name) && !alike(a.Field(i), b.Field(i), asked) {
				return false
			}
		}
		return true
	case reflect.Array, reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		if a.Type().Elem().Kind() == reflect.Uint8 && (a.Kind() == reflect.Slice || a.CanAddr() && b.CanAddr()) {
			return bytes.Equal(a.Bytes(), b.Bytes())
		}
		for i := range a.Len() {
			if !alike(a.Index(i), b.Index(i), asked) {
				return false
			}
		}
		return true
	case reflect.Map:
		for _, k := range a.MapKeys() {
			if !alike(a.MapIndex(k), b.MapIndex(k), asked) {
				return false
			}
		}
		return a.Len() == b.Len()
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return a.IsZero() && b.IsZero()
	}
	return a.Equal(b)
}

// Timed names the instances in the escrow's timer, with their times.
func (e *Escrow) Timed() map[wire.InstanceID]int64 {
	out := map[wire.InstanceID]int64{}
	for _, x := range e.due {
		if in := e.instances[x.id]; in != nil && in.next() == x.at {
			out[x.id] = x.at
		}
	}
	return out
}

// States of things, in the words of spec/chunk.md, for the traces.

// ChunkState names the state of a chunk in the escrow's books, with its owner
// and epoch.
func (e *Escrow) ChunkState(id wire.ChunkID) (state string, owner wire.VaultID, epoch uint32) {
	c := e.chunks.at(id)
	switch {
	case c == nil:
		return "none", owner, 0
	case c.state == chunkSwept:
		state = "swept"
	case c.state == chunkClaimed:
		state = "claimed"
	case c.instance != nil:
		state = "locked"
	default:
		state = "free"
	}
	return state, *c.owner, c.epoch
}

// InstanceState names the state of an instance in the escrow's books.
func (e *Escrow) InstanceState(id wire.InstanceID) string {
	in := e.instances[id]
	if _, over := e.ended[id]; over {
		return "settled"
	}
	switch {
	case in == nil:
		return "none"
	case in.closed:
		return "closed"
	case in.open:
		return "open"
	}
	return "locked"
}

// MailState tells whether the escrow keeps the r of a step for a vault.
func (e *Escrow) MailState(to wire.VaultID, step Index) string {
	if _, ok := e.mail[mailRow(to, step)]; ok {
		return "left"
	}
	return "none"
}

// ChunkState names the state of a chunk in an owner's books.
func (o *Owner) ChunkState(id wire.ChunkID) string {
	c := o.chunks[id]
	free := wire.InstanceID{}
	switch {
	case c == nil:
		return "unknown"
	case c.Swept:
		return "swept"
	case c.Done:
		return "done"
	case c.Whole != nil:
		return "whole"
	case c.Lost:
		return "lost"
	case c.Step != 0:
		return "given"
	case !o.owns(c) && c.Instance == free:
		return "followed"
	case !o.owns(c) && len(c.Share) > 0 && c.ShareAt == c.Epoch:
		return "handed"
	case !o.owns(c):
		return "awaited"
	case c.Instance != free:
		return "locked"
	case c.Claimed:
		return "claimed"
	case c.Claim:
		if _, here := o.released[id]; here {
			return "ordered, b here"
		}
		return "ordered"
	}
	if _, _, ok := o.pledged(id); ok {
		return "pledged"
	}
	return "held"
}

// InstanceState names the state of an instance in an owner's books.
func (o *Owner) InstanceState(id wire.InstanceID) string {
	in := o.running[id]
	switch {
	case in == nil:
		return "none"
	case in.Aborted:
		return "aborted"
	case in.Broken:
		return "broken"
	case in.Settled:
		return "settled"
	case in.Closed:
		return "closed"
	case in.Opened:
		return "open"
	}
	return "locked"
}

// StepOf returns the entry that gave a chunk to this vault, while its r is
// missing.
func (o *Owner) StepOf(id wire.ChunkID) Index { return o.chunks[id].Step }

// ForgetEvery is how many entries lie between two looks at what is over.
const ForgetEvery = forgetEvery

// Pass lets an entry of this time stand at this index, which says nothing else.
func (e *Escrow) Pass(at int64, index Index) error { return e.apply(Entry{At: at}, index) }
