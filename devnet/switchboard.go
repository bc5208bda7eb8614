package devnet

import (
	"fmt"
	"path/filepath"
	"strings"
)

// switchboardFile is the switchboard's configuration.
func (w *World) switchboardFile(listen, prices string) (string, error) {
	var b strings.Builder
	q := func(s string) string { return fmt.Sprintf("%q", s) }
	fmt.Fprintf(&b, "listen = %s\ndata = %s\npolicy = %s\n", q(listen), q("data"), q(filepath.Join(w.dir("trust"), "policy.toml")))
	fmt.Fprintf(&b, "contracts = [%s]\n\n[escrow]\nurl = %s\nlog_key = %s\nquorum = 3\nfaulty = 1\nwitnesses = [\n",
		q(filepath.Join(w.cfg.Root, "examples", "swap.latchkey")), q(w.urls["escrow"]), q(w.logKey.String()))
	for _, k := range w.witnesses {
		fmt.Fprintf(&b, "  %s,\n", q(k.String()))
	}
	b.WriteString("]\n")
	return b.String(), nil
}
