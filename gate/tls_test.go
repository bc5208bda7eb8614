package gate_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/gate"
	"latchkey/gate/gatetest"
)

var quiet = slog.New(slog.DiscardHandler)

// serve serves h as t says on an address of this machine until the test ends.
func serve(t *testing.T, address string, tables gate.Tables, h http.Handler) *gate.Listener {
	t.Helper()
	l, err := gate.Listen(address, tables, quiet)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, h) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello "+r.Proto) })

// get calls a URL as trust says; what it returns is the answer or the error.
func get(t *testing.T, trust gate.Trust, url string) string {
	t.Helper()
	c, err := trust.Client(quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	r, err := c.Get(url)
	if err != nil {
		return "error: " + err.Error()
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b)
}

// Whom a caller believes: an authority, or one key; never a name that is not in the
// certificate, a certificate that has expired, or the system's authorities where
// others were named.
func TestWhomACallerBelieves(t *testing.T) {
	dir := t.TempDir()
	ours := gatetest.New(t, dir)
	theirs := gatetest.New(t, t.TempDir())
	leaf, cert, key := ours.Issue(t, "server", time.Hour, "127.0.0.2", "localhost")
	_, oldCert, oldKey := ours.Issue(t, "old", -time.Minute, "127.0.0.2")
	l := serve(t, "127.0.0.2:0", gate.Tables{TLS: gate.TLS{Cert: cert, Key: key}}, hello)
	old := serve(t, "127.0.0.2:0", gate.Tables{TLS: gate.TLS{Cert: oldCert, Key: oldKey}}, hello)
	at := l.Addr().String()
	port := at[strings.LastIndexByte(at, ':'):]
	other := serve(t, "127.0.0.3:0", gate.Tables{TLS: gate.TLS{Cert: cert, Key: key}}, hello)
	for _, x := range []struct {
		name  string
		trust gate.Trust
		url   string
		want  string
	}{
		{"its authority", gate.Trust{CA: ours.CA}, l.URL(), "hello HTTP/2.0"},
		{"another authority", gate.Trust{CA: theirs.CA}, l.URL(), "certificate signed by unknown authority"},
		{"the system's", gate.Trust{}, l.URL(), "certificate signed by unknown authority"},
		{"another name", gate.Trust{CA: ours.CA}, other.URL(), "certificate is valid for 127.0.0.2, not 127.0.0.3"},
		{"expired", gate.Trust{CA: ours.CA}, old.URL(), "certificate has expired"},
		{"its key", gate.Trust{Pins: map[string]string{at: gate.Pin(leaf)}}, l.URL(), "hello HTTP/2.0"},
		{"another key", gate.Trust{CA: ours.CA, Pins: map[string]string{at: "sha256/" + strings.Repeat("A", 43) + "="}}, l.URL(), "another server answers"},
		{"the pin of another place", gate.Trust{CA: theirs.CA, Pins: map[string]string{"127.0.0.9" + port: gate.Pin(leaf)}}, l.URL(), "unknown authority"},
		{"http to a server with TLS", gate.Trust{}, "http://" + at, "Client sent an HTTP request to an HTTPS server"},
	} {
		if got := get(t, x.trust, x.url); !strings.Contains(got, x.want) {
			t.Errorf("%s: %q, want it to contain %q", x.name, got, x.want)
		}
	}
}

// Nothing goes in plain text to another machine, and nothing is opened to others in
// plain text, unless a field that is named for it says so.
func TestPlaintextIsRefused(t *testing.T) {
	for url, want := range map[string]string{
		"http://127.0.0.1:1": "", "http://[::1]:1/": "", "http://localhost:1": "", "https://escrow.example": "",
		"http://escrow.example": "use https", "http://192.0.2.1:80": "use https", "http://0.0.0.0:1": "use https",
		"http://localhost.example:1": "use https", "ftp://escrow.example": "want https", "escrow.example:1": "want https",
		"https://user:secret@escrow.example": "want https", "https://": "want https", "https://escrow.example/?key=secret": "want https",
	} {
		err := (gate.Trust{}).CheckURL(url)
		if got := errorText(err); want == "" && got != "" || !strings.Contains(got, want) || strings.Contains(got, "secret") {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	if err := (gate.Trust{InsecureHTTP: true}).CheckURL("http://escrow.example"); err != nil {
		t.Error(err)
	}
	if got := get(t, gate.Trust{}, "http://192.0.2.1:9/"); !strings.Contains(got, "http to 192.0.2.1 is refused") {
		t.Errorf("a call in plain text: %q", got)
	}
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "[::]:0"} {
		if l, err := gate.Listen(address, gate.Tables{}, quiet); err == nil {
			_ = l.Close()
			t.Errorf("listens on %s without TLS", address)
		} else if !strings.Contains(err.Error(), "tls.cert") {
			t.Errorf("%s: %v", address, err)
		}
	}
	l, err := gate.Listen("0.0.0.0:0", gate.Tables{TLS: gate.TLS{InsecurePlaintext: true}}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A pin that no call would use is refused: it would protect nothing.
func TestPinsAreUsed(t *testing.T) {
	pin := "sha256/" + strings.Repeat("A", 43) + "="
	for at, want := range map[string]string{
		"escrow.example:7201": "", "ESCROW.example:7201": "", "w1.example:443": "", "[::1]:7401": "",
		"escrow.example:7202": "nothing is called", "w1.example:7201": "nothing is called", "127.0.0.1:80": "nothing is called",
	} {
		err := gate.Trust{Pins: map[string]string{at: pin}}.CheckPins("https://Escrow.example:7201", "https://w1.example", "https://[::1]:7401/x", "http://127.0.0.1:80", "unix:/x")
		if got := errorText(err); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", at, got, want)
		}
	}
}

// A caller does not follow a redirect: it would carry a request, and a token,
// wherever a server says.
func TestNoRedirect(t *testing.T) {
	l := serve(t, "127.0.0.1:0", gate.Tables{}, http.RedirectHandler("http://127.0.0.1:1/", http.StatusTemporaryRedirect))
	if got := get(t, gate.Trust{}, l.URL()); !strings.Contains(got, "redirects") {
		t.Errorf("%q", got)
	}
}

// A changed certificate counts from the next connection on, without a restart; one
// that cannot be read does not, and is spoken of once. So do the authorities of
// callers, on both sides.
func TestChangedFiles(t *testing.T) {
	dir := t.TempDir()
	a := gatetest.New(t, dir)
	first, cert, key := a.Issue(t, "server", time.Hour, "127.0.0.1")
	var said bytes.Buffer
	l, err := gate.Listen("127.0.0.1:0", gate.Tables{TLS: gate.TLS{Cert: cert, Key: key}}, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, hello) }()
	leaf := func() string {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return gate.Pin(c.ConnectionState().PeerCertificates[0])
	}
	if got := leaf(); got != gate.Pin(first) {
		t.Errorf("the first certificate is %s", got)
	}
	good, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cert, good[:len(good)/2], 0o600); err != nil { // a copy under way
		t.Fatal(err)
	}
	for range 2 {
		if got := leaf(); got != gate.Pin(first) {
			t.Errorf("with half a file: %s", got)
		}
	}
	second, _, _ := a.Issue(t, "server", time.Hour, "127.0.0.1")
	if got := leaf(); got != gate.Pin(second) {
		t.Errorf("after the change: %s, want %s", got, gate.Pin(second))
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := strings.Count(said.String(), "cannot be read"); n != 1 {
		t.Errorf("said %d times that the file cannot be read:\n%s", n, &said)
	}
}

// With client_ca a server answers those alone who have a certificate of it, as it
// is now.
func TestClientCertificates(t *testing.T) {
	server, clients, strangers := gatetest.New(t, t.TempDir()), gatetest.New(t, t.TempDir()), gatetest.New(t, t.TempDir())
	_, cert, key := server.Issue(t, "server", time.Hour, "127.0.0.1")
	_, mine, mineKey := clients.Issue(t, "alice", time.Hour)
	_, foreign, foreignKey := strangers.Issue(t, "mallory", time.Hour)
	list := filepath.Join(t.TempDir(), "clients.pem")
	copyFile(t, clients.CA, list)
	l := serve(t, "127.0.0.1:0", gate.Tables{TLS: gate.TLS{Cert: cert, Key: key, ClientCA: list}}, hello)
	alice := gate.Trust{CA: server.CA, Cert: mine, Key: mineKey}
	mallory := gate.Trust{CA: server.CA, Cert: foreign, Key: foreignKey}
	if got := get(t, alice, l.URL()); got != "hello HTTP/2.0" {
		t.Errorf("alice: %q", got)
	}
	for name, trust := range map[string]gate.Trust{"nobody": {CA: server.CA}, "mallory": mallory} {
		if got := get(t, trust, l.URL()); !strings.HasPrefix(got, "error: ") {
			t.Errorf("%s: %q", name, got)
		}
	}
	copyFile(t, strangers.CA, list)
	if got := get(t, mallory, l.URL()); got != "hello HTTP/2.0" {
		t.Errorf("after the change, mallory: %q", got)
	}
	if got := get(t, alice, l.URL()); !strings.HasPrefix(got, "error: ") {
		t.Errorf("after the change, alice: %q", got)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to+".new", append(b, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(to+".new", to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What is wrong in the tables is refused by the name of the field.
func TestTablesRefuse(t *testing.T) {
	for want, x := range map[string]gate.Tables{
		"tls: cert and key go together":       {TLS: gate.TLS{Cert: "a"}},
		"tls.client_ca needs tls.cert":        {TLS: gate.TLS{ClientCA: "a"}},
		"contradict each other":               {TLS: gate.TLS{Cert: "a", Key: "b", InsecurePlaintext: true}},
		"trust: cert and key go together":     {Trust: gate.Trust{Key: "a"}},
		`trust.pins: "escrow": want`:          {Trust: gate.Trust{Pins: map[string]string{"escrow": ""}}},
		"is no pin":                           {Trust: gate.Trust{Pins: map[string]string{"escrow:1": "sha256/AA=="}}},
		"limits.address_rate is -1":           {Limits: gate.Limits{AddressRate: -1}},
		"limits.request_seconds is 5":         {Limits: gate.Limits{RequestSeconds: 5}},
		`admin.listen "0.0.0.0:1": other`:     {Admin: gate.Admin{Listen: "0.0.0.0:1"}},
		`admin.listen "here": want`:           {Admin: gate.Admin{Listen: "here"}},
		`log.format "xml": want text or json`: {Log: gate.Log{Format: "xml"}},
		`log.level "loud": want`:              {Log: gate.Log{Level: "loud"}},
	} {
		if err := x.Resolve("x.toml"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	ok := gate.Tables{TLS: gate.TLS{Cert: "c.pem", Key: "/k.pem"}, Admin: gate.Admin{Listen: "0.0.0.0:1", InsecureListen: true}}
	if err := ok.Resolve("/etc/x/y.toml"); err != nil || ok.TLS.Cert != "/etc/x/c.pem" || ok.TLS.Key != "/k.pem" {
		t.Errorf("%v, %+v", err, ok.TLS)
	}
}
