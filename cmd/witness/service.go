package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"latchkey/event"
	"latchkey/event/disk"
	"latchkey/event/witness"
	"latchkey/event/witness/config"
	"latchkey/gate"
	"latchkey/gate/admin"
	"latchkey/head"
	"latchkey/keyfile"
)

// service is a witness over its data folder.
type service struct {
	config config.File
	store  *disk.Log
	key    ed25519.PrivateKey
	public head.WitnessKey
}

// openService opens the data folder and reads the key, or makes both where there
// is neither. The state comes first: a key that is there was made with a state,
// so a missing state is a lost one.
func openService(ctx context.Context, c config.File, logger *slog.Logger) (_ *service, err error) {
	if _, err := readKey(c.KeyFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // before anything is made
	}
	s := &service{config: c}
	s.store, err = disk.Open(disk.Config{Folder: filepath.Join(c.Data, "state"), Logger: logger})
	if errors.Is(err, event.ErrInUse) {
		return nil, &hintError{err, "another witness runs on this folder; each needs its own"}
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.store.Close())
		}
	}()
	s.key, err = readKey(c.KeyFile)
	isNew := errors.Is(err, fs.ErrNotExist)
	if isNew {
		_, s.key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		return nil, err
	}
	s.public, err = head.NewWitnessKey(c.Name, s.key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	if !isNew {
		return s, nil
	}
	if err := witness.Create(ctx, s.store, s.public); err != nil {
		return nil, &hintError{fmt.Errorf("key file %s is missing: %w", c.KeyFile, err), "bring the key back, or start a new witness in another data folder"}
	}
	if err := os.MkdirAll(filepath.Dir(c.KeyFile), 0o700); err != nil {
		return nil, fmt.Errorf("folder of the key file: %w", err)
	}
	if err := keyfile.Write(c.KeyFile, s.key); err != nil {
		return nil, err
	}
	logger.Info("made a new witness", "vkey", s.public.String())
	return s, nil
}

func (s *service) close() error { return s.store.Close() }

// witness opens the witness, whose state must be there.
func (s *service) witness(ctx context.Context) (*witness.Witness, error) {
	w, err := witness.Open(ctx, s.store, witness.Config{Name: s.config.Name, Key: s.key, Logs: s.config.Logs})
	if errors.Is(err, witness.ErrLostState) {
		return nil, &hintError{
			fmt.Errorf("%w in %s, but its key is there: the state was lost", err, s.config.Data),
			"if it goes on it counts as one of the faulty witnesses that its groups tolerate; to order that: witness adopt --lost-state CHECKPOINT-FILE, with the latest cosigned head of each log",
		}
	}
	return w, err
}

// adopt starts logs at the signed heads in files; with lostState it makes the
// state anew before.
func (s *service) adopt(ctx context.Context, files []string, lostState bool, logger *slog.Logger) error {
	_, err := s.witness(ctx)
	switch {
	case lostState && err == nil:
		return errors.New("the state is not lost: --lost-state changes nothing")
	case lostState && errors.Is(err, witness.ErrLostState):
		if err := witness.Create(ctx, s.store, s.public); err != nil {
			return err
		}
		logger.Warn("made the lost state anew")
	}
	w, err := s.witness(ctx)
	if err != nil {
		return err
	}
	for _, file := range files {
		signed, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		c, err := w.Adopt(ctx, signed, witness.Clock())
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		logger.Info("log starts at this head", "log", c.Origin, "size", c.Size, "root", c.Root.String())
	}
	return nil
}

// serve answers requests until ctx ends or the store fails.
func (s *service) serve(ctx context.Context, stdout io.Writer, logger *slog.Logger) error {
	w, err := s.witness(ctx)
	if err != nil {
		return err
	}
	listener, err := gate.Listen(s.config.Listen, s.config.Tables, logger)
	if gate.ErrInUse(err) {
		return &hintError{err, "another process listens there; change the field listen"}
	}
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	handler := &witness.Handler{
		Witness: w,
		Logger:  logger,
		Now:     witness.Clock,
		Failed: func(err error) {
			select {
			case failed <- err:
			default:
			}
		},
	}
	run, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 2)
	go func() { served <- listener.Serve(run, listener.Guard.Handler(handler, nil)) }()
	go func() { served <- admin.Run(run, s.config.Admin, s.role(w, handler, listener), logger) }()
	if err := json.NewEncoder(stdout).Encode(map[string]any{"ready": true, "listen": listener.URL(), "key": s.public.String()}); err != nil {
		return err
	}
	logger.Info("listening", "address", listener.Addr().String(), "vkey", s.public.String())
	for _, log := range s.config.Logs {
		seen, known := w.Seen(log.Name())
		logger.Info("serving", "log", log.Name(), "size", seen.Size, "known", known)
	}
	left := 2
	select {
	case <-ctx.Done():
		logger.Info("stopping")
	case err = <-served:
		left--
	case err = <-failed:
	}
	stop()
	for range left { // requests in flight are answered before the store is closed
		err = errors.Join(err, <-served)
	}
	return err
}

// role is the witness as its operator sees it.
func (s *service) role(w *witness.Witness, h *witness.Handler, l *gate.Listener) admin.Role {
	return admin.Role{
		Name: "witness", Data: s.config.Data,
		Reasons: func() []string { return nil },
		Figures: func() []gate.Figure {
			out := append(l.Guard.Figures(), h.Figures()...)
			for _, log := range s.config.Logs {
				seen, _ := w.Seen(log.Name())
				out = append(out,
					gate.Figure{Name: "log_entries", Help: "Size of the newest head that was countersigned.", Value: float64(seen.Size), Label: "log", Of: log.Name()},
					gate.Figure{Name: "head_stamp_seconds", Help: "Unix time of the newest countersignature.", Value: float64(seen.Stamp), Label: "log", Of: log.Name()},
				)
			}
			return out
		},
	}
}
