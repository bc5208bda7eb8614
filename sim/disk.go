package sim

import (
	"fmt"
	"maps"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"latchkey/head"
	"latchkey/vault"
)

// A Disk is what survives a crash of an escrow: its log, as a transparency log,
// and its rows.
type Disk struct {
	entries  [][]byte
	hashes   []tlog.Hash
	rows     map[string][]byte
	snapshot *vault.Snapshot // the newest; nil: none
}

func newDisk() *Disk { return &Disk{rows: map[string][]byte{}} }

// Clone copies a disk, as a host can at any time.
func (d *Disk) Clone() *Disk {
	return &Disk{slices.Clone(d.entries), slices.Clone(d.hashes), maps.Clone(d.rows), d.snapshot}
}

func (d *Disk) size() int64 { return int64(len(d.entries)) }

func (d *Disk) reader() tlog.HashReaderFunc {
	return func(idx []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(idx))
		for i, x := range idx {
			if x >= int64(len(d.hashes)) {
				return nil, fmt.Errorf("hash %d of %d", x, len(d.hashes))
			}
			out[i] = d.hashes[x]
		}
		return out, nil
	}
}

// write makes a block durable, all of it.
func (d *Disk) write(b vault.Block) error {
	for i, e := range b.Entries {
		if at := b.First + int64(i); at != d.size() {
			return fmt.Errorf("block of entry %d for a log of %d", at, d.size())
		}
		h, err := tlog.StoredHashes(d.size(), e, d.reader())
		if err != nil {
			return err
		}
		d.hashes, d.entries = append(d.hashes, h...), append(d.entries, e)
	}
	save(d.rows, b.Rows)
	return nil
}

func save(table map[string][]byte, rows []vault.Row) {
	for _, r := range rows {
		if r.Value == nil {
			delete(table, r.Key)
		} else {
			table[r.Key] = r.Value
		}
	}
}

// rowsOf returns a table's rows in order.
func rowsOf(table map[string][]byte) []vault.Row {
	out := make([]vault.Row, 0, len(table))
	for _, k := range slices.Sorted(maps.Keys(table)) {
		out = append(out, vault.Row{Key: k, Value: table[k]})
	}
	return out
}

func (d *Disk) root(size int64) (head.Hash, error) { return tlog.TreeHash(size, d.reader()) }

// consistency proves that the log grew from old to size; nil where there is
// nothing to prove or no way to.
func (d *Disk) consistency(old, size int64) []head.Hash {
	if old <= 0 || old >= size {
		return nil
	}
	p, err := tlog.ProveTree(size, old, d.reader())
	if err != nil {
		return nil
	}
	return p
}

func (d *Disk) inclusion(position, size int64) []head.Hash {
	p, err := tlog.ProveRecord(size, position, d.reader())
	if err != nil {
		return nil
	}
	return p
}
