package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"latchkey/attest"
	"latchkey/attest/sim"
	"latchkey/coin"
	"latchkey/escrow"
	"latchkey/event/disk"
	"latchkey/event/witness"
	"latchkey/head"
	"latchkey/vault/enclave"
)

const (
	origin     = "escrow.bench/log"
	bareOrigin = "bare.bench/log" // of a log that only asks for cosignatures
)

// measured is the measurement of the program that all vaults here are.
var measured = [32]byte{1}

// A world is an escrow with four witnesses, all with their own logs on disk, in
// one process: vault, host and witnesses talk over the sockets that they use as
// processes of their own.
type world struct {
	ctx       context.Context
	cancel    context.CancelFunc
	running   sync.WaitGroup
	dir       string
	oneWay    time.Duration // delay of every message between parties
	trace     *trace        // nil: none
	vendors   [2]*sim.Vendor
	trust     enclave.Trust
	escrowTEE *sim.Program
	urls      map[string]string // of the witnesses, by name
	bare      ed25519.PrivateKey
	every     int64 // entries between snapshots of the escrow; 0: the usual
	log       *disk.Log
	host      *escrow.Host
	url       string // of the escrow
	endHost   func() error
}

func newVendor(name string) (*sim.Vendor, error) {
	v, err := sim.NewVendor(name, rand.Reader)
	if err == nil {
		err = v.Rate(1, attest.TCBUpToDate)
	}
	return v, err
}

// newWorld starts a world in a new folder, ready for clients.
func newWorld(ctx context.Context, o options, name string, oneWay time.Duration) (w *world, err error) {
	w = &world{dir: filepath.Join(o.dir, name), oneWay: oneWay, trace: o.trace, urls: map[string]string{}}
	w.ctx, w.cancel = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return w, err
	}
	for i, name := range []string{"SIMULATED A", "SIMULATED B"} {
		if w.vendors[i], err = newVendor(name); err != nil {
			return w, err
		}
	}
	if w.escrowTEE, err = w.program(1); err != nil {
		return w, err
	}
	w.trust = enclave.Trust{
		Role: "escrow", Origin: origin, K: 3, F: 1,
		Policy: sim.InsecurePolicy([]attest.Root{w.vendors[0].Root(), w.vendors[1].Root()}, sim.Build("bench", measured)),
	}
	var listeners []net.Listener
	var secrets []ed25519.PrivateKey
	for i := range 4 {
		name := fmt.Sprintf("witness%d.bench", i)
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return w, err
		}
		k, err := head.NewWitnessKey(name, public)
		if err != nil {
			return w, err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return w, err
		}
		w.trust.Witnesses, secrets, listeners = append(w.trust.Witnesses, k), append(secrets, private), append(listeners, l)
		if w.urls[name], err = w.reach(l); err != nil {
			return w, err
		}
	}
	if _, w.bare, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return w, err
	}
	status, err := w.startEscrow()
	if err != nil {
		return w, err
	}
	w.trust.Role = "owner"
	if w.trust.LogKey, err = head.ParseLogKey(status.LogKey); err != nil {
		return w, err
	}
	for i, l := range listeners {
		if err := w.startWitness(i, l, secrets[i]); err != nil {
			return w, err
		}
	}
	return w, w.witnessed(1)
}

// close ends everything and waits for it.
func (w *world) close() error {
	var err error
	if w.endHost != nil {
		err = w.endHost()
	}
	w.cancel()
	w.running.Wait()
	return err
}

// program starts a simulated TEE of the first or the second vendor.
func (w *world) program(vendor int) (*sim.Program, error) {
	now := time.Now().Unix()
	p, err := w.vendors[vendor].Issue(sim.Device{
		Class: attest.IsolatedProgram, Kind: attest.DeviceUnique, SVN: 1, NotBefore: now - 3600, NotAfter: now + 365*86400,
	}, rand.Reader)
	if err != nil {
		return nil, err
	}
	return p.Launch(sim.Launch{Measurement: measured})
}

// reach returns the URL under which others reach a listener.
func (w *world) reach(l net.Listener) (string, error) {
	if w.oneWay == 0 {
		return "http://" + l.Addr().String(), nil
	}
	at, err := w.delay(l.Addr().String())
	return "http://" + at, err
}

// serve serves HTTP until the world ends, or the function it returns is called.
func (w *world) serve(l net.Listener, h http.Handler) (stop func()) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	w.running.Go(func() { _ = s.Serve(l) })
	end := context.AfterFunc(w.ctx, func() { _ = s.Close() })
	return func() { end(); _ = s.Close() }
}

func (w *world) startWitness(i int, l net.Listener, private ed25519.PrivateKey) error {
	k := w.trust.Witnesses[i]
	log, err := disk.Open(disk.Config{Folder: filepath.Join(w.dir, k.Name())})
	if err != nil {
		return err
	}
	if err := witness.Create(w.ctx, log, k); err != nil {
		return err
	}
	bare, err := head.NewLogKey(bareOrigin, w.bare.Public().(ed25519.PublicKey))
	if err != nil {
		return err
	}
	x, err := witness.Open(w.ctx, log, witness.Config{Name: k.Name(), Key: private, Logs: []head.LogKey{w.trust.LogKey, bare}})
	if err != nil {
		return err
	}
	w.serve(l, &witness.Handler{Witness: x, Logger: slog.New(slog.DiscardHandler), Now: witness.Clock, Failed: func(error) {}})
	w.running.Go(func() {
		<-w.ctx.Done()
		_ = log.Close()
	})
	return nil
}

// startEscrow starts the escrow's vault and host on what is stored, and returns
// when both are ready.
func (w *world) startEscrow() (enclave.Status, error) {
	trust := w.trust
	trust.Role, trust.LogKey = "escrow", head.LogKey{}
	ctx, cancel := context.WithCancel(w.ctx)
	socket := filepath.Join(w.dir, "vault.sock")
	vaultEnded, err := startVault(ctx, enclave.Config{Trust: trust, Platform: w.escrowTEE, Verifiers: []attest.Verifier{sim.Verifier{}}, SnapshotEvery: w.every}, socket)
	if err != nil {
		cancel()
		return enclave.Status{}, err
	}
	fail := func(err error) (enclave.Status, error) {
		cancel()
		return enclave.Status{}, errors.Join(err, <-vaultEnded)
	}
	if w.log, err = disk.Open(disk.Config{Folder: filepath.Join(w.dir, "escrow")}); err != nil {
		return fail(err)
	}
	if w.host, err = escrow.NewHost(w.ctx, escrow.HostConfig{
		Log: w.log, Socket: socket, Origin: origin, Witnesses: w.trust.Witnesses, K: 3, F: 1, URLs: w.urls, HTTP: w.trace.client("escrow"), Logger: slog.New(slog.DiscardHandler),
	}); err != nil {
		return fail(err)
	}
	ready, ended := make(chan enclave.Status, 1), make(chan error, 1)
	go func() { ended <- w.host.Run(ctx, func(s enclave.Status) { ready <- s }) }()
	var status enclave.Status
	select {
	case status = <-ready:
	case err := <-ended:
		return fail(fmt.Errorf("the escrow does not start: %w", err))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fail(err)
	}
	if w.url, err = w.reach(l); err != nil {
		return fail(err)
	}
	stop := w.serve(l, escrow.Handler(w.host))
	w.endHost = func() error {
		stop()
		cancel()
		err := errors.Join(<-ended, <-vaultEnded, w.log.Close())
		w.host, w.log, w.endHost = nil, nil, nil
		return err
	}
	return status, nil
}

// startVault runs a vault on a socket until ctx ends.
func startVault(ctx context.Context, cfg enclave.Config, socket string) (ended <-chan error, err error) {
	e, err := enclave.New(cfg)
	if err != nil {
		return nil, err
	}
	l, err := enclave.Listen(socket)
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- e.Serve(ctx, l) }()
	return done, nil
}

// group is the log with its witnesses.
func (w *world) group() head.Group {
	return head.Group{Log: w.trust.LogKey, Witnesses: w.trust.Witnesses, K: w.trust.K, F: w.trust.F}
}

// witnessed waits until so many entries of the escrow's log are.
func (w *world) witnessed(size int64) error {
	for {
		_, seen, changed := w.host.Sizes()
		if seen >= size {
			return nil
		}
		select {
		case <-changed:
		case <-w.ctx.Done():
			return context.Cause(w.ctx)
		}
	}
}

func denomination(id coin.AssetID, t coin.KeyType) coin.Denomination {
	return coin.Denomination{
		ID: string(id) + "-bench", Unit: coin.NewAmount(10_000),
		Asset: coin.Asset{ID: id, Chain: "bench:" + string(id), Key: t, Address: "plain", Decimals: 8},
	}
}
