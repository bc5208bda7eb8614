package enclave

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/vault"
	"latchkey/wire"
)

// A disk is what a host has of a table.
type disk map[string][]byte

// take stores a commit as event.Block says: deletions first.
func (d disk) take(t testing.TB, x *table) {
	t.Helper()
	_, rows, err := x.commit(0, wire.Hash{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range rows {
		if seen[string(r.Key)] {
			t.Fatalf("row %q is twice in a commit", r.Key)
		}
		if seen[string(r.Key)] = true; r.Value == nil {
			delete(d, string(r.Key))
		}
	}
	for _, r := range rows {
		if r.Value != nil {
			d[string(r.Key)] = r.Value
		}
	}
}

func (d disk) open(sealKey [32]byte) (*table, map[string][]byte, error) {
	x, err := newTable(sealKey)
	if err != nil {
		return nil, nil, err
	}
	var rows []StoredRow
	for k, v := range d {
		rows = append(rows, StoredRow{[]byte(k), v})
	}
	_, plain, err := x.open(rows)
	return x, plain, err
}

var (
	sealKey  = [32]byte{1}
	otherKey = [32]byte{2}
)

// inParts are the names of rows, in parts, some of them perhaps empty.
func inParts(parts ...[]string) func(part int) ([]string, bool) {
	return func(part int) ([]string, bool) {
		if part > len(parts) {
			return nil, false
		}
		return parts[part-1], true
	}
}

// moments are three disks of one table, one commit after the other.
func moments(t testing.TB) (x *table, first, second, third disk) {
	t.Helper()
	x, err := newTable(sealKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.start(); err != nil {
		t.Fatal(err)
	}
	first = disk{}
	x.put("v/a", []byte("value a1"))
	x.put("v/b", []byte("value b1"))
	x.put("v/c", []byte("value c1"))
	first.take(t, x)
	second = maps.Clone(first)
	x.put("v/a", []byte("value a2"))
	x.del("v/c")
	second.take(t, x)
	third = maps.Clone(second)
	if err := x.turn(); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"v/a": "value a2", "v/b": "value b1"}
	names := inParts([]string{"v/none", "v/b"}, nil, []string{"v/a"})
	for x.part > 0 { // a row at a time, each its own commit
		if err := x.reseal(1, names, func(name string) ([]byte, error) { return []byte(values[name]), nil }); err != nil {
			t.Fatal(err)
		}
		third.take(t, x)
		if _, rows, err := third.open(sealKey); err != nil || fmt.Sprint(text(rows)) != fmt.Sprint(values) {
			t.Fatalf("in the middle of a turn: %v, %v", text(rows), err)
		}
	}
	return x, first, second, third
}

func text(rows map[string][]byte) map[string]string {
	out := map[string]string{}
	for k, v := range rows {
		out[k] = string(v)
	}
	return out
}

func TestTable(t *testing.T) {
	_, first, second, third := moments(t)
	// A whole old set opens: SECURITY.md says what that is worth.
	for i, c := range []struct {
		d    disk
		want map[string]string
	}{
		{first, map[string]string{"v/a": "value a1", "v/b": "value b1", "v/c": "value c1"}},
		{second, map[string]string{"v/a": "value a2", "v/b": "value b1"}},
		{third, map[string]string{"v/a": "value a2", "v/b": "value b1"}},
	} {
		x, rows, err := c.d.open(sealKey)
		if err != nil {
			t.Fatalf("moment %d: %v", i+1, err)
		}
		if diff := cmp.Diff(c.want, text(rows)); diff != "" {
			t.Errorf("moment %d (- want, + got):\n%s", i+1, diff)
		}
		x.put("v/d", []byte("d")) // and goes on from there
		d := maps.Clone(c.d)
		d.take(t, x)
		if _, rows, err = d.open(sealKey); err != nil || string(rows["v/d"]) != "d" {
			t.Errorf("moment %d does not go on: %v", i+1, err)
		}
	}
	for k, v := range third {
		for _, plain := range []string{"value a2", "value b1"} {
			if bytes.Contains(v, []byte(plain)) {
				t.Errorf("row %q is not sealed", k)
			}
		}
	}
}

// What never stood together does not open, and neither does what was sealed for
// another platform.
func TestTableRefuses(t *testing.T) {
	_, first, second, third := moments(t)
	for _, c := range []struct {
		name   string
		of     disk
		change func(d disk)
		want   string
	}{
		{"a row of an earlier moment", second, func(d disk) { d["v/a"] = first["v/a"] }, "different moments"},
		{"a row of a later moment", first, func(d disk) { d["v/a"] = second["v/a"] }, "different moments"},
		{"the meta row of an earlier moment", second, func(d disk) { d["meta"] = first["meta"] }, "different moments"},
		{"the meta row of a later moment", first, func(d disk) { d["meta"] = second["meta"] }, "different moments"},
		{"a row is missing", second, func(d disk) { delete(d, "v/b") }, "missing"},
		{"a deleted row is back", second, func(d disk) { d["v/c"] = first["v/c"] }, "different moments"},
		{"two rows swapped", first, func(d disk) { d["v/a"], d["v/b"] = d["v/b"], d["v/a"] }, "damaged"},
		{"a row under another name", first, func(d disk) { d["v/z"] = d["v/a"]; delete(d, "v/a") }, "damaged"},
		{"a row in another's place, twice", first, func(d disk) { d["v/c"] = d["v/b"] }, "damaged"},
		{"a row is cut", first, func(d disk) { d["v/a"] = d["v/a"][:20] }, "damaged"},
		{"a row has no beginning", first, func(d disk) { d["v/a"] = d["v/a"][:11] }, "cut"},
		{"a row is empty", first, func(d disk) { d["v/a"] = nil }, "cut"},
		{"another number", first, func(d disk) { d["v/a"] = flip(d["v/a"], 11) }, "damaged"},
		{"another generation", first, func(d disk) { d["v/a"] = flip(d["v/a"], 3) }, "another time"},
		{"the meta row is cut", first, func(d disk) { d["meta"] = d["meta"][:3] }, "meta row"},
		{"the meta row is changed", first, func(d disk) { d["meta"] = flip(d["meta"], 30) }, "meta row"},
		{"no meta row", first, func(d disk) { delete(d, "meta") }, "meta row"},
		{"no table key", first, func(d disk) { delete(d, keyName(1)) }, "key is missing"},
		{"a changed table key", first, func(d disk) { d[keyName(1)] = flip(d[keyName(1)], 15) }, "another platform"},
		{"a table key of another generation", first, func(d disk) { d[keyName(2)] = d[keyName(1)] }, "another platform"},
		{"a row from before the rotation", third, func(d disk) { d["v/a"] = second["v/a"] }, "another time"},
		{"the meta row from before the rotation", third, func(d disk) { d["meta"] = second["meta"] }, "key is missing"},
		{"a row and the key from before the rotation", third, func(d disk) { d["v/a"], d[keyName(1)] = second["v/a"], second[keyName(1)] }, "different moments"},
		{"nothing", first, func(d disk) { clear(d) }, "meta row"},
		{"only the key", first, func(d disk) { k := d[keyName(1)]; clear(d); d[keyName(1)] = k }, "meta row"},
	} {
		d := maps.Clone(c.of)
		c.change(d)
		_, rows, err := d.open(sealKey)
		if !errors.Is(err, errTable) || !strings.Contains(err.Error(), c.want) || rows != nil {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
	}
	for i, d := range []disk{first, second, third} {
		if _, _, err := d.open(otherKey); !errors.Is(err, errTable) || !strings.Contains(err.Error(), "another platform") {
			t.Errorf("moment %d opens on another platform: %v", i+1, err)
		}
	}
	// Of another table under the very same platform key.
	_, other, _, _ := moments(t)
	mixed := maps.Clone(first)
	mixed["v/a"] = other["v/a"]
	if _, _, err := mixed.open(sealKey); !errors.Is(err, errTable) {
		t.Errorf("a row of another table: %v", err)
	}
}

// After a rotation and the deletion of the old wrapped key, what the host kept
// of the old rows is worth nothing.
func TestRotationForgets(t *testing.T) {
	x, _, second, third := moments(t)
	if len(x.gens) != 1 || third[keyName(1)] != nil || third[keyName(2)] == nil {
		t.Fatalf("keys of %d generations after a rotation", len(x.gens))
	}
	k, err := openFrom(x.seal, third[keyName(2)], keyName(2))
	if err != nil {
		t.Fatal(err)
	}
	newest, err := newGCM(k)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range second {
		if !strings.HasPrefix(name, "v/") {
			continue
		}
		for gen := range uint32(3) {
			if _, err := openFrom(newest, v[12:], bind(name, gen, 2)); err == nil {
				t.Errorf("row %q of before opens under the new key", name)
			}
		}
		if bytes.Equal(third[name], v) {
			t.Errorf("row %q was not sealed anew", name)
		}
	}
}

// The last word on a row in a commit is what the host stores, whatever came
// before it in the same commit.
func TestCommitOrder(t *testing.T) {
	x, _, _, d := moments(t)
	put := func(k, v string) vault.Row { return vault.Row{Key: k, Value: []byte(v)} }
	x.apply([]vault.Row{put("new", "1"), {Key: "new"}, put("twice", "1"), put("twice", "2"), {Key: "a"}, put("a", "3"), {Key: "never"}})
	d.take(t, x)
	_, rows, err := d.open(sealKey)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"v/a": "3", "v/b": "value b1", "v/twice": "2"}, text(rows)); diff != "" {
		t.Errorf("(- want, + got):\n%s", diff)
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

// No set of rows makes the table panic or open to something that was not sealed.
func FuzzTable(f *testing.F) {
	_, first, second, _ := moments(f)
	for _, name := range []string{"meta", keyName(1), "v/a", "v/b"} {
		f.Add(name, first[name], "v/a", second["v/a"])
		f.Add(name, []byte{}, name, first[name])
	}
	want := fmt.Sprint(map[string]string{"v/a": "value a1", "v/b": "value b1", "v/c": "value c1"})
	f.Fuzz(func(t *testing.T, name1 string, v1 []byte, name2 string, v2 []byte) {
		d := maps.Clone(first)
		d[name1], d[name2] = v1, v2
		if _, rows, err := d.open(sealKey); err == nil && fmt.Sprint(text(rows)) != want {
			t.Errorf("it opens to %v", text(rows))
		}
	})
}

// A turn whose rows are not all named keeps the keys that they need.
func TestTurnWithoutNames(t *testing.T) {
	x, _, _, d := moments(t)
	if err := x.turn(); err != nil {
		t.Fatal(err)
	}
	d.take(t, x)
	names := inParts([]string{"v/a", "v/a", "v/none"})
	err := x.reseal(9, names, func(string) ([]byte, error) { return []byte("value a2"), nil })
	if err == nil || !strings.Contains(err.Error(), "1 are of names that nobody knows") {
		t.Errorf("the turn ends with %v", err)
	}
	d.take(t, x)
	if _, rows, err := d.open(sealKey); err != nil || fmt.Sprint(text(rows)) != "map[v/a:value a2 v/b:value b1]" {
		t.Errorf("%v, %v", text(rows), err)
	}
	// A row that goes in the middle of a turn is not waited for.
	x, _, _, d = moments(t)
	if err := x.turn(); err != nil {
		t.Fatal(err)
	}
	x.del("v/b")
	x.put("v/c", []byte("c3"))
	d.take(t, x)
	if err := x.reseal(9, names, func(string) ([]byte, error) { return []byte("value a2"), nil }); err != nil || x.part != 0 || len(x.gens) != 1 {
		t.Errorf("the turn does not end: %v, %d keys", err, len(x.gens))
	}
	d.take(t, x)
	if _, rows, err := d.open(sealKey); err != nil || fmt.Sprint(text(rows)) != "map[v/a:value a2 v/c:c3]" {
		t.Errorf("%v, %v", text(rows), err)
	}
}
