// Package lsp is a language server for contracts: it tells an editor what is wrong
// where, explains what is under the cursor, and lays a contract out. It speaks the
// Language Server Protocol 3.17 over a pair of streams, keeps open documents in
// memory, and touches no file.
package lsp

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"latchkey/contract"
	"latchkey/studio/explain"
	"latchkey/studio/syntax"
)

// maxMessage bounds a message, in bytes: a source of 64 KiB, quoted, and more.
const maxMessage = 1 << 20

// ErrProtocol is wrapped where the other side does not speak the protocol.
var ErrProtocol = errors.New("language server protocol")

// Serve answers an editor until it says exit or its stream ends. It returns nil if
// the editor said shutdown first, as it should, or ended its stream before it said
// initialize.
func Serve(in io.Reader, out io.Writer) error {
	s := &server{out: out, docs: make(map[string]string)}
	r := bufio.NewReader(in)
	for {
		body, err := readMessage(r)
		if errors.Is(err, io.EOF) && !s.initialized {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return s.ended()
		}
		if err != nil {
			return err
		}
		var m request
		if err := json.Unmarshal(body, &m); err != nil {
			if err := s.send(response{Version: "2.0", ID: json.RawMessage("null"), Error: &failure{codeParse, "not JSON: " + err.Error()}}); err != nil {
				return err
			}
			continue
		}
		if m.Method == "exit" {
			return s.ended()
		}
		if err := s.handle(&m); err != nil {
			return err
		}
	}
}

func readMessage(r *bufio.Reader) ([]byte, error) {
	header, err := textproto.NewReader(r).ReadMIMEHeader()
	if err != nil {
		if errors.Is(err, io.EOF) && len(header) == 0 {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("%w: read a header: %w", ErrProtocol, err)
	}
	n, err := strconv.Atoi(header.Get("Content-Length"))
	if err != nil || n < 0 || n > maxMessage {
		return nil, fmt.Errorf("%w: Content-Length %q is not within 0..%d", ErrProtocol, header.Get("Content-Length"), maxMessage)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, fmt.Errorf("%w: read a message: %w", ErrProtocol, err)
	}
	return body, nil
}

type request struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

type response struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   *failure        `json:"error,omitempty"`
}

type notification struct {
	Version string `json:"jsonrpc"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

type failure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// Codes of JSON-RPC and of the protocol.
const (
	codeParse          = -32700
	codeInvalid        = -32600
	codeUnknown        = -32601
	codeParams         = -32602
	codeNotInitialized = -32002
	codeRefused        = -32803
)

type position struct {
	Line      int `json:"line"`      // from 0
	Character int `json:"character"` // from 0, in UTF-16 units
}

type span struct {
	Start position `json:"start"`
	End   position `json:"end"`
}

type textEdit struct {
	Range   span   `json:"range"`
	NewText string `json:"newText"`
}

type diagnostic struct {
	Range    span   `json:"range"`
	Severity int    `json:"severity"` // 1 error, 2 warning
	Source   string `json:"source"`
	Message  string `json:"message"`
}

type document struct {
	TextDocument struct {
		URI     string `json:"uri"`
		Version *int   `json:"version"`
		Text    string `json:"text"`
	} `json:"textDocument"`
	Position       position `json:"position"`
	ContentChanges []struct {
		Range *span  `json:"range"`
		Text  string `json:"text"`
	} `json:"contentChanges"`
}

// server is one editor's session. It is used by one goroutine.
type server struct {
	out         io.Writer
	docs        map[string]string // by URI
	initialized bool
	down        bool
}

func (s *server) ended() error {
	if !s.down {
		return fmt.Errorf("%w: the editor left without a shutdown", ErrProtocol)
	}
	return nil
}

func (s *server) send(m any) error {
	b, err := json.Marshal(m)
	if err == nil {
		_, err = fmt.Fprintf(s.out, "Content-Length: %d\r\n\r\n%s", len(b), b)
	}
	return err
}

// null is a result that is nothing.
var null = json.RawMessage("null")

func (s *server) handle(m *request) error {
	result, fail := s.answer(m)
	if m.ID == nil { // a notification has no answer
		return s.publish(m)
	}
	r := response{Version: "2.0", ID: m.ID, Result: result, Error: fail}
	if fail == nil && result == nil {
		r.Result = null
	}
	return s.send(r)
}

func (s *server) answer(m *request) (any, *failure) {
	switch {
	case m.Method == "initialize":
		s.initialized = true
		return map[string]any{
			"capabilities": map[string]any{
				"positionEncoding":           "utf-16",
				"textDocumentSync":           map[string]any{"openClose": true, "change": 2},
				"hoverProvider":              true,
				"documentFormattingProvider": true,
				"documentSymbolProvider":     true,
			},
			"serverInfo": map[string]any{"name": "latchkey contract lsp"},
		}, nil
	case !s.initialized:
		return nil, &failure{codeNotInitialized, "initialize comes first"}
	case s.down && m.ID != nil:
		return nil, &failure{codeInvalid, "the server is shut down"}
	case m.Method == "shutdown":
		s.down = true
		return nil, nil
	}
	var d document
	if strings.HasPrefix(m.Method, "textDocument/") {
		if err := json.Unmarshal(m.Params, &d); err != nil {
			return nil, &failure{codeParams, "these are no parameters of " + m.Method}
		}
	}
	uri := d.TextDocument.URI
	text, open := s.docs[uri]
	switch m.Method {
	case "textDocument/didOpen":
		s.docs[uri] = d.TextDocument.Text
	case "textDocument/didChange":
		for _, c := range d.ContentChanges {
			text = changed(text, c.Range, c.Text)
		}
		if open {
			s.docs[uri] = text
		}
	case "textDocument/didClose":
		delete(s.docs, uri)
	case "textDocument/hover", "textDocument/formatting", "textDocument/documentSymbol":
		if !open {
			return nil, &failure{codeParams, "this document is not open: " + uri}
		}
		switch m.Method {
		case "textDocument/hover":
			return hover(text, d.Position), nil
		case "textDocument/formatting":
			return formatting(text)
		}
		return symbols(text), nil
	default:
		if m.ID != nil {
			return nil, &failure{codeUnknown, "no such method: " + m.Method}
		}
	}
	return nil, nil
}

// publish tells the editor what is wrong with a document that has changed.
func (s *server) publish(m *request) error {
	switch m.Method {
	case "textDocument/didOpen", "textDocument/didChange", "textDocument/didClose":
	default:
		return nil
	}
	var d document
	if err := json.Unmarshal(m.Params, &d); err != nil || !s.initialized {
		return nil // the protocol has no answer to a notification
	}
	params := map[string]any{"uri": d.TextDocument.URI, "diagnostics": []diagnostic{}}
	if text, open := s.docs[d.TextDocument.URI]; open {
		params["diagnostics"] = diagnostics(text)
		if d.TextDocument.Version != nil { // what is said of an older text the editor drops
			params["version"] = *d.TextDocument.Version
		}
	} else if m.Method == "textDocument/didChange" {
		return nil
	}
	return s.send(notification{"2.0", "textDocument/publishDiagnostics", params})
}

func diagnostics(text string) []diagnostic {
	list := []diagnostic{}
	p, err := contract.Compile([]byte(text))
	var refused *contract.Error
	var found []contract.Finding
	if errors.As(err, &refused) {
		found = refused.Findings
	} else if p != nil {
		found = p.Warnings()
	}
	tokens, _ := syntax.Scan([]byte(text))
	for _, f := range found {
		severity := 1
		if f.Severity == contract.SeverityWarning {
			severity = 2
		}
		start := place(text, max(f.Line, 1), max(f.Col, 1))
		end := start
		for _, t := range tokens {
			if t.Line == f.Line && t.Col == f.Col {
				end = place(text, t.Line, t.Col+len(t.Text))
			}
		}
		list = append(list, diagnostic{span{start, end}, severity, "latchkey", f.What + "\n" + f.Mend})
	}
	return list
}

func hover(text string, at position) any {
	p, err := contract.Compile([]byte(text))
	if err != nil {
		p = nil
	}
	off := offset(text, at)
	line := strings.Count(text[:off], "\n") + 1
	col := off - strings.LastIndexByte(text[:off], '\n')
	say, tok, ok := explain.About([]byte(text), p, line, col)
	if !ok {
		return nil
	}
	return map[string]any{
		"contents": map[string]string{"kind": "markdown", "value": say},
		"range":    span{place(text, tok.Line, tok.Col), place(text, tok.Line, tok.Col+len(tok.Text))},
	}
}

func formatting(text string) (any, *failure) {
	laid, err := syntax.Format([]byte(text))
	if err != nil {
		return nil, &failure{codeRefused, err.Error()}
	}
	if string(laid) == text {
		return []textEdit{}, nil
	}
	end := place(text, strings.Count(text, "\n")+1, len(text)-strings.LastIndexByte(text, '\n'))
	return []textEdit{{span{position{}, end}, string(laid)}}, nil
}

// Kinds of symbols in the protocol.
var symbolKinds = map[string]int{"phase": 5, "clause": 24, "term": 14, "pot": 8, "counter": 13, "oracle": 11, "curve": 12, "sealed": 13}

func symbols(text string) any {
	list := []map[string]any{}
	for _, s := range explain.Symbols([]byte(text)) {
		at := span{place(text, s.At.Line, s.At.Col), place(text, s.At.Line, s.At.Col+len(s.At.Text))}
		list = append(list, map[string]any{"name": s.Name, "detail": s.Kind, "kind": symbolKinds[s.Kind], "range": at, "selectionRange": at})
	}
	return list
}

// changed applies an edit; without a range the text is all new.
func changed(text string, at *span, with string) string {
	if at == nil {
		return with
	}
	from, to := offset(text, at.Start), offset(text, at.End)
	return text[:from] + with + text[max(from, to):]
}

// offset returns the byte at which a position of the protocol lies. One beyond the
// end of its line lies at the end.
func offset(text string, p position) int {
	off := 0
	for range p.Line {
		n := strings.IndexByte(text[off:], '\n')
		if n < 0 {
			return len(text)
		}
		off += n + 1
	}
	for units := p.Character; units > 0 && off < len(text) && text[off] != '\n'; {
		r, n := utf8.DecodeRuneInString(text[off:])
		off += n
		units -= max(1, utf16.RuneLen(r))
	}
	return off
}

// place returns the position of a line and a column that count from 1, in bytes.
func place(text string, line, col int) position {
	off := offset(text, position{Line: line - 1})
	units := 0
	for end := min(off+col-1, len(text)); off < end && text[off] != '\n'; {
		r, n := utf8.DecodeRuneInString(text[off:])
		off += n
		units += max(1, utf16.RuneLen(r))
	}
	return position{line - 1, units}
}
