package btc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"latchkey/wallet"
)

// A store keeps what was signed, before it is broadcast: one line of a file per
// record, "CHECKSUM JSON", synced before append returns. A line torn by a crash
// was never answered for and is cut off at the start. No private key of a chunk
// is ever in it.
type store struct {
	dir    string
	lock   *flock.Flock
	file   *os.File
	size   int64
	broken error // a failed write that could not be undone

	funds  map[string]fundRecord
	sweeps map[string]*sweepRecord
	signed []signedTx        // not final yet, in the order of signing
	final  map[string]bool   // txids that are buried deep
	own    map[string]string // txid to the hex of raw, of all signed
}

// A record is one line. Exactly one field is set.
type record struct {
	Fund  *fundRecord  `json:"fund,omitempty"`
	Sweep *sweepRecord `json:"sweep,omitempty"`
	Final string       `json:"final,omitempty"` // txid
}

type fundRecord struct {
	ID      string   `json:"id"`
	Request string   `json:"request"` // digest
	Tx      signedTx `json:"tx"`
}

// A sweepRecord holds all attempts at the keys of one id. A line holds the new
// ones; the lines of an id add up.
type sweepRecord struct {
	ID       string    `json:"id"`
	Request  string    `json:"request"` // digest
	Attempts []attempt `json:"attempts"`
}

type attempt struct {
	Tx   signedTx   `json:"tx"`
	Keys []sweptKey `json:"keys"`
}

type sweptKey struct {
	Public []byte `json:"public"`
	Amount int64  `json:"amount"`
}

type signedTx struct {
	ID  string `json:"id"`
	Raw []byte `json:"raw"`
	Fee int64  `json:"fee"`
}

const storeName, keyName, cacheName = "signed.log", "own.key", "view.cache"

// openStore opens or makes the store of a folder. One process at a time.
func openStore(dir string) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	lock := flock.New(filepath.Join(dir, "lock"))
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock the data folder %s: %w", dir, err)
	case !ok:
		return nil, fmt.Errorf("data folder %s: another process has it", dir)
	}
	s := &store{
		dir: dir, lock: lock, funds: make(map[string]fundRecord), sweeps: make(map[string]*sweepRecord),
		final: make(map[string]bool), own: make(map[string]string),
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *store) close() error {
	var err error
	if s.file != nil {
		err = s.file.Close()
	}
	return errors.Join(err, s.lock.Unlock())
}

func (s *store) load() error {
	path := filepath.Join(s.dir, storeName)
	_, missing := os.Stat(path)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	s.file = file
	if errors.Is(missing, os.ErrNotExist) {
		if err := syncDir(s.dir); err != nil {
			return err
		}
	}
	raw, err := io.ReadAll(file)
	if err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	for n := 1; len(raw) > 0; n++ {
		line, rest, whole := bytes.Cut(raw, []byte("\n"))
		if !whole {
			break // torn: it was never answered for
		}
		r, err := decodeRecord(line)
		if err != nil {
			return fmt.Errorf("store %s is damaged at line %d: %w", path, n, err)
		}
		s.enter(r)
		s.size += int64(len(line)) + 1
		raw = rest
	}
	if len(raw) > 0 {
		if err := file.Truncate(s.size); err != nil {
			return fmt.Errorf("cut the torn end off the store: %w", err)
		}
	}
	if _, err := file.Seek(s.size, io.SeekStart); err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	return nil
}

func encodeRecord(r record) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(body), body), nil
}

func decodeRecord(line []byte) (record, error) {
	sum, body, ok := bytes.Cut(line, []byte(" "))
	if !ok || string(sum) != fmt.Sprintf("%08x", crc32.ChecksumIEEE(body)) {
		return record{}, errors.New("checksum is wrong")
	}
	var r record
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return record{}, err
	}
	set := 0
	for _, has := range []bool{r.Fund != nil, r.Sweep != nil, r.Final != ""} {
		if has {
			set++
		}
	}
	if set != 1 {
		return record{}, errors.New("want exactly one of fund, sweep, final")
	}
	return r, nil
}

// append makes records durable, all or none, and then enters them.
func (s *store) append(records ...record) error {
	if s.broken != nil {
		return s.broken
	}
	var raw []byte
	for _, r := range records {
		line, err := encodeRecord(r)
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		raw = append(raw, line...)
	}
	_, err := s.file.Write(raw)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		// What may be on disk in part must not stay: it was not answered for.
		_, seekErr := s.file.Seek(s.size, io.SeekStart)
		if undo := errors.Join(s.file.Truncate(s.size), s.file.Sync(), seekErr); undo != nil {
			s.broken = fmt.Errorf("store %s cannot be written; restart the connector when it can: %w", s.dir, undo)
		}
		return fmt.Errorf("store in %s: %w", s.dir, err)
	}
	s.size += int64(len(raw))
	for _, r := range records {
		s.enter(r)
	}
	return nil
}

func (s *store) enter(r record) {
	switch {
	case r.Fund != nil:
		s.funds[r.Fund.ID] = *r.Fund
		s.sign(r.Fund.Tx)
	case r.Sweep != nil:
		have := s.sweeps[r.Sweep.ID]
		if have == nil {
			have = &sweepRecord{ID: r.Sweep.ID, Request: r.Sweep.Request}
			s.sweeps[r.Sweep.ID] = have
		}
		have.Attempts = append(have.Attempts, r.Sweep.Attempts...)
		for _, a := range r.Sweep.Attempts {
			s.sign(a.Tx)
		}
	default:
		s.final[r.Final] = true
		for i, t := range s.signed {
			if t.ID == r.Final {
				s.signed = append(s.signed[:i:i], s.signed[i+1:]...)
				break
			}
		}
	}
}

func (s *store) sign(t signedTx) {
	s.signed = append(s.signed, t)
	s.own[t.ID] = string(t.Raw)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("data folder %s: %w", dir, err)
	}
	return nil
}

// loadKey reads the own key, and makes it at the first start.
func loadKey(dir string) (wallet.PrivateKey, error) {
	path := filepath.Join(dir, keyName)
	raw, err := os.ReadFile(path)
	if err == nil {
		d, err := parseKey(raw)
		if err != nil {
			return wallet.PrivateKey{}, fmt.Errorf("%s, damaged, has to come back from your backup: %w", path, err)
		}
		return d, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return wallet.PrivateKey{}, fmt.Errorf("read the own key: %w", err)
	}
	d, text, err := newKey()
	if err != nil {
		return wallet.PrivateKey{}, err
	}
	// Under its name it is whole: coins must never lie at a key that was lost.
	tmp, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return wallet.PrivateKey{}, fmt.Errorf("write the own key: %w", err)
	}
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return wallet.PrivateKey{}, fmt.Errorf("write the own key: %w", err)
	}
	return d, nil
}
