package escrow

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"latchkey/escrow/escrowpb"
	"latchkey/gate"
	"latchkey/head"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/vault/session"
	"latchkey/wire"
)

// maxMessage bounds every message, either way.
const maxMessage = 4 << 20

// maxWait bounds how long Feed waits for news.
const maxWait = 30 * time.Second

// Handler serves h over Connect.
func Handler(h *Host) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(escrowpb.NewEscrowServiceHandler(server{h: h},
		connect.WithReadMaxBytes(maxMessage), connect.WithCompressMinBytes(1024), connect.WithRecover(recovered)))
	return mux
}

func recovered(_ context.Context, spec connect.Spec, _ http.Header, _ any) error {
	return connect.NewError(connect.CodeInternal, fmt.Errorf("%s failed inside the escrow's host", spec.Procedure))
}

type server struct{ h *Host }

func (s server) Describe(context.Context, *escrowpb.DescribeRequest) (*escrowpb.DescribeResponse, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	id, err := wire.Marshal(s.h.status.Identity)
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	return &escrowpb.DescribeResponse{
		Origin: s.h.cfg.Origin, LogKey: s.h.status.LogKey, Identity: id, Evidence: s.h.status.Evidence, Head: s.h.note, Size: s.h.added,
	}, nil
}

func (s server) Greet(ctx context.Context, r *escrowpb.GreetRequest) (*escrowpb.GreetResponse, error) {
	done, err := s.h.enrols(r.Hello)
	if err != nil {
		return nil, refuse(err)
	}
	defer done()
	out, err := s.h.ask(ctx, "greetings", enclave.Call{Greet: &enclave.Raw{Bytes: r.Hello}})
	if err != nil {
		return nil, refuse(err)
	}
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if s.h.note == nil {
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("no head was witnessed yet; try again in a second"))
	}
	return &escrowpb.GreetResponse{Welcome: out.Bytes, Head: s.h.note}, nil
}

func (s server) Send(ctx context.Context, r *escrowpb.SendRequest) (*escrowpb.SendResponse, error) {
	// What the frame says of its session is not verified here. Who makes up sessions
	// is held to the limit of the address, and to that of strangers when it greets.
	var f session.Frame
	if err := wire.Unmarshal(r.Frame, &f); err == nil {
		if err := s.h.cfg.Guard.Vault(string(f.Session[:])); err != nil {
			return nil, refuse(err)
		}
	}
	out, err := s.h.ask(ctx, string(f.Session[:]), enclave.Call{Frame: &enclave.Raw{Bytes: r.Frame}})
	if err != nil {
		return nil, refuse(err)
	}
	return &escrowpb.SendResponse{Frame: out.Bytes}, nil
}

func (s server) Lock(ctx context.Context, r *escrowpb.LockRequest) (*escrowpb.LockResponse, error) {
	var q vault.LockAsk
	if err := wire.Unmarshal(r.Lock, &q); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	id, err := s.h.Lock(ctx, q, len(r.Lock))
	if err != nil {
		return nil, refuse(err)
	}
	out := &escrowpb.LockResponse{}
	if id != (wire.InstanceID{}) {
		out.Instance = id[:]
	}
	return out, nil
}

func (s server) Feed(ctx context.Context, r *escrowpb.FeedRequest) (*escrowpb.FeedResponse, error) {
	if len(r.Vault) != 32 || r.KnownSize < 0 {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("a vault id of %d bytes, want 32, and a size of at least 0", len(r.Vault)))
	}
	u, err := s.h.Feed(ctx, wire.VaultID(r.Vault), r.Cursor, r.KnownSize, min(time.Duration(r.WaitMs)*time.Millisecond, maxWait))
	if err != nil {
		return nil, refuse(err)
	}
	out := &escrowpb.FeedResponse{Head: u.Head, Consistency: hashes(u.Consistency), Cursor: u.Cursor, More: u.More}
	for _, l := range u.Entries {
		out.Entries = append(out.Entries, &escrowpb.Logged{Position: l.Position, Entry: l.Entry, Proof: hashes(l.Proof)})
	}
	return out, nil
}

func (s server) Entries(ctx context.Context, r *escrowpb.EntriesRequest) (*escrowpb.EntriesResponse, error) {
	if r.From < 0 {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("from position %d", r.From))
	}
	n := int(min(r.Max, maxEntries))
	if n == 0 {
		n = maxEntries
	}
	p, err := s.h.Entries(ctx, r.From, n, min(time.Duration(r.WaitMs)*time.Millisecond, maxWait))
	if err != nil {
		return nil, refuse(err)
	}
	return &escrowpb.EntriesResponse{Head: p.Head, Entries: p.Entries, Consistency: hashes(p.Consistency)}, nil
}

func (s server) Peer(_ context.Context, r *escrowpb.PeerRequest) (*escrowpb.PeerResponse, error) {
	if len(r.Vault) != 32 {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("a vault id of %d bytes, want 32", len(r.Vault)))
	}
	s.h.mu.Lock()
	p, ok := s.h.feed.Peer(wire.VaultID(r.Vault))
	s.h.mu.Unlock()
	if !ok {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("vault %s is not enrolled here", wire.VaultID(r.Vault).Short()))
	}
	id, err := wire.Marshal(p.Identity)
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	return &escrowpb.PeerResponse{Identity: id, Evidence: p.Evidence}, nil
}

// Stranger says which requests anybody may make and cost the most: evidence is
// appraised.
func Stranger(r *http.Request) bool {
	return r.URL.Path == escrowpb.EscrowServiceGreetProcedure
}

func (s server) Post(_ context.Context, r *escrowpb.Signed) (*escrowpb.PostResponse, error) {
	if err := s.h.Post(Signed{r.Body, r.Signature}); err != nil {
		return nil, refuse(err)
	}
	return &escrowpb.PostResponse{}, nil
}

func (s server) Collect(ctx context.Context, r *escrowpb.CollectRequest) (*escrowpb.CollectResponse, error) {
	list, err := s.h.Collect(ctx, Signed{r.Collect.GetBody(), r.Collect.GetSignature()}, min(time.Duration(r.WaitMs)*time.Millisecond, maxWait))
	if err != nil {
		return nil, refuse(err)
	}
	out := &escrowpb.CollectResponse{}
	for _, l := range list {
		out.Letters = append(out.Letters, &escrowpb.ReceivedLetter{Number: l.Number, Letter: &escrowpb.Signed{Body: l.Body, Signature: l.Sig}})
	}
	return out, nil
}

func refuse(err error) error {
	var limit *gate.LimitError
	switch {
	case errors.As(err, &limit):
		e := connect.NewError(connect.CodeResourceExhausted, err)
		e.Meta().Set("Retry-After", strconv.Itoa(limit.Seconds()))
		return e
	case errors.Is(err, errFull):
		return connect.NewError(connect.CodeResourceExhausted, err)
	case errors.Is(err, enclave.ErrNoSession):
		return connect.NewError(connect.CodeUnauthenticated, err)
	case errors.Is(err, errStarting), errors.Is(err, enclave.ErrGone):
		return connect.NewError(connect.CodeUnavailable, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	}
	return connect.NewError(connect.CodeFailedPrecondition, err)
}

func hashes(in []head.Hash) [][]byte {
	out := make([][]byte, len(in))
	for i := range in {
		out[i] = in[i][:]
	}
	return out
}

// A Client talks to an escrow's host. What comes back is for a vault to verify.
type Client struct{ c escrowpb.EscrowServiceClient }

// NewClient returns a client of the escrow at a base URL.
func NewClient(url string, h *http.Client) *Client {
	return &Client{escrowpb.NewEscrowServiceClient(h, url, connect.WithReadMaxBytes(maxMessage), connect.WithSendCompression(""))}
}

// Description is what an escrow says about itself.
type Description struct {
	Origin   string
	LogKey   head.LogKey
	Identity wire.Identity
	Evidence []byte
	Head     []byte
	Size     int64
}

// Describe asks whose escrow this is.
func (c *Client) Describe(ctx context.Context) (Description, error) {
	r, err := c.c.Describe(ctx, &escrowpb.DescribeRequest{})
	if err != nil {
		return Description{}, fmt.Errorf("ask the escrow: %w", err)
	}
	d := Description{Origin: r.Origin, Evidence: r.Evidence, Head: r.Head, Size: r.Size}
	if d.LogKey, err = head.ParseLogKey(r.LogKey); err == nil {
		err = wire.Unmarshal(r.Identity, &d.Identity)
	}
	if err != nil {
		return Description{}, fmt.Errorf("the escrow's description: %w", err)
	}
	return d, nil
}

// Greet brings a Hello and returns the Welcome and the newest witnessed head.
func (c *Client) Greet(ctx context.Context, hello []byte) (welcome, note []byte, err error) {
	r, err := c.c.Greet(ctx, &escrowpb.GreetRequest{Hello: hello})
	if err != nil {
		return nil, nil, fmt.Errorf("greet the escrow: %w", err)
	}
	return r.Welcome, r.Head, nil
}

// Send brings a frame and returns the answer. enclave.ErrNoSession is wrapped
// when the escrow knows no such session.
func (c *Client) Send(ctx context.Context, frame []byte) ([]byte, error) {
	r, err := c.c.Send(ctx, &escrowpb.SendRequest{Frame: frame})
	if err != nil {
		if connect.CodeOf(err) == connect.CodeUnauthenticated {
			return nil, fmt.Errorf("%w: %w", enclave.ErrNoSession, err)
		}
		return nil, fmt.Errorf("send to the escrow: %w", err)
	}
	return r.Frame, nil
}

// Lock brings an agreement with all acceptances and returns its instance; or with
// that of one party, and returns zero as long as others are missing.
func (c *Client) Lock(ctx context.Context, q vault.LockAsk) (wire.InstanceID, error) {
	b, err := wire.Marshal(q)
	if err != nil {
		return wire.InstanceID{}, err
	}
	r, err := c.c.Lock(ctx, &escrowpb.LockRequest{Lock: b})
	if err != nil {
		return wire.InstanceID{}, fmt.Errorf("lock: %w", err)
	}
	if len(r.Instance) == 0 && len(q.Acceptances) < len(q.Agreement.Parties) {
		return wire.InstanceID{}, nil
	}
	if len(r.Instance) != 32 {
		return wire.InstanceID{}, fmt.Errorf("lock: an instance id of %d bytes from the escrow", len(r.Instance))
	}
	return wire.InstanceID(r.Instance), nil
}

// Feed asks for what is new for a vault.
func (c *Client) Feed(ctx context.Context, v wire.VaultID, cursor uint64, known int64, wait time.Duration) (Update, error) {
	r, err := c.c.Feed(ctx, &escrowpb.FeedRequest{Vault: v[:], Cursor: cursor, KnownSize: known, WaitMs: uint32(wait.Milliseconds())})
	if err != nil {
		return Update{}, fmt.Errorf("ask the escrow for news: %w", err)
	}
	u := Update{Head: r.Head, Cursor: r.Cursor, More: r.More}
	if u.Consistency, err = parseHashes(r.Consistency); err != nil {
		return Update{}, err
	}
	for _, l := range r.Entries {
		p, err := parseHashes(l.Proof)
		if err != nil {
			return Update{}, err
		}
		u.Entries = append(u.Entries, vault.Logged{Position: l.Position, Entry: l.Entry, Proof: p})
	}
	return u, nil
}

// Entries asks for all entries from a position on.
func (c *Client) Entries(ctx context.Context, from int64, limit int, wait time.Duration) (Page, error) {
	r, err := c.c.Entries(ctx, &escrowpb.EntriesRequest{From: from, Max: uint32(limit), WaitMs: uint32(wait.Milliseconds())})
	if err != nil {
		return Page{}, fmt.Errorf("ask the escrow for its log: %w", err)
	}
	p := Page{Head: r.Head, Entries: r.Entries}
	p.Consistency, err = parseHashes(r.Consistency)
	return p, err
}

// Peer asks for the identity and evidence of an enrolled vault.
func (c *Client) Peer(ctx context.Context, v wire.VaultID) (enclave.Peer, error) {
	r, err := c.c.Peer(ctx, &escrowpb.PeerRequest{Vault: v[:]})
	if err != nil {
		return enclave.Peer{}, fmt.Errorf("ask the escrow for vault %s: %w", v.Short(), err)
	}
	p := enclave.Peer{Evidence: r.Evidence}
	if err := wire.Unmarshal(r.Identity, &p.Identity); err != nil {
		return enclave.Peer{}, fmt.Errorf("vault %s: %w", v.Short(), err)
	}
	return p, nil
}

// Post leaves a letter for another vault.
func (c *Client) Post(ctx context.Context, s Signed) error {
	if _, err := c.c.Post(ctx, &escrowpb.Signed{Body: s.Body, Signature: s.Sig}); err != nil {
		return fmt.Errorf("post a letter: %w", err)
	}
	return nil
}

// Collect asks for letters, and waits for one.
func (c *Client) Collect(ctx context.Context, s Signed, wait time.Duration) ([]Received, error) {
	r, err := c.c.Collect(ctx, &escrowpb.CollectRequest{
		Collect: &escrowpb.Signed{Body: s.Body, Signature: s.Sig}, WaitMs: uint32(wait.Milliseconds()),
	})
	if err != nil {
		return nil, fmt.Errorf("collect letters: %w", err)
	}
	var out []Received
	for _, l := range r.Letters {
		out = append(out, Received{l.Number, Signed{l.Letter.GetBody(), l.Letter.GetSignature()}})
	}
	return out, nil
}

func parseHashes(in [][]byte) ([]head.Hash, error) {
	out := make([]head.Hash, len(in))
	for i, b := range in {
		if len(b) != len(head.Hash{}) {
			return nil, fmt.Errorf("a hash of %d bytes from the escrow", len(b))
		}
		out[i] = head.Hash(b)
	}
	return out, nil
}
