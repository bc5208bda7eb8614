package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/client/clientpb"
	"latchkey/coin"
	"latchkey/contract"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// Pots that are filled later: their weights and denomination are agreed with
// everything else, and chunks are put in while the contract runs.

// laterOf returns what the chunks of each later pot of an agreement are of.
func laterOf(a vault.Agreement, p *contract.Program) map[int]coin.Denomination {
	out := map[int]coin.Denomination{}
	for i, pot := range p.Pots() {
		if pot.Later && i < len(a.Pots) && len(a.Pots[i]) > 0 && len(out) < len(a.Later) {
			out[i] = a.Later[len(out)]
		}
	}
	return out
}

func (s *sketch) isLater(pot int) bool { return s.deal.Program().Pots()[pot].Later }

// checkLater checks what is agreed of a pot that is filled later.
func (s *sketch) checkLater(i int) error {
	var sum int64
	for _, x := range s.body.Agreement.Pots[i] {
		if x.Chunk != (wire.ChunkID{}) || x.Epoch != 0 {
			return errors.New("it is filled later, and names a chunk already")
		}
		sum += int64(x.Weight)
	}
	if units := s.deal.PotUnits(i); sum != units {
		return fmt.Errorf("it is to hold %d units, the contract wants %d", sum, units)
	}
	if s.body.Asks[i] != (draftAsk{}) {
		return errors.New("it is filled later, and somebody is asked to fill it now")
	}
	d, ok := laterOf(s.body.Agreement, s.deal.Program())[i]
	if !ok && sum > 0 {
		return errors.New("it is filled later, and of no denomination")
	}
	if x := s.deal.Program().Pots()[i].Asset; ok && x >= 0 && s.body.Agreement.Assets[x] != d.Asset.ID {
		return fmt.Errorf("it is to hold %s, the contract wants %s", d.Asset.ID, s.body.Agreement.Assets[x])
	}
	return nil
}

// ladder divides units into the weights of chunks that people usually have: fives,
// and larger ones of the ladder where those would be many.
func ladder(units int64) (out []uint32) {
	rungs := []uint32{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000}
	for i := len(rungs) - 1; i >= 0; i-- {
		w := int64(rungs[i])
		if w > 5 && units < 20*w {
			continue
		}
		for ; units >= w && len(out) < maxPicked; units -= w {
			out = append(out, rungs[i])
		}
	}
	return out
}

// agreeLater writes down what is agreed of a pot that is filled later: weights as
// the user says, or as the chunks at hand have them, and the denomination of
// another pot of the same coins, of those chunks, or of today.
func (h *Host) agreeLater(ctx context.Context, a *vault.Agreement, pot int, asset coin.AssetID, weights []uint32, units int64, mine bool, st enclave.Status, free []enclave.ChunkStatus) error {
	d, err := h.denominationFor(ctx, *a, asset, st)
	if err != nil {
		return err
	}
	if weights == nil && mine {
		same := slices.DeleteFunc(slices.Clone(free), func(c enclave.ChunkStatus) bool { return c.Cert.Denomination != d })
		if list, err := pickUnits(same, asset, coin.Amount{}, units); err == nil {
			weights = weightsOf(list)
		}
	}
	if weights == nil {
		weights = ladder(units)
	}
	for _, w := range weights {
		a.Pots[pot] = append(a.Pots[pot], vault.Stake{Weight: w})
	}
	if sum := weigh(a.Pots[pot]); int64(sum) != units {
		return fmt.Errorf("its chunks are to weigh %d units, the contract wants %d", sum, units)
	}
	a.Later = append(a.Later, d)
	return nil
}

func (h *Host) denominationFor(ctx context.Context, a vault.Agreement, asset coin.AssetID, st enclave.Status) (coin.Denomination, error) {
	for _, pot := range a.Pots {
		for _, s := range pot {
			for _, c := range st.Chunks {
				if c.ID == s.Chunk && c.Cert.Denomination.Asset.ID == asset {
					return c.Cert.Denomination, nil
				}
			}
		}
	}
	x, err := h.asset(ctx, asset)
	if err != nil {
		return coin.Denomination{}, err
	}
	d, err := h.board.Denominate(ctx, x)
	if err == nil {
		return d, nil
	}
	newest := int64(0)
	for _, c := range st.Chunks {
		if c.Cert.Denomination.Asset == x && c.Cert.Made > newest {
			newest, d = c.Cert.Made, c.Cert.Denomination
		}
	}
	if newest == 0 {
		return coin.Denomination{}, err
	}
	return d, nil
}

// denominationOf returns what the chunks of a later pot of an instance are of.
func (h *Host) denominationOf(ctx context.Context, instance, pot string) (*coin.Denomination, error) {
	var id wire.InstanceID
	if err := id.UnmarshalText([]byte(instance)); err != nil {
		return nil, err
	}
	s, err := h.stage(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("instance %s: %w", id.Short(), err)
	}
	p := s.deal.Program()
	for i, d := range laterOf(s.agreement, p) {
		if p.Pots()[i].Name == pot {
			return &d, nil
		}
	}
	return nil, fmt.Errorf("contract %s has no pot %.40q that is filled later", p.Name(), pot)
}

// potAsset reads which coins a pot is to hold, and, of one that is filled later, in
// chunks of which weights: ASSET, or ASSET:5,5,2.
func potAsset(text string) (coin.AssetID, []uint32, error) {
	i := strings.LastIndexByte(text, '@')
	if i < 0 {
		return coin.AssetID(text), nil, nil
	}
	var weights []uint32
	for _, x := range strings.Split(text[i+1:], ",") {
		var w uint32
		if _, err := fmt.Sscanf(x, "%d", &w); err != nil || fmt.Sprint(w) != x {
			return "", nil, fmt.Errorf("%.60q: want the weights of its chunks in units, as ASSET@5,5,2", text)
		}
		if err := coin.CheckWeight(w); err != nil {
			return "", nil, err
		}
		weights = append(weights, w)
	}
	return coin.AssetID(text[:i]), weights, nil
}

// A FundAsk is what a user wants to put into a later pot.
type FundAsk struct {
	Instance wire.InstanceID
	Pot      string
	Chunks   int   // at most so many; 0: all that are missing
	Within   int64 // seconds that it waits for those who may receive of the pot; 0: ten minutes
	PlanOnly bool
}

// Fund puts free chunks of this client into a later pot that it fills, the next ones
// of those weights that were agreed.
func (h *Host) Fund(ctx context.Context, q FundAsk) (*clientpb.FundResponse, error) {
	fail := func(err error) (*clientpb.FundResponse, error) {
		return nil, fmt.Errorf("fund pot %.40s of instance %s: %w", q.Pot, q.Instance.Short(), err)
	}
	h.dealing.Lock()
	defer h.dealing.Unlock()
	s, err := h.stage(ctx, q.Instance)
	if err != nil {
		return fail(err)
	}
	st, err := h.vaultStatus(ctx)
	if err != nil {
		return fail(err)
	}
	i := slices.IndexFunc(st.Instances, func(in vault.Instance) bool { return in.ID == q.Instance })
	if i < 0 || s.closed {
		return fail(errors.New("its contract is over"))
	}
	in, p := st.Instances[i], s.deal.Program()
	pot := slices.IndexFunc(p.Pots(), func(x contract.Pot) bool { return x.Name == q.Pot })
	if pot < 0 || !p.Pots()[pot].Later {
		var later []string
		for _, x := range p.Pots() {
			if x.Later {
				later = append(later, x.Name)
			}
		}
		return fail(fmt.Errorf("contract %s has no such pot that is filled later; it has %s", p.Name(), strings.Join(append(later, "no other"), ", ")))
	}
	if from := p.Pots()[pot].From; from != int(in.Role) {
		return fail(fmt.Errorf("party %s fills it, this side is %s", p.Parties()[from], in.Party))
	}
	put := 0
	for _, d := range in.Deposits {
		switch {
		case int(d.Order.Pot) != pot:
		case !d.Taken:
			return fail(fmt.Errorf("a deposit into it waits already, until %s", wire.UTC(d.Order.By)))
		default:
			put += len(d.Order.Chunks)
		}
	}
	next := s.agreement.Pots[pot][put:]
	if len(next) == 0 {
		return fail(errors.New("it is full"))
	}
	next = next[:min(len(next), vault.MaxDeposit)]
	if q.Chunks > 0 {
		next = next[:min(len(next), q.Chunks)]
	}
	by, err := waitsUntil(q.Within, st.Now, in.Until)
	if err != nil {
		return fail(err)
	}
	d := laterOf(s.agreement, p)[pot]
	list, err := pickNext(usable(st, h.id, h.reserved(), h.fundedState, in.Ends), d, next)
	if err != nil {
		return fail(err)
	}
	ev := contract.Event{Kind: contract.Deposit, Pot: pot, Value: int64(len(list)), At: max(st.Now, s.state.Now())}
	if _, _, err := s.deal.Step(s.state, ev); err != nil {
		return fail(fmt.Errorf("in phase %s: %w", in.Phase, err))
	}
	units := weigh(next)
	out := &clientpb.FundResponse{
		Instance: q.Instance.String(), Pot: q.Pot, Asset: string(d.Asset.ID), Decimals: uint32(d.Asset.Decimals),
		Units: int64(units), Chunks: uint32(len(list)), Missing: uint32(len(s.agreement.Pots[pot]) - put - len(list)), By: by,
	}
	if amount, err := d.Unit.Times(uint64(units)); err == nil {
		out.Amount = amount.String()
	}
	for _, c := range s.deal.Candidates(pot) {
		out.WaitsFor = append(out.WaitsFor, p.Parties()[c])
	}
	if q.PlanOnly {
		return out, nil
	}
	ids := make([]wire.ChunkID, len(list))
	for i, c := range list {
		ids[i] = c.ID
	}
	if _, err := h.call(ctx, enclave.Call{Deposit: &enclave.Deposit{Instance: q.Instance, Pot: uint32(pot), IDs: ids, By: by}}); err != nil {
		return fail(err)
	}
	h.store.journal(ctx, Event{Kind: "funding", Count: len(ids), Text: fmt.Sprintf("puts %s, %s, into pot %s of instance %s, which waits until %s",
		tally(len(ids), "chunk"), tally(units, "unit"), q.Pot, q.Instance.Short(), wire.UTC(by))})
	wake(h.talk)
	return out, nil
}

// waitsUntil returns until when a deposit waits: before the end of its phase.
func waitsUntil(within, now, until int64) (int64, error) {
	if within == 0 {
		within = 600
	}
	by := min(now+within, until-1)
	if within < 0 || by <= now+2 {
		return 0, fmt.Errorf("its phase ends at %s, and it is %s: nobody could acknowledge a deposit in time", wire.UTC(until), wire.UTC(now))
	}
	return by, nil
}

// pickNext picks chunks of a denomination with these weights, in this order.
func pickNext(free []enclave.ChunkStatus, d coin.Denomination, next []vault.Stake) (out []enclave.ChunkStatus, err error) {
	free = slices.DeleteFunc(slices.Clone(free), func(c enclave.ChunkStatus) bool { return c.Cert.Denomination != d })
	have := weightsOf(free)
	for _, s := range next {
		i := slices.IndexFunc(free, func(c enclave.ChunkStatus) bool { return c.Chunk.Weight == s.Weight })
		if i < 0 {
			var want []string
			for _, x := range next {
				want = append(want, fmt.Sprint(x.Weight))
			}
			return nil, fmt.Errorf("%w: agreed are chunks of %s units of %s, in this order, and free are %d of it, which weigh %v: make some with latchkey deposit --for DEAL:POT, or put in a part with --chunks",
				ErrIndivisible, firstOf(want, 12), d.ID, len(have), have)
		}
		out = append(out, free[i])
		free = slices.Delete(free, i, i+1)
	}
	return out, nil
}

// found looks, with the own wallet, at deposits into later pots that this client may
// receive, and has the vault acknowledge those whose coins are there. One whose coins
// are not there goes back in the end.
func (h *Host) found(ctx context.Context, s enclave.Status) {
	for _, in := range s.Instances {
		for _, d := range in.Deposits {
			if !d.Asked || in.Closed || d.Order.By < s.Now {
				continue
			}
			err := h.lookFor(ctx, d, s)
			if err == nil {
				_, err = h.call(ctx, enclave.Call{Funded: &vault.DepositAck{Instance: in.ID, Deposit: d.Entry}})
			}
			if err == nil {
				h.store.journal(ctx, Event{Kind: "found", Count: len(d.Order.Chunks), Text: fmt.Sprintf("found the coins of a deposit into instance %s: %s", in.ID.Short(), tally(len(d.Order.Chunks), "chunk"))})
				wake(h.talk)
			}
			h.problem(fmt.Sprintf("a deposit into instance %s", in.ID.Short()), err)
		}
	}
}

func (h *Host) lookFor(ctx context.Context, d vault.Filling, s enclave.Status) error {
	asked := deposits{}
	for _, ce := range d.Order.Chunks {
		i := slices.IndexFunc(s.Chunks, func(c enclave.ChunkStatus) bool { return c.ID == ce.Chunk })
		if i < 0 {
			return fmt.Errorf("chunk %s is not followed yet", ce.Chunk.Short())
		}
		if err := asked.add(s.Chunks[i].Cert, s.Chunks[i].Chunk.P); err != nil {
			return err
		}
	}
	return h.lookAt(ctx, asked)
}

// fundingStatus adds to a deal what its later pots wait for.
func (d Deal) fundingStatus(out *clientpb.Deal, in vault.Instance) {
	a, err := d.agreement()
	if err != nil || in.Closed || !in.Opened {
		return
	}
	deal, err := bound(a)
	if err != nil {
		return
	}
	p, w := deal.Program(), out.Wait
	state, err := deal.DecodeState(stakeWeights(a), in.State)
	if err != nil {
		return
	}
	for _, x := range deal.Wants(state) {
		if x.Pot >= 0 && p.Pots()[x.Pot].From == int(in.Role) {
			w.WaitsFor += fmt.Sprintf("; it takes %s into pot %s: latchkey fund %.8s %s", tally(x.Chunks, "chunk"), p.Pots()[x.Pot].Name, d.id(), p.Pots()[x.Pot].Name)
			break
		}
	}
	for _, f := range in.Deposits {
		if f.Taken || int(f.Order.Pot) >= len(p.Pots()) {
			continue
		}
		pot := p.Pots()[f.Order.Pot]
		var who []string
		for role, ok := range f.Acked {
			if !ok {
				who = append(who, p.Parties()[role])
			}
		}
		what := "the deposit of " + tally(len(f.Order.Chunks), "chunk") + " into pot " + pot.Name
		switch {
		case f.Entry == 0:
			w.WaitsFor = "the escrow to log " + what
		case f.Asked:
			w.WaitsFor = "this wallet to find the coins of " + what
		default:
			w.WaitsFor = strings.Join(who, ", ") + " to acknowledge " + what
		}
		w.Until, w.Then = f.Order.By, "its chunks go back to "+p.Parties()[pot.From]
		return
	}
}

// laterNote says of a pot when it is filled: in which phases the contract waits for
// it.
func laterNote(p *contract.Program, pot int) string {
	var phases []string
	for _, ph := range p.Outline().Phases {
		if slices.ContainsFunc(ph.Clauses, func(c contract.Clause) bool { return c.Kind == contract.Deposit && c.Pot == pot }) {
			phases = append(phases, fmt.Sprintf("%s (until %s)", ph.Name, ph.Until))
		}
	}
	return "while the contract runs, in phase " + strings.Join(phases, ", ")
}

// maxFundWait bounds how long a deposit waits, in seconds.
const maxFundWait = int64(30 * 24 * time.Hour / time.Second)
