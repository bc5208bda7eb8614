package devnet

import (
	"context"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/contract"
	"latchkey/wire"
)

// A verdict is what an audit found.
type verdict struct {
	*ledger
	settled, back int            // exchanges that went over, and those that gave all back
	txs           map[string]int // of the clients, by asset
}

// checkDeals demands that every instance is over and that each gave both sides
// what the agreement says, or gave everything back.
func (l *verdict) checkDeals(t *testing.T) {
	for id, d := range l.deals {
		program, err := contract.Compile(d.agreement.Source)
		if err != nil {
			t.Fatalf("instance %s: %v", id.Short(), err)
		}
		if !d.settled {
			t.Errorf("instance %s is not over", id.Short())
			continue
		}
		given := 0
		total := 0
		for i, pot := range d.agreement.Pots {
			from := d.agreement.Parties[program.Pots()[i].From][0]
			other := d.agreement.Parties[1-program.Pots()[i].From][0]
			for _, s := range pot {
				if s.Chunk == (wire.ChunkID{}) {
					continue // it comes later, or never: its contract says what follows
				}
				total++
				switch to, ok := d.to[s.Chunk]; {
				case !ok:
					t.Errorf("instance %s is over, chunk %s never left it", id.Short(), s.Chunk.Short())
				case to == other:
					given++
				case to != from:
					t.Errorf("instance %s: chunk %s went to a third vault %s", id.Short(), s.Chunk.Short(), to.Short())
				}
			}
		}
		switch {
		case given == total && !d.aborted:
			l.settled++
		case given == 0:
			l.back++
		case slices.ContainsFunc(program.Pots(), func(p contract.Pot) bool { return p.Later }):
			l.settled++
		default:
			t.Errorf("instance %s: %d of %d chunks went over (aborted: %v): one side gave and did not get", id.Short(), given, total, d.aborted)
		}
	}
}

// audit follows every coin of the clients over both chains: from the faucets,
// through the chunks' addresses, to the wallet of the client whom the escrow's log
// calls the owner; nothing left for elsewhere, nothing was paid twice, and what
// the wallets say they have is what there was but for the fees.
func audit(ctx context.Context, t *testing.T, w *World, p *play) *verdict {
	t.Helper()
	read, err := readLedger(ctx, w)
	if err != nil {
		t.Fatalf("read the escrow's log: %v", err)
	}
	l := &verdict{ledger: read}
	l.checkDeals(t)
	t.Logf("escrow's log: %d entries, %d chunks, %d exchanges settled, %d gave all back", l.size, len(l.chunks), l.settled, l.back)
	final := p.statuses(ctx, t)
	vaults := map[wire.VaultID]string{}
	for name, s := range final {
		var id wire.VaultID
		if err := id.UnmarshalText([]byte(s.Vault)); err != nil {
			t.Fatal(err)
		}
		vaults[id] = name
	}
	l.txs = map[string]int{}
	for asset, read := range map[string]func(context.Context, *World) ([]transfer, error){"btc": bitcoins, "eth": ethers} {
		txs, err := read(ctx, w)
		if err != nil {
			t.Fatalf("read the chain of %s: %v", asset, err)
		}
		l.txs[asset] = auditChain(ctx, t, w, p, asset, txs, l.ledger, vaults)
	}
	return l
}

func auditChain(ctx context.Context, t *testing.T, w *World, p *play, asset string, txs []transfer, l *ledger, vaults map[wire.VaultID]string) int {
	final := p.statuses(ctx, t)
	wallets := map[string]string{} // address → name
	reported := new(big.Int)
	for name, s := range final {
		for _, b := range s.Balances {
			if b.Asset != asset {
				continue
			}
			if b.Problem != "" {
				t.Fatalf("wallet of %s: %s", name, b.Problem)
			}
			wallets[strings.ToLower(b.Address)] = name
			for _, x := range []string{b.Confirmed, b.Pending} {
				n, ok := new(big.Int).SetString(x, 10)
				if !ok {
					t.Fatalf("balance %q", x)
				}
				reported.Add(reported, n)
			}
		}
	}
	if err := l.locate(ctx, w, asset); err != nil {
		t.Fatal(err)
	}
	byAddress := map[string]wire.ChunkID{}
	for id, c := range l.chunks {
		if string(c.asset.ID) == asset {
			byAddress[c.address] = id
		}
	}
	funded, fees := new(big.Int), new(big.Int)
	held, in := map[string]*big.Int{}, map[string]int{}
	hold := func(a string) *big.Int {
		if held[a] == nil {
			held[a] = new(big.Int)
		}
		return held[a]
	}
	ours := func(a string) bool {
		_, chunk := byAddress[strings.ToLower(a)]
		_, own := wallets[strings.ToLower(a)]
		return chunk || own
	}
	n := 0
	for _, x := range txs {
		mine := ours(x.from[0])
		for _, a := range x.from {
			if ours(a) != mine {
				t.Errorf("%s: transaction %s mixes the clients' coins with others", asset, x.id)
			}
		}
		if mine {
			n++
			fees.Add(fees, x.fee)
		}
		for _, o := range x.to {
			a := strings.ToLower(o.address)
			switch {
			case mine && !ours(a):
				t.Errorf("%s: transaction %s pays %v to %s, which is nobody's", asset, x.id, o.amount, a)
			case !mine && ours(a):
				funded.Add(funded, o.amount)
			}
			hold(a).Add(hold(a), o.amount)
			id, deposit := byAddress[a]
			if !deposit {
				continue
			}
			in[a]++
			if o.amount.String() != l.chunks[id].each.String() {
				t.Errorf("%s: transaction %s pays %v to chunk %s, want %v", asset, x.id, o.amount, id.Short(), l.chunks[id].each)
			}
		}
		for _, a := range x.from {
			id, deposit := byAddress[strings.ToLower(a)]
			if !deposit {
				continue
			}
			owner := vaults[l.chunks[id].owner]
			hold(strings.ToLower(a)).SetInt64(0)
			if l.chunks[id].claimed == 0 {
				t.Errorf("%s: chunk %s was swept and never claimed", asset, id.Short())
			}
			for _, o := range x.to {
				if to := wallets[strings.ToLower(o.address)]; to != owner {
					t.Errorf("%s: the coins of chunk %s went to %q, its owner is %q", asset, id.Short(), to, owner)
				}
			}
		}
	}
	for a, id := range byAddress {
		c := l.chunks[id]
		if in[a] != 1 {
			t.Errorf("%s: chunk %s of %s was funded %d times", asset, id.Short(), vaults[c.owner], in[a])
		}
		if left := hold(a); left.Sign() != 0 {
			t.Errorf("%s: %v is still on the address of chunk %s of %s", asset, left, id.Short(), vaults[c.owner])
		}
		if c.claimed == 0 || c.swept == 0 {
			t.Errorf("%s: chunk %s of %s: claimed %d times, swept %d times by the escrow's log", asset, id.Short(), vaults[c.owner], c.claimed, c.swept)
		}
	}
	want := new(big.Int).Sub(funded, fees)
	if want.Cmp(reported) != 0 {
		t.Errorf("%s: %v came from the faucet, %v went for fees, so %v should be there; the wallets say %v", asset, funded, fees, want, reported)
	}
	if most := new(big.Int).Div(funded, big.NewInt(50)); fees.Cmp(most) > 0 {
		t.Errorf("%s: fees of %v, more than a fiftieth of %v", asset, fees, funded)
	}
	t.Logf("%s: %v from the faucet, %v fees in %d transactions, %v in the wallets; %d chunks", asset, funded, fees, n, reported, len(byAddress))
	return n
}

// restWithin is how long a world may take to come to rest once nothing fails.
const restWithin = 150 * time.Second
