package head_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"latchkey/head"
	"latchkey/spec/vectors"
)

var update = flag.Bool("update", false, "write spec/vectors/head anew")

func check[T any](t *testing.T, file, about string, cases []T, top func(T) (name, expect string), run func(T) error) {
	t.Helper()
	vectors.Check(t, *update, "../spec/vectors/head/"+file, vectors.File[T]{About: about, Cases: cases}, top, run)
}

// keyVector is a vkey to be read as one of the two kinds.
type keyVector struct {
	Name   string      `json:"name"`
	Expect string      `json:"expect"`
	Kind   string      `json:"kind"`
	VKey   string      `json:"vkey"`
	Public vectors.Hex `json:"public,omitempty"`
}

func TestKeyVectors(t *testing.T) {
	log, wit := logKey(t, origin), witnessKey(t, "w0.example")
	weak := "w0.example+%s"
	var cases []keyVector
	add := func(name, expect, kind, vkey string, public ed25519.PublicKey) {
		cases = append(cases, keyVector{name, expect, kind, vkey, vectors.Hex(public)})
	}
	add("log", "ok", "log", log.String(), log.Public())
	add("witness", "ok", "witness", wit.String(), wit.Public())
	add("a witness's key for a log", "error: signature type 0x04", "log", wit.String(), nil)
	add("a log's key for a witness", "error: signature type 0x01", "witness", log.String(), nil)
	add("wrong id", "error: wrong id", "log", strings.Replace(log.String(), "+"+fmt.Sprintf("%08x", log.KeyHash()), "+00000000", 1), nil)
	add("id in capitals", "error: canonical", "log", strings.Replace(log.String(), fmt.Sprintf("%08x", log.KeyHash()), strings.ToUpper(fmt.Sprintf("%08x", log.KeyHash())), 1), nil)
	add("no id", "error: vkey is not", "log", strings.Replace(log.String(), "+"+fmt.Sprintf("%08x", log.KeyHash()), "", 1), nil)
	add("space in the name", "error: visible ASCII", "log", strings.Replace(log.String(), "escrow", "escrow ", 1), nil)
	add("name not ASCII", "error: visible ASCII", "log", strings.Replace(log.String(), "escrow", "escröw", 1), nil)
	add("key too short", "error: has 31 bytes", "log", "escrow.example/log+00000000+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", nil)
	add("identity point", "error: small order", "witness", fmt.Sprintf(weak, "00000000+BAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), nil)
	add("y = 0, order 4", "error: small order", "witness", fmt.Sprintf(weak, "00000000+BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), nil)
	add("trailing newline", "error: canonical", "log", log.String()+"\n", nil)
	check(t, "key.json", "vkeys (C2SP signed-note) of logs, type 0x01, and of witnesses, type 0x04.", cases,
		func(c keyVector) (string, string) { return c.Name, c.Expect },
		func(c keyVector) error {
			var public ed25519.PublicKey
			var text string
			if c.Kind == "log" {
				k, err := head.ParseLogKey(c.VKey)
				if err != nil {
					return err
				}
				public, text = k.Public(), k.String()
			} else {
				k, err := head.ParseWitnessKey(c.VKey)
				if err != nil {
					return err
				}
				public, text = k.Public(), k.String()
			}
			if !bytes.Equal(public, c.Public) || text != c.VKey {
				return fmt.Errorf("read as %s, %x", text, public)
			}
			return nil
		})
}

// headVector is a note to be verified by a group.
type headVector struct {
	Name      string            `json:"name"`
	Expect    string            `json:"expect"`
	Log       head.LogKey       `json:"log"`
	Witnesses []head.WitnessKey `json:"witnesses"`
	K         int               `json:"k"`
	F         int               `json:"f"`
	Note      string            `json:"note"`
	Size      int64             `json:"size"`
	Root      vectors.Hex       `json:"root,omitempty"`
	Time      int64             `json:"time"`
}

func TestHeadVectors(t *testing.T) {
	c := newTree(t, "entry", 3).at(3)
	signed := sign(t, c)
	line := func(name string, now int64) []byte { return cosign(t, name, signed, now) }
	w := func(i int, now int64) []byte { return line(witnessName(i), now) }
	three := slices.Concat(signed, w(0, 1790000030), w(2, 1790000010), w(3, 1790000020))
	text, logLine, _ := bytes.Cut(signed, []byte("\n\n"))
	edit := func(from, to string) []byte {
		out := bytes.Replace(three, []byte(from), []byte(to), 1)
		if bytes.Equal(out, three) {
			t.Fatalf("%q is not in the note", from)
		}
		return out
	}
	broken := slices.Clone(three)
	if at := len(broken) - 20; broken[at] == 'A' {
		broken[at] = 'B'
	} else {
		broken[at] = 'A'
	}
	var cases []headVector
	add := func(name, expect string, n, k, f int, note []byte, time int64) {
		g := newGroup(t, n, k, f)
		v := headVector{Name: name, Expect: expect, Log: g.Log, Witnesses: g.Witnesses, K: k, F: f, Note: string(note)}
		if expect == "ok" {
			v.Size, v.Root, v.Time = c.Size, vectors.Hex(c.Root[:]), time
		}
		cases = append(cases, v)
	}
	add("three of four", "ok", 4, 3, 1, three, 1790000020)
	add("four of four: the lower of the middle stamps", "ok", 4, 3, 1, slices.Concat(three, w(1, 1790000000)), 1790000010)
	add("one lying clock", "ok", 4, 3, 1, slices.Concat(signed, w(0, 1<<60), w(1, 1790000001), w(2, 1790000002)), 1790000002)
	add("a stranger's line is ignored", "ok", 4, 3, 1, slices.Concat(three, line("stranger.example", 5)), 1790000020)
	add("two of four", "error: no quorum", 4, 3, 1, slices.Concat(signed, w(0, 1790000030), w(2, 1790000010)), 0)
	add("one witness twice", "error: no quorum", 4, 3, 1, slices.Concat(signed, w(0, 1790000030), w(0, 1790000031), w(1, 1790000010)), 0)
	add("a stranger does not count", "error: no quorum", 4, 3, 1, slices.Concat(signed, w(0, 1790000030), w(1, 1790000030), line("stranger.example", 1790000030)), 0)
	add("a wrong cosignature beside enough right ones", "error: bad signature", 4, 3, 1, slices.Concat(broken, w(1, 1790000000)), 0)
	add("a changed stamp", "error: bad signature", 4, 3, 1, moveStamp(t, three), 0)
	add("another size under the signatures", "error: bad signature", 4, 3, 1, edit("\n3\n", "\n4\n"), 0)
	add("another origin under the signatures", "error: bad signature", 4, 3, 1, edit("escrow.example/log\n", "escrow.example/other\n"), 0)
	add("no signature of the log", "error: bad signature", 4, 3, 1, slices.Concat(text, []byte("\n\n"), three[len(signed):]), 0)
	add("an extension line", "error: want three lines", 4, 3, 1, slices.Concat(text, []byte("\nextension\n\n"), logLine), 0)
	add("a size with a leading zero", "error: malformed size", 4, 3, 1, edit("\n3\n", "\n03\n"), 0)
	add("a size above 2^48", "error: malformed size", 4, 3, 1, edit("\n3\n", "\n281474976710657\n"), 0)
	add("a root of 31 bytes", "error: malformed hash", 4, 3, 1, edit(c.Root.String(), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="), 0)
	add("an empty log with a root", "error: size 0", 4, 3, 1, edit("\n3\n", "\n0\n"), 0)
	add("no end of line", "error: malformed", 4, 3, 1, three[:len(three)-1], 0)
	add("carriage returns", "error: malformed", 4, 3, 1, bytes.ReplaceAll(three, []byte("\n"), []byte("\r\n")), 0)
	add("a group in which 2k = n + f", "error: does not hold", 4, 3, 2, three, 0)
	add("a group whose median a liar can move", "error: does not hold", 3, 2, 1, three, 0)
	check(t, "head.json", "Notes to be verified by a log's key and k of n witnesses of whom f may be wrong; time is the median stamp.", cases,
		func(c headVector) (string, string) { return c.Name, c.Expect },
		func(c headVector) error {
			got, err := head.Group{Log: c.Log, Witnesses: c.Witnesses, K: c.K, F: c.F}.Verify([]byte(c.Note))
			if err != nil {
				return err
			}
			if got.Size != c.Size || !bytes.Equal(got.Root[:], c.Root) || got.Time != c.Time {
				return fmt.Errorf("read as %+v", got)
			}
			return nil
		})
}

// moveStamp moves the stamp of a note's last cosignature by some seconds.
func moveStamp(t *testing.T, note []byte) []byte {
	out := slices.Clone(note)
	at := bytes.LastIndexByte(out, ' ') + 14 // within the base64 of the stamp's low bytes
	if out[at] == 'A' {
		out[at] = 'B'
	} else {
		out[at] = 'A'
	}
	if bytes.Equal(out, note) {
		t.Fatal("the stamp was not moved")
	}
	return out
}

// proofVector is an inclusion proof, where entry is there, or a consistency
// proof from old.
type proofVector struct {
	Name    string        `json:"name"`
	Expect  string        `json:"expect"`
	Size    int64         `json:"size"`
	Root    vectors.Hex   `json:"root"`
	Index   int64         `json:"index"`
	Entry   vectors.Hex   `json:"entry,omitempty"`
	Old     int64         `json:"old"`
	OldRoot vectors.Hex   `json:"old_root,omitempty"`
	Proof   []vectors.Hex `json:"proof"`
}

func toHex(hashes []head.Hash) []vectors.Hex {
	out := []vectors.Hex{}
	for _, h := range hashes {
		out = append(out, vectors.Hex(h[:]))
	}
	return out
}

func fromHex(in []vectors.Hex) ([]head.Hash, error) {
	var out []head.Hash
	for _, h := range in {
		if len(h) != len(head.Hash{}) {
			return nil, errors.New("not a hash")
		}
		out = append(out, head.Hash(h))
	}
	return out, nil
}

func TestProofVectors(t *testing.T) {
	r := newTree(t, "entry", 9)
	var inclusion, consistency []proofVector
	include := func(name, expect string, index, size int, change func(*proofVector)) {
		c := r.at(size)
		v := proofVector{Name: name, Expect: expect, Size: c.Size, Root: vectors.Hex(slices.Clone(c.Root[:])), Index: int64(index), Entry: r.entries[index], Proof: toHex(r.inclusion(t, index, size))}
		if change != nil {
			change(&v)
		}
		inclusion = append(inclusion, v)
	}
	for _, p := range [][2]int{{0, 1}, {0, 2}, {1, 2}, {2, 3}, {4, 7}, {8, 9}, {3, 9}} {
		include(fmt.Sprintf("entry %d of %d", p[0], p[1]), "ok", p[0], p[1], nil)
	}
	const fails = "error: proof does not hold"
	include("another entry", fails, 4, 7, func(v *proofVector) { v.Entry = vectors.Hex("another") })
	include("another index", fails, 4, 7, func(v *proofVector) { v.Index = 5 })
	include("index at the size", fails, 4, 7, func(v *proofVector) { v.Index = 7 })
	include("negative index", fails, 4, 7, func(v *proofVector) { v.Index = -1 })
	include("another root", fails, 4, 7, func(v *proofVector) { v.Root[0] ^= 1 })
	include("another size", fails, 4, 7, func(v *proofVector) { v.Size = 9 })
	include("a hash too few", fails, 4, 7, func(v *proofVector) { v.Proof = v.Proof[1:] })
	include("a hash too many", fails, 4, 7, func(v *proofVector) { v.Proof = append(v.Proof, v.Proof[0]) })
	include("a size above 2^48", "error: outside 0..2^48", 4, 7, func(v *proofVector) { v.Size = 1<<63 - 1 })

	extend := func(name, expect string, old, size int, change func(*proofVector)) {
		o, c := r.at(old), r.at(size)
		v := proofVector{Name: name, Expect: expect, Size: c.Size, Root: vectors.Hex(slices.Clone(c.Root[:])), Old: o.Size, OldRoot: vectors.Hex(slices.Clone(o.Root[:])), Proof: toHex(r.consistency(t, old, size))}
		if change != nil {
			change(&v)
		}
		consistency = append(consistency, v)
	}
	for _, p := range [][2]int{{0, 0}, {0, 5}, {1, 2}, {3, 7}, {4, 8}, {6, 9}, {7, 7}} {
		extend(fmt.Sprintf("%d to %d", p[0], p[1]), "ok", p[0], p[1], nil)
	}
	extend("another old root", fails, 3, 7, func(v *proofVector) { v.OldRoot[0] ^= 1 })
	extend("another new root", fails, 3, 7, func(v *proofVector) { v.Root[0] ^= 1 })
	extend("the same size, another root", fails, 7, 7, func(v *proofVector) { v.Root[0] ^= 1 })
	extend("backwards", fails, 3, 7, func(v *proofVector) { v.Old, v.Size, v.OldRoot, v.Root = v.Size, v.Old, v.Root, v.OldRoot })
	extend("a hash too few", fails, 3, 7, func(v *proofVector) { v.Proof = v.Proof[1:] })
	extend("a hash too many", fails, 3, 7, func(v *proofVector) { v.Proof = append(v.Proof, v.Proof[0]) })
	extend("from 0 with a proof", fails, 0, 5, func(v *proofVector) { v.Proof = append(v.Proof, v.Root) })
	extend("from 0 with another old root", "error: size 0", 0, 5, func(v *proofVector) { v.OldRoot[0] ^= 1 })

	top := func(c proofVector) (string, string) { return c.Name, c.Expect }
	check(t, "inclusion.json", "Inclusion proofs, RFC 6962 section 2.1.1: entry has index, from 0, in the tree of size.", inclusion, top, func(v proofVector) error {
		proof, err := fromHex(v.Proof)
		if err != nil {
			return err
		}
		return head.VerifyInclusion(head.Checkpoint{Origin: origin, Size: v.Size, Root: head.Hash(v.Root)}, v.Index, v.Entry, proof)
	})
	check(t, "consistency.json", "Consistency proofs, RFC 6962 section 2.1.2: the tree of size begins with that of old.", consistency, top, func(v proofVector) error {
		proof, err := fromHex(v.Proof)
		if err != nil {
			return err
		}
		return head.VerifyConsistency(head.Checkpoint{Origin: origin, Size: v.Old, Root: head.Hash(v.OldRoot)}, head.Checkpoint{Origin: origin, Size: v.Size, Root: head.Hash(v.Root)}, proof)
	})
}

// frontierVector is an encoded frontier and the root it gives.
type frontierVector struct {
	Name     string      `json:"name"`
	Expect   string      `json:"expect"`
	Frontier vectors.Hex `json:"frontier"`
	Size     int64       `json:"size"`
	Root     vectors.Hex `json:"root,omitempty"`
}

func TestFrontierVectors(t *testing.T) {
	r := newTree(t, "entry", 9)
	var cases []frontierVector
	var f head.Frontier
	for size := range 10 {
		if size > 0 {
			if err := f.Append(r.entries[size-1]); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := f.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		root := naiveRoot(r.entries[:size])
		cases = append(cases, frontierVector{Name: fmt.Sprintf("%d entries", size), Expect: "ok", Frontier: raw, Size: int64(size), Root: vectors.Hex(root[:])})
	}
	whole := cases[7].Frontier
	cases = append(cases,
		frontierVector{Name: "empty", Expect: "error: malformed", Frontier: vectors.Hex{}},
		frontierVector{Name: "truncated", Expect: "error: malformed", Frontier: whole[:len(whole)-1]},
		frontierVector{Name: "a hash too few", Expect: "error: malformed", Frontier: whole[:len(whole)-32]},
		frontierVector{Name: "a trailing byte", Expect: "error: malformed", Frontier: append(slices.Clone(whole), 0)},
		frontierVector{Name: "a size above 2^48", Expect: "error: malformed", Frontier: append(vectors.Hex{0, 1, 0, 0, 0, 0, 0, 1}, whole[8:72]...)},
	)
	check(t, "frontier.json", `Frontiers of the entries "entry 0", "entry 1", ...: the size, eight bytes big-endian, and the roots of its full subtrees, the largest first.`, cases,
		func(c frontierVector) (string, string) { return c.Name, c.Expect },
		func(c frontierVector) error {
			var f head.Frontier
			if err := f.UnmarshalBinary(c.Frontier); err != nil {
				return err
			}
			root := f.Root()
			if f.Size() != c.Size || !bytes.Equal(root[:], c.Root) {
				return fmt.Errorf("size %d, root %x", f.Size(), root)
			}
			return nil
		})
}
