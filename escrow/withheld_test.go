package escrow

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"latchkey/contract/oracle"
	"latchkey/head"
	"latchkey/settle"
	"latchkey/vault"
	"latchkey/wire"
)

// A court has an escrow's log with one instance, a party's word and the receipt
// for it, and witnesses: all signed by hand, as spec/direct.md has it.
type court struct {
	t         testing.TB
	escrow    writer
	party     writer
	group     head.Group
	witnesses []ed25519.PrivateKey
	entries   [][]byte
	instance  wire.InstanceID
	lock      int                  // its position
	oracle    []ed25519.PrivateKey // in the order of their public keys
	parties   []vault.Recipients
}

func newCourt(t testing.TB) *court { return courtOf(t, rand.Text()) }

// courtOf has all keys from a name.
func courtOf(t testing.TB, name string) *court {
	t.Helper()
	key := func(who string) ed25519.PrivateKey {
		seed := sha256.Sum256([]byte(name + "/" + who))
		return ed25519.NewKeyFromSeed(seed[:])
	}
	c := &court{t: t, escrow: writerOf(t, key("escrow")), party: writerOf(t, key("party"))}
	log, err := head.NewLogKey("escrow.test/log", c.escrow.identity.Sign)
	if err != nil {
		t.Fatal(err)
	}
	c.group = head.Group{Log: log, K: 3, F: 1}
	for i := range 4 {
		private := key(fmt.Sprint("witness", i))
		k, err := head.NewWitnessKey(fmt.Sprintf("w%d.test", i), private.Public().(ed25519.PublicKey))
		if err != nil {
			t.Fatal(err)
		}
		c.group.Witnesses, c.witnesses = append(c.group.Witnesses, k), append(c.witnesses, private)
	}
	for range 5 {
		c.add(vault.Entry{Drop: &vault.Drop{Batch: wire.Hash{byte(len(c.entries))}}})
	}
	q := oracle.Quorum{Feed: "btc/usd", Need: 2}
	for i := range 3 {
		c.oracle = append(c.oracle, key(fmt.Sprint("oracle", i)))
	}
	slices.SortFunc(c.oracle, func(a, b ed25519.PrivateKey) int { return bytes.Compare(a[32:], b[32:]) })
	for _, k := range c.oracle {
		q.Keys = append(q.Keys, k[32:])
	}
	c.parties = []vault.Recipients{{writerOf(t, key("other")).id}, {c.party.id}}
	lock := vault.Entry{Lock: &vault.Lock{
		Agreement: vault.Agreement{
			Source: []byte("contract"), Parties: c.parties, Oracles: []oracle.Quorum{q},
		},
		Acceptances: []vault.SignedAcceptance{{Body: vault.Acceptance{Role: 0}}, {Body: vault.Acceptance{Role: 1}}},
	}}
	_, c.instance = lock.Touches()
	c.lock = len(c.entries)
	c.add(lock)
	c.add(vault.Entry{Run: &vault.Run{Instance: c.instance, Kind: vault.RunOpen}})
	return c
}

func (c *court) add(e vault.Entry) {
	c.t.Helper()
	b, err := wire.Marshal(e)
	if err != nil {
		c.t.Fatal(err)
	}
	c.entries = append(c.entries, b)
}

// word is one that the party says.
func (c *court) word(seq uint64) vault.SignedWord {
	c.t.Helper()
	w := vault.SignedWord{Body: vault.Word{Instance: c.instance, Role: 1, Seq: seq, Word: "dispute"}}
	b, err := wire.Marshal(w.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	w.Sig = wire.Sign(c.party.sign, "latchkey/word/v1", b)
	return w
}

// inTurns locks, in the log, an instance that is settled tit for tat: two chunks a side,
// four steps, of which the party of this court receives the first and the third.
func (c *court) inTurns() {
	c.t.Helper()
	a := vault.Agreement{
		Source:  []byte("contract Swap\nparties alice, bob\npot hers = 10 units from alice\npot his = 10 units from bob\nat open:\n  give all of hers to bob\n  give all of his to alice\n  close\n"),
		Parties: []vault.Recipients{c.parties[0], c.parties[1]}, Settle: vault.TitForTat, Pace: &settle.Pace{First: 5, Growth: 100, Most: 5, Wait: 60},
		Pots: [][]vault.Stake{{{Chunk: wire.ChunkID{1}, Weight: 5}, {Chunk: wire.ChunkID{2}, Weight: 5}}, {{Chunk: wire.ChunkID{3}, Weight: 5}, {Chunk: wire.ChunkID{4}, Weight: 5}}},
	}
	lock := vault.Entry{Lock: &vault.Lock{Agreement: a, Acceptances: []vault.SignedAcceptance{{Body: vault.Acceptance{Role: 0, Nonce: [16]byte{7}}}, {Body: vault.Acceptance{Role: 1}}}}}
	_, c.instance = lock.Touches()
	c.lock = len(c.entries)
	c.add(lock)
	c.add(vault.Entry{Run: &vault.Run{Instance: c.instance, Kind: vault.RunOpen}})
}

// step is what the party says of a step.
func (c *court) step(n uint32, failed bool) vault.SignedStep {
	c.t.Helper()
	w := vault.SignedStep{Body: vault.StepWord{Instance: c.instance, Step: n, Failed: failed}}
	b, err := wire.Marshal(w.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	w.Sig = wire.Sign(c.party.sign, "latchkey/step/v1", b)
	return w
}

// proofOfStep is the proof of a word about a step.
func (c *court) proofOfStep(s vault.SignedStep, by, at int64) Withheld {
	c.t.Helper()
	w := c.proof(c.word(1), by, at)
	w.Word, w.Step, w.Receipt = nil, &s, c.receipt(s, by)
	return w
}

// report is one that the oracle's first two keys signed.
func (c *court) report(at int64) vault.Report {
	c.t.Helper()
	r := vault.Report{Instance: c.instance, After: vault.Index(c.lock + 2)}
	for i, k := range c.oracle[:2] {
		s, err := oracle.Value{Feed: "btc/usd", Time: at, Value: int64(100 + i)}.Sign(k)
		if err != nil {
			c.t.Fatal(err)
		}
		r.Signed = append(r.Signed, s)
	}
	return r
}

func (c *court) receipt(w interface{ Hash() (wire.Hash, error) }, by int64) vault.Receipt {
	c.t.Helper()
	h, err := w.Hash()
	if err != nil {
		c.t.Fatal(err)
	}
	r := vault.Receipt{Word: h, By: by}
	b, err := wire.Marshal(r)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Sig = wire.Sign(c.escrow.sign, "latchkey/receipt/v1", b)
	return r
}

// head has all witnesses sign the log as it is.
func (c *court) head(at int64) []byte {
	c.t.Helper()
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(i []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(i))
		for j, x := range i {
			out[j] = hashes[x]
		}
		return out, nil
	})
	for i, e := range c.entries {
		h, err := tlog.StoredHashes(int64(i), e, reader)
		if err != nil {
			c.t.Fatal(err)
		}
		hashes = append(hashes, h...)
	}
	root, err := tlog.TreeHash(int64(len(c.entries)), reader)
	if err != nil {
		c.t.Fatal(err)
	}
	signed, err := head.SignCheckpoint(head.Checkpoint{Origin: "escrow.test/log", Size: int64(len(c.entries)), Root: head.Hash(root)}, c.escrow.sign)
	if err != nil {
		c.t.Fatal(err)
	}
	note := signed
	for i, k := range c.witnesses {
		d, err := head.Decide(c.group.Log, head.Seen{}, head.Request{Signed: signed}, at)
		if err != nil {
			c.t.Fatal(err)
		}
		line, err := d.Cosign(c.group.Witnesses[i].Name(), k)
		if err != nil {
			c.t.Fatal(err)
		}
		note = append(note, line...)
	}
	return note
}

// proof is what a client puts together of the log as it is.
func (c *court) proof(w vault.SignedWord, by, at int64) Withheld {
	c.t.Helper()
	var f head.Frontier
	for _, e := range c.entries[:c.lock] {
		if err := f.Append(e); err != nil {
			c.t.Fatal(err)
		}
	}
	before, err := f.MarshalBinary()
	if err != nil {
		c.t.Fatal(err)
	}
	return Withheld{
		Word: &w, Party: &c.party.identity, Escrow: c.escrow.identity, Receipt: c.receipt(w, by), Before: before,
		Entries: c.entries[c.lock:], Head: c.head(at),
	}
}

// proofOf is the same of a report.
func (c *court) proofOf(r vault.Report, by, at int64) Withheld {
	c.t.Helper()
	w := c.proof(c.word(1), by, at)
	w.Word, w.Party, w.Report, w.Receipt = nil, nil, &r, c.receipt(r, by)
	return w
}

func TestWithheld(t *testing.T) {
	c := newCourt(t)
	mine := c.word(1)
	other := c.word(2)
	c.add(vault.Entry{Run: &vault.Run{Instance: c.instance, Kind: vault.RunWord, Word: &other}})
	c.add(vault.Entry{Drop: &vault.Drop{}})
	good := func() Withheld { return c.proof(mine, 1000, 1001) }
	w := good()
	h, err := w.Check(c.group)
	if err != nil || h.Size != int64(len(c.entries)) || h.Time != 1001 {
		t.Fatalf("a word withheld is not proven: head of %d at %d: %v", h.Size, h.Time, err)
	}
	raw, err := wire.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	var again Withheld
	if err := wire.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Check(c.group); err != nil {
		t.Errorf("after a journey: %v", err)
	}

	// An escrow that kept its promise, or still may, cannot be accused.
	if _, err := c.proof(mine, 1000, 1000).Check(c.group); !errors.Is(err, ErrKept) {
		t.Errorf("at the promised second: %v", err)
	}
	if _, err := c.proof(other, 1000, 2000).Check(c.group); !errors.Is(err, ErrKept) {
		t.Errorf("of a word that is logged: %v", err)
	}
	stranger := newCourt(t)
	for _, x := range []struct {
		name   string
		change func(*Withheld)
	}{
		{"a receipt for another word", func(w *Withheld) { w.Receipt = c.receipt(other, 1000) }},
		{"an earlier promise than was made", func(w *Withheld) { w.Receipt.By = 500 }},
		{"a receipt of another escrow", func(w *Withheld) { w.Receipt = stranger.receipt(mine, 1000) }},
		{"another escrow", func(w *Withheld) { w.Escrow = stranger.escrow.identity }},
		{"a head of other witnesses", func(w *Withheld) { w.Head = stranger.head(1001) }},
		{"a head that no witness signed", func(w *Withheld) {
			s, _ := head.SignCheckpoint(head.Checkpoint{Origin: "escrow.test/log", Size: h.Size, Root: h.Root}, c.escrow.sign)
			w.Head = s
		}},
		{"the last entry left out", func(w *Withheld) { w.Entries = w.Entries[:len(w.Entries)-1] }},
		{"an entry left out", func(w *Withheld) { w.Entries = append([][]byte{w.Entries[0]}, w.Entries[2:]...) }},
		{"the lock left out", func(w *Withheld) { w.Entries = w.Entries[1:] }},
		{"all entries left out", func(w *Withheld) { w.Entries = nil }},
		{"the entries up to the head hidden before them", func(w *Withheld) {
			var f head.Frontier
			for _, e := range c.entries[:len(c.entries)-1] {
				_ = f.Append(e)
			}
			w.Before, _ = f.MarshalBinary()
			w.Entries = w.Entries[len(w.Entries)-1:]
		}},
		{"what came before changed", func(w *Withheld) { w.Before[9] ^= 1 }},
		{"what came before cut", func(w *Withheld) { w.Before = w.Before[:7] }},
		{"an entry that is none", func(w *Withheld) { w.Entries[1] = []byte("garbage") }},
		{"another party's keys", func(w *Withheld) { w.Party = &stranger.party.identity }},
		{"a role that is not there", func(w *Withheld) { x := *w.Word; x.Body.Role = 7; w.Word, w.Receipt = &x, c.receipt(x, 1000) }},
		{"a word that nobody signed", func(w *Withheld) { x := *w.Word; x.Sig = make([]byte, 64); w.Word, w.Receipt = &x, c.receipt(x, 1000) }},
		{"a word in another instance", func(w *Withheld) { x := stranger.word(1); w.Word, w.Receipt = &x, c.receipt(x, 1000) }},
	} {
		w := good()
		w.Entries = append([][]byte(nil), w.Entries...)
		x.change(&w)
		if _, err := w.Check(c.group); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	if _, err := w.Check(stranger.group); !errors.Is(err, ErrProof) {
		t.Errorf("under the keys of others: %v", err)
	}
	if _, err := (Withheld{}).Check(head.Group{}); !errors.Is(err, ErrProof) {
		t.Errorf("nothing under no keys: %v", err)
	}
}

// A word about a step is proven withheld as others are; who says it has to be the one
// that the step was for, by the plan of the agreement in the log.
func TestWithheldStep(t *testing.T) {
	c := newCourt(t)
	c.inTurns()
	mine, kept := c.step(3, true), c.step(1, false)
	c.add(vault.Entry{Run: &vault.Run{Instance: c.instance, Kind: vault.RunTaken, Step: &kept}})
	c.add(vault.Entry{Run: &vault.Run{Instance: c.instance, Kind: vault.RunLapsed}})
	good := c.proofOfStep(mine, 1000, 1001)
	if _, err := good.Check(c.group); err != nil {
		t.Fatalf("a step's word withheld is not proven: %v", err)
	}
	for _, x := range []struct {
		name string
		w    Withheld
		want error
	}{
		{"one that is logged", c.proofOfStep(kept, 1000, 1001), ErrKept},
		{"at the promised second", c.proofOfStep(mine, 1000, 1000), ErrKept},
		{"of a step that is another's", c.proofOfStep(c.step(2, false), 1000, 1001), ErrProof},
		{"of no step", c.proofOfStep(c.step(0, false), 1000, 1001), ErrProof},
		{"of a step that does not come", c.proofOfStep(c.step(5, false), 1000, 1001), ErrProof},
		{"a receipt for the opposite", func() Withheld { w := good; w.Receipt = c.receipt(c.step(3, false), 1000); return w }(), ErrProof},
		{"nobody's signature", func() Withheld {
			s := mine
			s.Sig = make([]byte, 64)
			return c.proofOfStep(s, 1000, 1001)
		}(), ErrProof},
		{"a word beside it", func() Withheld { w := good; x := c.word(1); w.Word = &x; return w }(), ErrProof},
		{"without its party", func() Withheld { w := good; w.Party = nil; return w }(), ErrProof},
	} {
		if _, err := x.w.Check(c.group); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", x.name, err, x.want)
		}
	}
	atomic := newCourt(t)
	if _, err := atomic.proofOfStep(atomic.step(1, false), 1000, 1001).Check(atomic.group); !errors.Is(err, ErrProof) {
		t.Errorf("of an instance without steps: %v", err)
	}
}
