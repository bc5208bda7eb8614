package vault

import (
	"fmt"
	"reflect"
	"testing"
)

type link struct {
	n    int
	next *link
	any  any
	ids  map[[2]byte][]byte
	do   func()
}

// What Differs takes for the same without asking cmp is the same: each part of a
// value counts, also behind a ring of pointers.
func TestAlike(t *testing.T) {
	t.Parallel()
	ring := func(change func(a, b *link)) *link {
		a, b := &link{n: 1, any: 7, ids: map[[2]byte][]byte{{1}: {2, 3}}}, &link{n: 2}
		a.next, b.next = b, a
		change(a, b)
		return a
	}
	for i, change := range []func(a, b *link){
		func(a, b *link) {},
		func(a, b *link) { b.ids = map[[2]byte][]byte{} }, // nothing is nothing
		func(a, b *link) { a.n = 3 },
		func(a, b *link) { b.n = 3 },
		func(a, b *link) { b.next = nil },
		func(a, b *link) { b.next = &link{n: 1} },
		func(a, b *link) { a.any = 8 },
		func(a, b *link) { a.any = int64(7) },
		func(a, b *link) { a.any = nil },
		func(a, b *link) { a.ids[[2]byte{1}] = []byte{2, 4} },
		func(a, b *link) { a.ids[[2]byte{1}] = []byte{2} },
		func(a, b *link) { a.ids[[2]byte{2}] = []byte{2, 3} },
		func(a, b *link) { a.ids = map[[2]byte][]byte{{2}: {2, 3}} },
		func(a, b *link) { a.do = func() {} },
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			x, y := reflect.ValueOf(ring(func(a, b *link) {})), reflect.ValueOf(ring(change))
			if got, want := alike(x, y, map[pair]bool{}), i < 2; got != want {
				t.Errorf("alike: %t, want %t", got, want)
			}
			if got, want := alike(y, x, map[pair]bool{}), i < 2; got != want {
				t.Errorf("the other way round: %t, want %t", got, want)
			}
		})
	}
	type head struct{ first [1]int }
	h := struct {
		at    *head
		first *[1]int
	}{at: &head{[1]int{1}}}
	h.first = &h.at.first // the same address, and another type
	if !alike(reflect.ValueOf(h), reflect.ValueOf(h), map[pair]bool{}) {
		t.Error("a pointer to a first field")
	}
}
