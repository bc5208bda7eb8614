package client

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"latchkey/client/clientpb"
)

// Dial returns a caller of the client's host at unix:PATH or http://127.0.0.1:PORT.
// It connects with the first call.
func Dial(address string) (clientpb.ClientServiceClient, error) {
	t := &http.Transport{}
	c := &http.Client{Transport: t}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return clientpb.NewClientServiceClient(c, "http://localhost"), nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("client %q: want unix:PATH or http://127.0.0.1:PORT", address)
	}
	return clientpb.NewClientServiceClient(c, strings.TrimSuffix(address, "/")), nil
}
