package main

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/client/clientpb"
)

// a host that has three chunks, and notes what it was asked to claim.
type fakeHost struct {
	clientpb.UnimplementedClientServiceHandler
	claimed []string
}

func (h *fakeHost) Status(context.Context, *clientpb.StatusRequest) (*clientpb.StatusResponse, error) {
	r := &clientpb.StatusResponse{}
	for _, id := range []string{"aabbccdd00", "aabbccdd11", "00112233aa"} {
		r.Chunks = append(r.Chunks, &clientpb.Chunk{Id: id + strings.Repeat("0", 54), Wait: &clientpb.Wait{}})
	}
	return r, nil
}

func (h *fakeHost) Claim(_ context.Context, r *clientpb.ClaimRequest) (*clientpb.ClaimResponse, error) {
	h.claimed = r.Chunks
	return &clientpb.ClaimResponse{}, nil
}

// A chunk is named by its first digits, eight or more, and never another one is
// claimed than was meant.
func TestClaimByDigits(t *testing.T) {
	h := &fakeHost{}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(clientpb.NewClientServiceHandler(h))
	s := &http.Server{Handler: mux}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	for _, x := range []struct {
		digits string
		want   string // the chunk, or what the error says
		ok     bool
	}{
		{"00112233", "00112233aa" + strings.Repeat("0", 54), true},
		{"aabbccdd11", "aabbccdd11" + strings.Repeat("0", 54), true},
		{"aabbccdd", "more than one begins so", false},
		{"aabbccd", "want eight digits", false},
		{"", "want eight digits", false},
		{"ffffffff", "this client has none", false},
		{"zzzzzzzz", "this client has none", false},
		{"00112233aa" + strings.Repeat("0", 55), "this client has none", false},
	} {
		h.claimed = nil
		var out, talk strings.Builder
		code := run(t.Context(), []string{"claim", "--client", "unix:" + path, x.digits}, &out, &talk)
		if x.ok {
			if diff := cmp.Diff([]string{x.want}, h.claimed); diff != "" || code != 0 {
				t.Errorf("claim %q: status %d, %s", x.digits, code, diff)
			}
		} else if code != 1 || h.claimed != nil || !strings.HasPrefix(talk.String(), "error: ") || !strings.Contains(talk.String(), x.want) || !strings.Contains(talk.String(), "hint: ") {
			t.Errorf("claim %q: status %d, claimed %v, %q, want an error with %q", x.digits, code, h.claimed, talk.String(), x.want)
		}
	}
}

// Who asks a wallet's connector, or for metrics, hears that it is the wrong address.
func TestWrongAddress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.NewServeMux()}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	var out, talk strings.Builder
	code := run(t.Context(), []string{"status", "--client", "unix:" + path}, &out, &talk)
	if code != 1 || !strings.HasPrefix(talk.String(), "error: what listens there is no client's host") || !strings.Contains(talk.String(), "hint: name the address in field listen of client.toml") {
		t.Errorf("status %d, %q", code, talk.String())
	}
}
