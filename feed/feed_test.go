package feed

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/contract/oracle"
)

func testKey(b byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = b
	return ed25519.NewKeyFromSeed(seed)
}

func TestSignerSignsOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	s, err := NewSigner(path, testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewSigner(path, testKey(1)); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second signer with one journal: %v", err)
	}
	v := oracle.Value{Feed: "gold/usd", Time: 100, Value: 5}
	first, err := s.Sign(v)
	if err != nil || first.Verify() != nil {
		t.Fatalf("sign: %v, %v", err, first.Verify())
	}
	other := v
	other.Value = 6
	if _, err := s.Sign(other); !errors.Is(err, ErrSigned) {
		t.Errorf("another value for one time: %v", err)
	}
	other = oracle.Value{Feed: "gold/eur", Time: 100, Value: 6}
	if _, err := s.Sign(other); err != nil {
		t.Errorf("another feed: %v", err)
	}
	if _, err := s.Sign(oracle.Value{Feed: "a b", Time: 1}); !errors.Is(err, oracle.ErrValue) {
		t.Errorf("a feed that is none: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// A crash in the middle of a line; then a start with the journal as it is.
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(raw, "200 7 gol"...), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err = NewSigner(path, testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Sign(v)
	if err != nil || !cmp.Equal(first, again) {
		t.Errorf("the same value after a start: %v, %s", err, cmp.Diff(first, again))
	}
	v.Value = 4
	if _, err := s.Sign(v); !errors.Is(err, ErrSigned) {
		t.Errorf("another value after a start: %v", err)
	}
	if _, err := s.Sign(oracle.Value{Feed: "gold/usd", Time: 200, Value: 8}); err != nil {
		t.Errorf("a value after an unfinished line: %v", err)
	}
	s.Close()
	if _, err := NewSigner(path, testKey(2)); err == nil || !strings.Contains(err.Error(), "no journal of this key") {
		t.Errorf("another key's journal: %v", err)
	}
	got, err := os.ReadFile(path)
	if want := string(raw) + "200 8 gold/usd\n"; err != nil || string(got) != want {
		t.Errorf("the journal is\n%s want\n%s (%v)", got, want, err)
	}
	for _, bad := range []string{"hello\n", "hello", string(raw) + "x y z\n", string(raw) + "1 2\n"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := NewSigner(path, testKey(1)); err == nil {
			t.Errorf("%q is taken for a journal", bad)
			s.Close()
		}
	}
}

// After a write that failed nothing is signed: what the file holds is not known.
func TestSignerStopsWhenItCannotWrite(t *testing.T) {
	s, err := NewSigner(filepath.Join(t.TempDir(), "journal"), testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	s.file.Close()
	for range 2 {
		if _, err := s.Sign(oracle.Value{Feed: "a", Time: 1, Value: 1}); err == nil {
			t.Error("it signs without a journal")
		}
	}
}

func TestScale(t *testing.T) {
	tests := []struct {
		text     string
		decimals int
		want     int64
		ok       bool
	}{
		{"12.345", 2, 1234, true},
		{"12", 2, 1200, true},
		{"-0.019", 2, -1, true},
		{"1.5e3", 0, 1500, true},
		{"1e-3", 3, 1, true},
		{"9223372036854775807", 0, 1<<63 - 1, true},
		{"9223372036854775808", 0, 0, false},
		{"1e999999999", 0, 0, false},
		{"1e", 0, 0, false},
		{"1/3", 2, 0, false},
		{"0x10", 0, 0, false},
		{"NaN", 0, 0, false},
		{"Inf", 0, 0, false},
		{"", 0, 0, false},
		{strings.Repeat("1", 100), 0, 0, false},
	}
	for _, c := range tests {
		got, err := Scale(c.text, c.decimals)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("Scale(%q, %d) = %d, %v, want %d", c.text, c.decimals, got, err, c.want)
		}
	}
}

func TestReadFile(t *testing.T) {
	parse := func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }
	got, err := ReadFile(strings.NewReader("# gold\n\n100 12.50\n200,13\n 300 ,\t14 \n"), 2, parse)
	if want := []Observation{{100, 1250}, {200, 1300}, {300, 1400}}; err != nil || !cmp.Equal(want, got) {
		t.Errorf("ReadFile: %v, %v, want %v", got, err, want)
	}
	for in, want := range map[string]string{"100": "line 1 is not TIME VALUE", "\nx 5": "line 2", "5 x": "no decimal number", strings.Repeat("1", 300): "too long"} {
		if _, err := ReadFile(strings.NewReader(in), 0, parse); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ReadFile(%.20q): %v, want %s", in, err, want)
		}
	}
}

func TestHTTP(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/price", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"data": [{"price/usd": "12.5"}, {"amount": 3.999}], "no": null}`)
	})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/price", http.StatusFound) })
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("1", maxBody+1)) })
	mux.HandleFunc("/text", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	tests := []struct {
		path, pointer string
		want          int64
		err           string
	}{
		{"/price", "/data/0/price~1usd", 1250, ""},
		{"/price", "/data/1/amount", 399, ""},
		{"/price", "/data/2/amount", 0, `nothing at "2"`},
		{"/price", "/nothing", 0, `nothing at "nothing"`},
		{"/price", "/no", 0, "no number there"},
		{"/price", "", 0, "no number there"},
		{"/away", "/data", 0, "302"},
		{"/none", "/data", 0, "404"},
		{"/long", "", 0, "more than"},
		{"/text", "", 0, "JSON"},
	}
	for _, c := range tests {
		h, err := NewHTTP(srv.URL+c.path, c.pointer, 2)
		if err != nil {
			t.Fatal(err)
		}
		got, err := h.Observe(context.Background())
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s %s: %d, %v, want %d %s", c.path, c.pointer, got, err, c.want, c.err)
		}
	}
	for _, bad := range []string{"http://example.com/", "ftp://localhost/", "file:///etc/passwd", "://"} {
		if _, err := NewHTTP(bad, "", 0); !errors.Is(err, ErrSource) {
			t.Errorf("NewHTTP(%q): %v", bad, err)
		}
	}
	if _, err := NewHTTP("https://example.com/", "price", 0); !errors.Is(err, ErrSource) {
		t.Errorf("a pointer without /: %v", err)
	}
}

func ExampleSigner_Sign() {
	dir, err := os.MkdirTemp("", "feed")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	s, err := NewSigner(filepath.Join(dir, "journal"), testKey(1))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	signed, err := s.Sign(oracle.Value{Feed: "gold/usd", Time: 1_772_323_200, Value: 195025})
	fmt.Println(signed.Verify(), err)
	_, err = s.Sign(oracle.Value{Feed: "gold/usd", Time: 1_772_323_200, Value: 195026})
	fmt.Println(err)
	// Output:
	// <nil> <nil>
	// gold/usd at 1772323200: another value was signed for this time: 195025, not 195026
}
