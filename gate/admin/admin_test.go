package admin_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/gate"
	"latchkey/gate/admin"
)

// An operator reads whether a process is alive, whether it is ready and if not why,
// and its figures in the form of Prometheus.
func TestHandler(t *testing.T) {
	var why []string
	var timing gate.Timing
	timing.Observe(30 * time.Millisecond)
	timing.Observe(time.Minute)
	h := admin.Handler(admin.Role{
		Name: "escrow", Data: t.TempDir(), Reasons: func() []string { return why },
		Figures: func() []gate.Figure {
			return []gate.Figure{
				{Name: "log_entries", Help: "Entries.", Value: 7},
				{Name: "refused_total", Help: "Refused.", Value: 2, Count: true, Label: "limit", Of: `a"b`},
				{Name: "refused_total", Help: "Refused.", Value: 3, Count: true, Label: "limit", Of: "address"},
				{Name: "cosign_seconds", Help: "Cosign.", Timing: &timing},
			}
		},
	})
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	if status, body := get("/healthz"); status != 200 || body != "escrow is alive\n" {
		t.Errorf("healthz: %d %q", status, body)
	}
	if status, body := get("/readyz"); status != 200 || body != `{"ready":true,"reasons":[],"role":"escrow"}`+"\n" {
		t.Errorf("readyz: %d %q", status, body)
	}
	_, body := get("/metrics")
	for _, want := range []string{
		"# TYPE latchkey_log_entries gauge\nlatchkey_log_entries 7\n", "# TYPE latchkey_refused_total counter\n", `latchkey_refused_total{limit="a\"b"} 2`,
		`latchkey_refused_total{limit="address"} 3`, `latchkey_cosign_seconds_bucket{le="0.025"} 0`, `latchkey_cosign_seconds_bucket{le="0.05"} 1`,
		`latchkey_cosign_seconds_bucket{le="+Inf"} 2`, "latchkey_cosign_seconds_count 2", "latchkey_ready 1\n", "go_goroutines ", "latchkey_disk_free_bytes ",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %q:\n%s", want, body)
		}
	}
	why = []string{"no quorum"}
	if status, body := get("/readyz"); status != 503 || !strings.Contains(body, `"reasons":["no quorum"]`) {
		t.Errorf("readyz: %d %q", status, body)
	}
	if _, body := get("/metrics"); !strings.Contains(body, "latchkey_ready 0\n") {
		t.Errorf("metrics say that it is ready:\n%s", body)
	}
	if status, _ := get("/debug/pprof/"); status != 404 {
		t.Errorf("debug/pprof: %d", status)
	}
}

// Without an address there is nothing to reach; with one it is served until the
// end, on a Unix socket too.
func TestRun(t *testing.T) {
	role := admin.Role{Name: "witness", Data: t.TempDir(), Reasons: func() []string { return nil }, Figures: func() []gate.Figure { return nil }}
	for _, listen := range []string{"", "unix:" + filepath.Join(t.TempDir(), "s")} {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- admin.Run(ctx, gate.Admin{Listen: listen}, role, slog.New(slog.DiscardHandler)) }()
		if path, ok := strings.CutPrefix(listen, "unix:"); ok {
			c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				for {
					c, err := new(net.Dialer).DialContext(ctx, "unix", path)
					if err == nil || ctx.Err() != nil {
						return c, err
					}
				}
			}}}
			r, err := c.Get("http://admin/readyz")
			if err != nil {
				t.Fatal(err)
			}
			raw, err := io.ReadAll(r.Body)
			if err != nil || !json.Valid(raw) {
				t.Errorf("%v, %q", err, raw)
			}
			r.Body.Close()
			c.CloseIdleConnections()
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
