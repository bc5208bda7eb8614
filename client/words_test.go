package client

import (
	"errors"
	"testing"

	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// A word that the escrow refused, or that nobody took while there was time, waits for a
// receipt no longer; one with a receipt, or in the log, stays what it is.
func TestWordsThatNobodyTook(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	a, b := wire.InstanceID{1}, wire.InstanceID{2}
	word := func(in wire.InstanceID, seq uint64) Said {
		return Said{Word: vault.SignedWord{Body: vault.Word{Instance: in, Seq: seq, Word: "pay"}}}
	}
	step := func(in wire.InstanceID, n uint32) Said {
		return Said{Step: &vault.SignedStep{Body: vault.StepWord{Instance: in, Step: n}}}
	}
	name := func(s Said) string {
		t.Helper()
		h, _, err := s.claim(&wire.Identity{}).Promised()
		if err != nil {
			t.Fatal(err)
		}
		return saidName(h)
	}
	put := func(s Said) string {
		t.Helper()
		if err := w.store.put(ctx, name(s), s); err != nil {
			t.Fatal(err)
		}
		return name(s)
	}
	promised, logged := word(a, 2), word(a, 3)
	promised.Receipt, logged.Entry = &vault.Receipt{By: 9}, 7
	late, kept, found := put(word(a, 1)), put(promised), put(logged)
	refused, open := put(word(b, 1)), put(word(b, 2))
	lapsed, newest, last := put(step(b, 1)), put(step(b, 2)), put(step(a, 3))
	w.wordRefused(ctx, word(b, 1).Word, errors.New("the deadline was yesterday"))
	w.wordRefused(ctx, promised.Word, errors.New("again"))
	w.wordRefused(ctx, word(b, 9).Word, errors.New("never said"))
	w.overdue(ctx, enclave.Status{Instances: []vault.Instance{{ID: a, Closed: true, Settled: true, Step: 3}, {ID: b, Step: 2}}})
	for _, x := range []struct{ name, want string }{
		{late, "its contract was over before the escrow took it"},
		{kept, ""},
		{found, ""},
		{refused, "the deadline was yesterday"},
		{open, ""},
		{lapsed, "its step was over before the escrow took it"},
		{newest, ""},
		{last, "its step was over before the escrow took it"},
	} {
		var s Said
		if !w.store.get(x.name, &s) || s.Refused != x.want {
			t.Errorf("%s: %q, want %q", s.text(), s.Refused, x.want)
		}
	}
	if n := len(w.said()); n != 8 {
		t.Errorf("%d words, want 8", n)
	}
	// The log says otherwise, or a receipt comes late: that counts.
	h, _, _ := word(b, 1).claim(&wire.Identity{}).Promised()
	w.receipt(ctx, vault.Receipt{Word: h, By: 12})
	var s Said
	if w.store.get(refused, &s); s.Refused != "" || s.Receipt == nil {
		t.Errorf("a receipt after a refusal: %+v", s)
	}
}

// A word about a step is kept from the first time that the vault says it, with the
// first receipt; the log's entry ends it; of many logged ones the oldest go.
func TestStepWordsAreKept(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	said := vault.SignedStep{Body: vault.StepWord{Instance: wire.InstanceID{1}, Step: 4}, Sig: []byte{1}}
	h, err := said.Hash()
	if err != nil {
		t.Fatal(err)
	}
	get := func() (s Said) {
		t.Helper()
		if !w.store.get(saidName(h), &s) {
			t.Fatal("it is not kept")
		}
		return s
	}
	w.overdue(ctx, enclave.Status{Instances: []vault.Instance{{ID: wire.InstanceID{1}, Closed: true, Step: 4, Said: &said}}})
	if s := get(); !s.pending() || s.text() != "step 4 taken" || s.At == 0 {
		t.Errorf("kept is %+v", s)
	}
	w.receipt(ctx, vault.Receipt{Word: h, By: 100})
	w.keepStep(ctx, said) // said again
	w.receipt(ctx, vault.Receipt{Word: h, By: 200})
	if s := get(); s.Receipt == nil || s.Receipt.By != 100 {
		t.Errorf("the receipt kept is %+v, want the first", s.Receipt)
	}
	for n := range uint32(maxLogged + 3) {
		x := said
		x.Body.Step = n + 1
		w.keepStep(ctx, x)
		raw, err := wire.Marshal(vault.Entry{Run: &vault.Run{Instance: x.Body.Instance, Kind: vault.RunTaken, Step: &x}})
		if err != nil {
			t.Fatal(err)
		}
		w.heard(ctx, uint64(n), []vault.Logged{{Position: int64(n) + 9, Entry: raw}})
	}
	if all := w.said(); len(all) != maxLogged {
		t.Errorf("%d are kept, want %d", len(all), maxLogged)
	}
}
