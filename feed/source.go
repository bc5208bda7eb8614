package feed

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ErrSource is wrapped by whatever a source cannot answer.
var ErrSource = errors.New("source")

// Limits of what a source may send.
const (
	maxBody   = 1 << 20
	maxLine   = 256
	maxNumber = 64
)

// Observation is a value at a time, in Unix seconds.
type Observation struct{ Time, Value int64 }

// Scale reads a decimal number as a whole one with so many decimals: "12.345" with
// two is 1234. What is beyond them is cut off.
func Scale(text string, decimals int) (int64, error) {
	text = strings.TrimSpace(text)
	mantissa, exponent, scientific := strings.Cut(strings.ToLower(text), "e")
	if n, err := strconv.Atoi(exponent); scientific && (err != nil || n < -40 || n > 40) || len(text) > maxNumber || strings.ContainsAny(text, "/_xXpP") || mantissa == "" {
		return 0, fmt.Errorf("%w: %.64q is no decimal number", ErrSource, text)
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return 0, fmt.Errorf("%w: %.64q is no decimal number", ErrSource, text)
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(decimals)), nil)))
	v := new(big.Int).Quo(r.Num(), r.Denom())
	if !v.IsInt64() {
		return 0, fmt.Errorf("%w: %.64q is too great", ErrSource, text)
	}
	return v.Int64(), nil
}

// ReadFile reads observations: a line each, TIME VALUE or TIME,VALUE, the time as
// parse reads it. Empty lines and lines that begin with # count for nothing.
func ReadFile(r io.Reader, decimals int, parse func(string) (int64, error)) (list []Observation, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		i := strings.LastIndexAny(text, ", \t")
		if i < 0 {
			return nil, fmt.Errorf("%w: line %d is not TIME VALUE", ErrSource, n)
		}
		at, err1 := parse(strings.TrimRight(text[:i], ", \t"))
		v, err2 := Scale(text[i+1:], decimals)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrSource, n, err)
		}
		list = append(list, Observation{at, v})
	}
	return list, lines.Err()
}

// HTTP is a source that answers with JSON.
type HTTP struct {
	url      string
	pointer  []string
	decimals int
	client   *http.Client
}

// NewHTTP makes a source of an address, https or http on this machine only, and a
// JSON pointer (RFC 6901) to the value, a number or a string with one, in the
// answer. Redirects are not followed.
func NewHTTP(address, pointer string, decimals int) (*HTTP, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%w: the address cannot be read", ErrSource)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && !ip.IsLoopback()) {
		return nil, fmt.Errorf("%w: the address is neither https nor http on this machine", ErrSource)
	}
	h := &HTTP{url: address, decimals: decimals, client: &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if pointer != "" {
		if pointer[0] != '/' {
			return nil, fmt.Errorf("%w: the pointer %q does not begin with /", ErrSource, pointer)
		}
		h.pointer = strings.Split(pointer[1:], "/")
	}
	return h, nil
}

// Observe asks for the value now.
func (h *HTTP) Observe(ctx context.Context) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url, nil)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrSource, err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := h.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrSource, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%w: it answers with %s", ErrSource, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrSource, err)
	}
	if len(body) > maxBody {
		return 0, fmt.Errorf("%w: it answers with more than %d bytes", ErrSource, maxBody)
	}
	return h.value(body)
}

func (h *HTTP) value(body []byte) (int64, error) {
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return 0, fmt.Errorf("%w: it does not answer with JSON: %w", ErrSource, err)
	}
	for _, step := range h.pointer {
		step = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
		ok := false
		switch in := v.(type) {
		case map[string]any:
			v, ok = in[step]
		case []any:
			if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(in) {
				v, ok = in[i], true
			}
		}
		if !ok {
			return 0, fmt.Errorf("%w: the answer has nothing at %q", ErrSource, step)
		}
	}
	switch v := v.(type) {
	case json.Number:
		return Scale(v.String(), h.decimals)
	case string:
		return Scale(v, h.decimals)
	}
	return 0, fmt.Errorf("%w: the answer has no number there", ErrSource)
}
