package arch

import (
	"fmt"
	"strings"
)

// A row says what the packages of a folder may import: the folder's own, and
// those below it that have no row of their own. Patterns are those of matches.
type row struct {
	own   string // of this repository, by folder; what is below the row's folder is always allowed
	other string // of other modules, by import path
	tests string // of both, in test files only
	kit   bool   // exists for tests: only tests and other kits import it
	alone bool   // imports the standard library and nothing else, tests as well
	why   string // the end of a finding
}

const (
	trusted  = "coin wire key head attest contract contract/oracle settle vault"
	asShells = "a shell may import the trusted cores and the shells that it is built on"
	rpc      = "connectrpc.com/connect google.golang.org/protobuf/..."
)

// Imports point one way: coin < wire < key, head, attest, contract, settle < vault,
// and coin, wire, contract, settle < market. Nothing that holds a secret sees a wallet, the
// market, a network protocol or a database.
var rows = map[string]row{
	"coin":     {why: "coin is the bottom: it imports nothing of the project"},
	"wire":     {own: "coin", other: "github.com/fxamacker/cbor/v2", why: "wire stands on coin alone"},
	"key":      {own: "coin wire", other: "filippo.io/edwards25519 github.com/decred/dcrd/dcrec/secp256k1/v4", tests: "golang.org/x/mod/sumdb/tlog", why: "key stands on coin, wire and one library for each curve"},
	"head":     {own: "coin wire", other: "golang.org/x/mod/sumdb/note golang.org/x/mod/sumdb/tlog", why: "head stands on coin, wire and the formats of transparency logs"},
	"attest":   {own: "coin wire", why: "attest decides by policy; what a platform looks like is said in packages below it"},
	"contract": {own: "coin wire", tests: "spec/vectors", why: "contract counts in units and knows no key, chunk or log"},
	"settle":   {why: "settle is arithmetic on agreed numbers: it imports nothing"},
	"vault":    {own: "coin wire key head attest contract contract/oracle settle", tests: "vault/session escrow golang.org/x/mod/sumdb/tlog", why: "vault decides about custody: it imports the trusted packages below it and nothing that could tell it what to want"},

	"contract/oracle": {own: "wire", other: "filippo.io/edwards25519", tests: "spec/vectors", why: "what an oracle signs stands on wire, and its keys on their curve"},

	"tomlfile": {other: "github.com/pelletier/go-toml/v2", why: "it reads TOML, and knows nothing of what stands there"},

	"attest/platform":   {own: "attest/...", why: "it lists the verifiers of a build"},
	"attest/policyfile": {own: "attest tomlfile wire", other: "github.com/pelletier/go-toml/v2", why: "it reads and writes a policy and nothing else"},
	"attest/sim":        {own: "attest attest/platform wire", tests: "attest/policyfile", why: "a platform knows the words of attest and no other part of the project"},
	"attest/attesttest": {own: "attest wire", kit: true, why: "it tests platforms"},

	"vault/session":        {own: trusted, why: "a session is part of the vault"},
	"vault/enclave":        {own: trusted + " vault/session attest/platform", tests: "escrow golang.org/x/mod/sumdb/tlog", why: "the enclave is what is trusted, and all that is in it: no wallet, market, log engine or RPC"},
	"vault/enclave/config": {own: trusted + " attest/policyfile tomlfile vault/enclave", why: "it reads the vault's configuration"},
	"cmd/vault":            {own: trusted + " attest/... vault/...", why: "the trusted binary is built from trusted packages alone"},

	"market": {own: "coin wire contract settle", why: "the market proposes and holds no share: it has no business with keys, vaults or logs"},

	"keyfile":  {why: "a key file is the same for whoever signs"},
	"feed":     {own: "contract/oracle", why: "an oracle's operator knows values and keys, and nothing of who uses them"},
	"studio":   {own: "contract examples", other: "golang.org/x/image/...", why: "the tools around the contract language know contracts and nothing of custody"},
	"actus":    {own: "contract studio/figures", why: "contracts of a taxonomy are written in the language, and nothing trusted knows of it"},
	"examples": {why: "the examples are texts"},

	"event":           {own: "wire head", other: "golang.org/x/mod/sumdb/tlog", why: "the log stores bytes and does not know what they mean"},
	"event/disk":      {own: "event", other: "github.com/cockroachdb/pebble/v2 github.com/cockroachdb/pebble/v2/...", why: "an engine stores blocks"},
	"event/eventtest": {own: "event head", kit: true, why: "it tests engines"},
	"event/witness":   {own: "event gate head wire", other: "golang.org/x/mod/sumdb/note golang.org/x/mod/sumdb/tlog", tests: "event/disk", why: "a witness sees heads and proofs, never what is in a log"},

	"event/witness/config": {own: "gate head tomlfile", why: "it reads a witness's configuration"},

	"gate":          {other: "", why: "a gate knows networks, and nothing of what passes through"},
	"gate/admin":    {own: "gate", other: "github.com/prometheus/client_golang/prometheus/...", why: "it shows figures"},
	"gate/gatetest": {kit: true, why: "it makes certificates for tests"},

	"wallet":            {own: "coin gate", other: rpc + " filippo.io/edwards25519 github.com/decred/dcrd/dcrec/secp256k1/v4", why: "a wallet knows coins and keys, and nothing of contracts, vaults or the market"},
	"wallet/fake":       {own: "coin wallet", why: "it is a wallet like the others"},
	"wallet/wallettest": {own: "coin wallet wallet/fake", kit: true, why: "it tests connectors"},
	"wallet/btc":        {own: "coin gate tomlfile wallet", other: "*", tests: "devnet/...", why: "a connector knows the common interface of wallets and no other part of the project"},
	"wallet/eth":        {own: "coin gate tomlfile wallet", other: "*", tests: "devnet/...", why: "a connector knows the common interface of wallets and no other part of the project"},
	"rate":              {own: "coin tomlfile", tests: "github.com/pelletier/go-toml/v2", why: "a rate is about coins and dollars"},

	"host":          {own: trusted + " vault/... attest/... event/... gate/... tomlfile", why: asShells},
	"host/hosttest": {own: "head attest attest/policyfile attest/sim", kit: true, why: "it tests the commands of hosts"},
	"escrow":        {own: trusted + " vault/... attest/... event/... gate host", other: rpc, tests: "golang.org/x/mod/sumdb/...", why: asShells + "; the escrow knows no wallet and no market"},
	"switchboard":   {own: trusted + " vault/... attest/... event/... gate host market rate wallet escrow/...", other: rpc, tests: "golang.org/x/mod/sumdb/...", why: asShells},
	"client":        {own: trusted + " vault/... attest/... event/... gate host market rate wallet escrow/... switchboard/... examples studio/figures studio/play", other: rpc, why: asShells},
	"doctor":        {own: trusted + " vault/... attest/... event/... gate host market rate wallet escrow/... switchboard/... client tomlfile", why: "the doctor reads configurations and asks peers"},
	"sim":           {own: trusted + " market rate vault/session escrow event wallet wallet/fake", other: "golang.org/x/mod/sumdb/...", why: "the simulation drives the machines themselves, in one process without network and disk"},

	"rival": {tests: "contract github.com/ethereum/go-ethereum/... github.com/holiman/uint256 github.com/tetratelabs/wazero github.com/tetratelabs/wazero/...", why: "it measures the contract language beside other machines, in tests alone"},

	"cmd":          {own: "*", other: "*", why: "a command may import everything"},
	"devnet":       {own: "*", other: "*", why: "it starts everything"},
	"devnet/btc":   {own: "coin wallet wallet/btc/... devnet", other: "*", why: "a node is outside the project"},
	"devnet/eth":   {other: "*", why: "a node is outside the project"},
	"tools":        {other: "*", why: "tools know nothing of what they are used on"},
	"arch":         {other: "golang.org/x/mod/...", why: "it reads the project, and uses none of it"},
	"spec/vectors": {kit: true, why: "it is for the tests of all packages"},

	"spec/independent": {alone: true, why: "it proves that the pages suffice: it reads them and the vectors, and nothing of this project"},
}

// kits are the libraries of other modules that only tests and kits import.
const kits = "testing testing/... github.com/google/go-cmp/... pgregory.net/rapid github.com/rogpeppe/go-internal/..."

// rowOf returns the row for a folder: its own or that of the nearest one above.
func rowOf(dir string) (at string, r row, ok bool) {
	for at = dir; ; {
		if r, ok = rows[at]; ok {
			return at, r, true
		}
		i := strings.LastIndexByte(at, '/')
		if i < 0 {
			return "", row{}, false
		}
		at = at[:i]
	}
}

// arrows holds every import of every file to the table.
func arrows(t *tree) (findings []string) {
	for _, f := range t.files {
		at, r, ok := rowOf(f.dir)
		if !ok {
			findings = append(findings, fmt.Sprintf("%s: folder %s has no row in arch's table of imports: give it one", f.path, f.dir))
			continue
		}
		for _, path := range f.imports() {
			if !permitted(f, at, r, path) {
				findings = append(findings, fmt.Sprintf("%s imports %s: %s", f.path, path, r.why))
			}
		}
	}
	return findings
}

func permitted(f *file, at string, r row, path string) bool {
	if first, _, _ := strings.Cut(path, "/"); r.alone {
		return first != "latchkey" && !strings.Contains(first, ".")
	}
	if path == "latchkey" || strings.HasPrefix(path, "latchkey/") {
		dir := strings.TrimPrefix(path, "latchkey/")
		to, target, _ := rowOf(dir)
		switch {
		case dir == f.dir || to == at: // its own package, from an external test, and what is below it
			return true
		case target.kit:
			return f.test || r.kit
		}
		return matches(dir, r.own) || f.test && (matches(dir, r.tests) || matches(dir, "wallet/fake attest/sim attest/platform"))
	}
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") || // the standard library: see purity
		matches(path, r.other) || matches(path, kits) || f.test && matches(path, r.tests)
}

// testTools holds libraries and packages for tests out of everything else.
func testTools(t *tree) (findings []string) {
	for _, f := range t.files {
		if _, r, _ := rowOf(f.dir); f.test || r.kit {
			continue
		}
		for _, path := range f.imports() {
			if matches(path, kits) {
				findings = append(findings, fmt.Sprintf("%s imports %s: what is for tests stays in tests", f.path, path))
			}
		}
	}
	return findings
}
