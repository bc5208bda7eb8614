package head_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"latchkey/head"
)

const origin = "escrow.example/log"

// tb is what helpers need of a testing.T, testing.B or rapid.T.
type tb interface {
	Helper()
	Fatal(args ...any)
}

// privateKey derives a test key from its name.
func privateKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("latchkey test key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func logKey(t tb, name string) head.LogKey {
	t.Helper()
	k, err := head.NewLogKey(name, privateKey(name).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func witnessKey(t tb, name string) head.WitnessKey {
	t.Helper()
	k, err := head.NewWitnessKey(name, privateKey(name).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func witnessName(i int) string { return fmt.Sprintf("w%d.example", i) }

// newGroup returns a group over the test log with witnesses w0..w(n-1).
func newGroup(t tb, n, k, f int) head.Group {
	g := head.Group{Log: logKey(t, origin), K: k, F: f}
	for i := range n {
		g.Witnesses = append(g.Witnesses, witnessKey(t, witnessName(i)))
	}
	return g
}

// tree is a log's tree with everything kept.
type tree struct {
	origin  string
	entries [][]byte
	hashes  []tlog.Hash
}

func (r *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = r.hashes[x]
	}
	return out, nil
}

func (r *tree) add(t tb, entry []byte) {
	hashes, err := tlog.StoredHashes(int64(len(r.entries)), entry, r)
	if err != nil {
		t.Fatal(err)
	}
	r.entries = append(r.entries, entry)
	r.hashes = append(r.hashes, hashes...)
}

// naiveRoot is MTH of RFC 6962 section 2.1, word for word.
func naiveRoot(entries [][]byte) head.Hash {
	switch n := len(entries); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, entries[0]...))
	default:
		k := 1
		for k*2 < n {
			k *= 2
		}
		l, r := naiveRoot(entries[:k]), naiveRoot(entries[k:])
		return sha256.Sum256(slices.Concat([]byte{1}, l[:], r[:]))
	}
}

func (r *tree) at(size int) head.Checkpoint {
	return head.Checkpoint{Origin: r.origin, Size: int64(size), Root: naiveRoot(r.entries[:size])}
}

func (r *tree) consistency(t tb, old, size int) []head.Hash {
	if old == 0 || old == size {
		return nil
	}
	p, err := tlog.ProveTree(int64(size), int64(old), r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (r *tree) inclusion(t tb, index, size int) []head.Hash {
	p, err := tlog.ProveRecord(int64(size), int64(index), r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// newTree returns a tree of n entries "<label> 0", "<label> 1", ...
func newTree(t tb, label string, n int) *tree {
	r := &tree{origin: origin}
	for i := range n {
		r.add(t, fmt.Appendf(nil, "%s %d", label, i))
	}
	return r
}

func sign(t tb, c head.Checkpoint) []byte {
	t.Helper()
	signed, err := head.SignCheckpoint(c, privateKey(c.Origin))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// cosign returns the line of a fresh witness for a signed checkpoint.
func cosign(t tb, name string, signed []byte, now int64) []byte {
	t.Helper()
	o, err := head.Request{Signed: signed}.Origin()
	if err != nil {
		t.Fatal(err)
	}
	consent, err := head.Decide(logKey(t, o), head.Seen{}, head.Request{Signed: signed}, now)
	if err != nil {
		t.Fatal(err)
	}
	line, err := consent.Cosign(name, privateKey(name))
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func TestKeysRoundTripAsVkeys(t *testing.T) {
	l, w := logKey(t, origin), witnessKey(t, "w0.example")
	if got, err := head.ParseLogKey(l.String()); err != nil || got != l {
		t.Errorf("ParseLogKey(%s) = %v, %v", l, got, err)
	}
	if got, err := head.ParseWitnessKey(w.String()); err != nil || got != w {
		t.Errorf("ParseWitnessKey(%s) = %v, %v", w, got, err)
	}
	std, err := note.NewVerifier(l.String())
	if err != nil {
		t.Fatalf("x/mod's note refuses our log vkey: %v", err)
	}
	if std.Name() != l.Name() || std.KeyHash() != l.KeyHash() {
		t.Errorf("x/mod reads %s %08x, want %s %08x", std.Name(), std.KeyHash(), l.Name(), l.KeyHash())
	}
}

func TestParseKeyRefuses(t *testing.T) {
	l, w := logKey(t, origin).String(), witnessKey(t, "w0.example").String()
	for name, vkey := range map[string]string{
		"empty":                  "",
		"no key":                 "a+00000000+",
		"a witness's as a log's": w,
		"wrong id":               strings.Replace(l, "log+", "log+0", 1),
		"other name":             "x" + l,
		"trailing newline":       l + "\n",
		"space in name":          strings.Replace(l, "escrow", "esc row", 1),
		"truncated":              l[:len(l)-4],
	} {
		if k, err := head.ParseLogKey(vkey); err == nil {
			t.Errorf("%s: ParseLogKey(%q) = %v, want an error", name, vkey, k)
		}
	}
	if _, err := head.ParseWitnessKey(l); err == nil {
		t.Error("ParseWitnessKey takes a log's key")
	}
}

func TestKeyNames(t *testing.T) {
	public := privateKey(origin).Public().(ed25519.PublicKey)
	for name, ok := range map[string]bool{
		"a": true, "a/b:1~!": true, strings.Repeat("a", 255): true,
		"": false, "a b": false, "a\tb": false, "a\nb": false, "a+b": false, "ä": false, "a\x7f": false, strings.Repeat("a", 256): false,
	} {
		if _, err := head.NewLogKey(name, public); (err == nil) != ok {
			t.Errorf("log %q: error %v, want ok %v", name, err, ok)
		}
		if _, err := head.NewWitnessKey(name, public); (err == nil) != ok {
			t.Errorf("witness %q: error %v, want ok %v", name, err, ok)
		}
	}
	if _, err := head.NewLogKey("a", public[:31]); err == nil {
		t.Error("a key of 31 bytes is taken")
	}
}

// Under a key of small order anybody can sign: RFC 8032's equation holds for
// S = 0 whatever the message is, or for one message in eight. Encodings from
// C. Cremers and D. Jackson, "Prime, Order Please!" (2019), table 5.
func TestKeysOfSmallOrderAreRefused(t *testing.T) {
	for _, enc := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		public, err := hex.DecodeString(enc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := head.NewWitnessKey("w", public); err == nil {
			t.Errorf("NewWitnessKey takes %s", enc)
		}
	}
}

func TestCheckpointIsReadByXMod(t *testing.T) {
	c := newTree(t, "entry", 5).at(5)
	signed := sign(t, c)
	v, err := note.NewVerifier(logKey(t, origin).String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(c.Text()), n.Text); diff != "" {
		t.Error(diff)
	}
	got, err := head.OpenCheckpoint(signed, logKey(t, origin))
	if err != nil || got != c {
		t.Errorf("OpenCheckpoint = %+v, %v, want %+v", got, err, c)
	}
}

func TestSignCheckpointRefuses(t *testing.T) {
	good := newTree(t, "entry", 1).at(1)
	for name, c := range map[string]head.Checkpoint{
		"no origin":       {Size: 1, Root: good.Root},
		"newline":         {Origin: "a\nb", Size: 1, Root: good.Root},
		"negative size":   {Origin: origin, Size: -1, Root: good.Root},
		"absurd size":     {Origin: origin, Size: head.MaxSize + 1, Root: good.Root},
		"empty with root": {Origin: origin, Root: good.Root},
	} {
		if _, err := head.SignCheckpoint(c, privateKey(origin)); !errors.Is(err, head.ErrMalformed) {
			t.Errorf("%s: error %v, want %v", name, err, head.ErrMalformed)
		}
	}
	if _, err := head.SignCheckpoint(good, nil); err == nil {
		t.Error("signs without a key")
	}
}

func TestGroupCheck(t *testing.T) {
	for _, c := range []struct {
		n, k, f int
		ok      bool
	}{
		{4, 3, 1, true}, {1, 1, 0, true}, {3, 2, 0, true}, {7, 5, 2, true},
		{4, 2, 0, false}, // two disjoint halves
		{4, 3, 2, false}, // 2k = n+f
		{3, 3, 2, false}, // the median could be a liar's
		{3, 2, 1, false},
		{4, 5, 1, false}, // never reached
		{0, 0, 0, false}, {1, 0, 0, false}, {4, 3, -1, false}, {1, -1, -9, false},
		{head.MaxWitnesses + 1, head.MaxWitnesses, 1, false},
	} {
		if err := newGroup(t, c.n, c.k, c.f).Check(); (err == nil) != c.ok {
			t.Errorf("n=%d k=%d f=%d: error %v, want ok %v", c.n, c.k, c.f, err, c.ok)
		}
	}
}

func TestGroupRefusesOneWitnessTwice(t *testing.T) {
	other := func(name string, key head.WitnessKey) head.WitnessKey {
		k, err := head.NewWitnessKey(name, key.Public())
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	logs, err := head.NewWitnessKey("w9.example", logKey(t, origin).Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, replace := range map[string]head.WitnessKey{
		"same key, other name": other("w9.example", witnessKey(t, witnessName(1))),
		"same name, other key": other(witnessName(1), witnessKey(t, "w9.example")),
		"the same":             witnessKey(t, witnessName(1)),
		"zero":                 {},
		"the log's key":        logs,
		"the log's name":       other(origin, witnessKey(t, "w9.example")),
	} {
		g := newGroup(t, 4, 3, 1)
		g.Witnesses[0] = replace
		if g.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	g := newGroup(t, 4, 3, 1)
	g.Log = head.LogKey{}
	if g.Check() == nil {
		t.Error("no log key: accepted")
	}
}

func TestVerifyCountsDifferentWitnesses(t *testing.T) {
	c := newTree(t, "entry", 3).at(3)
	signed := sign(t, c)
	line := func(i int, now int64) []byte { return cosign(t, witnessName(i), signed, now) }
	garbled := line(2, 7)
	if at := len(garbled) - 20; garbled[at] == 'A' {
		garbled[at] = 'B'
	} else {
		garbled[at] = 'A'
	}
	for name, tc := range map[string]struct {
		lines [][]byte
		stamp []int64
		time  int64
		want  error
	}{
		"three":              {lines: [][]byte{line(0, 30), line(2, 10), line(3, 20)}, stamp: []int64{10, 20, 30}, time: 20},
		"four, lower middle": {lines: [][]byte{line(0, 40), line(1, 30), line(2, 10), line(3, 20)}, stamp: []int64{10, 20, 30, 40}, time: 20},
		"one twice":          {lines: [][]byte{line(0, 30), line(1, 20), line(1, 10)}, want: head.ErrQuorum},
		"a stranger":         {lines: [][]byte{line(0, 30), line(1, 20), line(7, 10)}, want: head.ErrQuorum},
		"none":               {want: head.ErrQuorum},
		"a wrong one":        {lines: [][]byte{line(0, 30), line(1, 20), garbled, line(3, 10)}, want: head.ErrSignature},
		"strangers ignored":  {lines: [][]byte{line(8, 1), line(0, 3), line(9, 2), line(1, 4), line(2, 5)}, stamp: []int64{3, 4, 5}, time: 4},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := newGroup(t, 4, 3, 1).Verify(slices.Concat(signed, bytes.Join(tc.lines, nil)))
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if tc.want != nil {
				return
			}
			var stamps []int64
			for _, s := range got.Stamps {
				stamps = append(stamps, s.Unix)
			}
			if diff := cmp.Diff(tc.stamp, stamps); diff != "" || got.Time != tc.time || got.Checkpoint != c {
				t.Errorf("got %+v, want %+v at %d, stamps:\n%s", got, c, tc.time, diff)
			}
		})
	}
}

func TestVerifyRefuses(t *testing.T) {
	r := newTree(t, "entry", 4)
	c := r.at(3)
	signed := sign(t, c)
	var lines []byte
	for i := range 4 {
		lines = append(lines, cosign(t, witnessName(i), signed, 100)...)
	}
	text, logLine, _ := bytes.Cut(signed, []byte("\n\n"))
	other := sign(t, r.at(4))
	foreign := sign(t, head.Checkpoint{Origin: "other.example", Size: c.Size, Root: c.Root})
	for name, tc := range map[string]struct {
		signed []byte
		want   error
	}{
		"cosignatures of another head": {slices.Concat(other, lines), head.ErrSignature},
		"another log":                  {slices.Concat(foreign, lines), head.ErrSignature},
		"without the log's signature":  {slices.Concat(text, []byte("\n\n"), lines), head.ErrSignature},
		"no signature at all":          {slices.Concat(text, []byte("\n\n")), head.ErrMalformed},
		"extension line":               {slices.Concat(text, []byte("\nmore\n\n"), logLine, lines), head.ErrMalformed},
		"carriage returns":             {bytes.ReplaceAll(slices.Concat(signed, lines), []byte("\n"), []byte("\r\n")), head.ErrMalformed},
		"unterminated":                 {slices.Concat(signed, lines[:len(lines)-1]), head.ErrMalformed},
		"empty":                        {nil, head.ErrMalformed},
		"too many lines":               {slices.Concat(signed, bytes.Repeat(lines, 26)), head.ErrMalformed},
		"too long":                     {slices.Concat(signed, lines, []byte("— stranger "+strings.Repeat("AAAA", 20000)+"\n")), head.ErrMalformed},
		"a root not canonical":         {bytes.Replace(slices.Concat(signed, lines), []byte(c.Root.String()[40:]+"\n"), []byte(c.Root.String()[40:42]+"/=\n"), 1), head.ErrMalformed},
	} {
		if got, err := newGroup(t, 4, 3, 1).Verify(tc.signed); !errors.Is(err, tc.want) {
			t.Errorf("%s: %+v, error %v, want %v", name, got, err, tc.want)
		}
	}
	if _, err := (head.Group{}).Verify(slices.Concat(signed, lines)); err == nil {
		t.Error("the zero Group accepts a head")
	}
	if _, err := head.OpenCheckpoint(signed, head.LogKey{}); err == nil {
		t.Error("the zero LogKey accepts a head")
	}
}

// keySigner signs notes under a log's key, whatever their text.
type keySigner struct {
	head.LogKey
	private ed25519.PrivateKey
}

func (s keySigner) Sign(text []byte) ([]byte, error) { return ed25519.Sign(s.private, text), nil }

// One key may serve two logs under two names, by an operator's mistake: a head
// of the one must not pass as a head of the other.
func TestASignatureUnderAnotherOriginDoesNotCount(t *testing.T) {
	text := head.Checkpoint{Origin: "other.example", Size: 1, Root: head.Hash{1}}.Text()
	signed, err := note.Sign(&note.Note{Text: string(text)}, keySigner{logKey(t, origin), privateKey(origin)})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := head.OpenCheckpoint(signed, logKey(t, origin)); !errors.Is(err, head.ErrSignature) {
		t.Errorf("%+v, error %v, want %v", c, err, head.ErrSignature)
	}
}

// C2SP tlog-cosignature: a timestamp must not exceed 2^63 - 1.
func TestStampsBeyondTheirRangeAreRefused(t *testing.T) {
	signed := sign(t, newTree(t, "entry", 1).at(1))
	text, _, _ := bytes.Cut(signed, []byte("\n\n"))
	for stamp, ok := range map[uint64]bool{1<<63 - 1: true, 1 << 63: false, 1<<64 - 1: false} {
		message := append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", int64(stamp)), append(text, '\n')...)
		sig := append(binary.BigEndian.AppendUint64(nil, stamp), ed25519.Sign(privateKey("w0.example"), message)...)
		if got := witnessKey(t, "w0.example").Verify(append(text, '\n'), sig); got != ok {
			t.Errorf("stamp %d: %v, want %v", stamp, got, ok)
		}
	}
}

// The median of any count of stamps of which at most F are wrong lies between
// two honest ones, both ends included.
func TestMedianIsBoundedByHonestStamps(t *testing.T) {
	signed := sign(t, newTree(t, "entry", 1).at(1))
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.IntRange(0, 2).Draw(t, "f")
		n := rapid.IntRange(2*f+1, 3*f+1).Draw(t, "n")
		g := newGroup(t, n, 2*f+1, f)
		lo, hi := int64(1<<62), int64(0)
		out := signed
		for i := range n {
			now := rapid.Int64Range(1000, 1010).Draw(t, "honest")
			if i < f {
				now = rapid.Int64Range(0, 1<<40).Draw(t, "liar")
			} else {
				lo, hi = min(lo, now), max(hi, now)
			}
			out = slices.Concat(out, cosign(t, witnessName(i), signed, now))
		}
		got, err := g.Verify(out)
		if err != nil {
			t.Fatal(err)
		}
		if got.Time < lo || got.Time > hi {
			t.Fatalf("time %d outside the honest %d..%d", got.Time, lo, hi)
		}
	})
}

func TestInclusionAndConsistencyAtEverySize(t *testing.T) {
	const n = 20
	r := newTree(t, "entry", n)
	for size := range n + 1 {
		c := r.at(size)
		for i := range size {
			proof := r.inclusion(t, i, size)
			if err := head.VerifyInclusion(c, int64(i), r.entries[i], proof); err != nil {
				t.Fatal(err)
			}
			if head.VerifyInclusion(c, int64(i), []byte("another"), proof) == nil {
				t.Fatalf("entry %d of %d: another entry passes", i, size)
			}
			if head.VerifyInclusion(c, int64(i)+1, r.entries[i], proof) == nil {
				t.Fatalf("entry %d of %d: another index passes", i, size)
			}
			if head.VerifyInclusion(c, int64(i), r.entries[i], append(proof, head.Hash{})) == nil {
				t.Fatalf("entry %d of %d: a longer proof passes", i, size)
			}
		}
		for old := range size + 1 {
			proof := r.consistency(t, old, size)
			if err := head.VerifyConsistency(r.at(old), c, proof); err != nil {
				t.Fatal(err)
			}
			fork := r.at(old)
			fork.Root[0] ^= 1
			if head.VerifyConsistency(fork, c, proof) == nil {
				t.Fatalf("%d to %d: another old root passes", old, size)
			}
			if old > 0 && old < size && head.VerifyConsistency(r.at(old), c, proof[1:]) == nil {
				t.Fatalf("%d to %d: a shorter proof passes", old, size)
			}
			if old < size && head.VerifyConsistency(c, r.at(old), proof) == nil {
				t.Fatalf("%d back to %d passes", size, old)
			}
			if head.VerifyConsistency(r.at(old), c, append(proof, head.Hash{})) == nil {
				t.Fatalf("%d to %d: a longer proof passes", old, size)
			}
		}
	}
	foreign := r.at(3)
	foreign.Origin = "other.example"
	if head.VerifyConsistency(foreign, r.at(3), nil) == nil {
		t.Error("another log's head passes")
	}
}

// tlog's index arithmetic does not end for sizes near 2^63.
func TestAbsurdSizesEnd(t *testing.T) {
	for _, size := range []int64{head.MaxSize, head.MaxSize + 1, 1<<62 + 1, 1<<63 - 1, -1} {
		c := head.Checkpoint{Origin: origin, Size: size, Root: head.Hash{1}}
		if head.VerifyInclusion(c, size-1, nil, make([]head.Hash, 63)) == nil {
			t.Errorf("size %d: inclusion passes", size)
		}
		if head.VerifyConsistency(c, c, make([]head.Hash, 63)) == nil {
			t.Errorf("size %d: consistency passes", size)
		}
	}
}

func TestFrontierFollowsTheTree(t *testing.T) {
	r := newTree(t, "entry", 130)
	var f head.Frontier
	for i := range 131 {
		if got, want := f.Root(), r.at(i).Root; got != want || f.Size() != int64(i) {
			t.Fatalf("size %d: root %s, want %s at %d", f.Size(), got, want, i)
		}
		raw, err := f.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var back head.Frontier
		if err := back.UnmarshalBinary(raw); err != nil || back != f {
			t.Fatalf("size %d does not survive encoding: %v", i, err)
		}
		if i == 130 {
			break
		}
		clone := f
		if err := f.Append(r.entries[i]); err != nil {
			t.Fatal(err)
		}
		if clone.Size() != int64(i) || clone.Root() != r.at(i).Root {
			t.Fatalf("size %d: appending changed a clone", i)
		}
	}
}

func TestFrontierRefusesWrongShapes(t *testing.T) {
	full := append([]byte{0, 1, 0, 0, 0, 0, 0, 0}, make([]byte, 32)...)
	for name, raw := range map[string][]byte{
		"empty":        {},
		"short size":   {0, 0, 0},
		"missing hash": {0, 0, 0, 0, 0, 0, 0, 1},
		"extra byte":   {0, 0, 0, 0, 0, 0, 0, 0, 0},
		"absurd size":  append([]byte{0x80}, full[1:]...),
	} {
		f := head.Frontier{}
		if err := f.UnmarshalBinary(raw); !errors.Is(err, head.ErrMalformed) || f.Size() != 0 {
			t.Errorf("%s: error %v, want %v", name, err, head.ErrMalformed)
		}
	}
	var f head.Frontier
	if err := f.UnmarshalBinary(full); err != nil {
		t.Fatal(err)
	}
	before := f
	if err := f.Append(nil); err == nil || f != before {
		t.Errorf("a full frontier takes an entry: %v", err)
	}
}

func BenchmarkFrontierAppend(b *testing.B) {
	var f head.Frontier
	entry := make([]byte, 500)
	for b.Loop() {
		if err := f.Append(entry); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGroupVerify(b *testing.B) {
	signed := sign(b, newTree(b, "entry", 3).at(3))
	note := signed
	for i := range 3 {
		note = slices.Concat(note, cosign(b, witnessName(i), signed, 100))
	}
	g := newGroup(b, 4, 3, 1)
	for b.Loop() {
		if _, err := g.Verify(note); err != nil {
			b.Fatal(err)
		}
	}
}
