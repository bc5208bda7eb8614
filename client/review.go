package client

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/client/clientpb"
	"latchkey/coin"
	"latchkey/contract"
	"latchkey/studio/figures"
	"latchkey/studio/play"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// Review shows a draft as its user has to see it before saying yes.
func (h *Host) Review(ctx context.Context, id string) (*clientpb.ReviewResponse, error) {
	d, err := h.findDraft(id)
	if err != nil {
		return nil, err
	}
	st, err := h.vaultStatus(ctx)
	if err != nil {
		return nil, err
	}
	o, err := d.body()
	if err != nil {
		return nil, err
	}
	s, err := sketchOf(o, d.From, h.id, o.Agreement.Escrow, min(st.Now, o.Agreement.LockBy-1))
	if err != nil {
		return nil, fmt.Errorf("draft %.8s: %w", d.ID, err)
	}
	p := s.deal.Program()
	out := &clientpb.ReviewResponse{
		Draft: h.draftStatus(d, st), Source: string(o.Agreement.Source), LockBy: o.Agreement.LockBy,
		Indivisible: true,
	}
	x, look, err := h.settlement(ctx, s, d.Mine)
	if err != nil {
		return nil, fmt.Errorf("draft %.8s: %w", d.ID, err)
	}
	out.Settlement, out.EndsBy = x, look.Ends
	if p := o.Agreement.Pace; p != nil && p.Wait < shortWait {
		out.Warnings = append(out.Warnings, fmt.Sprintf("a step waits only %s: if this client does not look at it and speak within that, the next one goes out all the same, and more can be lost than is said here", seconds(p.Wait)))
	}
	for i, v := range s.parties {
		out.Parties = append(out.Parties, &clientpb.ReviewParty{Name: p.Parties()[i], Vault: v.String(), You: i == s.role, Proposer: i == s.from})
	}
	for i, t := range p.Terms() {
		out.Terms = append(out.Terms, &clientpb.ReviewTerm{Name: t.Name, Value: figures.Show(t.Type, o.Agreement.Terms[i]), Number: o.Agreement.Terms[i]})
	}
	for i, q := range o.Agreement.Oracles {
		f := p.Oracles()[i]
		x := &clientpb.ReviewOracle{Name: f.Name, Feed: q.Feed, Need: q.Need, Liars: (q.Need - 1) / 2, Least: showValue(f, f.Lo), Most: showValue(f, f.Hi)}
		for _, k := range q.Keys {
			x.Keys = append(x.Keys, hex.EncodeToString(k))
		}
		out.Oracles = append(out.Oracles, x)
	}
	for i, a := range o.Agreement.Assets {
		out.Assets = append(out.Assets, &clientpb.ReviewAsset{Name: p.Assets()[i].Name, Asset: string(a)})
	}
	if b := o.Agreement.Bounds; b != nil {
		out.States, out.Moves = b.States, b.Moves
	}
	weights := s.weights()
	units := make([]worth, len(p.Pots()))
	for i, pot := range p.Pots() {
		units[i] = h.worthOfPot(ctx, s, i)
		var to []string
		for _, c := range s.deal.Candidates(i) {
			to = append(to, p.Parties()[c])
		}
		n := s.deal.PotUnits(i)
		out.Pots = append(out.Pots, &clientpb.ReviewPot{
			Name: pot.Name, From: p.Parties()[pot.From], Units: n, Asset: string(units[i].asset), Decimals: uint32(units[i].decimals),
			Amount: units[i].of(n), Chunks: uint32(len(o.Agreement.Pots[i])), To: strings.Join(to, ", "),
		})
		if pot.Later && n > 0 {
			out.Pots[i].Later = laterNote(p, i)
			if len(out.Pots[i].To) > 0 {
				out.Warnings = append(out.Warnings, fmt.Sprintf("pot %s is filled later, and counts only when %s %s acknowledged its chunks: by silence they can keep %s from filling it",
					pot.Name, strings.Join(strings.Split(out.Pots[i].To, ", "), " and "), map[bool]string{true: "has", false: "have"}[!strings.Contains(out.Pots[i].To, ",")], p.Parties()[pot.From]))
			}
		}
		for _, x := range o.Agreement.Pots[i] {
			out.Pots[i].Weights = append(out.Pots[i].Weights, x.Weight)
		}
		if len(weights[i]) == 0 && n > 0 { // not filled yet: as if it were divisible
			out.Indivisible = false
			weights[i] = slices.Repeat([]int64{1}, int(min(n, contract.MaxChunks)))
		}
	}
	for _, w := range p.Warnings() {
		out.Warnings = append(out.Warnings, w.String())
	}
	r, err := s.deal.Admit(weights, s.limits())
	if err != nil {
		out.Warnings = append(out.Warnings, "its outcomes cannot be shown, and no vault will sign it as it stands: "+err.Error())
		return out, nil
	}
	way := func(opens int64, events []contract.Event) string {
		words := play.Steps(p, opens, events)
		if len(words) == 0 {
			return "at once"
		}
		return strings.Join(words, ", then ")
	}
	for _, x := range r.Payouts {
		out.Payouts = append(out.Payouts, &clientpb.ReviewPayout{
			Party: p.Parties()[x.Party], Pot: p.Pots()[x.Pot].Name, Least: x.Least, Most: x.Most,
			LeastAmount: units[x.Pot].of(x.Least), MostAmount: units[x.Pot].of(x.Most),
			Asset: string(units[x.Pot].asset), Decimals: uint32(units[x.Pot].decimals),
			LeastWay: way(x.LeastOpens, x.LeastPath), MostWay: way(x.MostOpens, x.MostPath),
		})
	}
	for _, x := range r.Rounding {
		out.Warnings = append(out.Warnings, fmt.Sprintf("line %d: a give may ask for %s and come out as %d, for chunks are not divisible: after %s", x.Line, tally(x.Asked, "unit"), x.Given, way(x.Opens, x.Path)))
	}
	return out, nil
}

// shortWait is how many seconds a step should wait, for a client that is started again.
const shortWait = 60

// worth is what a unit of a pot is.
type worth struct {
	asset    coin.AssetID
	decimals uint8
	unit     coin.Amount
}

func (w worth) of(units int64) string {
	a, err := w.unit.Times(uint64(max(units, 0)))
	if err != nil {
		return ""
	}
	return a.String()
}

func (h *Host) worthOfPot(ctx context.Context, s *sketch, i int) worth {
	if d := s.denomination(i); d.ID != "" {
		return worth{d.Asset.ID, d.Asset.Decimals, d.Unit}
	}
	ask := s.body.Asks[i]
	w := worth{asset: ask.Asset, unit: ask.Unit}
	h.mu.Lock()
	info, ok := h.assets[ask.Asset]
	h.mu.Unlock()
	if w.decimals = info.Asset.Decimals; !ok {
		if a, err := h.asset(ctx, ask.Asset); err == nil { // else it is shown in smallest units
			w.decimals = a.Decimals
		}
	}
	return w
}

// ParseTerms reads terms as people write them, NAME=VALUE, in any order, each as the
// language writes its type: 12.50, 30 days, 2027-01-31; times also as +30m from now,
// durations as 30m or 10d. What each holder of a role has may be said for each of them,
// as "limit 2", or once for all.
func ParseTerms(terms []contract.Term, text []string, now int64) ([]int64, error) {
	given := map[string]string{}
	for _, x := range text {
		name, value, ok := strings.Cut(x, "=")
		if _, twice := given[name]; !ok || twice {
			return nil, fmt.Errorf("term %.60q: write NAME=VALUE, each name once", x)
		}
		given[name] = value
	}
	out := make([]int64, len(terms))
	used := map[string]bool{}
	for i, t := range terms {
		name := t.Name
		value, ok := given[name]
		if !ok {
			name = ofAll(name)
			value, ok = given[name]
		}
		if used[name] = true; !ok {
			return nil, fmt.Errorf("term %s is missing: %s, %s", t.Name, t.Type, figures.Range(t))
		}
		var err error
		if out[i], err = parseTerm(t, value, now); err != nil {
			return nil, fmt.Errorf("term %s: %w", t.Name, err)
		}
	}
	for _, name := range sortedKeys(given) {
		if !used[name] {
			return nil, fmt.Errorf("term %.40q: the contract has none of that name", name)
		}
	}
	return out, nil
}

// ofAll returns the name without the number of a role's holder.
func ofAll(name string) string {
	base, _, _ := strings.Cut(name, " ")
	return base
}

func parseTerm(t contract.Term, s string, now int64) (v int64, err error) {
	rest, later := strings.CutPrefix(s, "+")
	switch {
	case t.Type == contract.Time && later:
		v, err = parseDuration(rest)
		v += now
	case t.Type == contract.Duration:
		v, err = parseDuration(s)
	default:
		v, err = figures.Parse(t.Type, s)
	}
	switch {
	case err != nil && t.Type == contract.Money:
		return 0, fmt.Errorf("%w: with two decimals or none, for money counts in hundredths", err)
	case err == nil && (v < t.Lo || v > t.Hi):
		return 0, fmt.Errorf("%s is outside its range, %s", figures.Show(t.Type, v), figures.Range(t))
	}
	return v, err
}

// holders returns the contract as it is for the holders that the terms and the number of
// parties make, and the terms with their numbers: the term of a role may be left out
// where there is only one role.
func holders(p *contract.Program, terms []string, parties int) (*contract.Program, []string, error) {
	roles := p.Roles()
	if len(roles) == 0 {
		return p, terms, nil
	}
	counts := make([]int64, len(roles))
	said := 0
	for i, r := range roles {
		for _, x := range terms {
			name, value, _ := strings.Cut(x, "=")
			if name != r.Name {
				continue
			}
			var err error
			if counts[i], err = parseTerm(contract.Term{Name: r.Name, Type: contract.Number, Lo: int64(r.Lo), Hi: int64(r.Hi)}, value, 0); err != nil {
				return nil, nil, fmt.Errorf("role %s: %w", r.Name, err)
			}
			said++
		}
	}
	switch {
	case said == len(roles):
	case len(roles) == 1:
		counts[0] = int64(parties - (len(p.Parties()) - roles[0].Hi))
		terms = append(slices.Clone(terms), fmt.Sprintf("%s=%d", roles[0].Name, counts[0]))
	default:
		return nil, nil, fmt.Errorf("contract %s has %d roles: say for each how many hold it, as %s=%d", p.Name(), len(roles), roles[0].Name, roles[0].Lo)
	}
	q, err := p.For(counts)
	return q, terms, err
}

// parseDuration reads seconds: 90s, 30m, 12h, 10d, or as the language writes them.
func parseDuration(s string) (int64, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 20); err == nil {
			return int64(n) * 24 * 3600, nil
		}
	} else if d, err := time.ParseDuration(s); err == nil && d >= 0 && d%time.Second == 0 {
		return int64(d / time.Second), nil
	} else if d, err := figures.ParseDuration(s); err == nil && d >= 0 {
		return d, nil
	}
	return 0, fmt.Errorf("%.40q is no duration; write 90s, 30m, 12h, 10d or 1 day 12 hours", s)
}

// draftStatus says what a draft waits for, until when, and what happens then.
func (h *Host) draftStatus(d Draft, st enclave.Status) *clientpb.Draft {
	out := &clientpb.Draft{
		Id: d.ID, Contract: d.Contract, State: d.State, From: d.From.String(),
		Wait: &clientpb.Wait{What: "draft " + d.ID, WaitsFor: "nothing", Then: d.Reason},
	}
	o, err := d.body()
	if err != nil {
		return out
	}
	out.Settle, out.AtRisk = settleName(o.Agreement.Settle), d.Risk
	if deal, err := bound(o.Agreement); err == nil && d.Role < len(deal.Program().Parties()) {
		out.Role = deal.Program().Parties()[d.Role]
	}
	w := out.Wait
	switch {
	case d.Again && !d.over():
		w.WaitsFor, w.Until, w.Then = "your second look, for chunks were put in since: latchkey review "+d.ID[:8], o.Agreement.LockBy, "it ends, and nothing has happened"
	case d.State == draftProposed && d.mine(h.id):
		var who []wire.VaultID
		for i, r := range o.Agreement.Parties {
			if i != d.Role && d.Accepted[strconv.Itoa(i)] == nil {
				who = append(who, r[0])
			}
		}
		w.WaitsFor, w.Until, w.Then = "the answer of "+named(who), o.Agreement.LockBy, "it ends, and nothing has happened"
	case d.State == draftProposed:
		w.WaitsFor, w.Until, w.Then = "your answer: latchkey review "+d.ID[:8], o.Agreement.LockBy, "it ends, and nothing has happened"
	case d.State == draftAgreed:
		w.WaitsFor, w.Until, w.Then = "the other parties", o.Agreement.LockBy, "it ends, and nothing has happened"
	case d.State == draftAccepted:
		w.WaitsFor, w.Then = "nothing", "see its deal"
	}
	return out
}

// parseParties reads vault ids; "me" is this client.
func (h *Host) parseParties(text []string) ([]wire.VaultID, error) {
	out := make([]wire.VaultID, len(text))
	for i, x := range text {
		if x == "me" {
			out[i] = h.id
		} else if err := out[i].UnmarshalText([]byte(x)); err != nil {
			return nil, fmt.Errorf("party %.70q: want a vault id of 64 hexadecimal digits, or me: %w", x, err)
		}
	}
	return out, nil
}
