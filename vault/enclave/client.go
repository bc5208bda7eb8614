package enclave

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"latchkey/key"
	"latchkey/wire"
)

// ErrNoSession is wrapped by a failed call when the vault has no session with
// its escrow: say Hello and Finish, then call again.
var ErrNoSession = errors.New("the vault has no session")

// ErrGone is wrapped by every call after the vault has gone away.
var ErrGone = errors.New("the vault has gone away")

// A Client is the host's end of a vault's socket. Any goroutine may call it.
type Client struct {
	conn    net.Conn
	writing sync.Mutex // guards w. Who delivers results never waits for it: a vault that cannot write reads nothing
	w       *bufio.Writer
	mu      sync.Mutex // guards what follows
	next    uint64
	waiting map[uint64]chan Result
	err     error
	done    chan struct{}
}

// Dial connects to a vault's socket, waiting for it to appear until ctx ends.
// commit is called with each Commit, in order, from one goroutine; when what it
// had is durable, the host calls Durable.
func Dial(ctx context.Context, path string, commit func(Commit)) (*Client, error) {
	var conn net.Conn
	for {
		var err error
		if conn, err = net.Dial("unix", path); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to the vault at %s: %w", path, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	c := &Client{conn: conn, w: bufio.NewWriterSize(conn, 1<<16), waiting: map[uint64]chan Result{}, done: make(chan struct{})}
	go c.read(commit)
	return c, nil
}

// read gives each commit, whole, to commit, and each result to who waits for it, until the
// connection ends.
func (c *Client) read(commit func(Commit)) {
	r := bufio.NewReaderSize(c.conn, 1<<16)
	var rows []StoredRow // of a commit that comes in parts
	for {
		var m Message
		if err := ReadFrame(r, &m); err != nil {
			c.fail(err)
			return
		}
		if m.Commit != nil {
			rows = append(rows, m.Commit.Rows...)
			if !m.Commit.More {
				m.Commit.Rows, rows = rows, nil
				commit(*m.Commit)
			}
		}
		if m.Result != nil {
			c.mu.Lock()
			ch := c.waiting[m.Result.N]
			delete(c.waiting, m.Result.N)
			c.mu.Unlock()
			if ch != nil {
				ch <- *m.Result
			}
		}
	}
}

// fail ends the connection: who waits, or calls from now on, hears ErrGone.
func (c *Client) fail(err error) {
	c.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = fmt.Errorf("%w: %w", ErrGone, err)
		close(c.done)
	}
	for n, ch := range c.waiting {
		delete(c.waiting, n)
		close(ch)
	}
}

// Done is closed when the vault has gone away.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close leaves the vault, which then stops.
func (c *Client) Close() { c.fail(net.ErrClosed) }

// send writes a call. Its result goes to ch, if there is one, which is closed without a
// result when the vault is gone.
func (c *Client) send(call Call, ch chan Result) error {
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	if ch != nil {
		c.next++
		call.N = c.next
		c.waiting[call.N] = ch
	}
	c.mu.Unlock()
	c.writing.Lock()
	defer c.writing.Unlock()
	err := WriteFrame(c.w, call)
	if err == nil {
		err = c.w.Flush()
	}
	if err != nil {
		c.mu.Lock()
		delete(c.waiting, call.N)
		c.mu.Unlock()
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			err = fmt.Errorf("%w: %w", ErrGone, err)
		}
	}
	return err
}

// Durable tells the vault that its Commit of this number is durable.
func (c *Client) Durable(number uint64) error { return c.send(Call{Durable: &Durable{number}}, nil) }

// Call asks the vault and waits for its Result, which comes when all that it
// rests on is durable, and witnessed where need be. An error of the vault comes
// back as an error; ErrNoSession is wrapped where that is the reason.
func (c *Client) Call(ctx context.Context, call Call) (Result, error) {
	return c.Ask(call)(ctx)
}

// Ask is Call in two parts: when it returns, the vault will hear this call before any that
// is made later; what it returns waits for the Result.
func (c *Client) Ask(call Call) func(context.Context) (Result, error) {
	ch := make(chan Result, 1)
	if err := c.send(call, ch); err != nil {
		return func(context.Context) (Result, error) { return Result{}, err }
	}
	return func(ctx context.Context) (Result, error) { return c.answer(ctx, ch) }
}

func (c *Client) answer(ctx context.Context, ch chan Result) (Result, error) {
	select {
	case r, ok := <-ch:
		switch {
		case !ok:
			return Result{}, ErrGone
		case r.NoSession:
			return r, fmt.Errorf("%s: %w", r.Error, ErrNoSession)
		case r.Error != "":
			return r, errors.New(r.Error)
		}
		return r, nil
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
}

// Status asks what the vault holds and knows, page by page.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var all Status
	for page := (*Page)(nil); page == nil || all.More; {
		r, err := c.Call(ctx, Call{Status: &Nothing{}, Page: page})
		if err != nil {
			return Status{}, err
		}
		s := *r.Status
		if page == nil {
			all, page = s, &Page{}
		} else {
			all.Chunks, all.Instances, all.Certs = append(all.Chunks, s.Chunks...), append(all.Instances, s.Instances...), append(all.Certs, s.Certs...)
			all.More = s.More
		}
		if n := len(s.Chunks); n > 0 {
			page.Chunk = s.Chunks[n-1].ID
		}
		if n := len(s.Instances); n > 0 {
			page.Instance = s.Instances[n-1].ID
		}
	}
	certs := map[wire.CertID]key.Certificate{}
	for _, x := range all.Certs {
		id, err := x.ID()
		if err != nil {
			return Status{}, fmt.Errorf("status of the vault: %w", err)
		}
		certs[id] = x
	}
	for i := range all.Chunks {
		all.Chunks[i].Cert = certs[all.Chunks[i].Chunk.Cert]
	}
	return all, nil
}
