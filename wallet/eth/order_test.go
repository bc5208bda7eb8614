package eth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"latchkey/coin"
	"latchkey/wallet"
)

// answering is a node that gives the same answer to a method every time and counts
// the transactions that it is sent.
type answering struct {
	mu     sync.Mutex
	sent   int
	answer map[string]string // JSON; a text with "error" in it is an error
}

func (n *answering) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var calls []struct {
		ID     int
		Method string
	}
	if err := json.NewDecoder(r.Body).Decode(&calls); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var parts []string
	for _, c := range calls {
		if c.Method == "eth_sendRawTransaction" {
			n.sent++
		}
		id, err := json.Marshal(c.ID)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		field, answer := "result", n.answer[c.Method]
		if strings.Contains(answer, `"message"`) {
			field = "error"
		}
		parts = append(parts, `{"jsonrpc":"2.0","id":`+string(id)+`,"`+field+`":`+answer+`}`)
	}
	io.WriteString(w, "["+strings.Join(parts, ",")+"]")
}

// over opens a wallet over an answering node on which every address has an ether.
func over(t *testing.T) (*Wallet, *answering) {
	t.Helper()
	hash := `"0x` + strings.Repeat("77", 32) + `"`
	n := &answering{answer: map[string]string{
		"eth_chainId":               `"0x539"`,
		"eth_getBlockByNumber":      `{"number":"0x64","timestamp":"0x6b49d200","hash":` + hash + `,"transactions":[]}`,
		"eth_getBalance":            `"0xde0b6b3a7640000"`,
		"eth_getTransactionCount":   `"0x0"`,
		"eth_estimateGas":           `"0x5208"`,
		"eth_feeHistory":            `{"baseFeePerGas":["0x1","0x1"]}`,
		"eth_maxPriorityFeePerGas":  `"0x1"`,
		"eth_getTransactionReceipt": `null`,
		"eth_getTransactionByHash":  `null`,
		"eth_sendRawTransaction":    hash,
		"eth_syncing":               `false`,
	}}
	server := httptest.NewServer(n)
	t.Cleanup(server.Close)
	w, err := Open(t.Context(), Config{
		Data: t.TempDir(), Node: server.URL, ChainID: 1337,
		Confirmations: 1, MaxGwei: DefaultMaxGwei, Resend: time.Second,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w, n
}

func testPair(t *testing.T) wallet.SweepKey {
	t.Helper()
	k, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return wallet.SweepKey{Private: wallet.PrivateKey(crypto.FromECDSA(k)), Public: crypto.CompressPubkey(&k.PublicKey)}
}

// TestNothingIsSentUnlessWritten: what the node has and the book has not would
// be paid a second time after a crash.
func TestNothingIsSentUnlessWritten(t *testing.T) {
	w, n := over(t)
	k := testPair(t)
	most := coin.NewAmount(1e15)
	fund := wallet.FundRequest{
		Asset: w.asset, ID: "f", MaxFee: most,
		Payments: []wallet.Payment{{Address: "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", Amount: coin.NewAmount(1)}},
	}
	sweep := wallet.SweepRequest{Asset: w.asset, ID: "s", MaxFee: most, Keys: []wallet.SweepKey{k}}

	if _, err := w.Fund(t.Context(), fund); err != nil || n.sent != 1 {
		t.Fatalf("fund with a book that works: %v, %d sent, want 1", err, n.sent)
	}
	if s, err := w.Sweep(t.Context(), sweep); err != nil || s.Keys[0].Err != nil || n.sent != 2 {
		t.Fatalf("sweep with a book that works: %v, %d sent, want 2", err, n.sent)
	}
	if err := w.book.file.Close(); err != nil { // stands for a disk that fails
		t.Fatal(err)
	}
	fund.ID, sweep.ID, sweep.Keys = "f2", "s2", []wallet.SweepKey{testPair(t)}
	for range 2 {
		if _, err := w.Fund(t.Context(), fund); err == nil {
			t.Error("fund reported success though the book failed")
		}
		if _, err := w.Sweep(t.Context(), sweep); err == nil {
			t.Error("sweep reported success though the book failed")
		}
	}
	if n.sent != 2 {
		t.Errorf("%d transactions were sent that are not in the book", n.sent-2)
	}
}

func TestRefusalsOfTheNode(t *testing.T) {
	for message, want := range map[string]error{
		"already known":                       nil,
		"txpool is full":                      nil, // tried again later
		"nonce too low":                       wallet.ErrSpent,
		"replacement transaction underpriced": wallet.ErrSpent,
		"insufficient funds for gas * price":  wallet.ErrNotConfirmed,
	} {
		w, n := over(t)
		n.answer["eth_sendRawTransaction"] = `{"code":-32000,"message":"` + message + `"}`
		s, err := w.Sweep(t.Context(), wallet.SweepRequest{Asset: w.asset, ID: "s", MaxFee: coin.NewAmount(1e15), Keys: []wallet.SweepKey{testPair(t)}})
		if err != nil {
			t.Errorf("%s: %v", message, err)
			continue
		}
		if got := s.Keys[0]; !errors.Is(got.Err, want) || (got.Tx == "") != (want != nil) {
			t.Errorf("%s: %+v, want %v", message, got, want)
		}
	}
}

func TestNodeThatIsNotWell(t *testing.T) {
	for name, change := range map[string]func(n *answering){
		"refuses":        func(n *answering) { n.answer["eth_getBalance"] = `{"code":1,"message":"no state"}` },
		"null balance":   func(n *answering) { n.answer["eth_getBalance"] = `null` },
		"negative":       func(n *answering) { n.answer["eth_getBalance"] = `"-0x1"` },
		"not a number":   func(n *answering) { n.answer["eth_getBalance"] = `{}` },
		"not JSON":       func(n *answering) { n.answer["eth_getBalance"] = `}` },
		"no result":      func(n *answering) { n.answer["eth_getBalance"] = `1,"x":2` },
		"too much money": func(n *answering) { n.answer["eth_getBalance"] = `"0x1` + strings.Repeat("0", 64) + `"` },
	} {
		w, n := over(t)
		change(n)
		if _, err := w.Balance(t.Context(), w.asset); !errors.Is(err, wallet.ErrUnreachable) {
			t.Errorf("%s: balance: %v, want unreachable", name, err)
		}
		if _, err := w.Fund(t.Context(), wallet.FundRequest{
			Asset: w.asset, ID: "f", MaxFee: coin.NewAmount(1e15),
			Payments: []wallet.Payment{{Address: "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", Amount: coin.NewAmount(1)}},
		}); err == nil || n.sent != 0 {
			t.Errorf("%s: fund: %v, %d sent, want an error and none", name, err, n.sent)
		}
	}
}

// A node without peers is alone, where its chain makes blocks by itself; one that does not say
// how many it has is judged by its newest block alone, and keeps answering.
func TestPeers(t *testing.T) {
	for _, c := range []struct {
		name     string
		chain    uint64
		insecure bool
		answer   string
		alone    bool
	}{
		{"has peers", 1, false, `"0x19"`, false},
		{"has none", 1, false, `"0x0"`, true},
		{"has none, and need not", 1, true, `"0x0"`, false},
		{"has none, for development", 1337, false, `"0x0"`, false},
		{"does not offer it", 1, false, `{"code":-32601,"message":"the method net_peerCount does not exist"}`, false},
		{"says nothing", 1, false, `null`, false},
		{"says another thing", 1, false, `25`, false},
		{"says what is no JSON", 1, false, `}`, false},
	} {
		w, n := over(t)
		n.answer["eth_chainId"] = fmt.Sprintf(`"0x%x"`, c.chain)
		n.answer["eth_getBlockByNumber"] = strings.Replace(n.answer["eth_getBlockByNumber"], "0x6b49d200", fmt.Sprintf("0x%x", time.Now().Unix()), 1)
		n.answer["net_peerCount"] = c.answer
		w.cfg.ChainID, w.node.chainID, w.node.trusted = c.chain, c.chain, false
		w.cfg.MaxTipAge, w.cfg.InsecureAnyTipAge = 5*time.Minute, c.insecure
		for range 2 {
			d, err := w.Describe(t.Context())
			if err != nil || !d.Node.Reachable || d.Node.Alone != c.alone {
				t.Errorf("%s: described as %+v, %v", c.name, d.Node, err)
			}
			err = d.Follows(time.Now(), 0)
			if c.alone != errors.Is(err, wallet.ErrNotFollowing) || c.alone && !strings.Contains(err.Error(), "has no peers") || !c.alone && err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
}

// TestNodeChangesUnderWallet: after a failure the node is verified anew.
func TestNodeChangesUnderWallet(t *testing.T) {
	w, n := over(t)
	n.answer["eth_getBalance"] = `}`
	if _, err := w.Balance(t.Context(), w.asset); !errors.Is(err, wallet.ErrUnreachable) {
		t.Fatalf("broken node: %v", err)
	}
	n.answer["eth_getBalance"] = `"0x1"`
	n.answer["eth_chainId"] = `"0x1"`
	var other otherChain
	if _, err := w.Balance(t.Context(), w.asset); !errors.Is(err, wallet.ErrUnreachable) || !errors.As(err, &other) {
		t.Errorf("another chain behind the same URL: %v, want it refused", err)
	}
	n.answer["eth_chainId"] = `"0x539"`
	n.answer["eth_getBlockByNumber"] = strings.Replace(n.answer["eth_getBlockByNumber"], "77", "78", 1)
	if _, err := w.Balance(t.Context(), w.asset); !errors.As(err, &other) {
		t.Errorf("another chain of the same id: %v, want it refused", err)
	}
	n.answer["eth_getBlockByNumber"] = strings.Replace(n.answer["eth_getBlockByNumber"], "78", "77", 1)
	if b, err := w.Balance(t.Context(), w.asset); err != nil || b.Confirmed != coin.NewAmount(1) {
		t.Errorf("the right chain again: %v, %v", b, err)
	}
	d, err := w.Describe(t.Context())
	if err != nil || !d.Node.Reachable || d.Node.Height != 100 {
		t.Errorf("described as %+v, %v, want reachable at height 100", d.Node, err)
	}
	w.cfg.MaxTipAge = 5 * time.Minute
	d, err = w.Describe(t.Context())
	if err != nil || d.Node.TipTime != 1_800_000_000 || d.Node.MaxTipAge != 300 {
		t.Errorf("described as %+v, %v, want a newest block of 1800000000, which may be 300 s old", d.Node, err)
	}
}
