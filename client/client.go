// Package client is the host of a user's vault: it stores what the vault seals,
// carries its sealed frames to the escrow, funds and sweeps with the user's
// wallets, and deals with the switchboard.
//
// It is level-triggered. What has to be done is derived, again and again, from
// what the vault and its own few records say, so that a host that was killed at
// any moment goes on where it was. The vault trusts it with nothing but whole
// keys, which are the user's own.
//
// An agreement without a switchboard, traced. A payment or a contract between people who know each other needs
// no market.
//
// Draft. (*Host).Propose (or Pay, of examples.Pay, for a Request that the payee's Receive made) fills this
// side's pots and stores a Draft; lead posts it as an escrow.Letter, signed by the vault, through
// escrow.(*Host).Post.
//
// Look. The other host's letterLoop collects it, sketchOf checks all that needs neither vault nor wallet,
// firstSeen stores it; Review plays all outcomes for the user and says what each side can lose (outlook), and
// AnswerDraft is their yes. A payment that answers this side's own request needs none (asRequested). A pace of
// tit-for-tat outside of the user's own Limits is declined at once.
//
// Complete. Who has pots to fill answers with chunks (draftFill); takeFill puts them in.
//
// Sign. Of the complete draft, which must continue the one first shown, sign checks balances, has the vault
// accept as above, and answers with the acceptance; the proposer signs last and locks. From there it is a Deal
// like any other.
package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect"

	"latchkey/coin"
	"latchkey/escrow"
	"latchkey/event"
	"latchkey/host"
	"latchkey/rate"
	"latchkey/switchboard"
	"latchkey/vault/enclave"
	"latchkey/wallet"
	"latchkey/wire"
)

// Config is what a client's host is built from.
type Config struct {
	Name            string    // for people
	Log             event.Log // belongs to the host alone
	Socket          string    // of the vault
	Escrow          string    // base URL
	Switchboard     string    // base URL
	Wallets         map[coin.AssetID]wallet.Wallet
	TipAge          map[coin.AssetID]time.Duration // own bound on the age of a node's newest block, besides the connector's; 0: none
	Choices         map[coin.AssetID]Choice        // what is done with what is received, unless a command said otherwise
	InsecureVendors []string                       // see enclave.Accept
	Limits          Limits                         // of settlements tit for tat
	Poll            time.Duration                  // how often wallets are asked while something waits on a chain; 0 is five seconds
	HTTP            *http.Client                   // calls escrow and switchboard; nil: a plain client
	Rates           *rate.Feed                     // own sources, against which proposals are held; nil: none
	RateLimit       uint32                         // basis points that a proposal's values may be off them
	Logger          *slog.Logger
}

// A Host runs one client.
type Host struct {
	cfg    Config
	escrow *escrow.Client
	board  *switchboard.Client
	store  *records
	nodes  map[coin.AssetID]*wallet.Following // what cfg.Wallets are, too

	mu       sync.Mutex
	vault    *enclave.Client
	status   enclave.Status // as of the start: identity and evidence
	id       wire.VaultID
	problems map[string]string // what does not work now, by subject
	assets   map[coin.AssetID]wallet.AssetInfo
	repeats  map[string]int                // how often something was said since the log showed anything new
	peers    map[wire.VaultID]enclave.Peer // as the escrow's host showed them
	escrowIs wire.VaultID                  // zero: not asked yet
	sent     map[string]time.Time          // when a draft was sent last
	locking  map[string]time.Time          // since when a deal waits for its lock
	away     map[wire.ChunkID]bool         // chunks that the log gave to somebody else, once

	greeting sync.Mutex // one greeting at a time
	greets   int        // sessions opened; guarded by greeting
	dealing  sync.Mutex // a deal's or a draft's record is read and written under it
	wording  sync.Mutex // a word's record is read and written under it
	paying   sync.Mutex // one payment is planned and begun at a time

	talk chan struct{} // one token: there may be something to say to the escrow
	work chan struct{} // one token: look at everything
}

// New returns a host over its log.
func New(ctx context.Context, cfg Config) (*Host, error) {
	if cfg.Poll == 0 {
		cfg.Poll = 5 * time.Second
	}
	if cfg.HTTP == nil {
		cfg.HTTP = httpClient()
	}
	s, err := openRecords(ctx, cfg.Log)
	if err != nil {
		return nil, err
	}
	nodes, wallets := map[coin.AssetID]*wallet.Following{}, map[coin.AssetID]wallet.Wallet{}
	for id, w := range cfg.Wallets {
		nodes[id] = wallet.Follow(w, cfg.TipAge[id], time.Now)
		wallets[id] = nodes[id]
	}
	cfg.Wallets = wallets
	h := &Host{
		cfg: cfg, store: s, nodes: nodes, escrow: escrow.NewClient(cfg.Escrow, toward{who: "the escrow", field: "escrow"}.on(cfg.HTTP)), problems: map[string]string{},
		assets: map[coin.AssetID]wallet.AssetInfo{}, repeats: map[string]int{}, peers: map[wire.VaultID]enclave.Peer{}, sent: map[string]time.Time{}, locking: map[string]time.Time{}, away: map[wire.ChunkID]bool{},
		talk: make(chan struct{}, 1), work: make(chan struct{}, 1),
	}
	each(s, awayPrefix, func(_ string, ids []wire.ChunkID) {
		for _, id := range ids {
			h.away[id] = true
		}
	})
	return h, nil
}

// httpClient bounds every request: what is not answered by then is asked again. The
// longest that is waited for are ten seconds of news, and a quorum of witnesses.
func httpClient() *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run serves the vault until ctx ends, the vault ends or the log fails. ready is
// called once the vault is up.
func (h *Host) Run(ctx context.Context, ready func(enclave.Status)) error {
	link, status, err := host.Connect(ctx, host.LinkConfig{Log: h.cfg.Log, Socket: h.cfg.Socket})
	if err != nil {
		return err
	}
	defer link.Close()
	id, err := status.Identity.ID()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	h.mu.Lock()
	h.vault, h.status, h.id = link.Vault, status, id
	h.board = switchboard.NewClient(h.cfg.Switchboard, toward{who: "the switchboard", field: "switchboard"}.on(h.cfg.HTTP), signer{h})
	h.mu.Unlock()
	var running sync.WaitGroup
	for _, f := range []func(context.Context) error{h.talkLoop, h.feedLoop, h.pollLoop, h.letterLoop, h.nodeLoop, h.workLoop} {
		running.Go(func() { cancel(f(ctx)) })
	}
	ready(status)
	select {
	case <-ctx.Done():
	case <-link.Done():
		cancel(link.Err())
	}
	cause := context.Cause(ctx)
	running.Wait()
	if errors.Is(cause, context.Canceled) {
		return nil
	}
	return cause
}

// signer lets the vault sign statements for the switchboard.
type signer struct{ h *Host }

func (s signer) ID() wire.VaultID { return s.h.id }

func (s signer) Sign(ctx context.Context, body []byte) ([]byte, error) {
	r, err := s.h.call(ctx, enclave.Call{Sign: &enclave.Sign{Body: body}})
	return r.Bytes, err
}

func (h *Host) vaultStatus(ctx context.Context) (enclave.Status, error) {
	h.mu.Lock()
	v := h.vault
	h.mu.Unlock()
	if v == nil {
		return enclave.Status{}, errStarting
	}
	return v.Status(ctx)
}

var errStarting = errors.New("the vault is starting; try again in a second")

func (h *Host) call(ctx context.Context, c enclave.Call) (enclave.Result, error) {
	h.mu.Lock()
	v := h.vault
	h.mu.Unlock()
	if v == nil {
		return enclave.Result{}, errStarting
	}
	return v.Call(ctx, c)
}

// toward is the way to one process; a failure to connect names it, and the field
// that says where it is.
type toward struct {
	by         http.RoundTripper
	who, field string
}

func (t toward) on(c *http.Client) *http.Client {
	own := *c
	if t.by = c.Transport; t.by == nil {
		t.by = http.DefaultTransport
	}
	own.Transport = t
	return &own
}

// RoundTrip implements http.RoundTripper.
func (t toward) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.by.RoundTrip(r)
	if dialed := (*net.OpError)(nil); errors.As(err, &dialed) && dialed.Op == "dial" && r.Context().Err() == nil {
		err = fmt.Errorf("%w; is %s running, and reachable from here? field %q of client.toml says where it is asked", err, t.who, t.field)
	}
	return answer, err
}

// mend adds to the failure of a wallet where it is said how to reach it.
func mend(err error) error {
	if errors.Is(err, wallet.ErrUnreachable) {
		return fmt.Errorf("%w; are the wallet's connector and its node running? url in its [[wallet]] of client.toml says where it is asked", err)
	}
	return err
}

// problem notes what does not work, or that it works again, and says so once.
func (h *Host) problem(subject string, err error) {
	err = mend(err)
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.problems[subject]
	switch {
	case err == nil && was != "":
		delete(h.problems, subject)
		h.cfg.Logger.Info("works again", "what", subject)
	case err != nil && err.Error() != was:
		h.problems[subject] = err.Error()
		h.cfg.Logger.Warn("does not work", "what", subject, "err", err)
	}
}

// pause waits a little after a failure, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

const retry = 250 * time.Millisecond

// maxObeyed bounds how long another side can make this host wait.
const maxObeyed = 30 * time.Second

// after is how long to wait after a failure: as long as the other side asks for, if
// it says that it was asked too often.
func after(err error) time.Duration {
	var c *connect.Error
	if !errors.As(err, &c) || c.Code() != connect.CodeResourceExhausted {
		return retry
	}
	n, err := strconv.Atoi(c.Meta().Get("Retry-After"))
	if err != nil || n < 0 {
		return retry
	}
	return max(retry, min(time.Duration(n)*time.Second, maxObeyed))
}

// talkLoop says to the escrow whatever the vault has to say, and hears the
// answers.
func (h *Host) talkLoop(ctx context.Context) error {
	var speaking sync.WaitGroup
	defer speaking.Wait()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		r, err := h.call(ctx, enclave.Call{Talk: &enclave.Nothing{}})
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, enclave.ErrNoSession):
			err = h.greet(ctx, -1)
			h.problem("escrow", err)
			if err != nil {
				pause(ctx, after(err))
			}
			continue
		case err != nil:
			h.problem("vault", err)
			pause(ctx, retry)
			continue
		}
		for _, s := range r.Talk {
			speaking.Go(func() { h.speak(ctx, s) })
		}
		select {
		case <-h.talk:
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// speak sends one frame and brings the answer to the vault.
func (h *Host) speak(ctx context.Context, s enclave.Spoken) {
	h.greeting.Lock()
	session := h.greets
	h.greeting.Unlock()
	answer, err := h.escrow.Send(ctx, s.Frame)
	if errors.Is(err, enclave.ErrNoSession) { // the escrow was started again
		err = h.greet(ctx, session)
	}
	h.problem("escrow", err)
	if err != nil {
		pause(ctx, after(err))
	}
	r, err := h.call(ctx, enclave.Call{Heard: &enclave.Heard{N: s.N, Frame: answer}})
	if ctx.Err() != nil {
		return
	}
	if err != nil && s.What == "report" && h.reportRefused(ctx, err) {
		err = nil // whoever brought it is told
	}
	if err != nil && s.What == "begin" && r.Refused { // the vault has given the batch up
		h.store.journal(ctx, Event{Kind: "refused", Text: "chunks are not made, nothing was paid: " + err.Error()})
		err = nil
	}
	h.problem("escrow: "+s.What, err)
	if err != nil {
		pause(ctx, retry)
	}
	if err != nil && r.Word != nil {
		h.wordRefused(ctx, *r.Word, err)
	}
	if r.Receipt != nil {
		if r.Step != nil {
			h.keepStep(ctx, *r.Step)
		}
		h.receipt(ctx, *r.Receipt)
	}
	wake(h.work)
	pause(ctx, h.patience(s.What))
	wake(h.talk)
}

// patience is how long to wait before more is said, after an answer that may have
// brought nothing: shares that the other party has not left yet, or the escrow's for a
// claim that the log is still to show. News of the log end it.
func (h *Host) patience(what string) time.Duration {
	if what != "fetch" && what != "claim" && what != "ack" {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.repeats[what]++
	n := h.repeats[what] - 4
	if n <= 0 {
		return 0
	}
	return min(time.Second, 5*time.Millisecond<<min(n, 8))
}

// news is called when the log has shown something of this vault.
func (h *Host) news() {
	h.mu.Lock()
	clear(h.repeats)
	h.mu.Unlock()
	wake(h.talk)
	wake(h.work)
}

// greet opens a session with the escrow, unless one was opened since the session
// that the caller found to be over; -1: in any case.
func (h *Host) greet(ctx context.Context, over int) error {
	h.greeting.Lock()
	defer h.greeting.Unlock()
	if over >= 0 && over != h.greets {
		return nil
	}
	r, err := h.call(ctx, enclave.Call{Hello: &enclave.Nothing{}})
	if err != nil {
		return err
	}
	welcome, note, err := h.escrow.Greet(ctx, r.Bytes)
	if err != nil {
		return err
	}
	if _, err = h.call(ctx, enclave.Call{Finish: &enclave.Finish{Welcome: welcome, Head: note}}); err != nil {
		return fmt.Errorf("the vault does not accept the escrow: %w", err)
	}
	h.greets++
	if !h.store.flag("enrolled/escrow") {
		h.store.setFlag(ctx, "enrolled/escrow")
		h.store.journal(ctx, Event{Kind: "enrolled", Text: "vault and escrow have verified each other's evidence"})
	}
	wake(h.work)
	return nil
}

// feedLoop brings the vault what the escrow's log says of it.
func (h *Host) feedLoop(ctx context.Context) error {
	cursor, failures := h.store.number("cursor"), 0
	for ctx.Err() == nil {
		s, err := h.call(ctx, enclave.Call{Clock: &enclave.Nothing{}})
		if err != nil {
			pause(ctx, retry)
			continue
		}
		u, err := h.escrow.Feed(ctx, h.id, cursor, s.Status.Size, 10*time.Second)
		if err == nil && len(u.Head) == 0 {
			err = errors.New("the escrow has no witnessed head yet")
		}
		if ctx.Err() != nil {
			return nil
		}
		h.problem("escrow's log", err)
		if err != nil {
			pause(ctx, after(err))
			continue
		}
		_, err = h.call(ctx, enclave.Call{Feed: &enclave.Feed{Head: u.Head, Consistency: u.Consistency, Entries: u.Entries}})
		if errors.Is(err, enclave.ErrNoSession) {
			wake(h.talk) // the vault must meet its escrow first
			pause(ctx, 20*time.Millisecond)
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			failures++
			switch failures {
			case 1: // perhaps the vault met its escrow meanwhile, and knows a newer head
			case 2: // perhaps something was left out, or came before the vault could know that it concerns it: hear it all again
				cursor = 0
			default:
				h.problem("what the escrow's log says", err)
				cursor = 0
				pause(ctx, time.Second)
			}
			continue
		}
		failures = 0
		h.problem("what the escrow's log says", nil)
		if u.Cursor != cursor {
			cursor = u.Cursor
			h.heard(ctx, cursor, u.Entries)
			h.news()
		}
	}
	return nil
}

// pollLoop takes notices of the switchboard: stored first, then acknowledged
// with the next poll.
func (h *Host) pollLoop(ctx context.Context) error {
	for ctx.Err() == nil {
		notices, err := h.board.Poll(ctx, h.store.number("notices"), 10*time.Second)
		if errors.Is(err, switchboard.ErrUnknown) {
			var said string
			if said, err = h.board.Enrol(ctx, h.status.Identity, h.status.Evidence); err == nil {
				if !h.store.flag("enrolled/switchboard") {
					h.store.setFlag(ctx, "enrolled/switchboard")
					h.store.journal(ctx, Event{Kind: "enrolled", Text: "the switchboard appraised this vault: " + said})
				}
				continue
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		h.problem("switchboard", err)
		if err != nil {
			pause(ctx, after(err))
			continue
		}
		for _, n := range notices {
			if err := h.notice(ctx, n); err != nil {
				return err
			}
		}
		if len(notices) > 0 {
			wake(h.work)
		}
	}
	return nil
}

// nodeLoop looks whether the nodes behind the wallets follow their chains, also while nothing
// waits for one: who learns of it only by a trade learns it too late.
func (h *Host) nodeLoop(ctx context.Context) error {
	t := time.NewTicker(h.cfg.Poll)
	defer t.Stop()
	for {
		for _, id := range sortedKeys(h.nodes) {
			short, cancel := context.WithTimeout(ctx, nodePatience)
			err := h.nodes[id].Check(short)
			cancel()
			if ctx.Err() != nil {
				return nil
			}
			h.problem("node of "+string(id), err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// nodePatience is how long a connector may take to say how its node is.
const nodePatience = 10 * time.Second

// workLoop looks at everything when something has changed, and at chains from
// time to time.
func (h *Host) workLoop(ctx context.Context) error {
	t := time.NewTicker(h.cfg.Poll)
	defer t.Stop()
	for {
		if err := h.look(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-h.work:
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}
