// Package rpc speaks JSON-RPC with a btcd node.
package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"latchkey/wallet"
)

const (
	timeout  = 10 * time.Second // of one HTTP request to the node
	maxReply = 256 << 20        // most bytes of one reply; a batch of blocks is large
)

// A Client is a connection to a node. It opens few: btcd serves ten clients at a
// time, and closes the connection after each answer.
type Client struct {
	url, user, password string
	client              *http.Client
}

// New returns a client of the node at a URL. It connects with the first call.
func New(url, user, password string) *Client { return NewOver(nil, url, user, password) }

// NewOver is New over a transport that knows whom to believe; nil: the system's
// authorities.
func NewOver(t http.RoundTripper, url, user, password string) *Client {
	return &Client{url: url, user: user, password: password, client: &http.Client{Transport: t, Timeout: timeout}}
}

// An Error is the node's own.
type Error struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return fmt.Sprintf("node says: %.200s (%d)", e.Message, e.Code) }

// A Call is one method with its result or error.
type Call struct {
	Method string
	Params []any
	Result any // pointer, or nil
	Err    error
}

type request struct {
	Version string `json:"jsonrpc"`
	ID      int    `json:"id"`
	Method  string `json:"method"`
	Params  []any  `json:"params"`
}

type reply struct {
	ID     *int            `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *Error          `json:"error"`
}

// Call makes one call and returns the node's error, or ErrUnreachable.
func (n *Client) Call(ctx context.Context, result any, method string, params ...any) error {
	calls := []Call{{Method: method, Params: params, Result: result}}
	if err := n.Batch(ctx, 1, calls); err != nil {
		return err
	}
	if calls[0].Err != nil {
		return fmt.Errorf("%s: %w", method, calls[0].Err)
	}
	return nil
}

// Batch makes calls in order, size in one HTTP request. An error is about the
// connection and wraps ErrUnreachable; what a method says is in Call.Err.
func (n *Client) Batch(ctx context.Context, size int, calls []Call) error {
	for len(calls) > 0 {
		some := calls[:min(size, len(calls))]
		if err := n.post(ctx, some); err != nil {
			return err
		}
		calls = calls[len(some):]
	}
	return nil
}

func (n *Client) post(ctx context.Context, calls []Call) error {
	requests := make([]request, len(calls))
	for i, c := range calls {
		requests[i] = request{Version: "2.0", ID: i, Method: c.Method, Params: c.Params}
		if c.Params == nil {
			requests[i].Params = []any{}
		}
	}
	body, err := json.Marshal(requests)
	if err != nil {
		return fmt.Errorf("ask the node: %w", err)
	}
	raw, err := n.exchange(ctx, body)
	if err != nil {
		return err
	}
	var replies []reply
	if err := json.Unmarshal(raw, &replies); err != nil {
		return fmt.Errorf("node %w: its answer is no JSON-RPC batch: %v", wallet.ErrUnreachable, err)
	}
	answered := make([]bool, len(calls))
	for _, r := range replies {
		if r.ID == nil || *r.ID < 0 || *r.ID >= len(calls) || answered[*r.ID] {
			return fmt.Errorf("node %w: its answer has an id that was not asked for", wallet.ErrUnreachable)
		}
		c := &calls[*r.ID]
		answered[*r.ID] = true
		switch {
		case r.Error != nil:
			c.Err = r.Error
		case c.Result != nil:
			if err := json.Unmarshal(r.Result, c.Result); err != nil {
				c.Err = fmt.Errorf("read the answer: %w", err)
			}
		}
	}
	for i, ok := range answered {
		if !ok {
			return fmt.Errorf("node %w: no answer to %s", wallet.ErrUnreachable, calls[i].Method)
		}
	}
	return nil
}

// exchange posts a body. A node that is too busy is asked again for a while.
func (n *Client) exchange(ctx context.Context, body []byte) ([]byte, error) {
	for wait := 20 * time.Millisecond; ; wait *= 2 {
		raw, status, err := n.once(ctx, body)
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("ask the node: %w", ctx.Err())
		case err != nil:
			return nil, fmt.Errorf("node %w: %v", wallet.ErrUnreachable, err)
		case status == http.StatusOK:
			return raw, nil
		case status == http.StatusUnauthorized:
			return nil, fmt.Errorf("node %w: it refuses our user or password", wallet.ErrUnreachable)
		case status != http.StatusServiceUnavailable || wait > time.Second:
			return nil, fmt.Errorf("node %w: HTTP status %d", wallet.ErrUnreachable, status)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func (n *Client) once(ctx context.Context, body []byte) (raw []byte, status int, err error) {
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	post.SetBasicAuth(n.user, n.password)
	post.Header.Set("Content-Type", "application/json")
	answer, err := n.client.Do(post)
	if err != nil {
		return nil, 0, err
	}
	defer answer.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(answer.Body, maxReply+1))
	if err == nil && len(raw) > maxReply {
		err = errors.New("answer is too long")
	}
	return raw, answer.StatusCode, err
}

// The node's error codes that mean something here (btcjson, and
// handleSendRawTransaction in rpcserver.go of btcd).
const (
	CodeMisc     = -1
	CodeNoInfo   = -5  // nothing is known about that address or transaction
	CodeMissing  = -25 // an input is spent in a block, or was never there
	CodeRejected = -26 // or known already, or spent in the pool
	CodeMined    = -27
)

// CodeOf returns the code of the node's own error, or 0.
func CodeOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}
