package client

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"latchkey/coin"
	"latchkey/switchboard"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wallet"
	"latchkey/wire"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// look derives from the vault's state and the records what is to be done, and
// does one round of it. Only a failure of the store is an error; all else is a
// problem, shown, and tried again.
func (h *Host) look(ctx context.Context) error {
	s, err := h.vaultStatus(ctx)
	if err != nil {
		return nil // the vault is going or coming; Run sees to that
	}
	if len(s.Batches) > 0 {
		wake(h.talk)
	}
	h.drafts(ctx, s)
	h.deals(ctx, s)
	h.fund(ctx, s)
	h.steps(ctx, s)
	h.found(ctx, s)
	h.claim(ctx, s)
	h.sweep(ctx, s)
	h.overdue(ctx, s)
	return h.store.err()
}

// info returns what the connector of an asset says of it, asked once.
func (h *Host) info(ctx context.Context, a coin.Asset) (wallet.Wallet, wallet.AssetInfo, error) {
	w := h.cfg.Wallets[a.ID]
	if w == nil {
		return nil, wallet.AssetInfo{}, fmt.Errorf("%w: no wallet for %s is configured", wallet.ErrUnknownAsset, a.ID)
	}
	h.mu.Lock()
	info, ok := h.assets[a.ID]
	h.mu.Unlock()
	if ok && info.Asset == a {
		return w, info, nil
	}
	d, err := w.Describe(ctx)
	if err != nil {
		return nil, wallet.AssetInfo{}, err
	}
	if info, err = d.Info(a); err != nil {
		return nil, wallet.AssetInfo{}, err
	}
	h.mu.Lock()
	h.assets[a.ID] = info
	h.mu.Unlock()
	return w, info, nil
}

// asset returns the asset of this id that a configured wallet serves.
func (h *Host) asset(ctx context.Context, id coin.AssetID) (coin.Asset, error) {
	w := h.cfg.Wallets[id]
	if w == nil {
		return coin.Asset{}, fmt.Errorf("no wallet for asset %q is configured; there are %s", id, strings.Join(h.assetIDs(), ", "))
	}
	d, err := w.Describe(ctx)
	if err != nil {
		return coin.Asset{}, err
	}
	for _, a := range d.Assets {
		if a.Asset.ID == id {
			return a.Asset, nil
		}
	}
	return coin.Asset{}, fmt.Errorf("%w: the wallet configured for %q does not serve it", wallet.ErrUnknownAsset, id)
}

func (h *Host) assetIDs() (out []string) {
	for id := range h.cfg.Wallets {
		out = append(out, string(id))
	}
	slices.Sort(out)
	return out
}

// fund brings the chunks that this vault made to where they can be offered:
// paid, confirmed, announced.
func (h *Host) fund(ctx context.Context, s enclave.Status) {
	made := map[wire.CertID][]enclave.ChunkStatus{} // that are offered, once they are paid
	whole := map[wire.CertID][]enclave.ChunkStatus{}
	for _, c := range s.Chunks {
		if !h.returned(c) {
			continue
		}
		whole[c.Chunk.Cert] = append(whole[c.Chunk.Cert], c)
		if c.Chunk.Epoch == 0 && c.Holds && !c.Chunk.Claim {
			made[c.Chunk.Cert] = append(made[c.Chunk.Cert], c)
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(made), func(a, b wire.CertID) int { return slices.Compare(a[:], b[:]) }) {
		f := Funding{Cert: id}
		h.store.get("fund/"+id.String(), &f)
		if f.State == "announced" || len(made[id]) != int(made[id][0].Cert.N) && f.State == "" {
			continue
		}
		slices.SortFunc(whole[id], func(a, b enclave.ChunkStatus) int { return cmp.Compare(a.Chunk.Index, b.Chunk.Index) })
		h.problem("deposit "+id.Short(), h.fundOne(ctx, &f, made[id], whole[id], s.Now))
	}
}

// fundOne does so for the chunks of one certificate. Paid is for the whole of it, in
// order, whatever became of a chunk meanwhile: a wallet that was asked before pays
// again only what it was asked for.
func (h *Host) fundOne(ctx context.Context, f *Funding, chunks, whole []enclave.ChunkStatus, now int64) error {
	cert := chunks[0].Cert
	w, info, err := h.info(ctx, cert.Denomination.Asset)
	if err != nil {
		return err
	}
	each, err := cert.Denomination.Deposit(cert.Weight)
	if err != nil {
		return err
	}
	save := func() error { return h.store.put(ctx, "fund/"+f.Cert.String(), f) }
	if f.State == "" {
		if now >= cert.Expiry {
			return fmt.Errorf("certificate %s has expired: it is not funded", f.Cert.Short())
		}
		fee, err := w.Fee(ctx, cert.Denomination.Asset, len(chunks), 0)
		if err != nil {
			return err
		}
		f.State, f.MaxFee = "funding", fee.Fund.String()
		total, _ := each.Times(uint64(len(chunks)))
		h.store.journal(ctx, Event{
			Kind: "made", Asset: string(cert.Denomination.Asset.ID), Amount: total.String(), Count: len(chunks),
			Text: fmt.Sprintf("vault and escrow made %s; the wallet checked certificate %s", tally(len(chunks), "key"), f.Cert.Short()),
		})
		if err := save(); err != nil {
			return err
		}
	}
	if f.State == "funding" {
		if err := h.pay(ctx, w, f, whole, each); err != nil {
			if errors.Is(err, wallet.ErrFeeTooHigh) {
				return errors.Join(err, save()) // the market has moved: the next attempt is at today's fee
			}
			return err
		}
		f.State = "funded"
		if err := save(); err != nil {
			return err
		}
		total, _ := each.Times(uint64(len(whole)))
		h.store.journal(ctx, Event{
			Kind: "funded", Asset: string(cert.Denomination.Asset.ID), Amount: total.String(), Count: len(whole), Txs: f.Txs,
			Text: fmt.Sprintf("paid %s in %s", tally(len(whole), "deposit"), tally(len(f.Txs), "transaction")),
		})
	}
	if f.State == "funded" {
		q := wallet.DepositsRequest{Asset: cert.Denomination.Asset}
		for _, c := range chunks {
			q.Queries = append(q.Queries, wallet.DepositQuery{Key: c.Chunk.P.Bytes(), Want: each})
		}
		switch err := checkDeposits(ctx, w, q); {
		case errors.Is(err, wallet.ErrNotConfirmed), errors.Is(err, wallet.ErrNotFunded):
			return nil // status says what it waits for
		case err != nil:
			return err
		}
		f.State = "confirmed"
		if err := save(); err != nil {
			return err
		}
		h.store.journal(ctx, Event{Kind: "confirmed", Asset: string(info.Asset.ID), Count: len(chunks), Text: tally(len(chunks), "deposit") + " confirmed"})
	}
	if err := h.announce(ctx, chunks); err != nil {
		return err
	}
	f.State = "announced"
	h.store.journal(ctx, Event{Kind: "announced", Asset: string(info.Asset.ID), Count: len(chunks), Text: "told the switchboard of " + tally(len(chunks), "chunk")})
	return save()
}

// checkDeposits returns nil if every deposit holds what is wanted.
func checkDeposits(ctx context.Context, w wallet.Wallet, q wallet.DepositsRequest) error {
	for chunk := range slices.Chunk(q.Queries, wallet.MaxItems) {
		one := q
		one.Queries = chunk
		d, err := w.Deposits(ctx, one)
		if err != nil {
			return err
		}
		for i := range d.Deposits {
			if err := d.Deposits[i].Check(chunk[i].Want); err != nil {
				return err
			}
		}
	}
	return nil
}

// pay funds the chunks. The wallet pays once for one id, so this may be repeated.
func (h *Host) pay(ctx context.Context, w wallet.Wallet, f *Funding, chunks []enclave.ChunkStatus, each coin.Amount) error {
	asset := chunks[0].Cert.Denomination.Asset
	keys := make([]wallet.PublicKey, len(chunks))
	for i, c := range chunks {
		keys[i] = c.Chunk.P.Bytes()
	}
	f.Txs, f.Addresses = nil, nil
	for n := 0; n < len(keys); n += wallet.MaxItems {
		part := keys[n:min(len(keys), n+wallet.MaxItems)]
		addresses, err := w.Addresses(ctx, asset, part)
		if err != nil {
			return err
		}
		q := wallet.FundRequest{Asset: asset, ID: fmt.Sprintf("fund-%s-%d", hex.EncodeToString(f.Cert[:16]), n)}
		if q.MaxFee, err = coin.ParseAmount(f.MaxFee); err != nil {
			return err
		}
		for _, a := range addresses {
			q.Payments = append(q.Payments, wallet.Payment{Address: a, Amount: each})
		}
		r, err := w.Fund(ctx, q)
		if errors.Is(err, wallet.ErrFeeTooHigh) {
			if fee, ferr := w.Fee(ctx, asset, len(chunks), 0); ferr == nil {
				f.MaxFee = fee.Fund.String()
			}
		}
		if err != nil {
			return err
		}
		for _, t := range r.Txs {
			f.Txs = append(f.Txs, string(t.ID))
		}
		f.Addresses = append(f.Addresses, addresses...)
	}
	return nil
}

// announce offers chunks of one certificate to the market.
func (h *Host) announce(ctx context.Context, chunks []enclave.ChunkStatus) error {
	for part := range slices.Chunk(chunks, 500) {
		var ids []wire.ChunkID
		a := switchboard.Announcement{}
		for _, c := range part {
			ids, a.Epochs = append(ids, c.ID), append(a.Epochs, c.Chunk.Epoch)
		}
		r, err := h.call(ctx, enclave.Call{Papers: &enclave.Chunks{IDs: ids}})
		if err != nil {
			return err
		}
		a.Papers = r.Papers
		if err := h.board.Deposit(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// sweep moves the coins of whole keys to the user's own wallet, and tells the
// vault when that is final.
func (h *Host) sweep(ctx context.Context, s enclave.Status) {
	begun := map[wire.ChunkID]bool{}
	each(h.store, "sweep/", func(_ string, w Sweeping) {
		for _, id := range w.Chunks {
			begun[id] = true
		}
	})
	fresh := map[coin.AssetID][]wire.ChunkID{}
	byID := map[wire.ChunkID]enclave.ChunkStatus{}
	for _, c := range s.Chunks {
		byID[c.ID] = c
		if c.Whole && !begun[c.ID] {
			fresh[c.Cert.Denomination.Asset.ID] = append(fresh[c.Cert.Denomination.Asset.ID], c.ID)
		}
	}
	for _, asset := range slices.Sorted(maps.Keys(fresh)) {
		for ids := range slices.Chunk(fresh[asset], wallet.MaxItems) {
			w := Sweeping{ID: "sweep-" + hex.EncodeToString(ids[0][:16]), Asset: string(asset), Chunks: ids, State: "sweeping"}
			_ = h.store.put(ctx, "sweep/"+w.ID, w)
		}
	}
	each(h.store, "sweep/", func(name string, w Sweeping) {
		if w.State != "final" {
			h.problem("sweep of "+w.Asset+" "+w.ID[6:14], h.sweepOne(ctx, name, w, byID))
		}
	})
}

func (h *Host) sweepOne(ctx context.Context, name string, w Sweeping, byID map[wire.ChunkID]enclave.ChunkStatus) error {
	asset := byID[w.Chunks[0]].Cert.Denomination.Asset
	con, info, err := h.info(ctx, asset)
	if err != nil {
		return err
	}
	r, err := h.call(ctx, enclave.Call{Keys: &enclave.Chunks{IDs: w.Chunks}})
	if err != nil {
		return err
	}
	if len(r.Keys) == 0 { // told the vault already, and it has forgotten
		w.State = "final"
		return h.store.put(ctx, name, w)
	}
	q := wallet.SweepRequest{Asset: asset, ID: w.ID}
	for _, k := range r.Keys {
		q.Keys = append(q.Keys, wallet.SweepKey{Private: wallet.PrivateKey(k.D), Public: k.P.Bytes()})
	}
	if q.MaxFee, err = w.limit(ctx, con, asset, len(q.Keys)); err != nil {
		return err
	}
	out, err := con.Sweep(ctx, q)
	for i := range q.Keys {
		clear(q.Keys[i].Private[:])
	}
	if err != nil {
		if errors.Is(err, wallet.ErrFeeTooHigh) {
			w.MaxFee, w.Raised = "", min(w.Raised+1, maxRaised)
			err = errors.Join(err, h.store.put(ctx, name, w))
		}
		return err
	}
	first := len(w.Txs) == 0
	final, err := h.follow(ctx, con, info, &w, r.Keys, out)
	if len(w.Txs) > 0 && first {
		h.store.journal(ctx, Event{
			Kind: "sweeping", Asset: w.Asset, Amount: w.Amount, Count: len(w.Chunks), Txs: w.Txs,
			Text: fmt.Sprintf("sent %s for %s", tally(len(w.Txs), "sweeping transaction"), tally(len(w.Chunks), "chunk")),
		})
	}
	if perr := h.store.put(ctx, name, w); perr != nil {
		return perr
	}
	if err != nil || !final {
		return err
	}
	if _, err := h.call(ctx, enclave.Call{Swept: &enclave.Chunks{IDs: w.Chunks}}); err != nil {
		return err
	}
	wake(h.talk)
	w.State = "final"
	h.store.journal(ctx, Event{
		Kind: "swept", Asset: w.Asset, Amount: w.Amount, Count: len(w.Chunks), Txs: w.Txs,
		Text: fmt.Sprintf("the coins of %s are in the own wallet for good", tally(len(w.Chunks), "chunk")),
	})
	return h.store.put(ctx, name, w)
}

// maxRaised bounds the limit of a sweep's fee, at 2¹⁰ times today's estimate.
const maxRaised = 10

// limit returns what a sweep may cost: today's estimate for its keys, doubled each time
// that it was too little. The market may have moved; or somebody paid to a chunk's
// address again, as everybody can, and what lies there takes more to be moved than an
// estimate knows. A wallet takes no more than it needs, and nothing that is not worth it.
func (w *Sweeping) limit(ctx context.Context, con wallet.Wallet, asset coin.Asset, keys int) (coin.Amount, error) {
	if w.MaxFee == "" {
		fee, err := con.Fee(ctx, asset, 0, keys)
		if err != nil {
			return coin.Amount{}, err
		}
		most, err := fee.Sweep.Times(1 << w.Raised)
		if err != nil {
			return coin.Amount{}, err
		}
		w.MaxFee = most.String()
	}
	return coin.ParseAmount(w.MaxFee)
}

// follow notes what a sweep has sent and reports whether all of it is final. A
// key whose coins somebody else took is reported and not waited for.
func (h *Host) follow(ctx context.Context, con wallet.Wallet, info wallet.AssetInfo, w *Sweeping, keys []enclave.Key, out wallet.Sweep) (bool, error) {
	var total coin.Amount
	var problem error
	txs := map[string]bool{}
	w.Spent = nil
	for i, k := range out.Keys {
		if k.Err != nil {
			if problem = fmt.Errorf("chunk %s: %w", keys[i].Chunk.Short(), k.Err); !errors.Is(k.Err, wallet.ErrSpent) {
				return false, problem
			}
			w.Spent = append(w.Spent, keys[i].Chunk)
			continue
		}
		txs[string(k.Tx)] = true
		total, _ = total.Plus(k.Amount)
	}
	w.Txs, w.Amount = sortedKeys(txs), total.String()
	if problem != nil {
		h.store.journal(ctx, Event{Kind: "problem", Asset: w.Asset, Text: problem.Error()})
	}
	for _, id := range w.Txs {
		t, err := con.Transaction(ctx, info.Asset, wallet.TxID(id))
		if err != nil {
			return false, err
		}
		if t.State != wallet.TxConfirmed || t.Confirmations < info.Confirmations {
			return false, nil
		}
	}
	return true, nil
}

// Deposit has vault and escrow make chunks worth about cents, in standard size.
// Funding follows by itself.
func (h *Host) Deposit(ctx context.Context, id coin.AssetID, cents uint64, weight uint32) (n int, total coin.Amount, d coin.Denomination, err error) {
	return h.depositOf(ctx, id, cents, weight, nil)
}

// depositOf makes chunks of a denomination; nil: today's.
func (h *Host) depositOf(ctx context.Context, id coin.AssetID, cents uint64, weight uint32, like *coin.Denomination) (n int, total coin.Amount, d coin.Denomination, err error) {
	fail := func(err error) (int, coin.Amount, coin.Denomination, error) {
		return 0, coin.Amount{}, coin.Denomination{}, fmt.Errorf("deposit %s: %w", id, err)
	}
	if weight == 0 {
		weight = 5
	}
	if err := coin.CheckWeight(weight); err != nil {
		return fail(err)
	}
	if cents == 0 || cents > 100_000_000 {
		return fail(fmt.Errorf("%d.%02d USD is not between 0.01 and 1,000,000", cents/100, cents%100))
	}
	a, err := h.asset(ctx, id)
	if err != nil {
		return fail(err)
	}
	if like != nil && like.Asset != a {
		return fail(fmt.Errorf("the pot holds %s on %s, the wallet's is %s on %s", like.Asset.ID, like.Asset.Chain, a.ID, a.Chain))
	} else if like != nil {
		d = *like
	} else if d, err = h.board.Denominate(ctx, a); err != nil {
		return fail(err)
	}
	n = int((cents + uint64(weight)*unitCents/2) / (uint64(weight) * unitCents))
	if n < 1 || n > vault.MaxBatch {
		return fail(fmt.Errorf("that makes %s of about $%d, want 1 to %d: deposit another amount, or another weight of chunks", tally(n, "chunk"), uint64(weight)*unitCents/100, vault.MaxBatch))
	}
	each, err := d.Deposit(weight)
	if err != nil {
		return fail(err)
	}
	if total, err = each.Times(uint64(n)); err != nil {
		return fail(err)
	}
	w := h.cfg.Wallets[id]
	b, err := w.Balance(ctx, a)
	if err != nil {
		return fail(err)
	}
	if b.Confirmed.Cmp(total) < 0 {
		return fail(fmt.Errorf("%w: %s of %s needed; send coins to %s first", wallet.ErrInsufficient, a.Format(b.Confirmed), a.Format(total), b.Address))
	}
	spec := vault.BatchSpec{Denomination: d, Weight: weight, N: uint32(n), Expiry: time.Now().Add(certLife).Unix()}
	if _, err := h.call(ctx, enclave.Call{Batch: &spec}); err != nil {
		return fail(err)
	}
	wake(h.talk)
	return n, total, d, nil
}

const (
	unitCents = 1000 // about what a unit is worth, as the switchboard denominates
	certLife  = 90 * 24 * time.Hour
)
