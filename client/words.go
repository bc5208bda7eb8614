package client

import (
	"context"
	"fmt"
	"slices"
	"time"

	"latchkey/escrow"
	"latchkey/head"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// Said is a word that this client spoke in a contract, or about a step of a settlement
// tit for tat, and what became of it: the escrow's receipt promises that it is logged by
// a time, the log shows whether it was.
type Said struct {
	Word    vault.SignedWord  `json:"word"`           // zero with Step
	Step    *vault.SignedStep `json:"step,omitempty"` // instead of Word
	At      int64             `json:"at_ms"`
	Receipt *vault.Receipt    `json:"receipt,omitempty"`
	Entry   vault.Index       `json:"entry"`             // of the log that has it; 0: not seen
	Refused string            `json:"refused,omitempty"` // why the escrow did not take it
}

// text says what was said, without the value.
func (s Said) text() string {
	if s.Step == nil {
		return s.Word.Body.Word
	}
	return fmt.Sprintf("step %d %s", s.Step.Body.Step, map[bool]string{true: "failed", false: "taken"}[s.Step.Body.Failed])
}

func (s Said) instance() wire.InstanceID {
	if s.Step != nil {
		return s.Step.Body.Instance
	}
	return s.Word.Body.Instance
}

// claim is what a proof has to show of a word.
func (s Said) claim(by *wire.Identity) escrow.Withheld {
	if s.Step != nil {
		return escrow.Withheld{Step: s.Step, Party: by}
	}
	return escrow.Withheld{Word: &s.Word, Party: by}
}

// pending reports whether nothing is known yet of what became of a word.
func (s Said) pending() bool { return s.Receipt == nil && s.Entry == 0 && s.Refused == "" }

func saidName(word wire.Hash) string { return fmt.Sprintf("word/%x", word[:]) }

// Say speaks a word in an instance and returns the name of the signed word.
func (h *Host) Say(ctx context.Context, c enclave.Say) (wire.Hash, error) {
	r, err := h.call(ctx, enclave.Call{Say: &c})
	if err != nil {
		return wire.Hash{}, err
	}
	word, err := r.Word.Hash()
	if err != nil {
		return wire.Hash{}, err
	}
	h.wording.Lock()
	err = h.store.put(ctx, saidName(word), Said{Word: *r.Word, At: time.Now().UnixMilli()})
	h.wording.Unlock()
	if err != nil {
		return wire.Hash{}, err
	}
	h.store.journal(ctx, Event{Kind: "said", Text: fmt.Sprintf("said %q in instance %s", c.Word, c.Instance.Short())})
	wake(h.talk)
	return word, nil
}

// keepStep keeps a word about a step, which the vault also says by itself, when all of
// the step's chunks are claimed.
func (h *Host) keepStep(ctx context.Context, w vault.SignedStep) {
	name, err := w.Hash()
	if err != nil {
		return
	}
	h.wording.Lock()
	defer h.wording.Unlock()
	var s Said
	if !h.store.get(saidName(name), &s) {
		_ = h.store.put(ctx, saidName(name), Said{Step: &w, At: time.Now().UnixMilli()}) // the store keeps its failure
	}
}

// wordRefused notes why the escrow did not take a word.
func (h *Host) wordRefused(ctx context.Context, w vault.SignedWord, why error) {
	name, err := w.Hash()
	if err != nil {
		return
	}
	h.wording.Lock()
	defer h.wording.Unlock()
	var s Said
	if h.store.get(saidName(name), &s) && s.pending() {
		s.Refused = why.Error()
		_ = h.store.put(ctx, saidName(name), s) // the store keeps its failure
	}
}

// unheard notes of words that nobody has taken that nobody will: their contract is over,
// or their step.
func (h *Host) unheard(ctx context.Context, st enclave.Status) {
	by := map[wire.InstanceID]vault.Instance{}
	for _, in := range st.Instances {
		by[in.ID] = in
	}
	h.wording.Lock()
	defer h.wording.Unlock()
	each(h.store, "word/", func(name string, s Said) {
		in, ok := by[s.instance()]
		switch {
		case !s.pending() || !ok:
			return
		case s.Step == nil && in.Closed:
			s.Refused = "its contract was over before the escrow took it"
		case s.Step != nil && (in.Step != s.Step.Body.Step || in.Settled):
			s.Refused = "its step was over before the escrow took it"
		default:
			return
		}
		_ = h.store.put(ctx, name, s) // the store keeps its failure
	})
}

// receipt keeps the escrow's receipt for a word or a report: the first one, which
// promises the earliest time.
func (h *Host) receipt(ctx context.Context, r vault.Receipt) {
	h.wording.Lock()
	defer h.wording.Unlock()
	var b Brought
	if h.store.get(broughtName(r.Word), &b) && b.Receipt == nil {
		b.Receipt = &r
		_ = h.store.put(ctx, broughtName(r.Word), b) // the store keeps its failure
		h.store.journal(ctx, Event{Kind: "receipt", Text: fmt.Sprintf("the escrow promises to log %s by %s", b.text(), wire.UTC(r.By))})
	}
	var s Said
	if !h.store.get(saidName(r.Word), &s) || s.Receipt != nil {
		return
	}
	s.Receipt, s.Refused = &r, ""
	_ = h.store.put(ctx, saidName(r.Word), s) // the store keeps its failure
	if s.Step == nil {                        // of a step the log is to speak, within the minute
		h.store.journal(ctx, Event{Kind: "receipt", Text: fmt.Sprintf("the escrow promises to log %q by %s", s.text(), wire.UTC(r.By))})
	}
}

// heard notes which of this client's words, and which values of oracles, are in entries
// that its vault has verified; which chunks they gave to others; and how far the escrow's
// log was heard.
func (h *Host) heard(ctx context.Context, cursor uint64, entries []vault.Logged) {
	var given []wire.ChunkID
	for _, l := range entries {
		e, err := vault.ParseEntry(l.Entry)
		if err != nil || e.Run == nil {
			continue
		}
		given = append(given, h.givenAway(*e.Run)...)
		if e.Run.Report != nil {
			h.observed(ctx, *e.Run, vault.Index(l.Position+1))
		}
		h.inLog(ctx, *e.Run, vault.Index(l.Position+1))
	}
	rows := map[string]any{"number/cursor": cursor}
	if len(given) > 0 {
		rows[fmt.Sprintf("%s%016x", awayPrefix, cursor)] = given
	}
	_ = h.store.putAll(ctx, rows) // the store keeps its failure
}

// inLog notes that a word of this client's, if a step is of one, is in the log. What its vault says of a
// step by itself the host learns with the escrow's answer, or here: whichever is first.
func (h *Host) inLog(ctx context.Context, r vault.Run, at vault.Index) {
	var word wire.Hash
	var err error
	switch {
	case r.Word != nil:
		word, err = r.Word.Hash()
	case r.Step != nil:
		word, err = r.Step.Hash()
	default:
		return
	}
	if err != nil {
		return
	}
	h.wording.Lock()
	var s Said
	own := h.store.get(saidName(word), &s)
	if !own && r.Step != nil && r.Step.Verify(h.status.Identity) == nil { // the log was quicker than the answer with the word
		own, s = true, Said{Step: r.Step, At: time.Now().UnixMilli()}
	}
	if own && s.Entry == 0 {
		s.Entry, s.Refused = at, ""
		_ = h.store.put(ctx, saidName(word), s) // the store keeps its failure
	}
	h.wording.Unlock()
	if r.Step != nil {
		forget(ctx, h, "word/", func(s Said) vault.Index {
			if s.Step == nil {
				return 0
			}
			return s.Entry
		})
	}
}

// overdue shows as a problem the words and reports whose promised time has passed
// unseen.
func (h *Host) overdue(ctx context.Context, s enclave.Status) {
	late := func(what, text string, in wire.InstanceID, r *vault.Receipt, entry vault.Index) {
		var err error
		if r != nil && entry == 0 && s.Now > r.By {
			err = fmt.Errorf("the escrow's receipt promises %s of instance %s in its log by %s, and it is not seen there: latchkey withheld shows the proof",
				text, in.Short(), wire.UTC(r.By))
		}
		h.problem(what, err)
	}
	h.unheard(ctx, s)
	each(h.store, "word/", func(name string, w Said) {
		late("a word "+name[5:13], fmt.Sprintf("%q", w.text()), w.instance(), w.Receipt, w.Entry)
	})
	for _, in := range s.Instances {
		if in.Said != nil {
			h.keepStep(ctx, *in.Said)
		}
		for _, b := range in.Brought {
			if b.Receipt.By != 0 { // perhaps this host ended before it was kept
				h.receipt(ctx, b.Receipt)
			}
		}
	}
	each(h.store, "report/", func(name string, b Brought) {
		late("a report "+name[7:15], b.text(), b.Report.Instance, b.Receipt, b.Entry)
	})
}

// said returns all words, the first spoken first.
func (h *Host) said() (out []Said) {
	each(h.store, "word/", func(_ string, s Said) { out = append(out, s) })
	slices.SortStableFunc(out, func(a, b Said) int { return int(a.At - b.At) })
	return out
}

// maxProof bounds what a proof may hold of the log, in bytes.
const maxProof = wire.MaxSize * 3 / 4

// prove reads the escrow's log and puts together what shows that a word, also of a step, or report, of
// which w has all that this client knows, is not in it. It returns escrow.ErrKept if
// the log has it. Whether the promised time has come, the head's stamps say, which this
// host has no keys to read: who trusts the witnesses checks that with the rest.
func (h *Host) prove(ctx context.Context, w escrow.Withheld) (escrow.Withheld, error) {
	fail := func(err error) (escrow.Withheld, error) { return escrow.Withheld{}, fmt.Errorf("prove: %w", err) }
	hash, instance, err := w.Promised()
	if err != nil {
		return fail(err)
	}
	d, err := h.escrow.Describe(ctx)
	if err != nil {
		return fail(err)
	}
	w.Escrow = d.Identity
	var front head.Frontier
	size := 0
	for n := int64(0); ; {
		p, err := h.escrow.Entries(ctx, n, 1024, 0)
		if err != nil {
			return fail(err)
		}
		c, err := head.OpenCheckpoint(p.Head, d.LogKey)
		if err != nil {
			return fail(err)
		}
		for _, raw := range p.Entries {
			e, err := vault.ParseEntry(raw)
			if err != nil {
				return fail(err)
			}
			if _, id := e.Touches(); w.Before == nil && e.Lock != nil && id == instance {
				if w.Before, err = front.MarshalBinary(); err != nil {
					return fail(err)
				}
			}
			if err := front.Append(raw); err != nil {
				return fail(err)
			}
			if n++; w.Before == nil {
				continue
			}
			if escrow.Has(e, hash) {
				return fail(fmt.Errorf("%w: entry %d has it", escrow.ErrKept, n-1))
			}
			w.Entries = append(w.Entries, raw)
			if size += len(raw); size > maxProof {
				return fail(fmt.Errorf("the log since the lock is longer than a proof may be, %d bytes: keep the receipt, and have the whole log audited", maxProof))
			}
		}
		if n >= c.Size {
			w.Head = p.Head
			return w, nil
		}
		if len(p.Entries) == 0 {
			return fail(fmt.Errorf("the escrow's host shows %d of the %d entries under its head: it withholds its log as well", n, c.Size))
		}
	}
}
