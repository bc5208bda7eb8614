package client

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"latchkey/client/clientpb"
	"latchkey/contract"
	"latchkey/contract/oracle"
	"latchkey/gate"
	"latchkey/studio/figures"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// Brought is a report of an oracle's values that this client brought to an
// instance, or that its log shows whoever brought it, and what became of it.
type Brought struct {
	Report  vault.Report   `json:"report"` // of one that the log shows in an instance of others, the same
	Oracle  string         `json:"oracle"` // its name in the contract
	Shown   string         `json:"shown"`  // the median, as people write it
	At      int64          `json:"at_ms"`  // when this client brought it; 0: it did not
	Receipt *vault.Receipt `json:"receipt,omitempty"`
	Entry   vault.Index    `json:"entry"`   // of the log that has these values for it; 0: not seen
	Did     []string       `json:"did"`     // what the contract gave for it
	Refused string         `json:"refused"` // why the escrow did not take it
}

// same reports whether b is of the oracle, time and instance of a report.
func (b Brought) same(r vault.Report) bool {
	return b.Report.Instance == r.Instance && b.Report.Oracle == r.Oracle && observedAt(b.Report) == observedAt(r)
}

// text says what was brought.
func (b Brought) text() string {
	if b.Oracle == "" {
		return fmt.Sprintf("a value of %s", wire.UTC(observedAt(b.Report)))
	}
	return fmt.Sprintf("%s of oracle %s at %s", b.Shown, b.Oracle, wire.UTC(observedAt(b.Report)))
}

func observedAt(r vault.Report) int64 {
	if len(r.Signed) == 0 {
		return -1
	}
	return r.Signed[0].Value.Time
}

func broughtName(report wire.Hash) string { return fmt.Sprintf("report/%x", report[:]) }

// How long a request of the user waits: for a moment that is close, as seen by a
// vault that hears of the time every ten seconds when nothing else happens; and for
// the log to show what was brought.
const (
	nearMoment = 15 * time.Second
	logWithin  = 15 * time.Second
)

// A ReportAsk is what a user wants to be brought to an instance.
type ReportAsk struct {
	Instance wire.InstanceID
	Signed   []oracle.Signed
	Oracle   string // its name in the contract; empty: the one that the values are of
	At       int64  // the time of observation; 0: the newest that the contract takes
	PlanOnly bool
}

// Report brings values of an oracle to an instance, and waits until the log shows
// what its contract did with them. What the contract would not take is refused with
// the reason before anybody hears of it. What the log has is brought again only where
// the contract waits for it again.
func (h *Host) Report(ctx context.Context, q ReportAsk) (*clientpb.ReportResponse, error) {
	fail := func(err error) (*clientpb.ReportResponse, error) {
		return nil, fmt.Errorf("report to instance %s: %w", q.Instance.Short(), err)
	}
	for end := time.Now().Add(nearMoment); ; {
		s, err := h.stage(ctx, q.Instance)
		if err != nil {
			return fail(err)
		}
		list, notes, err := rounds(s.agreement, s.deal.Program(), q)
		if err != nil {
			return fail(err)
		}
		c, err := h.choose(s, list)
		var soon *soonError
		switch {
		case errors.As(err, &soon) && time.Now().Before(end):
			if err := rest(ctx); err != nil {
				return fail(err)
			}
			continue
		case err != nil:
			return fail(err)
		}
		out := c.response(s, notes)
		if c.again || q.PlanOnly {
			return out, nil
		}
		name, err := h.bring(ctx, s, c)
		if err != nil {
			return fail(err)
		}
		if err := h.logged(ctx, name, out); err != nil {
			return fail(err)
		}
		return out, nil
	}
}

// rest is a short wait, or an error when the request or the host ends.
func rest(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-gate.Stopping(ctx):
		return errors.New("the client's host stops: ask again when it is back")
	case <-time.After(50 * time.Millisecond):
		return nil
	}
}

// stage is where an instance stands, as this client's vault knows it.
type stage struct {
	id        wire.InstanceID
	agreement vault.Agreement
	deal      *contract.Deal
	state     contract.State
	closed    bool
	role      int // of this client's party
	now       int64
	newest    vault.Index // entry of the instance that this is of
}

// stage returns where an instance of this client stands.
func (h *Host) stage(ctx context.Context, id wire.InstanceID) (*stage, error) {
	st, err := h.vaultStatus(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(st.Instances, func(in vault.Instance) bool { return in.ID == id })
	if i < 0 {
		return nil, errors.New("this client's vault is no party of it, or has not seen it locked yet: latchkey status --json lists the instances")
	}
	s, err := h.stageOf(st.Instances[i])
	if err == nil {
		s.now = st.Now
	}
	return s, err
}

// stageOf returns where an instance stands, as the vault says; without the time.
func (h *Host) stageOf(in vault.Instance) (s *stage, err error) {
	s = &stage{id: in.ID, role: int(in.Role), closed: in.Closed, newest: in.Newest}
	found := false
	each(h.store, "deal/", func(_ string, d Deal) {
		if a, err := d.agreement(); d.Hash == in.Agreement && err == nil {
			s.agreement, found = a, true
		}
	})
	if !found {
		return nil, errors.New("this host has no record of its agreement")
	}
	if s.deal, err = bound(s.agreement); err != nil {
		return nil, err
	}
	switch {
	case in.Closed:
	case !in.Opened:
		return nil, fmt.Errorf("it is not open yet: all parties hand over their shares first, until %s", wire.UTC(in.Until))
	default:
		s.state, err = s.deal.DecodeState(stakeWeights(s.agreement), in.State)
	}
	return s, err
}

func bound(a vault.Agreement) (*contract.Deal, error) {
	p, err := contract.Compile(a.Source)
	if err != nil {
		return nil, err
	}
	return p.Bind(a.Terms)
}

// A round is what enough of an oracle's keys signed for one time: a report that
// could be brought.
type round struct {
	report vault.Report
	value  int64
	at     int64
}

// rounds finds in what is given the rounds of an agreement's oracles, the newest
// first, and says what of the rest is of no use, and why. Without any round it is
// an error.
func rounds(a vault.Agreement, p *contract.Program, q ReportAsk) (list []round, notes []string, err error) {
	if err := a.CheckNamed(p); err != nil {
		return nil, nil, err
	}
	feeds := p.Oracles()
	if len(feeds) == 0 {
		return nil, nil, fmt.Errorf("contract %s reads no oracle", p.Name())
	}
	var want []string
	for i, f := range feeds {
		want = append(want, fmt.Sprintf("%s, of feed %s", f.Name, a.Oracles[i].Feed))
		if q.Oracle != "" && q.Oracle != f.Name {
			continue
		}
		found, why := roundsOf(a.Oracles[i], q)
		for _, r := range found {
			r.report.Instance, r.report.Oracle = q.Instance, uint32(i)
			list = append(list, r)
		}
		notes = append(notes, why...)
	}
	reads := fmt.Sprintf("contract %s reads %s", p.Name(), strings.Join(want, "; "))
	if len(list) == 0 {
		if len(notes) == 0 {
			var given []string
			for _, s := range q.Signed {
				given = append(given, fmt.Sprintf("%s at %s", s.Value.Feed, wire.UTC(s.Value.Time)))
			}
			slices.Sort(given)
			notes = append(notes, fmt.Sprintf("what is given is %s", firstOf(slices.Compact(given), 8)))
		}
		return nil, nil, fmt.Errorf("nothing given counts: %s; %s", firstOf(notes, 8), reads)
	}
	for _, r := range list {
		if r.report.Oracle != list[0].report.Oracle {
			return nil, nil, fmt.Errorf("the values serve more than one oracle: say which; %s", reads)
		}
	}
	slices.SortStableFunc(list, func(a, b round) int { return int(b.at - a.at) })
	return list, notes, nil
}

// firstOf joins the first n parts of a list.
func firstOf(list []string, n int) string {
	if len(list) > n {
		return strings.Join(list[:n], "; ") + fmt.Sprintf("; and %d more", len(list)-n)
	}
	return strings.Join(list, "; ")
}

// roundsOf finds the rounds of one oracle. A key that signed two values for one
// time counts for neither of them.
func roundsOf(o oracle.Quorum, q ReportAsk) (list []round, notes []string) {
	by := map[int64][]oracle.Signed{}
	for _, s := range q.Signed {
		if s.Value.Feed != o.Feed || q.At != 0 && s.Value.Time != q.At {
			continue
		}
		if !slices.ContainsFunc(o.Keys, func(k []byte) bool { return bytes.Equal(k, s.Key) }) {
			notes = append(notes, fmt.Sprintf("key %.8x… is none of the agreement's for feed %s: its value %d is left out", s.Key, o.Feed, s.Value.Value))
			continue
		}
		by[s.Value.Time] = append(by[s.Value.Time], s)
	}
	for _, at := range slices.Sorted(maps.Keys(by)) {
		var signed []oracle.Signed
		var missing []string
		for _, k := range o.Keys {
			var own []oracle.Signed
			for _, s := range by[at] {
				if bytes.Equal(s.Key, k) && !slices.ContainsFunc(own, func(x oracle.Signed) bool { return x.Value == s.Value }) {
					own = append(own, s)
				}
			}
			switch {
			case len(own) == 1:
				signed = append(signed, own[0])
				continue
			case len(own) > 1:
				notes = append(notes, fmt.Sprintf("FRAUD: key %x signed %d and %d for %s at %s, and is left out: latchkey oracle verify shows the proof",
					k, own[0].Value.Value, own[1].Value.Value, o.Feed, wire.UTC(at)))
			}
			missing = append(missing, fmt.Sprintf("%x", k))
		}
		value, when, err := o.Median(signed)
		switch {
		case len(signed) < int(o.Need):
			notes = append(notes, fmt.Sprintf("%s at %s is signed by %d keys, and %d of %d have to: get it signed by more of %s",
				o.Feed, wire.UTC(at), len(signed), o.Need, len(o.Keys), strings.Join(missing, ", ")))
		case err != nil:
			notes = append(notes, err.Error())
		default:
			list = append(list, round{vault.Report{Signed: signed}, value, when})
		}
	}
	return list, notes
}

// A chosen round is the one that is brought, with what the contract does with it now.
type chosen struct {
	round
	again bool    // the contract does not take it, and the log has it
	known Brought // as the log has it; Entry 0: it has not
	step  contract.Outcome
}

// choose picks the newest round that the contract takes now; else the newest that
// is in the log. If there is neither, the error says why the newest is not taken.
func (h *Host) choose(s *stage, list []round) (chosen, error) {
	var old *chosen
	var why error
	for _, r := range list {
		r.report.After = s.newest // what comes since, this is not meant for
		c := chosen{round: r}
		each(h.store, "report/", func(_ string, b Brought) {
			v, _, err := s.agreement.Oracles[r.report.Oracle].Median(b.Report.Signed)
			if b.same(r.report) && b.Entry > c.known.Entry && err == nil && v == r.value {
				c.known = b
			}
		})
		var err error
		if c.step, err = s.take(r); err == nil {
			return c, nil
		}
		if c.again = c.known.Entry != 0; c.again && old == nil {
			old = &c
		}
		if why == nil {
			why = err
		}
	}
	if old != nil {
		return *old, nil
	}
	return chosen{}, why
}

// soonError is a refusal that time turns into a yes.
type soonError struct{ error }

// take returns what the contract does with a round now, or why it does not take
// it and what would help.
func (s *stage) take(r round) (contract.Outcome, error) {
	if s.closed {
		return contract.Outcome{}, errors.New("it is closed: its contract takes nothing more")
	}
	p := s.deal.Program()
	f, phase := p.Oracles()[r.report.Oracle], p.Phases()[s.state.Phase()]
	until, _ := s.deal.Deadline(s.state)
	show := showValue(f, r.value)
	now := max(s.now, s.state.Now())
	switch {
	case r.value < f.Lo || r.value > f.Hi:
		return contract.Outcome{}, fmt.Errorf("the median %s of oracle %s is outside what the contract takes: %s to %s", show, f.Name, showValue(f, f.Lo), showValue(f, f.Hi))
	case r.at > now:
		err := fmt.Errorf("the value of oracle %s is observed at %s, and by the witnesses it is %s: too early; bring it when that time has come", f.Name, wire.UTC(r.at), wire.UTC(now))
		if r.at-now <= int64(nearMoment/time.Second) {
			return contract.Outcome{}, &soonError{err}
		}
		return contract.Outcome{}, err
	case now >= until:
		return contract.Outcome{}, &soonError{fmt.Errorf("phase %s ended at %s, and the log does not show yet what its deadline brought: try again in a moment", phase, wire.UTC(until))}
	}
	_, step, err := s.deal.Step(s.state, contract.Event{Kind: contract.Oracle, Oracle: int(r.report.Oracle), Value: r.value, Observed: r.at, At: now})
	if err == nil {
		return step, nil
	}
	var waits []string
	for _, w := range s.deal.Wants(s.state) {
		switch {
		case w.Oracle != int(r.report.Oracle):
		case w.For != 0:
			waits = append(waits, fmt.Sprintf("the value for exactly %s (line %d)", wire.UTC(w.For), w.Line))
		default:
			waits = append(waits, fmt.Sprintf("a value newer than the last and at most %s old (line %d)", time.Duration(w.Each)*time.Second, w.Line))
		}
	}
	if len(waits) == 0 {
		return contract.Outcome{}, fmt.Errorf("phase %s waits for no value of oracle %s; it ends at %s", phase, f.Name, wire.UTC(until))
	}
	return contract.Outcome{}, fmt.Errorf("the contract does not take %s of oracle %s, observed at %s, %s ago: phase %s waits for %s; bring one of those", // what Step says, in the user's words
		show, f.Name, wire.UTC(r.at), time.Duration(now-r.at)*time.Second, phase, strings.Join(waits, ", or "))
}

// showValue writes a value of an oracle as people do.
func showValue(f contract.Feed, v int64) string {
	return figures.Show(f.Type, v)
}

// response says what a choice is, before or without bringing it.
func (c *chosen) response(s *stage, notes []string) *clientpb.ReportResponse {
	f, o := s.deal.Program().Oracles()[c.report.Oracle], s.agreement.Oracles[c.report.Oracle]
	out := &clientpb.ReportResponse{
		Instance: s.id.String(), Contract: s.deal.Program().Name(), Oracle: f.Name, Feed: o.Feed, Time: c.at, Value: c.value, Shown: showValue(f, c.value),
		Need: o.Need, Of: uint32(len(o.Keys)), State: "planned", Notes: notes,
	}
	for _, x := range c.report.Signed {
		out.Values = append(out.Values, &clientpb.ReportedValue{Key: hex.EncodeToString(x.Key), Value: x.Value.Value, Shown: showValue(f, x.Value.Value)})
	}
	if c.again {
		out.State, out.Again, out.Entry, out.Did = "logged", true, uint64(c.known.Entry), c.known.Did
		return out
	}
	if c.known.Entry != 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("entry %d of the log has these values; phase %s waits for them again", c.known.Entry-1, s.deal.Program().Phases()[s.state.Phase()]))
	}
	out.Did = effects(s.agreement, s.deal.Program(), c.step.Gives, c.step.Closed, everybody)
	switch phases := s.deal.Program().Phases(); {
	case c.step.Closed:
	case c.step.Phase != s.state.Phase():
		out.Did = append(out.Did, "phase "+phases[c.step.Phase]+" begins")
	case c.step.Line == 0:
		out.Did = append(out.Did, "no clause of phase "+phases[c.step.Phase]+" acts on this value; it is noted, and no older one comes after it")
	case len(out.Did) == 0:
		out.Did = append(out.Did, fmt.Sprintf("the clause in line %d is carried out; nothing is given", c.step.Line))
	}
	return out
}

// everybody is no party's number: see effects.
const everybody = -1

// effects says what a step gives to whom, by pot and party: all of it, or what one
// party gives or gets.
func effects(a vault.Agreement, p *contract.Program, gives []contract.Give, closed bool, of int) (out []string) {
	for i, pot := range p.Pots() {
		for j, party := range p.Parties() {
			sum := int64(0)
			for _, g := range gives {
				if g.Pot == i && g.To == j {
					sum += int64(a.Pots[i][g.Chunk].Weight)
				}
			}
			if sum == 0 || of != everybody && of != j && of != pot.From {
				continue
			}
			verb := map[bool]string{true: "goes", false: "go"}[sum == 1]
			if j == pot.From {
				verb += " back"
			}
			out = append(out, fmt.Sprintf("%s of pot %s %s to %s", tally(sum, "unit"), pot.Name, verb, party))
		}
	}
	if closed {
		out = append(out, "the contract is over")
	}
	return out
}

// givesOf returns the gives of a step from what the log says of it.
func givesOf(a vault.Agreement, exits []vault.Exit) (out []contract.Give) {
	for i, pot := range a.Pots {
		for j, x := range pot {
			for _, e := range exits {
				to := slices.IndexFunc(a.Parties, func(r vault.Recipients) bool { return slices.Equal(r, e.To) })
				if e.Chunk == x.Chunk && to >= 0 {
					out = append(out, contract.Give{Pot: i, Chunk: j, To: to})
				}
			}
		}
	}
	return out
}

// observed notes a report that the log shows, whoever brought it, and that what this
// client brought of the same oracle and time is there.
func (h *Host) observed(ctx context.Context, r vault.Run, at vault.Index) {
	name, err := r.Report.Hash()
	if err != nil {
		return
	}
	h.wording.Lock()
	defer h.wording.Unlock()
	var b Brought
	if h.store.get(broughtName(name), &b) && b.Entry != 0 {
		return
	}
	b.Report, b.Entry, b.Refused = *r.Report, at, ""
	event := Event{Kind: "observed", Text: fmt.Sprintf("instance %s was brought a value of an oracle", r.Instance.Short())}
	each(h.store, "deal/", func(_ string, d Deal) {
		a, err := d.agreement()
		if d.Instance != r.Instance || err != nil {
			return
		}
		deal, err := bound(a)
		if err != nil || int(r.Report.Oracle) >= len(a.Oracles) {
			return
		}
		value, when, err := a.Oracles[r.Report.Oracle].Median(r.Report.Signed)
		if err != nil {
			return
		}
		f := deal.Program().Oracles()[r.Report.Oracle]
		b.Oracle, b.Shown = f.Name, showValue(f, value)
		b.Did = effects(a, deal.Program(), givesOf(a, r.Exits), r.Closed, everybody)
		event.Deal, event.With = d.id(), short(d.With)
		event.Text = fmt.Sprintf("oracle %s of %s is %s, observed at %s, in entry %d of the log", f.Name, d.Contract, b.Shown, wire.UTC(when), at-1)
		if len(b.Did) > 0 {
			event.Text += ": " + strings.Join(b.Did, ", ")
		}
	})
	each(h.store, "report/", func(name string, other Brought) {
		if other.Entry == 0 && other.same(*r.Report) {
			other.Entry, other.Did, other.Refused = at, b.Did, ""
			_ = h.store.put(ctx, name, other) // the store keeps its failure
		}
	})
	_ = h.store.put(ctx, broughtName(name), b) // the store keeps its failure
	h.store.journal(ctx, event)
	forget(ctx, h, "report/", func(b Brought) vault.Index { return b.Entry })
}

// maxLogged is how many reports, and words about steps, that are in the log are
// remembered: a contract may take a report a minute for years.
const maxLogged = 500

// forget drops the record that has been in the log longest, if there are too many.
// entry says where the log has one; 0: it is kept.
func forget[T any](ctx context.Context, h *Host, prefix string, entry func(T) vault.Index) {
	n, oldest, first := 0, "", vault.Index(0)
	each(h.store, prefix, func(name string, v T) {
		if at := entry(v); at != 0 {
			n++
			if oldest == "" || at < first {
				oldest, first = name, at
			}
		}
	})
	if n > maxLogged {
		_ = h.store.remove(ctx, oldest) // the store keeps its failure
	}
}

// bring gives a report to the vault, which keeps it and repeats it until the
// escrow has answered, and returns the name of the record.
func (h *Host) bring(ctx context.Context, s *stage, c chosen) (string, error) {
	f := s.deal.Program().Oracles()[c.report.Oracle]
	name, err := h.keepBrought(ctx, c, Brought{Oracle: f.Name, Shown: showValue(f, c.value)})
	if err != nil {
		return "", err
	}
	h.store.journal(ctx, Event{Kind: "brought", Text: fmt.Sprintf("brought a value of oracle %s, %s observed at %s, to instance %s", f.Name, showValue(f, c.value), wire.UTC(c.at), c.report.Instance.Short())})
	wake(h.talk)
	return name, nil
}

func (h *Host) keepBrought(ctx context.Context, c chosen, b Brought) (string, error) {
	h.wording.Lock() // so that no refusal comes between the vault and the record
	defer h.wording.Unlock()
	r, err := h.call(ctx, enclave.Call{Report: &c.report})
	if err != nil {
		return "", err
	}
	hash, err := r.Report.Hash()
	if err != nil {
		return "", err
	}
	h.store.get(broughtName(hash), &b)
	b.Report, b.At, b.Refused = *r.Report, time.Now().UnixMilli(), ""
	return broughtName(hash), h.store.put(ctx, broughtName(hash), b)
}

// brought returns the reports that this client brought, the first brought first.
func (h *Host) brought() (out []Brought) {
	each(h.store, "report/", func(_ string, b Brought) {
		if b.At != 0 {
			out = append(out, b)
		}
	})
	slices.SortStableFunc(out, func(a, b Brought) int { return int(a.At - b.At) })
	return out
}

// logged waits until the log shows a report, and says in out what became of it.
func (h *Host) logged(ctx context.Context, name string, out *clientpb.ReportResponse) error {
	out.State = "waiting"
	var refused time.Time // when that was seen: the log may show that another has brought the same
	for end := time.Now().Add(logWithin); time.Now().Before(end); {
		var b Brought
		h.store.get(name, &b)
		switch {
		case b.Entry != 0:
			out.State, out.Entry = "logged", uint64(b.Entry)
			if len(b.Did) > 0 { // else what was foreseen holds: nothing is given
				out.Did = b.Did
			}
			return nil
		case b.Refused != "" && refused.IsZero():
			refused = time.Now()
		case b.Refused != "" && time.Since(refused) > time.Second:
			return fmt.Errorf("the escrow did not take it: %s", b.Refused)
		}
		if err := rest(ctx); err != nil {
			return err
		}
	}
	return nil
}

// reportRefused notes why the escrow did not take a report: the one that waited
// for it and does so no more. It returns whether there was one.
func (h *Host) reportRefused(ctx context.Context, why error) bool {
	h.wording.Lock()
	defer h.wording.Unlock()
	st, err := h.vaultStatus(ctx)
	if err != nil {
		return false
	}
	waits := map[string]bool{}
	for _, in := range st.Instances {
		for _, r := range in.Brought {
			if name, err := r.Report.Hash(); err == nil {
				waits[broughtName(name)] = true
			}
		}
	}
	found := false
	each(h.store, "report/", func(name string, b Brought) {
		if b.Entry != 0 || b.Refused != "" || b.Receipt != nil || waits[name] {
			return
		}
		b.Refused, found = why.Error(), true
		_ = h.store.put(ctx, name, b) // the store keeps its failure
	})
	return found
}
