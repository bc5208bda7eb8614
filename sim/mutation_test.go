package sim

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var mutations = flag.Bool("mutations", false, "build the program without each check, and see the cheat succeed that it stops")

// An edit takes a check out of a file of the module: old, which occurs there
// once, becomes new.
type edit struct{ file, old, new string }

// A mutation is the program without one check, or without two that stand one
// behind the other, and the cheat that then works. want is in what is said of it.
type mutation struct {
	name, cheat, want string
	edits             []edit
}

// off makes a case or a condition false; the other edits are written out.
func off(file, old string) edit {
	switch {
	case strings.HasPrefix(old, "case "):
		return edit{file, old, "case false && (" + strings.TrimSuffix(strings.TrimPrefix(old, "case "), ":") + "):"}
	case strings.Contains(old, "; "):
		at := strings.LastIndex(old, "; ") + 2
		return edit{file, old, old[:at] + "false && (" + strings.TrimSuffix(old[at:], " {") + ") {"}
	}
	return edit{file, old, "if false && (" + strings.TrimSuffix(strings.TrimPrefix(old, "if "), " {") + ") {"}
}

const (
	fClaim    = "vault/escrow_claim.go"
	fInstance = "vault/escrow_instance.go"
	fWord     = "vault/escrow_word.go"
	fAgree    = "vault/agreement.go"
	fAccept   = "vault/owner_accept.go"
	fOwner    = "vault/owner_claim.go"
	fTalk     = "vault/owner_talk.go"
	fReplay   = "vault/owner_replay.go"
	fSettle   = "vault/settle.go"
	fReport   = "vault/oracle.go"
	fMedian   = "contract/oracle/oracle.go"
	fApply    = "vault/escrow_apply.go"
	fWitness  = "head/witness.go"
	fGroup    = "head/group.go"
	fBatch    = "key/batch.go"
	fDeposit  = "vault/deposit.go"
	fPaid     = "vault/owner_deposit.go"
	fMachine  = "contract/machine.go"
	fDeal     = "contract/deal.go"
	fSnapshot = "vault/escrow_snapshot.go"
)

var allMutations = []mutation{
	// The escrow and the orders of owners.
	{"escrow: claim of a locked chunk", "claim of a locked chunk", "or locked", []edit{off(fClaim, "case c.instance != nil:")}},
	{"escrow: who owns what is claimed", "claim of another's chunk", "by another than its owner", []edit{off(fClaim, "case *c.owner != from:")}},
	{"escrow: epoch of a claim", "claim of an old epoch", "at another epoch", []edit{off(fClaim, "case c.epoch != o.Epoch:")}},
	{
		"escrow: signature under an order", "claim that its owner did not sign", "did not sign",
		[]edit{off(fClaim, "if err := e.vaults[from].Identity.Verify(purpose, b, sig); err != nil {")},
	},
	{"escrow: a chunk twice in an order", "claim of one chunk twice", "claimed by another", []edit{off(fClaim, "case seen[o.Chunk]:")}},
	{"escrow: whose order it is", "claim for another escrow", "another escrow", []edit{off(fClaim, "if escrow != e.self {")}},
	{"escrow: sweep before claim", "sweep before the claim", "unclaimed", []edit{off(fClaim, "if c.state == chunkLive {")}},
	{"escrow: hold of a claim", "claim on a clone", "released its share", []edit{{
		fClaim, "return e.settle(plan{entries: []Entry{{Claim: n}}}, reply)", "a, err := e.settle(plan{entries: []Entry{{Claim: n}}}, reply)\n\ta.Hold = 0\n\treturn a, err",
	}}},
	{
		"escrow: hold of a claim said again", "claim on a clone, repeated", "released its share",
		[]edit{{fClaim, "return e.say(reply, int64(hold))", "return e.say(reply, 0)"}},
	},
	{"escrow: hold of a step without mail", "a word from a stale copy", "the cheat works", []edit{
		off(fClaim, "if q.Step > Index(e.front.Size()) {"), {fClaim, "return e.say(r, int64(q.Step))", "return e.say(r, 0)"},
	}},

	// The escrow and its locks.
	{"escrow: who owns what is staked", "a stake of another's chunk", "another than its owner", []edit{off(fInstance, "case *c.owner != d.parties[d.depositor(pot)]:")}},
	{"escrow: epoch of a stake", "a stake of an old epoch", "by an agreement of epoch 0", []edit{off(fInstance, "case c.epoch != s.Epoch:")}},
	{"escrow: one lock", "a second lock", "has a second lock", []edit{off(fInstance, "case c.instance != nil:")}},
	{"escrow: stake of a claimed chunk", "a stake of a claimed chunk", "after its claim", []edit{off(fInstance, "case c.state != chunkLive:")}},
	{"escrow: weight of a stake", "a stake that weighs less", "the agreement says 100", []edit{off(fInstance, "case c.cert.Weight != s.Weight:")}},
	{"escrow: expiry of a stake", "a stake that expires", "beyond its expiry", []edit{
		off(fInstance, "case d.ends() >= c.cert.Expiry:"),
	}},
	{"escrow: lock in time", "a lock after its time", "to be locked by", []edit{
		{fInstance, "q.Agreement.LockBy <= e.clock || ", ""},
	}},
	{"escrow: lock for this escrow", "a lock for another escrow", "another escrow is locked", []edit{off(fInstance, "if q.Agreement.Escrow != e.self {")}},
	{"escrow: signature of an acceptance", "an acceptance that is forged", "did not accept", []edit{off(fAgree, "if err := a.Verify(id); err != nil {")}},
	{"escrow: opening in time", "an opening after its time", "opens at", []edit{off(fInstance, "if ready && e.clock > in.deal.agreement.LockBy {")}},
	{"escrow: signature of an acknowledgement", "an acknowledgement that is not signed", "did not acknowledge", []edit{
		off(fInstance, "if err := e.vaults[from].Identity.Verify(purposeAck, q.Instance[:], q.Sig); err != nil {"),
	}},
	{"escrow: hold of r with an acknowledgement", "r before its step is witnessed", "before its step was witnessed", []edit{
		{fInstance, "return e.say(Reply{Mail: []Mail{m}}, int64(step))", "return e.say(Reply{Mail: []Mail{m}}, 0)"},
	}},
	{"escrow: deadline in time", "an early deadline", "is aborted at", []edit{
		{fInstance, "e.due[0].at+grace <= e.noteTime", "e.due[0].at > 0"},
	}},

	// The escrow and its snapshots.
	{"escrow: parts of a snapshot", "a snapshot with another owner", "by another than its owner", []edit{
		off(fSnapshot, "if wire.HashBytes(purposePart, p) != c.Parts[i] {"),
	}},
	{"escrow: sum of shares after a snapshot", "an old share with a newer snapshot", "the cheat works", []edit{
		off(fApply, "if err := key.CheckSum(shares, points, less); err != nil {"),
	}},

	// The escrow and words.
	{"escrow: signature of a word", "another party's word", "did not say", []edit{{fWord, "if x.unsigned = w.Verify(id); x.unsigned == nil {", "if _ = id; true {"}}},
	{"escrow: number of a word", "a word a second time", "after word 2", []edit{{fWord, "said := seq <= in.seq[role]", "said := seq == 0"}}},
	{"escrow: receipt of a word", "a receipt for another word", "the cheat works", []edit{off(fWord, "case said && x.hash != in.said[role]:")}},
	{"escrow: word in time", "a word after the grace", "hears a word of", []edit{off(fReport, "case e.clock >= deadline+grace:")}},

	// The escrow and oracles.
	{"oracle: how many keys signed", "a price of too few keys", "are needed", []edit{{fMedian, " || int64(len(signed)) < int64(q.Need) {", " {"}}},
	{"oracle: one key twice", "a price of one key twice", "are needed", []edit{off(fMedian, "if i > 0 && bytes.Compare(signed[i-1].Key, s.Key) >= 0 {")}},
	{"oracle: signature of a value", "a price that was changed", "did not sign", []edit{{fMedian, "		if err := s.Verify(); err != nil {\n			return 0, 0, err\n		}\n", ""}}},
	{"oracle: whose key it is", "a price of a stranger's key", "did not sign", []edit{{
		fMedian, "if !slices.ContainsFunc(q.Keys, func(k []byte) bool { return bytes.Equal(k, s.Key) }) {", "if false && !slices.ContainsFunc(q.Keys, func(k []byte) bool { return bytes.Equal(k, s.Key) }) {",
	}}},
	{"oracle: feed of a value", "a price of another feed", "hears a value of feed", []edit{{fMedian, "s.Value.Feed != q.Feed || ", ""}}},
	{"escrow: a value that whoever brings it has not seen", "a price that two bring at once", "had not seen it", []edit{off(fReport, "case x.oracle == q.Oracle && x.time == q.time():")}},
	{"escrow: receipt of a report", "a receipt for another report", "the cheat works", []edit{{fReport, "case x.hash == h:", "case x.oracle == q.Oracle:"}}},
	{"escrow: value in time", "a price after the grace", "hears a value of", []edit{off(fReport, "case e.clock >= deadline+grace:")}},

	// The escrow and settlements that go step by step.
	{"escrow: who speaks for a step", "a word about the other's step", "did not speak of it", []edit{{
		fSettle, "	if err := w.Verify(id); err != nil {\n		return Answer{}, err\n	}\n	r := Run", "	_ = id\n	r := Run",
	}}},
	{"escrow: a step that is over", "a word about a step that is over", "no word about it", []edit{{fSettle, "int64(w.Body.Step) < int64(in.steps) || e.clock", "e.clock"}}},
	{"escrow: a step to come", "a word about a step to come", "no word about it", []edit{{fSettle, "!in.closed || int64(w.Body.Step) > int64(in.steps):", "!in.closed:"}}},
	{"escrow: report in time", "a report after its step", "about a step that waited until", []edit{{fSettle, " || e.clock >= in.next()+grace:", ":"}}},
	{"escrow: lapse in time", "a step that lapses early", "lapses at", []edit{{fApply, "return in.deal.wait(in.stepAt)", "return in.stepAt"}}},
	{"escrow: claim of what is not given yet", "a claim of what is still to be given", "or locked", []edit{off(fClaim, "case c.instance != nil:")}},
	{"escrow: expiry and the steps of a settlement", "a stake that expires before the last step", "beyond its expiry", []edit{{
		fSettle, "	return d.agreement.LockBy + d.agreement.Pace.Span(len(d.steps))", "	return d.agreement.LockBy",
	}}},

	{"settle: what was received last", "coins spent right after they were looked at", "it was told that it can lose 0", []edit{{
		"settle/settle.go", "sure := handed[1-s] - last[1-s]", "sure := handed[1-s]",
	}}},

	// Witnesses and heads.
	{"witness: consistency", "two heads", "two witnessed heads", []edit{
		off(fWitness, "if err := VerifyConsistency(old, c, r.Proof); err != nil {"),
	}},
	{"witness: two heads of one size", "two heads of one size", "two witnessed heads", []edit{
		off(fWitness, "if err := VerifyConsistency(old, c, r.Proof); err != nil {"), off(fWitness, "case c.Size == seen.Size && c.Root != old.Root:"),
	}},
	{"group: quorum", "a head with one cosignature", "the cheat works", []edit{off(fGroup, "if len(stamps) < g.K {")}},
	{"group: median", "a witness with a fast clock", "seconds ahead", []edit{
		{fGroup, "stamps[(len(stamps)-1)/2].Unix", "stamps[len(stamps)-1].Unix"},
	}},

	// Keys.
	{"key: commitment and proofs of a batch", "a rogue key", "from its birth", []edit{
		off(fBatch, "if b.Commit(h.Points, salt) != commitment {"),
		{fBatch, "return verify(h.Points[i:j], b.contexts(role, i), h.Proofs[i:j])", "return nil"},
	}},

	// A client's vault, before a deal.
	{"vault: one pledge for a chunk", "two pledges of one chunk", "the cheat works", []edit{
		off(fAccept, "if h, until, ok := o.pledged(id); ok {"),
	}},
	{"vault: pledge for a time", "a pledge for ever", "the cheat works", []edit{{fAccept, " || p.Agreement.LockBy > o.head.Time+maxLockWait", ""}}},
	{"vault: pledge of what is claimed", "a pledge of what is being claimed", "the cheat works", []edit{off(fAccept, "case c.Claim || c.Claimed:")}},
	{"vault: claim of what is pledged", "a claim of what is pledged", "the cheat works", []edit{off(fOwner, "if h, until, ok := o.pledged(id); ok && !c.Claim {")}},
	{"vault: its own chunk in another's pot", "its own chunk in another's pot", "the cheat works", []edit{
		off(fAccept, "if !mine && c != nil && c.Owner == o.self {"),
	}},
	{"vault: certificate of a chunk", "a certificate that nobody signed", "the cheat works", []edit{
		{"key/certificate.go", "err = holder.Verify(role.certificatePurpose(), s.Body, sig)", "_ = sig"},
	}},
	{"vault: key of a chunk", "a certificate of another key", "the cheat works", []edit{off(fAccept, "if _, err := cert.VerifyChunk(paper.Chunk); err != nil {")}},
	{"vault: weight of a chunk", "a chunk that weighs less", "the cheat works", []edit{off(fAccept, "if c.Weight != s.Weight {")}},
	{"vault: expiry of a chunk", "a chunk that expires", "the cheat works", []edit{
		off(fAccept, "if last := d.ends(); last >= cert.Certificate().Expiry {"),
	}},
	{"vault: one vendor on both sides", "one vendor on both sides", "both shares of one epoch", []edit{
		{fAccept, "peer.Vendor != o.cfg.EscrowVendor || ", "true || "},
	}},

	// A client's vault, in a deal.
	{"vault: share that was handed over", "a share that is none", "a share of chunk", []edit{
		off(fTalk, "if err := key.CheckShare(a, b, c.P); err != nil {"),
	}},
	{"vault: whole after the log shows it", "a share before the log shows the claim", "before the log showed a claim", []edit{
		{fOwner, "if c == nil || !c.Claimed {", "if c == nil {"},
	}},
	{"vault: swept after it was whole", "a sweep of what was never whole", "the cheat works", []edit{off(fOwner, "if c.Whole == nil && !c.Swept {")}},
	{"vault: proof of an entry", "an entry that is not in the log", "differ about chunk", []edit{
		off(fReplay, "if err := head.VerifyInclusion(o.head.Checkpoint, l.Position, l.Entry, l.Proof); err != nil {"),
	}},
	{"vault: gives of the contract", "forged: both sides' chunks for bob", "the cheat works", []edit{
		off(fReplay, "if err != nil || x.Chunk != m.chunk || to != m.to {"),
	}},
	{"vault: shares before the opening", "forged: an opening before the shares are there", "the cheat works", []edit{
		off(fReplay, "if in.Pledge.deal.awaits(role) && !in.Acked[role] {"),
	}},
	{"vault: signature of an acknowledgement", "forged: an acknowledgement for bob", "the cheat works", []edit{
		off(fReplay, "if err := in.Pledge.Parties[r].Verify(purposeAck, a.Instance[:], a.Sig); err != nil {"),
	}},
	{"vault: times of an instance's entries", "forged: an opening back in time", "the cheat works", []edit{off(fReplay, "if n.At < in.At {")}},
	{"vault: refresh of an exit", "forged: a refresh that does not add up", "the cheat works", []edit{
		off(fReplay, "if err := key.CheckRefresh(old, x.R, x.B); err != nil {"),
	}},
	{"vault: epoch of an exit", "forged: an epoch left out", "the cheat works", []edit{{fReplay, "x.Epoch != c.Epoch+1 || ", ""}}},
	{"vault: signature of a word", "forged: a word of the buyer", "the cheat works", []edit{
		off(fReplay, "if err := r.Word.Verify(in.Pledge.Parties[r.Word.Body.Role]); err != nil {"),
	}},
	{"vault: time of a deadline", "forged: an early deadline", "the cheat works", []edit{off(fReplay, "if o.clock.Time < due {")}},
	{"vault: its own signature under an order", "forged: a claim of alice's", "the cheat works", []edit{
		{fReplay, "err = t.o.cfg.Identity.Verify(purpose, b, sig)", "_ = b"},
	}},
	{"vault: swept after it was claimed", "forged: a sweep without a claim", "the cheat works", []edit{off(fReplay, "if !c.Claimed {")}},
	{"vault: its own acceptance", "forged: a lock that alice did not accept", "the cheat works", []edit{
		off(fReplay, "if c.Owner == t.o.self && mine == nil && !t.o.accepted(n.Lock, h) {"),
	}},
	{"vault: the others' acceptances", "forged: a lock that bob did not accept", "the cheat works", []edit{
		off(fReplay, "if err := mine.check(n); err != nil {"),
	}},
	{"vault: who owns what is in a pot", "forged: a pot with alice's chunk in it", "the cheat works", []edit{
		off(fReplay, "if mine != nil && c.Owner != mine.deal.parties[mine.deal.depositor(i)] {"),
	}},
	{"vault: a step's share is here", "kept before the share is here", "the cheat works", []edit{{fSettle, "!failed && !(x != nil && (o.owns(x) || x.Swept))", "false && x == nil"}}},
	{"vault: one word about a step", "two words about one step", "the cheat works", []edit{{fSettle, "in.Settled || in.Step != nil ||", "in.Settled ||"}}},
	{"vault: who took a step", "forged: a step that nobody took", "the cheat works", []edit{
		off(fSettle, "if err := r.Step.Verify(in.Pledge.Parties[d.steps[in.Steps-1].to]); err != nil {"),
	}},
	{"vault: whose turn it is", "forged: a step out of turn", "the cheat works", []edit{off(fReplay, "if err != nil || x.Chunk != m.chunk || to != m.to {")}},
	{"vault: which step a word is about", "forged: a word about another step", "the cheat works", []edit{
		off(fSettle, "if r.Step == nil || r.Step.Body != (StepWord{r.Instance, in.Steps, r.Kind == RunFailed}) {"),
	}},
	{"vault: time of a lapse", "forged: a step that lapses early", "the cheat works", []edit{off(fReplay, "if o.clock.Time < due {")}},
	{"vault: who reported a failure", "forged: a failure that nobody reported", "the cheat works", []edit{
		off(fSettle, "if err := r.Step.Verify(in.Pledge.Parties[d.steps[in.Steps-1].to]); err != nil {"),
	}},
	{"vault: time of a report", "forged: a report after its step", "the cheat works", []edit{
		off(fSettle, "if n.At >= d.wait(in.StepAt)+grace {"),
	}},
	{"vault: when a step was given", "forged: a step at another time", "the cheat works", []edit{off(fReplay, "if r.Kind.settles() && r.EventAt != n.At {")}},
	{"vault: settled is nothing left", "forged: settled before all is given", "the cheat works", []edit{
		off(fReplay, "if r.Settled != (closed && len(in.Given) == stakes) {"),
	}},

	// A client's vault, and oracles.
	{"vault: signature of a value", "forged: a price that nobody signed", "the cheat works", []edit{{fMedian, "		if err := s.Verify(); err != nil {\n			return 0, 0, err\n		}\n", ""}}},
	{"vault: how many keys signed", "forged: a price of one key", "the cheat works", []edit{{fMedian, " || int64(len(signed)) < int64(q.Need) {", " {"}}},
	{"vault: one key twice", "forged: a price of one key twice", "the cheat works", []edit{off(fMedian, "if i > 0 && bytes.Compare(signed[i-1].Key, s.Key) >= 0 {")}},
	{"vault: whose key it is", "forged: a price of strangers' keys", "the cheat works", []edit{{
		fMedian, "if !slices.ContainsFunc(q.Keys, func(k []byte) bool { return bytes.Equal(k, s.Key) }) {", "if false && !slices.ContainsFunc(q.Keys, func(k []byte) bool { return bytes.Equal(k, s.Key) }) {",
	}}},
	{"vault: feed of a value", "forged: a price of another feed", "the cheat works", []edit{{fMedian, "s.Value.Feed != q.Feed || ", ""}}},
	{"vault: one time of all values", "forged: prices of two times", "the cheat works", []edit{{fMedian, " || s.Value.Time != signed[0].Value.Time {", " {"}}},
	{"vault: time of a value", "forged: a price for another time", "the cheat works", []edit{{fMachine, "fits = ev.Observed == t && ", "fits = "}}},
	{"vault: a value of the future", "forged: a price before its time", "the cheat works", []edit{{fMachine, " || ev.Observed > ev.At {", " {"}}},
	{"vault: range of a value", "forged: a price out of its range", "the cheat works", []edit{{fMachine, " || ev.Value > f.Hi", ""}}},
	{"vault: instance of a report", "forged: a price of another instance", "the cheat works", []edit{{fReplay, " || r.Report != nil && r.Report.Instance != r.Instance {", " {"}}},
	{"vault: time of a report's entry", "forged: a price that comes late", "the cheat works", []edit{off(fReplay, "if r.EventAt > n.At || r.EventAt < n.At-grace {")}},
	{"vault: keys of an oracle", "an oracle under whose key anybody signs", "the cheat works", []edit{{fMedian, " || p.MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1 {", " {"}}},
	{"vault: more than half of the keys", "an oracle of which half is enough", "the cheat works", []edit{{fMedian, " || 2*int64(q.Need) <= int64(n)", ""}}},
	{"vault: feed that the contract fixes", "an oracle of another feed than the contract's", "the cheat works", []edit{{fAgree, `if o.Fixed != "" && a.Oracles[i].Feed != o.Fixed {`, `if false {`}}},
	{"vault: asset of a pot", "a pot of another asset", "the cheat works", []edit{{fAgree, "i >= 0 && d.agreement.Assets[i] != is {", "i >= 0 && false {"}}},
	{"vault: range of a term", "a term out of its range", "the cheat works", []edit{{fDeal, "v < t.Lo || v > t.Hi {\n			return refuse(\"term", "false {\n			return refuse(\"term"}}},
	{"vault: requirements", "terms that miss a requirement", "the cheat works", []edit{{fDeal, "if r.eval(n) == 0 {", "if false {"}}},

	// Pots that are filled later.
	{"escrow: whose chunk is deposited", "a deposit of another's chunk", "by another than its owner", []edit{off(fInstance, "case *c.owner != d.parties[d.depositor(pot)]:")}},
	{"escrow: deposit of a locked chunk", "a deposit of a locked chunk", "has a second lock", []edit{off(fInstance, "case c.instance != nil:")}},
	{"escrow: deposit of a claimed chunk", "a deposit of a claimed chunk", "after its claim", []edit{off(fInstance, "case c.state != chunkLive:")}},
	{"escrow: weight of a deposit", "a deposit that weighs less", "the agreement says 5", []edit{
		off(fDeposit, "case int64(c.Weight) != want:"), off(fInstance, "case c.cert.Weight != s.Weight:"),
	}},
	{"escrow: asset of a deposit", "a deposit of another asset", "the agreement says", []edit{off(fDeposit, "case c.Denomination != d.later[int(o.Pot)]:")}},
	{"escrow: how long a deposit waits", "a deposit that waits beyond its phase", "waits until", []edit{off(fDeposit, "case at >= o.By || o.By >= until:")}},
	{"escrow: phase of a deposit", "a deposit for another phase", "a deposit for phase 1", []edit{off(fDeposit, "case int64(o.Phase) != int64(in.state.Phase()):")}},
	{"escrow: a deposit once", "a deposit said again", "waits until", []edit{
		off(fDeposit, "case at >= o.By || o.By >= until:"), off(fInstance, "case c.epoch != s.Epoch:"),
	}},
	{"escrow: signature of a deposit", "a deposit that its owner did not order", "did not order", []edit{
		off(fDeposit, "if err := q.Order.verify(e.vaults[from].Identity, q.Sig); err != nil {"),
	}},
	{"escrow: signature of a deposit's acknowledgement", "an acknowledgement of a deposit for another", "did not acknowledge the deposit", []edit{
		{fDeposit, "err = e.vaults[from].Identity.Verify(purposeDepositAck, b, q.Sig)", "_ = b"},
	}},
	{"escrow: acknowledgement in time", "an acknowledgement after a deposit's time", "that waited until", []edit{off(fDeposit, "case e.clock > l.Order.By:")}},
	{"vault: claim of what is being deposited", "a claim of what is being deposited", "the cheat works", []edit{
		off(fOwner, "if h, until, ok := o.pledged(id); ok && !c.Claim {"),
	}},
	{"vault: coins of a deposit", "a deposit without coins", "the cheat works", []edit{{fPaid, " || !l.Funded || ", " || "}}},
	{"vault: a deposit that nobody acknowledged", "forged: a deposit that nobody acknowledged", "the cheat works", []edit{off(fPaid, "case !in.Pledge.deal.acknowledged(*l):")}},
	{"vault: signature of a deposit's acknowledgement", "forged: an acknowledgement of a deposit", "the cheat works", []edit{
		{fReplay, "err = in.Pledge.Parties[r].Verify(purposeDepositAck, b, a.Sig)", "_ = b"},
	}},
	{"vault: a deposit counts in time", "forged: a deposit that counts after its time", "the cheat works", []edit{
		off(fPaid, "case n.Run.EventAt != n.At || n.At > l.Order.By:"),
	}},
	{"vault: its own order", "forged: a deposit that alice did not order", "the cheat works", []edit{
		off(fPaid, "if err := o.verify(in.Pledge.Parties[d.depositor(pot)], n.Deposit.Sig); err != nil {"),
		off(fPaid, "if err := q.Order.verify(t.o.cfg.Identity, q.Sig); err != nil {"),
	}},
	{"vault: whose chunk is deposited", "forged: a deposit of carol's chunk", "the cheat works", []edit{
		off(fPaid, "if in != nil && c.Owner != in.Pledge.deal.parties[in.Pledge.deal.depositor(int(q.Order.Pot))] {"),
	}},
	{"vault: weight of a deposit", "forged: a deposit of another weight", "the cheat works", []edit{off(fDeposit, "case int64(c.Weight) != want:")}},
	{"vault: asset of a deposit", "forged: a deposit of another asset", "the cheat works", []edit{off(fDeposit, "case c.Denomination != d.later[int(o.Pot)]:")}},
	{"vault: papers of a deposit", "forged: a deposit with papers that nobody signed", "the cheat works", []edit{
		{"key/certificate.go", "err = holder.Verify(role.certificatePurpose(), s.Body, sig)", "_ = sig"},
	}},
	{"vault: phase of a deposit", "forged: a deposit for another phase", "the cheat works", []edit{off(fDeposit, "case int64(o.Phase) != int64(in.state.Phase()):")}},
	{"vault: a deposit goes back in time", "forged: a deposit that goes back early", "the cheat works", []edit{off(fReplay, "if o.clock.Time < due {")}},
	{"vault: an entry left out", "an entry left out", "the cheat works", []edit{off(fReplay, "case prev != last:")}},
	{"vault: a head that forks", "a head that forks", "the cheat works", []edit{
		off(fReplay, "if err := head.VerifyConsistency(o.head.Checkpoint, c.Checkpoint, proof); err != nil {"),
	}},
}

func TestMutations(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	known := allCheats()
	for i, m := range allMutations {
		overlay := map[string]map[string]string{"Replace": {}}
		texts := map[string]string{}
		for _, e := range m.edits {
			if texts[e.file] == "" {
				raw, err := os.ReadFile(filepath.Join(root, e.file))
				if err != nil {
					t.Fatal(err)
				}
				texts[e.file] = string(raw)
			}
			if n := strings.Count(texts[e.file], e.old); n != 1 {
				t.Errorf("%s: %q is %d times in %s, want once: the check has moved", m.name, e.old, n, e.file)
				continue
			}
			texts[e.file] = strings.Replace(texts[e.file], e.old, e.new, 1)
		}
		if known[m.cheat] == nil {
			t.Errorf("%s: there is no cheat %q", m.name, m.cheat)
		}
		if t.Failed() || !*mutations && i > 0 { // one, to see that this works
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for file, text := range texts {
				path := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				overlay["Replace"][filepath.Join(root, file)] = path
			}
			m.run(t, root, dir, overlay)
		})
	}
}

// run builds the mutated program and lets the cheat try.
func (m mutation) run(t *testing.T, root, dir string, overlay any) {
	raw, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	name := regexp.QuoteMeta(strings.ReplaceAll(m.cheat, " ", "_"))
	cmd := exec.Command("go", "test", "-overlay", file, "-vet=off", "-count=1", "-run", "^TestCheats$/^"+name+"$", "./sim")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	switch text := string(out); {
	case err == nil:
		t.Errorf("without the check the cheat %q is still refused", m.cheat)
	case !strings.Contains(text, "--- FAIL: TestCheats/"):
		t.Errorf("the mutated program does not run:\n%s", text)
	case !strings.Contains(text, m.want):
		t.Errorf("the cheat %q works, and the simulation does not say %q:\n%s", m.cheat, m.want, text)
	}
}
