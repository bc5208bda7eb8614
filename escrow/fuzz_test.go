package escrow

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/event"
	"latchkey/wire"
)

var procedures = []string{"Describe", "Greet", "Send", "Lock", "Feed", "Entries", "Peer", "Post", "Collect"}

// Whatever anybody posts, the escrow's host answers and does not fall over.
func FuzzRequests(f *testing.F) {
	for i, body := range []string{
		`{}`, `{"hello":"AAAA"}`, `{"frame":"AAAA"}`, `{"lock":"oA=="}`, `{"vault":"AAAA","cursor":"-1","knownSize":"9223372036854775807"}`,
		`{"from":"-1","max":4294967295}`, `{"vault":null}`,
		`{"body":"oA==","signature":"AAAA"}`, `{"collect":{"body":"oA=="}}`,
	} {
		f.Add(uint8(i), body)
	}
	l, err := event.NewMemory().Open()
	if err != nil {
		f.Fatal(err)
	}
	h, err := NewHost(f.Context(), HostConfig{Log: l, Origin: "escrow.test/log"})
	if err != nil {
		f.Fatal(err)
	}
	handler := Handler(h)
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		if strings.Contains(strings.ToLower(body), "wait") {
			return // that it waits is tested elsewhere
		}
		for _, kind := range []string{"application/json", "application/proto"} {
			r := httptest.NewRequest("POST", "/latchkey.escrow.v1.EscrowService/"+procedures[int(which)%len(procedures)], strings.NewReader(body))
			r.Header.Set("Content-Type", kind)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if strings.Contains(w.Body.String(), "failed inside") {
				t.Errorf("%s: %s", r.URL.Path, w.Body)
			}
		}
	})
}

// Whatever is in a configuration, it is read or refused by a line that names the
// file.
func FuzzConfig(f *testing.F) {
	for _, text := range []string{
		"", "listen = 7", "quorum = -1", "[[witness]]\nkey = \"\"\n", "listen = \"x", "\xff",
		"listen = \"127.0.0.1:0\"\ndata = \"d\"\nsocket = \"s\"\norigin = \"o\"\nquorum = 1\nfaulty = 0\n[[witness]]\nkey = \"w1.example+78d59c96+BGDtd1S+Wc8OM3PkI7Gtb5H/BU9mpp8C71PX3pmRzCs0\"\nurl = \"http://127.0.0.1:1\"\n",
	} {
		f.Add(text)
	}
	path := filepath.Join(f.TempDir(), "escrow.toml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := ReadFile(path)
		if err == nil {
			file.Host()
		} else if !strings.HasPrefix(err.Error(), "configuration "+path) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// A proof that reads is written as the same bytes, and judged without panic; no
// bytes prove anything under the keys of others.
func FuzzWithheld(f *testing.F) {
	c := newCourt(f)
	raw, err := wire.Marshal(c.proof(c.word(1), 1000, 1001))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	other := newCourt(f).group
	f.Fuzz(func(t *testing.T, b []byte) {
		var w Withheld
		if wire.Unmarshal(b, &w) != nil {
			return
		}
		if again, err := wire.Marshal(w); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("written as %x: %v", again, err)
		}
		if _, err := w.Check(other); err == nil {
			t.Fatal("proven under the keys of others")
		}
	})
}
