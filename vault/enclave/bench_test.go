package enclave_test

import (
	"path/filepath"
	"testing"

	"latchkey/vault/enclave"
)

// BenchmarkRoundTrip is one question of a host to its vault and the answer, over
// the Unix socket: what each call costs on top of what it asks for.
func BenchmarkRoundTrip(b *testing.B) {
	w := newWorld(b, 0)
	e, err := enclave.New(w.config(w.trust, w.program("A", goodBuild)))
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "vault.sock")
	l, err := enclave.Listen(path)
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = e.Serve(b.Context(), l) }()
	var c *enclave.Client
	c, err = enclave.Dial(b.Context(), path, func(m enclave.Commit) { go func() { _ = c.Durable(m.Number) }() })
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Call(b.Context(), enclave.Call{Ready: &enclave.Nothing{}}); err != nil {
		b.Fatal(err)
	}
	clock := enclave.Call{Clock: &enclave.Nothing{}}
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.Call(b.Context(), clock); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("many", func(b *testing.B) {
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := c.Call(b.Context(), clock); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
