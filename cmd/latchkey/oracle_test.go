package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/keyfile"
)

// An HTTP source is asked at each full interval, which is what the value is signed
// for; when it fails, nothing is signed for that time and it is asked again.
func TestOracleFollowsASource(t *testing.T) {
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked == 1 {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, `{"data":{"price":"19%d.50"}}`, asked)
	}))
	defer srv.Close()
	key := filepath.Join(t.TempDir(), "key")
	var public, out, talk bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := oracleKey(ctx, []string{key}, &public, &talk); err != nil {
		t.Fatal(err)
	}
	err := oracleSign(ctx, []string{"--key", key, "--feed", "gold/usd", "--decimals", "2", "--url", srv.URL, "--pointer", "/data/price", "--every", "1s", "--count", "2"}, &out, &talk)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(talk.String(), "nothing is signed: ") || !strings.Contains(talk.String(), "503") {
		t.Errorf("about the failure it says %q", talk.String())
	}
	var last int64
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, l := range lines {
		var v signedLine
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		if want := int64(19250 + 100*i); v.Value != want || v.Time <= last || v.Key != strings.TrimSpace(public.String()) {
			t.Errorf("line %d is %+v, want the value %d, after %d", i, v, want, last)
		}
		last = v.Time
	}
	if len(lines) != 2 {
		t.Errorf("%d values are signed, want 2", len(lines))
	}
	if _, err := keyfile.Read(key); err != nil {
		t.Error(err)
	}
}
