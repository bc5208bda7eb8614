package head

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// MaxSize bounds a log's entries. (tlog's arithmetic does not end for sizes
// above 2^62; this stays far away from there.)
const MaxSize = 1 << 48

// maxSigned bounds a signed checkpoint, in bytes.
const maxSigned = 1 << 16

// Hash is a SHA-256 tree hash of RFC 6962 section 2.1.
type Hash = tlog.Hash

var (
	// ErrMalformed is wrapped by every refusal of bytes for their form alone.
	ErrMalformed = errors.New("malformed")
	// ErrSignature is wrapped where the log's signature is missing or wrong, or
	// a known witness's cosignature is wrong.
	ErrSignature = errors.New("bad signature")
	// ErrProof is wrapped where an inclusion or consistency proof fails.
	ErrProof = errors.New("proof does not hold")
)

// Checkpoint is a head of a log: its origin, its number of entries, and the root
// of their tree.
type Checkpoint struct {
	Origin string
	Size   int64
	Root   Hash
}

// EmptyRoot returns the root of the tree without entries: SHA-256 of nothing.
func EmptyRoot() Hash { return sha256.Sum256(nil) }

// LeafHash returns the tree's leaf for an entry: SHA-256(0x00 || entry).
func LeafHash(entry []byte) Hash { return tlog.RecordHash(entry) }

// Check refuses an origin that is not a key name, a size outside 0..MaxSize, and
// an empty tree under a root other than its own.
func (c Checkpoint) Check() error {
	switch {
	case !validName(c.Origin):
		return fmt.Errorf("%w checkpoint: origin %.300q", ErrMalformed, c.Origin)
	case c.Size < 0 || c.Size > MaxSize:
		return fmt.Errorf("%w checkpoint: size %d is outside 0..2^48", ErrMalformed, c.Size)
	case c.Size == 0 && c.Root != EmptyRoot():
		return fmt.Errorf("%w checkpoint: size 0 with root %s", ErrMalformed, c.Root)
	}
	return nil
}

// Text returns the note text: the three lines origin, size and root. It does
// not Check.
func (c Checkpoint) Text() []byte {
	return fmt.Appendf(nil, "%s\n%d\n%s\n", c.Origin, c.Size, c.Root)
}

// ParseCheckpoint reads a note text of exactly the three lines that Text
// writes. It refuses extension lines: a witness says nothing about them.
func ParseCheckpoint(text []byte) (Checkpoint, error) {
	lines := strings.SplitN(string(text), "\n", 5)
	if len(lines) != 4 || lines[3] != "" {
		return Checkpoint{}, fmt.Errorf("%w checkpoint: want three lines, origin, size and root", ErrMalformed)
	}
	size, err := parseSize(lines[1])
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: %w", err)
	}
	root, err := parseHash(lines[2])
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint root: %w", err)
	}
	c := Checkpoint{Origin: lines[0], Size: size, Root: root}
	return c, c.Check()
}

// SignCheckpoint signs c with its log's key and returns the note.
func SignCheckpoint(c Checkpoint, private ed25519.PrivateKey) ([]byte, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if len(private) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("sign checkpoint of %s: private key of %d bytes", c.Origin, len(private))
	}
	key, err := NewLogKey(c.Origin, private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	line := signatureLine(key.identity, ed25519.Sign(private, c.Text()))
	return append(append(c.Text(), '\n'), line...), nil
}

// OpenCheckpoint checks the log's signature under a note and returns its
// checkpoint. It ignores other keys' signatures.
func OpenCheckpoint(signed []byte, log LogKey) (Checkpoint, error) {
	c, _, err := open(signed, log)
	return c, err
}

// open checks the signatures of log and witnesses under a note, of which the
// log's must be there, and returns its checkpoint and the verified signatures,
// one per key at most.
func open(signed []byte, log LogKey, witnesses ...WitnessKey) (Checkpoint, []note.Signature, error) {
	c, err := unverified(signed)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	if c.Origin != log.name {
		return Checkpoint{}, nil, fmt.Errorf("%w: checkpoint of %s, want one of log %q", ErrSignature, c.Origin, log.name)
	}
	known := []note.Verifier{log}
	for _, w := range witnesses {
		known = append(known, w)
	}
	n, err := note.Open(signed, note.VerifierList(known...))
	var invalid *note.InvalidSignatureError
	var none *note.UnverifiedNoteError
	switch {
	case errors.As(err, &invalid):
		return Checkpoint{}, nil, fmt.Errorf("%w by %s under the checkpoint", ErrSignature, invalid.Name)
	case err != nil && !errors.As(err, &none):
		return Checkpoint{}, nil, fmt.Errorf("%w checkpoint: %w", ErrMalformed, err)
	case err == nil:
		for _, s := range n.Sigs {
			if s.Name == log.name && s.Hash == log.KeyHash() {
				return c, n.Sigs, nil
			}
		}
	}
	return Checkpoint{}, nil, fmt.Errorf("%w: checkpoint lacks the signature of log %s", ErrSignature, log.name)
}

// unverified reads the checkpoint of a note and checks no signature.
func unverified(signed []byte) (Checkpoint, error) {
	i := bytes.LastIndex(signed, []byte("\n\n"))
	if i < 0 || len(signed) > maxSigned {
		return Checkpoint{}, fmt.Errorf("%w checkpoint: no signature block, or above %d bytes", ErrMalformed, maxSigned)
	}
	return ParseCheckpoint(signed[:i+1])
}

// VerifyInclusion checks that entry has the given index, from 0, in the log
// under c (RFC 6962 section 2.1.1).
func VerifyInclusion(c Checkpoint, index int64, entry []byte, proof []Hash) error {
	if err := c.Check(); err != nil {
		return err
	}
	if err := tlog.CheckRecord(proof, c.Size, c.Root, index, LeafHash(entry)); err != nil {
		return fmt.Errorf("entry %d of %s at size %d: %w", index, c.Origin, c.Size, ErrProof)
	}
	return nil
}

// VerifyConsistency checks that the log under next begins with all entries of
// the log under old (RFC 6962 section 2.1.2). From size 0, and from a head to
// itself, the proof is empty.
func VerifyConsistency(old, next Checkpoint, proof []Hash) error {
	if err := errors.Join(old.Check(), next.Check()); err != nil {
		return err
	}
	ok := old.Origin == next.Origin && old.Size <= next.Size
	if old.Size == 0 {
		ok = ok && len(proof) == 0
	} else {
		ok = ok && tlog.CheckTree(proof, next.Size, next.Root, old.Size, old.Root) == nil
	}
	if !ok {
		return fmt.Errorf("%s at size %d to %s at size %d: %w", old.Origin, old.Size, next.Origin, next.Size, ErrProof)
	}
	return nil
}

// signatureLine formats one signature line of C2SP signed-note.
func signatureLine(id identity, sig []byte) []byte {
	raw := append(binary.BigEndian.AppendUint32(nil, id.KeyHash()), sig...)
	return fmt.Appendf(nil, "— %s %s\n", id.name, base64.StdEncoding.EncodeToString(raw))
}

// parseSize reads a decimal number in its one canonical form, up to MaxSize.
func parseSize(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > MaxSize || strconv.FormatInt(n, 10) != s {
		return 0, fmt.Errorf("%w size %.40q", ErrMalformed, s)
	}
	return n, nil
}

// parseHash reads a hash in its one canonical base64 form.
func parseHash(s string) (Hash, error) {
	h, err := tlog.ParseHash(s)
	if err != nil || h.String() != s {
		return Hash{}, fmt.Errorf("%w hash %.60q", ErrMalformed, s)
	}
	return h, nil
}
