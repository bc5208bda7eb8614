package escrow

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"latchkey/gate"
)

// staleHead is the age of the newest witnessed head from which on an escrow is not
// ready: heads are countersigned anew each second, idle or not.
const staleHead = 15 * time.Second

// Reasons say why the escrow cannot do its work now.
func (h *Host) Reasons() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.vault == nil || h.asked == nil {
		return []string{"the vault is starting"}
	}
	var out, silent []string
	status := h.asked.Status()
	for _, name := range slices.Sorted(maps.Keys(status)) {
		if err := status[name]; err != nil {
			silent = append(silent, fmt.Sprintf("%s: %v", name, err))
		}
	}
	if n := len(status) - len(silent); n < h.cfg.K {
		out = append(out, fmt.Sprintf("%d of %d witnesses countersign, %d are needed (%s)", n, len(status), h.cfg.K, strings.Join(silent, "; ")))
	}
	switch age := time.Since(h.entered); {
	case h.note == nil:
		out = append(out, "no head of the log was witnessed since the start")
	case age > staleHead:
		out = append(out, fmt.Sprintf("the newest witnessed head is %d s old", int(age.Seconds())))
	}
	return out
}

// Figures are what an operator watches.
func (h *Host) Figures() []gate.Figure {
	h.mu.Lock()
	defer h.mu.Unlock()
	most := 0
	for _, n := range h.feed.devices {
		most = max(most, n)
	}
	made := uint64(0)
	for _, n := range h.feed.begun() {
		made = max(made, n)
	}
	out := []gate.Figure{
		{Name: "log_entries", Help: "Entries of the log.", Value: float64(h.added)},
		{Name: "log_witnessed_entries", Help: "Entries under the newest witnessed head.", Value: float64(h.seen)},
		{Name: "vaults_enrolled", Help: "Vaults that have enrolled.", Value: float64(len(h.feed.peers))},
		{Name: "instances_open", Help: "Instances of contracts that are locked and have not closed.", Value: float64(len(h.feed.parties))},
		{Name: "device_vaults_most", Help: "Vaults of the device that has the most of them.", Value: float64(most)},
		{Name: "device_chunks_most", Help: "Chunks that vaults of the device that has begun the most have begun.", Value: float64(made)},
		{Name: "vault_work_total", Help: "Units of work that the vault has done for requests since its start, of about a tenth of a millisecond.", Value: float64(h.busy.Work), Count: true},
		{Name: "vault_calls_waiting", Help: "Requests that wait in the vault for their turn, at its last tick.", Value: float64(h.busy.Waiting)},
		{Name: "vault_explorations", Help: "Agreements whose outcomes are being explored before they are locked, or wait for that.", Value: float64(h.busy.Exploring)},
		{Name: "vault_results_held", Help: "Results that wait in the vault for the disk or the witnesses.", Value: float64(h.busy.Held)},
		{Name: "witnesses_needed", Help: "How many witnesses make a head count.", Value: float64(h.cfg.K)},
		{Name: "cosign_seconds", Help: "From a new head to a quorum of countersignatures.", Timing: &h.cosign},
	}
	if h.note != nil {
		out = append(out, gate.Figure{Name: "head_age_seconds", Help: "Since the newest head was witnessed.", Value: time.Since(h.entered).Seconds()})
	}
	if h.asked != nil {
		status := h.asked.Status()
		for _, name := range slices.Sorted(maps.Keys(status)) {
			up := 0.0
			if status[name] == nil {
				up = 1
			}
			out = append(out, gate.Figure{Name: "witness_up", Help: "1 for a witness that countersigned the last head it was shown.", Value: up, Label: "witness", Of: name})
		}
	}
	return out
}
