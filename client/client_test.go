package client

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"latchkey/coin"
	"latchkey/contract"
	"latchkey/event"
	"latchkey/key"
	"latchkey/market"
	"latchkey/rate"
	"latchkey/switchboard"
	"latchkey/switchboard/switchboardpb"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wallet"
	"latchkey/wallet/fake"
	"latchkey/wire"
)

var (
	btc = coin.Asset{ID: "btc", Chain: "fake:1", Key: coin.Secp256k1, Address: "fake", Decimals: 8}
	// me is the client under test, them its counterparty.
	me, them = wire.VaultID{1}, wire.VaultID{2}
)

// A board is as much of a switchboard as these tests need. It believes every
// signature.
type board struct {
	switchboardpb.UnimplementedSwitchboardServiceHandler
	rate     error // why there is no rate
	unit     uint64
	declined []market.DeclineReason
	place    error                  // how Place answers
	placed   map[market.OfferID]int // how often it was asked
	canceled int
	accept   error // how Accept answers
	accepted int
}

func (b *board) Place(_ context.Context, s *switchboardpb.Signed) (*switchboardpb.Done, error) {
	var st switchboard.Statement
	var o market.Offer
	if err := wire.Unmarshal(s.Statement, &st); err != nil {
		return nil, err
	}
	if err := wire.Unmarshal(st.Payload, &o); err != nil {
		return nil, err
	}
	if b.placed == nil {
		b.placed = map[market.OfferID]int{}
	}
	b.placed[o.ID]++
	return &switchboardpb.Done{}, b.place
}

func (b *board) Cancel(context.Context, *switchboardpb.Signed) (*switchboardpb.Done, error) {
	b.canceled++
	return &switchboardpb.Done{}, nil
}

func (b *board) Denominate(context.Context, *switchboardpb.Signed) (*switchboardpb.DenominateResponse, error) {
	if b.rate != nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, b.rate)
	}
	raw, err := wire.Marshal(coin.Denomination{ID: "btc-test", Asset: btc, Unit: coin.NewAmount(b.unit)})
	return &switchboardpb.DenominateResponse{Denomination: raw}, err
}

func (b *board) Decline(_ context.Context, s *switchboardpb.Signed) (*switchboardpb.Done, error) {
	var st switchboard.Statement
	var p switchboard.DeclinePayload
	if err := wire.Unmarshal(s.Statement, &st); err != nil {
		return nil, err
	}
	if err := wire.Unmarshal(st.Payload, &p); err != nil {
		return nil, err
	}
	b.declined = append(b.declined, p.Why)
	return &switchboardpb.Done{}, nil
}

type anySigner struct{}

func (anySigner) ID() wire.VaultID                             { return me }
func (anySigner) Sign(context.Context, []byte) ([]byte, error) { return make([]byte, 64), nil }

// A world is a client's host without its vault: what it refuses, it refuses
// before it asks the vault.
type world struct {
	*Host
	t      *testing.T
	memory *event.Memory
	log    event.Log
	board  *board
	chain  *fake.Chain
	wallet *fake.Wallet
	url    string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, memory: event.NewMemory(), board: &board{unit: 10_000}}
	var err error
	if w.chain, err = fake.New(fake.Config{Asset: btc, Confirmations: 2, Fee: coin.NewAmount(100), Dust: coin.NewAmount(50)}); err != nil {
		t.Fatal(err)
	}
	w.wallet = w.chain.Wallet("mine")
	_, h := switchboardpb.NewSwitchboardServiceHandler(w.board)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	w.url = s.URL
	w.restart()
	return w
}

// restart is the host as a new process finds it.
func (w *world) restart() {
	w.t.Helper()
	if w.log != nil {
		if err := w.log.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
	log, err := w.memory.Open()
	if err != nil {
		w.t.Fatal(err)
	}
	w.log = log
	w.Host, err = New(w.t.Context(), Config{
		Name: "me", Log: log, Wallets: map[coin.AssetID]wallet.Wallet{"btc": w.wallet}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.id = me
	w.Host.board = switchboard.NewClient(w.url, httpClient(), anySigner{})
}

func (w *world) deal(id market.ProposalID) (d Deal) {
	w.t.Helper()
	if !w.store.get(dealName(id), &d) {
		w.t.Fatalf("no record of deal %d", id)
	}
	return d
}

func (w *world) kinds() (out []string) {
	events, _ := w.store.after(0)
	for _, e := range events {
		out = append(out, e.Kind)
	}
	return out
}

func TestRecords(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	f := Funding{Cert: wire.CertID{7}, State: "funding", Txs: []string{"a", "b"}, MaxFee: "12"}
	if err := w.store.put(ctx, "fund/7", f); err != nil {
		t.Fatal(err)
	}
	w.store.setFlag(ctx, "met")
	w.store.setNumber(ctx, "cursor", 1<<63)
	for _, k := range []string{"one", "two", "three"} {
		w.store.journal(ctx, Event{Kind: k, At: 5})
	}
	before, _ := w.store.after(1)
	for range 2 {
		w.restart()
		var got Funding
		if !w.store.get("fund/7", &got) {
			t.Fatal("a record is gone")
		}
		if diff := cmp.Diff(f, got); diff != "" {
			t.Errorf("a record after a restart:\n%s", diff)
		}
		after, more := w.store.after(1)
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("the timeline after a restart:\n%s", diff)
		}
		if !w.store.flag("met") || w.store.flag("other") || w.store.number("cursor") != 1<<63 || w.store.number("other") != 0 {
			t.Error("flags and numbers are not what they were")
		}
		select {
		case <-more:
			t.Error("news where there are none")
		default:
		}
	}
	_, more := w.store.after(3)
	w.store.journal(ctx, Event{Kind: "four"})
	<-more
	if e, _ := w.store.after(3); len(e) != 1 || e[0].Seq != 4 {
		t.Errorf("after the restart the timeline goes on with %+v", e)
	}
	if err := w.log.Close(); err != nil {
		t.Fatal(err)
	}
	w.store.journal(ctx, Event{Kind: "five"})
	if err := w.store.err(); !errors.Is(err, event.ErrClosed) {
		t.Errorf("a log that fails: %v", err)
	}
}

// A full disk: what could not be stored is not acted on, what was is still known,
// and the work ends with an error that names the reason.
func TestRecordsOnAFullDisk(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	before := Deal{Proposal: 5, State: "proposed"}
	if err := w.store.put(ctx, dealName(5), before); err != nil {
		t.Fatal(err)
	}
	w.store.setNumber(ctx, "notices", 3)
	full := errors.New("no space left on device")
	w.log.(*event.MemoryLog).Fail(full)
	if err := w.store.put(ctx, dealName(5), Deal{Proposal: 5, State: "accepted", Signed: []byte{1}}); !errors.Is(err, full) {
		t.Errorf("a record on a full disk: %v", err)
	}
	if diff := cmp.Diff(before, w.deal(5)); diff != "" {
		t.Errorf("the record is not what is stored (-want +got):\n%s", diff)
	}
	err := w.notice(ctx, switchboard.Notice{Delivery: market.Delivery{Seq: 4, Ended: &market.EndedNotice{Proposal: 77}}})
	if got := w.store.number("notices"); got != 3 {
		t.Errorf("acknowledged are %d notices, stored are 3 (%v)", got, err)
	}
	if err := w.store.err(); !errors.Is(err, full) {
		t.Errorf("the work goes on: %v", err)
	}
}

const swap = `contract Swap
parties alice, bob
term a : units 1..1000
term b : units 1..1000
pot left_side  = a units from alice
pot right_side = b units from bob
at open:
  give all of left_side to bob
  give all of right_side to alice
  close
`

// deposit is the vault's status with one certificate of n chunks of this client, in
// the order of their ids.
func (w *world) deposit(n int) (s enclave.Status) {
	w.t.Helper()
	var points []key.Point
	for i := range n {
		public, err := wallet.PublicOf(coin.Secp256k1, wallet.PrivateKey{31: byte(i + 1)})
		if err != nil {
			w.t.Fatal(err)
		}
		p, err := key.ParsePoint(coin.Secp256k1, public)
		if err != nil {
			w.t.Fatal(err)
		}
		points = append(points, p)
	}
	cert := key.Certificate{
		Denomination: coin.Denomination{ID: "btc-test", Asset: btc, Unit: coin.NewAmount(10_000)}, Weight: 5, N: uint32(n),
		Owner: []wire.VaultID{me}, Expiry: 1 << 33,
	}
	for i, p := range points {
		c := vault.Chunk{Cert: wire.CertID{3}, Index: uint32(i), P: p, Weight: 5, Owner: me}
		s.Chunks = append(s.Chunks, enclave.ChunkStatus{ID: key.ChunkIDOf(c.Cert, c.Index), Chunk: c, Cert: cert, Holds: true})
	}
	slices.SortFunc(s.Chunks, func(a, b enclave.ChunkStatus) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return s
}

// A client dies when its wallet has paid and before it has noted so; meanwhile its
// user claims one of the chunks. The wallet is asked for the very same again, and
// what is shown as a chunk's address is that of its key.
func TestFundAgain(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.chain.Mint(w.wallet.Own(), coin.NewAmount(10_000_000))
	w.chain.Mine(3)
	s := w.deposit(4)
	record := "fund/" + wire.CertID{3}.String()
	funding := func() (f Funding) {
		w.store.get(record, &f)
		return f
	}
	w.fund(ctx, s)
	first := funding()
	if first.State != "funded" || len(first.Addresses) != 4 {
		t.Fatalf("the deposit is %+v; problems %v", first, w.problems)
	}
	for _, c := range s.Chunks {
		want, err := w.wallet.Addresses(ctx, btc, []wallet.PublicKey{c.Chunk.P.Bytes()})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.chunk(c, s, nil, nil).Address; got != want[0] {
			t.Errorf("chunk %d is shown at %s, its address is %s", c.Chunk.Index, got, want[0])
		}
	}
	again := first
	again.State, again.Txs = "funding", nil
	if err := w.store.put(ctx, record, again); err != nil {
		t.Fatal(err)
	}
	w.restart()
	s.Chunks[1].Chunk.Claim = true
	w.fund(ctx, s)
	if diff := cmp.Diff(first, funding()); diff != "" {
		t.Errorf("funded again (-first +again; problems %v):\n%s", w.problems, diff)
	}

	// A fee that has risen since is noted, and paid the next time.
	again.MaxFee, again.Cert = "1", wire.CertID{4}
	record = "fund/" + again.Cert.String()
	if err := w.store.put(ctx, record, again); err != nil {
		t.Fatal(err)
	}
	s = w.deposit(2)
	for i := range s.Chunks {
		s.Chunks[i].Chunk.Cert = again.Cert
	}
	w.fund(ctx, s)
	w.fund(ctx, s)
	if got := funding(); got.State != "funded" {
		t.Errorf("after a rise of fees the deposit is %+v; problems %v", got, w.problems)
	}
}

// A vault that waits for another party does not ask the escrow as fast as it can;
// what the log shows ends the wait.
func TestPatience(t *testing.T) {
	w := newWorld(t)
	rounds := func() (out []string) {
		for range 14 {
			out = append(out, w.patience("fetch").String())
		}
		return out
	}
	want := []string{"0s", "0s", "0s", "0s", "10ms", "20ms", "40ms", "80ms", "160ms", "320ms", "640ms", "1s", "1s", "1s"}
	for range 2 {
		if diff := cmp.Diff(want, rounds()); diff != "" {
			t.Errorf("waits between questions (-want +got):\n%s", diff)
		}
		if got := w.patience("hand"); got != 0 {
			t.Errorf("what changes something waits %v", got)
		}
		w.news()
	}
}

// What lies at a chunk's address may cost more to be moved than was estimated:
// somebody else has paid there too. The limit rises until it is enough, and no
// further than a bound.
func TestSweepLimit(t *testing.T) {
	w := newWorld(t)
	s := &Sweeping{}
	var got []string
	for range 13 {
		most, err := s.limit(t.Context(), w.wallet, btc, 2)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := s.limit(t.Context(), w.wallet, btc, 2); err != nil || again != most {
			t.Errorf("the limit is %s, and %s when asked again: %v", most, again, err)
		}
		got = append(got, most.String())
		s.MaxFee, s.Raised = "", min(s.Raised+1, maxRaised) // too little
	}
	got = append(got[:3], got[9:]...)
	if diff := cmp.Diff([]string{"200", "400", "800", "102400", "204800", "204800", "204800"}, got); diff != "" {
		t.Errorf("limits of a sweep (-want +got):\n%s", diff)
	}
}

// paper is of a chunk of the wanted denomination, with a key of its own.
func paper(t testing.TB, d coin.Denomination, n byte) vault.Paper { return paperOf(t, d, n, 50) }

// paperOf is one of another weight.
func paperOf(t testing.TB, d coin.Denomination, n byte, weight uint32) vault.Paper {
	t.Helper()
	public, err := wallet.PublicOf(coin.Secp256k1, wallet.PrivateKey{31: n})
	if err != nil {
		t.Fatal(err)
	}
	p, err := key.ParsePoint(coin.Secp256k1, public)
	if err != nil {
		t.Fatal(err)
	}
	root, err := key.MerkleRoot([]key.Point{p})
	if err != nil {
		t.Fatal(err)
	}
	body, id, err := key.Certificate{
		Version: 1, Batch: wire.Hash{n}, OwnerEvidence: wire.Hash{1}, EscrowEvidence: wire.Hash{2}, Log: "escrow.test/log", Escrow: wire.VaultID{8}, Denomination: d, Weight: weight, N: 1, Custody: key.AdditiveCustody(them, wire.VaultID{8}), Owner: []wire.VaultID{them}, Root: root, Expiry: 1 << 33,
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return vault.Paper{Cert: key.SignedCertificate{Body: body}, Chunk: key.Chunk{Cert: id, Key: p}}
}

var wanted = coin.Denomination{ID: "eth-test", Asset: btc, Unit: coin.NewAmount(10_000)}

func program(t *testing.T, source string) *contract.Program {
	t.Helper()
	p, err := contract.Compile([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (w *world) offer() market.Offer {
	w.t.Helper()
	o := market.Offer{
		ID: market.OfferID{9}, Contract: program(w.t, swap).Hash(), Parties: make([]wire.VaultID, 2), Terms: make([]int64, 2), WantTerm: 1, Settle: market.Atomic, Escrow: wire.VaultID{8}, Role: 0, Counter: 1,
		Give: market.Quantity{Denomination: "btc-test", Units: 55}, Want: market.Quantity{Denomination: "eth-test", Units: 50}, Premium: 100,
	}
	raw, err := wire.Marshal(o)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.store.put(w.t.Context(), "offer/"+hex.EncodeToString(o.ID[:]), Placed{Offer: raw, Want: wanted, Sent: true, Text: "Swap"}); err != nil {
		w.t.Fatal(err)
	}
	return o
}

func proposal(o market.Offer, p vault.Paper) market.Proposal {
	return market.Proposal{
		ID: 5, Contract: o.Contract, Settle: o.Settle, Escrow: o.Escrow, Terms: []int64{50, 50}, Parties: []wire.VaultID{me, them}, AcceptBy: time.Now().Unix() + 60, LockBy: 1 << 40,
		Sides: [2]market.Side{
			{Client: me, Offer: o.ID, Role: 0, Pot: 0, Denomination: "btc-test", Units: 50, Value: 10_000_000, Chunks: []market.Stake{{Weight: 50}}},
			{Client: them, Offer: market.OfferID{10}, Role: 1, Pot: 1, Denomination: "eth-test", Units: 50, Value: 10_000_000, Chunks: []market.Stake{{Chunk: p.Chunk.ID(), Weight: 50}}},
		},
	}
}

func TestAsOffered(t *testing.T) {
	w := newWorld(t)
	o := w.offer()
	good := paper(t, wanted, 7)
	for _, c := range []struct {
		name, want string // want: "" is taken
		change     func(p *market.Proposal)
	}{
		{"as offered", "", func(*market.Proposal) {}},
		{"the other side first", "", func(p *market.Proposal) { p.Sides[0], p.Sides[1] = p.Sides[1], p.Sides[0] }},
		{"a part of it", "", func(p *market.Proposal) { resize(p, 0, 10); resize(p, 1, 10) }},
		{"at the premium", "", func(p *market.Proposal) { p.Sides[0].Value = 10_100_000 }},
		{"above the premium", "premium", func(p *market.Proposal) { p.Sides[0].Value = 10_100_100 }},
		{"for nothing", "premium", func(p *market.Proposal) { resize(p, 1, 0) }},
		{"more than is given", "units", func(p *market.Proposal) { p.Sides[0].Units = 56 }},
		{"more than is wanted", "units", func(p *market.Proposal) { p.Sides[1].Units = 51 }},
		{"of others", "no side", func(p *market.Proposal) { p.Sides[0].Client = wire.VaultID{4} }},
		{"another offer", "did not place", func(p *market.Proposal) { p.Sides[0].Offer[0]++ }},
		{"another contract", "contract", func(p *market.Proposal) { p.Contract[0]++ }},
		{"another escrow", "escrow", func(p *market.Proposal) { p.Escrow[0]++ }},
		{"another way to settle", "settle", func(p *market.Proposal) { p.Settle++ }},
		{"the other role", "roles", func(p *market.Proposal) { p.Sides[0].Role, p.Sides[1].Role = 1, 0 }},
		{"one role twice", "roles", func(p *market.Proposal) { p.Sides[1].Role = 0 }},
		{"another denomination given", "denominations", func(p *market.Proposal) { p.Sides[0].Denomination = "xmr-test" }},
		{"terms that ask less of the other side", "term 1", func(p *market.Proposal) { p.Terms[1] = 1 }},
		{"chunks that are less than the units", "have 1 units", func(p *market.Proposal) { p.Sides[1].Chunks[0].Weight = 1 }},
		{"own chunks that are more than the units", "have 51 units", func(p *market.Proposal) { p.Sides[0].Chunks[0].Weight = 51 }},
		{"no chunks", "have 0 units", func(p *market.Proposal) { p.Sides[1].Chunks = nil }},
		{"a chunk without papers", "without their papers", func(p *market.Proposal) { p.Sides[1].Chunks[0].Chunk[0]++ }},
		{"the other's pot", "does not fill pot", func(p *market.Proposal) { p.Sides[0].Pot, p.Sides[1].Pot = 1, 0 }},
		{"a pot that is not there", "does not fill pot", func(p *market.Proposal) { p.Sides[1].Pot = 2 }},
		{"one more party", "parties", func(p *market.Proposal) { p.Parties = append(p.Parties, wire.VaultID{4}) }},
		{"another party", "party 1", func(p *market.Proposal) { p.Parties[1] = wire.VaultID{4} }},
		{"another denomination received", "denominations", func(p *market.Proposal) { p.Sides[1].Denomination = "btc-test" }},
	} {
		p := proposal(o, good)
		c.change(&p)
		switch err := w.asOffered(notice(p, good), program(t, swap)); {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
	}

	// The text of the contract, and the coins, are what was offered for, whatever
	// they are called.
	p := proposal(o, good)
	robbery := strings.Replace(swap, "left_side to bob", "left_side to alice", 1)
	if err := w.asOffered(notice(p, good), program(t, robbery)); err == nil || !strings.Contains(err.Error(), "contract") {
		t.Errorf("another text under the contract's hash: %v", err)
	}
	small := wanted
	small.Unit = coin.NewAmount(1_000)
	cheap := paper(t, small, 7)
	if err := w.asOffered(notice(proposal(o, cheap), cheap), program(t, swap)); err == nil || !strings.Contains(err.Error(), "another denomination") {
		t.Errorf("smaller units under the denomination's name: %v", err)
	}
	if err := w.asOffered(notice(p), program(t, swap)); err == nil || !strings.Contains(err.Error(), "without their papers") {
		t.Errorf("no papers: %v", err)
	}
}

func notice(p market.Proposal, papers ...vault.Paper) switchboard.Notice {
	return switchboard.Notice{Delivery: market.Delivery{Seq: 1, Proposal: &p}, Source: []byte(swap), Papers: papers}
}

// resize makes one side of a proposal smaller in every place that says so.
func resize(p *market.Proposal, side int, units uint32) {
	p.Sides[side].Units, p.Sides[side].Chunks[0].Weight, p.Terms[side] = market.Units(units), units, int64(units)
}

// The switchboard may say each thing again, before and after a restart: nothing
// is done twice, and what is over stays over.
func TestNoticesTwice(t *testing.T) {
	w := newWorld(t)
	o := w.offer()
	p := proposal(o, paper(t, wanted, 7))
	ctx := t.Context()
	say := func(d market.Delivery) {
		t.Helper()
		for range 2 {
			if err := w.notice(ctx, switchboard.Notice{Delivery: d, Source: []byte(swap)}); err != nil {
				t.Fatal(err)
			}
			w.restart()
		}
		if got := w.store.number("notices"); got != d.Seq {
			t.Errorf("acknowledged are %d notices, want %d", got, d.Seq)
		}
	}
	say(market.Delivery{Seq: 1, Proposal: &p})
	if d := w.deal(5); d.State != "proposed" {
		t.Fatalf("the deal is %s", d.State)
	}
	say(market.Delivery{Seq: 2, Ended: &market.EndedNotice{Proposal: 5}})
	say(market.Delivery{Seq: 3, Proposal: &p}) // late: it does not come to life again
	say(market.Delivery{Seq: 4, Accepted: &market.AcceptedNotice{Proposal: 5, Acceptances: [][]byte{{1}}}})
	say(market.Delivery{Seq: 5, Accepted: &market.AcceptedNotice{Proposal: 77}}) // of no deal
	say(market.Delivery{Seq: 6, Ended: &market.EndedNotice{Proposal: 77}})
	if d := w.deal(5); d.State != "ended" || d.Notice != nil {
		t.Errorf("the deal is %s", d.State)
	}
	if diff := cmp.Diff([]string{"ended"}, w.kinds()); diff != "" {
		t.Errorf("the timeline (- want, + got):\n%s", diff)
	}

	// Of an accepted deal, garbage for an acceptance ends it.
	if err := w.store.put(ctx, dealName(6), Deal{Proposal: 6, State: "accepted", Agreement: agreementBytes(t)}); err != nil {
		t.Fatal(err)
	}
	say(market.Delivery{Seq: 7, Accepted: &market.AcceptedNotice{Proposal: 6, Acceptances: [][]byte{[]byte("garbage")}}})
	if d := w.deal(6); d.State != "ended" || !strings.Contains(d.Reason, "acceptance that is none") {
		t.Errorf("the deal is %s: %s", d.State, d.Reason)
	}
}

// An offer whose answer was lost may stand at the switchboard: it is brought there
// again, also after a restart, until the switchboard has answered, and one that it
// refuses is over.
func TestOfferWithoutAnswer(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	o := w.offer()
	id := hex.EncodeToString(o.ID[:])
	placed := func() (p Placed) {
		w.store.get("offer/"+id, &p)
		return p
	}
	unsent := placed()
	unsent.Sent = false
	unanswered := connect.NewError(connect.CodeUnavailable, errors.New("killed"))
	for _, c := range []struct {
		name string
		then error // what the switchboard answers in the end
		want string
	}{
		{"placed in the end", nil, ""},
		{"refused in the end", connect.NewError(connect.CodeFailedPrecondition, errors.New("no fresh rate")), "no fresh rate"},
	} {
		w.board.placed = nil
		if err := w.store.put(ctx, "offer/"+id, unsent); err != nil {
			t.Fatal(err)
		}
		w.board.place = unanswered
		if err := w.Host.place(ctx, "offer/"+id); err == nil || placed().Ended != "" || placed().Sent {
			t.Errorf("%s: without an answer: %v, %+v; want it neither sent nor ended", c.name, err, placed())
		}
		if err := w.Cancel(ctx, id); err == nil || w.board.canceled != 0 {
			t.Errorf("%s: cancelled while it may still arrive: %v", c.name, err)
		}
		w.restart()
		w.board.place = c.then
		w.deals(ctx, enclave.Status{})
		w.deals(ctx, enclave.Status{})
		if got := placed(); got.Sent != (c.then == nil) || !strings.Contains(got.Ended, c.want) || c.want == "" && got.Ended != "" {
			t.Errorf("%s: %+v", c.name, got)
		}
		if got := w.board.placed[o.ID]; got != 3 { // without an answer, before the cancellation, and once with one
			t.Errorf("%s: brought %d times, want 3", c.name, got)
		}
	}
	w.board.place = nil
	if err := w.store.put(ctx, "offer/"+id, unsent); err != nil {
		t.Fatal(err)
	}
	if err := w.Cancel(ctx, id); err != nil || w.board.canceled != 1 {
		t.Errorf("cancelled %d times: %v", w.board.canceled, err)
	}
}

func agreementBytes(t *testing.T) []byte {
	t.Helper()
	b, err := wire.Marshal(vault.Agreement{LockBy: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What is not as offered, not a contract or not funded is declined with the
// reason, once. A wallet that does not answer declines nothing.
func TestConsider(t *testing.T) {
	w := newWorld(t)
	o := w.offer()
	good := paper(t, wanted, 7)
	for _, c := range []struct {
		name, want string
		why        market.DeclineReason
		source     string
		change     func(p *market.Proposal)
	}{
		{"no contract", "", market.Untrusted, "garbage", func(*market.Proposal) {}},
		{"more than offered", "units", market.Undesired, swap, func(p *market.Proposal) { p.Sides[0].Units = 1000 }},
		{"not funded", "fund", market.Unfunded, swap, func(*market.Proposal) {}},
	} {
		w.board.declined = nil
		q := proposal(o, good)
		c.change(&q)
		q.ID += market.ProposalID(len(w.kinds()))
		if err := w.notice(t.Context(), switchboard.Notice{Delivery: market.Delivery{Seq: 1, Proposal: &q}, Source: []byte(c.source), Papers: []vault.Paper{good}}); err != nil {
			t.Fatal(err)
		}
		if c.why == market.Unfunded {
			w.chain.SetDown(true)
			if err := w.consider(t.Context(), dealName(q.ID), w.deal(q.ID)); !errors.Is(err, wallet.ErrUnreachable) {
				t.Errorf("%s, the node is down: %v", c.name, err)
			}
			if d := w.deal(q.ID); d.State != "proposed" || len(w.board.declined) != 0 {
				t.Errorf("%s, the node is down: the deal is %s", c.name, d.State)
			}
			w.chain.SetDown(false)
		}
		if err := w.consider(t.Context(), dealName(q.ID), w.deal(q.ID)); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		d := w.deal(q.ID)
		if d.State != "declined" || !strings.Contains(d.Reason, c.want) {
			t.Errorf("%s: the deal is %s: %s", c.name, d.State, d.Reason)
		}
		if diff := cmp.Diff([]market.DeclineReason{c.why}, w.board.declined); diff != "" {
			t.Errorf("%s: declined (- want, + got):\n%s", c.name, diff)
		}
	}
}

// hanging is a wallet that at times says nothing of deposits until nobody waits any more.
type hanging struct {
	wallet.Wallet
	hangs *atomic.Bool
}

func (x hanging) Deposits(ctx context.Context, r wallet.DepositsRequest) (wallet.Deposits, error) {
	if x.hangs.Load() {
		<-ctx.Done()
		return wallet.Deposits{}, ctx.Err()
	}
	return x.Wallet.Deposits(ctx, r)
}

// A client that cannot check a proposal says so, for its silence would count as its failure: at once
// when its node does not follow its chain, and just before the end when its wallet, or its
// rates, may still answer.
func TestConsiderUnable(t *testing.T) {
	w := newWorld(t)
	o := w.offer()
	good := paper(t, wanted, 7)
	var age atomic.Int64
	var hangs atomic.Bool
	inner := w.nodes["btc"].Wallet
	rates, err := rate.NewFeed(rate.Config{
		Policy: rate.Policy{MinSources: 1, MaxAge: 60, MaxDeviation: 100}, Sources: []rate.Source{{Name: "own", File: filepath.Join(t.TempDir(), "none.toml")}},
	}, func() int64 { return time.Now().Unix() })
	if err != nil {
		t.Fatal(err)
	}
	var placed Placed
	each(w.store, "offer/", func(name string, p Placed) { // what it gives, for the rates
		p.Give = &coin.Denomination{ID: "btc-test", Asset: btc, Unit: coin.NewAmount(10_000)}
		placed = p
		if err := w.store.put(t.Context(), name, p); err != nil {
			t.Fatal(err)
		}
	})
	if placed.Give == nil {
		t.Fatal("no offer")
	}
	for i, c := range []struct {
		name string
		left int64 // seconds until it is to be accepted
		ail  func()
		want string // of the reason; empty: it waits
	}{
		{"the node stands still", 60, func() { age.Store(3600) }, "stands still"},
		{"the node is down", 60, func() { w.chain.SetDown(true) }, ""},
		{"the node is down, in the end", 1, func() { w.chain.SetDown(true) }, "unreachable"},
		{"the wallet hangs", 3, func() { hangs.Store(true) }, "deadline"},
		{"no rates", 60, func() { w.cfg.Rates = rates }, ""},
		{"no rates, in the end", 1, func() { w.cfg.Rates = rates }, "rate"},
	} {
		w.board.declined, w.cfg.Rates = nil, nil
		age.Store(0)
		hangs.Store(false)
		w.chain.SetDown(false)
		w.cfg.Wallets["btc"] = wallet.Follow(hanging{standing{inner, &age}, &hangs}, 0, time.Now)
		c.ail()
		q := proposal(o, good)
		q.ID, q.AcceptBy = q.ID+market.ProposalID(i), time.Now().Unix()+c.left
		if err := w.notice(t.Context(), notice(q, good)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err := w.consider(t.Context(), dealName(q.ID), w.deal(q.ID))
		d := w.deal(q.ID)
		switch {
		case c.want == "" && (err == nil || d.State != "proposed" || len(w.board.declined) != 0):
			t.Errorf("%s: the deal is %s: %s; %v", c.name, d.State, d.Reason, err)
		case c.want != "" && (err != nil || d.State != "declined" || !strings.Contains(d.Reason, "it cannot be checked: ") || !strings.Contains(d.Reason, c.want)):
			t.Errorf("%s: the deal is %s: %s; %v", c.name, d.State, d.Reason, err)
		case c.want != "" && !slices.Equal(w.board.declined, []market.DeclineReason{market.Unable}):
			t.Errorf("%s: declined %v", c.name, w.board.declined)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: it took %v", c.name, took)
		}
	}
}

func TestDepositRefuses(t *testing.T) {
	w := newWorld(t)
	w.chain.Mint(w.wallet.Own(), coin.NewAmount(120_000)) // enough for two chunks of 5 units and not three
	w.chain.Mine(3)
	for _, c := range []struct {
		name, want string
		asset      coin.AssetID
		cents      uint64
		weight     uint32
		rate       error
		down       bool
	}{
		{name: "nothing", want: "0.00 USD", asset: "btc"},
		{name: "an absurd amount", want: "1,000,000", asset: "btc", cents: 1 << 63},
		{name: "a cent too much", want: "1,000,000", asset: "btc", cents: 100_000_001},
		{name: "less than a chunk", want: "0 chunks", asset: "btc", cents: 100},
		{name: "more chunks than one batch", want: "4096", asset: "btc", cents: 50_000_000, weight: 1},
		{name: "an unknown asset", want: `no wallet for asset "doge"`, asset: "doge", cents: 50_000},
		{name: "no asset", want: "no wallet for asset", cents: 50_000},
		{name: "an unknown weight", want: "weight", asset: "btc", cents: 50_000, weight: 3},
		{name: "no fresh rate", want: "the rate of btc is 700 s old", asset: "btc", cents: 50_000, rate: errors.New("the rate of btc is 700 s old")},
		{name: "not enough coins", want: w.wallet.Own(), asset: "btc", cents: 15_000},
		{name: "the node is down", want: "btc", asset: "btc", cents: 5_000, down: true},
		{name: "no vault", want: "the vault is starting", asset: "btc", cents: 10_000}, // all else was well
	} {
		w.board.rate = c.rate
		w.chain.SetDown(c.down)
		_, _, _, err := w.Deposit(t.Context(), c.asset, c.cents, c.weight)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", c.name, err, c.want)
		}
		if c.name == "not enough coins" && !errors.Is(err, wallet.ErrInsufficient) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if n := len(w.kinds()); n != 0 {
		t.Errorf("%d lines in the timeline, though nothing was done", n)
	}
}
