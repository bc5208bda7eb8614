package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
)

// lie stands before a node and says what is not: that every address which holds
// nothing holds an ether, and that it has passed on transactions which it drops. All
// else is the node's own answer. With still it stands still instead, like a node that
// has lost its peers: no block comes after the one at its start, and no transaction
// gets out.
func lie(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("devnet-eth lie", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	node := flags.String("rpc", "http://127.0.0.1:8545", "RPC of the honest node")
	listen := flags.String("http", "127.0.0.1:8546", "loopback address to listen on")
	still := flags.Bool("still", false, "stand still, and tell no other lie: no block after the present one, no transaction gets out")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	h := liar{node: *node}
	if *still {
		if h.tip, err = tipOf(ctx, *node); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if _, err := fmt.Fprintf(stdout, "{\"ready\":true,\"http\":\"http://%s\"}\n", l.Addr()); err != nil {
		return err
	}
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type liar struct {
	node string
	tip  *hexutil.Uint64 // the last block of one that stands still
}

// tipOf returns the best block of a node.
func tipOf(ctx context.Context, node string) (*hexutil.Uint64, error) {
	a, err := forward(ctx, node, []byte(`{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}`))
	if err != nil {
		return nil, fmt.Errorf("reach the node at %s: %w", node, err)
	}
	tip := new(hexutil.Uint64)
	if err := json.Unmarshal(a.Result, tip); err != nil {
		return nil, fmt.Errorf("the best block of the node at %s: %w", node, err)
	}
	return tip, nil
}

// question is one call of JSON-RPC, as far as a liar cares.
type question struct {
	ID     json.RawMessage   `json:"id"`
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params,omitempty"`
}

type answer struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   json.RawMessage `json:"error,omitempty"`
}

// ServeHTTP implements http.Handler.
func (l liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	raw = bytes.TrimSpace(raw)
	single := len(raw) == 0 || raw[0] != '['
	if single {
		raw = append(append([]byte{'['}, raw...), ']')
	}
	var calls []json.RawMessage
	if err := json.Unmarshal(raw, &calls); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out := []answer{}
	for _, c := range calls {
		a, err := l.say(r.Context(), c)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		out = append(out, a)
	}
	w.Header().Set("Content-Type", "application/json")
	if single {
		_ = json.NewEncoder(w).Encode(out[0]) // who asked has gone away
		return
	}
	_ = json.NewEncoder(w).Encode(out)
}

// say answers one call.
func (l liar) say(ctx context.Context, raw json.RawMessage) (answer, error) {
	var q question
	if err := json.Unmarshal(raw, &q); err != nil {
		return answer{}, err
	}
	if q.Method == "eth_sendRawTransaction" && len(q.Params) == 1 {
		var tx hexutil.Bytes
		if err := json.Unmarshal(q.Params[0], &tx); err != nil {
			return answer{}, err
		}
		hash, err := json.Marshal(crypto.Keccak256Hash(tx))
		return answer{Version: "2.0", ID: q.ID, Result: hash}, err
	}
	if l.tip != nil {
		return l.old(ctx, q)
	}
	a, err := forward(ctx, l.node, raw)
	if err == nil && q.Method == "eth_getBalance" && string(a.Result) == `"0x0"` {
		a.Result = json.RawMessage(`"` + hexutil.EncodeUint64(1_000_000_000_000_000_000) + `"`)
	}
	return a, err
}

// old answers as of the block at the start: what is asked of the best block, or of what
// waits for the next one, is asked of that one, and what came after it is not there.
func (l liar) old(ctx context.Context, q question) (answer, error) {
	for i, p := range q.Params {
		if s := string(p); s == `"latest"` || s == `"pending"` {
			q.Params[i] = json.RawMessage(`"` + l.tip.String() + `"`)
		}
	}
	raw, err := json.Marshal(struct {
		Version string `json:"jsonrpc"`
		question
	}{"2.0", q})
	if err != nil {
		return answer{}, err
	}
	if q.Method == "eth_blockNumber" {
		return answer{Version: "2.0", ID: q.ID, Result: json.RawMessage(`"` + l.tip.String() + `"`)}, nil
	}
	a, err := forward(ctx, l.node, raw)
	if err != nil {
		return answer{}, err
	}
	var later struct {
		Number, BlockNumber *hexutil.Uint64 // of a block, of a transaction or its receipt
	}
	if json.Unmarshal(a.Result, &later) == nil {
		for _, n := range []*hexutil.Uint64{later.Number, later.BlockNumber} {
			if n != nil && *n > *l.tip {
				a.Result = json.RawMessage("null")
			}
		}
	}
	return a, nil
}

// forward asks a node one call.
func forward(ctx context.Context, node string, raw []byte) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, node, bytes.NewReader(raw))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	var a answer
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		return answer{}, err
	}
	if a.Result == nil && a.Error == nil {
		a.Result = json.RawMessage("null")
	}
	return a, nil
}
