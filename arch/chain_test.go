package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"strings"
	"unicode"

	"golang.org/x/mod/modfile"
)

// chainWords are the words by which code shows that it knows one chain: names of
// chains and coins, of what is in their transactions, of their addresses, ids
// and node software. They are looked for word by word, so that "methods" is not
// taken for "eth".
var chainWords = wordSet(`
	bitcoin ethereum ether litecoin dogecoin monero solana cardano polkadot
	satoshi satoshis sats wei gwei piconero lamport lamports
	btc eth ltc xmr sol doge usdc usdt dai
	utxo utxos outpoint outpoints txout txin scriptpubkey psbt mempool sighash
	segwit taproot p2pkh p2wpkh p2wsh p2sh p2tr bech32 base58 wif
	eip155 bip122 erc20 eip1559 keccak keccak256 rlp evm eoa basefee chainid
	btcd btcutil geth bitcoind lnd electrum regtest simnet signet sepolia holesky
`)

// chainModules are libraries that know a chain, by the beginning of their paths.
var chainModules = []string{
	"github.com/btcsuite/", "github.com/ethereum/", "github.com/lightning", "github.com/decred/dcrd/txscript", "github.com/decred/dcrd/wire",
	"github.com/ltcsuite/", "github.com/gcash/", "github.com/gagliardetto/", "github.com/monero", "github.com/consensys/", "github.com/crate-crypto/",
	"github.com/holiman/uint256", "golang.org/x/crypto/sha3", "golang.org/x/crypto/ripemd160", "crypto/sha3",
}

// knowers is where chains are known: the connectors, the fake one, what tests
// them, and the local nodes. The common interface of wallets knows none.
const knowers = "wallet/btc/... wallet/eth/... wallet/fake wallet/wallettest devnet/..."

// A leave lets some files use some of chainWords.
type leave struct {
	files  string // patterns of paths or folders
	words  string // or "*"
	within string // "comment", or "any": strings and comments, never names
	why    string
}

// leaves are the exceptions: an asset's id is configuration, and a person has
// to see an example of it somewhere.
var leaves = []leave{
	{"coin/... rate/... wallet wallet/walletpb", "*", "comment", "an example in a doc comment says what a field looks like"},
	{"sim/...", "btc eth xmr sol", "any", "names of assets in a simulated world without chains"},
	{"rival", "evm ethereum", "comment", "the machines that contracts are measured beside have names; only tests use them"},
	{"cmd/latchkey/...", "btc eth usdc bitcoin ethereum btcd geth regtest", "any", "the demo's story and the user's help are about coins that people know"},
}

// chains holds the knowledge of chains in the connectors.
func chains(t *tree) (findings []string) {
	for _, f := range t.files {
		if f.test || matches(f.dir, knowers) || f.dir == "arch" {
			continue
		}
		for _, path := range f.imports() {
			for _, m := range chainModules {
				if strings.HasPrefix(path+"/", m) || path == m {
					findings = append(findings, fmt.Sprintf("%s imports %s: only connectors and local nodes know a chain", f.path, path))
				}
			}
		}
		seen := make(map[string]bool) // one finding for a word in a file
		look := func(at token.Pos, text, kind string) {
			for _, w := range split(text) {
				if !chainWords[w] || seen[w] || spared(f, w, kind) {
					continue
				}
				seen[w] = true
				findings = append(findings, fmt.Sprintf("%s has %q in a %s: only connectors and local nodes know a chain", f.at(at), w, kind))
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ImportSpec:
				return false
			case *ast.Ident:
				look(n.Pos(), n.Name, "name")
			case *ast.BasicLit:
				if n.Kind == token.STRING {
					look(n.Pos(), n.Value, "string")
				}
			}
			return true
		})
		for _, group := range f.ast.Comments {
			for _, c := range group.List {
				look(c.Pos(), c.Text, "comment")
			}
		}
	}
	return append(findings, chainRequirements(t)...)
}

// chainRequirements holds chain libraries out of the root module, whose
// requirements are those of the trusted binary.
func chainRequirements(t *tree) (findings []string) {
	mod, err := readMod(t, "go.mod")
	if err != nil {
		return []string{err.Error()}
	}
	for _, r := range mod.Require {
		for _, m := range chainModules {
			if strings.HasPrefix(r.Mod.Path+"/", m) {
				findings = append(findings, fmt.Sprintf("go.mod requires %s: libraries that know a chain belong to the modules of connectors and nodes", r.Mod.Path))
			}
		}
	}
	return findings
}

func spared(f *file, word, kind string) bool {
	for _, l := range leaves {
		if (matches(f.dir, l.files) || matches(f.path, l.files)) && (l.words == "*" || matches(word, l.words)) &&
			(kind == "comment" || l.within == "any" && kind == "string") {
			return true
		}
	}
	return false
}

func wordSet(s string) map[string]bool {
	set := make(map[string]bool)
	for _, w := range strings.Fields(s) {
		set[w] = true
	}
	return set
}

// split returns the words of a name or a text in lower case, cut where letters
// and digits end and at capitals: "newBTCNode(eip155:1)" has new, btc, node,
// eip155, 1. A name is returned whole as well, so that "ChainID" is chainid.
func split(s string) []string {
	var all []string
	whole := strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	for _, w := range whole {
		rs := []rune(w)
		from := 0
		for i := 1; i < len(rs); i++ {
			small := unicode.IsUpper(rs[i]) && !unicode.IsUpper(rs[i-1])
			last := i+1 < len(rs) && unicode.IsUpper(rs[i]) && unicode.IsUpper(rs[i-1]) && unicode.IsLower(rs[i+1])
			if small || last {
				all = append(all, strings.ToLower(string(rs[from:i])))
				from = i
			}
		}
		all = append(all, strings.ToLower(string(rs[from:])))
		if from > 0 {
			all = append(all, strings.ToLower(w))
		}
	}
	return all
}

func readMod(t *tree, path string) (*modfile.File, error) {
	data, err := fsRead(t, path)
	if err != nil {
		return nil, err
	}
	return modfile.Parse(path, data, nil)
}
