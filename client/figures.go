package client

import (
	"context"
	"maps"
	"slices"
	"time"

	"latchkey/gate"
	"latchkey/wire"
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
	for _, id := range sortedKeys(h.nodes) {
		d, problem := h.nodes[id].Last()
		follows := 0.0
		if problem == nil && d.Name != "" {
			follows = 1
		}
		out = append(out, gate.Figure{Name: "node_follows", Help: "1 while the node behind a wallet follows its chain, as far as one can see.", Value: follows, Label: "asset", Of: string(id)})
		if d.Node.TipTime > 0 {
			out = append(out, gate.Figure{Name: "node_tip_age_seconds", Help: "Age of the newest block that the node behind a wallet has.", Value: float64(time.Now().Unix() - d.Node.TipTime), Label: "asset", Of: string(id)})
		}
	}
	if err != nil {
		return out
	}
	now := time.Now().Unix()
	chunks := map[string]int{"free": 0, "pledged": 0, "locked": 0, "claimed": 0, "swept": 0, "lost": 0}
	for _, c := range st.Chunks {
		switch {
		case c.Chunk.Lost:
			chunks["lost"]++
		case c.Chunk.Swept:
			chunks["swept"]++
		case c.Whole, c.Chunk.Claim, c.Chunk.Claimed:
			chunks["claimed"]++
		case c.Chunk.Instance != wire.InstanceID{}:
			chunks["locked"]++
		case c.Pledge != wire.Hash{}:
			chunks["pledged"]++
		default:
			chunks["free"]++
		}
	}
	open := 0
	for _, in := range st.Instances {
		if !in.Closed && !in.Aborted {
			open++
		}
	}
	for _, k := range slices.Sorted(maps.Keys(chunks)) {
		out = append(out, gate.Figure{Name: "chunks", Help: "Chunks that the vault knows, by their state. One that is lost was burnt by a restored copy.", Value: float64(chunks[k]), Label: "state", Of: k})
	}
	return append(out,
		gate.Figure{Name: "instances_open", Help: "Instances of contracts that the vault is a party of and that have not closed.", Value: float64(open)},
		gate.Figure{Name: "log_entries", Help: "Entries of the escrow's log under the newest head that the vault knows.", Value: float64(st.Size)},
		gate.Figure{Name: "witness_clock_age_seconds", Help: "This machine's clock less the witnesses', as of the newest head.", Value: float64(now - st.Now)},
	)
}
