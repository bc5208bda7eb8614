package sim

import (
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"fmt"

	"latchkey/coin"
	"latchkey/head"
	"latchkey/wire"
)

// A Member is a vault's identity with its secrets.
type Member struct {
	Name     string
	Vendor   string // of its TEE
	Identity wire.Identity
	ID       wire.VaultID
	Sign     ed25519.PrivateKey
	KEM      hpke.PrivateKey
	Digest   wire.Hash // of the facts that its evidence shows
}

// WitnessMember is a witness's key.
type WitnessMember struct {
	Name string
	Sign ed25519.PrivateKey
	Key  head.WitnessKey
}

// A Cast is everybody who can appear in a world. Making the keys takes longer
// than most worlds, so one Cast serves many. It is immutable, and the same in
// every process.
type Cast struct {
	Escrow    Member
	Clients   []Member
	Witnesses []WitnessMember
	Group     head.Group
	Coins     []coin.Denomination
	bySign    map[string]*Member
}

// The two TEE vendors of the simulation. The escrow runs on the second.
const (
	VendorA = "vendor A (simulated)"
	VendorB = "vendor B (simulated)"
)

const origin = "escrow.sim/log"

// NewCast derives all keys from names.
func NewCast() (*Cast, error) {
	c := &Cast{bySign: map[string]*Member{}}
	var err error
	if c.Escrow, err = newMember("escrow", VendorB); err != nil {
		return nil, err
	}
	for _, x := range []struct{ name, vendor string }{
		{"alice", VendorA}, {"bob", VendorA}, {"carol", VendorA}, {"mallory", VendorA}, {"vera", VendorB},
	} {
		m, err := newMember(x.name, x.vendor)
		if err != nil {
			return nil, err
		}
		c.Clients = append(c.Clients, m)
	}
	c.bySign[string(c.Escrow.Identity.Sign)] = &c.Escrow
	for i := range c.Clients {
		c.bySign[string(c.Clients[i].Identity.Sign)] = &c.Clients[i]
	}
	if c.Group.Log, err = head.NewLogKey(origin, c.Escrow.Identity.Sign); err != nil {
		return nil, err
	}
	c.Group.K, c.Group.F = 3, 1
	for i := range 4 {
		name := fmt.Sprintf("witness%d.sim", i)
		w := WitnessMember{Name: name, Sign: signKey(name)}
		if w.Key, err = head.NewWitnessKey(name, w.Sign.Public().(ed25519.PublicKey)); err != nil {
			return nil, err
		}
		c.Witnesses = append(c.Witnesses, w)
		c.Group.Witnesses = append(c.Group.Witnesses, w.Key)
	}
	c.Coins = []coin.Denomination{
		denomination("xmr", coin.Ed25519), denomination("sol", coin.Ed25519), denomination("btc", coin.Secp256k1),
	}
	return c, nil
}

func signKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("sign " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func newMember(name, vendor string) (Member, error) {
	m := Member{Name: name, Vendor: vendor, Sign: signKey(name), Digest: wire.HashBytes("sim/evidence", []byte(name))}
	ikm := sha256.Sum256([]byte("kem " + name))
	var err error
	if m.KEM, err = hpke.MLKEM768X25519().DeriveKeyPair(ikm[:]); err != nil {
		return m, fmt.Errorf("key of %s: %w", name, err)
	}
	m.Identity = wire.Identity{Sign: m.Sign.Public().(ed25519.PublicKey), KEM: m.KEM.PublicKey().Bytes()}
	m.ID, err = m.Identity.ID()
	return m, err
}

func denomination(id coin.AssetID, t coin.KeyType) coin.Denomination {
	return coin.Denomination{
		ID: string(id) + "-sim", Unit: coin.NewAmount(10_000),
		Asset: coin.Asset{ID: id, Chain: "sim:" + string(id), Key: t, Address: "plain", Decimals: 8},
	}
}
