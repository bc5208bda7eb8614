package devnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"connectrpc.com/connect"

	"latchkey/escrow"
	"latchkey/escrow/escrowpb"
	"latchkey/event"
	"latchkey/event/witness"
	"latchkey/head"
	"latchkey/host"
	"latchkey/vault/enclave"
)

func httpClient() *http.Client { return &http.Client{Transport: &http.Transport{}} }

// A Clone is a second escrow: the escrow's program over a copy of its disk, run by
// an operator who gives it an old witnessed head to make it believe that time goes
// on, and lets clients in. No witness is asked, unless Witness is called.
type Clone struct {
	*rogue
	escrowpb.UnimplementedEscrowServiceHandler

	note   []byte
	prover *event.Prover
	serve  *served

	mu     sync.Mutex
	newest []byte // its newest signed head
}

// CopyEscrow copies the disk of the escrow at a moment when a quorum of witnesses
// has signed all of its log, and returns that head. The escrow stays stopped.
func (w *World) CopyEscrow(ctx context.Context, as string) (note []byte, err error) {
	p := w.Process("escrow")
	for range 250 { // what nobody waits for is witnessed with the next second
		d, err := w.Escrow().Describe(ctx)
		if err != nil {
			return nil, err
		}
		var c head.Cosigned
		if len(d.Head) > 0 { // else it has just started
			if c, err = w.group().Verify(d.Head); err != nil {
				return nil, err
			}
		}
		if c.Size != d.Size { // something is being decided
			pause(ctx, 20*time.Millisecond)
			continue
		}
		if err := p.Kill(); err != nil {
			return nil, err
		}
		n, err := w.entries("escrow")
		if err != nil {
			return nil, err
		}
		if n == c.Size {
			return d.Head, w.copyData("escrow", as)
		}
		if err := p.Start(ctx, nil); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("the escrow's log does not come to rest")
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// entries counts what is on the disk of a process that is stopped.
func (w *World) entries(name string) (int64, error) {
	d, err := openDisk(filepath.Join(w.dir(name), "data"))
	if err != nil {
		return 0, err
	}
	n := d.Next()
	return int64(n), d.Close()
}

// Clone starts a second escrow over a copy that CopyEscrow made, and serves it at
// an address.
func (w *World) Clone(ctx context.Context, copied, listen string, note []byte) (*Clone, error) {
	c := &Clone{note: note}
	var tree *event.Tree
	r, _, err := w.rogue(ctx, copied, w.vaultFile("escrow", "escrow"), host.LinkConfig{
		Rows: func(x enclave.Commit) []event.Row {
			return tree.Append(x.Entries...)
		},
		Done: func(x enclave.Commit) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.newest = x.Head
		},
	}, func(log event.Log) (err error) {
		tree, err = event.OpenTree(ctx, log)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.rogue, c.prover = r, event.NewProver(r.disk)
	v := r.link.Vault
	signed, err := v.Call(ctx, enclave.Call{Tick: &enclave.Tick{}})
	if err == nil {
		c.newest = signed.Bytes
		_, err = v.Call(ctx, enclave.Call{Cosigned: &enclave.Raw{Bytes: note}})
	}
	if err == nil {
		mux := http.NewServeMux()
		mux.Handle(escrowpb.NewEscrowServiceHandler(c))
		c.serve, err = serve(listen, mux)
	}
	if err != nil {
		r.close()
		return nil, fmt.Errorf("start a second escrow: %w", err)
	}
	return c, nil
}

// Client returns a caller of the second escrow.
func (c *Clone) Client() *escrow.Client { return escrow.NewClient(c.serve.url, httpClient()) }

// Size returns how many entries are on its disk.
func (c *Clone) Size() int64 { return int64(c.disk.Next()) }

// Close stops the second escrow.
func (c *Clone) Close() {
	c.serve.close()
	c.close()
}

// Greet lets a client's vault in.
func (c *Clone) Greet(ctx context.Context, r *escrowpb.GreetRequest) (*escrowpb.GreetResponse, error) {
	out, err := c.link.Vault.Call(ctx, enclave.Call{Greet: &enclave.Raw{Bytes: r.Hello}})
	if err != nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, err)
	}
	return &escrowpb.GreetResponse{Welcome: out.Bytes, Head: c.note}, nil
}

// Send brings a client's frame.
func (c *Clone) Send(ctx context.Context, r *escrowpb.SendRequest) (*escrowpb.SendResponse, error) {
	out, err := c.link.Vault.Call(ctx, enclave.Call{Frame: &enclave.Raw{Bytes: r.Frame}})
	switch {
	case errors.Is(err, enclave.ErrNoSession):
		return nil, connect.NewError(connect.CodeUnauthenticated, err)
	case err != nil:
		return nil, connect.NewError(connect.CodeFailedPrecondition, err)
	}
	return &escrowpb.SendResponse{Frame: out.Bytes}, nil
}

// Own returns the newest head that the second escrow's vault has signed.
func (c *Clone) Own(ctx context.Context) ([]byte, error) {
	signed, err := c.link.Vault.Call(ctx, enclave.Call{Tick: &enclave.Tick{}})
	return signed.Bytes, err
}

// Believe gives the second escrow's vault a head as one that the witnesses signed, and
// returns why it does not take it; ErrCheated if it does.
func (c *Clone) Believe(ctx context.Context, note []byte) error {
	if _, err := c.link.Vault.Call(ctx, enclave.Call{Cosigned: &enclave.Raw{Bytes: note}}); err != nil {
		return fmt.Errorf("the second escrow's vault refuses: %w", err)
	}
	return fmt.Errorf("%w: the second escrow's vault takes the head for a witnessed one", ErrCheated)
}

// Witness brings the second escrow's newest head to the world's witnesses and
// returns why they sign nothing; ErrCheated if they do.
func (c *Clone) Witness(ctx context.Context, w *World) error {
	c.mu.Lock()
	signed := c.newest
	c.mu.Unlock()
	wc, err := witness.NewClient(witness.ClientConfig{Group: w.group(), URLs: w.witnessURLs, Prove: c.prover.Consistency})
	if err != nil {
		return err
	}
	defer wc.Close()
	note, err := wc.Cosign(ctx, signed)
	if err != nil {
		return err
	}
	x, err := head.OpenCheckpoint(note, w.logKey)
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: the witnesses signed a second head of %d entries", ErrCheated, x.Size)
}

// served is an HTTP server of this process.
type served struct {
	url    string
	server *http.Server
	ended  chan struct{}
}

func serve(listen string, h http.Handler) (*served, error) {
	var l net.Listener
	var err error
	for range 100 { // whoever had the address is just leaving
		if l, err = net.Listen("tcp", listen); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	s := &served{url: "http://" + l.Addr().String(), ended: make(chan struct{}), server: &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelError),
	}}
	go func() {
		defer close(s.ended)
		_ = s.server.Serve(l)
	}()
	return s, nil
}

func (s *served) close() {
	_ = s.server.Close()
	<-s.ended
}
