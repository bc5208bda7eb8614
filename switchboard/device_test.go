package switchboard_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"latchkey/attest/sim"
	"latchkey/gate"
)

// One device enrols so many vaults and no more. Those that it has enrol again, after a
// restart and when the limit was lowered; other devices are not concerned.
func TestVaultsOfOneDevice(t *testing.T) {
	w := newWorld(t, 4)
	now := w.now.Load()
	p, err := w.vendor.Issue(sim.Device{NotBefore: now - 1000, NotAfter: now + 365*86400}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range w.clients[:3] {
		c.evidence = w.evidenceOn(p, c.id, [32]byte{7})
	}
	w.guard = gate.NewGuard(gate.Limits{DeviceVaults: 2}, time.Now)
	w.restart(false)
	w.clients[0].enrol()
	w.clients[1].enrol()
	for _, kill := range []bool{false, true} {
		w.restart(kill)
		c := w.clients[2]
		_, err := c.board.Enrol(t.Context(), c.identity, c.evidence)
		if connect.CodeOf(err) != connect.CodePermissionDenied || !strings.Contains(err.Error(), "2 vaults of this device are enrolled here") {
			t.Errorf("a third vault of a device: %v", err)
		}
		w.clients[0].enrol()
		w.clients[3].enrol()
	}
	w.guard = gate.NewGuard(gate.Limits{DeviceVaults: 1}, time.Now)
	w.restart(false)
	w.clients[1].enrol()
}
