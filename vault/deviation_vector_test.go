package vault_test

import (
	"fmt"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"latchkey/head"
	"latchkey/spec/vectors"
	"latchkey/vault"
	"latchkey/wire"
)

type deviationVector struct {
	Name   string      `json:"name"`
	Expect string      `json:"expect"`
	Vault  string      `json:"vault"`           // whose follower judges
	At     int64       `json:"at"`              // position
	Needs  string      `json:"needs,omitempty"` // beyond links and signatures
	CBOR   vectors.Hex `json:"cbor"`
}

// TestDeviationVectors shows real vaults what a broken escrow could write.
func TestDeviationVectors(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	var made []deviationVector
	change := func(name, want, who, needs string, at int64, f func(*vault.Entry)) {
		e, err := vault.ParseEntry(h.entries[at])
		if err != nil {
			t.Fatal(err)
		}
		f(&e)
		raw, err := wire.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		expect := "ok"
		if want != "" {
			expect = "error: " + want
		}
		made = append(made, deviationVector{name, expect, who, at, needs, raw})
	}
	flip := func(b []byte) { b[len(b)/2] ^= 1 }
	certify := h.find(0, func(e vault.Entry) bool { return e.Certify != nil })
	lock := h.find(0, func(e vault.Entry) bool { return e.Lock != nil })
	hand := h.find(0, func(e vault.Entry) bool { return e.Hand != nil })
	ack := h.find(0, func(e vault.Entry) bool { return e.Ack != nil })
	last := h.find(1, func(e vault.Entry) bool { return e.Ack != nil })
	open := h.find(0, func(e vault.Entry) bool { return e.Run != nil && e.Run.Kind == vault.RunOpen })
	word := h.find(1, func(e vault.Entry) bool { return e.Run != nil && e.Run.Kind == vault.RunWord })
	clock := h.find(0, func(e vault.Entry) bool { return e.Clock != nil })
	deadline := h.find(0, func(e vault.Entry) bool { return e.Run != nil && e.Run.Kind == vault.RunDeadline })
	abort := h.find(0, func(e vault.Entry) bool { return e.Run != nil && e.Run.Kind == vault.RunAbort })
	taken := h.find(0, func(e vault.Entry) bool { return e.Run != nil && e.Run.Kind == vault.RunTaken })
	lapsed := h.find(0, func(e vault.Entry) bool { return e.Run != nil && e.Run.Kind == vault.RunLapsed })
	failed := h.find(0, func(e vault.Entry) bool { return e.Run != nil && e.Run.Kind == vault.RunFailed })
	report := h.find(0, func(e vault.Entry) bool { return e.Run != nil && e.Run.Kind == vault.RunReport })
	deposit := h.find(0, func(e vault.Entry) bool { return e.Deposit != nil })
	share := h.find(0, func(e vault.Entry) bool { return e.Hand != nil && e.Hand.Deposit != 0 })
	found := h.find(0, func(e vault.Entry) bool { return e.Ack != nil && e.Ack.Deposit != 0 })
	counts := h.find(0, func(e vault.Entry) bool { return e.Run != nil && e.Run.Kind == vault.RunDeposit })
	returned := h.find(0, func(e vault.Entry) bool { return e.Run != nil && e.Run.Kind == vault.RunReturn })
	claim := h.find(0, func(e vault.Entry) bool { return e.Claim != nil })
	swept := h.find(0, func(e vault.Entry) bool { return e.Swept != nil })
	parse := func(at int64) vault.Entry {
		e, err := vault.ParseEntry(h.entries[at])
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	const gap, deviates = "entry between is missing", "deviates from what was agreed"

	for name, at := range map[string]int64{
		"certify": certify, "lock": lock, "hand": hand, "ack": ack, "open": open, "word": word, "clock": clock, "deadline": deadline,
		"abort": abort, "claim": claim, "swept": swept, "taken": taken, "lapsed": lapsed, "failed": failed,
		"report": report, "hand of a deposit": share, "ack of a deposit": found, "a deposit counts": counts, "a deposit goes back": returned,
	} {
		change("as it is: "+name, "", "alice", "", at, func(*vault.Entry) {})
	}
	slices.SortFunc(made, func(a, b deviationVector) int { return int(a.At - b.At) })

	change("certify: another key", deviates, "alice", "birth", certify, func(e *vault.Entry) { e.Certify.Points[0] = e.Certify.Points[1] })
	change("certify: another point of the escrow", deviates, "alice", "birth", certify, func(e *vault.Entry) { e.Certify.B[0] = e.Certify.B[1] })
	change("certify: fewer points of the escrow than keys", deviates, "alice", "", certify, func(e *vault.Entry) { e.Certify.B = e.Certify.B[:1] })

	change("lock: a chunk's past left out", gap, "alice", "", lock, func(e *vault.Entry) { e.Lock.Prev[0][1] = 0 })
	change("lock: another past", gap, "bob", "", lock, func(e *vault.Entry) { e.Lock.Prev[0][0] -= 2 })
	change("lock: the past of fewer chunks", deviates, "alice", "", lock, func(e *vault.Entry) { e.Lock.Prev[0] = e.Lock.Prev[0][:1] })
	change("lock: the past of fewer pots", deviates, "alice", "", lock, func(e *vault.Entry) { e.Lock.Prev = e.Lock.Prev[:1] })
	change("lock: other terms than accepted", deviates, "alice", "", lock, func(e *vault.Entry) { e.Lock.Agreement.LockBy++ })
	change("lock: an acceptance that nobody signed", deviates, "bob", "", lock, func(e *vault.Entry) { flip(e.Lock.Acceptances[0].Sig) })
	change("lock: acceptances in another order", deviates, "alice", "", lock, func(e *vault.Entry) { slices.Reverse(e.Lock.Acceptances) })
	change("lock: one acceptance is missing", deviates, "alice", "", lock, func(e *vault.Entry) { e.Lock.Acceptances = e.Lock.Acceptances[:1] })
	change("lock: too late", deviates, "alice", "", lock, func(e *vault.Entry) { e.At = e.Lock.Agreement.LockBy + 1 })
	change("lock: a second time, while locked", deviates, "alice", "", hand, func(e *vault.Entry) {
		again := parse(lock)
		again.Lock.Prev = [][]vault.Index{{uint64(lock) + 1, uint64(lock) + 1}, {uint64(lock) + 1}}
		*e = again
		flip(e.Lock.Acceptances[0].Body.Nonce[:])
	})

	change("hand: before the entry before", deviates, "alice", "", hand, func(e *vault.Entry) { e.At = parse(lock).At - 1 })
	change("open: before the entry before", deviates, "alice", "", open, func(e *vault.Entry) { e.At, e.Run.EventAt = parse(lock).At-1, parse(lock).At-1 })
	change("hand: another past", gap, "alice", "", hand, func(e *vault.Entry) { e.Hand.Prev-- })
	change("hand: by nobody", deviates, "alice", "", hand, func(e *vault.Entry) { e.Hand.Role = 2 })
	change("ack: another past", gap, "alice", "", ack, func(e *vault.Entry) { e.Ack.Prev-- })
	change("ack: not signed by its party", deviates, "alice", "", ack, func(e *vault.Entry) { flip(e.Ack.Sig) })
	change("ack: another party's", deviates, "alice", "", ack, func(e *vault.Entry) { e.Ack.Role = 1 - e.Ack.Role })

	change("run: instead of the last ack", gap, "alice", "", last, func(e *vault.Entry) { *e = parse(open) })
	change("run: opened before everybody has its shares", deviates, "alice", "contract", last, func(e *vault.Entry) {
		*e = parse(open)
		e.Run.Prev--
	})
	change("run: another past", gap, "alice", "", open, func(e *vault.Entry) { e.Run.Prev-- })
	change("run: opened at another time than its entry's", deviates, "alice", "", open, func(e *vault.Entry) { e.Run.EventAt-- })
	change("run: an unknown kind", deviates, "alice", "", open, func(e *vault.Entry) { e.Run.Kind = 200 })
	change("run: a word before it is open", deviates, "alice", "", open, func(e *vault.Entry) { e.Run.Kind = vault.RunWord })
	change("run: a deadline before it is open", deviates, "alice", "", open, func(e *vault.Entry) { e.Run.Kind = vault.RunDeadline })
	change("run: one chunk does not leave", deviates, "alice", "", open, func(e *vault.Entry) { e.Run.Exits = e.Run.Exits[1:] })
	change("run: a chunk leaves twice", deviates, "alice", "", open, func(e *vault.Entry) { e.Run.Exits = append(e.Run.Exits, e.Run.Exits[0]) })
	change("run: another receiver", deviates, "alice", "contract", open, func(e *vault.Entry) { e.Run.Exits[0].To = e.Run.Exits[len(e.Run.Exits)-1].To })
	change("run: exits in another order", deviates, "alice", "contract", open, func(e *vault.Entry) { slices.Reverse(e.Run.Exits) })
	change("run: not closed", deviates, "alice", "contract", open, func(e *vault.Entry) { e.Run.Closed = false })
	change("exit: another past", gap, "alice", "", open, func(e *vault.Entry) { e.Run.Exits[0].Prev-- })
	change("exit: the old epoch", deviates, "alice", "", open, func(e *vault.Entry) { e.Run.Exits[0].Epoch-- })
	change("exit: an epoch left out", deviates, "alice", "", open, func(e *vault.Entry) { e.Run.Exits[0].Epoch++ })
	change("exit: R and B do not add up", deviates, "alice", "points", open, func(e *vault.Entry) { e.Run.Exits[0].R = e.Run.Exits[1].R })
	change("exit: two receivers", deviates, "alice", "", open, func(e *vault.Entry) {
		e.Run.Exits[0].To = append(e.Run.Exits[0].To, e.Run.Exits[len(e.Run.Exits)-1].To...)
	})

	change("word: not signed by its party", deviates, "bob", "", word, func(e *vault.Entry) { flip(e.Run.Word.Sig) })
	change("word: none", deviates, "bob", "", word, func(e *vault.Entry) { e.Run.Word = nil })
	change("word: of another instance", deviates, "bob", "", word, func(e *vault.Entry) { e.Run.Word.Body.Instance[0] ^= 1 })
	change("word: in another party's name", deviates, "bob", "", word, func(e *vault.Entry) { e.Run.Word.Body.Role = 1 })
	change("word: the one before again", deviates, "bob", "", word, func(e *vault.Entry) { e.Run.Word = parse(word - 1).Run.Word })
	change("word: said after its entry", deviates, "bob", "", word, func(e *vault.Entry) { e.Run.EventAt = e.At + 1 })
	change("word: said long before its entry", deviates, "bob", "", word, func(e *vault.Entry) { e.Run.EventAt = e.At - 3 })

	change("clock: no quorum", deviates, "alice", "", clock, func(e *vault.Entry) { flip(e.Clock.Head) })
	change("deadline: under another clock", gap, "alice", "", deadline, func(e *vault.Entry) { e.Run.Clock-- })
	change("deadline: early", deviates, "alice", "contract", deadline, func(e *vault.Entry) { e.Run.EventAt-- })
	change("deadline: its chunk to its depositor", deviates, "alice", "contract", deadline, func(e *vault.Entry) {
		e.Run.Exits[0].To = vault.Recipients{h.owners[0].id}
	})
	change("abort: not at lock-by", deviates, "alice", "", abort, func(e *vault.Entry) { e.Run.EventAt++ })
	change("abort: to another than its depositor", deviates, "alice", "", abort, func(e *vault.Entry) { e.Run.Exits[0].To = vault.Recipients{h.owners[1].id} })
	change("abort: not closed", deviates, "alice", "", abort, func(e *vault.Entry) { e.Run.Closed = false })

	change("claim: not signed by its owner", deviates, "alice", "", claim, func(e *vault.Entry) { flip(e.Claim.Sig) })
	change("claim: another past", gap, "alice", "", claim, func(e *vault.Entry) { e.Claim.Prev[0]-- })
	change("claim: the past of no chunk", deviates, "alice", "", claim, func(e *vault.Entry) { e.Claim.Prev = nil })
	change("claim: of another epoch", deviates, "alice", "", claim, func(e *vault.Entry) { e.Claim.Order.Chunks[0].Epoch-- })
	change("claim: by another", deviates, "alice", "", claim, func(e *vault.Entry) { e.Claim.Owner = vault.Recipients{h.owners[1].id} })
	change("swept: not signed by its owner", deviates, "alice", "", swept, func(e *vault.Entry) { flip(e.Swept.Sig) })
	change("swept: before it is claimed", deviates, "alice", "", claim, func(e *vault.Entry) {
		c := e.Claim
		order := vault.SweptOrder(c.Order)
		e.Claim, e.Swept = nil, &vault.Swept{Owner: c.Owner, Order: order, Sig: wire.Sign(h.owners[0].sign, "latchkey/swept/v1", must(t, order)), Prev: c.Prev}
	})
	change("swept: a claim's signature", deviates, "alice", "", swept, func(e *vault.Entry) { e.Swept.Sig = parse(claim).Claim.Sig })
	change("swept: another past", gap, "alice", "", swept, func(e *vault.Entry) { e.Swept.Prev[0]-- })
	change("swept: by another", deviates, "alice", "", swept, func(e *vault.Entry) { e.Swept.Owner = vault.Recipients{h.owners[1].id} })
	change("open: not settled", deviates, "alice", "", open, func(e *vault.Entry) { e.Run.Settled = false })
	change("taken: not signed by the receiver", deviates, "alice", "", taken, func(e *vault.Entry) { flip(e.Run.Step.Sig) })
	change("taken: nobody's word", deviates, "alice", "", taken, func(e *vault.Entry) { e.Run.Step = nil })
	change("taken: a word about another step", deviates, "alice", "", taken, func(e *vault.Entry) { e.Run.Step.Body.Step++ })
	change("taken: settled before all are given", deviates, "alice", "", taken, func(e *vault.Entry) { e.Run.Settled = true })
	change("taken: open again", deviates, "alice", "", taken, func(e *vault.Entry) { e.Run.Closed = false })
	change("taken: nothing goes out", deviates, "alice", "contract", taken, func(e *vault.Entry) { e.Run.Exits = nil })
	change("taken: at another time", deviates, "alice", "", taken, func(e *vault.Entry) { e.Run.EventAt-- })
	change("lapsed: under another clock", gap, "alice", "", lapsed, func(e *vault.Entry) { e.Run.Clock-- })
	change("lapsed: in time for a word", deviates, "alice", "", taken, func(e *vault.Entry) {
		e.Run.Kind, e.Run.Step, e.Run.Clock = vault.RunLapsed, nil, uint64(h.find(1, func(e vault.Entry) bool { return e.Clock != nil }))+1
	})
	change("failed: a word that it was taken", deviates, "alice", "", failed, func(e *vault.Entry) { e.Run.Step.Body.Failed = false })
	change("failed: to another than its depositor", deviates, "alice", "", failed, func(e *vault.Entry) {
		e.Run.Exits[0].To = vault.Recipients{h.owners[0].id}
	})
	change("failed: not settled", deviates, "alice", "", failed, func(e *vault.Entry) { e.Run.Settled = false })
	change("report: a value that the oracle did not sign", deviates, "bob", "", report, func(e *vault.Entry) { e.Run.Report.Signed[1].Value.Value++ })
	change("report: fewer values than it takes", deviates, "bob", "", report, func(e *vault.Entry) { e.Run.Report.Signed = e.Run.Report.Signed[:1] })
	change("report: one key twice", deviates, "bob", "", report, func(e *vault.Entry) { e.Run.Report.Signed[1] = e.Run.Report.Signed[0] })
	change("report: none", deviates, "bob", "", report, func(e *vault.Entry) { e.Run.Report = nil })
	change("report: of another instance", deviates, "bob", "", report, func(e *vault.Entry) { e.Run.Report.Instance[0] ^= 1 })
	change("report: of an oracle that the agreement does not name", deviates, "bob", "", report, func(e *vault.Entry) { e.Run.Report.Oracle++ })
	change("report: brought long before its entry", deviates, "bob", "", report, func(e *vault.Entry) { e.Run.EventAt = e.At - 3 })
	change("as it is: deposit", "", "bob", "", deposit, func(*vault.Entry) {})
	change("deposit: another past of the instance", gap, "bob", "", deposit, func(e *vault.Entry) { e.Deposit.Prev-- })
	change("deposit: another past of a chunk", gap, "bob", "", deposit, func(e *vault.Entry) { e.Deposit.Chunks[0]-- })
	change("deposit: the past of no chunk", deviates, "bob", "", deposit, func(e *vault.Entry) { e.Deposit.Chunks = nil })
	change("deposit: not signed by who fills the pot", deviates, "bob", "", deposit, func(e *vault.Entry) { flip(e.Deposit.Sig) })
	change("deposit: nobody's", deviates, "alice", "", deposit, func(e *vault.Entry) { flip(e.Deposit.Sig) })
	change("deposit: it waits longer than was signed", deviates, "bob", "", deposit, func(e *vault.Entry) { e.Deposit.Order.By++ })
	change("deposit: after its time", deviates, "bob", "", deposit, func(e *vault.Entry) { e.At = e.Deposit.Order.By })
	change("deposit: a pot that is full", deviates, "bob", "", deposit, func(e *vault.Entry) { e.Deposit.Order.Pot = 0 })
	change("deposit: for another phase", deviates, "bob", "", deposit, func(e *vault.Entry) { e.Deposit.Order.Phase++ })
	change("deposit: another epoch", deviates, "bob", "", deposit, func(e *vault.Entry) { e.Deposit.Order.Chunks[0].Epoch++ })
	change("deposit: without papers", deviates, "alice", "", deposit, func(e *vault.Entry) { e.Deposit.Papers = vault.Papers{} })
	change("deposit: a certificate that nobody signed", deviates, "alice", "", deposit, func(e *vault.Entry) { flip(e.Deposit.Papers.Certs[0].Cert.EscrowSig) })
	change("deposit: a chunk that is not in its certificate", deviates, "alice", "", deposit, func(e *vault.Entry) { flip(e.Deposit.Papers.Chunks[0].Path[0][:]) })
	change("hand: of a deposit that is none", deviates, "alice", "", share, func(e *vault.Entry) { e.Hand.Deposit-- })
	change("ack: of a deposit, not signed by its party", deviates, "alice", "", found, func(e *vault.Entry) { flip(e.Ack.Sig) })
	change("ack: of another deposit", deviates, "alice", "", found, func(e *vault.Entry) { e.Ack.Deposit-- })
	change("a deposit counts: instead of the ack", gap, "alice", "", found, func(e *vault.Entry) { *e = parse(counts) })
	change("a deposit counts: without the ack", deviates, "alice", "", found, func(e *vault.Entry) {
		*e = parse(counts)
		e.Run.Prev--
	})
	change("a deposit counts: another one", deviates, "alice", "", counts, func(e *vault.Entry) { e.Run.Deposit-- })
	change("a deposit counts: at another time", deviates, "alice", "", counts, func(e *vault.Entry) { e.Run.EventAt-- })
	change("a deposit counts: it closes the contract", deviates, "alice", "contract", counts, func(e *vault.Entry) { e.Run.Closed = true })
	change("a deposit goes back: early", deviates, "alice", "", returned, func(e *vault.Entry) { e.Run.EventAt-- })
	change("a deposit goes back: under another clock", gap, "alice", "", returned, func(e *vault.Entry) { e.Run.Clock-- })
	change("a deposit goes back: to another", deviates, "alice", "", returned, func(e *vault.Entry) { e.Run.Exits[0].To = vault.Recipients{h.owners[0].id} })
	change("a deposit goes back: and stays", deviates, "alice", "", returned, func(e *vault.Entry) { e.Run.Exits = nil })
	checkLog(t, "deviation.json", "Other entries than those of log.json, each at one position behind the same entries before it, and what the follower of one vault says.",
		made, func(v deviationVector) (string, string) { return v.Name, v.Expect },
		func(v deviationVector) error { return h.judge(v.Vault, v.At, v.CBOR) })
}

type statementVector struct {
	Name      string        `json:"name"`
	Expect    string        `json:"expect"`
	Log       string        `json:"log"` // vkeys
	Witnesses []string      `json:"witnesses"`
	K         int           `json:"k"`
	F         int           `json:"f"`
	Note      string        `json:"note"`
	Position  int64         `json:"position"`
	Entry     vectors.Hex   `json:"entry"`
	Proof     []vectors.Hex `json:"proof"`
}

func (v statementVector) check() error {
	log, err := head.ParseLogKey(v.Log)
	if err != nil {
		return err
	}
	g := head.Group{Log: log, K: v.K, F: v.F}
	for _, w := range v.Witnesses {
		k, err := head.ParseWitnessKey(w)
		if err != nil {
			return err
		}
		g.Witnesses = append(g.Witnesses, k)
	}
	c, err := g.Verify([]byte(v.Note))
	if err != nil {
		return err
	}
	proof := make([]head.Hash, len(v.Proof))
	for i, h := range v.Proof {
		proof[i] = head.Hash(h)
	}
	if err := head.VerifyInclusion(c.Checkpoint, v.Position, v.Entry, proof); err != nil {
		return err
	}
	_, err = vault.ParseEntry(v.Entry)
	return err
}

func TestStatementVectors(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	var made []statementVector
	add := func(name, want string, p int64, f func(*statementVector)) {
		proof, err := tlog.ProveRecord(h.size, p, h.reader())
		if err != nil {
			t.Fatal(err)
		}
		v := statementVector{Name: name, Expect: "ok", Log: h.group.Log.String(), K: h.group.K, F: h.group.F, Note: string(h.note), Position: p, Entry: h.entries[p]}
		if want != "" {
			v.Expect = "error: " + want
		}
		for _, w := range h.group.Witnesses {
			v.Witnesses = append(v.Witnesses, w.String())
		}
		for _, x := range proof {
			v.Proof = append(v.Proof, slices.Clone(x[:]))
		}
		f(&v)
		made = append(made, v)
	}
	for _, p := range []int64{4, 12, h.size - 1} {
		add(fmt.Sprintf("entry %d", p), "", p, func(*statementVector) {})
	}
	add("another position", "proof does not hold", 12, func(v *statementVector) { v.Position++ })
	add("another entry", "proof does not hold", 12, func(v *statementVector) { v.Entry = h.entries[13] })
	add("a byte of the entry changed", "proof does not hold", 12, func(v *statementVector) {
		v.Entry = slices.Clone(v.Entry)
		v.Entry[20] ^= 1
	})
	add("a hash of the proof missing", "proof does not hold", 12, func(v *statementVector) { v.Proof = v.Proof[1:] })
	add("behind the head's size", "proof does not hold", 12, func(v *statementVector) { v.Position = h.size })
	add("two witnesses only", "cosign", 12, func(v *statementVector) { v.Note = cutLines(v.Note, 2) })
	add("a log of another key", "signature", 12, func(v *statementVector) {
		k, err := head.NewLogKey(origin, h.owners[0].identity.Sign)
		if err != nil {
			t.Fatal(err)
		}
		v.Log = k.String()
	})
	checkLog(t, "statement.json", "Statements: entries with inclusion proofs under cosigned heads.",
		made, func(v statementVector) (string, string) { return v.Name, v.Expect }, statementVector.check)
}

// cutLines removes the last n lines of a note.
func cutLines(note string, n int) string {
	end := len(note) - 1
	for i := len(note) - 2; i >= 0 && n > 0; i-- {
		if note[i] == '\n' {
			n--
			end = i
		}
	}
	return note[:end+1]
}

type signedVector struct {
	Name     string      `json:"name"`
	Expect   string      `json:"expect"`
	Identity string      `json:"identity"`
	Purpose  string      `json:"purpose"`
	Body     vectors.Hex `json:"body"`
	Sig      vectors.Hex `json:"sig"`
}

// TestSignedVectors takes what the vaults themselves signed.
func TestSignedVectors(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	var made []signedVector
	add := func(name, who, purpose string, body any, sig []byte) {
		b, raw := body.([]byte)
		if !raw {
			var err error
			if b, err = wire.Marshal(body); err != nil {
				t.Fatal(err)
			}
		}
		made = append(made, signedVector{name, "ok", who, purpose, b, sig})
	}
	for p, raw := range h.entries {
		e, err := vault.ParseEntry(raw)
		if err != nil {
			t.Fatal(err)
		}
		at := func(what string) string { return fmt.Sprintf("%s of entry %d", what, p) }
		switch {
		case e.Lock != nil:
			for i, a := range e.Lock.Acceptances {
				add(at(fmt.Sprintf("acceptance %d", i)), h.nameOf(e.Lock.Agreement.Parties[i][0]), "latchkey/accept/v1", a.Body, a.Sig)
			}
		case e.Ack != nil && p < 12:
			add(at("ack"), h.owners[e.Ack.Role].name, "latchkey/ack/v1", e.Ack.Instance[:], e.Ack.Sig)
		case e.Run != nil && e.Run.Word != nil:
			add(at("word"), h.owners[e.Run.Word.Body.Role].name, "latchkey/word/v1", e.Run.Word.Body, e.Run.Word.Sig)
		case e.Run != nil && e.Run.Step != nil:
			add(at("step word"), "bob", "latchkey/step/v1", e.Run.Step.Body, e.Run.Step.Sig)
		case e.Claim != nil:
			add(at("claim"), h.nameOf(e.Claim.Owner[0]), "latchkey/claim/v1", e.Claim.Order, e.Claim.Sig)
		case e.Swept != nil:
			add(at("swept"), h.nameOf(e.Swept.Owner[0]), "latchkey/swept/v1", e.Swept.Order, e.Swept.Sig)
		}
	}
	for i, r := range h.receipts {
		sig := r.Sig
		r.Sig = nil
		add(fmt.Sprintf("receipt %d", i), "escrow", "latchkey/receipt/v1", r, sig)
	}
	for _, v := range slices.Clone(made) {
		if v.Purpose != "latchkey/swept/v1" && v.Purpose != "latchkey/receipt/v1" {
			continue
		}
		v.Expect = "error: signature does not verify"
		x := v
		x.Name, x.Purpose = v.Name+", for another purpose", "latchkey/claim/v1"
		made = append(made, x)
		x = v
		x.Name, x.Identity = v.Name+", by another", "bob"
		made = append(made, x)
		x = v
		x.Name, x.Body = v.Name+", changed", slices.Clone(v.Body)
		x.Body[len(x.Body)-1] ^= 1
		made = append(made, x)
	}
	checkLog(t, "signed.json", "Signatures of vaults: acceptances, acks, words, orders and receipts.",
		made, func(v signedVector) (string, string) { return v.Name, v.Expect }, func(v signedVector) error {
			return newIDs(t, v.Identity).identity.Verify(v.Purpose, v.Body, v.Sig)
		})
}

func (w *world) nameOf(v wire.VaultID) string {
	for _, c := range w.owners {
		if c.id == v {
			return c.name
		}
	}
	return "nobody"
}
