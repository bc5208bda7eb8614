package eth

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"latchkey/coin"
	"latchkey/wallet"
)

func testSigner() types.Signer { return types.LatestSignerForChainID(big.NewInt(1337)) }

// testTx signs a sweep of all but nothing: value 1,000,000 wei at a price of 10.
func testTx(t testing.TB, scalar byte, nonce uint64, to common.Address, price int64) *written {
	t.Helper()
	key, err := crypto.ToECDSA(append(make([]byte, 31), scalar))
	if err != nil {
		t.Fatal(err)
	}
	tx, err := types.SignNewTx(key, testSigner(), &types.LegacyTx{
		Nonce: nonce, GasPrice: big.NewInt(price), Gas: transferGas, To: &to, Value: big.NewInt(1_000_000),
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := tx.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return &written{tx: tx, raw: raw, sender: crypto.PubkeyToAddress(key.PublicKey)}
}

func TestDecide(t *testing.T) {
	here, elsewhere := common.Address{1}, common.Address{2}
	gas := func(wei int64) price { return price{base: big.NewInt(wei), tip: big.NewInt(2)} }
	old := testTx(t, 7, 0, here, 10) // costs 1,210,000
	cost := old.tx.Cost().Int64()
	for _, test := range []struct {
		name    string
		nonce   uint64
		balance int64
		pending int64
		past    []*written
		others  []*written
		mined   bool
		now     price
		to      common.Address

		keep  bool
		price int64 // of a fresh transaction
		err   error
	}{
		{name: "never funded", now: gas(8), err: wallet.ErrNotFunded},
		{name: "not mined yet", pending: 5, now: gas(8), err: wallet.ErrNotConfirmed},
		{name: "spent by another", nonce: 1, now: gas(8), err: wallet.ErrSpent},
		{name: "spent by another and something on its way", nonce: 1, pending: 5, now: gas(8), err: wallet.ErrSpent},
		{name: "first time", balance: cost, now: gas(8), price: 12},
		{name: "paid again after a spend", nonce: 3, balance: cost, now: gas(8), price: 12},
		{name: "worth exactly the fee", balance: 12 * transferGas, now: gas(8), err: wallet.ErrFeeTooHigh},
		{name: "worth a wei more", balance: 12*transferGas + 1, now: gas(8), price: 12},
		{name: "on its way", balance: cost, past: []*written{old}, others: []*written{old}, now: gas(8), keep: true},
		{name: "on its way by another sweep", balance: cost, others: []*written{old}, now: gas(8), keep: true},
		{name: "on its way to elsewhere", balance: cost, others: []*written{old}, now: gas(8), to: elsewhere, price: 12},
		{name: "on its way, topped up since", balance: cost + 9, past: []*written{old}, others: []*written{old}, now: gas(8), keep: true},
		{name: "too cheap for the next block", balance: cost, past: []*written{old}, others: []*written{old}, now: gas(20), price: 27},
		{
			name: "just too cheap: a tenth more", balance: cost, past: []*written{old}, others: []*written{old},
			now: price{base: big.NewInt(11), tip: new(big.Int)}, price: 13,
		},
		{name: "deposit gone", past: []*written{old}, others: []*written{old}, now: gas(8), err: wallet.ErrNotFunded},
		{name: "deposit smaller after a reorganisation", balance: cost / 2, past: []*written{old}, others: []*written{old}, now: gas(8), price: 12},
		{name: "mined", nonce: 1, past: []*written{old}, others: []*written{old}, mined: true, now: gas(8), keep: true},
		{name: "mined for another sweep, spent for this", nonce: 1, others: []*written{old}, now: gas(8), err: wallet.ErrSpent},
		{name: "a rival was mined", nonce: 1, past: []*written{old}, others: []*written{old}, now: gas(8), err: wallet.ErrSpent},
		{name: "a rival was mined and left some", nonce: 1, balance: cost, past: []*written{old}, others: []*written{old}, now: gas(8), price: 12},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.to == (common.Address{}) {
				test.to = here
			}
			c := &candidate{past: test.past, others: test.others, mined: map[common.Hash]bool{old.tx.Hash(): test.mined}}
			c.sight.nonce = hexutil.Uint64(test.nonce)
			c.sight.balance = hexutil.Big(*big.NewInt(test.balance))
			c.sight.pending = hexutil.Big(*big.NewInt(test.pending))
			got, err := decide(c, test.to, test.now, transferGas)
			if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
				t.Fatalf("error = %v, want %v", err, test.err)
			}
			if (got.keep != nil) != test.keep {
				t.Errorf("kept %v, want %v", got.keep != nil, test.keep)
			}
			if test.price == 0 {
				if got.fresh != nil {
					t.Errorf("made a transaction: %+v", got.fresh)
				}
				return
			}
			if got.fresh.GasPrice.Int64() != test.price || got.fresh.Nonce != test.nonce || *got.fresh.To != test.to {
				t.Errorf("transaction = %+v, want price %d, nonce %d, to %v", got.fresh, test.price, test.nonce, test.to)
			}
			if left := test.balance - types.NewTx(got.fresh).Cost().Int64(); left != 0 {
				t.Errorf("leaves %d wei, want 0", left)
			}
		})
	}
}

func TestFundCap(t *testing.T) {
	now := price{base: big.NewInt(100), tip: big.NewInt(10)} // floor 110, cap 210
	for _, test := range []struct {
		limit int64
		most  uint64
		want  int64 // 0 = fee too high
	}{
		{1000, 210 * 50, 210},
		{1000, 1 << 60, 210},
		{1000, 150*50 + 49, 150},
		{120, 1 << 60, 120},
		{1000, 110 * 50, 110},
		{1000, 110*50 - 1, 0},
		{109, 1 << 60, 0},
		{1000, 0, 0},
	} {
		got, err := fundCap(now, 50, big.NewInt(test.limit), coin.NewAmount(test.most))
		if test.want == 0 {
			if !errors.Is(err, wallet.ErrFeeTooHigh) {
				t.Errorf("fundCap(limit %d, most %d) = %v, %v, want fee too high", test.limit, test.most, got, err)
			}
			continue
		}
		if err != nil || got.Int64() != test.want {
			t.Errorf("fundCap(limit %d, most %d) = %v, %v, want %d", test.limit, test.most, got, err, test.want)
		}
	}
}

func TestAmountsOutOfRange(t *testing.T) {
	most := new(big.Int).Lsh(big.NewInt(1), 128)
	if _, err := toAmount(most); !errors.Is(err, coin.ErrOverflow) {
		t.Errorf("2^128: %v, want overflow", err)
	}
	if _, err := toAmount(big.NewInt(-1)); !errors.Is(err, coin.ErrUnderflow) {
		t.Errorf("-1: %v, want underflow", err)
	}
	most.Sub(most, big.NewInt(1))
	got, err := toAmount(most)
	if err != nil || toBig(got).Cmp(most) != 0 {
		t.Errorf("2^128-1 came back as %v, %v", got, err)
	}
}

func TestJudge(t *testing.T) {
	for text, want := range map[string]verdict{
		"already known":     verdictSent,
		"AlreadyKnown":      verdictSent,
		"Known transaction": verdictSent,
		"nonce too low: next nonce 1, tx nonce 0": verdictNonceTaken,
		"OldNonce":                                    verdictNonceTaken,
		"replacement transaction underpriced":         verdictRival,
		"could not replace existing tx":               verdictRival,
		"transaction underpriced: tip needed 1":       verdictCheap,
		"max fee per gas less than block base fee":    verdictCheap,
		"insufficient funds for gas * price + value:": verdictPoor,
		"txpool is full":                              verdictOther,
		"":                                            verdictOther,
	} {
		if got := judge(&refusal{Code: -32000, Message: text}); got != want {
			t.Errorf("judge(%q) = %d, want %d", text, got, want)
		}
	}
	if got := judge(nil); got != verdictSent {
		t.Errorf("judge of no refusal = %d, want %d", got, verdictSent)
	}
}

func TestParseAddress(t *testing.T) {
	for text, ok := range map[string]bool{
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed":   true, // from ERC-55
		"0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed":   true,
		"0x5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED":   true,
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD":   false,
		"5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed":     false,
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed00": false,
		"0x0000000000000000000000000000000000000000":   false,
		"bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080": false,
		"": false,
	} {
		if _, err := parseAddress(text); (err == nil) != ok || err != nil && !errors.Is(err, wallet.ErrInvalid) {
			t.Errorf("parseAddress(%q): %v, want accepted: %v", text, err, ok)
		}
	}
}

func TestSigningKey(t *testing.T) {
	// The group order n (SEC 2 v2, 2.4.1); G has the private key 1.
	order, err := hex.DecodeString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
	if err != nil {
		t.Fatal(err)
	}
	g, err := hex.DecodeString("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
	if err != nil {
		t.Fatal(err)
	}
	one := wallet.PrivateKey{31: 1}
	if _, err := signingKey(wallet.SweepKey{Private: one, Public: g}); err != nil {
		t.Errorf("the key 1: %v", err)
	}
	minusG := append([]byte{3}, g[1:]...)
	for name, k := range map[string]wallet.SweepKey{
		"zero":        {Public: g},
		"order":       {Private: wallet.PrivateKey(order), Public: g},
		"all ones":    {Private: wallet.PrivateKey(bytes.Repeat([]byte{0xff}, 32)), Public: g},
		"two":         {Private: wallet.PrivateKey{31: 2}, Public: g},
		"other sign":  {Private: one, Public: minusG},
		"not a point": {Private: one, Public: bytes.Repeat([]byte{2}, 33)},
	} {
		_, err := signingKey(k)
		if !errors.Is(err, wallet.ErrWrongKey) {
			t.Errorf("%s: %v, want wrong key", name, err)
			continue
		}
		if text := fmt.Sprintf("%v %+v", err, err); strings.Contains(text, hex.EncodeToString(k.Private[:])) {
			t.Errorf("%s: the error shows the private key", name)
		}
	}
}

func TestKeyFile(t *testing.T) {
	folder := t.TempDir()
	first, err := openKey(folder)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(folder, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode = %04o, want 0600", got)
	}
	second, err := openKey(folder)
	if err != nil {
		t.Fatal(err)
	}
	if !first.Equal(second) {
		t.Error("the key changed")
	}
	for name, break_ := range map[string]func(path string) error{
		"readable by others": func(path string) error { return os.Chmod(path, 0o640) },
		"not hexadecimal":    func(path string) error { return os.WriteFile(path, []byte("7365637265740z"), 0o600) },
		"too short":          func(path string) error { return os.WriteFile(path, []byte("736563726574"), 0o600) },
		"zero":               func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte("0"), 64), 0o600) },
	} {
		folder := t.TempDir()
		if _, err := openKey(folder); err != nil {
			t.Fatal(err)
		}
		if err := break_(filepath.Join(folder, keyFile)); err != nil {
			t.Fatal(err)
		}
		_, err := openKey(folder)
		if err == nil || !strings.Contains(err.Error(), keyFile) || strings.Contains(err.Error(), "736563726574") {
			t.Errorf("%s: error %v, want one that names the file and not its content", name, err)
		}
	}
}

func TestBookSurvivesTornLine(t *testing.T) {
	folder, signer := t.TempDir(), testSigner()
	b, err := openBook(folder, signer)
	if err != nil {
		t.Fatal(err)
	}
	sweep := testTx(t, 7, 0, common.Address{1}, 10)
	fund := testTx(t, 8, 3, common.Address{2}, 10)
	for _, e := range []entry{
		{Chain: &chainEntry{ID: 1337, Genesis: common.Hash{9}}},
		{Fund: &fundEntry{ID: "f", Digest: []byte{1}, Raw: []hexutil.Bytes{fund.raw}}},
		{Sweep: &sweepEntry{ID: "s", Digest: []byte{2}, Raw: []hexutil.Bytes{sweep.raw}}},
		{Sweep: &sweepEntry{ID: "s2", Digest: []byte{3}, Raw: []hexutil.Bytes{sweep.raw}}}, // shared
		{Settled: []common.Hash{sweep.tx.Hash()}},
	} {
		if err := b.write(e, signer); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, bookFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	second := len(lines[0]) + len(lines[1])
	for cut := len(lines[0]); cut <= len(whole); cut += 7 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := openBook(folder, signer)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		txs, err := b.fund("f", []byte{1})
		if err != nil || (len(txs) == 1) != (cut >= second) {
			t.Errorf("cut at %d: funding has %d transactions, %v", cut, len(txs), err)
		}
		if len(txs) == 0 {
			// What was cut off can be written again.
			if err := b.write(entry{Fund: &fundEntry{ID: "f", Digest: []byte{1}, Raw: []hexutil.Bytes{fund.raw}}}, signer); err != nil {
				t.Errorf("cut at %d: %v", cut, err)
			}
		}
		if err := b.close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err = openBook(folder, signer); err != nil {
		t.Fatal(err)
	}
	defer b.close()
	if open := b.unsettled(); len(open) != 1 || open[0].tx.Hash() != fund.tx.Hash() {
		t.Errorf("%d open transactions, want the funding alone", len(open))
	}
	if next, cost := b.reserved(fund.sender, 2); next != 4 || cost.Cmp(fund.tx.Cost()) != 0 {
		t.Errorf("reserved = %d, %v, want 4, %v", next, cost, fund.tx.Cost())
	}
	if next, cost := b.reserved(fund.sender, 4); next != 4 || cost.Sign() != 0 {
		t.Errorf("reserved once mined = %d, %v, want 4, 0", next, cost)
	}
	if _, err := b.fund("f", []byte{9}); !errors.Is(err, wallet.ErrIDReused) {
		t.Errorf("another funding with the id: %v", err)
	}
	if _, err := b.sweep("s", []byte{9}); !errors.Is(err, wallet.ErrIDReused) {
		t.Errorf("another sweep with the id: %v", err)
	}
	if txs, err := b.sweep("s2", []byte{3}); err != nil || len(txs) != 1 || !txs[0].settled.Load() {
		t.Errorf("a shared transaction: %v, %v", txs, err)
	}
}

func TestBookRefusesDamage(t *testing.T) {
	tx := hexutil.Encode(testTx(t, 7, 0, common.Address{1}, 10).raw)
	for name, text := range map[string]string{
		"not JSON":       "x\n",
		"empty line":     "\n",
		"no kind":        "{}\n",
		"two kinds":      `{"chain":{"id":1},"settled":[]}` + "\n",
		"unknown field":  `{"chain":{"id":1,"x":1}}` + "\n",
		"two values":     `{"chain":{"id":1}}{}` + "\n",
		"pinned twice":   `{"chain":{"id":1}}` + "\n" + `{"chain":{"id":1}}` + "\n",
		"bad tx":         `{"fund":{"id":"a","txs":["0x00"]}}` + "\n",
		"twice the fund": `{"fund":{"id":"a","txs":["` + tx + `"]}}` + "\n" + `{"fund":{"id":"a","txs":[]}}` + "\n",
		"changing sweep": `{"sweep":{"id":"a","digest":"0x01","txs":[]}}` + "\n" + `{"sweep":{"id":"a","digest":"0x02","txs":[]}}` + "\n",
		"settled early":  `{"settled":["0x` + strings.Repeat("11", 32) + `"]}` + "\n",
	} {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, bookFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := openBook(folder, testSigner())
		if err == nil {
			t.Errorf("%s: accepted", name)
			b.close()
			continue
		}
		if !strings.Contains(err.Error(), "line ") {
			t.Errorf("%s: error %q does not name the line", name, err)
		}
	}
}

func TestParseConfig(t *testing.T) {
	good := "listen = \"127.0.0.1:0\"\ndata = \"d\"\nnode = \"http://127.0.0.1:8545/KEY\"\nchain_id = 1337\n"
	cfg, err := ParseConfig([]byte(good), "x.toml")
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Listen: "127.0.0.1:0", Data: "d", Node: "http://127.0.0.1:8545/KEY", ChainID: 1337,
		Confirmations: DefaultConfirmations, MaxGwei: DefaultMaxGwei, Resend: DefaultResend,
	}
	if cfg != want {
		t.Errorf("configuration = %+v, want %+v", cfg, want)
	}
	for text, want := range map[string]string{
		good + "confirmatoins = 3\n":                                 `line 5: unknown field "confirmatoins"`,
		good + "confirmations = 0\n":                                 "confirmations is 0",
		good + "confirmations = 97\n":                                "confirmations is 97",
		good + "confirmations = -1\n":                                "line 5",
		good + "max_gwei = 0\n":                                      "max_gwei is 0",
		good + "resend = \"soon\"\n":                                 "resend",
		good + "resend = \"1ns\"\n":                                  "resend is 1ns",
		good + "data = \"e\"\n":                                      "line 5",
		good + "max_tip_age = \"29s\"\n":                             "max_tip_age is 29s",
		good + "max_tip_age = \"169h\"\n":                            "max_tip_age is 169h",
		good + "max_tip_age = \"old\"\n":                             "max_tip_age: ",
		good + "max_tip_age = \"1m\"\ninsecure_any_tip_age = true\n": "say two things",
		strings.Replace(good, "1337", "0", 1):                        "chain_id is missing",
		strings.Replace(good, "http:", "KEY:", 1):                    "node is not a URL",
		strings.Replace(good, "\"d\"", "\"\"", 1):                    "data is missing",
		strings.Replace(good, "\"127.0.0.1:0\"", `""`, 1):            "listen is missing",
		strings.Replace(good, "= \"127.0.0.1:0\"", "=", 1):           "line 1",
	} {
		_, err := ParseConfig([]byte(text), "x.toml")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "KEY") {
			t.Errorf("ParseConfig(%q): %v, want %q", text, err, want)
		}
	}
}

// A chain of development has no bound on the age of its newest block unless one is set;
// any other has, unless it is switched off by name.
func TestMaxTipAge(t *testing.T) {
	for _, c := range []struct {
		chain uint64
		field string
		want  time.Duration
	}{
		{1, "", DefaultMaxTipAge}, {11155111, "max_tip_age = \"1m\"", time.Minute}, {1, "insecure_any_tip_age = true", 0},
		{1337, "", 0}, {31337, "", 0}, {1337, "max_tip_age = \"30s\"", 30 * time.Second},
	} {
		text := fmt.Sprintf("listen = \"127.0.0.1:0\"\ndata = \"d\"\nnode = \"http://127.0.0.1:8545\"\nchain_id = %d\n%s\n", c.chain, c.field)
		if cfg, err := ParseConfig([]byte(text), "x.toml"); err != nil || cfg.MaxTipAge != c.want {
			t.Errorf("chain %d, %q: %v, %v, want %v", c.chain, c.field, cfg.MaxTipAge, err, c.want)
		}
	}
	if _, err := (Config{Data: "d", Node: "http://127.0.0.1:1", ChainID: 1, Confirmations: 1, MaxGwei: 1, Resend: time.Second}).check(); err == nil {
		t.Error("a configuration of mainnet without a bound is taken")
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("listen = \"127.0.0.1:0\"\ndata = \"d\"\nnode = \"http://127.0.0.1\"\nchain_id = 1337\n"))
	f.Add([]byte("chain_id = 18446744073709551615"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		cfg, err := ParseConfig(raw, "x.toml")
		if err != nil {
			return
		}
		if _, err := cfg.check(); err != nil || cfg.Listen == "" {
			t.Errorf("accepted %+v, which is bad: %v", cfg, err)
		}
	})
}

func FuzzBookEntry(f *testing.F) {
	for _, e := range []entry{
		{Chain: &chainEntry{ID: 1, Genesis: common.Hash{1}}},
		{Fund: &fundEntry{ID: "f", Digest: []byte{1}, Raw: []hexutil.Bytes{{1}}}},
		{Sweep: &sweepEntry{ID: "s", Digest: []byte{1}, Raw: []hexutil.Bytes{{1}}}},
		{Settled: []common.Hash{{1}}},
	} {
		line, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := decodeEntry(line)
		if err != nil {
			return
		}
		first, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeEntry(first)
		if err != nil {
			t.Fatalf("its own line %q: %v", first, err)
		}
		if second, err := json.Marshal(again); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%q became %q, %v", first, second, err)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`[{"jsonrpc":"2.0","id":0,"result":"0x1"},{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no"}}]`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"batch too large"}}`))
	f.Add([]byte(`[{"id":1,"result":null},{"id":1,"result":"0x2"}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var number hexutil.Uint64
		var r *receipt
		calls := []*call{{method: "a", result: &number}, {method: "b", result: &r}}
		err := fill(calls, raw)
		if err == nil && !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")) {
			t.Errorf("accepted %q", raw)
		}
	})
}
