package client

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"connectrpc.com/connect"

	"latchkey/escrow"
	"latchkey/escrow/escrowpb"
	"latchkey/market"
	"latchkey/switchboard/switchboardpb"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// A locker is as much of an escrow as these tests need.
type locker struct {
	escrowpb.UnimplementedEscrowServiceHandler
	instance []byte // answered; empty: others' acceptances are missing
	err      error
	brought  []int // how many acceptances each lock came with
}

func (l *locker) Lock(_ context.Context, r *escrowpb.LockRequest) (*escrowpb.LockResponse, error) {
	var q vault.LockAsk
	if err := wire.Unmarshal(r.Lock, &q); err != nil {
		return nil, err
	}
	l.brought = append(l.brought, len(q.Acceptances))
	return &escrowpb.LockResponse{Instance: l.instance}, l.err
}

func (b *board) Accept(context.Context, *switchboardpb.Signed) (*switchboardpb.Done, error) {
	b.accepted++
	return &switchboardpb.Done{}, b.accept
}

// locks puts an escrow beside the host.
func (w *world) locks(t *testing.T) *locker {
	t.Helper()
	l := &locker{}
	_, h := escrowpb.NewEscrowServiceHandler(l)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	w.Host.escrow = escrow.NewClient(s.URL, httpClient())
	return l
}

// between is an agreement of two, with what this side signed of it.
func between(t *testing.T) (agreement, signed []byte) {
	t.Helper()
	agreement, err := wire.Marshal(vault.Agreement{Parties: []vault.Recipients{{me}, {them}}, LockBy: 1 << 40})
	if err == nil {
		signed, err = wire.Marshal(vault.SignedAcceptance{Sig: make([]byte, 64)})
	}
	if err != nil {
		t.Fatal(err)
	}
	return agreement, signed
}

// An acceptance goes to switchboard and escrow. Who was the last to accept hears
// from the escrow that it is locked; nobody else waits for the escrow, and nobody
// is stopped by one that does not answer.
func TestAcceptGoesToBoth(t *testing.T) {
	id := make([]byte, 32)
	id[0] = 9
	gone := connect.NewError(connect.CodeUnavailable, errors.New("away"))
	for _, c := range []struct {
		name          string
		board, escrow error
		instance      []byte
		state         string
		signed, fails bool // the acceptance is kept, to be brought again; an error is told
	}{
		{"first", nil, nil, nil, "accepted", false, false},
		{"last", nil, nil, id, "locked", false, false},
		{"escrow away", nil, gone, nil, "accepted", false, false},
		{"switchboard away", gone, nil, nil, "accepted", true, true},
		{"last, switchboard away", gone, nil, id, "locked", false, false},
	} {
		w := newWorld(t)
		l := w.locks(t)
		l.instance, l.err, w.board.accept = c.instance, c.escrow, c.board
		a, s := between(t)
		d := Deal{Proposal: 5, State: "accepted", Agreement: a, Signed: s, Hash: wire.Hash{1}}
		if err := w.store.put(t.Context(), dealName(5), d); err != nil {
			t.Fatal(err)
		}
		err := w.Host.accept(t.Context(), dealName(5), &d)
		if got := w.deal(market.ProposalID(5)); got.State != c.state || (len(got.Signed) > 0) != c.signed || (err != nil) != c.fails {
			t.Errorf("%s: the deal is %s, its acceptance kept %t, %v", c.name, got.State, len(got.Signed) > 0, err)
		}
		if w.board.accepted != 1 || len(l.brought) != 1 || l.brought[0] != 1 {
			t.Errorf("%s: brought to the switchboard %d times, to the escrow with %v acceptances", c.name, w.board.accepted, l.brought)
		}
	}
}

// A client that has heard of all acceptances brings the lock itself if it does not
// come, and does not if it does.
func TestLockComesByItself(t *testing.T) {
	a, _ := between(t)
	q := vault.LockAsk{Acceptances: make([]vault.SignedAcceptance, 2)}
	if err := wire.Unmarshal(a, &q.Agreement); err != nil {
		t.Fatal(err)
	}
	raw, err := wire.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	locked := enclave.Status{Instances: []vault.Instance{{ID: wire.InstanceID{9}, Agreement: wire.Hash{1}}}}
	for _, c := range []struct {
		name    string
		draft   string
		waited  time.Duration
		status  enclave.Status
		state   string
		brought int
	}{
		{"at once", "", 0, enclave.Status{}, "locking", 0},
		{"the log has it", "", 0, locked, "locked", 0},
		{"it does not come", "", lockPatience, enclave.Status{}, "locked", 1},
		{"nobody else can bring it", "0123", 0, enclave.Status{}, "locked", 1},
	} {
		w := newWorld(t)
		l := w.locks(t)
		l.instance = make([]byte, 32)
		l.instance[0] = 9
		d := Deal{Proposal: 5, Draft: c.draft, State: "locking", Agreement: a, Lock: raw, Hash: wire.Hash{1}}
		if err := w.store.put(t.Context(), d.name(), d); err != nil {
			t.Fatal(err)
		}
		if c.waited > 0 {
			w.Host.locking[d.name()] = time.Now().Add(-c.waited)
		}
		w.deals(t.Context(), c.status)
		w.deals(t.Context(), c.status)
		var got Deal
		w.store.get(d.name(), &got)
		if got.State != c.state || len(l.brought) != c.brought {
			t.Errorf("%s: the deal is %s, brought were %v; want %s, %d times", c.name, got.State, l.brought, c.state, c.brought)
		}
		if c.brought == 1 && l.brought[0] != 2 {
			t.Errorf("%s: brought with %d acceptances", c.name, l.brought[0])
		}
	}
}
