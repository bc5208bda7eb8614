package devnet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"latchkey/escrow"
	"latchkey/escrow/escrowpb"
	"latchkey/event/disk"
	"latchkey/event/witness"
	"latchkey/head"
	"latchkey/host"
	"latchkey/vault/enclave"
	"latchkey/vault/session"
	"latchkey/wire"
)

func openDisk(folder string) (*disk.Log, error) {
	return disk.Open(disk.Config{Folder: folder, Logger: slog.New(slog.DiscardHandler)})
}

// A Withholder is an operator who takes a word, lets the receipt for it go, and
// then goes on from a disk without it. It serves at the escrow's address, in the
// place of the world's own process.
type Withholder struct {
	w      *World
	listen string
	victim wire.VaultID
	clone  *Clone
	host   *operated
	lent   []*lent
}

// Withhold stops the escrow's process and serves a copy of it that no witness
// hears of: whoever says something now gets a receipt.
func (w *World) Withhold(ctx context.Context, victim wire.VaultID, copied string) (*Withholder, error) {
	note, err := w.CopyEscrow(ctx, copied)
	if err != nil {
		return nil, err
	}
	x := &Withholder{w: w, victim: victim, listen: strings.TrimPrefix(w.urls["escrow"], "http://")}
	if x.clone, err = w.Clone(ctx, copied, x.listen, note); err != nil {
		return nil, errors.Join(err, w.Process("escrow").Start(ctx, nil))
	}
	return x, nil
}

// RollBack throws away the copy with the word and goes on from the disk without
// it. The victim is not let in any more, so that it cannot say the word again.
func (x *Withholder) RollBack(ctx context.Context) (err error) {
	x.clone.Close()
	x.clone = nil
	x.host, err = x.w.operate(ctx, x.listen, x.victim)
	return err
}

// Advance replaces the witnesses by ones of the same keys and the same state whose
// clocks are ahead. It spares the demo a minute of waiting.
func (x *Withholder) Advance(ctx context.Context, by time.Duration) error {
	lent, err := x.w.lend(ctx, by)
	x.lent = lent
	return err
}

// End gives the escrow and the witnesses back to the world's own processes.
func (x *Withholder) End(ctx context.Context) error {
	if x.clone != nil {
		x.clone.Close()
	}
	if x.host != nil {
		x.host.close()
	}
	var all error
	for _, l := range x.lent {
		l.close()
		all = errors.Join(all, x.w.Process(l.name).Start(ctx, nil))
	}
	return errors.Join(all, x.w.Process("escrow").Start(ctx, nil))
}

// operated is the product's host of the escrow in this process, behind an
// operator's filter.
type operated struct {
	disk   *disk.Log
	served *served
	stop   func()
}

func (w *World) operate(ctx context.Context, listen string, victim wire.VaultID) (*operated, error) {
	logFile, err := os.OpenFile(filepath.Join(w.cfg.Folder, "log", "operator.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.NewTextHandler(logFile, nil))
	d, err := openDisk(filepath.Join(w.dir("escrow"), "data"))
	if err != nil {
		return nil, errors.Join(err, logFile.Close())
	}
	h, err := escrow.NewHost(ctx, escrow.HostConfig{
		Log: d, Socket: filepath.Join(w.dir("escrow"), "vault.sock"), Origin: origin, Witnesses: w.witnesses, K: 3, F: 1, URLs: w.witnessURLs, Logger: logger,
	})
	if err != nil {
		return nil, errors.Join(err, d.Close(), logFile.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	o := &operated{disk: d, stop: func() {
		cancel()
		running.Wait()
		_ = d.Close()
		_ = logFile.Close()
	}}
	command := []string{filepath.Join(w.cfg.Bin, "vault"), "--config", filepath.Join(w.dir("escrow"), "vault.toml")}
	running.Go(func() { _ = host.RunVault(ctx, command, logFile) })
	ready, ended := make(chan struct{}), make(chan error, 1)
	running.Go(func() { ended <- h.Run(ctx, func(enclave.Status) { close(ready) }) })
	select {
	case <-ready:
	case err := <-ended:
		o.stop()
		return nil, fmt.Errorf("run the escrow: %w", err)
	}
	if o.served, err = serve(listen, shut(victim, escrow.Handler(h))); err != nil {
		o.stop()
		return nil, err
	}
	return o, nil
}

func (o *operated) close() {
	o.served.close()
	o.stop()
}

// shut lets a vault open no session.
func shut(victim wire.VaultID, next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/Greet") {
			body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, 1<<20))
			if err != nil {
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			var q escrowpb.GreetRequest
			if proto.Unmarshal(body, &q) == nil {
				if h, err := session.ParseHello(q.Hello); err == nil {
					if id, err := h.From.ID(); err == nil && id == victim {
						http.Error(rw, "out of order", http.StatusServiceUnavailable)
						return
					}
				}
			}
		}
		next.ServeHTTP(rw, r)
	})
}

// lent is a witness that runs in this process for a while, over the state of one
// of the world's.
type lent struct {
	name   string
	disk   *disk.Log
	served *served
}

func (l *lent) close() {
	l.served.close()
	_ = l.disk.Close()
}

func (w *World) lend(ctx context.Context, ahead time.Duration) (out []*lent, err error) {
	for i, k := range w.witnesses {
		name := fmt.Sprintf("witness%d", i+1)
		if err := w.Process(name).Kill(); err != nil {
			return out, err
		}
		l, err := w.lendOne(ctx, name, k, ahead)
		if err != nil {
			return out, errors.Join(err, w.Process(name).Start(ctx, nil))
		}
		out = append(out, l)
	}
	return out, nil
}

func (w *World) lendOne(ctx context.Context, name string, k head.WitnessKey, ahead time.Duration) (*lent, error) {
	raw, err := os.ReadFile(filepath.Join(w.dir(name), "data", "key.pem"))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("the key of %s is no PEM", name)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the key of %s is of another kind", name)
	}
	d, err := openDisk(filepath.Join(w.dir(name), "data", "state"))
	if err != nil {
		return nil, err
	}
	x, err := witness.Open(ctx, d, witness.Config{Name: k.Name(), Key: private, Logs: []head.LogKey{w.logKey}})
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	s, err := serve(strings.TrimPrefix(w.witnessURLs[k.Name()], "http://"), &witness.Handler{
		Witness: x, Logger: slog.New(slog.DiscardHandler), Now: func() int64 { return witness.Clock() + int64(ahead/time.Second) }, Failed: func(error) {},
	})
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &lent{name, d, s}, nil
}
