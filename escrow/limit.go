package escrow

import (
	"context"
	"fmt"
	"time"

	"latchkey/attest"
	"latchkey/gate"
	"latchkey/vault/enclave"
	"latchkey/vault/session"
	"latchkey/wire"
)

// ask passes what somebody asks on to the vault, if who has a place for it. The place
// is taken until the vault has answered, however long whoever asked goes on waiting: so
// places bound what waits in the vault, for its turn, for the disk or for witnesses.
func (h *Host) ask(ctx context.Context, who string, c enclave.Call) (enclave.Result, error) {
	leave, err := h.cfg.Guard.Place(who)
	if err != nil {
		return enclave.Result{}, err
	}
	type answer struct {
		r   enclave.Result
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		defer leave()
		r, err := h.call(context.WithoutCancel(ctx), c) // ends with the vault at the latest
		answered <- answer{r, err}
	}()
	select {
	case a := <-answered:
		return a.r, a.err
	case <-ctx.Done():
		return enclave.Result{}, context.Cause(ctx)
	}
}

// device returns the key of the device that evidence is of, as it was at a time in Unix
// seconds; zero if no verifier reads it, or if it names no single device.
func (h *Host) device(evidence []byte, at int64) wire.Hash {
	ev, err := attest.ParseEvidence(evidence)
	if err != nil {
		return wire.Hash{}
	}
	for _, v := range h.cfg.Verifiers {
		if v.Format() != ev.Format {
			continue
		}
		if f, err := v.Verify(ev, at); err == nil {
			k, _ := f.DeviceKey()
			return k
		}
	}
	return wire.Hash{}
}

// enrols has a place for a vault that greets for the first time, unless its device has
// as many as it may; done is called when the vault has answered. What evidence is worth
// the vault decides: what it refuses is not counted.
func (h *Host) enrols(hello []byte) (done func(), err error) {
	none := func() {}
	if h.cfg.Guard == nil {
		return none, nil
	}
	var x session.Hello
	var v wire.VaultID
	if err = wire.Unmarshal(hello, &x); err == nil {
		v, err = x.From.ID()
	}
	h.mu.Lock()
	_, known := h.feed.Peer(v)
	h.mu.Unlock()
	d := wire.Hash{}
	if err == nil && !known { // what does not read is for the vault to refuse
		d = h.device(x.Evidence, time.Now().Unix())
	}
	if d == (wire.Hash{}) {
		return none, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	most := h.cfg.Guard.DeviceVaults
	if n := h.feed.devices[d] + h.coming[d]; n >= most {
		h.cfg.Guard.Refuse(gate.RefusedDevice)
		return none, fmt.Errorf("%d vaults of this device are enrolled here, and no more than %d may be (limits.device_vaults); go on with one of them, or ask the operator", n, most)
	}
	h.coming[d]++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.coming[d]--; h.coming[d] == 0 {
			delete(h.coming, d)
		}
	}, nil
}

// begun returns how many chunks each device has begun, by its key; a vault whose device
// is not counted stands for itself.
func (f *Feed) begun() map[wire.Hash]uint64 {
	out := map[wire.Hash]uint64{}
	for v, p := range f.peers {
		if p.begun > 0 {
			out[p.maker(v)] += p.begun
		}
	}
	return out
}

func (p peer) maker(v wire.VaultID) wire.Hash {
	if p.device != (wire.Hash{}) {
		return p.device
	}
	return wire.Hash(v)
}

// full returns the vaults that may begin no more chunks, of all which are enrolled: an
// escrow cannot see whether one was ever paid for, and keeps each for good.
func (h *Host) full() (t enclave.Tick) {
	if h.cfg.Guard == nil {
		return t
	}
	t.Most = h.cfg.Guard.DeviceChunks
	h.mu.Lock()
	defer h.mu.Unlock()
	begun := h.feed.begun()
	for v, p := range h.feed.peers {
		if begun[p.maker(v)] >= uint64(t.Most) {
			t.Full = append(t.Full, v)
		}
	}
	return t
}
