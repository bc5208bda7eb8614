package independent_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// A vkey is a key of head.md: of a log, type 1, or of a witness, type 4.
type vkey struct {
	name   string
	kind   byte
	public ed25519.PublicKey
	id     []byte
}

var errHead = errors.New("refused by head.md")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errHead, fmt.Errorf(format, args...))
}

// base64Of decodes the one canonical form.
func base64Of(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || base64.StdEncoding.EncodeToString(b) != s {
		return nil, refuse("base64 %q", s)
	}
	return b, nil
}

func nameOK(s string) bool {
	for _, r := range []byte(s) {
		if r < 0x21 || r > 0x7e || r == '+' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 255
}

func parseVKey(s string, kind byte) (vkey, error) {
	parts := strings.SplitN(s, "+", 3)
	if len(parts) != 3 || !nameOK(parts[0]) {
		return vkey{}, refuse("vkey %q", s)
	}
	raw, err := base64Of(parts[2])
	if err != nil {
		return vkey{}, err
	}
	if len(raw) != 33 || raw[0] != kind {
		return vkey{}, refuse("a vkey of another type or length")
	}
	h := sha256.Sum256(append([]byte(parts[0]+"\n"), raw...))
	if hex.EncodeToString(h[:4]) != parts[1] {
		return vkey{}, refuse("a vkey with another id")
	}
	y := bytes.Clone(raw[1:])
	y[31] &= 127
	slices.Reverse(y)
	n := new(big.Int).SetBytes(y)
	if n.Cmp(edP) >= 0 || smallOrder(n) {
		return vkey{}, refuse("a key that is no key")
	}
	return vkey{parts[0], kind, raw[1:], h[:4]}, nil
}

// smallOrder finds y = 0, 1, −1 and those of order 8: points of which eight times
// is the identity. A y that is on no curve is none of them.
func smallOrder(y *big.Int) bool {
	yy, one := mul(edP, y, y), big.NewInt(1)
	x := new(big.Int).ModSqrt(mul(edP, plus(edP, yy, minus(edP, one)), inverse(edP, plus(edP, mul(edP, edD, yy), one))), edP)
	return x != nil && equal(times(2, big.NewInt(8), xy{x, y}), identityOf(2))
}

// A checkpoint is the text of a note.
type checkpoint struct {
	text, origin string
	size         int64
	root         []byte
}

type sigLine struct {
	name string
	raw  []byte // id and signature
}

// parseNote reads a signed note and its checkpoint.
func parseNote(note []byte) (c checkpoint, sigs []sigLine, err error) {
	s := string(note)
	i := strings.LastIndex(s, "\n\n")
	if len(note) > 65536 || i < 0 || !strings.HasSuffix(s, "\n") {
		return c, nil, refuse("no note")
	}
	c.text = s[:i+1]
	lines := strings.Split(c.text, "\n")
	if len(lines) != 4 || !nameOK(lines[0]) {
		return c, nil, refuse("no checkpoint of three lines")
	}
	c.origin = lines[0]
	if c.size, err = strconv.ParseInt(lines[1], 10, 64); err != nil || strconv.FormatInt(c.size, 10) != lines[1] || c.size < 0 || c.size > 1<<48 {
		return c, nil, refuse("size %q", lines[1])
	}
	if c.root, err = base64Of(lines[2]); err != nil || len(c.root) != 32 {
		return c, nil, refuse("root %q", lines[2])
	}
	if empty := sha256.Sum256(nil); c.size == 0 && !bytes.Equal(c.root, empty[:]) {
		return c, nil, refuse("an empty log with a root")
	}
	rest := strings.Split(strings.TrimSuffix(s[i+2:], "\n"), "\n")
	if len(rest) > 100 {
		return c, nil, refuse("%d signature lines", len(rest))
	}
	for _, line := range rest {
		f := strings.Split(line, " ")
		if len(f) != 3 || f[0] != "—" || !nameOK(f[1]) {
			return c, nil, refuse("signature line %q", line)
		}
		raw, err := base64.StdEncoding.DecodeString(f[2])
		if err != nil || len(raw) < 5 {
			return c, nil, refuse("signature line %q", line)
		}
		sigs = append(sigs, sigLine{f[1], raw})
	}
	return c, sigs, nil
}

// sigOf finds the first line by a key and verifies it; for a witness it returns
// the stamp.
func sigOf(c checkpoint, sigs []sigLine, k vkey) (stamp int64, found bool, err error) {
	for _, s := range sigs {
		if s.name != k.name || !bytes.Equal(s.raw[:4], k.id) {
			continue
		}
		sig, message := s.raw[4:], c.text
		if k.kind == 4 {
			if len(sig) != 72 || sig[0] > 127 {
				return 0, false, refuse("a cosignature of %d bytes", len(sig))
			}
			stamp = int64(binary.BigEndian.Uint64(sig))
			sig, message = sig[8:], fmt.Sprintf("cosignature/v1\ntime %d\n%s", stamp, c.text)
		}
		if !ed25519.Verify(k.public, []byte(message), sig) {
			return 0, false, refuse("the signature of %s is wrong", k.name)
		}
		return stamp, true, nil
	}
	return 0, false, nil
}

type group struct {
	log       vkey
	witnesses []vkey
	k, f      int
}

func parseGroup(log string, witnesses []string, k, f int) (g group, err error) {
	if g.log, err = parseVKey(log, 1); err != nil {
		return g, err
	}
	g.k, g.f = k, f
	n := len(witnesses)
	if n > 32 || 2*k <= n+f || k < 2*f+1 || k > n || f < 0 {
		return g, refuse("group of %d, %d of them, %d wrong", n, k, f)
	}
	seen := map[string]bool{g.log.name: true, string(g.log.public): true}
	for _, w := range witnesses {
		x, err := parseVKey(w, 4)
		if err != nil {
			return g, err
		}
		if seen[x.name] || seen[string(x.public)] {
			return g, refuse("%s is there twice", x.name)
		}
		seen[x.name], seen[string(x.public)] = true, true
		g.witnesses = append(g.witnesses, x)
	}
	return g, nil
}

// counts verifies that a note counts under the group, and returns its time.
func (g group) counts(note []byte) (c checkpoint, time int64, err error) {
	c, sigs, err := parseNote(note)
	if err != nil {
		return c, 0, err
	}
	if c.origin != g.log.name {
		return c, 0, refuse("a note of %s", c.origin)
	}
	if _, ok, err := sigOf(c, sigs, g.log); err != nil || !ok {
		return c, 0, refuse("the log's signature: %v", err)
	}
	var stamps []int64
	for _, w := range g.witnesses {
		stamp, ok, err := sigOf(c, sigs, w)
		if err != nil {
			return c, 0, err
		}
		if ok {
			stamps = append(stamps, stamp)
		}
	}
	if len(stamps) < g.k {
		return c, 0, refuse("%d cosignatures", len(stamps))
	}
	slices.Sort(stamps)
	return c, stamps[(len(stamps)-1)/2], nil
}

func node(l, r []byte) []byte {
	h := sha256.Sum256(append(append([]byte{1}, l...), r...))
	return h[:]
}

func leaf(e []byte) []byte {
	h := sha256.Sum256(append([]byte{0}, e...))
	return h[:]
}

// included checks a proof of inclusion (RFC 6962 section 2.1.1).
func included(size int64, root []byte, at int64, entry []byte, proof [][]byte) error {
	if at < 0 || at >= size || size > 1<<48 {
		return refuse("position %d of %d", at, size)
	}
	h, i, last := leaf(entry), at, size-1
	for _, p := range proof {
		if last == 0 || len(p) != 32 {
			return refuse("a proof too long")
		}
		if i&1 == 1 || i == last {
			h = node(p, h)
			for i&1 == 0 && i != 0 {
				i, last = i>>1, last>>1
			}
		} else {
			h = node(h, p)
		}
		i, last = i>>1, last>>1
	}
	if last != 0 || !bytes.Equal(h, root) {
		return refuse("the proof does not hold")
	}
	return nil
}

// continues checks a proof of consistency (RFC 6962 section 2.1.2).
func continues(old int64, oldRoot []byte, size int64, root []byte, proof [][]byte) error {
	bad := refuse("size %d does not continue %d", size, old)
	empty := sha256.Sum256(nil)
	switch {
	case old < 0 || old > size || size > 1<<48:
		return bad
	case old == 0 && (len(proof) > 0 || !bytes.Equal(oldRoot, empty[:])):
		return bad
	case old == size && (len(proof) > 0 || !bytes.Equal(root, oldRoot)):
		return bad
	case old == 0, old == size:
		return nil
	}
	if old&(old-1) == 0 {
		proof = append([][]byte{oldRoot}, proof...)
	}
	if len(proof) == 0 {
		return bad
	}
	i, last := old-1, size-1
	for i&1 == 1 {
		i, last = i>>1, last>>1
	}
	was, now := proof[0], proof[0]
	for _, p := range proof[1:] {
		if last == 0 {
			return bad
		}
		if i&1 == 1 || i == last {
			was, now = node(p, was), node(p, now)
			for i&1 == 0 && i != 0 {
				i, last = i>>1, last>>1
			}
		} else {
			now = node(now, p)
		}
		i, last = i>>1, last>>1
	}
	if last != 0 || !bytes.Equal(was, oldRoot) || !bytes.Equal(now, root) {
		return bad
	}
	return nil
}

// rootOf computes the root of a whole list of entries.
func rootOf(entries [][]byte) []byte {
	switch len(entries) {
	case 0:
		h := sha256.Sum256(nil)
		return h[:]
	case 1:
		return leaf(entries[0])
	}
	k := 1 << (bits.Len(uint(len(entries)-1)) - 1)
	return node(rootOf(entries[:k]), rootOf(entries[k:]))
}

// parseFrontier reads the right edge of a tree.
func parseFrontier(b []byte) (size int64, root []byte, err error) {
	if len(b) < 8 {
		return 0, nil, refuse("a frontier of %d bytes", len(b))
	}
	n := binary.BigEndian.Uint64(b)
	if n > 1<<48 || len(b) != 8+32*bits.OnesCount64(n) {
		return 0, nil, refuse("a frontier of size %d with %d bytes", n, len(b))
	}
	if n == 0 {
		return 0, rootOf(nil), nil
	}
	root = b[len(b)-32:]
	for i := len(b) - 64; i >= 8; i -= 32 {
		root = node(b[i:i+32], root)
	}
	return int64(n), root, nil
}

func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
