package client

import (
	"context"
	"maps"
	"slices"
	"time"

	"latchkey/gate"
)

// Reasons say what does not work now.
func (h *Host) Reasons() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, k := range sortedKeys(h.problems) {
		out = append(out, k+": "+h.problems[k])
	}
	return out
}

// Figures are what an operator watches.
func (h *Host) Figures() []gate.Figure {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	st, err := h.vaultStatus(ctx)
	h.mu.Lock()
	out := []gate.Figure{{Name: "problems", Help: "Things that do not work now; /readyz lists them.", Value: float64(len(h.problems))}}
	h.mu.Unlock()
	if err != nil {
		return out
	}
	now := time.Now().Unix()
	chunks := map[string]int{"free": 0, "pledged": 0, "locked": 0, "whole": 0}
	for _, c := range st.Chunks {
		switch {
		case c.Whole:
			chunks["whole"]++
		case c.Chunk.Instance != [32]byte{}:
			chunks["locked"]++
		case c.Pledge != [32]byte{}:
			chunks["pledged"]++
		default:
			chunks["free"]++
		}
	}
	for _, k := range slices.Sorted(maps.Keys(chunks)) {
		out = append(out, gate.Figure{Name: "chunks", Help: "Chunks that the vault knows, by what they are in.", Value: float64(chunks[k]), Label: "state", Of: k})
	}
	return append(out,
		gate.Figure{Name: "instances_open", Help: "Instances of contracts that the vault is a party of.", Value: float64(len(st.Instances))},
		gate.Figure{Name: "log_entries", Help: "Entries of the escrow's log under the newest head that the vault knows.", Value: float64(st.Size)},
		gate.Figure{Name: "witness_clock_age_seconds", Help: "This machine's clock less the witnesses', as of the newest head.", Value: float64(now - st.Now)},
	)
}
