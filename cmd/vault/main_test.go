package main

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"latchkey/host/hosttest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vault": main})
}

// Scripts find the files of a client's vault.
func TestScripts(t *testing.T) {
	testscript.Run(t, hosttest.Params(t, filepath.Join("testdata", "script"), "owner", func(*testscript.Env) error { return nil }))
}
