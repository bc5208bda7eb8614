package enclave

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"

	"latchkey/vault"
	"latchkey/wire"
)

// Names of the table's own rows. Rows of the machines begin with rowMachine.
const (
	rowMeta     = "meta"
	rowIdentity = "identity"
	rowTrust    = "trust"
	rowKey      = "key/" // + generation, 4 bytes
	rowMachine  = "v/"
	rowSnapshot = "snapshot" // the cover of an escrow's
)

// A table seals rows for a host that may return old ones, or a mixture. Every
// row is AES-256-GCM under the table key of its generation, bound to its name
// and to the number of the commit that wrote it. The meta row, written with
// every commit, holds a keyed sum over (name, number) of all rows: a set of rows
// that never stood together does not open. A whole old set does; what that can
// and cannot do is in SECURITY.md.
//
// Table keys are wrapped under the platform's sealing key. A turn makes a new
// one, seals everything again, commit by commit, and forgets the old: what the
// host keeps of the old rows is then worth nothing, if it did not keep the
// wrapped key as well.
type table struct {
	seal   cipher.AEAD
	gens   map[uint32]cipher.AEAD
	gen    uint32
	mac    [32]byte
	keyed  hash.Hash // HMAC under mac
	number uint64    // of the last commit
	rows   map[tag]sealed
	hide   [32]byte // of tags; drawn at each start
	sum    [32]byte
	out    []StoredRow // of the commit in the making
	turned []string    // names of rows to look at in a turn
	part   int         // the next names to ask for; 0: no turn is under way
	old    int         // rows that older keys have sealed
}

// A tag stands for a row's name in memory: a part of a hash of it under a secret
// of this run, so that nobody finds two names with one tag. There are millions of
// rows, and names are long; who seals rows anew asks the machine for them.
type tag [16]byte

// sealed says how a row was sealed last: by the commit with this number, under
// the table key of this generation, of which it has the last 16 bits. No two
// generations whose keys are still here are 2¹⁶ apart.
type sealed uint64

func sealedBy(number uint64, gen uint32) sealed { return sealed(number<<16 | uint64(uint16(gen))) }
func (s sealed) number() uint64                 { return uint64(s >> 16) }
func (s sealed) of(gen uint32) bool             { return uint16(s) == uint16(gen) }

func (t *table) tag(name string) tag {
	h := sha256.Sum256(append(t.hide[:], name...))
	return tag(h[:16])
}

type meta struct {
	Number uint64    `cbor:"1,keyasint"`
	Gen    uint32    `cbor:"2,keyasint"`
	Mac    [32]byte  `cbor:"3,keyasint"`
	Sum    [32]byte  `cbor:"4,keyasint"`
	Size   int64     `cbor:"5,keyasint"` // of the escrow's log
	Root   wire.Hash `cbor:"6,keyasint"`
}

// errTable is wrapped by whatever is wrong with what the host brought back.
var errTable = errors.New("stored rows do not open")

func newGCM(k []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func newTable(sealKey [32]byte) (*table, error) {
	t := &table{gens: map[uint32]cipher.AEAD{}, rows: map[tag]sealed{}}
	rand.Read(t.hide[:])
	var err error
	t.seal, err = newGCM(sealKey[:])
	return t, err
}

func sealTo(a cipher.AEAD, plain []byte, bind string) []byte {
	nonce := make([]byte, a.NonceSize())
	rand.Read(nonce)
	return a.Seal(nonce, nonce, plain, []byte(bind))
}

func openFrom(a cipher.AEAD, text []byte, bind string) ([]byte, error) {
	if len(text) < a.NonceSize() {
		return nil, errTable
	}
	plain, err := a.Open(nil, text[:a.NonceSize()], text[a.NonceSize():], []byte(bind))
	if err != nil {
		return nil, errTable
	}
	return plain, nil
}

func bind(name string, gen uint32, number uint64) string {
	b := binary.BigEndian.AppendUint32([]byte("latchkey/row/v1\x00"), gen)
	b = binary.BigEndian.AppendUint64(b, number)
	return string(b) + name
}

func keyName(gen uint32) string { return rowKey + string(binary.BigEndian.AppendUint32(nil, gen)) }

// newKey starts a new generation; its wrapped key goes out with the commit.
func (t *table) newKey() error {
	var k [32]byte
	rand.Read(k[:])
	a, err := newGCM(k[:])
	if err != nil {
		return err
	}
	t.gen++
	t.gens[t.gen] = a
	name := keyName(t.gen)
	t.out = append(t.out, StoredRow{[]byte(name), sealTo(t.seal, k[:], name)})
	clear(k[:])
	return nil
}

// toggle adds a row to the keyed sum, or takes it out.
func (t *table) toggle(name string, number uint64) {
	t.keyed.Reset()
	t.keyed.Write(binary.BigEndian.AppendUint64(nil, number))
	t.keyed.Write([]byte(name))
	subtle.XORBytes(t.sum[:], t.sum[:], t.keyed.Sum(nil))
}

// put seals a row into the commit in the making.
func (t *table) put(name string, value []byte) {
	number := t.number + 1
	t.forget(name)
	t.rows[t.tag(name)] = sealedBy(number, t.gen)
	t.toggle(name, number)
	v := binary.BigEndian.AppendUint32(nil, t.gen)
	v = binary.BigEndian.AppendUint64(v, number)
	t.out = append(t.out, StoredRow{[]byte(name), append(v, sealTo(t.gens[t.gen], value, bind(name, t.gen, number))...)})
}

// del removes a row.
func (t *table) del(name string) {
	if t.forget(name) {
		t.out = append(t.out, StoredRow{Key: []byte(name)})
	}
}

// forget takes a row out of the books, and reports whether it was in them.
func (t *table) forget(name string) bool {
	k := t.tag(name)
	old, ok := t.rows[k]
	if ok {
		t.toggle(name, old.number())
		delete(t.rows, k)
		if !old.of(t.gen) {
			t.old--
		}
	}
	return ok
}

// apply puts and deletes rows of a machine.
func (t *table) apply(rows []vault.Row) {
	for _, r := range rows {
		if r.Value == nil {
			t.del(rowMachine + r.Key)
		} else {
			t.put(rowMachine+r.Key, r.Value)
		}
	}
}

// dirty reports whether a commit is in the making.
func (t *table) dirty() bool { return len(t.out) > 0 }

// commit closes the commit in the making.
func (t *table) commit(size int64, root wire.Hash) (number uint64, rows []StoredRow, err error) {
	m, err := wire.Marshal(meta{t.number + 1, t.gen, t.mac, t.sum, size, root})
	if err != nil {
		return 0, nil, err
	}
	t.number++
	v := binary.BigEndian.AppendUint32(nil, t.gen)
	rows = append(newest(t.out), StoredRow{[]byte(rowMeta), append(v, sealTo(t.gens[t.gen], m, bind(rowMeta, t.gen, 0))...)})
	t.out = nil
	return t.number, rows, nil
}

// newest keeps of each row what was written last: the host stores a commit's
// deletions before its rows, whatever their order was.
func newest(out []StoredRow) []StoredRow {
	last := map[string]int{}
	for i, r := range out {
		last[string(r.Key)] = i
	}
	rows := make([]StoredRow, 0, len(last)+1)
	for i, r := range out {
		if last[string(r.Key)] == i {
			rows = append(rows, r)
		}
	}
	return rows
}

// start begins an empty table.
func (t *table) start() error {
	rand.Read(t.mac[:])
	t.keyed = hmac.New(sha256.New, t.mac[:])
	return t.newKey()
}

// open reads back what the host stored and returns the meta row and the plain
// rows by name. It opens one set, once: a table that has failed is of no use.
func (t *table) open(stored []StoredRow) (meta, map[string][]byte, error) {
	var m meta
	fail := func(what string) (meta, map[string][]byte, error) {
		return meta{}, nil, fmt.Errorf("%w: %s; bring back the whole data folder as it was, of one moment", errTable, what)
	}
	byName := make(map[string][]byte, len(stored)) // there are millions
	for _, r := range stored {
		byName[string(r.Key)] = r.Value
	}
	for name, v := range byName {
		gen, ok := strings.CutPrefix(name, rowKey)
		if !ok {
			continue
		}
		k, err := openFrom(t.seal, v, name)
		if err != nil || len(gen) != 4 || len(k) != 32 {
			return fail("a table key was wrapped on another platform, or for another program")
		}
		g := binary.BigEndian.Uint32([]byte(gen))
		if t.gens[g], err = newGCM(k); err != nil {
			return meta{}, nil, err
		}
		clear(k)
		delete(byName, name)
	}
	raw := byName[rowMeta]
	delete(byName, rowMeta)
	if len(raw) < 4 || t.gens[binary.BigEndian.Uint32(raw)] == nil {
		return fail("the meta row or its key is missing")
	}
	gen := binary.BigEndian.Uint32(raw)
	plain, err := openFrom(t.gens[gen], raw[4:], bind(rowMeta, gen, 0))
	if err != nil {
		return fail("the meta row is damaged")
	}
	if err := wire.Unmarshal(plain, &m); err != nil || m.Gen != gen {
		return fail("the meta row is damaged")
	}
	t.gen, t.mac, t.number = m.Gen, m.Mac, m.Number
	t.keyed = hmac.New(sha256.New, t.mac[:])
	t.rows = make(map[tag]sealed, len(byName))
	for name, v := range byName {
		if len(v) < 12 {
			return fail(fmt.Sprintf("row %.8q is cut", name))
		}
		g, number := binary.BigEndian.Uint32(v), binary.BigEndian.Uint64(v[4:])
		if t.gens[g] == nil {
			return fail(fmt.Sprintf("row %.8q is of another time", name))
		}
		if byName[name], err = openFrom(t.gens[g], v[12:], bind(name, g, number)); err != nil {
			return fail(fmt.Sprintf("row %.8q is damaged", name))
		}
		t.rows[t.tag(name)] = sealedBy(number, g)
		if g != t.gen {
			t.old++
		}
		t.toggle(name, number)
	}
	if subtle.ConstantTimeCompare(t.sum[:], m.Sum[:]) != 1 {
		return fail("rows are missing, or from different moments")
	}
	return m, byName, nil
}

// turn begins a new generation: from here on its key seals, and reseal brings
// over what older keys have sealed. A turn under way is not begun again.
func (t *table) turn() error {
	if t.part > 0 {
		return nil
	}
	t.turned, t.part, t.old = nil, 1, len(t.rows)
	return t.newKey()
}

// reseal seals at most so many rows anew, with their values from the machine,
// whose names come in parts, from 1 on: false is the end. When it has done the last,
// the older keys are forgotten, here and on disk.
func (t *table) reseal(most int, names func(part int) ([]string, bool), value func(name string) ([]byte, error)) error {
	for t.part > 0 && t.old > 0 && most > 0 {
		if len(t.turned) == 0 {
			var ok bool
			if t.turned, ok = names(t.part); !ok {
				return fmt.Errorf("seal rows anew: %d are of names that nobody knows", t.old)
			}
			t.part++
			continue
		}
		name := t.turned[0]
		t.turned = t.turned[1:]
		if old, ok := t.rows[t.tag(name)]; !ok || old.of(t.gen) {
			continue
		}
		v, err := value(name)
		if err != nil {
			return fmt.Errorf("seal row %.8q anew: %w", name, err)
		}
		t.put(name, v)
		clear(v)
		most--
	}
	if t.part == 0 || t.old > 0 {
		return nil
	}
	t.turned, t.part = nil, 0
	for _, g := range slices.Sorted(maps.Keys(t.gens)) {
		if g != t.gen {
			delete(t.gens, g)
			t.out = append(t.out, StoredRow{Key: []byte(keyName(g))})
		}
	}
	return nil
}
