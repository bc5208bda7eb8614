package btc

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"latchkey/coin"
	"latchkey/wallet"
)

// Sizes in weight units (BIP 141): four per byte, one per byte of witness.
const (
	weightInput   = 4*41 + 108      // a p2wpkh input with the longest signature
	weightFrame   = 4*(4+4+3+3) + 2 // version, lock time, counts, segwit marker
	scriptLen     = 22              // of a p2wpkh output
	maxInputs     = 250             // of one sweep transaction: a rival of one key spoils it for all in it
	maxSatoshi    = 21_000_000 * 100_000_000
	assumedInputs = 3 // of a funding transaction, in an estimate
)

// A rate is satoshis per 1000 virtual bytes.
type rate int64

// fee of a weight, rounded up.
func (r rate) fee(weight int64) int64 { return (weight*int64(r) + 3999) / 4000 }

func weightOutput(script []byte) int64 { return 4 * int64(8+1+len(script)) }

// dustOf is the least value that nodes relay at a script: what spending it
// would cost at 3 satoshis per virtual byte (Bitcoin Core, policy.cpp,
// GetDustThreshold).
func dustOf(script []byte) int64 {
	spend := int64(148)
	if txscript.IsWitnessProgram(script) {
		spend = 67
	}
	return 3 * (int64(8+1+len(script)) + spend)
}

// satoshis returns an amount of at most all bitcoins.
func satoshis(a coin.Amount) (int64, bool) {
	v, ok := a.Uint64()
	return int64(v), ok && v <= maxSatoshi
}

func amountOf(satoshi int64) coin.Amount { return coin.NewAmount(uint64(satoshi)) }

// scriptTo returns the script of an address of this network.
func scriptTo(a string, params *chaincfg.Params) ([]byte, error) {
	decoded, err := address.DecodeAddress(a, params)
	if err != nil {
		return nil, fmt.Errorf("%w: address %.100q: %v", wallet.ErrInvalid, a, err)
	}
	// Addresses in old forms of two networks can look alike, and a public key is
	// taken for one: only what prints as it was given is an address here.
	if !decoded.IsForNet(params) || decoded.EncodeAddress() != a {
		return nil, fmt.Errorf("%w: address %.100q is not one of %s", wallet.ErrInvalid, a, params.Name)
	}
	script, err := txscript.PayToAddrScript(decoded)
	if err != nil {
		return nil, fmt.Errorf("%w: address %.100q: %v", wallet.ErrInvalid, a, err)
	}
	return script, nil
}

// A spend is an output with the key that spends it.
type spend struct {
	op    wire.OutPoint
	value int64
	key   wallet.PrivateKey
}

// pick takes coins, deepest class first and largest first within it, until they
// cover outputs and fee. It returns the change that is left, 0 if that would be
// dust: then it goes to the fee.
func pick(coins []holding, outs []*wire.TxOut, changeScript []byte, r rate) (picked []holding, change, fee int64, err error) {
	slices.SortStableFunc(coins, func(a, b holding) int {
		if (a.depth > 0) != (b.depth > 0) {
			return cmp.Compare(b.depth, a.depth)
		}
		return cmp.Compare(b.value, a.value)
	})
	weight, need := int64(weightFrame), int64(0)
	for _, o := range outs {
		weight += weightOutput(o.PkScript)
		need += o.Value
	}
	have := int64(0)
	for _, c := range coins {
		picked, have, weight = append(picked, c), have+c.value, weight+weightInput
		fee = r.fee(weight)
		if have < need+fee {
			continue
		}
		withChange := r.fee(weight + weightOutput(changeScript))
		if change = have - need - withChange; change >= dustOf(changeScript) {
			return picked, change, withChange, nil
		}
		return picked, 0, have - need, nil
	}
	return nil, 0, 0, fmt.Errorf("%w: %d satoshis of %d and a fee of about %d", wallet.ErrInsufficient, have, need, r.fee(weight+weightInput))
}

// signAll makes a transaction and runs every script of it. It does not signal
// that it may be replaced (BIP 125).
func signAll(ins []spend, outs []*wire.TxOut) (*wire.MsgTx, error) {
	tx := wire.NewMsgTx(2)
	fetcher := txscript.NewMultiPrevOutFetcher(nil)
	scripts := make([][]byte, len(ins))
	keys := make([]*btcec.PrivateKey, len(ins))
	for i, in := range ins {
		key, public := btcec.PrivKeyFromBytes(in.key[:])
		defer key.Zero()
		keys[i], scripts[i] = key, scriptOf(public.SerializeCompressed())
		op := in.op
		tx.AddTxIn(&wire.TxIn{PreviousOutPoint: op, Sequence: wire.MaxTxInSequenceNum - 1})
		fetcher.AddPrevOut(op, &wire.TxOut{Value: in.value, PkScript: scripts[i]})
	}
	for _, out := range outs {
		tx.AddTxOut(out)
	}
	hashes := txscript.NewTxSigHashes(tx, fetcher)
	for i, in := range ins {
		witness, err := txscript.WitnessSignature(tx, hashes, i, in.value, scripts[i], txscript.SigHashAll, keys[i], true)
		if err != nil {
			return nil, fmt.Errorf("sign input %d: %w", i, err)
		}
		tx.TxIn[i].Witness = witness
	}
	for i, in := range ins {
		vm, err := txscript.NewEngine(scripts[i], tx, i, txscript.StandardVerifyFlags, nil, hashes, in.value, fetcher)
		if err == nil {
			err = vm.Execute()
		}
		if err != nil {
			return nil, fmt.Errorf("check input %d: %w", i, err)
		}
	}
	return tx, nil
}

func encodeTx(tx *wire.MsgTx) []byte {
	var b bytes.Buffer
	_ = tx.Serialize(&b) // a buffer does not fail
	return b.Bytes()
}

func parseTx(raw []byte) (*wire.MsgTx, error) {
	tx := new(wire.MsgTx)
	return tx, tx.Deserialize(bytes.NewReader(raw))
}

// newKey returns a fresh key and how it stands in its file.
func newKey() (wallet.PrivateKey, []byte, error) {
	for {
		var d wallet.PrivateKey
		if _, err := rand.Read(d[:]); err != nil {
			return d, nil, fmt.Errorf("make the own key: %w", err)
		}
		if _, err := wallet.PublicOf(coin.Secp256k1, d); err == nil {
			return d, append(hex.AppendEncode(nil, d[:]), '\n'), nil
		}
	}
}

func parseKey(text []byte) (wallet.PrivateKey, error) {
	var d wallet.PrivateKey
	text = bytes.TrimSuffix(text, []byte("\n"))
	if len(text) != 2*len(d) {
		return d, fmt.Errorf("own key: %d characters, want %d of hex", len(text), 2*len(d))
	}
	if _, err := hex.Decode(d[:], text); err != nil {
		return wallet.PrivateKey{}, errors.New("own key: not hex")
	}
	if _, err := wallet.PublicOf(coin.Secp256k1, d); err != nil {
		return wallet.PrivateKey{}, fmt.Errorf("own key: %w", err)
	}
	return d, nil
}
