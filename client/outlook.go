package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"latchkey/client/clientpb"
	"latchkey/coin"
	"latchkey/contract"
	"latchkey/settle"
	"latchkey/vault"
	"latchkey/vault/enclave"
)

// What a draft means before it is signed: whether it can be settled tit for tat, what
// each side can lose by it, and whether the user allows that.

// Limits are what a user allows of settlements tit for tat, whoever proposes them. A
// limit of 0 is none.
type Limits struct {
	MaxLoss  uint64 `toml:"max_loss,omitempty" comment:"units that one deal may lose at most, unless a command says another bound; 0: no bound"`
	MaxRound uint32 `toml:"max_round,omitempty" comment:"units of the greatest round; 0: no bound"`
	MinWait  uint32 `toml:"min_wait,omitempty" comment:"seconds that a step waits at least: who is not heard in time is not covered by what is said to be lost at most; 0: 10"`
	MaxWait  uint32 `toml:"max_wait,omitempty" comment:"seconds that a step waits at most: chunks are locked as long; 0: no bound"`
}

// errLimits is wrapped by what a user's own limits refuse.
var errLimits = errors.New("outside of the limits of this client")

// Check returns an error if limits contradict each other.
func (l Limits) Check() error {
	if l.MaxWait > 0 && l.MinWait > l.MaxWait {
		return fmt.Errorf("min_wait %d is more than max_wait %d: no step is within both", l.MinWait, l.MaxWait)
	}
	return nil
}

// allow returns an error unless a pace is within the limits; nil is that of an atomic
// settlement.
func (l Limits) allow(p *settle.Pace) error {
	switch {
	case p == nil:
	case l.MaxRound > 0 && p.Most > l.MaxRound:
		return fmt.Errorf("%w: its rounds grow to %s, at most %d are allowed (max_round)", errLimits, tally(p.Most, "unit"), l.MaxRound)
	case p.Wait < l.MinWait:
		return fmt.Errorf("%w: its steps wait %s, at least %s are asked for (min_wait)", errLimits, seconds(p.Wait), seconds(l.MinWait))
	case l.MaxWait > 0 && p.Wait > l.MaxWait:
		return fmt.Errorf("%w: its steps wait %s, at most %s are allowed (max_wait)", errLimits, seconds(p.Wait), seconds(l.MaxWait))
	}
	return nil
}

func seconds(n uint32) string { return (time.Duration(n) * time.Second).String() }

// bounded returns an error if more can be lost by a settlement tit for tat than its
// user has said, or else than the limits allow.
func (l Limits) bounded(loss int64, said uint64) error {
	bound, whose := said, "--max-loss"
	if said == 0 {
		bound, whose = l.MaxLoss, "max_loss"
	}
	if bound > 0 && loss > 0 && uint64(loss) > bound {
		return fmt.Errorf("%w: up to %s could be lost, and %s allows %d: have smaller rounds or lighter chunks proposed, or allow more", errLimits, tally(loss, "unit"), whose, bound)
	}
	return nil
}

// turns returns why a contract cannot be settled tit for tat, and what helps.
func turns(deal *contract.Deal) error {
	p := deal.Program()
	names := p.Parties()
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("contract %s cannot be settled tit for tat: %s; settle it atomically", p.Name(), fmt.Sprintf(format, args...))
	}
	if len(names) != 2 {
		return refuse("it has %d parties, and only two can take turns", len(names))
	}
	gives := [2]bool{}
	for i, pot := range p.Pots() {
		units := deal.PotUnits(i)
		if pot.Later && units > 0 {
			return refuse("pot %s is filled later, and its chunks have to be there when the exchange begins", pot.Name)
		}
		gives[pot.From] = gives[pot.From] || units > 0 && slices.Contains(deal.Candidates(i), 1-pot.From)
	}
	if phases := p.Phases(); len(phases) > 0 {
		return refuse("it goes on in phase %s after it opens, and only an exchange that is over then has its steps", phases[0])
	}
	for side, name := range names {
		if !gives[side] {
			return refuse("%s gives nothing to %s", name, names[1-side])
		}
	}
	return nil
}

// maxStakes is how many chunks a vault takes in one agreement.
const maxStakes = 1024

// outlook says what follows from a draft in which own are the chunks that this side
// puts in: exactly, once all pots are full; before that as if what is missing came in
// the smallest chunks. There are no more steps than that, and heavier chunks may make
// what can be lost more.
func (s *sketch) outlook(own [][]vault.Stake) (look vault.Outlook, exact bool, err error) {
	a := s.body.Agreement
	a.Pots = slices.Clone(a.Pots)
	var missing []int
	room := maxStakes
	for i := range a.Pots {
		if len(a.Pots[i]) == 0 && i < len(own) {
			a.Pots[i] = own[i]
		}
		if room -= len(a.Pots[i]); len(a.Pots[i]) == 0 && s.deal.PotUnits(i) > 0 {
			missing = append(missing, i)
		}
	}
	for _, i := range missing {
		units, most := s.deal.PotUnits(i), int64(max(1, room/len(missing)))
		size := (units + most - 1) / most
		if size > math.MaxUint32 {
			return vault.Outlook{}, false, fmt.Errorf("pot %s is to hold %d units: no chunks do", s.deal.Program().Pots()[i].Name, units)
		}
		for left := units; left > 0; left -= size {
			var x vault.Stake // of no chunk that there is
			n := copy(x.Chunk[:], "missing")
			binary.BigEndian.PutUint32(x.Chunk[n:], uint32(i))
			binary.BigEndian.PutUint32(x.Chunk[n+4:], uint32(len(a.Pots[i])))
			x.Weight = uint32(min(size, left))
			a.Pots[i] = append(a.Pots[i], x)
		}
	}
	look, err = a.Outlook()
	return look, len(missing) == 0, err
}

// inTurn reports whether a draft is settled tit for tat.
func (s *sketch) inTurn() bool { return s.body.Agreement.Settle == vault.TitForTat }

// checkSettle checks how a draft is to be settled.
func (s *sketch) checkSettle() error {
	switch a := s.body.Agreement; {
	case a.Settle == vault.Atomic && a.Pace == nil:
		return nil
	case a.Settle != vault.TitForTat || a.Pace == nil:
		return errors.New("it is settled in no way that this client knows: want atomic, or tit-for-tat with a pace")
	default:
		if err := a.Pace.Check(); err != nil {
			return err
		}
	}
	return turns(s.deal)
}

// risky returns what this side can lose by a draft in which own are its chunks, or
// why its user does not allow that.
func (h *Host) risky(s *sketch, own [][]vault.Stake, said uint64) (int64, error) {
	look, _, err := s.outlook(own)
	if err != nil {
		return 0, err
	}
	loss := look.Loss[s.role]
	if s.inTurn() {
		if err := h.cfg.Limits.bounded(loss, said); err != nil {
			return 0, err
		}
	}
	return loss, nil
}

// paceText says at which pace steps go.
func paceText(p settle.Pace) string {
	return fmt.Sprintf("in rounds of %d to %d units, each step waiting %s for its receiver's word", p.First, p.Most, seconds(p.Wait))
}

// paceText adds to a draft's name that it is settled tit for tat, if so, and at which
// pace.
func (s *sketch) paceText() string {
	if !s.inTurn() {
		return ""
	}
	return ", settled tit for tat, " + paceText(*s.body.Agreement.Pace)
}

// turnsText is the same with what this side can lose.
func (s *sketch) turnsText(loss int64) string {
	if !s.inTurn() {
		return ""
	}
	return s.paceText() + ": " + loseText(loss)
}

// ends returns by when a draft would be settled: see outlook.
func (s *sketch) ends() (int64, error) {
	if !s.inTurn() {
		return s.deal.LastDeadline(s.body.Agreement.LockBy), nil
	}
	look, _, err := s.outlook(nil)
	return look.Ends, err
}

// permitted returns by when a new draft would be settled, or why it cannot be settled
// as it says, or not by this user.
func (h *Host) permitted(s *sketch) (int64, error) {
	if err := s.checkSettle(); err != nil {
		return 0, err
	}
	if err := h.cfg.Limits.allow(s.body.Agreement.Pace); err != nil {
		return 0, err
	}
	return s.ends()
}

// pick is pickUnits for a pot of a draft. What goes tit for tat is to be light: a step
// has at least one chunk.
func (s *sketch) pick(free []enclave.ChunkStatus, asset coin.AssetID, unit coin.Amount, units int64) ([]enclave.ChunkStatus, error) {
	if p := s.body.Agreement.Pace; p != nil {
		for _, most := range []uint32{p.First, p.Most} {
			light := slices.DeleteFunc(slices.Clone(free), func(c enclave.ChunkStatus) bool { return c.Chunk.Weight > most })
			if list, err := pickUnits(light, asset, unit, units); err == nil {
				return list, nil
			}
		}
	}
	return pickUnits(free, asset, unit, units)
}

// settlement shows how a draft is carried out and what each side can lose by it.
func (h *Host) settlement(ctx context.Context, s *sketch, own [][]vault.Stake) (*clientpb.Settlement, vault.Outlook, error) {
	look, exact, err := s.outlook(own)
	if err != nil {
		return nil, look, err
	}
	out := &clientpb.Settlement{Settle: settleName(s.body.Agreement.Settle), Steps: uint32(len(look.Turns)), Exact: exact}
	if p := s.body.Agreement.Pace; p != nil {
		out.Pace = &clientpb.Pace{First: p.First, Growth: p.Growth, Most: p.Most, Wait: p.Wait}
	}
	for role, name := range s.deal.Program().Parties() {
		x := &clientpb.Losing{Party: name, Units: look.Loss[role]}
		if w, ok := h.worthOfSide(ctx, s, role); ok {
			x.Asset, x.Decimals, x.Amount = string(w.asset), uint32(w.decimals), w.of(x.Units)
		}
		out.Losses = append(out.Losses, x)
	}
	return out, look, nil
}

func settleName(s vault.Settle) string {
	return map[vault.Settle]string{vault.Atomic: "atomic", vault.TitForTat: "tit-for-tat"}[s]
}

// worthOfSide returns what a unit that a party puts in is, if all of them are the same.
func (h *Host) worthOfSide(ctx context.Context, s *sketch, role int) (one worth, ok bool) {
	for i := range s.deal.Program().Pots() {
		if s.depositor(i) != role || s.deal.PotUnits(i) == 0 {
			continue
		}
		w := h.worthOfPot(ctx, s, i)
		if w.asset == "" || ok && w != one {
			return worth{}, false
		}
		one, ok = w, true
	}
	return one, ok
}

// loseText says what can be lost by a deal, before it is signed.
func loseText(loss int64) string {
	return fmt.Sprintf("at most %s can be lost at any moment", tally(loss, "unit"))
}
