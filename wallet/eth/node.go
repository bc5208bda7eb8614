package eth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"latchkey/wallet"
)

const (
	// batchSize bounds the calls of one HTTP request. Nodes cap it: geth at 1,000.
	batchSize = 200
	// maxAnswer bounds the bytes of one HTTP answer. A full block of
	// transactions stays well below it.
	maxAnswer = 32 << 20
)

// node is a client of an Ethereum node's JSON-RPC
// (https://ethereum.github.io/execution-apis/). Whatever keeps the node from
// answering, or makes it another node than the one that was configured, is
// wallet.ErrUnreachable.
type node struct {
	url     string // may hold an access key: never in an error
	name    string // its host and port
	chainID uint64
	client  *http.Client

	mu      sync.Mutex
	genesis common.Hash // zero until the node was verified for the first time
	pinned  func(common.Hash) error
	trusted bool // verified, and always answered since
}

// newNode returns a client that pins the node's first block by pin when it first
// meets the node, and from then on accepts no other; genesis is the block
// that was pinned before, or zero.
func newNode(url *url.URL, chainID uint64, genesis common.Hash, pin func(common.Hash) error) *node {
	return &node{
		url: url.String(), name: url.Host, chainID: chainID, genesis: genesis, pinned: pin,
		client: &http.Client{
			Timeout:   20 * time.Second,
			Transport: &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return errors.New("a node does not redirect")
			},
		},
	}
}

// call is one method call. After [node.do] without an error, either result is
// filled or refused says why the node did not answer this call.
type call struct {
	method  string
	params  []any
	result  any
	refused *refusal
}

// refusal is a JSON-RPC error: the node is there and says no.
type refusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (r *refusal) Error() string {
	message := r.Message
	if len(message) > 300 {
		message = message[:300] + "…"
	}
	return fmt.Sprintf("node: %s (code %d)", message, r.Code)
}

// do performs calls in order, batched, on the chain that was configured.
func (n *node) do(ctx context.Context, calls ...*call) error {
	if err := n.verify(ctx); err != nil {
		return err
	}
	err := n.send(ctx, calls)
	if errors.Is(err, wallet.ErrUnreachable) {
		// What answers next may be another node.
		n.mu.Lock()
		n.trusted = false
		n.mu.Unlock()
	}
	return err
}

// must is do for calls that a healthy node never refuses.
func (n *node) must(ctx context.Context, calls ...*call) error {
	if err := n.do(ctx, calls...); err != nil {
		return err
	}
	for _, c := range calls {
		if c.refused != nil {
			return fmt.Errorf("%w: %s: %w", wallet.ErrUnreachable, c.method, c.refused)
		}
	}
	return nil
}

// verify makes sure, once per connection to the node, that it serves the chain
// that was configured and the one that this wallet's records are about.
func (n *node) verify(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.trusted {
		return nil
	}
	var id hexutil.Uint64
	var first struct{ Hash common.Hash }
	calls := []*call{
		{method: "eth_chainId", result: &id},
		{method: "eth_getBlockByNumber", params: []any{"0x0", false}, result: &first},
	}
	if err := n.send(ctx, calls); err != nil {
		return err
	}
	for _, c := range calls {
		if c.refused != nil {
			return fmt.Errorf("%w: %s: %w", wallet.ErrUnreachable, c.method, c.refused)
		}
	}
	if uint64(id) != n.chainID {
		return otherChain(fmt.Sprintf("the node at %s serves chain %d, not %d", n.name, uint64(id), n.chainID))
	}
	if first.Hash == (common.Hash{}) {
		return fmt.Errorf("%w: the node at %s has no first block", wallet.ErrUnreachable, n.name)
	}
	if n.genesis == (common.Hash{}) {
		if err := n.pinned(first.Hash); err != nil {
			return err
		}
		n.genesis = first.Hash
	}
	if first.Hash != n.genesis {
		return otherChain(fmt.Sprintf("the node at %s has another chain of id %d: its first block is %v, this wallet's records are about %v",
			n.name, n.chainID, first.Hash, n.genesis))
	}
	n.trusted = true
	return nil
}

// otherChain says that the node serves another chain than it should. It is
// wallet.ErrUnreachable: the right one is not reached.
type otherChain string

func (e otherChain) Error() string { return string(e) }

// Unwrap returns wallet.ErrUnreachable.
func (e otherChain) Unwrap() error { return wallet.ErrUnreachable }

// send performs calls without verifying the node.
func (n *node) send(ctx context.Context, calls []*call) error {
	for len(calls) > 0 {
		some := calls[:min(batchSize, len(calls))]
		if err := n.post(ctx, some); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("ask the node at %s: %w", n.name, ctx.Err())
			}
			return fmt.Errorf("%w: the node at %s: %w", wallet.ErrUnreachable, n.name, err)
		}
		calls = calls[len(some):]
	}
	return nil
}

type request struct {
	Version string `json:"jsonrpc"`
	ID      int    `json:"id"`
	Method  string `json:"method"`
	Params  []any  `json:"params"`
}

type response struct {
	ID     *int            `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *refusal        `json:"error"`
}

func (n *node) post(ctx context.Context, calls []*call) error {
	requests := make([]request, len(calls))
	for i, c := range calls {
		requests[i] = request{Version: "2.0", ID: i, Method: c.method, Params: c.params}
		if c.params == nil {
			requests[i].Params = []any{}
		}
		c.refused = nil
	}
	body, err := json.Marshal(requests)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL is malformed")
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := n.client.Do(req)
	if err != nil {
		var quoting *url.Error
		if errors.As(err, &quoting) {
			err = quoting.Err
		}
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return err
	}
	if len(raw) > maxAnswer {
		return fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP status %s", res.Status)
	}
	return fill(calls, raw)
}

// fill reads the answer to a batch. The answers may come in any order, but there
// is exactly one for each call.
func fill(calls []*call, raw []byte) error {
	var responses []response
	if err := json.Unmarshal(raw, &responses); err != nil {
		// A node that refuses the whole batch answers with one object.
		var one response
		if json.Unmarshal(raw, &one) == nil && one.Error != nil {
			return one.Error
		}
		return errors.New("an answer that is not JSON-RPC")
	}
	if len(responses) != len(calls) {
		return fmt.Errorf("%d answers to %d calls", len(responses), len(calls))
	}
	answered := make([]bool, len(calls))
	for _, r := range responses {
		if r.ID == nil || *r.ID < 0 || *r.ID >= len(calls) || answered[*r.ID] {
			return errors.New("an answer to no call")
		}
		answered[*r.ID] = true
		c := calls[*r.ID]
		if r.Error != nil {
			c.refused = r.Error
			continue
		}
		if len(r.Result) == 0 {
			return fmt.Errorf("%s: neither result nor error", c.method)
		}
		if err := json.Unmarshal(r.Result, c.result); err != nil {
			return fmt.Errorf("%s: a malformed result: %w", c.method, err)
		}
	}
	return nil
}

// header is what this package reads of a block.
type header struct {
	Number hexutil.Uint64 `json:"number"`
	Time   hexutil.Uint64 `json:"timestamp"`
	Hash   common.Hash    `json:"hash"`
}

// head returns the best block.
func (n *node) head(ctx context.Context) (header, error) {
	var h *header
	if err := n.must(ctx, &call{method: "eth_getBlockByNumber", params: []any{"latest", false}, result: &h}); err != nil {
		return header{}, err
	}
	if h == nil {
		return header{}, fmt.Errorf("%w: the node at %s has no best block", wallet.ErrUnreachable, n.name)
	}
	return *h, nil
}

// alone reports whether the node says that it has no peers. One that does not offer this
// call, as services for many users do not, says nothing of it.
func (n *node) alone(ctx context.Context) bool {
	var answer json.RawMessage
	c := call{method: "net_peerCount", result: &answer}
	if n.send(ctx, []*call{&c}) != nil || c.refused != nil {
		return false
	}
	var peers *hexutil.Uint64
	return json.Unmarshal(answer, &peers) == nil && peers != nil && *peers == 0
}

// price is what gas costs now, in wei.
type price struct {
	base *big.Int // burnt by the next block
	tip  *big.Int // offered to its producer
}

// minTip is the least tip in wei that this wallet offers: geth's producers take
// nothing below it by default.
const minTip = 1_000_000

// price returns what gas costs in the next block.
func (n *node) price(ctx context.Context) (price, error) {
	var history struct {
		BaseFee []*hexutil.Big `json:"baseFeePerGas"`
	}
	var tip hexutil.Big
	if err := n.must(ctx,
		&call{method: "eth_feeHistory", params: []any{"0x1", "latest", []any{}}, result: &history},
		&call{method: "eth_maxPriorityFeePerGas", result: &tip},
	); err != nil {
		return price{}, err
	}
	if len(history.BaseFee) == 0 || history.BaseFee[len(history.BaseFee)-1] == nil {
		return price{}, fmt.Errorf("%w: the node at %s does not tell the base fee", wallet.ErrUnreachable, n.name)
	}
	p := price{base: history.BaseFee[len(history.BaseFee)-1].ToInt(), tip: tip.ToInt()}
	if least := big.NewInt(minTip); p.tip.Cmp(least) < 0 {
		p.tip = least
	}
	return p, nil
}

// verdict is what a node's answer to a raw transaction means.
type verdict uint8

const (
	verdictSent       verdict = iota + 1 // it is in the pool, or was
	verdictNonceTaken                    // a mined transaction of the sender has its nonce: itself or a rival
	verdictRival                         // another unmined transaction has its nonce and pays as much
	verdictPoor                          // the sender has too little, at least for now
	verdictCheap                         // it pays too little for the next blocks
	verdictOther                         // anything else
)

// refusals maps what nodes say, in lower case and without spaces, to what it means; the
// first match counts. Sources: geth core/error.go, core/txpool/errors.go;
// Nethermind AcceptTxResult; Erigon txpoolcfg; Besu TransactionInvalidReason;
// Reth PoolErrorKind.
var refusals = []struct {
	text string
	is   verdict
}{
	{"alreadyknown", verdictSent},
	{"alreadyimported", verdictSent},
	{"alreadyinmempool", verdictSent},
	{"knowntransaction", verdictSent},
	{"noncetoolow", verdictNonceTaken},
	{"oldnonce", verdictNonceTaken},
	{"noncebelow", verdictNonceTaken},
	{"replacementtransactionunderpriced", verdictRival},
	{"couldnotreplaceexistingtx", verdictRival},
	{"replacementnotallowed", verdictRival},
	{"insufficientfunds", verdictPoor},
	{"upfrontcostexceeds", verdictPoor},
	{"underpriced", verdictCheap},
	{"feetoolow", verdictCheap},
	{"pricetoolow", verdictCheap},
	{"gaspricebelow", verdictCheap},
	{"lessthanblockbasefee", verdictCheap},
}

// judge says what the node's answer to a raw transaction means.
func judge(r *refusal) verdict {
	if r == nil {
		return verdictSent
	}
	text := strings.ToLower(strings.ReplaceAll(r.Message, " ", ""))
	for _, known := range refusals {
		if strings.Contains(text, known.text) {
			return known.is
		}
	}
	return verdictOther
}
