package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"latchkey/gate"
)

// Free space under which a folder is called full, and nearly so.
const (
	full   = 256 << 20
	nearly = 2 << 30
)

// folder looks at the data folder.
func (e *exam) folder(path string) {
	info, err := os.Stat(path)
	at := path
	switch {
	case errors.Is(err, os.ErrNotExist):
		at = filepath.Dir(path)
		if _, err := os.Stat(at); err != nil {
			e.fail("data", "mkdir -p "+at, "the data folder %s cannot be made: %v", path, err)
			return
		}
	case err != nil:
		e.fail("data", "let the program's user in", "data folder: %v", err)
		return
	case !info.IsDir():
		e.fail("data", "name a folder in the field data", "%s is not a folder", path)
		return
	case info.Mode().Perm()&0o077 != 0:
		e.fail("data", "chmod 700 "+path, "others can look into the data folder %s (mode %04o)", path, info.Mode().Perm())
	}
	probe, err := os.CreateTemp(at, ".doctor")
	if err != nil {
		e.fail("data", "chown it to the user that runs the program, and run the doctor as that user", "%s cannot be written: %v", at, err)
		return
	}
	_ = probe.Close()
	_ = os.Remove(probe.Name())
	free, known := gate.Free(at)
	switch {
	case known && free < full:
		e.fail("disk", "make room: docs/run.md, \"A full disk\"", "%d MiB are free under %s; a write that fails ends the program", free>>20, at)
	case known && free < nearly:
		e.warn("disk", "make room before it is full: docs/run.md, \"A full disk\"", "%d MiB are free under %s", free>>20, at)
	case known:
		e.ok("data", "%s can be written, %d GiB are free", at, free>>30)
	default:
		e.ok("data", "%s can be written", at)
	}
}

// secretFile looks at a file that nobody else may read. missing is the mend where
// it is not there; empty: it is made at the first start.
func (e *exam) secretFile(check, path, missing string) bool {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && missing == "":
		e.ok(check, "%s is not there yet: the first start makes it", path)
		return false
	case err != nil:
		e.fail(check, missing, "%v", err)
		return false
	case info.Mode().Perm()&0o077 != 0:
		e.fail(check, "chmod 600 "+path, "others can read %s (mode %04o)", path, info.Mode().Perm())
		return false
	}
	e.ok(check, "%s is for its owner alone", path)
	return true
}

// socket looks at the path of a Unix socket, without connecting: a vault takes one
// host, and ends when it goes.
func (e *exam) socket(check, path string) {
	if len(path) > 100 {
		e.fail(check, "use a shorter path", "the path %s has %d bytes, the system allows 100", path, len(path))
		return
	}
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err != nil {
		e.fail(check, "mkdir -p "+dir, "the folder of socket %s: %v", path, err)
		return
	}
	if info.Mode().Perm()&0o002 != 0 && info.Mode()&os.ModeSticky == 0 {
		e.fail(check, "chmod o-w "+dir, "anybody can put another socket in the place of %s", path)
		return
	}
	if s, err := os.Lstat(path); err == nil && s.Mode().Type() != os.ModeSocket {
		e.fail(check, "move it away", "%s is there, and is no socket", path)
		return
	} else if err == nil && s.Mode().Perm()&0o077 != 0 {
		e.fail(check, "chmod 600 "+path, "others can connect to %s (mode %04o)", path, s.Mode().Perm())
		return
	}
	e.ok(check, "the path %s can be a socket", path)
}

// program looks at a command of the configuration.
// path is where it was found; empty: it was not, or there is none.
func (e *exam) program(command []string) (path string) {
	if len(command) == 0 {
		e.ok("vault", "somebody else starts the vault")
		return ""
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		e.fail("vault", "name the program's full path in the field vault", "the vault's program: %v", err)
		return ""
	}
	return path
}

// listen looks at the address that a process serves.
func (e *exam) listen(address string, t gate.TLS) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		e.fail("listen", "want host:port", "%q: %v", address, err)
		return
	}
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		_ = l.Close()
		e.ok("listen", "%s is free: nothing runs there now", address)
	case errors.Is(err, syscall.EADDRINUSE):
		e.ok("listen", "%s is taken: this process runs, or another one has its place", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.fail("listen", "use an address of this machine, or 0.0.0.0", "%s is not an address of this machine", host)
	case errors.Is(err, syscall.EACCES):
		e.fail("listen", "use a port above 1023, or give the service CAP_NET_BIND_SERVICE", "port %s is for root alone", port)
	default:
		e.fail("listen", "use another address", "%v", err)
	}
	if t.Cert == "" {
		if t.InsecurePlaintext {
			e.warn("tls", "set tls.cert and tls.key", "it answers other machines without TLS: insecure_plaintext")
		}
		return
	}
	e.certificate("tls", t.Cert, t.Key, host)
	if t.ClientCA != "" {
		e.authorities("tls", t.ClientCA)
	}
}

// certificate looks at a certificate and its key; host is the name or address
// that it has to be for, where that is known.
func (e *exam) certificate(check, cert, key, host string) {
	if !e.secretFile(check, key, "make it: docs/run.md, \"Certificates\"") {
		return
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		e.fail(check, "put a certificate and the key that belongs to it there: docs/run.md, \"Certificates\"", "%s and %s: %v", cert, key, err)
		return
	}
	e.expiry(check, cert, pair.Leaf)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return
	}
	if err := pair.Leaf.VerifyHostname(host); err != nil {
		e.warn(check, "have a certificate made for the name by which others call, and see that they do", "%s: %v", cert, err)
	}
}

// authorities looks at a file of authorities' certificates.
func (e *exam) authorities(check, path string) {
	raw, err := os.ReadFile(path)
	if err != nil {
		e.fail(check, "put the authority's certificate there", "%v", err)
		return
	}
	n := 0
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			e.fail(check, "put the authority's certificate there", "%s: %v", path, err)
			return
		}
		n++
		e.expiry(check, path, c)
	}
	if n == 0 {
		e.fail(check, "put the authority's certificate there, in PEM form", "%s has no certificate", path)
	}
}

// trust looks at whom the process believes, and returns what it calls with.
func (e *exam) trust(t gate.Trust) bool {
	if t.CA != "" {
		e.authorities("trust", t.CA)
	}
	if t.Cert != "" {
		e.certificate("trust", t.Cert, t.Key, "")
	}
	if t.InsecureHTTP {
		e.warn("trust", "use https everywhere, and take insecure_http out", "it calls other machines without TLS where a URL says http")
	}
	c, err := t.Client(discard)
	if err != nil {
		e.fail("trust", "mend the table [trust]", "%v", err)
		return false
	}
	e.client = c
	return true
}

// admin asks a running process how it is.
func (e *exam) admin(a gate.Admin) {
	if a.Listen == "" {
		e.warn("health", "set admin.listen = \"127.0.0.1:PORT\"", "nobody can watch this process: it has no address for health and metrics")
		return
	}
	c := &http.Client{Timeout: patience}
	url := "http://" + a.Listen + "/readyz"
	if path, ok := strings.CutPrefix(a.Listen, "unix:"); ok {
		url = "http://admin/readyz"
		c.Transport = overUnix(path)
	}
	r, err := c.Get(url)
	if err != nil {
		e.warn("health", "start it, or see its log", "it does not run, or does not answer on %s", a.Listen)
		return
	}
	defer r.Body.Close()
	var said struct {
		Role    string
		Ready   bool
		Reasons []string
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&said); err != nil || said.Role != e.report.Role {
		e.fail("health", "give each process an admin.listen of its own", "what answers on %s is no %s", a.Listen, e.report.Role)
		return
	}
	if !said.Ready {
		e.fail("health", "docs/run.md says what to do about each", "it runs and is not ready: %s", strings.Join(said.Reasons, "; "))
		return
	}
	e.ok("health", "it runs and is ready")
}

// A skew is how far a clock that was met is ahead of this machine's.
type skew struct {
	of    string
	ahead time.Duration
}

// clocks compares this machine's clock with all that were met.
func (e *exam) clocks() {
	if len(e.skews) == 0 {
		return
	}
	off := 0
	var far []string
	for _, s := range e.skews {
		if s.ahead.Abs() > 5*time.Second {
			off++
			far = append(far, fmt.Sprintf("%s is %s", s.of, describe(s.ahead)))
		}
	}
	mend := "set the clock: timedatectl set-ntp true"
	switch {
	case off == 0:
		e.ok("clock", "this machine's clock is within 5 s of %d others", len(e.skews))
	case 2*off > len(e.skews):
		e.fail("clock", mend, "this machine's clock is wrong: %s", strings.Join(far, "; "))
	default:
		e.warn("clock", "tell their operators; if it is a witness, its stamps are outvoted", "some clocks differ from this machine's: %s", strings.Join(far, "; "))
	}
}

func describe(ahead time.Duration) string {
	if ahead < 0 {
		return fmt.Sprintf("%d s behind", int(-ahead.Seconds()))
	}
	return fmt.Sprintf("%d s ahead", int(ahead.Seconds()))
}
