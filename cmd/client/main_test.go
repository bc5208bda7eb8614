package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"latchkey/host/hosttest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"client": main})
}

// Scripts find, beside the files of a client's vault, a configuration whose escrow,
// switchboard and wallet are all down.
func TestScripts(t *testing.T) {
	testscript.Run(t, hosttest.Params(t, filepath.Join("testdata", "script"), "owner", func(e *testscript.Env) error {
		text := fmt.Sprintf(`name = "alice"
listen = "unix:client.sock"
data = "data"
socket = "vault.sock"
vault = [%q, "--config", %q]
escrow = "http://127.0.0.1:1"
switchboard = "http://127.0.0.1:1"

[[wallet]]
asset = "btc"
url = "unix:btc.sock"
`, e.Getenv("VAULT"), filepath.Join(e.WorkDir, "vault.toml"))
		return os.WriteFile(filepath.Join(e.WorkDir, "client.toml"), []byte(text), 0o600)
	}))
}
