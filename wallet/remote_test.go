package wallet_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/coin"
	"latchkey/gate"
	"latchkey/gate/gatetest"
	"latchkey/wallet"
	"latchkey/wallet/fake"
)

var quiet = slog.New(slog.DiscardHandler)

// A connector on an address that other machines reach lets in who has a certificate
// of the right authority, or the token; nobody else, and nobody without TLS.
func TestRemote(t *testing.T) {
	dir := t.TempDir()
	server, clients := gatetest.New(t, t.TempDir()), gatetest.New(t, t.TempDir())
	_, cert, key := server.Issue(t, "wallet", time.Hour, "127.0.0.2")
	_, mine, mineKey := clients.Issue(t, "alice", time.Hour)
	_, other, otherKey := server.Issue(t, "mallory", time.Hour)
	token, wrong := filepath.Join(dir, "token"), filepath.Join(dir, "wrong")
	write(t, token, strings.Repeat("ab", 32), 0o600)
	write(t, wrong, strings.Repeat("cd", 32), 0o600)
	own := gate.TLS{Cert: cert, Key: key}
	mutual := gate.TLS{Cert: cert, Key: key, ClientCA: clients.CA}
	for _, x := range []struct {
		name  string
		tls   gate.TLS
		asks  string // token file of the connector
		trust gate.Trust
		shows string // token file of the caller
		want  string // of the error; empty: let in
	}{
		{"a certificate", mutual, "", gate.Trust{CA: server.CA, Cert: mine, Key: mineKey}, "", ""},
		{"no certificate", mutual, "", gate.Trust{CA: server.CA}, "", "unreachable"},
		{"a certificate of another authority", mutual, "", gate.Trust{CA: server.CA, Cert: other, Key: otherKey}, "", "unreachable"},
		{"the token", own, token, gate.Trust{CA: server.CA}, token, ""},
		{"another token", own, token, gate.Trust{CA: server.CA}, wrong, "set token_file"},
		{"no token", own, token, gate.Trust{CA: server.CA}, "", "set token_file"},
		{"both, and only the certificate", mutual, token, gate.Trust{CA: server.CA, Cert: mine, Key: mineKey}, "", "set token_file"},
		{"both", mutual, token, gate.Trust{CA: server.CA, Cert: mine, Key: mineKey}, token, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			chain, err := fake.New(fake.Config{Asset: asset, Confirmations: 3, Fee: coin.NewAmount(100), Dust: coin.NewAmount(50)})
			if err != nil {
				t.Fatal(err)
			}
			w := chain.Wallet("alice")
			d, err := wallet.Open("127.0.0.2:0", gate.Tables{TLS: x.tls}, x.asks, quiet)
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- d.Serve(ctx, w) }()
			defer func() {
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}()
			c, err := x.trust.Client(quiet)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseIdleConnections()
			far, err := wallet.DialRemote("https://"+d.Addr().String(), c, x.shows)
			if err != nil {
				t.Fatal(err)
			}
			_, err = far.Describe(t.Context())
			if x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
				t.Errorf("%v, want %q", err, x.want)
			}
		})
	}
}

// What would let strangers in is refused before it is opened.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	a := gatetest.New(t, dir)
	_, cert, key := a.Issue(t, "wallet", time.Hour, "127.0.0.2")
	open, short := filepath.Join(dir, "open"), filepath.Join(dir, "short")
	write(t, open, strings.Repeat("ab", 32), 0o644)
	write(t, short, "secret", 0o600)
	own := gate.TLS{Cert: cert, Key: key}
	for _, x := range []struct {
		address, token string
		tls            gate.TLS
		want           string
	}{
		{"0.0.0.0:0", "", gate.TLS{}, "loopback or a unix socket only"},
		{"0.0.0.0:0", "", gate.TLS{InsecurePlaintext: true}, "loopback or a unix socket only"},
		{"127.0.0.1:0", "", own, "set tls.client_ca or token_file"},
		{"unix:" + dir + "/s", "", own, "needs no tls.cert"},
		{"127.0.0.1:0", open, own, "others can read it"},
		{"127.0.0.1:0", short, own, "at least 32"},
		{"127.0.0.1:0", filepath.Join(dir, "none"), own, "no such file"},
		{"here", "", gate.TLS{}, "want unix:PATH or HOST:PORT"},
	} {
		d, err := wallet.Open(x.address, gate.Tables{TLS: x.tls}, x.token, quiet)
		if err == nil {
			_ = d.Close()
		}
		if err == nil || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", x.address, err, x.want)
		}
	}
	for url, want := range map[string]string{"http://127.0.0.1:1": "https://", "unix:/x": "https://", "https://u:secret@h": "want https"} {
		if _, err := wallet.DialRemote(url, http.DefaultClient, ""); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
