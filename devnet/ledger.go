package devnet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"latchkey/coin"
	"latchkey/escrow"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/wire"
)

// A chunkFate is what the escrow's log says of one chunk.
type chunkFate struct {
	asset   coin.Asset
	each    coin.Amount // on its address
	p       key.Point
	owner   wire.VaultID // the last one
	claimed int
	swept   int
	address string // of its deposit
}

// A dealFate is what the escrow's log says of one instance.
type dealFate struct {
	agreement vault.Agreement
	to        map[wire.ChunkID]wire.VaultID
	settled   bool
	aborted   bool
	steps     int // of its settlement: 1 if it is atomic
	lapsed    int // of them
}

// A ledger is all that the escrow's log says at the end.
type ledger struct {
	chunks map[wire.ChunkID]*chunkFate
	deals  map[wire.InstanceID]*dealFate
	kinds  map[string]int // entries of each kind
	size   int
}

// readLedger reads the whole of the escrow's log.
func readLedger(ctx context.Context, w *World) (*ledger, error) {
	l := &ledger{chunks: map[wire.ChunkID]*chunkFate{}, deals: map[wire.InstanceID]*dealFate{}, kinds: map[string]int{}}
	c := escrow.NewClient(w.urls["escrow"], http.DefaultClient)
	for {
		page, err := c.Entries(ctx, int64(l.size), 1024, 0)
		if err != nil {
			return nil, err
		}
		if len(page.Entries) == 0 {
			return l, nil
		}
		for _, raw := range page.Entries {
			e, err := vault.ParseEntry(raw)
			if err == nil {
				err = l.add(e)
			}
			if err != nil {
				return nil, fmt.Errorf("entry %d: %w", l.size, err)
			}
			l.size++
		}
	}
}

// Claims returns how many claims the escrow's log has. It waits until all that the
// escrow has decided can be read: after a start that is nothing, until witnesses have
// signed.
func (w *World) Claims(ctx context.Context) (int, error) {
	for range 250 {
		d, err := w.Escrow().Describe(ctx)
		if err != nil {
			return 0, err
		}
		l, err := readLedger(ctx, w)
		if err != nil {
			return 0, err
		}
		if d.Size > 0 && int64(l.size) >= d.Size {
			return l.kinds["Claim"], nil
		}
		pause(ctx, 40*time.Millisecond)
	}
	return 0, errors.New("the escrow's log cannot be read to its end: do its witnesses sign?")
}

func (l *ledger) add(e vault.Entry) error {
	touched, instance := e.Touches()
	v := reflect.ValueOf(e)
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			l.kinds[v.Type().Field(i).Name]++
		}
	}
	switch {
	case e.Certify != nil:
		cert := e.Certify.Certificate
		each, err := cert.Denomination.Deposit(cert.Weight)
		if err != nil {
			return err
		}
		for i, id := range touched {
			l.chunks[id] = &chunkFate{asset: cert.Denomination.Asset, each: each, p: e.Certify.Points[i], owner: cert.Owner[0]}
		}
	case e.Lock != nil:
		l.deals[instance] = &dealFate{agreement: e.Lock.Agreement, to: map[wire.ChunkID]wire.VaultID{}}
	case e.Deposit != nil:
		for _, id := range touched { // what went back may come again
			delete(l.deals[instance].to, id)
		}
	case e.Run != nil:
		d := l.deals[instance]
		if d.settled {
			return fmt.Errorf("instance %s goes on after it was settled", instance.Short())
		}
		d.settled, d.aborted = e.Run.Settled, d.aborted || e.Run.Kind == vault.RunAbort
		if e.Run.Closed {
			d.steps++
		}
		if e.Run.Kind == vault.RunLapsed {
			d.lapsed++
		}
		for _, x := range e.Run.Exits {
			to, err := x.To.One()
			if err != nil {
				return err
			}
			if _, twice := d.to[x.Chunk]; twice {
				return fmt.Errorf("chunk %s left instance %s twice", x.Chunk.Short(), instance.Short())
			}
			d.to[x.Chunk], l.chunks[x.Chunk].owner = to, to
		}
	case e.Claim != nil:
		for _, id := range touched {
			l.chunks[id].claimed++
		}
	case e.Swept != nil:
		for _, id := range touched {
			l.chunks[id].swept++
		}
	}
	return nil
}
