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
	testscript.Main(m, map[string]func(){"escrow": main})
}

// Scripts find, beside the files of an escrow's vault, a configuration for any
// free port, whose witness is down.
func TestScripts(t *testing.T) {
	testscript.Run(t, hosttest.Params(t, filepath.Join("testdata", "script"), "escrow", func(e *testscript.Env) error {
		text := fmt.Sprintf(`listen = "127.0.0.1:0"
data = "data"
socket = "vault.sock"
vault = [%q, "--config", %q]
origin = %q
quorum = 1
faulty = 0

[[witness]]
key = %q
url = "http://127.0.0.1:1"
`, e.Getenv("VAULT"), filepath.Join(e.WorkDir, "vault.toml"), hosttest.Origin, e.Getenv("WITNESS"))
		return os.WriteFile(filepath.Join(e.WorkDir, "escrow.toml"), []byte(text), 0o600)
	}))
}
