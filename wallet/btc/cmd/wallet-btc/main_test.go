package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asCommand makes the test binary behave as the command.
const asCommand = "WALLET_BTC_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// trouble is a folder with a good configuration, whose node is down.
type trouble struct {
	t   *testing.T
	dir string
}

func newTrouble(t *testing.T) *trouble {
	t.Helper()
	x := &trouble{t, t.TempDir()}
	x.write("password", "VERY-SECRET\n")
	x.configure()
	return x
}

func (x *trouble) path(name string) string { return filepath.Join(x.dir, name) }

func (x *trouble) write(name, text string) {
	x.t.Helper()
	if err := os.WriteFile(x.path(name), []byte(text), 0o600); err != nil {
		x.t.Fatal(err)
	}
}

// configure writes the configuration, with some texts replaced.
func (x *trouble) configure(changes ...string) {
	x.t.Helper()
	text := fmt.Sprintf("listen = %q\ndata = %q\nnode = \"http://127.0.0.1:1\"\nnode_user = \"me\"\nnode_password_file = %q\nnetwork = \"regtest\"\n",
		"unix:"+x.path("btc.sock"), x.path("data"), x.path("password"))
	for i := 0; i+1 < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			x.t.Fatalf("the configuration has no %q", changes[i])
		}
		text = strings.Replace(text, changes[i], changes[i+1], 1)
	}
	x.write("c.toml", text)
}

func (x *trouble) command(args ...string) *exec.Cmd {
	if len(args) == 0 {
		args = []string{"--config", x.path("c.toml")}
	}
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), asCommand+"=1")
	return c
}

// refuses runs the command, which has to end with status 1 and one line that has
// want in it and no secret.
func (x *trouble) refuses(name, want string, args ...string) {
	x.t.Helper()
	c := x.command(args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Start(); err != nil {
		x.t.Fatal(err)
	}
	late := time.AfterFunc(20*time.Second, func() { _ = c.Process.Kill() })
	err := c.Wait()
	late.Stop()
	said := errs.String()
	if c.ProcessState.ExitCode() != 1 || out.Len() > 0 {
		x.t.Errorf("%s: it ends with %v and says %q, want status 1 and nothing on stdout", name, err, out.String())
	}
	if !strings.HasPrefix(said, "error: ") || !strings.Contains(said, want) || strings.Count(said, "\n") != 1 ||
		strings.Contains(said, "VERY-SECRET") || strings.Contains(said, "goroutine ") {
		x.t.Errorf("%s: %q, want one line with %q and no secret", name, said, want)
	}
}

// start runs the command until it is ready and returns its address.
func (x *trouble) start() (c *exec.Cmd, address string) {
	x.t.Helper()
	c = x.command()
	out, err := c.StdoutPipe()
	if err != nil {
		x.t.Fatal(err)
	}
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = c.Process.Kill() })
	line, _ := bufio.NewReader(out).ReadBytes('\n')
	var r ready
	if err := json.Unmarshal(line, &r); err != nil || !r.Ready {
		x.t.Fatalf("ready line %q: %v: %s", line, err, errs.String())
	}
	return c, r.Address
}

// works says that the wallet starts, as the one that it was.
func (x *trouble) works(want string) string {
	x.t.Helper()
	c, got := x.start()
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		x.t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		x.t.Errorf("after SIGTERM: %v", err)
	}
	if want != "" && got != want {
		x.t.Errorf("the wallet is that of %s, was that of %s", got, want)
	}
	return got
}

func TestConfigurationErrors(t *testing.T) {
	x := newTrouble(t)
	x.refuses("no configuration", "--config is required", "--config", "")
	x.refuses("an argument", `unexpected argument "extra"`, "--config", x.path("c.toml"), "extra")
	x.refuses("no file", "none.toml: no such file", "--config", x.path("none.toml"))
	for _, c := range []struct{ name, old, to, want string }{
		{"an unknown field", "node_user", "node_usr", `c.toml: line 4: unknown field "node_usr"`},
		{"no TOML", `node_user = "me"`, `node_user = me`, "c.toml: line 4"},
		{"a number for a text", `node_user = "me"`, `node_user = 7`, "c.toml: line 4"},
		{"no listen", "listen = ", "# listen = ", "c.toml: listen is missing"},
		{"no data", "data = ", "# data = ", "c.toml: data is missing"},
		{"no node", "node = ", "# node = ", `c.toml: node "": want a URL`},
		{"a node that is no URL", "http://127.0.0.1:1", "127.0.0.1:1", "c.toml: node "},
		{"no user", `"me"`, `""`, "c.toml: node_user or the node's password is empty"},
		{"no password file", x.path("password"), x.path("none"), "node_password_file: open " + x.path("none")},
		{"an unknown network", "regtest", "simnet", `network "simnet": want main`},
		{"confirmations", "network =", "confirmations = 0\nnetwork =", "confirmations 0: want 1 to 1000"},
		{"negative confirmations", "network =", "confirmations = -1\nnetwork =", "c.toml: line 6"},
		{"an absurd fee", "network =", "max_sat_per_vbyte = 99999999\nnetwork =", "max_sat_per_vbyte 99999999: want 1 to 10000"},
		{"no time", "network =", "resend = \"soon\"\nnetwork =", "c.toml: resend: "},
		{"a negative time", "network =", "resend = \"-1s\"\nnetwork =", "resend -1s: want 10ms to 1h"},
		{"an address that others reach", "unix:" + x.path("btc.sock"), "0.0.0.0:0", "loopback"},
		{"a path that is too long", "unix:" + x.path("btc.sock"), "unix:/" + strings.Repeat("x", 120), "a path of 121 bytes"},
	} {
		x.configure(c.old, c.to)
		x.refuses(c.name, c.want)
	}
	x.configure()
	x.works("")
}

func TestTrouble(t *testing.T) {
	x := newTrouble(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	x.configure("unix:"+x.path("btc.sock"), taken.Addr().String())
	x.refuses("a port in use", "address already in use")
	x.configure()

	served, err := net.Listen("unix", x.path("btc.sock"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := served.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	x.refuses("a socket that another process serves", x.path("btc.sock")+": another process serves it")
	served.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := served.Close(); err != nil { // from here on it is as a killed process leaves it
		t.Fatal(err)
	}
	own := x.works("") // with its node down

	c, _ := x.start()
	first := x.path("btc.sock")
	x.configure(first, x.path("other.sock"))
	x.refuses("a folder that another process has", "data folder "+x.path("data")+": another process has it")
	x.configure()
	_ = c.Process.Kill()
	_ = c.Wait()
	x.works(own)

	if err := os.Rename(x.path("data"), x.path("kept")); err != nil {
		t.Fatal(err)
	}
	x.write("data", "mine")
	x.refuses("a file in the folder's place", "data folder")
	if b, err := os.ReadFile(x.path("data")); err != nil || string(b) != "mine" {
		t.Errorf("the file is %q, %v", b, err)
	}
	if err := os.Remove(x.path("data")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(x.path("kept"), x.path("data")); err != nil {
		t.Fatal(err)
	}

	for _, d := range []struct{ file, text, want string }{
		{"own.key", "c0ffee\n", "own.key"},
		{"own.key", "", "own.key"},
		{"signed.log", "00000000 {}\nnothing\n", "signed.log"},
	} {
		path := filepath.Join(x.path("data"), d.file)
		was, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(d.text), 0o600); err != nil {
			t.Fatal(err)
		}
		x.refuses(fmt.Sprintf("%s that holds %q", d.file, d.text), d.want)
		if err := os.WriteFile(path, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x.works(own)
}

// A folder that cannot be written, even by root, is an error that names it.
func TestReadOnlyFolder(t *testing.T) {
	x := newTrouble(t)
	own := x.works("")
	data := x.path("data")
	if os.Geteuid() == 0 {
		mount := func(args ...string) {
			if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
				t.Skipf("no right to mount: %v: %s", err, out)
			}
		}
		mount("--bind", data, data)
		t.Cleanup(func() { _ = exec.Command("umount", "-l", data).Run() })
		mount("-o", "remount,ro,bind", data)
	} else if err := os.Chmod(data, 0o500); err != nil {
		t.Fatal(err)
	}
	x.refuses("a folder without the right to write", data)
	if os.Geteuid() == 0 {
		if out, err := exec.Command("umount", data).CombinedOutput(); err != nil {
			t.Fatalf("umount: %v: %s", err, out)
		}
	} else if err := os.Chmod(data, 0o700); err != nil {
		t.Fatal(err)
	}
	x.works(own)
}
