package hosttest

import (
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// mountable reports whether this process may mount file systems.
func mountable() bool {
	dir, err := os.MkdirTemp("", "mount")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	return mountSmall(dir) == nil && unmountAny(dir) == nil
}

// replace FILE OLD NEW changes a file.
func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}

// busy VARIABLE listens on a port until the script ends and puts its address into
// a variable.
func busy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: busy VARIABLE")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// served PATH answers on a Unix socket, as a process that lives does, until the
// script ends.
func served(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: served PATH")
	}
	l, err := net.Listen("unix", ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
}

// stale PATH leaves a Unix socket that nobody serves, as a killed process does.
func stale(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: stale PATH")
	}
	l, err := net.Listen("unix", ts.MkAbs(args[0]))
	ts.Check(err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	ts.Check(l.Close())
}

// full FOLDER puts a file system on the folder that has the folder's files and no
// room for more.
func full(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: full FOLDER")
	}
	path := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(path, 0o700))
	kept := filepath.Join(ts.MkAbs("."), ".kept")
	ts.Check(os.MkdirAll(kept, 0o700))
	ts.Check(os.CopyFS(filepath.Join(kept, args[0]), os.DirFS(path)))
	ts.Check(mountSmall(path))
	ts.Defer(func() { _ = unmountAny(path) })
	ts.Check(os.CopyFS(path, os.DirFS(filepath.Join(kept, args[0]))))
	ts.Check(os.RemoveAll(kept))
	f, err := os.Create(filepath.Join(path, "ballast"))
	ts.Check(err)
	defer f.Close()
	for size := 1 << 20; size >= 1; size /= 2 {
		for err == nil {
			_, err = f.Write(make([]byte, size))
		}
		err = nil
	}
}

// readonly FOLDER lets nobody write there, not even root.
func readonly(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: readonly FOLDER")
	}
	path := ts.MkAbs(args[0])
	ts.Check(mountReadOnly(path))
	ts.Defer(func() { _ = unmountAny(path) })
}

// unmount FOLDER takes back what full or readonly did; what was there before is
// there again.
func unmount(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: unmount FOLDER")
	}
	ts.Check(unmountAny(ts.MkAbs(args[0])))
}

// damage FOLDER changes a byte in the middle of every file of a store's write-ahead
// log and tables.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: damage FOLDER")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	changed := 0
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext != ".log" && ext != ".sst" {
			continue
		}
		path := filepath.Join(ts.MkAbs(args[0]), e.Name())
		b, err := os.ReadFile(path)
		ts.Check(err)
		if len(b) == 0 {
			continue
		}
		b[len(b)/2] ^= 1
		ts.Check(os.WriteFile(path, b, 0o600))
		changed++
	}
	if changed == 0 {
		ts.Fatalf("%s has nothing to damage", args[0])
	}
}
