package sim

import (
	"encoding/binary"
	"hash/maphash"
	"reflect"
	"unsafe"
)

// digester hashes everything a machine holds, unexported fields included, so
// that two machines can be compared and a refusal can be seen to change nothing.
// Fields named in skip are not part of what a restart must bring back, or are
// derived from others; map order does not count.
//
// How a type is hashed is worked out once, from its description, and then done by
// address: all of it happens after every event, and reflection for each value was a
// twelfth of the time of a seed.
type digester struct {
	seed    maphash.Seed
	skip    map[string]bool // "Type.field"
	walkers map[reflect.Type]*walker
}

// A walker adds the value at an address to a hash.
type walker struct {
	walk  func(h *maphash.Hash, p unsafe.Pointer)
	plain bool // all of its bytes, as they lie in memory, are the value
}

func newDigester(skip ...string) *digester {
	d := &digester{seed: maphash.MakeSeed(), skip: map[string]bool{}, walkers: map[reflect.Type]*walker{}}
	for _, s := range skip {
		d.skip[s] = true
	}
	return d
}

// sum hashes what v, a pointer, points to. Equal sums within one process mean equal states.
func (d *digester) sum(v any) uint64 {
	var h maphash.Hash
	h.SetSeed(d.seed)
	p := reflect.ValueOf(v)
	d.of(p.Type().Elem()).walk(&h, p.UnsafePointer())
	return h.Sum64()
}

// of returns a type's walker. That of a type which holds itself is not finished
// while its own parts are looked at, and is by the time it is used.
func (d *digester) of(t reflect.Type) *walker {
	if x := d.walkers[t]; x != nil {
		return x
	}
	x := &walker{}
	d.walkers[t] = x
	*x = d.make(t)
	return x
}

func (d *digester) make(t reflect.Type) walker {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return plain(t)
	case reflect.String:
		return walker{walk: func(h *maphash.Hash, p unsafe.Pointer) {
			s := *(*string)(p)
			writeInt(h, len(s))
			h.WriteString(s)
		}}
	case reflect.Pointer:
		elem := d.of(t.Elem())
		return walker{walk: func(h *maphash.Hash, p unsafe.Pointer) {
			if p = *(*unsafe.Pointer)(p); p == nil {
				h.WriteByte(0)
				return
			}
			h.WriteByte(1)
			elem.walk(h, p)
		}}
	case reflect.Interface:
		return walker{walk: func(h *maphash.Hash, p unsafe.Pointer) {
			v := reflect.NewAt(t, p).Elem().Elem() // what it holds
			if !v.IsValid() {
				h.WriteByte(0)
				return
			}
			h.WriteByte(1)
			at := reflect.New(v.Type())
			at.Elem().Set(v)
			d.of(v.Type()).walk(h, at.UnsafePointer())
		}}
	case reflect.Struct:
		return d.structOf(t)
	case reflect.Array:
		elem := d.of(t.Elem())
		if elem.plain {
			return plain(t)
		}
		return walker{walk: func(h *maphash.Hash, p unsafe.Pointer) { eachOf(h, elem, p, t.Len(), t.Elem().Size()) }}
	case reflect.Slice:
		elem, size := d.of(t.Elem()), t.Elem().Size()
		return walker{walk: func(h *maphash.Hash, p unsafe.Pointer) {
			n, first := len(*(*[]byte)(p)), *(*unsafe.Pointer)(p) // of any slice: the length counts elements
			writeInt(h, n)
			if elem.plain {
				h.Write(unsafe.Slice((*byte)(first), uintptr(n)*size))
				return
			}
			eachOf(h, elem, first, n, size)
		}}
	case reflect.Map:
		key, elem := d.of(t.Key()), d.of(t.Elem())
		return walker{walk: func(h *maphash.Hash, p unsafe.Pointer) {
			m := reflect.NewAt(t, p).Elem()
			writeInt(h, m.Len())
			if m.Len() == 0 {
				return
			}
			var all uint64 // a sum does not depend on the order
			k, v := reflect.New(t.Key()), reflect.New(t.Elem())
			for it := m.MapRange(); it.Next(); {
				k.Elem().SetIterKey(it)
				v.Elem().SetIterValue(it)
				var one maphash.Hash
				one.SetSeed(d.seed)
				key.walk(&one, k.UnsafePointer())
				elem.walk(&one, v.UnsafePointer())
				all += one.Sum64()
			}
			writeInt(h, int(all))
		}}
	}
	return walker{walk: func(*maphash.Hash, unsafe.Pointer) {}} // functions and channels are no state
}

// structOf hashes the fields that are not skipped, those that lie beside each other
// and are plain at once.
func (d *digester) structOf(t reflect.Type) walker {
	type part struct {
		at   uintptr
		n    uintptr // plain bytes
		elem *walker // or this
	}
	var parts []part
	for i := range t.NumField() {
		f := t.Field(i)
		if d.skip[t.Name()+"."+f.Name] {
			continue
		}
		elem := d.of(f.Type)
		if !elem.plain {
			parts = append(parts, part{at: f.Offset, elem: elem})
			continue
		}
		if n := len(parts); n > 0 && parts[n-1].elem == nil && parts[n-1].at+parts[n-1].n == f.Offset {
			parts[n-1].n += f.Type.Size()
			continue
		}
		parts = append(parts, part{at: f.Offset, n: f.Type.Size()})
	}
	if len(parts) == 1 && parts[0].elem == nil && parts[0].n == t.Size() {
		return plain(t)
	}
	return walker{walk: func(h *maphash.Hash, p unsafe.Pointer) {
		for _, x := range parts {
			if x.elem != nil {
				x.elem.walk(h, unsafe.Add(p, x.at))
			} else {
				h.Write(unsafe.Slice((*byte)(unsafe.Add(p, x.at)), x.n))
			}
		}
	}}
}

// plain is the walker of a type whose bytes in memory are its value.
func plain(t reflect.Type) walker {
	size := t.Size()
	return walker{plain: true, walk: func(h *maphash.Hash, p unsafe.Pointer) { h.Write(unsafe.Slice((*byte)(p), size)) }}
}

func eachOf(h *maphash.Hash, elem *walker, p unsafe.Pointer, n int, size uintptr) {
	for i := range n {
		elem.walk(h, unsafe.Add(p, uintptr(i)*size))
	}
}

func writeInt(h *maphash.Hash, n int) {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], uint64(n))
	h.Write(b[:])
}

// Escrow state that a restart need not bring back: what keys remember;
// configuration; what the witnesses say anew; proofs made again; the order of the
// timer, which follows from the instances; clock, which may be ahead of the last
// entry; what chunks point to for an owner; how far snapshots go; and how much work
// was done.
func escrowDigester() *digester {
	return newDigester("identity.known", "Escrow.cfg", "Escrow.roots", "Escrow.witnessed", "Escrow.note", "Escrow.noteTime", "Escrow.clock",
		"Escrow.due", "Escrow.owners", "Escrow.covered", "Escrow.work", "Escrow.since", "pendingBatch.half", "instance.deal", "escrowed.instance", "deal.Deal")
}

// Owner state that a restart need not bring back: what keys remember;
// configuration; what follows from other fields; and shares that came before the
// log showed why.
func ownerDigester() *digester {
	return newDigester("identity.known", "Owner.cfg", "Owner.released", "Owner.ahead", "ownBatch.half", "ownBatch.shares", "ownBatch.mine", "ownCert.cert", "pledge.deal", "running.state",
		"Cosigned.Stamps")
}
