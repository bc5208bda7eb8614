package wallet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"latchkey/coin"
	"latchkey/gate"
	"latchkey/wallet"
	"latchkey/wallet/fake"
	"latchkey/wallet/walletpb"
)

var asset = coin.Asset{ID: "fbtc", Chain: "fake:1", Key: coin.Secp256k1, Address: "fake", Decimals: 8}

func key(b byte) wallet.SweepKey {
	d := wallet.PrivateKey(bytes.Repeat([]byte{b}, 32))
	p, err := wallet.PublicOf(coin.Secp256k1, d)
	if err != nil {
		panic(err) // a constant key is one
	}
	return wallet.SweepKey{Private: d, Public: p}
}

func newFake(t *testing.T) (*fake.Chain, *fake.Wallet) {
	t.Helper()
	chain, err := fake.New(fake.Config{Asset: asset, Confirmations: 3, Fee: coin.NewAmount(100), Dust: coin.NewAmount(50)})
	if err != nil {
		t.Fatal(err)
	}
	return chain, chain.Wallet("alice")
}

// broken is a wallet of which one method fails, with an error of its choice.
type broken struct {
	wallet.Wallet
	err error
}

func (b broken) Balance(context.Context, coin.Asset) (wallet.Balance, error) {
	return wallet.Balance{}, b.err
}

// Every error that callers branch on crosses the wire, with its text; what is
// none of them arrives as none.
func TestErrorsCross(t *testing.T) {
	for _, want := range []error{
		wallet.ErrInvalid, wallet.ErrUnknownAsset, wallet.ErrNotFunded, wallet.ErrNotConfirmed, wallet.ErrSpent, wallet.ErrFeeTooHigh,
		wallet.ErrInsufficient, wallet.ErrWrongKey, wallet.ErrUnreachable, wallet.ErrIDReused, context.Canceled, context.DeadlineExceeded,
		errors.New("a bug"),
	} {
		s := httptest.NewServer(wallet.Handler(broken{err: fmt.Errorf("while testing: %w\n\x1b[31m", want)}))
		_, err := wallet.NewClient(s.URL, s.Client()).Balance(t.Context(), asset)
		s.Close()
		known := want.Error() != "a bug"
		if errors.Is(err, want) != known {
			t.Errorf("%v: got %v", want, err)
		}
		for _, other := range []error{wallet.ErrInvalid, wallet.ErrUnreachable, wallet.ErrSpent, wallet.ErrNotFunded} {
			if other != want && errors.Is(err, other) {
				t.Errorf("%v: arrived as %v", want, other)
			}
		}
		if known && !errors.Is(want, context.Canceled) && !errors.Is(want, context.DeadlineExceeded) && !strings.Contains(err.Error(), "while testing: "+want.Error()) {
			t.Errorf("%v: text arrived as %q", want, err)
		}
		if strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%v: control characters arrived: %q", want, err)
		}
	}
}

type panicking struct{ wallet.Wallet }

func (panicking) Sweep(_ context.Context, r wallet.SweepRequest) (wallet.Sweep, error) {
	panic(fmt.Sprintf("%x", [32]byte(r.Keys[0].Private)))
}

// A panic inside a wallet is an error outside, and shows nothing of the request.
func TestPanicShowsNothing(t *testing.T) {
	s := httptest.NewServer(wallet.Handler(panicking{}))
	defer s.Close()
	_, err := wallet.NewClient(s.URL, s.Client()).Sweep(t.Context(), wallet.SweepRequest{Asset: asset, ID: "x", Keys: []wallet.SweepKey{key(7)}})
	if err == nil || strings.Contains(err.Error(), "0707") {
		t.Errorf("got %v, want an error without the key", err)
	}
}

// A page in a browser must not reach a wallet, nor anything that thinks it talks
// to another host.
func TestHandlerRefusesPages(t *testing.T) {
	_, w := newFake(t)
	s := httptest.NewServer(wallet.Handler(w))
	defer s.Close()
	post := func(host, origin string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/latchkey.wallet.v1.WalletService/Describe", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if host != "" {
			r.Host = host
		}
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		answer, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.StatusCode
	}
	for _, c := range []struct {
		host, origin string
		want         int
	}{
		{"", "", 200},
		{"localhost", "", 200},
		{"[::1]:80", "", 200},
		{"127.0.0.1:1", "", 200},
		{"", "https://evil.example", 403},
		{"", "null", 403},
		{"", "http://localhost", 403},
		{"evil.example", "", 403},
		{"127.0.0.1.evil.example", "", 403},
		{"10.0.0.1:80", "", 403},
		{"localhost.", "", 403},
	} {
		if got := post(c.host, c.origin); got != c.want {
			t.Errorf("host %q, origin %q: got status %d, want %d", c.host, c.origin, got, c.want)
		}
	}
}

// The protocol is open to programs in any language: plain JSON over HTTP.
func TestPlainJSON(t *testing.T) {
	_, w := newFake(t)
	s := httptest.NewServer(wallet.Handler(w))
	defer s.Close()
	call := func(method, body string) (int, map[string]any) {
		t.Helper()
		answer, err := s.Client().Post(s.URL+"/latchkey.wallet.v1.WalletService/"+method, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		raw, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		var out map[string]any
		if err := json.Unmarshal(raw, &out); err != nil {
			t.Fatalf("%s: %v: %s", method, err, raw)
		}
		return answer.StatusCode, out
	}
	const a = `"asset":{"id":"fbtc","chain":"fake:1","key":"KEY_TYPE_SECP256K1","address":"fake","decimals":8}`
	if status, got := call("Balance", "{"+a+"}"); status != 200 || got["confirmed"] != "0" || got["address"] == "" {
		t.Errorf("balance: got %d, %v", status, got)
	}
	for body, want := range map[string]string{
		"{}": "no asset",
		"{" + a + `,"id":"x","payments":[{"address":"a","amount":"-5"}]}`:                                       "amount",
		"{" + a + `,"id":"x","payments":[{"address":"a","amount":"1e9"}]}`:                                      "amount",
		"{" + a + `,"id":"x","payments":[{"address":"a","amount":"9999999999999999999999999999999999999999"}]}`: "amount",
		"{" + a + `,"id":"x","payments":[{"address":"a","amount":5}]}`:                                          "amount",
		"{" + a + `,"id":"x","payments":[null]}`:                                                                "",
		"{" + a + `,"id":"x","maxFee":"1.5","payments":[{"address":"a","amount":"5"}]}`:                         "max_fee",
		"{" + a + `,"id":"x","unknownField":1}`:                                                                 "",
		`{"asset":{"id":"fbtc","decimals":4000000000}}`:                                                         "decimals",
		`{"asset":{"id":"fbtc","key":77}}`:                                                                      "",
	} {
		status, got := call("Fund", body)
		if text := fmt.Sprint(got["message"]); status != 400 || !strings.Contains(text, want) {
			t.Errorf("fund %s: got %d, %v, want 400 and %q", body, status, got, want)
		}
	}
	if status, _ := call("Sweep", "{"+a+`,"id":"x","keys":[{"privateKey":"AAEC","publicKey":"AAEC"}]}`); status != 400 {
		t.Errorf("sweep with short keys: got status %d, want 400", status)
	}
}

func TestMessageIsBounded(t *testing.T) {
	_, w := newFake(t)
	s := httptest.NewServer(wallet.Handler(w))
	defer s.Close()
	body := append([]byte(`{"id":"`), append(bytes.Repeat([]byte("a"), 2<<20), []byte(`"}`)...)...)
	answer, err := s.Client().Post(s.URL+"/latchkey.wallet.v1.WalletService/Fund", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		t.Errorf("two megabytes: got status %d", answer.StatusCode)
	}
}

// lying answers a client with what no wallet of this package would say.
type lying struct {
	walletpb.UnimplementedWalletServiceHandler
}

func (lying) Deposits(context.Context, *walletpb.DepositsRequest) (*walletpb.DepositsResponse, error) {
	return &walletpb.DepositsResponse{}, nil
}

func (lying) Address(context.Context, *walletpb.AddressRequest) (*walletpb.AddressResponse, error) {
	return &walletpb.AddressResponse{Addresses: []string{"a", "b", "c"}}, nil
}

func (lying) Fund(context.Context, *walletpb.FundRequest) (*walletpb.FundResponse, error) {
	return &walletpb.FundResponse{TxOf: []uint32{4_000_000_000}}, nil
}

func (lying) Sweep(context.Context, *walletpb.SweepRequest) (*walletpb.SweepResponse, error) {
	return &walletpb.SweepResponse{Keys: []*walletpb.Swept{{}}}, nil
}

func (lying) Transaction(context.Context, *walletpb.TransactionRequest) (*walletpb.TransactionResponse, error) {
	return &walletpb.TransactionResponse{State: walletpb.TransactionResponse_STATE_PENDING, Confirmations: 7}, nil
}

func (lying) Fee(context.Context, *walletpb.FeeRequest) (*walletpb.FeeResponse, error) {
	return &walletpb.FeeResponse{Fund: "-1", Sweep: "1", FeeAsset: "x"}, nil
}

func (lying) Balance(context.Context, *walletpb.BalanceRequest) (*walletpb.BalanceResponse, error) {
	return &walletpb.BalanceResponse{Confirmed: "01"}, nil
}

func (lying) Describe(context.Context, *walletpb.DescribeRequest) (*walletpb.DescribeResponse, error) {
	return &walletpb.DescribeResponse{Assets: []*walletpb.AssetInfo{{}}}, nil
}

func TestClientRefusesMalformedAnswers(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle(walletpb.NewWalletServiceHandler(lying{}, connect.WithCompressMinBytes(1024)))
	s := httptest.NewServer(mux)
	defer s.Close()
	w := wallet.NewClient(s.URL, s.Client())
	ctx, k, one := t.Context(), key(1), coin.NewAmount(1)
	errs := make(map[string]error)
	_, errs["describe"] = w.Describe(ctx)
	_, errs["address"] = w.Addresses(ctx, asset, []wallet.PublicKey{k.Public})
	_, errs["deposits"] = w.Deposits(ctx, wallet.DepositsRequest{Asset: asset, Queries: []wallet.DepositQuery{{Key: k.Public}}})
	_, errs["fund"] = w.Fund(ctx, wallet.FundRequest{Asset: asset, ID: "x", Payments: []wallet.Payment{{Address: "a", Amount: one}}})
	_, errs["sweep"] = w.Sweep(ctx, wallet.SweepRequest{Asset: asset, ID: "x", Keys: []wallet.SweepKey{k}})
	_, errs["transaction"] = w.Transaction(ctx, asset, "x")
	_, errs["fee"] = w.Fee(ctx, asset, 1, 1)
	_, errs["balance"] = w.Balance(ctx, asset)
	for method, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "malformed answer") {
			t.Errorf("%s: got %v, want a malformed answer", method, err)
		}
		if errors.Is(err, wallet.ErrInvalid) {
			t.Errorf("%s: %v: the answer's fault is told as the request's", method, err)
		}
	}
}

func TestServeOnUnixSocket(t *testing.T) {
	chain, w := newFake(t)
	chain.Mine(3)
	path := filepath.Join(t.TempDir(), "w.sock")
	for range 2 { // the second time over the socket that the first left behind
		ctx, stop := context.WithCancel(t.Context())
		d, err := wallet.Open("unix:"+path, gate.Tables{}, "", quiet)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- d.Serve(ctx, w) }()
		c, err := wallet.Dial("unix:" + path)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := c.Describe(t.Context()); err != nil || d.Node.Height != 3 {
			t.Errorf("got %+v, %v", d, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("socket: got mode %v, %v, want 0600", info.Mode(), err)
		}
		if _, err := wallet.Listen("unix:" + path); err == nil || !strings.Contains(err.Error(), "another process serves it") {
			t.Errorf("listen twice: got %v", err)
		}
		stop()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("Serve did not end")
		}
		if _, err := c.Describe(t.Context()); !errors.Is(err, wallet.ErrUnreachable) {
			t.Errorf("connector gone: got %v, want unreachable", err)
		}
	}
}

func TestListenRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"":                                 "want unix:PATH or HOST:PORT",
		"0.0.0.0:0":                        "loopback",
		":0":                               "loopback",
		"example.com:80":                   "loopback",
		taken.Addr().String():              "address already in use",
		"unix:":                            "1 to 100",
		"unix:/nonexistent/dir/s":          "no such file",
		"unix:" + strings.Repeat("a", 101): "1 to 100",
	} {
		if l, err := wallet.Listen(address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("listen on %q: got %v, want %q", address, err, want)
			if l != nil {
				_ = l.Close()
			}
		}
	}
	for _, address := range []string{"", "unix:", "https://127.0.0.1:1", "http://example.com:1", "http://10.0.0.1:1", "http://127.0.0.1:1/path", "127.0.0.1:1", "http://127.0.0.1.evil.example"} {
		if _, err := wallet.Dial(address); err == nil {
			t.Errorf("dial %q: got no error", address)
		}
	}
}
