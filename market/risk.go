package market

import (
	"fmt"
	"slices"
	"strings"

	"latchkey/wire"
)

// DomainKind is a kind of failure domain: things that fail together.
type DomainKind uint8

// The kinds.
const (
	OfClient DomainKind = 1 + iota
	OfDevice
	OfVendor
	OfTCB
	OfAsset
)

func (k DomainKind) String() string {
	return word(k, "client", "device", "vendor", "tcb level", "asset")
}

// Domain names a failure domain.
type Domain struct {
	Kind DomainKind `json:"kind"`
	Name string     `json:"name"`
}

func (d Domain) String() string {
	name := d.Name
	if i := min(len(name), 64); i == 64 && strings.Trim(name[:i], "0123456789abcdef") == "" {
		name = name[:8] + name[i:] // an id, as people see it
	}
	return d.Kind.String() + " " + name
}

// domain is a failure domain with what is at stake in it.
type domain struct {
	Domain
	at     Micros // at stake
	bond   Micros // what its clients' bonds add to the limit
	exempt int    // clients of the operators' own in it
}

// profile is a client on a device at a TCB level: what a share was exposed to while the client held it. A client whose
// TCB level changes gets another profile for what it holds from then on.
type profile struct {
	client  *client
	domains [4]*domain
	device  Device
	vendor  wire.Hash
	tcb     string
	self    []uint32 // the profile's own number, as a line of one
}

func (p *profile) number() uint32 { return p.self[0] }

// in reports whether the profile belongs to d.
func (p *profile) in(d *domain) bool { return slices.Contains(p.domains[:], d) }

// domainOf returns the domain of that name, making it when add is set.
func (m *Market) domainOf(name Domain, add bool) *domain {
	d := m.domains[name]
	if d == nil && add {
		d = &domain{Domain: name}
		m.domains[name] = d
	}
	return d
}

// deviceDomain names the domain of a device. Devices that the platform does not tell apart share one for each vendor.
func deviceDomain(vendor wire.Hash, d Device) Domain {
	if d.Kind != DeviceUnique {
		return Domain{OfDevice, vendor.String() + " without identity"}
	}
	return Domain{OfDevice, wire.HashBytes("latchkey/device/v1", append(vendor[:], d.ID...)).String()}
}

// profileOf returns the profile of a client with these facts; it makes it when there is none.
func (m *Market) profileOf(c *client, device Device, vendor wire.Hash, tcb string) *profile {
	names := [4]Domain{
		{OfClient, c.id.String()}, deviceDomain(vendor, device), {OfVendor, vendor.String()}, {OfTCB, vendor.String() + " " + tcb},
	}
	for _, p := range c.profiles {
		if p.domains[1].Domain == names[1] && p.domains[3].Domain == names[3] {
			return p
		}
	}
	p := &profile{client: c, device: device, vendor: vendor, tcb: tcb, self: []uint32{uint32(len(m.profiles))}}
	for i, n := range names {
		p.domains[i] = m.domainOf(n, true)
	}
	m.profiles = append(m.profiles, p)
	c.profiles = append(c.profiles, p)
	return p
}

// limit returns how much may be at stake in d.
func (m *Market) limit(d *domain) Micros {
	if d.exempt > 0 {
		return maxMicros
	}
	l := m.policy.Limits
	switch d.Kind {
	case OfClient:
		return l.Client + d.bond
	case OfDevice:
		return l.Device + d.bond
	case OfVendor:
		return l.Vendor
	case OfTCB:
		return l.TCB
	case OfAsset:
		return l.Asset
	}
	return 0
}

// room returns how much more may be put at stake in d.
func (m *Market) room(d *domain) Micros { return max(m.limit(d)-d.at, 0) }

// booking is what something adds to the exposure of a domain.
type booking struct {
	domain *domain
	add    Micros
}

// foreign reports whether anybody but its owner ever held a share of c.
func (m *Market) foreign(c *chunk) bool {
	for _, n := range c.line {
		if m.profiles[n].client != c.owner {
			return true
		}
	}
	return false
}

// holding returns what a chunk outside a proposal adds to exposures: its worth, in each domain of everyone but the
// owner who ever held a share of it, and in its asset. Nobody can lose by a chunk that only its owner has held. It is
// appended to book.
func (m *Market) holding(c *chunk, book []booking) []booking {
	start := len(book)
	for _, n := range c.line {
		if p := m.profiles[n]; p.client != c.owner {
			for _, d := range p.domains {
				if !slices.ContainsFunc(book[start:], func(b booking) bool { return b.domain == d }) {
					book = append(book, booking{d, c.worth()})
				}
			}
		}
	}
	if len(book) > start {
		book = append(book, booking{c.cert.denom.asset, c.worth()})
	}
	return book
}

// post adds bookings to the exposures, or with sign −1 takes them off again.
func post(book []booking, sign Micros) {
	for _, b := range book {
		b.domain.at += sign * b.add
	}
}

// stakes are the chunks of a proposal's two sides, what they are worth, and who may come to hold shares of them.
type stakes struct {
	chunks   [2][]*chunk // all of a side; those that are plain may be left out
	worth    [2]Micros   // of all chunks of the side
	value    [2]Micros   // of a unit
	asset    [2]*domain
	owner    [2]*profile
	takers   [2][]uint8 // parties, by role, to whom the contract may give chunks of the side
	members  []*profile // all parties, by role
	exchange bool       // the contract can only exchange the sides whole, or give them back
}

// bookings returns what a proposal adds to exposures, in the order of its parties' domains, then of others'. Let A and B
// be the owners of the sides, worth a and b, and for a domain d let a' and b' be the worth of those chunks of each side
// that somebody in d, other than the owners in d, has ever held.
//
// In an exchange a domain with one owner in it counts max(a+b', a'+b): whatever the outcome, others are out of at most
// one side through it; one with both counts a+b; one with none a'+b'. Under any other contract one party may end up with
// everything, so a domain counts the whole of each side of which somebody in it is the owner or may be given chunks, and
// a' or b' of the others. No outcome leaves more at stake than was booked. The bookings are appended to book.
func (m *Market) bookings(s *stakes, book []booking) []booking {
	type sum struct {
		domain *domain
		holds  [2]bool // somebody in it holds a share of the side, or may
		owner  [2]bool
		third  [2]Micros
	}
	var room [12]sum
	sums := room[:0]
	find := func(d *domain) *sum {
		for i := range sums {
			if sums[i].domain == d {
				return &sums[i]
			}
		}
		sums = append(sums, sum{domain: d})
		return &sums[len(sums)-1]
	}
	for side := range s.owner {
		for _, d := range s.owner[side].domains {
			x := find(d)
			x.owner[side], x.holds[side] = true, true
		}
		for _, role := range s.takers[side] {
			for _, d := range s.members[role].domains {
				find(d).holds[side] = true
			}
		}
	}
	for side := range s.chunks {
		for _, c := range s.chunks[side] {
			if len(c.line) == 1 && c.line[0] == s.owner[side].number() {
				continue
			}
			var seen [16]*domain
			done := seen[:0]
			for _, n := range c.line {
				p := m.profiles[n]
				for _, d := range p.domains {
					x := find(d)
					if x.owner[0] && p.client == s.owner[0].client || x.owner[1] && p.client == s.owner[1].client || slices.Contains(done, d) {
						continue
					}
					done = append(done, d)
					x.third[side] += Micros(c.units()) * s.value[side]
				}
			}
		}
	}
	a, b := s.worth[0], s.worth[1]
	for _, x := range sums {
		add := x.third[0] + x.third[1]
		switch {
		case x.owner[0] && x.owner[1]:
			add = a + b
		case s.exchange && (x.owner[0] || x.owner[1]):
			add = max(a+x.third[1], x.third[0]+b)
		case !s.exchange:
			add = 0
			for side, holds := range x.holds {
				if holds {
					add += s.worth[side]
				} else {
					add += x.third[side]
				}
			}
		}
		if add > 0 {
			book = append(book, booking{x.domain, add})
		}
	}
	return append(book, booking{s.asset[0], a}, booking{s.asset[1], b})
}

// over returns the first domain whose limit would be exceeded by adding some bookings and taking off others, or nil. A
// domain in which nothing is added is never over.
func (m *Market) over(add, off []booking) *domain {
	for i, b := range add {
		sum := b.domain.at
		if slices.ContainsFunc(add[:i], func(o booking) bool { return o.domain == b.domain }) {
			continue
		}
		for _, o := range add[i:] {
			if o.domain == b.domain {
				sum += o.add
			}
		}
		for _, o := range off {
			if o.domain == b.domain {
				sum -= o.add
			}
		}
		if sum > m.limit(b.domain) && sum > b.domain.at {
			return b.domain
		}
	}
	return nil
}

// Exposure is what is at stake in a failure domain, and how much may be.
type Exposure struct {
	Domain Domain `json:"domain"`
	At     Micros `json:"at"`
	Limit  Micros `json:"limit"` // without meaning where Exempt
	Exempt bool   `json:"exempt"`
}

// Exposures returns every domain in which something is at stake, by kind and name.
func (m *Market) Exposures() []Exposure {
	var list []Exposure
	for _, d := range m.domains {
		if d.at != 0 {
			list = append(list, Exposure{d.Domain, d.at, m.limit(d), d.exempt > 0})
		}
	}
	slices.SortFunc(list, func(a, b Exposure) int { return a.Domain.compare(b.Domain) })
	return list
}

func (d Domain) compare(e Domain) int {
	if d.Kind != e.Kind {
		return int(d.Kind) - int(e.Kind)
	}
	return strings.Compare(d.Name, e.Name)
}

// full is the refusal where a limit stands against something.
func (m *Market) full(d *domain) error {
	return fmt.Errorf("%w: %v is at stake in %v, at most %v", ErrLimit, d.at, d.Domain, m.limit(d))
}
