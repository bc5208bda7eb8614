package client

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"latchkey/coin"
	"latchkey/event"
	"latchkey/market"
	"latchkey/vault"
	"latchkey/wire"
)

// recordPrefix is that of the host's own rows.
const recordPrefix = "host/"

// records are the host's own: what it has begun with wallets and the
// switchboard. Each is written before the deed that it speaks of. There is no
// secret among them.
type records struct {
	log     event.Log
	putting sync.Mutex // one put at a time: what was put last is what is stored

	mu      sync.Mutex
	rows    map[string][]byte // without the prefix
	seq     uint64
	events  []Event
	changed chan struct{} // closed, and replaced, with each event
	failed  error
}

// Event is one line of the client's timeline.
type Event struct {
	Seq    uint64   `json:"seq"`
	At     int64    `json:"at_ms"` // Unix milliseconds
	Kind   string   `json:"kind"`
	Text   string   `json:"text"`
	Asset  string   `json:"asset,omitempty"`
	Amount string   `json:"amount,omitempty"` // smallest units
	Count  int      `json:"count,omitempty"`
	Txs    []string `json:"txs,omitempty"`
	Deal   string   `json:"deal,omitempty"`
	With   string   `json:"with,omitempty"`
}

// Funding is how far the deposits of one certificate are.
type Funding struct {
	Cert      wire.CertID `json:"cert"`
	State     string      `json:"state"` // funding, funded, confirmed, announced
	Txs       []string    `json:"txs"`
	Addresses []string    `json:"addresses"`
	MaxFee    string      `json:"max_fee"`
}

// Sweeping is how far the sweep of some chunks is.
type Sweeping struct {
	ID     string         `json:"id"`
	Asset  string         `json:"asset"`
	Chunks []wire.ChunkID `json:"chunks"`
	State  string         `json:"state"` // sweeping, final
	Txs    []string       `json:"txs"`
	Amount string         `json:"amount"`
	MaxFee string         `json:"max_fee"`
	Raised int            `json:"raised"`          // how often it was too little
	Spent  []wire.ChunkID `json:"spent,omitempty"` // whose coins somebody else took
}

// Deal is how far one proposal is.
type Deal struct {
	Proposal  uint64          `json:"proposal"`        // the switchboard's; 0: none
	Draft     string          `json:"draft,omitempty"` // that it came from, without a switchboard
	Agreement []byte          `json:"agreement"`       // vault.Agreement, CBOR; empty once declined
	Hash      wire.Hash       `json:"hash"`
	Role      int             `json:"role"`
	Contract  string          `json:"contract"`
	With      []wire.VaultID  `json:"with"`
	Notice    []byte          `json:"notice"` // until accepted: what the switchboard sent
	State     string          `json:"state"`  // proposed, accepted, locking, locked, owned, paid, ended, declined
	Reason    string          `json:"reason"`
	Lock      []byte          `json:"lock"` // vault.LockAsk, CBOR, once all accepted
	Instance  wire.InstanceID `json:"instance"`
	Signed    []byte          `json:"signed"` // vault.SignedAcceptance, CBOR, until the switchboard has it
	Accepted  int64           `json:"accepted_ms"`
	Owned     int64           `json:"owned_ms"`
	Gives     []string        `json:"gives"`
	AtRisk    int64           `json:"at_risk"` // units that this side can lose at most
}

// Placed is an offer that this client placed.
type Placed struct {
	ID    string             `json:"id"`
	Offer []byte             `json:"offer"`          // market.Offer, CBOR
	Give  *coin.Denomination `json:"give,omitempty"` // of what goes, in full; nil: of an older version
	Want  coin.Denomination  `json:"want"`           // of what comes, in full
	Sent  bool               `json:"sent"`
	Ended string             `json:"ended"`
	Text  string             `json:"text"`

	MaxLoss uint64 `json:"max_loss,omitempty"` // units; see Manner
}

func openRecords(ctx context.Context, log event.Log) (*records, error) {
	s := &records{log: log, rows: map[string][]byte{}, changed: make(chan struct{})}
	for r, err := range log.Scan(ctx, []byte(recordPrefix)) {
		if err != nil {
			return nil, fmt.Errorf("read the host's records: %w", err)
		}
		name := string(r.Key[len(recordPrefix):])
		if strings.HasPrefix(name, "event/") {
			var e Event
			if err := json.Unmarshal(r.Value, &e); err != nil {
				return nil, fmt.Errorf("host's record %s: %w", name, err)
			}
			s.events, s.seq = append(s.events, e), e.Seq
			continue
		}
		s.rows[name] = r.Value
	}
	return s, nil
}

// put makes a record durable. Nobody reads it before that, so nothing is done on a
// record that a restart would not find.
func (s *records) put(ctx context.Context, name string, v any) error {
	return s.putAll(ctx, map[string]any{name: v})
}

// putAll makes several records durable, all or none.
func (s *records) putAll(ctx context.Context, rows map[string]any) error {
	encoded := map[string][]byte{}
	var block event.Block
	for _, name := range sortedKeys(rows) {
		b, err := json.Marshal(rows[name])
		if err != nil {
			return err
		}
		encoded[name] = b
		block.Puts = append(block.Puts, event.Row{Key: []byte(recordPrefix + name), Value: b})
	}
	s.putting.Lock()
	defer s.putting.Unlock()
	if err := s.append(ctx, strings.Join(sortedKeys(rows), ", "), block); err != nil {
		return err
	}
	s.mu.Lock()
	maps.Copy(s.rows, encoded)
	s.mu.Unlock()
	return nil
}

// remove forgets a record, durably.
func (s *records) remove(ctx context.Context, name string) error {
	s.putting.Lock()
	defer s.putting.Unlock()
	if err := s.append(ctx, name, event.Block{Deletes: [][]byte{[]byte(recordPrefix + name)}}); err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.rows, name)
	s.mu.Unlock()
	return nil
}

// write stores one row.
func (s *records) write(ctx context.Context, name string, b []byte) error {
	return s.append(ctx, name, event.Block{Puts: []event.Row{{Key: []byte(recordPrefix + name), Value: b}}})
}

// append stores a block. A failure is kept: see err.
func (s *records) append(ctx context.Context, name string, block event.Block) error {
	if err := s.log.Append(context.WithoutCancel(ctx), s.log.Next(), block); err != nil {
		err = fmt.Errorf("store record %s: %w", name, err)
		s.fail(err)
		return err
	}
	return nil
}

// get reads a record into v and reports whether there is one.
func (s *records) get(name string, v any) bool {
	s.mu.Lock()
	b, ok := s.rows[name]
	s.mu.Unlock()
	return ok && json.Unmarshal(b, v) == nil
}

// each calls f with every record whose name begins with prefix.
func each[T any](s *records, prefix string, f func(name string, v T)) {
	s.mu.Lock()
	all := map[string][]byte{}
	for name, b := range s.rows {
		if strings.HasPrefix(name, prefix) {
			all[name] = b
		}
	}
	s.mu.Unlock()
	for _, name := range sortedKeys(all) {
		var v T
		if json.Unmarshal(all[name], &v) == nil {
			f(name, v)
		}
	}
}

func (s *records) flag(name string) bool {
	var v bool
	return s.get("flag/"+name, &v) && v
}

func (s *records) setFlag(ctx context.Context, name string) { _ = s.put(ctx, "flag/"+name, true) }

func (s *records) number(name string) (n uint64) {
	s.get("number/"+name, &n)
	return n
}

func (s *records) setNumber(ctx context.Context, name string, n uint64) {
	_ = s.put(ctx, "number/"+name, n)
}

// fail remembers the first failure of the store: the work loop ends with it.
func (s *records) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = err
	}
}

func (s *records) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// journal adds a line to the timeline.
func (s *records) journal(ctx context.Context, e Event) {
	s.mu.Lock()
	s.seq++
	e.Seq = s.seq
	if e.At == 0 {
		e.At = time.Now().UnixMilli()
	}
	s.events = append(s.events, e)
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	b, err := json.Marshal(e)
	if err == nil {
		_ = s.write(ctx, fmt.Sprintf("event/%016x", e.Seq), b)
	}
}

// after returns the events after a sequence number, and a channel that is closed
// when there are more.
func (s *records) after(seq uint64) ([]Event, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, e := range s.events {
		if e.Seq > seq {
			return append([]Event(nil), s.events[i:]...), s.changed
		}
	}
	return nil, s.changed
}

// name is the deal's record, id what users call it.
func (d Deal) name() string {
	if d.Draft != "" {
		return draftDealName(d.Draft)
	}
	return dealName(market.ProposalID(d.Proposal))
}

func (d Deal) id() string {
	if d.Draft != "" {
		return d.Draft
	}
	return fmt.Sprint(d.Proposal)
}

func (d Deal) agreement() (a vault.Agreement, err error) {
	err = wire.Unmarshal(d.Agreement, &a)
	return a, err
}

// named writes vaults for people: vault 1f2e3d4c, or vaults 1f2e3d4c, 5a697887.
func named(ids []wire.VaultID) string {
	if len(ids) == 1 {
		return "vault " + short(ids)
	}
	return "vaults " + short(ids)
}

// tally writes a number of things: 1 chunk, 2 chunks.
func tally[N int | int64 | uint | uint32 | uint64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
