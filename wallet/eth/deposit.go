package eth

import (
	"context"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"latchkey/coin"
	"latchkey/wallet"
)

// maxBlocks bounds the whole blocks that one request reads to name transactions.
const maxBlocks = 32

// account is what Deposits learns about one address.
type account struct {
	address common.Address
	want    *big.Int

	nonce, pendingNonce     hexutil.Uint64
	balance, deep, pendings hexutil.Big // wei: at the best block, at the depth asked for, with what is not mined
}

// Deposits implements wallet.Wallet. An account has a balance and no list of
// deposits, so depths come from its balance at past blocks; beyond maxDepth
// blocks they are not looked up and count as maxDepth. Transactions are
// named if this wallet made them, or if they are plain and at most maxDepth deep.
func (w *Wallet) Deposits(ctx context.Context, r wallet.DepositsRequest) (wallet.Deposits, error) {
	if err := r.Check(); err != nil {
		return wallet.Deposits{}, err
	}
	if err := w.check(r.Asset); err != nil {
		return wallet.Deposits{}, err
	}
	confirmations := r.Confirmations
	if confirmations == 0 {
		confirmations = w.cfg.Confirmations
	}
	if confirmations > maxDepth {
		return wallet.Deposits{}, fmt.Errorf("%w: %d confirmations, at most %d can be looked up", wallet.ErrInvalid, confirmations, maxDepth)
	}
	accounts := make([]*account, len(r.Queries))
	for i, q := range r.Queries {
		address, err := addressOf(q.Key)
		if err != nil {
			return wallet.Deposits{}, fmt.Errorf("query %d: %w", i, err)
		}
		accounts[i] = &account{address: address, want: toBig(q.Want)}
	}
	for range 3 {
		head, err := w.node.head(ctx)
		if err != nil {
			return wallet.Deposits{}, err
		}
		out, err := w.depositsAt(ctx, head, accounts, uint64(confirmations))
		if err != nil {
			return wallet.Deposits{}, err
		}
		// Past blocks were asked for by number. If the best one is still in the
		// chain, all answers were about one chain.
		var same *header
		if err := w.node.must(ctx, &call{method: "eth_getBlockByNumber", params: []any{head.Number, false}, result: &same}); err != nil {
			return wallet.Deposits{}, err
		}
		if same != nil && same.Hash == head.Hash {
			return out, nil
		}
	}
	return wallet.Deposits{}, fmt.Errorf("%w: the chain is being reorganised", wallet.ErrUnreachable)
}

// depositsAt answers for the chain that ends in head.
func (w *Wallet) depositsAt(ctx context.Context, head header, accounts []*account, confirmations uint64) (wallet.Deposits, error) {
	height := uint64(head.Number)
	var own hexutil.Uint64
	calls := []*call{{method: "eth_getTransactionCount", params: []any{w.address, "latest"}, result: &own}}
	for _, a := range accounts {
		calls = append(calls,
			&call{method: "eth_getTransactionCount", params: []any{a.address, head.Number}, result: &a.nonce},
			&call{method: "eth_getBalance", params: []any{a.address, head.Number}, result: &a.balance},
			&call{method: "eth_getTransactionCount", params: []any{a.address, "pending"}, result: &a.pendingNonce},
			&call{method: "eth_getBalance", params: []any{a.address, "pending"}, result: &a.pendings})
		a.deep = hexutil.Big{}
		if confirmations <= height+1 {
			at := hexutil.Uint64(height + 1 - confirmations)
			calls = append(calls, &call{method: "eth_getBalance", params: []any{a.address, at}, result: &a.deep})
		}
	}
	if err := w.node.must(ctx, calls...); err != nil {
		return wallet.Deposits{}, err
	}
	for _, a := range accounts {
		a.pendings = hexutil.Big(*w.withOwn(a.address, a.balance.ToInt(), a.pendings.ToInt(), uint64(own)))
	}
	depths, funded, spent, err := w.searches(ctx, height, accounts)
	if err != nil {
		return wallet.Deposits{}, err
	}
	names, err := w.nameTransactions(ctx, height, accounts, funded, spent)
	if err != nil {
		return wallet.Deposits{}, err
	}
	out := wallet.Deposits{Height: height}
	for i, a := range accounts {
		d := wallet.Deposit{
			Address: a.address.Hex(),
			Depth:   uint32(depths[i].depth),
			Spent:   a.nonce > 0 || a.pendingNonce > 0,

			SpentDepth: uint32(spent[i].depth),
			FundingTx:  names[i].funding,
			SpendingTx: names[i].spending,
		}
		if d.Confirmed, d.Pending, err = a.amounts(); err != nil {
			return wallet.Deposits{}, fmt.Errorf("balance of %v: %w", a.address, err)
		}
		out.Deposits = append(out.Deposits, d)
	}
	return out, nil
}

// withOwn returns what an address will hold once all is mined, given what it
// holds now and what the node says that it will. A node's pending block may be
// seconds old (geth's: two), so own payments that are not mined, whose nonces
// are own or more, are counted from the book.
func (w *Wallet) withOwn(address common.Address, balance, pending *big.Int, own uint64) *big.Int {
	sum, some := new(big.Int).Set(balance), false
	for _, paid := range w.book.paidTo(address) {
		if paid.sender == w.address && paid.tx.Nonce() >= own {
			sum.Add(sum, paid.tx.Value())
			some = true
		}
	}
	if some && sum.Cmp(pending) > 0 {
		return sum
	}
	return pending
}

// amounts divides what the address will hold once all is mined: what was there
// all the time since the depth asked for, and the rest.
func (a *account) amounts() (confirmed, pending coin.Amount, err error) {
	all := a.pendings.ToInt()
	deep := all
	for _, v := range []*big.Int{a.balance.ToInt(), a.deep.ToInt()} {
		if v.Cmp(deep) < 0 {
			deep = v
		}
	}
	if confirmed, err = toAmount(deep); err != nil {
		return
	}
	pending, err = toAmount(new(big.Int).Sub(all, deep))
	return
}

// search looks for the greatest depth at which something about an address held
// already: a balance of at least `least`, or, if that is nil, a spend. What
// holds at one depth holds at every smaller one.
type search struct {
	address common.Address
	least   *big.Int
	depth   uint64 // the answer: it holds there; 0 = not even at the best block

	beyond  uint64 // the least depth at which it is known not to hold
	nonce   hexutil.Uint64
	balance hexutil.Big
}

// newSearch returns a search in a chain of the given height, which knows whether
// it holds at the best block.
func newSearch(address common.Address, least *big.Int, holds bool, height uint64) *search {
	s := &search{address: address, least: least}
	if holds {
		s.depth, s.beyond = 1, min(height+1, maxDepth)+1
	}
	return s
}

// begun reports that the depth is where it began, not just as far as was looked.
func (s *search) begun(height uint64) bool {
	return s.depth > 0 && (s.depth < maxDepth || s.depth == height+1)
}

// searches runs three searches for each account, all of them in step, so that a thousand
// addresses take as many round trips as one: since when what is wanted is
// there, since when anything is, since when something is spent.
func (w *Wallet) searches(ctx context.Context, height uint64, accounts []*account) (wanted, funded, spent []*search, err error) {
	var all []*search
	for _, a := range accounts {
		want, balance := a.want, a.balance.ToInt()
		if want.Sign() == 0 {
			want = balance
			if a.pendings.ToInt().Cmp(want) > 0 {
				want = a.pendings.ToInt()
			}
		}
		holds := want.Sign() > 0 && balance.Cmp(want) >= 0
		wanted = append(wanted, newSearch(a.address, want, holds, height))
		// Once something was spent, an old balance says nothing about the first.
		funded = append(funded, newSearch(a.address, big.NewInt(1), a.nonce == 0 && balance.Sign() > 0, height))
		spent = append(spent, newSearch(a.address, nil, a.nonce > 0, height))
	}
	all = append(append(append(all, wanted...), funded...), spent...)
	for {
		var calls []*call
		var asked []*search
		for _, s := range all {
			if s.beyond <= s.depth+1 {
				continue
			}
			at := hexutil.Uint64(height + 1 - s.middle())
			if s.least == nil {
				calls = append(calls, &call{method: "eth_getTransactionCount", params: []any{s.address, at}, result: &s.nonce})
			} else {
				calls = append(calls, &call{method: "eth_getBalance", params: []any{s.address, at}, result: &s.balance})
			}
			asked = append(asked, s)
		}
		if len(calls) == 0 {
			return wanted, funded, spent, nil
		}
		if err := w.node.must(ctx, calls...); err != nil {
			return nil, nil, nil, err
		}
		for _, s := range asked {
			s.narrow()
		}
	}
}

func (s *search) middle() uint64 { return s.depth + (s.beyond-s.depth)/2 }

// narrow takes the answer for the middle.
func (s *search) narrow() {
	holds := s.nonce > 0
	if s.least != nil {
		holds = s.balance.ToInt().Cmp(s.least) >= 0
	}
	if holds {
		s.depth = s.middle()
	} else {
		s.beyond = s.middle()
	}
}

// names are the transactions of one address, as far as they are known.
type names struct{ funding, spending wallet.TxID }

// block is what this package reads of a block with its transactions.
type block struct {
	Transactions []struct {
		Hash  common.Hash     `json:"hash"`
		From  common.Address  `json:"from"`
		To    *common.Address `json:"to"`
		Value hexutil.Big     `json:"value"`
		Nonce hexutil.Uint64  `json:"nonce"`
	} `json:"transactions"`
}

// nameTransactions finds the transactions with which deposits and spends began.
func (w *Wallet) nameTransactions(ctx context.Context, height uint64, accounts []*account, funded, spent []*search) ([]names, error) {
	blocks := make(map[uint64]*block)
	var calls []*call
	for _, s := range append(append([]*search(nil), spent...), funded...) {
		if !s.begun(height) || len(blocks) == maxBlocks {
			continue
		}
		at := height + 1 - s.depth
		if blocks[at] == nil {
			blocks[at] = new(block)
			calls = append(calls, &call{method: "eth_getBlockByNumber", params: []any{hexutil.Uint64(at), true}, result: blocks[at]})
		}
	}
	for _, c := range calls { // one at a time: whole blocks are large
		if err := w.node.must(ctx, c); err != nil {
			return nil, err
		}
	}
	out := make([]names, len(accounts))
	for i, a := range accounts {
		if b := blocks[height+1-funded[i].depth]; b != nil && funded[i].begun(height) {
			for _, tx := range b.Transactions {
				if tx.To != nil && *tx.To == a.address && tx.Value.ToInt().Sign() > 0 {
					out[i].funding = wallet.TxID(tx.Hash.Hex())
					break
				}
			}
		}
		if b := blocks[height+1-spent[i].depth]; b != nil && spent[i].begun(height) {
			for _, tx := range b.Transactions {
				if tx.From == a.address {
					out[i].spending = wallet.TxID(tx.Hash.Hex())
					break
				}
			}
		}
		if paid := w.book.paidTo(a.address); out[i].funding == "" && len(paid) > 0 {
			out[i].funding = wallet.TxID(paid[0].tx.Hash().Hex())
		}
		if sent := w.book.sentFrom(a.address); out[i].spending == "" && len(sent) > 0 && a.pendingNonce > 0 && a.nonce == 0 {
			out[i].spending = wallet.TxID(sent[len(sent)-1].tx.Hash().Hex())
		}
	}
	return out, nil
}
