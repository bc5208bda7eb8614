package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"latchkey/client/clientpb"
)

// oracleChoices reads --oracle and --feed.
func oracleChoices(oracles, feeds []string) (list []*clientpb.OracleChoice, err error) {
	by := map[string]*clientpb.OracleChoice{}
	for _, x := range oracles {
		name, said, ok := strings.Cut(x, "=")
		if !ok || name == "" || by[name] != nil {
			return nil, fmt.Errorf("--oracle %.80q: write NAME=2:KEY,KEY,KEY or NAME=FILE, each name once", x)
		}
		var c *clientpb.OracleChoice
		if need, keys, ok := strings.Cut(said, ":"); ok && allDigits(need) {
			c, err = quorumOf(need, strings.Split(keys, ","))
		} else {
			c, err = quorumIn(said)
		}
		if err != nil {
			return nil, fmt.Errorf("--oracle %s: %w", name, err)
		}
		c.Name, by[name] = name, c
		list = append(list, c)
	}
	for _, x := range feeds {
		name, feed, _ := strings.Cut(x, "=")
		c := by[name]
		switch {
		case c == nil || feed == "":
			return nil, fmt.Errorf("--feed %.80q: write NAME=FEED, with the name of an --oracle", x)
		case c.Feed != "" && c.Feed != feed:
			return nil, fmt.Errorf("--feed %.80q: oracle %s is of feed %s already", x, name, c.Feed)
		}
		c.Feed = feed
	}
	return list, nil
}

func allDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func quorumOf(need string, keys []string) (*clientpb.OracleChoice, error) {
	n, err := strconv.ParseUint(need, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%q is no number of keys", need)
	}
	c := &clientpb.OracleChoice{Need: uint32(n)}
	for _, k := range keys {
		b, err := hex.DecodeString(strings.TrimSpace(k))
		if err != nil || len(b) != 32 {
			return nil, fmt.Errorf("%.80q is not a key of 64 hexadecimal digits", k)
		}
		c.Keys = append(c.Keys, b)
	}
	return c, nil
}

// quorumIn reads a file of an oracle: lines feed FEED, need NUMBER and key KEY, and
// comments.
func quorumIn(path string) (*clientpb.OracleChoice, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("neither K:KEY,KEY… nor a file: %w", err)
	}
	var need, feed string
	var keys []string
	for i, line := range strings.Split(string(b), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case len(words) == 2 && words[0] == "need" && need == "":
			need = words[1]
		case len(words) == 2 && words[0] == "feed" && feed == "":
			feed = words[1]
		case len(words) == 2 && words[0] == "key":
			keys = append(keys, words[1])
		case len(words) == 1: // as latchkey oracle key printed it
			keys = append(keys, words[0])
		default:
			return nil, fmt.Errorf("%s, line %d: want need NUMBER, feed FEED or key KEY", path, i+1)
		}
	}
	if need == "" {
		return nil, fmt.Errorf("%s: no line says how many keys have to sign: need 2", path)
	}
	c, err := quorumOf(need, keys)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c.Feed = feed
	return c, nil
}

// printOracles shows whose word moves a contract, and how far its outcomes were
// explored.
func printOracles(out io.Writer, r *clientpb.ReviewResponse) {
	for _, o := range r.Oracles {
		fmt.Fprintf(out, "\nORACLE %s reads feed %s, from %s to %s: %d of %d keys have to sign, and their median counts\n", o.Name, o.Feed, o.Least, o.Most, o.Need, len(o.Keys))
		for _, k := range o.Keys {
			fmt.Fprintf(out, "  %s\n", k)
		}
		if o.Liars == 0 {
			fmt.Fprintln(out, "  a single key that lies can move what counts")
		} else {
			fmt.Fprintf(out, "  while at most %d of them lie, what counts lies between values of honest ones\n", o.Liars)
		}
	}
	if r.States != 0 || r.Moves != 0 {
		fmt.Fprintf(out, "\nIts outcomes are explored up to %d states and %d moves, for which every vault signs; the usual bounds are lower.\n", r.States, r.Moves)
	}
}
