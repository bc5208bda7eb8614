package vault_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/cryptotest"

	"latchkey/coin"
	"latchkey/key"
	"latchkey/spec/vectors"
	"latchkey/vault"
	"latchkey/vault/session"
	"latchkey/wire"
)

type mailboxVector struct {
	Name     string          `json:"name"`
	Expect   string          `json:"expect"`
	From     string          `json:"from"`
	To       string          `json:"to"`
	Purpose  string          `json:"purpose"`
	Instance wire.InstanceID `json:"instance"`
	Chunk    wire.ChunkID    `json:"chunk"`
	Epoch    uint32          `json:"epoch"`
	Type     uint8           `json:"type"`
	Enc      vectors.Hex     `json:"enc"`
	Text     vectors.Hex     `json:"text"`
	Share    vectors.Hex     `json:"share"`
}

// check opens mail under the label that spec/session.md gives it.
func (v mailboxVector) check(t *testing.T) error {
	to := newIDs(t, v.To)
	share, err := session.NewMailbox(to.id, to.kem).Open(newIDs(t, v.From).id, v.Enc, v.label(), v.Text, generator(coin.KeyType(v.Type)))
	if err == nil && !bytes.Equal(share.Expose(), v.Share) {
		return errors.New("another share")
	}
	return err
}

func (v mailboxVector) label() []byte {
	b := append([]byte(v.Purpose), 0)
	b = append(append(b, v.Instance[:]...), v.Chunk[:]...)
	return binary.BigEndian.AppendUint32(b, v.Epoch)
}

// generator is some point of a key type: it tells the type.
func generator(t coin.KeyType) key.Point {
	s, err := key.NewShare(t, bytes.NewReader(bytes.Repeat([]byte{1}, 64)))
	if err != nil {
		panic(err)
	}
	return s.Public()
}

// TestMailboxVectors takes the mail that vaults left for each other.
func TestMailboxVectors(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 2)
	h := newHistory(t)
	names := map[wire.VaultID]string{h.keys.id: "escrow", h.owners[0].id: "alice", h.owners[1].id: "bob"}
	lock, err := vault.ParseEntry(h.entries[h.find(0, func(e vault.Entry) bool { return e.Lock != nil })])
	if err != nil {
		t.Fatal(err)
	}
	_, instance := lock.Touches()
	var made []mailboxVector
	for _, m := range h.mail[:4] { // handed over for the swap, and the r of both sides
		v := mailboxVector{Expect: "ok", From: names[m.From], To: names[m.To], Purpose: "latchkey/a/v1", Instance: instance, Enc: m.Enc}
		if v.From == "escrow" {
			v.Purpose, v.Instance = "latchkey/r/v1", wire.InstanceID{}
		}
		for i, it := range m.Items {
			v.Name = fmt.Sprintf("%s to %s, %s, item %d", v.From, v.To, v.Purpose, i)
			v.Chunk, v.Epoch, v.Text, v.Type = it.Chunk, it.Epoch, it.Text, uint8(coin.Secp256k1)
			if slices.ContainsFunc(lock.Lock.Agreement.Pots[1], func(s vault.Stake) bool { return s.Chunk == it.Chunk }) {
				v.Type = uint8(coin.Ed25519)
			}
			to := newIDs(t, v.To)
			share, err := session.NewMailbox(to.id, to.kem).Open(m.From, v.Enc, v.label(), v.Text, generator(coin.KeyType(v.Type)))
			if err != nil {
				t.Fatalf("%s: %v", v.Name, err)
			}
			v.Share = share.Expose()
			made = append(made, v)
		}
	}
	good := made[0]
	bad := func(name string, change func(*mailboxVector)) {
		v := good
		v.Text, v.Enc = slices.Clone(v.Text), slices.Clone(v.Enc)
		change(&v)
		v.Name, v.Expect = name, "error: open mail of vault"
		made = append(made, v)
	}
	bad("for another chunk", func(v *mailboxVector) { v.Chunk[0] ^= 1 })
	bad("for another epoch", func(v *mailboxVector) { v.Epoch++ })
	bad("for another instance", func(v *mailboxVector) { v.Instance[0] ^= 1 })
	bad("for another purpose", func(v *mailboxVector) { v.Purpose = "latchkey/r/v1" })
	bad("for another vault", func(v *mailboxVector) { v.To = v.From })
	bad("from another vault", func(v *mailboxVector) { v.From = "escrow" })
	bad("under another encapsulation", func(v *mailboxVector) { v.Enc = made[len(made)-1].Enc; v.Enc[0] ^= 1 })
	bad("a cut encapsulation", func(v *mailboxVector) { v.Enc = v.Enc[1:] })
	bad("damaged", func(v *mailboxVector) { v.Text[len(v.Text)-1] ^= 1 })
	bad("cut to less than a nonce", func(v *mailboxVector) { v.Text = v.Text[:11] })
	vectors.Check(t, *update, "../spec/vectors/session/mailbox.json", vectors.File[mailboxVector]{
		About: "Shares that vaults sealed for each other, opened with the recipient's key.", Cases: made,
	}, func(v mailboxVector) (string, string) { return v.Name, v.Expect }, func(v mailboxVector) error { return v.check(t) })
}
