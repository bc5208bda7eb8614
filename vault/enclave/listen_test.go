package enclave

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// A vault takes over the socket of one whose host was killed before it came, and
// of one that was killed itself; not of one that goes on answering.
func TestListen(t *testing.T) {
	accept := func(l net.Listener, once bool) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if once {
				l.Close()
			}
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}
	for _, x := range []struct {
		name  string
		leave func(l *net.UnixListener)
		want  string
	}{
		{"orphan", func(l *net.UnixListener) { go accept(l, true) }, ""},
		{"killed", func(l *net.UnixListener) { l.SetUnlinkOnClose(false); l.Close() }, ""},
		{"alive", func(l *net.UnixListener) { go accept(l, false) }, "another vault answers there"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "s")
			first, err := Listen(path)
			if err != nil {
				t.Fatal(err)
			}
			defer first.Close()
			x.leave(first.(*net.UnixListener))
			second, err := Listen(path)
			if err == nil {
				defer second.Close()
			}
			if got := err != nil && strings.Contains(err.Error(), x.want); x.want == "" && err != nil || x.want != "" && !got {
				t.Errorf("listen again: %v, want %q", err, x.want)
			}
		})
	}
}
