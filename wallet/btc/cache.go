package btc

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// What a view knows from blocks is kept in a file, so that a connector that
// starts again with thousands of addresses has to follow blocks only. Nothing
// depends on the file: without it, or with a damaged one, all is looked up anew.

type cached struct {
	Base    int64                  `json:"base"`
	Known   []chainhash.Hash       `json:"known"`
	Scripts map[string][]cachedOut `json:"scripts"` // by the public key hash, hex
}

type cachedOut struct {
	Tx       chainhash.Hash  `json:"tx"`
	N        uint32          `json:"n"`
	Value    int64           `json:"value"`
	Height   int64           `json:"height"`
	Coinbase bool            `json:"coinbase,omitempty"`
	SpentBy  *chainhash.Hash `json:"spent_by,omitempty"`
	SpentAt  int64           `json:"spent_at,omitempty"`
}

// save writes the file, whole or not at all.
func (v *view) save(path string) error {
	c := cached{Base: v.base, Known: v.known, Scripts: make(map[string][]cachedOut, len(v.scripts))}
	for script, ops := range v.scripts {
		outs := make([]cachedOut, 0, len(ops))
		for _, op := range ops {
			o := v.outs[op]
			out := cachedOut{Tx: op.Hash, N: op.Index, Value: o.value, Height: o.height, Coinbase: o.coinbase}
			if o.spent {
				by := o.spentBy
				out.SpentBy, out.SpentAt = &by, o.spentAt
			}
			outs = append(outs, out)
		}
		c.Scripts[fmt.Sprintf("%x", script[2:])] = outs
	}
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("keep what is known of the chain: %w", err)
	}
	raw := fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(body), body)
	if err := os.WriteFile(path+".new", raw, 0o600); err != nil {
		return fmt.Errorf("keep what is known of the chain: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("keep what is known of the chain: %w", err)
	}
	v.dirty = false
	return nil
}

// restore reads what save wrote. On an error the view is empty.
func (v *view) restore(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	sum, body, ok := bytes.Cut(bytes.TrimSuffix(raw, []byte("\n")), []byte(" "))
	if !ok || string(sum) != fmt.Sprintf("%08x", crc32.ChecksumIEEE(body)) {
		return errors.New("checksum is wrong")
	}
	var c cached
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return err
	}
	v.reset()
	if err := v.enter(c); err != nil {
		v.reset()
		return err
	}
	return nil
}

func (v *view) enter(c cached) error {
	if c.Base < 0 || len(c.Known) == 0 || len(c.Known) > 2*maxKnown || len(c.Scripts) > maxWatched {
		return fmt.Errorf("%d blocks from %d, %d scripts", len(c.Known), c.Base, len(c.Scripts))
	}
	v.known, v.base = c.Known, c.Base
	for hash, outs := range c.Scripts {
		key, err := hex.DecodeString(hash)
		if err != nil || len(key) != 20 {
			return fmt.Errorf("script %.50q", hash)
		}
		script := string(append([]byte{txscript.OP_0, txscript.OP_DATA_20}, key...))
		v.scripts[script] = nil
		for _, o := range outs {
			op := wire.OutPoint{Hash: o.Tx, Index: o.N}
			spent := o.SpentBy != nil
			if o.Value < 0 || o.Value > maxSatoshi || o.Height < 1 || o.Height > v.height() || v.outs[op] != nil ||
				spent && (o.SpentAt < o.Height || o.SpentAt > v.height()) {
				return fmt.Errorf("output %v", op)
			}
			entry := &output{value: o.Value, height: o.Height, coinbase: o.Coinbase, spent: spent}
			if spent {
				entry.spentBy, entry.spentAt = *o.SpentBy, o.SpentAt
			}
			v.outs[op] = entry
			v.scripts[script] = append(v.scripts[script], op)
		}
	}
	return nil
}
