package tomlfile

import (
	"errors"
	"strings"
	"testing"
)

type file struct {
	Name  string
	Count int
	Part  []struct{ URL string }
}

func TestDecode(t *testing.T) {
	var f file
	if err := Decode([]byte("name = 'x'\ncount = 3\n[[part]]\nurl = 'y'\n"), &f); err != nil || f.Name != "x" || f.Count != 3 || len(f.Part) != 1 || f.Part[0].URL != "y" {
		t.Errorf("read %+v, %v", f, err)
	}
	for _, test := range []struct {
		name, text, want string
		unknown          bool
	}{
		{"an unknown field", "name = 'x'\n\ncolour = 1\n", `line 3: unknown field "colour"`, true},
		{"an unknown field inside", "[[part]]\nuri = 'x'\n", `line 2: unknown field "part.uri"`, true},
		{"an unknown table", "[colours]\nred = 1\n", `line 1: unknown field "colours"`, true},
		{"another type", "name = 'x'\ncount = 'three'\n", `line 2: field "count": `, false},
		{"no TOML", "name = \n", "line 1: ", false},
		{"a field twice", "name = 'x'\nname = 'y'\n", "line 2: ", false},
	} {
		err := Decode([]byte(test.text), new(file))
		if err == nil || !strings.HasPrefix(err.Error(), test.want) || errors.Is(err, ErrUnknownField) != test.unknown {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
}

// FuzzDecode: no text makes the reader panic, and each error says in which line.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "name = 'x'\n", "[[part]]\nurl = 'y'\n", "count = 'three'", "a.b.c = 1", "\x00", "name = \"\\u12\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := Decode(b, new(file)); err != nil && !strings.HasPrefix(err.Error(), "line ") {
			t.Errorf("%q: %v", b, err)
		}
	})
}
