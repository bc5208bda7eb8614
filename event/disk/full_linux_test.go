package disk_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"latchkey/event"
	"latchkey/event/disk"
)

// A real disk that fills up: the log ends with what the system says, nothing that
// it acknowledged is lost, and it goes on where there is room. It needs the right to
// mount a file system in memory.
func TestFullDisk(t *testing.T) {
	small := t.TempDir()
	if err := syscall.Mount("latchkey", small, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("no small disk: mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(small, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	folder := filepath.Join(small, "log")
	l := open(t, disk.Config{Folder: folder})
	var want []string
	var err error
	for i := 0; err == nil && i < 4096; i++ {
		e := fmt.Sprintf("event %d %s", i, strings.Repeat("x", 64<<10))
		if err = l.Append(t.Context(), l.Next(), block(e)); err == nil {
			want = append(want, e)
		}
	}
	if !errors.Is(err, event.ErrFailed) || !strings.Contains(fmt.Sprint(err), "no space left on device") {
		t.Fatalf("after %d events: %v, want what the disk says", len(want), err)
	}
	if err := l.Append(t.Context(), l.Next(), block("one more")); !errors.Is(err, event.ErrFailed) {
		t.Errorf("a log that has failed takes more: %v", err)
	}
	roomy := filepath.Join(t.TempDir(), "log")
	if err := os.CopyFS(roomy, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	moved := open(t, disk.Config{Folder: roomy})
	got := read(t, moved)
	if len(got) < len(want) || len(got) > len(want)+1 { // the one that failed may be there: nobody was told so
		t.Fatalf("%d events are there, %d were acknowledged", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("event %d is another", i)
		}
	}
	appendOK(t, moved, "room")
	if err := moved.Close(); err != nil {
		t.Error(err)
	}
}
