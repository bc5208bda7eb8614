package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"latchkey/contract"
	"latchkey/studio/figures"
	"latchkey/studio/picture"
	"latchkey/studio/play"
)

func contractPlot(_ context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("contract plot", "latchkey contract plot FILE [TERM=VALUE...] draws NAME.phases, the phases and what leads from one to another, and\nNAME.payoff, what each party ends up with by an oracle's value, each as SVG and as PNG. Before the value deadlines pass\nuntil the contract waits for it; after it nobody does anything.", out)
	terms := addTermFlags(f)
	of := f.String("of", "", "what the payoff is drawn over: an oracle's name, or a word that comes with a value; without it the first there is")
	from := f.String("from", "", "the least value drawn")
	to := f.String("to", "", "the greatest value drawn; without both, where something changes")
	folder := f.String("out", ".", "folder for the pictures, which are written over")
	var before []string
	f.Func("after", "what happens before the value, as a scenario says it; may be repeated", func(s string) error {
		before = append(before, s)
		return nil
	})
	rest, err := parseMixed(f, args, 1, 1000)
	if err != nil {
		return err
	}
	if info, err := os.Stat(*folder); err != nil || !info.IsDir() {
		return &hinted{fmt.Errorf("--out %s: there is no such folder", *folder), "make it first"}
	}
	b, err := bind(rest[0], rest[1:], terms, true, talk)
	if err != nil {
		return err
	}
	if b.deal == nil && (*of != "" || len(before) > 0) {
		return &hinted{fmt.Errorf("%w: the payoff needs terms", errUsage), "give each term, as TERM=VALUE"}
	}
	name := filepath.Join(*folder, strings.TrimSuffix(filepath.Base(b.path), ".latchkey"))
	phases, err := picture.Phases(b.source)
	if err != nil {
		return err
	}
	var payoff *picture.Payoff
	why := "no terms are given"
	if b.deal != nil {
		payoff, err = newPayoff(b, *of, before, *from, *to)
		if asked := *of + *from + *to; err != nil && (!errors.Is(err, picture.ErrNothing) || asked != "") {
			return err
		}
		why = strings.TrimPrefix(fmt.Sprint(err), picture.ErrNothing.Error()+": ")
	}
	if err := writePictures(out, talk, name+".phases", phases); err != nil {
		return err
	}
	if payoff == nil {
		fmt.Fprintf(talk, "no payoff is drawn: %s\n", why)
		if b.deal != nil {
			fmt.Fprintln(talk, "--after says what comes before the value")
		}
		return nil
	}
	return writePictures(out, talk, name+".payoff", payoff.Drawing())
}

func newPayoff(b *bound, of string, before []string, from, to string) (*picture.Payoff, error) {
	p := b.deal.Program()
	var acts []play.Act
	for _, text := range before {
		a, err := play.ParseAct(p, text)
		if err != nil {
			return nil, &hinted{fmt.Errorf("%w: --after: %w", errUsage, err), `--after 'buyer says "dispute"'`}
		}
		acts = append(acts, a)
	}
	typ := contract.Number
	for _, o := range p.Oracles() {
		if o.Name == of || of == "" {
			typ = o.Type
			break
		}
	}
	var ends [2]int64
	for i, text := range []string{from, to} {
		if text == "" {
			ends[i] = -int64(1-2*i) << 60
			continue
		}
		v, err := figures.Parse(typ, text)
		if err != nil {
			return nil, &hinted{fmt.Errorf("%w: %w", errUsage, err), "--from 50 --to 200"}
		}
		ends[i] = v
	}
	if from == "" && to == "" {
		ends = [2]int64{}
	}
	var seeds []int64
	for _, v := range b.settings.Values(b.program) {
		seeds = append(seeds, v)
	}
	slices.Sort(seeds)
	payoff, err := picture.NewPayoff(b.session(), of, acts, ends[0], ends[1], seeds)
	if err != nil {
		return nil, err
	}
	payoff.Terms = b.settings.String(b.program)
	if len(before) > 0 { // what the picture would say something else without
		payoff.Terms = "after " + strings.Join(before, ", ") + "; " + payoff.Terms
	}
	return payoff, nil
}

// writePictures writes a drawing as SVG and as PNG, with two dots to a pixel, fewer
// if it is large. Of one on which nothing could be read the PNG is left out.
func writePictures(out, talk io.Writer, name string, d *picture.Drawing) error {
	if err := replaceFile(name+".svg", d.SVG()); err != nil {
		return err
	}
	fmt.Fprintln(out, name+".svg")
	scale := min(2, picture.MaxDots/max(d.Width, d.Height))
	if scale < 0.6 {
		fmt.Fprintf(talk, "%s.png is left out: the picture is too large to be read as one\n", name)
		return nil
	}
	png, err := d.PNG(scale)
	if err != nil {
		return err
	}
	if err := replaceFile(name+".png", png); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, name+".png")
	return err
}
