package client

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/client/clientpb"
	"latchkey/coin"
	"latchkey/contract"
	"latchkey/contract/oracle"
	"latchkey/escrow"
	"latchkey/vault"
	"latchkey/wire"
)

// What a user asks about agreements and payments without a switchboard.

func (s server) Propose(ctx context.Context, r *clientpb.ProposeRequest) (*clientpb.ProposeResponse, error) {
	id, err := s.proposed(ctx, r)
	if err != nil {
		return nil, refused(err)
	}
	out := &clientpb.ProposeResponse{Id: id}
	if x, err := s.h.Review(ctx, id); err == nil { // else it has just ended, and its review says why
		out.Settlement = x.Settlement
	}
	return out, nil
}

func (s server) proposed(ctx context.Context, r *clientpb.ProposeRequest) (string, error) {
	program, err := contract.Compile(r.Source)
	if err != nil {
		return "", fmt.Errorf("contract: %w", err)
	}
	st, err := s.h.vaultStatus(ctx)
	if err != nil {
		return "", err
	}
	p := Proposal{Source: r.Source, Pots: map[string]coin.AssetID{}, Weights: map[string][]uint32{}}
	if r.LockWithin < 0 || r.LockWithin > maxLockWait {
		return "", fmt.Errorf("all are to accept within %d seconds, want at most a day", r.LockWithin)
	} else if r.LockWithin > 0 {
		p.LockBy = st.Now + r.LockWithin
	}
	if p.Manner, err = mannerOf(r); err != nil {
		return "", fmt.Errorf("propose: %w", err)
	}
	if p.Parties, err = s.h.parseParties(r.Parties); err != nil {
		return "", err
	}
	program, terms, err := holders(program, r.Terms, len(r.Parties))
	if err != nil {
		return "", err
	}
	if p.Terms, err = ParseTerms(program.Terms(), terms, st.Now); err != nil {
		return "", err
	}
	for _, x := range r.Pots {
		name, asset, ok := strings.Cut(x, "=")
		if !ok {
			return "", fmt.Errorf("pot %.60q: write NAME=ASSET", x)
		}
		id, weights, err := potAsset(asset)
		if err != nil {
			return "", fmt.Errorf("pot %.40s: %w", name, err)
		}
		if i := slices.IndexFunc(program.Pots(), func(x contract.Pot) bool { return x.Name == name }); weights != nil {
			if i < 0 || !program.Pots()[i].Later {
				return "", fmt.Errorf("pot %.40s: weights are for pots that are filled later", name)
			}
			p.Weights[name] = weights
		}
		p.Pots[name] = id
	}
	p.Oracles = map[string]oracle.Quorum{}
	for _, x := range r.Oracles {
		if _, twice := p.Oracles[x.Name]; twice {
			return "", fmt.Errorf("oracle %.40q is named twice", x.Name)
		}
		p.Oracles[x.Name] = oracle.Quorum{Feed: x.Feed, Keys: x.Keys, Need: x.Need}
	}
	if r.States != 0 || r.Moves != 0 {
		p.Bounds = &vault.Bounds{States: cmp.Or(r.States, usualStates), Moves: cmp.Or(r.Moves, usualMoves)}
	}
	return s.h.Propose(ctx, p)
}

// The usual bounds of an exploration, which are those of package contract.
const (
	usualStates = 50_000
	usualMoves  = 200_000
)

func (s server) Report(ctx context.Context, r *clientpb.ReportRequest) (*clientpb.ReportResponse, error) {
	q := ReportAsk{Oracle: r.Oracle, At: r.At, PlanOnly: r.PlanOnly}
	err := q.Instance.UnmarshalText([]byte(r.Instance))
	for i, b := range r.Signed {
		x, perr := oracle.Parse(b)
		if perr != nil {
			err = errors.Join(err, fmt.Errorf("value %d: %w", i, perr))
			break
		}
		q.Signed = append(q.Signed, x)
	}
	if err != nil {
		return nil, refused(fmt.Errorf("report: %w", err))
	}
	out, err := s.h.Report(ctx, q)
	return out, refused(err)
}

func (s server) Fund(ctx context.Context, r *clientpb.FundRequest) (*clientpb.FundResponse, error) {
	q := FundAsk{Pot: r.Pot, Chunks: int(r.Chunks), Within: r.Within, PlanOnly: r.PlanOnly}
	err := q.Instance.UnmarshalText([]byte(r.Instance))
	if err == nil && (r.Within < 0 || r.Within > maxFundWait) {
		err = fmt.Errorf("a deposit is to wait %d seconds, want at most %d", r.Within, maxFundWait)
	}
	if err != nil {
		return nil, refused(fmt.Errorf("fund: %w", err))
	}
	out, err := s.h.Fund(ctx, q)
	return out, refused(err)
}

func (s server) Review(ctx context.Context, r *clientpb.ReviewRequest) (*clientpb.ReviewResponse, error) {
	out, err := s.h.Review(ctx, r.Id)
	return out, refused(err)
}

func (s server) Answer(ctx context.Context, r *clientpb.AnswerRequest) (*clientpb.AnswerResponse, error) {
	if r.Reason == "" {
		r.Reason = "its user said no"
	}
	loss, err := s.h.answerDraft(ctx, r.Id, r.Accept, fmt.Sprintf("%.200s", r.Reason), r.MaxLoss)
	return &clientpb.AnswerResponse{AtRisk: loss}, refused(err)
}

func (s server) Receive(ctx context.Context, r *clientpb.ReceiveRequest) (*clientpb.ReceiveResponse, error) {
	out, err := s.received(ctx, r)
	return out, refused(err)
}

func (s server) received(ctx context.Context, r *clientpb.ReceiveRequest) (*clientpb.ReceiveResponse, error) {
	id := coin.AssetID(r.Asset)
	a, err := s.h.asset(ctx, id)
	if err != nil {
		return nil, err
	}
	var amount coin.Amount
	switch {
	case (r.Amount == "") == (r.UsdCents == 0):
		return nil, errors.New("receive: say an amount of coins or of dollars")
	case r.Amount != "":
		amount, err = coin.ParseDecimal(r.Amount, int(a.Decimals))
	default:
		amount, err = s.h.worthOf(ctx, id, r.UsdCents)
	}
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	q, err := s.h.Receive(ctx, id, amount, r.GoodFor)
	if err != nil {
		return nil, err
	}
	return &clientpb.ReceiveResponse{Request: q.String(), Asset: string(id), Amount: amount.String(), Decimals: uint32(a.Decimals), Expiry: q.Expiry}, nil
}

func (s server) Pay(ctx context.Context, r *clientpb.PayRequest) (*clientpb.PayResponse, error) {
	var p PaymentPlan
	var id string
	var err error
	if r.PlanOnly {
		p, err = s.h.Plan(ctx, r.Request)
	} else {
		p, id, err = s.h.Pay(ctx, r.Request, r.Over)
	}
	if err != nil {
		return nil, refused(err)
	}
	out := &clientpb.PayResponse{
		Vault: p.Request.Vault.String(), Asset: string(p.Asset.ID), Decimals: uint32(p.Asset.Decimals), Asked: p.Request.Amount.String(),
		Exact: p.Exact, Free: p.Free.String(), Expiry: p.Request.Expiry, Id: id,
	}
	if len(p.Pays.Chunks) > 0 {
		out.Pays, out.Chunks, out.Over = p.Pays.Amount.String(), uint32(len(p.Pays.Chunks)), p.Over().String()
	}
	if len(p.Below.Chunks) > 0 {
		out.Below = p.Below.Amount.String()
	}
	return out, nil
}

func (s server) Keep(ctx context.Context, r *clientpb.KeepRequest) (*clientpb.KeepResponse, error) {
	c := Choice{Keep: r.Keep, Until: r.Until}
	id := coin.AssetID(r.Asset)
	a, err := s.h.asset(ctx, id)
	if err == nil && r.UpTo != "" {
		if c.UpTo, err = coin.ParseDecimal(r.UpTo, int(a.Decimals)); err == nil && c.UpTo.IsZero() {
			err = errors.New("nothing is no bound: say not to keep instead")
		}
		if err != nil {
			err = fmt.Errorf("keep %s up to: %w", id, err)
		}
	}
	if err == nil && c.Until != 0 && c.Until <= time.Now().Unix() {
		err = fmt.Errorf("keep %s until %s: that is past, and all would be claimed at once: say a later time, or not to keep", id, wire.UTC(c.Until))
	}
	if err == nil {
		err = s.h.SetChoice(ctx, id, c)
	}
	if err != nil {
		return nil, refused(err)
	}
	return &clientpb.KeepResponse{Choice: c.describe(a)}, nil
}

func (s server) Words(ctx context.Context, r *clientpb.WordsRequest) (*clientpb.WordsResponse, error) {
	out := &clientpb.WordsResponse{}
	add := func(w *clientpb.SaidWord, proof escrow.Withheld, receipt *vault.Receipt) error {
		hash, instance, err := proof.Promised()
		if err != nil {
			return err
		}
		w.Instance, w.Word = instance.String(), hex.EncodeToString(hash[:])
		if receipt != nil {
			w.Promised, proof.Receipt = receipt.By, *receipt
		}
		if r.Prove && receipt != nil && w.Entry == 0 {
			proof, err := s.h.prove(ctx, proof)
			if err == nil {
				w.Proof, err = wire.Marshal(proof)
			}
			if err != nil {
				w.Problem = err.Error()
			}
		}
		out.Words = append(out.Words, w)
		return nil
	}
	for _, x := range s.h.said() {
		w := &clientpb.SaidWord{Text: x.text(), SaidMs: x.At, Entry: x.Entry, Refused: x.Refused, Step: x.Step != nil}
		if x.Word.Body.HasValue {
			w.Text += fmt.Sprintf(" %d", x.Word.Body.Value)
		}
		if err := add(w, x.claim(&s.h.status.Identity), x.Receipt); err != nil {
			return nil, refused(err)
		}
	}
	for _, x := range s.h.brought() {
		w := &clientpb.SaidWord{Text: x.text(), SaidMs: x.At, Entry: x.Entry, Report: true, Refused: x.Refused}
		if err := add(w, escrow.Withheld{Report: &x.Report}, x.Receipt); err != nil {
			return nil, refused(err)
		}
	}
	return out, nil
}
