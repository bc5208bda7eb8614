package oracle

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"latchkey/spec/vectors"
	"latchkey/wire"
)

var update = flag.Bool("update", false, "rewrite the vectors")

// keys are test keys, in the rising order of their public keys.
func keys(n int) (list []ed25519.PrivateKey) {
	for i := range n {
		list = append(list, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i + 1)}, 32)))
	}
	slices.SortFunc(list, func(a, b ed25519.PrivateKey) int { return bytes.Compare(a[32:], b[32:]) })
	return list
}

func quorum(need, n int) Quorum {
	q := Quorum{Feed: "btc/usd", Need: uint32(need)}
	for _, k := range keys(n) {
		q.Keys = append(q.Keys, k[32:])
	}
	return q
}

func sign(t testing.TB, k ed25519.PrivateKey, v Value) Signed {
	t.Helper()
	s, err := v.Sign(k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ExampleQuorum_Median() {
	q := quorum(2, 3)
	var signed []Signed
	for i, price := range []int64{61_000_00, 61_010_00, 99_999_00} {
		s, _ := Value{"btc/usd", 1_800_000_000, price}.Sign(keys(3)[i])
		signed = append(signed, s)
	}
	fmt.Println(q.Median(signed))
	_, _, err := q.Median(signed[:1])
	fmt.Println(err)
	// Output:
	// 6101000 1800000000 <nil>
	// oracle refused: 1 values of feed btc/usd, want 2 to 3
}

func ExampleFraud_Verify() {
	k := keys(1)[0]
	a, _ := Value{"btc/usd", 1_800_000_000, 61_000_00}.Sign(k)
	b, _ := Value{"btc/usd", 1_800_000_000, 60_000_00}.Sign(k)
	fmt.Println(NewFraud(a, b).Verify())
	fmt.Println(NewFraud(a, a).Verify())
	// Output:
	// <nil>
	// oracle refused: no fraud: the values are the same, or not the lesser first
}

func ExampleParse() {
	s, _ := Value{"btc/usd", 1_800_000_000, 61_000_00}.Sign(keys(1)[0])
	b, _ := s.Encode()
	back, err := Parse(b)
	fmt.Println(back.Value, err)
	_, err = Parse(b[1:])
	fmt.Println(errors.Is(err, ErrValue))
	// Output:
	// {btc/usd 1800000000 6100000} <nil>
	// true
}

func TestMedianRefuses(t *testing.T) {
	k, other := keys(3), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
	one := func(i int, v int64) Signed { return sign(t, k[i], Value{"btc/usd", 100, v}) }
	bad := one(1, 5)
	bad.Value.Value++
	for name, list := range map[string][]Signed{
		"too few":         {one(0, 5)},
		"none":            nil,
		"twice":           {one(0, 5), one(0, 5)},
		"twice different": {one(0, 5), one(0, 6)},
		"order":           {one(1, 5), one(0, 5)},
		"too many":        {one(0, 5), one(1, 5), one(2, 5), one(2, 5)},
		"changed":         {one(0, 5), bad},
		"other feed":      {one(0, 5), sign(t, k[1], Value{"eth/usd", 100, 5})},
		"other time":      {one(0, 5), sign(t, k[1], Value{"btc/usd", 101, 5})},
	} {
		if _, _, err := quorum(2, 3).Median(list); !errors.Is(err, ErrValue) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stranger := []Signed{one(0, 5), sign(t, other, Value{"btc/usd", 100, 5})}
	slices.SortFunc(stranger, func(a, b Signed) int { return bytes.Compare(a.Key, b.Key) })
	if _, _, err := quorum(2, 3).Median(stranger); err == nil || !strings.Contains(err.Error(), "is none of feed") {
		t.Errorf("a stranger's key counts: %v", err)
	}
}

func TestQuorumCheck(t *testing.T) {
	swapped := quorum(2, 3)
	swapped.Keys[0], swapped.Keys[1] = swapped.Keys[1], swapped.Keys[0]
	twice := quorum(2, 3)
	twice.Keys[1] = twice.Keys[0]
	short := quorum(1, 1)
	short.Keys[0] = short.Keys[0][1:]
	feed := quorum(1, 1)
	feed.Feed = "btc usd"
	for name, q := range map[string]Quorum{"half": quorum(1, 2), "none": quorum(0, 1), "more than all": quorum(4, 3), "no keys": quorum(0, 0),
		"too many": quorum(9, 17), "order": swapped, "twice": twice, "short key": short, "feed": feed, "zero": {}} {
		if err := q.Check(); !errors.Is(err, ErrValue) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, q := range []Quorum{quorum(1, 1), quorum(2, 2), quorum(2, 3), quorum(9, 16)} {
		if err := q.Check(); err != nil {
			t.Errorf("%d of %d: %v", q.Need, len(q.Keys), err)
		}
	}
}

// weakKeys are keys under which others can sign, or that are none.
func weakKeys(t testing.TB) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for name, text := range map[string]string{
		"the identity":                     "0100000000000000000000000000000000000000000000000000000000000000",
		"of order 2":                       "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"of order 4":                       "0000000000000000000000000000000000000000000000000000000000000000",
		"of order 8":                       "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"the identity in another encoding": "0100000000000000000000000000000000000000000000000000000000000080",
		"no point":                         "0200000000000000000000000000000000000000000000000000000000000000",
	} {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = b
	}
	return out
}

// TestQuorumOfWeakKeys lists keys that no quorum has.
func TestQuorumOfWeakKeys(t *testing.T) {
	for name, k := range weakKeys(t) {
		if err := (Quorum{Feed: "btc/usd", Keys: [][]byte{k}, Need: 1}).Check(); err == nil || !strings.Contains(err.Error(), "only its owner can sign") {
			t.Errorf("a key that is %s: %v", name, err)
		}
	}
}

// TestMedianStandsBetweenHonestValues has f of 2f+1 or more keys lie, and any choice of values brought.
func TestMedianStandsBetweenHonestValues(t *testing.T) {
	all := keys(MaxKeys)
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.IntRange(0, 3).Draw(t, "liars")
		n := rapid.IntRange(2*f+1, min(4*f+1, MaxKeys)).Draw(t, "keys")
		q := quorum(max(2*f+1, n/2+1), n)
		q.Keys = nil
		for _, k := range all[:n] {
			q.Keys = append(q.Keys, k[32:])
		}
		liars := rapid.Permutation(slices.Collect(func(yield func(int) bool) {
			for i := range n {
				if !yield(i) {
					return
				}
			}
		})).Draw(t, "order")[:f]
		var signed []Signed
		low, high := int64(1000), int64(0)
		for i := range n {
			v := rapid.Int64Range(100, 200).Draw(t, "value")
			if slices.Contains(liars, i) {
				v = rapid.Int64().Draw(t, "lie")
			} else {
				low, high = min(low, v), max(high, v)
			}
			s, err := Value{"btc/usd", 5, v}.Sign(all[i])
			if err != nil {
				t.Fatal(err)
			}
			if len(signed)+(n-i-1) < int(q.Need) || rapid.Bool().Draw(t, "brought") || slices.Contains(liars, i) {
				signed = append(signed, s)
			}
		}
		if len(signed) < int(q.Need) {
			return
		}
		v, at, err := q.Median(signed)
		if err != nil || at != 5 {
			t.Fatal(at, err)
		}
		if v < low || v > high {
			t.Fatalf("the median %d of %d values is outside the honest %d..%d", v, len(signed), low, high)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, k := range keys(2) {
		b, err := sign(f, k, Value{"btc/usd", 100, -5}).Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil {
			return
		}
		if again, err := s.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x was read, %x is written: %v", b, again, err)
		}
	})
}

type valueCase struct {
	Name   string      `json:"name"`
	Expect string      `json:"expect"`
	Signed vectors.Hex `json:"signed"`
	Feed   string      `json:"feed,omitempty"`
	Time   int64       `json:"time,omitempty"`
	Value  int64       `json:"value,omitempty"`
}

type medianCase struct {
	Name   string        `json:"name"`
	Expect string        `json:"expect"`
	Feed   string        `json:"feed"`
	Keys   []vectors.Hex `json:"keys"`
	Need   uint32        `json:"need"`
	Signed []vectors.Hex `json:"signed"`
	Median int64         `json:"median"`
}

type fraudCase struct {
	Name   string      `json:"name"`
	Expect string      `json:"expect"`
	A      vectors.Hex `json:"a"`
	B      vectors.Hex `json:"b"`
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := wire.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectors(t *testing.T) {
	const dir = "../../spec/vectors/oracle/"
	k := keys(3)
	good := sign(t, k[0], Value{"btc/usd", 1_800_000_000, 61_000_00})
	negative := sign(t, k[1], Value{"eur-rate", 0, -250})
	changed := good
	changed.Value.Value++
	otherKey := good
	otherKey.Key = negative.Key
	blank := good
	blank.Value.Feed = "btc usd"
	values := vectors.File[valueCase]{About: "a signed value of an oracle, as it is stored and served; spec/contract.md section 8", Cases: []valueCase{
		{"a price", "ok", marshal(t, good), "btc/usd", 1_800_000_000, 61_000_00},
		{"a negative rate", "ok", marshal(t, negative), "eur-rate", 0, -250},
		{Name: "value changed", Expect: "error: signature does not verify", Signed: marshal(t, changed)},
		{Name: "another key", Expect: "error: signature does not verify", Signed: marshal(t, otherKey)},
		{Name: "a blank in the feed's name", Expect: "error: a feed is named by", Signed: marshal(t, blank)},
		{Name: "a byte left over", Expect: "error: oracle refused", Signed: append(marshal(t, good), 0)},
		{Name: "cut", Expect: "error: oracle refused", Signed: marshal(t, good)[:40]},
	}}
	vectors.Check(t, *update, dir+"value.json", values, func(c valueCase) (string, string) { return c.Name, c.Expect }, func(c valueCase) error {
		s, err := Parse(c.Signed)
		if err == nil && s.Value != (Value{c.Feed, c.Time, c.Value}) {
			return fmt.Errorf("it says %v", s.Value)
		}
		return err
	})

	three := []vectors.Hex{vectors.Hex(k[0][32:]), vectors.Hex(k[1][32:]), vectors.Hex(k[2][32:])}
	at := func(i int, v int64) vectors.Hex {
		return marshal(t, sign(t, k[i], Value{"btc/usd", 1_800_000_000, v}))
	}
	medians := vectors.File[medianCase]{About: "what counts of several signed values; spec/contract.md section 8", Cases: []medianCase{
		{"three of three", "ok", "btc/usd", three, 2, []vectors.Hex{at(0, 10), at(1, 30), at(2, 20)}, 20},
		{"two of three: the lower one", "ok", "btc/usd", three, 2, []vectors.Hex{at(0, 10), at(2, 20)}, 10},
		{"one of one", "ok", "btc/usd", three[:1], 1, []vectors.Hex{at(0, -10)}, -10},
		{"too few", "error: 1 values of feed btc/usd, want 2 to 3", "btc/usd", three, 2, []vectors.Hex{at(0, 10)}, 0},
		{"half of the keys", "error: ask for more than half", "btc/usd", three[:2], 1, []vectors.Hex{at(0, 10)}, 0},
		{"not in the order of the keys", "error: not in the order of their keys", "btc/usd", three, 2, []vectors.Hex{at(1, 10), at(0, 10)}, 0},
		{"one key twice", "error: or one key signed twice", "btc/usd", three, 2, []vectors.Hex{at(0, 10), at(0, 11)}, 0},
		{"a key of nobody", "error: is none of feed", "btc/usd", three[:1], 1, []vectors.Hex{at(1, 10)}, 0},
		{"another feed", "error: is of feed", "eth/usd", three, 2, []vectors.Hex{at(0, 10), at(1, 10)}, 0},
	}}
	for name, x := range weakKeys(t) {
		s := Signed{Value{"btc/usd", 1_800_000_000, 10}, x, make([]byte, 64)}
		s.Sig[0] = 1 // the identity and 0: under the identity it fits everything
		if err := s.Verify(); name == "the identity" && err != nil {
			t.Errorf("anybody can sign under the identity, and here nobody did: %v", err)
		}
		signed := at(0, 10)
		if name == "the identity" {
			signed = marshal(t, s)
		}
		medians.Cases = append(medians.Cases, medianCase{"a key that is " + name, "error: only its owner can sign", "btc/usd", []vectors.Hex{vectors.Hex(x)}, 1, []vectors.Hex{signed}, 0})
	}
	slices.SortFunc(medians.Cases[len(medians.Cases)-len(weakKeys(t)):], func(a, b medianCase) int { return strings.Compare(a.Name, b.Name) })
	vectors.Check(t, *update, dir+"median.json", medians, func(c medianCase) (string, string) { return c.Name, c.Expect }, func(c medianCase) error {
		q := Quorum{Feed: c.Feed, Need: c.Need}
		for _, k := range c.Keys {
			q.Keys = append(q.Keys, k)
		}
		var list []Signed
		for _, b := range c.Signed {
			s, err := Parse(b)
			if err != nil {
				return err
			}
			list = append(list, s)
		}
		v, _, err := q.Median(list)
		if err == nil && v != c.Median {
			return fmt.Errorf("the median is %d", v)
		}
		return err
	})

	later := sign(t, k[0], Value{"btc/usd", 1_800_000_001, 61_001_00})
	lie := sign(t, k[0], Value{"btc/usd", 1_800_000_000, 61_001_00})
	frauds := vectors.File[fraudCase]{About: "two values of one key for one feed and time; spec/contract.md section 8", Cases: []fraudCase{
		{"two values", "ok", marshal(t, good), marshal(t, lie)},
		{"the greater first", "error: not the lesser first", marshal(t, lie), marshal(t, good)},
		{"the same value", "error: the values are the same", marshal(t, good), marshal(t, good)},
		{"two times", "error: different feeds, times or keys", marshal(t, good), marshal(t, later)},
		{"a forged one", "error: signature does not verify", marshal(t, good), marshal(t, changed)},
	}}
	vectors.Check(t, *update, dir+"fraud.json", frauds, func(c fraudCase) (string, string) { return c.Name, c.Expect }, func(c fraudCase) error {
		var f Fraud
		if err := wire.Unmarshal(c.A, &f.A); err != nil {
			return err
		}
		if err := wire.Unmarshal(c.B, &f.B); err != nil {
			return err
		}
		return f.Verify()
	})
}
