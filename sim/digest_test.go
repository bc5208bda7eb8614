package sim

import "testing"

type digested struct {
	flag    bool
	small   uint8
	large   int64
	hash    [32]byte
	raw     []byte
	text    string
	list    []digestedPart
	fixed   [2]digestedPart
	byName  map[string]*digestedPart
	any     any
	next    *digested
	skipped int
}

type digestedPart struct {
	n    uint32
	name string
}

func aDigested() *digested {
	return &digested{
		raw: []byte{1, 2}, text: "text", list: []digestedPart{{1, "a"}, {2, "b"}}, byName: map[string]*digestedPart{"x": {3, "c"}, "y": {4, "d"}, "none": nil},
		any: digestedPart{5, "e"}, next: &digested{large: 6},
	}
}

// The sum changes with whatever is changed in a machine, at any depth, and with
// nothing else.
func TestDigest(t *testing.T) {
	d := newDigester("digested.skipped")
	want := d.sum(aDigested())
	for range 20 { // maps have another order each time
		if d.sum(aDigested()) != want {
			t.Fatal("equal values have two sums")
		}
	}
	same := aDigested()
	same.skipped, same.fixed[0].name, same.next.raw = 7, string([]byte{}), []byte{}
	if d.sum(same) != want {
		t.Error("the sum changes with a field that is skipped, or with another way to be empty")
	}
	sums := map[uint64]string{want: "nothing"}
	for name, change := range map[string]func(*digested){
		"flag":                func(x *digested) { x.flag = true },
		"small":               func(x *digested) { x.small++ },
		"large":               func(x *digested) { x.large-- },
		"hash":                func(x *digested) { x.hash[31]++ },
		"raw":                 func(x *digested) { x.raw[1]++ },
		"raw is longer":       func(x *digested) { x.raw = append(x.raw, 0) },
		"text":                func(x *digested) { x.text = "texts" },
		"list":                func(x *digested) { x.list[1].n++ },
		"name in list":        func(x *digested) { x.list[0].name = "z" },
		"order of list":       func(x *digested) { x.list[0], x.list[1] = x.list[1], x.list[0] },
		"list is shorter":     func(x *digested) { x.list = x.list[:1] },
		"name in array":       func(x *digested) { x.fixed[1].name = "z" },
		"value of map":        func(x *digested) { x.byName["x"].n++ },
		"values of map":       func(x *digested) { x.byName["x"], x.byName["y"] = x.byName["y"], x.byName["x"] },
		"key of map":          func(x *digested) { x.byName["z"] = x.byName["x"]; delete(x.byName, "x") },
		"map is larger":       func(x *digested) { x.byName["z"] = nil },
		"what is in any":      func(x *digested) { x.any = digestedPart{6, "e"} },
		"nothing is in any":   func(x *digested) { x.any = nil },
		"behind a pointer":    func(x *digested) { x.next.large++ },
		"nothing is behind":   func(x *digested) { x.next = nil },
		"one more is behind":  func(x *digested) { x.next.next = &digested{} },
		"from one to another": func(x *digested) { x.large, x.next.large = 6, 0 },
	} {
		x := aDigested()
		change(x)
		sum := d.sum(x)
		if other, twice := sums[sum]; twice {
			t.Errorf("a change of %s has the sum of a change of %s", name, other)
		}
		sums[sum] = name
	}
}
