package disk_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"

	"latchkey/event"
	"latchkey/event/disk"
	"latchkey/event/eventtest"
)

type store struct{ config disk.Config }

func (s store) Open() (event.Log, error) {
	l, err := disk.Open(s.config)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// The suite runs on files in memory, which sync fast; TestFiles is on the
// machine's.
func TestDisk(t *testing.T) {
	eventtest.Run(t, func() eventtest.Store {
		return store{disk.Config{Folder: "log", Files: vfs.NewMem()}}
	})
}

func TestFiles(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "made", "by", "open")
	var want []string
	for i := range 5 {
		l := open(t, disk.Config{Folder: folder})
		if diff := cmp.Diff(want, read(t, l)); diff != "" {
			t.Fatal(diff)
		}
		e := fmt.Sprint("event ", i)
		appendOK(t, l, e, e)
		want = append(want, e, e)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder's mode is %v, %v", info.Mode(), err)
	}
}

func open(t *testing.T, c disk.Config) *disk.Log {
	t.Helper()
	l, err := disk.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func block(ss ...string) event.Block {
	var b event.Block
	for _, s := range ss {
		b.Events = append(b.Events, []byte(s))
	}
	return b
}

func appendOK(t *testing.T, l event.Log, ss ...string) {
	t.Helper()
	if err := l.Append(t.Context(), l.Next(), block(ss...)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, l event.Log) []string {
	t.Helper()
	var out []string
	for e, err := range l.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(e))
	}
	return out
}

// A power cut at any moment keeps what was acknowledged, and of the rest a
// beginning; the rows stand where the events do.
func TestPowerCut(t *testing.T) {
	files := vfs.NewCrashableMem()
	l := open(t, disk.Config{Folder: "log", Files: files})
	var acknowledged atomic.Int64
	var group sync.WaitGroup
	stop := make(chan struct{})
	group.Go(func() {
		var results []<-chan error
		for i := 0; ; i++ {
			b := block(fmt.Sprint(i))
			b.Puts = []event.Row{{Key: []byte("count"), Value: fmt.Append(nil, i+1)}}
			results = append(results, l.Submit(uint64(i), b))
			if len(results) == 8 {
				for _, r := range results {
					if err := <-r; err != nil {
						t.Error(err)
					}
					acknowledged.Add(1)
				}
				results = nil
				select {
				case <-stop:
					return
				default:
				}
			}
		}
	})
	for range 8 {
		for now := acknowledged.Load(); acknowledged.Load() < now+16; {
			runtime.Gosched()
		}
		before := acknowledged.Load()
		after := open(t, disk.Config{Folder: "log", Files: files.CrashClone(vfs.CrashCloneCfg{})})
		got := read(t, after)
		if int64(len(got)) < before {
			t.Errorf("%d events survive of %d acknowledged", len(got), before)
		}
		count, _, err := after.Get(t.Context(), []byte("count"))
		if err != nil || string(count) != fmt.Sprint(len(got)) {
			t.Errorf("%d events with rows of %s, %v", len(got), count, err)
		}
		if err := after.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	group.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// Every write operation after opening fails in turn: the append says so, what was
// acknowledged before survives, and nothing more is taken.
func TestFailedWriteIsTheLast(t *testing.T) {
	full := syscall.ENOSPC
	for failAt := int32(0); ; failAt++ {
		files := vfs.NewCrashableMem()
		var armed atomic.Bool
		var count atomic.Int32
		inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if !armed.Load() || op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
				return nil
			}
			if count.Add(1) > failAt {
				return fmt.Errorf("write %s: %w", op.Path, full)
			}
			return nil
		})
		l := open(t, disk.Config{Folder: "log", Files: errorfs.Wrap(files, inject)})
		appendOK(t, l, "kept")
		armed.Store(true)
		acknowledged := 1
		var err error
		for range 3 {
			if err = l.Append(t.Context(), l.Next(), block("more")); err != nil {
				break
			}
			acknowledged++
		}
		if err == nil {
			if failAt == 0 {
				t.Fatal("no append failed: the test injects nothing")
			}
			break // failAt is beyond what three appends write
		}
		if !errors.Is(err, event.ErrFailed) || !strings.Contains(err.Error(), "log") || !strings.Contains(err.Error(), full.Error()) {
			t.Errorf("write %d: error %v", failAt, err)
		}
		armed.Store(false)
		if err := l.Append(t.Context(), l.Next(), block("too late")); !errors.Is(err, event.ErrFailed) {
			t.Errorf("write %d: takes more: %v", failAt, err)
		}
		if _, _, err := l.Get(t.Context(), []byte("k")); !errors.Is(err, event.ErrFailed) {
			t.Errorf("write %d: still reads: %v", failAt, err)
		}
		if err := l.Close(); !errors.Is(err, event.ErrFailed) {
			t.Errorf("write %d: close: %v", failAt, err)
		}
		again := open(t, disk.Config{Folder: "log", Files: files.CrashClone(vfs.CrashCloneCfg{})})
		if got := read(t, again); len(got) < acknowledged || len(got) > acknowledged+1 || got[0] != "kept" {
			t.Errorf("write %d: %q after %d acknowledged", failAt, got, acknowledged)
		}
		appendOK(t, again, "goes on")
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Opening fails at every write in turn with an error that names the folder, and
// leaves the log whole.
func TestFailedOpenChangesNothing(t *testing.T) {
	files := vfs.NewCrashableMem()
	l := open(t, disk.Config{Folder: "log", Files: files})
	appendOK(t, l, "a", "b")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for failAt := int32(0); ; failAt++ {
		copied := files.CrashClone(vfs.CrashCloneCfg{})
		var count atomic.Int32
		inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && count.Add(1) > failAt {
				return fmt.Errorf("write %s: %w", op.Path, syscall.ENOSPC)
			}
			return nil
		})
		l, err := disk.Open(disk.Config{Folder: "log", Files: errorfs.Wrap(copied, inject)})
		if err == nil {
			if failAt < 3 {
				t.Fatalf("opening writes only %d times: the test injects nothing", failAt)
			}
			_ = l.Close()
			return
		}
		if !strings.Contains(err.Error(), "data folder log") || !strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
			t.Errorf("write %d: error %v", failAt, err)
		}
		again := open(t, disk.Config{Folder: "log", Files: copied.CrashClone(vfs.CrashCloneCfg{})})
		if diff := cmp.Diff([]string{"a", "b"}, read(t, again)); diff != "" {
			t.Errorf("write %d:\n%s", failAt, diff)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}

// eventKey is where disk keeps an event.
func eventKey(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte("e"), n) }

// Whatever is changed in the stored chain, the log does not open and says where.
func TestBrokenChain(t *testing.T) {
	value := func(db *pebble.DB, key []byte) []byte {
		v, closer, err := db.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		defer closer.Close()
		return append([]byte{}, v...)
	}
	for name, tc := range map[string]struct {
		breakIt func(*pebble.DB) error
		at      uint64
	}{
		"a changed event": {func(db *pebble.DB) error {
			v := value(db, eventKey(2))
			v[len(v)-1] ^= 1
			return db.Set(eventKey(2), v, pebble.Sync)
		}, 2},
		"a changed link": {func(db *pebble.DB) error {
			v := value(db, eventKey(3))
			v[0] ^= 1
			return db.Set(eventKey(3), v, pebble.Sync)
		}, 3},
		"a missing event": {func(db *pebble.DB) error { return db.Delete(eventKey(1), pebble.Sync) }, 1},
		"no first event":  {func(db *pebble.DB) error { return db.Delete(eventKey(0), pebble.Sync) }, 0},
		"a lost end":      {func(db *pebble.DB) error { return db.Delete(eventKey(4), pebble.Sync) }, 4},
		"a short event":   {func(db *pebble.DB) error { return db.Set(eventKey(2), []byte("x"), pebble.Sync) }, 2},
		"events swapped":  {func(db *pebble.DB) error { return db.Set(eventKey(1), value(db, eventKey(2)), pebble.Sync) }, 1},
		"an added event":  {func(db *pebble.DB) error { return db.Set(eventKey(5), make([]byte, 32), pebble.Sync) }, 5},
		"a foreign key":   {func(db *pebble.DB) error { return db.Set([]byte("ex"), nil, pebble.Sync) }, 5},
		"no recorded end": {func(db *pebble.DB) error { return db.Delete([]byte("h"), pebble.Sync) }, 5},
		"a wrong end":     {func(db *pebble.DB) error { return db.Set([]byte("h"), make([]byte, 40), pebble.Sync) }, 5},
		"a wrong count at the end": {func(db *pebble.DB) error {
			v := value(db, []byte("h"))
			v[7]++
			return db.Set([]byte("h"), v, pebble.Sync)
		}, 5},
		"a wrong link at the end": {func(db *pebble.DB) error {
			v := value(db, []byte("h"))
			v[8] ^= 1
			return db.Set([]byte("h"), v, pebble.Sync)
		}, 5},
		"a short end":      {func(db *pebble.DB) error { return db.Set([]byte("h"), nil, pebble.Sync) }, 5},
		"the log emptied":  {func(db *pebble.DB) error { return db.DeleteRange([]byte("e"), []byte("f"), pebble.Sync) }, 0},
		"a cut to nothing": {func(db *pebble.DB) error { return db.DeleteRange(eventKey(2), []byte("f"), pebble.Sync) }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			files := vfs.NewMem()
			l := open(t, disk.Config{Folder: "log", Files: files})
			appendOK(t, l, "a", "b", "c", "d", "e")
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			db, err := pebble.Open("log", &pebble.Options{FS: files, FormatMajorVersion: pebble.FormatNewest})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(tc.breakIt(db), db.Close()); err != nil {
				t.Fatal(err)
			}
			for range 2 { // and it gave the folder free
				_, err = disk.Open(disk.Config{Folder: "log", Files: files})
				var broken *disk.ChainError
				if !errors.As(err, &broken) || broken.Event != tc.at {
					t.Fatalf("error %v, want the chain broken at event %d", err, tc.at)
				}
			}
		})
	}
}

func TestBadFolders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, folder := range map[string]string{"none": "", "a file": file, "under a file": filepath.Join(file, "log")} {
		if l, err := disk.Open(disk.Config{Folder: folder}); err == nil || !strings.Contains(err.Error(), folder) {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
}

// A folder that cannot be written, as errors of the file system because tests
// may run as root.
func TestReadOnlyFolder(t *testing.T) {
	for _, cause := range []syscall.Errno{syscall.EROFS, syscall.EACCES} {
		inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpMkdirAll {
				return &os.PathError{Op: "open", Path: op.Path, Err: cause}
			}
			return nil
		})
		_, err := disk.Open(disk.Config{Folder: "log", Files: errorfs.Wrap(vfs.NewMem(), inject)})
		if !errors.Is(err, cause) || errors.Is(err, event.ErrInUse) || !strings.Contains(err.Error(), "data folder log cannot be written") {
			t.Errorf("error %v", err)
		}
	}
}

// TestSecondProcess opens the folder from a process of its own: this test binary
// again, with the folder in its environment.
func TestSecondProcess(t *testing.T) {
	if folder := os.Getenv("LATCHKEY_TEST_FOLDER"); folder != "" {
		_, err := disk.Open(disk.Config{Folder: folder})
		fmt.Println("in use:", errors.Is(err, event.ErrInUse), err)
		return
	}
	folder := t.TempDir()
	l := open(t, disk.Config{Folder: folder})
	defer l.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestSecondProcess$", "-test.v")
	cmd.Env = append(os.Environ(), "LATCHKEY_TEST_FOLDER="+folder)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "in use: true data folder "+folder) {
		t.Errorf("%v\n%s", err, out)
	}
	appendOK(t, l, "still mine")
}

// Closing from another goroutine ends an iteration, and does not wait for the
// iterating caller to call back in.
func TestCloseEndsIterations(t *testing.T) {
	l := open(t, disk.Config{Folder: "log", Files: vfs.NewMem()})
	appendOK(t, l, "a", "b", "c")
	closed := make(chan error, 1)
	var last error
	n := 0
	for _, err := range l.Read(context.Background(), 0) {
		if last = err; err != nil {
			break
		}
		if n++; n == 1 {
			go func() { closed <- l.Close() }()
			for !errors.Is(l.Append(context.Background(), 3, block("x")), event.ErrClosed) {
			}
			if _, _, err := l.Get(context.Background(), []byte("k")); !errors.Is(err, event.ErrClosed) {
				t.Errorf("get within an iteration: %v", err)
			}
		}
	}
	if !errors.Is(last, event.ErrClosed) {
		t.Errorf("the iteration ended with %v", last)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// A damaged file is an error that names the folder, at the start as later: nobody
// waits for a read that never ends, and no events are left out in silence. Only
// damage in the last 32 KiB of the write-ahead log looks like a power cut.
func TestDamagedFile(t *testing.T) {
	const events = 200
	made := func(t *testing.T, ext string, size int) (folder, file string) {
		folder = t.TempDir()
		l := open(t, disk.Config{Folder: folder})
		for i := range events {
			appendOK(t, l, string(payload(byte(i), size)))
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if ext == ".sst" { // what is in the write-ahead log becomes a table with the next start
			if err := open(t, disk.Config{Folder: folder}).Close(); err != nil {
				t.Fatal(err)
			}
		}
		var largest int64
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil && filepath.Ext(e.Name()) == ext && info.Size() > largest {
				file, largest = filepath.Join(folder, e.Name()), info.Size()
			}
		}
		if file == "" {
			t.Fatalf("no file %s", ext)
		}
		return folder, file
	}
	damage := func(t *testing.T, file string) {
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, info.Size()/2); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		if _, err := f.WriteAt(b, info.Size()/2); err != nil {
			t.Fatal(err)
		}
	}
	fails := func(t *testing.T, what string, f func() error) {
		t.Helper()
		done := make(chan error, 1)
		go func() { done <- f() }()
		select {
		case err := <-done:
			if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "data folder /") {
				t.Errorf("%s: %v, want one line that names the folder", what, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: it does not end", what)
		}
	}
	for _, ext := range []string{".sst", ".log"} {
		t.Run("at the start"+ext, func(t *testing.T) {
			folder, file := made(t, ext, 500)
			damage(t, file)
			for range 2 { // it does not mend itself
				fails(t, "open", func() error {
					l, err := disk.Open(disk.Config{Folder: folder})
					if err == nil {
						err = l.Close()
						t.Errorf("it opens with %d of %d events", l.Next(), events)
					}
					return err
				})
			}
		})
	}
	t.Run("later", func(t *testing.T) {
		folder, file := made(t, ".sst", 100_000) // more than the store keeps in memory
		l := open(t, disk.Config{Folder: folder})
		damage(t, file)
		fails(t, "read", func() error {
			for _, err := range l.Read(t.Context(), 0) {
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// payload is noise, which no store makes shorter.
func payload(seed byte, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}
