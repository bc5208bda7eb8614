package witness

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"latchkey/head"
)

// Bounds of C2SP tlog-witness, and ours for a body, in bytes.
const (
	maxProof = 63
	maxBody  = 72 << 10
)

// FormatRequest returns the body of an add-checkpoint call.
func FormatRequest(r head.Request) []byte {
	out := fmt.Appendf(nil, "old %d\n", r.Old)
	for _, h := range r.Proof {
		out = fmt.Appendf(out, "%s\n", h)
	}
	return append(append(out, '\n'), r.Signed...)
}

// ParseRequest reads what FormatRequest writes, in that one form. It checks no
// signature. Its errors wrap head.ErrMalformed.
func ParseRequest(body []byte) (head.Request, error) {
	malformed := func(what string) (head.Request, error) {
		return head.Request{}, fmt.Errorf("%w request: %s", head.ErrMalformed, what)
	}
	if len(body) > maxBody {
		return malformed(fmt.Sprintf("above %d bytes", maxBody))
	}
	top, signed, found := bytes.Cut(body, []byte("\n\n"))
	if !found {
		return malformed("no empty line between proof and checkpoint")
	}
	lines := strings.Split(string(top), "\n")
	old, err := strconv.ParseInt(strings.TrimPrefix(lines[0], "old "), 10, 64)
	if err != nil || old < 0 || old > head.MaxSize {
		return malformed("the first line is not: old, a space, a size")
	}
	if len(lines) > 1+maxProof {
		return malformed(fmt.Sprintf("more than %d proof lines", maxProof))
	}
	r := head.Request{Old: old, Signed: bytes.Clone(signed)}
	for _, line := range lines[1:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			return malformed("a proof line is not a hash in base64")
		}
		r.Proof = append(r.Proof, h)
	}
	if !bytes.Equal(FormatRequest(r), body) {
		return malformed("not in its one canonical form")
	}
	if _, err := r.Origin(); err != nil {
		return head.Request{}, fmt.Errorf("request: %w", err)
	}
	return r, nil
}

// Cosignature is one witness's verified cosignature of a head.
type Cosignature struct {
	head.Stamp
	line string
}

// OpenCosignature finds a witness's cosignature of c among the signature lines
// of its answer, and checks it. Others' lines are ignored.
func OpenCosignature(c head.Checkpoint, w head.WitnessKey, lines []byte) (Cosignature, error) {
	text := c.Text()
	if len(lines) > maxBody {
		return Cosignature{}, fmt.Errorf("answer of witness %s: above %d bytes", w.Name(), maxBody)
	}
	n, err := note.Open(slices.Concat(text, []byte("\n"), lines), note.VerifierList(w))
	if err != nil || n.Text != string(text) || len(n.Sigs) != 1 {
		return Cosignature{}, fmt.Errorf("answer of witness %s is no cosignature of %s at size %d: %w", w.Name(), c.Origin, c.Size, head.ErrSignature)
	}
	sig := n.Sigs[0]
	raw, err := base64.StdEncoding.DecodeString(sig.Base64)
	if err != nil || len(raw) < 12 {
		return Cosignature{}, fmt.Errorf("answer of witness %s: %w", w.Name(), head.ErrSignature)
	}
	return Cosignature{
		Stamp: head.Stamp{Witness: w, Unix: int64(binary.BigEndian.Uint64(raw[4:]))},
		line:  fmt.Sprintf("— %s %s\n", sig.Name, sig.Base64),
	}, nil
}

// Merge appends cosignatures to a signed checkpoint, in the order given, for
// head.Group to verify.
func Merge(signed []byte, cosignatures ...Cosignature) []byte {
	out := slices.Clone(signed)
	for _, c := range cosignatures {
		out = append(out, c.line...)
	}
	return out
}
