package btc

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"

	"latchkey/wallet"
)

// A connector of a chain with a pace says of when the newest block is, how old that may be, and whether
// the node has peers; one of regtest says no bound, and needs none.
func TestTip(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name     string
		params   *chaincfg.Params
		age      time.Duration // of the newest block
		peers    int
		insecure bool
		most     int64 // that the connector says
		want     string
	}{
		{"well", &chaincfg.MainNetParams, time.Hour, 8, false, 7200, ""},
		{"stands still", &chaincfg.MainNetParams, 3 * time.Hour, 8, false, 7200, "stands still"},
		{"alone", &chaincfg.SigNetParams, time.Minute, 0, false, 7200, "no peers"},
		{"not looked at", &chaincfg.MainNetParams, 3 * time.Hour, 0, true, 0, ""},
		{"for tests", &chaincfg.RegressionNetParams, 15 * 365 * 24 * time.Hour, 0, false, 0, ""},
	} {
		network := map[*chaincfg.Params]string{&chaincfg.MainNetParams: "main", &chaincfg.SigNetParams: "signet", &chaincfg.RegressionNetParams: "regtest"}[c.params]
		node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var batch []struct {
				ID     any
				Method string
			}
			if err := json.NewDecoder(r.Body).Decode(&batch); err != nil || len(batch) != 1 {
				t.Error(err)
				return
			}
			q := batch[0]
			answer, known := map[string]any{
				"getblockhash":       c.params.GenesisHash.String(),
				"getblockchaininfo":  map[string]any{"blocks": 7, "headers": 7, "bestblockhash": strings.Repeat("ab", 32)},
				"getblockheader":     map[string]any{"time": now.Add(-c.age).Unix()},
				"getconnectioncount": c.peers,
			}[q.Method]
			if !known {
				t.Errorf("the node was asked %q", q.Method)
			}
			_ = json.NewEncoder(w).Encode([]any{map[string]any{"id": q.ID, "result": answer, "error": nil}})
		}))
		defer node.Close()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "password"), []byte("p"), 0o600); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("listen = \"unix:/x\"\ndata = \"d\"\nnode = %q\nnode_user = \"u\"\nnode_password_file = \"password\"\nnetwork = %q\n", node.URL, network)
		if c.insecure {
			text += "insecure_any_tip_age = true\n"
		}
		cfg, err := parseConfig([]byte(text), filepath.Join(dir, "x.toml"))
		if err != nil {
			t.Fatal(err)
		}
		w, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		d, err := w.Describe(t.Context())
		if err != nil || d.Node.TipTime != now.Add(-c.age).Unix() || d.Node.MaxTipAge != c.most {
			t.Errorf("%s: described as %+v, %v", c.name, d.Node, err)
		}
		err = d.Follows(now, 0)
		if (c.want == "") != (err == nil) || err != nil && (!errors.Is(err, wallet.ErrNotFollowing) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestMaxTipAge(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte("p"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		network, field string
		age            time.Duration
		want           string // of the error
	}{
		{"main", "", 2 * time.Hour, ""},
		{"testnet4", "max_tip_age = \"30m\"", 30 * time.Minute, ""},
		{"regtest", "", 0, ""},
		{"regtest", "max_tip_age = \"1h\"", time.Hour, ""},
		{"main", "insecure_any_tip_age = true", 0, ""},
		{"main", "max_tip_age = \"9m\"", 0, "want 10m to 168h"},
		{"main", "max_tip_age = \"169h\"", 0, "want 10m to 168h"},
		{"main", "max_tip_age = \"0s\"", 0, "want 10m to 168h"},
		{"main", "max_tip_age = \"old\"", 0, "max_tip_age: "},
		{"main", "max_tip_age = \"1h\"\ninsecure_any_tip_age = true", 0, "say two things"},
	} {
		text := fmt.Sprintf("listen = \"unix:/x\"\ndata = \"d\"\nnode = \"http://127.0.0.1:1\"\nnode_user = \"u\"\nnode_password_file = \"password\"\nnetwork = %q\n%s\n", c.network, c.field)
		cfg, err := parseConfig([]byte(text), filepath.Join(dir, "x.toml"))
		if c.want == "" && (err != nil || cfg.MaxTipAge != c.age) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s, %s: %v, %v, want %v, %q", c.network, c.field, cfg.MaxTipAge, err, c.age, c.want)
		}
	}
}
