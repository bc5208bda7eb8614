package switchboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"latchkey/coin"
	"latchkey/market"
	"latchkey/switchboard/switchboardpb"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// maxMessage bounds every message, either way.
const maxMessage = 4 << 20

// A Signer signs a host's statements with its vault's identity.
type Signer interface {
	ID() wire.VaultID
	Sign(ctx context.Context, body []byte) ([]byte, error)
}

// A Client talks to a switchboard for one vault. Any goroutine may call it.
type Client struct {
	c      switchboardpb.SwitchboardServiceClient
	signer Signer
	mu     sync.Mutex
	number uint64
}

// NewClient returns a client of the switchboard at a base URL.
func NewClient(url string, h *http.Client, s Signer) *Client {
	return &Client{c: switchboardpb.NewSwitchboardServiceClient(h, url, connect.WithReadMaxBytes(maxMessage)), signer: s}
}

// sign makes the next statement. Numbers grow across restarts too: they begin
// with the clock.
func (c *Client) sign(ctx context.Context, method string, payload any) (*switchboardpb.Signed, error) {
	p, err := wire.Marshal(payload)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock() // statements leave in the order of their numbers
	now := time.Now()
	c.number = max(c.number+1, uint64(now.UnixMicro()))
	b, err := wire.Marshal(Statement{Client: c.signer.ID(), Method: method, At: now.Unix(), Number: c.number, Payload: p})
	if err != nil {
		return nil, err
	}
	sig, err := c.signer.Sign(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("sign a statement for the switchboard: %w", err)
	}
	return &switchboardpb.Signed{Statement: b, Signature: sig}, nil
}

func call[T any](ctx context.Context, c *Client, method string, payload any, f func(context.Context, *switchboardpb.Signed) (T, error)) (T, error) {
	var none T
	s, err := c.sign(ctx, method, payload)
	if err != nil {
		return none, err
	}
	out, err := f(ctx, s)
	if err != nil {
		if connect.CodeOf(err) == connect.CodeUnauthenticated {
			return none, fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		return none, said(method, err)
	}
	return out, nil
}

// Refused reports whether the switchboard has decided against what was asked. After
// any other error it may have done it, and only its answer was lost.
func Refused(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeInvalidArgument, connect.CodeNotFound, connect.CodeAlreadyExists, connect.CodePermissionDenied,
		connect.CodeResourceExhausted, connect.CodeFailedPrecondition, connect.CodeUnauthenticated:
		return true
	}
	return false
}

// answer is an error of the switchboard, told without the RPC's code: that says
// nothing to a person, and is there for Refused.
type answer struct {
	method string
	err    *connect.Error
}

func (a answer) Error() string { return "switchboard: " + a.method + ": " + a.err.Message() }

func (a answer) Unwrap() error { return a.err }

func said(method string, err error) error {
	var c *connect.Error
	if errors.As(err, &c) {
		return answer{method, c}
	}
	return fmt.Errorf("switchboard: %s: %w", method, err)
}

// Describe asks what is traded.
func (c *Client) Describe(ctx context.Context) (*switchboardpb.DescribeResponse, error) {
	r, err := c.c.Describe(ctx, &switchboardpb.DescribeRequest{})
	if err != nil {
		return nil, said("Describe", err)
	}
	return r, nil
}

// Enrol shows the vault's identity and evidence; it returns the appraisal.
func (c *Client) Enrol(ctx context.Context, id wire.Identity, evidence []byte) (string, error) {
	b, err := wire.Marshal(id)
	if err != nil {
		return "", err
	}
	r, err := c.c.Enrol(ctx, &switchboardpb.EnrolRequest{Identity: b, Evidence: evidence})
	if err != nil {
		return "", said("Enrol", err)
	}
	return r.Appraisal, nil
}

// Denominate asks for today's denomination of an asset.
func (c *Client) Denominate(ctx context.Context, a coin.Asset) (coin.Denomination, error) {
	r, err := call(ctx, c, "Denominate", DenominatePayload{a}, c.c.Denominate)
	if err != nil {
		return coin.Denomination{}, err
	}
	var d coin.Denomination
	if err := wire.Unmarshal(r.Denomination, &d); err != nil {
		return coin.Denomination{}, err
	}
	return d, d.Check()
}

// Deposit announces funded chunks.
func (c *Client) Deposit(ctx context.Context, a Announcement) error {
	_, err := call(ctx, c, "Deposit", a, c.c.Deposit)
	return err
}

// Place places an offer.
func (c *Client) Place(ctx context.Context, o market.Offer) error {
	_, err := call(ctx, c, "Place", o, c.c.Place)
	return err
}

// Cancel closes an offer.
func (c *Client) Cancel(ctx context.Context, id market.OfferID) error {
	_, err := call(ctx, c, "Cancel", id, c.c.Cancel)
	return err
}

// Accept brings an acceptance of a proposal.
func (c *Client) Accept(ctx context.Context, p market.ProposalID, a vault.SignedAcceptance) error {
	_, err := call(ctx, c, "Accept", AcceptPayload{p, a}, c.c.Accept)
	return err
}

// Decline refuses a proposal. until is 0, but for market.Pledged.
func (c *Client) Decline(ctx context.Context, p market.ProposalID, why market.DeclineReason, until int64) error {
	_, err := call(ctx, c, "Decline", DeclinePayload{p, why, until}, c.c.Decline)
	return err
}

// Poll acknowledges notices and waits for later ones.
func (c *Client) Poll(ctx context.Context, acked uint64, wait time.Duration) ([]Notice, error) {
	r, err := call(ctx, c, "Poll", PollPayload{acked, uint32(wait.Milliseconds())}, c.c.Poll)
	if err != nil {
		return nil, err
	}
	var out []Notice
	for _, n := range r.Notices {
		x := Notice{Source: n.Source}
		if err := wire.Unmarshal(n.Delivery, &x.Delivery); err != nil {
			return nil, err
		}
		for _, b := range n.Papers {
			var p vault.Paper
			if err := wire.Unmarshal(b, &p); err != nil {
				return nil, err
			}
			x.Papers = append(x.Papers, p)
		}
		for _, b := range n.Peers {
			var p enclave.Peer
			if err := wire.Unmarshal(b, &p); err != nil {
				return nil, err
			}
			x.Peers = append(x.Peers, p)
		}
		out = append(out, x)
	}
	return out, nil
}

// Status asks what the client's offers, proposals and chunks wait for.
func (c *Client) Status(ctx context.Context) (*switchboardpb.StatusResponse, error) {
	return call(ctx, c, "Status", struct{}{}, c.c.Status)
}
