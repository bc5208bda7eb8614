package vault_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/contract/oracle"
	"latchkey/key"
	"latchkey/settle"
	"latchkey/vault"
	"latchkey/vault/session"
	"latchkey/wire"
)

// A trace plays a file of spec/vectors/chunk on the real machines: lines that
// begin with "> " are inputs, those indented after them what they did.
type trace struct {
	*world
	rows       map[string]string // of spec/chunk.md: what happens, to its name
	visited    map[string]bool
	out        strings.Builder
	chunks     map[string]wire.ChunkID
	names      map[wire.ChunkID]string
	batches    map[wire.Hash]string
	agreements map[string]vault.LockAsk
	instances  map[wire.InstanceID]string
	saved      map[string]map[string][]byte
	refusal    error // of the newest input
}

var rowLine = regexp.MustCompile(`^\| ([EIRJO]\d+) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|`)

// rowsOfThePage reads the tables of spec/chunk.md.
func rowsOfThePage(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../spec/chunk.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, names := map[string]string{}, map[string]bool{}
	for line := range strings.Lines(string(page)) {
		if m := rowLine.FindStringSubmatch(line); m != nil {
			if names[m[1]] { // a trace that visits one of them would count for both
				t.Errorf("two rows of spec/chunk.md are named %s", m[1])
			}
			names[m[1]] = true
			what := m[1][:1] + " " + strings.Join(m[2:], " | ")
			if rows[what] != "" {
				t.Errorf("rows %s and %s of spec/chunk.md are one", rows[what], m[1])
			}
			rows[what] = m[1]
		}
	}
	return rows
}

// TestChunkTraces plays every trace, holds each of its steps to a row of the
// page's tables, and asks every row for a trace that visits it.
func TestChunkTraces(t *testing.T) {
	t.Parallel()
	rows := rowsOfThePage(t)
	files, err := filepath.Glob("../spec/vectors/chunk/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	visited := map[string]bool{}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) { playFile(t, f, rows, visited) })
	}
	whole(t, rows)
	for _, name := range slices.Sorted(maps.Values(rows)) {
		if !visited[name] {
			t.Errorf("row %s of spec/chunk.md: no trace visits it", name)
		}
	}
}

// whole asks the escrow's table of a chunk for every request in every state.
func whole(t *testing.T, rows map[string]string) {
	t.Helper()
	has := map[string]map[string]bool{} // states by input
	for what := range rows {
		f := strings.Split(strings.TrimPrefix(what, "E "), " | ")
		if what[0] != 'E' || strings.HasPrefix(f[1], "given") || strings.HasPrefix(f[1], "returned") || strings.HasSuffix(f[1], " again") {
			continue
		}
		if has[f[1]] == nil {
			has[f[1]] = map[string]bool{}
		}
		has[f[1]][f[0]] = true
	}
	if len(has) < 10 {
		t.Errorf("spec/chunk.md has %d requests about a chunk: %v", len(has), has)
	}
	for input, states := range has {
		for _, s := range []string{"free", "locked", "claimed", "swept"} {
			if !states[s] {
				t.Errorf("spec/chunk.md does not say what the escrow does on %q of a chunk that is %s", input, s)
			}
		}
	}
}

func playFile(t *testing.T, file string, rows map[string]string, visited map[string]bool) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &trace{
		world: newWorld(t, 3), rows: rows, visited: visited, chunks: map[string]wire.ChunkID{}, names: map[wire.ChunkID]string{}, batches: map[wire.Hash]string{},
		agreements: map[string]vault.LockAsk{}, instances: map[wire.InstanceID]string{}, saved: map[string]map[string][]byte{},
	}
	expect := ""
	for line := range strings.Lines(string(raw)) {
		switch {
		case strings.HasPrefix(line, "> "):
			p.out.WriteString(line)
			p.refusal = nil
			p.do(strings.Fields(line[2:]))
		case strings.HasPrefix(line, "  "):
		default:
			if e, ok := strings.CutPrefix(line, "expect: "); ok {
				expect = strings.TrimSpace(e)
			}
			p.out.WriteString(line)
		}
	}
	switch text, bad := strings.CutPrefix(expect, "error: "); {
	case !bad && (expect != "ok" || p.refusal != nil):
		t.Errorf("expected %q, the last input: %v", expect, p.refusal)
	case bad && (p.refusal == nil || !strings.Contains(p.refusal.Error(), text)):
		t.Errorf("the last input was to be refused with %q: %v", text, p.refusal)
	}
	golden(t, file, p.out.String())
}

// step writes down one transition with its row.
func (p *trace) step(kind, thing, state, input, next, effects string) {
	p.t.Helper()
	what := fmt.Sprintf("%s %s | %s | %s | %s", kind, state, input, next, effects)
	name := p.rows[what]
	if name == "" {
		p.t.Errorf("spec/chunk.md has no row: %s", what)
		name = "??"
	}
	p.visited[name] = true
	line := fmt.Sprintf("  %-4s %s: %s, %s -> %s", name, thing, state, input, next)
	if effects != "" {
		line += ": " + effects
	}
	p.out.WriteString(line + "\n")
}

func (p *trace) client(name string) *client {
	p.t.Helper()
	for _, c := range p.owners {
		if c.name == name {
			return c
		}
	}
	p.t.Fatalf("nobody is called %q", name)
	return nil
}

// do plays one input.
func (p *trace) do(f []string) {
	p.t.Helper()
	arg := func(i int) string {
		if i >= len(f) {
			p.t.Fatalf("%v: word %d is missing", f, i)
		}
		return f[i]
	}
	switch arg(0) {
	case "witness":
		p.witness()
		return
	case "time", "clock": // a clock moves without what it brings
		n, err := strconv.ParseInt(arg(1), 10, 64)
		if err != nil {
			p.t.Fatal(err)
		}
		p.now += n
		p.witness()
		if arg(0) == "time" {
			p.tick()
		}
		return
	case "lock":
		q := p.agreements[arg(1)]
		p.ask(nil, vault.Request{Lock: &q})
		return
	}
	c := p.client(arg(0))
	switch arg(1) {
	case "batch":
		p.batch(c, arg(2), arg(3), arg(4))
	case "talk":
		p.talk(c, f[2:])
	case "sync":
		p.sync(c)
	case "head":
		before := p.states(c)
		c.advance()
		p.changed(c, before, "sees a head")
	case "agree": // writes down an agreement: name, contract, then pots
		p.agreement(arg(2), arg(3), f[4:])
	case "accept":
		p.accept(c, arg(2))
	case "claim", "swept":
		p.order(c, arg(1), arg(2))
	case "ask":
		p.forged(c, f[2:])
	case "took", "failed":
		p.took(c, arg(1) == "failed", arg(2))
	case "bring":
		p.bring(c, arg(2), arg(3))
	case "deposit":
		p.deposit(c, arg(2), arg(3))
	case "found":
		p.found(c, arg(2))
	case "say":
		p.speak(c, arg(2), arg(3))
	case "save":
		p.saved[c.name] = maps.Clone(c.rows)
	case "restore":
		c.rows, c.cursor = maps.Clone(p.saved[c.name]), 0
		c.cfg.Sealer = session.NewMailbox(c.id, c.kem)
		var err error
		if c.o, err = vault.NewOwner(c.cfg); err != nil {
			p.t.Fatal(err)
		}
		if err := c.o.Load(rowsOf(c.rows)); err != nil {
			p.t.Fatal(err)
		}
	default:
		p.t.Fatalf("%v: nobody does that", f)
	}
}

func (p *trace) refused(err error) string {
	if err == nil {
		return ""
	}
	p.refusal = err
	return "refused"
}

func (p *trace) batch(c *client, name, n, asset string) {
	p.t.Helper()
	count, err := strconv.ParseUint(n, 10, 32)
	if err != nil {
		p.t.Fatal(err)
	}
	kind := coin.Secp256k1
	if asset == "xmr" {
		kind = coin.Ed25519
	}
	id, rows, err := c.o.NewBatch(vault.BatchSpec{Denomination: denomination(coin.AssetID(asset), kind), Weight: 5, N: uint32(count), Expiry: p.now + 90*86400}, p.rnd)
	c.keep(rows, err)
	p.batches[id] = name
}

// agreement writes down a swap or a diary: each pot is a depositor and a chunk.
func (p *trace) agreement(name, kind string, pots []string) {
	p.t.Helper()
	a := vault.Agreement{Escrow: p.keys.id, LockBy: p.now + 60, Settle: vault.Atomic}
	var stakes [][]vault.Stake
	for _, pot := range pots {
		who, chunk, _ := strings.Cut(pot, ":")
		var stake []vault.Stake
		for _, name := range strings.Split(chunk, ",") {
			name, stale := strings.CutSuffix(name, "~")
			id := p.chunk(name)
			_, _, epoch := p.escrow.ChunkState(id)
			if stale {
				epoch--
			}
			stake = append(stake, vault.Stake{Chunk: id, Epoch: epoch, Weight: 5})
		}
		stakes = append(stakes, stake)
		a.Parties = append(a.Parties, vault.Recipients{p.client(who).id})
	}
	switch kind {
	case "swap":
		a.Source, a.Terms, a.Pots = []byte(swap), []int64{5, 5}, stakes
	case "turns":
		a.Source, a.Terms, a.Pots = []byte(swap), []int64{10, 10}, stakes
		a.Settle, a.Pace = vault.TitForTat, &settle.Pace{First: 5, Growth: 100, Most: 5, Wait: 60}
	case "diary":
		a.Source, a.Terms, a.Pots = []byte(diary), []int64{5, 2 * 86400}, stakes
		a.Parties = append(a.Parties, vault.Recipients{p.client("bob").id})
	case "gift":
		a.Source, a.Terms, a.Pots = []byte(gift), []int64{5}, stakes
		a.Parties = append(a.Parties, vault.Recipients{p.client("bob").id})
	case "bet":
		a.Source, a.Terms, a.Pots = []byte(bet), []int64{5}, stakes
		a.Oracles = []oracle.Quorum{feed()}
		a.Parties = append(a.Parties, vault.Recipients{p.client("bob").id})
	case "promise":
		a.Source, a.Terms, a.Pots = []byte(promise), []int64{5}, append(stakes, []vault.Stake{{Weight: 5}})
		a.Later = []coin.Denomination{denomination("btc", coin.Secp256k1)}
		a.Parties = append(a.Parties, vault.Recipients{p.client("bob").id})
	case "alone":
		a.Source, a.Terms, a.Pots = []byte(alone), []int64{5}, stakes
	default:
		p.t.Fatalf("no contract %q", kind)
	}
	p.agreements[name] = vault.LockAsk{Agreement: a}
}

// alone is a contract under which nobody may receive another's chunk.
const alone = `contract Alone
parties alice
term a : units 1..1000
pot money = a units from alice
at open:
  give all of money to alice
  close
`

// promise is a contract with a pot that is filled later.
const promise = `contract Promise
parties alice, bob
term a : units 1..1000
pot money = a units from alice
later pot price = a units from bob
phase Wait until now + 1 days
  when deposit price:
    give all of price to alice
    give all of money to bob
    close
  at deadline: close
`

// bet is a contract in which an oracle's value gives.
const bet = `contract Bet
parties alice, bob
term a : units 1..1000
oracle price "btc/usd" in 0.01..10_000_000.00
pot money = a units from alice
phase Wait until now + 1 days
  when oracle price each 60 seconds if price >= 1000.00:
    give all of money to bob
    close
  at deadline:
    give all of money to alice
    close
`

// gift is a contract in which a word gives.
const gift = `contract Gift
parties alice, bob
term a : units 1..1000
pot money = a units from alice
phase Wait until now + 1 days
  when alice says "take it":
    give all of money to bob
    close
  at deadline:
    give all of money to alice
    close
`

func (p *trace) chunk(name string) wire.ChunkID {
	p.t.Helper()
	id, ok := p.chunks[name]
	if !ok {
		p.t.Fatalf("no chunk is called %q", name)
	}
	return id
}

func (p *trace) accept(c *client, name string) {
	p.t.Helper()
	q := p.agreements[name]
	var ids []wire.ChunkID
	before := map[wire.ChunkID]string{}
	for _, pot := range q.Agreement.Pots {
		for _, s := range pot {
			if s.Chunk == (wire.ChunkID{}) {
				continue // it comes later
			}
			ids = append(ids, s.Chunk)
			before[s.Chunk] = c.o.ChunkState(s.Chunk)
		}
	}
	accepted, rows, err := c.o.Accept(c.proposal(q.Agreement), p.rnd)
	if err == nil {
		c.keep(rows, nil)
		q.Acceptances = append(q.Acceptances, accepted)
		p.agreements[name] = q
	}
	for _, id := range ids {
		input := "accepts, in another's pot"
		if p.puts(q.Agreement, id) == c.id {
			input = "accepts, in its own pot"
		}
		p.step("O", c.name+" "+p.names[id], before[id], input, c.o.ChunkState(id), p.refused(err))
	}
}

// puts returns who puts a chunk into an agreement's pots.
func (p *trace) puts(a vault.Agreement, id wire.ChunkID) wire.VaultID {
	for i, pot := range a.Pots {
		for _, s := range pot {
			if s.Chunk == id {
				return a.Parties[i][0]
			}
		}
	}
	return wire.VaultID{}
}

func (p *trace) order(c *client, what, name string) {
	p.t.Helper()
	id := p.chunk(name)
	before := c.o.ChunkState(id)
	var rows []vault.Row
	var err error
	input := "claims"
	if what == "claim" {
		rows, err = c.o.Claim([]wire.ChunkID{id})
	} else {
		input = "says that it is swept"
		rows, err = c.o.Swept([]wire.ChunkID{id})
	}
	if err == nil {
		c.keep(rows, nil)
	}
	p.step("O", c.name+" "+name, before, input, c.o.ChunkState(id), p.refused(err))
}

func (p *trace) speak(c *client, name, word string) {
	p.t.Helper()
	id := p.instance(name)
	before := c.o.InstanceState(id)
	_, rows, err := c.o.Say(id, strings.ReplaceAll(word, "_", " "), 0, false)
	if err == nil {
		c.keep(rows, nil)
	}
	p.step("J", c.name+" "+name, before, "says a word", c.o.InstanceState(id), p.refused(err))
}

func (p *trace) deposit(c *client, name, chunk string) {
	p.t.Helper()
	id, x := p.instance(name), p.chunk(chunk)
	before, was := c.o.InstanceState(id), c.o.ChunkState(x)
	rows, err := c.o.Deposit(id, 1, []wire.ChunkID{x}, p.now+60)
	if err == nil {
		c.keep(rows, nil)
	}
	p.step("J", c.name+" "+name, before, "deposits", c.o.InstanceState(id), p.refused(err))
	p.step("O", c.name+" "+chunk, was, "deposits", c.o.ChunkState(x), p.refused(err))
}

func (p *trace) found(c *client, name string) {
	p.t.Helper()
	id := p.instance(name)
	before := c.o.InstanceState(id)
	entry := vault.Index(0)
	for _, in := range c.o.Instances() {
		if in.ID == id && len(in.Deposits) > 0 {
			entry = in.Deposits[0].Entry
		}
	}
	rows, err := c.o.Funded(id, entry)
	if err == nil {
		c.keep(rows, nil)
	}
	p.step("J", c.name+" "+name, before, "finds a deposit funded", c.o.InstanceState(id), p.refused(err))
}

// reportOf is a value that enough of the oracle's keys have signed for now.
func (p *trace) reportOf(name, value string) vault.Report {
	p.t.Helper()
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return vault.Report{Instance: p.instance(name), Signed: signed(p.t, p.now, n, n)}
}

func (p *trace) bring(c *client, name, value string) {
	p.t.Helper()
	r := p.reportOf(name, value)
	before := c.o.InstanceState(r.Instance)
	_, rows, err := c.o.Bring(r)
	if err == nil {
		c.keep(rows, nil)
	}
	p.step("J", c.name+" "+name, before, "brings a report", c.o.InstanceState(r.Instance), p.refused(err))
}

func (p *trace) took(c *client, failed bool, name string) {
	p.t.Helper()
	id := p.instance(name)
	before := c.o.InstanceState(id)
	input := "says that a step is taken"
	if failed {
		input = "says that a step failed"
	}
	rows, err := c.o.Took(id, failed)
	if err == nil {
		c.keep(rows, nil)
	}
	p.step("J", c.name+" "+name, before, input, c.o.InstanceState(id), p.refused(err))
}

func (p *trace) instance(name string) wire.InstanceID {
	p.t.Helper()
	for id, n := range p.instances {
		if n == name {
			return id
		}
	}
	p.t.Fatalf("no instance is called %q", name)
	return wire.InstanceID{}
}

// sync shows a vault the newest head, and each entry that concerns it.
func (p *trace) sync(c *client) {
	p.t.Helper()
	before := p.states(c)
	c.advance()
	p.changed(c, before, "sees a head")
	positions, _ := p.feed.From(c.id, c.cursor, 1<<30)
	for _, at := range positions {
		if at >= p.size {
			return
		}
		before := p.states(c)
		e, err := vault.ParseEntry(p.entries[at])
		if err != nil {
			p.t.Fatal(err)
		}
		rows, err := c.observe(at)
		if err == nil {
			c.keep(rows, nil)
		}
		p.sees(c, e, at, before, err)
		if err != nil {
			return
		}
		c.cursor++
	}
}

type booked struct {
	chunks    map[wire.ChunkID]string
	last      map[wire.ChunkID]vault.Index
	instances map[wire.InstanceID]string
}

func (p *trace) states(c *client) booked {
	b := booked{map[wire.ChunkID]string{}, map[wire.ChunkID]vault.Index{}, map[wire.InstanceID]string{}}
	for id := range p.names {
		b.chunks[id] = c.o.ChunkState(id)
		if x, ok := c.o.Chunk(id); ok {
			b.last[id] = x.Last
		}
	}
	for id := range p.instances {
		b.instances[id] = c.o.InstanceState(id)
	}
	return b
}

func (p *trace) sorted() []wire.ChunkID {
	return slices.SortedFunc(maps.Keys(p.names), func(a, b wire.ChunkID) int { return strings.Compare(p.names[a], p.names[b]) })
}

// changed writes down every chunk whose state is another now.
func (p *trace) changed(c *client, before booked, input string) {
	p.t.Helper()
	for _, id := range p.sorted() {
		if now := c.o.ChunkState(id); now != before.chunks[id] {
			p.step("O", c.name+" "+p.names[id], before.chunks[id], input, now, "")
		}
	}
	p.says(c)
}

// sees writes down what an entry did to what it touches.
func (p *trace) sees(c *client, e vault.Entry, at int64, before booked, err error) {
	p.t.Helper()
	touched, instance := e.Touches()
	effects := ""
	switch {
	case errors.Is(err, vault.ErrGap):
		effects = "gap"
	case err != nil:
		effects = "deviation"
	}
	if err != nil {
		p.refusal = err
	}
	if name, ours := p.instances[instance]; ours && (before.instances[instance] != "none" || c.o.InstanceState(instance) != "none") {
		p.step("J", c.name+" "+name, before.instances[instance], "sees "+seen(e), c.o.InstanceState(instance), effects)
	}
	for _, id := range touched {
		name, ok := p.names[id]
		now := c.o.ChunkState(id)
		if !ok || before.chunks[id] == "unknown" && now == "unknown" || before.last[id] > vault.Index(at) {
			continue
		}
		input := "sees " + seen(e)
		switch {
		case e.Run != nil:
			input = "sees it given to another"
			for _, x := range e.Run.Exits {
				if x.Chunk == id && x.To[0] == c.id {
					input = "sees it given to itself"
				}
			}
		case e.Claim != nil || e.Swept != nil || e.Certify != nil:
			input = "sees its " + seen(e)
		case e.Lock != nil:
			input = "sees its lock"
		case e.Deposit != nil:
			input = "sees its deposit"
		}
		p.step("O", c.name+" "+name, before.chunks[id], input, now, effects)
	}
	p.says(c)
}

func seen(e vault.Entry) string {
	switch {
	case e.Certify != nil:
		return "birth"
	case e.Lock != nil:
		return "the lock"
	case e.Deposit != nil:
		return "a deposit"
	case e.Hand != nil:
		return "a hand"
	case e.Ack != nil:
		return "an ack"
	case e.Claim != nil:
		return "claim"
	case e.Swept != nil:
		return "sweep"
	case e.Run != nil:
		end := ""
		switch {
		case e.Run.Settled:
			end = ", settled"
		case e.Run.Closed:
			end = ", closed"
		}
		return [...]string{1: "it open", 2: "a word", 3: "a deadline", 4: "an abort", 5: "a step taken", 6: "a step lapsed", 7: "a step failed", 8: "a report", 9: "a deposit count", 10: "a deposit go back"}[e.Run.Kind] + end
	}
	return "an entry"
}

// says holds what a vault has to say of each chunk to the page's last table.
func (p *trace) says(c *client) {
	p.t.Helper()
	qs, err := c.o.Pending(p.rnd)
	if err != nil {
		p.t.Fatal(err)
	}
	said := map[wire.ChunkID]string{}
	steps := map[vault.Index]bool{}
	for _, q := range qs {
		switch {
		case q.Fetch != nil && q.Fetch.Step > 0 && q.Fetch.Instance == (wire.InstanceID{}):
			steps[q.Fetch.Step] = true
		case q.Claim != nil:
			for _, x := range q.Claim.Order.Chunks {
				said[x.Chunk] = "claim"
			}
		case q.Swept != nil:
			for _, x := range q.Swept.Order.Chunks {
				said[x.Chunk] = "swept"
			}
		}
	}
	for _, id := range p.sorted() {
		state := c.o.ChunkState(id)
		if state == "given" && steps[c.o.StepOf(id)] {
			said[id] = "fetch of the step"
		}
		want := map[string]string{"given": "fetch of the step", "ordered": "claim", "ordered, b here": "claim", "claimed": "claim", "done": "swept"}[state]
		if said[id] != want {
			p.t.Errorf("%s, chunk %s in state %q: it says %q, want %q", c.name, p.names[id], state, said[id], want)
		}
	}
}

// talk says everything pending, or what is of one kind, and hears the answers
// unless they are to be lost.
func (p *trace) talk(c *client, words []string) {
	p.t.Helper()
	lost := slices.Contains(words, "unanswered")
	qs, err := c.o.Pending(p.rnd)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, q := range qs {
		if len(words) > 0 && words[0] != "unanswered" && !strings.HasPrefix(describeRequest(q), words[0]) {
			continue
		}
		r := p.ask(c, q)
		if !lost {
			p.hears(c, q, r)
		}
	}
}

func (p *trace) hears(c *client, q vault.Request, r vault.Reply) {
	p.t.Helper()
	before := p.states(c)
	given := map[wire.ChunkID]vault.Index{}
	for id, s := range before.chunks {
		if s == "given" {
			given[id] = c.o.StepOf(id)
		}
	}
	rows, err := c.o.Hear(q, r)
	save(c.rows, rows)
	what := ""
	switch {
	case q.Open != nil && r.Certified != nil:
		what = "hears its certificate"
	case q.Fetch != nil && q.Fetch.Instance != (wire.InstanceID{}):
		what = "hears shares"
	case q.Fetch != nil && len(r.Mail) > 0:
		what = "hears r"
	case q.Fetch != nil:
		what = "hears that there is no r"
	case q.Claim != nil && r.Refused != nil:
		what = "hears its claim refused"
	case q.Claim != nil:
		what = "hears b"
	}
	if what != "" {
		for _, id := range p.sorted() {
			if now := c.o.ChunkState(id); now != before.chunks[id] {
				p.step("O", c.name+" "+p.names[id], before.chunks[id], what, now, "")
			}
		}
	}
	if err != nil {
		p.refusal = err
	}
	p.says(c)
}

// forged asks in a vault's name what its own machine would not, as a modified
// host with a modified vault could: claim, swept, open, lock, fetch, stored.
func (p *trace) forged(c *client, f []string) {
	p.t.Helper()
	sign := func(purpose string, body any) []byte {
		b, err := wire.Marshal(body)
		if err != nil {
			p.t.Fatal(err)
		}
		return wire.Sign(c.sign, purpose, b)
	}
	var list []vault.ChunkEpoch
	if f[0] == "claim" || f[0] == "swept" {
		id := p.chunk(f[1])
		_, _, epoch := p.escrow.ChunkState(id)
		if len(f) > 2 && f[2] == "old" {
			epoch--
		}
		list = []vault.ChunkEpoch{{Chunk: id, Epoch: epoch}}
	}
	var q vault.Request
	switch f[0] {
	case "claim":
		o := vault.ClaimOrder{Escrow: p.keys.id, Chunks: list}
		q.Claim = &vault.ClaimAsk{Order: o, Sig: sign("latchkey/claim/v1", o)}
	case "swept":
		o := vault.SweptOrder{Escrow: p.keys.id, Chunks: list}
		q.Swept = &vault.SweptAsk{Order: o, Sig: sign("latchkey/swept/v1", o)}
	case "fetch", "stored":
		n, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			p.t.Fatal(err)
		}
		q.Fetch = &vault.Fetch{Step: n + 1}
		if f[0] == "stored" {
			q = vault.Request{Stored: &vault.StoredAsk{Step: n + 1}}
		}
	case "deposit":
		id := p.chunk(f[2])
		_, owner, epoch := p.escrow.ChunkState(id)
		if len(f) > 3 && f[3] == "old" {
			epoch--
		}
		o := vault.DepositOrder{Instance: p.instance(f[1]), Pot: 1, Chunks: []vault.ChunkEpoch{{Chunk: id, Epoch: epoch}}, By: p.now + 60}
		q.Deposit = &vault.DepositAsk{Order: o, Sig: sign("latchkey/deposit/v1", o)}
		for _, other := range p.owners {
			if paper, err := other.o.Paper(id); err == nil && (other.id == owner || len(q.Deposit.Papers.Certs) == 0) {
				q.Deposit.Papers = vault.Papers{Certs: []vault.Made{{Cert: paper.Cert, Owner: paper.Owner}}, Chunks: []key.Chunk{paper.Chunk}}
			}
		}
	case "shares":
		q.Fetch = &vault.Fetch{Instance: p.instance(f[1])}
	case "hand":
		q.Hand = &vault.HandAsk{Instance: p.instance(f[1])}
	case "ack":
		id := p.instance(f[1])
		q.Ack = &vault.AckAsk{Instance: id, Sig: wire.Sign(c.sign, "latchkey/ack/v1", id[:])}
	case "word":
		w := vault.Word{Instance: p.instance(f[1]), Word: strings.ReplaceAll(f[2], "_", " "), Seq: 1}
		if c.name != "alice" {
			w.Role = 1
		}
		if len(f) > 3 {
			n, err := strconv.ParseUint(f[3], 10, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			w.Seq = n
		}
		q.Word = &vault.SignedWord{Body: w, Sig: sign("latchkey/word/v1", w)}
	case "report", "forged-report":
		r := p.reportOf(f[1], f[2])
		if f[0] == "forged-report" {
			r.Signed[1].Value.Value++
		}
		q.Report = &r
	case "taken", "failed":
		n, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			p.t.Fatal(err)
		}
		w := vault.StepWord{Instance: p.instance(f[1]), Step: uint32(n), Failed: f[0] == "failed"}
		q.Step = &vault.SignedStep{Body: w, Sig: sign("latchkey/step/v1", w)}
	case "lock":
		l := p.agreements[f[1]]
		q.Lock = &vault.LockAsk{Agreement: l.Agreement}
		for i, r := range l.Agreement.Parties {
			h, err := l.Agreement.Hash()
			if err != nil {
				p.t.Fatal(err)
			}
			body := vault.Acceptance{Agreement: h, Role: uint32(i), Nonce: [16]byte{byte(i), 9}}
			for _, other := range p.owners {
				if other.id == r[0] {
					b, err := wire.Marshal(body)
					if err != nil {
						p.t.Fatal(err)
					}
					q.Lock.Acceptances = append(q.Lock.Acceptances, vault.SignedAcceptance{Body: body, Sig: wire.Sign(other.sign, "latchkey/accept/v1", b)})
				}
			}
		}
	default:
		p.t.Fatalf("%v: no such request", f)
	}
	p.ask(c, q)
}

// ask brings one request to the escrow and writes down what it did.
func (p *trace) ask(c *client, q vault.Request) vault.Reply {
	p.t.Helper()
	from := wire.VaultID{}
	var a vault.Answer
	var err error
	labels := p.labels(c, q)
	before := p.books()
	if c != nil {
		from = c.id
		a, err = c.ask(q)
	} else {
		a, err = p.escrow.Lock(*q.Lock, p.rnd)
	}
	if err == nil && a.Reply.Certified != nil {
		p.named(*a.Reply.Certified, labels)
	}
	if err == nil && a.Reply.Locked != nil {
		p.locked(a.Reply.Locked.Instance, q.Lock)
		labels.instance = a.Reply.Locked.Instance
	}
	p.relabel(labels, q, a.Block, err)
	p.persist(a.Block, nil)
	reply := p.refused(err)
	if err == nil {
		if reply = answerOf(q, a.Reply); a.Hold > 0 {
			reply += " when witnessed"
		}
	}
	p.report(a.Block, before, labels, reply)
	if q.Fetch != nil && q.Fetch.Step > 0 && q.Fetch.Instance == (wire.InstanceID{}) || q.Stored != nil {
		step := vault.Index(0)
		input := "stored"
		if q.Fetch != nil {
			input, step = "fetch", q.Fetch.Step
		} else {
			step = q.Stored.Step
		}
		state := "none"
		if before.mail[mailbox{from, step}] {
			state = "left"
		}
		effects := joined(append(kinds(a.Block, nil), reply))
		p.step("R", fmt.Sprintf("r of entry %d for %s", step-1, c.name), state, input, p.escrow.MailState(from, step), effects)
	}
	if p.escrow.Witnessed() < a.Hold {
		p.witness()
	}
	if err != nil {
		return vault.Reply{Refused: &vault.Refused{Reason: err.Error()}}
	}
	return a.Reply
}

func answerOf(q vault.Request, r vault.Reply) string {
	switch {
	case r.Certified != nil:
		return "certificate"
	case r.Locked != nil:
		return "instance"
	case r.Receipt != nil:
		return "receipt"
	case len(r.Released) > 0:
		return "b"
	case len(r.Mail) > 0:
		return "mail"
	case q.Fetch != nil:
		return "no mail"
	}
	return "done"
}

type mailbox struct {
	to   wire.VaultID
	step vault.Index
}

// books are the escrow's, of all that has a name.
type books struct {
	chunks    map[wire.ChunkID]string
	instances map[wire.InstanceID]string
	mail      map[mailbox]bool
}

func (p *trace) books() books {
	b := books{map[wire.ChunkID]string{}, map[wire.InstanceID]string{}, map[mailbox]bool{}}
	for id := range p.names {
		b.chunks[id], _, _ = p.escrow.ChunkState(id)
	}
	for id := range p.instances {
		b.instances[id] = p.escrow.InstanceState(id)
	}
	for _, c := range p.owners {
		for step := vault.Index(1); step <= vault.Index(len(p.entries)); step++ {
			if p.escrow.MailState(c.id, step) == "left" {
				b.mail[mailbox{c.id, step}] = true
			}
		}
	}
	return b
}

// labels name what a request is to each chunk and instance that it names.
type labels struct {
	chunks   map[wire.ChunkID]string
	instance wire.InstanceID
	input    string // to the instance
}

func (p *trace) labels(c *client, q vault.Request) *labels {
	l := &labels{chunks: map[wire.ChunkID]string{}}
	order := func(what string, list []vault.ChunkEpoch) {
		for _, x := range list {
			_, owner, epoch := p.escrow.ChunkState(x.Chunk)
			l.chunks[x.Chunk] = what
			if owner != c.id {
				l.chunks[x.Chunk] = what + " by another"
			} else if epoch != x.Epoch {
				l.chunks[x.Chunk] = what + " of another epoch"
			}
		}
	}
	switch {
	case q.Claim != nil:
		order("claim", q.Claim.Order.Chunks)
	case q.Swept != nil:
		order("swept", q.Swept.Order.Chunks)
	case q.Lock != nil:
		l.input = "lock"
		for _, pot := range q.Lock.Agreement.Pots {
			for _, s := range pot {
				_, owner, epoch := p.escrow.ChunkState(s.Chunk)
				l.chunks[s.Chunk] = "lock"
				if owner != p.puts(q.Lock.Agreement, s.Chunk) {
					l.chunks[s.Chunk] = "lock in another's pot"
				} else if epoch != s.Epoch {
					l.chunks[s.Chunk] = "lock of another epoch"
				}
			}
		}
	case q.Deposit != nil:
		l.instance, l.input = q.Deposit.Order.Instance, "deposit"
		order("deposit", q.Deposit.Order.Chunks)
	case q.Hand != nil:
		l.instance, l.input = q.Hand.Instance, "hand"
		if q.Hand.Deposit != 0 {
			l.input = "hand of a deposit"
		}
	case q.Ack != nil:
		l.instance, l.input = q.Ack.Instance, "ack"
		if q.Ack.Deposit != 0 {
			l.input = "ack of a deposit"
		}
	case q.Word != nil:
		l.instance, l.input = q.Word.Body.Instance, "word"
	case q.Report != nil:
		l.instance, l.input = q.Report.Instance, "report"
	case q.Step != nil:
		l.instance, l.input = q.Step.Body.Instance, "taken"
		if q.Step.Body.Failed {
			l.input = "failed"
		}
	case q.Fetch != nil && q.Fetch.Instance != (wire.InstanceID{}):
		l.instance, l.input = q.Fetch.Instance, "fetch"
	}
	return l
}

// relabel says of a request what only its outcome tells: that it was made before,
// is the last of its kind, or why it is refused.
func (p *trace) relabel(l *labels, q vault.Request, b vault.Block, err error) {
	again := err == nil && len(b.Entries) == 0
	switch {
	case q.Lock != nil && again:
		l.input = "lock again"
		for id := range l.chunks {
			l.chunks[id] = "lock again"
		}
	case q.Deposit != nil && again:
		l.input += " again"
		for id := range l.chunks {
			l.chunks[id] = l.input
		}
	case q.Deposit != nil && err != nil:
		l.input = "deposit that is not to be taken"
	case q.Ack != nil && q.Ack.Deposit != 0 && len(b.Entries) > 1:
		l.input = "the last ack of a deposit"
	case (q.Hand != nil || q.Ack != nil || q.Word != nil || q.Step != nil || q.Report != nil) && again:
		l.input += " again"
	case q.Hand != nil && err != nil:
		l.input = "hand that lacks shares"
	case q.Ack != nil && errors.Is(err, vault.ErrExpired):
		l.input = "the last ack, after lock-by"
	case q.Ack != nil && err != nil:
		l.input = "ack before the hands"
	case q.Ack != nil && len(b.Entries) > 1:
		l.input = "the last ack"
	case q.Step != nil && errors.Is(err, vault.ErrExpired):
		l.input += ", of a step that is over"
	case q.Step != nil && errors.Is(err, vault.ErrNotReady):
		l.input += ", of a step to come"
	case q.Step != nil && err != nil:
		l.input += ", not by its receiver"
	case q.Report != nil && errors.Is(err, vault.ErrExpired):
		l.input = "report after the deadline"
	case q.Report != nil && errors.Is(err, vault.ErrNotReady):
		l.input = "report too early"
	case q.Report != nil && err != nil:
		l.input = "report that is not to be taken"
	case q.Word != nil && errors.Is(err, vault.ErrExpired):
		l.input = "word after the deadline"
	case q.Word != nil && errors.Is(err, vault.ErrNotReady):
		l.input = "word too early"
	case q.Word != nil && err != nil:
		l.input = "word that is not to be said"
	}
}

// named gives names to the chunks of a new certificate.
func (p *trace) named(s key.SignedCertificate, l *labels) {
	p.t.Helper()
	cert, err := s.Unverified()
	if err != nil {
		p.t.Fatal(err)
	}
	id, err := cert.ID()
	if err != nil {
		p.t.Fatal(err)
	}
	for i := range cert.N {
		chunk := key.ChunkIDOf(id, i)
		name := p.batches[cert.Batch]
		if cert.N > 1 {
			name += fmt.Sprint(i)
		}
		p.chunks[name], p.names[chunk] = chunk, name
		l.chunks[chunk] = "open"
	}
}

// locked gives an agreement's name to its instance.
func (p *trace) locked(id wire.InstanceID, q *vault.LockAsk) {
	for name, x := range p.agreements {
		a, err1 := wire.Marshal(x.Agreement)
		b, err2 := wire.Marshal(q.Agreement)
		if err1 == nil && err2 == nil && bytes.Equal(a, b) {
			p.instances[id] = name
		}
	}
}

// report writes down what a block, and the answer with it, did to everything
// that has a name.
func (p *trace) report(b vault.Block, before books, l *labels, reply string) {
	p.t.Helper()
	var run *vault.Run
	for _, raw := range b.Entries {
		e, err := vault.ParseEntry(raw)
		if err != nil {
			p.t.Fatal(err)
		}
		if e.Run != nil {
			run = e.Run
		}
	}
	if name := p.instances[l.instance]; name != "" {
		state := before.instances[l.instance]
		if state == "" {
			state = "none"
		}
		p.step("I", name, state, l.input, p.escrow.InstanceState(l.instance), joined(append(kinds(b, nil), append(mails(b), reply)...)))
	}
	for _, id := range p.sorted() {
		input := l.chunks[id]
		state := before.chunks[id]
		if state == "" {
			state = "none"
		}
		now, _, _ := p.escrow.ChunkState(id)
		if input != "" {
			next, given := now, run != nil && now == "free" && len(kinds(b, &id)) > 1
			if given {
				next = "locked" // and in the same block given on
			}
			kind := kinds(b, &id)
			if given {
				kind = kind[:1]
			}
			p.step("E", p.names[id], state, input, next, joined(append(kind, append(shares(b, id, given), reply)...)))
			state = next
		}
		if run == nil || !slices.ContainsFunc(run.Exits, func(x vault.Exit) bool { return x.Chunk == id }) {
			continue
		}
		cause := [...]string{
			1: "given when it opens", 2: "given by a word", 3: "given by a deadline", 4: "returned by an abort",
			5: "given after a step was taken", 6: "given after a step lapsed", 7: "returned after a step failed", 8: "given by a report",
			9: "given by a deposit", 10: "returned when a deposit's time is over",
		}[run.Kind]
		p.step("E", p.names[id], state, cause, now, joined(append([]string{"Run"}, shares(b, id, false)...)))
	}
}

// joined leaves out what is empty.
func joined(parts []string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

// kinds are the kinds of a block's entries, of those that touch a chunk or all.
func kinds(b vault.Block, chunk *wire.ChunkID) (out []string) {
	for _, raw := range b.Entries {
		e, err := vault.ParseEntry(raw)
		if err != nil {
			continue
		}
		touched, _ := e.Touches()
		if chunk != nil && !slices.Contains(touched, *chunk) {
			continue
		}
		name, _, _ := strings.Cut(kindOf(e), ",")
		out = append(out, strings.ToUpper(name[:1])+name[1:])
	}
	return out
}

// shares says what a block does to the escrow's share of a chunk.
func shares(b vault.Block, id wire.ChunkID, hide bool) (out []string) {
	if hide {
		return nil
	}
	for _, r := range b.Rows {
		switch {
		case r.Key == "b"+string(id[:]) && r.Value == nil:
			out = append(out, "b erased")
		case r.Key == "b"+string(id[:]) && bytes.HasPrefix(r.Value, make([]byte, 4)):
			out = append(out, "b stored")
		case r.Key == "b"+string(id[:]):
			out = append(out, "b replaced")
		case r.Key[0] == 'r' && len(r.Key) == 41 && bytes.Contains(r.Value, id[:]):
			out = append(out, "r left")
		}
	}
	return out
}

// mails says what a block does to shares handed over.
func mails(b vault.Block) (out []string) {
	hand, stored := slices.Contains(kinds(b, nil), "Hand"), slices.Contains(kinds(b, nil), "Stored")
	for _, r := range b.Rows {
		what := "shares kept"
		if r.Value == nil {
			what = "shares dropped"
		}
		late := r.Key[0] == 'r' && !stored && (hand || r.Value == nil) // of a deposit
		if (r.Key[0] == 'h' && len(r.Key) == 97 || late) && !slices.Contains(out, what) {
			out = append(out, what)
		}
	}
	return out
}

// tick lets time act, one block after the other.
func (p *trace) tick() {
	p.t.Helper()
	for {
		before := p.books()
		b, err := p.escrow.Due(p.rnd)
		if err != nil {
			p.t.Fatal(err)
		}
		if len(b.Entries) == 0 {
			return
		}
		p.persist(b, nil)
		l := &labels{chunks: map[wire.ChunkID]string{}}
		for _, raw := range b.Entries {
			e, err := vault.ParseEntry(raw)
			if err != nil {
				p.t.Fatal(err)
			}
			if e.Run != nil {
				l.instance, l.input = e.Run.Instance, "its deadline"
				switch e.Run.Kind {
				case vault.RunReturn:
					l.input = "a deposit's time"
				case vault.RunAbort:
					l.input = "lock-by"
				case vault.RunLapsed:
					l.input = "the step's deadline"
				}
			}
		}
		p.report(b, before, l, "")
		p.witness()
	}
}
