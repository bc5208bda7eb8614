package devnet

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"latchkey/client"
	"latchkey/escrow"
	"latchkey/gate"
	"latchkey/vault/enclave/config"
)

var (
	heading   = regexp.MustCompile(`(?m)^##+ (.*)$`)
	tomlBlock = regexp.MustCompile("(?ms)^```toml\n(.*?)^```$")
)

// What docs/config.md shows is a configuration: every field in it exists, and the
// limits that it calls the defaults are those.
func TestConfigPage(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "config.md"))
	if err != nil {
		t.Fatal(err)
	}
	var tables gate.Tables
	files := map[string]any{"Vault": &config.File{}, "Client": &client.File{}, "Escrow": &escrow.File{}, "Tables in common": &tables}
	seen := 0
	for _, b := range tomlBlock.FindAllSubmatchIndex(page, -1) {
		var section string
		for _, h := range heading.FindAllSubmatch(page[:b[0]], -1) {
			section = string(h[1])
		}
		v, ok := files[section]
		if !ok {
			continue // the policy, which package policyfile reads
		}
		seen++
		d := toml.NewDecoder(bytes.NewReader(page[b[2]:b[3]]))
		d.DisallowUnknownFields()
		if err := d.Decode(v); err != nil {
			t.Errorf("%s: %v", section, err)
		}
	}
	if seen != len(files) {
		t.Errorf("found %d examples of %d", seen, len(files))
	}
	if err := tables.Resolve("/etc/x.toml"); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(gate.NewGuard(gate.Limits{}, nil).Limits, tables.Limits); d != "" {
		t.Errorf("the defaults (-are +page):\n%s", d)
	}
}
