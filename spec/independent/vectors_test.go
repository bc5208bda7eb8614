package independent_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A testCase is one case of a file of vectors, by its fields' names.
type testCase map[string]any

func (c testCase) str(k string) string { s, _ := c[k].(string); return s }

func (c testCase) int(k string) int64 {
	n, _ := c[k].(json.Number)
	i, _ := n.Int64()
	return i
}

func unhex(v any) []byte {
	s, _ := v.(string)
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func (c testCase) hex(k string) []byte { return unhex(c[k]) }

func (c testCase) hexes(k string) (out [][]byte) {
	l, _ := c[k].([]any)
	for _, x := range l {
		out = append(out, unhex(x))
	}
	return out
}

func (c testCase) strs(k string) (out []string) {
	l, _ := c[k].([]any)
	for _, x := range l {
		out = append(out, x.(string))
	}
	return out
}

func cases(t testing.TB, file string) (out []testCase) {
	t.Helper()
	raw, err := os.ReadFile("../vectors/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Cases []testCase
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&f); err != nil {
		t.Fatal(err)
	}
	return f.Cases
}

// TestVectors judges the vectors of wire, key, head, log, session, settle and oracle
// a second time, and of direct the requests. A file in one of these folders, but for
// the last, without a judge fails.
func TestVectors(t *testing.T) {
	log := logOf(t)
	group := groupOf(t)
	judges := map[string]func(testCase) error{
		"wire/amount.json": amounts,
		"wire/denomination.json": func(c testCase) error {
			d, err := read(c.hex("cbor"), denomination)
			if err != nil {
				return err
			}
			return checkDenomination(d)
		},
		"wire/hash.json": func(c testCase) error { return same(hash(c.str("purpose"), c.hex("bytes")), c.hex("hash")) },
		"wire/identity.json": func(c testCase) error {
			v := map[uint64]any{1: c.hex("sign"), 2: c.hex("kem")}
			if err := identity(v); err != nil {
				return err
			}
			return same(hash("latchkey/identity/v1", encode(v)), c.hex("id"))
		},
		"wire/signature.json": signedBy,
		"log/signed.json":     signedBy,

		"key/point.json": func(c testCase) error {
			_, err := parsePoint(keyTypes[c.str("type")], c.hex("point"))
			return err
		},
		"key/share.json": func(c testCase) error {
			kind := keyTypes[c.str("type")]
			k, err := parseScalar(kind, c.hex("scalar"))
			if err != nil {
				return err
			}
			p, err := parsePoint(kind, c.hex("public"))
			if err != nil || !equal(p, times(kind, k, base(kind))) {
				return fmt.Errorf("another point: %w", err)
			}
			return nil
		},

		"key/proof.json":       proof,
		"key/refresh.json":     refresh,
		"key/tree.json":        path,
		"key/generation.json":  generation,
		"key/certificate.json": signedCertificate,

		"head/key.json": func(c testCase) error {
			k, err := parseVKey(c.str("vkey"), map[string]byte{"log": 1, "witness": 4}[c.str("kind")])
			if err != nil {
				return err
			}
			return same(k.public, c.hex("public"))
		},
		"head/head.json": func(c testCase) error {
			g, err := parseGroup(c.str("log"), c.strs("witnesses"), int(c.int("k")), int(c.int("f")))
			if err != nil {
				return err
			}
			h, time, err := g.counts([]byte(c.str("note")))
			if err == nil && (h.size != c.int("size") || time != c.int("time") || !bytes.Equal(h.root, c.hex("root"))) {
				err = errors.New("another head")
			}
			return err
		},
		"head/inclusion.json": func(c testCase) error {
			return included(c.int("size"), c.hex("root"), c.int("index"), c.hex("entry"), c.hexes("proof"))
		},
		"head/consistency.json": func(c testCase) error {
			return continues(c.int("old"), c.hex("old_root"), c.int("size"), c.hex("root"), c.hexes("proof"))
		},
		"head/frontier.json": func(c testCase) error {
			size, root, err := parseFrontier(c.hex("frontier"))
			if err != nil {
				return err
			}
			if size != c.int("size") {
				return errors.New("another size")
			}
			return same(root, c.hex("root"))
		},
		"head/witness.json": asked,

		"log/log.json": func(c testCase) error {
			_, _, _, err := readEntry(c.hex("cbor"))
			return err
		},
		"log/deviation.json": func(c testCase) error {
			a := newAuditor(group)
			for _, e := range log[:c.int("at")] {
				if err := a.take(e); err != nil {
					panic(err)
				}
			}
			return a.take(c.hex("cbor"))
		},
		"log/statement.json": func(c testCase) error {
			g, err := parseGroup(c.str("log"), c.strs("witnesses"), int(c.int("k")), int(c.int("f")))
			if err != nil {
				return err
			}
			h, _, err := g.counts([]byte(c.str("note")))
			if err == nil {
				err = included(h.size, h.root, c.int("position"), c.hex("entry"), c.hexes("proof"))
			}
			if err == nil {
				_, _, _, err = readEntry(c.hex("entry"))
			}
			return err
		},
		"log/feed.json": func(c testCase) error { return feed(log, c) },

		"session/handshake.json": handshake,
		"session/frame.json":     frames,
		"session/mailbox.json":   mail,
		"session/message.json":   message,

		"settle/plan.json": plans,
		"settle/run.json":  runs,

		"oracle/value.json":  oracleValue,
		"oracle/median.json": median,
		"oracle/fraud.json":  fraud,

		"direct/request.json": paymentRequest,
	}
	for _, dir := range []string{"wire", "key", "head", "log", "session", "settle", "oracle"} {
		files, err := filepath.Glob("../vectors/" + dir + "/*.json")
		if err != nil || len(files) == 0 {
			t.Fatalf("no vectors in %s: %v", dir, err)
		}
		for _, f := range files {
			if judges[dir+"/"+filepath.Base(f)] == nil {
				t.Errorf("%s/%s has no judge here", dir, filepath.Base(f))
			}
		}
	}
	for file, judge := range judges {
		t.Run(file, func(t *testing.T) {
			judged := 0
			for _, c := range cases(t, file) {
				if needs := c.str("needs"); needs == "contract" || needs == "birth" {
					continue // log.md says what they need besides
				}
				judged++
				err := judge(c)
				if ok := c.str("expect") == "ok"; ok != (err == nil) {
					t.Errorf("%s: expected %q, got %v", c.str("name"), c.str("expect"), err)
				}
			}
			if judged < 3 {
				t.Errorf("%d cases judged", judged)
			}
		})
	}
}

func same(got, want []byte) error {
	if !bytes.Equal(got, want) {
		return fmt.Errorf("got %x, want %x", got, want)
	}
	return nil
}

func signedBy(c testCase) error {
	id, _, _ := named(c.str("identity"))
	return verify(id[1].([]byte), c.str("purpose"), c.hex("body"), c.hex("sig"))
}

func amounts(c testCase) error {
	var fromText *big.Int
	if s := c.str("text"); s != "" {
		n, ok := new(big.Int).SetString(s, 10)
		if !ok || n.Sign() < 0 || n.BitLen() > 128 || n.String() != s {
			return errors.New("no amount")
		}
		fromText = n
	}
	v, err := decode(c.hex("cbor"))
	if err == nil {
		err = octets(16)(v)
	}
	if err == nil && fromText.Cmp(new(big.Int).SetBytes(v.([]byte))) != 0 {
		err = errors.New("text and bytes differ")
	}
	return err
}

// asked decides a request to a witness as witness.md says.
func asked(c testCase) error {
	seen := testCase(c["seen"].(map[string]any))
	size, root := seen.int("size"), seen.hex("root")
	if size == 0 {
		root = rootOf(nil)
	}
	status := func(n int64) error {
		if n != c.int("status") {
			panic(fmt.Sprintf("%s: answers %d, want %d", c.str("name"), n, c.int("status")))
		}
		return errors.New("refused")
	}
	top, note, ok := strings.Cut(c.str("body"), "\n\n")
	lines := strings.Split(top, "\n")
	old, err := strconv.ParseInt(strings.TrimPrefix(lines[0], "old "), 10, 64)
	if !ok || err != nil || lines[0] != "old "+strconv.FormatInt(old, 10) || len(lines) > 64 {
		return status(400)
	}
	var proof [][]byte
	for _, l := range lines[1:] {
		h, err := base64Of(l)
		if err != nil || len(h) != 32 {
			return status(400)
		}
		proof = append(proof, h)
	}
	h, sigs, err := parseNote([]byte(note))
	if err != nil {
		return status(400)
	}
	log, err := parseVKey(c.str("log"), 1)
	if err != nil {
		panic(err)
	}
	if h.origin != log.name {
		return status(404)
	}
	if _, found, err := sigOf(h, sigs, log); err != nil || !found {
		return status(403)
	}
	switch {
	case old > h.size:
		return status(400)
	case old != size, h.size == size && !bytes.Equal(h.root, root):
		return status(409)
	case continues(size, root, h.size, h.root, proof) != nil:
		return status(422)
	}
	stamp := max(c.int("now"), seen.int("stamp"))
	k := ed25519.NewKeyFromSeed(c.hex("key"))
	name, public := c.str("witness"), k.Public().(ed25519.PublicKey)
	id := sha256.Sum256(append([]byte(name+"\n\x04"), public...))
	sig := ed25519.Sign(k, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", stamp, h.text))
	line := join(id[:4], binary.BigEndian.AppendUint64(nil, uint64(stamp)), sig)
	if want := "— " + name + " " + encode64(line) + "\n"; want != c.str("answer") {
		return fmt.Errorf("answers %q", want)
	}
	return nil
}

// logOf is the whole log of log.json.
func logOf(t *testing.T) (log [][]byte) {
	t.Helper()
	for _, c := range cases(t, "log/log.json") {
		if c.int("at") >= 0 {
			log = append(log, c.hex("cbor"))
		}
	}
	return log
}

func groupOf(t *testing.T) group {
	t.Helper()
	c := cases(t, "log/statement.json")[0]
	g, err := parseGroup(c.str("log"), c.strs("witnesses"), int(c.int("k")), int(c.int("f")))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestTheWholeLog follows it from its first entry to its last, and finds it under
// the head of statement.json.
func TestTheWholeLog(t *testing.T) {
	log := logOf(t)
	a := newAuditor(groupOf(t))
	for i, e := range log {
		if err := a.take(e); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
	h, _, err := a.group.counts([]byte(cases(t, "log/statement.json")[0].str("note")))
	if err != nil || h.size != int64(len(log)) || !bytes.Equal(h.root, rootOf(log)) {
		t.Errorf("the head is of %d entries with another root, the log has %d: %v", h.size, len(log), err)
	}
	swept := 0
	for _, c := range a.chunks {
		if c.swept {
			swept++
		}
		if c.instance != "" {
			t.Error("a chunk is in an instance at the end")
		}
	}
	if len(a.chunks) != 13 || swept != 1 {
		t.Errorf("%d chunks, %d swept; want 13 and 1", len(a.chunks), swept)
	}
}

// feed makes a vault's feed as api.md says, and compares.
func feed(log [][]byte, c testCase) error {
	_, me, _ := named(c.str("vault"))
	var out []int64
	owners, chains, parties := map[string]string{}, map[string][]int64{}, map[string][]string{}
	push := func(p ...int64) {
		for _, x := range p {
			if len(out) == 0 || out[len(out)-1] != x {
				out = append(out, x)
			}
		}
	}
	for i, raw := range log {
		p := int64(i)
		_, kind, e, err := readEntry(raw)
		if err != nil {
			return err
		}
		var touched []string
		switch kind {
		case 5:
			id := hash("latchkey/certificate/v1", encode(e[1]))
			owner, _ := one(e[1].(map[uint64]any)[7])
			for i := range e[2].([]any) {
				chunk := str(hash("latchkey/chunk/v1", binary.BigEndian.AppendUint32(bytes.Clone(id), uint32(i))))
				owners[chunk], touched = owner, append(touched, chunk)
			}
			if owner == string(me) {
				push(p)
			}
		case 6:
			g := e[1].(map[uint64]any)
			var bodies []any
			for _, s := range e[2].([]any) {
				bodies = append(bodies, s.(map[uint64]any)[1])
			}
			id := str(hash("latchkey/instance/v1", encode(bodies)))
			for _, x := range g[3].([]any) {
				v, _ := one(x)
				parties[id] = append(parties[id], v)
			}
			for _, pot := range g[4].([]any) {
				for _, s := range pot.([]any) {
					chunk := str(s.(map[uint64]any)[1])
					if chunk == string(make([]byte, 32)) {
						continue // it comes later
					}
					touched = append(touched, chunk)
					if slices.Contains(parties[id], string(me)) && owners[chunk] != string(me) {
						push(chains[chunk]...)
					}
				}
			}
			if slices.Contains(parties[id], string(me)) {
				push(p)
			}
		case 15:
			o := e[1].(map[uint64]any)
			for _, x := range o[3].([]any) {
				touched = append(touched, str(x.(map[uint64]any)[1]))
			}
			if !slices.Contains(parties[str(o[1])], string(me)) {
				break
			}
			for range 2 {
				for _, chunk := range touched {
					if owners[chunk] != string(me) {
						push(chains[chunk]...)
					}
				}
				push(p)
			}
		case 7, 8:
			if slices.Contains(parties[str(e[1])], string(me)) {
				push(p)
			}
		case 9:
			if slices.Contains(parties[str(e[1])], string(me)) {
				if clock := e[6].(uint64); clock > 0 {
					push(int64(clock) - 1)
				}
				push(p)
			}
			for _, x := range e[7].([]any) {
				chunk := str(x.(map[uint64]any)[1])
				owners[chunk], _ = one(x.(map[uint64]any)[2])
				touched = append(touched, chunk)
			}
			if e[9].(bool) {
				delete(parties, str(e[1]))
			}
		case 10, 12:
			if owner, _ := one(e[1]); owner == string(me) {
				push(p)
			}
			for _, x := range e[2].(map[uint64]any)[2].([]any) {
				touched = append(touched, str(x.(map[uint64]any)[1]))
			}
		}
		for _, chunk := range touched {
			chains[chunk] = append(chains[chunk], p)
		}
	}
	var want []int64
	for _, x := range c["positions"].([]any) {
		n, _ := x.(json.Number).Int64()
		want = append(want, n)
	}
	cursor := min(int(c.int("cursor")), len(out))
	end := len(out)
	if most := int(c.int("max")); most > 0 {
		end = min(end, cursor+most)
	}
	if !slices.Equal(out[cursor:end], want) {
		return fmt.Errorf("the feed is %v from %d, not %v", out, cursor, want)
	}
	return nil
}
