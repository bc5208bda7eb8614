package independent_test

import (
	"bytes"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A pace and the sides of a settlement tit for tat, and its steps: settle.md.
type pace struct{ First, Growth, Most, Wait int64 }

type planned struct {
	Side   int   `json:"side"`
	Chunks []int `json:"chunks"`
}

// into reads a field of a case.
func (c testCase) into(k string, v any) {
	raw, err := json.Marshal(c[k])
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		panic(err)
	}
}

func (c testCase) settlement() (p pace, sides [2][]int64) {
	c.into("pace", &p)
	c.into("sides", &sides)
	return p, sides
}

func sum(l []int64) (n int64) {
	for _, x := range l {
		n += x
	}
	return n
}

// plan lays the steps out, as the page has it from 1 to 4.
func plan(p pace, sides [2][]int64) (steps []planned, err error) {
	const most = 1_048_576
	if p.First < 1 || p.First > p.Most || p.Most > most || p.Growth < 100 || p.Growth > 1000 || p.Wait < 10 || p.Wait > 604_800 {
		return nil, errors.New("no pace")
	}
	var order [2][]int
	var total, handed [2]int64
	for s, l := range sides {
		if total[s] = sum(l); len(l) == 0 || slices.Min(l) < 1 || total[s] > most {
			return nil, fmt.Errorf("side %d", s)
		}
		for i := range l {
			order[s] = append(order[s], i)
		}
		slices.SortStableFunc(order[s], func(a, b int) int { return int(l[a] - l[b]) })
	}
	all, target, size := max(total[0], total[1]), int64(0), p.First
	for target < all {
		target, size = min(all, target+size), min(p.Most, (size*p.Growth+99)/100)
		for s := range sides {
			x := planned{Side: s}
			for handed[s] < total[s]*target/all {
				i := order[s][0]
				order[s], x.Chunks = order[s][1:], append(x.Chunks, i)
				handed[s] += sides[s][i]
			}
			if len(x.Chunks) > 0 {
				steps = append(steps, x)
			}
		}
	}
	return steps, nil
}

// loss is the greatest loss of each side.
func loss(steps []planned, sides [2][]int64) (worst [2]int64) {
	total := [2]int64{sum(sides[0]), sum(sides[1])}
	var handed, last [2]int64
	for _, x := range steps {
		last[x.Side] = 0
		for _, i := range x.Chunks {
			last[x.Side] += sides[x.Side][i]
		}
		handed[x.Side] += last[x.Side]
		for s := range worst {
			worst[s] = max(worst[s], handed[s]-total[s]*(handed[1-s]-last[1-s])/total[1-s])
		}
	}
	return worst
}

func plans(c testCase) error {
	p, sides := c.settlement()
	steps, err := plan(p, sides)
	if err != nil {
		return err
	}
	var want []planned
	var most [2]int64
	c.into("steps", &want)
	c.into("loss", &most)
	if fmt.Sprint(steps) != fmt.Sprint(want) || loss(steps, sides) != most {
		return fmt.Errorf("steps %v, loss %v", steps, loss(steps, sides))
	}
	return nil
}

// runs is what becomes of a settlement in the escrow.
func runs(c testCase) error {
	type event struct {
		At           int64
		Word, Failed bool
		By, Step     int
	}
	type entry struct {
		Kind            int
		At              int64
		Gives           [][3]int
		Closed, Settled bool
	}
	p, sides := c.settlement()
	steps, err := plan(p, sides)
	if err != nil {
		return err
	}
	var events []event
	var out, want []entry
	c.into("events", &events)
	c.into("entries", &want)
	left := map[[2]int]bool{}
	for s, l := range sides {
		for i := range l {
			left[[2]int{s, i}] = true
		}
	}
	next, at := 0, int64(0)
	log := func(kind int, now int64, gives [][3]int) {
		for _, g := range gives {
			delete(left, [2]int{g[0], g[1]})
		}
		at = now
		out = append(out, entry{kind, now, gives, true, len(left) == 0})
	}
	give := func(kind int, now int64) {
		var gives [][3]int
		for _, i := range steps[next].Chunks {
			gives = append(gives, [3]int{steps[next].Side, i, 1 - steps[next].Side})
		}
		next++
		log(kind, now, gives)
	}
	give(1, 0)
	var said event
	var refused error
	for _, e := range events {
		over := e.At >= at+p.Wait+2
		switch {
		case len(left) == 0, !e.Word && !over:
		case !e.Word:
			give(6, e.At)
		case e.Step == next-1 && e.By == said.By && e.Step == said.Step && e.Failed == said.Failed:
		case e.Step > next:
			refused = errors.New("a step to come")
		case e.Step < next || over:
			refused = errors.New("a step that is over")
		case e.By != 1-steps[next-1].Side:
			refused = errors.New("not its receiver")
		case e.Failed:
			var gives [][3]int
			for s, l := range sides {
				for i := range l {
					if left[[2]int{s, i}] {
						gives = append(gives, [3]int{s, i, s})
					}
				}
			}
			log(7, e.At, gives)
		default:
			said = e
			give(5, e.At)
		}
	}
	if fmt.Sprint(out) != fmt.Sprint(want) || c.int("ends") != int64(len(steps))*(p.Wait+2) {
		panic(fmt.Sprintf("%s: entries %v", c.str("name"), out)) // also where the last event is refused
	}
	return refused
}

// What oracles sign: contract.md, section 8.
type observed struct {
	feed        string
	time, value int64
	key         []byte
}

var feedName = regexp.MustCompile(`^[!-~]{1,64}$`)

func feedOK(s string) bool { return feedName.MatchString(s) && !strings.ContainsAny(s, `"\`) }

// oracleKey takes the one encoding of a point of the curve that is not of small order.
func oracleKey(b []byte) error {
	if len(b) != 32 {
		return errPoint
	}
	le := bytes.Clone(b)
	le[31] &= 127
	slices.Reverse(le)
	y := new(big.Int).SetBytes(le)
	yy, one := mul(edP, y, y), big.NewInt(1)
	x := new(big.Int).ModSqrt(mul(edP, plus(edP, yy, minus(edP, one)), inverse(edP, plus(edP, mul(edP, edD, yy), one))), edP)
	if y.Cmp(edP) >= 0 || x == nil || smallOrder(y) {
		return errPoint
	}
	return nil
}

func readSigned(b []byte) (o observed, err error) {
	m, err := read(b, structure(fields{1: structure(fields{1: text, 2: unsigned(64), 3: signed}, nil), 2: octets(32), 3: octets(64)}, nil))
	if err != nil {
		return o, err
	}
	v := m[1].(map[uint64]any)
	o = observed{v[1].(string), int64(v[2].(uint64)), number(v[3]), m[2].([]byte)}
	if len(b) > 512 || !feedOK(o.feed) || v[2].(uint64) > 1<<53 {
		return o, errors.New("no value of a feed")
	}
	if err := oracleKey(o.key); err != nil {
		return o, err
	}
	return o, verify(o.key, "latchkey/oracle/v1", encode(v), m[3].([]byte))
}

func oracleValue(c testCase) error {
	o, err := readSigned(c.hex("signed"))
	if err == nil && (o.feed != c.str("feed") || o.time != c.int("time") || o.value != c.int("value")) {
		err = errors.New("another value")
	}
	return err
}

func median(c testCase) error {
	keys, need := c.hexes("keys"), int(c.int("need"))
	if n := len(keys); n < 1 || n > 16 || need > n || 2*need <= n || !feedOK(c.str("feed")) {
		return errors.New("no oracle")
	}
	for i, k := range keys {
		if err := oracleKey(k); err != nil || i > 0 && bytes.Compare(keys[i-1], k) >= 0 {
			return fmt.Errorf("key %d: %w", i, err)
		}
	}
	var list []observed
	var values []int64
	for i, b := range c.hexes("signed") {
		o, err := readSigned(b)
		switch {
		case err != nil:
			return err
		case o.feed != c.str("feed"), i > 0 && (o.time != list[0].time || bytes.Compare(list[i-1].key, o.key) >= 0):
			return errors.New("another feed or time, or keys out of order")
		case !slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, o.key) }):
			return errors.New("a stranger's key")
		}
		list, values = append(list, o), append(values, o.value)
	}
	if slices.Sort(values); len(values) < need || values[(len(values)-1)/2] != c.int("median") {
		return errors.New("too few, or another median")
	}
	return nil
}

func fraud(c testCase) error {
	a, err := readSigned(c.hex("a"))
	if err != nil {
		return err
	}
	b, err := readSigned(c.hex("b"))
	if err == nil && (!bytes.Equal(a.key, b.key) || a.feed != b.feed || a.time != b.time || a.value >= b.value) {
		err = errors.New("no fraud")
	}
	return err
}

// paymentRequest reads a payment request: direct.md.
func paymentRequest(c testCase) error {
	rest, ok := strings.CutPrefix(strings.ToLower(c.str("text")), "latchkey-pay-1")
	if !ok || len(c.str("text")) > 1000 {
		return errors.New("no request")
	}
	alphabet := base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	b, err := alphabet.DecodeString(rest)
	if err != nil || len(b) < 5 || alphabet.EncodeToString(b) != rest {
		return fmt.Errorf("base 32: %w", err)
	}
	b, check := b[:len(b)-5], b[len(b)-5:]
	h := hash("latchkey/payment-request/v1", b)
	if err := same(h[:5], check); err != nil {
		return err
	}
	m, err := read(b, structure(fields{1: octets(32), 2: octets(32), 3: text, 4: text, 5: octets(16), 6: octets(8), 7: signed}, nil))
	if err != nil {
		return err
	}
	asset, chain := m[3].(string), m[4].(string)
	if len(asset) > 32 || !name.MatchString(asset) || len(chain) < 1 || len(chain) > 64 || bytes.Equal(m[5].([]byte), make([]byte, 16)) || number(m[7]) <= 0 {
		return errors.New("a request for nothing, without an end, or of no asset")
	}
	return errors.Join(same(b, c.hex("cbor")), same(h[:16], c.hex("id")))
}

// TestPagesExplainVectors: each file of vectors has a line in the table of a page, and
// that line names each field of its cases.
func TestPagesExplainVectors(t *testing.T) {
	paths, err := filepath.Glob("../*.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, p := range paths {
		raw, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Split(string(raw), "\n")...)
	}
	files, err := filepath.Glob("../vectors/*/*.json")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, f := range files {
		file := filepath.Base(filepath.Dir(f)) + "/" + filepath.Base(f)
		said := ""
		for _, l := range lines {
			if cells := strings.Split(l, "|"); len(cells) == 4 && strings.Contains(cells[1], file) {
				said += cells[2]
			}
		}
		if said == "" {
			t.Errorf("no page says what is in %s", file)
			continue
		}
		missing := map[string]bool{}
		for _, c := range cases(t, file) {
			for k := range c {
				if k != "name" && k != "expect" && !regexp.MustCompile(`\b`+k+`\b`).MatchString(said) {
					missing[k] = true
				}
			}
		}
		for k := range missing {
			t.Errorf("the page does not say what %q of %s is", k, file)
		}
	}
}
