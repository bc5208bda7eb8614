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
	o, err := d.offer()
	if err != nil {
		return nil, err
	}
	s, err := sketchOf(o, d.From, h.id, o.Agreement.Escrow, min(st.Now, o.Agreement.LockBy-1))
	if err != nil {
		return nil, fmt.Errorf("draft %.8s: %w", d.ID, err)
	}
	p := s.deal.Program()
	out := &clientpb.ReviewResponse{
		Draft: h.draftStatus(d, st), Source: string(o.Agreement.Source), LockBy: o.Agreement.LockBy, EndsBy: s.deal.LastDeadline(o.Agreement.LockBy),
		Indivisible: true,
	}
	for i, v := range s.parties {
		out.Parties = append(out.Parties, &clientpb.ReviewParty{Name: p.Parties()[i], Vault: v.String(), You: i == s.role, Proposer: i == s.from})
	}
	for i, t := range p.Terms() {
		out.Terms = append(out.Terms, &clientpb.ReviewTerm{Name: t.Name, Value: formatTerm(t, o.Agreement.Terms[i]), Number: o.Agreement.Terms[i]})
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
		units[i] = h.worthOfPot(s, i)
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
	way := func(events []contract.Event) string {
		var words []string
		for _, e := range events {
			words = append(words, p.Describe(e))
		}
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
			LeastWay: way(x.LeastPath), MostWay: way(x.MostPath),
		})
	}
	for _, x := range r.Rounding {
		out.Warnings = append(out.Warnings, fmt.Sprintf("line %d: a give may ask for %s and come out as %d, for chunks are not divisible: after %s", x.Line, tally(x.Asked, "unit"), x.Given, way(x.Path)))
	}
	return out, nil
}

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

func (h *Host) worthOfPot(s *sketch, i int) worth {
	if d := s.denomination(i); d.ID != "" {
		return worth{d.Asset.ID, d.Asset.Decimals, d.Unit}
	}
	ask := s.offer.Asks[i]
	w := worth{asset: ask.Asset, unit: ask.Unit}
	h.mu.Lock()
	w.decimals = h.assets[ask.Asset].Asset.Decimals
	h.mu.Unlock()
	return w
}

// formatTerm writes a term as people do.
func formatTerm(t contract.Term, v int64) string {
	switch t.Type {
	case contract.Time:
		return time.Unix(v, 0).UTC().Format(time.RFC3339)
	case contract.Duration:
		return (time.Duration(v) * time.Second).String()
	case contract.Units:
		return tally(v, "unit")
	}
	return strconv.FormatInt(v, 10)
}

// ParseTerms reads terms as people write them, NAME=VALUE, in any order: numbers
// plain, times as a date, as an RFC 3339 time or as +30m from now, durations as
// 30m or 10d.
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
	for i, t := range terms {
		value, ok := given[t.Name]
		if !ok {
			return nil, fmt.Errorf("term %s is missing: %s between %s and %s", t.Name, t.Type, formatTerm(t, t.Lo), formatTerm(t, t.Hi))
		}
		delete(given, t.Name)
		var err error
		if out[i], err = parseTerm(t, value, now); err != nil {
			return nil, fmt.Errorf("term %s: %w", t.Name, err)
		}
	}
	for _, name := range sortedKeys(given) {
		return nil, fmt.Errorf("term %.40q: the contract has none of that name", name)
	}
	return out, nil
}

func parseTerm(t contract.Term, s string, now int64) (int64, error) {
	switch t.Type {
	case contract.Time:
		if rest, ok := strings.CutPrefix(s, "+"); ok {
			d, err := parseDuration(rest)
			return now + d, err
		}
		return ParseTime(s)
	case contract.Duration:
		return parseDuration(s)
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a whole number", s)
	}
	return n, nil
}

// parseDuration reads seconds: 90s, 30m, 12h, 10d.
func parseDuration(s string) (int64, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 20); err == nil {
			return int64(n) * 24 * 3600, nil
		}
	} else if d, err := time.ParseDuration(s); err == nil && d >= 0 && d%time.Second == 0 {
		return int64(d / time.Second), nil
	}
	return 0, fmt.Errorf("%.40q is no duration; write 90s, 30m, 12h or 10d", s)
}

// draftStatus says what a draft waits for, until when, and what happens then.
func (h *Host) draftStatus(d Draft, st enclave.Status) *clientpb.Draft {
	out := &clientpb.Draft{
		Id: d.ID, Contract: d.Contract, State: d.State, From: d.From.String(),
		Wait: &clientpb.Wait{What: "draft " + d.ID, WaitsFor: "nothing", Then: d.Reason},
	}
	o, err := d.offer()
	if err != nil {
		return out
	}
	if p, err := contract.Compile(o.Agreement.Source); err == nil && d.Role < len(p.Parties()) {
		out.Role = p.Parties()[d.Role]
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
