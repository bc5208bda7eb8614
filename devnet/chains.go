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
	"strings"

	"latchkey/wallet"
	"latchkey/wire"
)

// A payment is one output on a chain: a coin that an address received.
type payment struct {
	address string
	amount  *big.Int
	tx      string
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

// A Traffic is how many transactions of the clients are on each chain, by asset,
// as the nodes have them.
type Traffic struct {
	Funding map[string]int `json:"funding"` // from a client's wallet to chunks
	Sweeps  map[string]int `json:"sweeps"`  // from chunks to a client's wallet
	Other   map[string]int `json:"other"`   // of the clients' coins, but neither: there are none
}

// Total returns how many transactions there are of one kind.
func Total(by map[string]int) (n int) {
	for _, k := range by {
		n += k
	}
	return n
}

// Traffic reads both chains from their nodes, and the escrow's log for the keys of
// all chunks. wallets are the addresses of the clients' ordinary wallets.
func (w *World) Traffic(ctx context.Context, wallets []string) (Traffic, error) {
	t := Traffic{map[string]int{}, map[string]int{}, map[string]int{}}
	l, err := readLedger(ctx, w)
	if err != nil {
		return t, err
	}
	own := map[string]bool{}
	for _, a := range wallets {
		own[strings.ToLower(a)] = true
	}
	for asset, read := range map[string]func(context.Context, *World) ([]transfer, error){"btc": bitcoins, "eth": ethers} {
		if err := l.locate(ctx, w, asset); err != nil {
			return t, err
		}
		deposits := map[string]wire.ChunkID{}
		for id, c := range l.chunks {
			if string(c.asset.ID) == asset {
				deposits[c.address] = id
			}
		}
		txs, err := read(ctx, w)
		if err != nil {
			return t, fmt.Errorf("read the chain of %s: %w", asset, err)
		}
		for _, x := range txs {
			from := strings.ToLower(x.from[0])
			_, swept := deposits[from]
			pays := false
			for _, o := range x.to {
				_, chunk := deposits[strings.ToLower(o.address)]
				pays = pays || chunk
			}
			switch {
			case swept:
				t.Sweeps[asset]++
			case own[from] && pays:
				t.Funding[asset]++
			case own[from]:
				t.Other[asset]++
			}
		}
	}
	return t, nil
}

// locate fills in the addresses of an asset's chunks, as a connector makes them
// from their keys.
func (l *ledger) locate(ctx context.Context, w *World, asset string) error {
	con, err := wallet.Dial("unix:" + w.dir(w.Clients[0]) + "/" + asset + ".sock")
	if err != nil {
		return err
	}
	var chunks []*chunkFate
	var keys []wallet.PublicKey
	for _, c := range l.chunks {
		if string(c.asset.ID) == asset {
			chunks, keys = append(chunks, c), append(keys, c.p.Bytes())
		}
	}
	for n := 0; n < len(keys); n += wallet.MaxItems {
		end := min(len(keys), n+wallet.MaxItems)
		list, err := con.Addresses(ctx, chunks[n].asset, keys[n:end])
		if err != nil {
			return err
		}
		for i, a := range list {
			chunks[n+i].address = strings.ToLower(a)
		}
	}
	return nil
}
