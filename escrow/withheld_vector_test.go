package escrow

import (
	"flag"
	"testing"

	"latchkey/contract/oracle"
	"latchkey/spec/vectors"
	"latchkey/vault"
	"latchkey/wire"
)

var update = flag.Bool("update", false, "write spec/vectors/direct/withheld.json anew")

type withheldVector struct {
	Name   string      `json:"name"`
	Expect string      `json:"expect"`
	CBOR   vectors.Hex `json:"cbor"`
}

// TestWithheldVectors has what proves that a word, or a report of an oracle's values, was withheld, and what does not.
func TestWithheldVectors(t *testing.T) {
	c := courtOf(t, "court")
	word, logged := c.word(1), c.word(2)
	report, noted := c.report(500), c.report(600)
	c.add(vault.Entry{Run: &vault.Run{Instance: c.instance, Kind: vault.RunWord, Word: &logged}})
	c.add(vault.Entry{Run: &vault.Run{Instance: c.instance, Kind: vault.RunReport, Report: &noted}})
	c.add(vault.Entry{Drop: &vault.Drop{}})
	var made vectors.File[withheldVector]
	made.About = "Proofs that the escrow of log escrow.test/log withheld a word, one about a step, or a report, under the keys of SHA-256(court/escrow) and court/witness0 to 3 (w0.test to w3.test; k = 3, f = 1)."
	add := func(name, expect string, w Withheld) {
		raw, err := wire.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		made.Cases = append(made.Cases, withheldVector{name, expect, raw})
	}
	of := func(change func(*Withheld)) Withheld {
		w := c.proofOf(report, 1000, 1001)
		r := *w.Report
		w.Report = &r
		change(&w)
		return w
	}
	add("a word", "ok", c.proof(word, 1000, 1001))
	add("a report", "ok", c.proofOf(report, 1000, 1001))
	add("a word that is logged", "error: the promise is not broken", c.proof(logged, 1000, 1001))
	add("a report that is logged", "error: the promise is not broken", c.proofOf(noted, 1000, 1001))
	add("a report, at the promised second", "error: the promise is not broken", c.proofOf(report, 1000, 1000))
	again := noted
	again.After = vault.Index(len(c.entries))
	add("a report brought again after it was logged", "ok", c.proofOf(again, 1000, 1001))
	add("a report, the receipt for another", "error: no proof", of(func(w *Withheld) { w.Receipt = c.receipt(noted, 1000) }))
	add("a report that is brought after another entry than the receipt says", "error: no proof", of(func(w *Withheld) { w.Report.After++ }))
	add("a report to another instance", "error: no proof", of(func(w *Withheld) { w.Report.Instance[0] ^= 1; w.Receipt = c.receipt(*w.Report, 1000) }))
	add("a report of too few keys", "error: no proof", of(func(w *Withheld) { w.Report.Signed = w.Report.Signed[:1]; w.Receipt = c.receipt(*w.Report, 1000) }))
	add("a report of a value that was changed", "error: no proof", of(func(w *Withheld) {
		w.Report.Signed = append([]oracle.Signed(nil), w.Report.Signed...)
		w.Report.Signed[0].Value.Value++
		w.Receipt = c.receipt(*w.Report, 1000)
	}))
	add("a report of an oracle that is not there", "error: no proof", of(func(w *Withheld) { w.Report.Oracle = 1; w.Receipt = c.receipt(*w.Report, 1000) }))
	add("a word and a report", "error: no proof", of(func(w *Withheld) { w.Word, w.Party = &word, &c.party.identity }))
	add("neither", "error: no proof", of(func(w *Withheld) { w.Report = nil }))
	add("a word whose party is not shown", "error: no proof", of(func(w *Withheld) { w.Report, w.Word, w.Receipt = nil, &word, c.receipt(word, 1000) }))
	c.inTurns()
	taken, failed := c.step(1, false), c.step(3, true)
	c.add(vault.Entry{Run: &vault.Run{Instance: c.instance, Kind: vault.RunTaken, Step: &taken}})
	add("a word about a step", "ok", c.proofOfStep(failed, 1000, 1001))
	add("a word about a step that is logged", "error: the promise is not broken", c.proofOfStep(taken, 1000, 1001))
	add("a word about a step that was for the other party", "error: no proof", c.proofOfStep(c.step(2, false), 1000, 1001))
	add("a word about a step that does not come", "error: no proof", c.proofOfStep(c.step(5, false), 1000, 1001))
	vectors.Check(t, *update, "../spec/vectors/direct/withheld.json", made,
		func(v withheldVector) (string, string) { return v.Name, v.Expect },
		func(v withheldVector) error {
			var w Withheld
			if err := wire.Unmarshal(v.CBOR, &w); err != nil {
				return err
			}
			_, err := w.Check(c.group)
			return err
		})
}
