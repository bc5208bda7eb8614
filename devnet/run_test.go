package devnet

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var shBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// TestRunPage does what docs/run.md says, block by block in one shell: separate
// folders, processes and loopback addresses, certificates by openssl, TLS
// everywhere, a deposit, an exchange, sweeps, a change of a certificate. Then it
// looks whether a secret came into a log, and whether every process ends in an
// orderly way.
func TestRunPage(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a whole world of processes: not with -short")
	}
	for _, tool := range []string{"bash", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the page needs %s: %v", tool, err)
		}
	}
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "run.md"))
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(root, "bin")
	if err := Build(t.Context(), root, bin, func(s string) { t.Log(s) }); err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "latchkey-") // short: paths of sockets are bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the folder is left: %s", folder)
			return
		}
		os.RemoveAll(folder)
	})
	own := filepath.Join(folder, "bin")
	if err := os.CopyFS(own, os.DirFS(bin)); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(own, "latchkey"), "./cmd/latchkey")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var script strings.Builder
	script.WriteString("set -eu -o pipefail\n")
	blocks := shBlock.FindAllSubmatch(page, -1)
	if len(blocks) < 10 {
		t.Fatalf("docs/run.md has %d blocks of commands", len(blocks))
	}
	for _, b := range blocks {
		script.Write(b[1])
	}
	// The end, as systemd brings it: hosts before those whom they call.
	script.WriteString(`
for m in alice bob board escrow w1 w2 w3 w4; do
kill -TERM $(cat $m/pid)
wait $(cat $m/pid) || { echo "$m ends with status $?" >&2; exit 1; }
done
echo "all have ended"
`)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String())
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "PATH="+own+":"+os.Getenv("PATH"), "PROJECT="+root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what the script leaves behind is ended with it
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // the chains and the connectors
	if err != nil && !strings.Contains(out.String(), "all have ended") {
		t.Fatalf("%v\n%s%s", err, &out, lastLines(folder))
	}
	t.Logf("%s", &out)
	for _, want := range []string{"the escrow's log_key is the pinned one", "the policy accepts the escrow's evidence", "all 4 witnesses can be asked", "it runs and is ready"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the doctor does not say %q", want)
		}
	}
	if strings.Contains(out.String(), "ERROR") {
		t.Error("the doctor finds an error")
	}
	noSecrets(t, folder)
}

// lastLines are the ends of all logs, for a failure.
func lastLines(folder string) string {
	var b strings.Builder
	for _, pattern := range []string{"*/log", "*/*.log"} {
		paths, _ := filepath.Glob(filepath.Join(folder, pattern))
		for _, p := range paths {
			raw, _ := os.ReadFile(p)
			b.WriteString("--- " + p + "\n" + string(raw[max(0, len(raw)-1500):]) + "\n")
		}
	}
	return b.String()
}

var (
	hexWord    = regexp.MustCompile(`[0-9a-fA-F]{64}`)
	base64Word = regexp.MustCompile(`[A-Za-z0-9+/_-]{43}=?`)
)

// noSecrets looks in all that the processes have printed for what the files hold
// that nobody else may read: platforms' and wallets' keys, tokens, TLS keys.
func noSecrets(t *testing.T, folder string) {
	t.Helper()
	secrets := map[string]string{} // the text, by where it is from
	for _, pattern := range []string{"*/platform.json", "*/eth.token", "*/token", "*/*/own.key", "*/*/wallet.key", "*/tls.key", "*/data/key.pem"} {
		paths, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil || len(paths) == 0 {
			t.Errorf("no file %s: %v", pattern, err)
		}
		for _, p := range paths {
			raw, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range append(hexWord.FindAllString(string(raw), -1), base64Word.FindAllString(string(raw), -1)...) {
				secrets[w] = p
			}
		}
	}
	if len(secrets) < 20 {
		t.Fatalf("found %d secrets to look for", len(secrets))
	}
	logs := 0
	for _, pattern := range []string{"*/log", "*/*.log", "*/ready", "*/*.ready"} {
		paths, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			raw, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			logs++
			for w, from := range secrets {
				if bytes.Contains(bytes.ToLower(raw), bytes.ToLower([]byte(w))) {
					t.Errorf("%s has a secret of %s", p, from)
				}
			}
		}
	}
	if logs < 15 {
		t.Errorf("looked into %d logs", logs)
	}
}
