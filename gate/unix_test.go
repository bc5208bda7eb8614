package gate_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"latchkey/gate"
)

// A socket says where it is found, is for its owner alone, and is there: what is
// printed when a program is ready can be dialled.
func TestListenUnix(t *testing.T) {
	dir, err := os.MkdirTemp("", "gate") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s.sock")
	l, err := gate.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := l.Addr().String(); got != path {
		t.Errorf("got address %s, want %s", got, path)
	}
	c, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("got mode %o, want 600", got)
	}
	if _, err := gate.ListenUnix(path); err == nil {
		t.Error("got a second listener where one serves")
	}
}
