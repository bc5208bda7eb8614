package sim

import (
	"errors"
	"fmt"

	"latchkey/coin"
	"latchkey/contract/oracle"
	"latchkey/settle"
	"latchkey/vault"
	"latchkey/wallet"
	"latchkey/wire"
)

// A proposal is what a switchboard brings together: an agreement, and the
// acceptances that it has. The matching here is as simple as can be; what
// matters is what the parties make of it.
type proposal struct {
	a   vault.Agreement
	all []vault.SignedAcceptance // by role; Sig empty: not yet
}

var errDeal = errors.New("no deal")

// Terms of a proposal, in what chunks the parties put in.
type Stakes struct {
	Contract contractID
	Parties  []*Client
	Pots     [][]wire.ChunkID
	LockIn   int64 // seconds
	Terms    []int64
	Pace     *settle.Pace // nil: atomic
}

// Agreement writes down what parties would sign, with the epochs and weights as
// their vaults have them.
func (w *World) Agreement(s Stakes) (vault.Agreement, error) {
	a := vault.Agreement{
		Source: []byte(sourceOf(s.Contract)), Terms: s.Terms, Escrow: w.cast.Escrow.ID, LockBy: w.now + s.LockIn, Settle: vault.Atomic,
	}
	if s.Pace != nil {
		a.Settle, a.Pace = vault.TitForTat, s.Pace
	}
	if s.Contract == Wager || s.Contract == Twice {
		a.Oracles = []oracle.Quorum{priceOracle()}
	}
	for _, c := range s.Parties {
		a.Parties = append(a.Parties, vault.Recipients{c.ID})
	}
	for i, ids := range s.Pots {
		from := s.Parties[depositors[s.Contract][i]]
		if from.m == nil {
			return a, fmt.Errorf("%w: %s is down", errDeal, from.Name)
		}
		var pot []vault.Stake
		for _, id := range ids {
			x, ok := from.m.Chunk(id)
			if !ok {
				return a, fmt.Errorf("%w: %s does not know chunk %s", errDeal, from.Name, id.Short())
			}
			pot = append(pot, vault.Stake{Chunk: id, Epoch: x.Epoch, Weight: x.Weight})
		}
		a.Pots = append(a.Pots, pot)
	}
	return a, nil
}

// depositors says, for each contract, which party fills which pot.
var depositors = map[contractID][]int{Swap: {0, 1}, Pay: {0}, Escrow: {0, 0}, Wager: {0, 1}, Twice: {0, 1}, Ordering: {1, 0}}

func weigh(pot []vault.Stake) (sum int64) {
	for _, s := range pot {
		sum += int64(s.Weight)
	}
	return sum
}

// Propose lets all parties look at an agreement and accept it. A party that
// refuses, or dies, ends it; the acceptances given by then stay valid.
func (w *World) Propose(s Stakes) (*proposal, error) {
	a, err := w.Agreement(s)
	if err != nil {
		return nil, err
	}
	if s.Terms == nil {
		for _, pot := range a.Pots {
			a.Terms = append(a.Terms, weigh(pot))
		}
		if s.Contract == Wager || s.Contract == Twice {
			a.Terms = append(a.Terms, w.now+1800)
		}
		if s.Contract == Escrow {
			a.Terms = append(a.Terms, w.now+1800, w.now+3600)
		}
	}
	return w.accept(a)
}

func (w *World) accept(a vault.Agreement) (*proposal, error) {
	p := &proposal{a: a, all: make([]vault.SignedAcceptance, len(a.Parties))}
	for i, r := range a.Parties {
		s, err := w.byID(r[0]).Accept(a)
		if err != nil {
			return p, err
		}
		p.all[i] = s
	}
	w.deals = append(w.deals, p)
	return p, nil
}

// Accept looks at an agreement with the client's own wallet, and then has the
// vault accept it.
func (c *Client) Accept(a vault.Agreement) (vault.SignedAcceptance, error) {
	var out vault.SignedAcceptance
	if c.m == nil {
		return out, fmt.Errorf("%w: %s is down", errDeal, c.Name)
	}
	q, err := c.Proposal(a)
	if err != nil {
		return out, err
	}
	if err := c.inspect(q.Papers); err != nil {
		return out, err
	}
	err = c.do("accept", func(o *vault.Owner) (rows []vault.Row, err error) {
		out, rows, err = o.Accept(q, c.w.rnd)
		return rows, err
	})
	return out, err
}

// Proposal puts together the papers of the others' chunks and what their vaults
// showed of themselves.
func (c *Client) Proposal(a vault.Agreement) (vault.Proposal, error) {
	q := vault.Proposal{Agreement: a, InsecureVendors: c.w.allowed}
	for _, r := range a.Parties {
		if other := c.w.byID(r[0]); other != nil && other != c {
			q.Peers = append(q.Peers, vault.Peer{Identity: other.Identity, Vendor: other.Vendor})
		}
	}
	for _, pot := range a.Pots {
		for _, s := range pot {
			if s.Chunk == (wire.ChunkID{}) {
				continue
			}
			if x, ok := c.m.Chunk(s.Chunk); ok && x.Owner == c.ID {
				continue
			}
			for _, other := range c.w.clients {
				if other == c || other.m == nil {
					continue
				}
				if x, ok := other.m.Chunk(s.Chunk); !ok || x.Owner != other.ID {
					continue
				}
				paper, err := other.m.Paper(s.Chunk)
				if err != nil {
					return q, fmt.Errorf("%w: %w", errDeal, err)
				}
				q.Papers = append(q.Papers, paper)
			}
		}
	}
	return q, nil
}

// inspect has the client's wallet look at the deposits of others.
func (c *Client) inspect(papers []vault.Paper) error {
	for _, p := range papers {
		cert, err := p.Cert.Unverified()
		if err != nil {
			return err
		}
		want, err := cert.Denomination.Deposit(cert.Weight)
		if err != nil {
			return err
		}
		if err := c.funds(cert.Denomination, p.Chunk.Key.Bytes(), want); err != nil {
			return fmt.Errorf("chunk %s: %w", p.Chunk.ID().Short(), err)
		}
	}
	return nil
}

// funds has the client's wallet look at one address.
func (c *Client) funds(d coin.Denomination, p []byte, want coin.Amount) error {
	var look wallet.Wallet = c.wallets[d.Asset.ID]
	if c.w.cfg.LyingWallets[c.Name] {
		look = c.wallets[d.Asset.ID].Lying()
	}
	r, err := look.Deposits(ctx, wallet.DepositsRequest{Asset: d.Asset, Queries: []wallet.DepositQuery{{Key: p, Want: want}}})
	if err != nil {
		return err
	}
	return r.Deposits[0].Check(want)
}

// lock returns the request that brings a proposal to the escrow, for any of its
// parties, while there is a use in it.
func (p *proposal) lock(c *Client) (vault.Request, bool) {
	if p.a.LockBy <= c.w.now || c.ID != p.a.Parties[0][0] {
		return vault.Request{}, false
	}
	if p.locked(c.w) {
		return vault.Request{}, false
	}
	return vault.Request{Lock: &vault.LockAsk{Agreement: p.a, Acceptances: p.all}}, true
}

// locked reports whether the witnessed log has the agreement.
func (p *proposal) locked(w *World) bool { return p.course(w) != nil }

func (p *proposal) course(w *World) *Course {
	h, err := wire.HashOf("latchkey/agreement/v1", p.a)
	for _, c := range w.ledger.courses {
		if err == nil && c.hash == h {
			return c
		}
	}
	return nil
}

// receipt is the escrow's promise about a word or a report.
type receipt struct {
	what    string
	receipt vault.Receipt
}

// covered is the first half of invariant 4: what an answer says is in the
// witnessed log by the time it leaves the escrow.
func (w *World) covered(c *Client, q vault.Request, r vault.Reply) {
	l := w.ledger
	if r.Certified != nil {
		if n, err := r.Certified.Unverified(); err != nil || !l.has(n.Batch) {
			w.fail("a certificate left the escrow before its entry was witnessed")
		}
	}
	for _, x := range r.Released {
		if f := l.chunks[x.Chunk]; f == nil || !f.Claimed || f.Owner != c.ID || f.Epoch != x.Epoch {
			w.fail("the escrow released its share of chunk %s to %s without a witnessed claim of its owner", x.Chunk.Short(), c.Name)
		}
	}
	if len(r.Mail) > 0 && q.Fetch != nil && q.Fetch.Step > vault.Index(l.size) {
		w.fail("the escrow let r of step %d go, witnessed are %d entries", q.Fetch.Step, l.size)
	}
	for _, m := range r.Mail {
		for _, x := range m.Items {
			early := m.From == w.cast.Escrow.ID && !w.cfg.InsecureHold
			if f := l.chunks[x.Chunk]; early && (f == nil || f.Epoch < x.Epoch) {
				w.fail("the escrow let r of chunk %s at epoch %d go before its step was witnessed", x.Chunk.Short(), x.Epoch)
			}
		}
	}
}

// has reports whether a batch was certified.
func (l *Ledger) has(batch wire.Hash) bool {
	for _, f := range l.chunks {
		if f.Cert.Batch == batch {
			return true
		}
	}
	return false
}

// Omitted reports whether a receipt proves that the escrow left something out: it
// promised the word by a time that the witnessed log has passed.
func (w *World) Omitted(r vault.Receipt) (bool, error) {
	if err := r.Verify(w.cast.Escrow.Identity); err != nil {
		return false, err
	}
	_, there := w.ledger.words[r.Word]
	return !there && w.ledger.seen > r.By, nil
}
