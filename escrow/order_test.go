package escrow

import (
	"crypto/ed25519"
	"testing"

	"latchkey/head"
)

// A head that was overtaken does not go to the witnesses; one of the same size,
// with a newer stamp to come, does.
func TestOrder(t *testing.T) {
	const origin = "escrow.test/log"
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	log, err := head.NewLogKey(origin, public)
	if err != nil {
		t.Fatal(err)
	}
	o := order{log: log}
	for _, c := range []struct {
		size int64
		want bool
	}{{1, true}, {1, true}, {7, true}, {3, false}, {6, false}, {7, true}, {8, true}, {1, false}} {
		signed, err := head.SignCheckpoint(head.Checkpoint{Origin: origin, Size: c.size, Root: head.Hash{byte(c.size)}}, private)
		if err != nil {
			t.Fatal(err)
		}
		if opened, got, err := o.take(signed); got != c.want || err != nil || opened.Size != c.size {
			t.Errorf("a head of size %d: %t, %v, want %t", c.size, got, err, c.want)
		}
	}
	if _, ok, err := o.take([]byte("noise")); ok || err == nil {
		t.Error("noise passes for a head")
	}
}
