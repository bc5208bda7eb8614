// Package gatetest makes certificates for tests.
package gatetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An Authority issues certificates into a folder.
type Authority struct {
	Folder string
	CA     string // path of its own certificate
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

// New makes an authority.
func New(t testing.TB, folder string) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{Folder: folder, CA: filepath.Join(folder, "ca.pem"), key: key, serial: 1}
	a.cert = a.sign(t, a.CA, &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(24 * time.Hour),
	}, &key.PublicKey)
	return a
}

func (a *Authority) sign(t testing.TB, path string, c *x509.Certificate, public *ecdsa.PublicKey) *x509.Certificate {
	t.Helper()
	parent := a.cert
	if parent == nil {
		parent = c
	}
	c.SerialNumber, c.NotBefore = big.NewInt(a.serial), time.Now().Add(-time.Hour)
	a.serial++
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, "CERTIFICATE", der)
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func write(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	// Renamed into place: who reads a changing file sees one or the other.
	if err := os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Issue writes NAME.pem and NAME.key, a certificate for hosts that is good for as
// long as given, and returns it with the two paths.
func (a *Authority) Issue(t testing.TB, name string, good time.Duration, hosts ...string) (c *x509.Certificate, cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(good), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			x.IPAddresses = append(x.IPAddresses, ip)
		} else {
			x.DNSNames = append(x.DNSNames, h)
		}
	}
	cert, key = filepath.Join(a.Folder, name+".pem"), filepath.Join(a.Folder, name+".key")
	c = a.sign(t, cert, x, &private.PublicKey)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write(t, key, "PRIVATE KEY", der)
	return c, cert, key
}
