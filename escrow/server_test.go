package escrow

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"connectrpc.com/connect"

	"latchkey/escrow/escrowpb"
	"latchkey/event"
	"latchkey/gate"
	"latchkey/vault/session"
	"latchkey/wire"
)

// Requests of the wrong length or out of range are refused by name, and while the
// vault is not there, callers are told to come again.
func TestServerRefuses(t *testing.T) {
	l, err := event.NewMemory().Open()
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHost(t.Context(), HostConfig{Log: l, Origin: "escrow.test/log"})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(Handler(h))
	defer s.Close()
	c := escrowpb.NewEscrowServiceClient(s.Client(), s.URL)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	id := make([]byte, 32)
	for _, x := range []struct {
		name string
		want connect.Code
		call func() error
	}{
		{"feed of a short id", connect.CodeInvalidArgument, func() error { _, err := c.Feed(ctx, &escrowpb.FeedRequest{Vault: id[1:]}); return err }},
		{"feed of no id", connect.CodeInvalidArgument, func() error { _, err := c.Feed(ctx, &escrowpb.FeedRequest{}); return err }},
		{"feed of a long id", connect.CodeInvalidArgument, func() error { _, err := c.Feed(ctx, &escrowpb.FeedRequest{Vault: append(id, 0)}); return err }},
		{"feed from a negative size", connect.CodeInvalidArgument, func() error { _, err := c.Feed(ctx, &escrowpb.FeedRequest{Vault: id, KnownSize: -1}); return err }},
		{"peer of a short id", connect.CodeInvalidArgument, func() error { _, err := c.Peer(ctx, &escrowpb.PeerRequest{Vault: id[1:]}); return err }},
		{"peer that is unknown", connect.CodeNotFound, func() error { _, err := c.Peer(ctx, &escrowpb.PeerRequest{Vault: id}); return err }},
		{"entries from a negative position", connect.CodeInvalidArgument, func() error { _, err := c.Entries(ctx, &escrowpb.EntriesRequest{From: -1}); return err }},
		{"a lock that is none", connect.CodeInvalidArgument, func() error { _, err := c.Lock(ctx, &escrowpb.LockRequest{Lock: []byte("garbage")}); return err }},
		{"a lock that is too large", connect.CodeResourceExhausted, func() error {
			_, err := c.Lock(ctx, &escrowpb.LockRequest{Lock: bytes.Repeat([]byte{1}, maxMessage+1)})
			return err
		}},
		{"a hello while the vault starts", connect.CodeUnavailable, func() error { _, err := c.Greet(ctx, &escrowpb.GreetRequest{}); return err }},
		{"a frame while the vault starts", connect.CodeUnavailable, func() error { _, err := c.Send(ctx, &escrowpb.SendRequest{}); return err }},
	} {
		if err := x.call(); connect.CodeOf(err) != x.want {
			t.Errorf("%s: %v, want code %s", x.name, err, x.want)
		}
	}
	// No news is an answer, after the wait that was asked for.
	for _, cursor := range []uint64{0, 7, 1 << 63} {
		r, err := c.Feed(ctx, &escrowpb.FeedRequest{Vault: id, Cursor: cursor, WaitMs: 1})
		if err != nil || len(r.Head) != 0 || len(r.Entries) != 0 || r.Cursor != cursor || r.More {
			t.Errorf("feed of an empty log from %d: %+v, %v", cursor, r, err)
		}
	}
	r, err := http.Post(s.URL+"/latchkey.escrow.v1.Nothing/Do", "application/json", bytes.NewReader([]byte("{}")))
	if err != nil || r.StatusCode != http.StatusNotFound {
		t.Errorf("another service: %v, %v", r, err)
	}
}

func TestNewHostRefuses(t *testing.T) {
	l, err := event.NewMemory().Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), 0, event.Block{Events: [][]byte{[]byte("noise")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := NewHost(t.Context(), HostConfig{Log: l}); err == nil {
		t.Error("a host over a log of noise")
	}
}

// A session that asks too often is told when to ask again, before its frame comes to
// the vault; other sessions are not held up by it.
func TestSessionLimit(t *testing.T) {
	l, err := event.NewMemory().Open()
	if err != nil {
		t.Fatal(err)
	}
	still := time.Unix(1000, 0)
	guard := gate.NewGuard(gate.Limits{VaultRate: 0.5, VaultBurst: 1}, func() time.Time { return still })
	h, err := NewHost(t.Context(), HostConfig{Log: l, Origin: "escrow.test/log", Guard: guard})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(Handler(h))
	defer s.Close()
	c := escrowpb.NewEscrowServiceClient(s.Client(), s.URL)
	send := func(id byte) error {
		frame, err := wire.Marshal(session.Frame{Session: [16]byte{id}, Text: []byte("sealed")})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Send(t.Context(), &escrowpb.SendRequest{Frame: frame})
		return err
	}
	if err := send(1); connect.CodeOf(err) != connect.CodeUnavailable { // there is no vault in this test
		t.Errorf("the first: %v", err)
	}
	var limit *connect.Error
	if err := send(1); !errors.As(err, &limit) || limit.Code() != connect.CodeResourceExhausted || limit.Meta().Get("Retry-After") != "2" {
		t.Errorf("the second: %v", err)
	}
	if err := send(2); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("another session: %v", err)
	}
}
