package client

import (
	"strings"
	"testing"
	"time"

	"latchkey/gate"
)

// Alice's device has made as many chunks as the escrow's operator lets one make: her client
// says so, Bob makes his, and what she has she uses.
func TestChunksOfOneDevice(t *testing.T) {
	guard := gate.NewGuard(gate.Limits{DeviceChunks: 3}, time.Now)
	w := newTownUnder(t, guard, "alice", "bob")
	alice, bob := w.clients["alice"], w.clients["bob"]
	alice.deposit("btc", 5, 3)
	time.Sleep(1500 * time.Millisecond) // the escrow's host counts with each tick
	if _, _, _, err := alice.Deposit(t.Context(), "btc", 5*unitCents, 5); err != nil {
		t.Fatal(err)
	}
	w.until("alice hears that she may make no more", func() string {
		said := alice.told("refused").Text
		if strings.Contains(said, "vaults of this device have begun 3 chunks here, which are all that they may (limits.device_chunks); use those, or ask the operator") {
			return ""
		}
		return "she hears: " + said
	})
	if all := alice.status().Problems; len(all) != 0 {
		t.Errorf("problems that nobody can mend: %v", all)
	}
	bob.deposit("btc", 5, 2)
	if err := bob.SetChoice(t.Context(), "btc", Choice{Keep: true}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := alice.Pay(t.Context(), bob.ask(5), false); err != nil {
		t.Fatal(err)
	}
	bob.wait(1, "btc", "held")
	for _, f := range w.host.Figures() {
		if f.Name == "device_chunks_most" && f.Value != 3 {
			t.Errorf("the operator sees %v chunks of one device", f.Value)
		}
	}
}
