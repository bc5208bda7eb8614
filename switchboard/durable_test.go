package switchboard_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"latchkey/event"
	"latchkey/switchboard"
)

// Who waits is woken at once.
func TestPollIsWoken(t *testing.T) {
	_, alice, bob := pair(t)
	got := make(chan time.Time, 1)
	go func() {
		alice.poll()
		got <- time.Now()
	}()
	time.Sleep(50 * time.Millisecond)
	propose(t, alice, bob)
	placed := time.Now()
	if d := (<-got).Sub(placed); d > 500*time.Millisecond {
		t.Errorf("the proposal came %v after the offer", d)
	}
}

// Nobody hears of anything before it is durable, and after the log has failed of
// nothing any more.
func TestNothingLeavesBeforeItIsDurable(t *testing.T) {
	w, alice, bob := pair(t)
	o := alice.offer(0, btc, xmr, 10)
	if err := bob.board.Place(t.Context(), bob.offer(1, xmr, btc, 10)); err != nil {
		t.Fatal(err)
	}
	w.log.Hold()
	placed := make(chan error, 1)
	go func() { placed <- alice.board.Place(t.Context(), o) }()
	for w.log.InFlight() == 0 {
		time.Sleep(time.Millisecond)
	}
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if list, err := bob.board.Poll(short, 0, 0); err == nil {
		t.Errorf("bob hears of %d notices that are not durable", len(list))
	}
	select {
	case err := <-placed:
		t.Errorf("alice is answered before her offer is durable: %v", err)
	default:
	}
	w.log.Fail(errors.New("the disk is full"))
	if err := <-w.ended; err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("Run returns %v", err)
	}
	if err := <-placed; err == nil {
		t.Error("alice's offer is confirmed, and the log has failed")
	}
	w.ended <- nil // for the cleanup
	w.restart(false)
	if err := alice.board.Place(t.Context(), o); err != nil {
		t.Errorf("the same offer after the restart: %v", err)
	}
	if n := alice.next(); n.Proposal == nil {
		t.Errorf("notice %+v", n.Delivery)
	}
}

// A log of something else is refused.
func TestForeignLog(t *testing.T) {
	w := newWorld(t, 0)
	w.stop()
	log, err := w.disk.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := log.Append(t.Context(), log.Next(), event.Block{Events: [][]byte{[]byte("rubbish")}}); err != nil {
		t.Fatal(err)
	}
	c := w.cfg
	c.Log = log
	if _, err := switchboard.Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "the switchboard's log: decode event") {
		t.Errorf("a log with rubbish: %v", err)
	}
}
