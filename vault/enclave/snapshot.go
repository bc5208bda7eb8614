package enclave

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"latchkey/vault"
)

// A snapshot of the escrow's machine is stored in parts, which the host might as
// well have made of the log itself, and are not sealed. The cover is a row of the
// table, and says which parts it must find: a part of another time, or of another
// making, does not open.

// rowPart begins the names of parts: + size of the log, 8 bytes, + number, 4 bytes.
const rowPart = "part/"

// partsAtOnce is how many parts go with a commit that nobody waits for, in one
// message. One that answers wait for takes one.
const partsAtOnce = 3

func partName(size int64, i int) string {
	b := binary.BigEndian.AppendUint64([]byte(rowPart), uint64(size))
	return string(binary.BigEndian.AppendUint32(b, uint32(i)))
}

// partNames returns the names of a snapshot's parts, and the size of the log that
// it is of.
func partNames(cover []byte) (names []string, size int64, err error) {
	size, n, err := vault.Cover(cover)
	for i := range n {
		names = append(names, partName(size, i))
	}
	return names, size, err
}

// setPartsAside takes the parts of snapshots out of what the host brought back.
func (e *Enclave) setPartsAside() {
	e.parts = map[string][]byte{}
	e.loaded = slices.DeleteFunc(e.loaded, func(r StoredRow) bool {
		part := strings.HasPrefix(string(r.Key), rowPart)
		if part {
			e.parts[string(r.Key)] = r.Value
		}
		return part
	})
}

// restore brings a machine to where the entries begin that the host brought back.
func (e *Enclave) restore(m *vault.Escrow, first int64) error {
	names, size, err := partNames(e.cover)
	if err != nil || size != first {
		return fmt.Errorf("%w: entries from %d on were brought back, and no snapshot is of those before; bring back the whole data folder, of one moment", errTable, first)
	}
	var parts [][]byte
	for _, name := range names {
		parts = append(parts, e.parts[name])
	}
	if err := m.Restore(e.cover, parts); err != nil {
		return fmt.Errorf("%w: %w; bring back the whole data folder, of one moment", errTable, err)
	}
	return nil
}

// dropParts lets go of parts that no cover names: of a snapshot that was not whole
// when an earlier run ended.
func (e *Enclave) dropParts() {
	names, _, _ := partNames(e.cover)
	for _, name := range names {
		delete(e.parts, name)
	}
	for name := range e.parts {
		e.idle = append(e.idle, StoredRow{Key: []byte(name)})
	}
}

// snapshot begins to store a snapshot, if one is due.
func (e *Enclave) snapshot() error {
	if len(e.writing) > 0 || !e.escrow.SnapshotDue() {
		return nil
	}
	s, err := e.escrow.Snapshot()
	if err != nil {
		return err
	}
	for i, p := range s.Parts {
		e.writing = append(e.writing, StoredRow{[]byte(partName(s.Size, i)), p})
	}
	e.next = s.Cover
	return nil
}

// quiet reports whether a commit may be made for parts alone: none is on its way.
// So those that answers wait for have at most one such before them, and a snapshot
// of any size is stored as fast as the host's disk takes it where nobody asks.
func (e *Enclave) quiet() bool { return len(e.writing) > 0 && e.table.number <= e.durable }

// nextParts returns what goes with a commit of the snapshot that is being stored.
// With its last part it becomes the one that a start begins with: then the parts
// of the one before go, and from is not 0.
func (e *Enclave) nextParts() (rows []StoredRow, from int64, err error) {
	rows, e.idle = e.idle, nil
	if len(e.writing) == 0 || e.table.number >= e.durable+ahead {
		return rows, 0, nil
	}
	n := min(partsAtOnce, len(e.writing))
	if len(e.taken) > 0 {
		n = 1
	}
	rows, e.writing = append(rows, e.writing[:n]...), e.writing[n:]
	if len(e.writing) > 0 {
		return rows, 0, nil
	}
	e.writing = nil
	names, _, _ := partNames(e.cover) // none before the first
	for _, name := range names {
		rows = append(rows, StoredRow{Key: []byte(name)})
	}
	e.cover, e.next = e.next, nil
	e.table.put(rowSnapshot, e.cover)
	from, _, err = vault.Cover(e.cover)
	return rows, from, err
}
