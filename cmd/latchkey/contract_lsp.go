package main

import (
	"context"
	"io"
	"os"

	"latchkey/studio/lsp"
)

func contractServe(_ context.Context, args []string, out, _ io.Writer) error {
	f := newFlags("contract lsp", "latchkey contract lsp is a language server: an editor starts it and talks to it over stdin and stdout. It shows what\ncheck says, explains what is under the cursor, and lays contracts out. docs/contracts/editors.md says how to set it up.", out)
	f.Bool("stdio", true, "taken for the sake of editors that say it")
	if _, err := parseMixed(f, args, 0, 0); err != nil {
		return err
	}
	return lsp.Serve(os.Stdin, out)
}
