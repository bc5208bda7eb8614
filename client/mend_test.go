package client

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"latchkey/escrow"
	"latchkey/switchboard"
	"latchkey/wallet"
)

// Whoever cannot be reached is named, with the field that says where it is asked; an
// error that has another reason is left as it is.
func TestMend(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := "http://" + l.Addr().String()
	l.Close()
	_, noEscrow := escrow.NewClient(down, toward{who: "the escrow", field: "escrow"}.on(httpClient())).Describe(t.Context())
	_, noBoard := switchboard.NewClient(down, toward{who: "the switchboard", field: "switchboard"}.on(httpClient()), anySigner{}).Describe(t.Context())
	noWallet := fmt.Errorf("btc: %w", wallet.ErrUnreachable)
	for _, c := range []struct {
		err        error
		who, field string
	}{
		{noEscrow, "is the escrow running", `field "escrow" of client.toml`},
		{noBoard, "is the switchboard running", `field "switchboard" of client.toml`},
		{noWallet, "are the wallet's connector and its node running", "url in its [[wallet]] of client.toml"},
		{errors.New("no"), "no", ""},
		{wallet.ErrNotFunded, wallet.ErrNotFunded.Error(), ""},
	} {
		if c.err == nil {
			t.Fatalf("nothing fails where it is asked %s", c.who)
		}
		got := mend(c.err)
		if !errors.Is(got, c.err) || !strings.Contains(got.Error(), c.who) || !strings.Contains(got.Error(), c.field) {
			t.Errorf("%v, want %q and %q", got, c.who, c.field)
		}
		if c.field == "" && got != c.err {
			t.Errorf("%v is mended to %v", c.err, got)
		}
		w.problem("test", c.err)
		if w.problems["test"] != got.Error() {
			t.Errorf("the problem is told as %q", w.problems["test"])
		}
	}
}
