package market

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"testing"

	"latchkey/wire"

	"pgregory.net/rapid"
)

// twist changes one random leaf of a value, to something near or something absurd. pool has other values of the same
// size for ids.
func twist(t *rapid.T, v reflect.Value, pool [][]byte) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			twist(t, v.Elem(), pool)
		}
	case reflect.Struct:
		var set []int
		for i := range v.NumField() {
			f := v.Field(i)
			if f.CanSet() && !(f.Kind() == reflect.Pointer && f.IsNil()) && f.Type().Size() > 0 {
				set = append(set, i)
			}
		}
		if len(set) > 0 {
			twist(t, v.Field(set[rapid.IntRange(0, len(set)-1).Draw(t, "field")]), pool)
		}
	case reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			b := rapid.SampledFrom(pool).Draw(t, "id")
			reflect.Copy(v, reflect.ValueOf(b[:min(len(b), v.Len())]))
			return
		}
		twist(t, v.Index(rapid.IntRange(0, v.Len()-1).Draw(t, "index")), pool)
	case reflect.Slice:
		n := v.Len()
		switch k := rapid.IntRange(0, 5).Draw(t, "slice"); {
		case n == 0 || k == 0:
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		case k == 1:
			v.Set(v.Slice(0, n-1))
		case k == 2:
			v.Set(reflect.Append(v, v.Index(0)))
		default:
			twist(t, v.Index(rapid.IntRange(0, n-1).Draw(t, "index")), pool)
		}
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.String:
		v.SetString(rapid.SampledFrom([]string{"", "btc", "eth", "btc-5", "eth-5", "?"}).Draw(t, "string"))
	case reflect.Int64, reflect.Int32, reflect.Int:
		x := rapid.SampledFrom([]int64{0, 1, -1, 60, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64, v.Int() + 1, v.Int() - 1}).Draw(t, "int")
		v.SetInt(x)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		x := rapid.SampledFrom([]uint64{0, 1, 2, 3, 5, 10, 255, math.MaxUint32, math.MaxUint64, v.Uint() + 1, v.Uint() - 1}).Draw(t, "uint")
		v.SetUint(x)
	}
}

// pool returns ids that mean something in the small history.
func poolOf(w *world) [][]byte {
	pool := [][]byte{make([]byte, 32)}
	for _, name := range []string{"alice", "bob", "carol"} {
		id := vault(name)
		pool = append(pool, id[:])
	}
	for i := range 3 {
		id := offerID(i)
		pool = append(pool, id[:])
	}
	for _, id := range append(available8(w, "alice")[:2], available8(w, "bob")[:2]...) {
		pool = append(pool, id[:])
	}
	return append(pool, w.swap[:], w.bet[:])
}

// An event that says something else than what was decided does not fit and changes nothing, or gives a state that can
// be saved, restored and gone on with. It never panics.
func TestTwistedEvents(t *testing.T) {
	w := history(t)
	pool := poolOf(w)
	fits := 0
	rapid.Check(t, func(t *rapid.T) {
		m, err := New(testPolicy())
		if err != nil {
			t.Fatal(err)
		}
		at := rapid.IntRange(0, len(w.log)-1).Draw(t, "event")
		for _, e := range w.log[:at] {
			if err := m.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		b, err := w.log[at].Marshal()
		if err != nil {
			t.Fatal(err)
		}
		e, err := ParseEvent(b)
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 3).Draw(t, "twists") {
			twist(t, reflect.ValueOf(e.Fact), pool)
		}
		before := snapshotOf(t, m)
		if err := m.Apply(e); err != nil {
			if !errors.Is(err, ErrEvent) || !bytes.Equal(before, snapshotOf(t, m)) {
				t.Fatalf("%s: %v, and the state changed: %v", e.Name(), err, !bytes.Equal(before, snapshotOf(t, m)))
			}
			return
		}
		fits++
		after, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(testPolicy(), after); err != nil {
			t.Fatalf("after a twisted %s: %v", e.Name(), err)
		}
		for _, e := range w.log[at+1:] {
			if m.Apply(e) != nil {
				break
			}
		}
		m.Step(2_000_000, Rate{"btc", 1e11, 2_000_000})
		m.Step(2_000_000, Tick{})
	})
	if fits == 0 {
		t.Error("nothing that was twisted ever fitted")
	}
}

// A snapshot whose records are well formed and false is refused, or is a market that writes the same. It never panics.
func TestTwistedSnapshots(t *testing.T) {
	w := history(t)
	good := snapshotOf(t, w.m)
	pool := poolOf(w)
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		var out []byte
		rest := good
		n := 0
		for b := rest; len(b) > 0; n++ {
			size, k := binary.Uvarint(b)
			b = b[k+int(size):]
		}
		at := rapid.IntRange(0, n-1).Draw(t, "record")
		for i := 0; len(rest) > 0; i++ {
			size, k := binary.Uvarint(rest)
			body := rest[k : k+int(size)]
			rest = rest[k+int(size):]
			if i == at {
				var r record
				if err := wire.Unmarshal(body, &r); err != nil {
					t.Fatal(err)
				}
				for range rapid.IntRange(1, 3).Draw(t, "twists") {
					twist(t, reflect.ValueOf(&r), pool)
				}
				var err error
				if body, err = wire.Marshal(r); err != nil {
					return
				}
			}
			out = append(binary.AppendUvarint(out, uint64(len(body))), body...)
		}
		m, err := Restore(testPolicy(), out)
		if err != nil {
			if !errors.Is(err, ErrSnapshot) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		taken++
		if !bytes.Equal(snapshotOf(t, m), out) {
			t.Fatal("it writes something else")
		}
		m.Step(1_000_000, Rate{"btc", 1e11, 1_000_000})
		m.Step(1_000_000, Rate{"eth", 4e9, 1_000_000})
		m.Step(2_000_000, Tick{})
	})
	if taken == 0 {
		t.Error("nothing that was twisted was ever taken")
	}
}
