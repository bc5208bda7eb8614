package key

import (
	"bytes"
	"testing"

	"latchkey/coin"
	"latchkey/spec/vectors"
	"latchkey/wire"
)

func FuzzParsePoint(f *testing.F) {
	for _, v := range vectors.Read[pointVector](f, "../spec/vectors/key/point.json").Cases {
		f.Add(uint8(v.Type), []byte(v.Point))
	}
	f.Fuzz(func(t *testing.T, kt uint8, b []byte) {
		p, err := ParsePoint(coin.KeyType(kt), b)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Bytes(), b) || resend(t, p) != p {
			t.Errorf("%x reads as %v", b, p)
		}
		q, err := p.Plus(p)
		if err != nil {
			t.Fatalf("twice a point of prime order: %v", err)
		}
		if _, err := ParsePoint(q.Type(), q.Bytes()); err != nil {
			t.Errorf("a sum does not parse: %v", err)
		}
	})
}

func FuzzParseShare(f *testing.F) {
	for _, v := range vectors.Read[shareVector](f, "../spec/vectors/key/share.json").Cases {
		f.Add(uint8(v.Type), []byte(v.Scalar))
	}
	f.Fuzz(func(t *testing.T, kt uint8, b []byte) {
		s, err := ParseShare(coin.KeyType(kt), b)
		if err != nil {
			return
		}
		if !bytes.Equal(s.Expose(), b) {
			t.Errorf("%x reads as %x", b, s.Expose())
		}
		if _, err := ParsePoint(s.Type(), s.Public().Bytes()); err != nil {
			t.Errorf("%x: its point does not parse: %v", b, err)
		}
	})
}

// fuzzDecode checks that what decodes encodes to the same bytes.
func fuzzDecode[T any](t *testing.T, b []byte) (T, bool) {
	t.Helper()
	var v T
	if err := wire.Unmarshal(b, &v); err != nil {
		return v, false
	}
	if again, err := wire.Marshal(v); err != nil || !bytes.Equal(again, b) {
		t.Errorf("%x re-encodes to %x, %v", b, again, err)
	}
	return v, true
}

func FuzzCertificate(f *testing.F) {
	for _, v := range vectors.Read[certificateVector](f, "../spec/vectors/key/certificate.json").Cases {
		f.Add([]byte(v.Body))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok := fuzzDecode[Certificate](t, b)
		if !ok || c.Check() != nil {
			return
		}
		body, id, err := c.Encode()
		if err != nil || !bytes.Equal(body, b) || id != (SignedCertificate{Body: b}).ID() {
			t.Errorf("%x encodes to %x, %v", b, body, err)
		}
		if _, err := c.Denomination.Deposit(c.Weight); err != nil {
			t.Errorf("a checked certificate has no amount: %v", err)
		}
	})
}

func FuzzHalf(f *testing.F) {
	for _, v := range vectors.Read[generationVector](f, "../spec/vectors/key/generation.json").Cases {
		f.Add([]byte(v.Escrow))
	}
	f.Fuzz(func(t *testing.T, b []byte) { fuzzDecode[Half](t, b) })
}

func FuzzChunk(f *testing.F) {
	for _, v := range vectors.Read[treeVector](f, "../spec/vectors/key/tree.json").Cases {
		b, err := wire.Marshal(Chunk{Index: v.Index, Key: v.Key, Path: v.Path})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, v.N)
	}
	f.Fuzz(func(t *testing.T, b []byte, n uint32) {
		if c, ok := fuzzDecode[Chunk](t, b); ok {
			VerifyPath(wire.Hash{1}, n, c.Index, c.Key, c.Path)
		}
	})
}
