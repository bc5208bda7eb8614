package client

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/event"
	"latchkey/market"
	"latchkey/switchboard"
	"latchkey/wire"
)

// Whatever a program of this machine posts, the client's host answers and does not
// fall over.
func FuzzRequests(f *testing.F) {
	procedures := []string{"Status", "Timeline", "Deposit", "Offer", "Cancel", "Claim", "Say"}
	for i, body := range []string{
		`{}`, `{"after":"18446744073709551615"}`, `{"asset":"btc","usdCents":"-1","weight":4294967295}`,
		`{"give":"btc","want":"eth","usdCents":"18446744073709551615","role":256,"goodFor":"9223372036854775807"}`,
		`{"id":"zz"}`, `{"chunks":["","00"]}`, `{"instance":"00","word":"x","value":"9223372036854775808"}`,
	} {
		f.Add(uint8(i), body)
	}
	log, err := event.NewMemory().Open()
	if err != nil {
		f.Fatal(err)
	}
	h, err := New(f.Context(), Config{Name: "me", Log: log})
	if err != nil {
		f.Fatal(err)
	}
	h.board = switchboard.NewClient("http://127.0.0.1:1", httpClient(), anySigner{})
	handler := Handler(h)
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		if strings.Contains(strings.ToLower(body), "wait") {
			return // that it waits is tested elsewhere
		}
		for _, kind := range []string{"application/json", "application/proto"} {
			r := httptest.NewRequest("POST", "/latchkey.client.v1.ClientService/"+procedures[int(which)%len(procedures)], strings.NewReader(body))
			r.Header.Set("Content-Type", kind)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if strings.Contains(w.Body.String(), "failed inside") {
				t.Errorf("%s %q: %s", r.URL.Path, body, w.Body)
			}
		}
	})
}

func FuzzConfig(f *testing.F) {
	for _, text := range []string{
		"", "name = 7", "poll_ms = -1", "[[wallet]]\nasset = \"\"\n", "name = \"x", "\xff",
		"name = \"a\"\nlisten = \"unix:l\"\ndata = \"d\"\nsocket = \"s\"\nescrow = \"http://h\"\nswitchboard = \"http://h\"\n[[wallet]]\nasset = \"btc\"\nurl = \"unix:w\"\n",
	} {
		f.Add(text)
	}
	path := filepath.Join(f.TempDir(), "client.toml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := ReadFile(path)
		if err == nil {
			_, _ = file.Host(slog.New(slog.DiscardHandler))
		} else if !strings.HasPrefix(err.Error(), "configuration "+path) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// What is kept of a notice has one encoding.
func FuzzNotice(f *testing.F) {
	b, err := encodeNotice(switchboard.Notice{Delivery: market.Delivery{Seq: 1}, Source: []byte("contract")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	if b, err = wire.Marshal(noticeRecord{}); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := decodeNotice(b)
		if err != nil {
			return
		}
		if again, err := encodeNotice(n); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x decodes and encodes again as %x, %v", b, again, err)
		}
	})
}
