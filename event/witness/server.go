package witness

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/event"
	"latchkey/gate"
	"latchkey/head"
)

// sizeType is the content type of a conflict's answer.
const sizeType = "text/x.tlog.size"

// Handler answers the add-checkpoint calls of C2SP tlog-witness.
type Handler struct {
	Witness *Witness
	Logger  *slog.Logger
	// Now is the witness's clock, in Unix seconds.
	Now func() int64
	// Failed is called once for each request that found the store failed, after
	// which the witness can do no more.
	Failed func(error)

	signed  atomic.Uint64
	mu      sync.Mutex
	refused map[string]uint64 // by the reason
}

// Figures are what an operator watches.
func (h *Handler) Figures() []gate.Figure {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []gate.Figure{{Name: "cosignatures_total", Help: "Heads that were countersigned.", Value: float64(h.signed.Load()), Count: true}}
	for _, why := range []string{"conflict", "fork", "unknown log", "signature", "proof", "malformed", "store"} {
		out = append(out, gate.Figure{Name: "heads_refused_total", Help: "Heads that were not countersigned, by the reason. A fork or a proof is an attack, or a log that was restored.", Value: float64(h.refused[why]), Count: true, Label: "reason", Of: why})
	}
	return out
}

func (h *Handler) count(why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refused == nil {
		h.refused = map[string]uint64{}
	}
	h.refused[why]++
}

// Question returns a request that asks a witness whether it serves a log: of a head that
// nobody signed and no log can have, for its one entry has no bytes and no leaf. A
// witness that serves the log answers 403, one that does not 404.
func Question(origin string) []byte { return []byte("old 0\n\n" + question(origin)) }

func question(origin string) string {
	return fmt.Sprintf("%s\n1\n%s\n\n— %s %s\n", origin, head.EmptyRoot(), origin, strings.Repeat("A", 92))
}

// asks reports whether a request is a Question.
func asks(r head.Request) bool {
	origin, err := r.Origin()
	return err == nil && string(r.Signed) == question(origin)
}

// Clock is the machine's clock in Unix seconds.
func Clock() int64 { return time.Now().Unix() }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/add-checkpoint" {
		http.Error(w, "witness: the only path is /add-checkpoint", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "witness: /add-checkpoint takes a POST", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "witness: request body: "+err.Error(), http.StatusBadRequest)
		return
	}
	request, err := ParseRequest(body)
	if err != nil {
		h.refuse(w, r, request, err)
		return
	}
	line, err := h.Witness.AddCheckpoint(r.Context(), request, h.Now())
	if err != nil {
		h.refuse(w, r, request, err)
		return
	}
	h.signed.Add(1)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(line) // who has gone asks again
}

// refuse answers with the status that C2SP tlog-witness has for an error.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, request head.Request, err error) {
	level, status, why := slog.LevelInfo, http.StatusInternalServerError, "store"
	defer func() {
		if why != "" {
			h.count(why)
		}
	}()
	conflict := new(head.ConflictError)
	switch {
	case errors.As(err, &conflict):
		why = "conflict"
		if conflict.Fork {
			level, why = slog.LevelError, "fork"
		}
		w.Header().Set("Content-Type", sizeType)
		w.WriteHeader(http.StatusConflict)
		_, _ = fmt.Fprintf(w, "%d\n", conflict.Size)
		h.Logger.Log(r.Context(), level, "checkpoint refused", "from", r.RemoteAddr, "reason", err)
		return
	case errors.Is(err, ErrUnknownLog):
		status, why = http.StatusNotFound, "unknown log"
	case errors.Is(err, head.ErrSignature):
		status, why = http.StatusForbidden, "signature"
		if asks(request) { // nothing that an operator has to look into
			level, why = slog.LevelDebug, ""
		}
	case errors.Is(err, head.ErrProof):
		level, status, why = slog.LevelError, http.StatusUnprocessableEntity, "proof"
	case errors.Is(err, head.ErrMalformed):
		status, why = http.StatusBadRequest, "malformed"
	default:
		level = slog.LevelError
	}
	h.Logger.Log(r.Context(), level, "checkpoint refused", "from", r.RemoteAddr, "reason", err)
	if status == http.StatusInternalServerError {
		http.Error(w, "witness: cannot store its state", status)
	} else {
		http.Error(w, "witness: "+err.Error(), status)
	}
	if errors.Is(err, event.ErrFailed) {
		h.Failed(err)
	}
}
