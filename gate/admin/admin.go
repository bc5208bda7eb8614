// Package admin serves a process's health and figures to its operator: /healthz,
// /readyz and /metrics, on an address of its own.
package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"latchkey/gate"
)

// A Role is a process as its operator sees it. Its functions are called at each
// request, from any goroutine, and answer at once.
type Role struct {
	Name    string               // escrow, switchboard, witness, client
	Data    string               // the folder whose disk must not be full
	Reasons func() []string      // why it is not ready; empty: it is
	Figures func() []gate.Figure // what it counts
}

// lowSpace is the free space under which a process is no longer called ready: it
// leaves time to act before a write fails.
const lowSpace = 256 << 20

// why are all reasons why a role is not ready.
func (r Role) why() []string {
	out := append([]string{}, r.Reasons()...)
	if free, known := gate.Free(r.Data); known && free < lowSpace {
		out = append(out, fmt.Sprintf("%d MiB are free under %s; below %d MiB a write may fail soon, and then the process ends", free>>20, r.Data, lowSpace>>20))
	}
	return out
}

// Handler serves a role's health and figures.
func Handler(r Role) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collector{r})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintf(w, "%s is alive\n", r.Name)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		why := r.why()
		w.Header().Set("Content-Type", "application/json")
		if len(why) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"role": r.Name, "ready": len(why) == 0, "reasons": why})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

// collector turns figures into metrics at each scrape.
type collector struct{ role Role }

// Describe implements prometheus.Collector: what there will be is not known before.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	ready := 0.0
	if len(c.role.why()) == 0 {
		ready = 1
	}
	figures := append(c.role.Figures(), gate.Figure{Name: "ready", Help: "1 when the process can do its work; /readyz says why not.", Value: ready})
	if free, known := gate.Free(c.role.Data); known {
		figures = append(figures, gate.Figure{Name: "disk_free_bytes", Help: "Free bytes under the data folder.", Value: float64(free)})
	}
	for _, f := range figures {
		out <- metric(f)
	}
}

func metric(f gate.Figure) prometheus.Metric {
	var labels, values []string
	if f.Label != "" {
		labels, values = []string{f.Label}, []string{strings.ToValidUTF8(f.Of, "?")}
	}
	d := prometheus.NewDesc("latchkey_"+f.Name, f.Help, labels, nil)
	var m prometheus.Metric
	var err error
	switch {
	case f.Timing != nil:
		n, sum, most := f.Timing.Read()
		m, err = prometheus.NewConstHistogram(d, n, sum, most, values...)
	case f.Count:
		m, err = prometheus.NewConstMetric(d, prometheus.CounterValue, f.Value, values...)
	default:
		m, err = prometheus.NewConstMetric(d, prometheus.GaugeValue, f.Value, values...)
	}
	if err != nil {
		return prometheus.NewInvalidMetric(d, err)
	}
	return m
}

// Run serves r as a configuration says until ctx ends; without an address it only
// waits. ready is called with the address when it is open.
func Run(ctx context.Context, c gate.Admin, r Role, logger *slog.Logger) error {
	if c.Listen == "" {
		<-ctx.Done()
		return nil
	}
	var l net.Listener
	var err error
	if path, ok := strings.CutPrefix(c.Listen, "unix:"); ok {
		l, err = gate.ListenUnix(path)
	} else {
		l, err = net.Listen("tcp", c.Listen)
	}
	if err != nil {
		return fmt.Errorf("admin.listen: %w", err)
	}
	g, err := gate.New(l, gate.Tables{}, logger)
	if err != nil {
		return err
	}
	logger.Info("health and metrics", "listen", l.Addr().String())
	return g.Serve(ctx, Handler(r))
}
