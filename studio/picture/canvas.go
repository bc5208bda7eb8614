// Package picture draws contracts: their phases, and who gets what at which value.
// A drawing is a list of shapes, written as SVG or rasterised to PNG; both look
// the same, in any program and without a network.
package picture

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"strconv"
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// Drawing is a picture in abstract pixels.
type Drawing struct {
	Title         string // for readers that cannot see
	Width, Height float64
	shapes        []shape
}

type point struct{ x, y float64 }

type kind uint8

const (
	area  kind = iota // a filled polygon
	path              // a line through points
	label             // a text
)

type shape struct {
	kind   kind
	points []point
	width  float64   // of a path
	dash   []float64 // of a path: lengths of strokes and gaps
	color  color.RGBA
	text   string
	size   float64
	bold   bool
	anchor float64 // of a text: 0 begins, 0.5 is centred, 1 ends at the point
	turned bool    // of a text: reads upwards
}

// The colours: of text and lines, and of parties, apart for most who see colours
// differently (Okabe and Ito, Color Universal Design, 2008).
var (
	white   = color.RGBA{255, 255, 255, 255}
	ink     = color.RGBA{34, 34, 34, 255}
	grey    = color.RGBA{110, 110, 110, 255}
	pale    = color.RGBA{226, 226, 226, 255}
	mist    = color.RGBA{244, 246, 248, 255}
	frame   = color.RGBA{120, 130, 140, 255}
	palette = []color.RGBA{{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {230, 159, 0, 255}, {86, 180, 233, 255}, {90, 90, 90, 255}}
	dashes  = [][]float64{nil, {9, 5}, {2, 4}, {12, 4, 2, 4}}
)

func (d *Drawing) fill(c color.RGBA, points ...point) {
	d.shapes = append(d.shapes, shape{kind: area, points: points, color: c})
}

func (d *Drawing) line(c color.RGBA, width float64, dash []float64, points ...point) {
	d.shapes = append(d.shapes, shape{kind: path, points: points, color: c, width: width, dash: dash})
}

func (d *Drawing) rect(fill, edge color.RGBA, x, y, w, h float64) {
	p := []point{{x, y}, {x + w, y}, {x + w, y + h}, {x, y + h}}
	d.fill(fill, p...)
	d.line(edge, 1.2, nil, append(p, p[0])...)
}

func (d *Drawing) text(c color.RGBA, size float64, bold bool, anchor, x, y float64, text string) {
	d.shapes = append(d.shapes, shape{kind: label, points: []point{{x, y}}, color: c, size: size, bold: bold, anchor: anchor, text: text})
}

var fonts = map[bool]*opentype.Font{false: mustFont(goregular.TTF), true: mustFont(gobold.TTF)}

func mustFont(ttf []byte) *opentype.Font {
	f, err := opentype.Parse(ttf)
	if err != nil {
		panic(err) // the font is part of the program
	}
	return f
}

func face(size float64, bold bool) font.Face {
	f, err := opentype.NewFace(fonts[bold], &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingNone})
	if err != nil {
		panic(err) // the size is ours
	}
	return f
}

// measure returns how wide a text is.
func measure(size float64, bold bool, text string) float64 {
	return float64(font.MeasureString(face(size, bold), text)) / 64
}

// cut shortens a text to a width.
func cut(size float64, bold bool, width float64, text string) string {
	if measure(size, bold, text) <= width {
		return text
	}
	r := []rune(text)
	for len(r) > 1 && measure(size, bold, string(r)+"…") > width {
		r = r[:len(r)-1]
	}
	return strings.TrimRight(string(r), " ,;") + "…"
}

// wrap breaks a text into lines of a width.
func wrap(size float64, bold bool, width float64, text string) (lines []string) {
	line := ""
	for _, w := range strings.Fields(text) {
		if next := strings.TrimSpace(line + " " + w); line == "" || measure(size, bold, next) <= width {
			line = next
			continue
		}
		lines = append(lines, line)
		line = w
	}
	return append(lines, line)
}

func number(v float64) string { return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) }

func hex(c color.RGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// SVG writes the drawing as SVG. Texts are stretched to the width that they were
// measured with, so that a reader's own font changes nothing else.
func (d *Drawing) SVG() []byte {
	var b bytes.Buffer
	w, h := number(d.Width), number(d.Height)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="0 0 %s %s" role="img" font-family="Go, Helvetica, Arial, sans-serif">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, "<title>%s</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n", escape.Replace(d.Title))
	for _, s := range d.shapes {
		var points []string
		for _, p := range s.points {
			points = append(points, number(p.x)+","+number(p.y))
		}
		switch s.kind {
		case area:
			fmt.Fprintf(&b, `<polygon points="%s" fill="%s"/>`+"\n", strings.Join(points, " "), hex(s.color))
		case path:
			dash := ""
			if s.dash != nil {
				var parts []string
				for _, v := range s.dash {
					parts = append(parts, number(v))
				}
				dash = ` stroke-dasharray="` + strings.Join(parts, " ") + `"`
			}
			fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="%s"%s/>`+"\n", strings.Join(points, " "), hex(s.color), number(s.width), dash)
		case label:
			attr := ""
			if s.bold {
				attr += ` font-weight="bold"`
			}
			switch s.anchor {
			case 0.5:
				attr += ` text-anchor="middle"`
			case 1:
				attr += ` text-anchor="end"`
			}
			p := s.points[0]
			if s.turned {
				attr += fmt.Sprintf(` transform="rotate(-90 %s %s)"`, number(p.x), number(p.y))
			}
			fmt.Fprintf(&b, `<text x="%s" y="%s" font-size="%s" fill="%s" textLength="%s" lengthAdjust="spacingAndGlyphs"%s>%s</text>`+"\n",
				number(p.x), number(p.y), number(s.size), hex(s.color), number(measure(s.size, s.bold, s.text)), attr, escape.Replace(s.text))
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// MaxDots is how wide and how high a PNG may be.
const MaxDots = 1 << 14

// PNG draws with so many dots to a pixel.
func (d *Drawing) PNG(scale float64) ([]byte, error) {
	w, h := int(math.Ceil(d.Width*scale)), int(math.Ceil(d.Height*scale))
	if scale <= 0 || w > MaxDots || h > MaxDots {
		return nil, fmt.Errorf("draw a picture of %d by %d dots: too large", w, h)
	}
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(img, img.Bounds(), image.NewUniform(white), image.Point{}, draw.Src)
	for _, s := range d.shapes {
		switch s.kind {
		case area:
			fillPolygon(img, s.color, scaled(s.points, scale))
		case path:
			for _, stretch := range dashed(s.points, s.dash) {
				strokePath(img, s.color, s.width*scale, scaled(stretch, scale))
			}
		case label:
			drawText(img, s, scale)
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, img)
	return b.Bytes(), err
}

func scaled(points []point, scale float64) []point {
	out := make([]point, len(points))
	for i, p := range points {
		out[i] = point{p.x * scale, p.y * scale}
	}
	return out
}

// fillPolygon rasterises no more than the box around the polygon.
func fillPolygon(img *image.RGBA, c color.RGBA, points []point) {
	lo, hi := points[0], points[0]
	for _, p := range points {
		lo = point{min(lo.x, p.x), min(lo.y, p.y)}
		hi = point{max(hi.x, p.x), max(hi.y, p.y)}
	}
	box := image.Rect(int(math.Floor(lo.x)), int(math.Floor(lo.y)), int(math.Ceil(hi.x))+1, int(math.Ceil(hi.y))+1).Intersect(img.Bounds())
	if box.Empty() {
		return
	}
	z := vector.NewRasterizer(box.Dx(), box.Dy())
	for i, p := range points {
		x, y := float32(p.x-float64(box.Min.X)), float32(p.y-float64(box.Min.Y))
		if i == 0 {
			z.MoveTo(x, y)
		} else {
			z.LineTo(x, y)
		}
	}
	z.ClosePath()
	z.Draw(img, box, image.NewUniform(c), image.Point{})
}

// strokePath draws each stretch as a rectangle that is half a width longer at its
// ends, which closes the corners of lines that turn by right angles.
func strokePath(img *image.RGBA, c color.RGBA, width float64, points []point) {
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		dx, dy := b.x-a.x, b.y-a.y
		n := math.Hypot(dx, dy)
		if n == 0 {
			continue
		}
		dx, dy = dx/n*width/2, dy/n*width/2
		if len(points) > 2 {
			a, b = point{a.x - dx, a.y - dy}, point{b.x + dx, b.y + dy}
		}
		fillPolygon(img, c, []point{{a.x - dy, a.y + dx}, {b.x - dy, b.y + dx}, {b.x + dy, b.y - dx}, {a.x + dy, a.y - dx}})
	}
}

// dashed cuts a line into its strokes.
func dashed(points []point, dash []float64) (strokes [][]point) {
	if len(dash) == 0 {
		return [][]point{points}
	}
	i, left, on := 0, dash[0], true
	stroke := []point{points[0]}
	for k := 1; k < len(points); k++ {
		a, b := points[k-1], points[k]
		n := math.Hypot(b.x-a.x, b.y-a.y)
		for at := 0.0; at < n; {
			step := min(left, n-at)
			at += step
			p := point{a.x + (b.x-a.x)*at/n, a.y + (b.y-a.y)*at/n}
			if on {
				stroke = append(stroke, p)
			}
			if left -= step; left <= 0 {
				if on {
					strokes = append(strokes, stroke)
				}
				i = (i + 1) % len(dash)
				left, on, stroke = dash[i], !on, []point{p}
			}
		}
	}
	if on && len(stroke) > 1 {
		strokes = append(strokes, stroke)
	}
	return strokes
}

func drawText(img *image.RGBA, s shape, scale float64) {
	f := face(s.size*scale, s.bold)
	w := float64(font.MeasureString(f, s.text)) / 64
	p := s.points[0]
	x, y := p.x*scale, p.y*scale
	if !s.turned {
		at := fixed.Point26_6{X: fixed.Int26_6((x - w*s.anchor) * 64), Y: fixed.Int26_6(y * 64)}
		(&font.Drawer{Dst: img, Src: image.NewUniform(s.color), Face: f, Dot: at}).DrawString(s.text)
		return
	}
	// Draw it level on a sheet of its own, and turn the sheet.
	size := int(s.size*scale*1.5) + 2
	sheet := image.NewRGBA(image.Rect(0, 0, int(w)+2, size))
	base := int(s.size * scale * 1.1)
	(&font.Drawer{Dst: sheet, Src: image.NewUniform(s.color), Face: f, Dot: fixed.P(0, base)}).DrawString(s.text)
	left, bottom := int(x)-base, int(y+w*s.anchor)
	for i := range sheet.Rect.Dx() {
		for j := range sheet.Rect.Dy() {
			c := sheet.RGBAAt(i, j)
			if c.A > 0 {
				over(img, left+j, bottom-i, c)
			}
		}
	}
}

// over lays a dot with premultiplied alpha over an opaque one.
func over(img *image.RGBA, x, y int, c color.RGBA) {
	if !(image.Point{X: x, Y: y}).In(img.Rect) {
		return
	}
	b := img.RGBAAt(x, y)
	mix := func(top, below uint8) uint8 { return uint8(int(top) + int(below)*(255-int(c.A))/255) }
	img.SetRGBA(x, y, color.RGBA{mix(c.R, b.R), mix(c.G, b.G), mix(c.B, b.B), 255})
}

// sincos of a part of a full turn.
func sincos(turn float64) (s, c float64) { return math.Sincos(2 * math.Pi * turn) }
