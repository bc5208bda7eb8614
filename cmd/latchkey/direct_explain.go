package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"latchkey/client/clientpb"
	"latchkey/contract"
	"latchkey/studio/explain"
	"latchkey/studio/play"
)

// explainDraft says in plain English what a draft's contract says, with its terms
// and, as far as they are there, its chunks. The contract is compiled here, from the
// text that the parties sign.
func explainDraft(out io.Writer, r *clientpb.ReviewResponse) error {
	p, err := contract.Compile([]byte(r.Source))
	if err != nil {
		return err
	}
	var terms []int64
	var said []string
	for _, t := range r.Terms {
		terms, said = append(terms, t.Number), append(said, t.Name+" = "+t.Value)
	}
	deal, err := p.Bind(terms)
	if err != nil {
		return err
	}
	p = deal.Program() // with roles, of these numbers of holders
	weights := make([][]int64, len(r.Pots))
	for i, pot := range r.Pots {
		for _, w := range pot.Weights {
			weights[i] = append(weights[i], int64(w))
		}
		if len(pot.Weights) == 0 { // not filled yet: as if it were divisible
			weights[i] = slices.Repeat([]int64{1}, int(min(max(pot.Units, 0), contract.MaxChunks)))
		}
	}
	text, err := explain.Contract([]byte(r.Source), p, play.New(deal, weights, r.LockBy), strings.Join(said, ", "), false)
	if err != nil {
		_, err = fmt.Fprintf(out, "\nIt cannot be put into plain English: %v\n", err)
		return err
	}
	_, err = fmt.Fprintf(out, "\nThe contract, as if opened when all must have accepted at the latest:\n\n%s", text)
	return err
}
