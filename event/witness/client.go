package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"latchkey/head"
)

// Waits after a witness did not answer, the first and the longest.
const (
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 2 * time.Second
)

// Flights is how many heads may be on their way to one witness: a head does not wait
// until the one before it is answered for.
const Flights = 2

// ClientConfig is what a log's host needs to have heads cosigned.
type ClientConfig struct {
	// Group is the log and its witnesses; K of their cosignatures are enough.
	Group head.Group
	// URLs has each witness's submission prefix, by its name.
	URLs map[string]string
	// Prove proves that the log at size continues that at old, as
	// event.Prover.Consistency does. It is called from several goroutines.
	Prove func(ctx context.Context, old, size int64) ([]head.Hash, error)
	// Transport makes the requests, and says whom it believes. nil believes the
	// system's authorities.
	Transport http.RoundTripper
	// Timeout bounds one request. 0 is five seconds.
	Timeout time.Duration
	// Logger is told when a witness stops or starts answering. nil tells nobody.
	Logger *slog.Logger
}

// Client brings a log's heads to its witnesses. Each witness has goroutines that
// feed it the latest head, so a slow one delays nobody and catches up.
type Client struct {
	config  ClientConfig
	http    *http.Client
	stop    context.CancelFunc
	feeders []*feeder
	running sync.WaitGroup

	mu      sync.Mutex
	rounds  uint64
	latest  *round
	changed chan struct{} // closed, and replaced, when latest changes
	open    []*round      // without a result yet, in the order of submission
}

// round is one head on its way. The fields from cosignatures on are guarded by
// the client's mutex; result and err are set before done is closed.
type round struct {
	number       uint64 // in the order of submission
	checkpoint   head.Checkpoint
	signed       []byte
	cosignatures []Cosignature
	refusals     int
	done         chan struct{}
	result       Cosigned // of this head, or of a later one
	err          error
}

// feeder feeds one witness.
type feeder struct {
	client *Client
	key    head.WitnessKey
	url    string
	// What follows is guarded by the client's mutex. lastErr is why the witness did
	// not cosign last, nil where it did.
	lastErr error
	done    uint64 // number of the newest round that it cosigned
	taken   *round // the newest that a goroutine has taken on
	size    int64  // of the witness's head, as if it had cosigned all that was sent
	top     int64  // the largest that was sent
}

// NewClient checks a configuration and starts the feeders.
func NewClient(c ClientConfig) (*Client, error) {
	if err := c.Group.Check(); err != nil {
		return nil, fmt.Errorf("witness client: %w", err)
	}
	if c.Prove == nil {
		return nil, errors.New("witness client: no way to prove consistency")
	}
	if len(c.URLs) != len(c.Group.Witnesses) {
		return nil, fmt.Errorf("witness client: %d URLs for %d witnesses", len(c.URLs), len(c.Group.Witnesses))
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Transport == nil {
		c.Transport = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute}
	}
	ctx, stop := context.WithCancel(context.Background())
	client := &Client{
		config: c,
		http: &http.Client{
			Transport: c.Transport, Timeout: c.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		stop:    stop,
		changed: make(chan struct{}),
	}
	for _, key := range c.Group.Witnesses {
		u, err := url.Parse(c.URLs[key.Name()])
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			stop()
			return nil, fmt.Errorf("witness client: URL %q of witness %s is not an http or https URL", c.URLs[key.Name()], key.Name())
		}
		client.feeders = append(client.feeders, &feeder{
			client:  client,
			key:     key,
			url:     strings.TrimSuffix(u.String(), "/") + "/add-checkpoint",
			lastErr: errors.New("not asked yet"),
		})
	}
	for _, f := range client.feeders {
		for range Flights {
			client.running.Go(func() { f.run(ctx) })
		}
	}
	return client, nil
}

// Close stops the feeders. Heads that wait get no result.
func (c *Client) Close() {
	c.stop()
	c.running.Wait()
	c.http.CloseIdleConnections()
}

// Cosign submits a head and waits until K witnesses have cosigned it. It returns
// the note with their cosignatures, or that of a later head that was submitted
// meanwhile and was there first. It asks witnesses that do not answer again and
// again until ctx ends, and fails at once where too many refuse: the log was
// rolled back or forked, or they do not know it. The error names each witness
// that is missing.
func (c *Client) Cosign(ctx context.Context, signed []byte) ([]byte, error) {
	checkpoint, err := head.OpenCheckpoint(signed, c.config.Group.Log)
	if err != nil {
		return nil, fmt.Errorf("have a head cosigned: %w", err)
	}
	h, err := c.Submit(checkpoint, signed)(ctx)
	return h.Note, err
}

// Cosigned is a head with the cosignatures of a quorum.
type Cosigned struct {
	head.Checkpoint
	Note []byte
}

// Submit begins what Cosign does with a head that the caller has opened, and returns
// the rest. Heads are submitted in the order of their sizes; several may be waited for
// at once.
func (c *Client) Submit(checkpoint head.Checkpoint, signed []byte) (wait func(context.Context) (Cosigned, error)) {
	r := &round{checkpoint: checkpoint, signed: signed, done: make(chan struct{})}
	c.mu.Lock()
	c.rounds++
	r.number = c.rounds
	c.open = append(c.open, r)
	c.latest = r
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	return func(ctx context.Context) (Cosigned, error) { return c.wait(ctx, r) }
}

func (c *Client) wait(ctx context.Context, r *round) (Cosigned, error) {
	select {
	case <-r.done:
		return r.result, r.err
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open = slices.DeleteFunc(c.open, func(o *round) bool { return o == r })
		if r.result.Note != nil {
			return r.result, nil
		}
		return Cosigned{}, fmt.Errorf("%w: %w", context.Cause(ctx), c.missing(r))
	}
}

// Status tells, by witness name, why each did not cosign last; nil where it did.
func (c *Client) Status() map[string]error {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]error{}
	for _, f := range c.feeders {
		out[f.key.Name()] = f.lastErr
	}
	return out
}

// missing says which witnesses a round lacks. c.mu is held.
func (c *Client) missing(r *round) error {
	var why []string
	for _, f := range c.feeders {
		has := slices.ContainsFunc(r.cosignatures, func(co Cosignature) bool { return co.Witness == f.key })
		if !has && f.lastErr != nil {
			why = append(why, fmt.Sprintf("%s: %v", f.key.Name(), f.lastErr))
		}
	}
	return fmt.Errorf("%s at size %d: %w: %d of %d cosignatures (%s)", r.checkpoint.Origin, r.checkpoint.Size,
		head.ErrQuorum, len(r.cosignatures), c.config.Group.K, strings.Join(why, "; "))
}

// finish gives a result to r and to every open round before it: a later head
// contains theirs. c.mu is held.
func (c *Client) finish(r *round, result Cosigned, err error) {
	i := slices.Index(c.open, r)
	if i < 0 {
		return
	}
	for _, o := range c.open[:i+1] {
		o.result, o.err = result, err
		close(o.done)
	}
	c.open = slices.Clone(c.open[i+1:])
}

// cosigned records a witness's cosignature of r.
func (c *Client) cosigned(r *round, f *feeder, co Cosignature) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.lastErr != nil {
		c.config.Logger.Info("witness answers", "witness", f.key.Name())
	}
	f.lastErr, f.done = nil, max(f.done, r.number)
	r.cosignatures = append(r.cosignatures, co)
	if len(r.cosignatures) == c.config.Group.K {
		c.finish(r, Cosigned{r.checkpoint, Merge(r.signed, r.cosignatures...)}, nil)
	}
}

// failed records that a witness did not cosign r, for good or for now.
func (c *Client) failed(r *round, f *feeder, err error, forGood bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.number > f.done { // else it answers again since
		if f.lastErr == nil || f.lastErr.Error() != err.Error() {
			c.config.Logger.Warn("witness does not cosign", "witness", f.key.Name(), "size", r.checkpoint.Size, "reason", err)
		}
		f.lastErr = err
	}
	if !forGood {
		return
	}
	if r.refusals++; r.refusals > len(c.feeders)-c.config.Group.K {
		c.finish(r, Cosigned{}, c.missing(r))
	}
}

// run feeds the witness the latest head, until ctx ends. Each is taken by one
// goroutine, which sends it again if it was not answered for, unless there is a newer.
func (f *feeder) run(ctx context.Context) {
	backoff := firstBackoff
	var again *round
	for {
		f.client.mu.Lock()
		r, changed := f.client.latest, f.client.changed
		idle := r == f.taken && (r == nil || r != again)
		f.taken, again = r, nil
		f.client.mu.Unlock()
		if idle {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return
			}
		}
		co, err := f.submit(ctx, r)
		if ctx.Err() != nil {
			return
		}
		var refusal *refusalError
		switch {
		case err == nil:
			backoff = firstBackoff
			f.client.cosigned(r, f, co)
		case errors.Is(err, errOvertaken):
			backoff = firstBackoff
		case errors.As(err, &refusal):
			backoff = firstBackoff
			f.client.failed(r, f, err, true)
		default:
			f.client.failed(r, f, err, false)
			again = r
			select {
			case <-time.After(backoff):
				backoff = min(2*backoff, maxBackoff)
			case <-ctx.Done():
				return
			}
		}
	}
}

// refusalError is an answer that asking again would not change.
type refusalError struct{ err error }

func (e *refusalError) Error() string { return e.err.Error() }
func (e *refusalError) Unwrap() error { return e.err }

func refusal(format string, args ...any) error {
	return &refusalError{fmt.Errorf(format, args...)}
}

// errOvertaken says that the witness has cosigned a later head of this log, which
// was sent after this one and came first. It covers this one.
var errOvertaken = errors.New("a later head was there first")

// submit asks the witness to cosign r's head, from the size of the one sent before,
// or from that which its conflicts tell.
func (f *feeder) submit(ctx context.Context, r *round) (Cosignature, error) {
	size := r.checkpoint.Size
	f.client.mu.Lock()
	old := min(f.size, size)
	f.size, f.top = size, max(f.top, size)
	f.client.mu.Unlock()
	for range 6 { // another in flight may change its head meanwhile, more than once
		proof, err := f.client.config.Prove(ctx, old, size)
		if err != nil {
			return Cosignature{}, fmt.Errorf("prove consistency for it: %w", err)
		}
		status, answer, err := f.post(ctx, FormatRequest(head.Request{Old: old, Proof: proof, Signed: r.signed}))
		if err != nil {
			return Cosignature{}, err
		}
		switch {
		case status == http.StatusOK:
			co, err := OpenCosignature(r.checkpoint, f.key, answer)
			if err != nil {
				return Cosignature{}, &refusalError{err}
			}
			return co, nil
		case status == http.StatusConflict:
			theirs, err := strconv.ParseInt(strings.TrimSuffix(string(answer), "\n"), 10, 64)
			f.client.mu.Lock()
			top := f.top
			f.client.mu.Unlock()
			switch {
			case err != nil || theirs < 0:
				return Cosignature{}, refusal("conflict without a size: %.40q", answer)
			case theirs > size && theirs <= top:
				return Cosignature{}, errOvertaken
			case theirs > size:
				return Cosignature{}, refusal("is ahead, at size %d: was this log rolled back?", theirs)
			case theirs == old:
				return Cosignature{}, refusal("has a different head of size %d: the log forked", theirs)
			}
			old = theirs
		case status == http.StatusUnprocessableEntity:
			return Cosignature{}, refusal("has a head of size %d that this head does not continue: the log forked (%.200q)", old, bytes.TrimSpace(answer))
		case status == http.StatusTooManyRequests: // for now
			return Cosignature{}, fmt.Errorf("is asked too often: %.200q", bytes.TrimSpace(answer))
		case status >= 400 && status < 500:
			return Cosignature{}, refusal("answers %d: %.200q", status, bytes.TrimSpace(answer))
		default:
			return Cosignature{}, fmt.Errorf("answers %d: %.200q", status, bytes.TrimSpace(answer))
		}
	}
	return Cosignature{}, errors.New("its head keeps changing: does another host submit this log?")
}

func (f *feeder) post(ctx context.Context, body []byte) (status int, answer []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "text/plain; charset=utf-8")
	response, err := f.client.http.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return 0, nil, fmt.Errorf("read its answer: %w", err)
	}
	return response.StatusCode, answer, nil
}
