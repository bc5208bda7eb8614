package client

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"latchkey/coin"
	"latchkey/wire"
)

// A Request asks for a payment: what an address is on a chain. Whoever has it can
// pay it, once, from chunks of the same escrow.
type Request struct {
	Vault  wire.VaultID `cbor:"1,keyasint" json:"vault"` // that is to be paid
	Escrow wire.VaultID `cbor:"2,keyasint" json:"escrow"`
	Asset  coin.AssetID `cbor:"3,keyasint" json:"asset"`
	Chain  string       `cbor:"4,keyasint" json:"chain"`
	Amount coin.Amount  `cbor:"5,keyasint" json:"amount"` // smallest units; at least
	Nonce  [8]byte      `cbor:"6,keyasint" json:"nonce"`
	Expiry int64        `cbor:"7,keyasint" json:"expiry"` // Unix seconds
}

// RequestPrefix is how every request begins.
const RequestPrefix = "latchkey-pay-1"

const (
	purposeRequest = "latchkey/payment-request/v1"
	checksumSize   = 5 // bytes: one in a million million mistakes passes
)

// ErrRequest is wrapped by every refusal of a request's text.
var ErrRequest = errors.New("not a payment request")

var requestText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String is the text of a request: the prefix, and in base 32 its deterministic
// CBOR and the first bytes of that's hash. Capitals mean the same.
func (r Request) String() string {
	b, err := wire.Marshal(r)
	if err != nil {
		return "no payment request: " + err.Error()
	}
	sum := wire.HashBytes(purposeRequest, b)
	return RequestPrefix + requestText.EncodeToString(append(b, sum[:checksumSize]...))
}

// ParseRequest reads a request's text and refuses one with a mistake in it.
func ParseRequest(text string) (Request, error) {
	fail := func(format string, args ...any) (Request, error) {
		return Request{}, fmt.Errorf("%w: %w", ErrRequest, fmt.Errorf(format, args...))
	}
	if len(text) > 1000 {
		return fail("%d characters", len(text))
	}
	rest, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(text)), RequestPrefix)
	if !ok {
		return fail("it does not begin with %q", RequestPrefix)
	}
	raw, err := requestText.DecodeString(rest)
	if err != nil || requestText.EncodeToString(raw) != rest || len(raw) < checksumSize {
		return fail("a character is wrong or missing")
	}
	b, sum := raw[:len(raw)-checksumSize], raw[len(raw)-checksumSize:]
	if want := wire.HashBytes(purposeRequest, b); !bytes.Equal(sum, want[:checksumSize]) {
		return fail("its checksum does not fit: a character is wrong or missing")
	}
	var r Request
	if err := wire.Unmarshal(b, &r); err != nil {
		return fail("%w", err)
	}
	switch err := r.Asset.Check(); {
	case err != nil:
		return fail("%w", err)
	case r.Amount.IsZero():
		return fail("it asks for nothing")
	case r.Expiry <= 0 || len(r.Chain) == 0 || len(r.Chain) > 64:
		return fail("it has no end, or names no chain")
	}
	return r, nil
}

// id names a request's draft and record.
func (r Request) id() draftID {
	b, err := wire.Marshal(r)
	if err != nil {
		return draftID{}
	}
	h := wire.HashBytes(purposeRequest, b)
	return draftID(h[:16])
}

func newNonce() (n [8]byte) {
	rand.Read(n[:])
	return n
}
