package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/coin"
	"latchkey/contract"
	"latchkey/examples"
	"latchkey/wire"
)

// Requested is a payment request of this client's, and how far it is.
type Requested struct {
	Request Request `json:"request"`
	State   string  `json:"state"` // open, paying, paid
	Draft   string  `json:"draft"` // that pays it
}

func requestName(id string) string { return "request/" + id }

// payHash names the contract of a plain payment, of payMost units at the most.
var payHash, payMost = func() (wire.Hash, uint64) {
	p, err := contract.Compile(examples.Pay)
	if err != nil {
		panic(err) // the example is compiled in, and a test looks at it
	}
	return p.Hash(), uint64(p.Terms()[0].Hi)
}()

// The parties of Pay.
const payer, payee = 0, 1

// Receive makes a payment request of at least an amount, good for some seconds.
func (h *Host) Receive(ctx context.Context, id coin.AssetID, amount coin.Amount, goodFor int64) (Request, error) {
	fail := func(err error) (Request, error) { return Request{}, fmt.Errorf("receive %s: %w", id, err) }
	if goodFor == 0 {
		goodFor = 3600
	}
	switch {
	case amount.IsZero():
		return fail(errors.New("nothing is asked for"))
	case goodFor < 0 || goodFor > 30*24*3600:
		return fail(fmt.Errorf("good for %d seconds, want at most 30 days", goodFor))
	}
	a, err := h.asset(ctx, id)
	if err != nil {
		return fail(err)
	}
	st, err := h.vaultStatus(ctx)
	if err != nil {
		return fail(err)
	}
	if st.Now == 0 {
		return fail(errors.New("the vault has not met its escrow yet"))
	}
	if err := h.payable(ctx, a, amount); err != nil {
		return fail(err)
	}
	r := Request{Vault: h.id, Asset: a.ID, Chain: a.Chain, Amount: amount, Nonce: newNonce(), Expiry: st.Now + goodFor}
	if r.Escrow, err = h.escrowID(ctx); err != nil {
		return fail(err)
	}
	if err := h.store.put(ctx, requestName(r.id().String()), Requested{Request: r, State: "open"}); err != nil {
		return fail(err)
	}
	h.store.journal(ctx, Event{Kind: "requested", Asset: string(id), Amount: amount.String(), Text: fmt.Sprintf("asks for a payment: request %.8s", r.id())})
	return r, nil
}

// payable refuses an amount that no payment can come to: a mistake of its decimal point, most
// likely. What a unit is the switchboard says; while it does not, what nothing can be is asked for
// in vain, and no more.
func (h *Host) payable(ctx context.Context, a coin.Asset, amount coin.Amount) error {
	short, cancel := context.WithTimeout(ctx, unitPatience)
	defer cancel()
	d, err := h.board.Denominate(short, a)
	if err != nil || d.Asset != a {
		return nil
	}
	most, err := d.Unit.Times(payMost)
	if err == nil && amount.Cmp(most) > 0 {
		return fmt.Errorf("%s is more than one payment can be: %d units, which are %s now; ask for less", a.Format(amount), payMost, a.Format(most))
	}
	return nil
}

// unitPatience is how long a payment request waits to hear what a unit is.
const unitPatience = 2 * time.Second

// worthOf turns dollars into an amount of an asset: in whole units of today's
// denomination, so that chunks can make it up.
func (h *Host) worthOf(ctx context.Context, id coin.AssetID, cents uint64) (coin.Amount, error) {
	if cents < unitCents || cents > 100_000_000 {
		return coin.Amount{}, fmt.Errorf("%d.%02d USD is not between 10 and 1,000,000", cents/100, cents%100)
	}
	a, err := h.asset(ctx, id)
	if err != nil {
		return coin.Amount{}, err
	}
	d, err := h.board.Denominate(ctx, a)
	if err != nil {
		return coin.Amount{}, err
	}
	return d.Unit.Times((cents + unitCents/2) / unitCents)
}

// asRequested checks that a draft pays an open request of this client's: by the
// contract Pay, in the right coins, in full, with chunks that live on.
func (h *Host) asRequested(ctx context.Context, id string, s *sketch) error {
	var q Requested
	name := requestName(s.body.Request.String())
	if !h.store.get(name, &q) {
		return errors.New("it answers a payment request that this client did not make")
	}
	r := q.Request
	switch {
	case q.State != "open" && q.Draft != id:
		return fmt.Errorf("the payment request is %s already", q.State)
	case s.deal.Program().Hash() != payHash || s.role != payee || s.from != payer:
		return errors.New("a payment is by the contract Pay, from its payer")
	}
	var total coin.Amount
	for _, x := range s.body.Agreement.Pots[0] {
		c, err := s.papers[x.Chunk].Cert.Unverified() // the vault verifies it, with everything else
		if err != nil {
			return err
		}
		if a := c.Denomination.Asset; a.ID != r.Asset || a.Chain != r.Chain {
			return fmt.Errorf("it pays %s on %s, asked for was %s on %s", a.ID, a.Chain, r.Asset, r.Chain)
		}
		if s.body.Agreement.LockBy >= c.Expiry-min(claimMargin, (c.Expiry-c.Made)/10) {
			return fmt.Errorf("chunk %s would have to be claimed at once: its certificate ends at %s", x.Chunk.Short(), wire.UTC(c.Expiry))
		}
		each, err := c.Denomination.Deposit(c.Weight)
		if err != nil {
			return err
		}
		if total, err = total.Plus(each); err != nil {
			return err
		}
	}
	if total.Cmp(r.Amount) < 0 {
		return fmt.Errorf("it pays %s, asked for was %s", total, r.Amount)
	}
	if s.body.Agreement.LockBy > r.Expiry+120 {
		return errors.New("the payment request has expired")
	}
	q.State, q.Draft = "paying", id
	_ = h.store.put(ctx, name, q) // the store keeps its failure
	return nil
}

// reopen lets a request be paid by another, once the draft that was to pay it has
// ended.
func (h *Host) reopen(ctx context.Context, d Draft) {
	var q Requested
	if h.store.get(requestName(d.Request), &q) && q.State == "paying" && q.Draft == d.ID {
		q.State, q.Draft = "open", ""
		_ = h.store.put(ctx, requestName(d.Request), q) // the store keeps its failure
	}
}

// A PaymentPlan says what paying a request would do.
type PaymentPlan struct {
	Request Request
	Asset   coin.Asset
	Exact   bool
	Pays    Payable // exactly, or the least above; no chunks: not enough
	Below   Payable // the most that is less than asked for, where it is not exact
	Free    coin.Amount
}

// Over returns how much more than asked for a plan pays.
func (p PaymentPlan) Over() coin.Amount {
	over, err := p.Pays.Amount.Minus(p.Request.Amount)
	if err != nil {
		return coin.Amount{}
	}
	return over
}

// Plan checks a payment request and picks chunks for it.
func (h *Host) Plan(ctx context.Context, text string) (PaymentPlan, error) {
	h.dealing.Lock()
	defer h.dealing.Unlock()
	return h.plan(ctx, text)
}

func (h *Host) plan(ctx context.Context, text string) (PaymentPlan, error) {
	var p PaymentPlan
	fail := func(err error) (PaymentPlan, error) { return PaymentPlan{}, fmt.Errorf("pay: %w", err) }
	r, err := ParseRequest(text)
	if err != nil {
		return fail(err)
	}
	p.Request = r
	st, err := h.vaultStatus(ctx)
	if err != nil {
		return fail(err)
	}
	self, err := h.escrowID(ctx)
	if err != nil {
		return fail(err)
	}
	if p.Asset, err = h.asset(ctx, r.Asset); err != nil {
		return fail(err)
	}
	switch {
	case r.Vault == h.id:
		return fail(errors.New("it is this client's own request"))
	case r.Escrow != self:
		return fail(fmt.Errorf("it is for chunks of escrow %s, this client's is %s: claim, and pay on the chain", r.Escrow.Short(), self.Short()))
	case r.Chain != p.Asset.Chain:
		return fail(fmt.Errorf("it is for %s on %s, the wallet here is on %s", r.Asset, r.Chain, p.Asset.Chain))
	case st.Now >= r.Expiry:
		return fail(fmt.Errorf("the request expired on %s; ask for another", wire.UTC(r.Expiry)))
	}
	var again error
	each(h.store, "draft/", func(_ string, d Draft) {
		if d.Request == r.id().String() && d.mine(h.id) && !d.over() {
			again = fmt.Errorf("this request is paid already, or is being paid: draft %.8s", d.ID)
		}
	})
	if again != nil {
		return fail(again)
	}
	free := usable(st, h.id, h.reserved(), h.fundedState, st.Now+payWithin)
	for _, c := range free {
		if c.Cert.Denomination.Asset == p.Asset {
			if each, err := c.Cert.Denomination.Deposit(c.Cert.Weight); err == nil {
				p.Free, _ = p.Free.Plus(each)
			}
		}
	}
	if p.Below, p.Pays, err = pickAmount(free, p.Asset, r.Amount); err != nil {
		return fail(err)
	}
	p.Exact = len(p.Pays.Chunks) > 0 && p.Pays.Amount.Cmp(r.Amount) == 0
	return p, nil
}

// payWithin is how many seconds a payment may take until it is locked.
const payWithin = 120

// Pay pays a request with chunks that this client holds, without any transaction
// on a chain. If the chunks at hand do not make up the amount exactly, it pays the
// least more only if over says so.
func (h *Host) Pay(ctx context.Context, text string, over bool) (PaymentPlan, string, error) {
	h.paying.Lock()
	defer h.paying.Unlock()
	p, err := h.Plan(ctx, text)
	switch {
	case err != nil:
		return p, "", err
	case len(p.Pays.Chunks) == 0:
		return p, "", fmt.Errorf("pay: %s is asked for, and %s is free in chunks of one denomination", p.Asset.Format(p.Request.Amount), p.Asset.Format(p.Below.Amount))
	case !p.Exact && !over:
		return p, "", fmt.Errorf("pay: %w: the chunks at hand make up %s or %s, not %s", ErrIndivisible, p.Asset.Format(p.Below.Amount), p.Asset.Format(p.Pays.Amount), p.Asset.Format(p.Request.Amount))
	}
	st, err := h.vaultStatus(ctx)
	if err != nil {
		return p, "", err
	}
	id, err := h.propose(ctx, Proposal{
		Source: examples.Pay, Terms: []int64{int64(p.Pays.Units)}, Parties: []wire.VaultID{h.id, p.Request.Vault},
		LockBy: min(st.Now+payWithin, p.Request.Expiry+payWithin),
	}, p.Pays.Chunks, p.Request.id())
	if err != nil {
		return p, "", fmt.Errorf("pay: %w", err)
	}
	return p, id, nil
}
