package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"latchkey/event"
	"latchkey/event/witness"
	"latchkey/event/witness/config"
	"latchkey/head"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"witness": main})
}

const origin = "escrow.example/log"

func logPrivate() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("latchkey test key " + origin))
	return ed25519.NewKeyFromSeed(seed[:])
}

func logKey(t testing.TB) head.LogKey {
	t.Helper()
	k, err := head.NewLogKey(origin, logPrivate().Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Scripts find the log's key in $LOG, a head of size 3 in head3, and one of
// another log in foreign.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("LOG", logKey(t).String())
			heads := map[string]head.Checkpoint{
				"head3":   {Origin: origin, Size: 3, Root: head.Hash{3}},
				"foreign": {Origin: "foreign.example", Size: 3, Root: head.Hash{3}},
			}
			for name, c := range heads {
				signed, err := head.SignCheckpoint(c, logPrivate())
				if err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(e.WorkDir, name), signed, 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// config NAME FILE writes a configuration for witness NAME.
			"config": func(ts *testscript.TestScript, _ bool, args []string) {
				text := fmt.Sprintf("name = %q\nlisten = \"127.0.0.1:0\"\ndata = %q\nlogs = [%q]\n", args[0], args[0], ts.Getenv("LOG"))
				ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
			},
		},
	})
}

func TestExampleIsValid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "example.toml")
	if err := os.WriteFile(path, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Logs) != 1 || c.Logs[0] != logKey(t) || c.Data != filepath.Join(filepath.Dir(path), "w1") {
		t.Errorf("%+v; the example's log is %s", c, logKey(t))
	}
}

// process is a running witness: this test binary as the command.
type process struct {
	cmd *exec.Cmd
	url string
	log *bytes.Buffer
}

func start(t *testing.T, configFile string) *process {
	t.Helper()
	command, err := exec.LookPath("witness") // testscript.Main put it there
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(command, "run", "--config", configFile), log: new(bytes.Buffer)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		fmt.Fprintln(p.log, lines.Text())
		if _, rest, found := strings.Cut(lines.Text(), "msg=listening address="); found {
			address, _, _ := strings.Cut(rest, " ")
			p.url = "http://" + address
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			return p
		}
	}
	t.Fatalf("the witness did not start:\n%s", p.log)
	return nil
}

// post submits a head and returns the status and the answer.
func (p *process) post(ctx context.Context, r head.Request) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/add-checkpoint", bytes.NewReader(witness.FormatRequest(r)))
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, string(answer), err
}

// A witness that is killed at any moment knows afterwards what it has signed.
func TestKilledWitnessRemembers(t *testing.T) {
	const kills, heads = 6, 400
	l, err := event.NewMemory().Open()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := event.OpenTree(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	prover := event.NewProver(l)
	request := func(old, size int64) head.Request {
		root, err := prover.Root(t.Context(), size)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := head.SignCheckpoint(head.Checkpoint{Origin: origin, Size: size, Root: root}, logPrivate())
		if err != nil {
			t.Fatal(err)
		}
		proof, err := prover.Consistency(t.Context(), old, size)
		if err != nil {
			t.Fatal(err)
		}
		return head.Request{Old: old, Proof: proof, Signed: signed}
	}
	for i := range kills * heads {
		e := fmt.Append(nil, i)
		if err := l.Append(t.Context(), l.Next(), event.Block{Events: [][]byte{e}, Puts: tree.Append(e)}); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(t.TempDir(), "witness.toml")
	text := fmt.Sprintf("name = \"w.example\"\nlisten = \"127.0.0.1:0\"\ndata = \"data\"\nlogs = [%q]\n", logKey(t))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	acknowledged := int64(0)
	for kill := range kills {
		p := start(t, config)
		status, answer, err := p.post(t.Context(), request(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		at := int64(0)
		if status == http.StatusConflict {
			at, err = strconv.ParseInt(strings.TrimSpace(answer), 10, 64)
		}
		if err != nil || at < acknowledged || at > acknowledged+1 {
			t.Fatalf("after kill %d: at size %d, %v; %d was acknowledged\n%s", kill, at, err, acknowledged, p.log)
		}
		timer := time.AfterFunc(time.Duration(20+kill*30)*time.Millisecond, func() { _ = p.cmd.Process.Kill() })
		for ; at < kills*heads; at++ {
			status, answer, err := p.post(t.Context(), request(at, at+1))
			if err != nil {
				break
			}
			if status != http.StatusOK {
				t.Fatalf("size %d: %d %q", at+1, status, answer)
			}
			acknowledged = at + 1
		}
		timer.Stop()
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
	if acknowledged == 0 {
		t.Error("nothing was signed between the kills")
	}
}

func TestStopsOnSIGTERM(t *testing.T) {
	config := filepath.Join(t.TempDir(), "witness.toml")
	text := fmt.Sprintf("name = \"w.example\"\nlisten = \"127.0.0.1:0\"\ndata = \"data\"\nlogs = [%q]\n", logKey(t))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, config)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
}

func TestPortInUse(t *testing.T) {
	folder := t.TempDir()
	write := func(name, listen string) string {
		path := filepath.Join(folder, name+".toml")
		text := fmt.Sprintf("name = %q\nlisten = %q\ndata = %q\nlogs = [%q]\n", name, listen, name, logKey(t))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	p := start(t, write("first", "127.0.0.1:0"))
	address := strings.TrimPrefix(p.url, "http://")
	var stderr bytes.Buffer
	status := run(t.Context(), []string{"run", "--config", write("second", address)}, io.Discard, &stderr)
	if status != 1 || !strings.Contains(stderr.String(), address) || !strings.Contains(stderr.String(), "hint: another process listens") {
		t.Errorf("port in use: status %d\n%s", status, &stderr)
	}
	stderr.Reset()
	status = run(t.Context(), []string{"run", "--config", filepath.Join(folder, "first.toml")}, io.Discard, &stderr)
	if status != 1 || !strings.Contains(stderr.String(), filepath.Join(folder, "first")) || !strings.Contains(stderr.String(), "hint: another witness runs") {
		t.Errorf("folder in use: status %d\n%s", status, &stderr)
	}
}
