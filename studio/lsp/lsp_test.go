package lsp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestServeRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"Content-Length: 99999999\r\n\r\n":      "Content-Length",
		"Content-Length: -1\r\n\r\n":            "Content-Length",
		"Content-Length: x\r\n\r\n":             "Content-Length",
		"hello\r\n\r\n":                         "read a header",
		"Content-Length: 5\r\n\r\n{}":           "read a message",
		frame(`{"id":1,"method":"initialize"}`): "without a shutdown",
	} {
		err := Serve(strings.NewReader(in), io.Discard)
		if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), want) {
			t.Errorf("Serve(%q) = %v, want %s", in, err, want)
		}
	}
	var out bytes.Buffer
	if err := Serve(strings.NewReader(frame("no json")), &out); err != nil || !strings.Contains(out.String(), "-32700") {
		t.Errorf("what is not JSON is answered by %q, %v", out.String(), err)
	}
}

func frame(body string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body) }

// Places of the protocol and of a source are the same, whatever the characters.
func TestPlaces(t *testing.T) {
	text := "aé😀b\r\n\nc"
	for _, c := range []struct {
		line, col int
		want      position
	}{
		{1, 1, position{0, 0}}, {1, 2, position{0, 1}}, {1, 4, position{0, 2}}, {1, 8, position{0, 4}}, {2, 1, position{1, 0}}, {3, 2, position{2, 1}}, {9, 1, position{8, 0}},
	} {
		got := place(text, c.line, c.col)
		if got != c.want {
			t.Errorf("place(%d, %d) = %v, want %v", c.line, c.col, got, c.want)
		}
	}
	if got := offset(text, position{0, 99}); got != strings.IndexByte(text, '\n') {
		t.Errorf("beyond the end of a line lies %d", got)
	}
	if got := changed("abc", &span{position{0, 2}, position{0, 1}}, "X"); got != "abXc" {
		t.Errorf("an edit that runs backwards makes %q", got)
	}
}

func FuzzServe(f *testing.F) {
	f.Add(frame(`{"id":1,"method":"initialize"}`) + frame(`{"method":"textDocument/didOpen","params":{"textDocument":{"uri":"a","text":"contract A"}}}`) +
		frame(`{"id":2,"method":"textDocument/hover","params":{"textDocument":{"uri":"a"},"position":{"line":0,"character":3}}}`))
	f.Fuzz(func(t *testing.T, in string) {
		Serve(strings.NewReader(in), io.Discard)
	})
}

func ExampleServe() {
	in := frame(`{"id":1,"method":"initialize"}`) + frame(`{"id":2,"method":"shutdown"}`) + frame(`{"method":"exit"}`)
	fmt.Println(Serve(strings.NewReader(in), io.Discard))
	// Output: <nil>
}
