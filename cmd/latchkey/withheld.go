package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"latchkey/client/clientpb"
	"latchkey/escrow"
	"latchkey/head"
	"latchkey/vault/enclave/config"
	"latchkey/wire"
)

// trust returns whose word makes a head count, from a vault's configuration: the
// keys that its user pinned.
func trust(path string) (head.Group, error) {
	if path == "" {
		return head.Group{}, &hinted{fmt.Errorf("%w: no vault's configuration is named", errUsage), "add --trust FILE, the configuration of your vault: its keys are those that you trust"}
	}
	c, err := config.Read(path)
	if err != nil {
		return head.Group{}, err
	}
	g := head.Group{Log: c.Trust.LogKey, Witnesses: c.Trust.Witnesses, K: c.Trust.K, F: c.Trust.F}
	if c.Trust.Role != "owner" {
		return g, errors.New("that is the configuration of an escrow's vault; a client's has the keys")
	}
	return g, g.Check()
}

func withheld(ctx context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("withheld", "latchkey withheld lists the words that you said in contracts, those about the steps\nof a settlement tit for tat, and the values of oracles that you brought, and\nwhether the escrow kept what its receipts promise: that each is in its log by a time. Where a promise is broken, it checks the proof, which is the receipt\nand the log up to a later head that the witnesses signed, and can write it to a file for others to check.\nIt ends with status 3 if a promise is broken.", out)
	socket, asJSON := clientFlags(f)
	keys := f.String("trust", "", "configuration of your vault, whose keys of escrow and witnesses you trust")
	to := f.String("out", "", "file to write the first proof to")
	from := f.String("proof", "", "check this file instead of asking the client")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	g, err := trust(*keys)
	if err != nil {
		return err
	}
	if *from != "" {
		raw, err := os.ReadFile(*from)
		if err != nil {
			return err
		}
		return checkProof(out, raw, g)
	}
	c, err := dial(*socket)
	if err != nil {
		return err
	}
	return said(ctx, c, g, *to, *asJSON, out, talk)
}

// said lists what a client has said, and proves what was withheld.
func said(ctx context.Context, c clientpb.ClientServiceClient, g head.Group, to string, asJSON bool, out, talk io.Writer) error {
	r, err := c.Words(ctx, &clientpb.WordsRequest{Prove: true})
	if err != nil {
		return plain(err)
	}
	if asJSON {
		if err := printJSON(out, r); err != nil {
			return err
		}
		out = io.Discard
	}
	if len(r.Words) == 0 && !asJSON {
		fmt.Fprintln(talk, "this client has said no word and brought no value")
		return nil
	}
	t := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "WORD OR VALUE\tINSTANCE\tSAID\tPROMISED BY\t")
	var proofs [][]byte
	for _, w := range r.Words {
		state := "waits for the escrow's receipt"
		broken := len(w.Proof) > 0
		if broken {
			err := checkProof(io.Discard, w.Proof, g)
			switch {
			case errors.Is(err, escrow.ErrKept):
				broken = false
			case !errors.Is(err, errBroken):
				return err
			}
		}
		switch {
		case w.Entry > 0:
			state = fmt.Sprintf("kept: entry %d of the log", w.Entry-1)
		case broken:
			state = "BROKEN: proof below"
			proofs = append(proofs, w.Proof)
		case w.Problem != "":
			state = "not seen: " + w.Problem
		case w.Promised > 0:
			state = "promised"
		case w.Refused != "":
			state = "refused: " + w.Refused
		}
		fmt.Fprintf(t, "%s\t%.8s\t%s\t%s\t%s\n", w.Text, w.Instance, time.UnixMilli(w.SaidMs).UTC().Format(time.TimeOnly), when(w.Promised, 0), state)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(proofs) > 0 && to != "" {
		if err := os.WriteFile(to, proofs[0], 0o600); err != nil {
			return err
		}
		fmt.Fprintf(talk, "wrote the proof to %s; anybody checks it with latchkey withheld --proof %s --trust FILE\n", to, to)
	}
	var broken error
	for _, p := range proofs {
		broken = errors.Join(broken, checkProof(out, p, g))
	}
	return broken
}

// errBroken ends the command with status 3.
var errBroken = errors.New("the escrow has broken its promise")

// checkProof prints what a proof shows, under these keys alone.
func checkProof(out io.Writer, raw []byte, g head.Group) error {
	var w escrow.Withheld
	if err := wire.Unmarshal(raw, &w); err != nil {
		return fmt.Errorf("%w: %w", escrow.ErrProof, err)
	}
	c, err := w.Check(g)
	if err != nil {
		return err
	}
	what := "word"
	if s := w.Step; s != nil {
		said := map[bool]string{true: "failed", false: "was taken"}[s.Body.Failed]
		fmt.Fprintf(out, "\nPROOF that %s withheld the word that step %d of instance %s %s:\n", g.Log.Name(), s.Body.Step, s.Body.Instance.Short(), said)
	} else if r := w.Report; r != nil {
		what = "report"
		fmt.Fprintf(out, "\nPROOF that %s withheld values of feed %s at %s, a report to instance %s:\n", g.Log.Name(), r.Signed[0].Value.Feed, wire.UTC(r.Signed[0].Value.Time), r.Instance.Short())
	} else {
		fmt.Fprintf(out, "\nPROOF that %s withheld the word %q of party %d in instance %s:\n", g.Log.Name(), w.Word.Body.Word, w.Word.Body.Role, w.Word.Body.Instance.Short())
	}
	fmt.Fprintf(out, "  its receipt, signed with the log's key, promises the %s in the log by %s\n", what, wire.UTC(w.Receipt.By))
	fmt.Fprintf(out, "  %d of its %d witnesses signed the head of %d entries at %s, %s later\n", len(c.Stamps), len(g.Witnesses), c.Size, wire.UTC(c.Time), time.Duration(c.Time-w.Receipt.By)*time.Second)
	fmt.Fprintf(out, "  all %d entries from the instance's lock to that head are here, make up its root, and none has the %s\n", len(w.Entries), what)
	return errBroken
}
