package wallettest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"latchkey/wallet"
)

// testRestartMidFund kills the wallet at random moments of Fund. Called again
// with the same id it pays, once.
func testRestartMidFund(t *testing.T, h *Harness) {
	if h.Restart == nil {
		t.Skip("harness cannot restart the wallet")
	}
	var all []wallet.SweepKey
	for range 6 {
		ks := keys(t, h, 5)
		r := payTo(t, h, ks, h.Amount)
		w, c := h.Wallet, ctx(t)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = w.Fund(c, r) // whatever becomes of it
		}()
		time.Sleep(rand.N(25 * time.Millisecond))
		h.Restart(t)
		<-done
		eventually(t, "fund after a restart", func() error {
			_, err := h.Wallet.Fund(ctx(t), r)
			return err
		})
		all = append(all, ks...)
	}
	h.Mine(t, int(info(t, h).Confirmations))
	checkPaidOnce(t, h, all)
}

// testRestartMidSweep kills the wallet at random moments of Sweep. Called again
// with the same id it sweeps, and knows its transaction.
func testRestartMidSweep(t *testing.T, h *Harness) {
	if h.Restart == nil {
		t.Skip("harness cannot restart the wallet")
	}
	before := balance(t, h.Wallet, h.Asset)
	paid := fees(t, nil)
	for range 4 {
		ks := keys(t, h, 4)
		f, err := h.Wallet.Fund(ctx(t), payTo(t, h, ks, h.Amount))
		if err != nil {
			t.Fatal(err)
		}
		h.Mine(t, 1)
		r := sweepOf(t, h, ks...)
		w, c := h.Wallet, ctx(t)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = w.Sweep(c, r) // whatever becomes of it
		}()
		time.Sleep(rand.N(25 * time.Millisecond))
		h.Restart(t)
		<-done
		var s wallet.Sweep
		eventually(t, "sweep after a restart", func() (err error) {
			s, err = h.Wallet.Sweep(ctx(t), r)
			return err
		})
		for i, k := range s.Keys {
			if k.Err != nil || k.Amount != h.Amount {
				t.Errorf("key %d after a restart: got %+v, want it swept", i, k)
			}
		}
		h.Mine(t, 1)
		paid = plus(t, paid, plus(t, fees(t, f.Txs), fees(t, s.Txs)))
	}
	checkSpentOnFees(t, h, before, paid)
}

func testNodeDown(t *testing.T, h *Harness) {
	if h.NodeDown == nil || h.NodeUp == nil {
		t.Skip("harness cannot stop the node")
	}
	swept := funded(t, h, 2)
	ks := keys(t, h, 2)
	before := payTo(t, h, ks[:1], h.Amount)
	during := payTo(t, h, ks[1:], h.Amount)
	sweepBefore, sweepDuring := sweepOf(t, h, swept[0]), sweepOf(t, h, swept[1])
	first, err := h.Wallet.Fund(ctx(t), before)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := h.Wallet.Sweep(ctx(t), sweepBefore)
	if err != nil || sent.Keys[0].Err != nil {
		t.Fatalf("sweep: %v, %+v", err, sent.Keys)
	}

	h.NodeDown(t)
	d, err := h.Wallet.Describe(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	if d.Node.Reachable || d.Node.Problem == "" {
		t.Errorf("node down: got %+v, want unreachable and why", d.Node)
	}
	if _, err := h.Wallet.Addresses(ctx(t), h.Asset, public(ks)); err != nil {
		t.Errorf("addresses need no node: %v", err)
	}
	everyMethod(t, "node down", h.Wallet, h.Asset, ks[0], during.Payments[0].Address, wallet.ErrUnreachable)
	if _, err := h.Wallet.Fund(ctx(t), during); err != nil && !errors.Is(err, wallet.ErrUnreachable) {
		t.Errorf("fund while the node is down: %v", err)
	}
	_, err = h.Wallet.Transaction(ctx(t), h.Asset, first.Txs[0].ID)
	wantErr(t, "node down: transaction", err, wallet.ErrUnreachable)
	if h.Restart != nil {
		h.Restart(t) // the connector starts while its node is down
		if d, err := h.Wallet.Describe(ctx(t)); err != nil || d.Node.Reachable {
			t.Errorf("restarted while the node is down: got %+v, %v", d.Node, err)
		}
	}

	h.NodeUp(t)
	// The node may have lost its pool: what was sent is offered again, by itself.
	eventually(t, "sweep by itself after the node is back", func() error {
		h.Mine(t, 1)
		if s := status(t, h, sent.Keys[0].Tx); s.State != wallet.TxConfirmed {
			return fmt.Errorf("sweep is %v", s.State)
		}
		if s := status(t, h, first.Txs[0].ID); s.State != wallet.TxConfirmed {
			return fmt.Errorf("funding is %v", s.State)
		}
		return nil
	})
	if _, err := h.Wallet.Fund(ctx(t), during); err != nil {
		t.Fatal(err)
	}
	again, err := h.Wallet.Fund(ctx(t), before)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "funding from before the outage", again, first)
	s, err := h.Wallet.Sweep(ctx(t), sweepDuring)
	if err != nil || s.Keys[0].Err != nil {
		t.Fatalf("sweep after the node is back: %v, %+v", err, s.Keys)
	}
	h.Mine(t, int(info(t, h).Confirmations))
	checkPaidOnce(t, h, ks)
}

// testReorg takes the block with a funding and a sweep away. Both come back.
func testReorg(t *testing.T, h *Harness) {
	if h.Reorg == nil {
		t.Skip("harness cannot reorganise the chain")
	}
	old := funded(t, h, 1)[0]
	k := keys(t, h, 1)
	f, err := h.Wallet.Fund(ctx(t), payTo(t, h, k, h.Amount))
	if err != nil {
		t.Fatal(err)
	}
	s, err := h.Wallet.Sweep(ctx(t), sweepOf(t, h, old))
	if err != nil || s.Keys[0].Err != nil {
		t.Fatalf("sweep: %v, %+v", err, s.Keys)
	}
	h.Mine(t, 1)
	if d := deposit(t, h, k[0]); d.Depth != 1 {
		t.Fatalf("before the reorganisation: got %+v, want depth 1", d)
	}
	h.Reorg(t)
	if d := deposit(t, h, k[0]); d.Depth != 0 || !d.Confirmed.IsZero() {
		t.Errorf("after the reorganisation: got %+v, want nothing confirmed", d)
	}
	if d := deposit(t, h, old); d.SpentDepth != 0 {
		t.Errorf("after the reorganisation: got %+v, want the spend unconfirmed", d)
	}
	eventually(t, "offered again after the reorganisation", func() error {
		h.Mine(t, 1)
		for _, id := range []wallet.TxID{f.Txs[0].ID, s.Keys[0].Tx} {
			if got := status(t, h, id); got.State != wallet.TxConfirmed {
				return fmt.Errorf("%s is %v", id, got.State)
			}
		}
		return nil
	})
	h.Mine(t, int(info(t, h).Confirmations))
	checkPaidOnce(t, h, k)
}
