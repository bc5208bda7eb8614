package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"latchkey/attest"
	"latchkey/attest/sim"
	"latchkey/escrow"
	"latchkey/event/witness"
	"latchkey/head"
)

func overUnix(path string) http.RoundTripper {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
}

// unreachable notes why a peer did not answer, with the mend of that reason.
func (e *exam) unreachable(check, who string, err error) {
	mend := "see whether it runs, and whether a firewall is between"
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	text := err.Error()
	switch {
	case errors.As(err, &dns):
		mend = "mend the name in the URL, or the machine's resolver"
	case errors.Is(err, syscall.ECONNREFUSED):
		mend = "nothing listens there: start it, or mend the port in the URL"
	case errors.As(err, &unknown):
		mend = "set trust.ca to the authority that signed its certificate, or trust.pins to its key"
	case errors.As(err, &name):
		mend = "call it by a name that is in its certificate, or have one made for this name"
	case errors.As(err, &invalid):
		mend = "its operator has to renew the certificate; if it is new, set this machine's clock"
	case errors.As(err, &record), strings.Contains(text, "server gave HTTP response to HTTPS client"), strings.Contains(text, "first record does not look like a TLS handshake"):
		mend = "it answers without TLS: its operator has to set tls.cert"
	case strings.Contains(text, "trust.pins says"):
		mend = "ask its operator, by another way than the network, whether the key was changed; then change trust.pins"
	case errors.As(err, &alert):
		mend = "it asks for a certificate of its own authority: set trust.cert and trust.key"
	case errors.Is(err, context.DeadlineExceeded):
		mend = "it does not answer in time: see its log, and whether a firewall is between"
	}
	e.fail(check, mend, "%s cannot be reached: %s", who, text)
}

// meet asks a URL for anything, for the sake of the connection and the clock.
func (e *exam) meet(check, who, url string) (status int, body string, ok bool) {
	return e.send(check, who, http.MethodGet, url, nil)
}

func (e *exam) send(check, who, method, url string, body []byte) (status int, answer string, ok bool) {
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		e.fail(check, "mend the URL", "%s: %v", who, err)
		return 0, "", false
	}
	before := e.now()
	out, err := e.client.Do(r)
	if err != nil {
		e.unreachable(check, who, err)
		return 0, "", false
	}
	defer out.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(out.Body, 64<<10))
	if err != nil {
		e.unreachable(check, who, err)
		return 0, "", false
	}
	if at, err := http.ParseTime(out.Header.Get("Date")); err == nil {
		// A Date is in whole seconds, cut off.
		e.skews = append(e.skews, skew{who, at.Add(500 * time.Millisecond).Sub(before.Add(e.now().Sub(before) / 2))})
	}
	return out.StatusCode, string(raw), true
}

// escrowAt asks the escrow what it is, and holds it to the group of the
// configuration, and its evidence to a policy; nil: there is none.
func (e *exam) escrowAt(url string, group head.Group, policy *attest.Policy) {
	if _, _, ok := e.meet("escrow", "the escrow at "+url, url); !ok {
		return
	}
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	d, err := escrow.NewClient(url, e.client).Describe(ctx)
	if err != nil {
		e.fail("escrow", "mend the URL: what answers there is no escrow, or one that is starting", "%s: %v", url, err)
		return
	}
	if group.Log != (head.LogKey{}) && d.LogKey.String() != group.Log.String() {
		e.fail("escrow", "ask the escrow's operator, by another way than the network, for its log_key; a vault that has started is bound to the one that it has",
			"the escrow's log_key is %s, pinned is %s", d.LogKey, group.Log)
		return
	}
	if len(d.Head) == 0 {
		e.fail("quorum", "the escrow's operator has to see to the witnesses; logs in their files must have the escrow's log_key", "the escrow has no witnessed head")
		return
	}
	c, err := group.Verify(d.Head)
	if err != nil {
		e.fail("quorum", "compare witnesses and quorum with what the operators publish", "the escrow's newest head is not countersigned by a quorum of the pinned witnesses: %v", err)
		return
	}
	e.ok("escrow", "the escrow's log_key is the pinned one, and %d of %d pinned witnesses have signed its newest head of %d entries", len(c.Stamps), len(group.Witnesses), c.Size)
	if age := e.now().Sub(time.Unix(c.Time, 0)); age > 30*time.Second {
		e.fail("quorum", "the escrow's operator has to see to the witnesses", "the newest witnessed head is %d s old by this machine's clock", int(age.Seconds()))
	}
	for _, s := range c.Stamps {
		e.skews = append(e.skews, skew{"witness " + s.Witness.Name(), time.Unix(s.Unix, 0).Sub(e.now())})
	}
	if policy == nil {
		return
	}
	if err := appraise(*policy, d, e.now().Unix()); err != nil {
		e.fail("evidence", "let the policy name the program and the platform that the escrow runs, after reading what they are", "the policy refuses the escrow's evidence: %v", err)
		return
	}
	e.ok("evidence", "the policy accepts the escrow's evidence")
}

func appraise(p attest.Policy, d escrow.Description, now int64) error {
	v, err := d.Identity.ID()
	if err != nil {
		return err
	}
	ev, err := attest.ParseEvidence(d.Evidence)
	if err != nil {
		return err
	}
	_, err = attest.Appraise(p, []attest.Verifier{sim.Verifier{}}, ev, attest.ReportData(attest.PurposeIdentity, v, [32]byte{}), now)
	return err
}

// witnessAt asks a witness whether it knows a log, by a head that nobody signed: it
// refuses the signature of a log that it serves, and does not know another.
func (e *exam) witnessAt(name, url, origin string) bool {
	status, answer, ok := e.send("witness", "witness "+name+" at "+url, http.MethodPost, strings.TrimSuffix(url, "/")+"/add-checkpoint", witness.Question(origin))
	if !ok {
		return false
	}
	switch status {
	case http.StatusForbidden:
		e.ok("witness", "witness %s answers and knows the log %s", name, origin)
		return true
	case http.StatusNotFound:
		e.fail("witness", "its operator has to add the escrow's log_key to logs and to start it again", "witness %s does not know the log %s: %.200s", name, origin, strings.TrimSpace(answer))
	default:
		e.fail("witness", "mend the URL: what answers there is no witness, or one that is in trouble", "witness %s at %s answers %d: %.200s", name, url, status, strings.TrimSpace(answer))
	}
	return false
}
