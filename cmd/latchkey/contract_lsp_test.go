package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// editor talks to a language server as an editor does.
type editor struct {
	t    *testing.T
	in   io.WriteCloser
	out  *bufio.Reader
	next int
}

// message is what the server says.
type message struct {
	ID     *int            `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func (e *editor) write(v map[string]any) {
	e.t.Helper()
	v["jsonrpc"] = "2.0"
	b, err := json.Marshal(v)
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(e.in, "Content-Length: %d\r\n\r\n%s", len(b), b); err != nil {
		e.t.Fatal(err)
	}
}

func (e *editor) read() message {
	e.t.Helper()
	length := 0
	for {
		line, err := e.out.ReadString('\n')
		if err != nil {
			e.t.Fatal(err)
		}
		if line = strings.TrimSpace(line); line == "" {
			break
		}
		if _, err := fmt.Sscanf(line, "Content-Length: %d", &length); err != nil {
			e.t.Fatalf("header %q: %v", line, err)
		}
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(e.out, b); err != nil {
		e.t.Fatal(err)
	}
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		e.t.Fatalf("%s: %v", b, err)
	}
	return m
}

// ask sends a request and returns its answer.
func (e *editor) ask(method string, params any) message {
	e.t.Helper()
	e.next++
	e.write(map[string]any{"id": e.next, "method": method, "params": params})
	m := e.read()
	if m.ID == nil || *m.ID != e.next {
		e.t.Fatalf("%s: the answer is %+v", method, m)
	}
	return m
}

// tell sends a notification about a document and returns the diagnostics that follow.
func (e *editor) tell(method string, params any) (list []struct {
	Range    map[string]map[string]int
	Severity int
	Message  string
}) {
	e.t.Helper()
	e.write(map[string]any{"method": method, "params": params})
	m := e.read()
	var p struct {
		URI         string
		Diagnostics json.RawMessage
	}
	if err := json.Unmarshal(m.Params, &p); err != nil || m.Method != "textDocument/publishDiagnostics" || p.URI != doc {
		e.t.Fatalf("%s is followed by %+v, %v", method, m, err)
	}
	if err := json.Unmarshal(p.Diagnostics, &list); err != nil {
		e.t.Fatal(err)
	}
	return list
}

const doc = "file:///sale.latchkey"

// The real program, spoken to in the real protocol.
func TestLanguageServer(t *testing.T) {
	cmd := exec.Command("latchkey", "contract", "lsp", "--stdio")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var talk strings.Builder
	cmd.Stderr = &talk
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer stuck.Stop()
	e := &editor{t: t, in: in, out: bufio.NewReader(out)}

	if m := e.ask("textDocument/hover", map[string]any{}); m.Error == nil || m.Error.Code != -32002 {
		t.Errorf("before initialize: %+v", m)
	}
	m := e.ask("initialize", map[string]any{"processId": nil, "rootUri": nil, "capabilities": map[string]any{}})
	for _, want := range []string{`"hoverProvider":true`, `"documentFormattingProvider":true`, `"change":2`} {
		if !strings.Contains(string(m.Result), want) {
			t.Errorf("initialize: %s has no %s", m.Result, want)
		}
	}
	e.write(map[string]any{"method": "initialized", "params": map[string]any{}})

	source := "# für 😀 alle\ncontract Sale\nparties buyer, seller\nterm price : units 1..10\nterm by : time\npot money = price from buyer\nphase Open until by\n  when buyer says \"pay\":\n    give all of money to sellr\n    close\n  at deadline: close\n"
	diags := e.tell("textDocument/didOpen", map[string]any{"textDocument": map[string]any{"uri": doc, "languageId": "latchkey", "version": 1, "text": source}})
	if len(diags) != 1 || diags[0].Severity != 1 || !strings.Contains(diags[0].Message, "`sellr` is not the name of a party") {
		t.Fatalf("a mistake in line 9: %+v", diags)
	}
	if at := diags[0].Range; at["start"]["line"] != 8 || at["start"]["character"] != 25 || at["end"]["character"] != 30 {
		t.Errorf("the mistake is at %v, want 8:25 to 8:30", at)
	}
	// What does not compile is explained all the same.
	if m := e.ask("textDocument/hover", at(6, 7)); !strings.Contains(string(m.Result), "Phase Open, until ‘by’") {
		t.Errorf("hover over a phase: %s", m.Result)
	}
	// An edit in the middle mends it.
	diags = e.tell("textDocument/didChange", map[string]any{"textDocument": map[string]any{"uri": doc, "version": 2}, "contentChanges": []any{
		map[string]any{"range": map[string]any{"start": pos(8, 29), "end": pos(8, 30)}, "text": "er"},
	}})
	if len(diags) != 0 {
		t.Errorf("mended: %+v", diags)
	}
	// A comment's characters count as UTF-16.
	diags = e.tell("textDocument/didChange", map[string]any{"textDocument": map[string]any{"uri": doc, "version": 3}, "contentChanges": []any{
		map[string]any{"range": map[string]any{"start": pos(0, 9), "end": pos(0, 13)}, "text": "jeden"},
	}})
	if len(diags) != 0 {
		t.Errorf("after an edit of the comment: %+v", diags)
	}
	for _, c := range []struct {
		line, char int
		want       string
	}{
		{7, 4, `buyer may say \"pay\". Then seller receives all of money, and the agreement ends.`},
		{2, 9, `in phase Open, until ‘by’: say \"pay\".`},
		{3, 6, "an amount, 1 to 10 units"},
		{5, 5, "buyer deposits ‘price’ units into the pot money."},
		{9, 5, "ends the contract"},
	} {
		m := e.ask("textDocument/hover", at(c.line, c.char))
		if !strings.Contains(string(m.Result), c.want) {
			t.Errorf("hover at %d:%d: %s, want %s", c.line, c.char, m.Result, c.want)
		}
	}
	if m := e.ask("textDocument/hover", at(0, 3)); string(m.Result) != "null" {
		t.Errorf("hover over a comment: %s", m.Result)
	}
	m = e.ask("textDocument/formatting", map[string]any{"textDocument": map[string]any{"uri": doc}, "options": map[string]any{"tabSize": 8}})
	var edits []struct {
		Range   map[string]map[string]int
		NewText string
	}
	if err := json.Unmarshal(m.Result, &edits); err != nil || len(edits) != 1 || !strings.HasPrefix(edits[0].NewText, "# für 😀 jeden\ncontract Sale\n") ||
		!strings.Contains(edits[0].NewText, "from buyer\n\nphase Open") || edits[0].Range["end"]["line"] != 11 {
		t.Errorf("formatting: %s, %v", m.Result, err)
	}
	if m := e.ask("textDocument/documentSymbol", map[string]any{"textDocument": map[string]any{"uri": doc}}); !strings.Contains(string(m.Result), `"name":"Open"`) {
		t.Errorf("symbols: %s", m.Result)
	}
	// A text that is no contract is no reason to fall over.
	diags = e.tell("textDocument/didChange", map[string]any{"textDocument": map[string]any{"uri": doc, "version": 4}, "contentChanges": []any{map[string]any{"text": "\"§"}}})
	if len(diags) != 1 {
		t.Errorf("nonsense: %+v", diags)
	}
	if m := e.ask("textDocument/formatting", map[string]any{"textDocument": map[string]any{"uri": doc}}); m.Error == nil {
		t.Errorf("formatting nonsense: %s", m.Result)
	}
	if m := e.ask("workspace/nonsense", nil); m.Error == nil || m.Error.Code != -32601 {
		t.Errorf("a method that is not there: %+v", m)
	}
	if diags := e.tell("textDocument/didClose", map[string]any{"textDocument": map[string]any{"uri": doc}}); len(diags) != 0 {
		t.Errorf("closed: %+v", diags)
	}
	if m := e.ask("textDocument/hover", at(0, 0)); m.Error == nil {
		t.Errorf("hover in a closed document: %s", m.Result)
	}
	if m := e.ask("shutdown", nil); m.Error != nil || string(m.Result) != "null" {
		t.Errorf("shutdown: %+v", m)
	}
	e.write(map[string]any{"method": "exit"})
	if err := cmd.Wait(); err != nil || talk.String() != "" {
		t.Errorf("it ends with %v and says %q", err, talk.String())
	}
}

func pos(line, char int) map[string]int { return map[string]int{"line": line, "character": char} }

func at(line, char int) map[string]any {
	return map[string]any{"textDocument": map[string]any{"uri": doc}, "position": pos(line, char)}
}
