package wallet

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"latchkey/gate"
	"latchkey/wallet/walletpb"
)

// Handler serves w as Connect, gRPC and gRPC-Web. It refuses requests that come
// from a web page (an Origin header) or that were meant for another host (DNS
// rebinding): a page that the user visits must not reach the user's wallet.
func Handler(w Wallet) http.Handler {
	h := remoteHandler(w)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if !gate.Loopback(host) {
			http.Error(rw, "a wallet serves programs of this machine only", http.StatusForbidden)
			return
		}
		h.ServeHTTP(rw, r)
	})
}

// remoteHandler is Handler for callers over TLS, who have another name for this
// machine, and whom their certificate or token lets in.
func remoteHandler(w Wallet) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(walletpb.NewWalletServiceHandler(server{w: w},
		connect.WithReadMaxBytes(maxMessage), connect.WithSendMaxBytes(maxMessage), connect.WithCompressMinBytes(1024),
		connect.WithRecover(recovered)))
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" {
			http.Error(rw, "a wallet serves programs of this machine only", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(rw, r)
	})
}

// recovered says that a handler panicked, and nothing of what it was given: that
// may have been a private key.
func recovered(_ context.Context, spec connect.Spec, _ http.Header, _ any) error {
	return connect.NewError(connect.CodeInternal, fmt.Errorf("%s failed inside the wallet", spec.Procedure))
}

// Listen opens "unix:PATH" (mode 0600, the safer choice on a machine with other
// users) or "HOST:PORT" on loopback. Whoever can connect can spend, so any
// other address is refused. A socket file that nobody serves is replaced.
func Listen(address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return gate.ListenUnix(path)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: want unix:PATH or HOST:PORT: %w", address, err)
	}
	if !gate.Loopback(host) {
		return nil, fmt.Errorf("listen on %q: a wallet listens on loopback or a unix socket only", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

type server struct{ w Wallet }

func (s server) Describe(ctx context.Context, _ *walletpb.DescribeRequest) (*walletpb.DescribeResponse, error) {
	d, err := s.w.Describe(ctx)
	if err != nil {
		return nil, toWire(err)
	}
	return fromDescription(d), nil
}

func (s server) Address(ctx context.Context, m *walletpb.AddressRequest) (*walletpb.AddressResponse, error) {
	asset, err := toAsset(m.Asset)
	if err != nil {
		return nil, toWire(err)
	}
	keys := make([]PublicKey, len(m.PublicKeys))
	for i, k := range m.PublicKeys {
		keys[i] = k
	}
	if err := CheckKeys(asset, keys); err != nil {
		return nil, toWire(err)
	}
	addresses, err := s.w.Addresses(ctx, asset, keys)
	if err != nil {
		return nil, toWire(err)
	}
	return &walletpb.AddressResponse{Addresses: addresses}, nil
}

func (s server) Deposits(ctx context.Context, m *walletpb.DepositsRequest) (*walletpb.DepositsResponse, error) {
	r, err := toDepositsRequest(m)
	if err != nil {
		return nil, toWire(err)
	}
	d, err := s.w.Deposits(ctx, r)
	if err != nil {
		return nil, toWire(err)
	}
	return fromDeposits(d), nil
}

func (s server) Fund(ctx context.Context, m *walletpb.FundRequest) (*walletpb.FundResponse, error) {
	r, err := toFundRequest(m)
	if err != nil {
		return nil, toWire(err)
	}
	f, err := s.w.Fund(ctx, r)
	if err != nil {
		return nil, toWire(err)
	}
	return fromFunding(f), nil
}

func (s server) Sweep(ctx context.Context, m *walletpb.SweepRequest) (*walletpb.SweepResponse, error) {
	r, err := toSweepRequest(m)
	if err != nil {
		return nil, toWire(err)
	}
	v, err := s.w.Sweep(ctx, r)
	if err != nil {
		return nil, toWire(err)
	}
	return fromSweep(v), nil
}

func (s server) Transaction(ctx context.Context, m *walletpb.TransactionRequest) (*walletpb.TransactionResponse, error) {
	asset, err := toAsset(m.Asset)
	if err != nil {
		return nil, toWire(err)
	}
	id := TxID(m.Id)
	if err := CheckTxID(id); err != nil {
		return nil, toWire(err)
	}
	t, err := s.w.Transaction(ctx, asset, id)
	if err != nil {
		return nil, toWire(err)
	}
	return &walletpb.TransactionResponse{
		State: walletpb.TransactionResponse_State(t.State), Confirmations: t.Confirmations, Conflict: string(t.Conflict),
	}, nil
}

func (s server) Fee(ctx context.Context, m *walletpb.FeeRequest) (*walletpb.FeeResponse, error) {
	asset, err := toAsset(m.Asset)
	if err == nil && (m.Fund > MaxItems || m.Sweep > MaxItems) {
		err = fmt.Errorf("%w: fee of %d payments and %d keys, want 0 to %d", ErrInvalid, m.Fund, m.Sweep, MaxItems)
	}
	if err != nil {
		return nil, toWire(err)
	}
	f, err := s.w.Fee(ctx, asset, int(m.Fund), int(m.Sweep))
	if err != nil {
		return nil, toWire(err)
	}
	return &walletpb.FeeResponse{Fund: f.Fund.String(), Sweep: f.Sweep.String(), FeeAsset: string(f.Asset)}, nil
}

func (s server) Balance(ctx context.Context, m *walletpb.BalanceRequest) (*walletpb.BalanceResponse, error) {
	asset, err := toAsset(m.Asset)
	if err != nil {
		return nil, toWire(err)
	}
	b, err := s.w.Balance(ctx, asset)
	if err != nil {
		return nil, toWire(err)
	}
	return &walletpb.BalanceResponse{Confirmed: b.Confirmed.String(), Pending: b.Pending.String(), Address: b.Address}, nil
}
