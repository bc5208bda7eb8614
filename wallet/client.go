package wallet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect"

	"latchkey/coin"
	"latchkey/gate"
	"latchkey/wallet/walletpb"
)

// maxMessage bounds every message, either way.
const maxMessage = 1 << 20

// How long the two sides wait. A connector looks at a thousand addresses, or
// signs for a thousand keys, well within these.
const (
	dialTimeout = 5 * time.Second
	callTimeout = 60 * time.Second
)

// Dial returns a client of the connector at an address: "unix:/run/wallet.sock"
// or "http://127.0.0.1:8701". It connects with the first call, so a connector
// that is down is ErrUnreachable then.
func Dial(address string) (Wallet, error) {
	dialer := &net.Dialer{Timeout: dialTimeout}
	transport := &http.Transport{
		Proxy: nil, // the wallet is on this machine: no proxy of the environment sees it
		DialContext: func(ctx context.Context, network, hostport string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, hostport)
		},
		MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute,
	}
	client := &http.Client{Transport: transport, CheckRedirect: noRedirect}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if path == "" {
			return nil, fmt.Errorf("wallet address %q: no path", address)
		}
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		}
		return NewClient("http://localhost", client), nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Path != "" && u.Path != "/" || !gate.Loopback(u.Hostname()) {
		return nil, fmt.Errorf("wallet address %q: want unix:PATH, or http:// and a loopback address", address)
	}
	return NewClient(strings.TrimSuffix(address, "/"), client), nil
}

func noRedirect(*http.Request, []*http.Request) error {
	return errors.New("a wallet does not redirect")
}

// NewClient returns a client of the connector at baseURL.
func NewClient(baseURL string, httpClient connect.HTTPClient) Wallet {
	return client{walletpb.NewWalletServiceClient(httpClient, baseURL,
		connect.WithReadMaxBytes(maxMessage), connect.WithSendMaxBytes(maxMessage), connect.WithCompressMinBytes(1024))}
}

type client struct{ rpc walletpb.WalletServiceClient }

// limited gives a call a deadline if its context has none.
func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, callTimeout)
}

func (c client) Describe(ctx context.Context) (Description, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	m, err := c.rpc.Describe(ctx, &walletpb.DescribeRequest{})
	if err != nil {
		return Description{}, fromWire(ctx, "describe", err)
	}
	d, err := toDescription(m)
	return d, answered("describe", err)
}

// answered says that the fault is in the answer, not in the request.
func answered(method string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("wallet %s: malformed answer: %v", method, err)
}

func (c client) Addresses(ctx context.Context, asset coin.Asset, keys []PublicKey) ([]string, error) {
	if err := CheckKeys(asset, keys); err != nil {
		return nil, err
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	r := &walletpb.AddressRequest{Asset: fromAsset(asset)}
	for _, k := range keys {
		r.PublicKeys = append(r.PublicKeys, k)
	}
	m, err := c.rpc.Address(ctx, r)
	if err != nil {
		return nil, fromWire(ctx, "address", err)
	}
	if len(m.Addresses) != len(keys) {
		return nil, answered("address", fmt.Errorf("%d addresses of %d keys", len(m.Addresses), len(keys)))
	}
	return m.Addresses, nil
}

func (c client) Deposits(ctx context.Context, r DepositsRequest) (Deposits, error) {
	if err := r.Check(); err != nil {
		return Deposits{}, err
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	m, err := c.rpc.Deposits(ctx, fromDepositsRequest(r))
	if err != nil {
		return Deposits{}, fromWire(ctx, "deposits", err)
	}
	d, err := toDeposits(m, len(r.Queries))
	return d, answered("deposits", err)
}

func (c client) Fund(ctx context.Context, r FundRequest) (Funding, error) {
	if _, err := r.Check(); err != nil {
		return Funding{}, err
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	m, err := c.rpc.Fund(ctx, fromFundRequest(r))
	if err != nil {
		return Funding{}, fromWire(ctx, "fund", err)
	}
	f, err := toFunding(m, len(r.Payments))
	return f, answered("fund", err)
}

func (c client) Sweep(ctx context.Context, r SweepRequest) (Sweep, error) {
	if err := r.Check(); err != nil {
		return Sweep{}, err
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	m, err := c.rpc.Sweep(ctx, fromSweepRequest(r))
	if err != nil {
		return Sweep{}, fromWire(ctx, "sweep", err)
	}
	s, err := toSweep(m, len(r.Keys))
	return s, answered("sweep", err)
}

func (c client) Transaction(ctx context.Context, asset coin.Asset, id TxID) (TxStatus, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	m, err := c.rpc.Transaction(ctx, &walletpb.TransactionRequest{Asset: fromAsset(asset), Id: string(id)})
	if err != nil {
		return TxStatus{}, fromWire(ctx, "transaction", err)
	}
	if m.State < 1 || m.State > walletpb.TransactionResponse_STATE_CONFLICTED ||
		(m.Confirmations > 0) != (m.State == walletpb.TransactionResponse_STATE_CONFIRMED) {
		return TxStatus{}, answered("transaction", fmt.Errorf("state %v with %d confirmations", m.State, m.Confirmations))
	}
	rival, err := toTxID(m.Conflict)
	return TxStatus{State: TxState(m.State), Confirmations: m.Confirmations, Conflict: rival}, answered("transaction", err)
}

func (c client) Fee(ctx context.Context, asset coin.Asset, fund, sweep int) (Fees, error) {
	if fund < 0 || fund > MaxItems || sweep < 0 || sweep > MaxItems {
		return Fees{}, fmt.Errorf("%w: fee of %d payments and %d keys, want 0 to %d", ErrInvalid, fund, sweep, MaxItems)
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	m, err := c.rpc.Fee(ctx, &walletpb.FeeRequest{Asset: fromAsset(asset), Fund: uint32(fund), Sweep: uint32(sweep)})
	if err != nil {
		return Fees{}, fromWire(ctx, "fee", err)
	}
	var r amounts
	f := Fees{Fund: r.read("fund", m.Fund), Sweep: r.read("sweep", m.Sweep), Asset: coin.AssetID(m.FeeAsset)}
	return f, answered("fee", errors.Join(r.err, f.Asset.Check()))
}

func (c client) Balance(ctx context.Context, asset coin.Asset) (Balance, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	m, err := c.rpc.Balance(ctx, &walletpb.BalanceRequest{Asset: fromAsset(asset)})
	if err != nil {
		return Balance{}, fromWire(ctx, "balance", err)
	}
	var r amounts
	b := Balance{Confirmed: r.read("confirmed", m.Confirmed), Pending: r.read("pending", m.Pending), Address: m.Address}
	return b, answered("balance", r.err)
}
