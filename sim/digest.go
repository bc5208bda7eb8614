package sim

import (
	"hash/maphash"
	"reflect"
)

// digester hashes everything a machine holds, unexported fields included, so
// that two machines can be compared and a refusal can be seen to change nothing.
// Fields named in skip are not part of what a restart must bring back, or are
// derived from others; map order does not count.
type digester struct {
	seed   maphash.Seed
	skip   map[string]bool        // "Type.field"
	fields map[reflect.Type][]int // of a struct, those not skipped: their names are looked at once
}

func newDigester(skip ...string) *digester {
	d := &digester{seed: maphash.MakeSeed(), skip: map[string]bool{}, fields: map[reflect.Type][]int{}}
	for _, s := range skip {
		d.skip[s] = true
	}
	return d
}

// sum hashes what v points to. Equal sums within one process mean equal states.
func (d *digester) sum(v any) uint64 {
	var h maphash.Hash
	h.SetSeed(d.seed)
	d.walk(&h, reflect.ValueOf(v))
	return h.Sum64()
}

func (d *digester) walk(h *maphash.Hash, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			h.WriteByte(0)
			return
		}
		h.WriteByte(1)
		d.walk(h, v.Elem())
	case reflect.Struct:
		t := v.Type()
		list, known := d.fields[t]
		if !known {
			for i := range t.NumField() {
				if !d.skip[t.Name()+"."+t.Field(i).Name] {
					list = append(list, i)
				}
			}
			d.fields[t] = list
		}
		for _, i := range list {
			d.walk(h, v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		d.number(h, uint64(v.Len()))
		if v.Type().Elem().Kind() == reflect.Uint8 && (v.Kind() == reflect.Slice || v.CanAddr()) {
			h.Write(v.Bytes())
			return
		}
		for i := range v.Len() {
			d.walk(h, v.Index(i))
		}
	case reflect.Map:
		var all uint64 // a sum does not depend on the order
		for it := v.MapRange(); it.Next(); {
			var one maphash.Hash
			one.SetSeed(d.seed)
			d.walk(&one, it.Key())
			d.walk(&one, it.Value())
			all += one.Sum64()
		}
		d.number(h, uint64(v.Len()))
		d.number(h, all)
	case reflect.String:
		d.number(h, uint64(v.Len()))
		h.WriteString(v.String())
	case reflect.Bool:
		if v.Bool() {
			h.WriteByte(1)
		} else {
			h.WriteByte(0)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		d.number(h, uint64(v.Int()))
	case reflect.Uint8:
		h.WriteByte(byte(v.Uint()))
	case reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		d.number(h, v.Uint())
	}
}

func (d *digester) number(h *maphash.Hash, n uint64) {
	var b [8]byte
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	h.Write(b[:])
}

// Escrow state that a restart need not bring back: configuration; what the
// witnesses say anew; proofs made again; the order of the timer, which follows
// from the instances; clock, which may be ahead of the last entry; what chunks
// point to for an owner; how far snapshots go; and how much work was done.
func escrowDigester() *digester {
	return newDigester("Escrow.cfg", "Escrow.roots", "Escrow.witnessed", "Escrow.note", "Escrow.noteTime", "Escrow.clock",
		"Escrow.due", "Escrow.owners", "Escrow.covered", "Escrow.work", "Escrow.since", "pendingBatch.half", "instance.deal", "escrowed.instance", "deal.Deal")
}

// Owner state that a restart need not bring back: configuration, what follows
// from other fields, and shares that came before the log showed why.
func ownerDigester() *digester {
	return newDigester("Owner.cfg", "Owner.released", "Owner.ahead", "ownBatch.half", "ownBatch.shares", "ownBatch.mine", "ownCert.cert", "pledge.deal", "running.state",
		"Cosigned.Stamps")
}
