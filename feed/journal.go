// Package feed is what an oracle's operator runs: it takes values from a file or
// an HTTP source, and signs each for its time of observation, once. What was
// signed is in a journal before anybody sees it, so that neither a crash nor a
// second start makes the key sign two values for one time, which would be a
// provable fraud. What a signed value is, package contract/oracle says.
//
// The key and its journal belong to one operator. Contracts trust a quorum of such
// operators, no single one.
package feed

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"latchkey/contract/oracle"
)

// ErrSigned is wrapped by the refusal to sign another value for a time.
var ErrSigned = errors.New("another value was signed for this time")

// Signer signs values with one key. It is used by one goroutine.
type Signer struct {
	key    ed25519.PrivateKey
	file   *os.File
	unlock func()
	signed map[string]int64 // by feed and time
}

const journalHead = "latchkey oracle journal "

// NewSigner opens the journal at path, or begins one, and locks it. The journal is
// one key's: another key is refused. A line that a crash left unfinished is cut
// off; its value was not given out.
func NewSigner(path string, key ed25519.PrivateKey) (s *Signer, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	unlock, err := lock(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	defer func() {
		if err != nil {
			unlock()
			f.Close()
		}
	}()
	raw, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	s = &Signer{key: key, file: f, unlock: unlock, signed: make(map[string]int64)}
	head := journalHead + hex.EncodeToString(key.Public().(ed25519.PublicKey)) + "\n"
	whole := raw[:bytes.LastIndexByte(raw, '\n')+1]
	if len(whole) == 0 {
		if len(raw) > 0 && !strings.HasPrefix(head, string(raw)) {
			return nil, fmt.Errorf("journal %s is no journal of this key", path)
		}
		if err := s.append(0, head); err != nil {
			return nil, err
		}
		dir, err := os.Open(filepath.Dir(path))
		if err != nil {
			return nil, fmt.Errorf("sync journal: %w", err)
		}
		if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
			return nil, fmt.Errorf("sync journal: %w", err)
		}
		return s, nil
	}
	for i, line := range strings.SplitAfter(strings.TrimSuffix(string(whole), "\n"), "\n") {
		if line = strings.TrimSuffix(line, "\n"); i == 0 {
			if line+"\n" != head {
				return nil, fmt.Errorf("journal %s is no journal of this key", path)
			}
			continue
		}
		time, value, feed, err := entry(line)
		if err != nil {
			return nil, fmt.Errorf("journal %s, line %d: %w", path, i+1, err)
		}
		s.signed[name(feed, time)] = value
	}
	if len(whole) < len(raw) {
		if err := f.Truncate(int64(len(whole))); err != nil {
			return nil, fmt.Errorf("journal %s: %w", path, err)
		}
	}
	if _, err := f.Seek(int64(len(whole)), io.SeekStart); err != nil {
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	return s, nil
}

// append writes at an offset, from which the file goes on, and syncs.
func (s *Signer) append(at int64, text string) error {
	if at >= 0 {
		if _, err := s.file.Seek(at, io.SeekStart); err != nil {
			return fmt.Errorf("write journal: %w", err)
		}
	}
	if _, err := s.file.WriteString(text); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	return nil
}

func entry(line string) (time, value int64, feed string, err error) {
	parts := strings.SplitN(line, " ", 3)
	if len(parts) != 3 {
		return 0, 0, "", errors.New("not TIME VALUE FEED")
	}
	time, err1 := strconv.ParseInt(parts[0], 10, 64)
	value, err2 := strconv.ParseInt(parts[1], 10, 64)
	return time, value, parts[2], errors.Join(err1, err2)
}

func name(feed string, time int64) string { return strconv.FormatInt(time, 10) + " " + feed }

// Close closes the journal and lets others have it.
func (s *Signer) Close() error {
	defer s.unlock()
	return s.file.Close()
}

// Sign signs a value. What it returns is in the journal already. The same value
// again has the same signature; another one for the same feed and time is
// refused with ErrSigned.
func (s *Signer) Sign(v oracle.Value) (oracle.Signed, error) {
	if s.key == nil {
		return oracle.Signed{}, errors.New("the journal could not be written: start anew")
	}
	signed, err := v.Sign(s.key)
	if err != nil {
		return oracle.Signed{}, err
	}
	before, known := s.signed[name(v.Feed, v.Time)]
	switch {
	case known && before != v.Value:
		return oracle.Signed{}, fmt.Errorf("%s at %d: %w: %d, not %d", v.Feed, v.Time, ErrSigned, before, v.Value)
	case known:
		return signed, nil
	}
	if err := s.append(-1, fmt.Sprintf("%d %d %s\n", v.Time, v.Value, v.Feed)); err != nil {
		s.key = nil // what is in the file is not known any more
		return oracle.Signed{}, err
	}
	s.signed[name(v.Feed, v.Time)] = v.Value
	return signed, nil
}
