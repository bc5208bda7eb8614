package picture

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"image/color"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/contract"
	"latchkey/examples"
	"latchkey/studio/play"
	"latchkey/studio/scenario"
)

var keep = flag.String("keep", "", "folder in which all pictures are left, to be looked at")

// session returns a play of an example with the terms of its scenarios.
func session(t *testing.T, name string) (*play.Session, []byte) {
	t.Helper()
	src, err := examples.Files.ReadFile(name + ".latchkey")
	if err != nil {
		t.Fatal(err)
	}
	p, err := contract.Compile(src)
	if err != nil {
		t.Fatal(err)
	}
	text, err := examples.Files.ReadFile(name + ".scenario")
	if err != nil {
		t.Fatal(err)
	}
	f, err := scenario.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	d, weights, err := f.Settings.Bind(p)
	if err != nil {
		t.Fatal(err)
	}
	return play.New(d, weights, f.Settings.Begin(p)), src
}

// The stretches of a payoff hold what the machine does for every single value.
func TestPayoffIsWhatIsPlayed(t *testing.T) {
	s, _ := session(t, "cfd")
	p, err := NewPayoff(s, "price", nil, 50, 150, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.Lo != 50 || p.Hi != 150 || p.Of != "price" || p.When != "observed 2026-03-01" {
		t.Errorf("payoff of %s, %s, %d to %d", p.Of, p.When, p.Lo, p.Hi)
	}
	at := int64(50)
	for _, st := range p.Stretch {
		if st.Lo != at || st.Hi < st.Lo {
			t.Fatalf("a stretch from %d to %d where %d comes next", st.Lo, st.Hi, at)
		}
		for ; at <= st.Hi; at++ {
			// Three times the change of the price, of ten units, rounded toward zero.
			change := 30 * (at - 100) / 100
			change = max(-10, min(10, change))
			if want := []int64{10 + change, 10 - change}; !slices.Equal(want, st.Units) {
				t.Errorf("at %d: %v, want %v", at, st.Units, want)
			}
		}
	}
	if at != 151 {
		t.Errorf("the stretches end before %d", at)
	}
}

// Without a window the part is drawn in which something changes, on a range of ten powers of ten.
func TestPayoffFindsItsWindow(t *testing.T) {
	s, _ := session(t, "cfd")
	p, err := NewPayoff(s, "", nil, 0, 0, []int64{100})
	if err != nil {
		t.Fatal(err)
	}
	if p.Lo > 66 || p.Lo < 1 || p.Hi < 134 || p.Hi > 300 {
		t.Errorf("the window is %d to %d; things change from 67 to 134", p.Lo, p.Hi)
	}
}

func TestPayoffOfAWord(t *testing.T) {
	s, _ := session(t, "escrow")
	p, err := NewPayoff(s, "award", nil, 0, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, last := p.Stretch[0], p.Stretch[len(p.Stretch)-1]
	if want := []int64{20, 0, 2}; p.Lo != 0 || !cmp.Equal(want, first.Units) {
		t.Errorf("at %d: %v, want %v", p.Lo, first.Units, want)
	}
	if want := []int64{0, 20, 2}; p.Hi != 100 || !cmp.Equal(want, last.Units) {
		t.Errorf("at %d: %v, want %v", p.Hi, last.Units, want)
	}
}

func TestPayoffRefuses(t *testing.T) {
	s, _ := session(t, "swap")
	if _, err := NewPayoff(s, "", nil, 0, 0, nil); !errors.Is(err, ErrNothing) {
		t.Errorf("a swap: %v", err)
	}
	s, _ = session(t, "escrow")
	if _, err := NewPayoff(s, "gold", nil, 0, 0, nil); !errors.Is(err, ErrNothing) {
		t.Errorf("a value that is not there: %v", err)
	}
	release := play.Act{Event: contract.Event{Kind: contract.Word, Party: 0, Word: "release"}}
	if _, err := NewPayoff(s, "award", []play.Act{release}, 0, 0, nil); !errors.Is(err, ErrNothing) {
		t.Errorf("a contract that is over: %v", err)
	}
	if _, err := NewPayoff(s, "award", nil, 200, 300, nil); !errors.Is(err, ErrNothing) {
		t.Errorf("a window beside the range: %v", err)
	}
}

// Every picture of every example is well-formed, stays within its edges, says in both
// forms the same, and shows something.
func TestPictures(t *testing.T) {
	sources := map[string][]byte{}
	paths, err := fs.Glob(examples.Files, "*.latchkey")
	if err != nil {
		t.Fatal(err)
	}
	drawings := map[string]*Drawing{}
	for _, path := range paths {
		name := strings.TrimSuffix(path, ".latchkey")
		s, src := session(t, name)
		sources[name] = src
		if p, err := NewPayoff(s, "", nil, 0, 0, nil); err == nil {
			drawings[name+".payoff"] = p.Drawing()
		} else if !errors.Is(err, ErrNothing) {
			t.Errorf("%s: %v", name, err)
		}
	}
	raw, err := os.ReadFile("../../contract/testdata/more.latchkey")
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range strings.Split(string(raw), "\n---\n") {
		if p, err := contract.Compile([]byte(src)); err == nil {
			sources["more-"+p.Name()] = []byte(src)
		}
	}
	for name, src := range sources {
		d, err := Phases(src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		drawings[name+".phases"] = d
	}
	for name, d := range drawings {
		checkDrawing(t, name, d)
		if *keep == "" {
			continue
		}
		b, err := d.PNG(1.5)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*keep, name+".png"), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func checkDrawing(t *testing.T, name string, d *Drawing) {
	t.Helper()
	for _, s := range d.shapes {
		for _, p := range s.points {
			if p.x < 0 || p.y < 0 || p.x > d.Width || p.y > d.Height {
				t.Errorf("%s: a shape at %v is outside of %v by %v: %+v", name, p, d.Width, d.Height, s)
			}
		}
		if s.kind != label {
			continue
		}
		w, from := measure(s.size, s.bold, s.text), s.points[0].x
		if s.turned {
			from = d.Height - s.points[0].y
		}
		if from -= w * s.anchor; from < 0 || from+w > max(d.Width, 0) && !s.turned {
			t.Errorf("%s: the text %q, %.0f wide, begins at %.0f and does not fit", name, s.text, w, from)
		}
	}
	svg := d.SVG()
	texts := 0
	for x := xml.NewDecoder(bytes.NewReader(svg)); ; {
		tok, err := x.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, svg)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "text" {
			texts++
		}
	}
	if texts < 3 {
		t.Errorf("%s: %d texts", name, texts)
	}
	b, err := d.PNG(1)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	dark := 0
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			if c := color.GrayModel.Convert(img.At(x, y)).(color.Gray); c.Y < 128 {
				dark++
			}
		}
	}
	if dark < 500 || dark > img.Bounds().Dx()*img.Bounds().Dy()/4 {
		t.Errorf("%s: %d of its dots are dark", name, dark)
	}
}

func TestPNGRefusesTheHuge(t *testing.T) {
	if _, err := (&Drawing{Width: 1e6, Height: 10}).PNG(1); err == nil {
		t.Error("a picture of a million dots is drawn")
	}
}

func ExampleNewPayoff() {
	p, err := contract.Compile([]byte(`
contract Bet
parties over, under
term by : time
pot a = 10 units from over
pot b = 10 units from under
oracle goals in 0..20
phase Match until by + 1 days
  when oracle goals for by:
    if goals > 2 then
      give all of b to over
    else
      give all of a to under
    end
    close
  at deadline: close
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	d, err := p.Bind([]int64{1_772_323_200})
	if err != nil {
		fmt.Println(err)
		return
	}
	payoff, err := NewPayoff(play.New(d, nil, 1_700_000_000), "goals", nil, 0, 0, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range payoff.Stretch {
		fmt.Println(s.Lo, "to", s.Hi, payoff.Parties, s.Units)
	}
	// Output:
	// 0 to 2 [over under] [0 20]
	// 3 to 20 [over under] [20 0]
}

func ExamplePhases() {
	d, err := Phases([]byte("contract A\nparties a, b\nterm t : time\nphase P until t\n  at deadline: close\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(d.Title, strings.Contains(string(d.SVG()), "until ‘t’"))
	// Output: The phases of A true
}

// TestArrowsOfOneClause has a clause that leads to two phases: both arrows can be seen, each from a height of its own.
func TestArrowsOfOneClause(t *testing.T) {
	both := row{y: 100, h: 60, to: []int{1, 0}}
	cards := []card{{y: 50, rows: []row{both}}, {y: 300}}
	got := map[float64]int{}
	for _, a := range route(cards).arrows {
		got[a.leaves(cards)] = a.to
	}
	if diff := cmp.Diff(map[float64]int{120: 0, 140: 1}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
