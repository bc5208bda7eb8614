package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"time"

	"filippo.io/edwards25519"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"latchkey/coin"
	"latchkey/key"
	"latchkey/wire"
)

// keys makes whole batches, both sides of each on one core, and compares with
// the library's operations on points that no way around exists for.
func keys(_ context.Context, o options) (out []figure, err error) {
	for _, t := range []coin.KeyType{coin.Secp256k1, coin.Ed25519} {
		f := figure{
			name: "keys made, " + t.String(), unit: "keys/s", goal: "80%",
			note: "both sides on one core: shares, proofs, checks of both halves, join, tree",
		}
		batch := key.Batch{ID: wire.Hash{1}, Type: t, N: uint32(o.few(1024)), Owner: wire.VaultID{1}, Escrow: wire.VaultID{2}}
		cores := runtime.GOMAXPROCS(1)
		var limits []float64
		for range o.few(80)/16 + 2 {
			bare, berr := bareKey(t, o.few(512))
			start := time.Now()
			if err = makeBatch(batch); err == nil {
				err = berr
			}
			f.samples = append(f.samples, float64(batch.N)/time.Since(start).Seconds())
			limits = append(limits, 1/bare)
		}
		runtime.GOMAXPROCS(cores)
		if err != nil {
			return nil, err
		}
		f.n = len(f.samples) * int(batch.N)
		f.limit, _, _ = quantiles(limits)
		out = append(out, f)
	}
	return out, nil
}

func makeBatch(b key.Batch) error {
	_, own, err := b.Generate(key.Owner, rand.Reader)
	if err != nil {
		return err
	}
	commit := b.Commit(own.Half().Points, [32]byte{})
	_, esc, err := b.Generate(key.Escrow, rand.Reader)
	if err != nil {
		return err
	}
	theirs, err := b.CheckOpen(commit, [32]byte{}, own.Half()) // the escrow's side
	if err != nil {
		return err
	}
	ours, err := b.CheckHalf(key.Escrow, esc.Half()) // the owner's
	if err != nil {
		return err
	}
	for _, side := range [][2]key.CheckedHalf{{theirs, esc}, {own, ours}} {
		points, err := key.Join(side[0], side[1])
		if err != nil {
			return err
		}
		if _, err := key.NewTree(points); err != nil {
			return err
		}
	}
	return nil
}

// bareKey returns the seconds that the libraries take for the operations of one
// key: aG and bG, the two commitments of the proofs, each encoded; the two checks
// sG − eX, each with a point read and one encoded; and the sum of two points
// read, at both sides.
func bareKey(t coin.KeyType, n int) (float64, error) {
	var b [64]byte
	rand.Read(b[:])
	if t == coin.Ed25519 {
		x, err := new(edwards25519.Scalar).SetUniformBytes(b[:])
		if err != nil {
			return 0, err
		}
		enc := new(edwards25519.Point).ScalarBaseMult(x).Bytes()
		return cost(1, n, func() error {
			var p, q, r edwards25519.Point
			for range 4 {
				p.ScalarBaseMult(x).Bytes()
			}
			for range 2 {
				if _, err := q.SetBytes(enc); err != nil {
					return err
				}
				r.VarTimeDoubleScalarBaseMult(x, &q, x).Bytes()
				if _, err := q.SetBytes(enc); err != nil {
					return err
				}
				if _, err := r.SetBytes(enc); err != nil {
					return err
				}
				p.Add(&q, &r).Bytes()
			}
			return nil
		})
	}
	x := new(secp256k1.ModNScalar)
	x.SetByteSlice(b[:32])
	var p, q, r secp256k1.JacobianPoint
	encode := func(p *secp256k1.JacobianPoint) []byte {
		p.ToAffine()
		return secp256k1.NewPublicKey(&p.X, &p.Y).SerializeCompressed()
	}
	secp256k1.ScalarBaseMultNonConst(x, &p)
	enc := encode(&p)
	read := func(p *secp256k1.JacobianPoint) error {
		k, err := secp256k1.ParsePubKey(enc)
		if err != nil {
			return fmt.Errorf("read a point: %w", err)
		}
		k.AsJacobian(p)
		return nil
	}
	return cost(1, n, func() error {
		for range 4 {
			secp256k1.ScalarBaseMultNonConst(x, &p)
			encode(&p)
		}
		for range 2 {
			if err := read(&q); err != nil {
				return err
			}
			var sg, ex secp256k1.JacobianPoint
			secp256k1.ScalarBaseMultNonConst(x, &sg)
			secp256k1.ScalarMultNonConst(x, &q, &ex)
			secp256k1.AddNonConst(&sg, &ex, &r)
			encode(&r)
			for _, z := range []*secp256k1.JacobianPoint{&q, &r} {
				if err := read(z); err != nil {
					return err
				}
			}
			q.X.Add(&sg.X) // any other point: the sum of two equal ones is another path
			secp256k1.AddNonConst(&q, &sg, &p)
			encode(&p)
		}
		return nil
	})
}
