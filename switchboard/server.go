package switchboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"latchkey/contract"
	"latchkey/gate"
	"latchkey/market"
	"latchkey/switchboard/switchboardpb"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// maxWait bounds how long Poll waits for news.
const maxWait = 30 * time.Second

// Bounds of one answer to Poll.
const (
	maxNotices     = 64
	maxNoticeBytes = 2 << 20
)

// Handler serves b over Connect.
func Handler(b *Board) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(switchboardpb.NewSwitchboardServiceHandler(server{b},
		connect.WithReadMaxBytes(maxMessage), connect.WithCompressMinBytes(4096), connect.WithRecover(recovered)))
	return mux
}

func recovered(_ context.Context, spec connect.Spec, _ http.Header, _ any) error {
	return connect.NewError(connect.CodeInternal, fmt.Errorf("%s failed inside the switchboard", spec.Procedure))
}

type server struct{ b *Board }

// Stranger says which requests anybody may make and cost the most: evidence is
// appraised.
func Stranger(r *http.Request) bool {
	return r.URL.Path == switchboardpb.SwitchboardServiceEnrolProcedure
}

// refuse gives an error the code by which clients tell refusals apart.
func refuse(err error) error {
	if limit := new(gate.LimitError); errors.As(err, &limit) {
		e := connect.NewError(connect.CodeResourceExhausted, err)
		e.Meta().Set("Retry-After", strconv.Itoa(limit.Seconds()))
		return e
	}
	code := connect.CodeInternal
	for _, x := range []struct {
		is   error
		code connect.Code
	}{
		{ErrUnknown, connect.CodeUnauthenticated}, {errRefused, connect.CodePermissionDenied}, {wire.ErrSignature, connect.CodePermissionDenied},
		{ErrStatement, connect.CodeFailedPrecondition}, {market.ErrInvalid, connect.CodeInvalidArgument},
		{market.ErrNotFound, connect.CodeNotFound}, {market.ErrConflict, connect.CodeAlreadyExists},
		{market.ErrLimit, connect.CodeResourceExhausted}, {market.ErrState, connect.CodeFailedPrecondition},
		{errWait, connect.CodeFailedPrecondition}, {errNoLog, connect.CodeUnavailable}, {errStopping, connect.CodeUnavailable},
		{context.Canceled, connect.CodeCanceled}, {context.DeadlineExceeded, connect.CodeDeadlineExceeded},
	} {
		if errors.Is(err, x.is) {
			code = x.code
			break
		}
	}
	return connect.NewError(code, err)
}

// open checks all of a statement but whether it was taken before, and decodes its
// payload.
func (s server) open(r *switchboardpb.Signed, method string, payload any) (*Statement, enclave.Peer, error) {
	fail := func(format string, args ...any) (*Statement, enclave.Peer, error) {
		return nil, enclave.Peer{}, fmt.Errorf("%s: %w", method, fmt.Errorf(format, args...))
	}
	var st Statement
	if err := wire.Unmarshal(r.Statement, &st); err != nil {
		return fail("%w: statement: %w", market.ErrInvalid, err)
	}
	peer, err := s.b.member(st.Client)
	if err != nil {
		return fail("%w", err)
	}
	if err := peer.Identity.Verify(enclave.PurposeHost, r.Statement, r.Signature); err != nil {
		return fail("statement of vault %s: %w", st.Client.Short(), err)
	}
	if err := s.b.cfg.Guard.Vault(st.Client.String()); err != nil {
		return fail("%w", err)
	}
	now := s.b.cfg.Clock()
	switch {
	case st.Method != method:
		return fail("%w: it is for %q", ErrStatement, st.Method)
	case st.At < now-MaxSkew || st.At > now+MaxSkew:
		return fail("%w: made at %d by its clock, it is %d here, more than %d s apart", ErrStatement, st.At, now, MaxSkew)
	}
	if err := wire.Unmarshal(st.Payload, payload); err != nil {
		return fail("%w: payload: %w", market.ErrInvalid, err)
	}
	return &st, peer, nil
}

// act takes a statement and does what it asks for, once.
func (s server) act(ctx context.Context, r *switchboardpb.Signed, method string, payload any, f func(*turn, *Statement) error) error {
	st, _, err := s.open(r, method, payload)
	if err == nil {
		err = s.b.do(ctx, func(t *turn) error {
			if err := t.take(st, true); err != nil {
				return err
			}
			return f(t, st)
		})
	}
	if err != nil {
		return refuse(err)
	}
	return nil
}

func (s server) Enrol(ctx context.Context, r *switchboardpb.EnrolRequest) (*switchboardpb.EnrolResponse, error) {
	p := enclave.Peer{Evidence: r.Evidence}
	if err := wire.Unmarshal(r.Identity, &p.Identity); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("identity: %w", err))
	}
	said, err := s.b.enrol(ctx, p)
	if err != nil {
		return nil, refuse(fmt.Errorf("enrol: %w", err))
	}
	return &switchboardpb.EnrolResponse{Appraisal: said}, nil
}

func (s server) Denominate(ctx context.Context, r *switchboardpb.Signed) (*switchboardpb.DenominateResponse, error) {
	var p DenominatePayload
	var out []byte
	err := s.act(ctx, r, "Denominate", &p, func(t *turn, _ *Statement) error {
		d, err := t.denominate(p.Asset)
		if err == nil {
			out, err = wire.Marshal(d)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &switchboardpb.DenominateResponse{Denomination: out}, nil
}

func (s server) Deposit(ctx context.Context, r *switchboardpb.Signed) (*switchboardpb.Done, error) {
	var p Announcement
	st, _, err := s.open(r, "Deposit", &p)
	if err != nil {
		return nil, refuse(err)
	}
	a, err := s.b.checkAnnouncement(p)
	if err == nil {
		err = s.b.do(ctx, func(t *turn) error {
			if err := t.take(st, true); err != nil {
				return err
			}
			return t.deposit(st.Client, a)
		})
	}
	if err != nil {
		return nil, refuse(fmt.Errorf("deposit: %w", err))
	}
	return &switchboardpb.Done{}, nil
}

func (s server) Place(ctx context.Context, r *switchboardpb.Signed) (*switchboardpb.Done, error) {
	var o market.Offer
	return done(s.act(ctx, r, "Place", &o, func(t *turn, st *Statement) error {
		if e := t.b.ledger.escrowID; o.Escrow != e {
			if e == (wire.VaultID{}) {
				return errNoLog
			}
			return fmt.Errorf("offer %s: %w: its escrow is %s, traded here are chunks of %s", o.ID, market.ErrInvalid, o.Escrow.Short(), e.Short())
		}
		return t.step(market.Place{Client: st.Client, Offer: o})
	}))
}

func done(err error) (*switchboardpb.Done, error) {
	if err != nil {
		return nil, err
	}
	return &switchboardpb.Done{}, nil
}

func (s server) Cancel(ctx context.Context, r *switchboardpb.Signed) (*switchboardpb.Done, error) {
	var id market.OfferID
	return done(s.act(ctx, r, "Cancel", &id, func(t *turn, st *Statement) error {
		return t.step(market.Cancel{Client: st.Client, Offer: id})
	}))
}

func (s server) Accept(ctx context.Context, r *switchboardpb.Signed) (*switchboardpb.Done, error) {
	var p AcceptPayload
	return done(s.act(ctx, r, "Accept", &p, func(t *turn, st *Statement) error {
		return t.accept(st.Client, p)
	}))
}

// accept passes an acceptance on to the market if it is one: of the proposal's
// agreement, in the client's role, signed by its vault. The others would bring it
// to the escrow in vain otherwise.
func (t *turn) accept(client wire.VaultID, p AcceptPayload) error {
	s, err := t.b.market.ProposalStatus(p.Proposal)
	if err != nil {
		return err
	}
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("acceptance of proposal %v: %w: %w", p.Proposal, market.ErrInvalid, fmt.Errorf(format, args...))
	}
	body := p.Acceptance.Body
	if h := t.b.hashes[p.Proposal]; body.Agreement != h {
		return refuse("it is of agreement %s, the proposal's is %s", body.Agreement.Short(), h.Short())
	}
	if int(body.Role) >= len(s.Proposal.Parties) || s.Proposal.Parties[body.Role] != client {
		return refuse("vault %s is not party %d", client.Short(), body.Role)
	}
	peer, err := t.b.member(client)
	if err != nil {
		return err
	}
	if err := p.Acceptance.Verify(peer.Identity); err != nil {
		return refuse("%w", err)
	}
	raw, err := wire.Marshal(p.Acceptance)
	if err != nil {
		return err
	}
	return t.step(market.Accept{Client: client, Proposal: p.Proposal, Acceptance: raw})
}

func (s server) Decline(ctx context.Context, r *switchboardpb.Signed) (*switchboardpb.Done, error) {
	var p DeclinePayload
	return done(s.act(ctx, r, "Decline", &p, func(t *turn, st *Statement) error {
		return t.step(market.Decline{Client: st.Client, Proposal: p.Proposal, Why: p.Why, Until: p.Until})
	}))
}

// noted is a notice for a client with what is attached to it.
type noted struct {
	delivery []byte
	proposal *market.Proposal
	source   []byte
}

func (s server) Poll(ctx context.Context, r *switchboardpb.Signed) (*switchboardpb.PollResponse, error) {
	var p PollPayload
	st, _, err := s.open(r, "Poll", &p)
	if err != nil {
		return nil, refuse(err)
	}
	list, err := s.b.poll(ctx, st, p)
	if err != nil {
		return nil, refuse(fmt.Errorf("poll: %w", err))
	}
	out := &switchboardpb.PollResponse{}
	bytes := 0
	for _, n := range list {
		x, err := s.b.attach(ctx, st.Client, n)
		if err != nil {
			return nil, refuse(fmt.Errorf("poll: %w", err))
		}
		for _, part := range append(append([][]byte{x.Delivery, x.Source}, x.Papers...), x.Peers...) {
			bytes += len(part)
		}
		if bytes > maxNoticeBytes && len(out.Notices) > 0 {
			break // the rest with the next poll
		}
		out.Notices = append(out.Notices, x)
	}
	return out, nil
}

// poll acknowledges, and returns the notices after the cursor, or waits for one.
func (b *Board) poll(ctx context.Context, st *Statement, p PollPayload) ([]noted, error) {
	timeout := time.NewTimer(min(time.Duration(p.WaitMs)*time.Millisecond, maxWait))
	defer timeout.Stop()
	for first, last := true, false; ; first = false {
		next := b.news(st.Client) // before looking, so that nothing is missed
		var list []noted
		err := b.do(ctx, func(t *turn) error {
			if first {
				if err := t.acknowledge(st, p.Acked); err != nil {
					return err
				}
			}
			var err error
			list, err = t.notices(st.Client, p.Acked)
			return err
		})
		if err != nil {
			return nil, err // list may still be written to
		}
		if len(list) > 0 || last {
			return list, nil
		}
		select {
		case <-next:
		case <-timeout.C:
			last = true
		case <-gate.Stopping(ctx):
			last = true
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-b.ctx.Done():
			return nil, errStopping
		}
	}
}

// acknowledge takes a poll's statement. One that acknowledges something new
// outlives a restart; one that does not may be heard again.
func (t *turn) acknowledge(st *Statement, cursor uint64) error {
	s, err := t.b.market.ClientStatus(st.Client)
	if err != nil {
		return err
	}
	if err := t.take(st, cursor > s.Acked); err != nil {
		return err
	}
	return t.step(market.Ack{Client: st.Client, Cursor: cursor})
}

// notices returns copies of what waits for a client.
func (t *turn) notices(client wire.VaultID, after uint64) ([]noted, error) {
	var out []noted
	for _, d := range t.b.market.Deliveries(client, after, maxNotices) {
		n := noted{proposal: d.Proposal}
		var err error
		if n.delivery, err = wire.Marshal(d); err != nil {
			return nil, err
		}
		if d.Proposal != nil {
			if n.source, err = t.b.market.Source(d.Proposal.Contract); err != nil {
				return nil, err
			}
		}
		out = append(out, n)
	}
	return out, nil
}

// attach adds to a notice what the client's vault needs to check a proposal.
func (b *Board) attach(ctx context.Context, client wire.VaultID, n noted) (*switchboardpb.Notice, error) {
	out := &switchboardpb.Notice{Delivery: n.delivery, Source: n.source}
	if n.proposal == nil {
		return out, nil
	}
	for _, side := range n.proposal.Sides {
		if side.Client == client {
			continue
		}
		for _, c := range side.Chunks {
			p, err := b.paper(ctx, c.Chunk)
			if err != nil {
				return nil, err
			}
			raw, err := wire.Marshal(p)
			if err != nil {
				return nil, err
			}
			out.Papers = append(out.Papers, raw)
		}
	}
	for _, v := range others(n.proposal.Parties, client) {
		b.mu.Lock()
		m := b.members[v]
		b.mu.Unlock()
		if m == nil {
			return nil, fmt.Errorf("party %s of proposal %v is not enrolled", v.Short(), n.proposal.ID)
		}
		raw, err := wire.Marshal(m.Peer)
		if err != nil {
			return nil, err
		}
		out.Peers = append(out.Peers, raw)
	}
	return out, nil
}

func (s server) Describe(ctx context.Context, _ *switchboardpb.DescribeRequest) (*switchboardpb.DescribeResponse, error) {
	b := s.b
	out := &switchboardpb.DescribeResponse{Name: b.cfg.Name, EscrowLogKey: b.cfg.Group.Log.String(), EscrowUrl: b.cfg.File.Escrow.URL, Problems: b.troubles()}
	for _, a := range b.cfg.Assets {
		r := &switchboardpb.Rate{Asset: string(a.ID)}
		if k := b.known(a.ID); k.err != nil {
			r.Problem = k.err.Error()
		} else {
			r.MicroUsd, r.At = strconv.FormatUint(uint64(k.rate.Price), 10), k.rate.At
		}
		out.Rates = append(out.Rates, r)
	}
	policy, err := json.Marshal(b.cfg.Market)
	if err != nil {
		return nil, refuse(err)
	}
	out.Policy = string(policy)
	err = b.do(ctx, func(t *turn) error {
		out.Followed = b.ledger.front.Size()
		for _, d := range b.market.Denominations() {
			raw, err := wire.Marshal(d)
			if err != nil {
				return err
			}
			out.Denominations = append(out.Denominations, raw)
		}
		for _, source := range b.cfg.Sources {
			name, h, err := nameOf(source)
			if err == nil {
				source, err = b.market.Source(h) // the layout that agreements have
			}
			if err != nil {
				return err
			}
			out.Contracts = append(out.Contracts, &switchboardpb.Contract{Name: name, Hash: h[:], Source: source})
		}
		return nil
	})
	if err != nil {
		return nil, refuse(fmt.Errorf("describe: %w", err))
	}
	return out, nil
}

// nameOf returns the name and the hash of a contract.
func nameOf(source []byte) (string, wire.Hash, error) {
	p, err := contract.Compile(source)
	if err != nil {
		return "", wire.Hash{}, err
	}
	return p.Name(), p.Hash(), nil
}
