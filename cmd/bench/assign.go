package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"latchkey/coin"
	"latchkey/escrow"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// payOnWord gives all that is locked to the other party when its owner says so:
// one signed order, one entry.
const payOnWord = `contract Pay
parties alice, bob
term n : units 1..100000
pot money = n units from alice
phase Held until now + 30 days
  when alice says "pay":
    give all of money to bob
    close
  at deadline:
    give all of money to alice
    close
`

// payers is how many vaults order: a session takes requests that are at most
// 1,024 behind the newest.
const payers = 8

// assigns measures, in one world: single assigns, gives of a hundred chunks, and
// claims. All requests are signed and sealed before the time that counts; what
// counts is from sending to the moment at which the order's own entry is durable
// and witnessed, or the share is there.
func assigns(ctx context.Context, o options) ([]figure, error) {
	w, err := newWorld(ctx, o, "assign", 0)
	if err != nil {
		return nil, err
	}
	out, err := w.assigns(o)
	return out, errors.Join(err, w.close())
}

func (w *world) assigns(o options) (out []figure, err error) {
	ctx := w.ctx
	l, err := w.measureLimit(o, coin.Secp256k1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	fmt.Fprintln(os.Stderr, l)
	s := &stage{world: w, spec: vault.BatchSpec{Denomination: denomination("left", coin.Secp256k1), Weight: 5, Expiry: time.Now().Unix() + 80*86400}}
	if s.bob, err = w.newNode(ctx); err != nil {
		return nil, err
	}
	for range payers {
		n, err := w.newNode(ctx)
		if err != nil {
			return nil, err
		}
		s.alices = append(s.alices, n)
	}
	note := "key secp256k1; the lock, handing over and opening not included; "
	// A round is several times as many as are under way at once: else most of it is
	// its beginning and its end, where not so many are.
	for _, x := range []struct{ atOnce, rounds, each int }{{1, 5, 48}, {64, 5, 256}, {1024, 3, 2048}} {
		f := figure{
			name: fmt.Sprintf("single assigns, %s at a time", short(float64(x.atOnce))), unit: "assigns/s", goal: "60%",
		}
		l.forget()
		var waited, used []float64
		n := max(payers, o.few(x.each))
		for range x.rounds {
			orders, err := s.prepare(n, 1)
			if err != nil {
				return nil, err
			}
			if err := l.beside(w, o, x.atOnce); err != nil {
				return nil, err
			}
			before := cpu()
			took, each, err := s.send(orders, x.atOnce)
			if err != nil {
				return nil, err
			}
			used = append(used, (cpu()-before).Seconds()/float64(n))
			f.samples, waited, f.n = append(f.samples, float64(n)/took), append(waited, each...), f.n+n
		}
		mid, _, _ := quantiles(used)
		f.limit = l.atMost(x.atOnce, 1)
		f.note = note + fmt.Sprintf("each takes %.1f ms, p99 %.1f ms, and %.0f µs of CPU in all parties; beside the rounds an order is checked in %.0f µs, a chunk refreshed in %.0f µs, a commit takes %.0f µs, a round of the witnesses %.0f µs",
			percentile(waited, .5), percentile(waited, .99), 1e6*mid, 1e6*l.check, 1e6*l.refresh, 1e6*l.commit[x.atOnce], 1e6*l.witness)
		note = ""
		out = append(out, f)
	}
	gives := figure{name: "gives, one order moves 100 chunks", unit: "chunks/s", goal: "60%", note: "8 at a time; the limit is of one core, the vault spreads the refreshes of an entry over all"}
	l.forget()
	for range 3 {
		n := max(payers, o.few(32))
		orders, err := s.prepare(n, 100)
		if err != nil {
			return nil, err
		}
		if err := l.beside(w, o, 8); err != nil {
			return nil, err
		}
		took, _, err := s.send(orders, 8)
		if err != nil {
			return nil, err
		}
		gives.samples, gives.n = append(gives.samples, float64(100*n)/took), gives.n+100*n
	}
	gives.limit = 100 * l.atMost(8, 100)
	out = append(out, gives)
	for _, many := range []int{1, 100} {
		f := figure{name: "claims", unit: "chunks/s", note: fmt.Sprintf("orders of %d, %d at a time; until the shares are back", many, payers)}
		for range 5 {
			took, err := s.claim(many, max(1, o.few(16)))
			if err != nil {
				return nil, err
			}
			n := payers * many * max(1, o.few(16))
			f.samples, f.n = append(f.samples, float64(n)/took), f.n+n
		}
		out = append(out, f)
	}
	return out, nil
}

// A stage is vaults that order, and one that receives.
type stage struct {
	*world
	spec   vault.BatchSpec
	alices []*node
	bob    *node
}

// An order is a sealed word, and the instance that it moves.
type order struct {
	instance wire.InstanceID
	frame    []byte
}

// prepare brings n instances of so many chunks each to where one word moves
// them, and returns the sealed words.
func (s *stage) prepare(n, chunks int) ([]order, error) {
	var perAlice [][]wire.InstanceID
	for i, a := range s.alices {
		mine := n / payers
		if i < n%payers {
			mine++
		}
		ids, err := a.deposit(s.ctx, s.spec, mine*chunks)
		if err != nil {
			return nil, err
		}
		var asks []vault.LockAsk
		for j := range mine {
			q, err := s.agree(a, ids[j*chunks:(j+1)*chunks])
			if err != nil {
				return nil, err
			}
			asks = append(asks, q)
		}
		instances := make([]wire.InstanceID, mine)
		if err := parallel(32, mine, func(j int) (err error) {
			instances[j], err = a.escrow.Lock(s.ctx, asks[j])
			return err
		}); err != nil {
			return nil, err
		}
		perAlice = append(perAlice, instances)
	}
	// All see the locks and hand over before bob asks for what they leave: what
	// is asked too early waits for a second.
	durable, _, _ := s.host.Sizes()
	if err := s.witnessed(durable); err != nil {
		return nil, err
	}
	for _, nodes := range [][]*node{s.alices, {s.bob}, s.alices} {
		if err := rest(s.ctx, nodes...); err != nil {
			return nil, err
		}
	}
	orders := make([]order, 0, n)
	spoken := make([][]enclave.Spoken, payers)
	for i, a := range s.alices {
		slices.SortFunc(perAlice[i], func(x, y wire.InstanceID) int { return bytes.Compare(x[:], y[:]) }) // a vault's words are in this order
		for _, id := range perAlice[i] {
			if _, err := a.call(enclave.Call{Say: &enclave.Say{Instance: id, Word: "pay"}}); err != nil {
				return nil, err
			}
		}
		r, err := a.call(enclave.Call{Talk: &enclave.Nothing{}})
		if err != nil {
			return nil, err
		}
		if spoken[i] = r.Talk; len(r.Talk) != len(perAlice[i]) {
			return nil, fmt.Errorf("a vault says %d things, want %d words", len(r.Talk), len(perAlice[i]))
		}
	}
	for j := 0; len(orders) < n; j++ { // in turn, so that no session runs ahead
		for i := range spoken {
			if j < len(spoken[i]) {
				orders = append(orders, order{perAlice[i][j], spoken[i][j].Frame})
			}
		}
	}
	return orders, nil
}

// agree has both parties accept that chunks go from a to bob when a says so.
func (s *stage) agree(a *node, ids []wire.ChunkID) (vault.LockAsk, error) {
	weight := s.spec.Weight
	g := vault.Agreement{
		Source: []byte(payOnWord), Terms: []int64{int64(weight) * int64(len(ids))}, Parties: []vault.Recipients{{a.id}, {s.bob.id}},
		Pots: [][]vault.Stake{nil}, LockBy: time.Now().Unix() + 3600, Settle: vault.Atomic,
	}
	var err error
	if g.Escrow, err = s.escrowID(); err != nil {
		return vault.LockAsk{}, err
	}
	for _, id := range ids {
		g.Pots[0] = append(g.Pots[0], vault.Stake{Chunk: id, Weight: weight})
	}
	papers, err := a.call(enclave.Call{Papers: &enclave.Chunks{IDs: ids}})
	if err != nil {
		return vault.LockAsk{}, err
	}
	q := vault.LockAsk{Agreement: g}
	for _, x := range []struct {
		n, peer *node
		papers  []vault.Paper
	}{{a, s.bob, nil}, {s.bob, a, papers.Papers}} {
		r, err := x.n.call(enclave.Call{Accept: &enclave.Accept{
			Agreement: g, Papers: x.papers, Peers: []enclave.Peer{{Identity: x.peer.status.Identity, Evidence: x.peer.status.Evidence}},
		}})
		if err != nil {
			return q, err
		}
		q.Acceptances = append(q.Acceptances, *r.Accepted)
	}
	return q, nil
}

func (w *world) escrowID() (wire.VaultID, error) {
	d, err := escrow.NewClient(w.url, &http.Client{}).Describe(w.ctx)
	if err != nil {
		return wire.VaultID{}, err
	}
	return d.Identity.ID()
}

// send sends orders, so many at a time, each until the entry that it made is
// durable and witnessed. It returns the seconds for all and the milliseconds of each.
func (s *stage) send(orders []order, atOnce int) (float64, []float64, error) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	witnessed, place := make([]chan struct{}, len(orders)), map[wire.InstanceID]int{}
	for i, o := range orders {
		witnessed[i], place[o.instance] = make(chan struct{}), i
	}
	from, _, _ := s.host.Sizes()
	go func() {
		if err := s.runs(ctx, from, place, witnessed); err != nil {
			cancel(err)
		}
	}()
	each := make([]float64, len(orders))
	start := time.Now()
	err := parallel(atOnce, len(orders), func(i int) error {
		sent := time.Now()
		if _, err := s.alices[0].escrow.Send(ctx, orders[i].frame); err != nil {
			return err
		}
		select {
		case <-witnessed[i]:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		each[i] = time.Since(sent).Seconds() * 1000
		return nil
	})
	return time.Since(start).Seconds(), each, err
}

// runs reads the escrow's log from a position on, as far as it is witnessed, until
// there is a step of every instance that has a place, and closes the channels there.
func (s *stage) runs(ctx context.Context, from int64, place map[wire.InstanceID]int, witnessed []chan struct{}) error {
	for len(place) > 0 {
		_, seen, changed := s.host.Sizes()
		if from >= seen {
			select {
			case <-changed:
			case <-ctx.Done():
				return nil
			}
			continue
		}
		for raw, err := range s.log.Read(ctx, uint64(from)) {
			if err != nil {
				return err
			}
			e, err := vault.ParseOwn(raw)
			if err != nil {
				return err
			}
			if e.Run != nil {
				if i, ok := place[e.Run.Instance]; ok {
					close(witnessed[i])
					delete(place, e.Run.Instance)
				}
			}
			if from++; from == seen {
				break
			}
		}
	}
	return nil
}

// claim has every ordering vault claim chunks that it made, so many times so many.
func (s *stage) claim(many, times int) (float64, error) {
	var ids [payers][]wire.ChunkID
	for i, a := range s.alices {
		var err error
		if ids[i], err = a.deposit(s.ctx, s.spec, many*times); err != nil {
			return 0, err
		}
	}
	var took time.Duration
	for t := range times {
		var frames, answers [payers][]byte
		var said [payers]enclave.Spoken
		for i, a := range s.alices {
			if _, err := a.call(enclave.Call{Claim: &enclave.Chunks{IDs: ids[i][t*many : (t+1)*many]}}); err != nil {
				return 0, err
			}
			r, err := a.call(enclave.Call{Talk: &enclave.Nothing{}})
			if err != nil {
				return 0, err
			}
			for _, x := range r.Talk {
				if x.What == "claim" {
					said[i], frames[i] = x, x.Frame
				}
			}
			if frames[i] == nil {
				return 0, fmt.Errorf("a vault has no claim to say")
			}
		}
		start := time.Now()
		if err := parallel(payers, payers, func(i int) (err error) {
			answers[i], err = s.alices[i].escrow.Send(s.ctx, frames[i])
			return err
		}); err != nil {
			return 0, err
		}
		took += time.Since(start)
		for i, a := range s.alices {
			if _, err := a.call(enclave.Call{Heard: &enclave.Heard{N: said[i].N, Frame: answers[i]}}); err != nil {
				return 0, err
			}
		}
	}
	return took.Seconds(), rest(s.ctx, s.alices...)
}
