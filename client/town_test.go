package client

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/attest"
	"latchkey/attest/sim"
	"latchkey/client/clientpb"
	"latchkey/coin"
	"latchkey/escrow"
	"latchkey/event"
	"latchkey/event/witness"
	"latchkey/gate"
	"latchkey/head"
	"latchkey/switchboard"
	"latchkey/switchboard/switchboardpb"
	"latchkey/vault/enclave"
	"latchkey/wallet"
	"latchkey/wallet/fake"
	"latchkey/wire"
)

// A town has an escrow with four witnesses and clients, all of them the product's
// own code over sockets, in one process. Its chains are fake, its disks memory, and
// its time is the test's: what the witnesses stamp.
type town struct {
	t       *testing.T
	ahead   atomic.Int64 // seconds that the witnesses' clocks are ahead
	vendor  *sim.Vendor
	policy  attest.Policy
	folder  string
	logKey  head.LogKey
	keys    []head.WitnessKey
	host    *escrow.Host
	escrow  string // URL
	board   string // URL
	chains  map[coin.AssetID]*fake.Chain
	clients map[string]*citizen
	vaults  int
	wrap    func(name string, asset coin.AssetID, x wallet.Wallet) wallet.Wallet // of clients; nil: as they are
	limits  map[string]Limits                                                    // of clients, by name
}

// A citizen is one client with its wallets.
type citizen struct {
	*Host
	town   *town
	name   string
	memory *event.Memory
	stop   func()
	start  func()
}

// market is as much of a switchboard as deposits need.
type marketBoard struct {
	switchboardpb.UnimplementedSwitchboardServiceHandler
}

func (marketBoard) Denominate(_ context.Context, s *switchboardpb.Signed) (*switchboardpb.DenominateResponse, error) {
	var st switchboard.Statement
	var p switchboard.DenominatePayload
	err := wire.Unmarshal(s.Statement, &st)
	if err == nil {
		err = wire.Unmarshal(st.Payload, &p)
	}
	if err != nil {
		return nil, err
	}
	raw, err := wire.Marshal(coin.Denomination{ID: string(p.Asset.ID) + "-test", Asset: p.Asset, Unit: coin.NewAmount(10_000)})
	return &switchboardpb.DenominateResponse{Denomination: raw}, err
}

func (marketBoard) Deposit(context.Context, *switchboardpb.Signed) (*switchboardpb.Done, error) {
	return &switchboardpb.Done{}, nil
}

func (marketBoard) Poll(ctx context.Context, _ *switchboardpb.Signed) (*switchboardpb.PollResponse, error) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
	return &switchboardpb.PollResponse{}, nil
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// newTown starts a town; names are its clients, each with coins on both chains.
func newTown(t *testing.T, names ...string) *town {
	t.Helper()
	return newTownUnder(t, nil, names...)
}

// newTownUnder starts one whose escrow holds its callers to limits; nil: to none.
func newTownUnder(t *testing.T, guard *gate.Guard, names ...string) *town {
	t.Helper()
	w := &town{t: t, chains: map[coin.AssetID]*fake.Chain{}, clients: map[string]*citizen{}}
	var err error
	if w.folder, err = os.MkdirTemp("", "town-"); err != nil { // short: paths of sockets are bounded
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(w.folder) })
	w.vendor = must(sim.NewVendor("Aldine", rand.Reader))
	escrowVendor := must(sim.NewVendor("Borealis", rand.Reader))
	w.policy = sim.InsecurePolicy([]attest.Root{w.vendor.Root(), escrowVendor.Root()}, sim.Build("vault", [32]byte{7}))
	urls := map[string]string{}
	var privates []ed25519.PrivateKey
	for i := range 4 {
		_, private, _ := ed25519.GenerateKey(rand.Reader)
		name := fmt.Sprintf("w%d.test", i)
		w.keys = append(w.keys, must(head.NewWitnessKey(name, private.Public().(ed25519.PublicKey))))
		privates = append(privates, private)
	}
	// The witnesses' servers come before the log's key is known: they begin to
	// answer later.
	handlers := make([]atomic.Pointer[witness.Handler], 4)
	for i := range handlers {
		s := httptest.NewServer(lateHandler{&handlers[i]})
		t.Cleanup(s.Close)
		urls[w.keys[i].Name()] = s.URL
	}
	const origin = "escrow.test/log"
	log := must(event.NewMemory().Open())
	socket := w.vault(enclave.Trust{Role: "escrow", Origin: origin, Witnesses: w.keys, K: 3, F: 1, Policy: w.policy}, escrowVendor)
	h, err := escrow.NewHost(t.Context(), escrow.HostConfig{
		Log: log, Socket: socket, Origin: origin, Witnesses: w.keys, K: 3, F: 1, URLs: urls, Logger: quiet(),
		Guard: guard, Verifiers: []attest.Verifier{sim.Verifier{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan enclave.Status, 1)
	w.run(func(ctx context.Context) error { return h.Run(ctx, func(s enclave.Status) { ready <- s }) })
	w.logKey = must(head.ParseLogKey((<-ready).LogKey))
	for i := range handlers {
		store := must(event.NewMemory().Open())
		if err := witness.Create(t.Context(), store, w.keys[i]); err != nil {
			t.Fatal(err)
		}
		x := must(witness.Open(t.Context(), store, witness.Config{Name: w.keys[i].Name(), Key: privates[i], Logs: []head.LogKey{w.logKey}}))
		handlers[i].Store(&witness.Handler{
			Witness: x, Logger: quiet(), Failed: func(error) {}, Now: func() int64 { return time.Now().Unix() + w.ahead.Load() },
		})
	}
	w.host = h
	s := httptest.NewServer(escrow.Handler(h))
	t.Cleanup(s.Close)
	w.escrow = s.URL
	_, bh := switchboardpb.NewSwitchboardServiceHandler(marketBoard{})
	b := httptest.NewServer(bh)
	t.Cleanup(b.Close)
	w.board = b.URL
	for _, id := range []coin.AssetID{"btc", "eth"} {
		w.chains[id] = must(fake.New(fake.Config{
			Asset:         coin.Asset{ID: id, Chain: "fake:" + string(id), Key: coin.Secp256k1, Address: "fake", Decimals: 8},
			Confirmations: 1, Fee: coin.NewAmount(10), Dust: coin.NewAmount(5), Accounts: id == "eth",
		}))
	}
	for _, name := range names {
		w.citizen(name)
	}
	return w
}

// later sets the witnesses' clocks on and waits until the escrow has heard of it.
func (w *town) later(seconds int64) {
	w.t.Helper()
	from := time.Now().Unix() + w.ahead.Add(seconds)
	group := head.Group{Log: w.logKey, Witnesses: w.keys, K: 3, F: 1}
	w.until("the escrow's clock is set on", func() string {
		u, err := w.host.Feed(w.t.Context(), wire.VaultID{}, 0, 0, 0)
		if err != nil {
			return err.Error()
		}
		if c, err := group.Verify(u.Head); err != nil || c.Time < from {
			return fmt.Sprintf("it is %d, to be %d: %v", c.Time, from, err)
		}
		return ""
	})
}

// run runs something until the test ends.
func (w *town) run(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = f(ctx)
	}()
	stop = func() { cancel(); <-ended }
	w.t.Cleanup(stop)
	return stop
}

// vault runs a vault's program on a device of its own and returns its socket. It
// is started again when its host comes again.
func (w *town) vault(trust enclave.Trust, vendor *sim.Vendor) string {
	w.t.Helper()
	now := time.Now().Unix()
	p, err := vendor.Issue(sim.Device{NotBefore: now - 3600, NotAfter: now + 400*86400}, rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	program, err := p.Launch(sim.Launch{Measurement: [32]byte{7}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.vaults++
	socket := filepath.Join(w.folder, fmt.Sprint(w.vaults))
	w.run(func(ctx context.Context) error {
		for ctx.Err() == nil {
			e, err := enclave.New(enclave.Config{Trust: trust, Platform: program, Verifiers: []attest.Verifier{sim.Verifier{}}})
			if err != nil {
				return err
			}
			l, err := enclave.Listen(socket)
			if err != nil {
				return err
			}
			_ = e.Serve(ctx, l)
		}
		return nil
	})
	return socket
}

func (w *town) citizen(name string) *citizen {
	w.t.Helper()
	trust := enclave.Trust{Role: "owner", Origin: w.logKey.Name(), LogKey: w.logKey, Witnesses: w.keys, K: 3, F: 1, Policy: w.policy}
	socket := w.vault(trust, w.vendor)
	c := &citizen{town: w, name: name, memory: event.NewMemory()}
	wallets := map[coin.AssetID]wallet.Wallet{}
	for id, chain := range w.chains {
		x := chain.Wallet(name)
		chain.Mint(x.Own(), coin.NewAmount(50_000_000))
		chain.Mine(2)
		wallets[id] = x
		if w.wrap != nil {
			wallets[id] = w.wrap(name, id, x)
		}
	}
	c.start = func() {
		log := must(c.memory.Open())
		h, err := New(context.Background(), Config{
			Name: name, Log: log, Socket: socket, Escrow: w.escrow, Switchboard: w.board, Wallets: wallets, Poll: 20 * time.Millisecond, Logger: quiet(), Limits: w.limits[name],
		})
		if err != nil {
			w.t.Fatal(err)
		}
		c.Host = h
		ready := make(chan struct{})
		stop := w.run(func(ctx context.Context) error {
			defer log.Close()
			return h.Run(ctx, func(enclave.Status) { close(ready) })
		})
		c.stop = stop
		<-ready
	}
	c.start()
	w.clients[name] = c
	w.until(name+" meets the escrow", func() string {
		if !c.store.flag("enrolled/escrow") {
			return "not yet"
		}
		return ""
	})
	return c
}

// until waits until missing returns nothing.
func (w *town) until(what string, missing func() string) {
	w.t.Helper()
	last := ""
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if last = missing(); last == "" {
			return
		}
		for _, c := range w.chains {
			c.Mine(1)
		}
	}
	w.t.Fatalf("%s: %s", what, last)
}

func (c *citizen) status() *clientpb.StatusResponse {
	c.town.t.Helper()
	s, err := server{h: c.Host}.Status(c.town.t.Context(), &clientpb.StatusRequest{})
	if err != nil {
		c.town.t.Fatalf("status of %s: %v", c.name, err)
	}
	return s
}

// have returns the chunks of an asset in a state.
func (c *citizen) have(asset, state string) (out []*clientpb.Chunk) {
	c.town.t.Helper()
	for _, x := range c.status().Chunks {
		if x.Asset == asset && x.State == state {
			out = append(out, x)
		}
	}
	return out
}

// wait waits until there are n chunks of an asset in a state.
func (c *citizen) wait(n int, asset, state string) {
	c.town.t.Helper()
	c.town.until(fmt.Sprintf("%s has %d %s chunks of %s", c.name, n, state, asset), func() string {
		if got := len(c.have(asset, state)); got != n {
			var all []string
			for _, x := range c.status().Chunks {
				all = append(all, x.Asset+" "+x.State)
			}
			return fmt.Sprintf("%d; %s; %s", got, strings.Join(all, ", "), strings.Join(c.status().Problems, "; "))
		}
		return ""
	})
}

// deposit makes n chunks and waits until they can be used.
func (c *citizen) deposit(asset coin.AssetID, weight uint32, n int) {
	c.town.t.Helper()
	before := len(c.have(string(asset), "available"))
	if _, _, _, err := c.Deposit(c.town.t.Context(), asset, uint64(n)*uint64(weight)*unitCents, weight); err != nil {
		c.town.t.Fatal(err)
	}
	c.wait(before+n, string(asset), "available")
}

// told returns the newest event of a kind.
func (c *citizen) told(kind string) (e Event) {
	events, _ := c.store.after(0)
	for _, x := range events {
		if x.Kind == kind {
			e = x
		}
	}
	return e
}

// draft returns a draft's state, and why it is over.
func (c *citizen) draft(id string) (state, reason string) {
	var d Draft
	if !c.store.get(draftName(id), &d) {
		return "unknown", ""
	}
	return d.State, d.Reason
}

type lateHandler struct {
	h *atomic.Pointer[witness.Handler]
}

func (l lateHandler) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	h := l.h.Load()
	if h == nil {
		http.Error(rw, "starting", http.StatusServiceUnavailable)
		return
	}
	h.ServeHTTP(rw, r)
}
