package client

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"latchkey/client/clientpb"
	"latchkey/contract"
	"latchkey/studio/figures"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// Values that are sealed in one phase and shown in another. The vault draws the salt
// and keeps it with the value, in the row of the instance, before the commitment goes
// out: the word that opens it needs neither, and a restart loses nothing.

// say speaks a word as the contract wants it: a value in the clear, a commitment to it,
// or the value that this vault has sealed. figure is the value as people write it. Of
// a value that is sealed it returns what opens it.
func (h *Host) say(ctx context.Context, c enclave.Say, figure string) (word wire.Hash, note string, err error) {
	fail := func(format string, args ...any) (wire.Hash, string, error) {
		return wire.Hash{}, "", fmt.Errorf("say %q in instance %s: %w", c.Word, c.Instance.Short(), fmt.Errorf(format, args...))
	}
	s, err := h.stage(ctx, c.Instance)
	if err != nil {
		return fail("%w", err)
	}
	wants, opens := s.clause(c.Word), s.opening()
	c.HasValue = c.HasValue || figure != ""
	typ := wants.Value.Type
	if wants.Sealed && len(opens) > 0 {
		typ = opens[0].Value.Type
	}
	if figure != "" {
		if c.Value, err = figures.Parse(typ, figure); err != nil {
			return fail("%w", err)
		}
	}
	switch {
	case c.Sealed && !wants.Sealed:
		return fail("the contract takes no sealed value under this word now; nothing is said")
	case wants.Sealed && !c.HasValue:
		return fail("the contract wants a value sealed: say it too; only a commitment goes out")
	case wants.Opened && c.HasValue:
		return fail("the value shown is the one that was sealed, and your vault has it: leave the number out")
	}
	// A commitment hides also what could never be shown.
	if v := c.Value; wants.Sealed && len(opens) > 0 && !slices.ContainsFunc(opens, func(x contract.Clause) bool { return v >= x.Value.Lo && v <= x.Value.Hi }) {
		return fail("%s can never be opened: the contract takes %s", figures.Show(typ, v), figures.Range(opens[0].Value.Term))
	}
	c.Sealed, c.Opened = wants.Sealed, wants.Opened
	if c.Sealed {
		c.HasValue = false
		note = "sealed: the value stays in your vault"
		if len(opens) > 0 {
			note += fmt.Sprintf(", until you open it with latchkey say --instance %s %q in phase %s", c.Instance.Short(), opens[0].Word, s.phaseOf(opens[0]))
		}
	}
	word, err = h.Say(ctx, c)
	return word, note, err
}

// clause returns the first clause of the present phase that hears a word of this
// client's party; a zero one if there is none.
func (s *stage) clause(word string) contract.Clause {
	if s.closed {
		return contract.Clause{}
	}
	for _, c := range s.deal.Program().Outline().Phases[s.state.Phase()].Clauses {
		if c.Kind == contract.Word && c.Word == word && slices.Contains(c.Parties, s.role) {
			return c
		}
	}
	return contract.Clause{}
}

// opening returns the clauses in which this client's party shows what it has sealed.
func (s *stage) opening() (out []contract.Clause) {
	for _, p := range s.deal.Program().Outline().Phases {
		for _, c := range p.Clauses {
			if c.Opened && slices.Contains(c.Parties, s.role) {
				out = append(out, c)
			}
		}
	}
	return out
}

// phaseOf names the phase of a clause.
func (s *stage) phaseOf(x contract.Clause) string {
	for _, p := range s.deal.Program().Outline().Phases {
		if slices.ContainsFunc(p.Clauses, func(c contract.Clause) bool { return c.Line == x.Line && c.Col == x.Col }) {
			return p.Name
		}
	}
	return ""
}

// sealedStatus says of an open instance in which this side has sealed a value that it
// waits to be opened, until when, and what the deadline brings otherwise.
func (h *Host) sealedStatus(in vault.Instance, w *clientpb.Wait) {
	open := 0 // said and not shown
	each(h.store, "word/", func(_ string, x Said) {
		if b := x.Word.Body; b.Instance == in.ID && x.Entry != 0 && len(b.Seal) > 0 {
			open++
		} else if b.Instance == in.ID && x.Entry != 0 && len(b.Salt) > 0 {
			open--
		}
	})
	if open < 1 {
		return
	}
	s, err := h.stageOf(in)
	if err != nil {
		return
	}
	for _, c := range s.deal.Words(s.state) {
		if !c.Opened || !slices.Contains(c.Parties, s.role) {
			continue
		}
		w.WaitsFor += fmt.Sprintf(": open your sealed value with latchkey say --instance %s %q", in.ID.Short(), c.Word)
		_, o, err := s.deal.Step(s.state, contract.Event{Kind: contract.Deadline, At: in.Until})
		did := effects(s.agreement, s.deal.Program(), o.Gives, o.Closed, s.role)
		if err == nil && len(did) > 0 {
			w.Then = "the deadline finds it sealed: as things stand, " + strings.Join(did, ", ")
		}
		return
	}
	if opens := s.opening(); len(opens) > 0 {
		w.WaitsFor += fmt.Sprintf(": your sealed value is opened in phase %s, with %q", s.phaseOf(opens[0]), opens[0].Word)
	}
}
