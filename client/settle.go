package client

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"latchkey/client/clientpb"
	"latchkey/market"
	"latchkey/settle"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wallet"
	"latchkey/wire"
)

// A Manner is how an exchange is settled, as a user asks for it.
type Manner struct {
	TitForTat bool
	Pace      settle.Pace // fields of 0 are those of usualPace
	MaxLoss   uint64      // units; what can lose more is declined, or not signed. 0: see Limits
}

// usualPace begins with a chunk of about $50 and ends with four at a time. A step
// waits long enough for a client to come back from a restart.
var usualPace = settle.Pace{First: 5, Growth: 200, Most: 20, Wait: 600}

// asking is what offers and proposals say of their manner.
type asking interface {
	GetSettle() string
	GetPace() *clientpb.Pace
	GetMaxLoss() uint64
}

// mannerOf reads what a user asks for. A pace without tit-for-tat is a mistake.
func mannerOf(r asking) (Manner, error) {
	way := r.GetSettle()
	m := Manner{TitForTat: way == "tit-for-tat", MaxLoss: r.GetMaxLoss()}
	if way != "" && way != "atomic" && !m.TitForTat {
		return m, fmt.Errorf("settle %.20q is unknown: want atomic or tit-for-tat", way)
	}
	if p := r.GetPace(); p != nil {
		m.Pace = settle.Pace{First: p.First, Growth: p.Growth, Most: p.Most, Wait: p.Wait}
	}
	if !m.TitForTat {
		if m.Pace != (settle.Pace{}) {
			return m, errors.New("a pace is for --settle tit-for-tat")
		}
		return m, nil
	}
	for _, x := range []struct{ set, usual *uint32 }{
		{&m.Pace.First, &usualPace.First}, {&m.Pace.Growth, &usualPace.Growth}, {&m.Pace.Most, &usualPace.Most}, {&m.Pace.Wait, &usualPace.Wait},
	} {
		if *x.set == 0 {
			*x.set = *x.usual
		}
	}
	m.Pace.Most = max(m.Pace.Most, m.Pace.First)
	return m, m.Pace.Check()
}

// settles fills in how an offer is settled.
func (m Manner) settles(o *market.Offer) {
	if o.Settle = market.Atomic; m.TitForTat {
		o.Settle, o.Pace = market.TitForTat, &m.Pace
	}
}

// settled is the same for an agreement.
func (m Manner) settled() (vault.Settle, *settle.Pace) {
	if m.TitForTat {
		return vault.TitForTat, &m.Pace
	}
	return vault.Atomic, nil
}

func samePace(a, b *settle.Pace) bool { return a == b || a != nil && b != nil && *a == *b }

// atRisk computes what this client can lose by an agreement, which is shown
// before it is accepted, and refuses more than the user wants to.
func (h *Host) atRisk(ctx context.Context, name string, d *Deal, a vault.Agreement, offer market.OfferID) error {
	look, err := a.Outlook()
	if err != nil {
		return err
	}
	loss := look.Loss
	role := slices.IndexFunc(a.Parties, func(r vault.Recipients) bool { return len(r) == 1 && r[0] == h.id })
	if role < 0 {
		return errors.New("this client is no party of it")
	}
	var placed Placed
	h.store.get("offer/"+fmt.Sprintf("%x", offer[:]), &placed)
	if most := placed.MaxLoss; most > 0 && loss[role] > int64(most) {
		return fmt.Errorf("up to %s could be lost, and the offer allows %d", tally(loss[role], "unit"), most)
	}
	if a.Settle == vault.TitForTat && placed.MaxLoss == 0 {
		if err := h.cfg.Limits.bounded(loss[role], 0); err != nil {
			return err
		}
	}
	if d.AtRisk != 0 || a.Settle == vault.Atomic {
		d.AtRisk = loss[role]
		return nil
	}
	d.AtRisk = loss[role]
	if err := h.store.put(ctx, name, *d); err != nil {
		return err
	}
	h.store.journal(ctx, Event{
		Kind: "checked", Deal: d.id(),
		Text: fmt.Sprintf("a proposal is settled tit for tat, %s: %s", paceText(*a.Pace), loseText(d.AtRisk)),
	})
	return nil
}

// steps looks at the chunks that settlements have given to this client, with its
// own wallet, and has the vault say what became of the step: kept, or failed. A
// wallet that does not answer says nothing; then the step lapses in the end.
func (h *Host) steps(ctx context.Context, s enclave.Status) {
	for _, in := range s.Instances {
		if len(in.Open) == 0 {
			continue
		}
		err := h.step(ctx, in, s)
		h.problem("step of instance "+in.ID.Short(), err)
	}
}

func (h *Host) step(ctx context.Context, in vault.Instance, s enclave.Status) error {
	ready, bad, err := h.judge(ctx, in, s)
	if err != nil || !ready && bad == nil {
		return err
	}
	if _, err := h.call(ctx, enclave.Call{Took: &enclave.Took{Instance: in.ID, Failed: bad != nil}}); err != nil {
		return err
	}
	e := Event{Kind: "kept", Count: len(in.Open), Text: fmt.Sprintf("step %d of %d of instance %s is good: %s", in.Step, in.Steps, in.ID.Short(), tally(len(in.Open), "chunk"))}
	if bad != nil {
		e.Kind, e.Text = "failed", fmt.Sprintf("step %d of %d of instance %s failed, and is reported: %v", in.Step, in.Steps, in.ID.Short(), bad)
	}
	h.store.journal(ctx, e)
	wake(h.talk)
	return nil
}

// judge asks the own wallet about all that came from an instance and is still in
// chunks. bad is why one is not what it must be; ready says that all of the open
// step are here.
func (h *Host) judge(ctx context.Context, in vault.Instance, s enclave.Status) (ready bool, bad, err error) {
	given, open := map[wire.ChunkID]bool{}, map[wire.ChunkID]bool{}
	for _, id := range in.Given {
		given[id] = true
	}
	for _, id := range in.Open {
		open[id] = true
	}
	swept, spent := map[wire.ChunkID]bool{}, map[wire.ChunkID]bool{}
	each(h.store, "sweep/", func(_ string, w Sweeping) {
		for _, id := range w.Chunks {
			swept[id] = true
		}
		for _, id := range w.Spent {
			spent[id] = true
		}
	})
	asked := deposits{}
	for _, c := range s.Chunks {
		switch {
		case !given[c.ID] || c.Chunk.Owner != h.id || c.Chunk.Swept:
			continue
		case spent[c.ID]:
			return false, fmt.Errorf("chunk %s: %w", c.ID.Short(), wallet.ErrSpent), nil
		case swept[c.ID]:
			continue // by this client itself
		}
		if c.Holds {
			delete(open, c.ID)
		}
		if err := asked.add(c.Cert, c.Chunk.P); err != nil {
			return false, nil, err
		}
	}
	switch err := h.lookAt(ctx, asked); {
	case errors.Is(err, wallet.ErrNotFunded), errors.Is(err, wallet.ErrSpent):
		return false, err, nil
	case err != nil:
		return false, nil, err
	}
	return len(open) == 0, nil, nil
}

// unspoken returns the chunks of which this client has still to say what became
// of them: they are looked at before they are claimed.
func unspoken(s enclave.Status) map[wire.ChunkID]bool {
	out := map[wire.ChunkID]bool{}
	for _, in := range s.Instances {
		for _, id := range in.Open {
			out[id] = true
		}
	}
	return out
}

// settling says what a settlement that is not over waits for.
func settling(in vault.Instance) (waitsFor, then string) {
	if len(in.Open) > 0 {
		return fmt.Sprintf("this wallet's word of step %d of %d", in.Step, in.Steps), "the next step goes out, unseen"
	}
	return fmt.Sprintf("the other side's word of step %d of %d", in.Step, in.Steps), "the next step goes out"
}

// settledStatus adds to a deal how far its settlement is.
func (d Deal) settledStatus(out *clientpb.Deal, in vault.Instance) {
	out.Closed, out.Settled, out.Step, out.Steps = in.Closed, in.Settled, in.Step, in.Steps
	if in.Closed && !in.Settled {
		out.State = "settling"
		out.Wait.WaitsFor, out.Wait.Then = settling(in)
		out.Wait.Until = in.Until
	}
}
