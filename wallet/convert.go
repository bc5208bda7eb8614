package wallet

import (
	"fmt"
	"math"

	"latchkey/coin"
	"latchkey/wallet/walletpb"
)

// What is on the wire becomes a value here and back, and is checked on the way
// in, by both sides: neither trusts the other to be well formed.

func fromAsset(a coin.Asset) *walletpb.Asset {
	return &walletpb.Asset{Id: string(a.ID), Chain: a.Chain, Key: walletpb.KeyType(a.Key), Address: a.Address, Decimals: uint32(a.Decimals)}
}

func toAsset(a *walletpb.Asset) (coin.Asset, error) {
	if a == nil {
		return coin.Asset{}, fmt.Errorf("%w: no asset", ErrInvalid)
	}
	if a.Decimals > coin.MaxDecimals || a.Key < 0 || a.Key > math.MaxUint8 {
		return coin.Asset{}, fmt.Errorf("%w: asset %.40q: %d decimals, key type %d", ErrInvalid, a.Id, a.Decimals, a.Key)
	}
	v := coin.Asset{ID: coin.AssetID(a.Id), Chain: a.Chain, Key: coin.KeyType(a.Key), Address: a.Address, Decimals: uint8(a.Decimals)}
	return v, checkAsset(v)
}

// toAmount reads an amount; an absent one is nothing.
func toAmount(what, s string) (coin.Amount, error) {
	if s == "" {
		return coin.Amount{}, nil
	}
	v, err := coin.ParseAmount(s)
	if err != nil {
		return v, fmt.Errorf("%w: %s: %w", ErrInvalid, what, err)
	}
	return v, nil
}

// amounts reads several amounts and keeps the first error.
type amounts struct{ err error }

func (r *amounts) read(what, s string) coin.Amount {
	v, err := toAmount(what, s)
	if err != nil && r.err == nil {
		r.err = err
	}
	return v
}

// toTxID reads an id that may be absent.
func toTxID(s string) (TxID, error) {
	if s == "" {
		return "", nil
	}
	return TxID(s), CheckTxID(TxID(s))
}

func fromDescription(d Description) *walletpb.DescribeResponse {
	out := &walletpb.DescribeResponse{Name: d.Name, Version: d.Version, Node: &walletpb.Node{
		Reachable: d.Node.Reachable, Height: d.Node.Height, Syncing: d.Node.Syncing, Problem: d.Node.Problem,
		TipTime: d.Node.TipTime, MaxTipAge: d.Node.MaxTipAge, Alone: d.Node.Alone,
	}}
	for _, a := range d.Assets {
		out.Assets = append(out.Assets, &walletpb.AssetInfo{
			Asset: fromAsset(a.Asset), Confirmations: a.Confirmations, MaxOutputs: a.MaxOutputs, MaxKeys: a.MaxKeys,
			FeeAsset: string(a.FeeAsset), MinAmount: a.MinAmount.String(), HidesSpends: a.HidesSpends,
		})
	}
	return out
}

func toDescription(m *walletpb.DescribeResponse) (Description, error) {
	d := Description{Name: m.Name, Version: m.Version}
	if n := m.Node; n != nil {
		d.Node = Node{
			Reachable: n.Reachable, Height: n.Height, Syncing: n.Syncing, Problem: printable(n.Problem),
			TipTime: n.TipTime, MaxTipAge: n.MaxTipAge, Alone: n.Alone,
		}
		if n.TipTime < 0 || n.MaxTipAge < 0 || n.MaxTipAge > maxTipAge {
			return Description{}, fmt.Errorf("%w: the node's tip is of %d, and may be %d s old", ErrInvalid, n.TipTime, n.MaxTipAge)
		}
	}
	for _, a := range m.Assets {
		asset, err := toAsset(a.Asset)
		if err != nil {
			return Description{}, err
		}
		least, err := toAmount("min_amount", a.MinAmount)
		if err != nil {
			return Description{}, err
		}
		if err := coin.AssetID(a.FeeAsset).Check(); err != nil {
			return Description{}, fmt.Errorf("%w: fee asset: %w", ErrInvalid, err)
		}
		if a.Confirmations == 0 || a.MaxOutputs == 0 || a.MaxKeys == 0 {
			return Description{}, fmt.Errorf("%w: asset %s: confirmations %d, outputs %d, keys %d: each at least 1", ErrInvalid,
				asset.ID, a.Confirmations, a.MaxOutputs, a.MaxKeys)
		}
		d.Assets = append(d.Assets, AssetInfo{
			Asset: asset, Confirmations: a.Confirmations, MaxOutputs: a.MaxOutputs, MaxKeys: a.MaxKeys,
			FeeAsset: coin.AssetID(a.FeeAsset), MinAmount: least, HidesSpends: a.HidesSpends,
		})
	}
	return d, nil
}

func fromDepositsRequest(r DepositsRequest) *walletpb.DepositsRequest {
	out := &walletpb.DepositsRequest{Asset: fromAsset(r.Asset), Confirmations: r.Confirmations}
	for _, q := range r.Queries {
		out.Queries = append(out.Queries, &walletpb.DepositQuery{PublicKey: q.Key, Want: q.Want.String()})
	}
	return out
}

func toDepositsRequest(m *walletpb.DepositsRequest) (DepositsRequest, error) {
	asset, err := toAsset(m.Asset)
	if err != nil {
		return DepositsRequest{}, err
	}
	r := DepositsRequest{Asset: asset, Confirmations: m.Confirmations}
	for _, q := range m.Queries {
		want, err := toAmount("want", q.GetWant())
		if err != nil {
			return DepositsRequest{}, err
		}
		r.Queries = append(r.Queries, DepositQuery{Key: q.GetPublicKey(), Want: want})
	}
	return r, r.Check()
}

func fromDeposits(d Deposits) *walletpb.DepositsResponse {
	out := &walletpb.DepositsResponse{Height: d.Height}
	for _, d := range d.Deposits {
		out.Deposits = append(out.Deposits, &walletpb.Deposit{
			Address: d.Address, Confirmed: d.Confirmed.String(), Pending: d.Pending.String(), Depth: d.Depth,
			FundingTx: string(d.FundingTx), Spent: d.Spent, SpentDepth: d.SpentDepth, SpendingTx: string(d.SpendingTx),
		})
	}
	return out
}

func toDeposits(m *walletpb.DepositsResponse, want int) (Deposits, error) {
	if len(m.Deposits) != want {
		return Deposits{}, fmt.Errorf("answer about %d deposits to %d queries", len(m.Deposits), want)
	}
	out := Deposits{Height: m.Height}
	var r amounts
	for _, d := range m.Deposits {
		v := Deposit{
			Address: d.Address, Confirmed: r.read("confirmed", d.Confirmed), Pending: r.read("pending", d.Pending), Depth: d.Depth,
			Spent: d.Spent, SpentDepth: d.SpentDepth,
		}
		var err error
		if v.FundingTx, err = toTxID(d.FundingTx); err != nil {
			return Deposits{}, err
		}
		if v.SpendingTx, err = toTxID(d.SpendingTx); err != nil {
			return Deposits{}, err
		}
		out.Deposits = append(out.Deposits, v)
	}
	return out, r.err
}

func fromFundRequest(r FundRequest) *walletpb.FundRequest {
	out := &walletpb.FundRequest{Asset: fromAsset(r.Asset), Id: r.ID, MaxFee: r.MaxFee.String()}
	for _, p := range r.Payments {
		out.Payments = append(out.Payments, &walletpb.Payment{Address: p.Address, Amount: p.Amount.String()})
	}
	return out
}

func toFundRequest(m *walletpb.FundRequest) (FundRequest, error) {
	asset, err := toAsset(m.Asset)
	if err != nil {
		return FundRequest{}, err
	}
	var a amounts
	r := FundRequest{Asset: asset, ID: m.Id, MaxFee: a.read("max_fee", m.MaxFee)}
	for _, p := range m.Payments {
		r.Payments = append(r.Payments, Payment{Address: p.GetAddress(), Amount: a.read("payment", p.GetAmount())})
	}
	if a.err != nil {
		return FundRequest{}, a.err
	}
	_, err = r.Check()
	return r, err
}

func fromTxs(txs []Tx) []*walletpb.Tx {
	var out []*walletpb.Tx
	for _, t := range txs {
		out = append(out, &walletpb.Tx{Id: string(t.ID), Fee: t.Fee.String()})
	}
	return out
}

func toTxs(m []*walletpb.Tx) ([]Tx, error) {
	var out []Tx
	for _, t := range m {
		id, err := toTxID(t.GetId())
		if err != nil {
			return nil, err
		}
		fee, err := toAmount("fee", t.GetFee())
		if err != nil {
			return nil, err
		}
		out = append(out, Tx{ID: id, Fee: fee})
	}
	return out, nil
}

func fromFunding(f Funding) *walletpb.FundResponse {
	out := &walletpb.FundResponse{Transactions: fromTxs(f.Txs)}
	for _, i := range f.TxOf {
		out.TxOf = append(out.TxOf, uint32(i))
	}
	return out
}

func toFunding(m *walletpb.FundResponse, want int) (Funding, error) {
	txs, err := toTxs(m.Transactions)
	if err != nil {
		return Funding{}, err
	}
	if len(m.TxOf) != want {
		return Funding{}, fmt.Errorf("answer about %d payments, asked for %d", len(m.TxOf), want)
	}
	out := Funding{Txs: txs}
	for _, i := range m.TxOf {
		if int64(i) >= int64(len(txs)) {
			return Funding{}, fmt.Errorf("answer names transaction %d of %d", i, len(txs))
		}
		out.TxOf = append(out.TxOf, int(i))
	}
	return out, nil
}

func fromSweepRequest(r SweepRequest) *walletpb.SweepRequest {
	out := &walletpb.SweepRequest{Asset: fromAsset(r.Asset), Id: r.ID, Destination: r.Destination, MaxFee: r.MaxFee.String()}
	for _, k := range r.Keys {
		out.Keys = append(out.Keys, &walletpb.SweepKey{PrivateKey: k.Private[:], PublicKey: k.Public})
	}
	return out
}

func toSweepRequest(m *walletpb.SweepRequest) (SweepRequest, error) {
	asset, err := toAsset(m.Asset)
	if err != nil {
		return SweepRequest{}, err
	}
	fee, err := toAmount("max_fee", m.MaxFee)
	if err != nil {
		return SweepRequest{}, err
	}
	r := SweepRequest{Asset: asset, ID: m.Id, Destination: m.Destination, MaxFee: fee}
	for i, k := range m.Keys {
		if len(k.GetPrivateKey()) != len(PrivateKey{}) {
			return SweepRequest{}, fmt.Errorf("%w: key %d: private key of %d bytes, want 32", ErrInvalid, i, len(k.GetPrivateKey()))
		}
		r.Keys = append(r.Keys, SweepKey{Private: PrivateKey(k.PrivateKey), Public: k.PublicKey})
	}
	return r, r.Check()
}

func fromSweep(s Sweep) *walletpb.SweepResponse {
	out := &walletpb.SweepResponse{Transactions: fromTxs(s.Txs)}
	for _, k := range s.Keys {
		m := &walletpb.Swept{Tx: string(k.Tx), Amount: k.Amount.String()}
		if k.Err != nil {
			m.Error = &walletpb.Error{Reason: reasonOf(k.Err), Message: printable(k.Err.Error())}
		}
		out.Keys = append(out.Keys, m)
	}
	return out
}

func toSweep(m *walletpb.SweepResponse, want int) (Sweep, error) {
	txs, err := toTxs(m.Transactions)
	if err != nil {
		return Sweep{}, err
	}
	if len(m.Keys) != want {
		return Sweep{}, fmt.Errorf("answer about %d keys, asked for %d", len(m.Keys), want)
	}
	out := Sweep{Txs: txs}
	for _, k := range m.Keys {
		var s Swept
		if s.Tx, err = toTxID(k.GetTx()); err != nil {
			return Sweep{}, err
		}
		if s.Amount, err = toAmount("swept", k.GetAmount()); err != nil {
			return Sweep{}, err
		}
		if k.GetError() != nil {
			s.Err = toError(k.Error)
		}
		if (s.Err == nil) == (s.Tx == "") {
			return Sweep{}, fmt.Errorf("answer about a key has both, or neither, a transaction and an error")
		}
		out.Keys = append(out.Keys, s)
	}
	return out, nil
}
