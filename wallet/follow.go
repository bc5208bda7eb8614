package wallet

import (
	"context"
	"fmt"
	"sync"
	"time"

	"latchkey/coin"
)

// maxTipAge bounds what a connector may say: a year of seconds.
const maxTipAge = 366 * 24 * 3600

// tipLead is how far ahead of this machine's clock a block's own time may be: as far as
// Bitcoin lets it.
const tipLead = 2 * time.Hour

// Follows returns nil if what a node says of its chain can be believed now, and otherwise
// what is wrong and how to mend it: ErrUnreachable, or ErrNotFollowing for a node that has
// no peers, is still catching up, or whose newest block is older than the connector, or most,
// permits; 0 is no bound of the caller's own. Where neither has a bound the age counts for
// nothing.
func (d Description) Follows(now time.Time, most time.Duration) error {
	n := d.Node
	if own := time.Duration(n.MaxTipAge) * time.Second; own > 0 && (most == 0 || own < most) {
		most = own
	}
	who := "the node behind " + d.Name
	if len(d.Assets) > 0 {
		who += " for " + d.Assets[0].Asset.Chain
	}
	tip := time.Unix(n.TipTime, 0).UTC()
	switch age := now.Sub(tip); {
	case !n.Reachable:
		return fmt.Errorf("%s: %w: %s", who, ErrUnreachable, n.Problem)
	case n.Alone:
		return fmt.Errorf("%w: %s has no peers at block %d; let it reach its network, or point node in the connector's configuration at another", ErrNotFollowing, who, n.Height)
	case n.Syncing:
		return fmt.Errorf("%w: %s is still catching up, at block %d; wait, or point node in the connector's configuration at another", ErrNotFollowing, who, n.Height)
	case most == 0:
		return nil
	case n.TipTime == 0:
		return fmt.Errorf("%w: the connector of %s does not say of when its newest block is; use one that does, or remove max_tip_age", ErrNotFollowing, who)
	case age > most:
		return fmt.Errorf("%w: %s stands still: its newest block, %d, is of %s, %s ago, and at most %s is right for its chain (max_tip_age); look at its peers and its disk, or point node in the connector's configuration at another",
			ErrNotFollowing, who, n.Height, tip.Format(time.RFC3339), age.Round(time.Second), most)
	case age < -tipLead:
		return fmt.Errorf("%w: %s has a newest block, %d, of %s, %s ahead of this machine's clock; set the clock, or point node in the connector's configuration at another",
			ErrNotFollowing, who, n.Height, tip.Format(time.RFC3339), (-age).Round(time.Second))
	}
	return nil
}

// Following is a Wallet that says nothing of deposits and transactions, and pays nothing, while its
// node does not follow its chain: see Description.Follows. A sweep it sends all the same,
// for a key that is out is in a hurry; that it is final it does not say.
type Following struct {
	Wallet
	most time.Duration
	now  func() time.Time

	mu   sync.Mutex
	good time.Time // until then the last look counts
	last Description
	err  error
}

// relook is how long a look at a healthy node counts at most.
const relook = 5 * time.Second

// Follow returns w under that rule. most is the caller's own bound on the age of the newest
// block, 0 for none; now is the clock.
func Follow(w Wallet, most time.Duration, now func() time.Time) *Following {
	return &Following{Wallet: w, most: most, now: now}
}

// Check looks at the node, unless it did a moment ago and all was well.
func (f *Following) Check(ctx context.Context) error {
	now := f.now()
	f.mu.Lock()
	fresh := now.Before(f.good)
	f.mu.Unlock()
	if fresh {
		return nil
	}
	d, err := f.Describe(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		err = d.Follows(now, f.most)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.err = d, err
	if f.good = (time.Time{}); err == nil {
		f.good = now.Add(relook)
	}
	return err
}

// Last returns what Check saw and said last. The zero Description: nothing yet.
func (f *Following) Last() (Description, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, f.err
}

// Deposits implements Wallet.
func (f *Following) Deposits(ctx context.Context, r DepositsRequest) (Deposits, error) {
	if err := f.Check(ctx); err != nil {
		return Deposits{}, err
	}
	return f.Wallet.Deposits(ctx, r)
}

// Fund implements Wallet.
func (f *Following) Fund(ctx context.Context, r FundRequest) (Funding, error) {
	if err := f.Check(ctx); err != nil {
		return Funding{}, err
	}
	return f.Wallet.Fund(ctx, r)
}

// Transaction implements Wallet.
func (f *Following) Transaction(ctx context.Context, asset coin.Asset, id TxID) (TxStatus, error) {
	if err := f.Check(ctx); err != nil {
		return TxStatus{}, err
	}
	return f.Wallet.Transaction(ctx, asset, id)
}
