package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"latchkey/client/clientpb"
	"latchkey/coin"
	"latchkey/gate"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// Handler serves the user's commands over Connect. It refuses requests that come
// from a web page: a page that the user visits must not reach the user's vault.
func Handler(h *Host) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(clientpb.NewClientServiceHandler(server{h: h}, connect.WithReadMaxBytes(1<<20), connect.WithRecover(recovered)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" {
			http.Error(w, "a client's host serves programs of this machine only", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func recovered(_ context.Context, spec connect.Spec, _ http.Header, _ any) error {
	return connect.NewError(connect.CodeInternal, fmt.Errorf("%s failed inside the client's host", spec.Procedure))
}

type server struct{ h *Host }

func refused(err error) error {
	if err == nil {
		return nil
	}
	return connect.NewError(connect.CodeFailedPrecondition, mend(err))
}

func (s server) Timeline(ctx context.Context, r *clientpb.TimelineRequest) (*clientpb.TimelineResponse, error) {
	end := time.NewTimer(min(time.Duration(r.WaitMs)*time.Millisecond, 30*time.Second))
	defer end.Stop()
	for {
		events, changed := s.h.store.after(r.After)
		if len(events) > 0 {
			out := &clientpb.TimelineResponse{}
			for _, e := range events[:min(len(events), 500)] {
				out.Events = append(out.Events, &clientpb.Event{
					Seq: e.Seq, AtMs: e.At, Kind: e.Kind, Text: e.Text, Asset: e.Asset, Amount: e.Amount,
					Count: uint32(e.Count), Txs: e.Txs, Deal: e.Deal, With: e.With,
				})
			}
			return out, nil
		}
		select {
		case <-changed:
		case <-end.C:
			return &clientpb.TimelineResponse{}, nil
		case <-gate.Stopping(ctx):
			return &clientpb.TimelineResponse{}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s server) Deposit(ctx context.Context, r *clientpb.DepositRequest) (*clientpb.DepositResponse, error) {
	var like *coin.Denomination
	var err error
	if r.Instance != "" || r.Pot != "" {
		if like, err = s.h.denominationOf(ctx, r.Instance, r.Pot); err != nil {
			return nil, refused(fmt.Errorf("deposit: %w", err))
		}
	}
	n, total, d, err := s.h.depositOf(ctx, coin.AssetID(r.Asset), r.UsdCents, r.Weight, like)
	if err != nil {
		return nil, refused(err)
	}
	return &clientpb.DepositResponse{Chunks: uint32(n), Amount: total.String(), Denomination: d.ID}, nil
}

func (s server) Offer(ctx context.Context, r *clientpb.OfferRequest) (*clientpb.OfferResponse, error) {
	if r.Role > 255 {
		return nil, refused(fmt.Errorf("role %d is absurd", r.Role))
	}
	manner, err := mannerOf(r)
	if err != nil {
		return nil, refused(fmt.Errorf("offer: %w", err))
	}
	id, err := s.h.Offer(ctx, r.Contract, coin.AssetID(r.Give), coin.AssetID(r.Want), r.UsdCents, r.PremiumBps, uint8(r.Role), r.GoodFor, manner)
	return &clientpb.OfferResponse{Id: id}, refused(err)
}

func (s server) Cancel(ctx context.Context, r *clientpb.CancelRequest) (*clientpb.CancelResponse, error) {
	return &clientpb.CancelResponse{}, refused(s.h.Cancel(ctx, r.Id))
}

func (s server) Claim(ctx context.Context, r *clientpb.ClaimRequest) (*clientpb.ClaimResponse, error) {
	var ids []wire.ChunkID
	for _, text := range r.Chunks {
		var id wire.ChunkID
		if err := id.UnmarshalText([]byte(text)); err != nil {
			return nil, refused(err)
		}
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return nil, refused(errors.New("claim: no chunk is named"))
	}
	return &clientpb.ClaimResponse{}, refused(s.h.order(ctx, ids, ""))
}

func (s server) Say(ctx context.Context, r *clientpb.SayRequest) (*clientpb.SayResponse, error) {
	var id wire.InstanceID
	if err := id.UnmarshalText([]byte(r.Instance)); err != nil {
		return nil, refused(err)
	}
	word, note, err := s.h.say(ctx, enclave.Say{Instance: id, Word: r.Word, Value: r.Value, HasValue: r.HasValue, Sealed: r.Sealed}, r.Figure)
	if err != nil {
		return nil, refused(err)
	}
	return &clientpb.SayResponse{Word: hex.EncodeToString(word[:]), Note: note}, nil
}

func (s server) Status(ctx context.Context, _ *clientpb.StatusRequest) (*clientpb.StatusResponse, error) {
	h := s.h
	st, err := h.vaultStatus(ctx)
	if err != nil {
		return nil, refused(err)
	}
	out := &clientpb.StatusResponse{Name: h.cfg.Name, Vault: h.id.String(), Now: st.Now}
	h.mu.Lock()
	for _, k := range sortedKeys(h.problems) {
		out.Problems = append(out.Problems, k+": "+h.problems[k])
	}
	h.mu.Unlock()
	for _, id := range h.assetIDs() {
		out.Balances = append(out.Balances, h.balance(ctx, coin.AssetID(id)))
	}
	sweeps := map[wire.ChunkID]Sweeping{}
	each(h.store, "sweep/", func(_ string, w Sweeping) {
		for _, id := range w.Chunks {
			sweeps[id] = w
		}
	})
	reserved := h.reserved()
	for _, c := range st.Chunks {
		if c.Chunk.Last == 0 && c.Chunk.Owner != h.id || c.Chunk.Owner != h.id && c.Chunk.Instance == (wire.InstanceID{}) {
			continue // another's, looked at for a proposal
		}
		if c.Chunk.Epoch == 0 && !c.Holds && !c.Chunk.Swept && !c.Chunk.Lost {
			continue // given away long ago, and looked at again for a proposal
		}
		out.Chunks = append(out.Chunks, h.chunk(c, st, sweeps, reserved))
	}
	each(h.store, "deal/", func(_ string, d Deal) { out.Deals = append(out.Deals, h.dealStatus(d, st)) })
	each(h.store, "offer/", func(_ string, p Placed) {
		w := &clientpb.Wait{What: p.Text + " (" + p.ID + ")", WaitsFor: p.Ended}
		if p.Ended == "" && !p.Sent {
			w.WaitsFor, w.Then = "the switchboard's answer", "it is placed there"
		} else if p.Ended == "" {
			w.WaitsFor, w.Then = "a counterparty", "it expires, and nothing has happened"
		}
		out.Offers = append(out.Offers, w)
	})
	each(h.store, "draft/", func(_ string, d Draft) { out.Drafts = append(out.Drafts, h.draftStatus(d, st)) })
	for _, x := range out.Balances {
		a := coin.Asset{ID: coin.AssetID(x.Asset), Decimals: uint8(x.Decimals)}
		out.Choices = append(out.Choices, x.Asset+" received is "+h.choice(a.ID).describe(a))
	}
	slices.SortFunc(out.Deals, func(a, b *clientpb.Deal) int { return strings.Compare(a.Id, b.Id) })
	return out, nil
}

func (h *Host) balance(ctx context.Context, id coin.AssetID) *clientpb.Balance {
	b := &clientpb.Balance{Asset: string(id)}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	a, err := h.asset(ctx, id)
	if err == nil {
		b.Chain, b.Decimals = a.Chain, uint32(a.Decimals)
		x, berr := h.cfg.Wallets[id].Balance(ctx, a)
		if err = berr; err == nil {
			b.Confirmed, b.Pending, b.Address = x.Confirmed.String(), x.Pending.String(), x.Address
			err = h.nodes[id].Check(ctx)
		}
	}
	if err != nil {
		b.Problem = err.Error()
	}
	return b
}

// chunk says what a chunk is doing, what it waits for, until when, and what
// happens then.
func (h *Host) chunk(c enclave.ChunkStatus, st enclave.Status, sweeps map[wire.ChunkID]Sweeping, reserved map[wire.ChunkID]bool) *clientpb.Chunk {
	asset := c.Cert.Denomination.Asset
	amount, _ := c.Cert.Denomination.Deposit(c.Cert.Weight)
	out := &clientpb.Chunk{
		Id: c.ID.String(), Asset: string(asset.ID), Amount: amount.String(), Decimals: uint32(asset.Decimals),
		Weight: c.Chunk.Weight, Epoch: c.Chunk.Epoch, Wait: &clientpb.Wait{What: "chunk " + c.ID.Short()},
	}
	w := out.Wait
	var f Funding
	funded := h.store.get("fund/"+c.Chunk.Cert.String(), &f)
	if funded {
		out.Txs = f.Txs
		if int(c.Chunk.Index) < len(f.Addresses) {
			out.Address = f.Addresses[c.Chunk.Index]
		}
	}
	sweep, sweeping := sweeps[c.ID]
	if sweeping {
		out.Txs = sweep.Txs
	}
	expiry := func(then string) { w.Until, w.Then = c.Cert.Expiry, then }
	claimed := func() { w.Until, w.Then = claimBy(c), "it is claimed by itself, before its certificate ends" }
	switch {
	case c.Chunk.Lost:
		out.State = "lost"
		w.WaitsFor, w.Then = "nothing", "this vault was restored from an old copy: its share is gone, and the coins with it"
	case c.Chunk.Swept:
		out.State = "swept"
		w.WaitsFor, w.Then = "nothing", "the coins are in the own wallet"
	case sweeping:
		out.State = "sweeping"
		w.WaitsFor, w.Then = "confirmations of the sweep", "both shares of the key are erased"
	case c.Whole:
		out.State = "whole"
		w.WaitsFor, w.Then = "the wallet to sweep it", "the coins are in the own wallet"
	case c.Chunk.Claim:
		out.State = "claiming"
		w.WaitsFor, w.Then = "the escrow's share, after its witnesses have signed the claim", "the key is whole"
	case c.Chunk.Instance != (wire.InstanceID{}):
		out.State = "locked"
		h.locked(c, st, w)
	case reserved[c.ID] && c.Pledge == (wire.Hash{}):
		out.State = "set aside"
		w.WaitsFor, w.Then = "the other parties of a draft", "it is free again"
	case c.Pledge != (wire.Hash{}):
		out.State = "pledged"
		w.WaitsFor, w.Then = "the other party and the escrow's lock", "it is free again"
		for _, p := range st.Pledges {
			if p.Agreement == c.Pledge {
				w.Until = p.LockBy
			}
		}
	case c.Chunk.Step != 0:
		out.State = "received"
		w.WaitsFor, w.Then = "its new share from the escrow", "it is held"
	case c.Chunk.Epoch == 0 && (!funded || f.State == "funding"):
		out.State = "unfunded"
		w.WaitsFor = "the wallet to pay the deposit"
		expiry("it can no longer be funded; nothing is lost")
	case c.Chunk.Epoch == 0 && f.State == "funded":
		out.State = "funded"
		w.WaitsFor = "confirmations of the deposit"
		expiry("it can only be claimed")
	case c.Chunk.Epoch == 0:
		out.State = "available"
		w.WaitsFor = "an offer that takes it"
		claimed()
	default:
		out.State = "held"
		w.WaitsFor = "a claim, or a use"
		claimed()
		if x := h.choice(asset.ID); x.Until != 0 && x.Until < w.Until && h.received(c) {
			w.Until, w.Then = x.Until, "it is claimed: the standing choice for "+string(asset.ID)
		}
	}
	return out
}

func (h *Host) locked(c enclave.ChunkStatus, st enclave.Status, w *clientpb.Wait) {
	w.WaitsFor = "instance " + c.Chunk.Instance.Short()
	for _, in := range st.Instances {
		if in.ID != c.Chunk.Instance {
			continue
		}
		w.Until = in.Until
		if in.Closed {
			w.WaitsFor, w.Then = settling(in)
			w.WaitsFor = fmt.Sprintf("its turn in instance %s of %s, which is closed: %s", in.ID.Short(), in.Contract, w.WaitsFor)
		} else if in.Opened {
			w.WaitsFor += fmt.Sprintf(" of %s, phase %s", in.Contract, in.Phase)
			w.Then = "the contract's deadline clause is carried out"
		} else {
			w.WaitsFor += fmt.Sprintf(" of %s to open: every party hands over and acknowledges its shares", in.Contract)
			w.Then = "the escrow aborts it and all chunks go back"
		}
	}
}

func (h *Host) dealStatus(d Deal, st enclave.Status) *clientpb.Deal {
	out := &clientpb.Deal{
		Id: d.id(), Contract: d.Contract, State: d.State, Gives: d.Gives,
		AcceptedMs: d.Accepted, OwnedMs: d.Owned, AtRisk: d.AtRisk, Wait: &clientpb.Wait{What: "deal " + d.id()},
	}
	w := out.Wait
	switch d.State {
	case "proposed":
		w.WaitsFor, w.Then = "this side's checks", "it is accepted or declined"
	case "accepted":
		w.WaitsFor, w.Then = "the other side's acceptance", "nothing has happened; the chunks are free"
		if a, err := d.agreement(); err == nil {
			w.Until = a.LockBy
		}
	case "locking":
		w.WaitsFor, w.Then = "the escrow's lock", "nothing has happened; the chunks are free"
		if a, err := d.agreement(); err == nil {
			w.Until = a.LockBy
		}
	case "locked":
		w.WaitsFor = "the contract"
	case "owned", "paid":
		w.WaitsFor, w.Then = "nothing", "it is settled"
		if d.Reason != "" {
			w.Then += "; " + d.Reason
		}
	default:
		w.WaitsFor, w.Then = "nothing", d.Reason
	}
	if d.Instance != (wire.InstanceID{}) {
		out.Instance = d.Instance.String()
	}
	for _, in := range st.Instances {
		if in.Agreement == d.Hash {
			out.Role = in.Party
			if !in.Closed {
				w.Until, w.Then = in.Until, "what the contract says for its deadline"
				if in.Opened {
					w.WaitsFor = "the contract, phase " + in.Phase
					h.sealedStatus(in, w)
				} else {
					w.WaitsFor, w.Then = "all parties to hand over their shares", "the escrow aborts it and all chunks go back"
				}
			}
			d.settledStatus(out, in)
			d.fundingStatus(out, in)
		}
	}
	return out
}
