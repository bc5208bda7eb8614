package contract

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const clubSource = `
contract Club
parties owner
role member 1..4
term ends : time
for each member:
  term fee : units 1..9
  later pot dues = fee from member
  sealed vote in 0..1
  counter yes = 0 in 0..1
end
oracle price in 1..100
phase Open until ends
  when each deposit dues: stay
  when any member says "vote" with sealed vote: stay
  when any member says "show" with opened vote: set yes = vote
  when oracle price each 60 seconds if price > 50 and count(member: yes = 1) * 2 > count(member):
    for each member: give all of dues to owner end
    close
  at deadline: close
`

func ExampleProgram_For() {
	p, _ := Compile([]byte(clubSource))
	fmt.Println(p.Roles(), len(p.Parties()))
	two, err := p.For([]int64{2})
	fmt.Println(two.Parties(), err)
	for _, t := range two.Terms() {
		fmt.Printf("%s : %s %d..%d\n", t.Name, t.Type, t.Lo, min(t.Hi, 100))
	}
	_, err = p.For([]int64{5})
	fmt.Println(err)
	// Output:
	// [{member 1 4 1}] 5
	// [owner member 1 member 2] <nil>
	// member : number 1..4
	// ends : time 0..100
	// fee 1 : units 1..9
	// fee 2 : units 1..9
	// contract Club: terms refused: 5 holders of role member, outside 1..4
}

func ExampleDeal_Wants() {
	d := mustBind(clubSource, 2, 1_800_003_600, 5, 7)
	s, _, _ := d.Open([][]int64{{5}, {5, 2}}, 1_800_000_000)
	for _, w := range d.Wants(s) {
		if w.Oracle >= 0 {
			fmt.Printf("line %d: oracle %d, at most %d seconds old\n", w.Line, w.Oracle, w.Each)
		} else {
			fmt.Printf("line %d: %d chunks of pot %d\n", w.Line, w.Chunks, w.Pot)
		}
	}
	// Output:
	// line 14: 1 chunks of pot 0
	// line 14: 2 chunks of pot 1
	// line 17: oracle 0, at most 60 seconds old
}

func ExampleSeal() {
	d := mustBind(clubSource, 2, 1_800_003_600, 5, 7)
	instance, salt := [32]byte{1}, [32]byte{7: 42} // the salt is secret and random
	s, _, _ := d.Open([][]int64{{5}, {5, 2}}, 1_800_000_000)
	ev := Event{Kind: Word, At: 1_800_000_010, Party: 1, Word: "vote", Hash: Seal(instance, 1, 1, salt)}
	s, _, err := d.Step(s, ev)
	fmt.Println(err)
	for _, w := range d.Words(s) {
		fmt.Println(w.Word, w.Parties, w.Sealed, w.Opened)
	}
	show := Event{Kind: Word, At: 1_800_000_020, Party: 1, Word: "show", HasValue: true, Value: 0, Hash: Seal(instance, 1, 0, salt)}
	_, _, err = d.Step(s, show)
	fmt.Println(err)
	show.Value, show.Hash = 1, Seal(instance, 1, 1, salt)
	_, _, err = d.Step(s, show)
	fmt.Println(err)
	// Output:
	// <nil>
	// vote [2] true false
	// show [1] false true
	// event refused: "show" by member 1: this is not the value that was sealed
	// <nil>
}

func ExampleDeal_DecodeState() {
	d := mustBind(holdSource, 12, 3600)
	_, err := d.DecodeState([][]int64{{5, 5, 2}}, []byte{9})
	fmt.Println(errors.Is(err, ErrSnapshot))
	// Output: true
}

func ExampleFormat() {
	fmt.Println(Format(Money, 125_05), Format(Units, 7))
	// Output: 125.05 7
}

// TestLiveSize holds what an open instance takes in memory to its figure.
func TestLiveSize(t *testing.T) {
	p := example(t, "escrow")
	_, weights := played(t, "escrow")
	type instance struct {
		d *Deal
		s State
	}
	const n = 100_000 / slow
	live := make([]instance, 0, n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	list := slices.Grow(live, n)
	for range n {
		d, err := p.Bind([]int64{20, 2, noon + day, noon + 2*day})
		if err != nil {
			t.Fatal(err)
		}
		s, _, err := d.Open(weights, noon)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, instance{d, s})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := float64(after.HeapAlloc-before.HeapAlloc)/n + 8*13 // the list itself was there before
	if each > 350 && slow == 1 {
		t.Errorf("%.0f bytes for each of %d instances, want at most 350", each, n)
	}
	if b := encode(t, list[0].s); len(b) > 32 {
		t.Errorf("a snapshot of %d bytes, want at most 32", len(b))
	}
	runtime.KeepAlive(list)
}

// TestBindChecksAgain has a contract that is well for the most and the fewest holders and not between.
func TestBindChecksAgain(t *testing.T) {
	source := "contract X\nparties a\nrole m 1..3\nterm t : time\npot p = 5 units from a\ncounter c = 0 in 0..9\nphase A until t\n when any m says \"x\" if 1 / ((count(m) - 2) * (count(m) - 2)) >= 0: give all of p to m close\n at deadline: close\n"
	p, err := Compile([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int64]bool{1: true, 2: false, 3: true} {
		_, err := p.Bind([]int64{n, noon})
		var refused *Error
		if (err == nil) != want || err != nil && (!errors.As(err, &refused) || !strings.Contains(err.Error(), "divide by zero")) {
			t.Errorf("%d holders: %v", n, err)
		}
	}
}
