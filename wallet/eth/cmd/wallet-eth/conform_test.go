package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"latchkey/wallet/wallettest"
)

// TestConformance runs the kit of all connectors on two wallets and a node, each a
// process, over the wallets' sockets.
func TestConformance(t *testing.T) {
	x := newWorld(t, "1h") // no block but what the kit asks for
	x.give(x.a.ready.Address, 100e9)
	wallettest.Run(t, &wallettest.Harness{
		Asset:  x.asset,
		Amount: gwei(1e7), // 0.01 ether
		Wallet: x.a,
		Rival:  x.b,
		Mine: func(t testing.TB, n int) {
			t.Helper()
			if err := callNode(x.node.ready.Listen, new(any), "dev_mine", n); err != nil {
				t.Fatal(err)
			}
		},
		Restart: func(testing.TB) {
			x.a.kill()
			x.a.start()
		},
		NodeDown: func(t testing.TB) {
			t.Helper()
			x.node.kill()
			// Other nodes keep no journal of what waits: it is lost.
			if err := os.Remove(filepath.Join(x.node.args[0], "devnet-eth", "transactions.rlp")); err != nil {
				t.Fatal(err)
			}
		},
		NodeUp: func(testing.TB) { x.node.start() },
		Reorg: func(t testing.TB) {
			t.Helper()
			if err := callNode(x.node.ready.Listen, new(common.Hash), "dev_reorg", 1); err != nil {
				t.Fatal(err)
			}
		},
	})
}
