//go:build linux

package devnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// roles are those who get units in TestSystemd, with what stands in docs/run.md for
// the escrow.
var roles = []struct{ name, units, config string }{
	{"escrow", "latchkey-vault@escrow latchkey-escrow", "escrow.toml"},
	{"witness", "latchkey-witness", "witness.toml"},
	{"switchboard", "latchkey-switchboard", "switchboard.toml"},
	{"alice", "latchkey-vault@alice latchkey-client@alice latchkey-wallet-btc@alice latchkey-wallet-eth@alice", "client.toml"},
}

// TestSystemd boots a systemd in namespaces of its own, brings every unit of
// dist/systemd in by the commands of docs/run.md, and looks whether they bear their
// own hardening: that they start, do their work, are there again when they were killed,
// and end when they are asked to.
func TestSystemd(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a whole world of processes: not with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("boots a systemd: only root may")
	}
	for _, tool := range []string{"bash", "openssl", "mount", "unshare", "nsenter", "useradd", "runuser", "systemctl", "systemd-analyze"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	t.Parallel() // it waits for most of its time
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	srv := t.TempDir()
	pageParts(t, root, filepath.Join(srv, "page"))
	bin := filepath.Join(root, "bin")
	if err := Build(t.Context(), root, bin, func(s string) { t.Log(s) }); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(srv, "bin", "latchkey"), "./cmd/latchkey")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for to, from := range map[string]string{"bin": bin, "project/bin": bin, "project/dist": filepath.Join(root, "dist"), "project/examples": filepath.Join(root, "examples"), "test": "testdata/systemd"} {
		if err := os.CopyFS(filepath.Join(srv, to), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(srv, "bin", "latchkey"), filepath.Join(srv, "project", "bin", "latchkey")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	pid := boot(t, srv)
	t.Logf("systemd is up after %.1f s", time.Since(began).Seconds())
	out, err := inside(t.Context(), pid, "bash", "/srv/test/world.sh")
	t.Logf("after %.1f s: %s", time.Since(began).Seconds(), out)
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) || !bytes.HasSuffix(out, []byte("all is done\n")) { // what it leaves running may hold its output
		journal, _ := inside(context.WithoutCancel(t.Context()), pid, "journalctl", "--no-pager", "-o", "short-monotonic", "-n", "400")
		t.Errorf("%v\n%s", err, journal)
	}
}

// pageParts writes the commands of docs/run.md into files: a block for the shell as
// section.number, and of those for root in "Systemd" the first as systemd.1, the
// others as name.files, name.data, name.start and name.doctor for each role.
func pageParts(t *testing.T, root, folder string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs", "run.md"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, section := range strings.Split(string(page), "\n## ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		name := strings.ReplaceAll(strings.ToLower(title), " ", "-")
		for i, b := range shBlock.FindAllStringSubmatch(text, -1) {
			write(fmt.Sprintf("%s.%d", name, i+1), b[1])
		}
		if title != "Systemd" {
			continue
		}
		blocks := regexp.MustCompile("(?ms)^```console\n(.*?)^```$").FindAllStringSubmatch(text, -1)
		if len(blocks) != 4 {
			t.Fatalf("the page's section on systemd has %d blocks of commands, want 4", len(blocks))
		}
		commands := func(i int) string { return regexp.MustCompile("(?m)^# ").ReplaceAllString(blocks[i][1], "") }
		write("systemd.1", "(cd $PROJECT\n"+commands(0)+")\n")
		start, doctor, ok := strings.Cut(commands(3), "runuser ")
		if !ok || !strings.Contains(start, roles[0].units) || !strings.Contains(doctor, roles[0].config) {
			t.Fatalf("the page does not start the escrow as expected: %s", blocks[3][1])
		}
		for _, r := range roles {
			of := func(commands string) string {
				commands = strings.ReplaceAll(commands, roles[0].units, r.units)
				commands = strings.ReplaceAll(commands, roles[0].config, r.config)
				return strings.ReplaceAll(commands, roles[0].name, r.name)
			}
			write(r.name+".files", of(commands(1)))
			write(r.name+".data", of(commands(2)))
			write(r.name+".start", of(start))
			write(r.name+".doctor", of("runuser "+doctor))
		}
	}
}

// boot boots a systemd that sees folder srv as /srv, and returns its process id. It
// ends with the test. Where this machine does not allow it, the test is skipped.
func boot(t *testing.T, srv string) int {
	t.Helper()
	group, err := controlGroup()
	if err != nil {
		t.Skipf("boots a systemd, which needs a control group (version 2) of its own: %v", err)
	}
	t.Cleanup(func() { removeGroup(group) })
	var console bytes.Buffer
	cmd := exec.Command("bash", "testdata/systemd/boot.sh", t.TempDir(), srv, group)
	cmd.Stdout, cmd.Stderr = &console, &console
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("boots a systemd, which needs namespaces of its own: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // with process 1 all others of its namespace end
		<-ended
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		// Before process 1 is systemd, there is nobody to ask.
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid))
		if string(name) == "systemd\n" {
			out, err := inside(t.Context(), cmd.Process.Pid, "systemctl", "is-system-running")
			if err == nil {
				return cmd.Process.Pid
			}
			if time.Now().After(end) {
				t.Fatalf("systemd does not come up: %s\n%s", out, console.Bytes())
			}
		}
		select {
		case <-ended:
			t.Skipf("a systemd cannot be booted here: %s", console.Bytes())
		default:
		}
		if time.Now().After(end) {
			t.Fatal("systemd does not come up")
		}
	}
}

// controlGroup makes a control group for the test.
func controlGroup() (string, error) {
	all := errors.New("none is mounted")
	for _, mounted := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(mounted, "cgroup.controllers")); err != nil {
			continue
		}
		group, err := os.MkdirTemp(mounted, "latchkey-")
		if err == nil {
			return group, nil
		}
		all = err
	}
	return "", all
}

// removeGroup removes a control group and those below it, as soon as they are empty.
func removeGroup(group string) {
	for range 50 {
		var folders []string
		_ = filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				folders = append(folders, path)
			}
			return nil
		})
		if len(folders) == 0 {
			return
		}
		for i := len(folders) - 1; i >= 0; i-- {
			_ = syscall.Rmdir(folders[i])
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// inside runs a command as root where process pid is process 1.
func inside(ctx context.Context, pid int, command ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	args := append([]string{"-t", fmt.Sprint(pid), "-m", "-p", "-n", "-u", "-i", "-C", "--"}, command...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/units", "SYSTEMD_PAGER=", "LC_ALL=C.UTF-8"}
	cmd.WaitDelay = time.Second
	return cmd.CombinedOutput()
}
