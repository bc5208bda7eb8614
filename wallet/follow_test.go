package wallet_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"latchkey/coin"
	"latchkey/wallet"
)

// stale is a connector whose node is what a test says.
type stale struct {
	wallet.Wallet
	node  wallet.Node
	asked []string
}

func (s *stale) Describe(context.Context) (wallet.Description, error) {
	s.asked = append(s.asked, "Describe")
	return wallet.Description{
		Name: "latchkey wallet-x", Version: "1", Node: s.node,
		Assets: []wallet.AssetInfo{{Asset: coin.Asset{ID: "x", Chain: "x:1"}}},
	}, nil
}

func (s *stale) Deposits(context.Context, wallet.DepositsRequest) (wallet.Deposits, error) {
	s.asked = append(s.asked, "Deposits")
	return wallet.Deposits{}, nil
}

func (s *stale) Fund(context.Context, wallet.FundRequest) (wallet.Funding, error) {
	s.asked = append(s.asked, "Fund")
	return wallet.Funding{}, nil
}

func (s *stale) Transaction(context.Context, coin.Asset, wallet.TxID) (wallet.TxStatus, error) {
	s.asked = append(s.asked, "Transaction")
	return wallet.TxStatus{}, nil
}

func (s *stale) Sweep(context.Context, wallet.SweepRequest) (wallet.Sweep, error) {
	s.asked = append(s.asked, "Sweep")
	return wallet.Sweep{}, nil
}

// A node that stands still, is alone, catches up or is from another time is not believed,
// whichever bound says so; a chain without a pace has none.
func TestFollows(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ago := func(d time.Duration) int64 { return now.Add(-d).Unix() }
	for _, c := range []struct {
		name string
		node wallet.Node
		most time.Duration
		kind error
		want string // of the error
	}{
		{"a chain without a pace, of 2009", wallet.Node{Reachable: true, TipTime: 1}, 0, nil, ""},
		{"a chain that says nothing", wallet.Node{Reachable: true}, 0, nil, ""},
		{"as old as it may be", wallet.Node{Reachable: true, TipTime: ago(2 * time.Hour), MaxTipAge: 7200}, 0, nil, ""},
		{"a second older", wallet.Node{Reachable: true, Height: 812_345, TipTime: ago(2*time.Hour + time.Second), MaxTipAge: 7200}, 0, wallet.ErrNotFollowing,
			"the node behind latchkey wallet-x for x:1 stands still: its newest block, 812345, is of 2027-01-15T05:59:59Z, 2h0m1s ago, and at most 2h0m0s is right for its chain (max_tip_age); look at its peers"},
		{"the caller's bound is less", wallet.Node{Reachable: true, TipTime: ago(time.Hour), MaxTipAge: 7200}, time.Minute, wallet.ErrNotFollowing, "at most 1m0s"},
		{"the caller's bound is more", wallet.Node{Reachable: true, TipTime: ago(3 * time.Hour), MaxTipAge: 7200}, 9 * time.Hour, wallet.ErrNotFollowing, "at most 2h0m0s"},
		{"the caller's alone", wallet.Node{Reachable: true, TipTime: ago(time.Hour)}, time.Minute, wallet.ErrNotFollowing, "stands still"},
		{"no time of the tip", wallet.Node{Reachable: true, MaxTipAge: 7200}, 0, wallet.ErrNotFollowing, "does not say"},
		{"no time, and the caller's bound", wallet.Node{Reachable: true}, time.Minute, wallet.ErrNotFollowing, "remove max_tip_age"},
		{"ahead of the clock, as far as a chain lets it", wallet.Node{Reachable: true, TipTime: ago(-2 * time.Hour), MaxTipAge: 7200}, 0, nil, ""},
		{"further", wallet.Node{Reachable: true, TipTime: ago(-3 * time.Hour), MaxTipAge: 7200}, 0, wallet.ErrNotFollowing, "3h0m0s ahead"},
		{"catching up", wallet.Node{Reachable: true, Syncing: true, TipTime: ago(0), MaxTipAge: 7200}, 0, wallet.ErrNotFollowing, "still catching up"},
		{"alone", wallet.Node{Reachable: true, Alone: true, TipTime: ago(0), MaxTipAge: 7200}, 0, wallet.ErrNotFollowing, "has no peers"},
		{"down", wallet.Node{Problem: "connection refused"}, 0, wallet.ErrUnreachable, "connection refused"},
	} {
		w := &stale{node: c.node}
		f := wallet.Follow(w, c.most, func() time.Time { return now })
		errs := []error{f.Check(t.Context())}
		_, err := f.Deposits(t.Context(), wallet.DepositsRequest{})
		errs = append(errs, err)
		_, err = f.Fund(t.Context(), wallet.FundRequest{})
		errs = append(errs, err)
		_, err = f.Transaction(t.Context(), coin.Asset{}, "t")
		errs = append(errs, err)
		for i, err := range errs {
			if !errors.Is(err, c.kind) || c.kind != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: call %d: %v, want %q", c.name, i, err, c.want)
			}
		}
		want := "Describe Describe Describe Describe"
		if c.kind == nil {
			want = "Describe Deposits Fund Transaction"
		}
		if got := strings.Join(w.asked, " "); got != want {
			t.Errorf("%s: the connector was asked %q, want %q", c.name, got, want)
		}
		if _, err := f.Sweep(t.Context(), wallet.SweepRequest{}); err != nil {
			t.Errorf("%s: a sweep waits: %v", c.name, err)
		}
		if d, err := f.Last(); !errors.Is(err, c.kind) || d.Node != c.node {
			t.Errorf("%s: the last look was %+v, %v", c.name, d.Node, err)
		}
	}
}

// A look at a healthy node counts for some seconds; one at a sick node does not.
func TestFollowingLooksAgain(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	w := &stale{node: wallet.Node{Reachable: true, TipTime: now.Unix(), MaxTipAge: 60}}
	f := wallet.Follow(w, 0, func() time.Time { return now })
	for range 3 {
		if err := f.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.node.Alone = true
	now = now.Add(5 * time.Second)
	for range 2 {
		if err := f.Check(t.Context()); !errors.Is(err, wallet.ErrNotFollowing) {
			t.Error(err)
		}
	}
	w.node.Alone = false
	if err := f.Check(t.Context()); err != nil || len(w.asked) != 4 {
		t.Errorf("asked %d times, want 4: %v", len(w.asked), err)
	}
}

// described is a wallet whose node is what a test says.
type described struct {
	wallet.Wallet
	node wallet.Node
}

func (d described) Describe(ctx context.Context) (wallet.Description, error) {
	x, err := d.Wallet.Describe(ctx)
	x.Node = d.node
	return x, err
}

// What a node says of itself comes over the wire as it is, and nonsense does not.
func TestNodeOverTheWire(t *testing.T) {
	_, own := newFake(t)
	for _, n := range []wallet.Node{
		{Reachable: true, Height: 7, TipTime: 1_800_000_000, MaxTipAge: 7200, Alone: true},
		{Reachable: true, TipTime: -1}, {Reachable: true, MaxTipAge: -1}, {Reachable: true, MaxTipAge: 400 * 24 * 3600},
	} {
		s := httptest.NewServer(wallet.Handler(described{own, n}))
		d, err := wallet.NewClient(s.URL, s.Client()).Describe(t.Context())
		s.Close()
		if bad := n.Height == 0; bad && (err == nil || !strings.Contains(err.Error(), "malformed answer")) || !bad && (err != nil || d.Node != n) {
			t.Errorf("%+v: came as %+v, %v", n, d.Node, err)
		}
	}
}
