package btc

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"latchkey/wallet"
)

// Whatever coins there are, what pick takes covers outputs, change and a fee of
// at least the rate, and it gives up only if all coins together do not.
func TestPick(t *testing.T) {
	script := scriptOf(nil)
	rapid.Check(t, func(t *rapid.T) {
		var coins []holding
		total := int64(0)
		for i, v := range rapid.SliceOfN(rapid.Int64Range(1, 1_000_000), 0, 30).Draw(t, "coins") {
			coins = append(coins, holding{op: wire.OutPoint{Index: uint32(i)}, value: v, depth: rapid.Uint32Range(0, 2).Draw(t, "depth")})
			total += v
		}
		var outs []*wire.TxOut
		need := int64(0)
		for _, v := range rapid.SliceOfN(rapid.Int64Range(294, 500_000), 1, 10).Draw(t, "payments") {
			outs = append(outs, wire.NewTxOut(v, script))
			need += v
		}
		r := rate(rapid.Int64Range(1000, 200_000).Draw(t, "rate"))
		all := r.fee(weightFrame + int64(len(coins))*weightInput + int64(len(outs))*weightOutput(script))
		picked, change, fee, err := pick(append([]holding(nil), coins...), outs, script, r)
		if err != nil {
			if !errors.Is(err, wallet.ErrInsufficient) {
				t.Fatal(err)
			}
			if total >= need+all {
				t.Fatalf("gave up on %d for %d and a fee of %d", total, need, all)
			}
			return
		}
		have, seen := int64(0), make(map[wire.OutPoint]bool)
		for _, p := range picked {
			have += p.value
			if seen[p.op] {
				t.Fatalf("took %v twice", p.op)
			}
			seen[p.op] = true
		}
		if have != need+change+fee {
			t.Fatalf("in %d, out %d, change %d, fee %d: nothing may be lost", have, need, change, fee)
		}
		weight := weightFrame + int64(len(picked))*weightInput + int64(len(outs))*weightOutput(script)
		if change > 0 {
			weight += weightOutput(script)
		}
		if fee < r.fee(weight) || change != 0 && change < dustOf(script) {
			t.Fatalf("fee %d for weight %d at %d, change %d", fee, weight, r, change)
		}
		if most := r.fee(weight+weightOutput(script)) + dustOf(script); fee > most {
			t.Fatalf("fee %d, more than %d: change was given away", fee, most)
		}
	})
}

// The weight that a fee is computed from is never less than the true one.
func TestWeightIsNoUnderestimate(t *testing.T) {
	d, _, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 2, 10, 253, 300} {
		var ins []spend
		for i := range n {
			ins = append(ins, spend{op: wire.OutPoint{Hash: chainhash.Hash{1}, Index: uint32(i)}, value: 1000, key: d})
		}
		tx, err := signAll(ins, []*wire.TxOut{wire.NewTxOut(500, scriptOf(nil)), wire.NewTxOut(500, scriptOf(nil))})
		if err != nil {
			t.Fatal(err)
		}
		real := int64(tx.SerializeSizeStripped()*3 + tx.SerializeSize())
		computed := weightFrame + int64(n)*weightInput + 2*weightOutput(scriptOf(nil))
		if computed < real || computed > real+int64(3*n)+30 {
			t.Errorf("%d inputs: computed weight %d, real %d", n, computed, real)
		}
	}
}

// Thresholds of Bitcoin Core at its default of 3 satoshis per virtual byte.
func TestDust(t *testing.T) {
	params := &chaincfg.MainNetParams
	for address, want := range map[string]int64{
		"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4":                     294, // BIP 173
		"bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3": 330, // BIP 173
		"bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0": 330, // BIP 350
		"1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH":                             546,
		"3P14159f73E4gFr7JterCCQh9QjiTjiZrG":                             540,
	} {
		script, err := scriptTo(address, params)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if got := dustOf(script); got != want {
			t.Errorf("%s: got dust below %d, want %d", address, got, want)
		}
	}
}

func TestScriptToRefuses(t *testing.T) {
	for name, address := range map[string]string{
		"another network":     "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
		"another, old form":   "mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r",
		"mixed case":          "bc1qW508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
		"upper case":          "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
		"wrong checksum":      "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
		"wrong old checksum":  "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMJ",
		"bech32 for taproot":  "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
		"public key":          "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
		"empty":               "",
		"ethereum":            "0xde0B295669a9FD93d5F28D9Ec85E40f4cb697BAe",
		"litecoin":            "ltc1qw508d6qejxtdg4y5r3zarvary0c5xw7kgmn4n9",
		"space at the end":    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4 ",
		"program of 1 byte":   "bc1rw5uspcuh",
		"program of 41 bytes": "bc10w508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kw5rljs90",
	} {
		if _, err := scriptTo(address, &chaincfg.MainNetParams); !errors.Is(err, wallet.ErrInvalid) {
			t.Errorf("%s: got %v, want invalid", name, err)
		}
	}
}

func TestStoreSurvivesTornLine(t *testing.T) {
	dir := t.TempDir()
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	one := record{Fund: &fundRecord{ID: "a", Request: "r", Tx: signedTx{ID: "t1", Raw: []byte{1}, Fee: 5}}}
	two := record{Sweep: &sweepRecord{ID: "b", Request: "q", Attempts: []attempt{{Tx: signedTx{ID: "t2"}, Keys: []sweptKey{{Public: []byte{2}, Amount: 7}}}}}}
	more := record{Sweep: &sweepRecord{ID: "b", Request: "q", Attempts: []attempt{{Tx: signedTx{ID: "t3"}}}}}
	for _, r := range []record{one, two, more, {Final: "t1"}} {
		if err := s.append(r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openStore(dir); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("opened twice: got %v", err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, storeName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Cut anywhere: what was whole before the cut is there, and appending goes on.
	for cut := range len(whole) + 1 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openStore(dir)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		lines := bytes.Count(whole[:cut], []byte("\n"))
		if _, has := s.funds["a"]; has != (lines >= 1) {
			t.Errorf("cut at %d: fund there is %v after %d lines", cut, has, lines)
		}
		if got, want := len(s.signed), []int{0, 1, 2, 3, 2}[lines]; got != want {
			t.Errorf("cut at %d: got %d transactions on their way, want %d", cut, got, want)
		}
		if cut%50 == 0 {
			if err := s.append(record{Final: "later"}); err != nil {
				t.Fatal(err)
			}
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
			if s, err = openStore(dir); err != nil {
				t.Fatalf("appended after a cut at %d: %v", cut, err)
			}
			if !s.final["later"] {
				t.Errorf("appended after a cut at %d: it is not there", cut)
			}
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
	// Damaged in the middle: refused, with the line.
	damaged := bytes.Clone(whole)
	damaged[bytes.IndexByte(whole, '\n')+20] ^= 1
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(dir); err == nil || !strings.Contains(err.Error(), "damaged at line 2") {
		t.Errorf("damaged: got %v, want line 2 named", err)
	}
}

// A write that fails leaves nothing behind, and says so.
func TestStoreFailedWrite(t *testing.T) {
	dir := t.TempDir()
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	fund := record{Fund: &fundRecord{ID: "a"}}
	file := s.file
	if s.file, err = os.Open(filepath.Join(dir, storeName)); err != nil { // not writable
		t.Fatal(err)
	}
	if err := s.append(fund); err == nil || len(s.funds) != 0 {
		t.Fatalf("append to a file that cannot be written: got %v, %d funds", err, len(s.funds))
	}
	if err := s.append(fund); err == nil || !strings.Contains(err.Error(), "restart the connector") {
		t.Errorf("append after a failure that could not be undone: got %v", err)
	}
	s.file = file
}

func TestOwnKey(t *testing.T) {
	dir := t.TempDir()
	a, err := loadKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := loadKey(dir)
	if err != nil || a != b {
		t.Fatalf("second start: another key, or %v", err)
	}
	path := filepath.Join(dir, keyName)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v, want mode 0600", info.Mode(), err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "short": string(good[1:]), "not hex": "z" + string(good[1:]), "zero": strings.Repeat("0", 64), "above the order": strings.Repeat("f", 64),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadKey(dir)
		if err == nil || strings.Contains(err.Error(), string(good[:64])) {
			t.Errorf("%s: got %v, want an error without the key", name, err)
		}
	}
}

// What save writes, restore reads; damage anywhere is refused, or changes
// nothing that matters, and never panics.
func TestCache(t *testing.T) {
	v := newView(nil, &chaincfg.RegressionNetParams)
	v.known = []chainhash.Hash{{1}, {2}, {3}}
	v.base = 100
	script := string(scriptOf([]byte("key")))
	v.scripts[script], v.scripts[string(scriptOf(nil))] = nil, nil
	tx := wire.NewMsgTx(2)
	tx.AddTxOut(wire.NewTxOut(5000, []byte(script)))
	tx.AddTxOut(wire.NewTxOut(6000, []byte(script)))
	v.apply(tx, 101, true)
	spender := wire.NewMsgTx(2)
	spender.AddTxIn(&wire.TxIn{PreviousOutPoint: wire.OutPoint{Hash: tx.TxHash(), Index: 1}})
	v.apply(spender, 102, false)
	path := filepath.Join(t.TempDir(), "c")
	if err := v.save(path); err != nil {
		t.Fatal(err)
	}
	back := newView(nil, v.params)
	if err := back.restore(path); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(v.outs, back.outs, cmp.AllowUnexported(output{})); d != "" {
		t.Errorf("outputs (-saved +restored):\n%s", d)
	}
	if d := cmp.Diff(v.scripts, back.scripts, cmp.Transformer("len", func(o []wire.OutPoint) string {
		var b strings.Builder
		for _, op := range o {
			b.WriteString(op.String())
		}
		return b.String()
	})); d != "" {
		t.Errorf("scripts (-saved +restored):\n%s", d)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(whole) - 1 {
		bad := bytes.Clone(whole)
		bad[i] ^= 4
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := back.restore(path); err == nil {
			t.Fatalf("byte %d changed: got no error", i)
		}
	}
}

func FuzzRecord(f *testing.F) {
	for _, r := range []record{
		{Fund: &fundRecord{ID: "a", Request: "r", Tx: signedTx{ID: "t1", Raw: []byte{1}, Fee: 5}}},
		{Sweep: &sweepRecord{ID: "b", Attempts: []attempt{{Keys: []sweptKey{{Public: []byte{2}, Amount: 7}}}}}},
		{Final: "t"},
	} {
		line, err := encodeRecord(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line[:len(line)-1])
	}
	f.Add([]byte("00000000 {}"))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := decodeRecord(line)
		if err != nil {
			return
		}
		again, err := encodeRecord(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeRecord(again[:len(again)-1])
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, back); d != "" {
			t.Errorf("read again (-first +second):\n%s", d)
		}
	})
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("listen = \"unix:/x\"\nnetwork = \"regtest\"\n"))
	f.Add([]byte("resend = \"1s\"\n[a]\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if bytes.Contains(raw, []byte("password_file")) {
			return // it would read files
		}
		if _, err := parseConfig(raw, "x.toml"); err == nil {
			t.Error("got no error without a password file")
		}
	})
}
