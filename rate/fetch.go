package rate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxBody bounds a reply and a file, in bytes (after decompression).
const maxBody = 1 << 20

// fetch asks a URL. Its errors are for the user's eyes and quote neither the URL, whose query may hold a key,
// nor more than 40 characters of what a stranger wrote.
func (f *Feed) fetch(ctx context.Context, s Source) (Observation, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		return Observation{}, errors.New("has a malformed url")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "latchkey")
	resp, err := f.client.Do(req)
	if err != nil {
		return Observation{}, f.unreachable(req.URL, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 == 3 {
		return Observation{}, fmt.Errorf("(%s) answered %d; redirects are not followed", req.URL.Host, resp.StatusCode)
	}
	if resp.StatusCode != http.StatusOK {
		return Observation{}, fmt.Errorf("(%s) answered %d %s", req.URL.Host, resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return Observation{}, f.unreachable(req.URL, err)
	}
	if len(body) > maxBody {
		return Observation{}, fmt.Errorf("(%s) answered more than %d bytes", req.URL.Host, maxBody)
	}
	return parseReply(body, s, f.clock())
}

func (f *Feed) unreachable(u *url.URL, err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("(%s) gave no answer within %d s", u.Host, f.config.Timeout)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("(%s) was not waited for", u.Host)
	}
	return fmt.Errorf("(%s) cannot be reached: %w", u.Host, err)
}

// parseReply finds price and time in a JSON document. Without a pointer to the time, now counts.
func parseReply(body []byte, s Source, now int64) (Observation, error) {
	doc, err := parseJSON(body)
	if err != nil {
		return Observation{}, err
	}
	v, err := lookup(doc, s.Price)
	if err != nil {
		return Observation{}, fmt.Errorf("gives no price at %s: %w", s.Price, err)
	}
	o := Observation{At: now}
	if o.Price, err = ParsePrice(v); err != nil {
		return Observation{}, fmt.Errorf("gives no usable price: %w", err)
	}
	if s.Time == "" {
		return o, nil
	}
	if v, err = lookup(doc, s.Time); err != nil {
		return Observation{}, fmt.Errorf("gives no time at %s: %w", s.Time, err)
	}
	if o.At, err = parseTime(v, s.TimeForm); err != nil {
		return Observation{}, fmt.Errorf("gives no usable time: %w", err)
	}
	return o, nil
}

// parseJSON reads exactly one JSON value and keeps its numbers as they are written.
func parseJSON(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, errors.New("answered something that is not JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("answered more than one JSON value")
	}
	return v, nil
}

// parsePointer splits a JSON pointer (RFC 6901) into its tokens.
func parsePointer(p string) ([]string, error) {
	if p == "" {
		return nil, nil
	}
	rest, ok := strings.CutPrefix(p, "/")
	if !ok {
		return nil, errors.New("does not begin with /")
	}
	tokens := strings.Split(rest, "/")
	for i, t := range tokens {
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(t), "~") {
			return nil, errors.New("has a ~ without 0 or 1 after it")
		}
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(t)
	}
	return tokens, nil
}

// lookup returns the number or string that the pointer leads to.
func lookup(doc any, pointer string) (string, error) {
	tokens, err := parsePointer(pointer)
	if err != nil {
		return "", err
	}
	for _, t := range tokens {
		var next any
		switch v := doc.(type) {
		case map[string]any:
			var ok bool
			if next, ok = v[t]; !ok {
				return "", fmt.Errorf("there is no %.40q", t)
			}
		case []any:
			i, err := strconv.ParseUint(t, 10, 31)
			if err != nil || i >= uint64(len(v)) || t != strconv.FormatUint(i, 10) {
				return "", fmt.Errorf("there is no element %.40q in a list of %d", t, len(v))
			}
			next = v[i]
		default:
			return "", fmt.Errorf("there is nothing to find %.40q in", t)
		}
		doc = next
	}
	switch v := doc.(type) {
	case json.Number:
		return v.String(), nil
	case string:
		return v, nil
	}
	return "", errors.New("it is neither a number nor a string")
}

// parseTime returns Unix seconds, rounded down.
func parseTime(s, form string) (int64, error) {
	if form == "rfc3339" {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return 0, fmt.Errorf("%.40q is not of the form 2006-01-02T15:04:05Z", s)
		}
		return t.Unix(), nil
	}
	places := map[string]int{"": 0, "s": 0, "ms": -3, "us": -6}[form]
	whole, _, _ := strings.Cut(s, ".") // some write 1700000000.123
	v, err := parseDecimal(whole, 0, true)
	if err != nil || v > 1<<62 {
		return 0, fmt.Errorf("%.40q is not a number of %s since 1970", s, map[string]string{"": "seconds", "s": "seconds", "ms": "milliseconds", "us": "microseconds"}[form])
	}
	for range -places {
		v /= 10
	}
	return int64(v), nil
}
