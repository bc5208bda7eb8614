package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/vault/enclave"
)

// A Service is one run of a host with one vault.
type Service struct {
	Handler http.Handler // answers from the moment that Run calls ready
	Run     func(ctx context.Context, ready func(about map[string]any)) error
}

// Serve runs a host until ctx ends: it starts the vault's program (none, if
// command is empty), serves l, and begins again from what is durable whenever
// the vault ends. build makes the service of one run. When the first run is
// ready, one line of JSON goes to stdout.
func Serve(ctx context.Context, l net.Listener, command []string, logger *slog.Logger, build func(context.Context) (Service, error)) error {
	var handler atomic.Pointer[http.Handler]
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if h := handler.Load(); h != nil {
				(*h).ServeHTTP(w, r)
				return
			}
			http.Error(w, "starting; try again in a second", http.StatusServiceUnavailable)
		}),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelError), // connection noise
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			cancel(fmt.Errorf("serve on %s: %w", l.Addr(), err))
		}
	})
	defer func() {
		stop, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer done()
		_ = s.Shutdown(stop)
		_ = s.Close()
		serving.Wait()
	}()
	var once sync.Once
	started := false
	for {
		service, err := build(ctx)
		if err != nil {
			return err
		}
		err = runOnce(ctx, command, service, func(about map[string]any) {
			handler.Store(&service.Handler)
			started = true
			once.Do(func() {
				about["ready"], about["listen"] = true, l.Addr().String()
				_ = json.NewEncoder(os.Stdout).Encode(about)
			})
		})
		handler.Store(nil)
		switch cause := context.Cause(ctx); {
		case errors.Is(cause, context.Canceled):
			return nil
		case cause != nil:
			return cause
		case !gone(err), !started && !killed(err):
			return err
		}
		logger.Warn("begin again from what is durable", "err", err)
		time.Sleep(100 * time.Millisecond)
	}
}

// gone reports whether a run ended because its vault did.
func gone(err error) bool { return errors.Is(err, ErrVaultGone) || errors.Is(err, enclave.ErrGone) }

// killed reports whether a vault was killed, rather than having ended with an
// error of its own.
func killed(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && !exit.Exited()
}

func runOnce(ctx context.Context, command []string, s Service, ready func(map[string]any)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel(nil)
	ended := make(chan error, 1)
	if len(command) > 0 {
		running.Go(func() {
			err := RunVault(ctx, command, os.Stderr)
			if err != nil {
				err = fmt.Errorf("%w: %w", ErrVaultGone, err)
				cancel(err)
			}
			ended <- err
		})
	}
	err := s.Run(ctx, ready)
	if gone(err) && len(command) > 0 { // how it ended says more than that it did
		select {
		case e := <-ended:
			err = errors.Join(e, err)
		case <-time.After(time.Second):
		}
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}
