package enclave

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"latchkey/wire"
)

// maxFrame bounds one message between vault and host.
const maxFrame = wire.MaxSize

// orphanEnds is how long a vault that lost its host may take to end.
const orphanEnds = 2 * time.Second

// How many calls may wait to be decided, and how many of those that go first. Where
// more come, what the host says next waits in the socket.
const (
	waitingCalls = 8192
	hastyCalls   = 64
)

// WriteFrame writes one message of the socket's protocol: its length as 4 bytes,
// big-endian, and its deterministic CBOR.
func WriteFrame(w io.Writer, v any) error {
	b, err := wire.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > maxFrame {
		return fmt.Errorf("message of %d bytes, at most %d", len(b), maxFrame)
	}
	if _, err = w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b)))); err == nil {
		_, err = w.Write(b)
	}
	return err
}

// ReadFrame reads what WriteFrame wrote into v.
func ReadFrame(r io.Reader, v any) error {
	var n [4]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(n[:])
	if size == 0 || size > maxFrame {
		return fmt.Errorf("message of %d bytes, want 1 to %d", size, maxFrame)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	return wire.Unmarshal(b, v)
}

// Listen opens the vault's socket for its host alone: a Unix socket with mode
// 0600. A socket that a killed vault left behind is replaced; one that goes on
// answering is not. A vault whose host was killed before it connected answers
// once: it takes the question for its host, and ends with it.
func Listen(path string) (net.Listener, error) {
	for end := time.Now().Add(orphanEnds); ; {
		c, err := net.Dial("unix", path)
		if err != nil {
			break
		}
		c.Close()
		if time.Now().After(end) {
			return nil, fmt.Errorf("listen on %s: another vault answers there; stop it, or choose another socket", path)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if st, err := os.Lstat(path); err == nil {
		if st.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("listen on %s: there is something that is no socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("listen on %s: %w", path, err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// Serve runs the vault for one host, the first that connects, until that host
// goes away or ctx ends. A vault never serves a second host: it forgets all and
// is started again, because only what is durable may be gone on from.
func (e *Enclave) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	conn, err := l.Accept()
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("serve: %w", err)
	}
	l.Close()
	defer conn.Close()
	stopConn := context.AfterFunc(ctx, func() { conn.Close() })
	defer stopConn()
	calls, first := make(chan Call, waitingCalls), make(chan Call, hastyCalls)
	failed := make(chan error, 1)
	go func() {
		defer close(calls)
		r := bufio.NewReaderSize(conn, 1<<16)
		for {
			var c Call
			if err := ReadFrame(r, &c); err != nil {
				failed <- err
				return
			}
			to := calls
			if c.hasty() {
				to = first
			}
			to <- c
		}
	}()
	w := bufio.NewWriterSize(conn, 1<<16)
	explored := make(chan *aside, 1)
	for {
		for more := true; more && e.turns.n < waitingCalls; { // whoever has come takes a place
			select {
			case c, ok := <-calls:
				if !ok {
					return e.gone(ctx, <-failed)
				}
				e.come(c)
			default:
				more = false
			}
		}
		hasty := false
		select {
		case c := <-first:
			hasty = true
			e.come(c)
		case a := <-explored:
			e.explored(a)
		default:
			if e.turns.n > 0 {
				e.turn()
				break
			}
			select {
			case c := <-first:
				hasty = true
				e.come(c)
			case a := <-explored:
				e.explored(a)
			case c, ok := <-calls:
				if !ok {
					return e.gone(ctx, <-failed)
				}
				e.come(c)
			}
		}
		if a := e.nextAside(); a != nil {
			go func() {
				a.Run()
				explored <- a
			}()
		}
		var out []Message
		switch waiting := e.turns.n + len(calls); {
		case waiting == 0 || e.full(waiting):
			out = e.settle()
		case hasty: // answers go, the commit in the making goes on
			e.release()
			out = e.flush()
		}
		for _, m := range out {
			if err = WriteFrame(w, m); err != nil {
				return e.gone(ctx, err)
			}
		}
		if err = w.Flush(); err != nil {
			return e.gone(ctx, err)
		}
	}
}

func (e *Enclave) gone(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("host: %w", err)
}
