package sim

import (
	"os"
	"testing"
)

func TestDbg(t *testing.T) {
	c, _ := cast()
	b, err := os.ReadFile("/tmp/t.txt")
	if err != nil {
		t.Skip()
	}
	s, ev, err := ParseFile(string(b))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Replay(c, s, ev, func(x string) { t.Log(x) })
	t.Log(err)
}
