package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"latchkey/contract/oracle"
	"latchkey/feed"
	"latchkey/keyfile"
	"latchkey/studio/figures"
)

const oracleUsage = `latchkey oracle signs values for contracts, each for the time at which it was observed.

usage:
  latchkey oracle key    FILE                 make a key; its public half is printed
  latchkey oracle sign   --key FILE --feed gold/usd --decimals 2 --at TIME --value 1950.25
  latchkey oracle sign   --key FILE --feed gold/usd --decimals 2 --file VALUES
  latchkey oracle sign   --key FILE --feed gold/usd --decimals 2 --url https://… --pointer /data/price [--every 1m]
  latchkey oracle verify [--need 2 --by PUBLIC,PUBLIC,…] FILE...

A key signs one value of a feed for one time. What it has signed is in FILE.journal;
keep it with the key: two values for one time are a fraud that anybody can prove.

example:
  latchkey oracle key gold.key
  latchkey oracle sign --key gold.key --feed gold/usd --decimals 2 --at 2026-03-01 --value 1950.25 > signed
  latchkey oracle verify signed
`

// oracleCommand runs `latchkey oracle …`.
func oracleCommand(ctx context.Context, args []string, out, talk io.Writer) error {
	commands := map[string]command{"key": oracleKey, "sign": oracleSign, "verify": oracleVerify}
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		fmt.Fprint(out, oracleUsage)
		return nil
	}
	f := commands[args[0]]
	if f == nil {
		return &hinted{fmt.Errorf("%w: oracle: unknown command %q", errUsage, args[0]), "latchkey oracle help lists the commands"}
	}
	return f(ctx, args[1:], out, talk)
}

func oracleKey(_ context.Context, args []string, out, _ io.Writer) error {
	f := newFlags("oracle key", "latchkey oracle key FILE makes an oracle's key and prints its public half, which agreements name.", out)
	rest, err := parseMixed(f, args, 1, 1)
	if err != nil {
		return err
	}
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	if err := keyfile.Write(rest[0], key); err != nil {
		return &hinted{err, "nothing is overwritten; name a file that is not there"}
	}
	_, err = fmt.Fprintln(out, hex.EncodeToString(public))
	return err
}

// signedLine is a signed value as it is printed and read: the fields before Signed are for people.
type signedLine struct {
	Feed   string `json:"feed"`
	Time   int64  `json:"time"`
	Value  int64  `json:"value"`
	Key    string `json:"key"`
	Signed string `json:"signed"` // oracle.Signed, encoded, in hexadecimal digits
}

func oracleSign(ctx context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("oracle sign", "latchkey oracle sign signs values from the command line, a file, or an HTTP source, and prints each as a line of JSON.\nOf a file each line is TIME VALUE. An HTTP source is asked now, or at each full --every, which is then the time of\nobservation.", out)
	keyFile := f.String("key", "", "file with the key")
	journal := f.String("journal", "", "what the key has signed (default: the key's file with .journal behind it)")
	name := f.String("feed", "", "the feed's name, as gold/usd")
	decimals := f.Int("decimals", 0, "decimals that count: with 2, 19.50 is signed as 1950; the rest is cut off")
	at := f.String("at", "", "time of the observation of --value")
	value := f.String("value", "", "a value")
	file := f.String("file", "", "file of values")
	address := f.String("url", "", "address that answers with JSON: https, or http on this machine")
	pointer := f.String("pointer", "", "where in the answer the value is, as /data/price (RFC 6901)")
	every := f.Duration("every", 0, "ask again and again, at each full minute, say")
	count := f.Int("count", 0, "end after so many values; 0: go on")
	if _, err := parseMixed(f, args, 0, 0); err != nil {
		return err
	}
	hint := "latchkey oracle sign -h"
	if err := oracle.CheckFeed(*name); err != nil {
		return &hinted{fmt.Errorf("%w: --feed: %w", errUsage, err), hint}
	}
	sources := 0
	for _, s := range []string{*value, *file, *address} {
		if s != "" {
			sources++
		}
	}
	switch {
	case *keyFile == "":
		return &hinted{fmt.Errorf("%w: no key is named", errUsage), "latchkey oracle key FILE makes one; then --key FILE"}
	case sources != 1:
		return &hinted{fmt.Errorf("%w: %d sources of values are named, not one", errUsage, sources), "one of --value, --file and --url"}
	case (*value != "") != (*at != ""):
		return &hinted{fmt.Errorf("%w: --value and --at belong together", errUsage), "--at 2026-03-01 --value 19.50"}
	case *decimals < 0 || *decimals > 18 || *count < 0 || *every < 0 || *every > 0 && (*every < time.Second || *every%time.Second != 0 || *address == ""):
		return &hinted{fmt.Errorf("%w: --decimals is 0 to 18, --every whole seconds with --url", errUsage), hint}
	}
	key, err := keyfile.Read(*keyFile)
	if err != nil {
		return &hinted{err, "latchkey oracle key FILE makes a key"}
	}
	if *journal == "" {
		*journal = *keyFile + ".journal"
	}
	signer, err := feed.NewSigner(*journal, key)
	if err != nil {
		return err
	}
	defer func() { _ = signer.Close() }() // what counts was synced
	sign := func(o feed.Observation) error {
		s, err := signer.Sign(oracle.Value{Feed: *name, Time: o.Time, Value: o.Value})
		if err != nil {
			return err
		}
		return printSigned(out, s)
	}
	if *address != "" {
		source, err := feed.NewHTTP(*address, *pointer, *decimals)
		if err != nil {
			return &hinted{err, hint}
		}
		return observe(ctx, source, *every, *count, sign, talk)
	}
	list, err := valuesGiven(*file, *at, *value, *decimals)
	if err != nil {
		return err
	}
	for _, o := range list {
		if err := sign(o); err != nil {
			return err
		}
	}
	return nil
}

func valuesGiven(file, at, value string, decimals int) ([]feed.Observation, error) {
	if file == "" {
		t, err := figures.ParseTime(at)
		if err != nil {
			return nil, &hinted{fmt.Errorf("%w: --at: %w", errUsage, err), "--at 2026-03-01"}
		}
		v, err := feed.Scale(value, decimals)
		if err != nil {
			return nil, &hinted{fmt.Errorf("%w: --value: %w", errUsage, err), "--value 19.50"}
		}
		return []feed.Observation{{Time: t, Value: v}}, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := feed.ReadFile(f, decimals, figures.ParseTime)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return list, nil
}

// observe asks a source now, or at each full interval until it is stopped. A source
// that fails is asked again at the next one.
func observe(ctx context.Context, source *feed.HTTP, every time.Duration, count int, sign func(feed.Observation) error, talk io.Writer) error {
	for n := 0; ; {
		at := time.Now()
		if every > 0 {
			at = at.Truncate(every).Add(every)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Until(at)):
			}
		}
		v, err := source.Observe(ctx)
		switch {
		case err == nil:
			if err := sign(feed.Observation{Time: at.Unix(), Value: v}); err != nil {
				return err
			}
			n++
		case every == 0 || ctx.Err() != nil:
			return err
		default:
			fmt.Fprintf(talk, "%s: nothing is signed: %v\n", figures.Time(at.Unix()), err)
		}
		if every == 0 || count > 0 && n >= count {
			return nil
		}
	}
}

func printSigned(out io.Writer, s oracle.Signed) error {
	b, err := s.Encode()
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(signedLine{s.Value.Feed, s.Value.Time, s.Value.Value, hex.EncodeToString(s.Key), hex.EncodeToString(b)})
}

func oracleVerify(_ context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("oracle verify", "latchkey oracle verify FILE... checks signed values, and prints what counts for each time: the median of what the keys\nof a quorum signed, if --by and --need say which. It looks for keys that signed two values for one time. - is stdin.", out)
	by := f.String("by", "", "public keys of the quorum, separated by commas")
	need := f.Uint("need", 0, "how many of them have to sign")
	rest, err := parseMixed(f, args, 1, 1000)
	if err != nil {
		return err
	}
	quorum, err := parseQuorum(*by, *need)
	if err != nil {
		return err
	}
	var all []oracle.Signed
	for _, path := range rest {
		list, err := readSigned(path)
		if err != nil {
			return err
		}
		all = append(all, list...)
	}
	slices.SortFunc(all, func(a, b oracle.Signed) int {
		x, y := a.Value, b.Value
		return cmp.Or(cmp.Compare(x.Feed, y.Feed), cmp.Compare(x.Time, y.Time), bytes.Compare(a.Key, b.Key), cmp.Compare(x.Value, y.Value))
	})
	all = slices.CompactFunc(all, func(a, b oracle.Signed) bool { return a.Value == b.Value && bytes.Equal(a.Key, b.Key) })
	frauds := 0
	for len(all) > 0 {
		n := slices.IndexFunc(all, func(s oracle.Signed) bool {
			return s.Value.Feed != all[0].Value.Feed || s.Value.Time != all[0].Value.Time
		})
		if n < 0 {
			n = len(all)
		}
		frauds += showRound(out, talk, all[:n], quorum)
		all = all[n:]
	}
	if frauds > 0 {
		return &hinted{fmt.Errorf("two values for one time, signed by %s", tally(frauds, "key")), "anybody can verify it from the lines printed; do not use these keys"}
	}
	return nil
}

// parseQuorum reads the keys and how many are needed; nil if none are given.
func parseQuorum(by string, need uint) (*oracle.Quorum, error) {
	if by == "" && need == 0 {
		return nil, nil
	}
	q := &oracle.Quorum{Feed: "any", Need: uint32(min(need, 1<<16))}
	for _, k := range strings.Split(by, ",") {
		b, err := hex.DecodeString(strings.TrimSpace(k))
		if err != nil {
			return nil, &hinted{fmt.Errorf("%w: --by: %q is not a key in hexadecimal digits", errUsage, k), "latchkey oracle key prints one"}
		}
		q.Keys = append(q.Keys, b)
	}
	slices.SortFunc(q.Keys, bytes.Compare)
	if err := q.Check(); err != nil {
		return nil, &hinted{fmt.Errorf("%w: --by, --need: %w", errUsage, err), "--need 2 --by KEY,KEY,KEY"}
	}
	return q, nil
}

func readSigned(path string) (list []oracle.Signed, err error) {
	in := io.Reader(os.Stdin)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var line signedLine
		err := json.Unmarshal(lines.Bytes(), &line)
		raw, err2 := hex.DecodeString(line.Signed)
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("%s, line %d: no signed value: %w", path, n, err)
		}
		s, err := oracle.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, n, err)
		}
		if line.Feed != s.Value.Feed || line.Time != s.Value.Time || line.Value != s.Value.Value || line.Key != hex.EncodeToString(s.Key) {
			return nil, fmt.Errorf("%s, line %d: the line says something else than what is signed", path, n)
		}
		list = append(list, s)
	}
	return list, lines.Err()
}

// showRound prints what was signed for one feed and time, and returns how many keys
// have signed two values.
func showRound(out, talk io.Writer, round []oracle.Signed, q *oracle.Quorum) (frauds int) {
	v := round[0].Value
	var counted []oracle.Signed
	for i, s := range round {
		fmt.Fprintf(out, "%s %s %d by %x\n", v.Feed, figures.Time(v.Time), s.Value.Value, s.Key[:8])
		if i > 0 && bytes.Equal(s.Key, round[i-1].Key) {
			if oracle.NewFraud(round[i-1], s).Verify() == nil {
				fmt.Fprintf(talk, "FRAUD: %x has signed %d and %d for %s at %s\n", s.Key, round[i-1].Value.Value, s.Value.Value, v.Feed, figures.Time(v.Time))
				frauds++
			}
			continue
		}
		if q != nil && slices.ContainsFunc(q.Keys, func(k []byte) bool { return bytes.Equal(k, s.Key) }) {
			counted = append(counted, s)
		}
	}
	if q == nil {
		return frauds
	}
	of := *q
	of.Feed = v.Feed
	if median, _, err := of.Median(counted); err != nil {
		fmt.Fprintf(out, "%s %s does not count: %v\n", v.Feed, figures.Time(v.Time), err)
	} else {
		fmt.Fprintf(out, "%s %s counts as %d, the median of %d\n", v.Feed, figures.Time(v.Time), median, len(counted))
	}
	return frauds
}
