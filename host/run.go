package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"latchkey/gate"
	"latchkey/gate/admin"
	"latchkey/vault/enclave"
)

// A Service is one run of a host with one vault.
type Service struct {
	Handler http.Handler // answers from the moment that Run calls ready
	Run     func(ctx context.Context, ready func(about map[string]any)) error
	Reasons func() []string      // why it is not ready; see admin.Role
	Figures func() []gate.Figure // what it counts
}

// vaultEnds is how long a host that lost its vault's socket waits for the vault's
// program to end: longer than that takes to find the socket served by another.
const vaultEnds = 3 * time.Second

// A Program is a host from its start to its end.
type Program struct {
	Name     string         // of the role
	Listener *gate.Listener // where it is reached
	Vault    []string       // command that runs the vault; empty: somebody else starts it
	Data     string         // its folder
	Admin    gate.Admin
	Logger   *slog.Logger
	Build    func(context.Context) (Service, error) // makes the service of one run
}

// Serve runs a host until ctx ends: it starts the vault's program, serves, and
// begins again from what is durable whenever the vault ends. When the first run is
// ready, one line of JSON goes to stdout. When ctx ends, requests in flight are
// answered before the vault is left.
func (p Program) Serve(ctx context.Context) error {
	var f front
	run, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	serve, stop := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { cancel(p.Listener.Serve(serve, &f)) })
	serving.Go(func() {
		if err := admin.Run(run, p.Admin, p.role(&f), p.Logger); err != nil {
			cancel(err)
		}
	})
	defer serving.Wait()
	defer cancel(nil)
	defer stop()
	return p.runs(run, &f)
}

func (p Program) role(f *front) admin.Role {
	return admin.Role{
		Name: p.Name, Data: p.Data,
		Reasons: func() []string {
			s := f.present()
			if s == nil {
				return []string{"the vault is starting"}
			}
			return s.Reasons()
		},
		Figures: func() []gate.Figure {
			out := p.Listener.Guard.Figures()
			if s := f.present(); s != nil {
				out = append(out, s.Figures()...)
			}
			return out
		},
	}
}

// runs runs the service again and again until ctx ends.
func (p Program) runs(ctx context.Context, f *front) error {
	var once sync.Once
	started := false
	for {
		service, err := p.Build(ctx)
		if err != nil {
			return err
		}
		err = runOnce(ctx, p.Vault, service, func(about map[string]any) {
			f.begin(ctx, &service)
			started = true
			once.Do(func() {
				about["ready"], about["listen"] = true, p.Listener.Addr().String()
				_ = json.NewEncoder(os.Stdout).Encode(about)
			})
		})
		answered := f.end()
		switch cause := context.Cause(ctx); {
		case errors.Is(cause, context.Canceled):
			return nil
		case cause != nil:
			return cause
		case !gone(err), !started && !killed(err):
			return err
		}
		p.Logger.Warn("begin again from what is durable", "err", err)
		answered.Wait() // two runs never write to one log
		time.Sleep(100 * time.Millisecond)
	}
}

// A front passes requests on to the service of the present run, and refuses them
// between two runs.
type front struct {
	mu       sync.Mutex
	service  *Service // nil: between two runs
	run      context.Context
	stop     context.CancelFunc
	answered *sync.WaitGroup // the run's requests
}

func (f *front) begin(ctx context.Context, service *Service) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.run, f.stop = context.WithCancel(ctx)
	f.service, f.answered = service, new(sync.WaitGroup)
}

// end lets no more requests in and ends the contexts of those under way. They are
// over when the answer has no more to wait for.
func (f *front) end() *sync.WaitGroup {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.service == nil {
		return new(sync.WaitGroup)
	}
	f.stop()
	f.service = nil
	return f.answered
}

// present returns the service of the present run; nil between two runs.
func (f *front) present() *Service {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.service
}

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	service, run, answered := f.service, f.run, f.answered
	if service != nil {
		answered.Add(1)
	}
	f.mu.Unlock()
	if service == nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "starting; try again in a second", http.StatusServiceUnavailable)
		return
	}
	defer answered.Done()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(run, cancel)()
	service.Handler.ServeHTTP(w, r.WithContext(ctx))
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
			err = e
		case <-time.After(vaultEnds):
		}
	}
	if err != nil && !gone(err) && !errors.Is(err, context.Canceled) {
		return err // for which the host gave its vault up; that the vault then ended is no news
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}
