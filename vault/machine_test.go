package vault_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"latchkey/coin"
	"latchkey/vault"
	"latchkey/wire"
)

var (
	machineRuns  = flag.Int("machine.runs", 30, "runs of TestMachine")
	machineSteps = flag.Int("machine.steps", 40, "steps of each run of TestMachine")
)

const (
	pay = `contract Pay
parties payer, payee
term amount : units 1..1000
pot money = amount units from payer
at open:
  give all of money to payee
  close
`
	hold = `contract Hold
parties buyer, seller
term price : units 1..1000
term wait  : duration 1 hours .. 100 days
pot payment = price units from buyer

phase Open until now + wait
  when buyer says "release":
    give all of payment to seller
    close
  when seller says "refund": close
  at deadline: close
`
)

// later is a contract whose second pot is filled while it runs.
const later = `contract Later
parties buyer, seller
term price : units 1..1000
term value : units 1..1000
term wait  : duration 1 hours .. 100 days
pot payment = price units from buyer
later pot goods = value units from seller

phase Open until now + wait
  when deposit goods:
    give all of payment to seller
    give all of goods to buyer
    close
  at deadline: close
`

// drawing is the test's T inside one run of rapid.
type drawing struct {
	testing.TB
	r *rapid.T
}

func (d drawing) Helper()                           { d.r.Helper() }
func (d drawing) Error(args ...any)                 { d.r.Error(args...) }
func (d drawing) Errorf(format string, args ...any) { d.r.Errorf(format, args...) }
func (d drawing) Fatal(args ...any)                 { d.r.Fatal(args...) }
func (d drawing) Fatalf(format string, args ...any) { d.r.Fatalf(format, args...) }
func (d drawing) Log(args ...any)                   { d.r.Log(args...) }
func (d drawing) Logf(format string, args ...any)   { d.r.Logf(format, args...) }

// said is a request that the escrow once took.
type said struct {
	by  int
	raw []byte
}

// copyOf is an owner's disk as it was.
type copyOf struct {
	by     int
	rows   map[string][]byte
	cursor int
}

// machine drives vaults with random requests, true and false ones, and compares
// each step with the model. It only has to think of what may happen.
type machine struct { // of alice, bob, and carol, whose TEE is broken
	t        testing.TB
	w        *world
	m        *model
	locks    []vault.LockAsk
	said     []said
	words    []said // those of said
	copies   []copyOf
	prepared map[wire.Hash]*vault.Prepared // words, by their hash
	rolled   map[int]bool                  // owners that were restored from a copy: they may have burnt chunks
	chunks   int
	counts   map[string]int
	refused  map[string]int
}

// ask brings a request to the escrow. What it refuses changes nothing.
func (x *machine) ask(by int, q vault.Request) (vault.Answer, error) {
	x.t.Helper()
	raw, err := wire.Marshal(q)
	if err != nil {
		x.t.Fatal(err)
	}
	size, root, rows := x.w.escrow.Size(), x.w.escrow.Root(), len(x.w.rows)
	decide := x.w.owners[by].ask
	if p := x.ahead(q); p != nil {
		x.counts["prepared"]++
		decide = func(vault.Request) (vault.Answer, error) { return x.w.escrow.Word(p, x.w.rnd) }
	}
	a, err := decide(q)
	if err != nil {
		x.counts["refused"]++
		if x.w.escrow.Size() != size || x.w.escrow.Root() != root || len(x.w.rows) != rows {
			x.t.Fatalf("refused, and changed: %s: %v", describeRequest(q), err)
		}
		return a, err
	}
	x.w.persist(a.Block, nil)
	x.said = append(x.said, said{by, raw})
	if q.Word != nil {
		x.words = append(x.words, said{by, raw})
	}
	return a, nil
}

// ahead returns a word as it was prepared some time ago; nil: it was not.
func (x *machine) ahead(q vault.Request) *vault.Prepared {
	if q.Word == nil {
		return nil
	}
	h, err := q.Word.Hash()
	if err != nil {
		x.t.Fatal(err)
	}
	return x.prepared[h]
}

// prepare has the work done of all words that an owner has to say, and of one that was said.
func (x *machine) prepare(t *rapid.T, by int) {
	qs, err := x.w.owners[by].o.Pending(x.w.rnd)
	if err != nil {
		t.Fatal(err)
	}
	if len(x.words) > 0 {
		q, err := vault.ParseRequest(rapid.SampledFrom(x.words).Draw(t, "word").raw)
		if err != nil {
			t.Fatal(err)
		}
		qs = append(qs, q)
	}
	for _, q := range qs {
		if q.Word == nil {
			continue
		}
		h, err := q.Word.Hash()
		if err != nil {
			t.Fatal(err)
		}
		if p, err := x.w.escrow.Prepare(*q.Word, x.w.rnd); err == nil {
			if rapid.Bool().Draw(t, "done before its turn") {
				p.Do()
			}
			x.prepared[h] = p
		}
	}
}

// owner runs something in an owner's vault. What it refuses changes nothing.
func (x *machine) owner(by int, do func(c *client) ([]vault.Row, error)) error {
	x.t.Helper()
	c := x.w.owners[by]
	before := c.state()
	rows, err := do(c)
	if err != nil && !errors.Is(err, vault.ErrRefused) {
		x.counts["refused by owner"]++
		if after := c.state(); after != before || len(rows) > 0 {
			x.t.Fatalf("%s refused, and changed: %v\n%s\n%s", c.name, err, before, after)
		}
		return err
	}
	save(c.rows, rows)
	return err
}

// talk says what an owner has to say; a lost answer is never heard.
func (x *machine) talk(by int, lost bool) {
	c := x.w.owners[by]
	qs, err := c.o.Pending(x.w.rnd)
	if err != nil {
		x.t.Fatal(err)
	}
	for _, q := range qs {
		a, err := x.ask(by, q)
		if err != nil {
			a.Reply = vault.Reply{Refused: &vault.Refused{Reason: err.Error()}}
		} else if a.Hold > x.w.escrow.Witnessed() {
			x.w.witness()
		}
		if lost {
			x.counts["lost"]++
			continue
		}
		_ = x.owner(by, func(c *client) ([]vault.Row, error) { return c.o.Hear(q, a.Reply) })
	}
}

// sync shows an owner all that concerns it. As its host does, it begins again when
// something is missing: a vault that heard of its own chunks after their birth was
// shown has passed it over.
func (x *machine) sync(by int) {
	x.t.Helper()
	c := x.w.owners[by]
	c.advance()
	for from := 0; ; {
		positions, _ := x.w.feed.From(c.id, c.cursor, 1)
		if len(positions) == 0 || positions[0] >= x.w.size {
			return
		}
		err := x.owner(by, func(c *client) ([]vault.Row, error) { return c.observe(positions[0]) })
		switch {
		case err == nil:
			c.cursor++
		case from > 0 && c.cursor >= from || !errors.Is(err, vault.ErrGap):
			x.t.Fatal(err)
		default:
			x.counts["heard again"]++
			from, c.cursor = c.cursor+1, 0
		}
	}
}

// stake draws chunks of an owner, mostly of those that it can stake, of one
// denomination.
func (x *machine) stake(t *rapid.T, by int) (out []wire.ChunkID) {
	c := x.w.owners[by]
	var all []wire.ChunkID
	any := rapid.IntRange(0, 9).Draw(t, "any") == 0
	for _, id := range c.o.Chunks() {
		k, _ := c.o.Chunk(id)
		if any || c.o.Holds(id) && k.Instance == (wire.InstanceID{}) && !k.Claim && c.o.Pledged(id) == (wire.Hash{}) {
			all = append(all, id)
		}
	}
	if len(all) == 0 {
		return nil
	}
	first := rapid.SampledFrom(all).Draw(t, "chunk")
	cert, _ := c.o.Certificate(first)
	for _, id := range all {
		if other, ok := c.o.Certificate(id); id == first || ok && other.Denomination == cert.Denomination && rapid.Bool().Draw(t, "too") {
			out = append(out, id)
		}
	}
	return out
}

func (x *machine) agree(t *rapid.T) {
	contract := rapid.SampledFrom([]string{swap, swap, pay, hold, diary, later, later}).Draw(t, "contract")
	left := rapid.IntRange(0, 2).Draw(t, "left")
	right := (left + rapid.IntRange(1, 2).Draw(t, "right")) % 3
	if rapid.IntRange(0, 3).Draw(t, "honest") > 0 {
		left, right = left%2, (left+1)%2
	}
	l, r := x.w.owners[left], x.w.owners[right]
	a := vault.Agreement{
		Source: []byte(contract), Parties: []vault.Recipients{{l.id}, {r.id}}, Pots: [][]vault.Stake{x.stakes(t, left)},
		Escrow: x.w.keys.id, LockBy: x.w.now + rapid.SampledFrom([]int64{60, 60, 60, 1, 0, -5, 90_000}).Draw(t, "lock by"), Settle: vault.Atomic,
	}
	if contract == swap {
		a.Pots = append(a.Pots, x.stakes(t, right))
	}
	if contract == later {
		var goods []vault.Stake
		for _, s := range x.stakes(t, right) { // like those that he has
			goods = append(goods, vault.Stake{Weight: s.Weight})
			if cert, ok := r.o.Certificate(s.Chunk); ok {
				a.Later = []coin.Denomination{cert.Denomination}
			}
		}
		a.Pots = append(a.Pots, goods)
	}
	for _, pot := range a.Pots {
		var sum int64
		for _, s := range pot {
			sum += int64(s.Weight)
		}
		a.Terms = append(a.Terms, sum)
	}
	switch {
	case contract == hold || contract == later:
		a.Terms = append(a.Terms, 3600)
	case contract == diary:
		a.Terms = append(a.Terms, 2*86400)
	}
	if len(a.Pots[0]) > 0 && rapid.IntRange(0, 9).Draw(t, "wrong epoch") == 0 {
		a.Pots[0][0].Epoch++
	}
	q := vault.LockAsk{Agreement: a}
	for role, by := range []int{left, right} {
		if by == broken {
			q.Acceptances = append(q.Acceptances, x.forgeAcceptance(a, role))
			continue
		}
		var s vault.SignedAcceptance
		if x.owner(by, func(c *client) (rows []vault.Row, err error) {
			s, rows, err = c.o.Accept(c.proposal(a), x.w.rnd)
			return rows, err
		}) != nil {
			return
		}
		x.counts["accepted"]++
		q.Acceptances = append(q.Acceptances, s)
	}
	x.locks = append(x.locks, q)
	if rapid.IntRange(0, 4).Draw(t, "later") > 0 {
		_, _ = x.ask(left, vault.Request{Lock: &q})
	}
}

// some draws chunks that an owner follows, mostly of those that fit.
func (x *machine) some(t *rapid.T, by int, fit func(vault.Chunk) bool) (out []wire.ChunkID) {
	any := rapid.IntRange(0, 4).Draw(t, "any") == 0
	for _, id := range x.w.owners[by].o.Chunks() {
		k, _ := x.w.owners[by].o.Chunk(id)
		if (any || fit(k)) && rapid.Bool().Draw(t, "this") {
			out = append(out, id)
		}
	}
	return out
}

func (x *machine) actions() map[string]func(*rapid.T) {
	who := func(t *rapid.T) int { return rapid.IntRange(0, broken-1).Draw(t, "owner") }
	talk := func(t *rapid.T) { x.talk(who(t), false) }
	sync := func(t *rapid.T) { x.sync(who(t)) }
	rest := func(*rapid.T) { x.rest() }
	claim := func(t *rapid.T, by int) {
		c := x.w.owners[by]
		ids := x.some(t, by, func(k vault.Chunk) bool { return k.Instance == (wire.InstanceID{}) && k.Owner == c.id && !k.Claim })
		_ = x.owner(by, func(c *client) ([]vault.Row, error) { return c.o.Claim(ids) })
	}
	swept := func(t *rapid.T, by int) {
		ids := x.some(t, by, func(k vault.Chunk) bool { return k.Whole != nil })
		_ = x.owner(by, func(c *client) ([]vault.Row, error) { return c.o.Swept(ids) })
	}
	say := func(t *rapid.T) {
		by := who(t)
		if ins := x.w.owners[by].o.Instances(); len(ins) > 0 {
			in := rapid.SampledFrom(ins).Draw(t, "instance")
			word := map[string]string{"buyer": "release", "seller": "refund", "alice": "alive"}[in.Party]
			if rapid.IntRange(0, 4).Draw(t, "wrong") == 0 {
				word = rapid.SampledFrom([]string{"release", "refund", "alive", "nonsense"}).Draw(t, "word")
			}
			_ = x.owner(by, func(c *client) ([]vault.Row, error) {
				_, rows, err := c.o.Say(in.ID, word, 0, false)
				return rows, err
			})
			if rapid.Bool().Draw(t, "prepared") {
				x.prepare(t, by)
			}
		}
	}
	return map[string]func(*rapid.T){
		"deposit": func(t *rapid.T) {
			if x.chunks > 8 {
				return
			}
			n := rapid.Uint32Range(1, 2).Draw(t, "n")
			x.chunks += int(n)
			d := rapid.SampledFrom([]coin.Denomination{denomination("btc", coin.Secp256k1), denomination("xmr", coin.Ed25519)}).Draw(t, "denomination")
			spec := vault.BatchSpec{Denomination: d, Weight: rapid.SampledFrom([]uint32{1, 5}).Draw(t, "weight"), N: n, Expiry: x.w.now + 90*86400}
			_ = x.owner(who(t), func(c *client) ([]vault.Row, error) {
				_, rows, err := c.o.NewBatch(spec, x.w.rnd)
				return rows, err
			})
		},
		"agree": x.agree, "agree more": x.agree,
		"lock": func(t *rapid.T) { // once more, or late
			if len(x.locks) > 0 {
				q := rapid.SampledFrom(x.locks).Draw(t, "agreement")
				_, _ = x.ask(who(t), vault.Request{Lock: &q})
			}
		},
		"mix acceptances": func(t *rapid.T) {
			if len(x.locks) > 1 {
				a, b := rapid.SampledFrom(x.locks).Draw(t, "one"), rapid.SampledFrom(x.locks).Draw(t, "other")
				q := vault.LockAsk{Agreement: a.Agreement, Acceptances: []vault.SignedAcceptance{a.Acceptances[0], b.Acceptances[1]}}
				_, _ = x.ask(who(t), vault.Request{Lock: &q})
			}
		},
		"sync": sync, "sync more": sync, "talk": talk, "talk more": talk, "lose answers": func(t *rapid.T) { x.talk(who(t), true) }, "rest": rest, "rest more": rest,
		"witness": func(*rapid.T) { x.w.witness() },
		"time": func(t *rapid.T) {
			x.w.now += rapid.SampledFrom([]int64{0, 1, 3, 30, 63, 70, 3700, 180_000}).Draw(t, "seconds")
			x.w.witness()
			b, err := x.w.escrow.Due(x.w.rnd)
			x.w.persist(b, err)
		},
		"say": say, "say more": say, "fund": x.fund, "fund more": x.fund, "fund again": x.fund, "find": x.find, "find more": x.find, "forge a deposit": x.forgeDeposit,
		"claim": func(t *rapid.T) { claim(t, who(t)) },
		"swept": func(t *rapid.T) { swept(t, who(t)) },
		"claim and sweep": func(t *rapid.T) {
			by := who(t)
			claim(t, by)
			x.rest()
			swept(t, by)
		},
		"forge an order": x.forgeOrder, "forge a word": x.forgeWord, "forge an acknowledgement": x.forgeAck,
		"say again": func(t *rapid.T) { x.again(t, false) }, "say another's": func(t *rapid.T) { x.again(t, true) },
		"prepare": func(t *rapid.T) { x.prepare(t, who(t)) },
		"snapshot": func(*rapid.T) {
			s, err := x.w.escrow.Snapshot()
			if err != nil {
				x.t.Fatal(err)
			}
			x.w.snapshot = &s
			x.counts["snapshot"]++
		},
		"restart": func(*rapid.T) { // from what is durable; replay equals live
			x.w = x.w.restarted(x.t)
			clear(x.prepared)
			x.w.witness()
		},
		"copy": func(t *rapid.T) {
			by := who(t)
			x.copies = append(x.copies, copyOf{by, maps.Clone(x.w.owners[by].rows), x.w.owners[by].cursor})
		},
		"restore": func(t *rapid.T) {
			if len(x.copies) == 0 || rapid.IntRange(0, 3).Draw(t, "restore") > 0 {
				return
			}
			s := rapid.SampledFrom(x.copies).Draw(t, "copy")
			c := x.w.owners[s.by]
			var err error
			if c.o, err = vault.NewOwner(c.cfg); err != nil {
				t.Fatal(err)
			}
			c.rows, c.cursor, x.rolled[s.by] = maps.Clone(s.rows), s.cursor, true
			if err := c.o.Load(rowsOf(c.rows)); err != nil {
				t.Fatal(err)
			}
			x.counts["restored"]++
		},
	}
}

// dropped reports whether a batch was forgotten because it was never opened: it may
// be begun anew.
func (x *machine) dropped(batch wire.Hash) bool {
	return slices.ContainsFunc(x.w.entries, func(raw []byte) bool {
		e, err := vault.ParseEntry(raw)
		return err == nil && e.Drop != nil && e.Drop.Batch == batch
	})
}

// again says what was said before, in the same or in another's name. The first
// moves nothing; of the second the log shows that nothing came of it that the
// other could not have asked itself.
func (x *machine) again(t *rapid.T, other bool) {
	if len(x.said) == 0 {
		return
	}
	s := rapid.SampledFrom(x.said).Draw(t, "request")
	if len(x.words) > 0 && rapid.Bool().Draw(t, "a word") { // there are few
		s = rapid.SampledFrom(x.words).Draw(t, "word")
	}
	q, err := vault.ParseRequest(s.raw)
	if err != nil {
		t.Fatal(err)
	}
	size := x.w.escrow.Size()
	if other {
		_, _ = x.ask((s.by+1)%3, q)
		return
	}
	a, err := x.ask(s.by, q)
	if err == nil && x.w.escrow.Size() != size && !(q.Begin != nil && x.dropped(q.Begin.Batch)) {
		t.Fatalf("%s, said again, moves something", describeRequest(q))
	}
	if err == nil && a.Hold > x.w.escrow.Witnessed() {
		x.w.witness()
	}
}

// rest lets everybody talk until nothing changes any more. Somebody may go on
// asking: for shares of a party that was restored from before it accepted.
func (x *machine) rest() {
	x.t.Helper()
	for range 50 {
		x.w.witness()
		before := len(x.w.entries)
		var was, is string
		for by, c := range x.w.owners[:broken] {
			x.sync(by)
			was += c.state()
			x.talk(by, false)
			is += c.state()
		}
		if len(x.w.entries) == before && was == is {
			return
		}
	}
	x.t.Fatal("the world does not come to rest")
}

// check compares everything with the model.
func (x *machine) check() {
	x.t.Helper()
	x.m.catchUp(x.w.entries)
	x.m.secrets(x.w)
	x.keys()
	for _, c := range x.w.owners {
		pledged := map[wire.ChunkID]bool{}
		for _, p := range c.o.Pledges() {
			for _, id := range p.Chunks {
				if k, ok := c.o.Chunk(id); !ok || k.Owner != c.id || p.LockBy < c.o.Now() {
					continue
				}
				if pledged[id] {
					x.t.Fatalf("%s has pledged chunk %s twice", c.name, id.Short())
				}
				pledged[id] = true
			}
		}
	}
}

// keys checks that the escrow names every row of its table, and no other: who seals
// the rows anew knows no more of them.
func (x *machine) keys() {
	x.t.Helper()
	var got []string
	for part := 1; ; part++ {
		keys, ok := x.w.escrow.Keys(part)
		if !ok {
			break
		}
		got = append(got, keys...)
	}
	slices.Sort(got)
	if want := slices.Sorted(maps.Keys(x.w.rows)); !slices.Equal(got, want) {
		x.t.Fatalf("the escrow names %d rows %.6q, its table has %d %.6q", len(got), got, len(want), want)
	}
}

// end lets time bring everything to its end: then nothing is in an instance, and
// every owner that was never restored from a copy can make use of what it owns.
func (x *machine) end() {
	x.t.Helper()
	x.rest()
	for range 3 {
		x.w.now += 3 * 86400
		x.w.witness()
		for {
			b, err := x.w.escrow.Due(x.w.rnd)
			x.w.persist(b, err)
			if len(b.Entries) == 0 {
				break
			}
		}
		x.rest()
	}
	x.check()
	for id, in := range x.m.instances {
		if !in.over {
			x.t.Fatalf("instance %s of %s has not come to its end", id.Short(), in.contract)
		}
	}
	for id, c := range x.m.chunks {
		for i, o := range x.w.owners {
			if o.id != c.owner || x.rolled[i] || c.swept {
				continue
			}
			k, ok := o.o.Chunk(id)
			if !ok || !o.o.Holds(id) || k.Lost || k.Epoch != c.epoch {
				x.t.Fatalf("%s owns chunk %s at epoch %d and cannot use it: %+v", o.name, id.Short(), c.epoch, k)
			}
		}
	}
	live := x.w
	x.w = live.restarted(x.t) // the whole log replays to the live state
	x.check()
	root, err := tlog.TreeHash(int64(len(live.entries)), live.reader())
	if err != nil || !bytes.Equal(root[:], x.w.rootBytes()) {
		x.t.Fatalf("the replayed root is not the live one: %v", err)
	}
}

func (w *world) rootBytes() []byte { r := w.escrow.Root(); return r[:] }

// Whatever owners ask for, in whatever order, with answers lost, old requests said
// again, words of others, vaults started again and restored from old copies: a
// chunk has one owner and at most one lock, each instance gives each of its chunks
// once and to whom its contract says, shares of one epoch and no others make a
// key, a key is whole only after its witnessed claim, what is refused changes
// nothing, replay equals live, and every wait ends.
func TestMachine(t *testing.T) {
	t.Parallel()
	counts := map[string]int{}
	if err := flag.Set("rapid.checks", fmt.Sprint(*machineRuns)); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(r *rapid.T) {
		x := &machine{t: drawing{t, r}, counts: counts, rolled: map[int]bool{broken: true}, prepared: map[wire.Hash]*vault.Prepared{}}
		x.w = newWorld(x.t, 3)
		x.m = newModel(x.t, counts)
		actions := x.actions()
		kinds := slices.Sorted(maps.Keys(actions))
		for i, c := range x.w.owners {
			c.deposit([]coin.Denomination{denomination("btc", coin.Secp256k1), denomination("xmr", coin.Ed25519)}[i%2], 5, 1)
			x.chunks++
		}
		x.check()
		if rapid.IntRange(0, 2).Draw(r, "a later pot") == 0 { // by chance one is open only rarely
			x.open(0, 1)
		}
		for range *machineSteps {
			actions[rapid.SampledFrom(kinds).Draw(r, "action")](r)
			x.check()
		}
		x.end()
	})
	kinds := []string{"accepted", "lock", "open", "claim", "forged", "refused", "refused by owner", "snapshot"}
	if *machineRuns >= 200 { // what is too rare to be asked for in a few runs
		kinds = append(kinds, "word", "deadline", "abort", "swept", "lost", "restored", "deposit", "a deposit counts", "a deposit goes back", "prepared")
	}
	for _, kind := range kinds {
		if counts[kind] == 0 && !testing.Short() {
			t.Errorf("it never happened: %s", kind)
		}
	}
	t.Log(fmt.Sprint(counts))
}
