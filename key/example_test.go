package key_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log"

	"latchkey/coin"
	"latchkey/key"
	"latchkey/wire"
)

// A key is made by two vaults, moved on once, and claimed.
func Example() {
	b := key.Batch{ID: wire.Hash{1}, Type: coin.Secp256k1, N: 1, Owner: wire.VaultID{2}, Escrow: wire.VaultID{3}}
	salt := [32]byte{4} // random, in earnest

	// The owner commits, the escrow answers, the owner opens.
	as, own, err := b.Generate(key.Owner, rand.Reader)
	check(err)
	commitment := b.Commit(own.Half().Points, salt)
	bs, answer, err := b.Generate(key.Escrow, rand.Reader)
	check(err)
	opened, err := b.CheckOpen(commitment, salt, own.Half())
	check(err)
	keys, err := key.Join(opened, answer)
	check(err)

	// The chunk goes to somebody who already has a: the escrow leaves r.
	x, err := key.Refresh(bs[:1], []key.Point{bs[0].Public()}, rand.Reader)
	check(err)
	check(key.CheckRefresh(bs[0].Public(), x[0].R, x[0].B)) // by everybody
	a, err := as[0].Plus(x[0].Delta)
	check(err)
	check(key.CheckShare(a, x[0].B, keys[0])) // by the new owner

	// The former owner's share is worth nothing now.
	_, err = key.Combine(as[0], x[0].Share, keys[0])
	fmt.Println(errors.Is(err, key.ErrMismatch))
	d, err := key.Combine(a, x[0].Share, keys[0])
	check(err)
	fmt.Println(d.Public() == keys[0], d)
	// Output:
	// true
	// true [redacted]
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
