package client

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"latchkey/coin"
	"latchkey/contract"
	"latchkey/contract/oracle"
	"latchkey/examples"
	"latchkey/key"
	"latchkey/market"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

func someRequest() Request {
	return Request{Vault: them, Escrow: wire.VaultID{8}, Asset: "btc", Chain: "fake:1", Amount: coin.NewAmount(104_000), Nonce: [8]byte{1, 2, 3}, Expiry: 1_800_000_000}
}

func TestRequestText(t *testing.T) {
	r := someRequest()
	text := r.String()
	for _, s := range []string{text, strings.ToUpper(text), "  " + text + "\n"} {
		got, err := ParseRequest(s)
		if err != nil || got != r {
			t.Errorf("%q reads as %+v: %v", s, got, err)
		}
	}
	// One wrong, missing, doubled or swapped character is noticed, wherever it is.
	for i := len(RequestPrefix); i < len(text); i++ {
		for _, bad := range []string{
			text[:i] + text[i+1:],
			text[:i] + string(text[i]^1) + text[i+1:],
			text[:i] + text[i:i+1] + text[i:],
			text[:i],
		} {
			if got, err := ParseRequest(bad); err == nil {
				t.Fatalf("a mistake at %d reads as %+v", i, got)
			}
		}
		if i+1 < len(text) && text[i] != text[i+1] {
			if _, err := ParseRequest(text[:i] + text[i+1:i+2] + text[i:i+1] + text[i+2:]); err == nil {
				t.Fatalf("two characters swapped at %d are taken", i)
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*Request)
	}{
		{"nothing asked", func(r *Request) { r.Amount = coin.Amount{} }},
		{"no asset", func(r *Request) { r.Asset = "" }},
		{"no end", func(r *Request) { r.Expiry = 0 }},
		{"no chain", func(r *Request) { r.Chain = "" }},
	} {
		bad := someRequest()
		c.change(&bad)
		if _, err := ParseRequest(bad.String()); err == nil {
			t.Errorf("%s: taken", c.name)
		}
	}
	for _, s := range []string{"", RequestPrefix, RequestPrefix + "aaaaaaaa", "lightning:xyz", strings.Repeat("a", 5000)} {
		if _, err := ParseRequest(s); err == nil {
			t.Errorf("%.30q is taken", s)
		}
	}
}

// What reads as a request is written as the same text.
func FuzzRequest(f *testing.F) {
	f.Add(someRequest().String())
	f.Add(RequestPrefix + "aaaaaaaaaaaaaaaaa")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRequest(text)
		if err == nil && r.String() != strings.ToLower(strings.TrimSpace(text)) {
			t.Errorf("%q is written as %q", text, r.String())
		}
	})
}

// A letter that reads is written as the same bytes, and looked at without panic.
func FuzzLetter(f *testing.F) {
	o := someDraft(f)
	for _, l := range []letter{{Propose: &o}, {Fill: &draftFill{Pots: [][]vault.Stake{{{Weight: 5}}}}}, {Accept: &vault.SignedAcceptance{}}, {Decline: &draftDecline{"no"}}} {
		raw, err := wire.Marshal(l)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var l letter
		if wire.Unmarshal(raw, &l) != nil {
			return
		}
		again, err := wire.Marshal(l)
		if err != nil || !bytes.Equal(again, raw) {
			t.Fatalf("written as %x: %v", again, err)
		}
		if l.Propose != nil {
			if s, err := sketchOf(*l.Propose, them, me, wire.VaultID{8}, 100); err == nil {
				_ = s.missing()
				_ = s.continues(*l.Propose, nil)
			}
		}
	})
}

// someDraft is a swap proposed by them, whose second pot is to be filled by me.
func someDraft(t testing.TB) draftBody {
	t.Helper()
	p := paper(t, wanted, 7)
	return draftBody{
		Agreement: vault.Agreement{
			Source: []byte(swap), Terms: []int64{50, 50}, Parties: []vault.Recipients{{them}, {me}}, Escrow: wire.VaultID{8}, LockBy: 1000, Settle: vault.Atomic,
			Pots: [][]vault.Stake{{{Chunk: p.Chunk.ID(), Weight: 50}}, {}},
		},
		Asks: []draftAsk{{}, {Asset: "btc", Chain: "fake:1", Unit: coin.NewAmount(10_000)}}, Papers: packPapers([]vault.Paper{p}),
	}
}

// potsOf has a swap's pots name their assets, and the agreement say which.
func potsOf(left, right coin.AssetID) func(o *draftBody) {
	return func(o *draftBody) {
		o.Agreement.Source = []byte(strings.NewReplacer(
			"pot left_side", "term one : asset\nterm other : asset\npot left_side", "a units from", "a units of one from", "b units from", "b units of other from").Replace(swap))
		o.Agreement.Assets = []coin.AssetID{left, right}
	}
}

func TestSketch(t *testing.T) {
	mine := paper(t, wanted, 9)
	fill := func(o *draftBody) {
		o.Agreement.Pots[1] = []vault.Stake{{Chunk: mine.Chunk.ID(), Weight: 50}}
		list, err := o.Papers.unpack()
		if err != nil {
			t.Fatal(err)
		}
		o.Papers = packPapers(append(list, mine))
	}
	for _, c := range []struct {
		name, want string
		change     func(o *draftBody)
	}{
		{"as proposed", "", func(*draftBody) {}},
		{"filled", "", fill},
		{"no contract", "contract", func(o *draftBody) { o.Agreement.Source = []byte("garbage") }},
		{"terms out of range", "term", func(o *draftBody) { o.Agreement.Terms[0] = 0 }},
		{"a term less", "terms", func(o *draftBody) { o.Agreement.Terms = []int64{50} }},
		{"another escrow", "escrow", func(o *draftBody) { o.Agreement.Escrow[0]++ }},
		{"no way to settle", "settled", func(o *draftBody) { o.Agreement.Settle = 0 }},
		{"tit for tat", "settled", func(o *draftBody) { o.Agreement.Settle = vault.TitForTat }},
		{"one party twice", "two parties", func(o *draftBody) { o.Agreement.Parties[1] = vault.Recipients{them} }},
		{"without this client", "no party", func(o *draftBody) { o.Agreement.Parties[1] = vault.Recipients{{77}} }},
		{"without its proposer", "no party", func(o *draftBody) { o.Agreement.Parties[0] = vault.Recipients{{77}} }},
		{"two vaults of one party", "recipients", func(o *draftBody) { o.Agreement.Parties[0] = vault.Recipients{them, {77}} }},
		{"too late", "lock by", func(o *draftBody) { o.Agreement.LockBy = 100 }},
		{"too long", "lock by", func(o *draftBody) { o.Agreement.LockBy = 101 + maxLockWait }},
		{"a pot less", "pots", func(o *draftBody) { o.Agreement.Pots = o.Agreement.Pots[:1] }},
		{"an ask less", "asks", func(o *draftBody) { o.Asks = nil }},
		{"its own pot empty", "nobody is asked", func(o *draftBody) { o.Agreement.Pots[0] = nil }},
		{"an empty pot without an ask", "nobody is asked", func(o *draftBody) { o.Asks[1] = draftAsk{} }},
		{"no papers", "without its papers", func(o *draftBody) { o.Papers = papers{} }},
		{"a paper without its certificate", "without its certificate", func(o *draftBody) { o.Papers.Certs = nil }},
		{"fewer units than the contract wants", "holds 50 units", func(o *draftBody) { o.Agreement.Terms[0] = 51 }},
		{"another weight than its certificate's", "denomination or weight", func(o *draftBody) { o.Agreement.Pots[0][0].Weight = 20 }},
		{"other coins than asked", "asked for was", func(o *draftBody) { fill(o); o.Asks[1].Asset = "eth" }},
		{"on another chain than asked", "asked for was", func(o *draftBody) { fill(o); o.Asks[1].Chain = "fake:2" }},
		{"in smaller units than asked", "asked for was", func(o *draftBody) { fill(o); o.Asks[1].Unit = coin.NewAmount(11_000) }},
		{"an oracle that the contract does not read", "1 oracles and 0 assets, contract Swap has 0", func(o *draftBody) { o.Agreement.Oracles = []oracle.Quorum{{}} }},
		{"an asset that the contract does not name", "0 oracles and 1 assets", func(o *draftBody) { o.Agreement.Assets = []coin.AssetID{"btc"} }},
		{"bounds that no vault bears", "want 1 to 200000", func(o *draftBody) { o.Agreement.Bounds = &vault.Bounds{States: 1, Moves: 1 << 30} }},
		{"a pot that holds what the contract says", "", potsOf("btc", "btc")},
		{"a pot that holds another asset", "it holds btc, the contract wants eth", potsOf("eth", "btc")},
		{"a pot that is to hold another asset", "btc is asked for, the contract wants eth", potsOf("btc", "eth")},
		{"an asset that the contract fixes otherwise", "asset ltc, the contract says btc", func(o *draftBody) {
			o.Agreement.Source = []byte(strings.Replace(swap, "a units from", `a units of "btc" from`, 1))
			o.Agreement.Assets = []coin.AssetID{"ltc"}
		}},
		{"in units that are a little less", "", func(o *draftBody) { fill(o); o.Asks[1].Unit = coin.NewAmount(10_300) }},
	} {
		o := someDraft(t)
		c.change(&o)
		_, err := sketchOf(o, them, me, wire.VaultID{8}, 100)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
	}
}

// What a proposal has to say of assets is what its contract leaves open.
func TestNameIn(t *testing.T) {
	type pots = map[string]coin.AssetID
	for _, c := range []struct {
		left string // what the first pot holds
		pots pots
		want pots
		err  string
	}{
		{"", pots{"left_side": "btc", "right_side": "eth"}, pots{"left_side": "btc", "right_side": "eth"}, ""},
		{" of coin", pots{"left_side": "btc", "right_side": "eth"}, pots{"left_side": "btc", "right_side": "eth"}, ""},
		{" of coin", pots{"right_side": "eth"}, nil, "asset coin: no pot that holds it"},
		{` of "btc"`, pots{"right_side": "eth"}, pots{"left_side": "btc", "right_side": "eth"}, ""},
		{` of "btc"`, pots{"left_side": "eth"}, nil, "pot left_side is to hold eth, and by its contract it holds btc"},
	} {
		text := strings.Replace(swap, "a units from", "a units"+c.left+" from", 1)
		if c.left == " of coin" {
			text = strings.Replace(text, "pot left_side", "term coin : asset\npot left_side", 1)
		}
		p, err := contract.Compile([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		got, err := nameIn(&vault.Agreement{}, p, Proposal{Pots: c.pots})
		if diff := cmp.Diff(c.want, got); c.err == "" && (err != nil || diff != "") || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("a pot%s, %v: %v, want an error with %q; %s", c.left, c.pots, err, c.err, diff)
		}
	}
}

// A draft that comes again may have more pots filled, and nothing else changed.
func TestDraftContinues(t *testing.T) {
	first := someDraft(t)
	mine := paper(t, wanted, 9)
	stake := vault.Stake{Chunk: mine.Chunk.ID(), Weight: 50}
	for _, c := range []struct {
		name, want string
		change     func(o *draftBody)
	}{
		{"the same", "", func(*draftBody) {}},
		{"filled with what this side put in", "", func(o *draftBody) { o.Agreement.Pots[1] = []vault.Stake{stake} }},
		{"filled with something else", "of this side", func(o *draftBody) { o.Agreement.Pots[1] = []vault.Stake{{Weight: 50}} }},
		{"with other terms", "another agreement", func(o *draftBody) { o.Agreement.Terms = []int64{50, 49} }},
		{"with another text", "another agreement", func(o *draftBody) { o.Agreement.Source = []byte(swap + " ") }},
		{"with another party", "another agreement", func(o *draftBody) { o.Agreement.Parties = []vault.Recipients{{them}, {{5}}} }},
		{"until later", "another agreement", func(o *draftBody) { o.Agreement.LockBy++ }},
		{"for another request", "another agreement", func(o *draftBody) { o.Request[0]++ }},
		{"asking for other coins", "another agreement", func(o *draftBody) { o.Asks = []draftAsk{{}, {Asset: "eth"}} }},
		{"with other chunks of its own", "other chunks", func(o *draftBody) { o.Agreement.Pots[0] = []vault.Stake{{Weight: 50}} }},
	} {
		o := someDraft(t)
		c.change(&o)
		err := (&sketch{body: o}).continues(first, [][]vault.Stake{nil, {stake}})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
	}
}

// chunkOf is a chunk of an asset as the vault reports it.
func chunkOf(n byte, asset coin.AssetID, weight, epoch uint32, maker wire.VaultID, expiry int64) enclave.ChunkStatus {
	return enclave.ChunkStatus{
		ID: wire.ChunkID{n}, Holds: true, Chunk: vault.Chunk{Weight: weight, Epoch: epoch, Owner: me},
		Cert: key.Certificate{
			Owner: []wire.VaultID{maker}, Weight: weight, Made: expiry - 90*24*3600, Expiry: expiry,
			Denomination: coin.Denomination{ID: string(asset) + "-1", Asset: coin.Asset{ID: asset, Chain: "fake:1", Key: coin.Secp256k1, Address: "fake", Decimals: 8}, Unit: coin.NewAmount(10_000)},
		},
	}
}

func TestDueOf(t *testing.T) {
	const day = 24 * 3600
	const now = 1_000_000_000
	far := int64(now + 80*day)
	received := func(n byte, weight uint32) enclave.ChunkStatus { return chunkOf(n, "btc", weight, 1, them, far) }
	never := func(enclave.ChunkStatus) bool { return false }
	with := func(c enclave.ChunkStatus, f func(*enclave.ChunkStatus)) enclave.ChunkStatus { f(&c); return c }
	for _, c := range []struct {
		name             string
		chunks           []enclave.ChunkStatus
		choice           Choice
		busy, unpaid     func(enclave.ChunkStatus) bool
		away             []byte
		chosen, expiring []byte
	}{
		{name: "claim at once", chunks: []enclave.ChunkStatus{received(1, 5), received(2, 5)}, chosen: []byte{1, 2}},
		{name: "keep", chunks: []enclave.ChunkStatus{received(1, 5)}, choice: Choice{Keep: true}},
		{name: "keep until later", chunks: []enclave.ChunkStatus{received(1, 5)}, choice: Choice{Keep: true, Until: now + 1}},
		{name: "the date has come", chunks: []enclave.ChunkStatus{received(1, 5)}, choice: Choice{Keep: true, Until: now}, chosen: []byte{1}},
		{name: "up to what is there", chunks: []enclave.ChunkStatus{received(1, 5), received(2, 5)}, choice: Choice{Keep: true, UpTo: coin.NewAmount(100_000)}},
		{name: "more than the bound", chunks: []enclave.ChunkStatus{received(1, 5), chunkOf(2, "btc", 5, 1, them, far-day), received(3, 2)}, choice: Choice{Keep: true, UpTo: coin.NewAmount(75_000)}, chosen: []byte{2}},
		{name: "own ones stay", chunks: []enclave.ChunkStatus{chunkOf(1, "btc", 5, 0, me, far), chunkOf(2, "btc", 5, 3, me, far)}},
		{name: "own ones that somebody else had meanwhile", chunks: []enclave.ChunkStatus{chunkOf(1, "btc", 5, 0, me, far), chunkOf(2, "btc", 5, 3, me, far), chunkOf(3, "btc", 5, 2, me, far)}, away: []byte{2}, chosen: []byte{2}},
		{name: "near their end, whatever the choice", chunks: []enclave.ChunkStatus{chunkOf(1, "btc", 5, 1, them, now+7*day), chunkOf(2, "btc", 5, 0, me, now+6*day), chunkOf(3, "btc", 5, 2, me, now-day)}, choice: Choice{Keep: true}, expiring: []byte{1, 2, 3}},
		{name: "a second before", chunks: []enclave.ChunkStatus{chunkOf(1, "btc", 5, 1, them, now+7*day+1)}, choice: Choice{Keep: true}},
		{name: "never paid to", chunks: []enclave.ChunkStatus{chunkOf(2, "btc", 5, 0, me, now)}, unpaid: func(enclave.ChunkStatus) bool { return true }},
		{name: "busy, locked, pledged, claimed, not held or another's", chunks: []enclave.ChunkStatus{
			received(1, 5),
			with(received(2, 5), func(c *enclave.ChunkStatus) { c.Chunk.Instance[0] = 1 }),
			with(received(3, 5), func(c *enclave.ChunkStatus) { c.Pledge[0] = 1 }),
			with(received(4, 5), func(c *enclave.ChunkStatus) { c.Chunk.Claim = true }),
			with(received(5, 5), func(c *enclave.ChunkStatus) { c.Chunk.Claimed = true }),
			with(received(6, 5), func(c *enclave.ChunkStatus) { c.Holds = false }),
			with(received(7, 5), func(c *enclave.ChunkStatus) { c.Chunk.Owner = them }),
			received(8, 5),
		}, busy: func(c enclave.ChunkStatus) bool { return c.ID[0] == 1 }, chosen: []byte{8}},
	} {
		if c.busy == nil {
			c.busy = never
		}
		if c.unpaid == nil {
			c.unpaid = never
		}
		h := &Host{id: me, away: map[wire.ChunkID]bool{}}
		for _, n := range c.away {
			h.away[wire.ChunkID{n}] = true
		}
		d := dueOf(c.chunks, me, func(coin.AssetID) Choice { return c.choice }, c.busy, c.unpaid, h.received, now)
		first := func(ids []wire.ChunkID) (out []byte) {
			for _, id := range ids {
				out = append(out, id[0])
			}
			return out
		}
		if diff := cmp.Diff([][]byte{c.chosen, c.expiring}, [][]byte{first(d.chosen), first(d.expiring)}); diff != "" {
			t.Errorf("%s: chosen and expiring (-want +got):\n%s", c.name, diff)
		}
	}
	// A certificate that lives an hour is not claimed from its birth on.
	short := chunkOf(1, "btc", 5, 1, them, now+3600)
	short.Cert.Made = now
	if got := claimBy(short); got != now+3240 {
		t.Errorf("a certificate of an hour is claimed after %d s", got-now)
	}
}

// What a vault has promised to another agreement is no fault of a counterparty's.
func TestPledgedTo(t *testing.T) {
	side := market.Side{Chunks: []market.Stake{{Chunk: wire.ChunkID{1}}, {Chunk: wire.ChunkID{2}}}}
	at := func(pledge byte, other wire.Hash) enclave.Status {
		return enclave.Status{
			Chunks: []enclave.ChunkStatus{
				{ID: wire.ChunkID{1}}, {ID: wire.ChunkID{2}, Pledge: wire.Hash{pledge}}, {ID: wire.ChunkID{3}, Pledge: other},
			},
			Pledges:   []vault.Pledge{{Agreement: wire.Hash{7}, LockBy: 100}, {Agreement: wire.Hash{9}, LockBy: 900}},
			Instances: []vault.Instance{{Agreement: wire.Hash{8}, Deposits: []vault.Filling{{Order: vault.DepositOrder{By: 300}}, {Order: vault.DepositOrder{By: 200}}}}},
		}
	}
	for pledge, want := range map[byte]int64{0: 0, 7: 100, 8: 300} {
		if got := pledgedTo(at(pledge, wire.Hash{9}), side); got != want {
			t.Errorf("pledged to %d: until %d, want %d", pledge, got, want)
		}
	}
}

func TestChoices(t *testing.T) {
	for _, c := range []Choice{{Until: 5}, {UpTo: coin.NewAmount(1)}, {Keep: true, Until: -1}} {
		if c.Check() == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	for _, x := range []struct {
		w    WalletEntry
		want string // of the error; empty: taken
	}{
		{WalletEntry{Asset: "btc", URL: "unix:x", Keep: true, Until: "2027-01-31", UpTo: "5"}, ""},
		{WalletEntry{Asset: "btc", URL: "unix:x", Keep: true, Until: "soon"}, "keep_until"},
		{WalletEntry{Asset: "btc", URL: "unix:x", Keep: true, UpTo: "0.5"}, "keep_up_to"},
		{WalletEntry{Asset: "btc", URL: "unix:x", Until: "2027-01-31"}, "does not keep"},
	} {
		c, err := File{Wallets: []WalletEntry{x.w}}.Host(slog.New(slog.DiscardHandler))
		if x.want == "" && (err != nil || c.Choices["btc"] != (Choice{Keep: true, Until: 1_801_353_600, UpTo: coin.NewAmount(5)})) || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%+v: %+v, %v", x.w, c.Choices, err)
		}
	}
	w := newWorld(t)
	if got := w.choice("btc"); got.Keep {
		t.Error("the default is to keep")
	}
	if err := w.SetChoice(t.Context(), "btc", Choice{Keep: true, Until: 5}); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if got := w.choice("btc"); got != (Choice{Keep: true, Until: 5}) {
		t.Errorf("after a restart the choice is %+v", got)
	}
	if err := w.SetChoice(t.Context(), "doge", Choice{}); err == nil {
		t.Error("a choice for an unknown asset is taken")
	}
}

// What is picked is exact, of one denomination and fewest; the two nearest are the
// nearest.
func TestPickAmount(t *testing.T) {
	asset := chunkOf(0, "btc", 1, 0, me, 0).Cert.Denomination.Asset
	rapid.Check(t, func(t *rapid.T) {
		var have []enclave.ChunkStatus
		for i := range rapid.IntRange(0, 9).Draw(t, "n") {
			c := chunkOf(byte(i+1), "btc", rapid.SampledFrom([]uint32{1, 2, 5, 10}).Draw(t, "weight"), 1, them, 0)
			if rapid.Bool().Draw(t, "other") {
				c.Cert.Denomination.ID, c.Cert.Denomination.Unit = "btc-2", coin.NewAmount(10_300)
			}
			have = append(have, c)
		}
		want := rapid.Uint64Range(1, 300_000).Draw(t, "amount")
		var less, more uint64 // by trying everything
		for set := 1; set < 1<<len(have); set++ {
			sum, denom, ok := uint64(0), "", true
			for i, c := range have {
				if set>>i&1 == 1 {
					unit, _ := c.Cert.Denomination.Unit.Uint64()
					sum += unit * uint64(c.Chunk.Weight)
					ok = ok && (denom == "" || denom == c.Cert.Denomination.ID)
					denom = c.Cert.Denomination.ID
				}
			}
			if ok && sum <= want {
				less = max(less, sum)
			}
			if ok && sum >= want && (more == 0 || sum < more) {
				more = sum
			}
		}
		below, above, err := pickAmount(have, asset, coin.NewAmount(want))
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []struct {
			name string
			p    Payable
			want uint64
		}{{"below", below, less}, {"above", above, more}} {
			if got, _ := x.p.Amount.Uint64(); got != x.want {
				t.Fatalf("%s %d of %d chunks: %d, want %d", x.name, want, len(have), got, x.want)
			}
			var sum coin.Amount
			for _, c := range x.p.Chunks {
				each, _ := c.Cert.Denomination.Deposit(c.Cert.Weight)
				sum, _ = sum.Plus(each)
			}
			if sum != x.p.Amount {
				t.Fatalf("%s: says %v, holds %v", x.name, x.p.Amount, sum)
			}
		}
	})
}

func TestUsable(t *testing.T) {
	const now = 1_000_000_000
	far := int64(now + 80*24*3600)
	later, sooner, ending, unfunded := chunkOf(1, "btc", 5, 1, them, far), chunkOf(2, "btc", 5, 1, them, far-10), chunkOf(3, "btc", 5, 1, them, now+8*24*3600), chunkOf(4, "btc", 5, 0, me, far)
	st := enclave.Status{Now: now, Chunks: []enclave.ChunkStatus{later, sooner, ending, unfunded, chunkOf(5, "btc", 5, 1, them, far)}}
	got := usable(st, me, map[wire.ChunkID]bool{{5}: true}, func(c enclave.ChunkStatus) bool { return c.ID[0] != 4 }, now+2*24*3600)
	var ids []byte
	for _, c := range got {
		ids = append(ids, c.ID[0])
	}
	if !slices.Equal(ids, []byte{2, 1}) {
		t.Errorf("usable are %v, want 2 before 1: what ends first goes first, what ends too soon, is taken or not paid for stays", ids)
	}
}

func TestParseTerms(t *testing.T) {
	terms := []contract.Term{
		{Name: "price", Type: contract.Units, Lo: 1, Hi: 1000}, {Name: "by", Type: contract.Time, Hi: contract.MaxTime},
		{Name: "grace", Type: contract.Duration, Hi: contract.MaxDuration}, {Name: "rate", Type: contract.Number, Lo: -5, Hi: 1 << 40},
		{Name: "strike", Type: contract.Money, Lo: 1, Hi: 100_000_00}, {Name: "limit 1", Type: contract.Units, Hi: 9}, {Name: "limit 2", Type: contract.Units, Hi: 9},
	}
	good := []string{"rate=-5", "grace=10d", "by=+30m", "price=1_000", "strike=12.34", "limit=3 units", "limit 2=4"}
	got, err := ParseTerms(terms, good, 1_000)
	if want := []int64{1000, 2800, 864_000, -5, 1234, 3, 4}; err != nil || !slices.Equal(got, want) {
		t.Errorf("terms %v, want %v: %v", got, want, err)
	}
	for text, want := range map[string]int64{"12": 1200, "0.50": 50, "1_000.00": 1000_00} {
		if v, err := parseTerm(terms[4], text, 0); err != nil || v != want {
			t.Errorf("%s is %d, want %d: %v", text, v, want, err)
		}
	}
	for text, want := range map[string]int64{"1 day 12 hours": 129_600, "90s": 90, "2 weeks": 1_209_600} {
		if v, err := parseTerm(terms[2], text, 0); err != nil || v != want {
			t.Errorf("%s is %d, want %d: %v", text, v, want, err)
		}
	}
	for _, c := range []struct{ name, at, text, want string }{
		{"missing", "rate=-5", "", "term rate is missing"},
		{"twice", "rate=-5", "price=5", "each name once"},
		{"unknown", "", "colour=5", `none of that name`},
		{"no number", "rate=-5", "rate=five", "a number is whole"},
		{"no whole number", "rate=-5", "rate=1.50", "a number is whole"},
		{"no moment", "by=+30m", "by=tomorrow", "a time is written"},
		{"no money", "strike=12.34", "strike=dear", "money is written 12.50"},
		{"money with three decimals", "strike=12.34", "strike=12.345", "with two decimals or none"},
		{"money with one decimal", "strike=12.34", "strike=12.3", "with two decimals or none"},
		{"too much money", "strike=12.34", "strike=100_000.01", "100_000.01 is outside its range, 0.01 to 100_000.00"},
		{"too much", "price=1_000", "price=1001", "1001 units is outside its range, 1 to 1000 units"},
		{"of a holder too many", "limit 2=4", "limit 3=4", "none of that name"},
		{"of one holder alone", "limit=3 units", "", "term limit 1 is missing"},
		{"no duration", "grace=10d", "grace=ten days", "no duration"},
		{"half a second", "grace=10d", "grace=500ms", "no duration"},
		{"without a value", "price=1_000", "price", "NAME=VALUE"},
	} {
		var list []string
		for _, x := range good {
			if x != c.at {
				list = append(list, x)
			}
		}
		if c.text != "" {
			list = append(list, c.text)
		}
		if _, err := ParseTerms(terms, list, 1_000); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// The contract that payments are made by is the example's, whatever its layout.
func TestPayHash(t *testing.T) {
	spaced := strings.ReplaceAll(string(examples.Pay), "  ", "\t ")
	if program(t, spaced).Hash() != payHash {
		t.Error("another layout is another contract")
	}
	if got := program(t, string(examples.Pay)).Parties(); len(got) != 2 || got[payer] != "payer" || got[payee] != "payee" {
		t.Errorf("parties of Pay: %v", got)
	}
	if program(t, swap).Hash() == payHash {
		t.Error("Swap is Pay")
	}
}
