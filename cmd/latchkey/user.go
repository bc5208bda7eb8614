package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"latchkey/client"
	"latchkey/client/clientpb"
	"latchkey/coin"
	"latchkey/rate"
)

// clientFlags adds the flags that every user's command has.
func clientFlags(f *flag.FlagSet) (socket *string, asJSON *bool) {
	return f.String("client", os.Getenv("LATCHKEY_CLIENT"), "where the client's host listens: unix:PATH or http://127.0.0.1:PORT"),
		f.Bool("json", false, "print JSON")
}

func dial(socket string) (clientpb.ClientServiceClient, error) {
	if socket == "" {
		return nil, &hinted{fmt.Errorf("%w: no client is named", errUsage), "add --client unix:PATH, or set LATCHKEY_CLIENT"}
	}
	return client.Dial(socket)
}

// plain takes the RPC's code off an error: people read the reason.
func plain(err error) error {
	var c *connect.Error
	if errors.As(err, &c) {
		switch c.Code() {
		case connect.CodeUnavailable:
			return &hinted{errors.New(c.Message()), "is the client's host running? see its log"}
		case connect.CodeUnimplemented: // 404, from a connector or for metrics
			return &hinted{fmt.Errorf("what listens there is no client's host: %s", c.Message()), "name the address in field listen of client.toml"}
		}
		return errors.New(c.Message())
	}
	return err
}

func printJSON(out io.Writer, m proto.Message) error {
	b, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return err
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil { // protojson's spaces vary on purpose
		return err
	}
	b, err = json.MarshalIndent(v, "", "  ")
	if err == nil {
		_, err = fmt.Fprintln(out, string(b))
	}
	return err
}

func coins(asset, amount string, decimals uint32) string {
	a, err := coin.ParseAmount(amount)
	if err != nil {
		return amount + " units of " + asset
	}
	return a.Decimal(int(decimals)) + " " + asset
}

// tally writes a number of things: 1 chunk, 2 chunks.
func tally[N int | int64 | uint | uint32 | uint64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// contractAs says which side of what contract a deal is; of one that was declined as it
// came, neither is known.
func contractAs(contract, role string) string {
	switch {
	case contract == "":
		return "a proposal"
	case role == "":
		return contract
	}
	return contract + " as " + role
}

func when(unix, now int64) string {
	if unix == 0 {
		return ""
	}
	t := time.Unix(unix, 0).UTC().Format("2006-01-02 15:04:05Z")
	if d := time.Duration(unix-now) * time.Second; now > 0 && d > 0 && d < time.Hour {
		t += " (in " + d.String() + ")"
	}
	return t
}

func status(ctx context.Context, args []string, out, _ io.Writer) error {
	f := newFlags("status", "latchkey status says what there is, what each thing waits for, until when, and what happens then.", out)
	socket, asJSON := clientFlags(f)
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	c, err := dial(*socket)
	if err != nil {
		return err
	}
	s, err := c.Status(ctx, &clientpb.StatusRequest{})
	if err != nil {
		return plain(err)
	}
	if *asJSON {
		return printJSON(out, s)
	}
	fmt.Fprintf(out, "%s, vault %s, witnesses' time %s\n", s.Name, s.Vault, when(s.Now, 0))
	for _, p := range s.Problems {
		fmt.Fprintln(out, "PROBLEM", p)
	}
	t := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	head := func(rows int, columns string) { // what there is none of is not shown
		if rows > 0 {
			fmt.Fprintln(t, columns)
		}
	}
	fmt.Fprintln(t, "\nWALLET\tCONFIRMED\tPENDING\tADDRESS")
	for _, b := range s.Balances {
		if b.Problem != "" {
			fmt.Fprintf(t, "%s\t%s\t\t\n", b.Asset, b.Problem)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", b.Asset, coins(b.Asset, b.Confirmed, b.Decimals), coins(b.Asset, b.Pending, b.Decimals), b.Address)
	}
	head(len(s.Chunks), "\nCHUNK\tHOLDS\tSTATE\tWAITS FOR\tUNTIL\tTHEN")
	for _, c := range s.Chunks {
		fmt.Fprintf(t, "%.8s\t%s\t%s\t%s\t%s\t%s\n", c.Id, coins(c.Asset, c.Amount, c.Decimals), c.State, c.Wait.WaitsFor, when(c.Wait.Until, s.Now), c.Wait.Then)
	}
	head(len(s.Deals), "\nDEAL\tCONTRACT\tSTATE\tAT RISK\tWAITS FOR\tUNTIL\tTHEN")
	for _, d := range s.Deals {
		risk := tally(d.AtRisk, "unit")
		switch d.State {
		case "owned", "paid", "ended", "declined": // it is over
			risk = "nothing"
		}
		fmt.Fprintf(t, "%.8s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Id, contractAs(d.Contract, d.Role), d.State, risk, d.Wait.WaitsFor, when(d.Wait.Until, s.Now), d.Wait.Then)
	}
	head(len(s.Drafts), "\nDRAFT\tCONTRACT\tSTATE\tWAITS FOR\tUNTIL\tTHEN")
	for _, d := range s.Drafts {
		fmt.Fprintf(t, "%.8s\t%s\t%s\t%s\t%s\t%s\n", d.Id, contractAs(d.Contract, d.Role), d.State, d.Wait.WaitsFor, when(d.Wait.Until, s.Now), d.Wait.Then)
	}
	head(len(s.Offers), "\nOFFER\tWAITS FOR\tTHEN")
	for _, o := range s.Offers {
		fmt.Fprintf(t, "%s\t%s\t%s\n", o.What, o.WaitsFor, o.Then)
	}
	fmt.Fprintln(t)
	for _, c := range s.Choices {
		fmt.Fprintln(t, c)
	}
	return t.Flush()
}

func timeline(ctx context.Context, args []string, out, _ io.Writer) error {
	f := newFlags("timeline", "latchkey timeline prints what has happened; with --follow it goes on.", out)
	socket, asJSON := clientFlags(f)
	follow := f.Bool("follow", false, "wait for more")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	c, err := dial(*socket)
	if err != nil {
		return err
	}
	var after uint64
	for {
		q := &clientpb.TimelineRequest{After: after}
		if *follow {
			q.WaitMs = 20_000
		}
		r, err := c.Timeline(ctx, q)
		if err != nil {
			return plain(err)
		}
		for _, e := range r.Events {
			after = e.Seq
			if *asJSON {
				b, err := protojson.Marshal(e)
				if err != nil {
					return err
				}
				fmt.Fprintln(out, string(b))
				continue
			}
			line := fmt.Sprintf("%s  %-10s %s %s", time.UnixMilli(e.AtMs).UTC().Format("15:04:05.000"), e.Kind, e.Text, strings.Join(e.Txs, " "))
			fmt.Fprintln(out, strings.TrimRight(line, " "))
		}
		if !*follow && len(r.Events) == 0 {
			return nil
		}
	}
}

func cents(text string) (uint64, error) {
	c, err := rate.ParseCents(text)
	if err == nil && c == 0 {
		err = errors.New("that is nothing")
	}
	if err != nil {
		if text == "" {
			err = errors.New("how much is not said")
		}
		return 0, &hinted{fmt.Errorf("%w: --usd %q: %w", errUsage, text, err), "an amount of dollars, such as 500 or 99.50"}
	}
	return uint64(c), nil
}

func deposit(ctx context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("deposit", "latchkey deposit pays coins from your wallet to keys that your vault and the escrow make together,\nin standard chunks. They stay yours; without a contract only your vault can take them back.", out)
	socket, asJSON := clientFlags(f)
	asset := f.String("asset", "", "asset, such as btc")
	usd := f.String("usd", "", "about how much, in dollars")
	weight := f.Uint("weight", 5, "units of each chunk: 1, 2, 5, 10 …; a unit is about $10")
	serves := f.String("for", "", "DEAL:POT, chunks of the denomination that was agreed for a pot which is filled later, instead of today's")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *asset == "" {
		return &hinted{fmt.Errorf("%w: deposit: --asset is missing", errUsage), "latchkey deposit --asset btc --usd 500; latchkey status shows the wallets that there are"}
	}
	n, err := cents(*usd)
	if err != nil {
		return err
	}
	w := uint32(min(*weight, math.MaxUint32)) // never another number than what was said
	if err := coin.CheckWeight(w); err != nil {
		return &hinted{fmt.Errorf("%w: --weight %d: %w", errUsage, *weight, err), "5 is the usual one"}
	}
	c, err := dial(*socket)
	if err != nil {
		return err
	}
	q := &clientpb.DepositRequest{Asset: *asset, UsdCents: n, Weight: w}
	if *serves != "" {
		deal, pot, ok := strings.Cut(*serves, ":")
		if !ok || deal == "" || pot == "" {
			return &hinted{fmt.Errorf("%w: --for %q: want DEAL:POT", errUsage, *serves), "latchkey status lists the deals, latchkey review their pots"}
		}
		q.Pot = pot
		if q.Instance, err = wholeInstance(ctx, c, deal); err != nil {
			return err
		}
	}
	fmt.Fprintf(talk, "paying about $%s of %s from your wallet into chunks of %s\n", *usd, *asset, tally(*weight, "unit"))
	r, err := c.Deposit(ctx, q)
	if err != nil {
		return plain(err)
	}
	if *asJSON {
		return printJSON(out, r)
	}
	_, err = fmt.Fprintf(out, "%s of denomination %s; funding goes on by itself: see latchkey status\n", tally(r.Chunks, "chunk"), r.Denomination)
	return err
}

// maxPremium bounds what is asked for, in basis points; a switchboard allows less.
const maxPremium = 10_000

func exchange(ctx context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("exchange", "latchkey exchange offers what you have deposited for another asset. Settled atomically, all chunks change hands\nat once; tit for tat, a few at a time and in turn, each looked at by your wallet before the next goes out.", out)
	socket, asJSON := clientFlags(f)
	give := f.String("give", "", "asset that you give")
	want := f.String("want", "", "asset that you want")
	usd := f.String("usd", "", "about how much you want, in dollars")
	premium := f.Int("premium", 0, "basis points that what you give may be worth more than what you get")
	name := f.String("contract", "Swap", "contract, as the switchboard trades it")
	role := f.Uint("role", 0, "which of its two parties you are: 0 or 1")
	good := f.Duration("good-for", time.Hour, "how long the offer stands")
	manner := settleFlags(f)
	maxLoss := f.Uint64("max-loss", 0, "units that you may lose at most; proposals by which you could lose more are declined (0: no bound, or the\nconfigured one)")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	n, err := cents(*usd)
	if err != nil {
		return err
	}
	switch {
	case *give == "" || *want == "" || *give == *want:
		return &hinted{fmt.Errorf("%w: exchange: --give %q --want %q: want two assets", errUsage, *give, *want), "latchkey exchange --give btc --want eth --usd 500"}
	case *premium < -maxPremium || *premium > maxPremium:
		return &hinted{fmt.Errorf("%w: --premium %d: want %d to %d basis points", errUsage, *premium, -maxPremium, maxPremium), "100 basis points are one per cent"}
	case *role > 1:
		return &hinted{fmt.Errorf("%w: --role %d: want 0 or 1", errUsage, *role), "0 is the contract's first party, 1 its second"}
	case *good < time.Second:
		return &hinted{fmt.Errorf("%w: --good-for %s: want a second or more", errUsage, *good), "an hour is 1h"}
	}
	how, pace, settled, err := manner()
	if err != nil {
		return err
	}
	c, err := dial(*socket)
	if err != nil {
		return err
	}
	fmt.Fprintf(talk, "offering %s for about $%s of %s, settled %s\n", *give, *usd, *want, settled)
	switch {
	case how == "atomic":
		fmt.Fprintln(talk, "if what you get turns out to be worth nothing, you lose all that you give")
	default:
		fmt.Fprintln(talk, "what you can lose at most is computed for each proposal before it is accepted: see latchkey timeline and status")
	}
	r, err := c.Offer(ctx, &clientpb.OfferRequest{
		Contract: *name, Give: *give, Want: *want, UsdCents: n, PremiumBps: int32(*premium), Role: uint32(*role), GoodFor: int64(good.Seconds()),
		Settle: how, MaxLoss: *maxLoss, Pace: pace,
	})
	if err != nil {
		return plain(err)
	}
	if *asJSON {
		return printJSON(out, r)
	}
	_, err = fmt.Fprintln(out, r.Id)
	return err
}

// settleFlags has the flags that say how something is settled, and reads them: the
// way, the pace, and both in words.
func settleFlags(f *flag.FlagSet) func() (how string, pace *clientpb.Pace, text string, err error) {
	how := f.String("settle", "atomic", "atomic: all at once; tit-for-tat: the sides' chunks in turn, in steps that grow")
	first := f.Uint("first", 0, "tit-for-tat: units of the first round (0: 5)")
	growth := f.Uint("growth", 0, "tit-for-tat: percent of a round that the next one has (0: 200)")
	most := f.Uint("most", 0, "tit-for-tat: units of the greatest round (0: 20)")
	wait := f.Duration("wait", 0, "tit-for-tat: how long a step waits for its receiver's word (0: ten minutes)")
	return func() (string, *clientpb.Pace, string, error) {
		var pace [4]uint32
		for i, n := range []uint64{uint64(*first), uint64(*growth), uint64(*most), uint64(max(0, *wait) / time.Second)} {
			if pace[i] = uint32(n); uint64(pace[i]) != n {
				return "", nil, "", &hinted{fmt.Errorf("%w: %d is too great for a pace", errUsage, n), "latchkey " + f.Name() + " -h"}
			}
		}
		text := ""
		switch *how {
		case "atomic":
			text = "all at once"
		case "tit-for-tat":
			text = "step by step, tit for tat"
		default:
			return "", nil, "", &hinted{fmt.Errorf("%w: --settle %q: want atomic or tit-for-tat", errUsage, *how), "latchkey " + f.Name() + " -h"}
		}
		return *how, &clientpb.Pace{First: pace[0], Growth: pace[1], Most: pace[2], Wait: pace[3]}, text, nil
	}
}

func cancel(ctx context.Context, args []string, out, _ io.Writer) error {
	f := newFlags("cancel", "latchkey cancel OFFER closes an offer; what was agreed already goes on.", out)
	socket, _ := clientFlags(f)
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	if len(f.Arg(0)) != 32 {
		return &hinted{fmt.Errorf("%w: cancel: offer %.40q: want the 32 digits of its id", errUsage, f.Arg(0)), "latchkey exchange printed them, and latchkey status shows them"}
	}
	c, err := dial(*socket)
	if err == nil {
		_, err = c.Cancel(ctx, &clientpb.CancelRequest{Id: f.Arg(0)})
	}
	return plain(err)
}

// chunkOf returns the id of the chunk that begins with these digits, eight or more.
func chunkOf(chunks []*clientpb.Chunk, digits string) (string, error) {
	if len(digits) < 8 {
		return "", fmt.Errorf("chunk %q: want eight digits of its id, or more", digits)
	}
	found := ""
	for _, ch := range chunks {
		switch {
		case !strings.HasPrefix(ch.Id, digits):
		case found != "":
			return "", fmt.Errorf("chunk %q: more than one begins so", digits)
		default:
			found = ch.Id
		}
	}
	if found == "" {
		return "", fmt.Errorf("chunk %q: this client has none that begins so", digits)
	}
	return found, nil
}

func claim(ctx context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("claim", "latchkey claim CHUNK... takes the private keys of chunks out and sweeps their coins to your wallet.", out)
	socket, _ := clientFlags(f)
	if err := parse(f, args, 1, 1000); err != nil {
		return err
	}
	c, err := dial(*socket)
	if err != nil {
		return err
	}
	ids := f.Args()
	s, err := c.Status(ctx, &clientpb.StatusRequest{})
	if err != nil {
		return plain(err)
	}
	for i, id := range ids {
		if ids[i], err = chunkOf(s.Chunks, id); err != nil {
			return &hinted{err, "latchkey status lists the chunks; the eight digits that it shows are enough"}
		}
	}
	fmt.Fprintf(talk, "claiming %s and sweeping the coins to your wallet, which costs a fee on chain\n", tally(len(ids), "chunk"))
	_, err = c.Claim(ctx, &clientpb.ClaimRequest{Chunks: ids})
	return plain(err)
}
