package vault_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/contract/oracle"
	"latchkey/vault"
	"latchkey/wire"
)

// lockOf is the order to lock an agreement that every party has signed, whatever its vault would say: what a
// changed vault brings.
func (w *world) lockOf(a vault.Agreement, of ...vault.Agreement) vault.Request {
	q := vault.LockAsk{Agreement: a}
	for role := range a.Parties {
		signed := a
		if role < len(of) {
			signed = of[role]
		}
		h, err := signed.Hash()
		if err != nil {
			w.t.Fatal(err)
		}
		body := vault.Acceptance{Agreement: h, Role: uint32(role)}
		raw, err := wire.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		q.Acceptances = append(q.Acceptances, vault.SignedAcceptance{Body: body, Sig: wire.Sign(w.owners[role].sign, "latchkey/accept/v1", raw)})
	}
	return vault.Request{Lock: &q}
}

// TestAdmission brings every kind of fault that an agreement can have before three vaults: those of both parties and the
// escrow's, the last one with the signatures of both. Each refuses by name, and stays as it is.
func TestAdmission(t *testing.T) {
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	right := bob.deposit(denomination("xmr", coin.Ed25519), 5, 2)
	refused := func(name string, a vault.Agreement, want string) {
		t.Helper()
		for _, c := range []*client{alice, bob} {
			before, rows := c.state(), len(c.rows)
			if _, out, err := c.o.Accept(c.proposal(a), w.rnd); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: a party's vault says %v, want %q", name, err, want)
			} else if c.state() != before || len(out) > 0 || len(c.rows) != rows {
				t.Errorf("%s: a party's vault refused, and changed", name)
			}
		}
		size, rows := w.escrow.Size(), len(w.rows)
		if _, err := alice.ask(w.lockOf(a)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the escrow's vault says %v, want %q", name, err, want)
		}
		if w.escrow.Size() != size || len(w.rows) != rows {
			t.Errorf("%s: the escrow's vault refused, and changed", name)
		}
	}

	// What the static checks refuse: all that the vectors have.
	var file struct {
		Cases []struct{ Name, Expect, Source string }
	}
	raw, err := os.ReadFile("../spec/vectors/contract/source.json")
	if err == nil {
		err = json.Unmarshal(raw, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	static := 0
	for _, c := range file.Cases {
		if finding, bad := strings.CutPrefix(c.Expect, "error: "); bad {
			a := w.swapOf(left, right)
			a.Source = []byte(c.Source)
			refused("source "+c.Name, a, finding)
			static++
		}
	}
	if static < 20 {
		t.Errorf("%d sources are refused: the test tests little", static)
	}

	// What the exploration refuses, with these terms and chunks, and what the terms themselves miss.
	head := "contract X\nparties a, b\nterm m : units 1..1000\nterm n : units 1..1000\nrequire m <= n\npot p = 10 units from a\npot q = 10 units from b\n"
	of := func(source string) func(a *vault.Agreement) {
		return func(a *vault.Agreement) { a.Source = []byte(source) }
	}
	counters := ""
	for i := range 6 {
		counters += "counter c" + string(rune('0'+i)) + " = 0 in 0..9\n"
	}
	many := head + counters + "phase A until now + 1 days\n"
	for i := range 6 {
		c := "c" + string(rune('0'+i))
		many += "when a says \"" + c + "\" if " + c + " < 9: set " + c + " = " + c + " + 1\n"
	}
	many += "at deadline: give all of p to b close\n"
	plays := head + "phase A until now + 1 days\nwhen a says \"x\" with v in 0..1_000_000_000: give share(p, v, 1_000_000_000) of p to b close\nwhen b says \"y\" with v in 0..1_000_000: if v * v / 7 * 7 = v * v then give 5 of q to a end close\nat deadline: close\n"
	open := "at open: give m of p to b give all of q to a close\n"
	for _, x := range []struct {
		name   string
		change func(a *vault.Agreement)
		want   string
	}{
		{"a give asks for more than is there", func(a *vault.Agreement) { of(head + open)(a); a.Terms = []int64{11, 11} }, "this give asks for 11 units where the pot `p` holds 10"},
		{"a requirement is not met", func(a *vault.Agreement) { of(head + open)(a); a.Terms = []int64{10, 9} }, "the requirement in line 5 does not hold"},
		{"a term below its range", func(a *vault.Agreement) { of(head + open)(a); a.Terms = []int64{0, 9} }, "term m is 0, outside 1..1000"},
		{"a term above its range", func(a *vault.Agreement) { of(head + open)(a); a.Terms = []int64{1, 1001} }, "term n is 1001, outside 1..1000"},
		{"too many states", of(head + "counter c = 0 in 0..60_000\nphase A until now + 1 days\nwhen a says \"x\" if c < 60_000: set c = c + 1\nat deadline: give all of p to b close\n"), "more than 50000 states"},
		{"too much to store", func(a *vault.Agreement) { of(many)(a); a.Bounds = &vault.Bounds{States: 1000, Moves: 1_000_000} }, "weighs more than 1024000 bytes"},
		{"too many plays", of(plays), "or 200000 moves"},
		{"bounds that no vault bears", func(a *vault.Agreement) { of(head + open)(a); a.Bounds = &vault.Bounds{States: 200_001, Moves: 1} }, "want 1 to 200000"},
		{"bounds of nothing", func(a *vault.Agreement) { of(head + open)(a); a.Bounds = &vault.Bounds{} }, "want 1 to 200000"},
		{"a certificate that ends too early", of(head + "phase A until now + 1000 days\nat deadline: give all of p to b close\n"), "expired"},
	} {
		a := w.swapOf(left, right)
		x.change(&a)
		refused(x.name, a, x.want)
	}

	// What it names besides.
	for name, change := range map[string]func(a *vault.Agreement){
		"no oracle":                         func(a *vault.Agreement) { a.Oracles = nil },
		"another feed than the contract's":  func(a *vault.Agreement) { a.Oracles[0].Feed = "btc/eur" },
		"a key twice":                       func(a *vault.Agreement) { a.Oracles[0].Keys[1] = a.Oracles[0].Keys[0] },
		"keys that fall":                    func(a *vault.Agreement) { slices.Reverse(a.Oracles[0].Keys) },
		"half of the keys":                  func(a *vault.Agreement) { a.Oracles[0].Keys, a.Oracles[0].Need = a.Oracles[0].Keys[:2], 1 },
		"more than there are":               func(a *vault.Agreement) { a.Oracles[0].Need = 4 },
		"an oracle without keys":            func(a *vault.Agreement) { a.Oracles[0] = oracle.Quorum{Feed: "btc/usd"} },
		"another asset than the contract's": func(a *vault.Agreement) { a.Assets[1] = "btc" },
		"an asset that the chunks are not":  func(a *vault.Agreement) { a.Assets[0] = "ltc" },
	} {
		a := w.cfdOf(left, right)
		change(&a)
		refused(name, a, "agreement refused")
	}

	// What one party alone wants: the other has signed another agreement.
	for name, change := range map[string]func(a *vault.Agreement){
		"raised bounds":    func(a *vault.Agreement) { a.Bounds = &vault.Bounds{States: 60_000, Moves: 300_000} },
		"other terms":      func(a *vault.Agreement) { a.Terms[1] += 1 },
		"another key":      func(a *vault.Agreement) { a.Oracles[0].Keys = a.Oracles[0].Keys[:1]; a.Oracles[0].Need = 1 },
		"another text":     func(a *vault.Agreement) { a.Source = append(slices.Clone(a.Source), "# \n"...) },
		"another order":    func(a *vault.Agreement) { slices.Reverse(a.Pots[0]) },
		"a later time":     func(a *vault.Agreement) { a.LockBy++ },
		"another contract": func(a *vault.Agreement) { a.Source = []byte(strings.Replace(cfd, ">= 2", ">= 3", 1)) },
	} {
		one, other := w.cfdOf(left, right), w.cfdOf(left, right)
		change(&one)
		size := w.escrow.Size()
		for _, a := range []vault.Agreement{one, other} {
			if _, err := alice.ask(w.lockOf(a, one, other)); err == nil || !strings.Contains(err.Error(), "another agreement") {
				t.Errorf("%s that one party wants: %v", name, err)
			}
		}
		if w.escrow.Size() != size {
			t.Errorf("%s that one party wants: refused, and changed", name)
		}
	}

	// The same without a fault is taken by all three.
	a := w.swapOf(left, right)
	a.Source, a.Terms, a.Bounds = []byte(head+open), []int64{10, 10}, &vault.Bounds{States: 60_000, Moves: 300_000}
	w.agree(a)
}
