package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"latchkey/client/clientpb"
	"latchkey/examples"
)

// a host that takes a value once, and remembers what it was asked.
type reportHost struct {
	clientpb.UnimplementedClientServiceHandler
	asked []*clientpb.ReportRequest
	again bool
	err   error
}

func (h *reportHost) Status(context.Context, *clientpb.StatusRequest) (*clientpb.StatusResponse, error) {
	return &clientpb.StatusResponse{Deals: []*clientpb.Deal{{Id: "draft-77", Instance: strings.Repeat("ab", 32)}}}, nil
}

func (h *reportHost) Report(_ context.Context, r *clientpb.ReportRequest) (*clientpb.ReportResponse, error) {
	if h.err != nil {
		return nil, h.err
	}
	h.asked = append(h.asked, r)
	out := &clientpb.ReportResponse{
		Contract: "Cfd", Oracle: "price", Feed: "asset/test", Time: 1_772_323_200, Shown: "120", Need: 1, Of: 1, State: "planned",
		Values: []*clientpb.ReportedValue{{Key: strings.Repeat("cd", 32), Value: 120, Shown: "120"}}, Did: []string{"it is so"},
	}
	if h.again || !r.PlanOnly {
		out.State, out.Again, out.Entry = "logged", h.again, 8
	}
	return out, nil
}

// A report says what it brings before it does, brings just that, and says what came
// of it.
func TestReport(t *testing.T) {
	h := &reportHost{}
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(clientpb.NewClientServiceHandler(h))
	s := &http.Server{Handler: mux}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	do := func(args ...string) (code int, out, talk string) {
		var o, e strings.Builder
		code = run(t.Context(), args, &o, &e)
		return code, o.String(), e.String()
	}
	key, signed := filepath.Join(dir, "key"), filepath.Join(dir, "signed")
	do("oracle", "key", key)
	_, line, talk := do("oracle", "sign", "--key", key, "--feed", "asset/test", "--at", "2026-03-01", "--value", "120")
	if err := os.WriteFile(signed, []byte(line), 0o600); err != nil || line == "" {
		t.Fatalf("%v: %s", err, talk)
	}
	report := []string{"report", "--client", "unix:" + path, "--instance", "abababab"}
	for _, x := range []struct {
		args      []string
		again     bool
		err       error
		code      int
		out, talk string
		asked     int
	}{
		{nil, false, nil, 0, "in entry 7 of the log: it is so\n", "oracle price of Cfd is 120, the median of 1; 1 of 1 keys have to sign\n", 2},
		{[]string{"--dry-run"}, false, nil, 0, "nothing is brought; it would do now: it is so\n", "asset/test 2026-03-01 120 by cdcdcdcdcdcdcdcd\n", 1},
		{nil, true, nil, 0, "brought before, in entry 7 of the log; nothing is changed: it is so\n", "the median of 1", 1},
		{nil, false, connect.NewError(connect.CodeFailedPrecondition, errors.New("too early")), 1, "", "error: too early\n", 0},
	} {
		h.asked, h.again, h.err = nil, x.again, x.err
		code, out, talk := do(append(append(report[:5:5], x.args...), signed)...)
		if code != x.code || out != x.out || !strings.Contains(talk, x.talk) || len(h.asked) != x.asked {
			t.Errorf("report %v, again %t: status %d, %d requests, %q, %q", x.args, x.again, code, len(h.asked), out, talk)
		}
		for i, q := range h.asked {
			if q.Instance != strings.Repeat("ab", 32) || len(q.Signed) != 1 || q.PlanOnly != (i == 0) || i > 0 && q.At != 1_772_323_200 {
				t.Errorf("request %d: %v", i, q)
			}
		}
	}
}

// A review shows whose word moves the contract.
func TestReviewShowsOracles(t *testing.T) {
	a, b := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	r := &clientpb.ReviewResponse{Draft: &clientpb.Draft{Wait: &clientpb.Wait{}}, States: 60_000, Moves: 200_000, Indivisible: true, Assets: []*clientpb.ReviewAsset{{Name: "coin", Asset: "btc"}}}
	for need, says := range map[uint32]string{2: "a single key that lies can move what counts", 3: "while at most 1 of them lie"} {
		r.Oracles = []*clientpb.ReviewOracle{{Name: "price", Feed: "asset/test", Keys: []string{a, b, a}, Need: need, Liars: (need - 1) / 2, Least: "0.01", Most: "9.00"}}
		var out strings.Builder
		if err := printReview(&out, r, false); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"ORACLE price reads feed asset/test, from 0.01 to 9.00: ", " of 3 keys have to sign, and their median counts\n  " + a + "\n  " + b + "\n", says,
			"asset coin  btc", "explored up to 60000 states and 200000 moves",
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("a review says nothing of %q:\n%s", want, out.String())
			}
		}
	}
}

// What a contract says is put into plain English from the text that is signed.
func TestReviewExplains(t *testing.T) {
	source, err := examples.Files.ReadFile("cfd.latchkey")
	if err != nil {
		t.Fatal(err)
	}
	r := &clientpb.ReviewResponse{Source: string(source), LockBy: 1_772_323_200, Pots: []*clientpb.ReviewPot{{Name: "bull", Units: 4, Weights: []uint32{2, 2}}, {Name: "bear", Units: 4}}}
	for i, name := range []string{"stake", "leverage", "strike", "settle_at", "grace"} {
		n := []int64{4, 3, 100, 1_772_326_800, 3600}[i]
		r.Terms = append(r.Terms, &clientpb.ReviewTerm{Name: name, Value: strconv.FormatInt(n, 10), Number: n})
	}
	var out strings.Builder
	if err := explainDraft(&out, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"leverage = 3", "long", "Settle", "2026-03-01"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it says nothing of %q:\n%s", want, out.String())
		}
	}
	r.Terms = r.Terms[1:]
	if err := explainDraft(&out, r); err == nil {
		t.Error("a contract is explained without one of its terms")
	}
}
