package devnet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"latchkey/coin"
	"latchkey/contract"
	"latchkey/escrow"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/wallet"
	"latchkey/wire"
)

// A chunkFate is what the escrow's log says of one chunk.
type chunkFate struct {
	asset   coin.Asset
	each    coin.Amount // on its address
	p       key.Point
	owner   wire.VaultID // the last one
	claimed int
	swept   int
	address string // of its deposit
}

// A dealFate is what the escrow's log says of one instance.
type dealFate struct {
	agreement vault.Agreement
	to        map[wire.ChunkID]wire.VaultID
	settled   bool
	aborted   bool
	steps     int // of its settlement: 1 if it is atomic
	lapsed    int // of them
}

// A ledger is all that the escrow's log says at the end.
type ledger struct {
	chunks map[wire.ChunkID]*chunkFate
	deals  map[wire.InstanceID]*dealFate
	kinds  map[string]int // entries of each kind
	size   int

	settled, back int            // exchanges that went over, and those that gave all back
	txs           map[string]int // of the clients, by asset
}

// readLedger reads the whole of the escrow's log.
func readLedger(ctx context.Context, w *World) (*ledger, error) {
	l := &ledger{chunks: map[wire.ChunkID]*chunkFate{}, deals: map[wire.InstanceID]*dealFate{}, kinds: map[string]int{}}
	c := escrow.NewClient(w.urls["escrow"], http.DefaultClient)
	for {
		page, err := c.Entries(ctx, int64(l.size), 1024, 0)
		if err != nil {
			return nil, err
		}
		if len(page.Entries) == 0 {
			return l, nil
		}
		for _, raw := range page.Entries {
			e, err := vault.ParseEntry(raw)
			if err == nil {
				err = l.add(e)
			}
			if err != nil {
				return nil, fmt.Errorf("entry %d: %w", l.size, err)
			}
			l.size++
		}
	}
}

func (l *ledger) add(e vault.Entry) error {
	touched, instance := e.Touches()
	v := reflect.ValueOf(e)
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			l.kinds[v.Type().Field(i).Name]++
		}
	}
	switch {
	case e.Certify != nil:
		cert := e.Certify.Certificate
		each, err := cert.Denomination.Deposit(cert.Weight)
		if err != nil {
			return err
		}
		for i, id := range touched {
			l.chunks[id] = &chunkFate{asset: cert.Denomination.Asset, each: each, p: e.Certify.Points[i], owner: cert.Owner[0]}
		}
	case e.Lock != nil:
		l.deals[instance] = &dealFate{agreement: e.Lock.Agreement, to: map[wire.ChunkID]wire.VaultID{}}
	case e.Run != nil:
		d := l.deals[instance]
		if d.settled {
			return fmt.Errorf("instance %s goes on after it was settled", instance.Short())
		}
		d.settled, d.aborted = e.Run.Settled, d.aborted || e.Run.Kind == vault.RunAbort
		if e.Run.Closed {
			d.steps++
		}
		if e.Run.Kind == vault.RunLapsed {
			d.lapsed++
		}
		for _, x := range e.Run.Exits {
			to, err := x.To.One()
			if err != nil {
				return err
			}
			if _, twice := d.to[x.Chunk]; twice {
				return fmt.Errorf("chunk %s left instance %s twice", x.Chunk.Short(), instance.Short())
			}
			d.to[x.Chunk], l.chunks[x.Chunk].owner = to, to
		}
	case e.Claim != nil:
		for _, id := range touched {
			l.chunks[id].claimed++
		}
	case e.Swept != nil:
		for _, id := range touched {
			l.chunks[id].swept++
		}
	}
	return nil
}

// checkDeals demands that every instance is over and that each gave both sides
// what the agreement says, or gave everything back.
func (l *ledger) checkDeals(t *testing.T) {
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
		default:
			t.Errorf("instance %s: %d of %d chunks went over (aborted: %v): one side gave and did not get", id.Short(), given, total, d.aborted)
		}
	}
}

// A payment is one output on a chain: a coin that an address received.
type payment struct {
	address string
	amount  *big.Int
	tx      string
	spentBy string
}

// A transfer is one transaction: who paid whom, and the fee.
type transfer struct {
	id   string
	from []string
	to   []payment
	fee  *big.Int
}

// call asks a node's JSON-RPC.
func call(ctx context.Context, url, user, password, method string, out any, params ...any) error {
	if params == nil {
		params = []any{}
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	var result struct {
		Result json.RawMessage
		Error  json.RawMessage
	}
	if err := json.Unmarshal(b, &result); err != nil {
		return fmt.Errorf("%s: %w: %.200s", method, err, b)
	}
	if len(result.Error) > 0 && string(result.Error) != "null" {
		return fmt.Errorf("%s: %s", method, result.Error)
	}
	return json.Unmarshal(result.Result, out)
}

// bitcoins reads every transaction of the Bitcoin chain.
func bitcoins(ctx context.Context, w *World) ([]transfer, error) {
	password, err := os.ReadFile(w.btcRPC.PasswordFile)
	if err != nil {
		return nil, err
	}
	ask := func(method string, out any, params ...any) error {
		return call(ctx, w.btcRPC.RPC, w.btcRPC.User, strings.TrimSpace(string(password)), method, out, params...)
	}
	var height int
	if err := ask("getblockcount", &height); err != nil {
		return nil, err
	}
	coins := map[string]payment{}
	var out []transfer
	for h := 1; h <= height; h++ {
		var hash string
		if err := ask("getblockhash", &hash, h); err != nil {
			return nil, err
		}
		var block struct {
			Tx []struct {
				Txid string
				Vin  []struct {
					Coinbase, Txid string
					Vout           int
				}
				Vout []struct {
					Value        json.Number
					ScriptPubKey struct {
						Address   string
						Addresses []string
					}
				}
			} `json:"rawtx"`
		}
		var raw json.RawMessage
		if err := ask("getblock", &raw, hash, 2); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(bytes.Replace(raw, []byte(`"tx":[{`), []byte(`"rawtx":[{`), 1), &block); err != nil {
			return nil, err
		}
		for _, tx := range block.Tx {
			x := transfer{id: tx.Txid, fee: new(big.Int)}
			for _, in := range tx.Vin {
				if in.Coinbase != "" {
					x.from = append(x.from, "coinbase")
					continue
				}
				c, ok := coins[fmt.Sprint(in.Txid, ":", in.Vout)]
				if !ok {
					return nil, fmt.Errorf("transaction %s spends %s:%d, which is nowhere", tx.Txid, in.Txid, in.Vout)
				}
				x.from = append(x.from, c.address)
				x.fee.Add(x.fee, c.amount)
			}
			for n, o := range tx.Vout {
				amount, ok := new(big.Rat).SetString(o.Value.String())
				if !ok {
					return nil, fmt.Errorf("value %s", o.Value)
				}
				sat := new(big.Int).Quo(new(big.Int).Mul(amount.Num(), big.NewInt(100_000_000)), amount.Denom())
				address := o.ScriptPubKey.Address
				if address == "" && len(o.ScriptPubKey.Addresses) == 1 {
					address = o.ScriptPubKey.Addresses[0]
				}
				p := payment{address: address, amount: sat, tx: tx.Txid}
				coins[fmt.Sprint(tx.Txid, ":", n)] = p
				x.to = append(x.to, p)
				x.fee.Sub(x.fee, sat)
			}
			out = append(out, x)
		}
	}
	return out, nil
}

// ethers reads every transaction of the Ethereum chain.
func ethers(ctx context.Context, w *World) ([]transfer, error) {
	number := func(s string) *big.Int {
		n, _ := new(big.Int).SetString(strings.TrimPrefix(s, "0x"), 16)
		return n
	}
	var height string
	if err := call(ctx, w.ethRPC, "", "", "eth_blockNumber", &height); err != nil {
		return nil, err
	}
	var out []transfer
	for h := uint64(1); h <= number(height).Uint64(); h++ {
		at := fmt.Sprintf("0x%x", h)
		var block struct {
			Transactions []struct{ Hash, From, To, Value string }
		}
		var receipts []struct{ GasUsed, EffectiveGasPrice, Status string }
		if err := call(ctx, w.ethRPC, "", "", "eth_getBlockByNumber", &block, at, true); err != nil {
			return nil, err
		}
		if len(block.Transactions) == 0 {
			continue
		}
		if err := call(ctx, w.ethRPC, "", "", "eth_getBlockReceipts", &receipts, at); err != nil {
			return nil, err
		}
		for i, tx := range block.Transactions {
			if receipts[i].Status != "0x1" {
				return nil, fmt.Errorf("transaction %s failed", tx.Hash)
			}
			out = append(out, transfer{
				id: tx.Hash, from: []string{strings.ToLower(tx.From)},
				to:  []payment{{address: strings.ToLower(tx.To), amount: number(tx.Value), tx: tx.Hash}},
				fee: new(big.Int).Mul(number(receipts[i].GasUsed), number(receipts[i].EffectiveGasPrice)),
			})
		}
	}
	return out, nil
}

// audit follows every coin of the clients over both chains: from the faucets,
// through the chunks' addresses, to the wallet of the client whom the escrow's log
// calls the owner; nothing left for elsewhere, nothing was paid twice, and what
// the wallets say they have is what there was but for the fees.
func audit(ctx context.Context, t *testing.T, w *World, p *play) *ledger {
	t.Helper()
	l, err := readLedger(ctx, w)
	if err != nil {
		t.Fatalf("read the escrow's log: %v", err)
	}
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
		l.txs[asset] = auditChain(ctx, t, w, p, asset, txs, l, vaults)
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
	con, err := wallet.Dial("unix:" + w.dir(w.Clients[0]) + "/" + asset + ".sock")
	if err != nil {
		t.Fatal(err)
	}
	byAddress := map[string]wire.ChunkID{}
	for id, c := range l.chunks {
		if string(c.asset.ID) != asset {
			continue
		}
		a, err := con.Addresses(ctx, c.asset, []wallet.PublicKey{c.p.Bytes()})
		if err != nil {
			t.Fatal(err)
		}
		c.address = strings.ToLower(a[0])
		byAddress[c.address] = id
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
