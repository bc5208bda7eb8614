package market_test

import (
	"fmt"

	"latchkey/coin"
	"latchkey/contract"
	"latchkey/market"
	"latchkey/wire"
)

const swap = `contract Swap
parties alice, bob
term a : units 1..1_000_000
term b : units 1..1_000_000
pot left_side  = a units from alice
pot right_side = b units from bob
at open:
  give all of left_side to bob
  give all of right_side to alice
  close
`

// One exchange as the market sees it: what a shell puts in, the events that it keeps, and what it does about them.
func Example() {
	m, err := market.New(market.DefaultPolicy())
	if err != nil {
		fmt.Println(err)
		return
	}
	now := int64(1_000_000)
	step := func(in market.Input) {
		events, effects, err := m.Step(now, in)
		if err != nil {
			fmt.Println(err)
		}
		for _, e := range events { // in a shell: one block of the log, durable before the effects
			fmt.Println(e.Name())
		}
		for _, x := range effects {
			for _, d := range m.Deliveries(x.Client, x.Delivery-1, 1) {
				if p := d.Proposal; p != nil {
					fmt.Printf("  for %s: %v, %d against %d units\n", name(x.Client), p.ID, p.Sides[0].Units, p.Sides[1].Units)
				}
			}
		}
	}
	btc := coin.Asset{ID: "btc", Chain: "bip122:regtest", Key: coin.Secp256k1, Address: "p2wpkh", Decimals: 8}
	eth := coin.Asset{ID: "eth", Chain: "eip155:1337", Key: coin.Secp256k1, Address: "eoa", Decimals: 18}
	step(market.Denominate{Denomination: coin.Denomination{ID: "btc-5", Asset: btc, Unit: coin.NewAmount(5_000)}})
	step(market.Denominate{Denomination: coin.Denomination{ID: "eth-5", Asset: eth, Unit: coin.NewAmount(1_250_000_000_000_000)}})
	step(market.Rate{Asset: "btc", PerCoin: 100_000_000_000, Observed: now})
	step(market.Rate{Asset: "eth", PerCoin: 4_000_000_000, Observed: now})
	step(market.Publish{Source: []byte(swap)})
	for i, denomination := range []string{"btc-5", "eth-5"} {
		step(market.Enrol{
			Client: client(i), Vendor: wire.Hash{byte(i + 1)}, TCB: "1",
			Device: market.Device{Kind: market.DeviceUnique, ID: []byte{byte(i)}},
		})
		d := market.Deposit{Client: client(i), Cert: wire.CertID{byte(i + 1)}, Escrow: escrow, Denomination: denomination, Weight: 20, Expiry: now + 30*24*3600}
		for n := range 10 {
			d.Chunks = append(d.Chunks, market.DepositChunk{Chunk: wire.ChunkID{byte(i + 1), byte(n)}})
		}
		step(d)
	}
	prog, err := contract.Compile([]byte(swap))
	if err != nil {
		fmt.Println(err)
		return
	}
	offer := market.Offer{
		ID: market.OfferID{1}, Contract: prog.Hash(), Settle: market.Atomic, Escrow: escrow,
		Parties: make([]wire.VaultID, 2), Terms: make([]int64, 2), Premium: 50, Sole: true, Until: now + 3600,
	}
	bob := offer
	bob.Role, bob.Counter, bob.GiveTerm, bob.WantTerm = 1, 0, 1, 0
	bob.Give, bob.Want = market.Quantity{Denomination: "eth-5", Units: 200}, market.Quantity{Denomination: "btc-5", Units: 200}
	step(market.Place{Client: client(1), Offer: bob})
	alice := offer
	alice.Role, alice.Counter, alice.GiveTerm, alice.WantTerm = 0, 1, 0, 1
	alice.Give, alice.Want = market.Quantity{Denomination: "btc-5", Units: 110}, market.Quantity{Denomination: "eth-5", Units: 100}
	step(market.Place{Client: client(0), Offer: alice})
	now += 11
	step(market.Tick{})
	s, err := m.OfferStatus(now, client(0), alice.ID)
	fmt.Println(s.Closed, err)
	// Output:
	// denominated
	// denominated
	// rated
	// rated
	// published
	// enrolled
	// deposited
	// enrolled
	// deposited
	// placed
	// placed
	// proposed
	//   for alice: p11, 100 against 100 units
	//   for bob: p11, 100 against 100 units
	// ended
	// closed
	// closed
	// closed: a proposal was not accepted in time <nil>
}

var escrow = wire.VaultID{9}

func client(i int) wire.VaultID { return wire.VaultID{byte(i + 1)} }

func name(id wire.VaultID) string { return [...]string{"alice", "bob"}[id[0]-1] }
