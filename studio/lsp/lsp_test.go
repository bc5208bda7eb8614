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
		"Content-Length: 99999999\r\n\r\n":                                 "Content-Length",
		"Content-Length: -1\r\n\r\n":                                       "Content-Length",
		"Content-Length: x\r\n\r\n":                                        "Content-Length",
		"hello\r\n\r\n":                                                    "read a header",
		"Content-Length: 5\r\n\r\n{}":                                      "read a message",
		frame(`{"id":1,"method":"initialize"}`):                            "without a shutdown",
		frame(`{"method":"exit"}`):                                         "without a shutdown",
		frame(`{"id":1,"method":"shutdown"}`) + frame(`{"method":"exit"}`): "without a shutdown", // refused before initialize
	} {
		err := Serve(strings.NewReader(in), io.Discard)
		if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), want) {
			t.Errorf("Serve(%q) = %v, want %s", in, err, want)
		}
	}
	if err := Serve(strings.NewReader(""), io.Discard); err != nil {
		t.Errorf("an empty stream: %v", err)
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

// Whatever stands in a document, and wherever the cursor is, there is an answer.
func FuzzDocument(f *testing.F) {
	f.Add("contract A\nparties a, b\nterm n : units 1..5\npot p = n from a\nphase P until now + 1 days\n  when a says \"x\" with v in 0..5 units if v < n: give v of p to b close\n  at deadline: close # é😀\n", 5, 9)
	f.Add("contract A\nparties a\nrole r 1..3\nfor each r: sealed s in 0..1 end\nphase P until 5 when any r says \"x\" with opened s: stay at deadline: for each r: if s = 1 then close end end close", 3, 20)
	f.Fuzz(func(t *testing.T, text string, line, char int) {
		diagnostics(text)
		hover(text, position{line % 1000, char % 1000})
		symbols(text)
		if edits, fail := formatting(text); fail == nil {
			for _, e := range edits.([]textEdit) {
				if again, fail := formatting(changed(text, &e.Range, e.NewText)); fail != nil || len(again.([]textEdit)) != 0 {
					t.Errorf("%q formatted is not formatted: %v %v", text, again, fail)
				}
			}
		}
	})
}

func ExampleServe() {
	in := frame(`{"id":1,"method":"initialize"}`) + frame(`{"id":2,"method":"shutdown"}`) + frame(`{"method":"exit"}`)
	fmt.Println(Serve(strings.NewReader(in), io.Discard))
	// Output: <nil>
}
