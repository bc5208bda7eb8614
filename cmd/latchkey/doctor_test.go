package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"latchkey/coin"
	"latchkey/devnet"
	"latchkey/escrow/escrowpb"
	"latchkey/event"
	"latchkey/event/witness"
	"latchkey/gate"
	"latchkey/gate/gatetest"
	"latchkey/head"
	"latchkey/switchboard/switchboardpb"
	"latchkey/wallet"
	"latchkey/wallet/fake"
	"latchkey/wire"
)

const doctorsOrigin = "escrow.example/log"

func seeded(name string) ed25519.PrivateKey {
	s := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(s[:])
}

// A clinic is the other side of the doctor's questions: an authority, and peers of
// many kinds. Each script has its own.
type clinic struct {
	t    *testing.T
	ca   *gatetest.Authority
	stop context.Context
}

// TestDoctor provokes the findings one by one.
func TestDoctor(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "doctor"),
		Setup: func(e *testscript.Env) error {
			ctx, cancel := context.WithCancel(context.Background())
			e.Defer(cancel)
			c := &clinic{t: t, ca: gatetest.New(t, e.WorkDir), stop: ctx}
			e.Values["clinic"] = c
			for i := range 4 {
				name := fmt.Sprintf("w%d.example", i+1)
				k, err := head.NewWitnessKey(name, seeded(name).Public().(ed25519.PublicKey))
				if err != nil {
					return err
				}
				e.Setenv(fmt.Sprintf("W%d", i+1), k.String())
			}
			k, err := head.NewLogKey(doctorsOrigin, seeded(doctorsOrigin).Public().(ed25519.PublicKey))
			if err != nil {
				return err
			}
			e.Setenv("LOG", k.String())
			program := filepath.Join(e.WorkDir, "vault")
			if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
				return err
			}
			return devnet.Simulate(filepath.Join(e.WorkDir, "trust"), program, []devnet.Vendor{{Name: "SIMULATED Acme", Platforms: []string{"a"}}})
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": exitStatus,
			"cert":   makeCert,
			"peer":   startPeer,
			"fill":   fill,
			"replace": func(ts *testscript.TestScript, _ bool, args []string) { // FILE OLD NEW
				text := ts.ReadFile(args[0])
				if !strings.Contains(text, args[1]) {
					ts.Fatalf("%s does not contain %q", args[0], args[1])
				}
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o600))
			},
		},
	})
}

// cert NAME HOURS HOST... makes NAME.pem and NAME.key.
func makeCert(ts *testscript.TestScript, _ bool, args []string) {
	hours, err := strconv.Atoi(args[1])
	ts.Check(err)
	c := ts.Value("clinic").(*clinic)
	leaf, _, _ := c.ca.Issue(c.t, args[0], time.Duration(hours)*time.Hour, args[2:]...)
	ts.Setenv("PIN_"+args[0], gate.Pin(leaf))
}

// fill FILE... puts the environment's values in the place of ${NAME}.
func fill(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// peer NAME KIND [CERT] starts a peer, and sets NAME to its URL.
func startPeer(ts *testscript.TestScript, _ bool, args []string) {
	c := ts.Value("clinic").(*clinic)
	var tables gate.Tables
	if len(args) == 3 {
		tables.TLS = gate.TLS{Cert: ts.MkAbs(args[2] + ".pem"), Key: ts.MkAbs(args[2] + ".key")}
	}
	l, err := gate.Listen("127.0.0.1:0", tables, slog.New(slog.DiscardHandler))
	ts.Check(err)
	h, err := c.handler(args[1])
	ts.Check(err)
	done := make(chan error, 1)
	go func() { done <- l.Serve(c.stop, h) }()
	ts.Setenv(args[0], l.URL())
	ts.Setenv(args[0]+"_AT", strings.TrimPrefix(strings.TrimPrefix(l.URL(), "https://"), "http://"))
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0]+"_PORT", port)
}

func says(status int, text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, text, status) })
}

func (c *clinic) handler(kind string) (http.Handler, error) {
	now := time.Now()
	switch kind {
	case "witness": // refuses what the doctor brings, as one that knows the log does
		return says(http.StatusForbidden, "witness: bad signature"), nil
	case "stranger":
		return says(http.StatusNotFound, "witness: unknown log"), nil
	case "late":
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", now.Add(-time.Minute).UTC().Format(http.TimeFormat))
			http.Error(w, "witness: bad signature", http.StatusForbidden)
		}), nil
	case "teapot":
		return says(http.StatusTeapot, "I am a teapot"), nil
	case "ready", "unready":
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if kind == "unready" {
				_, _ = w.Write([]byte(`{"role":"witness","ready":false,"reasons":["the moon is full"]}`))
				return
			}
			_, _ = w.Write([]byte(`{"role":"witness","ready":true,"reasons":[]}`))
		}), nil
	case "wallet", "wallet-down", "wallet-still":
		chain, err := fake.New(fake.Config{
			Asset: coin.Asset{ID: "btc", Chain: "fake:1", Key: coin.Secp256k1, Address: "fake", Decimals: 8}, Confirmations: 1,
			Fee: coin.NewAmount(1), Dust: coin.NewAmount(1),
		})
		if err != nil {
			return nil, err
		}
		if kind == "wallet-down" {
			chain.SetDown(true)
		}
		if kind == "wallet-still" {
			return wallet.Handler(standing{chain.Wallet("a"), now.Add(-3 * time.Hour)}), nil
		}
		return wallet.Handler(chain.Wallet("a")), nil
	case "board", "board-stale", "board-other":
		d := &switchboardpb.DescribeResponse{Name: "board", EscrowLogKey: logKeyOf(doctorsOrigin), Rates: []*switchboardpb.Rate{{Asset: "btc", MicroUsd: "1", At: now.Unix()}}}
		switch kind {
		case "board-stale":
			d.Rates[0].Problem = "no rate of btc: one source is stale"
			d.Problems = []string{"rate of btc: one source is stale"}
		case "board-other":
			d.EscrowLogKey = logKeyOf("other.example/log")
		}
		_, h := switchboardpb.NewSwitchboardServiceHandler(describedBoard{answer: d})
		return h, nil
	case "escrow", "escrow-alone", "escrow-two", "escrow-old", "escrow-other":
		d, err := describe(kind, now)
		if err != nil {
			return nil, err
		}
		_, h := escrowpb.NewEscrowServiceHandler(describedEscrow{answer: d})
		return h, nil
	}
	return nil, fmt.Errorf("no peer is a %q", kind)
}

// standing is a wallet whose node has had no block since.
type standing struct {
	wallet.Wallet
	since time.Time
}

func (s standing) Describe(ctx context.Context) (wallet.Description, error) {
	d, err := s.Wallet.Describe(ctx)
	d.Node.TipTime, d.Node.MaxTipAge = s.since.Unix(), 7200
	return d, err
}

func logKeyOf(origin string) string {
	k, err := head.NewLogKey(origin, seeded(origin).Public().(ed25519.PublicKey))
	if err != nil {
		panic(err) // a constant name is one
	}
	return k.String()
}

type describedBoard struct {
	switchboardpb.SwitchboardServiceHandler
	answer *switchboardpb.DescribeResponse
}

func (d describedBoard) Describe(context.Context, *switchboardpb.DescribeRequest) (*switchboardpb.DescribeResponse, error) {
	return d.answer, nil
}

type describedEscrow struct {
	escrowpb.EscrowServiceHandler
	answer *escrowpb.DescribeResponse
}

func (d describedEscrow) Describe(context.Context, *escrowpb.DescribeRequest) (*escrowpb.DescribeResponse, error) {
	return d.answer, nil
}

// describe is what an escrow says of itself: with a good head, none, one that two
// witnesses signed, an old one, or of another log.
func describe(kind string, now time.Time) (*escrowpb.DescribeResponse, error) {
	origin := doctorsOrigin
	signers, at := 3, now
	switch kind {
	case "escrow-alone":
		signers = 0
	case "escrow-two":
		signers = 2
	case "escrow-old":
		at = now.Add(-time.Hour)
	case "escrow-other":
		origin = "other.example/log"
	}
	id, err := wire.Marshal(wire.Identity{Sign: make([]byte, 32), KEM: make([]byte, 1216)})
	if err != nil {
		return nil, err
	}
	d := &escrowpb.DescribeResponse{Origin: origin, LogKey: logKeyOf(origin), Identity: id, Evidence: []byte("none"), Size: 1}
	if signers == 0 {
		return d, nil
	}
	log, err := head.ParseLogKey(d.LogKey)
	if err != nil {
		return nil, err
	}
	signed, err := head.SignCheckpoint(head.Checkpoint{Origin: origin, Size: 1, Root: head.LeafHash([]byte("entry"))}, seeded(origin))
	if err != nil {
		return nil, err
	}
	d.Head = signed
	for i := range signers {
		line, err := cosign(fmt.Sprintf("w%d.example", i+1), log, signed, at)
		if err != nil {
			return nil, err
		}
		d.Head = append(d.Head, line...)
	}
	return d, nil
}

// cosign has a new witness in memory sign a head.
func cosign(name string, log head.LogKey, signed []byte, at time.Time) ([]byte, error) {
	store, err := event.NewMemory().Open()
	if err != nil {
		return nil, err
	}
	key, err := head.NewWitnessKey(name, seeded(name).Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := witness.Create(ctx, store, key); err != nil {
		return nil, err
	}
	w, err := witness.Open(ctx, store, witness.Config{Name: name, Key: seeded(name), Logs: []head.LogKey{log}})
	if err != nil {
		return nil, err
	}
	return w.AddCheckpoint(ctx, head.Request{Old: 0, Signed: signed}, at.Unix())
}
