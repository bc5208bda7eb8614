package contract

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ExampleProgram_Outline() {
	p, _ := Compile([]byte(holdSource))
	for _, ph := range p.Outline().Phases {
		fmt.Println(ph.Name, "until", ph.Until)
		for _, c := range ph.Clauses {
			fmt.Printf("  line %d, word %q, value %s %d..%d, if %q\n", c.Line, c.Word, c.Value.Name, c.Value.Lo, c.Value.Hi, c.If)
			for _, s := range c.Body {
				fmt.Println("   ", s.Do, strconv.Quote(s.Formula))
			}
		}
	}
	// Output:
	// Held until now + wait
	//   line 8, word "pay", value part 0..100, if "part <= stake"
	//     give "part"
	//     close ""
	//   line 11, word "", value  0..0, if ""
	//     close ""
}

// write writes a contract again from its outline. Roles are written out, so it serves those without.
func write(p *Program) string {
	var b strings.Builder
	o := p.Outline()
	fmt.Fprintf(&b, "contract %s\nparties %s\n", p.Name(), strings.Join(p.Parties(), ", "))
	for _, a := range p.Assets() {
		if a.Fixed == "" {
			fmt.Fprintf(&b, "term %s : asset\n", a.Name)
		}
	}
	for _, t := range p.Terms() {
		fmt.Fprintf(&b, "term %s : %s %s\n", t.Name, t.Type, span2(t.Type, t.Lo, t.Hi))
	}
	for _, f := range p.Oracles() {
		fmt.Fprintf(&b, "oracle %s", f.Name)
		if f.Fixed != "" {
			fmt.Fprintf(&b, " %q", f.Fixed)
		}
		fmt.Fprintf(&b, " in %s\n", span2(f.Type, f.Lo, f.Hi))
	}
	for _, c := range o.Curves {
		for i := range c.Xs {
			fmt.Fprintf(&b, "%s %s -> %s", [...]string{", ", "curve " + c.Name + " :"}[truthOf(i == 0)], unit(c.X, c.Xs[i]), unit(c.Y, c.Ys[i]))
		}
		b.WriteString("\n")
	}
	for _, pot := range p.Pots() {
		of := ""
		if pot.Asset >= 0 {
			if a := p.Assets()[pot.Asset]; a.Fixed != "" {
				of = fmt.Sprintf(" of %q", a.Fixed)
			} else {
				of = " of " + a.Name
			}
		}
		fmt.Fprintf(&b, "%spot %s = %s%s from %s\n", [...]string{"", "later "}[truthOf(pot.Later)], pot.Name, pot.Units, of, p.Parties()[pot.From])
	}
	for _, k := range o.Counters {
		fmt.Fprintf(&b, "counter %s = %s in %s\n", k.Name, unit(k.Type, k.Start), span2(k.Type, k.Lo, k.Hi))
	}
	for _, s := range o.Sealed {
		fmt.Fprintf(&b, "sealed %s in %s\n", s.Name, span2(s.Type, s.Lo, s.Hi))
	}
	for _, r := range o.Requires {
		fmt.Fprintf(&b, "require %s\n", r)
	}
	body := func(list []Statement) string {
		var walk func(list []Statement) string
		walk = func(list []Statement) string {
			var b strings.Builder
			for _, s := range list {
				switch b.WriteString(" " + s.Do + " "); s.Do {
				case "give":
					fmt.Fprintf(&b, "%s of %s to %s", s.Formula, p.Pots()[s.Pot].Name, p.Parties()[s.To])
				case "set":
					fmt.Fprintf(&b, "%s = %s", o.Counters[s.Counter].Name, s.Formula)
				case "if":
					fmt.Fprintf(&b, "%s then%s", s.Formula, walk(s.Then))
					if len(s.Else) > 0 {
						b.WriteString(" else" + walk(s.Else))
					}
					b.WriteString(" end")
				case "next":
					b.WriteString(p.Phases()[s.Phase])
				}
			}
			return b.String()
		}
		return walk(list) + "\n"
	}
	if len(o.Opening) > 0 {
		b.WriteString("at open:" + body(o.Opening))
	}
	for _, ph := range o.Phases {
		fmt.Fprintf(&b, "phase %s until %s\n", ph.Name, ph.Until)
		for _, c := range ph.Clauses {
			switch c.Kind {
			case Deadline:
				b.WriteString(" at deadline")
			case Oracle:
				fmt.Fprintf(&b, " when oracle %s %s %s", p.Oracles()[c.Oracle].Name, [...]string{"each", "for"}[truthOf(c.Each == "")], c.Each+c.For)
			case Deposit:
				fmt.Fprintf(&b, " when %sdeposit %s", [...]string{"", "each "}[truthOf(c.Partial)], p.Pots()[c.Pot].Name)
			case Word:
				var who []string
				for _, i := range c.Parties {
					who = append(who, p.Parties()[i])
				}
				if c.Need > 1 {
					fmt.Fprintf(&b, " when %d of %s say %q", c.Need, strings.Join(who, ", "), c.Word)
				} else {
					fmt.Fprintf(&b, " when %s says %q", strings.Join(who, " or "), c.Word)
				}
				switch {
				case c.Opened:
					b.WriteString(" with opened " + c.Value.Name)
				case c.Sealed:
					b.WriteString(" with sealed s") // the tests have one
				case c.Value.Name != "":
					fmt.Fprintf(&b, " with %s in %s", c.Value.Name, span2(c.Value.Type, c.Value.Lo, c.Value.Hi))
				}
			}
			if c.If != "" {
				b.WriteString(" if " + c.If)
			}
			b.WriteString(":" + body(c.Body))
		}
	}
	return b.String()
}

func unit(t Type, v int64) string {
	switch s := Format(t, v); t {
	case Units:
		return s + " units"
	case Duration:
		return s + " seconds"
	default:
		return s
	}
}

func span2(t Type, lo, hi int64) string {
	return unit(t, lo) + ".." + unit(t, hi)
}

// TestOutlineSaysAll writes contracts again from their outlines: what comes out must be the same contract, so an
// outline leaves nothing out.
func TestOutlineSaysAll(t *testing.T) {
	sources := map[string]string{"features": featureSource}
	for _, name := range exampleNames {
		source, err := os.ReadFile(filepath.Join("..", "examples", name+".latchkey"))
		if err != nil {
			t.Fatal(err)
		}
		sources[name] = string(source)
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			p, err := Compile([]byte(source))
			if err != nil {
				t.Fatal(err)
			}
			once := write(p)
			q, err := Compile([]byte(once))
			if err != nil {
				t.Fatalf("%v\n%s", err, once)
			}
			if diff := cmp.Diff(once, write(q)); diff != "" {
				t.Errorf("written twice:\n%s", diff)
			}
			if diff := cmp.Diff(stripped(p), stripped(q)); diff != "" {
				t.Errorf("another contract:\n%s", diff)
			}
		})
	}
}

// stripped is an outline without places.
func stripped(p *Program) Outline {
	o := p.Outline()
	var walk func(list []Statement)
	walk = func(list []Statement) {
		for i := range list {
			list[i].Line, list[i].Col = 0, 0
			walk(list[i].Then)
			walk(list[i].Else)
		}
	}
	walk(o.Opening)
	for i := range o.Phases {
		o.Phases[i].Line, o.Phases[i].Col = 0, 0
		for j := range o.Phases[i].Clauses {
			c := &o.Phases[i].Clauses[j]
			c.Line, c.Col = 0, 0
			walk(c.Body)
		}
	}
	return o
}

func TestFormat(t *testing.T) {
	for v, want := range map[int64]string{0: "0.00", 5: "0.05", -5: "-0.05", 1250: "12.50", -123456: "-1234.56"} {
		if got := Format(Money, v); got != want {
			t.Errorf("Format(Money, %d) = %s, want %s", v, got, want)
		}
	}
	if got := Format(Units, 7); got != "7" {
		t.Errorf("Format(Units, 7) = %s", got)
	}
}

// featureSource has everything that a contract without roles can say.
const featureSource = `
contract Features
parties ann, ben, carl
term coin : asset
term feed : oracle 1..100
term u : units 1..9
term n : number -5..9
term m : money 0.50..9.99
term pct : percent
term t : time
term d : duration 1 hours .. 2 days
oracle usd "btc/usd" in 0.01..99.99
curve line : 1 -> 5, 10 -> -5, 20 -> 7
curve cash : 0.50 -> 5 units, 10.00 -> 7 units
pot p = u + 5 units of coin from ann
pot q = 7 units of "eth" from ben
later pot r = 2 * u from carl
counter c = 0 in -3..9
counter w = 1 units in 0 units..9 units
counter age = 5 seconds in 0 seconds..2 days
sealed s in 0..5 units
require n > -4 or (u < 5 and not (pct = 3))
at open:
  if n >= 5 then give 1 of p to ben else if m > 1.00 then set c = 3 end end
phase A until min(t, now + d) + 1 days
  when ann says "seal" with sealed s: stay
  when ann says "open" with opened s if s > 2 and not sealed(s): set w = min(s, 9 units)
  when ann and ben say "both": next B
  when 2 of ann, ben, carl say "two": close
  when ben or carl says "value" with x in 0 seconds..1 days if x > age or now > t: set age = x
  when carl says "num" with k in -1..1 if c < 9 and c > -3: give max(0 units, line(k)) of p to carl
  when oracle feed for t: give max(0 units, share(p, feed - 5, 100)) of p to ben
  when oracle usd each 60 seconds if usd > m and usd / m < 5: give min(left(p), cash(usd)) of p to ben
  when each deposit r if filled(r) > 2: stay
  when deposit r: next B
  at deadline if left(q) = q: next B
  at deadline: close
phase B until t + 10 days
  when ann says "x" with z in 1..2: give max(0 units, (u + 1) * z - (u - (1 - 0)) * 1) of q to ben
  at deadline: give all of r to ann close
`
