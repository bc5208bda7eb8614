package client

import (
	"encoding/hex"
	"flag"
	"fmt"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/spec/vectors"
	"latchkey/wire"
)

var update = flag.Bool("update", false, "write spec/vectors/direct anew")

type requestVector struct {
	Name   string      `json:"name"`
	Expect string      `json:"expect"`
	Text   string      `json:"text"`
	ID     vectors.Hex `json:"id,omitempty"`   // 16 bytes
	CBOR   vectors.Hex `json:"cbor,omitempty"` // of the structure
}

func TestRequestVectors(t *testing.T) {
	a := Request{Vault: wire.VaultID{1}, Escrow: wire.VaultID{2}, Asset: "btc", Chain: "bip122:regtest", Amount: coin.NewAmount(72_800), Nonce: [8]byte{3}, Expiry: 1_800_000_000}
	b := Request{Vault: wire.VaultID{0xff}, Escrow: wire.VaultID{0xfe}, Asset: "eth:usdc", Chain: "eip155:1", Amount: coin.NewAmount(1), Nonce: [8]byte{7: 9}, Expiry: 1}
	good := func(name string, r Request, text string) requestVector {
		id := r.id()
		raw, err := wire.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return requestVector{name, "ok", text, id[:], raw}
	}
	bad := func(name, expect, text string) requestVector {
		return requestVector{Name: name, Expect: "error: " + expect, Text: text}
	}
	// of puts a checksum that fits under any bytes.
	of := func(raw []byte) string {
		sum := wire.HashBytes(purposeRequest, raw)
		return RequestPrefix + requestText.EncodeToString(append(raw, sum[:checksumSize]...))
	}
	changed := func(f func(*Request)) string {
		r := a
		f(&r)
		return r.String()
	}
	raw, err := wire.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	text := a.String()
	other := "b"
	if text[60] == 'b' {
		other = "c"
	}
	made := vectors.File[requestVector]{
		About: "Payment requests, as text and as the CBOR in it.",
		Cases: []requestVector{
			good("a request", a, text),
			good("in capitals", a, strings.ToUpper(text)),
			good("another", b, b.String()),
			bad("another prefix", "does not begin", "latchkey-pay-2"+text[len(RequestPrefix):]),
			bad("one character changed", "checksum does not fit", text[:60]+other+text[61:]),
			bad("two characters swapped", "checksum does not fit", text[:20]+text[21:22]+text[20:21]+text[22:]),
			bad("the last character missing", "a character is wrong or missing", text[:len(text)-1]),
			bad("a character that is not in the alphabet", "a character is wrong or missing", text[:60]+"1"+text[61:]),
			bad("nothing", "does not begin", ""),
			bad("only the prefix", "a character is wrong or missing", RequestPrefix),
			bad("asks for nothing", "asks for nothing", changed(func(r *Request) { r.Amount = coin.Amount{} })),
			bad("without an end", "no end", changed(func(r *Request) { r.Expiry = 0 })),
			bad("without a chain", "no chain", changed(func(r *Request) { r.Chain = "" })),
			bad("without an asset", "asset", changed(func(r *Request) { r.Asset = "" })),
			bad("bytes after the structure", "decode", of(append(append([]byte(nil), raw...), 0))),
			bad("not the deterministic encoding", "decode", of(append([]byte{0xb8, 7}, raw[1:]...))),
		},
	}
	vectors.Check(t, *update, "../spec/vectors/direct/request.json", made,
		func(v requestVector) (string, string) { return v.Name, v.Expect },
		func(v requestVector) error {
			r, err := ParseRequest(v.Text)
			if err != nil {
				return err
			}
			id := r.id()
			b, err := wire.Marshal(r)
			if err != nil {
				return err
			}
			if hex.EncodeToString(id[:]) != hex.EncodeToString(v.ID) || hex.EncodeToString(b) != hex.EncodeToString(v.CBOR) || r.String() != strings.ToLower(v.Text) {
				return fmt.Errorf("id %x, CBOR %x", id, b)
			}
			return nil
		})
}
