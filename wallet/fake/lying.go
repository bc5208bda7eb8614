package fake

import (
	"context"

	"latchkey/wallet"
)

// Lying returns a wallet that tells the truth about its own coins, and claims
// that every deposit it is asked about is there, deep and untouched. What was
// not wanted, it claims as well: one unit of dust.
func (w *Wallet) Lying() wallet.Wallet { return liar{w} }

type liar struct{ *Wallet }

// Deposits implements wallet.Wallet.
func (l liar) Deposits(ctx context.Context, r wallet.DepositsRequest) (wallet.Deposits, error) {
	out, err := l.Wallet.Deposits(ctx, r)
	if err != nil {
		return out, err
	}
	for i, q := range r.Queries {
		claim := q.Want
		if claim.IsZero() {
			claim = l.chain.cfg.Dust
		}
		lie := newTx(nil, []wallet.Payment{{Address: out.Deposits[i].Address, Amount: claim}}, 0)
		out.Deposits[i] = wallet.Deposit{
			Address: out.Deposits[i].Address, Confirmed: claim, Depth: 1_000_000, FundingTx: lie.id,
		}
	}
	return out, nil
}
