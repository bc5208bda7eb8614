package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"latchkey/studio/figures"
	"latchkey/studio/play"
)

const simulateHelp = `what can be said here:
  2            do the second thing of the list; 2 60 with the value 60
  list         what can be done now
  what if …    what would come of it, without doing it
  undo         take the last act back
  have         who has got what so far
  history      what was done
  save FILE    write what was done as a scenario
  help, quit
and, as in a scenario:
`

func contractSimulate(ctx context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("contract simulate", "latchkey contract simulate FILE [TERM=VALUE...] plays a contract in the terminal.\n\n"+simulateHelp+play.Grammar, out)
	terms := addTermFlags(f)
	rest, err := parseMixed(f, args, 1, 1000)
	if err != nil {
		return err
	}
	b, err := bind(rest[0], rest[1:], terms, false, talk)
	if err != nil {
		return err
	}
	g := &game{bound: b, play: b.session(), out: out}
	fmt.Fprintf(out, "%s between %s", b.deal.Program().Name(), figures.List(b.deal.Program().Parties(), "and"))
	if s := b.settings.String(b.program); s != "" {
		fmt.Fprintf(out, ", with %s", s)
	}
	fmt.Fprintf(out, "\n%s  nothing has happened yet; `help` says what can be said here\n", figures.Time(b.begin))
	g.list()
	return g.run(ctx, os.Stdin)
}

// game is a play in the terminal.
type game struct {
	*bound
	play *play.Session
	out  io.Writer
}

func (g *game) run(ctx context.Context, in io.Reader) error {
	lines := bufio.NewScanner(in)
	for fmt.Fprint(g.out, "> "); lines.Scan() && ctx.Err() == nil; fmt.Fprint(g.out, "> ") {
		text := strings.TrimSpace(lines.Text())
		if text == "quit" || text == "exit" {
			return nil
		}
		if err := g.say(text); err != nil {
			fmt.Fprintf(g.out, "  no: %v\n", err)
		}
	}
	fmt.Fprintln(g.out)
	return errors.Join(lines.Err(), ctx.Err())
}

func (g *game) say(text string) error {
	word, rest, _ := strings.Cut(text, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case text == "":
		return nil
	case text == "help":
		fmt.Fprintln(g.out, simulateHelp+indented(play.Grammar))
	case text == "list":
		g.list()
	case text == "have":
		fmt.Fprintln(g.out, "  "+g.play.Balance())
	case text == "history":
		for _, a := range g.play.Acts() {
			fmt.Fprintln(g.out, "  "+a.String(g.deal.Program()))
		}
	case text == "undo":
		a, ok := g.play.Undo()
		if !ok {
			return errors.New("there is nothing to take back")
		}
		fmt.Fprintf(g.out, "  taken back: %s; it is %s again\n", a.String(g.deal.Program()), figures.Time(g.play.Now()))
		g.list()
	case strings.HasPrefix(text, "what if "):
		return g.whatIf(strings.TrimSpace(strings.TrimPrefix(text, "what if ")))
	case word == "save":
		return g.save(rest)
	default:
		a, err := g.act(text)
		if err != nil {
			return err
		}
		steps, err := g.play.Do(a)
		if err != nil {
			return err
		}
		g.show(g.play, steps)
		g.list()
	}
	return nil
}

// act reads an act, or the number of a choice with a value.
func (g *game) act(text string) (play.Act, error) {
	first, value, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(first)
	if err != nil {
		return play.ParseAct(g.deal.Program(), text)
	}
	choices := g.play.Choices()
	if n < 1 || n > len(choices) {
		return play.Act{}, fmt.Errorf("there is no %d in the list of %d", n, len(choices))
	}
	c := choices[n-1]
	switch value = strings.TrimSpace(value); {
	case c.Value && value == "":
		return play.Act{}, fmt.Errorf("a value is missing, %s: `%d VALUE`", c.Note, n)
	case !c.Value && value != "":
		return play.Act{}, fmt.Errorf("no value belongs to this: `%d`", n)
	}
	return play.ParseAct(g.deal.Program(), strings.Replace(c.Text, "…", value, 1))
}

func (g *game) show(s *play.Session, steps []play.Step) {
	if len(steps) == 0 {
		fmt.Fprintf(g.out, "  %s  time has passed\n", figures.Time(s.Now()))
	}
	for _, st := range steps {
		fmt.Fprintln(g.out, "  "+s.Title(st))
		for _, line := range s.Describe(st) {
			fmt.Fprintln(g.out, "      "+line)
		}
	}
}

// whatIf plays on in a copy: the act, and then nobody does anything.
func (g *game) whatIf(text string) error {
	a, err := g.act(text)
	if err != nil {
		return err
	}
	s := g.play.Clone()
	steps, err := s.Do(a)
	if err != nil {
		return err
	}
	g.show(s, steps)
	if !s.Closed() {
		fmt.Fprintln(g.out, "  and if nobody does anything then:")
		steps, err := s.Do(play.Act{Nobody: true})
		if err != nil {
			return err
		}
		g.show(s, steps)
	}
	fmt.Fprintf(g.out, "  in the end: %s. Nothing of this has happened.\n", s.Balance())
	return nil
}

// list shows where the play stands and what can be done.
func (g *game) list() {
	if g.play.Closed() {
		fmt.Fprintf(g.out, "  it is over: %s\n", g.play.Balance())
		return
	}
	if g.play.Opened() {
		until, _ := g.deal.Deadline(g.play.State())
		fmt.Fprintf(g.out, "  phase %s, until %s\n", g.deal.Program().Phases()[g.play.State().Phase()], figures.Time(until))
	}
	for i, c := range g.play.Choices() {
		note := ""
		if c.Note != "" {
			note = "   (" + c.Note + ")"
		}
		fmt.Fprintf(g.out, "  %2d  %s%s\n", i+1, c.Text, note)
	}
}

// save writes the play as a scenario file.
func (g *game) save(path string) error {
	if path == "" {
		return errors.New("where to? `save FILE`")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%sscenario played\n", g.settings.Head())
	begin := true
	for _, a := range g.play.Acts() {
		line := a.String(g.deal.Program())
		if begin && !a.Timed {
			line = "at " + figures.Time(g.begin) + " " + line
		}
		fmt.Fprintf(&b, "  %s\n", line)
		begin = false
	}
	if g.play.Closed() {
		fmt.Fprintln(&b, "  expect closed")
	}
	for i, party := range g.deal.Program().Parties() {
		for j, pot := range g.deal.Program().Pots() {
			if v := g.play.Got(i, j); v > 0 {
				fmt.Fprintf(&b, "  expect %s has %d of %s\n", party, v, pot.Name)
			}
		}
	}
	if err := writeNew(path, []byte(b.String())); err != nil {
		return err
	}
	fmt.Fprintf(g.out, "  written: %s\n", path)
	return nil
}

func indented(text string) string {
	return "  " + strings.ReplaceAll(text, "\n", "\n  ")
}
