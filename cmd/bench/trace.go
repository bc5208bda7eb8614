package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"sync"
	"time"
)

// A trace has the requests between the parties of one exchange, as those who asked
// saw them.
type trace struct {
	mu   sync.Mutex
	list []asked
}

type asked struct {
	who, what  string
	began, got time.Time
}

// client returns an HTTP client whose requests are noted; t may be nil.
func (t *trace) client(who string) *http.Client {
	x := &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}
	if t == nil {
		return &http.Client{Timeout: time.Minute, Transport: x}
	}
	return &http.Client{Timeout: time.Minute, Transport: noting{t, who, x}}
}

type noting struct {
	t   *trace
	who string
	to  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (n noting) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	answer, err := n.to.RoundTrip(r)
	n.t.mu.Lock()
	defer n.t.mu.Unlock()
	n.t.list = append(n.t.list, asked{n.who, path.Base(r.URL.Path), began, time.Now()})
	return answer, err
}

// print writes what happened between two moments, in milliseconds since the first.
func (t *trace) print(w io.Writer, from, to time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(t.list, func(a, b asked) int { return cmp.Compare(a.began.UnixNano(), b.began.UnixNano()) })
	fmt.Fprintf(w, "one exchange, in ms since the last acceptance; owned at %d\n", to.Sub(from).Milliseconds())
	for _, a := range t.list {
		if a.got.After(from) && a.began.Before(to) {
			fmt.Fprintf(w, "%7.1f  %7.1f  %-8s %s\n", ms(a.began.Sub(from)), ms(a.got.Sub(from)), a.who, a.what)
		}
	}
	t.list = nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
