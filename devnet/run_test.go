package devnet

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var shBlock = regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$")

// TestRunPage does what docs/run.md says, block by block in one shell: separate
// folders, processes and loopback addresses, certificates by openssl, TLS
// everywhere, a deposit, an exchange, one tit for tat, sweeps, nodes that stand still,
// reorganise and lie, a change of a certificate. Then it looks whether a secret came into a log, and whether every process ends in an
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
	t.Parallel() // beside TestSystemd, which has a network of its own
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(root, "docs", "run.md"))
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "latchkey-") // short: paths of sockets are bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("umount", filepath.Join(folder, "escrow", "disk")).Run() // where the page came no further
		if t.Failed() {
			t.Logf("the folder is left: %s", folder)
			return
		}
		os.RemoveAll(folder)
	})
	pagePrograms(t, root, filepath.Join(folder, "bin"))
	network := fmt.Sprintf("127.%d.%d.", 1+rand.IntN(254), rand.IntN(256)) // so that two runs do not meet on one machine
	out := runPage(t, root, folder, strings.ReplaceAll(string(raw), "127.0.0.", network), network)
	t.Logf("%s", out)
	doctorSaid(t, out)
	clientsSaid(t, out)
	noSecrets(t, folder)
}

// pagePrograms builds what the page calls into folder to.
func pagePrograms(t *testing.T, root, to string) {
	t.Helper()
	bin := filepath.Join(root, "bin")
	if err := Build(t.Context(), root, bin, func(s string) { t.Log(s) }); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(bin)); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(to, "latchkey"), "./cmd/latchkey")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// pageEnd is what the script does after the page: it waits until the test has looked at
// the figures, then ends all, as systemd does: hosts before those whom they call.
const pageEnd = `
echo "all is done"
read -r _ || true
for m in alice bob board escrow w1 w2 w3 w4; do
kill -TERM $(cat $m/pid)
wait $(cat $m/pid) || { echo "$m ends with status $?" >&2; exit 1; }
done
echo "all have ended"
`

// runPage runs the page's commands in folder, on addresses that begin with network,
// watches the figures when all is done, and returns what was printed.
func runPage(t *testing.T, root, folder, page, network string) string {
	t.Helper()
	blocks := shBlock.FindAllStringSubmatch(page, -1)
	if len(blocks) < 10 {
		t.Fatalf("docs/run.md has %d blocks of commands", len(blocks))
	}
	script := "set -eu -o pipefail\n"
	for _, b := range blocks {
		script += b[1]
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script+pageEnd)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(folder, "bin")+":"+os.Getenv("PATH"), "PROJECT="+root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what the script leaves behind is ended with it
	out := watched{done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 2 * time.Second
	goOn, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // while everything runs
		<-out.done
		watch(t, page, folder, network)
		_ = goOn.Close()
	}()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // the chains and the connectors
	if err != nil && !strings.Contains(out.String(), "all have ended") {
		t.Fatalf("%v\n%s%s", err, out.String(), lastLines(folder))
	}
	return out.String()
}

// doctorSaid looks for what the doctor finds where all is well, and for each trouble
// that the page makes: these errors, and no others.
func doctorSaid(t *testing.T, out string) {
	t.Helper()
	for _, want := range []string{"the escrow's log_key is the pinned one", "the policy accepts the escrow's evidence", "all 4 witnesses can be asked", "it runs and is ready"} {
		if !strings.Contains(out, want) {
			t.Errorf("the doctor does not say %q", want)
		}
	}
	found := []string{
		"ERROR   state       the key",
		"ERROR   wallet eth  the node does not follow its chain: the node behind latchkey wallet-eth for eip155:1337 stands still",
	}
	if strings.Contains(out, "a full disk is not tried") {
		t.Log("a full disk is not tried: none may be mounted here")
	} else {
		found = append(found, "ERROR   disk        0 MiB are free under escrow/data", "ERROR   health      it runs and is not ready: 0 MiB are free")
		for _, want := range []string{"the escrow's disk is full", "escrow/data/", "no space left on device"} {
			if !strings.Contains(out, want) {
				t.Errorf("with a full disk nobody says %q", want)
			}
		}
	}
	for _, want := range found {
		if !strings.Contains(out, "\n"+want) {
			t.Errorf("the doctor does not say %q", want)
		}
	}
	late := regexp.MustCompile(`\nERROR   health .* does not follow its chain`).FindAllString(out, -1) // where that client has noticed by then
	if n := strings.Count(out, "\nERROR ") - len(late); n != len(found) {
		t.Errorf("the doctor finds %d errors, want %d", n, len(found))
	}
}

// clientsSaid looks for what the clients say of the exchange tit for tat, and of the
// coins that a lying node had shown.
func clientsSaid(t *testing.T, out string) {
	t.Helper()
	for _, want := range []string{
		"settled tit for tat in 6 steps: rounds of 1 to 2 units", "\nalice +4 units ", "\nbob +2 units ", // before Bob accepts
		"\n[0-9a-f]{8} +Swap as bob +owned +nothing ", "\nstep 5 taken .* kept: entry ", // after the last step
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("of the exchange tit for tat nothing says %q", want)
		}
	}
	if !strings.Contains(out, "not funded: 0 of ") {
		t.Error("Bob's client does not say that what Alice offers is not there")
	}
	if !strings.Contains(out, "\nPROBLEM sweep of eth ") {
		t.Error("Bob's client does not say that what he has bought is empty")
	}
}

// watched is what the script prints; done is closed when it has done all that the
// page says.
type watched struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	done chan struct{}
	said bool
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.buf.Write(b)
	if !w.said && bytes.Contains(w.buf.Bytes(), []byte("all is done")) {
		w.said = true
		close(w.done)
	}
	return n, err
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

var metricName = regexp.MustCompile("`([a-z_]+)(\\{[a-z]+\\})?`")

// watch reads the figures of all roles, until each metric that the page speaks of is
// there, and some have the values that this run must leave.
func watch(t *testing.T, page, folder, network string) {
	var all map[string]string
	var missing []string
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		all, missing = look(page, folder, network)
		if len(missing) == 0 {
			return
		}
		if time.Now().After(end) {
			break
		}
	}
	for _, m := range missing {
		t.Error(m)
	}
	for who, text := range all {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "latchkey_") {
				t.Logf("%s: %s", who, strings.TrimSpace(line))
			}
		}
	}
}

// look reads health and figures of a process of each role, and says what is missing.
func look(page, folder, network string) (all map[string]string, missing []string) {
	all = map[string]string{}
	for name, at := range map[string]string{"witness": network + "11:7409", "escrow": network + "21:7209", "switchboard": network + "31:7309", "client": "unix:" + filepath.Join(folder, "alice", "admin.sock")} {
		c, url := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}, "http://"+at
		if path, ok := strings.CutPrefix(at, "unix:"); ok {
			url = "http://admin"
			c.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", path)
			}}
		}
		for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
			r, err := c.Get(url + path)
			if err != nil {
				missing = append(missing, err.Error())
				continue
			}
			raw, err := io.ReadAll(r.Body)
			r.Body.Close()
			if err != nil || r.StatusCode != http.StatusOK {
				missing = append(missing, fmt.Sprintf("%s%s: %d, %v, %.300s", name, path, r.StatusCode, err, raw))
			}
			all[name] += string(raw)
		}
		c.CloseIdleConnections()
	}
	_, table, _ := strings.Cut(page, "| metric (`latchkey_…`)")
	table, _, _ = strings.Cut(table, "\n\n")
	named := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, m := range metricName.FindAllStringSubmatch(cells[1], -1) {
			named++
			if !strings.Contains(all["witness"]+all["escrow"]+all["switchboard"]+all["client"], "\nlatchkey_"+m[1]) {
				missing = append(missing, fmt.Sprintf("the page speaks of the metric %s, and nobody has it", m[1]))
			}
		}
	}
	if named < 20 {
		missing = append(missing, fmt.Sprintf("found %d metrics in the page", named))
	}
	for _, x := range []struct{ who, line string }{
		{"escrow", "latchkey_vaults_enrolled 2"}, {"escrow", `latchkey_witness_up{witness="w4.example"} 1`}, {"escrow", "latchkey_instances_open 0"},
		{"escrow", `latchkey_refused_total{limit="address"} 0`}, {"switchboard", "latchkey_vaults_enrolled 2"}, {"switchboard", `latchkey_rate_ok{asset="btc"} 1`},
		{"switchboard", `latchkey_market_events_total{event="waslocked"} 3`}, {"witness", `latchkey_heads_refused_total{reason="fork"} 0`}, {"client", "latchkey_problems 0"},
		{"client", "latchkey_instances_open 0"}, {"client", `latchkey_chunks{state="swept"} 9`}, {"client", `latchkey_chunks{state="lost"} 0`},
	} {
		if !strings.Contains(all[x.who], "\n"+x.line+"\n") {
			missing = append(missing, fmt.Sprintf("%s has no line %q", x.who, x.line))
		}
	}
	return all, missing
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
