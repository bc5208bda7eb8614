package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"latchkey/client"
	"latchkey/client/clientpb"
	"latchkey/contract"
)

// many collects a flag that may be given several times.
type many []string

func (m *many) String() string     { return strings.Join(*m, " ") }
func (m *many) Set(s string) error { *m = append(*m, s); return nil }

func receive(ctx context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("receive", "latchkey receive prints a payment request: give it to whoever is to pay you, from chunks of the same escrow\nand without any transaction. It is paid once, and you have to be online until it is.", out)
	socket, asJSON := clientFlags(f)
	asset := f.String("asset", "", "asset, such as btc")
	amount := f.String("amount", "", "how much, in whole coins, such as 0.001")
	usd := f.String("usd", "", "or about how much, in dollars; rounded to what chunks can make up")
	good := f.Duration("good-for", time.Hour, "how long the request stands")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *good < time.Second {
		return &hinted{fmt.Errorf("%w: receive: --good-for %v: want a second or more", errUsage, *good), "--good-for 1h"}
	}
	q := &clientpb.ReceiveRequest{Asset: *asset, Amount: *amount, GoodFor: int64(good.Seconds())}
	if (*amount == "") == (*usd == "") {
		return &hinted{fmt.Errorf("%w: receive: say either --amount or --usd", errUsage), "latchkey receive --asset btc --usd 100"}
	}
	if *usd != "" {
		n, err := cents(*usd)
		if err != nil {
			return err
		}
		q.UsdCents = n
	}
	c, err := dial(*socket)
	if err != nil {
		return err
	}
	r, err := c.Receive(ctx, q)
	if err != nil {
		return plain(err)
	}
	if *asJSON {
		return printJSON(out, r)
	}
	fmt.Fprintf(talk, "asks for %s, until %s\n", coins(r.Asset, r.Amount, r.Decimals), when(r.Expiry, 0))
	_, err = fmt.Fprintln(out, r.Request)
	return err
}

func pay(ctx context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("pay", "latchkey pay REQUEST pays with chunks that you hold, without a transaction on any chain. It says first what it\nwill do. Chunks are not divisible: where those at hand do not make up the amount exactly, it pays nothing,\nunless --over lets it pay the least more.", out)
	socket, asJSON := clientFlags(f)
	over := f.Bool("over", false, "pay the least more that chunks make up, if they do not make up the amount exactly")
	dry := f.Bool("dry-run", false, "say what would be done, and do nothing")
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	if _, err := client.ParseRequest(f.Arg(0)); err != nil {
		return &hinted{fmt.Errorf("%w: pay: %w", errUsage, err), "copy the whole request that latchkey receive printed"}
	}
	c, err := dial(*socket)
	if err != nil {
		return err
	}
	p, err := c.Pay(ctx, &clientpb.PayRequest{Request: f.Arg(0), PlanOnly: true})
	if err != nil {
		return plain(err)
	}
	say := func(amount string) string { return coins(p.Asset, amount, p.Decimals) }
	fmt.Fprintf(talk, "vault %.8s asks for %s, until %s\n", p.Vault, say(p.Asked), when(p.Expiry, 0))
	below := "less than a chunk"
	if p.Below != "" {
		below = say(p.Below)
	}
	switch {
	case p.Pays == "":
		have := "you have no chunks that could pay it"
		if p.Below != "" {
			have = "your chunks of one denomination make up at most " + below
		}
		return &hinted{fmt.Errorf("%s cannot be paid: %s", say(p.Asked), have), "deposit more, or wait until what is on its way is yours: latchkey status"}
	case p.Exact:
		fmt.Fprintf(talk, "pays %s with %s, exactly; no transaction, no fee; it cannot be taken back\n", say(p.Pays), tally(p.Chunks, "chunk"))
	case !*over:
		return &hinted{
			fmt.Errorf("%s cannot be paid exactly, for chunks are not divisible: yours make up %s, or %s, which is %s more", say(p.Asked), below, say(p.Pays), say(p.Over)),
			"pay more with --over, or ask for a request of an amount that chunks make up",
		}
	default:
		fmt.Fprintf(talk, "pays %s with %s, %s more than asked; no transaction, no fee; it cannot be taken back\n", say(p.Pays), tally(p.Chunks, "chunk"), say(p.Over))
	}
	if !*dry {
		if p, err = c.Pay(ctx, &clientpb.PayRequest{Request: f.Arg(0), Over: *over}); err != nil {
			return plain(err)
		}
	}
	switch {
	case *asJSON:
		return printJSON(out, p)
	case *dry:
		return nil
	}
	_, err = fmt.Fprintf(out, "%s\n", p.Id)
	return err
}

func keep(ctx context.Context, args []string, out, _ io.Writer) error {
	f := newFlags("keep", "latchkey keep sets the standing choice for what you receive of an asset: keep it in the vault, to use it again\nwithout a chain, or claim it at once. What nears the end of its certificate is claimed in any case.", out)
	socket, asJSON := clientFlags(f)
	asset := f.String("asset", "", "asset, such as btc")
	until := f.String("until", "", "claim all of it on this date, 2027-01-31, or at this time, 2027-01-31T12:00:00Z")
	upTo := f.String("up-to", "", "claim what is more than this, in whole coins")
	no := f.Bool("claim", false, "do not keep: claim at once")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	q := &clientpb.KeepRequest{Asset: *asset, Keep: !*no, UpTo: *upTo}
	if *asset == "" {
		return &hinted{fmt.Errorf("%w: keep: --asset is missing", errUsage), "latchkey keep --asset btc; latchkey status shows the choices that hold"}
	}
	if *no && (*until != "" || *upTo != "") {
		return &hinted{fmt.Errorf("%w: keep: --claim goes with neither --until nor --up-to", errUsage), "latchkey keep --asset btc --claim"}
	}
	if *until != "" {
		var err error
		if q.Until, err = client.ParseTime(*until); err != nil {
			return &hinted{fmt.Errorf("%w: keep: --until: %w", errUsage, err), "latchkey keep --asset btc --until 2027-01-31"}
		}
	}
	c, err := dial(*socket)
	if err != nil {
		return err
	}
	r, err := c.Keep(ctx, q)
	switch {
	case err != nil:
		return plain(err)
	case *asJSON:
		return printJSON(out, r)
	}
	_, err = fmt.Fprintf(out, "what is received of %s is %s\n", *asset, r.Choice)
	return err
}

func propose(ctx context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("propose", "latchkey propose sends a contract with its terms to the vaults that are its parties. Your own pots are filled\nfrom your chunks; each of the others fills its own when its user accepts. Nothing is binding until all have.\n\nexample:\n  latchkey propose --contract examples/escrow.latchkey --party buyer=me --party seller=VAULT --party arbiter=VAULT \\\n    --term price=20 --term fee=5 --term ship_by=+10d --term judge_by=+20d --pot payment=btc --pot costs=eth", out)
	socket, asJSON := clientFlags(f)
	source := f.String("contract", "", "file with the contract")
	within := f.Duration("within", time.Hour, "in which all must have accepted, at most a day")
	states := f.Uint("states", 0, "explore outcomes up to so many states, where the usual bound does not do; all parties' vaults bear it")
	moves := f.Uint("moves", 0, "and up to so many moves")
	manner := settleFlags(f)
	maxLoss := f.Uint64("max-loss", 0, "tit-for-tat: units that you may lose at most; you sign nothing by which you could lose more (0: as configured)")
	var parties, terms, pots, oracles, feeds many
	f.Var(&oracles, "oracle", "NAME=2:KEY,KEY,KEY, for each oracle: how many of which keys have to sign; or NAME=FILE with lines\nneed 2, key KEY, and feed FEED")
	f.Var(&feeds, "feed", "NAME=FEED, for an oracle whose feed the contract leaves open, as price=gold/usd")
	f.Var(&parties, "party", "NAME=VAULT, for each party; of a role once for each that holds it, in order; VAULT is a vault id, or me")
	f.Var(&terms, "term", "NAME=VALUE, for each term, as the contract writes it: 20, 12.50, 30 days; times as 2027-01-31 or +10d, durations\nalso as 30m or 10d; of each holder of a role \"NAME 2=VALUE\", or NAME=VALUE for all")
	f.Var(&pots, "pot", "NAME=ASSET, for each pot: which coins it is to hold, unless the contract fixes it; of each holder of a role once for all;\nof a pot that is filled later also NAME=ASSET@5,5,2, the weights of its chunks in units, in the order in which they will come")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *states > maxBound || *moves > maxBound {
		return &hinted{fmt.Errorf("%w: propose: --states %d --moves %d: no vault bears that", errUsage, *states, *moves), "at most --states 200000 --moves 1000000"}
	}
	if *within < time.Second || *within > 24*time.Hour {
		return &hinted{fmt.Errorf("%w: propose: --within %v: want a second to a day", errUsage, *within), "--within 1h"}
	}
	if *source == "" {
		return &hinted{fmt.Errorf("%w: propose: --contract is missing", errUsage), "latchkey propose -h"}
	}
	text, err := os.ReadFile(*source)
	if err != nil {
		return &hinted{fmt.Errorf("%w: propose: --contract: %w", errUsage, err), "latchkey propose -h"}
	}
	q := &clientpb.ProposeRequest{Source: text, Terms: terms, Pots: pots, LockWithin: int64(within.Seconds()), States: uint32(*states), Moves: uint32(*moves), MaxLoss: *maxLoss}
	var settled string
	if q.Settle, q.Pace, settled, err = manner(); err != nil {
		return err
	}
	if q.Oracles, err = oracleChoices(oracles, feeds); err != nil {
		return &hinted{fmt.Errorf("%w: propose: %w", errUsage, err), "--oracle price=2:KEY,KEY,KEY --feed price=gold/usd; latchkey oracle key prints a KEY"}
	}
	if q.Parties, q.Terms, err = inOrder(text, parties, terms); err != nil {
		return &hinted{fmt.Errorf("%w: propose: %w", errUsage, err), "latchkey propose -h"}
	}
	c, err := dial(*socket)
	if err != nil {
		return err
	}
	fmt.Fprintf(talk, "proposing %s among %d parties, settled %s; your chunks for it are set aside until all have answered\n", *source, len(parties), settled)
	r, err := c.Propose(ctx, q)
	switch {
	case err != nil:
		return plain(err)
	case *asJSON:
		return printJSON(out, r)
	}
	if err := printSettlement(talk, r.Settlement); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, r.Id)
	return err
}

// printSettlement says how an agreement is carried out, and what each party can lose.
func printSettlement(out io.Writer, s *clientpb.Settlement) error {
	if s == nil {
		return nil
	}
	how := "settled at once: all that a step of the contract gives, or nothing of it"
	if p := s.Pace; p != nil {
		how = fmt.Sprintf("settled tit for tat in %s: rounds of %d to %d units, each up to %d%% of the one before; a step waits %v for its receiver's word",
			tally(s.Steps, "step"), p.First, p.Most, p.Growth, time.Duration(p.Wait)*time.Second)
	}
	fmt.Fprintf(out, "\n%s\n", how)
	t := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "PARTY\tCAN LOSE AT MOST\tWHICH IS")
	for _, x := range s.Losses {
		is := ""
		if x.Asset != "" {
			is = coins(x.Asset, x.Amount, x.Decimals)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", x.Party, tally(x.Units, "unit"), is)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if s.Pace == nil {
		_, err := fmt.Fprintln(out, "if what it gets is worth nothing: what it puts in for others")
		return err
	}
	fmt.Fprintln(out, "at any moment, of what it gives, if it looks at each step and speaks in time. When a step fails, what was not given by\nthen goes back: closed is when it opens, settled is when every chunk has gone to one side.")
	if !s.Exact {
		fmt.Fprintln(out, "Not all pots are filled yet: with heavier chunks there are fewer steps, and more can be lost. Nobody signs before that is known.")
	}
	return nil
}

// maxBound is more than any vault explores.
const maxBound = 1 << 31

// inOrder puts NAME=VAULT in the order in which a contract declares its parties. A role
// is given once for each that holds it, in the order of its holders; terms gets their
// number where it does not say it.
func inOrder(source []byte, given, terms []string) (vaults, all []string, err error) {
	p, err := contract.Compile(source)
	if err != nil {
		return nil, nil, err
	}
	by := map[string][]string{}
	for _, x := range given {
		name, v, ok := strings.Cut(x, "=")
		if !ok {
			return nil, nil, fmt.Errorf("--party %.80q: write NAME=VAULT", x)
		}
		by[name] = append(by[name], v)
	}
	names := p.Parties()
	roles := p.Roles()
	if len(roles) > 0 {
		names = names[:roles[0].First]
	}
	for _, r := range roles {
		n := len(by[r.Name])
		if n < r.Lo || n > r.Hi {
			return nil, nil, fmt.Errorf("role %s is held by %d to %d, and --party %s=VAULT is there %d times: give it once for each", r.Name, r.Lo, r.Hi, r.Name, n)
		}
		names = append(names, r.Name)
		if !slices.ContainsFunc(terms, func(x string) bool { return strings.HasPrefix(x, r.Name+"=") }) {
			terms = append(terms, fmt.Sprintf("%s=%d", r.Name, n))
		}
	}
	for i, name := range names {
		switch list := by[name]; {
		case len(list) == 0:
			return nil, nil, fmt.Errorf("party %s is missing", name)
		case len(list) > 1 && i < len(names)-len(roles):
			return nil, nil, fmt.Errorf("--party %s is there %d times, and only roles have several holders", name, len(list))
		default:
			vaults = append(vaults, list...)
		}
		delete(by, name)
	}
	for name := range by {
		return nil, nil, fmt.Errorf("contract %s has no party %.40q", p.Name(), name)
	}
	return vaults, terms, nil
}

func review(ctx context.Context, args []string, out, _ io.Writer) error {
	f := newFlags("review", "latchkey review DRAFT shows what somebody proposes: who puts in what, until when, and what each party can end up\nwith at least and at most. The first digits of the draft's id are enough.", out)
	socket, asJSON := clientFlags(f)
	text := f.Bool("source", false, "print the contract's text as well")
	brief := f.Bool("brief", false, "leave out what the contract says in plain English")
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	c, err := dial(*socket)
	if err != nil {
		return err
	}
	r, err := c.Review(ctx, &clientpb.ReviewRequest{Id: f.Arg(0)})
	switch {
	case err != nil:
		return plain(err)
	case *asJSON:
		return printJSON(out, r)
	}
	if err := printReview(out, r, *text); err != nil || *brief {
		return err
	}
	return explainDraft(out, r)
}

func printReview(out io.Writer, r *clientpb.ReviewResponse, source bool) error {
	fmt.Fprintf(out, "draft %s: %s, with you as %s; %s\n", r.Draft.Id, r.Draft.Contract, r.Draft.Role, r.Draft.State)
	fmt.Fprintf(out, "all must have accepted by %s; over by %s at the latest\n", when(r.LockBy, 0), when(r.EndsBy, 0))
	if source {
		fmt.Fprintf(out, "\n%s\n", r.Source)
	}
	t := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "\nPARTY\tVAULT\t")
	for _, p := range r.Parties {
		var note []string
		if p.You {
			note = append(note, "you")
		}
		if p.Proposer {
			note = append(note, "proposed it")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", p.Name, p.Vault, strings.Join(note, ", "))
	}
	fmt.Fprintln(t, "\nTERM\tVALUE")
	for _, x := range r.Terms {
		fmt.Fprintf(t, "%s\t%s\n", x.Name, x.Value)
	}
	for _, x := range r.Assets {
		fmt.Fprintf(t, "asset %s\t%s\n", x.Name, x.Asset)
	}
	fmt.Fprintln(t, "\nPOT\tFILLED BY\tHOLDS\tIN\tMAY GO TO")
	for _, p := range r.Pots {
		holds, in := coins(p.Asset, p.Amount, p.Decimals), tally(p.Chunks, "chunk")
		if p.Chunks == 0 && p.Units > 0 {
			holds, in = "about "+holds, "not filled yet"
		}
		if p.Later != "" {
			in = "later: " + in
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", p.Name, p.From, holds, in, p.To)
	}
	fmt.Fprintln(t, "\nPARTY\tOF POT\tAT LEAST\tWHEN\tAT MOST\tWHEN")
	for _, x := range r.Payouts {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", x.Party, x.Pot, coins(x.Asset, x.LeastAmount, x.Decimals), x.LeastWay, coins(x.Asset, x.MostAmount, x.Decimals), x.MostWay)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, p := range r.Pots {
		if p.Later != "" {
			fmt.Fprintf(out, "\npot %s is filled later, by %s: %s, in chunks of %v units\n", p.Name, p.From, p.Later, p.Weights)
		}
	}
	if err := printSettlement(out, r.Settlement); err != nil {
		return err
	}
	printOracles(out, r)
	if !r.Indivisible {
		fmt.Fprintln(out, "\nNot all pots are filled yet: the last table is as if what is missing could be divided at will.")
	}
	for _, w := range r.Warnings {
		fmt.Fprintln(out, "\nWARNING", w)
	}
	_, err := fmt.Fprintf(out, "\nwaits for %s: %s\n", r.Draft.Wait.WaitsFor, r.Draft.Wait.Then)
	return err
}

func accept(ctx context.Context, args []string, out, talk io.Writer) error {
	return answer(ctx, "accept", "latchkey accept DRAFT says yes to what somebody proposed: your chunks for it are set aside, and your vault signs\nit when it is complete and all that you were shown still holds. Look at it with latchkey review first.", true, args, out, talk)
}

func decline(ctx context.Context, args []string, out, talk io.Writer) error {
	return answer(ctx, "decline", "latchkey decline DRAFT says no to what somebody proposed, or takes back what you proposed.", false, args, out, talk)
}

func answer(ctx context.Context, name, about string, yes bool, args []string, out, talk io.Writer) error {
	f := newFlags(name, about, out)
	socket, _ := clientFlags(f)
	why, maxLoss := "", uint64(0)
	if !yes {
		f.StringVar(&why, "reason", "", "told to the other side")
	} else {
		f.Uint64Var(&maxLoss, "max-loss", 0, "tit-for-tat: units that you may lose at most; you sign nothing by which you could lose more (0: as configured)")
	}
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	c, err := dial(*socket)
	if err != nil {
		return err
	}
	settled := ""
	if yes {
		r, err := c.Review(ctx, &clientpb.ReviewRequest{Id: f.Arg(0)})
		if err != nil {
			return plain(err)
		}
		for _, p := range r.Pots {
			if p.From == r.Draft.Role && p.Units > 0 && p.Later != "" {
				fmt.Fprintf(talk, "may put %s into pot %s later, with latchkey fund\n", coins(p.Asset, p.Amount, p.Decimals), p.Name)
			} else if p.From == r.Draft.Role && p.Units > 0 {
				fmt.Fprintf(talk, "puts about %s into pot %s\n", coins(p.Asset, p.Amount, p.Decimals), p.Name)
			}
		}
		for _, o := range r.Oracles {
			fmt.Fprintf(talk, "believes %d of %d keys of feed %s\n", o.Need, len(o.Keys), o.Feed)
		}
		fmt.Fprintf(talk, "accepting %s as %s, over by %s at the latest\n", r.Draft.Contract, r.Draft.Role, when(r.EndsBy, 0))
		if settled = "all at once"; r.Settlement.GetPace() != nil {
			settled = "step by step, tit for tat"
		}
	}
	a, err := c.Answer(ctx, &clientpb.AnswerRequest{Id: f.Arg(0), Accept: yes, Reason: why, MaxLoss: maxLoss})
	if err == nil && yes {
		fmt.Fprintf(talk, "accepted, settled %s: you can lose %s at most\n", settled, tally(a.AtRisk, "unit"))
	}
	return plain(err)
}

func fund(ctx context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("fund", "latchkey fund DEAL POT puts chunks that you hold into a pot that is filled while the contract runs: the next ones of\nthe weights that were agreed. They count once everybody who may receive them has found their coins and\nacknowledged them. If that is not so in time, or the phase ends before, they come back.", out)
	socket, asJSON := clientFlags(f)
	within := f.Duration("within", 10*time.Minute, "how long to wait for the others; never beyond the end of the phase")
	n := f.Uint("chunks", 0, "put in at most so many chunks; 0: all that are missing")
	dry := f.Bool("dry-run", false, "say what would be put in, and do nothing")
	if err := parse(f, args, 2, 2); err != nil {
		return err
	}
	if *within < time.Second || *n > 1024 {
		return &hinted{fmt.Errorf("%w: fund: --within %v --chunks %d: want a second or more, and at most 1024 chunks", errUsage, *within, *n), "latchkey fund DEAL POT --within 10m"}
	}
	c, err := dial(*socket)
	if err != nil {
		return err
	}
	q := &clientpb.FundRequest{Pot: f.Arg(1), Chunks: uint32(*n), Within: int64(within.Seconds()), PlanOnly: *dry}
	if q.Instance, err = wholeInstance(ctx, c, f.Arg(0)); err != nil {
		return err
	}
	r, err := c.Fund(ctx, q)
	switch {
	case err != nil:
		return plain(err)
	case *asJSON:
		return printJSON(out, r)
	}
	fmt.Fprintf(talk, "puts %s, %s, into pot %s", coins(r.Asset, r.Amount, r.Decimals), tally(r.Chunks, "chunk"), r.Pot)
	if r.Missing > 0 {
		fmt.Fprintf(talk, ", which then misses %s", tally(r.Missing, "chunk"))
	}
	fmt.Fprintln(talk)
	then := "counts as soon as it is logged"
	if len(r.WaitsFor) > 0 {
		then = fmt.Sprintf("counts when acknowledged by %s; by %s, or it comes back", strings.Join(r.WaitsFor, ", "), when(r.By, 0))
	}
	_, err = fmt.Fprintln(out, then)
	return err
}

func say(ctx context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("say", "latchkey say --instance ID WORD [VALUE] speaks a word of your party in a contract. Where the contract wants a value\nsealed, only a commitment to it goes out, and your vault keeps the value; the word that opens it needs no value.\n\nexamples:\n  latchkey say --instance 1f2e3d4c award 60\n  latchkey say --instance 1f2e3d4c --sealed bid 42\n  latchkey say --instance 1f2e3d4c show", out)
	socket, asJSON := clientFlags(f)
	instance := f.String("instance", "", "instance, as latchkey status --json shows it; its first 8 digits are enough, or those of its deal")
	sealed := f.Bool("sealed", false, "say nothing unless the contract takes a commitment to the value, and not the value, under this word")
	if err := parse(f, args, 1, 2); err != nil {
		return err
	}
	q := &clientpb.SayRequest{Instance: *instance, Word: f.Arg(0), Figure: f.Arg(1), Sealed: *sealed}
	if *sealed && q.Figure == "" {
		return &hinted{fmt.Errorf("%w: say: --sealed without a value", errUsage), "latchkey say --instance ID --sealed bid 42"}
	}
	if *instance == "" {
		return &hinted{fmt.Errorf("%w: say: --instance is missing", errUsage), "latchkey status lists the deals; the eight digits that it shows are enough"}
	}
	c, err := dial(*socket)
	if err != nil {
		return err
	}
	if q.Instance, err = wholeInstance(ctx, c, *instance); err != nil {
		return err
	}
	r, err := c.Say(ctx, q)
	switch {
	case err != nil:
		return plain(err)
	case *asJSON:
		return printJSON(out, r)
	case r.Note != "":
		fmt.Fprintln(talk, r.Note)
	}
	return nil
}

// wholeInstance returns the id of the instance that a user names by some digits.
func wholeInstance(ctx context.Context, c clientpb.ClientServiceClient, digits string) (string, error) {
	switch n := len(digits); {
	case n >= 64:
		return digits, nil
	case n < 8:
		return "", &hinted{fmt.Errorf("%w: instance %q: want eight digits or more", errUsage, digits), "latchkey status lists the deals; the eight digits that it shows are enough"}
	}
	s, err := c.Status(ctx, &clientpb.StatusRequest{})
	if err != nil {
		return "", plain(err)
	}
	return instanceOf(s, digits)
}

// instanceOf returns the one instance whose id, or whose deal's, begins with some
// digits.
func instanceOf(s *clientpb.StatusResponse, digits string) (string, error) {
	found := ""
	for _, d := range s.Deals {
		if d.Instance == "" || !strings.HasPrefix(d.Instance, digits) && !strings.HasPrefix(d.Id, digits) || d.Instance == found {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("several instances begin with %q: give more digits", digits)
		}
		found = d.Instance
	}
	if found == "" {
		return "", &hinted{fmt.Errorf("no instance begins with %q", digits), "latchkey status --json lists them"}
	}
	return found, nil
}
