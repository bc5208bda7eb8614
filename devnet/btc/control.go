package btc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"latchkey/coin"
)

// decimals of a bitcoin.
const decimals = 8

// A Command is the body of a request to [Node.Handler]; each path uses some of
// the fields.
type Command struct {
	To     string `json:"to,omitempty"`     // fund: address
	Amount string `json:"amount,omitempty"` // fund: bitcoins, such as "0.5"
	Blocks int    `json:"blocks,omitempty"` // mine; reorg: how many are replaced
}

// A Result is the answer to a Command.
type Result struct {
	Tx     string `json:"tx,omitempty"`     // fund
	Height int64  `json:"height,omitempty"` // mine, reorg, status
	Error  string `json:"error,omitempty"`
}

// Handler serves POST /fund, /mine and /reorg with a Command, and GET /status.
// It refuses web pages of a browser.
func (n *Node) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		height, err := n.Height(r.Context())
		answer(w, Result{Height: height}, err)
	})
	handle := func(path string, do func(*http.Request, Command) (Result, error)) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Origin") != "" {
				http.Error(w, "not for web pages", http.StatusForbidden)
				return
			}
			var c Command
			d := json.NewDecoder(io.LimitReader(r.Body, 4096))
			d.DisallowUnknownFields()
			if err := d.Decode(&c); err != nil {
				answer(w, Result{}, fmt.Errorf("read the command: %w", err))
				return
			}
			result, err := do(r, c)
			answer(w, result, err)
		})
	}
	handle("/fund", func(r *http.Request, c Command) (Result, error) {
		amount, err := coin.ParseDecimal(c.Amount, decimals)
		if err != nil {
			return Result{}, fmt.Errorf("amount: %w", err)
		}
		if c.To == "" {
			return Result{}, errors.New("to: no address")
		}
		tx, err := n.Fund(r.Context(), c.To, amount)
		return Result{Tx: string(tx)}, err
	})
	handle("/mine", func(r *http.Request, c Command) (Result, error) {
		height, err := n.Mine(r.Context(), c.Blocks)
		return Result{Height: height}, err
	})
	handle("/reorg", func(r *http.Request, c Command) (Result, error) {
		height, err := n.Reorg(r.Context(), c.Blocks)
		return Result{Height: height}, err
	})
	return mux
}

func answer(w http.ResponseWriter, r Result, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		r = Result{Error: err.Error()}
		w.WriteHeader(http.StatusBadRequest)
	}
	_ = json.NewEncoder(w).Encode(r) // a client that went away hears nothing
}
