package main

import (
	"context"
	"fmt"
	"io"

	"latchkey/studio/explain"
	"latchkey/studio/play"
	"latchkey/studio/scenario"
)

func contractExplain(_ context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("contract explain", "latchkey contract explain FILE [TERM=VALUE...] says in plain English who can do what until when, what happens if nobody\ndoes anything, and who could gain by silence. Without terms it makes some up for the examples, and says so.", out)
	terms := addTermFlags(f)
	rest, err := parseMixed(f, args, 1, 1000)
	if err != nil {
		return err
	}
	b, err := bind(rest[0], rest[1:], terms, true, talk)
	if err != nil {
		return err
	}
	example := false
	if b.deal == nil {
		if example = b.example(); !example {
			fmt.Fprintln(talk, "no terms are given, and none were found that meet the requirements: figures are left out")
		}
	}
	var s *play.Session
	if b.deal != nil {
		s = b.session()
	}
	text, err := explain.Contract(b.source, b.program, s, b.settings.String(b.program), example)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(out, text)
	return err
}

// example fills a contract in with terms that are nobody's.
func (b *bound) example() bool {
	settings, ok := scenario.Example(b.program)
	if !ok {
		return false
	}
	deal, weights, err := settings.Bind(b.program)
	if err != nil {
		return false
	}
	b.settings, b.deal, b.weights, b.begin = settings, deal, weights, settings.Begin(b.program)
	return true
}
