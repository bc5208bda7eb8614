package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"latchkey/client/clientpb"
	"latchkey/contract/oracle"
	"latchkey/studio/figures"
)

const reportAbout = `latchkey report --instance ID FILE... brings values that latchkey oracle sign signed to a contract. It looks first
whether enough of the agreement's keys signed and whether the contract takes the value now, says what the median
is, and then what the contract did with it. Any party may do so; the same again changes nothing. Without a file,
or for -, it reads them from stdin. Of values for several times it takes the newest that the contract takes.

example:
  latchkey report --client unix:alice/client.sock --instance 0f3ac1de one.signed two.signed three.signed`

// maxReport is how many values go with one request.
const maxReport = 2000

func report(ctx context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("report", reportAbout, out)
	socket, asJSON := clientFlags(f)
	instance := f.String("instance", "", "instance, as latchkey status --json shows it; its first 8 digits are enough, or those of its deal")
	name := f.String("oracle", "", "the oracle's name in the contract, where the values serve more than one")
	at := f.String("at", "", "only the values observed at this time")
	dry := f.Bool("dry-run", false, "say what would be brought, and do nothing")
	if err := parse(f, args, 0, 1000); err != nil {
		return err
	}
	q := &clientpb.ReportRequest{Instance: *instance, Oracle: *name, PlanOnly: true}
	if *at != "" {
		var err error
		if q.At, err = figures.ParseTime(*at); err != nil {
			return &hinted{fmt.Errorf("%w: report: --at: %w", errUsage, err), "--at 2026-03-01"}
		}
	}
	files := f.Args()
	if len(files) == 0 {
		files = []string{"-"}
	}
	signed, err := signedIn(files, q.At)
	if err != nil {
		return &hinted{err, "give lines as latchkey oracle sign prints them"}
	}
	if len(signed) > maxReport {
		return &hinted{fmt.Errorf("%d values, at most %d go at once", len(signed), maxReport), "choose a time: --at 2026-03-01"}
	}
	for _, s := range signed {
		b, err := s.Encode()
		if err != nil {
			return err
		}
		q.Signed = append(q.Signed, b)
	}
	c, err := dial(*socket)
	if err != nil {
		return err
	}
	if q.Instance, err = wholeInstance(ctx, c, *instance); err != nil {
		return err
	}
	r, err := c.Report(ctx, q)
	if err != nil {
		return plain(err)
	}
	printPlan(talk, r)
	if !*dry && !r.Again {
		q.PlanOnly, q.Oracle, q.At = false, r.Oracle, r.Time // what was just said, and nothing newer
		if r, err = c.Report(ctx, q); err != nil {
			return plain(err)
		}
	}
	if *asJSON {
		return printJSON(out, r)
	}
	did := strings.Join(r.Did, "; ")
	switch {
	case r.Again:
		_, err = fmt.Fprintf(out, "brought before, in entry %d of the log; nothing is changed: %s\n", r.Entry-1, did)
	case r.State == "logged":
		_, err = fmt.Fprintf(out, "in entry %d of the log: %s\n", r.Entry-1, did)
	case r.State == "planned":
		_, err = fmt.Fprintf(out, "nothing is brought; it would do now: %s\n", did)
	default:
		fmt.Fprintln(talk, "the log does not show it yet; it is brought to the escrow until that answers: latchkey timeline shows what comes of it")
	}
	return err
}

// signedIn reads signed values from files, those of one time if it is not 0.
func signedIn(files []string, at int64) (list []oracle.Signed, err error) {
	for _, path := range files {
		some, err := readSigned(path)
		if err != nil {
			return nil, err
		}
		for _, s := range some {
			if at == 0 || s.Value.Time == at {
				list = append(list, s)
			}
		}
	}
	if len(list) == 0 && at != 0 {
		return nil, fmt.Errorf("no value in %s is of %s", strings.Join(files, ", "), figures.Time(at))
	} else if len(list) == 0 {
		return nil, fmt.Errorf("there is no value in %s", strings.Join(files, ", "))
	}
	return list, nil
}

// printPlan says what is brought before it is.
func printPlan(talk io.Writer, r *clientpb.ReportResponse) {
	for _, note := range r.Notes {
		fmt.Fprintln(talk, note)
	}
	for _, v := range r.Values {
		fmt.Fprintf(talk, "%s %s %s by %.16s\n", r.Feed, figures.Time(r.Time), v.Shown, v.Key)
	}
	fmt.Fprintf(talk, "oracle %s of %s is %s, the median of %d; %d of %d keys have to sign\n", r.Oracle, r.Contract, r.Shown, len(r.Values), r.Need, r.Of)
}
