package client

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"connectrpc.com/connect"

	"latchkey/escrow"
	"latchkey/event"
	"latchkey/gate"
	"latchkey/wire"
)

// A host waits as long as another side asks for, within a bound, and its usual time
// after any other failure.
func TestAfter(t *testing.T) {
	limit := func(seconds string) error {
		e := connect.NewError(connect.CodeResourceExhausted, errors.New("too often"))
		e.Meta().Set("Retry-After", seconds)
		return fmt.Errorf("send to the escrow: %w", e)
	}
	for _, x := range []struct {
		err  error
		want time.Duration
	}{
		{errors.New("no"), retry}, {limit("7"), 7 * time.Second}, {limit("0"), retry}, {limit("9999999"), maxObeyed}, {limit("soon"), retry}, {limit("-1"), retry},
		{connect.NewError(connect.CodeUnavailable, errors.New("gone")), retry},
	} {
		if got := after(x.err); got != x.want {
			t.Errorf("%v: %v, want %v", x.err, got, x.want)
		}
	}
}

// What a guard answers in front of an escrow, before it comes to the escrow itself,
// is understood alike.
func TestAfterAGuard(t *testing.T) {
	l, err := event.NewMemory().Open()
	if err != nil {
		t.Fatal(err)
	}
	h, err := escrow.NewHost(t.Context(), escrow.HostConfig{Log: l, Origin: "escrow.test/log", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	still := time.Unix(1000, 0)
	g := gate.NewGuard(gate.Limits{AddressRate: 0.2, AddressBurst: 1}, func() time.Time { return still })
	s := httptest.NewServer(g.Handler(escrow.Handler(h), escrow.Stranger))
	defer s.Close()
	c := escrow.NewClient(s.URL, s.Client())
	_, err = c.Peer(t.Context(), wire.VaultID{})
	if got := after(err); got != retry || connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("within the limit: %v, %v", err, got)
	}
	_, err = c.Peer(t.Context(), wire.VaultID{})
	if got := after(err); got != 5*time.Second {
		t.Errorf("over the limit: %v, %v", err, got)
	}
}
