package sim

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"latchkey/vault"
	"latchkey/wire"
)

// restartWith starts the escrow again with what its host brings it in place of the
// parts of its snapshot or of its rows. The cover of the snapshot and each row by
// itself are sealed: these the host cannot change.
func (w *World) restartWith(parts [][]byte, rows map[string][]byte) error {
	h := w.hosts[0]
	h.Crash(99)
	m, err := vault.NewEscrow(vault.EscrowConfig{
		Origin: origin, Identity: w.cast.Escrow.Identity, Sign: w.cast.Escrow.Sign, Group: w.group,
		Evidence: []byte("evidence of the escrow"), Digest: w.cast.Escrow.Digest, Sealer: w.sealer(&w.cast.Escrow, h.boot),
	})
	if err == nil {
		err = m.Restore(h.Disk.snapshot.Cover, parts)
	}
	for _, raw := range h.Disk.entries[h.Disk.snapshot.Size:] {
		if err == nil {
			err = m.Replay(raw)
		}
	}
	if err == nil {
		err = m.Load(rowsOf(rows))
	}
	if err == nil {
		h.m, h.digest, h.clock = m, w.escrowDigest.sum(m), min(h.clock, m.Now())
	}
	return err
}

// sold makes a chunk of mallory's, gives it to bob, and returns the snapshots of
// before and after. The newest is the one on the disk.
func (w *World) sold(t *testing.T) (x wire.ChunkID, before, after vault.Snapshot) {
	t.Helper()
	x = w.stock(t, 0, "mallory")["mallory"]
	h := w.hosts[0]
	snapshot := func() vault.Snapshot {
		h.Snapshot()
		h.Flush(99)
		ok(t, w)
		return *h.Disk.snapshot
	}
	before = snapshot()
	w.deal(t, Pay, []string{"mallory", "bob"}, []wire.ChunkID{x})
	return x, before, snapshot()
}

var snapshotCheats = map[string]cheat{
	// Parts of a snapshot are stored as they are: nothing but the cover's hash says
	// which they are.
	"a snapshot with another owner": func(t *testing.T, w *World) error {
		x, _, after := w.sold(t)
		f := w.ledger.chunks[x]
		b := append([]byte{byte(f.B.Type())}, f.B.Bytes()...)
		var ids []wire.VaultID
		for _, c := range w.clients {
			ids = append(ids, c.ID)
		}
		slices.SortFunc(ids, func(a, b wire.VaultID) int { return bytes.Compare(a[:], b[:]) })
		parts := make([][]byte, len(after.Parts))
		for i, p := range after.Parts {
			parts[i] = bytes.Clone(p)
		}
		give := func(to string) {
			t.Helper()
			for _, p := range parts {
				if i := bytes.LastIndex(p, b); i >= 16 { // the owner stands 16 bytes before B; the sum of all B may be the same point
					binary.BigEndian.PutUint32(p[i-16:], uint32(slices.Index(ids, w.Client(to).ID)))
					return
				}
			}
			t.Fatal("the snapshot does not have the chunk")
		}
		if give("bob"); !slices.EqualFunc(parts, after.Parts, bytes.Equal) {
			t.Fatal("the snapshot does not say that the chunk is bob's where it should")
		}
		give("mallory")
		if err := w.restartWith(parts, w.hosts[0].Disk.rows); err != nil {
			w.hosts[0].Start()
			return nil
		}
		m := w.Client("mallory")
		return m.try(m.claimAsk(vault.ChunkEpoch{Chunk: x, Epoch: f.Epoch}))
	},
	"an old snapshot with newer entries": func(t *testing.T, w *World) error {
		_, before, _ := w.sold(t)
		if err := w.restartWith(before.Parts, w.hosts[0].Disk.rows); err != nil {
			w.hosts[0].Start()
			return nil
		}
		return errWorks
	},
	"an old share with a newer snapshot": func(t *testing.T, w *World) error {
		x, _, _ := w.sold(t)
		rows := maps.Clone(w.hosts[0].Disk.rows)
		k := "b" + string(x[:])
		rows[k] = bytes.Clone(rows[k])
		rows[k][len(rows[k])-5] ^= 1
		if err := w.restartWith(w.hosts[0].Disk.snapshot.Parts, rows); err != nil {
			w.hosts[0].Start()
			return nil
		}
		return errWorks
	},
}
